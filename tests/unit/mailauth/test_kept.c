/* What records come to, kept: the same object for the same text, another one when the record changes, the oldest dropped at the
 * bounds, and whoever uses one still has it then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mailauth/dkim.h"
#include "mailauth/kept.h"
#include "zone.h"

struct thing {
	struct slice text; /* a copy of its own */
	char room[100];
};
static unsigned made, ended;
static bool refuse;

static bool thing_make(struct arena *arena, struct slice text, void *object)
{
	struct thing *thing = object;

	assert_int_equal(thing->text.len, 0); /* it begins as zeros */
	if (refuse)
		return false;
	thing->text = arena_copy(arena, text);
	made++;
	return true;
}

static void thing_done(void *object)
{
	(void)object;
	ended++;
}

static const struct kept_kind things = {.number = KEPT_SPF_RECORDS,
					.count_max = 10,
					.size = sizeof(struct thing),
					.make = thing_make,
					.done = thing_done};

static struct shard *shard;

static struct thing *get(const char *name, const char *text)
{
	return kept_get(shard, &things, slice_of(name), slice_of(text));
}

static void test_changes(void **state)
{
	struct thing *first = get("a.example", "v=spf1 -all"), *again, *changed;

	(void)state;
	made = ended = 0;
	again = get("A.example", "v=spf1 -all");
	assert_ptr_equal(again, first);
	assert_int_equal(made, 0);
	/* One byte is another record, and the old one is not found any more. */
	changed = get("a.example", "v=spf1 +all");
	assert_ptr_not_equal(changed, first);
	assert_int_equal(made, 1);
	assert_true(slice_eq(changed->text, SLICE("v=spf1 +all")));
	assert_int_equal(kept_count(shard, &things), 1);
	/* Those who still use it do. */
	assert_int_equal(ended, 0);
	assert_true(slice_eq(first->text, SLICE("v=spf1 -all")));
	kept_release(first);
	assert_int_equal(ended, 0);
	kept_release(again);
	assert_int_equal(ended, 1);
	kept_release(changed);
	assert_int_equal(ended, 1);
	/* Nobody had it while it stayed. */
	assert_ptr_equal(get("a.example", "v=spf1 +all"), changed);
	kept_release(changed);
}

static void test_count(void **state)
{
	char name[20];

	(void)state;
	made = ended = 0;
	for (unsigned i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		kept_release(get(name, "text"));
		kept_release(get("n0", "text")); /* in use all the time */
	}
	assert_int_equal(kept_count(shard, &things), 10);
	assert_int_equal(made, 30);
	kept_release(get("n29", "text"));
	kept_release(get("n21", "text"));
	kept_release(get("n0", "text"));
	assert_int_equal(made, 30);
	kept_release(get("n20", "text"));
	assert_int_equal(made, 31);
}

static void test_bytes(void **state)
{
	struct thing *thing = get("large", "text"), *other;

	(void)state;
	/* Too large for the shelf: dropped, but not while it is used. */
	ended = 0;
	kept_grown(thing, KEPT_BYTES_MAX);
	assert_int_equal(kept_count(shard, &things), 0);
	kept_grown(thing, 1);
	assert_true(slice_eq(thing->text, SLICE("text")));
	other = get("large", "text");
	assert_ptr_not_equal(other, thing);
	kept_release(other);
	kept_release(thing);
	assert_int_equal(kept_count(shard, &things), 1);
}

static void test_refused(void **state)
{
	char long_text[KEPT_TEXT_MAX + 2];

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	long_text[KEPT_TEXT_MAX + 1] = 0;
	assert_null(get("long", long_text));
	assert_null(kept_get(NULL, &things, SLICE("a"), SLICE("b")));
	refuse = true;
	assert_null(get("no memory", "text"));
	refuse = false;
	kept_release(NULL);
	kept_release(get("no memory", "text"));
}

