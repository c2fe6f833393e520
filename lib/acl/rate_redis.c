/* rate_redis: rates kept in Redis, so that several nodes count together.
 *
 * A key's rate is the hash "sluice:ratelimit:<key>": rate, time (of the last event, seconds by the server's clock, since
 * the nodes' clocks differ); for "unique=" also since, from which its set counts, and a field "e<digest>" for each event
 * seen since. One script does the arithmetic of ratelimit.c in one step: no node sees another's half-done work. The hash
 * expires when nothing is left of the rate. */
#include "rate.h"
#include "redis/redis.h"

#include <stdlib.h>

#define STR(x)  #x
#define XSTR(x) STR(x)

static const char script[] =
    "if redis.replicate_commands then redis.replicate_commands() end\n"
    "local t = redis.call('TIME')\n"
    "local now = t[1] + t[2] / 1000000\n"
    "local k, limit, period, count = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])\n"
    "local mode, event = ARGV[4], ARGV[5]\n"
    "local old = redis.call('HMGET', k, 'rate', 'time', 'since')\n"
    "local known, weight, since, forget = old[1] and old[2], count, old[3], false\n"
    "if mode == 'readonly' then weight = 0\n"
    "elseif event ~= '' then\n"
    "  if not since or now - since > period or redis.call('HLEN', k) >= " XSTR(
	RATE_UNIQUE_MAX) " then\n"
			 "    forget = true\n"
			 "  elseif redis.call('HEXISTS', k, 'e' .. event) == 1 then weight = 0 end\n"
			 "end\n"
			 "local rate = weight\n"
			 "if known then\n"
			 "  local i = math.max((now - old[2]) / period, 1e-9)\n"
			 "  local a = math.exp(-i)\n"
			 "  rate = math.max((1 - a) * weight / i + a * old[1], weight)\n"
			 "end\n"
			 "local text = string.format('%.17g', rate)\n"
			 "if mode == 'readonly' or (rate >= limit and mode ~= 'strict') then return text end\n"
			 "if forget then redis.call('DEL', k) since = now end\n"
			 "redis.call('HSET', k, 'rate', text)\n"
			 "redis.call('HSET', k, 'time', string.format('%.6f', now))\n"
			 "if event ~= '' then\n"
			 "  redis.call('HSET', k, 'since', string.format('%.6f', since))\n"
			 "  redis.call('HSET', k, 'e' .. event, '')\n"
			 "end\n"
			 "redis.call('EXPIRE', k, math.ceil(math.min(period * 30, 315360000)))\n"
			 "return text\n";

static bool rate_parse(struct slice text, double *rate_ret)
{
	char z[64], *end;

	if (!text.len || text.len >= sizeof(z))
		return false;
	memcpy(z, text.ptr, text.len);
	z[text.len] = 0;
	*rate_ret = strtod(z, &end);
	return !*end && *rate_ret >= 0;
}

static enum rc ask(struct scope *sc, const struct redis_server *server, const struct slice *words,
		   uint32_t count, struct rate_update *u, struct err *err)
{
	struct redis_reply reply;
	enum rc rc = redis_call(sc->task, server, words, count, &reply, err);

	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (reply.kind == REDIS_ERROR)
		return err_set(err, DEFER, "%.*s", SLICE_ARG(reply.text));
	if (reply.kind != REDIS_STRING || !rate_parse(reply.text, &u->rate_ret))
		return err_set(err, DEFER, "the reply is no rate");
	u->over_ret = u->rate_ret >= u->limit;
	return OK;
}

enum rc rate_redis_update(struct scope *sc, struct slice servers, struct slice key, struct rate_update *u,
			  struct err *err)
{
	struct arena *arena = sc->task->arena;
	const struct slice words[] = {
	    SLICE("EVAL"),
	    slice_of(script),
	    SLICE("1"),
	    arena_printf(arena, "sluice:ratelimit:%.*s", SLICE_ARG(key)),
	    arena_printf(arena, "%.17g", u->limit),
	    arena_printf(arena, "%.17g", u->period),
	    arena_printf(arena, "%.17g", u->count),
	    u->readonly ? SLICE("readonly")
	    : u->strict ? SLICE("strict")
			: SLICE("leaky"),
	    u->unique ? arena_printf(arena, "%016llx", (unsigned long long)u->event) : SLICE_EMPTY,
	};
	struct redis_server server;
	struct slice item;
	char separator = 0;
	enum rc rc = err_set(err, DEFER, "ratelimit_redis_servers names no server");

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		if (!words[i].ptr)
			return err_memory(err);
	/* The next server is for when one is away; a rate is not copied from one to the other. */
	while (rc == DEFER && list_next(arena, &servers, &separator, &item)) {
		if (!item.len)
			continue;
		rc = redis_server_parse(item, &server)
			 ? ask(sc, &server, words, ARRAY_COUNT(words), u, err)
			 : err_set(err, DEFER, "a server is not host/database/password");
		if (rc == DEFER)
			err_prefix(err, "ratelimit_redis_servers");
	}
	return rc;
}
