#include "base/base.h"

#include <stdlib.h>

void map_init(struct map *map, struct arena *arena, bool nocase)
{
	*map = (struct map){.arena = arena, .nocase = nocase};
}

void map_done(struct map *map)
{
	if (!map->arena)
		free(map->entries);
	map->entries = NULL;
	map->count = map->room = 0;
}

static uint64_t key_hash(const struct map *map, struct slice key)
{
	return map->nocase ? hash_slice_nocase(key) : hash_slice(key);
}

static bool key_eq(const struct map *map, struct slice a, struct slice b)
{
	return map->nocase ? slice_eq_nocase(a, b) : slice_eq(a, b);
}

/* The key's entry, or the empty place where it would go. There always is one: a map is at most 3/4 full. */
static struct map_entry *find(const struct map *map, struct slice key, uint64_t hash)
{
	uint32_t mask = map->room - 1;

	for (uint32_t at = (uint32_t)hash & mask;; at = (at + 1) & mask) {
		struct map_entry *e = &map->entries[at];
		if (!e->key.ptr || (e->hash == hash && key_eq(map, e->key, key)))
			return e;
	}
}

static bool grow(struct map *map)
{
	struct map_entry *old = map->entries;
	uint32_t old_room = map->room, room = old_room ? old_room * 2 : 16;

	if (room < old_room)
		return false;
	map->entries = map->arena ? arena_array(map->arena, struct map_entry, room)
				  : calloc(room, sizeof(struct map_entry));
	if (!map->entries) {
		map->entries = old;
		return false;
	}
	map->room = room;
	for (uint32_t i = 0; i < old_room; i++)
		if (old[i].key.ptr)
			*find(map, old[i].key, old[i].hash) = old[i];
	if (!map->arena)
		free(old);
	return true;
}

void *map_get(const struct map *map, struct slice key)
{
	return map->room ? find(map, key, key_hash(map, key))->value : NULL;
}

bool map_set(struct map *map, struct slice key, void *value)
{
	uint64_t hash = key_hash(map, key);
	struct map_entry *e;

	ASSERT(value && key.ptr);
	if (map->count >= map->room / 4 * 3 && !grow(map))
		return false;
	e = find(map, key, hash);
	if (!e->key.ptr)
		map->count++;
	*e = (struct map_entry){key, value, hash};
	return true;
}

void *map_remove(struct map *map, struct slice key)
{
	struct map_entry *e;
	void *value;
	uint32_t mask = map->room - 1, hole, at;

	if (!map->room)
		return NULL;
	e = find(map, key, key_hash(map, key));
	value = e->value;
	if (!e->key.ptr)
		return NULL;
	/* Close the gap: whoever stands behind it and could stand in it moves up, so that no search stops
	 * early and no tombstone is left. */
	hole = at = (uint32_t)(e - map->entries);
	for (;;) {
		at = (at + 1) & mask;
		e = &map->entries[at];
		if (!e->key.ptr)
			break;
		if (((at - (uint32_t)e->hash) & mask) >= ((at - hole) & mask)) {
			map->entries[hole] = *e;
			hole = at;
		}
	}
	map->entries[hole] = (struct map_entry){0};
	map->count--;
	return value;
}

struct map_entry *map_next(const struct map *map, uint32_t *at)
{
	while (*at < map->room) {
		struct map_entry *e = &map->entries[(*at)++];
		if (e->key.ptr)
			return e;
	}
	return NULL;
}
