/* Hints: what is written is seen, here at once and elsewhere soon; counting is exact; and no state of the files,
 * however it came about, keeps us from starting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "hints/store.h"

#define SHARDS 4

struct run {
	struct shard *shard;
	struct arena arena;
	struct task task;
	struct hints *hints;
	void (*f)(struct task *task, void *arg);
	void *arg;
	pthread_t thread;
};

static void run_fiber(void *arg)
{
	struct run *run = arg;

	run->f(&run->task, run->arg);
	shard_stop(run->shard);
}

static void run_start(struct shard *shard, void *arg)
{
	struct run *run = arg;
	struct err err = err_make(&run->arena);

	task_init(&run->task, shard, &run->arena, UNTIL_NEVER);
	assert_int_equal(hints_attach(run->hints, shard, &err), OK);
	assert_int_equal(fiber_spawn(shard, run_fiber, run), OK);
}

static void *run_thread(void *arg)
{
	struct run *run = arg;
	struct err err = err_make(&run->arena);

	if (shard_run(run->shard, run_start, run, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	arena_done(&run->arena);
	arena_pool_done();
	return NULL;
}

static void told(void *arg, struct slice text)
{
	int *count = arg;

	++*count;
	assert_true(text.len > 0);
}

/* f on a fiber of each of count shards, with the hints in the directory. Returns how much trouble was told of;
 * *open_text says what was at opening. */
