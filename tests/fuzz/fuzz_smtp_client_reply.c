/* Replies of a server: whole, and cut at every place, they have to come to the same. */
#include <stddef.h>
#include <stdint.h>

#include "smtp_client/reply.h"

/* The first reply in the bytes, fed in steps of the given size. */
static enum reply_state parse(struct arena *arena, struct slice bytes, size_t step,
			      struct reply_parser *parser, size_t *taken)
{
	enum reply_state state = REPLY_MORE;
	size_t at = 0, used;

	reply_parser_init(parser, arena);
	while (state == REPLY_MORE && at < bytes.len) {
		struct slice piece = slice_sub(bytes, at, step);
		state = reply_parser_feed(parser, piece, &used);
		ASSERT(used <= piece.len);
		ASSERT(state != REPLY_MORE || used == piece.len);
		at += used;
	}
	*taken = at;
	return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = slice_make((const char *)data, size > 100000 ? 100000 : size, TAINTED);
	struct reply_parser whole, cut;
	struct ehlo_offer offer;
	struct arena arena;
	size_t taken_whole, taken_cut;

	arena_init(&arena, 64 << 20);
	enum reply_state state = parse(&arena, bytes, SIZE_MAX, &whole, &taken_whole);
	enum reply_state state_cut = parse(&arena, bytes, 1 + size % 7, &cut, &taken_cut);
	ASSERT(state == state_cut);
	if (state == REPLY_DONE) {
		struct slice text = str_slice(&whole.text);
		ASSERT(taken_whole == taken_cut && whole.code == cut.code && whole.code >= 100 &&
		       whole.code <= 599);
		ASSERT(slice_eq(text, str_slice(&cut.text)));
		ASSERT(text.len <= SMTP_REPLY_SIZE_MAX + SMTP_REPLY_LINE_MAX);
		ehlo_parse(text, &offer);
	}
	arena_done(&arena);
	return 0;
}
