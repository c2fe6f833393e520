/* finish: from the last byte of a message to the final reply: the header completed, the data ACL, the group commit, the
 * log line, the 250. Until spool_commit() has said OK nothing has been accepted, and what is refused here has not touched
 * the disk (unless it was too large to be kept). */
#include "session.h"
#include "receive.h"

#include "mailauth/mailauth.h"

static bool refuse_trouble(struct smtp_session *s, struct receive *r)
{
	const char *log = NULL;

	switch (r->trouble) {
	case TROUBLE_NONE:
		break;
	case TROUBLE_SIZE:
		if (log_wants(s->conf, LOG_SIZE_REJECT))
			log_write_more(
			    s->server->shard, s->conf, LOG_TO_MAIN | LOG_TO_REJECT, &r->message->id,
			    arena_printf(&s->serving->arena,
					 "rejected from <%.*s>%.*s: message too big: read=%llu max=%llu",
					 SLICE_ARG(r->message->sender), SLICE_ARG(client_host_only(s)),
					 (unsigned long long)r->size, (unsigned long long)r->size_max),
			    rejected_header(s));
		reply(s, 552, "5.3.4", SLICE("Message size exceeds maximum permitted"));
		break;
	case TROUBLE_HEADER:
		log = "header section too big";
		reply(s, 552, "5.3.4", SLICE("Message header section is too big"));
		break;
	case TROUBLE_HEADER_LINE:
		log = "header line too long";
		reply(s, 552, "5.3.4", SLICE("A message header line is too long"));
		break;
	case TROUBLE_BARE:
		log = "bare CR or LF in message";
		reply(s, 550, "5.6.0", SLICE("bare CR or LF in message: lines end in CRLF"));
		break;
	case TROUBLE_MEMORY:
		log = "out of memory for this message";
		reply(s, 452, "4.3.1", SLICE("out of memory, please try again later"));
		break;
	case TROUBLE_SPOOL:
		log_session(s, LOG_TO_MAIN | LOG_TO_PANIC, "spool error while receiving%.*s: %.*s",
			    SLICE_ARG(client_phrase(s)), SLICE_ARG(r->spool_error));
		reply(s, 452, "4.3.1", SLICE("Space shortage, please try later"));
		break;
	}
	if (log)
		log_printf(s->server->shard, s->conf, LOG_TO_MAIN | LOG_TO_REJECT, &r->message->id,
			   "rejected after DATA%.*s F=<%.*s>: %s", SLICE_ARG(client_phrase(s)),
			   SLICE_ARG(r->message->sender), log);
	if (r->trouble)
		tally_up(&s->server->metrics->rejected_data);
	return r->trouble != TROUBLE_NONE;
}

static uint64_t m_seconds(const struct smtp_session *s)
{
	return s->transaction->message->received / NS_PER_S;
}

static bool loops(struct smtp_session *s, struct message *m)
{
	const struct message_options *o = conf_group(s->conf, CONF_MESSAGE);
	int64_t max = o ? o->received_headers_max : 30;

	message_read_headers(m);
	return m->received_hops > (uint64_t)max;
}

static void refuse_loop(struct smtp_session *s, const struct message *m)
{
	log_printf(s->server->shard, s->conf, LOG_TO_MAIN | LOG_TO_REJECT, &m->id,
		   "rejected from <%.*s>%.*s: Too many \"Received\" headers", SLICE_ARG(m->sender),
		   SLICE_ARG(client_phrase(s)));
	reply(s, 550, "5.4.6", SLICE("Too many \"Received\" headers - suspected mail loop"));
}

struct slice session_protocol(const struct smtp_session *s, const struct message *m)
{
	bool tls = s->client.tls_cipher.len, auth = s->client.authenticator_name.len;

	if (s->client.protocol_base.len)
		return s->client.protocol_base;
	if (s->local)
		return s->batch          ? (s->client.esmtp ? SLICE("local-besmtp") : SLICE("local-bsmtp"))
		       : s->client.esmtp ? SLICE("local-esmtp")
					 : SLICE("local-smtp");
	if (!s->client.esmtp)
		return tls ? SLICE("smtps") : SLICE("smtp");
	/* RFC 3848, RFC 6531 section 4.3 */
	if (m && m->smtputf8)
		return tls    ? (auth ? SLICE("utf8esmtpsa") : SLICE("utf8esmtps"))
		       : auth ? SLICE("utf8esmtpa")
			      : SLICE("utf8esmtp");
	return tls ? (auth ? SLICE("esmtpsa") : SLICE("esmtps")) : auth ? SLICE("esmtpa") : SLICE("esmtp");
}

