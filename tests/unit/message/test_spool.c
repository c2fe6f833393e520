/* Messages on a real spool: what was committed is loaded again, whole, and read from wherever it is. */
#include "../reactor/harness.h"

#include "message/message.h"

bool log_wants(const struct conf *conf, enum log_selector selector)
{
	(void)conf;
	(void)selector;
	return false;
}

static void run_on_spool(void (*f)(struct task *, void *directory))
{
	char directory[] = "/tmp/sluice-message-XXXXXX", command[64];

	assert_non_null(mkdtemp(directory));
	(void)run_fn(f, directory);
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	assert_int_equal(system(command), 0);
}

static void must(enum rc rc, const struct err *err)
{
	if (rc != OK)
		fail_msg("%s: %.*s", rc_name(rc), SLICE_ARG(err->text));
}

static struct spool *open_spool(struct task *task, const char *directory)
{
	struct spool_options options = {
	    .directory = directory, .segment_size = 8 * 1024 * 1024, .sync = true};
	struct err err = err_make(task->arena);
	struct spool *spool;

	must(spool_open(task, &options, NULL, NULL, &spool, &err), &err);
	return spool;
}

static struct message *make(void)
{
	struct recipient recipient = {.address = SLICE("a@b"),
				      .original = SLICE("a@b"),
				      .parent = -1,
				      .orcpt = SLICE_EMPTY,
				      .errors_to = SLICE_EMPTY};
	struct message *message = message_new(NULL, 0);
	uint32_t used;

	assert_true(message_id_parse(SLICE("1xUZSM-000000003OG-2TAU"), &message->id));
	message->received = 1795222794588782000;
	message->sender = SLICE("s@x");
	assert_true(message_add_recipient(message, &recipient));
	assert_int_equal(
	    header_block_parse(&message->arena, SLICE("Subject: x\r\n\r\n"), &message->headers, &used, NULL),
	    OK);
	return message;
}

static void expect_body(struct task *task, struct message *message, struct slice want)
{
	struct err err = err_make(task->arena);
	struct body_reader reader;
	struct slice piece;
	size_t at = 0;
	enum rc rc;

	body_reader_init(&reader, message);
	while ((rc = body_next(task, &reader, &piece, &err)) == OK) {
		assert_true(piece.len <= want.len - at);
		assert_memory_equal(piece.ptr, want.ptr + at, piece.len);
		at += piece.len;
	}
	assert_int_equal(rc, FAIL);
	assert_int_equal(err.text.len, 0);
	assert_int_equal(at, want.len);
}

static struct slice value_of(struct task *task, struct message *message, const char *name)
{
	struct slice value = SLICE_EMPTY;
	struct scope scope;

	scope_init(&scope, task, NULL);
	scope.message = message;
	for (unsigned i = 0; i < message_variables.count; i++)
		if (strcmp(message_variables.rows[i].name, name) == 0)
			assert_int_equal(
			    message_variables.rows[i].get(&scope, &message_variables.rows[i], &value, NULL),
			    OK);
	return value;
}

static void small_on(struct task *task, void *directory)
{
	struct spool *spool = open_spool(task, directory);
	struct err err = err_make(task->arena);
	struct message *message = make(), *again;
	struct body_reader reader;
	struct slice piece;

	assert_true(body_add(message, NULL, "line1\r\n", 7));
	assert_true(body_add(message, NULL, "", 0));
	assert_true(body_add(message, NULL, "line2", 5));
	assert_true(body_add(message, NULL, "\r\n", 2));
	must(message_commit(task, spool, message, &err), &err);
	assert_ptr_equal(message->spool, spool);
	/* A reader that began in memory does not notice that the buffers are given back. */
	body_reader_init(&reader, message);
	must(body_next(task, &reader, &piece, &err), &err);
	assert_true(slice_eq(piece, SLICE("line1\r\n")));
	body_drop(&message->body);
	must(body_next(task, &reader, &piece, &err), &err);
	assert_true(slice_eq(piece, SLICE("line2\r\n")));
	assert_int_equal(body_next(task, &reader, &piece, &err), FAIL);

	must(message_load(task, spool, message->entry, NULL, &again, &err), &err);
	assert_string_equal(again->id.text, message->id.text);
	assert_true(again->received == message->received);
	assert_true(slice_eq(again->sender, SLICE("s@x")));
	assert_false(again->body.lf);
	assert_int_equal(again->body.line_count, 2);
	expect_body(task, again, SLICE("line1\r\nline2\r\n"));
	assert_true(slice_eq(value_of(task, again, "message_body"), SLICE("line1 line2 ")));
	assert_true(slice_eq(value_of(task, again, "message_body_size"), SLICE("12")));
	message_unref(again);
	message_unref(message);
	spool_close(task, spool);

	spool = open_spool(task, directory);
	assert_int_equal(spool_count(spool), 1);
	must(message_load(task, spool, spool_first(spool), NULL, &again, &err), &err);
	expect_body(task, again, SLICE("line1\r\nline2\r\n"));
	message_unref(again);
	spool_close(task, spool);
}

