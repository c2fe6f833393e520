/* A ClientHello from anybody. Whatever it says lies inside of what came; and bytes that come in pieces say the same as at once. */
#include "tls/hello.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = slice_make((const char *)data, size, TAINTED);
	struct tls_hello hello, part;
	struct arena arena;
	uint32_t need = 0;
	enum tls_hello_state state;

	arena_init(&arena, 4ul * 1024 * 1024);
	state = tls_hello_parse(&arena, all, &need, &hello);
	if (state == TLS_HELLO_PART && need <= size)
		abort(); /* it would be looked at again and again */
	/* A beginning is never taken for something that the whole is not. */
	for (size_t len = 0; len < size && len < 64; len++) {
		enum tls_hello_state so_far = tls_hello_parse(&arena, slice_sub(all, 0, len), &need, &part);

		if (so_far != TLS_HELLO_PART && so_far != state && so_far != TLS_HELLO_WHOLE &&
		    so_far != TLS_HELLO_MALFORMED)
			abort();
	}
	if (state == TLS_HELLO_WHOLE && hello.sni.len + (size_t)hello.alpn.len > size)
		abort();
	arena_done(&arena);
	return 0;
}
