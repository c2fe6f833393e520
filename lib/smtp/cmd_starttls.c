/* cmd_starttls: STARTTLS (RFC 3207) and TLS from the first byte. The handshake goes on whenever the client has sent something;
 * between, the session rests without a stack like any other. */
#include "session.h"

/* A host list about this client; not set: nobody. DEFER counts as no, but is logged. */
static bool listed(struct smtp_session *s, const struct match_list *list, const char *name)
{
	struct err err = err_make(&s->serving->arena);
	enum rc rc;

	if (!list)
		return false;
	rc = match_client(session_scope(s), list, NULL, &err);
	if (rc == DEFER)
		log_session(s, LOG_TO_MAIN | LOG_TO_PANIC, "%s could not be looked up for %.*s: %.*s", name,
			    SLICE_ARG(client_caller(s)), SLICE_ARG(err.text));
	return rc == OK;
}

bool starttls_offered(struct smtp_session *s)
{
	const struct smtp_tls_options *o = conf_group(s->conf, CONF_TLS);

	return !s->tls && !s->batch && listed(s, o->tls_advertise_hosts, "tls_advertise_hosts");
}

bool tls_on_connect(const struct smtp_session *s)
{
	const struct smtp_tls_options *o = conf_group(s->conf, CONF_TLS);

	if (s->server->tls_on_connect)
		return !s->batch;
	for (unsigned i = 0; i < o->on_connect_port_count; i++)
		if (s->client.local.family && o->on_connect_ports[i] == s->client.local.port)
			return true;
	return false;
}

/* ---- Settings -------------------------------------------------------------------------------------------------- */

struct expanding {
	struct smtp_session *s;
	struct err *err;
	enum rc rc;
	bool needed; /* a forced failure is one, and not "unset" */
};

static struct slice text_of(struct expanding *x, const struct expansion *option, const char *name)
{
	struct err err = err_make(x->err->arena);
	struct slice text = SLICE_EMPTY;

	if (x->rc != OK || !option)
		return SLICE_EMPTY;
	if (expansion_is_literal(option))
		return expansion_literal(
		    option); /* as nearly all are, and a handshake asks for nine of them twice */
	x->rc = expand(session_scope(x->s), option, &text, &err);
	if (x->rc == OK)
		return text;
	if (x->rc == FAIL && err.forced && !x->needed) {
		x->rc = OK;
		return SLICE_EMPTY;
	}
	*x->err = err;
	err_prefix(x->err, "expansion of %s failed", name);
	return SLICE_EMPTY;
}

static struct tls_list list_of(struct expanding *x, const struct expansion *option, const char *name)
{
	struct arena *arena = &x->s->serving->arena;
	struct slice rest = text_of(x, option, name), item;
	struct slice *items = arena_array(arena, struct slice, TLS_LIST_MAX);
	char separator = 0;
	unsigned count = 0;

	while (items && x->rc == OK && list_next(arena, &rest, &separator, &item)) {
		if (count == TLS_LIST_MAX)
			x->rc = err_set(x->err, FAIL, "%s has more than %d items", name, TLS_LIST_MAX);
		else if (item.len)
			items[count++] = item;
	}
	return (struct tls_list){items, items ? count : 0};
}

static enum rc settings_of(struct smtp_session *s, struct tls_settings *ret, struct err *err)
{
	const struct smtp_tls_options *o = conf_group(s->conf, CONF_TLS);
	struct expanding x = {.s = s, .err = err, .rc = OK, .needed = true};

	ret->certificates = list_of(&x, o->tls_certificate, "tls_certificate");
	ret->privatekeys = list_of(&x, o->tls_privatekey, "tls_privatekey");
	x.needed = false;
	ret->verify_certificates = text_of(&x, o->tls_verify_certificates, "tls_verify_certificates");
	ret->crl = text_of(&x, o->tls_crl, "tls_crl");
	ret->ciphers = text_of(&x, o->tls_require_ciphers, "tls_require_ciphers");
	ret->dhparam = text_of(&x, o->tls_dhparam, "tls_dhparam");
	ret->eccurve = text_of(&x, o->tls_eccurve, "tls_eccurve");
	ret->alpn = list_of(&x, o->tls_alpn, "tls_alpn");
	ret->ocsp_files = list_of(&x, o->tls_ocsp_file, "tls_ocsp_file");
	ret->name = conf_main(s->conf)->primary_hostname;
	if (x.rc != OK)
		return x.rc;
	ret->verify = listed(s, o->tls_verify_hosts, "tls_verify_hosts")           ? TLS_VERIFY_MUST
		      : listed(s, o->tls_try_verify_hosts, "tls_try_verify_hosts") ? TLS_VERIFY_TRY
										   : TLS_VERIFY_NONE;
	ret->resumption = listed(s, o->tls_resumption_hosts, "tls_resumption_hosts");
	return OK;
}

