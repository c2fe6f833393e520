/* Streams: echo, large transfers, the window, both ends of closing. */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

struct pair {
	struct stream *a, *b;
};

static void pair_make(struct shard *shard, struct pair *p)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(stream_new(shard, fds[0], fds[0], NULL, NULL, &p->a, NULL), OK);
	assert_int_equal(stream_new(shard, fds[1], fds[1], NULL, NULL, &p->b, NULL), OK);
}

/* Reads exactly len bytes; they are those that fill_pattern() makes, from offset on. */
static enum rc read_pattern(struct task *task, struct stream *s, size_t offset, size_t len, struct err *err)
{
	while (len) {
		struct slice in = stream_peek(s);

		if (!in.len) {
			enum rc rc = stream_fill(task, s, err);

			if (rc != OK)
				return rc;
			continue;
		}
		if (in.len > len)
			in.len = (uint32_t)len;
		for (uint32_t i = 0; i < in.len; i++)
			if (in.ptr[i] != (char)((offset + i) * 7 % 251))
				fail_msg("byte %zu is wrong", offset + i);
		assert_int_equal(in.taint, TAINTED);
		offset += in.len;
		len -= in.len;
		stream_consume(s, in.len);
	}
	return OK;
}

static void fill_pattern(char *bytes, size_t offset, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)((offset + i) * 7 % 251);
}

/* ---- Echo ---- */

static void echo_child(struct task *task, void *arg)
{
	struct stream *s = arg;
	struct err err = err_make(NULL);
	enum rc rc;

	while ((rc = stream_fill(task, s, &err)) == OK)
		while (stream_pending(s)) {
			struct slice in = stream_peek(s);

			assert_int_equal(stream_write(task, s, in, &err), OK);
			stream_consume(s, in.len);
		}
	assert_int_equal(rc, FAIL);
	assert_int_equal(err.os, 0);
	assert_true(stream_at_end(s));
	stream_close(s, false);
}

static void echo(struct task *task, void *arg)
{
	struct group group;
	struct pair p;
	struct err err = err_make(task->arena);
	char bytes[3000];
	size_t at = 0;

	(void)arg;
	pair_make(task->shard, &p);
	group_init(&group);
	assert_int_equal(group_spawn(task, &group, echo_child, p.b), OK);
	for (size_t len = 1; len < sizeof(bytes); len += 97, at += len - 97) {
		struct iovec iov[3] = {
		    {bytes, len / 3}, {bytes + len / 3, 0}, {bytes + len / 3, len - len / 3}};

		fill_pattern(bytes, at, len);
		assert_int_equal(stream_writev(task, p.a, iov, 3, &err), OK);
		assert_int_equal(read_pattern(task, p.a, at, len, &err), OK);
	}
	stream_shutdown_write(p.a);
	assert_int_equal(stream_fill(task, p.a, &err), FAIL);
	assert_int_equal(err.os, 0);
	assert_true(stream_at_end(p.a));
	stream_close(p.a, false);
	assert_int_equal(group_wait(task, &group), OK);
}

static void test_echo(void **state)
{
	(void)state;
	run_fn(echo, NULL);
}

/* ---- Large, with a reader that is slower than the window ---- */

#define LARGE (8u * 1024 * 1024)

static void large_writer(struct task *task, void *arg)
{
	struct stream *s = arg;
	static char bytes[256 * 1024];
	struct err err = err_make(NULL);

	for (size_t at = 0; at < LARGE; at += sizeof(bytes)) {
		struct iovec iov[40];

		fill_pattern(bytes, at, sizeof(bytes));
		for (unsigned i = 0; i < 40; i++)
			iov[i] = (struct iovec){bytes + i * 1000, i < 39 ? 1000 : sizeof(bytes) - 39 * 1000};
		assert_int_equal(stream_writev(task, s, iov, 40, &err), OK);
	}
	stream_shutdown_write(s);
}

