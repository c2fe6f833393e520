/* Cipher lists in two languages: what is chosen, in which order, and what is refused by name. */
#include "fixture.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "tls/ciphers.h"

#define T13 "TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES128-GCM-SHA256:"

static void test_openssl(void **state)
{
	static const struct {
		const char *text, *list;
	} rows[] = {
	    {"ECDHE-RSA-AES128-GCM-SHA256", T13 "ECDHE-RSA-AES128-GCM-SHA256"},
	    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", T13 "ECDHE-RSA-AES128-GCM-SHA256"},
	    {"ECDHE+AESGCM:!aRSA", T13 "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"},
	    {"ECDHE+AESGCM+AES128:-aECDSA", T13 "ECDHE-RSA-AES128-GCM-SHA256"},
	    {"AES128+DHE+AESGCM AES256+DHE+AESGCM",
	     T13 "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"},
	    {"DHE+AESGCM,+AES256", T13 "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"},
	    {"!AES256:DHE+AESGCM:AES256", T13 "DHE-RSA-AES128-GCM-SHA256"}, /* killed before it came */
	    {"DES-CBC3-SHA:ECDHE-RSA-AES256-SHA", T13 "ECDHE-RSA-AES256-SHA"},
	    {"ECDHE+AES128:ECDHE+CHACHA20:!SHA:!SHA256:!SHA384:!AESCCM:!aECDSA:@STRENGTH",
	     T13 "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256"},
	    {"HIGH:!aNULL:!AESGCM:!CHACHA20:!AESCCM:!SHA1:!SHA256:!SHA384", NULL},
	    {"ECDHE-RSA-AES128-GCM-SHA256@SECLEVEL=1", T13 "ECDHE-RSA-AES128-GCM-SHA256"},
	    {"DEFAULT:!ECDHE:!DHE", NULL},
	    {"CAMELLIA", T13 "DHE-RSA-CAMELLIA256-SHA256:DHE-RSA-CAMELLIA128-SHA256"},
	    {"RC4", NULL},
	    {"NOSUCHWORD", NULL},
	    {"HIGH:!NOSUCHWORD", NULL},
	    {"HIGH:@NOSUCH", NULL},
	    {":", NULL},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = err_make(&arena);
		struct cipher_choice choice;
		enum rc rc = ciphers_choose(&arena, slice_of(rows[i].text), &choice, &err);

		if (!rows[i].list) {
			if (rc != FAIL || !err.text.len)
				fail_msg("%s gives %.*s", rows[i].text, SLICE_ARG(choice.list));
			continue;
		}
		if (rc != OK)
			fail_msg("%s: %.*s", rows[i].text, SLICE_ARG(err.text));
		if (!slice_eq(choice.list, slice_of(rows[i].list)))
			fail_msg("%s gives %.*s", rows[i].text, SLICE_ARG(choice.list));
		assert_true(choice.tls12 && choice.tls13);
	}
}

