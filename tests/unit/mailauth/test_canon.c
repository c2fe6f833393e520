/* Canonical forms and hashes on random text, by another and slower way each: SHA-256 by the processor and by the library, bodies and
 * fields beside a reference that looks at one character after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mailauth/dkim.h"
#include "base/codec.h"

static uint64_t seed = 1;

static unsigned chance(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % below;
}

static void test_sha256(void **state)
{
	static unsigned char bytes[1000];
	uint8_t soft_digest[32], digest[32], copied[32];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)chance(256);
	for (unsigned size = 0; size < sizeof(bytes); size++) {
		struct sha256 soft, sha, copy;
		unsigned at = 0, part;

		sha256_init(&soft, true);
		assert_false(soft.hard);
		sha256_update(&soft, bytes, size);
		sha256_final(&soft, soft_digest);
		sha256_init(&sha, false);
		for (; at < size / 2; at += part) {
			part = 1 + chance(size / 2 - at);
			sha256_update(&sha, bytes + at, part);
		}
		sha256_copy(&copy, &sha);
		sha256_update(&copy, bytes + at, size - at);
		sha256_update(&sha, bytes + at, size - at);
		sha256_final(&sha, digest);
		sha256_final(&copy, copied);
		assert_memory_equal(digest, soft_digest, 32);
		assert_memory_equal(copied, soft_digest, 32);
	}
}

/* Hashes that wait for the blocks of another, whose text comes in pieces; some are wanted before it ends. */
static void test_sha256_beside(void **state)
{
	static unsigned char bytes[4000], texts[3][600];
	uint8_t digest[32], soft_digest[32];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)chance(256);
	for (unsigned i = 0; i < sizeof(texts); i++)
		((unsigned char *)texts)[i] = (unsigned char)chance(256);
	for (unsigned round = 0; round < 2000; round++) {
		bool by_software = round % 8 == 0;
		struct sha256_waiting waiting[3], *line = NULL;
		unsigned size = chance(sizeof(bytes)), front[3], len[3], part, done = 0;
		struct sha256 sha, soft, own[3];

		sha256_init(&sha, by_software);
		for (unsigned i = 0; i < 3; i++) {
			front[i] = chance(100);
			len[i] = chance(500);
			sha256_init(&own[i], by_software);
			sha256_update(&own[i], texts[i], front[i]);
			sha256_wait(&line, &waiting[i], &own[i], texts[i] + front[i], len[i]);
		}
		for (unsigned at = 0; at < size; at += part) {
			part = 1 + chance(chance(4) ? 200 : size - at);
			part = part < size - at ? part : size - at;
			sha256_update_beside(&sha, bytes + at, part, &line);
			if (done < 3 && chance(8) == 0)
				sha256_wait_end(&line, &waiting[done++]);
		}
		for (unsigned i = 3; i-- > done;)
			sha256_wait_end(&line, &waiting[i]);
		assert_null(line);
		for (unsigned i = 0; i < 4; i++) {
			sha256_init(&soft, true);
			sha256_update(&soft, i < 3 ? texts[i] : bytes, i < 3 ? front[i] + len[i] : size);
			sha256_final(&soft, soft_digest);
			sha256_final(i < 3 ? &own[i] : &sha, digest);
			assert_memory_equal(digest, soft_digest, 32);
		}
	}
}