void session_protocol_changed(struct smtp_session *s)
{
	s->client.protocol_now = session_protocol(s, NULL);
}

/* names: a colon list of names, and of regular expressions ("^...") for whole fields. */
static void headers_remove(struct message *m, struct shard *shard, struct slice names)
{
	struct slice name, parts[1];
	char separator = 0;
	unsigned count;

	while (list_next(&m->arena, &names, &separator, &name)) {
		struct err err = err_make(NULL);
		const struct regex *regex = NULL;

		if (name.len && name.ptr[0] == '^' && regex_cached(shard, name, 0, &regex, &err) != OK)
			continue; /* it matches nothing */
		LIST_EACH (l, &m->headers.list) {
			struct header *h = LIST_ITEM(l, struct header, link);

			if (h->type != '*' &&
			    (regex ? regex_match(regex, h->text, parts, 1, &count, &err) == OK
				   : slice_eq_nocase(header_name(h), name)))
				header_delete(h);
		}
	}
}

/* Behind the first block of Received: lines, which an ACL may have put something in front of; or, for :at_start_rfc:, in front of the
 * first line that is neither Received: nor Resent-...: */
static void header_add_after_received(struct header_block *headers, struct header *h, bool rfc)
{
	struct header *received = NULL;

	LIST_EACH (l, &headers->list) {
		struct header *each = LIST_ITEM(l, struct header, link);

		if (each->type == '*')
			continue;
		if (slice_eq_nocase(header_name(each), SLICE("received")) ||
		    (rfc && slice_starts_nocase(header_name(each), SLICE("resent-"))))
			received = each;
		else if (received || rfc)
			break;
	}
	if (!received) {
		header_prepend(headers, h);
		return;
	}
	list_insert_after(&received->link, &h->link);
	headers->count++;
	headers->bytes += h->text.len;
}

void headers_apply(struct smtp_session *s, struct message *m, struct transaction *t)
{
	for (struct acl_header_change *c = t->headers; c; c = c->next) {
		struct header *h;

		if (c->how == HEADER_REMOVE) {
			headers_remove(m, s->server->shard, c->text);
			continue;
		}
		h = header_make(&m->arena, c->text);
		if (!h)
			continue;
		if (c->how == HEADER_ADD_AT_TOP)
			header_prepend(&m->headers, h);
		else if (c->how == HEADER_ADD_AFTER_RECEIVED || c->how == HEADER_ADD_AT_START_RFC)
			header_add_after_received(&m->headers, h, c->how == HEADER_ADD_AT_START_RFC);
		else
			header_append(&m->headers, h);
	}
	t->headers = NULL;
	t->headers_end = &t->headers;
	acl_headers_applied(m);
}

/* The Received: line, in front of all. */
static bool add_received(struct smtp_session *s, struct message *m)
{
	struct err err = err_make(&s->serving->arena);
	struct str str = str_make(&s->serving->arena);
	struct slice text = SLICE_EMPTY;
	struct header *received;

	if (s->options->received_header_text) {
		if (expand(session_scope(s), s->options->received_header_text, &text, &err) != OK &&
		    !err.forced) {
			log_printf(s->server->shard, s->conf, LOG_TO_MAIN | LOG_TO_PANIC, &m->id,
				   "received_header_text: %.*s", SLICE_ARG(err.text));
			text = SLICE("Received:");
		}
		if (!text.len)
			return true; /* an empty text asks for none */
	} else {
		if (received_default(m, m->client, conf_main(s->conf), m->sender,
				     log_wants(s->conf, LOG_INCOMING_PORT), &str) != OK)
			return false;
		text = str_slice(&str);
	}
	received = received_make(m, text, m->received / NS_PER_S);
	if (received)
		header_prepend(&m->headers, received);
	return received != NULL;
}

/* One of the options that message ids may be made of; empty where it cannot be had. */
static struct slice id_option(struct smtp_session *s, const struct expansion *option)
{
	struct err err = err_make(&s->serving->arena);
	struct slice value = SLICE_EMPTY;

