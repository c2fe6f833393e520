/* tell: a list told item by item, though most of it was asked with one look into a table. */
#include "tell.h"

static bool is_run(const struct entry *entry)
{
	return entry->kind == ENTRY_SET || entry->kind == ENTRY_NETS;
}

static struct slice subject_of(const struct matching *m)
{
	return m->kind == LIST_HOST ? SLICE("host") : m->subject;
}

static struct slice *items_of(struct arena *arena, const struct compiled *list, uint32_t *count_ret)
{
	struct slice text = list->text, item, *items;
	char separator = 0;
	uint32_t count = 0;

	if (list->in_file)
		return NULL;
	items = arena_array(arena, struct slice, list->item_count ? list->item_count : 1);
	if (items && list->one)
		items[count++] = text;
	while (items && !list->one && count < list->item_count &&
	       list_next(arena, &text, &separator, &item) && item.ptr)
		items[count++] = item;
	*count_ret = count;
	return items;
}

/* The name of the option, or the list itself. */
static __attribute__((cold)) void head(const struct matching *m, const struct compiled *list,
				       const char *result, const struct list_tale *tale)
{
	const char *quote = m->option ? "" : "\"";
	struct slice name = m->option ? slice_of(m->option) : list->text;

	if (tale && tale->hit.ptr)
		debug_say("%.*s in %s%.*s%s?%s (matched \"%.*s\")", SLICE_ARG(subject_of(m)), quote,
			  SLICE_ARG(name), quote, result, SLICE_ARG(tale->hit));
	else
		debug_say("%.*s in %s%.*s%s?%s%s", SLICE_ARG(subject_of(m)), quote, SLICE_ARG(name), quote,
			  result, tale ? " (end of list)" : "");
}

void tell_list_begin(struct matching *m, const struct compiled *list, struct list_tale *tale)
{
	*tale = (struct list_tale){.hit = {NULL, 0, CLEAN}, .outer = m->tale};
	tale->items = items_of(m->sc->task->arena, list, &tale->count);
	head(m, list, "", NULL);
	m->tale = tale;
	debug_indent(1);
}

void tell_list_end(struct matching *m, const struct compiled *list, struct list_tale *tale, enum rc rc)
{
	bool hit = tale->hit.ptr != NULL;

	if (hit && debug_on(TOLD))
		head(m, list, rc == OK ? " yes" : rc == FAIL ? " no" : " deferred", tale);
	debug_indent(-1);
	if (!hit && debug_on(TOLD))
		head(m, list, rc == OK ? " yes" : rc == FAIL ? " no" : " deferred", tale);
	m->tale = (struct list_tale *)(uintptr_t)tale->outer;
}

void tell_item(const struct entry *entry)
{
	if (!is_run(entry))
		debug_say("list element: %s%.*s", entry->negated ? "!" : "", SLICE_ARG(entry->text));
}

void tell_run(struct matching *m, const struct entry *entry, bool matched)
{
	uint32_t count = entry->kind == ENTRY_SET ? entry->set.count : entry->nets.count;

	if (!is_run(entry) || !m->tale->items)
		return;
	if (matched && m->hit < count)
		count = m->hit + 1;
	for (uint32_t i = 0; i < count && entry->first + i < m->tale->count; i++)
		debug_say("list element: %.*s", SLICE_ARG(m->tale->items[entry->first + i]));
}

void tell_hit(struct matching *m, const struct entry *entry)
{
	struct list_tale *tale = m->tale;
	uint32_t at = entry->first + (is_run(entry) ? m->hit : 0);

	if (tale->items && at < tale->count)
		tale->hit = tale->items[at];
	else
		tale->hit = entry->text.ptr ? entry->text : SLICE("a line of the file");
}
