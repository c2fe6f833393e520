/* cmd_data: DATA (RFC 5321 section 4.1.1.4) and BDAT (RFC 3030). Both end in message_finish(). */
#include "session.h"
#include "receive.h"

enum data_begin { DATA_GO, DATA_REFUSED, DATA_OVER };

/* The predata ACL, and what the message is received into. Refused, which leaves the transaction as it was, or over: answered.
 * *text_ret: what the ACL has to say to a client that may go on. */
static enum data_begin data_begin(struct smtp_session *s, struct slice *text_ret)
{
	struct transaction *t = s->transaction;
	struct message *m = t->message;
	struct acl_outcome outcome;
	struct err err;

	if (t->too_many && s->options->recipients_max_reject) {
		reply(s, 554, "5.5.3", SLICE("Too many recipients"));
		return DATA_OVER;
	}
	m->received = shard_wall_exact(s->server->shard);
	(void)session_scope(s);
	if (s->options->acl[ACL_WHERE_PREDATA]) {
		if (!acl_verdict(s, ACL_WHERE_PREDATA, session_acl(s, ACL_WHERE_PREDATA, &outcome, &err),
				 &outcome, &err, NULL, SLICE_EMPTY))
			return DATA_REFUSED;
		if (outcome.user_message.ptr)
			*text_ret = outcome.user_message;
	}
	m->id = message_id_next(&s->server->ids, m->received);
	lookup_results_clear(&s->lookup_results);
	t->receive = receive_new(s);
	if (!t->receive) {
		reply(s, 452, "4.3.1", SLICE("out of memory, please try again later"));
		return DATA_OVER;
	}
	return DATA_GO;
}

static void data_lost(struct smtp_session *s, enum receive_end end)
{
	const char *part = s->transaction->receive && s->transaction->receive->in_header ? " (header)" : "";

	s->over = s->end_told = true;
	if (end == RECEIVE_CANCELLED)
		return;
	if (end == RECEIVE_TIMEOUT) {
		tally_up(&s->server->metrics->timeouts);
		s->notquit_reason = "data-timeout";
		log_session(s, LOG_TO_MAIN,
			    "SMTP data timeout (message abandoned) on connection from %.*s F=<%.*s>%.*s",
			    SLICE_ARG(client_caller(s)), SLICE_ARG(s->transaction->message->sender),
			    SLICE_ARG(session_duration(s)));
		replyf(s, 421, "4.4.2", "%.*s SMTP incoming data timeout - closing connection.",
		       SLICE_ARG(conf_main(s->conf)->primary_hostname));
		return;
	}
	tally_up(&s->server->metrics->lost);
	s->notquit_reason = "connection-lost";
	if (log_wants(s->conf, LOG_LOST_INCOMING_CONNECTION) || log_wants(s->conf, LOG_SMTP_CONNECTION))
		log_printf(s->server->shard, s->conf, LOG_TO_MAIN,
			   part[0] ? NULL : &s->transaction->message->id,
			   "%.*s lost while reading message data%s", SLICE_ARG(client_connection(s)), part);
}

void cmd_data(struct smtp_session *s)
{
	struct transaction *t = s->transaction;
	struct slice text = SLICE("Enter message, ending with \".\" on a line by itself");
	enum receive_end end;

	switch (data_begin(s, &text)) {
	case DATA_OVER:
		transaction_end(s);
		return;
	case DATA_REFUSED:
		return;
	case DATA_GO:
		break;
	}
	onward_data(s, t->receive);
	reply_user(s, 354, NULL, text);
	reply_flush(s);
	if (s->over)
		return;
	end = receive_data(s, t->receive);
	if (end != RECEIVE_DONE) {
		data_lost(s, end);
		return;
	}
	message_finish(s, t->receive);
	lookup_results_clear(&s->lookup_results);
	transaction_end(s);
}

/* ---- BDAT ------------------------------------------------------------------------------------------------------ */

static bool chunk_parse(struct slice argument, uint64_t *size_ret, bool *last_ret)
{
	struct slice size, last, junk;

	if (!slice_word(&argument, &size) || !parse_u64(size, size_ret))
		return false;
	*last_ret = slice_word(&argument, &last);
	return (!*last_ret || slice_eq_nocase(last, SLICE("LAST"))) && !slice_word(&argument, &junk);
}

/* The chunk is there and has to be read, though nobody wants it. So much is read out of courtesy; a client that
 * announces more is cut off. */
static void chunk_skip(struct smtp_session *s, uint64_t size)
{
	uint64_t patience = s->size_max ? s->size_max : 1ull << 30;
	enum receive_end end;

	reply_flush(s);
	if (s->over)
		return;
	if (size > patience) {
		s->notquit_reason = "bad-commands";
		s->over = true;
		return;
	}
	end = receive_skip(s, size);
	if (end != RECEIVE_DONE) {
		s->over = true;
		s->notquit_reason = end == RECEIVE_TIMEOUT ? "data-timeout" : "connection-lost";
	}
}

static void chunk_refused(struct smtp_session *s, uint64_t size, bool last)
{
	chunk_skip(s, size);
	if (s->transaction) {
		if (s->transaction->receive)
			receive_cancel(s->transaction->receive);
		s->transaction->receive = NULL;
	}
	if (last)
		transaction_end(s);
	else if (s->state > STATE_READY)
		s->state = STATE_BROKEN;
}

void cmd_bdat(struct smtp_session *s, struct slice argument)
{
	struct transaction *t = s->transaction;
	enum receive_end end;
	struct slice text; /* BDAT has no reply before the data */
	uint64_t size;
	bool last, wanted = false;

	if (!chunk_parse(argument, &size, &last)) {
		/* Without a size nobody can tell where the chunk ends and the next command begins. */
		reply_error(s, 501, "5.5.4", "missing or malformed size for BDAT command");
		s->notquit_reason = "bad-commands";
		s->over = true;
		return;
	}
	if (!s->chunking_ok)
		reply_error(s, 503, "5.5.1", "BDAT command used when CHUNKING not advertised");
	else if (s->state == STATE_BROKEN)
		reply_error(s, 503, "5.5.1", "only RSET accepted now");
	else if (s->state != STATE_RCPT && s->state != STATE_CHUNK)
		reply_no_rcpt(s, "BDAT");
	else
		wanted = s->state == STATE_CHUNK || data_begin(s, &text) == DATA_GO;
	if (t)
		cutthrough_cancel(t->message); /* in chunks it takes the ordinary way */
	if (!wanted) {
		chunk_refused(s, size, last);
		return;
	}
	if (s->size_max && (size > s->size_max || t->receive->size > s->size_max - size)) {
		log_session(s, LOG_TO_MAIN | LOG_TO_REJECT, "rejected BDAT%.*s: message too big",
			    SLICE_ARG(client_phrase(s)));
		reply(s, 552, "5.3.4", SLICE("Message size exceeds maximum permitted"));
		chunk_refused(s, size, last);
		return;
	}
	t->chunk_left = UINT64_MAX; /* for the log: the message came in chunks */
	s->state = STATE_CHUNK;
	reply_flush(s);
	if (s->over)
		return;
	end = receive_chunk(s, t->receive, size);
	if (end != RECEIVE_DONE) {
		data_lost(s, end);
		return;
	}
	if (!last) {
		replyf(s, 250, "2.0.0", "%llu byte chunk received", (unsigned long long)size);
		return;
	}
	message_finish(s, t->receive);
	lookup_results_clear(&s->lookup_results);
	transaction_end(s);
}
