/* batch: addresses that can go together are given to their transport together. */
#include "work.h"

struct batch {
	struct attempt *a;
	struct delivery delivery;
};

static bool hosts_equal(const struct host_list *x, const struct host_list *y)
{
	const struct host_item *h = x ? x->first : NULL, *k = y ? y->first : NULL;

	/* In another order within one preference they are still the same hosts; that much finesse is not worth its cost
	 * here: lists of one domain come out of one lookup. */
	for (; h && k; h = h->next, k = k->next)
		if (!slice_eq_nocase(h->name, k->name) || h->port != k->port || h->mx != k->mx)
			return false;
	return !h && !k;
}

static bool slice_same(struct slice x, struct slice y)
{
	return x.ptr && y.ptr ? slice_eq(x, y)
			      : x.ptr == y.ptr; /* NULL: not set, which is not the same as empty */
}

bool address_goes_with(struct attempt *a, const struct address *first, const struct address *other)
{
	const struct transport *t = first->transport;
	struct err err = err_make(&a->arena);
	bool multi = true;

	if (other->transport != t || !slice_same(first->errors_to, other->errors_to) ||
	    !address_headers_equal(first, other) || first->uid_set != other->uid_set ||
	    (first->uid_set && first->uid != other->uid) || first->gid != other->gid ||
	    first->initgroups != other->initgroups)
		return false;
	if (t->is_local)
		return slice_same(first->home, other->home) && !first->file.len && !first->pipe.len &&
		       !other->file.len && !other->pipe.len &&
		       slice_eq_nocase(first->domain, other->domain) &&
		       slice_eq(first->local_part, other->local_part);
	if (!hosts_equal(first->hosts, other->hosts))
		return false;
	a->scope.address = (struct address *)first;
	if (t->multi_domain && expand_option_bool(&a->scope, t->multi_domain, true, &multi, &err) != OK)
		multi = false;
	return multi || slice_eq_nocase(first->domain, other->domain);
}

/* Takes the first address off the list, and those that go with it. */
static struct batch *batch_take(struct attempt *a, struct link *list)
{
	struct batch *b = arena_make(&a->arena, struct batch);
	struct address *first;
	unsigned room = 16;

	if (!b || list_empty(list))
		return NULL;
	first = LIST_ITEM(list->next, struct address, link);
	b->a = a;
	b->delivery.transport = first->transport;
	b->delivery.hosts = first->hosts;
	b->delivery.addresses = arena_array(&a->arena, struct address *, room);
	if (!b->delivery.addresses)
		return NULL;
	LIST_EACH (l, list) {
		struct address *address = LIST_ITEM(l, struct address, link);

		if (first->transport->batch_max > 0 && !conf_main(a->d->conf)->mua_wrapper &&
		    b->delivery.count >= first->transport->batch_max)
			break;
		if (address != first && !address_goes_with(a, first, address))
			continue;
		if (b->delivery.count == room) {
			struct address **more = arena_array(&a->arena, struct address *, room * 2);
			if (!more)
				break;
			memcpy(more, b->delivery.addresses, room * sizeof(*more));
			b->delivery.addresses = more;
			room *= 2;
		}
		list_remove(&address->link);
		b->delivery.addresses[b->delivery.count++] = address;
	}
	b->delivery.outcomes = arena_array(&a->arena, struct delivery_outcome, b->delivery.count);
	return b->delivery.outcomes ? b : NULL;
}

static void settle(struct attempt *a, struct address *address, const struct delivery_outcome *outcome,
		   bool further)
{
	struct fate *fate = fate_of(address);
	bool local = address->transport->is_local;

	fate->outcome = *outcome;
	list_init(&address->link);
	if (outcome->rc == DEFER && conf_main(a->d->conf)->mua_wrapper) {
		fate->outcome.rc = FAIL; /* there is no other time */
		if (outcome->os > 0)     /* no connection: the host has its own line */
			fate->outcome.host = (struct host_item){.name = SLICE_EMPTY};
	}
	switch (fate->outcome.rc) {
	case OK:
		if (!address->transport->disable_logging)
			log_delivered(a, address, further);
		tally_up(&a->d->metrics->delivered);
		retry_delivery_done(a, address);
		if (fate->has_children && --fate->children)
			return; /* its clones are still under way */
		address_done(a, address);
		return;
	case FAIL:
		address_failed(a, address);
		return;
	default:
		log_deferred(a, address);
		/* A host's trouble is kept for the host, and so is a message's that the host did not want now (retry.c); what
		 * the address met, for the address. */
		if (local || outcome->scope == DEFER_ADDRESS)
			fate->expired = retry_delivery_failed(a, address, outcome);
		address_deferred(a, address);
		return;
	}
}

