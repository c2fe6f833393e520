/* Encoded words out of any text; what we encode decodes to what it was, on one line. */
#include "message/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct slice text, coded, back;
	struct arena arena;

	if (size > 4096)
		return 0;
	arena_init(&arena, 256ul * 1024 * 1024);
	text = slice_make((const char *)bytes, size, TAINTED);
	(void)rfc2047_decode(&arena, text, true);
	(void)rfc2047_decode(&arena, text, false);
	(void)rfc2047_decode_to(&arena, text, false, NULL);
	coded = rfc2047_encode(&arena, text, SLICE("UTF-8"));
	for (uint32_t i = 0; i < coded.len; i++)
		ASSERT((unsigned char)coded.ptr[i] >= ' ' && (unsigned char)coded.ptr[i] < 127);
	if (coded.ptr != text.ptr) {
		back = rfc2047_decode_to(&arena, coded, true, NULL);
		ASSERT(back.len == text.len);
		for (uint32_t i = 0; i < text.len; i++)
			ASSERT(back.ptr[i] == (text.ptr[i] ? text.ptr[i] : '?'));
	}
	coded = phrase_quote(&arena, text, SLICE("UTF-8"));
	ASSERT(slice_find(coded, '\n') < 0);
	arena_done(&arena);
	return 0;
}
