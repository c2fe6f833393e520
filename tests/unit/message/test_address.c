/* Addresses: what is taken, what is refused and with which words (checked against Exim 4.98). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/message.h"

#define ANY (ADDRESS_ALLOW_EMPTY | ADDRESS_ALLOW_UNQUALIFIED)

struct row {
	const char *text;
	unsigned flags;
	const char *full; /* NULL: refused, with: */
	const char *words;
};

static const struct row rows[] = {
    {"", 0, NULL, "empty address"},
    {"(c)", ANY, NULL, "empty address"},
    {"(x <a@b>", ANY, NULL, "empty address"},
    {"<>", 0, NULL, "missing or malformed local part"},
    {"<<a@b.c>>", ANY, NULL, "missing or malformed local part"},
    {"<", 0, NULL, "missing or malformed local part"},
    {"<a@b.c", ANY, NULL, "'>' missing at end of address"},
    {"<a@b", ANY, NULL, "'>' missing at end of address"},
    {"<a@b.c.d.e.f(>", ANY, NULL, "'>' missing at end of address"},
    {"a@b.c>", ANY, NULL, "malformed address: > may not follow a@b.c"},
    {"<a@b.c>>", ANY, NULL, "malformed address: > may not follow <a@b.c>"},
    {"<a@>", ANY, NULL, "domain missing or malformed"},
    {"<@>", ANY, NULL, "domain missing or malformed"},
    {"a@", ANY, NULL, "domain missing or malformed"},
    {"<@b.c>", ANY, NULL, "no local part"},
    {"<@b.c a@d.e>", ANY, NULL, "no local part"},
    {"<@b.c:a>", ANY, NULL, "domain missing in source-routed address"},
    {"<@b.c:@d.e>", ANY, NULL, "missing or malformed local part"},
    {"<@b,", ANY, NULL, "colon expected after route list"},
    {"<a b@c.d>", ANY, NULL, "\"@\" or \".\" expected after \"a\""},
    {"<a", ANY, NULL, "\"@\" or \".\" expected after \"a\""},
    {"<a,b@c.d>", ANY, NULL, "\"@\" or \".\" expected after \"a\""},
    {"<\"a\"b@c.d>", ANY, NULL, "\"@\" or \".\" expected after \"\"a\"\""},
    {"<a\\>", ANY, NULL, "\"@\" or \".\" expected after \"a\\>\""},
    {"<a\x01"
     "b@c>",
     ANY, NULL, "\"@\" or \".\" expected after \"a\""},
    {"<\"ab@c.d>", ANY, NULL, "unmatched doublequote in local part"},
    {"<\"\\\">", ANY, NULL, "unmatched doublequote in local part"},
    {"x \"y", ANY, NULL, "unmatched doublequote in local part (expected word or \"<\")"},
    {"<a@b..c>", ANY, NULL, "domain missing or malformed"},
    {"<a@.b.c>", ANY, NULL, "domain missing or malformed"},
    {"<a@b.c.>", ANY, NULL, "domain missing or malformed"},
    {"<a@b..>", ANY | ADDRESS_STRIP_DOT, NULL, "domain missing or malformed"},
    {"<a@.>", ANY | ADDRESS_STRIP_DOT, NULL, "domain missing or malformed"},
    {"<a@-b.c>", ANY, NULL, "domain missing or malformed"},
    {"<a@\xc3\xa9.com>", ANY, NULL, "domain missing or malformed"},
    {"<a@b_c.d>", ANY, NULL, "malformed address: _c.d> may not follow <a@b"},
    {"<a@b c>", ANY, NULL, "malformed address: c> may not follow <a@b "},
    {"<a@b.c> x", ANY, NULL, "malformed address: x may not follow <a@b.c> "},
    {"<a@b@c>", ANY, NULL, "malformed address: @c> may not follow <a@b"},
    {"<a@b.c:d>", ANY, NULL, "malformed address: :d> may not follow <a@b.c"},
    {"<a@b.c SIZE=3", ANY, NULL, "malformed address: SIZE=3 may not follow <a@b.c "},
    {"a@b.c, d@e.f", ANY, NULL, "malformed address: , d@e.f may not follow a@b.c"},
    {"x@y <a@b.c>", ANY, NULL, "malformed address: <a@b.c> may not follow x@y "},
    {"x y", ANY, NULL, "missing or malformed local part (expected word or \"<\")"},
    {"x: a@b.c;", ANY, NULL, "missing or malformed local part (expected word or \"<\")"},
    {"x, y <a@b>", ANY, NULL, "missing or malformed local part (expected word or \"<\")"},
    {"<a@[1.2.3.4]>", ANY, NULL, "domain literals not allowed"},
    {"<a@[IPv6:zz]>", ANY | ADDRESS_ALLOW_LITERAL, NULL, "malformed domain literal"},
    {"<a@[foo]>", ANY | ADDRESS_ALLOW_LITERAL, NULL, "malformed domain literal"},
    {"<a@[1.2.3.4", ANY | ADDRESS_ALLOW_LITERAL, NULL, "malformed domain literal"},
    {"<a@[1.2.3.4].b>", ANY | ADDRESS_ALLOW_LITERAL, NULL,
     "malformed address: .b> may not follow <a@[1.2.3.4]"},
    {"<a>", 0, NULL, "unqualified address not permitted"},
    /* A line end inside quotes must not reach the spool's files (the class of CVE-2020-28015). */
    {"<\"a\nb\"@c>", ANY, NULL, "unmatched doublequote in local part"},
    {"<\"a\\\nb\"@c>", ANY, NULL, "unmatched doublequote in local part"},
    {"<\"a\rb\"@c>", ANY, NULL, "unmatched doublequote in local part"},
    {"<a\\\nb@c>", ANY, NULL, "\"@\" or \".\" expected after \"a\""},
    {"a\\\t@b", ANY, NULL, "missing or malformed local part (expected word or \"<\")"},
    {"Name <a@b.c>", ADDRESS_STRICT_PATH, NULL, "malformed address: <a@b.c> may not follow Name "},

    {"", ANY, "", NULL},
    {"<>", ANY, "", NULL},
    {"x <>", ANY, "", NULL},
    {"<a@b.c>", 0, "a@b.c", NULL},
    {"a@b.c", 0, "a@b.c", NULL},
    {"<A@B.c>", 0, "A@B.c", NULL},
    {"<a>", ANY, "a", NULL},
    {"a (b", ANY, "a", NULL},
    {"<\"\">", ANY, "\"\"", NULL},
    {"<@b.c:a@d.e>", 0, "a@d.e", NULL},
    {"<@b.c,@f.g:a@d.e>", 0, "a@d.e", NULL},
    {"@b:a@c", 0, "a@c", NULL},
    {"<\"a b\"@c.d>", 0, "\"a b\"@c.d", NULL},
    {"<\"a\\\"b\"@c.d>", 0, "\"a\\\"b\"@c.d", NULL},
    {"\"a\n b\"@c", 0, "\"a b\"@c", NULL}, /* folded: RFC 5322 section 3.2.2 */
    {"<\"a\".b@c.d>", 0, "\"a\".b@c.d", NULL},
    {"<\"\"@c.d>", 0, "\"\"@c.d", NULL},
    {"<a..b@c.d>", 0, "a..b@c.d", NULL}, /* what many send */
    {"<.a@c.d>", 0, ".a@c.d", NULL},
    {"<a.@c.d>", 0, "a.@c.d", NULL},
    {"a . b@c . d", 0, "a.b@c.d", NULL},
    {"a(c) . b@(d)c", 0, "a.b@c", NULL},
    {"(a(b))c@d", 0, "c@d", NULL},
    {"<a@b-.c>", 0, "a@b-.c", NULL},
    {"<a@b.c.>", ADDRESS_STRIP_DOT, "a@b.c", NULL},
    {"<<a@b.c>>", ADDRESS_STRIP_ANGLES, "a@b.c", NULL},
    {"\\a@b.c", 0, "\\a@b.c", NULL},
    {"a\\@b@c.d", 0, "a\\@b@c.d", NULL},
    {"<\xc3\xa9@a.com>", 0, "\xc3\xa9@a.com", NULL},
    {"<a@\xc3\xa9.com>", ADDRESS_ALLOW_UTF8, "a@\xc3\xa9.com", NULL},
    {"<a@[1.2.3.4]>", ADDRESS_ALLOW_LITERAL, "a@[1.2.3.4]", NULL},
    {"<a@[IPv6:2001:db8::1]>", ADDRESS_ALLOW_LITERAL, "a@[IPv6:2001:db8::1]", NULL},
    {"\"x, y\" z (q) <a@b.c> (r)", 0, "a@b.c", NULL},
    {"x. y <a@b.c>", 0, "a@b.c", NULL},
    {"()<a@b.c>", 0, "a@b.c", NULL},
    {" a@b.c (x", 0, "a@b.c", NULL},
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct arena arena;
		struct address_parts parts;
		struct err err;
		enum rc rc;

		arena_init(&arena, 0);
		err = err_make(&arena);
		/* An exact copy on the heap: a byte read too many is found. */
		rc = address_parse(&arena, arena_copy(&arena, slice_of(rows[i].text)), rows[i].flags, &parts,
				   &err);
		if ((rc == OK) != (rows[i].full != NULL))
			fail_msg("%s: rc %s %.*s", rows[i].text, rc_name(rc), SLICE_ARG(err.text));
		if (rc == OK && !slice_eq(parts.full, slice_of(rows[i].full)))
			fail_msg("%s: got %.*s", rows[i].text, SLICE_ARG(parts.full));
		if (rc != OK && !slice_eq(err.text, slice_of(rows[i].words)))
			fail_msg("%s: said %.*s", rows[i].text, SLICE_ARG(err.text));
		arena_done(&arena);
	}
}

