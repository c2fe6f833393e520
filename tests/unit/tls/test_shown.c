/* Chains that clients have shown: what is kept of a handshake, and what of it is believed later. */
#include "fixture.h"

#include "tls/engine.h"

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>

/* ---- Who keeps ---- */

struct keeper {
	struct slice name, record; /* empty: nothing was kept */
	unsigned kept, asked;
	bool lost;
};

static void keep(void *arg, struct slice name, struct slice chain)
{
	struct keeper *k = arg;

	k->name = arena_copy(&arena, name);
	k->record = arena_copy(&arena, chain);
	k->kept++;
}

static bool find(void *arg, struct slice name, struct arena *to, struct slice *chain_ret)
{
	struct keeper *k = arg;

	k->asked++;
	if (k->lost || !slice_eq(name, k->name))
		return false;
	*chain_ret = arena_copy(to, k->record);
	return true;
}

/* ---- A session of a server ---- */

struct end {
	struct tls_session session;
	struct tls_shard here;
	struct tls_context context;
};

static struct end *end_make(struct keeper *k)
{
	struct end *e = arena_make(&arena, struct end);

	assert_int_equal(
	    shard_new(&(struct shard_options){.id = 0, .count = 1, .cpu = -1}, &e->here.shard, NULL), OK);
	e->session.here = &e->here;
	e->session.context = &e->context;
	e->session.server = (struct tls_server){.arg = k, .keep = keep, .find = find};
	arena_init(&e->session.arena, 1 << 20);
	return e;
}

static void end_done(struct end *e)
{
	arena_done(&e->session.arena);
	authorities_done(&e->context.authorities);
	revoked_done(&e->context.revoked);
	shard_free(e->here.shard);
}

static const char *data_path(const char *name)
{
	const char *slash = strrchr(__FILE__, '/');

	return arena_cstr(&arena,
			  arena_printf(&arena, "%.*s/data/%s", (int)(slash - __FILE__), __FILE__, name));
}

/* This one alone is trusted. */
static void trust(struct end *e, struct slice der)
{
	struct authorities *a = &e->context.authorities;
	struct x509 cert;

	assert_true(x509_parse(der, &cert));
	authorities_done(a);
	a->bytes = malloc(der.len);
	a->list = malloc(sizeof(*a->list));
	memcpy(a->bytes, der.ptr, der.len);
	a->list[0] = (struct authority){0, der.len, hash_slice(cert.subject)};
	a->len = der.len;
	a->count = 1;
}

static bool found(struct end *e, struct slice name)
{
	struct tls_session *t = &e->session;
	bool found;

	t->returned = t->stored_verified = false;
	t->stored_certificate = SLICE_EMPTY;
	memset(t->returned_name, 0, sizeof(t->returned_name));
	found = shown_find(t, (const uint8_t *)name.ptr);
	assert_int_equal(found, t->returned);
	assert_int_equal(found, t->stored_verified);
	assert_int_equal(found, t->stored_certificate.len > 0);
	assert_int_equal(found, memcmp(t->returned_name, name.ptr, SHOWN_NAME_LEN) == 0);
	return found;
}

/* ---- Records made by hand ---- */

static void put(struct str *record, struct slice der)
{
	int32_t len = (int32_t)der.len;

	str_add(record, slice_make((const char *)&len, sizeof(len), CLEAN));
	str_add(record, der);
}

/* Kept under the name that it has. */
static void hold(struct keeper *k, struct slice record)
{
	byte name[WC_SHA256_DIGEST_SIZE];

	assert_int_equal(wc_Sha256Hash((const byte *)record.ptr, record.len, name), 0);
	*k = (struct keeper){.record = record,
			     .name = arena_copy(&arena, slice_make((char *)name, sizeof(name), CLEAN))};
}

static struct slice two(struct slice leaf, struct slice issuer)
{
	struct str record = str_make(&arena);

	put(&record, leaf);
	if (issuer.len)
		put(&record, issuer);
	return str_slice(&record);
}

static void test_judged_anew(void **state)
{
	struct slice leaf = certificate("leaf.pem").whole, ca = certificate("ca.pem").whole;
	struct keeper k;
	struct end *e = end_make(&k);

	(void)state;
	hold(&k, two(leaf, ca));
	assert_false(found(e, k.name)); /* nobody is trusted */
	assert_true(authorities_load(&e->context.authorities, data_path("ca.pem")));
	assert_true(found(e, k.name));
	assert_true(slice_eq(e->session.stored_certificate, leaf));
	hold(&k, two(leaf, SLICE_EMPTY)); /* its issuer need not be there */
	assert_true(found(e, k.name));
	assert_int_equal(revoked_add(&e->context.revoked, &arena, data_file("revoked.crl"), NULL), OK);
	revoked_sort(&e->context.revoked);
	assert_false(found(e, k.name));
	revoked_done(&e->context.revoked);
	e->context.revoked = (struct revoked){NULL};
	assert_true(found(e, k.name));
	/* Another authority, now. */
	authorities_done(&e->context.authorities);
	e->context.authorities = (struct authorities){NULL};
	assert_true(authorities_load(&e->context.authorities, data_path("other.pem")));
	assert_false(found(e, k.name));
	end_done(e);
}

