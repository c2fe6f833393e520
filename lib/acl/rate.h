/* rate: one event counted, here or where several nodes count together. Private to the room. */
#ifndef ACL_RATE_H
#define ACL_RATE_H

#include "list.h"

#define RATE_UNIQUE_MAX 4096 /* events remembered for a key; when there are more, the set begins anew */

struct rate_update {
	double limit, period /* seconds */, count;
	uint64_t now_us; /* wall clock */
	bool strict, readonly, unique;
	uint64_t event; /* digest of the unique key */
	double rate_ret;
	bool over_ret;
};

/* Counts at the servers of ratelimit_redis_servers. OK, DEFER, CANCELLED. Parks. */
NODISCARD enum rc rate_redis_update(struct scope *sc, struct slice servers, struct slice key,
				    struct rate_update *u, struct err *err);

#endif
