/* How much may go on at a time, counted over all shards: runs of a transport (max_parallel), connections to a host
 * (serialize_hosts). */
#ifndef TRANSPORT_LIMITS_H
#define TRANSPORT_LIMITS_H

#include "local.h"

/* How long a delivery waits for its turn before it is put off to the next queue run. */
#define LIMIT_WAIT_MS 30000

/* Counts one more under that name, when there are fewer than max; waits for that at most wait_ms. DEFER: too many, err says
 * so with `what`. Parks. OK: limit_leave() is owed, with the same name. */
NODISCARD enum rc limit_enter(struct task *task, struct slice name, uint32_t max, uint64_t wait_ms,
			      const char *what, struct err *err);
void limit_leave(struct slice name);

#endif
