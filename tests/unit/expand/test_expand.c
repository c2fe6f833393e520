/* The language, row by row: what a string comes to, or why it does not. Results and words are Exim 4.98's
 * (-be); rows that differ on purpose say why. Called with -be, it is a filter: a line of input is expanded, a
 * line of output written. */

#include <errno.h>

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
    {"${lc}", NULL, "unknown variable in \"${lc}\"; \"lc\" is an operator: ${lc:...}"},
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
    {"${if zzz}", NULL, "unknown condition \"zzz\""},
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
    /* What begins with a separator must not grow together with the one in front. */
    {"${map{a:b}{:}}|${map{<, a,b}{$item,}}", "::: ::|a,,,b,,", NULL},
    {"${substr{+1}{+2}{abcd}}|${length{+}{ab}}", NULL,
     "\"+\" is not a positive number (in \"length\" expansion)"},
    {"${substr_:ab}|${length_:ab}|${hash_:ab}", "ab||", NULL},
    {"${hash_3_0:ab}", "ab", NULL},
    {"${hash_3_0:abcd}", NULL, "hash count \"0\" too small"},
    {"${if bool{-}{y}{n}}${if bool_lax{ - }{y}{n}}", "nn", NULL},
    {"${mask:::ffff:1.2.3.4/100}|${mask:1.2.3.4/16}",
     "0000.0000.0000.0000.0000.ffff.0000.0000/100|1.2.0.0/16", NULL},
    {"${mask:1.2.3.4/100}", NULL, "mask value too big in \"1.2.3.4/100\""},
    {"${addresses:>}", NULL, "output separator missing in expanding ${addresses:>}"},
    {"${address:f\xc3\xbc@b}|${address:f@b\xc3\xbc}", "f\xc3\xbc@b|", NULL},
    {"${imapfolder{/a//b/}}", "a.b", NULL},
    {"${headerwrap_12:aaaa bbbb cccc dddd}", "aaaa bbbb cc\n\tcc d\n\tddd", NULL},
    {"${headerwrap_12_16:aaaa bbbb cccc dddd}", "aaaa bbbb cc\n\tcc", NULL},
    {"${headerwrap_8:aaaa bbbb cccc dddd}", "aaaa bbbb cccc dddd", NULL},
    {"${headerwrap:a\\n b\\n}", "a\n\t b", NULL},
    /* RFC 3492, of a whole local part. */
    {"${utf8_localpart_to_alabel:a.b\xc3\xbc}|${utf8_localpart_to_alabel:\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80}",
     "xn--a.b-joa|xn--tda833no053a", NULL},
    {"${utf8_localpart_from_alabel:xn--a.b-joa}|${utf8_localpart_from_alabel:xn--tda833no053a}",
     "a.b\xc3\xbc|\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", NULL},
    {"${utf8_localpart_from_alabel:abc}", NULL,
     "error converting alabel to utf8: bad alabel prefix in \"abc\""},
    {"${utf8_localpart_from_alabel:xn--99999999999}", NULL,
     "error converting alabel to utf8: \"xn--99999999999\""},
    {"${utf8_localpart_to_alabel:a\xc3}", NULL, "error converting bad utf8 to alabel: \"a\xc3\""},
    /* What may have been meant. */
    {"$primary_hostnam", NULL,
     "unknown variable name \"primary_hostnam\"; did you mean \"primary_hostname\"?"},
    {"${if def:sender_helo_nam {y}}", NULL,
     "unknown variable \"sender_helo_nam\" after \"def:\"; did you mean \"sender_helo_name\"?"},
    {"${lcc:a}", NULL, "unknown expansion operator \"lcc\"; did you mean \"lc\"?"},
    {"${map:a}", NULL, "unknown expansion operator \"map\"; \"map\" is an item: ${map{...}...}"},
    {"${exract{a}{b}}", NULL,
     "\"${exract\" is not a known operator (or a } is missing in a variable reference); did you mean \"extract\"?"},
    {"${if macth{a}{b}{y}{n}}", NULL, "unknown condition \"macth\"; did you mean \"match\"?"},
    {"${if forayn{a}{eq{1}{1}}}", NULL, "unknown condition \"forayn\"; did you mean \"forany\"?"},
    {"${if lc{a}{b}}", NULL, "unknown condition \"lc\"; \"lc\" is an operator: ${lc:...}"},
    {"${zzzzzzzzzz:a}", NULL, "unknown expansion operator \"zzzzzzzzzz\""},
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

