/* self_signed: a certificate for those who have none. */
#include "tls/engine.h"
#include "tls/x509.h"

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include <stdlib.h>

#define DER_ROOM 4096

static bool make(Cert *cert, ecc_key *key, WC_RNG *rng, char *der, int *len_ret)
{
	int len = wc_MakeCert(cert, (byte *)der, DER_ROOM, NULL, key, rng);

	if (len > 0)
		len = wc_SignCert(cert->bodySz, cert->sigType, (byte *)der, DER_ROOM, NULL, key, rng);
	*len_ret = len;
	return len > 0;
}

static bool make_both(struct arena *arena, Cert *cert, ecc_key *key, WC_RNG *rng, struct self_signed *ret)
{
	char *der = arena_bytes(arena, DER_ROOM), *secret = arena_bytes(arena, DER_ROOM);
	struct str pem = str_make(arena);
	int der_len, secret_len;

	if (!der || !secret || wc_ecc_make_key_ex(rng, 32, key, ECC_SECP256R1) != 0 ||
	    !make(cert, key, rng, der, &der_len))
		return false;
	secret_len = wc_EccKeyToDer(key, (byte *)secret, DER_ROOM);
	if (secret_len <= 0)
		return false;
	ret->certificate = slice_make(der, (size_t)der_len, CLEAN);
	ret->key = slice_make(secret, (size_t)secret_len, CLEAN);
	pem_write(&pem, "CERTIFICATE", ret->certificate);
	ret->pem = str_slice(&pem);
	return ret->pem.ptr != NULL;
}

bool self_signed_make(struct arena *arena, struct slice name, struct self_signed *ret)
{
	Cert *cert = calloc(1, sizeof(*cert)); /* several KiB */
	ecc_key key;
	WC_RNG rng;
	bool made = false;

	if (!cert)
		return false;
	if (wc_InitRng(&rng) == 0) {
		if (wc_ecc_init(&key) == 0) {
			if (wc_InitCert(cert) == 0) {
				struct slice common =
				    slice_sub(name, 0, sizeof(cert->subject.commonName) - 1);

				memcpy(cert->subject.commonName, common.ptr, common.len);
				cert->sigType = CTC_SHA256wECDSA;
				cert->isCA = 0;
				cert->daysValid = 3650;
				made = make_both(arena, cert, &key, &rng, ret);
			}
			wc_ecc_free(&key);
		}
		wc_FreeRng(&rng);
	}
	free(cert);
	return made;
}
