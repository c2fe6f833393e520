/* cmd_rcpt: RCPT TO (RFC 5321 section 4.1.1.3) with NOTIFY and ORCPT (RFC 3461). */
#include "session.h"

struct rcpt_parameters {
	uint8_t flags; /* as in struct recipient */
	bool has_notify, has_orcpt;
	struct slice orcpt;
};

static bool parse_notify(struct slice value, uint8_t *flags)
{
	struct slice word;
	bool never = false, other = false;

	while (slice_split(&value, ',', &word)) {
		if (slice_eq_nocase(word, SLICE("NEVER"))) {
			*flags |= 2;
			never = true;
			continue;
		}
		if (slice_eq_nocase(word, SLICE("SUCCESS")))
			*flags |= 4;
		else if (slice_eq_nocase(word, SLICE("FAILURE")))
			*flags |= 8;
		else if (slice_eq_nocase(word, SLICE("DELAY")))
			*flags |= 16;
		else
			return false;
		other = true;
	}
	return never != other;
}

static bool parse_parameters(struct smtp_session *s, struct slice rest, struct rcpt_parameters *p)
{
	struct slice name, value;

	*p = (struct rcpt_parameters){0};
	while (parameter_next(&rest, &name, &value)) {
		struct str decoded = str_make(&s->serving->arena);
		ptrdiff_t semicolon = slice_find(value, ';');
		if (s->dsn_ok && slice_eq_nocase(name, SLICE("NOTIFY"))) {
			if (p->has_notify) {
				reply_error(s, 501, "5.5.4", "NOTIFY can be specified once only");
				return false;
			}
			p->has_notify = true;
			if (!parse_notify(value, &p->flags)) {
				reply_error(s, 501, "5.5.4", "Invalid value for NOTIFY parameter");
				return false;
			}
		} else if (s->dsn_ok && slice_eq_nocase(name, SLICE("ORCPT"))) {
			if (p->has_orcpt) {
				reply_error(s, 501, "5.5.4", "ORCPT can be specified once only");
				return false;
			}
			p->has_orcpt = true;
			/* addr-type ";" xtext; a line end inside would be one in our files and reports. */
			if (semicolon <= 0 || value.len > 500 ||
			    !xtext_decode(&decoded, slice_from(value, (size_t)semicolon + 1)) ||
			    slice_find(str_slice(&decoded), '\n') >= 0 ||
			    slice_find(str_slice(&decoded), '\r') >= 0 ||
			    slice_find(str_slice(&decoded), 0) >= 0) {
				reply_error(s, 501, "5.5.4", "Invalid value for ORCPT parameter");
				return false;
			}
			p->orcpt = value;
		} else {
			reply_error(s, 555, "5.5.4", "RCPT parameter not recognized or not implemented: %.*s",
				    SLICE_ARG(name));
			return false;
		}
	}
	return true;
}

bool recipient_may_be_unqualified(struct smtp_session *s)
{
	struct err err = err_make(NULL);

	return s->local ||
	       (s->options->recipient_unqualified_hosts &&
		match_client(session_scope(s), s->options->recipient_unqualified_hosts, NULL, &err) == OK);
}

void session_qualify(struct smtp_session *s, struct address_parts *address, struct slice domain)
{
	struct str full = str_make(&s->serving->arena);

	str_add(&full, address->local_part);
	str_addc(&full, '@');
	str_add(&full, domain);
	address->full = str_slice(&full);
}

static bool rcpt_qualified(struct smtp_session *s, struct address_parts *rcpt)
{
	if (rcpt->domain.len)
		return true;
	/* "postmaster" alone must be taken (RFC 5321 section 4.5.1). */
	if (slice_eq_nocase(rcpt->local_part, SLICE("postmaster")) || recipient_may_be_unqualified(s)) {
		session_qualify(s, rcpt, conf_main(s->conf)->qualify_recipient);
		return true;
	}
	log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "unqualified recipient rejected: <%.*s>%.*s",
		    SLICE_ARG(rcpt->full), SLICE_ARG(client_phrase(s)));
	replyf(s, 501, "5.1.3", "<%.*s>: recipient address must contain a domain", SLICE_ARG(rcpt->full));
	return false;
}

static bool within_recipients_max(struct smtp_session *s, struct transaction *t)
{
	if (t->message->recipient_count + t->discarded < s->recipients_max)
		return true;
	if (!t->too_many) /* once a message: there may be a hundred thousand more */
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "too many recipients: %s: sender=<%.*s>%.*s",
			    s->options->recipients_max_reject ? "message rejected"
							      : "excess temporarily rejected",
			    SLICE_ARG(t->message->sender), SLICE_ARG(client_phrase(s)));
	t->too_many = true;
	if (s->options->recipients_max_reject) {
		t->rcpt_fail_count++;
		reply(s, 552, "5.5.3", SLICE("too many recipients"));
	} else {
		t->rcpt_defer_count++;
		reply(s, 452, "4.5.3", SLICE("too many recipients"));
	}
	return false;
}

