/* The manualroute router: the configuration says which hosts (or which local transport) take a domain's mail. */
#include "routing.h"

/* What to do when a host cannot be found: host_find_failed, host_all_ignored. */
enum host_missing {
	MISSING_DECLINE,
	MISSING_DEFER,
	MISSING_FAIL,
	MISSING_FREEZE,
	MISSING_IGNORE,
	MISSING_PASS
};
static const char *const missing_names[] = {"decline", "defer", "fail", "freeze", "ignore", "pass"};

struct manualroute {
	struct router router;
	struct slice host_all_ignored, host_find_failed, route_list;
	const struct expansion *hosts_randomize, *route_data;
	bool same_domain_copy_routing;
	enum host_missing all_ignored, find_failed;
};

static const struct conf_option manualroute_options[] = {
    OPT_STRING(struct manualroute, host_all_ignored, "defer", "when every host was ignored"),
    OPT_STRING(struct manualroute, host_find_failed, "freeze", "when a host does not exist"),
    OPT_EXPAND_BOOL(struct manualroute, hosts_randomize, "no", "hosts in random order"),
    OPT_EXPAND(struct manualroute, route_data, NULL, "hosts and options for the domain"),
    CONF_ROW(struct manualroute, route_list, struct slice, &conf_expanded_items, NULL,
	     "rules: pattern, hosts, options", 0),
    OPT_BOOL(struct manualroute, same_domain_copy_routing, "no",
	     "accepted: equal questions are asked once anyway"),
};

static bool read_missing(struct slice text, enum host_missing *ret)
{
	for (unsigned i = 0; i < ARRAY_COUNT(missing_names); i++)
		if (slice_eq(text, slice_of(missing_names[i]))) {
			*ret = (enum host_missing)i;
			return true;
		}
	return false;
}

static enum rc manualroute_check(struct conf *conf, void *instance, struct err *err)
{
	struct manualroute *m = instance;

	(void)conf;
	if (!m->route_data == !m->route_list.ptr)
		return err_set(err, FAIL, "route_list or route_data (but not both) must be specified");
	if (!read_missing(m->host_find_failed, &m->find_failed))
		return err_set(err, FAIL, "invalid setting %.*s for host_find_failed option",
			       SLICE_ARG(m->host_find_failed));
	if (!read_missing(m->host_all_ignored, &m->all_ignored) || m->all_ignored == MISSING_IGNORE)
		return err_set(err, FAIL, "invalid setting %.*s for host_all_ignored option",
			       SLICE_ARG(m->host_all_ignored));
	return OK;
}

/* One word, or one quoted string with backslash escapes, off the front of a rule. */
static struct slice take_part(struct arena *arena, struct slice *rest)
{
	struct str part = str_make(arena);
	struct slice word;
	uint32_t at = 1;

	*rest = slice_ltrim(*rest);
	if (rest->len == 0 || rest->ptr[0] != '"') {
		(void)slice_word(rest, &word);
		return word;
	}
	part.taint = rest->taint;
	for (; at < rest->len && rest->ptr[at] != '"'; at++) {
		if (rest->ptr[at] == '\\' && at + 1 < rest->len) {
			char c = rest->ptr[++at];
			str_addc(&part, c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c);
		} else {
			str_addc(&part, rest->ptr[at]);
		}
	}
	*rest = slice_from(*rest, at + 1);
	word = str_slice(&part);
	return word.ptr ? word : SLICE_EMPTY;
}

/* A pattern as a list of one: unlike lists, the patterns of routing rules are not expanded. */
static struct slice single_item(struct arena *arena, struct slice pattern)
{
	struct str one = str_make(arena);
	unsigned count = 0;

	if (slice_find(pattern, '$') < 0 && slice_find(pattern, '\\') < 0) {
		list_add(&one, &count, ':', pattern);
	} else {
		str_addz(&one, "\\N");
		list_add(&one, &count, ':', pattern);
		str_addz(&one, "\\N");
	}
	return str_slice(&one);
}

struct rule {
	struct slice hosts; /* not yet expanded */
	struct slice options;
};

/* The first rule of route_list whose pattern matches the domain; $1... and $value stay set for its hosts. */
static enum rc find_rule(struct routing *r, const struct manualroute *m, struct rule *rule)
{
	struct slice list = m->route_list, item, pattern, data;
	const struct match_list *compiled;
	char separator = ';';

