/* arc_sign: one more ARC set (RFC 8617 section 5.1) for a message as it will be sent. */
#include "arc.h"
#include "sign.h"

/* What there is of ARC in the header that leaves. */
struct chain {
	uint32_t fields[ARC_INSTANCE_MAX + 1][ARC_KINDS]; /* UINT32_MAX: not there */
	unsigned count;                                   /* the highest instance */
	bool broken;                                      /* in form; or the newest seal says "fail" */
	bool ended;
};

static void collect(const struct mailauth_text *text, struct chain *chain)
{
	struct err why = err_make(NULL);
	struct tag_list list;

	memset(chain->fields, 0xff, sizeof(chain->fields));
	chain->count = 0;
	chain->broken = chain->ended = false;
	for (uint32_t i = 0; i < text->field_count; i++) {
		enum arc_kind kind = arc_kind_of(text->fields[i]);
		unsigned instance;

		if (kind == ARC_KINDS)
			continue;
		if (!arc_instance_of(text->fields[i], kind, &instance)) {
			chain->broken = true;
			continue;
		}
		chain->broken |= chain->fields[instance][kind] != UINT32_MAX;
		chain->fields[instance][kind] = i;
		if (instance > chain->count)
			chain->count = instance;
	}
	for (unsigned i = 1; i <= chain->count; i++)
		for (unsigned kind = 0; kind < ARC_KINDS; kind++)
			chain->broken |= chain->fields[i][kind] == UINT32_MAX;
	if (chain->count && chain->fields[chain->count][ARC_AS] != UINT32_MAX) {
		struct slice seal = text->fields[chain->fields[chain->count][ARC_AS]];
		ptrdiff_t colon = slice_find(seal, ':');

		chain->ended = tag_list_parse(slice_from(seal, (size_t)colon + 1), &list, &why) == OK &&
			       tag_find(&list, "cv") && slice_eq(tag_value(&list, "cv"), SLICE("fail"));
	}
}

/* Everything that Authentication-Results fields of our own name say, in one (section 4.1.1); what "arc=" says. *found_ret false: there
 * is none. DEFER: no memory. */
static enum rc gather_results(struct mailauth_text *text, struct slice id, struct str *payload,
			      bool *found_ret, enum mailauth_result *arc_ret, struct err *err)
{
	*found_ret = false;
	*arc_ret = MAILAUTH_UNKNOWN;
	for (unsigned i = 0; i < text->field_count; i++) {
		struct slice field = text->fields[i];
		struct err why = err_make(NULL);
		struct authres results;
		enum rc rc;

		if (!slice_eq_nocase(field_name_of(field), SLICE("authentication-results")))
			continue;
		field = tag_trim(slice_from(field, (size_t)slice_find(field, ':') + 1));
		rc = authres_parse(text->task->arena, field, &results, &why);
		if (rc == DEFER)
			return err_memory(err);
		if (rc != OK || !slice_eq_nocase(results.id, id))
			continue;
		*found_ret = true;
		if (!results.method_count)
			continue;
		/* The uppermost is the newest: its word on the chain counts. */
		for (unsigned k = 0; k < results.method_count && *arc_ret == MAILAUTH_UNKNOWN; k++)
			if (slice_eq_nocase(results.methods[k].method, SLICE("arc")))
				*arc_ret = slice_eq_nocase(results.methods[k].result, SLICE("pass"))
					       ? MAILAUTH_PASS
					   : slice_eq_nocase(results.methods[k].result, SLICE("none"))
					       ? MAILAUTH_NONE
					       : MAILAUTH_FAIL;
		results.payload = tag_trim(results.payload);
		while (results.payload.len && results.payload.ptr[results.payload.len - 1] == ';')
			results.payload = tag_trim(slice_sub(results.payload, 0, results.payload.len - 1));
		str_addz(payload, ";\r\n\t");
		str_add(payload, results.payload);
	}
	return payload->failed ? err_memory(err) : OK;
}

static void make_results(struct str *out, unsigned instance, const struct arc_signer *signer,
			 struct slice payload)
{
	str_printf(out, "ARC-Authentication-Results: i=%u; %.*s", instance, SLICE_ARG(signer->domain));
	str_add(out, payload.len ? payload : SLICE("; none"));
	str_addz(out, "\r\n");
}

static struct slice number(struct arena *arena, uint64_t value)
{
	struct slice s = arena_printf(arena, "%llu", (unsigned long long)value);

	return s.ptr ? s : SLICE_EMPTY;
}

static struct slice algorithm_of(const struct arc_signer *signer)
{
	return signer->key->type == KEY_ED25519 ? SLICE("ed25519-sha256") : SLICE("rsa-sha256");
}

static void begin(struct field_maker *maker, struct str *out, const char *name, unsigned instance,
		  const struct arc_signer *signer)
{
	field_begin(maker, out, name);
	field_tag(maker, "i", number(out->arena, instance));
	field_tag(maker, "a", algorithm_of(signer));
}

static void end(struct field_maker *maker)
{
	str_addz(maker->out, ";\r\n\tb=");
	maker->line = maker->out->len - 3;
}

static enum rc finish(struct mailauth_text *text, const struct arc_signer *signer, struct field_maker *maker,
		      const uint8_t *digest, struct err *err)
{
	struct slice signature;
	enum rc rc = mailauth_key_sign(text->task, signer->key, HASH_SHA256, digest, &signature, err);

	if (rc != OK)
		return rc;
	field_value(maker, base64_of(text->task->arena, signature), 0);
	str_addz(maker->out, "\r\n");
	return maker->out->failed ? err_memory(err) : OK;
}

