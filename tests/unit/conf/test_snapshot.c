/* What a snapshot holds, who may see it, and how long it lives. */

#include "conf_test.h"

#include <pthread.h>

static struct conf *load_text(struct place *place, const char *text)
{
	char error[1024];
	struct arena arena;
	struct conf *conf;

	arena_init(&arena, 0);
	place_write(place, "f", text, strlen(text));
	conf = load_file(place, &arena, NULL, error, sizeof(error));
	if (!conf)
		fail_msg("%s", error);
	arena_done(&arena);
	return conf;
}

/* conf_print() of a word, compared with what is wanted; @ stands for the folder. */
static void check_print(const struct place *place, const struct conf *conf, const char *what, bool admin,
			bool no_names, enum rc rc, const char *want)
{
	struct arena arena;
	struct str str, expect;
	struct err err;
	struct slice got;

	arena_init(&arena, 0);
	str = str_make(&arena);
	expect = str_make(&arena);
	err = err_make(&arena);
	for (const char *c = want; *c; c++) {
		if (*c == '@')
			str_addz(&expect, place->dir);
		else
			str_addc(&expect, *c);
	}
	assert_int_equal(conf_print(conf, slice_of(what), admin, no_names, &str, &err), rc);
	got = rc == OK ? str_slice(&str) : err.text;
	if (!slice_eq(got, str_slice(&expect)))
		fail_msg("%s:\ngot:  %.*s\nwant: %.*s", what, SLICE_ARG(got), SLICE_ARG(str_slice(&expect)));
	arena_done(&arena);
}

static const char printed[] =
    "SECRET = x\n"
    "hide qualify_domain = a.SECRET\n"
    "queue_only\n"
    "hide domainlist d = one\n"
    "addresslist d = two@\n"
    "begin routers\n"
    "first:\n driver = redirect\n data = \"a\\tb\"\n hide transport = t\n no_more\n user = 12345\n"
    "Q = 1\n"
    "second:\n transport = t2\n  condition = a\n driver = accept\ncondition = b\n"
    " headers_add = A: b\n headers_add = C: \\\n  d\n headers_remove = x\n headers_remove = y\n"
    " set = r_a = b\n set = r_c = d\n user = $local_part\n"
    "begin acl\nacl_check:\n  accept domains = a : b\n  message = x\n"
    "begin retry\n* * F,2h,10m\n";

static void prints(void **state)
{
	struct place place;
	struct conf *conf;

	(void)state;
	place_make(&place);
	conf = load_text(&place, printed);
	check_print(&place, conf, "qualify_domain", true, false, OK, "qualify_domain = a.x\n");
	check_print(&place, conf, "qualify_domain", false, false, OK,
		    "qualify_domain = <value not displayable>\n");
	check_print(&place, conf, "qualify_domain", true, true, OK, "a.x\n");
	check_print(&place, conf, "qualify_domain", false, true, OK, "<value not displayable>\n");
	check_print(&place, conf, "queue_only", true, true, OK, "queue_only\n");
	check_print(&place, conf, "nosuch", true, false, FAIL, "nosuch is not a known option");
	conf_unref(conf);
	place_remove(&place);
}

static void prints_lists(void **state)
{
	struct place place;
	struct conf *conf;

	(void)state;
	place_make(&place);
	conf = load_text(&place, "hide domainlist d = one\naddresslist d = two\nA = 1\nZ = 2\n");
	check_print(&place, conf, "+d", true, false, OK, "addresslist d = two\ndomainlist d = one\n");
	check_print(&place, conf, "+d", false, false, OK,
		    "addresslist d = two\ndomainlist d = <value not displayable>\n");
	check_print(&place, conf, "+d", true, true, OK, "two\none\n");
	check_print(&place, conf, "+x", true, false, FAIL,
		    "no address, domain, host, or local part list called \"x\" exists");
	check_print(&place, conf, "macro A", true, false, OK, "A=1\n");
	check_print(&place, conf, "macro _HAVE_TLS", true, false, OK, "_HAVE_TLS=y\n");
	check_print(&place, conf, "macro B", true, false, FAIL, "macro B not found");
	check_print(&place, conf, "macro A", false, false, FAIL, "macros are shown to admin users only");
	check_print(&place, conf, "config", false, false, FAIL,
		    "the configuration is shown to admin users only");
	check_print(&place, conf, "config_file", false, false, OK, "@/f\n");
	check_print(&place, conf, "local_scan", false, false, OK, "local_scan() options are not supported\n");
	conf_unref(conf);
	place_remove(&place);
}

