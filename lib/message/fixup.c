/* What a message gets on its way in. The order of the fields that are added is Exim's: Resent-Date: and Resent-Message-Id: at
 * the top; Message-Id:, From: or Sender:, Date: at the end. */
#include "message/internal.h"

struct work {
	struct message *message;
	const struct fixup *fixup;
	struct arena *arena;
	bool resent; /* there are Resent- fields: those are the ones that count */
	bool failed;
};

static struct slice with_prefix(const struct work *w, struct slice resent_name)
{
	return w->resent ? resent_name : slice_from(resent_name, 7);
}

static struct header *find(const struct work *w, struct slice resent_name)
{
	return header_find(&w->message->headers, with_prefix(w, resent_name), NULL);
}

static void add(struct work *w, struct slice resent_name, struct slice body, bool at_top)
{
	struct header_block *block = &w->message->headers;
	struct str str = str_make(w->arena);
	struct slice text;
	struct header *header;

	str_add(&str, with_prefix(w, resent_name));
	str_addz(&str, ": ");
	str_add(&str, body);
	str_addc(&str, '\n');
	text = str_slice(&str);
	header = text.ptr ? header_place(w->arena, text) : NULL;
	if (!header)
		w->failed = true;
	else if (at_top)
		header_prepend(block, header);
	else
		header_append(block, header);
}

static void delete_all(struct work *w, struct slice name)
{
	for (struct header *h = NULL; (h = header_find(&w->message->headers, name, h));)
		header_delete(h);
}

static bool has_resent(const struct message *message)
{
	static const struct slice names[] = {
	    SLICE_INIT("Resent-Date"),       SLICE_INIT("Resent-From"),     SLICE_INIT("Resent-Sender"),
	    SLICE_INIT("Resent-To"),         SLICE_INIT("Resent-Cc"),       SLICE_INIT("Resent-Bcc"),
	    SLICE_INIT("Resent-Message-Id"), SLICE_INIT("Resent-Reply-To"),
	};

	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		if (header_find(&message->headers, names[i], NULL))
			return true;
	return false;
}

static struct slice join(struct work *w, struct slice local_part, struct slice domain)
{
	struct str str = str_make(w->arena);

	str_add(&str, local_part);
	str_addc(&str, '@');
	str_add(&str, domain);
	if (!str_slice(&str).ptr)
		w->failed = true;
	return str_slice(&str).ptr ? str_slice(&str) : SLICE_EMPTY;
}

/* ---- Qualifying ---------------------------------------------------------------------------------------------- */

/* The field with a domain behind each address that has none. NULL: no memory. */
static struct header *qualify(struct work *w, struct header *header, struct slice domain)
{
	struct field_edit edit;
	struct slice text;

	field_edit_begin(&edit, w->arena, header);
	while (field_edit_next(&edit)) {
		struct address_parts parts;

		if (address_parse(w->arena, edit.item,
				  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8,
				  &parts, NULL) != OK ||
		    parts.domain.len || !parts.full.len)
			field_edit_keep(&edit);
		else
			field_edit_replace(&edit, parts.spec, join(w, parts.full, domain));
	}
	text = field_edit_end(&edit);
	if (!text.len)
		return text.ptr ? header : NULL;
	return header_replace(w->arena, &w->message->headers, header, text);
}

static void qualify_all(struct work *w)
{
	const struct fixup *f = w->fixup;

	for (struct header *h = header_next(&w->message->headers, NULL); h;
	     h = header_next(&w->message->headers, h)) {
		bool sender = h->type == 'F' || h->type == 'R' || h->type == 'S';
		bool recipient = h->type == 'T' || h->type == 'C' || h->type == 'B';

		if (sender ? !f->qualify_sender : !recipient || !f->qualify_recipients)
			continue;
		h = qualify(w, h, sender ? f->qualify_domain : f->qualify_recipient);
		if (!h) {
			w->failed = true;
			return;
		}
	}
}

/* ---- Who it is from ------------------------------------------------------------------------------------------ */

/* What is left of a local part without the first of the prefixes that it has (an item "*-" stands for anything that ends
 * so); or, at the end, of the suffixes ("+*"). Each way is tried: the user's own name may look like a prefix. */
