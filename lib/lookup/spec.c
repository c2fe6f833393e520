/* spec: search types as configurations write them, and what goes around every lookup: partial matching and
 * defaults (chapter "File and database lookups" of the specification, sections 6 and 7). */

#include "results.h"
#include "types.h"

static bool is_affix_char(char c)
{
	return c > ' ' && c < 127 && !ascii_is_alnum(c) && c != ')';
}

/* "partial-", "partial3-", "partial(.)", "partial0()" at the front. FAIL: malformed. */
static enum rc parse_partial(struct slice *s, struct lookup_spec *spec)
{
	struct slice rest = slice_from(*s, strlen("partial"));
	unsigned len = 0;

	spec->partial = 2;
	spec->partial_affix = SLICE("*.");
	if (rest.len && ascii_is_digit(rest.ptr[0])) {
		spec->partial = 0;
		while (rest.len && ascii_is_digit(rest.ptr[0])) {
			spec->partial = spec->partial * 10 + (rest.ptr[0] - '0');
			if (spec->partial > 1000)
				return FAIL;
			rest = slice_from(rest, 1);
		}
	}
	if (rest.len && rest.ptr[0] == '(') {
		rest = slice_from(rest, 1);
		while (len < rest.len && is_affix_char(rest.ptr[len]))
			len++;
		if (len == rest.len || rest.ptr[len] != ')')
			return FAIL;
		spec->partial_affix = slice_sub(rest, 0, len);
		*s = slice_from(rest, len + 1u);
		return OK;
	}
	if (!rest.len || rest.ptr[0] != '-')
		return FAIL;
	*s = slice_from(rest, 1);
	return OK;
}

static void parse_net(struct slice *s, struct lookup_spec *spec)
{
	unsigned at = 3, bits = 0;

	while (at < s->len && ascii_is_digit(s->ptr[at]) && bits < 1000)
		bits = bits * 10 + (unsigned)(s->ptr[at++] - '0');
	if (at >= s->len || s->ptr[at] != '-')
		return;
	spec->net = (int)bits;
	*s = slice_from(*s, at + 1u);
}

enum rc lookup_spec_parse(struct slice text, struct lookup_spec *spec_ret, struct err *err)
{
	struct lookup_spec spec = {
	    .partial = -1, .net = -1, .options = SLICE_EMPTY, .partial_affix = SLICE_EMPTY};
	struct slice s = slice_trim(text), whole;
	ptrdiff_t comma = slice_find(s, ',');

	if (comma >= 0) {
		spec.options = slice_from(s, (size_t)comma + 1);
		s = slice_sub(s, 0, (size_t)comma);
	}
	whole = s;
	if (slice_starts(s, SLICE("net")))
		parse_net(&s, &spec);
	if (slice_starts(s, SLICE("partial")) && parse_partial(&s, &spec) != OK)
		return err_set(err, FAIL, "format error in lookup type \"%.*s\"", SLICE_ARG(whole));
	if (slice_ends(s, SLICE("*@"))) {
		spec.star = spec.star_at = true;
		s = slice_sub(s, 0, s.len - 2u);
	} else if (slice_ends(s, SLICE("*"))) {
		spec.star = true;
		s = slice_sub(s, 0, s.len - 1u);
	}
	spec.type = lookup_type_find(s);
	if (!spec.type)
		return err_set(err, FAIL, "unknown lookup type \"%.*s\"", SLICE_ARG(s));
	if (spec.type->query && spec.star)
		return err_set(err, FAIL,
			       "defaults using \"*\" or \"*@\" are not permitted for lookup type \"%.*s\"",
			       SLICE_ARG(whole));
	if (spec.type->query && spec.partial >= 0)
		return err_set(err, FAIL, "\"partial\" is not permitted for lookup type \"%.*s\"",
			       SLICE_ARG(s));
	*spec_ret = spec;
	return OK;
}

/* ---- Finding ---------------------------------------------------------------------------- */

struct finding {
	struct scope *sc;
	const struct lookup_spec *spec;
	struct slice file;
	struct slice *ret;
	struct err *err;
};

static enum rc find(struct finding *f, struct slice key)
{
	struct lookup_request request = {.file = f->file, .key = key, .options = f->spec->options};
	const struct lookup_type *type = f->spec->type;
	enum rc rc;

	DEBUG(DEBUG_LOOKUP, "search_find: type=%s file=\"%.*s\" key=\"%.*s\"", type->name, SLICE_ARG(f->file),
	      SLICE_ARG(key));
	rc = lookup_find_kept(f->sc, type, &request, f->ret, f->err);
	DEBUG(DEBUG_LOOKUP, "lookup %s%.*s",
	      rc == OK     ? "yielded: "
	      : rc == FAIL ? "failed"
			   : "deferred: ",
	      SLICE_ARG(rc == OK               ? *f->ret
			: rc != FAIL && f->err ? f->err->text
					       : SLICE_EMPTY));
	if (rc == OK)
		f->ret->taint =
		    type->echoes ? key.taint : CLEAN; /* the administrator chose what is in there */
	return rc;
}

