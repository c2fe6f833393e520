/* worker: the process that does the work: a thread and a shard a core, on sockets that the supervisor has bound. It is
 * crash-only: what it has accepted is on the spool, and the next worker goes on from there. */
#include "server.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* For a command that has the spool, or the end of the daemon before. */
#define START_WAIT_MS 10000

/* How long a drain waits for messages in transit. Past it they are cut off, and sent again by their clients. */
#define DRAIN_MS 25000

struct worker;
struct part {
	struct worker *worker;
	struct admin_shard own; /* what administration sees */
	struct task task;       /* of start and end */
	struct arena arena;
	struct timer queue_timer;
	struct task queue_task;
	struct arena queue_arena;
	bool queue_runs;
	pthread_t thread;
	struct mail drain, reload;
	struct conf *next_conf;
	bool draining, failed;
	unsigned id;
};
struct worker {
	const struct worker_start *start;
	struct conf *conf;
	struct smtp_shared *shared;
	struct hints *hints;
	struct tls_tickets *tickets;
	struct metrics *metrics;
	struct metrics_http *metrics_http;
	struct admin *admin;
	struct admin_shard *admin_shards;
	struct part *parts;
	struct shard **shards; /* theirs, for each other */
	unsigned count;
	_Atomic unsigned ready; /* parts that listen */
	struct mail all_up;     /* from the last of them, to shard 0 */
	_Atomic bool broken;    /* a part could not start */
};

static void say(struct part *p, const char *what, struct err *err)
{
	log_direct(p->worker->conf, LOG_TO_MAIN | LOG_TO_PANIC, "shard %u: %s: %.*s", p->id, what,
		   SLICE_ARG(err->text));
	fprintf(stderr, "sluice: shard %u: %s: %.*s\n", p->id, what, SLICE_ARG(err->text));
}

static void found(void *arg, struct spool_entry *entry)
{
	deliver_found(arg, entry);
}

/* ---- Queue runs by the clock -------------------------------------------------------------------------------------- */

static void queue_fiber(void *arg)
{
	struct part *p = arg;
	struct queue_run run = {.flags = p->worker->start->cl->run_flags};
	struct err err = err_make(NULL);

	arena_init(&p->queue_arena, 0);
	task_init(&p->queue_task, p->own.shard, &p->queue_arena, UNTIL_NEVER);
	(void)(deliver_queue_run(&p->queue_task, p->own.deliverer, &run, true, &err) == OK);
	arena_done(&p->queue_arena);
	p->queue_runs = false;
}

static void on_queue_timer(struct timer *timer)
{
	struct part *p = CONTAINER_OF(timer, struct part, queue_timer);
	uint64_t interval = (uint64_t)p->worker->start->cl->queue_interval_s;

	timer_set(p->own.shard, timer, shard_now(p->own.shard) + interval * NS_PER_S);
	/* A run that takes longer than the interval is not doubled. */
	if (!p->queue_runs && !p->draining && fiber_spawn(p->own.shard, queue_fiber, p) == OK)
		p->queue_runs = true;
}

/* ---- Start ---------------------------------------------------------------------------------------------------------- */

static bool part_open(struct part *p, struct err *err)
{
	struct worker *w = p->worker;
	uint64_t debug = w->start->cl->mode == MODE_FOREGROUND ? w->start->cl->debug_topics : 0;
	const struct spool_options spool = {.directory = spool_directory(w->conf), .sync = true};
	const struct deliver_start deliver = {
	    .conf = w->conf, .id_unique = ((uint64_t)getpid() << 12) | p->id << 1 | 1, .debug = debug};
	struct smtp_start smtp = {
	    .conf = w->conf,
	    .shared = w->shared,
	    .id_unique = ((uint64_t)getpid() << 12) | p->id << 1,
	    .tls_on_connect = w->start->cl->tls_on_connect,
	    .debug = debug,
	    .patience_s = patience_of(w->start->cl),
	};

	lookup_dns_configure(p->own.shard, w->conf);
	if (w->tickets && !tls_tickets_attach(w->tickets, p->own.shard))
		return false;
	if (log_attach(p->own.shard, err) != OK ||
	    (w->hints && hints_attach(w->hints, p->own.shard, err) != OK) ||
	    deliver_new(p->own.shard, &deliver, &p->own.deliverer, err) != OK ||
	    spool_open(&p->task, &spool, found, p->own.deliverer, &p->own.spool, err) != OK)
		return false;
	if (err->text.len)
		log_direct(w->conf, LOG_TO_MAIN | LOG_TO_PANIC, "spool: %.*s", SLICE_ARG(err->text));
	deliver_set_spool(p->own.deliverer, p->own.spool);
	smtp.spool = p->own.spool;
	smtp.deliverer = p->own.deliverer;
	if (smtp_server_new(p->own.shard, &smtp, &p->own.smtp, err) != OK)
		return false;
	for (unsigned i = 0; i < w->start->listener_count; i++) {
		/* The supervisor keeps its own descriptor, so that a worker's end closes no port. */
		int fd = dup(w->start->listeners[p->id * w->start->listener_count + i]);
		if (fd < 0) {
			(void)err_os(err, DEFER, errno, "listening socket");
			return false;
		}
		if (smtp_listen(p->own.smtp, fd, err) != OK)
			return false;
	}
	return true;
}

