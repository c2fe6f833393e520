/* fuzz_redis_reply: the reader of a Redis server's replies, fed in pieces whose sizes the input chooses. What it hands out
 * is walked and copied. */

#include <stdlib.h>

#include "redis/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned walk(const struct redis_reply *reply, unsigned depth)
{
	volatile char sink = 0;
	unsigned count = 1;

	ASSERT(depth < 16);
	if (reply->kind == REDIS_STRING || reply->kind == REDIS_STATUS || reply->kind == REDIS_ERROR)
		for (uint32_t i = 0; i < reply->text.len; i++)
			sink = (char)(sink + reply->text.ptr[i]);
	for (uint32_t i = 0; i < reply->count; i++)
		count += walk(&reply->items[i], depth + 1);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply_reader *reader = reply_reader_new();
	const struct redis_reply *reply;
	struct redis_reply copy;
	struct arena arena;
	const char *why;
	enum rc rc = DEFER;

	if (!reader)
		return 0;
	arena_init(&arena, 64u * 1024 * 1024);
	while (size && rc == DEFER) {
		size_t len = 1 + data[0] % 64u;

		if (len > size)
			len = size;
		if (!reply_reader_feed(reader, slice_make((const char *)data, len, CLEAN)))
			break;
		data += len;
		size -= len;
		while ((rc = reply_reader_next(reader, &reply, &why)) == OK) {
			arena_clear(&arena);
			if (reply_copy(&arena, reply, &copy))
				ASSERT(walk(reply, 0) == walk(&copy, 0));
		}
	}
	arena_done(&arena);
	reply_reader_free(reader);
	return 0;
}
