/* The routers section: the options that every router has, and what is checked when the file is read. */
#include "routing.h"

/* ---- Types of this room ------------------------------------------------------------------------------- */

static enum rc expand_bool_read(struct conf *conf, const struct conf_option *option, struct slice text,
				void *field, struct err *err)
{
	return conf_expansion.read(conf, option, text, field, err);
}

static bool expand_bool_print(const struct conf_option *option, const void *field, struct str *str)
{
	return conf_expansion.print(option, field, str);
}

const struct conf_type conf_expand_bool = {
    .name = "a boolean, or a string that expands to one",
    .size = sizeof(const struct expansion *),
    .read = expand_bool_read,
    .print = expand_bool_print,
    .boolean = true,
};

/* "verify" and "fail_verify" stand for two options that lie side by side. */
static enum rc pair_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			 struct err *err)
{
	bool *pair = field, value;

	(void)conf;
	(void)option;
	if (!conf_parse_bool(text, &value))
		return err_set(err, FAIL, "\"%.*s\" is not a boolean", SLICE_ARG(text));
	pair[0] = pair[1] = value;
	return OK;
}

static bool pair_print(const struct conf_option *option, const void *field, struct str *str)
{
	const bool *pair = field;

	(void)option;
	str_addz(str, pair[0] && pair[1] ? "yes" : "no");
	return true;
}

static const struct conf_type bool_pair = {
    .name = "a boolean",
    .size = 2 * sizeof(bool),
    .read = pair_read,
    .print = pair_print,
    .boolean = true,
};

/* ---- The options ----------------------------------------------------------------------------------------- */

#define R struct router
#define ROW(field, ctype, type, default_text, help, flags) \
	CONF_ROW(R, field, ctype, type, default_text, help, flags)
#define PAIR(name, first, default_text, help)                               \
	{                                                                   \
		name, &bool_pair, offsetof(R, first), default_text, help, 0 \
	}
static_assert(offsetof(R, verify_sender) == offsetof(R, verify_recipient) + sizeof(bool), "read as a pair");
static_assert(offsetof(R, fail_verify_sender) == offsetof(R, fail_verify_recipient) + sizeof(bool),
	      "read as a pair");