static void test_gnutls(void **state)
{
	static const struct {
		const char *text;
		bool tls12, tls13;
		const char *has, *lacks;
	} rows[] = {
	    {"NORMAL", true, true, "ECDHE-RSA-AES128-GCM-SHA256", NULL},
	    {"NORMAL:-VERS-ALL:+VERS-TLS1.2", true, false, "ECDHE-RSA-AES128-GCM-SHA256", "TLS13"},
	    {"NORMAL:-VERS-TLS-ALL:+VERS-TLS1.3:%COMPAT", false, true, "TLS13-AES128", "ECDHE"},
	    {"NORMAL:-AES-128-CBC:-AES-256-CBC:-SHA1", true, true, "ECDHE-RSA-AES128-GCM-SHA256",
	     "AES128-SHA"},
	    {"SECURE256", true, true, "ECDHE-RSA-AES256-GCM-SHA384", "AES128"},
	    {"SECURE192:-VERS-TLS1.0:!ARCFOUR-128:%SERVER_PRECEDENCE", true, true, "TLS13-AES256", "AES128"},
	    {"NONE:+VERS-TLS1.2:+ECDHE-RSA:+AES-128-GCM:+AEAD:+SIGN-ALL:+COMP-NULL:+GROUP-SECP256R1", true,
	     false, "ECDHE-RSA-AES128-GCM-SHA256", "ECDSA"},
	    {"NORMAL:-DHE-RSA", true, true, "ECDHE-RSA-AES128-GCM-SHA256", ":DHE-"},
	};
	static const char *const bad[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.0", "NONE", "NORMAL:+NOSUCH",
					  "NORMAL:HIGH", "SECURE128:-CIPHER-ALL"};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = err_make(&arena);
		struct cipher_choice choice;

		if (ciphers_choose(&arena, slice_of(rows[i].text), &choice, &err) != OK)
			fail_msg("%s: %.*s", rows[i].text, SLICE_ARG(err.text));
		if (choice.tls12 != rows[i].tls12 || choice.tls13 != rows[i].tls13 ||
		    slice_search(choice.list, slice_of(rows[i].has)) < 0 ||
		    (rows[i].lacks && slice_search(choice.list, slice_of(rows[i].lacks)) >= 0))
			fail_msg("%s gives %.*s", rows[i].text, SLICE_ARG(choice.list));
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = err_make(&arena);
		struct cipher_choice choice;

		if (ciphers_choose(&arena, slice_of(bad[i]), &choice, &err) != FAIL || !err.text.len)
			fail_msg("%s gives %.*s", bad[i], SLICE_ARG(choice.list));
	}
}

/* GnuTLS's words for groups: added behind those that are there, taken away, only these. */
static void test_groups(void **state)
{
	static const struct {
		const char *text, *groups; /* NULL: refused; empty: the library's */
	} rows[] = {
	    {"NORMAL", ""},
	    {"NORMAL:-SHA1", ""},
	    {"HIGH:!aNULL", ""},
	    {"NORMAL:-GROUP-ALL:+GROUP-SECP384R1:+GROUP-X25519", "P-384:X25519"},
	    {"normal:-curve-all:+curve-secp256r1", "P-256"},
	    {"NORMAL:-GROUP-X25519:-GROUP-DH-ALL:-GROUP-SECP521R1", "P-256:P-384:X448"},
	    {"NORMAL:-GROUP-EC-ALL", "ffdhe2048:ffdhe3072"},
	    {"NONE:+VERS-ALL:+KX-ALL:+CIPHER-ALL:+MAC-ALL:+GROUP-SECP256R1", "P-256"},
	    {"NONE:+VERS-ALL:+KX-ALL:+CIPHER-ALL:+MAC-ALL", ""},
	    {"SECURE256", "P-384:P-521"},
	    {"SECURE256:+GROUP-SECP256R1:+GROUP-SECP384R1", "P-384:P-521:P-256"},
	    {"SECURE256:NORMAL", ""},
	    {"NORMAL:-GROUP-ALL", NULL},
	    {"NORMAL:-GROUP-ALL:+GROUP-FFDHE8192", NULL},
	    {"NORMAL:-GROUP-NOSUCH", NULL},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct err err = err_make(&arena);
		struct cipher_choice choice;
		enum rc rc = ciphers_choose(&arena, slice_of(rows[i].text), &choice, &err);

		if (rc != (rows[i].groups ? OK : FAIL))
			fail_msg("%s: %.*s", rows[i].text, SLICE_ARG(err.text));
		if (rc == OK && !slice_eq(choice.groups, slice_of(rows[i].groups)))
			fail_msg("%s gives %.*s", rows[i].text, SLICE_ARG(choice.groups));
	}
}