	if (option && expand_option(session_scope(s), option, &value, &err) != OK) {
		log_session(s, LOG_TO_MAIN | LOG_TO_PANIC, "message_id_header option: %.*s",
			    SLICE_ARG(err.text));
		return SLICE_EMPTY;
	}
	return value;
}

void fixup_of(struct smtp_session *s, struct fixup *f)
{
	const struct conf_main *main_options = conf_main(s->conf);
	struct transaction *t = s->transaction;

	*f = (struct fixup){
	    .qualify_domain = main_options->qualify_domain,
	    .qualify_recipient = main_options->qualify_recipient,
	    .primary_hostname = main_options->primary_hostname,
	    .remove_return_path = s->options->return_path_remove,
	    .remove_envelope_to = s->options->envelope_to_remove,
	    .remove_delivery_date = s->options->delivery_date_remove,
	    .local = s->local && !s->suppress_fixups && !(t->controls & ACL_CONTROL_SUPPRESS_FIXUPS),
	    .smtp = !s->submission,
	    .trusted = s->trusted,
	    .from_check = s->options->local_from_check,
	    .sender_retain =
		s->options->local_sender_retain || (t->controls & ACL_CONTROL_SUBMISSION_SENDER_RETAIN),
	    .from_prefix = s->options->local_from_prefix,
	    .from_suffix = s->options->local_from_suffix,
	    .login = s->client.login,
	    .name = s->submission ? s->submission->full_name : SLICE_EMPTY,
	    .id_text = id_option(s, s->options->message_id_header_text),
	    .id_domain = id_option(s, s->options->message_id_header_domain),
	    .submission = t->controls & ACL_CONTROL_SUBMISSION,
	    .submission_domain = t->submission_domain,
	    .submission_name = t->submission_name.ptr ? t->submission_name : SLICE_EMPTY,
	    .authenticated_id = s->client.authenticated_id,
	    .now = m_seconds(s),
	};
	if (!f->submission)
		f->submission_domain = (struct slice){NULL, 0, 0};
}

/* May this client leave the domain to us? */
static bool may_be_unqualified(struct smtp_session *s, const struct match_list *hosts)
{
	struct err err = err_make(NULL);

	return s->local || (hosts && match_client(session_scope(s), hosts, NULL, &err) == OK);
}

/* Fields get the domains that their addresses lack, and are rewritten. */
static bool rewrite_fields_received(struct smtp_session *s, struct message *m, struct err *err)
{
	const struct conf_main *main_options = conf_main(s->conf);
	struct slice none = {NULL, 0, CLEAN};
	struct rewrite_fields how = {
	    .rules = rewrite_rules(s->conf), .sender_domain = none, .recipient_domain = none};

	if (may_be_unqualified(s, s->options->sender_unqualified_hosts))
		how.sender_domain = main_options->qualify_domain;
	if (may_be_unqualified(s, s->options->recipient_unqualified_hosts))
		how.recipient_domain = main_options->qualify_recipient;
	return rewrite_block(session_scope(s), &how, &m->arena, &m->headers, err) == OK;
}

static bool sender_fixed(struct smtp_session *s, struct message *m, const struct fixup *fixup,
			 struct err *err)
{
	struct slice before = m->sender;

	if (message_fix_sender(m, fixup, err) != OK)
		return false;
	if (!slice_eq(before, m->sender) && log_wants(s->conf, LOG_ADDRESS_REWRITE))
		log_printf(s->server->shard, s->conf, LOG_TO_MAIN, &m->id,
			   "\"%.*s\" from env-from rewritten as \"%.*s\" by submission mode",
			   SLICE_ARG(before), SLICE_ARG(m->sender));
	return rewrite_sender(session_scope(s), err) == OK;
}

bool header_complete(struct smtp_session *s, struct message *m)
{
	struct err err = err_make(&s->serving->arena);
	struct fixup fixup;

	fixup_of(s, &fixup);
	if (message_fix_begin(m, &fixup, &err) != OK || rewrite_recipients(session_scope(s), &err) != OK ||
	    !sender_fixed(s, m, &fixup, &err) || !rewrite_fields_received(s, m, &err) ||
	    message_fix_end(m, &fixup, &err) != OK || !add_received(s, m))
		return false;
	message_read_headers(m);
	return true;
}