static int with_hints(const char *directory, uint64_t size_max, unsigned count,
		      void (*f)(struct task *, void *), void *arg, char *open_text, struct hints_stats *stats)
{
	struct run runs[SHARDS] = {0};
	struct shard *shards[SHARDS];
	struct arena arena;
	struct hints *hints;
	struct err err;
	int trouble = 0;

	setenv("CMOCKA_TEST_ABORT", "1", 1);
	arena_init(&arena, 0);
	err = err_make(&arena);
	if (hints_open(directory, size_max, &hints, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	if (open_text)
		snprintf(open_text, 500, "%.*s", SLICE_ARG(err.text));
	hints_on_trouble(hints, told, &trouble);
	for (unsigned i = 0; i < count; i++) {
		struct shard_options options = {.id = i, .count = count, .cpu = -1};

		runs[i] = (struct run){.hints = hints, .f = f, .arg = arg};
		arena_init(&runs[i].arena, 0);
		if (shard_new(&options, &runs[i].shard, &err) != OK)
			fail_msg("%.*s", SLICE_ARG(err.text));
		shards[i] = runs[i].shard;
	}
	shard_connect(shards, count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(pthread_create(&runs[i].thread, NULL, run_thread, &runs[i]), 0);
	for (unsigned i = 0; i < count; i++)
		pthread_join(runs[i].thread, NULL);
	if (stats)
		hints_stats(hints, stats);
	hints_close(hints);
	for (unsigned i = 0; i < count; i++)
		shard_free(runs[i].shard);
	arena_done(&arena);
	arena_pool_done();
	return trouble;
}

static bool has(struct task *task, enum hints_db db, const char *key, const char *value)
{
	struct err err = err_make(task->arena);
	struct slice found;
	enum rc rc = hints_get(task->shard, db, slice_of(key), task->arena, &found, &err);

	if (rc == DEFER)
		fail_msg("%.*s", SLICE_ARG(err.text));
	if (!value)
		return rc == FAIL;
	return rc == OK && slice_eq(found, slice_of(value)) && found.taint == TAINTED;
}

static ptrdiff_t nothing(void *arg, struct slice old, char *new_value)
{
	(void)arg;
	(void)old;
	(void)new_value;
	return -1;
}

/* An update that changes nothing comes back after everything before it was written. */
static void barrier(struct task *task)
{
	struct err err = err_make(task->arena);

	assert_int_equal(hints_update(task, HINTS_MISC, SLICE("barrier"), nothing, NULL, &err), OK);
}

/* ---- The ordinary ------------------------------------------------------------------------------------- */

static void basics_on(struct task *task, void *arg)
{
	char long_a[3000], long_b[3000];

	(void)arg;
	assert_true(has(task, HINTS_RETRY, "a", NULL));
	hints_put(task->shard, HINTS_RETRY, SLICE("a"), SLICE("one"));
	assert_true(has(task, HINTS_RETRY, "a", "one")); /* at once, from memory */
	hints_put(task->shard, HINTS_RETRY, SLICE("a"), SLICE("two"));
	assert_true(has(task, HINTS_RETRY, "a", "two"));
	assert_true(has(task, HINTS_WAIT, "a", NULL)); /* each database is its own */
	barrier(task);
	assert_true(has(task, HINTS_RETRY, "a", "two")); /* from the file */
	hints_delete(task->shard, HINTS_RETRY, SLICE("a"));
	assert_true(has(task, HINTS_RETRY, "a", NULL));
	barrier(task);
	assert_true(has(task, HINTS_RETRY, "a", NULL));
	hints_delete(task->shard, HINTS_RETRY, SLICE("never there"));
	hints_put(task->shard, HINTS_SEEN, SLICE("empty"), SLICE_EMPTY);
	barrier(task);
	assert_true(has(task, HINTS_SEEN, "empty", ""));
	hints_put(task->shard, HINTS_SEEN, SLICE_EMPTY, SLICE("x")); /* no key: dropped */
	assert_true(has(task, HINTS_SEEN, "", NULL));

	/* Long keys are told apart by their ends. */
	memset(long_a, 'k', sizeof(long_a));
	memset(long_b, 'k', sizeof(long_b));
	long_a[2998] = 'a';
	long_b[2998] = 'b';
	long_a[2999] = long_b[2999] = 0;
	hints_put(task->shard, HINTS_CALLOUT, slice_of(long_a), SLICE("A"));
	assert_true(has(task, HINTS_CALLOUT, long_a, "A"));
	assert_true(has(task, HINTS_CALLOUT, long_b, NULL));
	hints_put(task->shard, HINTS_CALLOUT, slice_of(long_b), SLICE("B"));
	barrier(task);
	assert_true(has(task, HINTS_CALLOUT, long_a, "A"));
	assert_true(has(task, HINTS_CALLOUT, long_b, "B"));
	hints_put(task->shard, HINTS_MISC, SLICE("kept"), SLICE("over a restart"));
}

static void kept_on(struct task *task, void *arg)
{
	(void)arg;
	assert_true(has(task, HINTS_MISC, "kept", "over a restart"));
	assert_true(has(task, HINTS_SEEN, "empty", ""));
}

static void basics(void **state)
{
	char text[500];
	struct hints_stats stats;

	assert_int_equal(with_hints(*state, 0, 1, basics_on, NULL, text, &stats), 0);
	assert_string_equal(text, "");
	assert_int_equal(stats.dropped, 1);
	assert_int_equal(with_hints(*state, 0, 1, kept_on, NULL, text, NULL), 0);
	assert_string_equal(text, "");
}

/* ---- Counting ----------------------------------------------------------------------------------------- */

static ptrdiff_t add_one(void *arg, struct slice old, char *new_value)
{
	uint64_t *now = arg, number = 0;

	if (old.ptr)
		assert_true(parse_u64(old, &number));
	*now = number + 1;
	return sprintf(new_value, "%llu", (unsigned long long)*now);
}

struct counter {
	struct task task;
	uint64_t last;
};

#define FIBERS 10
#define ROUNDS 30

static void count_up(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	uint64_t now, last = 0;

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(hints_update(task, HINTS_RATELIMIT, SLICE("counter"), add_one, &now, &err),
				 OK);
		assert_true(now > last);
		last = now;
	}
}

static void counting_on(struct task *task, void *arg)
{
	struct group group;

	group_init(&group);
	for (int i = 0; i < FIBERS; i++)
		assert_int_equal(group_spawn(task, &group, count_up, arg), OK);
	assert_int_equal(group_wait(task, &group), OK);
}

static void total_on(struct task *task, void *arg)
{
	assert_true(has(task, HINTS_RATELIMIT, "counter", arg));
}

/* Two processes of four shards of ten fibers: none of their steps gets lost. */
static void counting_is_exact(void **state)
{
	char expected[20];
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		(void)with_hints(*state, 0, SHARDS, counting_on, NULL, NULL, NULL);
		_exit(0);
	}
	(void)with_hints(*state, 0, SHARDS, counting_on, NULL, NULL, NULL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	snprintf(expected, sizeof(expected), "%d", 2 * SHARDS * FIBERS * ROUNDS);
	(void)with_hints(*state, 0, 1, total_on, expected, NULL, NULL);
}

static void writes_on(struct task *task, void *arg)
{
	unsigned me = shard_id(task->shard);
	char key[50], value[50];

	(void)arg;
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "%u-%d", me, i % 500);
		snprintf(value, sizeof(value), "value %d", i);
		hints_put(task->shard, HINTS_WAIT, slice_of(key), slice_of(value));
		assert_true(has(task, HINTS_WAIT, key, value));
		if (i % 100 == 0)
			assert_int_equal(task_yield(task), OK);
		snprintf(key, sizeof(key), "%u-%d", (me + 1) % SHARDS, i % 500);
		(void)has(task, HINTS_WAIT, key, NULL);
		arena_clear(task->arena);
	}
	barrier(task);
}

