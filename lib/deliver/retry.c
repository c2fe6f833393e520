/* retry: the retry rules, and the memory of what failed when. Keys as Exim names them: "R:<address or domain>" for routing,
 * "T:<host>:<address>[:port]" for hosts, the same with ":<id>" for one message there, "T:<address>" for an address. */
#include "work.h"

struct retry_step {
	char kind;       /* F, G or H */
	int64_t until_s; /* since the first failure */
	int64_t interval_s;
	int64_t factor; /* thousandths */
};
struct retry_rule {
	const struct match_list *domains, *addresses; /* one of them */
	const struct match_list *senders;
	int error;                   /* enum retry_error of an outcome; -1: any */
	int code_first, code_second; /* rcpt_4xx: the digits; -1: any */
	struct retry_step steps[16];
	unsigned step_count;
	const struct retry_rule *next;
};
struct retry_rules {
	const struct retry_rule *first;
};

/* ---- Reading "begin retry" -------------------------------------------------------------------------------------- */

static bool error_word(struct slice word, struct retry_rule *rule)
{
	static const struct {
		const char *name;
		int error;
	} words[] = {
	    {"*", -1},
	    {"connect", RETRY_ERROR_CONNECT},
	    {"connect_A", RETRY_ERROR_CONNECT},
	    {"connect_MX", RETRY_ERROR_CONNECT},
	    {"refused", RETRY_ERROR_REFUSED},
	    {"refused_A", RETRY_ERROR_REFUSED},
	    {"refused_MX", RETRY_ERROR_REFUSED},
	    {"timeout", RETRY_ERROR_TIMEOUT},
	    {"timeout_A", RETRY_ERROR_TIMEOUT},
	    {"timeout_MX", RETRY_ERROR_TIMEOUT},
	    {"timeout_connect", RETRY_ERROR_TIMEOUT},
	    {"timeout_connect_A", RETRY_ERROR_TIMEOUT},
	    {"timeout_connect_MX", RETRY_ERROR_TIMEOUT},
	    {"timeout_DNS", RETRY_ERROR_DNS},
	    {"lookup", RETRY_ERROR_DNS},
	    {"lost_connection", RETRY_ERROR_LOST},
	    {"quota", RETRY_ERROR_QUOTA},
	    {"auth_failed", RETRY_ERROR_AUTH},
	    {"tls_required", RETRY_ERROR_TLS},
	    {"data_4xx", RETRY_ERROR_DATA_4XX},
	    {"mail_4xx", RETRY_ERROR_MAIL_4XX},
	    {"rcpt_4xx", RETRY_ERROR_RCPT_4XX},
	};

	rule->code_first = rule->code_second = -1;
	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		if (slice_eq(word, slice_of(words[i].name))) {
			rule->error = words[i].error;
			return true;
		}
	/* "quota_3d": quota, and the mailbox was not read for so long; the age is not known here. */
	if (slice_starts(word, SLICE("quota_"))) {
		rule->error = RETRY_ERROR_QUOTA;
		return true;
	}
	/* "rcpt_45x", "data_450" */
	if (word.len == 8 && word.ptr[4] == '_' && word.ptr[5] == '4') {
		struct slice what = slice_sub(word, 0, 4);
		rule->error = slice_eq(what, SLICE("rcpt"))   ? RETRY_ERROR_RCPT_4XX
			      : slice_eq(what, SLICE("data")) ? RETRY_ERROR_DATA_4XX
			      : slice_eq(what, SLICE("mail")) ? RETRY_ERROR_MAIL_4XX
							      : -2;
		rule->code_first = ascii_is_digit(word.ptr[6]) ? word.ptr[6] - '0' : -1;
		rule->code_second = ascii_is_digit(word.ptr[7]) ? word.ptr[7] - '0' : -1;
		return rule->error != -2;
	}
	return false;
}

static bool parse_factor(struct slice text, int64_t *thousandths)
{
	ptrdiff_t dot = slice_find(text, '.');
	uint64_t whole, part = 0;
	struct slice after = dot < 0 ? SLICE_EMPTY : slice_sub(text, (size_t)dot + 1, 3);

	if (!parse_u64(dot < 0 ? text : slice_sub(text, 0, (size_t)dot), &whole) || whole > 1000)
		return false;
	if (after.len && !parse_u64(after, &part))
		return false;
	for (uint32_t i = after.len; i < 3; i++)
		part *= 10;
	*thousandths = (int64_t)(whole * 1000 + part);
	return true;
}

