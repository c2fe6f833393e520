/* Dovecot's lines, good and bad; what makes a client's options the same for every message; comparing digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/dovecot.h"
#include "auth/driver.h"

static void test_greeting(void **state)
{
	static const struct {
		const char *lines;
		bool good, done;
	} rows[] = {
	    {"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t12\nCUID\t3\nCOOKIE\tab\nDONE", true, true},
	    {"VERSION\t1\t0\nMECH\tlogin\nMECH\tplain\nDONE", true, true},
	    {"VERSION\t1\t2\nMECH\tPLAIN", true, false},
	    {"VERSION\t1\t2\nFUTURE\tx\n\nMECH\tPLAIN\nDONE", true, true},
	    {"VERSION\t2\t0", false, false},
	    {"VERSION", false, false},
	    {"VERSION\t1\t2\nSPID\t1", false, false},
	    {"MECH\tPLAIN\nDONE", false, false},
	    {"VERSION\t1\t2\nMECH\tLOGIN\nDONE", false, false},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct dovecot_greeting greeting = {.done = false};
		struct slice rest = slice_of(rows[i].lines), line;
		struct err err = err_make(NULL);
		enum rc rc = OK;

		while (rc == OK && slice_split(&rest, '\n', &line))
			rc = dovecot_greeting_line(&greeting, line, SLICE("PLAIN"), &err);
		assert_int_equal(rc == OK, rows[i].good);
		assert_int_equal(greeting.done, rows[i].done);
	}
}

static void test_answer(void **state)
{
	static const struct {
		const char *line;
		int kind; /* -1: malformed */
		const char *user, *challenge;
		bool temporary;
	} rows[] = {
	    {"OK\t1\tuser=joe\tx=y", DOVECOT_OK, "joe", "", false},
	    {"OK\t1\tuser=a\001tb\00111", DOVECOT_OK, "a\tb\0011", "", false},
	    {"FAIL\t1\tuser=joe", DOVECOT_FAIL, "joe", "", false},
	    {"FAIL\t1\tuser=joe\ttemp", DOVECOT_FAIL, "joe", "", true},
	    {"FAIL\t1", DOVECOT_FAIL, "", "", false},
	    {"CONT\t1\tVXNlcg==", DOVECOT_CONT, "", "User", false},
	    {"CONT\t1", DOVECOT_CONT, "", "", false},
	    {"CONT\t1\t", DOVECOT_CONT, "", "", false},
	    {"CONT\t1\t*", -1, "", "", false},
	    {"OK\t1", -1, "", "", false},
	    {"OK\t1\tuser=", -1, "", "", false},
	    {"OK\t2\tuser=joe", -1, "", "", false},
	    {"OK\tx\tuser=joe", -1, "", "", false},
	    {"OK", -1, "", "", false},
	    {"", -1, "", "", false},
	    {"WHAT\t1", -1, "", "", false},
	};
	struct arena arena;

	(void)state;
	arena_init(&arena, 1024 * 1024);
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct dovecot_answer answer;
		struct err err = err_make(&arena);
		enum rc rc = dovecot_answer_parse(&arena, slice_of(rows[i].line), 1, &answer, &err);

		assert_int_equal(rc == OK, rows[i].kind >= 0);
		if (rc != OK)
			continue;
		assert_int_equal(answer.kind, rows[i].kind);
		assert_true(slice_eq(answer.user, slice_of(rows[i].user)));
		assert_true(slice_eq(answer.challenge, slice_of(rows[i].challenge)));
		assert_int_equal(answer.temporary, rows[i].temporary);
	}
	arena_done(&arena);
}

static void test_fixed(void **state)
{
	static const struct {
		const char *text;
		bool fixed;
	} rows[] = {
	    {"", true},
	    {"^user^secret", true},
	    {"$host", true},
	    {"${host_address}", true},
	    {"${lookup{$host}lsearch{/etc/passwd.client}{$value}fail}", true},
	    {"${if def:tls_out_cipher {a}{b}}", true},
	    {"${extract{1}{:}{$1}}", true},
	    {"$sender_address", false},
	    {"${sender_address_domain}", false},
	    {"${lc:$acl_m0}", false},
	    {"${if def:h_from: {a}{b}}", false},
	    {"${acl {x}}", false},
	    {"$h_from:", false},
	    {"${run{/bin/x}}", false},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		if (auth_text_fixed(slice_of(rows[i].text)) != rows[i].fixed)
			fail_msg("%s", rows[i].text);
}

static void test_same(void **state)
{
	(void)state;
	assert_true(auth_same(SLICE("abc"), SLICE("abc")));
	assert_false(auth_same(SLICE("abc"), SLICE("abd")));
	assert_false(auth_same(SLICE("abc"), SLICE("ab")));
	assert_true(auth_same(SLICE(""), SLICE("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_greeting),
	    cmocka_unit_test(test_answer),
	    cmocka_unit_test(test_fixed),
	    cmocka_unit_test(test_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
