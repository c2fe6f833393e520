/* Bodies: pieces in memory, counts, spellings; and the memory of a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/message.h"

/* Never used, only pointed at: the buffers' last reference stays ours. */
static max_align_t shard_room[4096];
#define SHARD ((struct shard *)shard_room)

static void test_pieces(void **state)
{
	struct message *message = message_new(NULL, 0);
	struct buf one = {.refs = 5, .shard = SHARD}, two = {.refs = 5, .shard = SHARD};
	struct body_reader reader;
	struct str str;
	struct slice piece;
	struct err err;

	(void)state;
	assert_true(body_add(message, &one, "ab\r\nc", 5));
	assert_true(body_add(message, &one, "", 0));
	assert_true(body_add(message, &two, "d\r", 2));
	assert_true(body_add(message, NULL, "\n\0\r\nlonger line\r\n", 17));
	assert_int_equal(message->body.size, 24);
	assert_int_equal(message->body.line_count, 4);
	assert_int_equal(message->body.zero_count, 1);
	assert_int_equal(message->body.line_length_max, 11);
	assert_int_equal(body_lf_size(&message->body), 20);
	assert_int_equal(one.refs, 6);
	assert_int_equal(two.refs, 6);

	err = err_make(&message->arena);
	str = str_make(&message->arena);
	body_reader_init(&reader, message);
	while (body_next(NULL, &reader, &piece, &err) == OK) {
		assert_int_equal(piece.taint, TAINTED);
		str_add(&str, piece);
	}
	assert_int_equal(err.text.len, 0);
	assert_memory_equal(str.ptr, "ab\r\ncd\r\n\0\r\nlonger line\r\n", 24);
	assert_int_equal(body_keep_start(message, 6), OK);
	body_drop(&message->body);
	assert_int_equal(one.refs, 5);
	assert_int_equal(two.refs, 5);
	assert_true(slice_eq(message->body.start, SLICE("ab\r\ncd")));
	/* Gone from memory, and not on any spool: neither text nor an end, but an error. */
	body_reader_init(&reader, message);
	struct task task = {.arena = &message->arena};
	assert_int_equal(body_next(&task, &reader, &piece, &err), DEFER);
	assert_true(err.text.len > 0);
	message_unref(message);
}

/* Pieces of one buffer that follow each other are one piece, with one reference. */
static void test_merge(void **state)
{
	struct message *message = message_new(NULL, 0);
	struct buf buf = {.refs = 1, .shard = SHARD};
	const char *bytes = "0123456789";

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_true(body_add(message, &buf, bytes + i, 1));
	assert_int_equal(message->body.frag_count, 1);
	assert_int_equal(buf.refs, 2);
	for (int i = 0; i < 100; i++)
		assert_true(body_add(message, &buf, bytes + 1, 1));
	assert_int_equal(message->body.frag_count, 101);
	message_unref(message);
	assert_int_equal(buf.refs, 1);
}

/* Small packets fill the buffer of the piece before them, as long as nothing of another stands there. */
static void test_small_packets(void **state)
{
	struct message *message = message_new(NULL, 0);
	char room[16] = "ab?";
	struct buf first = {.refs = 1, .len = 3, .size = 16, .bytes = room, .shard = SHARD};
	struct buf more = {.refs = 5, .shard = SHARD};

	(void)state;
	/* The third byte of the buffer is somebody else's. */
	assert_true(body_append(message, &first, room, 2));
	assert_true(body_append(message, &more, "c", 1));
	assert_int_equal(message->body.frag_count, 2);
	assert_memory_equal(room, "ab?", 3);
	message_unref(message);
	assert_int_equal(first.refs, 1);

	/* Ours alone: what was behind the piece (a CR that belonged to the end of the message) has been read. */
	message = message_new(NULL, 0);
	assert_true(body_append(message, &first, room, 2));
	first.refs--; /* the stream's */
	for (unsigned i = 0; i < 14; i++)
		assert_true(body_append(message, &more, &"cdefghijklmnop"[i], 1));
	assert_int_equal(message->body.frag_count, 1);
	assert_memory_equal(room, "abcdefghijklmnop", 16);
	assert_int_equal(message->body.size, 16);
	assert_true(body_append(message, &more, "q", 1)); /* full */
	assert_int_equal(message->body.frag_count, 2);
	assert_int_equal(more.refs, 6);

	/* Scarce buffers: the bytes become the message's own. */
	first.refs++;
	assert_true(body_own(message));
	assert_int_equal(first.refs, 1);
	assert_int_equal(more.refs, 5);
	assert_memory_equal(message->body.frags[0].ptr, "abcdefghijklmnop", 16);
	assert_true(message->body.frags[0].ptr != room);
	assert_true(body_append(message, &more, "r", 1));
	assert_true(body_own(message));
	assert_int_equal(more.refs, 5);
	message_unref(message);
}

static void test_no_memory(void **state)
{
	struct message *message = message_new(NULL, 40000);
	unsigned count = 0;

	(void)state;
	assert_null(message_new(NULL, 1));
	assert_non_null(message);
	while (count < 100000 && body_add(message, NULL, &"ab"[count % 2], 1))
		count++;
	assert_true(count < 100000);
	assert_int_equal(message->body.size, count);
	message_unref(message);
}

