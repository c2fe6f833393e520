/* shown: what a client has shown of itself, for when it comes back. A ticket has no room for a chain of certificates; it has room for
 * the name of one, its SHA-256. The chain itself is kept by whoever serves (struct tls_server), only if it was accepted. When
 * the ticket comes back the chain is judged once more: dates, signatures, our authorities and lists as they are now. Whatever is
 * missing or has changed means a full handshake, in which the client shows it again.
 *
 * What is kept: for each certificate, the client's own first, its length (4 bytes, the host's order) and its DER. */
#include "tls/engine.h"
#include "tls/x509.h"

#include <wolfssl/wolfcrypt/sha256.h>

static bool name_of(struct slice record, uint8_t name[SHOWN_NAME_LEN])
{
	wc_Sha256 sha;
	bool fine;

	static_assert(SHOWN_NAME_LEN == WC_SHA256_DIGEST_SIZE, "the name is the digest");
	if (wc_InitSha256(&sha) != 0)
		return false;
	fine = wc_Sha256Update(&sha, (const byte *)record.ptr, record.len) == 0 &&
	       wc_Sha256Final(&sha, name) == 0;
	wc_Sha256Free(&sha);
	return fine;
}

/* Of this handshake. Empty: nothing, or too much. */
static struct slice record_of(struct tls_session *t, struct arena *arena)
{
	WOLFSSL_X509_CHAIN *chain = wolfSSL_get_peer_chain(t->ssl);
	struct str record = str_make(arena);
	int count = chain ? wolfSSL_get_chain_count(chain) : 0;

	for (int i = 0; i < count; i++) {
		int32_t len = wolfSSL_get_chain_length(chain, i);
		const unsigned char *der = wolfSSL_get_chain_cert(chain, i);

		if (len <= 0 || !der)
			return SLICE_EMPTY;
		str_add(&record, slice_make((const char *)&len, sizeof(len), CLEAN));
		str_add(&record, slice_make((const char *)der, (size_t)len, TAINTED));
	}
	return record.failed || record.len > TLS_SHOWN_MAX ? SLICE_EMPTY : str_slice(&record);
}

bool shown_keep(struct tls_session *t, uint8_t name_ret[SHOWN_NAME_LEN])
{
	struct arena arena;
	struct slice record;
	bool fine;

	if (!t->server.keep)
		return false;
	if (wolfSSL_session_reused(t->ssl)) {
		memcpy(name_ret, t->returned_name, SHOWN_NAME_LEN);
		return t->returned;
	}
	if (t->verify_error)
		return false;
	arena_init(&arena, 4ul * TLS_SHOWN_MAX);
	record = record_of(t, &arena);
	fine = record.len && name_of(record, name_ret);
	if (fine)
		t->server.keep(t->server.arg, slice_make((const char *)name_ret, SHOWN_NAME_LEN, CLEAN),
			       record);
	arena_done(&arena);
	return fine;
}

/* false: that is no record, or one of them has had its time. */
static bool read_record(struct slice record, int64_t now_s, struct slice shown[CHAIN_MAX],
			unsigned *count_ret)
{
	struct x509 cert;
	unsigned count = 0;
	int32_t len;

	for (; record.len; count++) {
		if (count == CHAIN_MAX || record.len < sizeof(len))
			return false;
		memcpy(&len, record.ptr, sizeof(len));
		record = slice_from(record, sizeof(len));
		if (len <= 0 || (uint32_t)len > record.len)
			return false;
		shown[count] = slice_sub(record, 0, (size_t)len);
		record = slice_from(record, (size_t)len);
		if (!x509_parse(shown[count], &cert) || now_s < cert.not_before || now_s > cert.not_after)
			return false;
	}
	*count_ret = count;
	return count > 0;
}

bool shown_find(struct tls_session *t, const uint8_t name[SHOWN_NAME_LEN])
{
	int64_t now_s = (int64_t)(shard_wall(t->here->shard) / NS_PER_S);
	struct slice record, shown[CHAIN_MAX];
	uint8_t check[SHOWN_NAME_LEN];
	unsigned count;

	if (!t->server.find ||
	    !t->server.find(t->server.arg, slice_make((const char *)name, SHOWN_NAME_LEN, CLEAN), &t->arena,
			    &record) ||
	    !name_of(record, check) || memcmp(check, name, SHOWN_NAME_LEN) != 0 ||
	    !read_record(record, now_s, shown, &count) ||
	    chain_judge(shown, count, &t->context->authorities, &t->context->revoked))
		return false;
	t->returned = true;
	memcpy(t->returned_name, name, SHOWN_NAME_LEN);
	t->stored_certificate = shown[0];
	t->stored_verified = true;
	return true;
}
