#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

/* TAINTED: a stranger chose these bytes, or some of them. */
enum taint { CLEAN, TAINTED };

/* Bytes that somebody else owns: a received buffer, an arena, the configuration snapshot. A slice is
 * copied freely, never freed, not NUL-terminated, and dead when its owner is. */
struct slice {
	const char *ptr; /* not NULL, even when empty */
	uint32_t len;    /* bytes */
	uint32_t taint;  /* enum taint; whatever is built from it inherits it */
};
static_assert(sizeof(struct slice) == 16, "a slice is passed in two registers");

#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1, CLEAN})
/* The same as a constant initialiser of a static table. */
#define SLICE_INIT(literal)                            \
	{                                              \
		"" literal, sizeof(literal) - 1, CLEAN \
	}
#define SLICE_EMPTY ((struct slice){"", 0, CLEAN})
/* For printf: "%.*s", SLICE_ARG(s) */
#define SLICE_ARG(s) ((int)(s).len), ((s).ptr)

static inline struct slice slice_make(const char *ptr, size_t len, enum taint taint)
{
	ASSERT(len <= UINT32_MAX);
	return (struct slice){len ? ptr : "", (uint32_t)len, (uint32_t)taint};
}

/* The bytes of a NUL-terminated string, which stays its owner's. NULL gives the empty slice. */
static inline struct slice slice_of(const char *cstr)
{
	return cstr ? slice_make(cstr, strlen(cstr), CLEAN) : SLICE_EMPTY;
}

static inline struct slice slice_tainted(struct slice s)
{
	s.taint = TAINTED;
	return s;
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* From byte start on, at most len bytes; both are cut to what is there. */
static inline struct slice slice_sub(struct slice s, size_t start, size_t len)
{
	if (start > s.len)
		start = s.len;
	if (len > s.len - start)
		len = s.len - start;
	return (struct slice){s.ptr + start, (uint32_t)len, s.taint};
}

static inline struct slice slice_from(struct slice s, size_t start)
{
	return slice_sub(s, start, SIZE_MAX);
}

/* ASCII only, independent of any locale: mail has no other case to fold. */
static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Of eight bytes at once. */
static inline uint64_t ascii_lower8(uint64_t w)
{
	uint64_t low = w & 0x7f7f7f7f7f7f7f7f;
	uint64_t ge_a = low + 0x3f3f3f3f3f3f3f3f; /* high bit: at least 'A' */
	uint64_t gt_z = low + 0x2525252525252525; /* high bit: above 'Z' */
	uint64_t upper = ge_a & ~gt_z & ~w & 0x8080808080808080;

	return w | upper >> 2;
}

static inline char ascii_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static inline bool ascii_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool ascii_is_alnum(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c);
}

bool slice_eq_nocase(struct slice a, struct slice b);
/* As memcmp, with a shorter prefix first. */
int slice_cmp(struct slice a, struct slice b);
int slice_cmp_nocase(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);
bool slice_starts_nocase(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);
bool slice_ends_nocase(struct slice s, struct slice suffix);

/* Index of the first (last) such byte or string, or -1. */
ptrdiff_t slice_find(struct slice s, char c);
ptrdiff_t slice_rfind(struct slice s, char c);
ptrdiff_t slice_search(struct slice s, struct slice what);

/* Without white space (space, tab, CR, LF, VT, FF) at the start, the end, or both. */
struct slice slice_ltrim(struct slice s);
struct slice slice_rtrim(struct slice s);
struct slice slice_trim(struct slice s);

/* Takes bytes up to the separator off the front of *rest, and the separator too; false when *rest was
 * used up before the call (rest->ptr is NULL then, the one slice that may have none). */
bool slice_split(struct slice *rest, char separator, struct slice *part_ret);

/* Takes the next run of bytes that are no white space off the front of *rest; false when there is none. */
bool slice_word(struct slice *rest, struct slice *word_ret);

#endif
