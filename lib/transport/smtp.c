/* The smtp transport: hosts are tried in their order until each address of the batch has an answer (RFC 5321 section 5.1). */
#include "limits.h"
#include "smtp.h"

#include <errno.h>

/* A batch on its way through the hosts. */
struct relay {
	struct scope *sc;
	const struct smtp_transport *s;
	struct delivery *delivery;
	struct address **left; /* those without a final answer */
	unsigned *left_index;  /* their places in the batch */
	unsigned left_count;
	struct err *err;
	int64_t max_rcpt;
	bool all_or_none; /* mua_wrapper */
	uint16_t port;
	unsigned tried;   /* hosts */
	unsigned counted; /* of them, those that hosts_max_try counts */
	unsigned blocked, expired;
	bool serial; /* this host's connection is its only one, and is not kept */
};

static struct transport_shard *shard_state(struct relay *relay)
{
	return transport_shard(relay->sc->task->shard);
}

static void tell_retry(struct relay *relay, const struct host_item *host,
		       const struct delivery_outcome *outcome)
{
	struct transport_shard *state = shard_state(relay);

	if (state && state->retry.result)
		state->retry.result(state->retry.arg, relay->sc, &relay->s->transport, host, outcome);
}

static bool host_is_blocked(struct relay *relay, const struct host_item *host, struct host_history *history)
{
	struct transport_shard *state = shard_state(relay);

	*history = (struct host_history){0};
	return state && state->retry.blocked &&
	       state->retry.blocked(state->retry.arg, relay->sc, &relay->s->transport, host, history);
}

static void set_all_left(struct relay *relay, enum rc rc, const struct smtp_reply *reply,
			 const struct host_item *host)
{
	for (unsigned i = 0; i < relay->left_count; i++)
		smtp_set_outcome(relay->sc, &relay->delivery->outcomes[relay->left_index[i]], rc, reply, host,
				 relay->err);
}

/* No address of the batch got anywhere at this host: the connection failed. */
static void host_failed(struct relay *relay, const struct host_item *host, enum rc rc,
			const struct smtp_reply *reply)
{
	set_all_left(relay, rc == FAIL ? FAIL : DEFER, reply, host);
	if (relay->left_count > 0)
		tell_retry(relay, host, &relay->delivery->outcomes[relay->left_index[0]]);
	if (rc == FAIL)
		relay->left_count = 0;
}

/* Facts outlive the connection in the outcome. A text for which there is no memory is missing from the log. */
static void note_tls(struct scope *sc, struct delivery_outcome *outcome, const struct tls_facts *facts)
{
	struct arena *arena = sc->task->arena;

	if (!facts)
		return;
	outcome->tls_cipher = arena_copy(arena, facts->cipher);
	outcome->tls_peerdn = arena_copy(arena, facts->peer_dn);
	if (!outcome->tls_cipher.ptr)
		outcome->tls_cipher = SLICE("?");
	if (!outcome->tls_peerdn.ptr)
		outcome->tls_peerdn = SLICE_EMPTY;
	outcome->tls_verified = facts->verified;
	outcome->tls_resumed = facts->resumption & TLS_RESUME_USED;
	outcome->tls_ocsp = facts->ocsp;
}

void smtp_note_ends(struct scope *sc, const struct smtp_connection *connection)
{
	struct str text = str_make(sc->task->arena);

	sc->sending = *smtp_local_address(connection);
	str_addc(&text, '[');
	str_add_ip(&text, smtp_peer_address(connection));
	str_printf(&text, "]:%u", smtp_peer_address(connection)->port);
	sc->callout_address = text.failed ? SLICE_EMPTY : str_slice(&text);
}

void smtp_note_facts(struct scope *sc, struct delivery_outcome *outcome,
		     const struct smtp_connection *connection, const struct smtp_transaction *t)
{
	outcome->local = *smtp_local_address(connection);
	outcome->proxy = *smtp_proxy_address(connection);
	outcome->dsn_aware = smtp_extensions(connection) & SMTP_EXT_DSN;
	outcome->pipelining = t->used_pipelining;
	outcome->chunking = t->used_chunking;
	/* One that a callout has opened for this message is none that served another. */
	outcome->continued = smtp_was_reused(connection) && smtp_message_count(connection) > 1;
	outcome->size = t->sent;
	outcome->authenticator = arena_copy(sc->task->arena, smtp_authenticator(connection));
	outcome->authenticated_id = arena_copy(sc->task->arena, smtp_authenticated_id(connection));
	note_tls(sc, outcome, smtp_tls_facts(connection));
}

