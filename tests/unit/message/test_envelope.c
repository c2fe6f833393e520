/* -H files: what Exim writes comes back byte for byte, older forms are read, and what is broken is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/message.h"

#define HEAD "1xUZSM-000000003OG-2TAU-H\nroot 0 0\n<s@x.example>\n1795222794 0\n"
#define TAIL "XX\n1\na@b\n\n012  Subject: hi\n"

/* As Exim 4.98 writes them, but for the first, which has every line. */
static const char *const samples[] = {
    "1xUZSM-000000003OG-2TAU-H\nnews user 12 -1\n<s@x.example>\n1795222794 3\n"
    "-received_time_usec .588782\n-received_time_complete 1795222794.090241\n--helo_name cl.example\n"
    "--host_address [192.0.2.7]:1234\n--host_name host.example\n-host_auth plain\n-host_auth_pubname PLAIN\n"
    "--interface_address [2001:db8::1]:25\n-active_hostname mx.example\n--ident ident\n-received_protocol esmtpsa\n"
    "--aclc _greeting 5\nhello\n-aclc 0 0\n\n-aclm 1 7\na\nb\n\nc\n\n-debug_selector 0x1\n-debuglog_name x\n"
    "-spool_file_wireformat\n-max_received_linelength 22\n-body_zerocount 1\n--auth_id me\n--auth_sender me@x\n"
    "-allow_unqualified_recipient\n-deliver_firsttime\n-frozen 1795222795\n-N\n-host_lookup_failed\n-local\n-localerror\n"
    "-local_scan xyz\n-spam_bar +++\n-spam_score 3.1\n-spam_score_int 31\n-manual_thaw\n-sender_set_untrusted\n"
    "-bmi_verdicts v\n-tls_certificate_verified\n-tls_cipher TLS1.3:X:256\n--tls_peercert -----BEGIN\\nabc\\n\n"
    "--tls_peerdn CN=x\n--tls_sni sni.example\n-tls_ourcert -----BEGIN\\n\n-tls_ocsp 4\n-tls_resumption C\n-tls_ver TLS1.3\n"
    "-smtputf8\n-utf8_downcvt\n-dsn_envid abc+2Bd\n-dsn_ret 2\n"
    "YY d@x\nNN a@x\nNN e@x\n3\nA.b@C.d rfc822;a@c.d 12,20 err@x 5,0#3\ne@f  0,2  0,-1#3\nplain@qr.example\n\n"
    "039P Received: from host\n\tby mx;\n\tsome date\n006* To: u\n017T To: u@qr.example\n014  Subject: x\n y\n"
    "012  X-Foo : bar\n009B Bcc: q@z\n",
    HEAD
    "-received_time_usec .588782\n-received_time_complete 1795222794.590241\n--helo_name cl.example\n"
    "--host_address [192.0.2.7]:1234\n-received_protocol esmtp\n-body_linecount 2\n-max_received_linelength 22\n"
    "-allow_unqualified_recipient\n-deliver_firsttime\n-tls_resumption A\n" TAIL,
    /* A line that no one knows stays behind the one that it followed. */
    HEAD "-body_linecount 2\n-future_thing 1\n--future_other x y\n-deliver_firsttime\n" TAIL,
    /* The old id; a bounce; no recipients left; no headers. */
    "1abcDE-000123-Xy-H\nexim 101 102\n<>\n1 0\n-body_linecount 0\nNN a@b\n0\n\n",
};

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(samples); i++) {
		struct message *message = message_new(NULL, 0);
		struct str str;
		struct err err;

		err = err_make(&message->arena);
		str = str_make(&message->arena);
		if (envelope_read(message, slice_of(samples[i]), &err) != OK)
			fail_msg("sample %zu: %.*s", i, SLICE_ARG(err.text));
		assert_int_equal(envelope_write(message, &str), OK);
		if (!slice_eq(str_slice(&str), slice_of(samples[i])))
			fail_msg("sample %zu came back as:\n%.*s", i, SLICE_ARG(str_slice(&str)));
		message_unref(message);
	}
}