static bool parse_step(struct slice text, struct retry_step *step)
{
	struct slice rest = slice_trim(text), part;

	if (!slice_split(&rest, ',', &part))
		return false;
	part = slice_trim(part);
	step->kind = part.len == 1 ? ascii_upper(part.ptr[0]) : 0;
	step->factor = 1000;
	if (step->kind != 'F' && step->kind != 'G' && step->kind != 'H')
		return false;
	if (!slice_split(&rest, ',', &part) || !conf_parse_time(slice_trim(part), &step->until_s))
		return false;
	if (!slice_split(&rest, ',', &part) || !conf_parse_time(slice_trim(part), &step->interval_s) ||
	    step->interval_s <= 0)
		return false;
	if (step->kind == 'F')
		return !rest.ptr;
	return slice_split(&rest, ',', &part) && parse_factor(slice_trim(part), &step->factor) &&
	       step->factor >= 1000 && !rest.ptr;
}

static enum rc parse_rule(struct conf *conf, const struct conf_line *line, struct retry_rule *rule,
			  struct err *err)
{
	struct slice rest = line->text, pattern, word, step;

	if (!slice_word(&rest, &pattern) || !slice_word(&rest, &word))
		return conf_error(err, &line->place, "a retry rule needs a pattern and an error name");
	if (!error_word(word, rule))
		return conf_error(err, &line->place, "unknown or malformed retry error name \"%.*s\"",
				  SLICE_ARG(word));
	if (slice_find(pattern, '@') >= 0 && !slice_starts(pattern, SLICE("^")))
		rule->addresses = match_compile(conf, &conf->arena, LIST_ADDRESS, pattern);
	else
		rule->domains = match_compile(conf, &conf->arena, LIST_DOMAIN, pattern);
	if (!rule->addresses && !rule->domains)
		return err_memory(err);
	rest = slice_trim(rest);
	if (slice_starts_nocase(rest, SLICE("senders="))) {
		struct slice list;
		rest = slice_from(rest, 8);
		(void)slice_word(&rest, &list);
		rule->senders = match_compile(conf, &conf->arena, LIST_ADDRESS, list);
		rest = slice_trim(rest);
	}
	if (!rest.len)
		return OK; /* a rule without steps: such failures are not retried */
	while (slice_split(&rest, ';', &step)) {
		if (!slice_trim(step).len)
			continue;
		if (rule->step_count == ARRAY_COUNT(rule->steps))
			return conf_error(err, &line->place, "more than %zu steps in a retry rule",
					  ARRAY_COUNT(rule->steps));
		if (!parse_step(step, &rule->steps[rule->step_count]))
			return conf_error(err, &line->place, "bad parameters for retry rule: \"%.*s\"",
					  SLICE_ARG(slice_trim(step)));
		rule->step_count++;
	}
	return OK;
}

static enum rc read_section(struct conf_reader *reader, void **section_ret, struct err *err)
{
	struct conf *conf = conf_reader_conf(reader);
	struct retry_rules *rules = arena_make(&conf->arena, struct retry_rules);
	const struct retry_rule **end;
	struct conf_line line;
	enum rc rc;

	if (!rules)
		return err_memory(err);
	end = &rules->first;
	while ((rc = conf_next_line(reader, &line, err)) == OK) {
		struct retry_rule *rule = arena_make(&conf->arena, struct retry_rule);
		if (!rule)
			return err_memory(err);
		rc = parse_rule(conf, &line, rule, err);
		if (rc != OK)
			return rc;
		*end = rule;
		end = &rule->next;
	}
	*section_ret = rules;
	return rc == FAIL && !err->text.len ? OK : rc;
}

const struct conf_section retry_conf_section = {
    .id = CONF_SECTION_RETRY, .name = "retry", .read = read_section};

/* ---- Which rule -------------------------------------------------------------------------------------------------- */

static struct slice domain_of(struct slice address)
{
	ptrdiff_t at = slice_rfind(address, '@');

	return at < 0 ? address : slice_from(address, (size_t)at + 1);
}

static bool error_fits(const struct retry_rule *rule, const struct delivery_outcome *outcome)
{
	struct slice reply = outcome->reply_text;

	if (rule->error == -1)
		return true;
	if (rule->error != (int)outcome->error)
		return false;
	if (rule->code_first >= 0 && (reply.len < 2 || reply.ptr[1] - '0' != rule->code_first))
		return false;
	return rule->code_second < 0 || (reply.len >= 3 && reply.ptr[2] - '0' == rule->code_second);
}

