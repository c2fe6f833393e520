/* One message over a connection: MAIL, RCPT, then DATA with dots stuffed or BDAT with the bytes as they are; in one write
 * where the server allows (RFC 2920, 3030). */
#include "connection.h"

#define RCPT_GROUP_MAX \
	100 /* commands sent before replies are read: keeps both sides' buffers from filling up */
#define EAGER_BDAT_MAX \
	(64 * 1024) /* message bytes sent along with the envelope, before it is known to be accepted */
#define IOV_MAX_OUT 64

struct exchange {
	struct scope *sc;
	struct task *task;
	struct smtp_connection *c;
	struct smtp_transaction *t;
	struct err *err;
	bool pipelining, chunking;
	bool data_sent_eagerly; /* BDAT with the whole message went out with the envelope */
	bool data_asked;        /* DATA went out with the envelope */
	bool rset_sent;
	unsigned accepted; /* recipients with 2yz */
	bool *sent;        /* per recipient: RCPT went out, a reply is due */
};

/* ---- What goes into a command --------------------------------------------------------------------------------- */

bool smtp_path_is_safe(struct slice address)
{
	for (uint32_t i = 0; i < address.len; i++)
		if ((unsigned char)address.ptr[i] < ' ' || address.ptr[i] == 0x7f || address.ptr[i] == '<' ||
		    address.ptr[i] == '>')
			return false;
	return true;
}

static bool parameters_are_safe(struct slice text)
{
	for (uint32_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < ' ' || (unsigned char)text.ptr[i] >= 0x7f)
			return false;
	return true;
}

static bool needs_utf8(const struct smtp_transaction *t)
{
	if (!ascii_only(t->sender))
		return true;
	for (unsigned i = 0; i < t->recipient_count; i++)
		if (!ascii_only(t->recipients[i].address))
			return true;
	return t->smtputf8;
}

static void add_mail(struct exchange *x, struct str *out)
{
	const struct smtp_transaction *t = x->t;
	unsigned offered = x->c->offer.extensions;

	str_addz(out, "MAIL FROM:<");
	str_add(out, t->sender);
	str_addc(out, '>');
	if ((offered & SMTP_EXT_SIZE) && t->size > 0) {
		str_addz(out, " SIZE=");
		str_addu(out, t->size);
	}
	if ((offered & SMTP_EXT_8BITMIME) && t->body_8bit)
		str_addz(out, " BODY=8BITMIME");
	if ((offered & SMTP_EXT_UTF8) && needs_utf8(t))
		str_addz(out, " SMTPUTF8");
	str_add(out, t->mail_parameters);
}

static void add_rcpt(const struct smtp_recipient *recipient, struct str *out)
{
	str_addz(out, "RCPT TO:<");
	str_add(out, recipient->address);
	str_addc(out, '>');
	str_add(out, recipient->parameters);
}

/* The command as logs and bounces show it. "pipelined" tells that the trouble may be an earlier command's: with MAIL, and
 * where the connection ends; a reply to RCPT is about that recipient. */
static struct slice shown_mail(struct exchange *x)
{
	struct str text = str_make(x->task->arena);
	struct slice s;

	if (x->pipelining)
		str_addz(&text, "pipelined ");
	add_mail(x, &text);
	s = str_slice(&text);
	return s.ptr ? s : SLICE("MAIL");
}

static struct slice shown_rcpt(struct exchange *x, const struct smtp_recipient *recipient, bool pipelined)
{
	struct str text = str_make(x->task->arena);
	struct slice s;

	if (pipelined)
		str_addz(&text, "pipelined ");
	str_addz(&text, "RCPT TO:<");
	str_add(&text, recipient->address);
	str_addc(&text, '>');
	s = str_slice(&text);
	return s.ptr ? s : SLICE("RCPT");
}

/* ---- Outcomes -------------------------------------------------------------------------------------------------- */

