/* seen: the condition that remembers when a key was met, for greylisting and its like.
 *
 * A record in the "seen" hints: the time of the meeting, in seconds since the epoch, as digits. The test and what it
 * changes are one step on the thread that writes hints, so two sessions with the same key see each other. */
#include "list.h"

#include <stdio.h>

#define REFRESH_DEFAULT_S (10 * 86400)

struct seen_words {
	bool before; /* "-5m": a record older than that is wanted */
	int64_t interval_s, refresh_s;
	bool readonly, write;
	struct slice key; /* ptr NULL: the client's address */
};
struct seen_update {
	const struct seen_words *words;
	uint64_t now_s;
	bool true_ret;
};

static ptrdiff_t update(void *arg, struct slice old, char *new_value)
{
	struct seen_update *u = arg;
	const struct seen_words *w = u->words;
	uint64_t met, test_time = u->now_s > (uint64_t)w->interval_s ? u->now_s - (uint64_t)w->interval_s : 0;
	bool known = old.ptr && parse_u64(old, &met);
	uint64_t write = u->now_s;

	u->true_ret = known && (w->before ? met < test_time : met >= test_time);
	if (w->readonly)
		return -1;
	if (known && w->before && !w->write) {
		/* Only kept from being tidied away: a new time would make the key look young. */
		if (!u->true_ret || met + (uint64_t)w->refresh_s >= u->now_s)
			return -1;
		write = test_time;
	}
	return snprintf(new_value, 24, "%llu", (unsigned long long)write);
}

static bool parse_option(struct slice word, struct seen_words *w)
{
	if (slice_eq(word, SLICE("readonly"))) {
		w->readonly = true;
		w->write = false;
	} else if (slice_eq(word, SLICE("write"))) {
		w->write = true;
		w->readonly = false;
	} else if (slice_starts(word, SLICE("key="))) {
		w->key = slice_from(word, 4);
	} else if (slice_starts(word, SLICE("refresh="))) {
		return conf_parse_time(slice_trim(slice_from(word, 8)), &w->refresh_s) && w->refresh_s >= 0;
	} else {
		return false;
	}
	return true;
}

static bool parse_words(struct arena *arena, struct slice value, struct seen_words *w, struct err *err)
{
	char separator = '/';
	struct slice word = SLICE_EMPTY;

	*w = (struct seen_words){.refresh_s = REFRESH_DEFAULT_S, .key = {NULL, 0, 0}};
	(void)list_next(arena, &value, &separator, &word);
	if (word.len && word.ptr[0] == '-') {
		w->before = true;
		word = slice_from(word, 1);
	}
	if (!conf_parse_time(slice_trim(word), &w->interval_s) || w->interval_s < 0) {
		(void)err_set(err, FAIL, "failed to parse interval \"%.*s\"", SLICE_ARG(word));
		return false;
	}
	while (list_next(arena, &value, &separator, &word))
		if (!parse_option(word, w)) {
			(void)err_set(err, FAIL, "unknown or bad option \"%.*s\"", SLICE_ARG(word));
			return false;
		}
	return true;
}

static enum acl_test run_seen(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct scope *sc = run->sc;
	struct seen_words words;
	struct seen_update u = {.words = &words, .now_s = shard_wall_exact(sc->task->shard) / NS_PER_S};
	struct str key = str_make(sc->task->arena);

	(void)item;
	if (!parse_words(sc->task->arena, value, &words, run->err)) {
		err_prefix(run->err, "error in arguments to \"seen\" condition");
		return TEST_ERROR;
	}
	if (words.key.ptr)
		str_add(&key, words.key);
	else if (sc->client && sc->client->ip.family)
		str_add_ip(&key, &sc->client->ip);
	if (key.failed)
		return acl_test_of(err_memory(run->err));
	if (hints_update(sc->task, HINTS_SEEN, str_slice(&key), update, &u, run->err) != OK)
		return TEST_DEFER;
	return u.true_ret ? TEST_TRUE : TEST_FALSE;
}

enum rc acl_check_seen(struct arena *arena, struct slice value, struct err *err)
{
	struct seen_words words;

	return parse_words(arena, value, &words, err) ? OK : FAIL;
}

const struct acl_word acl_word_seen = {"seen", CONDITION, VALUE_EXPAND, 0, run_seen};
