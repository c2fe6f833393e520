/* Any bytes as the body of an Authentication-Results field, and as a list of tags. */
#include <stddef.h>
#include <stdint.h>

#include "mailauth/mailauth.h"
#include "mailauth/tag.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct slice text = slice_make((const char *)bytes, size > 65536 ? 65536 : size, TAINTED);
	struct authres results;
	struct tag_list list;
	struct arena arena;
	struct err err;
	enum rc rc;

	arena_init(&arena, 0);
	err = err_make(&arena);
	rc = authres_parse(&arena, text, &results, &err);
	ASSERT(rc == OK || rc == FAIL);
	if (rc == OK) {
		ASSERT(results.id.len && results.method_count <= AUTHRES_METHODS_MAX);
		for (unsigned i = 0; i < results.method_count; i++)
			ASSERT(results.methods[i].method.len && results.methods[i].result.len);
	}
	if (tag_list_parse(text, &list, &err) == OK)
		for (unsigned i = 0; i < list.count; i++)
			ASSERT(list.tags[i].name.len && list.tags[i].end <= text.len &&
			       list.tags[i].start <= list.tags[i].end);
	arena_done(&arena);
	return 0;
}
