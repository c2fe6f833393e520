/* string_items: items and operators that cut, hash and replace: substr, length, hash, nhash, sg, tr, env. */

#include <stdlib.h>

#include "items.h"
#include "regex.h"
#include "tree.h"

#define NUMBERS_MAX (sizeof(((struct scope *)0)->numeric) / sizeof(struct slice))

enum rc regex_for(struct scope *sc, struct slice pattern, unsigned flags, const struct regex **ret,
		  struct err *err)
{
	if (sc->task->shard)
		return regex_cached(sc->task->shard, pattern, flags, ret, err);
	return regex_compile(sc->task->arena, pattern, flags, ret, err);
}

/* ---- Numbers in arguments ---------------------------------------------------------------------------------
 */

/* Digits with an optional sign, "-" where that makes sense. Empty: *given_ret false. Beyond 2^31 the length of
 * any string. */
static bool argument_number(struct slice text, bool allow_negative, bool *given_ret, int64_t *ret)
{
	bool negative = allow_negative && text.len && text.ptr[0] == '-';
	uint32_t sign = negative || (text.len && text.ptr[0] == '+');
	int64_t value = 0;

	*given_ret = text.len > 0;
	for (uint32_t i = sign; i < text.len; i++) {
		if (!ascii_is_digit(text.ptr[i]))
			return false;
		if (value < INT32_MAX)
			value = value * 10 + (text.ptr[i] - '0');
	}
	*ret = negative ? -value : value;
	return !(sign && text.len == 1);
}

/* ${name_1_2: is the same as ${name{1}{2}. *name_len of messages: what was written before the arguments. */
static enum rc operator_numbers(const char *name, struct slice arg, bool allow_negative, int64_t *first,
				int64_t *second, bool *second_given, struct err *err)
{
	struct slice parts[2] = {arg, SLICE_EMPTY};
	ptrdiff_t at = slice_find(arg, '_');
	bool given;

	if (arg.len == 0)
		return err_set(err, FAIL, "missing values after %s", name);
	/* "name_:": the underscore alone was handed on, and is a number of no digits, which is 0. */
	*first = *second = 0;
	*second_given = false;
	if (slice_eq(arg, SLICE("_")))
		return OK;
	if (at >= 0) {
		parts[0] = slice_sub(arg, 0, (size_t)at);
		parts[1] = slice_from(arg, (size_t)at + 1);
	}
	if (!argument_number(parts[0], allow_negative, &given, first) || !given ||
	    !argument_number(parts[1], false, second_given, second) || (at >= 0 && !*second_given))
		return err_set(err, FAIL, "non-digit after underscore in \"%s_%.*s\"", name, SLICE_ARG(arg));
	return OK;
}

/* ---- substr, length ---------------------------------------------------------------------------------------
 */

static struct slice substr(struct slice subject, int64_t start, bool len_given, int64_t len)
{
	int64_t size = subject.len;

	if (start >= 0) {
		if (start > size)
			start = size;
		if (!len_given || len > size - start)
			len = size - start;
		return slice_sub(subject, (size_t)start, (size_t)len);
	}
	if (!len_given) {
		/* All that is before the offset. */
		return slice_sub(subject, 0, -start > size ? 0 : (size_t)(size + start));
	}
	start += size;
	if (start < 0) {
		len += start; /* what lies before the string is lost from the length */
		start = 0;
		if (len < 0)
			len = 0;
	}
	if (len > size - start)
		len = size - start;
	return slice_sub(subject, (size_t)start, (size_t)len);
}

enum rc op_substr(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	int64_t start, len;
	bool len_given;
	enum rc rc = operator_numbers("substr", arg, true, &start, &len, &len_given, err);

	(void)sc;
	if (rc == OK)
		*ret = substr(subject, start, len_given, len);
	return rc;
}

enum rc op_length(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	int64_t len, unused;
	bool given;
	enum rc rc = operator_numbers("length", arg, false, &len, &unused, &given, err);

	(void)sc;
	if (rc == OK && given)
		rc = err_set(err, FAIL, "non-digit after underscore in \"length_%.*s\"", SLICE_ARG(arg));
	if (rc == OK)
		*ret = slice_sub(subject, 0, (size_t)len);
	return rc;
}

