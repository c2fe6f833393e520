/* fuzz_dns_answer: the parser of what a resolver sends. The first byte picks the type that was asked for; the
 * rest is the message, whose own question is taken as ours when it can be read, so that the fuzzer gets past
 * it. */

#include <stdlib.h>

#include "dns/answer.h"
#include "dns/packed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t random_next(void *arg)
{
	uint32_t *state = arg;

	return *state = *state * 1664525 + 1013904223;
}

/* Reads every byte that the answer points to: a slice that lies is found here. */
static void touch(struct slice s)
{
	volatile char sink = 0;

	ASSERT(s.ptr);
	for (uint32_t i = 0; i < s.len; i++)
		sink = (char)(sink + s.ptr[i]);
}

static void check(const struct dns_answer *answer, enum dns_type type)
{
	touch(answer->canonical);
	for (unsigned i = 0; i < answer->count; i++) {
		const struct dns_record *r = &answer->records[i];

		ASSERT(r->ttl_s >= answer->ttl_s);
		ASSERT(r->string_count == 0 || type == DNS_TXT || type == DNS_SPF);
		touch(r->name);
		touch(r->text);
		touch(r->soa_mailbox);
		for (unsigned k = 0; k < r->string_count; k++)
			touch(r->strings[k]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = {DNS_A,   DNS_NS,   DNS_CNAME, DNS_SOA,  DNS_PTR, DNS_MX,
					      DNS_TXT, DNS_AAAA, DNS_SRV,   DNS_TLSA, DNS_SPF};
	struct wire_name name;
	struct dns_answer answer;
	struct arena arena;
	struct err err;
	uint32_t seed = 1;
	size_t end;

	if (size < 1)
		return 0;
	enum dns_type type = types[data[0] % ARRAY_COUNT(types)];
	data++, size--;
	if (size < WIRE_HEADER_SIZE || !wire_name_read(data, size, WIRE_HEADER_SIZE, &name, &end))
		if (!wire_name_parse(SLICE("example.org"), &name))
			abort();
	arena_init(&arena, 8u << 20);
	err = err_make(&arena);
	enum rc rc = answer_parse(&arena, data, size, &name, type, &answer, &err);
	ASSERT(rc == OK || rc == FAIL || rc == DEFER);
	if (rc != DEFER) {
		struct dns_answer copy;
		struct packed *packed = packed_make(&arena, &answer);

		ASSERT((rc == OK) == (answer.count > 0));
		/* What the cache hands out is the same, and stands by itself. */
		if (packed && packed_copy(packed, &arena, &copy)) {
			memset(packed, 0xff, packed->size);
			check(&copy, type);
			for (unsigned i = 0; i < answer.count; i++)
				ASSERT(slice_eq(copy.records[i].text, answer.records[i].text) &&
				       slice_eq(copy.records[i].name, answer.records[i].name));
		}
		answer_sort(&answer, type, random_next, &seed);
		for (unsigned i = 1; i < answer.count; i++)
			ASSERT(type != DNS_MX ||
			       answer.records[i - 1].preference <= answer.records[i].preference);
		check(&answer, type);
	}
	arena_done(&arena);
	arena_pool_done();
	return 0;
}
