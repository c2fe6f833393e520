/* reactor: the shard. A thread pinned to a core, with its ring, fibers, timers, buffers, mailbox and offload
 * pool, and direct-style I/O on them. Everything that sluice reads from or writes to the world, every look at
 * a clock and every random number goes through here, and from here through one narrow interface (backend.h)
 * to io_uring, or to a simulated world in tests.
 *
 * A fiber is lent, not owned: work that may wait runs as fiber_spawn(shard, f, arg) and ends when f returns.
 * A function that takes a struct task may park: the fiber stops, the shard goes on, and the call returns when
 * there is an answer. No other function ever does. Every park ends by task->until at the latest, with DEFER,
 * and at once with CANCELLED when the task is cancelled.
 *
 * Nothing here is shared between shards but the mailboxes. All functions are called on the shard's own
 * thread, except where "any thread" is said. */
#ifndef REACTOR_REACTOR_H
#define REACTOR_REACTOR_H

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/base.h"
#include "metrics/metrics.h"

struct shard;
struct fiber;
struct buf;

/* ---- The shard ------------------------------------------------------------------------------------- */

enum backend_kind { BACKEND_URING, BACKEND_SIM };

struct shard_options {
	unsigned id;    /* 0 .. count - 1 */
	unsigned count; /* shards of this process */
	int cpu;        /* pin the thread here; -1: leave it */
	enum backend_kind backend;
	unsigned buf_size;        /* bytes of a receive buffer; 0: 16640 */
	unsigned buf_count;       /* buffers offered to the kernel at a time, a power of two; 0: 512 */
	size_t buf_memory_max;    /* bytes of all receive buffers, held ones included; 0: 64 MiB */
	unsigned fiber_count_max; /* 0: 4096 */
	unsigned ring_entries;    /* of the submission queue, a power of two; 0: 512 */
	void *world;              /* the simulated world of BACKEND_SIM */
	struct metrics *metrics;  /* where this shard's numbers go; NULL: nowhere */
};

/* Can the kernel run us? Names what is missing (kernel too old, seccomp profile, kernel.io_uring_disabled,
 * memlock limit) and its cure in err. May be called before any shard exists. */
NODISCARD enum rc reactor_probe(struct err *err);
/* The CPUs this process may use: affinity and cgroup quota count. At least 1. */
unsigned reactor_cpu_count(void);

/* Prepares a shard; its ring is made by shard_run() on the shard's own thread. */
NODISCARD enum rc shard_new(const struct shard_options *options, struct shard **shard_ret, struct err *err);
/* Tells shards of each other, so that mail can be posted to shard_peer(); once, before any of them runs. The array has to stay for as
 * long as they do. */
void shard_connect(struct shard *const *shards, unsigned count);
/* Runs until shard_stop(). start is called first, on the loop (not on a fiber). */
NODISCARD enum rc shard_run(struct shard *shard, void (*start)(struct shard *, void *arg), void *arg,
			    struct err *err);
/* Leave the loop once the current round is done, whatever still waits. Draining is the business of those
 * who have work to finish. */
void shard_stop(struct shard *shard);
void shard_free(struct shard *shard);
unsigned shard_id(const struct shard *shard);
unsigned shard_count(const struct shard *shard);
struct shard *shard_peer(struct shard *shard, unsigned id);
/* The shard that runs on this thread, or NULL. */
struct shard *shard_here(void);

/* One pointer in each shard for a file that keeps something there (its cache, its connections...). The file has a
 * `static struct shard_slot` that is never copied, and stores what it likes, under its own shard's thread only; the
 * shard does not look at it. What was never set is NULL. At most SLOT_COUNT_MAX slots in a process. */
struct shard_slot {
	_Atomic unsigned number; /* 0: nobody has set it yet; then the same on all shards for good */
};
void *shard_slot(const struct shard *shard, const struct shard_slot *slot);
void shard_slot_set(struct shard *shard, struct shard_slot *slot, void *value);

/* fn is called at the end of each round of the loop, before what the round asked for goes to the kernel.
 * Fibers that it makes ready still run in this round. Not in the last round. At most SHARD_HOOKS_MAX for a
 * shard. */
#define SHARD_HOOKS_MAX 4
void shard_at_round_end(struct shard *shard, void (*fn)(struct shard *shard, void *arg), void *arg);