static enum rc judge(int code)
{
	return code / 100 == 2 ? OK : code / 100 == 5 ? FAIL : DEFER;
}

/* For every recipient that is still hoped for. */
static void settle_all(struct exchange *x, enum rc rc, const struct smtp_reply *reply)
{
	for (unsigned i = 0; i < x->t->recipient_count; i++)
		if (x->t->recipients[i].rc == OK) {
			x->t->recipients[i].rc = rc;
			x->t->recipients[i].reply = *reply;
		}
	x->t->reply = *reply;
	x->t->rc = rc;
}

/* The connection is gone, or of no more use, in the middle. */
static enum rc give_up(struct exchange *x, enum rc rc, const struct smtp_reply *reply)
{
	x->c->dead = true;
	settle_all(x, DEFER, reply);
	return rc == CANCELLED ? CANCELLED : DEFER;
}

static enum rc read_reply(struct exchange *x, int64_t timeout_ms, struct slice command,
			  struct smtp_reply *reply)
{
	enum rc rc = connection_read(x->task, x->c, timeout_ms, command, reply, x->err);

	if (rc == OK)
		x->t->any_reply = true;
	return rc;
}

/* ---- The message text ---------------------------------------------------------------------------------------------- */

static uint64_t text_size(const struct smtp_transaction *t)
{
	return t->headers.len + (t->message ? t->message->body.size : 0);
}

/* Pieces on their way out, gathered so that a small message is one write. */
struct gather {
	struct exchange *x;
	struct iovec iov[IOV_MAX_OUT];
	unsigned count;
};

static enum rc gather_flush(struct gather *g)
{
	enum rc rc = OK;

	if (g->count > 0)
		rc = connection_write(g->x->task, g->x->c, g->iov, g->count, g->x->c->data_timeout_ms,
				      SLICE("message data"), g->x->err);
	g->count = 0;
	return rc;
}

static enum rc gather_add(struct gather *g, struct slice piece)
{
	enum rc rc;

	if (piece.len == 0)
		return OK;
	if (g->count == IOV_MAX_OUT) {
		rc = gather_flush(g);
		if (rc != OK)
			return rc;
	}
	g->iov[g->count++] = (struct iovec){(void *)(uintptr_t)piece.ptr, piece.len};
	return OK;
}

static enum rc gather_stuffed(struct gather *g, struct dot_stuffer *stuffer, struct slice piece)
{
	enum rc rc;

	while (piece.len > 0) {
		if (g->count > IOV_MAX_OUT - 2) {
			rc = gather_flush(g);
			if (rc != OK)
				return rc;
		}
		g->count += dot_stuffer_next(stuffer, &piece, g->iov + g->count, IOV_MAX_OUT - g->count);
	}
	return OK;
}

/* The whole text behind what is gathered already. stuffer NULL: BDAT, as it is, and exactly as long as was announced. */
static enum rc send_text(struct gather *g, struct dot_stuffer *stuffer)
{
	struct smtp_transaction *t = g->x->t;
	struct body_reader reader;
	struct slice piece;
	uint64_t sent = t->headers.len;
	bool from_disk = t->message && !t->message->body.in_memory;
	enum rc rc = stuffer ? gather_stuffed(g, stuffer, t->headers) : gather_add(g, t->headers);

	if (rc != OK || !t->message)
		return rc;
	body_reader_init(&reader, t->message);
	while ((rc = body_next(g->x->task, &reader, &piece, g->x->err)) == OK) {
		sent += piece.len;
		if (!stuffer && sent > text_size(t))
			break;
		rc = stuffer ? gather_stuffed(g, stuffer, piece) : gather_add(g, piece);
		/* A piece from the disk is valid only until the next one is asked for. */
		if (rc == OK && from_disk)
			rc = gather_flush(g);
		if (rc != OK)
			return rc;
	}
	if (rc == FAIL && sent == text_size(t)) {
		t->sent = sent;
		return OK;
	}
	/* Neither a shortened message nor a BDAT that lacks bytes may be ended as if it were whole. */
	g->x->c->dead = true;
	if (rc == FAIL || rc == OK)
		return err_set(g->x->err, DEFER, "the message body is not as long as it was");
	return rc;
}