/* Takes the first count of those left; what got a final answer is dropped from the list. */
static void settle(struct relay *relay, const struct host_item *host,
		   const struct smtp_connection *connection, struct smtp_transaction *t, unsigned count)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++) {
		struct delivery_outcome *outcome = &relay->delivery->outcomes[relay->left_index[i]];

		smtp_set_outcome(relay->sc, outcome, t->recipients[i].rc, &t->recipients[i].reply, host,
				 relay->err);
		smtp_note_facts(relay->sc, outcome, connection, t);
	}
	for (unsigned i = 0; i < relay->left_count; i++) {
		if (i < count && t->recipients[i].rc != DEFER)
			continue;
		relay->left[kept] = relay->left[i];
		relay->left_index[kept++] = relay->left_index[i];
	}
	relay->left_count = kept;
}

/* Puts the first count of those left behind the others: they have had their turn at this host. */
static void rotate(struct relay *relay, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct address *address = relay->left[0];
		unsigned index = relay->left_index[0];

		memmove(relay->left, relay->left + 1, (relay->left_count - 1) * sizeof(*relay->left));
		memmove(relay->left_index, relay->left_index + 1,
			(relay->left_count - 1) * sizeof(*relay->left_index));
		relay->left[relay->left_count - 1] = address;
		relay->left_index[relay->left_count - 1] = index;
	}
}

enum attempt { ATTEMPT_DONE, ATTEMPT_STALE /* a pooled connection was dead: again with a fresh one */ };

/* All that are left, over one connection, at most max_rcpt at a time. */
static enum attempt talk(struct relay *relay, const struct host_item *host,
			 struct smtp_connection *connection)
{
	unsigned waiting = relay->left_count; /* for their turn at this host */
	const struct smtp_transport *s = relay->s;
	struct delivery_outcome *first = &relay->delivery->outcomes[relay->left_index[0]];
	struct smtp_transaction t = {.rc = DEFER};
	bool usable = true;

	while (waiting > 0 && usable) {
		unsigned count = waiting, before = relay->left_count;
		enum rc rc;

		if (relay->max_rcpt > 0 && count > relay->max_rcpt)
			count = (unsigned)relay->max_rcpt;
		if (smtp_recipient_max(connection) && count > smtp_recipient_max(connection) &&
		    !relay->all_or_none)
			count = smtp_recipient_max(connection);
		rc = smtp_fill_transaction(relay->sc, &s->transport, relay->delivery, relay->left, count,
					   smtp_extensions(connection), &t, relay->err);
		if (rc != OK) {
			outcome_all_err(relay->sc, relay->delivery, DEFER, relay->err, NULL);
			relay->left_count = 0;
			break;
		}
		if (s->size_addition >= 0)
			t.size += (uint64_t)s->size_addition;
		else
			t.size = 0;
		t.allow_chunking = smtp_host_listed(relay->sc, s->hosts_try_chunking, host, false);
		t.avoid_pipelining = smtp_host_listed(relay->sc, s->hosts_avoid_pipelining, host, true);
		t.all_or_none = relay->all_or_none;
		rc = smtp_send(relay->sc, connection, &t, relay->err);
		if (rc == DEFER && t.reply.code == 0 && !t.any_reply && smtp_was_reused(connection)) {
			smtp_close(connection);
			return ATTEMPT_STALE;
		}
		usable = !(rc == CANCELLED || (rc == DEFER && t.reply.code == 0));
		settle(relay, host, connection, &t, count);
		waiting -= count;
		/* Those that were deferred stand in front again: behind the ones that still wait. */
		rotate(relay, count - (before - relay->left_count));
	}
	tell_retry(relay, host, first);
	relay->sc->tls_out = NULL; /* it goes with the connection */
	if (usable && !relay->serial)
		smtp_release(connection,
			     s->connection_max_messages > 0 ? (unsigned)s->connection_max_messages : 0);
	else
		smtp_close(connection);
	return ATTEMPT_DONE;
}

