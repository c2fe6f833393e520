/* list_items: items that work on lists: map, reduce, sort, listquote. */

#include "items.h"
#include "tree.h"

/* Parses exactly so many arguments. Exim's users know these words for what is missing. */
static enum rc parse_args(struct expand_parse *parse, struct expand_call *call, const char *const *names,
			  unsigned count, struct err *err)
{
	const struct expansion **args = arena_array(parse->arena, const struct expansion *, count);
	enum rc rc;

	if (!args)
		return err_memory(err);
	call->args = args;
	for (; call->arg_count < count; call->arg_count++) {
		if (!expand_parse_at_brace(parse))
			return err_set(err, FAIL, "missing '{' for %s arg of %.*s", names[call->arg_count],
				       SLICE_ARG(call->name));
		rc = expand_parse_arg(parse, &args[call->arg_count], err);
		if (rc != OK)
			return rc;
	}
	parse_skip_space(parse);
	return parse_take(parse, '}')
		   ? OK
		   : err_set(err, FAIL, "missing } at end of \"%.*s\"", SLICE_ARG(call->name));
}

/* ---- map, reduce ------------------------------------------------------------------------------------------
 */

static enum rc map_parse(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	static const char *const names[] = {"first", "last"};

	return parse_args(parse, call, names, 2, err);
}

static enum rc map_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	struct str out = str_make(sc->task->arena);
	struct slice list, value, item, saved = sc->item;
	unsigned count = 0;
	char separator = 0;
	enum rc rc = expand(sc, call->args[0], &list, err);

	if (rc != OK)
		return rc;
	while (rc == OK && list_next(sc->task->arena, &list, &separator, &item)) {
		if (!item.ptr || out.len > EXPAND_RESULT_MAX) {
			rc = err_memory(err);
			break;
		}
		sc->item = item;
		rc = expand(sc, call->args[1], &value, err);
		if (rc == OK)
			list_add(&out, &count, separator, value);
	}
	sc->item = saved;
	return rc == OK ? str_result(&out, ret, err) : rc;
}

static enum rc reduce_parse(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	static const char *const names[] = {"first", "second", "last"};

	return parse_args(parse, call, names, 3, err);
}

static enum rc reduce_loop(struct scope *sc, const struct expand_call *call, struct slice list,
			   struct err *err)
{
	struct slice item, value;
	char separator = 0;
	enum rc rc = OK;

	while (rc == OK && list_next(sc->task->arena, &list, &separator, &item)) {
		if (!item.ptr)
			return err_memory(err);
		sc->item = item;
		/* Not straight into sc->value: items put that back behind themselves. */
		rc = expand(sc, call->args[2], &value, err);
		if (rc == OK)
			sc->value = value;
	}
	return rc;
}

static enum rc reduce_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			   struct err *err)
{
	struct slice list, saved_item = sc->item, saved_value = sc->value, start;
	enum rc rc = expand(sc, call->args[0], &list, err);

	if (rc == OK)
		rc = expand(sc, call->args[1], &start, err);
	if (rc != OK)
		return rc;
	sc->value = start;
	rc = reduce_loop(sc, call, list, err);
	if (rc == OK)
		*ret = sc->value;
	sc->item = saved_item;
	sc->value = saved_value;
	return rc;
}

const struct expand_item item_map = {"map", 2, 2, 0, map_eval, map_parse};
const struct expand_item item_reduce = {"reduce", 3, 3, 0, reduce_eval, reduce_parse};

/* ---- sort -------------------------------------------------------------------------------------------------
 */

struct sort_entry {
	struct slice item, key;
	int64_t number;
	bool no_number; /* then it precedes nothing, and nothing precedes it */
};
struct sort {
	struct slice comparator;
	bool numeric;
	struct sort_entry *entries;
	uint32_t count, room;
};

static enum rc sort_parse(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	static const char *const names[] = {"list", "comparator", "extractor"};

	return parse_args(parse, call, names, 3, err);
}

