/* tls-load: SMTP clients with STARTTLS, many at once on one thread, light enough that it is the server that has no time left when one of them runs on
 * each processor: a server that sleeps between two clients pays for each waking, and its CPU time tells less of what it could do.
 *
 *     tls-load PORT full|resumed|bulk|plain 1.2|1.3|none SECONDS CLIENTS [NOOPS [split]]
 *
 * full, resumed: EHLO, STARTTLS, handshake, EHLO, QUIT, again and again; each client keeps the last ticket that it was given. bulk: messages of a
 * megabyte over connections that stay. With "none" there is no TLS, but as many NOOPs in its place; "split": and EHLO behind them in two segments, as
 * it comes behind the last flight of a client that has the last word of the handshake. Prints "ready" when each client has been through once,
 * tickets in hand, and goes on; once there is a line on its standard input it counts, for so many seconds. Prints what was done then (connections, or megabytes),
 * how many connections were resumed, and the time in seconds. Exits with 1 if a server's answer was not what it should be.
 *
 * OpenSSL is the client's library, so that no server is measured with its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 4096, LINE = 78, LINES = 13200, RECORD = 16384 };

enum step { GREETING, EHLO, NOOP, STARTTLS, HANDSHAKE, EHLO_AGAIN, MAIL, RCPT, DATA, BODY, QUIT };

/* What is said in each step, and how the answer begins. */
static const struct {
	const char *say, *code;
} steps[] = {
    [GREETING] = {"", "220"},
    [EHLO] = {"EHLO c.example\r\n", "250"},
    [NOOP] = {"NOOP\r\n", "250"},
    [STARTTLS] = {"STARTTLS\r\n", "220"},
    [HANDSHAKE] = {"", ""},
    [EHLO_AGAIN] = {"EHLO c.example\r\n", "250"},
    [MAIL] = {"MAIL FROM:<a@c.example>\r\n", "250"},
    [RCPT] = {"RCPT TO:<b@bench.example>\r\n", "250"},
    [DATA] = {"DATA\r\n", "354"},
    [BODY] = {NULL, "250"}, /* the large message */
    [QUIT] = {"QUIT\r\n", "221"},
};

struct client {
	int fd;
	enum step step;
	unsigned noops;
	bool fresh;   /* has not been through once */
	bool writing; /* waits until it may write on */
	SSL *ssl;
	SSL_SESSION *ticket;
	size_t sent, len;
	char text[4096]; /* of the reply so far */
};

static struct {
	struct sockaddr_in server;
	SSL_CTX *tls;
	bool resume, bulk, split;
	unsigned noops;
	int epoll;
	unsigned long done, resumed;
	double begun; /* 0 until it counts */
	bool ending;
	unsigned open, fresh;
	char *body;
	size_t body_len;
} all;

static void die(const char *what)
{
	fprintf(stderr, "tls-load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(struct client *c, int how, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = c};

	if (epoll_ctl(all.epoll, how, c->fd, &event))
		die("epoll_ctl");
}

static void start(struct client *c)
{
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 ||
	    (connect(c->fd, (struct sockaddr *)&all.server, sizeof(all.server)) && errno != EINPROGRESS))
		die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->step = GREETING;
	c->noops = c->len = c->sent = 0;
	c->writing = false;
	all.open++;
	watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void finish(struct client *c)
{
	if (c->ssl) {
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN); /* or the ticket is held to be spoilt */
		SSL_free(c->ssl);
	}
	c->ssl = NULL;
	close(c->fd);
	all.open--;
	if (!all.ending)
		start(c);
}

/* A ticket came (with TLS 1.3 behind the handshake); the last one is kept. Returns that it was taken. */
static int on_ticket(SSL *ssl, SSL_SESSION *ticket)
{
	struct client *c = SSL_get_app_data(ssl);

	SSL_SESSION_free(c->ticket);
	c->ticket = ticket;
	return 1;
}

