/* connect: the handshake of a client, the names of the server's certificate, and sessions to come back with. */
#include "tls/cert.h"
#include "tls/engine.h"
#include "tls/names.h"
#include "tls/x509.h"

#include <stdlib.h>

/* ---- Sessions to come back with ---- */

/* What tls_session_export() gives: this, the server's certificate, and the library's form of the session. Read back by the same
 * build only: hints may be lost. */
struct stored_head {
	char magic[4];
	uint8_t verified, ocsp, spare[2];
	uint32_t certificate_len, session_len;
};
static_assert(sizeof(struct stored_head) == 16, "layout of a hint");
static const char magic[4] = {'T', 'L', 'S', '1'};

struct slice tls_session_export(struct tls_session *t, struct arena *arena)
{
	struct stored_head head = {.verified = t->facts.verified, .ocsp = t->facts.ocsp};
	WOLFSSL_SESSION *session = t->ssl && t->state != SESSION_HELLO ? wolfSSL_get1_session(t->ssl) : NULL;
	struct slice certificate = t->stored_certificate.ptr ? t->stored_certificate : SLICE_EMPTY;
	struct slice ret = SLICE_EMPTY;
	unsigned char *at;
	char *bytes;
	int len;

	if (!session)
		return SLICE_EMPTY;
	len = wolfSSL_SESSION_has_ticket(session) ? wolfSSL_i2d_SSL_SESSION(session, NULL) : 0;
	bytes = len > 0 ? arena_bytes(arena, sizeof(head) + certificate.len + (size_t)len) : NULL;
	if (bytes) {
		memcpy(head.magic, magic, sizeof(magic));
		head.certificate_len = certificate.len;
		head.session_len = (uint32_t)len;
		memcpy(bytes, &head, sizeof(head));
		memcpy(bytes + sizeof(head), certificate.ptr, certificate.len);
		at = (unsigned char *)bytes + sizeof(head) + certificate.len;
		if (wolfSSL_i2d_SSL_SESSION(session, &at) == len)
			ret = slice_make(bytes, sizeof(head) + certificate.len + (size_t)len, TAINTED);
	}
	wolfSSL_SESSION_free(session);
	wolfSSL_ERR_clear_error();
	return ret;
}

static bool still_valid(struct tls_session *t, struct slice certificate)
{
	int64_t now_s = (int64_t)(shard_wall(t->here->shard) / NS_PER_S);
	struct x509 cert;

	return !certificate.len || (x509_parse(certificate, &cert) && cert.not_before <= now_s &&
				    now_s <= cert.not_after && !revoked_has(&t->context->revoked, &cert));
}

/* Offers it. What can't be read, or whose certificate is no longer valid, is not offered. */
static void offer(struct tls_session *t, struct slice stored)
{
	struct stored_head head;
	WOLFSSL_SESSION *session;
	const unsigned char *at;
	struct slice certificate;

	if (stored.len < sizeof(head))
		return;
	memcpy(&head, stored.ptr, sizeof(head));
	if (memcmp(head.magic, magic, sizeof(magic)) != 0 ||
	    (uint64_t)sizeof(head) + head.certificate_len + head.session_len != stored.len)
		return;
	certificate = slice_sub(stored, sizeof(head), head.certificate_len);
	if (!still_valid(t, certificate) || (t->context->verify == TLS_VERIFY_MUST && !head.verified) ||
	    (t->as_client->ocsp_require && head.ocsp != TLS_OCSP_VERIFIED))
		return;
	at = (const unsigned char *)stored.ptr + sizeof(head) + head.certificate_len;
	session = wolfSSL_d2i_SSL_SESSION(NULL, &at, (long)head.session_len);
	if (!session)
		return;
	if (wolfSSL_set_session(t->ssl, session) == WOLFSSL_SUCCESS) {
		t->stored_certificate = arena_copy(&t->arena, certificate);
		t->stored_verified = head.verified;
		t->stored_ocsp = head.ocsp;
	}
	wolfSSL_SESSION_free(session);
}

/* ---- Names ---- */

/* Does the certificate have one of the names that were asked for? (RFC 6125) */
static enum rc check_names(struct tls_session *t, struct err *err)
{
	const struct tls_client *client = t->as_client;
	struct tls_facts *f = &t->facts;
	struct x509 cert;

	if (t->context->verify == TLS_VERIFY_NONE || !client->name_count || !t->stored_certificate.len)
		return OK;
	if (!x509_parse(t->stored_certificate, &cert))
		return err_set(err, FAIL, "the server's certificate can't be read");
	for (unsigned i = 0; i < client->name_count; i++) {
		enum rc rc = names_match_host(&t->arena, &cert, client->names[i]);

		if (rc != FAIL)
			return rc;
	}
	f->verified = false;
	/* A certificate that nobody vouches for has no name to speak of. */
	if (f->verify_error.len)
		return OK;
	f->verify_error = arena_printf(&t->arena, "certificate name mismatch: DN=\"%.*s\" H=\"%.*s\"",
				       SLICE_ARG(f->peer_dn), SLICE_ARG(client->names[0]));
	if (t->context->verify == TLS_VERIFY_MUST)
		return err_set(err, FAIL, "%.*s", SLICE_ARG(f->verify_error));
	return OK;
}

