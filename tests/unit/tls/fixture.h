/* What the tests of certificates share: the files of data/. */
#ifndef TEST_TLS_FIXTURE_H
#define TEST_TLS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tls/x509.h"

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static inline struct slice data_file(const char *name)
{
	const char *slash = strrchr(__FILE__, '/');
	struct slice path = arena_printf(&arena, "%.*s/data/%s", (int)(slash - __FILE__), __FILE__, name);
	char *bytes = arena_bytes(&arena, 65536);
	FILE *file = fopen(arena_cstr(&arena, path), "rb");
	size_t got;

	assert_non_null(file);
	got = fread(bytes, 1, 65536, file);
	fclose(file);
	return slice_make(bytes, got, CLEAN);
}

static inline struct x509 certificate(const char *name)
{
	struct slice text = data_file(name), label, der;
	struct x509 cert;

	assert_int_equal(pem_next(&arena, &text, &label, &der, NULL), OK);
	assert_true(slice_eq(label, SLICE("CERTIFICATE")));
	assert_true(x509_parse(der, &cert));
	return cert;
}

#endif
