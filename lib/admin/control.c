/* control: the daemon's side of the control socket: one fiber a request. What concerns the whole queue is asked of every
 * shard in turn; a message is where it was received, so the shards are asked until one knows it. */
#include "dmarc_reports.h"

#include "mailauth/mailauth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define WORDS_MAX      (1024 * 1024)
#define TEXT_MAX       (256u * 1024 * 1024)
#define REQUESTS_MAX   64
#define WORD_COUNT_MAX 8192

struct admin {
	struct shard *shard;
	struct admin_shard *shards;
	unsigned shard_count;
	struct listener *listener;
	struct dmarc_clock clock;
	const struct metrics *metrics;
	char path[108];
	unsigned running;
};

struct request {
	struct admin *admin;
	int fd;
	struct stream *stream;
	struct task task;
	struct arena arena;
	struct caller caller;
	int fds[2];
	unsigned fd_count;
	struct slice *words;
	unsigned word_count;
	struct slice text;
	struct err err;
};

/* ---- Work on every shard ------------------------------------------------------------------------------------------- */

/* A piece of work that goes to a shard and comes home with its output, which is heap memory since arenas are a shard's. */
struct errand {
	struct mail mail;
	struct request *request;
	struct admin_shard *at;
	enum rc (*work)(struct errand *errand, struct task *task, struct str *out, struct err *err);
	const void *arg;
	char *out, *why;
	size_t out_len;
	unsigned count; /* do_count() */
	enum rc rc;
	struct waitq *home;
	bool done;
};

static void errand_fiber(void *arg)
{
	struct errand *e = arg;
	struct arena arena;
	struct task task;
	struct str out;
	struct err err;

	arena_init(&arena, 0);
	err = err_make(&arena);
	out = str_make(&arena);
	task_init(&task, e->at->shard, &arena, UNTIL_NEVER);
	e->rc =
	    e->at->deliverer ? e->work(e, &task, &out, &err) : err_set(&err, DEFER, "the server is ending");
	e->out = out.len && !out.failed ? malloc(out.len) : NULL;
	if (e->out) {
		memcpy(e->out, out.ptr, out.len);
		e->out_len = out.len;
	}
	if (err.text.len && (e->why = malloc(err.text.len + 1))) {
		memcpy(e->why, err.text.ptr, err.text.len);
		e->why[err.text.len] = 0;
	}
	arena_done(&arena);
	mail_return(&e->mail, e->at->shard);
}

static void errand_there(struct mail *mail, struct shard *here)
{
	struct errand *e = CONTAINER_OF(mail, struct errand, mail);

	e->at = &e->request->admin->shards[shard_id(here)];
	if (fiber_spawn(here, errand_fiber, e) != OK) {
		e->rc = DEFER;
		mail_return(mail, here);
	}
}

static void errand_home(struct mail *mail, struct shard *here)
{
	struct errand *e = CONTAINER_OF(mail, struct errand, mail);

	(void)here;
	e->done = true;
	waitq_wake_all(e->home);
}

/* The work on one shard; its output goes to the client at once. */
static enum rc errand_run(struct request *r, unsigned shard, struct errand *e)
{
	struct waitq home;
	enum rc rc;

	waitq_init(&home);
	e->request = r;
	e->home = &home;
	e->mail = (struct mail){.at_peer = errand_there, .home = errand_home};
	mail_post(r->admin->shard, r->admin->shards[shard].shard, &e->mail);
	while (!e->done)
		if (waitq_wait(&r->task, &home) != OK)
			continue; /* it works for us until it comes home */
	if (e->out && stream_write(&r->task, r->stream, slice_make(e->out, e->out_len, CLEAN), &r->err) != OK)
		e->rc = CANCELLED;
	if (e->why)
		(void)err_set(&r->err, e->rc, "%s", e->why);
	rc = e->rc;
	free(e->out);
	free(e->why);
	return rc;
}

