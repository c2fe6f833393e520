/* DKIM and ARC over tables: tag lists, signatures and keys with each mistake that others have stumbled over, canonical forms (RFC
 * 6376 section 3.4.5), whole messages (RFC 8463 appendix A). With -filter it verifies and signs what a test program sends it. */
#include "../reactor/harness.h"

#include "message_case.h"

/* ---- Canonical forms ------------------------------------------------------------------------------------------------- */

/* The body in all ways of cutting it into two pieces has the hash of the expected form. */
static void check_body(const char *body, const char *simple, const char *relaxed)
{
	const char *forms[2] = {simple, relaxed};
	size_t len = strlen(body);

	for (unsigned form = 0; form < 2; form++) {
		uint8_t expected[HASH_SIZE_MAX];
		struct hash hash;

		hash_init(&hash, HASH_SHA256);
		hash_update(&hash, forms[form], strlen(forms[form]));
		hash_final(&hash, expected);
		for (size_t cut = 0; cut <= len; cut++) {
			struct body_hashes hashes = {.count = 0};
			struct body_hash *found;
			struct arena arena;

			arena_init(&arena, 0);
			found = body_hashes_want(&arena, &hashes, form, HASH_SHA256, UINT64_MAX);
			for (size_t i = 0; i < cut && cut == len; i++) /* once byte by byte */
				body_hashes_add(&hashes, body + i, 1);
			if (cut < len) {
				body_hashes_add(&hashes, body, cut);
				body_hashes_add(&hashes, body + cut, len - cut);
			}
			body_hashes_end(&hashes);
			assert_memory_equal(found->digest, expected, hash_size(HASH_SHA256));
			arena_done(&arena);
		}
	}
}

