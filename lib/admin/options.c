/* options: what the main section says about the names of those who call (their full names, and what a user without an entry in
 * the password file is called), and where metrics are read. */
#include "inside.h"

static const struct conf_option options[] = {
    OPT_EXPAND(struct admin_options, gecos_name, NULL, "the full name, where gecos_pattern matches"),
    OPT_STRING(struct admin_options, gecos_pattern, NULL,
	       "what the password file says of a user; & is his login"),
    OPT_EXPAND(struct admin_options, unknown_login, NULL, "the login of who is not in the password file"),
    OPT_STRING(struct admin_options, unknown_username, NULL, "his full name"),
    OPT_STRING(struct admin_options, metrics_listen, NULL,
	       "GET /metrics is answered there: \"127.0.0.1:9225,[::1]:9225\"; unset: nowhere"),
};

/* "127.0.0.1:9225" or "[::1]:9225"; port 0 is the kernel's choice. */
static bool read_address(struct slice text, struct ip_addr *ret)
{
	ptrdiff_t colon = slice_rfind(text, ':');
	struct slice ip = slice_sub(text, 0, colon < 0 ? 0 : (size_t)colon);
	bool brackets = slice_starts(ip, SLICE("[")) && slice_ends(ip, SLICE("]"));
	uint64_t port;

	if (brackets)
		ip = slice_sub(ip, 1, ip.len - 2);
	if (!ip_parse(ip, ret) || (ret->family == 6) != brackets ||
	    !parse_u64(slice_from(text, (size_t)colon + 1), &port) || port > 65535)
		return false;
	ret->port = (uint16_t)port;
	return true;
}

static enum rc check_metrics(struct conf *conf, struct admin_options *o, struct err *err)
{
	struct slice rest = o->metrics_listen, item;

	while (rest.ptr && rest.len && slice_split(&rest, ',', &item)) {
		item = slice_trim(item);
		if (o->metrics_address_count == METRICS_LISTEN_MAX)
			return conf_error(err, conf_option_place(conf, "metrics_listen"),
					  "metrics_listen has more than %d addresses", METRICS_LISTEN_MAX);
		if (!read_address(item, &o->metrics_addresses[o->metrics_address_count++]))
			return conf_error(err, conf_option_place(conf, "metrics_listen"),
					  "metrics_listen: \"%.*s\" is no address with a port, as in "
					  "127.0.0.1:9225 or [::1]:9225",
					  SLICE_ARG(item));
	}
	return OK;
}

static enum rc check(struct conf *conf, void *group, struct err *err)
{
	struct admin_options *o = group;
	struct err why = err_make(&conf->arena);

	if (o->gecos_pattern.ptr && regex_compile(&conf->arena, o->gecos_pattern, 0, &o->gecos, &why) != OK)
		return conf_error(err, conf_option_place(conf, "gecos_pattern"), "gecos_pattern: %.*s",
				  SLICE_ARG(why.text));
	return check_metrics(conf, o, err);
}

const struct conf_group admin_conf_group = {
    .id = CONF_ADMIN,
    .size = sizeof(struct admin_options),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
};
