/* Addresses out of any text: what is taken is one line, is taken again as it is, and quoting goes both ways. */
#include "message/message.h"

static void again(struct arena *arena, const struct address_parts *parts, unsigned flags)
{
	struct address_parts second;
	struct slice plain, quoted;

	ASSERT(!memchr(parts->full.ptr, '\n', parts->full.len) &&
	       !memchr(parts->full.ptr, 0, parts->full.len));
	ASSERT(parts->full.taint == TAINTED);
	if (!parts->full.len)
		return;
	ASSERT(address_parse(arena, parts->full, flags, &second, NULL) == OK);
	ASSERT(slice_eq(parts->full, second.full) && slice_eq(parts->domain, second.domain));
	plain = local_part_unquote(arena, parts->local_part);
	quoted = local_part_quote(arena, plain);
	ASSERT(slice_find(quoted, '\n') < 0);
	ASSERT(slice_find(plain, '\n') >= 0 || slice_find(plain, '\r') >= 0 ||
	       slice_eq(local_part_unquote(arena, quoted), plain));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct address_parts parts;
	struct arena arena;
	struct slice text, rest, out;
	struct err err;
	unsigned flags;
	size_t items = 0;
	enum rc rc;

	if (size < 1 || size > 65536)
		return 0;
	arena_init(&arena, 256ul * 1024 * 1024);
	err = err_make(&arena);
	flags = bytes[0] & 127;
	text = slice_make((const char *)bytes + 1, size - 1, TAINTED);
	if (address_parse(&arena, text, flags, &parts, &err) == OK)
		again(&arena, &parts, flags);
	rest = text;
	while ((rc = address_next(&arena, &rest, flags, &parts, &err)) == OK || err.text.len) {
		if (rc == OK)
			again(&arena, &parts, flags);
		ASSERT(++items <= size);
	}
	(void)domain_valid(text, flags & 1);
	if (domain_to_ascii(&arena, text, &out, &err) == OK)
		ASSERT(ascii_only(out));
	if (domain_to_utf8(&arena, text, &out, &err) == OK)
		ASSERT(out.ptr);
	arena_done(&arena);
	return 0;
}
