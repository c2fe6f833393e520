/* What the files of this room share: the shard itself, fibers, waits, and who calls whom. */
#ifndef REACTOR_SHARD_H
#define REACTOR_SHARD_H

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backend.h"

#define SLOT_COUNT_MAX 64

struct shard_metrics {
	struct tally loops, fibers_started, completions, submissions, enobufs, fibers_refused;
	struct tally fibers_running, bufs_held;
};

#if defined(SLUICE_SANITIZE) || defined(SLUICE_TSAN)
#define STACK_SIZE (512u * 1024) /* sanitizers widen every frame */
#else
#define STACK_SIZE (128u * 1024)
#endif
#define STACKS_IDLE_MAX 256 /* kept for reuse; the rest goes back to the system */

/* Lives at the top of its own stack: one mapping holds all of a fiber. */
struct fiber {
	struct link ready; /* in shard->ready, or in shard->stacks when idle */
	void *sp;          /* while it does not run */
	struct shard *shard;
	void (*f)(void *arg);
	void *arg;
	struct link all; /* in shard->fibers */
	char *stack;     /* lowest usable byte, above the guard page */
	size_t stack_size;
	void *fake_stack; /* AddressSanitizer's */
	void *tsan;       /* ThreadSanitizer's */
	unsigned valgrind_id;
	struct debug *debug; /* where its work is told; NULL: nowhere */
};

struct heap_entry {
	uint64_t at;
	struct timer *timer;
};

struct mailbox {
	_Atomic(struct mail *) head; /* newest first; any thread pushes, the shard takes all */
	atomic_bool sleeping;        /* the shard is about to wait, or waits: who posts must wake it */
};

struct buf_pool {
	struct buf *free;
	struct buf **offered; /* by number; NULL: nothing offered under it */
	uint16_t *hungry;     /* numbers that wait for a buffer */
	unsigned hungry_count;
	unsigned offered_count;    /* in the kernel's hands */
	unsigned count, count_max; /* buffers that exist; that may */
	unsigned free_count;
	struct buf_slab *slabs;
	struct link starved; /* streams whose receive ended for lack of a buffer */
};

struct shard {
	struct shard_options options;
	const struct backend *backend;
	void *world; /* the backend's */
	uint64_t now, wall;
	bool stopping, open;

	struct link ready; /* fibers to run, in order */
	unsigned ready_count;
	unsigned batch; /* how many run in this round */
	struct fiber *running;
	struct link stacks; /* idle fibers */
	struct link fibers; /* all */
	void *loop_sp;      /* of the loop, while a fiber runs */
	void *loop_fake_stack;
	const void *loop_stack;
	size_t loop_stack_size;
	void *loop_tsan;

	struct heap_entry *heap; /* from 1 */
	uint32_t heap_count, heap_size;

	struct mailbox mailbox;
	struct shard *const *peers;
	unsigned peer_count;
	int wake_fd; /* eventfd, for threads without a ring */
	atomic_int
	    ring_fd; /* where peers send their wake-ups; -1: no ring, use wake_fd. Written by this shard */

	struct buf_pool bufs;
	struct link streams, listeners, watches; /* open, to be freed at the end if nobody closed them */
	struct link streams_idle;                /* freed structs, for reuse */
	unsigned streams_idle_count;
	struct offload *offload;

	void *slots[SLOT_COUNT_MAX];
	struct {
		void (*fn)(struct shard *shard, void *arg);
		void *arg;
	} round_end[SHARD_HOOKS_MAX];
	unsigned round_end_count;
	struct shard_stats stats;
	struct shard_metrics
	    *metrics; /* the same for others to read, written once a round; NULL: nobody wants it */
};

/* ---- fiber.c ---- */
void fibers_init(struct shard *shard);
void fibers_done(struct shard *shard);
/* Runs all that are ready now; those that become ready meanwhile have to wait for the next round. */
void fibers_run(struct shard *shard);
/* Leaves the running fiber; returns when someone has put it into the ready list and its turn has come. */
void fiber_park(struct shard *shard);
static inline void fiber_ready(struct fiber *fiber)
{
	fiber->shard->ready_count++;
	list_append(&fiber->shard->ready, &fiber->ready);
}

/* ---- task.c ---- */

/* One park. stop() is called on deadline (DEFER) and cancellation (CANCELLED), at most once: it either wakes
 * the fiber at once, or sees to it that what the fiber waits for ends soon. */
struct task_wait {
	struct timer timer;
	struct task *task;
	struct fiber *fiber;
	void (*stop)(struct task_wait *wait, enum rc why);
	enum rc rc;
	bool woken, stopped;
};

/* Parks until task_wake(). stop NULL: just wakes. hard: neither deadline nor cancellation ends it. */
enum rc task_park(struct task *task, struct task_wait *wait, void (*stop)(struct task_wait *, enum rc),
		  bool hard);
void task_wake(struct task_wait *wait, enum rc rc);

/* An operation whose memory is on the fiber's stack: it is always waited for. */
struct op_wait {
	struct op op;
	struct task_wait wait;
	struct msghdr msg;
	enum rc why; /* of the stop */
	bool cancel_on_stop;
};

/* Submits op (filled in but for done) and parks until it came home; result is op.result. OK when it ran to
 * its end, whatever that was; DEFER or CANCELLED when it was cut short, or was never begun. */
enum rc op_call(struct task *task, struct op_wait *w, bool cancel_on_stop);

/* ---- timer.c ---- */
void timers_init(struct shard *shard);
void timers_done(struct shard *shard);
void timers_run(struct shard *shard);
uint64_t timers_next(const struct shard *shard); /* UNTIL_NEVER: none */

/* ---- waitq.c ---- */
enum rc waitq_wait_hard(struct task *task, struct waitq *q, bool hard);

/* ---- mailbox.c ---- */
void mailbox_init(struct mailbox *box);
void mailbox_run(struct shard *shard);
/* About to wait: true when nothing has come meanwhile. */
bool mailbox_sleep(struct mailbox *box);
void mailbox_awake(struct mailbox *box);

/* ---- buf.c ---- */
enum rc bufs_init(struct shard *shard, struct err *err);
void bufs_offer_all(struct shard *shard);
void bufs_done(struct shard *shard);
/* The kernel has filled the buffer of that number: it is the caller's now, and another takes its place. */
struct buf *buf_taken(struct shard *shard, unsigned number, size_t len);
struct buf *buf_copy(struct shard *shard, const struct buf *buf);

/* ---- stream.c ---- */
void streams_feed(struct shard *shard); /* lets starved streams receive again */
void streams_done(struct shard *shard);

/* ---- listener.c, watch.c ---- */
void listeners_done(struct shard *shard);
void watches_done(struct shard *shard);

/* ---- offload.c ---- */
void offload_done(struct shard *shard);

#endif
