/* cache: what a shard was told, for as long as it may be believed, and what it is just asking. */
#ifndef DNS_CACHE_H
#define DNS_CACHE_H

#include "channel.h"
#include "wire.h"

/* Bytes of all answers of a shard; with the default count this is 1.6 KiB an answer, three or four times the usual. */
#define CACHE_BYTES_MAX (32u << 20)
/* Questions under way at once. c-ares has 65,536 ids, and a resolver that far behind is out of order. */
#define CACHE_ASKING_MAX 4096
/* RFC 9520 section 3.2: a failure is remembered for at least a second, so that a broken zone is not asked
 * again by each of a thousand recipients. */
#define CACHE_FAILURE_TTL_S 1

struct cache_entry {
	struct link lru; /* when known; the most recently used first */
	struct channel_query query;
	struct dns *dns;
	struct waitq waiters;
	unsigned refs; /* the cache's own, the question's, one for each fiber that waits */
	bool cached;   /* in the map */
	bool asking;
	bool edns; /* the question under way had an OPT record */
	uint64_t stored_at, expires_at;
	bool failed;     /* answer is a text that says why */
	uint8_t *answer; /* struct packed; NULL: failed for lack of memory */
	uint32_t answer_len;
	uint32_t key_len;
	uint8_t key[]; /* the type, two bytes, and the name in its wire form, lower-case */
};

struct cache {
	struct map map;
	struct link lru;
	uint32_t count_max;
	unsigned asking;
	size_t bytes;
};

void cache_init(struct cache *cache, uint32_t count_max);
/* Forgets what is known. Questions under way stay under way, for those who wait, but nobody joins them. */
void cache_clear(struct cache *cache);
/* Forgets the answer to this question, unless it is just being asked. */
void cache_forget(struct cache *cache, const struct wire_name *name, uint16_t type);
/* The entry, when it is still good at now or being asked; NULL otherwise. No reference is taken. */
struct cache_entry *cache_get(struct cache *cache, const struct wire_name *name, uint16_t type, uint64_t now);
/* A new entry in the state of being asked, with the question's reference. NULL: no memory, or
 * CACHE_ASKING_MAX. */
struct cache_entry *cache_add(struct cache *cache, const struct wire_name *name, uint16_t type);
/* The entry is known now, for so long (0: for those who wait for it only); they are woken, and the reference
 * of the question is given up. answer is copied. */
void cache_known(struct cache *cache, struct cache_entry *entry, const void *answer, size_t len, bool failed,
		 uint64_t now, uint64_t ttl_s);
void cache_ref(struct cache_entry *entry);
void cache_unref(struct cache_entry *entry);
struct wire_name cache_entry_name(const struct cache_entry *entry);
uint16_t cache_entry_type(const struct cache_entry *entry);

#endif
