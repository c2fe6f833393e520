/* cmd_misc: RSET, QUIT, VRFY, EXPN, ETRN, HELP (RFC 5321 sections 4.1.1.5 to 4.1.1.10, RFC 1985). */
#include "session.h"

#include <stdlib.h>
#include <unistd.h>

void cmd_rset(struct smtp_session *s)
{
	log_incomplete(s, "RSET");
	transaction_end(s);
	reply(s, 250, "2.0.0", SLICE("Reset OK"));
}

void cmd_quit(struct smtp_session *s)
{
	struct str text = str_make(&s->serving->arena);
	struct acl_outcome outcome;
	struct err err;

	s->quit_seen = true;
	s->over = true;
	acl_outcome_init(&outcome);
	if (s->options->acl[ACL_WHERE_QUIT] && !s->local) {
		(void)session_scope(s);
		if (session_acl(s, ACL_WHERE_QUIT, &outcome, &err) == ACL_ERROR)
			log_session(s, LOG_TO_MAIN | LOG_TO_PANIC, "ACL for QUIT returned ERROR: %.*s",
				    SLICE_ARG(err.text));
	}
	if (!outcome.user_message.ptr || !outcome.user_message.len) {
		str_add(&text, s->client.active_hostname.len ? s->client.active_hostname
							     : conf_main(s->conf)->primary_hostname);
		str_addz(&text, " closing connection");
		outcome.user_message = str_slice(&text);
	}
	reply(s, 221, "2.0.0", outcome.user_message);
}

/* What VRFY and EXPN tell: the outcome of verifying, and no more than that the address is good. */
static void vrfy_answer(struct smtp_session *s, struct slice address)
{
	struct err err = err_make(&s->serving->arena);
	struct verify_options options = {0};
	struct route_output out = {0};
	struct address *result;
	struct slice why;

	session_deadline(s, 120000);
	switch (verify_address(&s->serving->scope, address, false, &options, &result, &out, &err)) {
	case OK:
		replyf(s, 250, "2.1.5", "<%.*s> is deliverable", SLICE_ARG(address));
		return;
	case FAIL:
		why = out.user_message.ptr ? out.user_message : SLICE("Unrouteable address");
		log_session(s, LOG_TO_MAIN, "VRFY failed for %.*s%.*s", SLICE_ARG(address),
			    SLICE_ARG(client_phrase(s)));
		replyf(s, 550, "5.1.1", "<%.*s> %.*s", SLICE_ARG(address), SLICE_ARG(why));
		return;
	case DEFER:
	case CANCELLED:
		replyf(s, 451, "4.3.0", "Cannot resolve <%.*s> at this time: please try later",
		       SLICE_ARG(address));
		return;
	}
}

static void expn_answer(struct smtp_session *s, struct slice address)
{
	struct err err = err_make(&s->serving->arena);
	struct route_output out = {0};
	struct str text = str_make(&s->serving->arena);
	struct address *a = address_new(&s->serving->arena, address);
	unsigned count = 0;

	if (!a) {
		reply(s, 451, "4.3.0", SLICE("out of memory, please try again later"));
		return;
	}
	list_init(&out.children);
	session_deadline(s, 120000);
	switch (route_address(&s->serving->scope, a, ROUTE_EXPN, &out, &err)) {
	case ROUTE_REROUTED:
		LIST_EACH (l, &out.children) {
			if (count++)
				str_addc(&text, '\n');
			str_printf(&text, "<%.*s>", SLICE_ARG(LIST_ITEM(l, struct address, link)->full));
			if (count == 1000)
				break;
		}
		reply(s, 250, "2.1.5", count ? str_slice(&text) : address);
		return;
	case ROUTE_ACCEPT:
	case ROUTE_DISCARDED:
		replyf(s, 250, "2.1.5", "<%.*s>", SLICE_ARG(address));
		return;
	case ROUTE_FAIL:
		replyf(s, 550, "5.1.1", "<%.*s> Unrouteable address", SLICE_ARG(address));
		return;
	default:
		replyf(s, 451, "4.3.0", "Cannot resolve <%.*s> at this time: please try later",
		       SLICE_ARG(address));
		return;
	}
}