static void all_there_on(struct task *task, void *arg)
{
	char key[50], value[50];

	(void)arg;
	for (unsigned shard = 0; shard < SHARDS; shard++)
		for (int i = 0; i < 500; i++) {
			snprintf(key, sizeof(key), "%u-%d", shard, i);
			snprintf(value, sizeof(value), "value %d", 2500 + i);
			assert_true(has(task, HINTS_WAIT, key, value));
		}
}

static void shards_write_and_read(void **state)
{
	assert_int_equal(with_hints(*state, 0, SHARDS, writes_on, NULL, NULL, NULL), 0);
	assert_int_equal(with_hints(*state, 0, SHARDS, all_there_on, NULL, NULL, NULL), 0);
}

static bool count_each(void *arg, struct slice key, struct slice value)
{
	unsigned *count = arg;

	assert_true(key.len == 6 && value.len == 1);
	++*count;
	return *count != 4000;
}

static void each_on(struct task *task, void *arg)
{
	struct hints_shard *state = shard_slot(task->shard, &hints_slot);
	struct err err = err_make(task->arena);
	unsigned count = 0;
	char key[20];

	(void)arg;
	for (int i = 0; i < 2500; i++) {
		snprintf(key, sizeof(key), "%06d", i);
		hints_put(task->shard, HINTS_TLS, slice_of(key), SLICE("v"));
	}
	barrier(task);
	assert_int_equal(hints_each(state->hints, HINTS_TLS, count_each, &count, &err), OK);
	assert_int_equal(count, 2500);
	count = 3990;
	assert_int_equal(hints_each(state->hints, HINTS_TLS, count_each, &count, &err), OK);
	assert_int_equal(count, 4000);
}

static void each_in_pieces(void **state)
{
	(void)with_hints(*state, 0, 1, each_on, NULL, NULL, NULL);
}

static ptrdiff_t append_letter(struct slice old, struct slice addition, char *new_value)
{
	if (old.ptr && old.len + addition.len > 4000)
		return -1;
	if (old.ptr)
		memcpy(new_value, old.ptr, old.len);
	memcpy(new_value + (old.ptr ? old.len : 0), addition.ptr, addition.len);
	return (old.ptr ? old.len : 0) + addition.len;
}

static void merge_on(struct task *task, void *arg)
{
	char key[20];

	(void)arg;
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i % 5);
		hints_merge(task->shard, HINTS_DMARC, slice_of(key), SLICE("x"), append_letter);
	}
	barrier(task);
}

