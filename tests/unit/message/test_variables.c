/* Variables and $h_ and its kin: values as Exim 4.98 shows them for the same message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/message.h"

/* No log here: its selectors are all off. */
bool log_wants(const struct conf *conf, enum log_selector selector)
{
	(void)conf;
	(void)selector;
	return false;
}

static const char headers[] =
    "Received: from a by b; Mon, 1 Jan 2001 00:00:00 +0000\n"
    "Received: from c by d; Mon, 1 Jan 2001 00:00:00 +0000\n"
    "From: \"Ann O\" <ann@a.example>\nReply-To:  r1@x ,\n r2@y  \nReply-To: r3@z\nTo: t1@x\nTo:\nTo: t2@y\n"
    "Cc: c1@x\nX-A:  one  \nX-A:\nX-A: two\n\tcont\nX-C: a:b\nX-C: c::d\n"
    "Subject: =?utf-8?Q?caf=C3=A9?= =?iso-8859-1?B?6Q==?= x =?utf-8?q?a_b?=\nMessage-ID: <mid@x>\n"
    "Date: Thu, 1 Jan 2026 00:00:00 +0000\n\n";
static const char body[] = "line1\r\nline2\r\n\r\nl3\r\n";

struct world {
	struct arena arena;
	struct conf conf;
	struct conf_main main;
	struct message_options options;
	struct client client;
	struct message *message;
	struct address top, parent, address;
	struct task task;
	struct scope scope;
};

static int setup(void **state)
{
	static struct world world;
	struct world *w = &world;
	struct recipient recipient = {.address = slice_tainted(SLICE("a@b")), .parent = -1};
	uint32_t used;

	*w = (struct world){0};
	arena_init(&w->arena, 0);
	w->main = (struct conf_main){.primary_hostname = SLICE("mx.example.net"),
				     .qualify_domain = SLICE("q.example"),
				     .spool_directory = SLICE("/"),
				     .exim_version = SLICE("4.98.2")};
	w->main.exim_user = (struct conf_owner){.id = 101, .set = true};
	w->options = (struct message_options){
	    .message_body_visible = 500, .check_rfc2047_length = true, .headers_charset = SLICE("UTF-8")};
	w->conf.groups[CONF_MAIN] = &w->main;
	w->conf.groups[CONF_MESSAGE] = &w->options;
	w->conf.file = "/etc/mail/conf";
	w->client.arena = &w->arena;
	client_clear(&w->client);
	w->client.ip = (struct ip_addr){.family = 4, .port = 1234, .bytes = {192, 0, 2, 7}};
	w->client.local = (struct ip_addr){.family = 4, .port = 25, .bytes = {192, 0, 2, 1}};
	w->client.helo = slice_tainted(SLICE("cl.example"));
	w->message = message_new(NULL, 0);
	assert_int_equal(header_block_parse(&w->message->arena,
					    slice_make(headers, sizeof(headers) - 1, TAINTED),
					    &w->message->headers, &used, NULL),
			 OK);
	message_read_headers(w->message);
	assert_true(body_add(w->message, NULL, body, sizeof(body) - 1));
	assert_true(message_id_parse(SLICE("1xUZSM-000000003OG-2TAU"), &w->message->id));
	w->message->sender = slice_tainted(SLICE("s.t@x.example"));
	w->message->protocol = SLICE("esmtp");
	w->message->received = 1795222967ull * NS_PER_S;
	assert_true(message_add_recipient(w->message, &recipient));
	recipient.address = SLICE("\"c:d\"@e");
	assert_true(message_add_recipient(w->message, &recipient));
	w->task = (struct task){.arena = &w->arena};
	scope_init(&w->scope, &w->task, &w->conf);
	w->scope.client = &w->client;
	w->scope.message = w->message;
	w->top = (struct address){.full = SLICE("Top@one"),
				  .domain = SLICE("one"),
				  .local_part = SLICE("top"),
				  .cased_local_part = SLICE("Top")};
	w->parent =
	    (struct address){.domain = SLICE("two"), .cased_local_part = SLICE("Mid"), .parent = &w->top};
	w->address = (struct address){.domain = SLICE("three"),
				      .local_part = SLICE("low"),
				      .parent = &w->parent,
				      .prefix = SLICE("owner-"),
				      .local_part_data = SLICE("lpd")};
	w->scope.domain_data = SLICE("dd");
	w->scope.address = &w->address;
	w->scope.smtp_command = slice_tainted(SLICE("MAIL  FROM:<s@x>"));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	message_unref(w->message);
	arena_done(&w->arena);
	return 0;
}

