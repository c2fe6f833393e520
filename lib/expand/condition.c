/* condition: what stands behind ${if: compiled, evaluated from left to right, and no further than needed.
 * Also the items that hold a condition: if, filter. */

#include "tree.h"

/* ---- Compiling --------------------------------------------------------------------------------------------
 */

/* and{{c}{c}...} */
static enum rc parse_group(struct expand_parse *p, struct slice name, struct condition *group,
			   struct err *err)
{
	const struct condition **place = &group->first, *inner;
	enum rc rc;

	parse_skip_space(p);
	if (!parse_take(p, '{'))
		return err_set(err, FAIL, "missing { after \"%.*s\"", SLICE_ARG(name));
	for (;;) {
		parse_skip_space(p);
		if (parse_take(p, '}'))
			return OK;
		if (!parse_take(p, '{'))
			return err_set(
			    err, FAIL,
			    "each subcondition inside an \"%.*s{...}\" condition must be in its own {}",
			    SLICE_ARG(name));
		rc = condition_parse(p, &inner, err);
		if (rc == FAIL)
			err_set(err, FAIL, "%.*s inside \"%.*s{...}\" condition",
				SLICE_ARG(err ? err->text : name), SLICE_ARG(name));
		if (rc != OK)
			return rc;
		parse_skip_space(p);
		if (!parse_take(p, '}'))
			return err_set(err, FAIL, "missing } at end of condition inside \"%.*s\" group",
				       SLICE_ARG(name));
		group->sets_numbers |= inner->sets_numbers;
		*place = inner;
		place = (const struct condition **)(uintptr_t)&inner->next;
	}
}

/* def:name and def:h_name: */
static enum rc parse_def(struct expand_parse *p, struct condition *condition, struct err *err)
{
	unsigned prefix;
	struct slice name;
	enum rc rc;

	if (!parse_take(p, ':'))
		return err_set(err, FAIL, "\":\" expected after \"def\"");
	if (header_form_of(p->rest, &condition->form, &prefix)) {
		p->rest = slice_from(p->rest, prefix);
		condition->kind = CONDITION_HEADER;
		condition->name = parse_header_name(p);
		return OK;
	}
	condition->kind = CONDITION_VARIABLE;
	name = parse_name(p, "_");
	rc = variable_find(p, name, &condition->variable);
	if (rc == FAIL)
		return variable_unknown(p, "unknown variable \"", name, "\" after \"def:\"", err);
	return rc == OK ? OK : err_memory(err);
}

/* forany{list}{condition} and its kin. */
static enum rc parse_each(struct expand_parse *p, struct slice name, struct condition *condition,
			  struct err *err)
{
	enum rc rc;

	condition->kind = CONDITION_EACH;
	condition->all = slice_starts(name, SLICE("forall"));
	condition->json = slice_search(name, SLICE("_json")) >= 0;
	condition->json_strings = slice_ends(name, SLICE("_jsons"));
	if (!expand_parse_at_brace(p))
		return err_set(err, FAIL, "missing { after \"%.*s\"", SLICE_ARG(name));
	rc = expand_parse_arg(p, &condition->list, err);
	if (rc != OK)
		return rc;
	parse_skip_space(p);
	if (!parse_take(p, '{'))
		return err_set(err, FAIL, "missing { for second part of %.*s", SLICE_ARG(name));
	rc = condition_parse(p, &condition->first, err);
	if (rc == FAIL)
		err_set(err, FAIL, "%.*s inside \"%.*s\" condition", SLICE_ARG(err ? err->text : name),
			SLICE_ARG(name));
	if (rc != OK)
		return rc;
	parse_skip_space(p);
	if (!parse_take(p, '}'))
		return err_set(err, FAIL, "missing } at end of condition inside \"%.*s\"", SLICE_ARG(name));
	condition->sets_numbers = condition->first->sets_numbers;
	return OK;
}

static enum rc parse_call_args(struct expand_parse *p, const struct expand_condition *condition,
			       struct expand_call *call, struct err *err)
{
	const struct expansion **args =
	    arena_array(p->arena, const struct expansion *, condition->arg_max + 1);
	bool literal;
	enum rc rc;

