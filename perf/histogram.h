/* histogram: times in microseconds, with an error of at most 1.6 % and no memory that grows. */
#ifndef PERF_HISTOGRAM_H
#define PERF_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 64, HISTOGRAM_SIZE = 40 * HISTOGRAM_STEPS };

struct histogram {
	uint64_t counts[HISTOGRAM_SIZE];
	uint64_t count, max, sum;
};

static inline unsigned histogram_place(uint64_t us)
{
	if (us < HISTOGRAM_STEPS)
		return (unsigned)us;
	unsigned power = 63u - (unsigned)__builtin_clzll(us); /* >= 6 */
	unsigned place =
	    (power - 5) * HISTOGRAM_STEPS + (unsigned)((us >> (power - 6)) & (HISTOGRAM_STEPS - 1));

	return place < HISTOGRAM_SIZE ? place : HISTOGRAM_SIZE - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t us)
{
	h->counts[histogram_place(us)]++;
	h->count++;
	h->sum += us;
	if (us > h->max)
		h->max = us;
}

static inline void histogram_merge(struct histogram *into, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_SIZE; i++)
		into->counts[i] += from->counts[i];
	into->count += from->count;
	into->sum += from->sum;
	if (from->max > into->max)
		into->max = from->max;
}

/* The lower edge of the place that holds this share of all; 0 when empty. */
static inline uint64_t histogram_at(const struct histogram *h, double share)
{
	uint64_t want = (uint64_t)((double)h->count * share), seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_SIZE; i++) {
		seen += h->counts[i];
		if (seen > want || (seen == h->count && seen > 0)) {
			if (i < HISTOGRAM_STEPS)
				return i;
			unsigned power = i / HISTOGRAM_STEPS + 5;
			return (1ull << power) + ((uint64_t)(i % HISTOGRAM_STEPS) << (power - 6));
		}
	}
	return 0;
}

#endif
