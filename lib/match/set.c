/* set: literal items, hashed. */

#include "set.h"

/* So many comparisons cost less than a hash. */
#define SMALL_COUNT 8

struct set_slot {
	uint32_t tag;   /* part of the hash */
	uint32_t index; /* of the item, plus one; 0: free */
};

static uint64_t item_hash(enum set_kind kind, struct slice key)
{
	return hash_slice_nocase(key) + (uint64_t)kind * 0x9e3779b97f4a7c15u;
}

static struct slice item_key(const struct set_item *item)
{
	return slice_make(item->ptr, item->len, CLEAN);
}

bool set_build(struct set *set, struct arena *arena, const struct set_item *items, uint32_t count)
{
	uint32_t room = 4;

	while (room < UINT32_C(1) << 31 && room / 4 * 3 < count)
		room *= 2;
	*set = (struct set){.items = items, .count = count, .mask = room - 1};
	set->slots = arena_array(arena, struct set_slot, room);
	if (!set->slots)
		return false;
	/* Equal items all get a place, the first one first in the chain: they may differ in case. */
	for (uint32_t n = 0; n < count; n++) {
		uint64_t hash = item_hash(items[n].kind, item_key(&items[n]));
		uint32_t i = (uint32_t)hash & set->mask;

		while (set->slots[i].index) {
			const struct set_item *other = &items[set->slots[i].index - 1];

			if (other->kind == items[n].kind && slice_eq(item_key(other), item_key(&items[n])))
				break;
			i = (i + 1) & set->mask;
		}
		if (set->slots[i].index)
			continue;
		set->slots[i] = (struct set_slot){.tag = (uint32_t)(hash >> 32), .index = n + 1};
		set->has[items[n].kind] = true;
	}
	return true;
}

static bool item_is(const struct set_item *item, enum set_kind kind, struct slice key, uint32_t caseful_len)
{
	return item->len == key.len && item->kind == kind &&
	       (memcmp(item->ptr, key.ptr, key.len) == 0 ||
		(slice_eq_nocase(item_key(item), key) && memcmp(item->ptr, key.ptr, caseful_len) == 0));
}

uint32_t set_find(const struct set *set, enum set_kind kind, struct slice key, uint32_t caseful_len)
{
	uint64_t hash;

	if (!set->has[kind])
		return UINT32_MAX;
	if (set->count <= SMALL_COUNT) {
		for (uint32_t i = 0; i < set->count; i++) {
			if (item_is(&set->items[i], kind, key, caseful_len))
				return i;
		}
		return UINT32_MAX;
	}
	hash = item_hash(kind, key);
	for (uint32_t i = (uint32_t)hash & set->mask; set->slots[i].index; i = (i + 1) & set->mask) {
		if (set->slots[i].tag == (uint32_t)(hash >> 32) &&
		    item_is(&set->items[set->slots[i].index - 1], kind, key, caseful_len))
			return set->slots[i].index - 1;
	}
	return UINT32_MAX;
}

struct slice set_item_text(const struct set *set, uint32_t index)
{
	const struct set_item *item = &set->items[index];

	return slice_make(item->ptr - item->prefix, (size_t)item->len + item->prefix, CLEAN);
}
