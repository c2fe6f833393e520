/* Debug logs: what is written, what waits for a trigger, what is dropped, and that a file goes when it is to go. */
#include "log_test.h"

static struct debug *begin(struct task *task, struct conf *conf, const char *tag, uint64_t pretrigger,
			   bool on_panic)
{
	struct log_debug_wish wish = {
	    .tag = slice_of(tag), .topics = DEBUG_ACL, .pretrigger_size = pretrigger, .on_panic = on_panic};
	struct debug *debug = NULL;

	assert_int_equal(log_debug_file(task->shard, conf, &wish, &debug, NULL), OK);
	return debug;
}

static void assert_file(const char *name, const char *expected)
{
	char *text = slurp(in_dir(name));

	assert_string_equal(text, expected);
	free(text);
}

static void tell_lines(struct task *task, struct conf *conf)
{
	struct debug *debug = begin(task, conf, ".a", 0, false), *other = begin(task, conf, ".b", 0, false);

	assert_true(log_debug_is_file(debug));
	assert_true(slice_eq(log_debug_name(debug), slice_of(in_dir("log/debuglog.a"))));
	fiber_debug(debug);
	DEBUG(DEBUG_ACL, "one");
	DEBUG(DEBUG_DNS, "not asked for");
	debug_indent(2);
	DEBUG(DEBUG_ACL, "a\nb\033%s", "c");
	debug_indent(-2);
	log_printf(task->shard, conf, LOG_TO_MAIN | LOG_TO_REJECT, NULL, "%s", "logged");
	fiber_debug(other);
	DEBUG(DEBUG_ACL, "other");
	fiber_debug(NULL);
	log_printf(task->shard, conf, LOG_TO_MAIN, NULL, "%s", "untold");
	log_debug_end(debug, false);
	log_debug_end(other, false);
	log_debug_end(NULL, false);
	assert_int_equal(log_flush(task), OK);
	assert_file("log/debuglog.a", "one\n  a\\nb\\033c\nLOG: MAIN REJECT\n  logged\n");
	assert_file("log/debuglog.b", "other\n");
}

static void test_lines(void **state)
{
	struct conf *conf = conf_of("", NULL, 0);

	(void)state;
	assert_int_equal(log_open(conf, false, NULL), OK);
	run_fn(conf, tell_lines);
	conf_unref(conf);
}

static void tell_ring(struct task *task, struct conf *conf)
{
	struct debug *debug = begin(task, conf, ".ring", 20, true),
		     *other = begin(task, conf, ".none", 20, false);

	fiber_debug(debug);
	assert_null(log_debug_name(debug).ptr); /* not yet */
	log_printf(task->shard, conf, LOG_TO_MAIN, NULL, "%s", "no panic");
	assert_null(log_debug_name(debug).ptr);
	for (int i = 0; i < 9; i++)
		DEBUG(DEBUG_ACL, "line %d", i); /* seven bytes each: two fit, with six to spare */
	DEBUG(DEBUG_ACL, "%s", "ab");
	assert_int_equal(log_flush(task), OK);
	assert_int_not_equal(access(in_dir("log/debuglog.ring"), F_OK), 0);
	log_printf(task->shard, conf, LOG_TO_PANIC, NULL, "%s", "x");
	assert_non_null(log_debug_name(debug).ptr);
	DEBUG(DEBUG_ACL, "behind it");
	fiber_debug(other);
	DEBUG(DEBUG_ACL, "%s", "a line that is longer than what is kept");
	DEBUG(DEBUG_ACL, "short");
	log_printf(task->shard, conf, LOG_TO_PANIC, NULL, "%s", "not my trigger");
	fiber_debug(NULL);
	log_debug_end(debug, false);
	log_debug_end(other, false);
	assert_int_equal(log_flush(task), OK);
	assert_file("log/debuglog.ring", "ab\nLOG: PANIC\n  x\nbehind it\n");
	assert_int_not_equal(access(in_dir("log/debuglog.none"), F_OK), 0);
}

static void test_ring(void **state)
{
	struct conf *conf = conf_of("", NULL, 0);

	(void)state;
	assert_int_equal(log_open(conf, false, NULL), OK);
	run_fn(conf, tell_ring);
	conf_unref(conf);
}

