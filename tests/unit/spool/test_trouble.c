/* Disks that fill up, fail, refuse and rot: new mail is deferred, nothing told is lost, and when the trouble is over
 * the spool goes on. */
#include "harness.h"
#include "fake_disk.h"

#define SEGMENT SEGMENT_SIZE_MIN

struct world {
	struct fake_disk *disk;
	struct spool *spool;
	struct spool_options options;
	uint64_t next;
	char damage[1200];
};

static void open_it(struct task *task, struct world *w)
{
	struct err err = err_make(task->arena);

	must(spool_open_on(&w->disk->disk, task, &w->options, NULL, NULL, &w->spool, &err), &err);
	snprintf(w->damage, sizeof(w->damage), "%.*s", SLICE_ARG(err.text));
}

static void reopen(struct task *task, struct world *w)
{
	spool_close(task, w->spool);
	open_it(task, w);
}

static enum rc store(struct task *task, struct world *w, size_t body_len, struct spool_entry **entry_ret,
		     struct err *err)
{
	struct message_id id = id_of(w->next);
	struct iovec iov = {"envelope", 8};
	char *body = malloc(body_len + 1);
	struct frag frag = {NULL, body, (uint32_t)body_len};
	enum rc rc;

	pattern(body, body_len, w->next, 0);
	rc = spool_commit(task, w->spool, &id, w->next, &iov, 1, NULL, &frag, 1, entry_ret, err);
	if (rc == OK)
		w->next++;
	free(body);
	return rc;
}

static struct spool_entry *stored(struct task *task, struct world *w, size_t body_len)
{
	struct err err = err_make(task->arena);
	struct spool_entry *entry = NULL;

	must(store(task, w, body_len, &entry, &err), &err);
	return entry;
}

static bool intact(struct task *task, struct world *w, struct spool_entry *entry)
{
	struct err err = err_make(task->arena);
	char *body = malloc(entry->body_len + 1), *expected = malloc(entry->body_len + 1);
	struct slice envelope;
	size_t got;
	bool good;

	good = spool_envelope(task, w->spool, entry, &envelope, &err) == OK &&
	       slice_eq(envelope, SLICE("envelope")) &&
	       spool_body(task, w->spool, entry, 0, body, entry->body_len, &got, &err) == OK;
	if (good) {
		assert_int_equal(got, entry->body_len);
		pattern(expected, got, entry->received, 0);
		assert_memory_equal(body, expected, got);
	}
	free(body);
	free(expected);
	return good;
}

static unsigned count_intact(struct task *task, struct world *w)
{
	unsigned count = 0;

	for (struct spool_entry *e = spool_first(w->spool); e; e = spool_next(w->spool, e))
		count += intact(task, w, e);
	return count;
}

/* ---- Tests -------------------------------------------------------------------------------------------- */

/* The queue can be emptied on a full disk, and then there is room again, without a byte more. */
static void full_disk_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct err err = err_make(task->arena);
	struct spool_entry *entry;
	unsigned count = 0;
	enum rc rc;

	w->disk->space = 3 * SEGMENT;
	open_it(task, w);
	while ((rc = store(task, w, 3000, &entry, &err)) == OK)
		count++;
	assert_int_equal(rc, DEFER);
	assert_int_equal(err.os, ENOSPC);
	assert_true(count > 100);
	assert_int_equal(spool_count(w->spool), count);
	for (int i = 0; i < 5; i++)
		assert_int_equal(store(task, w, 3000, &entry, &err), DEFER);
	/* What small things there are to say still find room, durably. */
	for (struct spool_entry *e = spool_first(w->spool); e; e = spool_next(w->spool, e))
		must(spool_outcome(task, w->spool, e, SLICE("tried"), false, &err), &err);
	must(spool_outcome(task, w->spool, spool_first(w->spool), SLICE("tried"), true, &err), &err);
	must(spool_rewrite(task, w->spool, spool_first(w->spool), SLICE("envelope"), &err), &err);
	reopen(task, w);
	assert_string_equal(w->damage, "");
	assert_int_equal(spool_count(w->spool), count);
	assert_int_equal(count_intact(task, w), count);
	assert_int_equal(spool_first(w->spool)->outcome_count, 2);
	assert_int_equal(store(task, w, 30000, &entry, &err), DEFER);
	/* Messages end, and their room comes back once a group has said so. */
	for (unsigned i = 0; i < count - 3; i++)
		spool_done(w->spool, spool_first(w->spool));
	must(spool_outcome(task, w->spool, spool_first(w->spool), SLICE("tried"), true, &err), &err);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + 1100 * NS_PER_MS), OK);
	for (unsigned i = 0; i < 50; i++) {
		entry = stored(task, w, 3000);
		spool_done(w->spool, entry);
	}
	reopen(task, w);
	assert_int_equal(spool_count(w->spool), 3);
	assert_int_equal(count_intact(task, w), 3);
	spool_close(task, w->spool);
}

