/* Several shards write one set of files while it is renamed again and again: every line arrives once, and
 * whole. */

#include "log_test.h"

#include <pthread.h>

enum { SHARDS = 3, LINES = 20000 };

struct thread {
	unsigned number;
	struct conf *conf;
	pthread_t thread;
};

static _Atomic unsigned done;

static void log_lines(struct task *task, struct conf *conf)
{
	static _Atomic unsigned next;
	unsigned number = next++;

	for (int i = 0; i < LINES; i++) {
		log_printf(task->shard, conf, LOG_TO_MAIN, NULL,
			   "line %u %d of this shard, which is the end of it", number, i);
		if (i % 7 == 6)
			assert_int_equal(task_yield(task), OK);
	}
	assert_int_equal(log_flush(task), OK);
	done++;
	/* Until the files have been moved at least twice, so that the test is one. */
	while (done < SHARDS + 1) {
		log_printf(task->shard, conf, LOG_TO_MAIN, NULL, "waiting");
		assert_int_equal(log_flush(task), OK);
		assert_int_equal(task_sleep(task, shard_now(task->shard) + 20 * NS_PER_MS), OK);
	}
}

static void *run_thread(void *arg)
{
	struct thread *thread = arg;

	run_fn(thread->conf, log_lines);
	return NULL;
}

/* Notes each numbered line of a file; anything else in it is broken. */
static void note(const char *path, unsigned char *seen)
{
	char *text = slurp(path), *line = text;

	while (*line) {
		char *end = strchr(line, '\n');
		unsigned shard, number;
		int len = 0;

		assert_non_null(end);
		*end = 0;
		if (sscanf(line + 19, " line %u %u of this shard, which is the end of it%n", &shard, &number,
			   &len) == 2) {
			assert_int_equal(line[19 + len], 0);
			assert_in_range(shard, 0, SHARDS - 1);
			assert_in_range(number, 0, LINES - 1);
			seen[shard * LINES + number]++;
		} else {
			assert_string_equal(line + 19, " waiting");
		}
		line = end + 1;
	}
	free(text);
}

static void shards(void **state)
{
	struct conf *conf = conf_of("log_file_path = $spool_directory/shards/%slog", NULL, 0);
	struct thread threads[SHARDS];
	unsigned char *seen = calloc(1, SHARDS * LINES);
	struct err err = err_make(NULL);
	char name[64];
	unsigned moved = 0;

	(void)state;
	assert_non_null(seen);
	assert_int_equal(log_open(conf, false, &err), OK);
	for (unsigned i = 0; i < SHARDS; i++) {
		threads[i] = (struct thread){i, conf, 0};
		assert_int_equal(pthread_create(&threads[i].thread, NULL, run_thread, &threads[i]), 0);
	}
	while (moved < 3 || done < SHARDS) {
		snprintf(name, sizeof(name), "shards/mainlog.%u", moved);
		if (rename(in_dir("shards/mainlog"), in_dir(name)) == 0)
			moved++;
		usleep(10000); /* to look again, not to wait for anything */
	}
	done++;
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_join(threads[i].thread, NULL);
	note(in_dir("shards/mainlog"), seen);
	for (unsigned i = 0; i < moved; i++) {
		snprintf(name, sizeof(name), "shards/mainlog.%u", i);
		note(in_dir(name), seen);
	}
	for (unsigned i = 0; i < SHARDS * LINES; i++)
		assert_int_equal(seen[i], 1);
	free(seen);
	conf_unref(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(shards)};
	return cmocka_run_group_tests(tests, dir_make, dir_remove);
}
