/* Header fields, envelopes, and what -brw shows of both. */
#include "rules.h"

static unsigned where_of(const struct header *header)
{
	switch (header->type) {
	case 'S':
		return REWRITE_SENDER;
	case 'F':
		return REWRITE_FROM;
	case 'T':
		return REWRITE_TO;
	case 'C':
		return REWRITE_CC;
	case 'B':
		return REWRITE_BCC;
	case 'R':
		return REWRITE_REPLY_TO;
	default:
		return 0;
	}
}

/* One item of the field. */
static enum rc edit_item(struct scope *sc, const struct rewrite_fields *how, unsigned where,
			 struct slice domain, struct field_edit *edit, struct err *err)
{
	struct arena *arena = sc->task->arena;
	unsigned flags = ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | address_flags(sc->conf) |
			 (sc->message && sc->message->smtputf8 ? ADDRESS_ALLOW_UTF8 : 0);
	struct rewriting r = {.sc = sc, .err = err, .where = where};
	struct address_parts parts;
	bool qualified = false;
	enum rc rc = address_parse(arena, edit->item, flags, &parts, err);

	if (rc == FAIL) {
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, sc->message ? &sc->message->id : NULL,
			   "qualify/rewrite: %.*s", SLICE_ARG(err->text));
		*err = err_make(arena);
	} else if (rc != OK) {
		return rc;
	}
	if (rc == FAIL || !parts.full.len || (!parts.domain.len && !domain.ptr)) {
		field_edit_keep(edit);
		return OK;
	}
	r.address = parts.full;
	if (!parts.domain.len) {
		r.address = arena_printf(arena, "%.*s@%.*s", SLICE_ARG(parts.full), SLICE_ARG(domain));
		if (!r.address.ptr)
			return err_memory(err);
		r.address.taint = TAINTED;
		qualified = true;
	}
	if (rewrite_wanted(how->rules, where)) {
		rc = rewriting_run(&r, how->rules);
		if (rc != OK)
			return rc;
	}
	if (r.item.ptr)
		field_edit_replace(edit, edit->item, r.item);
	else if (qualified || (r.changed && !slice_eq(r.address, parts.full)))
		field_edit_replace(edit, parts.spec, r.address);
	else
		field_edit_keep(edit);
	return OK;
}

enum rc rewrite_field(struct scope *sc, const struct rewrite_fields *how, const struct header *header,
		      struct slice *text_ret, struct err *err)
{
	unsigned where = where_of(header);
	struct slice domain = where & (REWRITE_SENDER | REWRITE_FROM | REWRITE_REPLY_TO)
				  ? how->sender_domain
				  : how->recipient_domain;
	struct field_edit edit;

	*text_ret = SLICE_EMPTY;
	if (!where || (!domain.ptr && !rewrite_wanted(how->rules, where)))
		return OK;
	field_edit_begin(&edit, sc->task->arena, header);
	while (field_edit_next(&edit)) {
		enum rc rc = edit_item(sc, how, where, domain, &edit, err);
		if (rc != OK)
			return rc;
	}
	*text_ret = field_edit_end(&edit);
	return text_ret->ptr ? OK : err_memory(err);
}

enum rc rewrite_block(struct scope *sc, const struct rewrite_fields *how, struct arena *arena,
		      struct header_block *block, struct err *err)
{
	if (!how->sender_domain.ptr && !how->recipient_domain.ptr &&
	    !rewrite_wanted(how->rules, REWRITE_HEADERS))
		return OK;
	for (struct header *h = header_next(block, NULL); h; h = header_next(block, h)) {
		struct slice text;
		enum rc rc = rewrite_field(sc, how, h, &text, err);

		if (rc != OK)
			return rc;
		if (text.len)
			h = header_replace(arena, block, h, text);
		if (!h)
			return err_memory(err);
	}
	return OK;
}

/* ---- Envelopes ------------------------------------------------------------------------------------------------- */

bool leave_trace(struct message *m, const char *name, struct slice old)
{
	struct slice text = arena_printf(&m->arena, "%s: %.*s\n", name, SLICE_ARG(old));
	struct header *header = text.ptr ? header_make(&m->arena, text) : NULL;

	if (!header)
		return false;
	header_append(&m->headers, header);
	header_delete(header);
	return true;
}

enum rc rewrite_recipients(struct scope *sc, struct err *err)
{
	const struct rewrite_rules *rules = rewrite_rules(sc->conf);
	struct message *m = sc->message;

