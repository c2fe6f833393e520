/* Encoded words in header fields (RFC 2047): decoded to UTF-8, and made. */
#include "message/message.h"

#include <errno.h>
#include <iconv.h>

#define WORD_LEN_MAX    75 /* RFC 2047 section 2 */
#define CHARSET_LEN_MAX 40

struct word {
	struct slice charset, text;
	char encoding; /* 'B' or 'Q' */
	uint32_t len;  /* of the whole word */
};

/* The encoded word at the start of s, if there is a well-formed one. */
static bool word_parse(struct slice s, bool check_length, struct word *word_ret)
{
	struct slice rest = s, charset;
	ptrdiff_t mark, end;
	char encoding;

	if (!slice_starts(s, SLICE("=?")))
		return false;
	rest = slice_from(s, 2);
	mark = slice_find(rest, '?');
	if (mark < 1 || mark > CHARSET_LEN_MAX)
		return false;
	charset = slice_sub(rest, 0, (size_t)mark);
	rest = slice_from(rest, (size_t)mark + 1);
	if (rest.len < 2 || rest.ptr[1] != '?')
		return false;
	encoding = ascii_upper(rest.ptr[0]);
	if (encoding != 'B' && encoding != 'Q')
		return false;
	rest = slice_from(rest, 2);
	end = slice_search(rest, SLICE("?="));
	if (end < 0)
		return false;
	/* RFC 2231 section 5: a language may follow the character set. */
	mark = slice_find(charset, '*');
	if (mark >= 0)
		charset = slice_sub(charset, 0, (size_t)mark);
	word_ret->charset = charset;
	word_ret->encoding = encoding;
	word_ret->text = slice_sub(rest, 0, (size_t)end);
	word_ret->len = (uint32_t)(rest.ptr + end + 2 - s.ptr);
	for (uint32_t i = 0; i < word_ret->text.len; i++) {
		unsigned char c = (unsigned char)word_ret->text.ptr[i];
		if (c <= ' ' || c >= 127)
			return false;
	}
	return !check_length || word_ret->len <= WORD_LEN_MAX;
}

static bool decode_q(struct str *str, struct slice text)
{
	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '_') {
			c = ' ';
		} else if (c == '=') {
			int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
			int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;
			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		str_addc(str, c ? c : '?');
	}
	return true;
}

static bool decode_b(struct arena *arena, struct str *str, struct slice text)
{
	struct str bytes = str_make(arena);
	struct slice decoded;

	/* Some forget the padding. */
	str_add(&bytes, text);
	while (bytes.len % 4 && !bytes.failed)
		str_addc(&bytes, '=');
	decoded = str_slice(&bytes);
	if (!decoded.ptr)
		return false;
	bytes = str_make(arena);
	if (!base64_decode(&bytes, decoded))
		return false;
	decoded = str_slice(&bytes);
	if (!decoded.ptr)
		return false;
	for (uint32_t i = 0; i < decoded.len; i++)
		str_addc(str, decoded.ptr[i] ? decoded.ptr[i] : '?');
	return true;
}

/* Appends the bytes, recoded from a character set to another. false, with str as it was: unknown sets, or bytes that
 * are none of the set's. */
static bool recode(struct str *str, struct slice bytes, struct slice from, struct slice to)
{
	char from_name[CHARSET_LEN_MAX + 1], to_name[CHARSET_LEN_MAX + 1], block[256];
	uint32_t start = str->len;
	char *in = (char *)bytes.ptr;
	size_t in_left = bytes.len;
	bool good = true;
	iconv_t cd;

	if (slice_eq_nocase(from, to) && slice_eq_nocase(to, SLICE("utf-8")) && utf8_valid(bytes)) {
		str_add(str, bytes);
		return true;
	}
	if (from.len > CHARSET_LEN_MAX || to.len > CHARSET_LEN_MAX || from.len == 0)
		return false;
	memcpy(from_name, from.ptr, from.len);
	memcpy(to_name, to.ptr, to.len);
	from_name[from.len] = to_name[to.len] = 0;
	cd = iconv_open(to_name, from_name);
	if (cd == (iconv_t)-1)
		return false;
	while (in_left && good) {
		char *out = block;
		size_t out_left = sizeof(block);
		if (iconv(cd, &in, &in_left, &out, &out_left) == (size_t)-1 && errno != E2BIG)
			good = false;
		str_add(str, slice_make(block, sizeof(block) - out_left, bytes.taint));
	}
	iconv_close(cd);
	if (!good)
		str->len = start;
	return good;
}

