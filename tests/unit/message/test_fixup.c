/* What messages get on their way in; each row as Exim 4.98 does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "message/message.h"

#define ID    "1xUZSM-000000003OG-2TAU"
#define MSGID "Message-Id: <E" ID "@mx.example.net>\n"
#define DATE  "Date: Sat, 21 Nov 2026 01:21:16 +0000\n"

struct row {
	const char *name, *in, *sender, *out, *sender_out; /* sender_out NULL: unchanged */
	struct fixup fixup;
};

#define LOCAL_BASE                                                                                \
	.local = true, .login = SLICE_INIT("bin"), .name = SLICE_INIT("bin"), .from_check = true, \
	.qualify_sender = true, .qualify_recipients = true
#define SUBMISSION_BASE .submission = true, .smtp = true, .from_check = true
#define AUTH            .authenticated_id = SLICE_INIT("u")

static const struct row rows[] = {
    {"another From",
     "To: a@b\nFrom: Some One <other@x.example>\n",
     "bin@q.example",
     "To: a@b\nFrom: Some One <other@x.example>\n" MSGID "Sender: bin <bin@q.example>\n" DATE,
     NULL,
     {LOCAL_BASE}},
    {"From is the login",
     "To: a@b\nFrom: bin\n",
     "bin@q.example",
     "To: a@b\nFrom: bin <bin@q.example>\n" MSGID DATE,
     NULL,
     {LOCAL_BASE}},
    {"From is the login, by SMTP",
     "From: bin\n",
     "bin@q.example",
     "From: bin@q.example\n" MSGID DATE,
     NULL,
     {LOCAL_BASE, .smtp = true}},
    {"From has no domain",
     "From: My Name <bin>\n",
     "bin@q.example",
     "From: My Name <bin@q.example>\n" MSGID DATE,
     NULL,
     {LOCAL_BASE}},
    {"From in another case",
     "From: <BIN@Q.example>\n",
     "bin@q.example",
     "From: <BIN@Q.example>\n" MSGID DATE,
     NULL,
     {LOCAL_BASE}},
    {"From with two",
     "From: bin@q.example, other@x\n",
     "bin@q.example",
     "From: bin@q.example, other@x\n" MSGID "Sender: bin <bin@q.example>\n" DATE,
     NULL,
     {LOCAL_BASE}},
    {"Sender goes",
     "From: bin@q.example\nSender: x@y\n",
     "bin@q.example",
     "From: bin@q.example\n" MSGID DATE,
     NULL,
     {LOCAL_BASE}},
    {"Sender is replaced",
     "From: o@x\nSender: x@y\nSender: z@z\n",
     "bin@q.example",
     "From: o@x\n" MSGID "Sender: bin <bin@q.example>\n" DATE,
     NULL,
     {LOCAL_BASE}},
    {"no check, Sender goes",
     "From: x@y\nSender: z@z\n",
     "bin@q.example",
     "From: x@y\n" MSGID DATE,
     NULL,
     {.local = true, .login = SLICE_INIT("bin")}},
    {"no check, retained",
     "From: x@y\nSender: z@z\n",
     "bin@q.example",
     "From: x@y\nSender: z@z\n" MSGID DATE,
     NULL,
     {.local = true, .login = SLICE_INIT("bin"), .sender_retain = true}},
    {"nothing there", "", "bin@q.example", MSGID "From: bin <bin@q.example>\n" DATE, NULL, {LOCAL_BASE}},
    {"an untrusted bounce",
     "To: a@b\n",
     "",
     "To: a@b\n" MSGID "From: bin <bin@q.example>\n" DATE,
     NULL,
     {LOCAL_BASE}},
    {"untrusted sender",
     "",
     "f@f",
     MSGID "From: bin <f@f>\nSender: bin <bin@q.example>\n" DATE,
     NULL,
     {LOCAL_BASE}},
    {"trusted",
     "From: z@z\nSender: q@q\n",
     "root@q.example",
     "From: z@z\nSender: q@q\n" MSGID DATE,
     NULL,
     {LOCAL_BASE, .trusted = true}},
    {"trusted sender",
     "",
     "other@x",
     MSGID "From: other@x\n" DATE,
     NULL,
     {.local = true, .trusted = true, .login = SLICE_INIT("root"), .from_check = true}},
    {"trusted bounce", "To: a@b\n", "", "To: a@b\n" MSGID DATE, NULL, {LOCAL_BASE, .trusted = true}},
    {"prefix",
     "From: x-bin@q.example\n",
     "bin@q.example",
     "From: x-bin@q.example\n" MSGID DATE,
     NULL,
     {LOCAL_BASE, .from_prefix = SLICE_INIT("*-"), .from_suffix = SLICE_INIT("+*")}},
    {"suffix",
     "From: bin+zz@q.example\n",
     "bin@q.example",
     "From: bin+zz@q.example\n" MSGID DATE,
     NULL,
     {LOCAL_BASE, .from_prefix = SLICE_INIT("*-"), .from_suffix = SLICE_INIT("-s : +*")}},
    {"both",
     "From: x-bin+zz@q.example\n",
     "bin@q.example",
     "From: x-bin+zz@q.example\n" MSGID DATE,
     NULL,
     {LOCAL_BASE, .from_prefix = SLICE_INIT("*-"), .from_suffix = SLICE_INIT("+*")}},
    {"no such suffix",
     "From: bin-zz@q.example\n",
     "bin@q.example",
     "From: bin-zz@q.example\n" MSGID "Sender: bin <bin@q.example>\n" DATE,
     NULL,
     {LOCAL_BASE, .from_prefix = SLICE_INIT("*-"), .from_suffix = SLICE_INIT("+*")}},
    {"resent",
     "To: a@b\nFrom: q@r\nResent-To: c@d\nMessage-Id: <o@o>\n",
     "bin@q.example",
     "Resent-" DATE "Resent-" MSGID "To: a@b\nFrom: q@r\nResent-To: c@d\nMessage-Id: <o@o>\n"
     "Resent-From: bin <bin@q.example>\n",
     NULL,
     {LOCAL_BASE}},
    {"resent by another",
     "To: a@b\nResent-From: other@d\nResent-Sender: s@t\n",
     "bin@q.example",
     "Resent-" DATE "Resent-" MSGID "To: a@b\nResent-From: other@d\nResent-Sender: bin <bin@q.example>\n",
     NULL,
     {LOCAL_BASE}},
    {"qualifying",
     "To: a, \"b\" <c>, g: d, e@f;\nCc: x (y)\nReply-To: me\nBcc: z\nErrors-To: w\nFrom: bin@q.example\n",
     "bin@q.example",
     "To: a@qr.example, \"b\" <c@qr.example>, g: d@qr.example, \n\te@f;\nCc: x@qr.example (y)\n"
     "Reply-To: me@q.example\nBcc: z@qr.example\nErrors-To: w\nFrom: bin@q.example\n" MSGID DATE,
     NULL,
     {LOCAL_BASE}},
    {"qualifying: name like the local part",
     "To: a <a>, (b) b . c (d), <>, x y\nFrom: bin@q.example\n",
     "bin@q.example",
     "To: a <a@qr.example>, (b) b.c@qr.example (d), \n\t<>, x y\nFrom: bin@q.example\n" MSGID DATE,
     NULL,
     {LOCAL_BASE}},
    {"transit fields",
     "Return-Path: <x@y>\nEnvelope-To: a\nDelivery-Date: x\nX: y\n",
     "s@s",
     "X: y\n",
     NULL,
     {.remove_return_path = true, .remove_envelope_to = true, .remove_delivery_date = true}},
    {"not ours",
     "To: a\nSender: z\nReturn-Path: x\n",
     "s@s",
     "To: a\nSender: z\nReturn-Path: x\n",
     NULL,
     {.local = false}},
    {"submission", "Sender: x@y\n", "s@s", MSGID "From: s@s\n" DATE, NULL, {SUBMISSION_BASE}},
    {"submission of a bounce", "To: a@b\n", "", "To: a@b\n" MSGID DATE, NULL, {SUBMISSION_BASE}},
    {"authenticated",
     "Sender: x@y\n",
     "s@s",
     MSGID "From: s@s\nSender: u@q.example\n" DATE,
     "u@q.example",
     {SUBMISSION_BASE, AUTH}},
    {"authenticated, domain",
     "From: z@z\n",
     "s@s",
     "From: z@z\n" MSGID "Sender: u@dom.ex\n" DATE,
     "u@dom.ex",
     {SUBMISSION_BASE, AUTH, .submission_domain = SLICE_INIT("dom.ex")}},
    {"authenticated, bounce, name",
     "",
     "",
     MSGID "From: \"A, Name\" <u@dom.ex>\n" DATE,
     NULL,
     {SUBMISSION_BASE, AUTH, .submission_domain = SLICE_INIT("dom.ex"),
      .submission_name = SLICE_INIT("A, Name")}},
    {"authenticated, name",
     "",
     "s@s",
     MSGID "From: \"A, Name\" <s@s>\nSender: \"A, Name\" <u@dom.ex>\n" DATE,
     "u@dom.ex",
     {SUBMISSION_BASE, AUTH, .submission_domain = SLICE_INIT("dom.ex"),
      .submission_name = SLICE_INIT("A, Name")}},
    {"authenticated, whole address",
     "From: z@z\n",
     "s@s",
     "From: z@z\n" MSGID "Sender: v@w\n" DATE,
     "v@w",
     {SUBMISSION_BASE, .authenticated_id = SLICE_INIT("v@w"), .submission_domain = SLICE_INIT("")}},
    {"authenticated, retained",
     "From: z@z\nSender: k@k\n",
     "s@s",
     "From: z@z\nSender: k@k\n" MSGID DATE,
     NULL,
     {.submission = true, AUTH, .sender_retain = true}},
    {"authenticated, as expected",
     "From: u@Q.example\n",
     "s@s",
     "From: u@Q.example\n" MSGID DATE,
     "u@q.example",
     {SUBMISSION_BASE, AUTH}},
    {"id options",
     "From: bin@q.example\n",
     "bin@q.example",
     "From: bin@q.example\nMessage-Id: <E" ID ".a-b-c@d.example>\n" DATE,
     NULL,
     {LOCAL_BASE, .id_text = SLICE_INIT("a b@c"), .id_domain = SLICE_INIT("d.example")}},
};

