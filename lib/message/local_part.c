/* Local parts: their quoting taken off and put on (RFC 5321 section 4.1.2, RFC 5322 section 3.2.4). */
#include "message/message.h"

struct slice local_part_unquote(struct arena *arena, struct slice local_part)
{
	char *out;
	uint32_t len = 0;

	if (slice_find(local_part, '"') < 0 && slice_find(local_part, '\\') < 0)
		return local_part;
	out = arena_bytes(arena, local_part.len);
	if (!out)
		return (struct slice){NULL, 0, local_part.taint};
	for (uint32_t i = 0; i < local_part.len; i++) {
		char c = local_part.ptr[i];
		if (c == '"')
			continue;
		if (c == '\\' && i + 1 < local_part.len)
			c = local_part.ptr[++i];
		out[len++] = c;
	}
	return slice_make(out, len, local_part.taint);
}

static bool needs_quotes(struct slice s)
{
	if (!s.len || s.ptr[0] == '.' || s.ptr[s.len - 1] == '.')
		return true;
	for (uint32_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (c == '.' ? s.ptr[i - 1] == '.'
			     : !ascii_is_alnum(c) && !memchr("!#$%&'*+-/=?^_`{|}~", c, 19))
			return true;
	}
	return false;
}

struct slice local_part_quote(struct arena *arena, struct slice local_part)
{
	struct str str = str_make(arena);

	if (!needs_quotes(local_part))
		return local_part;
	str.taint = local_part.taint;
	str_addc(&str, '"');
	for (uint32_t i = 0; i < local_part.len; i++) {
		char c = local_part.ptr[i];
		/* A line end cannot stand in an address; shown as the letters that people know it by. */
		if (c == '\n')
			str_addz(&str, "\\n");
		else if (c == '\r')
			str_addz(&str, "\\r");
		else {
			if (c == '"' || c == '\\')
				str_addc(&str, '\\');
			str_addc(&str, c);
		}
	}
	str_addc(&str, '"');
	return str_slice(&str);
}
