/* What the tests of this room share: a folder, a configuration in it, a shard that runs one function on a
 * fiber. */
#ifndef LOG_TEST_H
#define LOG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "log/log.h"

static const struct conf_group *const test_groups[] = {&log_conf_group, NULL};
static const struct conf_language test_language = {.groups = test_groups, .macros = log_macros};

static char dir[64];

static inline int dir_make(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/sluice-log-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static inline int dir_remove(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static inline const char *in_dir(const char *name)
{
	static _Thread_local char paths[8][160];
	static _Thread_local unsigned turn;
	char *path = paths[turn++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

/* A snapshot of "spool_directory = <dir>" and the text; NULL and the error in error[] when it is refused. */
static inline struct conf *conf_of(const char *text, char *error, size_t error_size)
{
	struct conf_load_options options = {.file = in_dir("conf"), .trusted = true};
	struct conf *conf = NULL;
	struct arena arena;
	struct err err;
	FILE *f = fopen(options.file, "w");

	assert_non_null(f);
	fprintf(f, "spool_directory = %s\nprimary_hostname = h.example\n%s\n", dir, text);
	assert_int_equal(fclose(f), 0);
	arena_init(&arena, 0);
	err = err_make(&arena);
	if (conf_load(&test_language, &options, &conf, &err) != OK && !error)
		fail_msg("%.*s", SLICE_ARG(err.text));
	if (error)
		snprintf(error, error_size, "%.*s", SLICE_ARG(err.text));
	arena_done(&arena);
	return conf;
}

/* The whole file, NUL-terminated; "" when there is none. The caller frees. */
static inline char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 16 * 1024 * 1024);
	size_t len = 0;

	assert_non_null(text);
	if (f) {
		len = fread(text, 1, 16 * 1024 * 1024 - 1, f);
		fclose(f);
	}
	text[len] = 0;
	return text;
}

struct run {
	struct shard *shard;
	struct arena arena;
	struct task task;
	struct conf *conf;
	void (*f)(struct task *task, struct conf *conf);
};

static void run_fiber(void *arg)
{
	struct run *run = arg;

	run->f(&run->task, run->conf);
	shard_stop(run->shard);
}

static void run_start(struct shard *shard, void *arg)
{
	struct run *run = arg;

	assert_int_equal(log_attach(shard, NULL), OK);
	task_init(&run->task, shard, &run->arena, UNTIL_NEVER);
	assert_int_equal(fiber_spawn(shard, run_fiber, run), OK);
}

/* Runs f(task, conf) on a fiber of a new shard; what is still unwritten at its end is written then. */
static inline void run_fn(struct conf *conf, void (*f)(struct task *, struct conf *))
{
	struct shard_options options = {.cpu = -1};
	struct run run = {.f = f, .conf = conf};
	struct err err;

	arena_init(&run.arena, 0);
	err = err_make(&run.arena);
	if (shard_new(&options, &run.shard, &err) != OK || shard_run(run.shard, run_start, &run, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	log_detach(run.shard);
	shard_free(run.shard);
	arena_done(&run.arena);
	arena_pool_done();
}

#endif
