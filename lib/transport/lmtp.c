/* The lmtp transport (RFC 2033) over a Unix socket or to a command; over TCP it is the smtp transport with protocol = lmtp. */
#include <unistd.h>

#include "command_line.h"
#include "helper.h"
#include "smtp.h"

#define COMMAND_END_MS 5000 /* for a command to end once it has been told QUIT */

struct lmtp {
	struct transport transport;
	const struct expansion *batch_id, *command, *socket;
	bool ignore_quota;
	int64_t batch_max, timeout;
};

/* One delivery. */
struct conversation {
	struct scope *sc;
	const struct lmtp *lmtp;
	struct err *err;
	struct smtp_connection *connection;
	struct running running; /* with has_command */
	bool has_command, usable;
};

static const struct conf_option lmtp_options[] = {
    OPT_EXPAND(struct lmtp, batch_id, NULL, "addresses with equal values may go together"),
    OPT_INT(struct lmtp, batch_max, "1", "addresses at a time"),
    OPT_EXPAND(struct lmtp, command, NULL, "a program that speaks LMTP"),
    OPT_BOOL(struct lmtp, ignore_quota, "no", "RCPT asks for IGNOREQUOTA, where offered"),
    OPT_EXPAND(struct lmtp, socket, NULL, "the Unix socket"),
    OPT_TIME(struct lmtp, timeout, "5m", "for each reply"),
};

static enum rc lmtp_check(struct conf *conf, void *instance, struct err *err)
{
	struct lmtp *l = instance;

	if (!l->command == !l->socket)
		return err_set(err, FAIL, "one (and only one) of command or socket must be set");
	(void)conf;
	if (l->timeout <= 0)
		return err_set(err, FAIL, "timeout must be greater than zero");
	l->transport.ignore_quota = l->ignore_quota;
	l->transport.batch_id = l->batch_id;
	l->transport.batch_max = l->batch_max;
	return OK;
}

/* What both ways of getting there have in common. */
static struct smtp_connect_options plain_options(struct scope *sc, const struct lmtp *l, struct slice name)
{
	return (struct smtp_connect_options){
	    .host_name = name,
	    .helo = conf_main(sc->conf)->primary_hostname,
	    .lmtp = true,
	    .use_ehlo = true,
	    .connect_timeout_ms = l->timeout * 1000,
	    .command_timeout_ms = l->timeout * 1000,
	    .data_timeout_ms = l->timeout * 1000,
	    .final_timeout_ms = l->timeout * 1000,
	    .pool_key = l->transport.instance.name,
	};
}

static enum rc open_socket(struct conversation *c, bool reuse, struct smtp_reply *reply)
{
	const struct lmtp *l = c->lmtp;
	struct smtp_connect_options options;
	struct slice path;
	enum rc rc = expand(c->sc, l->socket, &path, c->err);

	if (rc != OK) {
		err_prefix(c->err, "expansion of \"socket\" in %.*s transport failed",
			   SLICE_ARG(l->transport.instance.name));
		return rc == FAIL ? DEFER : rc;
	}
	if (path.taint == TAINTED)
		return err_set(c->err, DEFER, "Tainted '%.*s' (socket of %.*s transport) not permitted",
			       SLICE_ARG(path), SLICE_ARG(l->transport.instance.name));
	options = plain_options(c->sc, l, path);
	options.unix_path = path;
	options.reuse = reuse;
	rc = smtp_open(c->sc, &options, &c->connection, reply, c->err);
	if (rc != OK && reply->code == 0)
		err_prefix(c->err, "failed to connect to socket %.*s", SLICE_ARG(path));
	return rc;
}

/* A command that speaks LMTP on its standard input and output, run for this delivery. */
static enum rc open_command(struct conversation *c, const struct delivery *delivery, struct smtp_reply *reply)
{
	static const char *const environment[] = {"PATH=/bin:/usr/bin", NULL};
	struct smtp_connect_options options;
	struct identity who;
	const char **argv;
	enum rc rc = command_arguments(c->sc, delivery, expansion_text(c->lmtp->command), "command", true,
				       &argv, c->err);

