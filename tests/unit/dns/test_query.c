/* Questions over the real reactor and real sockets to a scripted name server on loopback. */

#include "../reactor/harness.h"

#include "dns/answer.h"
#include "responder.h"

static struct responder server;
static struct dns_options options;

static struct err err;

static enum rc ask(struct task *task, const char *name, enum dns_type type, struct dns_answer *answer)
{
	*answer = (struct dns_answer){.count = 0};
	err = err_make(task->arena);
	return dns_query(task, slice_of(name), type, answer, &err);
}

/* Each test is a function on a fiber. */
static void begin(struct task *task)
{
	server.asked_udp = server.asked_tcp = server.port_changes = 0;
	options = (struct dns_options){
	    .servers = server.address, .timeout_ms = 300, .tries = 2, .edns0 = -1, .dnssec_ok = -1};
	dns_configure(task->shard, &options);
}

static bool err_has(const char *what)
{
	return slice_search(err.text, slice_of(what)) >= 0;
}

static void answers(struct task *task, void *arg)
{
	struct dns_answer answer;

	(void)arg;
	begin(task);
	assert_int_equal(ask(task, "a.example.org", DNS_A, &answer), OK);
	assert_int_equal(answer.count, 1);
	assert_memory_equal(answer.records[0].ip.bytes, "\1\2\3\4", 4);
	assert_false(answer.authentic);
	/* Another spelling, another final dot: the same question. */
	assert_int_equal(ask(task, "A.Example.ORG.", DNS_A, &answer), OK);
	assert_int_equal(server.asked_udp, 1);
	assert_int_equal(ask(task, "ad.example.org", DNS_A, &answer), OK);
	assert_true(answer.authentic);
	for (unsigned i = 0; i < 2; i++) { /* from the server, from the cache */
		assert_int_equal(ask(task, "mx.example.org", DNS_MX, &answer), OK);
		assert_int_equal(answer.count, 3);
		assert_int_equal(answer.ttl_s, 200);
		assert_true(slice_eq(answer.records[0].name, SLICE("a.mx.example.org")));
		assert_true(slice_eq(answer.records[2].name, SLICE("c.mx.example.org")));
	}
	assert_int_equal(server.asked_udp, 3);
	dns_done(task->shard);
}

/* dns_cname_loops: a resolver that leaves aliases to those who ask. */
static void aliases(struct task *task, void *arg)
{
	struct dns_answer answer;

	(void)arg;
	begin(task);
	assert_int_equal(ask(task, "alias.example.org", DNS_A, &answer), FAIL);
	assert_int_equal(server.asked_udp, 1);
	options.cname_loops = 1;
	dns_configure(task->shard, &options);
	assert_int_equal(ask(task, "alias.example.org.", DNS_A, &answer), OK);
	assert_int_equal(answer.count, 1);
	assert_true(slice_eq(answer.canonical, SLICE("a.example.org")));
	assert_int_equal(answer.ttl_s, 0);
	assert_int_equal(server.asked_udp, 3);
	assert_int_equal(ask(task, "alias.example.org", DNS_CNAME, &answer), OK);
	assert_int_equal(server.asked_udp, 4);
	/* One more than may be. */
	assert_int_equal(ask(task, "again.example.org", DNS_A, &answer), FAIL);
	assert_false(answer.nxdomain);
	options.cname_loops = 10;
	dns_configure(task->shard, &options);
	assert_int_equal(ask(task, "again.example.org", DNS_A, &answer), OK);
	assert_int_equal(ask(task, "loopa.example.org", DNS_A, &answer), FAIL);
	/* Where the resolver has proved that there is nothing it is not asked again. */
	server.asked_udp = 0;
	assert_int_equal(ask(task, "empty.example.org", DNS_A, &answer), FAIL);
	assert_int_equal(server.asked_udp, 1);
	dns_done(task->shard);
}

static void denials(struct task *task, void *arg)
{
	struct dns_answer answer;

	(void)arg;
	begin(task);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ask(task, "nx.example.org", DNS_A, &answer), FAIL);
		assert_true(answer.nxdomain);
		assert_int_equal(answer.ttl_s, 60);
		assert_int_equal(ask(task, "nodata.example.org", DNS_A, &answer), FAIL);
		assert_false(answer.nxdomain);
	}
	assert_int_equal(server.asked_udp, 2);
	/* Without SOA nothing may be kept. */
	assert_int_equal(ask(task, "nosoa.example.org", DNS_A, &answer), FAIL);
	assert_int_equal(ask(task, "nosoa.example.org", DNS_A, &answer), FAIL);
	assert_int_equal(server.asked_udp, 4);
	/* What cannot be a name is answered without asking. */
	assert_int_equal(ask(task, "a..example.org", DNS_A, &answer), FAIL);
	assert_int_equal(ask(task, "", DNS_A, &answer), FAIL);
	assert_int_equal(server.asked_udp, 4);
	dns_done(task->shard);
}