static void room_comes_back_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct err err = err_make(task->arena);
	struct spool_entry *entry;

	w->disk->space = SEGMENT;
	open_it(task, w);
	while (store(task, w, 3000, &entry, &err) == OK)
		;
	w->disk->space = 10 * SEGMENT;
	assert_int_equal(store(task, w, 3000, &entry, &err), DEFER); /* it has just looked */
	assert_int_equal(task_sleep(task, shard_now(task->shard) + 1100 * NS_PER_MS), OK);
	for (int i = 0; i < 100; i++)
		(void)stored(task, w, 3000);
	assert_int_equal(count_intact(task, w), w->next - 1);
	spool_close(task, w->spool);

	/* Not even one segment: then nothing at all, politely. */
	w->disk->space = fake_used(w->disk);
	w->options.directory = "/other";
	open_it(task, w);
	spool_close(task, w->spool);
}

static void space_min_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct err err = err_make(task->arena);
	struct spool_entry *entry;
	struct spill *spill;
	int64_t bytes, inodes;

	w->disk->space = 10 * SEGMENT;
	w->options.space_min = 9 * SEGMENT;
	open_it(task, w);
	spool_space(w->spool, &bytes, &inodes);
	assert_int_equal(bytes, 10 * SEGMENT);
	assert_int_equal(inodes, -1);
	(void)stored(task, w, 100);
	w->disk->space = 9 * SEGMENT;
	assert_int_equal(task_sleep(task, shard_now(task->shard) + 1100 * NS_PER_MS), OK);
	assert_int_equal(store(task, w, 100, &entry, &err), DEFER);
	assert_int_equal(err.os, ENOSPC);
	assert_int_equal(spill_begin(task, w->spool, &spill, &err), DEFER);
	must(spool_outcome(task, w->spool, spool_first(w->spool), SLICE("tried"), true, &err), &err);
	spool_close(task, w->spool);
}

/* Each write in turn fails, half done; everything else goes on. */
static void nth_write_fails_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct err err = err_make(task->arena);
	struct spool_entry *entry;
	unsigned refused = 0;

	for (int64_t n = 0; n < 40; n++) {
		unsigned before;

		open_it(task, w);
		assert_string_equal(w->damage, "");
		before = spool_count(w->spool);
		assert_int_equal(count_intact(task, w), before);
		w->disk->fail_write_at = w->disk->writes + n % 10;
		w->disk->fail_os = n % 2 ? EIO : ENOSPC;
		for (int i = 0; i < 12; i++) {
			enum rc rc = store(task, w, 40000, &entry, &err);

			if (rc != OK) {
				assert_int_equal(rc, DEFER);
				assert_int_equal(err.os, w->disk->fail_os);
				refused++;
				must(store(task, w, 40000, &entry, &err), &err); /* at once again */
			}
			before++;
			assert_int_equal(spool_count(w->spool), before);
			if (i % 3) {
				spool_done(w->spool, spool_first(w->spool));
				before--;
			}
		}
		spool_close(task, w->spool);
	}
	assert_true(refused >= 20);
}

