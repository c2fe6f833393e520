/* Which hosts the smtp transport tries, and how it talks to each of them. */
#include "smtp.h"

bool smtp_host_listed(struct scope *sc, const struct match_list *list, const struct host_item *host,
		      bool otherwise)
{
	struct err err = err_make(sc->task->arena);

	if (!list)
		return false;
	switch (match_host(sc, list, &host->ip, host->name, NULL, &err)) {
	case OK:
		return true;
	case FAIL:
		return false;
	default:
		return otherwise;
	}
}

enum rc smtp_port(struct scope *sc, const struct smtp_transport *s, uint16_t *port_ret, struct err *err)
{
	static const struct {
		struct slice name;
		uint16_t port;
	} names[] = {{SLICE_INIT("smtp"), 25},
		     {SLICE_INIT("lmtp"), 24},
		     {SLICE_INIT("submission"), 587},
		     {SLICE_INIT("smtps"), 465},
		     {SLICE_INIT("submissions"), 465}};
	struct slice text;
	uint64_t number;
	enum rc rc = expand_option(sc, s->port, &text, err);

	*port_ret = s->lmtp ? 24 : s->smtps ? 465 : 25;
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	text = slice_trim(text);
	if (text.len == 0)
		return OK;
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (slice_eq(text, names[i].name)) {
			*port_ret = names[i].port;
			return OK;
		}
	if (!parse_u64(text, &number) || number == 0 || number > 65535)
		return err_set(err, DEFER, "TCP port \"%.*s\" is not defined for %.*s transport",
			       SLICE_ARG(text), SLICE_ARG(s->transport.instance.name));
	*port_ret = (uint16_t)number;
	return OK;
}

/* The first of the addresses in "interface" that is of the host's kind. */
static enum rc find_interface(struct scope *sc, const struct smtp_transport *s, const struct host_item *host,
			      struct ip_addr *from_ret, struct err *err)
{
	struct slice list, item;
	struct ip_addr ip;
	char separator = 0;
	enum rc rc = expand_option(sc, s->interface, &list, err);

	*from_ret = (struct ip_addr){.family = 0};
	if (rc != OK) {
		err_prefix(err, "failed to expand \"interface\" option for %.*s transport",
			   SLICE_ARG(s->transport.instance.name));
		return rc == FAIL ? DEFER : rc;
	}
	while (list_next(sc->task->arena, &list, &separator, &item)) {
		if (!item.ptr || item.len == 0)
			continue;
		if (!ip_parse(item, &ip))
			return err_set(err, DEFER,
				       "\"%.*s\" is not a valid IP address for the \"interface\" option",
				       SLICE_ARG(item));
		if (ip.family == host->ip.family) {
			*from_ret = ip;
			return OK;
		}
	}
	return OK;
}

bool dscp_parse(struct slice text, unsigned *tos_ret)
{
	static const struct {
		struct slice name;
		unsigned tos;
	} names[] = {
	    {SLICE_INIT("af11"), 0x28},        {SLICE_INIT("af12"), 0x30},
	    {SLICE_INIT("af13"), 0x38},        {SLICE_INIT("af21"), 0x48},
	    {SLICE_INIT("af22"), 0x50},        {SLICE_INIT("af23"), 0x58},
	    {SLICE_INIT("af31"), 0x68},        {SLICE_INIT("af32"), 0x70},
	    {SLICE_INIT("af33"), 0x78},        {SLICE_INIT("af41"), 0x88},
	    {SLICE_INIT("af42"), 0x90},        {SLICE_INIT("af43"), 0x98},
	    {SLICE_INIT("ef"), 0xb8},          {SLICE_INIT("lowcost"), 0x02},
	    {SLICE_INIT("lowdelay"), 0x10},    {SLICE_INIT("mincost"), 0x02},
	    {SLICE_INIT("reliability"), 0x04}, {SLICE_INIT("throughput"), 0x08},
	};
	int64_t number;

	text = slice_trim(text);
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (slice_eq_nocase(text, names[i].name)) {
			*tos_ret = names[i].tos;
			return true;
		}
	if (!conf_parse_int(text, &number) || number < 0 || number > 0x3f)
		return false;
	*tos_ret = (unsigned)number << 2;
	return true;
}

/* The transport's dscp. *tos_ret 0: nothing special. */
static enum rc find_dscp(struct scope *sc, const struct smtp_transport *s, unsigned *tos_ret, struct err *err)
{
	struct slice text;
	enum rc rc = expand_option(sc, s->dscp, &text, err);

	*tos_ret = 0;
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (slice_trim(text).len && !dscp_parse(text, tos_ret))
		return err_set(err, DEFER, "unrecognised DSCP value \"%.*s\" in %.*s transport",
			       SLICE_ARG(slice_trim(text)), SLICE_ARG(s->transport.instance.name));
	return OK;
}

bool smtp_host_serial(struct scope *sc, const struct smtp_transport *s, const struct host_item *host)
{
	return s->serialize_hosts && smtp_host_listed(sc, s->serialize_hosts, host, true);
}

