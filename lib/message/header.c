/* One header field: made from text, named, typed, put into a block, found there, deleted. A field is never taken out of
 * its block: deleted ones stay, marked, because -H files keep them and indices do not move. */
#include "message/internal.h"

void header_block_init(struct header_block *block)
{
	list_init(&block->list);
	block->count = 0;
	block->bytes = 0;
}

/* The types that -H files tell apart. A Resent- field is of the type of its plain sister. */
char header_type(struct slice name)
{
	bool resent = slice_starts_nocase(name, SLICE("resent-"));
	struct slice want;

	if (resent)
		name = slice_from(name, 7);
	switch (name.len) {
	case 2:
		if (slice_eq_nocase(name, SLICE("to")))
			return 'T';
		want = SLICE("cc");
		break;
	case 3:
		want = SLICE("bcc");
		break;
	case 4:
		want = SLICE("from");
		break;
	case 6:
		want = SLICE("sender");
		break;
	case 8:
		if (slice_eq_nocase(name, SLICE("reply-to")))
			return 'R';
		if (resent)
			return ' ';
		return slice_eq_nocase(name, SLICE("received")) ? 'P' : ' ';
	case 10:
		return slice_eq_nocase(name, SLICE("message-id")) ? 'I' : ' ';
	default:
		return ' ';
	}
	return slice_eq_nocase(name, want) ? ascii_upper(want.ptr[0]) : ' ';
}

/* Bytes of a field's name at the start of the line (RFC 5322 section 2.2): printable, no colon; bytes beyond ASCII too, which no
 * name may have, but which are met (verify = header_names_ascii is for who does not want them). 0: there is no name with a colon
 * behind it. White space before the colon is met, and is not the name's. */
uint32_t header_name_length(struct slice line)
{
	uint32_t len = 0, at;

	while (len < line.len && (unsigned char)line.ptr[len] > ' ' && line.ptr[len] != 127 &&
	       line.ptr[len] != ':')
		len++;
	for (at = len; at < line.len && (line.ptr[at] == ' ' || line.ptr[at] == '\t'); at++)
		;
	return at < line.len && line.ptr[at] == ':' ? len : 0;
}

struct header *header_place_named(struct arena *arena, struct slice text, uint32_t name_len)
{
	struct header *header = arena_make(arena, struct header);

	if (!header)
		return NULL;
	header->text = text;
	header->name_len = name_len;
	header->type = header_type(header_name(header));
	list_init(&header->link);
	return header;
}

struct header *header_place(struct arena *arena, struct slice text)
{
	return header_place_named(arena, text, header_name_length(text));
}

struct header *header_make(struct arena *arena, struct slice text)
{
	bool add = text.len == 0 || text.ptr[text.len - 1] != '\n';
	char *bytes = arena_bytes(arena, (size_t)text.len + 1);

	if (!bytes)
		return NULL;
	memcpy(bytes, text.ptr, text.len);
	if (add)
		bytes[text.len] = '\n';
	return header_place(arena, slice_make(bytes, (size_t)text.len + add, text.taint));
}

static void header_insert(struct header_block *block, struct link *at, struct header *header)
{
	list_insert_after(at, &header->link);
	block->count++;
	block->bytes += header->text.len;
}

void header_append(struct header_block *block, struct header *header)
{
	header_insert(block, block->list.prev, header);
}

void header_prepend(struct header_block *block, struct header *header)
{
	header_insert(block, &block->list, header);
}

void header_insert_after(struct header_block *block, struct header *after, struct header *header)
{
	header_insert(block, after ? &after->link : &block->list, header);
}

struct slice header_name(const struct header *header)
{
	return slice_sub(header->text, 0, header->name_len);
}

struct slice header_value(const struct header *header)
{
	ptrdiff_t colon = slice_find(header->text, ':');

	return slice_from(header->text, colon < 0 ? header->text.len : (size_t)colon + 1);
}

struct slice header_body(const struct header *header)
{
	return slice_trim(header_value(header));
}

struct header *header_find(const struct header_block *block, struct slice name, struct header *after)
{
	const struct link *l = after ? after->link.next : block->list.next;

	for (; l != &block->list; l = l->next) {
		struct header *header = LIST_ITEM(l, struct header, link);
		if (header->type != '*' && header->name_len == name.len &&
		    slice_eq_nocase(header_name(header), name))
			return header;
	}
	return NULL;
}

struct header *header_next(const struct header_block *block, struct header *after)
{
	const struct link *l = after ? after->link.next : block->list.next;

	for (; l != &block->list; l = l->next) {
		struct header *header = LIST_ITEM(l, struct header, link);
		if (header->type != '*')
			return header;
	}
	return NULL;
}

void header_delete(struct header *header)
{
	header->type = '*';
}

struct header *header_replace(struct arena *arena, struct header_block *block, struct header *old,
			      struct slice text)
{
	struct header *header = header_make(arena, text);

	if (!header)
		return NULL;
	header_delete(old);
	header_insert(block, &old->link, header);
	return header;
}
