/* Certificates and proofs taken out of a server's handshake: both versions, each cipher, cut into records in odd places, and
 * damaged at each byte. */
#include "fixture.h"
#include "flight.h"

static struct flight_key key(unsigned suite)
{
	struct flight_key k = {.suite = suite};

	for (unsigned i = 0; i < sizeof(k.key); i++)
		k.key[i] = (uint8_t)(i * 7 + suite);
	for (unsigned i = 0; i < sizeof(k.iv); i++)
		k.iv[i] = (uint8_t)(i * 3 + suite);
	return k;
}

static struct slice message(unsigned type, struct slice body)
{
	struct str str = str_make(&arena);

	put_number(&str, type, 1);
	put_vector(&str, 3, body);
	return str_slice(&str);
}

/* Certificate, as TLS 1.2 (RFC 5246 section 7.4.2) or TLS 1.3 has it, with the proof at the first of two. */
static struct slice certificates(bool tls13, struct slice proof)
{
	struct str list = str_make(&arena), body = str_make(&arena);

	for (unsigned i = 0; i < 2; i++) {
		struct str extensions = str_make(&arena), status = str_make(&arena);

		put_vector(&list, 3, certificate(i ? "ca.pem" : "leaf.pem").whole);
		if (!tls13)
			continue;
		put_number(&status, 1, 1);
		put_vector(&status, 3, proof);
		put_number(&extensions, 18, 2); /* some other extension */
		put_vector(&extensions, 2, SLICE("abc"));
		if (proof.len && !i) {
			put_number(&extensions, 5, 2);
			put_vector(&extensions, 2, str_slice(&status));
		}
		put_vector(&list, 2, str_slice(&extensions));
	}
	if (tls13)
		put_number(&body, 0, 1);
	put_vector(&body, 3, str_slice(&list));
	return message(11, str_slice(&body));
}

static struct slice status(struct slice proof)
{
	struct str body = str_make(&arena);

	put_number(&body, 1, 1);
	put_vector(&body, 3, proof);
	return message(22, str_slice(&body));
}

/* As it would come: so many bytes at a time, with the key when it is asked for. */
static bool read_back(struct slice bytes, size_t step, const struct flight_key *k, struct flight_shown *shown)
{
	struct flight flight = {.bytes = NULL};
	bool fine;

	while (bytes.len) {
		struct slice part = slice_sub(bytes, 0, step);

		if (flight_add(&flight, part) && k) {
			flight.key = *k;
			flight.keyed = true;
		}
		bytes = slice_from(bytes, part.len);
	}
	fine = flight_read(&arena, &flight, shown);
	/* They have to outlive the flight. */
	if (fine && shown->proof.len)
		shown->proof = arena_copy(&arena, shown->proof);
	for (unsigned i = 0; fine && i < shown->cert_count; i++)
		shown->certs[i] = arena_copy(&arena, shown->certs[i]);
	flight_done(&flight);
	return fine;
}

static void check(const struct flight_shown *shown, struct slice proof)
{
	assert_int_equal(shown->cert_count, 2);
	assert_true(slice_eq(shown->certs[0], certificate("leaf.pem").whole));
	assert_true(slice_eq(shown->certs[1], certificate("ca.pem").whole));
	assert_true(slice_eq(shown->proof, proof));
}

/* Records of at most so many bytes; after those in the clear, noise that is encrypted. */
static struct slice flight12(struct slice proof, size_t piece)
{
	struct str messages = str_make(&arena), records = str_make(&arena);
	struct slice rest;

	str_add(&messages, message(2, SLICE("a server's hello")));
	str_add(&messages, certificates(false, SLICE_EMPTY));
	if (proof.len)
		str_add(&messages, status(proof));
	str_add(&messages, message(12, SLICE("\x03\x00\x17\x05point\x06\x03\x00\x04sign")));
	str_add(&messages, message(14, SLICE_EMPTY));
	for (rest = str_slice(&messages); rest.len; rest = slice_from(rest, slice_sub(rest, 0, piece).len))
		put_record(&records, 22, slice_sub(rest, 0, piece));
	put_record(&records, 20, SLICE("\1"));
	put_record(&records, 22, SLICE("\x0b\x00\x00\x02xx this is encrypted"));
	return str_slice(&records);
}