/* ---- Envelope ---------------------------------------------------------------------------------------------------------- */

/* Recipients that cannot be put into a command fail here; MAIL cannot go without a safe sender. false: nothing to send. */
static bool check_envelope(struct exchange *x)
{
	struct smtp_transaction *t = x->t;
	struct smtp_reply reply = {.text = SLICE("the address cannot be sent over SMTP"),
				   .command = SLICE("MAIL")};
	unsigned left = 0;

	for (unsigned i = 0; i < t->recipient_count; i++) {
		struct smtp_recipient *recipient = &t->recipients[i];
		recipient->rc = OK;
		recipient->reply = (struct smtp_reply){.text = SLICE_EMPTY, .command = SLICE("RCPT")};
		if (!smtp_path_is_safe(recipient->address) || !parameters_are_safe(recipient->parameters)) {
			recipient->rc = FAIL;
			recipient->reply = reply;
		} else {
			left++;
		}
	}
	if (!smtp_path_is_safe(t->sender) || !parameters_are_safe(t->mail_parameters)) {
		settle_all(x, FAIL, &reply);
		return false;
	}
	if (needs_utf8(t) && !(x->c->offer.extensions & SMTP_EXT_UTF8)) {
		/* RFC 6531 section 3.5: such a message may not be sent without the extension */
		reply.text = SLICE("mail is internationalized, but SMTPUTF8 is not supported by the host");
		settle_all(x, FAIL, &reply);
		return false;
	}
	if (left == 0)
		t->rc = FAIL;
	return left > 0;
}

static bool sendable(const struct smtp_recipient *recipient)
{
	return recipient->reply.text.len == 0;
}

/* Reads MAIL's reply. *go_ret false: the whole transaction is settled, though replies that are under way must be read. */
static enum rc read_mail(struct exchange *x, bool *go_ret)
{
	struct smtp_reply reply;
	enum rc rc = read_reply(x, x->c->command_timeout_ms, shown_mail(x), &reply);

	*go_ret = false;
	if (rc != OK)
		return give_up(x, rc, &reply);
	x->c->in_transaction = judge(reply.code) == OK;
	*go_ret = x->c->in_transaction;
	if (!*go_ret)
		settle_all(x, judge(reply.code), &reply);
	if (x->c->dead)
		return give_up(x, DEFER, &reply);
	return OK;
}

static enum rc read_rcpt(struct exchange *x, struct smtp_recipient *recipient, bool mail_accepted)
{
	struct smtp_reply reply;
	enum rc rc = read_reply(x, x->c->command_timeout_ms, shown_rcpt(x, recipient, x->pipelining), &reply);

	if (rc != OK)
		return give_up(x, rc, &reply);
	reply.command = shown_rcpt(x, recipient, false);
	if (mail_accepted) {
		recipient->reply = reply;
		recipient->rc = judge(reply.code);
		x->accepted += recipient->rc == OK;
	}
	return x->c->dead ? give_up(x, DEFER, &reply) : OK;
}

/* Sends one command line built in out, if anything is there. */
static enum rc flush(struct exchange *x, struct str *out, struct slice command)
{
	struct slice bytes = str_slice(out);
	struct iovec iov = {(void *)(uintptr_t)bytes.ptr, bytes.len};
	enum rc rc;

	if (debug_on(DEBUG_TRANSPORT | DEBUG_V))
		connection_tell("SMTP>>", bytes);
	if (!bytes.ptr)
		rc = err_memory(x->err);
	else
		rc = bytes.len
			 ? connection_write(x->task, x->c, &iov, 1, x->c->command_timeout_ms, command, x->err)
			 : OK;
	str_clear(out);
	if (rc != OK) {
		struct smtp_reply none = {.text = SLICE_EMPTY, .command = command};
		return give_up(x, rc, &none);
	}
	return OK;
}

