/* item: ${lookup{key}type{file}{yes}{no}} and ${lookup type{query}{yes}{no}}. */

#include "types.h"

/* What the parser leaves for the evaluation: the type, or why it cannot be used. */
struct parsed {
	struct lookup_spec spec;
	const struct expansion *key;  /* NULL: query style */
	const struct expansion *file; /* or the query */
};

static enum rc parse_type(struct expand_parse *parse, struct parsed *parsed, struct err *err)
{
	struct slice word = expand_parse_word(parse);
	enum rc rc;

	if (!word.len)
		return err_set(err, FAIL, "missing lookup type");
	rc = lookup_spec_parse(word, &parsed->spec, err);
	if (rc != OK)
		return rc;
	if (parsed->spec.net >= 0)
		return err_set(err, FAIL, "unknown lookup type \"%.*s\"", SLICE_ARG(word));
	if (parsed->spec.type->query && parsed->key)
		return err_set(
		    err, FAIL,
		    "a single key was given for lookup type \"%s\", which is not a single-key lookup type",
		    parsed->spec.type->name);
	if (!parsed->spec.type->query && !parsed->key)
		return err_set(err, FAIL, "missing {key} for single-key \"%.*s\" lookup", SLICE_ARG(word));
	return OK;
}

static enum rc lookup_parse(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	struct parsed *parsed = arena_make(parse->arena, struct parsed);
	enum rc rc;

	if (!parsed)
		return err_memory(err);
	call->extra = parsed;
	parse->sets_numbers = true;
	if (expand_parse_at_brace(parse)) {
		rc = expand_parse_arg(parse, &parsed->key, err);
		if (rc != OK)
			return rc;
	}
	rc = parse_type(parse, parsed, err);
	if (rc != OK)
		return rc;
	if (!parse->missing.len && !lookup_type_available(parsed->spec.type)) {
		struct err why = err_make(parse->arena);

		(void)lookup_type_missing(parsed->spec.type, FAIL, &why);
		parse->missing = why.text;
	}
	if (!expand_parse_at_brace(parse))
		return err_set(err, FAIL, "missing '{' for lookup file-or-query arg");
	rc = expand_parse_arg(parse, &parsed->file, err);
	if (rc != OK)
		return rc;
	return expand_parse_yes_no(parse, call, err);
}

/* $1 and $2 for the {yes} of a partial match. */
static void numbers_set(struct scope *sc, struct slice wild, struct slice fixed)
{
	sc->numeric_count = 0;
	if (!wild.ptr)
		return;
	sc->numeric[0] = SLICE_EMPTY;
	sc->numeric[1] = wild;
	sc->numeric[2] = fixed.ptr ? fixed : SLICE_EMPTY;
	sc->numeric_count = 3;
}

static enum rc lookup_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			   struct err *err)
{
	const struct parsed *parsed = call->extra;
	struct slice key = SLICE_EMPTY, file = SLICE_EMPTY, value = SLICE_EMPTY, wild, fixed;
	struct slice saved[ARRAY_COUNT(sc->numeric)];
	unsigned saved_count = sc->numeric_count;
	enum rc rc = OK;

	if (parsed->key)
		rc = expand(sc, parsed->key, &key, err);
	if (rc == OK)
		rc = expand(sc, parsed->file, &file, err);
	if (rc != OK)
		return rc;
	if (parsed->key)
		file = slice_trim(file);
	else
		key = file;
	rc =
	    lookup_find(sc, &parsed->spec, parsed->key ? file : SLICE_EMPTY, key, &value, &wild, &fixed, err);
	if (rc == CANCELLED)
		return rc;
	if (rc == DEFER) {
		/* What the system refused says enough, in the words that users know. */
		if (!err || !err->os)
			err_prefix(err, "lookup of \"%.*s\" gave DEFER", SLICE_ARG(key));
		return rc;
	}
	memcpy(saved, sc->numeric, sizeof(saved));
	if (rc == OK)
		numbers_set(sc, wild, fixed);
	rc = expand_yes_no(sc, call, rc == OK, value, ret, err);
	memcpy(sc->numeric, saved, sizeof(saved));
	sc->numeric_count = saved_count;
	return rc;
}

static const struct expand_item lookup_item = {
    .name = "lookup", .flags = ITEM_YES_NO, .eval = lookup_eval, .parse = lookup_parse};
const struct expand_item *const lookup_items[] = {&lookup_item, NULL};
