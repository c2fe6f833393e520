/* Users and groups: name service may block (LDAP, NIS), so it is asked by a helper thread, and the answers, good and bad,
 * are kept for a minute per shard. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "name_service.h"
#include "routing.h"

#define CACHE_SECONDS   60
#define CACHE_COUNT_MAX 4096 /* then it is emptied: crude, but a flood of made-up names costs nothing else */

struct user_cache {
	struct map answers; /* key -> struct answer, heap */
};

static struct shard_slot cache_slot;

static struct user_cache *cache_of(struct shard *shard)
{
	struct user_cache *cache = shard_slot(shard, &cache_slot);

	if (!cache) {
		cache = calloc(1, sizeof(*cache)); /* once per shard */
		if (!cache)
			return NULL;
		map_init(&cache->answers, NULL, false);
		shard_slot_set(shard, &cache_slot, cache);
	}
	return cache;
}

static void cache_clear(struct user_cache *cache)
{
	uint32_t at = 0;

	for (struct map_entry *e; (e = map_next(&cache->answers, &at));)
		free(e->value);
	map_done(&cache->answers);
	map_init(&cache->answers, NULL, false);
}

void route_done(struct shard *shard)
{
	struct user_cache *cache = shard_slot(shard, &cache_slot);

	if (!cache)
		return;
	cache_clear(cache);
	free(cache);
	shard_slot_set(shard, &cache_slot, NULL);
}

static struct answer *remember(struct user_cache *cache, struct answer *answer)
{
	struct answer *old;
	struct slice key = slice_of(answer->key);

	if (cache->answers.count >= CACHE_COUNT_MAX)
		cache_clear(cache);
	old = map_remove(&cache->answers, key);
	free(old);
	return map_set(&cache->answers, key, answer) ? answer : NULL;
}

static void key_of(char *key, size_t size, enum ask ask, struct slice name, uint32_t id)
{
	if (ask == ASK_UID)
		snprintf(key, size, "i:%u", id);
	else
		snprintf(key, size, "%c:%.*s", ask == ASK_USER ? 'u' : 'g', SLICE_ARG(name));
}

static void forget(struct scope *sc, enum ask ask, struct slice name)
{
	struct user_cache *cache = cache_of(sc->task->shard);
	char key[NAME_LEN_MAX + 16];

	if (!cache || name.len > NAME_LEN_MAX)
		return;
	key_of(key, sizeof(key), ask, name, 0);
	free(map_remove(&cache->answers, slice_of(key)));
}

/* The answer stays valid until the next park. NULL: *rc_ret says why. */
static const struct answer *find(struct scope *sc, enum ask ask, struct slice name, uint32_t id,
				 enum rc *rc_ret, struct err *err)
{
	struct user_cache *cache = cache_of(sc->task->shard);
	struct answer *answer, *kept;
	char key[NAME_LEN_MAX + 16];

	if (name.len > NAME_LEN_MAX || memchr(name.ptr, 0, name.len) || (name.len == 0 && ask != ASK_UID)) {
		*rc_ret = FAIL;
		return NULL;
	}
	if (!cache) {
		*rc_ret = err_memory(err);
		return NULL;
	}
	key_of(key, sizeof(key), ask, name, id);
	answer = map_get(&cache->answers, slice_of(key));
	if (!answer || answer->expires < shard_now(sc->task->shard)) {
		answer = calloc(1, sizeof(*answer)); /* a helper thread may outlive us */
		if (!answer) {
			*rc_ret = err_memory(err);
			return NULL;
		}
		answer->ask = ask;
		answer->id = id;
		memcpy(answer->key, key, sizeof(key));
		*rc_ret = offload_call(sc->task, name_service_ask, answer, free, err);
		if (*rc_ret != OK)
			return NULL;
		answer->expires = shard_now(sc->task->shard) + CACHE_SECONDS * NS_PER_S;
		if (answer->rc == DEFER) {
			*rc_ret =
			    err_os(err, DEFER, answer->os ? answer->os : EIO, "user lookup for %s", key + 2);
			free(answer);
			return NULL;
		}
		kept = remember(cache, answer);
		if (!kept) {
			free(answer);
			*rc_ret = err_memory(err);
			return NULL;
		}
	}
	*rc_ret = answer->rc;
	return answer;
}

static enum rc entry_copy(struct arena *arena, const struct answer *answer, struct user_entry *ret,
			  struct err *err)
{
	*ret = (struct user_entry){
	    .name = arena_copy(arena, slice_of(answer->name)),
	    .home = arena_copy(arena, slice_of(answer->home)),
	    .gecos = arena_copy(arena, slice_of(answer->gecos)),
	    .shell = arena_copy(arena, slice_of(answer->shell)),
	    .uid = answer->id,
	    .gid = answer->gid,
	};
	return ret->name.ptr && ret->home.ptr && ret->gecos.ptr && ret->shell.ptr ? OK : err_memory(err);
}

/* finduser_retries: a name service that says "no" may only have been slow. */
static const struct answer *find_patiently(struct scope *sc, enum ask ask, struct slice name, enum rc *rc_ret,
					   struct err *err)
{
	const struct route_options *options = conf_group(sc->conf, CONF_ROUTE);
	const struct answer *answer = find(sc, ask, name, 0, rc_ret, err);

