/* Attempts at messages on a real spool: what is said, what is done once only, what is there after a restart. */
#define HARNESS_MATCH
#include "deliver/work.h"

#define HARNESS_MORE_VARIABLES &route_variables, &transport_variables, &deliver_variables,
#define HARNESS_MORE_GROUPS    &log_conf_group, &route_conf_group, &transport_conf_group, &deliver_conf_group,
#define HARNESS_SECTIONS       &route_conf_section, &transport_conf_section, &retry_conf_section,
/* Between the end of the loop and the end of the shard the log is let go of. */
#define shard_free(shard) (log_detach(shard), shard_free(shard))
#include "../lookup/harness.h"

#define HOLDS(h, what)                                                                         \
	do {                                                                                   \
		if (!(what)) {                                                                 \
			print_error("%s:%d: not so: %s\n%s", __FILE__, __LINE__, #what, told); \
			(h)->wrong++;                                                          \
		}                                                                              \
	} while (0)

static char told[64 * 1024]; /* what was logged since forget() */
static struct deliverer *deliverer;
static struct spool *spool;
static struct hints *hints; /* one for all worlds of a test */

static void on_line(void *arg, unsigned where, struct slice line)
{
	size_t len = strlen(told);

	(void)arg;
	(void)where;
	snprintf(told + len, sizeof(told) - len, "%.*s\n", SLICE_ARG(line));
}

static unsigned times(const char *what)
{
	unsigned count = 0;

	for (const char *at = told; (at = strstr(at, what)); at += strlen(what))
		count++;
	return count;
}

static bool said(const char *what)
{
	return times(what) > 0;
}

/* ---- The world ----------------------------------------------------------------------------------------------------------- */

static void found(void *arg, struct spool_entry *entry)
{
	deliver_found(arg, entry);
}

static void open_world(struct harness *h)
{
	struct deliver_start start = {.conf = h->conf, .id_unique = 5};
	struct spool_options options = {.segment_size = 8 * 1024 * 1024, .sync = false};
	struct err err = err_make(&h->err_arena);
	struct slice directory = with_dir(h, "@D");

	options.directory = arena_cstr(&h->arena, directory);
	log_capture(h->shard, on_line, NULL);
	if (!hints &&
	    (hints_open(arena_cstr(&h->arena, with_dir(h, "@D/hints")), 1 << 20, &hints, &err) != OK ||
	     hints_attach(hints, h->shard, &err) != OK))
		abort();
	if (deliver_new(h->shard, &start, &deliverer, &err) != OK ||
	    spool_open(&h->task, &options, found, deliverer, &spool, &err) != OK)
		abort();
	deliver_set_spool(deliverer, spool);
	told[0] = 0;
}

static void close_world(struct harness *h)
{
	deliver_drain(&h->task, deliverer);
	deliver_free(deliverer);
	spool_close(&h->task, spool);
}

static void leave_world(struct harness *h)
{
	close_world(h);
	hints_close(hints);
	hints = NULL;
	route_done(h->shard);
	transport_done(h->shard);
}

/* Commits a message and hands it over; returns when its first attempt, and those of what came of it, are over. */
static struct message_id send_message(struct harness *h, const char *sender, const char *const *recipients,
				      enum deliver_when when)
{
	struct message *m = message_new(h->conf, 0);
	struct err err = err_make(&h->err_arena);
	static struct id_source ids = {.unique = 9, .host_number = -1};
	struct message_id id;
	uint32_t used;

	if (!m || header_block_parse(&m->arena, SLICE("Subject: test\nDate: today\n\n"), &m->headers, &used,
				     &err) != OK)
		abort();
	m->client = arena_make(&m->arena, struct client);
	client_clear(m->client);
	m->id = id = message_id_next(&ids, shard_wall_exact(h->shard));
	m->received = m->received_complete = shard_wall_exact(h->shard);
	m->protocol = SLICE("esmtp");
	m->sender = m->sender_original = arena_copy(&m->arena, slice_of(sender));
	for (; *recipients; recipients++) {
		struct recipient r = {.orcpt = SLICE_EMPTY, .errors_to = SLICE_EMPTY, .parent = -1};
		r.address = r.original = arena_copy(&m->arena, slice_of(*recipients));
		if (!message_add_recipient(m, &r))
			abort();
	}
	m->body.in_memory = true;
	if (message_commit(&h->task, spool, m, &err) != OK)
		abort();
	told[0] = 0;
	deliver_accepted(deliverer, m, when);
	while (deliverer->running || deliverer->ready_count)
		if (task_sleep(&h->task, shard_now(h->shard) + NS_PER_MS) != OK)
			abort();
	return id;
}
#define SEND(h, sender, ...) send_message(h, sender, (const char *const[]){__VA_ARGS__, NULL}, DELIVER_NOW)

static void force(struct harness *h, const struct message_id *id)
{
	struct err err = err_make(&h->err_arena);

	told[0] = 0;
	if (deliver_message(&h->task, deliverer, id, &err) != OK)
		abort();
}

static void run_queue(struct harness *h, const struct queue_run *run)
{
	struct err err = err_make(&h->err_arena);

	told[0] = 0;
	if (deliver_queue_run(&h->task, deliverer, run, true, &err) != OK)
		abort();
}

#define ALL (&(struct queue_run){.sender_pattern = {NULL, 0, 0}, .recipient_pattern = {NULL, 0, 0}})

#define MAIN     HARNESS_CONF "spool_directory = @D\nqualify_domain = x.test\n"
#define FILE_NOW "${if exists{@D/second}{@D/second}{@D/aliases}}"
#define REST                                                                               \
	"begin routers\n"                                                                  \
	"list:\n driver = redirect\n local_parts = list\n domains = a.test\n"              \
	" data = ${lookup{list}lsearch{" FILE_NOW "}}\n one_time\n"                        \
	"aliases:\n driver = redirect\n domains = a.test\n"                                \
	" data = ${lookup{$local_part}lsearch{" FILE_NOW "}}\n allow_defer\n allow_fail\n" \
	"held:\n driver = accept\n domains = held.test\n transport = null\n"               \
	"here:\n driver = accept\n domains = x.test : s.test\n transport = null\n"         \
	"begin transports\n"                                                               \
	"null:\n driver = appendfile\n file = /dev/null\n"                                 \
	"begin retry\n* * F,1h,1m\n"

static void aliases_make(struct harness *h)
{
	text_make(h, "aliases",
		  "list: good@x.test, later@a.test\nlater: :defer: not now\nbad: :fail: gone\n"
		  "one: good@x.test\ntwo: good@x.test, one@a.test\nself: self@a.test, good@x.test\n");
}

/* From now on the aliases are these: a file of another name, since what was read of the first may be remembered a while. */
static void aliases_change(struct harness *h, const char *text)
{
	text_make(h, "second", text);
}

/* ---- Failures -------------------------------------------------------------------------------------------------------------- */

static void failures(struct harness *h)
{
	struct message_id id;

	open_world(h);
	id = SEND(h, "s@s.test", "nobody@a.test", "bad@a.test", "good@x.test");
	HOLDS(h, said(" ** nobody@a.test: Unrouteable address"));
	HOLDS(h, said(" ** bad@a.test R=aliases: gone"));
	HOLDS(h, said(" => good <good@x.test> R=here T=null"));
	HOLDS(h, times(" <= <> R=") == 1); /* one report for both */
	HOLDS(h, said(id.text) && said(" => s <s@s.test>"));
	HOLDS(h, times("Completed") == 2 && queue_count(deliverer) == 0);
	/* A report that fails is not reported: it stays, frozen. */
	id = SEND(h, "", "nobody@a.test");
	HOLDS(h, said("Frozen (delivery error message)") && !said("<= <>") && queue_count(deliverer) == 1);
	run_queue(h, ALL);
	HOLDS(h, !said("**") && queue_count(deliverer) == 1);
	force(h, &id);
	HOLDS(h, said("Unfrozen by forced delivery") && said("** nobody@a.test") && said("Frozen"));
	leave_world(h);
}

static void test_failures(void **state)
{
	(void)state;
	harness_run(MAIN REST, aliases_make, failures);
}

static void ignored(struct harness *h)
{
	open_world(h);
	(void)SEND(h, "", "nobody@a.test");
	HOLDS(h, said("nobody@a.test: error ignored") && said("Completed") && queue_count(deliverer) == 0);
	leave_world(h);
}

static void test_ignored(void **state)
{
	(void)state;
	harness_run(MAIN "ignore_bounce_errors_after = 0s\n" REST, aliases_make, ignored);
}

/* ---- What is done is done ------------------------------------------------------------------------------------------------------ */

static void outcomes(struct harness *h)
{
	struct message_id id;

	open_world(h);
	id = SEND(h, "s@s.test", "good@x.test", "later@a.test", "bad@a.test");
	HOLDS(h, said("=> good") && said("== later@a.test R=aliases defer (-1): not now") &&
		     said("** bad@a.test"));
	force(h, &id);
	HOLDS(h, !said("=> good") && !said("** bad") && said("== later@a.test"));
	/* And after a restart. */
	close_world(h);
	open_world(h);
	HOLDS(h, queue_count(deliverer) == 1);
	force(h, &id);
	HOLDS(h, !said("=> good") && !said("** bad") && said("== later@a.test") && !said("Completed"));
	aliases_change(h, "later: good@x.test, other@x.test\n");
	force(h, &id);
	/* The child's address is one that is done already: no second copy. */
	HOLDS(h, !said("=> good <") && said("=> other <later@a.test>") && said("Completed") &&
		     queue_count(deliverer) == 0);
	leave_world(h);
}

static void test_outcomes(void **state)
{
	(void)state;
	harness_run(MAIN REST, aliases_make, outcomes);
}

static void duplicates(struct harness *h)
{
	open_world(h);
	(void)SEND(h, "s@s.test", "one@a.test", "two@a.test", "good@x.test");
	HOLDS(h, times("=> good") == 1 && said("Completed"));
	(void)SEND(h, "s@s.test", "self@a.test");
	HOLDS(h, times("=> good") == 1 && said("** self@a.test: Unrouteable address"));
	leave_world(h);
}

static void test_duplicates(void **state)
{
	(void)state;
	harness_run(MAIN REST, aliases_make, duplicates);
}

static void one_time(struct harness *h)
{
	struct message_id id;

	open_world(h);
	id = SEND(h, "s@s.test", "list@a.test");
	HOLDS(h, said("=> good <list@a.test>") && said("== later@a.test <list@a.test>"));
	aliases_change(h, "list: other@x.test\nlater: late@x.test\n");
	close_world(h);
	open_world(h);
	force(h, &id);
	/* Those of the first time, whatever the list says now. */
	HOLDS(h,
	      !said("=> other") && !said("=> good") && said("=> late <later@a.test>") && said("Completed"));
	leave_world(h);
}

static void test_one_time(void **state)
{
	(void)state;
	harness_run(MAIN REST, aliases_make, one_time);
}

/* ---- Queue runs -------------------------------------------------------------------------------------------------------------------- */

static void runs(struct harness *h)
{
	struct message_id queued, held;

	open_world(h);
	queued = send_message(h, "s@s.test", (const char *const[]){"good@x.test", NULL}, DELIVER_QUEUE);
	HOLDS(h, !said("=>") && queue_count(deliverer) == 1);
	held = SEND(h, "other@s.test", "h@held.test");
	HOLDS(h, said("== h@held.test defer (-23): domain is held") && queue_count(deliverer) == 2);
	run_queue(h,
		  &(struct queue_run){.sender_pattern = SLICE("nobody@"), .recipient_pattern = {NULL, 0, 0}});
	HOLDS(h, !said("=>") && !said("=="));
	run_queue(h, &(struct queue_run){.recipient_pattern = SLICE("^h@.*est$"),
					 .sender_pattern = {NULL, 0, 0},
					 .patterns_are_regex = true});
	HOLDS(h, !said("=>") && times("== h@held.test") == 1);
	run_queue(
	    h, &(struct queue_run){.sender_pattern = SLICE("S@S.TEST"), .recipient_pattern = {NULL, 0, 0}});
	HOLDS(h, said("=> good") && said(queued.text) && !said(held.text));
	run_queue(h, &(struct queue_run){.flags = RUN_FORCE,
					 .sender_pattern = {NULL, 0, 0},
					 .recipient_pattern = {NULL, 0, 0}});
	HOLDS(h, said("=> h <h@held.test>") && said("Completed") && queue_count(deliverer) == 0);
	leave_world(h);
}

static void test_runs(void **state)
{
	(void)state;
	harness_run(MAIN "hold_domains = held.test\n" REST, aliases_make, runs);
}

static void busy(struct harness *h)
{
	open_world(h);
	deliverer->load = 2500;
	deliverer->load_until = UINT64_MAX;
	(void)SEND(h, "s@s.test", "good@x.test");
	HOLDS(h, said("no immediate delivery: load average 2.50") && !said("=>"));
	run_queue(h, ALL);
	HOLDS(h, said("Abandon queue run: pid=") && said("(load 2.50, max 2.00)") && !said("=>"));
	deliverer->load = 2000;
	run_queue(h, ALL);
	HOLDS(h, said("=> good"));
	leave_world(h);
}

static void test_busy(void **state)
{
	(void)state;
	harness_run(MAIN "queue_only_load = 2.2\ndeliver_queue_load_max = 2.0\n" REST, aliases_make, busy);
}

/* ---- Reports ------------------------------------------------------------------------------------------------------------------------ */

static void template_make(struct harness *h)
{
	aliases_make(h);
	text_make(
	    h, "bounce",
	    "Subject: Not delivered: $bounce_recipient\nX-Mine: yes\n****\nDear $bounce_recipient,\n****\n");
}

/* The text of the message in the queue that is a report. */
static struct slice report_text(struct harness *h)
{
	struct err err = err_make(&h->err_arena);
	struct str text = str_make(&h->arena);

	for (struct spool_entry *e = spool_first(spool); e; e = spool_next(spool, e)) {
		str_clear(&text);
		if (queue_act(&h->task, deliverer, QUEUE_VIEW_COPY, &e->id, NULL, 0, &text, &err) != OK)
			abort();
		if (slice_search(str_slice(&text), SLICE("multipart/report")) >= 0)
			return str_slice(&text);
	}
	return SLICE_EMPTY;
}

static bool has(struct slice text, const char *what)
{
	return slice_search(text, slice_of(what)) >= 0;
}

static void reports(struct harness *h)
{
	struct slice text;

	open_world(h);
	(void)SEND(h, "s@held.test",
		   "bad@a.test"); /* the sender's domain is held: the report stays to be looked at */
	text = report_text(h);
	HOLDS(h, has(text, "\nSubject: Not delivered: s@held.test\nX-Mine: yes\n") &&
		     !has(text, "Mail delivery failed"));
	HOLDS(h, has(text, "\nDear s@held.test,\n") && has(text, "  bad@a.test\n    gone\n"));
	HOLDS(h, has(text, "\nX-Failed-Recipients: bad@a.test\n") && has(text, "\nTo: s@held.test\n"));
	HOLDS(h, has(text, "\nFinal-Recipient: rfc822;bad@a.test\n") && has(text, "\nSubject: test\n"));
	/* errors_copy: the first pattern that fits, whose addresses are expanded. */
	HOLDS(h, said("=> copy <copy@x.test>") && said("=> me.example <me.example@x.test>") &&
		     !said("=> never"));
	leave_world(h);
}

static void test_reports(void **state)
{
	(void)state;
	harness_run(
	    MAIN
	    "hold_domains = held.test\nbounce_message_file = @D/bounce\n"
	    "errors_copy = *@other.test never@x.test : *@held.test copy@x.test, $primary_hostname@x.test : * never@x.test\n" REST,
	    template_make, reports);
}

static void no_template(struct harness *h)
{
	struct slice text;

	open_world(h);
	(void)SEND(h, "s@held.test", "bad@a.test");
	text = report_text(h);
	HOLDS(h, said("Failed to open bounce_message_file") &&
		     has(text, "\nSubject: Mail delivery failed: returning message to sender\n"));
	leave_world(h);
}

static void test_no_template(void **state)
{
	(void)state;
	harness_run(MAIN "hold_domains = held.test\nbounce_message_file = @D/nosuch\n" REST, template_make,
		    no_template);
}

/* ---- The message's own log ----------------------------------------------------------------------------------------------------------- */

static bool exists(struct harness *h, const char *directory, const struct message_id *id)
{
	struct slice path = arena_printf(&h->arena, "%s/%s/%s", h->dir, directory, id->text);

	return access(arena_cstr(&h->arena, path), F_OK) == 0;
}

static struct slice shown(struct harness *h, const struct message_id *id)
{
	struct err err = err_make(&h->err_arena);
	struct str text = str_make(&h->arena);

	if (queue_act(&h->task, deliverer, QUEUE_VIEW_LOG, id, NULL, 0, &text, &err) != OK)
		abort();
	return str_slice(&text);
}

static void logs(struct harness *h)
{
	struct message_id id;
	struct slice text;

	open_world(h);
	id = SEND(h, "s@s.test", "good@x.test");
	HOLDS(h, said("Completed") && !exists(h, "msglog", &id));
	id = send_message(h, "s@s.test", (const char *const[]){"good@x.test", "later@a.test", NULL},
			  DELIVER_QUEUE);
	HOLDS(h, !exists(h, "msglog", &id) && has(shown(h, &id), " Received from s@s.test P=esmtp"));
	run_queue(h, ALL);
	force(h, &id);
	HOLDS(h, exists(h, "msglog", &id));
	text = shown(h, &id);
	HOLDS(h,
	      has(text, " Received from s@s.test") && has(text, " good@x.test: null transport succeeded\n"));
	HOLDS(h, slice_search(slice_from(text, (size_t)slice_search(text, SLICE("not now")) + 7),
			      SLICE("not now")) >= 0);
	aliases_change(h, "later: good@x.test\n");
	force(h, &id);
	HOLDS(h, said("Completed") && !exists(h, "msglog", &id));
	leave_world(h);
}

static void test_logs(void **state)
{
	(void)state;
	harness_run(MAIN REST, aliases_make, logs);
}

static void logs_preserved(struct harness *h)
{
	struct message_id id;

	open_world(h);
	id = SEND(h, "s@s.test", "good@x.test");
	HOLDS(h, said("Completed") && exists(h, "msglog.OLD", &id));
	id = SEND(h, "s@s.test", "later@a.test");
	HOLDS(h, exists(h, "msglog", &id) && !exists(h, "msglog.OLD", &id));
	aliases_change(h, "later: good@x.test\n");
	force(h, &id);
	HOLDS(h, !exists(h, "msglog", &id) && exists(h, "msglog.OLD", &id));
	leave_world(h);
}

static void test_logs_preserved(void **state)
{
	(void)state;
	harness_run(MAIN "preserve_message_logs\n" REST, aliases_make, logs_preserved);
}

static void no_logs(struct harness *h)
{
	struct message_id id;

	open_world(h);
	id = SEND(h, "s@s.test", "later@a.test");
	HOLDS(h, said("==") && !exists(h, "msglog", &id));
	leave_world(h);
}

static void test_no_logs(void **state)
{
	(void)state;
	harness_run(MAIN "message_logs = false\n" REST, aliases_make, no_logs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_failures),       cmocka_unit_test(test_ignored),
	    cmocka_unit_test(test_outcomes),       cmocka_unit_test(test_duplicates),
	    cmocka_unit_test(test_one_time),       cmocka_unit_test(test_runs),
	    cmocka_unit_test(test_busy),           cmocka_unit_test(test_reports),
	    cmocka_unit_test(test_no_template),    cmocka_unit_test(test_logs),
	    cmocka_unit_test(test_logs_preserved), cmocka_unit_test(test_no_logs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