static void test_bodies(void **state)
{
	static const char *const rows[][3] = {
	    {"", "\r\n", ""},
	    {"\r\n", "\r\n", ""},
	    {"\r\n\r\n\r\n", "\r\n", ""},
	    {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"}, /* section 3.4.5 */
	    {"x", "x\r\n", "x\r\n"},
	    {"x \t", "x \t\r\n", "x\r\n"},
	    {" \t\r\n", " \t\r\n", ""},
	    {" \r\n \r\nx", " \r\n \r\nx\r\n", "\r\n\r\nx\r\n"},
	    {"\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
	    {"a\r\n\r\n\r\nb\r\n \r\n\r\n", "a\r\n\r\n\r\nb\r\n \r\n", "a\r\n\r\n\r\nb\r\n"},
	    {"a\rb\r\r\nc\n\r\n", "a\rb\r\r\nc\n\r\n", "a\rb\r\r\nc\n\r\n"},
	    {"a \rb \r\r\n", "a \rb \r\r\n", "a \rb \r\r\n"},
	    {"a\r", "a\r\r\n", "a\r\r\n"},
	    {"a  b\tc \t d\r\n\te\r\n", "a  b\tc \t d\r\n\te\r\n", "a b c d\r\n e\r\n"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		check_body(rows[i][0], rows[i][1], rows[i][2]);
}

static void test_fields(void **state)
{
	static const char *const rows[][3] = {
	    {"A: X\n", "A: X\r\n", "a:X\r\n"},
	    {"B : Y\t\n\tZ  \n", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
	    {"Subject:\n", "Subject:\r\n", "subject:\r\n"},
	    {"Subject: \n \t\n", "Subject: \r\n \t\r\n", "subject:\r\n"},
	    {"X:a\r\n b\r\n", "X:a\r\n b\r\n", "x:a b\r\n"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		for (unsigned relaxed = 0; relaxed < 2; relaxed++) {
			uint8_t expected[HASH_SIZE_MAX], found[HASH_SIZE_MAX];
			struct hash_sink sink;
			struct hash hash;

			hash_init(&hash, HASH_SHA1);
			hash_update(&hash, rows[i][1 + relaxed], strlen(rows[i][1 + relaxed]));
			hash_final(&hash, expected);
			hash_init(&hash, HASH_SHA1);
			hash_sink_init(&sink, &hash);
			canon_field(&sink, slice_of(rows[i][0]), relaxed, 0, 0, false);
			hash_sink_flush(&sink);
			hash_final(&hash, found);
			assert_memory_equal(found, expected, hash_size(HASH_SHA1));
		}
}

/* ---- Parsers ------------------------------------------------------------------------------------------------------------ */

static void test_tags(void **state)
{
	static const struct {
		const char *text;
		int count; /* -1: malformed */
	} rows[] = {
	    {"a=1", 1},       {"a=1;", 1},     {" a = 1 ;\n\tb=2 ; ", 2},
	    {"a=", 1},        {"a=b=c", 1},    {"", -1},
	    {"  ", -1},       {";", -1},       {"a=1;;b=2", -1},
	    {"a=1; a=2", -1}, {"a", -1},       {"a=1;b", -1},
	    {"=1", -1},       {"1a=1", -1},    {"a-b=1", -1},
	    {"a=\x01", -1},   {"a=\x7f", -1},  {"a=\xc3\xa9", 1},
	    {"a=\xc3", -1},   {"A=1; a=1", 2}, {"a_1=x", 1},
	    {"a=1 b=2", 1},   {"a\n = 1", 1},
	};
	struct str many;
	struct arena arena;

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct err err = err_make(NULL);
		struct tag_list list;
		enum rc rc = tag_list_parse(slice_of(rows[i].text), &list, &err);

		if ((rc == FAIL) != (rows[i].count < 0) || (rc == OK && (int)list.count != rows[i].count))
			fail_msg("tags \"%s\"", rows[i].text);
	}
	arena_init(&arena, 0);
	many = str_make(&arena);
	for (unsigned i = 0; i < 5000; i++)
		str_printf(&many, "t%u=x;", i);
	assert_int_equal(tag_list_parse(str_slice(&many), &(struct tag_list){0}, &(struct err){0}), FAIL);
	arena_done(&arena);
}

#define GOOD_HASH "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
static void test_signatures(void **state)
{
	static const struct {
		const char *text;
		enum dkim_reason reason;
	} rows[] = {
#define S(rest) "DKIM-Signature: " rest "\n"
#define REST    "d=a.test; s=s; h=From; bh=" GOOD_HASH "; b=AAAA"
	    {S("v=1; a=rsa-sha256; " REST), REASON_NONE},
	    {S("v=1; a=ed25519-sha256; c=relaxed/simple; q=dns/txt; i=@b.a.test; t=1; x=2; l=0; " REST),
	     REASON_NONE},
	    {S("v=1; a=rsa-sha256; c=simple/relaxed; q=x : dns/txt; z=a:b|c; zz=1; " REST), REASON_NONE},
	    {S("a=rsa-sha256; " REST), REASON_SYNTAX},
	    {S("v=1.0; a=rsa-sha256; " REST), REASON_VERSION},
	    {S("v=11; a=rsa-sha256; " REST), REASON_VERSION},
	    {S("v=1; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-md5; " REST), REASON_ALGORITHM},
	    {S("v=1; a=rsa; " REST), REASON_ALGORITHM},
	    {S("v=1; a=; " REST), REASON_ALGORITHM},
	    {S("v=1; a=rsa-sha256; c=relaxed/; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; c=nowsp; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; c=; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; c=simple/simple/simple; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; q=http; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; i=x; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; i=@xa.test; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; i=@test; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; i=@a.test.evil.test; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; i=; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; t=-1; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; t=1x; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; t=; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; x=1234567890123; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; t=5; x=5; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; t=5; x=4; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; l=-1; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; l=0x10; " REST), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; l=18446744073709551616; " REST),
	     REASON_NONE}, /* a number that fits nowhere is still one */
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From; bh=" GOOD_HASH), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From; bh=AAAA; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From; bh=" GOOD_HASH "; b="), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From; bh=" GOOD_HASH "; b=A"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From; bh=" GOOD_HASH "; b=AA=A"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From; bh=" GOOD_HASH "; b=A-_A"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From; bh=" GOOD_HASH "; b=AA\n\t AA"), REASON_NONE},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=To:Date; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From:; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From::To; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h=From Sender; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=s; h= from\n : To ; bh=" GOOD_HASH "; b=AAAA"), REASON_NONE},
	    {S("v=1; a=rsa-sha256; s=s; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=test; s=s; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a..test; s=s; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=.a.test; s=s; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test.; s=s; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a(.b.test; s=s; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=-a.test; s=s; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=\xc3\xa9.test; s=s; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_NONE},
	    {S("v=1; a=rsa-sha256; d=a.test; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=a/../b; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_SYNTAX},
	    {S("v=1; a=rsa-sha256; d=a.test; s=x.y_z; h=From; bh=" GOOD_HASH "; b=AAAA"), REASON_NONE},
	    {S(""), REASON_SYNTAX},
	    {"DKIM-Signature\n", REASON_SYNTAX},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct dkim_signature s;
		struct arena arena;
		struct err err;
		enum rc rc;

		arena_init(&arena, 0);
		err = err_make(&arena);
		rc = dkim_signature_parse(&arena, slice_of(rows[i].text), false, &s, &err);
		if (rc != (rows[i].reason == REASON_NONE ? OK : FAIL) || s.reason != rows[i].reason)
			fail_msg("row %u: %s: %d, %.*s", i, rows[i].text, s.reason, SLICE_ARG(s.detail));
		arena_done(&arena);
	}
}

#define RSA_1024                                                                                                          \
	"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W9" \
	"1y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
#define ED_KEY "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static void test_keys(void **state)
{
	static const struct {
		const char *text;
		enum dkim_reason reason;
		unsigned bits;
	} rows[] = {
	    {"p=" RSA_1024, REASON_NONE, 1024},
	    {"v=DKIM1; k=rsa; h=sha1:sha256; s=*; t=y:s; n=x=20y; g=*; p=" RSA_1024 ";", REASON_NONE, 1024},
	    {"v=DKIM1; k=ed25519; p=" ED_KEY, REASON_NONE, 256},
	    {"k=rsa; v=DKIM1; p=" RSA_1024, REASON_KEY_SYNTAX, 0},
	    {"v=DKIM2; p=" RSA_1024, REASON_KEY_SYNTAX, 0},
	    {"v=dkim1; p=" RSA_1024, REASON_KEY_SYNTAX, 0},
	    {"v=DKIM1", REASON_KEY_SYNTAX, 0},
	    {"v=DKIM1; p=", REASON_KEY_REVOKED, 0},
	    {"v=DKIM1; k=dsa; p=" RSA_1024, REASON_KEY_UNFIT, 0},
	    {"v=DKIM1; k=ed25519; p=" RSA_1024, REASON_KEY_DATA, 0},
	    {"v=DKIM1; k=ed25519; p=AAAA", REASON_KEY_DATA, 0},
	    {"v=DKIM1; p=" ED_KEY, REASON_KEY_DATA, 0},
	    {"v=DKIM1; p=!!!", REASON_KEY_DATA, 0},
	    {"v=DKIM1; p=" RSA_1024 "; p=" RSA_1024, REASON_KEY_SYNTAX, 0},
	    {"v=spf1 -all", REASON_KEY_SYNTAX, 0},
	    {"", REASON_KEY_SYNTAX, 0},
	    {"p=MAYCAQECAQE=", REASON_KEY_DATA, 0},     /* n = 1, e = 1 */
	    {"p=MAYCAQ8CAQI=", REASON_KEY_DATA, 0},     /* e = 2 */
	    {"p=MAYCAQ8CAQM=", REASON_NONE, 4},         /* bare: n = 15, e = 3 */
	    {"p=MAYCAf8CAQM=", REASON_KEY_DATA, 0},     /* n < 0 */
	    {"p=MAYCAQ8CAQMA", REASON_KEY_DATA, 0},     /* a byte behind it */
	    {"p=MIICAQ8CAQM=", REASON_KEY_DATA, 0},     /* a length past the end */
	    {"p=MIQAAAAGAgEPAgED", REASON_KEY_DATA, 0}, /* a length in four bytes */
	    {"p=MIEGAgEPAgED", REASON_KEY_DATA, 0},     /* a length that is longer than it has to be */
	    {"p=MAA=", REASON_KEY_DATA, 0},
	    {"p=MA==", REASON_KEY_DATA, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		enum dkim_reason reason;
		struct dkim_key key;
		struct arena arena;
		enum rc rc;

		arena_init(&arena, 0);
		rc = dkim_key_parse(&arena, slice_of(rows[i].text), &key, &reason);
		if (rc != (rows[i].reason == REASON_NONE ? OK : FAIL) || reason != rows[i].reason ||
		    (rc == OK && key.bits != rows[i].bits))
			fail_msg("row %u: %s: %d, %u bits", i, rows[i].text, reason, key.bits);
		arena_done(&arena);
	}
}

static void test_authres(void **state)
{
	static const struct {
		const char *text;
		int count; /* -1: malformed */
	} rows[] = {
	    {"mx.test; none", 0},
	    {"mx.test 1; none", 0},
	    {"\"mx test\"; none", 0},
	    {"(c (d) e) mx.test (f) ; (g) dkim (h) = (i) pass (j) header (k) . (l) d (m) = (n) a.test (o)",
	     1},
	    {"mx.test; dkim=pass reason=\"good; really\" header.d=a.test header.i=@a.test; spf=fail smtp.mailfrom=a@b.test",
	     2},
	    {"mx.test;\n\tauth/1=pass smtp.auth=\"a b\"@c.test;", 1},
	    {"mx.test; dkim=pass header.b=ab/c=", 1},
	    {"mx.test; iprev=pass smtp.remote-ip=2001:db8::1", 1},
	    {"mx.test", -1},
	    {"mx.test;", -1},
	    {"; none", -1},
	    {"", -1},
	    {"mx.test; dkim", -1},
	    {"mx.test; dkim=", -1},
	    {"mx.test; =pass", -1},
	    {"mx.test; dkim=pass; none", -1},
	    {"mx.test; dkim=pass header=d", -1},
	    {"mx.test; dkim=pass header.d", -1},
	    {"mx.test; dkim=pass (header.d=a.test", -1},
	    {"mx.test; dkim=pass header.d=\"a.test", -1},
	    {"mx.test; dkim=passheader.d=a", -1},
	    {"mx.test dkim=pass", -1},
	    {"mx.test 1x; none", -1},
	    {"mx.test 999999; none", -1},
	    {"mx.test\x01; none", -1},
	    {"(((((((((((((((((((((((((x))))))))))))))))))))))))) mx.test; none", -1},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct authres found;
		struct arena arena;
		struct err err;
		enum rc rc;

		arena_init(&arena, 0);
		err = err_make(&arena);
		rc = authres_parse(&arena, slice_of(rows[i].text), &found, &err);
		if ((rc == FAIL) != (rows[i].count < 0) ||
		    (rc == OK && (int)found.method_count != rows[i].count))
			fail_msg("row %u: %s: %u methods", i, rows[i].text, found.method_count);
		arena_done(&arena);
	}
}

/* ---- Messages ------------------------------------------------------------------------------------------------------------ */

/* RFC 8463, appendix A. */
static const struct zone_row football[] = {
    {"brisbane._domainkey.football.example.com", "TXT", "v=DKIM1; k=ed25519; p=" ED_KEY},
    {"test._domainkey.football.example.com", "TXT", "v=DKIM1; k=rsa; p=" RSA_1024},
};
static const char dinner[] = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
			     " d=football.example.com; i=@football.example.com;\r\n"
			     " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
			     " subject : date : message-id : from : subject : date;\r\n"
			     " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
			     " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
			     " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
			     "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
			     " d=football.example.com; i=@football.example.com;\r\n"
			     " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
			     " date : message-id : from : subject : date;\r\n"
			     " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
			     " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"
			     " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"
			     " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n"
			     "From: Joe SixPack <joe@football.example.com>\r\n"
			     "To: Suzie Q <suzie@shopping.example.net>\r\n"
			     "Subject: Is dinner ready?\r\n"
			     "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
			     "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
			     "\r\n"
			     "Hi.\r\n"
			     "\r\n"
			     "We lost the game.  Are you hungry yet?\r\n"
			     "\r\n"
			     "Joe.\r\n";

static void whole_messages(struct task *task, void *arg)
{
	struct zone zone = {.rows = football, .count = ARRAY_COUNT(football)};
	struct slice text = slice_of(dinner), found;
	struct str other = str_make(task->arena);

	(void)arg;
	for (uint32_t piece = 1; piece < 200; piece += 13) {
		found = check(task, &zone, text, piece);
		if (!slice_eq(found, SLICE("pass pass")))
			fail_msg("%.*s", SLICE_ARG(found));
	}
	assert_int_not_equal(zone.ahead, 0);
	str_add(&other, text);
	((char *)other.ptr)[text.len - 3] = '!';
	found = check(task, &zone, str_slice(&other), 4096);
	assert_true(slice_eq(found, SLICE("fail/bodyhash_mismatch fail/bodyhash_mismatch")));
	/* A second From, Subject or Date: each is signed once more than it is there. */
	str_clear(&other);
	str_addz(&other, "Subject: You have won\r\n");
	str_add(&other, text);
	found = check(task, &zone, str_slice(&other), 4096);
	assert_true(slice_eq(found, SLICE("fail/signature_incorrect fail/signature_incorrect")));
	zone.rows = NULL;
	zone.count = 0;
	found = check(task, &zone, text, 4096);
	assert_true(slice_eq(found, SLICE("invalid/pubkey_unavailable invalid/pubkey_unavailable")));
	mailauth_done(task->shard);
}

static void test_messages(void **state)
{
	(void)state;
	run_fn(whole_messages, NULL);
}

/* What would cost without end does not: names, fields, sets and signatures in numbers. */
static void large_messages(struct task *task, void *arg)
{
	struct zone zone = {.rows = football, .count = ARRAY_COUNT(football)};
	struct str text = str_make(task->arena);
	struct slice found;

	(void)arg;
	str_addz(&text, "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; bh=" GOOD_HASH
			"; b=AAAA; h=From");
	for (unsigned i = 0; i < 100000; i++)
		str_addz(&text, ":x");
	str_addz(&text, "\r\nFrom: a@b.c\r\n\r\n");
	found = check(task, &zone, str_slice(&text), 4096);
	assert_true(slice_eq(found, SLICE("invalid/signature_syntax")));
	str_clear(&text);
	for (unsigned i = 0; i < 20; i++) {
		str_addz(
		    &text,
		    "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; c=simple/relaxed; "
		    "bh=" GOOD_HASH "; b=AAAA; h=From");
		for (unsigned k = 0; k < 900; k++)
			str_addz(&text, ":x");
		str_addz(&text, "\r\n");
	}
	for (unsigned i = 0; i < 20000; i++)
		str_addz(
		    &text,
		    "x: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
	str_addz(&text, "From: a@b.c\r\n\r\n");
	found = check(task, &zone, str_slice(&text), 4096);
	assert_true(slice_starts(found, SLICE("fail/signature_incorrect fail/signature_incorrect")));
	str_clear(&text);
	for (unsigned i = 1; i <= 60; i++)
		str_printf(
		    &text,
		    "ARC-Seal: i=%u; a=rsa-sha256; cv=%s; d=a.test; s=s; b=AAAA\r\n"
		    "ARC-Message-Signature: i=%u; a=rsa-sha256; d=a.test; s=s; h=From; l=%u; bh=" GOOD_HASH
		    "; b=AAAA\r\nARC-Authentication-Results: i=%u; a.test; none\r\n",
		    i, i == 1 ? "none" : "pass", i, i, i);
	str_addz(&text, "From: a@b.c\r\n\r\n");
	found = check(task, &zone, str_slice(&text), 4096);
	assert_true(slice_starts(found, SLICE("arc fail/collecting headers")));
	mailauth_done(task->shard);
}

static void test_large(void **state)
{
	(void)state;
	run_fn(large_messages, NULL);
}

/* ---- Digests that are kept with the message ------------------------------------------------------------------------------ */

struct read_body {
	struct slice rest;
	unsigned reads;
};

static enum rc read_next(struct mailauth_text *text, struct slice *ret, struct err *err)
{
	struct read_body *body = text->arg;

	(void)err;
	body->reads++;
	if (!body->rest.len)
		return FAIL;
	*ret = body->rest;
	body->rest = SLICE_EMPTY;
	return OK;
}

/* Signed once more, as for the next host: the signature, and how often the body was asked for. */
static unsigned sign_again(struct task *task, struct message *message, struct slice body, bool relaxed,
			   bool sha512, struct slice *ret)
{
	struct read_body reader = {.rest = body};
	struct mailauth_text text = {.task = task,
				     .header = SLICE("From: a@b.test\r\nSubject: x\r\n"),
				     .next = read_next,
				     .arg = &reader,
				     .message = message};
	struct dkim_signer signer = {.domain = SLICE("b.test"),
				     .selector = SLICE("s"),
				     .identity = SLICE_EMPTY,
				     .sign_headers = SLICE("From"),
				     .header_relaxed = true,
				     .body_relaxed = relaxed,
				     .sha512 = sha512};
	struct str out = str_make(task->arena);
	struct err err = err_make(task->arena);
	ptrdiff_t at;

	/* RFC 8463's key signs the same text in the same words each time. */
	assert_int_equal(
	    mailauth_key_get(task, SLICE("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &signer.key, &err),
	    OK);
	assert_int_equal(mailauth_text_init(&text, &err), OK);
	assert_int_equal(dkim_sign_prepare(&text, &signer, &err), OK);
	assert_int_equal(mailauth_text_read(&text, &err), OK);
	if (sha512) { /* which that key does not sign: the digest alone */
		*ret = arena_copy(task->arena, slice_make((char *)text.hashes->hashes[0]->digest, 64, CLEAN));
		return reader.reads;
	}
	assert_int_equal(dkim_sign(&text, &signer, &out, &err), OK);
	at = slice_search(str_slice(&out), SLICE("bh="));
	assert_true(at > 0);
	*ret = slice_from(str_slice(&out), (size_t)at);
	return reader.reads;
}

static void kept_digests(struct task *task, void *arg)
{
	struct slice body = SLICE("a  b \r\n\r\n"), first, again;
	struct message message = {.recipient_count = 0}, other = {.recipient_count = 0};

	(void)arg;
	arena_init(&message.arena, 0);
	arena_init(&other.arena, 0);
	for (unsigned how = 0; how < 3; how++) {
		bool relaxed = how != 1, sha512 = how == 2;

		assert_true(sign_again(task, &message, body, relaxed, sha512, &first) > 0);
		assert_int_equal(sign_again(task, &message, body, relaxed, sha512, &again), 0);
		assert_true(slice_eq(first, again));
		/* What is not the message's body as it stands is nobody's, and another message has another. */
		assert_true(sign_again(task, NULL, body, relaxed, sha512, &again) > 0);
		assert_true(slice_eq(first, again));
		assert_true(sign_again(task, &other, SLICE("other\r\n"), relaxed, sha512, &again) > 0);
		assert_false(slice_eq(first, again));
	}
	assert_int_equal(sign_again(task, &message, body, true, false, &again), 0);
	arena_done(&message.arena);
	arena_done(&other.arena);
}

/* What a signature that came with the message was verified with serves for ours, if it is of the whole body. */
static void verified_digests(struct task *task, void *arg)
{
	static const struct {
		const char *tags;
		bool lf;
		unsigned reads;
	} rows[] = {{"c=relaxed/relaxed; ", false, 0},
		    {"c=relaxed/relaxed; l=3; ", false, 2},
		    {"c=relaxed; ", false, 2},
		    {"c=relaxed/relaxed; ", true, 2}};
	struct zone zone = {.count = 0};
	struct mailauth_resolver resolver = zone_resolver(&zone);
	struct slice body = SLICE("a  b \r\n\r\n"), wanted, found;

	(void)arg;
	assert_int_equal(sign_again(task, NULL, body, true, false, &wanted), 2);
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct message message = {.recipient_count = 0};
		struct err err = err_make(task->arena);
		uint32_t used;
		struct slice header = arena_printf(
		    task->arena,
		    "DKIM-Signature: v=1; a=rsa-sha256; %sd=b.test; s=s; h=from; bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b=AAAA\r\n"
		    "From: a@b.test\r\n\r\n",
		    rows[i].tags);

		arena_init(&message.arena, 0);
		header_block_init(&message.headers);
		message.body.lf = rows[i].lf;
		assert_int_equal(header_block_parse(&message.arena, header, &message.headers, &used, &err),
				 OK);
		assert_int_equal(dkim_header_done(task, &message, &resolver, &err), OK);
		dkim_body(&message, body.ptr, body.len);
		body_hashes_end(&dkim_state_of(&message)->body);
		assert_int_equal(sign_again(task, &message, body, true, false, &found), rows[i].reads);
		assert_true(slice_eq(found, wanted));
		arena_done(&message.arena);
	}
}

static void test_kept_digests(void **state)
{
	(void)state;
	run_fn(kept_digests, NULL);
	run_fn(verified_digests, NULL);
}

/* ---- As a filter --------------------------------------------------------------------------------------------------------------- */

#define FILTER_ROWS 65536
static void filter(struct task *task, void *arg)
{
	struct zone zone = {.rows = calloc(FILTER_ROWS, sizeof(struct zone_row))};
	struct zone_row *rows = (struct zone_row *)zone.rows;
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	(void)arg;
	while ((len = getline(&line, &room, stdin)) > 0) {
		char *words[8] = {"", "", "", "", "", "", "", ""}, *rest = line, *bytes;
		struct err err = err_make(task->arena);
		unsigned count = 0;
		size_t size;

		line[len - 1] = 0;
		while (count < 8 && (words[count] = strsep(&rest, "\t")))
			count++;
		if (strcmp(words[0], "key") == 0 && zone.count < FILTER_ROWS) {
			rows[zone.count++] = (struct zone_row){strdup(words[1]), "TXT", strdup(words[2])};
			continue;
		}
		size = strtoul(words[count - 1], NULL, 10);
		bytes = malloc(size + 1);
		if (fread(bytes, 1, size, stdin) != size)
			break;
		if (strcmp(words[0], "verify") == 0) {
			struct slice found = check(task, &zone, slice_make(bytes, size, TAINTED), 777);
			printf("%.*s\n", SLICE_ARG(found));
		} else {
			struct str out = str_make(task->arena);
			enum rc rc = sign(task, words, slice_make(bytes, size, TAINTED), &out, &err);
			if (rc != OK)
				str_clear(&out);
			printf("%u %.*s\n%.*s", out.len, SLICE_ARG(err.text), SLICE_ARG(str_slice(&out)));
		}
		fflush(stdout);
		free(bytes);
		arena_clear(task->arena);
	}
	for (unsigned i = 0; i < zone.count; i++) {
		free((void *)(uintptr_t)rows[i].name);
		free((void *)(uintptr_t)rows[i].data);
	}
	free(rows);
	free(line);
	mailauth_done(task->shard);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bodies),       cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_tags),         cmocka_unit_test(test_signatures),
	    cmocka_unit_test(test_keys),         cmocka_unit_test(test_authres),
	    cmocka_unit_test(test_messages),     cmocka_unit_test(test_large),
	    cmocka_unit_test(test_kept_digests),
	};

	if (argc > 1 && strcmp(argv[1], "-filter") == 0) {
		run_fn(filter, NULL);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