static enum rc on_all(struct request *r,
		      enum rc (*work)(struct errand *, struct task *, struct str *, struct err *),
		      const void *arg)
{
	enum rc worst = OK;

	for (unsigned i = 0; i < r->admin->shard_count; i++) {
		struct errand e = {.work = work, .arg = arg};
		enum rc rc = errand_run(r, i, &e);
		if (rc != OK)
			worst = rc;
	}
	return worst;
}

/* ---- The commands ---------------------------------------------------------------------------------------------------- */

static enum rc work_list(struct errand *e, struct task *task, struct str *out, struct err *err)
{
	return queue_list(task, e->at->deliverer, e->arg, out, err);
}

static enum rc do_list(struct request *r)
{
	struct slice how = r->word_count > 1 ? r->words[1] : SLICE_EMPTY;
	struct queue_list_options options = {.delivered_too = slice_eq(how, SLICE("all")),
					     .undelivered_only = slice_eq(how, SLICE("undelivered"))};

	return on_all(r, work_list, &options);
}

static enum rc work_count(struct errand *e, struct task *task, struct str *out, struct err *err)
{
	(void)task;
	(void)out;
	(void)err;
	e->count = queue_count(e->at->deliverer);
	return OK;
}

static enum rc do_count(struct request *r)
{
	struct str text = str_make(&r->arena);
	unsigned count = 0;

	for (unsigned i = 0; i < r->admin->shard_count; i++) {
		struct errand e = {.work = work_count};

		if (errand_run(r, i, &e) != OK)
			return err_set(&r->err, DEFER, "the server is ending");
		count += e.count;
	}
	str_printf(&text, "%u\n", count);
	return stream_write(&r->task, r->stream, str_slice(&text), &r->err);
}

static enum rc work_run(struct errand *e, struct task *task, struct str *out, struct err *err)
{
	(void)out;
	return deliver_queue_run(task, e->at->deliverer, e->arg, true, err);
}

static enum rc do_run(struct request *r)
{
	struct queue_run run = {.sender_pattern = {NULL, 0, 0}, .recipient_pattern = {NULL, 0, 0}};
	uint64_t flags = 0;

	if (r->word_count < 4 || !parse_u64(r->words[1], &flags))
		return err_set(&r->err, FAIL, "malformed request");
	run.flags = (unsigned)flags & 0xffff;
	run.patterns_are_regex = flags >> 16 & 1;
	if (r->words[2].len)
		run.sender_pattern = r->words[2];
	if (r->words[3].len)
		run.recipient_pattern = r->words[3];
	for (unsigned i = 4; i < r->word_count && i < 6; i++)
		if (!message_id_parse(r->words[i], i == 4 ? &run.first : &run.last))
			return err_set(&r->err, FAIL, "malformed request");
	return on_all(r, work_run, &run);
}

struct action {
	struct message_id id;
	int what; /* enum queue_action, or -1: deliver */
	const struct slice *arguments;
	unsigned argument_count;
	bool found;
};

static enum rc work_action(struct errand *e, struct task *task, struct str *out, struct err *err)
{
	struct action *a = (struct action *)e->arg;

	if (!spool_find(e->at->spool, &a->id))
		return OK;
	a->found = true;
	if (a->what < 0)
		return deliver_message(task, e->at->deliverer, &a->id, err);
	return queue_act(task, e->at->deliverer, (enum queue_action)a->what, &a->id, a->arguments,
			 a->argument_count, out, err);
}

static enum rc do_action(struct request *r, bool deliver)
{
	unsigned first = deliver ? 1 : 2;
	uint64_t what = 0;
	bool with_arguments;
	enum rc worst = OK;

