/* Lines in files: what they look like, where they go, and what happens when they cannot. */

#include "log_test.h"

#include <time.h>
#include <sys/socket.h>
#include <sys/un.h>

/* "2026-11-21 10:00:00 rest": is the time one, and what follows? */
static const char *behind_stamp(const char *line)
{
	static const char form[] = "dddd-dd-dd dd:dd:dd ";

	for (size_t i = 0; i < sizeof(form) - 1; i++) {
		bool digit = line[i] >= '0' && line[i] <= '9';
		if (form[i] == 'd' ? !digit : line[i] != form[i])
			fail_msg("no time in front: %s", line);
	}
	return line + sizeof(form) - 1;
}

static void open_ok(struct conf *conf)
{
	struct arena arena;
	struct err err;

	arena_init(&arena, 0);
	err = err_make(&arena);
	if (log_open(conf, false, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	arena_done(&arena);
}

/* ---- Options ---- */

static const struct {
	const char *text, *error;
} bad[] = {
    {"log_selector = +foo", "unknown log_selector setting: +foo"},
    {"log_selector = +piid", "unknown log_selector setting: +piid; did you mean \"pid\"?"},
    {"log_selector = pid", "malformed log_selector setting: + or - expected but found \"pid\""},
    {"log_selector = +pid dkim", "malformed log_selector setting: + or - expected but found \"dkim\""},
    {"log_selector = +", "unknown log_selector setting: +"},
    {"syslog_facility = foo", "failed to interpret syslog_facility \"foo\""},
    {"log_file_path = a/%slog",
     "log_file_path: \"a/%slog\" is neither an absolute path nor syslog, stdout or stderr"},
    {"log_file_path = $nosuch/%slog",
     "failed to expand log_file_path: \"$nosuch/%slog\" cannot be expanded while the configuration is read"},
    {"syslog_processname = 012345678901234567890123456789012", "syslog_processname is longer than 32 bytes"},
};

static void bad_options(void **state)
{
	char error[512], want[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_null(conf_of(bad[i].text, error, sizeof(error)));
		snprintf(want, sizeof(want), "configuration error in line 3 of %s:\n  %s", in_dir("conf"),
			 bad[i].error);
		assert_string_equal(error, want);
	}
}

static void selectors(void **state)
{
	struct conf *conf = conf_of("", NULL, 0);

	(void)state;
	assert_true(log_wants(conf, LOG_TLS_CIPHER));
	assert_true(log_wants(conf, LOG_QUEUE_TIME_EXCLUSIVE));
	assert_false(log_wants(conf, LOG_UNKNOWN_IN_LIST));
	assert_false(log_wants(conf, LOG_8BITMIME));
	conf_unref(conf);
	conf = conf_of("log_selector = +all -8bitmime -unknown_in_list", NULL, 0);
	assert_true(log_wants(conf, LOG_PID));
	assert_true(log_wants(conf, LOG_TLS_SNI));
	assert_false(log_wants(conf, LOG_UNKNOWN_IN_LIST));
	assert_false(log_wants(conf, LOG_8BITMIME));
	conf_unref(conf);
	conf = conf_of("log_selector = -all+pid - dkim + subject +taint", NULL, 0);
	assert_true(log_wants(conf, LOG_PID));
	assert_true(log_wants(conf, LOG_SUBJECT));
	assert_false(log_wants(conf, LOG_TLS_CIPHER));
	conf_unref(conf);
	/* The names are in the order of the alphabet: the enum counts on it. */
	for (unsigned i = 1; i < LOG_SELECTOR_COUNT; i++)
		assert_true(strcmp(log_selector_names[i - 1], log_selector_names[i]) < 0);
	conf = conf_of(".ifdef _LOG_TLS_SNI\nlog_selector = +pid\n.endif", NULL, 0);
	assert_true(log_wants(conf, LOG_PID));
	conf_unref(conf);
}

/* ---- Lines ---- */

static void write_lines(struct task *task, struct conf *conf)
{
	struct message_id id = {"1abcde-00000000001-2abc"};
	struct shard *shard = task->shard;

	log_write(shard, conf, LOG_TO_MAIN, NULL, SLICE("plain"));
	log_write(shard, conf, LOG_TO_MAIN, &id, SLICE("<= a@b"));
	log_write(shard, conf, LOG_TO_MAIN, &(struct message_id){""},
		  SLICE("H=a\r\nb\0c\033d\t\x7f\xc3\xa9 \\"));
	log_printf(shard, conf, LOG_TO_MAIN | LOG_TO_REJECT, NULL, "rejected %d", 550);
	log_write_more(shard, conf, LOG_TO_MAIN | LOG_TO_REJECT, NULL, SLICE("rejected"),
		       SLICE("P Received: x\n  To: \001y"));
	log_printf(shard, conf, LOG_TO_MAIN | LOG_TO_PANIC, &id, "panic %s", "now");
	assert_true(log_healthy(shard));
	assert_int_equal(log_flush(task), OK);
	log_write(shard, conf, LOG_TO_MAIN, NULL, SLICE("left for the end"));
}

static void check_lines(const char *name, const char *const *want)
{
	char *text = slurp(in_dir(name)), *line = text;

	for (; *want; want++) {
		char *end = strchr(line, '\n');
		if (!end)
			fail_msg("%s: no line for \"%s\"", name, *want);
		*end = 0;
		assert_string_equal(**want == '|' ? line : behind_stamp(line),
				    **want == '|' ? *want + 1 : *want);
		line = end + 1;
	}
	assert_string_equal(line, "");
	free(text);
}

static void lines(void **state)
{
	struct conf *conf = conf_of("", NULL, 0);
	struct stat st;

	(void)state;
	open_ok(conf);
	assert_int_equal(stat(in_dir("log/mainlog"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(stat(in_dir("log/paniclog"), &st), -1); /* made when needed */
	run_fn(conf, write_lines);
	check_lines("log/mainlog",
		    (const char *const[]){"plain", "1abcde-00000000001-2abc <= a@b",
					  "H=a\\r\\nb\\000c\\033d\\t\\177\\303\\251 \\", "rejected 550",
					  "rejected", "1abcde-00000000001-2abc panic now", "left for the end",
					  NULL});
	check_lines("log/rejectlog", (const char *const[]){"rejected 550", "rejected", "|P Received: x",
							   "|  To: \\001y", NULL});
	check_lines("log/paniclog", (const char *const[]){"1abcde-00000000001-2abc panic now", NULL});
	conf_unref(conf);
}

static void one_line(struct task *task, struct conf *conf)
{
	log_write(task->shard, conf, LOG_TO_MAIN | LOG_TO_REJECT,
		  &(struct message_id){"1abcde-00000000001-2abc"}, SLICE("caf\xc3\xa9"));
	assert_int_equal(log_flush(task), OK);
}

static void decorations(void **state)
{
	struct conf *conf =
	    conf_of("log_selector = +pid +millisec\nlog_timezone\nprint_topbitchars\nno_write_rejectlog\n"
		    "log_file_path = $spool_directory/$primary_hostname/%s",
		    NULL, 0);
	char *text, want[128];
	unsigned ms, zone;

	(void)state;
	open_ok(conf);
	run_fn(conf, one_line);
	text = slurp(in_dir("h.example/main"));
	assert_int_equal(sscanf(text + 19, ".%3u %*[+-]%4u", &ms, &zone), 2);
	snprintf(want, sizeof(want), " [%d] 1abcde-00000000001-2abc caf\xc3\xa9\n", (int)getpid());
	assert_string_equal(text + 29, want);
	free(text);
	assert_int_equal(access(in_dir("h.example/reject"), F_OK), -1);
	conf_unref(conf);
}

static void write_long(struct task *task, struct conf *conf)
{
	char *text = malloc(LOG_LINE_MAX * 2);

	assert_non_null(text);
	memset(text, 'x', LOG_LINE_MAX * 2);
	log_write(task->shard, conf, LOG_TO_MAIN, NULL, slice_make(text, LOG_LINE_MAX * 2, TAINTED));
	memset(text, 1, LOG_LINE_MAX * 2);
	log_write(task->shard, conf, LOG_TO_MAIN, NULL, slice_make(text, LOG_LINE_MAX * 2, TAINTED));
	memset(text, 'y', LOG_LINE_MAX * 2);
	text[3000] = 0;
	log_printf(task->shard, conf, LOG_TO_MAIN, NULL, "%s", text);
	text[3000] = 'y';
	text[LOG_LINE_MAX * 2 - 1] = 0;
	log_printf(task->shard, conf, LOG_TO_MAIN, NULL, "%s", text);
	free(text);
	assert_int_equal(log_flush(task), OK);
}

static void long_lines(void **state)
{
	struct conf *conf = conf_of("log_file_path = $spool_directory/long/%s", NULL, 0);
	char *text;

	(void)state;
	open_ok(conf);
	run_fn(conf, write_long);
	text = slurp(in_dir("long/main"));
	char *line = text;
	static const size_t lengths[] = {LOG_LINE_MAX + 4, LOG_LINE_MAX + 4, 3000, LOG_LINE_MAX + 4};
	for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
		char *end = strchr(line, '\n');
		assert_non_null(end);
		*end = 0;
		assert_int_equal(strlen(behind_stamp(line)), lengths[i]);
		line = end + 1;
	}
	assert_string_equal(line, "");
	free(text);
	conf_unref(conf);
}

/* ---- Trouble ---- */

static void cannot_open(void **state)
{
	struct conf *conf;
	struct arena arena;
	struct err err;
	char want[256];

	(void)state;
	arena_init(&arena, 0);
	err = err_make(&arena);
	assert_int_equal(mkdir(in_dir("adir"), 0755), 0);
	assert_int_equal(mkdir(in_dir("adir/mainlog"), 0755), 0);
	conf = conf_of("log_file_path = $spool_directory/adir/%slog", NULL, 0);
	assert_int_equal(log_open(conf, false, &err), FAIL);
	snprintf(want, sizeof(want), "Cannot open main log file \"%s\": Is a directory",
		 in_dir("adir/mainlog"));
	assert_int_equal(err.text.len, strlen(want));
	assert_memory_equal(err.text.ptr, want, err.text.len);
	arena_done(&arena);
	conf_unref(conf);
}

/* Logs a line and gives the writer its time, until the condition holds; ten seconds at most. */
static void log_until(struct task *task, struct conf *conf, bool (*condition)(struct task *),
		      const char *text)
{
	for (int i = 0; !condition(task); i++) {
		assert_in_range(i, 0, 500);
		log_write(task->shard, conf, LOG_TO_MAIN, NULL, slice_of(text));
		(void)!log_flush(task);
		assert_int_equal(task_sleep(task, shard_now(task->shard) + 20 * NS_PER_MS), OK);
	}
}

static bool is_healthy(struct task *task)
{
	return log_healthy(task->shard);
}

static void fill_disk(struct task *task, struct conf *conf)
{
	char line[1000];

	log_write(task->shard, conf, LOG_TO_MAIN, NULL, SLICE("first"));
	assert_int_equal(log_flush(task), DEFER);
	assert_false(log_healthy(task->shard));
	/* More than is kept. */
	memset(line, 'x', sizeof(line));
	for (int i = 0; i < 2 * (int)LOG_BUFFER_MAX / 1000; i++)
		log_write(task->shard, conf, LOG_TO_MAIN, NULL, slice_make(line, sizeof(line), CLEAN));
	assert_false(log_healthy(task->shard));
	assert_int_equal(unlink(in_dir("full/mainlog")), 0);
	log_until(task, conf, is_healthy, "again");
	assert_int_equal(log_flush(task), OK);
	/* What was lost is told behind the last line that was kept, as a line of its own. */
	assert_int_equal(log_flush(task), OK);
}

static void disk_full(void **state)
{
	struct conf *conf = conf_of("log_file_path = $spool_directory/full/%slog", NULL, 0);
	char *text;

	(void)state;
	assert_int_equal(mkdir(in_dir("full"), 0755), 0);
	assert_int_equal(symlink("/dev/full", in_dir("full/mainlog")), 0);
	open_ok(conf);
	run_fn(conf, fill_disk);
	text = slurp(in_dir("full/mainlog"));
	assert_memory_equal(behind_stamp(text + 1), "first\n",
			    6); /* behind the newline that mends a cut line */
	assert_non_null(strstr(text, " log lines were lost while the log could not be written\n"));
	free(text);
	text = slurp(in_dir("full/paniclog"));
	assert_non_null(strstr(text, "the main log cannot be written: "));
	assert_non_null(strstr(text, "No space left on device"));
	assert_null(strstr(strchr(text, '\n') + 1, "\n")); /* told once */
	free(text);
	conf_unref(conf);
}

/* ---- Files that move ---- */

static bool new_file_there(struct task *task)
{
	(void)task;
	return access(in_dir("move/mainlog"), F_OK) == 0;
}

static void move_files(struct task *task, struct conf *conf)
{
	log_write(task->shard, conf, LOG_TO_MAIN, NULL, SLICE("before"));
	assert_int_equal(log_flush(task), OK);
	assert_int_equal(rename(in_dir("move/mainlog"), in_dir("move/mainlog.1")), 0);
	log_until(task, conf, new_file_there, "after");
	assert_int_equal(unlink(in_dir("move/mainlog")), 0);
	log_until(task, conf, new_file_there, "later");
	assert_int_equal(rename(in_dir("move"), in_dir("moved")), 0);
	log_until(task, conf, new_file_there, "last");
}

static void renamed(void **state)
{
	struct conf *conf = conf_of("log_file_path = $spool_directory/move/%slog", NULL, 0);
	char *text;

	(void)state;
	open_ok(conf);
	run_fn(conf, move_files);
	text = slurp(in_dir("moved/mainlog.1"));
	assert_memory_equal(behind_stamp(text), "before\n", 7);
	free(text);
	text = slurp(in_dir("moved/mainlog"));
	assert_non_null(strstr(text, " later\n"));
	free(text);
	text = slurp(in_dir("move/mainlog"));
	assert_non_null(strstr(text, " last\n"));
	free(text);
	conf_unref(conf);
}

/* Another configuration: the old one's files stay as they are, the new one's are used, whoever still logs
 * with the old. */
static struct conf *old_conf;
static void log_both(struct task *task, struct conf *conf)
{
	log_write(task->shard, old_conf, LOG_TO_MAIN, NULL, SLICE("one"));
	assert_int_equal(log_flush(task), OK);
	open_ok(conf);
	log_write(task->shard, conf, LOG_TO_MAIN, NULL, SLICE("two"));
	log_write(task->shard, old_conf, LOG_TO_MAIN, NULL, SLICE("three"));
	assert_int_equal(log_flush(task), OK);
}

static void reloaded(void **state)
{
	struct conf *conf;

	(void)state;
	old_conf = conf_of("log_file_path = $spool_directory/old/%slog", NULL, 0);
	conf = conf_of("log_file_path = $spool_directory/new/%slog", NULL, 0);
	open_ok(old_conf);
	run_fn(conf, log_both);
	check_lines("old/mainlog", (const char *const[]){"one", NULL});
	check_lines("new/mainlog", (const char *const[]){"two", "three", NULL});
	conf_unref(conf);
	conf_unref(old_conf);
}

/* Lines that come before their files were opened wait for them. The first of the tests: nothing is open yet.
 */
static void log_early(struct task *task, struct conf *conf)
{
	log_write(task->shard, conf, LOG_TO_MAIN | LOG_TO_REJECT, NULL, SLICE("early"));
	assert_int_equal(log_flush(task), DEFER);
	assert_false(log_healthy(task->shard));
	open_ok(conf);
	log_until(task, conf, is_healthy, "late");
	assert_int_equal(log_flush(task), OK);
}

static void opened_late(void **state)
{
	struct conf *conf = conf_of("log_file_path = $spool_directory/late/%slog\n", NULL, 0);

	(void)state;
	run_fn(conf, log_early);
	check_lines("late/rejectlog", (const char *const[]){"early", NULL});
	char *text = slurp(in_dir("late/mainlog"));
	assert_memory_equal(behind_stamp(text), "early\n", 6);
	free(text);
	conf_unref(conf);
}

/* ---- Syslog, standard output ---- */

static int syslog_fd;
static void syslog_lines(struct task *task, struct conf *conf)
{
	char text[1000];

	memset(text, 'a', sizeof(text));
	log_write(task->shard, conf, LOG_TO_MAIN, NULL, SLICE("plain"));
	log_write(task->shard, conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL, SLICE("panic"));
	log_write_more(task->shard, conf, LOG_TO_REJECT, NULL, SLICE("rejected"), SLICE("To: x\nCc: y"));
	log_write(task->shard, conf, LOG_TO_MAIN, NULL, slice_make(text, sizeof(text), CLEAN));
	assert_int_equal(log_flush(task), OK);
}

static void check_datagram(int priority, const char *want)
{
	char bytes[2048], head[64], *text;
	ssize_t len = recv(syslog_fd, bytes, sizeof(bytes) - 1, MSG_DONTWAIT);

	assert_true(len > 0);
	bytes[len] = 0;
	snprintf(head, sizeof(head), "<%d>", 16 << 3 | priority); /* local0 */
	assert_memory_equal(bytes, head, strlen(head));
	snprintf(head, sizeof(head), " sluice[%d]: ", (int)getpid());
	text = strstr(bytes, head);
	assert_non_null(text);
	assert_string_equal(text + strlen(head), want);
}

static void to_syslog(void **state)
{
	struct conf *conf =
	    conf_of("log_file_path = syslog\nsyslog_facility = local0\nsyslog_processname = sluice\n"
		    "no_syslog_timestamp\nno_syslog_duplication\nsyslog_socket = SOCKET",
		    NULL, 0);
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char text[256], want[1024];

	(void)state;
	conf_unref(conf);
	snprintf(text, sizeof(text),
		 "log_file_path = syslog\nsyslog_facility = local0\nsyslog_processname = sluice\n"
		 "no_syslog_timestamp\nno_syslog_duplication\nsyslog_socket = %s",
		 in_dir("socket"));
	conf = conf_of(text, NULL, 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", in_dir("socket"));
	syslog_fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(bind(syslog_fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	open_ok(conf);
	run_fn(conf, syslog_lines);
	check_datagram(6, "plain");
	check_datagram(1, "panic");
	check_datagram(5, "[1\\3] rejected");
	check_datagram(5, "[2\\3] To: x");
	check_datagram(5, "[3/3] Cc: y");
	memset(want, 'a', sizeof(want));
	memcpy(want, "[1/2] ", 6);
	want[6 + 870] = 0;
	check_datagram(6, want);
	memcpy(want, "[2/2] ", 6);
	want[6 + 130] = 0;
	check_datagram(6, want);
	assert_int_equal(recv(syslog_fd, want, sizeof(want), MSG_DONTWAIT), -1);
	close(syslog_fd);
	conf_unref(conf);
}

static void to_stdout(void **state)
{
	struct conf *conf = conf_of("log_file_path = stdout : $spool_directory/std/%slog", NULL, 0);
	int saved = dup(1), fd;

	(void)state;
	fd = open(in_dir("stdout"), O_RDWR | O_CREAT | O_APPEND, 0600);
	assert_true(fd > 0);
	fflush(stdout);
	open_ok(conf);
	dup2(fd, 1);
	run_fn(conf, one_line);
	log_direct(conf, LOG_TO_MAIN, "direct %d", 1);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	close(fd);
	check_lines("stdout",
		    (const char *const[]){"1abcde-00000000001-2abc caf\\303\\251", "direct 1", NULL});
	check_lines("std/mainlog",
		    (const char *const[]){"1abcde-00000000001-2abc caf\\303\\251", "direct 1", NULL});
	check_lines("std/rejectlog", (const char *const[]){"1abcde-00000000001-2abc caf\\303\\251", NULL});
	conf_unref(conf);
}

static void direct(void **state)
{
	struct conf *conf = conf_of("log_file_path = $spool_directory/direct/%slog", NULL, 0);

	(void)state;
	open_ok(conf);
	log_direct(conf, LOG_TO_MAIN | LOG_TO_PANIC, "a\nb");
	assert_int_equal(rename(in_dir("direct/mainlog"), in_dir("direct/mainlog.1")), 0);
	log_direct(conf, LOG_TO_MAIN, "c");
	check_lines("direct/mainlog.1", (const char *const[]){"a\\nb", NULL});
	check_lines("direct/mainlog", (const char *const[]){"c", NULL});
	check_lines("direct/paniclog", (const char *const[]){"a\\nb", NULL});
	conf_unref(conf);
}

/* ---- Others ---- */

static unsigned captured;
static void capture(void *arg, unsigned where, struct slice line)
{
	assert_ptr_equal(arg, &captured);
	assert_int_equal(where, LOG_TO_MAIN);
	assert_true(slice_ends(line, SLICE(" to the test")));
	captured++;
}

static void capture_lines(struct task *task, struct conf *conf)
{
	log_capture(task->shard, capture, &captured);
	log_printf(task->shard, conf, LOG_TO_MAIN, NULL, "to the %s", "test");
	assert_int_equal(log_flush(task), OK);
	log_capture(task->shard, NULL, NULL);
}

static void captures(void **state)
{
	struct conf *conf = conf_of("", NULL, 0);

	(void)state;
	run_fn(conf, capture_lines);
	assert_int_equal(captured, 1);
	conf_unref(conf);
}

static void timestamps(void **state)
{
	struct arena arena;
	struct str str;

	(void)state;
	assert_int_equal(setenv("TZ", "XXX-5:30", 1), 0);
	tzset();
	arena_init(&arena, 0);
	str = str_make(&arena);
	log_timestamp(&str, 1700000000123456789ull, false, false);
	assert_true(slice_eq(str_slice(&str), SLICE("2023-11-15 03:43:20")));
	str_clear(&str);
	log_timestamp(&str, 1700000000123456789ull, true, true);
	assert_true(slice_eq(str_slice(&str), SLICE("2023-11-15 03:43:20.123 +0530")));
	arena_done(&arena);
	unsetenv("TZ");
	tzset();
}

/* How much a line costs: told, not judged. */
static void many_lines(struct task *task, struct conf *conf)
{
	struct message_id id = {"1abcde-00000000001-2abc"};
	struct timespec a, b;
	enum { LINES = 100000 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (int i = 0; i < LINES; i++) {
		log_write(
		    task->shard, conf, LOG_TO_MAIN, &id,
		    SLICE(
			"<= sender@some.example.org H=mail.example.org [192.0.2.1] P=esmtps "
			"X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no S=4711 id=20261121100000.4711@example.org"));
		if (i % 100 == 99)
			assert_int_equal(task_yield(task), OK);
		if (i % 1000 == 999)
			assert_int_equal(log_flush(task), OK); /* a slow disk loses lines, and tells */
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	assert_int_equal(log_flush(task), OK);
	print_message("%.0f ns a line\n",
		      (double)((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec) / LINES);
}

static void cost(void **state)
{
	struct conf *conf = conf_of("log_file_path = $spool_directory/cost/%slog", NULL, 0);
	struct stat st;

	(void)state;
	open_ok(conf);
	run_fn(conf, many_lines);
	assert_int_equal(stat(in_dir("cost/mainlog"), &st), 0);
	assert_int_equal(st.st_size % 100000, 0);
	conf_unref(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(opened_late), cmocka_unit_test(bad_options), cmocka_unit_test(selectors),
	    cmocka_unit_test(timestamps),  cmocka_unit_test(lines),       cmocka_unit_test(decorations),
	    cmocka_unit_test(long_lines),  cmocka_unit_test(cannot_open), cmocka_unit_test(disk_full),
	    cmocka_unit_test(renamed),     cmocka_unit_test(reloaded),    cmocka_unit_test(to_syslog),
	    cmocka_unit_test(to_stdout),   cmocka_unit_test(direct),      cmocka_unit_test(captures),
	    cmocka_unit_test(cost),
	};
	return cmocka_run_group_tests(tests, dir_make, dir_remove);
}
