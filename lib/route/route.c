/* An address goes through the routers, in the order of the file, until one of them decides. */
#include <stdarg.h>

#include "routing.h"

/* More generations than any alias chain has: a loop that changes the address each time. */
#define ANCESTORS_MAX 100

enum route_result route_say(struct routing *r, enum route_result result, const char *format, ...)
{
	struct str text = str_make(routing_arena(r));
	va_list args;

	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	r->out->message = str_slice(&text);
	if (!r->out->message.ptr)
		r->out->message = SLICE("out of memory");
	r->out->message.taint = TAINTED;
	return result;
}

enum route_result route_say_err(struct routing *r, enum route_result result, const char *what)
{
	r->out->os = r->err ? r->err->os : 0;
	return route_say(r, result, "%s: %.*s", what, r->err ? (int)r->err->text.len : 0,
			 r->err ? r->err->text.ptr : "");
}

bool lax_truth(struct slice value)
{
	return value.len > 0 && !slice_eq(value, SLICE("0")) && !slice_eq_nocase(value, SLICE("no")) &&
	       !slice_eq_nocase(value, SLICE("false"));
}

/* Did this router already work on the same address, or (without repeat_use) on any of its ancestors? */
static bool router_loops(const struct router *router, const struct address *address, unsigned *ancestors_ret)
{
	bool loops = false;

	*ancestors_ret = 0;
	for (const struct address *parent = address->parent; parent; parent = parent->parent) {
		++*ancestors_ret;
		if (parent->router != router)
			continue;
		if (!router->repeat_use || (slice_eq(parent->full, address->full) &&
					    (!router->caseful_local_part ||
					     slice_eq(parent->cased_local_part, address->cased_local_part))))
			loops = true;
		if (*ancestors_ret > ANCESTORS_MAX)
			break;
	}
	return loops;
}

/* "set": each item "r_name = value", expanded and put with the address. A forced failure makes the router decline. */
static enum rc set_variables(struct routing *r)
{
	struct slice list = r->router->set, item;
	char separator = ';';

	if (!list.ptr)
		return OK;
	if (list.len > 1 && list.ptr[0] == '<')
		separator = 0;
	while (list_next(routing_arena(r), &list, &separator, &item)) {
		struct slice name, value;
		ptrdiff_t at;
		enum rc rc;

		if (!item.ptr)
			return err_memory(r->err);
		if (item.len == 0)
			continue;
		at = slice_find(item, '=');
		name = slice_trim(slice_sub(item, 0, at < 0 ? item.len : (size_t)at));
		if (at < 0 || !slice_starts(name, SLICE("r_")) || name.len == 2)
			return err_set(r->err, DEFER, "bad name or missing value in \"set\": \"%.*s\"",
				       SLICE_ARG(item));
		rc = expand_text(r->sc, slice_trim(slice_from(item, (size_t)at + 1)), &value, r->err);
		if (rc == FAIL && r->err->forced)
			return FAIL;
		if (rc != OK)
			return rc == FAIL ? DEFER : rc;
		value = arena_copy(routing_arena(r), value);
		/* A new node even for a name that is there already: the list is shared with parents. */
		struct acl_variable *variable = arena_make(routing_arena(r), struct acl_variable);
		if (!variable || !value.ptr)
			return err_memory(r->err);
		*variable = (struct acl_variable){r->address->router_variables, slice_from(name, 2), value};
		r->address->router_variables = variable;
	}
	return OK;
}

static enum rc set_address_data(struct routing *r)
{
	struct slice value;
	enum rc rc;

	if (!r->router->address_data)
		return OK;
	rc = expand(r->sc, r->router->address_data, &value, r->err);
	if (rc == FAIL && r->err->forced)
		return FAIL;
	if (rc == OK)
		r->address->address_data = value;
	return rc == FAIL ? DEFER : rc;
}

/* translate_ip_address: each address that was found may become another, or a name that is looked up. */
static enum route_result translate_hosts(struct routing *r)
{
	struct host_list *old = r->address->hosts, fresh = {0};
	const struct host_item *saved = r->sc->host;

