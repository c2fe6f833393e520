/* retry: the memory of what failed when. Keys as Exim names them: "R:<address or domain>" for routing, "T:<host>:<address>[:port]"
 * for hosts (without the address if retry_include_ip_address is false), the same with ":<id>" for one message there,
 * "T:<address>" for an address, "T:<address>:<sender>" for what a host said to it of one sender's mail. */
#include "work.h"

/* ---- How long ------------------------------------------------------------------------------------------------------ */

static uint64_t next_interval(struct scope *sc, const struct retry_step *step,
			      const struct retry_record *record, uint64_t now)
{
	const struct deliver_options *o = conf_group(sc->conf, CONF_DELIVER);
	int64_t interval = step->interval_s, last = (int64_t)(record->next_try - record->last_try);

	/* Forced attempts in between do not make the pauses grow. */
	if (now > record->last_try && (int64_t)(now - record->last_try) < last)
		last = (int64_t)(now - record->last_try);
	if (step->kind != 'F' && record->next_try > record->last_try && last >= step->interval_s) {
		interval = last * step->factor / 1000;
		if (step->kind == 'H') {
			uint64_t random;
			shard_random(sc->task->shard, &random, sizeof(random));
			/* Between the base and the grown interval, so that crowds drift apart. */
			if (interval > step->interval_s)
				interval = step->interval_s +
					   (int64_t)(random % (uint64_t)(interval - step->interval_s + 1));
		}
	}
	if (interval > o->retry_interval_max)
		interval = o->retry_interval_max;
	return (uint64_t)interval;
}

/* ---- The memory ---------------------------------------------------------------------------------------------------- */

/* "R:address" or "R:domain": what a router's trouble is kept for (retry_use_local_part). */
static struct slice routing_key(struct arena *arena, const struct address *address, bool local_part)
{
	struct slice key = arena_printf(
	    arena, "R:%.*s", SLICE_ARG(local_part || !address->domain.len ? address->full : address->domain));

	return key.ptr ? key : SLICE("R:");
}

static bool router_keeps_local_part(const struct address *address)
{
	return address->router && address->router->retry_use_local_part;
}

/* What rules are looked up with: the address, or, where local parts make no difference, its domain. */
static struct slice subject_of(const struct address *address, bool local_part)
{
	return local_part || !address->domain.len ? address->full : address->domain;
}

static bool transport_keeps_local_part(const struct address *address)
{
	return !address->transport || !address->transport->is_local ||
	       address->transport->retry_use_local_part;
}

/* "T:address", or the file or command. */
static struct slice delivery_key(struct arena *arena, const struct address *address)
{
	struct slice key = arena_printf(
	    arena, "T:%.*s",
	    SLICE_ARG(address->file.len   ? address->file
		      : address->pipe.len ? address->pipe
					  : subject_of(address, transport_keeps_local_part(address))));

	return key.ptr ? key : SLICE("T:");
}

/* The same for this sender's mail only. */
static struct slice sender_key(struct scope *sc, const struct address *address)
{
	struct arena *arena = sc->task->arena;
	struct slice key = arena_printf(arena, "%.*s:<%.*s>", SLICE_ARG(delivery_key(arena, address)),
					SLICE_ARG(sc->sender));

	return key.ptr ? key : SLICE("T:");
}

/* Has the message waited for longer than the rule for that kind of trouble allows? Then it is tried whatever its time, once
 * more; others to the same place may keep its clock from ever running out. */
static bool overdue(struct scope *sc, struct slice key, struct slice or_key,
		    const struct retry_record *record)
{
	uint64_t now = shard_wall(sc->task->shard) / NS_PER_S, received = sc->message->received / NS_PER_S;
	struct retry_cause cause = {record->error, record->more};
	const struct retry_rule *rule = retry_rule_find(sc, key, or_key, cause, true);

	return !rule || !rule->step_count ||
	       (now > received && now - received > (uint64_t)rule->steps[rule->step_count - 1].until_s);
}

