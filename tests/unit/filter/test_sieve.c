/* The syntax of Sieve scripts (RFC 5228, 5230, 5229's kin as far as Exim has them): each command, test and tag, well-formed
 * and not. What scripts do is compared with Exim in tests/e2e/test_filter.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "filter/filter.h"

static void rows_check(const char *const *rows, unsigned count, enum rc wanted)
{
	for (unsigned i = 0; i < count; i++) {
		struct arena arena;
		struct str text;
		struct err err;
		enum rc rc;

		arena_init(&arena, 16u * 1024 * 1024);
		err = err_make(&arena);
		text = str_make(&arena);
		str_printf(&text, "# Sieve filter\n%s\n", rows[i]);
		rc = filter_check(&arena, FILTER_SIEVE, str_slice(&text), &err);
		if (rc != wanted || (rc == FAIL && !err.text.len))
			print_error("%s: %d %.*s\n", rows[i], rc, SLICE_ARG(err.text));
		assert_int_equal(rc, wanted);
		assert_true(rc == OK || err.text.len > 0);
		arena_done(&arena);
	}
}

static void well_formed(void **state)
{
	static const char *const rows[] = {
	    "",
	    "keep;",
	    "discard;",
	    "stop;",
	    "redirect \"a@b.test\";",
	    "require \"fileinto\"; fileinto \"x\";",
	    "require [\"fileinto\", \"copy\"]; fileinto :copy \"x\"; redirect :copy \"a@b.test\";",
	    "/* a comment */ keep; # another\n",
	    "KEEP; Discard;",
	    "if true { keep; }",
	    "if false { keep; } elsif true { discard; } else { stop; }",
	    "if not false { }",
	    "if allof (true, not false) { keep; }",
	    "if anyof (true, false, true) { keep; }",
	    "if exists \"Subject\" { keep; }",
	    "if exists [\"Subject\", \"To\"] { keep; }",
	    "if size :over 10K { discard; }",
	    "if size :under 1M { keep; }",
	    "if size :over 1G { keep; }",
	    "if header \"Subject\" \"x\" { keep; }",
	    "if header :is [\"Subject\", \"To\"] [\"x\", \"y\"] { keep; }",
	    "if header :contains :comparator \"i;ascii-casemap\" \"Subject\" \"x\" { keep; }",
	    "if header :matches \"Subject\" \"*a?\" { keep; }",
	    "if header :comparator \"i;octet\" :matches \"Subject\" \"x\" { keep; }",
	    "if address :all \"From\" \"a@b.test\" { keep; }",
	    "if address :localpart :is \"From\" \"a\" { keep; }",
	    "if address :domain :contains \"From\" [\"b\", \"c\"] { keep; }",
	    "require \"envelope\"; if envelope :is \"from\" \"a@b.test\" { keep; }",
	    "require \"envelope\"; if envelope :domain \"to\" \"b.test\" { keep; }",
	    "require \"subaddress\"; if address :user \"To\" \"a\" { keep; }",
	    "require \"subaddress\"; if address :detail \"To\" \"a\" { keep; }",
	    "require \"vacation\"; vacation \"gone\";",
	    "require \"vacation\"; vacation :days 3 :subject \"x\" :from \"a@b.test\" :addresses [\"c@d.test\"] \"gone\";",
	    "require \"vacation\"; vacation :mime \"gone\";",
	    "redirect text:\na@b.test\n.\n;",
	    "if header \"Subject\" \"a\\\"b\" { keep; }",
	    "require \"comparator-i;ascii-numeric\"; if header :is :comparator \"i;ascii-numeric\" \"X\" \"1\" { keep; }",
	};

	(void)state;
	rows_check(rows, ARRAY_COUNT(rows), OK);
}

static void malformed(void **state)
{
	static const char *const rows[] = {
	    "keep",
	    "keep x;",
	    "frobnicate;",
	    "discard \"x\";",
	    "redirect;",
	    "redirect a@b.test;",
	    "redirect \"\";",
	    "redirect [\"a@b.test\", \"c@d.test\"] \"x\";",
	    "fileinto \"x\";", /* not required */
	    "require \"fileinto\"; fileinto;",
	    "require \"nosuchextension\";",
	    "keep; require \"fileinto\";",
	    "require;",
	    "require fileinto;",
	    "if { keep; }",
	    "if true keep;",
	    "if true { keep;",
	    "if true { keep; } }",
	    "elsif true { keep; }",
	    "else { keep; }",
	    "if true { } else { } else { }",
	    "if allof true { }",
	    "if allof (true false) { }",
	    "if allof (true, { }",
	    "if not { keep; }",
	    "if exists { }",
	    "if exists 3 { }",
	    "if size 10 { }",
	    "if size :over { }",
	    "if size :over \"x\" { }",
	    "if size :over 99999999999999999999 { }",
	    "if header \"Subject\" { }",
	    "if header :frob \"Subject\" \"x\" { }",
	    "if header :is :contains \"Subject\" \"x\" { }",
	    "if header :comparator \"i;nosuch\" \"Subject\" \"x\" { }",
	    "if address :all :domain \"From\" \"x\" { }",
	    "if address :user \"To\" \"a\" { }", /* not required */
	    "if envelope \"from\" \"x\" { }",    /* not required */
	    "vacation \"gone\";",                /* not required */
	    "require \"vacation\"; vacation;",
	    "require \"vacation\"; vacation :days \"x\" \"gone\";",
	    "require \"vacation\"; vacation :frob \"gone\";",
	    "if header \"Subject\" \"x { keep; }",
	    "/* never closed",
	    "redirect text:\na@b.test\n",
	    "if nosuchtest { }",
	    "\"x\";",
	    ";",
	    "}",
	};

	(void)state;
	rows_check(rows, ARRAY_COUNT(rows), FAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(well_formed),
	    cmocka_unit_test(malformed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
