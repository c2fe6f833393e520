/* link: one connection to one server. Commands are gathered in a buffer; a fiber that is there only while there is
 * something to send connects and writes; replies are read on the loop, as they come, and handed to the callers in
 * the order in which they asked. */
#include "link.h"

#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_FIRST_NS (100 * NS_PER_MS)
#define BACKOFF_LAST_NS  (5 * NS_PER_S)
#define IDLE_NS          (60 * NS_PER_S)
#define PORT_DEFAULT     6379

struct link_call {
	struct task *task;
	struct waitq answered;
	struct redis_reply *reply; /* where it goes */
	enum rc rc;
	bool over;
};

/* ---- The end of a connection ---------------------------------------------------------------- */

static void call_over(struct link_call *call, enum rc rc)
{
	call->rc = rc;
	call->over = true;
	waitq_wake_all(&call->answered);
}

static struct link_call *call_first(struct redis_link *link)
{
	struct link_call *call = link->calls[link->first];

	link->first = (link->first + 1) % link->room;
	link->count--;
	return call;
}

static void link_close(struct redis_link *link)
{
	if (link->stream)
		stream_close(link->stream, false);
	link->stream = NULL;
	reply_reader_free(link->reader);
	link->reader = NULL;
}

/* The next attempt waits, each time longer until a server has answered. */
static void back_off(struct redis_link *link)
{
	link->backoff_ns = link->backoff_ns ? link->backoff_ns * 2 : BACKOFF_FIRST_NS;
	if (link->backoff_ns > BACKOFF_LAST_NS)
		link->backoff_ns = BACKOFF_LAST_NS;
	link->retry_at = shard_now(link->shard) + link->backoff_ns;
}

/* All that were under way learn of it. The fiber, if it runs, closes the stream, since it may stand in a call on
 * it. A server that closes a connection may have been restarted, and is asked again at once. */
static void link_break(struct redis_link *link, const char *why)
{
	if (link->state == LINK_DOWN)
		return;
	if (link->state == LINK_CONNECTING)
		back_off(link);
	link->state = LINK_DOWN;
	(void)snprintf(link->why, sizeof(link->why), "%s", why);
	link->out.len = 0;
	while (link->count) {
		struct link_call *call = call_first(link);

		if (call)
			call_over(call, DEFER);
	}
	waitq_wake_all(&link->connected);
	if (link->fiber)
		task_cancel(&link->task);
	else
		link_close(link);
}

/* ---- Commands ------------------------------------------------------------------------------- */

static bool out_reserve(struct out *out, size_t more)
{
	size_t room = out->room ? out->room : 4096;
	char *bytes;

	if (out->len + more > REDIS_PENDING_SIZE_MAX)
		return false;
	while (room < out->len + more)
		room *= 2;
	if (room == out->room)
		return true;
	bytes = realloc(out->bytes, room);
	if (!bytes)
		return false;
	out->bytes = bytes;
	out->room = room;
	return true;
}

static void out_add(struct out *out, struct slice bytes)
{
	memcpy(out->bytes + out->len, bytes.ptr, bytes.len);
	out->len += bytes.len;
}

static void out_count(struct out *out, char mark, uint32_t number)
{
	char line[16];
	int len = snprintf(line, sizeof(line), "%c%u\r\n", mark, number);

	out_add(out, slice_make(line, (size_t)len, CLEAN));
}

static bool out_command(struct out *out, const struct slice *words, uint32_t count)
{
	size_t size = 16;

	for (uint32_t i = 0; i < count; i++)
		size += words[i].len + 16u;
	if (!out_reserve(out, size))
		return false;
	out_count(out, '*', count);
	for (uint32_t i = 0; i < count; i++) {
		out_count(out, '$', words[i].len);
		out_add(out, words[i]);
		out_add(out, SLICE("\r\n"));
	}
	return true;
}

static bool calls_reserve(struct redis_link *link)
{
	uint32_t room = link->room ? link->room * 2 : 64;
	struct link_call **calls;

	if (link->count < link->room)
		return true;
	calls = calloc(room, sizeof(struct link_call *));
	if (!calls)
		return false;
	for (uint32_t i = 0; i < link->count; i++)
		calls[i] = link->calls[(link->first + i) % link->room];
	free(link->calls);
	link->calls = calls;
	link->first = 0;
	link->room = room;
	return true;
}

/* call NULL: nobody wants to know the answer. */
static bool link_enqueue(struct redis_link *link, struct link_call *call, const struct slice *words,
			 uint32_t count)
{
	if (!calls_reserve(link) || !out_command(&link->out, words, count))
		return false;
	link->calls[(link->first + link->count++) % link->room] = call;
	return true;
}

static void call_init(struct link_call *call, struct task *task, struct redis_reply *reply)
{
	*call = (struct link_call){.task = task, .reply = reply};
	waitq_init(&call->answered);
}

/* Waits for the answer; who leaves without it leaves a gap, in which the answer is dropped. */
static enum rc call_wait(struct redis_link *link, struct link_call *call)
{
	enum rc rc = OK;