static void test_fields(void **state)
{
	struct message *m = message_new(NULL, 0);
	struct slice *value;

	(void)state;
	assert_int_equal(envelope_read(m, slice_of(samples[0]), NULL), OK);
	assert_string_equal(m->id.text, "1xUZSM-000000003OG-2TAU");
	assert_true(slice_eq(m->client->login, SLICE("news user")));
	assert_int_equal(m->client->uid, 12);
	assert_int_equal((int32_t)m->client->gid, -1);
	assert_true(slice_eq(m->sender, SLICE("s@x.example")));
	assert_int_equal(m->sender.taint, TAINTED);
	assert_true(m->received == 1795222794588782000ull);
	assert_true(m->received_complete == 1795222794090241000ull);
	assert_int_equal(m->warning_count, 3);
	assert_int_equal(m->client->ip.family, 4);
	assert_int_equal(m->client->ip.port, 1234);
	assert_int_equal(m->client->local.family, 6);
	assert_int_equal(m->client->helo.taint, TAINTED);
	assert_int_equal(m->client->tls_cipher.taint, CLEAN);
	value = acl_variable_get(m->client->acl_c, SLICE("_greeting"));
	assert_non_null(value);
	assert_true(slice_eq(*value, SLICE("hello")));
	assert_int_equal(value->taint, TAINTED);
	value = acl_variable_get(m->acl_m, SLICE("1"));
	assert_true(value && slice_eq(*value, SLICE("a\nb\n\nc\n")));
	assert_int_equal(value->taint, CLEAN);
	assert_true(slice_eq(m->client->tls_peercert, SLICE("-----BEGIN\nabc\n")));
	assert_false(m->body.lf);
	assert_true(m->frozen && m->manual_thaw && m->local && m->sender_local && m->dont_deliver &&
		    m->smtputf8);
	assert_int_equal(m->dsn_ret, 2);
	assert_int_equal(m->nonrecipient_count, 3);
	assert_int_equal(m->recipient_count, 3);
	assert_true(slice_eq(m->recipients[0].address, SLICE("A.b@C.d")));
	assert_true(slice_eq(m->recipients[0].orcpt, SLICE("rfc822;a@c.d")));
	assert_int_equal(m->recipients[0].dsn_flags, 20);
	assert_true(slice_eq(m->recipients[0].errors_to, SLICE("err@x")));
	assert_int_equal(m->recipients[0].parent, 0);
	assert_int_equal(m->recipients[1].dsn_flags, 2);
	assert_int_equal(m->recipients[1].parent, -1);
	assert_int_equal(m->headers.count, 6);
	assert_null(header_find(&m->headers, SLICE("to"), header_find(&m->headers, SLICE("To"), NULL)));
	assert_int_equal(m->received_hops, 1);
	message_unref(m);
}

static void test_older_forms(void **state)
{
	struct message *m = message_new(NULL, 0);

	(void)state;
	assert_int_equal(
	    envelope_read(
		m,
		SLICE(
		    "1abcDE-000123-Xy-H\nroot 0 0\n<>\n1795222794 0\n-host_address 192.0.2.7.99\n"
		    "-interface_address 192.0.2.1\n-acl 3 2\nab\n-acl 12 1\nx\nXX\n3\na@b err@c 5,1#1\nc@d 0\n"
		    "digits@x1\n\n"),
		NULL),
	    OK);
	assert_int_equal(m->client->ip.port, 99);
	assert_int_equal(m->client->local.port, 0);
	assert_int_equal(m->client->local.family, 4);
	assert_true(slice_eq(m->recipients[0].address, SLICE("a@b")));
	assert_true(slice_eq(m->recipients[0].errors_to, SLICE("err@c")));
	assert_int_equal(m->recipients[0].parent, 1);
	assert_true(slice_eq(m->recipients[1].address, SLICE("c@d")));
	assert_int_equal(m->recipients[1].parent, 0);
	assert_true(slice_eq(m->recipients[2].address, SLICE("digits@x1")));
	assert_true(slice_eq(*acl_variable_get(m->client->acl_c, SLICE("3")), SLICE("ab")));
	assert_true(slice_eq(*acl_variable_get(m->acl_m, SLICE("2")), SLICE("x")));
	message_unref(m);
}

