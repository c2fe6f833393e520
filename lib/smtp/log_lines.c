/* log_lines: the phrases of the main log that speak of a client, in Exim's form, since every log tool reads them. */
#include "session.h"

#include "mailauth/mailauth.h"

#include <stdarg.h>

/* "name (helo) [1.2.3.4]:port", without the "H=" */
static void add_host(struct str *str, const struct smtp_session *s, bool port)
{
	const struct client *c = &s->client;
	char text[IP_TEXT_MAX];
	struct slice ip = ip_format(&c->ip, text);
	bool helo_says = c->helo.len && !slice_eq_nocase(c->helo, c->host_name);

	if (helo_says && !c->host_name.len && c->helo.len == ip.len + 2 && c->helo.ptr[0] == '[' &&
	    slice_eq(slice_sub(c->helo, 1, ip.len), ip))
		helo_says = false; /* the address literal says nothing new */
	if (c->host_name.len) {
		str_add(str, c->host_name);
		str_addc(str, ' ');
	}
	if (helo_says) {
		str_addc(str, '(');
		str_add(str, c->helo);
		str_addz(str, ") ");
	}
	str_addc(str, '[');
	str_add(str, ip);
	str_addc(str, ']');
	if (port) {
		str_addc(str, ':');
		str_addu(str, c->ip.port);
	}
}

static void add_connection_id(struct str *str, const struct smtp_session *s)
{
	if (!log_wants(s->conf, LOG_CONNECTION_ID) || !s->connection_id)
		return;
	str_addz(str, " Ci=");
	base62_encode(str, s->connection_id, 1);
}

static void add_interface(struct str *str, const struct smtp_session *s)
{
	const struct client *c = &s->client;

	if (!log_wants(s->conf, LOG_INCOMING_INTERFACE) || !c->local.family)
		return;
	str_addz(str, " I=[");
	str_add_ip(str, &c->local);
	str_addz(str, "]:");
	str_addu(str, c->local.port);
}

/* What follows the host. */
static void add_rest(struct str *str, const struct smtp_session *s, bool user)
{
	const struct client *c = &s->client;

	add_interface(str, s);
	if (log_wants(s->conf, LOG_PROXY) && c->proxied) {
		str_addz(str, " PRX=");
		str_add_ip(str, &c->proxy_local);
	}
	if (user && c->ident.len) {
		str_addz(str, " U=");
		str_add(str, c->ident);
	}
}

void log_client(struct str *str, const struct smtp_session *s)
{
	const struct client *c = &s->client;

	if (c->ip.family) {
		str_addz(str, " H=");
		add_host(str, s, log_wants(s->conf, LOG_INCOMING_PORT));
		add_rest(str, s, true);
	} else if (c->ident.len) {
		str_addz(str, " U=");
		str_add(str, c->ident);
	}
	add_connection_id(str, s);
}

struct slice client_phrase(struct smtp_session *s)
{
	struct str str = str_make(s->serving ? &s->serving->arena : &s->arena);

	log_client(&str, s);
	return str.failed ? SLICE_EMPTY : str_slice(&str);
}

struct slice client_host_only(struct smtp_session *s)
{
	struct str str = str_make(s->serving ? &s->serving->arena : &s->arena);

	if (s->client.ip.family) {
		str_addz(&str, " H=");
		add_host(&str, s, log_wants(s->conf, LOG_INCOMING_PORT));
	}
	if (s->client.ident.len) {
		str_addz(&str, " U=");
		str_add(&str, s->client.ident);
	}
	return str.failed ? SLICE_EMPTY : str_slice(&str);
}

static void add_caller(struct str *str, struct smtp_session *s, bool user)
{
	if (s->client.ip.family) {
		add_host(str, s, log_wants(s->conf, LOG_INCOMING_PORT));
		add_rest(str, s, user);
	} else {
		str_add(str, s->client.ident.len ? s->client.ident : SLICE("local user"));
	}
}

struct slice client_caller(struct smtp_session *s)
{
	struct str str = str_make(s->serving ? &s->serving->arena : &s->arena);

	add_caller(&str, s, true);
	add_connection_id(&str, s);
	return str.failed ? SLICE_EMPTY : str_slice(&str);
}

struct slice client_connection(struct smtp_session *s)
{
	struct str str = str_make(s->serving ? &s->serving->arena : &s->arena);

	str_addz(&str, "SMTP connection");
	add_connection_id(&str, s);
	str_addz(&str, " from ");
	add_caller(&str, s, false);
	return str.failed ? SLICE_EMPTY : str_slice(&str);
}

