/* Logging in to another server (RFC 4954), as the smtp transport's hosts_require_auth and hosts_try_auth say; for the
 * transport and for callouts. */
#include "smtp.h"

/* What log lines and retry rules know the failures by. */
enum { SHOW_AUTH_FAILED = -42, SHOW_AUTH_TROUBLE = -48 };

enum smtp_auth_need smtp_auth_need(struct scope *sc, const struct smtp_transport *s,
				   const struct host_item *host)
{
	if (smtp_host_listed(sc, s->hosts_require_auth, host, true))
		return AUTH_REQUIRED;
	return smtp_host_listed(sc, s->hosts_try_auth, host, true) ? AUTH_TRIED : AUTH_NOT;
}

/* One connection that is to be logged in to. */
struct login {
	struct scope *sc;
	const struct host_item *host;
	struct smtp_connection *connection;
	struct smtp_reply reply;
	struct err *err;
};

static enum rc say(void *arg, struct slice line, struct slice shown, struct auth_reply *reply_ret)
{
	struct login *login = arg;
	enum rc rc = smtp_command_shown(login->sc, login->connection, line, shown, &login->reply, login->err);

	*reply_ret = (struct auth_reply){login->reply.code, login->reply.text};
	return rc;
}

static bool is_offered(const struct smtp_connection *connection, struct slice mechanism)
{
	struct slice rest = smtp_auth_mechanisms(connection), word;

	while (slice_word(&rest, &word))
		if (slice_eq_nocase(word, mechanism))
			return true;
	return false;
}

static void log_failed(const struct login *login, const struct authenticator *a, const char *what,
		       struct slice text)
{
	struct str line = str_make(login->sc->task->arena);

	str_printf(&line, "%.*s authenticator %s H=%.*s [", SLICE_ARG(a->instance.name), what,
		   SLICE_ARG(login->host->name));
	str_add_ip(&line, &login->host->ip);
	str_printf(&line, "] %.*s", SLICE_ARG(text));
	if (!line.failed)
		log_write(login->sc->task->shard, login->sc->conf, LOG_TO_MAIN,
			  login->sc->message ? &login->sc->message->id : NULL, str_slice(&line));
}

enum step { STEP_DONE, STEP_NEXT, STEP_GIVE_UP };

static enum step try_one(struct login *login, const struct authenticator *a)
{
	struct auth_client client = {
	    .sc = login->sc, .authenticator = a, .say = say, .arg = login, .text = SLICE_EMPTY};

	switch (auth_client_run(&client)) {
	case AUTH_OK:
		smtp_set_authenticated(login->connection, a->instance.name, auth_client_id(login->sc, a));
		return STEP_DONE;
	case AUTH_FAIL:
		log_failed(login, a, "failed", client.reply.text);
		return STEP_NEXT;
	case AUTH_SKIPPED:
		if (client.text.len)
			log_failed(login, a, "cancelled authentication", client.text);
		return STEP_NEXT;
	case AUTH_ERROR:
		(void)err_set(login->err, DEFER, "%.*s",
			      SLICE_ARG(client.text.len ? client.text : SLICE("authentication failed")));
		login->err->os = SHOW_AUTH_TROUBLE;
		login->reply = (struct smtp_reply){.text = SLICE_EMPTY, .command = SLICE("authentication")};
		return STEP_GIVE_UP;
	default: /* 4yz, or nobody is there any more: login->reply and login->err tell */
		return STEP_GIVE_UP;
	}
}

static enum rc refuse(struct login *login, const char *why)
{
	login->reply = (struct smtp_reply){.text = SLICE_EMPTY, .command = SLICE("authentication")};
	(void)err_set(login->err, DEFER, "authentication required but %s", why);
	login->err->os = SHOW_AUTH_FAILED;
	return DEFER;
}

static enum rc log_in(struct login *login, enum smtp_auth_need need)
{
	const struct conf_instances *all = conf_instances(login->sc->conf, CONF_SECTION_AUTHENTICATORS);
	const char *why = "server did not advertise AUTH support";

	if (smtp_extensions(login->connection) & SMTP_EXT_AUTH)
		why = "no common mechanisms were found";
	for (unsigned i = 0; i < all->count && (smtp_extensions(login->connection) & SMTP_EXT_AUTH); i++) {
		const struct authenticator *a = all->items[i];

		if (!a->is_client || !is_offered(login->connection, a->public_name) ||
		    !auth_client_wanted(login->sc, a))
			continue;
		why = "authentication attempt(s) failed";
		switch (try_one(login, a)) {
		case STEP_DONE:
			return OK;
		case STEP_NEXT:
			break;
		case STEP_GIVE_UP:
			return login->sc->task->cancelled ? CANCELLED : DEFER;
		}
	}
	return need == AUTH_REQUIRED ? refuse(login, why) : OK;
}

enum rc smtp_log_in(struct scope *sc, enum smtp_auth_need need, const struct host_item *host,
		    struct smtp_connection *connection, struct smtp_reply *reply_ret, struct err *err)
{
	struct login login = {.sc = sc,
			      .host = host,
			      .connection = connection,
			      .err = err,
			      .reply = {.text = SLICE_EMPTY, .command = SLICE("authentication")}};
	struct slice auth[3];
	enum rc rc;

	if (need == AUTH_NOT || smtp_authenticator(connection).len)
		return OK;
	/* A connection from the pool has tried already what there is to try. */
	if (smtp_was_reused(connection))
		return need == AUTH_REQUIRED ? refuse(&login, "the connection is not authenticated") : OK;
	memcpy(auth, sc->auth, sizeof(auth));
	rc = log_in(&login, need);
	memcpy(sc->auth, auth, sizeof(auth)); /* what it said is nobody else's business */
	sc->numeric_count = 0;
	*reply_ret = login.reply;
	return rc;
}