static void prints_drivers(void **state)
{
	struct place place;
	struct conf *conf;
	static const char second[] = "condition = ${if and{{bool_lax{a}}{bool_lax{b}}}}\n"
				     "driver = accept\n"
				     "headers_add = A: b\\nC: d\n"
				     "headers_remove = x:y\n"
				     "more\n"
				     "set = r_a = b;r_c = d\n"
				     "transport = <value not displayable>\n"
				     "user = $local_part\n";
	static const char first[] =
	    "condition = \ndriver = redirect\nheaders_add = \nheaders_remove = \nno_more\nset = \n"
	    "transport = t\nuser = 12345\nno_allow_fail\ndata = a\\tb\n";
	char all[2048];

	(void)state;
	place_make(&place);
	conf = load_text(&place, printed);
	check_print(&place, conf, "router_list", false, false, OK, "first\nsecond\n");
	check_print(&place, conf, "router second", false, false, OK, second);
	check_print(&place, conf, "router first", true, false, OK, first);
	check_print(&place, conf, "router third", true, false, FAIL, "router third not found");
	check_print(&place, conf, "transport first", true, false, FAIL, "transport first not found");
	check_print(&place, conf, "transport_list", true, false, OK, "");
	snprintf(all, sizeof(all), "\nfirst router:\n%s\nsecond router:\n%s", first, second);
	char *hidden = strstr(all, "<value not displayable>");
	memmove(hidden + 2, hidden + 23, strlen(hidden + 23) + 1);
	memcpy(hidden, "t2", 2);
	check_print(&place, conf, "routers", true, false, OK, all);
	conf_unref(conf);
	place_remove(&place);
}

static void prints_config(void **state)
{
	struct place place;
	struct conf *conf;

	(void)state;
	place_make(&place);
	place_write(&place, "inc", "queue_only\n", 11);
	conf = load_text(
	    &place, "# c\nA = b\nqualify_domain = A\n\n  domainlist x = \\\n # c\n  y\n.include inc\n"
		    ".ifdef A\nno_smtp_enforce_sync\n.endif\n"
		    "begin routers\n x:\n driver = accept\n\tmore\nbegin acl\na:\n  accept domains = x : y\n"
		    "  message = x \\\n yy\nb:\nbegin retry\n* * F,2h,10m\n");
	check_print(
	    &place, conf, "config", true, false, OK,
	    "# sluice configuration (" SLUICE_VERSION
	    ")\n# 2 \"@/f\"\nA = b\nqualify_domain = b\ndomainlist x = y\n"
	    "# 1 \"@/inc\"\nqueue_only\n# 10 \"@/f\"\nno_smtp_enforce_sync\n\nbegin routers\n\n  x:\n"
	    "    driver = accept\n    more\n\nbegin acl\n\n  a:\n    accept domains = x : y\n    message = x yy\n\n"
	    "  b:\n\nbegin retry\n\n  * * F,2h,10m\n");
	conf_unref(conf);
	place_remove(&place);
}

