/* dkim_verify: the signatures of a message, from the moment its header is there (keys are asked for ahead, body hashes begun) to
 * their results (RFC 6376 section 6). */
#include "arc.h"
#include "kept.h"

struct dkim_state *dkim_state_of(const struct message *message)
{
	const struct mailauth *auth = message ? message->extra[MAILAUTH_EXTRA] : NULL;

	return auth ? auth->dkim : NULL;
}

/* ---- The header has arrived ------------------------------------------------------------------------------------- */

static bool keep_fields(struct mailauth *auth, struct message *message)
{
	uint32_t count = 0;

	auth->fields = arena_array(&message->arena, struct slice, message->headers.count + 1);
	if (!auth->fields)
		return false;
	for (struct header *h = header_next(&message->headers, NULL); h && count < message->headers.count;
	     h = header_next(&message->headers, h))
		auth->fields[count++] = h->text;
	auth->field_count = count;
	return true;
}

struct field_index *dkim_fields(struct message *message)
{
	struct mailauth *auth = message->extra[MAILAUTH_EXTRA];

	if (!auth || !auth->dkim || !auth->fields)
		return NULL;
	if (!auth->dkim->indexed)
		auth->dkim->indexed =
		    field_index_init(&auth->dkim->index, &message->arena, auth->fields, auth->field_count);
	return auth->dkim->indexed ? &auth->dkim->index : NULL;
}

static void want_body(struct arena *arena, struct dkim_state *state, struct dkim_signature *s)
{
	s->body = body_hashes_want(arena, &state->body, s->body_relaxed, s->hash_kind,
				   s->has_length ? s->length : UINT64_MAX);
	if (!s->body)
		s->reason = REASON_WORK;
}

void dkim_key_ahead(struct task *task, const struct mailauth_resolver *resolver, struct slice selector,
		    struct slice domain)
{
	struct slice name;

	if (!resolver->prefetch)
		return;
	name = dkim_key_name(task->arena, selector, domain);
	if (name.ptr && !(resolver->timed && dkim_key_is_known(task->shard, name)))
		resolver->prefetch(task, resolver->arg, name, DNS_TXT);
}

static enum rc add_signature(struct task *task, struct message *message, struct dkim_state *state,
			     uint32_t field, struct slice text, const struct mailauth_resolver *resolver,
			     struct err *err)
{
	struct dkim_signature *s;
	enum rc rc;

	if (state->count == DKIM_SIGNATURES_MAX) {
		state->more++;
		return OK;
	}
	s = arena_make(&message->arena, struct dkim_signature);
	if (!s)
		return err_memory(err);
	rc = dkim_signature_parse(&message->arena, text, false, s, err);
	if (rc == DEFER)
		return rc;
	s->field = field;
	state->signatures[state->count++] = s;
	if (rc == OK) {
		want_body(&message->arena, state, s);
		dkim_key_ahead(task, resolver, s->selector, s->domain);
	}
	return OK;
}

/* $dkim_signers: domains in lower case, and the identities that were given. */
static bool name_signers(struct dkim_state *state, struct message *message)
{
	struct str list = str_make(&message->arena);
	unsigned count = 0;

	for (unsigned i = 0; i < state->count; i++) {
		const struct dkim_signature *s = state->signatures[i];
		uint32_t start = list.len;

		if (!s->domain.len)
			continue;
		list_add(&list, &count, ':', s->domain);
		if (s->identity.len)
			list_add(&list, &count, ':', s->identity);
		for (uint32_t at = start; at < list.len && !list.failed; at++)
			list.ptr[at] = ascii_lower(list.ptr[at]);
	}
	state->signers = str_slice(&list);
	return state->signers.ptr;
}

static bool is_signature(struct slice field)
{
	/* Most fields have another letter or no hyphen there. */
	return field.len > 4 && (field.ptr[0] | 0x20) == 'd' && field.ptr[4] == '-' &&
	       slice_eq_nocase(field_name_of(field), SLICE("dkim-signature"));
}

enum rc dkim_header_done(struct task *task, struct message *message, const struct mailauth_resolver *resolver,
			 struct err *err)
{
	struct mailauth *auth = mailauth_of(message);
	struct dkim_state *state;
	enum rc rc;

