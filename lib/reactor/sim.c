/* The simulated world: its clock, its events, and the backend that a shard sees. Time stands still while
 * anybody has something to do; when everybody waits it jumps to the next event. So an hour passes in no time,
 * and the same seed gives the same run. */
#include "sim_world.h"

#include <stdio.h>
#include <sys/socket.h>

#define EPOCH_S 1800000000ull /* the world begins in 2027 */

/* ---- Time and chance ---- */

uint64_t world_random(struct world *world, uint64_t below)
{
	uint64_t z = (world->random += 0x9e3779b97f4a7c15ull); /* splitmix64, by Steele, Lea and Flood */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return below ? z % below : z;
}

void event_add(struct world *world, struct sim_event *event, uint64_t at,
	       void (*fn)(struct world *, struct sim_event *))
{
	struct link *before = world->events.prev;

	event->at = at;
	event->fn = fn;
	while (before != &world->events && LIST_ITEM(before, struct sim_event, link)->at > at)
		before = before->prev;
	list_insert_after(before, &event->link);
}

static uint64_t next_event(const struct world *world)
{
	if (list_empty(&world->events))
		return UNTIL_NEVER;
	return LIST_ITEM(world->events.next, struct sim_event, link)->at;
}

/* ---- Operations ---- */

static bool is_disk(const struct op *op)
{
	switch ((enum op_kind)op->kind) {
	case OP_ACCEPT:
	case OP_RECV:
	case OP_SEND:
	case OP_CONNECT:
	case OP_POLL:
		return false;
	default:
		return true;
	}
}

static void op_home(struct sim_op *sop)
{
	struct op *op = sop->op;

	if (!op->more) {
		op->under_way = false;
		list_remove(&sop->waiting);
		list_remove(&sop->event.link);
		free(sop);
	}
	op->done(op);
}

static void disk_event(struct world *world, struct sim_event *event)
{
	struct sim_op *sop = CONTAINER_OF(event, struct sim_op, event);

	disk_do(world, sop);
	op_home(sop);
}

/* A connect has reached the other side, or has learnt that there is none; from now on it is looked at. */
static void connect_event(struct world *world, struct sim_event *event)
{
	struct sim_op *sop = CONTAINER_OF(event, struct sim_op, event);

	list_append(&world->waiting, &sop->waiting);
}

/* The operation finds its own state through a list, since op->place has no room for a pointer. */
static struct sim_op *sop_of(struct world *world, const struct op *op)
{
	LIST_EACH (l, &world->waiting)
		if (LIST_ITEM(l, struct sim_op, waiting)->op == op)
			return LIST_ITEM(l, struct sim_op, waiting);
	LIST_EACH (l, &world->events) {
		struct sim_event *event = LIST_ITEM(l, struct sim_event, link);

		if ((event->fn == disk_event || event->fn == connect_event) &&
		    CONTAINER_OF(event, struct sim_op, event)->op == op)
			return CONTAINER_OF(event, struct sim_op, event);
	}
	return NULL;
}

static void sim_submit(struct shard *shard, struct op *op)
{
	struct world *world = world_of(shard);
	struct sim_op *sop = calloc(1, sizeof(*sop));

	ASSERT(sop && !op->under_way);
	op->under_way = true;
	op->cancelling = op->more = false;
	op->buf = NULL;
	sop->op = op;
	sop->synced = world->change_count;
	list_init(&sop->waiting);
	list_init(&sop->event.link);
	if (is_disk(op))
		event_add(world, &sop->event,
			  world->now + 1 + world_random(world, world->options.disk_delay_max), disk_event);
	else if (op->kind == OP_CONNECT)
		event_add(world, &sop->event,
			  world->now + 1 + world_random(world, world->options.net_delay_max), connect_event);
	else
		list_append(&world->waiting, &sop->waiting);
}

/* Disk operations go on to their end, as they mostly do in the kernel. */
static void sim_cancel(struct shard *shard, struct op *op)
{
	struct world *world = world_of(shard);
	struct sim_op *sop;

	if (!op->under_way || op->cancelling || is_disk(op))
		return;
	op->cancelling = true;
	sop = sop_of(world, op);
	ASSERT(sop);
	if (!list_empty(&sop->event.link)) {
		list_remove(&sop->event.link);
		list_append(&world->waiting, &sop->waiting);
	}
}