/* -D wins over the file, definitions and redefinitions both, and is first in the order. */
static void macros_by_argument(void **state)
{
	static const struct {
		const char *args[3], *file, *error;
	} rows[] = {
	    {{"A=1", "B"}, "A = 2\nA == 3\nB = x\nqualify_domain = A-B-", NULL},
	    {{" A = 1 ", "B = "}, "qualify_domain = A-B-", NULL},
	    {{"=1"}, "", "macro name set by -D must start with an upper case letter"},
	    {{"ab=1"}, "", "macro name set by -D must start with an upper case letter"},
	    {{"A-B=1"}, "", "malformed -D option: \"A-B=1\""},
	    {{"A=1", "A=2"}, "", "macro \"A\" is set twice by -D"},
	    {{"A=1"},
	     "XAX = 2",
	     "configuration error in line 1 of @/f:\n  \"XAX\" cannot be defined as a macro because "
	     "previously defined macro \"A\" is a substring"},
	};
	struct place place;
	struct arena arena;
	char error[1024];

	(void)state;
	place_make(&place);
	arena_init(&arena, 0);
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct conf *conf;

		place_write(&place, "f", rows[i].file, strlen(rows[i].file));
		conf = load_file(&place, &arena, rows[i].args, error, sizeof(error));
		if (rows[i].error) {
			assert_null(conf);
			assert_string_equal(error, rows[i].error);
			continue;
		}
		if (!conf)
			fail_msg("row %zu: %s", i, error);
		check_print(&place, conf, "qualify_domain", true, false, OK, "qualify_domain = 1--\n");
		conf_unref(conf);
	}
	arena_done(&arena);
	place_remove(&place);
}

/* Files that others could have changed are not believed, and macros not taken, unless the caller may do as he
 * likes. */
static enum rc load_untrusted(const struct place *place, const char *const *macros, char *error, size_t size)
{
	struct conf_load_options options = {.file = place->file, .macros = macros};
	struct conf *conf = NULL;
	struct arena arena;
	struct err err;
	enum rc rc;

	arena_init(&arena, 0);
	err = err_make(&arena);
	rc = conf_load(&test_language, &options, &conf, &err);
	snprintf(error, size, "%.*s", SLICE_ARG(err.text));
	arena_done(&arena);
	if (rc == OK)
		conf_unref(conf);
	return rc;
}

static void untrusted(void **state)
{
	struct place place;
	char error[512], path[160];
	static const mode_t bad_modes[] = {0666, 0646, 0602};

	(void)state;
	place_make(&place);
	place_write(&place, "f", ".include_if_exists /nosuch\nqueue_only\n.include inc\n", 51);
	place_write(&place, "inc", "smtp_accept_max = 3\n", 20);
	snprintf(path, sizeof(path), "%s/inc", place.dir);
	assert_int_equal(load_untrusted(&place, NULL, error, sizeof(error)), OK);
	assert_int_equal(load_untrusted(&place, (const char *const[]){"A=1", NULL}, error, sizeof(error)),
			 FAIL);
	assert_string_equal(error, "only trusted callers may define macros with -D");
	for (size_t i = 0; i < ARRAY_COUNT(bad_modes); i++) {
		assert_int_equal(chmod(path, bad_modes[i]), 0);
		assert_int_equal(load_untrusted(&place, NULL, error, sizeof(error)), FAIL);
		assert_non_null(strstr(error, "line 3 of"));
		assert_non_null(strstr(error, "/inc has the wrong owner, group, or mode"));
	}
	if (geteuid() == 0) {
		assert_int_equal(chmod(path, 0660), 0);
		assert_int_equal(load_untrusted(&place, NULL, error, sizeof(error)), OK); /* group root */
		assert_int_equal(chown(path, 0, 12345), 0);
		assert_int_equal(load_untrusted(&place, NULL, error, sizeof(error)), FAIL);
		assert_int_equal(chmod(path, 0640), 0);
		assert_int_equal(load_untrusted(&place, NULL, error, sizeof(error)), OK);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(load_untrusted(&place, NULL, error, sizeof(error)), FAIL);
	}
	place_remove(&place);
}

