/* The RFCs' own examples: RFC 6376 appendix A (with its errata 3192 and 4926) and the tables of its sections, RFC 8601 appendix B, fields of the
 * form of RFC 8617 appendix B (whose keys were never published). RFC 8463 appendix A stands in test_dkim.c, RFC 7208 appendix A
 * in test_spf_check.c with the examples of its sections. */
#include "../reactor/harness.h"

#include "mailauth/arc.h"
#include "zone.h"

/* ---- RFC 6376 ------------------------------------------------------------------------------------------------- */

static const struct zone_row football[] = {
    {"brisbane._domainkey.example.com", "TXT",
     "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ|KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt|"
     "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v|/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi|"
     "tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"},
};

#define SIGNATURE                                                           \
	"DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n" \
	"      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n" \
	"      h=Received : From : To : Subject : Date : Message-ID;\r\n"   \
	"      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"        \
	"      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n"  \
	"      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n"    \
	"      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n"    \
	"      4bmp/YzhwvcubU4=;\r\n"
#define HEADER                                                         \
	"Received: from client1.football.example.com  [192.0.2.1]\r\n" \
	"      by submitserver.example.com with SUBMISSION;\r\n"       \
	"      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n"              \
	"From: Joe SixPack <joe@football.example.com>\r\n"             \
	"To: Suzie Q <suzie@shopping.example.net>\r\n"                 \
	"Subject: Is dinner ready?\r\n"                                \
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"              \
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
#define BODY "Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n"

static const struct {
	const char *text, *result;
} messages[] = {
    {SIGNATURE HEADER "\r\n" BODY, "pass"},
    /* A.3: fields that others put on top, and line ends at the end, change nothing; a byte does. */
    {"Received: from submitserver.example.com by mx.example.net\r\nX-Seen: yes\r\n" SIGNATURE HEADER
     "\r\n" BODY,
     "pass"},
    {SIGNATURE HEADER "\r\n" BODY "\r\n\r\n", "pass"},
    {SIGNATURE HEADER "\r\n" BODY "Extra.\r\n", "fail/bodyhash_mismatch"},
    {SIGNATURE HEADER "Subject: another\r\n\r\n" BODY, "fail/signature_incorrect"},
    {SIGNATURE HEADER "\r\nHi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n",
     "fail/bodyhash_mismatch"},
};

static struct slice verify(struct task *task, struct zone *zone, struct slice text)
{
	struct mailauth_resolver resolver = zone_resolver(zone);
	struct dkim_limits limits = {
	    .hashes = 1u << HASH_SHA256, .key_types = 1u << KEY_RSA, .rsa_bits_min = 1024, .now = 1700000000};
	struct message message = {.refs = 1};
	struct dkim_work work = {
	    .task = task, .arena = task->arena, .limits = &limits, .resolver = &resolver};
	struct err err = err_make(task->arena);
	struct dkim_state *state;
	struct dkim_signature *s;
	struct slice found;
	uint32_t used;

	arena_init(&message.arena, 0);
	header_block_init(&message.headers);
	assert_int_equal(header_block_parse(&message.arena, text, &message.headers, &used, &err), OK);
	assert_int_equal(dkim_header_done(task, &message, &resolver, &err), OK);
	dkim_body(&message, text.ptr + used, text.len - used);
	state = dkim_state_of(&message);
	body_hashes_end(&state->body);
	work.index = dkim_fields(&message);
	assert_int_equal(state->count, 1);
	s = state->signatures[0];
	assert_int_equal(dkim_signature_verify(&work, s, &err), OK);
	found = arena_printf(task->arena, "%.*s%s%.*s", SLICE_ARG(dkim_status_word(s)),
			     s->reason == REASON_NONE ? "" : "/", SLICE_ARG(dkim_reason_word(s)));
	arena_done(&message.arena);
	return found;
}

static void all_messages(struct task *task, void *arg)
{
	struct zone zone = {.rows = football, .count = ARRAY_COUNT(football)};

	(void)arg;
	for (unsigned i = 0; i < ARRAY_COUNT(messages); i++) {
		struct slice found = verify(task, &zone, slice_of(messages[i].text));
		if (!slice_eq(found, slice_of(messages[i].result)))
			fail_msg("row %u: %.*s, not %s", i, SLICE_ARG(found), messages[i].result);
	}
	mailauth_done(task->shard);
}

