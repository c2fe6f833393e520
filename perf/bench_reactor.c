/* What the reactor itself costs: switching, spawning, timers, and round trips through sockets. One line a
 *figure; CPU time (user and system) of this process, so that the other end counts too where there is one.
 *
 *	bench_reactor [connections] [round trips] [bytes] [buffers] */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reactor/reactor.h"

#define SWITCHES 2000000u
#define SPAWNS   1000000u
#define TIMERS   2000000u

static unsigned connections = 100, trips = 200000, message_size = 64;

static double cpu_ns(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ((double)ru.ru_utime.tv_sec + (double)ru.ru_stime.tv_sec) * 1e9 +
	       ((double)ru.ru_utime.tv_usec + (double)ru.ru_stime.tv_usec) * 1e3;
}

static void told(const char *what, double since, double count)
{
	printf("%-36s %9.1f ns CPU\n", what, (cpu_ns() - since) / count);
}

static void nothing(void *arg)
{
	++*(unsigned *)arg;
}

/* ---- Switch, spawn, timers ---- */

/* Through a queue: the loop between two wakes is not asked for anything, and the kernel is not entered more
 * than once for each round of all fibers. */
static void switcher(struct task *task, void *arg)
{
	unsigned *left = arg;

	while (*left) {
		--*left;
		if (task_yield(task) != OK)
			return;
	}
}

static void bench_switch(struct task *task)
{
	unsigned left = SWITCHES;
	struct group group;
	double since = cpu_ns();

	group_init(&group);
	for (unsigned i = 0; i < 1000; i++)
		if (group_spawn(task, &group, switcher, &left) != OK)
			abort();
	if (group_wait(task, &group) != OK)
		abort();
	told("fiber: park and resume", since, SWITCHES);
}

static void bench_spawn(struct task *task)
{
	unsigned count = 0;
	double since = cpu_ns();

	while (count < SPAWNS) {
		for (unsigned i = 0; i < 100; i++)
			if (fiber_spawn(task->shard, nothing, &count) != OK)
				abort();
		if (task_yield(task) != OK)
			abort();
	}
	told("fiber: spawn, run, end", since, SPAWNS);
}

static void never(struct timer *timer)
{
	(void)timer;
}

static void bench_timer(struct task *task)
{
	static struct timer timers[10000];
	double since = cpu_ns();

	for (unsigned i = 0; i < TIMERS; i++) {
		struct timer *timer = &timers[i % 10000];

		if (i >= 10000)
			timer_cancel(task->shard, timer);
		timer_init(timer, never);
		timer_set(task->shard, timer, shard_now(task->shard) + 300 * NS_PER_S + i * 1000);
	}
	for (unsigned i = 0; i < 10000; i++)
		timer_cancel(task->shard, &timers[i]);
	told("timer: set and cancel, 10,000 set", since, TIMERS);
}

/* ---- Echo ---- */

struct echo {
	struct task *task;
	struct listener *listener;
	unsigned left, done;
	int fd;
	bool fiberless;
	struct group servers;
};

static void serve(struct task *task, void *arg)
{
	struct stream *s = arg;

	do
		while (stream_pending(s)) {
			struct slice in = stream_peek(s);

			if (stream_write(task, s, in, NULL) != OK)
				break;
			stream_consume(s, in.len);
		}
	while (stream_fill(task, s, NULL) == OK);
	stream_close(s, false);
}

struct session {
	struct stream *s;
	struct task task;
	struct arena arena;
	bool busy;
};

/* As the server works: a fiber per command. */
static void command(void *arg)
{
	struct session *session = arg;

	while (stream_pending(session->s)) {
		struct slice in = stream_peek(session->s);

		if (stream_write(&session->task, session->s, in, NULL) != OK)
			break;
		stream_consume(session->s, in.len);
	}
	session->busy = false;
	if (stream_at_end(session->s)) {
		stream_close(session->s, false);
		free(session);
	}
}

