/* state: what the match room keeps on a shard. */
#ifndef MATCH_STATE_H
#define MATCH_STATE_H

#include "list.h"

struct match_state {
	struct map lists[LIST_KINDS][2]; /* compiled texts, clean and tainted: cache.c */
	struct link lru;
	unsigned count;
	uint64_t bytes;
	struct map hosts; /* what the system said of names: system_hosts.c */
	struct arena hosts_arena;
};
struct match_state *match_state_of(struct shard *shard); /* NULL: no memory */

/* Has the name this address, as the system sees it (/etc/hosts and so on)? Remembered for a minute, since
 * each question takes a helper thread. *exists: it has any. Parks. */
enum rc system_host_has_ip(struct scope *sc, struct slice name, const struct ip_addr *ip, bool *exists,
			   struct err *err);

#endif