	if (!args)
		return err_memory(err);
	call->args = args;
	while (call->arg_count < condition->arg_max) {
		if (!expand_parse_at_brace(p)) {
			if (call->arg_count >= condition->arg_min)
				break;
			if (call->arg_count == 0)
				return err_set(err, FAIL, "missing { after \"%.*s\"", SLICE_ARG(call->name));
			return err_set(err, FAIL, "missing %s string in {} after \"%.*s\"",
				       call->arg_count == 1 ? "2nd" : "3rd", SLICE_ARG(call->name));
		}
		literal =
		    condition->flags & CONDITION_LITERAL_LAST && call->arg_count + 1 == condition->arg_max;
		rc = literal ? expand_parse_arg_literal(p, &args[call->arg_count], err)
			     : expand_parse_arg(p, &args[call->arg_count], err);
		if (rc != OK)
			return rc;
		call->arg_count++;
	}
	return OK;
}

static enum rc parse_call(struct expand_parse *p, const struct expand_condition *row, struct slice name,
			  struct condition *condition, struct err *err)
{
	struct expand_call *call = arena_make(p->arena, struct expand_call);
	enum rc rc;

	if (!call)
		return err_memory(err);
	call->name = name;
	call->option = SLICE_EMPTY;
	condition->kind = CONDITION_CALL;
	condition->condition = row;
	condition->call = call;
	condition->sets_numbers = !(row->flags & CONDITION_PURE);
	if (row->flags & CONDITION_MISSING && !p->missing.len) {
		struct err why = err_make(p->arena);

		(void)row->eval(NULL, call, NULL, &why);
		p->missing = why.text;
	}
	if (!(row->flags & CONDITION_BRACED))
		return parse_call_args(p, row, call, err);
	parse_skip_space(p);
	if (!parse_take(p, '{'))
		return err_set(err, FAIL, "missing { after \"%.*s\"", SLICE_ARG(name));
	rc = parse_call_args(p, row, call, err);
	if (rc != OK)
		return rc;
	parse_skip_space(p);
	if (!parse_take(p, '}'))
		return err_set(err, FAIL, "%s arguments for \"%.*s\"",
			       p->rest.len && p->rest.ptr[0] == '{' ? "too many" : "missing } behind the",
			       SLICE_ARG(name));
	call->text = name;
	return OK;
}

/* eq, forany... or one of the symbols = == < <= > >=. */
static struct slice parse_condition_name(struct expand_parse *p)
{
	uint32_t n = 0;
	struct slice name;

	if (p->rest.len && ascii_is_alpha(p->rest.ptr[0]))
		return parse_name(p, "_");
	while (n < 2 && n < p->rest.len && memchr("=<>", p->rest.ptr[n], 3))
		n++;
	name = slice_sub(p->rest, 0, n);
	p->rest = slice_from(p->rest, n);
	return name;
}

static bool is_each(struct slice name)
{
	return slice_eq(name, SLICE("forany")) || slice_eq(name, SLICE("forall")) ||
	       slice_eq(name, SLICE("forany_json")) || slice_eq(name, SLICE("forall_json")) ||
	       slice_eq(name, SLICE("forany_jsons")) || slice_eq(name, SLICE("forall_jsons"));
}

static enum rc parse_named(struct expand_parse *p, struct condition *condition, struct err *err)
{
	struct slice name = parse_condition_name(p);
	const struct expand_condition *row;

	if (name.len == 0)
		return err_set(err, FAIL, "condition name expected, but found \"%.*s\"",
			       SLICE_ARG(slice_sub(p->rest, 0, 16)));
	if (slice_eq(name, SLICE("and")) || slice_eq(name, SLICE("or"))) {
		condition->kind = name.len == 3 ? CONDITION_AND : CONDITION_OR;
		return parse_group(p, name, condition, err);
	}
	if (slice_eq(name, SLICE("def")))
		return parse_def(p, condition, err);
	if (is_each(name))
		return parse_each(p, name, condition, err);
	row = language_find(p->language, 'c', name);
	if (!row) {
		struct slice hint = name_hint(p->language, p->arena, 'c', name);

		return err_set(err, FAIL, "unknown condition \"%.*s\"%.*s", SLICE_ARG(name), SLICE_ARG(hint));
	}
	return parse_call(p, row, name, condition, err);
}

enum rc condition_parse(struct expand_parse *p, const struct condition **ret, struct err *err)
{
	struct condition *condition = arena_make(p->arena, struct condition);
	enum rc rc;

