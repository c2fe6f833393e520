/* ldap_query: what a lookup in a directory asks: settings, and a URL (RFC 4516). */
#ifndef LOOKUP_LDAP_QUERY_H
#define LOOKUP_LDAP_QUERY_H

#include <ldap.h>

#include "lookup/lookup.h"

struct ldap_query {
	LDAPURLDesc *url; /* the library's: ldap_query_done() */
	struct slice user, password;
	struct slice servers;                /* SERVERS=; ptr NULL: none */
	int64_t size_max, time_s, network_s; /* 0: no limit */
	int dereference;
	bool one;              /* more than one entry is a mistake */
	bool dn;               /* the name of the entry is wanted */
	struct slice found_dn; /* of the last entry; ptr NULL: none */
};
/* "user=... pass=... ldap://...". DEFER: malformed. Either way to be given to ldap_query_done(). */
NODISCARD enum rc ldap_query_parse(struct arena *arena, struct slice text, struct ldap_query *query,
				   struct err *err);
void ldap_query_done(struct ldap_query *query);

#endif