void message_debug(struct smtp_session *s, struct message *m)
{
	struct slice name = log_debug_name(s->debug);

	if (!name.ptr)
		return;
	m->debug_name = arena_copy(&m->arena, name);
	m->debug_topics = m->debug_name.ptr ? s->debug->topics : 0;
}

/* Stores the message. false: it was not kept, and the client was told so. */
static bool commit(struct smtp_session *s, struct message *m)
{
	struct err err = err_make(&s->serving->arena);

	if (!log_healthy(s->server->shard)) {
		reply(s, 452, "4.3.1", SLICE("Space shortage, please try later"));
		return false;
	}
	session_deadline(s, 5 * 60 * 1000);
	message_debug(s, m);
	if (message_commit(&s->task, s->server->spool, m, &err) == OK)
		return true;
	log_printf(s->server->shard, s->conf, LOG_TO_MAIN | LOG_TO_PANIC, &m->id,
		   "spool write failed%.*s: %.*s", SLICE_ARG(client_phrase(s)), SLICE_ARG(err.text));
	reply(s, 452, "4.3.1", SLICE("Space shortage, please try later"));
	return false;
}

/* Without printf: it is said to every message. */
static void reply_id(struct smtp_session *s, const struct message *m)
{
	char text[8 + sizeof(m->id.text)] = "OK id=";

	strcpy(text + 6, m->id.text);
	reply(s, 250, "2.0.0", slice_of(text));
}

/* Why a message has to wait for a queue run, in the log's words; empty: it need not, or queue_only says it for all. */
static struct slice queue_reason(struct smtp_session *s, const struct message *m)
{
	const struct smtp_options *o = s->options;
	unsigned connections = smtp_connection_count(s->server->shared);

	if (m->queue_only || conf_main(s->conf)->mua_wrapper)
		return SLICE_EMPTY;
	if (s->transaction->controls & ACL_CONTROL_QUEUE && !m->queue_smtp)
		return SLICE("queued by ACL");
	if (o->smtp_accept_queue_per_connection > 0 &&
	    s->message_count > (uint64_t)o->smtp_accept_queue_per_connection)
		return arena_printf(&s->serving->arena, "more than %lld messages received in one connection",
				    (long long)o->smtp_accept_queue_per_connection);
	if (o->smtp_accept_queue > 0 && connections > (uint64_t)o->smtp_accept_queue)
		return arena_printf(&s->serving->arena, "too many connections (%u, max %lld)", connections,
				    (long long)o->smtp_accept_queue);
	if (load_queues(s))
		return arena_printf(&s->serving->arena, "load average %.2f",
				    (double)deliver_load(s->server->deliverer) / 1000);
	return SLICE_EMPTY;
}

bool onward_waits(struct smtp_session *s, const struct message *m)
{
	return queue_reason(s, m).len > 0;
}

void frozen_told(struct smtp_session *s, struct scope *sc, const struct message *m)
{
	struct err err = err_make(NULL);

	log_printf(s->server->shard, s->conf, LOG_TO_MAIN, &m->id, "frozen by ACL");
	if (s->transaction->controls & ACL_CONTROL_FREEZE_TELL &&
	    deliver_tell_frozen(sc, s->server->deliverer, m, &err) != OK)
		log_printf(s->server->shard, s->conf, LOG_TO_MAIN, &m->id, "freeze_tell could not be told");
}

/* The last word on a message that was taken. */
static void reply_accepted(struct smtp_session *s, const struct message *m, struct slice user_text)
{
	static const struct slice kept = SLICE_INIT(
	    "Your message has been rejected but is being kept for evaluation.\n"
	    "If it was a legitimate message, it may still be delivered to the target recipient(s).");
	const struct transaction *t = s->transaction;
	struct slice fake = t->fake_text.ptr && t->fake_text.len ? t->fake_text : kept;

	if (t->controls & ACL_CONTROL_FAKEREJECT)
		reply_user(s, 550, "5.7.1", fake);
	else if (t->controls & ACL_CONTROL_FAKEDEFER)
		reply_user(s, 450, "4.7.1", fake);
	else if (user_text.len)
		reply_user(s, 250, "2.0.0", user_text);
	else
		reply_id(s, m);
}

