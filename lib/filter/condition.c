/* Conditions of Exim filters, from text to tree. "and" binds tighter than "or"; brackets and "not" as one expects. */
#include "tree.h"

static const struct {
	const char *word;
	enum condition_kind kind;
	bool caseful;
} tests[] = {
    {"BEGIN", COND_BEGINS, true},
    {"BEGINS", COND_BEGINS, true},
    {"CONTAIN", COND_CONTAINS, true},
    {"CONTAINS", COND_CONTAINS, true},
    {"END", COND_ENDS, true},
    {"ENDS", COND_ENDS, true},
    {"IS", COND_IS, true},
    {"MATCH", COND_MATCHES, true},
    {"MATCHES", COND_MATCHES, true},
    {"above", COND_ABOVE, false},
    {"begin", COND_BEGINS, false},
    {"begins", COND_BEGINS, false},
    {"below", COND_BELOW, false},
    {"contain", COND_CONTAINS, false},
    {"contains", COND_CONTAINS, false},
    {"end", COND_ENDS, false},
    {"ends", COND_ENDS, false},
    {"is", COND_IS, false},
    {"match", COND_MATCHES, false},
    {"matches", COND_MATCHES, false},
};

static bool is_test(struct slice word, struct condition *condition)
{
	for (unsigned i = 0; i < ARRAY_COUNT(tests); i++)
		if (slice_eq(word, slice_of(tests[i].word))) {
			condition->kind = tests[i].kind;
			condition->caseful = tests[i].caseful;
			return true;
		}
	return false;
}

static struct condition *condition_new(struct parse *p, enum condition_kind kind)
{
	struct condition *c = arena_make(p->words.arena, struct condition);

	if (c)
		*c = (struct condition){.kind = kind, .left = SLICE_EMPTY, .right = SLICE_EMPTY};
	return c;
}

/* "is", "is not", "does", "does not", and then a test; behind "is" the test may be missing: then it is "is" itself. */
static enum rc test_word(struct parse *p, struct condition *c)
{
	struct slice word, verb = SLICE_EMPTY, saved = SLICE_EMPTY;
	enum rc rc = words_word(&p->words, true, &word);

	if (rc != OK)
		return rc;
	if (slice_eq_nocase(word, SLICE("does")) || slice_eq_nocase(word, SLICE("is"))) {
		verb = word;
		saved = p->words.rest;
		rc = words_word(&p->words, true, &word);
		if (rc == OK && slice_eq_nocase(word, SLICE("not"))) {
			c->negated = !c->negated;
			saved = p->words.rest;
			rc = words_word(&p->words, true, &word);
		}
		if (rc != OK)
			return rc;
	}
	if (is_test(word, c))
		return OK;
	if (verb.len ==
	    2) { /* what follows is no test but the string to compare with; lines count twice then, as in Exim */
		p->words.rest = saved;
		(void)is_test(verb, c);
		if (!slice_eq(verb, SLICE("IS")))
			c->kind = COND_IS;
		return OK;
	}
	return err_set(p->words.err, FAIL, "unrecognized condition word \"%.*s\" near line %u of filter file",
		       SLICE_ARG(word), p->words.line);
}

static enum rc parse_personal(struct parse *p, struct condition *c)
{
	struct alias **last = &c->aliases;
	struct slice word, saved;
	enum rc rc;

	c->kind = COND_PERSONAL;
	for (;;) {
		saved = p->words.rest;
		rc = words_word(&p->words, true, &word);
		if (rc != OK)
			return rc;
		if (!slice_eq(word, SLICE("alias"))) {
			p->words.rest = saved;
			return OK;
		}
		*last = arena_make(p->words.arena, struct alias);
		if (!*last)
			return err_memory(p->words.err);
		rc = words_item(&p->words, true, &(*last)->text);
		if (rc == OK)
			rc = parse_count(p);
		if (rc != OK)
			return rc;
		last = &(*last)->next;
	}
}

static enum rc parse_any(struct parse *p, bool bracket, struct condition **ret);

/* Inside brackets: the "(" is taken already. */
static enum rc parse_group(struct parse *p, struct condition **ret)
{
	enum rc rc = parse_enter(p);

	if (rc == OK)
		rc = parse_any(p, true, ret);
	p->depth--;
	return rc;
}

static bool take_bracket(struct parse *p)
{
	if (!words_at(&p->words, '('))
		return false;
	p->words.rest = slice_from(p->words.rest, 1);
	words_skip(&p->words);
	return true;
}

static enum rc parse_for_any(struct parse *p, struct condition *c)
{
	enum rc rc = words_item(&p->words, true, &c->left);

	c->kind = COND_FOR_ANY_ADDRESS;
	if (rc != OK)
		return rc;
	if (!take_bracket(p))
		return err_set(p->words.err, FAIL,
			       "\"(\" expected after \"foranyaddress\" near line %u of filter file",
			       p->words.line);
	return parse_group(p, &c->parts);
}

