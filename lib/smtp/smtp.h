/* smtp: receiving mail over SMTP (RFC 5321) and what clients may ask for beside: PIPELINING, SIZE, 8BITMIME, CHUNKING,
 * ENHANCEDSTATUSCODES, SMTPUTF8, LIMITS. The dialogue is one table of states and events (session.c). A session between
 * two commands is a small object without a stack; a fiber is lent to it while it has something to answer. */
#ifndef SMTP_SMTP_H
#define SMTP_SMTP_H

#include "acl/acl.h"
#include "auth/auth.h"
#include "deliver/deliver.h"
#include "tls/tls.h"

struct smtp_server;
struct smtp_session;

/* What all shards of the process count together. Atomics: every shard adds and subtracts, the limits are compared with
 * what fetch_add returned, so no order beyond that of the one word matters. */
struct smtp_shared;
struct smtp_shared *smtp_shared_new(void); /* NULL: no memory */
void smtp_shared_free(struct smtp_shared *shared);
unsigned smtp_connection_count(const struct smtp_shared *shared);

struct smtp_start {
	struct conf *conf; /* a reference is taken */
	struct smtp_shared *shared;
	struct spool *spool;
	struct deliverer *deliverer;
	uint64_t id_unique;  /* for message ids: differs for each shard of each process */
	bool tls_on_connect; /* every connection begins with TLS (-tls-on-connect) */
	uint64_t debug;    /* -d, -bh: what its sessions tell on standard error (base/debug.h); 0: nothing */
	bool debug_direct; /* as log_debug_console() has it */
	uint32_t patience_s; /* -os, in the place of smtp_receive_timeout; 0: not told */
};
/* Per shard. */
NODISCARD enum rc smtp_server_new(struct shard *shard, const struct smtp_start *start,
				  struct smtp_server **server_ret, struct err *err);
/* Accepts on a bound, listening socket; the descriptor is the server's from now on. */
NODISCARD enum rc smtp_listen(struct smtp_server *server, int fd, struct err *err);
void smtp_server_reload(struct smtp_server *server, struct conf *conf);
/* No more connections; a session is told 421 at its next command; parks until all are gone or task->until. */
void smtp_server_drain(struct task *task, struct smtp_server *server);
void smtp_server_free(struct smtp_server *server); /* sessions that are left are cut off */

/* What a trusted user says of what he hands in. Texts: ptr NULL: not told. */
struct smtp_told {
	struct ip_addr host, interface;          /* -oMa, -oMi; family 0: not told */
	struct slice host_name, protocol, ident; /* -oMs, -oMr, -oMt */
	struct slice authenticator, authenticated_id, authenticated_sender; /* -oMaa, -oMai, -oMas */
	struct slice about;   /* -oMm: the id of the message that it answers */
	bool suppress_fixups; /* -G */
	bool dont_deliver;    /* -N: anyone may, it is his message */
	bool queue_only;      /* -odq: likewise */
	bool queue_smtp;      /* -odqs */
	bool deliver_now;     /* -odb, -odf, -odi */
	uint32_t patience_s;  /* -os: likewise; 0: not told */
};

/* One session on a pair of descriptors: -bs, inetd, -bh. Parks until it is over. */
struct smtp_stdio {
	int fd_in, fd_out;
	struct ip_addr ip; /* family 0: a local user */
	struct ip_addr local;
	struct slice login; /* of the local user */
	uint32_t uid, gid;
	bool batch;                   /* -bS: no replies, errors are told at the end */
	bool dry_run;                 /* -bh: what would happen; nothing is kept */
	bool callouts;                /* -bhc: other hosts are asked even so */
	bool trusted;                 /* may name senders */
	const struct smtp_told *told; /* NULL: nothing; borrowed until the session is over */
	struct message_id *id_ret;    /* of the last message accepted; may be NULL */
	bool rejected_ret;            /* batch: some message or recipient was refused */
};
NODISCARD enum rc smtp_serve_stdio(struct task *task, struct smtp_server *server, struct smtp_stdio *stdio,
				   struct err *err);

/* A message handed in by a local user (-t, or recipients as arguments): text with LF or CRLF line ends. */
struct smtp_submission {
	struct slice text;
	struct slice sender; /* ptr NULL: the login */
	const struct slice *recipients;
	unsigned recipient_count;
	bool extract_recipients; /* -t */
	struct slice login;
	struct slice full_name; /* -F, or of the password file unless a trusted user gave another sender */
	uint32_t uid, gid;
	bool trusted;
	const struct smtp_told *told; /* NULL: nothing */
	bool *queued_ret;             /* it waits for a queue run; may be NULL */
};
/* Runs the not_smtp ACLs, fixes the envelope and header up, commits. Parks. FAIL: refused, err says why. */
NODISCARD enum rc smtp_submit(struct task *task, struct smtp_server *server,
			      const struct smtp_submission *submission, struct message_id *id_ret,
			      struct err *err);

/* Where to listen: local_interfaces, daemon_smtp_ports; and smtp_connect_backlog. */
void smtp_listen_options(const struct conf *conf, struct slice *interfaces_ret, struct slice *ports_ret);
int smtp_listen_backlog(const struct conf *conf);
/* receive_timeout, in seconds: how long a message on standard input may take; 0: as long as it likes. */
int64_t smtp_stdin_timeout(const struct conf *conf);
/* tls_ticket_directory, or where it is when that says nothing; empty: nowhere. */
struct slice smtp_ticket_directory(const struct conf *conf, struct arena *arena);

extern const struct conf_feature smtp_features[];
void smtp_macros(struct conf *conf); /* _RESUME_DECODE */
extern const struct conf_group smtp_conf_group, smtp_tls_conf_group;
extern const struct variable_table smtp_variables, smtp_auth_variables;

extern const struct metric_table smtp_metric_table;

#endif
