/* json: as much of RFC 8259 as picking a member or an element takes: where a value ends. Values are handed on
 * as they were written. */

#include "tree.h"

static bool json_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice json_trim(struct slice s)
{
	while (s.len && json_space(s.ptr[0]))
		s = slice_from(s, 1);
	while (s.len && json_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

bool json_inside(struct slice text, char open, char close, struct slice *inside_ret)
{
	text = json_trim(text);
	if (text.len < 2 || text.ptr[0] != open || text.ptr[text.len - 1] != close)
		return false;
	*inside_ret = slice_sub(text, 1, text.len - 2);
	return true;
}

bool json_next(struct slice *rest, struct slice *element_ret)
{
	uint32_t n;
	int depth = 0;
	bool quoted = false;

	if (json_trim(*rest).len == 0)
		return false;
	for (n = 0; n < rest->len; n++) {
		char c = rest->ptr[n];

		if (quoted) {
			if (c == '\\')
				n++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			depth--;
		} else if (c == ',' && depth == 0) {
			break;
		}
	}
	*element_ret = json_trim(slice_sub(*rest, 0, n));
	*rest = n < rest->len ? slice_from(*rest, (size_t)n + 1) : slice_from(*rest, rest->len);
	return true;
}

bool json_unquote(struct slice text, struct slice *ret)
{
	text = json_trim(text);
	if (text.len < 2 || text.ptr[0] != '"' || text.ptr[text.len - 1] != '"')
		return false;
	*ret = slice_sub(text, 1, text.len - 2);
	return true;
}
