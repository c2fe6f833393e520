/* sign: the dkim_... and arc_sign options of the smtp transport: who signs the message as it leaves. The exact bytes that go out are signed:
 * behind the transport's filter, its header edits and rewriting. */
#include "smtp.h"

#include "mailauth/mailauth.h"

#define SIGNATURES_MAX 20 /* of one message: more is a mistake */
#define CRLF_BLOCK     (16u * 1024)

struct signing {
	struct scope *sc;
	const struct smtp_transport *s;
	struct mailauth_text text;
	struct dkim_signer signers[SIGNATURES_MAX];
	unsigned count;
	struct arc_signer arc;
	bool arc_wanted;
	bool strict;
	struct err *err;
	/* The body: */
	struct slice front; /* what the filter gave behind the header */
	struct body_reader reader;
	bool from_message, cr;
	char *block;
	struct slice piece; /* of a body with LF line ends: not yet converted */
};

/* ---- The body ------------------------------------------------------------------------------------------------------ */

static enum rc next_piece(struct mailauth_text *text, struct slice *ret, struct err *err)
{
	struct signing *g = text->arg;
	enum rc rc;

	if (g->front.len) {
		*ret = g->front;
		g->front = SLICE_EMPTY;
		return OK;
	}
	if (!g->from_message)
		return FAIL;
	if (!g->reader.message->body.lf)
		return body_next(text->task, &g->reader, ret, err);
	/* On the wire its lines will end in CRLF. */
	if (!g->piece.len) {
		rc = body_next(text->task, &g->reader, &g->piece, err);
		if (rc != OK)
			return rc;
	}
	if (!g->block)
		g->block = arena_bytes(text->task->arena, 2 * CRLF_BLOCK + 2);
	if (!g->block)
		return err_memory(err);
	*ret = slice_sub(g->piece, 0, CRLF_BLOCK);
	g->piece = slice_from(g->piece, ret->len);
	*ret = slice_make(g->block, lf_to_crlf(&g->cr, *ret, g->block), TAINTED);
	return OK;
}

/* ---- The options ------------------------------------------------------------------------------------------------------ */

static enum rc option(struct signing *g, const struct expansion *e, const char *name, struct slice *ret)
{
	enum rc rc = expand_option(g->sc, e, ret, g->err);

	if (rc == FAIL || rc == DEFER)
		err_prefix(g->err, "%s", name);
	return rc;
}

static bool says_no(struct slice value)
{
	return !value.len || slice_eq(value, SLICE("0")) || slice_eq(value, SLICE("false"));
}

static struct slice lower(struct arena *arena, struct slice s)
{
	s = arena_copy(arena, s);
	for (uint32_t i = 0; s.ptr && i < s.len; i++)
		((char *)(uintptr_t)s.ptr)[i] = ascii_lower(s.ptr[i]);
	return s;
}

/* "relaxed", "simple"; beyond Exim: "relaxed/simple" and the like, header form first. */
static void set_canon(struct signing *g, struct dkim_signer *signer, struct slice canon)
{
	struct slice header = SLICE_EMPTY;
	bool good;

	signer->header_relaxed = signer->body_relaxed = true;
	if (!canon.len)
		return;
	(void)slice_split(&canon, '/', &header);
	if (!canon.ptr)
		canon = header;
	signer->header_relaxed = !slice_eq(header, SLICE("simple"));
	signer->body_relaxed = !slice_eq(canon, SLICE("simple"));
	good = (signer->header_relaxed ? slice_eq(header, SLICE("relaxed")) : true) &&
	       (signer->body_relaxed ? slice_eq(canon, SLICE("relaxed")) : true);
	if (!good)
		log_printf(g->sc->task->shard, g->sc->conf, LOG_TO_MAIN, &g->sc->message->id,
			   "DKIM: unknown canonicalization method '%.*s', defaulting to 'relaxed'.",
			   SLICE_ARG(header));
}

static enum rc set_times(struct signing *g, struct dkim_signer *signer)
{
	int64_t offset = 0;
	struct slice text;
	enum rc rc = option(g, g->s->dkim_timestamps, "dkim_timestamps", &text);

