/* transport: getting a message to where it goes: smtp, lmtp, appendfile, pipe, autoreply (queuefile to come). The
 * transports section; one call delivers one message to one batch of addresses. */
#ifndef TRANSPORT_TRANSPORT_H
#define TRANSPORT_TRANSPORT_H

#include "route/route.h"
#include "smtp_client/smtp_client.h"

/* What every transport has; a driver's struct begins with it. */
struct transport {
	struct conf_instance instance;
	bool body_only, headers_only, delivery_date_add, envelope_to_add, return_path_add, disable_logging;
	bool initgroups, retry_use_local_part, rcpt_include_affixes;
	const struct expansion *message_size_limit, *return_path, *transport_filter;
	struct slice headers_add, headers_remove; /* lists; each item is expanded by itself */
	struct slice headers_rewrite;
	const struct rewrite_rules *rewrite; /* made of headers_rewrite; NULL: unset */
	const struct expansion *home_directory, *current_directory, *debug_print, *event_action;
	const struct expansion *max_parallel, *user, *group, *shadow_condition;
	struct slice shadow_transport;
	const struct transport *shadow; /* it, when the file is read */
	int64_t transport_filter_timeout;
	/* Made from the driver's options when the file is checked: */
	const struct expansion
	    *batch_id;     /* local transports and lmtp: addresses with equal values may go together */
	int64_t batch_max; /* addresses at a time; 1: one by one; 0: no limit */
	const struct expansion
	    *multi_domain; /* smtp: NULL or true: addresses of several domains may go together */
	const struct expansion
	    *retry_by_ip;     /* smtp: NULL or true: retry times are kept per IP address, not per host name */
	bool retry_by_sender; /* smtp: an address that is put off is put off for this sender only */
	bool ignore_quota;    /* LMTP: RCPT asks for IGNOREQUOTA, where offered */
	bool is_local;        /* runs under a user's id, without hosts */
};

/* One batch: addresses that go together (same transport, hosts, errors_to, headers, user...). */
struct delivery {
	const struct transport *transport;
	struct address **addresses;
	struct delivery_outcome *outcomes; /* one each */
	unsigned count;
	struct host_list *hosts; /* remote */
};
struct delivery_outcome {
	enum rc rc;                /* OK delivered, FAIL bounces, DEFER is retried */
	struct slice message;      /* why not; or the confirmation (C="...") when OK */
	struct slice user_message; /* what the sender may be told; empty: nothing but that it failed */
	int os;               /* errno, or what the log shows in its place: below 0, as Exim numbers them */
	int basic_errno_more; /* the reply's code */
	enum {
		RETRY_ERROR_NONE,
		RETRY_ERROR_CONNECT,
		RETRY_ERROR_TIMEOUT,
		RETRY_ERROR_QUOTA,
		RETRY_ERROR_DNS,
		RETRY_ERROR_LOST,
		RETRY_ERROR_TLS,
		RETRY_ERROR_AUTH,
		RETRY_ERROR_MAIL_4XX,
		RETRY_ERROR_RCPT_4XX,
		RETRY_ERROR_DATA_4XX,
		RETRY_ERROR_REFUSED
	} error;
	bool connecting;  /* the trouble came while the connection was made */
	int64_t unread_s; /* over quota: nobody has looked into the mailbox for so long; 0: not known */
	enum { DEFER_ADDRESS, DEFER_HOST, DEFER_MESSAGE } scope; /* whose retry time grows */
	struct host_item host;                /* the one that gave the answer; name empty: local */
	struct slice reply_text;              /* remote reply, for Diagnostic-Code */
	bool dsn_aware;                       /* next hop offered DSN */
	bool pipelining, chunking, continued; /* log: L, K, "*" */
	struct slice tls_cipher, tls_peerdn;  /* cipher empty: clear */
	bool tls_verified, tls_resumed;
	uint8_t tls_ocsp;                             /* enum tls_ocsp */
	struct slice authenticator, authenticated_id; /* whom we logged in as; len 0: nobody */
	struct ip_addr local, proxy;                  /* our end; the SOCKS proxy between, family 0: none */
	uint64_t size;                                /* bytes sent */
	struct slice
	    special_log; /* stands behind the host in the log's line, with a space in front: " ST=shadow" */
	struct slice output; /* what a command said, for the bounce; empty: nothing */
	bool freeze;         /* with DEFER: the message is to be frozen (pipe's freeze_signal and its kin) */
};