void cmd_vrfy(struct smtp_session *s, enum smtp_verb verb, struct slice argument)
{
	enum acl_where where = verb == VERB_VRFY ? ACL_WHERE_VRFY : ACL_WHERE_EXPN;
	struct err err = err_make(&s->serving->arena);
	struct address_parts parts;
	struct acl_outcome outcome;
	struct scope *sc;
	enum acl_result result;

	if (!argument.len) {
		reply_error(s, 501, "5.5.4", "%s requires an argument", verb_name(verb));
		return;
	}
	if (address_parse(&s->serving->arena, argument, ADDRESS_ALLOW_UNQUALIFIED | address_flags(s->conf),
			  &parts, &err) != OK) {
		reply_error(s, 501, "5.1.3", "%.*s", SLICE_ARG(err.text));
		return;
	}
	if (!parts.domain.len && verb == VERB_VRFY && !recipient_may_be_unqualified(s)) {
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "unqualified verify rejected: <%.*s>%.*s",
			    SLICE_ARG(argument), SLICE_ARG(client_phrase(s)));
		replyf(s, 501, "5.1.3", "%.*s: recipient address must contain a domain", SLICE_ARG(argument));
		return;
	}
	if (!parts.domain.len)
		parts.full = arena_printf(&s->serving->arena, "%.*s@%.*s", SLICE_ARG(parts.local_part),
					  SLICE_ARG(conf_main(s->conf)->qualify_recipient));
	sc = session_scope(s);
	sc->address = parts.full.ptr ? address_new(&s->serving->arena, slice_tainted(parts.full)) : NULL;
	if (!sc->address) {
		reply(s, 451, "4.3.0", SLICE("out of memory, please try again later"));
		return;
	}
	/* Unset, both are refused: who lives here is nobody's business (RFC 5321 section 7.3). */
	result = session_acl(s, where, &outcome, &err);
	if (!acl_verdict(s, where, result, &outcome, &err, verb_name(verb), argument))
		return;
	if (verb == VERB_VRFY)
		vrfy_answer(s, sc->address->full);
	else
		expn_answer(s, sc->address->full);
}

#define ETRN_RUNS_MAX  64 /* a shard; more at a time is no request but an attack */
#define ETRN_WORDS_MAX 64

/* A run that a client asked for. It is its own fiber's, since clients do not wait for its end. */
struct etrn_run {
	struct link link;
	struct smtp_server *server;
	struct deliverer *deliverer;
	struct task task;
	struct arena arena;
	struct queue_run run;
	struct conf *conf;
	const char **argv; /* smtp_etrn_command; NULL: a queue run */
};

/* Nobody waits for its end, nor reads what it says. */
static void etrn_command(struct etrn_run *e)
{
	const struct runner_command command = {
	    .argv = e->argv, .directory = "/", .uid = geteuid(), .gid = getegid()};
	struct err err = err_make(&e->arena);
	struct scope sc;
	struct slice output;
	bool timed_out;
	int status;

	scope_init(&sc, &e->task, e->conf);
	if (transport_command_runner.run(&sc, &command, &output, &status, &timed_out, &err) == DEFER)
		log_printf(e->server->shard, e->conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL,
			   "exec of \"%s\" (ETRN) failed: %.*s", e->argv[0], SLICE_ARG(err.text));
}

/* The words are split before they are expanded, so that nothing a client says becomes two arguments. OK; FAIL with why. */
static enum rc etrn_words(struct smtp_session *s, struct etrn_run *e, struct slice argument, struct err *err)
{
	struct slice words[ETRN_WORDS_MAX], text;
	struct address address = {.domain = argument, .local_part = SLICE_EMPTY, .full = argument};
	struct scope *sc = session_scope(s);
	unsigned count;

	if (!transport_command_runner.split(&e->arena, s->options->smtp_etrn_command, words, ETRN_WORDS_MAX,
					    &count) ||
	    !count)
		return err_set(err, FAIL, "malformed command");
	e->argv = arena_array(&e->arena, const char *, count + 1);
	if (!e->argv)
		return err_memory(err);
	sc->address = &address;
	for (unsigned i = 0; i < count; i++) {
		enum rc rc = expand_text(sc, words[i], &text, err);

		/* What a client says may be an option where an administrator meant a name. */
		if (rc == OK && text.taint == TAINTED)
			rc = err_set(err, FAIL, "Tainted arg %u for ETRN processing command: '%.*s'", i,
				     SLICE_ARG(text));
		if (rc == OK && i == 0 && !slice_starts(text, SLICE("/")))
			rc = err_set(err, FAIL, "\"%.*s\" is no absolute path", SLICE_ARG(text));
		if (rc == OK && !(e->argv[i] = arena_cstr(&e->arena, text)))
			rc = err_memory(err);
		if (rc != OK) {
			sc->address = NULL;
			return rc;
		}
	}
	sc->address = NULL;
	return OK;
}

static void etrn_fiber(void *arg)
{
	struct etrn_run *e = arg;
	struct err err = err_make(&e->arena);

	/* What it could not try, the next run does. */
	if (e->argv)
		etrn_command(e);
	else
		(void)(deliver_queue_run(&e->task, e->deliverer, &e->run, true, &err) == OK);
	conf_unref(e->conf);
	list_remove(&e->link);
	e->server->etrn_count--;
	waitq_wake_all(&e->server->drained);
	arena_done(&e->arena);
	free(e);
}