/* All shards are there: whoever administers them may come. On shard 0. */
static void on_all_up(struct mail *mail, struct shard *shard)
{
	struct worker *w = CONTAINER_OF(mail, struct worker, all_up);
	struct part *p = &w->parts[0];
	struct err err = err_make(&p->arena);

	if (p->draining)
		return;
	if (admin_new(shard, spool_directory(w->conf), w->admin_shards, w->count, w->metrics, &w->admin,
		      &err) != OK) {
		say(p, "cannot start", &err);
		w->broken = true;
		kill(getpid(), SIGTERM);
		return;
	}
	log_direct(w->conf, LOG_TO_MAIN, "sluice %s daemon started: pid=%d, %u shard%s, %s", SLUICE_VERSION,
		   (int)getpid(), w->count, w->count == 1 ? "" : "s",
		   w->start->listener_count ? "listening for SMTP" : "not listening for SMTP");
}

static void start_fiber(void *arg)
{
	struct part *p = arg;
	struct err err = err_make(&p->arena);
	struct worker *w = p->worker;

	task_init(&p->task, p->own.shard, &p->arena, UNTIL_NEVER);
	if (!part_open(p, &err)) {
		say(p, "cannot start", &err);
		p->failed = true;
		w->broken = true;
		kill(getpid(), SIGTERM);
		return;
	}
	w->admin_shards[p->id] = p->own;
	if (w->start->cl->queue_interval_s)
		on_queue_timer(&p->queue_timer);
	if (++w->ready == w->count)
		mail_inject(w->parts[0].own.shard, &w->all_up);
}

static void on_start(struct shard *shard, void *arg)
{
	struct part *p = arg;

	timer_init(&p->queue_timer, on_queue_timer);
	if (fiber_spawn(shard, start_fiber, p) != OK)
		abort();
}

static void *part_main(void *arg)
{
	struct part *p = arg;
	struct err err = err_make(&p->arena);

	if (shard_run(p->own.shard, on_start, p, &err) != OK) {
		say(p, "cannot run", &err);
		p->worker->broken = true;
		kill(getpid(), SIGTERM);
	}
	log_detach(p->own.shard);
	arena_pool_done();
	return NULL;
}

/* What the rooms keep is given back; not, if deliveries outlasted the drain: their fibers still look at it. */
static void part_leave(struct part *p)
{
	bool idle = !p->own.deliverer || !deliver_running(p->own.deliverer);

	p->worker->admin_shards[p->id].deliverer =
	    NULL; /* what comes from the control socket yet is refused */
	if (idle) {
		deliver_free(p->own.deliverer);
		p->own.deliverer = NULL;
	}
	if (p->own.spool)
		spool_close(&p->task, p->own.spool);
	if (idle)
		rooms_leave(p->own.shard);
}

/* ---- End and reload --------------------------------------------------------------------------------------------------- */

static void drain_fiber(void *arg)
{
	struct part *p = arg;
	struct worker *w = p->worker;

	task_limit(&p->task, DRAIN_MS);
	timer_cancel(p->own.shard, &p->queue_timer);
	if (!p->id && w->admin) {
		admin_free(w->admin);
		w->admin = NULL;
	}
	if (p->own.smtp)
		smtp_server_drain(&p->task, p->own.smtp);
	if (p->own.deliverer)
		deliver_drain(&p->task, p->own.deliverer);
	p->task.until = UNTIL_NEVER;
	part_leave(p);
	task_limit(&p->task, LOG_FLUSH_MS);
	(void)(log_flush(&p->task) == OK); /* what is left is written after the loop */
	shard_stop(p->own.shard);
}

