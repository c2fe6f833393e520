/* The parser of what a resolver sends: good answers, denials, lies and wreckage. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dns/answer.h"
#include "dns/packed.h"

/* A message under construction. The question's name stands at byte 12: "\xc0\x0c" points to it. */
struct msg {
	uint8_t bytes[8192];
	size_t len;
};
#define QNAME ((struct slice)SLICE_INIT("\xc0\x0c"))

static struct arena arena;

static void add(struct msg *m, const void *bytes, size_t len)
{
	assert_true(m->len + len <= sizeof(m->bytes));
	memcpy(m->bytes + m->len, bytes, len);
	m->len += len;
}

static void add16(struct msg *m, unsigned n)
{
	add(m, (uint8_t[]){(uint8_t)(n >> 8), (uint8_t)n}, 2);
}

static struct wire_name wire(const char *text)
{
	struct wire_name name;

	assert_true(wire_name_parse(slice_of(text), &name));
	return name;
}

static struct slice wired(const char *text)
{
	struct wire_name name = wire(text);

	return arena_copy(&arena, slice_make((const char *)name.bytes, name.len, CLEAN));
}

static void begin(struct msg *m, const char *name, unsigned type, unsigned flags, unsigned answers,
		  unsigned authorities)
{
	struct slice n = wired(name);

	m->len = 0;
	add16(m, 4711);
	add16(m, flags);
	add16(m, 1);
	add16(m, answers);
	add16(m, authorities);
	add16(m, 0);
	add(m, n.ptr, n.len);
	add16(m, type);
	add16(m, 1);
}

static void rr(struct msg *m, struct slice owner, unsigned type, uint32_t ttl_s, struct slice bytes)
{
	add(m, owner.ptr, owner.len);
	add16(m, type);
	add16(m, 1);
	add16(m, ttl_s >> 16);
	add16(m, ttl_s & 0xffff);
	add16(m, bytes.len);
	add(m, bytes.ptr, bytes.len);
}

static struct slice cat(struct slice a, struct slice b)
{
	struct str s = str_make(&arena);

	str_add(&s, a);
	str_add(&s, b);
	return str_slice(&s);
}

/* Parses an exact copy, so that the address sanitizer sees the first byte too many. */
static enum rc parse(const struct msg *m, size_t len, const char *name, enum dns_type type,
		     struct dns_answer *answer)
{
	struct wire_name n = wire(name);
	struct err err = err_make(&arena);
	uint8_t *exact = malloc(len ? len : 1);
	enum rc rc;

	memcpy(exact, m->bytes, len);
	*answer = (struct dns_answer){.count = 0};
	rc = answer_parse(&arena, exact, len, &n, type, answer, &err);
	free(exact);
	return rc;
}

#define assert_slice(s, text) assert_true(slice_eq((s), slice_of(text)))

static void test_names(void **state)
{
	static const char *const bad[] = {
	    "",
	    ".",
	    "..",
	    "a..b",
	    ".a",
	    "a..",
	    "a234567890123456789012345678901234567890123456789012345678901234.org", /* 64 */
	};
	struct wire_name name, again;
	char text[300];
	size_t end;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
		assert_false(wire_name_parse(slice_of(bad[i]), &name));
	for (unsigned len = 250; len < 260; len++) { /* labels of one byte */
		for (unsigned i = 0; i < len; i++)
			text[i] = i & 1 ? '.' : 'a';
		bool ends_in_dot = (len & 1) == 0;
		assert_int_equal(wire_name_parse(slice_make(text, len, CLEAN), &name),
				 len - ends_in_dot <= 253);
	}
	assert_true(wire_name_parse(SLICE("Example.ORG."), &name));
	assert_int_equal(name.len, 13);
	assert_slice(wire_name_text(&arena, &name), "example.org");
	assert_true(wire_name_read(name.bytes, name.len, 0, &again, &end));
	assert_int_equal(end, 13);
	assert_true(wire_name_eq(&name, &again));
	assert_int_equal(wire_name_text(&arena, &name).taint, TAINTED);
	/* A dot inside a label is not the end of one, and nothing unprintable comes out. */
	assert_true(wire_name_read((const uint8_t *)"\4a.b\n\1\\", 8, 0, &name, &end));
	assert_slice(wire_name_text(&arena, &name), "a\\.b\\010.\\\\");
	/* Reserved label types (RFC 6891 section 5) and names cut short. */
	assert_false(wire_name_read((const uint8_t *)"\x41x\0", 3, 0, &name, &end));
	assert_false(wire_name_read((const uint8_t *)"\3ab", 3, 0, &name, &end));
	assert_false(wire_name_read((const uint8_t *)"\xc0", 1, 0, &name, &end));
	assert_false(wire_name_read((const uint8_t *)"\xc0\0", 2, 0, &name, &end));
}

