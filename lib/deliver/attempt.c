/* attempt: one go at a message: route what is left, run the transports, keep the outcomes, report failures, and see
 * whether it is over. */
#include "work.h"

struct fate *fate_of(struct address *address)
{
	return address->extra;
}

struct fate *fate_make(struct attempt *a, struct address *address, struct slice unique)
{
	struct fate *fate = arena_make(&a->arena, struct fate);

	if (!fate || !unique.ptr)
		return NULL;
	*fate = (struct fate){.attempt = a, .address = address, .unique = unique};
	address->extra = fate;
	return fate;
}

void address_failed(struct attempt *a, struct address *address)
{
	log_failed(a, address);
	tally_up(&a->d->metrics->failed);
	list_remove(&address->link);
	list_append(&a->failed, &address->link);
}

void address_deferred(struct attempt *a, struct address *address)
{
	tally_up(&a->d->metrics->deferred);
	list_remove(&address->link);
	list_append(&a->deferred, &address->link);
}

void address_done(struct attempt *a, struct address *address)
{
	while (address) {
		struct fate *fate = fate_of(address);

		if (fate->done)
			return;
		fate->done = true;
		outcome_done(a, fate->unique);
		if (!map_set(&a->done, fate->unique, address))
			return; /* only costs a later attempt the work of finding out again */
		if (!address->parent && address->recipient)
			address->recipient->done = true;
		address = address->parent;
		if (address && --fate_of(address)->children)
			return;
	}
}

/* ---- Beginning ------------------------------------------------------------------------------------------------- */

static bool begin(struct attempt *a)
{
	struct err err = err_make(&a->arena);

	a->options = conf_group(a->d->conf, CONF_DELIVER);
	list_init(&a->to_route);
	list_init(&a->local);
	list_init(&a->remote);
	list_init(&a->failed);
	list_init(&a->deferred);
	map_init(&a->done, &a->arena, false);
	map_init(&a->routed, &a->arena, false);
	a->story = str_make(&a->arena);
	a->now = shard_wall(a->d->shard) / NS_PER_S;
	task_limit(&a->task, 60000);
	if (queued_load(&a->task, a->d, a->q, &a->m, &err) != OK) {
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &a->q->entry->id,
			   "cannot read the message: %.*s", SLICE_ARG(err.text));
		return false;
	}
	a->force = a->q->force;
	scope_init(&a->scope, &a->task, a->d->conf);
	a->scope.message = a->m;
	a->scope.client = a->m->client;
	a->scope.sender = a->m->sender;
	a->scope.forced = a->force;
	a->scope.lookup_results = &a->lookup_results;
	for (uint32_t i = 0; i < a->m->nonrecipient_count; i++)
		if (!map_set(&a->done, a->m->nonrecipients[i], a))
			return false;
	return true;
}

static bool older_than(const struct attempt *a, uint64_t since, int64_t limit_s)
{
	return limit_s > 0 && a->now >= since && a->now - since >= (uint64_t)limit_s;
}

/* What to do with a frozen message now. false: leave it. Ages are those of the message, except for auto_thaw. */
static bool look_at_frozen(struct attempt *a)
{
	const struct deliver_options *o = a->options;
	uint64_t received = a->q->entry->received, since = a->m->frozen_since ? a->m->frozen_since : received;
	const char *why;

	if (!a->q->entry->frozen)
		return true;
	if (a->q->force_frozen || a->q->give_up) {
		why = "Unfrozen by forced delivery";
	} else if (older_than(a, received, o->timeout_frozen_after)) {
		why = "cancelled by timeout_frozen_after";
		a->q->give_up = true;
	} else if (!a->m->sender.len && older_than(a, received, o->ignore_bounce_errors_after)) {
		why = "Unfrozen by errmsg timer"; /* one more try; then it goes without a word */
	} else if (older_than(a, since, o->auto_thaw)) {
		why = "Unfrozen by auto-thaw";
	} else {
		if (log_wants(a->d->conf, LOG_SKIP_DELIVERY))
			log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "Message is frozen");
		return false;
	}
	log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "%s", why);
	msglog_mark(a, slice_of(why));
	spool_mark(a->d->spool, a->q->entry, false);
	a->q->entry->frozen = false;
	return true;
}

