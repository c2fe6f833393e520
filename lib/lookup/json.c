/* json: a path of names and numbers, "first : 2 : last", into a JSON file. */

#include "shard_files.h"
#include "types.h"

/* The text is walked each time; nothing is built. Depth is bounded because values nest by recursion of
 * skip(). */
#define DEPTH_MAX 64

static struct slice skip_space(struct slice s)
{
	while (s.len && (*s.ptr == ' ' || *s.ptr == '\t' || *s.ptr == '\n' || *s.ptr == '\r'))
		s = slice_from(s, 1);
	return s;
}

/* Behind the string that starts s; *inner_ret is what its quotes hold. */
static bool string_take(struct slice *s, struct slice *inner_ret)
{
	uint32_t at = 1;

	if (!s->len || s->ptr[0] != '"')
		return false;
	while (at < s->len && s->ptr[at] != '"')
		at += s->ptr[at] == '\\' ? 2 : 1;
	if (at >= s->len)
		return false;
	*inner_ret = slice_sub(*s, 1, at - 1);
	*s = slice_from(*s, at + 1);
	return true;
}

/* Takes one value off; *value_ret is its text. */
static bool value_take(struct slice *s, struct slice *value_ret)
{
	struct slice start = *s = skip_space(*s), inner;
	unsigned depth = 0;

	do {
		*s = skip_space(*s);
		if (!s->len)
			return false;
		switch (*s->ptr) {
		case '"':
			if (!string_take(s, &inner))
				return false;
			break;
		case '{':
		case '[':
			if (++depth > DEPTH_MAX)
				return false;
			*s = slice_from(*s, 1);
			break;
		case '}':
		case ']':
			if (depth-- == 0)
				return false;
			*s = slice_from(*s, 1);
			break;
		case ',':
		case ':':
			if (depth == 0)
				return false;
			*s = slice_from(*s, 1);
			break;
		default:
			do
				*s = slice_from(*s, 1);
			while (s->len && (!*s->ptr || !strchr(",:]}\" \t\r\n", *s->ptr)));
		}
	} while (depth);
	*value_ret = slice_sub(start, 0, (size_t)(s->ptr - start.ptr));
	return true;
}

/* The (up to four) hexadecimal digits behind a "\\u" whose 'u' is at *at; leaves *at on the last. */
static uint32_t code_unit(struct slice inner, uint32_t *at)
{
	uint32_t code = 0;

	for (unsigned d = 0; d < 4 && *at + 1 < inner.len && hex_digit(inner.ptr[*at + 1]) >= 0; d++)
		code = code * 16 + (uint32_t)hex_digit(inner.ptr[++*at]);
	return code;
}

static struct slice string_undo(struct arena *arena, struct slice inner)
{
	struct str out = str_make(arena);

	for (uint32_t i = 0; i < inner.len; i++) {
		char c = inner.ptr[i];
		uint32_t code;

		if (c != '\\' || i + 1 >= inner.len) {
			str_addc(&out, c);
			continue;
		}
		c = inner.ptr[++i];
		if (c != 'u') {
			static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
			const char *at = strchr(from, c);

			str_addc(&out, at && c ? to[at - from] : c);
			continue;
		}
		code = code_unit(inner, &i);
		if (code >= 0xd800 && code < 0xdc00 && i + 2 < inner.len && inner.ptr[i + 1] == '\\' &&
		    inner.ptr[i + 2] == 'u') { /* the second half of a pair, beyond the first 65,536 */
			uint32_t at = i + 2, low = code_unit(inner, &at);

			if (low >= 0xdc00 && low < 0xe000) {
				code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
				i = at;
			}
		}
		str_add_utf8(&out, code);
	}
	return str_slice(&out);
}

/* The element of an object or array. FAIL: there is none; DEFER: this is no JSON. */
static enum rc element(struct arena *arena, struct slice value, struct slice selector, struct slice *ret)
{
	bool object = value.len && value.ptr[0] == '{';
	uint64_t index = 0, at = 0;
	struct slice s = value, name, one;

	if (!object && (!value.len || value.ptr[0] != '[' || !parse_u64(selector, &index)))
		return FAIL;
	s = skip_space(slice_from(s, 1));
	while (s.len && *s.ptr != '}' && *s.ptr != ']') {
		if (object) {
			if (!string_take(&s, &name))
				return DEFER;
			s = skip_space(s);
			if (!s.len || *s.ptr != ':')
				return DEFER;
			s = slice_from(s, 1);
		}
		if (!value_take(&s, &one))
			return DEFER;
		if (object ? slice_eq(string_undo(arena, name), selector) : at++ == index) {
			*ret = one;
			return OK;
		}
		s = skip_space(s);
		if (s.len && *s.ptr == ',')
			s = skip_space(slice_from(s, 1));
	}
	return s.len ? FAIL : DEFER;
}

static const struct text_file_kind json_file = {.name = "json search"};

static enum rc json_find(struct scope *sc, const struct lookup_type *type,
			 const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct slice path = request->key, selector, value, rest;
	struct arena *arena = sc->task->arena;
	struct text_file *file;
	char separator = 0;
	enum rc rc;

	(void)type;
	rc = text_file_get(sc->task, request->file, &json_file, &file, err);
	if (rc != OK)
		return rc;
	rest = file->bytes;
	rc = value_take(&rest, &value) ? OK : DEFER;
	while (rc == OK && list_next(arena, &path, &separator, &selector))
		rc = element(arena, value, selector, &value);
	if (rc == DEFER) {
		rc = err_set(err, DEFER, "%.*s is not JSON", SLICE_ARG(file->path));
	} else if (rc == OK) {
		rest = value;
		*ret = string_take(&rest, &value) ? string_undo(arena, value) : arena_copy(arena, value);
		rc = ret->ptr ? OK : err_memory(err);
	}
	text_file_put(sc->task->shard, file);
	return rc;
}

const struct lookup_type lookup_json = {.name = "json", .find = json_find};
