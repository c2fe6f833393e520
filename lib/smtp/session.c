/* session: one client's dialogue, from the first byte to the last. The table below says for each state and each command
 * whether it may come now; the command files say what it does. Whatever ends a transaction, in success or failure, goes
 * through transaction_end(), so that no state of one message can reach the next. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>

/* What the dialogue's table can say of a command. */
enum verdict {
	YES,
	NO_HELO,     /* 503 HELO or EHLO required */
	NO_MAIL,     /* 503 sender not yet given */
	NO_RCPT,     /* 503 valid RCPT command must precede DATA */
	HAVE_MAIL,   /* 503 sender already given */
	IN_MAIL,     /* 503 not permitted inside a transaction */
	CHUNKS_ONLY, /* 503 only BDAT permissible after non-LAST BDAT */
	RESET_ONLY,  /* 503 only RSET accepted now */
};

/* States across, commands down. One cell, one test (tests/e2e/test_dialogue.py). */
static const uint8_t dialogue[VERB_COUNT][STATE_COUNT] = {
    /*		  START     READY     MAIL       RCPT       CHUNK        BROKEN */
    [VERB_HELO] = {YES, YES, YES, YES, CHUNKS_ONLY, RESET_ONLY},
    [VERB_EHLO] = {YES, YES, YES, YES, CHUNKS_ONLY, RESET_ONLY},
    [VERB_MAIL] = {NO_HELO, YES, HAVE_MAIL, HAVE_MAIL, CHUNKS_ONLY, RESET_ONLY},
    [VERB_RCPT] = {NO_MAIL, NO_MAIL, YES, YES, CHUNKS_ONLY, RESET_ONLY},
    [VERB_DATA] = {NO_RCPT, NO_RCPT, NO_RCPT, YES, CHUNKS_ONLY, RESET_ONLY},
    [VERB_BDAT] = {YES, YES, YES, YES, YES, YES}, /* the chunk has to be read in any case */
    [VERB_RSET] = {YES, YES, YES, YES, YES, YES},
    [VERB_NOOP] = {YES, YES, YES, YES, CHUNKS_ONLY, RESET_ONLY},
    [VERB_QUIT] = {YES, YES, YES, YES, YES, YES},
    [VERB_VRFY] = {YES, YES, YES, YES, CHUNKS_ONLY, RESET_ONLY},
    [VERB_EXPN] = {YES, YES, YES, YES, CHUNKS_ONLY, RESET_ONLY},
    [VERB_ETRN] = {YES, YES, IN_MAIL, IN_MAIL, CHUNKS_ONLY, RESET_ONLY},
    [VERB_HELP] = {YES, YES, YES, YES, CHUNKS_ONLY, RESET_ONLY},
    [VERB_STARTTLS] = {YES, YES, IN_MAIL, IN_MAIL, CHUNKS_ONLY, RESET_ONLY},
    [VERB_AUTH] = {YES, YES, IN_MAIL, IN_MAIL, CHUNKS_ONLY, RESET_ONLY},
    [VERB_WELLKNOWN] = {YES, YES, YES, YES, CHUNKS_ONLY, RESET_ONLY},
    [VERB_UNKNOWN] = {YES, YES, YES, YES, CHUNKS_ONLY, RESET_ONLY},
};

static const struct verb {
	const char *name;
	bool
	    synchronise; /* must be the last of a group (RFC 2920 section 3.1; BDAT is followed by its chunk) */
	bool nonmail;    /* counts against smtp_accept_max_nonmail */
	bool alone;      /* has no argument */
} verbs[VERB_COUNT] = {
    [VERB_HELO] = {"HELO", true, true, false},   [VERB_EHLO] = {"EHLO", true, true, false},
    [VERB_MAIL] = {"MAIL", false, false, false}, [VERB_RCPT] = {"RCPT", false, false, false},
    [VERB_DATA] = {"DATA", true, false, true},   [VERB_BDAT] = {"BDAT", false, false, false},
    [VERB_RSET] = {"RSET", false, true, true},   [VERB_NOOP] = {"NOOP", true, true, false},
    [VERB_QUIT] = {"QUIT", false, false, true},  [VERB_VRFY] = {"VRFY", true, true, false},
    [VERB_EXPN] = {"EXPN", true, true, false},   [VERB_ETRN] = {"ETRN", true, true, false},
    [VERB_HELP] = {"HELP", false, true, false},  [VERB_STARTTLS] = {"STARTTLS", true, true, true},
    [VERB_AUTH] = {"AUTH", true, true, false},   [VERB_WELLKNOWN] = {"WELLKNOWN", false, true, false},
    [VERB_UNKNOWN] = {"?", false, true, false},
};

