/* dmarc_reports: a round of DMARC aggregate reports, mailed as any other message; and when the daemon begins one. */
#include "dmarc_reports.h"

#include "mailauth/mailauth.h"

#define ONE_MS  (5 * 60 * 1000) /* a report's DNS, compression and spool */
#define TICK_NS (60 * NS_PER_S)
#define AGAIN_S 3600 /* when some could not be sent */

static enum rc submit(struct scope *sc, const struct dmarc_aggregate *a, struct err *err)
{
	const struct submission submission = {.sender = a->sender,
					      .recipients = a->recipients,
					      .recipient_count = a->recipient_count,
					      .text = a->text};

	return transport_submit_message(sc, &submission, err);
}

/* Only when the spool has it is what it was made of forgotten. */
static void tell(struct scope *sc, const struct dmarc_aggregate *a, enum rc rc, const struct err *err)
{
	if (rc == OK)
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, NULL,
			   "DMARC: report on %.*s: %llu message%s in %u row%s, id=%.*s", SLICE_ARG(a->domain),
			   (unsigned long long)a->messages, a->messages == 1 ? "" : "s", a->rows,
			   a->rows == 1 ? "" : "s", SLICE_ARG(a->id));
	else
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, NULL, "DMARC: %s report on %.*s: %.*s",
			   rc == FAIL ? "no" : "no (later, perhaps)", SLICE_ARG(a->domain),
			   SLICE_ARG(err->text));
}

/* One report, in memory of its own. */
static enum rc one(struct task *task, const struct conf *conf, struct dmarc_reporting *at,
		   struct dmarc_round *round, struct err *err)
{
	struct dmarc_aggregate a = {.domain = SLICE_EMPTY};
	struct arena arena, *own = task->arena;
	struct scope sc;
	struct err why;
	enum rc rc;

	arena_init(&arena, 0);
	why = err_make(&arena);
	task->arena = &arena;
	task_limit(task, ONE_MS);
	scope_init(&sc, task, conf);
	rc = dmarc_reporting_next(&sc, &mailauth_dns, at, &a, &why);
	if (rc == OK) {
		rc = submit(&sc, &a, &why);
		/* What is refused here would be refused tomorrow, too; but nothing is lost by asking. */
		rc = rc == FAIL ? DEFER : rc;
		if (rc == OK)
			dmarc_reporting_sent(&sc, &a);
	}
	if (!at->over && rc != CANCELLED)
		tell(&sc, &a, rc, &why);
	round->sent += rc == OK;
	round->dropped += rc == FAIL && !at->over;
	round->waiting += rc == DEFER && !at->over;
	if (at->over && rc == DEFER)
		rc = err_set(err, DEFER, "%.*s", SLICE_ARG(why.text));
	task->arena = own;
	arena_done(&arena);
	return rc;
}

enum rc dmarc_reports_send(struct task *task, const struct conf *conf, uint64_t day_limit,
			   struct dmarc_round *ret, struct err *err)
{
	struct dmarc_reporting at;
	struct scope sc;
	enum rc rc;

	*ret = (struct dmarc_round){.sent = 0};
	scope_init(&sc, task, conf);
	rc = dmarc_reporting_begin(&sc, day_limit, &at, err);
	if (rc != OK)
		return rc;
	do
		rc = one(task, conf, &at, ret, err);
	while (rc != CANCELLED && !at.over);
	if (rc != FAIL)
		return rc;
	dmarc_reporting_end(&sc, &at);
	return OK;
}

void dmarc_round_print(const struct dmarc_round *round, struct str *out)
{
	str_printf(out, "%u DMARC report%s sent", round->sent, round->sent == 1 ? "" : "s");
	if (round->waiting)
		str_printf(out, ", %u waiting for the DNS", round->waiting);
	if (round->dropped)
		str_printf(out, ", %u that nobody wants", round->dropped);
	str_addc(out, '\n');
}

/* ---- The daemon's clock --------------------------------------------------------------------------------- */

/* Five minutes into the day, and so much later that not all hosts begin at once. */
static bool day_has_begun(const struct dmarc_clock *clock)
{
	struct slice name = conf_main(clock->own->conf)->primary_hostname;
	uint64_t seconds = shard_wall(clock->shard) / NS_PER_S % (24 * 3600);

	return seconds >= 300 + crc32c(0, name.ptr, name.len) % 3600;
}

static void clock_fiber(void *arg)
{
	struct dmarc_clock *clock = arg;
	struct conf *conf = conf_ref(clock->own->conf);
	uint64_t limit = dmarc_today(clock->shard) - (day_has_begun(clock) ? 0 : 1);
	struct dmarc_round round;
	struct arena arena;
	struct err err;
	enum rc rc;

	arena_init(&arena, 0);
	err = err_make(&arena);
	task_init(&clock->task, clock->shard, &arena, UNTIL_NEVER);
	rc = dmarc_reports_send(&clock->task, conf, limit, &round, &err);
	if (rc == OK && !round.waiting)
		clock->limit_done = limit;
	else if (rc != CANCELLED)
		clock->next_s = shard_wall(clock->shard) / NS_PER_S + AGAIN_S;
	if (rc == FAIL || rc == DEFER)
		log_printf(clock->shard, conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL, "DMARC reports: %.*s",
			   SLICE_ARG(err.text));
	arena_done(&arena);
	conf_unref(conf);
	clock->running = false;
}

static bool is_due(const struct dmarc_clock *clock)
{
	const struct mailauth_options *o = mailauth_options(clock->own->conf);
	uint64_t limit = dmarc_today(clock->shard) - (day_has_begun(clock) ? 0 : 1);

	return o->dmarc_report_sender && o->dmarc_report_automatic && !clock->running &&
	       limit > clock->limit_done && shard_wall(clock->shard) / NS_PER_S >= clock->next_s;
}

static void on_tick(struct timer *timer)
{
	struct dmarc_clock *clock = CONTAINER_OF(timer, struct dmarc_clock, timer);

	timer_set(clock->shard, timer, shard_now(clock->shard) + TICK_NS);
	if (is_due(clock) && fiber_spawn(clock->shard, clock_fiber, clock) == OK)
		clock->running = true;
}

void dmarc_clock_start(struct dmarc_clock *clock, struct shard *shard, const struct admin_shard *own)
{
	*clock = (struct dmarc_clock){.shard = shard, .own = own};
	timer_init(&clock->timer, on_tick);
	timer_set(shard, &clock->timer, shard_now(shard) + NS_PER_S);
}

void dmarc_clock_stop(struct dmarc_clock *clock)
{
	timer_cancel(clock->shard, &clock->timer);
	if (clock->running)
		task_cancel(&clock->task);
}
