/* queue: what the command line asks of the queue: runs, single messages, lists and changes. */
#include "work.h"

#include <inttypes.h>
#include <unistd.h>

static struct queued *queued_of(struct deliverer *d, struct spool_entry *entry)
{
	return entry->user ? entry->user : queued_new(d, entry);
}

static enum rc wait_for(struct task *task, struct deliverer *d, struct queued *q)
{
	enum rc rc = OK;

	(void)d;
	q->waiters++;
	while (rc == OK && (q->ready || q->running))
		rc = waitq_wait(task, &q->attempted);
	q->waiters--;
	if (!q->entry && !q->waiters && !q->running)
		queued_free(q);
	return rc;
}

/* ---- Runs ------------------------------------------------------------------------------------------------------- */

static bool text_fits(struct scope *sc, struct slice pattern, bool regex, struct slice text)
{
	const struct regex *compiled;
	struct err err = err_make(sc->task->arena);
	struct slice numbers[10];
	unsigned count;

	if (!regex) {
		for (uint32_t i = 0; i + pattern.len <= text.len; i++)
			if (slice_eq_nocase(slice_sub(text, i, pattern.len), pattern))
				return true;
		return false;
	}
	if (regex_cached(sc->task->shard, pattern, REGEX_NOCASE, &compiled, &err) != OK)
		return false;
	return regex_match(compiled, text, numbers, ARRAY_COUNT(numbers), &count, &err) == OK;
}

static bool run_wants(struct task *task, struct deliverer *d, struct queued *q, const struct queue_run *run)
{
	struct err err = err_make(task->arena);
	struct message *m;
	struct scope sc;
	bool wants = true;

	if (q->entry->frozen && !(run->flags & RUN_FORCE_FROZEN)) {
		const struct deliver_options *o = conf_group(d->conf, CONF_DELIVER);
		if (o->auto_thaw <= 0 && o->timeout_frozen_after <= 0 && o->ignore_bounce_errors_after < 0)
			return false;
	}
	if ((run->first.text[0] && strcmp(q->entry->id.text, run->first.text) < 0) ||
	    (run->last.text[0] && strcmp(q->entry->id.text, run->last.text) > 0))
		return false;
	if ((run->flags & RUN_FIRST) && q->entry->outcome_count)
		return false;
	if (!run->sender_pattern.ptr && !run->recipient_pattern.ptr)
		return true;
	if (q->running || queued_load(task, d, q, &m, &err) != OK)
		return false;
	scope_init(&sc, task, d->conf);
	if (run->sender_pattern.ptr)
		wants = text_fits(&sc, run->sender_pattern, run->patterns_are_regex, m->sender);
	if (wants && run->recipient_pattern.ptr) {
		wants = false;
		for (uint32_t i = 0; i < m->recipient_count && !wants; i++)
			wants = !m->recipients[i].done &&
				text_fits(&sc, run->recipient_pattern, run->patterns_are_regex,
					  m->recipients[i].address);
	}
	message_unref(m);
	return wants;
}

static bool load_stops_run(struct deliverer *d)
{
	const struct deliver_options *o = conf_group(d->conf, CONF_DELIVER);
	int64_t load = o->deliver_queue_load_max >= 0 ? deliver_load(d) : -1;

	if (load < 0 || load <= o->deliver_queue_load_max)
		return false;
	log_printf(d->shard, d->conf, LOG_TO_MAIN, NULL, "Abandon queue run: pid=%d (load %.2f, max %.2f)",
		   (int)getpid(), (double)load / 1000, (double)o->deliver_queue_load_max / 1000);
	return true;
}