/* Monotonic nanoseconds, read once per round of the loop: free to ask. */
uint64_t shard_now(const struct shard *shard);
/* The wall clock, nanoseconds since the epoch, as fresh as shard_now(). */
uint64_t shard_wall(const struct shard *shard);
/* The same, read now: for stamps that must be exact. */
uint64_t shard_wall_exact(const struct shard *shard);
void shard_random(struct shard *shard, void *bytes, size_t len);

/* Numbers for the metrics. */
struct shard_stats {
	uint64_t loops, fibers_started, parks, completions, submissions;
	uint64_t enobufs, multishot_ended, sq_full, overflow, fibers_refused;
	unsigned fibers_running, stacks_idle, bufs_held;
};
void shard_stats(const struct shard *shard, struct shard_stats *stats_ret);
extern const struct metric_table shard_metric_table;
/* Where a room on this shard counts what that table names: metrics_block() for it. */
void *shard_metrics(const struct shard *shard, const struct metric_table *table, void *otherwise);

/* ---- Tasks and fibers ------------------------------------------------------------------------------ */

/* What a fiber works for: memory, a deadline, a way to be cancelled. A task may outlive many fibers (a
 * session's does), but at most one fiber works for it at a time. */
#define UNTIL_NEVER UINT64_MAX
struct task {
	struct shard *shard;
	struct arena *arena;    /* results of what the task asks for */
	uint64_t until;         /* shard_now() terms; every park ends by then with DEFER */
	bool cancelled;         /* set by task_cancel(); every park from then on is CANCELLED at once */
	struct fiber *fiber;    /* parked or running; NULL at rest. Set by the reactor */
	struct task_wait *wait; /* what the parked fiber waits for; the reactor's */
};

void task_init(struct task *task, struct shard *shard, struct arena *arena, uint64_t until);
/* until, but not later than so many milliseconds from now: for a narrower deadline around one call:
 *	uint64_t saved = task->until; task->until = task_until(task, 5000); ...; task->until = saved; */
uint64_t task_until(const struct task *task, uint64_t timeout_ms);
/* A new span for a task whose owner begins another piece of work, whatever was left of the one before. */
void task_limit(struct task *task, uint64_t timeout_ms);
/* The fiber's present park returns CANCELLED, and every later one. Never parks; safe at rest. */
void task_cancel(struct task *task);

/* Starts f(arg) on a pooled stack at the end of the present round. DEFER when fiber_count_max run already. */
NODISCARD enum rc fiber_spawn(struct shard *shard, void (*f)(void *arg), void *arg);
/* What the running fiber does from here on is told there (base/debug.h); NULL: nowhere, as at its start. Children of a
 * group tell it to the same place. */
void fiber_debug(struct debug *debug);
/* true when called on a fiber. */
bool fiber_running(void);
/* Bytes of stack still free below the caller; for recursive evaluators, which stop in time. */
size_t fiber_stack_left(void);

/* Parks until then (OK), or until cancelled. task->until is a deadline as everywhere: past it, DEFER. */
NODISCARD enum rc task_sleep(struct task *task, uint64_t until);
/* Lets others run once. */
NODISCARD enum rc task_yield(struct task *task);

/* What fibers wait on when they wait for each other: first come, first served. */
struct waitq {
	struct link waiters;
};
void waitq_init(struct waitq *q);
NODISCARD enum rc waitq_wait(struct task *task, struct waitq *q);
bool waitq_wake_one(struct waitq *q); /* false: nobody waited */
void waitq_wake_all(struct waitq *q);

/* Children that end before their parent: group_spawn() any number, then group_wait() for all of them.
 * Each child gets a task of its own (same shard, arena and deadline as the parent's), which is cancelled when
 * the parent is cancelled in group_wait(); group_wait() returns only when all children have ended: OK, or
 * CANCELLED. The deadline is the children's; group_wait() has none. */
struct group {
	struct link children;
	struct waitq done;
	unsigned running;
};
void group_init(struct group *group);
NODISCARD enum rc group_spawn(struct task *parent, struct group *group, void (*f)(struct task *, void *arg),
			      void *arg);
void group_cancel(struct group *group);
NODISCARD enum rc group_wait(struct task *parent, struct group *group);

/* ---- Timers ---------------------------------------------------------------------------------------- */

/* Embedded in its owner. fn runs on the loop, not on a fiber: it may not park; it may spawn. Setting a timer
 * costs a few instructions, since nearly all of them are moved or cancelled before they fire. */
