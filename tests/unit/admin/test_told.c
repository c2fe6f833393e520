/* What a command tells the daemon survives the way as words; who may do what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "admin/admin.h"

static void test_round_trip(void **state)
{
	struct smtp_told told = {.host_name = SLICE("h.test"),
				 .protocol = SLICE("p"),
				 .ident = SLICE_EMPTY,
				 .authenticator = SLICE("plain"),
				 .authenticated_id = SLICE("id=x"),
				 .authenticated_sender = SLICE("s@x"),
				 .suppress_fixups = true},
			 back = {.dont_deliver = false};
	struct slice words[TOLD_WORDS_MAX];
	struct arena arena;
	unsigned count;

	(void)state;
	arena_init(&arena, 0);
	told.about = (struct slice){NULL, 0, 0};
	assert_true(ip_parse(SLICE("2001:db8::1"), &told.host));
	told.host.port = 99;
	count = told_write(&told, &arena, words);
	assert_int_equal(count, 8);
	for (unsigned i = 0; i < count; i++)
		assert_true(told_read(words[i], &back));
	assert_true(ip_eq(&back.host, &told.host));
	assert_int_equal(back.host.port, 99);
	assert_int_equal(back.interface.family, 0);
	assert_true(slice_eq(back.authenticated_id, SLICE("id=x")));
	assert_true(back.ident.ptr && !back.ident.len);
	assert_null(back.about.ptr);
	assert_true(back.suppress_fixups && !back.dont_deliver && !back.queue_only);
	arena_done(&arena);
}

static void test_malformed_words(void **state)
{
	static const char *const words[] = {"",
					    "host",
					    "host=",
					    "host=1.2.3.4",
					    "host=[1.2.3.4",
					    "host=[]1",
					    "host=[1.2.3.4]",
					    "host=[1.2.3.4]65536",
					    "host=[1.2.3.4]x",
					    "interface=[x]1",
					    "nosuch=x",
					    "protocol",
					    "dont-deliver=1"};
	struct smtp_told told = {.dont_deliver = false};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(words); i++)
		if (told_read(slice_of(words[i]), &told))
			fail_msg("%s was taken", words[i]);
}

static void test_judgement(void **state)
{
	struct conf_main o = {.exim_user = {.id = 500, .set = true}, .exim_group = {.id = 600, .set = true}};
	static const uint32_t admins[] = {700}, users[] = {501}, groups[] = {701};
	struct conf conf = {.groups = {[CONF_MAIN] = &o}};
	static const struct {
		struct caller caller;
		bool owner, trusted, admin;
	} rows[] = {
	    {{.uid = 0}, false, true, true},
	    {{.uid = 500, .gid = 1}, false, true, true},
	    {{.uid = 9, .gid = 9}, false, false, false},
	    {{.uid = 9, .gid = 9}, true, true, true},
	    {{.uid = 501, .gid = 9}, false, true, false},
	    {{.uid = 9, .gid = 701}, false, true, false},
	    {{.uid = 9, .gid = 9, .groups = {1, 701}, .group_count = 2}, false, true, false},
	    {{.uid = 9, .gid = 9, .groups = {1, 701}, .group_count = 1}, false, false, false},
	    {{.uid = 9, .gid = 600}, false, false, true},
	    {{.uid = 9, .gid = 9, .groups = {700}, .group_count = 1}, false, false, true},
	};

	(void)state;
	o.admin_groups = (struct conf_id_list){admins, 1, true};
	o.trusted_users = (struct conf_id_list){users, 1, true};
	o.trusted_groups = (struct conf_id_list){groups, 1, true};
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct caller caller = rows[i].caller;

		caller_judge(&caller, &conf, rows[i].owner);
		if (caller.trusted != rows[i].trusted || caller.admin != rows[i].admin)
			fail_msg("row %zu: trusted %d, admin %d", i, caller.trusted, caller.admin);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_malformed_words),
	    cmocka_unit_test(test_judgement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