#define LINE       "0123456789012345678901234567890123456789012345678901234567890\r\n"
#define LINE_COUNT 60000u

/* Larger than memory likes: most of it was written while it came. */
static void large_on(struct task *task, void *directory)
{
	struct spool *spool = open_spool(task, directory);
	struct err err = err_make(task->arena);
	struct message *message = make(), *again;
	struct str whole = str_make(task->arena);
	struct slice want, piece;
	struct body_reader reader;

	for (unsigned i = 0; i < LINE_COUNT; i++) {
		str_printf(&whole, "%06u", i);
		str_add(&whole, SLICE(LINE));
	}
	want = str_slice(&whole);
	for (uint32_t at = 0; at < want.len; at += 5000) {
		struct slice part = slice_sub(want, at, 5000);
		assert_true(body_add(message, NULL, part.ptr, part.len));
		if (at % 100000 == 0)
			must(body_spill(task, spool, message, &err), &err);
	}
	assert_true(message->body.spilled > 3000000 && !message->body.in_memory);
	assert_int_equal(message->body.line_count, LINE_COUNT);
	/* Its start is still at hand, and the rest cannot be had before it is committed. */
	assert_true(slice_starts(value_of(task, message, "message_body"), SLICE("000000012345")));
	body_reader_init(&reader, message);
	assert_int_equal(body_next(task, &reader, &piece, &err), DEFER);

	must(message_commit(task, spool, message, &err), &err);
	assert_null(message->body.spill);
	expect_body(task, message, want);
	must(message_load(task, spool, message->entry, NULL, &again, &err), &err);
	expect_body(task, again, want);
	assert_int_equal(value_of(task, again, "message_body").len, 500);
	assert_true(slice_ends(value_of(task, again, "message_body_end"), SLICE("67890 ")));
	message_unref(again);
	message_unref(message);

	/* One that is given up: nothing of it stays. */
	message = make();
	assert_true(body_add(message, NULL, want.ptr, 200000));
	must(body_spill(task, spool, message, &err), &err);
	message_unref(message);
	assert_int_equal(spool_count(spool), 1);
	spool_close(task, spool);
}

static void malformed_on(struct task *task, void *directory)
{
	struct spool *spool = open_spool(task, directory);
	struct err err = err_make(task->arena);
	struct iovec iov = {(void *)"no envelope\n", 12};
	struct message *message = make(), *again;
	struct spool_entry *entry;

	must(spool_commit(task, spool, &message->id, 1, &iov, 1, NULL, NULL, 0, &entry, &err), &err);
	assert_int_equal(message_load(task, spool, entry, NULL, &again, &err), FAIL);
	assert_true(slice_starts(err.text, SLICE("spool format error")));
	message->sender = SLICE("a\nb");
	assert_int_equal(message_commit(task, spool, message, &err), FAIL);
	assert_null(message->entry);
	message_unref(message);
	spool_close(task, spool);
}

static void test_small(void **state)
{
	(void)state;
	run_on_spool(small_on);
}

static void test_large(void **state)
{
	(void)state;
	run_on_spool(large_on);
}

static void test_malformed(void **state)
{
	(void)state;
	run_on_spool(malformed_on);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_small),
	    cmocka_unit_test(test_large),
	    cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