static void try_host_once(struct relay *relay, struct host_item *host)
{
	struct smtp_connect_options options;
	struct smtp_connection *connection;
	struct smtp_reply reply;
	enum rc rc;

	relay->sc->host = host;
	if (relay->err->arena)
		relay->err->text = SLICE_EMPTY;
	relay->err->os = 0;
	rc = smtp_host_options(relay->sc, relay->s, host, false, &options, relay->err);
	/* Whoever logs in as it pleases the message has a connection of its own. */
	relay->serial |= options.auth_wanted && !auth_clients_fixed(relay->sc->conf);
	options.reuse = !relay->serial;
	if (rc != OK) {
		reply = (struct smtp_reply){.text = SLICE_EMPTY,
					    .command = relay->err->os == SMTP_TLS_REQUIRED
							   ? SLICE("STARTTLS")
							   : SLICE("initial connection")};
		host_failed(relay, host, rc, &reply);
		return;
	}
	relay->serial |= options.tls && smtp_host_listed(relay->sc, relay->s->hosts_nopass_tls, host, true);
	for (unsigned tries = 0; tries < 2; tries++) {
		reply = (struct smtp_reply){.text = SLICE_EMPTY, .command = SLICE("initial connection")};
		if (rc == OK)
			rc = smtp_open(relay->sc, &options, &connection, &reply, relay->err);
		if (rc == OK) {
			smtp_note_ends(relay->sc, connection);
			rc = smtp_log_in(relay->sc, smtp_auth_need(relay->sc, relay->s, host), host,
					 connection, &reply, relay->err);
			if (rc != OK)
				smtp_close(connection);
		}
		if (rc != OK) {
			relay->sc->tls_out = NULL;
			host_failed(relay, host, rc, &reply);
			return;
		}
		if (talk(relay, host, connection) == ATTEMPT_DONE)
			return;
		relay->sc->tls_out = NULL;
		options.reuse = false;
	}
}

/* The same, in its turn if the host is one for which there is to be one connection at a time. */
static void try_host(struct relay *relay, struct host_item *host)
{
	struct str name = str_make(relay->sc->task->arena);
	struct smtp_reply none = {.text = SLICE_EMPTY, .command = SLICE("initial connection")};

	relay->serial = smtp_host_serial(relay->sc, relay->s, host);
	if (!relay->serial) {
		try_host_once(relay, host);
		return;
	}
	str_addz(&name, "host ");
	str_add_ip(&name, &host->ip);
	if (limit_enter(relay->sc->task, str_slice(&name), 1, LIMIT_WAIT_MS, "serialize_hosts", relay->err) !=
	    OK) {
		set_all_left(relay, DEFER, &none,
			     host); /* nothing is known about the host: its retry time stays as it is */
		return;
	}
	try_host_once(relay, host);
	limit_leave(str_slice(&name));
}

/* hosts_max_try counts what is tried, but for hosts past their retry limits, and for the last one if there are others of a
 * higher preference number: those get a chance too. Where to go on after this host; NULL: nowhere. */
static struct host_item *next_host(struct relay *relay, struct host_item *host, bool expired)
{
	struct host_item *next = host->next;

	relay->tried++;
	if (relay->tried >= (unsigned)relay->s->hosts_max_try_hardlimit)
		return NULL;
	if (expired || ++relay->counted < (unsigned)relay->s->hosts_max_try)
		return next;
	while (next && next->mx == host->mx)
		next = next->next;
	relay->counted--;
	return next;
}

/* since: 0, or only hosts that were last tried before this time, whatever their retry times are (delay_after_cutoff). */
static void try_hosts(struct relay *relay, const struct host_list *hosts, uint64_t since)
{
	struct host_history history;

	for (struct host_item *host = hosts->first, *next;
	     host && relay->left_count > 0 && !relay->sc->task->cancelled; host = next) {
		next = host->next;
		if (!host->ip.family)
			continue;
		host->ip.port = host->port ? host->port : relay->port;
		relay->sc->host = host;
		if (host_is_blocked(relay, host, &history) &&
		    !(since && history.expired && history.last_try < since)) {
			relay->blocked++;
			relay->expired += history.expired;
			continue;
		}
		next = next_host(relay, host, history.expired);
		try_host(relay, host);
	}
}

/* All hosts have been failing for so long that their retry rules have run out. With delay_after_cutoff they have their next
 * chance when their time comes; without, a message that has come since they were last tried gets one at once. */
static void try_expired(struct relay *relay, const struct host_list *hosts)
{
	if (relay->s->delay_after_cutoff || relay->tried > 0 || relay->blocked == 0 ||
	    relay->expired < relay->blocked)
		return;
	relay->blocked = relay->expired = 0;
	try_hosts(relay, hosts, relay->sc->message->received / NS_PER_S);
}