const char *verb_name(enum smtp_verb verb)
{
	return verbs[verb].name;
}

/* ---- Life ----------------------------------------------------------------------------------------------- */

static void on_input(struct stream *stream, void *arg)
{
	(void)stream;
	session_wake(arg);
}

/* The client was silent for too long, or a fiber that could not be had before is tried for again. */
static void on_timer(struct timer *timer)
{
	struct smtp_session *s = CONTAINER_OF(timer, struct smtp_session, timer);

	if (!s->started || stream_pending(s->stream) || stream_at_end(s->stream)) {
		session_wake(s);
		return;
	}
	s->notquit_reason = "command-timeout";
	tally_up(&s->server->metrics->timeouts);
	session_wake(s);
}

uint64_t smtp_connection_id(struct smtp_server *server)
{
	return (server->connection_next++ << 8) | (shard_id(server->shard) & 0xff);
}

enum rc session_new(struct smtp_server *server, int fd_in, int fd_out, struct smtp_session **ret,
		    struct err *err)
{
	struct smtp_session *s = server->pool;
	enum rc rc;

	if (s) {
		server->pool = s->link.next ? LIST_ITEM(s->link.next, struct smtp_session, link) : NULL;
		server->pool_count--;
		memset(s, 0, sizeof(*s));
	} else {
		s = calloc(1, sizeof(*s)); /* the pool is empty only while the number of sessions grows */
		if (!s)
			return err_memory(err);
	}
	s->server = server;
	arena_init_small(&s->arena, 1024 * 1024);
	arena_init_small(&s->variables, 1024 * 1024);
	s->variables_tidy_at = VARIABLES_TIDY;
	client_clear(&s->client);
	s->authenticated_fail_id = SLICE_EMPTY;
	s->client.arena = &s->arena;
	s->client.variables = &s->variables;
	s->conf = conf_ref(server->conf);
	s->options = conf_group(s->conf, CONF_SMTP);
	timer_init(&s->timer, on_timer);
	waitq_init(&s->ended);
	s->until_max = UNTIL_NEVER;
	s->connection_id = smtp_connection_id(server);
	task_init(&s->task, server->shard, &s->arena, s->until_max);
	rc = stream_new(server->shard, fd_in, fd_out, on_input, s, &s->stream, err);
	if (rc != OK) {
		conf_unref(s->conf);
		free(s);
		return rc;
	}
	/* Without memory nothing is told: that is no reason to refuse mail. */
	if (server->debug)
		s->debug = log_debug_console(server->shard, server->debug, server->debug_direct);
	list_append(&server->sessions, &s->link);
	tally_up(&server->metrics->sessions);
	*ret = s;
	return OK;
}

void session_free(struct smtp_session *s)
{
	struct smtp_server *server = s->server;

	ASSERT(!s->serving);
	log_debug_end(s->debug, false);
	timer_cancel(server->shard, &s->timer);
	transaction_end(s);
	/* Before the client can see the end: the place it leaves is free for its next connection. */
	if (s->counted)
		shared_connection_end(server->shared);
	if (s->counted_host)
		shared_host_end(server->shared, &s->client.ip);
	stream_close(s->stream, false);
	list_remove(&s->link);
	tally_down(&server->metrics->sessions);
	conf_unref(s->conf);
	free(s->line);
	lookup_results_clear(&s->lookup_results);
	arena_done(&s->arena);
	arena_done(&s->variables);
	waitq_wake_all(&s->ended);
	if (server->draining && list_empty(&server->sessions))
		waitq_wake_all(&server->drained);
	if (s->stdio || server->pool_count >= 1024) {
		if (!s->stdio)
			free(s);
		return; /* smtp_serve_stdio() owns its session */
	}
	s->link.next = server->pool ? &server->pool->link : NULL;
	server->pool = s;
	server->pool_count++;
}

void session_wake(struct smtp_session *s)
{
	if (s->serving || s->at_rest_soon)
		return;
	if (fiber_spawn(s->server->shard, session_serve, s) == OK) {
		s->at_rest_soon = true; /* a fiber is on its way */
		timer_cancel(s->server->shard, &s->timer);
	} else {
		/* All fibers are busy: overload. The input stays where it is; ask again shortly. */
		timer_set(s->server->shard, &s->timer, shard_now(s->server->shard) + 20 * NS_PER_MS);
	}
}