/* ---- What Exim answered -----------------------------------------------------------------------------------
 */

/* "\n" and "\\" in the file. */
static void unescape(char *text)
{
	char *out = text;

	for (char *in = text; *in; in++) {
		if (*in == '\\' && in[1])
			*out++ = *++in == 'n' ? '\n' : *in;
		else
			*out++ = *in;
	}
	*out = 0;
}

static void golden_file(struct harness *h, const char *name, unsigned count_min)
{
	static char line[65536], want[65536];
	char path[4096];
	unsigned count = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%.*s/%s", (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__, name);
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		const char *got;

		line[strcspn(line, "\n")] = 0;
		if (line[0] == '#')
			continue;
		assert_non_null(fgets(want, sizeof(want), f));
		want[strcspn(want, "\n")] = 0;
		unescape(want);
		got = expand_shown(h, slice_of(line));
		if (strcmp(got, want + 2) != 0)
			fail_msg("%s\n  gives    %s\n  expected %s", line, got, want + 2);
		assert_int_equal(h->scope.depth, 0);
		count++;
		arena_clear(&h->arena);
		scope_init(&h->scope, &h->task, h->conf);
		h->scope.client = &h->client;
	}
	fclose(f);
	assert_true(count > count_min);
}

static void golden_run(struct harness *h)
{
	golden_file(h, "golden.txt", 3000);
	golden_file(h, "golden_made.txt", 2000);
}

static void test_golden(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, golden_run);
}

/* ---- Limits -----------------------------------------------------------------------------------------------
 */

static struct slice nested(struct harness *h, const char *open, unsigned depth, const char *inner,
			   const char *close)
{
	struct str str = str_make(&h->arena);

	for (unsigned i = 0; i < depth; i++)
		str_addz(&str, open);
	str_addz(&str, inner);
	for (unsigned i = 0; i < depth; i++)
		str_addz(&str, close);
	return str_slice(&str);
}

/* Deep nesting is an answer or an error, on the stack of a fiber; never a crash. */
static void depth_run(struct harness *h)
{
	static const struct {
		const char *open, *inner, *close;
	} shapes[] = {
	    {"${lc:", "X", "}"},
	    {"${if eq{1}{1}{", "x", "}}"},
	    {"${if and{{", "eq{1}{1}", "}}}"},
	    {"${map{a}{", "$item", "}}"},
	    {"${if !", "eq{1}{1}", "}"},
	    {"${eval:(", "1", ")}"},
	    {"(", "1", ")"},
	    {"${if forany{a}{forany{b}{", "eq{1}{1}", "}}"},
	    {"{", "", "}"},
	    {"${reduce{a}{", "x", "}{$value}}"},
	    {"${extract{a}{a=", "1", "}}"},
	};
	const char *got;

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		for (unsigned depth = 1; depth <= 100000; depth *= 10) {
			got = expand_shown(
			    h, nested(h, shapes[i].open, depth, shapes[i].inner, shapes[i].close));
			assert_int_equal(h->scope.depth, 0);
			if (depth <= 10 && i < 2)
				assert_null(strstr(got, "Failed"));
			arena_clear(&h->arena);
		}
	got = expand_shown(h, nested(h, "${lc:", 5000, "X", "}"));
	assert_string_equal(got, "Failed: expansion is nested too deeply");
	got = expand_shown(h, nested(h, "${lc:", 100, "X", "}"));
	assert_string_equal(got, "x");
	/* Through the run-time compiler: a string that expands itself again. */
	assert_true(
	    acl_variable_set(&h->err_arena, &h->client.acl_c, SLICE("0"), SLICE("${expand:\\$acl_c0}")));
	h->client.acl_c->value = SLICE("${expand:$acl_c0}");
	got = expand_shown(h, SLICE("${expand:$acl_c0}"));
	assert_non_null(strstr(got, "nested too deeply"));
	assert_int_equal(h->scope.depth, 0);
}

