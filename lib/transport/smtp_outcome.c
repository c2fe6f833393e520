/* From a batch to a transaction's parameters, and from replies back to outcomes; for smtp and lmtp. */
#include "filter.h"
#include "smtp.h"

#include <errno.h>

enum {
	DSN_LASTHOP = 1,
	DSN_NEVER = 2,
	DSN_SUCCESS = 4,
	DSN_FAILURE = 8,
	DSN_DELAY = 16
}; /* address->dsn_flags */

static bool hands_dsn_on(const struct address *address, unsigned extensions)
{
	return (extensions & SMTP_EXT_DSN) && !(address->dsn_flags & DSN_LASTHOP) &&
	       !(address->router && address->router->dsn_lasthop);
}

/* " NOTIFY=... ORCPT=..." (RFC 3461 sections 4.1 and 4.2). */
static void add_dsn(struct str *out, const struct address *address)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {{DSN_SUCCESS, "SUCCESS"}, {DSN_FAILURE, "FAILURE"}, {DSN_DELAY, "DELAY"}};
	char separator = '=';

	if (address->dsn_flags & DSN_NEVER) {
		str_addz(out, " NOTIFY=NEVER");
	} else if (address->dsn_flags & (DSN_SUCCESS | DSN_FAILURE | DSN_DELAY)) {
		str_addz(out, " NOTIFY");
		for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
			if (address->dsn_flags & words[i].bit) {
				str_addc(out, separator);
				str_addz(out, words[i].word);
				separator = ',';
			}
	}
	if (address->orcpt.len) {
		str_addz(out, " ORCPT=");
		str_add(out, address->orcpt);
	}
}

struct slice smtp_rcpt_parameters(struct arena *arena, const struct transport *transport,
				  const struct address *address, unsigned extensions)
{
	struct str out = str_make(arena);
	struct slice s;

	if (transport->ignore_quota && (extensions & SMTP_EXT_IGNOREQUOTA))
		str_addz(&out, " IGNOREQUOTA");
	if (hands_dsn_on(address, extensions))
		add_dsn(&out, address);
	s = str_slice(&out);
	return s.ptr ? s : SLICE_EMPTY;
}

/* " AUTH=": who the message is from, in the words of authenticated_sender (RFC 4954 section 5). */
static enum rc add_auth(struct scope *sc, const struct transport *transport, unsigned extensions,
			struct str *out, struct err *err)
{
	const struct smtp_transport *s = (const struct smtp_transport *)transport;
	struct slice sender;
	enum rc rc;

	if (!transport_is_smtp(transport) || !(extensions & SMTP_EXT_AUTH) ||
	    !((extensions & SMTP_EXT_AUTHENTICATED) || s->authenticated_sender_force))
		return OK;
	sender = sc->message->auth_sender.ptr ? sc->message->auth_sender : SLICE_EMPTY;
	if (!sender.len && sc->message->client)
		sender = sc->message->client->authenticated_sender;
	if (s->authenticated_sender) {
		rc = expand_option(sc, s->authenticated_sender, &sender, err);
		if (rc != OK)
			return rc == FAIL ? DEFER : rc;
	}
	if (sender.len == 0)
		return OK;
	str_addz(out, " AUTH=");
	for (uint32_t i = 0; i < sender.len; i++) {
		unsigned char c = (unsigned char)sender.ptr[i];
		if (c <= ' ' || c > '~' || c == '+' || c == '=')
			str_printf(out, "+%02X", c);
		else
			str_addc(out, (char)c);
	}
	return OK;
}

enum rc smtp_mail_parameters(struct scope *sc, const struct transport *transport, unsigned extensions,
			     struct slice *ret, struct err *err)
{
	const struct message *message = sc->message;
	struct str out = str_make(sc->task->arena);
	enum rc rc = add_auth(sc, transport, extensions, &out, err);

	if (rc != OK)
		return rc;
	if ((extensions & SMTP_EXT_DSN) && message->dsn_ret)
		str_printf(&out, " RET=%s", message->dsn_ret == 2 ? "HDRS" : "FULL");
	if ((extensions & SMTP_EXT_DSN) && message->dsn_envid.len) {
		str_addz(&out, " ENVID=");
		str_add(&out, message->dsn_envid);
	}
	*ret = str_slice(&out);
	return ret->ptr ? OK : err_memory(err);
}

