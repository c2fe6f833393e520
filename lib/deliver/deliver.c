/* deliver: the shard's deliverer: messages come in, wait for a fiber, are attempted, and go or stay. */
#include "work.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Bodies of messages that wait for their first attempt stay in memory up to so many; what comes then is read back. */
#define READY_IN_MEMORY_MAX 2000

static struct shard_slot slot;

struct deliverer *deliver_here(struct shard *shard)
{
	return shard_slot(shard, &slot);
}

/* May block: at the start only. */
static void find_login(struct deliverer *d, const struct conf_main *o)
{
	uint32_t uid = o->exim_user.set && getuid() == 0 ? o->exim_user.id : getuid();
	struct passwd pw, *found = NULL;
	char buffer[4096];

	if (getpwuid_r(uid, &pw, buffer, sizeof(buffer), &found) == 0 && found)
		snprintf(d->login, sizeof(d->login), "%s", pw.pw_name);
	else
		snprintf(d->login, sizeof(d->login), "uid %u", uid);
}

enum rc deliver_new(struct shard *shard, const struct deliver_start *start, struct deliverer **ret,
		    struct err *err)
{
	struct deliverer *d = calloc(1, sizeof(*d));

	if (!d)
		return err_memory(err);
	d->shard = shard;
	d->metrics = shard_metrics(shard, &deliver_metric_table, &d->own_metrics);
	d->conf = conf_ref(start->conf);
	list_init(&d->ready);
	list_init(&d->reports);
	waitq_init(&d->idle);
	d->ids.unique = start->id_unique;
	d->debug = start->debug;
	d->debug_direct = start->debug_direct;
	d->wrapped_failed = start->wrapped_failed;
	d->wrapped_arg = start->arg;
	d->ids.host_number = (int)conf_main(start->conf)->localhost_number_value;
	find_login(d, conf_main(start->conf));
	shard_slot_set(shard, &slot, d);
	retry_host_hooks(d);
	submit_hooks(d);
	*ret = d;
	return OK;
}

void deliver_set_spool(struct deliverer *deliverer, struct spool *spool)
{
	deliverer->spool = spool;
}

void deliver_free(struct deliverer *deliverer)
{
	if (!deliverer)
		return;
	if (deliverer->spool)
		for (struct spool_entry *e = spool_first(deliverer->spool); e;
		     e = spool_next(deliverer->spool, e))
			if (e->user) {
				queued_free(e->user);
				e->user = NULL;
			}
	conf_unref(deliverer->conf);
	free(deliverer);
}

void deliver_reload(struct deliverer *deliverer, struct conf *conf)
{
	struct conf *old = deliverer->conf;

	deliverer->conf = conf_ref(conf);
	conf_unref(old);
}

/* ---- Messages in the queue ------------------------------------------------------------------------------------- */

struct queued *queued_new(struct deliverer *d, struct spool_entry *entry)
{
	struct queued *q = calloc(1, sizeof(*q)); /* one small piece for as long as the message is here */

	if (!q)
		return NULL;
	q->entry = entry;
	list_init(&q->link);
	waitq_init(&q->attempted);
	entry->user = q;
	tally_up(&d->metrics->queued);
	return q;
}

void queued_free(struct queued *q)
{
	if (q->message)
		message_unref(q->message);
	free(q);
}

void deliver_found(struct deliverer *deliverer, struct spool_entry *entry)
{
	struct queued *q =
	    queued_new(deliverer, entry); /* without memory: made when a queue run comes to it */

	if (q)
		q->logged = true; /* who knows */
}

static void queued_ready(struct deliverer *d, struct queued *q)
{
	if (q->ready || q->running)
		return;
	q->ready = true;
	list_append(&d->ready, &q->link);
	d->ready_count++;
	if (d->ready_count > READY_IN_MEMORY_MAX && q->message) {
		message_unref(q->message);
		q->message = NULL;
	}
}

void queued_start(struct deliverer *d, struct queued *q)
{
	queued_ready(d, q);
	deliverer_pump(d);
}

void deliverer_pump(struct deliverer *d)
{
	const struct deliver_options *o = conf_group(d->conf, CONF_DELIVER);

	while (!d->draining && d->running < (uint64_t)o->deliveries_max && !list_empty(&d->ready)) {
		struct queued *q = LIST_ITEM(d->ready.next, struct queued, link);

		if (fiber_spawn(d->shard, attempt_fiber, q) != OK)
			return; /* the end of the next attempt pumps again */
		list_remove(&q->link);
		d->ready_count--;
		q->ready = false;
		q->running = true;
		d->running++;
		tally_set(&d->metrics->running, d->running);
	}
}