static void test_depth(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, depth_run);
}

static void size_run(struct harness *h)
{
	struct slice value, text = nested(h, "x", 1024 * 1024, "", "");
	struct err err = err_make(&h->arena);

	/* A MiB in, a MiB out. */
	assert_int_equal(expand_text(&h->scope, nested(h, "x", 1024 * 1024, "${lc:A}", ""), &value, &err),
			 OK);
	assert_int_equal(value.len, 1024 * 1024 + 1);
	h->scope.value = text;
	assert_int_equal(expand_text(&h->scope, SLICE("${uc:$value}"), &value, &err), OK);
	assert_int_equal(value.len, 1024 * 1024);
	/* Doubling, thirty times: an error long before the memory is used up. */
	assert_int_equal(
	    expand_text(&h->scope,
			SLICE("${reduce{a:a:a:a:a:a:a:a:a:a:a:a:a:a:a}{x}{$value$value$value$value}}"),
			&value, &err),
	    FAIL);
	assert_non_null(strstr(arena_cstr(&h->arena, err.text), "too long"));
}

static void test_size(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, size_run);
}

/* With little memory every expansion of the table ends in an answer or in an error, wherever the memory runs
 * out. */
static void memory_run(struct harness *h)
{
	for (size_t limit = 64; limit < 64 * 1024; limit += limit / 3 + 8)
		for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
			struct slice value = SLICE_EMPTY;
			struct err err = err_make(NULL);
			struct arena small;
			enum rc rc;

			arena_init(&small, limit);
			h->task.arena = &small;
			rc = expand_text(&h->scope, slice_of(rows[i].text), &value, &err);
			assert_true(rc == OK || rc == FAIL || rc == DEFER);
			if (rc == OK && rows[i].result) {
				assert_int_equal(value.len, strlen(rows[i].result));
				assert_memory_equal(value.ptr, rows[i].result, value.len);
			}
			assert_int_equal(h->scope.depth, 0);
			h->task.arena = &h->arena;
			arena_done(&small);
			scope_init(&h->scope, &h->task, h->conf);
		}
}

static void test_memory(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, memory_run);
}

/* ---- Regular expressions ----------------------------------------------------------------------------------
 */

