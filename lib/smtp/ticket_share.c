/* ticket_share: the keys of TLS tickets, shared with other nodes over Redis (tls_ticket_redis_servers), so that a client can come
 * back to any of them. Shard 0's work, on one fiber; handshakes take no part in it.
 *
 * The servers hold a sorted set, "sluice:tls-tickets": a member for each key, encrypted (tls_tickets_tell()), with the time at
 * which it was made. Every few seconds it is read, what is new in it is learned, and the keys that are known here and
 * missing there are added, so that a server that lost its memory has them back soon. A server that is away is told of once;
 * the keys that are known go on. */
#include "session.h"

#include <stdlib.h>

#include "redis/redis.h"

#define LOOK_S      5 /* so long, at most, is a new key of one node unknown to another */
#define PAUSE_MAX_S 60
#define ASK_MS      10000 /* for one server, all in all */
#define KEYS_LIFE_S 7200  /* of the set, from the last key that was added on */

#define SET   SLICE("sluice:tls-tickets")
#define RANGE SLICE("63") /* TLS_TICKETS_TOLD_MAX entries */
static_assert(TLS_TICKETS_TOLD_MAX == 64, "RANGE");

/* In one step, so that no set is ever left without an end. What is past its time goes, and the oldest of too many. */
static const char script[] = "for i = 2, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1]) end\n"
			     "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])\n"
			     "redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -257)\n"
			     "redis.call('EXPIRE', KEYS[1], 7200)\n"
			     "return 1\n";
static_assert(KEYS_LIFE_S == 7200, "EXPIRE");

struct ticket_share {
	struct smtp_server *server;
	struct conf *conf; /* of the round under way */
	struct timer timer;
	struct task task;
	struct arena arena;
	bool running, over;
	struct place {
		uint64_t until; /* not asked before; shard_now() */
		uint32_t pause_s;
		bool lost, strange; /* was said */
	} places[TICKET_SERVERS_MAX];
};

/* Parks. Whatever the server does not like is tried again. */
static enum rc ask(struct task *task, const struct redis_server *server, const struct slice *words,
		   unsigned count, enum redis_kind kind, struct redis_reply *reply, struct err *err)
{
	enum rc rc = redis_call(task, server, words, count, reply, err);

	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (reply->kind == REDIS_ERROR)
		return err_set(err, DEFER, "%.*s", SLICE_ARG(reply->text));
	return reply->kind == kind ? OK : err_set(err, DEFER, "the reply is of another kind");
}

static enum rc publish(struct task *task, const struct redis_server *server, const struct tls_told *told,
		       struct err *err)
{
	unsigned count = 5 + 2 * told->count;
	struct slice *words = arena_array(task->arena, struct slice, count);
	struct redis_reply reply;

	if (!words)
		return err_memory(err);
	words[0] = SLICE("EVAL");
	words[1] = slice_of(script);
	words[2] = SLICE("1");
	words[3] = SET;
	words[4] =
	    arena_printf(task->arena, "%lld", (long long)(shard_wall(task->shard) / NS_PER_S) - KEYS_LIFE_S);
	for (unsigned i = 0; i < told->count; i++) {
		words[5 + 2 * i] = arena_printf(task->arena, "%lld", (long long)told->keys[i].created);
		words[6 + 2 * i] = told->keys[i].text;
	}
	for (unsigned i = 0; i < count; i++)
		if (!words[i].ptr)
			return err_memory(err);
	return ask(task, server, words, count, REDIS_INTEGER, &reply, err);
}

static enum rc exchange(struct task *task, const struct redis_server *server, struct slice secret,
			struct tls_told *told, struct err *err)
{
	const struct slice words[] = {SLICE("ZREVRANGE"), SET, SLICE("0"), RANGE};
	struct slice *entries;
	struct redis_reply reply;
	enum rc rc = ask(task, server, words, ARRAY_COUNT(words), REDIS_ARRAY, &reply, err);

	if (rc != OK)
		return rc;
	entries = arena_array(task->arena, struct slice, reply.count + 1);
	if (!entries)
		return err_memory(err);
	for (unsigned i = 0; i < reply.count; i++)
		entries[i] = reply.items[i].kind == REDIS_STRING ? reply.items[i].text : SLICE_EMPTY;
	rc = tls_tickets_tell(task->shard, task->arena, secret, entries, reply.count, told, err);
	if (rc == OK && told->count)
		rc = publish(task, server, told, err);
	return rc;
}