void etrn_cancel_all(struct smtp_server *server)
{
	LIST_EACH (l, &server->etrn_runs)
		task_cancel(&LIST_ITEM(l, struct etrn_run, link)->task);
}

/* false: no memory, no fiber, or too many. */
static bool etrn_start(struct smtp_session *s, struct slice pattern, struct slice argument)
{
	struct smtp_server *server = s->server;
	struct etrn_run *e =
	    server->etrn_count < ETRN_RUNS_MAX ? calloc(1, sizeof(*e)) : NULL; /* outlives the session */

	struct err err = err_make(&s->serving->arena);

	if (!e)
		return false;
	arena_init(&e->arena, 1024 * 1024);
	e->server = server;
	e->deliverer = server->deliverer;
	e->run.recipient_pattern = arena_copy(&e->arena, pattern);
	task_init(&e->task, server->shard, &e->arena, UNTIL_NEVER);
	e->conf = conf_ref(s->conf);
	if (s->options->smtp_etrn_command.len && etrn_words(s, e, argument, &err) != OK) {
		log_session(s, LOG_TO_MAIN | LOG_TO_PANIC, "failed to set up ETRN command: %.*s",
			    SLICE_ARG(err.text));
		e->run.recipient_pattern.ptr = NULL;
	}
	if (!e->run.recipient_pattern.ptr || fiber_spawn(server->shard, etrn_fiber, e) != OK) {
		conf_unref(e->conf);
		arena_done(&e->arena);
		free(e);
		return false;
	}
	list_append(&server->etrn_runs, &e->link);
	server->etrn_count++;
	return true;
}

static bool etrn_running(const struct smtp_server *server, struct slice pattern)
{
	LIST_EACH (l, &server->etrn_runs)
		if (slice_eq_nocase(LIST_ITEM(l, struct etrn_run, link)->run.recipient_pattern, pattern))
			return true;
	return false;
}

void cmd_etrn(struct smtp_session *s, struct slice argument)
{
	struct acl_outcome outcome;
	struct err err;
	enum acl_result result;
	struct queue_run run = {0};
	struct slice whole;

	(void)session_scope(s);
	if (!argument.len) {
		reply_error(s, 501, "5.5.4", "ETRN requires an argument");
		return;
	}
	if (log_wants(s->conf, LOG_ETRN))
		log_session(s, LOG_TO_MAIN, "ETRN %.*s received from %.*s", SLICE_ARG(argument),
			    SLICE_ARG(client_caller(s)));
	result = session_acl(s, ACL_WHERE_ETRN, &outcome, &err);
	if (!acl_verdict(s, ACL_WHERE_ETRN, result, &outcome, &err, "ETRN", argument))
		return;
	/* "#text" asks for all recipients that contain the text; "@domain" and "domain" for a domain. A stranger's text is
	 * never a pattern, nor part of a command. */
	whole = argument;
	if (argument.ptr[0] == '#' || argument.ptr[0] == '@')
		argument = slice_from(argument, 1);
	if (s->options->smtp_etrn_serialize && etrn_running(s->server, argument)) {
		replyf(s, 458, "4.3.0", "Already processing %.*s", SLICE_ARG(argument));
		return;
	}
	/* A session on standard input may be all that this process is for: nothing outlives it. */
	run.recipient_pattern = argument;
	session_deadline(s, 60000);
	if (s->dry_run || (s->stdio && !s->options->smtp_etrn_command.len
			       ? deliver_queue_run(&s->task, s->server->deliverer, &run, false, &err) == OK
			       : !s->server->draining && etrn_start(s, argument, whole)))
		reply(s, 250, "2.0.0", SLICE("OK"));
	else
		reply(s, 458, "4.3.0",
		      s->options->smtp_etrn_command.len ? SLICE("Internal failure")
							: SLICE("Unable to queue messages"));
}

void cmd_help(struct smtp_session *s)
{
	struct str text = str_make(&s->serving->arena);

	str_addz(&text, "Commands supported:\nAUTH HELO EHLO MAIL RCPT DATA BDAT NOOP QUIT RSET HELP");
	if (s->options->acl[ACL_WHERE_ETRN])
		str_addz(&text, " ETRN");
	if (s->options->acl[ACL_WHERE_EXPN])
		str_addz(&text, " EXPN");
	if (s->options->acl[ACL_WHERE_VRFY])
		str_addz(&text, " VRFY");
	if (s->options->acl[ACL_WHERE_WELLKNOWN])
		str_addz(&text, " WELLKNOWN");
	reply(s, 214, "2.0.0", str_slice(&text));
}