static struct slice value_of(struct world *w, const char *name)
{
	struct slice value = {NULL, 0, 0};

	for (unsigned i = 0; i < message_variables.count; i++) {
		const struct variable *variable = &message_variables.rows[i];
		if (strcmp(variable->name, name) == 0) {
			assert_int_equal(variable->get(&w->scope, variable, &value, NULL), OK);
			assert_non_null(value.ptr);
			return value;
		}
	}
	fail_msg("no $%s", name);
	return value;
}

static const char *const values[][2] = {
    {"sender_address", "s.t@x.example"},
    {"sender_address_local_part", "s.t"},
    {"sender_address_domain", "x.example"},
    {"sender_host_address", "192.0.2.7"},
    {"sender_host_port", "1234"},
    {"sender_helo_name", "cl.example"},
    {"sender_helo_verified", "no"},
    {"sender_fullhost", "(cl.example) [192.0.2.7]"},
    {"sender_rcvhost", "[192.0.2.7] (helo=cl.example)"},
    {"host_lookup_failed", "0"},
    {"received_ip_address", "192.0.2.1"},
    {"received_port", "25"},
    {"interface_port", "25"},
    {"received_protocol", "esmtp"},
    {"received_count", "2"},
    {"received_for", ""},
    {"received_time", "1795222967"},
    {"recipients", "a@b, \"c:d\"@e"},
    {"recipients_list", "a@b:\"c::d\"@e"},
    {"recipients_count", "2"},
    {"message_exim_id", "1xUZSM-000000003OG-2TAU"},
    {"message_id", "1xUZSM-000000003OG-2TAU"},
    {"message_size", "406"},
    {"message_body_size", "16"},
    {"message_linecount", "24"},
    {"body_linecount", "4"},
    {"body_zerocount", "0"},
    {"message_body", "line1 line2  l3 "},
    {"message_body_end", "line1 line2  l3 "},
    {"reply_address", "r1@x ,  r2@y    r3@z"},
    {"domain", "three"},
    {"local_part", "low"},
    {"local_part_prefix", "owner-"},
    {"local_part_suffix", ""},
    {"local_part_data", "lpd"},
    {"domain_data", "dd"},
    {"parent_domain", "two"},
    {"parent_local_part", "Mid"},
    {"original_domain", "one"},
    {"original_local_part", "Top"},
    {"return_path", "s.t@x.example"},
    {"primary_hostname", "mx.example.net"},
    {"default_hostname", "mx.example.net"},
    {"smtp_active_hostname", "mx.example.net"},
    {"version_number", "4.98.2"},
    {"exim_uid", "101"},
    {"exim_gid", "0"},
    {"config_dir", "/etc/mail"},
    {"verify_mode", ""},
    {"tls_in_cipher", ""},
    {"tls_in_bits", "0"},
    {"tls_in_certificate_verified", "0"},
    {"proxy_session", "no"},
    {"proxy_external_port", "0"},
    {"message_smtputf8", "no"},
};

static void test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
		struct slice value = value_of(*state, values[i][0]);
		if (!slice_eq(value, slice_of(values[i][1])))
			fail_msg("$%s is \"%.*s\"", values[i][0], SLICE_ARG(value));
	}
}

/* Nothing is there: every variable still has a value. */
static void test_empty_scope(void **state)
{
	struct world *w = *state;

	scope_init(&w->scope, &w->task, &w->conf);
	for (unsigned i = 0; i < message_variables.count; i++) {
		struct slice value = {NULL, 0, 0};
		if (strcmp(message_variables.rows[i].name, "message_age") == 0)
			continue; /* asks the shard's clock */
		assert_int_equal(
		    message_variables.rows[i].get(&w->scope, &message_variables.rows[i], &value, NULL), OK);
		assert_non_null(value.ptr);
	}
	assert_true(slice_eq(value_of(w, "message_size"), SLICE("0"))); /* as Exim has it for -be */
}

