/* From domains and names to addresses: MX, SRV, A and AAAA records, address literals, the system's own tables; in the order
 * of RFC 5321 section 5.1, without ourselves and those who are no better. */
#include <limits.h>

#include "routing.h"

#define MX_MAX 50 /* records of one domain that are looked at; more are a mistake or an attack */

/* Where addresses of one search are gathered. */
struct search {
	struct scope *sc;
	const struct hosts_query *query;
	struct err *err;
	struct host_list list;
	struct host_item **end;
	bool again, ignored;
};

static struct arena *arena_of(const struct search *s)
{
	return s->sc->task->arena;
}

bool host_item_is_local(struct scope *sc, const struct host_item *host)
{
	const struct match_options *options = conf_group(sc->conf, CONF_MATCH);

	if (options && options->hosts_treat_as_local &&
	    match_domain(sc, options->hosts_treat_as_local, host->name, NULL, NULL) == OK)
		return true;
	return host->ip.family && host_is_local(sc->conf, &host->ip);
}

static enum rc add_address(struct search *s, struct slice name, const struct ip_addr *ip, uint16_t port,
			   int32_t mx, bool authentic)
{
	struct host_item *item;
	enum rc rc = FAIL;

	if (s->query->ignore)
		rc = match_host(s->sc, s->query->ignore, ip, name, NULL, s->err);
	if (rc == OK)
		s->ignored = true;
	if (rc == DEFER)
		s->again = true;
	if (rc != FAIL)
		return rc;
	item = arena_make(arena_of(s), struct host_item);
	if (!item)
		return err_memory(s->err);
	*item = (struct host_item){
	    .name = name, .ip = *ip, .port = port, .mx = mx, .dnssec_authentic = authentic};
	item->ip.port = port;
	*s->end = item;
	s->end = &item->next;
	s->list.count++;
	return OK;
}

/* true: the domain is one whose DNS errors count as "does not exist". */
static bool forgiven(struct search *s, const struct match_list *list, struct slice domain)
{
	const struct route_options *options = conf_group(s->sc->conf, CONF_ROUTE);

	if (list && match_domain(s->sc, list, domain, NULL, NULL) == OK)
		return true;
	return options && options->dns_again_means_nonexist &&
	       match_domain(s->sc, options->dns_again_means_nonexist, domain, NULL, NULL) == OK;
}

static enum rc ask(struct search *s, struct slice name, enum dns_type type, struct dns_answer *answer)
{
	enum rc rc = lookup_dns_query(s->sc, name, type, answer, s->err);

	if (rc == DEFER && !s->sc->task->cancelled && forgiven(s, NULL, name))
		rc = FAIL;
	if (rc == OK && s->query->dnssec_require && !answer->authentic &&
	    match_domain(s->sc, s->query->dnssec_require, name, NULL, NULL) == OK)
		rc = err_set(s->err, FAIL, "%.*s: the answer was not secured by DNSSEC", SLICE_ARG(name));
	return rc;
}

static bool wants_ipv6(struct search *s, struct slice name)
{
	const struct route_options *options = conf_group(s->sc->conf, CONF_ROUTE);
	const struct conf_main *main_options = conf_main(s->sc->conf);

	if ((s->query->flags & HOSTS_IPV4_ONLY) || (main_options && main_options->disable_ipv6))
		return false;
	return !(options && options->dns_ipv4_lookup &&
		 match_domain(s->sc, options->dns_ipv4_lookup, name, NULL, NULL) == OK);
}

/* All addresses of one name. OK: some were found or ignored on purpose; FAIL: there are none; DEFER: could not tell. */
static enum rc add_name(struct search *s, struct slice name, uint16_t port, int32_t mx, bool authentic)
{
	bool ipv6 = wants_ipv6(s, name), ipv4_first = s->query->flags & HOSTS_IPV4_FIRST, found = false,
	     again = false;
	const enum dns_type order[2] = {ipv4_first ? DNS_A : DNS_AAAA, ipv4_first ? DNS_AAAA : DNS_A};

