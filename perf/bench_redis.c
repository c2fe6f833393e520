/* bench_redis: Redis lookups of 200 sessions on one shard, over the one connection that they share; beside it what a
 * process does that asks one by one and waits (hiredis' blocking call), as a forking server's do. Starts a
 * redis-server of its own on a Unix socket. */

#include <hiredis/hiredis.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lookup/lookup.h"

#define SESSIONS  200u
#define QUESTIONS 5000u /* of each */
#define ALONE     100000u

extern char **environ;

struct bench {
	struct shard *shard;
	char query_type[200];
	unsigned running;
	double wall, cpu;
};

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_redis: %s\n", what);
	exit(1);
}

static void report(const char *what, unsigned count, double wall, double cpu)
{
	printf("%-38s %9.0f/s  %6.2f us CPU a lookup\n", what, count / wall, cpu / count * 1e6);
}

/* One session: expands the query as an ACL would, and asks. */
static void session(void *arg)
{
	struct bench *b = arg;
	struct arena arena;
	struct task task;
	struct scope scope = {.task = &task};
	struct lookup_spec spec;
	struct slice value;
	struct err err;

	arena_init(&arena, 0);
	task_init(&task, b->shard, &arena, UNTIL_NEVER);
	for (unsigned i = 0; i < QUESTIONS; i++) {
		struct slice key = arena_printf(&arena, "GET key%u", i % 1000);

		err = err_make(&arena);
		check(lookup_spec_parse(slice_of(b->query_type), &spec, &err) == OK, "the type");
		if (lookup_find(&scope, &spec, SLICE_EMPTY, key, &value, NULL, NULL, &err) != OK ||
		    !slice_eq(value, SLICE("the value of a key"))) {
			fprintf(stderr, "bench_redis: %.*s\n", SLICE_ARG(err.text));
			exit(1);
		}
		arena_clear(&arena);
	}
	arena_done(&arena);
	if (--b->running)
		return;
	b->wall = seconds(CLOCK_MONOTONIC) - b->wall;
	b->cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - b->cpu;
	shard_stop(b->shard);
}

static void start(struct shard *shard, void *arg)
{
	struct bench *b = arg;

	b->wall = seconds(CLOCK_MONOTONIC);
	b->cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (b->running = 0; b->running < SESSIONS; b->running++)
		check(fiber_spawn(shard, session, b) == OK, "no fiber");
}

static void bench_shared(const char *path)
{
	struct shard_options options = {.cpu = -1};
	struct bench b = {.shard = NULL};
	struct err err = err_make(NULL);

	snprintf(b.query_type, sizeof(b.query_type), "redis,servers=(%s)//", path);
	check(shard_new(&options, &b.shard, &err) == OK, "no shard");
	check(shard_run(b.shard, start, &b, &err) == OK, "no io_uring");
	report("200 sessions, one connection", SESSIONS * QUESTIONS, b.wall, b.cpu);
	lookup_done(b.shard);
	shard_free(b.shard);
}

static void bench_alone(const char *path)
{
	redisContext *c = redisConnectUnix(path);
	double wall, cpu;

	check(c && !c->err, "no connection");
	for (unsigned i = 0; i < 1000; i++)
		freeReplyObject(redisCommand(c, "SET key%u %s", i, "the value of a key"));
	wall = seconds(CLOCK_MONOTONIC);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < ALONE; i++)
		freeReplyObject(redisCommand(c, "GET key%u", i % 1000));
	report("one by one, waiting (hiredis)", ALONE, seconds(CLOCK_MONOTONIC) - wall,
	       seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
	redisFree(c);
}

int main(void)
{
	char dir[] = "/tmp/bench_redis-XXXXXX", path[64];
	char *const argv[] = {"redis-server", "--port", "0",         "--unixsocket", path, "--save", "",
			      "--dir",        dir,      "--logfile", "/dev/null",    NULL};
	pid_t pid;

	check(mkdtemp(dir) != NULL, "no temporary directory");
	snprintf(path, sizeof(path), "%s/socket", dir);
	check(!posix_spawnp(&pid, "redis-server", NULL, NULL, argv, environ), "redis-server is not there");
	for (unsigned i = 0; i < 500 && access(path, F_OK); i++)
		usleep(10000);
	bench_alone(path);
	bench_shared(path);
	kill(pid, SIGTERM);
	(void)waitpid(pid, NULL, 0);
	(void)unlink(path);
	(void)rmdir(dir);
	return 0;
}
