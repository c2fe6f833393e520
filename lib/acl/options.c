/* options: the main options of ACL conditions. */
#include "list.h"

static const struct conf_option options[] = {
    OPT_INT(struct acl_options, dns_csa_search_limit, "5", "parents of a name that verify = csa asks about"),
    OPT_BOOL(struct acl_options, dns_csa_use_reverse, "yes",
	     "verify = csa of an address asks below its reverse name"),
    OPT_SECRET(struct acl_options, ratelimit_redis_servers, NULL,
	       "where rates are counted, for several nodes together; unset: in the hints"),
};
const struct conf_group acl_conf_group = {
    .id = CONF_ACL,
    .size = sizeof(struct acl_options),
    .options = options,
    .option_count = ARRAY_COUNT(options),
};
