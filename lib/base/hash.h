#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/slice.h"

/* SipHash-1-3 under a key that is chosen at random once in each process (hash_seed()), so that a stranger
 * cannot choose keys that collide. Not for anything that is stored or sent. */
uint64_t hash_slice(struct slice s);
uint64_t hash_slice_nocase(struct slice s);
/* Call before the first map is made, if at all: tests call it with fixed numbers, the server with random ones. */
void hash_seed(uint64_t k0, uint64_t k1);

/* CRC-32C (Castagnoli, RFC 3720 B.4) of the bytes, continuing from crc (0 to begin). */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
