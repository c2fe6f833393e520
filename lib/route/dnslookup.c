/* The dnslookup router: MX, SRV and address records say where a domain's mail goes (RFC 5321 section 5.1). */
#include "routing.h"

struct dnslookup {
	struct router router;
	bool check_secondary_mx, qualify_single, rewrite_headers, same_domain_copy_routing, search_parents;
	const struct expansion *check_srv, *ipv4_only, *ipv4_prefer;
	const struct match_list *fail_defer_domains, *mx_domains, *mx_fail_domains, *srv_fail_domains;
	struct slice widen_domains;
};

static const struct conf_option dnslookup_options[] = {
    OPT_BOOL(struct dnslookup, check_secondary_mx, "no", "decline unless this host is a secondary MX"),
    OPT_EXPAND(struct dnslookup, check_srv, NULL, "service whose SRV records come before MX"),
    OPT_DOMAINS(struct dnslookup, fail_defer_domains, NULL, "domains that defer when they are not found"),
    OPT_EXPAND(struct dnslookup, ipv4_only, NULL, "look for IPv4 addresses only"),
    OPT_EXPAND(struct dnslookup, ipv4_prefer, NULL, "IPv4 addresses first"),
    OPT_DOMAINS(struct dnslookup, mx_domains, NULL, "domains that must have an MX record"),
    OPT_DOMAINS(struct dnslookup, mx_fail_domains, NULL, "domains whose failing MX lookups count as no MX"),
    OPT_BOOL(struct dnslookup, qualify_single, "yes",
	     "a domain without a dot gets this host's own behind it"),
    OPT_BOOL(struct dnslookup, rewrite_headers, "yes",
	     "accepted: rewriting is for domains that were widened"),
    OPT_BOOL(struct dnslookup, same_domain_copy_routing, "no",
	     "accepted: equal questions are asked once anyway"),
    OPT_BOOL(struct dnslookup, search_parents, "no", "the endings of resolv.conf are tried"),
    OPT_DOMAINS(struct dnslookup, srv_fail_domains, NULL,
		"domains whose failing SRV lookups count as no SRV"),
    OPT_STRING(struct dnslookup, widen_domains, NULL, "endings to try when the domain is not found"),
};

/* An option that decides by its expansion; a forced failure is no. */
static enum rc decide(struct routing *r, const struct expansion *option, bool *ret)
{
	struct slice value;
	enum rc rc;

	*ret = false;
	if (!option)
		return OK;
	rc = expand(r->sc, option, &value, r->err);
	if (rc == OK)
		*ret = lax_truth(value);
	return rc == FAIL && r->err->forced ? OK : rc;
}

static enum rc make_query(struct routing *r, const struct dnslookup *d, struct hosts_query *query)
{
	bool only, prefer;
	enum rc rc;

	if (decide(r, d->ipv4_only, &only) != OK || decide(r, d->ipv4_prefer, &prefer) != OK)
		return DEFER;
	*query = (struct hosts_query){
	    .flags = HOSTS_MX | HOSTS_A | HOSTS_AAAA | (only ? HOSTS_IPV4_ONLY : 0) |
		     (prefer ? HOSTS_IPV4_FIRST : 0) | (d->qualify_single ? HOSTS_QUALIFY_SINGLE : 0) |
		     (d->search_parents ? HOSTS_SEARCH_PARENTS : 0),
	    .ignore = d->router.ignore_target_hosts,
	    .mx_fail = d->mx_fail_domains,
	    .srv_fail = d->srv_fail_domains,
	    .dnssec_require = d->router.dnssec_require_domains,
	};
	if (d->check_srv) {
		rc = expand(r->sc, d->check_srv, &query->srv_service, r->err);
		if (rc == OK && query->srv_service.len > 0)
			query->flags |= HOSTS_SRV;
		else if (rc != OK && !(rc == FAIL && r->err->forced))
			return DEFER;
	}
	if (d->mx_domains) {
		rc = match_domain(r->sc, d->mx_domains, r->address->domain, NULL, r->err);
		if (rc == OK)
			query->flags &= ~(unsigned)(HOSTS_A | HOSTS_AAAA);
		else if (rc != FAIL)
			return DEFER;
	}
	return OK;
}

