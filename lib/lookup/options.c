/* options: the main options of lookups. Those of types that are not built in are read, so that a
 * configuration that has them loads; the lookup itself refuses. */

#include "options.h"

#define OPEN_MAX_DEFAULT 25

static const struct conf_option options[] = {
    OPT_STRING(struct lookup_options, ldap_ca_cert_dir, NULL,
	       "directory of certificates that LDAP servers are checked with"),
    OPT_STRING(struct lookup_options, ldap_ca_cert_file, NULL,
	       "file of certificates that LDAP servers are checked with"),
    OPT_STRING(struct lookup_options, ldap_cert_file, NULL, "client certificate shown to LDAP servers"),
    OPT_STRING(struct lookup_options, ldap_cert_key, NULL, "key of the LDAP client certificate"),
    OPT_STRING(struct lookup_options, ldap_cipher_suite, NULL, "ciphers for LDAP servers"),
    OPT_STRING(struct lookup_options, ldap_default_servers, NULL, "LDAP servers of queries that name none"),
    OPT_STRING(struct lookup_options, ldap_require_cert, NULL, "hard, demand, allow, try or never"),
    OPT_BOOL(struct lookup_options, ldap_start_tls, "no", "TLS before LDAP queries"),
    OPT_INT(struct lookup_options, ldap_version, "3", "LDAP protocol version"),
    OPT_INT(struct lookup_options, lookup_open_max, "25", "database files kept open on each shard"),
    OPT_STRING(struct lookup_options, mysql_servers, NULL, "servers, tried in turn"),
    OPT_STRING(struct lookup_options, pgsql_servers, NULL, "servers, tried in turn"),
    OPT_STRING(struct lookup_options, redis_servers, NULL, "servers, tried in turn"),
    OPT_STRING(struct lookup_options, sqlite_dbfile, NULL, "database of queries that name none"),
    OPT_TIME(struct lookup_options, sqlite_lock_timeout, "5s", "how long to wait for a lock"),
};

const struct conf_group lookup_conf_group = {
    .id = CONF_LOOKUP,
    .size = sizeof(struct lookup_options),
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
};

unsigned lookup_open_max(const struct conf *conf)
{
	const struct lookup_options *o = conf ? conf_group(conf, CONF_LOOKUP) : NULL;

	if (!o)
		return OPEN_MAX_DEFAULT;
	return o->lookup_open_max < 1 ? 1 : o->lookup_open_max > 1000 ? 1000 : (unsigned)o->lookup_open_max;
}