/* ---- The handshake ---- */

static enum rc prepare(struct task *task, struct tls_session *t, struct err *err)
{
	const struct tls_client *client = t->as_client;
	enum rc rc = context_get(task, client->settings, false, client->conf, &t->context, err);

	if (rc != OK)
		return rc;
	t->cert = &t->context->certs[0];
	if (!session_library(t, err))
		return DEFER;
	if (client->sni.len && wolfSSL_UseSNI(t->ssl, WOLFSSL_SNI_HOST_NAME, client->sni.ptr,
					      (unsigned short)client->sni.len) != WOLFSSL_SUCCESS)
		return err_set(err, FAIL, "the server name \"%.*s\" can't be sent", SLICE_ARG(client->sni));
	session_use_alpn(task, t, client->settings->alpn, WOLFSSL_ALPN_CONTINUE_ON_MISMATCH);
	/* The library checks a proof against the authorities of the context, so there have to be some. */
	if ((client->ocsp_request || client->ocsp_require) && t->context->verify != TLS_VERIFY_NONE) {
		(void)wolfSSL_EnableOCSPStapling(t->ssl);
		t->ocsp_asked = wolfSSL_UseOCSPStapling(t->ssl, WOLFSSL_CSR_OCSP, 0) == WOLFSSL_SUCCESS;
	}
	t->flight = calloc(1, sizeof(*t->flight)); /* for the handshake */
	if (!t->flight)
		return err_memory(err);
	if (client->settings->resumption)
		offer(t, client->session);
	else
		(void)wolfSSL_NoTicketTLSv12(t->ssl);
	return OK;
}

/* One call of the library, in its turn. MORE: it waits for input. */
static enum tls_progress step(struct task *task, struct tls_session *t, enum rc *rc_ret, struct err *err)
{
	int result, code;

	*rc_ret = session_turn(task, t);
	if (*rc_ret != OK)
		return TLS_FAILED;
	t->busy = true;
	t->task = task;
	result = wolfSSL_connect(t->ssl);
	session_turn_end(t);
	t->busy = t->looked_at = false;
	t->task = NULL;
	if (result == WOLFSSL_SUCCESS)
		return TLS_DONE;
	code = wolfSSL_get_error(t->ssl, result);
	if (code == WOLFSSL_ERROR_WANT_READ) {
		wolfSSL_ERR_clear_error();
		return TLS_MORE;
	}
	*rc_ret = task->cancelled ? CANCELLED : FAIL;
	if (t->ocsp_asked && (code == OCSP_CERT_REVOKED || code == BAD_CERTIFICATE_STATUS_ERROR))
		staple_refused(t, err);
	else if (t->verify_error && t->context->verify == TLS_VERIFY_MUST)
		(void)err_set(err, FAIL, "certificate verification failed: %s", t->verify_why);
	else
		(void)library_error(err, t->ssl, result, "the handshake failed");
	return TLS_FAILED;
}

static enum rc handshake(struct task *task, struct tls_session *t, struct err *err)
{
	enum rc rc;

	for (;;) {
		switch (step(task, t, &rc, err)) {
		case TLS_DONE:
			return OK;
		case TLS_FAILED:
			return rc;
		case TLS_MORE:
			break;
		}
		rc = stream_raw_fill(task, t->stream, err);
		if (rc != OK) {
			err_prefix(err, "in the TLS handshake");
			return rc;
		}
	}
}

enum rc tls_connect(struct task *task, struct stream *stream, const struct tls_client *client,
		    struct tls_session **session_ret, struct err *err)
{
	struct tls_session *t = tls_session_new(stream);
	enum rc rc;

	if (!t)
		return err_memory(err);
	t->client = true;
	t->as_client = client;
	t->state = SESSION_HANDSHAKE;
	rc = prepare(task, t, err);
	if (rc != OK) {
		tls_session_free(t);
		return rc;
	}
	/* Said before TLS began, by whoever stands between. */
	if (stream_set_layer(stream, &session_layer, t))
		rc = err_set(err, FAIL, "the server sent data before the TLS handshake");
	if (rc == OK)
		rc = handshake(task, t, err);
	if (rc == OK) {
		staple_scheme(t);
		session_opened(t);
		rc = check_names(t, err);
	}
	if (rc == OK && t->ocsp_asked && !(t->facts.resumption & TLS_RESUME_USED))
		rc = staple_judge(t, err);
	else if (rc == OK && client->ocsp_require && t->facts.ocsp != TLS_OCSP_VERIFIED)
		rc = err_set(err, FAIL, "Required TLS certificate status not received");
	session_flight_end(t);
	t->as_client = NULL;
	if (rc != OK) {
		t->state = SESSION_OVER;
		tally_up(&t->here->metrics->failed[TLS_OUT]);
		return rc;
	}
	library_count(t);
	*session_ret = t;
	return OK;
}
