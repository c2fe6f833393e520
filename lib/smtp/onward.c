/* onward: cutthrough delivery as the session sees it: when the next hop is told of a recipient, when the message's text goes
 * on to it, and what its last word means for our client. The hop itself is the transport room's (cutthrough.c there).
 *
 * Nothing of the message is given up for it: header and body stay where an ordinary message has them, so that it can still be
 * committed when the next hop fails. The client hears 250 only when one of the two has taken it. */
#include "session.h"
#include "receive.h"

#define HOP_TIME_MAX_MS (10 * 60 * 1000) /* of one step; the hop's own deadlines are shorter */
#define PIECES_MAX      64

/* ---- RCPT --------------------------------------------------------------------------------------------------------- */

/* The hop's reply as reply_user() takes it: the code once, in front of the first line. */
static struct slice hop_words(struct smtp_session *s, const struct smtp_reply *reply)
{
	struct slice rest = reply->text, line;
	struct str text = str_make(&s->serving->arena);

	if (!reply->code)
		return SLICE_EMPTY;
	for (bool first = true; slice_split(&rest, '\n', &line); first = false) {
		if (!first)
			str_addc(&text, '\n');
		str_add(&text, first ? slice_sub(line, 0, 3) : SLICE_EMPTY);
		str_addz(&text, first ? " " : "");
		str_add(&text, slice_from(line, line.len < 4 ? line.len : 4));
	}
	return text.failed ? SLICE_EMPTY : str_slice(&text);
}

bool onward_recipient(struct smtp_session *s, bool accepted, struct slice recipient)
{
	struct callout_answer answer;
	struct acl_outcome outcome;
	struct err err = err_make(&s->serving->arena);
	enum acl_result result;
	enum rc rc;

	if (!s->transaction->message->next_hop)
		return true;
	session_deadline(s, HOP_TIME_MAX_MS);
	rc = cutthrough_recipient(&s->serving->scope, accepted, &answer, &err);
	if (s->task.cancelled) {
		s->over = true;
		return false;
	}
	if (rc == OK)
		return true;
	acl_outcome_init(&outcome);
	result = rc == FAIL ? ACL_DENY : ACL_DEFER;
	outcome.log_message = err.text;
	/* Why a recipient is refused is told to the log; of a deferral the client hears the hop's own words. */
	if (rc == DEFER && answer.reply.code)
		outcome.user_message = hop_words(s, &answer.reply);
	return acl_verdict(s, ACL_WHERE_RCPT, result, &outcome, &err, "RCPT", recipient);
}

/* ---- The text ----------------------------------------------------------------------------------------------------- */

/* Messages that are not to be delivered now, whatever the hop would say. */
static bool hindered(struct smtp_session *s)
{
	const uint32_t controls =
	    ACL_CONTROL_FREEZE | ACL_CONTROL_QUEUE | ACL_CONTROL_FAKEREJECT | ACL_CONTROL_FAKEDEFER;
	const struct transaction *t = s->transaction;
	struct scope *sc;

	if ((t->controls & controls) || t->discard_all || t->message->queue_only ||
	    t->message->dont_deliver || s->dry_run || s->server->draining || onward_waits(s, t->message))
		return true;
	sc = session_scope(s);
	for (uint32_t i = 0; i < t->message->recipient_count; i++)
		if (deliver_holds(sc, s->server->deliverer, t->message->recipients[i].address))
			return true;
	return false;
}

void onward_data(struct smtp_session *s, struct receive *r)
{
	struct message *m = s->transaction->message;

	if (!cutthrough_wanted(m))
		return;
	if (cutthrough_ready(m) && !hindered(s))
		r->onward = ONWARD_HEADER;
	else
		cutthrough_cancel(m);
}

static void ended(struct smtp_session *s, struct receive *r)
{
	cutthrough_cancel(s->transaction->message);
	r->onward = ONWARD_NOT;
}

/* What of the body has not yet been sent; all of it is still in memory, since this comes before anything is spilled. */
static void send_body(struct smtp_session *s, struct receive *r)
{
	struct message *m = r->message;
	struct err err = err_make(&s->serving->arena);
	uint64_t at = m->body.spilled;

	for (uint32_t i = 0; i < m->body.frag_count && r->onward;) {
		struct slice pieces[PIECES_MAX];
		unsigned count = 0;

		for (; i < m->body.frag_count && count < PIECES_MAX; i++) {
			const struct frag *f = &m->body.frags[i];
			uint64_t skip = r->sent > at ? r->sent - at : 0;

			at += f->len;
			if (skip >= f->len)
				continue;
			pieces[count++] = slice_make(f->ptr + skip, f->len - (uint32_t)skip, TAINTED);
			r->sent = at;
		}
		if (count && cutthrough_body(session_scope(s), pieces, count, &err) != OK)
			ended(s, r);
	}
}

