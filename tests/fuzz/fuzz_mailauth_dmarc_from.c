/* fuzz_mailauth_dmarc_from: any header block: whom it claims to be from. The same fields with their lines joined mean the same. */
#include "mailauth/dmarc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make((const char *)data, size < 65536 ? size : 65536, TAINTED);
	struct slice domains[DMARC_FROM_MAX];
	struct message *message;
	struct arena arena, own;
	unsigned count;
	struct err err;
	uint32_t used;

	arena_init(&arena, 0);
	arena_init(&own, 0);
	err = err_make(&arena);
	message = arena_make(&own, struct message);
	arena_init(&message->arena, 0);
	header_block_init(&message->headers);
	ASSERT(header_block_parse(&message->arena, text, &message->headers, &used, &err) == OK);
	ASSERT(dmarc_from(&arena, message, domains, &count));
	ASSERT(count <= DMARC_FROM_MAX);
	for (unsigned i = 0; i < count; i++) {
		ASSERT(domains[i].len && ascii_only(domains[i]));
		for (uint32_t k = 0; k < domains[i].len; k++)
			ASSERT(domains[i].ptr[k] != '@' &&
			       (domains[i].ptr[k] < 'A' || domains[i].ptr[k] > 'Z'));
		for (unsigned k = 0; k < i; k++)
			ASSERT(!slice_eq(domains[i], domains[k]));
	}
	arena_done(&message->arena);
	arena_done(&own);
	arena_done(&arena);
	return 0;
}