static struct message *make(const char *headers, const char *sender)
{
	struct message *message = message_new(NULL, 0);
	uint32_t used;

	assert_non_null(message);
	assert_true(message_id_parse(SLICE(ID), &message->id));
	assert_int_equal(
	    header_block_parse(&message->arena, slice_of(headers), &message->headers, &used, NULL), OK);
	message->sender = message->sender_original = slice_of(sender);
	return message;
}

static struct slice headers_of(struct message *message)
{
	struct str str = str_make(&message->arena);

	for (struct header *h = header_next(&message->headers, NULL); h;
	     h = header_next(&message->headers, h))
		str_add(&str, h->text);
	return str_slice(&str);
}

static void test_fixups(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct message *message = make(rows[i].in, rows[i].sender);
		struct fixup fixup = rows[i].fixup;

		fixup.qualify_domain = SLICE("q.example");
		fixup.qualify_recipient = SLICE("qr.example");
		fixup.primary_hostname = SLICE("mx.example.net");
		fixup.now = 1795224076;
		assert_int_equal(message_fix(message, &fixup, NULL), OK);
		if (!slice_eq(headers_of(message), slice_of(rows[i].out)))
			fail_msg("%s:\n%.*s", rows[i].name, SLICE_ARG(headers_of(message)));
		if (!slice_eq(message->sender,
			      slice_of(rows[i].sender_out ? rows[i].sender_out : rows[i].sender)))
			fail_msg("%s: sender %.*s", rows[i].name, SLICE_ARG(message->sender));
		message_unref(message);
	}
}