enum rc smtp_host_options(struct scope *sc, const struct smtp_transport *s, const struct host_item *host,
			  bool callout, struct smtp_connect_options *ret, struct err *err)
{
	struct slice helo;
	enum rc rc;

	*ret = (struct smtp_connect_options){
	    .to = host->ip,
	    .host_name = host->name,
	    .lmtp = s->lmtp,
	    .unix_path = SLICE_EMPTY,
	    .use_ehlo = !smtp_host_listed(sc, s->hosts_avoid_esmtp, host, false),
	    .keepalive = s->keepalive,
	    .connect_timeout_ms = s->connect_timeout * 1000,
	    .command_timeout_ms = s->command_timeout * 1000,
	    .data_timeout_ms = s->data_timeout * 1000,
	    .final_timeout_ms = s->final_timeout * 1000,
	    .pool_key = s->transport.instance.name,
	};
	sc->sending = (struct ip_addr){.family = 0}; /* that of another host, perhaps */
	rc = find_interface(sc, s, host, &ret->from, err);
	sc->sending = ret->from;
	if (rc == OK)
		rc = expand_option(sc, s->helo_data, &helo, err);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	/* What was logged in to for one message serves another only if it would log in as the same. */
	switch (smtp_auth_need(sc, s, host)) {
	case AUTH_NOT:
		break;
	case AUTH_TRIED:
	case AUTH_REQUIRED:
		ret->auth_wanted = true;
		ret->pool_key = arena_printf(sc->task->arena, "%.*s auth", SLICE_ARG(ret->pool_key));
		if (!ret->pool_key.ptr)
			return err_memory(err);
	}
	ret->helo = helo.len ? helo : conf_main(sc->conf)->primary_hostname;
	rc = find_dscp(sc, s, &ret->tos, err);
	if (rc == OK)
		rc = smtp_tls_options(sc, s, host, callout, ret, err);
	return rc == OK ? smtp_proxies(sc, s, ret, err) : rc;
}

enum rc smtp_resolve_hosts(struct scope *sc, const struct smtp_transport *s, const struct host_list *names,
			   struct host_list *list_ret, struct err *err)
{
	struct hosts_query query = {.flags = (s->gethostbyname ? HOSTS_BY_SYSTEM : 0) |
					     (s->dns_qualify_single ? HOSTS_QUALIFY_SINGLE : 0) |
					     (s->dns_search_parents ? HOSTS_SEARCH_PARENTS : 0),
				    .dnssec_require = s->dnssec_require_domains};
	struct host_list all = {0};
	bool again = false;
	struct slice missing = SLICE_EMPTY;

	for (const struct host_item *name = names->first; name; name = name->next) {
		struct host_list one = {.first = NULL}, found = {.first = NULL};
		struct host_item item = *name;
		struct slice failed;

		host_list_append(&one, &item);
		switch (host_list_resolve(sc, &one, &query, false, &found, &failed, err)) {
		case HOST_FOUND_LOCAL:
			if (!s->allow_localhost)
				return err_set(err, DEFER,
					       "host %.*s is the local host, and allow_localhost is not set",
					       SLICE_ARG(name->name));
			/* fallthrough */
		case HOST_FOUND:
			for (struct host_item *h = found.first, *next; h; h = next) {
				next = h->next;
				host_list_append(&all, h);
			}
			break;
		case HOST_AGAIN:
			again = true;
			missing = name->name;
			break;
		default:
			missing = name->name;
		}
	}
	*list_ret = all;
	if (all.first)
		return OK;
	if (sc->task->cancelled)
		return CANCELLED;
	return again ? err_set(err, DEFER, "lookup of host \"%.*s\" did not complete", SLICE_ARG(missing))
		     : err_set(err, DEFER, "failed to lookup IP address for %.*s", SLICE_ARG(missing));
}

enum rc smtp_find_hosts(struct scope *sc, const struct smtp_transport *s, const struct host_list *routed,
			struct host_list *list_ret, struct err *err)
{
	struct host_list names;
	struct slice text;
	bool randomize;
	enum rc rc;

	if (routed && routed->first && !(s->hosts_override && s->hosts)) {
		/* Names that the router left to us (fallback hosts) are looked up now. */
		for (const struct host_item *h = routed->first; h; h = h->next)
			if (!h->ip.family)
				return smtp_resolve_hosts(sc, s, routed, list_ret, err);
		*list_ret = *routed;
		return OK;
	}
	if (!s->hosts)
		return err_set(err, DEFER, "%.*s transport called with no hosts set",
			       SLICE_ARG(s->transport.instance.name));
	rc = expand(sc, s->hosts, &text, err);
	if (rc == OK)
		rc = expand_option_bool(sc, s->hosts_randomize, false, &randomize, err);
	if (rc == OK)
		rc = host_list_parse(sc->task->shard, sc->task->arena, text, randomize, &names, err);
	if (rc != OK) {
		err_prefix(err, "failed to expand list of hosts in %.*s transport",
			   SLICE_ARG(s->transport.instance.name));
		return rc == FAIL ? DEFER : rc;
	}
	if (!names.first)
		return err_set(err, DEFER, "%.*s transport called with no hosts set",
			       SLICE_ARG(s->transport.instance.name));
	return smtp_resolve_hosts(sc, s, &names, list_ret, err);
}
