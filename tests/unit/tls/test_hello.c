/* What is read from a ClientHello, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/hello.h"

/* A hello is built from its parts, so that each length can be wrong on purpose. */
struct made {
	char bytes[4096];
	size_t len;
};

static void put(struct made *m, const void *bytes, size_t len)
{
	assert_true(m->len + len <= sizeof(m->bytes));
	memcpy(m->bytes + m->len, bytes, len);
	m->len += len;
}

static void put_number(struct made *m, unsigned bytes, unsigned number)
{
	for (unsigned i = bytes; i--;) {
		char byte = (char)(number >> 8 * i);
		put(m, &byte, 1);
	}
}

static void put_extension(struct made *m, unsigned type, const char *body, size_t len)
{
	put_number(m, 2, type);
	put_number(m, 2, (unsigned)len);
	put(m, body, len);
}

#define EXTENSION(m, type, body) put_extension((m), (type), (body), sizeof(body) - 1)

static struct made message_of(const struct made *extensions, const char *suites, size_t suites_len)
{
	struct made body = {.len = 0}, message = {.len = 0};
	char random[32] = "0123456789abcdef0123456789abcde";

	put_number(&body, 2, 0x0303);
	put(&body, random, 32);
	put_number(&body, 1, 0); /* session id */
	put_number(&body, 2, (unsigned)suites_len);
	put(&body, suites, suites_len);
	put_number(&body, 2, 0x0100); /* no compression */
	put_number(&body, 2, (unsigned)extensions->len);
	put(&body, extensions->bytes, extensions->len);
	put_number(&message, 1, 1);
	put_number(&message, 3, (unsigned)body.len);
	put(&message, body.bytes, body.len);
	return message;
}

/* In records of so many bytes. */
static struct made records_of(const struct made *message, size_t size)
{
	struct made records = {.len = 0};

	for (size_t at = 0; at < message->len; at += size) {
		size_t len = message->len - at < size ? message->len - at : size;

		put_number(&records, 3, 0x160301);
		put_number(&records, 2, (unsigned)len);
		put(&records, message->bytes + at, len);
	}
	return records;
}

static struct made example(void)
{
	struct made extensions = {.len = 0};

	EXTENSION(&extensions, 0, "\x00\x0a\x00\x00\x07mx.test");
	EXTENSION(&extensions, 5, "\x01\x00\x00\x00\x00");
	EXTENSION(&extensions, 10, "\x00\x04\x00\x1d\x00\x17");
	EXTENSION(&extensions, 13, "\x00\x06\x04\x03\x08\x04\x04\x01");
	EXTENSION(&extensions, 16, "\x00\x05\x04smtp");
	EXTENSION(&extensions, 35, "");
	EXTENSION(&extensions, 43, "\x04\x03\x04\x03\x03");
	return message_of(&extensions, "\x13\x02\xc0\x2b", 4);
}

static enum tls_hello_state parse(struct arena *arena, const struct made *records, size_t len,
				  struct tls_hello *hello)
{
	uint32_t need = 0;
	enum tls_hello_state state =
	    tls_hello_parse(arena, slice_make(records->bytes, len, TAINTED), &need, hello);

	if (state == TLS_HELLO_PART)
		assert_true(need > len);
	return state;
}

static void what_it_says(void **state)
{
	struct made message = example(), records = records_of(&message, 4096);
	struct tls_hello hello;
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	assert_int_equal(TLS_HELLO_WHOLE, parse(&arena, &records, records.len, &hello));
	assert_true(slice_eq(hello.sni, SLICE("mx.test")));
	assert_int_equal(TAINTED, hello.sni.taint);
	assert_true(hello.tls12 && hello.tls13 && hello.ocsp && hello.ticket && hello.ecdsa && hello.rsa);
	assert_false(hello.offers);
	assert_false(hello.rsa_pss_last);
	assert_true(slice_eq(hello.alpn, SLICE("\x04smtp")));
	assert_true(tls_hello_offers(&hello, 29) && tls_hello_offers(&hello, 23));
	assert_false(tls_hello_offers(&hello, 24));
	assert_true(tls_hello_has_suite(&hello, 0x1302) && tls_hello_has_suite(&hello, 0xc02b));
	assert_false(tls_hello_has_suite(&hello, 0x02c0) || tls_hello_has_suite(&hello, 0));
	arena_done(&arena);
}

static void in_pieces(void **state)
{
	struct made message = example();
	struct tls_hello hello;
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (size_t size = 3; size < message.len; size++) {
		struct made records = records_of(&message, size);

		if (message.len / size >= 60)
			continue;
		for (size_t len = 0; len < records.len; len++)
			assert_int_equal(TLS_HELLO_PART, parse(&arena, &records, len, &hello));
		assert_int_equal(TLS_HELLO_WHOLE, parse(&arena, &records, records.len, &hello));
		assert_true(slice_eq(hello.sni, SLICE("mx.test")));
		arena_clear(&arena);
	}
	arena_done(&arena);
}

/* In TLS 1.2 the suite says what kind of certificate it wants. */
static void kinds_of_certificates(void **state)
{
	static const struct {
		const char *suites;
		bool ecdsa;
	} rows[] = {{"\xc0\x2b\xc0\x2f", true}, {"\xc0\x2f\xc0\x30", false}, {"\x00\x9c\xcc\xa9", true}};
	struct tls_hello hello;
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct made extensions = {.len = 0}, message, records;

		EXTENSION(&extensions, 13, "\x00\x06\x04\x03\x04\x01\x08\x04");
		message = message_of(&extensions, rows[i].suites, 4);
		records = records_of(&message, 4096);
		assert_int_equal(TLS_HELLO_WHOLE, parse(&arena, &records, records.len, &hello));
		assert_int_equal(rows[i].ecdsa, hello.ecdsa);
		assert_true(hello.rsa && hello.rsa_pss_last && !hello.tls13);
	}
	arena_done(&arena);
}

