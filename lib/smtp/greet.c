/* greet: from the connection to the banner: limits, host_reject_connection, the connect ACL. */
#include "session.h"

/* A line of its own has told of it: nothing more about this connection. */
static void session_refused(struct smtp_session *s)
{
	s->end_told = s->mail_said = true;
}

static void refuse_busy(struct smtp_session *s, const char *why, const char *log_why)
{
	tally_up(&s->server->metrics->refused);
	if (log_wants(s->conf, LOG_CONNECTION_REJECT))
		log_session(s, LOG_TO_MAIN, "Connection from %.*s refused: %s", SLICE_ARG(client_caller(s)),
			    log_why);
	replyf(s, 421, "4.3.2", "%.*s: %s", SLICE_ARG(conf_main(s->conf)->primary_hostname), why);
	session_refused(s);
	s->over = true;
}

/* smtp_accept_max minus smtp_accept_reserve is for everybody; the rest is kept for smtp_reserve_hosts. The connection
 * itself was counted against smtp_accept_max when it was accepted; what counts is how many there were then: those of a
 * flood that will be refused must not make us refuse the ones before them. */
static bool within_reserve(struct smtp_session *s)
{
	const struct smtp_options *o = s->options;
	struct err err = err_make(NULL);
	int64_t open = o->smtp_accept_max - o->smtp_accept_reserve;

	if (o->smtp_accept_max <= 0 || o->smtp_accept_reserve <= 0 || (int64_t)s->count_at_start <= open)
		return true;
	return match_client(session_scope(s), o->smtp_reserve_hosts, NULL, &err) == OK;
}

/* false: refused, and told. */
static bool within_load(struct smtp_session *s)
{
	struct err err = err_make(NULL);
	int64_t load;

	if (s->options->smtp_load_reserve < 0)
		return true;
	load = deliver_load(s->server->deliverer);
	if (load <= s->options->smtp_load_reserve ||
	    match_client(session_scope(s), s->options->smtp_reserve_hosts, NULL, &err) == OK)
		return true;
	tally_up(&s->server->metrics->refused);
	log_session(s, LOG_TO_MAIN, "Connection from %.*s refused: load average = %.2f",
		    SLICE_ARG(client_caller(s)), (double)load / 1000);
	replyf(s, 421, "4.3.2", "%.*s: Too much load; please try again later.",
	       SLICE_ARG(conf_main(s->conf)->primary_hostname));
	session_refused(s);
	s->over = true;
	return false;
}

static bool within_host_limit(struct smtp_session *s)
{
	struct err err = err_make(&s->serving->arena);
	int64_t max = 0;

	if (!s->options->smtp_accept_max_per_host)
		return true;
	if (expand_option_int(session_scope(s), s->options->smtp_accept_max_per_host, 0, &max, &err) != OK) {
		log_session(s, LOG_TO_MAIN | LOG_TO_PANIC,
			    "expansion of smtp_accept_max_per_host failed for %.*s: %.*s",
			    SLICE_ARG(client_caller(s)), SLICE_ARG(err.text));
		return true;
	}
	if (!shared_host_begin(s->server->shared, &s->client.ip, max))
		return false;
	s->counted_host = true;
	return true;
}

static void set_limits(struct smtp_session *s)
{
	const struct smtp_options *o = s->options;
	struct err err = err_make(&s->serving->arena);
	struct scope *sc = session_scope(s);
	int64_t number;

	if (expand_option_int(sc, o->smtp_accept_max_per_connection, 1000, &number, &err) != OK || number < 0)
		number = 1000;
	s->connection_messages_max = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
	if (expand_option_int(sc, o->recipients_max, 50000, &number, &err) != OK || number < 0)
		number = 50000;
	s->recipients_max = number > UINT32_MAX || number == 0 ? UINT32_MAX : (uint32_t)number;
	if (expand_option_int(sc, o->message_size_limit, 50ll << 20, &number, &err) != OK || number < 0)
		number = 50ll << 20;
	s->size_max = (uint64_t)number;
}

static bool rejected_outright(struct smtp_session *s)
{
	struct err err = err_make(&s->serving->arena);
	enum rc rc = match_client(session_scope(s), s->options->host_reject_connection, NULL, &err);

	if (rc == FAIL)
		return false;
	if (log_wants(s->conf, LOG_CONNECTION_REJECT))
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT,
			    "refused connection from %.*s (host_reject_connection)",
			    SLICE_ARG(client_caller(s)));
	if (rc == OK)
		reply(s, 554, "5.7.1", SLICE("SMTP service not available"));
	else
		reply(s, 451, "4.3.0", SLICE("Temporary local problem - please try later"));
	session_refused(s);
	s->over = true;
	return true;
}

