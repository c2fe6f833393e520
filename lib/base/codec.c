#include "base/base.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

void base64_encode(struct str *str, struct slice bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.ptr;
	size_t len = bytes.len;
	char *out;

	str->taint |= bytes.taint;
	if (!len || !str_reserve(str, (len + 2) / 3 * 4))
		return;
	out = str->ptr + str->len;
	for (; len >= 3; len -= 3, p += 3) {
		*out++ = b64[p[0] >> 2];
		*out++ = b64[(p[0] & 3) << 4 | p[1] >> 4];
		*out++ = b64[(p[1] & 15) << 2 | p[2] >> 6];
		*out++ = b64[p[2] & 63];
	}
	if (len) {
		*out++ = b64[p[0] >> 2];
		*out++ = b64[(p[0] & 3) << 4 | (len > 1 ? p[1] >> 4 : 0)];
		*out++ = len > 1 ? b64[(p[1] & 15) << 2] : '=';
		*out++ = '=';
	}
	str->len = (uint32_t)(out - str->ptr);
}

/* Each character's value and one, and so zero for those that have none. */
#define UPPER(c) [c] = (c) - 'A' + 1
#define LOWER(c) [c] = (c) - 'a' + 27
#define DIGIT(c) [c] = (c) - '0' + 53
static const unsigned char b64_values[256] = {
    UPPER('A'), UPPER('B'), UPPER('C'), UPPER('D'), UPPER('E'), UPPER('F'), UPPER('G'), UPPER('H'),
    UPPER('I'), UPPER('J'), UPPER('K'), UPPER('L'), UPPER('M'), UPPER('N'), UPPER('O'), UPPER('P'),
    UPPER('Q'), UPPER('R'), UPPER('S'), UPPER('T'), UPPER('U'), UPPER('V'), UPPER('W'), UPPER('X'),
    UPPER('Y'), UPPER('Z'), LOWER('a'), LOWER('b'), LOWER('c'), LOWER('d'), LOWER('e'), LOWER('f'),
    LOWER('g'), LOWER('h'), LOWER('i'), LOWER('j'), LOWER('k'), LOWER('l'), LOWER('m'), LOWER('n'),
    LOWER('o'), LOWER('p'), LOWER('q'), LOWER('r'), LOWER('s'), LOWER('t'), LOWER('u'), LOWER('v'),
    LOWER('w'), LOWER('x'), LOWER('y'), LOWER('z'), DIGIT('0'), DIGIT('1'), DIGIT('2'), DIGIT('3'),
    DIGIT('4'), DIGIT('5'), DIGIT('6'), DIGIT('7'), DIGIT('8'), DIGIT('9'), ['+'] = 63, ['/'] = 64};

static inline int b64_value(char c)
{
	return b64_values[(unsigned char)c] - 1;
}

/* Three bytes of each four characters. false: one is none of the alphabet. */
static bool decode_groups(const char *p, size_t groups, unsigned char *out)
{
	for (; groups; groups--, p += 4, out += 3) {
		int a = b64_value(p[0]), b = b64_value(p[1]), c = b64_value(p[2]), d = b64_value(p[3]);

		if ((a | b | c | d) < 0)
			return false;
		out[0] = (unsigned char)(a << 2 | b >> 4);
		out[1] = (unsigned char)(b << 4 | c >> 2);
		out[2] = (unsigned char)(c << 6 | d);
	}
	return true;
}

#ifdef __x86_64__
/* Sixteen characters at a time, while at least six groups are left: what is stored is four bytes more than what is meant. How many
 * groups were taken; a character that is none of the alphabet is left to decode_groups(). */
__attribute__((target("ssse3"))) static size_t decode_many(const char *p, size_t groups, unsigned char *out)
{
	/* Bits for the halves of a character, of which none is in both exactly when it is one of the alphabet. */
	const __m128i low_bits = _mm_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
					       0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a);
	const __m128i high_bits = _mm_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10,
						0x10, 0x10, 0x10, 0x10, 0x10, 0x10);
	/* From a character to its value, by the upper half; the slash takes the place before its own. */
	const __m128i shifts = _mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
	const __m128i order = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
	const __m128i half = _mm_set1_epi8(0x0f), slash = _mm_set1_epi8('/');
	size_t taken = 0;

	for (; groups - taken >= 6; taken += 4, p += 16, out += 12) {
		__m128i c = _mm_loadu_si128((const __m128i *)p);
		__m128i high = _mm_and_si128(_mm_srli_epi32(c, 4), half), low = _mm_and_si128(c, half);
		__m128i both =
		    _mm_and_si128(_mm_shuffle_epi8(low_bits, low), _mm_shuffle_epi8(high_bits, high));

		if (_mm_movemask_epi8(_mm_cmpeq_epi8(both, _mm_setzero_si128())) != 0xffff)
			break;
		c = _mm_add_epi8(c, _mm_shuffle_epi8(shifts, _mm_add_epi8(_mm_cmpeq_epi8(c, slash), high)));
		/* Pairs to twelve bits, pairs of these to twenty-four, and those in order. */
		c = _mm_maddubs_epi16(c, _mm_set1_epi32(0x01400140));
		c = _mm_madd_epi16(c, _mm_set1_epi32(0x00011000));
		_mm_storeu_si128((__m128i *)out, _mm_shuffle_epi8(c, order));
	}
	return taken;
}
#endif

