/* bench_spf: what one SPF check costs with its answers in the shard's cache: nanoseconds of one core, and calls of the system
 * allocator. Arguments: the name servers ("127.0.0.1:5353"), the sender, the client's address, how many checks. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mailauth/mailauth.h"
#include "allocations.h"

struct bench {
	struct shard *shard;
	char **argv;
	unsigned long rounds;
};

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* what others do on the machine does not count */
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void check(struct bench *b, struct arena *arena, struct spf_result *result)
{
	struct spf_query query = {.sender = slice_of(b->argv[2]),
				  .helo = SLICE("helo.example"),
				  .receiver = SLICE("mx.example"),
				  .guess = SLICE_EMPTY,
				  .explanation = SLICE("Please%_see%_http://www.open-spf.org/Why")};
	struct task task;

	if (!ip_parse(slice_of(b->argv[3]), &query.ip))
		exit(1);
	task_init(&task, b->shard, arena, shard_now(b->shard) + 30 * NS_PER_S);
	if (spf_check(&task, &mailauth_dns, &query, result) != OK)
		exit(1);
}

static void work(void *arg)
{
	struct bench *b = arg;
	struct spf_result result;
	struct arena arena;
	unsigned long before;
	double start;

	arena_init(&arena, 0);
	for (unsigned i = 0; i < 100; i++) {
		check(b, &arena, &result);
		arena_clear(&arena);
	}
	before = allocations;
	start = seconds();
	for (unsigned long i = 0; i < b->rounds; i++) {
		check(b, &arena, &result);
		arena_clear(&arena);
	}
	start = seconds() - start;
	check(b, &arena, &result);
	printf("%s from %s: %.*s, %u terms: %.2f us, %.2f allocations\n", b->argv[2], b->argv[3],
	       SLICE_ARG(mailauth_result_word(result.result)), result.terms, start / (double)b->rounds * 1e6,
	       (double)(allocations - before) / (double)b->rounds);
	arena_done(&arena);
	shard_stop(b->shard);
}

static void begin(struct shard *shard, void *arg)
{
	struct bench *b = arg;

	dns_configure(shard, &(struct dns_options){.servers = b->argv[1]});
	if (fiber_spawn(shard, work, b) != OK)
		exit(1);
}

int main(int argc, char **argv)
{
	struct shard_options options = {.count = 1, .cpu = -1, .backend = BACKEND_URING};
	struct bench b = {.argv = argv};
	struct err err = err_make(NULL);

	if (argc < 5) {
		fprintf(stderr, "usage: bench_spf SERVERS SENDER ADDRESS COUNT\n");
		return 2;
	}
	b.rounds = strtoul(argv[4], NULL, 10);
	if (shard_new(&options, &b.shard, &err) != OK || shard_run(b.shard, begin, &b, &err) != OK) {
		fprintf(stderr, "bench_spf: no shard\n");
		return 1;
	}
	dns_done(b.shard);
	shard_free(b.shard);
	return 0;
}