bool session_early(const struct smtp_session *s)
{
	return s->early_ok && s->state <= STATE_READY;
}

static bool spoke_too_soon(struct smtp_session *s)
{
	struct slice in = slice_sub(stream_peek(s->stream), 0, 100);
	struct err err = err_make(NULL);

	if (s->local)
		return false;
	s->early_ok =
	    match_client(session_scope(s), s->options->pipelining_connect_advertise_hosts, NULL, &err) == OK;
	s->early_used |= s->early_ok && in.len;
	if (s->early_ok || s->sync_off || !s->options->smtp_enforce_sync || !in.len)
		return false;
	log_session(
	    s, LOG_TO_MAIN | LOG_TO_REJECT,
	    "SMTP protocol synchronization error (input sent without waiting for greeting): rejected connection from "
	    "%.*s input=\"%.*s\"",
	    SLICE_ARG(slice_ltrim(client_phrase(s))), SLICE_ARG(in));
	session_refused(s);
	reply(s, 554, "5.5.1", SLICE("SMTP synchronization error"));
	s->notquit_reason = "synchronization-error";
	s->over = true;
	return true;
}

static void say_banner(struct smtp_session *s, struct slice text)
{
	struct slice given = text;
	uint64_t code;

	if (given.len > 4 && parse_u64(slice_sub(given, 0, 3), &code) && code / 100 == 2)
		reply_user(s, 220, NULL, given);
	else
		reply(s, 220, NULL, given);
}

void session_greet(struct smtp_session *s)
{
	const struct smtp_options *o = s->options;
	struct acl_outcome outcome;
	struct err err = err_make(&s->serving->arena);
	struct slice name, text;

	session_deadline(s, 300000);
	session_protocol_changed(s);
	s->tls_greeting = tls_on_connect(s);
	if (!s->local) {
		if (!within_reserve(s)) {
			refuse_busy(s, "Too many concurrent SMTP connections; please try again later.",
				    "too many connections");
			return;
		}
		if (!within_host_limit(s)) {
			refuse_busy(
			    s,
			    "Too many concurrent SMTP connections from this IP address; please try again later.",
			    "too many connections from that IP address");
			return;
		}
		if (!within_load(s) || rejected_outright(s))
			return;
	}
	if (expand_option(session_scope(s), o->smtp_active_hostname, &name, &err) == OK && name.len)
		s->client.active_hostname = arena_copy(&s->arena, name);
	if (o->host_lookup && !s->local && match_client(session_scope(s), o->host_lookup, NULL, &err) == OK)
		(void)(client_host_name(session_scope(s), &err) == OK);
	set_limits(s);
	s->connection_nolog =
	    !s->local && match_client(session_scope(s), o->hosts_connection_nolog, NULL, &err) != FAIL;
	if (log_wants(s->conf, LOG_SMTP_CONNECTION) && !s->connection_nolog) {
		if (s->stdio)
			log_session(s, LOG_TO_MAIN, "%.*s", SLICE_ARG(client_connection(s)));
		else
			log_session(s, LOG_TO_MAIN,
				    "SMTP connection from %.*s (TCP/IP connection count = %u)",
				    SLICE_ARG(client_caller(s)), s->count_at_start);
	}
	ident_ask(s);
	text = SLICE_EMPTY;
	if (o->acl[ACL_WHERE_CONNECT] && !s->local) {
		enum acl_result result = session_acl(s, ACL_WHERE_CONNECT, &outcome, &err);
		if (!acl_verdict(s, ACL_WHERE_CONNECT, result, &outcome, &err, NULL, SLICE_EMPTY)) {
			s->over = true;
			session_refused(s);
			return;
		}
		if (outcome.user_message.ptr && outcome.user_message.len)
			text = outcome.user_message;
	}
	if (s->tls_greeting) {
		s->banner_text = arena_copy(&s->arena, text);
		tls_begin(s);
		return;
	}
	s->banner_text = text;
	session_banner(s);
}

void session_banner(struct smtp_session *s)
{
	struct err err = err_make(&s->serving->arena);
	struct slice text = s->banner_text;

	s->banner_text = SLICE_EMPTY;
	s->tls_greeting = false;
	if (spoke_too_soon(s))
		return;
	if (!text.len && expand_option(session_scope(s), s->options->smtp_banner, &text, &err) != OK) {
		log_session(s, LOG_TO_MAIN | LOG_TO_PANIC, "expansion of smtp_banner failed: %.*s",
			    SLICE_ARG(err.text));
		text = conf_main(s->conf)->primary_hostname;
	}
	say_banner(s, text);
}
