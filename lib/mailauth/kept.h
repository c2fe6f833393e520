/* kept: what records of the DNS come to when they are taken apart, kept by the shard under the name that they were found at. Private
 * to the room.
 *
 * An object is only good for the very text that it was made of: whoever has just been told what the record says comes with that,
 * and a record that changes is made anew. Whoever knows for how long the DNS stands by its answers may say so, and until then
 * nobody has to ask it: no answer outlives its TTL here. Bounded in number and in bytes; what was used longest ago goes
 * first. */
#ifndef MAILAUTH_KEPT_H
#define MAILAUTH_KEPT_H

#include "base/err.h"
#include "dns/dns.h"

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
enum { KEPT_DKIM_KEYS, KEPT_SPF_RECORDS, KEPT_SPF_RESULTS, KEPT_DMARC, KEPT_DMARC_LEGACY, KEPT_KINDS };

/* The object of the text, good until it is released, whoever else has it. NULL: none can be kept (no shard, no memory, too long),
 * and the caller has to do the work. Does not park. */
void *kept_get(struct shard *shard, const struct kept_kind *kind, struct slice name, struct slice text);
void kept_release(void *object); /* NULL is fine */

/* When answers that something is made of cease to be good: begun before the first question. */
struct kept_time {
	uint64_t until;
	uint64_t generation; /* of the DNS */
};
struct kept_time kept_time_begin(struct shard *shard); /* NULL: nothing that begins so is ever believed */
/* One more answer, which has just come with that result. What could not be found out is good for nothing. */
void kept_time_answer(struct kept_time *time, struct shard *shard, enum rc rc,
		      const struct dns_answer *answer);
/* From now on kept_find() finds the object, while the answers are good. */
void kept_believe(void *object, const struct kept_time *time);
/* As kept_get(), when the DNS need not be asked what the name's record says; NULL: it has to be. */
void *kept_find(struct shard *shard, const struct kept_kind *kind, struct slice name);
/* The object grows by so many bytes from the heap, which its done() frees. */
void kept_grown(void *object, size_t bytes);
/* How many there are, for tests. */
unsigned kept_count(struct shard *shard, const struct kept_kind *kind);
/* At the end of the shard. */
void kept_done(struct shard *shard);

#endif
