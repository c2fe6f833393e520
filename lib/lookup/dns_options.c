/* dns_options: what the main section says of name resolution, and how each shard is told: the room that asks the
 * questions knows of no configuration. */

#include "lookup.h"

struct dns_group {
	int64_t dns_retrans, dns_retry, dns_use_edns0, dns_dnssec_ok, dns_cname_loops;
	int64_t slow_lookup_log;
	struct slice dns_servers, dns_check_names_pattern;
	const struct regex *names; /* derived; NULL: every name is asked for */
	const char *servers;       /* the same, as the room that asks wants it; NULL: as the system says */
};

static const struct conf_option options[] = {
    OPT_STRING(struct dns_group, dns_servers, NULL,
	       "resolvers: \"127.0.0.1:5353,[::1]:53\"; unset: the system's"),
    OPT_TIME(struct dns_group, dns_retrans, "0s", "wait for an answer, a try; 0: 5 seconds"),
    OPT_INT(struct dns_group, dns_retry, "0", "how often a question is asked; 0: 3 times"),
    OPT_INT(struct dns_group, dns_cname_loops, "1",
	    "aliases that are asked behind, if the resolver does not"),
    OPT_INT(struct dns_group, dns_use_edns0, "-1", "1: with EDNS0; 0: without; -1: with"),
    OPT_INT(struct dns_group, slow_lookup_log, "0", "milliseconds: longer questions are logged; 0: none"),
    OPT_STRING(struct dns_group, dns_check_names_pattern,
	       "(?i)^(?>(?(1)\\.|())[^\\W](?>[a-z0-9/_-]*[^\\W])?)+(\\.?)$",
	       "names that are asked for; empty: all"),
    OPT_INT(struct dns_group, dns_dnssec_ok, "-1", "1: ask for signatures, too (DO); 0 and -1: not"),
};

/* Values that no resolver would take are mistakes; c-ares counts milliseconds in an int. */
static enum rc check(struct conf *conf, void *group, struct err *err)
{
	struct dns_group *g = group;
	struct err why = err_make(&conf->arena);

	if (g->dns_servers.len && !(g->servers = arena_cstr(&conf->arena, g->dns_servers)))
		return err_memory(err);
	if (g->dns_check_names_pattern.len &&
	    regex_compile(&conf->arena, g->dns_check_names_pattern, 0, &g->names, &why) != OK)
		return conf_error(err, conf_option_place(conf, "dns_check_names_pattern"),
				  "dns_check_names_pattern: %.*s", SLICE_ARG(why.text));
	if (g->dns_retrans < 0 || g->dns_retrans > 3600)
		return conf_error(err, conf_option_place(conf, "dns_retrans"),
				  "dns_retrans is to be between 0s and 1h");
	if (g->dns_retry < 0 || g->dns_retry > 100)
		return conf_error(err, conf_option_place(conf, "dns_retry"),
				  "dns_retry is to be between 0 and 100");
	if (g->dns_cname_loops < 0 || g->dns_cname_loops > 100)
		return conf_error(err, conf_option_place(conf, "dns_cname_loops"),
				  "dns_cname_loops is to be between 0 and 100");
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
	    .cname_loops = (unsigned)g->dns_cname_loops,
	};

	dns_configure(shard, &dns);
}

/* Not those of services ("_25._tcp..."), and not what TXT and PTR records are asked for by. */
static bool name_is_asked(const struct dns_group *g, struct slice name, enum dns_type type)
{
	struct slice numbers[4];
	struct err err = err_make(NULL);
	unsigned count;

	if (!g->names || type == DNS_TXT || type == DNS_PTR)
		return true;
	for (unsigned labels = 0; labels < 2 && (type == DNS_SRV || type == DNS_TLSA); labels++) {
		ptrdiff_t dot = slice_find(name, '.');
		if (dot >= 0)
			name = slice_from(name, (size_t)dot + 1);
	}
	return regex_match(g->names, name, numbers, ARRAY_COUNT(numbers), &count, &err) != FAIL;
}

enum rc lookup_dns_query(struct scope *sc, struct slice name, enum dns_type type,
			 struct dns_answer *answer_ret, struct err *err)
{
	const struct dns_group *g = sc->conf ? conf_group(sc->conf, CONF_DNS) : NULL;
	uint64_t began = shard_now(sc->task->shard), ms;
	struct err why = err_make(NULL);
	struct slice labels;
	enum rc rc;

	/* The DNS knows A-labels only, and so does the pattern's usual value, as in Exim with internationalisation. What
	 * cannot be one is judged, and asked for, as it came. */
	if (domain_to_ascii(sc->task->arena, name, &labels, &why) == OK)
		name = labels;
	if (g && !name_is_asked(g, name, type)) {
		*answer_ret = (struct dns_answer){.nxdomain = true, .canonical = SLICE_EMPTY};
		return err_set(err, FAIL, "%.*s is no name that is asked for (dns_check_names_pattern)",
			       SLICE_ARG(name));
	}
	rc = dns_query(sc->task, name, type, answer_ret, err);
	ms = (shard_now(sc->task->shard) - began) / NS_PER_MS;
	if (g && g->slow_lookup_log > 0 && ms > (uint64_t)g->slow_lookup_log)
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, NULL,
			   "Long %s lookup for '%.*s': %llu msec", dns_type_name(type), SLICE_ARG(name),
			   (unsigned long long)ms);
	return rc;
}
