/* fuzz_mailauth_dmarc: a policy record and its addresses. */
#include "mailauth/dmarc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make((const char *)data, size < 65536 ? size : 65536, TAINTED), address;
	struct dmarc_record record;
	struct arena arena;

	arena_init(&arena, 0);
	for (unsigned legacy = 0; legacy < 2; legacy++) {
		if (!dmarc_record_parse(text, legacy, &record))
			continue;
		ASSERT(record.p == 'n' || record.p == 'q' || record.p == 'r');
		ASSERT(record.adkim == 'r' || record.adkim == 's');
		ASSERT(record.pct <= 100);
		while (dmarc_uri_next(&arena, &record.rua, &address))
			ASSERT(slice_find(address, '@') > 0);
		while (dmarc_uri_next(&arena, &record.ruf, &address))
			ASSERT(address.len < 320);
	}
	arena_done(&arena);
	return 0;
}