static enum rc number_error(struct slice text, bool positive, struct slice name, struct err *err)
{
	return err_set(err, FAIL, "\"%.*s\" is not a %snumber (in \"%.*s\" expansion)", SLICE_ARG(text),
		       positive ? "positive " : "", SLICE_ARG(name));
}

/* The last argument is the subject, those before it numbers. */
static enum rc item_numbers(struct scope *sc, const struct expand_call *call, bool allow_negative,
			    int64_t *numbers, bool *given, struct slice *subject_ret, struct err *err)
{
	struct slice args[3];
	enum rc rc = OK;

	for (unsigned i = 0; i < call->arg_count && rc == OK; i++)
		rc = expand(sc, call->args[i], &args[i], err);
	for (unsigned i = 0; i + 1 < call->arg_count && rc == OK; i++)
		if (!argument_number(args[i], allow_negative && i == 0, &given[i], &numbers[i]))
			rc = number_error(args[i], i || slice_eq(call->name, SLICE("length")), call->name,
					  err);
	if (rc == OK)
		*subject_ret = args[call->arg_count - 1];
	return rc;
}

static enum rc substr_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			   struct err *err)
{
	int64_t numbers[2] = {0, 0};
	bool given[2] = {false, false};
	struct slice subject;
	enum rc rc = item_numbers(sc, call, true, numbers, given, &subject, err);

	if (rc == OK)
		*ret = substr(subject, numbers[0], call->arg_count == 3, numbers[1]);
	return rc;
}

static enum rc length_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			   struct err *err)
{
	int64_t number = 0;
	bool given = false;
	struct slice subject;
	enum rc rc = item_numbers(sc, call, false, &number, &given, &subject, err);

	if (rc == OK)
		*ret = slice_sub(subject, 0, (size_t)number);
	return rc;
}

const struct expand_item item_substr = {"substr", 2, 3, 0, substr_eval, NULL};
const struct expand_item item_length = {"length", 2, 2, 0, length_eval, NULL};

/* ---- hash, nhash ------------------------------------------------------------------------------------------
 */

/* In the order that Exim really uses ("rts"; the manual's differs), so that directories made with it are
 * found again. */
static const char hash_letters[] = "abcdefghijklmnopqrtsuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

static enum rc hash(struct scope *sc, struct slice subject, int64_t len, int64_t letters, struct slice *ret,
		    struct err *err)
{
	unsigned char *out;

	if (letters > (int64_t)sizeof(hash_letters) - 1)
		return err_set(err, FAIL, "hash count \"%lld\" too big", (long long)letters);
	if (len >= subject.len || len == 0) {
		*ret = slice_sub(subject, 0, (size_t)(len ? subject.len : 0));
		return OK;
	}
	if (letters < 1)
		return err_set(err, FAIL, "hash count \"%lld\" too small", (long long)letters);
	out = (unsigned char *)arena_bytes(sc->task->arena, (size_t)len + 1);
	if (!out)
		return err_memory(err);
	memcpy(out, subject.ptr, (size_t)len);
	/* Each byte of the surplus, rotated by its value and place, is folded onto the front, round and
	 * round. */
	for (uint32_t i = (uint32_t)len, at = 0; len && i < subject.len; i++) {
		unsigned c = (unsigned char)subject.ptr[i], shift = (c + i) & 7;

		out[at] ^= (unsigned char)(c << shift | c >> (8 - shift));
		at = at + 1 < (uint32_t)len ? at + 1 : 0;
	}
	for (int64_t i = 0; i < len; i++)
		out[i] = (unsigned char)hash_letters[out[i] % letters];
	*ret = slice_make((const char *)out, (size_t)len, (enum taint)subject.taint);
	return OK;
}

enum rc op_hash(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err)
{
	int64_t len, letters;
	bool given;
	enum rc rc = operator_numbers("hash", arg, false, &len, &letters, &given, err);

