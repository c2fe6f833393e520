/* Streams: input received ahead into shared buffers, output sent at once, and one end.
 *
 * A socket has a multishot receive under way from its first moment; other descriptors (pipes, terminals,
 * files) a single read. The struct is freed when it was closed and that operation has come home, never
 * before: the kernel still knows its address. Operations that send are on the stack of the fiber that waits
 * for them. */
#include "shard.h"

#include <poll.h>

#define WINDOW_DEFAULT   (64u * 1024)
#define MERGE_MAX        1024u /* up to here a copy is cheaper than a buffer of one's own */
#define STREAMS_IDLE_MAX 1024
#define SEND_IOV_MAX     16   /* of one operation, after the first sent only a part */
#define IOV_COUNT_MAX    1024 /* the system's */
/* When so many fibers run in a round, their sends go to the kernel together, at its end; a lone one is sent
 * at once. 100 echoing connections: 13.3 us a round trip (both ends) through the ring, 15.2 us by a call
 * each. */
#define BATCH_MIN 4

struct bufq {
	struct buf *head, *tail;
	size_t off;     /* consumed from head */
	size_t pending; /* unread bytes over all */
};

struct stream {
	struct op recv;
	struct link open;    /* in shard->streams */
	struct link starved; /* waits for a buffer; or idle */
	struct shard *shard;
	void (*on_input)(struct stream *, void *);
	void *arg;
	struct task_wait *filler; /* the fiber in stream_fill() */
	struct bufq raw, plain;   /* as it came; what a layer made of it */
	const struct stream_layer_ops *layer_ops;
	void *layer;
	struct buf *read_buf; /* of a descriptor that is no socket */
	struct iovec read_iov;
	size_t window;
	int fd_in, fd_out;
	int error; /* errno of the receive */
	bool is_socket;
	bool fresh;       /* input has come since stream_raw_fill() last returned */
	bool ended;       /* nothing more will come */
	bool plain_fresh; /* the same for stream_fill() through a layer */
	bool layer_ended; /* the layer said so */
	bool layer_full;  /* it stopped because the window was full */
	bool paused; /* more than the window is unread: no receive is under way, or it is being cancelled */
	bool closed;
	bool lingering; /* closed by us, but what the peer still sends is read and dropped */
	struct timer linger;
};
static_assert(sizeof(struct stream) < 500, "a hundred thousand idle connections");

/* ---- Queues of buffers ---- */

static struct slice bufq_peek(const struct bufq *q)
{
	if (!q->head)
		return slice_tainted(SLICE_EMPTY);
	return slice_make(q->head->bytes + q->off, q->head->len - q->off, TAINTED);
}

static void bufq_append(struct bufq *q, struct buf *buf)
{
	buf->next = NULL;
	if (q->head)
		q->tail->next = buf;
	else
		q->head = buf;
	q->tail = buf;
	q->pending += buf->len;
}

/* Whether the bytes fit behind the last ones, in the same buffer. Whoever holds that buffer holds other bytes
 * of it. Without this, a client that sends byte by byte would make us keep a buffer for each. */
static bool bufq_merge(struct bufq *q, const struct buf *buf)
{
	struct buf *tail = q->tail;

	if (!q->head || buf->len > MERGE_MAX || buf->len > tail->size - tail->len)
		return false;
	memcpy(tail->bytes + tail->len, buf->bytes, buf->len);
	tail->len += buf->len;
	q->pending += buf->len;
	return true;
}

static void bufq_consume(struct bufq *q, size_t len)
{
	ASSERT(q->head ? len <= q->head->len - q->off : !len);
	q->off += len;
	q->pending -= len;
	if (q->head && q->off == q->head->len) {
		struct buf *buf = q->head;

		q->head = buf->next;
		q->off = 0;
		buf_unref(buf);
	}
}

static void bufq_clear(struct bufq *q)
{
	while (q->head)
		bufq_consume(q, q->head->len - q->off);
}

/* ---- Receiving ---- */

static void recv_done(struct op *op);
static void recv_polled(struct op *op);
static void stream_finish(struct stream *s);

static void starve(struct stream *s)
{
	s->shard->stats.enobufs++;
	list_remove(&s->starved); /* it may wait already */
	list_append(&s->shard->bufs.starved, &s->starved);
}