/* One chunk of 16 KiB holds a typical message: ten header fields, three recipients, its envelope text. */
static void test_small(void **state)
{
	struct message *message = message_new(NULL, 0);
	struct recipient recipient = {.address = SLICE("someone@destination.example"),
				      .parent = -1,
				      .orcpt = SLICE_EMPTY,
				      .errors_to = SLICE_EMPTY};
	struct client client = {.arena = &message->arena};
	struct str raw = str_make(&message->arena);
	uint32_t used;

	(void)state;
	client_clear(&client);
	for (int i = 0; i < 10; i++)
		str_printf(&raw, "X-Header-Number-%d: a value of some length, as they are\r\n", i);
	str_addz(&raw, "\r\n");
	assert_int_equal(header_block_parse(&message->arena, str_slice(&raw), &message->headers, &used, NULL),
			 OK);
	for (int i = 0; i < 3; i++)
		assert_true(message_add_recipient(message, &recipient));
	for (int i = 0; i < 8; i++)
		assert_true(body_add(message, NULL, &"abababab"[i & ~1], 1));
	message->client = client_copy(&message->arena, &client);
	assert_non_null(message->client);
#ifndef SLUICE_SANITIZE
	assert_int_equal(message->arena.used, 16 * 1024);
#endif
	assert_true(sizeof(struct message) + sizeof(struct client) < 3000);
	message->client = NULL;
	message_unref(message);
}

/* ---- Spellings ------------------------------------------------------------------------------------------------ */

static const char *const bodies[] = {
    "",    "\r\n",           ".",           ".\r\n",    "..\r\n", "a.b\r\n.c\r\n\r\n.\r\n..x", "abc\r\n",
    "abc", "\r\n.\r\n.\r\n", ".\r\n.\r\n.", "a\r\n.\r",
};

static void stuff_plain(struct str *str, struct slice body)
{
	bool start = true;

	for (uint32_t i = 0; i < body.len; i++) {
		if (start && body.ptr[i] == '.')
			str_addc(str, '.');
		str_addc(str, body.ptr[i]);
		start = body.ptr[i] == '\n';
	}
	str_addz(str, start ? ".\r\n" : "\r\n.\r\n");
}

static void stuff_piece(struct dot_stuffer *stuffer, struct str *str, struct slice piece, unsigned iov_max)
{
	struct iovec iov[8];
	unsigned count;

	while ((count = dot_stuffer_next(stuffer, &piece, iov, iov_max))) {
		assert_true(count <= iov_max);
		for (unsigned i = 0; i < count; i++) {
			assert_true(iov[i].iov_len > 0);
			str_add(str, slice_make(iov[i].iov_base, iov[i].iov_len, CLEAN));
		}
	}
}

/* Cut at any two places, in calls with little or much room: always the same. */
static void test_dot_stuffing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
		struct slice body = slice_of(bodies[i]);

		for (uint32_t a = 0; a <= body.len; a++)
			for (uint32_t b = a; b <= body.len; b++) {
				struct arena arena;
				struct str want, got;
				struct dot_stuffer stuffer;

				arena_init(&arena, 0);
				want = str_make(&arena);
				got = str_make(&arena);
				dot_stuffer_init(&stuffer);
				stuff_plain(&want, body);
				stuff_piece(&stuffer, &got, slice_sub(body, 0, a), 2);
				stuff_piece(&stuffer, &got, slice_sub(body, a, b - a), 3);
				stuff_piece(&stuffer, &got, slice_from(body, b), 8);
				str_add(&got, dot_stuffer_end(&stuffer));
				if (!slice_eq(str_slice(&want), str_slice(&got)))
					fail_msg("%s cut at %u and %u: %.*s", bodies[i], a, b,
						 SLICE_ARG(str_slice(&got)));
				arena_done(&arena);
			}
	}
}

static void test_line_ends(void **state)
{
	static const struct {
		const char *crlf, *lf, *again; /* from lf back to CRLF */
	} rows[] = {
	    {"a\r\nb\r\n", "a\nb\n", "a\r\nb\r\n"},
	    {"\r\n\r\n", "\n\n", "\r\n\r\n"},
	    {"a\rb\r\r\n", "a\rb\r\n", "a\r\nb\r\n"}, /* a bare CR, and one in front of a line end */
	    {"a\nb", "a\nb", "a\r\nb"},
	    {"", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct slice in = slice_of(rows[i].crlf), lf = slice_of(rows[i].lf);
		char out[64];

		for (uint32_t cut = 0; cut <= in.len; cut++) {
			bool pending = false;
			size_t len = crlf_to_lf(&pending, slice_sub(in, 0, cut), out);
			len += crlf_to_lf(&pending, slice_from(in, cut), out + len);
			assert_true(slice_eq(slice_make(out, len, CLEAN), lf));
			assert_false(pending);
		}
		for (uint32_t cut = 0; cut <= lf.len; cut++) {
			bool pending = false;
			size_t len = lf_to_crlf(&pending, slice_sub(lf, 0, cut), out);
			len += lf_to_crlf(&pending, slice_from(lf, cut), out + len);
			assert_true(slice_eq(slice_make(out, len, CLEAN), slice_of(rows[i].again)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pieces),        cmocka_unit_test(test_merge),
	    cmocka_unit_test(test_small_packets), cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_small),         cmocka_unit_test(test_dot_stuffing),
	    cmocka_unit_test(test_line_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