static bool waits(struct attempt *a, struct slice key, struct slice subject)
{
	struct retry_record record;

	return retry_look_raw(a->d->shard, &a->arena, a->d->conf, key, &record, NULL) == RETRY_WAIT &&
	       !overdue(&a->scope, subject, SLICE_EMPTY, &record);
}

bool retry_routing_waits(struct attempt *a, const struct address *address)
{
	/* Which router will be asked is not known yet: both kinds of key count. */
	return waits(a, routing_key(&a->arena, address, false), subject_of(address, false)) ||
	       waits(a, routing_key(&a->arena, address, true), address->full);
}

bool retry_routing_failed(struct attempt *a, const struct address *address,
			  const struct delivery_outcome *outcome)
{
	bool local_part = router_keeps_local_part(address);

	return retry_failed(&a->scope, routing_key(&a->arena, address, local_part),
			    subject_of(address, local_part), SLICE_EMPTY, outcome);
}

bool retry_delivery_waits(struct attempt *a, const struct address *address)
{
	struct slice subject = subject_of(address, transport_keeps_local_part(address));

	return waits(a, delivery_key(&a->arena, address), subject) ||
	       (!address->transport->is_local && waits(a, sender_key(&a->scope, address), subject));
}

bool retry_delivery_failed(struct attempt *a, const struct address *address,
			   const struct delivery_outcome *outcome)
{
	struct slice key = !address->transport->is_local && address->transport->retry_by_sender
			       ? sender_key(&a->scope, address)
			       : delivery_key(&a->arena, address);

	return retry_failed(&a->scope, key, subject_of(address, transport_keeps_local_part(address)),
			    SLICE_EMPTY, outcome);
}

void retry_delivery_done(struct attempt *a, const struct address *address)
{
	retry_clear(a->d->shard, delivery_key(&a->arena, address));
	if (!address->transport->is_local)
		retry_clear(a->d->shard, sender_key(&a->scope, address));
}

void retry_routing_done(struct attempt *a, const struct address *address)
{
	retry_clear(a->d->shard, routing_key(&a->arena, address, false));
	retry_clear(a->d->shard, routing_key(&a->arena, address, true));
}

static struct slice host_key(struct scope *sc, const struct transport *transport,
			     const struct host_item *host)
{
	struct str key = str_make(sc->task->arena);
	struct err err = err_make(sc->task->arena);
	bool by_ip = true;

	if (transport->retry_by_ip &&
	    expand_option_bool(sc, transport->retry_by_ip, true, &by_ip, &err) != OK)
		by_ip = true;
	str_addz(&key, "T:");
	for (uint32_t i = 0; i < host->name.len; i++)
		str_addc(&key, ascii_lower(host->name.ptr[i]));
	if (by_ip) {
		str_addc(&key, ':');
		str_add_ip(&key, &host->ip);
	}
	if (host->ip.port && host->ip.port != 25) { /* by now the transport's, if the route gave none */
		str_addc(&key, ':');
		str_addu(&key, host->ip.port);
	}
	return key.failed ? SLICE("T:") : str_slice(&key);
}

static enum retry_state look(struct shard *shard, struct arena *arena, const struct conf *conf,
			     struct slice key, struct retry_record *record_ret, struct slice *text_ret)
{
	const struct deliver_options *o = conf_group(conf, CONF_DELIVER);
	struct err err = err_make(NULL);
	uint64_t now = shard_wall(shard) / NS_PER_S;
	struct slice value;

	if (hints_get(shard, HINTS_RETRY, key, arena, &value, &err) != OK || value.len < sizeof(*record_ret))
		return RETRY_NONE;
	memcpy(record_ret, value.ptr, sizeof(*record_ret));
	if (text_ret)
		*text_ret = slice_sub(value, sizeof(*record_ret), record_ret->text_len);
	/* Data that is old says nothing about today; a clock that was set back must not block mail for years. */
	if (record_ret->last_try + (uint64_t)o->retry_data_expire < now || record_ret->last_try > now + 3600)
		return RETRY_NONE;
	return record_ret->next_try > now ? RETRY_WAIT : RETRY_READY;
}