	text = rc == OK ? slice_trim(text) : SLICE_EMPTY;
	if (rc != OK || !text.len)
		return rc;
	if (!parse_i64(text, &offset) || offset < 0 || offset > INT32_MAX)
		return err_set(g->err, FAIL, "dkim_timestamps: \"%.*s\" is no number of seconds",
			       SLICE_ARG(text));
	signer->timestamps = true;
	signer->created = shard_wall(g->sc->task->shard) / NS_PER_S;
	signer->expires = offset ? signer->created + (uint64_t)offset : 0;
	return OK;
}

/* The rest of the options, for one domain and selector. *ret false: they say that nothing is to be signed. */
static enum rc take_signer(struct signing *g, struct dkim_signer *signer, bool *ret)
{
	struct slice key, canon, hash;
	enum rc rc = option(g, g->s->dkim_private_key, "dkim_private_key", &key);

	*ret = rc == OK && !says_no(slice_trim(key));
	if (!*ret)
		return rc;
	rc = mailauth_key_get(g->sc->task, key, &signer->key, g->err);
	if (rc == OK)
		rc = option(g, g->s->dkim_canon, "dkim_canon", &canon);
	if (rc == OK)
		rc = option(g, g->s->dkim_sign_headers, "dkim_sign_headers", &signer->sign_headers);
	if (rc == OK)
		rc = option(g, g->s->dkim_identity, "dkim_identity", &signer->identity);
	if (rc == OK)
		rc = option(g, g->s->dkim_hash, "dkim_hash", &hash);
	if (rc == OK)
		rc = set_times(g, signer);
	if (rc != OK)
		return rc;
	set_canon(g, signer, canon);
	signer->sha512 = slice_eq(hash, SLICE("sha512"));
	/* RFC 8301 section 3.1: rsa-sha1 MUST NOT be used for signing. */
	if (hash.len && !signer->sha512 && !slice_eq(hash, SLICE("sha256")))
		return err_set(g->err, FAIL, "dkim_hash: \"%.*s\" is not to be used", SLICE_ARG(hash));
	return OK;
}

static enum rc take_selectors(struct signing *g, struct slice domain)
{
	struct slice selectors, selector, strict;
	char separator = 0;
	enum rc rc = option(g, g->s->dkim_selector, "dkim_selector", &selectors);

	while (rc == OK && list_next(g->sc->task->arena, &selectors, &separator, &selector)) {
		struct dkim_signer signer = {.domain = domain,
					     .selector = selector,
					     .identity = SLICE_EMPTY,
					     .sign_headers = SLICE_EMPTY};
		bool wanted;

		if (!selector.len)
			continue;
		g->sc->dkim_selector = selector;
		/* Asked first: what goes wrong behind it is judged by it. */
		rc = option(g, g->s->dkim_strict, "dkim_strict", &strict);
		if (rc != OK)
			break;
		g->strict = slice_eq(strict, SLICE("1")) || slice_eq_nocase(strict, SLICE("true"));
		rc = take_signer(g, &signer, &wanted);
		if (rc == OK && wanted && g->count == SIGNATURES_MAX)
			rc = err_set(g->err, FAIL, "more than %u signatures", SIGNATURES_MAX);
		if (rc == OK && wanted)
			g->signers[g->count++] = signer;
	}
	return rc;
}

/* Whatever list is given, each domain and each selector of it once. */
static enum rc take_domains(struct signing *g)
{
	struct slice domains, domain, seen[SIGNATURES_MAX];
	unsigned count = 0;
	char separator = 0;
	enum rc rc = option(g, g->s->dkim_domain, "dkim_domain", &domains);

	while (rc == OK && list_next(g->sc->task->arena, &domains, &separator, &domain)) {
		bool again = !domain.len;

		domain = lower(g->sc->task->arena, domain);
		if (!domain.ptr)
			return err_memory(g->err);
		for (unsigned i = 0; i < count && !again; i++)
			again = slice_eq(seen[i], domain);
		if (again)
			continue;
		if (count == SIGNATURES_MAX)
			return err_set(g->err, FAIL, "more than %u signing domains", SIGNATURES_MAX);
		seen[count++] = domain;
		g->sc->dkim_domain = domain;
		rc = take_selectors(g, domain);
	}
	return rc;
}

