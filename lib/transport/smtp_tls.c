/* What the smtp transport's options say about TLS with a host; for deliveries and callouts. */
#include "smtp.h"

/* Everything that one attempt at one host needs, in the task's arena. */
struct smtp_tls_setup {
	struct smtp_tls tls;
	struct tls_client client;
	struct tls_settings settings;
	struct tls_facts facts; /* what options may ask for before there is a session: $tls_out_sni */
	const struct smtp_transport *s;
	struct slice certificate, privatekey, name;
};

static enum rc expand_one(struct scope *sc, const struct smtp_transport *s, const char *name,
			  const struct expansion *option, struct slice *ret, struct err *err)
{
	enum rc rc = expand_option(sc, option, ret, err);

	if (rc == OK) {
		*ret = slice_trim(*ret);
		return OK;
	}
	err_prefix(err, "failed to expand %s of %.*s transport", name, SLICE_ARG(s->transport.instance.name));
	return rc == FAIL ? DEFER : rc;
}

/* A list of protocols (RFC 7301), separated by colons. */
static enum rc expand_alpn(struct scope *sc, const struct smtp_transport *s, struct tls_list *ret,
			   struct err *err)
{
	struct slice *items = arena_array(sc->task->arena, struct slice, 8);
	struct slice text, item;
	char separator = 0;
	enum rc rc = expand_one(sc, s, "tls_alpn", s->tls_alpn, &text, err);

	*ret = (struct tls_list){.items = items};
	if (rc != OK)
		return rc;
	if (!items)
		return err_memory(err);
	while (ret->count < 8 && list_next(sc->task->arena, &text, &separator, &item))
		if (item.ptr && item.len)
			items[ret->count++] = item;
	return OK;
}

static bool list_is_empty(const struct match_list *list)
{
	return !list || match_list_text(list).len == 0;
}

/* With neither list saying anything, certificates to verify against mean that they are to be used, as it was before there were
 * those lists. */
static enum tls_verify find_verify(struct scope *sc, const struct smtp_transport *s,
				   const struct host_item *host, const struct tls_settings *settings)
{
	if (list_is_empty(s->tls_verify_hosts) && list_is_empty(s->tls_try_verify_hosts))
		return settings->verify_certificates.len ? TLS_VERIFY_MUST : TLS_VERIFY_NONE;
	if (smtp_host_listed(sc, s->tls_verify_hosts, host, true))
		return TLS_VERIFY_MUST;
	return smtp_host_listed(sc, s->tls_try_verify_hosts, host, true) ? TLS_VERIFY_TRY : TLS_VERIFY_NONE;
}

static enum rc expand_settings(struct scope *sc, struct smtp_tls_setup *x, struct err *err)
{
	const struct smtp_transport *s = x->s;
	struct tls_settings *t = &x->settings;
	const struct {
		const char *name;
		const struct expansion *option;
		struct slice *value;
	} options[] = {
	    {"tls_certificate", s->tls_certificate, &x->certificate},
	    {"tls_privatekey", s->tls_privatekey, &x->privatekey},
	    {"tls_verify_certificates", s->tls_verify_certificates, &t->verify_certificates},
	    {"tls_crl", s->tls_crl, &t->crl},
	    {"tls_require_ciphers", s->tls_require_ciphers, &t->ciphers},
	};
	enum rc rc = OK;

	t->dhparam = t->eccurve = t->name = SLICE_EMPTY;
	for (unsigned i = 0; i < ARRAY_COUNT(options) && rc == OK; i++)
		rc = expand_one(sc, s, options[i].name, options[i].option, options[i].value, err);
	if (rc == OK)
		rc = expand_alpn(sc, s, &t->alpn, err);
	if (rc != OK)
		return rc;
	if (x->certificate.len)
		t->certificates = (struct tls_list){&x->certificate, 1};
	if (x->privatekey.len)
		t->privatekeys = (struct tls_list){&x->privatekey, 1};
	return OK;
}

/* A session is offered to the same host at the same address under the same options only. The text of the options stands for what
 * they name; what was verified is kept in the session itself. */
static enum rc make_keys(struct scope *sc, struct smtp_tls_setup *x, const struct host_item *host,
			 struct slice *policy_ret, struct err *err)
{
	const struct tls_settings *t = &x->settings;
	struct str key = str_make(sc->task->arena), session = str_make(sc->task->arena);
	struct slice text;

	str_printf(&key, "%.*s\n%.*s\n%.*s\n%.*s\n%.*s\n%.*s\nverify %d names %u ocsp %d%d required %d\n",
		   SLICE_ARG(x->client.sni), SLICE_ARG(x->certificate), SLICE_ARG(x->privatekey),
		   SLICE_ARG(t->verify_certificates), SLICE_ARG(t->crl), SLICE_ARG(t->ciphers),
		   (int)t->verify, x->client.name_count, x->client.ocsp_request, x->client.ocsp_require,
		   x->tls.required);
	for (unsigned i = 0; i < t->alpn.count; i++) {
		str_add(&key, t->alpn.items[i]);
		str_addc(&key, '\n');
	}
	for (unsigned i = 0; i < x->client.name_count; i++) {
		str_add(&key, x->client.names[i]);
		str_addc(&key, '\n');
	}
	*policy_ret = text = str_slice(&key);
	if (!text.ptr)
		return err_memory(err);
	str_add(&session, host->name);
	str_addc(&session, ' ');
	str_add_ip(&session, &host->ip);
	str_printf(&session, " %u\n", host->ip.port);
	str_add(&session, text);
	x->tls.session_key = str_slice(&session);
	return x->tls.session_key.ptr ? OK : err_memory(err);
}

