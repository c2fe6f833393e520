/* What the tests of this room, and of rooms above it, share: a shard that runs one function on a fiber and ends. */
#ifndef REACTOR_HARNESS_H
#define REACTOR_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "reactor/reactor.h"

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

/* Runs f(task, arg) on a fiber of a new shard; statistics of the shard at its end are returned. */
static inline struct shard_stats run_with(struct shard_options options, void (*f)(struct task *, void *arg),
					  void *arg)
{
	struct run run = {.f = f, .arg = arg};
	struct shard_stats stats;
	struct err err;

	/* cmocka leaves a failed test by longjmp(), which must not happen on a fiber's stack. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	arena_init(&run.arena, 0);
	err = err_make(&run.arena);
	if (shard_new(&options, &run.shard, &err) != OK || shard_run(run.shard, run_start, &run, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	shard_stats(run.shard, &stats);
	shard_free(run.shard);
	arena_done(&run.arena);
	arena_pool_done();
	return stats;
}

static inline struct shard_stats run_fn(void (*f)(struct task *, void *arg), void *arg)
{
	return run_with((struct shard_options){.cpu = -1}, f, arg);
}

#endif
