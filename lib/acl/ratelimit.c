/* ratelimit: rates smoothed over a period, exact across shards and processes: the arithmetic runs on the one thread that
 * writes hints.
 *
 * A record in the "ratelimit" hints, in host order: double rate, uint64_t time of the last event in microseconds. The rate
 * after an event of weight c, t seconds after the last one, with period p: with a = exp(-t/p),
 * rate = (1-a) * c * p/t + a * rate, and at least c; the first event gives c. A record that counts different events
 * ("unique=") goes on with the time from which its set counts and the digests of the events seen since. */
#include "rate.h"

#include <math.h>
#include <stdlib.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

enum rate_mode { PER_MAIL, PER_CONN, PER_RCPT, PER_CMD };
struct rate_record {
	double rate;
	uint64_t time_us;
};
struct rate_set {
	uint64_t since_us;
	uint64_t seen[RATE_UNIQUE_MAX];
};
/* Adds the event to the set behind the record, which is as long as what it holds. false: it was there already. */
static bool set_add(const struct rate_update *u, struct rate_set *set, size_t *count)
{
	if (*count && (double)(u->now_us - set->since_us) / 1e6 > u->period)
		*count = 0;
	for (size_t i = 0; i < *count; i++)
		if (set->seen[i] == u->event)
			return false;
	if (*count == RATE_UNIQUE_MAX)
		*count = 0;
	if (!*count)
		set->since_us = u->now_us;
	set->seen[(*count)++] = u->event;
	return true;
}

static double smoothed(const struct rate_update *u, const struct rate_record *record, double count)
{
	/* A clock that went back, or two events at once, count as the smallest interval. */
	double interval =
	    u->now_us > record->time_us ? (double)(u->now_us - record->time_us) / 1e6 / u->period : 1e-9;
	double a, rate;

	if (interval < 1e-9)
		interval = 1e-9;
	a = exp(-interval);
	rate = (1.0 - a) * count / interval + a * record->rate;
	return rate < count ? count : rate;
}

static ptrdiff_t update(void *arg, struct slice old, char *new_value)
{
	struct rate_update *u = arg;
	struct rate_record record;
	struct rate_set *set = (struct rate_set *)(void *)(new_value + sizeof(record));
	size_t set_len = offsetof(struct rate_set, seen), count = 0;
	double weight = u->readonly ? 0 : u->count;
	bool known = old.ptr && old.len >= sizeof(record);

	if (known)
		memcpy(&record, old.ptr, sizeof(record));
	if (u->unique && !u->readonly) {
		if (known && old.len >= sizeof(record) + set_len &&
		    old.len <= sizeof(record) + sizeof(*set)) {
			memcpy(set, old.ptr + sizeof(record), old.len - sizeof(record));
			count = (old.len - sizeof(record) - set_len) / sizeof(set->seen[0]);
		}
		if (!set_add(u, set, &count))
			weight = 0;
	}
	u->rate_ret = known ? smoothed(u, &record, weight) : weight;
	u->over_ret = u->rate_ret >= u->limit;
	/* Leaky: what was over the limit is not counted. */
	if (u->readonly || (u->over_ret && !u->strict))
		return -1;
	record = (struct rate_record){u->rate_ret, u->now_us};
	memcpy(new_value, &record, sizeof(record));
	return (ptrdiff_t)(sizeof(record) + (u->unique ? set_len + count * sizeof(set->seen[0]) : 0));
}

static_assert(sizeof(struct rate_record) + sizeof(struct rate_set) <= HINTS_VALUE_MAX,
	      "a record fits into a hint");

