/* submit_tools: mail from this host: -t and recipients as arguments, -bs and -bS. With a daemon running, it takes the message
 * (or the whole session: its descriptors are handed over); without one, this process opens the spool itself. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SUBMISSION_MAX (256ul * 1024 * 1024)

/* Standard input up to its end, or to a line that is a lone dot. */
static bool read_message(const struct command_line *cl, char **text_ret, size_t *len_ret)
{
	size_t len = 0, room = 1 << 16;
	char *text = malloc(room), *line = NULL;
	size_t line_room = 0;
	ssize_t got;

	while (text && (got = getline(&line, &line_room, stdin)) >= 0) {
		if (!cl->ignore_dot && line[0] == '.' && (line[1] == '\n' || line[1] == 0 || (line[1] == '\r' && line[2] == '\n')))
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

static enum deliver_when when_of(const struct command_line *cl)
{
	return cl->when == WHEN_QUEUE ? DELIVER_QUEUE : DELIVER_NOW;
}

/* For the From: that is made where there is none: a trusted user who sends for another does not put his own name to it. */
static struct slice full_name_of(const struct command_line *cl, const struct caller *caller)
{
	if (cl->full_name)
		return slice_of(cl->full_name);
	return cl->sender && caller->trusted ? SLICE_EMPTY : slice_of(caller->name);
}

static int submit_here(struct once *o)
{
	static struct slice recipients[ARRAY_COUNT(o->cl->operands)];
	const struct command_line *cl = o->cl;
	struct message_id id;
	struct err err = err_make(&o->arena);
	struct smtp_submission submission = {
		.text = slice_make(handed.text, handed.len, TAINTED),
		.sender = cl->sender ? slice_tainted(slice_of(cl->sender)) : (struct slice){NULL, 0, 0},
		.recipients = recipients,
		.recipient_count = cl->operand_count,
		.extract_recipients = cl->extract,
		.login = slice_of(o->caller->login),
		.full_name = full_name_of(cl, o->caller),
		.uid = o->caller->uid,
		.gid = o->caller->gid,
		.trusted = o->caller->trusted,
		.when = when_of(cl),
	};

	for (unsigned i = 0; i < cl->operand_count; i++)
		recipients[i] = slice_tainted(slice_of(cl->operands[i]));
	o->task.until = UNTIL_NEVER;
	if (smtp_submit(&o->task, o->smtp, &submission, &id, &err) != OK) {
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
		return 1;
	}
	return 0;
}

static int submit_to_daemon(const struct command_line *cl, const struct caller *caller, int fd)
{
	static struct slice words[ARRAY_COUNT(cl->operands) + 8];
	struct arena arena;
	struct err err;
	unsigned n = 0;
	int status = 0;

	arena_init(&arena, 0);
	err = err_make(&arena);
	words[n++] = SLICE("submit");
	words[n++] = cl->extract ? SLICE("extract") : SLICE("given");
	words[n++] = when_of(cl) == DELIVER_QUEUE ? SLICE("queue") : SLICE("now");
	words[n++] = cl->sender ? SLICE("sender") : SLICE("login");
	words[n++] = cl->sender ? slice_of(cl->sender) : SLICE_EMPTY;
	words[n++] = full_name_of(cl, caller);
	for (unsigned i = 0; i < cl->operand_count; i++)
		words[n++] = slice_of(cl->operands[i]);
	if (control_ask(fd, words, n, slice_make(handed.text, handed.len, TAINTED), NULL, 0, NULL, &err) != OK) {
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
		status = 1;
	}
	close(fd);
	arena_done(&arena);
	return status;
}

/* ---- -bs, -bS -------------------------------------------------------------------------------------------------------- */

/* Started by inetd, standard input is the client's socket. */
static void who_calls(const struct command_line *cl, const struct caller *caller, struct smtp_stdio *stdio)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	*stdio = (struct smtp_stdio){.fd_in = 0, .fd_out = 1, .uid = caller->uid, .gid = caller->gid, .trusted = caller->trusted,
				     .login = slice_of(caller->login), .batch = cl->mode == MODE_BATCH_SMTP};
	if (cl->test_host && caller->trusted) {
		(void)ip_parse(slice_of(cl->test_host), &stdio->ip);
		if (cl->interface)
			(void)ip_parse(slice_of(cl->interface), &stdio->local);
		return;
	}
	if (getpeername(0, (struct sockaddr *)&sa, &len) == 0)
		stdio->ip = ip_from_sockaddr((struct sockaddr *)&sa);
	len = sizeof(sa);
	if (stdio->ip.family && getsockname(0, (struct sockaddr *)&sa, &len) == 0)
		stdio->local = ip_from_sockaddr((struct sockaddr *)&sa);
}

static int session_here(struct once *o)
{
	struct smtp_stdio stdio;
	struct err err = err_make(&o->arena);

	who_calls(o->cl, o->caller, &stdio);
	o->task.until = UNTIL_NEVER;
	if (smtp_serve_stdio(&o->task, o->smtp, &stdio, &err) != OK)
		return 1;
	return stdio.batch && stdio.rejected_ret ? 1 : 0;
}

static int session_by_daemon(const struct command_line *cl, int fd)
{
	const int fds[2] = {0, 1};
	struct slice words[] = {SLICE("session"), cl->mode == MODE_BATCH_SMTP ? SLICE("batch") : SLICE("dialogue"),
				slice_of(cl->test_host ? cl->test_host : "")};
	struct arena arena;
	struct err err;
	enum rc rc;

	arena_init(&arena, 0);
	err = err_make(&arena);
	rc = control_ask(fd, words, ARRAY_COUNT(words), SLICE_EMPTY, fds, 2, NULL, &err);
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
		if (!read_message(cl, &handed.text, &handed.len))
			return 1;
	}
	if (control_connect(spool_directory(conf), &fd, NULL) == OK)
		status = session ? session_by_daemon(cl, fd) : submit_to_daemon(cl, caller, fd);
	else
		status = run_once(cl, caller, conf, true, session ? session_here : submit_here);
	free(handed.text);
	return status;
}