static void large(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	struct group group;
	struct pair p;
	size_t most = 0;

	(void)arg;
	pair_make(task->shard, &p);
	group_init(&group);
	assert_int_equal(group_spawn(task, &group, large_writer, p.a), OK);
	while (stream_pending(p.b) < 64 * 1024)
		assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + 20 * NS_PER_MS), OK);
	most = stream_pending(p.b);
	assert_in_range(most, 64 * 1024, 1024 * 1024); /* it stopped soon after the window */
	for (size_t at = 0; at < LARGE; at += 65536) {
		assert_int_equal(read_pattern(task, p.b, at, 65536, &err), OK);
		if (at % (1024 * 1024) == 0)
			assert_int_equal(task_yield(task), OK);
	}
	assert_int_equal(stream_fill(task, p.b, &err), FAIL);
	assert_int_equal(group_wait(task, &group), OK);
	stream_close(p.a, false);
	stream_close(p.b, false);
}

static void test_large(void **state)
{
	(void)state;
	run_fn(large, NULL);
}

static void test_large_few_buffers(void **state)
{
	struct shard_stats stats;

	(void)state;
	stats =
	    run_with((struct shard_options){.cpu = -1, .buf_count = 2, .buf_size = 512, .buf_memory_max = 1},
		     large, NULL);
	assert_true(stats.enobufs > 0);
}

static void test_large_tiny_ring(void **state)
{
	(void)state;
	run_with((struct shard_options){.cpu = -1, .ring_entries = 1}, large, NULL);
}

/* ---- Closing ---- */

static void closing(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	struct pair p;

	(void)arg;
	/* With a receive under way, nothing else. */
	pair_make(task->shard, &p);
	stream_close(p.a, false);
	stream_close(p.b, true);
	/* The peer vanishes; then we still write. */
	pair_make(task->shard, &p);
	stream_close(p.a, false);
	assert_int_equal(stream_fill(task, p.b, &err), FAIL);
	assert_true(stream_at_end(p.b));
	assert_int_equal(stream_write(task, p.b, SLICE("anyone?"), &err), FAIL);
	assert_int_equal(err.os, EPIPE);
	assert_false(stream_write_now(p.b, SLICE("anyone?")));
	stream_close(p.b, false);
	/* Deadline and cancellation while waiting for input. */
	pair_make(task->shard, &p);
	task->until = task_until(task, 3);
	assert_int_equal(stream_fill(task, p.a, &err), DEFER);
	task->until = UNTIL_NEVER;
	assert_true(stream_write_now(p.b, SLICE("421 bye\r\n")));
	assert_int_equal(stream_fill(task, p.a, &err), OK);
	assert_true(slice_eq(stream_peek(p.a), SLICE("421 bye\r\n")));
	stream_close(p.a, false); /* with input unread */
	stream_close(p.b, false);
	/* A write that the peer does not take. */
	pair_make(task->shard, &p);
	stream_set_window(p.b, 1000);
	{
		static char bytes[4 * 1024 * 1024];
		struct iovec iov = {bytes, sizeof(bytes)};

		task->until = task_until(task, 20);
		assert_int_equal(stream_writev(task, p.a, &iov, 1, &err), DEFER);
		task->until = UNTIL_NEVER;
	}
	stream_close(p.a, true);
	stream_close(p.b, false);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + 5 * NS_PER_MS), OK);
}

static void test_closing(void **state)
{
	(void)state;
	run_fn(closing, NULL);
}

/* ---- A buffer that outlives its stream's interest ---- */

static void keep(struct task *task, void *arg)
{
	struct shard_stats stats;
	struct err err = err_make(task->arena);
	struct buf *bufs[40];
	const char *first[40];
	struct pair p;

	(void)arg;
	pair_make(task->shard, &p);
	for (unsigned i = 0; i < 40; i++) {
		char line[600];

		memset(line, 'a' + (char)(i % 26), sizeof(line));
		assert_int_equal(stream_write(task, p.a, slice_make(line, sizeof(line), CLEAN), &err), OK);
		assert_int_equal(stream_fill(task, p.b, &err), OK);
		bufs[i] = stream_peek_buf(p.b);
		first[i] = stream_peek(p.b).ptr;
		buf_ref(bufs[i]);
		stream_consume(p.b, stream_peek(p.b).len);
	}
	shard_stats(task->shard, &stats);
	assert_int_equal(stats.bufs_held, 40);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(first[i][0], 'a' + (char)(i % 26));
		assert_int_equal(first[i][599], 'a' + (char)(i % 26));
		buf_unref(bufs[i]);
	}
	shard_stats(task->shard, &stats);
	assert_int_equal(stats.bufs_held, 0);
	/* Byte by byte: they share buffers. */
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(stream_write(task, p.a, SLICE("x"), &err), OK);
		assert_int_equal(stream_fill(task, p.b, &err), OK);
	}
	assert_int_equal(stream_pending(p.b), 300);
	assert_int_equal(stream_peek(p.b).len, 300);
	shard_stats(task->shard, &stats);
	assert_int_equal(stats.bufs_held, 1);
	stream_close(p.a, false);
	stream_close(p.b, false);
}