/* No variable twice, all in order: a reader finds them. */
static void test_table(void **state)
{
	(void)state;
	for (unsigned i = 1; i < message_variables.count; i++)
		if (strcmp(message_variables.rows[i - 1].name, message_variables.rows[i].name) >= 0)
			fail_msg("$%s is out of order", message_variables.rows[i].name);
}

static void test_taint(void **state)
{
	static const char *const tainted[] = {"sender_address",      "sender_address_domain",
					      "sender_fullhost",     "sender_rcvhost",
					      "sender_helo_name",    "recipients",
					      "message_body",        "message_headers",
					      "message_headers_raw", "reply_address"};
	static const char *const clean[] = {"sender_host_address", "message_exim_id", "primary_hostname",
					    "local_part_data", "received_time"};

	for (size_t i = 0; i < ARRAY_COUNT(tainted); i++)
		assert_int_equal(value_of(*state, tainted[i]).taint, TAINTED);
	for (size_t i = 0; i < ARRAY_COUNT(clean); i++)
		assert_int_equal(value_of(*state, clean[i]).taint, CLEAN);
}

static void test_options(void **state)
{
	struct world *w = *state;

	w->options.message_body_visible = 7;
	assert_true(slice_eq(value_of(w, "message_body"), SLICE("line1 l")));
	assert_true(slice_eq(value_of(w, "message_body_end"), SLICE("e2  l3 ")));
	w->options.message_body_newlines = true;
	assert_true(slice_eq(value_of(w, "message_body_end"), SLICE("e2\n\nl3\n")));
	w->message->recipient_count = 1;
	assert_true(slice_eq(value_of(w, "received_for"), SLICE("a@b")));
	w->scope.sender = SLICE("other@y");
	assert_true(slice_eq(value_of(w, "sender_address_domain"), SLICE("y")));
	w->scope.sender = SLICE("");
	assert_true(slice_eq(value_of(w, "sender_address"), SLICE("")));
}

static void test_headers(void **state)
{
	static const struct {
		const char *name;
		enum header_form form;
		const char *text;
	} rows[] = {
	    {"x-a", HEADER_DECODED, "one\ntwo\n\tcont"},
	    {"x-a", HEADER_RAW, "  one  \n\n two\n\tcont\n"},
	    {"X-C", HEADER_LIST, " a::b: c::::d"},
	    {"reply-to", HEADER_LIST, "  r1@x ,\n r2@y  : r3@z"},
	    {"to", HEADER_DECODED, "t1@x,\nt2@y"},
	    {"to", HEADER_RAW, " t1@x\n\n t2@y\n"},
	    {"Reply-To", HEADER_DECODED, "r1@x ,\n r2@y,\nr3@z"},
	    {"subject", HEADER_DECODED, "caf\303\251\303\251 x a b"},
	    {"subject", HEADER_BASIC, "caf\303\251\351 x a b"},
	    {"subject", HEADER_RAW, " =?utf-8?Q?caf=C3=A9?= =?iso-8859-1?B?6Q==?= x =?utf-8?q?a_b?=\n"},
	    {"nothing", HEADER_DECODED, ""},
	    {"nothing", HEADER_LIST, ""},
	    {"", HEADER_RAW, ""},
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct slice got;
		assert_int_equal(header_expand(&w->scope, slice_of(rows[i].name), rows[i].form, &got, NULL),
				 OK);
		if (!slice_eq(got, slice_of(rows[i].text)))
			fail_msg("%s in form %d: \"%.*s\"", rows[i].name, rows[i].form, SLICE_ARG(got));
	}
	assert_true(header_defined(&w->scope, SLICE("SUBJECT")));
	assert_false(header_defined(&w->scope, SLICE("Subjec")));
	struct slice all = value_of(w, "message_headers");
	assert_true(
	    slice_search(all, SLICE("Reply-To:  r1@x ,\n r2@y\nReply-To: r3@z\nTo: t1@x\nTo:\nTo: t2@y\n")) >=
	    0);
	assert_true(slice_search(all, SLICE("Subject: caf\303\251\351 x a b\n")) >= 0);
	assert_true(slice_ends(all, SLICE("+0000")));
	all = value_of(w, "message_headers_raw");
	assert_int_equal(all.len, sizeof(headers) - 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_values, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_empty_scope, setup, teardown),
	    cmocka_unit_test(test_table),
	    cmocka_unit_test_setup_teardown(test_taint, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_options, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_headers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
