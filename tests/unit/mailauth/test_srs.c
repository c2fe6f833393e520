/* SRS by libsrs_alt: addresses that Mail::SRS (another implementation) makes and takes apart, day by day; and the native one, by
 * its expansions, on days around those where its stamp begins anew. */
#include "../expand/harness.h"

#include "mailauth/srs.h"
#include "reactor/shard.h"

static struct srs_settings settings(const char *secret)
{
	return (struct srs_settings){.secrets = {slice_of(secret)},
				     .secret_count = 1,
				     .maxage = 31,
				     .hashlength = 6,
				     .hashmin = -1,
				     .usehash = true,
				     .usetimestamp = true};
}

static struct slice forward(struct arena *arena, const struct srs_settings *s, uint64_t day,
			    const char *sender)
{
	struct slice made;

	assert_int_equal(srs_forward(arena, s, day, slice_of(sender), SLICE("fwd.example"),
				     (struct slice){NULL, 0, 0}, &made),
			 OK);
	return made;
}

static void test_there_and_back(void **state)
{
	static const char *const senders[] = {"user@orig.example", "User.Name+x@Orig.Example", "a=b-c+d@x.y",
					      "SRS0x@orig.example", "\"a b\"@orig.example"};
	struct arena arena;
	struct srs_settings s = settings("secret");

	(void)state;
	arena_init(&arena, 0);
	for (uint64_t day = 20000; day < 20000 + 2 * SRS_DAYS; day += 61)
		for (unsigned i = 0; i < ARRAY_COUNT(senders); i++) {
			struct slice made = forward(&arena, &s, day, senders[i]), back;
			assert_int_equal(srs_reverse(&arena, &s, day + i, made, false, &back), SRS_OK);
			assert_true(slice_eq(back, slice_of(senders[i])));
			assert_int_equal(srs_reverse(&arena, &s, day + 31, made, false, &back), SRS_OK);
			assert_int_equal(srs_reverse(&arena, &s, day + 32, made, false, &back), SRS_BAD);
			assert_int_equal(srs_reverse(&arena, &s, day - 1, made, false, &back),
					 SRS_BAD); /* from tomorrow */
		}
	arena_done(&arena);
}

static void test_shortcut(void **state)
{
	struct arena arena;
	struct srs_settings s = settings("one"), t = settings("two");
	struct slice first, second, third, back;
	char text[300];

	(void)state;
	arena_init(&arena, 0);
	first = forward(&arena, &s, 20000, "user@orig.example");
	snprintf(text, sizeof(text), "%.*s", SLICE_ARG(first));
	second = forward(&arena, &t, 20000, text);
	assert_true(slice_starts(second, SLICE("SRS1=")));
	assert_true(slice_search(second, SLICE("=fwd.example==")) > 0);
	snprintf(text, sizeof(text), "%.*s", SLICE_ARG(second));
	third = forward(&arena, &s, 20000, text);
	/* the first hop and its text stay, the hash is another */
	assert_true(slice_eq(slice_from(second, 12), slice_from(third, 12)));
	assert_false(slice_eq(second, third));
	assert_int_equal(srs_reverse(&arena, &s, 20001, third, false, &back), SRS_OK);
	assert_true(slice_eq(back, first));
	assert_int_equal(srs_reverse(&arena, &t, 20001, third, false, &back), SRS_BAD);
	arena_done(&arena);
}

static void test_secrets_and_letters(void **state)
{
	struct arena arena;
	struct srs_settings old = settings("old"), both = settings("new");
	struct slice made, back;
	char text[300];

	(void)state;
	arena_init(&arena, 0);
	both.secrets[both.secret_count++] = SLICE("old");
	made = forward(&arena, &old, 20000, "user@orig.example");
	assert_int_equal(srs_reverse(&arena, &both, 20000, made, false, &back), SRS_OK);
	assert_false(slice_eq(made, forward(&arena, &both, 20000, "user@orig.example")));
	/* A relay that folds the case. */
	snprintf(text, sizeof(text), "%.*s", SLICE_ARG(made));
	for (char *c = text; *c; c++)
		*c = ascii_lower(*c);
	assert_int_equal(srs_reverse(&arena, &both, 20000, slice_of(text), false, &back), SRS_OK);
	/* A shorter hash only if that is allowed. */
	made = arena_printf(&arena, "SRS0=%.*s%.*s", SLICE_ARG(slice_sub(made, 5, 4)),
			    SLICE_ARG(slice_from(made, 11)));
	assert_int_equal(srs_reverse(&arena, &both, 20000, made, false, &back), SRS_BAD);
	both.hashmin = 4;
	assert_int_equal(srs_reverse(&arena, &both, 20000, made, false, &back), SRS_OK);
	arena_done(&arena);
}

