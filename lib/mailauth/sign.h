/* sign: private keys and what is made with them, for DKIM and ARC. Private to the room. */
#ifndef MAILAUTH_SIGN_H
#define MAILAUTH_SIGN_H

#include "dkim.h"

struct mailauth_key {
	enum dkim_key_type type;
	struct slice bytes; /* RSA: DER; Ed25519: 32 bytes and the public 32 */
	unsigned bits;
};
/* A key's text, which is no file name. */
NODISCARD enum rc mailauth_key_parse(struct arena *arena, struct slice text,
				     const struct mailauth_key **key_ret, struct err *err);
/* Signs a digest; *signature_ret are bytes in task->arena. Parks with RSA. */
NODISCARD enum rc mailauth_key_sign(struct task *task, const struct mailauth_key *key, enum hash_kind hash,
				    const uint8_t *digest, struct slice *signature_ret, struct err *err);

/* A header field in the making: tags that are folded where a line gets long. */
struct field_maker {
	struct str *out;
	uint32_t line; /* where the present line begins in out */
};
void field_begin(struct field_maker *maker, struct str *out, const char *name);
/* "; " (but for the first) and the tag with its value, on the next line if this one is full. */
void field_tag(struct field_maker *maker, const char *tag, struct slice value);
/* A long value may be broken behind each separator; 0: anywhere. */
void field_value(struct field_maker *maker, struct slice value, char separator);
struct slice base64_of(struct arena *arena, struct slice bytes);
/* h=: each name as often as a verifier shall look for it, those that are there first. */
NODISCARD bool sign_names(struct mailauth_text *text, struct slice list, struct str *names_ret);
/* The fields of these names, bottom up, and the unfinished field without its final CRLF. */
void sign_hash_header(struct mailauth_text *text, struct slice names, struct slice unfinished, bool relaxed,
		      enum hash_kind kind, uint8_t *digest_ret);

#endif
