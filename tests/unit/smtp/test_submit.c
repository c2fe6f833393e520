/* Messages of local users: what is kept of them, and what is refused. The spool is real; log and deliverer are ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

/* The file itself, with a deliverer that only looks. */
#define deliver_accepted accepted_for_test
#include "smtp/submit.c"

static char log_text[4096];
static struct message *delivered;
static enum deliver_when delivered_when;
static bool log_broken;

bool log_wants(const struct conf *conf, enum log_selector selector)
{
	(void)conf;
	return selector == LOG_MSG_ID;
}

struct slice log_debug_name(const struct debug *debug)
{
	(void)debug;
	return (struct slice){NULL, 0, CLEAN};
}

struct debug *log_debug_console(struct shard *shard, uint64_t topics, bool direct)
{
	(void)shard;
	(void)topics;
	(void)direct;
	return NULL;
}

enum rc log_debug_file(struct shard *shard, const struct conf *conf, const struct log_debug_wish *wish,
		       struct debug **debug_ret, struct err *err)
{
	(void)shard;
	(void)conf;
	(void)wish;
	(void)debug_ret;
	return err_set(err, FAIL, "there are no debug logs in this test");
}

bool log_debug_tag(const struct conf *conf, struct slice name, struct slice *tag_ret)
{
	(void)conf;
	(void)name;
	(void)tag_ret;
	return false;
}

bool log_debug_is_file(const struct debug *debug)
{
	(void)debug;
	return false;
}

void log_debug_trigger(struct debug *debug)
{
	(void)debug;
}

void log_debug_end(struct debug *debug, bool remove)
{
	(void)debug;
	(void)remove;
}

bool log_healthy(const struct shard *shard)
{
	(void)shard;
	return !log_broken;
}

void log_write_more(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
		    struct slice text, struct slice more)
{
	(void)more;
	log_write(shard, conf, where, id, text);
}

void log_write(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
	       struct slice text)
{
	(void)shard;
	(void)conf;
	(void)where;
	(void)id;
	snprintf(log_text + strlen(log_text), sizeof(log_text) - strlen(log_text), "%.*s\n", SLICE_ARG(text));
}

void log_printf(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
		const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	log_write(shard, conf, where, id, slice_of(line));
}

void deliver_accepted(struct deliverer *deliverer, struct message *message, enum deliver_when when)
{
	(void)deliverer;
	delivered = message;
	delivered_when = when;
}

/* No address is verified here. */
__attribute__((weak)) enum rc callout(struct scope *sc, struct address *address, bool sender,
				      const struct callout_options *options,
				      struct callout_answer *answer_ret, struct err *err)
{
	(void)sc;
	(void)address;
	(void)sender;
	(void)options;
	(void)answer_ret;
	return err_set(err, DEFER, "no callouts here");
}

struct world {
	struct shard *shard;
	struct arena arena;
	struct task task;
	struct conf conf;
	struct conf_main main;
	struct message_options message;
	struct smtp_options smtp;
	struct smtp_server server;
	char directory[40];
	void (*f)(struct world *w);
};