static enum rc read_rset(struct exchange *x)
{
	struct smtp_reply reply;
	enum rc rc;

	if (!x->rset_sent)
		return OK;
	x->rset_sent = false;
	rc = read_reply(x, x->c->command_timeout_ms, SLICE("RSET"), &reply);
	if (rc != OK || x->c->dead || judge(reply.code) != OK)
		return give_up(x, rc == OK ? DEFER : rc, &reply);
	return OK;
}

static enum rc envelope_one_by_one(struct exchange *x)
{
	struct str out = str_make(x->task->arena);
	bool go;
	enum rc rc;

	if (x->c->in_transaction) {
		str_addz(&out, "RSET\r\n");
		x->rset_sent = true;
		rc = flush(x, &out, SLICE("RSET"));
		if (rc == OK)
			rc = read_rset(x);
		if (rc != OK)
			return rc;
	}
	add_mail(x, &out);
	str_addz(&out, "\r\n");
	rc = flush(x, &out, shown_mail(x));
	if (rc == OK)
		rc = read_mail(x, &go);
	if (rc != OK || !go)
		return rc;
	for (unsigned i = 0; i < x->t->recipient_count; i++) {
		if (!sendable(&x->t->recipients[i]))
			continue;
		add_rcpt(&x->t->recipients[i], &out);
		str_addz(&out, "\r\n");
		rc = flush(x, &out, shown_rcpt(x, &x->t->recipients[i], false));
		if (rc == OK)
			rc = read_rcpt(x, &x->t->recipients[i], true);
		if (rc != OK)
			return rc;
	}
	return OK;
}

/* May the text follow the envelope at once? Only what is small and at hand, so that a refusal wastes little. */
static bool eager(const struct exchange *x)
{
	return x->chunking && text_size(x->t) <= EAGER_BDAT_MAX &&
	       (!x->t->message || x->t->message->body.in_memory);
}

/* The last group of commands, with DATA or the whole BDAT behind it. */
static enum rc send_last_group(struct exchange *x, struct str *out)
{
	struct gather g = {.x = x};
	struct slice commands;
	struct smtp_reply none = {.text = SLICE_EMPTY, .command = SLICE("envelope")};
	enum rc rc;

	if (x->t->all_or_none) /* not before all have been answered */
		return flush(x, out, SLICE("envelope"));
	if (!x->chunking) {
		str_addz(out, "DATA\r\n");
		x->data_asked = true;
		return flush(x, out, SLICE("envelope"));
	}
	if (!eager(x))
		return flush(x, out, SLICE("envelope"));
	str_printf(out, "BDAT %llu LAST\r\n", (unsigned long long)text_size(x->t));
	commands = str_slice(out);
	x->data_sent_eagerly = true;
	rc = commands.ptr ? gather_add(&g, commands) : err_memory(x->err);
	if (rc == OK)
		rc = send_text(&g, NULL);
	if (rc == OK)
		rc = gather_flush(&g);
	str_clear(out);
	return rc == OK ? OK : give_up(x, rc, &none);
}

static enum rc envelope_pipelined(struct exchange *x)
{
	struct str out = str_make(x->task->arena);
	unsigned next = 0, read = 0, count = x->t->recipient_count;
	bool go = true, mail_read = false;
	enum rc rc;

	if (x->c->in_transaction) {
		str_addz(&out, "RSET\r\n");
		x->rset_sent = true;
	}
	add_mail(x, &out);
	str_addz(&out, "\r\n");
	do {
		for (unsigned group = 0; next < count && group < RCPT_GROUP_MAX; next++, group++)
			if (sendable(&x->t->recipients[next])) {
				add_rcpt(&x->t->recipients[next], &out);
				str_addz(&out, "\r\n");
				x->sent[next] = true;
			}
		rc = next < count ? flush(x, &out, SLICE("envelope")) : send_last_group(x, &out);
		if (rc == OK)
			rc = read_rset(x);
		if (rc == OK && !mail_read) {
			rc = read_mail(x, &go);
			mail_read = true;
		}
		for (; rc == OK && read < next; read++)
			if (x->sent[read])
				rc = read_rcpt(x, &x->t->recipients[read], go);
	} while (rc == OK && go && next < count);
	return rc;
}

