/* submit_tools: mail from this host: -t and recipients as arguments, -bs and -bS. With a daemon running, it takes the message
 * (or the whole session: its descriptors are handed over); without one, this process opens the spool itself. */
#include "server.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SUBMISSION_MAX (256ul * 1024 * 1024)

/* receive_timeout: in the handler only what may be done there. */
static void on_alarm(int signal_number)
{
	static const char words[] = "sluice: timed out while reading - message abandoned\n";

	(void)signal_number;
	if (write(2, words, sizeof(words) - 1) < 0)
		_exit(2);
	_exit(1);
}

static void limit_reading(int64_t seconds)
{
	struct sigaction action = {.sa_handler = on_alarm};

	if (seconds > 0 && sigaction(SIGALRM, &action, NULL) == 0)
		alarm(seconds < UINT_MAX ? (unsigned)seconds : UINT_MAX);
	else
		alarm(0);
}

/* Standard input up to its end, or to a line that is a lone dot. */
static bool read_message(const struct command_line *cl, char **text_ret, size_t *len_ret)
{
	size_t len = 0, room = 1 << 16;
	char *text = malloc(room), *line = NULL;
	size_t line_room = 0;
	ssize_t got;

	while (text && (got = getline(&line, &line_room, stdin)) >= 0) {
		if (!cl->ignore_dot && line[0] == '.' &&
		    (line[1] == '\n' || line[1] == 0 || (line[1] == '\r' && line[2] == '\n')))
			break;
		if (len + (size_t)got > SUBMISSION_MAX) {
			fprintf(stderr, "sluice: message too big\n");
			free(line);
			free(text);
			return false;
		}
		while (text && len + (size_t)got > room)
			text = realloc(text, room *= 2);
		if (text)
			memcpy(text + len, line, (size_t)got);
		len += (size_t)got;
	}
	free(line);
	*text_ret = text;
	*len_ret = len;
	return text != NULL;
}

struct handed {
	char *text;
	size_t len;
};
static struct handed handed; /* what this command read: one process, one message */

/* For the From: that is made where there is none: a trusted user who sends for another does not put his own name to it. */
static struct slice full_name_of(const struct command_line *cl, const struct caller *caller)
{
	if (cl->full_name)
		return slice_of(cl->full_name);
	return cl->sender && caller->trusted ? SLICE_EMPTY : slice_of(caller->name);
}

static struct slice told_text(const char *text)
{
	return text ? slice_tainted(slice_of(text)) : (struct slice){NULL, 0, 0};
}

uint32_t patience_of(const struct command_line *cl)
{
	return cl->smtp_timeout_s < 0           ? 0
	       : cl->smtp_timeout_s < INT32_MAX ? (uint32_t)cl->smtp_timeout_s
						: INT32_MAX;
}

void told_of(const struct command_line *cl, const struct caller *caller, struct smtp_told *ret)
{
	uint16_t port;

	*ret = (struct smtp_told){.dont_deliver = cl->dont_deliver,
				  .queue_only = cl->when == WHEN_QUEUE,
				  .queue_smtp = cl->queue_smtp,
				  .patience_s = patience_of(cl),
				  .deliver_now = cl->when == WHEN_BACKGROUND || cl->when == WHEN_FOREGROUND};
	if (!caller->trusted && cl->mode != MODE_TEST_HOST && cl->mode != MODE_TEST_HOST_CALLOUT)
		return;
	if (cl->sender_host && address_port_parse(slice_of(cl->sender_host), &ret->host, &port))
		ret->host.port = port;
	if (cl->interface && address_port_parse(slice_of(cl->interface), &ret->interface, &port))
		ret->interface.port = port;
	ret->host_name = told_text(cl->host_name);
	ret->protocol = told_text(cl->protocol);
	ret->ident = told_text(cl->ident);
	ret->authenticator = told_text(cl->authenticator);
	ret->authenticated_id = told_text(cl->authenticated_id);
	ret->authenticated_sender = told_text(cl->authenticated_sender);
	ret->about = told_text(cl->message_reference);
	ret->suppress_fixups = cl->no_fixups;
}

/* The message was refused: told here, whatever else; -oee is content when a report has been sent. */
static int refused(const struct command_line *cl, struct slice why, bool mailed)
{
	fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(why));
	return mailed && cl->errors == ERRORS_MAIL_ZERO ? 0 : 1;
}

static int submit_here(struct once *o)
{
	static struct slice recipients[ARRAY_COUNT(o->cl->operands)];
	const struct command_line *cl = o->cl;
	struct smtp_told told;
	struct message_id id;
	struct err err = err_make(&o->arena), mailed = err_make(&o->arena);
	enum rc rc;
	struct smtp_submission submission = {
	    .text = slice_make(handed.text, handed.len, TAINTED),
	    .sender = told_text(cl->sender),
	    .recipients = recipients,
	    .recipient_count = cl->operand_count,
	    .extract_recipients = cl->extract,
	    .login = slice_of(o->caller->login),
	    .full_name = full_name_of(cl, o->caller),
	    .uid = o->caller->uid,
	    .gid = o->caller->gid,
	    .trusted = o->caller->trusted,
	    .told = &told,
	};

	told_of(cl, o->caller, &told);
	for (unsigned i = 0; i < cl->operand_count; i++)
		recipients[i] = slice_tainted(slice_of(cl->operands[i]));
	o->task.until = UNTIL_NEVER;
	rc = smtp_submit(&o->task, o->smtp, &submission, &id, &err);
	if (rc == OK)
		return 0;
	return refused(cl, err.text,
		       rc == FAIL && cl->errors != ERRORS_PRINT &&
			   submission_report(&o->task, o->smtp, o->conf, &submission, err.text, &mailed) ==
			       OK);
}