	if (rc == OK && argv[0][0] != '/')
		rc = err_set(c->err, DEFER, "command \"%s\" of %.*s transport is not absolute", argv[0],
			     SLICE_ARG(c->lmtp->transport.instance.name));
	if (rc == OK)
		rc = identity_find(c->sc, &c->lmtp->transport, c->sc->address, &who, c->err);
	if (rc == OK) {
		struct command command = {.argv = argv, .envp = environment, .directory = "/", .umask = 022};
		rc = user_spawn(c->sc->task, &who, &command, &c->running, c->err);
	}
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	c->has_command = true;
	options = plain_options(c->sc, c->lmtp, slice_of(argv[0]));
	options.over_pipes = true;
	options.input = c->running.output;
	options.output = c->running.input;
	return smtp_open(c->sc, &options, &c->connection, reply, c->err);
}

/* The connection is closed by now: a command that does not end by that is ended. */
static void end_command(struct conversation *c)
{
	struct task *task = c->sc->task;
	uint64_t until = task->until;
	struct err err = err_make(NULL);
	int status;

	if (!c->has_command)
		return;
	task->until = task_until(task, COMMAND_END_MS);
	if (user_wait(task, &c->running, &status, &err) != OK)
		user_kill(task, &c->running);
	task->until = until;
	if (c->running.pidfd >= 0)
		close(c->running.pidfd);
	if (c->running.status >= 0)
		file_close(task->shard, c->running.status);
}

static void all_from_reply(struct scope *sc, struct delivery *delivery, enum rc rc,
			   const struct smtp_reply *reply, const struct err *err)
{
	for (unsigned i = 0; i < delivery->count; i++)
		smtp_set_outcome(sc, &delivery->outcomes[i], rc == FAIL ? FAIL : DEFER, reply, NULL, err);
}

static enum rc send_batch(struct conversation *c, struct delivery *delivery, struct smtp_transaction *t)
{
	const struct transport *transport = &c->lmtp->transport;
	bool again = false;
	enum rc rc;

	do {
		struct smtp_reply reply = {.text = SLICE_EMPTY, .command = SLICE("initial connection")};

		rc = c->lmtp->command ? open_command(c, delivery, &reply) : open_socket(c, !again, &reply);
		if (rc != OK) {
			all_from_reply(c->sc, delivery, rc, &reply, c->err);
			return FAIL;
		}
		rc = smtp_fill_transaction(c->sc, transport, delivery, delivery->addresses, delivery->count,
					   smtp_extensions(c->connection), t, c->err);
		if (rc != OK) {
			smtp_close(c->connection);
			outcome_all_err(c->sc, delivery, DEFER, c->err, NULL);
			return FAIL;
		}
		t->allow_chunking = true;
		rc = smtp_send(c->sc, c->connection, t, c->err);
		/* A pooled connection may have died of old age: once more with a fresh one. */
		again = !again && rc == DEFER && t->reply.code == 0 && !t->any_reply &&
			smtp_was_reused(c->connection);
		if (again)
			smtp_close(c->connection);
	} while (again);
	c->usable = !(rc == CANCELLED || (rc == DEFER && t->reply.code == 0));
	return OK;
}

static void lmtp_deliver(struct scope *sc, const struct transport *transport, struct delivery *delivery)
{
	struct err err = err_make(sc->task->arena);
	struct conversation c = {.sc = sc, .lmtp = (const struct lmtp *)transport, .err = &err};
	struct smtp_transaction t;

	if (send_batch(&c, delivery, &t) == OK) {
		for (unsigned i = 0; i < delivery->count; i++) {
			struct delivery_outcome *outcome = &delivery->outcomes[i];

			smtp_set_outcome(sc, outcome, t.recipients[i].rc, &t.recipients[i].reply, NULL, &err);
			outcome->pipelining = t.used_pipelining;
			outcome->chunking = t.used_chunking;
			outcome->dsn_aware = smtp_extensions(c.connection) & SMTP_EXT_DSN;
			outcome->size = t.sent;
		}
		if (c.usable && !c.has_command)
			smtp_release(c.connection, 0);
		else
			smtp_close(c.connection);
	}
	end_command(&c);
}

static const struct transport_ops lmtp_ops = {.deliver = lmtp_deliver, .local = true};
const struct conf_driver transport_lmtp_driver = {
    .name = "lmtp",
    .size = sizeof(struct lmtp),
    .options = lmtp_options,
    .option_count = ARRAY_COUNT(lmtp_options),
    .check = lmtp_check,
    .ops = &lmtp_ops,
};
