/* routing: every address of the attempt through the routers, until each has a transport, has failed or has to wait. */
#include "work.h"

/* Addresses of one message in one attempt, however many aliases and lists make of it. */
#define ADDRESSES_MAX 200000

static unsigned ancestors_of_that_name(const struct address *address)
{
	unsigned count = 0;

	for (const struct address *parent = address->parent; parent; parent = parent->parent)
		count += slice_eq(parent->full, address->full);
	return count;
}

static bool child_fate(struct attempt *a, struct address *address)
{
	struct str unique = str_make(&a->arena);

	/* A file or pipe is told apart by who it is for; an address is itself. */
	if (address->pipe.len || address->file.len || address->transport) {
		str_add(&unique, address->pipe.len   ? address->pipe
				 : address->file.len ? address->file
						     : address->full);
		str_addc(&unique, ':');
		str_add(&unique, address->parent ? address->parent->full : SLICE_EMPTY);
		if (address->full.ptr[0] == '>') /* several replies to one are several */
			str_printf(&unique, ":%u", filter_action_number(address->action));
	} else {
		/* An alias that names itself ("me: me, archive") is not done when its first address is, and no duplicate of it. */
		unsigned same = ancestors_of_that_name(address);
		if (same)
			str_printf(&unique, "\\%u\\", same - 1);
		str_add(&unique, address->full);
	}
	return fate_make(a, address, str_slice(&unique)) != NULL;
}

/* A file, pipe or reply: once, however often it is asked for, and not again when it was done in an earlier attempt. */
static void take_delivery(struct attempt *a, struct address *child)
{
	struct fate *fate = fate_of(child);

	list_init(&child->link);
	if (map_get(&a->done, fate->unique) || map_get(&a->routed, fate->unique)) {
		address_done(a, child);
		return;
	}
	if (!map_set(&a->routed, fate->unique, child)) {
		fate->outcome = (struct delivery_outcome){.rc = DEFER, .message = SLICE("out of memory")};
		address_deferred(a, child);
		return;
	}
	list_append(child->transport->is_local ? &a->local : &a->remote, &child->link);
}

/* Children of an address join those to be routed, or, files and pipes, those to be delivered. */
void route_take_children(struct attempt *a, struct address *parent, struct route_output *out)
{
	struct fate *pf = fate_of(parent);
	struct link *l,
	    *at =
		&a->to_route; /* in front, in their order: what comes of the first is known before the second */

	while ((l = list_shift(&out->children))) {
		struct address *child = LIST_ITEM(l, struct address, link);

		if (!child->parent)
			child->parent = parent;
		if (!child_fate(a, child)) {
			fate_of(parent)->outcome =
			    (struct delivery_outcome){.rc = DEFER, .message = SLICE("out of memory")};
			return;
		}
		child->recipient = parent->recipient;
		fate_of(child)->hidden = out->hide_child_in_errors || pf->hidden;
		fate_of(child)->router = out->router;
		fate_of(child->parent)->children++;
		fate_of(child->parent)->has_children = true;
		if (child->transport) {
			take_delivery(a, child);
		} else {
			list_insert_after(at, &child->link);
			at = &child->link;
		}
	}
}

static void not_taken(struct attempt *a, struct address *address, struct route_output *out, struct err *err,
		      enum rc rc)
{
	struct fate *fate = fate_of(address);
	struct slice why = out->message.len ? out->message
			   : err->text.len  ? err->text
					    : SLICE("Unrouteable address");

	fate->router = address->router = out->router; /* not the last one that it happened to be in */
	route_take_children(a, address, out);         /* what a filter had set up before */
	if (fate->has_children)
		fate->children++; /* the address is not done when they are */
	fate->outcome = (struct delivery_outcome){.rc = rc,
						  .message = why,
						  .os = out->os ? out->os : DEFER_UNKNOWN,
						  .scope = DEFER_ADDRESS,
						  .error = out->os == ROUTE_SHOW_HOST ? RETRY_ERROR_DNS
										      : RETRY_ERROR_NONE,
						  .user_message = out->bounce_message};
	list_init(&address->link);
	if (rc == FAIL) {
		address_failed(a, address);
		return;
	}
	log_deferred(a, address);
	fate->expired = retry_routing_failed(a, address, &fate->outcome);
	address_deferred(a, address);
}