const struct conf_option router_generic_options[] = {
    OPT_EXPAND(R, address_data, NULL, "kept with the address for later expansions"),
    OPT_BOOL(R, address_test, "yes", "used by -bt too"),
    OPT_EXPAND(R, cannot_route_message, NULL, "said when this is the last router that was tried"),
    OPT_BOOL(R, caseful_local_part, "no", "local parts keep their case"),
    OPT_BOOL(R, check_local_user, "no", "the local part must be a login name"),
    ROW(condition, const struct expansion *, &conf_expansion, NULL, "must be true", OPTION_REPEATABLE),
    OPT_EXPAND(R, debug_print, NULL, "text for -d and -bt"),
    OPT_BOOL(R, disable_logging, "no", "do not log deliveries of this router"),
    OPT_DOMAINS(R, dnssec_request_domains, "*", "domains asked for with DNSSEC"),
    OPT_DOMAINS(R, dnssec_require_domains, NULL, "domains whose answers must be secure"),
    OPT_DOMAINS(R, domains, NULL, "only these domains"),
    OPT_BOOL(R, dsn_lasthop, "no", "do not hand DSN requests on"),
    OPT_NO_EFFECT("dsn_process", "DSN requests are always honoured"),
    OPT_EXPAND(R, errors_to, NULL, "where bounces go"),
    OPT_BOOL(R, expn, "yes", "used by EXPN too"),
    PAIR("fail_verify", fail_verify_recipient, "no", "verification of what it accepts fails"),
    OPT_BOOL(R, fail_verify_recipient, "no", "the same for recipients"),
    OPT_BOOL(R, fail_verify_sender, "no", "the same for senders"),
    OPT_STRING(R, fallback_hosts, NULL, "hosts to try when all others cannot be reached"),
    OPT_EXPAND(R, group, NULL, "group of local deliveries"),
    ROW(headers_add, struct slice, &conf_expanded_items, NULL, "headers to add", OPTION_REPEATABLE),
    ROW(headers_remove, struct slice, &conf_expanded_items, NULL, "names of headers to remove",
	OPTION_REPEATABLE),
    OPT_HOSTS(R, ignore_target_hosts, NULL, "addresses that are as good as not there"),
    OPT_BOOL(R, initgroups, "no", "local deliveries have the user's further groups"),
    OPT_STRING(R, local_part_prefix, NULL, "taken off the local part"),
    OPT_BOOL(R, local_part_prefix_optional, "no", "works without the prefix too"),
    OPT_STRING(R, local_part_suffix, NULL, "taken off the local part"),
    OPT_BOOL(R, local_part_suffix_optional, "no", "works without the suffix too"),
    OPT_LOCAL_PARTS(R, local_parts, NULL, "only these local parts"),
    OPT_BOOL(R, log_as_local, "no", "log lines name the local part only"),
    OPT_EXPAND_BOOL(R, more, "yes", "others may try what this router declines"),
    OPT_BOOL(R, pass_on_timeout, "no", "on to the next router when the DNS does not answer"),
    OPT_STRING(R, pass_router, NULL, "where passed addresses go on"),
    {"prefix", &conf_string, offsetof(R, local_part_prefix), NULL, NULL, OPTION_ALIAS},
    {"prefix_optional", &conf_bool, offsetof(R, local_part_prefix_optional), NULL, NULL, OPTION_ALIAS},
    OPT_STRING(R, redirect_router, NULL, "where new addresses begin"),
    OPT_EXPAND(R, require_files, NULL, "these files must exist"),
    OPT_BOOL(R, retry_use_local_part, "no", "retry times are kept per local part"),
    OPT_EXPAND(R, router_home_directory, NULL, "$home while the router runs"),
    OPT_STRING(R, self, "freeze", "what to do when the host is this host"),
    OPT_ADDRESSES(R, senders, NULL, "only mail from these senders"),
    ROW(set, struct slice, &conf_expanded_items, NULL, "sets $r_... variables", OPTION_REPEATABLE),
    {"suffix", &conf_string, offsetof(R, local_part_suffix), NULL, NULL, OPTION_ALIAS},
    {"suffix_optional", &conf_bool, offsetof(R, local_part_suffix_optional), NULL, NULL, OPTION_ALIAS},
    OPT_EXPAND(R, translate_ip_address, NULL, "maps addresses of hosts to others"),
    OPT_EXPAND(R, transport, NULL, "takes what this router accepts"),
    OPT_EXPAND(R, transport_current_directory, NULL, "current directory of local deliveries"),
    OPT_EXPAND(R, transport_home_directory, NULL, "home directory of local deliveries"),
    OPT_EXPAND_BOOL(R, unseen, "no", "take a copy only"),
    OPT_EXPAND(R, user, NULL, "user of local deliveries"),
    PAIR("verify", verify_recipient, "yes", "used for verification too"),
    OPT_BOOL(R, verify_only, "no", "used for verification only"),
    OPT_BOOL(R, verify_recipient, "yes", "used to verify recipients"),
    OPT_BOOL(R, verify_sender, "yes", "used to verify senders"),
};
const unsigned router_generic_option_count = ARRAY_COUNT(router_generic_options);

static bool was_set(const R *router, const char *name)
{
	for (unsigned i = 0; i < router_generic_option_count; i++)
		if (strcmp(router_generic_options[i].name, name) == 0)
			return router->instance.was_set && router->instance.was_set[i];
	return false;
}

/* ---- Checks ------------------------------------------------------------------------------------------------ */

static enum rc read_self(R *router, struct err *err)
{
	static const char *const names[] = {"freeze", "defer", "pass", "fail", "send"};
	static const enum router_self values[] = {SELF_FREEZE, SELF_DEFER, SELF_PASS, SELF_FAIL, SELF_SEND};
	struct slice text = slice_trim(router->self);

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (slice_eq(text, slice_of(names[i]))) {
			router->self_action = values[i];
			return OK;
		}
	if (!slice_starts(text, SLICE("reroute:")))
		return err_set(err, FAIL,
			       "%.*s is not valid for the self option: freeze, defer, fail, send, pass, "
			       "reroute: domain or reroute: rewrite: domain is expected",
			       SLICE_ARG(text));
	text = slice_ltrim(slice_from(text, 8));
	router->self_action = SELF_REROUTE;
	if (slice_starts(text, SLICE("rewrite:"))) {
		text = slice_ltrim(slice_from(text, 8));
		router->self_action = SELF_REROUTE_REWRITE;
	}
	if (text.len == 0)
		return err_set(err, FAIL, "self = reroute: names no domain");
	router->self_domain = text;
	return OK;
}

