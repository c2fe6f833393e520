/* Slices, growing strings, numbers and codes at their edges: what every room takes for granted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/base.h"

static void assert_slice(struct slice got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.ptr, want, got.len);
}

static int arena_open(void **state)
{
	static struct arena arena;

	arena_init(&arena, 1 << 20);
	*state = &arena;
	return 0;
}

static int arena_close(void **state)
{
	arena_done(*state);
	return 0;
}

static void numbers(void **state)
{
	static const char *const refused[] = {"",   " 1", "1 ", "+1", "1x", "0x1", "18446744073709551616",
					      "--1"};
	uint64_t u = 7;
	int64_t i = 7;

	(void)state;
	assert_true(parse_u64(SLICE("18446744073709551615"), &u) && u == UINT64_MAX);
	assert_true(parse_u64(SLICE("000"), &u) && u == 0);
	assert_true(parse_i64(SLICE("-9223372036854775808"), &i) && i == INT64_MIN);
	assert_true(parse_i64(SLICE("9223372036854775807"), &i) && i == INT64_MAX);
	u = i = 7;
	for (unsigned n = 0; n < ARRAY_COUNT(refused); n++)
		assert_false(parse_u64(slice_of(refused[n]), &u));
	assert_false(parse_u64(SLICE("-1"), &u));
	assert_false(parse_i64(SLICE("9223372036854775808"), &i));
	assert_false(parse_i64(SLICE("-9223372036854775809"), &i));
	assert_false(parse_i64(SLICE("-"), &i));
	assert_int_equal(u, 7);
	assert_int_equal(i, 7);
}

static void utf8(void **state)
{
	static const struct {
		uint32_t code_point;
		const char *want;
	} rows[] = {
	    {0x7f, "\x7f"},
	    {0x80, "\xc2\x80"},
	    {0x7ff, "\xdf\xbf"},
	    {0x800, "\xe0\xa0\x80"},
	    {0xd7ff, "\xed\x9f\xbf"},
	    {0xd800, "\xef\xbf\xbd"}, /* a surrogate is no character */
	    {0xdfff, "\xef\xbf\xbd"},
	    {0xe000, "\xee\x80\x80"},
	    {0xffff, "\xef\xbf\xbf"},
	    {0x10000, "\xf0\x90\x80\x80"},
	    {0x10ffff, "\xf4\x8f\xbf\xbf"},
	    {0x110000, "\xef\xbf\xbd"},
	};

	for (unsigned n = 0; n < ARRAY_COUNT(rows); n++) {
		struct str str = str_make(*state);

		str_add_utf8(&str, rows[n].code_point);
		assert_slice(str_slice(&str), rows[n].want);
		assert_int_equal(utf8_sequence(str_slice(&str)), strlen(rows[n].want));
	}
	/* Overlong, a surrogate, too great, cut off, a stray continuation. */
	assert_false(utf8_valid(SLICE("\xc0\x80")));
	assert_false(utf8_valid(SLICE("\xe0\x9f\xbf")));
	assert_false(utf8_valid(SLICE("\xed\xa0\x80")));
	assert_false(utf8_valid(SLICE("\xf4\x90\x80\x80")));
	assert_false(utf8_valid(SLICE("a\xc3")));
	assert_false(utf8_valid(SLICE("\x80")));
	assert_true(utf8_valid(SLICE("")));
}

static void codes(void **state)
{
	static const char *const base64_refused[] = {"Zg", "Zg=", "Zg==\n", "Z===", "Zm9v=", "Zm 9v"};
	static const char *const xtext_refused[] = {"a b", "a=b", "a+4", "a+4g", "+"};
	struct str str = str_make(*state);
	uint64_t number;

	base64_encode(&str, SLICE("foob"));
	assert_slice(str_slice(&str), "Zm9vYg==");
	for (unsigned n = 0; n < ARRAY_COUNT(base64_refused); n++) {
		str_clear(&str);
		str_addz(&str, "kept");
		assert_false(base64_decode(&str, slice_of(base64_refused[n])));
		assert_slice(str_slice(&str), "kept");
	}
	str_clear(&str);
	xtext_encode(&str, SLICE("a+b=c d\x01\xff"));
	assert_slice(str_slice(&str), "a+2Bb+3Dc+20d+01+FF");
	for (unsigned n = 0; n < ARRAY_COUNT(xtext_refused); n++) {
		str_clear(&str);
		assert_false(xtext_decode(&str, slice_of(xtext_refused[n])));
		assert_int_equal(str.len, 0);
	}
	assert_true(base62_decode(SLICE("00000z"), &number) && number == 61);
	assert_false(base62_decode(SLICE("zzzzzzzzzzzz"), &number));
	assert_false(base62_decode(SLICE("a-b"), &number));
	str_clear(&str);
	assert_false(hex_decode(&str, SLICE("abc")));
	assert_false(hex_decode(&str, SLICE("ag")));
	assert_true(hex_decode(&str, SLICE("aB00")));
	assert_int_equal(str.len, 2);
}

