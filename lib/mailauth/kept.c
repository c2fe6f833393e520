/* kept: objects made of records, by name, with those used last in front. Entries are from the heap, since they outlive the message
 * that first asked for them; a busy shard makes none. */
#include "kept.h"

#include <stdlib.h>

#include "base/base.h"

struct shelf {
	struct map map; /* names, whose case does not count, to entries */
	struct link lru;
	size_t bytes;
};
struct kept_shard {
	struct shelf shelves[KEPT_KINDS];
};
struct entry {
	struct link lru;
	const struct kept_kind *kind;
	struct shelf *shelf;
	struct arena arena;
	struct slice name, text;
	size_t bytes;
	struct kept_time good; /* without a question */
	unsigned refs;         /* the shelf's own, and one for each who uses it */
	bool shelved;
	max_align_t object[];
};

static struct shard_slot slot;

static struct shelf *shelf_of(struct shard *shard, const struct kept_kind *kind)
{
	struct kept_shard *state = shard_slot(shard, &slot);

	if (!state && (state = calloc(1, sizeof(*state)))) { /* once a shard */
		for (unsigned i = 0; i < KEPT_KINDS; i++) {
			map_init(&state->shelves[i].map, NULL, true);
			list_init(&state->shelves[i].lru);
		}
		shard_slot_set(shard, &slot, state);
	}
	return state ? &state->shelves[kind->number] : NULL;
}

static struct entry *entry_of(void *object)
{
	return CONTAINER_OF(object, struct entry, object);
}

static void unref(struct entry *entry)
{
	ASSERT(entry->refs > 0);
	if (--entry->refs > 0)
		return;
	if (entry->kind->done)
		entry->kind->done(entry->object);
	arena_done(&entry->arena);
	free(entry);
}

/* Those who use it may go on doing so. */
static void drop(struct entry *entry)
{
	struct shelf *shelf = entry->shelf;

	(void)map_remove(&shelf->map, entry->name);
	list_remove(&entry->lru);
	shelf->bytes -= entry->bytes;
	entry->shelved = false;
	unref(entry);
}

static void trim(struct shelf *shelf, const struct kept_kind *kind)
{
	while (!list_empty(&shelf->lru) &&
	       (shelf->bytes > KEPT_BYTES_MAX || shelf->map.count > kind->count_max))
		drop(LIST_ITEM(shelf->lru.prev, struct entry, lru));
}

static struct entry *entry_new(struct shelf *shelf, const struct kept_kind *kind, struct slice name,
			       struct slice text)
{
	struct entry *entry = calloc(1, sizeof(*entry) + kind->size);

	if (!entry)
		return NULL;
	entry->kind = kind;
	entry->shelf = shelf;
	entry->refs = 1;
	list_init(&entry->lru);
	arena_init_small(&entry->arena, KEPT_BYTES_MAX / 4);
	entry->name = arena_copy(&entry->arena, name);
	entry->text = arena_copy(&entry->arena, text);
	if (!entry->name.ptr || !entry->text.ptr || !kind->make(&entry->arena, entry->text, entry->object) ||
	    !map_set(&shelf->map, entry->name, entry)) {
		unref(entry);
		return NULL;
	}
	entry->bytes = sizeof(*entry) + kind->size + entry->arena.used;
	entry->shelved = true;
	shelf->bytes += entry->bytes;
	list_prepend(&shelf->lru, &entry->lru);
	return entry;
}

static void use(struct shelf *shelf, struct entry *entry)
{
	entry->refs++;
	if (shelf->lru.next == &entry->lru)
		return;
	list_remove(&entry->lru);
	list_prepend(&shelf->lru, &entry->lru);
}

void *kept_get(struct shard *shard, const struct kept_kind *kind, struct slice name, struct slice text)
{
	struct shelf *shelf = shard && text.len <= KEPT_TEXT_MAX ? shelf_of(shard, kind) : NULL;
	struct entry *entry = shelf ? map_get(&shelf->map, name) : NULL;

	if (entry && !slice_eq(entry->text, text)) {
		drop(entry);
		entry = NULL;
	}
	if (!entry && shelf)
		entry = entry_new(shelf, kind, name, text);
	if (!entry)
		return NULL;
	use(shelf, entry);
	trim(shelf, kind);
	return entry->object;
}

struct kept_time kept_time_begin(struct shard *shard)
{
	return shard ? (struct kept_time){UINT64_MAX, dns_generation(shard)} : (struct kept_time){0, 0};
}

void kept_time_answer(struct kept_time *time, struct shard *shard, enum rc rc,
		      const struct dns_answer *answer)
{
	uint64_t until = 0;

	if (!time->until)
		return;
	/* The seconds that are told are rounded up. */
	if ((rc == OK || rc == FAIL) && answer->ttl_s > 1)
		until = shard_now(shard) + (answer->ttl_s - 1) * NS_PER_S;
	if (until < time->until)
		time->until = until;
}

void kept_believe(void *object, const struct kept_time *time)
{
	if (object)
		entry_of(object)->good = *time;
}

void *kept_find(struct shard *shard, const struct kept_kind *kind, struct slice name)
{
	struct shelf *shelf = shard ? shelf_of(shard, kind) : NULL;
	struct entry *entry = shelf ? map_get(&shelf->map, name) : NULL;

	if (!entry || shard_now(shard) >= entry->good.until ||
	    entry->good.generation != dns_generation(shard))
		return NULL;
	use(shelf, entry);
	return entry->object;
}

void kept_release(void *object)
{
	if (object)
		unref(entry_of(object));
}

void kept_grown(void *object, size_t bytes)
{
	struct entry *entry = entry_of(object);

	entry->bytes += bytes;
	if (!entry->shelved)
		return;
	entry->shelf->bytes += bytes;
	trim(entry->shelf, entry->kind);
}

unsigned kept_count(struct shard *shard, const struct kept_kind *kind)
{
	struct shelf *shelf = shelf_of(shard, kind);

	return shelf ? shelf->map.count : 0;
}

void kept_done(struct shard *shard)
{
	struct kept_shard *state = shard_slot(shard, &slot);

	for (unsigned i = 0; state && i < KEPT_KINDS; i++) {
		struct shelf *shelf = &state->shelves[i];

		while (!list_empty(&shelf->lru))
			drop(LIST_ITEM(shelf->lru.next, struct entry, lru));
		map_done(&shelf->map);
	}
	free(state);
	shard_slot_set(shard, &slot, NULL);
}