/* host_name_extract: what the server calls itself in its reply to EHLO ($item), so that hosts behind one address that do not share
 * their keys are told apart. */
static struct slice server_name(struct scope *sc, void *arg, struct slice ehlo_reply)
{
	const struct smtp_transport *s = arg;
	struct err err = err_make(sc->task->arena);
	struct slice saved = sc->item, name = SLICE_EMPTY;
	bool found;

	if (!s->host_name_extract) {
		/* The one provider for which Exim knows it by itself. */
		if (sc->host && slice_ends_nocase(sc->host->name, SLICE(".outlook.com")) &&
		    slice_starts(ehlo_reply, SLICE("250-"))) {
			ehlo_reply = slice_from(ehlo_reply, 4);
			(void)slice_word(&ehlo_reply, &name);
		}
		return name;
	}
	sc->item = ehlo_reply;
	found = expand_option(sc, s->host_name_extract, &name, &err) == OK;
	sc->item = saved;
	return found ? name : SLICE_EMPTY;
}

static enum rc setup(struct scope *sc, struct smtp_tls_setup *x, const struct host_item *host,
		     struct slice *policy_ret, struct err *err)
{
	const struct smtp_transport *s = x->s;
	const struct tls_facts *saved = sc->tls_out;
	enum rc rc = expand_one(sc, s, "tls_sni", s->tls_sni, &x->client.sni, err);

	if (rc != OK)
		return rc;
	x->facts = (struct tls_facts){.version = SLICE_EMPTY,
				      .cipher = SLICE_EMPTY,
				      .cipher_std = SLICE_EMPTY,
				      .peer_dn = SLICE_EMPTY,
				      .our_certificate = SLICE_EMPTY,
				      .peer_certificate = SLICE_EMPTY,
				      .sni = x->client.sni,
				      .alpn = SLICE_EMPTY,
				      .verify_error = SLICE_EMPTY,
				      .ocsp_error = SLICE_EMPTY};
	sc->tls_out = &x->facts;
	rc = expand_settings(sc, x, err);
	if (rc == OK) {
		x->settings.verify = find_verify(sc, s, host, &x->settings);
		x->settings.resumption = smtp_host_listed(sc, s->tls_resumption_hosts, host, false);
		x->client.ocsp_require = smtp_host_listed(sc, s->hosts_require_ocsp, host, true);
		x->client.ocsp_request =
		    x->client.ocsp_require || smtp_host_listed(sc, s->hosts_request_ocsp, host, false);
		x->name = host->name;
		x->client.names = &x->name;
		if (x->settings.verify != TLS_VERIFY_NONE &&
		    smtp_host_listed(sc, s->tls_verify_cert_hostnames, host, true))
			x->client.name_count = 1;
		rc = make_keys(sc, x, host, policy_ret, err);
	}
	sc->tls_out = saved;
	return rc;
}

enum rc smtp_tls_options(struct scope *sc, const struct smtp_transport *s, const struct host_item *host,
			 bool callout, struct smtp_connect_options *options, struct err *err)
{
	bool required = s->smtps || smtp_host_listed(sc, s->hosts_require_tls, host, true);
	bool avoid = smtp_host_listed(sc, s->hosts_avoid_tls, host, false) ||
		     (callout && smtp_host_listed(sc, s->hosts_verify_avoid_tls, host, false));
	struct smtp_tls_setup *x = arena_make(sc->task->arena, struct smtp_tls_setup);
	struct slice policy;
	enum rc rc;

	if (!x)
		return err_memory(err);
	if (smtp_host_listed(sc, s->hosts_require_dane, host, true)) {
		(void)err_set(err, DEFER, "DANE is required, but this version does not have it");
		err->os = SMTP_TLS_REQUIRED;
		return DEFER;
	}
	if (s->lmtp && !required)
		avoid = true;
	if (avoid && !s->smtps) {
		if (!required)
			return OK;
		(void)err_set(err, DEFER, "a TLS session is required, but the host is in hosts_avoid_tls");
		err->os = SMTP_TLS_REQUIRED;
		return DEFER;
	}
	x->s = s;
	x->certificate = x->privatekey = SLICE_EMPTY;
	x->tls.client = &x->client;
	x->tls.required = required;
	x->tls.on_connect = s->smtps;
	x->tls.tempfail_tryclear = s->tls_tempfail_tryclear;
	x->client.settings = &x->settings;
	x->client.session = SLICE_EMPTY;
	x->client.conf = sc->conf;
	rc = setup(sc, x, host, &policy, err);
	if (rc != OK)
		return rc;
	if (!x->settings.resumption)
		x->tls.session_key = SLICE_EMPTY;
	x->tls.server_name = server_name;
	x->tls.server_name_arg = (void *)(uintptr_t)s;
	x->tls.alpn_required =
	    x->settings.alpn.count && smtp_host_listed(sc, s->hosts_require_alpn, host, true);
	options->tls = &x->tls;
	options->pool_key =
	    arena_printf(sc->task->arena, "%.*s tls\n%.*s", SLICE_ARG(options->pool_key), SLICE_ARG(policy));
	return options->pool_key.ptr ? OK : err_memory(err);
}