void transaction_end(struct smtp_session *s)
{
	struct transaction *t = s->transaction;

	if (t) {
		struct message *m = t->message;
		if (t->receive)
			receive_cancel(t->receive);
		next_hop_done(m, false);
		s->transaction = NULL;
		message_unref(m); /* and t with it */
	}
	if (s->state > STATE_READY)
		s->state = STATE_READY;
}

void session_deadline(struct smtp_session *s, uint64_t timeout_ms)
{
	s->task.until = s->until_max;
	s->task.until = task_until(&s->task, timeout_ms);
}

static void scope_flush(struct scope *sc, enum flush_reason reason)
{
	struct smtp_session *s = sc->session;
	uint64_t until = s->task.until;

	if (reason == FLUSH_FOR_DELAY ? s->delay_flush_off : s->callout_flush_off)
		return;
	if (s->serving->out.len)
		reply_flush(s);
	s->task.until = until;
}

struct scope *session_scope(struct smtp_session *s)
{
	struct scope *sc = &s->serving->scope;
	struct slice command = sc->smtp_command;

	scope_init(sc, &s->task, s->conf);
	sc->client = &s->client;
	sc->session = s;
	sc->lookup_results = &s->lookup_results;
	sc->smtp_command = command;
	sc->dry_run = s->dry_run;
	sc->no_callouts = s->dry_run && !s->stdio->callouts;
	sc->debug = &s->debug;
	sc->flush = scope_flush;
	if (s->transaction) {
		sc->message = s->transaction->message;
		sc->sender = sc->message->sender;
	}
	return sc;
}

/* ---- Commands --------------------------------------------------------------------------------------------- */

enum line { LINE_HAVE, LINE_PART, LINE_TOO_LONG, LINE_ENDLESS, LINE_BARE_LF, LINE_NO_MEMORY };

static bool line_keep(struct smtp_session *s, struct slice part)
{
	if (s->line_len + part.len > s->line_room) {
		uint32_t room = s->line_room ? s->line_room : 128;
		while (room < s->line_len + part.len)
			room *= 2;
		char *bytes = realloc(s->line, room); /* only for lines that come in pieces */
		if (!bytes)
			return false;
		s->line = bytes;
		s->line_room = room;
	}
	memcpy(s->line + s->line_len, part.ptr, part.len);
	s->line_len += part.len;
	return true;
}

/* The next command, without its line end, copied into the command's arena: the buffer it came in is free again at once.
 * The beginning of one is kept in a small block, so that a slow client holds no receive buffer. */
static enum line line_next(struct smtp_session *s, struct slice *line_ret)
{
	for (;;) {
		struct slice in = stream_peek(s->stream), line;
		ptrdiff_t end = slice_find(in, '\n');
		uint32_t take = end < 0 ? in.len : (uint32_t)end + 1;
		bool in_place, bare;

		if (!in.len)
			return LINE_PART;
		if (s->line_len + take > COMMAND_LINE_MAX) {
			/* Only counted from here on: what it began with is given up. */
			stream_consume(s->stream, take);
			s->line_len += take;
			if (s->line_len > COMMAND_SKIP_MAX)
				return LINE_ENDLESS;
			if (end < 0)
				continue;
			s->line_len = 0;
			return LINE_TOO_LONG;
		}
		in_place = end >= 0 && !s->line_len;
		if (in_place) {
			line = slice_tainted(slice_sub(in, 0, take));
		} else {
			bool kept = line_keep(s, slice_sub(in, 0, take));
			stream_consume(s->stream, take);
			if (!kept)
				return LINE_NO_MEMORY;
			if (end < 0)
				continue;
			line = slice_make(s->line, s->line_len, TAINTED);
			s->line_len = 0;
		}
		line.len--;
		bare = !line.len || line.ptr[line.len - 1] != '\r';
		line.len -= !bare;
		line = arena_copy(&s->serving->arena, line);
		if (in_place)
			stream_consume(s->stream, take);
		*line_ret = line;
		if (!line.ptr)
			return LINE_NO_MEMORY;
		return bare && !s->local && !s->dry_run ? LINE_BARE_LF : LINE_HAVE;
	}
}

/* The verb ends at the first space and stands at the very beginning; line becomes what follows it. "MAIL FROM:" and
 * "RCPT TO:" are recognised as a whole. */
static enum smtp_verb verb_find(struct slice *line)
{
	ptrdiff_t space = slice_find(*line, ' ');
	struct slice word = space < 0 ? slice_rtrim(*line) : slice_sub(*line, 0, (size_t)space);
	struct slice rest = space < 0 ? SLICE_EMPTY : slice_trim(slice_from(*line, (size_t)space + 1));

