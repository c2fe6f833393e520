/* dkim_key: key records (RFC 6376 section 3.6.1, RFC 8463) and what is checked with them. A key of another shape, with bytes
 * behind it or of a size that would cost too much, is none. */
#include "dkim.h"

#include <stdlib.h>

#include "base/der.h"
#include "kept.h"

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/rsa.h>

/* ---- Keys ---------------------------------------------------------------------------------------------------- */

/* RSAPublicKey, bare (RFC 6376) or in a SubjectPublicKeyInfo, which is what everybody publishes. */
static bool rsa_parse(struct slice der, struct slice *n_ret, struct slice *e_ret)
{
	/* The algorithm is rsaEncryption, its parameters are NULL. */
	static const char rsa[] = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05";
	struct slice rest = der, inner;
	struct der_item key, algorithm, bits;

	if (!der_expect(&rest, DER_SEQUENCE, &key) || rest.len)
		return false;
	inner = key.body;
	if (der_optional(&inner, DER_SEQUENCE, &algorithm)) {
		if (!slice_eq(algorithm.body, slice_make(rsa, sizeof(rsa), CLEAN)) ||
		    !der_expect(&inner, DER_BIT_STRING, &bits) || inner.len || !der_bits(bits.body, &rest) ||
		    !der_expect(&rest, DER_SEQUENCE, &key) || rest.len)
			return false;
		inner = key.body;
	}
	return der_positive(&inner, n_ret) && der_positive(&inner, e_ret) && !inner.len;
}

/* ---- Records ------------------------------------------------------------------------------------------------- */

static unsigned bit_count(struct slice number)
{
	unsigned bits = number.len * 8;

	for (unsigned char c = (unsigned char)number.ptr[0]; c && !(c & 0x80); c = (unsigned char)(c << 1))
		bits--;
	return bits;
}

static enum dkim_reason parse_bytes(struct dkim_key *key)
{
	if (key->type == KEY_ED25519) {
		key->bits = 256;
		return key->bytes.len == ED25519_PUB_KEY_SIZE ? REASON_NONE : REASON_KEY_DATA;
	}
	if (!rsa_parse(key->bytes, &key->n, &key->e))
		return REASON_KEY_DATA;
	key->bits = bit_count(key->n);
	if (key->bits > DKIM_RSA_BITS_MAX)
		return REASON_KEY_LONG;
	/* A large exponent makes the cheap operation an expensive one; an even number is no key at all. */
	if (key->e.len > 8 || !(key->e.ptr[key->e.len - 1] & 1) || !(key->n.ptr[key->n.len - 1] & 1) ||
	    (key->e.len == 1 && key->e.ptr[0] == 1))
		return REASON_KEY_DATA;
	return REASON_NONE;
}

enum rc dkim_key_parse(struct arena *arena, struct slice text, struct dkim_key *key,
		       enum dkim_reason *reason_ret)
{
	struct err why = err_make(NULL);
	struct tag_list list;
	struct slice type, p, flags;