/* A key is taken apart once, its mistakes too, and a changed record is another key. */
static void test_keys(void **state)
{
	static const char good[] =
	    "v=DKIM1; k=ed25519; n=first; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
			  bad[] = "v=DKIM1; k=ed25519; p=11qY", revoked[] = "v=DKIM1; p=";
	struct slice name = SLICE("s._domainkey.a.example");
	enum dkim_reason reason;
	struct dkim_key key, again;
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	assert_int_equal(dkim_key_get(shard, &arena, name, slice_of(good), &key, &reason), OK);
	assert_int_equal(dkim_key_get(shard, &arena, name, slice_of(good), &again, &reason), OK);
	assert_non_null(key.kept);
	assert_ptr_equal(again.kept, key.kept);
	dkim_key_release(&again);
	assert_null(again.kept);
	assert_int_equal(dkim_key_get(shard, &arena, name, slice_of(revoked), &again, &reason), FAIL);
	assert_int_equal(reason, REASON_KEY_REVOKED);
	dkim_key_release(&again);
	assert_true(slice_eq(key.notes, SLICE("first")));
	dkim_key_release(&key);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(dkim_key_get(shard, &arena, name, slice_of(bad), &key, &reason), FAIL);
		assert_int_equal(reason, REASON_KEY_DATA);
		dkim_key_release(&key);
	}
	/* Without a shard, from the arena. */
	assert_int_equal(dkim_key_get(NULL, &arena, name, slice_of(good), &key, &reason), OK);
	assert_null(key.kept);
	dkim_key_release(&key);
	arena_done(&arena);
}

/* ---- While answers are good, nobody is asked ------------------------------------------------------------------------- */

static struct zone_row rows[] = {
    {"a.example", "TXT", "v=spf1 ip4:192.0.2.1 a:mail.a.example ?all"},
    {"mail.a.example", "A", "192.0.2.2"},
    {"fail.example", "TXT", "v=spf1 -all"},
    {"broken.example", "TXT", "v=spf1 nonsense"},
    {"trouble.example", "DEFER", ""},
    {"ptr.example", "TXT", "v=spf1 ptr ~all"},
    {"9.2.0.192.in-addr.arpa", "DEFER", ""},
    {"local.example", "TXT", "v=spf1 exists:%{l}.local.example ~all"},
    {"good.local.example", "A", "127.0.0.2"},
    {"_dmarc.a.example", "TXT", "v=DMARC1; p=reject; rua=mailto:x@a.example"},
    {"s._domainkey.a.example", "TXT", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
    {"r._domainkey.a.example", "TXT", "v=DKIM1; p="},
};
static struct zone zone = {.rows = rows, .count = ARRAY_COUNT(rows)};
static uint32_t ttl_s;

static enum rc timed_query(struct task *task, void *arg, struct slice name, enum dns_type type,
			   struct dns_answer *answer, struct err *err)
{
	enum rc rc = zone_query(task, arg, name, type, answer, err);

