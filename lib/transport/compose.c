/* The header block of a message as one delivery sees it: with what routers and the transport add and remove. */
#include "local.h"

enum rc delivery_return_path(struct scope *sc, const struct transport *transport, struct slice *ret,
			     struct err *err)
{
	struct address *address = sc->address;
	struct slice value;
	enum rc rc;

	*ret = address && address->errors_to.ptr ? address->errors_to
	       : sc->message                     ? sc->message->sender
						 : SLICE_EMPTY;
	if (!transport->return_path)
		return OK;
	rc = expand(sc, transport->return_path, &value, err);
	if (rc == OK)
		*ret = value;
	if (rc == OK && address && sc->message)
		address->return_path = arena_copy(&sc->message->arena, value);
	if (rc == FAIL && err->forced)
		return OK;
	if (rc != OK)
		err_prefix(err, "failed to expand return path \"%.*s\"",
			   SLICE_ARG(expansion_text(transport->return_path)));
	return rc == FAIL ? DEFER : rc;
}

bool header_listed(struct arena *arena, struct slice list, struct slice name)
{
	char separator = ':';
	struct slice item;

	if (list.len > 1 && list.ptr[0] == '<' && !ascii_is_alnum(list.ptr[1]))
		separator = 0;
	while (list_next(arena, &list, &separator, &item)) {
		if (!item.ptr || item.len == 0)
			continue;
		if (item.ptr[item.len - 1] == '*'
			? slice_starts_nocase(name, slice_sub(item, 0, item.len - 1))
			: slice_eq_nocase(name, item))
			return true;
	}
	return false;
}

/* A list whose items are expanded one by one, joined again with the separator. */
static enum rc expand_list(struct scope *sc, struct slice list, char separator, struct slice *ret,
			   struct err *err)
{
	struct str out = str_make(sc->task->arena);
	char list_separator = separator;
	struct slice item, value;

	if (list.ptr && list.len > 1 && list.ptr[0] == '<' && !ascii_is_alnum(list.ptr[1]))
		list_separator = 0;
	while (list.ptr && list_next(sc->task->arena, &list, &list_separator, &item)) {
		enum rc rc = item.ptr ? expand_text(sc, item, &value, err) : err_memory(err);

		if (rc == FAIL && err->forced)
			continue;
		if (rc != OK)
			return rc == FAIL ? DEFER : rc;
		while (value.len && value.ptr[value.len - 1] == '\n')
			value.len--;
		if (value.len == 0)
			continue;
		if (out.len)
			str_addc(&out, separator);
		str_add(&out, value);
	}
	*ret = str_slice(&out);
	return ret->ptr ? OK : err_memory(err);
}

/* Text with LF line ends, to which line ends of the wire may have to be given. */
static void add_text(struct str *out, struct slice text, bool crlf)
{
	struct slice line;

	if (!crlf) {
		str_add(out, text);
		return;
	}
	while (text.len > 0) {
		ptrdiff_t at = slice_find(text, '\n');
		line = slice_sub(text, 0, at < 0 ? text.len : (size_t)at);
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		str_add(out, line);
		str_addz(out, "\r\n");
		text = slice_from(text, at < 0 ? text.len : (size_t)at + 1);
	}
}

static void add_line(struct str *out, struct slice text, bool crlf)
{
	add_text(out, text, crlf); /* which ends the last line too, where it gives line ends */
	if (!crlf && text.len && text.ptr[text.len - 1] != '\n')
		str_addc(out, '\n');
}

/* "Envelope-to:": the recipients that this delivery began as, each once. */
static void add_envelope_to(struct str *out, const struct delivery *delivery, bool crlf)
{
	str_addz(out, "Envelope-to: ");
	for (unsigned i = 0, shown = 0; i < delivery->count; i++) {
		const struct address *address = delivery->addresses[i];
		bool seen = false;

		while (address->parent)
			address = address->parent;
		for (unsigned k = 0; k < i && !seen; k++) {
			const struct address *other = delivery->addresses[k];
			while (other->parent)
				other = other->parent;
			seen = slice_eq(other->full, address->full);
		}
		if (seen)
			continue;
		if (shown++)
			str_addz(out, crlf ? ",\r\n " : ",\n ");
		str_add(out, address->cased_local_part);
		str_addc(out, '@');
		str_add(out, address->domain);
	}
	str_addz(out, crlf ? "\r\n" : "\n");
}