static bool decode(const char *p, size_t groups, unsigned char *out)
{
	size_t taken = 0;

#ifdef __x86_64__
	if (groups >= 6 && __builtin_cpu_supports("ssse3"))
		taken = decode_many(p, groups, out);
#endif
	return decode_groups(p + taken * 4, groups - taken, out + taken * 3);
}

bool base64_decode(struct str *str, struct slice text)
{
	const char *tail;
	uint32_t groups = text.len / 4, pads;
	unsigned char last[3];
	char group[4];

	if (text.len % 4)
		return false;
	str->taint |= text.taint;
	if (!groups)
		return true;
	if (!str_reserve(str, (size_t)groups * 3))
		return true; /* str->failed says so */
	/* The last group may end in one or two equals signs; in their places any letter will do. */
	tail = text.ptr + text.len - 4;
	pads = tail[3] != '=' ? 0 : tail[2] != '=' ? 1 : 2;
	memcpy(group, tail, 4);
	memset(group + 4 - pads, 'A', pads);
	if (!decode(text.ptr, groups - 1, (unsigned char *)str->ptr + str->len) ||
	    !decode_groups(group, 1, last))
		return false;
	memcpy(str->ptr + str->len + (groups - 1) * 3, last, 3 - pads);
	str->len += groups * 3 - pads;
	return true;
}

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void hex_encode(struct str *str, struct slice bytes, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

	str->taint |= bytes.taint;
	for (uint32_t i = 0; i < bytes.len; i++) {
		str_addc(str, digits[(unsigned char)bytes.ptr[i] >> 4]);
		str_addc(str, digits[bytes.ptr[i] & 15]);
	}
}

bool hex_decode(struct str *str, struct slice text)
{
	uint32_t start = str->len;

	if (text.len % 2)
		return false;
	str->taint |= text.taint;
	for (uint32_t i = 0; i < text.len; i += 2) {
		int high = hex_digit(text.ptr[i]), low = hex_digit(text.ptr[i + 1]);
		if (high < 0 || low < 0) {
			str->len = start;
			return false;
		}
		str_addc(str, (char)(high << 4 | low));
	}
	return true;
}

void xtext_encode(struct str *str, struct slice bytes)
{
	str->taint |= bytes.taint;
	for (uint32_t i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.ptr[i];
		if (c < 33 || c > 126 || c == '+' || c == '=')
			str_printf(str, "+%02X", c);
		else
			str_addc(str, (char)c);
	}
}

bool xtext_decode(struct str *str, struct slice text)
{
	uint32_t start = str->len;

	str->taint |= text.taint;
	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '+') {
			int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
			int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;
			if (high < 0 || low < 0)
				goto bad;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c < 33 || c > 126 || c == '=') {
			goto bad;
		}
		str_addc(str, c);
	}
	return true;
bad:
	str->len = start;
	return false;
}

void base62_encode(struct str *str, uint64_t number, unsigned width)
{
	char digits[64];
	unsigned at = sizeof(digits);

	do
		digits[--at] = b62[number % 62];
	while (number /= 62);
	while (sizeof(digits) - at < width && at)
		digits[--at] = '0';
	str_add(str, slice_make(digits + at, sizeof(digits) - at, CLEAN));
}

bool base62_decode(struct slice text, uint64_t *number_ret)
{
	uint64_t number = 0;

	if (!text.len)
		return false;
	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		unsigned value = ascii_is_digit(c)      ? (unsigned)(c - '0')
				 : c >= 'A' && c <= 'Z' ? (unsigned)(c - 'A') + 10
				 : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 36
							: 62;
		if (value == 62 || __builtin_mul_overflow(number, 62, &number) ||
		    __builtin_add_overflow(number, value, &number))
			return false;
	}
	*number_ret = number;
	return true;
}

unsigned utf8_sequence(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;

	if (!s.len)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return s.len >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		if (s.len < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
			return 0;
		/* Neither overlong nor a surrogate. */
		return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		if (s.len < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
			return 0;
		return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
	}
	return 0;
}

bool utf8_valid(struct slice s)
{
	while (s.len) {
		unsigned len = utf8_sequence(s);
		if (!len)
			return false;
		s = slice_from(s, len);
	}
	return true;
}

bool ascii_only(struct slice s)
{
	uint64_t word;
	uint32_t i = 0;

	for (; s.len - i >= 8; i += 8) {
		memcpy(&word, s.ptr + i, 8);
		if (word & 0x8080808080808080)
			return false;
	}
	for (; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x80)
			return false;
	return true;
}
