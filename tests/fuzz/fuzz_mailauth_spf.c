/* fuzz_mailauth_spf: a whole check. Lines of the input: the sender, the HELO name, then records "NAME TYPE DATA", which are the world's
 * DNS. Promises: it ends, with at most so many questions, and everything it says is printable where that is promised. */
#include <stdlib.h>

#include "mailauth/mailauth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINES_MAX 64
struct world {
	struct slice lines[LINES_MAX];
	unsigned count, questions;
};

static bool next_word(struct slice *rest, struct slice *word)
{
	return rest->ptr && slice_split(rest, ' ', word);
}

static enum rc ask(struct task *task, void *arg, struct slice name, enum dns_type type,
		   struct dns_answer *ret, struct err *err)
{
	struct world *w = arg;

	w->questions++;
	*ret = (struct dns_answer){.records = arena_array(task->arena, struct dns_record, LINES_MAX),
				   .canonical = SLICE_EMPTY};
	if (!ret->records)
		return DEFER;
	for (unsigned i = 2; i < w->count; i++) {
		struct slice rest = w->lines[i], owner, kind;
		struct dns_record *r = &ret->records[ret->count];

		if (!next_word(&rest, &owner) || !next_word(&rest, &kind) || !rest.ptr)
			continue;
		if (!slice_eq_nocase(owner, name) && !slice_eq(owner, SLICE("*")))
			continue;
		if (slice_eq(kind, SLICE("!")))
			return err_set(err, DEFER, "trouble");
		*r = (struct dns_record){.name = rest, .text = rest};
		if (slice_eq(kind, SLICE("TXT"))  ? type == DNS_TXT
		    : slice_eq(kind, SLICE("MX")) ? type == DNS_MX
		    : slice_eq(kind, SLICE("PTR"))
			? type == DNS_PTR
			: (type == DNS_A || type == DNS_AAAA) && ip_parse(rest, &r->ip))
			ret->count++;
	}
	return ret->count ? OK : FAIL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world world = {.count = 0};
	struct mailauth_resolver resolver = {.query = ask, .arg = &world};
	struct slice text = slice_make((const char *)data, size < 65536 ? size : 65536, TAINTED), line;
	struct spf_query query = {.helo = SLICE_EMPTY,
				  .receiver = SLICE("mx.test"),
				  .guess = SLICE_EMPTY,
				  .explanation = SLICE("see%_%{s}%_%{c}")};
	struct spf_result result;
	struct arena arena;
	struct task task;

	while (world.count < LINES_MAX && slice_split(&text, '\n', &line))
		world.lines[world.count++] = line;
	if (world.count < 2)
		return 0;
	arena_init(&arena, 0);
	task_init(&task, NULL, &arena, UINT64_MAX);
	query.sender = world.lines[0];
	query.helo = world.lines[1];
	(void)ip_parse(size & 1 ? SLICE("192.0.2.1") : SLICE("2001:db8::1"), &query.ip);
	if (spf_check(&task, &resolver, &query, &result) == OK) {
		/* 10 terms, each with at most 10 hosts, and what finds the records. */
		ASSERT(world.questions <= 250);
		ASSERT(result.terms <= 11);
		for (uint32_t i = 0; i < result.explanation.len; i++)
			ASSERT(result.explanation.ptr[i] >= ' ' && result.explanation.ptr[i] <= '~');
	}
	arena_done(&arena);
	return 0;
}