void onward_go(struct smtp_session *s, struct receive *r)
{
	struct err err = err_make(&s->serving->arena);

	if (!r->onward || r->in_header)
		return;
	session_deadline(s, HOP_TIME_MAX_MS);
	if (r->trouble) { /* it will be refused when it has been read to its end */
		ended(s, r);
		return;
	}
	if (r->onward == ONWARD_HEADER) {
		if (!message_header(s, r) || cutthrough_begin(session_scope(s), &err) != OK) {
			ended(s, r);
			return;
		}
		r->onward = ONWARD_BODY;
	}
	send_body(s, r);
}

/* ---- The end ------------------------------------------------------------------------------------------------------- */

/* "H=(name) [ip] address F=<sender> rejected after DATA: R=... T=... H=... C="..."" for each recipient. */
static void log_refused(struct smtp_session *s, const struct delivery *d, const char *what, unsigned where)
{
	struct message *m = s->transaction->message;

	for (unsigned i = d->count; i-- > 0;) {
		struct str line = str_make(&s->serving->arena);

		log_client(&line, s);
		str_addc(&line, ' ');
		deliver_line_address(&line, s->conf, d->addresses[i]);
		str_addz(&line, " F=<");
		str_add(&line, m->sender);
		str_addc(&line, '>');
		str_addz(&line, what);
		deliver_line_facts(&line, s->conf, d->addresses[i], &d->outcomes[i]);
		log_write(s->server->shard, s->conf, where, &m->id, slice_ltrim(str_slice(&line)));
	}
}

static void delivered(struct smtp_session *s, const struct delivery *d)
{
	struct message *m = s->transaction->message;

	for (unsigned i = d->count; i-- > 0;) {
		struct str line = str_make(&s->serving->arena);

		str_addz(&line, ">> ");
		deliver_line_address(&line, s->conf, d->addresses[i]);
		deliver_line_facts(&line, s->conf, d->addresses[i], &d->outcomes[i]);
		if (!d->transport->disable_logging)
			log_write(s->server->shard, s->conf, LOG_TO_MAIN, &m->id, str_slice(&line));
	}
	m->received_complete = shard_wall(s->server->shard);
	log_arrival(s, m);
	log_printf(s->server->shard, s->conf, LOG_TO_MAIN, &m->id, "Completed");
	tally_up(&s->server->metrics->messages);
	tally_add(&s->server->metrics->bytes, m->body.size);
	if (s->stdio && s->stdio->id_ret)
		*s->stdio->id_ret = m->id;
}

enum onward_end onward_finish(struct smtp_session *s, struct receive *r, bool wanted)
{
	struct err err = err_make(&s->serving->arena);
	struct message *m = r->message;
	const struct smtp_reply *reply;
	struct delivery d;
	bool pass = cutthrough_passes_deferrals(m);
	enum rc rc;

	if (!r->onward)
		return ONWARD_OURS;
	r->onward = ONWARD_NOT;
	if (!wanted || hindered(s)) {
		cutthrough_cancel(m);
		return ONWARD_OURS;
	}
	session_deadline(s, HOP_TIME_MAX_MS);
	rc = cutthrough_end(session_scope(s), &d, &err);
	if (rc == OK) {
		delivered(s, &d);
		return ONWARD_DELIVERED;
	}
	if (rc == CANCELLED) {
		s->over = true;
		return ONWARD_ANSWERED;
	}
	/* err and the outcomes say what happened; without outcomes nothing was asked. */
	reply = d.outcomes && d.outcomes[0].basic_errno_more
		    ? &(struct smtp_reply){.code = d.outcomes[0].basic_errno_more,
					   .text = d.outcomes[0].reply_text}
		    : NULL;
	if (rc == FAIL && reply) {
		log_refused(s, &d, " rejected after DATA:", LOG_TO_MAIN | LOG_TO_REJECT);
		tally_up(&s->server->metrics->rejected_data);
		reply_user(s, reply->code, NULL, hop_words(s, reply));
		return ONWARD_ANSWERED;
	}
	if (reply && reply->code / 100 == 4)
		log_refused(s, &d, " tmp-reject from cutthrough after DATA:", LOG_TO_MAIN | LOG_TO_REJECT);
	if (!pass)
		return ONWARD_OURS;
	if (reply && reply->code / 100 == 4)
		reply_user(s, reply->code, NULL, hop_words(s, reply));
	else
		reply_user(s, 450, "4.4.0", SLICE("Onward transmission not accepted"));
	return ONWARD_ANSWERED;
}