struct rate_words {
	double limit, period;
	int64_t period_s;
	enum rate_mode mode;
	bool mode_set, strict, leaky, readonly, noupdate, unique, per_addr, per_byte;
	double count;
	bool count_set;
	struct slice limit_text, period_text; /* as given: for the variables */
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

static const char *const mode_names[] = {"per_mail", "per_conn", "per_rcpt", "per_cmd"};

static bool refuse(struct err *err, const char *what, struct slice word)
{
	(void)err_set(err, FAIL, "\"%.*s\" %s", SLICE_ARG(word), what);
	return false;
}

/* Two of the kinds are another with a measure of their own. */
static bool parse_mode(struct slice word, struct rate_words *w, enum rate_mode *mode_ret)
{
	if (slice_eq(word, SLICE("per_byte"))) {
		w->per_byte = true;
		*mode_ret = PER_MAIL;
		return true;
	}
	if (slice_eq(word, SLICE("per_addr"))) {
		w->per_addr = true;
		*mode_ret = PER_RCPT;
		return true;
	}
	for (unsigned i = 0; i < ARRAY_COUNT(mode_names); i++)
		if (slice_eq(word, slice_of(mode_names[i]))) {
			*mode_ret = (enum rate_mode)i;
			return true;
		}
	return false;
}

/* One of the options behind the limit and the period. *key_ret: it is none, so it is of the key. */
static bool parse_option(struct slice word, struct rate_words *w, bool *key_ret, struct err *err)
{
	enum rate_mode mode;

	*key_ret = false;
	if (parse_mode(word, w, &mode)) {
		if (w->mode_set) {
			(void)err_set(err, FAIL, "conflicting per_* options");
			return false;
		}
		w->mode = mode;
		w->mode_set = true;
	} else if (slice_eq(word, SLICE("strict"))) {
		w->strict = true;
	} else if (slice_eq(word, SLICE("leaky"))) {
		w->leaky = true;
	} else if (slice_eq(word, SLICE("readonly"))) {
		w->readonly = true;
	} else if (slice_eq(word, SLICE("noupdate"))) {
		w->noupdate = true;
	} else if (slice_starts(word, SLICE("count="))) {
		w->count_set = true;
		if (!parse_number(slice_trim(slice_from(word, 6)), &w->count))
			return refuse(err, "is not a positive number", slice_from(word, 6));
	} else if (slice_starts(word, SLICE("unique="))) {
		w->unique = true;
		w->unique_key = slice_trim(slice_from(word, 7));
	} else {
		*key_ret = true;
	}
	return true;
}

static bool parse_words(struct arena *arena, struct slice value, struct rate_words *w, struct err *err)
{
	struct slice rest = value, word = SLICE_EMPTY;
	struct str key = str_make(arena);

	*w =
	    (struct rate_words){.mode = PER_MAIL, .count = 1, .key = {NULL, 0, 0}, .unique_key = SLICE_EMPTY};
	(void)slice_split(&rest, '/', &word); /* false: nothing, which is no number */
	w->limit_text = slice_trim(word);
	/* No limit before the slash is none at all: everything is over it. */
	if ((w->limit_text.len || !rest.ptr) && !parse_number(w->limit_text, &w->limit))
		return refuse(err, "is not a positive number", w->limit_text);
	word = SLICE_EMPTY;
	(void)slice_split(&rest, '/', &word);
	w->period_text = slice_trim(word);
	if (!conf_parse_time(w->period_text, &w->period_s) || w->period_s <= 0)
		return refuse(err, "is not a time value", w->period_text);
	w->period = (double)w->period_s;
	while (slice_split(&rest, '/', &word)) {
		bool is_key;
		word = slice_trim(word);
		if (!parse_option(word, w, &is_key, err))
			return false;
		if (!is_key || (!word.len && !rest.ptr && !key.len))
			continue;
		/* A key may hold slashes, and options may stand behind it. */
		if (key.len)
			str_addc(&key, '/');
		str_add(&key, word);
	}
	if (key.len || key.failed)
		w->key = str_slice(&key);
	if (w->strict + w->leaky + w->readonly > 1) {
		(void)err_set(err, FAIL, "conflicting update modes");
		return false;
	}
	return !key.failed;
}

/* Where an event of the kind is not to be counted: there the rate is looked at only. */
static bool counted_at(enum rate_mode mode, enum acl_where where)
{
	const uint32_t here = 1u << where, local = AT(NOT_SMTP) | AT(NOT_SMTP_START),
		       message = AT(RCPT) | AT(PREDATA) | AT(MIME) | AT(DATA) | AT(PRDR) | AT(NOT_SMTP);

	switch (mode) {
	case PER_CONN:
		return !(here & local);
	case PER_MAIL:
		return here & (message | AT(MAIL));
	case PER_RCPT:
		return here & message;
	default:
		return true;
	}
}

static double weight(struct acl_run *run, const struct rate_words *w)
{
	struct message *m = run->sc->message;

	if (w->count_set)
		return w->count;
	if (w->per_byte)
		/* Before the data, the client's word (SIZE=) is all there is. */
		return !m ? 0 : m->body.size ? (double)message_size(m) : (double)m->size_declared;
	if (w->mode == PER_RCPT && run->where != ACL_WHERE_RCPT && m)
		return (double)m->recipient_count;
	return 1;
}

/* A strong digest, since strangers choose the events that are not to pass for each other. */
static uint64_t event_digest(struct slice event)
{
	byte digest[WC_SHA256_DIGEST_SIZE];
	uint64_t first;

	if (wc_Sha256Hash((const byte *)event.ptr, event.len, digest) != 0)
		return 0; /* all are one event: counted at most once a period */
	memcpy(&first, digest, sizeof(first));
	return first;
}

/* Update mode and limit are not part of it: one condition may look at what another counts. */
static struct slice make_key(struct acl_run *run, const struct rate_words *w)
{
	struct str key = str_make(run->sc->task->arena);
	struct client *c = run->sc->client;