/* Once for each change. */
static void note(struct ticket_share *s, struct place *place, struct slice name, enum rc rc,
		 const struct tls_told *told, const struct err *err)
{
	if (rc != OK && !place->lost)
		log_printf(s->task.shard, s->conf, LOG_TO_MAIN, NULL,
			   "TLS ticket keys: not shared at %.*s: %.*s", SLICE_ARG(name),
			   SLICE_ARG(err->text));
	if (rc == OK && place->lost)
		log_printf(s->task.shard, s->conf, LOG_TO_MAIN, NULL, "TLS ticket keys: shared at %.*s again",
			   SLICE_ARG(name));
	if (rc == OK && told->unreadable && !place->strange)
		log_printf(s->task.shard, s->conf, LOG_TO_MAIN, NULL,
			   "TLS ticket keys: %u of those at %.*s ignored: damaged, or of another "
			   "tls_ticket_secret",
			   told->unreadable, SLICE_ARG(name));
	place->lost = rc != OK;
	if (rc == OK)
		place->strange = told->unreadable > 0;
}

static void share_at(struct ticket_share *s, struct place *place, struct slice text, struct slice secret)
{
	struct tls_told told = {.count = 0};
	struct err err = err_make(&s->arena);
	struct redis_server server;
	struct slice name;
	enum rc rc;

	if (shard_now(s->task.shard) < place->until || !redis_server_parse(text, &server))
		return;
	/* Without the password. */
	name = server.host.len ? server.host : server.path;
	if (server.port)
		name = arena_printf(&s->arena, "%.*s:%u", SLICE_ARG(name), server.port);
	task_limit(&s->task, ASK_MS);
	rc = exchange(&s->task, &server, secret, &told, &err);
	if (rc == CANCELLED)
		return;
	note(s, place, name, rc, &told, &err);
	place->pause_s = rc == OK ? 0 : place->pause_s ? place->pause_s * 2 : LOOK_S;
	if (place->pause_s > PAUSE_MAX_S)
		place->pause_s = PAUSE_MAX_S;
	/* Not quite the pause: the timer's rounds are that far apart. */
	place->until = shard_now(s->task.shard) + place->pause_s * NS_PER_S - (place->pause_s ? NS_PER_S : 0);
}

static void share_all(void *arg)
{
	struct ticket_share *s = arg;
	struct smtp_server *server = s->server;
	const struct smtp_tls_options *o = conf_group(s->conf, CONF_TLS);
	struct slice rest = o->tls_ticket_redis_servers, item;
	char separator = 0;

	arena_init(&s->arena, 20ul * 1024 * 1024);
	task_init(&s->task, server->shard, &s->arena, UNTIL_NEVER);
	for (unsigned n = 0;
	     n < TICKET_SERVERS_MAX && !s->over && list_next(&s->arena, &rest, &separator, &item);)
		if (item.len)
			share_at(s, &s->places[n++], item, o->tls_ticket_secret);
	arena_done(&s->arena);
	conf_unref(s->conf);
	s->running = false;
	if (!s->over)
		return;
	server->ticket_share = NULL;
	free(s);
	waitq_wake_all(&server->drained);
}

static void on_timer(struct timer *timer)
{
	struct ticket_share *s = CONTAINER_OF(timer, struct ticket_share, timer);
	const struct smtp_tls_options *o = conf_group(s->server->conf, CONF_TLS);
	struct shard *shard = s->server->shard;

	timer_set(shard, timer, shard_now(shard) + LOOK_S * NS_PER_S);
	if (s->running || !o || !o->tls_ticket_redis_servers.len)
		return;
	s->conf = conf_ref(s->server->conf);
	s->running = fiber_spawn(shard, share_all, s) == OK;
	if (!s->running)
		conf_unref(s->conf);
}

void ticket_share_start(struct smtp_server *server)
{
	struct ticket_share *s =
	    shard_id(server->shard) || server->ticket_share ? NULL : calloc(1, sizeof(*s));

	if (!s)
		return;
	server->ticket_share = s;
	s->server = server;
	timer_init(&s->timer, on_timer);
	timer_set(server->shard, &s->timer, shard_now(server->shard));
}

void ticket_share_stop(struct smtp_server *server)
{
	struct ticket_share *s = server->ticket_share;

	if (!s || s->over)
		return;
	timer_cancel(server->shard, &s->timer);
	s->over = true;
	if (s->running) {
		task_cancel(&s->task);
		return;
	}
	server->ticket_share = NULL;
	free(s);
}