static void test_parts_and_taint(void **state)
{
	struct arena arena;
	struct address_parts parts;

	(void)state;
	arena_init(&arena, 0);
	assert_int_equal(address_parse(&arena, slice_tainted(SLICE("<\"a@b\"@C.d>")), 0, &parts, NULL), OK);
	assert_true(slice_eq(parts.local_part, SLICE("\"a@b\"")));
	assert_true(slice_eq(parts.domain, SLICE("C.d")));
	assert_int_equal(parts.domain.taint, TAINTED);
	assert_int_equal(parts.full.taint, TAINTED);
	assert_int_equal(address_parse(&arena, SLICE("x@[127.0.0.1]"), ADDRESS_ALLOW_LITERAL, &parts, NULL),
			 OK);
	assert_true(slice_eq(parts.domain, SLICE("[127.0.0.1]")));
	arena_done(&arena);
}

static void test_too_long(void **state)
{
	struct arena arena;
	struct address_parts parts;
	char text[400];

	(void)state;
	arena_init(&arena, 0);
	memset(text, 'a', sizeof(text));
	memcpy(text + 255, "@b", 2);
	assert_int_equal(address_parse(&arena, slice_make(text, 257, CLEAN), 0, &parts, NULL), FAIL);
	memcpy(text + 254, "@b", 2);
	assert_int_equal(address_parse(&arena, slice_make(text, 256, CLEAN), 0, &parts, NULL), OK);
	arena_done(&arena);
}