	if (!r->router->translate_ip_address || !old)
		return ROUTE_ACCEPT;
	for (struct host_item *host = old->first, *next; host; host = next) {
		struct slice value;
		enum rc rc;

		next = host->next;
		r->sc->host = host;
		rc = expand(r->sc, r->router->translate_ip_address, &value, r->err);
		r->sc->host = saved;
		if (rc == FAIL && r->err->forced) {
			host_list_append(&fresh, host);
			continue;
		}
		if (rc != OK)
			return route_say_err(r, ROUTE_DEFER, "failed to expand \"translate_ip_address\"");
		struct ip_addr ip;
		if (ip_parse(value, &ip)) {
			ip.port = host->ip.port;
			host->ip = ip;
			host_list_append(&fresh, host);
			continue;
		}
		struct host_list found = {0};
		if (hosts_find_name(r->sc, value, host->port, &(struct hosts_query){.flags = HOSTS_BY_SYSTEM},
				    &found, r->err) > HOST_FOUND_LOCAL)
			return route_say(r, ROUTE_DEFER, "translate_ip_address: no address for \"%.*s\"",
					 SLICE_ARG(value));
		for (struct host_item *item = found.first, *after; item; item = after) {
			after = item->next;
			item->mx = host->mx;
			host_list_append(&fresh, item);
		}
	}
	fresh.from_mx = old->from_mx;
	fresh.dnssec_mx = old->dnssec_mx;
	*old = fresh;
	return ROUTE_ACCEPT;
}

/* The clone of an address that an "unseen" router took: it goes on at the next one, without the header changes. */
static enum route_result add_unseen_clone(struct routing *r, enum route_result result)
{
	bool unseen;
	struct address *clone;
	enum rc rc = expand_option_bool(r->sc, r->router->unseen, false, &unseen, r->err);

	if (rc != OK)
		return route_say_err(r, ROUTE_DEFER, "failed to expand \"unseen\"");
	if (!unseen || !r->router->next)
		return result;
	clone = address_new(routing_arena(r), r->address->full);
	if (!clone)
		return route_say(r, ROUTE_DEFER, "out of memory");
	clone->cased_local_part = r->address->cased_local_part;
	clone->parent = r->address;
	clone->recipient = r->address->recipient;
	clone->address_data = r->address->address_data;
	clone->router_variables = r->address->router_variables;
	clone->errors_to = r->address->errors_to;
	clone->dsn_flags = r->address->dsn_flags;
	clone->orcpt = r->address->orcpt;
	clone->ignore_errors = r->address->ignore_errors;
	clone->start_router = r->router->next;
	list_append(&r->out->children, &clone->link);
	r->out->unseen = true;
	return result;
}

/* ---- What -d and -bh show ---- */

#define TOLD DEBUG_CHECK(DEBUG_ROUTE)

static __attribute__((cold)) void tell_hosts(const struct host_list *hosts)
{
	char ip[IP_TEXT_MAX];

	for (const struct host_item *h = hosts ? hosts->first : NULL; h; h = h->next)
		debug_say("  host %.*s [%.*s]%s%.0d", SLICE_ARG(h->name),
			  SLICE_ARG(h->ip.family ? ip_format(&h->ip, ip) : SLICE_EMPTY),
			  h->mx != MX_NONE ? " MX=" : "", h->mx != MX_NONE ? h->mx : 0);
}

static __attribute__((cold)) void tell_taken(const struct routing *r, enum route_result result)
{
	const struct address *a = r->address;

	LIST_EACH (l, &r->out->children) {
		DEBUG(DEBUG_ROUTE, "%.*s router generated %.*s", SLICE_ARG(r->router->instance.name),
		      SLICE_ARG(LIST_ITEM(l, struct address, link)->full));
	}
	DEBUG(TOLD, "%s %.*s router", result == ROUTE_DISCARDED ? "discarded by" : "routed by",
	      SLICE_ARG(r->router->instance.name));
	DEBUG(DEBUG_ROUTE, "  envelope to: %.*s", SLICE_ARG(a->full));
	/* What a transport is, those above know; each begins with its instance. */
	DEBUG(DEBUG_ROUTE, "  transport: %.*s",
	      SLICE_ARG(a->transport ? ((const struct conf_instance *)(const void *)a->transport)->name
				     : SLICE("<none>")));
	if (debug_on(DEBUG_ROUTE))
		tell_hosts(a->hosts);
}