static void main_files(void **state)
{
	struct conf_load_options options = {.trusted = true};
	struct conf *conf = NULL;
	struct place place;
	struct arena arena;
	struct err err;
	char list[512];

	(void)state;
	place_make(&place);
	place_write(&place, "f", "", 0);
	arena_init(&arena, 0);
	err = err_make(&arena);
	snprintf(list, sizeof(list), "%s/nosuch : : %s", place.dir, place.file);
	options.file = list;
	assert_int_equal(conf_load(&test_language, &options, &conf, &err), OK);
	assert_string_equal(conf->file, place.file);
	assert_true(slice_eq(conf_main(conf)->primary_hostname, SLICE("host.example")));
	assert_true(slice_eq(conf_main(conf)->qualify_recipient, SLICE("host.example")));
	assert_int_equal(conf_main(conf)->localhost_number_value, -1);
	conf_unref(conf);
	/* The name service is away, or not needed. */
	test_canonical = NULL;
	assert_int_equal(conf_load(&test_language, &options, &conf, &err), OK);
	assert_true(slice_eq(conf_main(conf)->primary_hostname, SLICE("host")));
	conf_unref(conf);
	test_nodename = "whole.name";
	test_canonical = "other.name";
	assert_int_equal(conf_load(&test_language, &options, &conf, &err), OK);
	assert_true(slice_eq(conf_main(conf)->primary_hostname, SLICE("whole.name")));
	conf_unref(conf);
	test_nodename = "";
	assert_int_equal(conf_load(&test_language, &options, &conf, &err), FAIL);
	assert_true(slice_ends(err.text, SLICE("this host has no name: set primary_hostname")));
	test_nodename = "host";
	options.file = "/nosuch/a:/nosuch/b";
	assert_int_equal(conf_load(&test_language, &options, &conf, &err), FAIL);
	assert_true(slice_eq(err.text, SLICE("non-existent configuration file(s): /nosuch/a:/nosuch/b")));
	options.file = "/dev/zero";
	assert_int_equal(conf_load(&test_language, &options, &conf, &err), FAIL);
	assert_true(slice_ends(err.text, SLICE("configuration file /dev/zero is not a regular file")));
	/* Relative to where we are. */
	assert_int_equal(chdir(place.dir), 0);
	options.file = "f";
	assert_int_equal(conf_load(&test_language, &options, &conf, &err), OK);
	assert_string_equal(conf->file, place.file);
	conf_unref(conf);
	assert_int_equal(chdir("/"), 0);
	arena_done(&arena);
	place_remove(&place);
}

/* Includes, one in the other, all relative to the file they stand in; lines and places of a raw section. */
static void includes(void **state)
{
	struct place place;
	struct conf *conf;
	struct test_acl *acl;
	char path[160];

	(void)state;
	place_make(&place);
	snprintf(path, sizeof(path), "%s/sub", place.dir);
	assert_int_equal(mkdir(path, 0755), 0);
	place_write(&place, "sub/one", ".include two\n", 13);
	place_write(&place, "sub/two", "\n  b \\\n.include three", 21);
	place_write(&place, "sub/three", "c", 1);
	conf = load_text(&place, "begin acl\nfirst\n.include \"sub/one\"\n");
	acl = conf_section(conf, CONF_SECTION_ACL);
	assert_int_equal(acl->count, 2);
	assert_true(slice_eq(acl->last.text, SLICE("b c")));
	assert_int_equal(acl->last.place.line, 2);
	assert_non_null(strstr(acl->last.place.file, "/sub/two"));
	assert_null(conf_section(conf, CONF_SECTION_ROUTERS));
	assert_int_equal(conf_instances(conf, CONF_SECTION_ROUTERS)->count, 0);
	conf_unref(conf);
	place_remove(&place);
}