static void test_keep(void **state)
{
	(void)state;
	run_fn(keep, NULL);
}

/* ---- Pipes ---- */

static void pipes(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	struct stream *s;
	int in[2], out[2];
	char bytes[16];

	(void)arg;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(stream_new(task->shard, in[0], out[1], NULL, NULL, &s, NULL), OK);
	task->until = task_until(task, 3);
	assert_int_equal(stream_fill(task, s, &err), DEFER);
	task->until = UNTIL_NEVER;
	assert_int_equal(write(in[1], "EHLO\r\n", 6), 6);
	assert_int_equal(stream_fill(task, s, &err), OK);
	assert_true(slice_eq(stream_peek(s), SLICE("EHLO\r\n")));
	stream_consume(s, 6);
	assert_int_equal(stream_write(task, s, SLICE("250 hello\r\n"), &err), OK);
	assert_int_equal(read(out[0], bytes, sizeof(bytes)), 11);
	assert_true(stream_write_now(s, SLICE("421 bye\r\n")));
	assert_int_equal(read(out[0], bytes, sizeof(bytes)), 9);
	close(out[0]);
	assert_int_equal(stream_write(task, s, SLICE("250 hello\r\n"), &err), FAIL);
	assert_int_equal(err.os, EPIPE);
	close(in[1]);
	assert_int_equal(stream_fill(task, s, &err), FAIL);
	assert_int_equal(err.os, 0);
	stream_close(s, false);
	/* Non-blocking input, closed while a read waits. */
	assert_int_equal(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(stream_new(task->shard, in[0], in[0], NULL, NULL, &s, NULL), OK);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	assert_int_equal(write(in[1], "x", 1), 1);
	assert_int_equal(stream_fill(task, s, &err), OK);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	stream_close(s, false);
	close(in[1]);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
}

static void test_pipes(void **state)
{
	(void)state;
	run_fn(pipes, NULL);
}

/* ---- Much at once ---- */

/* The kernel hands over all that is there, far beyond the window; the receive is told to pause once, not for each buffer. */
static void much(struct task *task, void *arg)
{
	static char bytes[150000];
	struct err err = err_make(task->arena);
	struct shard_stats before, after;
	size_t got = 0;
	struct stream *s;
	int fds[2];

	(void)arg;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(send(fds[0], bytes, sizeof(bytes), MSG_DONTWAIT), sizeof(bytes));
	shard_stats(task->shard, &before);
	assert_int_equal(stream_new(task->shard, fds[1], fds[1], NULL, NULL, &s, NULL), OK);
	stream_set_window(s, 10000);
	assert_int_equal(stream_fill(task, s, &err), OK);
	assert_true(stream_pending(s) > 5 * 10000);
	while (got < sizeof(bytes)) {
		got += stream_peek(s).len;
		stream_consume(s, stream_peek(s).len);
		if (!stream_pending(s) && got < sizeof(bytes))
			assert_int_equal(stream_fill(task, s, &err), OK);
	}
	shard_stats(task->shard, &after);
	assert_in_range(after.submissions - before.submissions, 2, 6);
	close(fds[0]);
	stream_close(s, false);
}

static void test_much(void **state)
{
	(void)state;
	run_fn(much, NULL);
}

/* ---- A layer ---- */

/* Each byte that comes in goes up twice. */
static enum stream_pumped twice(struct stream *s, void *layer)
{
	struct slice in;
	unsigned *pumped = layer;

	for (in = stream_raw_peek(s); in.len; in = stream_raw_peek(s)) {
		for (uint32_t i = 0; i < in.len; i++) {
			assert_true(stream_push_bytes(s, in.ptr + i, 1));
			assert_true(stream_push_bytes(s, in.ptr + i, 1));
		}
		*pumped += in.len;
		stream_raw_consume(s, in.len);
	}
	return PUMPED_INPUT;
}

static void layer_closed(struct stream *s, void *layer)
{
	(void)s;
	(void)layer;
}

/* What the peer said before the layer was there is its first input: a client answers "go ahead" at once, and who said that may
 * not have run since. */
static void layer(struct task *task, void *arg)
{
	static const struct stream_layer_ops ops = {.pump = twice, .close = layer_closed};
	struct err err = err_make(task->arena);
	unsigned pumped = 0;
	struct pair p;

	(void)arg;
	pair_make(task->shard, &p);
	assert_int_equal(stream_write(task, p.a, SLICE("ab"), &err), OK);
	assert_int_equal(stream_fill(task, p.b, &err), OK);
	assert_int_equal(stream_pending(p.b), 2);
	assert_true(stream_set_layer(p.b, &ops, &pumped));
	assert_int_equal(stream_pending(p.b), 0);
	assert_true(slice_eq(stream_raw_peek(p.b), SLICE("ab")));
	stream_look_again(p.b);
	assert_int_equal(pumped, 2);
	assert_int_equal(stream_write(task, p.a, SLICE("c"), &err), OK);
	while (stream_pending(p.b) < 6)
		assert_int_equal(stream_fill(task, p.b, &err), OK);
	assert_true(slice_eq(stream_peek(p.b), SLICE("aabbcc")));
	stream_close(p.a, false);
	stream_close(p.b, false);
	/* And one that has said nothing. */
	pair_make(task->shard, &p);
	assert_false(stream_set_layer(p.b, &ops, &pumped));
	stream_close(p.a, false);
	stream_close(p.b, false);
}

static void test_layer(void **state)
{
	(void)state;
	run_fn(layer, NULL);
}

/* ---- Listener and connect ---- */

#define CONNECTIONS 200
struct served {
	struct task *task;
	struct group group;
	struct listener *listener;
	unsigned accepted;
};

static void served_accept(void *arg, int fd)
{
	struct served *served = arg;
	struct stream *s;

	served->accepted++;
	assert_int_equal(stream_new(served->task->shard, fd, fd, NULL, NULL, &s, NULL), OK);
	assert_int_equal(group_spawn(served->task, &served->group, echo_child, s), OK);
}

static void client(struct task *task, void *arg)
{
	const struct ip_addr *to = arg;
	struct err err = err_make(NULL);
	struct stream *s;
	char bytes[500];
	int fd;

	assert_int_equal(connect_tcp(task, to, NULL, &fd, &err), OK);
	assert_int_equal(stream_new(task->shard, fd, fd, NULL, NULL, &s, NULL), OK);
	fill_pattern(bytes, 0, sizeof(bytes));
	assert_int_equal(stream_write(task, s, slice_make(bytes, sizeof(bytes), CLEAN), &err), OK);
	assert_int_equal(read_pattern(task, s, 0, sizeof(bytes), &err), OK);
	stream_close(s, false);
}

static int listen_any(struct ip_addr *at)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 512), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*at = ip_from_sockaddr((struct sockaddr *)&sin);
	return fd;
}

