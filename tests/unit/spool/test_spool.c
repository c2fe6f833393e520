/* The spool on the real disk: what was stored is found again, whole, after every kind of end. */
#include "harness.h"

#define SMALL_SEGMENT (1024 * 1024)

static struct spool_options options_in(const char *directory)
{
	return (struct spool_options){.directory = directory, .segment_size = SMALL_SEGMENT, .sync = true};
}

static struct spool *open_spool(struct task *task, const char *directory)
{
	struct spool_options options = options_in(directory);
	struct err err = err_make(task->arena);
	struct spool *spool;

	must(spool_open(task, &options, NULL, NULL, &spool, &err), &err);
	assert_int_equal(err.text.len, 0);
	return spool;
}

static struct spool_entry *store(struct task *task, struct spool *spool, uint64_t number, size_t envelope_len,
				 size_t body_len)
{
	struct err err = err_make(task->arena);
	struct message_id id = id_of(number);
	struct spool_entry *entry = NULL;
	char *envelope = malloc(envelope_len + 1), *body = malloc(body_len + 1);
	struct iovec iov[2] = {{envelope, envelope_len / 3},
			       {envelope + envelope_len / 3, envelope_len - envelope_len / 3}};
	struct frag frags[3] = {{NULL, body, (uint32_t)(body_len / 2)},
				{NULL, body + body_len / 2, 0},
				{NULL, body + body_len / 2, (uint32_t)(body_len - body_len / 2)}};

	pattern(envelope, envelope_len, number, 1000000);
	pattern(body, body_len, number, 0);
	must(spool_commit(task, spool, &id, 1700000000 + number, iov, 2, NULL, frags, 3, &entry, &err), &err);
	free(envelope);
	free(body);
	return entry;
}

static void check(struct task *task, struct spool *spool, struct spool_entry *entry, uint64_t number,
		  size_t envelope_len, size_t body_len)
{
	struct err err = err_make(task->arena);
	struct slice envelope;
	char *expected = malloc(envelope_len + body_len + 1), *body = malloc(body_len + 100);
	size_t got;

	assert_non_null(entry);
	assert_string_equal(entry->id.text, id_of(number).text);
	assert_int_equal(entry->received, 1700000000 + number);
	assert_int_equal(entry->envelope_len, envelope_len);
	assert_int_equal(entry->body_len, body_len);
	must(spool_envelope(task, spool, entry, &envelope, &err), &err);
	pattern(expected, envelope_len, number, 1000000);
	assert_int_equal(envelope.len, envelope_len);
	assert_memory_equal(envelope.ptr, expected, envelope_len);
	must(spool_body(task, spool, entry, 0, body, body_len + 100, &got, &err), &err);
	assert_int_equal(got, body_len);
	pattern(expected, body_len, number, 0);
	assert_memory_equal(body, expected, body_len);
	if (body_len > 10) {
		must(spool_body(task, spool, entry, body_len - 7, body, 100, &got, &err), &err);
		assert_int_equal(got, 7);
		assert_memory_equal(body, expected + body_len - 7, 7);
	}
	free(expected);
	free(body);
}

static const size_t sizes[][2] = {{1, 0},        {0, 1},         {300, 4096},  {1500, 50000},
				  {5000, 65536}, {70000, 65537}, {100, 120000}};

static void store_and_find_on(struct task *task, void *arg)
{
	char *directory = arg;
	struct spool *spool = open_spool(task, directory);
	struct spool_entry *entry;

	for (uint64_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		entry = store(task, spool, i, sizes[i][0], sizes[i][1]);
		check(task, spool, entry, i, sizes[i][0], sizes[i][1]);
	}
	assert_int_equal(spool_count(spool), ARRAY_COUNT(sizes));
	spool_close(task, spool);

	/* Twice: after the first opening everything is found by indexes. */
	for (int round = 0; round < 2; round++) {
		uint64_t i = 0;

		spool = open_spool(task, directory);
		assert_int_equal(spool_count(spool), ARRAY_COUNT(sizes));
		for (entry = spool_first(spool); entry; entry = spool_next(spool, entry), i++)
			check(task, spool, entry, i, sizes[i][0], sizes[i][1]);
		assert_int_equal(i, ARRAY_COUNT(sizes));
		spool_close(task, spool);
	}
}

static void store_and_find(void **state)
{
	run_on(0, 1, store_and_find_on, *state);
}

static void collect(void *arg, struct slice record)
{
	struct str *all = arg;

	str_add(all, record);
	str_addc(all, ';');
}