	if (ipv6)
		dns_prefetch(s->sc->task->shard, name, order[1]);
	for (unsigned i = 0; i < 2; i++) {
		struct dns_answer answer;

		if (order[i] == DNS_AAAA && !ipv6)
			continue;
		switch (ask(s, name, order[i], &answer)) {
		case OK:
			break;
		case FAIL:
			continue;
		case DEFER:
			again = true;
			continue;
		case CANCELLED:
			return CANCELLED;
		}
		for (unsigned k = 0; k < answer.count; k++) {
			found = true;
			if (add_address(s, name, &answer.records[k].ip, port, mx,
					authentic && answer.authentic) == CANCELLED)
				return CANCELLED;
		}
	}
	return found ? OK : again ? DEFER : FAIL;
}

static void start(struct search *s, struct scope *sc, const struct hosts_query *query, struct err *err)
{
	*s = (struct search){.sc = sc, .query = query, .err = err};
	s->end = &s->list.first;
	if (query->local_removed_ret)
		*query->local_removed_ret = false;
}

static enum host_find finish(struct search *s, struct host_list *list_ret)
{
	if (!s->list.first)
		return s->again ? HOST_AGAIN : s->ignored ? HOST_IGNORED : HOST_NONE;
	*list_ret = s->list;
	return HOST_FOUND;
}

/* Takes this host off an MX list, with all of the same or a higher preference number: sending to them would bring the
 * message back here (RFC 5321 section 5.1). */
static enum host_find remove_local(struct search *s)
{
	int32_t limit = INT32_MAX;
	struct host_item **at = &s->list.first;

	for (struct host_item *host = s->list.first; host && limit == INT32_MAX; host = host->next)
		if (host_item_is_local(s->sc, host))
			limit = host->mx;
	if (limit == INT32_MAX)
		return HOST_FOUND;
	if (s->list.first->mx >= limit)
		return HOST_FOUND_LOCAL;
	for (s->list.count = 0; *at && (*at)->mx < limit; at = &(*at)->next)
		s->list.count++;
	*at = NULL;
	if (s->query->local_removed_ret)
		*s->query->local_removed_ret = true;
	return HOST_FOUND;
}

static bool is_root(struct slice name)
{
	return name.len == 0 || slice_eq(name, SLICE("."));
}

/* An MX record that names an address instead of a host, against RFC 5321: only with allow_mx_to_ip. */
static enum rc add_mx_literal(struct search *s, const struct dns_record *record, const struct ip_addr *ip)
{
	const struct route_options *options = conf_group(s->sc->conf, CONF_ROUTE);

	if (!options || !options->allow_mx_to_ip)
		return FAIL;
	return add_address(s, record->name, ip, 0, record->preference, false);
}

/* Asks for the hosts that a name has by MX or SRV. HOST_FOUND: there are some; *none_ret: there is no such record. */
static enum host_find ask_hosts(struct search *s, struct slice domain, struct slice name, enum dns_type type,
				struct dns_answer *answer, bool *none_ret)
{
	const struct match_list *fail = type == DNS_MX ? s->query->mx_fail : s->query->srv_fail;
	enum rc rc = name.ptr ? ask(s, name, type, answer) : DEFER;

	if (rc == DEFER && forgiven(s, fail, domain))
		rc = FAIL;
	*none_ret = rc == FAIL;
	if (rc != OK)
		return rc == FAIL ? HOST_NONE : HOST_AGAIN;
	return answer->count == 1 && is_root(answer->records[0].name) ? HOST_NULL_MX : HOST_FOUND;
}

/* Behind the last of them. */
static enum host_find hosts_asked(struct search *s)
{
	s->list.from_mx = true;
	if (!s->list.first)
		return s->again ? HOST_AGAIN : s->ignored ? HOST_IGNORED : HOST_NONE;
	return remove_local(s);
}

static enum host_find find_mx(struct search *s, struct slice domain, bool *none_ret)
{
	struct dns_answer answer;
	struct ip_addr ip;
	enum host_find result = ask_hosts(s, domain, domain, DNS_MX, &answer, none_ret);
	enum rc rc;

