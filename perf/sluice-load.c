/* sluice-load: SMTP load from many connections on one io_uring a thread.
 *
 * Closed loop (the default): each connection sends its next message when the last one was answered. Open loop
 * (--rate): messages fall due at random times (Poisson, by seed) whatever the server does; one that finds no
 * connection free waits, and its latency counts from when it was due, so that a server that stalls cannot hide it.
 *
 * Two latencies: "reply" from handing the last byte of the message to the kernel until the final reply, "whole"
 * from when the message was due (closed loop: from MAIL) until the final reply. */

#include "histogram.h"
#include "ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { THREAD_MAX = 16, SIZES_MAX = 32, FILES_MAX = 64, LINE_KEPT = 120, RETRY_PAUSE_MS = 20 };

enum op { OP_CONNECT, OP_RECV, OP_SEND };

enum state { IDLE, CONNECTING, BANNER, EHLO, READY, MAIL, RCPT, DATA, FINAL, RSET, QUIT, HELD };

struct config {
	struct sockaddr_storage server;
	socklen_t server_len;
	unsigned connections, per_connection, rcpts, threads, sources;
	uint64_t messages, seed;
	double seconds, rate, timeout_s;
	unsigned size_count, sizes[SIZES_MAX];
	double weights[SIZES_MAX]; /* cumulative, the last is 1 */
	bool pipeline, hold, json, lognormal;
	double median, sigma;
	const char *from, *to, *helo;
	const char *files[FILES_MAX];
	unsigned file_count;
};

/* What all threads read: the text of all messages, and the envelopes. */
struct material {
	char *text; /* header and lines, size_max bytes */
	size_t size_max;
	struct iovec files[FILES_MAX]; /* messages that were given, without their last line end */
	unsigned file_count;
	char mail[300], rcpt[300], ehlo[300];
	char *envelope; /* MAIL, RCPT..., DATA in one, for PIPELINING */
	size_t envelope_len;
};

struct conn {
	struct conn *next_ready;
	int fd;
	enum state state;
	bool receiving, sending, broken, eof;
	bool rset_due; /* with PIPELINING: in front of the next envelope (RFC 2920 section 3.1) */
	unsigned sent_messages, replies_due, rcpt_at;
	unsigned generation;
	int worst;            /* of the envelope's replies: 2xx, or the first 4xx or 5xx */
	unsigned line_len;    /* of the reply line that is coming in */
	char line[LINE_KEPT]; /* its start */
	uint64_t due_ns, dot_ns, retry_ns;
	struct iovec iov[3];
	struct msghdr msg;
};

struct results {
	uint64_t ok, temp, perm, lost, connects, connect_errors, late;
	struct histogram reply, whole;
	char strange[LINE_KEPT + 1]; /* the first 4xx or 5xx */
};

struct loader {
	pthread_t thread;
	unsigned id;
	const struct config *config;
	const struct material *material;
	struct ring ring;
	struct conn *conns;
	unsigned conn_count;
	uint64_t to_start; /* messages still to be begun; UINT64_MAX without a limit */
	uint64_t begun, done;
	uint64_t start_ns, stop_ns, end_ns, next_due_ns;
	uint64_t *dues; /* open loop: due and not begun, a ring */
	size_t due_first, due_count, due_room;
	struct conn *ready; /* open loop: connections that wait for work */
	uint64_t random;
	unsigned held, open;
	struct results results;
};

static volatile sig_atomic_t stopping;

/* ---- Random numbers: splitmix64 by seed, so that a run can be had again --------------------------------- */

