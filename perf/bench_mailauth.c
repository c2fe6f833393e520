/* bench_mailauth: what a DKIM verification costs: microseconds of one core and calls of the system allocator, by algorithm and
 * size of the body; header, body hashes, the key record and the key's operation included, DNS at hand. libopendkim does the same
 * work in tests/opendkim_filter ("time" on its input): perf/README.md says how. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mailauth/arc.h"
#include "mailauth/sign.h"
#include "allocations.h"

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct slice record;

static enum rc answer(struct task *task, void *arg, struct slice name, enum dns_type type,
		      struct dns_answer *ret, struct err *err)
{
	struct dns_record *r = arena_make(task->arena, struct dns_record);

	(void)arg;
	(void)name;
	(void)type;
	(void)err;
	r->text = record;
	*ret = (struct dns_answer){.records = r, .count = 1};
	return OK;
}

/* One message, in pieces of 16 KiB as they come from a socket. keys: with the key's operation. */
static bool verify(struct slice text, bool keys)
{
	struct mailauth_resolver resolver = {.query = answer};
	struct dkim_limits limits = {.hashes = 1u << HASH_SHA256,
				     .key_types = 1u << KEY_RSA | 1u << KEY_ED25519,
				     .rsa_bits_min = 1024,
				     .now = 1};
	struct message message = {.refs = 1};
	struct dkim_work work = {.resolver = &resolver, .limits = &limits, .arena = &message.arena};
	struct dkim_state *state;
	bool passed = true;
	struct arena arena;
	struct task task;
	struct err err;
	uint32_t used;

	arena_init(&arena, 0);
	arena_init(&message.arena, 0);
	err = err_make(&arena);
	task_init(&task, NULL, &arena, UINT64_MAX);
	work.task = &task;
	header_block_init(&message.headers);
	if (header_block_parse(&message.arena, text, &message.headers, &used, &err) != OK ||
	    dkim_header_done(&task, &message, &resolver, &err) != OK)
		exit(1);
	for (struct slice rest = slice_from(text, used); rest.len; rest = slice_from(rest, 16384))
		dkim_body(&message, rest.ptr, slice_sub(rest, 0, 16384).len);
	state = dkim_state_of(&message);
	body_hashes_end(&state->body);
	work.index = dkim_fields(&message);
	for (unsigned i = 0; keys && i < state->count; i++) {
		if (dkim_signature_verify(&work, state->signatures[i], &err) != OK)
			exit(1);
		passed &= state->signatures[i]->reason == REASON_NONE;
	}
	arena_done(&message.arena);
	arena_done(&arena);
	return passed;
}

static double measure(struct slice text, bool keys, unsigned rounds, double *allocations_ret)
{
	unsigned long before;
	double start;

	for (unsigned i = 0; i < rounds / 10 + 1; i++)
		if (!verify(text, keys))
			printf("(not a pass) ");
	before = allocations;
	start = seconds();
	for (unsigned i = 0; i < rounds; i++)
		(void)verify(text, keys);
	*allocations_ret = (double)(allocations - before) / rounds;
	return (seconds() - start) * 1e6 / rounds;
}

/* bench_mailauth NAME MESSAGE-FILE KEY-RECORD [ROUNDS] */
int main(int argc, char **argv)
{
	static char bytes[32u << 20];
	FILE *f = argc > 3 ? fopen(argv[2], "r") : NULL;
	unsigned rounds = argc > 4 ? (unsigned)atoi(argv[4]) : 2000;
	double whole, hashes, whole_allocations, hash_allocations;
	struct slice text;

	if (!f) {
		fprintf(stderr, "usage: bench_mailauth NAME MESSAGE-FILE KEY-RECORD [ROUNDS]\n");
		return 1;
	}
	text = slice_make(bytes, fread(bytes, 1, sizeof(bytes), f), TAINTED);
	fclose(f);
	record = slice_of(argv[3]);
	whole = measure(text, true, rounds, &whole_allocations);
	hashes = measure(text, false, rounds, &hash_allocations);
	printf("%s: %u bytes, %.1f us and %.2f allocations; of that %.1f us for header and body hash\n",
	       argv[1], text.len, whole, whole_allocations, hashes);
	return 0;
}