/* Tells the first operation that can end. Looked for from the start each time: done() may change everything.
 */
static bool tell_one(struct world *world)
{
	LIST_EACH (l, &world->waiting) {
		struct sim_op *sop = LIST_ITEM(l, struct sim_op, waiting);
		struct op *op = sop->op;

		op->buf = NULL; /* that of the last time has its owner */
		if (op->cancelling) {
			op->result = -ECANCELED;
			op->more = false;
		} else if (!net_try(world, sop)) {
			continue;
		}
		if (op->more) { /* the others have their turn before its next */
			list_remove(&sop->waiting);
			list_append(&world->waiting, &sop->waiting);
		}
		op_home(sop);
		return true;
	}
	return false;
}

static bool run_due(struct world *world)
{
	bool any = false;

	while (next_event(world) <= world->now) {
		struct sim_event *event = LIST_ITEM(list_shift(&world->events), struct sim_event, link);

		event->fn(world, event);
		any = true;
	}
	return any;
}

static void sim_run(struct shard *shard, uint64_t until)
{
	struct world *world = world_of(shard);
	bool any = false;

	for (;;) {
		while (run_due(world) || tell_one(world))
			any = true;
		if (any || world->woken || until <= world->now)
			break;
		if (next_event(world) == UNTIL_NEVER && until == UNTIL_NEVER) {
			fprintf(stderr, "simulated world: everybody waits, and nothing will ever happen\n");
			world->stuck = true;
			shard_stop(shard);
			break;
		}
		world->now = next_event(world) < until ? next_event(world) : until;
	}
	world->woken = false;
}

/* ---- The rest of the backend ---- */

static enum rc sim_open(struct shard *shard, struct err *err)
{
	struct world *world = world_of(shard);

	if (!world || world->shard)
		return err_set(err, FAIL, "a simulated world is needed, and one shard at a time runs in it");
	world->shard = shard;
	world->offer_size = shard->options.buf_count;
	world->offers = calloc(world->offer_size, sizeof(*world->offers));
	ASSERT(world->offers);
	world->offer_first = world->offer_count = 0;
	return OK;
}

static void sim_close(struct shard *shard)
{
	struct world *world = world_of(shard);
	struct link *l;

	while ((l = list_shift(&world->waiting)))
		free(LIST_ITEM(l, struct sim_op, waiting));
	LIST_EACH (e, &world->events) {
		struct sim_event *event = LIST_ITEM(e, struct sim_event, link);

		if (event->fn != disk_event && event->fn != connect_event)
			continue; /* a packet: it arrives all the same */
		list_remove(e);
		free(CONTAINER_OF(event, struct sim_op, event));
	}
	free(world->offers);
	world->offers = NULL;
	world->shard = NULL;
}

static void sim_wake(struct shard *from, struct shard *to)
{
	(void)from;
	world_of(to)->woken = true;
}

static uint64_t sim_now(struct shard *shard)
{
	return world_of(shard)->now;
}

static uint64_t sim_wall(struct shard *shard)
{
	return EPOCH_S * NS_PER_S + world_of(shard)->now;
}

static void sim_random(struct shard *shard, void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((unsigned char *)bytes)[i] = (unsigned char)world_random(world_of(shard), 256);
}

static void sim_offer(struct shard *shard, struct buf *buf, unsigned number)
{
	struct world *world = world_of(shard);

	ASSERT(world->offer_count < world->offer_size);
	world->offers[(world->offer_first + world->offer_count++) % world->offer_size] =
	    (struct offer){buf, number};
}

static bool sim_is_socket(struct shard *shard, int fd)
{
	struct sim_fd *f = sim_fd(world_of(shard), fd);

	return f && f->socket;
}

/* Here everything waits, though it need not: so the paths that wait are those that are tested. */
static int sim_stat_now(struct shard *shard, const char *path, bool follow, struct stat *stat_ret)
{
	(void)shard;
	(void)path;
	(void)follow;
	(void)stat_ret;
	return -EAGAIN;
}

