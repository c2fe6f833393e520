/* Conditions of Exim filters, asked of the message at hand. */
#include <errno.h>
#include <stdlib.h>

#include "tree.h"

static const char in_file[] = "filter file";

/* A number with an optional K or M behind it. 0x and 0 begin numbers of other bases, as in Exim. */
static enum rc number(struct run *run, struct slice text, int64_t *ret)
{
	char *s = arena_cstr(run->sc->task->arena, text), *end;
	long long value;
	int64_t factor = 1;

	if (!s)
		return err_memory(run->err);
	errno = 0;
	value = strtoll(s, &end, 0);
	if (end != s && (*end == 'k' || *end == 'K' || *end == 'm' || *end == 'M'))
		factor = *end++ == 'k' || end[-1] == 'K' ? 1024 : 1024 * 1024;
	while (end != s && ascii_is_space(*end))
		end++;
	if (end == s || end != s + text.len)
		return err_set(run->err, FAIL, "malformed numerical string \"%.*s\"", SLICE_ARG(text));
	if (__builtin_mul_overflow(value, factor, ret))
		*ret = value < 0 ? INT64_MIN : INT64_MAX;
	return OK;
}

static enum rc compare_numbers(struct run *run, const struct condition *c, struct slice left,
			       struct slice right, bool *ret)
{
	int64_t a, b;
	enum rc rc = number(run, left, &a);

	if (rc == OK)
		rc = number(run, right, &b);
	if (rc == OK)
		*ret = c->kind == COND_ABOVE ? a > b : a < b;
	return rc;
}

static enum rc match(struct run *run, const struct condition *c, struct slice left, struct slice right,
		     bool *ret)
{
	struct scope *sc = run->sc;
	struct slice numbers[ARRAY_COUNT(sc->numeric)];
	const struct regex *regex;
	unsigned count = 0;
	enum rc rc = regex_cached(sc->task->shard, right, c->caseful ? 0 : REGEX_NOCASE, &regex, run->err);

	if (rc != OK)
		return rc;
	rc = regex_match(regex, left, numbers, ARRAY_COUNT(numbers), &count, run->err);
	*ret = rc == OK;
	if (rc == OK) { /* kept beyond the condition: what follows may use them, and so may the commands */
		for (unsigned i = 0; i < ARRAY_COUNT(sc->numeric); i++)
			sc->numeric[i] = i < count ? numbers[i] : (struct slice){NULL, 0, CLEAN};
		sc->numeric_count = count;
	}
	/* Limits were hit: no match, rather than mail that waits for ever. */
	return rc == CANCELLED ? rc : OK;
}

static bool contains(struct slice text, struct slice what, bool caseful)
{
	if (caseful)
		return what.len == 0 || slice_search(text, what) >= 0;
	for (uint32_t at = 0; what.len && at + what.len <= text.len;
	     at++) /* nothing is nowhere, as in Exim */
		if (slice_starts_nocase(slice_from(text, at), what))
			return true;
	return false;
}

static enum rc compare(struct run *run, const struct condition *c, bool *ret)
{
	struct slice left, right;
	enum rc rc = run_expand(run, c->left, in_file, &left);

	if (rc == OK)
		rc = run_expand(run, c->right, in_file, &right);
	if (rc != OK)
		return rc;
	switch (c->kind) {
	case COND_BEGINS:
		*ret = c->caseful ? slice_starts(left, right) : slice_starts_nocase(left, right);
		return OK;
	case COND_ENDS:
		*ret = c->caseful ? slice_ends(left, right) : slice_ends_nocase(left, right);
		return OK;
	case COND_IS:
		*ret = c->caseful ? slice_eq(left, right) : slice_eq_nocase(left, right);
		return OK;
	case COND_CONTAINS:
		*ret = contains(left, right, c->caseful);
		return OK;
	case COND_MATCHES:
		return match(run, c, left, right, ret);
	default:
		return compare_numbers(run, c, left, right, ret);
	}
}

/* $thisaddress is each address of the list in turn, and stays at the one that was true. */
static enum rc for_any_address(struct run *run, const struct condition *c, bool *ret)
{
	struct scope *sc = run->sc;
	struct slice rest, saved = sc->this_address;
	struct address_parts parts;
	enum rc rc = run_expand(run, c->left, in_file, &rest);

	*ret = false;
	while (rc == OK) {
		struct err err = err_make(sc->task->arena);

		rc = run_step(run);
		if (rc != OK)
			break;
		rc = address_next(sc->task->arena, &rest,
				  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8,
				  &parts, &err);
		if (rc == FAIL && err.text.len == 0) {
			rc = OK;
			break;
		}
		if (rc == FAIL) { /* one that is none */
			rc = OK;
			continue;
		}
		if (rc != OK)
			break;
		sc->this_address = parts.full;
		rc = condition_test(run, c->parts, ret);
		if (rc != OK || *ret)
			return rc;
	}
	sc->this_address = saved;
	return rc;
}

static enum rc parts_test(struct run *run, const struct condition *c, bool *ret)
{
	enum rc rc = OK;

	*ret = c->kind == COND_ALL;
	for (const struct condition *part = c->parts; part && rc == OK && *ret == (c->kind == COND_ALL);
	     part = part->next)
		rc = condition_test(run, part, ret);
	return rc;
}

enum rc condition_test(struct run *run, const struct condition *c, bool *ret)
{
	const struct message *m = run->sc->message;
	enum rc rc = run_step(run);

	if (rc != OK)
		return rc;
	switch (c->kind) {
	case COND_ALL:
	case COND_ANY:
		rc = parts_test(run, c, ret);
		break;
	case COND_PERSONAL:
		rc = personal_test(run, c->aliases, ret);
		break;
	case COND_DELIVERED:
		*ret = run->delivered;
		break;
	case COND_ERROR_MESSAGE:
		*ret = scope_sender(run->sc).len == 0;
		break;
	case COND_FIRST_DELIVERY:
		*ret = run->rules->first_delivery;
		break;
	case COND_MANUALLY_THAWED:
		*ret = m->manual_thaw;
		break;
	case COND_FOR_ANY_ADDRESS:
		rc = for_any_address(run, c, ret);
		break;
	default:
		rc = compare(run, c, ret);
		break;
	}
	*ret ^= c->negated;
	return rc;
}