static enum rc find_affixed(struct finding *f, struct slice affix, struct slice rest)
{
	struct str key = str_make(f->sc->task->arena);
	struct slice whole;

	str_add(&key, affix);
	str_add(&key, rest);
	whole = str_slice(&key);
	if (!whole.ptr)
		return err_memory(f->err);
	return find(f, whole);
}

static unsigned count_components(struct slice key)
{
	unsigned count = 1;

	for (uint32_t i = 0; i < key.len; i++)
		count += key.ptr[i] == '.';
	return count;
}

/* What is looked up when a key has been shortened to nothing ("partial0"): depends on the affix. */
static bool last_affix(struct slice affix, struct slice *key_ret)
{
	if (affix.len == 0)
		return false;
	*key_ret = affix;
	if (affix.len > 1 && affix.ptr[affix.len - 1] == '.')
		*key_ret = slice_sub(affix, 0, affix.len - 1u);
	return true;
}

/* The affix before the whole key, then before what is left when leading components are taken off, as long as
 * enough of them remain. */
static enum rc find_partial(struct finding *f, struct slice key, struct slice *wild, struct slice *fixed)
{
	struct slice rest = key, affix = f->spec->partial_affix, last;
	unsigned keep = (unsigned)f->spec->partial;
	enum rc rc = FAIL;

	if (affix.len) { /* with the whole key, however few components it has */
		rc = find_affixed(f, affix, key);
		if (rc != FAIL) {
			*wild = slice_sub(key, 0, 0);
			*fixed = key;
			return rc;
		}
	}
	for (;;) {
		ptrdiff_t dot = slice_find(rest, '.');

		if (dot < 0)
			break;
		rest = slice_from(rest, (size_t)dot + 1);
		if (count_components(rest) < keep)
			return FAIL;
		rc = find_affixed(f, affix, rest);
		if (rc != FAIL) {
			*wild = slice_sub(key, 0, key.len - rest.len - 1u);
			*fixed = rest;
			return rc;
		}
	}
	if (keep > 0 || !last_affix(affix, &last))
		return FAIL;
	rc = find(f, last);
	if (rc == OK) {
		*wild = key;
		*fixed = SLICE_EMPTY;
	}
	return rc;
}

/* "*@domain" for keys with a "@", then "*". */
static enum rc find_default(struct finding *f, struct slice key, struct slice *wild)
{
	ptrdiff_t at = f->spec->star_at ? slice_rfind(key, '@') : -1;
	enum rc rc;

	if (at > 0) {
		rc = find_affixed(f, SLICE("*"), slice_from(key, (size_t)at));
		if (rc != FAIL) {
			*wild = slice_sub(key, 0, (size_t)at);
			return rc;
		}
	}
	rc = find(f, SLICE("*"));
	if (rc == OK)
		*wild = key;
	return rc;
}

enum rc lookup_find(struct scope *sc, const struct lookup_spec *spec, struct slice file, struct slice key,
		    struct slice *ret, struct slice *wild_ret, struct slice *fixed_ret, struct err *err)
{
	struct slice wild = {NULL, 0, CLEAN}, fixed = wild, value = SLICE_EMPTY;
	struct finding f = {sc, spec, file, &value, err};
	struct slice want;
	enum rc rc;

	/* An empty key finds nothing by itself, but a default serves it too, and the file has to be there. */
	rc = key.len || !spec->type->query ? find(&f, key) : FAIL;
	if (rc == OK && !key.len)
		rc = FAIL;
	if (rc == OK && spec->partial >= 0) {
		wild = slice_sub(key, 0, 0);
		fixed = key;
	}
	if (rc == FAIL && spec->partial >= 0)
		rc = find_partial(&f, key, &wild, &fixed);
	if (rc == FAIL && spec->star)
		rc = find_default(&f, key, &wild);
	if (rc != OK)
		return rc;
	want = lookup_option(spec->options, SLICE("ret"));
	if (want.ptr && !spec->type->query && slice_eq(want, SLICE("key"))) {
		value = arena_copy(sc->task->arena, key);
		if (!value.ptr)
			return err_memory(err);
		value.taint = CLEAN;
	}
	*ret = value;
	if (wild_ret)
		*wild_ret = wild;
	if (fixed_ret)
		*fixed_ret = fixed;
	return OK;
}