struct timer {
	uint64_t at;
	uint32_t place; /* in the shard's heap; 0: not set */
	void (*fn)(struct timer *timer);
};
void timer_init(struct timer *timer, void (*fn)(struct timer *));
void timer_set(struct shard *shard, struct timer *timer, uint64_t at);
void timer_cancel(struct shard *shard, struct timer *timer);

/* ---- Mail between shards, and threads that may block ------------------------------------------------ */

/* Begins a message from one shard to another, in the sender's memory. Posted, it is left alone until it comes
 * home: at_peer runs on the receiving shard's loop (it may spawn a fiber, not park); when the peer calls
 * mail_return(), home runs on the sender's. A mail whose home is NULL does not come back. */
struct mail {
	struct mail *next; /* the mailbox's */
	struct shard *from;
	void (*at_peer)(struct mail *mail, struct shard *here);
	void (*home)(struct mail *mail, struct shard *here);
};
/* Any shard's thread. Lock-free; wakes the peer if it sleeps. */
void mail_post(struct shard *from, struct shard *to, struct mail *mail);
void mail_return(struct mail *mail, struct shard *here);
/* Any thread: runs fn on the shard's loop. For signal threads and the like; the mail is the caller's until
 * fn has run. */
void mail_inject(struct shard *to, struct mail *mail);

/* Runs f(arg) on a helper thread (name service, a vendor's library, ${run}) and parks until it is done.
 * A helper cannot be interrupted: past the deadline or after a cancel the call returns at once while f may
 * still run, so arg must be heap memory with a free function of its own, which is called when both the
 * caller has returned from offload_call() with something else than OK and f has ended. With OK the caller
 * frees. DEFER when queue_max calls wait already. */
NODISCARD enum rc offload_call(struct task *task, void (*f)(void *arg), void *arg,
			       void (*free_arg)(void *arg), struct err *err);

/* ---- Buffers and streams --------------------------------------------------------------------------- */

/* A received buffer: counted references, so that a message can keep the very buffers that its body arrived
 * in. Of one shard; buf_unref() gives it back to the shard's pool. */
struct buf {
	uint32_t refs;
	uint32_t len;  /* bytes received into it */
	uint32_t size; /* of bytes[] */
	uint32_t id;
	struct shard *shard;
	struct buf *next;
	char *bytes;
};
struct buf *buf_new(struct shard *shard); /* an empty one, refs 1; NULL past the shard's limit */
static inline void buf_ref(struct buf *buf)
{
	buf->refs++;
}
void buf_unref(struct buf *buf);
/* Less than a quarter of the shard's receive buffers is left: whoever holds some should copy or write down what is in them,
 * or nobody will receive anything. */
bool bufs_scarce(const struct shard *shard);

/* A connected byte stream: a socket, or a pair of descriptors (standard input and output). Input is received
 * ahead of the reader into shared buffers (multishot, from the provided ring), up to a bound; past it the
 * receive pauses, which is the back pressure. Output is gathered by the caller and sent at once.
 *
 * A layer (TLS) may sit between: it is given what arrives and what is to be sent. A stream has one end: once
 * the layer or the peer has closed, it is over, and what the peer might send after is never read as clear
 * text. */
struct stream;
struct stream_layer;

/* Takes over the descriptor(s). fd_out is fd_in for a socket. on_input, if not NULL, is called on the loop
 * whenever new input (or the end) is there while no fiber waits in stream_fill(): how a session without a
 * fiber learns that it has work. */
NODISCARD enum rc stream_new(struct shard *shard, int fd_in, int fd_out,
			     void (*on_input)(struct stream *, void *), void *arg, struct stream **stream_ret,
			     struct err *err);
/* Cancels what is under way; memory and descriptor go when the last operation has come home. Never parks. No
 * fiber may be inside a call on the stream: who wants to end another's wait cancels its task, and lets it
 * close. reset: drop unsent output and send RST instead of FIN. */
void stream_close(struct stream *stream, bool reset);
/* The same, politely: what was sent is followed by the end of our side at once, and what the peer still sends
 * is dropped until it closes too, or the time is over. After a last reply to a client that may be sending:
 * closing with input unread makes the system send RST, which can take the reply from under the client (RFC
 * 1122, section 4.2.2.13). */
void stream_close_lingering(struct stream *stream, uint64_t timeout_ms);

