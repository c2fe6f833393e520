/* floor: the least that an SMTP server on io_uring can do for the same bytes and the same durability. One thread a
 * core, multishot accept and receive, provided buffers, canned replies; the bytes of messages are appended to a
 * preallocated segment, one O_DIRECT write with RWF_DSYNC in flight for each thread, and a 250 goes out only when
 * the write that has the message's last byte is done. No policy, no log, no queue: what a real server costs more
 * is what those cost it. With --no-write it is a sink, for relaying to.
 *
 *	floor [--port N] [--threads N] [--dir DIRECTORY | --no-write] [--refuse rcpt|data] [--segment-mb N] [--count FILE]
 *	      [--tls CERTIFICATE:KEY]
 *
 * --refuse: every recipient, or every message at its end, gets a 550; nothing is written then. --tls: STARTTLS with
 * wolfSSL's own calls, the library's own tickets, and nothing around them.
 * Prints "listening PORT" and runs until SIGTERM. FILE is an array of 64-bit numbers, whose sum is
 * the count of messages accepted so far. */

#include "floor_tls.h"
#include "ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK = 4096, THREAD_MAX = 64, FD_MAX = 65536, REPLY_MAX = 8192 };
#define STAGE_SIZE (32u << 20) /* two of them a thread: one fills while the other is written */

enum op { OP_ACCEPT, OP_RECV, OP_SEND, OP_WRITE, OP_STOP };

/* A connection. Freed when its receive has ended and nothing is being sent. */
struct conn {
	struct conn *next; /* among those that wait for the write */
	int fd;
	uint8_t receiving, sending, closing, in_data, waits;
	uint8_t at_line_start, verb_len;
	char verb[4];
	uint8_t tail_len;
	char tail[5]; /* the last bytes of the body so far: the end may be cut anywhere */
	uint16_t reply_len, reply_sent;
	char *reply; /* while there is something to send */
	struct tls_conn *tls;
};

struct stage {
	char *bytes;
	size_t len;
	struct conn *waiting; /* whose messages end in here */
	unsigned messages;
};

enum refuse { REFUSE_NOTHING, REFUSE_RCPT, REFUSE_DATA };

struct floor {
	pthread_t thread;
	enum refuse refuse;
	struct tls_floor *tls;
	struct ring ring;
	struct conn *conns[FD_MAX];
	int listener, segment;
	bool write, writing;
	size_t segment_size, segment_at;
	struct stage stages[2];
	unsigned filling;
	volatile uint64_t *count;
	unsigned id;
};

static volatile sig_atomic_t stopping;
static const char ehlo_reply[] =
    "250-floor\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 HELP\r\n";

static uint64_t tag(enum op op, int fd)
{
	return (uint64_t)op << 32 | (uint32_t)fd;
}

static void accept_arm(struct floor *f)
{
	struct io_uring_sqe *sqe = ring_sqe(&f->ring);

	io_uring_prep_multishot_accept(sqe, f->listener, NULL, NULL, 0);
	io_uring_sqe_set_data64(sqe, tag(OP_ACCEPT, f->listener));
}

static void conn_free(struct floor *f, struct conn *c)
{
	if (c->receiving || c->sending || c->waits)
		return;
	f->conns[c->fd] = NULL;
	close(c->fd);
	tls_conn_free(c->tls);
	free(c->reply);
	free(c);
}

static void conn_close(struct floor *f, struct conn *c)
{
	if (!c->closing) {
		c->closing = 1;
		shutdown(c->fd, SHUT_RDWR); /* ends the receive */
	}
	conn_free(f, c);
}