static void slices(void **state)
{
	struct slice rest = SLICE("a::b"), part;

	(void)state;
	assert_true(slice_split(&rest, ':', &part));
	assert_slice(part, "a");
	assert_true(slice_split(&rest, ':', &part));
	assert_slice(part, "");
	assert_true(slice_split(&rest, ':', &part));
	assert_slice(part, "b");
	assert_false(slice_split(&rest, ':', &part));
	assert_slice(slice_trim(SLICE(" \t\r\n\v\fx y ")), "x y");
	assert_slice(slice_sub(SLICE("abc"), 2, SIZE_MAX), "c");
	assert_slice(slice_sub(SLICE("abc"), 9, 9), "");
	assert_true(slice_cmp(SLICE("ab"), SLICE("abc")) < 0);
	assert_true(slice_cmp_nocase(SLICE("AB"), SLICE("ab")) == 0);
	assert_true(slice_eq_nocase(SLICE("\xc3\x84"), SLICE("\xc3\x84")));
	assert_false(slice_eq_nocase(SLICE("@"), SLICE("`"))); /* 32 apart, and no letters */
	/* Of any length, wherever the difference is. */
	for (unsigned len = 1; len < 40; len++) {
		char x[40], y[40];

		for (unsigned i = 0; i < len; i++) {
			x[i] = "AbZz@[`{09\xc1\xe1"[(i * 7 + len) % 12];
			y[i] = i % 2 ? ascii_lower(x[i]) : ascii_upper(x[i]);
		}
		assert_true(slice_eq_nocase(slice_make(x, len, CLEAN), slice_make(y, len, CLEAN)));
		for (unsigned i = 0; i < len; i++) {
			char kept = y[i];

			y[i] = (char)(kept ^ (ascii_is_alpha(kept) ? 0x01 : 0x20));
			assert_false(slice_eq_nocase(slice_make(x, len, CLEAN), slice_make(y, len, CLEAN)));
			y[i] = kept;
		}
	}
	assert_int_equal(slice_search(SLICE("aab"), SLICE("ab")), 1);
	assert_int_equal(slice_search(SLICE("aab"), SLICE("aabc")), -1);
}

static void taint(void **state)
{
	struct str str = str_make(*state);

	str_addz(&str, "clean ");
	assert_int_equal(str_slice(&str).taint, CLEAN);
	str_add(&str, slice_tainted(SLICE("theirs")));
	assert_int_equal(str_slice(&str).taint, TAINTED);
	assert_int_equal(slice_sub(str_slice(&str), 0, 3).taint, TAINTED);
	str_clear(&str);
	assert_int_equal(str_slice(&str).taint, CLEAN);
}

/* Two that grow by turns stand in each other's way; one alone grows where it is. */
static void growing(void **state)
{
	struct str one = str_make(*state), other = str_make(*state), alone;
	const char *place;

	for (unsigned i = 0; i < 500; i++) {
		str_addc(&one, (char)('a' + i % 26));
		str_addz(&other, "xyz");
		str_addc(&other, (char)('a' + i % 26));
	}
	assert_int_equal(one.len, 500);
	assert_int_equal(other.len, 2000);
	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(one.ptr[i], 'a' + i % 26);
		assert_int_equal(other.ptr[i * 4 + 2], 'z');
		assert_int_equal(other.ptr[i * 4 + 3], 'a' + i % 26);
	}
	alone = str_make(*state);
	str_addc(&alone, 'a');
	place = alone.ptr;
	for (unsigned i = 0; i < 200; i++)
		str_addc(&alone, 'a');
#ifndef SLUICE_SANITIZE /* there each piece is a block of its own */
	assert_ptr_equal(alone.ptr, place);
	assert_true(arena_extend(*state, alone.ptr + alone.room, 1));
	assert_false(arena_extend(*state, alone.ptr + alone.room, 1));
	assert_false(arena_extend(*state, alone.ptr + alone.room + 1, 1 << 20));
#endif
	(void)place;
	assert_false(str_reserve(&alone, 2u << 20)); /* past the arena's limit */
	assert_true(alone.failed);
	str_addc(&alone, 'a');
	assert_null(str_slice(&alone).ptr);
}

static char *line(char *room, size_t size, size_t max, int *len_ret, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = line_vformat(room, size, max, len_ret, format, args);
	va_end(args);
	return text;
}

/* What fits is in the room, what does not has its own, and no line is longer than allowed. */
static void lines(void **state)
{
	char room[8], *text;
	int len;

	(void)state;
	assert_ptr_equal(line(room, sizeof(room), 12, &len, "%s", "seven 7"), room);
	assert_int_equal(len, 7);
	text = line(room, sizeof(room), 12, &len, "%s %d", "eight", 88);
	assert_ptr_not_equal(text, room);
	assert_int_equal(len, 8);
	assert_string_equal(text, "eight 88");
	free(text);
	text = line(room, sizeof(room), 12, &len, "%s", "thirteen long");
	assert_int_equal(len, 12);
	assert_string_equal(text, "thirteen lon");
	free(text);
}

static void printable(void **state)
{
	struct str str = str_make(*state);

	str_add_printable(&str, SLICE(" a~\x7f\n\0\xc3\xa9"));
	assert_slice(str_slice(&str), " a~\\177\\012\\000\\303\\251");
	str_add_printable(&str, slice_tainted(SLICE("x")));
	assert_int_equal(str_slice(&str).taint, TAINTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers),
	    cmocka_unit_test_setup_teardown(utf8, arena_open, arena_close),
	    cmocka_unit_test_setup_teardown(codes, arena_open, arena_close),
	    cmocka_unit_test(slices),
	    cmocka_unit_test_setup_teardown(taint, arena_open, arena_close),
	    cmocka_unit_test_setup_teardown(growing, arena_open, arena_close),
	    cmocka_unit_test(lines),
	    cmocka_unit_test_setup_teardown(printable, arena_open, arena_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
