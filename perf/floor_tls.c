/* floor_tls: STARTTLS for the floor program. */

#include "floor_tls.h"

#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

enum { RECORD = 16384, FLIGHT = 8192 };

struct tls_floor {
	WOLFSSL_CTX *ctx;
};

struct tls_conn {
	WOLFSSL *ssl;
	const char *in;
	size_t in_len, out_len;
	bool shaken;
	char out[FLIGHT];
};

static int take(WOLFSSL *ssl, char *bytes, int len, void *arg)
{
	struct tls_conn *c = arg;
	size_t n = (size_t)len < c->in_len ? (size_t)len : c->in_len;

	(void)ssl;
	if (!n)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(bytes, c->in, n);
	c->in += n;
	c->in_len -= n;
	return (int)n;
}

static int give(WOLFSSL *ssl, char *bytes, int len, void *arg)
{
	struct tls_conn *c = arg;

	(void)ssl;
	if ((size_t)len > sizeof(c->out) - c->out_len)
		return WOLFSSL_CBIO_ERR_GENERAL;
	memcpy(c->out + c->out_len, bytes, (size_t)len);
	c->out_len += (size_t)len;
	return len;
}

struct tls_floor *tls_floor_open(const char *certificate, const char *key)
{
	struct tls_floor *tls = calloc(1, sizeof(*tls));

	(void)wolfSSL_Init();
	if (!tls || !(tls->ctx = wolfSSL_CTX_new(wolfSSLv23_server_method())))
		die("the library", ENOMEM);
	wolfSSL_CTX_SetIORecv(tls->ctx, take);
	wolfSSL_CTX_SetIOSend(tls->ctx, give);
	(void)wolfSSL_CTX_set_group_messages(tls->ctx);
	if (wolfSSL_CTX_use_certificate_file(tls->ctx, certificate, WOLFSSL_FILETYPE_PEM) !=
		WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_use_PrivateKey_file(tls->ctx, key, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
		die("the certificate or its key", EINVAL);
	return tls;
}

struct tls_conn *tls_conn_new(struct tls_floor *tls)
{
	struct tls_conn *c = malloc(sizeof(*c));

	if (!c)
		die("malloc", ENOMEM);
	c->in_len = c->out_len = 0;
	c->shaken = false;
	c->ssl = wolfSSL_new(tls->ctx);
	if (!c->ssl)
		die("wolfSSL_new", ENOMEM);
	(void)wolfSSL_UseClientSuites(c->ssl); /* as servers of mail do */
	wolfSSL_SetIOReadCtx(c->ssl, c);
	wolfSSL_SetIOWriteCtx(c->ssl, c);
	return c;
}

void tls_conn_free(struct tls_conn *c)
{
	if (!c)
		return;
	wolfSSL_free(c->ssl);
	free(c);
}

void tls_conn_feed(struct tls_conn *c, const char *bytes, size_t len)
{
	c->in = bytes;
	c->in_len = len;
}

long tls_conn_read(struct tls_conn *c, char **text)
{
	static _Thread_local char record[RECORD];
	int rc;

	if (!c->shaken) {
		rc = wolfSSL_accept(c->ssl);
		if (rc != WOLFSSL_SUCCESS)
			return wolfSSL_get_error(c->ssl, rc) == WOLFSSL_ERROR_WANT_READ ? 0 : -1;
		c->shaken = true;
	}
	rc = wolfSSL_read(c->ssl, record, sizeof(record));
	*text = record;
	if (rc > 0)
		return rc;
	return wolfSSL_get_error(c->ssl, rc) == WOLFSSL_ERROR_WANT_READ ? 0 : -1;
}

void tls_conn_write(struct tls_conn *c, const char *text, size_t len)
{
	(void)wolfSSL_write(c->ssl, text, (int)len); /* into memory */
}

void tls_conn_close(struct tls_conn *c)
{
	(void)wolfSSL_shutdown(c->ssl);
}

size_t tls_conn_take(struct tls_conn *c, const char **bytes)
{
	size_t len = c->out_len;

	*bytes = c->out;
	c->out_len = 0;
	return len;
}
