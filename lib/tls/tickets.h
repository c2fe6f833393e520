/* tickets: the keys of session tickets, and tickets sealed with them.
 *
 * A key seals for an hour and opens for an hour more; then it is forgotten. All shards of a process have the same keys, and so
 * have all processes of the host that use the same directory: an LMDB environment on a file system in memory, of mode 0600, so
 * that a restart or an upgrade costs no client its session and no disk ever sees a key. Where there is no such directory the
 * keys live in the process. Nodes of a cluster can exchange them, wrapped: tickets_exchange() (ticket_share.c). */
#ifndef TLS_TICKETS_H
#define TLS_TICKETS_H

#include "reactor/reactor.h"

#define TICKET_KEY_S    3600 /* how long a key seals */
#define TICKET_LIFE_S   7200 /* how long a ticket can be used at most */
#define TICKET_KEYS_MAX 32   /* of this host and the nodes it shares with */
#define TICKET_NAME_LEN 16
#define TICKET_IV_LEN   16 /* room that the library gives; 12 bytes are used */
#define TICKET_MAC_LEN  32 /* the same; 16 */

struct ticket_key {
	uint8_t name[TICKET_NAME_LEN];
	uint8_t key[32]; /* AES-256-GCM */
	int64_t created; /* wall clock, s */
};
struct tls_tickets;

/* Makes, or reads, the keys of the directory (made, mode 0700, if it is missing). NULL: no directory, the process's own. FAIL: it is not on a file system in memory, not ours alone, or cannot be written: err says
 * which; try again with NULL. May block. */
NODISCARD enum rc tickets_open(const char *directory, int64_t now_s, struct tls_tickets **ret,
			       struct err *err);
void tickets_close(struct tls_tickets *tickets); /* NULL is fine */
/* Makes a new key if the newest is an hour old, forgets those of two hours, learns those of other processes. May block. */
NODISCARD enum rc tickets_rotate(struct tls_tickets *tickets, int64_t now_s, struct err *err);

/* The shard seals and opens with these from now on. */
NODISCARD bool tickets_attach(struct tls_tickets *tickets, struct shard *shard);
void tickets_detach(struct shard *shard);
bool tickets_attached(const struct shard *shard);

/* Seals the bytes in place. binding: what a ticket has to be used for again; it is not in the ticket. false: there are no keys. */
bool tickets_seal(struct shard *shard, struct slice binding, uint8_t name[TICKET_NAME_LEN],
		  uint8_t iv[TICKET_IV_LEN], uint8_t mac[TICKET_MAC_LEN], uint8_t *bytes, uint32_t len);
enum ticket_verdict {
	TICKET_REFUSED, /* made with a key that is not (or no longer) known, changed on the way, or for other settings */
	TICKET_GOOD,
	TICKET_OLD, /* good, but a new one should be given */
};
enum ticket_verdict tickets_unseal(struct shard *shard, struct slice binding,
				   const uint8_t name[TICKET_NAME_LEN], const uint8_t iv[TICKET_IV_LEN],
				   const uint8_t mac[TICKET_MAC_LEN], uint8_t *bytes, uint32_t len);

/* The keys that are known; at most TICKET_KEYS_MAX. Any thread; may block. */
unsigned tickets_keys(struct tls_tickets *tickets, struct ticket_key keys[TICKET_KEYS_MAX]);
/* Learns keys of other nodes: those that are not past their time, as many as fit, the newest. missing_ret: the keys known here
 * that are not among theirs. Any thread; never waits: false when the set is being changed right now, and nothing was done. */
NODISCARD bool tickets_exchange(struct tls_tickets *tickets, const struct ticket_key *theirs, unsigned count,
				int64_t now_s, struct ticket_key missing_ret[TICKET_KEYS_MAX],
				unsigned *missing_count_ret);
/* The set that the shard has attached; NULL: none. */
struct tls_tickets *tickets_of(const struct shard *shard);

#endif
