/* Any address as a rewritten sender: taken apart, forged ones refused, and what was made here comes back as it was. The first
 * byte says which settings; the rest is the address. */
#include <stddef.h>
#include <stdint.h>

#include "mailauth/srs.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void forward_and_back(struct arena *arena, const struct srs_settings *settings, struct slice address)
{
	struct slice none = {NULL, 0, CLEAN}, made, key, back;

	if (srs_forward(arena, settings, 20000, address, SLICE("fwd.example"), none, &made) != OK)
		return;
	ASSERT(slice_starts(made, SLICE("SRS")) && slice_search(made, SLICE("@fwd.example")) > 0);
	/* An address that was somebody's SRS0 or SRS1 leads to the first hop; others to themselves. */
	if (!slice_starts_nocase(address, SLICE("SRS")) &&
	    slice_find(address, '@') == slice_rfind(address, '@') &&
	    slice_find(slice_from(address, (size_t)slice_find(address, '@')), '=') < 0) {
		ASSERT(srs_reverse(arena, settings, 20001, made, false, &back) == SRS_OK);
		ASSERT(slice_eq(back, address));
	}
	ASSERT(srs_key(arena, settings, address, &key) == OK && key.len == 16);
	ASSERT(srs_forward(arena, settings, 20000, address, SLICE("fwd.example"), key, &made) == OK);
	ASSERT(srs_reverse(arena, settings, 20001, made, true, &back) == SRS_OK && slice_eq(back, key));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct slice address = slice_make((const char *)bytes + 1,
					  size > 4096 ? 4095
					  : size      ? size - 1
						      : 0,
					  TAINTED);
	struct srs_settings settings = {.secrets = {SLICE("secret"), SLICE("old")},
					.secret_count = 2,
					.maxage = 31,
					.hashlength = 6,
					.hashmin = -1};
	struct arena arena;
	struct slice back;

	/* No address has a NUL in it: who parses them sees to that. */
	if (!size || slice_find(address, 0) >= 0)
		return 0;
	settings.usehash = bytes[0] & 1;
	settings.usetimestamp = bytes[0] & 2;
	arena_init(&arena, 0);
	/* Nobody guesses the six letters: with a hash nothing that we have not made is taken for ours. */
	for (unsigned database = 0; database < 2; database++)
		if (srs_reverse(&arena, &settings, 20001, address, database, &back) == SRS_OK)
			ASSERT(back.len && !(settings.usehash && slice_find(back, '@') == 0));
	forward_and_back(&arena, &settings, address);
	arena_done(&arena);
	return 0;
}
