/* cmd_auth: AUTH (RFC 4954): which mechanisms a client is offered, the exchange, and what is said and logged of its end. */
#include "session.h"

/* A mechanism by its place among the authenticators: a set of them fits into a word. More than that are not offered. */
#define OFFER_MAX 64

bool auth_offer(struct smtp_session *s, struct str *text)
{
	const struct conf_instances *all = conf_instances(s->conf, CONF_SECTION_AUTHENTICATORS);
	struct scope *sc = &s->serving->scope;
	struct err err = err_make(&s->serving->arena);
	bool first = true;

	s->auth_offered = 0;
	if (s->client.authenticator_name.len ||
	    match_client(sc, s->options->auth_advertise_hosts, NULL, &err) != OK)
		return false;
	for (unsigned i = 0; i < all->count && i < OFFER_MAX; i++) {
		const struct authenticator *a = all->items[i];
		enum rc rc;

		if (auth_find_server(s->conf, a->public_name) != a)
			continue; /* no server, or the second one of that name */
		err = err_make(&s->serving->arena);
		rc = auth_advertised(sc, a, &err);
		if (rc == FAIL && err.text.len && !err.forced)
			log_session(
			    s, LOG_TO_MAIN | LOG_TO_PANIC,
			    "failed to expand server_advertise_condition for %.*s authenticator: %.*s",
			    SLICE_ARG(a->instance.name), SLICE_ARG(err.text));
		if (rc != OK)
			continue;
		s->auth_offered |= 1ull << i;
		str_addz(text, first ? "\nAUTH" : "");
		first = false;
		str_addc(text, ' ');
		str_add(text, a->public_name);
	}
	return s->auth_offered != 0;
}

static const struct authenticator *find_offered(struct smtp_session *s, struct slice mechanism)
{
	const struct conf_instances *all = conf_instances(s->conf, CONF_SECTION_AUTHENTICATORS);
	const struct authenticator *a = auth_find_server(s->conf, mechanism);

	for (unsigned i = 0; a && i < all->count && i < OFFER_MAX; i++)
		if (all->items[i] == a)
			return (s->auth_offered & 1ull << i) || s->auth_unadvertised ? a : NULL;
	return NULL;
}

/* ---- The exchange --------------------------------------------------------------------------------------------- */

/* 334 and the answer to it (RFC 4954 section 4). Parks. */
static enum auth_result prompt(void *arg, struct slice challenge, struct slice *response_ret)
{
	struct smtp_session *s = arg;
	struct str encoded = str_make(&s->serving->arena), clear = str_make(&s->serving->arena);
	struct slice line;

	base64_encode(&encoded, challenge);
	if (encoded.failed)
		return AUTH_GONE;
	reply_challenge(s, str_slice(&encoded));
	if (!session_line(s, AUTH_LINE_MAX, &line))
		return AUTH_GONE;
	if (slice_eq(line, SLICE("*")))
		return AUTH_CANCELLED;
	if (!base64_decode(&clear, line))
		return AUTH_BAD_BASE64;
	*response_ret = slice_tainted(str_slice(&clear));
	return response_ret->ptr ? AUTH_OK : AUTH_BAD_BASE64;
}

static struct slice session_copy(struct smtp_session *s, struct slice text)
{
	struct slice copy = arena_copy(&s->arena, text);

	return copy.ptr ? copy : SLICE_EMPTY;
}

static void succeed(struct smtp_session *s, const struct auth_server *server)
{
	s->client.authenticator_name = server->authenticator->instance.name;
	s->client.authenticator_pubname = server->authenticator->public_name;
	s->client.authenticated_id = session_copy(s, server->id);
	s->authenticated_by = server->authenticator;
	s->authentication_failed = false;
	s->authenticated_fail_id = SLICE_EMPTY;
	session_protocol_changed(s);
	reply(s, 235, "2.7.0", SLICE("Authentication succeeded"));
}