	/* The address is what is good for the shortest time. */
	answer->ttl_s = type == DNS_A && ttl_s ? 1 + ttl_s / 2 : ttl_s;
	return rc;
}

static const struct mailauth_resolver timed = {
    .query = timed_query, .prefetch = zone_ahead, .arg = &zone, .timed = true};

/* How many questions the result takes. */
static unsigned spf(const char *ip, const char *sender, const char *guess, enum mailauth_result expected)
{
	struct spf_query query = {.sender = slice_of(sender),
				  .helo = SLICE("helo.example"),
				  .guess = slice_of(guess),
				  .explanation = SLICE("%{i} may not")};
	struct spf_result result;
	unsigned before = zone.questions;
	struct arena arena;
	struct task task;

	arena_init(&arena, 0);
	task_init(&task, shard, &arena, UINT64_MAX);
	assert_true(ip_parse(slice_of(ip), &query.ip));
	assert_int_equal(spf_check(&task, &timed, &query, &result), OK);
	assert_int_equal(result.result, expected);
	assert_int_equal(result.explanation.len > 0, expected == MAILAUTH_FAIL);
	if (slice_eq(result.domain, SLICE("a.example"))) {
		assert_int_equal(result.terms, strcmp(ip, "192.0.2.1") != 0);
		assert_true(slice_eq(result.mechanism, strcmp(ip, "192.0.2.1") == 0 ? SLICE("ip4:192.0.2.1")
						       : expected == MAILAUTH_PASS ? SLICE("a:mail.a.example")
										   : SLICE("?all")));
	}
	arena_done(&arena);
	return zone.questions - before;
}

static void test_spf_results(void **state)
{
	(void)state;
	/* Answers without time are asked for each time, and so are those of another resolver than the last. */
	for (ttl_s = 0; ttl_s < 2; ttl_s++)
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(spf("192.0.2.2", "x@a.example", NULL, MAILAUTH_PASS), 2);
	ttl_s = 300;
	assert_int_equal(spf("192.0.2.2", "x@a.example", NULL, MAILAUTH_PASS), 2);
	assert_int_equal(spf("192.0.2.2", "y@A.Example", NULL, MAILAUTH_PASS), 0);
	assert_int_equal(spf("192.0.2.1", "x@a.example", NULL, MAILAUTH_PASS), 1);
	assert_int_equal(spf("192.0.2.1", "x@a.example", NULL, MAILAUTH_PASS), 0);
	assert_int_equal(spf("192.0.2.3", "x@a.example", NULL, MAILAUTH_NEUTRAL), 2);
	assert_int_equal(spf("192.0.2.3", "x@a.example", NULL, MAILAUTH_NEUTRAL), 0);
	dns_configure(shard, &(struct dns_options){.servers = "127.0.0.2"});
	assert_int_equal(spf("192.0.2.2", "x@a.example", NULL, MAILAUTH_PASS), 2);
	assert_int_equal(spf("192.0.2.2", "x@a.example", NULL, MAILAUTH_PASS), 0);
	dns_forget(shard, SLICE("a.example"), DNS_TXT);
	assert_int_equal(spf("192.0.2.2", "x@a.example", NULL, MAILAUTH_PASS), 2);
	/* What nobody publishes may be guessed, and that by another record each time. */
	assert_int_equal(spf("192.0.2.2", "x@none.example", NULL, MAILAUTH_NONE), 1);
	assert_int_equal(spf("192.0.2.2", "x@none.example", NULL, MAILAUTH_NONE), 0);
	assert_int_equal(spf("192.0.2.2", "x@none.example", "v=spf1 +all", MAILAUTH_PASS), 1);
	assert_int_equal(spf("192.0.2.2", "x@none.example", "v=spf1 ~all", MAILAUTH_SOFTFAIL), 1);
	assert_int_equal(spf("192.0.2.2", "x@none.example", NULL, MAILAUTH_NONE), 0);
	/* What is more than an address and a domain, or is no good answer. */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(spf("192.0.2.2", "x@fail.example", NULL, MAILAUTH_FAIL), 1);
		assert_int_equal(spf("192.0.2.2", "x@broken.example", NULL, MAILAUTH_PERMERROR), 1);
		assert_int_equal(spf("192.0.2.2", "x@trouble.example", NULL, MAILAUTH_TEMPERROR), 1);
		assert_int_equal(spf("192.0.2.9", "x@ptr.example", NULL, MAILAUTH_SOFTFAIL), 2);
		assert_int_equal(spf("192.0.2.2", "good@local.example", NULL, MAILAUTH_PASS), 2);
		assert_int_equal(spf("192.0.2.2", "bad@local.example", NULL, MAILAUTH_SOFTFAIL), 2);
	}
	assert_int_equal(spf("192.0.2.2", "", NULL, MAILAUTH_NONE), 1);
	assert_int_equal(spf("192.0.2.2", "", NULL, MAILAUTH_NONE), 0);
}

static struct slice org_is_itself(void *arg, struct arena *arena, struct slice domain)
{
	(void)arg;
	(void)arena;
	return domain;
}

static unsigned dmarc(const char *from, bool legacy, enum dmarc_status expected)
{
	struct slice domain = slice_of(from);
	struct dmarc_query query = {.from = &domain,
				    .from_count = 1,
				    .spf = MAILAUTH_NONE,
				    .spf_domain = SLICE_EMPTY,
				    .org = legacy ? org_is_itself : NULL};
	struct dmarc_result result;
	unsigned before = zone.questions;
	struct arena arena;
	struct task task;

	arena_init(&arena, 0);
	task_init(&task, shard, &arena, UINT64_MAX);
	assert_int_equal(dmarc_check(&task, &timed, &query, &result), OK);
	assert_int_equal(result.status, expected);
	if (result.used_domain.len)
		assert_true(slice_eq(result.record.rua, SLICE("mailto:x@a.example")));
	arena_done(&arena);
	return zone.questions - before;
}