static uint64_t random_u64(struct loader *l)
{
	uint64_t z = l->random += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static double random_unit(struct loader *l)
{
	return ((double)(random_u64(l) >> 11) + 0.5) * 0x1p-53;
}

static size_t size_next(struct loader *l)
{
	const struct config *k = l->config;

	if (k->lognormal) {
		double n = sqrt(-2 * log(random_unit(l))) * cos(2 * M_PI * random_unit(l));
		double size = k->median * exp(k->sigma * n);
		return size < 256                             ? 256
		       : size > (double)l->material->size_max ? l->material->size_max
							      : (size_t)size;
	}
	if (k->size_count == 1)
		return k->sizes[0];
	double u = random_unit(l);
	for (unsigned i = 0; i < k->size_count; i++)
		if (u < k->weights[i])
			return k->sizes[i];
	return k->sizes[k->size_count - 1];
}

/* ---- Sending ---------------------------------------------------------------------------------------------- */

/* The number of the connection, its life (a late completion of an earlier one is dropped), and what it was. */
static uint64_t tag(const struct loader *l, enum op op, const struct conn *c)
{
	return (uint64_t)op << 56 | (uint64_t)(c->generation & 0xffffff) << 32 | (uint32_t)(c - l->conns);
}

static void send_iov(struct loader *l, struct conn *c, unsigned count)
{
	struct io_uring_sqe *sqe = ring_sqe(&l->ring);

	c->msg = (struct msghdr){.msg_iov = c->iov, .msg_iovlen = count};
	io_uring_prep_sendmsg(sqe, c->fd, &c->msg, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data64(sqe, tag(l, OP_SEND, c));
	c->sending = true;
}

static void send_text(struct loader *l, struct conn *c, const char *text, size_t len, enum state next)
{
	c->state = next;
	c->iov[0] = (struct iovec){(void *)text, len};
	send_iov(l, c, 1);
}

static void conn_end(struct loader *l, struct conn *c);

static void conn_start(struct loader *l, struct conn *c)
{
	const struct config *k = l->config;
	struct io_uring_sqe *sqe;
	int one = 1;

	c->fd = socket(k->server.ss_family, SOCK_STREAM, 0);
	if (c->fd < 0)
		die("socket", errno);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (k->sources > 1 && k->server.ss_family == AF_INET) {
		/* 127.1.x.y: more ports than one address has, and as many clients in the server's eyes. */
		unsigned n = (unsigned)((c - l->conns) * k->threads + l->id) % k->sources;
		struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001u + n)};
		setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
			die("bind", errno);
	}
	c->generation++;
	c->state = CONNECTING;
	c->sent_messages = c->line_len = 0;
	c->broken = c->eof = c->rset_due = false;
	l->open++;
	sqe = ring_sqe(&l->ring);
	io_uring_prep_connect(sqe, c->fd, (const struct sockaddr *)&k->server, k->server_len);
	io_uring_sqe_set_data64(sqe, tag(l, OP_CONNECT, c));
	c->sending = true;
}

static bool may_begin(const struct loader *l)
{
	return l->to_start > 0 && !stopping && (l->end_ns < l->stop_ns || l->due_count > 0);
}

static void message_begin(struct loader *l, struct conn *c, uint64_t due_ns)
{
	const struct material *m = l->material;

	c->due_ns = due_ns;
	c->worst = 0;
	c->rcpt_at = 0;
	c->sent_messages++;
	l->begun++;
	if (l->to_start != UINT64_MAX)
		l->to_start--;
	if (l->config->pipeline) {
		c->replies_due = l->config->rcpts + 2;
		c->state = DATA;
		c->iov[0] = (struct iovec){"RSET\r\n", 6};
		c->iov[c->rset_due] = (struct iovec){m->envelope, m->envelope_len};
		send_iov(l, c, 1 + c->rset_due);
		return;
	}
	send_text(l, c, m->mail, strlen(m->mail), MAIL);
}

/* What a connection does when it is free for the next message. */
static void conn_next(struct loader *l, struct conn *c)
{
	const struct config *k = l->config;

	if (k->hold) {
		c->state = HELD;
		l->held++;
		return;
	}
	if (c->broken || (k->per_connection && c->sent_messages >= k->per_connection) || !may_begin(l)) {
		send_text(l, c, "QUIT\r\n", 6, QUIT);
		return;
	}
	if (k->rate <= 0) {
		message_begin(l, c, now_ns());
		return;
	}
	if (l->due_count > 0) {
		uint64_t due = l->dues[l->due_first];
		l->due_first = (l->due_first + 1) % l->due_room;
		l->due_count--;
		message_begin(l, c, due);
		return;
	}
	c->state = READY;
	c->next_ready = l->ready;
	l->ready = c;
}