/* Held, or waiting for a queue run, or its routing was tried a moment ago. */
static bool held_back(struct attempt *a, struct address *address)
{
	struct err err = err_make(&a->arena);
	struct fate *fate = fate_of(address);
	const char *why = NULL;
	int number = DEFER_NOT_YET;

	a->scope.address = address;
	if (!a->force && a->options->hold_domains &&
	    match_domain(&a->scope, a->options->hold_domains, address->domain, NULL, &err) == OK)
		why = "domain is held", number = DEFER_HELD;
	else if (a->q->first_attempt && a->options->queue_domains &&
		 match_domain(&a->scope, a->options->queue_domains, address->domain, NULL, &err) == OK)
		why = "domain is in queue_domains", number = DEFER_QUEUED;
	else if (!a->force &&
		 !a->q->first_attempt && /* a new message is always tried: its record may be another user's */
		 retry_routing_waits(a, address))
		why = "retry time not reached";
	if (!why)
		return false;
	fate->outcome = (struct delivery_outcome){.rc = DEFER, .message = slice_of(why), .os = number};
	fate->held = number != DEFER_NOT_YET;
	list_init(&address->link);
	if (number != DEFER_NOT_YET || log_wants(a->d->conf, LOG_RETRY_DEFER))
		log_deferred(a, address);
	address_deferred(a, address);
	return true;
}

static void route_one(struct attempt *a, struct address *address)
{
	struct route_output out;
	struct err err = err_make(&a->arena);
	struct fate *fate = fate_of(address);
	enum route_result result;

	if (held_back(a, address))
		return;
	route_output_init(&out);
	task_limit(&a->task, 5 * 60 * 1000);
	result = route_address(&a->scope, address, ROUTE_DELIVER, &out, &err);
	if (out.syntax_errors.len)
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id, "%.*s",
			   SLICE_ARG(out.syntax_errors));
	switch (result) {
	case ROUTE_ACCEPT:
		fate->router = address->router;
		route_take_children(a, address, &out);
		retry_routing_done(a, address);
		if (fate->has_children)
			fate->children++; /* its own delivery counts beside those of its clones */
		list_append(address->transport->is_local ? &a->local : &a->remote, &address->link);
		return;
	case ROUTE_REROUTED:
		fate->router = out.router;
		fate->one_time = out.one_time;
		route_take_children(a, address, &out);
		retry_routing_done(a, address);
		if (!fate->children)
			address_done(a, address);
		return;
	case ROUTE_DISCARDED:
		fate->router = out.router;
		route_take_children(a, address, &out);
		if (!out.disable_logging)
			log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id,
				   "=> :blackhole: <%.*s>%s%.*s", SLICE_ARG(address->full),
				   out.router ? " R=" : "",
				   SLICE_ARG(out.router ? out.router->instance.name : SLICE_EMPTY));
		if (!fate->children)
			address_done(a, address);
		return;
	case ROUTE_FAIL:
		not_taken(a, address, &out, &err, FAIL);
		return;
	case ROUTE_FREEZE:
		a->freeze = true; /* the line before says why */
		not_taken(a, address, &out, &err, DEFER);
		return;
	default:
		not_taken(a, address, &out, &err, DEFER);
		return;
	}
}

void route_all(struct attempt *a)
{
	struct link *l;
	unsigned count = 0;

	while ((l = list_shift(&a->to_route))) {
		struct address *address = LIST_ITEM(l, struct address, link);
		struct fate *fate = fate_of(address);

		/* What is done, or is on its way already, is not delivered twice. */
		if (map_get(&a->done, fate->unique)) {
			address_done(a, address);
			continue;
		}
		if (address->parent && !address->start_router && map_get(&a->routed, fate->unique)) {
			address_done(a, address);
			continue;
		}
		if (++count > ADDRESSES_MAX || !map_set(&a->routed, fate->unique, address)) {
			fate->outcome = (struct delivery_outcome){
			    .rc = DEFER, .message = SLICE("too many addresses in one message")};
			log_deferred(a, address);
			address_deferred(a, address);
			continue;
		}
		route_one(a, address);
	}
	a->scope.address = NULL;
	lookup_results_clear(&a->lookup_results);
}