static void failures(struct task *task, void *arg)
{
	static const char *const names[] = {"servfail.example.org", "refused.example.org", "cut.example.org",
					    "silent.example.org"};
	static struct responder gone;
	struct dns_answer answer;

	(void)arg;
	begin(task);
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		assert_int_equal(ask(task, names[i], DNS_A, &answer), DEFER);
		assert_true(err_has(names[i]));
		/* For a second it is not asked again (RFC 9520). */
		unsigned asked = server.asked_udp;
		assert_int_equal(ask(task, names[i], DNS_A, &answer), DEFER);
		assert_int_equal(server.asked_udp, asked);
	}
	/* Nobody listens there any more. */
	responder_start(&gone);
	responder_stop(&gone);
	options.servers = gone.address;
	dns_configure(task->shard, &options);
	assert_int_equal(ask(task, "a.example.org", DNS_A, &answer), DEFER);
	options.servers = "not a server";
	dns_configure(task->shard, &options);
	assert_int_equal(ask(task, "a.example.org", DNS_A, &answer), DEFER);
	assert_true(err_has("not a list of name servers"));
	dns_done(task->shard);
}

static void deadline(struct task *task, void *arg)
{
	struct dns_answer answer;
	uint64_t start = shard_now(task->shard);

	(void)arg;
	begin(task);
	options.timeout_ms = 60000;
	dns_configure(task->shard, &options);
	task->until = task_until(task, 50);
	assert_int_equal(ask(task, "silent.example.org", DNS_A, &answer), DEFER);
	assert_true(err_has("no answer in time"));
	assert_true(shard_now(task->shard) - start < 10 * NS_PER_S);
	task->until = UNTIL_NEVER;
	/* The question is still under way when the room closes. */
	dns_done(task->shard);
}

static void truncation(struct task *task, void *arg)
{
	struct dns_answer answer;

	(void)arg;
	begin(task);
	assert_int_equal(ask(task, "big.example.org", DNS_TXT, &answer), OK);
	assert_int_equal(answer.count, 50);
	assert_int_equal(answer.records[49].text.len, 201);
	assert_int_equal(server.asked_udp, 1);
	assert_int_equal(server.asked_tcp, 1);
	assert_int_equal(ask(task, "big.example.org", DNS_TXT, &answer), OK);
	assert_int_equal(server.asked_tcp, 1);
	dns_done(task->shard);
}

static void lies(struct task *task, void *arg)
{
	struct dns_answer answer;

	(void)arg;
	begin(task);
	assert_int_equal(ask(task, "liar.example.org", DNS_A, &answer), OK);
	assert_memory_equal(answer.records[0].ip.bytes, "\1\2\3\4", 4);
	dns_done(task->shard);
}

static void old_server(struct task *task, void *arg)
{
	struct dns_answer answer;

	(void)arg;
	begin(task);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ask(task, i ? "formerr.example.net" : "formerr.example.org", DNS_A, &answer),
				 OK);
		assert_int_equal(answer.count, 1);
	}
	options.edns0 = 0;
	dns_configure(task->shard, &options);
	server.asked_udp = 0;
	assert_int_equal(ask(task, "formerr.example.org", DNS_A, &answer), OK);
	assert_int_equal(server.asked_udp, 1);
	dns_done(task->shard);
}

static void expiry(struct task *task, void *arg)
{
	struct dns_answer answer;

	(void)arg;
	begin(task);
	assert_int_equal(ask(task, "ttl0.example.org", DNS_A, &answer), OK);
	assert_int_equal(ask(task, "ttl0.example.org", DNS_A, &answer), OK);
	assert_int_equal(server.asked_udp, 2);
	assert_int_equal(ask(task, "a.example.org", DNS_A, &answer), OK);
	assert_int_equal(ask(task, "ttl1.example.org", DNS_A, &answer), OK);
	assert_int_equal(answer.ttl_s, 1);
	assert_int_equal(ask(task, "ttl1.example.org", DNS_A, &answer), OK);
	assert_int_equal(server.asked_udp, 4);
	/* The clock is what is tested here. */
	assert_int_equal(task_sleep(task, shard_now(task->shard) + 1100 * NS_PER_MS), OK);
	assert_int_equal(ask(task, "ttl1.example.org", DNS_A, &answer), OK);
	assert_int_equal(server.asked_udp, 5);
	assert_int_equal(ask(task, "a.example.org", DNS_A, &answer), OK);
	assert_int_equal(answer.ttl_s, 299); /* its age is taken off */
	assert_int_equal(answer.records[0].ttl_s, 299);
	assert_int_equal(server.asked_udp, 5);
	dns_done(task->shard);
}