static void say(struct client *c)
{
	const char *text = steps[c->step].say ? steps[c->step].say : all.body;
	size_t len = steps[c->step].say ? strlen(text) : all.body_len;
	bool was = c->writing;
	ssize_t n;

	if (all.split && c->step == EHLO_AGAIN && send(c->fd, text, 4, MSG_NOSIGNAL) == 4)
		c->sent = 4;
	while (c->sent < len) {
		size_t piece = len - c->sent < RECORD ? len - c->sent
						      : RECORD; /* with TLS and without, to be compared */

		n = c->ssl ? SSL_write(c->ssl, text + c->sent, (int)piece)
			   : send(c->fd, text + c->sent, piece, MSG_NOSIGNAL);
		if (n <= 0 &&
		    (c->ssl ? SSL_get_error(c->ssl, (int)n) != SSL_ERROR_WANT_WRITE : errno != EAGAIN))
			die("the connection broke");
		if (n <= 0)
			break;
		c->sent += (size_t)n;
	}
	c->writing = c->sent < len;
	if (c->writing != was)
		watch(c, EPOLL_CTL_MOD, c->writing ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void enter(struct client *c, enum step step)
{
	c->step = step;
	c->sent = c->len = 0;
	say(c);
}

static void handshake(struct client *c)
{
	int rc = SSL_connect(c->ssl);

	if (rc != 1 && SSL_get_error(c->ssl, rc) != SSL_ERROR_WANT_READ) {
		ERR_print_errors_fp(stderr);
		die("no handshake");
	}
	if (rc != 1)
		return;
	all.resumed += (unsigned long)SSL_session_reused(c->ssl);
	enter(c, EHLO_AGAIN);
}

static void handshake_begin(struct client *c)
{
	c->step = HANDSHAKE;
	c->ssl = SSL_new(all.tls);
	if (!c->ssl || !SSL_set_fd(c->ssl, c->fd))
		die("SSL_new");
	SSL_set_app_data(c->ssl, c);
	SSL_set_tlsext_host_name(c->ssl, "bench.example");
	if (all.resume && c->ticket)
		SSL_set_session(c->ssl, c->ticket);
	handshake(c);
}

/* A message, or a connection, went well. */
static void count(struct client *c)
{
	all.done++;
	if (!c->fresh)
		return;
	c->fresh = false;
	if (--all.fresh)
		return;
	puts("ready");
	fflush(stdout);
}

/* All that are to be there are ready. */
static void begin(void)
{
	struct epoll_event none = {0};

	(void)epoll_ctl(all.epoll, EPOLL_CTL_DEL, STDIN_FILENO, &none);
	all.done = all.resumed = 0;
	all.begun = now();
}

static void next(struct client *c)
{
	switch (c->step) {
	case GREETING:
		enter(c, EHLO);
		return;
	case EHLO:
	case NOOP:
		if (c->noops < all.noops) {
			c->noops++;
			enter(c, NOOP);
		} else {
			enter(c, all.tls ? STARTTLS : EHLO_AGAIN);
		}
		return;
	case STARTTLS:
		handshake_begin(c);
		return;
	case HANDSHAKE:
		return;
	case EHLO_AGAIN:
		enter(c, all.bulk ? MAIL : QUIT);
		return;
	case MAIL:
	case RCPT:
	case DATA:
		enter(c, c->step + 1);
		return;
	case BODY:
		count(c);
		enter(c, all.ending ? QUIT : MAIL);
		return;
	case QUIT:
		if (!all.bulk)
			count(c);
		finish(c);
		return;
	}
}

/* Whether the text ends with the last line of a reply. */
static bool whole(const struct client *c)
{
	const char *line;

	if (c->len < 4 || c->text[c->len - 1] != '\n')
		return false;
	line = memrchr(c->text, '\n', c->len - 1);
	return (line ? line + 1 : c->text)[3] == ' ';
}

static void on_readable(struct client *c)
{
	ssize_t n;

	if (c->step == HANDSHAKE) {
		handshake(c);
		return;
	}
	n = c->ssl ? SSL_read(c->ssl, c->text + c->len, (int)(sizeof(c->text) - c->len))
		   : recv(c->fd, c->text + c->len, sizeof(c->text) - c->len, 0);
	if (n <= 0) {
		if (c->ssl ? SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ : errno == EAGAIN)
			return;
		die("the connection broke");
	}
	c->len += (size_t)n;
	if (!whole(c))
		return;
	if (memcmp(c->text, steps[c->step].code, 3) != 0) {
		fprintf(stderr, "tls-load: step %d: %.*s", c->step, (int)c->len, c->text);
		exit(1);
	}
	next(c);
}

static void tls_prepare(const char *version)
{
	int number = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

	all.tls = SSL_CTX_new(TLS_client_method());
	if (!all.tls || !SSL_CTX_set_min_proto_version(all.tls, number) ||
	    !SSL_CTX_set_max_proto_version(all.tls, number))
		die("SSL_CTX_new");
	SSL_CTX_set_verify(all.tls, SSL_VERIFY_NONE, NULL); /* whose speed it is, is not ours */
	SSL_CTX_set_mode(all.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(all.tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(all.tls, on_ticket);
}

static void body_prepare(void)
{
	static const char head[] = "Subject: large\r\n\r\n";
	char *p = all.body = malloc(sizeof(head) + LINES * LINE + sizeof(".\r\n"));

	if (!p)
		die("malloc");
	p = stpcpy(p, head);
	for (unsigned i = 0; i < LINES; i++) {
		p += sprintf(p, "%06u ", i);
		memset(p, 'x', LINE - 9);
		p = stpcpy(p + LINE - 9, "\r\n");
	}
	p = stpcpy(p, ".\r\n");
	all.body_len = (size_t)(p - all.body);
}

int main(int argc, char **argv)
{
	static struct client clients[CLIENTS_MAX];
	struct epoll_event events[256];
	double seconds;

	all.fresh = argc < 6 ? 0 : (unsigned)atoi(argv[5]);
	if (!all.fresh || all.fresh > CLIENTS_MAX) {
		fprintf(
		    stderr,
		    "usage: tls-load PORT full|resumed|bulk|plain 1.2|1.3|none SECONDS CLIENTS [NOOPS [split]]\n");
		return 2;
	}
	all.server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
	all.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	all.resume = strcmp(argv[2], "resumed") == 0;
	all.bulk = strcmp(argv[2], "bulk") == 0;
	if (strcmp(argv[3], "none") != 0)
		tls_prepare(argv[3]);
	seconds = atof(argv[4]);
	all.noops = argc > 6 ? (unsigned)atoi(argv[6]) : 0;
	all.split = argc > 7 && !all.tls;
	body_prepare();
	all.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &(struct epoll_event){.events = EPOLLIN}))
		die("standard input");
	for (unsigned i = 0, count = all.fresh; i < count; i++) {
		clients[i].fresh = true;
		start(&clients[i]);
	}
	while (all.open) {
		int n = epoll_wait(all.epoll, events, 256, 30000);

		if (n <= 0)
			die("the server says no more");
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (!c)
				begin();
			else if (c->writing && events[i].events & EPOLLOUT)
				say(c);
			else
				on_readable(c);
		}
		all.ending = all.begun && now() >= all.begun + seconds;
	}
	printf("%lu %lu %.3f\n", all.done, all.resumed, now() - all.begun);
	return 0;
}