	return rc == OK ? hash(sc, subject, len, given ? letters : 26, ret, err) : rc;
}

static enum rc hash_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	int64_t numbers[2] = {0, 26};
	bool given[2] = {false, false};
	struct slice subject;
	enum rc rc = item_numbers(sc, call, false, numbers, given, &subject, err);

	return rc == OK ? hash(sc, subject, numbers[0], given[1] ? numbers[1] : 26, ret, err) : rc;
}

/* The bytes' sum, weighted with primes from the largest down. second 0: one number. */
static enum rc nhash(struct scope *sc, struct slice subject, int64_t first, bool two, int64_t second,
		     struct slice *ret, struct err *err)
{
	static const uint8_t primes[] = {3,  5,  7,  11, 13, 17, 19, 23, 29, 31,  37,  41,  43,  47, 53,
					 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113};
	uint64_t total = 0;
	struct slice s;

	if (first < 1 || (two && second < 1))
		return err_set(err, FAIL, "nhash needs numbers above zero");
	for (uint32_t i = 0; i < subject.len; i++)
		total +=
		    primes[sizeof(primes) - 1 - i % sizeof(primes)] * (uint64_t)(unsigned char)subject.ptr[i];
	if (two) {
		total %= (uint64_t)(first * second);
		s = arena_printf(sc->task->arena, "%llu/%llu", (unsigned long long)(total / (uint64_t)second),
				 (unsigned long long)(total % (uint64_t)second));
	} else {
		s = arena_printf(sc->task->arena, "%llu", (unsigned long long)(total % (uint64_t)first));
	}
	if (!s.ptr)
		return err_memory(err);
	*ret = s;
	return OK;
}

enum rc op_nhash(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err)
{
	int64_t first, second;
	bool two;
	enum rc rc = operator_numbers("nhash", arg, false, &first, &second, &two, err);

	return rc == OK ? nhash(sc, subject, first, two, second, ret, err) : rc;
}

static enum rc nhash_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			  struct err *err)
{
	int64_t numbers[2] = {0, 0};
	bool given[2] = {false, false};
	struct slice subject;
	enum rc rc = item_numbers(sc, call, false, numbers, given, &subject, err);

	return rc == OK ? nhash(sc, subject, numbers[0], given[1], numbers[1], ret, err) : rc;
}

const struct expand_item item_hash = {"hash", 2, 3, 0, hash_eval, NULL};
const struct expand_item item_nhash = {"nhash", 2, 3, 0, nhash_eval, NULL};

/* ---- tr ---------------------------------------------------------------------------------------------------
 */

static enum rc args_eval(struct scope *sc, const struct expand_call *call, struct slice *args,
			 struct err *err)
{
	enum rc rc = OK;

	for (unsigned i = 0; i < call->arg_count && rc == OK; i++)
		rc = expand(sc, call->args[i], &args[i], err);
	return rc;
}

static enum rc tr_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	struct slice args[3], from, to;
	char *out;
	enum rc rc = args_eval(sc, call, args, err);

	if (rc != OK)
		return rc;
	from = args[1];
	to = args[2];
	*ret = args[0];
	if (to.len == 0 || args[0].len == 0)
		return OK;
	out = arena_bytes(sc->task->arena, args[0].len);
	if (!out)
		return err_memory(err);
	for (uint32_t i = 0; i < args[0].len; i++) {
		/* Of doubles in the list the last one counts. */
		ptrdiff_t at = slice_rfind(from, args[0].ptr[i]);

		out[i] = at < 0 ? args[0].ptr[i] : to.ptr[(uint32_t)at < to.len ? (uint32_t)at : to.len - 1];
	}
	*ret = slice_make(out, args[0].len, (enum taint)(args[0].taint | to.taint));
	return OK;
}

const struct expand_item item_tr = {"tr", 3, 3, 0, tr_eval, NULL};

/* ---- sg ---------------------------------------------------------------------------------------------------
 */

/* The work of one ${sg: the replacement has been expanded once already; what it holds of $1 is expanded again
 * with the parts of each match. */