static bool stripped_is(struct slice local_part, struct slice list, bool at_end, struct slice user,
			bool (*next)(const struct fixup *, struct slice, struct slice), const struct fixup *f)
{
	struct slice item;

	if (!list.ptr)
		return false;
	while (slice_split(&list, ':', &item)) {
		bool any;

		item = slice_trim(item);
		any = at_end ? slice_ends(item, SLICE("*")) : slice_starts(item, SLICE("*"));
		if (any)
			item = at_end ? slice_sub(item, 0, item.len - 1) : slice_from(item, 1);
		if (!item.len)
			continue;
		for (uint32_t i = 0; i + item.len <= local_part.len; i++) {
			struct slice rest =
			    at_end ? slice_sub(local_part, 0, i) : slice_from(local_part, i + item.len);
			bool anchored = at_end ? i + item.len == local_part.len : i == 0;

			if ((any || anchored) && slice_eq_nocase(slice_sub(local_part, i, item.len), item) &&
			    next(f, rest, user))
				return true;
		}
	}
	return false;
}

static bool is_user(const struct fixup *f, struct slice local_part, struct slice user)
{
	(void)f;
	return slice_eq_nocase(local_part, user);
}

static bool is_user_suffixed(const struct fixup *f, struct slice local_part, struct slice user)
{
	return is_user(f, local_part, user) ||
	       stripped_is(local_part, f->from_suffix, true, user, is_user, f);
}

static bool same_user(const struct fixup *f, struct slice local_part, struct slice user)
{
	return is_user_suffixed(f, local_part, user) ||
	       stripped_is(local_part, f->from_prefix, false, user, is_user_suffixed, f);
}

/* Does the From: field name this address, and no other? */
static bool from_is(const struct work *w, const struct header *from, struct slice address)
{
	struct slice rest = header_value(from), gap, item;
	ptrdiff_t at = slice_rfind(address, '@');
	struct address_parts parts;

	if (!address_next_item(&rest, &gap, &item) ||
	    address_parse(w->arena, item,
			  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8, &parts,
			  NULL) != OK)
		return false;
	if (address_next_item(&rest, &gap, &item))
		return false;
	if (at < 0)
		return slice_eq_nocase(parts.full, address);
	if (!slice_eq_nocase(parts.domain.len ? parts.domain : w->fixup->qualify_domain,
			     slice_from(address, (size_t)at + 1)))
		return false;
	return same_user(w->fixup, parts.local_part, slice_sub(address, 0, (size_t)at));
}

/* "Full Name <address>", or the bare address. */
static struct slice mailbox(struct work *w, struct slice name, struct slice address)
{
	struct str str = str_make(w->arena);

	if (!name.ptr || !slice_trim(name).len)
		return address;
	str_add(&str, phrase_quote(w->arena, slice_trim(name), w->fixup->charset));
	str_addz(&str, " <");
	str_add(&str, address);
	str_addc(&str, '>');
	if (!str_slice(&str).ptr)
		w->failed = true;
	return str_slice(&str).ptr ? str_slice(&str) : address;
}

/* The address that a message of this submitter is expected to come from; empty: it cannot be told. */
static struct slice own_address(struct work *w)
{
	const struct fixup *f = w->fixup;

	if (f->local)
		return join(w, local_part_quote(w->arena, f->login), f->qualify_domain);
	if (!f->authenticated_id.len)
		return SLICE_EMPTY;
	if (f->submission_domain.ptr && !f->submission_domain.len)
		return f->authenticated_id;
	return join(w, f->authenticated_id,
		    f->submission_domain.ptr ? f->submission_domain : f->qualify_domain);
}

static struct slice own_name(const struct work *w)
{
	return w->fixup->local ? w->fixup->name : w->fixup->submission_name;
}

/* "From: login" alone, as old programs write it, gets the name and the domain (not over SMTP), and a new place. */
static void complete_login(struct work *w)
{
	const struct fixup *f = w->fixup;
	struct header *from = find(w, SLICE("Resent-From"));
	struct str str = str_make(w->arena);

	if (!f->local || f->smtp || !from || !slice_eq(header_body(from), f->login))
		return;
	header_delete(from);
	str_add(&str, phrase_quote(w->arena, f->name, f->charset));
	str_printf(&str, " <%.*s>", SLICE_ARG(own_address(w)));
	if (str_slice(&str).ptr)
		add(w, SLICE("Resent-From"), str_slice(&str), false);
	else
		w->failed = true;
}

static void fix_from(struct work *w)
{
	const struct fixup *f = w->fixup;
	/* The field is rewritten by its own rules. */
	struct slice address = w->message->sender_original;

	/* A sender that is there takes precedence. A trusted user's bounce is from nobody. */
	if (!address.len && !(f->local && f->trusted))
		address = own_address(w);
	if (address.len)
		add(w, SLICE("Resent-From"), mailbox(w, own_name(w), address), false);
}