static void count(void *arg, struct slice item, struct slice why)
{
	(void)item;
	assert_true(why.len > 0);
	++*(int *)arg;
}

static void test_recipients(void **state)
{
	static const struct {
		const char *in, *recipients, *out;
		int malformed;
	} sets[] = {
	    {"Subject: x\n", "", "Subject: x\n", 0},
	    {"To: a@b, \"x y\"@z\nCc: c@d\nBcc: e@f, g\nBcc: h@i\n",
	     "a@b \"x y\"@z c@d e@f g@qr.example h@i ", "To: a@b, \"x y\"@z\nCc: c@d\n", 0},
	    {"To: a@b\nBcc: e@f\nResent-To: r@s\nResent-Bcc: t@u\n", "r@s t@u ",
	     "To: a@b\nBcc: e@f\nResent-To: r@s\n", 0},
	    {"To: a@b@c, c@d, c@d\n", "c@d ", "To: a@b@c, c@d, c@d\n", 1},
	    {"To: not@me, c@d\n", "c@d ", "To: not@me, c@d\n", 0},
	};
	struct slice except = SLICE("Not@Me");

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
		struct message *message = make(sets[i].in, "");
		struct fixup fixup = {.qualify_recipient = SLICE("qr.example")};
		struct str str = str_make(&message->arena);
		int malformed = 0;

		assert_int_equal(
		    message_recipients_from_headers(message, &fixup, &except, 1, count, &malformed), OK);
		for (uint32_t k = 0; k < message->recipient_count; k++) {
			str_add(&str, message->recipients[k].address);
			str_addc(&str, ' ');
		}
		assert_true(slice_eq(str_slice(&str), slice_of(sets[i].recipients)));
		assert_true(slice_eq(headers_of(message), slice_of(sets[i].out)));
		assert_int_equal(malformed, sets[i].malformed);
		message_unref(message);
	}
}