static void on_drain(struct mail *mail, struct shard *shard)
{
	struct part *p = CONTAINER_OF(mail, struct part, drain);

	if (p->draining)
		return;
	p->draining = true;
	if (p->failed || fiber_spawn(shard, drain_fiber, p) != OK)
		shard_stop(shard);
}

static void on_reload(struct mail *mail, struct shard *shard)
{
	struct part *p = CONTAINER_OF(mail, struct part, reload);
	struct conf *conf = __atomic_exchange_n(&p->next_conf, NULL, __ATOMIC_ACQ_REL);

	(void)shard;
	if (!conf || !p->own.smtp || p->draining) {
		conf_unref(conf);
		return;
	}
	smtp_server_reload(p->own.smtp, conf);
	deliver_reload(p->own.deliverer, conf);
	lookup_dns_configure(p->own.shard, conf);
	/* Administration looks at its own shard's only, and that is this thread. */
	conf_unref(p->own.conf);
	p->own.conf = p->worker->admin_shards[p->id].conf = conf;
}

static void reload(struct worker *w)
{
	struct conf_load_options options = {.file = w->conf->file,
					    .macros = w->start->cl->macros,
					    .trusted = true,
					    .check_owner = !w->start->cl->file};
	struct arena arena;
	struct conf *conf;
	struct err err;

	arena_init(&arena, 0);
	err = err_make(&arena);
	if (conf_load(&server_registry, &options, &conf, &err) != OK) {
		log_direct(w->conf, LOG_TO_MAIN | LOG_TO_PANIC,
			   "SIGHUP received: the configuration was not changed: %.*s", SLICE_ARG(err.text));
		arena_done(&arena);
		return;
	}
	if (log_open(conf, w->start->cl->mode == MODE_FOREGROUND && w->start->cl->debug, &err) != OK)
		log_direct(w->conf, LOG_TO_MAIN | LOG_TO_PANIC, "SIGHUP received: logs: %.*s",
			   SLICE_ARG(err.text));
	log_direct(conf, LOG_TO_MAIN, "SIGHUP received: configuration reloaded");
	for (unsigned i = 0; i < w->count; i++) {
		/* One reload may overtake another on its way; the newest is what a shard takes. */
		struct conf *older =
		    __atomic_exchange_n(&w->parts[i].next_conf, conf_ref(conf), __ATOMIC_ACQ_REL);
		if (older)
			conf_unref(older);
		else
			mail_inject(w->parts[i].own.shard, &w->parts[i].reload);
	}
	conf_unref(w->conf);
	w->conf = conf;
	arena_done(&arena);
}

static void watch_signals(struct worker *w)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	for (;;) {
		struct err err = err_make(NULL);
		if (sigwait(&set, &sig) != 0)
			continue;
		if (sig == SIGHUP) {
			reload(w);
		} else if (sig == SIGUSR1) {
			(void)(log_open(w->conf, false, &err) == OK);
		} else {
			for (unsigned i = 0; i < w->count; i++)
				mail_inject(w->parts[i].own.shard, &w->parts[i].drain);
			return;
		}
	}
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static bool make_shards(struct worker *w, struct err *err)
{
	bool pin = w->count > 1 && w->count == reactor_cpu_count();

	w->shards = calloc(w->count, sizeof(struct shard *));
	if (!w->shards)
		return false;
	for (unsigned i = 0; i < w->count; i++) {
		struct part *p = &w->parts[i];
		const struct shard_options options = {
		    .id = i, .count = w->count, .cpu = pin ? (int)i : -1, .metrics = w->metrics};

		p->worker = w;
		p->id = i;
		p->drain.at_peer = on_drain;
		p->reload.at_peer = on_reload;
		arena_init(&p->arena, 0);
		if (shard_new(&options, &p->own.shard, err) != OK)
			return false;
		p->own.conf = conf_ref(w->conf);
		w->shards[i] = p->own.shard;
	}
	shard_connect(w->shards, w->count);
	return true;
}