	if (!auth || !keep_fields(auth, message))
		return err_memory(err);
	state = arena_make(&message->arena, struct dkim_state);
	if (!state)
		return err_memory(err);
	state->signers = state->cur_signer = state->verify_signers = SLICE_EMPTY;
	state->round_status = state->round_reason = state->statuses = (struct slice){NULL, 0, CLEAN};
	auth->dkim = state;
	for (uint32_t i = 0; i < auth->field_count; i++)
		if (is_signature(auth->fields[i])) {
			rc = add_signature(task, message, state, i, auth->fields[i], resolver, err);
			if (rc != OK)
				return rc;
		}
	if (!name_signers(state, message))
		return err_memory(err);
	rc = arc_header_done(message, state, err);
	if (rc == OK)
		header_hashes_ahead(task->shard, message);
	return rc;
}

void dkim_body_hash(struct message *message, const char *ptr, size_t len)
{
	struct dkim_state *state = dkim_state_of(message);

	if (state && state->body.count)
		body_hashes_add(&state->body, ptr, len);
}

/* ---- What is accepted ---------------------------------------------------------------------------------------------- */

/* "rsa=1024 ed25519=250": at least so many bits. */
static unsigned bits_of(struct slice list, const char *name)
{
	struct slice word, key;
	uint64_t bits;

	while (slice_word(&list, &word))
		if (slice_split(&word, '=', &key) && slice_eq(key, slice_of(name)) && word.ptr &&
		    parse_u64(word, &bits) && bits <= UINT32_MAX)
			return (unsigned)bits;
	return 0;
}

/* Bit i: word i is one of the list. */
static unsigned listed(struct arena *arena, struct slice list, const struct slice *words, unsigned count)
{
	unsigned found = 0;
	struct slice item;
	char separator = 0;

	while (list_next(arena, &list, &separator, &item))
		for (unsigned i = 0; i < count; i++)
			found |= (unsigned)slice_eq_nocase(item, words[i]) << i;
	return found;
}

static const struct slice hash_names[] = {[HASH_SHA1] = SLICE_INIT("sha1"),
					  [HASH_SHA256] = SLICE_INIT("sha256"),
					  [HASH_SHA512] = SLICE_INIT("sha512")};
static const struct slice key_names[] = {
    [KEY_RSA] = SLICE_INIT("rsa"), [KEY_ED25519] = SLICE_INIT("ed25519")};

static enum rc limits_expand(struct scope *sc, struct dkim_limits *limits, struct err *err)
{
	const struct mailauth_options *o = mailauth_options(sc->conf);
	struct slice hashes = SLICE_EMPTY, key_types = SLICE_EMPTY, sizes = SLICE_EMPTY;
	struct arena *arena = sc->task->arena;
	enum rc rc;

	rc = expand_option(sc, o->dkim_verify_hashes, &hashes, err);
	if (rc == OK)
		rc = expand_option(sc, o->dkim_verify_keytypes, &key_types, err);
	if (rc == OK)
		rc = expand_option(sc, o->dkim_verify_min_keysizes, &sizes, err);
	*limits =
	    (struct dkim_limits){.now = shard_wall(sc->task->shard) / NS_PER_S,
				 .hashes = listed(arena, hashes, hash_names, ARRAY_COUNT(hash_names)),
				 .key_types = listed(arena, key_types, key_names, ARRAY_COUNT(key_names)),
				 .rsa_bits_min = bits_of(sizes, "rsa"),
				 .ed25519_bits_min = bits_of(sizes, "ed25519"),
				 .minimal = o->dkim_verify_minimal};
	return rc;
}

enum rc dkim_limits_get(struct scope *sc, struct dkim_limits *limits, struct err *err)
{
	struct dkim_state *state = dkim_state_of(sc->message);
	enum rc rc;

	if (state && state->limited) {
		*limits = state->limits;
		return OK;
	}
	rc = limits_expand(sc, limits, err);
	if (rc == OK && state) {
		state->limits = *limits;
		state->limited = true;
	}
	return rc;
}

static bool is_wanted(const struct dkim_limits *limits, const struct dkim_signature *s)
{
	return (limits->hashes >> s->hash_kind & 1) && (limits->key_types >> s->key_type & 1);
}

/* ---- Keys -------------------------------------------------------------------------------------------------------------- */