	for (uint32_t i = 0; i < m->recipient_count && rewrite_wanted(rules, REWRITE_ENV_TO); i++) {
		struct slice text;
		enum rc rc = rewrite_address(sc, rules, REWRITE_ENV_TO, m->recipients[i].address, &text, err);

		if (rc != OK)
			return rc;
		if (slice_eq(text, m->recipients[i].address))
			continue;
		if (!leave_trace(m, "X-rewrote-original-recipient", m->recipients[i].address))
			return err_memory(err);
		m->recipients[i].address = arena_copy(&m->arena, text);
		if (!m->recipients[i].address.ptr)
			return err_memory(err);
	}
	return OK;
}

enum rc rewrite_sender(struct scope *sc, struct err *err)
{
	const struct rewrite_rules *rules = rewrite_rules(sc->conf);
	struct message *m = sc->message;
	struct rewriting r = {
	    .sc = sc, .err = err, .where = REWRITE_ENV_FROM, .address = m->sender, .traced = m};
	struct slice text;
	enum rc rc;

	if (!m->sender.len || !slice_eq(m->sender, m->sender_original) ||
	    !rewrite_wanted(rules, REWRITE_ENV_FROM))
		return OK;
	rc = rewriting_run(&r, rules);
	if (rc != OK || !r.changed)
		return rc;
	text = arena_copy(&m->arena, r.address);
	if (!text.ptr)
		return err_memory(err);
	sc->sender = m->sender = text;
	return OK;
}

/* ---- -brw ------------------------------------------------------------------------------------------------------- */

static enum rc describe_smtp(struct scope *sc, struct slice address, struct str *out, struct err *err)
{
	struct rewriting r = {.sc = sc, .err = err, .where = REWRITE_SMTP | SMTP_ANY, .address = address};
	enum rc rc = rewriting_run(&r, rewrite_rules(sc->conf));

	if (rc == OK && r.changed)
		str_printf(out, "    SMTP: %.*s\n", SLICE_ARG(r.address.len ? r.address : SLICE("<>")));
	return rc;
}

static enum rc describe_fields(struct scope *sc, struct slice address, struct str *out, struct err *err)
{
	static const char *const names[] = {"  sender", "    from", "      to",
					    "      cc", "     bcc", "reply-to"};
	static const char *const fields[] = {"Sender", "From", "To", "Cc", "Bcc", "Reply-To"};
	struct rewrite_fields how = {.rules = rewrite_rules(sc->conf),
				     .sender_domain = {NULL, 0, CLEAN},
				     .recipient_domain = {NULL, 0, CLEAN}};

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct slice text =
		    arena_printf(sc->task->arena, "%s: %.*s\n", fields[i], SLICE_ARG(address));
		struct header *header = text.ptr ? header_make(sc->task->arena, text) : NULL;
		enum rc rc;

		if (!header)
			return err_memory(err);
		rc = rewrite_field(sc, &how, header, &text, err);
		if (rc != OK)
			return rc;
		str_printf(out, "%s: %.*s\n", names[i],
			   SLICE_ARG(text.len ? slice_sub(text, strlen(fields[i]) + 2,
							  text.len - strlen(fields[i]) - 3)
					      : address));
	}
	return OK;
}

enum rc rewrite_describe(struct scope *sc, struct slice address, struct str *out, struct err *err)
{
	const struct rewrite_rules *rules = rewrite_rules(sc->conf);
	struct address_parts parts;
	struct slice text;
	enum rc rc = OK;

	if (!rules) {
		str_addz(out, "No rewrite rules are defined\n");
		return OK;
	}
	rc = describe_smtp(sc, address, out, err);
	if (rc != OK || !(rules->flags & ~(unsigned)REWRITE_SMTP))
		return rc; /* nothing but rules for commands */
	if (slice_find(address, '@') < 0)
		address = arena_printf(sc->task->arena, "%.*s@%.*s", SLICE_ARG(address),
				       SLICE_ARG(conf_main(sc->conf)->qualify_recipient));
	rc = address_parse(sc->task->arena, address,
			   ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | address_flags(sc->conf),
			   &parts, err);
	if (rc == FAIL) {
		str_printf(out, "Syntax error in %.*s\n%c%.*s\n", SLICE_ARG(address),
			   ascii_upper(err->text.ptr[0]), (int)err->text.len - 1, err->text.ptr + 1);
		*err = err_make(sc->task->arena);
		return OK;
	}
	if (rc == OK)
		rc = describe_fields(sc, address, out, err);
	for (unsigned where = REWRITE_ENV_FROM; rc == OK && where <= REWRITE_ENV_TO; where *= 2) {
		rc = rewrite_address(sc, rules, where, parts.full, &text, err);
		str_printf(out, "%s: %.*s\n", where == REWRITE_ENV_FROM ? "env-from" : "  env-to",
			   SLICE_ARG(text.len ? text : SLICE("<>")));
	}
	return rc;
}