static void expect_outcomes(struct task *task, struct spool *spool, struct spool_entry *entry,
			    const char *expected)
{
	struct err err = err_make(task->arena);
	struct str all = str_make(task->arena);

	must(spool_outcomes(task, spool, entry, collect, &all, &err), &err);
	str_addc(&all, 0);
	assert_string_equal(all.ptr, expected);
}

static void history_on(struct task *task, void *arg)
{
	char *directory = arg;
	struct spool *spool = open_spool(task, directory);
	struct err err = err_make(task->arena);
	struct spool_entry *a = store(task, spool, 1, 100, 1000), *b = store(task, spool, 2, 100, 1000);
	struct spool_entry *c = store(task, spool, 3, 100, 1000);
	struct message_id id;
	struct slice envelope;

	must(spool_outcome(task, spool, a, SLICE("first"), false, &err), &err);
	must(spool_outcome(task, spool, a, SLICE("second"), true, &err), &err);
	must(spool_outcome(task, spool, b, SLICE("of b"), false, &err), &err);
	expect_outcomes(task, spool, a, "first;second;");
	must(spool_rewrite(task, spool, b, SLICE("another envelope"), &err), &err);
	spool_mark(spool, a, true);
	spool_done(spool, c);
	id = id_of(3);
	assert_null(spool_find(spool, &id));
	must(spool_outcome(task, spool, a, SLICE("third"), false, &err), &err);
	expect_outcomes(task, spool, a, "first;second;third;");
	assert_int_equal(
	    spool_outcome(task, spool, a, (struct slice){"", SPOOL_OUTCOME_MAX + 1, CLEAN}, false, &err),
	    FAIL);
	spool_close(task, spool);

	spool = open_spool(task, directory);
	assert_int_equal(spool_count(spool), 2);
	id = id_of(1);
	a = spool_find(spool, &id);
	id = id_of(2);
	b = spool_find(spool, &id);
	check(task, spool, a, 1, 100, 1000);
	assert_true(a->frozen);
	assert_false(b->frozen);
	assert_int_equal(a->outcome_count, 3);
	expect_outcomes(task, spool, a, "first;second;third;");
	expect_outcomes(task, spool, b, "of b;");
	assert_int_equal(b->envelope_len, 16);
	must(spool_envelope(task, spool, b, &envelope, &err), &err);
	assert_memory_equal(envelope.ptr, "another envelope", 16);
	spool_mark(spool, a, false);
	spool_done(spool, b);
	spool_close(task, spool);

	spool = open_spool(task, directory);
	assert_int_equal(spool_count(spool), 1);
	a = spool_first(spool);
	assert_false(a->frozen);
	expect_outcomes(task, spool, a, "first;second;third;");
	spool_close(task, spool);
}

static void history(void **state)
{
	run_on(0, 1, history_on, *state);
}

/* A body that comes in pieces, over several segments, and one that is given up. */
static void spilled_on(struct task *task, void *arg)
{
	char *directory = arg, *bytes = malloc(5000000);
	struct spool *spool = open_spool(task, directory);
	struct err err = err_make(task->arena);
	struct message_id id = id_of(9);
	struct iovec envelope = {"envelope", 8};
	struct spool_entry *entry;
	struct spill *spill, *given_up;
	struct frag frag;

	pattern(bytes, 5000000, 9, 0);
	must(spill_begin(task, spool, &spill, &err), &err);
	must(spill_begin(task, spool, &given_up, &err), &err);
	for (size_t at = 0; at < 4900000; at += 100000) {
		frag = (struct frag){NULL, bytes + at, 100000};
		must(spill_append(task, spill, &frag, 1, &err), &err);
		if (at < 1000000)
			must(spill_append(task, given_up, &frag, 1, &err), &err);
	}
	spill_cancel(given_up);
	spill_cancel(NULL);
	frag = (struct frag){NULL, bytes + 4900000, 100000};
	must(spool_commit(task, spool, &id, 5, &envelope, 1, spill, &frag, 1, &entry, &err), &err);
	assert_int_equal(entry->body_len, 5000000);
	for (int round = 0; round < 3; round++) {
		char *got_bytes = malloc(1000001);
		size_t got;

		for (size_t at = 0; at < 5000000; at += got) {
			must(spool_body(task, spool, entry, at, got_bytes, 1000001, &got, &err), &err);
			assert_true(got > 0);
			assert_memory_equal(got_bytes, bytes + at, got);
		}
		must(spool_body(task, spool, entry, 5000000, got_bytes, 10, &got, &err), &err);
		assert_int_equal(got, 0);
		free(got_bytes);
		spool_close(task, spool);
		spool = open_spool(task, directory);
		entry = spool_first(spool);
		assert_int_equal(spool_count(spool), 1);
	}
	/* A large one in one call is cut up the same way. */
	id = id_of(10);
	frag = (struct frag){NULL, bytes, 5000000};
	must(spool_commit(task, spool, &id, 5, &envelope, 1, NULL, &frag, 1, &entry, &err), &err);
	assert_int_equal(entry->body_len, 5000000);
	spool_done(spool, entry);
	spool_close(task, spool);
	free(bytes);
}