static void test_phrase(void **state)
{
	static const char *const phrases[][2] = {
	    {"Plain Name", "Plain Name"},
	    {"Dr. Full, \"Q\"", "\"Dr. Full,\" \"Q\""},
	    {"A (comment) B", "A (comment) B"},
	    {"A (open", "\"A (open\""},
	    {"quo\"te", "\"quo\\\"te\""},
	    {"back\\", "\"back\\\\\""},
	    {"a@b", "\"a@b\""},
	    {"Full (x) N\xc3\xa4m\xc3\xa9", "=?UTF-8?Q?Full_=28x=29_N=C3=A4m=C3=A9?="},
	    {"two\nlines", "=?UTF-8?Q?two=0Alines?="},
	    {"", ""},
	};
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (size_t i = 0; i < ARRAY_COUNT(phrases); i++) {
		struct slice got = phrase_quote(&arena, slice_of(phrases[i][0]), SLICE_EMPTY);
		if (!slice_eq(got, slice_of(phrases[i][1])))
			fail_msg("%s: %.*s", phrases[i][0], SLICE_ARG(got));
	}
	arena_done(&arena);
}

static void test_received(void **state)
{
	struct message *message = make("Subject: x\n", "s@x");
	struct conf_main conf = {.primary_hostname = SLICE("mx.example.net"),
				 .exim_version = SLICE("4.98.2")};
	struct recipient recipient = {.address = SLICE("a@b"), .parent = -1};
	struct client client = {.arena = &message->arena};
	struct header *header;
	struct str str;

	(void)state;
	client_clear(&client);
	message->protocol = SLICE("esmtps");
	client.ip = (struct ip_addr){.family = 4, .port = 1234, .bytes = {192, 0, 2, 7}};
	client.helo = SLICE("cl.example");
	client.ident = SLICE("ident");
	client.host_name = SLICE("host.example");
	client.tls_version = SLICE("TLS1.3");
	client.tls_cipher_std = SLICE("TLS_AES_256_GCM_SHA384");
	str = str_make(&message->arena);
	assert_int_equal(received_default(message, &client, &conf, message->sender, false, &str), OK);
	assert_true(
	    slice_eq(str_slice(&str),
		     SLICE("Received: from host.example\n\t([192.0.2.7] helo=cl.example ident=ident)\n"
			   "\tby mx.example.net with esmtps  (TLS1.3) tls TLS_AES_256_GCM_SHA384\n"
			   "\t(Exim 4.98.2)\n\t(envelope-from <s@x>)\n\tid " ID)));

	/* Local, to one, a bounce. */
	client_clear(&client);
	client.ident = SLICE("a b");
	message->protocol = SLICE("local");
	assert_true(message_add_recipient(message, &recipient));
	str = str_make(&message->arena);
	assert_int_equal(received_default(message, &client, &conf, SLICE_EMPTY, true, &str), OK);
	assert_true(
	    slice_eq(str_slice(&str),
		     SLICE("Received: from \"a b\" by mx.example.net with local (Exim 4.98.2)\n\tid " ID
			   "\n\tfor a@b")));
	header = received_make(message, SLICE("Received: x"), 1795224076);
	assert_true(slice_eq(header->text, SLICE("Received: x;\n\tSat, 21 Nov 2026 01:21:16 +0000\n")));
	assert_int_equal(header->type, 'P');
	received_set_time(message, header, 1795224077);
	assert_true(slice_eq(header->text, SLICE("Received: x;\n\tSat, 21 Nov 2026 01:21:17 +0000\n")));
	message_unref(message);
}