/* ---- After the envelope ----------------------------------------------------------------------------------------------- */

/* SMTP gives one reply for all, LMTP one for each accepted recipient, in order (RFC 2033 section 4.2). */
static enum rc read_final(struct exchange *x, struct slice command)
{
	struct smtp_transaction *t = x->t;
	struct smtp_reply reply;
	bool delivered = false;
	enum rc rc, worst = FAIL;

	x->c->in_transaction = false;
	x->c->messages++;
	if (!x->c->lmtp || x->accepted == 0) {
		rc = read_reply(x, x->c->final_timeout_ms, command, &reply);
		if (rc != OK)
			return give_up(x, rc, &reply);
		if (x->accepted > 0)
			settle_all(x, judge(reply.code), &reply);
		return OK;
	}
	for (unsigned i = 0; i < t->recipient_count; i++) {
		if (t->recipients[i].rc != OK || !x->accepted)
			continue;
		rc = read_reply(x, x->c->final_timeout_ms, command, &reply);
		if (rc != OK) {
			/* Those behind this one are unknown; those before it keep what they were told. */
			for (unsigned k = i; k < t->recipient_count; k++)
				if (t->recipients[k].rc == OK) {
					t->recipients[k].rc = DEFER;
					t->recipients[k].reply = reply;
				}
			t->reply = reply;
			t->rc = delivered ? OK : DEFER;
			return rc == CANCELLED ? CANCELLED : delivered ? OK : DEFER;
		}
		t->recipients[i].rc = judge(reply.code);
		t->recipients[i].reply = reply;
		t->reply = reply;
		delivered |= t->recipients[i].rc == OK;
		if (t->recipients[i].rc == DEFER)
			worst = DEFER;
	}
	t->rc = delivered ? OK : worst;
	return OK;
}

/* DATA was answered; 354 asks for the text, even if by then nobody wants it (RFC 2920 section 3.1). */
static enum rc send_data(struct exchange *x, const struct smtp_reply *data)
{
	struct slice command = SLICE("end of data");
	struct gather g = {.x = x};
	struct dot_stuffer stuffer;
	struct smtp_reply none = {.text = SLICE_EMPTY, .command = SLICE("sending data block")};
	enum rc rc = OK;

	if (data->code != 354) {
		if (data->code / 100 != 4 && data->code / 100 != 5) {
			(void)err_set(x->err, DEFER, "unexpected reply to DATA: %.*s", SLICE_ARG(data->text));
			return give_up(x, DEFER, data);
		}
		if (x->accepted > 0)
			settle_all(x, judge(data->code), data);
		return OK;
	}
	dot_stuffer_init(&stuffer);
	if (x->accepted > 0)
		rc = send_text(&g, &stuffer);
	if (rc == OK)
		rc = gather_add(&g, x->accepted > 0 ? dot_stuffer_end(&stuffer) : SLICE(".\r\n"));
	if (rc == OK)
		rc = gather_flush(&g);
	if (rc != OK)
		return give_up(x, rc, &none);
	if (x->accepted == 0 && x->c->lmtp) {
		x->c->dead = true; /* how many replies now come is anybody's guess */
		return OK;
	}
	return read_final(x, command);
}

static enum rc finish_with_data(struct exchange *x)
{
	struct slice command = x->data_asked ? SLICE("pipelined DATA") : SLICE("DATA");
	struct smtp_reply reply;
	enum rc rc;