/* The contiguous input at the front; empty when none is there yet. Never parks. */
struct slice stream_peek(const struct stream *stream);
/* The buffer that stream_peek() points into: buf_ref() it to keep the bytes beyond stream_consume(). */
struct buf *stream_peek_buf(const struct stream *stream);
/* Drops len bytes from the front, at most what stream_peek() shows. */
void stream_consume(struct stream *stream, size_t len);
/* All unread input, over all buffers, in bytes; and whether the end was seen behind it. */
size_t stream_pending(const struct stream *stream);
bool stream_at_end(const struct stream *stream); /* no input left, and none will come */
int stream_error(
    const struct stream *stream); /* behind the end: the errno that was it; 0: the peer has closed */
/* The number of buffers a message may hold back is its own business, but the stream must know: input stops
 * when more than this many bytes are unread. Default 64 KiB. */
void stream_set_window(struct stream *stream, size_t bytes);

/* Parks until there is input that came since this function last returned: OK, and stream_peek() shows some,
 * which may be what the caller has looked at already. FAIL: the end of the stream (err->os 0) or an error;
 * what is unread can still be read. DEFER: deadline. */
NODISCARD enum rc stream_fill(struct task *task, struct stream *stream, struct err *err);
/* Sends all bytes. Parks until the kernel has them. iov is the caller's and is left as it was. FAIL: the peer
 * is gone. */
NODISCARD enum rc stream_writev(struct task *task, struct stream *stream, const struct iovec *iov,
				unsigned iov_count, struct err *err);
NODISCARD enum rc stream_write(struct task *task, struct stream *stream, struct slice bytes, struct err *err);
/* Sends without parking, from the loop, when the whole fits into the socket's buffer at once; what does not
 * fit is dropped and false returned. For a last word (421) to a client that gets no fiber. */
bool stream_write_now(struct stream *stream, struct slice bytes);
/* The next call of stream_writev() or stream_write() is the last: a layer that takes its leave does so in the same segment. */
void stream_last_words(struct stream *stream);
/* Half-close: no more output. */
void stream_shutdown_write(struct stream *stream);
int stream_fd(const struct stream *stream);
struct shard *stream_shard(const struct stream *stream);
void stream_set_arg(struct stream *stream, void (*on_input)(struct stream *, void *), void *arg);

/* What a layer does. It reads the raw side with stream_raw_...() and hands plain bytes up with stream_push_bytes(). Only
 * writev may park. */
enum stream_pumped {
	PUMPED_NOTHING, /* not enough came for anything to go up */
	PUMPED_INPUT,   /* plain input, or something that the owner has to see to */
	PUMPED_END,     /* nothing more will come, whatever the raw side says */
};
struct stream_layer_ops {
	/* Make plain bytes of what is pending below, as long as stream_has_room(). Called on the loop when input comes, and by
	 * readers. */
	enum stream_pumped (*pump)(struct stream *stream, void *layer);
	enum rc (*writev)(struct task *task, struct stream *stream, void *layer, const struct iovec *iov,
			  unsigned iov_count, struct err *err);
	bool (*write_now)(struct stream *stream, void *layer, struct slice bytes);
	void (*last)(struct stream *stream, void *layer);  /* stream_last_words(); NULL: it is all the same */
	void (*close)(struct stream *stream, void *layer); /* the last call; may send a last word */
};
/* From now on input goes through the layer, also what is there unread. Returns whether there was any: who has not
 * said yet that a layer begins may look at it as an injection. */
bool stream_set_layer(struct stream *stream, const struct stream_layer_ops *ops, void *layer);
struct slice stream_raw_peek(const struct stream *stream);
void stream_raw_consume(struct stream *stream, size_t len);
bool stream_raw_at_end(const struct stream *stream); /* no input left below, and none will come */
/* As the functions without "raw" do when there is no layer. */
NODISCARD enum rc stream_raw_fill(struct task *task, struct stream *stream, struct err *err);
NODISCARD enum rc stream_raw_writev(struct task *task, struct stream *stream, const struct iovec *iov,
				    unsigned iov_count, struct err *err);
/* Bytes that the kernel took, perhaps fewer; -1: the peer is gone. */
ptrdiff_t stream_raw_write_now(struct stream *stream, const void *bytes, size_t len);
/* The layer can look now at input that it left in its pump(). What comes of that is not told to on_input. */
void stream_look_again(struct stream *stream);
/* Less plain input is unread than the window. */
bool stream_has_room(const struct stream *stream);
/* Plain input, copied: small pieces are put together. false: no memory. */
NODISCARD bool stream_push_bytes(struct stream *stream, const char *bytes, size_t len);
void stream_push(struct stream *stream, struct buf *buf); /* without a copy; takes the reference */