static void merged_on(struct task *task, void *arg)
{
	struct slice key = SLICE_EMPTY, value;
	struct err err = err_make(task->arena);
	unsigned count = 0;
	enum rc rc;

	(void)arg;
	while ((rc = hints_next(task->shard, HINTS_DMARC, key, task->arena, &key, &value, &err)) == OK) {
		assert_int_equal(key.ptr[1], '0' + count);
		assert_int_equal(value.len, 200 * SHARDS);
		count++;
	}
	assert_int_equal(rc, FAIL);
	assert_int_equal(count, 5);
	assert_int_equal(hints_next(task->shard, HINTS_DMARC, SLICE("k31"), task->arena, &key, &value, &err),
			 OK);
	assert_true(slice_eq(key, SLICE("k4")));
	assert_int_equal(hints_next(task->shard, HINTS_CALLOUT, SLICE_EMPTY, task->arena, &key, &value, &err),
			 FAIL);
}

/* Nothing is lost between shards that add to the same. */
static void merges_add_up(void **state)
{
	assert_int_equal(with_hints(*state, 0, SHARDS, merge_on, NULL, NULL, NULL), 0);
	assert_int_equal(with_hints(*state, 0, 1, merged_on, NULL, NULL, NULL), 0);
}

static void merge_much_on(struct task *task, void *arg)
{
	static char text[3000];
	char key[20];

	(void)arg;
	memset(text, 'x', sizeof(text));
	hints_put(task->shard, HINTS_RETRY, SLICE("old"), SLICE("friend"));
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "%06d", i);
		hints_merge(task->shard, HINTS_DMARC, slice_of(key), slice_make(text, sizeof(text), CLEAN),
			    append_letter);
		if (i % 100 == 0)
			barrier(task);
	}
	barrier(task);
	assert_true(has(task, HINTS_RETRY, "old", "friend"));
}

/* What anybody can make grow pushes nothing else out. */
static void merges_have_a_share(void **state)
{
	struct hints_stats stats;

	assert_int_equal(with_hints(*state, 4 << 20, 1, merge_much_on, NULL, NULL, &stats), 0);
	assert_int_equal(stats.tidied, 0);
	assert_true(stats.dropped > 2000);
	assert_true(stats.dropped < 2900);
}

/* ---- Trouble ------------------------------------------------------------------------------------------ */

static void fill_on(struct task *task, void *arg)
{
	char key[20], *value = calloc(1, 5000);

	(void)arg;
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "%06d", i);
		hints_put(task->shard, HINTS_CALLOUT, slice_of(key), slice_make(value, 5000, CLEAN));
		if (i % 50 == 0)
			barrier(task);
	}
	barrier(task);
	hints_put(task->shard, HINTS_MISC, SLICE("after"), SLICE("all"));
	barrier(task);
	assert_true(has(task, HINTS_MISC, "after", "all"));
	free(value);
}

/* 15 MB into 4: the older make room. */
static void full_map(void **state)
{
	struct hints_stats stats;

	(void)with_hints(*state, 4 << 20, 1, fill_on, NULL, NULL, &stats);
	assert_true(stats.tidied > 0 || stats.made_anew > 0);
	assert_int_equal(stats.dropped, 0);
}

static void vanish_on(struct task *task, void *arg)
{
	char command[300];

	hints_put(task->shard, HINTS_MISC, SLICE("before"), SLICE("x"));
	barrier(task);
	snprintf(command, sizeof(command), "rm -rf '%s'", (char *)arg);
	assert_int_equal(system(command), 0);
	/* It looks once a second. */
	for (int i = 0; i < 60; i++) {
		hints_put(task->shard, HINTS_MISC, SLICE("after"), SLICE("y"));
		barrier(task);
		snprintf(command, sizeof(command), "%s/data.mdb", (char *)arg);
		if (access(command, F_OK) == 0)
			break;
		assert_int_equal(task_sleep(task, shard_now(task->shard) + 50 * NS_PER_MS), OK);
	}
	assert_int_equal(access(command, F_OK), 0);
	assert_true(has(task, HINTS_MISC, "before", NULL));
	assert_true(has(task, HINTS_MISC, "after", "y"));
}