static void message_send(struct loader *l, struct conn *c)
{
	const struct material *m = l->material;

	if (m->file_count)
		c->iov[0] = m->files[l->begun % m->file_count];
	else
		c->iov[0] = (struct iovec){m->text, size_next(l)};
	c->iov[1] = (struct iovec){(void *)"\r\n.\r\n", 5};
	c->state = FINAL;
	c->dot_ns = now_ns();
	send_iov(l, c, 2);
}

static void message_done(struct loader *l, struct conn *c, int code)
{
	struct results *r = &l->results;
	uint64_t now = now_ns();

	l->done++;
	if (code / 100 == 2) {
		r->ok++;
		if (c->dot_ns)
			histogram_add(&r->reply, (now - c->dot_ns) / 1000);
		histogram_add(&r->whole, (now - c->due_ns) / 1000);
	} else if (code / 100 == 4) {
		r->temp++;
	} else if (code / 100 == 5) {
		r->perm++;
	} else {
		r->lost++;
	}
	c->dot_ns = 0;
}

/* ---- Replies ---------------------------------------------------------------------------------------------- */

static void envelope_refused(struct loader *l, struct conn *c)
{
	message_done(l, c, c->worst);
	if (l->config->pipeline) {
		c->rset_due = true;
		conn_next(l, c);
		return;
	}
	send_text(l, c, "RSET\r\n", 6, RSET);
}

static void reply_envelope(struct loader *l, struct conn *c, int code)
{
	const struct material *m = l->material;

	if (c->rset_due) { /* its reply */
		c->rset_due = false;
		return;
	}
	if (code >= 400 && !c->worst)
		c->worst = code;
	if (l->config->pipeline) {
		if (--c->replies_due > 0)
			return;
		if (code == 354 && c->worst) { /* every recipient was refused, and DATA was not */
			send_text(l, c, ".\r\n", 3, FINAL);
			return;
		}
		if (c->worst)
			envelope_refused(l, c);
		else
			message_send(l, c);
		return;
	}
	if (c->worst) {
		envelope_refused(l, c);
		return;
	}
	switch (c->state) {
	case MAIL:
		send_text(l, c, m->rcpt, strlen(m->rcpt), RCPT);
		break;
	case RCPT:
		if (++c->rcpt_at < l->config->rcpts)
			send_text(l, c, m->rcpt, strlen(m->rcpt), RCPT);
		else
			send_text(l, c, "DATA\r\n", 6, DATA);
		break;
	default:
		message_send(l, c);
	}
}

static void reply_line(struct loader *l, struct conn *c)
{
	int code;

	if (c->line_len < 4 || c->line[3] == '-') /* one of several lines */
		return;
	code = (c->line[0] - '0') * 100 + (c->line[1] - '0') * 10 + (c->line[2] - '0');
	if (code >= 400 && !l->results.strange[0])
		memcpy(l->results.strange, c->line, c->line_len < LINE_KEPT ? c->line_len : LINE_KEPT);
	if (code == 421)
		c->broken = true;
	switch (c->state) {
	case BANNER:
		if (code != 220)
			c->broken = true;
		else
			send_text(l, c, l->material->ehlo, strlen(l->material->ehlo), EHLO);
		break;
	case EHLO:
	case RSET:
		conn_next(l, c);
		break;
	case MAIL:
	case RCPT:
	case DATA:
		reply_envelope(l, c, code);
		break;
	case FINAL:
		message_done(l, c, c->worst ? c->worst : code);
		conn_next(l, c);
		break;
	default: /* QUIT's own, or a word too many */
		break;
	}
}

static void input(struct loader *l, struct conn *c, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != '\n') {
			if (c->line_len < LINE_KEPT)
				c->line[c->line_len++] = bytes[i];
			continue;
		}
		reply_line(l, c);
		c->line_len = 0;
	}
}