static void test_query(void **state)
{
	uint8_t query[WIRE_QUERY_MAX];
	struct wire_name name = wire("a.org");
	static const char plain[] = "\x12\x34\x01\x20\0\1\0\0\0\0\0\0\1a\3org\0\0\x0f\0\1";
	static const char edns[] =
	    "\x12\x34\x01\x20\0\1\0\0\0\0\0\1\1a\3org\0\0\x0f\0\1\0\0\x29\4\xd0\0\0\x80\0\0\0";

	(void)state;
	assert_int_equal(wire_query_write(query, 0x1234, &name, DNS_MX, false, false), sizeof(plain) - 1);
	assert_memory_equal(query, plain, sizeof(plain) - 1);
	assert_int_equal(wire_query_write(query, 0x1234, &name, DNS_MX, true, true), sizeof(edns) - 1);
	assert_memory_equal(query, edns, sizeof(edns) - 1);
}

static void test_mx(void **state)
{
	struct dns_answer answer;
	struct msg m;

	(void)state;
	begin(&m, "example.org", DNS_MX, 0x81a0, 3, 0);
	rr(&m, QNAME, DNS_MX, 300, SLICE("\0\x14\2b1\xc0\x0c"));
	rr(&m, QNAME, DNS_MX, 200, SLICE("\0\x0a\2a1\xc0\x0c"));
	rr(&m, wired("EXAMPLE.org"), DNS_MX, 400, SLICE("\0\x0a\0")); /* null MX: the root's name is empty */
	assert_int_equal(parse(&m, m.len, "example.org", DNS_MX, &answer), OK);
	assert_int_equal(answer.count, 3);
	assert_int_equal(answer.ttl_s, 200);
	assert_true(answer.authentic);
	assert_slice(answer.canonical, "example.org");
	assert_slice(answer.records[0].name, "b1.example.org");
	assert_slice(answer.records[2].name, "");
	/* Cut anywhere it is malformed, never "no data" and never a shorter list. */
	for (size_t len = 0; len < m.len; len++)
		assert_int_equal(parse(&m, len, "example.org", DNS_MX, &answer), DEFER);
	/* Another question's answer. */
	assert_int_equal(parse(&m, m.len, "example.net", DNS_MX, &answer), DEFER);
	assert_int_equal(parse(&m, m.len, "example.org", DNS_A, &answer), DEFER);
}

