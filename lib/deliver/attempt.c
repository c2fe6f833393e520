/* attempt: one go at a message: route what is left, run the transports, keep the outcomes, report failures, and see
 * whether it is over. */
#include "work.h"

struct fate *fate_of(struct address *address)
{
	return address->extra;
}

static void queue_failed(struct attempt *a, struct link *list, struct address *address)
{
	(void)a;
	list_remove(&address->link);
	list_append(list, &address->link);
}

void address_failed(struct attempt *a, struct address *address)
{
	log_not_delivered(a, address, true);
	a->d->stats.failed++;
	queue_failed(a, &a->failed, address);
}

void address_deferred(struct attempt *a, struct address *address)
{
	a->d->stats.deferred++;
	queue_failed(a, &a->deferred, address);
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
	a->now = shard_wall(a->d->shard) / NS_PER_S;
	a->task.until = task_until(&a->task, 60000);
	if (queued_load(&a->task, a->d, a->q, &a->m, &err) != OK) {
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &a->q->entry->id, "cannot read the message: %.*s",
			   SLICE_ARG(err.text));
		return false;
	}
	a->force = a->q->force;
	scope_init(&a->scope, &a->task, a->d->conf);
	a->scope.message = a->m;
	a->scope.client = a->m->client;
	a->scope.sender = a->m->sender;
	a->scope.forced = a->force;
	for (uint32_t i = 0; i < a->m->nonrecipient_count; i++)
		if (!map_set(&a->done, a->m->nonrecipients[i], a))
			return false;
	return true;
}

/* Is this the time for a frozen message? false: leave it. */
static bool look_at_frozen(struct attempt *a)
{
	const struct deliver_options *o = a->options;
	uint64_t age = a->now > a->m->frozen_since ? a->now - a->m->frozen_since : 0;

	if (!a->q->entry->frozen)
		return true;
	if (a->q->force_frozen || a->q->give_up) {
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "Unfrozen by forced delivery");
	} else if (o->auto_thaw > 0 && age >= (uint64_t)o->auto_thaw) {
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "Unfrozen by auto-thaw");
	} else {
		if (log_wants(a->d->conf, LOG_SKIP_DELIVERY))
			log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "Message is frozen");
		return false;
	}
	spool_mark(a->d->spool, a->q->entry, false);
	a->q->entry->frozen = false;
	return true;
}

/* A message whose time is up while it is frozen goes without a word: it is a bounce that nobody takes, or an
 * administrator's leftover (ignore_bounce_errors_after, timeout_frozen_after). */
static bool frozen_too_long(struct attempt *a)
{
	const struct deliver_options *o = a->options;
	uint64_t since = a->m->frozen_since ? a->m->frozen_since : a->q->entry->received;
	uint64_t age = a->now > since ? a->now - since : 0;
	bool expired = a->q->entry->frozen &&
		       ((o->timeout_frozen_after > 0 && age >= (uint64_t)o->timeout_frozen_after) ||
			(!a->m->sender.len && o->ignore_bounce_errors_after >= 0 && age >= (uint64_t)o->ignore_bounce_errors_after));

	if (expired)
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "cancelled by timeout_frozen_after");
	return expired;
}

static void add_recipients(struct attempt *a)
{
	for (uint32_t i = 0; i < a->m->recipient_count; i++) {
		struct recipient *r = &a->m->recipients[i];
		struct address *address;
		struct fate *fate;

		if (r->done || map_get(&a->done, r->address))
			continue;
		address = address_new(&a->arena, r->address);
		fate = arena_make(&a->arena, struct fate);
		if (!address || !fate)
			return; /* the rest comes with the next attempt */
		*fate = (struct fate){.address = address, .unique = r->address};
		address->extra = fate;
		address->recipient = r;
		address->dsn_flags = r->dsn_flags;
		address->orcpt = r->orcpt;
		if (r->errors_to.len)
			address->errors_to = r->errors_to;
		list_append(&a->to_route, &address->link);
	}
}