/* The domain itself, then with each of widen_domains behind it until one is found. */
static enum host_find search(struct routing *r, const struct dnslookup *d, const struct hosts_query *query,
			     struct host_list *hosts, struct slice *domain)
{
	enum host_find result = hosts_find_dns(r->sc, *domain, query, hosts, r->err);
	struct slice list = d->widen_domains, ending;
	char separator = 0;

	if (!list.ptr || (r->mode == ROUTE_VERIFY_SENDER && d->rewrite_headers))
		return result;
	while (result == HOST_NONE && list_next(routing_arena(r), &list, &separator, &ending)) {
		struct slice wide =
		    arena_printf(routing_arena(r), "%.*s.%.*s", SLICE_ARG(r->address->domain),
				 ending.ptr ? (int)ending.len : 0, ending.ptr ? ending.ptr : "");
		if (!wide.ptr)
			return HOST_AGAIN;
		wide.taint = TAINTED;
		result = hosts_find_dns(r->sc, wide, query, hosts, r->err);
		if (result != HOST_NONE)
			*domain = wide;
	}
	return result;
}

static enum route_result not_found(struct routing *r, const struct dnslookup *d)
{
	if (d->fail_defer_domains)
		switch (match_domain(r->sc, d->fail_defer_domains, r->address->domain, NULL, r->err)) {
		case OK:
			r->out->os = ROUTE_SHOW_HOST;
			return route_say(r, ROUTE_DEFER, "missing MX, or all MXs point to nonexistent hosts");
		case FAIL:
			break;
		default:
			return route_say_err(r, ROUTE_DEFER, "fail_defer_domains");
		}
	return ROUTE_DECLINE;
}

static enum route_result dnslookup_route(struct routing *r)
{
	const struct dnslookup *d = (const struct dnslookup *)r->router;
	struct host_list *hosts = arena_make(routing_arena(r), struct host_list);
	struct slice domain = r->address->domain;
	struct hosts_query query;
	bool local_removed = false;
	enum host_find found;

	if (domain.len == 0)
		return ROUTE_DECLINE;
	if (!hosts)
		return route_say(r, ROUTE_DEFER, "out of memory");
	if (make_query(r, d, &query) != OK)
		return route_say_err(r, ROUTE_DEFER, "an option of the dnslookup router");
	query.local_removed_ret = &local_removed;
	query.name_ret = &domain;
	found = search(r, d, &query, hosts, &domain);
	switch (found) {
	case HOST_AGAIN:
		return router_after_timeout(r, domain);
	case HOST_NULL_MX: /* RFC 7505 section 3: the domain takes no mail, unless a later router knows better */
		return route_say(r, ROUTE_DECLINE, "an MX or SRV record indicated no SMTP service");
	case HOST_NONE:
	case HOST_IGNORED:
		if (hosts->from_mx)
			(void)route_say(r, ROUTE_DECLINE,
					"all relevant MX records point to non-existent hosts");
		return not_found(r, d);
	case HOST_FOUND:
	case HOST_FOUND_LOCAL:
		break;
	}
	if (!slice_eq(domain, r->address->domain))
		return router_change_domain(r, domain);
	if (found == HOST_FOUND_LOCAL && !(d->check_secondary_mx && hosts->from_mx))
		return router_self(r, hosts, NULL);
	if (d->check_secondary_mx && (!local_removed || found == HOST_FOUND_LOCAL))
		return ROUTE_DECLINE;
	return router_accept(r, hosts, NULL);
}

static const struct router_ops dnslookup_ops = {.route = dnslookup_route};
const struct conf_driver router_dnslookup_driver = {
    .name = "dnslookup",
    .size = sizeof(struct dnslookup),
    .options = dnslookup_options,
    .option_count = ARRAY_COUNT(dnslookup_options),
    .ops = &dnslookup_ops,
};
