/* Mail between two shards on two threads, and calls on helper threads. */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* ---- Order and volume ---- */

#define MAILS  20000
#define WINDOW 64 /* under way at a time */

struct letter {
	struct mail mail;
	unsigned number;
};

struct two {
	struct shard *shards[2];
	struct letter letters[2][WINDOW];
	unsigned sent[2], seen[2], came_home[2]; /* by sender; seen is the peer's */
	atomic_uint finished;
};

static struct two two;

static void letter_send(struct shard *here, struct letter *l);

static void letter_home(struct mail *mail, struct shard *here)
{
	struct letter *l = CONTAINER_OF(mail, struct letter, mail);
	unsigned me = shard_id(here);

	assert_ptr_equal(mail->from, here);
	assert_int_equal(l->number, two.came_home[me]++);
	if (two.sent[me] < MAILS)
		letter_send(here, l);
	if (two.came_home[me] == MAILS)
		atomic_fetch_add(&two.finished, 1);
}

static void letter_at_peer(struct mail *mail, struct shard *here)
{
	struct letter *l = CONTAINER_OF(mail, struct letter, mail);

	assert_ptr_equal(here, shard_here());
	assert_int_equal(shard_id(mail->from), 1 - shard_id(here));
	assert_int_equal(l->number, two.seen[1 - shard_id(here)]++);
	mail_return(mail, here);
}

static void letter_send(struct shard *here, struct letter *l)
{
	unsigned me = shard_id(here);

	l->mail.at_peer = letter_at_peer;
	l->mail.home = letter_home;
	l->number = two.sent[me]++;
	mail_post(here, shard_peer(here, 1 - me), &l->mail);
}

static void two_start(struct shard *shard, void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < WINDOW; i++)
		letter_send(shard, &two.letters[shard_id(shard)][i]);
}

static void *two_thread(void *arg)
{
	struct shard *shard = arg;

	assert_int_equal(shard_run(shard, two_start, NULL, NULL), OK);
	arena_pool_done();
	return NULL;
}

static void stop_here(struct mail *mail, struct shard *here)
{
	(void)mail;
	shard_stop(here);
}

static void test_two_shards(void **state)
{
	struct mail stop[2] = {{.at_peer = stop_here}, {.at_peer = stop_here}};
	pthread_t threads[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
		    shard_new(&(struct shard_options){.id = i, .count = 2, .cpu = -1, .buf_count = 8},
			      &two.shards[i], NULL),
		    OK);
	shard_connect(two.shards, 2);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, two_thread, two.shards[i]);
	while (atomic_load(&two.finished) < 2)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	for (unsigned i = 0; i < 2; i++)
		mail_inject(two.shards[i], &stop[i]); /* from a thread that is no shard's */
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(two.came_home[i], MAILS);
		assert_int_equal(two.seen[i], MAILS);
		shard_free(two.shards[i]);
	}
}

/* ---- Helper threads ---- */

struct call {
	sem_t go, freed;
	atomic_int begun, ran, frees;
	pthread_t thread;
};

static void call_now(void *arg)
{
	struct call *call = arg;

	call->thread = pthread_self();
	atomic_fetch_add(&call->ran, 1);
}

static void call_wait(void *arg)
{
	struct call *call = arg;

	atomic_fetch_add(&call->begun, 1);
	sem_wait(&call->go);
	atomic_fetch_add(&call->ran, 1);
}

static void call_free(void *arg)
{
	struct call *call = arg;

	atomic_fetch_add(&call->frees, 1);
	sem_post(&call->freed);
}

static struct call call_make(void)
{
	struct call call = {0};

	sem_init(&call.go, 0, 0);
	sem_init(&call.freed, 0, 0);
	return call;
}

static void offload(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	struct call call = call_make(), slow = call_make();

	(void)arg;
	for (int i = 1; i <= 50; i++) {
		assert_int_equal(offload_call(task, call_now, &call, call_free, &err), OK);
		assert_int_equal(atomic_load(&call.ran), i);
	}
	assert_false(pthread_equal(call.thread, pthread_self()));
	assert_int_equal(atomic_load(&call.frees), 0);
	/* Past the deadline f may still run; arg is freed when it has ended. */
	task->until = task_until(task, 3);
	assert_int_equal(offload_call(task, call_wait, &slow, call_free, &err), DEFER);
	assert_int_equal(err.os, ETIMEDOUT);
	task->until = UNTIL_NEVER;
	assert_int_equal(atomic_load(&slow.frees), 0);
	sem_post(&slow.go);
	while (!atomic_load(&slow.frees))
		assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	assert_int_equal(atomic_load(&slow.ran), 1);
	task_cancel(task);
	assert_int_equal(offload_call(task, call_now, &call, call_free, &err), CANCELLED);
	assert_int_equal(atomic_load(&call.frees), 1);
}

static void test_offload(void **state)
{
	(void)state;
	run_fn(offload, NULL);
}

/* More calls than threads and queue: those past it are refused, all others run. */
struct crowd {
	struct call call;
	unsigned ok, deferred, cancelled;
};

static void crowd_child(struct task *task, void *arg)
{
	struct crowd *crowd = arg;

	switch (offload_call(task, call_wait, &crowd->call, call_free, NULL)) {
	case OK:
		crowd->ok++;
		break;
	case DEFER:
		crowd->deferred++;
		break;
	default:
		crowd->cancelled++;
	}
}

static void crowd_full(struct task *task, void *arg)
{
	struct crowd crowd = {.call = call_make()};
	struct group group;

	(void)arg;
	group_init(&group);
	for (unsigned i = 0; i < 400; i++)
		assert_int_equal(group_spawn(task, &group, crowd_child, &crowd), OK);
	while (!crowd.deferred)
		assert_int_equal(task_yield(task), OK);
	for (unsigned i = 0; i < 400; i++)
		sem_post(&crowd.call.go);
	assert_int_equal(group_wait(task, &group), OK);
	assert_int_equal(crowd.ok + crowd.deferred, 400);
	assert_true(crowd.ok >= 256);
	assert_int_equal(atomic_load(&crowd.call.ran), crowd.ok);
	assert_int_equal(atomic_load(&crowd.call.frees), crowd.deferred);
}

static void test_crowd(void **state)
{
	(void)state;
	run_fn(crowd_full, NULL);
}

/* The shard ends while a helper is still inside a call. */
static struct call left;

static void leave_child(struct task *task, void *arg)
{
	(void)arg;
	(void)!offload_call(task, call_wait, &left, call_free, NULL);
	fail();
}

static void leave(struct task *task, void *arg)
{
	struct group *group = arg;

	group_init(group);
	assert_int_equal(group_spawn(task, group, leave_child, NULL), OK);
	while (!atomic_load(&left.begun))
		assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
}

static void test_leave(void **state)
{
	static struct group group;

	(void)state;
	left = call_make();
	run_fn(leave, &group);
	assert_int_equal(atomic_load(&left.frees), 0);
	sem_post(&left.go);
	sem_wait(&left.freed);
	assert_int_equal(atomic_load(&left.ran), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_two_shards),
	    cmocka_unit_test(test_offload),
	    cmocka_unit_test(test_crowd),
	    cmocka_unit_test(test_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