static void batch_run(struct task *task, struct batch *b)
{
	struct attempt *a = b->a;
	struct scope sc = a->scope;
	struct lookup_results *results = NULL;
	bool first = true, over;
	uint64_t began;

	sc.task = task;
	sc.lookup_results = &results;
	sc.address = b->delivery.addresses[0];
	sc.transport = b->delivery.transport;
	sc.router = sc.address->router;
	for (unsigned i = 0; i < b->delivery.count; i++)
		b->delivery.outcomes[i] =
		    (struct delivery_outcome){.rc = DEFER, .message = SLICE("the transport said nothing")};
	for (unsigned i = 0; i < b->delivery.count; i++)
		DEBUG(DEBUG_DELIVER | DEBUG_TRANSPORT | DEBUG_V, "--------> %.*s using %.*s <--------",
		      SLICE_ARG(b->delivery.addresses[i]->full),
		      SLICE_ARG(b->delivery.transport->instance.name));
	began = shard_now(task->shard);
	if (!a->m->dont_deliver)
		transport_deliver(&sc, &b->delivery);
	for (unsigned i = 0; a->m->dont_deliver && i < b->delivery.count; i++)
		b->delivery.outcomes[i] =
		    (struct delivery_outcome){.rc = OK, .message = SLICE("delivery bypassed by -N option")};
	lookup_results_clear(&results);
	over = fate_of(sc.address)->hosts_over && !fate_of(sc.address)->hosts_left;
	for (unsigned i = 0; i < b->delivery.count; i++) {
		b->delivery.addresses[i]->return_path = sc.address->return_path;
		fate_of(b->delivery.addresses[i])->expired = over;
		fate_of(b->delivery.addresses[i])->took_ns = shard_now(task->shard) - began;
		DEBUG(DEBUG_DELIVER, "%.*s transport: %s for %.*s%s%.*s",
		      SLICE_ARG(b->delivery.transport->instance.name), rc_name(b->delivery.outcomes[i].rc),
		      SLICE_ARG(b->delivery.addresses[i]->full),
		      b->delivery.outcomes[i].message.len ? ": " : "",
		      SLICE_ARG(b->delivery.outcomes[i].message));
		settle(a, b->delivery.addresses[i], &b->delivery.outcomes[i], !first);
		if (b->delivery.outcomes[i].rc == OK)
			first = false;
	}
}

/* A delivery that failed a while ago is not tried before its time, unless the message is new. */
static bool too_early(struct attempt *a, struct address *address)
{
	if (a->force || a->q->first_attempt || !retry_delivery_waits(a, address))
		return false;
	if (address->transport->is_local) {
		fate_of(address)->outcome = (struct delivery_outcome){
		    .rc = DEFER, .message = SLICE("Retry time not yet reached"), .os = DEFER_NOT_YET_LOCAL};
	} else {
		fate_of(address)->outcome = (struct delivery_outcome){
		    .rc = DEFER, .message = SLICE("retry time not reached"), .os = DEFER_NOT_YET};
		address->transport = NULL; /* logged as if it had not been routed */
		address->router = fate_of(address)->router = NULL;
	}
	list_remove(&address->link);
	if (log_wants(a->d->conf, LOG_RETRY_DEFER))
		log_deferred(a, address);
	address_deferred(a, address);
	return true;
}

