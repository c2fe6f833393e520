/* once: a command that is done on a shard of its own, and ends. */
#include "drop_root.h"
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void found(void *arg, struct spool_entry *entry)
{
	deliver_found(arg, entry);
}

static enum rc open_hints(struct once *o, struct err *err)
{
	char path[4096];
	enum rc rc;

	snprintf(path, sizeof(path), "%s/db", spool_directory(o->conf));
	/* An administrator's -bt, before a daemon ever ran, would else leave it a database that it may not open. */
	if (!root_pause(o->conf)) {
		(void)root_resume();
		return err_os(err, DEFER, 0, "becoming exim_user");
	}
	rc = hints_open(path, 0, &o->hints, err);
	if (!root_resume())
		abort(); /* nothing below is prepared for half an identity */
	if (rc != OK)
		return DEFER;
	return hints_attach(o->hints, o->shard, err);
}

/* What a command tells beside its result: what -d and -v say, and, if it is one that tests, what Exim's would. */
static uint64_t debug_topics(const struct command_line *cl)
{
	switch (cl ? cl->mode : MODE_NONE) {
	case MODE_TEST_HOST:
	case MODE_TEST_HOST_CALLOUT:
		return cl->debug_topics | DEBUG_CHECKS;
	case MODE_TEST_ADDRESS:
	case MODE_VERIFY_ADDRESS:
	case MODE_VERIFY_SENDER:
		return cl->debug_topics | DEBUG_V; /* debug_print */
	default:
		return cl ? cl->debug_topics : 0;
	}
}

static void wrapped_failed(void *arg, struct slice why)
{
	struct once *o = arg;

	fprintf(stderr, "%.*s\n", SLICE_ARG(why));
	o->wrapped_failed = true;
}

static enum rc open_spool(struct once *o, struct err *err)
{
	const struct spool_options options = {.directory = spool_directory(o->conf), .sync = true};
	const struct smtp_start smtp = {
	    .conf = o->conf,
	    .shared = o->shared,
	    .id_unique = (uint64_t)getpid() << 8,
	    .tls_on_connect = o->cl && o->cl->tls_on_connect,
	    .debug = debug_topics(o->cl),
	    .debug_direct = true,
	    .patience_s = o->cl ? patience_of(o->cl) : 0,
	};
	const struct deliver_start deliver = {.conf = o->conf,
					      .id_unique = ((uint64_t)getpid() << 8) | 1,
					      .debug = debug_topics(o->cl),
					      .debug_direct = true,
					      .wrapped_failed = wrapped_failed,
					      .arg = o};
	struct smtp_start with = smtp;
	enum rc rc;

	rc = deliver_new(o->shard, &deliver, &o->deliverer, err);
	if (rc == OK && o->with_spool) {
		rc = spool_open(&o->task, &options, found, o->deliverer, &o->spool, err);
		deliver_set_spool(o->deliverer, o->spool);
	}
	with.spool = o->spool;
	with.deliverer = o->deliverer;
	return rc == OK ? smtp_server_new(o->shard, &with, &o->smtp, err) : rc;
}

static int work(struct once *o)
{
	uint64_t topics = debug_topics(o->cl);
	struct debug *debug = topics ? log_debug_console(o->shard, topics, true) : NULL;
	int status;

	fiber_debug(debug);
	status = o->f(o);
	fiber_debug(NULL);
	log_debug_end(debug, false);
	return status;
}

