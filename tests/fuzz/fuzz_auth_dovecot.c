/* Any lines as Dovecot's greeting and answers, and as base64: none may be read past its end. */
#include <stddef.h>
#include <stdint.h>

#include "auth/dovecot.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct slice rest = slice_make((const char *)bytes, size > 65536 ? 65536 : size, TAINTED), line;
	struct dovecot_greeting greeting = {.done = false};
	struct arena arena;

	arena_init(&arena, 1024 * 1024);
	while (slice_split(&rest, '\n', &line)) {
		struct err err = err_make(&arena);
		struct str clear = str_make(&arena);
		struct dovecot_answer answer;

		if (dovecot_greeting_line(&greeting, line, SLICE("PLAIN"), &err) == OK && greeting.done)
			ASSERT(greeting.version && greeting.offered);
		if (dovecot_answer_parse(&arena, line, 1, &answer, &err) == OK && answer.kind == DOVECOT_OK)
			ASSERT(answer.user.len > 0);
		(void)base64_decode(&clear, line);
	}
	arena_done(&arena);
	return 0;
}