void log_duration(struct str *str, const struct smtp_session *s, uint64_t ns)
{
	if (log_wants(s->conf, LOG_MILLISEC))
		str_printf(str, "%llu.%03llus", (unsigned long long)(ns / NS_PER_S),
			   (unsigned long long)(ns % NS_PER_S / NS_PER_MS));
	else
		conf_print_time(str, (int64_t)(ns / NS_PER_S));
}

struct slice session_duration(struct smtp_session *s)
{
	struct str str = str_make(s->serving ? &s->serving->arena : &s->arena);
	uint64_t now = shard_wall_exact(s->server->shard);

	str_addz(&str, " D=");
	log_duration(&str, s, now > s->client.connected ? now - s->client.connected : 0);
	return str.failed ? SLICE_EMPTY : str_slice(&str);
}

void log_session(struct smtp_session *s, unsigned where, const char *format, ...)
{
	struct str line = str_make(s->serving ? &s->serving->arena : &s->arena);
	va_list args;

	va_start(args, format);
	str_vprintf(&line, format, args);
	va_end(args);
	if (!line.failed)
		log_write(s->server->shard, s->conf, where, NULL, slice_ltrim(str_slice(&line)));
}

void log_history(struct str *str, const struct smtp_session *s)
{
	unsigned count = s->history_count < HISTORY_MAX ? s->history_count : HISTORY_MAX;

	str_addz(str, s->history_count > HISTORY_MAX ? "C=..." : "C=");
	for (unsigned i = 0; i < count; i++) {
		if (i || s->history_count > HISTORY_MAX)
			str_addc(str, ',');
		str_addz(str, verb_name(s->history[(s->history_count - count + i) % HISTORY_MAX]));
	}
}

static void add_subject(struct str *line, struct smtp_session *s, struct message *m)
{
	struct header *subject = header_find(&m->headers, SLICE("subject"), NULL);
	struct slice text;

	if (!subject)
		return;
	text = rfc2047_decode(&s->serving->arena, header_body(subject), true);
	str_addz(line, " T=\"");
	for (uint32_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			str_addc(line, '\\');
		str_addc(line, text.ptr[i]);
	}
	str_addc(line, '"');
}

static void add_recipients(struct str *line, const struct message *m)
{
	if (m->recipient_count)
		str_addz(line, " for");
	for (uint32_t i = 0; i < m->recipient_count && i < 100; i++) {
		str_addc(line, ' ');
		str_add(line, m->recipients[i].address);
	}
}

void log_incomplete(struct smtp_session *s, const char *why)
{
	struct str line = str_make(&s->serving->arena);

	if (!s->transaction || s->state <= STATE_READY ||
	    !log_wants(s->conf, LOG_SMTP_INCOMPLETE_TRANSACTION))
		return;
	log_client(&line, s);
	str_printf(&line, " incomplete transaction (%s) from <", why);
	str_add(&line, s->transaction->message->sender);
	str_addc(&line, '>');
	add_recipients(&line, s->transaction->message);
	log_session(s, LOG_TO_MAIN, "%.*s", SLICE_ARG(str_slice(&line)));
}

void log_senders(struct str *line, const struct smtp_session *s, const struct message *m)
{
	const struct spf_result *spf = spf_result_get(m);
	const struct dmarc_result *dmarc = dmarc_result_get(m);

	if (spf && log_wants(s->conf, LOG_SPF_VERBOSE)) {
		str_addz(line, " SPF=");
		str_add(line, mailauth_result_word(spf->result));
	} else if (spf && spf->result == MAILAUTH_PASS && log_wants(s->conf, LOG_SPF)) {
		str_addz(line, " SPF");
	}
	if (dmarc && log_wants(s->conf, LOG_DMARC_VERBOSE)) {
		str_addz(line, " DMARC=");
		str_add(line, dmarc_status_word(dmarc->status));
	} else if (dmarc && dmarc->status == DMARC_ACCEPT && log_wants(s->conf, LOG_DMARC)) {
		str_addz(line, " DMARC");
	}
}

void log_login(struct str *str, const struct smtp_session *s)
{
	if (!s->client.authenticator_name.len)
		return;
	str_addz(str, " A=");
	str_add(str, s->client.authenticator_name);
	if (s->client.authenticated_id.len) {
		str_addc(str, ':');
		str_add(str, s->client.authenticated_id);
	}
}

/* What a stranger chose, and stands without quotes: it stays one word. */
static void add_word(struct str *line, struct slice word)
{
	for (uint32_t i = 0; i < word.len; i++)
		if (word.ptr[i] == ' ')
			str_addz(line, "\\040");
		else if (word.ptr[i] == '\t')
			str_addz(line, "\\t");
		else
			str_addc(line, word.ptr[i]);
}

