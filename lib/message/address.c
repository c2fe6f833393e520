/* Addresses out of text: SMTP paths (RFC 5321 section 4.1.2), mailboxes, groups and comments of header fields (RFC
 * 5322 section 3.4), with the obsolete forms that are still met. Words of complaint are Exim's, because people search for
 * them. What is lenient (dots anywhere in a local part, missing final ")") is lenient there too. */
#include "message/message.h"

/* RFC 5321 section 4.5.3.1.3 has 256 for a path with its angle brackets; a little more is harmless. */
#define ADDRESS_LEN_MAX 256

struct scan {
	struct slice text;
	uint32_t at;
	unsigned flags;
	char *out; /* local_part@domain, without white space and comments; never longer than the text */
	uint32_t out_len;
	uint32_t start, end; /* of the address, without the comments around it */
	struct err *err;
};

static int peek(const struct scan *scan)
{
	return scan->at < scan->text.len ? (unsigned char)scan->text.ptr[scan->at] : -1;
}

static enum rc fail(struct scan *scan, const char *what)
{
	return err_set(scan->err, FAIL, "%s", what);
}

static void put(struct scan *scan, int c)
{
	scan->out[scan->out_len++] = (char)c;
}

/* A comment, nested ones included; one that never ends takes the rest. */
static void skip_comment(struct scan *scan)
{
	unsigned depth = 0;

	for (; scan->at < scan->text.len; scan->at++) {
		char c = scan->text.ptr[scan->at];
		if (c == '\\')
			scan->at++;
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0) {
			scan->at++;
			return;
		}
	}
	scan->at = scan->text.len;
}

static void skip_space(struct scan *scan)
{
	for (int c; (c = peek(scan)) >= 0;) {
		if (c == '(' && !(scan->flags & ADDRESS_STRICT_PATH))
			skip_comment(scan);
		else if (ascii_is_space((char)c))
			scan->at++;
		else
			return;
	}
}

/* Printable, and none of the characters that mean something (RFC 5322 section 3.2.3); any byte above ASCII. */
static bool is_word_char(int c)
{
	static const bool special[256] = {
	    [0 ... ' '] = true, ['('] = true, [')'] = true, ['<'] = true,  ['>'] = true,
	    ['['] = true,       [']'] = true, [':'] = true, [';'] = true,  ['@'] = true,
	    [','] = true,       ['.'] = true, ['"'] = true, ['\\'] = true, [127] = true};

	return c >= 0 && !special[c];
}

/* Behind the opening quote, which is already put. Folded white space loses its line ends (RFC 5322 section 3.2.2); any
 * other line end or a NUL may not get into an address, since addresses are written into line-oriented files. */
static bool read_quoted(struct scan *scan)
{
	for (int c; (c = peek(scan)) >= 0;) {
		scan->at++;
		if (c == '"') {
			put(scan, c);
			return true;
		}
		if (c == '\\' && peek(scan) >= 0 && peek(scan) != '\n' && peek(scan) != '\r') {
			put(scan, c);
			c = peek(scan);
			scan->at++;
		}
		if (c == '\r' && peek(scan) == '\n')
			continue;
		if (c == '\n' && (peek(scan) == ' ' || peek(scan) == '\t'))
			continue;
		if (c == '\n' || c == '\r' || c == 0)
			return false;
		put(scan, c);
	}
	return false;
}

/* A backslash with something printable behind it: old programs quote like that outside of quotes. */
static bool escapes(const struct scan *scan)
{
	return peek(scan) == '\\' && scan->at + 1 < scan->text.len &&
	       (unsigned char)scan->text.ptr[scan->at + 1] >= ' ' && scan->text.ptr[scan->at + 1] != 127;
}

static enum rc read_local_part(struct scan *scan)
{
	uint32_t start = scan->out_len;

	for (;;) {
		skip_space(scan);
		if (peek(scan) == '"') {
			put(scan, '"');
			scan->at++;
			if (!read_quoted(scan))
				return fail(scan, "unmatched doublequote in local part");
		} else {
			for (int c; is_word_char(c = peek(scan)) || escapes(scan); scan->at++) {
				put(scan, c);
				if (c == '\\')
					put(scan, scan->text.ptr[++scan->at]);
			}
		}
		scan->end = scan->at;
		skip_space(scan);
		if (peek(scan) != '.')
			break;
		put(scan, '.');
		scan->end = ++scan->at;
	}
	return scan->out_len > start ? OK : fail(scan, "missing or malformed local part");
}

