/* link: one connection of the shard to one server, shared by all fibers. */
#ifndef REDIS_LINK_H
#define REDIS_LINK_H

#include "reply.h"

struct link_call; /* one command on its way: on the caller's stack */
enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_UP };

/* Bytes on their way out. */
struct out {
	char *bytes;
	size_t len, room;
};

struct redis_link {
	struct shard *shard;
	struct arena arena;         /* of the strings below */
	struct redis_server server; /* as asked for */
	struct slice key;           /* what makes it another connection */
	enum link_state state;
	struct stream *stream; /* NULL: none */
	struct reply_reader *reader;
	struct link_call **calls; /* sent and not answered, in order: a ring. NULL: its caller has left */
	uint32_t first, count, room;
	struct out out, sending;
	struct task task;       /* of the fiber that connects and writes */
	bool fiber;             /* it runs */
	struct waitq connected; /* callers that wait for LINK_UP, or for the news that it will not be */
	uint64_t retry_at;      /* shard_now(); while DOWN */
	uint64_t backoff_ns;    /* 0: the last attempt was well */
	char why[256];          /* it is DOWN */
	uint32_t users;         /* fibers inside link_call() */
	struct timer idle;
};

struct redis_link *link_new(struct shard *shard, struct slice key, const struct redis_server *server);
void link_free(struct redis_link *link); /* at the end of the shard, or when nobody uses it */
/* As redis_call(), without following a cluster's redirections; asking: ASKING goes before. */
NODISCARD enum rc link_call(struct task *task, struct redis_link *link, bool asking,
			    const struct slice *words, uint32_t count, struct redis_reply *reply_ret,
			    struct err *err);

#endif
