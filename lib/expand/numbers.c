/* numbers: how the language reads integers, ${eval and ${eval10, the positional number systems, time
 * intervals and random numbers. Arithmetic wraps where the language's users have always seen it wrap
 * (products, shifts) and is an error where they have always seen one (sums, differences, division by zero).
 */

#include "items.h"
#include "tree.h"

/* ---- Integers of conditions -------------------------------------------------------------------------------
 */

static unsigned suffix_shift(char c)
{
	switch (ascii_lower(c)) {
	case 'k':
		return 10;
	case 'm':
		return 20;
	case 'g':
		return 30;
	}
	return 0;
}

enum rc integer_read(struct slice text, int64_t *ret, struct err *err)
{
	struct slice s = slice_trim(text);
	bool negative = s.len && s.ptr[0] == '-', overflow = false;
	uint32_t i = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+'), digits;
	int64_t value = 0;

	if (s.len == 0) {
		*ret = 0;
		return OK;
	}
	for (digits = i; i < s.len && ascii_is_digit(s.ptr[i]); i++)
		overflow |= __builtin_mul_overflow(value, 10, &value) ||
			    __builtin_sub_overflow(value, s.ptr[i] - '0', &value);
	if (i == digits)
		return err_set(err, FAIL, "integer expected but \"%.*s\" found", SLICE_ARG(text));
	if (i < s.len && suffix_shift(s.ptr[i])) {
		overflow |= __builtin_mul_overflow(value, (int64_t)1 << suffix_shift(s.ptr[i]), &value);
		i++;
	}
	if (i < s.len)
		return err_set(err, FAIL, "invalid integer \"%.*s\"", SLICE_ARG(text));
	/* Collected below zero, where there is room for one more. */
	if (overflow || (!negative && value == INT64_MIN))
		return err_set(err, FAIL, "absolute value of integer \"%.*s\" is too large (overflow)",
			       SLICE_ARG(text));
	*ret = negative ? value : -value;
	return OK;
}

/* ---- ${eval -----------------------------------------------------------------------------------------------
 */

struct eval {
	struct slice text;
	uint32_t at;
	bool decimal;
	unsigned depth;    /* of parentheses and signs */
	const char *error; /* the first mistake */
};
#define EVAL_DEPTH_MAX 500

static int64_t eval_or(struct eval *e);

static int64_t eval_error(struct eval *e, const char *error)
{
	if (!e->error)
		e->error = error;
	return 0;
}

static char eval_next(struct eval *e)
{
	while (e->at < e->text.len && ascii_is_space(e->text.ptr[e->at]))
		e->at++;
	return e->at < e->text.len ? e->text.ptr[e->at] : 0;
}

/* Takes the operator off the front. */
static bool eval_take(struct eval *e, const char *op)
{
	size_t len = strlen(op);

	(void)eval_next(e);
	if (e->text.len - e->at < len || memcmp(e->text.ptr + e->at, op, len) != 0)
		return false;
	e->at += (uint32_t)len;
	return true;
}

