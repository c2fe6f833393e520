/* Whose certificate: the wildcard's rules, names of several kinds, and names that try to be more than they are. */
#include "fixture.h"

#include "tls/names.h"

static void test_one_name(void **state)
{
	static const struct {
		struct slice presented, host;
		bool expected;
	} rows[] = {
	    {SLICE_INIT("mx.example.org"), SLICE_INIT("mx.example.org"), true},
	    {SLICE_INIT("MX.Example.ORG"), SLICE_INIT("mx.example.org"), true},
	    {SLICE_INIT("mx.example.org."), SLICE_INIT("mx.example.org"), true},
	    {SLICE_INIT("mx.example.org"), SLICE_INIT("mx2.example.org"), false},
	    {SLICE_INIT("example.org"), SLICE_INIT("mx.example.org"), false},
	    {SLICE_INIT("*.example.org"), SLICE_INIT("a.example.org"), true},
	    {SLICE_INIT("*.example.org"), SLICE_INIT("a.b.example.org"), false},
	    {SLICE_INIT("*.example.org"), SLICE_INIT("example.org"), false},
	    {SLICE_INIT("*.example.org"), SLICE_INIT(".example.org"), false},
	    {SLICE_INIT("*.org"), SLICE_INIT("example.org"), false},
	    {SLICE_INIT("*"), SLICE_INIT("localhost"), false},
	    {SLICE_INIT("*."), SLICE_INIT("localhost."), false},
	    {SLICE_INIT("a*.example.org"), SLICE_INIT("ab.example.org"), false},
	    {SLICE_INIT("*a.example.org"), SLICE_INIT("ba.example.org"), false},
	    {SLICE_INIT("a.*.org"), SLICE_INIT("a.b.org"), false},
	    {SLICE_INIT("*.*.example.org"), SLICE_INIT("a.b.example.org"), false},
	    {SLICE_INIT("mx.example.org\0.evil.org"), SLICE_INIT("mx.example.org"), false},
	    {SLICE_INIT("mx.example.org\0"), SLICE_INIT("mx.example.org"), false},
	    {SLICE_INIT("mx.example.org "), SLICE_INIT("mx.example.org"), false},
	    {SLICE_INIT(""), SLICE_INIT(""), false},
	    {SLICE_INIT("localhost"), SLICE_INIT("localhost"), true},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (names_match(rows[i].presented, rows[i].host) != rows[i].expected)
			fail_msg("\"%.*s\" and \"%.*s\"", SLICE_ARG(rows[i].presented),
				 SLICE_ARG(rows[i].host));
}

static void test_certificates(void **state)
{
	static const struct {
		const char *file;
		struct slice host;
		enum rc expected;
	} rows[] = {
	    {"leaf.pem", SLICE_INIT("leaf.example.org"), OK},
	    {"leaf.pem", SLICE_INIT("leaf.example.org."), OK},
	    {"leaf.pem", SLICE_INIT("x.wild.example.org"), OK},
	    {"leaf.pem", SLICE_INIT("wild.example.org"), FAIL},
	    {"leaf.pem", SLICE_INIT("192.0.2.1"), OK},
	    {"leaf.pem", SLICE_INIT("192.0.2.2"), FAIL},
	    {"leaf.pem", SLICE_INIT("2001:db8::1"), OK},
	    {"leaf.pem", SLICE_INIT("2001:db8::2"), FAIL},
	    {"cnonly.pem", SLICE_INIT("cnonly.example.org"), OK},
	    {"cnonly.pem", SLICE_INIT("other.example.org"), FAIL},
	    {"mailsan.pem", SLICE_INIT("mailsan.example.org"), OK}, /* a mail address is no host's name */
	    {"idn.pem",
	     SLICE_INIT("b\xc3\xbc"
			"cher.example"),
	     OK},
	    {"idn.pem", SLICE_INIT("xn--bcher-kva.example"), OK},
	    {"idn.pem",
	     SLICE_INIT("b\xc3\xb6"
			"cher.example"),
	     FAIL},
	    {"idn.pem", SLICE_INIT("ignored.example.org"), FAIL}, /* the CN, where there is a SAN */
	    {"idn.pem",
	     SLICE_INIT("b\xff"
			"cher.example"),
	     FAIL},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct x509 cert = certificate(rows[i].file);

		if (names_match_host(&arena, &cert, rows[i].host) != rows[i].expected)
			fail_msg("%s and \"%.*s\"", rows[i].file, SLICE_ARG(rows[i].host));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_one_name, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_certificates, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
