/* types: the implementations of lookup types, one or a family per file. */
#ifndef LOOKUP_TYPES_H
#define LOOKUP_TYPES_H

#include "lookup/lookup.h"

extern const struct lookup_type lookup_cdb;
extern const struct lookup_type lookup_dnsdb;
extern const struct lookup_type lookup_dsearch;
extern const struct lookup_type lookup_iplsearch, lookup_lsearch, lookup_nwildlsearch, lookup_wildlsearch;
extern const struct lookup_type lookup_json;
extern const struct lookup_type lookup_lmdb;
extern const struct lookup_type lookup_passwd;
extern const struct lookup_type lookup_psl, lookup_regdom;
/* Of builds with their libraries (CMake options SLUICE_LDAP, SLUICE_MYSQL, SLUICE_PGSQL). */
extern const struct lookup_type lookup_ldap, lookup_ldapdn, lookup_ldapm;
extern const struct lookup_type lookup_mysql, lookup_pgsql;
extern const struct lookup_type lookup_redis;
extern const struct lookup_type lookup_spf;
extern const struct lookup_type lookup_sqlite;
extern const struct lookup_type lookup_testdb;

/* The value of "tag=" in a type's comma-separated options; ptr NULL: not there. */
struct slice lookup_option(struct slice options, struct slice tag);

#endif
