/* The shard: its loop, its slots, its peers. One round of the loop: mail, timers, fibers, then everything
 * that was asked for goes to the kernel in one call, which also waits, and whatever came home is told to its
 * owners. */
#include "shard.h"

#include <sched.h>
#include <signal.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The one thing that is per thread: which shard runs here. Fibers do not move between threads. */
static _Thread_local struct shard *this_shard;

enum rc shard_new(const struct shard_options *options, struct shard **shard_ret, struct err *err)
{
	struct shard *shard = aligned_alloc(64, (sizeof(*shard) + 63) & ~63ul);
	enum rc rc;

	if (!shard)
		return err_memory(err);
	memset(shard, 0, sizeof(*shard));
	shard->options = *options;
	if (!shard->options.count)
		shard->options.count = 1;
	if (!shard->options.fiber_count_max)
		shard->options.fiber_count_max = 4096;
	if (!shard->options.ring_entries)
		shard->options.ring_entries = 512;
	shard->backend = options->backend == BACKEND_SIM ? &backend_sim : &backend_uring;
	shard->metrics = shard_metrics(shard, &shard_metric_table, NULL);
	atomic_init(&shard->ring_fd, -1);
	mailbox_init(&shard->mailbox);
	fibers_init(shard);
	timers_init(shard);
	list_init(&shard->streams);
	list_init(&shard->listeners);
	list_init(&shard->watches);
	list_init(&shard->streams_idle);
	shard->now = shard->backend->now(shard);
	shard->wall = shard->backend->wall(shard);
	shard->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (shard->wake_fd < 0)
		rc = err_os(err, DEFER, 0, "eventfd");
	else
		rc = bufs_init(shard, err);
	if (rc != OK) {
		shard_free(shard);
		return rc;
	}
	*shard_ret = shard;
	return OK;
}

void shard_connect(struct shard *const *shards, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		shards[i]->peers = shards;
		shards[i]->peer_count = count;
	}
}

void shard_at_round_end(struct shard *shard, void (*fn)(struct shard *shard, void *arg), void *arg)
{
	ASSERT(shard->round_end_count < SHARD_HOOKS_MAX);
	shard->round_end[shard->round_end_count].fn = fn;
	shard->round_end[shard->round_end_count++].arg = arg;
}

static void round_end(struct shard *shard)
{
	const struct link *last = shard->ready.prev;

	for (unsigned i = 0; i < shard->round_end_count; i++)
		shard->round_end[i].fn(shard, shard->round_end[i].arg);
	if (shard->ready.prev != last)
		fibers_run(shard);
}

static const struct metric metric_rows[] = {
    METRIC_SHARD_COUNTER(struct shard_metrics, loops, "sluice_shard_loops_total", "turns of the loop"),
    METRIC_SHARD_COUNTER(struct shard_metrics, completions, "sluice_shard_completions_total",
			 "operations that the kernel has completed"),
    METRIC_SHARD_COUNTER(struct shard_metrics, submissions, "sluice_shard_submissions_total",
			 "calls that handed operations to the kernel"),
    METRIC_SHARD_COUNTER(struct shard_metrics, fibers_started, "sluice_shard_fibers_started_total",
			 "fibers lent"),
    METRIC_SHARD_COUNTER(struct shard_metrics, fibers_refused, "sluice_shard_fibers_refused_total",
			 "fibers not lent, since too many ran or there was no memory"),
    METRIC_SHARD_COUNTER(struct shard_metrics, enobufs, "sluice_shard_buffers_wanting_total",
			 "receives that ended since no buffer was free"),
    METRIC_SHARD_GAUGE(struct shard_metrics, fibers_running, "sluice_shard_fibers_running",
		       "fibers at work or waiting"),
    METRIC_SHARD_GAUGE(struct shard_metrics, bufs_held, "sluice_shard_buffers_held",
		       "receive buffers that hold something"),
};
const struct metric_table shard_metric_table = {metric_rows, ARRAY_COUNT(metric_rows),
						sizeof(struct shard_metrics)};

void *shard_metrics(const struct shard *shard, const struct metric_table *table, void *otherwise)
{
	return metrics_block(shard->options.metrics, shard->options.id, table, otherwise);
}

static void publish(const struct shard *shard)
{
	struct shard_metrics *m = shard->metrics;
	struct shard_stats stats;

	if (!m)
		return;
	shard_stats(shard, &stats);
	tally_set(&m->loops, stats.loops);
	tally_set(&m->fibers_started, stats.fibers_started);
	tally_set(&m->completions, stats.completions);
	tally_set(&m->submissions, stats.submissions);
	tally_set(&m->enobufs, stats.enobufs);
	tally_set(&m->fibers_refused, stats.fibers_refused);
	tally_set(&m->fibers_running, stats.fibers_running);
	tally_set(&m->bufs_held, stats.bufs_held);
}

