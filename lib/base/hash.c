#include "base/base.h"

static uint64_t key0 = 0x736c756963653031, key1 = 0x6d61696c686f7573;

void hash_seed(uint64_t k0, uint64_t k1)
{
	key0 = k0;
	key1 = k1;
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIPROUND                        \
	do {                            \
		v0 += v1;               \
		v1 = ROTL(v1, 13) ^ v0; \
		v0 = ROTL(v0, 32);      \
		v2 += v3;               \
		v3 = ROTL(v3, 16) ^ v2; \
		v0 += v3;               \
		v3 = ROTL(v3, 21) ^ v0; \
		v2 += v1;               \
		v1 = ROTL(v1, 17) ^ v2; \
		v2 = ROTL(v2, 32);      \
	} while (0)

/* Lower-cases the ASCII capitals among eight bytes at once. */
static inline uint64_t lower8(uint64_t w)
{
	uint64_t low = w & 0x7f7f7f7f7f7f7f7f;
	uint64_t ge_a = low + 0x3f3f3f3f3f3f3f3f;  /* high bit: at least 'A' */
	uint64_t gt_z = low + 0x2525252525252525;  /* high bit: above 'Z' */
	uint64_t upper = ge_a & ~gt_z & ~w & 0x8080808080808080;

	return w | upper >> 2;
}

static inline uint64_t hash_bytes(const char *p, size_t len, bool nocase)
{
	uint64_t v0 = 0x736f6d6570736575 ^ key0, v1 = 0x646f72616e646f6d ^ key1;
	uint64_t v2 = 0x6c7967656e657261 ^ key0, v3 = 0x7465646279746573 ^ key1;
	uint64_t last = (uint64_t)len << 56, w;
	size_t whole = len & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8) {
		memcpy(&w, p + i, 8);
		if (nocase)
			w = lower8(w);
		v3 ^= w;
		SIPROUND;
		v0 ^= w;
	}
	w = 0;
	memcpy(&w, p + whole, len & 7);
	last |= nocase ? lower8(w) : w;
	v3 ^= last;
	SIPROUND;
	v0 ^= last;
	v2 ^= 0xff;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

uint64_t hash_slice(struct slice s)
{
	return hash_bytes(s.ptr, s.len, false);
}

uint64_t hash_slice_nocase(struct slice s)
{
	return hash_bytes(s.ptr, s.len, true);
}

/* One table, made by the compiler's own arithmetic at first use would need a lock; it is small enough to be
 * computed by each thread that finds no hardware instruction. */
static uint32_t crc32c_soft(uint32_t crc, const unsigned char *p, size_t len)
{
	static _Thread_local uint32_t table[256];

	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;
			for (int k = 0; k < 8; k++)
				c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
			table[i] = c;
		}
	while (len--)
		crc = table[(crc ^ *p++) & 0xff] ^ crc >> 8;
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_hard(uint32_t crc, const unsigned char *p, size_t len)
{
	uint64_t c = crc;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		c = __builtin_ia32_crc32di(c, w);
	}
	for (; len; len--, p++)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return (uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_hard(~crc, bytes, len);
#endif
	return ~crc32c_soft(~crc, bytes, len);
}
