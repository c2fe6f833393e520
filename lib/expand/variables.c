/* variables: those that expansions themselves make, the date, the process, and the families of named
 * variables. */

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "items.h"
#include "tree.h"

static enum rc get_slice(struct scope *sc, const struct variable *variable, struct slice *ret,
			 struct err *err)
{
	struct slice value = *(const struct slice *)((const char *)sc + variable->arg);

	(void)err;
	*ret = value.ptr ? value : SLICE_EMPTY;
	return OK;
}

static enum rc number(struct scope *sc, long long value, struct slice *ret, struct err *err)
{
	*ret = arena_printf(sc->task->arena, "%lld", value);
	return ret->ptr ? OK : err_memory(err);
}

static enum rc get_runrc(struct scope *sc, const struct variable *variable, struct slice *ret,
			 struct err *err)
{
	(void)variable;
	return number(sc, sc->run_code, ret, err);
}

/* ---- Families ---------------------------------------------------------------------------------------------
 */

enum { FAMILY_ACL_C, FAMILY_ACL_M, FAMILY_ROUTER };

/* The name behind "acl_c", "acl_m" or "r_". */
static enum rc get_family(struct scope *sc, const struct variable *variable, struct slice *ret,
			  struct err *err)
{
	struct slice name = slice_of(variable->name);
	const struct expand_options *options = expand_options(sc->conf);
	struct acl_variable *list = NULL;
	struct slice *value;

	switch (variable->arg) {
	case FAMILY_ACL_C:
		list = sc->client ? sc->client->acl_c : NULL;
		name = slice_from(name, 5);
		break;
	case FAMILY_ACL_M:
		list = sc->message ? sc->message->acl_m : sc->client ? sc->client->acl_m : NULL;
		name = slice_from(name, 5);
		break;
	case FAMILY_ROUTER:
		list = sc->address ? sc->address->router_variables : NULL;
		name = slice_from(name, 2);
		break;
	}
	value = acl_variable_get(list, name);
	if (!value && variable->arg != FAMILY_ROUTER && options && options->strict_acl_vars)
		return err_set(err, FAIL, "unknown variable name \"%s\" (strict_acl_vars is set)",
			       variable->name);
	*ret = value ? *value : SLICE_EMPTY;
	return OK;
}

/* ---- The date ---------------------------------------------------------------------------------------------
 */

enum { TOD_BSDINBOX, TOD_FULL, TOD_LOG, TOD_LOGFILE, TOD_ZONE, TOD_ZULU, TOD_EPOCH, TOD_EPOCH_L };

static const char *const tod_formats[] = {
    [TOD_BSDINBOX] = "%a %b %d %H:%M:%S %Y",
    [TOD_LOG] = "%Y-%m-%d %H:%M:%S",
    [TOD_LOGFILE] = "%Y%m%d",
    [TOD_ZONE] = "%z",
    [TOD_ZULU] = "%Y%m%d%H%M%SZ",
};

static enum rc get_tod(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	struct str str = str_make(sc->task->arena);
	enum rc rc = shard_needed(sc, "the date", err);
	char text[64];
	uint64_t wall;
	time_t seconds;
	struct tm tm;

	if (rc != OK)
		return rc;
	wall = shard_wall(sc->task->shard);
	seconds = (time_t)(wall / NS_PER_S);

	switch (variable->arg) {
	case TOD_EPOCH:
		return number(sc, (long long)seconds, ret, err);
	case TOD_EPOCH_L:
		return number(sc, (long long)(wall / 1000), ret, err);
	case TOD_FULL:
		date_rfc5322(&str, (uint64_t)seconds);
		return str_result(&str, ret, err);
	}
	if (variable->arg == TOD_ZULU)
		gmtime_r(&seconds, &tm);
	else
		localtime_r(&seconds, &tm);
	str_add(&str, slice_make(text, strftime(text, sizeof(text), tod_formats[variable->arg], &tm), CLEAN));
	return str_result(&str, ret, err);
}

/* ---- The process ------------------------------------------------------------------------------------------
 */

enum { PROCESS_PID, PROCESS_UID, PROCESS_GID, PROCESS_LOAD };

static enum rc get_process(struct scope *sc, const struct variable *variable, struct slice *ret,
			   struct err *err)
{
	const struct client *local = sc->client && sc->client->login.len ? sc->client : NULL;
	double load[1];

	switch (variable->arg) {
	case PROCESS_UID:
		return number(sc, (long long)(local ? local->uid : getuid()), ret, err);
	case PROCESS_GID:
		return number(sc, (long long)(local ? local->gid : getgid()), ret, err);
	case PROCESS_LOAD:
		return number(sc, getloadavg(load, 1) == 1 ? (long long)(load[0] * 1000) : -1, ret, err);
	}
	return number(sc, (long long)getpid(), ret, err);
}

static enum rc get_constant(struct scope *sc, const struct variable *variable, struct slice *ret,
			    struct err *err)
{
	(void)sc;
	(void)err;
	*ret = slice_of((const char *)variable->arg);
	return OK;
}

static enum rc get_cwd(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	const char *cwd = getenv("PWD");

	(void)sc;
	(void)variable;
	(void)err;
	*ret = slice_of(cwd ? cwd : "/");
	return OK;
}

#define SCOPE(name, field)                                     \
	{                                                      \
		name, get_slice, offsetof(struct scope, field) \
	}

static const struct variable rows[] = {
    {"acl_c*", get_family, FAMILY_ACL_C},
    {"acl_m*", get_family, FAMILY_ACL_M},
    SCOPE("auth1", auth[0]),
    SCOPE("auth2", auth[1]),
    SCOPE("auth3", auth[2]),
    {"caller_gid", get_process, PROCESS_GID},
    {"caller_uid", get_process, PROCESS_UID},
    {"compile_date", get_constant, (size_t)(uintptr_t) "unknown"},
    {"compile_number", get_constant, (size_t)(uintptr_t) "1"},
    {"initial_cwd", get_cwd, 0},
    SCOPE("item", item),
    {"load_average", get_process, PROCESS_LOAD},
    {"pid", get_process, PROCESS_PID},
    SCOPE("prvscheck_address", prvscheck_address),
    SCOPE("prvscheck_keynum", prvscheck_keynum),
    SCOPE("prvscheck_result", prvscheck_result),
    {"r_*", get_family, FAMILY_ROUTER},
    {"runrc", get_runrc, 0},
    {"tod_bsdinbox", get_tod, TOD_BSDINBOX},
    {"tod_epoch", get_tod, TOD_EPOCH},
    {"tod_epoch_l", get_tod, TOD_EPOCH_L},
    {"tod_full", get_tod, TOD_FULL},
    {"tod_log", get_tod, TOD_LOG},
    {"tod_logfile", get_tod, TOD_LOGFILE},
    {"tod_zone", get_tod, TOD_ZONE},
    {"tod_zulu", get_tod, TOD_ZULU},
    {"tls_in_ourcert", get_certificate, CERTIFICATE_IN_OUR},
    {"tls_in_peercert", get_certificate, CERTIFICATE_IN_PEER},
    {"tls_out_ourcert", get_certificate, CERTIFICATE_OUT_OUR},
    {"tls_out_peercert", get_certificate, CERTIFICATE_OUT_PEER},
    SCOPE("value", value),
};

const struct variable_table expand_variables = {rows, sizeof(rows) / sizeof(*rows)};