static void recv_start(struct stream *s)
{
	struct shard *shard = s->shard;

	s->paused = false;
	list_remove(&s->starved);
	if (s->is_socket) {
		op_init(&s->recv, OP_RECV, s->fd_in, recv_done);
		shard->backend->submit(shard, &s->recv);
		return;
	}
	if (!s->read_buf) {
		s->read_buf = buf_new(shard);
		if (!s->read_buf) {
			starve(s);
			return;
		}
	}
	s->read_iov = (struct iovec){s->read_buf->bytes, s->read_buf->size};
	op_init(&s->recv, OP_READ, s->fd_in, recv_done);
	s->recv.iov = &s->read_iov;
	s->recv.iov_count = 1;
	s->recv.offset = UINT64_MAX;
	shard->backend->submit(shard, &s->recv);
}

static void stream_finish(struct stream *s)
{
	struct shard *shard = s->shard;

	shard->backend->close_fd(shard, s->fd_in);
	if (s->fd_out != s->fd_in)
		shard->backend->close_fd(shard, s->fd_out);
	if (s->read_buf)
		buf_unref(s->read_buf);
	list_remove(&s->starved);
	list_remove(&s->open);
#ifndef SLUICE_SANITIZE
	if (shard->streams_idle_count < STREAMS_IDLE_MAX) {
		shard->streams_idle_count++;
		list_prepend(&shard->streams_idle, &s->starved);
		return;
	}
#endif
	free(s);
}

/* A closed stream's receive has come home. Lingering, it goes on for as long as there is something to drop.
 */
static void recv_closed(struct stream *s, int result)
{
	/* ECANCELED while lingering: the window's, just before the end. */
	if (s->lingering && (result > 0 || result == -ECANCELED || result == -EINTR)) {
		recv_start(s);
		return;
	}
	if (s->lingering && result == -ENOBUFS) {
		starve(s);
		return;
	}
	timer_cancel(s->shard, &s->linger);
	stream_finish(s);
}

/* Has the layer look at what came. false: nothing that its owner would see. */
static bool pump(struct stream *s)
{
	enum stream_pumped pumped;

	if (s->layer_ended)
		return true;
	pumped = s->layer_ops->pump(s, s->layer);
	s->layer_full = pumped != PUMPED_END && !stream_has_room(s);
	s->layer_ended = pumped == PUMPED_END || (stream_raw_at_end(s) && !s->layer_full);
	return pumped != PUMPED_NOTHING || s->layer_ended;
}

/* Whoever waits for input learns that there is some, or that there will be none. The stream may be gone
 * after. */
static void tell_reader(struct stream *s)
{
	if (s->filler)
		task_wake(s->filler, OK);
	else if (s->on_input && (!s->layer_ops || pump(s)))
		s->on_input(s, s->arg);
}

static void take_input(struct stream *s, struct buf *buf)
{
	struct buf *copy;

	s->fresh = true;
	if (bufq_merge(&s->raw, buf)) {
		buf_unref(buf);
		return;
	}
	if (buf->len <= MERGE_MAX && bufs_scarce(s->shard)) {
		copy = buf_copy(s->shard, buf);
		if (copy) {
			buf_unref(buf);
			buf = copy;
		}
	}
	bufq_append(&s->raw, buf);
}

/* The receive is not under way any more; see that it is again, if it should be. */
static void recv_again(struct stream *s)
{
	if (s->ended || s->recv.under_way)
		return;
	if (s->raw.pending > s->window)
		s->paused = true;
	else
		recv_start(s);
}

static void recv_done(struct op *op)
{
	struct stream *s = CONTAINER_OF(op, struct stream, recv);
	struct shard *shard = s->shard;
	struct buf *buf = op->kind == OP_RECV ? op->buf : s->read_buf;
	int32_t result = op->result;

	if (op->kind == OP_READ)
		s->read_buf = NULL;
	if (s->closed || result <= 0) {
		if (buf)
			buf_unref(buf);
		if (s->closed) {
			if (!op->more)
				recv_closed(s, result);
			return;
		}
	}
	if (result > 0) {
		buf->len = (uint32_t)result;
		take_input(s, buf);
		if (op->more && s->raw.pending > s->window && !s->paused) {
			s->paused = true;
			shard->backend->cancel(shard, op);
		}
		if (!op->more)
			recv_again(s);
		tell_reader(s);
		return;
	}
	switch (-result) {
	case ENOBUFS:
		if (!op->more)
			starve(s);
		return;
	case ECANCELED: /* the window; it may have been read meanwhile */
	case EINTR:
		recv_again(s);
		return;
	case EAGAIN: /* a descriptor that somebody set to non-blocking: wait for it first */
		op_init(op, OP_POLL, s->fd_in, recv_polled);
		op->flags = POLLIN;
		shard->backend->submit(shard, op);
		return;
	}
	s->ended = true;
	s->error = -result;
	tell_reader(s);
}

