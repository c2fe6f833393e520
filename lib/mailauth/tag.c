/* tag: lists of tag=value. Strict, since what one reader skips and another takes is where forgeries live: no empty tag but
 * behind the last semicolon, no tag twice, no byte that the grammar does not have. */
#include "tag.h"

#include "scan.h"

/* A value reaches to a semicolon or the end. Where that is; *good_ret: only bytes that may be there. */
static const char *value_end(const char *start, const char *end, bool *good_ret)
{
	const unsigned char *at = (const unsigned char *)start;
	unsigned controls = 0, high = 0;

	for (;;) {
		size_t left = (size_t)((const unsigned char *)end - at);
		bytes16 v = left < 16 ? bytes16_tail(at, left) : bytes16_at(at);
		unsigned here = left < 16 ? (1u << left) - 1 : 0xffff;
		unsigned semicolons = bytes16_bits((bytes16)(v == ';'));

		if (semicolons)
			here &= (semicolons & -semicolons) - 1;
		/* Below the space, or above ASCII: as signed numbers both are below the space. */
		if (bytes16_bits((bytes16)((signed16)v < ' ') | (bytes16)(v == 0x7f)) & here) {
			bytes16 space = (bytes16)(v == '\t') | (bytes16)(v == '\r') | (bytes16)(v == '\n');

			controls |= bytes16_bits(((bytes16)(v < ' ') & ~space) | (bytes16)(v == 0x7f)) & here;
			high |= bytes16_bits((bytes16)(v >= 0x80)) & here;
		}
		if (semicolons || left <= 16) {
			at += semicolons ? (size_t)__builtin_ctz(semicolons) : left;
			break;
		}
		at += 16;
	}
	*good_ret =
	    !controls &&
	    (!high || utf8_valid((struct slice){start, (uint32_t)((const char *)at - start), TAINTED}));
	return (const char *)at;
}

static const char *name_end(const char *p, const char *end)
{
	if (p < end && ascii_is_alpha(*p))
		while (++p < end && (ascii_is_alnum(*p) || *p == '_'))
			;
	return p;
}

static const char *space_end(const char *p, const char *end)
{
	while (p < end && tag_is_space(*p))
		p++;
	return p;
}

enum rc tag_list_parse(struct slice text, struct tag_list *list, struct err *err)
{
	const char *p = text.ptr, *end = p + text.len;

	list->count = 0;
	memset(list->by_letter, 0, sizeof(list->by_letter));
	while ((p = space_end(p, end)) < end) {
		struct tag *tag = &list->tags[list->count];
		const char *start = p;
		bool good;

		if (list->count == TAG_COUNT_MAX)
			return err_set(err, FAIL, "too many tags");
		p = name_end(p, end);
		if (p == start)
			return err_set(err, FAIL, "no tag name where one should be");
		tag->name = (struct slice){start, (uint32_t)(p - start), text.taint};
		p = space_end(p, end);
		if (p == end || *p != '=')
			return err_set(err, FAIL, "no = behind the tag name \"%.*s\"", SLICE_ARG(tag->name));
		start = ++p;
		p = value_end(start, end, &good);
		if (!good)
			return err_set(err, FAIL, "the value of %.*s= has bytes that may not be there",
				       SLICE_ARG(tag->name));
		tag->start = (uint32_t)(start - text.ptr);
		tag->end = (uint32_t)(p - text.ptr);
		tag->value = tag_trim((struct slice){start, (uint32_t)(p - start), text.taint});
		if (tag->name.len == 1 ? list->by_letter[tag->name.ptr[0] & 63] != 0
				       : tag_find_slice(list, tag->name) != NULL)
			return err_set(err, FAIL, "%.*s= is there twice", SLICE_ARG(tag->name));
		list->count++;
		if (tag->name.len == 1)
			list->by_letter[tag->name.ptr[0] & 63] = (uint8_t)list->count;
		if (p < end)
			p++; /* the semicolon */
	}
	return list->count ? OK : err_set(err, FAIL, "no tags");
}

const struct tag *tag_find_slice(const struct tag_list *list, struct slice name)
{
	/* Nearly all tags are one letter. */
	if (name.len == 1) {
		unsigned which = list->by_letter[name.ptr[0] & 63];
		return which ? &list->tags[which - 1] : NULL;
	}
	for (unsigned i = 0; i < list->count; i++) {
		struct slice own = list->tags[i].name;

		if (own.len == name.len && own.ptr[0] == name.ptr[0] &&
		    memcmp(own.ptr, name.ptr, name.len) == 0)
			return &list->tags[i];
	}
	return NULL;
}

bool tag_number(struct slice value, unsigned digits_max, uint64_t *ret)
{
	uint64_t number = 0;

	if (!value.len || value.len > digits_max)
		return false;
	for (uint32_t i = 0; i < value.len; i++) {
		uint64_t digit = (uint64_t)(value.ptr[i] - '0');
		if (!ascii_is_digit(value.ptr[i]))
			return false;
		if (number > (UINT64_MAX - digit) / 10)
			number = UINT64_MAX;
		else
			number = number * 10 + digit;
	}
	*ret = number;
	return true;
}