static const struct retry_rule *rule_find(struct scope *sc, struct slice address, struct slice host,
					  const struct delivery_outcome *outcome)
{
	const struct retry_rules *rules = conf_section(sc->conf, CONF_SECTION_RETRY);
	struct err err = err_make(sc->task->arena);

	for (const struct retry_rule *r = rules ? rules->first : NULL; r; r = r->next) {
		bool fits = r->domains
				? match_domain(sc, r->domains, domain_of(address), NULL, &err) == OK ||
				      (host.len && match_domain(sc, r->domains, host, NULL, &err) == OK)
				: match_address(sc, r->addresses, address, NULL, &err) == OK;
		if (fits && error_fits(r, outcome) &&
		    (!r->senders || match_address(sc, r->senders, sc->sender, NULL, &err) == OK))
			return r;
	}
	return NULL;
}

static uint64_t next_interval(struct scope *sc, const struct retry_step *step,
			      const struct retry_record *record)
{
	const struct deliver_options *o = conf_group(sc->conf, CONF_DELIVER);
	int64_t interval = step->interval_s, last = (int64_t)(record->next_try - record->last_try);

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

/* "T:address", or the file or command. */
struct slice retry_delivery_key(struct arena *arena, const struct address *address)
{
	struct slice key = arena_printf(arena, "T:%.*s",
					SLICE_ARG(address->file.len   ? address->file
						  : address->pipe.len ? address->pipe
								      : address->full));

	return key.ptr ? key : SLICE("T:");
}

bool retry_routing_waits(struct attempt *a, const struct address *address)
{
	struct retry_record record;

	/* Which router will be asked is not known yet: both kinds of key count. */
	return retry_look(a, routing_key(&a->arena, address, false), &record) == RETRY_WAIT ||
	       retry_look(a, routing_key(&a->arena, address, true), &record) == RETRY_WAIT;
}

void retry_routing_failed(struct attempt *a, const struct address *address,
			  const struct delivery_outcome *outcome)
{
	(void)retry_failed(&a->scope, routing_key(&a->arena, address, router_keeps_local_part(address)),
			   address->full, SLICE_EMPTY, outcome);
}

void retry_routing_done(struct attempt *a, const struct address *address)
{
	retry_clear(a->d->shard, routing_key(&a->arena, address, false));
	retry_clear(a->d->shard, routing_key(&a->arena, address, true));
}

static struct slice host_key(struct arena *arena, const struct host_item *host)
{
	struct str key = str_make(arena);

	str_addz(&key, "T:");
	str_add(&key, host->name);
	str_addc(&key, ':');
	str_add_ip(&key, &host->ip);
	if (host->ip.port && host->ip.port != 25) { /* by now the transport's, if the route gave none */
		str_addc(&key, ':');
		str_addu(&key, host->ip.port);
	}
	return key.failed ? SLICE("T:") : str_slice(&key);
}

enum retry_state retry_look_raw(struct shard *shard, struct arena *arena, const struct conf *conf,
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

enum retry_state retry_look(struct attempt *a, struct slice key, struct retry_record *record_ret)
{
	return retry_look_raw(a->d->shard, &a->arena, a->d->conf, key, record_ret, NULL);
}

bool retry_failed(struct scope *sc, struct slice key, struct slice address, struct slice host,
		  const struct delivery_outcome *outcome)
{
	struct shard *shard = sc->task->shard;
	const struct retry_rule *rule = rule_find(sc, address, host, outcome);
	uint64_t now = shard_wall(shard) / NS_PER_S;
	const struct retry_step *step = NULL;
	struct retry_record record;
	struct str value = str_make(sc->task->arena);
	struct slice text = slice_sub(outcome->message, 0, 200);

	if (!rule || !rule->step_count)
		return false; /* not kept: tried at each queue run, and given up as retry_too_old() says */
	if (retry_look_raw(shard, sc->task->arena, sc->conf, key, &record, NULL) == RETRY_NONE)
		record = (struct retry_record){.first_failed = now};
	for (unsigned i = 0; i < rule->step_count && !step; i++)
		if ((int64_t)(now - record.first_failed) <= rule->steps[i].until_s)
			step = &rule->steps[i];
	record.expired = !step;
	record.next_try = now + next_interval(sc, step ? step : &rule->steps[rule->step_count - 1], &record);
	record.last_try = now;
	record.error = outcome->error;
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

bool retry_too_old(struct scope *sc, struct slice address, const struct delivery_outcome *outcome,
		   uint64_t age_s)
{
	bool waits = outcome->os == DEFER_NOT_YET || outcome->os == DEFER_NOT_YET_LOCAL ||
		     outcome->os == RETRY_NOT_REACHED_HOSTS;
	const struct retry_rule *rule;

	/* "retry time not reached" is no failure of its own: any rule for the address tells how long it may wait. */
	rule = rule_find(sc, address, SLICE_EMPTY, waits ? &(struct delivery_outcome){0} : outcome);
	if (!rule || !rule->step_count)
		return !waits; /* no rule, or one without steps: one failure is final, as the language has it */
	return age_s > (uint64_t)rule->steps[rule->step_count - 1].until_s;
}

/* ---- Hosts: asked by the transports --------------------------------------------------------------------------------- */

/* What a host refused for now in one message ("T:host:ip:id"): later messages may fare better. */
static struct slice message_key(struct scope *sc, const struct host_item *host)
{
	struct slice key = arena_printf(sc->task->arena, "%.*s:%s",
					SLICE_ARG(host_key(sc->task->arena, host)), sc->message->id.text);

	return key.ptr ? key : SLICE("T:");
}

static bool host_blocked(void *arg, struct scope *sc, const struct transport *transport,
			 const struct host_item *host, struct host_history *history_ret)
{
	struct shard *shard = sc->task->shard;
	struct arena *arena = sc->task->arena;
	struct retry_record record;
	enum retry_state state = retry_look_raw(shard, arena, sc->conf, host_key(arena, host), &record, NULL);

	(void)arg;
	(void)transport;
	if (state == RETRY_NONE)
		state = retry_look_raw(shard, arena, sc->conf, message_key(sc, host), &record, NULL);
	*history_ret = (struct host_history){0};
	if (state != RETRY_NONE)
		*history_ret = (struct host_history){.expired = record.expired, .last_try = record.last_try};
	return state == RETRY_WAIT && !sc->forced;
}

static void host_result(void *arg, struct scope *sc, const struct transport *transport,
			const struct host_item *host, const struct delivery_outcome *outcome)
{
	struct slice key = host_key(sc->task->arena, host),
		     address = sc->address ? sc->address->full : SLICE_EMPTY;
	bool host_failed = outcome->rc != OK && outcome->scope == DEFER_HOST;
	bool message_deferred = outcome->rc == DEFER && outcome->scope == DEFER_MESSAGE;

	(void)arg;
	(void)transport;
	if ((host_failed || message_deferred) && sc->address && sc->address->extra)
		log_host_trouble(fate_of(sc->address)->attempt, outcome);
	if (host_failed && outcome->rc == DEFER) {
		(void)retry_failed(sc, key, address, host->name, outcome);
		return;
	}
	retry_clear(sc->task->shard, key);
	if (message_deferred)
		(void)retry_failed(sc, message_key(sc, host), address, host->name, outcome);
	else
		retry_clear(sc->task->shard, message_key(sc, host));
}

void retry_host_hooks(struct deliverer *d)
{
	d->host_retry = (struct host_retry){.blocked = host_blocked, .result = host_result, .arg = d};
	transport_set_host_retry(d->shard, &d->host_retry);
}

/* ---- -brt ------------------------------------------------------------------------------------------------------------- */

void retry_describe(struct scope *sc, struct slice address, struct slice host, struct str *out)
{
	const struct delivery_outcome any = {0};
	const struct retry_rule *rule = rule_find(sc, address, host, &any);

	if (!rule) {
		str_printf(out, "No retry information found\n");
		return;
	}
	str_printf(out, "Retry rule: %.*s  %s",
		   SLICE_ARG(match_list_text(rule->domains ? rule->domains : rule->addresses)),
		   rule->error < 0 ? "*  " : "");
	for (unsigned i = 0; i < rule->step_count; i++) {
		const struct retry_step *step = &rule->steps[i];
		str_printf(out, "%c,", step->kind);
		conf_print_time(out, step->until_s);
		str_addc(out, ',');
		conf_print_time(out, step->interval_s);
		if (step->kind != 'F') {
			str_printf(out, ",%lld", (long long)(step->factor / 1000));
			if (step->factor % 1000)
				str_printf(out, ".%lld",
					   (long long)(step->factor % 1000) / (step->factor % 10    ? 1
									       : step->factor % 100 ? 10
												    : 100));
		}
		str_addz(out, "; ");
	}
	str_addc(out, '\n');
}