static void listening(struct task *task, void *arg)
{
	struct served served = {.task = task};
	struct err err = err_make(task->arena);
	struct group clients;
	struct ip_addr at, from;
	struct stream *s;
	int fd = listen_any(&at), c;

	(void)arg;
	group_init(&served.group);
	group_init(&clients);
	assert_int_equal(listener_new(task->shard, fd, served_accept, NULL, &served, &served.listener, &err),
			 OK);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		assert_int_equal(group_spawn(task, &clients, client, &at), OK);
	assert_int_equal(group_wait(task, &clients), OK);
	assert_int_equal(group_wait(task, &served.group), OK);
	assert_int_equal(served.accepted, CONNECTIONS);
	/* From another address of ours; reset by the client. */
	assert_true(ip_parse(SLICE("127.0.0.9"), &from));
	assert_int_equal(connect_tcp(task, &at, &from, &c, &err), OK);
	assert_int_equal(stream_new(task->shard, c, c, NULL, NULL, &s, NULL), OK);
	assert_int_equal(stream_write(task, s, SLICE("x"), &err), OK);
	assert_int_equal(stream_fill(task, s, &err), OK);
	stream_close(s, false);
	assert_int_equal(group_wait(task, &served.group), OK);
	listener_close(served.listener);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	close(fd);
	while (connect_tcp(task, &at, NULL, &c, &err) == OK) /* until the kernel has let go of it */
		close(c);
	assert_int_equal(err.os, ECONNREFUSED);
	assert_true(ip_parse(SLICE("192.0.2.1"), &from));
	assert_int_equal(connect_tcp(task, &at, &from, &c, &err), FAIL); /* not our address */
	assert_int_equal(err.os, EADDRNOTAVAIL);
	assert_int_equal(connect_unix(task, SLICE("/nonexistent/socket"), &c, &err), FAIL);
	assert_int_equal(err.os, ENOENT);
}

