/* eval: walks the tree of an expansion. One value needs no copy; several are built into the task's arena, and
 * their taint adds up. */

#include <time.h>

#include "tree.h"

enum rc str_result(const struct str *str, struct slice *ret, struct err *err)
{
	struct slice s = str_slice(str);

	if (!s.ptr)
		return err_memory(err);
	*ret = s;
	return OK;
}

enum rc shard_needed(const struct scope *sc, const char *what, struct err *err)
{
	if (sc->task->shard)
		return OK;
	return err_set(err, FAIL, "%s cannot be used while the configuration is read", what);
}

enum rc not_forbidden(const struct scope *sc, const char *name, struct err *err)
{
	static const struct {
		const char *name, *what;
		unsigned flag;
	} rows[] = {
	    {"dlfunc", "dynamically-loaded functions are", EXPAND_NO_DLFUNC},
	    {"exists", "File existence tests are", EXPAND_NO_EXISTS},
	    {"lookup", "lookup expansions are", EXPAND_NO_LOOKUP},
	    {"perl", "Perl calls are", EXPAND_NO_PERL},
	    {"readfile", "file insertions are", EXPAND_NO_READFILE},
	    {"readsocket", "socket insertions are", EXPAND_NO_READSOCKET},
	    {"run", "running a command is", EXPAND_NO_RUN},
	};

	for (unsigned i = 0; sc->expand_forbidden && i < sizeof(rows) / sizeof(*rows); i++)
		if ((sc->expand_forbidden & rows[i].flag) && strcmp(rows[i].name, name) == 0)
			return err_set(err, FAIL, "%s not permitted", rows[i].what);
	return OK;
}

enum rc depth_enter(struct scope *sc, struct err *err)
{
	if (sc->depth >= EXPAND_DEPTH_MAX || fiber_stack_left() < EXPAND_STACK_MIN)
		return err_set(err, FAIL, "expansion is nested too deeply");
	if (!sc->depth) {
		sc->work = 0;
		sc->work_next = EXPAND_WORK_TURN;
		sc->memory_start = sc->task->arena->used;
	}
	sc->depth++;
	return OK;
}

/* ---- Work -------------------------------------------------------------------------------------------------
 */

static __attribute__((noinline)) enum rc work_look(struct scope *sc, struct err *err)
{
	const struct arena *arena = sc->task->arena;
	enum rc rc;

	if (sc->work > EXPAND_WORK_MAX)
		return err_set(err, FAIL, "the expansion takes too much work");
	if (arena->used > sc->memory_start && arena->used - sc->memory_start > EXPAND_MEMORY_MAX)
		return err_set(err, FAIL, "the expansion takes too much memory");
	sc->work_next = sc->work + EXPAND_WORK_TURN;
	if (sc->work_next > EXPAND_WORK_MAX)
		sc->work_next = EXPAND_WORK_MAX + 1;
	if (!sc->task->shard || !fiber_running())
		return OK;
	rc = task_yield(sc->task);
	if (rc == OK && shard_now(sc->task->shard) > sc->task->until)
		return err_set(err, DEFER, "no time left for the expansion");
	return rc;
}

enum rc work_add(struct scope *sc, uint64_t units, struct err *err)
{
	sc->work = units < EXPAND_WORK_MAX && sc->work <= EXPAND_WORK_MAX ? sc->work + (uint32_t)units
									  : EXPAND_WORK_MAX + 1;
	return sc->work < sc->work_next ? OK : work_look(sc, err);
}

#define WORK_LITTLE      1000
#define WORK_NS_PER_UNIT 50

uint64_t work_clock(const struct scope *sc)
{
	struct timespec ts;

	if (sc->work < WORK_LITTLE)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

enum rc work_since(struct scope *sc, uint64_t start, struct err *err)
{
	uint64_t now = start ? work_clock(sc) : 0;

	return now > start ? work_add(sc, (now - start) / WORK_NS_PER_UNIT, err) : OK;
}

/* ---- Calls ------------------------------------------------------------------------------------------------
 */

enum rc expand_yes_no(struct scope *sc, const struct expand_call *call, bool yes, struct slice value,
		      struct slice *ret, struct err *err)
{
	struct slice saved = sc->value;
	const struct expansion *branch = yes ? call->yes : call->no;
	enum rc rc;

	if (!branch) {
		if (yes) {
			*ret = value;
			return OK;
		}
		if (call->no_fails) {
			rc = err_set(err, FAIL, "\"%.*s\" failed and \"fail\" requested",
				     SLICE_ARG(call->name));
			if (err)
				err->forced = true;
			return rc;
		}
		*ret = SLICE_EMPTY;
		return OK;
	}
	sc->value = value;
	rc = expand(sc, branch, ret, err);
	sc->value = saved;
	return rc;
}

static enum rc operation_eval(struct scope *sc, const struct operation *operation, struct slice *ret,
			      struct err *err)
{
	struct slice subject;
	enum rc rc = expand(sc, operation->subject, &subject, err);

	if (rc != OK)
		return rc;
	return operation->op->eval(sc, operation->arg, subject, ret, err);
}

/* Off a shard nothing may park, and of other rooms' items it is not known whether they do. */
static enum rc call_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	bool ours = sc->task->shard != NULL;

	for (unsigned i = 0; !ours && expand_items[i]; i++)
		ours = expand_items[i] == call->item;
	if (!ours)
		return shard_needed(sc, call->item->name, err);
	if (sc->expand_forbidden && not_forbidden(sc, call->item->name, err) != OK)
		return FAIL;
	return call->item->eval(sc, call, ret, err);
}

