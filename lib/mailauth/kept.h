/* kept: what records of the DNS come to when they are taken apart, kept by the shard under the name that they were found at. Private
 * to the room.
 *
 * It is not a cache of the DNS: whoever comes here has just been told what the record says, and an object is only good for the
 * very text that it was made of. So nothing here has to know of TTLs, and a record that changes is made anew. Bounded in number
 * and in bytes; what was used longest ago goes first. */
#ifndef MAILAUTH_KEPT_H
#define MAILAUTH_KEPT_H

#include "base/err.h"
#include "reactor/reactor.h"

#define KEPT_BYTES_MAX (4u << 20) /* of a shard and kind */
#define KEPT_TEXT_MAX  4096       /* longer records are nobody's, and made anew each time */

struct kept_kind {
	unsigned number; /* 0 to KEPT_KINDS - 1 */
	unsigned count_max;
	size_t size; /* of the object, which begins as zeros */
	/* Makes the object of a text that lives as long as the object. false: no memory. */
	bool (*make)(struct arena *arena, struct slice text, void *object);
	void (*done)(void *object); /* what the arena does not free; NULL: nothing */
};
enum { KEPT_DKIM_KEYS, KEPT_SPF_RECORDS, KEPT_KINDS };

/* The object of the text, good until it is released, whoever else has it. NULL: none can be kept (no shard, no memory, too long),
 * and the caller has to do the work. Does not park. */
void *kept_get(struct shard *shard, const struct kept_kind *kind, struct slice name, struct slice text);
void kept_release(void *object); /* NULL is fine */
/* The object grows by so many bytes from the heap, which its done() frees. */
void kept_grown(void *object, size_t bytes);
/* How many there are, for tests. */
unsigned kept_count(struct shard *shard, const struct kept_kind *kind);
/* At the end of the shard. */
void kept_done(struct shard *shard);

#endif