enum retry_state retry_look_raw(struct shard *shard, struct arena *arena, const struct conf *conf,
				struct slice key, struct retry_record *record_ret, struct slice *text_ret)
{
	enum retry_state state =
	    conf_main(conf)->mua_wrapper ? RETRY_NONE : look(shard, arena, conf, key, record_ret, text_ret);

	if (state == RETRY_NONE)
		DEBUG(DEBUG_RETRY, "no retry data for %.*s", SLICE_ARG(key));
	else
		DEBUG(DEBUG_RETRY, "retry record of %.*s: %s, next try at %llu", SLICE_ARG(key),
		      state == RETRY_WAIT ? "its time has not come" : "may be tried",
		      (unsigned long long)record_ret->next_try);
	return state;
}

/* Trouble with one message, which others to the same place do not have. */
static bool is_about_message(const struct delivery_outcome *outcome)
{
	return outcome->scope == DEFER_MESSAGE || outcome->error == RETRY_ERROR_QUOTA;
}

bool retry_failed(struct scope *sc, struct slice key, struct slice subject, struct slice or_subject,
		  const struct delivery_outcome *outcome)
{
	struct shard *shard = sc->task->shard;
	struct retry_cause cause = retry_cause_of(outcome);
	const struct retry_rule *rule = retry_rule_find(sc, subject, or_subject, cause, true);
	uint64_t now = shard_wall(shard) / NS_PER_S;
	const struct retry_step *step = NULL;
	struct retry_record record;
	struct str value = str_make(sc->task->arena);
	struct slice text = slice_sub(outcome->message, 0, 200);

	if (conf_main(sc->conf)->mua_wrapper)
		return false; /* there is no other time */
	DEBUG(DEBUG_RETRY, "%s for %.*s after a failure", rule ? "a retry rule" : "no retry rule",
	      SLICE_ARG(key));
	if (!rule || !rule->step_count)
		return false; /* not kept: tried at each queue run, and given up as retry_too_old() says */
	if (retry_look_raw(shard, sc->task->arena, sc->conf, key, &record, NULL) == RETRY_NONE)
		record = (struct retry_record){.first_failed = now};
	/* When others get through, its clock would never run out. */
	if (is_about_message(outcome) && sc->message &&
	    sc->message->received / NS_PER_S < record.first_failed)
		record.first_failed = sc->message->received / NS_PER_S;
	for (unsigned i = 0; i < rule->step_count && !step; i++)
		if ((int64_t)(now - record.first_failed) <= rule->steps[i].until_s)
			step = &rule->steps[i];
	record.expired = !step;
	record.next_try =
	    now + next_interval(sc, step ? step : &rule->steps[rule->step_count - 1], &record, now);
	record.last_try = now;
	record.error = cause.error;
	record.more = cause.more;
	record.os = outcome->os;
	record.text_len = text.len;
	str_add(&value, slice_make((const char *)&record, sizeof(record), CLEAN));
	str_add(&value, text);
	if (!value.failed)
		hints_put(shard, HINTS_RETRY, key, str_slice(&value));
	return record.expired;
}

void retry_clear(struct shard *shard, struct slice key)
{
	struct arena arena;
	struct slice value;

	arena_init(&arena, 1 << 20);
	if (hints_get(shard, HINTS_RETRY, key, &arena, &value, NULL) == OK)
		hints_delete(shard, HINTS_RETRY, key);
	arena_done(&arena);
}

