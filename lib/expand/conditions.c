/* conditions: those of this room: comparisons of strings and numbers, truth, addresses, files, passwords. */

#include "items.h"
#include "tree.h"

/* Evaluates the first count arguments. */
static enum rc args_eval(struct scope *sc, const struct expand_call *call, unsigned count, struct slice *args,
			 struct err *err)
{
	enum rc rc = OK;

	for (unsigned i = 0; i < count && rc == OK; i++)
		rc = expand(sc, call->args[i], &args[i], err);
	return rc;
}

/* ---- Strings ----------------------------------------------------------------------------------------------
 */

static enum rc eq_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct slice args[2];
	enum rc rc = args_eval(sc, call, 2, args, err);

	if (rc == OK)
		*ret = slice_eq(args[0], args[1]);
	return rc;
}

static enum rc eqi_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct slice args[2];
	enum rc rc = args_eval(sc, call, 2, args, err);

	if (rc == OK)
		*ret = slice_eq_nocase(args[0], args[1]);
	return rc;
}

/* lt, lti, le, lei, gt, gti, ge, gei: the name says it all. */
bool string_compare(struct slice name, struct slice a, struct slice b)
{
	int order = name.len == 3 ? slice_cmp_nocase(a, b) : slice_cmp(a, b);

	if (order == 0)
		return name.ptr[1] == 'e';
	return name.ptr[0] == 'l' ? order < 0 : order > 0;
}

static enum rc order_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct slice args[2];
	enum rc rc = args_eval(sc, call, 2, args, err);

	if (rc == OK)
		*ret = string_compare(call->name, args[0], args[1]);
	return rc;
}

bool number_compare(struct slice name, int64_t a, int64_t b)
{
	if (name.ptr[0] == '=')
		return a == b;
	if (a == b)
		return name.len == 2;
	return name.ptr[0] == '<' ? a < b : a > b;
}

static enum rc number_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct slice args[2];
	int64_t a, b;
	enum rc rc = args_eval(sc, call, 2, args, err);

	if (rc == OK)
		rc = integer_read(args[0], &a, err);
	if (rc == OK)
		rc = integer_read(args[1], &b, err);
	if (rc == OK)
		*ret = number_compare(call->name, a, b);
	return rc;
}

static enum rc match_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct slice args[2], numbers[sizeof(sc->numeric) / sizeof(*sc->numeric)];
	const struct regex *regex;
	uint64_t start;
	unsigned count;
	enum rc rc = args_eval(sc, call, 2, args, err);

	if (rc == OK)
		rc = regex_for(sc, args[1], 0, &regex, err);
	if (rc != OK)
		return rc;
	start = work_clock(sc);
	rc = regex_match(regex, args[0], numbers, sizeof(numbers) / sizeof(*numbers), &count, err);
	if (rc == DEFER)
		return rc;
	*ret = rc == OK;
	if (rc == OK) {
		memcpy(sc->numeric, numbers, count * sizeof(*numbers));
		sc->numeric_count = count;
	}
	return work_since(sc, start, err);
}

/* ---- Truth ------------------------------------------------------------------------------------------------
 */

static bool is_number(struct slice text, bool *zero_ret)
{
	uint32_t i = text.len && text.ptr[0] == '-';

	*zero_ret = true;
	if (i == text.len)
		return false;
	for (; i < text.len; i++) {
		if (!ascii_is_digit(text.ptr[i]))
			return false;
		if (text.ptr[i] != '0')
			*zero_ret = false;
	}
	return true;
}

enum rc expand_truth(struct slice value, bool lax, bool *ret, struct err *err)
{
	struct slice text = slice_trim(value);
	bool zero;

	if (slice_eq(text, SLICE("-"))) /* a number without digits */
		text = SLICE_EMPTY;
	if (lax) {
		*ret = text.len && !slice_eq(text, SLICE("0")) && !slice_eq_nocase(text, SLICE("no")) &&
		       !slice_eq_nocase(text, SLICE("false"));
		return OK;
	}
	if (text.len == 0 || slice_eq_nocase(text, SLICE("false")) || slice_eq_nocase(text, SLICE("no")))
		*ret = false;
	else if (slice_eq_nocase(text, SLICE("true")) || slice_eq_nocase(text, SLICE("yes")))
		*ret = true;
	else if (is_number(text, &zero))
		*ret = !zero;
	else
		return err_set(err, FAIL, "unrecognised boolean value \"%.*s\"", SLICE_ARG(text));
	return OK;
}