static void session_input(struct stream *s, void *arg)
{
	struct session *session = arg;

	if (session->busy)
		return;
	session->busy = true;
	if (fiber_spawn(stream_shard(s), command, session) != OK)
		abort();
}

static void accepted(void *arg, int fd)
{
	struct echo *echo = arg;
	struct shard *shard = echo->task->shard;
	struct stream *s;

	if (echo->fiberless) {
		struct session *session = calloc(1, sizeof(*session));

		task_init(&session->task, shard, &session->arena, UNTIL_NEVER);
		if (stream_new(shard, fd, fd, session_input, session, &session->s, NULL) != OK)
			abort();
		return;
	}
	if (stream_new(shard, fd, fd, NULL, NULL, &s, NULL) != OK ||
	    group_spawn(echo->task, &echo->servers, serve, s) != OK)
		abort();
}

static void ask(struct task *task, void *arg)
{
	struct echo *echo = arg;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	static char bytes[1024 * 1024];
	struct ip_addr to;
	struct stream *s;
	int fd;

	getsockname(echo->fd, (struct sockaddr *)&sa, &len);
	to = ip_from_sockaddr((struct sockaddr *)&sa);
	if (connect_tcp(task, &to, NULL, &fd, NULL) != OK ||
	    stream_new(task->shard, fd, fd, NULL, NULL, &s, NULL) != OK)
		abort();
	while (echo->left) {
		size_t got = 0;

		echo->left--;
		if (stream_write(task, s, slice_make(bytes, message_size, CLEAN), NULL) != OK)
			abort();
		while (got < message_size) {
			struct slice in;

			while (!stream_pending(s))
				if (stream_fill(task, s, NULL) != OK)
					abort();
			in = stream_peek(s);
			got += in.len;
			stream_consume(s, in.len);
		}
		echo->done++;
	}
	stream_close(s, false);
}

static void bench_echo(struct task *task, bool fiberless, const char *what)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct echo echo = {.task = task, .left = trips, .fd = fd, .fiberless = fiberless};
	struct group clients;
	double since;

	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) || listen(fd, 4096))
		abort();
	group_init(&echo.servers);
	group_init(&clients);
	if (listener_new(task->shard, fd, accepted, NULL, &echo, &echo.listener, NULL) != OK)
		abort();
	since = cpu_ns();
	for (unsigned i = 0; i < connections; i++)
		if (group_spawn(task, &clients, ask, &echo) != OK)
			abort();
	if (group_wait(task, &clients) != OK || group_wait(task, &echo.servers) != OK)
		abort();
	told(what, since, trips);
	listener_close(echo.listener);
	close(fd);
}

static void bench(void *arg)
{
	struct task *task = arg;

	bench_switch(task);
	bench_spawn(task);
	bench_timer(task);
	bench_echo(task, false, "echo: round trip, fiber per stream");
	bench_echo(task, true, "echo: round trip, fiber per command");
	shard_stop(task->shard);
}

static void start(struct shard *shard, void *arg)
{
	struct task *task = arg;
	static struct arena arena;

	arena_init(&arena, 0);
	task_init(task, shard, &arena, UNTIL_NEVER);
	if (fiber_spawn(shard, bench, task) != OK)
		abort();
}

int main(int argc, char **argv)
{
	struct shard_options options = {.cpu = -1};
	struct shard_stats stats;
	struct shard *shard;
	struct task task;

	if (argc > 1)
		connections = (unsigned)atoi(argv[1]);
	if (argc > 2)
		trips = (unsigned)atoi(argv[2]);
	if (argc > 3)
		message_size = (unsigned)atoi(argv[3]);
	if (argc > 4)
		options.buf_count = (unsigned)atoi(argv[4]);
	if (shard_new(&options, &shard, NULL) != OK || shard_run(shard, start, &task, NULL) != OK)
		return 1;
	shard_stats(shard, &stats);
	printf("%lu rounds, %lu parks, %lu completions, %lu submissions, %lu ENOBUFS\n", stats.loops,
	       stats.parks, stats.completions, stats.submissions, stats.enobufs);
	shard_free(shard);
	return 0;
}