static bool comparator_known(struct slice name, bool *numeric_ret)
{
	static const char *const names[] = {"<",  "<=",  ">",  ">=",  "lt", "lti",
					    "le", "lei", "gt", "gti", "ge", "gei"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (slice_eq(name, slice_of(names[i]))) {
			*numeric_ret = i < 4;
			return true;
		}
	return false;
}

static bool entry_before(const struct sort *sort, const struct sort_entry *a, const struct sort_entry *b)
{
	if (sort->numeric)
		return !a->no_number && !b->no_number &&
		       number_compare(sort->comparator, a->number, b->number);
	return string_compare(sort->comparator, a->key, b->key);
}

/* Merges two sorted runs. Of equals the later one comes first if the comparator says so ("<="): as if each
 * were inserted in turn before the first that it should precede. */
static void sort_merge(const struct sort *sort, struct sort_entry *from, struct sort_entry *to,
		       uint32_t start, uint32_t middle, uint32_t end)
{
	uint32_t a = start, b = middle;

	for (uint32_t i = start; i < end; i++) {
		bool take_b = a == middle || (b < end && entry_before(sort, &from[b], &from[a]));

		to[i] = take_b ? from[b++] : from[a++];
	}
}

static enum rc sort_entries(struct scope *sc, struct sort *sort, struct err *err)
{
	struct sort_entry *other = arena_array(sc->task->arena, struct sort_entry, sort->count + 1),
			  *from = sort->entries;
	enum rc rc = OK;

	if (!other)
		return err_memory(err);
	for (uint32_t width = 1; width < sort->count && rc == OK; width *= 2)
		rc = work_add(sc, sort->count / 16, err);
	if (rc != OK)
		return rc;
	for (uint32_t width = 1; width < sort->count; width *= 2) {
		struct sort_entry *to = from == other ? sort->entries : other;

		for (uint32_t start = 0; start < sort->count; start += 2 * width) {
			uint32_t middle = start + width < sort->count ? start + width : sort->count;
			uint32_t end = middle + width < sort->count ? middle + width : sort->count;

			sort_merge(sort, from, to, start, middle, end);
		}
		from = to;
	}
	sort->entries = from;
	return OK;
}

static enum rc sort_add(struct scope *sc, const struct expand_call *call, struct sort *sort,
			struct slice item, struct err *err)
{
	struct sort_entry *entry, *more;
	enum rc rc;

	if (sort->count == sort->room) {
		sort->room = sort->room ? sort->room * 2 : 16;
		more = arena_array(sc->task->arena, struct sort_entry, sort->room);
		if (!more)
			return err_memory(err);
		if (sort->count)
			memcpy(more, sort->entries, sort->count * sizeof(*more));
		sort->entries = more;
	}
	entry = &sort->entries[sort->count];
	entry->item = item;
	sc->item = item;
	rc = expand(sc, call->args[2], &entry->key, err);
	if (rc == OK && sort->numeric)
		entry->no_number = integer_read(entry->key, &entry->number, NULL) != OK;
	sort->count += rc == OK;
	return rc;
}

static enum rc sort_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	struct sort sort = {.numeric = false};
	struct slice list, item, saved = sc->item;
	struct str out = str_make(sc->task->arena);
	unsigned count = 0;
	char separator = 0;
	enum rc rc = expand(sc, call->args[0], &list, err);

	if (rc == OK)
		rc = expand(sc, call->args[1], &sort.comparator, err);
	if (rc != OK)
		return rc;
	if (!comparator_known(sort.comparator, &sort.numeric))
		return err_set(err, FAIL, "comparator not handled for sort");
	while (rc == OK && list_next(sc->task->arena, &list, &separator, &item))
		rc = item.ptr ? sort_add(sc, call, &sort, item, err) : err_memory(err);
	sc->item = saved;
	if (rc == OK)
		rc = sort_entries(sc, &sort, err);
	if (rc != OK)
		return rc;
	for (uint32_t i = 0; i < sort.count; i++)
		list_add(&out, &count, separator, sort.entries[i].item);
	return str_result(&out, ret, err);
}

const struct expand_item item_sort = {"sort", 3, 3, 0, sort_eval, sort_parse};

/* ---- listquote --------------------------------------------------------------------------------------------
 */

static enum rc listquote_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			      struct err *err)
{
	struct str out = str_make(sc->task->arena);
	struct slice separator, item;
	unsigned count = 0;
	enum rc rc = expand(sc, call->args[0], &separator, err);

	if (rc == OK)
		rc = expand(sc, call->args[1], &item, err);
	if (rc != OK)
		return rc;
	if (separator.len == 0 || item.len == 0) {
		*ret = item.len ? item : SLICE(" ");
		return OK;
	}
	list_add(&out, &count, separator.ptr[0], item);
	return str_result(&out, ret, err);
}

const struct expand_item item_listquote = {"listquote", 2, 2, 0, listquote_eval, NULL};