	while (!call->over && rc == OK)
		rc = waitq_wait(call->task, &call->answered);
	if (call->over)
		return call->rc;
	for (uint32_t i = 0; i < link->count; i++) {
		struct link_call **place = &link->calls[(link->first + i) % link->room];

		if (*place == call)
			*place = NULL;
	}
	return rc;
}

/* ---- Replies -------------------------------------------------------------------------------- */

static void deliver(struct redis_link *link, const struct redis_reply *reply)
{
	struct link_call *call = call_first(link);

	if (link->state == LINK_UP)
		link->backoff_ns = 0;
	if (!call)
		return;
	if (!reply_copy(call->task->arena, reply, call->reply)) {
		call_over(call, DEFER);
		return;
	}
	call_over(call, OK);
}

static void on_input(struct stream *stream, void *arg)
{
	struct redis_link *link = arg;
	const struct redis_reply *reply;
	const char *why = NULL;
	struct slice bytes;
	enum rc rc = OK;

	if (link->state == LINK_DOWN) /* the fiber is about to close it */
		return;
	while ((bytes = stream_peek(stream)).len) {
		if (!reply_reader_feed(link->reader, bytes)) {
			link_break(link, "reply too large");
			return;
		}
		stream_consume(stream, bytes.len);
		while ((rc = reply_reader_next(link->reader, &reply, &why)) == OK) {
			if (!link->count) {
				link_break(link, "a reply that nobody asked for");
				return;
			}
			deliver(link, reply);
		}
		if (rc == FAIL) {
			link_break(link, why);
			return;
		}
	}
	if (stream_at_end(stream))
		link_break(link, "the server closed the connection");
}

/* ---- The fiber that connects and writes ----------------------------------------------------- */

static enum rc flush(struct redis_link *link, uint64_t timeout_ms, struct err *err)
{
	enum rc rc = OK;

	while (rc == OK && link->state != LINK_DOWN && link->out.len) {
		struct out out = link->out;

		link->out = link->sending;
		link->out.len = 0;
		link->sending = out;
		task_limit(&link->task, timeout_ms);
		rc = stream_write(&link->task, link->stream, slice_make(out.bytes, out.len, CLEAN), err);
	}
	return rc;
}

static enum rc open_socket(struct redis_link *link, int *fd_ret, struct err *err)
{
	const struct redis_server *server = &link->server;
	struct dns_answer answer = {.count = 0};
	struct ip_addr ip;
	enum rc rc;

	if (!server->host.len)
		return connect_unix(&link->task, server->path, fd_ret, err);
	if (ip_parse(server->host, &ip)) {
		ip.port = server->port ? server->port : PORT_DEFAULT;
		return connect_tcp(&link->task, &ip, NULL, fd_ret, err);
	}
	rc = dns_hosts_file(&link->task, server->host, &answer, err);
	if (rc == FAIL)
		return err_set(err, FAIL, "no such host");
	for (unsigned i = 0; i < answer.count; i++) {
		answer.records[i].ip.port = server->port ? server->port : PORT_DEFAULT;
		rc = connect_tcp(&link->task, &answer.records[i].ip, NULL, fd_ret, err);
		if (rc == OK || rc == CANCELLED)
			break;
	}
	return rc;
}

/* One command before the connection is anybody's. */
static enum rc introduce(struct redis_link *link, struct slice word, struct slice value, struct err *err)
{
	struct slice words[2] = {word, value};
	struct redis_reply reply = {.kind = REDIS_NIL};
	struct link_call call;
	enum rc rc;

	if (!value.len)
		return OK;
	call_init(&call, &link->task, &reply);
	if (!link_enqueue(link, &call, words, 2))
		return err_memory(err);
	rc = flush(link, REDIS_CONNECT_TIMEOUT_MS, err);
	if (rc == OK)
		rc = call_wait(link, &call);
	else if (!call.over)
		link->calls[(link->first + link->count - 1) % link->room] = NULL;
	if (rc == OK && reply.kind == REDIS_ERROR)
		return err_set(err, FAIL, "%.*s was refused: %.*s", SLICE_ARG(word), SLICE_ARG(reply.text));
	if (rc == DEFER && !err->text.len)
		return err_set(err, DEFER, "no answer to %.*s", SLICE_ARG(word));
	return rc;
}

static enum rc link_connect(struct redis_link *link, struct err *err)
{
	enum rc rc;
	int fd;

	task_limit(&link->task, REDIS_CONNECT_TIMEOUT_MS);
	rc = open_socket(link, &fd, err);
	if (rc != OK)
		return rc;
	link->reader = reply_reader_new();
	if (!link->reader) {
		file_close(link->shard, fd);
		return err_memory(err);
	}
	rc = stream_new(link->shard, fd, fd, on_input, link, &link->stream, err);
	if (rc != OK) {
		file_close(link->shard, fd);
		link->stream = NULL;
		return rc;
	}
	rc = introduce(link, SLICE("AUTH"), link->server.password, err);
	if (rc == OK)
		rc = introduce(link, SLICE("SELECT"), link->server.database, err);
	return rc;
}