static void test_chain(void **state)
{
	struct dns_answer answer;
	struct msg m;
	char name[40];

	(void)state;
	begin(&m, "www.example.org", DNS_A, 0x8180, 4, 0);
	rr(&m, wired("b.example.org"), DNS_A, 30, SLICE("\1\2\3\4"));
	rr(&m, wired("stranger.example"), DNS_A, 1, SLICE("\6\6\6\6"));
	rr(&m, wired("a.example.org"), DNS_CNAME, 9, wired("b.example.org"));
	rr(&m, QNAME, DNS_CNAME, 60, wired("a.example.org"));
	assert_int_equal(parse(&m, m.len, "www.example.org", DNS_A, &answer), OK);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.ttl_s, 9);
	assert_slice(answer.canonical, "b.example.org");
	assert_int_equal(answer.records[0].ip.family, 4);
	assert_memory_equal(answer.records[0].ip.bytes, "\1\2\3\4", 4);
	/* The alias itself, when it was asked for. */
	begin(&m, "www.example.org", DNS_CNAME, 0x8180, 1, 0);
	rr(&m, QNAME, DNS_CNAME, 60, wired("a.example.org"));
	assert_int_equal(parse(&m, m.len, "www.example.org", DNS_CNAME, &answer), OK);
	assert_slice(answer.records[0].name, "a.example.org");
	/* An alias to nowhere is no data. */
	begin(&m, "www.example.org", DNS_A, 0x8183, 1, 0);
	rr(&m, QNAME, DNS_CNAME, 60, wired("gone.example.org"));
	assert_int_equal(parse(&m, m.len, "www.example.org", DNS_A, &answer), FAIL);
	assert_true(answer.nxdomain);
	assert_slice(answer.canonical, "gone.example.org");
	/* A loop, and a chain that is too long. */
	begin(&m, "www.example.org", DNS_A, 0x8180, 2, 0);
	rr(&m, QNAME, DNS_CNAME, 60, wired("a.example.org"));
	rr(&m, wired("a.example.org"), DNS_CNAME, 60, QNAME);
	assert_int_equal(parse(&m, m.len, "www.example.org", DNS_A, &answer), DEFER);
	for (unsigned links = ANSWER_CNAME_COUNT_MAX; links <= ANSWER_CNAME_COUNT_MAX + 1; links++) {
		begin(&m, "l0.org", DNS_A, 0x8180, links + 1, 0);
		for (unsigned i = 0; i < links; i++) {
			snprintf(name, sizeof(name), "l%u.org", i);
			struct slice owner = wired(name);
			snprintf(name, sizeof(name), "l%u.org", i + 1);
			rr(&m, owner, DNS_CNAME, 60, wired(name));
		}
		rr(&m, wired(name), DNS_A, 60, SLICE("\1\2\3\4"));
		assert_int_equal(parse(&m, m.len, "l0.org", DNS_A, &answer),
				 links == ANSWER_CNAME_COUNT_MAX ? OK : DEFER);
	}
}

static void test_denials(void **state)
{
	static const char numbers[] = "\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\x3c"; /* minimum 60 */
	struct dns_answer answer;
	struct slice soa;
	struct msg m;

	(void)state;
	soa = cat(wired("ns.example.org"),
		  cat(wired("hostmaster.example.org"), slice_make(numbers, 20, CLEAN)));
	begin(&m, "nx.example.org", DNS_A, 0x8183, 0, 1);
	rr(&m, wired("example.org"), DNS_SOA, 300, soa);
	assert_int_equal(parse(&m, m.len, "nx.example.org", DNS_A, &answer), FAIL);
	assert_true(answer.nxdomain);
	assert_int_equal(answer.ttl_s, 60);
	begin(&m, "empty.example.org", DNS_A, 0x8180, 0, 1);
	rr(&m, wired("example.org"), DNS_SOA, 30, soa);
	assert_int_equal(parse(&m, m.len, "empty.example.org", DNS_A, &answer), FAIL);
	assert_false(answer.nxdomain);
	assert_int_equal(answer.ttl_s, 30);
	/* Without SOA it may not be kept (RFC 2308 section 5). */
	begin(&m, "empty.example.org", DNS_A, 0x8180, 0, 0);
	assert_int_equal(parse(&m, m.len, "empty.example.org", DNS_A, &answer), FAIL);
	assert_int_equal(answer.ttl_s, 0);
	/* A broken SOA is a broken answer; so are other rcodes, queries, and truncated answers. */
	begin(&m, "empty.example.org", DNS_A, 0x8180, 0, 1);
	rr(&m, wired("example.org"), DNS_SOA, 30, slice_sub(soa, 0, soa.len - 1));
	assert_int_equal(parse(&m, m.len, "empty.example.org", DNS_A, &answer), DEFER);
	static const unsigned flags[] = {0x8181, 0x8182, 0x8184, 0x8185, 0x0180, 0x8380, 0x9180};
	for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
		begin(&m, "empty.example.org", DNS_A, flags[i], 0, 0);
		assert_int_equal(parse(&m, m.len, "empty.example.org", DNS_A, &answer), DEFER);
	}
	/* The SOA as data. */
	begin(&m, "example.org", DNS_SOA, 0x8180, 1, 0);
	rr(&m, QNAME, DNS_SOA, 30, soa);
	assert_int_equal(parse(&m, m.len, "example.org", DNS_SOA, &answer), OK);
	assert_slice(answer.records[0].soa_mailbox, "hostmaster.example.org");
	assert_int_equal(answer.records[0].soa[4], 60);
}