static void outcome_survives_failure_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct err err = err_make(task->arena);
	struct spool_stats stats;
	struct spool_entry *a;

	open_it(task, w);
	a = stored(task, w, 10);
	w->disk->fail_write_at = w->disk->writes;
	assert_int_equal(spool_outcome(task, w->spool, a, SLICE("one"), true, &err), DEFER);
	spool_stats(w->spool, &stats);
	assert_int_equal(stats.failures, 1);
	assert_int_equal(tally_get(&w->spool->metrics->failures), 1);
	assert_int_equal(tally_get(&w->spool->metrics->commits), 1);
	assert_int_equal(tally_get(&w->spool->metrics->groups), 1);
	must(spool_outcome(task, w->spool, a, SLICE("two"), true, &err), &err);
	spool_done(w->spool, stored(task, w, 10));
	w->disk->fail_write_at = w->disk->writes; /* of closing */
	spool_close(task, w->spool);
	open_it(task, w);
	assert_int_equal(spool_first(w->spool)->outcome_count, 2);
	assert_int_equal(spool_count(w->spool), 2); /* an end that was not written: repeated, not lost */
	spool_close(task, w->spool);
}

static void no_direct_io_on(struct task *task, void *arg)
{
	struct world *w = arg;

	w->disk->refuse_direct = true;
	open_it(task, w);
	for (int i = 0; i < 200; i++)
		(void)stored(task, w, 3000);
	assert_false(w->spool->direct);
	reopen(task, w);
	assert_int_equal(count_intact(task, w), 200);
	spool_close(task, w->spool);
}

static struct fake_file *segment_file(struct world *w, unsigned n)
{
	char name[50];
	struct fake_file *f;

	snprintf(name, sizeof(name), "/spool/segments/0-%u", n);
	f = fake_find(w->disk, name);
	assert_non_null(f);
	return f;
}

/* A bit falls over in a body: that message is deferred, all others are as they were, before and after a move. */
static void rotten_body_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct spool_stats stats;
	struct spool_entry *rotten;
	struct fake_file *f;

	open_it(task, w);
	for (int i = 0; i < 200; i++)
		(void)stored(task, w, 3000);
	spool_close(task, w->spool);
	f = segment_file(w, 0);
	f->now[SPOOL_BLOCK + 1000] ^= 4; /* in the first body */
	open_it(task, w);
	assert_string_equal(w->damage, ""); /* nobody has read it yet */
	assert_int_equal(spool_count(w->spool), 200);
	rotten = spool_first(w->spool);
	assert_false(intact(task, w, rotten));
	assert_int_equal(count_intact(task, w), 199);
	/* Most of them end, and much comes and goes, until the rest has been moved. */
	for (int i = 0; i < 190; i++)
		spool_done(w->spool, spool_next(w->spool, rotten));
	for (int i = 0; i < 2000; i++)
		spool_done(w->spool, stored(task, w, 3000));
	spool_stats(w->spool, &stats);
	assert_true(stats.compactions >= 10);
	assert_true(stats.segments + stats.segments_free < 12);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(spool_count(w->spool), 10);
		assert_int_equal(count_intact(task, w), 9);
		reopen(task, w);
	}
	assert_non_null(fake_find(w->disk, "/spool/segments/0-0.bad")); /* kept, for those who can read it */
	assert_int_equal(spool_count(w->spool), 10);
	spool_done(w->spool, spool_first(w->spool));
	reopen(task, w);
	assert_int_equal(spool_count(w->spool), 9);
	assert_int_equal(count_intact(task, w), 9);
	spool_close(task, w->spool);
}

