/* Listeners: a multishot accept that is started again whenever it ends, and a pause when descriptors run out.
 */
#include "shard.h"

#define PAUSE_MS 200 /* after EMFILE: the descriptors of others have to be closed first */

struct listener {
	struct op op;
	struct timer pause;
	struct link open; /* in shard->listeners */
	struct shard *shard;
	void (*on_accept)(void *arg, int fd);
	void (*on_error)(void *arg, int os);
	void *arg;
	int fd;
	bool told; /* on_error was called for this shortage */
	bool closed;
};

static void accept_done(struct op *op);

static void listener_free(struct listener *l)
{
	list_remove(&l->open);
	free(l);
}

static void accept_start(struct listener *l)
{
	op_init(&l->op, OP_ACCEPT, l->fd, accept_done);
	l->shard->backend->submit(l->shard, &l->op);
}

static void pause_over(struct timer *timer)
{
	accept_start(CONTAINER_OF(timer, struct listener, pause));
}

static bool is_shortage(int os)
{
	return os == EMFILE || os == ENFILE || os == ENOBUFS || os == ENOMEM;
}

/* Whether an error is that of one connection, which was gone before we took it (accept(2), "Error handling").
 */
static bool is_passing(int os)
{
	switch (os) {
	case ECANCELED:
	case ECONNABORTED:
	case EINTR:
	case EAGAIN:
	case ENETDOWN:
	case EPROTO:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
	case EPERM: /* a firewall rule */
		return true;
	}
	return false;
}

static void accept_done(struct op *op)
{
	struct listener *l = CONTAINER_OF(op, struct listener, op);
	struct shard *shard = l->shard;
	bool more = op->more;
	int result = op->result;

	if (l->closed) {
		if (result >= 0)
			shard->backend->close_fd(shard, result);
		if (!more)
			listener_free(l);
		return;
	}
	if (!more) {
		shard->stats.multishot_ended++;
		if (result >= 0 || is_passing(-result))
			accept_start(l);
		else
			timer_set(shard, &l->pause, shard->now + PAUSE_MS * NS_PER_MS);
	}
	if (result >= 0) {
		l->told = false;
		l->on_accept(l->arg, result); /* may close us: last */
	} else if (!is_passing(-result) && l->on_error && !(is_shortage(-result) && l->told)) {
		l->told = true;
		l->on_error(l->arg, -result);
	}
}

enum rc listener_new(struct shard *shard, int fd, void (*on_accept)(void *arg, int fd),
		     void (*on_error)(void *arg, int os), void *arg, struct listener **listener_ret,
		     struct err *err)
{
	struct listener *l = malloc(sizeof(*l)); /* one per listening socket */

	if (!l)
		return err_memory(err);
	*l = (struct listener){
	    .shard = shard, .on_accept = on_accept, .on_error = on_error, .arg = arg, .fd = fd};
	timer_init(&l->pause, pause_over);
	list_append(&shard->listeners, &l->open);
	shard->backend->prepare_listener(shard, fd);
	accept_start(l);
	*listener_ret = l;
	return OK;
}

void listener_close(struct listener *l)
{
	ASSERT(!l->closed);
	l->closed = true;
	timer_cancel(l->shard, &l->pause);
	if (l->op.under_way)
		l->shard->backend->cancel(l->shard, &l->op);
	else
		listener_free(l);
}

void listeners_done(struct shard *shard)
{
	while (!list_empty(&shard->listeners))
		listener_free(LIST_ITEM(shard->listeners.next, struct listener, open));
}