static void recv_polled(struct op *op)
{
	struct stream *s = CONTAINER_OF(op, struct stream, recv);

	if (s->closed)
		recv_closed(s, op->result);
	else
		recv_start(s);
}

void streams_feed(struct shard *shard)
{
	/* As many as there are buffers, in the order in which they starved. */
	unsigned left = shard->bufs.offered_count;
	struct link *l;

	for (; left && (l = list_shift(&shard->bufs.starved)); left--)
		recv_again(LIST_ITEM(l, struct stream, starved));
}

/* ---- Life ---- */

enum rc stream_new(struct shard *shard, int fd_in, int fd_out, void (*on_input)(struct stream *, void *),
		   void *arg, struct stream **stream_ret, struct err *err)
{
	struct stream *s;

	if (!list_empty(&shard->streams_idle)) {
		s = LIST_ITEM(list_shift(&shard->streams_idle), struct stream, starved);
		shard->streams_idle_count--;
	} else {
		s = malloc(sizeof(*s)); /* from then on it is reused */
		if (!s)
			return err_memory(err);
	}
	*s = (struct stream){.shard = shard,
			     .on_input = on_input,
			     .arg = arg,
			     .window = WINDOW_DEFAULT,
			     .fd_in = fd_in,
			     .fd_out = fd_out};
	s->is_socket = shard->backend->is_socket(shard, fd_in);
	list_init(&s->starved);
	list_append(&shard->streams, &s->open);
	recv_start(s);
	*stream_ret = s;
	return OK;
}

void streams_done(struct shard *shard)
{
	struct link *l;

	/* The backend has ended what was under way, so there is nothing to wait for. */
	while (!list_empty(&shard->streams)) {
		struct stream *s = LIST_ITEM(shard->streams.next, struct stream, open);

		bufq_clear(&s->raw);
		bufq_clear(&s->plain);
		stream_finish(s);
	}
	while ((l = list_shift(&shard->streams_idle)))
		free(LIST_ITEM(l, struct stream, starved));
}

/* What closing has in common with lingering: the layer and all input go. */
static void stream_drop(struct stream *s)
{
	ASSERT(!s->closed && !s->filler);
	s->closed = true;
	if (s->layer_ops)
		s->layer_ops->close(s, s->layer);
	s->layer_ops = NULL;
	bufq_clear(&s->raw);
	bufq_clear(&s->plain);
	list_remove(&s->starved);
}

static void linger_over(struct timer *timer)
{
	struct stream *s = CONTAINER_OF(timer, struct stream, linger);

	s->lingering = false;
	if (s->recv.under_way)
		s->shard->backend->cancel(s->shard, &s->recv);
	else
		stream_finish(s);
}

void stream_close_lingering(struct stream *s, uint64_t timeout_ms)
{
	if (!s->is_socket || s->ended) {
		stream_close(s, false);
		return;
	}
	stream_drop(s);
	s->lingering = true;
	timer_init(&s->linger, linger_over);
	timer_set(s->shard, &s->linger, s->shard->now + timeout_ms * NS_PER_MS);
	s->shard->backend->shutdown(s->shard, s->fd_out, SHUT_WR);
	if (!s->recv.under_way)
		recv_start(s);
}

void stream_close(struct stream *s, bool reset)
{
	struct shard *shard = s->shard;

	stream_drop(s);
	if (reset && s->is_socket)
		shard->backend->set_reset(shard, s->fd_out);
	if (s->recv.under_way)
		shard->backend->cancel(shard, &s->recv);
	else
		stream_finish(s);
}

int stream_fd(const struct stream *s)
{
	return s->fd_in;
}

struct shard *stream_shard(const struct stream *s)
{
	return s->shard;
}

void stream_set_arg(struct stream *s, void (*on_input)(struct stream *, void *), void *arg)
{
	s->on_input = on_input;
	s->arg = arg;
}

void stream_set_window(struct stream *s, size_t bytes)
{
	s->window = bytes;
	if (s->paused && s->raw.pending <= bytes)
		recv_again(s);
}

void stream_shutdown_write(struct stream *s)
{
	if (!s->is_socket && s->fd_out != s->fd_in) {
		/* A pipe has no half to close: its reader sees the end when the descriptor goes. */
		s->shard->backend->close_fd(s->shard, s->fd_out);
		s->fd_out = s->fd_in;
		return;
	}
	s->shard->backend->shutdown(s->shard, s->fd_out, SHUT_WR);
}

/* ---- Reading ---- */

struct slice stream_raw_peek(const struct stream *s)
{
	return bufq_peek(&s->raw);
}