/* A client may name one address twice, and it is still one delivery: what becomes of it is kept under its text. */
static void add_recipients(struct attempt *a)
{
	struct map named;

	map_init(&named, &a->arena, false);
	for (uint32_t i = 0; i < a->m->recipient_count; i++) {
		struct recipient *r = &a->m->recipients[i];
		struct address *address;

		if (r->done || map_get(&a->done, r->address) ||
		    (a->m->recipient_count > 1 && map_get(&named, r->address)))
			continue;
		if (a->m->recipient_count > 1 && !map_set(&named, r->address, r))
			return; /* the rest comes with the next attempt */
		address = address_new(&a->arena, r->address);
		if (!address || !fate_make(a, address, r->address))
			return; /* the rest comes with the next attempt */
		address->recipient = r;
		address->dsn_flags = r->dsn_flags;
		address->orcpt = r->orcpt;
		if (r->errors_to.len)
			address->errors_to = r->errors_to;
		list_append(&a->to_route, &address->link);
	}
}

/* -Mg, or a frozen message whose time is up: everything that is left goes back to the sender. The one line that says so
 * has been written. */
static void give_up(struct attempt *a)
{
	struct slice why = a->q->force_frozen ? SLICE("delivery cancelled by administrator")
					      : SLICE("delivery cancelled; message timed out");
	struct link *l;

	while ((l = list_shift(&a->to_route))) {
		fate_of(LIST_ITEM(l, struct address, link))->outcome =
		    (struct delivery_outcome){.rc = FAIL, .message = why};
		tally_up(&a->d->metrics->failed);
		list_append(&a->failed, l);
	}
}

/* ---- Ending ---------------------------------------------------------------------------------------------------- */

/* What has been deferred for as long as the rules allow fails now. */
static void deferred_too_long(struct attempt *a)
{
	uint64_t age = a->now > a->q->entry->received ? a->now - a->q->entry->received : 0;

	LIST_EACH (l, &a->deferred) {
		struct address *address = LIST_ITEM(l, struct address, link);
		struct fate *fate = fate_of(address);

		if (fate->outcome
			.freeze) { /* a transport asks for it: pipe's freeze_signal, freeze_exec_fail */
			a->freeze = true;
			a->freeze_reason = fate->outcome.message;
		}
		if (!fate->held && !a->q->entry->frozen && !a->freeze &&
		    (fate->expired || retry_too_old(&a->scope, address, &fate->outcome, age))) {
			fate->outcome.rc = FAIL;
			fate->timed_out = true;
			address_failed(a, address);
		}
	}
}

/* one_time: of what was made of an address, some was not delivered. That takes its place among the recipients, so that the
 * list that it came from is not looked at again when it may say something else. */
static void keep_children(struct attempt *a)
{
	LIST_EACH (l, &a->deferred) {
		struct address *child = LIST_ITEM(l, struct address, link);
		struct address *list = child->parent;

		while (list && !fate_of(list)->one_time)
			list = list->parent;
		if (!list)
			continue;
		outcome_recipient(a, child->full, child->errors_to.ptr ? child->errors_to : SLICE_EMPTY);
		if (!fate_of(list)->done) {
			fate_of(list)->done = true;
			outcome_done(a, fate_of(list)->unique);
		}
	}
}

static void freeze(struct attempt *a)
{
	struct str line = str_make(&a->arena);

	a->q->entry->frozen = true;
	a->m->frozen = true;
	a->m->frozen_since = a->now;
	spool_mark(a->d->spool, a->q->entry, true);
	if (a->freeze_reason.len)
		str_printf(&line, "Frozen (%.*s)", SLICE_ARG(a->freeze_reason));
	else
		str_addz(&line, "Frozen");
	log_write(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, str_slice(&line));
	msglog_mark(a, str_slice(&line));
	freeze_tell(a);
}