static void after_vanish_on(struct task *task, void *arg)
{
	(void)arg;
	assert_true(has(task, HINTS_MISC, "after", "y"));
}

static void directory_vanishes(void **state)
{
	assert_int_equal(with_hints(*state, 0, 1, vanish_on, *state, NULL, NULL), 1);
	assert_int_equal(with_hints(*state, 0, 1, after_vanish_on, NULL, NULL, NULL), 0);
}

static unsigned files_set_aside(const char *directory)
{
	unsigned count = 0;
	DIR *dir = opendir(directory);

	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));)
		count += strncmp(e->d_name, "data.mdb.bad-", 13) == 0;
	closedir(dir);
	return count;
}

static void put_on(struct task *task, void *arg)
{
	(void)arg;
	hints_put(task->shard, HINTS_MISC, SLICE("k"), SLICE("v"));
	barrier(task);
	assert_true(has(task, HINTS_MISC, "k", "v"));
}

static void overwrite(const char *directory, const char *name, off_t at, size_t len, bool cut)
{
	char path[300], *bytes = malloc(len + 1);
	FILE *f;

	memset(bytes, 0xa5, len);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, cut ? "w" : "r+");
	assert_non_null(f);
	fseek(f, at, SEEK_SET);
	fwrite(bytes, 1, len, f);
	fclose(f);
	free(bytes);
}

static void foreign_file(void **state)
{
	char text[500];

	mkdir(*state, 0750);
	overwrite(*state, "data.mdb", 0, 20000, true);
	assert_int_equal(with_hints(*state, 0, 1, put_on, NULL, text, NULL), 0);
	assert_true(strlen(text) > 0);
	assert_int_equal(files_set_aside(*state), 1);
	assert_int_equal(with_hints(*state, 0, 1, put_on, NULL, text, NULL), 0);
	assert_string_equal(text, "");
}

static void cut_short(void **state)
{
	char text[500], path[300];

	(void)with_hints(*state, 0, 1, each_on, NULL, NULL, NULL);
	snprintf(path, sizeof(path), "%s/data.mdb", (char *)*state);
	assert_int_equal(truncate(path, 5 * 4096), 0);
	(void)with_hints(*state, 0, 1, put_on, NULL, text, NULL);
	assert_true(strlen(text) > 0);
	assert_int_equal(files_set_aside(*state), 1);
}

/* The process ended without closing, and the pages are nonsense: looked at before they can do harm. */
static void damaged_pages(void **state)
{
	char text[500];

	(void)with_hints(*state, 0, 1, each_on, NULL, NULL, NULL);
	overwrite(*state, "data.mdb", 2 * 4096, 30 * 4096, false);
	overwrite(*state, "state", 0, 0, true);
	FILE *f;
	char path[300];
	snprintf(path, sizeof(path), "%s/state", (char *)*state);
	f = fopen(path, "w");
	fputs("open\n", f);
	fclose(f);
	(void)with_hints(*state, 0, 1, put_on, NULL, text, NULL);
	assert_true(strlen(text) > 0);
	assert_int_equal(files_set_aside(*state), 1);
}

static void forever_on(struct task *task, void *arg)
{
	char key[50], value[2000];

	(void)arg;
	memset(value, 'v', sizeof(value));
	for (int i = 0;; i++) {
		snprintf(key, sizeof(key), "%u-%d", shard_id(task->shard), i % 3000);
		hints_put(task->shard, HINTS_RETRY, slice_of(key),
			  slice_make(value, (size_t)i % 2000, CLEAN));
		if (i % 10 == 0)
			barrier(task);
	}
}

static bool is_ours(void *arg, struct slice key, struct slice value)
{
	(void)arg;
	assert_true(key.len > 2 && value.len < 2000);
	for (uint32_t i = 0; i < value.len; i++)
		assert_true(value.ptr[i] == 'v');
	return true;
}