void stream_raw_consume(struct stream *s, size_t len)
{
	bufq_consume(&s->raw, len);
	/* Half empty before it goes on, so that a steady reader does not cancel and start at each buffer. */
	if (s->paused && s->raw.pending <= s->window / 2)
		recv_again(s);
}

enum rc stream_raw_fill(struct task *task, struct stream *s, struct err *err)
{
	struct task_wait wait;
	enum rc rc = OK;

	ASSERT(!s->filler);
	if (task->cancelled)
		return CANCELLED;
	/* The reader wants more than the window before it can consume: so be it, it has a limit of its own.
	 */
	if (s->paused && !s->recv.under_way)
		recv_start(s);
	/* Fresh input that was consumed already, by whoever came before us, is none. */
	while (rc == OK && !(s->fresh && s->raw.pending) && !s->ended) {
		s->filler = &wait;
		rc = task_park(task, &wait, NULL, false);
		s->filler = NULL;
		if (s->paused && !s->recv.under_way)
			recv_start(s);
	}
	if (s->fresh && s->raw.pending) {
		s->fresh = false;
		return OK;
	}
	if (rc == CANCELLED)
		return CANCELLED;
	if (rc == DEFER)
		return err_os(err, DEFER, ETIMEDOUT, "nothing was received");
	if (s->error)
		return err_os(err, FAIL, s->error, "the connection was lost");
	rc = err_set(err, FAIL, "the connection was closed by the peer");
	if (err)
		err->os = 0;
	return rc;
}

enum rc stream_fill(struct task *task, struct stream *s, struct err *err)
{
	enum rc rc;

	if (!s->layer_ops)
		return stream_raw_fill(task, s, err);
	for (;;) {
		(void)pump(s); /* what there is, is asked for below */
		if (s->plain_fresh && s->plain.pending) {
			s->plain_fresh = false;
			return task->cancelled ? CANCELLED : OK;
		}
		if (s->layer_ended) {
			rc = err_set(err, FAIL, "the connection was closed by the peer");
			if (err)
				err->os = 0;
			return rc;
		}
		/* Its reader wants more than the window before he can consume: so be it, he has a limit of his own. */
		if (s->layer_full) {
			s->window *= 2;
			continue;
		}
		rc = stream_raw_fill(task, s, err);
		if (rc == FAIL)
			s->layer_ended = true;
		if (rc != OK)
			return rc;
	}
}

static inline const struct bufq *input(const struct stream *s)
{
	return s->layer_ops ? &s->plain : &s->raw;
}

struct slice stream_peek(const struct stream *s)
{
	return bufq_peek(input(s));
}

struct buf *stream_peek_buf(const struct stream *s)
{
	return input(s)->head;
}

void stream_consume(struct stream *s, size_t len)
{
	if (!s->layer_ops) {
		stream_raw_consume(s, len);
		return;
	}
	bufq_consume(&s->plain, len);
	if (s->layer_full && s->plain.pending <= s->window / 2)
		(void)pump(s); /* for whoever reads on */
}

size_t stream_pending(const struct stream *s)
{
	return input(s)->pending;
}

int stream_error(const struct stream *s)
{
	return s->error;
}

bool stream_at_end(const struct stream *s)
{
	if (!s->layer_ops)
		return !s->raw.pending && s->ended;
	return !s->plain.pending && (s->layer_ended || (s->ended && !s->raw.pending));
}

bool stream_set_layer(struct stream *s, const struct stream_layer_ops *ops, void *layer)
{
	s->layer_ops = ops;
	s->layer = layer;
	return s->raw.pending != 0;
}

void stream_look_again(struct stream *s)
{
	(void)pump(s);
}

bool stream_raw_at_end(const struct stream *s)
{
	return s->ended && !s->raw.pending;
}

bool stream_has_room(const struct stream *s)
{
	return s->plain.pending <= s->window;
}

void stream_push(struct stream *s, struct buf *buf)
{
	if (!buf->len) {
		buf_unref(buf);
		return;
	}
	s->plain_fresh = true;
	bufq_append(&s->plain, buf);
}

bool stream_push_bytes(struct stream *s, const char *bytes, size_t len)
{
	while (len) {
		struct buf piece = {.bytes = (char *)(uintptr_t)bytes, .len = (uint32_t)len}, *buf = NULL;

		if (bufq_merge(&s->plain, &piece)) {
			s->plain_fresh = true;
			return true;
		}
		if (!bufs_scarce(s->shard))
			buf = buf_new(s->shard);
		if (buf) {
			buf->len = len < buf->size ? (uint32_t)len : buf->size;
			memcpy(buf->bytes, bytes, buf->len);
		} else {
			buf = buf_copy(s->shard, &piece);
			if (!buf)
				return false;
		}
		bytes += buf->len;
		len -= buf->len;
		stream_push(s, buf);
	}
	return true;
}