	for (unsigned v = 0; v < VERB_UNKNOWN; v++) {
		struct slice key = v == VERB_MAIL   ? SLICE("FROM:")
				   : v == VERB_RCPT ? SLICE("TO:")
						    : SLICE_EMPTY;

		if (!slice_eq_nocase(word, slice_of(verbs[v].name)))
			continue;
		if (!slice_starts_nocase(rest, key))
			return VERB_UNKNOWN;
		*line = slice_ltrim(slice_from(rest, key.len));
		return (enum smtp_verb)v;
	}
	return VERB_UNKNOWN;
}

/* Why there is no recipient, if they were all refused for one reason: in what was pipelined it may have been overlooked. */
static void add_refusal(struct str *text, struct smtp_session *s)
{
	struct slice rest = s->transaction->refusal, line, code;

	str_addz(text, "All RCPT commands were rejected with this error:\n");
	while (slice_split(&rest, '\n', &line) && line.len > 4) {
		line = slice_from(line, 4);
		if (s->enhanced_ok && slice_word(&line, &code))
			line = slice_ltrim(line);
		str_add(text, slice_rtrim(line));
		str_addc(text, '\n');
	}
}

/* RCPT, and what it was refused with. */
static void run_rcpt(struct smtp_session *s, struct slice argument)
{
	struct transaction *t = s->transaction;
	uint32_t from = s->serving->out.len, before = t->rcpt_fail_count + t->rcpt_defer_count;
	struct slice said;

	cmd_rcpt(s, argument);
	if (s->transaction != t || t->rcpt_fail_count + t->rcpt_defer_count == before)
		return;
	said = slice_sub(str_slice(&s->serving->out), from, SIZE_MAX);
	if (before == 0)
		t->refusal = arena_copy(&t->message->arena, said);
	else if (t->refusal.ptr && !slice_eq(t->refusal, said))
		t->refusal.ptr = NULL;
}

void reply_no_rcpt(struct smtp_session *s, const char *verb)
{
	bool after_rcpt =
	    s->history_count >= 2 && s->history[(s->history_count - 2) % HISTORY_MAX] == VERB_RCPT;

	if (s->pipelining_ok && after_rcpt) {
		struct str text = str_make(&s->serving->arena);

		if (s->transaction && s->transaction->refusal.ptr && !s->multiline_off)
			add_refusal(&text, s);
		str_printf(&text, "Valid RCPT command must precede %s", verb);
		reply(s, 503, "5.5.1", str_slice(&text));
	} else {
		reply_error(s, 503, "5.5.1", "valid RCPT command must precede %s", verb);
	}
}

static bool dialogue_allows(struct smtp_session *s, enum smtp_verb verb, bool refused_before)
{
	switch ((enum verdict)dialogue[verb][s->state]) {
	case YES:
		return true;
	case NO_HELO: {
		struct err err = err_make(NULL);
		enum rc rc = match_client(session_scope(s), s->options->hosts_require_helo, NULL, &err);
		if (rc == FAIL || s->local)
			return true;
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "rejected MAIL from %.*s: no HELO/EHLO given",
			    SLICE_ARG(client_caller(s)));
		reply_error(s, 503, "5.5.1", "HELO or EHLO required");
		return false;
	}
	case NO_MAIL:
		/* Who pipelines could not know that MAIL would be refused. */
		if (refused_before && s->pipelining_ok && verb == VERB_RCPT) {
			s->mail_refused = true;
			reply(s, 503, "5.5.1", SLICE("sender not yet given"));
			return false;
		}
		reply_error(s, 503, "5.5.1", "sender not yet given");
		return false;
	case NO_RCPT:
		reply_no_rcpt(s, verbs[verb].name);
		return false;
	case HAVE_MAIL:
		reply_error(s, 503, "5.5.1", "sender already given");
		return false;
	case IN_MAIL:
		if (verb == VERB_STARTTLS && !s->tls_offered)
			return true; /* and is told that */
		if (verb == VERB_AUTH)
			reply(s, 503, "5.5.1", SLICE("not permitted in mail transaction"));
		else
			reply_error(s, 503, "5.5.1", "%s is not permitted inside a transaction",
				    verbs[verb].name);
		return false;
	case CHUNKS_ONLY:
		reply_error(s, 503, "5.5.1", "only BDAT permissible after non-LAST BDAT");
		return false;
	case RESET_ONLY:
		reply_error(s, 503, "5.5.1", "only RSET accepted now");
		return false;
	}
	return false;
}

