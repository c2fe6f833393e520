/* Rewriting rules: each flag in each place, patterns and replacements, and rules that are none. Whole messages are compared with
 * Exim in tests/e2e/test_rewrite.py. */
#define HARNESS_MATCH
#include "rewrite/rewrite.h"

#define HARNESS_MORE_VARIABLES
#define HARNESS_MORE_GROUPS
#define HARNESS_SECTIONS &rewrite_conf_section,
#include "../lookup/harness.h"

#define ALL_HEADERS REWRITE_HEADERS
static void addresses(struct harness *h)
{
	static const struct {
		const char *rule;
		unsigned where;
		const char *address, *result;
	} rows[] = {
	    /* where */
	    {"*@a.test $1@b.test", REWRITE_ENV_FROM, "x@a.test",
	     "x@a.test"}, /* only header lists come here: see below */
	    {"*@a.test $1@b.test", REWRITE_FROM, "x@a.test", "x@b.test"},
	    {"*@a.test $1@b.test", REWRITE_TO, "x@a.test", "x@b.test"},
	    {"*@a.test $1@b.test f", REWRITE_FROM, "x@a.test", "x@b.test"},
	    {"*@a.test $1@b.test f", REWRITE_TO, "x@a.test", "x@a.test"},
	    {"*@a.test $1@b.test t", REWRITE_TO, "x@a.test", "x@b.test"},
	    {"*@a.test $1@b.test c", REWRITE_CC, "x@a.test", "x@b.test"},
	    {"*@a.test $1@b.test c", REWRITE_BCC, "x@a.test", "x@a.test"},
	    {"*@a.test $1@b.test b", REWRITE_BCC, "x@a.test", "x@b.test"},
	    {"*@a.test $1@b.test r", REWRITE_REPLY_TO, "x@a.test", "x@b.test"},
	    {"*@a.test $1@b.test s", REWRITE_SENDER, "x@a.test", "x@b.test"},
	    {"*@a.test $1@b.test s", REWRITE_FROM, "x@a.test", "x@a.test"},
	    {"*@a.test $1@b.test h", REWRITE_CC, "x@a.test", "x@b.test"},
	    {"*@a.test $1@b.test tc", REWRITE_CC, "x@a.test", "x@b.test"},
	    /* patterns */
	    {"x@a.test y@b.test", REWRITE_FROM, "x@a.test", "y@b.test"},
	    {"x@a.test y@b.test", REWRITE_FROM, "z@a.test", "z@a.test"},
	    {"*@* $1@c.test", REWRITE_FROM, "x@a.test", "x@c.test"},
	    {"x*@a.test $1@c.test", REWRITE_FROM, "xyz@a.test", "xyz@a.test"}, /* only in front */
	    {"*x@a.test $1@c.test", REWRITE_FROM, "zyx@a.test", "zy@c.test"},
	    {"*@*.a.test $1@$2.b.test", REWRITE_FROM, "x@sub.a.test", "x@sub.b.test"},
	    {"*@*.a.test $1@$2.b.test", REWRITE_FROM, "x@a.test", "x@a.test"},
	    {"\\N^(.)(.*)@a\\.test$\\N $2$1@b.test", REWRITE_FROM, "xyz@a.test", "yzx@b.test"},
	    {"*@A.TEST $1@b.test", REWRITE_FROM, "X@a.test", "X@a.test"}, /* as with Exim */
	    {"\"*@a.test\" $1@b.test", REWRITE_FROM, "x@a.test", "x@b.test"},
	    {"*@lsearch;@D/domains $1@\\$domain_data", REWRITE_FROM, "x@a.test", "x@a.test"},
	    /* replacements */
	    {"*@a.test \"$1@b.test\"", REWRITE_FROM, "x@a.test", "x@b.test"},
	    {"<; *@a.test ${uc:$1}@b.test", REWRITE_FROM, "x@a.test", "X@b.test"},
	    {"*@a.test *", REWRITE_FROM, "x@a.test", "x@a.test"}, /* to be left alone */
	    {"*@a.test \"${if eq{$1}{x}{a@b.test}fail}\"", REWRITE_FROM, "y@a.test", "y@a.test"},
	    {"*@a.test not-an-address", REWRITE_FROM, "x@a.test", "x@a.test"},
	    {"<; *@a.test ${nosuch:x}", REWRITE_FROM, "x@a.test", "x@a.test"},
	    {"*@a.test ${lookup{$1}lsearch{@D/users}{$value}fail}", REWRITE_FROM, "x@a.test",
	     "first.last@b.test"},
	    {"*@a.test ${lookup{$1}lsearch{@D/users}{$value}fail}", REWRITE_FROM, "nobody@a.test",
	     "nobody@a.test"},
	    /* several rules: one after the other, and those that stop */
	    {"*@a.test $1@b.test : *@b.test $1@c.test", REWRITE_FROM, "x@a.test", "x@c.test"},
	    {"*@a.test $1@b.test q : *@b.test $1@c.test", REWRITE_FROM, "x@a.test", "x@b.test"},
	    {"*@a.test $1@a.test q : *@a.test $1@c.test", REWRITE_FROM, "x@a.test", "x@a.test"},
	    {"*@a.test \"${if eq{$1}{x}{$1@b.test}fail}\" : *@a.test $1@c.test", REWRITE_FROM, "y@a.test",
	     "y@c.test"},
	    /* R: again, up to ten times */
	    {"\\N^y*x(.*)@a\\.test$\\N y$1@a.test R", REWRITE_FROM, "xxx@a.test", "y@a.test"},
	    {"*@a.test a$1@a.test R", REWRITE_FROM, "x@a.test", "aaaaaaaaaaax@a.test"},
	};

	text_make(h, "users", "x: first.last@b.test\n");
	text_make(h, "domains", "other.test: other\n");
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct err err = err_make(&h->err_arena);
		struct slice list = with_dir(h, rows[i].rule), result = SLICE_EMPTY;
		const struct rewrite_rules *rules = rewrite_rules_parse(h->conf, list, &err);
		enum rc rc = FAIL;

		if (rules)
			rc = rewrite_address(&h->scope, rules, rows[i].where, slice_of(rows[i].address),
					     &result, &err);
		if (rc != OK || !slice_eq(result, slice_of(rows[i].result))) {
			print_error("%s: %s: %d \"%.*s\", wanted \"%s\" (%.*s)\n", rows[i].rule,
				    rows[i].address, rc, SLICE_ARG(result), rows[i].result,
				    SLICE_ARG(err.text));
			h->wrong++;
		}
	}
}