	if (!condition)
		return err_memory(err);
	if (p->depth >= EXPAND_DEPTH_MAX || fiber_stack_left() < EXPAND_STACK_MIN)
		return err_set(err, FAIL, "expansion is nested too deeply");
	for (;;) {
		parse_skip_space(p);
		if (!parse_take(p, '!'))
			break;
		condition->negate = !condition->negate;
	}
	p->depth++;
	condition->text = p->rest;
	rc = parse_named(p, condition, err);
	condition->text.len = (uint32_t)(p->rest.ptr - condition->text.ptr);
	p->depth--;
	if (rc == OK)
		*ret = condition;
	return rc;
}

/* ---- Evaluating -------------------------------------------------------------------------------------------
 */

static enum rc eval_group(struct scope *sc, const struct condition *group, bool *ret, struct err *err)
{
	bool is_and = group->kind == CONDITION_AND, value = is_and;
	enum rc rc;

	for (const struct condition *c = group->first; c; c = c->next) {
		rc = condition_eval(sc, c, &value, err);
		if (rc == FAIL && err && !err->forced)
			err_set(err, FAIL, "%.*s inside \"%s{...}\" condition", SLICE_ARG(err->text),
				is_and ? "and" : "or");
		if (rc != OK)
			return rc;
		if (value != is_and)
			break;
	}
	*ret = value;
	return OK;
}

/* One element in $item; *done when the answer is known. */
static enum rc eval_each_item(struct scope *sc, const struct condition *each, struct slice item, bool *ret,
			      bool *done, struct err *err)
{
	bool value;
	enum rc rc;

	if (!item.ptr)
		return err_memory(err);
	if (each->json_strings && !json_unquote(item, &item))
		return err_set(err, FAIL, "missing '\"' wrapping string result for extract jsons");
	sc->item = item;
	rc = condition_eval(sc, each->first, &value, err);
	if (rc == OK) {
		*ret = value;
		*done = value != each->all;
	}
	return rc;
}

static enum rc eval_each(struct scope *sc, const struct condition *each, bool *ret, struct err *err)
{
	struct slice list, item, saved = sc->item;
	enum rc rc = expand(sc, each->list, &list, err);
	bool done = false;
	char separator = 0;

	if (rc != OK)
		return rc;
	*ret = false; /* of an empty list, for forall too */
	if (each->json && !json_inside(list, '[', ']', &list))
		return err_set(err, FAIL, "missing '%s' wrapping array for extract json",
			       slice_starts(list, SLICE("[")) ? "]" : "[");
	while (rc == OK && !done &&
	       (each->json ? json_next(&list, &item) : list_next(sc->task->arena, &list, &separator, &item)))
		rc = eval_each_item(sc, each, item, ret, &done, err);
	sc->item = saved;
	return rc;
}

/* As with items: off a shard only our own, which say by themselves when they need one. */
static enum rc eval_call(struct scope *sc, const struct condition *condition, bool *ret, struct err *err)
{
	bool ours = sc->task->shard != NULL;

	for (unsigned i = 0; !ours && expand_conditions[i]; i++)
		ours = expand_conditions[i] == condition->condition;
	if (!ours)
		return shard_needed(sc, condition->condition->name, err);
	if (sc->expand_forbidden && not_forbidden(sc, condition->condition->name, err) != OK)
		return FAIL;
	return condition->condition->eval(sc, condition->call, ret, err);
}

static enum rc eval_plain(struct scope *sc, const struct condition *condition, bool *ret, struct err *err)
{
	struct slice value;
	enum rc rc;

	switch (condition->kind) {
	case CONDITION_CALL:
		return eval_call(sc, condition, ret, err);
	case CONDITION_AND:
	case CONDITION_OR:
		return eval_group(sc, condition, ret, err);
	case CONDITION_VARIABLE:
		rc = condition->variable->get(sc, condition->variable, &value, err);
		if (rc == OK)
			*ret = value.len > 0;
		return rc;
	case CONDITION_HEADER:
		*ret = header_defined(sc, condition->name);
		return OK;
	case CONDITION_EACH:
		return eval_each(sc, condition, ret, err);
	}
	ASSERT(!"a condition of no kind");
	return FAIL;
}

