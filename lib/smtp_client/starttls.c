/* TLS with a server: STARTTLS (RFC 3207), the handshake, and sessions to come back with. */
#include "connection.h"

#include <errno.h>

#define SESSION_AGE_MAX_S 86400 /* the session knows its own life; older than this nobody honours one */

/* ---- Sessions in hints: the time it was stored, 8 bytes, then what the tls room gave ---------------------------------- */

static struct slice find_session(struct scope *sc, struct slice key)
{
	int64_t now_s = (int64_t)(shard_wall(sc->task->shard) / NS_PER_S), stored;
	struct err err = err_make(NULL);
	struct slice value;

	if (!key.len || hints_get(sc->task->shard, HINTS_TLS, key, sc->task->arena, &value, &err) != OK ||
	    value.len <= sizeof(stored))
		return SLICE_EMPTY;
	memcpy(&stored, value.ptr, sizeof(stored));
	if (stored > now_s || now_s - stored > SESSION_AGE_MAX_S)
		return SLICE_EMPTY;
	return slice_from(value, sizeof(stored));
}

void connection_keep_session(struct smtp_connection *c)
{
	int64_t now_s = (int64_t)(shard_wall(c->shard) / NS_PER_S);
	struct slice session, value;
	struct arena arena;
	struct str str;

	if (!c->tls || !c->session_key.len || c->session_kept)
		return;
	arena_init(&arena, HINTS_VALUE_MAX * 2);
	str = str_make(&arena);
	session = tls_session_export(c->tls, &arena);
	str_add(&str, slice_make((const char *)&now_s, sizeof(now_s), CLEAN));
	str_add(&str, session.ptr ? session : SLICE_EMPTY);
	value = str_slice(&str);
	if (session.len && value.ptr && value.len <= HINTS_VALUE_MAX) {
		hints_put(c->shard, HINTS_TLS, c->session_key, value);
		c->session_kept = true;
	}
	arena_done(&arena);
}

/* ---- The handshake -------------------------------------------------------------------------------------------------- */

/* The key of this connection's sessions, in its own arena; empty: none are kept. */
static struct slice make_session_key(struct scope *sc, struct smtp_connection *c, const struct smtp_tls *tls,
				     struct slice ehlo_reply)
{
	struct slice name = SLICE_EMPTY, key;

	if (!tls->session_key.len)
		return SLICE_EMPTY;
	if (tls->server_name)
		name = tls->server_name(sc, tls->server_name_arg, ehlo_reply);
	key = arena_printf(&c->arena, "%.*s\n%.*s", SLICE_ARG(tls->session_key), SLICE_ARG(name));
	return key.ptr ? key : SLICE_EMPTY;
}

static enum rc failed(struct smtp_connection *c, enum rc rc, struct err *err)
{
	c->dead = true;
	if (rc == CANCELLED)
		return rc;
	if (rc == DEFER && err && !err->text.len)
		(void)err_set(err, DEFER, "timed out");
	if (err) {
		struct slice text = err->text, stage = tls_error_stage(&text);
		int os = err->os == EKEYREJECTED ? SMTP_TLS_PROOF : SMTP_TLS_FAILURE;

		(void)err_set(err, DEFER, "TLS session: (%.*s): %.*s", SLICE_ARG(stage), SLICE_ARG(text));
		err->os = os;
	}
	return DEFER;
}

/* What was found wrong with a certificate or its proof that have not to be right. */
static void tell(struct scope *sc, const struct smtp_connection *c, const char *what, struct slice why)
{
	struct str line = str_make(sc->task->arena);

	if (!why.len)
		return;
	str_addc(&line, '[');
	str_add_ip(&line, &c->to);
	str_printf(&line, "] SSL %s error: ", what);
	str_add(&line, why);
	if (!line.failed)
		log_write(sc->task->shard, sc->conf, LOG_TO_MAIN, sc->message ? &sc->message->id : NULL,
			  str_slice(&line));
}

