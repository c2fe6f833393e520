/* cmd_helo: HELO and EHLO (RFC 5321 section 4.1.1.1): checks the name, runs the HELO ACL, answers with the extensions. */
#include "session.h"

/* A host name, an address literal, or what helo_allow_chars adds to that. */
static bool helo_well_formed(struct slice name, struct slice allowed)
{
	struct ip_addr ip;

	if (!name.len)
		return false;
	if (name.ptr[0] == '[') {
		struct slice inside = slice_sub(name, 1, name.len >= 2 ? name.len - 2u : 0);
		if (name.ptr[name.len - 1] != ']')
			return false;
		bool tagged = slice_starts_nocase(inside, SLICE("IPv6:"));
		return ip_parse(slice_from(inside, tagged ? 5 : 0), &ip) && (!tagged || ip.family == 6);
	}
	for (uint32_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (!ascii_is_alnum(c) && c != '.' && c != '-' && slice_find(allowed, c) < 0)
			return false;
	}
	return true;
}

static bool helo_acceptable(struct smtp_session *s, struct slice name)
{
	struct err err = err_make(NULL);

	if (helo_well_formed(name,
			     s->options->helo_allow_chars.ptr ? s->options->helo_allow_chars : SLICE_EMPTY))
		return true;
	return name.len && (s->local || match_client(session_scope(s), s->options->helo_accept_junk_hosts,
						     NULL, &err) == OK);
}

/* helo_verify_hosts and helo_try_verify_hosts. false: refused, and answered. */
static bool helo_verified(struct smtp_session *s, const char *verb)
{
	const struct smtp_options *o = s->options;
	struct err err = err_make(&s->serving->arena);
	bool must, try;
	enum rc rc;

	s->client.helo_verified = s->client.helo_verify_failed = false;
	must = o->helo_verify_hosts && match_client(session_scope(s), o->helo_verify_hosts, NULL, &err) == OK;
	try = must || (o->helo_try_verify_hosts &&
		       match_client(session_scope(s), o->helo_try_verify_hosts, NULL, &err) == OK);
	if (!try || s->local)
		return true;
	rc = client_helo_verify(session_scope(s), &err);
	if (rc == OK || !must)
		return true;
	log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "%srejected \"%s %.*s\"%.*s",
		    rc == DEFER ? "temporarily " : "", verb, SLICE_ARG(s->client.helo),
		    SLICE_ARG(client_phrase(s)));
	if (rc == DEFER)
		replyf(s, 451, "4.7.1", "Temporary local problem - please try later");
	else
		replyf(s, 550, "5.7.1", "%s argument does not match calling host", verb);
	s->client.helo = SLICE_EMPTY;
	return false;
}

static bool advertise(struct smtp_session *s, const struct match_list *hosts)
{
	struct err err = err_make(NULL);

	return match_client(&s->serving->scope, hosts, NULL, &err) == OK;
}

static void say_hello(struct smtp_session *s, struct slice greeting)
{
	const struct smtp_options *o = s->options;
	struct str text = str_make(&s->serving->arena);
	bool enhanced = s->enhanced_ok;

	str_add(&text, greeting);
	str_addz(&text, "\nSIZE");
	if (s->size_max) {
		str_addc(&text, ' ');
		str_addu(&text, s->size_max);
	}
	if (advertise(s, o->limits_advertise_hosts)) {
		str_addz(&text, "\nLIMITS");
		if (s->connection_messages_max) {
			str_addz(&text, " MAILMAX=");
			str_addu(&text, s->connection_messages_max);
		}
		if (s->recipients_max != UINT32_MAX) {
			str_addz(&text, " RCPTMAX=");
			str_addu(&text, s->recipients_max);
		}
	}
	if (o->accept_8bitmime)
		str_addz(&text, "\n8BITMIME");
	if (s->dsn_ok)
		str_addz(&text, "\nDSN");
	if (o->acl[ACL_WHERE_ETRN])
		str_addz(&text, "\nETRN");
	if (o->acl[ACL_WHERE_VRFY])
		str_addz(&text, "\nVRFY");
	if (o->acl[ACL_WHERE_EXPN])
		str_addz(&text, "\nEXPN");
	if (s->pipelining_ok)
		str_addz(&text, "\nPIPELINING");
	if (s->early_offered)
		str_addz(&text, "\nPIPECONNECT");
	(void)auth_offer(s, &text); /* nothing to offer: nothing is said */
	if (s->chunking_ok)
		str_addz(&text, "\nCHUNKING");
	s->tls_offered = starttls_offered(s);
	if (s->tls_offered)
		str_addz(&text, "\nSTARTTLS");
	if (enhanced)
		str_addz(&text, "\nENHANCEDSTATUSCODES");
	if (s->utf8_ok)
		str_addz(&text, "\nSMTPUTF8");
	if (wellknown_offered(s))
		str_addz(&text, "\nWELLKNOWN");
	str_addz(&text, "\nHELP");
	/* The reply to EHLO itself has no enhanced code (RFC 2034 section 3). */
	s->enhanced_ok = false;
	reply(s, 250, NULL, str_slice(&text));
	s->enhanced_ok = enhanced;
}

static struct slice greeting_text(struct smtp_session *s, struct slice acl_text)
{
	struct str text = str_make(&s->serving->arena);
	const struct client *c = &s->client;