/* Finds its place, and the routers that it names. */
static enum rc link_router(struct conf *conf, R *router, struct err *err)
{
	const struct conf_instances *all = conf_instances(conf, CONF_SECTION_ROUTERS);

	for (unsigned i = 0; i < all->count; i++)
		if (all->items[i] == router) {
			router->number = i;
			router->next = i + 1 < all->count ? all->items[i + 1] : NULL;
		}
	if (router->pass_router.ptr) {
		const R *to = conf_instance_find(conf, CONF_SECTION_ROUTERS, router->pass_router);
		if (!to)
			return err_set(err, FAIL, "new_router \"%.*s\" not found for \"pass_router\"",
				       SLICE_ARG(router->pass_router));
		router->pass_to = to;
		for (unsigned i = 0; i <= router->number; i++)
			if (all->items[i] == to)
				return err_set(err, FAIL,
					       "pass_router \"%.*s\" does not come after this router",
					       SLICE_ARG(router->pass_router));
	}
	if (router->redirect_router.ptr) {
		router->redirect_to = conf_instance_find(conf, CONF_SECTION_ROUTERS, router->redirect_router);
		if (!router->redirect_to)
			return err_set(err, FAIL, "new_router \"%.*s\" not found for \"redirect_router\"",
				       SLICE_ARG(router->redirect_router));
	}
	return OK;
}

enum rc router_check(struct conf *conf, void *instance, struct err *err)
{
	R *router = instance;
	enum rc rc = read_self(router, err);

	if (rc == OK)
		rc = link_router(conf, router, err);
	if (rc != OK)
		return rc;
	if (router->transport && expansion_is_literal(router->transport)) {
		struct slice name = expansion_text(router->transport);
		router->transport_fixed = conf_instance_find(conf, CONF_SECTION_TRANSPORTS, name);
		if (!router->transport_fixed)
			return err_set(err, FAIL, "transport \"%.*s\" not found", SLICE_ARG(name));
	}
	if (router->fallback_hosts.ptr) {
		router->fallback_list = arena_make(&conf->arena, struct host_list);
		if (!router->fallback_list)
			return err_memory(err);
		rc = host_list_parse(NULL, &conf->arena, router->fallback_hosts, false, router->fallback_list,
				     err);
	}
	if (!was_set(router, "retry_use_local_part"))
		router->retry_use_local_part = router->check_local_user || router->local_parts ||
					       router->condition || router->local_part_prefix.ptr ||
					       router->local_part_suffix.ptr || router->senders ||
					       router->require_files;
	if (!was_set(router, "log_as_local"))
		router->log_as_local = router->instance.driver == &router_accept_driver;
	if (router->instance.driver != &router_redirect_driver) /* which has an option for it */
		router->repeat_use = true;
	return rc;
}

const struct conf_section route_conf_section = {
    .id = CONF_SECTION_ROUTERS,
    .name = "routers",
    .drivers = router_drivers,
    .generic = router_generic_options,
    .generic_count = ARRAY_COUNT(router_generic_options),
    .head_size = sizeof(R),
    .check = router_check,
};

/* ---- Main options ---------------------------------------------------------------------------------------------- */

static const struct conf_option route_options[] = {
    OPT_BOOL(struct route_options, allow_mx_to_ip, "no", "MX records may name addresses"),
    OPT_DOMAINS(struct route_options, dns_again_means_nonexist, NULL,
		"domains whose DNS errors mean that they do not exist"),
    OPT_DOMAINS(struct route_options, dns_ipv4_lookup, NULL, "hosts that are asked for IPv4 addresses only"),
    OPT_INT(struct route_options, finduser_retries, "0",
	    "how often an unknown user or group is looked up again, a second later"),
    OPT_INT(struct route_options, max_username_length, "0", "longer ones are no users; 0: no limit"),
    OPT_DOMAINS(struct route_options, percent_hack_domains, NULL, "domains where user%host means user@host"),
};
const struct conf_group route_conf_group = {
    .id = CONF_ROUTE,
    .size = sizeof(struct route_options),
    .options = route_options,
    .option_count = ARRAY_COUNT(route_options),
};

const struct conf_feature route_features[] = {
    {"_HAVE_DNSSEC", "DNSSEC"},
    {"_HAVE_TRANSLATE_IP_ADDRESS", NULL},
    {NULL, NULL},
};
