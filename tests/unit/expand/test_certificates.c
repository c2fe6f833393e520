/* Variables that hold a certificate, and ${certextract: each answer is one that Exim 4.98 gave for the same certificate. */
#include "harness.h"

#include <time.h>

#define DN \
	"C=DE,ST=Some State,L=Town,DC=org,DC=example,O=Test\\, \\\"Inc.\\\" \\+ more\\;\\<x\\>,OU=Unit 1,OU=Unit 2,CN=\\#leaf \xc3\xbcn\xc3\xaf,EMAIL=a@b.example"

static const struct {
	const char *text, *expected; /* "!...": fails so */
} rows[] = {
    {"$tls_in_peercert", "<cert>"},
    {"${strlen:$tls_in_peercert}", "6"},
    {"a $tls_in_peercert b", "a <cert> b"},
    {"${if def:tls_in_peercert{yes}{no}}", "yes"},
    {"${if def:tls_in_ourcert{yes}{no}}", "no"},
    {"${if def:tls_out_peercert{yes}{no}}", "no"},
    {"${certextract{version}{$tls_in_peercert}}", "3"},
    {"${certextract{version,foo}{$tls_in_peercert}{y$value}{n}}", "y3"},
    {"${certextract{serial_number}{$tls_in_peercert}}", "abcdef0123456789"},
    {"${certextract{subject}{$tls_in_peercert}}", DN},
    {"${certextract{subject}{${tls_in_peercert}}}", DN},
    {"${certextract{subject,O}{$tls_in_peercert}}", "Test, \\\"Inc.\\\" \\+ more\\;\\<x\\>"},
    {"${certextract{subject,OU,>;}{$tls_in_peercert}}", "Unit 1;Unit 2"},
    {"${certextract{subject,OU}{$tls_in_peercert}}", "Unit 1\nUnit 2"},
    {"${certextract{subject,ou}{$tls_in_peercert}}", ""},
    {"${certextract{subject,DC,>:}{$tls_in_peercert}}", "org:example"},
    {"${certextract{subject,XX}{$tls_in_peercert}{yes $value}{no}}", "no"},
    {"${certextract{issuer}{$tls_in_peercert}}", "O=Test,CN=CA"},
    {"${certextract{notbefore,int}{$tls_in_peercert}}", "1795246877"},
    {"${certextract{notbefore}{$tls_in_peercert}}", "Nov 21 08:41:17 2026 CET"},
    {"${certextract{notafter,raw}{$tls_in_peercert}}", "Jan 10 08:41:17 2027 CET"},
    {"${certextract{sig_algorithm}{$tls_in_peercert}}", "RSA-SHA256"},
    {"${length_20:${certextract{signature}{$tls_in_peercert}}}", "12 47 fb a9 fd ac e4"},
    {"${certextract{subj_altname}{$tls_in_peercert}}",
     "DNS=leaf.example.org\nDNS=*.wild.example.org\nMAIL=post@example.org\nURI=https://example.org/a:b"},
    {"${certextract{subj_altname,>;}{$tls_in_peercert}}",
     "DNS=leaf.example.org;DNS=*.wild.example.org;MAIL=post@example.org;URI=https://example.org/a:b"},
    {"${certextract{subj_altname,dns,>:}{$tls_in_peercert}}", "leaf.example.org:*.wild.example.org"},
    {"${certextract{subj_altname,uri,>:}{$tls_in_peercert}}", "https:://example.org/a::b"},
    {"${certextract {subj_altname,mail,>:} {$tls_in_peercert}}", "post@example.org"},
    {"${certextract{ocsp_uri}{$tls_in_peercert}}",
     "http://ocsp.example.org/one\nhttp://ocsp.example.org/two"},
    {"${certextract{ocsp_uri,>:}{$tls_in_peercert}}",
     "http:://ocsp.example.org/one:http:://ocsp.example.org/two"},
    {"${certextract{crl_uri}{$tls_in_peercert}}", "http://crl.example.org/ca.crl\nldap://x/y"},
    {"${md5:$tls_in_peercert}", "CB6CBD785F24E9435E562369602A18E4"},
    {"${sha1:$tls_in_peercert}", "D5F9EE6F5E5AD3CA611C487C3C396376D53004D9"},
    {"${sha256:$tls_in_peercert}", "DE8E2DDB22CC7EDCE756315920CD3340FF295703B87344A828376DF6845E7022"},
    {"${md5:<cert>}", ""}, /* text, and no certificate: see below */
    {"${length_16:${base64:$tls_in_peercert}}", "MIIEJjCCAw6gAwIB"},
    {"${certextract{subject}{$tls_in_ourcert}{x}{none}}", "none"},
    {"${certextract{subject}{$tls_in_ourcert}}", ""},
    {"${certextract{nope}{$tls_in_ourcert}{x}{y}}", "y"},
    {"${certextract{nope}{$tls_in_peercert}{x}{y}}", "!bad field selector \"nope\" for certextract"},
    {"${certextract{subject}{abc}}", "!second argument of \"certextract\" must be a certificate variable"},
    {"${certextract{subject}{$primary_hostname}{x}{y}}", "!\"primary_hostname\" is not a certificate"},
    {"${certextract{subject}{$tls_in_ourcert}{x}fail}", "!\"certextract\" failed and \"fail\" requested"},
};

static struct slice peer;

static void ask(struct harness *h)
{
	h->client.tls_peercert = peer;
	h->client.tls_ourcert = SLICE_EMPTY;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct err err = err_make(&h->err_arena);
		struct slice got;
		enum rc rc = expand_text(&h->scope, slice_of(rows[i].text), &got, &err);

		if (!strcmp(rows[i].text, "${md5:<cert>}")) {
			assert_int_equal(rc, OK);
			assert_false(slice_eq_nocase(got, SLICE("CB6CBD785F24E9435E562369602A18E4")));
		} else if (rows[i].expected[0] == '!') {
			if (rc != FAIL || !slice_eq(err.text, slice_of(rows[i].expected + 1)))
				fail_msg("%s: %s \"%.*s\"", rows[i].text, rc_name(rc), SLICE_ARG(err.text));
		} else if (rc != OK || !slice_eq(got, slice_of(rows[i].expected))) {
			fail_msg("%s: %s \"%.*s\"", rows[i].text, rc_name(rc),
				 SLICE_ARG(rc == OK ? got : err.text));
		}
	}
}

static void test_table(void **state)
{
	static char bytes[8192];
	const char *slash = strrchr(__FILE__, '/');
	char path[1024];
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%.*s/../tls/data/facts.pem", (int)(slash - __FILE__), __FILE__);
	file = fopen(path, "rb");
	assert_non_null(file);
	peer = slice_make(bytes, fread(bytes, 1, sizeof(bytes), file), CLEAN);
	fclose(file);
	setenv("TZ", "CET-1", 1);
	tzset();
	harness_run(HARNESS_CONF, ask);
}

static void ask_broken(struct harness *h)
{
	struct err err = err_make(&h->err_arena);
	struct slice got;

	h->client.tls_peercert = SLICE("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	assert_int_equal(
	    expand_text(&h->scope, SLICE("${certextract{subject}{$tls_in_peercert}}"), &got, &err), FAIL);
	h->client.tls_peercert = SLICE("nothing");
	assert_int_equal(expand_text(&h->scope, SLICE("${md5:$tls_in_peercert}"), &got, &err), FAIL);
}

static void test_broken(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, ask_broken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_broken)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
