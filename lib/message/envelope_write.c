/* Writes the text of an -H file: all that is known of a message but its body.
 *
 *	<id>-H
 *	<login> <uid> <gid>
 *	<<sender>>
 *	<received, seconds> <warnings sent>
 *	-<name>[ <value>]		in the order of envelope_lines.c; a second "-": the value is tainted
 *	XX | <tree of those done with>
 *	<number of recipients>
 *	<recipient>[ <orcpt> <len>,<flags> <errors_to> <len>,<parent>#3]
 *
 *	<length><type> <header field>
 *
 * (1) Nothing that came from outside can end a line early: addresses with line ends are refused, and in other values a line
 *     end becomes a space; ACL variables and headers go by length. */
#include "message/envelope.h"

#include <stdlib.h>

struct writer {
	struct str *str;
	const struct message *message;
	uint32_t kept; /* unsupported lines that are written already */
};

static void add_u3(struct str *str, uint64_t number)
{
	if (number < 100)
		str_addz(str, number < 10 ? "00" : "0");
	str_addu(str, number);
}

static void add_i(struct str *str, int64_t number)
{
	if (number < 0)
		str_addc(str, '-');
	str_addu(str, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

static void add_usec(struct str *str, uint64_t ns)
{
	char digits[7] = ".";
	uint64_t usec = ns / 1000 % 1000000;

	for (int i = 6; i > 0; i--, usec /= 10)
		digits[i] = (char)('0' + usec % 10);
	str_add(str, slice_make(digits, 7, CLEAN));
}

/* Promise (1). */
static void add_value(struct str *str, struct slice value)
{
	uint32_t start = str->len;

	str_add(str, value);
	if (str->failed)
		return;
	for (char *p = str->ptr + start, *end = p + value.len; p < end; p++)
		if (*p == '\n' || *p == '\r' || *p == 0)
			*p = ' ';
}

static void keep_until(struct writer *w, uint32_t rank)
{
	const struct message *message = w->message;

	for (; w->kept < message->unsupported_count && message->unsupported_lines[w->kept].rank < rank;
	     w->kept++) {
		str_add(w->str, message->unsupported_lines[w->kept].text);
		str_addc(w->str, '\n');
	}
}

/* The start of a line: dash, second dash, name, space. */
static void begin(struct writer *w, uint32_t rank, struct slice name, bool tainted)
{
	if (w->kept < w->message->unsupported_count)
		keep_until(w, rank);
	str_add(w->str, tainted ? SLICE("--") : SLICE("-"));
	str_add(w->str, name);
}

static void text_line(struct writer *w, uint32_t rank, struct slice name, struct slice value)
{
	if (!value.len)
		return;
	begin(w, rank, name, value.taint);
	add_value(w->str, value);
	str_addc(w->str, '\n');
}

static void flag_line(struct writer *w, uint32_t rank, struct slice name, bool value)
{
	if (!value)
		return;
	begin(w, rank, name, false);
}

static void number_line(struct writer *w, uint32_t rank, struct slice name, uint64_t number)
{
	begin(w, rank, name, false);
	str_addu(w->str, number);
	str_addc(w->str, '\n');
}

static void address_line(struct writer *w, uint32_t rank, struct slice name, const struct ip_addr *ip)
{
	if (!ip->family)
		return;
	begin(w, rank, name, true);
	str_addc(w->str, '[');
	str_add_ip(w->str, ip);
	str_add(w->str, SLICE("]:"));
	str_addu(w->str, ip->port);
	str_addc(w->str, '\n');
}

static void variable_lines(struct writer *w, uint32_t rank, struct slice name,
			   const struct acl_variable *variable)
{
	for (; variable; variable = variable->next) {
		begin(w, rank, name, variable->value.taint);
		add_value(w->str, variable->name);
		str_addc(w->str, ' ');
		str_addu(w->str, variable->value.len);
		str_addc(w->str, '\n');
		str_add(w->str, variable->value);
		str_addc(w->str, '\n');
	}
}

/* A certificate's line ends are shown as \n. */
static void certificate_line(struct writer *w, uint32_t rank, struct slice name, struct slice pem)
{
	if (!pem.len)
		return;
	begin(w, rank, name, pem.taint);
	for (uint32_t i = 0; i < pem.len; i++) {
		if (pem.ptr[i] == '\n')
			str_add(w->str, SLICE("\\n"));
		else
			add_value(w->str, slice_sub(pem, i, 1));
	}
	str_addc(w->str, '\n');
}

static void client_lines(struct writer *w, const struct client *client)
{
	text_line(w, RANK_HELO_NAME, SLICE("helo_name "), client->helo);
	address_line(w, RANK_HOST_ADDRESS, SLICE("host_address "), &client->ip);
	text_line(w, RANK_HOST_NAME, SLICE("host_name "), client->host_name);
	text_line(w, RANK_HOST_AUTH, SLICE("host_auth "), client->authenticator_name);
	text_line(w, RANK_HOST_AUTH_PUBNAME, SLICE("host_auth_pubname "), client->authenticator_pubname);
	address_line(w, RANK_INTERFACE_ADDRESS, SLICE("interface_address "), &client->local);
	text_line(w, RANK_ACTIVE_HOSTNAME, SLICE("active_hostname "), client->active_hostname);
	text_line(w, RANK_IDENT, SLICE("ident "), client->ident);
}

static void tls_lines(struct writer *w, const struct client *client)
{
	flag_line(w, RANK_TLS_VERIFIED, SLICE("tls_certificate_verified\n"),
		  client->tls_certificate_verified);
	text_line(w, RANK_TLS_CIPHER, SLICE("tls_cipher "), client->tls_cipher);
	certificate_line(w, RANK_TLS_PEERCERT, SLICE("tls_peercert "), client->tls_peercert);
	text_line(w, RANK_TLS_PEERDN, SLICE("tls_peerdn "), client->tls_peerdn);
	text_line(w, RANK_TLS_SNI, SLICE("tls_sni "), client->tls_sni);
	certificate_line(w, RANK_TLS_OURCERT, SLICE("tls_ourcert "), client->tls_ourcert);
	if (client->tls_ocsp)
		number_line(w, RANK_TLS_OCSP, SLICE("tls_ocsp "), client->tls_ocsp);
	if (client->tls_resumption) {
		begin(w, RANK_TLS_RESUMPTION, SLICE("tls_resumption "), false);
		str_addc(w->str, (char)('A' + client->tls_resumption));
		str_addc(w->str, '\n');
	}
	text_line(w, RANK_TLS_VER, SLICE("tls_ver "), client->tls_version);
}

static void option_lines(struct writer *w)
{
	const struct message *m = w->message;
	const struct client *client = m->client;

	if (m->received % NS_PER_S) {
		begin(w, RANK_RECEIVED_USEC, SLICE("received_time_usec "), false);
		add_usec(w->str, m->received);
		str_addc(w->str, '\n');
	}
	if (m->received_complete) {
		number_line(w, RANK_RECEIVED_COMPLETE, SLICE("received_time_complete "),
			    m->received_complete / NS_PER_S);
		if (!w->str->failed)
			w->str->len--;
		add_usec(w->str, m->received_complete);
		str_addc(w->str, '\n');
	}
	if (client)
		client_lines(w, client);
	text_line(w, RANK_RECEIVED_PROTOCOL, SLICE("received_protocol "), m->protocol);
	if (client)
		variable_lines(w, RANK_ACLC, SLICE("aclc "), client->acl_c);
	variable_lines(w, RANK_ACLM, SLICE("aclm "), m->acl_m);
	if (m->debug_topics && m->debug_name.len) {
		begin(w, RANK_DEBUG_SELECTOR, SLICE("debug_selector "), false);
		str_printf(w->str, "0x%llx\n", (unsigned long long)(m->debug_topics & DEBUG_ALL));
		text_line(w, RANK_DEBUGLOG_NAME, SLICE("debuglog_name "), m->debug_name);
	}
	flag_line(w, RANK_WIREFORMAT, SLICE("spool_file_wireformat\n"), !m->body.lf);
	if (m->body.lf || m->body.line_count)
		number_line(w, RANK_BODY_LINECOUNT, SLICE("body_linecount "), m->body.line_count);
	if (m->body.line_length_max)
		number_line(w, RANK_MAX_LINELENGTH, SLICE("max_received_linelength "),
			    m->body.line_length_max);
	if (m->body.zero_count)
		number_line(w, RANK_BODY_ZEROCOUNT, SLICE("body_zerocount "), m->body.zero_count);
	if (client)
		text_line(w, RANK_AUTH_ID, SLICE("auth_id "), client->authenticated_id);
	if (m->auth_sender.len || client)
		text_line(w, RANK_AUTH_SENDER, SLICE("auth_sender "),
			  m->auth_sender.len ? m->auth_sender : client->authenticated_sender);
	flag_line(w, RANK_FIRSTTIME, SLICE("deliver_firsttime\n"), m->deliver_firsttime);
	if (m->frozen)
		number_line(w, RANK_FROZEN, SLICE("frozen "), m->frozen_since);
	flag_line(w, RANK_N, SLICE("N\n"), m->dont_deliver);
	if (client) {
		flag_line(w, RANK_LOOKUP_DEFERRED, SLICE("host_lookup_deferred\n"),
			  client->host_lookup_deferred);
		flag_line(w, RANK_LOOKUP_FAILED, SLICE("host_lookup_failed\n"), client->host_lookup_failed);
	}
	flag_line(w, RANK_LOCAL, SLICE("local\n"), m->local);
	flag_line(w, RANK_LOCALERROR, SLICE("localerror\n"), m->sender_local);
	flag_line(w, RANK_MANUAL_THAW, SLICE("manual_thaw\n"), m->manual_thaw);
	flag_line(w, RANK_SENDER_SET_UNTRUSTED, SLICE("sender_set_untrusted\n"), m->sender_set_untrusted);
	if (client)
		tls_lines(w, client);
	flag_line(w, RANK_SMTPUTF8, SLICE("smtputf8\n"), m->smtputf8);
	flag_line(w, RANK_UTF8_DOWNCVT, SLICE("utf8_downcvt\n"), m->utf8_downconvert == 1);
	flag_line(w, RANK_UTF8_OPTDOWNCVT, SLICE("utf8_optdowncvt\n"), m->utf8_downconvert == -1);
	text_line(w, RANK_DSN_ENVID, SLICE("dsn_envid "), m->dsn_envid);
	if (m->dsn_ret)
		number_line(w, RANK_DSN_RET, SLICE("dsn_ret "), m->dsn_ret);
	keep_until(w, UINT32_MAX);
}

/* ---- Those done with ------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* A balanced tree of sorted addresses, in preorder; readers rebuild it as they read. */
static void add_tree(struct str *str, const struct slice *sorted, uint32_t count)
{
	uint32_t left = count / 2, right = count - left - 1;

	str_addc(str, left ? 'Y' : 'N');
	str_addc(str, right ? 'Y' : 'N');
	str_addc(str, ' ');
	add_value(str, sorted[left]);
	str_addc(str, '\n');
	if (left)
		add_tree(str, sorted, left);
	if (right)
		add_tree(str, sorted + left + 1, right);
}

static uint32_t done_count(const struct message *message)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < message->recipient_count; i++)
		count += message->recipients[i].done;
	return count;
}

