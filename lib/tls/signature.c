/* Signatures over certificates and OCSP responses, by wolfCrypt. */
#include "x509.h"

#include <stdlib.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/signature.h>

enum scheme { SCHEME_RSA, SCHEME_PSS, SCHEME_ECDSA, SCHEME_ED25519 };
struct algorithm {
	struct slice oid;
	enum scheme scheme;
	enum wc_HashType hash;
};
/* MD5 is not here on purpose; SHA-1 is, since responders still sign with it and a CertID's second preimage is another matter. */
static const struct algorithm algorithms[] = {
    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"), SCHEME_RSA, WC_HASH_TYPE_SHA256},
    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"), SCHEME_RSA, WC_HASH_TYPE_SHA384},
    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"), SCHEME_RSA, WC_HASH_TYPE_SHA512},
    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"), SCHEME_RSA, WC_HASH_TYPE_SHA},
    {SLICE_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"), SCHEME_PSS, WC_HASH_TYPE_NONE},
    {SLICE_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x02"), SCHEME_ECDSA, WC_HASH_TYPE_SHA256},
    {SLICE_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x03"), SCHEME_ECDSA, WC_HASH_TYPE_SHA384},
    {SLICE_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x04"), SCHEME_ECDSA, WC_HASH_TYPE_SHA512},
    {SLICE_INIT("\x2a\x86\x48\xce\x3d\x04\x01"), SCHEME_ECDSA, WC_HASH_TYPE_SHA},
    {SLICE_INIT("\x2b\x65\x70"), SCHEME_ED25519, WC_HASH_TYPE_NONE},
};

struct job {
	enum wc_HashType hash;
	struct slice key_info, bytes, signature;
};

static bool rsa_key(const struct job *job, RsaKey *key)
{
	word32 at = 0;

	return wc_RsaPublicKeyDecode((const byte *)job->key_info.ptr, &at, key, job->key_info.len) == 0;
}

static bool verify_rsa(const struct job *job, RsaKey *key)
{
	return rsa_key(job, key) &&
	       wc_SignatureVerify(job->hash, WC_SIGNATURE_TYPE_RSA_W_ENC, (const byte *)job->bytes.ptr,
				  job->bytes.len, (const byte *)job->signature.ptr, job->signature.len, key,
				  sizeof(*key)) == 0;
}

/* RSASSA-PSS with one of the hashes that are used in practice, MGF1 with the same, and a salt as long as the digest. */
static bool verify_pss(const struct job *job, RsaKey *key)
{
	int mgf = job->hash == WC_HASH_TYPE_SHA384   ? WC_MGF1SHA384
		  : job->hash == WC_HASH_TYPE_SHA512 ? WC_MGF1SHA512
		  : job->hash == WC_HASH_TYPE_SHA256 ? WC_MGF1SHA256
						     : WC_MGF1SHA1;
	byte digest[WC_MAX_DIGEST_SIZE], out[1024];
	int size = wc_HashGetDigestSize(job->hash);

	return size > 0 && rsa_key(job, key) && job->signature.len <= sizeof(out) &&
	       wc_Hash(job->hash, (const byte *)job->bytes.ptr, job->bytes.len, digest, (word32)size) == 0 &&
	       wc_RsaPSS_VerifyCheck((byte *)(uintptr_t)job->signature.ptr, job->signature.len, out,
				     sizeof(out), digest, (word32)size, job->hash, mgf, key) > 0;
}

static bool verify_ecdsa(const struct job *job, ecc_key *key)
{
	word32 at = 0;

	return wc_EccPublicKeyDecode((const byte *)job->key_info.ptr, &at, key, job->key_info.len) == 0 &&
	       wc_SignatureVerify(job->hash, WC_SIGNATURE_TYPE_ECC, (const byte *)job->bytes.ptr,
				  job->bytes.len, (const byte *)job->signature.ptr, job->signature.len, key,
				  sizeof(*key)) == 0;
}

static bool verify_ed25519(const struct job *job, ed25519_key *key)
{
	word32 at = 0;
	int valid = 0;

	return wc_Ed25519PublicKeyDecode((const byte *)job->key_info.ptr, &at, key, job->key_info.len) == 0 &&
	       wc_ed25519_verify_msg((const byte *)job->signature.ptr, job->signature.len,
				     (const byte *)job->bytes.ptr, job->bytes.len, &valid, key) == 0 &&
	       valid == 1;
}

/* Keys are some kilobytes, and a fiber's stack has other uses: they are borrowed from the heap. */
static bool verify(enum scheme scheme, const struct job *job)
{
	union {
		RsaKey rsa;
		ecc_key ecc;
		ed25519_key ed25519;
	} *key = calloc(1, sizeof(*key));
	bool ok = false;

	if (!key)
		return false;
	switch (scheme) {
	case SCHEME_RSA:
	case SCHEME_PSS:
		if (wc_InitRsaKey(&key->rsa, NULL) != 0)
			break;
		ok = scheme == SCHEME_RSA ? verify_rsa(job, &key->rsa) : verify_pss(job, &key->rsa);
		(void)wc_FreeRsaKey(&key->rsa);
		break;
	case SCHEME_ECDSA:
		if (wc_ecc_init(&key->ecc) != 0)
			break;
		ok = verify_ecdsa(job, &key->ecc);
		wc_ecc_free(&key->ecc);
		break;
	case SCHEME_ED25519:
		if (wc_ed25519_init(&key->ed25519) != 0)
			break;
		ok = verify_ed25519(job, &key->ed25519);
		wc_ed25519_free(&key->ed25519);
		break;
	}
	free(key);
	return ok;
}

/* The hash that PSS parameters name (RFC 4055 section 3.1): SHA-1 unless told. */
static enum wc_HashType pss_hash(struct slice parameters)
{
	static const struct {
		struct slice oid;
		enum wc_HashType hash;
	} hashes[] = {
	    {SLICE_INIT("\x60\x86\x48\x01\x65\x03\x04\x02\x01"), WC_HASH_TYPE_SHA256},
	    {SLICE_INIT("\x60\x86\x48\x01\x65\x03\x04\x02\x02"), WC_HASH_TYPE_SHA384},
	    {SLICE_INIT("\x60\x86\x48\x01\x65\x03\x04\x02\x03"), WC_HASH_TYPE_SHA512},
	};
	struct der_item sequence, tagged, hash, oid;

	if (!der_expect(&parameters, DER_SEQUENCE, &sequence))
		return WC_HASH_TYPE_NONE;
	if (!der_optional(&sequence.body, DER_CONTEXT_OF(0), &tagged))
		return WC_HASH_TYPE_SHA;
	if (!der_expect(&tagged.body, DER_SEQUENCE, &hash) || !der_expect(&hash.body, DER_OID, &oid))
		return WC_HASH_TYPE_NONE;
	for (unsigned i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
		if (slice_eq(oid.body, hashes[i].oid))
			return hashes[i].hash;
	return WC_HASH_TYPE_NONE;
}

enum rc signature_verify(struct slice algorithm, struct slice key_info, struct slice signed_bytes,
			 struct slice signature, struct err *err)
{
	struct job job = {.key_info = key_info, .bytes = signed_bytes, .signature = signature};
	struct der_item sequence, oid;

	if (!der_expect(&algorithm, DER_SEQUENCE, &sequence) || !der_expect(&sequence.body, DER_OID, &oid))
		return err_set(err, FAIL, "malformed signature algorithm");
	for (unsigned i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
		const struct algorithm *a = &algorithms[i];

		if (!slice_eq(oid.body, a->oid))
			continue;
		job.hash = a->scheme == SCHEME_PSS ? pss_hash(sequence.body) : a->hash;
		return verify(a->scheme, &job) ? OK : err_set(err, FAIL, "the signature does not verify");
	}
	return err_set(err, FAIL, "a signature algorithm that is not known");
}