/* Is the key for this use? (section 6.1.2, points 4 to 8) */
static enum dkim_reason key_fits(const struct dkim_key *key, enum dkim_key_type type, enum hash_kind hash,
				 const struct dkim_limits *limits)
{
	if (key->hashes.ptr && !tag_item_is_in(key->hashes, hash_names[hash]))
		return REASON_KEY_UNFIT;
	if (!tag_item_is_in(key->service, SLICE("*")) && !tag_item_is_in(key->service, SLICE("email")))
		return REASON_KEY_UNFIT;
	if (key->type != type)
		return REASON_KEY_UNFIT;
	if (key->bits < (type == KEY_RSA ? limits->rsa_bits_min : limits->ed25519_bits_min))
		return REASON_KEY_SHORT;
	return REASON_NONE;
}

/* What the name's records come to, asked for. As dkim_key_fetch(). */
static enum rc key_ask(struct dkim_work *work, struct slice name, enum dkim_key_type type,
		       enum hash_kind hash, struct dkim_key *key, enum dkim_reason *reason_ret,
		       struct err *err)
{
	const struct mailauth_resolver *resolver = work->resolver;
	struct shard *shard = work->task->shard;
	struct err why = err_make(work->task->arena);
	struct kept_time time = kept_time_begin(resolver->timed ? shard : NULL);
	struct dns_answer answer = {.count = 0};
	enum dkim_reason first = REASON_KEY_NONE;
	enum rc rc = resolver->query(work->task, resolver->arg, name, DNS_TXT, &answer, &why);

	if (rc == CANCELLED)
		return rc;
	if (rc == DEFER) {
		*reason_ret = REASON_KEY_LATER;
		return FAIL;
	}
	if (rc != OK)
		return FAIL;
	kept_time_answer(&time, shard, rc, &answer);
	/* More than one record is a mistake of the signer's; which of them is meant is for us to find out (section 6.1.2). */
	for (unsigned i = 0; i < answer.count && i < DKIM_KEY_RECORDS_MAX; i++) {
		struct dkim_key found;

		rc = dkim_key_get(shard, work->arena, name, answer.records[i].text, &found, reason_ret);
		if (rc == DEFER)
			return err_memory(err);
		if (answer.count == 1)
			dkim_key_believe(&found, &time);
		if (rc == OK)
			*reason_ret = key_fits(&found, type, hash, work->limits);
		if (i == 0 || rc == OK) {
			dkim_key_release(key);
			*key = found;
		} else {
			dkim_key_release(&found);
		}
		if (*reason_ret == REASON_NONE)
			return OK;
		if (i == 0)
			first = *reason_ret;
	}
	*reason_ret = first;
	return FAIL;
}

enum rc dkim_key_fetch(struct dkim_work *work, struct slice selector, struct slice domain,
		       enum dkim_key_type type, enum hash_kind hash, struct dkim_key *key,
		       enum dkim_reason *reason_ret, struct err *err)
{
	struct slice name = dkim_key_name(work->task->arena, selector, domain);
	enum rc rc;

	*key = (struct dkim_key){.bits = 0};
	*reason_ret = REASON_KEY_NONE;
	if (!name.ptr)
		return FAIL;
	if (!work->resolver->timed || !dkim_key_find(work->task->shard, name, key, &rc, reason_ret))
		return key_ask(work, name, type, hash, key, reason_ret, err);
	if (rc == OK)
		*reason_ret = key_fits(key, type, hash, work->limits);
	return *reason_ret == REASON_NONE ? OK : FAIL;
}

/* ---- One signature --------------------------------------------------------------------------------------------------------- */

static bool body_matches(const struct dkim_signature *s)
{
	/* More bytes signed than there are: somebody has taken some away. */
	if (s->has_length && s->body->left)
		return false;
	return memcmp(s->body->digest, s->digest.ptr, s->digest.len) == 0;
}

/* Nearly all keys say nothing of it. */
static struct slice keep_word(struct arena *arena, struct slice word)
{
	return slice_eq(word, SLICE("*")) ? SLICE("*") : arena_copy(arena, word);
}

