/* refuse: what an ACL's verdict means, for the client and for the log. */
#include "session.h"

#include <netinet/in.h>
#include <netinet/ip.h>

static const struct refusal {
	short code;
	const char *enhanced;
} refusals[ACL_WHERE_COUNT] = {
    [ACL_WHERE_CONNECT] = {554, "5.7.1"},   [ACL_WHERE_HELO] = {550, "5.7.1"},
    [ACL_WHERE_MAIL] = {550, "5.7.1"},      [ACL_WHERE_RCPT] = {550, "5.7.1"},
    [ACL_WHERE_PREDATA] = {550, "5.7.1"},   [ACL_WHERE_DATA] = {550, "5.7.1"},
    [ACL_WHERE_PRDR] = {550, "5.7.1"},      [ACL_WHERE_MIME] = {550, "5.7.1"},
    [ACL_WHERE_DKIM] = {550, "5.7.20"},     [ACL_WHERE_AUTH] = {503, "5.7.1"},
    [ACL_WHERE_MAILAUTH] = {550, "5.7.1"},  [ACL_WHERE_ETRN] = {458, NULL},
    [ACL_WHERE_EXPN] = {550, "5.7.1"},      [ACL_WHERE_VRFY] = {252, NULL},
    [ACL_WHERE_STARTTLS] = {550, "5.7.1"},  [ACL_WHERE_QUIT] = {250, NULL},
    [ACL_WHERE_NOT_SMTP] = {550, NULL},     [ACL_WHERE_ATRN] = {450, NULL},
    [ACL_WHERE_WELLKNOWN] = {550, "5.7.1"},
};

/* A field that several recipients' ACLs add is added once. */
static bool is_added(const struct transaction *t, const struct acl_header_change *change)
{
	for (const struct acl_header_change *c = t->headers; c && change->how != HEADER_REMOVE; c = c->next)
		if (c->how == change->how && slice_eq(c->text, change->text))
			return true;
	return false;
}

