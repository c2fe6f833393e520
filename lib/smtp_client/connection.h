/* A connection to a server, shared by the files of this room. */
#ifndef SMTP_CLIENT_CONNECTION_H
#define SMTP_CLIENT_CONNECTION_H

#include "reply.h"

struct smtp_connection {
	struct stream *stream;
	struct shard *shard;
	struct arena arena;    /* what follows: lives as long as the connection */
	struct slice pool_key; /* all that has to be equal for reuse, in one string */
	struct slice host_name;
	struct ip_addr to, local;
	struct ehlo_offer offer;
	struct slice authenticator, authenticated_id;
	int64_t command_timeout_ms, data_timeout_ms, final_timeout_ms;
	unsigned messages; /* transactions so far */
	bool lmtp;
	bool dead;           /* nothing more may be said or read */
	bool in_transaction; /* MAIL was accepted, the message is not over: RSET is needed before the next */
	bool reused;
	bool idle;          /* in the pool */
	struct link link;   /* of the pool */
	struct timer timer; /* runs out in the pool */
};

/* Reads one reply; reply_ret->text in the task's arena. OK: there is one (any code; 421 marks the connection dead).
 * DEFER: it was lost or talked nonsense; reply code 0, the connection is dead. Parks. */
NODISCARD enum rc connection_read(struct task *task, struct smtp_connection *c, int64_t timeout_ms,
				  struct slice command, struct smtp_reply *reply_ret, struct err *err);
/* Sends all; DEFER: dead. Parks. */
NODISCARD enum rc connection_write(struct task *task, struct smtp_connection *c, const struct iovec *iov,
				   unsigned iov_count, int64_t timeout_ms, struct slice command,
				   struct err *err);
NODISCARD enum rc connection_command(struct task *task, struct smtp_connection *c, struct slice line,
				     struct slice shown, struct smtp_reply *reply_ret, struct err *err);
void connection_free(struct smtp_connection *c, bool reset);

/* pool.c */
struct smtp_connection *pool_take(struct shard *shard, struct slice key);
bool pool_put(struct smtp_connection *c); /* false: no room */

#endif
