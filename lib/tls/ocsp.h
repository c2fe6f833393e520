/* OCSP responses (RFC 6960): which certificate one belongs to, and whether it may be believed. */
#ifndef TLS_OCSP_H
#define TLS_OCSP_H

#include "x509.h"

#define OCSP_TOLERANCE_S  300 /* of clocks */
#define OCSP_RESPONSE_MAX 65536
#define OCSP_SINGLES_MAX  64 /* answers in one response that are looked at */
#define OCSP_SIGNERS_MAX  8  /* certificates in one response that are looked at */

/* A text with responses, DER (one) or PEM (any number, other blocks skipped). The n-th of them, from 0, in the arena or the text.
 * OK; FAIL: no more; DEFER with text: it is malformed. */
NODISCARD enum rc ocsp_read(struct arena *arena, struct slice text, bool pem, unsigned n,
			    struct slice *response_ret, struct err *err);

enum ocsp_status {
	OCSP_UNREADABLE, /* no OCSP response, or one that says that there was an error */
	OCSP_UNTRUSTED,  /* not signed by the issuer or one it has named for this */
	OCSP_FOREIGN,    /* says nothing of this certificate */
	OCSP_DATES,      /* not yet, no longer, or nobody knows for how long */
	OCSP_REVOKED,
	OCSP_UNKNOWN,
	OCSP_GOOD,
};
struct ocsp_answer {
	enum ocsp_status status;
	int64_t this_update, next_update; /* 0: not told */
	int64_t valid_until; /* GOOD: until when it may be used: next_update, or the signer's end */
	const char *reason;  /* REVOKED: "keyCompromise"... */
};
/* What does the response say of the leaf, which the issuer has signed? now in seconds since the epoch. OK: good. FAIL: err->text is
 * one of Exim's: "OCSP dates invalid", "Server certificate revoked; reason: ..." and so on; *answer_ret says more. Never parks. */
NODISCARD enum rc ocsp_check(struct slice response, const struct x509 *leaf, const struct x509 *issuer,
			     int64_t now, struct ocsp_answer *answer_ret, struct err *err);
/* Does it say anything of this leaf at all? Nothing else is looked at. */
bool ocsp_belongs(struct slice response, const struct x509 *leaf, const struct x509 *issuer);
/* A request for the state of the leaf, for its responder (RFC 6960 section 4.1.1). */
NODISCARD enum rc ocsp_request(struct arena *arena, const struct x509 *leaf, const struct x509 *issuer,
			       struct slice *request_ret, struct err *err);

#endif