/* Nobody keeps anything, or it is lost. */
static void test_missing(void **state)
{
	struct keeper k;
	struct end *e = end_make(&k);
	char other[SHOWN_NAME_LEN] = "another name";

	(void)state;
	hold(&k, two(certificate("leaf.pem").whole, SLICE_EMPTY));
	assert_true(authorities_load(&e->context.authorities, data_path("ca.pem")));
	assert_true(found(e, k.name));
	assert_false(found(e, slice_make(other, sizeof(other), CLEAN)));
	k.lost = true;
	assert_false(found(e, k.name));
	k.lost = false;
	e->session.server.find = NULL;
	assert_false(found(e, k.name));
	end_done(e);
}

/* Somebody has written into the hints: each byte changed, cut anywhere. */
static void test_changed_behind_our_back(void **state)
{
	struct slice whole = two(certificate("leaf.pem").whole, certificate("ca.pem").whole);
	struct keeper k;
	struct end *e = end_make(&k);

	(void)state;
	hold(&k, whole);
	assert_true(authorities_load(&e->context.authorities, data_path("ca.pem")));
	assert_true(found(e, k.name));
	for (uint32_t i = 0; i < whole.len; i++) {
		char *bytes = arena_bytes(&arena, whole.len);

		memcpy(bytes, whole.ptr, whole.len);
		bytes[i] ^= 1;
		k.record = slice_make(bytes, whole.len, CLEAN);
		assert_false(found(e, k.name));
		k.record = slice_sub(whole, 0, i);
		assert_false(found(e, k.name));
	}
	end_done(e);
}

/* Under their right names, but no records of ours. */
static void test_malformed(void **state)
{
	struct slice leaf = certificate("leaf.pem").whole;
	struct keeper k;
	struct end *e = end_make(&k);
	struct slice whole = two(leaf, SLICE_EMPTY);

	(void)state;
	assert_true(authorities_load(&e->context.authorities, data_path("ca.pem")));
	hold(&k, whole);
	assert_true(found(e, k.name));
	for (uint32_t i = 0; i < whole.len; i++) {
		hold(&k, slice_sub(whole, 0, i));
		assert_false(found(e, k.name));
	}
	for (unsigned i = 0; i < 4; i++) {
		const int32_t lengths[] = {0, -1, INT32_MAX, (int32_t)leaf.len + 1};
		char *bytes = arena_bytes(&arena, whole.len);

		memcpy(bytes, whole.ptr, whole.len);
		memcpy(bytes, &lengths[i], sizeof(lengths[i]));
		hold(&k, slice_make(bytes, whole.len, CLEAN));
		assert_false(found(e, k.name));
	}
	for (unsigned count = 1; count < CHAIN_MAX + 3; count++) {
		struct str record = str_make(&arena);

		for (unsigned i = 0; i < count; i++)
			put(&record, leaf);
		hold(&k, str_slice(&record));
		assert_int_equal(found(e, k.name), count <= CHAIN_MAX);
	}
	end_done(e);
}

/* The same certificate, but for its dates: the administrator trusts it itself, so that nothing else is wrong with it. */
static void test_dates(void **state)
{
	struct slice leaf = certificate("leaf.pem").whole;
	const struct {
		const char *before, *after;
		bool fine;
	} rows[] = {
	    {"260101000000Z", "21250101000000Z", true},
	    {"260101000000Z", "20260102000000Z", false}, /* over */
	    {"490101000000Z", "21250101000000Z", false}, /* not yet */
	};
	struct keeper k;
	struct end *e = end_make(&k);

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		/* UTCTime up to 2049, GeneralizedTime after that. */
		ptrdiff_t at = slice_search(leaf, SLICE("\x17\x0d"));
		char *bytes = arena_bytes(&arena, leaf.len);
		struct slice der = slice_make(bytes, leaf.len, CLEAN);

		assert_true(at > 0 && memcmp(leaf.ptr + at + 15, "\x18\x0f", 2) == 0);
		memcpy(bytes, leaf.ptr, leaf.len);
		memcpy(bytes + at + 2, rows[i].before, 13);
		memcpy(bytes + at + 17, rows[i].after, 15);
		trust(e, der);
		hold(&k, two(der, SLICE_EMPTY));
		assert_int_equal(found(e, k.name), rows[i].fine);
		/* It is enough that one of the chain has had its time. */
		hold(&k, two(der, leaf));
		assert_int_equal(found(e, k.name), rows[i].fine);
	}
	end_done(e);
}

