/* control = cutthrough_delivery: the message goes on to its next hop while it comes in, and the next hop's answer to the final
 * dot is what our client hears. The message stays ours, complete, until that answer is there; whatever happens before leaves
 * it to the ordinary way, which is why nothing here is an error to anybody but the caller. */
#include "next_hop.h"

#include "filter.h"

#define ASK_TIMEOUT_S   30 /* of each command: a client waits for our reply to RCPT */
#define DATA_TIMEOUT_MS (60 * 1000)
#define FINAL_TIMEOUT_MS \
	(5 * 60 * 1000) /* half of what RFC 5321 section 4.5.3.2.6 lets our client wait for us */

void cutthrough_want(struct message *message, bool pass)
{
	struct next_hop *hop = next_hop_of(message);

	if (!hop)
		return; /* no memory: the ordinary way */
	hop->wanted = true;
	hop->pass = pass;
}

bool cutthrough_wanted(const struct message *message)
{
	return message && message->next_hop && message->next_hop->wanted && !message->next_hop->over;
}

bool cutthrough_passes_deferrals(const struct message *message)
{
	return message->next_hop && message->next_hop->pass;
}

void cutthrough_cancel(struct message *message)
{
	struct next_hop *hop = message->next_hop;

	if (!hop || !hop->wanted || hop->over)
		return;
	hop->over = true;
	if (hop->text || !hop->hold)
		next_hop_drop(hop);
}

bool cutthrough_ready(const struct message *message)
{
	const struct next_hop *hop = message->next_hop;

	return cutthrough_wanted(message) && hop->connection && !smtp_is_dead(hop->connection) &&
	       hop->covered && hop->covered == message->recipient_count;
}

/* ---- Recipients -------------------------------------------------------------------------------------------------- */

/* What has the whole message before the first byte goes out, or goes out one at a time, cannot be done on the way. */
static bool transport_can(struct scope *sc, const struct address *address)
{
	const struct smtp_transport *s = (const struct smtp_transport *)address->transport;

	return transport_is_smtp(address->transport) && !s->lmtp && !s->transport.transport_filter &&
	       !s->transport.body_only && !s->transport.headers_only && !s->transport.max_parallel &&
	       !s->serialize_hosts && !smtp_signs(sc, s);
}

/* Routes the recipient and asks its host, as a callout with the sender of the delivery would. */
static enum rc ask(struct scope *sc, struct next_hop *hop, struct callout_answer *answer, struct err *err)
{
	struct callout_options options = {
	    .timeout_s = ASK_TIMEOUT_S, .no_cache = true, .use_tptsender = true, .keep = true};
	struct address *result = NULL, *saved = sc->address;
	struct route_output out = {0};
	enum rc rc = verify_address(sc, saved->full, false, NULL, &result, &out, err);

	sc->address = saved;
	if (rc != OK)
		return rc;
	if (!result || !result->transport || out.unseen || !list_empty(&out.children) ||
	    !transport_can(sc, result)) {
		hop->over = true;
		return OK;
	}
	return callout(sc, result, false, &options, answer, err);
}

enum rc cutthrough_recipient(struct scope *sc, bool accepted, struct callout_answer *answer_ret,
			     struct err *err)
{
	struct next_hop *hop = sc->message->next_hop;
	enum rc rc = OK;

	*answer_ret = (struct callout_answer){.reply = {.text = SLICE_EMPTY, .command = SLICE_EMPTY}};
	if (!hop)
		return OK;
	if (!accepted) {
		if (hop->told && !hop->told_again) {
			hop->over = true; /* the host would deliver to someone whom we have refused */
			if (!hop->hold)
				next_hop_drop(hop);
		}
		hop->told = false;
		return OK;
	}
	if (!hop->told && hop->wanted && !hop->over)
		rc = ask(sc, hop, answer_ret, err);
	if (rc == DEFER && !hop->pass && !sc->task->cancelled)
		rc = OK;
	if (rc == OK && hop->told)
		hop->covered++;
	else if (rc == OK)
		cutthrough_cancel(sc->message); /* a recipient whom it has not been told */
	hop->told = false;
	return rc;
}

/* ---- The text ----------------------------------------------------------------------------------------------------- */

/* The scope as a transport sees it; undone by the copy. */
static void enter(struct scope *sc, struct next_hop *hop)
{
	sc->transport = &hop->s->transport;
	sc->address = hop->addresses[0];
	sc->router = hop->addresses[0]->router;
	sc->host = &hop->host;
	sc->tls_out = smtp_tls_facts(hop->connection);
	sc->verify_mode = VERIFY_RECIPIENT;
}

static struct delivery delivery_of(struct next_hop *hop)
{
	return (struct delivery){
	    .transport = &hop->s->transport, .addresses = hop->addresses, .count = hop->count};
}