	str_printf(&key, "%.*s/%s/%s", SLICE_ARG(w->period_text), mode_names[w->mode],
		   w->unique ? "unique/" : "");
	if (w->key.ptr)
		str_add(&key, w->key);
	else if (c && c->ip.family)
		str_add_ip(&key, &c->ip);
	return str_slice(&key);
}

/* The rates that were counted already in this connection, this message or this command: asked again, they are not counted
 * twice. NULL: nowhere to keep them. */
static struct map *counted(struct acl_run *run, enum rate_mode mode, struct arena **arena_ret)
{
	struct scope *sc = run->sc;
	struct acl_memory *memory = acl_memory(sc);
	struct client *client = sc->client;
	struct acl_frame *top = sc->acl;

	switch (mode) {
	case PER_CONN:
		if (!client || !client->arena)
			return NULL;
		*arena_ret = client->arena;
		if (!client->rates && (client->rates = arena_make(client->arena, struct map)))
			map_init(client->rates, client->arena, false);
		return client->rates;
	case PER_MAIL:
		*arena_ret = memory ? &sc->message->arena : NULL;
		return memory ? &memory->rates : NULL;
	default:
		while (top->outer)
			top = top->outer;
		*arena_ret = sc->task->arena;
		if (!top->rates && (top->rates = arena_make(sc->task->arena, struct map)))
			map_init(top->rates, sc->task->arena, false);
		return top->rates;
	}
}

/* Asks the hints, unless the key's rate is known here already. */
static enum rc rate_of(struct acl_run *run, enum rate_mode mode, struct slice key, struct rate_update *u)
{
	const struct acl_options *options;
	struct arena *arena = NULL;
	/* What was only looked at is known for the command, and no longer. */
	struct map *known = counted(run, u->readonly ? PER_CMD : mode, &arena);
	double *rate = known ? map_get(known, key) : NULL;
	enum rc rc;

	if (rate) {
		u->rate_ret = *rate;
		u->over_ret = u->rate_ret >= u->limit;
		return OK;
	}
	options = conf_group(run->sc->conf, CONF_ACL);
	rc = options && options->ratelimit_redis_servers.len
		 ? rate_redis_update(run->sc, options->ratelimit_redis_servers, key, u, run->err)
		 : hints_update(run->sc->task, HINTS_RATELIMIT, key, update, u, run->err);
	if (rc != OK || !known)
		return rc;
	rate = arena_make(arena, double);
	key = arena_copy(arena, key);
	if (!rate || !key.ptr || !map_set(known, key, rate))
		return err_memory(run->err);
	*rate = u->rate_ret;
	return OK;
}

static enum acl_test run_ratelimit(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct scope *sc = run->sc;
	struct rate_words w;
	struct rate_update u;
	struct slice key;

	(void)item;
	if (!parse_words(sc->task->arena, value, &w, run->err)) {
		err_prefix(run->err, "error in arguments to \"ratelimit\" condition");
		return TEST_ERROR;
	}
	if (w.per_addr && !w.unique) {
		w.unique = true;
		w.unique_key = sc->address ? sc->address->full : SLICE_EMPTY;
	}
	if (!counted_at(w.mode, run->where) || (w.per_addr && run->where != ACL_WHERE_RCPT)) {
		if ((w.strict || w.leaky) && !w.noupdate) {
			(void)err_set(
			    run->err, FAIL,
			    "error in arguments to \"ratelimit\" condition: what is not counted in the %s ACL can only be "
			    "looked at there: \"strict\" and \"leaky\" are for others",
			    acl_where_names[run->where]);
			return TEST_ERROR;
		}
		w.noupdate = true;
	}
	w.readonly |= w.noupdate;
	key = make_key(run, &w);
	if (!key.ptr)
		return TEST_DEFER;
	u = (struct rate_update){.limit = w.limit,
				 .period = w.period,
				 .count = weight(run, &w),
				 .strict = w.strict,
				 .readonly = w.readonly,
				 .now_us = shard_wall_exact(sc->task->shard) / 1000,
				 .unique = w.unique,
				 .event = w.unique ? event_digest(w.unique_key) : 0};
	if (rate_of(run, w.mode, key, &u) != OK)
		return TEST_DEFER;
	sc->sender_rate = arena_printf(sc->task->arena, "%.1f", u.rate_ret);
	DEBUG(DEBUG_CHECK(DEBUG_ACL), "ratelimit computed rate %.1f, limit %.*s / %.*s: %s (key %.*s)",
	      u.rate_ret, SLICE_ARG(w.limit_text), SLICE_ARG(w.period_text), u.over_ret ? "over" : "under",
	      SLICE_ARG(key));
	sc->sender_rate_limit = w.limit_text;
	sc->sender_rate_period = w.period_text;
	return u.over_ret ? TEST_TRUE : TEST_FALSE;
}

enum rc acl_check_ratelimit(struct arena *arena, struct slice value, struct err *err)
{
	struct rate_words w;

	return parse_words(arena, value, &w, err) ? OK : FAIL;
}

const struct acl_word acl_word_ratelimit = {"ratelimit", CONDITION, VALUE_EXPAND, 0, run_ratelimit};