/* The hello has come: for whom. The name is there for the options that ask for it; for those of others it is too late. */
static enum rc on_hello(struct task *task, void *arg, struct slice sni, struct tls_settings *ret,
			struct err *err)
{
	struct smtp_session *s = arg;
	const struct smtp_tls_options *o = conf_group(s->conf, CONF_TLS);
	enum rc rc;

	(void)task;
	/* These options are made for it: "${if exists{/etc/keys/$tls_in_sni.pem}..." is what people write, and the name has only letters
	 * that hosts have (tls/hello.c). Elsewhere it is a stranger's like any other. */
	if (o->sni_matters)
		s->client.tls_sni = slice_make(sni.ptr, sni.len, CLEAN);
	rc = settings_of(s, ret, err);
	s->client.tls_sni = sni;
	return rc;
}

/* ---- Clients that come back ----------------------------------------------------------------------------------------- */

static struct slice chain_key(char key[16 + TLS_SHOWN_NAME_MAX], struct slice name)
{
	static const char kind[] = "client chain ";

	memcpy(key, kind, sizeof(kind) - 1);
	memcpy(key + sizeof(kind) - 1, name.ptr, name.len);
	return slice_make(key, sizeof(kind) - 1 + name.len, CLEAN);
}

static void keep_chain(void *arg, struct slice name, struct slice chain)
{
	struct smtp_session *s = arg;
	char key[16 + TLS_SHOWN_NAME_MAX];

	hints_put(s->task.shard, HINTS_TLS, chain_key(key, name), chain);
}