enum rc condition_eval(struct scope *sc, const struct condition *condition, bool *ret, struct err *err)
{
	bool value = false;
	enum rc rc = depth_enter(sc, err);

	if (rc != OK)
		return rc;
	rc = eval_plain(sc, condition, &value, err);
	if (rc == OK)
		rc = work_add(sc, 1, err);
	sc->depth--;
	if (rc == OK)
		*ret = value != condition->negate;
	return rc;
}

/* ---- ${if and ${filter ------------------------------------------------------------------------------------
 */

static enum rc if_parse(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	const struct condition *condition;
	enum rc rc = condition_parse(parse, &condition, err);

	if (rc != OK)
		return rc;
	call->extra = condition;
	return expand_parse_yes_no(parse, call, err);
}

static enum rc if_branches(struct scope *sc, const struct expand_call *call, struct slice *ret,
			   struct err *err)
{
	bool yes;
	enum rc rc = condition_eval(sc, call->extra, &yes, err);

	if (debug_on(DEBUG_EXPAND))
		tell_condition(call->extra, rc, rc == OK && yes);
	if (rc != OK)
		return rc;
	return expand_yes_no(sc, call, yes, yes && !call->yes ? SLICE("true") : sc->value, ret, err);
}

/* Apart from if_eval(), so that deep nests pay for the copy on the stack only where a match may overwrite
 * something. */
static __attribute__((noinline)) enum rc if_restoring(struct scope *sc, const struct expand_call *call,
						      struct slice *ret, struct err *err)
{
	struct slice numeric[sizeof(sc->numeric) / sizeof(*sc->numeric)], value = sc->value;
	unsigned count = sc->numeric_count;
	enum rc rc;

	memcpy(numeric, sc->numeric, sizeof(numeric));
	rc = if_branches(sc, call, ret, err);
	memcpy(sc->numeric, numeric, sizeof(numeric));
	sc->numeric_count = count;
	sc->value = value;
	return rc;
}

static enum rc if_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	const struct condition *condition = call->extra;

	return condition->sets_numbers ? if_restoring(sc, call, ret, err) : if_branches(sc, call, ret, err);
}

static enum rc filter_parse(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	const struct expansion **args = arena_array(parse->arena, const struct expansion *, 1);
	const struct condition *condition;
	enum rc rc;

	if (!args)
		return err_memory(err);
	call->args = args;
	if (!expand_parse_at_brace(parse))
		return err_set(err, FAIL, "missing '{' for first arg of filter");
	rc = expand_parse_arg(parse, &args[0], err);
	if (rc != OK)
		return rc;
	call->arg_count = 1;
	parse_skip_space(parse);
	if (!parse_take(parse, '{'))
		return err_set(err, FAIL, "missing '{' for last arg of filter");
	rc = condition_parse(parse, &condition, err);
	if (rc == FAIL)
		err_set(err, FAIL, "%.*s inside \"filter\" item", SLICE_ARG(err ? err->text : call->name));
	if (rc != OK)
		return rc;
	call->extra = condition;
	parse_skip_space(parse);
	if (!parse_take(parse, '}'))
		return err_set(err, FAIL, "missing } at end of condition inside \"filter\"");
	parse_skip_space(parse);
	return parse_take(parse, '}') ? OK : err_set(err, FAIL, "missing } at end of \"filter\"");
}

static enum rc filter_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			   struct err *err)
{
	struct str out = str_make(sc->task->arena);
	struct slice list, item, saved = sc->item;
	unsigned count = 0;
	char separator = 0;
	bool keep;
	enum rc rc = expand(sc, call->args[0], &list, err);

	if (rc != OK)
		return rc;
	while (list_next(sc->task->arena, &list, &separator, &item)) {
		if (!item.ptr) {
			rc = err_memory(err);
			break;
		}
		sc->item = item;
		rc = condition_eval(sc, call->extra, &keep, err);
		if (rc != OK)
			break;
		if (keep)
			list_add(&out, &count, separator, item);
	}
	sc->item = saved;
	return rc == OK ? str_result(&out, ret, err) : rc;
}

const struct expand_item item_if = {"if", 0, 0, ITEM_YES_NO, if_eval, if_parse};
const struct expand_item item_filter = {"filter", 2, 2, 0, filter_eval, filter_parse};