/* ---- Handshakes in memory ---- */

struct pipe {
	char bytes[65536];
	size_t len, read;
};
struct wire {
	struct pipe *in, *out;
};

static int wire_receive(WOLFSSL *ssl, char *bytes, int len, void *arg)
{
	struct pipe *p = ((struct wire *)arg)->in;
	size_t take = p->len - p->read < (size_t)len ? p->len - p->read : (size_t)len;

	(void)ssl;
	if (!take)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(bytes, p->bytes + p->read, take);
	p->read += take;
	return (int)take;
}

static int wire_send(WOLFSSL *ssl, char *bytes, int len, void *arg)
{
	struct pipe *p = ((struct wire *)arg)->out;

	(void)ssl;
	assert_true(p->len + (size_t)len <= sizeof(p->bytes));
	memcpy(p->bytes + p->len, bytes, (size_t)len);
	p->len += (size_t)len;
	return len;
}

static int take_any(int fine, WOLFSSL_X509_STORE_CTX *store)
{
	(void)fine;
	(void)store;
	return 1;
}

static WOLFSSL *ssl_make(WOLFSSL_METHOD *method, struct slice chain, struct slice key, struct wire *wire)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(method);
	WOLFSSL *ssl;

	assert_non_null(ctx);
	wolfSSL_CTX_SetIORecv(ctx, wire_receive);
	wolfSSL_CTX_SetIOSend(ctx, wire_send);
	wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER, take_any);
	if (chain.len) {
		assert_int_equal(wolfSSL_CTX_use_certificate_chain_buffer(
				     ctx, (const unsigned char *)chain.ptr, chain.len),
				 WOLFSSL_SUCCESS);
		assert_int_equal(wolfSSL_CTX_use_PrivateKey_buffer(ctx, (const unsigned char *)key.ptr,
								   key.len, WOLFSSL_FILETYPE_ASN1),
				 WOLFSSL_SUCCESS);
	}
	ssl = wolfSSL_new(ctx);
	assert_non_null(ssl);
	wolfSSL_CTX_free(ctx); /* the session has a reference */
	wolfSSL_SetIOReadCtx(ssl, wire);
	wolfSSL_SetIOWriteCtx(ssl, wire);
	return ssl;
}

/* The server's end of a handshake with a client that shows this chain (PEM; empty: none). */
static WOLFSSL *shake(WOLFSSL_METHOD *server_method, WOLFSSL_METHOD *client_method, struct slice chain,
		      struct slice key)
{
	struct pipe *up = arena_make(&arena, struct pipe), *down = arena_make(&arena, struct pipe);
	struct wire at_server = {up, down}, at_client = {down, up};
	struct self_signed own;
	WOLFSSL *server, *client;
	int opened = 0, connected = 0;

	assert_true(self_signed_make(&arena, SLICE("mx.test"), &own));
	server = ssl_make(server_method, own.pem, own.key, &at_server);
	client = ssl_make(client_method, chain, key, &at_client);
	for (unsigned i = 0; i < 8 && !(opened && connected); i++) {
		connected = connected || wolfSSL_connect(client) == WOLFSSL_SUCCESS;
		opened = opened || wolfSSL_accept(server) == WOLFSSL_SUCCESS;
	}
	assert_true(opened && connected);
	wolfSSL_free(client);
	return server;
}

static void test_round_trip(void **state)
{
	struct keeper k = {.name = SLICE_EMPTY};
	struct end *e = end_make(&k);
	struct self_signed own;

	(void)state;
	assert_true(self_signed_make(&arena, SLICE("client.test"), &own));
	for (unsigned v13 = 0; v13 < 2; v13++) {
		uint8_t name[SHOWN_NAME_LEN];

		e->session.ssl =
		    shake(v13 ? wolfTLSv1_3_server_method() : wolfTLSv1_2_server_method(),
			  v13 ? wolfTLSv1_3_client_method() : wolfTLSv1_2_client_method(), own.pem, own.key);
		assert_true(shown_keep(&e->session, name));
		assert_memory_equal(name, k.name.ptr, SHOWN_NAME_LEN);
		assert_true(slice_eq(k.record, two(own.certificate, SLICE_EMPTY)));
		trust(e, own.certificate);
		assert_true(found(e, k.name));
		assert_true(slice_eq(e->session.stored_certificate, own.certificate));
		/* It was not accepted: nothing is kept, and so if nobody keeps. */
		e->session.verify_error = 1;
		assert_false(shown_keep(&e->session, name));
		e->session.verify_error = 0;
		e->session.server.keep = NULL;
		assert_false(shown_keep(&e->session, name));
		e->session.server.keep = keep;
		assert_int_equal(k.kept, v13 + 1);
		wolfSSL_free(e->session.ssl);
	}
	end_done(e);
}