/* ---- Sockets --------------------------------------------------------------------------------------- */

struct listener;
/* Accepts from a bound, listening socket (its own, or one shared by SO_REUSEPORT) until listener_close().
 * on_accept runs on the loop and owns fd. The listening descriptor stays the caller's. Running out of
 * descriptors pauses accepting and is told through on_error, once until it is over. */
NODISCARD enum rc listener_new(struct shard *shard, int fd, void (*on_accept)(void *arg, int fd),
			       void (*on_error)(void *arg, int os), void *arg, struct listener **listener_ret,
			       struct err *err);
void listener_close(struct listener *listener);

/* Connects to the address (TCP, from the source address unless that has family 0) or to the path of a Unix
 * socket. Parks. FAIL: refused, unreachable (err->os says); DEFER: deadline. */
NODISCARD enum rc connect_tcp(struct task *task, const struct ip_addr *to, const struct ip_addr *from,
			      int *fd_ret, struct err *err);
NODISCARD enum rc connect_unix(struct task *task, struct slice path, int *fd_ret, struct err *err);

/* Watches a descriptor that a library reads and writes by itself (c-ares, hiredis): fn runs on the loop each
 * time one of the wanted events is there, until watch_close(). */
struct watch;
enum { WATCH_READ = 1, WATCH_WRITE = 2 };
NODISCARD enum rc watch_new(struct shard *shard, int fd, void (*fn)(void *arg, int fd, unsigned events),
			    void *arg, struct watch **watch_ret);
void watch_set(struct watch *watch, unsigned events);
void watch_close(struct watch *watch); /* the descriptor stays the owner's */

/* ---- Files ----------------------------------------------------------------------------------------- */

/* All park. Results as the system call of that name; err->os has its errno. FAIL for a definite no (ENOENT,
 * EACCES...), DEFER for what may pass (ENOSPC, EIO, EMFILE, deadline). A file operation that has begun is
 * waited for even when the task is cancelled, since its memory is in the kernel's hands: it does not take
 * long. */
NODISCARD enum rc file_open(struct task *task, const char *path, int flags, mode_t mode, int *fd_ret,
			    struct err *err);
/* Reads or writes all of the bytes at the offset (UINT64_MAX: where the file stands), unless the end of the
 * file comes first. */
NODISCARD enum rc file_read(struct task *task, int fd, void *bytes, size_t len, uint64_t offset,
			    size_t *got_ret, struct err *err);
NODISCARD enum rc file_writev(struct task *task, int fd, const struct iovec *iov, unsigned iov_count,
			      uint64_t offset, struct err *err);
/* The same with flags of pwritev2(): RWF_DSYNC makes it durable too. With O_DIRECT in the descriptor,
 * addresses, lengths and offset have to be aligned as the file system wants. A short write is continued;
 * err->os tells why it could not be. */
NODISCARD enum rc file_writev_flags(struct task *task, int fd, const struct iovec *iov, unsigned iov_count,
				    uint64_t offset, int rwf_flags, struct err *err);
NODISCARD enum rc file_sync(struct task *task, int fd, bool data_only, struct err *err);
NODISCARD enum rc file_truncate(struct task *task, int fd, uint64_t size, struct err *err);
NODISCARD enum rc file_allocate(struct task *task, int fd, uint64_t size, struct err *err);
NODISCARD enum rc file_rename(struct task *task, const char *from, const char *to, struct err *err);
NODISCARD enum rc file_link(struct task *task, const char *from, const char *to, struct err *err);
NODISCARD enum rc file_unlink(struct task *task, const char *path, struct err *err);
NODISCARD enum rc file_mkdir(struct task *task, const char *path, mode_t mode, struct err *err);
NODISCARD enum rc file_stat(struct task *task, const char *path, bool follow, struct stat *stat_ret,
			    struct err *err);
void file_close(struct shard *shard, int fd); /* does not wait */
/* The whole file, at most size_max bytes (more: FAIL), into task->arena; tainted as told. */
NODISCARD enum rc file_slurp(struct task *task, const char *path, size_t size_max, struct slice *bytes_ret,
			     struct err *err);

/* ---- Child processes -------------------------------------------------------------------------------- */

/* Waits for the child by its pidfd. status_ret as waitpid(). */
NODISCARD enum rc process_wait(struct task *task, int pidfd, int *status_ret, struct err *err);

#endif