/* ---- Connections' ends -------------------------------------------------------------------------------------- */

/* The connection is over as soon as nothing of it is under way; then the next, unless all is done. */
static void conn_end(struct loader *l, struct conn *c)
{
	uint64_t now;

	if (c->receiving || c->sending)
		return;
	if (c->state == MAIL || c->state == RCPT || c->state == DATA || c->state == FINAL)
		message_done(l, c, 0);
	if (c->state == READY) {
		for (struct conn **p = &l->ready; *p; p = &(*p)->next_ready)
			if (*p == c) {
				*p = c->next_ready;
				break;
			}
	}
	if (c->state == HELD)
		l->held--;
	close(c->fd);
	l->open--;
	now = now_ns();
	if (c->state != QUIT && c->state != READY && c->sent_messages == 0) {
		l->results.connect_errors++;
		c->retry_ns = now + RETRY_PAUSE_MS * 1000000ull;
	}
	c->state = IDLE;
	if (c->retry_ns <= now && may_begin(l) && !l->config->hold)
		conn_start(l, c);
}

static void on_connect(struct loader *l, struct conn *c, int rc)
{
	c->sending = false;
	if (rc < 0) {
		conn_end(l, c);
		return;
	}
	l->results.connects++;
	c->state = BANNER;
	c->receiving = true;
	ring_recv(&l->ring, c->fd, tag(l, OP_RECV, c));
}

static void on_recv(struct loader *l, struct conn *c, int rc, unsigned flags)
{
	if (flags & IORING_CQE_F_BUFFER) {
		unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
		if (rc > 0)
			input(l, c, ring_buf(&l->ring, id), (size_t)rc);
		ring_buf_return(&l->ring, id);
	}
	if (flags & IORING_CQE_F_MORE)
		return;
	if (rc > 0 || rc == -ENOBUFS) {
		ring_recv(&l->ring, c->fd, tag(l, OP_RECV, c));
		return;
	}
	c->receiving = false;
	conn_end(l, c);
}

static void on_send(struct loader *l, struct conn *c, int rc)
{
	c->sending = false;
	if (rc < 0) {
		c->broken = true;
		shutdown(c->fd, SHUT_RDWR);
	}
	if (!c->receiving)
		conn_end(l, c);
}

/* ---- The loop ------------------------------------------------------------------------------------------------ */

/* Open loop: what has fallen due goes to a free connection, or queues. */
static void dues_begin(struct loader *l, uint64_t now)
{
	while (l->next_due_ns <= now && l->to_start > l->due_count && now < l->stop_ns && !stopping) {
		uint64_t due = l->next_due_ns;
		double mean_ns = 1e9 * l->config->threads / l->config->rate;
		l->next_due_ns += (uint64_t)(-log(random_unit(l)) * mean_ns);
		if (l->ready) {
			struct conn *c = l->ready;
			l->ready = c->next_ready;
			message_begin(l, c, due);
			continue;
		}
		l->results.late++;
		if (l->due_count == l->due_room)
			die("the server is so far behind that the queue of due messages is full", EOVERFLOW);
		l->dues[(l->due_first + l->due_count++) % l->due_room] = due;
	}
}

static void connections_start(struct loader *l, uint64_t now)
{
	for (unsigned i = 0; i < l->conn_count; i++)
		if (l->conns[i].state == IDLE && l->conns[i].retry_ns <= now)
			conn_start(l, &l->conns[i]);
}

static bool loader_finished(struct loader *l)
{
	if (l->config->hold)
		return stopping || l->held == l->conn_count;
	return l->done >= l->begun && !may_begin(l) && l->due_count == 0;
}