/* RFC 5321 section 4.1.3, in form; which addresses exist is for those who route to say. */
static enum rc read_literal(struct scan *scan)
{
	if (!(scan->flags & ADDRESS_ALLOW_LITERAL))
		return fail(scan, "domain literals not allowed");
	put(scan, '[');
	scan->at++;
	if (slice_starts_nocase(slice_from(scan->text, scan->at), SLICE("IPv6:")) ||
	    slice_starts_nocase(slice_from(scan->text, scan->at), SLICE("IPv4:")))
		for (unsigned i = 0; i < 5; i++)
			put(scan, scan->text.ptr[scan->at++]);
	for (int c; (c = peek(scan)) >= 0 &&
		    (hex_digit((char)c) >= 0 || c == '.' || c == ':' ||
		     ((scan->flags & ADDRESS_ANY_LITERAL) && c > ' ' && c != ']' && c != '>'));
	     scan->at++)
		put(scan, c);
	if (peek(scan) != ']')
		return fail(scan, "malformed domain literal");
	put(scan, ']');
	scan->end = ++scan->at;
	return OK;
}

static enum rc read_domain(struct scan *scan)
{
	bool utf8 = scan->flags & ADDRESS_ALLOW_UTF8;
	unsigned labels = 0;

	skip_space(scan);
	if (peek(scan) == '[')
		return read_literal(scan);
	for (;;) {
		int c = peek(scan);
		if (c < 0 || !(ascii_is_alnum((char)c) || (utf8 && c >= 0x80))) {
			if (labels && (scan->flags & ADDRESS_STRIP_DOT) && c != '.' && c != '-') {
				scan->out_len--; /* the dot in front */
				return OK;
			}
			return fail(scan, "domain missing or malformed");
		}
		for (; (c = peek(scan)) >= 0 && (ascii_is_alnum((char)c) || c == '-' || (utf8 && c >= 0x80));
		     scan->at++)
			put(scan, c);
		labels++;
		scan->end = scan->at;
		skip_space(scan);
		if (peek(scan) != '.')
			return OK;
		put(scan, '.');
		scan->end = ++scan->at;
		skip_space(scan);
	}
}

/* @one,@two: in front of an address: obsolete, read and dropped (RFC 5321 appendix C). */
static enum rc skip_route(struct scan *scan)
{
	bool more = false;

	for (;;) {
		scan->at++; /* the "@" */
		if (read_domain(scan) != OK)
			return FAIL;
		scan->out_len = 0;
		skip_space(scan);
		if (peek(scan) == ':') {
			scan->at++;
			skip_space(scan);
			return OK;
		}
		if (peek(scan) != ',')
			return fail(scan, more ? "colon expected after route list" : "no local part");
		more = true;
		scan->at++;
		skip_space(scan);
		if (peek(scan) != '@')
			return fail(scan, "colon expected after route list");
	}
}

/* Local part, and "@" with a domain if there is one, from where the scan stands. *local_len_ret is the local part's. */
static enum rc read_spec(struct scan *scan, bool in_angles, uint32_t *local_len_ret, bool *qualified_ret)
{
	bool routed = false;
	int c;

	scan->out_len = 0;
	if (peek(scan) == '@') {
		if (skip_route(scan) != OK)
			return FAIL;
		routed = true;
	}
	if (read_local_part(scan) != OK)
		return FAIL;
	*local_len_ret = scan->out_len;
	*qualified_ret = false;
	c = peek(scan);
	if (c == '@') {
		put(scan, '@');
		scan->at++;
		*qualified_ret = true;
		return read_domain(scan);
	}
	if (routed)
		return fail(scan, "domain missing in source-routed address");
	if (in_angles && c != '>')
		return err_set(scan->err, FAIL, "\"@\" or \".\" expected after \"%.*s\"", (int)scan->out_len,
			       scan->out);
	return OK;
}

static enum rc read_angle_address(struct scan *scan, uint32_t *local_len_ret, bool *qualified_ret)
{
	unsigned angles = 0;

	do {
		scan->start = ++scan->at;
		angles++;
		skip_space(scan);
	} while (peek(scan) == '<' && (scan->flags & ADDRESS_STRIP_ANGLES) && angles < 8);
	if (peek(scan) == '>' && (scan->flags & ADDRESS_ALLOW_EMPTY)) {
		scan->out_len = *local_len_ret = 0;
		*qualified_ret = false;
	} else if (read_spec(scan, true, local_len_ret, qualified_ret) != OK) {
		return FAIL;
	}
	skip_space(scan);
	/* Comments in front of ">" go with the address, white space stays. */
	for (scan->end = scan->at; scan->end > scan->start && ascii_is_space(scan->text.ptr[scan->end - 1]);)
		scan->end--;
	while (angles && peek(scan) == '>') {
		scan->at++;
		angles--;
		if (angles)
			skip_space(scan);
	}
	if (angles && peek(scan) < 0)
		return fail(scan, "'>' missing at end of address");
	return OK;
}