static void on_fiber(void *arg)
{
	struct world *w = arg;
	struct spool_options options = {
	    .directory = w->directory, .segment_size = 8 * 1024 * 1024, .sync = true};
	struct err err = err_make(&w->arena);

	if (spool_open(&w->task, &options, NULL, NULL, &w->server.spool, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	w->f(w);
	spool_close(&w->task, w->server.spool);
	shard_stop(w->shard);
}

static void on_start(struct shard *shard, void *arg)
{
	struct world *w = arg;

	task_init(&w->task, shard, &w->arena, UNTIL_NEVER);
	assert_int_equal(fiber_spawn(shard, on_fiber, w), OK);
}

static void run(void (*f)(struct world *w))
{
	struct shard_options options = {.count = 1, .cpu = -1};
	struct world *w = calloc(1, sizeof(*w));
	char command[64];
	struct err err;

	/* cmocka leaves a failed test by longjmp(), which must not happen on a fiber's stack. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	strcpy(w->directory, "/tmp/sluice-submit-XXXXXX");
	assert_non_null(mkdtemp(w->directory));
	arena_init(&w->arena, 0);
	err = err_make(&w->arena);
	w->main = (struct conf_main){.primary_hostname = SLICE("mx.example.net"),
				     .qualify_domain = SLICE("q.example"),
				     .qualify_recipient = SLICE("qr.example"),
				     .exim_version = SLICE("4.98")};
	w->message = (struct message_options){.header_maxsize = 20000,
					      .received_headers_max = 3,
					      .message_body_visible = 500,
					      .check_rfc2047_length = true,
					      .headers_charset = SLICE("UTF-8")};
	w->smtp.local_from_check = w->smtp.extract_addresses_remove_arguments = true;
	w->smtp.return_path_remove = w->smtp.queue_only_override = true;
	w->conf.groups[CONF_MAIN] = &w->main;
	w->conf.groups[CONF_MESSAGE] = &w->message;
	w->conf.groups[CONF_SMTP] = &w->smtp;
	w->conf.refs = 1000; /* it is never freed */
	w->f = f;
	if (shard_new(&options, &w->shard, &err) != OK)
		fail_msg("%.*s", SLICE_ARG(err.text));
	w->server = (struct smtp_server){.metrics = &w->server.own_metrics,
					 .shard = w->shard,
					 .conf = &w->conf,
					 .ids = {.unique = 7, .host_number = -1}};
	assert_int_equal(shard_run(w->shard, on_start, w, &err), OK);
	shard_free(w->shard);
	arena_done(&w->arena);
	arena_pool_done();
	snprintf(command, sizeof(command), "rm -rf '%s'", w->directory);
	assert_int_equal(system(command), 0);
	free(w);
}

static enum rc hand_in(struct world *w, const struct smtp_submission *in, struct err *err)
{
	struct message_id id = {{0}};
	enum rc rc;

	log_text[0] = 0;
	delivered = NULL;
	*err = err_make(&w->arena);
	rc = smtp_submit(&w->task, &w->server, in, &id, err);
	if (rc == OK)
		assert_true(id.text[0]);
	else
		assert_true(err->text.len > 0 && !delivered);
	return rc;
}

static struct slice field(const char *name)
{
	struct header *header = header_find(&delivered->headers, slice_of(name), NULL);

	return header ? header_body(header) : SLICE("(none)");
}

static void expect(struct slice got, const char *want)
{
	if (!slice_eq(got, slice_of(want)))
		fail_msg("\"%.*s\" is not \"%s\"", SLICE_ARG(got), want);
}

static struct slice body_of(struct world *w, struct message *message)
{
	struct str str = str_make(&w->arena);
	struct err err = err_make(&w->arena);
	struct body_reader reader;
	struct slice piece;

	body_reader_init(&reader, message);
	while (body_next(&w->task, &reader, &piece, &err) == OK)
		str_add(&str, piece);
	assert_int_equal(err.text.len, 0);
	return str_slice(&str);
}

static const struct slice to_one[] = {SLICE_INIT("a@b")};
#define USER   .login = SLICE("bin"), .full_name = SLICE("B. User"), .uid = 2, .gid = 2
#define TO_ONE .recipients = to_one, .recipient_count = 1

static void kept_on(struct world *w)
{
	static const struct slice several[] = {SLICE_INIT("a@b, \"x y\"@z"), SLICE_INIT("local")};
	struct smtp_submission in = {.text = SLICE("To: a@b, me\nSubject: x\n\nline\n.\r\nlast"),
				     USER,
				     .recipients = several,
				     .recipient_count = 2};
	struct message *again;
	struct err err;

	assert_int_equal(hand_in(w, &in, &err), OK);
	assert_non_null(delivered->entry);
	assert_int_equal(delivered_when, DELIVER_NOW);
	expect(delivered->sender, "bin@q.example");
	assert_int_equal(delivered->recipient_count, 3);
	expect(delivered->recipients[1].address, "\"x y\"@z");
	expect(delivered->recipients[2].address, "local@qr.example");
	expect(field("To"), "a@b, me@qr.example");
	expect(field("From"), "\"B. User\" <bin@q.example>");
	assert_true(slice_starts(field("Received"),
				 SLICE("from bin by mx.example.net with local (Exim 4.98)\n\t(envelope-from "
				       "<bin@q.example>)\n\tid ")));
	assert_true(slice_ends(field("Message-Id"), SLICE("@mx.example.net>")));
	expect(body_of(w, delivered), "line\r\n.\r\nlast\r\n");
	expect(delivered->protocol, "local");
	expect(delivered->client->authenticated_id, "bin");
	assert_non_null(strstr(log_text, "<= bin@q.example U=bin P=local S="));

	assert_int_equal(message_load(&w->task, w->server.spool, delivered->entry, NULL, &again, &err), OK);
	assert_true(again->local && again->received_complete);
	expect(again->client->login, "bin");
	expect(body_of(w, again), "line\r\n.\r\nlast\r\n");
	message_unref(again);
	message_unref(delivered);
}

static void senders_on(struct world *w)
{
	static const struct {
		const char *sender;
		bool trusted;
		const char *text, *result, *from;
	} rows[] = {
	    {NULL, false, "\n", "bin@q.example", "\"B. User\" <bin@q.example>"},
	    {"", false, "\n", "", "\"B. User\" <bin@q.example>"},
	    {"<>", true, "\n", "", "(none)"},
	    {"o@x", false, "\n", "bin@q.example", "\"B. User\" <bin@q.example>"},
	    {"o@x", true, "\n", "o@x", "\"B. User\" <o@x>"},
	    {"o", true, "\n", "o@q.example", "\"B. User\" <o@q.example>"},
	};
	const struct smtp_told told = {.queue_only = true};
	struct err err;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct smtp_submission in = {.text = slice_of(rows[i].text),
					     USER,
					     TO_ONE,
					     .trusted = rows[i].trusted,
					     .sender = {NULL, 0, 0},
					     .told = &told};
		if (rows[i].sender)
			in.sender = slice_of(rows[i].sender);
		assert_int_equal(hand_in(w, &in, &err), OK);
		expect(delivered->sender, rows[i].result);
		expect(field("From"), rows[i].from);
		assert_int_equal(delivered_when, DELIVER_QUEUE);
		expect(body_of(w, delivered), "");
		message_unref(delivered);
	}
}

static void extract_on(struct world *w)
{
	static const struct slice not_to[] = {SLICE_INIT("c@d")};
	struct smtp_submission in = {.text = SLICE("To: a@b, c@d, bad@@x\nBcc: e\n\nbody\n"),
				     USER,
				     .extract_recipients = true,
				     .recipients = not_to,
				     .recipient_count = 1};
	struct err err;

	assert_int_equal(hand_in(w, &in, &err), OK);
	assert_int_equal(delivered->recipient_count, 2);
	expect(delivered->recipients[0].address, "a@b");
	expect(delivered->recipients[1].address, "e@qr.example");
	expect(field("Bcc"), "(none)");
	assert_int_equal(delivered->nonrecipient_count, 1);
	assert_non_null(strstr(log_text, "1 malformed address ignored: bad@@x: "));
	message_unref(delivered);

	w->smtp.extract_addresses_remove_arguments = false;
	assert_int_equal(hand_in(w, &in, &err), OK);
	assert_int_equal(delivered->recipient_count,
			 4); /* c@d as an argument, and as a field says: delivered once */
	message_unref(delivered);
}

static void refused_on(struct world *w)
{
	static const struct slice bad[] = {SLICE_INIT("a@@b")};
	struct smtp_submission in = {.text = SLICE("Subject: x\n\nbody\n"), USER, .extract_recipients = true};
	struct str str = str_make(&w->arena);
	struct err err;

	assert_int_equal(hand_in(w, &in, &err), FAIL);
	expect(err.text, "no recipients found in headers");
	in.extract_recipients = false;
	assert_int_equal(hand_in(w, &in, &err), FAIL);
	expect(err.text, "no recipients");
	in.recipients = bad;
	in.recipient_count = 1;
	assert_int_equal(hand_in(w, &in, &err), FAIL);
	expect(err.text, "malformed address: a@@b: domain missing or malformed");

	in = (struct smtp_submission){
	    .text = SLICE("\n"), USER, TO_ONE, .sender = SLICE("a b"), .trusted = true};
	assert_int_equal(hand_in(w, &in, &err), FAIL);
	assert_true(slice_starts(err.text, SLICE("bad sender address \"a b\": ")));

	in = (struct smtp_submission){
	    .text = SLICE("Received: a\nReceived: b\nReceived: c\nReceived: d\n\n"), USER, TO_ONE};
	assert_int_equal(hand_in(w, &in, &err), FAIL);
	assert_true(slice_starts(err.text, SLICE("too many \"Received\" headers")));

	for (int i = 0; i < 3000; i++)
		str_add(&str, SLICE("X: yyyyyyyyyy\n"));
	in.text = str_slice(&str);
	assert_int_equal(hand_in(w, &in, &err), FAIL);
	expect(err.text, "message header section is too big");

	log_broken = true;
	in.text = SLICE("\nbody\n");
	assert_int_equal(hand_in(w, &in, &err), DEFER);
	log_broken = false;
	assert_int_equal(spool_count(w->server.spool), 0);
}

/* More than is kept in memory: through blocks that are used again, and the same in the end. */
static void large_on(struct world *w)
{
	struct str str = str_make(&w->arena), want = str_make(&w->arena);
	struct smtp_submission in = {USER, TO_ONE};
	struct err err;

	str_add(&str, SLICE("Subject: x\n\n"));
	for (unsigned i = 0; i < 60000; i++) {
		str_printf(&str, "line %u of many\n", i);
		str_printf(&want, "line %u of many\r\n", i);
	}
	in.text = str_slice(&str);
	assert_int_equal(hand_in(w, &in, &err), OK);
	assert_true(!delivered->body.in_memory && delivered->body.line_count == 60000);
	assert_true(slice_eq(body_of(w, delivered), str_slice(&want)));
	message_unref(delivered);
}

static void test_kept(void **state)
{
	(void)state;
	run(kept_on);
}

static void test_senders(void **state)
{
	(void)state;
	run(senders_on);
}

static void test_extract(void **state)
{
	(void)state;
	run(extract_on);
}

static void test_refused(void **state)
{
	(void)state;
	run(refused_on);
}

static void test_large(void **state)
{
	(void)state;
	run(large_on);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kept),    cmocka_unit_test(test_senders), cmocka_unit_test(test_extract),
	    cmocka_unit_test(test_refused), cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