static void wait_for_work(struct loader *l, uint64_t now)
{
	uint64_t wait_ns = 100000000;
	struct __kernel_timespec wait;
	struct io_uring_cqe *cqe;

	if (l->config->rate > 0 && l->next_due_ns < now + wait_ns)
		wait_ns = l->next_due_ns > now ? l->next_due_ns - now : 1000;
	if (l->open < l->conn_count)
		wait_ns = wait_ns < 5000000 ? wait_ns : 5000000; /* some wait to be tried again */
	wait.tv_sec = 0;
	wait.tv_nsec = (long long)wait_ns;
	int rc = io_uring_submit_and_wait_timeout(&l->ring.uring, &cqe, 1, &wait, NULL);
	if (rc < 0 && rc != -ETIME && rc != -EINTR)
		die("io_uring_enter", -rc);
}

static void completions_take(struct loader *l)
{
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;

	io_uring_for_each_cqe(&l->ring.uring, head, cqe)
	{
		struct conn *c = &l->conns[(uint32_t)cqe->user_data];
		seen++;
		if ((c->generation & 0xffffff) != ((cqe->user_data >> 32) & 0xffffff))
			continue;
		switch ((enum op)(cqe->user_data >> 56)) {
		case OP_CONNECT:
			on_connect(l, c, cqe->res);
			break;
		case OP_RECV:
			on_recv(l, c, cqe->res, cqe->flags);
			break;
		case OP_SEND:
			on_send(l, c, cqe->res);
			break;
		}
	}
	io_uring_cq_advance(&l->ring.uring, seen);
}

static void *loader_run(void *arg)
{
	struct loader *l = arg;
	const struct config *k = l->config;
	uint64_t now = now_ns(), give_up = now + (uint64_t)(k->timeout_s * 1e9);

	ring_init(&l->ring, 8192, 1024);
	l->start_ns = l->next_due_ns = now;
	l->stop_ns = k->seconds > 0 ? now + (uint64_t)(k->seconds * 1e9) : UINT64_MAX;
	connections_start(l, now);
	while (!loader_finished(l) && now < give_up) {
		wait_for_work(l, now);
		completions_take(l);
		now = now_ns();
		l->end_ns = now;
		if (k->rate > 0)
			dues_begin(l, now);
		if (l->open < l->conn_count && (k->hold || may_begin(l)))
			connections_start(l, now);
	}
	l->end_ns = now_ns();
	l->results.lost += l->begun - l->done;
	return NULL;
}

/* ---- Start, and the sum ---------------------------------------------------------------------------------------- */

/* A message from a file: CRLF line ends, and no line that begins with a dot. */
static struct iovec message_read(const char *name)
{
	FILE *f = fopen(name, "r");
	struct iovec text = {NULL, 0};
	size_t room;
	FILE *out;
	int c;

	if (!f)
		die(name, errno);
	out = open_memstream((char **)&text.iov_base, &room);
	if (!out)
		die("malloc", ENOMEM);
	while ((c = getc(f)) != EOF)
		putc(c, out);
	fclose(f);
	fclose(out);
	text.iov_len = room;
	if (room < 2 || memcmp((char *)text.iov_base + room - 2, "\r\n", 2) != 0 ||
	    memmem(text.iov_base, room, "\n.", 2))
		die(name, EINVAL);
	text.iov_len -= 2;
	return text;
}