static struct slice flight13(struct slice proof, size_t piece, const struct flight_key *k)
{
	struct str messages = str_make(&arena), records = str_make(&arena);
	struct slice rest;
	uint64_t sequence = 0;

	/* A HelloRetryRequest and the record for old boxes on the way come first. */
	put_record(&records, 22, message(2, SLICE("try again")));
	put_record(&records, 20, SLICE("\1"));
	put_record(&records, 22, message(2, SLICE("a server's hello")));
	str_add(&messages, message(8, SLICE("extensions")));
	str_add(&messages, certificates(true, proof));
	str_add(&messages, message(15, SLICE("\x08\x04\x00\x04sign")));
	str_add(&messages, message(20, SLICE("finished")));
	for (rest = str_slice(&messages); rest.len; rest = slice_from(rest, slice_sub(rest, 0, piece).len)) {
		put_sealed(&records, k, sequence, 22, slice_sub(rest, 0, piece), (unsigned)(sequence % 3));
		sequence++;
	}
	put_record(&records, 23, SLICE("under other keys: this is no longer ours to read"));
	return str_slice(&records);
}

static void test_both_versions(void **state)
{
	static const unsigned suites[] = {0x1301, 0x1302, 0x1303, 0x1304, 0x1305};
	struct slice proof = data_file("good.der");
	struct flight_shown shown;

	(void)state;
	for (size_t piece = 40; piece < 16000; piece *= 5) {
		assert_true(read_back(flight12(proof, piece), piece / 2, NULL, &shown));
		check(&shown, proof);
		assert_int_equal(shown.scheme, 0x0603);
		assert_true(read_back(flight12(SLICE_EMPTY, piece), 5, NULL, &shown));
		check(&shown, SLICE_EMPTY);
		for (unsigned i = 0; i < ARRAY_COUNT(suites); i++) {
			struct flight_key k = key(suites[i]);

			assert_true(read_back(flight13(proof, piece, &k), piece / 3, &k, &shown));
			check(&shown, proof);
			assert_int_equal(shown.scheme, 0x0804);
			assert_true(read_back(flight13(SLICE_EMPTY, piece, &k), 7, &k, &shown));
			check(&shown, SLICE_EMPTY);
		}
	}
}

static void test_wrong_key(void **state)
{
	struct flight_key right = key(0x1301), wrong = key(0x1302);
	struct slice bytes = flight13(data_file("good.der"), 300, &right);
	struct flight_shown shown;

	(void)state;
	assert_false(read_back(bytes, 5, &wrong, &shown));
	assert_false(read_back(bytes, 5, NULL, &shown));
}

/* Nothing is read past the end, whatever a length says. */
static void test_damage(void **state)
{
	struct flight_key k = key(0x1303);
	struct slice whole[] = {flight12(data_file("good.der"), 1000),
				flight13(data_file("good.der"), 1000, &k)};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		for (uint32_t cut = 0; cut < whole[i].len; cut += 3) {
			struct flight flight = {.bytes = NULL};
			struct flight_shown shown;
			struct arena scratch;
			char *bytes;

			arena_init(&scratch, 0);
			bytes = arena_bytes(&scratch, whole[i].len);
			memcpy(bytes, whole[i].ptr, whole[i].len);
			bytes[cut] ^= 0x55;
			if (flight_add(&flight, slice_make(bytes, cut % 2 ? whole[i].len : cut, TAINTED)))
				flight.key = k;
			flight.keyed = true;
			(void)flight_read(&scratch, &flight, &shown);
			flight_done(&flight);
			arena_done(&scratch);
		}
	}
}

static void test_too_much(void **state)
{
	struct flight flight = {.bytes = NULL};
	struct flight_shown shown;

	(void)state;
	for (unsigned i = 0; i <= FLIGHT_MAX / 1024; i++)
		(void)flight_add(&flight, slice_make(arena_bytes(&arena, 1024), 1024, TAINTED));
	assert_true(flight.failed);
	assert_false(flight_read(&arena, &flight, &shown));
	flight_done(&flight);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_both_versions, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_wrong_key, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_too_much, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
