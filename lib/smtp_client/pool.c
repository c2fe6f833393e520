/* Idle connections, kept for the next message to the same place: the handshake of SMTP costs more than a small message. One
 * list per shard, the latest used first. A server that speaks, or hangs up, while it is idle is dropped at once. */
#include <stdlib.h>

#include "connection.h"

struct pool {
	struct link idle;
	unsigned count;
};

static struct shard_slot pool_slot;

static struct pool *pool_of(struct shard *shard, bool make)
{
	struct pool *pool = shard_slot(shard, &pool_slot);

	if (!pool && make) {
		pool = calloc(1, sizeof(*pool)); /* once per shard */
		if (!pool)
			return NULL;
		list_init(&pool->idle);
		shard_slot_set(shard, &pool_slot, pool);
	}
	return pool;
}

static void leave(struct smtp_connection *c)
{
	struct pool *pool = pool_of(c->shard, false);

	list_remove(&c->link);
	timer_cancel(c->shard, &c->timer);
	c->idle = false;
	pool->count--;
}

static void timed_out(struct timer *timer)
{
	struct smtp_connection *c = CONTAINER_OF(timer, struct smtp_connection, timer);

	leave(c);
	smtp_close(c);
}

/* Nobody asked: the server closes (often with a 421), or is out of step. Either way it is of no more use. */
static void spoke_up(struct stream *stream, void *arg)
{
	struct smtp_connection *c = arg;

	(void)stream;
	if (!c->idle)
		return;
	leave(c);
	connection_free(c, false);
}

bool pool_put(struct smtp_connection *c)
{
	struct pool *pool = pool_of(c->shard, true);

	if (!pool || pool->count >= SMTP_POOL_COUNT_MAX)
		return false;
	list_prepend(&pool->idle, &c->link);
	pool->count++;
	c->idle = true;
	stream_set_arg(c->stream, spoke_up, c);
	timer_init(&c->timer, timed_out);
	timer_set(c->shard, &c->timer, shard_now(c->shard) + SMTP_POOL_IDLE_MS * NS_PER_MS);
	return true;
}

struct smtp_connection *pool_take(struct shard *shard, struct slice key)
{
	struct pool *pool = pool_of(shard, false);

	if (!pool)
		return NULL;
	LIST_EACH (l, &pool->idle) {
		struct smtp_connection *c = LIST_ITEM(l, struct smtp_connection, link);
		if (!slice_eq(c->pool_key, key))
			continue;
		leave(c);
		if (stream_pending(c->stream) == 0 && !stream_at_end(c->stream))
			return c;
		connection_free(c, false);
	}
	return NULL;
}

void smtp_pool_done(struct shard *shard)
{
	struct pool *pool = pool_of(shard, false);

	if (!pool)
		return;
	LIST_EACH (l, &pool->idle) {
		struct smtp_connection *c = LIST_ITEM(l, struct smtp_connection, link);
		leave(c);
		smtp_close(c);
	}
	free(pool);
	shard_slot_set(shard, &pool_slot, NULL);
}