static bool nonrecipients(struct str *str, const struct message *message)
{
	uint32_t done = done_count(message), count = 0, unique = 0;
	struct slice *all;

	if (done + message->nonrecipient_count == 0) {
		str_add(str, SLICE("XX\n"));
		return true;
	}
	if (done + message->nonrecipient_count == message->nonrecipients_text_count) {
		str_add(str, message->nonrecipients_text);
		return true;
	}
	all = arena_array(str->arena, struct slice, done + message->nonrecipient_count);
	if (!all)
		return false;
	for (uint32_t i = 0; i < message->nonrecipient_count; i++)
		all[count++] = message->nonrecipients[i];
	for (uint32_t i = 0; i < message->recipient_count; i++)
		if (message->recipients[i].done)
			all[count++] = message->recipients[i].address;
	/* May borrow from the heap, for a long list of a message that is partly delivered. */
	qsort(all, count, sizeof(*all), compare);
	for (uint32_t i = 0; i < count; i++)
		if (unique == 0 || !slice_eq(all[unique - 1], all[i]))
			all[unique++] = all[i];
	add_tree(str, all, unique);
	return true;
}

/* ---- Recipients and headers ---------------------------------------------------------------------------------- */

static bool one_line(struct slice s)
{
	return !memchr(s.ptr, '\n', s.len) && !memchr(s.ptr, 0, s.len);
}

