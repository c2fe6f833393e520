/* Parsing of alias and forward lists: commas and newlines separate items, # begins a comment where an item may begin, an
 * item that is quoted as a whole loses its quotes. */
#include "redirect_list.h"

static struct slice skip_line(struct slice s)
{
	ptrdiff_t at = slice_find(s, '\n');

	return at < 0 ? slice_from(s, s.len) : slice_from(s, (size_t)at + 1);
}

/* To the first byte of an item: over white space, commas and comments. */
static struct slice skip_to_item(struct slice s)
{
	while (s.len > 0) {
		if (ascii_is_space(s.ptr[0]) || s.ptr[0] == ',')
			s = slice_from(s, 1);
		else if (s.ptr[0] == '#')
			s = skip_line(s);
		else
			break;
	}
	return s;
}

/* Bytes up to the comma or newline that ends the item: those inside quotes, comments and angle brackets do not count (a
 * newline ends comments and quotes that were never closed, so that one bad line does not swallow the others). */
static uint32_t item_len(struct slice s)
{
	uint32_t at = 0, comments = 0;
	bool quoted = false, angle = false;

	for (; at < s.len; at++) {
		char c = s.ptr[at];
		if (c == '\n')
			break;
		if (c == '\\' && at + 1 < s.len && s.ptr[at + 1] != '\n')
			at++;
		else if (quoted)
			quoted = c != '"';
		else if (comments > 0)
			comments += c == '(' ? 1u : c == ')' ? UINT32_MAX : 0;
		else if (c == '"')
			quoted = true;
		else if (c == '(')
			comments++;
		else if (c == '<')
			angle = true;
		else if (c == '>')
			angle = false;
		else if (c == ',' && !angle)
			break;
	}
	return at;
}

/* "..." around the whole item: taken off, with its escapes. */
static struct slice unquote(struct arena *arena, struct slice item)
{
	struct str plain = str_make(arena);
	uint32_t at = 1;

	if (item.len < 2 || item.ptr[0] != '"' || item.ptr[item.len - 1] != '"')
		return item;
	plain.taint = item.taint;
	for (; at < item.len - 1; at++) {
		if (item.ptr[at] == '"')
			return item; /* it ends before: only a part is quoted */
		if (item.ptr[at] == '\\' && at + 1 < item.len - 1)
			at++;
		str_addc(&plain, item.ptr[at]);
	}
	struct slice s = str_slice(&plain);
	return s.ptr ? s : item;
}

static bool parses_with_domain(struct arena *arena, struct slice item)
{
	struct address_parts parts;
	struct err err = {0};

	return address_parse(arena, item, ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL, &parts, &err) ==
		   OK &&
	       parts.domain.len > 0;
}

static bool special(struct slice *rest, struct redirect_item *item)
{
	static const struct {
		struct slice word;
		enum redirect_kind kind;
	} words[] = {
	    {SLICE_INIT(":blackhole:"), REDIRECT_BLACKHOLE},
	    {SLICE_INIT(":unknown:"), REDIRECT_UNKNOWN},
	    {SLICE_INIT(":defer:"), REDIRECT_DEFER},
	    {SLICE_INIT(":fail:"), REDIRECT_FAIL},
	};
	ptrdiff_t end;

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
		if (!slice_starts(*rest, words[i].word))
			continue;
		item->kind = words[i].kind;
		/* The text of a failure or deferral is all that is left, however many lines. */
		end = words[i].kind == REDIRECT_FAIL || words[i].kind == REDIRECT_DEFER
			  ? -1
			  : slice_find(*rest, '\n');
		item->text = slice_trim(slice_sub(*rest, words[i].word.len,
						  end < 0 ? SIZE_MAX : (size_t)end - words[i].word.len));
		*rest = end < 0 ? slice_from(*rest, rest->len) : skip_line(*rest);
		return true;
	}
	return false;
}

static void address_item(struct arena *arena, struct slice text, struct redirect_item *item)
{
	struct err err = err_make(arena);
	struct address_parts parts;

	item->backslash = text.len > 1 && text.ptr[0] == '\\';
	if (item->backslash)
		text = slice_from(text, 1);
	if (address_parse(arena, text,
			  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_EMPTY |
			      ADDRESS_ALLOW_UTF8,
			  &parts, &err) != OK) {
		item->kind = REDIRECT_ERROR;
		item->error = err.text;
		return;
	}
	item->text = parts.full;
	item->unqualified = parts.domain.len == 0;
	item->kind = parts.full.len > 0 ? REDIRECT_ADDRESS : REDIRECT_NOTHING;
}

bool redirect_next(struct arena *arena, struct slice *rest, struct redirect_item *item_ret)
{
	struct redirect_item item = {.text = SLICE_EMPTY, .error = SLICE_EMPTY};
	struct slice text;
	uint32_t len;

	*rest = skip_to_item(*rest);
	if (rest->len == 0)
		return false;
	if (!special(rest, &item)) {
		len = item_len(*rest);
		text = unquote(arena, slice_rtrim(slice_sub(*rest, 0, len)));
		*rest = slice_from(*rest, len);
		item.text = text;
		if (slice_starts(text, SLICE(":include:"))) {
			item.kind = REDIRECT_INCLUDE;
			item.text = slice_trim(slice_from(text, 9));
		} else if (text.len && text.ptr[0] == '|' && !parses_with_domain(arena, text)) {
			item.kind = REDIRECT_PIPE;
		} else if (text.len && text.ptr[0] == '/' && !parses_with_domain(arena, text)) {
			item.kind = REDIRECT_FILE;
		} else {
			address_item(arena, text, &item);
		}
	}
	*item_ret = item;
	return true;
}

bool redirect_code(struct slice *text, char first_digit)
{
	struct slice s = *text;
	uint32_t at = 3;

	if (s.len < 4 || !ascii_is_digit(s.ptr[0]) || !ascii_is_digit(s.ptr[1]) ||
	    !ascii_is_digit(s.ptr[2]) || !ascii_is_space(s.ptr[3]))
		return false;
	if (s.ptr[0] == first_digit)
		return true;
	s = slice_ltrim(slice_from(s, at));
	/* An extended code of the wrong class goes with it. */
	for (at = 0; at < s.len && (ascii_is_digit(s.ptr[at]) || s.ptr[at] == '.'); at++)
		;
	if (at >= 5 && at < s.len && ascii_is_space(s.ptr[at]) && s.ptr[1] == '.')
		s = slice_ltrim(slice_from(s, at));
	*text = s;
	return false;
}
