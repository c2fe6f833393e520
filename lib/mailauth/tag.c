/* tag: lists of tag=value. Strict, since what one reader skips and another takes is where forgeries live: no empty tag but
 * behind the last semicolon, no tag twice, no byte that the grammar does not have. */
#include "tag.h"

#include "scan.h"

bool tag_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice tag_trim(struct slice s)
{
	while (s.len && tag_is_space(*s.ptr))
		s = slice_from(s, 1);
	while (s.len && tag_is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static uint32_t name_length(struct slice s)
{
	uint32_t len = 0;

	if (!s.len || !ascii_is_alpha(*s.ptr))
		return 0;
	while (len < s.len && (ascii_is_alnum(s.ptr[len]) || s.ptr[len] == '_'))
		len++;
	return len;
}

/* At least so many bytes are printable ASCII or white space, and no semicolon. */
static size_t plain_words(const unsigned char *p, const unsigned char *end)
{
	const unsigned char *at = p;

	for (; end - at >= 16; at += 16) {
		bytes16 v = bytes16_at(at);

		bytes16 space = (bytes16)(v == '\t') | (bytes16)(v == '\r') | (bytes16)(v == '\n');

		if (bytes16_any(((bytes16)(v < ' ') & ~space) | (bytes16)(v >= 0x7f) | (bytes16)(v == ';')))
			break;
	}
	return (size_t)(at - p);
}

/* A value reaches to a semicolon or the end. Its length; *good_ret: only bytes that may be there. */
static uint32_t value_length(struct slice rest, bool *good_ret)
{
	const unsigned char *start = (const unsigned char *)rest.ptr, *end = start + rest.len, *at = start;
	unsigned char all = 0;
	bool control = false;
	uint32_t len;

	for (;;) {
		const unsigned char *stop;

		at += plain_words(at, end);
		for (stop = end - at > 16 ? at + 16 : end; at < stop && *at != ';'; at++) {
			all |= *at;
			control |= *at == 0x7f || (*at < 0x21 && !tag_is_space((char)*at));
		}
		if (at < stop || at == end)
			break;
	}
	len = (uint32_t)(at - start);
	*good_ret = !control && (all < 0x80 || utf8_valid(slice_sub(rest, 0, len)));
	return len;
}

enum rc tag_list_parse(struct slice text, struct tag_list *list, struct err *err)
{
	struct slice rest = text;

	list->count = 0;
	memset(list->by_letter, 0, sizeof(list->by_letter));
	for (;;) {
		struct tag *tag = &list->tags[list->count];
		uint32_t len;
		bool good;

		while (rest.len && tag_is_space(*rest.ptr))
			rest = slice_from(rest, 1);
		if (!rest.len)
			break;
		if (list->count == TAG_COUNT_MAX)
			return err_set(err, FAIL, "too many tags");
		tag->name = slice_sub(rest, 0, name_length(rest));
		if (!tag->name.len)
			return err_set(err, FAIL, "no tag name where one should be");
		rest = slice_from(rest, tag->name.len);
		while (rest.len && tag_is_space(*rest.ptr))
			rest = slice_from(rest, 1);
		if (!rest.len || *rest.ptr != '=')
			return err_set(err, FAIL, "no = behind the tag name \"%.*s\"", SLICE_ARG(tag->name));
		rest = slice_from(rest, 1);
		len = value_length(rest, &good);
		tag->value = slice_sub(rest, 0, len);
		tag->start = (uint32_t)(tag->value.ptr - text.ptr);
		tag->end = tag->start + tag->value.len;
		rest = slice_from(rest, len < rest.len ? len + 1 : len);
		if (!good)
			return err_set(err, FAIL, "the value of %.*s= has bytes that may not be there",
				       SLICE_ARG(tag->name));
		tag->value = tag_trim(tag->value);
		if (tag_find_slice(list, tag->name))
			return err_set(err, FAIL, "%.*s= is there twice", SLICE_ARG(tag->name));
		list->count++;
		if (tag->name.len == 1)
			list->by_letter[tag->name.ptr[0] & 63] = (uint8_t)list->count;
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
	char *out = arena_bytes(arena, value.len + 1);
	uint32_t len = 0, at = 0;

	if (!out)
		return (struct slice){NULL, 0, CLEAN};
	while (at < value.len) {
		uint32_t run = (uint32_t)scan_visible(value.ptr + at, value.len - at);

		memcpy(out + len, value.ptr + at, run);
		len += run;
		at += run;
		if (at < value.len && !tag_is_space(value.ptr[at]))
			out[len++] = value.ptr[at];
		at++;
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
	if (!slice_split(rest, ':', item_ret))
		return false;
	*item_ret = tag_trim(*item_ret);
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

bool tag_is_domain(struct slice name, unsigned labels_min, bool underscore)
{
	struct slice label;
	unsigned labels = 0;

	if (!name.len || name.len > 253 || (!ascii_only(name) && !utf8_valid(name)))
		return false;
	while (slice_split(&name, '.', &label)) {
		if (!label.len || label.len > 63 || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
			return false;
		for (uint32_t i = 0; i < label.len; i++)
			if (!ascii_is_alnum(label.ptr[i]) && label.ptr[i] != '-' &&
			    !(underscore && label.ptr[i] == '_') && (unsigned char)label.ptr[i] < 0x80)
				return false;
		labels++;
	}
	return labels >= labels_min;
}
