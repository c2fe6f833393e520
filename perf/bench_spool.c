/* bench_spool: what it costs to store a message, without anything around it. Fibers store messages one after another
 * as fast as they are let; each is over at once, so that segments are used again.
 *
 *	bench_spool DIRECTORY [direct|buffered|unsynced] BODY_BYTES CONCURRENCY SECONDS [keep]
 *
 * direct: O_DIRECT | O_DSYNC; buffered: write, then fdatasync; unsynced: nothing is durable. "keep" leaves all messages
 * in the queue, so that the log grows. CPU is the process's, its kernel workers included. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "spool/log.h"

struct bench {
	const char *directory, *method;
	uint32_t body_len;
	unsigned concurrency;
	double seconds;
	bool keep;
	uint64_t end;
	struct spool *spool;
	struct id_source ids;
	uint64_t stored, latency_sum, latency_max;
};

static char envelope[1200], body[16 * 1024 * 1024];

static double cpu_seconds(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void client(struct task *task, void *arg)
{
	struct bench *b = arg;
	struct err err = err_make(task->arena);
	struct iovec iov = {envelope, sizeof(envelope)};
	struct frag frag = {NULL, body, b->body_len};

	while (now_ns() < b->end) {
		struct message_id id = message_id_next(&b->ids, shard_wall(task->shard));
		struct spool_entry *entry;
		uint64_t begun = now_ns(), took;

		if (spool_commit(task, b->spool, &id, 1, &iov, 1, NULL, &frag, 1, &entry, &err) != OK) {
			fprintf(stderr, "%.*s\n", SLICE_ARG(err.text));
			exit(1);
		}
		took = now_ns() - begun;
		b->latency_sum += took;
		if (took > b->latency_max)
			b->latency_max = took;
		b->stored++;
		if (!b->keep)
			spool_done(b->spool, entry);
	}
}

static void measure(struct task *task, struct bench *b)
{
	struct spool_stats before, after;
	struct group group;
	double cpu, seconds;
	uint64_t begun;

	b->end = now_ns() + NS_PER_S / 2; /* to warm up */
	group_init(&group);
	for (unsigned i = 0; i < b->concurrency; i++)
		if (group_spawn(task, &group, client, b) != OK)
			exit(1);
	if (group_wait(task, &group) != OK)
		exit(1);
	spool_stats(b->spool, &before);
	b->stored = b->latency_sum = b->latency_max = 0;
	cpu = cpu_seconds();
	begun = now_ns();
	b->end = begun + (uint64_t)(b->seconds * 1e9);
	for (unsigned i = 0; i < b->concurrency; i++)
		if (group_spawn(task, &group, client, b) != OK)
			exit(1);
	if (group_wait(task, &group) != OK)
		exit(1);
	seconds = (double)(now_ns() - begun) / 1e9;
	cpu = cpu_seconds() - cpu;
	spool_stats(b->spool, &after);
	printf(
	    "%-8s %6u bytes %4u at once: %8.0f/s %6.2f us CPU each, %6.1f a sync, latency us mean %.0f max %.0f, %.0f MB/s, %llu segments\n",
	    b->method, b->body_len, b->concurrency, (double)b->stored / seconds,
	    cpu * 1e6 / (double)b->stored, (double)b->stored / (double)(after.syncs - before.syncs),
	    (double)b->latency_sum / (double)b->stored / 1000, (double)b->latency_max / 1000,
	    (double)(after.bytes_written - before.bytes_written) / seconds / 1e6,
	    (unsigned long long)after.segments + (unsigned long long)after.segments_free);
}

static void found(void *arg, struct spool_entry *entry)
{
	(void)arg;
	(void)entry;
}

static void run(void *arg)
{
	struct bench *b = arg;
	struct arena arena;
	struct task task;
	struct err err;
	struct spool_options options = {.directory = b->directory,
					.sync = strcmp(b->method, "unsynced") != 0};
	uint64_t begun;

	arena_init(&arena, 0);
	err = err_make(&arena);
	task_init(&task, shard_here(), &arena, UNTIL_NEVER);
	b->ids = (struct id_source){.unique = (uint64_t)time(NULL), .host_number = -1};
	begun = now_ns();
	if (spool_open(&task, &options, found, NULL, &b->spool, &err) != OK) {
		fprintf(stderr, "%.*s\n", SLICE_ARG(err.text));
		exit(1);
	}
	if (spool_count(b->spool))
		printf("%u messages found in %.1f ms\n", spool_count(b->spool),
		       (double)(now_ns() - begun) / 1e6);
	if (strcmp(b->method, "buffered") == 0) {
		b->spool->direct = false;
		b->spool->sync_apart = true;
	}
	b->spool->no_zeros = getenv("NO_ZEROS") != NULL;
	if (b->concurrency)
		measure(&task, b);
	spool_close(&task, b->spool);
	arena_done(&arena);
	shard_stop(shard_here());
}

static void start(struct shard *shard, void *arg)
{
	if (fiber_spawn(shard, run, arg) != OK)
		exit(1);
}

int main(int argc, char **argv)
{
	struct shard_options options = {.count = 1, .cpu = -1};
	struct bench b = {0};
	struct shard *shard;
	struct err err = err_make(NULL);

	if (argc < 6) {
		fprintf(
		    stderr,
		    "usage: bench_spool DIRECTORY direct|buffered|unsynced BODY_BYTES CONCURRENCY SECONDS [keep]\n");
		return 2;
	}
	b.directory = argv[1];
	b.method = argv[2];
	b.body_len = (uint32_t)strtoul(argv[3], NULL, 10);
	b.concurrency = (unsigned)strtoul(argv[4], NULL, 10);
	b.seconds = strtod(argv[5], NULL);
	b.keep = argc > 6;
	if (b.body_len > sizeof(body))
		return 2;
	memset(envelope, 'e', sizeof(envelope));
	memset(body, 'b', sizeof(body));
	if (shard_new(&options, &shard, &err) != OK || shard_run(shard, start, &b, &err) != OK)
		return 1;
	shard_free(shard);
	return 0;
}