static void regex_run(struct harness *h)
{
	static const char *const nests[][2] = {
	    {"(", ")"}, {"(?:a|", ")*"}, {"(?=", ")"}, {"(?<=a", ")"}, {"(a?", "){0,2}"}, {"((?i)", "b?)++"},
	};
	struct slice numbers[10], value;
	struct err err = err_make(&h->arena);
	const struct regex *regex;
	unsigned count = 0;
	char pattern[32];

	assert_int_equal(regex_compile(&h->arena, SLICE("(a)|(b)"), 0, &regex, &err), OK);
	assert_int_equal(regex_match(regex, SLICE("xb"), numbers, 10, &count, &err), OK);
	assert_int_equal(count, 3);
	assert_null(numbers[1].ptr);
	assert_int_equal(numbers[2].len, 1);
	assert_int_equal(regex_match(regex, SLICE("xc"), numbers, 10, &count, &err), FAIL);
	/* Not all that there are are wanted. */
	assert_int_equal(regex_match(regex, SLICE("a"), numbers, 1, &count, &err), OK);
	assert_int_equal(count, 1);
	assert_int_equal(regex_compile(&h->arena, SLICE("a("), 0, &regex, &err), FAIL);
	/* The subject's taint goes with its parts. */
	assert_int_equal(regex_compile(&h->arena, SLICE("B"), REGEX_NOCASE, &regex, &err), OK);
	assert_int_equal(regex_match(regex, slice_tainted(SLICE("abc")), numbers, 10, &count, &err), OK);
	assert_int_equal(numbers[0].taint, TAINTED);
	/* Exponential: gives up in bounded time. */
	assert_int_equal(regex_compile(&h->arena, SLICE("^(a|aa)+$"), 0, &regex, &err), OK);
	h->scope.value = nested(h, "a", 2000, "", "!");
	h->scope.value.len = 2001;
	assert_int_equal(regex_match(regex, h->scope.value, numbers, 10, &count, &err), DEFER);
	assert_int_equal(
	    expand_text(&h->scope, SLICE("${if match{$value}{^(a|aa)+\\$}{y}{n}}"), &value, &err), DEFER);
	/* Deeply nested: refused, or compiled within a fiber's stack. */
	for (size_t i = 0; i < sizeof(nests) / sizeof(*nests); i++)
		for (unsigned depth = 1; depth < 3000; depth = depth * 3 / 2 + 1) {
			enum rc rc = regex_compile(&h->arena, nested(h, nests[i][0], depth, "a", nests[i][1]),
						   0, &regex, &err);

			assert_true(depth <= 100 ? rc == OK || rc == FAIL : rc == FAIL);
			if (rc == OK)
				rc = regex_match(regex, nested(h, "a", 500, "", ""), numbers, 10, &count,
						 &err);
			assert_true(rc == OK || rc == FAIL || rc == DEFER);
			arena_clear(&h->arena);
		}
	/* The cache of patterns turns over, and the results stay right. */
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(pattern, sizeof(pattern), "^x%u(y)", i);
		assert_int_equal(regex_cached(h->shard, slice_of(pattern), 0, &regex, &err), OK);
		snprintf(pattern, sizeof(pattern), "x%uy", i);
		assert_int_equal(regex_match(regex, slice_of(pattern), numbers, 10, &count, &err), OK);
		assert_int_equal(count, 2);
	}
}

static void test_regex(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, regex_run);
}

/* ---- Taint, failures, options -----------------------------------------------------------------------------
 */

static void taint_run(struct harness *h)
{
	static const struct {
		const char *text;
		bool tainted;
	} cases[] = {
	    {"$value", true},
	    {"a$value", true},
	    {"${lc:$value}", true},
	    {"${extract{1}{:}{$value}}", true},
	    {"${if eq{$value}{x}{y}{n}}", false},
	    {"${if match{$value}{(.)}{$1}}", true},
	    {"${map{$value}{$item}}", true},
	    {"${map{$value}{y}}", false},
	    {"${sg{$value}{x}{y}}", true},
	    {"${strlen:$value}", false},
	    {"${quote:$value}", true},
	    {"${length_1:$value}", true},
	    {"${tr{$value}{a}{b}}", true},
	    {"${reduce{a}{$value}{$value}}", true},
	    {"${base64:$value}", true},
	    {"${md5:$value}", false},
	    {"${address:$value}", true},
	    {"${sort{$value}{lt}{$item}}", true},
	    {"${filter{$value}{eq{1}{1}}}", true},
	    {"${if eq{1}{2}{$value}{n}}", false},
	    {"${listextract{1}{$value}}", true},
	};
	struct slice value;
	struct err err = err_make(&h->arena);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		h->scope.value = slice_tainted(SLICE("a@b"));
		assert_int_equal(expand_text(&h->scope, slice_of(cases[i].text), &value, &err), OK);
		if ((value.taint == TAINTED) != cases[i].tainted)
			fail_msg("%s is %stainted", cases[i].text, cases[i].tainted ? "not " : "");
	}
	/* What a stranger wrote is no program, no file name, no command. */
	h->scope.value = slice_tainted(SLICE("${lc:/etc/passwd}"));
	assert_int_equal(expand_text(&h->scope, SLICE("${expand:$value}"), &value, &err), FAIL);
	assert_non_null(strstr(arena_cstr(&h->arena, err.text), "tainted"));
	assert_int_equal(expand_text(&h->scope, h->scope.value, &value, &err), FAIL);
	h->scope.value = slice_tainted(SLICE("plain"));
	assert_int_equal(expand_text(&h->scope, SLICE("${expand:$value}"), &value, &err), FAIL);
	assert_int_equal(expand_text(&h->scope, slice_tainted(SLICE("plain")), &value, &err), OK);
	assert_int_equal(value.taint, TAINTED);
	h->scope.value = slice_tainted(SLICE("/etc/passwd"));
	assert_int_equal(expand_text(&h->scope, SLICE("${readfile{$value}}"), &value, &err), FAIL);
	assert_int_equal(expand_text(&h->scope, SLICE("${stat:$value}"), &value, &err), FAIL);
	assert_int_equal(expand_text(&h->scope, SLICE("${if exists{$value}}"), &value, &err), FAIL);
	assert_int_equal(expand_text(&h->scope, SLICE("${run{$value}}"), &value, &err), FAIL);
	assert_int_equal(expand_text(&h->scope, SLICE("${run,preexpand{/bin/echo $value}}"), &value, &err),
			 FAIL);
	assert_int_equal(expand_text(&h->scope, SLICE("${run{/bin/echo $value}}"), &value, &err), OK);
	assert_int_equal(expand_text(&h->scope, SLICE("${readsocket{$value}{}}"), &value, &err), FAIL);
	/* A NUL in a name is refused, not a cut. */
	assert_int_equal(expand_text(&h->scope, SLICE("${readfile{/etc/passwd\\0x}}"), &value, &err), FAIL);
	assert_int_equal(expand_text(&h->scope, SLICE("${run{/bin/echo a\\0b}}"), &value, &err), FAIL);
	assert_int_equal(expand_text(&h->scope, SLICE("a\\0b"), &value, &err), OK);
	assert_int_equal(value.len, 3);
}