static bool add_recipient(struct str *str, const struct recipient *r)
{
	if (!one_line(r->address) || !one_line(r->orcpt) || !one_line(r->errors_to))
		return false;
	str_add(str, r->address);
	if (r->orcpt.len || r->dsn_flags || r->errors_to.len || r->parent >= 0) {
		str_addc(str, ' ');
		str_add(str, r->orcpt);
		str_addc(str, ' ');
		str_addu(str, r->orcpt.len);
		str_addc(str, ',');
		str_addu(str, r->dsn_flags);
		str_addc(str, ' ');
		str_add(str, r->errors_to);
		str_addc(str, ' ');
		str_addu(str, r->errors_to.len);
		str_addc(str, ',');
		add_i(str, r->parent);
		str_add(str, SLICE("#3"));
	}
	str_addc(str, '\n');
	return true;
}

static void add_headers(struct str *str, const struct header_block *block)
{
	LIST_EACH (l, &block->list) {
		const struct header *header = LIST_ITEM(l, struct header, link);

		add_u3(str, header->text.len);
		str_addc(str, header->type);
		str_addc(str, ' ');
		str_add(str, header->text);
	}
}

static size_t size_guess(const struct message *message)
{
	return 640 + message->headers.bytes + message->headers.count * 6ul + message->recipient_count * 48ul;
}

