/* quote: strangers' text made safe for the query languages of databases. */
#ifndef LOOKUP_QUOTE_H
#define LOOKUP_QUOTE_H

#include "lookup/lookup.h"

typedef enum rc lookup_quoter(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
			      struct err *err);
lookup_quoter quote_mysql, quote_pgsql, quote_sqlite, quote_ldap, quote_nisplus, quote_oracle, quote_redis;

#endif