static bool find_chain(void *arg, struct slice name, struct arena *arena, struct slice *chain_ret)
{
	struct smtp_session *s = arg;
	char key[16 + TLS_SHOWN_NAME_MAX];

	return hints_get(s->task.shard, HINTS_TLS, chain_key(key, name), arena, chain_ret, NULL) == OK;
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

void tls_error(struct smtp_session *s, int where, struct slice why)
{
	struct slice stage = where & LOG_TO_PANIC ? SLICE("setup") : tls_error_stage(&why);

	log_session(s, where, "TLS error on connection from %.*s (%.*s): %.*s", SLICE_ARG(client_caller(s)),
		    SLICE_ARG(stage), SLICE_ARG(why));
}

void tls_begin(struct smtp_session *s)
{
	struct tls_server server = {
	    .settings = on_hello, .arg = s, .conf = s->conf, .keep = keep_chain, .find = find_chain};

	s->tls_pending = tls_server_begin(s->stream, &server);
	s->tls = s->tls_pending != NULL;
	s->over |= !s->tls;
}

static void tell_verify_error(struct smtp_session *s, struct slice why)
{
	struct str line = str_make(&s->serving->arena);

	str_addc(&line, '[');
	str_add_ip(&line, &s->client.ip);
	str_addz(&line, "] SSL verify error: certificate of the client: ");
	str_add(&line, why);
	if (!line.failed)
		log_session(s, LOG_TO_MAIN, "%.*s", SLICE_ARG(str_slice(&line)));
}

/* What the client is known for now. Nothing that was said in the clear counts any more (RFC 3207 section 4.2). */
static void tls_done_with(struct smtp_session *s)
{
	const struct smtp_tls_options *o = conf_group(s->conf, CONF_TLS);
	const struct tls_facts *f = tls_session_facts(s->tls_pending);
	struct client *c = &s->client;

	DEBUG(DEBUG_TLS, "TLS session with the client: %.*s, SNI \"%.*s\", certificate %s%.*s%s",
	      SLICE_ARG(f->cipher), SLICE_ARG(f->sni),
	      f->verified               ? "verified"
	      : f->peer_certificate.len ? "not verified "
					: "not asked for, or not given",
	      SLICE_ARG(f->verify_error), f->resumption ? ", resumption in play" : "");
	s->tls_pending = NULL;
	c->tls_version = f->version;
	c->tls_cipher = f->cipher;
	c->tls_cipher_std = f->cipher_std;
	c->tls_bits = f->bits;
	c->tls_peerdn = f->peer_dn;
	c->tls_sni = f->sni;
	c->tls_certificate_verified = f->verified;
	c->tls_ourcert = f->our_certificate;
	c->tls_peercert = f->peer_certificate;
	c->tls_ocsp = f->ocsp;
	c->tls_resumption = f->resumption;
	if (f->verify_error.len)
		tell_verify_error(s, f->verify_error);
	if (!o->tls_remember_esmtp) {
		c->helo = SLICE_EMPTY;
		c->esmtp = false;
		s->state = STATE_START;
	}
	c->helo_verified = c->helo_verify_failed = false;
	c->authenticator_name = c->authenticator_pubname = c->authenticated_id = SLICE_EMPTY;
	s->authenticated_by = NULL;
	s->auth_offered = 0;
	s->helo_counts = s->rset_counts = s->auth_counts = false;
	s->pipelining_ok = s->chunking_ok = s->utf8_ok = s->enhanced_ok = s->dsn_ok = false;
	auth_by_certificate(s);
	session_protocol_changed(s);
}

bool tls_go_on(struct smtp_session *s)
{
	struct err err = err_make(&s->serving->arena);

	session_deadline(s, session_patience_s(s) * 1000);
	switch (tls_handshake(&s->task, s->tls_pending, &err)) {
	case TLS_MORE:
		return false;
	case TLS_FAILED:
		s->over = true;
		s->notquit_reason = "tls-failed";
		DEBUG(DEBUG_TLS, "TLS handshake failed: %.*s", SLICE_ARG(err.text));
		if (!s->task.cancelled)
			tls_error(s, LOG_TO_MAIN, err.text);
		return false;
	case TLS_DONE:
		break;
	}
	tls_done_with(s);
	return true;
}

void cmd_starttls(struct smtp_session *s)
{
	struct acl_outcome outcome;
	struct tls_settings settings;
	struct err err = err_make(&s->serving->arena);

	if (s->tls) {
		reply_error(s, 554, "5.5.1", "Already in TLS");
		return;
	}
	if (!s->tls_offered) {
		reply_error(s, 503, "5.5.1", "STARTTLS command used when not advertised");
		return;
	}
	acl_outcome_init(&outcome);
	(void)session_scope(s);
	if (s->options->acl[ACL_WHERE_STARTTLS] &&
	    !acl_verdict(s, ACL_WHERE_STARTTLS, session_acl(s, ACL_WHERE_STARTTLS, &outcome, &err), &outcome,
			 &err, NULL, SLICE_EMPTY))
		return;
	err = err_make(&s->serving->arena);
	session_deadline(s, 60000);
	if (settings_of(s, &settings, &err) != OK ||
	    tls_server_check(&s->task, &settings, s->conf, &err) != OK) {
		tls_error(s, LOG_TO_MAIN | LOG_TO_PANIC, err.text);
		reply(s, 454, "4.7.0", SLICE("TLS currently unavailable"));
		return;
	}
	/* Commands behind this one were put there by someone who can't do TLS (CVE-2011-0411). */
	if (stream_pending(s->stream)) {
		log_session(
		    s, LOG_TO_MAIN | LOG_TO_REJECT,
		    "SMTP protocol synchronization error (input behind STARTTLS): rejected \"STARTTLS\"%.*s",
		    SLICE_ARG(client_phrase(s)));
		reply(s, 554, "5.5.1", SLICE("SMTP synchronization error"));
		s->notquit_reason = "synchronization-error";
		s->over = true;
		return;
	}
	transaction_end(s);
	reply(s, 220, "2.0.0", SLICE("TLS go ahead"));
	reply_flush(s);
	if (!s->over)
		tls_begin(s);
}