int64_t deliver_load(struct deliverer *d)
{
	double load;

	if (shard_now(d->shard) < d->load_until)
		return d->load;
	d->load = getloadavg(&load, 1) == 1 ? (int64_t)(load * 1000)
					    : -1; /* a few bytes of /proc: no wait for a disk */
	d->load_until = shard_now(d->shard) + NS_PER_S;
	return d->load;
}

/* queue_only_load: a machine with too much to do takes mail, and delivers it later. */
bool deliver_load_too_high(struct deliverer *d, int64_t *load_ret)
{
	const struct deliver_options *o = conf_group(d->conf, CONF_DELIVER);

	*load_ret = o->queue_only_load >= 0 ? deliver_load(d) : -1;
	return *load_ret >= 0 && *load_ret > o->queue_only_load;
}

static bool load_too_high(struct deliverer *d, const struct message_id *id)
{
	int64_t load;

	if (!deliver_load_too_high(d, &load))
		return false;
	if (log_wants(d->conf, LOG_DELAY_DELIVERY))
		log_printf(d->shard, d->conf, LOG_TO_MAIN, id, "no immediate delivery: load average %.2f",
			   (double)load / 1000);
	return true;
}

void deliver_accepted(struct deliverer *deliverer, struct message *message, enum deliver_when when)
{
	struct queued *q = queued_new(deliverer, message->entry);

	if (!q) {
		message_unref(message); /* it is on the spool; a queue run will find it */
		return;
	}
	q->entry->frozen = message->frozen;
	if (message->frozen)
		spool_mark(deliverer->spool, q->entry, true);
	if (when == DELIVER_NOW && !message->frozen && !load_too_high(deliverer, &message->id)) {
		q->message = message;
		q->first_attempt = true;
		queued_start(deliverer, q);
	} else {
		message_unref(message);
	}
}

void deliver_drain(struct task *task, struct deliverer *deliverer)
{
	deliverer->draining = true;
	while (deliverer->running)
		if (waitq_wait(task, &deliverer->idle) != OK)
			return;
}

unsigned queue_count(const struct deliverer *deliverer)
{
	return spool_count(deliverer->spool);
}

unsigned deliver_running(const struct deliverer *deliverer)
{
	return deliverer->running;
}

static const struct metric metric_rows[] = {
    METRIC_COUNTER(struct deliver_metrics, delivered, "sluice_deliveries_total", "result=\"delivered\"",
		   "what came of addresses in attempts to deliver"),
    METRIC_COUNTER(struct deliver_metrics, deferred, "sluice_deliveries_total", "result=\"deferred\"", ""),
    METRIC_COUNTER(struct deliver_metrics, failed, "sluice_deliveries_total", "result=\"failed\"", ""),
    METRIC_COUNTER(struct deliver_metrics, bounces, "sluice_bounces_total", "", "bounces sent"),
    METRIC_COUNTER(struct deliver_metrics, completed, "sluice_messages_completed_total", "",
		   "messages of which no recipient is left"),
    METRIC_GAUGE(struct deliver_metrics, queued, "sluice_queue_messages", "", "messages on the spool"),
    METRIC_GAUGE(struct deliver_metrics, running, "sluice_queue_deliveries", "", "messages in delivery"),
};
const struct metric_table deliver_metric_table = {metric_rows, ARRAY_COUNT(metric_rows),
						  sizeof(struct deliver_metrics)};

bool deliver_holds(struct scope *sc, struct deliverer *d, struct slice address)
{
	const struct deliver_options *o = conf_group(d->conf, CONF_DELIVER);
	const struct match_list *lists[] = {o->hold_domains, o->queue_domains, o->queue_smtp_domains};
	struct err err = err_make(sc->task->arena);
	ptrdiff_t at = slice_rfind(address, '@');
	struct slice domain = at < 0 ? SLICE_EMPTY : slice_from(address, (size_t)at + 1);

	for (unsigned i = 0; i < ARRAY_COUNT(lists); i++)
		if (lists[i] && match_domain(sc, lists[i], domain, NULL, &err) != FAIL)
			return true;
	return false;
}