struct others {
	struct shard *shard;
	bool stop, gone;
	unsigned turns;
};

static void take_turns(void *arg)
{
	struct others *others = arg;
	struct task task;
	struct arena arena;

	arena_init(&arena, 0);
	task_init(&task, others->shard, &arena, UINT64_MAX);
	while (!others->stop) {
		others->turns++;
		if (task_yield(&task) != OK)
			break;
	}
	arena_done(&arena);
	others->gone = true;
}

/* Whoever sends a message with many signatures does not have the processor for all of them at once. */
static void many_signatures(struct task *task, void *arg)
{
	struct zone zone = {.rows = football, .count = ARRAY_COUNT(football)};
	struct mailauth_resolver resolver = zone_resolver(&zone);
	struct dkim_limits limits = {
	    .hashes = 1u << HASH_SHA256, .key_types = 1u << KEY_RSA, .rsa_bits_min = 1024, .now = 1700000000};
	struct message message = {.refs = 1};
	struct dkim_work work = {
	    .task = task, .arena = task->arena, .limits = &limits, .resolver = &resolver};
	struct err err = err_make(task->arena);
	struct str text = str_make(task->arena);
	struct others others = {.shard = task->shard};
	struct dkim_state *state;
	unsigned turns[DKIM_SIGNATURES_MAX];
	uint32_t used;

	(void)arg;
	for (unsigned i = 0; i < 10; i++)
		str_addz(&text, SIGNATURE);
	str_addz(&text, HEADER "\r\n");
	arena_init(&message.arena, 0);
	header_block_init(&message.headers);
	assert_int_equal(header_block_parse(&message.arena, str_slice(&text), &message.headers, &used, &err),
			 OK);
	assert_int_equal(dkim_header_done(task, &message, &resolver, &err), OK);
	dkim_body(&message, BODY, sizeof(BODY) - 1);
	state = dkim_state_of(&message);
	body_hashes_end(&state->body);
	work.index = dkim_fields(&message);
	assert_int_equal(state->count, 10);
	assert_int_equal(fiber_spawn(task->shard, take_turns, &others), OK);
	while (!others.turns)
		assert_int_equal(task_yield(task), OK);
	for (unsigned i = 0; i < state->count; i++) {
		unsigned before = others.turns;

		assert_int_equal(dkim_signature_verify(&work, state->signatures[i], &err), OK);
		assert_int_equal(state->signatures[i]->reason, REASON_NONE);
		turns[i] = others.turns - before;
	}
	/* An honest message is not interrupted, and this one after each four. */
	for (unsigned i = 0; i < state->count; i++)
		if ((i == 4 || i == 8) != (turns[i] > 0))
			fail_msg("signature %u: %u turns of others", i, turns[i]);
	others.stop = true;
	while (!others.gone)
		assert_int_equal(task_yield(task), OK);
	arena_done(&message.arena);
	mailauth_done(task->shard);
}

static void test_many_signatures(void **state)
{
	(void)state;
	run_fn(many_signatures, NULL);
}

static void test_rfc6376(void **state)
{
	(void)state;
	run_fn(all_messages, NULL);
}