static void fail(struct smtp_session *s, enum auth_result result, const struct auth_server *server)
{
	static const struct {
		int code;
		const char *enhanced, *text;
	} words[] = {
	    [AUTH_FAIL] = {535, "5.7.8", "Incorrect authentication data"},
	    [AUTH_DEFER] = {435, "4.7.0", "Unable to authenticate at present"},
	    [AUTH_BAD_BASE64] = {501, "5.5.2", "Invalid base64 data"},
	    [AUTH_CANCELLED] = {501, "5.7.0", "Authentication cancelled"},
	    [AUTH_UNEXPECTED] = {553, "5.5.4", "Initial data not expected"},
	};
	bool deferred = result == AUTH_DEFER, judged = deferred || result == AUTH_FAIL;
	struct str id = str_make(&s->serving->arena), why = str_make(&s->serving->arena);

	s->authentication_failed = true;
	if (judged && !slice_eq(s->authenticated_fail_id, server->id))
		s->authenticated_fail_id = session_copy(s, server->id);
	if (judged && server->id.len)
		str_printf(&id, " (set_id=%.*s)", SLICE_ARG(server->id));
	if (deferred)
		str_printf(&why, ": %.*s", SLICE_ARG(server->defer_text));
	log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "%.*s authenticator failed for %.*s: %d %s%.*s%.*s",
		    SLICE_ARG(server->authenticator->instance.name), SLICE_ARG(client_caller(s)),
		    words[result].code, words[result].text, SLICE_ARG(str_slice(&id)),
		    SLICE_ARG(str_slice(&why)));
	if (deferred && server->client_text.len)
		replyf(s, words[result].code, words[result].enhanced, "%s: %.*s", words[result].text,
		       SLICE_ARG(server->client_text));
	else
		reply(s, words[result].code, words[result].enhanced, slice_of(words[result].text));
}

/* The initial response: none, "=" for an empty one, or base64. false: it is not. */
static bool initial_response(struct smtp_session *s, struct slice text, struct slice *ret)
{
	struct str clear = str_make(&s->serving->arena);

	*ret = (struct slice){NULL, 0, CLEAN};
	if (!text.len)
		return true;
	*ret = slice_tainted(SLICE_EMPTY);
	if (slice_eq(text, SLICE("=")))
		return true;
	if (!base64_decode(&clear, text) || clear.failed)
		return false;
	*ret = slice_tainted(str_slice(&clear));
	return true;
}

static bool may_authenticate(struct smtp_session *s, struct slice mechanism, struct slice line)
{
	struct acl_outcome outcome;
	struct err err;

	if (!s->auth_offered && !s->auth_unadvertised) {
		reply_error(s, 503, "5.5.1", "AUTH command used when not advertised");
		return false;
	}
	if (s->client.authenticator_name.len) {
		reply(s, 503, "5.5.1", SLICE("already authenticated"));
		return false;
	}
	if (!s->options->acl[ACL_WHERE_AUTH])
		return true;
	/* The ACL may see the whole command, as it does elsewhere. Nothing else does: it may be the password. */
	struct slice shown = s->serving->scope.smtp_command;
	s->serving->scope.smtp_command = line;
	(void)session_scope(s);
	enum acl_result result = session_acl(s, ACL_WHERE_AUTH, &outcome, &err);
	s->serving->scope.smtp_command = shown;
	return acl_verdict(s, ACL_WHERE_AUTH, result, &outcome, &err, "AUTH", mechanism);
}

struct slice auth_shown(struct slice line)
{
	struct slice rest = line, word, mechanism = SLICE_EMPTY;

	if (slice_word(&rest, &word) && slice_word(&rest, &mechanism))
		return slice_make(line.ptr, (size_t)(mechanism.ptr + mechanism.len - line.ptr),
				  (enum taint)line.taint);
	return line;
}

/* The client is now who it says. */
bool session_authenticated(const struct smtp_session *s)
{
	return s->client.authenticator_name.len > 0;
}

static void run(struct smtp_session *s, const struct authenticator *a, struct slice text)
{
	struct auth_server server = {.authenticator = a,
				     .prompt = prompt,
				     .arg = s,
				     .id = SLICE_EMPTY,
				     .defer_text = SLICE_EMPTY,
				     .client_text = SLICE_EMPTY};
	enum auth_result result = AUTH_BAD_BASE64;

	server.sc = session_scope(s);
	session_deadline(s, AUTH_TIME_MAX_MS);
	if (initial_response(s, text, &server.initial))
		result = auth_server_run(&server);
	if (result == AUTH_GONE || s->over || s->task.cancelled)
		s->over = true;
	else if (result == AUTH_OK)
		succeed(s, &server);
	else
		fail(s, result, &server);
	/* What the client sent is nobody else's business: $auth1 and $1 end here. */
	(void)session_scope(s);
}

