/* Transactions with a server that says each kind of thing at each place. */
#include "../reactor/harness.h"

#include <string.h>

#include "script.h"
#include "smtp_client/smtp_client.h"

static struct script server;
static char trouble[1024]; /* what a fiber found wrong: cmocka cannot be told from there */
#define TROUBLE(...)                                                     \
	do {                                                             \
		if (!trouble[0])                                         \
			snprintf(trouble, sizeof(trouble), __VA_ARGS__); \
	} while (0)
#define HOLDS(what)                                                      \
	do {                                                             \
		if (!(what))                                             \
			TROUBLE("line %d: not so: %s", __LINE__, #what); \
	} while (0)

#define GREET     "S 220 test ESMTP", "C EHLO client.example"
#define PLAIN     GREET, "S 250 test"
#define PIPE      GREET, "S 250-test", "S 250-SIZE 1000000", "S 250 PIPELINING"
#define CHUNK     GREET, "S 250-test", "S 250-PIPELINING", "S 250 CHUNKING"
#define STEPS_MAX 40

/* The message of every row: header "H: v", body as given. */
struct row {
	const char *name;
	const char *steps[STEPS_MAX];
	const char *recipients[4];
	enum rc open_rc;
	enum rc rc[4];    /* per recipient */
	int code[4];      /* of the reply that decided */
	const char *says; /* in the last reply's text; NULL: anything */
	bool lmtp;
	bool dead; /* afterwards the connection is of no more use */
};

#define TWO                                  \
	{                                    \
		"a@x.example", "b@x.example" \
	}
#define BODY         "H: v\r\n\r\nline\r\n.dot\r\n"
#define SENT_STUFFED "H: v\r\n\r\nline\r\n..dot\r\n.\r\n"
#define MAIL         "C MAIL FROM:<s@y.example>"
#define RCPT_A       "C RCPT TO:<a@x.example>"
#define RCPT_B       "C RCPT TO:<b@x.example>"

static const struct row rows[] = {
    {"plain",
     {PLAIN, MAIL, "S 250 ok", RCPT_A, "S 250 ok", RCPT_B, "S 251 ok", "C DATA", "S 354 go", "D",
      "S 250 done 1"},
     TWO,
     OK,
     {OK, OK},
     {250, 250},
     "done 1",
     false,
     false},
    {"plain, one refused",
     {PLAIN, MAIL, "S 250 ok", RCPT_A, "S 550 no", RCPT_B, "S 250 ok", "C DATA", "S 354 go", "D",
      "S 250 done"},
     TWO,
     OK,
     {FAIL, OK},
     {550, 250},
     NULL,
     false,
     false},
    {"plain, one later, one never",
     {PLAIN, MAIL, "S 250 ok", RCPT_A, "S 450 later", RCPT_B, "S 550 no"},
     TWO,
     OK,
     {DEFER, FAIL},
     {450, 550},
     NULL,
     false,
     false},
    {"plain, MAIL refused", {PLAIN, MAIL, "S 550 no"}, TWO, OK, {FAIL, FAIL}, {550, 550}, NULL, false, false},
    {"plain, MAIL later", {PLAIN, MAIL, "S 451 no"}, TWO, OK, {DEFER, DEFER}, {451, 451}, NULL, false, false},
    {"plain, 421 to MAIL",
     {PLAIN, MAIL, "S 421 bye", "X"},
     TWO,
     OK,
     {DEFER, DEFER},
     {421, 421},
     NULL,
     false,
     true},
    {"plain, 421 to RCPT",
     {PLAIN, MAIL, "S 250 ok", RCPT_A, "S 550 no", RCPT_B, "S 421 bye", "X"},
     TWO,
     OK,
     {FAIL, DEFER},
     {550, 421},
     NULL,
     false,
     true},
    {"plain, DATA refused",
     {PLAIN, MAIL, "S 250 ok", RCPT_A, "S 250 ok", RCPT_B, "S 250 ok", "C DATA", "S 554 no"},
     TWO,
     OK,
     {FAIL, FAIL},
     {554, 554},
     NULL,
     false,
     false},
    {"plain, odd reply to DATA",
     {PLAIN, MAIL, "S 250 ok", RCPT_A, "S 250 ok", RCPT_B, "S 250 ok", "C DATA", "S 250 what"},
     TWO,
     OK,
     {DEFER, DEFER},
     {250, 250},
     NULL,
     false,
     true},
    {"plain, refused at the end",
     {PLAIN, MAIL, "S 250 ok", RCPT_A, "S 250 ok", RCPT_B, "S 250 ok", "C DATA", "S 354 go", "D",
      "S 552 large"},
     TWO,
     OK,
     {FAIL, FAIL},
     {552, 552},
     NULL,
     false,
     false},
    {"plain, later at the end",
     {PLAIN, MAIL, "S 250 ok", RCPT_A, "S 250 ok", RCPT_B, "S 250 ok", "C DATA", "S 354 go", "D",
      "S 452 full"},
     TWO,
     OK,
     {DEFER, DEFER},
     {452, 452},
     NULL,
     false,
     false},
    {"plain, lost before the last reply",
     {PLAIN, MAIL, "S 250 ok", RCPT_A, "S 250 ok", RCPT_B, "S 550 no", "C DATA", "S 354 go", "D", "X"},
     TWO,
     OK,
     {DEFER, FAIL},
     {0, 550},
     NULL,
     false,
     true},
    {"garbage for a reply", {PLAIN, MAIL, "S hello"}, TWO, OK, {DEFER, DEFER}, {0, 0}, NULL, false, true},
    {"codes that differ",
     {PLAIN, MAIL, "S 250-ok", "S 550 no"},
     TWO,
     OK,
     {DEFER, DEFER},
     {0, 0},
     NULL,
     false,
     true},
    {"several lines",
     {PLAIN, MAIL, "S 550-no", "S 550-never", "S 550 go"},
     TWO,
     OK,
     {FAIL, FAIL},
     {550, 550},
     "550-no\n550-never\n550 go",
     false,
     false},
    {"HELO after a refused EHLO",
     {GREET, "S 500 what", "C HELO client.example", "S 250 hi", MAIL, "S 250 ok", RCPT_A, "S 250 ok", RCPT_B,
      "S 250 ok", "C DATA", "S 354 go", "D", "S 250 done"},
     TWO,
     OK,
     {OK, OK},
     {250, 250},
     NULL,
     false,
     false},
    {"5yz greeting", {"S 554 no"}, TWO, FAIL, {OK}, {0}, NULL, false, false},
    {"4yz greeting", {"S 421 busy"}, TWO, DEFER, {OK}, {0}, NULL, false, false},
    {"closed greeting", {"S 220-hello", "X"}, TWO, DEFER, {OK}, {0}, NULL, false, false},
    {"pipelined",
     {PIPE, MAIL, RCPT_A, RCPT_B, "C DATA", "S 250 ok", "S 250 ok", "S 250 ok", "S 354 go", "D",
      "S 250 done"},
     TWO,
     OK,
     {OK, OK},
     {250, 250},
     "done",
     false,
     false},
    {"pipelined, MAIL refused",
     {PIPE, MAIL, RCPT_A, RCPT_B, "C DATA", "S 550 no", "S 503 no", "S 503 no", "S 503 no"},
     TWO,
     OK,
     {FAIL, FAIL},
     {550, 550},
     NULL,
     false,
     false},
    {"pipelined, all refused, yet 354",
     {PIPE, MAIL, RCPT_A, RCPT_B, "C DATA", "S 250 ok", "S 550 no", "S 450 no", "S 354 go", "C .",
      "S 554 no recipients"},
     TWO,
     OK,
     {FAIL, DEFER},
     {550, 450},
     NULL,
     false,
     false},
    {"pipelined, 421 in the middle",
     {PIPE, MAIL, RCPT_A, RCPT_B, "C DATA", "S 250 ok", "S 421 bye", "X"},
     TWO,
     OK,
     {DEFER, DEFER},
     {421, 421},
     NULL,
     false,
     true},
    {"pipelined, lost in the middle",
     {PIPE, MAIL, RCPT_A, RCPT_B, "C DATA", "S 250 ok", "S 250 ok", "X"},
     TWO,
     OK,
     {DEFER, DEFER},
     {0, 0},
     NULL,
     false,
     true},
    {"chunked",
     {CHUNK, MAIL, RCPT_A, RCPT_B, "C BDAT 20 LAST", "B 20", "S 250 ok", "S 250 ok", "S 250 ok",
      "S 250 done"},
     TWO,
     OK,
     {OK, OK},
     {250, 250},
     "done",
     false,
     false},
    {"chunked, one refused",
     {CHUNK, MAIL, RCPT_A, RCPT_B, "C BDAT 20 LAST", "B 20", "S 250 ok", "S 550 no", "S 250 ok",
      "S 250 done"},
     TWO,
     OK,
     {FAIL, OK},
     {550, 250},
     NULL,
     false,
     false},
    {"chunked, all refused",
     {CHUNK, MAIL, RCPT_A, RCPT_B, "C BDAT 20 LAST", "B 20", "S 250 ok", "S 550 no", "S 550 no",
      "S 503 no recipients"},
     TWO,
     OK,
     {FAIL, FAIL},
     {550, 550},
     NULL,
     false,
     true},
    {"lmtp",
     {"S 220 test LMTP", "C LHLO client.example", "S 250-test", "S 250 PIPELINING", MAIL, RCPT_A, RCPT_B,
      "C DATA", "S 250 ok", "S 250 ok", "S 250 ok", "S 354 go", "D", "S 250 one", "S 452 two"},
     TWO,
     OK,
     {OK, DEFER},
     {250, 452},
     NULL,
     true,
     false},
    {"lmtp, lost between two",
     {"S 220 test LMTP", "C LHLO client.example", "S 250-test", "S 250 PIPELINING", MAIL, RCPT_A, RCPT_B,
      "C DATA", "S 250 ok", "S 250 ok", "S 250 ok", "S 354 go", "D", "S 250 one", "X"},
     TWO,
     OK,
     {OK, DEFER},
     {250, 0},
     NULL,
     true,
     true},
    {"lmtp, one refused",
     {"S 220 test LMTP", "C LHLO client.example", "S 250-test", "S 250 PIPELINING", MAIL, RCPT_A, RCPT_B,
      "C DATA", "S 250 ok", "S 550 no", "S 250 ok", "S 354 go", "D", "S 250 two"},
     TWO,
     OK,
     {FAIL, OK},
     {550, 250},
     "two",
     true,
     false},
    {"a line end in an address",
     {PIPE, MAIL, RCPT_B, "C DATA", "S 250 ok", "S 250 ok", "S 354 go", "D", "S 250 done"},
     {"a@x.example>\r\nDATA", "b@x.example"},
     OK,
     {FAIL, OK},
     {0, 250},
     "done",
     false,
     false},
};

static struct smtp_connect_options connect_options(bool lmtp)
{
	struct smtp_connect_options o = {
	    .unix_path = SLICE_EMPTY,
	    .host_name = SLICE("test"),
	    .helo = SLICE("client.example"),
	    .lmtp = lmtp,
	    .use_ehlo = true,
	    .connect_timeout_ms = 2000,
	    .command_timeout_ms = 2000,
	    .data_timeout_ms = 2000,
	    .final_timeout_ms = 2000,
	    .pool_key = SLICE("t"),
	};

	assert_true(ip_parse(SLICE("127.0.0.1"), &o.to));
	o.to.port = server.port;
	return o;
}

static struct smtp_transaction *transaction(struct task *task, const char *const *recipients)
{
	struct smtp_transaction *t = arena_make(task->arena, struct smtp_transaction);

	t->sender = SLICE("s@y.example");
	t->headers = SLICE(BODY); /* header and body in one: the client does not look */
	t->mail_parameters = SLICE_EMPTY;
	t->allow_chunking = true;
	t->recipients = arena_array(task->arena, struct smtp_recipient, 8);
	for (; t->recipient_count < 4 && recipients[t->recipient_count]; t->recipient_count++) {
		t->recipients[t->recipient_count].address = slice_of(recipients[t->recipient_count]);
		t->recipients[t->recipient_count].parameters = SLICE_EMPTY;
	}
	return t;
}

static void play(struct task *task, void *arg)
{
	const struct row *row = arg;
	struct smtp_connect_options options = connect_options(row->lmtp);
	struct smtp_transaction *t = transaction(task, row->recipients);
	struct smtp_connection *connection;
	struct smtp_reply reply;
	struct err err = err_make(task->arena);
	struct scope sc;
	enum rc rc;

	scope_init(&sc, task, NULL);
	rc = smtp_open(&sc, &options, &connection, &reply, &err);
	if (rc != row->open_rc)
		TROUBLE("%s: open gave %s: %.*s", row->name, rc_name(rc), SLICE_ARG(err.text));
	if (rc != OK)
		return;
	(void)!smtp_send(&sc, connection, t, &err);
	for (unsigned i = 0; i < t->recipient_count; i++)
		if (t->recipients[i].rc != row->rc[i] || t->recipients[i].reply.code != row->code[i])
			TROUBLE("%s: recipient %u: %s %d (%.*s), not %s %d", row->name, i,
				rc_name(t->recipients[i].rc), t->recipients[i].reply.code,
				SLICE_ARG(err.text), rc_name(row->rc[i]), row->code[i]);
	if (row->says && slice_search(t->reply.text, slice_of(row->says)) < 0)
		TROUBLE("%s: the reply was \"%.*s\"", row->name, SLICE_ARG(t->reply.text));
	/* A connection that is out of step must not come back. */
	smtp_release(connection, 0);
	options.reuse = true;
	options.command_timeout_ms = 30; /* the script is over: nobody greets */
	if (row->dead) {
		if (smtp_open(&sc, &options, &connection, &reply, &err) == OK)
			TROUBLE("%s: the connection was used again", row->name);
	}
	smtp_pool_done(task->shard);
}

static void each_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct row row = rows[i];

		trouble[0] = '\0';
		script_start(&server, row.steps);
		run_fn(play, &row);
		script_join(&server);
		if (trouble[0])
			fail_msg("%s", trouble);
		if (server.wrong[0])
			fail_msg("%s: %s; the client said:\n%.*s", row.name, server.wrong,
				 (int)server.log_len, server.log);
	}
}

