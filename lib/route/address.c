/* An address on its way: made from text, or from another address by redirection. */
#include "routing.h"

static struct slice lower(struct arena *arena, struct slice text)
{
	char *bytes = arena_bytes(arena, text.len);

	if (!bytes)
		return (struct slice){NULL, 0, CLEAN};
	for (uint32_t i = 0; i < text.len; i++)
		bytes[i] = ascii_lower(text.ptr[i]);
	return slice_make(bytes, text.len, text.taint);
}

struct address *address_new(struct arena *arena, struct slice full)
{
	struct address *address = arena_make(arena, struct address);
	ptrdiff_t at = slice_rfind(full, '@');

	if (!address)
		return NULL;
	full = arena_copy(arena, full);
	if (!full.ptr)
		return NULL;
	address->cased_local_part = at < 0 ? full : slice_sub(full, 0, (size_t)at);
	address->full = lower(arena, full);
	if (!address->full.ptr)
		return NULL;
	address->domain = at < 0 ? SLICE_EMPTY : slice_from(address->full, (size_t)at + 1);
	address->local_part =
	    local_part_unquote(arena, slice_sub(address->full, 0, address->cased_local_part.len));
	header_block_init(&address->headers_add);
	address->headers_remove = SLICE_EMPTY;
	address->prefix = address->prefix_v = address->suffix = address->suffix_v = SLICE_EMPTY;
	address->address_data = address->self_hostname = SLICE_EMPTY;
	list_init(&address->link);
	return address->local_part.ptr ? address : NULL;
}

/* Header changes are lists of their own per address, since a child may get more than its parent had. */
static bool headers_copy(struct arena *arena, struct address *to, const struct address *from)
{
	to->headers_remove = from->headers_remove;
	LIST_EACH (l, &from->headers_add.list) {
		struct header *header = header_make(arena, LIST_ITEM(l, struct header, link)->text);
		if (!header)
			return false;
		header_append(&to->headers_add, header);
	}
	return true;
}

struct address *address_child(struct arena *arena, struct address *parent, struct slice full)
{
	struct address *child = address_new(arena, full);

	if (!child || !headers_copy(arena, child, parent))
		return NULL;
	child->parent = parent;
	child->recipient = parent->recipient;
	child->address_data = parent->address_data;
	child->router_variables = parent->router_variables;
	child->errors_to = parent->errors_to;
	child->srs_sender = parent->srs_sender;
	child->dsn_flags = parent->dsn_flags;
	child->orcpt = parent->orcpt;
	child->ignore_errors = parent->ignore_errors;
	return child;
}

void route_output_init(struct route_output *out)
{
	*out = (struct route_output){
	    .message = SLICE_EMPTY, .syntax_errors = SLICE_EMPTY, .bounce_message = SLICE_EMPTY};
	list_init(&out->children);
}

static bool slice_same(struct slice x, struct slice y)
{
	return x.ptr && y.ptr ? slice_eq(x, y) : x.ptr == y.ptr; /* not set is not the same as empty */
}

bool address_headers_equal(const struct address *x, const struct address *y)
{
	struct link *l, *k;

	if (!slice_same(x->headers_remove, y->headers_remove) || x->headers_add.count != y->headers_add.count)
		return false;
	if (!x->headers_add.count)
		return true;
	for (l = x->headers_add.list.next, k = y->headers_add.list.next;
	     l != &x->headers_add.list && k != &y->headers_add.list; l = l->next, k = k->next)
		if (!slice_eq(LIST_ITEM(l, struct header, link)->text,
			      LIST_ITEM(k, struct header, link)->text))
			return false;
	return true;
}
