/* bench_tls_library: what the library takes for a whole handshake, memory to memory: the server's calls, from making its session to
 * freeing it, with nothing around them. The client is in the same process, and its time is not counted. What is between this and
 * the sum of bench_tls_primitives is the library's own way of doing things; what is between this and a server is the server.
 *
 *	bench_tls_library CERTIFICATE KEY
 *
 * A line "= what microseconds" for each kind of handshake, and for a megabyte in records of 16 KiB. perf/tls reads those. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#define ROUNDS 300
#define RECORD 16384
#define BULK   (64 * RECORD)

/* What one side has sent and the other has not read. */
struct pipe {
	char bytes[2 * RECORD];
	int len, read;
};

static struct pipe to_server, to_client;

static int take(WOLFSSL *ssl, char *bytes, int len, void *arg)
{
	struct pipe *p = arg;

	(void)ssl;
	if (p->read == p->len)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	if (len > p->len - p->read)
		len = p->len - p->read;
	memcpy(bytes, p->bytes + p->read, (size_t)len);
	p->read += len;
	if (p->read == p->len)
		p->read = p->len = 0;
	return len;
}

static int give(WOLFSSL *ssl, char *bytes, int len, void *arg)
{
	struct pipe *p = arg;

	(void)ssl;
	if (len > (int)sizeof(p->bytes) - p->len)
		return WOLFSSL_CBIO_ERR_WANT_WRITE;
	memcpy(p->bytes + p->len, bytes, (size_t)len);
	p->len += len;
	return len;
}

static void must(bool fine, const char *what)
{
	if (!fine) {
		fprintf(stderr, "bench_tls_library: %s\n", what);
		exit(1);
	}
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static WOLFSSL *side(WOLFSSL_CTX *ctx, struct pipe *in, struct pipe *out)
{
	WOLFSSL *ssl = wolfSSL_new(ctx);

	must(ssl != NULL, "no memory");
	wolfSSL_SetIOReadCtx(ssl, in);
	wolfSSL_SetIOWriteCtx(ssl, out);
	return ssl;
}

static bool goes_on(WOLFSSL *ssl, int result)
{
	int why = wolfSSL_get_error(ssl, result);

	return why == WOLFSSL_ERROR_WANT_READ || why == WOLFSSL_ERROR_WANT_WRITE;
}

/* One connection: handshake, a command each way, bulk bytes to the server. What the server's calls took, microseconds. */
static double connection(WOLFSSL_CTX *server_ctx, WOLFSSL_CTX *client_ctx, WOLFSSL_SESSION **session,
			 bool resume, int bulk)
{
	static char record[RECORD];
	double took = 0, began = cpu_us(), bulk_took = 0;
	WOLFSSL *server = side(server_ctx, &to_server, &to_client), *client;
	bool client_done = false, server_done = false;

	took += cpu_us() - began;
	client = side(client_ctx, &to_client, &to_server);
	if (resume)
		must(wolfSSL_set_session(client, *session) == WOLFSSL_SUCCESS, "the session is not taken");
	for (int turn = 0; turn < 10 && !(client_done && server_done); turn++) {
		int result = client_done ? WOLFSSL_SUCCESS : wolfSSL_connect(client);

		client_done = result == WOLFSSL_SUCCESS;
		must(client_done || goes_on(client, result), "the client's handshake failed");
		began = cpu_us();
		result = server_done ? WOLFSSL_SUCCESS : wolfSSL_accept(server);
		took += cpu_us() - began;
		server_done = result == WOLFSSL_SUCCESS;
		must(server_done || goes_on(server, result), "the server's handshake failed");
	}
	must(client_done && server_done, "the handshake does not end");
	must(!resume || wolfSSL_session_reused(server), "the session was not resumed");
	must(wolfSSL_write(client, "EHLO client.example\r\n", 21) == 21, "the client cannot write");
	began = cpu_us();
	must(wolfSSL_read(server, record, sizeof(record)) == 21, "the server cannot read");
	must(wolfSSL_write(server, record, 200) == 200, "the server cannot write");
	took += cpu_us() - began;
	must(wolfSSL_read(client, record, sizeof(record)) == 200, "the client cannot read");
	for (int done = 0; done < bulk; done += RECORD) {
		must(wolfSSL_write(client, record, RECORD) == RECORD, "the client cannot write");
		began = cpu_us();
		must(wolfSSL_read(server, record, RECORD) == RECORD, "the server cannot read");
		bulk_took += cpu_us() - began;
	}
	if (!resume) {
		wolfSSL_SESSION_free(*session);
		*session = wolfSSL_get1_session(client);
	}
	began = cpu_us();
	(void)wolfSSL_shutdown(server);
	wolfSSL_free(server);
	took += cpu_us() - began;
	wolfSSL_free(client);
	to_server.len = to_server.read = to_client.len = to_client.read = 0;
	return bulk ? bulk_took : took;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The lower quartile: what disturbs only makes it longer. */
static double cost(WOLFSSL_CTX *server, WOLFSSL_CTX *client, bool resume, int bulk)
{
	WOLFSSL_SESSION *session = NULL;
	double took[ROUNDS];
	int rounds = bulk ? ROUNDS / 10 : ROUNDS;

	if (resume)
		(void)connection(server, client, &session, false, 0);
	for (int i = 0; i < rounds; i++)
		took[i] = connection(server, client, &session, resume, bulk);
	wolfSSL_SESSION_free(session);
	qsort(took, (size_t)rounds, sizeof(took[0]), by_size);
	return took[rounds / 4];
}

static WOLFSSL_CTX *context(bool server, bool tls13, const char *certificate, const char *key)
{
	WOLFSSL_CTX *ctx =
	    wolfSSL_CTX_new(server  ? tls13 ? wolfTLSv1_3_server_method() : wolfTLSv1_2_server_method()
			     : tls13 ? wolfTLSv1_3_client_method()
				    : wolfTLSv1_2_client_method());

	must(ctx != NULL, "no memory");
	wolfSSL_CTX_SetIORecv(ctx, take);
	wolfSSL_CTX_SetIOSend(ctx, give);
	(void)wolfSSL_CTX_set_group_messages(ctx);
	(void)wolfSSL_CTX_set_cipher_list(
	    ctx,
	    tls13 ? "TLS13-AES256-GCM-SHA384" : "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384");
	if (server) {
		must(wolfSSL_CTX_use_certificate_file(ctx, certificate, WOLFSSL_FILETYPE_PEM) ==
			     WOLFSSL_SUCCESS &&
			 wolfSSL_CTX_use_PrivateKey_file(ctx, key, WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS,
		     "the certificate or its key cannot be used");
	} else {
		wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
		(void)wolfSSL_CTX_UseSessionTicket(ctx);
		(void)wolfSSL_CTX_UseSupportedCurve(ctx, WOLFSSL_ECC_X25519);
	}
	return ctx;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: bench_tls_library CERTIFICATE KEY\n");
		return 2;
	}
	(void)wolfSSL_Init();
	for (int version = 3; version >= 2; version--) {
		WOLFSSL_CTX *server = context(true, version == 3, argv[1], argv[2]);
		WOLFSSL_CTX *client = context(false, version == 3, NULL, NULL);

		printf("= full TLSv1_%d %.2f\n", version, cost(server, client, false, 0));
		printf("= resumed TLSv1_%d %.2f\n", version, cost(server, client, true, 0));
		if (version == 3)
			printf("= bulk TLSv1_3 %.2f\n", cost(server, client, false, BULK));
		wolfSSL_CTX_free(client);
		wolfSSL_CTX_free(server);
	}
	(void)wolfSSL_Cleanup();
	return 0;
}