static void bounds(struct task *task, void *arg)
{
	struct dns_answer answer;
	char name[40];

	(void)arg;
	begin(task);
	options.cache_count_max = 10;
	dns_configure(task->shard, &options);
	for (unsigned i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "a.%u.example.org", i);
		assert_int_equal(ask(task, name, DNS_A, &answer), OK);
		assert_int_equal(ask(task, "a.keep.example.org", DNS_A, &answer), OK);
	}
	assert_int_equal(server.asked_udp, 31); /* what is used stays */
	assert_int_equal(ask(task, "a.29.example.org", DNS_A, &answer), OK);
	assert_int_equal(ask(task, "a.21.example.org", DNS_A, &answer), OK);
	assert_int_equal(server.asked_udp, 31);
	assert_int_equal(ask(task, "a.20.example.org", DNS_A, &answer), OK);
	assert_int_equal(server.asked_udp, 32);
	dns_done(task->shard);
}

/* A busy shard does not ask from one port for ever, and its sockets do not pile up. */
static void ports(struct task *task, void *arg)
{
	struct dns_answer answer;
	char name[40];

	(void)arg;
	begin(task);
	for (unsigned i = 0; i < 1000; i++) {
		if (i % 50 == 0) { /* always one under way: c-ares keeps the socket */
			snprintf(name, sizeof(name), "silent.%u.example.org", i);
			dns_prefetch(task->shard, slice_of(name), DNS_A);
		}
		snprintf(name, sizeof(name), "a.%u.example.org", i);
		assert_int_equal(ask(task, name, DNS_A, &answer), OK);
	}
	assert_in_range(server.port_changes, 4, 100);
	dns_done(task->shard);
}

/* ---- Many ask the same ---- */

#define ASKERS 50
struct crowd {
	struct group group;
	unsigned ok, deferred, cancelled;
	struct task *first;
};

static void crowd_child(struct task *task, void *arg)
{
	struct crowd *crowd = arg;
	struct dns_answer answer;
	static unsigned number;
	unsigned me = number++ % ASKERS;

	if (me == 0)
		crowd->first = task;
	if (me == 1)
		task->until = task_until(task, 20);
	switch (dns_query(task, SLICE("gate.example.org"), DNS_A, &answer, NULL)) {
	case OK:
		crowd->ok += answer.count == 1;
		break;
	case DEFER:
		crowd->deferred++;
		task_cancel(crowd->first); /* he who sent the question leaves; it goes on for the others */
		responder_open(&server);
		break;
	case CANCELLED:
		crowd->cancelled++;
		break;
	case FAIL:
		break;
	}
}

static void coalescing(struct task *task, void *arg)
{
	struct crowd crowd = {.ok = 0};

	(void)arg;
	begin(task);
	options.timeout_ms = 60000;
	dns_configure(task->shard, &options);
	group_init(&crowd.group);
	for (unsigned i = 0; i < ASKERS; i++)
		assert_int_equal(group_spawn(task, &crowd.group, crowd_child, &crowd), OK);
	assert_int_equal(group_wait(task, &crowd.group), OK);
	assert_int_equal(crowd.deferred, 1);
	assert_int_equal(crowd.cancelled, 1);
	assert_int_equal(crowd.ok, ASKERS - 2);
	assert_int_equal(server.asked_udp, 1);
	dns_done(task->shard);
}