enum rc envelope_write(const struct message *message, struct str *str)
{
	struct writer w = {.str = str, .message = message};
	const struct client *client = message->client;

	if (!one_line(message->sender))
		return FAIL;
	(void)str_reserve(str, size_guess(message));
	str_add(str, message_id_slice(&message->id));
	str_add(str, SLICE("-H\n"));
	if (client && client->login.len)
		add_value(str, client->login);
	else
		str_add(str, SLICE("exim"));
	str_addc(str, ' ');
	add_i(str, client ? (int32_t)client->uid : 0);
	str_addc(str, ' ');
	add_i(str, client ? (int32_t)client->gid : 0);
	str_add(str, SLICE("\n<"));
	str_add(str, message->sender);
	str_add(str, SLICE(">\n"));
	str_addu(str, message->received / NS_PER_S);
	str_addc(str, ' ');
	str_addu(str, message->warning_count);
	str_addc(str, '\n');
	option_lines(&w);
	if (!nonrecipients(str, message))
		return DEFER;
	str_addu(str, message->recipient_count);
	str_addc(str, '\n');
	for (uint32_t i = 0; i < message->recipient_count; i++)
		if (!add_recipient(str, &message->recipients[i]))
			return FAIL;
	str_addc(str, '\n');
	add_headers(str, &message->headers);
	return str->failed ? DEFER : OK;
}