/* FIPS 180-2 appendix B, and a million letters in pieces. */
static void test_sha256_vectors(void **state)
{
	static const unsigned char abc[32] = {
	    0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
	    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
	static const unsigned char million[32] = {
	    0xcd, 0xc7, 0x6e, 0x5c, 0x99, 0x14, 0xfb, 0x92, 0x81, 0xa1, 0xc7, 0xe2, 0x84, 0xd7, 0x3e, 0x67,
	    0xf1, 0x80, 0x9a, 0x48, 0xa4, 0x97, 0x20, 0x0e, 0x04, 0x6d, 0x39, 0xcc, 0xc7, 0x11, 0x2c, 0xd0};
	static char letters[1000];
	uint8_t digest[32];
	struct sha256 sha;

	(void)state;
	sha256_init(&sha, false);
	sha256_update(&sha, "abc", 3);
	sha256_final(&sha, digest);
	assert_memory_equal(digest, abc, 32);
	memset(letters, 'a', sizeof(letters));
	sha256_init(&sha, false);
	for (unsigned i = 0; i < 1000; i++)
		sha256_update(&sha, letters, sizeof(letters));
	sha256_final(&sha, digest);
	assert_memory_equal(digest, million, 32);
}

/* ---- Bodies ----------------------------------------------------------------------------------------------- */

/* RFC 6376 section 3.4.4, in the order in which it is written there. out: room for len + 2. */
static size_t relaxed_body(const char *body, size_t len, char *out)
{
	size_t made = 0;

	for (size_t i = 0; i < len;) {
		size_t start = i;
		bool line_end;

		while (i < len && (body[i] == ' ' || body[i] == '\t'))
			i++;
		line_end = i == len || (i + 1 < len && body[i] == '\r' && body[i + 1] == '\n');
		if (i > start && !line_end)
			out[made++] = ' ';
		if (i < len)
			out[made++] = body[i++];
	}
	/* The line ends at the end are one, or none if there is nothing else. */
	while (made >= 2 && out[made - 2] == '\r' && out[made - 1] == '\n')
		made -= 2;
	if (made) {
		out[made++] = '\r';
		out[made++] = '\n';
	}
	return made;
}

static size_t random_body(char *out, size_t room)
{
	static const char *const words[] = {"a",    "word",     "of", "eight b.", " ",    "  ", "\t",
					    "\r\n", "\r\n\r\n", "\r", "\n",       "\x80", "="};
	size_t len = 0;

	for (;;) {
		const char *word = words[chance(chance(3) ? 5 : ARRAY_COUNT(words))];
		if (len + strlen(word) > room || !chance(400))
			return len;
		memcpy(out + len, word, strlen(word));
		len += strlen(word);
	}
}

static void test_bodies(void **state)
{
	static char body[3000], canonical[3002];

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		size_t len = random_body(body, sizeof(body)), at = 0;
		size_t canonical_len = relaxed_body(body, len, canonical);
		struct body_hashes hashes = {.count = 0};
		struct body_hash *found;
		struct arena arena;
		uint8_t expected[32];
		struct sha256 sha;

		sha256_init(&sha, false);
		sha256_update(&sha, canonical, canonical_len);
		sha256_final(&sha, expected);
		arena_init(&arena, 0);
		found = body_hashes_want(&arena, &hashes, true, HASH_SHA256, UINT64_MAX);
		while (at < len) {
			size_t part = 1 + chance((unsigned)(len - at));
			body_hashes_add(&hashes, body + at, part);
			at += part;
		}
		body_hashes_end(&hashes);
		if (memcmp(found->digest, expected, 32) != 0)
			print_error("seed of round %u, %zu bytes: %.*s\n", round, len, (int)len, body);
		assert_memory_equal(found->digest, expected, 32);
		arena_done(&arena);
	}
}

/* ---- Header fields ----------------------------------------------------------------------------------------- */

/* Section 3.4.2, step by step. out: room for len + 2. */
static size_t relaxed_field(const char *field, size_t len, size_t skip, size_t skip_end, bool last, char *out)
{
	size_t made = 0, colon = 0, value;

	if (len && field[len - 1] == '\n')
		len--;
	if (len && field[len - 1] == '\r')
		len--;
	while (colon < len && field[colon] != ':')
		colon++;
	for (size_t i = 0; i < colon; i++)
		out[made++] = field[i] >= 'A' && field[i] <= 'Z' ? (char)(field[i] + 32) : field[i];
	while (made && (out[made - 1] == ' ' || out[made - 1] == '\t'))
		made--;
	if (colon < len)
		out[made++] = ':';
	value = made;
	for (size_t i = colon + 1; i < len; i++) {
		if (i >= skip && i < skip_end)
			continue;
		if (field[i] == '\n' || (field[i] == '\r' && i + 1 < len && field[i + 1] == '\n'))
			continue;
		if (field[i] != ' ' && field[i] != '\t')
			out[made++] = field[i];
		else if (made > value && out[made - 1] != ' ')
			out[made++] = ' ';
	}
	while (made > value && out[made - 1] == ' ')
		made--;
	if (!last) {
		out[made++] = '\r';
		out[made++] = '\n';
	}
	return made;
}

