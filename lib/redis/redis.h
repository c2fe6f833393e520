/* redis: a Redis client on the reactor. One connection for each server, database and password of a shard; all that
 * is asked in one round of the loop goes out in one write, and answers come home in order. hiredis reads the
 * protocol (RESP2). Knows nothing of mail or of the language: what a reply means, those who ask decide.
 *
 * A connection belongs to all fibers of the shard, so commands that change what it is (SELECT, AUTH, MULTI,
 * SUBSCRIBE...) or stop it (BLPOP, WAIT...) are refused. */
#ifndef REDIS_REDIS_H
#define REDIS_REDIS_H

#include "dns/dns.h"

struct redis_server {
	struct slice host;     /* name or address; empty: path */
	struct slice path;     /* of a Unix socket */
	uint16_t port;         /* 0: 6379 */
	struct slice database; /* number; empty: no SELECT */
	struct slice password; /* empty: no AUTH; "user:password" is not split */
};

/* "host[:port]/database/password" or "(/path)/database/password", as redis_servers has them; the slices of *server_ret are
 * parts of text. */
bool redis_server_parse(struct slice text, struct redis_server *server_ret);

enum redis_kind { REDIS_NIL, REDIS_STRING, REDIS_STATUS, REDIS_ERROR, REDIS_INTEGER, REDIS_ARRAY };
struct redis_reply {
	enum redis_kind kind;
	int64_t integer;
	struct slice text; /* STRING, STATUS, ERROR; clean: the administrator's data */
	struct redis_reply *items;
	uint32_t count;
};

/* Longest wait for a connection, and for a reply. A server that lets the second pass is taken for dead: the others that wait
 * for it are not made to wait as long. */
#define REDIS_CONNECT_TIMEOUT_MS 5000
#define REDIS_REPLY_TIMEOUT_MS   30000
/* The same for all that one reply holds, and for what waits to be sent. */
#define REDIS_REPLY_SIZE_MAX   (16u * 1024 * 1024)
#define REDIS_PENDING_SIZE_MAX (16u * 1024 * 1024)

/* Sends a command of count words and waits for its reply, which is in task->arena. A cluster's MOVED and ASK are
 * followed, with the same database and password. Parks.
 *
 * OK     the server replied, perhaps with an error (kind REDIS_ERROR).
 * FAIL   the command cannot be sent on a shared connection; err says so.
 * DEFER  no connection (then none is tried again for 0.1 to 5 seconds), it was lost, no reply in time. The command
 *        may have been carried out. err never holds the password. */
NODISCARD enum rc redis_call(struct task *task, const struct redis_server *server, const struct slice *words,
			     uint32_t count, struct redis_reply *reply_ret, struct err *err);

/* At the end of the shard. */
void redis_done(struct shard *shard);

#endif