	if (x->data_asked)
		rc = read_reply(x, x->c->command_timeout_ms, command, &reply);
	else if (x->accepted == 0)
		return OK;
	else
		rc = connection_command(x->task, x->c, SLICE("DATA"), command, &reply, x->err);
	if (rc != OK)
		return give_up(x, rc, &reply);
	x->t->any_reply = true;
	if (x->c->dead)
		return give_up(x, DEFER, &reply);
	return send_data(x, &reply);
}

static enum rc finish_with_bdat(struct exchange *x)
{
	struct slice command = SLICE("end of data");
	struct str line = str_make(x->task->arena);
	struct gather g = {.x = x};
	struct smtp_reply none = {.text = SLICE_EMPTY, .command = SLICE("sending data block")};
	enum rc rc;

	x->t->used_chunking = true;
	if (x->data_sent_eagerly) {
		rc = read_final(x, command);
		if (x->accepted == 0)
			/* A server that refused the envelope has to swallow the text all the same. One that does not would take
			 * it for commands, and its replies for the next message's. */
			x->c->dead = true;
		return rc;
	}
	if (x->accepted == 0)
		return OK;
	str_printf(&line, "BDAT %llu LAST\r\n", (unsigned long long)text_size(x->t));
	rc = line.failed ? err_memory(x->err) : gather_add(&g, str_slice(&line));
	if (rc == OK)
		rc = send_text(&g, NULL);
	if (rc == OK)
		rc = gather_flush(&g);
	return rc == OK ? read_final(x, command) : give_up(x, rc, &none);
}

/* The envelope is answered: one refusal is everybody's. */
static void refuse_together(struct exchange *x)
{
	struct smtp_transaction *t = x->t;

	for (unsigned i = 0; i < t->recipient_count; i++) {
		struct smtp_reply reply = t->recipients[i].reply;

		if (t->recipients[i].rc == OK)
			continue;
		for (unsigned k = 0; k < t->recipient_count; k++) {
			t->recipients[k].rc = FAIL;
			t->recipients[k].reply = reply;
		}
		x->accepted = 0;
		return;
	}
}

/* What the transaction as a whole came to, when no single reply decided. */
static void summarize(struct smtp_transaction *t)
{
	enum rc rc = FAIL;

	for (unsigned i = 0; i < t->recipient_count && rc != OK; i++)
		if (t->recipients[i].rc == OK || (t->recipients[i].rc == DEFER && rc == FAIL))
			rc = t->recipients[i].rc;
	t->rc = rc;
	if (rc != OK && t->reply.code == 0 && t->recipient_count > 0)
		t->reply = t->recipients[0].reply;
}

enum rc smtp_send(struct scope *sc, struct smtp_connection *c, struct smtp_transaction *t, struct err *err)
{
	struct exchange x = {.sc = sc, .task = sc->task, .c = c, .t = t, .err = err};
	enum rc rc;

	t->reply = (struct smtp_reply){.text = SLICE_EMPTY, .command = SLICE("MAIL")};
	t->rc = DEFER;
	t->any_reply = t->used_chunking = t->used_pipelining = false;
	if (!check_envelope(&x))
		return FAIL;
	x.sent = arena_array(sc->task->arena, bool, t->recipient_count + 1);
	if (!x.sent)
		return err_memory(err);
	x.pipelining = t->used_pipelining =
	    (c->offer.extensions & SMTP_EXT_PIPELINING) && !t->avoid_pipelining;
	/* An imported body with LF line ends is not as long on the wire as it is on the disk. */
	x.chunking = t->allow_chunking && (c->offer.extensions & SMTP_EXT_CHUNKING) &&
		     !(t->message && t->message->body.lf);
	rc = x.pipelining ? envelope_pipelined(&x) : envelope_one_by_one(&x);
	if (rc == OK && t->all_or_none)
		refuse_together(&x);
	if (rc == OK)
		rc = x.chunking ? finish_with_bdat(&x) : finish_with_data(&x);
	if (rc != OK)
		return rc;
	summarize(t);
	return t->rc;
}