static __attribute__((cold)) void tell_result(const struct routing *r, enum route_result result)
{
	static const char *const words[] = {[ROUTE_DECLINE] = "declined for",
					    [ROUTE_PASS] = "passed for",
					    [ROUTE_FAIL] = "forced failure for",
					    [ROUTE_DEFER] = "deferred for"};

	if (result == ROUTE_ACCEPT || result == ROUTE_DISCARDED || result == ROUTE_REROUTED) {
		tell_taken(r, result);
		return;
	}
	if (result == ROUTE_FAIL)
		DEBUG(TOLD, "%.*s router forced address failure", SLICE_ARG(r->router->instance.name));
	else
		DEBUG(TOLD, "%.*s router %s %.*s", SLICE_ARG(r->router->instance.name),
		      result < ARRAY_COUNT(words) && words[result] ? words[result] : "done with",
		      SLICE_ARG(r->address->full));
	if (result == ROUTE_FAIL || result == ROUTE_DEFER)
		DEBUG(result == ROUTE_FAIL ? DEBUG_ROUTE : TOLD, "  message: %.*s",
		      SLICE_ARG(r->out->message));
}

static enum route_result no_route(struct routing *r, const struct router *last)
{
	struct slice text;

	DEBUG(TOLD, "no more routers");
	r->out->router = NULL;         /* nobody took it: no one router is to blame */
	if (r->out->message.len > 0) { /* a router that declined knows more than "unrouteable" */
		r->out->user_message = r->out->message;
		return ROUTE_FAIL;
	}
	if (last && last->cannot_route_message &&
	    expand(r->sc, last->cannot_route_message, &text, r->err) == OK && text.len > 0)
		(void)route_say(r, ROUTE_FAIL, "%.*s", SLICE_ARG(text));
	else
		(void)route_say(r, ROUTE_FAIL, "Unrouteable address");
	r->out->user_message = r->out->message;
	return ROUTE_FAIL;
}

/* What every router starts from: the address without what the last one did to it. */
static void reset_address(struct routing *r)
{
	struct address *address = r->address;
	struct slice plain = slice_sub(address->full, 0, address->cased_local_part.len);

	address->local_part = local_part_unquote(
	    routing_arena(r), r->router->caseful_local_part ? address->cased_local_part : plain);
	if (!address->local_part.ptr)
		address->local_part = SLICE_EMPTY;
	address->local_part_data = address->domain_data = (struct slice){NULL, 0, CLEAN};
	address->home = (struct slice){NULL, 0, CLEAN};
	r->user = NULL;
	r->sc->local_user = false;
	r->router_home = (struct slice){NULL, 0, CLEAN};
}

static enum route_result run_router(struct routing *r)
{
	const struct router_ops *ops = r->router->instance.driver->ops;
	enum route_result result;
	enum rc rc;

	rc = set_variables(r);
	if (rc == OK)
		rc = set_address_data(r);
	if (rc == FAIL)
		return ROUTE_DECLINE;
	if (rc != OK)
		return route_say_err(r, ROUTE_DEFER, "failed to expand \"set\" or \"address_data\"");
	result = ops->route(r);
	if (result == ROUTE_ACCEPT)
		result = translate_hosts(r);
	if ((result == ROUTE_ACCEPT || result == ROUTE_PASS) &&
	    ((r->mode == ROUTE_VERIFY_SENDER && r->router->fail_verify_sender) ||
	     (r->mode == ROUTE_VERIFY_RECIPIENT && r->router->fail_verify_recipient))) {
		r->out->forced = true;
		return route_say(r, ROUTE_FAIL, "%.*s router forced verify failure",
				 SLICE_ARG(r->router->instance.name));
	}
	return result;
}

/* May the next router try, after this one declined? *result is what to say otherwise. */
static bool router_goes_on(struct routing *r, enum route_result *result)
{
	bool more;

	if (expand_option_bool(r->sc, r->router->more, true, &more, r->err) != OK) {
		*result = route_say_err(r, ROUTE_DEFER, "failed to expand \"more\"");
		return false;
	}
	if (!more)
		DEBUG(TOLD, "\"more\" is false: skipping remaining routers");
	if (!more)
		*result = no_route(r, r->router);
	return more;
}