static void test_taint(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, taint_run);
}

static void options_run(struct harness *h)
{
	const struct language *language = &harness_language;
	const struct expansion *fails = expand_compile(language, &h->arena, SLICE("${if eq{a}{b}{x}fail}"));
	const struct expansion *wrong = expand_compile(language, &h->arena, SLICE("$nosuch"));
	const struct expansion *number = expand_compile(language, &h->arena, SLICE("${eval:2K}"));
	const struct expansion *yes = expand_compile(language, &h->arena, SLICE("${if eq{a}{a}{yes}}"));
	const struct expansion *literal = expand_compile(language, &h->arena, SLICE("text"));
	struct err err = err_make(&h->arena);
	struct slice value;
	int64_t i = 0;
	bool b = false;

	assert_true(expansion_is_literal(literal));
	assert_false(expansion_is_literal(yes));
	assert_int_equal(expansion_text(number).len, 10);
	assert_int_equal(expansion_text(NULL).len, 0);
	assert_int_equal(expand(&h->scope, fails, &value, &err), FAIL);
	assert_true(err.forced);
	err = err_make(&h->arena);
	assert_int_equal(expand(&h->scope, wrong, &value, &err), FAIL);
	assert_false(err.forced);
	/* Nobody wants to know why. */
	assert_int_equal(expand(&h->scope, fails, &value, NULL), FAIL);
	assert_int_equal(expand(&h->scope, wrong, &value, NULL), FAIL);
	/* A forced failure counts as unset, another one does not. */
	assert_int_equal(expand_option(&h->scope, NULL, &value, &err), OK);
	assert_int_equal(value.len, 0);
	assert_int_equal(expand_option(&h->scope, fails, &value, &err), OK);
	assert_int_equal(value.len, 0);
	assert_int_equal(expand_option(&h->scope, wrong, &value, &err), FAIL);
	assert_int_equal(expand_option_int(&h->scope, number, 7, &i, &err), OK);
	assert_int_equal(i, 2048);
	assert_int_equal(expand_option_int(&h->scope, fails, 7, &i, &err), OK);
	assert_int_equal(i, 7);
	assert_int_equal(expand_option_int(&h->scope, literal, 7, &i, &err), FAIL);
	assert_int_equal(expand_option_bool(&h->scope, yes, false, &b, &err), OK);
	assert_true(b);
	assert_int_equal(expand_option_bool(&h->scope, NULL, true, &b, &err), OK);
	assert_true(b);
	assert_int_equal(expand_option_bool(&h->scope, literal, true, &b, &err), FAIL);
	assert_int_equal(expand_condition(&h->scope, SLICE("and{{eq{a}{a}}{!eq{a}{b}}}"), &b, &err), OK);
	assert_true(b);
	assert_int_equal(expand_condition(&h->scope, SLICE("eq{a}{b} "), &b, &err), OK);
	assert_false(b);
	assert_int_equal(expand_condition(&h->scope, SLICE("eq{a}{b} x"), &b, &err), FAIL);
	assert_int_equal(expand_condition(&h->scope, SLICE(""), &b, &err), FAIL);
	/* While a file is read there is no shard: what needs one says so. */
	assert_int_equal(expand_early(h->conf, SLICE("${lc:A}$primary_hostname"), &value, &err), OK);
	assert_int_equal(value.len, 15);
	assert_int_equal(expand_early(h->conf, SLICE("$tod_log"), &value, &err), FAIL);
	assert_int_equal(expand_early(h->conf, SLICE("${run{/bin/echo}}"), &value, &err), FAIL);
	assert_int_equal(expand_early(h->conf, SLICE("${if exists{/}}"), &value, &err), FAIL);
	assert_int_equal(expand_early(h->conf, SLICE("${if match{a}{a}}"), &value, &err), OK);
}

