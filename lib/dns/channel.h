/* channel: c-ares on a shard's reactor. Questions go out as bytes and come back as bytes; retries, the other
 * servers, and TCP when an answer does not fit are c-ares's business. Nothing here parks. */
#ifndef DNS_CHANNEL_H
#define DNS_CHANNEL_H

#include "dns/dns.h"

struct channel;

/* One question under way; embedded in its owner. */
struct channel_query {
	struct channel *channel;
	/* ares_status is ARES_SUCCESS and bytes an answer with any rcode but SERVFAIL, NOTIMP and REFUSED (no
	 * server had anything better then, and the status says so), or bytes is NULL. The bytes are c-ares's
	 * and live for the call. Runs on the loop, or within channel_send(). */
	void (*done)(struct channel_query *query, int ares_status, const uint8_t *bytes, size_t len);
};

/* servers as in struct dns_options, or NULL. The channel stands in the list of channels as long as it lives.
 * FAIL: not a list of servers. DEFER: no memory or no descriptors. */
NODISCARD enum rc channel_new(struct shard *shard, const char *servers, unsigned timeout_ms, unsigned tries,
			      bool edns, struct link *channels, struct channel **channel_ret,
			      struct err *err);
/* The endings that resolv.conf (search, domain), LOCALDOMAIN or the host's own name give, as a list in the arena; the strings are
 * copies. NULL: none. */
const struct slice *channel_endings(struct channel *channel, struct arena *arena, unsigned *count_ret);
/* Sends the question, which is borrowed for the call; done() follows in every case. */
void channel_send(struct channel *channel, struct channel_query *query, const uint8_t *bytes, size_t len);
/* No more questions will be sent: the channel goes when the last answer is there. */
void channel_retire(struct channel *channel);
/* At once; what is under way is done() with ARES_EDESTRUCTION. Not from within done(). */
void channel_free(struct channel *channel);
void channel_free_all(struct link *channels);

#endif