static void all_ours_on(struct task *task, void *arg)
{
	struct hints_shard *state = shard_slot(task->shard, &hints_slot);
	struct err err = err_make(task->arena);

	(void)arg;
	assert_int_equal(hints_each(state->hints, HINTS_RETRY, is_ours, NULL, &err), OK);
	put_on(task, NULL);
}

/* Killed in the middle of writing, again and again: the file stays good, and nothing is set aside. */
static void killed_while_writing(void **state)
{
	char text[500];

	for (unsigned round = 0; round < 10; round++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			(void)with_hints(*state, 0, 2, forever_on, NULL, NULL, NULL);
			_exit(0);
		}
		usleep(60000 + round * 13000);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		assert_int_equal(with_hints(*state, 0, 1, all_ours_on, NULL, text, NULL), 0);
		assert_string_equal(text, "");
		assert_int_equal(files_set_aside(*state), 0);
	}
}

static void too_many_on(struct task *task, void *arg)
{
	char key[50];

	(void)arg;
	for (int i = 0; i < OPS_PER_SHARD_MAX + 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		hints_put(task->shard, HINTS_SEEN, slice_of(key), SLICE("x"));
	}
	assert_true(has(task, HINTS_SEEN, "0", "x"));
	assert_true(has(task, HINTS_SEEN, "8292", NULL) || has(task, HINTS_SEEN, "8292", "x"));
	/* All of it comes back, and then there is room again. */
	for (int i = 0; i < 1000; i++) {
		struct hints_shard *state = shard_slot(task->shard, &hints_slot);

		if (state->ops == 0)
			break;
		assert_int_equal(task_sleep(task, shard_now(task->shard) + 10 * NS_PER_MS), OK);
	}
	put_on(task, NULL);
}

static void queue_is_bounded(void **state)
{
	struct hints_stats stats;

	(void)with_hints(*state, 0, 1, too_many_on, NULL, NULL, &stats);
	assert_int_equal(stats.dropped, 100);
}

/* What the longest key that fits looks like, and one byte more, and a much longer one. */
static void digests(void **state)
{
	static const char of_600[] = "ba35c170729417f1499e0886e7e12fcdb4ab00ad411110ae1e888c766d4ed70d";
	char as[600], buf[HINTS_KEY_MAX];
	struct slice key, stored;

	(void)state;
	memset(as, 'a', sizeof(as));
	key = slice_make(as, HINTS_KEY_MAX, CLEAN);
	assert_true(slice_eq(hints_stored_key(key, buf), key));
	key = slice_make(as, HINTS_KEY_MAX + 1, CLEAN);
	assert_int_equal(hints_stored_key(key, buf).len, HINTS_KEY_MAX);
	stored = hints_stored_key(slice_make(as, sizeof(as), TAINTED), buf);
	assert_int_equal(stored.len, HINTS_KEY_MAX);
	assert_int_equal(stored.taint, TAINTED);
	assert_memory_equal(stored.ptr, as, HINTS_KEY_MAX - 65);
	assert_int_equal(stored.ptr[HINTS_KEY_MAX - 65], '#');
	assert_memory_equal(stored.ptr + HINTS_KEY_MAX - 64, of_600, 64);
}

static int set_up(void **state)
{
	char *path = malloc(100);

	strcpy(path, "/tmp/sluice-hints-XXXXXX");
	assert_non_null(mkdtemp(path));
	strcat(path, "/db");
	*state = path;
	return 0;
}

static int tear_down(void **state)
{
	char command[200], *path = *state;

	path[strlen(path) - 3] = 0;
	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
	free(path);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(digests),
	    TEST(basics),
	    TEST(counting_is_exact),
	    TEST(shards_write_and_read),
	    TEST(each_in_pieces),
	    TEST(merges_add_up),
	    TEST(merges_have_a_share),
	    TEST(full_map),
	    TEST(directory_vanishes),
	    TEST(foreign_file),
	    TEST(cut_short),
	    TEST(damaged_pages),
	    TEST(killed_while_writing),
	    TEST(queue_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