struct slice tag_squeeze(struct arena *arena, struct slice value)
{
	/* Sixteen bytes are copied with each look, and those that were not meant are written over. */
	char *out = arena_bytes(arena, value.len + 16);
	const unsigned char *p = (const unsigned char *)value.ptr, *end = p + value.len;
	uint32_t len = 0;

	if (!out)
		return (struct slice){NULL, 0, CLEAN};
	while (p < end) {
		bytes16 v = end - p < 16 ? bytes16_tail(p, (size_t)(end - p)) : bytes16_at(p);
		unsigned visible = bytes16_first((bytes16)(v <= ' '));

		memcpy(out + len, &v, 16);
		/* By a number that is known before the look has come to its end. */
		if (visible == 16) {
			len += 16;
			p += 16;
			continue;
		}
		len += visible;
		p += visible;
		if (p == end)
			break;
		if (!tag_is_space((char)*p))
			out[len++] = (char)*p;
		p++;
	}
	return slice_make(out, len, TAINTED);
}

bool tag_base64(struct arena *arena, struct slice value, uint32_t size_max, struct slice *bytes_ret)
{
	*bytes_ret = SLICE_EMPTY;
	/* Room for folding in each line, and then some. */
	if (value.len > size_max * 2 + 1024)
		return false;
	value = tag_squeeze(arena, value);
	if (!value.ptr)
		bytes_ret->ptr = NULL;
	return value.ptr && tag_base64_plain(arena, value, size_max, bytes_ret);
}

bool tag_base64_plain(struct arena *arena, struct slice text, uint32_t size_max, struct slice *bytes_ret)
{
	struct str bytes = str_make(arena);

	*bytes_ret = SLICE_EMPTY;
	if (!text.len || text.len / 4 * 3 > size_max + 2)
		return false;
	if (!str_reserve(&bytes, text.len / 4 * 3)) {
		bytes_ret->ptr = NULL;
		return false;
	}
	if (!base64_decode(&bytes, text))
		return false;
	*bytes_ret = str_slice(&bytes);
	return bytes_ret->ptr && bytes_ret->len <= size_max;
}

bool tag_item(struct slice *rest, struct slice *item_ret)
{
	uint32_t len;

	if (!rest->ptr)
		return false;
	len = scan_colon(rest->ptr, rest->len);
	*item_ret = tag_trim(slice_sub(*rest, 0, len));
	if (len < rest->len)
		*rest = slice_from(*rest, len + 1);
	else
		*rest = (struct slice){NULL, 0, rest->taint};
	return true;
}

bool tag_item_is_in(struct slice list, struct slice word)
{
	struct slice item;

	while (tag_item(&list, &item))
		if (slice_eq(item, word))
			return true;
	return false;
}

struct slice tag_unquote(struct arena *arena, struct slice value)
{
	char *out = arena_bytes(arena, value.len + 1);
	uint32_t len = 0;

	if (!out)
		return (struct slice){NULL, 0, CLEAN};
	for (uint32_t i = 0; i < value.len; i++) {
		int high, low;

		if (tag_is_space(value.ptr[i]))
			continue;
		if (value.ptr[i] == '=' && value.len - i > 2 && (high = hex_digit(value.ptr[i + 1])) >= 0 &&
		    (low = hex_digit(value.ptr[i + 2])) >= 0) {
			out[len++] = (char)(high * 16 + low);
			i += 2;
		} else {
			out[len++] = value.ptr[i];
		}
	}
	return slice_make(out, len, TAINTED);
}

/* What a byte may be in a domain name. HIGH: as a letter, if all is UTF-8. */
enum { LETTER = 1, HYPHEN = 2, DOT = 4, UNDERSCORE = 8, HIGH = 16 };
static const unsigned char name_bytes[256] = {
    ['0' ... '9'] = LETTER, ['A' ... 'Z'] = LETTER, ['a' ... 'z'] = LETTER,
    [0x80 ... 0xff] = HIGH, ['-'] = HYPHEN,         ['.'] = DOT,
    ['_'] = UNDERSCORE};

bool tag_is_domain(struct slice name, unsigned labels_min, bool underscore)
{
	const unsigned char *p = (const unsigned char *)name.ptr;
	unsigned allowed = LETTER | HYPHEN | HIGH | (underscore ? UNDERSCORE : 0), labels = 1, seen = 0;
	uint32_t label = 0;

	if (!name.len || name.len > 253)
		return false;
	for (uint32_t i = 0; i <= name.len; i++) {
		unsigned kind = i < name.len ? name_bytes[p[i]] : DOT;

		seen |= kind;
		if (kind & allowed)
			continue;
		if (kind != DOT || i == label || i - label > 63 || p[label] == '-' || p[i - 1] == '-')
			return false;
		label = i + 1;
		labels += i < name.len;
	}
	return labels >= labels_min && (!(seen & HIGH) || utf8_valid(name));
}