enum rc deliver_queue_run(struct task *task, struct deliverer *deliverer, const struct queue_run *run,
			  bool wait, struct err *err)
{
	struct deliverer *d = deliverer;
	struct message_id *ids;
	unsigned count = spool_count(d->spool), n = 0;

	if (log_wants(d->conf, LOG_QUEUE_RUN) && shard_id(d->shard) == 0)
		log_printf(d->shard, d->conf, LOG_TO_MAIN, NULL, "Start queue run: pid=%d%s", (int)getpid(),
			   run->flags & RUN_FORCE_FROZEN ? " -qff"
			   : run->flags & RUN_FORCE      ? " -qf"
							 : "");
	/* Ids, not entries: messages come and go while the run waits. */
	ids = arena_array(task->arena, struct message_id, count ? count : 1);
	if (!ids)
		return err_memory(err);
	for (struct spool_entry *e = spool_first(d->spool); e && n < count; e = spool_next(d->spool, e))
		ids[n++] = e->id;
	for (unsigned i = 0; i < n; i++) {
		struct spool_entry *e = spool_find(d->spool, &ids[i]);
		struct queued *q = e ? queued_of(d, e) : NULL;

		if (load_stops_run(d))
			break;
		if (!q || q->ready || q->running || !run_wants(task, d, q, run))
			continue;
		if (!spool_find(d->spool, &ids[i]) || q->running)
			continue; /* it went while we looked at it */
		q->force |= (run->flags & (RUN_FORCE | RUN_FORCE_FROZEN)) != 0;
		q->force_frozen |= (run->flags & RUN_FORCE_FROZEN) != 0;
		queued_start(d, q);
		/* No more than a bounded number stand ready: a queue of any length costs no memory. */
		while (d->ready_count >= 64)
			if (task_sleep(task, shard_now(d->shard) + 5 * NS_PER_MS) != OK)
				return CANCELLED;
	}
	if (wait)
		for (unsigned i = 0; i < n; i++) {
			struct spool_entry *e = spool_find(d->spool, &ids[i]);
			enum rc rc = e && e->user ? wait_for(task, d, e->user) : OK;
			if (rc != OK)
				return err_set(err, rc, "the queue run was cut short");
		}
	if (log_wants(d->conf, LOG_QUEUE_RUN) && shard_id(d->shard) == 0 && wait)
		log_printf(d->shard, d->conf, LOG_TO_MAIN, NULL, "End queue run: pid=%d", (int)getpid());
	return OK;
}

enum rc deliver_message(struct task *task, struct deliverer *deliverer, const struct message_id *id,
			struct err *err)
{
	struct spool_entry *e = spool_find(deliverer->spool, id);
	struct queued *q = e ? queued_of(deliverer, e) : NULL;

	if (!e)
		return err_set(err, FAIL, "no message %s", id->text);
	if (!q)
		return err_memory(err);
	if (!q->running) {
		q->force = q->force_frozen = true;
		queued_start(deliverer, q);
	}
	return wait_for(task, deliverer, q);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static void add_age(struct str *out, uint64_t seconds)
{
	uint64_t minutes = seconds / 60;

	if (minutes > 90) {
		uint64_t hours = (minutes + 30) / 60;
		if (hours > 72)
			str_printf(out, "%2" PRIu64 "d", (hours + 12) / 24);
		else
			str_printf(out, "%2" PRIu64 "h", hours);
	} else {
		str_printf(out, "%2" PRIu64 "m", minutes);
	}
}

static void add_size(struct str *out, uint64_t bytes)
{
	if (bytes < 1024)
		str_printf(out, "%5" PRIu64, bytes);
	else if (bytes < 10 * 1024)
		str_printf(out, "%4.1fK", (double)bytes / 1024);
	else if (bytes < 1024 * 1024)
		str_printf(out, "%4" PRIu64 "K", (bytes + 512) / 1024);
	else if (bytes < 10 * 1024 * 1024)
		str_printf(out, "%4.1fM", (double)bytes / (1024 * 1024));
	else
		str_printf(out, "%4" PRIu64 "M", (bytes + 512 * 1024) / (1024 * 1024));
}

static void list_one(struct task *task, struct deliverer *d, struct queued *q,
		     const struct queue_list_options *options, struct str *out)
{
	struct err err = err_make(task->arena);
	uint64_t now = shard_wall(d->shard) / NS_PER_S;
	struct spool_entry *e = q->entry;
	struct message *m;
	bool was_kept = q->message != NULL;

	add_age(out, now > e->received ? now - e->received : 0);
	str_addc(out, ' ');
	add_size(out, e->envelope_len + e->body_len);
	str_printf(out, " %s ", e->id.text);
	if (queued_load(task, d, q, &m, &err) != OK) {
		str_printf(out, "*** unreadable: %.*s ***\n\n", SLICE_ARG(err.text));
		return;
	}
	str_printf(out, "<%.*s>%s\n", SLICE_ARG(m->sender), e->frozen ? " *** frozen ***" : "");
	for (uint32_t i = 0; i < m->recipient_count; i++) {
		bool done = m->recipients[i].done;
		if (done && !options->delivered_too && options->undelivered_only)
			continue;
		str_printf(out, "        %s %.*s\n", done ? "D" : " ", SLICE_ARG(m->recipients[i].address));
	}
	if (options->delivered_too)
		for (uint32_t i = 0; i < m->nonrecipient_count; i++)
			str_printf(out, "       +D %.*s\n", SLICE_ARG(m->nonrecipients[i]));
	str_addc(out, '\n');
	if (was_kept && !q->message)
		q->message = m;
	else
		message_unref(m);
}

enum rc queue_list(struct task *task, struct deliverer *deliverer, const struct queue_list_options *options,
		   struct str *out, struct err *err)
{
	struct deliverer *d = deliverer;