static void spilled(void **state)
{
	run_on(0, 1, spilled_on, *state);
}

static void refusals_on(struct task *task, void *arg)
{
	char *directory = arg, *huge = calloc(1, SPOOL_RECORD_MAX + 1);
	struct spool *spool = open_spool(task, directory);
	struct err err = err_make(task->arena);
	struct message_id id = id_of(1);
	struct iovec envelope = {huge, SPOOL_RECORD_MAX + 1};
	struct spool_entry *entry = NULL;

	assert_int_equal(spool_commit(task, spool, &id, 5, &envelope, 1, NULL, NULL, 0, &entry, &err), FAIL);
	envelope.iov_len = SMALL_SEGMENT;
	assert_int_equal(spool_commit(task, spool, &id, 5, &envelope, 1, NULL, NULL, 0, &entry, &err), FAIL);
	envelope.iov_len = 10;
	must(spool_commit(task, spool, &id, 5, &envelope, 1, NULL, NULL, 0, &entry, &err), &err);
	assert_int_equal(spool_commit(task, spool, &id, 5, &envelope, 1, NULL, NULL, 0, &entry, &err), FAIL);
	assert_int_equal(spool_count(spool), 1);
	task->cancelled = true;
	id = id_of(2);
	assert_int_equal(spool_commit(task, spool, &id, 5, &envelope, 1, NULL, NULL, 0, &entry, &err),
			 CANCELLED);
	task->cancelled = false;
	assert_int_equal(spool_count(spool), 1);
	spool_close(task, spool);
	free(huge);
}

static void refusals(void **state)
{
	run_on(0, 1, refusals_on, *state);
}

/* Fewer shards, then more again: each message is with exactly one of them, and ends once. */
static void store_four(struct task *task, void *arg)
{
	struct spool *spool = open_spool(task, arg);

	for (unsigned i = 0; i < 4; i++)
		(void)store(task, spool, shard_id(task->shard) * 10 + i, 100, 2000);
	spool_close(task, spool);
}

static void find_all_end_one(struct task *task, void *arg)
{
	struct spool *spool = open_spool(task, arg);
	struct err err = err_make(task->arena);
	struct message_id id = id_of(22);

	assert_int_equal(spool_count(spool), 12);
	for (unsigned shard = 0; shard < 3; shard++)
		for (unsigned i = 0; i < 4; i++) {
			struct message_id each = id_of(shard * 10 + i);

			check(task, spool, spool_find(spool, &each), shard * 10 + i, 100, 2000);
		}
	must(spool_outcome(task, spool, spool_find(spool, &id), SLICE("tried"), true, &err), &err);
	id = id_of(21);
	spool_done(spool, spool_find(spool, &id));
	spool_close(task, spool);
}

static void find_own(struct task *task, void *arg)
{
	struct spool *spool = open_spool(task, arg);
	unsigned expected = shard_id(task->shard) == 2 ? 3 : 4;
	struct message_id id = id_of(22);

	assert_int_equal(spool_count(spool), expected);
	if (shard_id(task->shard) == 2)
		expect_outcomes(task, spool, spool_find(spool, &id), "tried;");
	spool_close(task, spool);
}

static void end_all(struct task *task, void *arg)
{
	struct spool *spool = open_spool(task, arg);

	assert_int_equal(spool_count(spool), 11);
	while (spool_first(spool))
		spool_done(spool, spool_first(spool));
	spool_close(task, spool);
	spool = open_spool(task, arg);
	assert_int_equal(spool_count(spool), 0);
	spool_close(task, spool);
}

static void shard_count_changes(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		run_on(i, 3, store_four, *state);
	run_on(0, 1, find_all_end_one, *state);
	for (unsigned i = 0; i < 3; i++)
		run_on(i, 3, find_own, *state);
	run_on(0, 1, end_all, *state);
}

static int set_up(void **state)
{
	*state = new_directory();
	return 0;
}

static int tear_down(void **state)
{
	remove_directory(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(store_and_find, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(history, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(spilled, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(refusals, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(shard_count_changes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
