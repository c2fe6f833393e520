/* A server's handshake from a stranger: as records, or as messages that are put into records of each version first. */
#include "../unit/tls/flight.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const unsigned suites[] = {0x1301, 0x1303, 0x1305};
	struct flight_key key = {.key = {1, 2, 3}, .iv = {4, 5, 6}};
	struct flight flight = {.bytes = NULL};
	struct flight_shown shown;
	struct slice input;
	struct arena arena;
	struct str records;

	if (size < 2 || size > 16000)
		return 0;
	arena_init(&arena, 1 << 22);
	records = str_make(&arena);
	input = slice_make((const char *)bytes + 1, size - 1, TAINTED);
	key.suite = suites[bytes[0] / 3 % 3];
	if (bytes[0] % 3 == 0)
		str_add(&records, input);
	else if (bytes[0] % 3 == 1)
		put_record(&records, 22, input);
	else
		put_sealed(&records, &key, 0, 22, input, 2);
	(void)flight_add(&flight, str_slice(&records));
	flight.key = key;
	flight.keyed = true;
	if (flight_read(&arena, &flight, &shown))
		for (unsigned i = 0; i < shown.cert_count; i++)
			if (shown.certs[i].len && shown.certs[i].ptr[shown.certs[i].len - 1] == 'x' &&
			    shown.proof.len && shown.proof.ptr[shown.proof.len - 1] == 'y')
				key.suite++; /* each was read to its end */
	flight_done(&flight);
	arena_done(&arena);
	return 0;
}