	if (options->count_only) {
		str_printf(out, "%u\n", spool_count(d->spool));
		return OK;
	}
	for (struct spool_entry *e = spool_first(d->spool); e;) {
		struct queued *q = queued_of(d, e);
		struct message_id id = e->id;

		if (!q)
			return err_memory(err);
		q->waiters++;
		list_one(task, d, q, options, out);
		q->waiters--;
		e = spool_find(d->spool, &id);
		if (!e) {
			/* It went while its header was read. What comes behind it is found from the front; what was listed
			 * before is skipped by its id. */
			for (e = spool_first(d->spool); e && strcmp(e->id.text, id.text) <= 0;
			     e = spool_next(d->spool, e))
				;
			if (!q->running && !q->entry)
				queued_free(q);
			continue;
		}
		e = spool_next(d->spool, e);
	}
	return out->failed ? err_memory(err) : OK;
}

/* ---- Changes ------------------------------------------------------------------------------------------------------ */

static enum rc view(struct task *task, struct deliverer *d, struct queued *q, enum queue_action action,
		    struct str *out, struct err *err)
{
	struct message *m;
	struct slice text, piece;
	struct body_reader reader;
	bool cr = false;
	enum rc rc;

	if (action == QUEUE_VIEW_HEADER) {
		rc = spool_envelope(task, d->spool, q->entry, &text, err);
		if (rc == OK)
			str_add(out, text);
		return rc;
	}
	if (action == QUEUE_VIEW_LOG) {
		return msglog_show(task, d, q, out, err);
	}
	rc = message_load(task, d->spool, q->entry, d->conf, &m, err);
	if (rc != OK)
		return rc;
	if (action == QUEUE_VIEW_COPY) {
		LIST_EACH (l, &m->headers.list) {
			struct header *h = LIST_ITEM(l, struct header, link);
			if (h->type != '*')
				str_add(out, h->text);
		}
		str_addc(out, '\n');
	} else {
		str_printf(out, "%s-D\n", q->entry->id.text);
	}
	body_reader_init(&reader, m);
	while ((rc = body_next(task, &reader, &piece, err)) == OK) {
		if (!str_reserve(out, (size_t)piece.len + 1))
			break;
		out->len += (uint32_t)crlf_to_lf(&cr, piece, out->ptr + out->len);
	}
	message_unref(m);
	return rc == FAIL && !err->text.len ? OK : rc == OK ? err_memory(err) : rc;
}

static enum rc record_change(struct task *task, struct deliverer *d, struct queued *q, char kind,
			     struct slice text, struct err *err)
{
	struct str record = str_make(task->arena);

