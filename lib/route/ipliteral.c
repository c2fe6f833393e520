/* The ipliteral router: user@[192.0.2.1] goes to the host of that address. */
#include "routing.h"

static enum route_result ipliteral_route(struct routing *r)
{
	struct slice domain = r->address->domain;
	struct host_list *hosts = arena_make(routing_arena(r), struct host_list);
	struct hosts_query query = {.ignore = r->router->ignore_target_hosts};
	struct ip_addr ip;

	if (domain.len < 3 || domain.ptr[0] != '[' || domain.ptr[domain.len - 1] != ']')
		return ROUTE_DECLINE;
	domain = slice_sub(domain, 1, domain.len - 2);
	if (slice_starts_nocase(domain, SLICE("ipv6:")))
		domain = slice_from(domain, 5);
	if (!ip_parse(domain, &ip))
		return ROUTE_DECLINE;
	if (!hosts)
		return route_say(r, ROUTE_DEFER, "out of memory");
	switch (hosts_find_name(r->sc, domain, 0, &query, hosts, r->err)) {
	case HOST_FOUND:
		/* In the log and for $host it is called as the address has it. */
		for (struct host_item *h = hosts->first; h; h = h->next)
			h->name = r->address->domain;
		return router_accept(r, hosts, NULL);
	case HOST_FOUND_LOCAL:
		return router_self(r, hosts, NULL);
	case HOST_AGAIN:
		return router_after_timeout(r, domain);
	default:
		return ROUTE_DECLINE;
	}
}

static const struct router_ops ipliteral_ops = {.route = ipliteral_route};
const struct conf_driver router_ipliteral_driver = {
    .name = "ipliteral",
    .size = sizeof(struct router),
    .ops = &ipliteral_ops,
};