	if (result != HOST_FOUND)
		return result;
	for (unsigned i = 0; i < answer.count && i < MX_MAX; i++)
		if (!is_root(answer.records[i].name))
			dns_prefetch(s->sc->task->shard, answer.records[i].name, DNS_A);
	for (unsigned i = 0; i < answer.count && i < MX_MAX; i++) {
		const struct dns_record *record = &answer.records[i];
		if (is_root(record->name))
			continue;
		rc = ip_parse(record->name, &ip)
			 ? add_mx_literal(s, record, &ip)
			 : add_name(s, record->name, 0, record->preference, answer.authentic);
		if (rc == CANCELLED)
			return HOST_AGAIN;
		s->again |= rc == DEFER;
	}
	s->list.dnssec_mx = answer.authentic;
	return hosts_asked(s);
}

/* RFC 2782: by priority, and at random by weight among equals. */
static void srv_order(struct scope *sc, struct dns_record *records, unsigned count)
{
	for (unsigned from = 0; from < count; from++) {
		uint32_t best = from, sum = 0, pick, running = 0;

		for (unsigned i = from; i < count; i++)
			if (records[i].preference < records[best].preference)
				best = i;
		for (unsigned i = from; i < count; i++)
			if (records[i].preference == records[best].preference)
				sum += records[i].weight;
		shard_random(sc->task->shard, &pick, sizeof(pick));
		pick %= sum + 1;
		uint16_t priority = records[best].preference;
		for (unsigned i = from; i < count; i++) {
			if (records[i].preference != priority)
				continue;
			running += records[i].weight;
			best = i;
			if (running >= pick)
				break;
		}
		struct dns_record swap = records[from];
		records[from] = records[best];
		records[best] = swap;
	}
}

static enum host_find find_srv(struct search *s, struct slice domain, bool *none_ret)
{
	struct slice name =
	    arena_printf(arena_of(s), "_%.*s._tcp.%.*s", SLICE_ARG(s->query->srv_service), SLICE_ARG(domain));
	struct dns_answer answer;
	enum host_find result = ask_hosts(s, domain, name, DNS_SRV, &answer, none_ret);
	enum rc rc;

	if (result != HOST_FOUND)
		return result;
	srv_order(s->sc, answer.records, answer.count);
	for (unsigned i = 0; i < answer.count && i < MX_MAX; i++) {
		const struct dns_record *record = &answer.records[i];
		rc = add_name(s, record->name, record->port, record->preference, answer.authentic);
		if (rc == CANCELLED)
			return HOST_AGAIN;
		s->again |= rc == DEFER;
	}
	return hosts_asked(s);
}

/* No MX: the domain's own addresses are as good as one of preference 0. */
static enum host_find find_address(struct search *s, struct slice domain, struct host_list *list_ret)
{
	enum rc rc = add_name(s, domain, 0, MX_NONE, true);
	enum host_find result;

	if (rc == DEFER || rc == CANCELLED)
		s->again = true;
	result = finish(s, list_ret);
	if (result == HOST_FOUND && host_item_is_local(s->sc, s->list.first))
		return HOST_FOUND_LOCAL;
	return result;
}

static enum host_find find_exactly(struct scope *sc, struct slice domain, const struct hosts_query *query,
				   struct host_list *list_ret, struct err *err)
{
	struct search s;
	enum host_find result = HOST_NONE;
	bool none = true;

	start(&s, sc, query, err);
	if (domain.len == 0 || domain.len > 253)
		return HOST_NONE;
	if (query->flags & HOSTS_SRV)
		result = find_srv(&s, domain, &none);
	if (none && (query->flags & HOSTS_MX))
		result = find_mx(&s, domain, &none);
	if (none && (query->flags & (HOSTS_A | HOSTS_AAAA)))
		return find_address(&s, domain, list_ret);
	if (result == HOST_FOUND || result == HOST_FOUND_LOCAL)
		*list_ret = s.list;
	else
		list_ret->from_mx = s.list.from_mx; /* there were records, but nobody behind them */
	return result;
}

/* Is the name one that the system's resolver would not look up as it is at first? */
static unsigned endings_for(unsigned flags, struct slice name, bool *first_ret)
{
	bool single = slice_find(name, '.') < 0;

	*first_ret = single;
	if (flags & HOSTS_SEARCH_PARENTS)
		return UINT_MAX;
	return single && (flags & HOSTS_QUALIFY_SINGLE) ? 1 : 0;
}