/* Input behind a command that has to be the last of its group: the client does not listen (RFC 2920; a trick of spam
 * senders and of requests smuggled from other protocols). */
static bool out_of_step(struct smtp_session *s, enum smtp_verb verb, struct slice line)
{
	bool must_wait =
	    verbs[verb].synchronise || (!s->pipelining_ok && verb != VERB_BDAT && verb != VERB_QUIT);
	struct slice pending;

	if (!must_wait || session_early(s) || s->sync_off || !s->options->smtp_enforce_sync || s->local ||
	    !stream_pending(s->stream))
		return false;
	pending = verb == VERB_AUTH ? SLICE("(not shown)") : slice_sub(stream_peek(s->stream), 0, 100);
	line = s->serving->scope.smtp_command;
	s->history_count--; /* it was not obeyed */
	log_incomplete(s, "sync failure");
	log_session(
	    s, LOG_TO_MAIN | LOG_TO_REJECT,
	    "SMTP protocol synchronization error (next input sent too soon: pipelining was%s advertised): rejected "
	    "\"%.*s\"%.*s next input=\"%.*s\" (%u bytes)",
	    s->pipelining_ok ? "" : " not", SLICE_ARG(line), SLICE_ARG(client_phrase(s)), SLICE_ARG(pending),
	    stream_peek(s->stream).len);
	s->end_told = true;
	reply(s, 554, "5.5.1", SLICE("SMTP synchronization error"));
	s->notquit_reason = "synchronization-error";
	s->over = true;
	return true;
}

static bool too_many_nonmail(struct smtp_session *s, enum smtp_verb verb)
{
	struct err err = err_make(NULL);

	if (!verbs[verb].nonmail || s->local)
		return false;
	/* One HELO or EHLO and one RSET before each message, and one AUTH are part of sending mail. */
	if ((verb == VERB_HELO || verb == VERB_EHLO) && !s->helo_counts) {
		s->helo_counts = true;
		return false;
	}
	if (verb == VERB_RSET && !s->rset_counts) {
		s->rset_counts = true;
		return false;
	}
	if (verb == VERB_AUTH && !s->auth_counts) {
		s->auth_counts = true;
		return false;
	}
	if ((int64_t)++s->nonmail_count <= s->options->smtp_accept_max_nonmail)
		return false;
	if (match_client(session_scope(s), s->options->smtp_accept_max_nonmail_hosts, NULL, &err) == FAIL)
		return false;
	s->history_count--; /* it was not obeyed */
	s->end_told = true;
	log_session(s, LOG_TO_MAIN | LOG_TO_REJECT,
		    "SMTP call from %.*s dropped: too many nonmail commands (last was \"%s\")",
		    SLICE_ARG(client_caller(s)), verbs[verb].name);
	reply(s, 554, "5.7.0", SLICE("Too many nonmail commands"));
	s->notquit_reason = "bad-commands";
	s->over = true;
	return true;
}

static void unknown_command(struct smtp_session *s)
{
	struct slice line = s->serving->scope.smtp_command;

	if (slice_find(line, 0) >= 0) {
		char *shown = arena_bytes(&s->serving->arena, line.len);

		for (uint32_t i = 0; shown && i < line.len; i++)
			shown[i] = line.ptr[i] ? line.ptr[i] : '?';
		if (shown)
			s->serving->scope.smtp_command = slice_make(shown, line.len, TAINTED);
		tally_up(&s->server->metrics->errors);
		if (log_wants(s->conf, LOG_SMTP_SYNTAX_ERROR))
			log_session(
			    s, LOG_TO_MAIN,
			    "SMTP syntax error in \"%.*s\"%.*s NUL character(s) present (shown as '?')",
			    SLICE_ARG(s->serving->scope.smtp_command), SLICE_ARG(client_phrase(s)));
		reply_counted(s, 501, "5.5.2", SLICE("NUL characters are not allowed in SMTP commands"));
		return;
	}
	if ((int64_t)++s->unknown_commands > s->options->smtp_max_unknown_commands) {
		if (log_wants(s->conf, LOG_SMTP_SYNTAX_ERROR))
			log_session(s, LOG_TO_MAIN, "SMTP syntax error in \"%.*s\"%.*s unrecognized command",
				    SLICE_ARG(line), SLICE_ARG(client_phrase(s)));
		s->end_told = true;
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT,
			    "SMTP call from %.*s dropped: too many unrecognized commands (last was \"%.*s\")",
			    SLICE_ARG(client_caller(s)), SLICE_ARG(line));
		reply(s, 500, "5.5.2", SLICE("Too many unrecognized commands"));
		s->notquit_reason = "bad-commands";
		s->over = true;
		return;
	}
	reply_error(s, 500, "5.5.2", "unrecognized command");
}

