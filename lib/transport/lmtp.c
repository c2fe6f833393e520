/* The lmtp transport (RFC 2033) over a Unix socket; over TCP it is the smtp transport with protocol = lmtp. */
#include "smtp.h"

struct lmtp {
	struct transport transport;
	const struct expansion *batch_id, *command, *socket;
	bool ignore_quota;
	int64_t batch_max, timeout;
};

static const struct conf_option lmtp_options[] = {
	OPT_EXPAND(struct lmtp, batch_id, NULL, "addresses with equal values may go together"),
	OPT_INT(struct lmtp, batch_max, "1", "addresses at a time"),
	OPT_EXPAND(struct lmtp, command, NULL, "a program that speaks LMTP"),
	OPT_BOOL(struct lmtp, ignore_quota, "no", "accepted; IGNOREQUOTA is not asked for"),
	OPT_EXPAND(struct lmtp, socket, NULL, "the Unix socket"),
	OPT_TIME(struct lmtp, timeout, "5m", "for each reply"),
};

static enum rc lmtp_check(struct conf *conf, void *instance, struct err *err)
{
	struct lmtp *l = instance;

	if (!l->command == !l->socket)
		return err_set(err, FAIL, "one (and only one) of command or socket must be set");
	if (l->command)
		return err_set(err, FAIL, "command is not supported yet: use socket, or the smtp transport with protocol = lmtp");
	if (l->timeout <= 0)
		return err_set(err, FAIL, "timeout must be greater than zero");
	if (l->ignore_quota)
		conf_warn(conf, &l->transport.instance.place, "ignore_quota has no effect yet");
	l->transport.batch_id = l->batch_id;
	l->transport.batch_max = l->batch_max;
	return OK;
}

static enum rc open_socket(struct scope *sc, const struct lmtp *l, bool reuse, struct smtp_connection **connection_ret,
			   struct smtp_reply *reply, struct slice *path_ret, struct err *err)
{
	struct smtp_connect_options options;
	struct slice path;
	enum rc rc = expand(sc, l->socket, &path, err);

	if (rc != OK) {
		err_prefix(err, "expansion of \"socket\" in %.*s transport failed", SLICE_ARG(l->transport.instance.name));
		return rc == FAIL ? DEFER : rc;
	}
	if (path.taint == TAINTED)
		return err_set(err, DEFER, "Tainted '%.*s' (socket of %.*s transport) not permitted", SLICE_ARG(path),
			       SLICE_ARG(l->transport.instance.name));
	options = (struct smtp_connect_options){
		.unix_path = path, .host_name = path, .helo = conf_main(sc->conf)->primary_hostname, .lmtp = true,
		.use_ehlo = true, .connect_timeout_ms = l->timeout * 1000, .command_timeout_ms = l->timeout * 1000,
		.data_timeout_ms = l->timeout * 1000, .final_timeout_ms = l->timeout * 1000, .reuse = reuse,
		.pool_key = l->transport.instance.name,
	};
	*path_ret = path;
	rc = smtp_open(sc, &options, connection_ret, reply, err);
	if (rc != OK && reply->code == 0)
		err_prefix(err, "failed to connect to socket %.*s", SLICE_ARG(path));
	return rc;
}

static void all_from_reply(struct scope *sc, struct delivery *delivery, enum rc rc, const struct smtp_reply *reply,
			   const struct err *err)
{
	for (unsigned i = 0; i < delivery->count; i++)
		smtp_set_outcome(sc, &delivery->outcomes[i], rc == FAIL ? FAIL : DEFER, reply, NULL, err);
}

static void lmtp_deliver(struct scope *sc, const struct transport *transport, struct delivery *delivery)
{
	const struct lmtp *l = (const struct lmtp *)transport;
	struct err err = err_make(sc->task->arena);
	struct smtp_connection *connection;
	struct smtp_transaction t;
	struct slice path = SLICE_EMPTY;
	bool again = false;
	enum rc rc;

	do {
		struct smtp_reply reply = {.text = SLICE_EMPTY, .command = SLICE("initial connection")};

		rc = open_socket(sc, l, !again, &connection, &reply, &path, &err);
		if (rc != OK) {
			all_from_reply(sc, delivery, rc, &reply, &err);
			return;
		}
		rc = smtp_fill_transaction(sc, transport, delivery, delivery->addresses, delivery->count,
					   smtp_extensions(connection), &t, &err);
		if (rc != OK) {
			smtp_release(connection, 0);
			outcome_all_err(sc, delivery, DEFER, &err, NULL);
			return;
		}
		t.allow_chunking = true;
		rc = smtp_send(sc, connection, &t, &err);
		/* A pooled connection may have died of old age: once more with a fresh one. */
		again = !again && rc == DEFER && t.reply.code == 0 && !t.any_reply && smtp_was_reused(connection);
		if (again)
			smtp_close(connection);
	} while (again);
	for (unsigned i = 0; i < delivery->count; i++) {
		struct delivery_outcome *outcome = &delivery->outcomes[i];

		smtp_set_outcome(sc, outcome, t.recipients[i].rc, &t.recipients[i].reply, NULL, &err);
		outcome->pipelining = t.used_pipelining;
		outcome->chunking = t.used_chunking;
		outcome->dsn_aware = smtp_extensions(connection) & SMTP_EXT_DSN;
		outcome->size = t.sent;
	}
	if (rc == CANCELLED || (rc == DEFER && t.reply.code == 0))
		smtp_close(connection);
	else
		smtp_release(connection, 0);
}

static const struct transport_ops lmtp_ops = {.deliver = lmtp_deliver, .local = true};
const struct conf_driver transport_lmtp_driver = {
	.name = "lmtp", .size = sizeof(struct lmtp), .options = lmtp_options, .option_count = ARRAY_COUNT(lmtp_options),
	.check = lmtp_check, .ops = &lmtp_ops,
};