static int submit_to_daemon(const struct command_line *cl, const struct caller *caller, int fd)
{
	static struct slice words[ARRAY_COUNT(cl->operands) + TOLD_WORDS_MAX + 8];
	struct slice mailed = SLICE(CONTROL_MAILED);
	struct smtp_told told;
	struct arena arena;
	struct err err;
	unsigned n = 0;
	int status = 0;

	arena_init(&arena, 0);
	err = err_make(&arena);
	told_of(cl, caller, &told);
	words[n++] = SLICE("submit");
	words[n++] = cl->extract ? SLICE("extract") : SLICE("given");
	words[n++] = cl->when == WHEN_FOREGROUND ? SLICE("wait") : SLICE("now");
	words[n++] = cl->errors == ERRORS_PRINT ? SLICE("print") : SLICE("mail");
	words[n++] = cl->sender ? SLICE("sender") : SLICE("login");
	words[n++] = cl->sender ? slice_of(cl->sender) : SLICE_EMPTY;
	words[n++] = full_name_of(cl, caller);
	n += told_write(&told, &arena, words + n);
	words[n++] = SLICE_EMPTY;
	for (unsigned i = 0; i < cl->operand_count; i++)
		words[n++] = slice_of(cl->operands[i]);
	if (control_ask(fd, words, n, slice_make(handed.text, handed.len, TAINTED), NULL, 0, NULL, &err) !=
	    OK) {
		bool sent = slice_starts(err.text, mailed);
		status = refused(cl, sent ? slice_from(err.text, mailed.len) : err.text, sent);
	}
	close(fd);
	arena_done(&arena);
	return status;
}

/* ---- -bs, -bS -------------------------------------------------------------------------------------------------------- */

/* Started by inetd, standard input is the client's socket. */
static void who_calls(struct smtp_stdio *stdio)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getpeername(0, (struct sockaddr *)&sa, &len) == 0)
		stdio->ip = ip_from_sockaddr((struct sockaddr *)&sa);
	len = sizeof(sa);
	if (stdio->ip.family && getsockname(0, (struct sockaddr *)&sa, &len) == 0)
		stdio->local = ip_from_sockaddr((struct sockaddr *)&sa);
}

static int session_here(struct once *o)
{
	struct smtp_told told;
	struct smtp_stdio stdio = {.fd_in = 0,
				   .fd_out = 1,
				   .uid = o->caller->uid,
				   .gid = o->caller->gid,
				   .trusted = o->caller->trusted,
				   .login = slice_of(o->caller->login),
				   .batch = o->cl->mode == MODE_BATCH_SMTP,
				   .told = &told};
	struct err err = err_make(&o->arena);

	told_of(o->cl, o->caller, &told);
	who_calls(&stdio);
	if (stdio.ip.family && conf_main(o->conf)->mua_wrapper) {
		log_printf(o->shard, o->conf, LOG_TO_MAIN, NULL,
			   "Input from inetd is not supported when mua_wrapper is set");
		return 1;
	}
	o->task.until = UNTIL_NEVER;
	if (smtp_serve_stdio(&o->task, o->smtp, &stdio, &err) != OK)
		return 1;
	return stdio.batch && stdio.rejected_ret ? 1 : 0;
}

static int session_by_daemon(const struct command_line *cl, const struct caller *caller, int fd)
{
	const int fds[2] = {0, 1};
	struct slice words[TOLD_WORDS_MAX + 3] = {
	    SLICE("session"), cl->mode == MODE_BATCH_SMTP ? SLICE("batch") : SLICE("dialogue")};
	struct smtp_told told;
	struct arena arena;
	struct err err;
	unsigned n = 2;
	enum rc rc;

	arena_init(&arena, 0);
	err = err_make(&arena);
	told_of(cl, caller, &told);
	n += told_write(&told, &arena, words + n);
	words[n++] = SLICE_EMPTY;
	rc = control_ask(fd, words, n, SLICE_EMPTY, fds, 2, NULL, &err);
	if (rc != OK && err.text.len)
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	close(fd);
	arena_done(&arena);
	return rc == OK ? 0 : 1;
}

int submit_command(const struct command_line *cl, const struct caller *caller, struct conf *conf)
{
	bool session = cl->mode != MODE_SUBMIT;
	int fd, status;

	if (!session) {
		if (!cl->operand_count && !cl->extract) {
			fprintf(stderr, "sluice: no recipients: give addresses, or -t\n");
			return 1;
		}
		limit_reading(cl->receive_timeout_s ? cl->receive_timeout_s : smtp_stdin_timeout(conf));
		if (!read_message(cl, &handed.text, &handed.len))
			return 1;
		limit_reading(0);
	}
	if (conf_main(conf)->mua_wrapper) { /* there is no daemon */
		status = run_once(cl, caller, conf, true, session ? session_here : submit_here);
		free(handed.text);
		if (status == ONCE_DAEMON)
			fprintf(stderr, "sluice: mua_wrapper is set, but a daemon has the spool\n");
		return status == ONCE_DAEMON ? 1 : status;
	}
	do {
		if (control_connect(spool_directory(conf), &fd, NULL) == OK)
			status =
			    session ? session_by_daemon(cl, caller, fd) : submit_to_daemon(cl, caller, fd);
		else
			status = run_once(cl, caller, conf, true, session ? session_here : submit_here);
	} while (status == ONCE_DAEMON);
	free(handed.text);
	return status;
}