/* A domain in A-labels instead of UTF-8 (RFC 5890). A local part has no such form: it stays, and the address then fails
 * where UTF-8 is not taken. */
static struct slice downconvert(struct arena *arena, struct slice address)
{
	ptrdiff_t at = slice_rfind(address, '@');
	struct err err = err_make(NULL);
	struct slice domain, whole;

	if (ascii_only(address) || at < 0 ||
	    domain_to_ascii(arena, slice_from(address, (size_t)at + 1), &domain, &err) != OK)
		return address;
	whole = arena_printf(arena, "%.*s@%.*s", (int)at, address.ptr, SLICE_ARG(domain));
	return whole.ptr ? slice_tainted(whole) : address;
}

/* utf8_downconvert: for this host, now? The transport's option, or, where that is empty, what an ACL's control said. */
static enum rc wants_downconvert(struct scope *sc, const struct transport *transport, unsigned extensions,
				 bool *ret, struct err *err)
{
	struct slice text = SLICE_EMPTY;
	int64_t value = sc->message->utf8_downconvert, number;
	enum rc rc = OK;

	if ((sc->message->smtputf8 || value) && transport_is_smtp(transport))
		rc = expand_option(sc, ((const struct smtp_transport *)transport)->utf8_downconvert, &text,
				   err);
	if (rc == OK && parse_i64(slice_trim(text), &number))
		value = number;
	*ret = value == 1 || (value == -1 && !(extensions & SMTP_EXT_UTF8));
	return rc == FAIL ? DEFER : rc;
}

static enum rc fill_recipients(struct scope *sc, const struct transport *transport,
			       struct address **addresses, unsigned count, unsigned extensions,
			       struct smtp_transaction *t, struct err *err)
{
	struct arena *arena = sc->task->arena;

	t->recipients = arena_array(arena, struct smtp_recipient, count);
	if (!t->recipients)
		return err_memory(err);
	t->recipient_count = count;
	for (unsigned i = 0; i < count; i++) {
		t->recipients[i].address = rcpt_address(arena, transport, addresses[i]);
		t->recipients[i].parameters =
		    smtp_rcpt_parameters(arena, transport, addresses[i], extensions);
		t->recipients[i].user = addresses[i];
	}
	return OK;
}

enum rc smtp_fill_transaction(struct scope *sc, const struct transport *transport,
			      const struct delivery *delivery, struct address **addresses, unsigned count,
			      unsigned extensions, struct smtp_transaction *t, struct err *err)
{
	bool convert, filtered;
	enum rc rc;

	*t = (struct smtp_transaction){.sender = SLICE_EMPTY,
				       .message = transport->headers_only ? NULL : sc->message};
	rc = delivery_return_path(sc, transport, &t->sender, err);
	if (rc == OK)
		rc = filter_wire(sc, transport, delivery, &filtered, &t->headers, err);
	if (rc == OK && filtered)
		t->message = NULL; /* the body is in what the filter gave */
	else if (rc == OK)
		rc = compose_headers(sc, transport, delivery, true, &t->headers, err);
	if (rc == OK && transport_is_smtp(transport))
		rc = smtp_sign(sc, (const struct smtp_transport *)transport, t, err);
	if (rc == OK)
		rc = fill_recipients(sc, transport, addresses, count, extensions, t, err);
	if (rc == OK)
		rc = smtp_mail_parameters(sc, transport, extensions, &t->mail_parameters, err);
	if (rc == OK)
		rc = wants_downconvert(sc, transport, extensions, &convert, err);
	if (rc != OK)
		return rc;
	if (convert) {
		t->sender = downconvert(sc->task->arena, t->sender);
		for (unsigned i = 0; i < count; i++)
			t->recipients[i].address = downconvert(sc->task->arena, t->recipients[i].address);
	}
	t->smtputf8 = sc->message->smtputf8 && !convert;
	t->size = t->headers.len + (t->message ? t->message->body.size : 0);
	t->body_8bit = sc->message->body_8bit == 8;
	return OK;
}