static size_t random_field(char *out, size_t room)
{
	static const char *const words[] = {
	    "a",  "Word", "of",   "eight b.", "=",   "Zm9vYmFyZm9vYmFyZm9vYmFy",
	    " ",  " ",    "  ",   "\t",       "\n ", "\r\n\t",
	    "\r", "\x01", "\x80", ":"};
	size_t len = 0;

	memcpy(out, "X-Name : ", 9);
	for (len = chance(8) ? 7 + chance(3) : 0;;) {
		const char *word = words[chance(chance(3) ? 8 : ARRAY_COUNT(words))];
		if (len + strlen(word) > room || !chance(60))
			return len;
		memcpy(out + len, word, strlen(word));
		len += strlen(word);
	}
}

static void test_fields(void **state)
{
	static char field[1500], canonical[1502];

	(void)state;
	for (unsigned round = 0; round < 5000; round++) {
		size_t len = random_field(field, sizeof(field)), skip = 0, skip_end = 0, canonical_len;
		const char *colon = memchr(field, ':', len);
		uint8_t expected[32], found[32];
		bool last = chance(2);
		struct hash_sink sink;
		struct hash hash;

		/* What is left out is a whole value: what stands around it is not white space, or the end. */
		if (colon && chance(2) && (size_t)(colon - field) + 2 < len) {
			const char *equal = memchr(colon, '=', len - (size_t)(colon - field));

			if (equal) {
				const char *next = memchr(equal + 1, '=', len - (size_t)(equal + 1 - field));
				skip = (size_t)(equal + 1 - field);
				skip_end = next ? (size_t)(next - field) : len;
			}
		}
		canonical_len = relaxed_field(field, len, skip, skip_end, last, canonical);
		hash_init(&hash, HASH_SHA256);
		hash_update(&hash, canonical, canonical_len);
		hash_final(&hash, expected);
		hash_init(&hash, HASH_SHA256);
		hash_sink_init(&sink, &hash);
		canon_field(&sink, slice_make(field, len, TAINTED), true, (uint32_t)skip, (uint32_t)skip_end,
			    last);
		hash_sink_flush(&sink);
		hash_final(&hash, found);
		if (memcmp(found, expected, 32) != 0)
			print_error("round %u, %zu bytes, without %zu to %zu: %.*s\n", round, len, skip,
				    skip_end, (int)len, field);
		assert_memory_equal(found, expected, 32);
		assert_int_equal(sink.total, canonical_len);
	}
}

/* Each name takes its fields from the bottom up, few or many: as a search through all of them does. */
static void test_field_index(void **state)
{
	static const char *const names[] = {"From",     "from ", "FROM\t", "To",   "Subject", "X-Subjecs",
					    "Received", "",      ":x",     "Date", "X-A",     "X-B"};
	struct slice fields[150];
	bool taken[150];

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		unsigned count = chance(3) ? chance(16) : 55 + chance(95);
		struct field_index index;
		struct arena arena;

		arena_init(&arena, 0);
		for (unsigned i = 0; i < count; i++)
			fields[i] = arena_printf(&arena, chance(9) ? "%s: text\n" : "%s",
						 names[chance(ARRAY_COUNT(names))]);
		assert_true(field_index_init(&index, &arena, fields, count));
		for (unsigned signature = 0; signature < 2; signature++) {
			field_index_begin(&index);
			memset(taken, 0, sizeof(taken));
			for (unsigned i = 0; i < 40; i++) {
				struct slice name = slice_trim(slice_of(names[chance(ARRAY_COUNT(names))]));
				uint32_t expected = count;

				if (!name.len)
					continue;
				while (expected-- > 0)
					if (!taken[expected] &&
					    slice_eq_nocase(field_name_of(fields[expected]), name))
						break;
				if (expected < count)
					taken[expected] = true;
				assert_int_equal(field_index_take(&index, name), expected);
			}
		}
		arena_done(&arena);
	}
}