	if (acl_text.len) {
		/* The first line is the administrator's, the extensions stay ours. */
		ptrdiff_t end = slice_find(acl_text, '\n');
		return end < 0 ? acl_text : slice_sub(acl_text, 0, (size_t)end);
	}
	str_add(&text, c->active_hostname.len ? c->active_hostname : conf_main(s->conf)->primary_hostname);
	str_addz(&text, " Hello ");
	if (c->ident.len) {
		str_add(&text, c->ident);
		str_addz(&text, " at ");
	}
	str_add(&text, c->host_name.len ? c->host_name : c->helo);
	if (c->ip.family) {
		str_addz(&text, " [");
		str_add_ip(&text, &c->ip);
		str_addc(&text, ']');
	}
	return str_slice(&text);
}

/* The name as it will be used; a second word is junk, as is anything odd. false: refused, and answered. */
static bool helo_take(struct smtp_session *s, const char *verb, struct slice argument, struct slice *helo_ret)
{
	struct slice rest = argument, helo, junk, text;

	if (!slice_word(&rest, &helo))
		helo = s->local ? SLICE("localhost") : SLICE_EMPTY;
	if (slice_word(&rest, &junk))
		helo = slice_make(helo.ptr, (size_t)(junk.ptr + junk.len - helo.ptr), TAINTED);
	(void)session_scope(s);
	if (!helo_acceptable(s, helo)) {
		tally_up(&s->server->metrics->errors);
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT,
			    "rejected %s from %.*s: syntactically invalid argument(s): %.*s", verb,
			    SLICE_ARG(client_caller(s)),
			    SLICE_ARG(helo.len ? helo : SLICE("(no argument given)")));
		text = arena_printf(&s->serving->arena, "Syntactically invalid %s argument(s)", verb);
		reply_counted(s, 501, helo.len ? "5.5.2" : "5.5.4", text);
		return false;
	}
	*helo_ret = helo;
	return true;
}

/* false: someone changed names until the connection's memory was full. */
static bool helo_keep(struct smtp_session *s, struct slice helo)
{
	if (slice_eq(s->client.helo, helo))
		return true;
	s->client.helo = arena_copy(&s->arena, helo);
	if (s->client.helo.ptr)
		return true;
	s->client.helo = SLICE_EMPTY;
	reply(s, 421, "4.3.2", SLICE("too many changes of name"));
	s->over = true;
	return false;
}

/* What this client may use from now on: with HELO nothing. */
static void extensions_offer(struct smtp_session *s, bool extended, uint32_t controls)
{
	const struct smtp_options *o = s->options;

	s->auth_offered = 0;
	s->tls_offered = false;
	s->pipelining_ok = extended && !(controls & ACL_CONTROL_NO_PIPELINING) &&
			   advertise(s, o->pipelining_advertise_hosts);
	/* Without PIPELINING nobody could make much of it. */
	s->early_offered = s->pipelining_ok && advertise(s, o->pipelining_connect_advertise_hosts);
	s->chunking_ok = extended && advertise(s, o->chunking_advertise_hosts);
	s->utf8_ok = extended && advertise(s, o->smtputf8_advertise_hosts);
	s->dsn_ok = extended && advertise(s, o->dsn_advertise_hosts);
	s->enhanced_ok = extended && advertise(s, o->enhanced_status_advertise_hosts);
}

void cmd_helo(struct smtp_session *s, enum smtp_verb verb, struct slice argument)
{
	const char *name = verb_name(verb);
	struct acl_outcome outcome;
	struct slice helo, greeting;
	struct err err;

	if (!helo_take(s, name, argument, &helo) || !helo_keep(s, helo))
		return;
	s->client.esmtp = verb == VERB_EHLO;
	/* Under TLS, too, the client need not wait; whether it did is seen by what stands behind. */
	s->early_used |= s->tls && s->state == STATE_START && s->early_ok && stream_pending(s->stream);
	(void)session_scope(s);
	if (!helo_verified(s, name))
		return;
	err = err_make(&s->serving->arena);
	/* Who says to be us, or is an address of ours, is looked at more closely. */
	if (!s->local && !s->client.host_name.len &&
	    match_domain(session_scope(s), s->options->helo_lookup_domains, helo, NULL, &err) == OK)
		(void)(client_host_name(session_scope(s), &err) == OK);
	acl_outcome_init(&outcome);
	if (s->options->acl[ACL_WHERE_HELO] &&
	    !acl_verdict(s, ACL_WHERE_HELO, session_acl(s, ACL_WHERE_HELO, &outcome, &err), &outcome, &err,
			 name, helo)) {
		s->client.helo = SLICE_EMPTY;
		return;
	}
	/* A new HELO ends the transaction that may be open (RFC 5321 section 4.1.4). */
	transaction_end(s);
	s->state = STATE_READY;
	session_protocol_changed(s);
	(void)session_scope(s);
	extensions_offer(s, verb == VERB_EHLO, outcome.controls);
	greeting = greeting_text(s, outcome.user_message.ptr ? outcome.user_message : SLICE_EMPTY);
	if (verb == VERB_EHLO)
		say_hello(s, greeting);
	else
		reply(s, 250, NULL, greeting);
}