static enum rc bool_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct slice arg;
	enum rc rc = args_eval(sc, call, 1, &arg, err);

	return rc == OK ? expand_truth(arg, call->name.len > 4, ret, err) : rc;
}

/* ---- The rest ---------------------------------------------------------------------------------------------
 */

static enum rc isip_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	char kind = call->name.ptr[call->name.len - 1];
	struct slice arg;
	ptrdiff_t zone;
	struct ip_addr ip;
	enum rc rc = args_eval(sc, call, 1, &arg, err);

	if (rc != OK)
		return rc;
	zone = slice_find(arg, '%');
	if (zone > 0 && slice_find(arg, ':') >= 0)
		arg = slice_sub(arg, 0, (size_t)zone);
	*ret = ip_parse(arg, &ip);
	/* What was written counts: a mapped address (::ffff:1.2.3.4) is one of IPv6. */
	if (*ret && kind != 'p')
		*ret = (slice_find(arg, ':') >= 0) == (kind == '6');
	return OK;
}

static enum rc first_delivery_eval(struct scope *sc, const struct expand_call *call, bool *ret,
				   struct err *err)
{
	(void)call;
	(void)err;
	*ret = sc->message && sc->message->deliver_firsttime;
	return OK;
}

static enum rc queue_running_eval(struct scope *sc, const struct expand_call *call, bool *ret,
				  struct err *err)
{
	(void)call;
	(void)err;
	*ret = sc->queue_running;
	return OK;
}

static enum rc unsupported_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	(void)ret;
	return err_set(err, FAIL, "support for \"%.*s\" not compiled%s", SLICE_ARG(call->name),
		       sc ? "" : ": the condition \"saslauthd\" can ask the same");
}

#define PURE2(name, eval)                        \
	&(const struct expand_condition)         \
	{                                        \
		name, 2, 2, CONDITION_PURE, eval \
	}
#define PURE1(name, eval)                        \
	&(const struct expand_condition)         \
	{                                        \
		name, 1, 1, CONDITION_PURE, eval \
	}
#define PURE0(name, eval)                        \
	&(const struct expand_condition)         \
	{                                        \
		name, 0, 0, CONDITION_PURE, eval \
	}

#define MISSING(name)                                                            \
	&(const struct expand_condition)                                         \
	{                                                                        \
		name, 1, 1, CONDITION_PURE | CONDITION_MISSING, unsupported_eval \
	}

const struct expand_condition *const expand_conditions[] = {
    PURE2("eq", eq_eval),
    PURE2("eqi", eqi_eval),
    PURE2("lt", order_eval),
    PURE2("lti", order_eval),
    PURE2("le", order_eval),
    PURE2("lei", order_eval),
    PURE2("gt", order_eval),
    PURE2("gti", order_eval),
    PURE2("ge", order_eval),
    PURE2("gei", order_eval),
    PURE2("=", number_eval),
    PURE2("==", number_eval),
    PURE2("<", number_eval),
    PURE2("<=", number_eval),
    PURE2(">", number_eval),
    PURE2(">=", number_eval),
    &(const struct expand_condition){"match", 2, 2, 0, match_eval},
    PURE1("bool", bool_eval),
    PURE1("bool_lax", bool_eval),
    PURE1("isip", isip_eval),
    PURE1("isip4", isip_eval),
    PURE1("isip6", isip_eval),
    PURE1("exists", exists_eval),
    PURE2("crypteq", crypteq_eval),
    PURE0("first_delivery", first_delivery_eval),
    PURE0("queue_running", queue_running_eval),
    MISSING("pam"),
    MISSING("radius"),
    MISSING("pwcheck"),
    &(const struct expand_condition){"saslauthd", 2, 4, CONDITION_BRACED | CONDITION_PURE, saslauthd_eval},
    NULL,
};