	if (r->word_count <= first ||
	    (!deliver && (!parse_u64(r->words[1], &what) || what > QUEUE_VIEW_COPY)))
		return err_set(&r->err, FAIL, "malformed request");
	with_arguments = !deliver && queue_action_takes_addresses((enum queue_action)what);
	for (unsigned i = first; i < r->word_count; i++) {
		struct action action = {.what = deliver ? -1 : (int)what};
		enum rc rc;

		if (!message_id_parse(r->words[i], &action.id))
			return err_set(&r->err, FAIL, "malformed message id %.*s after -M option",
				       SLICE_ARG(r->words[i]));
		if (with_arguments) {
			action.arguments = &r->words[i + 1];
			action.argument_count = r->word_count - i - 1;
			i = r->word_count;
		}
		rc = OK;
		for (unsigned k = 0; k < r->admin->shard_count && !action.found && rc == OK; k++) {
			struct errand e = {.work = work_action, .arg = &action};
			rc = errand_run(r, k, &e);
		}
		if (!action.found && rc == OK)
			rc = err_set(&r->err, FAIL, "spool file for message %s not found", action.id.text);
		if (rc != OK)
			worst = rc;
	}
	return worst;
}

/* dmarc-report ended|today */
static enum rc do_dmarc_report(struct request *r)
{
	struct dmarc_clock *clock = &r->admin->clock;
	bool today = r->word_count > 1 && slice_eq(r->words[1], SLICE("today"));
	struct conf *conf = conf_ref(r->admin->shards[0].conf);
	struct str text = str_make(&r->arena);
	struct dmarc_round round;
	enum rc rc;

	if (clock->running) {
		conf_unref(conf);
		return err_set(&r->err, DEFER, "reports are being sent already");
	}
	clock->running = true;
	rc = dmarc_reports_send(&r->task, conf, dmarc_today(r->admin->shard) + today, &round, &r->err);
	clock->running = false;
	conf_unref(conf);
	r->task.until = UNTIL_NEVER;
	if (rc != OK)
		return rc;
	dmarc_round_print(&round, &text);
	return stream_write(&r->task, r->stream, str_slice(&text), &r->err);
}

/* metrics */
static enum rc do_metrics(struct request *r)
{
	struct str text = str_make(&r->arena);

	metrics_write(r->admin->metrics, (int64_t)(shard_wall(r->admin->shard) / NS_PER_S), &text);
	return text.failed ? err_memory(&r->err)
			   : stream_write(&r->task, r->stream, str_slice(&text), &r->err);
}

/* "name=value" words up to an empty one; *next_ret is behind it. What an untrusted user tells is not heard. */
static bool read_told(const struct request *r, unsigned from, struct smtp_told *told, unsigned *next_ret)
{
	struct smtp_told heard = {.suppress_fixups = false};
	unsigned i = from;

	while (i < r->word_count && r->words[i].len)
		if (!told_read(r->words[i++], &heard))
			return false;
	*next_ret = i + 1;
	*told = (struct smtp_told){.dont_deliver = heard.dont_deliver,
				   .queue_only = heard.queue_only,
				   .queue_smtp = heard.queue_smtp,
				   .deliver_now = heard.deliver_now};
	if (r->caller.trusted)
		*told = heard;
	return i < r->word_count;
}

/* submit extract|given now|queue|wait mail|print sender|login SENDER NAME told... "" recipients... */
static enum rc do_submit(struct request *r)
{
	struct smtp_told told;
	struct smtp_submission s = {.text = slice_tainted(r->text),
				    .sender = {NULL, 0, 0},
				    .uid = r->caller.uid,
				    .gid = r->caller.gid,
				    .trusted = r->caller.trusted,
				    .told = &told,
				    .login = slice_of(r->caller.login),
				    .full_name = slice_of(r->caller.name)};
	struct admin_shard *shard = &r->admin->shards[0];
	struct err mailed = err_make(&r->arena);
	struct message_id id;
	bool queued = false;
	unsigned at;
	enum rc rc;

