/* -H files out of any bytes: refused, or written again into something that reads back to the same text. */
#include "message/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct message *first, *second;
	struct str one, two;

	if (size > 65536)
		return 0;
	first = message_new(NULL, 256ul * 1024 * 1024);
	second = message_new(NULL, 256ul * 1024 * 1024);
	if (envelope_read(first, slice_make((const char *)bytes, size, CLEAN), NULL) == OK) {
		one = str_make(&first->arena);
		two = str_make(&second->arena);
		ASSERT(envelope_write(first, &one) == OK);
		ASSERT(envelope_read(second, str_slice(&one), NULL) == OK);
		ASSERT(envelope_write(second, &two) == OK);
		ASSERT(slice_eq(str_slice(&one), str_slice(&two)));
		ASSERT(first->recipient_count == second->recipient_count);
		ASSERT(first->headers.count == second->headers.count);
	}
	message_unref(first);
	message_unref(second);
	return 0;
}