static void material_make(struct material *m, const struct config *k)
{
	static const char line[] = "the quick brown fox jumps over the lazy dog and pays the postage due\r\n";
	size_t at, room;
	FILE *envelope;

	m->size_max = 0;
	for (unsigned i = 0; i < k->size_count; i++)
		if (k->sizes[i] > m->size_max)
			m->size_max = k->sizes[i];
	m->text = malloc(m->size_max + 1024);
	if (!m->text)
		die("malloc", ENOMEM);
	at = (size_t)sprintf(
	    m->text,
	    "From: <%.200s>\r\nTo: <%.200s>\r\nSubject: load\r\nDate: Sat, 21 Nov 2026 00:00:00 +0000\r\n"
	    "Message-ID: <load@bench.example>\r\n\r\n",
	    k->from, k->to);
	for (; at < m->size_max; at += sizeof(line) - 1)
		memcpy(m->text + at, line,
		       m->size_max - at < sizeof(line) - 1 ? m->size_max - at : sizeof(line) - 1);
	for (; m->file_count < k->file_count; m->file_count++)
		m->files[m->file_count] = message_read(k->files[m->file_count]);
	snprintf(m->ehlo, sizeof(m->ehlo), "EHLO %.200s\r\n", k->helo);
	snprintf(m->mail, sizeof(m->mail), "MAIL FROM:<%.200s>\r\n", k->from);
	snprintf(m->rcpt, sizeof(m->rcpt), "RCPT TO:<%.200s>\r\n", k->to);
	envelope = open_memstream(&m->envelope, &room);
	if (!envelope)
		die("malloc", ENOMEM);
	fputs(m->mail, envelope);
	for (unsigned i = 0; i < k->rcpts; i++)
		fputs(m->rcpt, envelope);
	fputs("DATA\r\n", envelope);
	fclose(envelope);
	m->envelope_len = room;
}

static void usage(void)
{
	fputs(
	    "sluice-load --server HOST:PORT [options]\n"
	    "  --connections N      at a time (1)\n"
	    "  --per-connection N   messages before QUIT and the next connection; 0: no limit (0)\n"
	    "  --messages N         in all; or\n"
	    "  --seconds S          begin messages for so long (10 when neither is given)\n"
	    "  --rate R             open loop: messages due a second, at random times\n"
	    "  --size BYTES         of each message (4096)\n"
	    "  --sizes A:W,B:W...   sizes with their weights, or lognormal:MEDIAN:SIGMA:MAX\n"
	    "  --text FILE          this message in their place; given several times: in turns\n"
	    "  --rcpts N            recipients of each message (1)\n"
	    "  --from, --to, --helo what to say\n"
	    "  --pipeline           MAIL, RCPT and DATA in one packet; after a refused one, RSET in front of them\n"
	    "  --sources N          connect from N addresses of 127.1/16\n"
	    "  --hold               open the connections, say EHLO, print \"holding\", wait for end of input\n"
	    "  --threads N (1)  --seed N (1)  --timeout S (300)  --json\n",
	    stderr);
	exit(2);
}

static void server_parse(struct config *k, char *text)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)&k->server;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&k->server;
	char *colon = strrchr(text, ':');

	if (!colon)
		usage();
	*colon = 0;
	if (text[0] == '[' && colon[-1] == ']') {
		colon[-1] = 0;
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons((uint16_t)atoi(colon + 1));
		k->server_len = sizeof(*sin6);
		if (inet_pton(AF_INET6, text + 1, &sin6->sin6_addr) != 1)
			usage();
		return;
	}
	sin->sin_family = AF_INET;
	sin->sin_port = htons((uint16_t)atoi(colon + 1));
	k->server_len = sizeof(*sin);
	if (inet_pton(AF_INET, text, &sin->sin_addr) != 1)
		usage();
}