bool retry_too_old(struct scope *sc, const struct address *address, const struct delivery_outcome *outcome,
		   uint64_t age_s)
{
	bool routing = !address->transport,
	     local_part = routing ? router_keeps_local_part(address) : transport_keeps_local_part(address);
	struct slice host = outcome->scope == DEFER_ADDRESS ? SLICE_EMPTY : outcome->host.name;
	const struct retry_rule *rule;

	/* "retry time not reached" is no failure: where the time is up, another attempt is made first. */
	if (outcome->os == DEFER_NOT_YET || outcome->os == DEFER_NOT_YET_LOCAL ||
	    outcome->os == RETRY_NOT_REACHED_HOSTS)
		return false;
	rule = retry_rule_find(sc, host.len ? host : subject_of(address, local_part),
			       host.len ? address->domain : SLICE_EMPTY, retry_cause_of(outcome), true);
	if (!rule || !rule->step_count)
		return true; /* no rule, or one without steps: one failure is final, as the language has it */
	return age_s > (uint64_t)rule->steps[rule->step_count - 1].until_s;
}

/* ---- Hosts: asked by the transports --------------------------------------------------------------------------------- */

/* What a host refused for now in one message ("T:host:ip:id"): later messages may fare better. */
static struct slice message_key(struct scope *sc, const struct transport *transport,
				const struct host_item *host)
{
	struct slice key = arena_printf(sc->task->arena, "%.*s:%s", SLICE_ARG(host_key(sc, transport, host)),
					sc->message->id.text);

	return key.ptr ? key : SLICE("T:");
}

static struct slice domain_of(const struct scope *sc)
{
	return sc->address ? sc->address->domain : SLICE_EMPTY;
}

static bool host_blocked(void *arg, struct scope *sc, const struct transport *transport,
			 const struct host_item *host, struct host_history *history_ret)
{
	struct shard *shard = sc->task->shard;
	struct arena *arena = sc->task->arena;
	struct retry_record record;
	enum retry_state state =
	    retry_look_raw(shard, arena, sc->conf, host_key(sc, transport, host), &record, NULL);
	bool blocked;

	(void)arg;
	if (state == RETRY_NONE)
		state =
		    retry_look_raw(shard, arena, sc->conf, message_key(sc, transport, host), &record, NULL);
	*history_ret = (struct host_history){0};
	if (state != RETRY_NONE)
		*history_ret = (struct host_history){.expired = record.expired, .last_try = record.last_try};
	blocked = state == RETRY_WAIT && !sc->forced &&
		  (record.expired || !overdue(sc, host->name, domain_of(sc), &record));
	if (blocked && !record.expired && sc->address && sc->address->extra)
		fate_of(sc->address)->hosts_left = true;
	return blocked;
}

/* All hosts that there are have been failing for as long as their rules allow: this message waits no longer either. */
static void count_host(struct scope *sc, bool over)
{
	struct fate *fate = sc->address && sc->address->extra ? fate_of(sc->address) : NULL;

	if (fate && over)
		fate->hosts_over = true;
	else if (fate)
		fate->hosts_left = true;
}

static void host_result(void *arg, struct scope *sc, const struct transport *transport,
			const struct host_item *host, const struct delivery_outcome *outcome)
{
	struct slice key = host_key(sc, transport, host), of_message = message_key(sc, transport, host);
	bool host_failed = outcome->rc != OK && outcome->scope == DEFER_HOST;
	bool message_deferred = outcome->rc == DEFER && outcome->scope == DEFER_MESSAGE;

	(void)arg;
	if ((host_failed || message_deferred) && sc->address && sc->address->extra)
		log_host_trouble(fate_of(sc->address)->attempt, outcome);
	if (host_failed && outcome->rc == DEFER) {
		count_host(sc, retry_failed(sc, key, host->name, domain_of(sc), outcome));
		return;
	}
	retry_clear(sc->task->shard, key);
	if (message_deferred)
		count_host(sc, retry_failed(sc, of_message, host->name, domain_of(sc), outcome));
	else
		retry_clear(sc->task->shard, of_message);
}

void retry_host_hooks(struct deliverer *d)
{
	d->host_retry = (struct host_retry){.blocked = host_blocked, .result = host_result, .arg = d};
	transport_set_host_retry(d->shard, &d->host_retry);
}