static void test_lists(void **state)
{
	static const struct {
		const char *text, *all; /* "!" for a malformed item */
	} lists[] = {
	    {"", ""},
	    {"a@b, c@d", "a@b c@d "},
	    {"g: a@b.c, d@e.f;", "a@b.c d@e.f "},
	    {"g: a@b.c, d@e.f;, x@y", "a@b.c d@e.f x@y "},
	    {"g:;", ""},
	    {"\"q, r\" <a@b.c>, (c,d) e@f", "a@b.c e@f "},
	    {"<a@b.c>, undisclosed:;", "a@b.c "},
	    {"a@b,,c@d", "a@b c@d "},
	    {"a@@b, c@d", "! c@d "},
	    {"<a@b, c@d>, e@f", "! e@f "},
	    {"x@y z@w, q@r", "! q@r "},
	    {", , a@b", "a@b "},
	    {"a b, c@d", "! c@d "},
	    {"a, b@c", "a b@c "},
	    {"a@[1.2.3.4], b@c", "a@[1.2.3.4] b@c "},
	    {"<@r1,@r2:a@b>, c@d", "a@b c@d "},
	    {"(a@b),c@d", "c@d "},
	    {"\"a\\\"b, c\"@d, e@f", "\"a\\\"b, c\"@d e@f "},
	    {"\"open, a@b", "! "},
	    {"a@b\n\t, c@d", "a@b c@d "},
	    {"\\", "! "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
		struct arena arena;
		struct address_parts parts;
		struct slice rest;
		struct str all;
		struct err err;
		enum rc rc;

		arena_init(&arena, 0);
		err = err_make(&arena);
		all = str_make(&arena);
		rest = arena_copy(&arena, slice_of(lists[i].text));
		while ((rc = address_next(&arena, &rest, ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL,
					  &parts, &err)) == OK ||
		       err.text.len) {
			str_add(&all, rc == OK ? parts.full : SLICE("!"));
			str_addc(&all, ' ');
		}
		if (!slice_eq(str_slice(&all), slice_of(lists[i].all)))
			fail_msg("%s: %.*s", lists[i].text, SLICE_ARG(str_slice(&all)));
		arena_done(&arena);
	}
}

static void test_local_part(void **state)
{
	static const struct {
		const char *plain, *quoted;
	} parts[] = {
	    {"abc", "abc"},         {"a.b", "a.b"},
	    {"", "\"\""},           {"a b", "\"a b\""},
	    {".a", "\".a\""},       {"a..b", "\"a..b\""},
	    {"a\"b", "\"a\\\"b\""}, {"a\\b", "\"a\\\\b\""},
	    {"a@b", "\"a@b\""},     {"a!#$%&'*+-/=?^_`{|}~", "a!#$%&'*+-/=?^_`{|}~"},
	};
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
		struct slice quoted = local_part_quote(&arena, slice_of(parts[i].plain));
		assert_true(slice_eq(quoted, slice_of(parts[i].quoted)));
		assert_true(slice_eq(local_part_unquote(&arena, quoted), slice_of(parts[i].plain)));
	}
	assert_true(slice_eq(local_part_unquote(&arena, SLICE("\"a\\")), SLICE("a\\")));
	assert_true(slice_eq(local_part_quote(&arena, SLICE("a\nb")), SLICE("\"a\\nb\"")));
	arena_done(&arena);
}