static void prefetch(struct task *task, void *arg)
{
	struct dns_answer answer;

	(void)arg;
	begin(task);
	dns_prefetch(task->shard, SLICE("a.example.org"), DNS_A);
	dns_prefetch(task->shard, SLICE("a.example.org"), DNS_A);
	dns_prefetch(task->shard, SLICE("a..example.org"), DNS_A);
	assert_int_equal(ask(task, "a.example.org", DNS_A, &answer), OK);
	assert_int_equal(server.asked_udp, 1);
	/* New options while a question is under way: it keeps the old server, and its answer is not kept. */
	dns_prefetch(task->shard, SLICE("a.example.net"), DNS_A);
	options.dnssec_ok = 1;
	dns_configure(task->shard, &options);
	assert_int_equal(ask(task, "a.example.net", DNS_A, &answer), OK);
	assert_int_equal(ask(task, "a.example.net", DNS_A, &answer), OK);
	assert_int_equal(server.asked_udp, 3);
	/* Time for the old channel to go by itself. */
	assert_int_equal(task_yield(task), OK);
	assert_int_equal(task_yield(task), OK);
	dns_done(task->shard);
}

static void cancelled_before(struct task *task, void *arg)
{
	struct dns_answer answer;

	(void)arg;
	begin(task);
	task_cancel(task);
	assert_int_equal(ask(task, "silent.example.org", DNS_A, &answer), CANCELLED);
	dns_done(task->shard);
}

static void host(struct task *task, void *arg)
{
	struct dns_answer answer;
	struct ip_addr ip;
	bool found = false;

	(void)arg;
	begin(task);
	err = err_make(task->arena);
	assert_int_equal(dns_hosts_file(task, SLICE("localhost"), &answer, &err), OK);
	assert_true(answer.count > 0);
	for (unsigned i = 0; i < answer.count; i++)
		found |= ip_is_loopback(&answer.records[i].ip);
	assert_true(found);
	assert_int_equal(dns_hosts_file(task, SLICE("10.11.12.13"), &answer, &err), OK);
	assert_int_equal(answer.count, 1);
	assert_int_equal(dns_hosts_file(task, SLICE(""), &answer, &err), FAIL);
	assert_int_equal(dns_hosts_file(task, SLICE("a\0b"), &answer, &err), FAIL);
	assert_true(ip_parse(SLICE("127.0.0.1"), &ip));
	assert_int_equal(dns_hosts_by_address(task, &ip, &answer, &err), OK);
	assert_true(slice_eq_nocase(slice_sub(answer.records[0].name, 0, 9), SLICE("localhost")));
	task_cancel(task);
	assert_int_equal(dns_hosts_file(task, SLICE("localhost"), &answer, &err), CANCELLED);
	dns_done(task->shard);
}

static void test_reverse(void **state)
{
	struct arena arena;
	struct ip_addr ip;

	(void)state;
	arena_init(&arena, 0);
	assert_true(ip_parse(SLICE("1.2.3.40"), &ip));
	assert_true(slice_eq(dns_reverse_name(&arena, &ip, SLICE_EMPTY), SLICE("40.3.2.1.in-addr.arpa")));
	assert_true(
	    slice_eq(dns_reverse_name(&arena, &ip, SLICE(".in-addr.arpa")), SLICE("40.3.2.1.in-addr.arpa")));
	assert_true(
	    slice_eq(dns_reverse_name(&arena, &ip, SLICE("bl.example")), SLICE("40.3.2.1.bl.example")));
	assert_true(ip_parse(SLICE("2001:db8::1f"), &ip));
	assert_true(
	    slice_eq(dns_reverse_name(&arena, &ip, SLICE_EMPTY),
		     SLICE("f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa")));
	arena_done(&arena);
	arena_pool_done();
}

#define ON_FIBER(f)                        \
	static void test_##f(void **state) \
	{                                  \
		(void)state;               \
		(void)run_fn(f, NULL);     \
	}
ON_FIBER(answers)
ON_FIBER(aliases)
ON_FIBER(denials)
ON_FIBER(failures)
ON_FIBER(deadline)
ON_FIBER(truncation)
ON_FIBER(lies)
ON_FIBER(old_server)
ON_FIBER(expiry)
ON_FIBER(bounds)
ON_FIBER(ports)
ON_FIBER(coalescing)
ON_FIBER(prefetch)
ON_FIBER(cancelled_before)
ON_FIBER(host)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_aliases),
	    cmocka_unit_test(test_denials),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_deadline),
	    cmocka_unit_test(test_truncation),
	    cmocka_unit_test(test_lies),
	    cmocka_unit_test(test_old_server),
	    cmocka_unit_test(test_expiry),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_coalescing),
	    cmocka_unit_test(test_ports),
	    cmocka_unit_test(test_prefetch),
	    cmocka_unit_test(test_cancelled_before),
	    cmocka_unit_test(test_host),
	    cmocka_unit_test(test_reverse),
	};
	int failed;

	responder_start(&server);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	responder_stop(&server);
	return failed;
}