/* ---- Base64 ------------------------------------------------------------------------------------------------ */

static void test_base64(void **state)
{
	static const struct {
		const char *text, *bytes; /* NULL: refused */
	} rows[] = {{"", ""},
		    {"Zg==", "f"},
		    {"Zm8=", "fo"},
		    {"Zm9v", "foo"},
		    {"Zm9vYg==", "foob"},
		    {"Zm9vYmE=", "fooba"},
		    {"Zm9vYmFy", "foobar"},
		    {"Zg=", NULL},
		    {"Zg", NULL},
		    {"Z===", NULL},
		    {"====", NULL},
		    {"Zg==Zg==", NULL},
		    {"Zm9=Zm9v", NULL},
		    {"Zm 9", NULL},
		    {"Zm9\xff", NULL},
		    {"=m9v", NULL},
		    {"Z=9v", NULL},
		    {"Zm=v", NULL},
		    {"Zm9-", NULL},
		    {"Zh==", "f"}};
	char made[300];

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct arena arena;
		struct str out;
		bool good;

		arena_init(&arena, 0);
		out = str_make(&arena);
		good = base64_decode(&out, slice_of(rows[i].text));
		if (good != (rows[i].bytes != NULL))
			print_error("row %u\n", i);
		assert_true(good == (rows[i].bytes != NULL));
		if (good)
			assert_true(out.len == strlen(rows[i].bytes) &&
				    memcmp(out.len ? out.ptr : "", rows[i].bytes, out.len) == 0);
		arena_done(&arena);
	}
	for (unsigned size = 0; size < sizeof(made); size++) {
		struct arena arena;
		struct str text, back;

		arena_init(&arena, 0);
		text = str_make(&arena);
		back = str_make(&arena);
		for (unsigned i = 0; i < size; i++)
			made[i] = (char)chance(256);
		base64_encode(&text, slice_make(made, size, CLEAN));
		assert_true(base64_decode(&back, str_slice(&text)) && back.len == size);
		assert_true(!size || memcmp(back.ptr, made, size) == 0);
		arena_done(&arena);
	}
}

/* Each byte at each place of a long text: good exactly when it is one of the alphabet. */
static void test_base64_alphabet(void **state)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[64];

	(void)state;
	for (unsigned at = 0; at < sizeof(text) - 4; at++)
		for (unsigned c = 0; c < 256; c++) {
			const char *value = c ? strchr(alphabet, (int)c) : NULL;
			unsigned shift = 18 - at % 4 * 6, group;
			struct arena arena;
			struct str out;

			memset(text, 'A', sizeof(text));
			text[at] = (char)c;
			arena_init(&arena, 0);
			out = str_make(&arena);
			assert_true(base64_decode(&out, slice_make(text, sizeof(text), CLEAN)) ==
				    (value != NULL));
			for (unsigned i = 0; value && i < out.len; i++) {
				group = i / 3 == at / 4 ? (unsigned)(value - alphabet) << shift : 0;
				assert_int_equal((unsigned char)out.ptr[i], group >> (16 - i % 3 * 8) & 255);
			}
			arena_done(&arena);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sha256),          cmocka_unit_test(test_sha256_beside),
	    cmocka_unit_test(test_sha256_vectors),  cmocka_unit_test(test_bodies),
	    cmocka_unit_test(test_fields),          cmocka_unit_test(test_base64),
	    cmocka_unit_test(test_base64_alphabet), cmocka_unit_test(test_field_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
