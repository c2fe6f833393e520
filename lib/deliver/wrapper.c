/* wrapper: mua_wrapper: a program has handed in a message and waits. It is delivered in one transaction, or not at all: nothing is
 * queued, no report is sent, and the one failure that is told is told to that program. */
#include "work.h"

static void give_back(struct attempt *a, struct slice why)
{
	if (a->d->wrapped_failed)
		a->d->wrapped_failed(a->d->wrapped_arg, why.ptr ? why : SLICE("delivery failed"));
	attempt_complete(a);
}

void wrapper_give_back(struct attempt *a, struct slice why)
{
	log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "** %.*s", SLICE_ARG(why));
	give_back(a, why);
}

static struct address *first_of(struct link *list)
{
	return list_empty(list) ? NULL : LIST_ITEM(list->next, struct address, link);
}

/* What routing has found that cannot be: the address, and the word for it. NULL: nothing. */
static struct address *stray(struct attempt *a, const char **what_ret)
{
	struct address *found;

	*what_ret = "local";
	found = first_of(&a->local);
	if (!found && (found = first_of(&a->deferred)))
		*what_ret = "deferred";
	if (!found && (found = first_of(&a->failed)))
		*what_ret = "failed";
	return found;
}

bool wrapper_ready(struct attempt *a)
{
	const char *what;
	struct address *address = stray(a, &what), *first;
	struct slice text;

	if (address) {
		text = arena_printf(&a->arena, "routing %.*s yielded a %s delivery", SLICE_ARG(address->full),
				    what);
		if (what[0] != 'f') /* a failure has its line */
			log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id,
				   "** %.*s routing yielded a %s delivery", SLICE_ARG(address->full), what);
		if (what[0] != 'l')
			text = arena_printf(&a->arena, "%.*s: %.*s", SLICE_ARG(text),
					    SLICE_ARG(fate_text(address)));
		give_back(a, text);
		return false;
	}
	first = first_of(&a->remote);
	LIST_EACH (l, &a->remote) {
		if (address_goes_with(a, first, LIST_ITEM(l, struct address, link)))
			continue;
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id,
			   "** mua_wrapper is set but recipients cannot all be delivered in one transaction");
		give_back(a, SLICE("delivery to smarthost failed (configuration problem)"));
		return false;
	}
	return true;
}

void wrapper_end(struct attempt *a)
{
	struct address *address = first_of(&a->failed);

	if (!address)
		address = first_of(&a->deferred);
	if (address)
		give_back(a, arena_printf(&a->arena, "Delivery failed: %.*s",
					  SLICE_ARG(log_failure_text(a, address))));
	else
		attempt_complete(a);
}
