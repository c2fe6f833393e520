/* What -bf tells of a forward file that is no filter. */
#include "redirect_list.h"
#include "routing.h"

#define ITEMS_MAX 10000

static enum rc describe_item(struct scope *sc, const struct redirect_item *item, struct slice *lines,
			     struct err *err)
{
	const struct conf_main *conf = conf_main(sc->conf);
	struct slice domain = conf->qualify_recipient.len ? conf->qualify_recipient : conf->qualify_domain;
	struct slice line;

	switch (item->kind) {
	case REDIRECT_FAIL:
	case REDIRECT_DEFER:
		return err_set(err, FAIL, "\":%s:%s%.*s\" is not permitted",
			       item->kind == REDIRECT_FAIL ? "fail" : "defer", item->text.len ? " " : "",
			       SLICE_ARG(item->text));
	case REDIRECT_ERROR:
		return err_set(err, FAIL, "%.*s in \"%.*s\"", SLICE_ARG(item->error), SLICE_ARG(item->text));
	case REDIRECT_INCLUDE:
		return err_set(err, FAIL, "included files are not looked at in this test: %.*s",
			       SLICE_ARG(item->text));
	case REDIRECT_ADDRESS:
	case REDIRECT_FILE:
	case REDIRECT_PIPE:
		/* Each in front of those before it, as Exim has them. */
		line = item->unqualified
			   ? arena_printf(sc->task->arena, "  %.*s@%.*s\n%.*s", SLICE_ARG(item->text),
					  SLICE_ARG(domain), SLICE_ARG(*lines))
			   : arena_printf(sc->task->arena, "  %.*s\n%.*s", SLICE_ARG(item->text),
					  SLICE_ARG(*lines));
		*lines = line;
		return line.ptr ? OK : err_memory(err);
	default:
		return OK;
	}
}

enum rc forward_describe(struct scope *sc, struct slice text, struct str *lines, struct err *err)
{
	struct slice list = SLICE_EMPTY;
	struct redirect_item item;
	unsigned count = 0;
	enum rc rc;

	while (count++ < ITEMS_MAX && redirect_next(sc->task->arena, &text, &item)) {
		if (item.kind == REDIRECT_BLACKHOLE) {
			str_addz(lines, "exim: forwardfile contains \":blackhole:\"\n");
			list = SLICE_EMPTY;
			break;
		}
		if (item.kind == REDIRECT_UNKNOWN)
			break;
		rc = describe_item(sc, &item, &list, err);
		if (rc != OK)
			return rc;
	}
	if (list.len)
		str_printf(lines, "exim: forward file generated:\n%.*s", SLICE_ARG(list));
	else
		str_addz(lines, "exim: no addresses generated from forward file\n");
	return lines->failed ? err_memory(err) : OK;
}
