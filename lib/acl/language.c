/* language: ACLs in the $ language: ${acl{name}{arg}...}, the condition acl{{name}{arg}...}, and the variables that
 * ACLs and their conditions set. */
#include "list.h"

enum {
	ARG_1 = 0,
	ARG_9 = 8,
	NARG,
	VERIFY_MESSAGE,
	DNSLIST_DOMAIN,
	DNSLIST_MATCHED,
	DNSLIST_TEXT,
	DNSLIST_VALUE,
	SENDER_RATE,
	SENDER_RATE_LIMIT,
	SENDER_RATE_PERIOD,
	SENDER_FAILURE,
	RECIPIENT_FAILURE,
	HEADERS_ADDED,
	CSA_STATUS,
};

static enum rc get(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	struct str str;

	(void)err;
	*ret = SLICE_EMPTY;
	switch (variable->arg) {
	case NARG:
		str = str_make(sc->task->arena);
		str_addu(&str, sc->acl ? sc->acl->argument_count : 0);
		*ret = str_slice(&str);
		break;
	case VERIFY_MESSAGE:
		*ret = sc->acl_verify_message;
		break;
	case DNSLIST_DOMAIN:
		*ret = sc->dnslist_domain;
		break;
	case DNSLIST_MATCHED:
		*ret = sc->dnslist_matched;
		break;
	case DNSLIST_TEXT:
		*ret = sc->dnslist_text;
		break;
	case DNSLIST_VALUE:
		*ret = sc->dnslist_value;
		break;
	case SENDER_RATE:
		*ret = sc->sender_rate;
		break;
	case SENDER_RATE_LIMIT:
		*ret = sc->sender_rate_limit;
		break;
	case SENDER_RATE_PERIOD:
		*ret = sc->sender_rate_period;
		break;
	case SENDER_FAILURE:
		*ret = sc->sender_verify_failure;
		break;
	case HEADERS_ADDED:
		if (acl_memory(sc))
			*ret = acl_memory(sc)->headers_added;
		break;
	case CSA_STATUS:
		if (sc->client && sc->client->csa_status)
			*ret = slice_of(sc->client->csa_status);
		break;
	case RECIPIENT_FAILURE:
		*ret = sc->recipient_verify_failure;
		break;
	default:
		if (sc->acl && variable->arg < sc->acl->argument_count)
			*ret = sc->acl->arguments[variable->arg];
		break;
	}
	if (!ret->ptr)
		*ret = SLICE_EMPTY;
	return OK;
}

static const struct variable rows[] = {
    {"acl_arg1", get, 0},
    {"acl_arg2", get, 1},
    {"acl_arg3", get, 2},
    {"acl_arg4", get, 3},
    {"acl_arg5", get, 4},
    {"acl_arg6", get, 5},
    {"acl_arg7", get, 6},
    {"acl_arg8", get, 7},
    {"acl_arg9", get, 8},
    {"acl_narg", get, NARG},
    {"acl_verify_message", get, VERIFY_MESSAGE},
    {"dnslist_domain", get, DNSLIST_DOMAIN},
    {"dnslist_matched", get, DNSLIST_MATCHED},
    {"dnslist_text", get, DNSLIST_TEXT},
    {"dnslist_value", get, DNSLIST_VALUE},
    {"sender_rate", get, SENDER_RATE},
    {"sender_rate_limit", get, SENDER_RATE_LIMIT},
    {"sender_rate_period", get, SENDER_RATE_PERIOD},
    {"sender_verify_failure", get, SENDER_FAILURE},
    {"recipient_verify_failure", get, RECIPIENT_FAILURE},
    {"csa_status", get, CSA_STATUS},
    {"headers_added", get, HEADERS_ADDED},
};
const struct variable_table acl_variables = {rows, ARRAY_COUNT(rows)};

/* Runs the ACL that the arguments name. Its message is its value, whether it accepts or denies. Deferring is a forced
 * failure; what else may come of it is a failure. */
static enum rc call_acl(struct scope *sc, const struct expand_call *call, bool *accepted_ret,
			struct slice *text_ret, struct err *err)
{
	static const char *const words[] = {[ACL_DROP] = "FAIL_DROP",
					    [ACL_DEFER] = "DEFER",
					    [ACL_DISCARD] = "DISCARD",
					    [ACL_ERROR] = "ERROR"};
	enum acl_result result;
	struct slice args[ACL_ARGUMENT_MAX + 1];
	struct acl_outcome outcome;

	for (unsigned i = 0; i < call->arg_count; i++) {
		enum rc rc = expand(sc, call->args[i], &args[i], err);
		if (rc != OK)
			return rc;
	}
	acl_outcome_init(&outcome);
	result = acl_run_named(sc, ACL_WHERE_UNKNOWN, args[0], args + 1, call->arg_count - 1, &outcome, err);
	*text_ret = outcome.user_message.ptr ? outcome.user_message : SLICE_EMPTY;
	*accepted_ret = result == ACL_ACCEPT;
	if (result == ACL_ACCEPT || result == ACL_DENY)
		return OK;
	(void)err_set(err, FAIL, "%s from acl \"%.*s\"", words[result], SLICE_ARG(args[0]));
	err->forced = result == ACL_DEFER;
	return sc->task->cancelled ? CANCELLED : FAIL;
}

static enum rc eval_item(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	bool accepted;

	return call_acl(sc, call, &accepted, ret, err);
}

static enum rc eval_condition(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	return call_acl(sc, call, ret, &sc->value, err);
}

static const struct expand_item item_acl = {
    .name = "acl", .arg_min = 1, .arg_max = ACL_ARGUMENT_MAX + 1, .eval = eval_item};
static const struct expand_condition condition_acl = {.name = "acl",
						      .arg_min = 1,
						      .arg_max = ACL_ARGUMENT_MAX + 1,
						      .flags = CONDITION_BRACED,
						      .eval = eval_condition};
const struct expand_item *const acl_items[] = {&item_acl, NULL};
const struct expand_condition *const acl_conditions[] = {&condition_acl, NULL};
