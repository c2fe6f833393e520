/* Alias and forward lists: the parser ends, takes something with each item, and gives no address that could not be one. */
#include <stddef.h>
#include <stdint.h>

#include "route/redirect_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make((const char *)data, size > 65536 ? 65536 : size, TAINTED), rest = text,
		     code = text;
	struct redirect_item item;
	struct arena arena;

	arena_init(&arena, 256 << 20);
	while (redirect_next(&arena, &rest, &item)) {
		ASSERT(rest.len < text.len || text.len == 0);
		switch (item.kind) {
		case REDIRECT_ADDRESS:
			ASSERT(item.text.len > 0 && slice_find(item.text, '\n') < 0);
			ASSERT(item.unqualified || slice_find(item.text, '@') > 0);
			break;
		case REDIRECT_FILE:
			ASSERT(item.text.ptr[0] == '/');
			break;
		case REDIRECT_PIPE:
			ASSERT(item.text.ptr[0] == '|');
			break;
		default:
			break;
		}
	}
	ASSERT(rest.len == 0);
	if (!redirect_code(&code, '5'))
		ASSERT(code.len <= text.len);
	arena_done(&arena);
	return 0;
}