static enum smtp_verb last_verb(const struct smtp_session *s)
{
	return s->history_count ? (enum smtp_verb)s->history[(s->history_count - 1) % HISTORY_MAX]
				: VERB_NOOP;
}

static void command_run(struct smtp_session *s, struct slice line)
{
	struct slice argument = line;
	enum smtp_verb verb;

	bool refused_before = s->mail_refused;

	tally_up(&s->server->metrics->commands);
	s->mail_refused = false;
	verb = slice_find(line, 0) < 0 ? verb_find(&argument) : VERB_UNKNOWN;
	/* What a client says behind AUTH, or goes on to say when that was refused, may be a password: no log shows it. */
	if (verb == VERB_AUTH)
		s->serving->scope.smtp_command = auth_shown(line);
	else if (verb == VERB_UNKNOWN && last_verb(s) == VERB_AUTH && !session_authenticated(s))
		s->serving->scope.smtp_command = SLICE("(a line behind AUTH)");
	else
		s->serving->scope.smtp_command = line;
	DEBUG(DEBUG_RECEIVE, "SMTP<< %.*s", SLICE_ARG(s->serving->scope.smtp_command));
	if (verb != VERB_UNKNOWN)
		s->history[s->history_count++ % HISTORY_MAX] = (uint8_t)verb;
	if (out_of_step(s, verb, line) || too_many_nonmail(s, verb))
		return;
	s->mail_said |= verb == VERB_MAIL;
	if (verb == VERB_DATA || verb == VERB_BDAT)
		s->early_ok = false; /* by now it knows us: what follows a message is an ordinary dialogue */
	if (verbs[verb].alone && argument.len) {
		reply_error(s, 501, "5.5.4", "unexpected argument data");
		return;
	}
	if (!dialogue_allows(s, verb, refused_before))
		return;
	if (s->server->draining && verb != VERB_QUIT && s->state <= STATE_READY) {
		replyf(s, 421, "4.3.2", "%.*s: shutting down, please try again",
		       SLICE_ARG(conf_main(s->conf)->primary_hostname));
		s->notquit_reason = "signal-exit";
		s->over = true;
		return;
	}
	switch (verb) {
	case VERB_HELO:
	case VERB_EHLO:
		cmd_helo(s, verb, argument);
		break;
	case VERB_MAIL:
		cmd_mail(s, argument);
		break;
	case VERB_RCPT:
		run_rcpt(s, argument);
		break;
	case VERB_DATA:
		cmd_data(s);
		break;
	case VERB_BDAT:
		cmd_bdat(s, argument);
		break;
	case VERB_RSET:
		cmd_rset(s);
		break;
	case VERB_NOOP:
		reply(s, 250, "2.0.0", SLICE("OK"));
		break;
	case VERB_QUIT:
		cmd_quit(s);
		break;
	case VERB_VRFY:
	case VERB_EXPN:
		cmd_vrfy(s, verb, argument);
		break;
	case VERB_ETRN:
		cmd_etrn(s, argument);
		break;
	case VERB_HELP:
		cmd_help(s);
		break;
	case VERB_STARTTLS:
		cmd_starttls(s);
		break;
	case VERB_WELLKNOWN:
		cmd_wellknown(s, argument);
		break;
	case VERB_AUTH:
		cmd_auth(s, line, argument);
		break;
	default:
		unknown_command(s);
		break;
	}
}

/* ---- The fiber ---------------------------------------------------------------------------------------------- */

/* Between two commands nothing points at a value of $acl_c but the list of them. */
static void variables_tidy(struct smtp_session *s)
{
	struct arena fresh;

	if (s->variables.used < s->variables_tidy_at)
		return;
	arena_init_small(&fresh, s->variables.size_max);
	if (client_variables_move(&s->client, &fresh)) {
		struct arena old = s->variables;
		s->variables = fresh;
		fresh = old;
	}
	arena_done(&fresh);
	s->variables_tidy_at =
	    2 * s->variables.used > VARIABLES_TIDY ? 2 * s->variables.used : VARIABLES_TIDY;
}

static void drop_session(struct smtp_session *s, const char *why)
{
	log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "SMTP call from %.*s dropped: %s",
		    SLICE_ARG(client_caller(s)), why);
	s->end_told = true;
	s->notquit_reason = "bad-commands";
	s->over = true;
}