/* Numbers that the log shows for failures that are no system call's, as administrators know them. */
enum { SHOW_LOST = -18, SHOW_RCPT_4XX = -44, SHOW_MAIL_4XX = -45, SHOW_DATA_4XX = -46 };

/* What went wrong, in the classes of retry rules. */
static void classify(struct delivery_outcome *outcome, const struct smtp_reply *reply)
{
	bool rcpt = slice_search(reply->command, SLICE("RCPT")) >= 0,
	     mail = slice_search(reply->command, SLICE("MAIL")) >= 0;

	if (slice_starts(reply->command, SLICE("AUTH")) ||
	    slice_starts(reply->command, SLICE("authentication"))) {
		outcome->scope = DEFER_HOST;
		outcome->basic_errno_more = reply->code;
		outcome->os = reply->code ? 0 : outcome->os;
		outcome->error = RETRY_ERROR_AUTH;
		return;
	}
	if (slice_starts(reply->command, SLICE("STARTTLS"))) { /* it was required, and came to nothing */
		outcome->scope = DEFER_HOST;
		outcome->basic_errno_more = reply->code;
		outcome->error = RETRY_ERROR_TLS;
		return;
	}
	if (reply->code == 0) {
		outcome->scope = DEFER_HOST;
		outcome->connecting = reply->connecting;
		outcome->error = outcome->os == ETIMEDOUT                            ? RETRY_ERROR_TIMEOUT
				 : outcome->os == ECONNREFUSED                       ? RETRY_ERROR_REFUSED
				 : outcome->os == ECONNRESET || outcome->os == EPIPE ? RETRY_ERROR_LOST
										     : RETRY_ERROR_CONNECT;
		if (outcome->error == RETRY_ERROR_LOST && !reply->connecting)
			outcome->os = SHOW_LOST;
		return;
	}
	outcome->basic_errno_more = reply->code;
	outcome->os = rcpt ? SHOW_RCPT_4XX : mail ? SHOW_MAIL_4XX : SHOW_DATA_4XX;
	if (slice_eq(reply->command, SLICE("initial connection")) ||
	    slice_search(reply->command, SLICE("HLO ")) >= 0 || slice_starts(reply->command, SLICE("HELO ")))
		outcome->os = 0;
	if (slice_eq(reply->command, SLICE("initial connection")) || reply->code == 421 ||
	    slice_search(reply->command, SLICE("HLO ")) >= 0 ||
	    slice_starts(reply->command, SLICE("HELO "))) {
		outcome->scope = DEFER_HOST;
		outcome->error = RETRY_ERROR_CONNECT;
	} else if (rcpt) {
		outcome->scope = DEFER_ADDRESS;
		outcome->error = RETRY_ERROR_RCPT_4XX;
	} else {
		outcome->scope = DEFER_MESSAGE;
		outcome->error = mail ? RETRY_ERROR_MAIL_4XX : RETRY_ERROR_DATA_4XX;
	}
}

void smtp_set_outcome(struct scope *sc, struct delivery_outcome *outcome, enum rc rc,
		      const struct smtp_reply *reply, const struct host_item *host, const struct err *err)
{
	struct slice text;

	outcome->rc = rc;
	outcome->os = err && reply->code == 0 ? err->os : 0;
	outcome->reply_text = reply->text;
	outcome->error = RETRY_ERROR_NONE;
	outcome->connecting = false;
	if (host)
		outcome->host = *host;
	if (rc == OK) {
		outcome->message = reply->text; /* the confirmation */
		return;
	}
	classify(outcome, reply);
	if (reply->code)
		text = arena_printf(sc->task->arena, "SMTP error from remote mail server after %.*s: %.*s",
				    SLICE_ARG(reply->command), SLICE_ARG(reply->text));
	else if (reply->text.len)
		text = reply->text;
	else
		text = err && err->text.len ? err->text : SLICE("the connection was lost");
	outcome->message = text.ptr ? text : SLICE("out of memory");
	outcome->message.taint = TAINTED;
	outcome->user_message = outcome->message;
}