static void part_free(struct part *p)
{
	smtp_server_free(p->own.smtp);
	conf_unref(p->own.conf);
	shard_free(p->own.shard);
	arena_done(&p->arena);
}

/* Where the keys of TLS tickets outlive us. Without such a place a restart costs clients a full handshake, no more. */
static void open_tickets(struct worker *w)
{
	struct arena arena;
	struct err err;

	arena_init(&arena, 0);
	err = err_make(&arena);
	if (tls_tickets_open(smtp_ticket_directory(w->conf, &arena), &w->tickets, &err) != OK)
		w->tickets = NULL;
	if (err.text.len)
		log_direct(w->conf, LOG_TO_MAIN, "TLS tickets do not outlive this process: %.*s",
			   SLICE_ARG(err.text));
	arena_done(&arena);
}

static void tell_hints(void *arg, struct slice text)
{
	const struct worker *w = arg;

	log_direct(w->start->conf, LOG_TO_MAIN | LOG_TO_PANIC, "%.*s", SLICE_ARG(text));
}

/* What they know may be lost, and a directory that cannot be written must not stop the mail: nothing is remembered then, and
 * conditions that have to count are deferred. But not without a word. */
static void open_hints(struct worker *w)
{
	char path[4096];
	struct arena arena;
	struct err err;

	arena_init(&arena, 0);
	err = err_make(&arena);
	snprintf(path, sizeof(path), "%s/db", spool_directory(w->conf));
	if (hints_open(path, 0, &w->hints, &err) != OK) {
		w->hints = NULL;
		err_prefix(&err, "going on without hints (retry times, rates, TLS sessions)");
	} else {
		hints_on_trouble(w->hints, tell_hints, w);
	}
	if (err.text.len)
		log_direct(w->conf, LOG_TO_MAIN | LOG_TO_PANIC, "%.*s", SLICE_ARG(err.text));
	arena_done(&arena);
}

int worker_run(const struct worker_start *start)
{
	struct worker w = {.start = start,
			   .conf = conf_ref(start->conf),
			   .count = start->shard_count,
			   .all_up.at_peer = on_all_up};
	struct arena arena;
	struct err err;
	int lock = -1, status = 1;
	bool owned;

	arena_init(&arena, 0);
	err = err_make(&arena);
	block_signals();
	w.parts = calloc(w.count, sizeof(*w.parts));
	w.admin_shards = calloc(w.count, sizeof(*w.admin_shards));
	w.shared = smtp_shared_new();
	owned = w.parts && w.admin_shards && w.shared &&
		metrics_new(server_metric_tables, w.count, &w.metrics, &err) == OK &&
		spool_take(w.conf, START_WAIT_MS, &lock, NULL, &err) == OK;
	if (owned)
		open_hints(&w);
	if (!owned || !make_shards(&w, &err)) {
		log_direct(w.conf, LOG_TO_MAIN | LOG_TO_PANIC, "cannot start: %.*s", SLICE_ARG(err.text));
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
		goto out;
	}
	open_tickets(&w);
	/* Mail goes on without. */
	if (metrics_http_start(w.metrics, w.conf, &w.metrics_http, &err) != OK)
		log_direct(w.conf, LOG_TO_MAIN | LOG_TO_PANIC, "metrics_listen: %.*s", SLICE_ARG(err.text));
	for (unsigned i = 0; i < w.count; i++)
		if (pthread_create(&w.parts[i].thread, NULL, part_main, &w.parts[i]) != 0)
			abort();
	watch_signals(&w);
	for (unsigned i = 0; i < w.count; i++)
		pthread_join(w.parts[i].thread, NULL);
	metrics_http_stop(w.metrics_http);
	hints_stop(w.hints);
	for (unsigned i = 0; i < w.count; i++)
		part_free(&w.parts[i]);
	hints_close(w.hints);
	tls_tickets_close(w.tickets);
	status = w.broken ? 1 : 0;
	log_direct(w.conf, LOG_TO_MAIN, "sluice daemon stopped: pid=%d", (int)getpid());
out:
	if (lock >= 0)
		spool_unlock(lock);
	free(w.parts);
	free(w.shards);
	free(w.admin_shards);
	metrics_free(w.metrics);
	smtp_shared_free(w.shared);
	conf_unref(w.conf);
	arena_done(&arena);
	return status;
}