enum rc connection_handshake(struct scope *sc, struct smtp_connection *c, const struct smtp_tls *tls,
			     struct slice ehlo_reply, struct err *err)
{
	struct tls_client client = *tls->client;
	uint64_t until = sc->task->until;
	struct err why = err_make(sc->task->arena);
	enum rc rc;

	c->session_key = make_session_key(sc, c, tls, ehlo_reply);
	client.session = find_session(sc, c->session_key);
	if (c->command_timeout_ms > 0)
		sc->task->until = task_until(sc->task, (uint64_t)c->command_timeout_ms);
	rc = tls_connect(sc->task, c->stream, &client, &c->tls, &why);
	sc->task->until = until;
	if (rc == OK && tls->alpn_required && !tls_session_facts(c->tls)->alpn.len)
		rc = err_set(&why, FAIL, "the server did not choose a protocol (ALPN)");
	if (rc == OK)
		DEBUG(DEBUG_TLS, "TLS session with %.*s: %.*s, certificate %s%.*s", SLICE_ARG(c->host_name),
		      SLICE_ARG(tls_session_facts(c->tls)->cipher),
		      tls_session_facts(c->tls)->verified ? "verified" : "not verified ",
		      SLICE_ARG(tls_session_facts(c->tls)->verify_error));
	else
		DEBUG(DEBUG_TLS, "TLS session with %.*s failed: %.*s", SLICE_ARG(c->host_name),
		      SLICE_ARG(why.text));
	if (rc == OK) {
		tell(sc, c, "verify", tls_session_facts(c->tls)->verify_error);
		tell(sc, c, "certificate status", tls_session_facts(c->tls)->ocsp_error);
		return OK;
	}
	c->tls = NULL;
	/* The session that was offered may be why: the next attempt does without. */
	if (client.session.len)
		hints_delete(c->shard, HINTS_TLS, c->session_key);
	if (err && why.text.len)
		(void)err_set(err, rc, "%.*s", SLICE_ARG(why.text));
	else if (err)
		err->text = SLICE_EMPTY;
	if (err)
		err->os = why.os;
	return failed(c, rc, err);
}

static enum rc not_secured(const struct smtp_tls *tls, const char *why, struct smtp_reply *reply,
			   struct err *err)
{
	if (!tls->required)
		return OK;
	*reply = (struct smtp_reply){.text = SLICE_EMPTY, .command = SLICE("STARTTLS")};
	(void)err_set(err, DEFER, "a TLS session is required, but %s", why);
	if (err)
		err->os = SMTP_TLS_REQUIRED;
	return DEFER;
}

enum rc connection_starttls(struct scope *sc, struct smtp_connection *c, const struct smtp_tls *tls,
			    struct slice ehlo_reply, bool *secured_ret, struct smtp_reply *reply,
			    struct err *err)
{
	enum rc rc;

	*secured_ret = false;
	if (!(c->offer.extensions & SMTP_EXT_STARTTLS))
		return not_secured(tls, "the server did not offer TLS support", reply, err);
	rc = connection_command(sc->task, c, SLICE("STARTTLS"), SLICE("STARTTLS"), reply, err);
	if (rc != OK)
		return rc;
	if (reply->code / 100 != 2) {
		if (reply->code / 100 != 5 && !tls->tempfail_tryclear && !tls->required) {
			(void)err_set(err, DEFER, "SMTP error from remote mail server after STARTTLS: %.*s",
				      SLICE_ARG(reply->text));
			return DEFER;
		}
		return not_secured(tls, "an attempt to start TLS failed", reply, err);
	}
	*reply = (struct smtp_reply){.text = SLICE_EMPTY, .command = SLICE("STARTTLS")};
	/* What is behind the reply in the same packet was not said by the one whose certificate comes next. */
	if (stream_pending(c->stream) > 0) {
		(void)err_set(err, DEFER, "the server sent data before the handshake");
		return failed(c, DEFER, err);
	}
	rc = connection_handshake(sc, c, tls, ehlo_reply, err);
	*secured_ret = rc == OK;
	return rc;
}