static void stuffed(void **state)
{
	(void)state;
	script_start(&server, rows[0].steps);
	run_fn(play, (void *)(uintptr_t)&rows[0]);
	script_join(&server);
	assert_true(script_saw(&server, "DATA\r\n" SENT_STUFFED));
}

static void raw(void **state)
{
	static const char *const steps[] = {CHUNK,  MAIL,       RCPT_A,     RCPT_B,     "C BDAT 20 LAST",
					    "B 20", "S 250 ok", "S 250 ok", "S 250 ok", "S 250 done",
					    NULL};
	struct row row = {"raw", {0}, TWO, OK, {OK, OK}, {250, 250}, NULL, false, false};

	(void)state;
	script_start(&server, steps);
	run_fn(play, &row);
	script_join(&server);
	assert_true(script_saw(&server, "BDAT 20 LAST\r\n" BODY));
}

/* Two messages over one connection; after a transaction that broke off, RSET comes first. */
static void reuse_on_fiber(struct task *task, void *arg)
{
	static const char *const to[] = {"a@x.example", NULL};
	struct smtp_connect_options options = connect_options(false);
	struct smtp_connection *connection;
	struct smtp_reply reply;
	struct err err = err_make(task->arena);
	struct scope sc;

	(void)arg;
	scope_init(&sc, task, NULL);
	options.reuse = true;
	for (unsigned i = 0; i < 3; i++) {
		struct smtp_transaction *t = transaction(task, to);
		HOLDS(smtp_open(&sc, &options, &connection, &reply, &err) == (OK));
		HOLDS(smtp_was_reused(connection) == (i > 0));
		HOLDS(smtp_send(&sc, connection, t, &err) == (i == 1 ? FAIL : OK));
		smtp_release(connection, 2); /* the refused one was none */
	}
	/* The second message was the last that it may carry. */
	HOLDS(smtp_open(&sc, &options, &connection, &reply, &err) == (OK));
	HOLDS(!smtp_was_reused(connection));
	smtp_close(connection);
	smtp_pool_done(task->shard);
}

