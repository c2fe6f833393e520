/* sha256: FIPS 180-4, section 6.2, by instructions of which each does two rounds. */
#include "sha256.h"

#include "base/base.h"

#ifdef __x86_64__

#include <cpuid.h>
#include <immintrin.h>

static const uint32_t constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* Asked once a thread: in a virtual machine the question is answered by the hypervisor, and takes microseconds. */
static bool processor_can(void)
{
	static _Thread_local enum { UNKNOWN, YES, NO } answer;
	unsigned a, b, c, d;

	if (answer == UNKNOWN) {
		bool sse41 = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3);
		bool sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);

		answer = sse41 && sha ? YES : NO;
	}
	return answer == YES;
}

/* A hash at work. The instructions want its eight words in two registers, as a b e f and c d g h. */
struct lane {
	__m128i abef, cdgh, abef_before, cdgh_before, w[4];
};
#define IN_LANE __attribute__((target("sha,sse4.1"), always_inline)) static inline

IN_LANE void lane_begin(struct lane *lane, const uint32_t state[8])
{
	__m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
	__m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);

	lane->abef = _mm_alignr_epi8(low, high, 8);
	lane->cdgh = _mm_blend_epi16(high, low, 0xf0);
}

IN_LANE void lane_end(const struct lane *lane, uint32_t state[8])
{
	__m128i low = _mm_shuffle_epi32(lane->abef, 0x1b), high = _mm_shuffle_epi32(lane->cdgh, 0xb1);

	_mm_storeu_si128((__m128i *)state, _mm_blend_epi16(low, high, 0xf0));
	_mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

IN_LANE void block_begin(struct lane *lane)
{
	lane->abef_before = lane->abef;
	lane->cdgh_before = lane->cdgh;
}

IN_LANE void block_end(struct lane *lane)
{
	lane->abef = _mm_add_epi32(lane->abef, lane->abef_before);
	lane->cdgh = _mm_add_epi32(lane->cdgh, lane->cdgh_before);
}

/* Rounds 4i to 4i + 3 of the block at p. */
IN_LANE void four_rounds(struct lane *lane, const unsigned char *p, unsigned i)
{
	const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i *w = lane->w, sum;

	if (i < 4) {
		w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), big_endian);
	} else {
		/* w[i - 4] + s0(w[i - 3]...) + w[i - 2 and 1, one word on] + s1(w[i - 1]...) */
		sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]),
				    _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4));
		w[i % 4] = _mm_sha256msg2_epu32(sum, w[(i + 3) % 4]);
	}
	sum = _mm_add_epi32(w[i % 4], _mm_load_si128((const __m128i *)(constants + 4 * i)));
	lane->cdgh = _mm_sha256rnds2_epu32(lane->cdgh, lane->abef, sum);
	lane->abef = _mm_sha256rnds2_epu32(lane->abef, lane->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

__attribute__((target("sha,sse4.1"))) static void add_blocks(uint32_t state[8], const unsigned char *p,
							     size_t blocks)
{
	struct lane lane;

	lane_begin(&lane, state);
	for (; blocks; blocks--, p += WC_SHA256_BLOCK_SIZE) {
		block_begin(&lane);
#pragma GCC unroll 16
		for (unsigned i = 0; i < 16; i++)
			four_rounds(&lane, p, i);
		block_end(&lane);
	}
	lane_end(&lane, state);
}

/* The same of two hashes in turns. Each instruction waits for the one before it, and the other hash's for none of these: two take
 * a tenth more time than one. */
__attribute__((target("sha,sse4.1"))) static void add_blocks_of_two(uint32_t state[8], const unsigned char *p,
								    uint32_t other_state[8],
								    const unsigned char *q, size_t blocks)
{
	struct lane lane, other;

	lane_begin(&lane, state);
	lane_begin(&other, other_state);
	for (; blocks; blocks--, p += WC_SHA256_BLOCK_SIZE, q += WC_SHA256_BLOCK_SIZE) {
		block_begin(&lane);
		block_begin(&other);
#pragma GCC unroll 16
		for (unsigned i = 0; i < 16; i++) {
			four_rounds(&lane, p, i);
			four_rounds(&other, q, i);
		}
		block_end(&lane);
		block_end(&other);
	}
	lane_end(&lane, state);
	lane_end(&other, other_state);
}

#else

static bool processor_can(void)
{
	return false;
}

static void add_blocks(uint32_t state[8], const unsigned char *p, size_t blocks)
{
	(void)state;
	(void)p;
	(void)blocks;
	ASSERT(false);
}

static void add_blocks_of_two(uint32_t state[8], const unsigned char *p, uint32_t other_state[8],
			      const unsigned char *q, size_t blocks)
{
	(void)other_state;
	(void)q;
	add_blocks(state, p, blocks);
}

#endif

/* Beside blocks of those who wait, as far as there are any. */
static void add_beside(uint32_t state[8], const unsigned char *p, size_t blocks, struct sha256_waiting **line)
{
	while (blocks && *line) {
		struct sha256_waiting *w = *line;
		size_t some = w->left / WC_SHA256_BLOCK_SIZE;

		if (!some) {
			*line = w->next;
			continue;
		}
		if (some > blocks)
			some = blocks;
		add_blocks_of_two(state, p, w->sha->own.state, w->at, some);
		w->sha->own.length += some * WC_SHA256_BLOCK_SIZE;
		w->at += some * WC_SHA256_BLOCK_SIZE;
		w->left -= some * WC_SHA256_BLOCK_SIZE;
		p += some * WC_SHA256_BLOCK_SIZE;
		blocks -= some;
	}
	if (blocks)
		add_blocks(state, p, blocks);
}

bool sha256_is_hard(void)
{
	return processor_can();
}

void sha256_init(struct sha256 *sha, bool soft)
{
	static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

	sha->hard = !soft && processor_can();
	if (sha->hard) {
		memcpy(sha->own.state, first, sizeof(first));
		sha->own.length = 0;
	} else {
		ASSERT(wc_InitSha256(&sha->soft) == 0); /* cannot fail without hardware of its own */
	}
}

void sha256_update(struct sha256 *sha, const void *bytes, size_t len)
{
	struct sha256_waiting *nobody = NULL;

	sha256_update_beside(sha, bytes, len, &nobody);
}

void sha256_update_beside(struct sha256 *sha, const void *bytes, size_t len, struct sha256_waiting **line)
{
	const unsigned char *p = bytes;
	size_t have = sha->own.length % WC_SHA256_BLOCK_SIZE, some;

	if (!len)
		return;
	if (!sha->hard) {
		ASSERT(wc_Sha256Update(&sha->soft, bytes, (word32)len) == 0);
		return;
	}
	sha->own.length += len;
	if (have) {
		some = len < sizeof(sha->own.block) - have ? len : sizeof(sha->own.block) - have;
		memcpy(sha->own.block + have, p, some);
		if (have + some < sizeof(sha->own.block))
			return;
		add_beside(sha->own.state, sha->own.block, 1, line);
		p += some;
		len -= some;
	}
	add_beside(sha->own.state, p, len / WC_SHA256_BLOCK_SIZE, line);
	memcpy(sha->own.block, p + len / WC_SHA256_BLOCK_SIZE * WC_SHA256_BLOCK_SIZE,
	       len % WC_SHA256_BLOCK_SIZE);
}

void sha256_final(struct sha256 *sha, uint8_t digest[WC_SHA256_DIGEST_SIZE])
{
	unsigned char tail[2 * WC_SHA256_BLOCK_SIZE] = {0};
	size_t have, size;

	if (!sha->hard) {
		ASSERT(wc_Sha256Final(&sha->soft, digest) == 0);
		wc_Sha256Free(&sha->soft);
		return;
	}
	/* A one bit, zeros, and the number of bits in eight bytes at the end of a block. */
	have = sha->own.length % WC_SHA256_BLOCK_SIZE;
	size = have + 9 <= WC_SHA256_BLOCK_SIZE ? WC_SHA256_BLOCK_SIZE : sizeof(tail);
	memcpy(tail, sha->own.block, have);
	tail[have] = 0x80;
	for (unsigned i = 0; i < 8; i++)
		tail[size - 1 - i] = (unsigned char)(sha->own.length * 8 >> (8 * i));
	add_blocks(sha->own.state, tail, size / WC_SHA256_BLOCK_SIZE);
	for (unsigned i = 0; i < WC_SHA256_DIGEST_SIZE; i++)
		digest[i] = (uint8_t)(sha->own.state[i / 4] >> (24 - 8 * (i % 4)));
}

void sha256_copy(struct sha256 *copy, struct sha256 *sha)
{
	copy->hard = sha->hard;
	if (sha->hard)
		copy->own = sha->own;
	else
		ASSERT(wc_Sha256Copy(&sha->soft, &copy->soft) == 0);
}

void sha256_wait(struct sha256_waiting **line, struct sha256_waiting *w, struct sha256 *sha,
		 const void *bytes, size_t len)
{
	size_t have = sha->hard ? sha->own.length % WC_SHA256_BLOCK_SIZE : 0;
	size_t now = !sha->hard ? len : have ? WC_SHA256_BLOCK_SIZE - have : 0;

	/* Whoever waits begins with a whole block. */
	if (now > len)
		now = len;
	sha256_update(sha, bytes, now);
	*w = (struct sha256_waiting){.sha = sha, .at = (const unsigned char *)bytes + now, .left = len - now};
	while (*line)
		line = &(*line)->next;
	*line = w;
}

void sha256_wait_end(struct sha256_waiting **line, struct sha256_waiting *w)
{
	struct sha256_waiting **at = line;

	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	sha256_update_beside(w->sha, w->at, w->left, line);
	w->left = 0;
}