static void test_data(void **state)
{
	/* One record of the type with these bytes: good, or malformed. */
	static const struct {
		enum dns_type type;
		struct slice bytes;
		enum rc rc;
	} rows[] = {
	    {DNS_A, SLICE_INIT("\1\2\3"), DEFER},
	    {DNS_A, SLICE_INIT("\1\2\3\4\5"), DEFER},
	    {DNS_AAAA, SLICE_INIT("\1\2\3\4"), DEFER},
	    {DNS_AAAA, SLICE_INIT("0123456789abcdef"), OK},
	    {DNS_MX, SLICE_INIT("\0\1"), DEFER},
	    {DNS_MX, SLICE_INIT("\0\1\1a"), DEFER},
	    {DNS_MX, SLICE_INIT("\0\1\1a\0x"), DEFER},
	    {DNS_PTR, SLICE_INIT(""), DEFER},
	    {DNS_PTR, SLICE_INIT("\0"), OK},
	    {DNS_SRV, SLICE_INIT("\0\1\0\2\0\x19"), DEFER},
	    {DNS_SRV, SLICE_INIT("\0\1\0\2\0\x19\1h\0"), OK},
	    {DNS_TLSA, SLICE_INIT("\3\1\1"), DEFER}, /* no data: RFC 6698 section 2.1.4 */
	    {DNS_TLSA, SLICE_INIT("\3\1\1x"), OK},
	    {DNS_TXT, SLICE_INIT(""), DEFER},
	    {DNS_TXT, SLICE_INIT("\0"), OK},
	    {DNS_TXT, SLICE_INIT("\5v=spf"), OK},
	    {DNS_TXT, SLICE_INIT("\6v=spf"), DEFER},
	    {DNS_SPF, SLICE_INIT("\4v=sp\1f"), OK},
	    {DNS_SOA, SLICE_INIT("\0\0123456789012345678"), DEFER},
	};
	struct dns_answer answer;
	struct msg m;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		begin(&m, "example.org", rows[i].type, 0x8180, 1, 0);
		rr(&m, QNAME, rows[i].type, 60, rows[i].bytes);
		if (parse(&m, m.len, "example.org", rows[i].type, &answer) != rows[i].rc)
			fail_msg("row %zu", i);
	}
	begin(&m, "example.org", DNS_TXT, 0x8180, 1, 0);
	rr(&m, QNAME, DNS_TXT, 0x80000001, SLICE("\4v=sp\0\2f1"));
	assert_int_equal(parse(&m, m.len, "example.org", DNS_TXT, &answer), OK);
	assert_slice(answer.records[0].text, "v=spf1");
	assert_int_equal(answer.records[0].string_count, 3);
	assert_slice(answer.records[0].strings[2], "f1");
	assert_int_equal(answer.ttl_s, 0); /* RFC 2181 section 8: the top bit means 0 */
	/* The name of a record may not leave its data, even where the message goes on. */
	begin(&m, "example.org", DNS_NS, 0x8180, 2, 0);
	rr(&m, QNAME, DNS_NS, 60, SLICE("\1a"));
	rr(&m, wired("x.org"), DNS_A, 60, SLICE("\1\2\3\4"));
	assert_int_equal(parse(&m, m.len, "example.org", DNS_NS, &answer), DEFER);
	/* More records than anyone needs. */
	begin(&m, "a.org", DNS_A, 0x8180, 0, 0);
	m.bytes[6] = 2; /* says 512, has none */
	assert_int_equal(parse(&m, m.len, "a.org", DNS_A, &answer), DEFER);
}