static void sizes_parse(struct config *k, char *text)
{
	double sum = 0;
	char *save = NULL;
	unsigned max;

	k->size_count = 0;
	if (sscanf(text, "lognormal:%lf:%lf:%u", &k->median, &k->sigma, &max) == 3) {
		k->lognormal = true;
		k->sizes[k->size_count++] = max;
		return;
	}
	for (char *part = strtok_r(text, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		double weight = 1;
		unsigned size;
		if (k->size_count == SIZES_MAX || sscanf(part, "%u:%lf", &size, &weight) < 1 || weight <= 0)
			usage();
		k->sizes[k->size_count] = size;
		k->weights[k->size_count++] = sum += weight;
	}
	if (!k->size_count)
		usage();
	for (unsigned i = 0; i < k->size_count; i++)
		k->weights[i] /= sum;
}

static void on_signal(int sig)
{
	(void)sig;
	stopping = 1;
}

static void print_times(const char *name, const struct histogram *h, const char *after)
{
	printf("\"%s_us\": {\"mean\": %.0f, \"p50\": %llu, \"p99\": %llu, \"p999\": %llu, \"max\": %llu}%s",
	       name, h->count ? (double)h->sum / (double)h->count : 0,
	       (unsigned long long)histogram_at(h, 0.5), (unsigned long long)histogram_at(h, 0.99),
	       (unsigned long long)histogram_at(h, 0.999), (unsigned long long)h->max, after);
}

static void report(const struct config *k, const struct results *r, double seconds)
{
	struct rusage use;
	double cpu_us;

	getrusage(RUSAGE_SELF, &use);
	cpu_us = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 +
		 (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
	uint64_t all = r->ok + r->temp + r->perm + r->lost;
	if (k->json) {
		printf("{\"ok\": %llu, \"temp\": %llu, \"perm\": %llu, \"lost\": %llu, \"connects\": %llu, "
		       "\"connect_errors\": %llu, \"late\": %llu, \"seconds\": %.3f, \"rate\": %.1f, ",
		       (unsigned long long)r->ok, (unsigned long long)r->temp, (unsigned long long)r->perm,
		       (unsigned long long)r->lost, (unsigned long long)r->connects,
		       (unsigned long long)r->connect_errors, (unsigned long long)r->late, seconds,
		       (double)(r->ok + r->perm + r->temp) / seconds);
		print_times("reply", &r->reply, ", ");
		print_times("whole", &r->whole, ", ");
		printf("\"own_cpu_us\": %.1f}\n", all ? cpu_us / (double)all : 0);
		return;
	}
	printf("%llu ok, %llu 4xx, %llu 5xx, %llu lost in %.2f s: %.0f messages a second\n",
	       (unsigned long long)r->ok, (unsigned long long)r->temp, (unsigned long long)r->perm,
	       (unsigned long long)r->lost, seconds, (double)(r->ok + r->perm + r->temp) / seconds);
	printf("%llu connections, %llu failed; %llu messages due late; own CPU %.1f us a message\n",
	       (unsigned long long)r->connects, (unsigned long long)r->connect_errors,
	       (unsigned long long)r->late, all ? cpu_us / (double)all : 0);
	print_times("reply", &r->reply, "\n");
	print_times("whole", &r->whole, "\n");
}

static void results_add(struct results *into, const struct results *from)
{
	into->ok += from->ok;
	into->temp += from->temp;
	into->perm += from->perm;
	into->lost += from->lost;
	into->connects += from->connects;
	into->connect_errors += from->connect_errors;
	into->late += from->late;
	histogram_merge(&into->reply, &from->reply);
	histogram_merge(&into->whole, &from->whole);
	if (!into->strange[0])
		memcpy(into->strange, from->strange, sizeof(into->strange));
}

static void options_parse(struct config *k, int argc, char **argv)
{
	static const struct option options[] = {
	    {"server", 1, NULL, 'S'},   {"connections", 1, NULL, 'c'}, {"per-connection", 1, NULL, 'k'},
	    {"messages", 1, NULL, 'm'}, {"seconds", 1, NULL, 's'},     {"rate", 1, NULL, 'r'},
	    {"size", 1, NULL, 'z'},     {"sizes", 1, NULL, 'Z'},       {"text", 1, NULL, 'M'},
	    {"rcpts", 1, NULL, 'R'},    {"from", 1, NULL, 'f'},        {"to", 1, NULL, 't'},
	    {"helo", 1, NULL, 'h'},     {"pipeline", 0, NULL, 'p'},    {"sources", 1, NULL, 'a'},
	    {"hold", 0, NULL, 'H'},     {"threads", 1, NULL, 'T'},     {"seed", 1, NULL, 'e'},
	    {"timeout", 1, NULL, 'o'},  {"json", 0, NULL, 'j'},        {NULL, 0, NULL, 0},
	};

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
		switch (o) {
		case 'S':
			server_parse(k, optarg);
			break;
		case 'c':
			k->connections = (unsigned)atoi(optarg);
			break;
		case 'k':
			k->per_connection = (unsigned)atoi(optarg);
			break;
		case 'm':
			k->messages = strtoull(optarg, NULL, 10);
			break;
		case 's':
			k->seconds = atof(optarg);
			break;
		case 'r':
			k->rate = atof(optarg);
			break;
		case 'z':
			k->sizes[0] = (unsigned)atoi(optarg);
			k->size_count = 1;
			break;
		case 'Z':
			sizes_parse(k, optarg);
			break;
		case 'M':
			if (k->file_count == FILES_MAX)
				usage();
			k->files[k->file_count++] = optarg;
			break;
		case 'R':
			k->rcpts = (unsigned)atoi(optarg);
			break;
		case 'f':
			k->from = optarg;
			break;
		case 't':
			k->to = optarg;
			break;
		case 'h':
			k->helo = optarg;
			break;
		case 'p':
			k->pipeline = true;
			break;
		case 'a':
			k->sources = (unsigned)atoi(optarg);
			break;
		case 'H':
			k->hold = true;
			break;
		case 'T':
			k->threads = (unsigned)atoi(optarg);
			break;
		case 'e':
			k->seed = strtoull(optarg, NULL, 10);
			break;
		case 'o':
			k->timeout_s = atof(optarg);
			break;
		case 'j':
			k->json = true;
			break;
		default:
			usage();
		}
	if (!k->server_len || !k->connections || !k->rcpts || k->threads < 1 || k->threads > THREAD_MAX ||
	    k->connections < k->threads || k->sources > 60000)
		usage();
	if (!k->messages && k->seconds <= 0)
		k->seconds = 10;
}

static void loader_make(struct loader *l, unsigned id, const struct config *k, const struct material *m)
{
	l->id = id;
	l->config = k;
	l->material = m;
	l->random = k->seed * 1000003 + id;
	l->conn_count = k->connections / k->threads + (id < k->connections % k->threads);
	l->to_start = k->messages ? k->messages / k->threads + (id < k->messages % k->threads) : UINT64_MAX;
	l->conns = calloc(l->conn_count, sizeof(*l->conns));
	l->due_room = k->rate > 0 ? 1 << 20 : 1;
	l->dues = calloc(l->due_room, sizeof(*l->dues));
	if (!l->conns || !l->dues)
		die("malloc", ENOMEM);
}

int main(int argc, char **argv)
{
	static struct config config = {.connections = 1,
				       .rcpts = 1,
				       .threads = 1,
				       .seed = 1,
				       .timeout_s = 300,
				       .size_count = 1,
				       .sizes = {4096},
				       .from = "sender@bench.example",
				       .to = "recipient@bench.example",
				       .helo = "client.bench.example"};
	static struct material material;
	static struct results sum;
	static struct loader loaders[THREAD_MAX];
	uint64_t start = UINT64_MAX, end = 0;
	struct rlimit files;

	options_parse(&config, argc, argv);
	material_make(&material, &config);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files); /* without it: as many connections as there are */
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	for (unsigned i = 0; i < config.threads; i++) {
		loader_make(&loaders[i], i, &config, &material);
		if ((errno = pthread_create(&loaders[i].thread, NULL, loader_run, &loaders[i])) != 0)
			die("pthread_create", errno);
	}
	for (unsigned i = 0; i < config.threads; i++) {
		pthread_join(loaders[i].thread, NULL);
		results_add(&sum, &loaders[i].results);
		start = loaders[i].start_ns < start ? loaders[i].start_ns : start;
		end = loaders[i].end_ns > end ? loaders[i].end_ns : end;
	}
	if (config.hold) {
		unsigned held = 0;
		for (unsigned i = 0; i < config.threads; i++)
			held += loaders[i].held;
		printf("holding %u\n", held);
		fflush(stdout);
		while (getchar() != EOF)
			;
		return held != config.connections;
	}
	report(&config, &sum, (double)(end - start) / 1e9);
	if (sum.strange[0])
		fprintf(stderr, "first refusal: %s\n", sum.strange);
	return sum.lost > 0 || (config.messages && sum.ok + sum.temp + sum.perm < config.messages);
}