	if (r->word_count < 8 || !read_told(r, 7, &told, &at))
		return err_set(&r->err, FAIL, "malformed request");
	s.extract_recipients = slice_eq(r->words[1], SLICE("extract"));
	if (slice_eq(r->words[4], SLICE("sender")))
		s.sender = slice_tainted(r->words[5]);
	if (r->words[6].len)
		s.full_name = slice_tainted(r->words[6]);
	s.queued_ret = &queued;
	s.recipients = r->words + at;
	s.recipient_count = r->word_count - at;
	rc = smtp_submit(&r->task, shard->smtp, &s, &id, &r->err);
	if (rc == FAIL && slice_eq(r->words[3], SLICE("mail")) &&
	    submission_report(&r->task, shard->smtp, shard->conf, &s, r->err.text, &mailed) == OK)
		return err_set(&r->err, FAIL, "%s%.*s", CONTROL_MAILED, SLICE_ARG(r->err.text));
	if (rc == OK && !queued && slice_eq(r->words[2], SLICE("wait")) && shard->deliverer)
		(void)(deliver_message(&r->task, shard->deliverer, &id, &mailed) ==
		       OK); /* it may be gone already */
	return rc;
}

/* The client's own descriptors become a session of the daemon. */
static enum rc do_session(struct request *r)
{
	struct smtp_told told;
	struct smtp_stdio stdio = {.uid = r->caller.uid,
				   .gid = r->caller.gid,
				   .trusted = r->caller.trusted,
				   .told = &told,
				   .login = slice_of(r->caller.login)};
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	unsigned at;
	enum rc rc;

	if (r->fd_count != 2 || r->word_count < 3 || !read_told(r, 2, &told, &at))
		return err_set(&r->err, FAIL, "malformed request");
	stdio.fd_in = r->fds[0];
	stdio.fd_out = r->fds[1];
	r->fd_count = 0; /* the session's now */
	stdio.batch = slice_eq(r->words[1], SLICE("batch"));
	if (getpeername(stdio.fd_in, (struct sockaddr *)&sa, &len) == 0)
		stdio.ip = ip_from_sockaddr((struct sockaddr *)&sa);
	len = sizeof(sa);
	if (stdio.ip.family && getsockname(stdio.fd_in, (struct sockaddr *)&sa, &len) == 0)
		stdio.local = ip_from_sockaddr((struct sockaddr *)&sa);
	rc = smtp_serve_stdio(&r->task, r->admin->shards[0].smtp, &stdio, &r->err);
	return rc == OK && stdio.batch && stdio.rejected_ret
		   ? err_set(&r->err, FAIL, "some of the batch was rejected")
		   : rc;
}

/* ---- A request --------------------------------------------------------------------------------------------------------- */

static enum rc read_bytes(struct request *r, char *to, size_t len)
{
	size_t got = 0;

	while (got < len) {
		struct slice in = stream_peek(r->stream);
		size_t take = in.len < len - got ? in.len : len - got;
		if (!in.len) {
			enum rc rc = stream_fill(&r->task, r->stream, &r->err);
			if (rc != OK)
				return rc;
			continue;
		}
		memcpy(to + got, in.ptr, take);
		stream_consume(r->stream, take);
		got += take;
	}
	return OK;
}

/* The head was read by hand with its descriptors: "words text\n". */
static bool parse_head(const char *head, size_t len, uint64_t *words_ret, uint64_t *text_ret,
		       size_t *used_ret)
{
	struct slice s = slice_make(head, len, CLEAN), words;
	ptrdiff_t end = slice_find(s, '\n');

	if (end < 0)
		return false;
	*used_ret = (size_t)end + 1;
	s = slice_sub(s, 0, (size_t)end);
	return slice_split(&s, ' ', &words) && s.ptr && parse_u64(words, words_ret) &&
	       parse_u64(s, text_ret) && *words_ret <= WORDS_MAX && *text_ret <= TEXT_MAX;
}

/* Waits for the first bytes with a poll, since descriptors can only be had with recvmsg(). */
struct first {
	struct waitq there;
	bool ready;
};