/* Too deep, too long, too many: an error, in time and with bounded memory. */
static void limits(void **state)
{
	struct place place;
	struct arena arena;
	char error[1024], text[4096], name[16];
	size_t len = 0;

	(void)state;
	place_make(&place);
	arena_init(&arena, 0);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), i ? "d%d" : "f", i);
		len = (size_t)snprintf(text, sizeof(text), ".include d%d\n", i + 1);
		place_write(&place, name, text, len);
	}
	assert_null(load_file(&place, &arena, NULL, error, sizeof(error)));
	assert_string_equal(
	    error, "configuration error in line 1 of @/d31:\n  includes are nested deeper than 32 files");
	/* Each file includes the next twice. */
	for (int i = 0; i < 31; i++) {
		snprintf(name, sizeof(name), i ? "d%d" : "f", i);
		len = (size_t)snprintf(text, sizeof(text), ".include d%d\n.include d%d\n", i + 1, i + 1);
		place_write(&place, name, text, len);
	}
	place_write(&place, "d31", "\n", 1);
	assert_null(load_file(&place, &arena, NULL, error, sizeof(error)));
	assert_non_null(strstr(error, "more than 10000 files are included"));
	/* Each macro is ten times the one before. */
	len = 0;
	len += (size_t)snprintf(text, sizeof(text), "A0 = xxxxxxxxxx\n");
	for (int i = 1; i < 10; i++) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, "A%d = ", i);
		for (int j = 0; j < 10; j++)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "A%d", i - 1);
		text[len++] = '\n';
	}
	place_write(&place, "f", text, len);
	assert_null(load_file(&place, &arena, NULL, error, sizeof(error)));
	assert_string_equal(error, "configuration error in line 7 of @/f:\n"
				   "  the line is too long after its macros have been replaced");
	len = 0;
	for (int i = 0; i < 201; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ".ifdef A\n");
	place_write(&place, "f", text, len);
	assert_null(load_file(&place, &arena, NULL, error, sizeof(error)));
	assert_string_equal(error,
			    "configuration error in line 201 of @/f:\n  .ifdefs are nested deeper than 200");
	arena_done(&arena);
	place_remove(&place);
}

static void warnings(void **state)
{
	struct place place;
	struct conf *conf;
	char got[2048] = "", want[2048];
	size_t len = 0;

	(void)state;
	place_make(&place);
	conf = load_text(
	    &place,
	    "tls_advertise_hosts = a\n\ntest_nothing\nacl_data_smtp_prdr = a\nperl_startup = x\nbegin rewrite\n");
	LIST_EACH (l, &conf->warnings) {
		struct conf_warning *w = LIST_ITEM(l, struct conf_warning, link);
		len += (size_t)snprintf(got + len, sizeof(got) - len, "%.*s\n", SLICE_ARG(w->text));
	}
	snprintf(
	    want, sizeof(want),
	    "%s line 1: option \"tls_advertise_hosts\" is not yet in effect\n"
	    "%s line 3: option \"test_nothing\" has no effect: a test\n"
	    "%s line 4: option \"acl_data_smtp_prdr\" is deprecated, now \"acl_smtp_data_prdr\"\n"
	    "%s line 4: option \"acl_smtp_data_prdr\" has no effect: per-recipient data responses (PRDR) come later\n"
	    "%s line 5: option \"perl_startup\" has no effect: there is no embedded Perl\n"
	    "%s line 6: section \"rewrite\" is not yet in effect\n",
	    place.file, place.file, place.file, place.file, place.file, place.file);
	assert_string_equal(got, want);
	conf_unref(conf);
	place_remove(&place);
}

static void instances(void **state)
{
	struct place place;
	struct conf *conf;
	struct test_redirect *first;
	const struct test_group *group;

	(void)state;
	place_make(&place);
	conf = load_text(&place, printed);
	group = conf_group(conf, CONF_SMTP);
	assert_true(group->queue_only && group->smtp_enforce_sync);
	assert_int_equal(group->smtp_accept_max, 20);
	assert_int_equal(group->deliver_queue_load_max, -1);
	assert_null(group->errors_reply_to.ptr);
	first = conf_instance_find(conf, CONF_SECTION_ROUTERS, SLICE("first"));
	assert_non_null(first);
	assert_ptr_equal(first->head.instance.driver, &test_redirect);
	assert_int_equal(first->head.instance.place.line, 7);
	assert_true(slice_eq(first->data, SLICE("a\tb")));
	assert_true(first->head.user.set && first->head.user.id == 12345);
	assert_false(first->head.more);
	assert_int_equal(first->head.instance.was_set[0], 1);                           /* transport */
	assert_int_equal(first->head.instance.was_set[1], 0);                           /* condition */
	assert_int_equal(first->head.instance.was_set[ARRAY_COUNT(router_generic)], 1); /* data */
	assert_int_equal(first->head.instance.was_set[ARRAY_COUNT(router_generic) + 1], 0);
	assert_null(conf_instance_find(conf, CONF_SECTION_ROUTERS, SLICE("third")));
	assert_ptr_equal(conf_named_list(conf, LIST_DOMAIN, SLICE("d"))->compiled,
			 conf_named_list(conf, LIST_DOMAIN, SLICE("d")));
	conf_unref(conf);
	place_remove(&place);
}