	*key = (struct dkim_key){.service = SLICE("*"),
				 .granularity = SLICE("*"),
				 .notes = SLICE_EMPTY,
				 .hashes = {NULL, 0, CLEAN},
				 .bytes = SLICE_EMPTY,
				 .n = SLICE_EMPTY,
				 .e = SLICE_EMPTY};
	*reason_ret = REASON_KEY_SYNTAX;
	if (text.len > DKIM_KEY_RECORD_MAX || tag_list_parse(text, &list, &why) != OK)
		return FAIL;
	/* If v= is there it is the first, and its value is compared as it is. */
	if (tag_find(&list, "v") &&
	    (tag_find(&list, "v") != list.tags || !slice_eq(list.tags[0].value, SLICE("DKIM1"))))
		return FAIL;
	type = tag_value(&list, "k");
	p = tag_value(&list, "p");
	if (!p.ptr)
		return FAIL;
	key->hashes = tag_value(&list, "h");
	if (tag_find(&list, "s"))
		key->service = tag_value(&list, "s");
	if (tag_find(&list, "g"))
		key->granularity = tag_value(&list, "g");
	if (tag_find(&list, "n"))
		key->notes = tag_unquote(arena, tag_value(&list, "n"));
	flags = tag_value(&list, "t");
	key->testing = flags.ptr && tag_item_is_in(flags, SLICE("y"));
	key->exact = flags.ptr && tag_item_is_in(flags, SLICE("s"));
	*reason_ret = REASON_KEY_UNFIT;
	if (type.ptr && slice_eq(type, SLICE("ed25519")))
		key->type = KEY_ED25519;
	else if (type.ptr && !slice_eq(type, SLICE("rsa")))
		return FAIL;
	*reason_ret = REASON_KEY_REVOKED;
	if (!p.len)
		return FAIL;
	*reason_ret = REASON_KEY_DATA;
	if (!tag_base64(arena, p, DKIM_KEY_RECORD_MAX, &key->bytes))
		return key->bytes.ptr ? FAIL : DEFER;
	*reason_ret = parse_bytes(key);
	return *reason_ret == REASON_NONE ? OK : FAIL;
}

/* ---- Keys that are kept ------------------------------------------------------------------------------------------- */

struct dkim_kept_key {
	struct dkim_key key;
	enum rc rc;
	enum dkim_reason reason;
	RsaKey *rsa; /* the library's form of it, once there was a signature to check */
};

static bool kept_make(struct arena *arena, struct slice text, void *object)
{
	struct dkim_kept_key *kept = object;

	kept->rc = dkim_key_parse(arena, text, &kept->key, &kept->reason);
	kept->key.kept = kept;
	return kept->rc != DEFER;
}

static void kept_free(void *object)
{
	struct dkim_kept_key *kept = object;

	if (kept->rsa)
		wc_FreeRsaKey(kept->rsa);
	free(kept->rsa);
}

static const struct kept_kind keys = {.number = KEPT_DKIM_KEYS,
				      .count_max = 1000,
				      .size = sizeof(struct dkim_kept_key),
				      .make = kept_make,
				      .done = kept_free};

enum rc dkim_key_get(struct shard *shard, struct arena *arena, struct slice name, struct slice text,
		     struct dkim_key *key, enum dkim_reason *reason_ret)
{
	struct dkim_kept_key *kept = kept_get(shard, &keys, name, text);

	if (!kept) {
		text = arena_copy(arena, text);
		return text.ptr ? dkim_key_parse(arena, text, key, reason_ret) : DEFER;
	}
	*key = kept->key;
	*reason_ret = kept->reason;
	return kept->rc;
}

bool dkim_key_find(struct shard *shard, struct slice name, struct dkim_key *key, enum rc *rc_ret,
		   enum dkim_reason *reason_ret)
{
	struct dkim_kept_key *kept = kept_find(shard, &keys, name);

	if (!kept)
		return false;
	*key = kept->key;
	*rc_ret = kept->rc;
	*reason_ret = kept->reason;
	return true;
}

bool dkim_key_is_known(struct shard *shard, struct slice name)
{
	void *kept = kept_find(shard, &keys, name);

	kept_release(kept);
	return kept;
}

void dkim_key_believe(struct dkim_key *key, const struct kept_time *time)
{
	kept_believe(key->kept, time);
}

void dkim_key_release(struct dkim_key *key)
{
	kept_release(key->kept);
	key->kept = NULL;
}

struct slice dkim_key_name(struct arena *arena, struct slice selector, struct slice domain)
{
	static const char between[] = "._domainkey.";
	size_t middle = sizeof(between) - 1, len = (size_t)selector.len + middle + domain.len;
	char *bytes = arena_bytes(arena, len);
	struct err err = err_make(NULL);
	struct slice name = {bytes, (uint32_t)len, TAINTED};

