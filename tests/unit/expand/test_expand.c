/* The language, row by row: what a string comes to, or why it does not. Results and words are Exim 4.98's
 * (-be); rows that differ on purpose say why. Called with -be, it is a filter: a line of input is expanded, a
 * line of output written. */

#include "harness.h"

struct row {
	const char *text;
	const char *result; /* NULL: fails with: */
	const char *error;
};

static const struct row rows[] = {
    {"", "", NULL},
    {"abc", "abc", NULL},
    {"a}b{c", "a}b{c", NULL},
    {"$", NULL, "$ not followed by letter, digit, or {"},
    {"$-", NULL, "$ not followed by letter, digit, or {"},
    {"${", NULL, "letter or digit expected after ${"},
    {"${}", NULL, "letter or digit expected after ${"},
    {"${1a}", NULL, "} expected after number"},
    {"${lc}", NULL, "unknown variable in \"${lc}\""},
    {"${lc abc}", NULL, "\"${lc\" is not a known operator (or a } is missing in a variable reference)"},
    {"${LC:abc}", NULL, "unknown expansion operator \"LC\""},
    {"${lc:abc", NULL, "missing } at end of string"},
    {"$nosuch", NULL, "unknown variable name \"nosuch\""},
    {"$1|$12x|${1}", "|x|", NULL},
    {"a\\tb\\x41\\101\\N$foo\\Nz\\\\", "a\tbAA$fooz\\", NULL},
    {"\\N$a\\", "$a\\", NULL},
    {"a\\", NULL, "\\ at end of string"},
    {"$primary_hostname", "mx.example.org", NULL},
    {"${if eq{a}{a}}|${if eq{a}{b}}", "true|", NULL},
    {"${if eq{a}{b}{$nosuch}{x}}", NULL, "unknown variable name \"nosuch\""},
    {"${if eq{a}{b}{${eval:1/0}}{x}}", "x", NULL},
    {"${if eq{a}{b}{x}fail}", NULL, "\"if\" failed and \"fail\" requested"},
    {"${if eq{a}{b}{x}nope}", NULL, "syntax error in \"if\" item - \"fail\" expected"},
    {"${if eq{a}}", NULL, "missing 2nd string in {} after \"eq\""},
    {"${if eq a}", NULL, "missing { after \"eq\""},
    {"${if foo}", NULL, "unknown condition \"foo\""},
    {"${if and{{eq{a}{a}}{eq{b}{b}}}}", "true", NULL},
    {"${if or{{eq{a}{b}}{eq{b}{b}}}{y}{n}}", "y", NULL},
    {"${if and{eq{a}{a}}}", NULL, "each subcondition inside an \"and{...}\" condition must be in its own {}"},
    {"${if >{1K}{1023}}${if ={1M}{1024K}}${if <={-1}{}}", "truetruetrue", NULL},
    {"${if ={x}{1}}", NULL, "integer expected but \"x\" found"},
    {"${if ={1x}{1}}", NULL, "invalid integer \"1x\""},
    {"${if match{abc}{\\N(b)(c)\\N}{$2$1$0}}|$1", "cbbc|", NULL},
    {"${sg{abcabc}{\\N(b)\\N}{x\\$1y}}", "axbycaxbyc", NULL},
    {"${extract{gid}{uid=1984 gid=2001}}", "2001", NULL},
    {"${extract{-4}{:}{x:42:99:& Mailer::/bin/bash}}", "99", NULL},
    {"${lc:ABC}${uc:abc}${length_2:abc}${substr_-2_1:abcd}", "abcABCabc", NULL},
    {"${hash{3}{monty}}|${hash{4}{62}{monty python}}", "jmg|fbWx", NULL},
    {"${nhash{8}{64}{supercalifragilisticexpialidocious}}", "6/33", NULL},
    {"${map{a:b:c}{[$item]}}|${filter{a:b:c}{!eq{$item}{b}}}", "[a]:[b]:[c]|a:c", NULL},
    {"${reduce {<, 1,2,3}{0}{${eval:$value+$item}}}", "6", NULL},
};

/* Forms the row's result as -be shows it. */
static const char *shown(struct harness *h, enum rc rc, struct slice value, const struct err *err)
{
	struct str str = str_make(&h->arena);

	if (rc != OK)
		str_addz(&str, rc == FAIL ? "Failed: " : "Deferred: ");
	str_add(&str, rc == OK ? value : err->text);
	str_addc(&str, 0);
	return str_slice(&str).ptr;
}

static const char *expand_shown(struct harness *h, struct slice text)
{
	struct err err = err_make(&h->arena);
	struct slice value = SLICE_EMPTY;
	enum rc rc = expand_text(&h->scope, text, &value, &err);

	return shown(h, rc, value, &err);
}

static void rows_run(struct harness *h)
{
	char want[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *got = expand_shown(h, slice_of(rows[i].text));

		snprintf(want, sizeof(want), "%s%s",
			 rows[i].result ? "" : "Failed: ", rows[i].result ? rows[i].result : rows[i].error);
		if (strcmp(got, want) != 0)
			fail_msg("%s\n  gives    %s\n  expected %s", rows[i].text, got, want);
		assert_int_equal(h->scope.depth, 0);
	}
}

static void test_rows(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, rows_run);
}

/* -be: for tests/e2e/differential_be.py, where the whole server is not at hand. */
static void lines_run(struct harness *h)
{
	char line[65536];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		printf("%s\n", expand_shown(h, slice_of(line)));
		fflush(stdout);
		arena_clear(&h->arena);
		scope_init(&h->scope, &h->task, h->conf);
		h->scope.client = &h->client;
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	};

	if (argc > 1 && strcmp(argv[1], "-be") == 0) {
		harness_run(HARNESS_CONF, lines_run);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