void cmd_auth(struct smtp_session *s, struct slice line, struct slice argument)
{
	const struct authenticator *a;
	struct slice rest = argument, mechanism;

	if (!slice_word(&rest, &mechanism))
		mechanism = SLICE_EMPTY;
	if (!may_authenticate(s, mechanism, line))
		return;
	for (uint32_t i = 0; i < mechanism.len; i++)
		if (!ascii_is_alnum(mechanism.ptr[i]) && mechanism.ptr[i] != '-' && mechanism.ptr[i] != '_') {
			reply_error(s, 501, "5.5.2", "invalid character in authentication mechanism name");
			return;
		}
	if (!mechanism.len) {
		reply_error(s, 501, "5.5.4", "AUTH requires the name of a mechanism");
		return;
	}
	a = find_offered(s, mechanism);
	if (!a)
		reply_error(s, 504, "5.5.4", "%.*s authentication mechanism not supported",
			    SLICE_ARG(mechanism));
	else
		run(s, a, slice_trim(rest));
}

/* ---- AUTH= of MAIL ----------------------------------------------------------------------------------------------- */

/* Runs the ACL. *why_ret: not believed. false: MAIL was answered. */
static bool mail_auth_acl(struct smtp_session *s, const char **why_ret)
{
	struct acl_outcome outcome;
	enum acl_result result;
	struct err err;

	(void)session_scope(s);
	result = session_acl(s, ACL_WHERE_MAILAUTH, &outcome, &err);
	if (result == ACL_DEFER || result == ACL_ERROR || s->task.cancelled)
		return acl_verdict(s, ACL_WHERE_MAILAUTH, result, &outcome, &err, NULL, SLICE_EMPTY);
	if (result != ACL_ACCEPT)
		*why_ret = "rejected by the ACL";
	return true;
}

/* With $authenticated_sender set. *why_ret: not believed, since. false: MAIL was answered. */
static bool mail_auth_check(struct smtp_session *s, const char **why_ret)
{
	if (s->options->acl[ACL_WHERE_MAILAUTH]) {
		if (!mail_auth_acl(s, why_ret))
			return false;
	} else if (!session_authenticated(s)) {
		*why_ret = "client not authenticated";
	}
	if (!*why_ret && s->authenticated_by && !auth_sender_trusted(session_scope(s), s->authenticated_by))
		*why_ret = "server_mail_auth_condition failed";
	return true;
}

bool mail_auth(struct smtp_session *s, struct slice sender, struct slice *believed_ret)
{
	struct slice told = s->client.authenticated_sender;
	const char *why = NULL;
	bool go_on;

	*believed_ret = SLICE_EMPTY;
	if (!sender.len)
		return true;
	s->client.authenticated_sender = sender;
	go_on = mail_auth_check(s, &why);
	s->client.authenticated_sender = told;
	if (!go_on)
		return false;
	if (why)
		log_session(s, LOG_TO_MAIN, "ignoring AUTH=%.*s from %.*s (%s)", SLICE_ARG(sender),
			    SLICE_ARG(client_caller(s)), why);
	else
		*believed_ret = sender;
	return true;
}

/* ---- Variables ------------------------------------------------------------------------------------------------------ */

static enum rc get_failed(struct scope *sc, const struct variable *variable, struct slice *ret,
			  struct err *err)
{
	(void)variable;
	(void)err;
	*ret = sc->session && sc->session->authentication_failed ? SLICE("1") : SLICE("0");
	return OK;
}

static enum rc get_fail_id(struct scope *sc, const struct variable *variable, struct slice *ret,
			   struct err *err)
{
	(void)variable;
	(void)err;
	*ret = sc->session && sc->session->authenticated_fail_id.ptr ? sc->session->authenticated_fail_id
								     : SLICE_EMPTY;
	return OK;
}

static const struct variable rows[] = {
    {"authentication_failed", get_failed, 0},
    {"authenticated_fail_id", get_fail_id, 0},
};
const struct variable_table smtp_auth_variables = {rows, ARRAY_COUNT(rows)};

/* ---- By certificate ------------------------------------------------------------------------------------------ */

void auth_by_certificate(struct smtp_session *s)
{
	const struct authenticator *a = auth_find_tls(s->conf);
	struct auth_server server = {.authenticator = a, .sc = session_scope(s), .initial = {NULL, 0, CLEAN}};
	enum auth_result result;

	if (!a)
		return;
	result = auth_server_run(&server);
	if (result == AUTH_OK) {
		s->client.authenticator_name = a->instance.name;
		s->client.authenticator_pubname = a->public_name;
		s->client.authenticated_id = session_copy(s, server.id);
		s->authenticated_by = a;
	} else if (result == AUTH_DEFER) {
		log_session(s, LOG_TO_MAIN, "%.*s authenticator could not decide for %.*s: %.*s",
			    SLICE_ARG(a->instance.name), SLICE_ARG(client_caller(s)),
			    SLICE_ARG(server.defer_text));
	}
}
