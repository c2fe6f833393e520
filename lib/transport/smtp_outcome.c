/* From a batch to a transaction's parameters, and from replies back to outcomes; for smtp and lmtp. */
#include "smtp.h"

#include <errno.h>

enum { DSN_LASTHOP = 1, DSN_NEVER = 2, DSN_SUCCESS = 4, DSN_FAILURE = 8, DSN_DELAY = 16 }; /* address->dsn_flags */

static bool hands_dsn_on(const struct address *address, unsigned extensions)
{
	return (extensions & SMTP_EXT_DSN) && !(address->dsn_flags & DSN_LASTHOP) &&
	       !(address->router && address->router->dsn_lasthop);
}

/* " NOTIFY=... ORCPT=..." (RFC 3461 sections 4.1 and 4.2). */
static struct slice rcpt_parameters(struct arena *arena, const struct address *address, unsigned extensions)
{
	struct str out = str_make(arena);
	struct slice s;

	if (!hands_dsn_on(address, extensions))
		return SLICE_EMPTY;
	if (address->dsn_flags & DSN_NEVER) {
		str_addz(&out, " NOTIFY=NEVER");
	} else if (address->dsn_flags & (DSN_SUCCESS | DSN_FAILURE | DSN_DELAY)) {
		char separator = '=';
		str_addz(&out, " NOTIFY");
		static const struct {
			unsigned bit;
			const char *word;
		} words[] = {{DSN_SUCCESS, "SUCCESS"}, {DSN_FAILURE, "FAILURE"}, {DSN_DELAY, "DELAY"}};
		for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
			if (address->dsn_flags & words[i].bit) {
				str_addc(&out, separator);
				str_addz(&out, words[i].word);
				separator = ',';
			}
	}
	if (address->orcpt.len) {
		str_addz(&out, " ORCPT=");
		str_add(&out, address->orcpt);
	}
	s = str_slice(&out);
	return s.ptr ? s : SLICE_EMPTY;
}

static struct slice mail_parameters(struct arena *arena, const struct message *message, unsigned extensions)
{
	struct str out = str_make(arena);
	struct slice s;

	if (!(extensions & SMTP_EXT_DSN))
		return SLICE_EMPTY;
	if (message->dsn_ret)
		str_printf(&out, " RET=%s", message->dsn_ret == 2 ? "HDRS" : "FULL");
	if (message->dsn_envid.len) {
		str_addz(&out, " ENVID=");
		str_add(&out, message->dsn_envid);
	}
	s = str_slice(&out);
	return s.ptr ? s : SLICE_EMPTY;
}

enum rc smtp_fill_transaction(struct scope *sc, const struct transport *transport, const struct delivery *delivery,
			      struct address **addresses, unsigned count, unsigned extensions, struct smtp_transaction *t,
			      struct err *err)
{
	struct arena *arena = sc->task->arena;
	enum rc rc;

	*t = (struct smtp_transaction){.sender = SLICE_EMPTY, .message = transport->headers_only ? NULL : sc->message};
	rc = delivery_return_path(sc, transport, &t->sender, err);
	if (rc == OK)
		rc = compose_headers(sc, transport, delivery, true, &t->headers, err);
	if (rc != OK)
		return rc;
	t->recipients = arena_array(arena, struct smtp_recipient, count);
	if (!t->recipients)
		return err_memory(err);
	t->recipient_count = count;
	for (unsigned i = 0; i < count; i++) {
		t->recipients[i].address = rcpt_address(arena, transport, addresses[i]);
		t->recipients[i].parameters = rcpt_parameters(arena, addresses[i], extensions);
		t->recipients[i].user = addresses[i];
	}
	t->mail_parameters = mail_parameters(arena, sc->message, extensions);
	t->size = t->headers.len + (t->message ? t->message->body.size : 0);
	t->body_8bit = sc->message->body_8bit == 8;
	t->smtputf8 = sc->message->smtputf8;
	return OK;
}

/* What went wrong, in the classes of retry rules. */
static void classify(struct delivery_outcome *outcome, const struct smtp_reply *reply)
{
	bool rcpt = slice_search(reply->command, SLICE("RCPT")) >= 0, mail = slice_search(reply->command, SLICE("MAIL")) >= 0;

	if (reply->code == 0) {
		outcome->scope = DEFER_HOST;
		outcome->error = outcome->os == ETIMEDOUT    ? RETRY_ERROR_TIMEOUT :
				 outcome->os == ECONNREFUSED ? RETRY_ERROR_REFUSED :
				 outcome->os == ECONNRESET || outcome->os == EPIPE ? RETRY_ERROR_LOST : RETRY_ERROR_CONNECT;
		return;
	}
	outcome->basic_errno_more = reply->code;
	if (slice_eq(reply->command, SLICE("initial connection")) || reply->code == 421 ||
	    slice_search(reply->command, SLICE("HLO ")) >= 0 || slice_starts(reply->command, SLICE("HELO "))) {
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

void smtp_set_outcome(struct scope *sc, struct delivery_outcome *outcome, enum rc rc, const struct smtp_reply *reply,
		      const struct host_item *host, const struct err *err)
{
	struct slice text;

	outcome->rc = rc;
	outcome->os = err && reply->code == 0 ? err->os : 0;
	outcome->reply_text = reply->text;
	outcome->error = RETRY_ERROR_NONE;
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
