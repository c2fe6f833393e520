/* Lists of revoked certificates, whole and damaged, and the way up a chain. */
#include "fixture.h"

#include "tls/revoked.h"

static const char *data_path(const char *name)
{
	const char *slash = strrchr(__FILE__, '/');

	return arena_cstr(&arena,
			  arena_printf(&arena, "%.*s/data/%s", (int)(slash - __FILE__), __FILE__, name));
}

static void test_lists(void **state)
{
	struct x509 leaf = certificate("leaf.pem"), rsa = certificate("rsaleaf.pem"),
		    ca = certificate("ca.pem");
	const char *const files[] = {"revoked.crl", "revoked.crl.pem"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(files); i++) {
		struct revoked revoked = {NULL};

		assert_false(revoked_has(&revoked, &leaf));
		assert_int_equal(revoked_add(&revoked, &arena, data_file(files[i]), NULL), OK);
		revoked_sort(&revoked);
		assert_int_equal(revoked.lists, 1);
		assert_int_equal(revoked.count, 2);
		assert_true(revoked_has(&revoked, &leaf));
		assert_false(revoked_has(&revoked, &rsa));
		assert_false(revoked_has(&revoked, &ca));
		/* The same number of another authority is another certificate. */
		leaf.issuer = slice_from(leaf.issuer, 1);
		assert_false(revoked_has(&revoked, &leaf));
		leaf = certificate("leaf.pem");
		revoked_done(&revoked);
	}
}

static void test_no_lists(void **state)
{
	struct revoked revoked = {NULL};

	(void)state;
	assert_int_equal(revoked_add(&revoked, &arena, SLICE(""), NULL), OK);
	assert_int_equal(revoked_add(&revoked, &arena, SLICE("nothing\n"), NULL), OK);
	assert_int_equal(revoked_add(&revoked, &arena, data_file("ca.pem"), NULL), OK);
	assert_int_equal(revoked.lists, 0);
	assert_int_equal(revoked_add(&revoked, &arena, SLICE("\x30\x00"), NULL), FAIL);
	assert_int_equal(revoked_add(&revoked, &arena,
				     SLICE("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"), NULL),
			 FAIL);
	revoked_done(&revoked);
}

/* Cut anywhere: never a list. Each byte changed: an answer of some kind. */
static void test_damage(void **state)
{
	struct slice whole = data_file("revoked.crl");
	char bytes[2048];

	(void)state;
	assert_true(whole.len < sizeof(bytes));
	for (uint32_t len = 0; len < whole.len; len++) {
		struct revoked revoked = {NULL};
		char *cut = malloc(len ? len : 1); /* its end is where the sanitizer sees it */

		memcpy(cut, whole.ptr, len);
		(void)(revoked_add(&revoked, &arena, slice_make(cut, len, TAINTED), NULL) == OK);
		assert_int_equal(revoked.lists, 0);
		revoked_done(&revoked);
		free(cut);
	}
	for (uint32_t i = 0; i < whole.len; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			struct revoked revoked = {NULL};

			memcpy(bytes, whole.ptr, whole.len);
			bytes[i] ^= (char)(1u << bit);
			(void)(revoked_add(&revoked, &arena, slice_make(bytes, whole.len, TAINTED), NULL) ==
			       OK);
			revoked_done(&revoked);
		}
}

static void test_chains(void **state)
{
	struct x509 leaf = certificate("leaf.pem"), ca = certificate("ca.pem"),
		    foreign = certificate("foreign.pem");
	struct revoked none = {NULL}, revoked = {NULL};
	struct authorities ours = {NULL}, nobody = {NULL};
	struct slice shown[CHAIN_MAX + 1] = {leaf.whole, ca.whole};

	(void)state;
	assert_true(authorities_load(&ours, data_path("ca.pem")));
	assert_int_equal(ours.count, 1);
	assert_int_equal(revoked_add(&revoked, &arena, data_file("revoked.crl"), NULL), OK);
	revoked_sort(&revoked);
	assert_null(chain_judge(shown, 2, &ours, &none));
	assert_null(chain_judge(shown, 1, &ours, &none));
	assert_string_equal(chain_judge(shown, 1, &nobody, &none), "unable to get local issuer certificate");
	/* It ends with itself: nobody of ours. */
	assert_non_null(chain_judge(shown, 2, &nobody, &none));
	assert_string_equal(chain_judge(shown, 2, &ours, &revoked), "certificate is revoked");
	assert_non_null(chain_judge(shown, 0, &ours, &none));
	shown[0] = foreign.whole;
	assert_non_null(chain_judge(shown, 2, &ours, &none));
	shown[0] = SLICE("no certificate");
	assert_non_null(chain_judge(shown, 2, &ours, &none));
	/* What stands between may be anything. */
	shown[0] = leaf.whole;
	for (unsigned i = 1; i < CHAIN_MAX; i++)
		shown[i] = i % 2 ? foreign.whole : SLICE("\x30\x03\x02\x01\x01");
	assert_null(chain_judge(shown, CHAIN_MAX, &ours, &none));
	authorities_done(&ours);
	revoked_done(&revoked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_no_lists, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_chains, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
