/* Fibers that wait for each other: queues, and groups of children that end before their parent. */
#include "shard.h"

struct waiter {
	struct link link;
	struct task_wait wait;
};

void waitq_init(struct waitq *q)
{
	list_init(&q->waiters);
}

static void waiter_stop(struct task_wait *wait, enum rc why)
{
	list_remove(&CONTAINER_OF(wait, struct waiter, wait)->link);
	task_wake(wait, why);
}

/* hard: neither cancelled nor timed out; free of a deadline, but cancellable: see group_wait(). */
enum rc waitq_wait_hard(struct task *task, struct waitq *q, bool hard)
{
	struct waiter waiter;

	list_append(&q->waiters, &waiter.link);
	return task_park(task, &waiter.wait, waiter_stop, hard);
}

enum rc waitq_wait(struct task *task, struct waitq *q)
{
	if (task->cancelled)
		return CANCELLED;
	return waitq_wait_hard(task, q, false);
}

bool waitq_wake_one(struct waitq *q)
{
	struct link *l = list_shift(&q->waiters);

	if (!l)
		return false;
	task_wake(&LIST_ITEM(l, struct waiter, link)->wait, OK);
	return true;
}

void waitq_wake_all(struct waitq *q)
{
	while (waitq_wake_one(q))
		;
}

/* ---- Groups ---- */

struct child {
	struct link link;
	struct task task;
	struct group *group;
	void (*f)(struct task *task, void *arg);
	void *arg;
	struct debug *debug; /* the parent's */
};

void group_init(struct group *group)
{
	list_init(&group->children);
	waitq_init(&group->done);
	group->running = 0;
}

static void child_run(void *arg)
{
	struct child *child = arg;
	struct group *group = child->group;

	fiber_debug(child->debug);
	child->f(&child->task, child->arg);
	list_remove(&child->link);
	if (--group->running == 0)
		waitq_wake_all(&group->done);
}

enum rc group_spawn(struct task *parent, struct group *group, void (*f)(struct task *, void *arg), void *arg)
{
	struct child *child;
	enum rc rc;

	if (parent->cancelled)
		return CANCELLED;
	child = arena_make(parent->arena, struct child);
	if (!child)
		return DEFER;
	child->group = group;
	child->f = f;
	child->arg = arg;
	child->debug = debug_here;
	task_init(&child->task, parent->shard, parent->arena, parent->until);
	rc = fiber_spawn(parent->shard, child_run, child);
	if (rc != OK)
		return rc;
	list_append(&group->children, &child->link);
	group->running++;
	return OK;
}

void group_cancel(struct group *group)
{
	LIST_EACH (l, &group->children)
		task_cancel(&LIST_ITEM(l, struct child, link)->task);
}

enum rc group_wait(struct task *parent, struct group *group)
{
	uint64_t until = parent->until;
	enum rc rc = parent->cancelled ? CANCELLED : OK;

	/* The children have the parent's deadline and end by it; waiting for them has none of its own. */
	parent->until = UNTIL_NEVER;
	while (group->running && rc == OK)
		rc = waitq_wait(parent, &group->done);
	if (rc != OK) {
		group_cancel(group);
		while (group->running)
			(void)waitq_wait_hard(parent, &group->done,
					      true); /* hard: only the last child ends it */
		rc = CANCELLED;
	}
	parent->until = until;
	return rc;
}