/* true: in the envelope, or discarded. */
static bool rcpt_accepted(struct smtp_session *s, struct acl_outcome *outcome, enum acl_result result,
			  struct recipient *recipient)
{
	struct transaction *t = s->transaction;
	struct slice log = t->discard_all             ? t->discard_log
			   : outcome->log_message.ptr ? outcome->log_message
						      : outcome->user_message;

	if (!log.ptr)
		log = SLICE_EMPTY;
	if (result == ACL_DISCARD || t->discard_all) {
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT,
			    "%.*s F=<%.*s> RCPT <%.*s>: discarded by %s ACL%s%.*s",
			    SLICE_ARG(slice_ltrim(client_phrase(s))), SLICE_ARG(t->message->sender),
			    SLICE_ARG(recipient->address), t->discard_all ? "MAIL" : "RCPT",
			    log.ptr && log.len ? ": " : "", SLICE_ARG(log));
		t->discarded++;
	} else {
		recipient->address = arena_copy(&t->message->arena, recipient->address);
		recipient->original = recipient->address;
		recipient->orcpt = arena_copy(&t->message->arena, recipient->orcpt);
		if (!recipient->address.ptr || !recipient->orcpt.ptr ||
		    !message_add_recipient(t->message, recipient)) {
			reply(s, 452, "4.3.1", SLICE("out of memory, please try again later"));
			return false;
		}
	}
	s->state = STATE_RCPT;
	if (outcome->user_message.ptr && outcome->user_message.len)
		reply_user(s, 250, "2.1.5", outcome->user_message);
	else
		reply(s, 250, "2.1.5", SLICE("Accepted"));
	return true;
}

static void rcpt_refused(struct smtp_session *s, bool for_now)
{
	tally_up(&s->server->metrics->rejected_rcpt);
	if (for_now)
		s->transaction->rcpt_defer_count++;
	else
		s->transaction->rcpt_fail_count++;
}

void cmd_rcpt(struct smtp_session *s, struct slice argument)
{
	struct transaction *t = s->transaction;
	struct recipient recipient = {.parent = -1};
	struct rcpt_parameters parameters;
	struct address_parts rcpt;
	struct acl_outcome outcome;
	struct err err = err_make(&s->serving->arena);
	struct slice rest, path = path_take(argument, &rest);
	enum acl_result result;
	struct scope *sc;

	if (!argument.len) {
		t->rcpt_fail_count++;
		reply_error(s, 501, "5.5.4", "RCPT must have an address operand");
		return;
	}
	t->rcpt_count++;
	if (!rate_slope_wait(s, &s->options->rate_rcpt, t->rcpt_count, &s->delay_rcpt_ms, "RCPT"))
		return;
	(void)session_scope(s);
	if (!parse_parameters(s, rest, &parameters))
		return;
	if (rewrite_smtp(session_scope(s), path, &path, &err) != OK) {
		reply(s, 452, "4.3.1", SLICE("out of memory, please try again later"));
		return;
	}
	if (!path.len ||
	    address_parse(&s->serving->arena, path,
			  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_STRICT_PATH | address_flags(s->conf) |
			      (t->message->smtputf8 ? ADDRESS_ALLOW_UTF8 : 0),
			  &rcpt, &err) != OK) {
		t->rcpt_fail_count++;
		reply_error_about(s, 501, "5.1.3", path, path.len ? err.text : SLICE("empty address"));
		return;
	}
	if (!rcpt_qualified(s, &rcpt) || !within_recipients_max(s, t))
		return;
	sc = session_scope(s);
	sc->address = address_new(&s->serving->arena, rcpt.full);
	if (!sc->address) {
		reply(s, 452, "4.3.1", SLICE("out of memory, please try again later"));
		return;
	}
	sc->address->dsn_flags = parameters.flags;
	sc->address->orcpt = parameters.orcpt.ptr ? parameters.orcpt : SLICE_EMPTY;
	/* Who is discarded anyway is not asked about. */
	acl_outcome_init(&outcome);
	result = t->discard_all ? ACL_DISCARD : session_acl(s, ACL_WHERE_RCPT, &outcome, &err);
	t->message->rcpt_seen = true;
	if (!acl_verdict(s, ACL_WHERE_RCPT, result, &outcome, &err, "RCPT", rcpt.full)) {
		rcpt_refused(s, result == ACL_DEFER || result == ACL_ERROR);
		(void)onward_recipient(s, false, rcpt.full);
		return;
	}
	if (!onward_recipient(s, result != ACL_DISCARD && !t->discard_all, rcpt.full)) {
		rcpt_refused(s, false);
		return;
	}
	recipient.address = rcpt.full;
	recipient.dsn_flags = parameters.flags;
	recipient.orcpt = parameters.orcpt.ptr ? parameters.orcpt : SLICE_EMPTY;
	rcpt_accepted(s, &outcome, result, &recipient);
}