static void accepted(struct smtp_session *s, struct message *m, struct slice user_text)
{
	struct slice why = queue_reason(s, m);
	struct client *facts = client_copy(&m->arena, m->client);
	const struct message_options *options = conf_group(s->conf, CONF_MESSAGE);

	m->received_complete = shard_wall(s->server->shard);
	log_arrival(s, m);
	if (why.len && log_wants(s->conf, LOG_DELAY_DELIVERY))
		log_printf(s->server->shard, s->conf, LOG_TO_MAIN, &m->id, "no immediate delivery: %.*s",
			   SLICE_ARG(why));
	if (m->frozen)
		frozen_told(s, session_scope(s), m);
	tally_up(&s->server->metrics->messages);
	tally_add(&s->server->metrics->bytes, m->body.size);
	reply_accepted(s, m, user_text);
	/* From here on the message belongs to those who deliver it, and so do the client's facts: they go with it. */
	if (s->stdio && s->stdio->id_ret)
		*s->stdio->id_ret = m->id;
	m->client = facts;
	if (!facts) {
		/* Durable, but no memory to hand it on: the next queue run finds it. */
		return;
	}
	/* The body can be read back; those who are still sending cannot do without buffers. */
	if (bufs_scarce(s->server->shard) &&
	    body_keep_start(m, 2 * (uint32_t)options->message_body_visible) == OK)
		body_drop(&m->body);
	next_hop_done(m, !m->queue_only && !why.len);
	message_ref(m);
	deliver_accepted(s->server->deliverer, m, why.len || m->queue_only ? DELIVER_QUEUE : DELIVER_NOW);
}

/* Whose "discard" has left nobody who wants the message. */
struct discard {
	const char *acl; /* NULL: nobody's */
	struct slice log;
};

static struct discard discarded_by(const char *acl, const struct acl_outcome *outcome)
{
	return (struct discard){acl, outcome->log_message.ptr    ? outcome->log_message
				     : outcome->user_message.ptr ? outcome->user_message
								 : SLICE_EMPTY};
}

/* Accepted, and gone. */
static void blackhole(struct smtp_session *s, struct message *m, const struct discard *by,
		      struct slice user_text)
{
	m->received_complete = shard_wall(s->server->shard);
	log_arrival(s, m);
	log_printf(s->server->shard, s->conf, LOG_TO_MAIN, &m->id,
		   "=> blackhole (%s ACL discarded recipients)%s%.*s", by->acl, by->log.len ? ": " : "",
		   SLICE_ARG(by->log));
	log_printf(s->server->shard, s->conf, LOG_TO_MAIN, &m->id, "Completed");
	reply_accepted(s, m, user_text);
}

/* The next hop has the text already. */
static void tell_late_changes(struct smtp_session *s, const struct receive *r)
{
	if (r->onward && s->transaction->headers)
		log_printf(s->server->shard, s->conf, LOG_TO_MAIN | LOG_TO_PANIC, &r->message->id,
			   "Header modification in data ACLs will not take effect on cutthrough deliveries");
}

/* The signatures get their results, and the DKIM ACL its say on each. false: refused, and the client told. */
static bool verify_signatures(struct smtp_session *s, struct receive *r, struct discard *discard)
{
	struct message *m = r->message;
	struct scope *sc = session_scope(s);
	struct err err = err_make(&s->serving->arena);
	struct dkim_rounds rounds;
	struct acl_outcome outcome;
	enum rc rc;

	authres_removed(m);
	session_deadline(s, 5 * 60 * 1000);
	rc = dkim_verify(sc, &mailauth_dns, &err);
	if (rc == OK && s->options->acl[ACL_WHERE_DKIM])
		rc = dkim_round_first(sc, &rounds, &err);
	if (rc != OK) {
		if (rc == CANCELLED)
			return false;
		log_printf(s->server->shard, s->conf, LOG_TO_MAIN | LOG_TO_PANIC, &m->id, "DKIM: %.*s",
			   SLICE_ARG(err.text));
		reply(s, 451, "4.3.0", SLICE("Temporary local problem - please try later"));
		return false;
	}
	while (s->options->acl[ACL_WHERE_DKIM] && dkim_round_next(sc, &rounds)) {
		enum acl_result result = session_acl(s, ACL_WHERE_DKIM, &outcome, &err);

		dkim_round_done(sc, &rounds);
		if (!acl_verdict(s, ACL_WHERE_DKIM, result, &outcome, &err, NULL, SLICE_EMPTY)) {
			tally_up(&s->server->metrics->rejected_data);
			return false;
		}
		if (result == ACL_DISCARD) {
			*discard = discarded_by("DKIM", &outcome);
			break;
		}
	}
	tell_late_changes(s, r);
	headers_apply(s, m, s->transaction);
	return true;
}