static ssize_t sim_send_now(struct shard *shard, int fd, const struct iovec *iov, unsigned iov_count)
{
	return net_send(world_of(shard), fd, iov, iov_count);
}

static int sim_socket(struct shard *shard, int family)
{
	(void)family;
	return sim_fd_new(world_of(shard), net_socket(), NULL, 0);
}

static int sim_bind(struct shard *shard, int fd, const struct sockaddr *sa, socklen_t len)
{
	(void)sa;
	(void)len;
	return sim_fd(world_of(shard), fd) ? 0 : -EBADF;
}

static void sim_prepare_listener(struct shard *shard, int fd)
{
	ASSERT(sim_is_socket(shard, fd));
}

static void sim_shutdown(struct shard *shard, int fd, int how)
{
	struct sim_fd *f = sim_fd(world_of(shard), fd);

	if (f && f->socket && how == SHUT_WR)
		net_shutdown(world_of(shard), f->socket);
}

static void sim_set_reset(struct shard *shard, int fd)
{
	struct sim_fd *f = sim_fd(world_of(shard), fd);

	if (f && f->socket)
		f->socket->resets = true;
}

static void sim_close_fd(struct shard *shard, int fd)
{
	struct world *world = world_of(shard);
	struct sim_fd *f = sim_fd(world, fd);

	ASSERT(f); /* closed twice, or never opened here */
	if (f->socket)
		net_close(world, f->socket);
	if (f->inode)
		disk_close(world, f->inode);
	*f = (struct sim_fd){0};
}

const struct backend backend_sim = {
    .name = "simulation",
    .no_threads = true,
    .open = sim_open,
    .close = sim_close,
    .submit = sim_submit,
    .cancel = sim_cancel,
    .run = sim_run,
    .wake = sim_wake,
    .now = sim_now,
    .wall = sim_wall,
    .random = sim_random,
    .offer = sim_offer,
    .is_socket = sim_is_socket,
    .send_now = sim_send_now,
    .stat_now = sim_stat_now,
    .socket = sim_socket,
    .bind = sim_bind,
    .prepare_listener = sim_prepare_listener,
    .shutdown = sim_shutdown,
    .set_reset = sim_set_reset,
    .close_fd = sim_close_fd,
};

/* ---- Descriptors ---- */

struct sim_fd *sim_fd(struct world *world, int fd)
{
	if (fd < SIM_FD_BASE || fd >= SIM_FD_BASE + SIM_FD_MAX || !world->fds[fd - SIM_FD_BASE].open)
		return NULL;
	return &world->fds[fd - SIM_FD_BASE];
}

int sim_fd_new(struct world *world, struct sim_socket *socket, struct sim_inode *inode, int flags)
{
	for (int i = 0; i < SIM_FD_MAX; i++)
		if (!world->fds[i].open) {
			world->fds[i] =
			    (struct sim_fd){.socket = socket, .inode = inode, .flags = flags, .open = true};
			return SIM_FD_BASE + i;
		}
	return -EMFILE;
}

/* ---- The door ---- */

struct world *world_new(const struct world_options *options)
{
	struct world *world = calloc(1, sizeof(*world));

	ASSERT(world);
	world->options = *options;
	world->random = options->seed;
	world->now = NS_PER_S;
	if (!world->options.net_delay_max)
		world->options.net_delay_max = NS_PER_MS;
	if (!world->options.disk_delay_max)
		world->options.disk_delay_max = 5 * NS_PER_MS;
	if (!world->options.packet_max)
		world->options.packet_max = 1460;
	list_init(&world->events);
	list_init(&world->waiting);
	list_init(&world->listeners);
	return world;
}

void world_free(struct world *world)
{
	ASSERT(!world->shard);
	net_clear(world);
	disk_clear(world);
	free(world);
}

struct shard_options world_shard(struct world *world)
{
	return (struct shard_options){.cpu = -1, .backend = BACKEND_SIM, .world = world};
}

bool world_stuck(const struct world *world)
{
	return world->stuck;
}