/* Words before "<": a display name (RFC 5322 section 3.2.5, with the dots that many write). The first one has been read
 * as if it were a local part. */
static enum rc skip_phrase(struct scan *scan)
{
	for (;;) {
		skip_space(scan);
		if (peek(scan) == '<')
			return OK;
		scan->out_len = 0;
		if (read_local_part(scan) != OK) {
			if (scan->err)
				err_set(scan->err, FAIL, "%.*s (expected word or \"<\")",
					SLICE_ARG(scan->err->text));
			return FAIL;
		}
	}
}

static enum rc scan_address(struct scan *scan, uint32_t *local_len_ret, bool *qualified_ret)
{
	int c = peek(scan);

	if (c != '<') {
		if (read_spec(scan, false, local_len_ret, qualified_ret) != OK)
			return FAIL;
		skip_space(scan);
		c = peek(scan);
		if (*qualified_ret || c < 0 || c == ';' || (scan->flags & ADDRESS_STRICT_PATH))
			return OK;
		if (skip_phrase(scan) != OK)
			return FAIL;
	}
	return read_angle_address(scan, local_len_ret, qualified_ret);
}

enum rc address_parse(struct arena *arena, struct slice text, unsigned flags, struct address_parts *ret,
		      struct err *err)
{
	struct scan scan = {.text = text, .flags = flags, .err = err};
	struct slice none = {"", 0, text.taint};
	uint32_t local_len = 0;
	bool qualified = false;

	skip_space(&scan);
	if (peek(&scan) < 0) {
		if (text.len == 0 && (flags & ADDRESS_ALLOW_EMPTY)) {
			*ret = (struct address_parts){none, none, none, none};
			return OK;
		}
		return err_set(err, FAIL, "empty address");
	}
	scan.start = scan.at;
	scan.out = arena_bytes(arena, (size_t)text.len + 1);
	if (!scan.out)
		return err_memory(err);
	if (scan_address(&scan, &local_len, &qualified) != OK)
		return FAIL;
	skip_space(&scan);
	if (scan.at < text.len)
		return err_set(err, FAIL, "malformed address: %.*s may not follow %.*s",
			       (int)(text.len - scan.at), text.ptr + scan.at, (int)scan.at, text.ptr);
	if (scan.out_len > ADDRESS_LEN_MAX)
		return err_set(err, FAIL, "address is ridiculously long: %.64s...", scan.out);
	if (!qualified && scan.out_len && !(flags & ADDRESS_ALLOW_UNQUALIFIED))
		return err_set(err, FAIL, "unqualified address not permitted");
	ret->full = slice_make(scan.out, scan.out_len, text.taint);
	ret->local_part = slice_sub(ret->full, 0, local_len);
	ret->domain = qualified ? slice_from(ret->full, local_len + 1) : none;
	ret->spec = slice_sub(text, scan.start, scan.end - scan.start);
	return OK;
}

/* Where the item at the start of the text ends: at a comma, at a semicolon, or behind the colon of a group's name. *end_ret
 * is the separator's place. group: a colon only ends an item outside, a semicolon only inside of a group; NULL: anywhere. */
static char item_end(struct slice text, const bool *group, uint32_t *end_ret)
{
	static const bool means_something[256] = {
	    ['\\'] = true, ['"'] = true, ['('] = true, ['<'] = true, ['>'] = true,
	    ['['] = true,  ['@'] = true, [':'] = true, [';'] = true, [','] = true};
	struct scan scan = {.text = text};
	unsigned angles = 0;
	bool quoted = false, routed = false;
	char c = 0;

	for (; scan.at < text.len; scan.at++) {
		c = text.ptr[scan.at];
		if (!means_something[(unsigned char)c])
			continue;
		if (c == '\\') {
			scan.at++;
		} else if (quoted) {
			quoted = c != '"';
		} else if (c == '"') {
			quoted = true;
		} else if (c == '(') {
			skip_comment(&scan);
			scan.at--;
		} else if (c == '<') {
			angles++;
		} else if (c == '>' && angles) {
			angles--;
		} else if (c == '[') {
			/* The colons of an address literal are no group's. */
			const char *close = memchr(text.ptr + scan.at, ']', text.len - scan.at);
			if (close)
				scan.at = (uint32_t)(close - text.ptr);
		} else if (c == '@' && !angles && slice_trim(slice_sub(text, 0, scan.at)).len == 0) {
			routed = true;
		} else if (!angles &&
			   ((c == ';' && (!group || *group)) ||
			    (c == ':' && !routed && (!group || !*group)) || (c == ',' && !routed))) {
			*end_ret = scan.at;
			return c;
		} else if (c == ':') {
			routed = false;
		}
	}
	*end_ret = text.len;
	return 0;
}

