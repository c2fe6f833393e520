/* cache: compiled forms of list texts that came out of an expansion, per shard, by text: the same list is
 * usually asked again soon. Entries live on the heap, since they outlast the message. */

#include <stdlib.h>

#include "state.h"

#define CACHE_COUNT_MAX 512
#define CACHE_BYTES_MAX (64ull * 1024 * 1024)

static struct shard_slot state_slot;

struct match_state *match_state_of(struct shard *shard)
{
	struct match_state *state = shard_slot(shard, &state_slot);

	if (state)
		return state;
	state = calloc(1, sizeof(*state));
	if (!state)
		return NULL;
	for (unsigned kind = 0; kind < LIST_KINDS; kind++) {
		map_init(&state->lists[kind][CLEAN], NULL, false);
		map_init(&state->lists[kind][TAINTED], NULL, false);
	}
	arena_init(&state->hosts_arena, 0);
	map_init(&state->hosts, &state->hosts_arena, true);
	list_init(&state->lru);
	shard_slot_set(shard, &state_slot, state);
	return state;
}

static void cached_free(struct cached_list *list)
{
	arena_done(&list->arena);
	free(list);
}

static void cached_drop(struct match_state *state, struct cached_list *list)
{
	(void)map_remove(list->map, list->text); /* it was in there */
	list_remove(&list->lru);
	state->count--;
	state->bytes -= list->arena.used;
	list->current = false;
	if (!list->refs)
		cached_free(list);
}

static struct cached_list *cached_make(unsigned kind, struct slice text)
{
	struct cached_list *list = calloc(1, sizeof(*list));

	if (!list)
		return NULL;
	arena_init(&list->arena, 0);
	list->text = arena_copy(&list->arena, text);
	if (list->text.ptr)
		list->compiled = list_compile(&list->arena, kind, list->text, 0);
	if (!list->compiled) {
		cached_free(list);
		return NULL;
	}
	return list;
}

enum rc list_cache_get(struct shard *shard, unsigned kind, struct slice text, struct cached_list **ret,
		       struct err *err)
{
	struct match_state *state = match_state_of(shard);
	struct cached_list *list;
	struct map *map;

	if (!state)
		return err_memory(err);
	map = &state->lists[kind][text.taint != CLEAN];
	list = map_get(map, text);
	if (list) {
		list_remove(&list->lru);
	} else {
		list = cached_make(kind, text);
		if (!list)
			return err_memory(err);
		list->map = map;
		if (!map_set(map, list->text, list)) {
			cached_free(list);
			return err_memory(err);
		}
		list->current = true;
		state->count++;
		state->bytes += list->arena.used;
	}
	list_prepend(&state->lru, &list->lru);
	list->refs++;
	while ((state->count > CACHE_COUNT_MAX || state->bytes > CACHE_BYTES_MAX) &&
	       state->lru.prev != state->lru.next)
		cached_drop(state, LIST_ITEM(state->lru.prev, struct cached_list, lru));
	*ret = list;
	return OK;
}

void list_cache_put(struct cached_list *list)
{
	ASSERT(list->refs > 0);
	if (--list->refs == 0 && !list->current)
		cached_free(list);
}

void match_done(struct shard *shard)
{
	struct match_state *state = shard_slot(shard, &state_slot);

	if (!state)
		return;
	LIST_EACH (l, &state->lru)
		cached_drop(state, LIST_ITEM(l, struct cached_list, lru));
	for (unsigned kind = 0; kind < LIST_KINDS; kind++) {
		map_done(&state->lists[kind][CLEAN]);
		map_done(&state->lists[kind][TAINTED]);
	}
	arena_done(&state->hosts_arena);
	free(state);
	shard_slot_set(shard, &state_slot, NULL);
}