static void test_client_names(void **state)
{
	static const struct {
		const char *name, *helo, *ident, *full, *received;
		bool port;
	} hosts[] = {
	    {"", "", "", "[192.0.2.7]", "[192.0.2.7]", false},
	    {"", "cl.example", "root", "(cl.example) [192.0.2.7]", "[192.0.2.7] (helo=cl.example ident=root)",
	     false},
	    {"", "[192.0.2.7]", "root", "([192.0.2.7]) [192.0.2.7]", "[192.0.2.7] (ident=root)", false},
	    {"", "[192.0.2.8]", "", "([192.0.2.8]) [192.0.2.7]", "[192.0.2.7] (helo=[192.0.2.8])", false},
	    {"", "192.0.2.7", "", "(192.0.2.7) [192.0.2.7]", "[192.0.2.7] (helo=192.0.2.7)", false},
	    {"", "cl", "root", "(cl) [192.0.2.7]:1234", "[192.0.2.7] (port=1234 helo=cl ident=root)", true},
	    {"", "", "", "[192.0.2.7]:1234", "[192.0.2.7] (port=1234)", true},
	    {"h.example", "cl", "root", "h.example (cl) [192.0.2.7]",
	     "h.example\n\t([192.0.2.7] helo=cl ident=root)", false},
	    {"h.example", "H.example", "root", "h.example [192.0.2.7]", "h.example ([192.0.2.7] ident=root)",
	     false},
	    {"h.example", "[192.0.2.7]", "root", "h.example [192.0.2.7]",
	     "h.example ([192.0.2.7] ident=root)", false},
	    {"h.example", "cl", "root", "h.example (cl) [192.0.2.7]:1234",
	     "h.example\n\t([192.0.2.7]:1234 helo=cl ident=root)", true},
	};
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
		struct client client = {.arena = &arena}, *copy;
		client_clear(&client);
		client.ip = (struct ip_addr){.family = 4, .port = 1234, .bytes = {192, 0, 2, 7}};
		client.host_name = slice_of(hosts[i].name);
		client.helo = slice_of(hosts[i].helo);
		client.ident = slice_of(hosts[i].ident);
		assert_true(acl_variable_set(&arena, &client.acl_c, SLICE("0"), SLICE("v")));
		copy = client_copy(&arena, &client);
		assert_true(slice_eq(*acl_variable_get(copy->acl_c, SLICE("0")), SLICE("v")));
		if (!slice_eq(client_fullhost(copy, &arena, hosts[i].port), slice_of(hosts[i].full)) ||
		    !slice_eq(client_rcvhost(copy, &arena, hosts[i].port), slice_of(hosts[i].received)))
			fail_msg("row %zu: %.*s", i, SLICE_ARG(client_rcvhost(copy, &arena, hosts[i].port)));
	}
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fixups),       cmocka_unit_test(test_recipients),
	    cmocka_unit_test(test_phrase),       cmocka_unit_test(test_received),
	    cmocka_unit_test(test_client_names),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