static bool only_comments(struct slice text)
{
	struct scan scan = {.text = text};

	skip_space(&scan);
	return scan.at == text.len;
}

static bool next_item(struct slice *rest, bool *group, struct slice *gap_ret, struct slice *item_ret)
{
	struct slice all = *rest;

	while (rest->len) {
		uint32_t end, start = all.len - rest->len;
		char separator = item_end(*rest, group, &end);
		struct slice item = slice_sub(*rest, 0, end), trimmed = slice_trim(item);

		if (group && separator == ':')
			*group = true;
		if (separator == ':' || only_comments(item)) {
			if (group && separator == ';')
				*group = false;
			*rest = slice_from(*rest, separator ? end + 1 : end);
			continue;
		}
		*gap_ret = slice_sub(all, 0, start + (size_t)(trimmed.ptr - item.ptr));
		*item_ret = trimmed;
		/* The separator stays for the next gap. */
		*rest = slice_from(*rest, (size_t)(trimmed.ptr + trimmed.len - rest->ptr));
		return true;
	}
	*gap_ret = all;
	return false;
}

bool address_next_item(struct slice *rest, struct slice *gap_ret, struct slice *item_ret)
{
	return next_item(rest, NULL, gap_ret, item_ret);
}

/* ---- Fields with other addresses ------------------------------------------------------------------------------- */

/* Exim breaks a line where this much stands in front of the next address. */
#define EDIT_LINE_MAX 40

void field_edit_begin(struct field_edit *edit, struct arena *arena, const struct header *header)
{
	*edit = (struct field_edit){.arena = arena, .rest = header_value(header), .text = str_make(arena)};
	edit->text.taint = header->text.taint;
	str_add(&edit->text, slice_sub(header->text, 0, (size_t)(edit->rest.ptr - header->text.ptr)));
}

bool field_edit_next(struct field_edit *edit)
{
	struct slice gap;
	bool more = next_item(&edit->rest, &edit->in_group, &gap, &edit->item);

	str_add(&edit->text, gap);
	return more;
}

void field_edit_keep(struct field_edit *edit)
{
	str_add(&edit->text, edit->item);
}

/* Takes white space and the one character in front of what follows the item; false: another one stands there. */
static bool take_separator(struct field_edit *edit, char separator)
{
	uint32_t i = 0;

	while (i < edit->rest.len && (edit->rest.ptr[i] == ' ' || edit->rest.ptr[i] == '\t'))
		i++;
	if (i == edit->rest.len || edit->rest.ptr[i] != separator)
		return false;
	i++;
	str_add(&edit->text, slice_sub(edit->rest, 0, i));
	edit->rest = slice_from(edit->rest, i);
	return true;
}

void field_edit_replace(struct field_edit *edit, struct slice old, struct slice new)
{
	uint32_t at = (uint32_t)(old.ptr - edit->item.ptr), i = 0;

	edit->changed = true;
	str_add(&edit->text, slice_sub(edit->item, 0, at));
	str_add(&edit->text, new);
	str_add(&edit->text, slice_from(edit->item, at + old.len));
	if (new.len <= old.len)
		return;
	if (edit->in_group && take_separator(edit, ';'))
		edit->in_group = false;
	if (!take_separator(edit, ','))
		return;
	while (i < edit->rest.len && (edit->rest.ptr[i] == ' ' || edit->rest.ptr[i] == '\t'))
		i++;
	str_add(&edit->text, slice_sub(edit->rest, 0, i));
	edit->rest = slice_from(edit->rest, i);
	if (edit->text.len - edit->line_start <= EDIT_LINE_MAX || !edit->rest.len ||
	    edit->rest.ptr[0] == '\n')
		return;
	edit->line_start = (uint32_t)edit->text.len;
	str_addz(&edit->text, "\n\t");
}

struct slice field_edit_end(struct field_edit *edit)
{
	return edit->changed ? str_slice(&edit->text) : SLICE_EMPTY;
}

enum rc address_next(struct arena *arena, struct slice *rest, unsigned flags, struct address_parts *ret,
		     struct err *err)
{
	struct slice gap, item;

	if (address_next_item(rest, &gap, &item))
		return address_parse(arena, item, flags, ret, err);
	if (err)
		err->text = SLICE_EMPTY;
	return FAIL;
}
