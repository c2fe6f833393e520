/* Sieve scripts: whatever a user writes is compiled or refused. */
#include "filter/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	struct err err;
	struct slice text;
	enum rc rc;

	if (size > 65536)
		return 0;
	arena_init(&arena, 64u * 1024 * 1024);
	err = err_make(&arena);
	text = slice_make((const char *)data, size, TAINTED);
	(void)filter_language(text);
	rc = filter_check(&arena, FILTER_SIEVE, text, &err);
	ASSERT(rc == OK || (rc == FAIL && err.text.len > 0));
	arena_done(&arena);
	return 0;
}