static void tell_and_remove(struct task *task, struct conf *conf)
{
	struct debug *debug = begin(task, conf, "", 0, false);

	fiber_debug(debug);
	DEBUG(DEBUG_ACL, "one");
	assert_int_equal(log_flush(task), OK);
	assert_file("log/debuglog", "one\n");
	DEBUG(DEBUG_ACL, "two");
	fiber_debug(NULL);
	log_debug_end(debug, true);
	assert_int_equal(log_flush(task), OK);
	assert_int_not_equal(access(in_dir("log/debuglog"), F_OK), 0);
	/* Nothing written, nothing to remove. */
	log_debug_end(begin(task, conf, ".never", 100, false), true);
	assert_int_equal(log_flush(task), OK);
}

static void test_remove(void **state)
{
	struct conf *conf = conf_of("", NULL, 0);

	(void)state;
	assert_int_equal(log_open(conf, false, NULL), OK);
	run_fn(conf, tell_and_remove);
	conf_unref(conf);
}

/* More than there is room for, before anything could be written; and no file to write to. */
static void tell_too_much(struct task *task, struct conf *conf)
{
	struct debug *debug = begin(task, conf, ".much", 0, false), *lost;
	char *text, wide[1001];

	memset(wide, 'w', 1000);
	wide[1000] = 0;
	fiber_debug(debug);
	for (unsigned i = 0; i < LOG_BUFFER_MAX / 1000 + 10; i++)
		DEBUG(DEBUG_ACL, "%s", wide);
	assert_int_equal(log_flush(task), OK);
	DEBUG(DEBUG_ACL, "there is room again");
	assert_int_equal(mkdir(in_dir("log/debuglog.folder"), 0755), 0);
	lost = begin(task, conf, ".folder", 0, false);
	fiber_debug(lost);
	DEBUG(DEBUG_ACL, "nowhere");
	fiber_debug(NULL);
	log_debug_end(lost, false);
	log_debug_end(debug, false);
	assert_int_equal(log_flush(task), OK);
	assert_int_equal(log_flush(task), OK); /* what was complained of meanwhile */
	text = slurp(in_dir("log/debuglog.much"));
	assert_non_null(strstr(text, " lines were lost here)\n"));
	assert_non_null(strstr(text, "there is room again\n"));
	assert_true(strlen(text) < LOG_BUFFER_MAX + 2000);
	free(text);
	text = slurp(in_dir("log/mainlog"));
	assert_non_null(strstr(text, "debuglog.folder\" cannot be written"));
	free(text);
}

static void test_too_much(void **state)
{
	struct conf *conf = conf_of("", NULL, 0);

	(void)state;
	assert_int_equal(log_open(conf, false, NULL), OK);
	run_fn(conf, tell_too_much);
	conf_unref(conf);
}

static void tags(struct task *task, struct conf *conf)
{
	static const char *const bad[] = {"/x", "a/b", "../x"};
	struct log_debug_wish wish = {.tag = slice_tainted(SLICE("stranger"))};
	struct debug *debug = NULL;
	struct slice tag;

	assert_int_equal(log_debug_file(task->shard, conf, &wish, &debug, NULL), FAIL);
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		wish.tag = slice_of(bad[i]);
		assert_int_equal(log_debug_file(task->shard, conf, &wish, &debug, NULL), FAIL);
	}
	assert_null(debug);
	assert_true(log_debug_tag(conf, slice_of(in_dir("log/debuglog.x")), &tag));
	assert_true(slice_eq(tag, SLICE(".x")));
	assert_false(log_debug_tag(conf, slice_of(in_dir("log/debuglog/../../x")), &tag));
	assert_false(log_debug_tag(conf, SLICE("/etc/passwd"), &tag));
}

static void test_tags(void **state)
{
	struct conf *conf = conf_of("", NULL, 0);

	(void)state;
	assert_int_equal(log_open(conf, false, NULL), OK);
	run_fn(conf, tags);
	conf_unref(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_lines, dir_make, dir_remove),
	    cmocka_unit_test_setup_teardown(test_ring, dir_make, dir_remove),
	    cmocka_unit_test_setup_teardown(test_remove, dir_make, dir_remove),
	    cmocka_unit_test_setup_teardown(test_too_much, dir_make, dir_remove),
	    cmocka_unit_test_setup_teardown(test_tags, dir_make, dir_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
