/* cmd_mail: MAIL FROM (RFC 5321 section 4.1.1.2) with SIZE (1870), BODY (6152), SMTPUTF8 (6531), RET and ENVID (3461). */
#include "mailauth/mailauth.h"

#include "session.h"

struct mail_parameters {
	uint64_t size;
	uint8_t body_8bit, dsn_ret;
	bool smtputf8, has_size, has_ret, has_envid;
	struct slice envid, auth;
};

struct slice path_take(struct slice argument, struct slice *rest_ret)
{
	bool bracket = argument.len && argument.ptr[0] == '<', quoted = false;
	uint32_t i = 0;

	for (; i < argument.len; i++) {
		char c = argument.ptr[i];
		if (quoted && c == '\\') {
			i++;
		} else if (c == '"') {
			quoted = !quoted;
		} else if (!quoted && c == '>' && bracket) {
			i++;
			break;
		} else if (!quoted && !bracket && ascii_is_space(c)) {
			break;
		}
	}
	/* What stands right behind a path is not a parameter: it makes the path malformed. */
	while (i < argument.len && !ascii_is_space(argument.ptr[i]))
		i++;
	*rest_ret = slice_from(argument, i);
	return slice_sub(argument, 0, i);
}

bool parameter_next(struct slice *rest, struct slice *name_ret, struct slice *value_ret)
{
	struct slice word;
	ptrdiff_t equal;

	if (!slice_word(rest, &word))
		return false;
	equal = slice_find(word, '=');
	*name_ret = equal < 0 ? word : slice_sub(word, 0, (size_t)equal);
	*value_ret = equal < 0 ? SLICE_EMPTY : slice_from(word, (size_t)equal + 1);
	return true;
}

static bool parse_dsn(struct smtp_session *s, struct mail_parameters *p, struct slice name,
		      struct slice value)
{
	struct str decoded = str_make(&s->serving->arena);

	if (slice_eq_nocase(name, SLICE("RET"))) {
		if (p->has_ret) {
			reply_error(s, 501, "5.5.4", "RET can be specified once only");
			return false;
		}
		p->has_ret = true;
		p->dsn_ret = slice_eq_nocase(value, SLICE("FULL"))   ? 1
			     : slice_eq_nocase(value, SLICE("HDRS")) ? 2
								     : 0;
		if (!p->dsn_ret) {
			reply_error(s, 501, "5.5.4", "Value for RET is invalid");
			return false;
		}
		return true;
	}
	if (p->has_envid) {
		reply_error(s, 501, "5.5.4", "ENVID can be specified once only");
		return false;
	}
	p->has_envid = true;
	/* Only well-formed xtext is kept: it will stand in files and headers of its own line. */
	if (value.len > 100 || !xtext_decode(&decoded, value)) {
		reply_error(s, 501, "5.5.4", "Value for ENVID is invalid");
		return false;
	}
	p->envid = value;
	return true;
}

/* SIZE=n. A number that we cannot count to is too big, whatever the limit is. */
static bool parse_size(struct smtp_session *s, struct mail_parameters *p, struct slice value)
{
	bool digits = value.len > 0;

	for (uint32_t i = 0; i < value.len; i++)
		digits = digits && ascii_is_digit(value.ptr[i]);
	if (!digits || p->has_size) {
		reply_error(s, 501, "5.5.4",
			    p->has_size ? "SIZE can be specified once only" : "invalid data for SIZE");
		return false;
	}
	p->has_size = true;
	if (parse_u64(value, &p->size) && p->size <= INT64_MAX)
		return true;
	reply(s, 552, "5.3.4", SLICE("Message size exceeds maximum permitted"));
	return false;
}

static bool parse_body(struct smtp_session *s, struct mail_parameters *p, struct slice value)
{
	if (!slice_eq_nocase(value, SLICE("8BITMIME")) && !slice_eq_nocase(value, SLICE("7BIT"))) {
		reply_error(s, 501, "5.5.4", "invalid data for BODY");
		return false;
	}
	p->body_8bit = value.ptr[0] == '8' ? 8 : 7;
	return true;
}

/* Whoever believes it: well-formed it has to be (RFC 4954 section 5). */
static bool parse_auth(struct smtp_session *s, struct mail_parameters *p, struct slice value)
{
	struct str decoded = str_make(&s->serving->arena);

	if (slice_eq(value, SLICE("<>")))
		return true;
	if (value.len && xtext_decode(&decoded, value) && !decoded.failed) {
		p->auth = slice_tainted(str_slice(&decoded));
		return true;
	}
	reply_error(s, 501, "5.5.4", "invalid data for AUTH");
	return false;
}