/* Its domain's mail, or this message, is sent in queue runs only, although it is routed at once. */
static bool waits_for_run(struct attempt *a, struct address *address)
{
	struct err err = err_make(&a->arena);
	struct fate *fate = fate_of(address);

	if (!a->q->first_attempt || a->force || (!a->m->queue_smtp && !a->options->queue_smtp_domains))
		return false;
	a->scope.address = address;
	if (!a->m->queue_smtp &&
	    match_domain(&a->scope, a->options->queue_smtp_domains, address->domain, NULL, &err) != OK)
		return false;
	fate->held = true;
	fate->outcome =
	    (struct delivery_outcome){.rc = DEFER,
				      .message = a->m->queue_smtp ? SLICE("SMTP delivery explicitly queued")
								  : SLICE("domain is in queue_smtp_domains"),
				      .os = DEFER_UNKNOWN};
	list_remove(&address->link);
	log_deferred(a, address);
	address_deferred(a, address);
	return true;
}

static void no_memory(struct attempt *a, struct link *list)
{
	struct link *l;

	while ((l = list_shift(list))) {
		struct address *address = LIST_ITEM(l, struct address, link);
		fate_of(address)->outcome =
		    (struct delivery_outcome){.rc = DEFER, .message = SLICE("out of memory")};
		log_deferred(a, address);
		address_deferred(a, address);
	}
}

void deliver_local(struct attempt *a)
{
	while (!list_empty(&a->local)) {
		struct batch *b;

		if (too_early(a, LIST_ITEM(a->local.next, struct address, link)))
			continue;
		b = batch_take(a, &a->local);
		if (!b) {
			no_memory(a, &a->local);
			return;
		}
		a->task.until = UNTIL_NEVER; /* the transports have their own deadlines */
		batch_run(&a->task, b);
	}
}

/* remote_sort_domains: the addresses that its first item matches, then those of the next, then the rest. */
static void sort_remote(struct attempt *a)
{
	struct err err = err_make(&a->arena);
	struct link sorted;
	struct slice rest, item;
	char separator = 0;

	if (!a->options->remote_sort_domains.ptr ||
	    expand_text(&a->scope, a->options->remote_sort_domains, &rest, &err) != OK)
		return;
	list_init(&sorted);
	while (list_next(&a->arena, &rest, &separator, &item))
		LIST_EACH (l, &a->remote) {
			struct address *address = LIST_ITEM(l, struct address, link);

			if (match_text(&a->scope, LIST_DOMAIN, item, address->domain, NULL, NULL, &err) != OK)
				continue;
			list_remove(l);
			list_append(&sorted, l);
		}
	while (!list_empty(&sorted)) {
		struct link *last = sorted.prev;

		list_remove(last);
		list_prepend(&a->remote, last);
	}
}

struct lane {
	struct attempt *a;
};

/* One of remote_max_parallel workers: takes batch after batch. */
static void lane_run(struct task *task, void *arg)
{
	struct attempt *a = ((struct lane *)arg)->a;

	while (!list_empty(&a->remote)) {
		struct batch *b = batch_take(a, &a->remote);
		if (!b) {
			no_memory(a, &a->remote);
			return;
		}
		batch_run(task, b);
	}
}

void deliver_remote(struct attempt *a)
{
	struct lane lane = {a};
	struct group group;
	unsigned lanes =
		     (unsigned)(a->options->remote_max_parallel > 1 ? a->options->remote_max_parallel : 1),
		 batches = 0;

	a->task.until = UNTIL_NEVER;
	if (list_empty(&a->remote))
		return;
	LIST_EACH (l, &a->remote) {
		struct address *address = LIST_ITEM(l, struct address, link);
		(void)(waits_for_run(a, address) || too_early(a, address));
	}
	sort_remote(a);
	/* One address, or one lane, needs no second fiber. */
	LIST_EACH (l, &a->remote) {
		(void)l;
		batches++;
	}
	group_init(&group);
	for (unsigned i = 1; i < lanes && i < batches; i++)
		if (group_spawn(&a->task, &group, lane_run, &lane) != OK)
			break;
	lane_run(&a->task, &lane);
	if (group_wait(&a->task, &group) != OK)
		return;
}