	if (list.len > 1 && list.ptr[0] == '<' && !ascii_is_alnum(list.ptr[1]))
		separator = 0;
	while (list_next(routing_arena(r), &list, &separator, &item)) {
		struct slice one;
		enum rc rc;

		if (!item.ptr)
			return err_memory(r->err);
		if (item.len == 0)
			continue;
		pattern = take_part(routing_arena(r), &item);
		one = single_item(routing_arena(r), pattern);
		compiled = one.ptr ? match_compile(r->sc->conf, routing_arena(r), LIST_DOMAIN, one) : NULL;
		if (!compiled)
			return err_memory(r->err);
		data = (struct slice){NULL, 0, CLEAN};
		r->sc->numeric_count = 0;
		rc = match_domain(r->sc, compiled, r->address->domain, &data, r->err);
		if (rc == FAIL)
			continue;
		if (rc != OK)
			return rc;
		if (r->sc->numeric_count == 0) {
			r->sc->numeric[0] = r->address->domain;
			r->sc->numeric_count = 1;
		}
		r->sc->value = data;
		rule->hosts = take_part(routing_arena(r), &item);
		rule->options = slice_trim(item);
		return OK;
	}
	return FAIL;
}

static enum rc get_rule(struct routing *r, const struct manualroute *m, struct rule *rule)
{
	struct slice data;
	enum rc rc;

	if (!m->route_data)
		return find_rule(r, m, rule);
	rc = expand(r->sc, m->route_data, &data, r->err);
	if (rc == FAIL && !r->err->forced)
		return DEFER;
	if (rc != OK)
		return rc;
	if (slice_trim(data).len == 0)
		return FAIL;
	data = slice_ltrim(data);
	rule->hosts = take_part(routing_arena(r), &data);
	rule->options = slice_trim(data);
	return OK;
}

struct rule_options {
	const struct transport *transport;
	unsigned flags;
	bool randomize;
};

static bool read_options(struct routing *r, const struct manualroute *m, struct slice text,
			 struct rule_options *options)
{
	struct slice word;

	*options = (struct rule_options){0};
	if (expand_option_bool(r->sc, m->hosts_randomize, false, &options->randomize, r->err) != OK) {
		(void)route_say_err(r, ROUTE_DEFER, "hosts_randomize");
		return false;
	}
	while (slice_word(&text, &word)) {
		if (slice_eq(word, SLICE("randomize")))
			options->randomize = true;
		else if (slice_eq(word, SLICE("no_randomize")))
			options->randomize = false;
		else if (slice_eq(word, SLICE("byname")))
			options->flags |= HOSTS_BY_SYSTEM;
		else if (slice_eq(word, SLICE("bydns")))
			options->flags |= HOSTS_A | HOSTS_AAAA;
		else if (slice_eq(word, SLICE("ipv4_only")))
			options->flags |= HOSTS_IPV4_ONLY;
		else if (slice_eq(word, SLICE("ipv4_prefer")))
			options->flags |= HOSTS_IPV4_FIRST;
		else if (!(options->transport =
			       conf_instance_find(r->sc->conf, CONF_SECTION_TRANSPORTS, word))) {
			(void)route_say(r, ROUTE_DEFER, "unknown routing option or transport name \"%.*s\"",
					SLICE_ARG(word));
			return false;
		}
	}
	return true;
}

static enum route_result missing(struct routing *r, enum host_missing what, struct slice name)
{
	enum route_result result = ROUTE_DEFER;

	if (what == MISSING_DECLINE)
		return ROUTE_DECLINE;
	if (what == MISSING_PASS)
		return ROUTE_PASS;
	if (what == MISSING_FAIL)
		result = ROUTE_FAIL;
	else if (what == MISSING_FREEZE)
		result = ROUTE_FREEZE;
	r->out->os = ROUTE_SHOW_HOST;
	return route_say(r, result, "lookup of host \"%.*s\" failed in %.*s router", SLICE_ARG(name),
			 SLICE_ARG(r->router->instance.name));
}