static void link_run(void *arg)
{
	struct redis_link *link = arg;
	struct arena arena;
	struct err err;
	enum rc rc = OK;
	char why[sizeof(link->why)];

	arena_init_small(&arena, 0);
	err = err_make(&arena);
	task_init(&link->task, link->shard, &arena, UNTIL_NEVER);
	if (link->state == LINK_CONNECTING) {
		rc = link_connect(link, &err);
		if (rc == OK && link->state == LINK_CONNECTING) {
			link->state = LINK_UP;
			waitq_wake_all(&link->connected);
		}
	}
	if (rc == OK)
		rc = flush(link, REDIS_REPLY_TIMEOUT_MS, &err);
	if (rc != OK) {
		(void)snprintf(why, sizeof(why), "%.*s",
			       SLICE_ARG(err.text.len ? err.text : SLICE("no answer")));
		link_break(link, why);
	}
	link->fiber = false;
	if (link->state == LINK_DOWN)
		link_close(link);
	arena_done(&arena);
}

static bool link_start(struct redis_link *link)
{
	if (link->fiber)
		return true;
	link->fiber = fiber_spawn(link->shard, link_run, link) == OK;
	return link->fiber;
}

/* ---- Callers -------------------------------------------------------------------------------- */

static enum rc link_ready(struct task *task, struct redis_link *link, struct err *err)
{
	enum rc rc;

	if (link->state == LINK_DOWN) {
		/* The fiber of the last connection may still be closing it. */
		if (link->fiber || shard_now(link->shard) < link->retry_at)
			return err_set(err, DEFER, "%s", link->why);
		link->state = LINK_CONNECTING;
		if (!link_start(link)) {
			link->state = LINK_DOWN;
			return err_set(err, DEFER, "too many fibers");
		}
	}
	while (link->state == LINK_CONNECTING) {
		rc = waitq_wait(task, &link->connected);
		if (rc == DEFER)
			return err_set(err, DEFER, "no connection in time");
		if (rc != OK)
			return rc;
	}
	return link->state == LINK_UP ? OK : err_set(err, DEFER, "%s", link->why);
}

static enum rc ask(struct task *task, struct redis_link *link, bool asking, const struct slice *words,
		   uint32_t count, struct redis_reply *reply_ret, struct err *err)
{
	uint64_t saved = task->until, mine;
	struct slice asking_word = SLICE("ASKING");
	struct link_call call;
	enum rc rc;

	call_init(&call, task, reply_ret);
	if (!link_start(link) || (asking && !link_enqueue(link, NULL, &asking_word, 1)) ||
	    !link_enqueue(link, &call, words, count))
		return err_set(err, DEFER, "too much is waiting already");
	task->until = UNTIL_NEVER;
	mine = task_until(task, REDIS_REPLY_TIMEOUT_MS);
	task->until = mine < saved ? mine : saved;
	rc = call_wait(link, &call);
	task->until = saved;
	if (rc != DEFER)
		return rc;
	if (call.over)
		return err_set(err, DEFER, "%s",
			       link->state == LINK_DOWN ? link->why : "no memory for the reply");
	if (mine <= saved && link->state == LINK_UP) {
		back_off(link);
		link_break(link, "no reply in time");
	}
	return err_set(err, DEFER, "no reply in time");
}

static void link_idle(struct timer *timer)
{
	struct redis_link *link = CONTAINER_OF(timer, struct redis_link, idle);

	if (link->state != LINK_UP || link->fiber || link->users)
		return;
	link->state = LINK_DOWN;
	link_close(link);
}

enum rc link_call(struct task *task, struct redis_link *link, bool asking, const struct slice *words,
		  uint32_t count, struct redis_reply *reply_ret, struct err *err)
{
	enum rc rc;

	link->users++;
	rc = link_ready(task, link, err);
	if (rc == OK)
		rc = ask(task, link, asking, words, count, reply_ret, err);
	link->users--;
	timer_set(link->shard, &link->idle, shard_now(link->shard) + IDLE_NS);
	return rc;
}

/* ---- Life ----------------------------------------------------------------------------------- */

static bool keep(struct arena *arena, struct slice *s)
{
	*s = arena_copy(arena, *s);
	return s->ptr;
}

struct redis_link *link_new(struct shard *shard, struct slice key, const struct redis_server *server)
{
	struct redis_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->shard = shard;
	link->server = *server;
	link->key = key;
	arena_init_small(&link->arena, 0);
	waitq_init(&link->connected);
	timer_init(&link->idle, link_idle);
	if (!keep(&link->arena, &link->key) || !keep(&link->arena, &link->server.host) ||
	    !keep(&link->arena, &link->server.path) || !keep(&link->arena, &link->server.database) ||
	    !keep(&link->arena, &link->server.password)) {
		link_free(link);
		return NULL;
	}
	return link;
}

void link_free(struct redis_link *link)
{
	timer_cancel(link->shard, &link->idle);
	link_close(link);
	free(link->calls);
	free(link->out.bytes);
	free(link->sending.bytes);
	arena_done(&link->arena);
	free(link);
}