/* The names of what is there, each as often as it is. */
static bool message_names(struct mailauth_text *text, struct str *names)
{
	struct slice list = slice_of(dkim_sign_headers), name;
	struct str equal = str_make(text->task->arena);

	while (slice_split(&list, ':', &name))
		str_printf(&equal, "=%.*s:", SLICE_ARG(name));
	str_addz(&equal, "=DKIM-Signature");
	return !equal.failed && sign_names(text, str_slice(&equal), names);
}

static enum rc make_message(struct mailauth_text *text, unsigned instance, const struct arc_signer *signer,
			    struct str *out, struct err *err)
{
	struct body_hash *body =
	    body_hashes_want(text->task->arena, text->hashes, true, HASH_SHA256, UINT64_MAX);
	struct arena *arena = text->task->arena;
	struct field_maker maker;
	uint8_t digest[HASH_SIZE_MAX];
	struct str names;

	if (!body || !message_names(text, &names))
		return err_memory(err);
	begin(&maker, out, "ARC-Message-Signature", instance, signer);
	field_tag(&maker, "c", SLICE("relaxed/relaxed"));
	field_tag(&maker, "d", signer->domain);
	field_tag(&maker, "s", signer->selector);
	if (signer->timestamps)
		field_tag(&maker, "t", number(arena, signer->created));
	if (signer->expires)
		field_tag(&maker, "x", number(arena, signer->expires));
	field_tag(&maker, "h", SLICE_EMPTY);
	field_value(&maker, str_slice(&names), ':');
	field_tag(&maker, "bh",
		  base64_of(arena, slice_make((const char *)body->digest, hash_size(HASH_SHA256), CLEAN)));
	end(&maker);
	if (out->failed)
		return err_memory(err);
	sign_hash_header(text, str_slice(&names), str_slice(out), true, HASH_SHA256, digest);
	return finish(text, signer, &maker, digest, err);
}

static enum rc make_seal(struct mailauth_text *text, const struct chain *chain, const char *cv,
			 const struct arc_signer *signer, struct slice results, struct slice message,
			 struct str *out, struct err *err)
{
	uint8_t digest[HASH_SIZE_MAX];
	struct field_maker maker;
	struct hash_sink sink;
	struct hash hash;

	begin(&maker, out, "ARC-Seal", chain->count + 1, signer);
	field_tag(&maker, "cv", slice_of(cv));
	field_tag(&maker, "d", signer->domain);
	field_tag(&maker, "s", signer->selector);
	if (signer->timestamps)
		field_tag(&maker, "t", number(text->task->arena, signer->created));
	end(&maker);
	if (out->failed)
		return err_memory(err);
	hash_init(&hash, HASH_SHA256);
	hash_sink_init(&sink, &hash);
	/* A chain that is broken is sealed without what is broken (section 5.1.2). */
	for (unsigned i = 1; i <= chain->count && strcmp(cv, "fail") != 0; i++)
		for (unsigned kind = 0; kind < ARC_KINDS; kind++)
			canon_field(&sink, text->fields[chain->fields[i][kind]], true, 0, 0, false);
	canon_field(&sink, results, true, 0, 0, false);
	canon_field(&sink, message, true, 0, 0, false);
	canon_field(&sink, str_slice(out), true, 0, 0, true);
	hash_sink_flush(&sink);
	hash_final(&hash, digest);
	return finish(text, signer, &maker, digest, err);
}

enum rc arc_sign_prepare(struct mailauth_text *text, struct err *err)
{
	return body_hashes_want(text->task->arena, text->hashes, true, HASH_SHA256, UINT64_MAX)
		   ? OK
		   : err_memory(err);
}

enum rc arc_sign(struct mailauth_text *text, const struct arc_signer *signer, struct str *out,
		 struct err *err)
{
	struct arena *arena = text->task->arena;
	struct str payload = str_make(arena), results = str_make(arena), message = str_make(arena),
		   seal = str_make(arena);
	struct chain *chain = arena_make(arena, struct chain);
	enum mailauth_result arc;
	const char *cv;
	bool found;
	enum rc rc;

	if (!chain)
		return err_memory(err);
	rc = gather_results(text, signer->domain, &payload, &found, &arc, err);
	if (rc != OK)
		return rc;
	if (!found)
		return err_set(err, FAIL, "no Authentication-Results header for signing");
	collect(text, chain);
	if (chain->ended)
		return err_set(err, FAIL, "the chain has ended with cv=fail");
	if (chain->count == ARC_INSTANCE_MAX)
		return err_set(err, FAIL, "the chain is as long as it may be");
	/* Nobody can vouch for a chain that nobody has looked at. */
	if (chain->count && arc == MAILAUTH_UNKNOWN)
		return err_set(err, FAIL, "no arc= in Authentication-Results, but a chain in the message");
	cv = !chain->count && !chain->broken          ? (arc == MAILAUTH_FAIL ? "fail" : "none")
	     : arc == MAILAUTH_PASS && !chain->broken ? "pass"
						      : "fail";
	make_results(&results, chain->count + 1, signer, str_slice(&payload));
	if (results.failed)
		return err_memory(err);
	rc = make_message(text, chain->count + 1, signer, &message, err);
	if (rc == OK)
		rc = make_seal(text, chain, cv, signer, str_slice(&results), str_slice(&message), &seal, err);
	if (rc != OK)
		return rc;
	str_add(out, str_slice(&seal));
	str_add(out, str_slice(&message));
	str_add(out, str_slice(&results));
	return out->failed ? err_memory(err) : OK;
}
