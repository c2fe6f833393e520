/* Timers: a heap of four children a node, whose entries hold the time beside the pointer, so that sifting
 * does not touch the timers it compares. Nearly all timers are deadlines that lie further ahead than those
 * already there, and are cancelled long before they fire: setting one is then an append and one comparison.
 */
#include "shard.h"

#define ARITY 4

void timers_init(struct shard *shard)
{
	shard->heap = NULL;
	shard->heap_count = shard->heap_size = 0;
}

void timers_done(struct shard *shard)
{
	free(shard->heap);
	shard->heap = NULL;
}

static inline uint32_t parent_of(uint32_t place)
{
	return (place + ARITY - 2) / ARITY;
}

static inline void heap_put(struct shard *shard, uint32_t place, struct heap_entry entry)
{
	shard->heap[place] = entry;
	entry.timer->place = place;
}

static void sift_up(struct shard *shard, uint32_t place, struct heap_entry entry)
{
	while (place > 1 && shard->heap[parent_of(place)].at > entry.at) {
		heap_put(shard, place, shard->heap[parent_of(place)]);
		place = parent_of(place);
	}
	heap_put(shard, place, entry);
}

static void sift_down(struct shard *shard, uint32_t place, struct heap_entry entry)
{
	for (;;) {
		uint64_t first = (uint64_t)place * ARITY - (ARITY - 2), least = first;

		if (first > shard->heap_count)
			break;
		for (uint64_t i = first + 1; i < first + ARITY && i <= shard->heap_count; i++)
			if (shard->heap[i].at < shard->heap[least].at)
				least = i;
		if (shard->heap[least].at >= entry.at)
			break;
		heap_put(shard, place, shard->heap[least]);
		place = (uint32_t)least;
	}
	heap_put(shard, place, entry);
}

void timer_init(struct timer *timer, void (*fn)(struct timer *))
{
	*timer = (struct timer){.fn = fn};
}

void timer_set(struct shard *shard, struct timer *timer, uint64_t at)
{
	struct heap_entry entry = {at, timer};

	if (timer->place) {
		uint64_t before = timer->at;

		timer->at = at;
		if (at < before)
			sift_up(shard, timer->place, entry);
		else
			sift_down(shard, timer->place, entry);
		return;
	}
	if (shard->heap_count + 1 >= shard->heap_size) {
		uint32_t size = shard->heap_size ? shard->heap_size * 2 : 256;
		struct heap_entry *heap = realloc(shard->heap, size * sizeof(*heap));

		ASSERT(heap); /* without its deadlines nothing here would ever end */
		shard->heap = heap;
		shard->heap_size = size;
	}
	timer->at = at;
	sift_up(shard, ++shard->heap_count, entry);
}

void timer_cancel(struct shard *shard, struct timer *timer)
{
	uint32_t place = timer->place;
	struct heap_entry last;

	if (!place)
		return;
	timer->place = 0;
	last = shard->heap[shard->heap_count--];
	if (last.timer == timer)
		return;
	if (place > 1 && shard->heap[parent_of(place)].at > last.at)
		sift_up(shard, place, last);
	else
		sift_down(shard, place, last);
}

void timers_run(struct shard *shard)
{
	/* A timer that sets itself to "now" again waits for the next round: no more run than were there. */
	for (uint32_t left = shard->heap_count; left && shard->heap_count; left--) {
		struct timer *timer = shard->heap[1].timer;

		if (timer->at > shard->now)
			return;
		timer_cancel(shard, timer);
		timer->fn(timer);
	}
}

uint64_t timers_next(const struct shard *shard)
{
	return shard->heap_count ? shard->heap[1].at : UNTIL_NEVER;
}