#define RETRY_NOT_REACHED_HOSTS (-54) /* os of an outcome: no host of it may be tried yet */

struct transport_ops {
	/* Works through the batch; fills in every outcome. Parks. */
	void (*deliver)(struct scope *sc, const struct transport *transport, struct delivery *delivery);
	bool local;
};

extern const struct conf_section transport_conf_section; /* begin transports */
extern const struct conf_feature transport_features[];
extern const struct conf_group transport_conf_group; /* callout_... */
struct transport_options {
	int64_t callout_domain_negative_expire, callout_domain_positive_expire;
	int64_t callout_negative_expire, callout_positive_expire;
	const struct expansion *callout_random_local_part;
};
extern const struct variable_table
    transport_variables; /* $transport_name, $host..., $return_path, $sending_ip_address */

/* Delivers the batch. A local transport that has to run under another user's id is handed to the privileged helper
 * (lib/transport/helper.h) when the process was started as root. Parks. */
void transport_deliver(struct scope *sc, struct delivery *delivery);

/* Host retry state: is this host's retry time not yet reached? Asked for each host before a connection is tried; and told
 * afterwards. Given by lib/deliver, which owns the retry rules; NULL functions: always try. */
struct host_history {
	bool expired;      /* it has been failing past the last of its retry rules */
	uint64_t last_try; /* wall clock, seconds; 0: no failure is remembered */
};
struct host_retry {
	bool (*blocked)(void *arg, struct scope *sc, const struct transport *transport,
			const struct host_item *host, struct host_history *history_ret);
	void (*result)(void *arg, struct scope *sc, const struct transport *transport,
		       const struct host_item *host, const struct delivery_outcome *outcome);
	void *arg;
};
void transport_set_host_retry(struct shard *shard, const struct host_retry *retry);

/* A message that a transport made (autoreply's answer): given to whoever submits messages, once per shard. text is header
 * and body with LF line ends, as a user would type it: fixing it up is the submitter's business. The slices are borrowed.
 * OK: accepted for delivery. Parks. */
struct submission {
	struct slice sender; /* "" for automatic answers */
	const struct slice *recipients;
	unsigned recipient_count;
	struct slice text;
	const struct message *about; /* what it answers */
	uint32_t uid, gid;           /* on whose behalf */
};
struct transport_submit {
	enum rc (*submit)(void *arg, struct scope *sc, const struct submission *submission, struct err *err);
	void *arg;
};
/* By that, for others who make messages. FAIL, DEFER: it was not taken; err says why. Parks. */
NODISCARD enum rc transport_submit_message(struct scope *sc, const struct submission *submission,
					   struct err *err);
void transport_set_submit(struct shard *shard, const struct transport_submit *submit);

/* At the start of a process that may become another user: forks the helper that does so on our behalf. Called as root,
 * before any thread or shard exists; a no-op otherwise (deliveries under other users' ids are then deferred). */
NODISCARD enum rc transport_helper_start(struct err *err);
void transport_helper_stop(void);
extern const struct command_runner transport_command_runner; /* for route_use_command_runner() */
void transport_done(struct shard *shard);

/* A DSCP value: a name of RFC 2474, 2597, 3246, or one of the older types of service (RFC 1349), or a number up to 0x3f.
 * *tos_ret is what goes into the IP header. false: it is none of these. */
bool dscp_parse(struct slice text, unsigned *tos_ret);

