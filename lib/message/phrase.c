/* Display names (RFC 5322 section 3.2.5). */
#include "message/message.h"

static bool atom_or_space(char c)
{
	return c == ' ' || c == '\t' || ascii_is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Length of the quoted string or comment that the text begins with, 0 if it does not end well. */
static uint32_t enclosed(struct slice text)
{
	bool comment = text.ptr[0] == '(';
	unsigned depth = 0;

	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '\\') {
			i++;
		} else if (comment && c == '(') {
			depth++;
		} else if (comment ? c == ')' : c == '"' && i) {
			if (!comment || --depth == 0)
				return i + 1;
		}
	}
	return 0;
}

/* Text outside of quoted strings and comments: as it is, or in quotes; white space around it stays outside. */
static void add_run(struct str *str, struct slice run)
{
	struct slice text = slice_trim(run);
	bool plain = true;

	for (uint32_t i = 0; i < text.len; i++)
		plain &= atom_or_space(text.ptr[i]);
	if (plain) {
		str_add(str, run);
		return;
	}
	str_add(str, slice_sub(run, 0, (size_t)(text.ptr - run.ptr)));
	str_addc(str, '"');
	for (uint32_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			str_addc(str, '\\');
		str_addc(str, text.ptr[i]);
	}
	str_addc(str, '"');
	str_add(str, slice_from(run, (size_t)(text.ptr + text.len - run.ptr)));
}

struct slice phrase_quote(struct arena *arena, struct slice text, struct slice charset)
{
	struct slice encoded = rfc2047_encode(arena, text, charset.len ? charset : SLICE("UTF-8"));
	struct str str = str_make(arena);
	uint32_t start = 0;

	if (encoded.ptr != text.ptr)
		return encoded;
	str.taint = text.taint;
	for (uint32_t i = 0; i < text.len;) {
		uint32_t len = text.ptr[i] == '"' || text.ptr[i] == '(' ? enclosed(slice_from(text, i)) : 0;
		if (!len) {
			i++;
			continue;
		}
		add_run(&str, slice_sub(text, start, i - start));
		str_add(&str, slice_sub(text, i, len));
		start = i += len;
	}
	add_run(&str, slice_from(text, start));
	return str_slice(&str);
}
