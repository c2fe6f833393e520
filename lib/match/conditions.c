/* conditions: match_domain and its kin, inlist. What matched is $value in the {yes} that follows. */

#include "match/match.h"

static enum rc two_args(struct scope *sc, const struct expand_call *call, struct slice *subject,
			struct slice *list, struct err *err)
{
	enum rc rc = expand(sc, call->args[0], subject, err);

	return rc == OK ? expand(sc, call->args[1], list, err) : rc;
}

/* Lists that cannot be asked are told in the language's words; the cause follows. */
static enum rc told(enum rc rc, struct slice list, struct err *err)
{
	if (rc == DEFER)
		err_prefix(err, "unable to complete match against \"%.*s\"", SLICE_ARG(list));
	return rc;
}

/* "%eth0" behind an IPv6 address says nothing about the address. */
static bool ip_parse_zone(struct slice text, struct ip_addr *ip_ret)
{
	ptrdiff_t zone = slice_find(text, '%');

	return ip_parse(zone > 0 && slice_find(text, ':') >= 0 ? slice_sub(text, 0, (size_t)zone) : text,
			ip_ret);
}

static enum rc eval_list(struct scope *sc, const struct expand_call *call, enum conf_list_kind kind,
			 bool *ret, struct err *err)
{
	struct slice subject, list, value = {NULL, 0, CLEAN};
	struct ip_addr ip = {0};
	enum rc rc;

	rc = two_args(sc, call, &subject, &list, err);
	if (rc != OK)
		return rc;
	if (kind == LIST_HOST && subject.len && !ip_parse_zone(subject, &ip))
		return err_set(err, FAIL, "\"%.*s\" is not an IP address", SLICE_ARG(subject));
	rc = told(match_text(sc, kind, list, subject, &ip, &value, err), list, err);
	if (rc == OK && value.ptr)
		sc->value = value;
	*ret = rc == OK;
	return rc == FAIL ? OK : rc;
}

static enum rc eval_match_domain(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	return eval_list(sc, call, LIST_DOMAIN, ret, err);
}

static enum rc eval_match_address(struct scope *sc, const struct expand_call *call, bool *ret,
				  struct err *err)
{
	return eval_list(sc, call, LIST_ADDRESS, ret, err);
}

static enum rc eval_match_local_part(struct scope *sc, const struct expand_call *call, bool *ret,
				     struct err *err)
{
	return eval_list(sc, call, LIST_LOCAL_PART, ret, err);
}

static enum rc eval_match_ip(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	return eval_list(sc, call, LIST_HOST, ret, err);
}

/* Items are plain strings here, without patterns or negation. */
static enum rc inlist(struct scope *sc, const struct expand_call *call, bool nocase, bool *ret,
		      struct err *err)
{
	struct slice subject, list, item;
	char separator = 0;
	enum rc rc;

	rc = two_args(sc, call, &subject, &list, err);
	if (rc != OK)
		return rc;
	*ret = false;
	while (!*ret && list_next(sc->task->arena, &list, &separator, &item)) {
		if (!item.ptr)
			return err_memory(err);
		*ret = nocase ? slice_eq_nocase(item, subject) : slice_eq(item, subject);
	}
	if (*ret)
		sc->value = item;
	return OK;
}

static enum rc eval_inlist(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	return inlist(sc, call, false, ret, err);
}

static enum rc eval_inlisti(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	return inlist(sc, call, true, ret, err);
}

#define LIST_CONDITION(id, call)                                \
	static const struct expand_condition condition_##id = { \
	    .name = #id, .arg_min = 2, .arg_max = 2, .flags = call, .eval = eval_##id}
LIST_CONDITION(inlist, 0);
LIST_CONDITION(inlisti, 0);
LIST_CONDITION(match_address, CONDITION_LITERAL_LAST);
LIST_CONDITION(match_domain, CONDITION_LITERAL_LAST);
LIST_CONDITION(match_ip, CONDITION_LITERAL_LAST);
LIST_CONDITION(match_local_part, CONDITION_LITERAL_LAST);

const struct expand_condition *const match_conditions[] = {
    &condition_inlist,
    &condition_inlisti,
    &condition_match_address,
    &condition_match_domain,
    &condition_match_ip,
    &condition_match_local_part,
    NULL,
};