static void first_ready(void *arg, int fd, unsigned events)
{
	struct first *first = arg;

	(void)fd;
	(void)events;
	first->ready = true;
	waitq_wake_all(&first->there);
}

static enum rc wait_first(struct request *r)
{
	struct first first = {.ready = false};
	struct watch *watch;
	enum rc rc = OK;

	waitq_init(&first.there);
	if (watch_new(r->admin->shard, r->fd, first_ready, &first, &watch) != OK)
		return DEFER;
	watch_set(watch, WATCH_READ);
	while (rc == OK && !first.ready)
		rc = waitq_wait(&r->task, &first.there);
	watch_close(watch);
	return rc;
}

static enum rc read_head(struct request *r, char *head, size_t size, size_t *len_ret)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov = {head, size};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control)};
	ssize_t got;
	enum rc rc = wait_first(r);

	if (rc != OK)
		return rc;
	got = recvmsg(r->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got <= 0)
		return FAIL;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			r->fd_count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(r->fds, CMSG_DATA(c), r->fd_count * sizeof(int));
		}
	*len_ret = (size_t)got;
	return OK;
}

static enum rc read_request(struct request *r)
{
	char head[512], *bytes;
	size_t len, used, have;
	uint64_t words_len, text_len;
	struct slice rest, word;
	enum rc rc;

	task_limit(&r->task, 30000);
	if ((rc = read_head(r, head, sizeof(head), &len)) != OK)
		return rc;
	if (!parse_head(head, len, &words_len, &text_len, &used))
		return err_set(&r->err, FAIL, "malformed request");
	if (stream_new(r->admin->shard, r->fd, r->fd, NULL, NULL, &r->stream, &r->err) != OK)
		return DEFER;
	r->fd = -1;
	bytes = arena_bytes(&r->arena, words_len + text_len + 1);
	r->words = arena_array(&r->arena, struct slice, WORD_COUNT_MAX);
	if (!bytes || !r->words)
		return err_memory(&r->err);
	have = len - used < words_len + text_len ? len - used : words_len + text_len;
	memcpy(bytes, head + used, have);
	if ((rc = read_bytes(r, bytes + have, words_len + text_len - have)) != OK)
		return rc;
	rest = slice_make(bytes, words_len, CLEAN);
	while (rest.len && r->word_count < WORD_COUNT_MAX && slice_split(&rest, 0, &word))
		r->words[r->word_count++] = word;
	r->text = slice_make(bytes + words_len, text_len, TAINTED);
	return r->word_count ? OK : err_set(&r->err, FAIL, "malformed request");
}

static bool is_allowed(const struct request *r, struct slice verb)
{
	const struct conf_main *o = conf_main(r->admin->shards[0].conf);

	if (r->caller.admin)
		return true;
	if (slice_eq(verb, SLICE("list")) || slice_eq(verb, SLICE("count")))
		return !o->queue_list_requires_admin;
	return (slice_eq(verb, SLICE("run")) || slice_eq(verb, SLICE("deliver"))) && !o->prod_requires_admin;
}

static enum rc answer(struct request *r)
{
	struct slice verb = r->words[0];

	r->task.until = UNTIL_NEVER; /* as long as the client stays */
	caller_name(&r->caller, r->admin->shards[0].conf);
	caller_judge(&r->caller, r->admin->shards[0].conf, r->caller.uid == geteuid());
	if (slice_eq(verb, SLICE("submit")))
		return do_submit(r);
	if (slice_eq(verb, SLICE("session")))
		return do_session(r);
	if (!is_allowed(r, verb))
		return err_set(&r->err, FAIL, "permission denied");
	if (slice_eq(verb, SLICE("count")))
		return do_count(r);
	if (slice_eq(verb, SLICE("list")))
		return do_list(r);
	if (slice_eq(verb, SLICE("run")))
		return do_run(r);
	if (slice_eq(verb, SLICE("deliver")))
		return do_action(r, true);
	if (slice_eq(verb, SLICE("act")))
		return do_action(r, false);
	if (slice_eq(verb, SLICE("dmarc-report")))
		return do_dmarc_report(r);
	if (slice_eq(verb, SLICE("metrics")))
		return do_metrics(r);
	return err_set(&r->err, FAIL, "unknown request \"%.*s\"", SLICE_ARG(verb));
}

