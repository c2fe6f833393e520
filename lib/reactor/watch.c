/* Watches: readiness of descriptors that a library reads and writes by itself. Each report is one poll,
 * started again after the library had its turn, so a descriptor that is still ready is reported again. */
#include "shard.h"

#include <poll.h>

struct watch {
	struct op op;
	struct link open; /* in shard->watches */
	struct shard *shard;
	void (*fn)(void *arg, int fd, unsigned events);
	void *arg;
	int fd;
	unsigned events, polled; /* wanted; of the poll that is under way */
	bool in_fn, closed;
};

static void poll_done(struct op *op);

static void watch_free(struct watch *w)
{
	list_remove(&w->open);
	free(w);
}

static void poll_start(struct watch *w)
{
	if (w->op.under_way || !w->events)
		return;
	op_init(&w->op, OP_POLL, w->fd, poll_done);
	w->op.flags = (w->events & WATCH_READ ? POLLIN : 0) | (w->events & WATCH_WRITE ? POLLOUT : 0);
	w->polled = w->events;
	w->shard->backend->submit(w->shard, &w->op);
}

static void poll_done(struct op *op)
{
	struct watch *w = CONTAINER_OF(op, struct watch, op);
	unsigned events = 0;

	/* An error or hang-up is told as whatever was wanted: the library's next call finds it. */
	if (op->result > 0)
		events = (op->result & POLLIN ? WATCH_READ : 0) | (op->result & POLLOUT ? WATCH_WRITE : 0) |
			 (op->result & (POLLERR | POLLHUP) ? WATCH_READ | WATCH_WRITE : 0);
	else if (op->result < 0 && op->result != -ECANCELED)
		events = WATCH_READ | WATCH_WRITE;
	events &= w->events;
	if (!w->closed && events) {
		w->in_fn = true;
		w->fn(w->arg, w->fd, events);
		w->in_fn = false;
	}
	if (w->closed)
		watch_free(w);
	else
		poll_start(w);
}

enum rc watch_new(struct shard *shard, int fd, void (*fn)(void *arg, int fd, unsigned events), void *arg,
		  struct watch **watch_ret)
{
	struct watch *w = calloc(1, sizeof(*w)); /* one per connection of a library */

	if (!w)
		return DEFER;
	*w = (struct watch){.shard = shard, .fn = fn, .arg = arg, .fd = fd};
	list_append(&shard->watches, &w->open);
	*watch_ret = w;
	return OK;
}

void watch_set(struct watch *w, unsigned events)
{
	ASSERT(!w->closed);
	w->events = events;
	if (w->in_fn)
		return;
	if (w->op.under_way && w->polled != events)
		w->shard->backend->cancel(w->shard, &w->op); /* its end starts the new one */
	else
		poll_start(w);
}

void watch_close(struct watch *w)
{
	ASSERT(!w->closed);
	w->closed = true;
	if (w->in_fn)
		return;
	if (w->op.under_way)
		w->shard->backend->cancel(w->shard, &w->op);
	else
		watch_free(w);
}

void watches_done(struct shard *shard)
{
	while (!list_empty(&shard->watches))
		watch_free(LIST_ITEM(shard->watches.next, struct watch, open));
}