/* The name with each of the system's endings behind it. HOST_NONE: none of them is there. */
static enum host_find find_with_endings(struct scope *sc, struct slice domain, unsigned max,
					const struct hosts_query *query, struct host_list *list_ret,
					struct err *err)
{
	unsigned count;
	const struct slice *endings = dns_search_list(sc->task->shard, sc->task->arena, &count);
	enum host_find result = HOST_NONE;

	for (unsigned i = 0; i < count && i < max && result == HOST_NONE; i++) {
		struct slice name =
		    arena_printf(sc->task->arena, "%.*s.%.*s", SLICE_ARG(domain), SLICE_ARG(endings[i]));
		if (!name.ptr)
			return HOST_AGAIN;
		name.taint = domain.taint;
		result = find_exactly(sc, name, query, list_ret, err);
		if (result != HOST_NONE && query->name_ret)
			*query->name_ret = name;
	}
	return result;
}

enum host_find hosts_find_dns(struct scope *sc, struct slice domain, const struct hosts_query *query,
			      struct host_list *list_ret, struct err *err)
{
	bool endings_first;
	unsigned max = endings_for(query->flags, domain, &endings_first);
	enum host_find result = HOST_NONE;

	if (!domain.len)
		return HOST_NONE;
	if (max && endings_first)
		result = find_with_endings(sc, domain, max, query, list_ret, err);
	if (result == HOST_NONE)
		result = find_exactly(sc, domain, query, list_ret, err);
	if (result == HOST_NONE && max && !endings_first)
		result = find_with_endings(sc, domain, max, query, list_ret, err);
	return result;
}

static enum rc add_by_system(struct search *s, struct slice name, uint16_t port)
{
	struct dns_answer answer;
	enum rc rc = dns_hosts_file(s->sc->task, name, &answer, s->err);
	bool ipv6 = wants_ipv6(s, name);

	for (unsigned i = 0; rc == OK && i < answer.count; i++)
		if (answer.records[i].ip.family == 4 || ipv6)
			rc = add_address(s, name, &answer.records[i].ip, port, MX_NONE, false) == CANCELLED
				 ? CANCELLED
				 : OK;
	return rc;
}

/* Hosts keep the name that they were given. */
static enum rc add_name_searching(struct search *s, struct slice name, uint16_t port)
{
	bool endings_first;
	unsigned max = endings_for(s->query->flags, name, &endings_first), count = 0;
	const struct slice *endings = max ? dns_search_list(s->sc->task->shard, arena_of(s), &count) : NULL;
	enum rc rc = max && endings_first ? FAIL : add_name(s, name, port, MX_NONE, true);

	for (unsigned i = 0; i < count && i < max && rc == FAIL; i++) {
		struct slice longer =
		    arena_printf(arena_of(s), "%.*s.%.*s", SLICE_ARG(name), SLICE_ARG(endings[i]));
		rc = longer.ptr ? add_name(s, longer, port, MX_NONE, true) : DEFER;
	}
	if (rc == FAIL && max && endings_first)
		rc = add_name(s, name, port, MX_NONE, true);
	return rc;
}

enum host_find hosts_find_name(struct scope *sc, struct slice name, uint16_t port,
			       const struct hosts_query *query, struct host_list *list_ret, struct err *err)
{
	struct search s;
	struct slice literal = name;
	struct ip_addr ip;
	enum host_find result;
	enum rc rc = FAIL;

	start(&s, sc, query, err);
	if (name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']')
		literal = slice_sub(name, 1, name.len - 2);
	if (ip_parse(literal, &ip)) {
		rc = add_address(&s, literal, &ip, port, MX_NONE, false);
	} else {
		if (!(query->flags & HOSTS_BY_SYSTEM))
			rc = add_name_searching(&s, name, port);
		if (rc == FAIL && !(query->flags & (HOSTS_A | HOSTS_AAAA)))
			rc = add_by_system(&s, name, port);
	}
	if (rc == DEFER || rc == CANCELLED)
		s.again = true;
	result = finish(&s, list_ret);
	if (result == HOST_FOUND && host_item_is_local(sc, s.list.first))
		return HOST_FOUND_LOCAL;
	return result;
}