static enum rc give_up(struct scope *sc, enum rc rc)
{
	cutthrough_cancel(sc->message);
	return sc->task->cancelled ? CANCELLED : rc == OK ? DEFER : rc;
}

static enum rc send_on(struct scope *sc, struct next_hop *hop, struct slice *pieces, unsigned count,
		       struct err *err)
{
	enum rc rc;

	for (unsigned i = 0; i < count; i++)
		hop->sent += pieces[i].len;
	rc = smtp_data_pieces(sc, hop->connection, &hop->stuffer, pieces, count, err);
	return rc == OK ? OK : give_up(sc, rc);
}

enum rc cutthrough_begin(struct scope *sc, struct err *err)
{
	struct next_hop *hop = sc->message->next_hop;
	struct scope inside = *sc;
	struct slice headers, return_path;
	struct smtp_reply reply;
	struct delivery d;
	enum rc rc;

	if (!cutthrough_ready(sc->message))
		return give_up(sc, DEFER);
	enter(&inside, hop);
	d = delivery_of(hop);
	/* The header may have made another sender (submission mode, rewriting) than the one that the host was told. */
	rc = delivery_return_path(&inside, &hop->s->transport, &return_path, err);
	if (rc != OK || !slice_eq(return_path, hop->sender))
		return give_up(sc, rc);
	rc = compose_headers(&inside, &hop->s->transport, &d, true, &headers, err);
	if (rc == OK)
		rc = smtp_data_begin(&inside, hop->connection, &reply, err);
	if (rc != OK)
		return give_up(sc, rc);
	hop->text = true;
	dot_stuffer_init(&hop->stuffer);
	return send_on(sc, hop, &headers, 1, err);
}

enum rc cutthrough_body(struct scope *sc, struct slice *pieces, unsigned count, struct err *err)
{
	struct next_hop *hop = sc->message->next_hop;

	return cutthrough_wanted(sc->message) && hop->text ? send_on(sc, hop, pieces, count, err) : DEFER;
}

/* Limits that only the whole message can exceed: the ordinary delivery tells the sender of them. */
static bool within_limits(struct scope *sc, const struct next_hop *hop)
{
	struct err err = err_make(sc->task->arena);
	int64_t limit;

	if (hop->s->message_linelength_limit > 0 &&
	    sc->message->body.line_length_max > hop->s->message_linelength_limit)
		return false;
	return expand_option_int(sc, hop->s->transport.message_size_limit, 0, &limit, &err) == OK &&
	       (limit <= 0 || message_size(sc->message) <= (uint64_t)limit);
}

enum rc cutthrough_end(struct scope *sc, struct delivery *delivery_ret, struct err *err)
{
	struct next_hop *hop = sc->message->next_hop;
	struct smtp_transaction t = {.sent = hop->sent};
	struct smtp_reply reply = {.text = SLICE_EMPTY, .command = SLICE("end of data")};
	struct scope inside = *sc;
	enum rc rc = DEFER;

	*delivery_ret = delivery_of(hop);
	delivery_ret->outcomes = arena_array(sc->task->arena, struct delivery_outcome, hop->count + 1);
	if (!delivery_ret->outcomes || !cutthrough_wanted(sc->message) || !hop->text)
		return give_up(sc, DEFER);
	enter(&inside, hop);
	if (!within_limits(&inside, hop))
		return give_up(sc, DEFER);
	rc = smtp_data_end(&inside, hop->connection, &hop->stuffer, &reply, err);
	/* From here on it is in between commands again, or dead. */
	hop->text = false;
	for (unsigned i = 0; i < hop->count; i++) {
		struct delivery_outcome *outcome = &delivery_ret->outcomes[i];

		*outcome = (struct delivery_outcome){.user_message = SLICE_EMPTY,
						     .special_log = SLICE_EMPTY,
						     .output = SLICE_EMPTY,
						     .tls_cipher = SLICE_EMPTY};
		smtp_set_outcome(&inside, outcome, rc, &reply, &hop->host, err);
		smtp_note_facts(&inside, outcome, hop->connection, &t);
	}
	if (rc == OK)
		next_hop_drop(hop);
	else
		(void)give_up(sc, rc);
	return sc->task->cancelled ? CANCELLED : rc;
}

/* For callout(): its times. */
void cutthrough_times(struct smtp_connect_options *options)
{
	if (options->data_timeout_ms > DATA_TIMEOUT_MS)
		options->data_timeout_ms = DATA_TIMEOUT_MS;
	if (options->final_timeout_ms > FINAL_TIMEOUT_MS)
		options->final_timeout_ms = FINAL_TIMEOUT_MS;
}