static void conn_send(struct floor *f, struct conn *c)
{
	struct io_uring_sqe *sqe;

	if (c->sending || !c->reply_len)
		return;
	sqe = ring_sqe(&f->ring);
	io_uring_prep_send(sqe, c->fd, c->reply, c->reply_len, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data64(sqe, tag(OP_SEND, c->fd));
	c->sending = 1;
	c->reply_sent = c->reply_len;
}

static void put(struct conn *c, const char *text, size_t len)
{
	if (!c->reply && !(c->reply = malloc(REPLY_MAX)))
		die("malloc", ENOMEM);
	if (c->reply_len + len > REPLY_MAX)
		return; /* a client that pipelines without reading: not one of ours */
	memcpy(c->reply + c->reply_len, text, len);
	c->reply_len += (uint16_t)len;
}

/* What the library has for the peer. */
static void put_tls(struct conn *c)
{
	const char *bytes;
	size_t len = tls_conn_take(c->tls, &bytes);

	if (len)
		put(c, bytes, len);
}

static void reply(struct conn *c, const char *text, size_t len)
{
	if (!c->tls) {
		put(c, text, len);
		return;
	}
	tls_conn_write(c->tls, text, len);
	put_tls(c);
}
#define REPLY(c, text) reply((c), (text), sizeof(text) - 1)

static void stage_write(struct floor *f)
{
	struct stage *s = &f->stages[f->filling];
	size_t len = (s->len + BLOCK - 1) & ~(size_t)(BLOCK - 1);
	struct io_uring_sqe *sqe;

	if (f->writing || s->len == 0)
		return;
	if (f->segment_at + len > f->segment_size)
		f->segment_at = 0;
	memset(s->bytes + s->len, 0, len - s->len);
	sqe = ring_sqe(&f->ring);
	io_uring_prep_write(sqe, f->segment, s->bytes, (unsigned)len, f->segment_at);
	sqe->rw_flags = RWF_DSYNC;
	io_uring_sqe_set_data64(sqe, tag(OP_WRITE, (int)len));
	f->segment_at += len;
	f->writing = true;
	f->filling ^= 1;
}

static void accepted(struct floor *f, struct conn *c)
{
	REPLY(c, "250 OK id=floor-000000-000000-00\r\n");
	f->count[f->id * 8]++; /* a cache line each */
}

static void stage_written(struct floor *f, int rc, int len)
{
	struct stage *s = &f->stages[f->filling ^ 1];

	if (rc != len)
		die("write", rc < 0 ? -rc : EIO);
	f->writing = false;
	for (struct conn *c = s->waiting, *next; c; c = next) {
		next = c->next;
		c->waits = 0;
		if (c->closing == 1) {
			conn_free(f, c);
			continue;
		}
		accepted(f, c);
		conn_send(f, c);
	}
	s->waiting = NULL;
	s->len = 0;
}

static void message_end(struct floor *f, struct conn *c)
{
	struct stage *s = &f->stages[f->filling];

	c->in_data = 0;
	c->at_line_start = 1;
	c->verb_len = 0;
	if (f->refuse == REFUSE_DATA) {
		REPLY(c, "550 refused\r\n");
		return;
	}
	if (!f->write) {
		accepted(f, c);
		return;
	}
	c->next = s->waiting;
	s->waiting = c;
	c->waits = 1;
}

/* Bytes of a body; returns how many belong to it. */
static size_t body_take(struct floor *f, struct conn *c, const char *bytes, size_t len)
{
	static const char end[] = "\r\n.\r\n";
	size_t take = len, tail = c->tail_len;
	char joint[9];
	const char *hit = NULL;

	/* The end across the border of two buffers. */
	size_t head = len < 4 ? len : 4;
	memcpy(joint, c->tail, tail);
	memcpy(joint + tail, bytes, head);
	if ((hit = memmem(joint, tail + head, end, 5)))
		take = (size_t)(hit - joint) + 5 - tail;
	else if ((hit = memmem(bytes, len, end, 5)))
		take = (size_t)(hit - bytes) + 5;
	if (f->write) {
		struct stage *s = &f->stages[f->filling];
		if (s->len + take > STAGE_SIZE - BLOCK)
			die("stage", ENOSPC);
		memcpy(s->bytes + s->len, bytes, take);
		s->len += take;
	}
	if (hit) {
		message_end(f, c);
	} else if (len >= 4) {
		memcpy(c->tail, bytes + len - 4, 4);
		c->tail_len = 4;
	} else {
		memcpy(joint, c->tail, tail);
		memcpy(joint + tail, bytes, len);
		size_t all = tail + len, keep = all < 4 ? all : 4;
		memcpy(c->tail, joint + all - keep, keep);
		c->tail_len = (uint8_t)keep;
	}
	return take;
}

static void command(const struct floor *f, struct conn *c)
{
	switch (c->verb[0] & 0xdf) {
	case 'E':
		reply(c, ehlo_reply, sizeof(ehlo_reply) - 1);
		break;
	case 'R':
		if ((c->verb[1] & 0xdf) == 'C' && f->refuse == REFUSE_RCPT)
			REPLY(c, "550 refused\r\n");
		else
			REPLY(c, "250 OK\r\n");
		break;
	case 'D':
		if (f->refuse == REFUSE_RCPT) {
			REPLY(c, "503 no recipient\r\n");
			break;
		}
		REPLY(c, "354 go ahead\r\n");
		c->in_data = 1;
		memcpy(c->tail, "\r\n", 2);
		c->tail_len = 2;
		break;
	case 'Q':
		REPLY(c, "221 bye\r\n");
		if (c->tls) {
			tls_conn_close(c->tls);
			put_tls(c);
		}
		c->closing = 2; /* after the send */
		break;
	case 'S':
		if (!f->tls || c->tls) {
			REPLY(c, "503 not now\r\n");
			break;
		}
		REPLY(c, "220 go ahead\r\n");
		c->tls = tls_conn_new(f->tls);
		break;
	default:
		REPLY(c, "250 OK\r\n");
	}
}

static void input(struct floor *f, struct conn *c, const char *bytes, size_t len)
{
	while (len > 0 && c->closing == 0) {
		if (c->in_data) {
			size_t took = body_take(f, c, bytes, len);
			bytes += took;
			len -= took;
			continue;
		}
		if (c->at_line_start) {
			c->verb_len = 0;
			c->at_line_start = 0;
		}
		while (c->verb_len < 4 && len > 0 && *bytes != '\n') {
			c->verb[c->verb_len++] = *bytes++;
			len--;
		}
		const char *nl = memchr(bytes, '\n', len);
		if (!nl)
			return;
		len -= (size_t)(nl + 1 - bytes);
		bytes = nl + 1;
		c->at_line_start = 1;
		command(f, c);
	}
}

static void tls_input(struct floor *f, struct conn *c, const char *bytes, size_t len)
{
	char *text;
	long n;

	tls_conn_feed(c->tls, bytes, len);
	while (!c->closing && (n = tls_conn_read(c->tls, &text)) > 0)
		input(f, c, text, (size_t)n);
	put_tls(c);
}

static void on_accept(struct floor *f, int rc, unsigned flags)
{
	struct conn *c;
	int one = 1;

	if (!(flags & IORING_CQE_F_MORE) && !stopping)
		accept_arm(f);
	if (rc < 0)
		return;
	if (rc >= FD_MAX || !(c = calloc(1, sizeof(*c)))) {
		close(rc);
		return;
	}
	setsockopt(rc, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->fd = rc;
	c->at_line_start = 1;
	c->receiving = 1;
	f->conns[rc] = c;
	ring_recv(&f->ring, rc, tag(OP_RECV, rc));
	REPLY(c, "220 floor ESMTP\r\n");
	conn_send(f, c);
}

static void on_recv(struct floor *f, int fd, int rc, unsigned flags)
{
	struct conn *c = f->conns[fd];

	if (rc > 0 && (flags & IORING_CQE_F_BUFFER)) {
		unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
		if (!c->closing)
			(c->tls ? tls_input : input)(f, c, ring_buf(&f->ring, id), (size_t)rc);
		ring_buf_return(&f->ring, id);
		if (!c->waits)
			conn_send(f, c);
	}
	if (flags & IORING_CQE_F_MORE)
		return;
	c->receiving = 0;
	if (c->closing != 1 && (rc > 0 || rc == -ENOBUFS)) {
		c->receiving = 1;
		ring_recv(&f->ring, fd, tag(OP_RECV, fd));
	} else {
		conn_close(f, c);
	}
}

static void on_send(struct floor *f, int fd, int rc)
{
	struct conn *c = f->conns[fd];

	c->sending = 0;
	if (rc != c->reply_sent) {
		conn_close(f, c);
		return;
	}
	c->reply_len -= c->reply_sent;
	memmove(c->reply, c->reply + c->reply_sent, c->reply_len);
	if (!c->reply_len) {
		free(c->reply); /* idle connections shall be small */
		c->reply = NULL;
	}
	if (c->reply_len)
		conn_send(f, c);
	else if (c->closing) {
		c->closing = 0;
		conn_close(f, c);
	}
}

static void segment_make(struct floor *f, const char *dir)
{
	static char zeros[1 << 20] __attribute__((aligned(BLOCK)));
	char path[4096];

	snprintf(path, sizeof(path), "%s/segment.%u", dir, f->id);
	f->segment = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	if (f->segment < 0)
		die(path, errno);
	/* Written once, so that a commit is a write of data and changes no extent. */
	for (size_t at = 0; at < f->segment_size; at += sizeof(zeros))
		if (pwrite(f->segment, zeros, sizeof(zeros), (off_t)at) != (ssize_t)sizeof(zeros))
			die(path, errno);
	if (fsync(f->segment) != 0)
		die(path, errno);
	for (unsigned i = 0; i < 2; i++) {
		f->stages[i].bytes =
		    mmap(NULL, STAGE_SIZE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
		if (f->stages[i].bytes == MAP_FAILED)
			die("mmap", errno);
	}
}

static void *floor_run(void *arg)
{
	struct floor *f = arg;

	ring_init(&f->ring, 4096, 1024);
	accept_arm(f);
	while (!stopping) {
		struct io_uring_cqe *cqe;
		struct __kernel_timespec wait = {.tv_nsec = 200000000};
		unsigned head, seen = 0;
		int rc = io_uring_submit_and_wait_timeout(&f->ring.uring, &cqe, 1, &wait, NULL);
		if (rc < 0 && rc != -ETIME && rc != -EINTR)
			die("io_uring_enter", -rc);
		io_uring_for_each_cqe(&f->ring.uring, head, cqe)
		{
			int fd = (int)(uint32_t)cqe->user_data;
			seen++;
			switch ((enum op)(cqe->user_data >> 32)) {
			case OP_ACCEPT:
				on_accept(f, cqe->res, cqe->flags);
				break;
			case OP_RECV:
				on_recv(f, fd, cqe->res, cqe->flags);
				break;
			case OP_SEND:
				on_send(f, fd, cqe->res);
				break;
			case OP_WRITE:
				stage_written(f, cqe->res, fd);
				break;
			case OP_STOP:
				break;
			}
		}
		io_uring_cq_advance(&f->ring.uring, seen);
		if (f->write)
			stage_write(f);
	}
	/* A ring outlives its process for a moment, and would go on taking connections. */
	shutdown(f->listener, SHUT_RDWR);
	close(f->listener);
	io_uring_queue_exit(&f->ring.uring);
	return NULL;
}

static int listen_on(unsigned port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&sin, sizeof(sin)) != 0 || listen(fd, 4096) != 0)
		die("listen", errno);
	return fd;
}

static void on_signal(int sig)
{
	(void)sig;
	stopping = 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"port", 1, NULL, 'p'},   {"threads", 1, NULL, 't'},  {"dir", 1, NULL, 'd'},
	    {"refuse", 1, NULL, 'r'}, {"no-write", 0, NULL, 'n'}, {"segment-mb", 1, NULL, 's'},
	    {"count", 1, NULL, 'c'},  {"tls", 1, NULL, 'T'},      {NULL, 0, NULL, 0},
	};
	static struct floor *floors[THREAD_MAX];
	static uint64_t counts_here[THREAD_MAX * 8];
	unsigned port = 0, threads = (unsigned)sysconf(_SC_NPROCESSORS_ONLN), segment_mb = 256;
	const char *dir = ".", *count = NULL;
	struct tls_floor *tls = NULL;
	char *key;
	uint64_t *counts = counts_here;
	enum refuse refuse = REFUSE_NOTHING;
	bool write = true;

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
		switch (o) {
		case 'p':
			port = (unsigned)atoi(optarg);
			break;
		case 't':
			threads = (unsigned)atoi(optarg);
			break;
		case 'd':
			dir = optarg;
			break;
		case 'n':
			write = false;
			break;
		case 'r':
			refuse = strcmp(optarg, "data") == 0 ? REFUSE_DATA : REFUSE_RCPT;
			break;
		case 's':
			segment_mb = (unsigned)atoi(optarg);
			break;
		case 'c':
			count = optarg;
			break;
		case 'T':
			if (!(key = strchr(optarg, ':')))
				die("--tls", EINVAL);
			*key++ = '\0';
			tls = tls_floor_open(optarg, key);
			break;
		default:
			return 1;
		}
	if (threads < 1 || threads > THREAD_MAX)
		die("--threads", EINVAL);
	if (count) {
		int fd = open(count, O_RDWR | O_CREAT | O_TRUNC, 0644);
		if (fd < 0 || ftruncate(fd, sizeof(counts_here)) != 0)
			die(count, errno);
		counts = mmap(NULL, sizeof(counts_here), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (counts == MAP_FAILED)
			die(count, errno);
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	for (unsigned i = 0; i < threads; i++) {
		struct floor *f = floors[i] = calloc(1, sizeof(*f));
		struct sockaddr_in sin;
		socklen_t len = sizeof(sin);
		if (!f)
			die("malloc", ENOMEM);
		f->id = i;
		f->count = counts;
		f->refuse = refuse;
		f->tls = tls;
		f->write = write && !refuse;
		f->segment_size = (size_t)segment_mb << 20;
		f->listener = listen_on(port);
		if (getsockname(f->listener, (struct sockaddr *)&sin, &len) != 0)
			die("getsockname", errno);
		port = ntohs(sin.sin_port);
		if (f->write)
			segment_make(f, dir);
	}
	for (unsigned i = 0; i < threads; i++)
		if ((errno = pthread_create(&floors[i]->thread, NULL, floor_run, floors[i])) != 0)
			die("pthread_create", errno);
	printf("listening %u\n", port);
	fflush(stdout);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(floors[i]->thread, NULL);
	return 0;
}