/* What is told of the key lives as long as the message. false: no memory. */
static bool keep_key(struct arena *arena, struct dkim_signature *s, const struct dkim_key *key)
{
	s->key_seen = true;
	s->key_bits = key->bits;
	s->key_testing = key->testing;
	s->key_exact = key->exact;
	s->key_service = keep_word(arena, key->service);
	s->key_granularity = keep_word(arena, key->granularity);
	s->key_notes = arena_copy(arena, key->notes);
	return s->key_service.ptr && s->key_granularity.ptr && s->key_notes.ptr;
}

/* t=s in the key: i= is in d= itself (section 3.6.1). */
static bool identity_fits(const struct dkim_signature *s, const struct dkim_key *key)
{
	ptrdiff_t at = slice_rfind(s->identity, '@');

	return !key->exact || at < 0 || slice_eq_nocase(slice_from(s->identity, (size_t)at + 1), s->domain);
}

/* Header and key belong to each other? */
static enum dkim_reason compare(struct dkim_work *work, struct dkim_signature *s, const struct dkim_key *key)
{
	uint8_t digest[HASH_SIZE_MAX];

	if (!identity_fits(s, key))
		return REASON_KEY_UNFIT;
	if (!header_hash(work, s, digest))
		return REASON_WORK;
	return dkim_key_verifies(key, s->hash_kind, digest, s->signature) ? REASON_NONE : REASON_SIGNATURE;
}

/* So many in one turn are what an honest message has: it is not interrupted. */
#define OPERATIONS_A_TURN 4

enum rc dkim_work_turn(struct dkim_work *work, struct err *err)
{
	enum rc rc = OK;

	if (work->key_operations && work->key_operations % OPERATIONS_A_TURN == 0)
		rc = task_yield(work->task);
	work->key_operations++;
	return rc == DEFER ? err_set(err, DEFER, "no time left to verify signatures") : rc;
}

enum rc dkim_signature_verify(struct dkim_work *work, struct dkim_signature *s, struct err *err)
{
	struct dkim_key key;
	enum rc rc;

	if (s->reason != REASON_NONE)
		return OK;
	s->verified = true;
	if (!is_wanted(work->limits, s)) {
		s->reason = REASON_ALGORITHM;
		return OK;
	}
	if (s->has_expires && s->expires < work->limits->now) {
		s->reason = REASON_EXPIRED;
		return OK;
	}
	/* No key helps here, so none is asked for. */
	if (!body_matches(s)) {
		s->reason = REASON_BODY_HASH;
		return OK;
	}
	rc = dkim_work_turn(work, err);
	if (rc != OK)
		return rc;
	rc = dkim_key_fetch(work, s->selector, s->domain, s->key_type, s->hash_kind, &key, &s->reason, err);
	if ((rc == OK || s->reason == REASON_KEY_UNFIT || s->reason == REASON_KEY_SHORT ||
	     s->reason == REASON_KEY_LONG) &&
	    !keep_key(work->arena, s, &key))
		rc = err_memory(err);
	if (rc == OK)
		s->reason = compare(work, s, &key);
	dkim_key_release(&key);
	return rc == FAIL ? OK : rc;
}

/* ---- All of them -------------------------------------------------------------------------------------------------------------- */

enum rc dkim_verify(struct scope *sc, const struct mailauth_resolver *resolver, struct err *err)
{
	struct dkim_state *state = dkim_state_of(sc->message);
	struct dkim_limits limits;
	struct dkim_work work = {.task = sc->task,
				 .arena = sc->message ? &sc->message->arena : NULL,
				 .resolver = resolver,
				 .limits = &limits};
	bool passed = false;
	enum rc rc;

	if (!state || state->verified)
		return OK;
	state->verified = true;
	body_hashes_end(&state->body);
	if (!state->count)
		return OK;
	rc = dkim_limits_get(sc, &limits, err);
	if (rc != OK)
		return rc;
	work.index = dkim_fields(sc->message);
	if (!work.index)
		return err_memory(err);
	for (unsigned i = 0; i < state->count; i++) {
		struct dkim_signature *s = state->signatures[i];

		if (passed && limits.minimal && s->reason == REASON_NONE) {
			s->reason = REASON_SKIPPED;
			continue;
		}
		rc = dkim_signature_verify(&work, s, err);
		if (rc != OK)
			return rc;
		passed |= s->verified && s->reason == REASON_NONE;
	}
	dkim_log_signatures(sc, state);
	return OK;
}
