#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/arena.h"

/* A string that grows in an arena. What is appended hands its taint on. Running out of memory (or over
 * UINT32_MAX bytes) is remembered, and asked for once at the end: str_slice() then has a NULL ptr. */
struct str {
	struct arena *arena;
	char *ptr;
	uint32_t len;
	uint32_t room;
	uint32_t taint;
	bool failed;
};

static inline struct str str_make(struct arena *arena)
{
	return (struct str){.arena = arena};
}

/* Makes room where there is none; see str_reserve(). */
bool str_grow(struct str *str, size_t more);

/* Makes room for that many more bytes; false when there is no memory. Inline, as those below are: a message takes hundreds of
 * small pieces, and nearly all fit. */
static inline bool str_reserve(struct str *str, size_t more)
{
	return !str->failed && more <= str->room - str->len ? true : str_grow(str, more);
}

static inline void str_add(struct str *str, struct slice s)
{
	str->taint |= s.taint;
	if (s.len == 0 || !str_reserve(str, s.len))
		return;
	memcpy(str->ptr + str->len, s.ptr, s.len);
	str->len += s.len;
}

/* The length of a literal is known to the compiler. */
static inline void str_addz(struct str *str, const char *cstr)
{
	str_add(str, slice_of(cstr));
}

static inline void str_addc(struct str *str, char c)
{
	if (str_reserve(str, 1))
		str->ptr[str->len++] = c;
}

void str_addu(struct str *str, uint64_t number);
/* A code point in UTF-8 (RFC 3629); what is none (a surrogate, over U+10FFFF) becomes U+FFFD. */
void str_add_utf8(struct str *str, uint32_t code_point);
void str_printf(struct str *str, const char *format, ...) PRINTF_LIKE(2, 3);
void str_vprintf(struct str *str, const char *format, __builtin_va_list args) PRINTF_LIKE(2, 0);
/* Whatever is not printable ASCII as \ooo. */
void str_add_printable(struct str *str, struct slice text);
/* A line for a log, which is nearly always short: in room, of size bytes; a longer one in memory of its own, which the caller frees when
 * what is returned is not room, and at most max bytes of it. Without memory it is cut to fit. *len_ret: bytes; below 0: none. */
char *line_vformat(char *room, size_t size, size_t max, int *len_ret, const char *format,
		   __builtin_va_list args) PRINTF_LIKE(5, 0);
static inline void str_clear(struct str *str)
{
	str->len = 0;
	str->taint = CLEAN;
	str->failed = false;
}

/* What was built; valid until the next change. ptr is NULL when memory ran out on the way. */
static inline struct slice str_slice(const struct str *str)
{
	if (str->failed)
		return (struct slice){NULL, 0, CLEAN};
	return (struct slice){str->len ? str->ptr : "", str->len, str->taint};
}

#endif
