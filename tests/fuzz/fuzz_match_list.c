/* Lists of each kind from hostile text, against hostile subjects: compiled, matched on a fiber, freed. The
 * first line is the subject, the rest the list. Nothing is looked up but in files below a directory that has
 * none. */

#include "match/match.h"

struct fuzz {
	struct shard *shard;
	struct arena arena;
	struct task task;
	struct scope scope;
	struct slice list, subject;
};

/* Items that would wait for the world (names of hosts, the system's users) are not what is tested here. */
static bool asks_the_world(struct slice list)
{
	static const struct slice words[] = {SLICE_INIT("mx_"), SLICE_INIT("dnsdb"), SLICE_INIT("passwd"),
					     SLICE_INIT("spf")};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (uint32_t at = 0; at + words[i].len <= list.len; at++) {
			if (slice_starts_nocase(slice_from(list, at), words[i]))
				return true;
		}
	}
	return false;
}

/* An empty language: what it sets up is the room for regular expressions. */
static bool language_ready(void)
{
	static const struct variable_table *const variables[] = {NULL};
	static const struct expand_item *const *const items[] = {NULL};
	static const struct expand_operator *const *const operators[] = {NULL};
	static const struct expand_condition *const *const conditions[] = {NULL};
	static struct language language = {
	    .variables = variables, .items = items, .operators = operators, .conditions = conditions};
	static bool ready;

	if (!ready)
		ready = language_init(&language, NULL) == OK;
	return ready;
}

static void fuzz_run(void *arg)
{
	static const enum conf_list_kind kinds[] = {LIST_DOMAIN, LIST_HOST, LIST_ADDRESS, LIST_LOCAL_PART};
	struct fuzz *f = arg;
	struct err err = err_make(&f->arena);
	struct ip_addr ip = {.family = 4, .bytes = {192, 0, 2, 1}};
	struct slice value;

	if (f->subject.len >= 16) {
		ip.family = 6;
		memcpy(ip.bytes, f->subject.ptr, 16);
	}
	for (unsigned i = 0; i < 4; i++) {
		/* The second time from the cache. */
		enum rc first = match_text(&f->scope, kinds[i], f->list, f->subject, &ip, &value, &err);
		enum rc second = match_text(&f->scope, kinds[i], f->list, f->subject, &ip, &value, &err);

		ASSERT(first == second);
		(void)match_compile(NULL, &f->arena, kinds[i], f->list);
	}
	ASSERT(match_string(&f->scope, f->list, f->subject, true, &value, &err) <= CANCELLED);
	shard_stop(f->shard);
}

static void fuzz_start(struct shard *shard, void *arg)
{
	struct fuzz *f = arg;

	task_init(&f->task, shard, &f->arena, UNTIL_NEVER);
	scope_init(&f->scope, &f->task, NULL);
	if (fiber_spawn(shard, fuzz_run, f) != OK)
		shard_stop(shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shard_options options = {.cpu = -1, .count = 1, .buf_count = 16};
	struct fuzz f = {.list = slice_make((const char *)data, size, CLEAN)};

	if (size > 4096 || !language_ready() || asks_the_world(f.list))
		return 0;
	if (!slice_split(&f.list, '\n', &f.subject) || !f.list.ptr)
		return 0;
	arena_init(&f.arena, 64 << 20);
	if (shard_new(&options, &f.shard, NULL) == OK) {
		ASSERT(shard_run(f.shard, fuzz_start, &f, NULL) == OK);
		match_done(f.shard);
		lookup_done(f.shard);
		expand_done(f.shard);
		dns_done(f.shard);
		shard_free(f.shard);
	}
	arena_done(&f.arena);
	return 0;
}
