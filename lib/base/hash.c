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

static inline uint64_t hash_bytes(const char *p, size_t len, bool nocase)
{
	uint64_t v0 = 0x736f6d6570736575 ^ key0, v1 = 0x646f72616e646f6d ^ key1;
	uint64_t v2 = 0x6c7967656e657261 ^ key0, v3 = 0x7465646279746573 ^ key1;
	uint64_t last = (uint64_t)len << 56, w;
	size_t whole = len & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8) {
		memcpy(&w, p + i, 8);
		if (nocase)
			w = ascii_lower8(w);
		v3 ^= w;
		SIPROUND;
		v0 ^= w;
	}
	w = 0;
	memcpy(&w, p + whole, len & 7);
	last |= nocase ? ascii_lower8(w) : w;
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
/* The instruction gives a result every third cycle but can begin one in each: three runs of LANE bytes go side by
 * side, and are joined by shifting a checksum over as many zero bytes as follow it, which is linear in its bits. */
#define LANE 1024u

struct crc_shift {
	bool ready;
	uint32_t table[4][256]; /* by byte of the checksum */
};

static uint32_t matrix_times(const uint32_t matrix[32], uint32_t bits)
{
	uint32_t sum = 0;

	for (; bits; bits &= bits - 1)
		sum ^= matrix[__builtin_ctz(bits)];
	return sum;
}

static void crc_shift_init(struct crc_shift *shift)
{
	uint32_t matrix[32], square[32];

	matrix[0] = 0x82f63b78u; /* one zero bit */
	for (int i = 1; i < 32; i++)
		matrix[i] = 1u << (i - 1);
	for (unsigned bits = 1; bits < LANE * 8; bits *= 2) {
		for (int i = 0; i < 32; i++)
			square[i] = matrix_times(matrix, matrix[i]);
		memcpy(matrix, square, sizeof(matrix));
	}
	for (uint32_t k = 0; k < 4; k++)
		for (uint32_t i = 0; i < 256; i++)
			shift->table[k][i] = matrix_times(matrix, i << (8 * k));
	shift->ready = true;
}

static inline uint32_t crc_shifted(const struct crc_shift *shift, uint64_t crc)
{
	return shift->table[0][crc & 0xff] ^ shift->table[1][crc >> 8 & 0xff] ^
	       shift->table[2][crc >> 16 & 0xff] ^ shift->table[3][crc >> 24 & 0xff];
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_hard(uint32_t crc, const unsigned char *p,
							      size_t len)
{
	static _Thread_local struct crc_shift shift; /* each thread its own: no lock for the first use */
	uint64_t c = crc;

	if (len >= 3 * LANE && !shift.ready)
		crc_shift_init(&shift);
	for (; len >= 3 * LANE; len -= 3 * LANE, p += 3 * LANE) {
		uint64_t c1 = 0, c2 = 0, w[3];

		for (unsigned i = 0; i < LANE; i += 8) {
			memcpy(&w[0], p + i, 8);
			memcpy(&w[1], p + LANE + i, 8);
			memcpy(&w[2], p + 2 * LANE + i, 8);
			c = __builtin_ia32_crc32di(c, w[0]);
			c1 = __builtin_ia32_crc32di(c1, w[1]);
			c2 = __builtin_ia32_crc32di(c2, w[2]);
		}
		c = crc_shifted(&shift, c) ^ c1;
		c = crc_shifted(&shift, c) ^ c2;
	}
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