static void test_broken(void **state)
{
	static const char *const broken[] = {
	    "",
	    "\n",
	    "1xUZSM-000000003OG-2TAU-D\nroot 0 0\n<>\n1 0\n" TAIL,
	    "1xUZSM-000000003OG-2TA-H\nroot 0 0\n<>\n1 0\n" TAIL,
	    "1xUZSM-000000003OG-2TAU-H\nroot 0\n<>\n1 0\n" TAIL,
	    "1xUZSM-000000003OG-2TAU-H\nroot x 0\n<>\n1 0\n" TAIL,
	    "1xUZSM-000000003OG-2TAU-H\nroot 0 0\ns@x\n1 0\n" TAIL,
	    "1xUZSM-000000003OG-2TAU-H\nroot 0 0\n<>\n1\n" TAIL,
	    "1xUZSM-000000003OG-2TAU-H\nroot 0 0\n<>\n99999999999999999999 0\n" TAIL,
	    "1xUZSM-000000003OG-2TAU-H\nroot 0 0\n<>\n18446744073709551615 0\n" TAIL,
	    HEAD "-\n" TAIL,
	    HEAD "-- x\n" TAIL,
	    HEAD "-aclm x\n" TAIL,
	    HEAD "-aclm x 5\nab\n" TAIL + 0,
	    HEAD "-aclm x 99999\nab\n" TAIL,
	    HEAD "-aclm x 18446744073709551615\nab\n" TAIL,
	    HEAD "-acl 20 1\na\n" TAIL,
	    HEAD "-host_address [1.2.3.4]:99999\n" TAIL,
	    HEAD "-host_address [1.2.3\n" TAIL,
	    HEAD "-dsn_ret 3\n" TAIL,
	    HEAD "-received_time_usec 5\n" TAIL,
	    HEAD "XX\n",
	    HEAD "XX\n2\na@b\n\n",
	    HEAD "XX\n1\na@b\n",
	    HEAD "XX\n1\n\n\n",
	    HEAD "XX\n-1\na@b\n\n",
	    HEAD "XX\n4294967296\na@b\n\n",
	    HEAD "XX\n1\na@b x 9,1#1\n\n",
	    HEAD "XX\n1\na@b x 1,7#1\n\n", /* a parent that is not there */
	    HEAD "XX\n1\na@b x 1,-2#1\n\n",
	    HEAD "XX\n1\na@b x 1,256  0,-1#3\n\n",
	    HEAD "YN a@b\n1\na@b\n\n",
	    HEAD "ZZ a@b\n1\na@b\n\n",
	    HEAD "XX\n1\na@b\n\n12  Subject: hi\n",
	    HEAD "XX\n1\na@b\n\n013  Subject: hi\n",
	    HEAD "XX\n1\na@b\n\n011  Subject: hi\n",
	    HEAD "XX\n1\na@b\n\n000  \n",
	    HEAD "XX\n1\na@b\n\n012? Subject: hi\n",
	    HEAD "XX\n1\na@b\n\n99999999999999999999  Subject: hi\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(broken); i++) {
		struct message *message = message_new(NULL, 0);
		struct err err = err_make(&message->arena);

		if (envelope_read(message, slice_of(broken[i]), &err) != FAIL)
			fail_msg("taken: %s", broken[i]);
		assert_true(slice_starts(err.text, SLICE("spool format error")));
		message_unref(message);
	}
}

/* F18.6: a file that the disk has cut or filled with NULs, at every place. */
static void test_cut_and_nul(void **state)
{
	size_t len = strlen(samples[0]);

	(void)state;
	for (size_t cut = 0; cut < len; cut++) {
		struct message *message = message_new(NULL, 0);
		struct slice text = arena_copy(&message->arena, slice_make(samples[0], len, CLEAN));
		bool between_headers = strstr(samples[0], "039P Received") - samples[0] <= (ptrdiff_t)cut;

		if (envelope_read(message, slice_sub(text, 0, cut), NULL) == OK && !between_headers)
			fail_msg("taken when cut to %zu bytes", cut);
		message_unref(message);

		message = message_new(NULL, 0);
		text = arena_copy(&message->arena, slice_make(samples[0], len, CLEAN));
		memset((char *)text.ptr + cut, 0, len - cut);
		assert_int_equal(envelope_read(message, text, NULL), FAIL);
		message_unref(message);
	}
}