static void test_options(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, options_run);
}

/* strict_acl_vars: what is not set is an error; set to nothing it is not. */
static void strict_run(struct harness *h)
{
	assert_non_null(
	    strstr(expand_shown(h, SLICE("$acl_c_x")), "Failed: unknown variable name \"acl_c_x\""));
	assert_true(acl_variable_set(&h->err_arena, &h->client.acl_c, SLICE("_x"), SLICE("")));
	assert_string_equal(expand_shown(h, SLICE("[$acl_c_x]")), "[]");
	assert_true(acl_variable_set(&h->err_arena, &h->client.acl_c, SLICE("_x"), SLICE("v")));
	assert_string_equal(expand_shown(h, SLICE("${acl_c_x}${if def:acl_c_x{y}{n}}")), "vy");
	assert_string_equal(expand_shown(h, SLICE("${escape:\\xe9}")), "\xe9");
}

static void test_strict(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF "strict_acl_vars\nprint_topbitchars = true\n", strict_run);
}

/* ---- Side effects -----------------------------------------------------------------------------------------
 */

/* Items in unused parts never run; used ones once, in order. */
static void effects_run(struct harness *h)
{
	char path[] = "/tmp/sluice-expand-XXXXXX", text[512];
	int fd = mkstemp(path);
	struct stat st;

	assert_true(fd >= 0);
	snprintf(text, sizeof(text),
		 "${if eq{1}{2}{${run{/bin/sh -c 'echo a >>%s'}}}{${run{/bin/sh -c 'echo b >>%s'}}}}", path,
		 path);
	assert_string_equal(expand_shown(h, slice_of(text)), "");
	snprintf(text, sizeof(text), "${if or{{eq{1}{1}}{eq{${run{/bin/sh -c 'echo c >>%s'}}}{}}}{y}}", path);
	assert_string_equal(expand_shown(h, slice_of(text)), "y");
	snprintf(text, sizeof(text), "${extract{x}{a=1}{${run{/bin/sh -c 'echo d >>%s'}}}{n}}", path);
	assert_string_equal(expand_shown(h, slice_of(text)), "n");
	snprintf(text, sizeof(text),
		 "${run{/bin/sh -c 'echo 1 >>%s'}}${run{/bin/sh -c 'echo 2 >>%s'}}${readfile{%s}{,}}", path,
		 path, path);
	assert_string_equal(expand_shown(h, slice_of(text)), "b,1,2,");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 6);
	close(fd);
	unlink(path);
}

