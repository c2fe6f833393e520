#include "base/base.h"

static bool eq8_nocase(const char *a, const char *b)
{
	uint64_t x, y;

	memcpy(&x, a, 8);
	memcpy(&y, b, 8);
	return x == y || ascii_lower8(x) == ascii_lower8(y);
}

/* Of four to eight bytes: all of them, some twice. */
static uint64_t first_and_last4(struct slice s)
{
	uint32_t first, last;

	memcpy(&first, s.ptr, 4);
	memcpy(&last, s.ptr + s.len - 4, 4);
	return (uint64_t)first << 32 | last;
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
	uint32_t i = 0;

	if (a.len != b.len)
		return false;
	if (a.len < 4) {
		while (i < a.len && ascii_lower(a.ptr[i]) == ascii_lower(b.ptr[i]))
			i++;
		return i == a.len;
	}
	if (a.len < 8) {
		uint64_t x = first_and_last4(a), y = first_and_last4(b);
		return x == y || ascii_lower8(x) == ascii_lower8(y);
	}
	for (; i + 8 <= a.len; i += 8)
		if (!eq8_nocase(a.ptr + i, b.ptr + i))
			return false;
	/* The last eight, some of which were looked at. */
	return eq8_nocase(a.ptr + a.len - 8, b.ptr + a.len - 8);
}

int slice_cmp(struct slice a, struct slice b)
{
	int diff = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	if (diff)
		return diff;
	return a.len < b.len ? -1 : a.len > b.len;
}

int slice_cmp_nocase(struct slice a, struct slice b)
{
	uint32_t len = a.len < b.len ? a.len : b.len;

	for (uint32_t i = 0; i < len; i++) {
		unsigned char x = (unsigned char)ascii_lower(a.ptr[i]);
		unsigned char y = (unsigned char)ascii_lower(b.ptr[i]);
		if (x != y)
			return x < y ? -1 : 1;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

bool slice_starts(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

bool slice_starts_nocase(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && slice_eq_nocase(slice_sub(s, 0, prefix.len), prefix);
}

bool slice_ends(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len && slice_eq(slice_from(s, s.len - suffix.len), suffix);
}

bool slice_ends_nocase(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len && slice_eq_nocase(slice_from(s, s.len - suffix.len), suffix);
}

ptrdiff_t slice_find(struct slice s, char c)
{
	const char *at = memchr(s.ptr, c, s.len);

	return at ? at - s.ptr : -1;
}

ptrdiff_t slice_rfind(struct slice s, char c)
{
	const char *at = memrchr(s.ptr, c, s.len);

	return at ? at - s.ptr : -1;
}

ptrdiff_t slice_search(struct slice s, struct slice what)
{
	const char *at = memmem(s.ptr, s.len, what.ptr, what.len);

	return at ? at - s.ptr : -1;
}

struct slice slice_ltrim(struct slice s)
{
	while (s.len && ascii_is_space(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	return s;
}

struct slice slice_rtrim(struct slice s)
{
	while (s.len && ascii_is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

struct slice slice_trim(struct slice s)
{
	return slice_rtrim(slice_ltrim(s));
}

bool slice_split(struct slice *rest, char separator, struct slice *part_ret)
{
	ptrdiff_t at;

	if (!rest->ptr)
		return false;
	at = slice_find(*rest, separator);
	if (at < 0) {
		*part_ret = *rest;
		rest->ptr = NULL;
		rest->len = 0;
		return true;
	}
	*part_ret = slice_sub(*rest, 0, (size_t)at);
	*rest = slice_from(*rest, (size_t)at + 1);
	return true;
}

bool slice_word(struct slice *rest, struct slice *word_ret)
{
	struct slice s = slice_ltrim(*rest);
	uint32_t len = 0;

	while (len < s.len && !ascii_is_space(s.ptr[len]))
		len++;
	*word_ret = slice_sub(s, 0, len);
	*rest = slice_from(s, len);
	return len > 0;
}
