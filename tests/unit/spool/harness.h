/* What the tests of this room share: a spool in a directory of its own, on a fiber of a shard. */
#ifndef SPOOL_HARNESS_H
#define SPOOL_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "spool/log.h"

struct run {
	struct shard *shard;
	struct arena arena;
	struct task task;
	void (*f)(struct task *task, void *arg);
	void *arg;
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

	task_init(&run->task, shard, &run->arena, UNTIL_NEVER);
	assert_int_equal(fiber_spawn(shard, run_fiber, run), OK);
}

/* Runs f(task, arg) on a fiber of shard id of count. */
static inline void run_on(unsigned id, unsigned count, void (*f)(struct task *, void *arg), void *arg)
{
	struct shard_options options = {.id = id, .count = count, .cpu = -1};
	struct run run = {.f = f, .arg = arg};
	struct err err;

	/* cmocka leaves a failed test by longjmp(), which must not happen on a fiber's stack. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	arena_init(&run.arena, 0);
	err = err_make(&run.arena);
	if (shard_new(&options, &run.shard, &err) != OK || shard_run(run.shard, run_start, &run, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	shard_free(run.shard);
	arena_done(&run.arena);
	arena_pool_done();
}

static inline void must(enum rc rc, const struct err *err)
{
	if (rc != OK)
		fail_msg("%s: %.*s", rc_name(rc), SLICE_ARG(err->text));
}

static inline char *new_directory(void)
{
	char *path = strdup("/tmp/sluice-spool-XXXXXX");

	assert_non_null(mkdtemp(path));
	return path;
}

static inline void remove_directory(char *path)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
	free(path);
}

/* Bytes that depend on the seed and the place: what is mixed up shows. */
static inline void pattern(char *bytes, size_t len, uint64_t seed, uint64_t at)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)((seed * 2654435761u + (at + i) * 40503u) >> 7);
}

static inline struct message_id id_of(uint64_t number)
{
	struct id_source source = {.unique = 7, .host_number = -1};

	return message_id_next(&source, 1700000000000000000ull + number * 2000);
}

#endif