static void lost_head_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct fake_file *f;

	open_it(task, w);
	for (int i = 0; i < 200; i++)
		(void)stored(task, w, 3000);
	spool_close(task, w->spool);
	memset(segment_file(w, 1)->now, 0xff, SPOOL_BLOCK); /* its index says it all again */
	open_it(task, w);
	assert_string_equal(w->damage, "");
	assert_int_equal(count_intact(task, w), 200);
	spool_close(task, w->spool);

	/* The index too: that segment is set aside whole, and it is told. */
	f = segment_file(w, 1);
	memset(f->now, 0xff, SPOOL_BLOCK);
	memset(f->now + segment_index_at(SEGMENT), 0xff, SPOOL_BLOCK);
	open_it(task, w);
	assert_non_null(strstr(w->damage, "0-1"));
	assert_true(tally_get(&w->spool->metrics->damaged) > 0);
	assert_int_equal(tally_get(&w->spool->metrics->recovered), spool_count(w->spool));
	assert_true(count_intact(task, w) == spool_count(w->spool) && spool_count(w->spool) < 200 &&
		    spool_count(w->spool) > 50);
	assert_non_null(fake_find(w->disk, "/spool/segments/0-1.bad"));
	assert_null(fake_find(w->disk, "/spool/segments/0-1"));
	/* The gap is told of until the segment before it has been used again. */
	reopen(task, w);
	assert_non_null(strstr(w->damage, "0-0: what came after"));
	while (spool_first(w->spool))
		spool_done(w->spool, spool_first(w->spool));
	for (int i = 0; i < 3000; i++)
		spool_done(w->spool, stored(task, w, 3000));
	reopen(task, w);
	assert_string_equal(w->damage, "");
	spool_close(task, w->spool);
}

/* A segment whose index is gone and whose records end too early: what is there is used, and it is told. */
static void hole_in_the_middle_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct fake_file *f;
	unsigned count;

	open_it(task, w);
	for (int i = 0; i < 200; i++)
		(void)stored(task, w, 3000);
	spool_close(task, w->spool);
	f = segment_file(w, 1);
	memset(f->now + segment_index_at(SEGMENT), 0, SPOOL_BLOCK);
	f->now[SEGMENT / 2] ^= 1;
	open_it(task, w);
	assert_non_null(strstr(w->damage, "0-1"));
	count = spool_count(w->spool);
	assert_true(count < 200 && count > 100);
	assert_int_equal(count_intact(task, w), count);
	spool_close(task, w->spool);
}

static void a_copy_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct fake_file *f, *copy = w->disk->files;

	open_it(task, w);
	(void)stored(task, w, 3000);
	spool_close(task, w->spool);
	f = segment_file(w, 0);
	while (copy->name)
		copy++;
	copy->name = strdup("/spool/segments/0-77");
	copy->name_durable = true;
	fake_resize(copy, f->size);
	memcpy(copy->now, f->now, f->size);
	open_it(task, w);
	assert_non_null(strstr(w->damage, "copy"));
	assert_int_equal(spool_count(w->spool), 1);
	spool_close(task, w->spool);
}

static void segment_size_changes_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct spool_stats stats;

	open_it(task, w);
	for (int i = 0; i < 200; i++)
		(void)stored(task, w, 3000);
	spool_close(task, w->spool);
	w->options.segment_size = 4 * SEGMENT;
	open_it(task, w);
	assert_int_equal(count_intact(task, w), 200);
	for (int i = 0; i < 150; i++)
		spool_done(w->spool, spool_first(w->spool));
	for (int i = 0; i < 3000; i++)
		spool_done(w->spool, stored(task, w, 3000));
	spool_stats(w->spool, &stats);
	assert_true(stats.segments + stats.segments_free < 10);
	reopen(task, w);
	assert_string_equal(w->damage, "");
	assert_int_equal(count_intact(task, w), 50);
	for (int i = 0; i < FAKE_FILES; i++)
		if (w->disk->files[i].name && !w->disk->files[i].removed)
			assert_int_equal(w->disk->files[i].size, 4 * SEGMENT);
	spool_close(task, w->spool);
}