/* Everyone was to be left alone for now. */
static void say_blocked(struct relay *relay)
{
	bool expired = relay->expired == relay->blocked;

	for (unsigned i = 0; i < relay->left_count; i++) {
		struct delivery_outcome *outcome = &relay->delivery->outcomes[relay->left_index[i]];

		outcome->rc = expired ? FAIL : DEFER;
		outcome->message =
		    expired ? arena_printf(relay->sc->task->arena,
					   "all hosts for '%.*s' have been failing for a long time (and %s)",
					   SLICE_ARG(relay->left[i]->domain),
					   relay->s->delay_after_cutoff
					       ? "retry time not reached"
					       : "were last tried after this message arrived")
			    : arena_printf(relay->sc->task->arena,
					   "retry time not reached for any host for '%.*s'",
					   SLICE_ARG(relay->left[i]->domain));
		if (!outcome->message.ptr)
			outcome->message = SLICE("retry time not reached for any host");
		outcome->scope = DEFER_HOST;
		outcome->os = RETRY_NOT_REACHED_HOSTS;
		outcome->error = RETRY_ERROR_NONE;
	}
}

static bool prepare(struct relay *relay)
{
	struct delivery *delivery = relay->delivery;
	struct arena *arena = relay->sc->task->arena;
	struct message *message = relay->sc->message;

	if (relay->s->message_linelength_limit > 0 &&
	    message->body.line_length_max > relay->s->message_linelength_limit) {
		outcome_all(relay->sc, delivery, FAIL, "message has lines too long for transport");
		return false;
	}
	relay->left = arena_array(arena, struct address *, delivery->count);
	relay->left_index = arena_array(arena, unsigned, delivery->count);
	if (!relay->left || !relay->left_index) {
		outcome_all(relay->sc, delivery, DEFER, "out of memory");
		return false;
	}
	for (unsigned i = 0; i < delivery->count; i++) {
		relay->left[i] = delivery->addresses[i];
		relay->left_index[i] = i;
	}
	relay->left_count = delivery->count;
	if (expand_option_int(relay->sc, relay->s->max_rcpt, 100, &relay->max_rcpt, relay->err) != OK ||
	    smtp_port(relay->sc, relay->s, &relay->port, relay->err) != OK) {
		outcome_all_err(relay->sc, delivery, DEFER, relay->err, "an option of the smtp transport");
		return false;
	}
	relay->all_or_none = conf_main(relay->sc->conf)->mua_wrapper;
	if (relay->all_or_none)
		relay->max_rcpt = 0;
	return true;
}

/* All hosts were tried in vain: the router's fallback hosts, or the transport's. */
static void try_fallback(struct relay *relay)
{
	const struct router *router = relay->delivery->addresses[0]->router;
	struct host_list names = {0}, hosts;
	bool randomize;

	for (unsigned i = 0; i < relay->left_count; i++)
		if (relay->delivery->outcomes[relay->left_index[i]].scope != DEFER_HOST)
			return;
	if (router && router->fallback_list) {
		names = *router->fallback_list;
	} else if (relay->s->fallback_hosts) {
		if (expand_option_bool(relay->sc, relay->s->hosts_randomize, false, &randomize, relay->err) !=
			OK ||
		    host_list_parse(relay->sc->task->shard, relay->sc->task->arena,
				    expansion_text(relay->s->fallback_hosts), randomize, &names,
				    relay->err) != OK)
			return;
	}
	if (!names.first || smtp_resolve_hosts(relay->sc, relay->s, &names, &hosts, relay->err) != OK)
		return;
	relay->tried = relay->counted = 0;
	try_hosts(relay, &hosts, 0);
}

static void smtp_deliver(struct scope *sc, const struct transport *transport, struct delivery *delivery)
{
	const struct smtp_transport *s = (const struct smtp_transport *)transport;
	struct err err = err_make(sc->task->arena);
	struct relay relay = {.sc = sc, .s = s, .delivery = delivery, .err = &err};
	struct host_list hosts;
	enum rc rc;

	if (!prepare(&relay))
		return;
	rc = smtp_find_hosts(sc, s, delivery->hosts, &hosts, &err);
	if (rc != OK) {
		outcome_all_err(sc, delivery, rc == FAIL ? FAIL : DEFER, &err, NULL);
		for (unsigned i = 0; i < delivery->count; i++)
			delivery->outcomes[i].error = RETRY_ERROR_DNS;
	} else {
		try_hosts(&relay, &hosts, 0);
		try_expired(&relay, &hosts);
	}
	if (relay.left_count > 0 && relay.tried == 0 && relay.blocked > 0)
		say_blocked(&relay);
	if (relay.left_count > 0 && !sc->task->cancelled && !relay.all_or_none)
		try_fallback(&relay);
}

const struct transport_ops smtp_ops = {.deliver = smtp_deliver, .local = false};
