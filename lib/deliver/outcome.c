/* outcome: what has become of a message so far, as small records behind it on the spool. A record is a letter and a text.
 * They are written with the next group commit: a crash in between repeats a delivery, and loses nothing. */
#include "work.h"

static void record(struct deliverer *d, struct queued *q, struct arena *arena, char kind, struct slice text)
{
	struct str str = str_make(arena);
	struct err err = err_make(arena);

	str_addc(&str, kind);
	str_add(&str, text);
	if (str.failed || spool_outcome(NULL, d->spool, q->entry, str_slice(&str), false, &err) != OK)
		log_printf(d->shard, d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &q->entry->id,
			   "could not record an outcome: %.*s", SLICE_ARG(err.text));
}

void outcome_done(struct attempt *a, struct slice unique)
{
	record(a->d, a->q, &a->arena, OUTCOME_DONE, unique);
}

void outcome_recipient(struct attempt *a, struct slice address, struct slice errors_to)
{
	struct str str = str_make(&a->arena);

	str_add(&str, address);
	if (errors_to.len) {
		str_addc(&str, '\n');
		str_add(&str, errors_to);
	}
	record(a->d, a->q, &a->arena, OUTCOME_RECIPIENT, str_slice(&str));
}

void outcome_tried(struct attempt *a)
{
	record(a->d, a->q, &a->arena, OUTCOME_TRIED, SLICE_EMPTY);
}

void outcome_header_added(struct attempt *a, struct slice text)
{
	record(a->d, a->q, &a->arena, OUTCOME_HEADER_ADDED, text);
}

void outcome_header_removed(struct attempt *a, struct slice name)
{
	record(a->d, a->q, &a->arena, OUTCOME_HEADER_REMOVED, name);
}

void outcome_warned(struct attempt *a, unsigned count)
{
	struct str str = str_make(&a->arena);

	str_addu(&str, count);
	record(a->d, a->q, &a->arena, OUTCOME_WARNED, str_slice(&str));
}

static void apply(void *arg, struct slice text)
{
	struct message *m = arg;
	struct slice rest;
	uint64_t number;

	if (!text.len)
		return;
	rest = arena_copy(&m->arena, slice_from(text, 1));
	if (!rest.ptr)
		return;
	switch (text.ptr[0]) {
	case OUTCOME_DONE:
		/* Not remembered for lack of memory: delivered once more, which is the lesser evil. */
		if (!message_add_nonrecipient(m, rest))
			break;
		for (uint32_t i = 0; i < m->recipient_count; i++)
			if (slice_eq(m->recipients[i].address, rest))
				m->recipients[i].done = true;
		break;
	case OUTCOME_WARNED:
		if (parse_u64(rest, &number))
			m->warning_count = (uint32_t)number;
		break;
	case OUTCOME_TRIED:
		m->deliver_firsttime = false;
		break;
	case OUTCOME_HEADER_ADDED: {
		struct header *h = header_make(&m->arena, rest);
		if (h)
			header_append(&m->headers, h);
		break;
	}
	case OUTCOME_HEADER_REMOVED:
		for (struct header *h; (h = header_find(&m->headers, rest, NULL));)
			header_delete(h);
		break;
	case OUTCOME_THAWED:
		m->manual_thaw = true;
		break;
	case OUTCOME_SENDER:
		m->sender = rest;
		break;
	case OUTCOME_RECIPIENT: {
		struct recipient r = {.orcpt = SLICE_EMPTY, .errors_to = SLICE_EMPTY, .parent = -1};
		(void)slice_split(&rest, '\n', &r.address);
		r.original = r.address;
		r.errors_to = rest.ptr ? rest : SLICE_EMPTY;
		(void)!message_add_recipient(m, &r);
		break;
	}
	default:
		break;
	}
}

enum rc queued_load(struct task *task, struct deliverer *d, struct queued *q, struct message **message_ret,
		    struct err *err)
{
	enum rc rc;

	if (q->message) {
		*message_ret = q->message;
		q->message = NULL;
		return OK;
	}
	rc = message_load(task, d->spool, q->entry, d->conf, message_ret, err);
	if (rc != OK)
		return rc;
	for (uint32_t i = 0; i < (*message_ret)->recipient_count; i++) {
		struct recipient *r = &(*message_ret)->recipients[i];
		for (uint32_t k = 0; k < (*message_ret)->nonrecipient_count && !r->done; k++)
			r->done = slice_eq(r->address, (*message_ret)->nonrecipients[k]);
	}
	if (q->entry->outcome_count) {
		rc = spool_outcomes(task, d->spool, q->entry, apply, *message_ret, err);
		if (rc != OK) {
			message_unref(*message_ret);
			return rc;
		}
	}
	return OK;
}