static void test_domain(void **state)
{
	struct arena arena;
	struct slice out;

	(void)state;
	arena_init(&arena, 0);
	assert_false(domain_valid(SLICE(""), false));
	assert_false(domain_valid(SLICE("a..b"), false));
	assert_false(domain_valid(SLICE(".a"), false));
	assert_false(domain_valid(SLICE("a."), false));
	assert_false(domain_valid(SLICE("-a"), false));
	assert_false(domain_valid(SLICE("a b"), false));
	assert_false(domain_valid(SLICE("a\nb"), false));
	assert_false(domain_valid(SLICE("\xc3\xa9.fr"), false));
	assert_false(domain_valid(SLICE("\xc3.fr"), true));
	assert_false(
	    domain_valid(SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), false));
	assert_true(domain_valid(SLICE("\xc3\xa9.fr"), true));
	assert_true(domain_valid(SLICE("a_b.c-d.e1"), false));

	assert_int_equal(domain_to_ascii(&arena,
					 SLICE("b\xc3\xbc"
					       "cher.example"),
					 &out, NULL),
			 OK);
	assert_true(slice_eq(out, SLICE("xn--bcher-kva.example")));
	assert_int_equal(domain_to_utf8(&arena, SLICE("xn--bcher-kva.example"), &out, NULL), OK);
	assert_true(slice_eq(out, SLICE("b\xc3\xbc"
					"cher.example")));
	assert_int_equal(domain_to_ascii(&arena, SLICE("\xc3.example"), &out, NULL), FAIL);
	assert_int_equal(domain_to_ascii(&arena, SLICE("plain.example"), &out, NULL), OK);
	assert_true(slice_eq(out, SLICE("plain.example")));
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parse),      cmocka_unit_test(test_parts_and_taint),
	    cmocka_unit_test(test_too_long),   cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_local_part), cmocka_unit_test(test_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
