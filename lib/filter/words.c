/* The words and strings of an Exim filter. */
#include "words.h"

void words_init(struct words *words, struct arena *arena, struct slice text, struct err *err)
{
	ptrdiff_t end;

	*words = (struct words){.rest = text, .line = 1, .arena = arena, .err = err};
	/* The line that says what this is may have others above it, of white space only. */
	while (words->rest.len && ascii_is_space(words->rest.ptr[0])) {
		words->line += words->rest.ptr[0] == '\n';
		words->rest = slice_from(words->rest, 1);
	}
	end = slice_find(words->rest, '\n');
	words->rest = slice_from(words->rest, end < 0 ? words->rest.len : (size_t)end);
	words_skip(words);
}

void words_skip(struct words *words)
{
	const char *p = words->rest.ptr, *end = p + words->rest.len;

	while (p < end && (ascii_is_space(*p) || *p == '#')) {
		if (*p == '#') {
			while (p < end && *p != '\n')
				p++;
			continue;
		}
		words->line += *p++ == '\n';
	}
	words->rest = slice_make(p, (size_t)(end - p), (enum taint)words->rest.taint);
}

bool words_end(const struct words *words)
{
	return words->rest.len == 0;
}

bool words_at(const struct words *words, char c)
{
	return words->rest.len > 0 && words->rest.ptr[0] == c;
}

enum rc words_word(struct words *words, bool bracket, struct slice *ret)
{
	uint32_t len = 0;

	for (; len < words->rest.len; len++) {
		char c = words->rest.ptr[len];
		if (ascii_is_space(c) || (bracket && (c == '(' || c == ')')))
			break;
	}
	if (len >= FILTER_ITEM_MAX)
		return err_set(words->err, FAIL,
			       "word is too long in line %u of filter file (max = %d chars)", words->line,
			       FILTER_ITEM_MAX);
	*ret = slice_sub(words->rest, 0, len);
	words->rest = slice_from(words->rest, len);
	words_skip(words);
	return OK;
}

/* Up to max digits of that base. */
static char escape_number(struct words *words, unsigned base, unsigned max)
{
	unsigned value = 0;

	for (unsigned i = 0; i < max && words->rest.len; i++) {
		int digit = hex_digit(words->rest.ptr[0]);
		if (digit < 0 || (unsigned)digit >= base)
			break;
		value = value * base + (unsigned)digit;
		words->rest = slice_from(words->rest, 1);
	}
	return (char)value;
}

static char take(struct words *words)
{
	char c = words->rest.ptr[0];

	words->rest = slice_from(words->rest, 1);
	return c;
}

/* What stands behind a backslash. */
static void escape(struct words *words, struct str *str)
{
	char c;

	if (ascii_is_digit(words->rest.ptr[0])) {
		str_addc(str, words->rest.ptr[0] < '8' ? escape_number(words, 8, 3) : take(words));
		return;
	}
	c = take(words);
	switch (c) {
	case '\n': /* the string goes on behind the white space of the next line */
		words->line++;
		while (words->rest.len && (words->rest.ptr[0] == ' ' || words->rest.ptr[0] == '\t'))
			(void)take(words);
		return;
	case 'n':
		c = '\n';
		break;
	case 'r':
		c = '\r';
		break;
	case 't':
		c = '\t';
		break;
	case 'x':
		c = escape_number(words, 16, 2);
		break;
	default:
		break;
	}
	str_addc(str, c);
}

enum rc words_item(struct words *words, bool bracket, struct slice *ret)
{
	struct str str = str_make(words->arena);

	if (!words_at(words, '"'))
		return words_word(words, bracket, ret);
	str.taint = words->rest.taint;
	(void)take(words);
	while (words->rest.len && words->rest.ptr[0] != '"' && words->rest.ptr[0] != '\n') {
		char c = take(words);
		if (c == '\\' && words->rest.len)
			escape(words, &str);
		else
			str_addc(&str, c);
		if (str.len >= FILTER_ITEM_MAX)
			return err_set(words->err, FAIL,
				       "string is too long in line %u of filter file (max = %d chars)",
				       words->line, FILTER_ITEM_MAX);
	}
	if (!words_at(words, '"'))
		return err_set(words->err, FAIL, "quote missing at end of string in line %u", words->line);
	(void)take(words);
	words_skip(words);
	*ret = str_slice(&str);
	return ret->ptr ? OK : err_memory(words->err);
}

int words_mode(struct words *words)
{
	struct slice word = words->rest;
	int mode = 0;
	bool octal = true;

	if (!word.len || !ascii_is_digit(word.ptr[0]))
		return -1;
	/* The whole word is taken; what is no octal digit ends the number. */
	while (words->rest.len && !ascii_is_space(words->rest.ptr[0])) {
		char c = take(words);
		octal &= c >= '0' && c <= '7';
		if (octal && mode < 0777777)
			mode = mode * 8 + (c - '0');
	}
	words_skip(words);
	return mode;
}
