/* scan: how far a run of unremarkable bytes reaches, looked at in sixteens. Private to the room. */
#ifndef MAILAUTH_SCAN_H
#define MAILAUTH_SCAN_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The compiler's own vectors: one register on every machine that has such. A comparison gives 0xff or 0 in each byte. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));
typedef signed char signed16 __attribute__((vector_size(16)));

static inline bytes16 bytes16_at(const unsigned char *p)
{
	bytes16 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The last bytes of a text, fewer than 16, and zeros behind them: nothing beyond the end is read. A call for so few bytes would take
 * longer than they do. */
static inline bytes16 bytes16_tail(const unsigned char *p, size_t len)
{
	unsigned char padded[16] = {0};

	if (len >= 8) {
		memcpy(padded, p, 8);
		memcpy(padded + len - 8, p + len - 8, 8);
	} else if (len >= 4) {
		memcpy(padded, p, 4);
		memcpy(padded + len - 4, p + len - 4, 4);
	} else {
		for (size_t i = 0; i < len; i++)
			padded[i] = p[i];
	}
	return bytes16_at(padded);
}

/* Of a comparison's result: bit i says whether byte i is one that was looked for. */
static inline unsigned bytes16_bits(bytes16 v)
{
#ifdef __SSE2__
	return (unsigned)_mm_movemask_epi8((__m128i)v);
#else
	/* Each byte leaves its bit, and the product brings the eight of them together. */
	uint64_t halves[2];

	memcpy(halves, &v, sizeof(v));
	halves[0] = (le64toh(halves[0]) & 0x8040201008040201u) * 0x0101010101010101u >> 56;
	halves[1] = (le64toh(halves[1]) & 0x8040201008040201u) * 0x0101010101010101u >> 56;
	return (unsigned)(halves[0] | halves[1] << 8);
#endif
}

/* The first of them; 16: none is. */
static inline unsigned bytes16_first(bytes16 v)
{
	return (unsigned)__builtin_ctz(bytes16_bits(v) | 1u << 16);
}

/* Where the first colon is; len: nowhere. It is near, and a call that searches far would take longer. */
static inline uint32_t scan_colon(const char *text, uint32_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	uint32_t at = 0;

	for (;;) {
		bytes16 v = len - at < 16 ? bytes16_tail(p + at, len - at) : bytes16_at(p + at);
		unsigned run = bytes16_first((bytes16)(v == ':'));

		if (run < 16)
			return at + run;
		if (len - at <= 16)
			return len;
		at += 16;
	}
}

/* How many bytes at the start of text may be part of a field's name: visible ASCII, and no colon. */
static inline size_t scan_name(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t at = 0;

	for (; len - at >= 16; at += 16) {
		bytes16 v = bytes16_at(p + at);
		unsigned run = bytes16_first((bytes16)(v <= ' ') | (bytes16)(v > '~') | (bytes16)(v == ':'));

		if (run < 16)
			return at + run;
	}
	while (at < len && p[at] > ' ' && p[at] <= '~' && p[at] != ':')
		at++;
	return at;
}

/* At least so many bytes at p are above the space; the rest is for the caller to look at one by one. */
static inline size_t scan_visible_words(const unsigned char *p, const unsigned char *end)
{
	const unsigned char *at = p;

	while (end - at >= 16 && !bytes16_bits((bytes16)(bytes16_at(at) <= ' ')))
		at += 16;
	return (size_t)(at - p);
}

/* How many bytes at the start of text are above the space. */
static inline size_t scan_visible(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len, *at = p;

	at += scan_visible_words(at, end);
	while (at<end && * at> ' ')
		at++;
	return (size_t)(at - p);
}

#endif
