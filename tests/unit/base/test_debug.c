/* base/debug.h: what the words behind -d select, and that nothing is told, or even evaluated, when nobody listens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"

/* Numbers as Exim's -d prints them. */
static void test_selectors(void **state)
{
	static const struct {
		const char *text;
		uint64_t topics;
	} rows[] = {
	    {"", 0xf7715cfd},
	    {"+expand", 0xf7715dfd},
	    {"-all", 0},
	    {"-all+acl", 0x4},
	    {"-all+acl+pid", 0x80004},
	    {"-all+all", 0xfff9ffff},
	    {"+memory-all+noutf8", 0x40000},
	    {"-all+verify+uid+transport+tls+timestamp+route+rewrite+retry+resolver+receive+queue_run+process_info",
	     0xfff00000},
	    {"-all+lookup+load+lists+interface+ident+host_lookup+hints_lookup+filter+expand+exec+dnsbl+dns+deliver+auth"
	     "+local_scan",
	     0x1fffa},
	    {"=0x4", 4},
	    {"=17", 17},
	};
	static const struct {
		const char *text, *why;
	} bad[] = {
	    {"acl", "malformed debug_selector setting: + or - expected but found \"acl\""},
	    {"+acl,dns", "unknown debug_selector setting: +acl,dns"},
	    {"+nosuch+acl", "unknown debug_selector setting: +nosuch"},
	    {"+", "unknown debug_selector setting: +"},
	    {"=", "malformed debug_selector setting: ="},
	    {"=x", "malformed debug_selector setting: =x"},
	    {"=-1", "malformed debug_selector setting: =-1"},
	    {"=12345678901234567890123456789012345", NULL},
	};
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint64_t topics = DEBUG_DEFAULT;

		assert_int_equal(debug_topics_parse(slice_of(rows[i].text), &topics, NULL), OK);
		assert_int_equal(topics, rows[i].topics);
	}
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		struct err err = err_make(&arena);
		uint64_t topics = 5;

		assert_int_equal(debug_topics_parse(slice_of(bad[i].text), &topics, &err), FAIL);
		assert_int_equal(topics, 5);
		if (bad[i].why)
			assert_true(slice_eq(err.text, slice_of(bad[i].why)));
	}
	arena_done(&arena);
}

static char told[2 * DEBUG_LINE_MAX];
static uint32_t told_len;

static void keep(struct debug *debug, struct slice text)
{
	(void)debug;
	told_len = text.len;
	memcpy(told, text.ptr, text.len);
	told[text.len] = 0;
}

static int evaluated(void)
{
	static int count;

	return ++count;
}

static void test_lines(void **state)
{
	struct debug debug = {.topics = DEBUG_ACL | DEBUG_CHECKS, .line = keep};
	static char wide[DEBUG_LINE_MAX + 100];

	(void)state;
	DEBUG(DEBUG_ALL, "%d", evaluated());
	assert_int_equal(evaluated(), 1); /* nobody listened */
	debug_here = &debug;
	DEBUG(DEBUG_DNS, "%d", evaluated());
	assert_int_equal(evaluated(), 2);
	DEBUG(DEBUG_ACL | DEBUG_DNS, "%s %d", "said", evaluated());
	assert_string_equal(told, "said 3");
	DEBUG(DEBUG_CHECK(DEBUG_ROUTE), "check");
	assert_string_equal(told, "check");
	memset(wide, 'w', sizeof(wide) - 1);
	DEBUG(DEBUG_ACL, "%s", wide);
	assert_int_equal(told_len, DEBUG_LINE_MAX);
	debug_indent(2);
	debug_indent(-1);
	assert_int_equal(debug.indent, 1);
	debug_indent(-7); /* it began to listen inside */
	assert_int_equal(debug.indent, 0);
	debug_here = NULL;
	debug_indent(3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_selectors), cmocka_unit_test(test_lines)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