	str_addc(&record, kind);
	str_add(&record, text);
	if (record.failed)
		return err_memory(err);
	if (q->message) {
		message_unref(q->message);
		q->message = NULL;
	}
	return spool_outcome(task, d->spool, q->entry, str_slice(&record), true, err);
}

/* The end of a message by an administrator's word. Parks if it has a log of its own. */
static void finish_message(struct task *task, struct deliverer *d, struct queued *q)
{
	struct message_id id = q->entry->id;

	log_printf(d->shard, d->conf, LOG_TO_MAIN, &id, "Completed");
	tally_down(&d->metrics->queued);
	spool_done(d->spool, q->entry);
	q->entry = NULL; /* before anything waits: nobody may begin with it now */
	if (q->logged)
		msglog_remove(task, d, &id);
}

static enum rc mark_done(struct task *task, struct deliverer *d, struct queued *q,
			 const struct slice *addresses, unsigned count, struct str *out, struct err *err)
{
	struct message *m;
	bool left = false;
	enum rc rc = queued_load(task, d, q, &m, err);

	if (rc != OK)
		return rc;
	for (uint32_t i = 0; i < m->recipient_count; i++) {
		bool mark = addresses == NULL;
		for (unsigned k = 0; k < count && !mark; k++)
			mark = slice_eq_nocase(addresses[k], m->recipients[i].address);
		if (!mark || m->recipients[i].done) {
			left |= !m->recipients[i].done;
			continue;
		}
		rc = record_change(task, d, q, OUTCOME_DONE, m->recipients[i].address, err);
		if (rc != OK)
			break;
		str_printf(out, "Message %s: <%.*s> marked as delivered\n", q->entry->id.text,
			   SLICE_ARG(m->recipients[i].address));
		log_printf(d->shard, d->conf, LOG_TO_MAIN, &q->entry->id,
			   "address <%.*s> marked delivered by administrator",
			   SLICE_ARG(m->recipients[i].address));
	}
	message_unref(m);
	if (rc == OK && !left)
		finish_message(task, d, q);
	return rc;
}

static void remove_message(struct task *task, struct deliverer *d, struct queued *q, struct str *out)
{
	str_printf(out, "Message %s has been removed\n", q->entry->id.text);
	log_printf(d->shard, d->conf, LOG_TO_MAIN, &q->entry->id, "removed by administrator");
	finish_message(task, d, q);
}

static enum rc act(struct task *task, struct deliverer *d, enum queue_action action, struct queued *q,
		   const struct slice *arguments, unsigned argument_count, struct str *out, struct err *err)
{
	struct address_parts parts;
	const char *id = q->entry->id.text;
	enum rc rc = OK;

	switch (action) {
	case QUEUE_REMOVE:
		remove_message(task, d, q, out);
		return OK;
	case QUEUE_FREEZE:
	case QUEUE_THAW:
		if (q->entry->frozen == (action == QUEUE_FREEZE)) {
			str_printf(out, "Message %s is %s frozen\n", id,
				   q->entry->frozen ? "already" : "not");
			return OK;
		}
		spool_mark(d->spool, q->entry, action == QUEUE_FREEZE);
		q->entry->frozen = action == QUEUE_FREEZE;
		str_printf(out, "Message %s is %s frozen\n", id, q->entry->frozen ? "now" : "no longer");
		log_printf(d->shard, d->conf, LOG_TO_MAIN, &q->entry->id, "%s by administrator",
			   q->entry->frozen ? "frozen" : "unfrozen");
		if (action == QUEUE_THAW)
			rc = record_change(task, d, q, OUTCOME_THAWED, SLICE_EMPTY, err);
		return rc;
	case QUEUE_GIVE_UP:
		q->give_up = q->force = q->force_frozen = true;
		str_printf(out, "Message %s will be returned to its sender\n", id);
		log_printf(d->shard, d->conf, LOG_TO_MAIN, &q->entry->id, "cancelled by administrator");
		queued_start(d, q);
		return wait_for(task, d, q);
	case QUEUE_ADD_RECIPIENT:
	case QUEUE_EDIT_SENDER:
		for (unsigned i = 0; i < argument_count && rc == OK; i++) {
			unsigned flags =
			    ADDRESS_ALLOW_LITERAL | (action == QUEUE_EDIT_SENDER ? ADDRESS_ALLOW_EMPTY : 0);
			rc = address_parse(task->arena, arguments[i], flags, &parts, err);
			if (rc == OK)
				rc = record_change(task, d, q,
						   action == QUEUE_EDIT_SENDER ? OUTCOME_SENDER
									       : OUTCOME_RECIPIENT,
						   parts.full, err);
			if (rc == OK) {
				const char *what = action == QUEUE_EDIT_SENDER ? "sender address changed to"
									       : "recipient added:";
				str_printf(out, "Message %s %s <%.*s>\n", id, what, SLICE_ARG(parts.full));
				log_printf(d->shard, d->conf, LOG_TO_MAIN, &q->entry->id,
					   "%s <%.*s> by administrator", what, SLICE_ARG(parts.full));
			}
		}
		return rc;
	case QUEUE_MARK_DELIVERED:
		return mark_done(task, d, q, arguments, argument_count, out, err);
	case QUEUE_MARK_ALL:
		return mark_done(task, d, q, NULL, 0, out, err);
	default:
		return view(task, d, q, action, out, err);
	}
}

enum rc queue_act(struct task *task, struct deliverer *deliverer, enum queue_action action,
		  const struct message_id *id, const struct slice *arguments, unsigned argument_count,
		  struct str *out, struct err *err)
{
	struct deliverer *d = deliverer;
	struct spool_entry *e = spool_find(d->spool, id);
	struct queued *q = e ? queued_of(d, e) : NULL;
	enum rc rc;

	if (!e)
		return err_set(err, FAIL, "no message %s", id->text);
	if (!q)
		return err_memory(err);
	if (q->running && action != QUEUE_VIEW_HEADER && action != QUEUE_VIEW_BODY &&
	    action != QUEUE_VIEW_LOG && action != QUEUE_VIEW_COPY) {
		str_printf(out, "Message %s is locked\n", id->text);
		return OK;
	}
	if (q->ready && action != QUEUE_GIVE_UP) {
		/* It waits for a fiber: it may wait a little longer. */
		list_remove(&q->link);
		q->ready = false;
		d->ready_count--;
	}
	q->waiters++;
	rc = act(task, d, action, q, arguments, argument_count, out, err);
	q->waiters--;
	if (!q->entry && !q->waiters && !q->running) {
		waitq_wake_all(&q->attempted);
		queued_free(q);
	}
	return rc;
}
