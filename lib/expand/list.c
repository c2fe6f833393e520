/* list: the language's lists, "a : b : c", taken apart and put together. */

#include "expand/expand.h"

static bool is_punct_or_control(char c)
{
	unsigned char u = (unsigned char)c;

	return u != 0 && ((u > ' ' && u < 127 && !ascii_is_alnum(c)) || u < ' ' || u == 127);
}

static void skip_space(struct slice *rest, char separator)
{
	while (rest->len && ascii_is_space(*rest->ptr) && *rest->ptr != separator)
		*rest = slice_from(*rest, 1);
}

bool list_next(struct arena *arena, struct slice *rest, char *separator, struct slice *item_ret)
{
	struct slice s = *rest, part;
	struct str joined = str_make(arena);
	bool special, first = true;
	size_t end;

	skip_space(&s, *separator);
	if (!*separator) {
		if (s.len >= 2 && s.ptr[0] == '<' && is_punct_or_control(s.ptr[1])) {
			*separator = s.ptr[1];
			s = slice_from(s, 2);
			skip_space(&s, *separator);
		} else {
			*separator = ':';
		}
	}
	if (s.len == 0) {
		*rest = s;
		return false;
	}
	/* A control character as separator cannot be doubled: two line feeds are an empty item. */
	special = (unsigned char)*separator < ' ' || *separator == 127;
	if (s.ptr[0] == *separator) {
		s = slice_from(s, 1);
		if (s.len == 0 || s.ptr[0] != *separator || special) {
			*item_ret = slice_sub(s, 0, 0);
			*rest = s;
			return true;
		}
	}
	for (;;) {
		/* The byte at the front is data, even if it is a separator: then it was the second of two. */
		for (end = 1; end < s.len && s.ptr[end] != *separator; end++)
			;
		part = slice_sub(s, 0, end);
		s = slice_from(s, end);
		if (s.len)
			s = slice_from(s, 1);
		if (s.len == 0 || s.ptr[0] != *separator || special)
			break;
		first = false;
		str_add(&joined, part);
	}
	if (!first) {
		str_add(&joined, part);
		part = str_slice(&joined);
	}
	*item_ret = part.ptr ? slice_rtrim(part) : part;
	*rest = s;
	return true;
}

void list_add(struct str *list, unsigned *count, char separator, struct slice item)
{
	const char *at;

	/* A space keeps an empty item, and an item that begins with a separator, apart from the separator in front. */
	if (*count) {
		str_addc(list, separator);
		if (item.len == 0 || item.ptr[0] == separator)
			str_addc(list, ' ');
	}
	++*count;
	while ((at = item.len ? memchr(item.ptr, separator, item.len) : NULL)) {
		size_t len = (size_t)(at - item.ptr) + 1;

		str_add(list, slice_sub(item, 0, len));
		str_addc(list, separator);
		item = slice_from(item, len);
	}
	str_add(list, item);
}
