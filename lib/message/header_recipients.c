/* Recipients out of header fields, for programs that know no other way (-t). */
#include "message/message.h"

struct collect {
	struct message *message;
	const struct fixup *fixup;
	const struct slice *except;
	unsigned except_count;
	struct map seen;
	void (*malformed)(void *arg, struct slice item, struct slice why);
	void *arg;
};

static bool excepted(const struct collect *c, struct slice address)
{
	for (unsigned i = 0; i < c->except_count; i++)
		if (slice_eq_nocase(address, c->except[i]))
			return true;
	return false;
}

static bool take(struct collect *c, const struct address_parts *parts)
{
	struct recipient recipient = {.orcpt = SLICE_EMPTY, .errors_to = SLICE_EMPTY, .parent = -1};
	struct slice address = parts->full;

	if (!parts->domain.len) {
		struct str str = str_make(&c->message->arena);
		str_add(&str, address);
		str_addc(&str, '@');
		str_add(&str, c->fixup->qualify_recipient);
		address = str_slice(&str);
		if (!address.ptr)
			return false;
	}
	if (excepted(c, address) || map_get(&c->seen, address))
		return true;
	recipient.address = recipient.original = address;
	return map_set(&c->seen, address, c) && message_add_recipient(c->message, &recipient);
}

static bool take_field(struct collect *c, const struct header *header)
{
	unsigned flags = ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL |
			 (c->fixup->strip_dot ? ADDRESS_STRIP_DOT : 0) |
			 (c->fixup->allow_utf8 ? ADDRESS_ALLOW_UTF8 : 0);
	struct slice rest = header_value(header), gap, item;
	struct err err = err_make(&c->message->arena);
	struct address_parts parts;
	enum rc rc;

	while (address_next_item(&rest, &gap, &item)) {
		rc = address_parse(&c->message->arena, item, flags, &parts, &err);
		if (rc == DEFER || (rc == OK && !take(c, &parts)))
			return false;
		if (rc == FAIL && c->malformed)
			c->malformed(c->arg, item, err.text);
	}
	return true;
}

enum rc message_recipients_from_headers(struct message *message, const struct fixup *fixup,
					const struct slice *except, unsigned except_count,
					void (*malformed)(void *arg, struct slice item, struct slice why),
					void *arg)
{
	struct collect c = {message, fixup, except, except_count, {0}, malformed, arg};
	bool resent = false;

	map_init(&c.seen, &message->arena, false);
	for (struct header *h = header_next(&message->headers, NULL); h;
	     h = header_next(&message->headers, h))
		resent |= slice_starts_nocase(header_name(h), SLICE("Resent-"));
	for (struct header *h = header_next(&message->headers, NULL); h;
	     h = header_next(&message->headers, h)) {
		if (!strchr("TCB", h->type) ||
		    slice_starts_nocase(header_name(h), SLICE("Resent-")) != resent)
			continue;
		if (!take_field(&c, h))
			return DEFER;
		if (h->type == 'B')
			header_delete(h);
	}
	return OK;
}