static void test_listening(void **state)
{
	struct shard_stats stats;

	(void)state;
	stats = run_fn(listening, NULL);
	assert_int_equal(stats.bufs_held, 0);
	stats =
	    run_with((struct shard_options){.cpu = -1, .ring_entries = 2, .buf_count = 4}, listening, NULL);
	assert_true(stats.sq_full > 0);
	assert_int_equal(stats.bufs_held, 0);
}

/* ---- A last word to a peer that is still talking ---- */

static void last_word(struct task *task, void *arg)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	struct ip_addr at;
	int fd = listen_any(&at), c, a;
	struct err err = err_make(task->arena);
	static char noise[200000];
	struct stream *s;
	ssize_t n, all = 0;
	char reply[100];

	(void)arg;
	sin.sin_port = htons(at.port);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int linger = 0; linger < 3; linger++) {
		c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(c, (struct sockaddr *)&sin, sizeof(sin)), 0);
		a = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		assert_int_equal(stream_new(task->shard, a, a, NULL, NULL, &s, NULL), OK);
		assert_int_equal(send(c, noise, sizeof(noise), MSG_DONTWAIT) > 0, 1);
		assert_int_equal(stream_fill(task, s, &err), OK);
		assert_int_equal(stream_write(task, s, SLICE("554 no\r\n"), &err), OK);
		if (linger == 2) {
			/* The peer does not close: it is over all the same. */
			stream_close_lingering(s, 5);
			assert_int_equal(task_sleep(task, shard_now(task->shard) + 20 * NS_PER_MS), OK);
			close(c);
			continue;
		}
		stream_close_lingering(s, 5000);
		for (int i = 0; i < 5; i++) {
			assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
			assert_true(send(c, noise, 1000, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
				    errno == EAGAIN);
		}
		while ((n = recv(c, reply, sizeof(reply), 0)) > 0)
			all += n;
		assert_int_equal(n, 0);
		close(c);
	}
	assert_int_equal(all, 2 * strlen("554 no\r\n"));
	assert_int_equal(task_sleep(task, shard_now(task->shard) + 5 * NS_PER_MS), OK);
	close(fd);
}

static void test_last_word(void **state)
{
	struct shard_stats stats;

	(void)state;
	stats = run_fn(last_word, NULL);
	assert_int_equal(stats.bufs_held, 0);
}

/* ---- A session without a fiber ---- */

struct session {
	struct stream *s;
	unsigned called;
	char got[64];
};

static void session_input(struct stream *s, void *arg)
{
	struct session *session = arg;
	struct slice in = stream_peek(s);

	session->called++;
	if (stream_at_end(s)) {
		stream_close(s, false);
		session->s = NULL;
		return;
	}
	strncat(session->got, in.ptr, in.len);
	stream_consume(s, in.len);
}

static void sessions(struct task *task, void *arg)
{
	struct session session = {0};
	int fds[2];

	(void)arg;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(stream_new(task->shard, fds[0], fds[0], session_input, &session, &session.s, NULL),
			 OK);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(write(fds[1], "abc", 3), 3);
		while (session.called == i)
			assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	}
	close(fds[1]);
	while (session.s)
		assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	assert_string_equal(session.got, "abcabcabcabcabc");
	assert_int_equal(session.called, 6);
}

static void test_sessions(void **state)
{
	(void)state;
	run_fn(sessions, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_echo),
	    cmocka_unit_test(test_large),
	    cmocka_unit_test(test_large_few_buffers),
	    cmocka_unit_test(test_large_tiny_ring),
	    cmocka_unit_test(test_closing),
	    cmocka_unit_test(test_keep),
	    cmocka_unit_test(test_pipes),
	    cmocka_unit_test(test_much),
	    cmocka_unit_test(test_layer),
	    cmocka_unit_test(test_listening),
	    cmocka_unit_test(test_last_word),
	    cmocka_unit_test(test_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
