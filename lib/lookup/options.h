/* options: the main options of lookups. */
#ifndef LOOKUP_OPTIONS_H
#define LOOKUP_OPTIONS_H

#include "lookup/lookup.h"

struct lookup_options {
	int64_t lookup_open_max;
	struct slice mysql_servers, pgsql_servers, redis_servers;
	struct slice sqlite_dbfile;
	int64_t sqlite_lock_timeout;
	struct slice ldap_default_servers, ldap_ca_cert_dir, ldap_ca_cert_file, ldap_cert_file, ldap_cert_key;
	struct slice ldap_cipher_suite, ldap_require_cert;
	bool ldap_start_tls;
	int64_t ldap_version;
};
unsigned lookup_open_max(const struct conf *conf); /* at least 1 */

#endif
