/* message_case: a message verified, or signed, as a whole over a table of keys: each signature in a word, and the chain. */
#ifndef TEST_MESSAGE_CASE_H
#define TEST_MESSAGE_CASE_H

#include "mailauth/arc.h"
#include "mailauth/sign.h"
#include "zone.h"

struct checked {
	struct message message;
	struct dkim_limits limits;
	struct mailauth_resolver resolver;
};

/* The message's signatures in words: "pass fail/bodyhash_mismatch | arc pass". Bodies go through in pieces of that size. */
static inline struct slice check(struct task *task, struct zone *zone, struct slice text, uint32_t piece)
{
	struct checked *c = arena_make(task->arena, struct checked);
	struct str out = str_make(task->arena);
	struct err err = err_make(task->arena);
	struct dkim_work work = {
	    .task = task, .arena = &c->message.arena, .limits = &c->limits, .resolver = &c->resolver};
	struct dkim_state *state;
	struct arc_state *arc;
	uint32_t used;

	c->resolver = zone_resolver(zone);
	c->limits = (struct dkim_limits){.hashes = 1u << HASH_SHA256 | 1u << HASH_SHA1,
					 .key_types = 1u << KEY_RSA | 1u << KEY_ED25519,
					 .rsa_bits_min = 1024,
					 .ed25519_bits_min = 250,
					 .now = 1700000000};
	arena_init(&c->message.arena, 0);
	header_block_init(&c->message.headers);
	if (header_block_parse(&c->message.arena, text, &c->message.headers, &used, &err) != OK ||
	    dkim_header_done(task, &c->message, &c->resolver, &err) != OK)
		return SLICE("error");
	for (struct slice rest = slice_from(text, used); rest.len; rest = slice_from(rest, piece))
		dkim_body(&c->message, rest.ptr, slice_sub(rest, 0, piece).len);
	state = dkim_state_of(&c->message);
	body_hashes_end(&state->body);
	work.index = dkim_fields(&c->message);
	for (unsigned i = 0; i < state->count; i++) {
		struct dkim_signature *s = state->signatures[i];
		if (dkim_signature_verify(&work, s, &err) != OK)
			return SLICE("error");
		str_printf(&out, "%s%.*s", i ? " " : "", SLICE_ARG(dkim_status_word(s)));
		if (s->reason != REASON_NONE)
			str_printf(&out, "/%.*s", SLICE_ARG(dkim_reason_word(s)));
	}
	arc = arc_state_of(&c->message);
	if (arc) {
		if (arc_evaluate(&work, &c->message, &err) != OK)
			return SLICE("error");
		str_printf(&out, "%sarc %.*s", out.len ? " " : "",
			   SLICE_ARG(mailauth_result_word(arc->result)));
		if (arc->result == MAILAUTH_FAIL)
			str_printf(&out, "/%.*s", SLICE_ARG(arc->reason));
	}
	if (!out.len)
		str_addz(&out, "none");
	arena_done(&c->message.arena);
	return str_slice(&out);
}

struct piece_of_body {
	struct slice rest;
};

static inline enum rc next_piece(struct mailauth_text *text, struct slice *ret, struct err *err)
{
	struct piece_of_body *body = text->arg;

	(void)err;
	if (!body->rest.len)
		return FAIL;
	*ret = slice_sub(body->rest, 0, 1000);
	body->rest = slice_from(body->rest, 1000);
	return OK;
}

static const char *names_to_sign = ""; /* of the fields to be signed; empty: the usual */

/* "sign" or "arc", domain, selector, key (a file, or itself), header form, body form. */
static inline enum rc sign(struct task *task, char **words, struct slice message, struct str *out,
			   struct err *err)
{
	ptrdiff_t end = slice_search(message, SLICE("\r\n\r\n"));
	struct piece_of_body body = {.rest = end < 0 ? SLICE_EMPTY : slice_from(message, (size_t)end + 4)};
	struct mailauth_text text = {
	    .task = task, .header = slice_sub(message, 0, (size_t)end + 2), .next = next_piece, .arg = &body};
	struct dkim_signer signer = {.domain = slice_of(words[1]),
				     .selector = slice_of(words[2]),
				     .identity = SLICE_EMPTY,
				     .sign_headers = slice_of(names_to_sign),
				     .header_relaxed = strcmp(words[4], "relaxed") == 0,
				     .body_relaxed = strcmp(words[5], "relaxed") == 0};
	struct arc_signer arc = {
	    .domain = signer.domain, .selector = signer.selector, .timestamps = true, .created = 1700000000};
	bool sealing = strcmp(words[0], "arc") == 0;
	enum rc rc = mailauth_key_get(task, slice_of(words[3]), &signer.key, err);

	arc.key = signer.key;
	if (rc == OK)
		rc = mailauth_text_init(&text, err);
	if (rc == OK)
		rc = sealing ? arc_sign_prepare(&text, err) : dkim_sign_prepare(&text, &signer, err);
	if (rc == OK)
		rc = mailauth_text_read(&text, err);
	if (rc == OK)
		rc = sealing ? arc_sign(&text, &arc, out, err) : dkim_sign(&text, &signer, out, err);
	return rc;
}

#endif
