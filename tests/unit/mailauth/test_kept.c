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
	shard_free(shard);
	arena_pool_done();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_changes), cmocka_unit_test(test_count), cmocka_unit_test(test_bytes),
	    cmocka_unit_test(test_refused), cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
