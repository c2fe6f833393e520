/* ratelimit: rates smoothed over a period, exact across shards and processes: the arithmetic runs on the one thread that
 * writes hints.
 *
 * A record in the "ratelimit" hints, in host order: double rate, uint64_t time of the last event in microseconds. The rate
 * after an event of weight c, t seconds after the last one, with period p: with a = exp(-t/p),
 * rate = (1-a) * c * p/t + a * rate, and at least c; the first event gives c. */
#include "list.h"

#include <math.h>
#include <stdlib.h>

enum rate_mode { PER_MAIL, PER_CONN, PER_BYTE, PER_RCPT, PER_ADDR, PER_CMD, PER_WHATEVER };
struct rate_record {
	double rate;
	uint64_t time_us;
};
struct rate_update {
	double limit, period, count;
	uint64_t now_us;
	bool strict, readonly;
	double rate_ret;
	bool over_ret;
};

static ptrdiff_t update(void *arg, struct slice old, char *new_value)
{
	struct rate_update *u = arg;
	struct rate_record record;

	if (!old.ptr || old.len != sizeof(record)) {
		record = (struct rate_record){u->count, u->now_us};
	} else {
		double interval;
		memcpy(&record, old.ptr, sizeof(record));
		/* A clock that went back, or two events at once, count as the smallest interval. */
		interval = u->now_us > record.time_us ? (double)(u->now_us - record.time_us) / 1e6 / u->period : 1e-9;
		if (interval < 1e-9)
			interval = 1e-9;
		double a = exp(-interval);
		record.rate = (1.0 - a) * u->count / interval + a * record.rate;
		if (record.rate < u->count)
			record.rate = u->count;
		record.time_us = u->now_us;
	}
	u->rate_ret = record.rate;
	u->over_ret = record.rate >= u->limit;
	if (u->readonly || (u->over_ret && !u->strict))
		return -1; /* leaky: what was over the limit is not counted */
	memcpy(new_value, &record, sizeof(record));
	return sizeof(record);
}

struct rate_words {
	double limit, period;
	int64_t period_s;
	enum rate_mode mode;
	bool mode_set, strict, leaky, readonly, unique;
	double count;
	bool count_set;
	struct slice key, unique_key;
};

static bool parse_number(struct slice text, double *number_ret)
{
	char z[64], *end;

	if (!text.len || text.len >= sizeof(z) - 1)
		return false;
	memcpy(z, text.ptr, text.len);
	z[text.len] = 0;
	*number_ret = strtod(z, &end);
	if (*end == 'K' || *end == 'k') {
		*number_ret *= 1024;
		end++;
	} else if (*end == 'M' || *end == 'm') {
		*number_ret *= 1024 * 1024;
		end++;
	} else if (*end == 'G' || *end == 'g') {
		*number_ret *= 1024.0 * 1024 * 1024;
		end++;
	}
	return *end == 0 && isfinite(*number_ret) && *number_ret >= 0;
}

static bool parse_words(struct acl_run *run, struct slice value, struct rate_words *w)
{
	static const char *const modes[] = {"per_mail", "per_conn", "per_byte", "per_rcpt", "per_addr", "per_cmd"};
	struct slice rest = value, word, before;

	*w = (struct rate_words){.mode = PER_MAIL, .count = 1, .key = {NULL, 0, 0}};
	if (!slice_split(&rest, '/', &word) || !parse_number(slice_trim(word), &w->limit)) {
		(void)err_set(run->err, FAIL, "first parameter is not a number");
		return false;
	}
	if (!slice_split(&rest, '/', &word) || !conf_parse_time(slice_trim(word), &w->period_s) || w->period_s <= 0) {
		(void)err_set(run->err, FAIL, "second parameter is not a time value");
		return false;
	}
	w->period = (double)w->period_s;
	for (before = rest; slice_split(&rest, '/', &word); before = rest) {
		bool known = false;
		word = slice_trim(word);
		for (unsigned i = 0; i < ARRAY_COUNT(modes) && !known; i++)
			if (slice_eq(word, slice_of(modes[i]))) {
				if (w->mode_set) {
					(void)err_set(run->err, FAIL, "conflicting per_* options");
					return false;
				}
				w->mode = (enum rate_mode)i;
				w->mode_set = known = true;
			}
		if (known)
			continue;
		if (slice_eq(word, SLICE("strict"))) {
			w->strict = true;
		} else if (slice_eq(word, SLICE("leaky"))) {
			w->leaky = true;
		} else if (slice_eq(word, SLICE("readonly")) || slice_eq(word, SLICE("noupdate"))) {
			w->readonly = true;
		} else if (slice_starts(word, SLICE("count="))) {
			w->count_set = true;
			if (!parse_number(slice_trim(slice_from(word, 6)), &w->count)) {
				(void)err_set(run->err, FAIL, "\"count=\" is not a number");
				return false;
			}
		} else if (slice_starts(word, SLICE("unique="))) {
			w->unique = true;
			w->unique_key = slice_trim(slice_from(word, 7));
		} else {
			/* The key, which may hold slashes: the rest of the line. */
			w->key = slice_trim(before);
			break;
		}
	}
	if ((w->strict && w->leaky) || (w->readonly && (w->strict || w->leaky))) {
		(void)err_set(run->err, FAIL, "conflicting update modes");
		return false;
	}
	return true;
}

