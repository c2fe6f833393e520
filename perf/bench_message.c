/* bench_message: what SPF, DKIM, DMARC and ARC of one message cost together: microseconds of one core and calls of the system
 * allocator, the answers of the DNS in the cache. The operations of keys are timed where they are called, so that the rest can be
 * told apart from them: the program is linked with --wrap=dkim_key_verifies. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mailauth/arc.h"
#include "mailauth/dmarc.h"
#include "allocations.h"

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* what others do on the machine does not count */
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- The operations of keys ------------------------------------------------------------------------------- */

static double key_seconds;
static unsigned long key_operations;

bool __real_dkim_key_verifies(const struct dkim_key *key, enum hash_kind hash, const uint8_t *digest,
			      struct slice signature);
bool __wrap_dkim_key_verifies(const struct dkim_key *key, enum hash_kind hash, const uint8_t *digest,
			      struct slice signature);
bool __wrap_dkim_key_verifies(const struct dkim_key *key, enum hash_kind hash, const uint8_t *digest,
			      struct slice signature)
{
	double start = seconds();
	bool good = __real_dkim_key_verifies(key, hash, digest, signature);

	key_seconds += seconds() - start;
	key_operations++;
	return good;
}

/* ---- One message ---------------------------------------------------------------------------------------------- */

struct bench {
	struct shard *shard;
	char **argv;
	struct slice text;
	unsigned rounds;
	char verdict[100];
};

static void die(const char *what)
{
	fprintf(stderr, "bench_message: %s\n", what);
	exit(1);
}

static void receive(struct task *task, struct message *message, struct slice text)
{
	struct err err = err_make(task->arena);
	uint32_t used;

	header_block_init(&message->headers);
	if (header_block_parse(&message->arena, text, &message->headers, &used, &err) != OK ||
	    dkim_header_done(task, message, &mailauth_dns, &err) != OK)
		die("header");
	for (struct slice rest = slice_from(text, used); rest.len; rest = slice_from(rest, 16384))
		dkim_body(message, rest.ptr, slice_sub(rest, 0, 16384).len);
}

static void judge(struct bench *b, struct arena *arena)
{
	struct dkim_limits limits = {.hashes = 1u << HASH_SHA256 | 1u << HASH_SHA512,
				     .key_types = 1u << KEY_ED25519 | 1u << KEY_RSA,
				     .rsa_bits_min = 1024,
				     .ed25519_bits_min = 250,
				     .now = 1};
	struct spf_query spf_query = {.sender = slice_of(b->argv[2]),
				      .helo = SLICE("helo.example"),
				      .receiver = SLICE("mx.example"),
				      .guess = SLICE_EMPTY,
				      .explanation = SLICE_EMPTY};
	struct message message = {.refs = 1};
	struct dkim_work work = {.resolver = &mailauth_dns, .limits = &limits, .arena = &message.arena};
	struct slice domains[DMARC_FROM_MAX];
	struct dkim_result dkim[DKIM_SIGNATURES_MAX];
	struct dmarc_query dmarc_query = {.from = domains, .dkim = dkim};
	struct dmarc_result dmarc;
	struct spf_result spf;
	struct dkim_state *state;
	struct err err = err_make(arena);
	struct task task;

	task_init(&task, b->shard, arena, shard_now(b->shard) + 30 * NS_PER_S);
	arena_init(&message.arena, 0);
	if (!ip_parse(slice_of(b->argv[3]), &spf_query.ip) ||
	    spf_check(&task, &mailauth_dns, &spf_query, &spf) != OK)
		die("spf");
	receive(&task, &message, b->text);
	state = dkim_state_of(&message);
	body_hashes_end(&state->body);
	state->verified = true;
	work.task = &task;
	work.index = dkim_fields(&message);
	for (unsigned i = 0; i < state->count; i++)
		if (dkim_signature_verify(&work, state->signatures[i], &err) != OK ||
		    !dkim_result_get(&message, i, &dkim[dmarc_query.dkim_count++]))
			die("dkim");
	dmarc_query.spf = spf.result;
	dmarc_query.spf_domain = spf.domain;
	if (!dmarc_from(&message.arena, &message, domains, &dmarc_query.from_count) ||
	    dmarc_check(&task, &mailauth_dns, &dmarc_query, &dmarc) != OK)
		die("dmarc");
	if (arc_state_of(&message) && arc_evaluate(&work, &message, &err) != OK)
		die("arc");
	snprintf(b->verdict, sizeof(b->verdict), "spf=%.*s dkim=%.*s dmarc=%.*s arc=%.*s",
		 SLICE_ARG(mailauth_result_word(spf.result)),
		 SLICE_ARG(mailauth_result_word(dmarc_query.dkim_count ? dkim[0].result : MAILAUTH_NONE)),
		 SLICE_ARG(dmarc_status_word(dmarc.status)),
		 SLICE_ARG(mailauth_result_word(arc_state_of(&message) ? arc_state_of(&message)->result
								       : MAILAUTH_NONE)));
	arena_done(&message.arena);
}

static void work(void *arg)
{
	struct bench *b = arg;
	struct arena arena;
	unsigned long before;
	double start;

	arena_init(&arena, 0);
	for (unsigned i = 0; i < b->rounds / 10 + 1; i++) {
		judge(b, &arena);
		arena_clear(&arena);
	}
	key_seconds = 0;
	key_operations = 0;
	before = allocations;
	start = seconds();
	for (unsigned i = 0; i < b->rounds; i++) {
		judge(b, &arena);
		arena_clear(&arena);
	}
	start = seconds() - start;
	printf(
	    "{\"bytes\": %u, \"verdict\": \"%s\", \"us\": %.2f, \"keys\": %.2f, \"keys_us\": %.2f, \"allocations\": %.2f}\n",
	    b->text.len, b->verdict, start / b->rounds * 1e6, (double)key_operations / b->rounds,
	    key_seconds / b->rounds * 1e6, (double)(allocations - before) / b->rounds);
	arena_done(&arena);
	shard_stop(b->shard);
}

static void begin(struct shard *shard, void *arg)
{
	struct bench *b = arg;

	dns_configure(shard, &(struct dns_options){.servers = b->argv[1]});
	if (fiber_spawn(shard, work, b) != OK)
		die("no fiber");
}

int main(int argc, char **argv)
{
	static char bytes[32u << 20];
	struct shard_options options = {.count = 1, .cpu = -1, .backend = BACKEND_URING};
	struct bench b = {.argv = argv};
	struct err err = err_make(NULL);
	FILE *f;

	if (argc < 6 || !(f = fopen(argv[5], "r"))) {
		fprintf(stderr, "usage: bench_message SERVERS SENDER ADDRESS ROUNDS MESSAGE-FILE\n");
		return 2;
	}
	b.text = slice_make(bytes, fread(bytes, 1, sizeof(bytes), f), TAINTED);
	fclose(f);
	b.rounds = (unsigned)atoi(argv[4]);
	if (shard_new(&options, &b.shard, &err) != OK || shard_run(b.shard, begin, &b, &err) != OK)
		die("no shard");
	mailauth_done(b.shard);
	dns_done(b.shard);
	shard_free(b.shard);
	return 0;
}