static enum rc node_eval(struct scope *sc, const struct node *node, struct slice *ret, struct err *err)
{
	switch (node->kind) {
	case NODE_TEXT:
		*ret = node->text;
		return OK;
	case NODE_VARIABLE:
		return node->variable->get(sc, node->variable, ret, err);
	case NODE_NUMBER:
		*ret = node->number < sc->numeric_count && sc->numeric[node->number].ptr
			   ? sc->numeric[node->number]
			   : SLICE_EMPTY;
		return OK;
	case NODE_HEADER:
		return header_expand(sc, node->text, (enum header_form)node->number, ret, err);
	case NODE_CALL:
		return call_eval(sc, node->call, ret, err);
	case NODE_OPERATOR:
		return operation_eval(sc, node->operation, ret, err);
	case NODE_ERROR:
		return err_set(err, FAIL, "%.*s", SLICE_ARG(node->text));
	}
	ASSERT(!"a node of no kind");
	return FAIL;
}

static enum rc nodes_eval(struct scope *sc, const struct expansion *expansion, struct slice *ret,
			  struct err *err)
{
	struct str str = str_make(sc->task->arena);
	struct slice part;
	enum rc rc;

	if (expansion->count == 1) {
		rc = node_eval(sc, &expansion->nodes[0], ret, err);
		if (debug_on(DEBUG_EXPAND))
			tell_node(&expansion->nodes[0], rc, *ret);
		return rc;
	}
	for (unsigned i = 0; i < expansion->count; i++) {
		rc = node_eval(sc, &expansion->nodes[i], &part, err);
		if (debug_on(DEBUG_EXPAND))
			tell_node(&expansion->nodes[i], rc, part);
		if (rc != OK)
			return rc;
		str_add(&str, part);
		if (str.len > EXPAND_RESULT_MAX)
			return err_set(err, FAIL, "the result of the expansion is too long");
	}
	return str_result(&str, ret, err);
}

enum rc expand(struct scope *sc, const struct expansion *expansion, struct slice *ret, struct err *err)
{
	enum rc rc;

	if (expansion->literal) {
		*ret = expansion->count ? expansion->nodes[0].text : SLICE_EMPTY;
		return sc->depth ? work_add(sc, 1, err) : OK;
	}
	rc = depth_enter(sc, err);
	if (rc != OK)
		return rc;
	if (debug_on(DEBUG_EXPAND))
		tell_expansion(expansion);
	rc = nodes_eval(sc, expansion, ret, err);
	if (debug_on(DEBUG_EXPAND))
		tell_expanded(expansion, rc, *ret, err);
	if (rc == OK)
		rc = work_add(sc, 1 + ret->len / EXPAND_WORK_BYTES, err);
	sc->depth--;
	return rc;
}

static bool text_is_literal(struct slice text)
{
	return slice_find(text, '$') < 0 && slice_find(text, '\\') < 0;
}

/* What a stranger wrote is data: run as a program it could read files and ask databases. */
static enum rc text_refuse_tainted(struct slice text, struct err *err)
{
	if (text.taint == TAINTED)
		return err_set(err, FAIL, "attempt to expand tainted string '%.*s'", SLICE_ARG(text));
	return OK;
}

enum rc expand_text(struct scope *sc, struct slice text, struct slice *ret, struct err *err)
{
	const struct expansion *expansion;
	enum rc rc;

	if (text_is_literal(text)) {
		*ret = text;
		return OK;
	}
	rc = text_refuse_tainted(text, err);
	if (rc != OK)
		return rc;
	expansion = expand_compile(sc->conf->language, sc->task->arena, text);
	if (!expansion)
		return err_memory(err);
	return expand(sc, expansion, ret, err);
}

enum rc expand_condition(struct scope *sc, struct slice text, bool *ret, struct err *err)
{
	struct expand_parse p = {
	    .language = sc->conf->language, .arena = sc->task->arena, .rest = text, .missing = SLICE_EMPTY};
	const struct condition *condition;
	enum rc rc = text_refuse_tainted(text, err);

	if (rc == OK)
		rc = condition_parse(&p, &condition, err);
	if (rc != OK)
		return rc;
	parse_skip_space(&p);
	if (p.rest.len)
		return err_set(err, FAIL, "unexpected text after a condition: \"%.*s\"", SLICE_ARG(p.rest));
	return condition_eval(sc, condition, ret, err);
}