static bool all_done(const struct attempt *a)
{
	for (uint32_t i = 0; i < a->m->recipient_count; i++)
		if (!a->m->recipients[i].done && !map_get(&a->done, a->m->recipients[i].address))
			return false;
	return true;
}

static void report(struct attempt *a)
{
	if (list_empty(&a->failed))
		return;
	if (bounce_send(a) == OK) {
		LIST_EACH (l, &a->failed) {
			address_done(a, LIST_ITEM(l, struct address, link));
		}
		return;
	}
	/* The report could not be queued: the failures stay with us and are found again. */
	a->freeze = true;
	a->freeze_reason = SLICE("a delivery report could not be queued");
}

void attempt_complete(struct attempt *a)
{
	log_completed(a);
	msglog_end(a);
	tally_up(&a->d->metrics->completed);
	tally_down(&a->d->metrics->queued);
	spool_done(a->d->spool, a->q->entry);
	a->q->entry = NULL;
}

/* The message may have brought a file with it: control = debug. A command's own -d comes first. */
static struct debug *debug_begin(struct deliverer *d, const struct message *m)
{
	struct log_debug_wish wish = {.tag = SLICE_EMPTY};
	struct debug *debug = NULL;

	if (!m)
		return d->debug ? log_debug_console(d->shard, d->debug, d->debug_direct) : NULL;
	wish.topics = m->debug_topics;
	if (log_debug_tag(d->conf, m->debug_name, &wish.tag))
		(void)(log_debug_file(d->shard, d->conf, &wish, &debug, NULL) ==
		       OK); /* NULL: nothing is told */
	return debug;
}

/* mua_wrapper: now, over one connection, for all, or not at all. What freezes or holds a message is overlooked. */
static void attempt_wrapped(struct attempt *a)
{
	a->force = a->scope.forced = true;
	add_recipients(a);
	if (!system_filter_run(a)) {
		wrapper_give_back(a, SLICE("the system filter cannot be run"));
		return;
	}
	route_all(a);
	if (!wrapper_ready(a))
		return;
	deliver_remote(a);
	wrapper_end(a);
}

static void attempt(struct attempt *a)
{
	a->debug = debug_begin(a->d, NULL);
	fiber_debug(a->debug);
	if (!begin(a))
		return;
	if (!a->debug && a->m->debug_topics)
		fiber_debug(a->debug = debug_begin(a->d, a->m));
	if (conf_main(a->d->conf)->mua_wrapper) {
		attempt_wrapped(a);
		return;
	}
	if (!look_at_frozen(a))
		return;
	add_recipients(a);
	if (!a->q->give_up) {
		if (!system_filter_run(a))
			return;
		route_all(a);
	} else if (a->m->sender.len) {
		give_up(a);
	} else {
		attempt_complete(a); /* a bounce: there is nobody to tell */
		return;
	}
	deliver_local(a);
	deliver_remote(a);
	deferred_too_long(a);
	report(a);
	if (all_done(a) && !system_filter_left(a)) {
		attempt_complete(a);
		return;
	}
	keep_children(a);
	if (a->m->deliver_firsttime)
		outcome_tried(a);
	if (a->freeze)
		freeze(a);
	else
		warning_send(a);
	msglog_keep(a);
}

void attempt_fiber(void *arg)
{
	struct queued *q = arg;
	struct deliverer *d = deliver_here(shard_here());
	struct attempt a = {.d = d, .q = q};

	arena_init(&a.arena, 256ul * 1024 * 1024);
	task_init(&a.task, d->shard, &a.arena, UNTIL_NEVER);
	attempt(&a);
	fiber_debug(NULL);
	log_debug_end(a.debug, false);
	if (a.m)
		message_unref(a.m);
	lookup_results_clear(&a.lookup_results);
	arena_done(&a.arena);
	q->running = q->force = q->force_frozen = q->first_attempt = q->give_up = false;
	waitq_wake_all(&q->attempted);
	if (!q->entry && !q->waiters)
		queued_free(q);
	d->running--;
	tally_set(&d->metrics->running, d->running);
	if (!d->running)
		waitq_wake_all(&d->idle);
	deliverer_pump(d);
}
