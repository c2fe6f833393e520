/* language: ACLs in the $ language: ${acl{name}{arg}...}, the condition acl{{name}{arg}...}, and the variables that
 * ACLs and their conditions set. */
#include "list.h"

enum {
	ARG_1 = 0, ARG_9 = 8, NARG, VERIFY_MESSAGE, DNSLIST_DOMAIN, DNSLIST_MATCHED, DNSLIST_TEXT, DNSLIST_VALUE, SENDER_RATE,
	SENDER_RATE_LIMIT, SENDER_RATE_PERIOD, SENDER_FAILURE, RECIPIENT_FAILURE,
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
	{"acl_arg1", get, 0}, {"acl_arg2", get, 1}, {"acl_arg3", get, 2}, {"acl_arg4", get, 3}, {"acl_arg5", get, 4},
	{"acl_arg6", get, 5}, {"acl_arg7", get, 6}, {"acl_arg8", get, 7}, {"acl_arg9", get, 8},
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
};
const struct variable_table acl_variables = {rows, ARRAY_COUNT(rows)};

/* Runs the ACL that the arguments name. Its message is its value. */
static enum rc call_acl(struct scope *sc, const struct expand_call *call, enum acl_result *result_ret, struct slice *text_ret,
			struct err *err)
{
	struct slice words[ACL_ARGUMENT_MAX + 1];
	struct acl_outcome outcome;

	for (unsigned i = 0; i < call->arg_count; i++) {
		enum rc rc = expand(sc, call->args[i], &words[i], err);
		if (rc != OK)
			return rc;
	}
	acl_outcome_init(&outcome);
	*result_ret = acl_run_named(sc, ACL_WHERE_UNKNOWN, words[0], words + 1, call->arg_count - 1, &outcome, err);
	*text_ret = outcome.user_message.ptr ? outcome.user_message : SLICE_EMPTY;
	return OK;
}

static enum rc eval_item(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	enum acl_result result;
	enum rc rc = call_acl(sc, call, &result, ret, err);

	if (rc != OK)
		return rc;
	switch (result) {
	case ACL_ACCEPT:
		return OK;
	case ACL_DENY:
	case ACL_DROP:
		(void)err_set(err, FAIL, "%.*s from acl \"%.*s\"", SLICE_ARG(slice_of("refusal")), SLICE_ARG(call->text));
		err->forced = true;
		return FAIL;
	case ACL_DEFER:
		return err_set(err, DEFER, "defer from acl \"%.*s\"", SLICE_ARG(call->text));
	default:
		return err_set(err, FAIL, "%s from acl \"%.*s\"", result == ACL_DISCARD ? "DISCARD" : "ERROR", SLICE_ARG(call->text));
	}
}

static enum rc eval_condition(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	enum acl_result result;
	enum rc rc = call_acl(sc, call, &result, &sc->value, err);

	if (rc != OK)
		return rc;
	switch (result) {
	case ACL_ACCEPT:
		*ret = true;
		return OK;
	case ACL_DENY:
	case ACL_DROP:
		*ret = false;
		return OK;
	case ACL_DEFER:
		return err_set(err, DEFER, "defer from acl");
	default:
		return err_set(err, FAIL, "%s from acl", result == ACL_DISCARD ? "DISCARD" : "ERROR");
	}
}

static const struct expand_item item_acl = {.name = "acl", .arg_min = 1, .arg_max = ACL_ARGUMENT_MAX + 1, .eval = eval_item};
static const struct expand_condition condition_acl = {.name = "acl", .arg_min = 1, .arg_max = ACL_ARGUMENT_MAX + 1,
						      .eval = eval_condition};
const struct expand_item *const acl_items[] = {&item_acl, NULL};
const struct expand_condition *const acl_conditions[] = {&condition_acl, NULL};
