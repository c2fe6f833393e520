/* Header blocks and encoded words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "message/message.h"

static const struct {
	const char *raw;
	size_t raw_len; /* 0: strlen */
	uint32_t used;
	const char *fields; /* each with its type in front */
} blocks[] = {
    {"", 0, 0, ""},
    {"\r\nbody", 0, 2, ""},
    {"\nbody", 0, 1, ""},
    {"A: b\r\n\r\nbody: x\r\n", 0, 8, " A: b\n"},
    {"A: b\n\nbody\n", 0, 6, " A: b\n"},
    {"A: b", 0, 4, " A: b\n"},
    {"From: x\r\n y\r\n\tz\r\nTO: q\r\n\r\n", 0, 26, "FFrom: x\n y\n\tz\nTTO: q\n"},
    {"A : b\r\n\r\n", 0, 9, " A : b\n"},
    /* Not a header line: the body begins here. */
    {"A: b\r\nno header\r\n\r\nx", 0, 6, " A: b\n"},
    {" A: b\r\n\r\n", 0, 0, ""},
    {": b\r\n\r\n", 0, 0, ""},
    {"A b: c\r\n", 0, 0, ""},
    {"\xc3\xa9: c\r\n", 0, 7, " \xc3\xa9: c\n"}, /* no name by the RFC, but met */
    {"A\x7f: c\r\n", 0, 0, ""},
    /* Neither a bare CR nor a NUL gets through. */
    {"A: b\rc\r\n\r\n", 0, 10, " A: b c\n"},
    {"A: b\r\r\n\r\n", 0, 9, " A: b \n"},
    {"A: b\0c\r\n\r\n", 10, 10, " A: b?c\n"},
    {"Received: x\nResent-To: y\nReply-To: z\nSender: s\nBcc: b\nCC: c\nMessage-Id: i\nResent-Received: n\n\n",
     0, 94,
     "PReceived: x\nTResent-To: y\nRReply-To: z\nSSender: s\nBBcc: b\nCCC: c\nIMessage-Id: i\n Resent-Received: n\n"},
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(blocks); i++) {
		size_t len = blocks[i].raw_len ? blocks[i].raw_len : strlen(blocks[i].raw);
		struct arena arena;
		struct header_block block;
		struct str all;
		uint32_t used = 999;
		uint64_t bytes = 0;

		arena_init(&arena, 0);
		assert_int_equal(
		    header_block_parse(&arena, arena_copy(&arena, slice_make(blocks[i].raw, len, TAINTED)),
				       &block, &used, NULL),
		    OK);
		all = str_make(&arena);
		for (struct header *h = header_next(&block, NULL); h; h = header_next(&block, h)) {
			str_addc(&all, h->type);
			str_add(&all, h->text);
			assert_int_equal(h->text.taint, TAINTED);
			bytes += h->text.len;
		}
		if (used != blocks[i].used || !slice_eq(str_slice(&all), slice_of(blocks[i].fields)))
			fail_msg("%s: used %u, got %.*s", blocks[i].raw, used, SLICE_ARG(str_slice(&all)));
		assert_int_equal(block.bytes, bytes);
		arena_done(&arena);
	}
}

static void test_no_memory(void **state)
{
	struct arena arena;
	struct header_block block;
	uint32_t used;

	(void)state;
	for (size_t size = 0; size < 600; size += 16) {
		arena_init(&arena, size + 1);
		if (header_block_parse(&arena, SLICE("A: b\nC: d\nE: f\n\n"), &block, &used, NULL) != DEFER)
			assert_int_equal(block.count, 3);
		arena_done(&arena);
	}
}

static void test_edit(void **state)
{
	struct arena arena;
	struct header_block block;
	struct header *a, *b, *found;
	struct str wire;
	uint32_t used;

	(void)state;
	arena_init(&arena, 0);
	assert_int_equal(
	    header_block_parse(&arena, SLICE("X: 1\nY: 2\n\tmore\nx : 3\n\n"), &block, &used, NULL), OK);
	a = header_find(&block, SLICE("x"), NULL);
	b = header_find(&block, SLICE("X"), a);
	assert_true(a && b && a != b);
	assert_null(header_find(&block, SLICE("X"), b));
	assert_true(slice_eq(header_name(b), SLICE("x")));
	assert_true(slice_eq(header_body(b), SLICE("3")));
	assert_true(slice_eq(header_value(a), SLICE(" 1\n")));
	header_delete(a);
	assert_ptr_equal(header_find(&block, SLICE("x"), NULL), b);
	found = header_replace(&arena, &block, b, SLICE("X: 4"));
	assert_ptr_equal(header_find(&block, SLICE("x"), NULL), found);
	header_prepend(&block, header_make(&arena, SLICE("Received: r\n")));
	header_insert_after(&block, found, header_make(&arena, SLICE("Z: z")));
	wire = str_make(&arena);
	assert_int_equal(headers_to_wire(&block, &wire), OK);
	assert_true(slice_eq(str_slice(&wire), SLICE("Received: r\r\nY: 2\r\n\tmore\r\nX: 4\r\nZ: z\r\n")));
	arena_done(&arena);
}

