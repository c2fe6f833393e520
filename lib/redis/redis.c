/* redis: the connections of a shard, by server, and a command's way to the one that has its answer. */
#include "link.h"

#include <stdio.h>
#include <stdlib.h>

/* Servers come from the configuration, but may be chosen by an expansion. */
#define LINK_COUNT_MAX 256
/* A cluster that is being rearranged sends a client on more than once. */
#define REDIRECTION_COUNT_MAX 5

static struct shard_slot links_slot;

/* ---- Connections by server ------------------------------------------------------------------ */

static void forget_unused(struct map *links)
{
	uint32_t at = 0;
	struct map_entry *entry;

	while ((entry = map_next(links, &at))) {
		struct redis_link *link = entry->value;

		if (link->users || link->fiber)
			continue;
		(void)map_remove(links, link->key);
		link_free(link);
		at = 0; /* the map has changed */
	}
}

static struct map *links_of(struct shard *shard)
{
	struct map *links = shard_slot(shard, &links_slot);

	if (links)
		return links;
	links = calloc(1, sizeof(*links));
	if (!links)
		return NULL;
	map_init(links, NULL, false);
	shard_slot_set(shard, &links_slot, links);
	return links;
}

static enum rc link_find(struct task *task, const struct redis_server *server, struct redis_link **link_ret,
			 struct err *err)
{
	struct map *links = links_of(task->shard);
	struct slice key =
	    arena_printf(task->arena, "%.*s %u %.*s %.*s %.*s", SLICE_ARG(server->host), server->port,
			 SLICE_ARG(server->path), SLICE_ARG(server->database), SLICE_ARG(server->password));

	if (!links || !key.ptr)
		return err_memory(err);
	*link_ret = map_get(links, key);
	if (*link_ret)
		return OK;
	if (links->count >= LINK_COUNT_MAX)
		forget_unused(links);
	if (links->count >= LINK_COUNT_MAX)
		return err_set(err, DEFER, "too many Redis servers in use");
	*link_ret = link_new(task->shard, key, server);
	if (!*link_ret)
		return err_memory(err);
	if (!map_set(links, (*link_ret)->key, *link_ret)) {
		link_free(*link_ret);
		return err_memory(err);
	}
	return OK;
}

void redis_done(struct shard *shard)
{
	struct map *links = shard_slot(shard, &links_slot);
	struct map_entry *entry;
	uint32_t at = 0;

	if (!links)
		return;
	while ((entry = map_next(links, &at)))
		link_free(entry->value);
	map_done(links);
	free(links);
	shard_slot_set(shard, &links_slot, NULL);
}

/* ---- Commands that a shared connection cannot take ------------------------------------------- */

static enum rc check(const struct slice *words, uint32_t count, struct err *err)
{
	/* The first change what the connection is to all, the others hold it up. */
	static const char *const refused[] = {
	    "ASKING",      "AUTH",       "CLIENT",   "DISCARD",      "EXEC",      "HELLO",        "MONITOR",
	    "MULTI",       "PSUBSCRIBE", "PSYNC",    "PUNSUBSCRIBE", "QUIT",      "READONLY",     "READWRITE",
	    "RESET",       "SELECT",     "SHUTDOWN", "SSUBSCRIBE",   "SUBSCRIBE", "SUNSUBSCRIBE", "SYNC",
	    "UNSUBSCRIBE", "UNWATCH",    "WATCH",    "BLMOVE",       "BLMPOP",    "BLPOP",        "BRPOP",
	    "BRPOPLPUSH",  "BZMPOP",     "BZPOPMAX", "BZPOPMIN",     "DEBUG",     "WAIT",         "WAITAOF",
	};

	if (!count || !words[0].len)
		return err_set(err, FAIL, "the command is empty");
	for (unsigned i = 0; i < ARRAY_COUNT(refused); i++)
		if (slice_eq_nocase(words[0], slice_of(refused[i])))
			return err_set(err, FAIL,
				       "the command %s cannot be used on a connection that others share",
				       refused[i]);
	for (uint32_t i = 1; i < count; i++)
		if (slice_starts_nocase(words[0], SLICE("XREAD")) &&
		    slice_eq_nocase(words[i], SLICE("BLOCK")))
			return err_set(
			    err, FAIL,
			    "a command that blocks cannot be used on a connection that others share");
	return OK;
}

/* ---- Redirections (Redis Cluster specification, "MOVED and ASK") ----------------------------- */

/* "MOVED 3999 127.0.0.1:6381": an empty host is the one that was asked. */
static bool redirected(const struct redis_reply *reply, struct redis_server *server, bool *asking)
{
	struct slice rest = reply->text, word, host;
	ptrdiff_t colon;
	int64_t port = 0;

	if (reply->kind != REDIS_ERROR || !slice_word(&rest, &word))
		return false;
	*asking = slice_eq(word, SLICE("ASK"));
	if (!*asking && !slice_eq(word, SLICE("MOVED")))
		return false;
	if (!slice_word(&rest, &word) || !slice_word(&rest, &host))
		return false;
	colon = slice_rfind(host, ':');
	if (colon < 0)
		return false;
	for (struct slice digits = slice_from(host, (size_t)colon + 1); digits.len;
	     digits = slice_from(digits, 1)) {
		if (!ascii_is_digit(digits.ptr[0]) || port > UINT16_MAX)
			return false;
		port = port * 10 + (digits.ptr[0] - '0');
	}
	if (port < 1 || port > UINT16_MAX)
		return false;
	server->port = (uint16_t)port;
	if (colon > 0) {
		server->host = slice_sub(host, 0, (size_t)colon);
		server->path = SLICE_EMPTY;
	}
	return server->host.len;
}

enum rc redis_call(struct task *task, const struct redis_server *server, const struct slice *words,
		   uint32_t count, struct redis_reply *reply_ret, struct err *err)
{
	struct redis_server at = *server;
	bool asking = false;
	enum rc rc = check(words, count, err);

	for (unsigned i = 0; rc == OK && i <= REDIRECTION_COUNT_MAX; i++) {
		struct redis_link *link = NULL;

		rc = link_find(task, &at, &link, err);
		if (rc == OK)
			rc = link_call(task, link, asking, words, count, reply_ret, err);
		if (rc != OK || !redirected(reply_ret, &at, &asking))
			break;
	}
	return rc;
}