/* X= with its asterisk for a resumed session, CV=, DN=, SNI=. */
void log_tls(struct str *line, const struct smtp_session *s)
{
	const struct client *c = &s->client;

	if (!c->tls_cipher.len)
		return;
	if (log_wants(s->conf, LOG_TLS_CIPHER)) {
		str_addz(line, " X=");
		str_add(line, c->tls_cipher);
		if ((c->tls_resumption & TLS_RESUME_USED) && log_wants(s->conf, LOG_TLS_RESUMPTION))
			str_addc(line, '*');
	}
	if (log_wants(s->conf, LOG_TLS_CERTIFICATE_VERIFIED))
		str_addz(line, c->tls_certificate_verified ? " CV=yes" : " CV=no");
	if (log_wants(s->conf, LOG_TLS_PEERDN) && c->tls_peerdn.len) {
		str_addz(line, " DN=\"");
		str_add(line, c->tls_peerdn);
		str_addc(line, '"');
	}
	if (log_wants(s->conf, LOG_TLS_SNI) && c->tls_sni.len) {
		str_addz(line, " SNI=");
		add_word(line, c->tls_sni);
	}
}

/* The Message-Id:, if it is one: who made it up, or the made one if that is wanted, too. */
static void add_message_id(struct str *line, const struct smtp_session *s, const struct message *m)
{
	struct err err = err_make(&s->serving->arena);
	struct address_parts parts;

	if (!m->message_id_header.len || !log_wants(s->conf, LOG_MSG_ID) ||
	    (m->message_id_made && !log_wants(s->conf, LOG_MSG_ID_CREATED)) ||
	    address_parse(&s->serving->arena, m->message_id_header,
			  ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8, &parts,
			  &err) != OK)
		return;
	str_addz(line, m->message_id_made ? " id*=" : " id=");
	str_add(line, parts.full);
}

void log_arrival(struct smtp_session *s, struct message *m)
{
	struct str line = str_make(&s->serving->arena);
	struct transaction *t = s->transaction;
	bool fake = t && (t->controls & (ACL_CONTROL_FAKEREJECT | ACL_CONTROL_FAKEDEFER));
	const struct conf *conf = s->conf;
	struct arc_result arc;

	str_reserve(&line, 256);
	str_addz(&line, fake ? "(= " : "<= ");
	str_add(&line, m->sender.len ? m->sender : SLICE("<>"));
	if (s->client.host_name_secure && log_wants(conf, LOG_DNSSEC))
		str_addz(&line, " DS");
	log_client(&line, s);
	str_addz(&line, " P=");
	str_add(&line, m->protocol);
	if (log_wants(conf, LOG_PIPELINING) && s->pipelining_ok && t)
		str_printf(&line, " L%s%s",
			   s->early_used      ? "*"
			   : s->early_offered ? "."
					      : "",
			   s->pipelined ? "" : "-");
	log_tls(&line, s);
	if (s->client.authenticator_name.len) {
		log_login(&line, s);
		if (log_wants(conf, LOG_SMTP_MAILAUTH) && m->auth_sender.len) {
			str_addc(&line, ':');
			str_add(&line, m->auth_sender);
		}
	}
	if (t && t->chunk_left == UINT64_MAX)
		str_addz(&line, " K");
	str_addz(&line, " S=");
	str_addu(&line, message_size(m));
	if (log_wants(conf, LOG_8BITMIME)) {
		str_addz(&line, " M8S=");
		str_addu(&line, m->body_8bit);
	}
	if (log_wants(conf, LOG_DKIM) && dkim_passed_domain(m).len) {
		str_addz(&line, " DKIM=");
		str_add(&line, dkim_passed_domain(m));
	}
	if (log_wants(conf, LOG_DKIM) && arc_result_get(m, &arc) && arc.result == MAILAUTH_PASS)
		str_addz(&line, " ARC");
	log_senders(&line, s, m);
	if (log_wants(conf, LOG_RECEIVE_TIME)) {
		str_addz(&line, " RT=");
		log_duration(&line, s, m->received_complete - m->received);
	}
	if (m->queue_name.len) {
		str_addz(&line, " Q=");
		str_add(&line, m->queue_name);
	}
	add_message_id(&line, s, m);
	if (log_wants(conf, LOG_SUBJECT))
		add_subject(&line, s, m);
	if (log_wants(conf, LOG_RECEIVED_SENDER)) {
		str_addz(&line, " from <");
		str_add(&line, m->sender);
		str_addc(&line, '>');
	}
	if (log_wants(conf, LOG_RECEIVED_RECIPIENTS))
		add_recipients(&line, m);
	log_write(s->server->shard, conf, LOG_TO_MAIN, &m->id, str_slice(&line));
}