/* Names that could become something else in a path or a log line. */
static void names(void **state)
{
	static const struct {
		const char *name;
		size_t len;
		bool fine;
	} rows[] = {
	    {"a", 1, true},
	    {"mx.test", 7, true},
	    {"b\xc3\xbc"
	     "cher.test",
	     12, true},
	    {"_x.[127.0.0.1]:", 15, true},
	    {"", 0, false},
	    {"mx\0.test", 8, false},
	    {"../../etc", 9, false},
	    {"a b", 3, false},
	    {"a\nb", 3, false},
	    {"a\x7f", 2, false},
	    {"a'b", 3, false},
	    {"a$b", 3, false},
	    {"a\\b", 3, false},
	    {"..", 2, false},
	    {".test", 5, false},
	    {"mx..test", 8, false},
	    {"MX-1.test.", 10, true},
	};
	struct tls_hello hello;
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct made extensions = {.len = 0}, list = {.len = 0}, message, records;

		put_number(&list, 2, (unsigned)rows[i].len + 3);
		put_number(&list, 3, (unsigned)rows[i].len);
		put(&list, rows[i].name, rows[i].len);
		put_extension(&extensions, 0, list.bytes, list.len);
		message = message_of(&extensions, "\x13\x02\xc0\x2b", 4);
		records = records_of(&message, 4096);
		assert_int_equal(rows[i].fine ? TLS_HELLO_WHOLE : TLS_HELLO_MALFORMED,
				 parse(&arena, &records, records.len, &hello));
		if (rows[i].fine)
			assert_true(slice_eq(hello.sni, slice_make(rows[i].name, rows[i].len, CLEAN)));
	}
	arena_done(&arena);
}

/* What stands in front counts only where the extension is missing. */
static void versions(void **state)
{
	static const struct {
		char minor;
		const char *extension; /* NULL: none */
		size_t len;
		bool tls12, tls13;
	} rows[] = {
	    {3, NULL, 0, true, false},
	    {2, NULL, 0, false, false},
	    {1, NULL, 0, false, false},
	    {4, NULL, 0, true, false},
	    {3, "\x02\x03\x04", 3, false, true},
	    {3, "\x04\x7f\x1c\x03\x04", 5, false, true},
	    {3, "\x04\x03\x04\x03\x03", 5, true, true},
	    {1, "\x02\x03\x03", 3, true, false},
	    {3, "\x02\x03\x02", 3, false, false},
	};
	struct tls_hello hello;
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct made extensions = {.len = 0}, message, records;

		if (rows[i].extension)
			put_extension(&extensions, 43, rows[i].extension, rows[i].len);
		message = message_of(&extensions, "\x13\x02\xc0\x2b", 4);
		message.bytes[5] = rows[i].minor;
		records = records_of(&message, 4096);
		assert_int_equal(TLS_HELLO_WHOLE, parse(&arena, &records, records.len, &hello));
		assert_int_equal(rows[i].tls12, hello.tls12);
		assert_int_equal(rows[i].tls13, hello.tls13);
	}
	arena_done(&arena);
}

static void no_hello(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum tls_hello_state state;
	} rows[] = {
	    {"", 0, TLS_HELLO_PART},
	    {"\x16", 1, TLS_HELLO_PART},
	    {"E", 1, TLS_HELLO_NONE},
	    {"\x15\x03\x01\x00\x02\x02\x28", 7, TLS_HELLO_NONE},
	    {"\x16\x02", 2, TLS_HELLO_NONE},
	    {"\x16\x03\x01\x00\x00", 5, TLS_HELLO_MALFORMED},
	    {"\x16\x03\x01\x40\x01", 5, TLS_HELLO_MALFORMED},
	    {"\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9, TLS_HELLO_NONE},
	    {"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9, TLS_HELLO_MALFORMED},
	    {"\x16\x03\x01\x00\x04\x01\x01\x00\x01", 9, TLS_HELLO_MALFORMED},
	};
	struct tls_hello hello;
	struct arena arena;
	uint32_t need;

	(void)state;
	arena_init(&arena, 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(
		    rows[i].state,
		    tls_hello_parse(&arena, slice_make(rows[i].bytes, rows[i].len, TAINTED), &need, &hello));
	arena_done(&arena);
}

/* Each length byte of a good one wrong in turn: refused, or at least never read past. */
static void lengths_that_lie(void **state)
{
	struct made message = example();
	struct tls_hello hello;
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	for (size_t at = 4; at < message.len; at++)
		for (unsigned value = 0; value < 256; value += 51) {
			struct made lying = message, records;

			lying.bytes[at] = (char)value;
			records = records_of(&lying, 4096);
			(void)parse(&arena, &records, records.len, &hello);
			arena_clear(&arena);
		}
	arena_done(&arena);
}

static void records_without_number(void **state)
{
	struct made message = example(), records = records_of(&message, 1);
	struct tls_hello hello;
	struct arena arena;

	(void)state;
	arena_init(&arena, 0);
	assert_int_equal(TLS_HELLO_MALFORMED, parse(&arena, &records, records.len, &hello));
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_it_says),
	    cmocka_unit_test(in_pieces),
	    cmocka_unit_test(kinds_of_certificates),
	    cmocka_unit_test(names),
	    cmocka_unit_test(versions),
	    cmocka_unit_test(no_hello),
	    cmocka_unit_test(lengths_that_lie),
	    cmocka_unit_test(records_without_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