/* Nothing that a stranger says ends a line early (the class of CVE-2020-28015 and -28021). */
static void test_no_line_injection(void **state)
{
	struct message *m = message_new(NULL, 0), *again = message_new(NULL, 0);
	struct client client = {.arena = &m->arena};
	struct recipient recipient = {.address = SLICE("a@b"),
				      .original = SLICE("a@b"),
				      .parent = -1,
				      .orcpt = SLICE_EMPTY,
				      .errors_to = SLICE_EMPTY};
	struct str str = str_make(&m->arena);

	(void)state;
	client_clear(&client);
	assert_true(message_id_parse(SLICE("1xUZSM-000000003OG-2TAU"), &m->id));
	client.ip = (struct ip_addr){.family = 4, .bytes = {192, 0, 2, 1}};
	client.helo = slice_tainted(SLICE("x\n-frozen 1\n"));
	client.ident = SLICE("y\r\n-local");
	client.login = SLICE("root 0 0\n<evil@x>");
	m->client = &client;
	m->sender = SLICE("s@x");
	m->dsn_envid = SLICE("e\n-N");
	assert_true(acl_variable_set(&m->arena, &m->acl_m, SLICE("_x\n-N 1"), SLICE("1\n-N\nXX\n0\n\n")));
	assert_true(message_add_recipient(m, &recipient));
	assert_int_equal(envelope_write(m, &str), OK);
	assert_int_equal(envelope_read(again, str_slice(&str), NULL), OK);
	assert_false(again->frozen || again->local || again->dont_deliver);
	assert_true(slice_eq(again->sender, SLICE("s@x")));
	assert_int_equal(again->recipient_count, 1);
	assert_true(slice_eq(again->acl_m->value, SLICE("1\n-N\nXX\n0\n\n")));

	recipient.address = SLICE("a@b\nc@d");
	assert_true(message_add_recipient(m, &recipient));
	assert_int_equal(envelope_write(m, &str), FAIL);
	m->recipient_count = 1;
	m->recipients[0].orcpt = SLICE("rfc822;x\ny");
	assert_int_equal(envelope_write(m, &str), FAIL);
	m->recipients[0].orcpt = SLICE_EMPTY;
	m->sender = SLICE("a\nb");
	assert_int_equal(envelope_write(m, &str), FAIL);
	m->client = NULL;
	message_unref(m);
	message_unref(again);
}

static void test_done(void **state)
{
	struct message *m = message_new(NULL, 0), *again;
	struct str str;

	(void)state;
	assert_int_equal(envelope_read(m, slice_of(samples[0]), NULL), OK);
	/* One more is done: the tree is made anew, sorted and without doubles. */
	m->recipients[1].done = true;
	assert_true(message_add_nonrecipient(m, SLICE("zz@x")));
	assert_true(message_add_nonrecipient(m, SLICE("zz@x")));
	str = str_make(&m->arena);
	assert_int_equal(envelope_write(m, &str), OK);
	again = message_new(NULL, 0);
	assert_int_equal(envelope_read(again, str_slice(&str), NULL), OK);
	assert_int_equal(again->nonrecipient_count, 5);
	assert_true(again->recipients[1].done);
	assert_false(again->recipients[0].done);
	message_unref(m);
	message_unref(again);
}

static void test_many_recipients(void **state)
{
	struct message *m = message_new(NULL, 0), *again = message_new(NULL, 0);
	struct str str = str_make(&m->arena);

	(void)state;
	assert_true(message_id_parse(SLICE("1xUZSM-000000003OG-2TAU"), &m->id));
	for (unsigned i = 0; i < 20000; i++) {
		struct slice address = arena_printf(&m->arena, "user%u@x%u.example", i, i % 7);
		struct recipient recipient = {.address = address,
					      .original = address,
					      .parent = -1,
					      .done = i % 2,
					      .orcpt = SLICE_EMPTY,
					      .errors_to = SLICE_EMPTY};
		assert_true(message_add_recipient(m, &recipient));
	}
	assert_int_equal(envelope_write(m, &str), OK);
	assert_int_equal(envelope_read(again, str_slice(&str), NULL), OK);
	assert_int_equal(again->recipient_count, 20000);
	assert_int_equal(again->nonrecipient_count, 10000);
	for (unsigned i = 0; i < 20000; i++) {
		assert_true(slice_eq(again->recipients[i].address, m->recipients[i].address));
		assert_int_equal(again->recipients[i].done, i % 2);
	}
	message_unref(m);
	message_unref(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_older_forms), cmocka_unit_test(test_broken),
	    cmocka_unit_test(test_cut_and_nul), cmocka_unit_test(test_no_line_injection),
	    cmocka_unit_test(test_done),        cmocka_unit_test(test_many_recipients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