static uint32_t random_lcg(void *arg)
{
	uint32_t *state = arg;

	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static void test_sort(void **state)
{
	static const uint16_t preferences[] = {30, 10, 20, 10, 10, 5};
	unsigned first[ARRAY_COUNT(preferences)] = {0}, heavy = 0, light = 0;
	uint32_t seed = 1;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct dns_record records[ARRAY_COUNT(preferences)];
		struct dns_answer answer = {.records = records, .count = ARRAY_COUNT(preferences)};
		for (unsigned i = 0; i < answer.count; i++)
			records[i] = (struct dns_record){.preference = preferences[i], .ttl_s = i};
		answer_sort(&answer, DNS_MX, random_lcg, &seed);
		for (unsigned i = 1; i < answer.count; i++)
			assert_true(records[i - 1].preference <= records[i].preference);
		first[records[1].ttl_s]++;
	}
	/* Each of the three with preference 10 leads them about as often: RFC 5321 section 5.1. */
	assert_in_range(first[1], 60, 140);
	assert_in_range(first[3], 60, 140);
	assert_in_range(first[4], 60, 140);
	for (unsigned round = 0; round < 1000; round++) {
		struct dns_record records[] = {{.preference = 2, .weight = 9},
					       {.preference = 1, .weight = 90},
					       {.preference = 1, .weight = 10},
					       {.preference = 1, .weight = 0}};
		struct dns_answer answer = {.records = records, .count = 4};
		answer_sort(&answer, DNS_SRV, random_lcg, &seed);
		assert_int_equal(records[3].preference, 2);
		heavy += records[0].weight == 90;
		light += records[0].weight == 10;
	}
	assert_in_range(heavy, 820, 960);
	assert_in_range(light, 40, 170);
}

/* What the cache hands out: the same, and nothing of it points to what it was made of, or copied from. */
static struct dns_answer repacked(const struct dns_answer *answer)
{
	struct packed *packed = packed_make(&arena, answer), *kept;
	struct dns_answer copy;
	size_t size;

	assert_non_null(packed);
	size = packed->size;
	kept = malloc(size);
	memcpy(kept, packed, size);
	memset(packed, 0xee, size);
	assert_true(packed_copy(kept, &arena, &copy));
	memset(kept, 0xee, size);
	free(kept);
	return copy;
}

static void test_packed(void **state)
{
	struct dns_answer answer, copy;
	struct msg m;

	(void)state;
	begin(&m, "example.org", DNS_TXT, 0x81a0, 2, 0);
	rr(&m, QNAME, DNS_TXT, 60, SLICE("\4v=sp\0\2f1"));
	rr(&m, QNAME, DNS_TXT, 90, SLICE("\0"));
	assert_int_equal(parse(&m, m.len, "example.org", DNS_TXT, &answer), OK);
	copy = repacked(&answer);
	assert_int_equal(copy.count, 2);
	assert_int_equal(copy.ttl_s, 60);
	assert_true(copy.authentic && !copy.nxdomain);
	assert_slice(copy.canonical, "example.org");
	assert_slice(copy.records[0].text, "v=spf1");
	assert_int_equal(copy.records[0].string_count, 3);
	assert_slice(copy.records[0].strings[0], "v=sp");
	assert_slice(copy.records[0].strings[1], "");
	assert_slice(copy.records[0].strings[2], "f1");
	assert_true(copy.records[0].strings[2].taint);
	assert_slice(copy.records[1].text, "");
	assert_int_equal(copy.records[1].ttl_s, 90);
	begin(&m, "example.org", DNS_SOA, 0x8180, 1, 0);
	rr(&m, QNAME, DNS_SOA, 60, SLICE("\2ns\0\4mail\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5"));
	assert_int_equal(parse(&m, m.len, "example.org", DNS_SOA, &answer), OK);
	copy = repacked(&answer);
	assert_slice(copy.records[0].name, "ns");
	assert_slice(copy.records[0].soa_mailbox, "mail");
	assert_int_equal(copy.records[0].soa[4], 5);
	begin(&m, "example.org", DNS_A, 0x8183, 0, 0);
	assert_int_equal(parse(&m, m.len, "example.org", DNS_A, &answer), FAIL);
	copy = repacked(&answer);
	assert_int_equal(copy.count, 0);
	assert_true(copy.nxdomain);
	assert_slice(copy.canonical, "example.org");
}

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_done(&arena);
	arena_pool_done();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names), cmocka_unit_test(test_query),   cmocka_unit_test(test_mx),
	    cmocka_unit_test(test_chain), cmocka_unit_test(test_denials), cmocka_unit_test(test_data),
	    cmocka_unit_test(test_sort),  cmocka_unit_test(test_packed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
