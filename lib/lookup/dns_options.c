/* dns_options: what the main section says of name resolution, and how each shard is told: the room that asks the
 * questions knows of no configuration. */

#include "lookup.h"

struct dns_group {
	int64_t dns_retrans, dns_retry, dns_use_edns0, dns_dnssec_ok;
	struct slice dns_servers;
	const char *servers; /* the same, as the room that asks wants it; NULL: as the system says */
};

static const struct conf_option options[] = {
    OPT_STRING(struct dns_group, dns_servers, NULL,
	       "resolvers: \"127.0.0.1:5353,[::1]:53\"; unset: the system's"),
    OPT_TIME(struct dns_group, dns_retrans, "0s", "wait for an answer, a try; 0: 5 seconds"),
    OPT_INT(struct dns_group, dns_retry, "0", "how often a question is asked; 0: 3 times"),
    OPT_INT(struct dns_group, dns_use_edns0, "-1", "1: with EDNS0; 0: without; -1: with"),
    OPT_INT(struct dns_group, dns_dnssec_ok, "-1", "1: ask for signatures, too (DO); 0 and -1: not"),
};

/* Values that no resolver would take are mistakes; c-ares counts milliseconds in an int. */
static enum rc check(struct conf *conf, void *group, struct err *err)
{
	struct dns_group *g = group;

	if (g->dns_servers.len && !(g->servers = arena_cstr(&conf->arena, g->dns_servers)))
		return err_memory(err);
	if (g->dns_retrans < 0 || g->dns_retrans > 3600)
		return conf_error(err, conf_option_place(conf, "dns_retrans"),
				  "dns_retrans is to be between 0s and 1h");
	if (g->dns_retry < 0 || g->dns_retry > 100)
		return conf_error(err, conf_option_place(conf, "dns_retry"),
				  "dns_retry is to be between 0 and 100");
	return OK;
}

const struct conf_group dns_conf_group = {
    .id = CONF_DNS,
    .size = sizeof(struct dns_group),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
};

void lookup_dns_configure(struct shard *shard, const struct conf *conf)
{
	const struct dns_group *g = conf_group(conf, CONF_DNS);
	const struct dns_options dns = {
	    .servers = g->servers,
	    .timeout_ms = (unsigned)g->dns_retrans * 1000,
	    .tries = (unsigned)g->dns_retry,
	    .edns0 = (int)g->dns_use_edns0,
	    .dnssec_ok = (int)g->dns_dnssec_ok,
	};

	dns_configure(shard, &dns);
}
