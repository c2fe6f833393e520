/* Tasks: parking, its deadline and its cancellation, in one place for everything that waits. */
#include "shard.h"

void task_init(struct task *task, struct shard *shard, struct arena *arena, uint64_t until)
{
	*task = (struct task){.shard = shard, .arena = arena, .until = until};
}

uint64_t task_until(const struct task *task, uint64_t timeout_ms)
{
	uint64_t now = shard_now(task->shard), until;

	if (__builtin_mul_overflow(timeout_ms, NS_PER_MS, &until) ||
	    __builtin_add_overflow(until, now, &until))
		return task->until;
	return until < task->until ? until : task->until;
}

void task_limit(struct task *task, uint64_t timeout_ms)
{
	task->until = UNTIL_NEVER;
	task->until = task_until(task, timeout_ms);
}

void task_wake(struct task_wait *wait, enum rc rc)
{
	if (wait->woken)
		return;
	wait->woken = true;
	wait->rc = rc;
	timer_cancel(wait->task->shard, &wait->timer);
	fiber_ready(wait->fiber);
}

static void wait_stop(struct task_wait *wait, enum rc why)
{
	if (wait->woken || wait->stopped)
		return;
	wait->stopped = true;
	timer_cancel(wait->task->shard, &wait->timer);
	if (wait->stop)
		wait->stop(wait, why);
	else
		task_wake(wait, why);
}

static void wait_timeout(struct timer *timer)
{
	wait_stop(CONTAINER_OF(timer, struct task_wait, timer), DEFER);
}

enum rc task_park(struct task *task, struct task_wait *wait, void (*stop)(struct task_wait *, enum rc),
		  bool hard)
{
	struct shard *shard = task->shard;

	ASSERT(shard->running && !task->wait);
	wait->task = task;
	wait->fiber = shard->running;
	wait->stop = stop;
	wait->woken = wait->stopped = false;
	timer_init(&wait->timer, wait_timeout);
	if (hard) {
		/* Whoever cancels meanwhile only leaves a note in the task. */
		wait->stopped = true;
	} else if (task->until != UNTIL_NEVER) {
		timer_set(shard, &wait->timer, task->until);
	}
	task->wait = wait;
	task->fiber = wait->fiber;
	fiber_park(shard);
	task->wait = NULL;
	task->fiber = NULL;
	return wait->rc;
}

void task_cancel(struct task *task)
{
	task->cancelled = true;
	if (task->wait)
		wait_stop(task->wait, CANCELLED);
}

/* ---- Sleeping ---- */

struct sleep {
	struct task_wait wait;
	struct timer timer;
};

static void sleep_over(struct timer *timer)
{
	task_wake(&CONTAINER_OF(timer, struct sleep, timer)->wait, OK);
}

enum rc task_sleep(struct task *task, uint64_t until)
{
	struct sleep sleep;
	enum rc rc;

	if (task->cancelled)
		return CANCELLED;
	timer_init(&sleep.timer, sleep_over);
	/* Set before the deadline's own timer: when both are for the same moment, the sleep is over in time.
	 */
	if (until <= task->until)
		timer_set(task->shard, &sleep.timer, until);
	rc = task_park(task, &sleep.wait, NULL, false);
	timer_cancel(task->shard, &sleep.timer);
	return rc;
}

enum rc task_yield(struct task *task)
{
	struct fiber *fiber = task->shard->running;

	if (task->cancelled)
		return CANCELLED;
	ASSERT(fiber);
	fiber_ready(fiber);
	fiber_park(task->shard);
	return task->cancelled ? CANCELLED : OK;
}

/* ---- Operations ---- */

static void op_wait_done(struct op *op)
{
	struct op_wait *w = CONTAINER_OF(op, struct op_wait, op);

	task_wake(&w->wait, OK);
}

static void op_wait_stop(struct task_wait *wait, enum rc why)
{
	struct op_wait *w = CONTAINER_OF(wait, struct op_wait, wait);

	w->why = why;
	if (w->cancel_on_stop)
		wait->task->shard->backend->cancel(wait->task->shard, &w->op);
}

enum rc op_call(struct task *task, struct op_wait *w, bool cancel_on_stop)
{
	if (task->cancelled)
		return CANCELLED;
	w->why = OK;
	w->cancel_on_stop = cancel_on_stop;
	w->op.done = op_wait_done;
	w->op.msg = &w->msg;
	task->shard->backend->submit(task->shard, &w->op);
	(void)task_park(task, &w->wait, op_wait_stop, false); /* the result of the operation is what counts */
	if (w->why != OK && w->op.result == -ECANCELED)
		return w->why;
	return OK;
}
