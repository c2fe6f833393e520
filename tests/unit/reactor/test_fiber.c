/* Fibers, tasks, timers and queues. */
#include "harness.h"

/* ---- Many fibers ---- */

struct many {
	unsigned started, ended;
	struct waitq go;
	struct task tasks[3000];
};

static void many_fiber(void *arg)
{
	struct task *task = arg;
	struct many *m = (struct many *)task->wait; /* borrowed for the hand-over */
	volatile char room[2048];

	task->wait = NULL;
	room[0] = 1;
	m->started++;
	assert_true(fiber_running());
	assert_in_range(fiber_stack_left(), 64 * 1024, 512 * 1024);
	assert_int_equal(waitq_wait(task, &m->go), OK);
	assert_int_equal(room[0], 1);
	m->ended++;
}

static void many(struct task *task, void *arg)
{
	struct many *m = arg;

	waitq_init(&m->go);
	for (size_t i = 0; i < ARRAY_COUNT(m->tasks); i++) {
		task_init(&m->tasks[i], task->shard, task->arena, UNTIL_NEVER);
		m->tasks[i].wait = (struct task_wait *)m;
		assert_int_equal(fiber_spawn(task->shard, many_fiber, &m->tasks[i]), OK);
	}
	assert_int_equal(m->started, 0); /* not before this round is over */
	assert_int_equal(task_yield(task), OK);
	assert_int_equal(m->started, ARRAY_COUNT(m->tasks));
	assert_int_equal(m->ended, 0);
	waitq_wake_all(&m->go);
	assert_int_equal(task_yield(task), OK);
	assert_int_equal(m->ended, ARRAY_COUNT(m->tasks));
}

static void test_many(void **state)
{
	static struct many m;
	struct shard_stats stats;

	(void)state;
	m = (struct many){0};
	stats = run_fn(many, &m);
	assert_int_equal(stats.fibers_started, ARRAY_COUNT(m.tasks) + 1);
	assert_int_equal(stats.fibers_running, 0);
}

static void nothing(void *arg)
{
	++*(unsigned *)arg;
}

static void refused(struct task *task, void *arg)
{
	unsigned *count = arg;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fiber_spawn(task->shard, nothing, count), OK);
	assert_int_equal(fiber_spawn(task->shard, nothing, count), DEFER); /* we are the fourth */
	assert_int_equal(task_yield(task), OK);
	assert_int_equal(*count, 3);
	assert_int_equal(fiber_spawn(task->shard, nothing, count), OK);
	assert_int_equal(task_yield(task), OK);
}

static void test_refused(void **state)
{
	unsigned count = 0;
	struct shard_stats stats;

	(void)state;
	stats = run_with((struct shard_options){.cpu = -1, .fiber_count_max = 4}, refused, &count);
	assert_int_equal(stats.fibers_refused, 1);
	assert_int_equal(count, 4);
}

/* ---- Timers ---- */

#define TIMERS 5000
struct timed {
	struct timer timers[TIMERS];
	uint64_t last;
	unsigned fired;
	struct shard *shard;
};
static struct timed timed;

static void timed_fn(struct timer *timer)
{
	assert_true(timer->at >= timed.last);
	assert_true(timer->at <= shard_now(timed.shard));
	assert_int_equal(timer->place, 0);
	timed.last = timer->at;
	timed.fired++;
}

static void timers(struct task *task, void *arg)
{
	uint64_t now = shard_now(task->shard);
	unsigned seed = 12345, cancelled = 0;

	(void)arg;
	timed.shard = task->shard;
	for (unsigned i = 0; i < TIMERS; i++) {
		timer_init(&timed.timers[i], timed_fn);
		seed = seed * 1103515245 + 12345;
		timer_set(task->shard, &timed.timers[i], now + (seed >> 8) % (20 * NS_PER_MS));
	}
	for (unsigned i = 0; i < TIMERS; i += 3) { /* move some, both ways */
		seed = seed * 1103515245 + 12345;
		timer_set(task->shard, &timed.timers[i], now + (seed >> 8) % (20 * NS_PER_MS));
	}
	for (unsigned i = 0; i < TIMERS; i += 7) {
		timer_cancel(task->shard, &timed.timers[i]);
		timer_cancel(task->shard, &timed.timers[i]); /* twice is harmless */
		cancelled++;
	}
	assert_int_equal(task_sleep(task, now + 21 * NS_PER_MS), OK);
	assert_int_equal(timed.fired, TIMERS - cancelled);
}

static void test_timers(void **state)
{
	(void)state;
	run_fn(timers, NULL);
}

/* ---- Deadlines and cancelling ---- */

static void deadlines(struct task *task, void *arg)
{
	struct waitq q;
	uint64_t start = shard_now(task->shard);

	(void)arg;
	waitq_init(&q);
	task->until = task_until(task, 5);
	assert_int_equal(waitq_wait(task, &q), DEFER);
	assert_true(list_empty(&q.waiters));
	assert_true(shard_now(task->shard) >= start + 5 * NS_PER_MS);
	assert_int_equal(task_sleep(task, start + NS_PER_S), DEFER); /* the deadline is over already */
	assert_int_equal(task_sleep(task, start), OK);
	task->until = UNTIL_NEVER;
	assert_int_equal(task_until(task, UINT64_MAX), UNTIL_NEVER);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	assert_false(waitq_wake_one(&q));
	task_cancel(task);
	assert_int_equal(task_sleep(task, 0), CANCELLED);
	assert_int_equal(waitq_wait(task, &q), CANCELLED);
	assert_int_equal(task_yield(task), CANCELLED);
}

static void test_deadlines(void **state)
{
	(void)state;
	run_fn(deadlines, NULL);
}