static enum route_result run_routers(struct routing *r, const struct router *first)
{
	const struct router *last = NULL, *next;
	enum route_result result;
	unsigned ancestors = 0;

	for (const struct router *router = first; router; router = next) {
		last = r->router = r->sc->router = router;
		next = router->next;
		if (router_loops(router, r->address, &ancestors))
			continue;
		if (ancestors > ANCESTORS_MAX)
			return route_say(r, ROUTE_DEFER, "routing loop for %.*s",
					 SLICE_ARG(r->address->full));
		reset_address(r);
		switch (router_preconditions(r)) {
		case OK:
			break;
		case FAIL:
			continue;
		default:
			r->out->router = router;
			if (r->err->text.len == 0)
				return route_say(r, ROUTE_DEFER,
						 "%.*s router: a precondition could not be tested",
						 SLICE_ARG(router->instance.name));
			r->out->os = r->err->os;
			return route_say(r, ROUTE_DEFER, "%.*s", SLICE_ARG(r->err->text));
		}
		DEBUG(TOLD, "calling %.*s router", SLICE_ARG(router->instance.name));
		r->out->router = router;
		r->address->router = router;
		result = run_router(r);
		if (debug_on(TOLD))
			tell_result(r, result);
		r->out->disable_logging = router->disable_logging;
		if (result == ROUTE_ACCEPT || result == ROUTE_DISCARDED || result == ROUTE_REROUTED) {
			r->out->message = SLICE_EMPTY;
			return add_unseen_clone(r, result);
		}
		if (result != ROUTE_DECLINE && result != ROUTE_PASS)
			return result;
		if (result == ROUTE_PASS && router->pass_to)
			next = router->pass_to;
		else if (result == ROUTE_DECLINE && !router_goes_on(r, &result))
			return result;
	}
	return no_route(r, last);
}

/* user%host@percent.domain is really user@host (an old form of source routing that some lists still ask for). */
static enum route_result percent_hack(struct routing *r, bool *done_ret)
{
	const struct route_options *options = conf_group(r->sc->conf, CONF_ROUTE);
	ptrdiff_t at = slice_rfind(r->address->cased_local_part, '%');
	struct slice full;
	struct address *child;

	*done_ret = false;
	if (at <= 0 || !options || !options->percent_hack_domains)
		return ROUTE_DECLINE;
	switch (match_domain(r->sc, options->percent_hack_domains, r->address->domain, NULL, r->err)) {
	case OK:
		break;
	case FAIL:
		return ROUTE_DECLINE;
	default:
		*done_ret = true;
		return route_say_err(r, ROUTE_DEFER, "percent_hack_domains");
	}
	*done_ret = true;
	full = arena_printf(routing_arena(r), "%.*s@%.*s", (int)at, r->address->cased_local_part.ptr,
			    SLICE_ARG(slice_from(r->address->cased_local_part, (size_t)at + 1)));
	child = full.ptr ? address_child(routing_arena(r), r->address, slice_tainted(full)) : NULL;
	if (!child)
		return route_say(r, ROUTE_DEFER, "out of memory");
	list_append(&r->out->children, &child->link);
	return ROUTE_REROUTED;
}

enum route_result route_address(struct scope *sc, struct address *address, enum route_mode mode,
				struct route_output *out, struct err *err)
{
	const struct conf_instances *routers = conf_instances(sc->conf, CONF_SECTION_ROUTERS);
	const struct router *first = address->start_router, *saved_router = sc->router;
	struct address *saved_address = sc->address;
	struct err own = err_make(sc->task->arena);
	struct routing r = {.sc = sc, .address = address, .out = out, .mode = mode, .err = err ? err : &own};
	enum route_result result;
	bool done;

	route_output_init(out);
	if (!first && routers && routers->count > 0)
		first = routers->items[0];
	sc->address = address;
	DEBUG(TOLD, "routing %.*s", SLICE_ARG(address->full));
	result = percent_hack(&r, &done);
	if (!done)
		result = run_routers(&r, first);
	sc->address = saved_address;
	sc->router = saved_router;
	return result;
}