static void test_bad(void **state)
{
	static const struct {
		const char *address;
		enum srs_verdict verdict;
	} rows[] = {
	    {"user@fwd.example", SRS_NOT},
	    {"SRS0@fwd.example", SRS_NOT},
	    {"SRS0=@fwd.example", SRS_NOT},
	    {"SRS0=x@fwd.example", SRS_NOT},
	    {"SRS0=x=y@fwd.example", SRS_NOT},
	    {"SRS0=x=y=z@fwd.example", SRS_NOT},
	    {"SRS0=x=y=z=@fwd.example", SRS_NOT},
	    {"SRS0==y=z=u@fwd.example", SRS_NOT},
	    {"SRS0=xxxxxx=AA=z=u@fwd.example", SRS_BAD},
	    {"SRS0+xxxxxx=AA=z=u@fwd.example", SRS_BAD},
	    {"SRS0-xxxxxx=AA=z=u@fwd.example", SRS_BAD},
	    {"SRS0*xxxxxx=AA=z=u@fwd.example", SRS_NOT},
	    {"SRS0=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx=AA=z=u@fwd.example", SRS_BAD},
	    {"SRS1=xxxxxx=first@fwd.example", SRS_NOT},
	    {"SRS1=xxxxxx=first=rest@fwd.example", SRS_NOT},
	    {"SRS1=xxxxxx=first==rest@fwd.example", SRS_BAD},
	    {"SRS1=xxxxxx===rest@fwd.example", SRS_NOT},
	    {"SRS2=xxxxxx=AA=z=u@fwd.example", SRS_NOT},
	    {"", SRS_NOT},
	    {"@fwd.example", SRS_NOT},
	};
	struct arena arena;
	struct srs_settings s = settings("secret");
	struct slice back;

	(void)state;
	arena_init(&arena, 0);
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		if (srs_reverse(&arena, &s, 20000, slice_of(rows[i].address), false, &back) !=
		    rows[i].verdict)
			fail_msg("%s", rows[i].address);
	assert_int_equal(
	    srs_forward(&arena, &s, 1, SLICE("nodomain"), SLICE("a"), (struct slice){NULL, 0, 0}, &back),
	    FAIL);
	assert_int_equal(
	    srs_forward(&arena, &s, 1, SLICE("@x"), SLICE("a"), (struct slice){NULL, 0, 0}, &back), FAIL);
	arena_done(&arena);
}

static void test_database(void **state)
{
	struct arena arena;
	struct srs_settings s = settings("secret");
	struct slice key, made, back;

	(void)state;
	arena_init(&arena, 0);
	assert_int_equal(srs_key(&arena, &s, SLICE("user@orig.example"), &key), OK);
	assert_int_equal(key.len, 16);
	assert_int_equal(
	    srs_forward(&arena, &s, 20000, SLICE("user@orig.example"), SLICE("fwd.example"), key, &made), OK);
	assert_int_equal(srs_reverse(&arena, &s, 20000, made, true, &back), SRS_OK);
	assert_true(slice_eq(back, key));
	s.usehash = s.usetimestamp = false;
	made = forward(&arena, &s, 20000, "user@orig.example");
	assert_true(slice_eq(made, SLICE("SRS0=orig.example=user@fwd.example")));
	assert_int_equal(srs_reverse(&arena, &s, 1, made, false, &back), SRS_OK);
	assert_true(slice_eq(back, SLICE("user@orig.example")));
	arena_done(&arena);
}

/* ---- ${srs_encode and inbound_srs ------------------------------------------------------------------------------- */

static void on_day(struct harness *h, uint64_t day)
{
	h->shard->wall = (day * 86400 + 43200) * NS_PER_S;
}

static struct slice evaluate(struct harness *h, const char *text)
{
	struct err err = err_make(&h->err_arena);
	struct slice result;

	if (expand_text(&h->scope, slice_of(text), &result, &err) != OK)
		fail_msg("%s: %.*s", text, SLICE_ARG(err.text));
	return result;
}

/* Is it taken, that many days later? */
static bool is_taken(struct harness *h, struct slice made, uint64_t day)
{
	char text[300];

	on_day(h, day);
	snprintf(text, sizeof(text), "${if inbound_srs{%.*s}{secret}{$srs_recipient}{no}}",
		 SLICE_ARG(slice_sub(made, 0, (size_t)slice_find(made, '@'))));
	return slice_eq(evaluate(h, text), SLICE("user@orig.example"));
}

static void native_days(struct harness *h)
{
	static const uint64_t days[] = {
	    20 * SRS_DAYS - 2,  20 * SRS_DAYS - 1, 20 * SRS_DAYS, 20 * SRS_DAYS + 1, 1023, 1024, 20000,
	    20 * SRS_DAYS + 512};
	static const char *const stamps[] = {"=76=", "=77=", "=aa=", "=ab=", "=77=", "=aa=", NULL, "=qa="};

	for (unsigned i = 0; i < ARRAY_COUNT(days); i++) {
		struct slice made;

		on_day(h, days[i]);
		made = evaluate(h, "${srs_encode{secret}{User@orig.example}{fwd.example}}");
		if (stamps[i] && slice_search(made, slice_of(stamps[i])) < 0)
			fail_msg("%.*s has not %s", SLICE_ARG(made), stamps[i]);
		for (uint64_t age = 0; age <= 10; age++)
			assert_true(is_taken(h, made, days[i] + age));
		assert_false(is_taken(h, made, days[i] + 11));
		assert_false(is_taken(h, made, days[i] - 1)); /* from tomorrow */
		assert_false(is_taken(h, made, days[i] + SRS_DAYS - 1));
		assert_true(is_taken(h, made, days[i] + SRS_DAYS)); /* two characters know no more */
	}
}

static void test_native_days(void **state)
{
	static const struct expand_item *const *const items[] = {expand_items, srs_items, NULL};
	static const struct expand_condition *const *const conditions[] = {expand_conditions, srs_conditions,
									   NULL};
	static const struct variable_table *const variables[] = {&expand_variables, &message_variables,
								 &srs_variables, NULL};

	(void)state;
	harness_language.items = items;
	harness_language.conditions = conditions;
	harness_language.variables = variables;
	harness_run(HARNESS_CONF, native_days);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_there_and_back),
	    cmocka_unit_test(test_shortcut),
	    cmocka_unit_test(test_secrets_and_letters),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_database),
	    cmocka_unit_test(test_native_days),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