static void test_dmarc_policies(void **state)
{
	unsigned ahead;

	(void)state;
	ttl_s = 0;
	assert_int_equal(dmarc("a.example", false, DMARC_REJECT), 2);
	ttl_s = 300;
	assert_int_equal(dmarc("a.example", false, DMARC_REJECT), 2);
	ahead = zone.ahead;
	assert_int_equal(dmarc("a.example", false, DMARC_REJECT), 0);
	assert_int_equal(zone.ahead, ahead);
	/* The other way to read a record is another thing to keep. */
	assert_int_equal(dmarc("a.example", true, DMARC_REJECT), 1);
	assert_int_equal(dmarc("a.example", true, DMARC_REJECT), 0);
	/* Below it only its own name is new; and that there is nothing is known as well. */
	assert_int_equal(dmarc("b.a.example", false, DMARC_REJECT), 1);
	assert_int_equal(dmarc("b.a.example", false, DMARC_REJECT), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(dmarc("trouble.example", false, DMARC_NORECORD), i ? 0 : 1);
	dns_forget(shard, SLICE("_dmarc.a.example"), DNS_TXT);
	assert_int_equal(dmarc("a.example", false, DMARC_REJECT), 2);
}

static unsigned key_fetch(const char *selector, enum dkim_reason expected)
{
	struct dkim_limits limits = {.ed25519_bits_min = 250};
	unsigned before = zone.questions;
	enum dkim_reason reason;
	struct dkim_key key;
	struct arena arena;
	struct task task;
	struct err err;

	arena_init(&arena, 0);
	err = err_make(&arena);
	task_init(&task, shard, &arena, UINT64_MAX);
	struct dkim_work work = {.task = &task, .arena = &arena, .resolver = &timed, .limits = &limits};
	assert_int_equal(dkim_key_fetch(&work, slice_of(selector), SLICE("a.example"), KEY_ED25519,
					HASH_SHA256, &key, &reason, &err),
			 expected == REASON_NONE ? OK : FAIL);
	assert_int_equal(reason, expected);
	dkim_key_release(&key);
	arena_done(&arena);
	return zone.questions - before;
}

static void test_key_answers(void **state)
{
	(void)state;
	for (ttl_s = 0; ttl_s < 2; ttl_s++)
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(key_fetch("s", REASON_NONE), 1);
	ttl_s = 300;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(key_fetch("s", REASON_NONE), i ? 0 : 1);
		assert_int_equal(key_fetch("r", REASON_KEY_REVOKED), i ? 0 : 1);
		assert_int_equal(key_fetch("none", REASON_KEY_NONE), 1);
	}
	dns_forget(shard, SLICE("x.example"), DNS_TXT);
	rows[ARRAY_COUNT(rows) - 2].data = "v=DKIM1; p=";
	assert_int_equal(key_fetch("s", REASON_KEY_REVOKED), 1);
	assert_int_equal(key_fetch("s", REASON_KEY_REVOKED), 0);
}

/* The time of what is kept is that of its shortest answer. */
static void test_time(void **state)
{
	struct kept_time time = kept_time_begin(shard);
	struct dns_answer answer = {.ttl_s = 10};
	struct thing *thing;

	(void)state;
	made = 0;
	thing = get("time", "text");
	assert_null(kept_find(shard, &things, SLICE("time")));
	kept_time_answer(&time, shard, OK, &answer);
	assert_true(time.until > shard_now(shard) + 8 * NS_PER_S &&
		    time.until <= shard_now(shard) + 9 * NS_PER_S);
	kept_believe(thing, &time);
	assert_ptr_equal(kept_find(shard, &things, SLICE("TIME")), thing);
	kept_release(thing);
	answer.ttl_s = 4;
	kept_time_answer(&time, shard, FAIL, &answer);
	assert_true(time.until <= shard_now(shard) + 3 * NS_PER_S);
	answer.ttl_s = 100;
	kept_time_answer(&time, shard, OK, &answer);
	assert_true(time.until <= shard_now(shard) + 3 * NS_PER_S);
	time.until = shard_now(shard); /* over */
	kept_believe(thing, &time);
	assert_null(kept_find(shard, &things, SLICE("time")));
	time = kept_time_begin(shard);
	kept_time_answer(&time, shard, DEFER, &answer);
	kept_believe(thing, &time);
	assert_null(kept_find(shard, &things, SLICE("time")));
	kept_believe(NULL, &time);
	kept_release(thing);
}

static int setup(void **state)
{
	struct shard_options options = {.count = 1, .cpu = -1, .buf_count = 8};
	struct err err = err_make(NULL);

	(void)state;
	return shard_new(&options, &shard, &err) == OK ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	kept_done(shard);
	dns_done(shard);
	shard_free(shard);
	arena_pool_done();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_changes),        cmocka_unit_test(test_count),
	    cmocka_unit_test(test_bytes),          cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_keys),           cmocka_unit_test(test_spf_results),
	    cmocka_unit_test(test_dmarc_policies), cmocka_unit_test(test_key_answers),
	    cmocka_unit_test(test_time),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