struct sg {
	struct slice subject, pattern;
	const struct expansion *replacement;
	struct str out;
};

static enum rc sg_replace(struct scope *sc, struct sg *sg, const struct slice *numbers, unsigned count,
			  struct err *err)
{
	struct slice text;
	enum rc rc;

	memcpy(sc->numeric, numbers, count * sizeof(*numbers));
	sc->numeric_count = count;
	rc = expand(sc, sg->replacement, &text, err);
	if (rc == OK)
		str_add(&sg->out, text);
	if (rc == OK && sg->out.len > EXPAND_RESULT_MAX)
		return err_set(err, FAIL, "the result of the expansion is too long");
	return rc;
}

static enum rc sg_loop(struct scope *sc, struct sg *sg, struct err *err)
{
	struct slice numbers[NUMBERS_MAX];
	const struct regex *regex;
	size_t at = 0, copied = 0;
	bool behind_empty = false;
	uint64_t start;
	unsigned count;
	enum rc rc, worked;

	for (;;) {
		/* Asked for anew each time: the replacement may have used other patterns, and parked. */
		rc = regex_for(sc, sg->pattern, 0, &regex, err);
		if (rc != OK)
			return rc;
		start = work_clock(sc);
		rc = regex_match_at(regex, sg->subject, at, behind_empty, numbers, NUMBERS_MAX, &count, err);
		worked = rc == DEFER ? rc : work_since(sc, start, err);
		if (worked == OK)
			worked = work_add(sc, 1, err);
		if (worked != OK)
			return worked;
		if (rc == FAIL) {
			if (!behind_empty || at >= sg->subject.len)
				break;
			/* As Perl does: past the byte behind the empty match. */
			at++;
			behind_empty = false;
			continue;
		}
		str_add(&sg->out,
			slice_sub(sg->subject, copied, (size_t)(numbers[0].ptr - sg->subject.ptr) - copied));
		at = copied = (size_t)(numbers[0].ptr - sg->subject.ptr) + numbers[0].len;
		behind_empty = numbers[0].len == 0;
		rc = sg_replace(sc, sg, numbers, count, err);
		if (rc != OK)
			return rc;
	}
	str_add(&sg->out, slice_from(sg->subject, copied));
	return OK;
}

static enum rc sg_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	struct slice args[3], numeric[NUMBERS_MAX];
	unsigned count = sc->numeric_count;
	struct sg sg = {.out = str_make(sc->task->arena)};
	enum rc rc = args_eval(sc, call, args, err);

	if (rc != OK)
		return rc;
	sg.subject = args[0];
	sg.pattern = args[1];
	if (args[2].taint == TAINTED && (slice_find(args[2], '$') >= 0 || slice_find(args[2], '\\') >= 0))
		return err_set(err, FAIL, "attempt to expand tainted string '%.*s'", SLICE_ARG(args[2]));
	sg.replacement = expand_compile(sc->conf->language, sc->task->arena, args[2]);
	if (!sg.replacement)
		return err_memory(err);
	memcpy(numeric, sc->numeric, sizeof(numeric));
	rc = sg_loop(sc, &sg, err);
	memcpy(sc->numeric, numeric, sizeof(numeric));
	sc->numeric_count = count;
	return rc == OK ? str_result(&sg.out, ret, err) : rc;
}

const struct expand_item item_sg = {"sg", 3, 3, 0, sg_eval, NULL};

/* ---- env --------------------------------------------------------------------------------------------------
 */

static enum rc env_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	struct slice key;
	const char *name, *value = NULL;
	enum rc rc = expand(sc, call->args[0], &key, err);

	if (rc != OK)
		return rc;
	key = slice_trim(key);
	if (key.len && slice_find(key, 0) < 0 && slice_find(key, '=') < 0) {
		name = arena_cstr(sc->task->arena, key);
		if (!name)
			return err_memory(err);
		value = getenv(name);
	}
	return expand_yes_no(sc, call, value != NULL, slice_of(value), ret, err);
}

const struct expand_item item_env = {"env", 1, 1, ITEM_YES_NO, env_eval, NULL};