/* ---- The signatures ------------------------------------------------------------------------------------------------------ */

static void log_failure(struct signing *g)
{
	log_printf(g->sc->task->shard, g->sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, &g->sc->message->id,
		   "DKIM: signing failed: %.*s", SLICE_ARG(g->err->text));
	g->err->text = SLICE_EMPTY;
}

/* The end of the header block in text that is a header, an empty line, and perhaps a body. */
static uint32_t header_end(struct slice text)
{
	ptrdiff_t at;

	if (slice_starts(text, SLICE("\r\n")))
		return 0;
	at = slice_search(text, SLICE("\r\n\r\n"));
	return at < 0 ? text.len : (uint32_t)at + 2;
}

/* ARC: "admd : selector : key [: options]". What is wrong with it is told in the log, and the message goes unsealed. */
static void bad_arc(struct signing *g, const char *what, struct slice text)
{
	log_printf(g->sc->task->shard, g->sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, &g->sc->message->id,
		   "ARC: bad signing-specification (%s) '%.*s'", what, SLICE_ARG(text));
}

static bool is_name(struct slice name)
{
	for (uint32_t i = 0; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && name.ptr[i] != '-' && name.ptr[i] != '.')
			return false;
	return name.len;
}

static bool take_arc_options(struct signing *g, struct slice options)
{
	uint64_t now = shard_wall(g->sc->task->shard) / NS_PER_S, seconds;
	struct slice word;

	while (slice_split(&options, ',', &word)) {
		word = slice_trim(word);
		if (slice_eq(word, SLICE("timestamps"))) {
			g->arc.timestamps = true;
			g->arc.created = now;
		} else if (slice_eq(word, SLICE("expire"))) {
			g->arc.expires = now + 30ull * 86400;
		} else if (slice_starts(word, SLICE("expire=+"))) {
			if (!parse_u64(slice_from(word, 8), &seconds) || seconds > INT32_MAX)
				return false;
			g->arc.expires = now + seconds;
		} else if (slice_starts(word, SLICE("expire="))) {
			if (!parse_u64(slice_from(word, 7), &g->arc.expires))
				return false;
		} else if (word.len) {
			return false;
		}
	}
	return true;
}

static enum rc take_arc(struct signing *g)
{
	struct slice list, rest, items[4] = {SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY};
	char separator = 0;
	unsigned count = 0;
	enum rc rc = option(g, g->s->arc_sign, "arc_sign", &list);

	if (rc != OK || !slice_trim(list).len)
		return rc;
	rest = list;
	while (count < 4 && list_next(g->sc->task->arena, &rest, &separator, &items[count]))
		count++;
	if (!is_name(items[0]))
		bad_arc(g, "admd", list);
	else if (!is_name(items[1]))
		bad_arc(g, "selector", list);
	else if (!items[2].len)
		bad_arc(g, "privkey", list);
	else if (!take_arc_options(g, items[3]))
		bad_arc(g, "options", list);
	else if (mailauth_key_get(g->sc->task, items[2], &g->arc.key, g->err) != OK)
		bad_arc(g, "privkey", g->err->text);
	else
		g->arc_wanted = true;
	g->err->text = SLICE_EMPTY;
	g->arc.domain = items[0];
	g->arc.selector = items[1];
	return OK;
}

/* In front of the signatures that were just made, which are signed, too. */
static enum rc seal(struct signing *g, struct str *out)
{
	struct mailauth_text text = g->text;
	struct body_hashes *hashes = text.hashes;
	struct str whole = str_make(g->sc->task->arena), set = str_make(g->sc->task->arena);
	enum rc rc;

