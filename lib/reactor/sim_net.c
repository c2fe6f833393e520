/* The simulated network: connected sockets whose bytes travel in packets of random size, each for a random
 * time, in order. */
#include "sim_world.h"

#include <poll.h>

struct sim_socket *net_socket(void)
{
	struct sim_socket *socket = calloc(1, sizeof(*socket));

	ASSERT(socket);
	list_init(&socket->input);
	list_init(&socket->backlog);
	list_init(&socket->link);
	socket->room = SOCKET_WINDOW;
	return socket;
}

static void socket_free_if_gone(struct sim_socket *socket)
{
	if (socket->closed && !socket->flying)
		free(socket);
}

/* ---- Packets ---- */

static void packet_arrives(struct world *world, struct sim_event *event)
{
	struct packet *packet = CONTAINER_OF(event, struct packet, event);
	struct sim_socket *to = packet->to;

	(void)world;
	to->flying--;
	if (to->closed) {
		free(packet);
		socket_free_if_gone(to);
		return;
	}
	if (packet->reset)
		to->reset = to->ended = true;
	if (packet->end)
		to->ended = true;
	if (packet->len)
		list_append(&to->input, &packet->link);
	else
		free(packet);
}

static struct packet *packet_send(struct world *world, struct sim_socket *to, uint32_t len)
{
	struct packet *packet = calloc(1, sizeof(*packet) + len);
	uint64_t at = world->now + 1 + world_random(world, world->options.net_delay_max);

	ASSERT(packet);
	list_init(&packet->link);
	packet->to = to;
	packet->len = len;
	to->flying++;
	to->room -= len;
	if (at < to->arrival)
		at = to->arrival;
	to->arrival = at;
	event_add(world, &packet->event, at, packet_arrives);
	return packet;
}

ssize_t net_send(struct world *world, int fd, const struct iovec *iov, unsigned iov_count)
{
	struct sim_fd *f = sim_fd(world, fd);
	struct sim_socket *socket = f ? f->socket : NULL, *peer;
	size_t sent = 0;

	if (!socket)
		return -EBADF;
	peer = socket->peer;
	if (!peer || socket->reset || socket->shut)
		return -EPIPE;
	for (unsigned i = 0; i < iov_count && peer->room; i++) {
		size_t off = 0;

		while (off < iov[i].iov_len && peer->room) {
			size_t len = 1 + world_random(world, world->options.packet_max);

			if (len > iov[i].iov_len - off)
				len = iov[i].iov_len - off;
			if (len > peer->room)
				len = peer->room;
			memcpy(packet_send(world, peer, (uint32_t)len)->bytes, (char *)iov[i].iov_base + off,
			       len);
			off += len;
			sent += len;
		}
	}
	return sent ? (ssize_t)sent : -EAGAIN;
}

/* ---- Ends ---- */

void net_shutdown(struct world *world, struct sim_socket *socket)
{
	if (socket->shut)
		return;
	socket->shut = true;
	if (socket->peer)
		packet_send(world, socket->peer, 0)->end = true;
}

static void input_drop(struct sim_socket *socket)
{
	struct link *l;

	while ((l = list_shift(&socket->input)))
		free(LIST_ITEM(l, struct packet, link));
}

void net_close(struct world *world, struct sim_socket *socket)
{
	struct link *l;

	while ((l = list_shift(&socket->backlog))) /* nobody took them */
		net_close(world, LIST_ITEM(l, struct sim_socket, link));
	/* Input unread, or the wish: the peer sees a reset instead of an end. */
	if (socket->peer) {
		if (socket->resets || !list_empty(&socket->input))
			packet_send(world, socket->peer, 0)->reset = true;
		else
			net_shutdown(world, socket);
		socket->peer->peer = NULL;
	}
	socket->peer = NULL;
	input_drop(socket);
	list_remove(&socket->link);
	socket->closed = true;
	socket_free_if_gone(socket);
}

/* ---- Operations ---- */

static bool try_recv(struct world *world, struct sim_op *sop, struct sim_socket *socket)
{
	struct op *op = sop->op;
	struct packet *packet;
	struct offer offer;
	uint32_t len;

	op->more = false;
	if (socket->reset || list_empty(&socket->input)) {
		op->result = socket->reset ? -ECONNRESET : 0;
		return socket->reset || socket->ended;
	}
	if (!world->offer_count) {
		op->result = -ENOBUFS;
		return true;
	}
	offer = world->offers[world->offer_first];
	world->offer_first = (world->offer_first + 1) % world->offer_size;
	world->offer_count--;
	packet = LIST_ITEM(socket->input.next, struct packet, link);
	len = packet->len - packet->off;
	if (len > offer.buf->size)
		len = offer.buf->size;
	memcpy(offer.buf->bytes, packet->bytes + packet->off, len);
	packet->off += len;
	socket->room += len;
	if (packet->off == packet->len) {
		list_remove(&packet->link);
		free(packet);
	}
	op->buf = buf_taken(world->shard, offer.number, len);
	op->result = (int32_t)len;
	/* A multishot may end at any time: sometimes it does. */
	op->more = world_random(world, 16) != 0;
	return true;
}

