/* template: texts of reports that the administrator wrote (bounce_message_file, warn_message_file): items divided by lines
 * of four asterisks, each expanded when it is used. An item that is empty, or that cannot be had, is the built-in one. */
#include "work.h"

#define TEMPLATE_SIZE_MAX (256u * 1024)

/* The next item: up to a line of exactly four asterisks. */
static struct slice next_item(struct slice *rest)
{
	struct slice whole = *rest, line;
	uint32_t len = 0;

	while (slice_split(rest, '\n', &line)) {
		if (slice_eq(slice_rtrim(line), SLICE("****")))
			return slice_sub(whole, 0, len);
		len += line.len + 1;
	}
	*rest = SLICE_EMPTY;
	return slice_sub(whole, 0, len);
}

void template_read(struct attempt *a, const struct expansion *option, const char *name,
		   struct template *template)
{
	struct err err = err_make(&a->arena);
	struct slice path, text;
	enum rc rc;

	*template = (struct template){.name = name};
	if (!option)
		return;
	rc = expand(&a->scope, option, &path, &err);
	if (rc == OK && path.taint == TAINTED)
		rc = err_set(&err, FAIL, "the file name \"%.*s\" is tainted", SLICE_ARG(path));
	if (rc == OK) {
		const char *file = arena_cstr(&a->arena, path);
		task_limit(&a->task, 10000);
		rc = file ? file_slurp(&a->task, file, TEMPLATE_SIZE_MAX, &text, &err) : err_memory(&err);
	}
	if (rc != OK) {
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &a->m->id,
			   "Failed to open %s for error message texts: %.*s", name, SLICE_ARG(err.text));
		return;
	}
	text.taint = CLEAN; /* the administrator's own words */
	for (unsigned i = 0; i < ARRAY_COUNT(template->items) && text.len; i++)
		template->items[i] = next_item(&text);
}

bool template_item(struct attempt *a, const struct template *template, unsigned item, struct slice *text_ret)
{
	struct err err = err_make(&a->arena);

	if (!template->items[item].ptr || !slice_trim(template->items[item]).len)
		return false;
	if (expand_text(&a->scope, template->items[item], text_ret, &err) == OK)
		return true;
	log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &a->m->id, "item %u of %s: %.*s",
		   item + 1, template->name, SLICE_ARG(err.text));
	return false;
}
