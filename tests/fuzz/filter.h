/* filter: the body of the two fuzzers of what users write: a text in their language is compiled, or refused with a
 * reason. */
#ifndef FUZZ_FILTER_H
#define FUZZ_FILTER_H

#include "filter/filter.h"

static inline int filter_compiled_or_refused(enum filter_language language, const uint8_t *data, size_t size)
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
	rc = filter_check(&arena, language, text, &err);
	ASSERT(rc == OK || (rc == FAIL && err.text.len > 0));
	arena_done(&arena);
	return 0;
}

#endif