/* A large message that is moved piece by piece. */
static void large_move_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct spool_entry *large;
	struct spool_stats stats;

	open_it(task, w);
	large = stored(task, w, 300000);
	for (int i = 0; i < 1500; i++)
		spool_done(w->spool, stored(task, w, 3000));
	spool_stats(w->spool, &stats);
	assert_true(stats.compactions >= 1);
	assert_true(intact(task, w, large));
	reopen(task, w);
	assert_string_equal(w->damage, "");
	assert_int_equal(spool_count(w->spool), 1);
	assert_true(intact(task, w, spool_first(w->spool)));
	spool_close(task, w->spool);
}

struct exact {
	struct world *w;
	uint64_t number;
};

/* Body and commit take a block of 4096 bytes exactly, so that the next record begins another. */
static void store_exact(struct task *task, void *arg)
{
	struct exact *exact = arg;
	struct message_id id = id_of(exact->number);
	struct iovec iov = {"envelope", 8};
	static char body[SPOOL_BLOCK - 120 - 24];
	struct frag frag = {NULL, body, sizeof(body)};
	struct spool_entry *entry;
	struct err err = err_make(NULL);

	assert_int_equal(spool_commit(task, exact->w->spool, &id, 1, &iov, 1, NULL, &frag, 1, &entry, &err),
			 DEFER);
}

/* Two messages in one group, of which the disk keeps the second only. A start goes on in their place with as many
 * records as the first had: the second must not follow them as if it were theirs. Promise (8). */
static void torn_group_stays_dead_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct exact exact[2] = {{w, 100}, {w, 101}};
	struct err err = err_make(task->arena);
	struct group group;
	struct fake_file *f;
	bool first = true;

	open_it(task, w);
	(void)stored(task, w, 10);
	w->disk->cut_next_write = true;
	group_init(&group);
	for (int i = 0; i < 2; i++)
		assert_int_equal(group_spawn(task, &group, store_exact, &exact[i]), OK);
	assert_int_equal(group_wait(task, &group), OK);
	spool_close(task, w->spool);
	f = segment_file(w, 0);
	for (size_t s = 0; s * SECTOR < f->size; s++) {
		if (!f->dirty[s])
			continue;
		if (first)
			memcpy(f->now + s * SECTOR, f->durable + s * SECTOR, SECTOR);
		first = false;
		fake_make_durable(f, s * SECTOR, SECTOR);
	}
	assert_false(first);
	fake_disk_restart(w->disk);
	open_it(task, w);
	assert_int_equal(spool_count(w->spool), 1);
	w->spool->no_zeros = true; /* which would wipe out what this is about, if they came that far */
	/* A RESUME and this outcome: two records, as body and commit were. */
	must(spool_outcome(task, w->spool, spool_first(w->spool), SLICE("tried"), true, &err), &err);
	w->disk->cut = true;
	spool_close(task, w->spool);
	fake_disk_restart(w->disk);
	open_it(task, w);
	assert_string_equal(w->damage, "");
	assert_int_equal(spool_count(w->spool), 1);
	assert_int_equal(spool_first(w->spool)->outcome_count, 1);
	spool_close(task, w->spool);
}

struct waiting {
	struct world *w;
	struct task *task; /* of the one that is to be cancelled */
	enum rc rc[4];
	unsigned ended;
};

static void store_and_note(struct task *task, void *arg)
{
	struct waiting *waiting = arg;
	struct spool_entry *entry;
	struct err err = err_make(NULL);
	unsigned me = waiting->ended; /* they begin in order, and none ends before all have begun */

	waiting->ended++;
	if (me == 2)
		waiting->task = task;
	if (me == 3)
		task->until = shard_now(task->shard) + 1;
	waiting->rc[me] = store(task, waiting->w, 100 + me, &entry, &err);
}

