/* sha256: SHA-256 by the processor's own instructions where it has them (x86-64 since 2016 or so), which the library's assembler does
 * not use: four to eight times as fast; elsewhere by wolfCrypt. Bodies are hashed here, and that is most of what a signature costs
 * beside its key. Private to the room. */
#ifndef MAILAUTH_SHA256_H
#define MAILAUTH_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/sha256.h>

struct sha256 {
	bool hard;
	union {
		wc_Sha256 soft;
		struct {
			uint32_t state[8];
			uint64_t length;                           /* bytes so far */
			unsigned char block[WC_SHA256_BLOCK_SIZE]; /* the last of them that fill none */
		} own;
	};
};
bool sha256_is_hard(void); /* the processor has them */
/* soft: not by the processor, even if it could. */
void sha256_init(struct sha256 *sha, bool soft);
void sha256_update(struct sha256 *sha, const void *bytes, size_t len);
void sha256_final(struct sha256 *sha, uint8_t digest_ret[WC_SHA256_DIGEST_SIZE]); /* the state is gone */
void sha256_copy(struct sha256 *copy_ret, struct sha256 *sha);

/* Two hashes side by side take little more time than one. A text that is known ahead of the time when its hash is wanted stands in line
 * until the blocks of another hash come by. */
struct sha256_waiting {
	struct sha256_waiting *next;
	struct sha256 *sha;
	const unsigned char *at;
	size_t left; /* bytes */
};
/* The bytes, which stay where they are, are the next of the hash, and wait. The line's first is NULL when nobody does. */
void sha256_wait(struct sha256_waiting **line, struct sha256_waiting *waiting, struct sha256 *sha,
		 const void *bytes, size_t len);
/* As sha256_update(); meanwhile those who wait get on. sha waits not. */
void sha256_update_beside(struct sha256 *sha, const void *bytes, size_t len, struct sha256_waiting **line);
/* What is left of the waiting bytes is done now; the hash can be asked for. */
void sha256_wait_end(struct sha256_waiting **line, struct sha256_waiting *waiting);

#endif