bool message_header(struct smtp_session *s, struct receive *r)
{
	struct message *m = r->message;

	if (r->header_state != HEADER_NEW)
		return r->header_state == HEADER_DONE;
	m->protocol = session_protocol(s, m);
	/* Of the header, and the line behind it; the body's come later, if it is still under way. */
	m->lines_received = message_lines(m) - m->body.line_count;
	if (loops(s, m)) {
		r->header_state = HEADER_LOOP;
	} else if (!header_complete(s, m)) {
		r->header_state = HEADER_MEMORY;
	} else {
		headers_apply(s, m, s->transaction);
		r->header_state = HEADER_DONE;
	}
	return r->header_state == HEADER_DONE;
}

static bool refuse_header(struct smtp_session *s, struct receive *r)
{
	if (message_header(s, r)) {
		r->message->lines_received += r->message->body.line_count;
		return false;
	}
	if (r->header_state == HEADER_LOOP)
		refuse_loop(s, r->message);
	else
		reply(s, 452, "4.3.1", SLICE("out of memory, please try again later"));
	return true;
}

/* The DATA ACL's say. false: refused, and the client told. */
static bool judge_data(struct smtp_session *s, struct receive *r, struct acl_outcome *outcome,
		       struct discard *discard)
{
	struct transaction *t = s->transaction;
	enum acl_result result;
	struct err err;

	if (!s->options->acl[ACL_WHERE_DATA])
		return true;
	(void)session_scope(s);
	result = session_acl(s, ACL_WHERE_DATA, outcome, &err);
	/* Who is asked to come back is counted when he does. */
	if (result != ACL_DEFER && result != ACL_ERROR)
		dmarc_count(session_scope(s), result != ACL_ACCEPT);
	if (result == ACL_ACCEPT || result == ACL_DISCARD)
		tell_late_changes(s, r);
	/* Also what is refused: the reject log has the header as it would have been. */
	headers_apply(s, t->message, t);
	if (!acl_verdict(s, ACL_WHERE_DATA, result, outcome, &err, NULL, SLICE_EMPTY)) {
		tally_up(&s->server->metrics->rejected_data);
		return false;
	}
	if (result == ACL_DISCARD)
		*discard = discarded_by("DATA", outcome);
	return true;
}

void message_finish(struct smtp_session *s, struct receive *r)
{
	struct transaction *t = s->transaction;
	struct message *m = t->message;
	struct discard discard = {.log = SLICE_EMPTY};
	struct acl_outcome outcome;
	struct slice user_text;

	receive_complete(s, r);
	if (refuse_trouble(s, r) || refuse_header(s, r))
		return;
	onward_go(s, r);
	acl_outcome_init(&outcome);
	/* Nobody is asked about a message that goes to nobody. */
	if (!m->recipient_count)
		discard.acl = t->discard_all ? "MAIL" : "RCPT";
	if (s->task.cancelled || (!discard.acl && !verify_signatures(s, r, &discard)))
		return;
	dmarc_control(m, t->controls & ACL_CONTROL_DMARC_OFF, t->controls & ACL_CONTROL_DMARC_FORENSIC);
	if (!discard.acl && !judge_data(s, r, &outcome, &discard))
		return;
	user_text = outcome.user_message.ptr ? outcome.user_message : SLICE_EMPTY;
	if (t->controls & ACL_CONTROL_FREEZE) {
		m->frozen = true;
		m->frozen_since = m->received / NS_PER_S;
	}
	m->queue_smtp |= t->controls & ACL_CONTROL_QUEUE_FIRST_PASS;
	if (discard.acl) {
		blackhole(s, m, &discard, user_text);
		return;
	}
	if (s->dry_run) {
		reply_accepted(s, m, user_text);
		return;
	}
	switch (onward_finish(s, r, true)) {
	case ONWARD_DELIVERED:
		reply_accepted(s, m, user_text);
		return;
	case ONWARD_ANSWERED:
		return;
	case ONWARD_OURS:
		break;
	}
	if (commit(s, m))
		accepted(s, m, user_text);
}
