/* options: the main options of lists and host names, and the variables that are looked up when first asked
 * for. */

#include "options.h"

static enum rc check(struct conf *conf, void *group, struct err *err)
{
	struct match_group *g = group;
	struct slice order = g->options.host_lookup_order, how;
	char separator = 0;

	while (order.ptr && list_next(&conf->arena, &order, &separator, &how)) {
		if (!slice_eq_nocase(how, SLICE("bydns")) && !slice_eq_nocase(how, SLICE("byaddr")))
			return err_set(err, FAIL, "host_lookup_order: \"%.*s\" is neither bydns nor byaddr",
				       SLICE_ARG(how));
	}
	return interfaces_read(conf, g, err);
}

static const struct conf_option options[] = {
    OPT_STRING(struct match_options, extra_local_interfaces, NULL, "addresses that are this host's too"),
    OPT_STRING(struct match_options, local_interfaces, "<; ::0 ; 0.0.0.0",
	       "addresses to listen on; they are this host"),
    OPT_STRING(struct match_options, host_lookup_order, "bydns:byaddr", "how a client's name is found"),
    OPT_DOMAINS(struct match_options, hosts_treat_as_local, NULL,
		"names of hosts that count as this one in MX records"),
};

const struct conf_group match_conf_group = {
    .id = CONF_MATCH,
    .size = sizeof(struct match_group),
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .check = check,
};

/* A name that cannot be found is empty, whether it does not exist or could not be asked for:
 * $host_lookup_failed and $host_lookup_deferred tell. */
static enum rc get_sender_host_name(struct scope *sc, const struct variable *variable,
				    struct slice *value_ret, struct err *err)
{
	enum rc rc = client_host_name(sc, err);

	(void)variable;
	if (rc == CANCELLED)
		return rc;
	*value_ret = rc == OK ? sc->client->host_name : SLICE_EMPTY;
	return OK;
}

static const struct variable variables[] = {
    {"sender_host_name", get_sender_host_name, 0},
};
const struct variable_table match_variables = {variables, sizeof(variables) / sizeof(variables[0])};