static void test_nothing_shown(void **state)
{
	struct keeper k = {.name = SLICE_EMPTY};
	struct end *e = end_make(&k);
	uint8_t name[SHOWN_NAME_LEN];

	(void)state;
	e->session.ssl =
	    shake(wolfTLSv1_3_server_method(), wolfTLSv1_3_client_method(), SLICE_EMPTY, SLICE_EMPTY);
	assert_false(shown_keep(&e->session, name));
	assert_int_equal(k.kept, 0);
	wolfSSL_free(e->session.ssl);
	end_done(e);
}

/* A certificate of so many bytes, or a few more: what it is padded with is one alternative name. */
static void large_make(uint32_t size, struct slice *der_ret, struct slice *key_ret)
{
	Cert *cert = calloc(1, sizeof(*cert));
	char *der = arena_bytes(&arena, 8192), *secret = arena_bytes(&arena, 256);
	const uint32_t pad = size - 300;
	const unsigned char head[] = {0x30, 0x82, (unsigned char)((pad + 4) >> 8), (unsigned char)(pad + 4),
				      0x82, 0x82, (unsigned char)(pad >> 8),       (unsigned char)pad};
	ecc_key key;
	WC_RNG rng;
	int len;

	assert_non_null(cert);
	assert_int_equal(wc_InitRng(&rng), 0);
	assert_int_equal(wc_ecc_init(&key), 0);
	assert_int_equal(wc_ecc_make_key_ex(&rng, 32, &key, ECC_SECP256R1), 0);
	assert_int_equal(wc_InitCert(cert), 0);
	memcpy(cert->subject.commonName, "large", 6);
	cert->sigType = CTC_SHA256wECDSA;
	cert->daysValid = 10;
	memcpy(cert->altNames, head, sizeof(head));
	memset(cert->altNames + sizeof(head), 'x', pad);
	cert->altNamesSz = (int)(sizeof(head) + pad);
	assert_true(wc_MakeCert(cert, (byte *)der, 8192, NULL, &key, &rng) > 0);
	len = wc_SignCert(cert->bodySz, cert->sigType, (byte *)der, 8192, NULL, &key, &rng);
	assert_true(len >= (int)size);
	*der_ret = slice_make(der, (size_t)len, CLEAN);
	len = wc_EccKeyToDer(&key, (byte *)secret, 256);
	assert_true(len > 0);
	*key_ret = slice_make(secret, (size_t)len, CLEAN);
	wc_ecc_free(&key);
	wc_FreeRng(&rng);
	free(cert);
}

/* A chain that is longer than what is kept of one. */
static void test_too_large(void **state)
{
	struct keeper k = {.name = SLICE_EMPTY};
	struct end *e = end_make(&k);
	struct slice der, key;
	uint8_t name[SHOWN_NAME_LEN];

	(void)state;
	large_make(1900, &der, &key);
	for (unsigned count = 8; count < 10; count++) {
		struct str pem = str_make(&arena);

		for (unsigned i = 0; i < count; i++)
			pem_write(&pem, "CERTIFICATE", der);
		e->session.ssl =
		    shake(wolfTLSv1_3_server_method(), wolfTLSv1_3_client_method(), str_slice(&pem), key);
		assert_int_equal(wolfSSL_get_chain_count(wolfSSL_get_peer_chain(e->session.ssl)), count);
		assert_int_equal(shown_keep(&e->session, name), count * (der.len + 4) <= TLS_SHOWN_MAX);
		assert_int_equal(k.kept, 1);
		wolfSSL_free(e->session.ssl);
	}
	end_done(e);
}

static int begin(void **state)
{
	library_init();
	return setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_judged_anew, begin, teardown),
	    cmocka_unit_test_setup_teardown(test_missing, begin, teardown),
	    cmocka_unit_test_setup_teardown(test_changed_behind_our_back, begin, teardown),
	    cmocka_unit_test_setup_teardown(test_malformed, begin, teardown),
	    cmocka_unit_test_setup_teardown(test_dates, begin, teardown),
	    cmocka_unit_test_setup_teardown(test_round_trip, begin, teardown),
	    cmocka_unit_test_setup_teardown(test_nothing_shown, begin, teardown),
	    cmocka_unit_test_setup_teardown(test_too_large, begin, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
