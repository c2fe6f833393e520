/* Replies: whatever the pieces are in which the bytes come, the same reply; bounds; what is no reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "redis/reply.h"

/* A reply on one line. */
static void show(struct str *out, const struct redis_reply *reply)
{
	static const char *const names[] = {"nil", "string", "status", "error", "integer", "array"};

	str_addz(out, names[reply->kind]);
	if (reply->kind == REDIS_INTEGER)
		str_printf(out, " %lld", (long long)reply->integer);
	else if (reply->kind == REDIS_ARRAY) {
		str_addz(out, "(");
		for (uint32_t i = 0; i < reply->count; i++) {
			if (i)
				str_addz(out, ", ");
			show(out, &reply->items[i]);
		}
		str_addz(out, ")");
	} else if (reply->kind != REDIS_NIL) {
		str_printf(out, " <%.*s>", SLICE_ARG(reply->text));
	}
}

static void read_all(const char *bytes, size_t piece, const char *expected)
{
	struct reply_reader *reader = reply_reader_new();
	struct slice rest = slice_of(bytes);
	const struct redis_reply *reply;
	struct redis_reply copy;
	struct arena arena;
	const char *why = "?";
	struct str out;
	enum rc rc = DEFER;

	assert_non_null(reader);
	arena_init(&arena, 0);
	out = str_make(&arena);
	for (; rest.len && rc == DEFER; rest = slice_from(rest, piece)) {
		assert_true(reply_reader_feed(reader, slice_sub(rest, 0, piece)));
		while ((rc = reply_reader_next(reader, &reply, &why)) == OK) {
			if (out.len)
				str_addz(&out, "; ");
			assert_true(reply_copy(&arena, reply, &copy));
			show(&out, &copy);
		}
	}
	if (rc == FAIL)
		str_printf(&out, "; %s", why);
	assert_int_equal(str_slice(&out).len, strlen(expected));
	assert_memory_equal(str_slice(&out).ptr, expected, strlen(expected));
	arena_done(&arena);
	reply_reader_free(reader);
}

static void replies_in_pieces(void **state)
{
	static const struct {
		const char *bytes, *expected;
	} cases[] = {
	    {"+OK\r\n", "status <OK>"},
	    {"-ERR no\r\n", "error <ERR no>"},
	    {":-7\r\n", "integer -7"},
	    {"$-1\r\n", "nil"},
	    {"*-1\r\n", "nil"},
	    {"*0\r\n", "array()"},
	    {"$0\r\n\r\n", "string <>"},
	    {"$7\r\na\r\nb\r\nc\r\n", "string <a\r\nb\r\nc>"},
	    {"*3\r\n:1\r\n*2\r\n:2\r\n$1\r\nx\r\n$-1\r\n",
	     "array(integer 1, array(integer 2, string <x>), nil)"},
	    {"+1\r\n+2\r\n*1\r\n+3\r\n", "status <1>; status <2>; array(status <3>)"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++)
		for (size_t piece = 1; piece < 40; piece++)
			read_all(cases[i].bytes, piece, cases[i].expected);
}

static void what_is_no_reply(void **state)
{
	static const struct {
		const char *bytes, *expected;
	} cases[] = {
	    {"HTTP/1.1 400 Bad Request\r\n", "; malformed reply"},
	    {"+1\r\n!\r\n", "status <1>; malformed reply"},
	    {"*99999999999\r\n", "; malformed reply"},
	    {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "; malformed reply"},
	    /* An array that could not be held, and is not begun. */
	    {"*2147483647\r\n", "; reply too large"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++)
		read_all(cases[i].bytes, 1000, cases[i].expected);
}

/* A string is refused before it has been collected. */
static void endless_string(void **state)
{
	static char block[65536];
	struct reply_reader *reader = reply_reader_new();
	const struct redis_reply *reply;
	const char *why;
	size_t fed = 0;

	(void)state;
	memset(block, 'x', sizeof(block));
	assert_true(reply_reader_feed(reader, SLICE("$2000000000\r\n")));
	while (fed < 2 * REDIS_REPLY_SIZE_MAX &&
	       reply_reader_feed(reader, slice_make(block, sizeof(block), CLEAN))) {
		assert_int_equal(reply_reader_next(reader, &reply, &why), DEFER);
		fed += sizeof(block);
	}
	assert_in_range(fed, REDIS_REPLY_SIZE_MAX - sizeof(block), REDIS_REPLY_SIZE_MAX);
	reply_reader_free(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(replies_in_pieces),
	    cmocka_unit_test(what_is_no_reply),
	    cmocka_unit_test(endless_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