	if (!bytes)
		return name;
	memcpy(bytes, selector.ptr, selector.len);
	memcpy(bytes + selector.len, between, middle);
	memcpy(bytes + selector.len + middle, domain.ptr, domain.len);
	if (!ascii_only(name) && domain_to_ascii(arena, name, &name, &err) != OK)
		name.ptr = NULL;
	if (name.len > 253)
		name.ptr = NULL;
	return name;
}

/* ---- Signatures ----------------------------------------------------------------------------------------------- */

static int hash_oid(enum hash_kind kind)
{
	return wc_HashGetOID(kind == HASH_SHA1     ? WC_HASH_TYPE_SHA
			     : kind == HASH_SHA256 ? WC_HASH_TYPE_SHA256
						   : WC_HASH_TYPE_SHA512);
}

static bool rsa_decode(const struct dkim_key *key, RsaKey *rsa)
{
	if (wc_InitRsaKey(rsa, NULL) != 0)
		return false;
	if (wc_RsaPublicKeyDecodeRaw((const byte *)key->n.ptr, key->n.len, (const byte *)key->e.ptr,
				     key->e.len, rsa) == 0)
		return true;
	wc_FreeRsaKey(rsa);
	return false;
}

/* The library's key that stays with a kept one; NULL: there is none, or no memory. */
static RsaKey *rsa_kept(const struct dkim_key *key)
{
	struct dkim_kept_key *kept = key->kept;
	RsaKey *rsa;

	if (!kept || kept->rsa)
		return kept ? kept->rsa : NULL;
	rsa = malloc(sizeof(*rsa)); /* once for each key that is kept */
	if (!rsa || !rsa_decode(key, rsa)) {
		free(rsa);
		return NULL;
	}
	kept->rsa = rsa;
	kept_grown(kept, sizeof(*rsa));
	return rsa;
}

static bool rsa_verifies(const struct dkim_key *key, enum hash_kind hash, const uint8_t *digest,
			 struct slice signature)
{
	byte expected[HASH_SIZE_MAX + 64], found[DKIM_RSA_BITS_MAX / 8];
	word32 expected_len;
	RsaKey own, *rsa;
	int len;

	/* RFC 8017 section 8.2.2: the signature is exactly as long as the modulus. */
	if (signature.len != key->n.len)
		return false;
	rsa = rsa_kept(key);
	if (!rsa && !rsa_decode(key, &own))
		return false;
	expected_len = wc_EncodeSignature(expected, digest, hash_size(hash), hash_oid(hash));
	len = wc_RsaSSL_Verify((const byte *)signature.ptr, signature.len, found, sizeof(found),
			       rsa ? rsa : &own);
	if (!rsa)
		wc_FreeRsaKey(&own);
	return len > 0 && (word32)len == expected_len && memcmp(found, expected, expected_len) == 0;
}

/* RFC 8463 section 3: what is signed is the hash. */
static bool ed25519_verifies(const struct dkim_key *key, enum hash_kind hash, const uint8_t *digest,
			     struct slice signature)
{
	ed25519_key ed;
	int good = 0;

	if (signature.len != ED25519_SIG_SIZE || wc_ed25519_init(&ed) != 0)
		return false;
	if (wc_ed25519_import_public((const byte *)key->bytes.ptr, key->bytes.len, &ed) != 0 ||
	    wc_ed25519_verify_msg((const byte *)signature.ptr, signature.len, digest, hash_size(hash), &good,
				  &ed) != 0)
		good = 0;
	wc_ed25519_free(&ed);
	return good == 1;
}

bool dkim_key_verifies(const struct dkim_key *key, enum hash_kind hash, const uint8_t *digest,
		       struct slice signature)
{
	return key->type == KEY_RSA ? rsa_verifies(key, hash, digest, signature)
				    : ed25519_verifies(key, hash, digest, signature);
}
