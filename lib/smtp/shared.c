/* shared: the counts that hold for all shards together: connections, and connections of one host. */
#include "session.h"

#include <stdatomic.h>
#include <stdlib.h>

/* A host's word: 48 bits of its keyed hash, 16 bits of count; 0: free. Hosts live in the bucket of eight that their hash
 * names. Two shards that insert the same host at the same moment could take two places; whoever finds its host in an
 * earlier place as well moves its count there, so the doubling does not last. 65,536 buckets for at most some ten
 * thousand connections: a full bucket is beyond what chance brings, and the keyed hash keeps malice out; then the
 * host is simply not limited. */
#define BUCKET_COUNT 65536
#define BUCKET_SIZE  8
#define COUNT_BITS   16
#define COUNT_MASK   ((1ull << COUNT_BITS) - 1)

struct smtp_shared {
	_Alignas(64) _Atomic unsigned connections;
	_Alignas(64) _Atomic uint64_t hosts[BUCKET_COUNT * BUCKET_SIZE];
};

struct smtp_shared *smtp_shared_new(void)
{
	struct smtp_shared *shared = aligned_alloc(64, sizeof(*shared));

	if (shared)
		memset((void *)shared, 0, sizeof(*shared));
	return shared;
}

void smtp_shared_free(struct smtp_shared *shared)
{
	free(shared);
}

unsigned smtp_connection_count(const struct smtp_shared *shared)
{
	return atomic_load_explicit(&shared->connections, memory_order_relaxed);
}

bool shared_connection_begin(struct smtp_shared *shared, int64_t max, unsigned *count_ret)
{
	unsigned count = atomic_fetch_add_explicit(&shared->connections, 1, memory_order_relaxed) + 1;

	*count_ret = count;
	if (max > 0 && count > (uint64_t)max) {
		shared_connection_end(shared);
		return false;
	}
	return true;
}

void shared_connection_end(struct smtp_shared *shared)
{
	atomic_fetch_sub_explicit(&shared->connections, 1, memory_order_relaxed);
}

static uint64_t host_key(const struct ip_addr *ip)
{
	uint64_t hash = hash_slice(slice_make((const char *)ip->bytes, 16, CLEAN)) ^ ip->family;

	return hash << COUNT_BITS ? hash << COUNT_BITS : 1ull << COUNT_BITS;
}

static _Atomic uint64_t *bucket_of(struct smtp_shared *shared, uint64_t key)
{
	return &shared->hosts[(key >> COUNT_BITS) % BUCKET_COUNT * BUCKET_SIZE];
}

/* Adds to the place if it still is the key's; false if it is not (any more). */
static bool place_add(_Atomic uint64_t *place, uint64_t key, int add, uint64_t *count_ret)
{
	uint64_t word = atomic_load_explicit(place, memory_order_relaxed), next;

	do {
		if ((word & ~COUNT_MASK) != key || (word & COUNT_MASK) == 0)
			return false;
		next = word + (uint64_t)(int64_t)add;
		if ((next & COUNT_MASK) == 0)
			next = 0;
	} while (!atomic_compare_exchange_weak_explicit(place, &word, next, memory_order_relaxed,
							memory_order_relaxed));
	*count_ret = next & COUNT_MASK;
	return true;
}

static uint64_t host_add(struct smtp_shared *shared, uint64_t key)
{
	_Atomic uint64_t *bucket = bucket_of(shared, key);
	uint64_t count;

	for (unsigned tries = 0; tries < 4; tries++) {
		for (unsigned i = 0; i < BUCKET_SIZE; i++)
			if (place_add(&bucket[i], key, 1, &count))
				return count;
		for (unsigned i = 0; i < BUCKET_SIZE; i++) {
			uint64_t none = 0;
			if (!atomic_compare_exchange_strong_explicit(
				&bucket[i], &none, key | 1, memory_order_relaxed, memory_order_relaxed))
				continue;
			for (unsigned j = 0; j < i; j++)
				if (place_add(&bucket[j], key, 1, &count)) {
					uint64_t rest;
					(void)place_add(&bucket[i], key, -1, &rest);
					return count;
				}
			return 1;
		}
	}
	return 0;
}

bool shared_host_begin(struct smtp_shared *shared, const struct ip_addr *ip, int64_t max)
{
	uint64_t count = host_add(shared, host_key(ip));

	if (max > 0 && count > (uint64_t)max) {
		shared_host_end(shared, ip);
		return false;
	}
	return true;
}

void shared_host_end(struct smtp_shared *shared, const struct ip_addr *ip)
{
	uint64_t key = host_key(ip), count;
	_Atomic uint64_t *bucket = bucket_of(shared, key);

	for (unsigned i = 0; i < BUCKET_SIZE; i++)
		if (place_add(&bucket[i], key, -1, &count))
			return;
}