static bool try_accept(struct world *world, struct sim_op *sop, struct sim_socket *listener)
{
	struct link *l = list_shift(&listener->backlog);

	if (!l)
		return false;
	sop->op->result = sim_fd_new(world, LIST_ITEM(l, struct sim_socket, link), NULL, 0);
	if (sop->op->result < 0)
		list_prepend(&listener->backlog, l);
	sop->op->more = sop->op->result >= 0 && world_random(world, 16) != 0;
	return true;
}

static bool try_connect(struct world *world, struct sim_op *sop, struct sim_socket *socket)
{
	struct ip_addr to = ip_from_sockaddr(sop->op->sa);

	LIST_EACH (l, &world->listeners) {
		struct sim_socket *listener = LIST_ITEM(l, struct sim_socket, link), *other;

		if (!ip_eq(&listener->at, &to) || listener->at.port != to.port)
			continue;
		if (listener->black_hole)
			return false;
		other = net_socket();
		other->peer = socket;
		socket->peer = other;
		list_append(&listener->backlog, &other->link);
		sop->op->result = 0;
		return true;
	}
	sop->op->result = -ECONNREFUSED;
	return true;
}

static bool try_poll(struct sim_op *sop, struct sim_socket *socket)
{
	unsigned events = 0;

	if (!list_empty(&socket->input) || socket->ended || !list_empty(&socket->backlog))
		events |= POLLIN;
	if (!socket->peer || socket->peer->room)
		events |= POLLOUT;
	sop->op->result = (int32_t)(events & sop->op->flags);
	return sop->op->result;
}

bool net_try(struct world *world, struct sim_op *sop)
{
	struct op *op = sop->op;
	struct sim_fd *f = sim_fd(world, op->fd);
	struct sim_socket *socket = f ? f->socket : NULL;
	ssize_t n;

	if (!socket) {
		op->result = -EBADF;
		op->more = false;
		return true;
	}
	switch ((enum op_kind)op->kind) {
	case OP_RECV:
		return try_recv(world, sop, socket);
	case OP_ACCEPT:
		return try_accept(world, sop, socket);
	case OP_CONNECT:
		return try_connect(world, sop, socket);
	case OP_POLL:
		return try_poll(sop, socket);
	default:
		n = net_send(world, op->fd, op->iov, op->iov_count);
		op->result = (int32_t)n;
		return n != -EAGAIN;
	}
}

/* ---- The door ---- */

void world_socketpair(struct world *world, int fds_ret[2])
{
	struct sim_socket *a = net_socket(), *b = net_socket();

	a->peer = b;
	b->peer = a;
	fds_ret[0] = sim_fd_new(world, a, NULL, 0);
	fds_ret[1] = sim_fd_new(world, b, NULL, 0);
	ASSERT(fds_ret[0] >= 0 && fds_ret[1] >= 0);
}

int world_listen(struct world *world, const struct ip_addr *at)
{
	struct sim_socket *listener = net_socket();
	int fd = sim_fd_new(world, listener, NULL, 0);

	ASSERT(fd >= 0);
	listener->listens = true;
	listener->at = *at;
	list_append(&world->listeners, &listener->link);
	return fd;
}

void world_black_hole(struct world *world, const struct ip_addr *at)
{
	struct sim_fd *f = sim_fd(world, world_listen(world, at));

	f->socket->black_hole = true;
}

/* All sockets vanish, and what was on its way. */
void net_clear(struct world *world)
{
	LIST_EACH (l, &world->events) {
		struct packet *packet =
		    CONTAINER_OF(LIST_ITEM(l, struct sim_event, link), struct packet, event);

		list_remove(l);
		packet->to->flying--;
		if (packet->to->closed)
			socket_free_if_gone(packet->to);
		free(packet);
	}
	for (int i = 0; i < SIM_FD_MAX; i++) {
		struct sim_socket *socket = world->fds[i].open ? world->fds[i].socket : NULL;
		struct link *l;

		if (!socket)
			continue;
		while ((l = list_shift(&socket->backlog))) {
			struct sim_socket *waiting = LIST_ITEM(l, struct sim_socket, link);

			input_drop(waiting);
			free(waiting);
		}
		input_drop(socket);
		list_remove(&socket->link);
		free(socket);
		world->fds[i] = (struct sim_fd){0};
	}
}