/* ---- Writing ---- */

/* The part of the vector behind the first done bytes, at most SEND_IOV_MAX pieces of it. */
static unsigned iov_rest(const struct iovec *iov, unsigned count, size_t done, struct iovec *rest)
{
	unsigned n = 0, i = 0;

	while (i < count && done >= iov[i].iov_len)
		done -= iov[i++].iov_len;
	for (; i < count && n < SEND_IOV_MAX; i++) {
		rest[n].iov_base = (char *)iov[i].iov_base + done;
		rest[n++].iov_len = iov[i].iov_len - done;
		done = 0;
	}
	return n;
}

static enum rc write_failed(struct err *err, enum rc rc, int os)
{
	if (rc == CANCELLED)
		return CANCELLED;
	if (rc == DEFER)
		return err_os(err, DEFER, ETIMEDOUT, "the peer does not take what is sent");
	return err_os(err, FAIL, os, "cannot send");
}

/* Through the ring, which waits in the kernel for room. */
static enum rc write_rest(struct task *task, struct stream *s, const struct iovec *iov, unsigned iov_count,
			  size_t done, size_t len, struct err *err)
{
	struct iovec rest[SEND_IOV_MAX];
	struct op_wait w;
	enum rc rc;

	while (done < len) {
		op_init(&w.op, s->is_socket ? OP_SEND : OP_WRITE, s->fd_out, NULL);
		if (done || iov_count > IOV_COUNT_MAX) {
			w.op.iov = rest;
			w.op.iov_count = iov_rest(iov, iov_count, done, rest);
		} else {
			w.op.iov = iov;
			w.op.iov_count = iov_count;
		}
		w.op.offset = UINT64_MAX;
		rc = op_call(task, &w, true);
		if (rc == OK && w.op.result == -EAGAIN) {
			op_init(&w.op, OP_POLL, s->fd_out, NULL);
			w.op.flags = POLLOUT;
			rc = op_call(task, &w, true);
			if (rc == OK)
				continue;
		}
		if (rc != OK || w.op.result <= 0)
			return write_failed(err, rc, rc == OK && w.op.result ? -w.op.result : EPIPE);
		done += (size_t)w.op.result;
	}
	return OK;
}

enum rc stream_raw_writev(struct task *task, struct stream *s, const struct iovec *iov, unsigned iov_count,
			  struct err *err)
{
	size_t len = 0;
	ssize_t sent = 0;

	for (unsigned i = 0; i < iov_count; i++)
		len += iov[i].iov_len;
	if (!len)
		return OK;
	if (task->cancelled)
		return CANCELLED;
	if (s->is_socket && s->shard->batch < BATCH_MIN) {
		sent = s->shard->backend->send_now(s->shard, s->fd_out, iov, iov_count);
		if ((size_t)sent == len)
			return OK;
		if (sent < 0 && sent != -EAGAIN)
			return write_failed(err, FAIL, (int)-sent);
	}
	return write_rest(task, s, iov, iov_count, sent > 0 ? (size_t)sent : 0, len, err);
}

enum rc stream_writev(struct task *task, struct stream *s, const struct iovec *iov, unsigned iov_count,
		      struct err *err)
{
	if (s->layer_ops)
		return s->layer_ops->writev(task, s, s->layer, iov, iov_count, err);
	return stream_raw_writev(task, s, iov, iov_count, err);
}

enum rc stream_write(struct task *task, struct stream *s, struct slice bytes, struct err *err)
{
	struct iovec iov = {(void *)(uintptr_t)bytes.ptr, bytes.len};

	return stream_writev(task, s, &iov, 1, err);
}

bool stream_write_now(struct stream *s, struct slice bytes)
{
	struct iovec iov = {(void *)(uintptr_t)bytes.ptr, bytes.len};

	if (s->layer_ops)
		return s->layer_ops->write_now(s, s->layer, bytes);
	return s->shard->backend->send_now(s->shard, s->fd_out, &iov, 1) == (ssize_t)bytes.len;
}

void stream_last_words(struct stream *s)
{
	if (s->layer_ops && s->layer_ops->last)
		s->layer_ops->last(s, s->layer);
}

ptrdiff_t stream_raw_write_now(struct stream *s, const void *bytes, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	ssize_t sent = s->shard->backend->send_now(s->shard, s->fd_out, &iov, 1);

	if (sent == -EAGAIN)
		return 0;
	return sent < 0 ? -1 : sent;
}