static bool parse_parameters(struct smtp_session *s, struct slice rest, struct mail_parameters *p)
{
	struct slice name, value;
	bool good = true;

	*p = (struct mail_parameters){.envid = SLICE_EMPTY, .auth = SLICE_EMPTY};
	while (good && parameter_next(&rest, &name, &value)) {
		if (slice_eq_nocase(name, SLICE("SIZE"))) {
			good = parse_size(s, p, value);
		} else if (slice_eq_nocase(name, SLICE("BODY")) && s->options->accept_8bitmime) {
			good = parse_body(s, p, value);
		} else if (slice_eq_nocase(name, SLICE("SMTPUTF8")) && s->utf8_ok && !value.len) {
			p->smtputf8 = true;
		} else if (slice_eq_nocase(name, SLICE("RET")) || slice_eq_nocase(name, SLICE("ENVID"))) {
			good = !s->dsn_ok || parse_dsn(s, p, name, value);
		} else if (slice_eq_nocase(name, SLICE("AUTH"))) {
			good = parse_auth(s, p, value);
		} else {
			/* Exim's habit is to call this a malformed address; RFC 5321 section 4.1.1.11 wants 555. */
			reply_error(s, 555, "5.5.4", "MAIL parameter not recognized or not implemented: %.*s",
				    SLICE_ARG(name));
			good = false;
		}
	}
	return good;
}

static bool sender_qualified(struct smtp_session *s, struct address_parts *sender)
{
	struct err err = err_make(NULL);

	if (sender->domain.len || !sender->full.len)
		return true;
	if (s->local ||
	    (s->options->sender_unqualified_hosts &&
	     match_client(session_scope(s), s->options->sender_unqualified_hosts, NULL, &err) == OK)) {
		session_qualify(s, sender, conf_main(s->conf)->qualify_domain);
		return true;
	}
	log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "unqualified sender rejected: <%.*s>%.*s",
		    SLICE_ARG(sender->full), SLICE_ARG(client_phrase(s)));
	replyf(s, 501, "5.1.7", "<%.*s>: sender address must contain a domain", SLICE_ARG(sender->full));
	return false;
}

static bool room_for(struct smtp_session *s, struct slice sender, uint64_t size)
{
	const struct smtp_options *o = s->options;
	int64_t space = -1, inodes = -1;

	if (s->size_max && size > s->size_max) {
		if (log_wants(s->conf, LOG_SIZE_REJECT))
			log_session(s, LOG_TO_MAIN | LOG_TO_REJECT,
				    "rejected MAIL FROM:<%.*s>%.*s: message too big: size=%llu max=%llu",
				    SLICE_ARG(sender), SLICE_ARG(client_phrase(s)), (unsigned long long)size,
				    (unsigned long long)s->size_max);
		reply(s, 552, "5.3.4", SLICE("Message size exceeds maximum permitted"));
		return false;
	}
	if (s->dry_run)
		return true;
	spool_space(s->server->spool, &space, &inodes);
	if (!o->smtp_check_spool_space)
		size = 0;
	if ((space >= 0 && (o->check_spool_space > 0 || size) &&
	     space < o->check_spool_space + (int64_t)size) ||
	    (inodes >= 0 && o->check_spool_inodes > 0 && inodes < o->check_spool_inodes) ||
	    !log_has_room(s->server, o) || !log_healthy(s->server->shard)) {
		log_session(s, LOG_TO_MAIN, "temporarily rejected %.*s: not enough spool or log space",
			    SLICE_ARG(s->serving->scope.smtp_command));
		reply(s, 452, "4.3.1", SLICE("Space shortage, please try later"));
		return false;
	}
	return true;
}