/* Section 3.4.5: both forms of the same small message, header and body. */
static void test_rfc6376_forms(void **state)
{
	static const char *const fields[][3] = {
	    {"A: X\r\n", "A: X\r\n", "a:X\r\n"},
	    {"B : Y\t\r\n\tZ  \r\n", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"}};
	static const char *const body[3] = {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n",
					    " C\r\nD E\r\n"};

	(void)state;
	for (unsigned relaxed = 0; relaxed < 2; relaxed++) {
		uint8_t expected[HASH_SIZE_MAX], found[HASH_SIZE_MAX];
		struct body_hashes hashes = {.count = 0};
		struct body_hash *wanted;
		struct hash_sink sink;
		struct hash a, b;
		struct arena arena;

		arena_init(&arena, 0);
		hash_init(&a, HASH_SHA256);
		hash_init(&b, HASH_SHA256);
		hash_sink_init(&sink, &b);
		for (unsigned i = 0; i < ARRAY_COUNT(fields); i++) {
			hash_update(&a, fields[i][1 + relaxed], strlen(fields[i][1 + relaxed]));
			canon_field(&sink, slice_of(fields[i][0]), relaxed, 0, 0, false);
		}
		hash_sink_flush(&sink);
		hash_final(&a, expected);
		hash_final(&b, found);
		assert_memory_equal(found, expected, 32);
		wanted = body_hashes_want(&arena, &hashes, relaxed, HASH_SHA256, UINT64_MAX);
		body_hashes_add(&hashes, body[0], strlen(body[0]));
		body_hashes_end(&hashes);
		hash_init(&a, HASH_SHA256);
		hash_update(&a, body[1 + relaxed], strlen(body[1 + relaxed]));
		hash_final(&a, expected);
		assert_memory_equal(wanted->digest, expected, 32);
		arena_done(&arena);
	}
}

/* Sections 3.4.3 and 3.4.4 name the hashes of an empty body. */
static void test_rfc6376_empty_bodies(void **state)
{
	static const struct {
		bool relaxed;
		enum hash_kind kind;
		const char *hash;
	} rows[] = {{false, HASH_SHA1, "uoq1oCgLlTqpdDX/iUbLy7J1Wic="},
		    {false, HASH_SHA256, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="},
		    {true, HASH_SHA1, "2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
		    {true, HASH_SHA256, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct body_hashes hashes = {.count = 0};
		struct body_hash *wanted;
		struct arena arena;
		struct str text;

		arena_init(&arena, 0);
		text = str_make(&arena);
		wanted = body_hashes_want(&arena, &hashes, rows[i].relaxed, rows[i].kind, UINT64_MAX);
		body_hashes_end(&hashes);
		base64_encode(&text,
			      slice_make((const char *)wanted->digest, hash_size(rows[i].kind), CLEAN));
		assert_true(slice_eq(str_slice(&text), slice_of(rows[i].hash)));
		arena_done(&arena);
	}
}

/* ---- RFC 8601 --------------------------------------------------------------------------------------------------- */

/* "id version: method/version=result(reason) type.name=value ...; ..." */
static struct slice spell(struct arena *arena, const struct authres *a)
{
	struct str out = str_make(arena);

	str_printf(&out, "%.*s %u:", SLICE_ARG(a->id), a->version);
	for (unsigned i = 0; i < a->method_count; i++) {
		const struct authres_method *m = &a->methods[i];

		str_printf(&out, "%s %.*s/%u=%.*s", i ? ";" : "", SLICE_ARG(m->method), m->version,
			   SLICE_ARG(m->result));
		if (m->reason.len)
			str_printf(&out, "(%.*s)", SLICE_ARG(m->reason));
		for (unsigned p = 0; p < m->property_count; p++)
			str_printf(&out, " %.*s.%.*s=%.*s", SLICE_ARG(m->properties[p].type),
				   SLICE_ARG(m->properties[p].name), SLICE_ARG(m->properties[p].value));
	}
	return str_slice(&out);
}

static void test_rfc8601(void **state)
{
	static const struct {
		const char *text, *spelled;
	} rows[] = {
	    /* B.2 to B.7, and section 2.7.6 */
	    {" example.org 1; none", "example.org 1:"},
	    {" example.com;\r\n          spf=pass smtp.mailfrom=example.net",
	     "example.com 1: spf/1=pass smtp.mailfrom=example.net"},
	    {" example.com;\r\n          auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n"
	     "          spf=pass smtp.mailfrom=example.net",
	     "example.com 1: auth/1=pass smtp.auth=sender@example.net; spf/1=pass smtp.mailfrom=example.net"},
	    {" example.com; iprev=pass\r\n          policy.iprev=192.0.2.200",
	     "example.com 1: iprev/1=pass policy.iprev=192.0.2.200"},
	    {" example.com;\r\n          dkim=pass (good signature) header.d=example.com",
	     "example.com 1: dkim/1=pass header.d=example.com"},
	    {" example.com;\r\n          auth=pass (cram-md5) smtp.auth=sender@example.com;\r\n"
	     "          spf=fail smtp.mailfrom=example.com",
	     "example.com 1: auth/1=pass smtp.auth=sender@example.com; spf/1=fail smtp.mailfrom=example.com"},
	    {" example.com;\r\n      dkim=pass reason=\"good signature\"\r\n        header.i=@mail-router.example.net;\r\n"
	     "      dkim=fail reason=\"bad signature\"\r\n        header.i=@newyork.example.com",
	     "example.com 1: dkim/1=pass(good signature) header.i=@mail-router.example.net; "
	     "dkim/1=fail(bad signature) header.i=@newyork.example.com"},
	    {" example.net;\r\n      dkim=pass (good signature) header.i=@newyork.example.com",
	     "example.net 1: dkim/1=pass header.i=@newyork.example.com"},
	    {" foo.example.net (foobar) 1 (baz);\r\n    dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n"
	     "      policy (A dot can go here) . (like that) expired\r\n"
	     "      (this surprised me) = (as I wasn't expecting it) 1362471462",
	     "foo.example.net 1: dkim/1=fail policy.expired=1362471462"},
	    {" example.com;\r\n          foo=pass bar.baz=blob (2 of 3 tests OK)",
	     "example.com 1: foo/1=pass bar.baz=blob"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct authres found;
		struct arena arena;
		struct err err;

		arena_init(&arena, 0);
		err = err_make(&arena);
		if (authres_parse(&arena, slice_of(rows[i].text), &found, &err) != OK)
			fail_msg("row %u: %.*s", i, SLICE_ARG(err.text));
		if (!slice_eq(spell(&arena, &found), slice_of(rows[i].spelled)))
			fail_msg("row %u: %.*s", i, SLICE_ARG(spell(&arena, &found)));
		arena_done(&arena);
	}
}

/* ---- RFC 8617 ----------------------------------------------------------------------------------------------------- */

static void test_rfc8617(void **state)
{
	static const struct {
		const char *field;
		enum arc_kind kind;
		unsigned instance; /* 0: none */
	} rows[] = {
	    {"ARC-Seal: i=3; a=rsa-sha256; cv=pass; d=clochette.example.org; s=\r\n  clochette; t=12345; b=CU87XzXlNlk5X/yW4l73UvPUcP9ivwYWxyBWcVrRs7\r\n"
	     "  +HPx3K05nJhny2fvymbReAmOA9GTH/y+k9kEc59hAKVg==\r\n",
	     ARC_AS, 3},
	    {"ARC-Message-Signature: i=2; a=rsa-sha256; c=relaxed/relaxed; d=\r\n  gmail.example; h=message-id:date:from:to:subject; s=20120806;\r\n"
	     "  t=12345; bh=KWSe46TZKCcDbH4klJPo+tjk5LWJnVRlP5pvjXFZYLQ=; b=CVoG44cVZv\r\n",
	     ARC_AMS, 2},
	    {"ARC-Authentication-Results: i=1; lists.example.org;\r\n  spf=pass smtp.mfrom=jqd@d1.example;\r\n"
	     "  dkim=pass (1024-bit key) header.i=@d1.example;\r\n  dmarc=pass\r\n",
	     ARC_AAR, 1},
	    {"arc-seal: i = 50 ; a=rsa-sha256; cv=pass; b=AA==; d=a.b; s=c\r\n", ARC_AS, 50},
	    {"ARC-Seal: i=0; a=rsa-sha256; cv=none; b=AA==; d=a.b; s=c\r\n", ARC_AS, 0},
	    {"ARC-Seal: i=51; a=rsa-sha256; cv=pass; b=AA==; d=a.b; s=c\r\n", ARC_AS, 0},
	    {"ARC-Authentication-Results: lists.example.org; i=1; spf=pass\r\n", ARC_AAR, 0},
	    {"ARC-Sealed: i=1; a=rsa-sha256\r\n", ARC_KINDS, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct slice field = slice_of(rows[i].field);
		unsigned instance = 0;

		assert_int_equal(arc_kind_of(field), rows[i].kind);
		if (rows[i].kind == ARC_KINDS)
			continue;
		if (arc_instance_of(field, rows[i].kind, &instance) != (rows[i].instance > 0))
			fail_msg("row %u", i);
		if (rows[i].instance)
			assert_int_equal(instance, rows[i].instance);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rfc6376),       cmocka_unit_test(test_many_signatures),
	    cmocka_unit_test(test_rfc6376_forms), cmocka_unit_test(test_rfc6376_empty_bodies),
	    cmocka_unit_test(test_rfc8601),       cmocka_unit_test(test_rfc8617),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