/* ---- How long it lives ---- */

static unsigned freed;
static void count_freed(void *arg)
{
	assert_ptr_equal(arg, &freed);
	freed++;
}

static void *hold(void *arg)
{
	struct conf *conf = arg;

	for (int i = 0; i < 100000; i++) {
		conf_ref(conf);
		conf_unref(conf);
	}
	conf_unref(conf);
	arena_pool_done();
	return NULL;
}

static void references(void **state)
{
	struct place place;
	struct conf *conf, *next;
	pthread_t threads[3];

	(void)state;
	place_make(&place);
	freed = 0;
	conf = load_text(&place, printed);
	next = load_text(&place, printed);
	assert_true(next->serial > conf->serial);
	conf_unref(next);
	assert_int_equal(conf_at_free(conf, count_freed, &freed), OK);
	assert_int_equal(conf_at_free(conf, count_freed, &freed), OK);
	for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hold, conf_ref(conf)), 0);
	assert_int_equal(freed, 0);
	conf_unref(conf);
	for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(freed, 2);
	conf_unref(NULL);
	place_remove(&place);
}

static void nearest(void **state)
{
	static const char *const names[] = {"dkim", "dmarc", "pid", "queue_run", "tls_cipher"};

	(void)state;
	assert_string_equal(conf_nearest(SLICE("tls_chiper"), names, 5), "tls_cipher");
	assert_string_equal(conf_nearest(SLICE("dkm"), names, 5), "dkim");
	assert_string_equal(conf_nearest(SLICE("pdi"), names, 5), "pid");
	assert_null(conf_nearest(SLICE("something_else"), names, 5));
	assert_null(conf_nearest(SLICE(""), names, 5));
	assert_null(conf_nearest(SLICE("x"), names, 0));
}

static void values(void **state)
{
	int64_t n = 77;
	bool b = false;

	(void)state;
	assert_true(conf_parse_int(SLICE(" 0x7fffffffffffffff "), &n) && n == INT64_MAX);
	assert_true(conf_parse_int(SLICE("-1k"), &n) && n == -1024);
	n = 77;
	assert_false(conf_parse_int(SLICE("0x8000000000000000"), &n));
	assert_false(conf_parse_int(SLICE("9007199254740992K"), &n));
	assert_false(conf_parse_int(SLICE("1KK"), &n));
	assert_false(conf_parse_int(SLICE("-"), &n));
	assert_false(conf_parse_int(SLICE(""), &n));
	assert_true(conf_parse_int(SLICE("0"), &n) && n == 0);
	assert_false(conf_parse_int(SLICE("0x"), &n));
	assert_true(conf_parse_time(SLICE("1w2d3h4m5s"), &n) && n == 788645);
	assert_false(conf_parse_time(SLICE("1w 2d"), &n));
	assert_false(conf_parse_time(SLICE("-1s"), &n));
	assert_false(conf_parse_time(SLICE("1"), &n));
	assert_true(conf_parse_bool(SLICE("True"), &b) && b);
	assert_true(conf_parse_bool(SLICE("no"), &b) && !b);
	assert_false(conf_parse_bool(SLICE("1"), &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(prints),
	    cmocka_unit_test(prints_lists),
	    cmocka_unit_test(prints_drivers),
	    cmocka_unit_test(prints_config),
	    cmocka_unit_test(macros_by_argument),
	    cmocka_unit_test(untrusted),
	    cmocka_unit_test(main_files),
	    cmocka_unit_test(includes),
	    cmocka_unit_test(limits),
	    cmocka_unit_test(warnings),
	    cmocka_unit_test(instances),
	    cmocka_unit_test(references),
	    cmocka_unit_test(nearest),
	    cmocka_unit_test(values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
