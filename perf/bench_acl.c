/* bench_acl: what one RCPT costs an ACL: nanoseconds of one core, and calls of the system allocator, of the ACL that
 * acl_smtp_rcpt names in the given configuration. Debian's own comes out of its package: perf/README.md says how. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../server/server.h"
#include "allocations.h"

#define WARM_UP 500u
#define ROUNDS  20000u

struct bench {
	struct shard *shard;
	struct conf *conf;
	const char *acl, *sender;
	char **rcpts;
	struct arena arena, client_arena;
	struct task task;
	struct client client;
	struct message *message;
};

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* what others do on the machine does not count */
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_acl: %s\n", what);
	exit(1);
}

static enum acl_result rcpt(struct bench *b, const struct expansion *acl, const char *to, bool show)
{
	struct acl_outcome outcome;
	struct err err = err_make(&b->arena);
	struct address address = {0};
	enum acl_result result;
	struct scope sc;
	ptrdiff_t at;

	scope_init(&sc, &b->task, b->conf);
	sc.client = &b->client;
	sc.message = b->message;
	address.full = slice_make(to, strlen(to), TAINTED);
	at = slice_rfind(address.full, '@');
	check(at > 0, "an address has an @");
	address.local_part = address.cased_local_part = slice_sub(address.full, 0, (size_t)at);
	address.domain = slice_from(address.full, (size_t)at + 1);
	sc.address = &address;
	acl_outcome_init(&outcome);
	result = acl_check(&sc, ACL_WHERE_RCPT, acl, &outcome, &err);
	if (show) {
		struct slice says = outcome.user_message.ptr ? outcome.user_message : err.text;
		printf("%-24s %s%s%.*s\n", to,
		       result == ACL_ACCEPT ? "accepted"
		       : result == ACL_DENY ? "refused"
					    : "neither",
		       says.len ? ": " : "", SLICE_ARG(says));
	}
	arena_clear(&b->arena); /* as behind each command */
	return result;
}

static void bench_run(void *arg)
{
	struct bench *b = arg;
	const struct expansion *acl = expand_compile(b->conf->language, &b->client_arena, slice_of(b->acl));

	b->message = message_new(b->conf, 0);
	check(acl && b->message, "out of memory");
	b->message->sender = slice_make(b->sender, strlen(b->sender), TAINTED);
	client_clear(&b->client);
	b->client.arena = &b->client_arena;
	b->client.helo = SLICE("client.example");
	check(ip_parse(SLICE("192.0.2.3"), &b->client.ip), "an address");
	for (char **to = b->rcpts; *to; to++) {
		unsigned long before;
		double start, took;

		(void)rcpt(b, acl, *to, true);
		for (unsigned i = 0; i < WARM_UP; i++)
			(void)rcpt(b, acl, *to, false);
		before = allocations;
		start = seconds();
		for (unsigned i = 0; i < ROUNDS; i++)
			(void)rcpt(b, acl, *to, false);
		took = seconds() - start;
		printf("%-24s %8.0f ns an evaluation, %.4f allocations\n", "", took / ROUNDS * 1e9,
		       (double)(allocations - before) / ROUNDS);
	}
	message_unref(b->message);
	rooms_leave(b->shard);
	shard_stop(b->shard);
}

static void bench_start(struct shard *shard, void *arg)
{
	struct bench *b = arg;

	task_init(&b->task, shard, &b->arena, UNTIL_NEVER);
	check(fiber_spawn(shard, bench_run, b) == OK, "no fiber");
}

int main(int argc, char **argv)
{
	struct conf_load_options load = {.trusted = true};
	struct shard_options options = {.cpu = -1, .count = 1, .buf_count = 16};
	struct bench b = {0};
	struct err err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	check(argc >= 5, "usage: bench_acl configuration acl sender recipient...");
	load.file = argv[1];
	b.acl = argv[2];
	b.sender = argv[3];
	b.rcpts = argv + 4;
	arena_init(&b.arena, 0);
	arena_init(&b.client_arena, 0);
	err = err_make(&b.client_arena);
	if (language_init(&server_language, &err) != OK ||
	    conf_load(&server_registry, &load, &b.conf, &err) != OK) {
		fprintf(stderr, "bench_acl: %.*s\n", SLICE_ARG(err.text));
		return 1;
	}
	check(shard_new(&options, &b.shard, NULL) == OK, "no shard");
	check(shard_run(b.shard, bench_start, &b, NULL) == OK, "no shard");
	shard_free(b.shard);
	conf_unref(b.conf);
	arena_done(&b.arena);
	arena_done(&b.client_arena);
	return 0;
}