static void once_fiber(void *arg)
{
	struct once *o = arg;
	struct err err = err_make(&o->arena);

	o->status = 1;
	lookup_dns_configure(o->shard, o->conf);
	if (log_attach(o->shard, &err) != OK) {
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	} else {
		/* Hints are worth having but no condition: a user who may not read them can still test an address. */
		if (open_hints(o, &err) != OK && o->with_spool)
			fprintf(stderr, "sluice: hints are not available: %.*s\n", SLICE_ARG(err.text));
		if (open_spool(o, &err) != OK)
			fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
		else
			o->status = work(o);
	}
	fflush(stdout);
	if (o->deliverer && o->spool)
		deliver_drain(&o->task, o->deliverer);
	if (o->wrapped_failed && o->status == 0)
		o->status = 1;
	smtp_server_free(o->smtp);
	if (o->spool) {
		deliver_free(o->deliverer);
		o->deliverer = NULL;
		spool_close(&o->task, o->spool);
	}
	deliver_free(o->deliverer);
	rooms_leave(o->shard);
	task_limit(&o->task, LOG_FLUSH_MS);
	(void)(log_flush(&o->task) == OK); /* what is left is written after the loop */
	shard_stop(o->shard);
}

static void start(struct shard *shard, void *arg)
{
	if (fiber_spawn(shard, once_fiber, arg) != OK)
		abort();
}

/* Whoever opens the spool is as a daemon would be: its files are exim_user's, and the helper delivers for others. */
static bool become_daemon(const struct conf *conf, struct err *err)
{
	if (!make_spool_directory(conf, spool_directory(conf)) || transport_helper_start(err) != OK)
		return false;
	return drop_root(conf);
}

/* Who only tests the configuration may be someone who may not write the log: then nothing is logged. */
static bool open_log(struct once *o, struct err *err)
{
	struct err why = err_make(&o->arena);

	if (log_open(o->conf, o->cl->debug || o->cl->verbose, &why) == OK || !o->with_spool)
		return true;
	*err = why;
	return false;
}

#define LOCK_PAUSE_MS 20
/* Longer than a command without a daemon takes for its message and a first attempt to deliver it, as a rule. */
#define ONCE_WAIT_MS 60000

enum rc spool_take(const struct conf *conf, unsigned wait_ms, int *lock_ret, bool *daemon_ret,
		   struct err *err)
{
	for (unsigned waited_ms = 0;; waited_ms += LOCK_PAUSE_MS) {
		enum rc rc = spool_lock(spool_directory(conf), lock_ret, err);

		if (rc == OK || err->os != EWOULDBLOCK || waited_ms >= wait_ms)
			return rc;
		if (daemon_ret && daemon_answers(conf)) {
			*daemon_ret = true;
			return rc;
		}
		usleep(LOCK_PAUSE_MS * 1000);
	}
}

int run_once(const struct command_line *cl, const struct caller *caller, struct conf *conf, bool with_spool,
	     int (*f)(struct once *))
{
	const struct shard_options options = {.count = 1, .cpu = -1};
	struct once *o = calloc(1, sizeof(*o));
	bool daemon = false;
	struct err err;
	int lock = -1, status;

	if (!o)
		return 1;
	arena_init(&o->arena, 0);
	err = err_make(&o->arena);
	o->cl = cl;
	o->caller = caller;
	o->conf = conf;
	o->f = f;
	o->with_spool = with_spool;
	o->status = 1;
	o->shared = smtp_shared_new();
	if (!open_log(o, &err) || (with_spool && !become_daemon(conf, &err)) || !o->shared ||
	    reactor_probe(&err) != OK ||
	    (with_spool && spool_take(conf, ONCE_WAIT_MS, &lock, &daemon, &err) != OK) ||
	    shard_new(&options, &o->shard, &err) != OK) {
		if (daemon)
			o->status = ONCE_DAEMON;
		else
			fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
		goto out;
	}
	shard_connect(&o->shard, 1);
	task_init(&o->task, o->shard, &o->arena, UNTIL_NEVER);
	if (shard_run(o->shard, start, o, &err) != OK)
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	log_detach(o->shard);
	hints_stop(o->hints);
	shard_free(o->shard);
	hints_close(o->hints);
out:
	if (lock >= 0)
		spool_unlock(lock);
	transport_helper_stop();
	status = o->status;
	smtp_shared_free(o->shared);
	arena_done(&o->arena);
	free(o);
	arena_pool_done();
	return status;
}