/* One word's content. charset NULL: as it is, without translation. */
static bool word_decode(struct arena *arena, struct str *str, const struct word *word,
			const struct slice *charset)
{
	struct str bytes = str_make(arena);
	struct slice decoded;

	bytes.taint = word->text.taint;
	if (word->encoding == 'Q' ? !decode_q(&bytes, word->text) : !decode_b(arena, &bytes, word->text))
		return false;
	decoded = str_slice(&bytes);
	if (!decoded.ptr)
		return false;
	/* A sender may name any character set, and put bytes into it that are none of it: then the bytes stand as they
	 * are, as in $bh_. */
	if (!charset || !recode(str, decoded, word->charset, *charset))
		str_add(str, decoded);
	return true;
}

struct slice rfc2047_decode_to(struct arena *arena, struct slice text, bool check_length,
			       const struct slice *charset)
{
	struct str str = str_make(arena);
	struct slice rest = text;
	bool after_word = false;

	if (slice_search(text, SLICE("=?")) < 0)
		return text;
	str.taint = text.taint;
	while (rest.len) {
		ptrdiff_t at = slice_search(rest, SLICE("=?"));
		struct slice plain = slice_sub(rest, 0, at < 0 ? rest.len : (size_t)at);
		struct word word;
		uint32_t mark = str.len;

		rest = slice_from(rest, plain.len);
		/* White space between two encoded words is not shown (RFC 2047 section 6.2). */
		if (!(after_word && at >= 0 && slice_trim(plain).len == 0 &&
		      word_parse(rest, check_length, &word)))
			str_add(&str, plain);
		if (at < 0)
			break;
		if (word_parse(rest, check_length, &word) && word_decode(arena, &str, &word, charset)) {
			rest = slice_from(rest, word.len);
			after_word = true;
			continue;
		}
		if (after_word && str.len == mark)
			str_add(&str, plain); /* a broken word after all: its white space is ordinary */
		str_add(&str, slice_sub(rest, 0, 2));
		rest = slice_from(rest, 2);
		after_word = false;
	}
	return str_slice(&str).ptr ? str_slice(&str) : text;
}

struct slice rfc2047_decode(struct arena *arena, struct slice text, bool check_length)
{
	struct slice utf8 = SLICE("UTF-8");

	return rfc2047_decode_to(arena, text, check_length, &utf8);
}

static bool plain_in_q(unsigned char c)
{
	/* The characters that RFC 2047 section 5 (3) allows in every place. */
	return ascii_is_alnum((char)c) || (c && strchr("!*+-/", c));
}

struct slice rfc2047_encode(struct arena *arena, struct slice text, struct slice charset)
{
	struct str str = str_make(arena);
	uint32_t word_start = 0;
	bool needed = false;

	for (uint32_t i = 0; i < text.len; i++)
		needed |= (unsigned char)text.ptr[i] < ' ' || (unsigned char)text.ptr[i] >= 127;
	if (!needed || charset.len > CHARSET_LEN_MAX)
		return text;
	str.taint = text.taint;
	for (uint32_t i = 0; i < text.len;) {
		unsigned width = utf8_sequence(slice_from(text, i)), len;

		if (width == 0)
			width = 1;
		/* A character is not cut in two (RFC 2047 section 5): three bytes of text for each of its own. */
		len = width * 3;
		if (i == 0 || str.len - word_start + len + 2 > WORD_LEN_MAX) {
			if (i)
				str_addz(&str, "?= ");
			word_start = str.len;
			str_addz(&str, "=?");
			str_add(&str, charset);
			str_addz(&str, "?Q?");
		}
		for (unsigned k = 0; k < width; k++, i++) {
			unsigned char c = (unsigned char)text.ptr[i];
			if (c == ' ')
				str_addc(&str, '_');
			else if (plain_in_q(c))
				str_addc(&str, (char)c);
			else
				str_printf(&str, "=%02X", c);
		}
	}
	str_addz(&str, "?=");
	return str_slice(&str).ptr ? str_slice(&str) : text;
}
