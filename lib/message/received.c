/* The Received: field of a message (RFC 5321 section 4.4), for the case that received_header_text is what it is by default:
 * the same text as that option gives when it is expanded, without an expansion for every message. */
#include "message/internal.h"

#define DATE_LEN 31 /* "Sat, 21 Nov 2026 10:00:00 +0000" */

static void add_from(struct str *str, const struct client *client, bool with_port)
{
	struct slice host = client_rcvhost(client, str->arena, with_port);

	if (!host.ptr) {
		str->failed = true;
		return;
	}
	if (host.len) {
		str_add(str, SLICE("from "));
		str_add(str, host);
		str_add(str, SLICE("\n\t"));
		return;
	}
	if (client->ident.len) {
		str_add(str, SLICE("from "));
		str_add(str, local_part_quote(str->arena, client->ident));
		str_addc(str, ' ');
	}
	if (client->helo.len) {
		str_add(str, SLICE("(helo="));
		str_add(str, client->helo);
		str_add(str, SLICE(")\n\t"));
	}
}

enum rc received_default(const struct message *message, const struct client *client,
			 const struct conf_main *conf, struct slice sender, bool with_port, struct str *str)
{
	struct slice protocol = message->protocol;

	(void)str_reserve(str, 400);
	str_add(str, SLICE("Received: "));
	if (client)
		add_from(str, client, with_port);
	str_add(str, SLICE("by "));
	str_add(str, conf->primary_hostname);
	str_addc(str, ' ');
	if (!protocol.len && client)
		protocol = client->protocol_base;
	if (protocol.len) {
		str_add(str, SLICE("with "));
		str_add(str, protocol);
		str_addc(str, ' ');
	}
	if (client && client->tls_version.len) {
		str_add(str, SLICE(" ("));
		str_add(str, client->tls_version);
		str_addc(str, ')');
	}
	if (client && client->tls_cipher_std.len) {
		str_add(str, SLICE(" tls "));
		str_add(str, client->tls_cipher_std);
		str_add(str, SLICE("\n\t"));
	}
	str_add(str, SLICE("(Exim "));
	str_add(str, version_number(conf));
	str_add(str, SLICE(")\n\t"));
	if (sender.len) {
		str_add(str, SLICE("(envelope-from <"));
		str_add(str, sender);
		str_add(str, SLICE(">)\n\t"));
	}
	str_add(str, SLICE("id "));
	str_add(str, message_id_slice(&message->id));
	/* Only where there is one, since it shows up in what all of them get. */
	if (message->recipient_count == 1) {
		str_add(str, SLICE("\n\tfor "));
		str_add(str, message->recipients[0].address);
	}
	return str->failed ? DEFER : OK;
}

struct header *received_make(struct message *message, struct slice text, uint64_t seconds)
{
	struct str str = str_make(&message->arena);
	struct slice whole;

	(void)str_reserve(&str, text.len + DATE_LEN + 4ul);
	str_add(&str, text);
	str_add(&str, SLICE(";\n\t"));
	date_rfc5322(&str, seconds);
	str_addc(&str, '\n');
	whole = str_slice(&str);
	return whole.ptr ? header_place(&message->arena, whole) : NULL;
}

void received_set_time(struct message *message, struct header *header, uint64_t seconds)
{
	struct str str = str_make(&message->arena);

	date_rfc5322(&str, seconds);
	/* The bytes are the message's own, see received_make(). */
	if (!str.failed && str.len == DATE_LEN && header->text.len > DATE_LEN + 1)
		memcpy((char *)header->text.ptr + header->text.len - DATE_LEN - 1, str.ptr, DATE_LEN);
}
