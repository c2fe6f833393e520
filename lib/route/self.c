/* The "self" option: what to do when the first host to deliver to is this host. */
#include "routing.h"

enum route_result router_reroute(struct routing *r, struct slice full)
{
	struct address *child = full.ptr ? address_child(routing_arena(r), r->address, full) : NULL;

	if (!child)
		return route_say(r, ROUTE_DEFER, "out of memory");
	if (!router_set_errors_to(r, &child->errors_to) || !router_set_headers(r, child))
		return ROUTE_DEFER;
	child->start_router = r->router->redirect_to;
	list_append(&r->out->children, &child->link);
	return ROUTE_REROUTED;
}

enum route_result router_change_domain(struct routing *r, struct slice domain)
{
	struct slice full = arena_printf(routing_arena(r), "%.*s@%.*s",
					 SLICE_ARG(r->address->cased_local_part), SLICE_ARG(domain));

	return router_reroute(r, slice_tainted(full));
}

enum route_result router_self(struct routing *r, struct host_list *hosts, const struct transport *transport)
{
	const struct host_item *host = hosts->first;
	const char *why = host->mx != MX_NONE ? "lowest numbered MX record points to local host"
					      : "remote host address is the local host";

	switch (r->router->self_action) {
	case SELF_FREEZE:
		return route_say(r, ROUTE_FREEZE, "%s", why);
	case SELF_DEFER:
		return route_say(r, ROUTE_DEFER, "%s", why);
	case SELF_FAIL:
		return route_say(r, ROUTE_FAIL, "%s", why);
	case SELF_PASS:
		r->address->self_hostname = host->name;
		return ROUTE_PASS;
	case SELF_SEND:
		return router_accept(r, hosts, transport);
	case SELF_REROUTE:
	case SELF_REROUTE_REWRITE:
		return router_change_domain(r, r->router->self_domain);
	}
	return ROUTE_DEFER;
}

enum route_result router_after_timeout(struct routing *r, struct slice host)
{
	if (r->router->pass_on_timeout)
		return ROUTE_PASS;
	return route_say(r, ROUTE_DEFER, "host lookup for %.*s did not complete%s%.*s", SLICE_ARG(host),
			 r->err->text.len ? ": " : "", SLICE_ARG(r->err->text));
}