/* A local transport is not interested in addresses: it gets the list's text as $host. */
static enum route_result to_local(struct routing *r, struct slice text, const struct transport *transport)
{
	struct host_list *hosts = NULL;
	struct host_item *item;

	if (text.len > 0) {
		hosts = arena_make(routing_arena(r), struct host_list);
		item = arena_make(routing_arena(r), struct host_item);
		if (!hosts || !item)
			return route_say(r, ROUTE_DEFER, "out of memory");
		*item = (struct host_item){.name = text, .mx = MX_NONE};
		host_list_append(hosts, item);
	}
	return router_accept(r, hosts, transport);
}

static enum route_result to_remote(struct routing *r, const struct manualroute *m, struct slice text,
				   const struct rule_options *options, const struct transport *transport)
{
	struct host_list names, *hosts = arena_make(routing_arena(r), struct host_list);
	struct hosts_query query = {.flags = options->flags,
				    .ignore = m->router.ignore_target_hosts,
				    .dnssec_require = m->router.dnssec_require_domains};
	struct slice failed;

	if (!hosts)
		return route_say(r, ROUTE_DEFER, "out of memory");
	if (host_list_parse(r->sc->task->shard, routing_arena(r), text, options->randomize, &names, r->err) !=
	    OK)
		return route_say_err(r, ROUTE_DEFER, "host list");
	if (!names.first) /* the transport brings its own */
		return router_accept(r, NULL, transport);
	switch (host_list_resolve(r->sc, &names, &query, m->find_failed == MISSING_IGNORE, hosts, &failed,
				  r->err)) {
	case HOST_FOUND:
		return router_accept(r, hosts, transport);
	case HOST_FOUND_LOCAL:
		return router_self(r, hosts, transport);
	case HOST_AGAIN:
		return router_after_timeout(r, failed);
	case HOST_IGNORED:
		return missing(r, m->all_ignored, failed);
	default:
		return missing(r, m->find_failed == MISSING_IGNORE ? m->all_ignored : m->find_failed, failed);
	}
}

static enum route_result manualroute_found(struct routing *r, const struct manualroute *m,
					   const struct rule *rule)
{
	struct rule_options options;
	const struct transport *transport;
	struct slice hosts = SLICE_EMPTY;

	if (rule->hosts.len > 0 && expand_text(r->sc, rule->hosts, &hosts, r->err) != OK)
		return r->sc->task->cancelled ? ROUTE_DEFER
					      : ROUTE_DECLINE; /* so the language has it: even for mistakes */
	hosts = slice_trim(hosts);
	if (!read_options(r, m, rule->options, &options))
		return ROUTE_DEFER;
	transport = options.transport;
	if (!transport && !router_find_transport(r, m->router.transport, "transport", &transport))
		return ROUTE_DEFER;
	if (!transport && !routing_verifies(r))
		return route_say(r, ROUTE_DEFER, "No transport set by router %.*s",
				 SLICE_ARG(m->router.instance.name));
	if (transport && !transport_is_remote(transport))
		return to_local(r, hosts, transport);
	return to_remote(r, m, hosts, &options, transport);
}

static enum route_result manualroute_route(struct routing *r)
{
	const struct manualroute *m = (const struct manualroute *)r->router;
	struct slice numeric[ARRAY_COUNT(r->sc->numeric)], value = r->sc->value;
	unsigned numeric_count = r->sc->numeric_count;
	enum route_result result;
	struct rule rule;

	memcpy(numeric, r->sc->numeric, sizeof(numeric));
	switch (get_rule(r, m, &rule)) {
	case OK:
		result = manualroute_found(r, m, &rule);
		break;
	case FAIL:
		result = ROUTE_DECLINE;
		break;
	default:
		result = route_say_err(r, ROUTE_DEFER, "routing rules");
	}
	memcpy(r->sc->numeric, numeric, sizeof(numeric));
	r->sc->numeric_count = numeric_count;
	r->sc->value = value;
	return result;
}

static const struct router_ops manualroute_ops = {.route = manualroute_route};
const struct conf_driver router_manualroute_driver = {
    .name = "manualroute",
    .size = sizeof(struct manualroute),
    .options = manualroute_options,
    .option_count = ARRAY_COUNT(manualroute_options),
    .check = manualroute_check,
    .ops = &manualroute_ops,
};