/* In the queue a message can be given up; on its way to the disk it is waited for. */
static void cancelled_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct waiting waiting = {.w = w};
	struct group group;

	open_it(task, w);
	(void)stored(task, w, 10);
	w->disk->slow = true;
	for (int round = 0; round < 50; round++) {
		unsigned before = spool_count(w->spool), stored_count = 0;

		waiting.ended = 0;
		waiting.task = NULL;
		group_init(&group);
		for (int i = 0; i < 4; i++) {
			w->next += 1; /* each its own id */
			assert_int_equal(group_spawn(task, &group, store_and_note, &waiting), OK);
			for (int k = 0; k < round % 4; k++)
				assert_int_equal(task_yield(task), OK);
			if (waiting.task)
				task_cancel(waiting.task);
		}
		assert_int_equal(group_wait(task, &group), OK);
		for (int i = 0; i < 4; i++) {
			assert_true(waiting.rc[i] == OK || (i == 2 && waiting.rc[i] == CANCELLED) ||
				    (i == 3 && waiting.rc[i] == DEFER) || waiting.rc[i] == FAIL);
			stored_count += waiting.rc[i] == OK;
		}
		assert_int_equal(spool_count(w->spool), before + stored_count);
		w->next += 10;
	}
	w->disk->slow = false;
	spool_close(task, w->spool);
}

static void read_only_on(struct task *task, void *arg)
{
	struct world *w = arg;
	unsigned writes;

	open_it(task, w);
	(void)stored(task, w, 3000);
	w->disk->cut = true; /* no index: as while the daemon runs */
	spool_close(task, w->spool);
	fake_disk_restart(w->disk);
	writes = w->disk->writes;
	w->options.read_only = true;
	open_it(task, w);
	assert_int_equal(count_intact(task, w), 1);
	spool_close(task, w->spool);
	assert_int_equal(w->disk->writes, writes);
}

static void lock_is_exclusive(void **state)
{
	struct arena arena;
	struct err err;
	char *directory = new_directory(), expected[50];
	int fd, second;

	(void)state;
	arena_init(&arena, 0);
	err = err_make(&arena);
	assert_int_equal(spool_lock(directory, &fd, &err), OK);
	assert_int_equal(spool_lock(directory, &second, &err), FAIL);
	snprintf(expected, sizeof(expected), "process %ld", (long)getpid());
	assert_true(slice_search(err.text, slice_of(expected)) > 0);
	spool_unlock(fd);
	assert_int_equal(spool_lock(directory, &fd, &err), OK);
	spool_unlock(fd);
	arena_done(&arena);
	remove_directory(directory);
}

#define TEST(name)                                                                                           \
	static void name(void **state)                                                                       \
	{                                                                                                    \
		struct world w = {.disk = fake_disk_new(7),                                                  \
				  .options = {.directory = "/spool", .segment_size = SEGMENT, .sync = true}, \
				  .next = 1};                                                                \
                                                                                                             \
		(void)state;                                                                                 \
		run_on(0, 1, name##_on, &w);                                                                 \
		fake_disk_free(w.disk);                                                                      \
	}
TEST(full_disk)
TEST(room_comes_back)
TEST(space_min)
TEST(nth_write_fails)
TEST(outcome_survives_failure)
TEST(no_direct_io)
TEST(rotten_body)
TEST(lost_head)
TEST(hole_in_the_middle)
TEST(a_copy)
TEST(segment_size_changes)
TEST(large_move)
TEST(torn_group_stays_dead)
TEST(cancelled)
TEST(read_only)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(full_disk),
	    cmocka_unit_test(room_comes_back),
	    cmocka_unit_test(space_min),
	    cmocka_unit_test(nth_write_fails),
	    cmocka_unit_test(outcome_survives_failure),
	    cmocka_unit_test(no_direct_io),
	    cmocka_unit_test(rotten_body),
	    cmocka_unit_test(lost_head),
	    cmocka_unit_test(hole_in_the_middle),
	    cmocka_unit_test(a_copy),
	    cmocka_unit_test(segment_size_changes),
	    cmocka_unit_test(large_move),
	    cmocka_unit_test(torn_group_stays_dead),
	    cmocka_unit_test(cancelled),
	    cmocka_unit_test(read_only),
	    cmocka_unit_test(lock_is_exclusive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
