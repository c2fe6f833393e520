/* staple: what the proof that came with a server's certificate (RFC 6066 section 8) is worth, by our own judgement: the library
 * has looked at it before, less strictly. */
#include "tls/authorities.h"
#include "tls/engine.h"
#include "tls/ocsp.h"

#include <errno.h>

#define JUDGE_ARENA_MAX (2ul * 1024 * 1024) /* the flight, decrypted and put together */

/* What is known of the flight's key, which the library has just made. */
void staple_tap(struct tls_session *t, struct slice bytes)
{
	struct flight *f = t->flight;
	const unsigned char *key, *iv;

	if (!flight_add(f, bytes))
		return;
	key = wolfSSL_GetServerWriteKey(t->ssl);
	iv = wolfSSL_GetServerWriteIV(t->ssl);
	if (!key || !iv)
		return;
	memcpy(f->key.key, key, sizeof(f->key.key));
	memcpy(f->key.iv, iv, sizeof(f->key.iv));
	f->key.suite = (unsigned)wolfSSL_get_current_cipher_suite(t->ssl);
	f->keyed = true;
}

/* The library has found that whoever has issued the certificate is trusted, by name and key; so is the one found here. */
static bool find_issuer(const struct tls_session *t, const struct flight_shown *shown,
			const struct x509 *leaf, struct x509 *ret)
{
	for (unsigned i = 1; i < shown->cert_count; i++)
		if (x509_parse(shown->certs[i], ret) && x509_issued(ret, leaf))
			return true;
	return authorities_issuer(&t->context->authorities, leaf, ret);
}

/* The state, and what there is to say about it in err. readable_ret: it was an OCSP response at least. */
static enum tls_ocsp judge(struct tls_session *t, struct arena *arena, bool *readable_ret, struct err *err)
{
	int64_t now_s = (int64_t)(shard_wall(t->here->shard) / NS_PER_S);
	struct flight_shown shown;
	struct x509 leaf, issuer;
	struct ocsp_answer answer;
	enum rc rc;

	*readable_ret = true;
	if (!flight_read(arena, t->flight, &shown) || !x509_parse(shown.certs[0], &leaf)) {
		*readable_ret = false;
		(void)err_set(err, FAIL, "Received TLS cert status response, parse error");
		return TLS_OCSP_FAILED;
	}
	if (!shown.proof.len)
		return TLS_OCSP_NO_RESPONSE;
	if (!find_issuer(t, &shown, &leaf, &issuer)) {
		/* Nobody vouches for the certificate, so that its proof has no worth either. */
		(void)err_set(err, FAIL, "Received TLS cert status response, itself unverifiable");
		return t->verify_error ? TLS_OCSP_NOT_CHECKED : TLS_OCSP_FAILED;
	}
	rc = ocsp_check(shown.proof, &leaf, &issuer, now_s, &answer, err);
	*readable_ret = answer.status != OCSP_UNREADABLE;
	if (rc != OK)
		return TLS_OCSP_FAILED;
	return t->verify_error ? TLS_OCSP_NOT_CHECKED : TLS_OCSP_VERIFIED;
}

void staple_scheme(struct tls_session *t)
{
	struct flight_shown shown;
	struct arena arena;

	arena_init(&arena, JUDGE_ARENA_MAX);
	if (flight_read(&arena, t->flight, &shown))
		t->scheme = shown.scheme;
	arena_done(&arena);
}

enum rc staple_judge(struct tls_session *t, struct err *err)
{
	bool required = t->as_client->ocsp_require, readable;
	struct tls_facts *f = &t->facts;
	struct arena arena;
	struct err why;
	enum rc rc = OK;

	arena_init(&arena, JUDGE_ARENA_MAX);
	why = err_make(&arena);
	f->ocsp = (uint8_t)judge(t, &arena, &readable, &why);
	if (f->ocsp == TLS_OCSP_FAILED) {
		f->ocsp_error = arena_copy(&t->arena, why.text.ptr ? why.text : SLICE_EMPTY);
		if (required || !readable)
			rc = err_set(err, FAIL, "%.*s", SLICE_ARG(f->ocsp_error));
	} else if (required && f->ocsp != TLS_OCSP_VERIFIED) {
		rc = err_set(err, FAIL, "Required TLS certificate status not received");
	}
	arena_done(&arena);
	return rc;
}

void staple_refused(struct tls_session *t, struct err *err)
{
	struct arena arena;
	struct err why;
	bool readable;

	arena_init(&arena, JUDGE_ARENA_MAX);
	why = err_make(&arena);
	/* The library may be stricter than we are. */
	if (judge(t, &arena, &readable, &why) != TLS_OCSP_FAILED)
		(void)err_set(&why, FAIL, "Received TLS cert status response, itself unverifiable");
	(void)err_set(err, FAIL, "%.*s", SLICE_ARG(why.text));
	if (err && readable)
		err->os = EKEYREJECTED;
	arena_done(&arena);
}