/* A line after which there is nothing to be said but goodbye. */
static void line_ends_session(struct smtp_session *s, enum line what)
{
	if (what == LINE_ENDLESS) {
		drop_session(s, "endless command line");
		reply(s, 500, "5.5.2", SLICE("command line too long"));
	} else if (what == LINE_BARE_LF) {
		/* Taken as a line end it would let one server smuggle commands past another. */
		drop_session(s, "bare LF in a command");
		reply(s, 521, "5.5.2", SLICE("bare LF received: lines end in CRLF"));
	} else {
		reply(s, 421, "4.3.2", SLICE("out of memory, please try again later"));
		s->over = true;
	}
}

static void serve_input(struct smtp_session *s)
{
	struct slice line;

	while (!s->over && !s->tls_pending) {
		enum line what = line_next(s, &line);

		switch (what) {
		case LINE_HAVE:
			command_run(s, line);
			break;
		case LINE_PART:
			return;
		case LINE_TOO_LONG:
			s->serving->scope.smtp_command = SLICE("(endless line)");
			reply_error(s, 500, "5.5.2", "command line too long");
			break;
		case LINE_ENDLESS:
		case LINE_BARE_LF:
		case LINE_NO_MEMORY:
			line_ends_session(s, what);
			break;
		}
		/* Commands that came before the reply to this one; data behind DATA would be out of step. */
		if (what == LINE_HAVE && s->pipelining_ok && !s->over && stream_pending(s->stream) &&
		    s->state != STATE_START)
			s->pipelined = true;
		if (s->serving->out.len && (s->over || s->serving->out.len >= REPLY_FLUSH_BYTES ||
					    s->pipelining_ok == false || !stream_pending(s->stream)))
			reply_flush(s);
		arena_clear(&s->serving->arena);
		s->serving->scope.smtp_command = SLICE_EMPTY;
		variables_tidy(s);
	}
}

static void log_ending(struct smtp_session *s, const char *how, bool duration_first)
{
	struct slice duration = session_duration(s), first = duration_first ? duration : SLICE_EMPTY,
		     last = duration_first ? SLICE_EMPTY : duration;

	if (log_wants(s->conf, LOG_SMTP_CONNECTION) && !s->batch && !s->connection_nolog)
		log_session(s, LOG_TO_MAIN, "%.*s%.*s %s%.*s", SLICE_ARG(client_connection(s)),
			    SLICE_ARG(first), how, SLICE_ARG(last));
}

/* With what is logged of the client when a message arrives. */
static void log_no_mail(struct smtp_session *s)
{
	struct str line = str_make(&s->serving->arena);

	str_addz(&line, "no MAIL in SMTP connection from ");
	str_add(&line, client_caller(s));
	log_login(&line, s);
	log_tls(&line, s);
	str_add(&line, session_duration(s));
	if (s->history_count) {
		str_addc(&line, ' ');
		log_history(&line, s);
	}
	log_session(s, LOG_TO_MAIN, "%.*s", SLICE_ARG(str_slice(&line)));
}

/* " (error: Connection reset by peer)"; nothing when the client has just closed. */
static struct slice what_was_lost(struct smtp_session *s)
{
	int os = stream_error(s->stream);
	char words[128];
	struct slice text =
	    os ? arena_printf(&s->serving->arena, " (error: %s)", strerror_r(os, words, sizeof(words)))
	       : SLICE_EMPTY;

	return text.ptr ? text : SLICE_EMPTY;
}

static void lost_connection(struct smtp_session *s)
{
	struct slice error = what_was_lost(s);
	char lost[160];

	tally_up(&s->server->metrics->lost);
	if (!s->notquit_reason)
		s->notquit_reason = "connection-lost";
	log_incomplete(s, "connection lost");
	(void)snprintf(lost, sizeof(lost), "lost%.*s", SLICE_ARG(error));
	if (!s->transaction)
		log_ending(s, lost, false);
	else if (log_wants(s->conf, LOG_LOST_INCOMING_CONNECTION))
		log_session(s, LOG_TO_MAIN,
			    "unexpected disconnection while reading SMTP command from %.*s%.*s%.*s",
			    SLICE_ARG(client_caller(s)), SLICE_ARG(error), SLICE_ARG(session_duration(s)));
	s->end_told = true;
	s->over = true;
}

static void command_timeout(struct smtp_session *s)
{
	if (s->tls_pending) {
		tls_error(s, LOG_TO_MAIN, SLICE("it took too long"));
		s->over = true;
		return;
	}
	log_session(s, LOG_TO_MAIN, "SMTP command timeout on connection from %.*s%.*s",
		    SLICE_ARG(client_caller(s)), SLICE_ARG(session_duration(s)));
	s->end_told = s->mail_said = true;
	replyf(s, 421, "4.4.2", "%.*s: SMTP command timeout - closing connection",
	       SLICE_ARG(conf_main(s->conf)->primary_hostname));
	s->over = true;
}

