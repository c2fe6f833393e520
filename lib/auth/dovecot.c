/* dovecot: Dovecot's auth service decides. We carry challenges and responses between it and the client. */
#include "dovecot.h"
#include "dovecot_dial.h"
#include "driver.h"

#include <unistd.h>

#define GREETING_MS        5000  /* to connect, and to have its greeting */
#define ANSWER_MS          30000 /* it delays its answer to a wrong password, but not for so long */
#define GREETING_LINES_MAX 200

struct dovecot {
	struct authenticator a;
	struct slice server_socket, server_tls_verify_certificates;
	bool server_tls;
	struct dovecot_address address; /* derived */
};

static const struct conf_option options[] = {
    OPT_STRING(struct dovecot, server_socket, NULL,
	       "/path of Dovecot's auth-client socket, or its host and port"),
    OPT_BOOL(struct dovecot, server_tls, "no", "TLS to that host"),
    OPT_STRING(struct dovecot, server_tls_verify_certificates, NULL,
	       "a file, a directory or system: its certificate has to be of these and name the host"),
};

/* One exchange. */
struct talk {
	struct auth_server *server;
	const struct dovecot *d;
	struct task *task;
	struct stream *stream;
	struct err err;
	uint64_t saved; /* the session's own deadline */
};

/* Waits for input. */
static enum rc input_wait(struct talk *t)
{
	enum rc rc = stream_fill(t->task, t->stream, &t->err);

	if (rc == DEFER)
		return err_set(&t->err, DEFER, "it did not answer in time");
	return rc == FAIL ? err_set(&t->err, DEFER, "it hung up") : rc;
}

/* The next line, without its end, in the task's arena. DEFER: none came in time, or it is gone. */
static enum rc line_read(struct talk *t, struct slice *line_ret)
{
	struct str line = str_make(t->task->arena);
	ptrdiff_t end = -1;

	while (end < 0) {
		struct slice in = stream_peek(t->stream), part;
		enum rc rc = in.len ? OK : input_wait(t);

		if (rc != OK)
			return rc;
		end = slice_find(in, '\n');
		part = end < 0 ? in : slice_sub(in, 0, (size_t)end);
		if (line.len + part.len > DOVECOT_LINE_MAX)
			return err_set(&t->err, DEFER, "its line is too long");
		str_add(&line, part);
		stream_consume(t->stream, part.len + (end >= 0));
	}
	*line_ret = slice_tainted(str_slice(&line));
	return line.failed ? err_memory(&t->err) : OK;
}

static enum rc greet(struct talk *t)
{
	struct dovecot_greeting greeting = {.done = false};
	struct slice line, hello;
	enum rc rc = OK;

	for (unsigned lines = 0; rc == OK && !greeting.done; lines++) {
		if (lines == GREETING_LINES_MAX)
			return err_set(&t->err, DEFER, "its greeting has no end");
		rc = line_read(t, &line);
		if (rc == OK && dovecot_greeting_line(&greeting, line, t->d->a.public_name, &t->err) != OK)
			rc = DEFER;
	}
	if (rc != OK)
		return rc;
	hello = arena_printf(t->task->arena, "VERSION\t1\t0\nCPID\t%ld\n", (long)getpid());
	return hello.ptr ? stream_write(t->task, t->stream, hello, &t->err) : err_memory(&t->err);
}

static enum rc line_send(struct talk *t, const struct str *line)
{
	if (line->failed)
		return err_memory(&t->err);
	/* An over-long line would end the connection without a word. */
	if (line->len > DOVECOT_LINE_MAX)
		return err_set(&t->err, DEFER, "the client's response is longer than Dovecot takes");
	return stream_write(t->task, t->stream, str_slice(line), &t->err);
}

/* AUTH: what Dovecot may want to know, and the initial response, which has to come last. */
static enum rc ask(struct talk *t)
{
	const struct client *c = t->server->sc->client;
	struct str line = str_make(t->task->arena);
	bool same = c && c->ip.family && ip_eq(&c->ip, &c->local);