static void shard_round(struct shard *shard)
{
	uint64_t until;

	mailbox_run(shard);
	timers_run(shard);
	fibers_run(shard);
	streams_feed(shard);
	if (!shard->stopping) /* nobody would see the end of what they begin now */
		round_end(shard);
	shard->stats.loops++;
	publish(shard);
	/* Streams that still starve although buffers are there have their turn in the next round. */
	if (!list_empty(&shard->ready) || shard->stopping ||
	    (!list_empty(&shard->bufs.starved) && shard->bufs.offered_count))
		until = 0;
	else
		until = timers_next(shard);
	if (until && !mailbox_sleep(&shard->mailbox))
		until = 0;
	shard->backend->run(shard, until);
	mailbox_awake(&shard->mailbox);
	shard->now = shard->backend->now(shard);
	shard->wall = shard->backend->wall(shard);
}

enum rc shard_run(struct shard *shard, void (*start)(struct shard *, void *arg), void *arg, struct err *err)
{
	sigset_t pipe;
	cpu_set_t cpus;
	enum rc rc;

	ASSERT(!this_shard);
	if (shard->options.cpu >= 0) {
		CPU_ZERO(&cpus);
		CPU_SET((unsigned)shard->options.cpu, &cpus);
		(void)sched_setaffinity(0, sizeof(cpus), &cpus); /* it runs elsewhere just as well */
	}
	/* Writing to a pipe whose reader has gone is an error like others. */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	this_shard = shard;
	rc = shard->backend->open(shard, err);
	if (rc == OK) {
		shard->open = true;
		shard->stopping = false;
		shard->now = shard->backend->now(shard);
		shard->wall = shard->backend->wall(shard);
		bufs_offer_all(shard);
		start(shard, arg);
		while (!shard->stopping)
			shard_round(shard);
		shard->open = false;
		shard->backend->close(shard);
		/* Now, and not in shard_free(): by then those whose mail lies in the mailbox may have gone. */
		offload_done(shard);
	}
	this_shard = NULL;
	return rc;
}

void shard_stop(struct shard *shard)
{
	shard->stopping = true;
}

void shard_free(struct shard *shard)
{
	if (!shard)
		return;
	offload_done(shard);
	fibers_done(shard);
	timers_done(shard);
	streams_done(shard);
	listeners_done(shard);
	watches_done(shard);
	bufs_done(shard);
	if (shard->wake_fd >= 0)
		close(shard->wake_fd);
	free(shard);
}

unsigned shard_id(const struct shard *shard)
{
	return shard->options.id;
}

unsigned shard_count(const struct shard *shard)
{
	return shard->options.count;
}

struct shard *shard_peer(struct shard *shard, unsigned id)
{
	if (!shard->peers && id == shard->options.id)
		return shard;
	ASSERT(id < shard->peer_count);
	return shard->peers[id];
}

struct shard *shard_here(void)
{
	return this_shard;
}

/* The number that a slot has from now on. Shards may come to it at the same moment. */
static unsigned slot_number(struct shard_slot *slot)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static unsigned taken; /* under the lock */
	unsigned number;

	pthread_mutex_lock(&lock);
	number = atomic_load_explicit(&slot->number, memory_order_relaxed);
	if (!number) {
		number = ++taken;
		ASSERT(number < SLOT_COUNT_MAX);
		atomic_store_explicit(&slot->number, number, memory_order_relaxed);
	}
	pthread_mutex_unlock(&lock);
	return number;
}

void *shard_slot(const struct shard *shard, const struct shard_slot *slot)
{
	/* Relaxed: a thread that reads 0 has set nothing itself, and what the others have set is not in its shard. Place 0
	 * is nobody's, and so always NULL. */
	return shard->slots[atomic_load_explicit(&slot->number, memory_order_relaxed)];
}

void shard_slot_set(struct shard *shard, struct shard_slot *slot, void *value)
{
	unsigned number = atomic_load_explicit(&slot->number, memory_order_relaxed);

	if (!number && !value)
		return;
	shard->slots[number ? number : slot_number(slot)] = value;
}

uint64_t shard_now(const struct shard *shard)
{
	return shard->now;
}

uint64_t shard_wall(const struct shard *shard)
{
	return shard->wall;
}

uint64_t shard_wall_exact(const struct shard *shard)
{
	return shard->backend->wall((struct shard *)(uintptr_t)shard);
}

void shard_random(struct shard *shard, void *bytes, size_t len)
{
	shard->backend->random(shard, bytes, len);
}

void shard_stats(const struct shard *shard, struct shard_stats *stats_ret)
{
	*stats_ret = shard->stats;
	stats_ret->bufs_held = shard->bufs.count - shard->bufs.free_count - shard->bufs.offered_count;
}
