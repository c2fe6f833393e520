#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/arena.h"

/* From slices to pointers, open addressing, keyed hash (a stranger cannot choose colliding keys). Keys are
 * borrowed: they live as long as their entry. Memory comes from the arena given, or, with arena NULL, from
 * the heap, for maps that live and shrink with the process; then map_done() frees it. */
struct map_entry {
	struct slice key; /* ptr NULL: empty place */
	void *value;
	uint64_t hash;
};
struct map {
	struct arena *arena;
	struct map_entry *entries;
	uint32_t count;
	uint32_t room; /* a power of two, or 0 */
	bool nocase;   /* keys compare without regard to ASCII case */
};

void map_init(struct map *map, struct arena *arena, bool nocase);
void map_done(struct map *map);
/* The value, or NULL. */
void *map_get(const struct map *map, struct slice key);
/* Sets or replaces; the value may not be NULL. false when there is no memory. */
NODISCARD bool map_set(struct map *map, struct slice key, void *value);
/* The value that was there, or NULL. */
void *map_remove(struct map *map, struct slice key);
/* Each entry in turn, in no order: start with *at = 0; NULL at the end. The map must not change meanwhile. */
struct map_entry *map_next(const struct map *map, uint32_t *at);

#endif