	str_printf(&line, "AUTH\t1\t%.*s\tservice=smtp", SLICE_ARG(t->d->a.public_name));
	if (c && (c->tls_cipher.len || same))
		str_addz(&line, "\tsecured");
	if (c && c->tls_cipher.len && c->tls_certificate_verified)
		str_addz(&line, "\tvalid-client-cert");
	if (c && c->ip.family) {
		str_addz(&line, "\trip=");
		str_add_ip(&line, &c->ip);
	}
	if (c && c->local.family) {
		str_addz(&line, "\tlip=");
		str_add_ip(&line, &c->local);
	}
	str_addz(&line, "\tnologin");
	if (t->server->initial.ptr) {
		str_addz(&line, "\tresp=");
		base64_encode(&line, t->server->initial);
	}
	str_addc(&line, '\n');
	return line_send(t, &line);
}

static enum rc answer_read(struct talk *t, struct dovecot_answer *answer)
{
	struct slice line;
	enum rc rc;

	t->task->until = t->saved;
	t->task->until = task_until(t->task, ANSWER_MS);
	rc = line_read(t, &line);
	if (rc != OK)
		return rc;
	return dovecot_answer_parse(t->task->arena, line, 1, answer, &t->err) == OK ? OK : DEFER;
}

static enum rc respond(struct talk *t, struct slice response)
{
	struct str line = str_make(t->task->arena);

	str_addz(&line, "CONT\t1\t");
	base64_encode(&line, response);
	str_addc(&line, '\n');
	return line_send(t, &line);
}

static enum auth_result trouble(struct talk *t, enum rc rc)
{
	if (rc == CANCELLED)
		return AUTH_GONE;
	return auth_defer(t->server, "dovecot at %.*s: %.*s", SLICE_ARG(t->d->server_socket),
			  SLICE_ARG(t->err.text));
}

static enum auth_result converse(struct talk *t)
{
	struct dovecot_answer answer;
	struct slice response;
	enum auth_result result;
	enum rc rc = dovecot_dial(t->task, t->server->sc->conf, &t->d->address, &t->stream, &t->err);

	if (rc == OK)
		rc = greet(t);
	if (rc == OK)
		rc = ask(t);
	for (;;) {
		if (rc == OK)
			rc = answer_read(t, &answer);
		if (rc != OK)
			return trouble(t, rc == FAIL ? DEFER : rc);
		if (answer.kind != DOVECOT_CONT)
			break;
		t->task->until = t->saved;
		result = auth_prompt(t->server, answer.challenge, &response);
		t->saved = t->task->until;
		if (result != AUTH_OK)
			return result;
		t->task->until = task_until(t->task, ANSWER_MS);
		rc = respond(t, response);
	}
	t->task->until = t->saved;
	if (answer.user.len)
		auth_string_add(t->server->sc, answer.user);
	if (answer.kind == DOVECOT_FAIL)
		return answer.temporary ? auth_defer(t->server, "dovecot: temporary failure") : AUTH_FAIL;
	return auth_condition(t->server);
}

static enum auth_result server_run(struct auth_server *server)
{
	struct task *task = server->sc->task;
	struct talk t = {
	    .server = server,
	    .d = (const struct dovecot *)server->authenticator,
	    .task = task,
	    .err = err_make(task->arena),
	    .saved = task->until,
	};
	enum auth_result result;

	task->until = task_until(task, GREETING_MS);
	result = converse(&t);
	task->until = t.saved;
	if (t.stream)
		stream_close(t.stream, false);
	return result;
}

static enum rc check(struct conf *conf, void *instance, struct err *err)
{
	struct dovecot *d = instance;
	enum rc rc;

	d->a.is_server = d->server_socket.ptr != NULL;
	if (!d->a.is_server)
		return OK;
	rc = dovecot_address_parse(d->server_socket, &d->address, err);
	if (rc != OK)
		return rc;
	d->address.tls = d->server_tls;
	if (d->server_tls && d->address.path.len)
		return err_set(err, FAIL, "server_tls is for a host and a port, not for a path");
	if (d->server_tls_verify_certificates.ptr)
		d->address.authorities = d->server_tls_verify_certificates;
	if (d->server_tls && !d->address.authorities.len)
		conf_warn(
		    conf, &d->a.instance.place,
		    "server_tls without server_tls_verify_certificates: anybody may answer for Dovecot");
	return OK;
}

static const struct auth_ops ops = {.server = server_run};
const struct conf_driver auth_dovecot_driver = {
    .name = "dovecot",
    .size = sizeof(struct dovecot),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
    .ops = &ops,
};