static void reuse(void **state)
{
	static const char *const steps[] = {
	    PIPE,         MAIL,     RCPT_A,   "C DATA",      "S 250 ok", "S 250 ok",   "S 354 go",   "D",
	    "S 250 done", MAIL,     RCPT_A,   "C DATA",      "S 250 ok", "S 550 no",   "S 554 none", "C RSET",
	    MAIL,         RCPT_A,   "C DATA", "S 250 reset", "S 250 ok", "S 250 ok",   "S 354 go",   "D",
	    "S 250 done", "C QUIT", "W",      "S 220 test",  "C EHLO",   "S 250 test", "W",          NULL};

	(void)state;
	script_start(&server, steps);
	run_fn(reuse_on_fiber, NULL);
	script_join(&server);
	if (trouble[0])
		fail_msg("%s", trouble);
	if (server.wrong[0])
		fail_msg("%s; the client said:\n%.*s", server.wrong, (int)server.log_len, server.log);
	assert_int_equal(server.connections, 2);
}

/* Nobody answers: the deadline of the command counts. */
static void slow_on_fiber(struct task *task, void *arg)
{
	struct smtp_connect_options options = connect_options(false);
	struct smtp_connection *connection;
	struct smtp_reply reply;
	struct err err = err_make(task->arena);
	struct scope sc;

	(void)arg;
	scope_init(&sc, task, NULL);
	options.command_timeout_ms = 50;
	HOLDS(smtp_open(&sc, &options, &connection, &reply, &err) == (DEFER));
	HOLDS(reply.code == (0));
	HOLDS(slice_search(err.text, SLICE("timeout")) >= 0);
}

static void slow(void **state)
{
	static const char *const steps[] = {"W", NULL};

	(void)state;
	script_start(&server, steps);
	run_fn(slow_on_fiber, NULL);
	script_join(&server);
	assert_string_equal(trouble, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_row), cmocka_unit_test(stuffed), cmocka_unit_test(raw),
	    cmocka_unit_test(reuse),    cmocka_unit_test(slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