static struct transaction *transaction_begin(struct smtp_session *s, const struct address_parts *sender,
					     const struct mail_parameters *p)
{
	/* The arena holds envelope and header block; the body stays in its buffers. */
	struct message *m = message_new(s->conf, 64ul * 1024 * 1024);
	struct transaction *t = m ? arena_make(&m->arena, struct transaction) : NULL;

	if (!t)
		goto out;
	t->message = m;
	t->headers_end = &t->headers;
	t->size_declared = p->size;
	m->client = &s->client;
	m->size_declared = p->size;
	s->client.acl_m = NULL; /* a message begins without $acl_m variables */
	m->sender = m->sender_original = arena_copy(&m->arena, sender->full);
	m->dsn_ret = p->dsn_ret;
	m->dsn_envid = arena_copy(&m->arena, p->envid);
	m->auth_sender = arena_copy(&m->arena, p->auth);
	m->body_8bit = p->body_8bit;
	m->smtputf8 = p->smtputf8;
	m->local = s->local;
	m->protocol = session_protocol(s, m);
	m->dont_deliver = s->dont_deliver;
	m->deliver_firsttime = true;
	if (m->sender.ptr && m->dsn_envid.ptr && m->auth_sender.ptr)
		return t;
out:
	if (m)
		message_unref(m);
	return NULL;
}

void cmd_mail(struct smtp_session *s, struct slice argument)
{
	struct acl_outcome outcome;
	struct err err = err_make(&s->serving->arena);
	struct mail_parameters parameters;
	struct address_parts sender;
	struct slice rest, path = path_take(argument, &rest);
	enum acl_result result;

	(void)session_scope(s);
	s->helo_counts = s->rset_counts = false;
	s->mail_refused = true;
	if (++s->message_count > s->connection_messages_max && s->connection_messages_max) {
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT,
			    "rejected MAIL command%.*s: too many messages in one connection",
			    SLICE_ARG(client_phrase(s)));
		reply(s, 421, "4.7.0", SLICE("too many messages in this connection"));
		s->over = true;
		return;
	}
	if (!argument.len) {
		reply_error(s, 501, "5.5.4", "MAIL must have an address operand");
		return;
	}
	s->delay_rcpt_ms = 0;
	if (!rate_slope_wait(s, &s->options->rate_mail, s->message_count, &s->delay_mail_ms, "MAIL"))
		return;
	if (!parse_parameters(s, rest, &parameters))
		return;
	if (rewrite_smtp(session_scope(s), path, &path, &err) != OK) {
		reply(s, 452, "4.3.1", SLICE("out of memory, please try again later"));
		return;
	}
	if (!path.len ||
	    address_parse(&s->serving->arena, path,
			  ADDRESS_ALLOW_EMPTY | ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_STRICT_PATH |
			      address_flags(s->conf) | (parameters.smtputf8 ? ADDRESS_ALLOW_UTF8 : 0),
			  &sender, &err) != OK) {
		reply_error_about(s, 501, "5.1.7", path, path.len ? err.text : SLICE("empty address"));
		return;
	}
	if (!sender_qualified(s, &sender) || !room_for(s, sender.full, parameters.size) ||
	    !mail_auth(s, parameters.auth, &parameters.auth))
		return;
	s->transaction = transaction_begin(s, &sender, &parameters);
	if (s->transaction && queue_only_now(s, &s->transaction->message->queue_only,
					     &s->transaction->message->queue_smtp) == CANCELLED) {
		transaction_end(s);
		s->over = true;
		return;
	}
	if (!s->transaction) {
		reply(s, 452, "4.3.1", SLICE("out of memory, please try again later"));
		return;
	}
	if (s->client.ip.family && !ip_is_loopback(&s->client.ip) && acl_uses_spf(s->conf))
		spf_ahead(s->server->shard, s->transaction->message->sender, s->client.helo);
	acl_outcome_init(&outcome);
	result = ACL_ACCEPT;
	(void)session_scope(s);
	if (s->options->acl[ACL_WHERE_MAIL])
		result = session_acl(s, ACL_WHERE_MAIL, &outcome, &err);
	if (!acl_verdict(s, ACL_WHERE_MAIL, result, &outcome, &err, "MAIL", sender.full)) {
		transaction_end(s);
		return;
	}
	s->transaction->discard_all = result == ACL_DISCARD;
	s->transaction->discard_log =
	    arena_copy(&s->transaction->message->arena, outcome.log_message.ptr    ? outcome.log_message
							: outcome.user_message.ptr ? outcome.user_message
										   : SLICE_EMPTY);
	s->state = STATE_MAIL;
	s->mail_refused = false;
	if (outcome.user_message.ptr && outcome.user_message.len)
		reply_user(s, 250, "2.1.0", outcome.user_message);
	else
		reply(s, 250, "2.1.0", SLICE("OK"));
}
