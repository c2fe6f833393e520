/* digest: hash functions for this room. */
#ifndef EXPAND_DIGEST_H
#define EXPAND_DIGEST_H

#include "base/base.h"

#define DIGEST_SIZE_MAX 64
enum digest_kind {
	DIGEST_MD5,
	DIGEST_SHA1,
	DIGEST_SHA256,
	DIGEST_SHA384,
	DIGEST_SHA512,
	DIGEST_SHA3_224,
	DIGEST_SHA3_256,
	DIGEST_SHA3_384,
	DIGEST_SHA3_512,
};
/* Returns the bytes written to out; 0: the library was built without this function. */
unsigned digest(enum digest_kind kind, struct slice bytes, uint8_t out[DIGEST_SIZE_MAX]);
unsigned digest_hmac(enum digest_kind kind, struct slice key, struct slice bytes,
		     uint8_t out[DIGEST_SIZE_MAX]);

#endif