static enum rc add_generic(struct scope *sc, const struct transport *transport,
			   const struct delivery *delivery, struct str *out, bool crlf, struct err *err)
{
	struct slice path;

	if (transport->return_path_add) {
		enum rc rc = delivery_return_path(sc, transport, &path, err);
		if (rc != OK)
			return rc;
		str_printf(out, "Return-path: <%.*s>%s", SLICE_ARG(path), crlf ? "\r\n" : "\n");
	}
	if (transport->envelope_to_add)
		add_envelope_to(out, delivery, crlf);
	if (transport->delivery_date_add) {
		str_addz(out, "Delivery-date: ");
		date_rfc5322(out, shard_wall(sc->task->shard) / NS_PER_S);
		str_addz(out, crlf ? "\r\n" : "\n");
	}
	return OK;
}

enum rc compose_headers(struct scope *sc, const struct transport *transport, const struct delivery *delivery,
			bool crlf, struct slice *ret, struct err *err)
{
	const struct address *address = delivery->addresses[0];
	struct slice remove, add;
	struct str out = str_make(sc->task->arena);
	struct rewrite_fields how = {.rules = transport->rewrite,
				     .sender_domain = {NULL, 0, CLEAN},
				     .recipient_domain = {NULL, 0, CLEAN}};
	enum rc rc;

	*ret = SLICE_EMPTY;
	if (transport->body_only)
		return OK;
	if (!str_reserve(&out, sc->message->headers.bytes + sc->message->headers.count + 512))
		return err_memory(err);
	rc = add_generic(sc, transport, delivery, &out, crlf, err);
	if (rc == OK)
		rc = expand_list(sc, transport->headers_remove, ':', &remove, err);
	if (rc == OK)
		rc = expand_list(sc, transport->headers_add, '\n', &add, err);
	if (rc != OK)
		return rc;
	for (struct header *h = header_next(&sc->message->headers, NULL); h;
	     h = header_next(&sc->message->headers, h)) {
		struct slice name = header_name(h);
		if ((remove.len && header_listed(sc->task->arena, remove, name)) ||
		    (address->headers_remove.len &&
		     header_listed(sc->task->arena, address->headers_remove, name)))
			continue;
		struct slice text = h->text, rewritten = SLICE_EMPTY;
		if (transport->rewrite) {
			rc = rewrite_field(sc, &how, h, &rewritten, err);
			if (rc != OK)
				return rc;
			text = rewritten.len ? rewritten : text;
		}
		if (crlf && !rewritten.len)
			header_to_wire(h, &out);
		else
			add_text(&out, text, crlf);
	}
	LIST_EACH (l, &address->headers_add.list)
		add_line(&out, LIST_ITEM(l, struct header, link)->text, crlf);
	if (add.len)
		add_line(&out, add, crlf);
	str_addz(&out, crlf ? "\r\n" : "\n");
	*ret = str_slice(&out);
	return ret->ptr ? OK : err_memory(err);
}

struct slice rcpt_address(struct arena *arena, const struct transport *transport,
			  const struct address *address)
{
	struct slice local_part = address->cased_local_part;
	struct str out = str_make(arena);
	struct slice s;

	if (!transport->rcpt_include_affixes && address->prefix.len + address->suffix.len < local_part.len)
		local_part = slice_sub(local_part, address->prefix.len,
				       local_part.len - address->prefix.len - address->suffix.len);
	str_add(&out, local_part);
	if (address->domain.len) {
		str_addc(&out, '@');
		str_add(&out, address->domain);
	}
	s = str_slice(&out);
	return s.ptr ? s : address->full;
}