static double weight(struct acl_run *run, const struct rate_words *w)
{
	struct message *m = run->sc->message;

	if (w->count_set)
		return w->count;
	if (w->mode == PER_BYTE)
		return m ? (double)(m->body.size + m->headers.bytes) : 0;
	if (w->mode == PER_RCPT && run->where != ACL_WHERE_RCPT && m)
		return (double)m->recipient_count;
	return 1;
}

static struct slice make_key(struct acl_run *run, const struct rate_words *w)
{
	static const char *const names[] = {"per_mail", "per_conn", "per_byte", "per_rcpt", "per_addr", "per_cmd"};
	struct str key = str_make(run->sc->task->arena);
	struct client *c = run->sc->client;

	str_printf(&key, "%lld/%s/%s", (long long)w->period_s, names[w->mode], w->strict ? "strict/" : "");
	if (w->key.ptr)
		str_add(&key, w->key);
	else if (c && c->ip.family)
		str_add_ip(&key, &c->ip);
	return str_slice(&key);
}

static enum acl_test run_ratelimit(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct scope *sc = run->sc;
	struct arena *arena = sc->task->arena;
	struct rate_words w;
	struct rate_update u;
	struct acl_memory *memory = acl_memory(sc);
	struct slice key;
	enum rc rc;

	(void)item;
	if (!parse_words(run, value, &w)) {
		err_prefix(run->err, "error in arguments to \"ratelimit\" condition: \"%.*s\"", SLICE_ARG(value));
		return TEST_ERROR;
	}
	key = make_key(run, &w);
	if (!key.ptr)
		return TEST_DEFER;
	u = (struct rate_update){.limit = w.limit, .period = w.period, .count = weight(run, &w), .strict = w.strict,
				 .readonly = w.readonly, .now_us = shard_wall_exact(sc->task->shard) / 1000};
	/* Asked again in the same message (the same connection, for per_conn), the same rate is not counted twice. */
	if (!w.readonly && w.mode != PER_CMD && w.mode != PER_RCPT && w.mode != PER_ADDR && memory) {
		if (map_get(&memory->rates, key))
			u.readonly = true;
		else if (!map_set(&memory->rates, arena_copy(&sc->message->arena, key), memory))
			return TEST_DEFER;
	}
	rc = hints_update(sc->task, HINTS_RATELIMIT, key, update, &u, run->err);
	if (rc != OK)
		return TEST_DEFER;
	sc->sender_rate = arena_printf(arena, "%.1f", u.rate_ret);
	sc->sender_rate_limit = arena_printf(arena, "%.1f", w.limit);
	sc->sender_rate_period = arena_printf(arena, "%llds", (long long)w.period_s);
	/* Without an event there is no rate: a limit of nothing is never reached by nothing. */
	return u.over_ret ? TEST_TRUE : TEST_FALSE;
}

const struct acl_word acl_word_ratelimit = {"ratelimit", CONDITION, VALUE_EXPAND, 0, run_ratelimit};