static void test_effects(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, effects_run);
}

/* A command that outlives its deadline is killed with what it started; the expansion defers or says so. */
static void deadline_run(struct harness *h)
{
	struct err err = err_make(&h->arena);
	struct slice value;
	enum rc rc;

	h->task.until = task_until(&h->task, 100);
	rc = expand_text(&h->scope, SLICE("${run{/bin/sh -c 'sleep 100'}{y}{n}}"), &value, &err);
	assert_true(rc == DEFER || rc == FAIL);
	h->task.until = UNTIL_NEVER;
	/* The thread goes on by its own clock; a second one proves that helpers are free again. */
	assert_string_equal(expand_shown(h, SLICE("${run{/bin/echo x}{y}{n}}")), "y");
}

static void test_deadline(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, deadline_run);
}

/* An expansion that waits stops only its own fiber. */
struct waiter {
	struct harness *h;
	bool done;
};

static void wait_in_expansion(struct task *task, void *arg)
{
	struct waiter *waiter = arg;
	struct scope sc;
	struct slice value;
	struct err err = err_make(task->arena);

	scope_init(&sc, task, waiter->h->conf);
	assert_int_equal(expand_text(&sc, SLICE("${run{/bin/sh -c 'sleep 0.2; echo x'}}"), &value, &err), OK);
	assert_true(slice_eq(value, SLICE("x\n")));
	waiter->done = true;
}

static void waiting_run(struct harness *h)
{
	struct waiter waiter = {.h = h};
	struct group group;
	unsigned turns = 0;

	group_init(&group);
	assert_int_equal(group_spawn(&h->task, &group, wait_in_expansion, &waiter), OK);
	while (!waiter.done) {
		assert_string_equal(expand_shown(h, SLICE("${lc:X}")), "x");
		assert_int_equal(task_sleep(&h->task, shard_now(h->shard) + NS_PER_MS), OK);
		turns++;
	}
	assert_int_equal(group_wait(&h->task, &group), OK);
	assert_true(turns > 10);
}

static void test_waiting(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, waiting_run);
}

/* ---- Work -------------------------------------------------------------------------------------------------
 */

/* A list of so many elements, each the text. */
static struct slice list_of(struct harness *h, const char *element, unsigned count)
{
	struct str str = str_make(&h->arena);

	for (unsigned i = 0; i < count; i++) {
		if (i)
			str_addc(&str, ':');
		str_addz(&str, element);
	}
	return str_slice(&str);
}

struct worker {
	struct harness *h;
	struct arena arena;
	const char *text;
	uint64_t limit_ms;
	enum rc rc;
	char error[200];
	bool done;
};

static void work_in_expansion(struct task *task, void *arg)
{
	struct worker *worker = arg;
	struct scope sc;
	struct slice value;
	struct err err = err_make(&worker->arena);

	task->arena = &worker->arena;
	if (worker->limit_ms)
		task->until = task_until(task, worker->limit_ms);
	scope_init(&sc, task, worker->h->conf);
	sc.client = &worker->h->client;
	worker->rc = expand_text(&sc, slice_of(worker->text), &value, &err);
	snprintf(worker->error, sizeof(worker->error), "%.*s", SLICE_ARG(err.text));
	assert_int_equal(sc.depth, 0);
	worker->done = true;
}

/* Runs the text on a fiber of its own; *turns_ret: how often this one had its turn meanwhile. */
static void work(struct harness *h, struct worker *worker, bool cancel, unsigned *turns_ret)
{
	struct group group;

	worker->h = h;
	arena_init(&worker->arena, 0);
	group_init(&group);
	assert_int_equal(group_spawn(&h->task, &group, work_in_expansion, worker), OK);
	for (*turns_ret = 0; !worker->done; ++*turns_ret) {
		if (cancel && *turns_ret == 2)
			group_cancel(&group);
		assert_int_equal(task_yield(&h->task), OK);
	}
	assert_int_equal(group_wait(&h->task, &group), OK);
	arena_done(&worker->arena);
}