/* An untrusted submitter's Sender: is ours to write, and, in submission mode, his return path. */
static void fix_sender(struct work *w)
{
	const struct fixup *f = w->fixup;
	struct slice own = own_address(w);
	const struct header *from = find(w, SLICE("Resent-From"));

	if (!own.len)
		return;
	if (f->from_check && from && !from_is(w, from, own))
		add(w, SLICE("Resent-Sender"), mailbox(w, own_name(w), own), false);
	if (f->submission && w->message->sender.len)
		w->message->sender = own;
}

/* ---- The rest ------------------------------------------------------------------------------------------------ */

static void fix_message_id(struct work *w)
{
	const struct fixup *f = w->fixup;
	struct str str = str_make(w->arena);

	if (find(w, SLICE("Resent-Message-Id")))
		return;
	str_addz(&str, "<E");
	str_add(&str, message_id_slice(&w->message->id));
	if (f->id_text.ptr && f->id_text.len) {
		str_addc(&str, '.');
		/* What cannot stand in an id becomes a hyphen. */
		for (uint32_t i = 0; i < f->id_text.len; i++) {
			char c = f->id_text.ptr[i];
			str_addc(&str, c <= ' ' || c == 127 || strchr("()<>[]:;@\\,\"", c) ? '-' : c);
		}
	}
	str_addc(&str, '@');
	if (f->id_domain.ptr && domain_valid(f->id_domain, false))
		str_add(&str, f->id_domain);
	else
		str_add(&str, f->primary_hostname);
	str_addc(&str, '>');
	w->message->message_id_made = true;
	if (str_slice(&str).ptr)
		add(w, SLICE("Resent-Message-Id"), str_slice(&str), w->resent);
	else
		w->failed = true;
}

static void fix_date(struct work *w)
{
	struct str str = str_make(w->arena);

	if (find(w, SLICE("Resent-Date")))
		return;
	date_rfc5322(&str, w->fixup->now);
	if (str_slice(&str).ptr)
		add(w, SLICE("Resent-Date"), str_slice(&str), w->resent);
	else
		w->failed = true;
}

static void drop_transit_fields(struct work *w)
{
	if (w->fixup->remove_return_path)
		delete_all(w, SLICE("Return-Path"));
	if (w->fixup->remove_envelope_to)
		delete_all(w, SLICE("Envelope-To"));
	if (w->fixup->remove_delivery_date)
		delete_all(w, SLICE("Delivery-Date"));
}

static struct work work_make(struct message *message, const struct fixup *fixup)
{
	return (struct work){message, fixup, &message->arena, has_resent(message), false};
}

static bool is_ours(const struct fixup *fixup)
{
	return fixup->local || fixup->submission;
}

static bool is_doubted(const struct fixup *fixup)
{
	return is_ours(fixup) && !(fixup->local && fixup->trusted);
}

enum rc message_fix_begin(struct message *message, const struct fixup *fixup, struct err *err)
{
	struct work w = work_make(message, fixup);

	drop_transit_fields(&w);
	/* A message that was sent again is known by its new id: the old one is a field like others. */
	for (struct header *h = NULL;
	     w.resent && (h = header_find(&message->headers, SLICE("Message-Id"), h));)
		h->type = ' ';
	if (is_doubted(fixup) && !fixup->sender_retain) {
		delete_all(&w, SLICE("Sender"));
		delete_all(&w, SLICE("Resent-Sender"));
	}
	if (is_ours(fixup)) {
		complete_login(&w);
		fix_message_id(&w);
		if (w.resent)
			fix_date(&w);
	}
	return w.failed ? err_memory(err) : OK;
}

enum rc message_fix_sender(struct message *message, const struct fixup *fixup, struct err *err)
{
	struct work w = work_make(message, fixup);

	if (is_ours(fixup)) {
		if (!find(&w, SLICE("Resent-From")))
			fix_from(&w);
		if (is_doubted(fixup) && !(fixup->submission && fixup->sender_retain))
			fix_sender(&w);
	}
	return w.failed ? err_memory(err) : OK;
}

enum rc message_fix_end(struct message *message, const struct fixup *fixup, struct err *err)
{
	struct work w = work_make(message, fixup);

	if (fixup->qualify_sender || fixup->qualify_recipients)
		qualify_all(&w);
	if (is_ours(fixup) && !w.resent)
		fix_date(&w);
	if (w.failed)
		return err_memory(err);
	message_read_headers(message);
	return OK;
}

enum rc message_fix(struct message *message, const struct fixup *fixup, struct err *err)
{
	enum rc rc = message_fix_begin(message, fixup, err);

	if (rc == OK)
		rc = message_fix_sender(message, fixup, err);
	return rc == OK ? message_fix_end(message, fixup, err) : rc;
}
