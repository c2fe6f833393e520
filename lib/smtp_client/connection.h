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
	struct ip_addr to, local, proxy; /* proxy.family 0: none */
	struct ehlo_offer offer;
	struct tls_session *tls; /* NULL: clear text */
	struct slice session_key;
	bool session_kept;
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

/* err->os of a handshake that failed for the proof (OCSP) that came in it; smtp_open() makes SMTP_TLS_FAILURE of it. */
#define SMTP_TLS_PROOF (-1037)

/* starttls.c. The handshake, now. OK; DEFER: it failed, the connection is dead. Parks. */
NODISCARD enum rc connection_handshake(struct scope *sc, struct smtp_connection *c,
				       const struct smtp_tls *tls, struct slice ehlo_reply, struct err *err);
/* STARTTLS, if the server offers it, and the handshake. OK: *secured_ret says whether to say EHLO again. DEFER: not where it has to
 * be (then reply_ret->command is "STARTTLS"), or it failed: err->os says which. Parks. */
NODISCARD enum rc connection_starttls(struct scope *sc, struct smtp_connection *c, const struct smtp_tls *tls,
				      struct slice ehlo_reply, bool *secured_ret,
				      struct smtp_reply *reply_ret, struct err *err);
/* The dialogue has a pause or an end: what the server gave us to come back with is kept. */
void connection_keep_session(struct smtp_connection *c);

/* socks.c. A stream to options->to through one of its proxies, which is told. DEFER: err->os says what a connection without one
 * would have said, or what is wrong with the proxies. Parks until task->until at most. */
NODISCARD enum rc socks_connect(struct task *task, const struct smtp_connect_options *options,
				struct stream **stream_ret, struct ip_addr *proxy_ret, struct err *err);

/* pool.c */
struct smtp_connection *pool_take(struct shard *shard, struct slice key);
bool pool_put(struct smtp_connection *c); /* false: no room */

/* What -d+transport and -v show of the dialogue, line by line; only if debug_on() says that somebody listens. */
void connection_tell(const char *way, struct slice lines) __attribute__((cold));

#endif