static void test_decode(void **state)
{
	static const struct {
		const char *text, *decoded;
	} words[] = {
	    {"plain", "plain"},
	    {"=?utf-8?Q?caf=C3=A9?=", "caf\xc3\xa9"},
	    {"=?iso-8859-1?B?6Q==?=", "\xc3\xa9"},
	    {"=?iso-8859-1?b?6Q?=", "\xc3\xa9"},
	    {"=?utf-8?Q?a?= =?utf-8?Q?b?= c =?utf-8?q?a_b?=", "ab c a b"},
	    {"=?utf-8?Q?a?=\n =?utf-8?Q?b?=", "ab"},
	    {"x =?utf-8?Q?a?= y", "x a y"},
	    {"=?us-ascii*en?Q?a?=", "a"},
	    {"=?utf-8?Q?a=00b?=", "a?b"},
	    /* Broken ones stay as they are. */
	    {"=?", "=?"},
	    {"=?utf-8?Q?", "=?utf-8?Q?"},
	    {"=?utf-8?Q?a", "=?utf-8?Q?a"},
	    {"=?utf-8?X?a?=", "=?utf-8?X?a?="},
	    {"=?utf-8?Q?a=?=", "=?utf-8?Q?a=?="},
	    {"=?utf-8?Q?a=4?=", "=?utf-8?Q?a=4?="},
	    {"=?utf-8?Q?a b?=", "=?utf-8?Q?a b?="},
	    {"=?utf-8?B?*?=", "=?utf-8?B?*?="},
	    /* Well-formed, but bytes that are none of the set's, or a set that nobody knows: not translated. */
	    {"=?utf-8?Q?=C3?=", "\xc3"},
	    {"=?no-such-set?Q?a=e9?=", "a\xe9"},
	    {"=??Q?a?=", "=??Q?a?="},
	    {"=?utf-8?Q?a?= =?utf-8?Q?=?=", "a =?utf-8?Q?=?="},
	    {"=?=?utf-8?Q?a?=", "=?a"},
	};
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		struct slice got = rfc2047_decode(&arena, arena_copy(&arena, slice_of(words[i].text)), true);
		if (!slice_eq(got, slice_of(words[i].decoded)))
			fail_msg("%s: %.*s", words[i].text, SLICE_ARG(got));
	}
	/* More than 75 characters: only decoded when that is not minded. */
	struct slice text =
	    SLICE("=?utf-8?Q?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?=");
	assert_true(slice_eq(rfc2047_decode(&arena, text, true), text));
	assert_int_equal(rfc2047_decode(&arena, text, false).len, text.len - 12);
	arena_done(&arena);
}

static void test_encode(void **state)
{
	struct arena arena;
	struct slice text, coded;

	(void)state;
	arena_init(&arena, 0);
	assert_true(slice_eq(rfc2047_encode(&arena, SLICE("plain (x)"), SLICE("UTF-8")), SLICE("plain (x)")));
	assert_true(slice_eq(rfc2047_encode(&arena, SLICE("caf\xc3\xa9 _x"), SLICE("UTF-8")),
			     SLICE("=?UTF-8?Q?caf=C3=A9_=5Fx?=")));
	text = arena_printf(&arena, "%s",
			    "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
			    "\xc3\xa9\xc3\xa9\xc3\xa9 and so on\nnext line\r");
	coded = rfc2047_encode(&arena, text, SLICE("UTF-8"));
	assert_true(slice_find(coded, '\n') < 0);
	assert_true(slice_eq(rfc2047_decode(&arena, coded, true), text));
	arena_done(&arena);
}

static void test_date(void **state)
{
	static const struct {
		const char *zone;
		uint64_t seconds;
		const char *text;
	} dates[] = {
	    {"UTC", 0, "Thu, 01 Jan 1970 00:00:00 +0000"},
	    {"UTC", 1795224076, "Sat, 21 Nov 2026 01:21:16 +0000"},
	    {"XXX+3:30", 1795224076, "Fri, 20 Nov 2026 21:51:16 -0330"},
	    {"XXX-14", 1795224076, "Sat, 21 Nov 2026 15:21:16 +1400"},
	    {"UTC", 253402300799, "Fri, 31 Dec 9999 23:59:59 +0000"},
	    {"UTC", UINT64_MAX, "Thu, 01 Jan 1970 00:00:00 +0000"},
	};
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (size_t i = 0; i < ARRAY_COUNT(dates); i++) {
		struct str str = str_make(&arena);
		setenv("TZ", dates[i].zone, 1);
		tzset();
		date_rfc5322(&str, dates[i].seconds);
		if (!slice_eq(str_slice(&str), slice_of(dates[i].text)))
			fail_msg("%.*s", SLICE_ARG(str_slice(&str)));
	}
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parse),  cmocka_unit_test(test_no_memory), cmocka_unit_test(test_edit),
	    cmocka_unit_test(test_decode), cmocka_unit_test(test_encode),    cmocka_unit_test(test_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