	str_add(&whole, str_slice(out));
	str_add(&whole, text.header);
	text.header = str_slice(&whole);
	if (!text.header.ptr)
		return err_memory(g->err);
	rc = mailauth_text_init(&text, g->err);
	text.hashes = hashes;
	if (rc == OK)
		rc = arc_sign(&text, &g->arc, &set, g->err);
	if (rc == FAIL) {
		log_printf(g->sc->task->shard, g->sc->conf, LOG_TO_MAIN, &g->sc->message->id, "ARC: %.*s",
			   SLICE_ARG(g->err->text));
		g->err->text = SLICE_EMPTY;
		return OK;
	}
	if (rc != OK)
		return rc;
	str_add(&set, str_slice(out));
	*out = set;
	return set.failed ? err_memory(g->err) : OK;
}

static enum rc sign_all(struct signing *g, struct smtp_transaction *t, struct str *out)
{
	enum rc rc;

	g->text = (struct mailauth_text){.task = g->sc->task,
					 .header = slice_sub(t->headers, 0, header_end(t->headers)),
					 .next = next_piece,
					 .arg = g};
	g->front = slice_from(t->headers, g->text.header.len + 2);
	g->from_message = t->message;
	g->text.message = g->front.len ? NULL : t->message;
	if (t->message)
		body_reader_init(&g->reader, t->message);
	rc = mailauth_text_init(&g->text, g->err);
	for (unsigned i = 0; rc == OK && i < g->count; i++)
		rc = dkim_sign_prepare(&g->text, &g->signers[i], g->err);
	if (rc == OK && g->arc_wanted)
		rc = arc_sign_prepare(&g->text, g->err);
	if (rc == OK)
		rc = mailauth_text_read(&g->text, g->err);
	for (unsigned i = 0; rc == OK && i < g->count; i++)
		rc = dkim_sign(&g->text, &g->signers[i], out, g->err);
	if (rc == FAIL && !g->strict) {
		/* Without those signatures, but perhaps with a seal. */
		log_failure(g);
		str_clear(out);
		rc = OK;
	}
	if (rc == OK && g->arc_wanted)
		rc = seal(g, out);
	return rc;
}

static bool expands_to_something(struct scope *sc, const struct expansion *option)
{
	struct err err = err_make(sc->task->arena);
	struct slice text;
	enum rc rc = expand_option(sc, option, &text, &err);

	return rc == OK ? slice_trim(text).len > 0 : !(rc == FAIL && err.forced);
}

bool smtp_signs(struct scope *sc, const struct smtp_transport *s)
{
	return (s->dkim_domain && expands_to_something(sc, s->dkim_domain)) ||
	       (s->arc_sign && expands_to_something(sc, s->arc_sign));
}

enum rc smtp_sign(struct scope *sc, const struct smtp_transport *s, struct smtp_transaction *t,
		  struct err *err)
{
	struct err why = err_make(sc->task->arena);
	struct str out = str_make(sc->task->arena);
	bool may_sign = s->dkim_domain && s->dkim_selector && s->dkim_private_key;
	struct signing *g;
	enum rc rc = OK;

	if ((!may_sign && !s->arc_sign) || s->transport.body_only)
		return OK;
	g = arena_make(sc->task->arena, struct signing);
	if (!g)
		return err_memory(err);
	g->sc = sc;
	g->s = s;
	g->err = &why;
	g->front = g->piece = SLICE_EMPTY;
	if (may_sign)
		rc = take_domains(g);
	sc->dkim_domain = sc->dkim_selector = (struct slice){NULL, 0, CLEAN};
	if (rc == FAIL && !g->strict) {
		log_failure(g);
		g->count = 0;
		rc = OK;
	}
	if (rc == OK && s->arc_sign)
		rc = take_arc(g);
	if (rc == OK && !g->count && !g->arc_wanted)
		return OK;
	if (rc == OK)
		rc = sign_all(g, t, &out);
	if (rc == CANCELLED)
		return rc;
	if (rc != OK) {
		log_failure(g);
		if (g->strict || rc == DEFER)
			return err_set(err, DEFER, "DKIM: message could not be signed%s",
				       g->strict ? ", and dkim_strict is set. Deferring message delivery."
						 : " now");
		return OK;
	}
	str_add(&out, t->headers);
	t->headers = str_slice(&out);
	return t->headers.ptr ? OK : err_memory(err);
}