static void request_fiber(void *arg)
{
	struct request *r = arg;
	struct admin *admin = r->admin;
	struct str last;
	enum rc rc;

	arena_init(&r->arena, 1024ul * 1024 * 1024);
	r->err = err_make(&r->arena);
	task_init(&r->task, admin->shard, &r->arena, UNTIL_NEVER);
	rc = read_request(r);
	if (rc == OK)
		rc = answer(r);
	last = str_make(&r->arena);
	if (rc == OK)
		str_addz(&last, "\1OK\n");
	else
		str_printf(&last, "\1FAIL %.*s\n",
			   SLICE_ARG(r->err.text.len ? r->err.text : SLICE("request failed")));
	task_limit(&r->task, 10000);
	if (r->stream) {
		(void)(stream_write(&r->task, r->stream, str_slice(&last), &r->err) == OK);
		stream_close(r->stream, false);
	} else if (r->fd >= 0) {
		file_close(admin->shard, r->fd);
	}
	for (unsigned i = 0; i < r->fd_count; i++)
		file_close(admin->shard, r->fds[i]);
	arena_done(&r->arena);
	free(r);
	admin->running--;
}

static void on_accept(void *arg, int fd)
{
	struct admin *admin = arg;
	struct request *r = admin->running < REQUESTS_MAX ? calloc(1, sizeof(*r)) : NULL;

	if (r && caller_of_socket(fd, &r->caller)) {
		r->admin = admin;
		r->fd = fd;
		if (fiber_spawn(admin->shard, request_fiber, r) == OK) {
			admin->running++;
			return;
		}
	}
	free(r);
	file_close(admin->shard, fd);
}

static void on_error(void *arg, int os)
{
	(void)arg;
	(void)os; /* the SMTP listeners tell of it */
}

enum rc admin_new(struct shard *shard, const char *directory, struct admin_shard *shards,
		  unsigned shard_count, const struct metrics *metrics, struct admin **admin_ret,
		  struct err *err)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct admin *admin = calloc(1, sizeof(*admin));
	int fd, len = snprintf(un.sun_path, sizeof(un.sun_path), "%s/control", directory);
	enum rc rc;

	if (!admin)
		return err_memory(err);
	if (len < 0 || (size_t)len >= sizeof(un.sun_path)) {
		free(admin);
		return err_set(err, FAIL, "the spool directory's name is too long for a control socket: %s",
			       directory);
	}
	memcpy(admin->path, un.sun_path, sizeof(un.sun_path));
	admin->shard = shard;
	admin->shards = shards;
	admin->shard_count = shard_count;
	admin->metrics = metrics;
	/* What an earlier daemon left: this process has the spool's lock, so no one else listens there. */
	unlink(un.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || chmod(un.sun_path, 0666) < 0 ||
	    listen(fd, 64) < 0) {
		rc = err_os(err, DEFER, errno, "control socket %s", un.sun_path);
		if (fd >= 0)
			close(fd);
		free(admin);
		return rc;
	}
	rc = listener_new(shard, fd, on_accept, on_error, admin, &admin->listener, err);
	if (rc != OK) {
		close(fd);
		free(admin);
		return rc;
	}
	dmarc_clock_start(&admin->clock, shard, &shards[0]);
	*admin_ret = admin;
	return OK;
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	listener_close(admin->listener);
	dmarc_clock_stop(&admin->clock);
	unlink(admin->path);
	/* Requests that still run hold on to it; the process ends soon after. */
	if (!admin->running && !admin->clock.running)
		free(admin);
}
