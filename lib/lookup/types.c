/* types: the one list of lookup types. */

#include "types.h"

#include <stdio.h>

#include "quote.h"

/* Known by name only: a configuration that names one is refused when it is read, with its line and the reason. Where the
 * name is the result of an expansion, the lookup defers with the same words. */
enum rc lookup_type_missing(const struct lookup_type *type, enum rc rc, struct err *err)
{
	return err_set(err, rc, "lookup type \"%s\" is not built into this server: %s", type->name,
		       type->missing);
}

static enum rc refuse(struct scope *sc, const struct lookup_type *type, const struct lookup_request *request,
		      struct slice *ret, struct err *err)
{
	(void)sc;
	(void)request;
	(void)ret;
	return lookup_type_missing(type, DEFER, err);
}

#define REFUSED_FILE(id, why) \
	static const struct lookup_type refused_##id = {.name = #id, .missing = why, .find = refuse}
#define REFUSED_QUERY(id, quoter, why)                   \
	static const struct lookup_type refused_##id = { \
	    .name = #id, .missing = why, .query = true, .find = refuse, .quote = quoter}
#define NO_DBM     "Berkeley DB files are not read; make a cdb or an LMDB file (mdb_load) of the same source"
#define NO_NIS     "NIS is not asked; use a file (ypcat) or ldap"
#define NO_SQL     "its client library is not free; use pgsql, mysql or sqlite"
#define NO_LIBRARY "it was configured without the client library (SLUICE_LDAP, SLUICE_MYSQL, SLUICE_PGSQL)"
REFUSED_FILE(dbm, NO_DBM);
REFUSED_FILE(dbmjz, NO_DBM);
REFUSED_FILE(dbmnz, NO_DBM);
REFUSED_FILE(nis, NO_NIS);
REFUSED_FILE(nis0, NO_NIS);
REFUSED_QUERY(nisplus, quote_nisplus, NO_NIS);
REFUSED_QUERY(ibase, NULL, "use pgsql, mysql or sqlite");
REFUSED_QUERY(oracle, quote_oracle, NO_SQL);
REFUSED_QUERY(nmh, NULL, "MH folders are not read; use a file");
REFUSED_QUERY(whoson, NULL, "Whoson servers are not asked; use redis");
REFUSED_QUERY(ldapauth, NULL, "write ${if ldapauth{...}}, which is a condition");
REFUSED_QUERY(readsock, NULL, "write ${readsocket{...}{...}}");
/* Of a build without the library. */
#ifndef SLUICE_LDAP
REFUSED_QUERY(ldap, quote_ldap, NO_LIBRARY);
REFUSED_QUERY(ldapdn, quote_ldap, NO_LIBRARY);
REFUSED_QUERY(ldapm, quote_ldap, NO_LIBRARY);
#define lookup_ldap   refused_ldap
#define lookup_ldapdn refused_ldapdn
#define lookup_ldapm  refused_ldapm

static enum rc ldapauth_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	(void)sc;
	(void)call;
	(void)ret;
	return err_set(err, FAIL, "support for \"ldapauth\" not compiled (SLUICE_LDAP)");
}

static const struct expand_condition condition_ldapauth = {
    .name = "ldapauth", .arg_min = 1, .arg_max = 1, .flags = CONDITION_MISSING, .eval = ldapauth_eval};
const struct expand_condition *const lookup_conditions[] = {&condition_ldapauth, NULL};
#endif
#ifndef SLUICE_MYSQL
REFUSED_QUERY(mysql, quote_mysql, NO_LIBRARY);
#define lookup_mysql refused_mysql
#endif
#ifndef SLUICE_PGSQL
REFUSED_QUERY(pgsql, quote_pgsql, NO_LIBRARY);
#define lookup_pgsql refused_pgsql
#endif

const struct lookup_type *const lookup_types[] = {
    &lookup_cdb,          &refused_dbm,
    &refused_dbmjz,       &refused_dbmnz,
    &lookup_dnsdb,        &lookup_dsearch,
    &refused_ibase,       &lookup_iplsearch,
    &lookup_json,         &lookup_ldap,
    &refused_ldapauth,    &lookup_ldapdn,
    &lookup_ldapm,        &lookup_lmdb,
    &lookup_lsearch,      &lookup_mysql,
    &refused_nis,         &refused_nis0,
    &refused_nisplus,     &refused_nmh,
    &lookup_nwildlsearch, &refused_oracle,
    &lookup_passwd,       &lookup_pgsql,
    &lookup_psl,          &refused_readsock,
    &lookup_redis,        &lookup_regdom,
    &lookup_spf,          &lookup_sqlite,
    &lookup_testdb,       &refused_whoson,
    &lookup_wildlsearch,  NULL,
};

const struct lookup_type *lookup_type_find(struct slice name)
{
	for (unsigned i = 0; lookup_types[i]; i++) {
		if (slice_eq(slice_of(lookup_types[i]->name), name))
			return lookup_types[i];
	}
	return NULL;
}

bool lookup_type_available(const struct lookup_type *type)
{
	return !type->missing;
}

void lookup_macros(struct conf *conf)
{
	char macro[64];

	for (unsigned i = 0; lookup_types[i]; i++) {
		if (!lookup_type_available(lookup_types[i]))
			continue;
		snprintf(macro, sizeof(macro), "_HAVE_LOOKUP_%s", lookup_types[i]->name);
		for (char *c = macro; *c; c++)
			*c = ascii_upper(*c);
		conf_macro(conf, macro);
	}
}

struct slice lookup_option(struct slice options, struct slice tag)
{
	struct slice part;

	while (slice_split(&options, ',', &part)) {
		part = slice_trim(part);
		if (slice_starts_nocase(part, tag) && part.len > tag.len && part.ptr[tag.len] == '=')
			return slice_from(part, tag.len + 1u);
	}
	return (struct slice){NULL, 0, CLEAN};
}

enum rc lookup_quote(struct scope *sc, struct slice type, struct slice option, struct slice subject,
		     struct slice *ret, struct err *err)
{
	const struct lookup_type *t = lookup_type_find(type);

	if (!t)
		return err_set(err, FAIL, "unknown lookup type \"%.*s\"", SLICE_ARG(type));
	if (!t->quote && option.len)
		return err_set(err, FAIL, "\"%.*s\" unrecognized after \"${quote_%s\"", SLICE_ARG(option),
			       t->name);
	if (!t->quote) {
		*ret = subject;
		return OK;
	}
	return t->quote(sc, option, subject, ret, err);
}

const struct conf_feature lookup_features[] = {
    {"_HAVE_LMDB", "LMDB"},
    {NULL, NULL},
};
