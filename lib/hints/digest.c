/* digest: keys that are too long for the database keep their beginning, for those who look, and end in a SHA-256
 * digest of the whole. A strong one, since strangers choose parts of keys. */
#include "store.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/sha256.h>

static void sha256(struct slice bytes, uint8_t digest[WC_SHA256_DIGEST_SIZE])
{
	wc_Sha256 sha;

	/* Without hardware of its own it cannot fail. */
	ASSERT(wc_InitSha256(&sha) == 0);
	ASSERT(wc_Sha256Update(&sha, (const byte *)bytes.ptr, bytes.len) == 0);
	ASSERT(wc_Sha256Final(&sha, digest) == 0);
	wc_Sha256Free(&sha);
}

struct slice hints_stored_key(struct slice key, char *buf)
{
	uint8_t digest[WC_SHA256_DIGEST_SIZE];
	char *at = buf + HINTS_KEY_MAX - 2 * sizeof(digest);

	if (key.len <= HINTS_KEY_MAX)
		return key;
	sha256(key, digest);
	memcpy(buf, key.ptr, (size_t)(at - buf));
	at[-1] = '#';
	for (size_t i = 0; i < sizeof(digest); i++) {
		*at++ = "0123456789abcdef"[digest[i] >> 4];
		*at++ = "0123456789abcdef"[digest[i] & 15];
	}
	return slice_make(buf, HINTS_KEY_MAX, (enum taint)key.taint);
}