/* Past the largest number the largest number stands, as in C's strtol(). */
static int64_t eval_digits(struct eval *e)
{
	int base = 10;
	uint64_t value = 0;
	bool overflow = false;

	if (!e->decimal && e->text.ptr[e->at] == '0') {
		base = 8;
		if (e->at + 1 < e->text.len && ascii_lower(e->text.ptr[e->at + 1]) == 'x') {
			base = 16;
			e->at += 2;
		}
	}
	for (; e->at < e->text.len; e->at++) {
		int digit = hex_digit(e->text.ptr[e->at]);

		if (digit < 0 || digit >= base)
			break;
		overflow |= __builtin_mul_overflow(value, (uint64_t)base, &value) ||
			    __builtin_add_overflow(value, (uint64_t)digit, &value);
	}
	return overflow || value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static int64_t eval_number(struct eval *e)
{
	int64_t value;
	unsigned shift;

	if (e->error)
		return 0;
	if (eval_take(e, "(")) {
		value = eval_or(e);
		if (!e->error && !eval_take(e, ")"))
			return eval_error(e, "expecting closing parenthesis");
		return value;
	}
	if (!ascii_is_digit(eval_next(e)))
		return eval_error(e, "expecting number or opening parenthesis");
	value = eval_digits(e);
	shift = e->at < e->text.len ? suffix_shift(e->text.ptr[e->at]) : 0;
	if (shift)
		e->at++;
	return (int64_t)((uint64_t)value << shift);
}

static int64_t eval_unary(struct eval *e)
{
	int64_t value;

	if (e->depth >= EVAL_DEPTH_MAX || fiber_stack_left() < EXPAND_STACK_MIN)
		return eval_error(e, "nested too deeply");
	e->depth++;
	if (eval_take(e, "~"))
		value = ~eval_unary(e);
	else if (eval_take(e, "-"))
		value = (int64_t)(0 - (uint64_t)eval_unary(e));
	else if (eval_take(e, "+"))
		value = eval_unary(e);
	else
		value = eval_number(e);
	e->depth--;
	return value;
}

static int64_t eval_divide(struct eval *e, int64_t a, int64_t b, bool remainder)
{
	if (e->error)
		return 0;
	if (b == 0)
		return eval_error(e, remainder ? "modulo by zero" : "divide by zero");
	/* The one quotient that does not fit. Its remainder is given as the quotient is: so it has always
	 * been. */
	if (a == INT64_MIN && b == -1)
		return INT64_MAX;
	return remainder ? a % b : a / b;
}

static int64_t eval_product(struct eval *e)
{
	int64_t value = eval_unary(e);

	while (!e->error) {
		if (eval_take(e, "*"))
			value = (int64_t)((uint64_t)value * (uint64_t)eval_unary(e));
		else if (eval_take(e, "/"))
			value = eval_divide(e, value, eval_unary(e), false);
		else if (eval_take(e, "%"))
			value = eval_divide(e, value, eval_unary(e), true);
		else
			break;
	}
	return value;
}

static int64_t eval_sum(struct eval *e)
{
	int64_t value = eval_product(e), more;

	while (!e->error) {
		if (eval_take(e, "+")) {
			more = eval_product(e);
			if (!e->error && __builtin_add_overflow(value, more, &value))
				return eval_error(e, "overflow in sum");
		} else if (eval_take(e, "-")) {
			more = eval_product(e);
			if (!e->error && __builtin_sub_overflow(value, more, &value))
				return eval_error(e, "overflow in difference");
		} else {
			break;
		}
	}
	return value;
}

static int64_t eval_shift(struct eval *e)
{
	int64_t value = eval_sum(e);

	while (!e->error) {
		/* As the processor counts: of the distance the lowest six bits. */
		if (eval_take(e, "<<"))
			value = (int64_t)((uint64_t)value << (eval_sum(e) & 63));
		else if (eval_take(e, ">>"))
			value >>= eval_sum(e) & 63;
		else
			break;
	}
	return value;
}

static int64_t eval_and(struct eval *e)
{
	int64_t value = eval_shift(e);

	while (!e->error && eval_take(e, "&"))
		value &= eval_shift(e);
	return value;
}

static int64_t eval_xor(struct eval *e)
{
	int64_t value = eval_and(e);

	while (!e->error && eval_take(e, "^"))
		value ^= eval_and(e);
	return value;
}

static int64_t eval_or(struct eval *e)
{
	int64_t value = eval_xor(e);

	while (!e->error && eval_take(e, "|"))
		value |= eval_xor(e);
	return value;
}

static enum rc number_result(struct scope *sc, struct slice subject, int64_t value, struct slice *ret,
			     struct err *err)
{
	struct slice s = arena_printf(sc->task->arena, "%lld", (long long)value);

	if (!s.ptr)
		return err_memory(err);
	s.taint = subject.taint;
	*ret = s;
	return OK;
}

static enum rc eval_text(struct scope *sc, struct slice subject, bool decimal, struct slice *ret,
			 struct err *err)
{
	struct eval e = {.text = subject, .decimal = decimal};
	int64_t value = eval_or(&e);

	if (!e.error && eval_next(&e))
		(void)eval_error(&e, "expecting operator");
	if (e.error)
		return err_set(err, FAIL, "error in expression evaluation: %s (after processing \"%.*s\")",
			       e.error, (int)e.at, subject.ptr);
	return number_result(sc, subject, value, ret, err);
}

enum rc op_eval(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err)
{
	return eval_text(sc, subject, slice_eq(arg, SLICE("10")), ret, err);
}

enum rc op_eval10(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	(void)arg;
	return eval_text(sc, subject, true, ret, err);
}

/* ---- Number systems ---------------------------------------------------------------------------------------
 */

static const char base32_digits[] = "abcdefghijklmnopqrstuvwxyz234567";

/* Empty is 0; past the largest number the largest stands. */
static bool decimal_read(struct slice text, uint64_t *ret)
{
	uint64_t value = 0;
	bool overflow = false;

	for (uint32_t i = 0; i < text.len; i++) {
		if (!ascii_is_digit(text.ptr[i]))
			return false;
		overflow |= __builtin_mul_overflow(value, 10, &value) ||
			    __builtin_add_overflow(value, (uint64_t)(text.ptr[i] - '0'), &value);
	}
	*ret = overflow ? UINT64_MAX : value;
	return true;
}

static enum rc not_decimal(const char *name, struct slice subject, struct err *err)
{
	return err_set(err, FAIL, "argument for %s operator is \"%.*s\", which is not a decimal number", name,
		       SLICE_ARG(subject));
}

enum rc op_base32(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	char digits[16];
	size_t at = sizeof(digits);
	uint64_t value;

	(void)arg;
	if (!decimal_read(subject, &value))
		return not_decimal("base32", subject, err);
	for (; value; value >>= 5)
		digits[--at] = base32_digits[value & 31];
	*ret = arena_copy(sc->task->arena,
			  slice_make(digits + at, sizeof(digits) - at, (enum taint)subject.taint));
	return ret->ptr ? OK : err_memory(err);
}

enum rc op_base32d(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		   struct err *err)
{
	uint64_t value = 0;
	const char *digit;

	(void)arg;
	for (uint32_t i = 0; i < subject.len; i++) {
		digit = subject.ptr[i] ? strchr(base32_digits, subject.ptr[i]) : NULL;
		if (!digit)
			return err_set(
			    err, FAIL,
			    "argument for base32d operator is \"%.*s\", which is not a base 32 number",
			    SLICE_ARG(subject));
		value = value << 5 | (uint64_t)(digit - base32_digits);
	}
	return number_result(sc, subject, (int64_t)value, ret, err);
}

enum rc op_base62(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	struct str str = str_make(sc->task->arena);
	uint64_t value;

	(void)arg;
	if (!decimal_read(subject, &value))
		return not_decimal("base62", subject, err);
	base62_encode(&str, value, 6);
	str.taint = subject.taint;
	return str_result(&str, ret, err);
}

enum rc op_base62d(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		   struct err *err)
{
	uint64_t value = 0;

	(void)arg;
	if (subject.len && !base62_decode(subject, &value))
		return err_set(err, FAIL,
			       "argument for base62d operator is \"%.*s\", which is not a base 62 number",
			       SLICE_ARG(subject));
	return number_result(sc, subject, (int64_t)value, ret, err);
}

/* ---- Time, chance, length ---------------------------------------------------------------------------------
 */

enum rc op_time_eval(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		     struct err *err)
{
	int64_t seconds;

	(void)arg;
	if (slice_trim(subject).len != subject.len || !conf_parse_time(subject, &seconds))
		return err_set(err, FAIL,
			       "string \"%.*s\" is not an Exim time interval in \"time_eval\" operator",
			       SLICE_ARG(subject));
	return number_result(sc, subject, seconds, ret, err);
}

enum rc op_time_interval(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			 struct err *err)
{
	struct str str = str_make(sc->task->arena);
	uint64_t seconds;

	(void)arg;
	if (!decimal_read(subject, &seconds))
		return err_set(err, FAIL,
			       "string \"%.*s\" is not a positive number in \"time_interval\" operator",
			       SLICE_ARG(subject));
	conf_print_time(&str, (int64_t)(seconds & INT64_MAX));
	str.taint = subject.taint;
	return str_result(&str, ret, err);
}

enum rc op_randint(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		   struct err *err)
{
	uint64_t bits = 0;
	int64_t max;
	enum rc rc = integer_read(subject, &max, err);

	(void)arg;
	if (rc != OK)
		return rc;
	if (max < 0)
		return err_set(err, FAIL, "non-negative integer expected but \"%.*s\" found",
			       SLICE_ARG(subject));
	rc = shard_needed(sc, "randint", err);
	if (rc != OK)
		return rc;
	shard_random(sc->task->shard, &bits, sizeof(bits));
	return number_result(sc, SLICE_EMPTY, max ? (int64_t)(bits % (uint64_t)max) : 0, ret, err);
}

enum rc op_strlen(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	(void)arg;
	return number_result(sc, SLICE_EMPTY, subject.len, ret, err);
}