/* control = dscp. That it does not work is no reason to refuse anything: routers on the way may ignore it as well. */
static void client_tos(struct smtp_session *s, int tos)
{
	int fd = stream_fd(s->stream);

	if (s->client.ip.family == 6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	else
		(void)setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
}

enum acl_result session_acl(struct smtp_session *s, enum acl_where where, struct acl_outcome *outcome,
			    struct err *err)
{
	struct transaction *t = s->transaction;
	enum acl_result result;

	acl_outcome_init(outcome);
	*err = err_make(&s->serving->arena);
	/* The ACL's own waits have their own deadlines; this is the one that no client should be kept beyond. */
	session_deadline(s, 10 * 60 * 1000);
	result = acl_check(&s->serving->scope, where, s->options->acl[where], outcome, err);
	if (outcome->controls & ACL_CONTROL_NO_ENFORCE_SYNC)
		s->sync_off = true;
	if (outcome->controls & ACL_CONTROL_ENFORCE_SYNC)
		s->sync_off = false;
	if (outcome->controls & ACL_CONTROL_ALLOW_AUTH_UNADVERTISED)
		s->auth_unadvertised = true;
	if (outcome->controls & ACL_CONTROL_NO_MULTILINE)
		s->multiline_off = true;
	if (outcome->controls & ACL_CONTROL_NO_DELAY_FLUSH)
		s->delay_flush_off = true;
	if (outcome->controls & ACL_CONTROL_NO_CALLOUT_FLUSH)
		s->callout_flush_off = true;
	if (outcome->tos >= 0 && !s->local)
		client_tos(s, outcome->tos);
	if (t) {
		struct arena *arena = &t->message->arena;
		t->controls |= outcome->controls;
		if (outcome->control_text.ptr)
			t->fake_text = arena_copy(arena, outcome->control_text);
		if (outcome->submission_domain.ptr)
			t->submission_domain = arena_copy(arena, outcome->submission_domain);
		if (outcome->submission_name.ptr)
			t->submission_name = arena_copy(arena, outcome->submission_name);
		if (outcome->queue_name.ptr)
			t->message->queue_name = arena_copy(arena, outcome->queue_name);
		for (struct acl_header_change *c = outcome->headers; c; c = c->next) {
			struct acl_header_change *mine;
			if (is_added(t, c))
				continue;
			mine = arena_make(arena, struct acl_header_change);
			if (!mine)
				return ACL_ERROR;
			*mine = (struct acl_header_change){.text = arena_copy(arena, c->text), .how = c->how};
			*t->headers_end = mine;
			t->headers_end = &mine->next;
		}
	}
	return result;
}

static void add_headers(struct str *text, struct message *m)
{
	LIST_EACH (l, &m->headers.list) {
		const struct header *h = LIST_ITEM(l, struct header, link);

		str_addc(text, h->type ? h->type : ' ');
		str_addc(text, ' ');
		str_add(text, h->text);
	}
}

struct slice rejected_header(struct smtp_session *s)
{
	struct str text = str_make(&s->serving->arena);
	struct message *m = s->transaction->message;

	if (!log_wants(s->conf, LOG_REJECTED_HEADER))
		return SLICE_EMPTY;

	str_addz(&text, "Envelope-from: <");
	str_add(&text, m->sender);
	str_addz(&text, ">\n");
	for (uint32_t i = 0; i < m->recipient_count; i++) {
		str_addz(&text, i ? "              <" : "Envelope-to: <");
		str_add(&text, m->recipients[i].address);
		str_addz(&text, ">\n");
	}
	add_headers(&text, m);
	return text.failed ? SLICE_EMPTY : str_slice(&text);
}

static void log_unverified(struct smtp_session *s, const struct acl_outcome *outcome)
{
	struct str line = str_make(&s->serving->arena);

	log_client(&line, s);
	str_addz(&line, " sender verify fail for ");
	str_add(&line, outcome->unverified);
	log_write(s->server->shard, s->conf, outcome->reject_targets, NULL, slice_ltrim(str_slice(&line)));
}

/* NULL: none has a name yet. */
static const struct message_id *message_under_way(const struct smtp_session *s)
{
	const struct message_id *id = s->transaction ? &s->transaction->message->id : NULL;

	return id && id->text[0] ? id : NULL;
}

static void log_refusal(struct smtp_session *s, enum acl_where where, bool temporary,
			struct acl_outcome *outcome, const char *verb, struct slice argument,
			struct slice reason)
{
	struct str line = str_make(&s->serving->arena);
	struct slice first = reason, more = SLICE_EMPTY;
	ptrdiff_t end = slice_find(reason, '\n');

	if (end >= 0)
		first = slice_sub(reason, 0, (size_t)end);
	log_client(&line, s);
	if (s->transaction)
		log_senders(&line, s, s->transaction->message);
	/* As Exim: of other commands the sender says nothing. */
	if (s->transaction && (where == ACL_WHERE_RCPT || where == ACL_WHERE_DATA ||
			       where == ACL_WHERE_MIME || where == ACL_WHERE_PRDR)) {
		str_addz(&line, " F=<");
		str_add(&line, s->transaction->message->sender);
		str_addc(&line, '>');
	}
	str_addz(&line, temporary ? " temporarily rejected " : " rejected ");
	str_addz(&line, where == ACL_WHERE_HELO ? "EHLO or HELO" : verb ? verb : acl_where_names[where]);
	if (where == ACL_WHERE_CONNECT)
		str_addz(&line, " in \"connect\" ACL");
	if (verb && argument.len) {
		bool path = where == ACL_WHERE_MAIL || where == ACL_WHERE_RCPT;
		str_addz(&line, path ? " <" : " ");
		str_add(&line, argument);
		str_addz(&line, path ? ">" : "");
	}
	/* There Exim has the command that the ACL runs for, which is none. */
	if (where == ACL_WHERE_DKIM)
		str_addc(&line, ' ');
	if (first.len) {
		str_addz(&line, ": ");
		str_add(&line, first);
	}
	if (s->transaction && (where == ACL_WHERE_DATA || where == ACL_WHERE_DKIM))
		more = rejected_header(s);
	if (where == ACL_WHERE_CONNECT && !log_wants(s->conf, LOG_CONNECTION_REJECT))
		return;
	log_write_more(s->server->shard, s->conf, outcome->reject_targets, message_under_way(s),
		       slice_ltrim(str_slice(&line)), more);
}

/* The details go before the message, but behind a code that it begins with. */
static struct slice with_details(struct smtp_session *s, struct slice details, struct slice user)
{
	struct str text = str_make(&s->serving->arena);
	uint64_t code;

	if (user.len > 3 && user.ptr[3] == ' ' && parse_u64(slice_sub(user, 0, 3), &code)) {
		str_add(&text, slice_sub(user, 0, 4));
		user = slice_from(user, 4);
	}
	str_add(&text, details);
	str_addc(&text, '\n');
	str_add(&text, user);
	return text.failed ? user : str_slice(&text);
}

bool acl_verdict(struct smtp_session *s, enum acl_where where, enum acl_result result,
		 struct acl_outcome *outcome, struct err *err, const char *verb, struct slice argument)
{
	struct slice user = outcome->user_message.ptr ? outcome->user_message : SLICE_EMPTY;
	struct slice log = outcome->log_message.ptr ? outcome->log_message : user;
	bool temporary = result == ACL_DEFER || result == ACL_ERROR;
	int code = temporary ? 451 : refusals[where].code;
	const char *enhanced = temporary ? "4.3.0" : refusals[where].enhanced;

	if (s->task.cancelled) {
		s->over = true;
		return false;
	}
	if (result == ACL_ACCEPT || result == ACL_DISCARD)
		return true;
	if (result == ACL_ERROR) {
		/* The administrator's mistake is told to the administrator. */
		if (!log.len)
			log = err->text;
		if (err->text.len)
			log_session(s, LOG_TO_PANIC, "%.*s ACL: %.*s",
				    SLICE_ARG(slice_of(acl_where_names[where])), SLICE_ARG(err->text));
		user = SLICE_EMPTY;
	} else if (result == ACL_DEFER && !log.len) {
		log = err->text;
	}
	if (outcome->unverified.ptr && log_wants(s->conf, LOG_SENDER_VERIFY_FAIL))
		log_unverified(s, outcome);
	log_refusal(s, where, temporary, outcome, verb, argument, log);
	if (!user.len && outcome->header_refused && s->options->smtp_return_error_details)
		user = arena_printf(&s->serving->arena, "Rejected after DATA: %.*s", SLICE_ARG(log));
	if (!user.len && result == ACL_DEFER && s->options->smtp_return_error_details)
		user = log;
	if (!user.len)
		user = temporary ? SLICE("Temporary local problem - please try later")
				 : SLICE("Administrative prohibition");
	if (outcome->drop_code && result == ACL_DROP)
		code = outcome->drop_code;
	if (outcome->details.ptr && !s->multiline_off)
		user = with_details(s, outcome->details, user);
	reply_user(s, code, enhanced, user);
	if (result == ACL_DROP) {
		if (log_wants(s->conf, LOG_SMTP_CONNECTION))
			log_printf(s->server->shard, s->conf, LOG_TO_MAIN, message_under_way(s),
				   "%.*s%.*s closed by DROP in ACL",
				   SLICE_ARG(slice_ltrim(client_connection(s))),
				   SLICE_ARG(session_duration(s)));
		s->end_told = true;
		s->notquit_reason = "acl-drop";
		s->over = true;
	}
	return false;
}
