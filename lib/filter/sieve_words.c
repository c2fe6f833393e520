/* The words, numbers and strings of Sieve (RFC 5228 sections 2.2 to 2.4). */
#include "sieve.h"

enum rc sieve_error(const struct sieve *s, const char *what)
{
	return err_set(s->err, FAIL, "%s in line %u", what, s->line);
}

static void skip(struct sieve *s, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		s->line += s->rest.ptr[i] == '\n';
	s->rest = slice_from(s->rest, count);
}

enum rc sieve_space(struct sieve *s)
{
	while (s->rest.len) {
		ptrdiff_t end;

		if (ascii_is_space(s->rest.ptr[0])) {
			skip(s, 1);
		} else if (s->rest.ptr[0] == '#') {
			end = slice_find(s->rest, '\n');
			skip(s, end < 0 ? s->rest.len : (uint32_t)end);
		} else if (slice_starts(s->rest, SLICE("/*"))) {
			end = slice_search(slice_from(s->rest, 2), SLICE("*/"));
			if (end < 0)
				return sieve_error(s, "missing end of comment");
			skip(s, (uint32_t)end + 4);
		} else {
			break;
		}
	}
	return OK;
}

bool sieve_word(struct sieve *s, const char *word)
{
	struct slice w = slice_of(word);

	if (!slice_starts_nocase(s->rest, w) ||
	    (s->rest.len > w.len && (ascii_is_alnum(s->rest.ptr[w.len]) || s->rest.ptr[w.len] == '_')))
		return false;
	skip(s, w.len);
	return true;
}

bool sieve_sign(struct sieve *s, char sign)
{
	if (!s->rest.len || s->rest.ptr[0] != sign)
		return false;
	skip(s, 1);
	return true;
}

enum rc sieve_number(struct sieve *s, uint64_t *ret, bool *found_ret)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint32_t at = 0;
	bool over = false;

	for (; at < s->rest.len && ascii_is_digit(s->rest.ptr[at]); at++)
		over |= __builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(s->rest.ptr[at] - '0'), &value);
	*found_ret = at > 0;
	if (at == 0)
		return OK;
	if (at < s->rest.len) {
		char unit = ascii_lower(s->rest.ptr[at]);
		shift = unit == 'k' ? 10 : unit == 'm' ? 20 : unit == 'g' ? 30 : 0;
		at += shift > 0;
	}
	if (over || (value << shift) >> shift != value || value << shift > INT64_MAX)
		return sieve_error(s, "Numerical result out of range");
	skip(s, at);
	*ret = value << shift;
	return sieve_space(s);
}

/* ---- ${hex:...} and ${unicode:...} (section 2.4.2.4) -------------------------------------------------------------- */

/* The numbers of one ${...}; false: it is none, and stays as it is. */
static bool decode_one(struct slice inside, bool unicode, struct str *str, bool *bad_ret)
{
	struct slice word;
	unsigned count = 0;

	for (; slice_word(&inside, &word); count++) {
		uint32_t value = 0;
		for (uint32_t i = 0; i < word.len; i++) {
			int digit = hex_digit(word.ptr[i]);
			if (digit < 0 || (!unicode && i >= 2))
				return false;
			value = value > 0xfffffff ? value : value << 4 | (uint32_t)digit;
		}
		if (unicode && (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))) {
			*bad_ret = true;
			return false;
		}
		if (unicode)
			str_add_utf8(str, value);
		else
			str_addc(str, (char)value);
	}
	return count > 0;
}

static enum rc decode(const struct sieve *s, struct slice *text)
{
	struct str out = str_make(s->arena);
	struct slice rest = *text;

	if (!(s->required & SIEVE_ENCODED) || slice_search(rest, SLICE("${")) < 0)
		return OK;
	while (rest.len) {
		bool unicode = slice_starts_nocase(rest, SLICE("${unicode:")), bad = false;
		ptrdiff_t end =
		    unicode || slice_starts_nocase(rest, SLICE("${hex:")) ? slice_find(rest, '}') : -1;
		size_t head = unicode ? 10 : 6;

		if (end > 0 && decode_one(slice_sub(rest, head, (size_t)end - head), unicode, &out, &bad)) {
			rest = slice_from(rest, (size_t)end + 1);
			continue;
		}
		if (bad)
			return sieve_error(s, "unicode character out of range");
		str_addc(&out, rest.ptr[0]);
		rest = slice_from(rest, 1);
	}
	*text = str_slice(&out);
	return text->ptr ? OK : err_memory(s->err);
}