/* Of a transport's headers_rewrite. */
static void mistakes(struct harness *h)
{
	static const char *const rows[] = {
	    "*@a.test",              /* no replacement */
	    "*@a.test $1@b.test y",  /* no such flag */
	    "*@a.test $1@b.test fz", /* one of them */
	    "*@a.test $1@b.test F",  /* for envelopes */
	    "*@a.test $1@b.test T",
	    "*@a.test $1@b.test E",
	    "*@a.test $1@b.test S",
	};

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct err err = err_make(&h->err_arena);

		if (rewrite_rules_parse(h->conf, slice_of(rows[i]), &err) || !err.text.len) {
			print_error("%s: was taken\n", rows[i]);
			h->wrong++;
		}
	}
}

/* The section: envelopes, and the path of a command. */
static void envelopes(struct harness *h)
{
	static const struct {
		unsigned where;
		const char *address, *result;
	} rows[] = {
	    {REWRITE_ENV_FROM, "x@from.test", "x@b.test"}, {REWRITE_ENV_TO, "x@from.test", "x@from.test"},
	    {REWRITE_FROM, "x@from.test", "x@from.test"},  {REWRITE_ENV_TO, "x@to.test", "x@b.test"},
	    {REWRITE_ENV_FROM, "x@to.test", "x@to.test"},  {REWRITE_ENV_FROM, "x@both.test", "x@b.test"},
	    {REWRITE_ENV_TO, "x@both.test", "x@b.test"},   {REWRITE_ENV_TO, "x@all.test", "x@b.test"},
	    {REWRITE_SENDER, "x@all.test", "x@b.test"},    {REWRITE_ENV_FROM, "x@all.test", "x@b.test"},
	};
	static const char *const paths[][2] = {{"<odd!path>", "path@odd.test"},
					       {"<x@a.test>", "<x@a.test>"},
					       {"<>", "<>"},
					       {"odd!path", "path@odd.test"}};
	const struct rewrite_rules *rules = rewrite_rules(h->conf);
	struct err err = err_make(&h->err_arena);
	struct slice result;

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		if (rewrite_address(&h->scope, rules, rows[i].where, slice_of(rows[i].address), &result,
				    &err) != OK ||
		    !slice_eq(result, slice_of(rows[i].result))) {
			print_error("%u %s: \"%.*s\"\n", rows[i].where, rows[i].address, SLICE_ARG(result));
			h->wrong++;
		}
	for (unsigned i = 0; i < ARRAY_COUNT(paths); i++)
		if (rewrite_smtp(&h->scope, slice_of(paths[i][0]), &result, &err) != OK ||
		    !slice_eq(result, slice_of(paths[i][1]))) {
			print_error("%s: \"%.*s\"\n", paths[i][0], SLICE_ARG(result));
			h->wrong++;
		}
	if (!rewrite_wanted(rules, REWRITE_SMTP) || rewrite_wanted(NULL, REWRITE_ENV_TO))
		h->wrong++;
}

#define CONF "primary_hostname = me.example\nqualify_domain = me.example\n"
static void test_addresses(void **state)
{
	(void)state;
	harness_run(CONF, NULL, addresses);
}

static void test_mistakes(void **state)
{
	(void)state;
	harness_run(CONF, NULL, mistakes);
}

static void test_envelopes(void **state)
{
	(void)state;
	harness_run(CONF
		    "begin rewrite\n*@from.test $1@b.test F\n*@to.test $1@b.test T\n*@both.test $1@b.test E\n"
		    "*@all.test $1@b.test\n\\N^<?odd!(.*?)>?$\\N $1@odd.test S\n",
		    NULL, envelopes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses), cmocka_unit_test(test_mistakes),
					   cmocka_unit_test(test_envelopes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