static void test_versions(void **state)
{
	static const struct {
		const char *text;
		bool tls12, tls13;
	} rows[] = {
	    {"HIGH", true, true},
	    {"HIGH:!TLSv1.3", true,
	     false}, /* OpenSSL does not know the word, but it is plain what is wanted */
	    {"TLSv1.3:TLSv1.2:!aNULL", true, true},
	    {"SUITEB128", true, false},
	    {"NORMAL:-VERS-TLS1.2", false, true},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct cipher_choice choice;

		assert_int_equal(ciphers_choose(&arena, slice_of(rows[i].text), &choice, NULL), OK);
		if (choice.tls12 != rows[i].tls12 || choice.tls13 != rows[i].tls13 ||
		    rows[i].tls13 != (slice_search(choice.list, SLICE("TLS13")) >= 0))
			fail_msg("%s gives %.*s", rows[i].text, SLICE_ARG(choice.list));
	}
}

static bool is_in(struct slice list, struct slice name)
{
	struct slice one;

	while (slice_split(&list, ':', &one))
		if (slice_eq(one, name))
			return true;
	return false;
}

/* Strings of other people's configurations mean what they mean to OpenSSL and GnuTLS. */
static void test_what_others_make_of_them(void **state)
{
	struct slice rest = data_file("ciphers.txt"), line, language, text, marks;
	struct cipher_choice all;
	unsigned count = 0;

	(void)state;
	assert_int_equal(ciphers_choose(&arena, SLICE("ALL"), &all, NULL), OK);
	while (slice_split(&rest, '\n', &line)) {
		struct err err = err_make(&arena);
		struct cipher_choice choice;
		struct slice names = all.list, name;

		if (!slice_split(&line, '\t', &language) || !slice_split(&line, '\t', &text) ||
		    !slice_split(&line, '\t', &marks))
			continue;
		count++;
		if (ciphers_choose(&arena, text, &choice, &err) != OK) {
			/* Cipher lists of OpenSSL say nothing about the first three, those of TLS 1.3. */
			if (slice_find(slice_from(marks, slice_eq(language, SLICE("openssl")) ? 3 : 0),
				       'x') >= 0)
				fail_msg("%.*s: %.*s", SLICE_ARG(text), SLICE_ARG(err.text));
			continue;
		}
		for (uint32_t i = 0; slice_split(&names, ':', &name); i++) {
			assert_true(i < marks.len);
			if (slice_starts(name, SLICE("TLS13")) && slice_eq(language, SLICE("openssl")))
				continue;
			if (is_in(choice.list, name) != (marks.ptr[i] == 'x'))
				fail_msg("%.*s: %.*s", SLICE_ARG(text), SLICE_ARG(name));
		}
	}
	assert_true(count > 180);
}

/* The library knows each name. */
static void test_all_known(void **state)
{
	struct cipher_choice choice;
	struct slice rest, name;
	WOLFSSL_CTX *ctx;

	(void)state;
	assert_int_equal(wolfSSL_Init(), WOLFSSL_SUCCESS);
	ctx = wolfSSL_CTX_new(wolfSSLv23_client_method());
	assert_non_null(ctx);
	assert_int_equal(ciphers_choose(&arena, SLICE("ALL"), &choice, NULL), OK);
	rest = choice.list;
	while (slice_split(&rest, ':', &name))
		if (wolfSSL_CTX_set_cipher_list(ctx, arena_cstr(&arena, name)) != WOLFSSL_SUCCESS)
			fail_msg("%.*s is not there", SLICE_ARG(name));
	assert_int_equal(ciphers_choose(&arena, SLICE_EMPTY, &choice, NULL), OK);
	assert_int_equal(wolfSSL_CTX_set_cipher_list(ctx, arena_cstr(&arena, choice.list)), WOLFSSL_SUCCESS);
	assert_true(slice_search(choice.list, SLICE("CAMELLIA")) < 0);
	wolfSSL_CTX_free(ctx);
	wolfSSL_Cleanup();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_openssl, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_gnutls, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_groups, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_versions, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_others_make_of_them, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_all_known, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
