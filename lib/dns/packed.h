/* packed: an answer in one piece of memory, as the cache keeps it: handed out with one copy, and nothing is parsed again. */
#ifndef DNS_PACKED_H
#define DNS_PACKED_H

#include "dns/dns.h"

/* Pointers inside are those of the place where it was made; it may be copied anywhere, as bytes. */
struct packed {
	uintptr_t place;
	size_t size; /* with all that is behind it */
	struct dns_answer answer;
};
/* In the arena; NULL: no memory. */
NODISCARD struct packed *packed_make(struct arena *arena, const struct dns_answer *answer);
/* A copy of its own of what packed_make() was given. false: no memory. */
NODISCARD bool packed_copy(const struct packed *packed, struct arena *arena, struct dns_answer *answer_ret);

#endif
