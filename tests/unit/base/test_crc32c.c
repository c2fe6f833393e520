/* CRC-32C by whatever instructions there are gives what the definition says, for every length and in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/base.h"

static uint32_t by_definition(uint32_t crc, const unsigned char *p, size_t len)
{
	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		for (int k = 0; k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

static void known_values(void **state)
{
	unsigned char bytes[32] = {0};

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aau); /* RFC 3720 B.4 */
	memset(bytes, 0xff, 32);
	assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43u);
	assert_int_equal(crc32c(0, "", 0), 0);
}

static void every_length(void **state)
{
	size_t size = 20000;
	unsigned char *bytes = malloc(size);

	(void)state;
	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(i * i * 2654435761u >> 13);
	for (size_t len = 0; len < size - 8; len += len < 100 ? 1 : len % 61 + 1) {
		const unsigned char *at = bytes + len % 8; /* any alignment */
		uint32_t expected = by_definition(0x1234, at, len);
		size_t part = len / 3;

		assert_int_equal(crc32c(0x1234, at, len), expected);
		assert_int_equal(crc32c(crc32c(0x1234, at, part), at + part, len - part), expected);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(known_values), cmocka_unit_test(every_length)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