static enum rc parse_plain(struct parse *p, struct condition *c)
{
	static const struct {
		const char *word;
		enum condition_kind kind;
	} plain[] = {
	    {"delivered", COND_DELIVERED},
	    {"error_message", COND_ERROR_MESSAGE},
	    {"first_delivery", COND_FIRST_DELIVERY},
	    {"manually_thawed", COND_MANUALLY_THAWED},
	};
	enum rc rc = words_item(&p->words, true, &c->left);

	if (rc != OK)
		return rc;
	for (unsigned i = 0; i < ARRAY_COUNT(plain); i++)
		if (slice_eq(c->left, slice_of(plain[i].word))) {
			c->kind = plain[i].kind;
			return OK;
		}
	if (slice_eq(c->left, SLICE("personal")))
		return parse_personal(p, c);
	if (slice_eq(c->left, SLICE("foranyaddress")))
		return parse_for_any(p, c);
	rc = test_word(p, c);
	return rc == OK ? words_item(&p->words, true, &c->right) : rc;
}

/* One condition, with the "not"s in front of it. */
static enum rc parse_one(struct parse *p, struct condition **ret)
{
	struct condition *c = condition_new(p, COND_IS);
	struct words saved;
	struct slice word;
	bool negated = false;
	enum rc rc = c ? parse_count(p) : err_memory(p->words.err);

	while (rc == OK) {
		if (words_end(&p->words))
			return err_set(p->words.err, FAIL, "\"then\" missing at end of filter file");
		if (take_bracket(p)) {
			rc = parse_group(p, &c);
			break;
		}
		if (words_at(&p->words, ')'))
			return err_set(p->words.err, FAIL, "unexpected \")\" in line %u of filter file",
				       p->words.line);
		saved = p->words;
		rc = words_at(&p->words, '"') ? OK : words_word(&p->words, true, &word);
		if (rc == OK && !words_at(&saved, '"') && slice_eq(word, SLICE("not"))) {
			negated = !negated;
			continue;
		}
		if (rc == OK && !words_at(&saved, '"') && slice_eq(word, SLICE("then")))
			return err_set(p->words.err, FAIL, "unexpected \"then\" near line %u of filter file",
				       p->words.line);
		p->words = saved;
		if (rc == OK)
			rc = parse_plain(p, c);
		break;
	}
	if (rc != OK)
		return rc;
	c->negated ^= negated;
	*ret = c;
	return OK;
}

/* What joins two conditions, or ends them. */
enum joint { JOINT_AND, JOINT_OR, JOINT_END };

static enum rc parse_joint(struct parse *p, bool bracket, enum joint *ret)
{
	struct slice word;
	enum rc rc;

	if (words_at(&p->words, ')')) {
		if (!bracket)
			return err_set(p->words.err, FAIL, "unexpected \")\" in line %u of filter file",
				       p->words.line);
		p->words.rest = slice_from(p->words.rest, 1);
		words_skip(&p->words);
		*ret = JOINT_END;
		return OK;
	}
	if (words_at(&p->words, '('))
		return err_set(p->words.err, FAIL, "unexpected \"(\" in line %u of filter file",
			       p->words.line);
	rc = words_word(&p->words, false, &word);
	if (rc != OK)
		return rc;
	if (slice_eq(word, SLICE("and")))
		*ret = JOINT_AND;
	else if (slice_eq(word, SLICE("or")))
		*ret = JOINT_OR;
	else if (slice_eq(word, SLICE("then")) && bracket)
		return err_set(p->words.err, FAIL,
			       "missing \")\" at end of condition near line %u of filter file",
			       p->words.line);
	else if (slice_eq(word, SLICE("then")))
		*ret = JOINT_END;
	else
		return err_set(
		    p->words.err, FAIL,
		    "\"and\" or \"or\" or \"%s\" expected near line %u of filter file, but found \"%.*s\"",
		    bracket ? ")" : "then", p->words.line, SLICE_ARG(word));
	return OK;
}

/* a and b or c and d: lists of lists, so that a long chain costs no depth. */
static enum rc parse_any(struct parse *p, bool bracket, struct condition **ret)
{
	struct condition *any = condition_new(p, COND_ANY), *all, **next_all, **next;
	enum joint joint = JOINT_OR;
	enum rc rc;

	if (!any)
		return err_memory(p->words.err);
	next_all = &any->parts;
	do {
		all = *next_all = condition_new(p, COND_ALL);
		if (!all)
			return err_memory(p->words.err);
		next_all = &all->next;
		next = &all->parts;
		do {
			rc = parse_one(p, next);
			if (rc == OK)
				rc = parse_joint(p, bracket, &joint);
			if (rc != OK)
				return rc;
			next = &(*next)->next;
		} while (joint == JOINT_AND);
	} while (joint == JOINT_OR);
	*ret = any;
	return OK;
}

enum rc exim_condition_parse(struct parse *p, const struct condition **ret)
{
	struct condition *c = NULL;
	enum rc rc = parse_any(p, false, &c);

	*ret = c;
	return rc;
}