/* verify = recipient/callout and verify = sender/callout: asks the host that the address was routed to. */
struct callout_options {
	int64_t timeout_s, connect_timeout_s, maxwait_s;
	bool defer_ok, fullpostmaster, postmaster, random, no_cache, use_sender, use_postmaster;
	bool use_tptsender; /* MAIL names whom the delivery would name: errors_to and return_path count */
	bool hold;          /* the connection stays, for the next recipient and for the delivery */
	bool keep;          /* hold is possible here, or cutthrough delivery wants it: set by the caller */
	struct slice mailfrom, postmaster_mailfrom;
};
/* What was heard. failure: which question was refused: "mail" (the connection, HELO or MAIL), "recipient", "postmaster"; or,
 * with OK, "random": the host takes any address; NULL: none. reply.code 0: from memory, or nothing was heard. */
struct callout_answer {
	struct smtp_reply reply;
	struct ip_addr host; /* that was asked; family 0: none */
	const char *failure;
	bool accepted; /* with OK: the host said so, now or earlier; false: nothing was found out */
};
NODISCARD enum rc callout(struct scope *sc, struct address *address, bool sender,
			  const struct callout_options *options, struct callout_answer *answer_ret,
			  struct err *err);

/* ---- A next hop that is told while the client still talks to us (next_hop.c, cutthrough.c) ------------------------
 *
 * A recipient callout may leave its connection open ("hold"), with MAIL and RCPT said; it then belongs to the message that is
 * being received (message->next_hop), serves the callouts for further recipients, and goes to the pool when the message is
 * accepted. With control = cutthrough_delivery the text follows over it as it comes in. Whatever goes wrong with that, the
 * message takes the ordinary way: it is ours until the next hop has answered the final dot. */

/* control = cutthrough_delivery, in the ACL of the first recipient; pass: what the next hop defers is not queued. */
void cutthrough_want(struct message *message, bool pass);
bool cutthrough_wanted(const struct message *message);
bool cutthrough_passes_deferrals(const struct message *message);
/* The ordinary way after all. Does not park. */
void cutthrough_cancel(struct message *message);
/* The RCPT ACL is through, and did or did not accept this recipient (sc->address, in the envelope as that). If cutthrough
 * delivery is wanted and no callout has told the next hop of it, that is done now. OK: go on. FAIL: the recipient is to be
 * refused, and DEFER: put off; *answer_ret as callout()'s. Parks. */
NODISCARD enum rc cutthrough_recipient(struct scope *sc, bool accepted, struct callout_answer *answer_ret,
				       struct err *err);
/* Has the next hop accepted all recipients of the message? */
bool cutthrough_ready(const struct message *message);
/* The header is complete: DATA and the header as the delivery sends it. Not OK: cancelled. Parks. */
NODISCARD enum rc cutthrough_begin(struct scope *sc, struct err *err);
/* The pieces of the body, in order; used up. Not OK: cancelled. Parks. */
NODISCARD enum rc cutthrough_body(struct scope *sc, struct slice *pieces, unsigned count, struct err *err);
/* All was sent, and the message is good: the final dot. OK: delivered, FAIL: refused, DEFER: put off or not known; in
 * delivery_ret all outcomes say so, and the next hop's reply stands in reply_text. Parks. */
NODISCARD enum rc cutthrough_end(struct scope *sc, struct delivery *delivery_ret, struct err *err);
/* The message is over, or accepted: then a connection that was held is left to the delivery. Does not park. */
void next_hop_done(struct message *message, bool accepted);

/* verify = recipient/quota: is there room in the mailbox that the address was routed to, for the message as large as the
 * client said, or for any? Only an appendfile transport can tell; others: OK. FAIL: over quota. DEFER: it could not be
 * found out. Answers are kept for so many seconds, 0: not at all. Parks. */
struct quota_options {
	int64_t room_s, refused_s;
};
NODISCARD enum rc quota_verify(struct scope *sc, struct address *address, const struct quota_options *options,
			       struct err *err);

#endif
