/* authres_parse: Authentication-Results fields taken apart (RFC 8601 section 2.2). Strict: an id in a comment, a result behind a
 * NUL, a method without a semicolon are how results have been forged, so what does not fit the grammar is nothing. */
#include "base/codec.h"
#include "mailauth/mailauth.h"

#define COMMENT_DEPTH_MAX 20

struct reader {
	struct arena *arena;
	struct slice rest;
	bool failed_memory;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A comment, the parenthesis included. */
static bool skip_comment(struct reader *r)
{
	unsigned depth = 0;

	while (r->rest.len) {
		unsigned char c = (unsigned char)*r->rest.ptr;

		if (c == '\\') {
			if (r->rest.len < 2)
				return false;
			r->rest = slice_from(r->rest, 1);
		} else if (c == '(') {
			if (++depth > COMMENT_DEPTH_MAX)
				return false;
		} else if (c == ')') {
			depth--;
		} else if ((c < ' ' && !is_space((char)c)) || c == 0x7f) {
			return false;
		}
		r->rest = slice_from(r->rest, 1);
		if (!depth)
			return true;
	}
	return false;
}

/* Comments and folding white space. */
static bool skip(struct reader *r)
{
	while (r->rest.len) {
		if (*r->rest.ptr == '(') {
			if (!skip_comment(r))
				return false;
		} else if (is_space(*r->rest.ptr)) {
			r->rest = slice_from(r->rest, 1);
		} else {
			break;
		}
	}
	return true;
}

bool authres_skip(struct slice *rest)
{
	struct reader r = {.rest = *rest};
	bool good = skip(&r);

	*rest = r.rest;
	return good;
}

static bool take(struct reader *r, char c)
{
	if (!r->rest.len || *r->rest.ptr != c)
		return false;
	r->rest = slice_from(r->rest, 1);
	return true;
}

/* RFC 2045 section 5.1, and UTF-8 (RFC 8616). */
static bool is_token(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f && !strchr("()<>@,;:\\\"/[]?=", c);
}

static bool take_run(struct reader *r, bool (*fits)(char), struct slice *ret)
{
	uint32_t len = 0;

	while (len < r->rest.len && fits(r->rest.ptr[len]))
		len++;
	*ret = slice_sub(r->rest, 0, len);
	r->rest = slice_from(r->rest, len);
	return len && (ascii_only(*ret) || utf8_valid(*ret));
}

static bool is_keyword(char c)
{
	return ascii_is_alnum(c) || c == '-' || c == '_';
}

/* What stands in values beside tokens: addresses, and what others write without the quotes that they would need. */
static bool is_loose(char c)
{
	return is_token(c) || c == '@' || c == '/' || c == ':' || c == '=' || c == '[' || c == ']' ||
	       c == '?';
}

static bool take_quoted(struct reader *r, struct slice *ret)
{
	struct str out = str_make(r->arena);

	r->rest = slice_from(r->rest, 1);
	while (r->rest.len) {
		char c = *r->rest.ptr;

		r->rest = slice_from(r->rest, 1);
		if (c == '"') {
			*ret = str_slice(&out);
			r->failed_memory |= !ret->ptr;
			return ret->ptr && (ascii_only(*ret) || utf8_valid(*ret));
		}
		if (c == '\r' || c == '\n')
			continue; /* folded */
		if (c == '\\') {
			if (!r->rest.len)
				return false;
			c = *r->rest.ptr;
			r->rest = slice_from(r->rest, 1);
		}
		if (((unsigned char)c < ' ' && c != '\t') || c == 0x7f)
			return false;
		str_addc(&out, c);
	}
	return false;
}

static bool take_value(struct reader *r, bool loose, struct slice *ret)
{
	if (r->rest.len && *r->rest.ptr == '"') {
		if (!take_quoted(r, ret))
			return false;
		/* "quoted local part"@domain */
		if (loose && r->rest.len && *r->rest.ptr == '@') {
			struct slice local = *ret, domain;
			if (!take_run(r, is_loose, &domain))
				return false;
			*ret = arena_printf(r->arena, "%.*s%.*s", SLICE_ARG(local), SLICE_ARG(domain));
			r->failed_memory |= !ret->ptr;
			return ret->ptr;
		}
		return true;
	}
	return take_run(r, loose ? is_loose : is_token, ret);
}

static bool take_number(struct reader *r, unsigned *ret)
{
	unsigned digits = 0;

	*ret = 0;
	while (r->rest.len && ascii_is_digit(*r->rest.ptr) && digits++ < 5) {
		*ret = *ret * 10 + (unsigned)(*r->rest.ptr - '0');
		r->rest = slice_from(r->rest, 1);
	}
	return digits > 0 && digits <= 5;
}

/* ptype.property = value */
static bool take_property(struct reader *r, struct slice type, struct authres_method *method)
{
	struct authres_property *property = &method->properties[method->property_count];

	if (method->property_count == AUTHRES_PROPERTIES_MAX)
		return false;
	property->type = type;
	if (!skip(r) || !take(r, '.') || !skip(r) || !take_run(r, is_keyword, &property->name) || !skip(r) ||
	    !take(r, '=') || !skip(r) || !take_value(r, true, &property->value))
		return false;
	method->property_count++;
	return true;
}

/* method [/ version] = result, then reason and properties. */
static bool take_method(struct reader *r, struct authres_method *method)
{
	struct slice word;

	*method = (struct authres_method){.version = 1, .reason = SLICE_EMPTY};
	if (!take_run(r, is_keyword, &method->method) || !skip(r))
		return false;
	if (take(r, '/') && (!skip(r) || !take_number(r, &method->version) || !skip(r)))
		return false;
	if (!take(r, '=') || !skip(r) || !take_run(r, is_keyword, &method->result))
		return false;
	for (;;) {
		const char *before = r->rest.ptr;

		if (!skip(r))
			return false;
		if (!r->rest.len || *r->rest.ptr == ';')
			return true;
		if (r->rest.ptr == before || !take_run(r, is_keyword, &word))
			return false;
		if (slice_eq_nocase(word, SLICE("reason")) && !method->property_count &&
		    !method->reason.len) {
			if (!skip(r) || !take(r, '=') || !skip(r) || !take_value(r, false, &method->reason))
				return false;
		} else if (!take_property(r, word, method)) {
			return false;
		}
	}
}

static bool take_all(struct reader *r, struct authres *ret)
{
	struct slice before, word;

	if (!skip(r) || !take_value(r, false, &ret->id) || !ret->id.len || !skip(r))
		return false;
	ret->version = 1;
	if (r->rest.len && ascii_is_digit(*r->rest.ptr) && (!take_number(r, &ret->version) || !skip(r)))
		return false;
	if (!take(r, ';'))
		return false;
	ret->payload = r->rest;
	for (;;) {
		if (!skip(r))
			return false;
		if (!r->rest.len)
			return ret->method_count; /* a semicolon at the end is often seen */
		before = r->rest;
		if (!ret->method_count && take_run(r, is_keyword, &word) &&
		    slice_eq_nocase(word, SLICE("none")) && skip(r) && !r->rest.len)
			return true;
		r->rest = before;
		if (ret->method_count == AUTHRES_METHODS_MAX ||
		    !take_method(r, &ret->methods[ret->method_count]))
			return false;
		ret->method_count++;
		if (r->rest.len && !take(r, ';'))
			return false;
	}
}

enum rc authres_parse(struct arena *arena, struct slice text, struct authres *ret, struct err *err)
{
	struct reader r = {.arena = arena, .rest = text};
	unsigned room = 1;

	*ret = (struct authres){.id = SLICE_EMPTY, .payload = SLICE_EMPTY};
	for (uint32_t i = 0; i < text.len && room < AUTHRES_METHODS_MAX; i++)
		room += text.ptr[i] == ';';
	ret->methods = arena_array(arena, struct authres_method, room);
	if (!ret->methods)
		return err_memory(err);
	if (take_all(&r, ret))
		return OK;
	return r.failed_memory
		   ? err_memory(err)
		   : err_set(err, FAIL, "malformed Authentication-Results at byte %u", text.len - r.rest.len);
}
