/* The iplookup router (an ancient protocol over UDP or TCP to a user database): its options are known, so that a file that
 * has it can be checked, but nothing answers it. */
#include "routing.h"

struct iplookup {
	struct router router;
	struct slice hosts, protocol, response_pattern;
	const struct expansion *query, *reroute;
	bool optional;
	int64_t port, timeout;
};

static const struct conf_option iplookup_options[] = {
    OPT_STRING(struct iplookup, hosts, NULL, "hosts to ask"),
    OPT_BOOL(struct iplookup, optional, "no", "decline when nobody answers"),
    OPT_INT(struct iplookup, port, "0", "port to ask at"),
    OPT_STRING(struct iplookup, protocol, "udp", "udp or tcp"),
    OPT_EXPAND(struct iplookup, query, NULL, "what is sent"),
    OPT_EXPAND(struct iplookup, reroute, NULL, "the new address"),
    OPT_STRING(struct iplookup, response_pattern, NULL, "what the answer looks like"),
    OPT_TIME(struct iplookup, timeout, "5s", "for an answer"),
};

static enum rc iplookup_check(struct conf *conf, void *instance, struct err *err)
{
	(void)conf;
	(void)instance;
	return err_set(
	    err, FAIL,
	    "the iplookup router is not supported; a redirect router with a ${lookup or ${readsocket "
	    "in its data does the same");
}

static enum route_result iplookup_route(struct routing *r)
{
	return route_say(r, ROUTE_DEFER, "the iplookup router is not supported");
}

static const struct router_ops iplookup_ops = {.route = iplookup_route};
const struct conf_driver router_iplookup_driver = {
    .name = "iplookup",
    .size = sizeof(struct iplookup),
    .options = iplookup_options,
    .option_count = ARRAY_COUNT(iplookup_options),
    .check = iplookup_check,
    .ops = &iplookup_ops,
};