/* -Mg: everything that is left fails, as told. */
static void give_up(struct attempt *a)
{
	LIST_EACH(l, &a->to_route) {
		struct address *address = LIST_ITEM(l, struct address, link);
		fate_of(address)->outcome =
			(struct delivery_outcome){.rc = FAIL, .message = SLICE("delivery cancelled by administrator")};
		address_failed(a, address);
	}
}

/* ---- Ending ---------------------------------------------------------------------------------------------------- */

/* What has been deferred for as long as the rules allow fails now. */
static void deferred_too_long(struct attempt *a)
{
	uint64_t age = a->now > a->q->entry->received ? a->now - a->q->entry->received : 0;

	LIST_EACH(l, &a->deferred) {
		struct address *address = LIST_ITEM(l, struct address, link);
		struct fate *fate = fate_of(address);

		if (fate->outcome.freeze) { /* a transport asks for it: pipe's freeze_signal, freeze_exec_fail */
			a->freeze = true;
			a->freeze_reason = fate->outcome.message;
		}
		if (!a->q->entry->frozen && !a->freeze && retry_too_old(&a->scope, address->full, &fate->outcome, age)) {
			fate->outcome.rc = FAIL;
			fate->outcome.user_message = fate->outcome.message;
			fate->outcome.message = SLICE("retry timeout exceeded");
			address_failed(a, address);
		}
	}
}

static void freeze(struct attempt *a)
{
	a->q->entry->frozen = true;
	a->m->frozen = true;
	a->m->frozen_since = a->now;
	spool_mark(a->d->spool, a->q->entry, true);
	log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "Frozen%s%.*s", a->freeze_reason.len ? " (" : "",
		   SLICE_ARG(a->freeze_reason.len ? a->freeze_reason : SLICE_EMPTY));
	freeze_tell(a);
}

static bool all_done(const struct message *m)
{
	for (uint32_t i = 0; i < m->recipient_count; i++)
		if (!m->recipients[i].done)
			return false;
	return true;
}

static void report(struct attempt *a)
{
	if (list_empty(&a->failed))
		return;
	if (bounce_send(a) == OK) {
		LIST_EACH(l, &a->failed) {
			address_done(a, LIST_ITEM(l, struct address, link));
		}
		return;
	}
	/* The report could not be queued: the failures stay with us and are found again. */
	a->freeze = true;
	a->freeze_reason = SLICE("a delivery report could not be queued");
}

static void complete(struct attempt *a)
{
	log_completed(a);
	a->d->stats.completed++;
	a->d->stats.queued--;
	spool_done(a->d->spool, a->q->entry);
	a->q->entry = NULL;
}

static void attempt(struct attempt *a)
{
	if (!begin(a))
		return;
	if (frozen_too_long(a)) {
		complete(a);
		return;
	}
	if (!look_at_frozen(a))
		return;
	add_recipients(a);
	if (a->q->give_up)
		give_up(a);
	else
		route_all(a);
	deliver_local(a);
	deliver_remote(a);
	deferred_too_long(a);
	report(a);
	if (all_done(a->m)) {
		complete(a);
		return;
	}
	if (a->freeze)
		freeze(a);
	else
		warning_send(a);
}

void attempt_fiber(void *arg)
{
	struct queued *q = arg;
	struct deliverer *d = deliver_here(shard_here());
	struct attempt a = {.d = d, .q = q};

	arena_init(&a.arena, 256ul * 1024 * 1024);
	task_init(&a.task, d->shard, &a.arena, UNTIL_NEVER);
	attempt(&a);
	if (a.m)
		message_unref(a.m);
	arena_done(&a.arena);
	q->running = q->force = q->force_frozen = q->first_attempt = q->give_up = false;
	waitq_wake_all(&q->attempted);
	if (!q->entry && !q->waiters)
		queued_free(q);
	d->running--;
	if (!d->running)
		waitq_wake_all(&d->idle);
	deliverer_pump(d);
}