/* ---- Strings -------------------------------------------------------------------------------------------------------- */

static enum rc quoted(struct sieve *s, struct slice *ret)
{
	struct str out = str_make(s->arena);
	uint32_t at = 1;

	for (; at < s->rest.len && s->rest.ptr[at] != '"'; at++) {
		char c = s->rest.ptr[at];
		if (c == '\\' && at + 1 < s->rest.len) {
			c = s->rest.ptr[++at];
			if (c == '0')
				c = '\0'; /* not in the RFC: Exim's way to name a NUL */
		}
		str_addc(&out, c);
	}
	if (at >= s->rest.len) {
		skip(s, s->rest.len);
		return sieve_error(s, "missing end of string");
	}
	skip(s, at + 1);
	*ret = str_slice(&out);
	return ret->ptr ? OK : err_memory(s->err);
}

/* text: and lines up to a lone dot; a dot at the start of a line is doubled. */
static enum rc multi_line(struct sieve *s, struct slice *ret)
{
	struct str out = str_make(s->arena);
	ptrdiff_t end;
	struct slice line;

	while (s->rest.len && (s->rest.ptr[0] == ' ' || s->rest.ptr[0] == '\t'))
		skip(s, 1);
	if (s->rest.len && s->rest.ptr[0] == '#') {
		end = slice_find(s->rest, '\n');
		skip(s, end < 0 ? s->rest.len : (uint32_t)end);
	}
	if (slice_starts(s->rest, SLICE("\r\n")))
		skip(s, 1);
	if (!sieve_sign(s, '\n'))
		return sieve_error(s, "syntax error");
	for (;;) {
		end = slice_find(s->rest, '\n');
		line = slice_sub(s->rest, 0, end < 0 ? s->rest.len : (size_t)end);
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (slice_eq(line, SLICE(".")) && end >= 0)
			break;
		if (end < 0) {
			skip(s, s->rest.len);
			return sieve_error(s, "missing end of multi line string");
		}
		str_add(&out, line.len && line.ptr[0] == '.' ? slice_from(line, 1) : line);
		str_addc(&out, '\n');
		skip(s, (uint32_t)end + 1);
	}
	skip(s, (uint32_t)end + 1);
	*ret = str_slice(&out);
	return ret->ptr ? OK : err_memory(s->err);
}

enum rc sieve_string(struct sieve *s, struct slice *ret, bool *found_ret)
{
	enum rc rc;

	*found_ret = true;
	if (s->rest.len && s->rest.ptr[0] == '"') {
		rc = quoted(s, ret);
	} else if (slice_starts_nocase(s->rest, SLICE("text:"))) {
		skip(s, 5);
		rc = multi_line(s, ret);
	} else {
		*found_ret = false;
		return OK;
	}
	if (rc == OK)
		rc = decode(s, ret);
	return rc == OK ? sieve_space(s) : rc;
}

static enum rc bracket_list(struct sieve *s, struct string_list **last)
{
	bool found;
	enum rc rc = sieve_space(s);

	if (rc != OK || sieve_sign(s, ']'))
		return rc == OK ? sieve_space(s) : rc;
	for (;;) {
		*last = arena_make(s->arena, struct string_list);
		if (!*last)
			return err_memory(s->err);
		rc = sieve_string(s, &(*last)->text, &found);
		if (rc == OK && !found)
			return sieve_error(s, "missing string list");
		if (rc != OK)
			return rc;
		last = &(*last)->next;
		if (sieve_sign(s, ']'))
			return sieve_space(s);
		if (!sieve_sign(s, ','))
			return sieve_error(s, "missing string list");
		rc = sieve_space(s);
		if (rc != OK)
			return rc;
	}
}

enum rc sieve_list(struct sieve *s, struct string_list **ret, bool *found_ret)
{
	*ret = NULL;
	*found_ret = true;
	if (sieve_sign(s, '['))
		return bracket_list(s, ret);
	*ret = arena_make(s->arena, struct string_list);
	return *ret ? sieve_string(s, &(*ret)->text, found_ret) : err_memory(s->err);
}

enum rc sieve_need_list(struct sieve *s, struct string_list **ret, const char *what)
{
	bool found;
	enum rc rc = sieve_list(s, ret, &found);

	return rc == OK && !found ? sieve_error(s, what) : rc;
}

enum rc sieve_need_string(struct sieve *s, struct slice *ret, const char *what)
{
	bool found;
	enum rc rc = sieve_string(s, ret, &found);

	return rc == OK && !found ? sieve_error(s, what) : rc;
}
