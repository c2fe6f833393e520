/* Files in the lsearch format from hostile bytes: every key that the lines show must be found by the index
 * that is built over them, with the first line that has it. */

#include "lookup/lsearch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = slice_make((const char *)data, size, CLEAN), rest = bytes, line, key, after,
		     value;
	void *built = NULL;
	size_t cost = 0;
	struct arena arena;
	struct err err;

	if (size > 65536)
		return 0;
	arena_init(&arena, 256 << 20);
	err = err_make(&arena);
	if (lsearch_file_kind.build(bytes, &built, &cost) != OK)
		abort();
	while (lsearch_next(&rest, &line)) {
		struct slice record = slice_from(bytes, (size_t)(line.ptr - bytes.ptr)), found;
		char *room = malloc(line.len);

		key = lsearch_key(line, room, &after);
		ASSERT(lsearch_index_find(built, bytes, key, &found));
		ASSERT(found.ptr <= record.ptr);
		ASSERT(lsearch_value(&arena, record, false, &value, &err) == OK);
		ASSERT(lsearch_value(&arena, record, true, &value, &err) == OK);
		free(room);
	}
	lsearch_file_kind.free(built);
	arena_done(&arena);
	return 0;
}
