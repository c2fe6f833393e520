/* cache: what a shard was told, for as long as it may be believed, and what it is just asking.
 *
 * An answer is kept as struct packed, in one piece, of which those who ask get a copy. Entries are from the heap,
 * since they outlive the task that asked; the cache is bounded in number and in bytes, and the least recently
 * used goes first. */

#include "cache.h"

#include <stdlib.h>

static struct slice entry_key(const struct cache_entry *entry)
{
	return slice_make((const char *)entry->key, entry->key_len, CLEAN);
}

static struct slice key_write(uint8_t key[static WIRE_NAME_MAX + 2], const struct wire_name *name,
			      uint16_t type)
{
	key[0] = (uint8_t)(type >> 8);
	key[1] = (uint8_t)type;
	memcpy(key + 2, name->bytes, name->len);
	return slice_make((const char *)key, name->len + 2, CLEAN);
}

struct wire_name cache_entry_name(const struct cache_entry *entry)
{
	struct wire_name name = {.len = entry->key_len - 2};

	memcpy(name.bytes, entry->key + 2, name.len);
	return name;
}

uint16_t cache_entry_type(const struct cache_entry *entry)
{
	return wire_u16(entry->key);
}

void cache_init(struct cache *cache, uint32_t count_max)
{
	*cache = (struct cache){.count_max = count_max};
	map_init(&cache->map, NULL, false);
	list_init(&cache->lru);
}

void cache_ref(struct cache_entry *entry)
{
	entry->refs++;
}

void cache_unref(struct cache_entry *entry)
{
	ASSERT(entry->refs > 0);
	if (--entry->refs > 0)
		return;
	free(entry->answer);
	free(entry);
}

/* Out of the cache; those who wait for it keep it alive. */
static void entry_drop(struct cache *cache, struct cache_entry *entry)
{
	if (!entry->cached)
		return;
	map_remove(&cache->map, entry_key(entry));
	list_remove(&entry->lru);
	cache->bytes -= entry->answer_len;
	entry->cached = false;
	cache_unref(entry);
}

void cache_clear(struct cache *cache)
{
	struct map_entry *e;

	for (uint32_t at = 0; (e = map_next(&cache->map, &at)); at = 0)
		entry_drop(cache, e->value);
	map_done(&cache->map);
	map_init(&cache->map, NULL, false);
}

struct cache_entry *cache_get(struct cache *cache, const struct wire_name *name, uint16_t type, uint64_t now)
{
	uint8_t key[WIRE_NAME_MAX + 2];
	struct cache_entry *entry = map_get(&cache->map, key_write(key, name, type));

	if (!entry || entry->asking)
		return entry;
	if (now >= entry->expires_at) {
		entry_drop(cache, entry);
		return NULL;
	}
	list_remove(&entry->lru);
	list_prepend(&cache->lru, &entry->lru);
	return entry;
}

void cache_forget(struct cache *cache, const struct wire_name *name, uint16_t type)
{
	uint8_t key[WIRE_NAME_MAX + 2];
	struct cache_entry *entry = map_get(&cache->map, key_write(key, name, type));

	if (entry && !entry->asking) /* what is being asked is as new as can be */
		entry_drop(cache, entry);
}

struct cache_entry *cache_add(struct cache *cache, const struct wire_name *name, uint16_t type)
{
	struct cache_entry *entry;

	if (cache->asking >= CACHE_ASKING_MAX)
		return NULL;
	entry = calloc(1, sizeof(*entry) + name->len + 2);
	if (!entry)
		return NULL;
	entry->key_len = key_write(entry->key, name, type).len;
	entry->asking = true;
	entry->refs = 1;
	list_init(&entry->lru);
	waitq_init(&entry->waiters);
	cache->asking++;
	/* Without a place in the map nobody can join in, which costs a question and nothing else. */
	if (map_set(&cache->map, entry_key(entry), entry)) {
		entry->cached = true;
		entry->refs++;
	}
	return entry;
}

/* The least recently used go until the bounds hold. */
static void cache_trim(struct cache *cache)
{
	while (!list_empty(&cache->lru) &&
	       (cache->bytes > CACHE_BYTES_MAX || cache->map.count > cache->count_max + cache->asking))
		entry_drop(cache, LIST_ITEM(cache->lru.prev, struct cache_entry, lru));
}

void cache_known(struct cache *cache, struct cache_entry *entry, const void *answer, size_t len, bool failed,
		 uint64_t now, uint64_t ttl_s)
{
	ASSERT(entry->asking);
	cache->asking--;
	entry->asking = false;
	entry->failed = failed;
	entry->stored_at = now;
	entry->expires_at = now + ttl_s * NS_PER_S;
	entry->answer = malloc(len ? len : 1);
	if (entry->answer) {
		memcpy(entry->answer, answer, len);
		entry->answer_len = (uint32_t)len;
	} else {
		entry->failed = true;
		ttl_s = 0;
	}
	if (entry->cached) {
		cache->bytes += entry->answer_len;
		list_prepend(&cache->lru, &entry->lru);
		if (ttl_s == 0)
			entry_drop(cache, entry);
		cache_trim(cache);
	}
	waitq_wake_all(&entry->waiters);
	cache_unref(entry);
}