#define LOOPS                                                                                              \
	"${strlen:${map{$acl_c0}{${map{$acl_c0}{${map{$acl_c0}{${map{$acl_c0}{${if match{$item}{(.)}{$1}}" \
	"}}}}}}}}}"

static void work_run(struct harness *h)
{
	static const struct {
		const char *text, *error;
		unsigned elements;
	} cases[] = {
	    {LOOPS, "the expansion takes too much work", 100},
	    {"${if forall{$acl_c0}{forall{$acl_c0}{forall{$acl_c0}{forall{$acl_c0}{eq{$item}{x}}}}}{y}{n}}",
	     "the expansion takes too much work", 200},
	    {"${filter{$acl_c0}{forany{$acl_c0}{forany{$acl_c0}{eq{}{x}}}}}",
	     "the expansion takes too much work", 500},
	    /* A literal costs as well; so do strings that are long and the same each time. */
	    {"${reduce{$acl_c0}{}{${reduce{$acl_c0}{}{x}}}}", "the expansion takes too much work", 6000},
	    {"${reduce{$acl_c0}{}{${strlen:$acl_c0}}}", "the expansion takes too much work", 300000},
	    {"${sort{$acl_c0}{<}{${sort{$acl_c0}{<}{$item}}}}", "the expansion takes too much memory", 4000},
	    {"${sg{$acl_c0}{x}{\\${sg{\\$acl_c0\\}\\{x\\}\\{y\\}\\}}}", "the expansion takes too much work",
	     3000},
	    /* Each result grows by the list: the sum of all is what counts. */
	    {"${reduce{$acl_c0}{}{$value$item,$item}}", "the expansion takes too much memory", 100000},
	};
	unsigned turns;

	assert_true(acl_variable_set(&h->err_arena, &h->client.acl_c, SLICE("0"), SLICE("x")));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct worker worker = {.text = cases[i].text};

		h->client.acl_c->value = list_of(h, "x", cases[i].elements);
		work(h, &worker, false, &turns);
		if (worker.rc != FAIL || strcmp(worker.error, cases[i].error) != 0)
			fail_msg("%s: %d %s", cases[i].text, (int)worker.rc, worker.error);
		assert_true(turns > 10);
		arena_clear(&h->arena);
	}
	/* Much, and not too much: the elements of a long list are all there. */
	h->client.acl_c->value = list_of(h, "x", 1000000);
	assert_string_equal(expand_shown(h, SLICE("${listcount:${map{$acl_c0}{y}}}")), "1000000");
	assert_string_equal(expand_shown(h, SLICE("${length_3:${sort{$acl_c0}{lt}{$item}}}")), "x:x");
	/* A deadline and a client who went away end it sooner. */
	h->client.acl_c->value = list_of(h, "x", 100);
	{
		struct worker late = {.text = LOOPS, .limit_ms = 20}, gone = {.text = LOOPS};

		work(h, &late, false, &turns);
		assert_int_equal(late.rc, DEFER);
		assert_string_equal(late.error, "no time left for the expansion");
		work(h, &gone, true, &turns);
		assert_int_equal(gone.rc, CANCELLED);
	}
}

static void test_work(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, work_run);
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
	    cmocka_unit_test(test_rows),    cmocka_unit_test(test_golden),   cmocka_unit_test(test_depth),
	    cmocka_unit_test(test_size),    cmocka_unit_test(test_memory),   cmocka_unit_test(test_regex),
	    cmocka_unit_test(test_taint),   cmocka_unit_test(test_options),  cmocka_unit_test(test_strict),
	    cmocka_unit_test(test_effects), cmocka_unit_test(test_deadline), cmocka_unit_test(test_waiting),
	    cmocka_unit_test(test_work),
	};

	if (argc > 1 && strcmp(argv[1], "-be") == 0) {
		harness_run(HARNESS_CONF, lines_run);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