struct order {
	struct waitq q;
	char log[16];
	unsigned len;
	enum rc rcs[3];
};

static void order_child(struct task *task, void *arg)
{
	struct order *o = arg;
	unsigned me = o->len++;

	o->rcs[me] = waitq_wait(task, &o->q);
	o->log[strlen(o->log)] = (char)('a' + me);
}

static void order(struct task *task, void *arg)
{
	struct order o = {.log = ""};
	struct group group;

	(void)arg;
	waitq_init(&o.q);
	group_init(&group);
	for (int i = 0; i < 3; i++)
		assert_int_equal(group_spawn(task, &group, order_child, &o), OK);
	assert_int_equal(task_yield(task), OK);
	assert_true(waitq_wake_one(&o.q));
	assert_true(waitq_wake_one(&o.q));
	assert_int_equal(task_yield(task), OK);
	assert_string_equal(o.log, "ab");
	group_cancel(&group);
	assert_int_equal(group_wait(task, &group), OK);
	assert_string_equal(o.log, "abc");
	assert_int_equal(o.rcs[0], OK);
	assert_int_equal(o.rcs[2], CANCELLED);
	assert_false(waitq_wake_one(&o.q));
}

static void test_order(void **state)
{
	(void)state;
	run_fn(order, NULL);
}

/* A parent that is cancelled while it waits takes its children with it, and leaves only after them. */
struct family {
	struct task task;
	struct group group;
	unsigned ended;
	enum rc rc;
	bool left;
	struct waitq done;
};

static void family_child(struct task *task, void *arg)
{
	struct family *f = arg;

	assert_int_equal(task_sleep(task, shard_now(task->shard) + 3600 * NS_PER_S), CANCELLED);
	assert_false(f->left);
	f->ended++;
}

static void family_parent(void *arg)
{
	struct family *f = arg;

	group_init(&f->group);
	for (int i = 0; i < 10; i++)
		assert_int_equal(group_spawn(&f->task, &f->group, family_child, f), OK);
	f->rc = group_wait(&f->task, &f->group);
	f->left = true;
	waitq_wake_all(&f->done);
}

static void family(struct task *task, void *arg)
{
	struct family f = {0};

	(void)arg;
	waitq_init(&f.done);
	task_init(&f.task, task->shard, task->arena, UNTIL_NEVER);
	assert_int_equal(fiber_spawn(task->shard, family_parent, &f), OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(task_yield(task), OK);
	assert_int_equal(f.group.running, 10);
	task_cancel(&f.task);
	assert_int_equal(waitq_wait(task, &f.done), OK);
	assert_int_equal(f.rc, CANCELLED);
	assert_int_equal(f.ended, 10);
	assert_int_equal(f.group.running, 0);
}

static void test_family(void **state)
{
	(void)state;
	run_fn(family, NULL);
}

/* A wake-up and a cancellation in one round: the first one counts, and nobody is resumed twice. */
struct both {
	struct task task;
	struct waitq q;
	unsigned returned;
	enum rc rc;
};

static void both_fiber(void *arg)
{
	struct both *b = arg;

	b->rc = waitq_wait(&b->task, &b->q);
	b->returned++;
}

static void both(struct task *task, void *arg)
{
	struct both b = {0};

	(void)arg;
	waitq_init(&b.q);
	task_init(&b.task, task->shard, task->arena, UNTIL_NEVER);
	assert_int_equal(fiber_spawn(task->shard, both_fiber, &b), OK);
	assert_int_equal(task_yield(task), OK);
	assert_true(waitq_wake_one(&b.q));
	task_cancel(&b.task);
	task_cancel(&b.task);
	assert_int_equal(task_yield(task), OK);
	assert_int_equal(task_yield(task), OK);
	assert_int_equal(b.returned, 1);
	assert_int_equal(b.rc, OK);
}

static void test_both(void **state)
{
	(void)state;
	run_fn(both, NULL);
}

static void slots(struct task *task, void *arg)
{
	static struct shard_slot a, b, never;
	char bytes[32] = {0}, zero[32] = {0};

	assert_null(shard_slot(task->shard, &a));
	shard_slot_set(task->shard, &a, arg);
	assert_ptr_equal(shard_slot(task->shard, &a), arg);
	assert_null(shard_slot(task->shard, &b));
	shard_slot_set(task->shard, &b, bytes);
	assert_ptr_equal(shard_slot(task->shard, &a), arg);
	assert_ptr_equal(shard_slot(task->shard, &b), bytes);
	shard_slot_set(task->shard, &a, NULL);
	assert_null(shard_slot(task->shard, &a));
	/* Who only clears up takes no place. */
	shard_slot_set(task->shard, &never, NULL);
	assert_int_equal(never.number, 0);
	assert_null(shard_slot(task->shard, &never));
	assert_ptr_equal(shard_here(), task->shard);
	assert_ptr_equal(shard_peer(task->shard, 0), task->shard);
	shard_random(task->shard, bytes, sizeof(bytes));
	assert_memory_not_equal(bytes, zero, sizeof(bytes));
	assert_true(shard_wall(task->shard) > 1700000000 * NS_PER_S);
	assert_true(shard_wall_exact(task->shard) >= shard_wall(task->shard));
}

static void test_slots(void **state)
{
	int here;

	(void)state;
	run_fn(slots, &here);
	assert_null(shard_here());
	assert_false(fiber_running());
	assert_true(reactor_cpu_count() >= 1);
	assert_int_equal(reactor_probe(NULL), OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_many),      cmocka_unit_test(test_refused), cmocka_unit_test(test_timers),
	    cmocka_unit_test(test_deadlines), cmocka_unit_test(test_order),   cmocka_unit_test(test_family),
	    cmocka_unit_test(test_both),      cmocka_unit_test(test_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
