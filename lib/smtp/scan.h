/* scan: the one look at each byte of a body. */
#ifndef SMTP_SCAN_H
#define SMTP_SCAN_H

#include "base/base.h"

#ifdef __x86_64__
#include <emmintrin.h>
#endif

/* The first CR, LF or NUL in the bytes, or end. Nothing else in a body means anything to us. */
static inline const char *scan_special(const char *p, const char *end)
{
#ifdef __x86_64__
	const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), nul = _mm_setzero_si128();

	for (; end - p >= 16; p += 16) {
		__m128i block = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(block, cr), _mm_cmpeq_epi8(block, lf)),
					   _mm_cmpeq_epi8(block, nul));
		int mask = _mm_movemask_epi8(hit);
		if (mask)
			return p + __builtin_ctz((unsigned)mask);
	}
#endif
	while (p < end && *p != '\r' && *p != '\n' && *p != 0)
		p++;
	return p;
}

#endif
