/* OCSP responses: of each kind, signed by the right and by the wrong, at all times, and damaged at each byte. */
#include "fixture.h"

#include "tls/ocsp.h"

#define DAY 86400

/* A moment shortly after the responses were made. */
static int64_t made(void)
{
	struct x509 ca = certificate("ca.pem"), leaf = certificate("leaf.pem");
	struct ocsp_answer answer;

	assert_int_equal(ocsp_check(data_file("good.der"), &leaf, &ca, 0, &answer, NULL), FAIL);
	assert_true(answer.this_update > 1700000000);
	return answer.this_update + 60;
}

static void test_verdicts(void **state)
{
	static const struct {
		const char *file;
		int64_t after;
		enum ocsp_status status;
		const char *text;
	} rows[] = {
	    {"good.der", 0, OCSP_GOOD, NULL},
	    {"bykey.der", 0, OCSP_GOOD, NULL},
	    {"delegated.der", 0, OCSP_GOOD, NULL},
	    {"shortlived.der", 0, OCSP_GOOD, NULL},
	    {"shortlived.der", 11 * DAY, OCSP_UNTRUSTED, "itself unverifiable"}, /* the signer has ended */
	    {"good.der", 36501ll * DAY, OCSP_DATES, "OCSP dates invalid"},
	    {"good.der", -DAY, OCSP_DATES, "OCSP dates invalid"},
	    {"good.der", -300, OCSP_GOOD, NULL}, /* clocks differ */
	    {"nonext.der", 0, OCSP_DATES, "OCSP dates invalid"},
	    {"revoked.der", 0, OCSP_REVOKED, "Server certificate revoked; reason: keyCompromise"},
	    {"unknown.der", 0, OCSP_UNKNOWN, "Server certificate status unknown, in OCSP stapling"},
	    {"nopurpose.der", 0, OCSP_UNTRUSTED, "itself unverifiable"},
	    {"foreign.der", 0, OCSP_UNTRUSTED, "itself unverifiable"},
	    {"rsagood.der", 0, OCSP_FOREIGN, "another certificate"},
	    {"trylater.der", 0, OCSP_UNREADABLE, "OCSP responder error 3"},
	    {"ca.pem", 0, OCSP_UNREADABLE, "Received TLS cert status response, parse error"},
	};
	struct x509 ca = certificate("ca.pem"), leaf = certificate("leaf.pem");
	int64_t now = made();

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = err_make(&arena);
		struct ocsp_answer answer;
		enum rc rc =
		    ocsp_check(data_file(rows[i].file), &leaf, &ca, now + rows[i].after, &answer, &err);

		if (answer.status != rows[i].status || (rc == OK) != (rows[i].text == NULL))
			fail_msg("%s + %lld: status %d, %.*s", rows[i].file, (long long)rows[i].after,
				 answer.status, SLICE_ARG(err.text));
		if (rows[i].text && slice_search(err.text, slice_of(rows[i].text)) < 0)
			fail_msg("%s: \"%.*s\"", rows[i].file, SLICE_ARG(err.text));
	}
}

static void test_until_when(void **state)
{
	struct x509 ca = certificate("ca.pem"), leaf = certificate("leaf.pem");
	struct x509 signer = certificate("short.pem");
	struct ocsp_answer answer;

	(void)state;
	assert_int_equal(ocsp_check(data_file("shortlived.der"), &leaf, &ca, made(), &answer, NULL), OK);
	assert_true(answer.valid_until == signer.not_after);
	assert_true(answer.next_update > answer.valid_until);
}

static void test_other_issuer(void **state)
{
	struct x509 leaf = certificate("leaf.pem"), other = certificate("other.pem");
	struct x509 rsa = certificate("rsaleaf.pem"), rsaca = certificate("rsaca.pem");
	struct ocsp_answer answer;

	(void)state;
	assert_int_equal(ocsp_check(data_file("good.der"), &leaf, &other, made(), &answer, NULL), FAIL);
	assert_int_equal(answer.status, OCSP_FOREIGN);
	assert_int_equal(ocsp_check(data_file("rsagood.der"), &rsa, &rsaca, made(), &answer, NULL), OK);
	assert_true(ocsp_belongs(data_file("rsagood.der"), &rsa, &rsaca));
	assert_false(ocsp_belongs(data_file("good.der"), &rsa, &rsaca));
}

/* Whatever byte is changed or missing: never good, never a crash. */
static void test_damage(void **state)
{
	struct x509 ca = certificate("ca.pem"), leaf = certificate("leaf.pem");
	struct slice good = data_file("bykey.der"), copy;
	struct ocsp_answer answer;
	int64_t now = made();
	unsigned still_good = 0;

	(void)state;
	/* The certificates that come along are not needed when the issuer has signed: changes there may pass. */
	for (uint32_t i = 0; i < good.len; i++) {
		copy = arena_copy(&arena, good);
		((char *)(uintptr_t)copy.ptr)[i] ^= 0x41;
		still_good += ocsp_check(copy, &leaf, &ca, now, &answer, NULL) == OK;
	}
	assert_in_range(still_good, 0, certificate("ca.pem").whole.len + 8);
	for (uint32_t i = 0; i < good.len; i++)
		assert_int_equal(ocsp_check(slice_sub(good, 0, i), &leaf, &ca, now, &answer, NULL), FAIL);
}

static void test_files(void **state)
{
	struct slice text = data_file("good.pem.txt"), response;
	struct x509 ca = certificate("ca.pem"), leaf = certificate("leaf.pem");
	struct err err = err_make(&arena);
	struct ocsp_answer answer;

	(void)state;
	assert_int_equal(ocsp_read(&arena, text, true, 0, &response, &err), OK);
	assert_int_equal(ocsp_check(response, &leaf, &ca, made(), &answer, &err), OK);
	assert_int_equal(ocsp_read(&arena, text, true, 1, &response, &err), FAIL);
	assert_int_equal(
	    ocsp_read(&arena, SLICE("-----BEGIN OCSP RESPONSE-----\nAAAA"), true, 0, &response, &err), DEFER);
	assert_int_equal(ocsp_read(&arena,
				   SLICE("-----BEGIN OCSP RESPONSE-----\n*\n-----END OCSP RESPONSE-----"),
				   true, 0, &response, &err),
			 DEFER);
	assert_int_equal(ocsp_read(&arena, SLICE(""), true, 0, &response, &err), FAIL);
	assert_int_equal(ocsp_read(&arena, data_file("good.der"), false, 0, &response, &err), OK);
	assert_int_equal(ocsp_read(&arena, data_file("good.der"), false, 1, &response, &err), FAIL);
}

/* A request holds the CertID that a response of openssl's holds. */
static void test_request(void **state)
{
	struct x509 ca = certificate("ca.pem"), leaf = certificate("leaf.pem");
	struct slice request, uri;

	(void)state;
	assert_int_equal(ocsp_request(&arena, &leaf, &ca, &request, NULL), OK);
	assert_true(slice_search(data_file("good.der"), slice_from(request, 8)) > 0);
	assert_true(x509_access_uri(&leaf, oid_ocsp, 0, &uri));
	assert_true(slice_eq(uri, SLICE("http://ocsp.example.org/one")));
	assert_true(x509_access_uri(&leaf, oid_ocsp, 1, &uri));
	assert_false(x509_access_uri(&leaf, oid_ocsp, 2, &uri));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_verdicts, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_until_when, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_other_issuer, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_files, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_request, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
