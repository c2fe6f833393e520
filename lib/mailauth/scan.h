/* scan: how far a run of unremarkable bytes reaches, looked at in sixteens. Private to the room. */
#ifndef MAILAUTH_SCAN_H
#define MAILAUTH_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The compiler's own vectors: one register on every machine that has such. A comparison gives 0xff or 0 in each byte. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));

static inline bytes16 bytes16_at(const unsigned char *p)
{
	bytes16 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline bool bytes16_any(bytes16 v)
{
	uint64_t halves[2];

	memcpy(halves, &v, sizeof(v));
	return halves[0] | halves[1];
}

/* At least so many bytes at p are above the space; the rest is for the caller to look at one by one. */
static inline size_t scan_visible_words(const unsigned char *p, const unsigned char *end)
{
	const unsigned char *at = p;

	while (end - at >= 16 && !bytes16_any((bytes16)(bytes16_at(at) <= ' ')))
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