static void log_end(struct smtp_session *s)
{
	struct acl_outcome outcome;
	struct err err = err_make(&s->serving->arena);

	if (!s->quit_seen && s->options->acl[ACL_WHERE_NOTQUIT] && s->started && !s->local) {
		acl_outcome_init(&outcome);
		session_deadline(s, 60000);
		(void)acl_check(session_scope(s), ACL_WHERE_NOTQUIT, s->options->acl[ACL_WHERE_NOTQUIT],
				&outcome, &err);
	}
	if (s->quit_seen) {
		log_incomplete(s, "QUIT");
		log_ending(s, "closed by QUIT", true);
	} else if (!s->end_told) {
		log_ending(s, "closed", true);
	}
	if (log_wants(s->conf, LOG_SMTP_NO_MAIL) && !s->mail_said && !s->local)
		log_no_mail(s);
}

bool session_line(struct smtp_session *s, uint32_t max, struct slice *line_ret)
{
	struct err err = err_make(NULL);

	reply_flush(s);
	while (!s->over) {
		enum line what = line_next(s, line_ret);
		enum rc rc = OK;

		switch (what) {
		case LINE_HAVE:
			if (line_ret->len <= max)
				return true;
			/* fallthrough */
		case LINE_TOO_LONG:
			/* No base64 of any length: the exchange fails, the dialogue goes on. */
			*line_ret = SLICE("?");
			return true;
		case LINE_PART:
			session_deadline(s, session_patience_s(s) * 1000);
			rc = stream_fill(&s->task, s->stream, &err);
			break;
		case LINE_ENDLESS:
		case LINE_BARE_LF:
		case LINE_NO_MEMORY:
			line_ends_session(s, what);
			break;
		}
		if (rc == DEFER) {
			s->notquit_reason = "command-timeout";
			tally_up(&s->server->metrics->timeouts);
			command_timeout(s);
		} else if (rc == FAIL && !stream_pending(s->stream)) {
			lost_connection(s);
		} else if (rc == CANCELLED) {
			s->over = true;
		}
	}
	return false;
}

/* Commands, and the handshakes between them. */
static void serve_all(struct smtp_session *s)
{
	while (!s->over) {
		if (s->tls_pending) {
			if (!tls_go_on(s))
				return;
			if (s->tls_greeting)
				session_banner(s);
			if (s->serving->out.len)
				reply_flush(s);
			arena_clear(&s->serving->arena);
		}
		serve_input(s);
		if (!s->tls_pending)
			return;
	}
}

void session_serve(void *arg)
{
	struct smtp_session *s = arg;
	struct serving serving;

	s->at_rest_soon = false;
	fiber_debug(s->debug);
	/* Small chunks: a storm of connections serves thousands at once, each with little to say. */
	arena_init_chunks(&serving.arena, 64ul * 1024 * 1024, 2048);
	arena_init_chunks(&serving.out_arena, 1024 * 1024, 1024);
	serving.out = str_make(&serving.out_arena);
	serving.scope.smtp_command = SLICE_EMPTY;
	s->serving = &serving;
	s->task.arena = &serving.arena;
	(void)session_scope(
	    s); /* whatever forgets to make one finds at least this session's, not the last one's */
	if (!s->started) {
		s->started = true;
		session_greet(s);
		if (serving.out.len)
			reply_flush(s);
		arena_clear(&serving.arena);
	}
	if (!s->over && s->notquit_reason)
		command_timeout(s);
	else
		serve_all(s);
	if (!s->over && stream_at_end(s->stream))
		lost_connection(s);
	if (s->over)
		log_end(s);
	if (serving.out.len)
		reply_flush(s);
	s->serving = NULL;
	s->task.arena = &s->arena;
	arena_done(&serving.arena);
	arena_done(&serving.out_arena);
	if (s->over) {
		fiber_debug(NULL);
		session_free(s);
		return;
	}
	timer_set(s->server->shard, &s->timer,
		  shard_now(s->server->shard) + session_patience_s(s) * NS_PER_S);
	/* What arrived while the last replies were being sent woke nobody. */
	if ((s->tls_pending && stream_raw_peek(s->stream).len) ||
	    (stream_pending(s->stream) && stream_peek(s->stream).len) || stream_at_end(s->stream))
		session_wake(s);
}