	for (int64_t i = 0; options && i < options->finduser_retries && *rc_ret == FAIL; i++) {
		if (task_sleep(sc->task, shard_now(sc->task->shard) + NS_PER_S) == CANCELLED) {
			*rc_ret = CANCELLED;
			return NULL;
		}
		forget(sc, ask, name);
		answer = find(sc, ask, name, 0, rc_ret, err);
	}
	return answer;
}

enum rc user_find(struct scope *sc, struct slice name, struct user_entry *ret, struct err *err)
{
	const struct route_options *options = conf_group(sc->conf, CONF_ROUTE);
	const struct answer *answer;
	enum rc rc;

	if (options && options->max_username_length > 0 && name.len > (uint64_t)options->max_username_length)
		return FAIL;
	answer = find_patiently(sc, ASK_USER, name, &rc, err);
	return rc == OK ? entry_copy(sc->task->arena, answer, ret, err) : rc;
}

enum rc user_find_uid(struct scope *sc, uint32_t uid, struct user_entry *ret, struct err *err)
{
	enum rc rc;
	const struct answer *answer = find(sc, ASK_UID, SLICE_EMPTY, uid, &rc, err);

	return rc == OK ? entry_copy(sc->task->arena, answer, ret, err) : rc;
}

enum rc group_find(struct scope *sc, struct slice name, uint32_t *gid_ret, struct err *err)
{
	enum rc rc;
	const struct answer *answer = find_patiently(sc, ASK_GROUP, name, &rc, err);

	if (rc == OK)
		*gid_ret = answer->gid;
	return rc;
}

enum rc user_groups(struct scope *sc, uint32_t uid, uint32_t gid, unsigned max, const uint32_t **groups_ret,
		    uint32_t *count_ret, struct err *err)
{
	struct groups_answer *answer = calloc(1, sizeof(*answer)); /* a helper thread may outlive us */
	uint32_t *groups = arena_array(sc->task->arena, uint32_t, max), count = 0;
	enum rc rc;

	if (!answer || !groups) {
		free(answer);
		return err_memory(err);
	}
	answer->uid = uid;
	answer->gid = gid;
	rc = offload_call(sc->task, name_service_ask_groups, answer, free, err);
	if (rc != OK)
		return rc;
	rc = answer->rc;
	for (int i = 0; rc == OK && i < answer->count; i++) {
		if (answer->groups[i] == 0)
			continue;
		if (count == max)
			rc = FAIL;
		else
			groups[count++] = answer->groups[i];
	}
	if (rc == DEFER)
		rc = err_os(err, DEFER, answer->os, "the groups of uid %u", uid);
	else if (rc == FAIL)
		rc =
		    err_set(err, FAIL,
			    answer->count > (int)max ? "cannot run initgroups(): uid %u is in too many groups"
						     : "cannot run initgroups(): no passwd entry for uid %u",
			    uid);
	free(answer);
	*groups_ret = groups;
	*count_ret = count;
	return rc;
}

/* What the option names: there is no message without an owner, and so a failure only puts it off. */
static enum rc owner_text(struct scope *sc, const struct expansion *option, const char *what,
			  struct slice *ret, struct err *err)
{
	enum rc rc = expand(sc, option, ret, err);

	if (rc == OK)
		*ret = slice_trim(*ret);
	else
		err_prefix(err, "failed to expand %s \"%.*s\"", what, SLICE_ARG(expansion_text(option)));
	return rc == FAIL ? DEFER : rc;
}

enum rc user_option(struct scope *sc, const struct expansion *option, bool *set_ret,
		    struct user_entry *user_ret, struct err *err)
{
	struct slice value;
	struct user_entry user = {.name = SLICE_EMPTY, .home = SLICE_EMPTY};
	uint64_t number;
	enum rc rc;

	*set_ret = false;
	if (!option)
		return OK;
	rc = owner_text(sc, option, "user", &value, err);
	if (rc != OK)
		return rc;
	if (parse_u64(value, &number) && number <= UINT32_MAX) {
		rc = user_find_uid(sc, (uint32_t)number, &user, err);
		if (rc == FAIL) { /* a number is enough, but then the group has to be given as well */
			user.uid = (uint32_t)number;
			user.gid = UINT32_MAX;
			rc = OK;
		}
	} else {
		rc = user_find(sc, value, &user, err);
		if (rc == FAIL)
			return err_set(err, DEFER, "user \"%.*s\" not found", SLICE_ARG(value));
	}
	if (rc != OK)
		return rc;
	*set_ret = true;
	if (user_ret)
		*user_ret = user;
	return OK;
}

enum rc group_option(struct scope *sc, const struct expansion *option, bool *set_ret, uint32_t *gid_ret,
		     struct err *err)
{
	struct slice value;
	uint64_t number;
	enum rc rc;

	*set_ret = false;
	if (!option)
		return OK;
	rc = owner_text(sc, option, "group", &value, err);
	if (rc != OK)
		return rc;
	if (parse_u64(value, &number) && number <= UINT32_MAX) {
		*gid_ret = (uint32_t)number;
	} else {
		rc = group_find(sc, value, gid_ret, err);
		if (rc == FAIL)
			return err_set(err, DEFER, "group \"%.*s\" not found", SLICE_ARG(value));
		if (rc != OK)
			return rc;
	}
	*set_ret = true;
	return OK;
}
