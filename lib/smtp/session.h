/* session: the private face of the smtp room: what a session is, and what its files call in each other. */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include "smtp/smtp.h"

/* Limits that no configuration moves. */
#define COMMAND_LINE_MAX \
	16384 /* bytes with CRLF; RFC 5321 section 4.5.3.1.4 asks for 512 and more for extensions */
#define COMMAND_SKIP_MAX \
	(1024 * 1024) /* a longer line is read to its end and refused; past this nobody waits for the end */
#define REPLY_LINE_MAX    512              /* bytes with code and CRLF, RFC 5321 section 4.5.3.1.5 */
#define REPLY_FLUSH_BYTES 8192             /* replies to pipelined commands are gathered up to here */
#define AUTH_TIME_MAX_MS  (10 * 60 * 1000) /* of a whole exchange, the client's answers included */
#define HISTORY_MAX       20               /* commands remembered for log lines */
#define VARIABLES_TIDY    (64 * 1024) /* with so many bytes of $acl_c those that were replaced are given back */
#define BODY_KEEP_MAX     (512 * 1024) /* a larger body is spilled to the spool as it comes */
#define BODY_KEEP_SCARCE  (16 * 1024)  /* the same when receive buffers are scarce */

/* "threshold,first delay,factor,longest delay": past so many commands each waits, longer and longer. */
struct rate_slope {
	double first_ms, factor, max_ms;
	uint32_t threshold;
	bool set;
};
struct smtp_options {
	const struct expansion *acl[ACL_WHERE_COUNT];
	bool accept_8bitmime, smtp_accept_keepalive, smtp_enforce_sync, smtp_return_error_details,
	    prdr_enable;
	bool recipients_max_reject, smtp_check_spool_space;
	int64_t smtp_accept_max, smtp_accept_max_nonmail, smtp_accept_reserve, smtp_accept_queue;
	int64_t smtp_accept_queue_per_connection, smtp_connect_backlog, smtp_max_synprot_errors,
	    smtp_max_unknown_commands;
	int64_t smtp_receive_timeout, receive_timeout, check_spool_space, check_spool_inodes;
	const struct expansion *smtp_accept_max_per_connection, *smtp_accept_max_per_host, *recipients_max;
	const struct expansion *message_size_limit, *smtp_banner, *smtp_active_hostname;
	const struct match_list *smtp_accept_max_nonmail_hosts, *smtp_reserve_hosts, *host_reject_connection,
	    *host_lookup;
	const struct match_list *helo_accept_junk_hosts, *helo_lookup_domains, *helo_verify_hosts,
	    *helo_try_verify_hosts;
	const struct match_list *hosts_require_helo, *hosts_connection_nolog, *recipient_unqualified_hosts;
	const struct match_list *sender_unqualified_hosts, *pipelining_advertise_hosts,
	    *pipelining_connect_advertise_hosts, *chunking_advertise_hosts;
	const struct match_list *smtputf8_advertise_hosts, *limits_advertise_hosts,
	    *enhanced_status_advertise_hosts, *wellknown_advertise_hosts;
	const struct match_list *dsn_advertise_hosts, *auth_advertise_hosts, *rfc1413_hosts;
	int64_t rfc1413_query_timeout;
	struct slice helo_allow_chars, smtp_bare_newline, daemon_smtp_ports;
	const struct expansion *received_header_text;
	const struct expansion *message_id_header_text, *message_id_header_domain;
	const struct match_list *untrusted_set_sender;
	struct slice local_from_prefix, local_from_suffix;
	const struct match_list *ignore_fromline_hosts;
	bool ignore_fromline_local, queue_only_override;
	struct slice uucp_from_pattern, smtp_etrn_command;
	const struct expansion *uucp_from_sender;
	const struct regex *from_line; /* derived: uucp_from_pattern */
	bool queue_only, return_path_remove, envelope_to_remove, delivery_date_remove, local_from_check,
	    local_sender_retain;
	bool extract_addresses_remove_arguments;
	const struct match_list *smtp_ratelimit_hosts;
	struct slice smtp_ratelimit_mail, smtp_ratelimit_rcpt, queue_only_file;
	bool queue_only_load_latch, tcp_nodelay, smtp_etrn_serialize;
	int64_t smtp_load_reserve, smtp_backlog_monitor, check_log_space, check_log_inodes;
	struct rate_slope rate_mail, rate_rcpt;        /* derived */
	enum { BARE_REJECT, BARE_SPACE } bare_newline; /* derived */
};

#define TLS_LIST_MAX 32 /* items of a list of certificates, proofs, protocols */

struct smtp_tls_options {
	const struct match_list *tls_advertise_hosts, *tls_verify_hosts, *tls_try_verify_hosts,
	    *tls_resumption_hosts;
	const struct expansion *tls_certificate, *tls_privatekey, *tls_verify_certificates, *tls_crl,
	    *tls_require_ciphers, *tls_dhparam, *tls_eccurve, *tls_alpn, *tls_ocsp_file;
	struct slice tls_on_connect_ports, tls_ticket_directory, tls_ticket_redis_servers, tls_ticket_secret;
	bool tls_remember_esmtp, tls_ocsp_refresh;
	bool sni_matters; /* derived: the certificates depend on the host that the client asks for */
	uint16_t on_connect_ports[16];
	unsigned on_connect_port_count;
};

/* The states of the dialogue, RFC 5321 section 4.1.4. */
enum smtp_state {
	STATE_START,  /* no HELO yet */
	STATE_READY,  /* HELO done, no transaction */
	STATE_MAIL,   /* reverse-path given, no recipient accepted */
	STATE_RCPT,   /* at least one recipient */
	STATE_CHUNK,  /* between two BDATs */
	STATE_BROKEN, /* a chunk failed: only RSET and those that end the transaction */
	STATE_COUNT,
};
/* What a client can say. */
enum smtp_verb {
	VERB_HELO,
	VERB_EHLO,
	VERB_MAIL,
	VERB_RCPT,
	VERB_DATA,
	VERB_BDAT,
	VERB_RSET,
	VERB_NOOP,
	VERB_QUIT,
	VERB_VRFY,
	VERB_EXPN,
	VERB_ETRN,
	VERB_HELP,
	VERB_STARTTLS,
	VERB_AUTH,
	VERB_WELLKNOWN,
	VERB_UNKNOWN,
	VERB_COUNT,
};

/* A transaction: MAIL to the final reply. In the message's arena. */
struct transaction {
	struct message *message;
	uint32_t controls; /* ACL_CONTROL_... of this message */
	struct slice fake_text;
	struct slice submission_domain, submission_name;
	struct acl_header_change *headers, **headers_end;
	uint64_t size_declared;
	uint32_t rcpt_count, rcpt_fail_count, rcpt_defer_count, discarded;
	bool discard_all;         /* the MAIL ACL said discard */
	struct slice discard_log; /* and what the log shall say of it */
	bool too_many;            /* recipients_max was passed */
	struct receive *receive;  /* body under way */
	uint64_t chunk_left;
	struct slice
	    refusal; /* the reply that every refused RCPT got, as it was sent; ptr NULL: none, or not all the same */
};

/* What a fiber that serves the session has on its stack; gone when the session rests. */
struct serving {
	struct arena arena; /* the present command's */
	struct arena out_arena;
	struct str out;
	struct scope scope;
};

struct smtp_session {
	struct smtp_server *server;
	struct link link;
	struct stream *stream;
	struct conf *conf;
	const struct smtp_options *options;
	struct task task;
	struct timer timer;
	struct arena arena;       /* small; lives with the connection */
	struct arena variables;   /* the values of $acl_c */
	size_t variables_tidy_at; /* bytes; with so many, most are values that were replaced */
	struct client client;
	struct serving *serving; /* NULL: at rest */
	struct transaction *transaction;
	struct lookup_results *lookup_results; /* until a message begins to arrive, or is over */
	char *line;                            /* the beginning of a command whose end has not come yet */
	uint32_t line_len, line_room;
	/* Small things together: there are tens of thousands of sessions at rest. */
	uint8_t state; /* enum smtp_state */
	bool started, over, local, batch, dry_run, trusted, counted, counted_host, quit_seen, at_rest_soon;
	bool helo_counts, rset_counts, auth_counts, pipelining_ok, chunking_ok, utf8_ok, enhanced_ok, dsn_ok,
	    sync_off, multiline_off, drain_told;
	bool load_latched; /* a message was queued because of the load: so are all after it */
	bool suppress_fixups, dont_deliver;       /* a trusted user's -G and -N */
	bool queue_only, queue_smtp, deliver_now; /* -odq, -odqs; -odb and its kin */
	uint32_t patience_s;                      /* -os of its command; 0: as everybody's */
	bool auth_unadvertised;                   /* control = allow_auth_unadvertised */
	bool delay_flush_off, callout_flush_off;  /* no_delay_flush, no_callout_flush */
	/* PIPECONNECT: this client may speak before it is spoken to, until a transaction begins; it did; EHLO has told of it. */
	bool early_ok, early_used, early_offered;
	bool authentication_failed;
	bool tls;          /* begun, and perhaps not yet through; there is no way back */
	bool tls_offered;  /* by EHLO */
	bool tls_greeting; /* TLS came first; the banner follows it */
	/* For the log: MAIL was said; the one before this command was refused; commands came before the replies to others; how the
	 * connection ended has been told, or is not to be. */
	bool mail_said, mail_refused, pipelined, end_told;
	bool connection_nolog; /* hosts_connection_nolog */
	float delay_mail_ms,
	    delay_rcpt_ms;      /* of the next command that smtp_ratelimit_... slows; 0: the first */
	uint64_t connection_id; /* of all connections of this spool, or nearly so */
	uint32_t synprot_errors, unknown_commands, nonmail_count;
	uint32_t message_count;
	uint32_t connection_messages_max;
	uint32_t recipients_max;
	unsigned count_at_start; /* connections of all shards when this one was accepted, itself included */
	uint32_t history_count;
	uint8_t history[HISTORY_MAX]; /* enum smtp_verb, a ring */
	uint64_t size_max;            /* 0: none */
	const char *notquit_reason;
	struct slice banner_text; /* of the connect ACL, while a handshake comes first */
	struct debug *debug;      /* where its work is told: -d, -bh, control = debug; NULL: nowhere */
	struct smtp_stdio *stdio;
	const struct smtp_submission *submission; /* no dialogue at all: smtp_submit() */
	uint64_t auth_offered;                    /* the authenticators that EHLO told of, by their number */
	struct slice authenticated_fail_id;
	const struct authenticator *authenticated_by; /* NULL: none, or a trusted user's word */
	uint64_t until_max;              /* the end of all waits: the caller's of smtp_submit(), or never */
	struct tls_session *tls_pending; /* a handshake is under way; NULL: none, or done */
	struct waitq ended;              /* smtp_serve_stdio() waits here */
};

struct smtp_metrics {
	struct tally connections, refused, sessions, commands, messages, bytes, rejected_rcpt, rejected_data,
	    errors, timeouts, lost;
	struct tally proofs_fetched, proofs_failed; /* by the refresher */
};
struct smtp_server {
	struct shard *shard;
	struct conf *conf;
	struct smtp_shared *shared;
	struct spool *spool;
	struct deliverer *deliverer;
	struct id_source ids;
	uint64_t connection_next; /* session.connection_id */
	struct link sessions;
	struct listener *listeners[64];
	int listener_fds[64];
	uint64_t log_checked; /* shard_now() of the last look at the logs' file system; 0: none */
	int64_t log_bytes, log_inodes;
	struct link etrn_runs; /* struct etrn_run (cmd_misc.c): under way */
	unsigned etrn_count;
	unsigned listener_count;
	bool draining;
	bool debug_direct;
	uint32_t patience_s; /* of struct smtp_start */
	uint64_t debug;      /* of struct smtp_start */
	bool tls_on_connect; /* on every port */
	struct waitq drained;
	struct smtp_metrics *metrics, own_metrics;
	struct smtp_session *pool; /* freed sessions, linked by .link.next */
	unsigned pool_count;
	struct ocsp_refresh *ocsp_refresh; /* NULL: not on this shard, or over */
	struct ticket_share *ticket_share; /* the same */
};

/* ocsp_refresh.c. stop: what is under way is cancelled, and wakes server->drained when it is over. */
void ocsp_refresh_start(struct smtp_server *server);
void ocsp_refresh_stop(struct smtp_server *server);
/* ticket_share.c. The same. */
void ticket_share_start(struct smtp_server *server);
void ticket_share_stop(struct smtp_server *server);
#define TICKET_SERVERS_MAX 8 /* in tls_ticket_redis_servers */

/* session.c */
NODISCARD enum rc session_new(struct smtp_server *server, int fd_in, int fd_out, struct smtp_session **ret,
			      struct err *err);
uint64_t smtp_connection_id(struct smtp_server *server);
void session_free(struct smtp_session *s);
void session_serve(void *arg);
void session_wake(struct smtp_session *s); /* lends it a fiber unless it has one */
/* The rest of the message of this transaction, if any, is dropped. */
void transaction_end(struct smtp_session *s);
void client_tell(struct smtp_session *s, const struct smtp_told *told); /* NULL is fine */
/* The waits from now on end so many milliseconds from now, whatever the deadline of the command before was. */
void session_deadline(struct smtp_session *s, uint64_t timeout_ms);
/* How long the client may be silent: -os of its own command, of the daemon's, or smtp_receive_timeout. */
static inline uint64_t session_patience_s(const struct smtp_session *s)
{
	return s->patience_s           ? s->patience_s
	       : s->server->patience_s ? s->server->patience_s
				       : (uint64_t)s->options->smtp_receive_timeout;
}
struct scope *
session_scope(struct smtp_session *s); /* of the present command, with what is known filled in */
const char *verb_name(enum smtp_verb verb);

/* The next line of a command under way (a response to AUTH), without its end, in the command's arena; what is longer than
 * max is read to its end and given up. Sends the replies gathered so far. Parks. false: there is none, the session is over. */
bool session_line(struct smtp_session *s, uint32_t max, struct slice *line_ret);

/* reply.c: replies are gathered and sent together. text may have several lines, separated by LF. enhanced is "2.1.0" or NULL. */
void reply(struct smtp_session *s, int code, const char *enhanced, struct slice text);
void replyf(struct smtp_session *s, int code, const char *enhanced, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* 334 (RFC 4954 section 4): the one reply without an enhanced code, and never split, however long. */
void reply_challenge(struct smtp_session *s, struct slice encoded);
/* A text that may begin with a code (and enhanced code) of its own, which counts if its first digit is right. */
void reply_user(struct smtp_session *s, int code, const char *enhanced, struct slice text);
/* Sends what was gathered. Parks. When that fails the session is over. */
void reply_flush(struct smtp_session *s);
/* A reply of any length, whose lines are short and clean; sent as it is made. Parks. */
void reply_long(struct smtp_session *s, int code, struct slice text);
/* A syntax or protocol error: counted; past the limit the session is over. */
void reply_error(struct smtp_session *s, int code, const char *enhanced, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* 503: DATA or BDAT where no recipient was accepted. No error of a client that pipelines: it sent that before it could
 * know (RFC 2920 section 3.1), and is told as often as it likes. */
/* The same with what it is about in front, which the log has already in the command. */
void reply_error_about(struct smtp_session *s, int code, const char *enhanced, struct slice about,
		       struct slice text);
/* Counts a syntax or protocol error, answers it, and, if it was one too many, ends the session. Nothing else is logged. */
void reply_counted(struct smtp_session *s, int code, const char *enhanced, struct slice text);
void reply_no_rcpt(struct smtp_session *s, const char *verb);

/* throttle.c */
NODISCARD bool rate_slope_parse(struct slice text, struct rate_slope *ret);
/* Waits if this command is one too many for a host of smtp_ratelimit_hosts. Parks. false: the session is over. */
bool rate_slope_wait(struct smtp_session *s, const struct rate_slope *slope, uint32_t count, float *delay_ms,
		     const char *verb);
/* queue_only, queue_only_file and what the command line said instead, if queue_only_override lets it. *queue_smtp_ret: only what
 * would leave by SMTP waits. Parks. OK or CANCELLED. */
NODISCARD enum rc queue_only_now(struct smtp_session *s, bool *queue_ret, bool *queue_smtp_ret);
/* queue_only_load and its latch. */
bool load_queues(struct smtp_session *s);
/* check_log_space, check_log_inodes; looks once a second. */
bool log_has_room(struct smtp_server *server, const struct smtp_options *o);
void backlog_monitor(struct smtp_server *server, const struct smtp_options *o);

/* from_line.c: may a message of this session begin with a line that is to be overlooked? Parks. */
bool from_line_expected(struct smtp_session *s);
/* Takes such a line off the front; the parts of the pattern are in numbers. */
bool from_line_take(const struct smtp_options *o, struct slice *text, struct slice *numbers,
		    unsigned numbers_max, unsigned *count_ret);
/* The same, and who sends: *sender_ret stays as it is where the line names no address. Parks. FAIL: there is none; DEFER:
 * uucp_from_sender cannot be expanded. The line is taken off even so. */
NODISCARD enum rc from_line_sender(struct scope *sc, const struct smtp_options *o, struct slice *text,
				   struct slice *sender_ret, struct err *err);

/* ident.c. Asks the client's host who the client is (RFC 1413), if rfc1413_hosts and rfc1413_query_timeout want it; what it says
 * is then s->client.ident. Parks. */
void ident_ask(struct smtp_session *s);
/* The user's name in the answer to the question for these ports. false: it is none, or an error. */
bool ident_parse(struct slice line, uint16_t their_port, uint16_t our_port, struct slice *user_ret);

/* greet.c: from the connection to the banner. */
/* Need this client not wait for our replies now, since it is one of pipelining_connect_advertise_hosts, and no transaction has
 * begun? */
bool session_early(const struct smtp_session *s);
void session_greet(struct smtp_session *s);
void session_banner(struct smtp_session *s); /* its second part, when TLS came between */

/* command files */
void cmd_helo(struct smtp_session *s, enum smtp_verb verb, struct slice argument);
void cmd_mail(struct smtp_session *s, struct slice argument);
void cmd_rcpt(struct smtp_session *s, struct slice argument);
void cmd_data(struct smtp_session *s);
void cmd_bdat(struct smtp_session *s, struct slice argument);
void cmd_rset(struct smtp_session *s);
void cmd_vrfy(struct smtp_session *s, enum smtp_verb verb, struct slice argument);
void cmd_etrn(struct smtp_session *s, struct slice argument);
void etrn_cancel_all(struct smtp_server *server); /* the runs that clients asked for; each ends soon */
/* WELLKNOWN: may this client ask, and what it is told. Both park. */
bool wellknown_offered(struct smtp_session *s);
void cmd_wellknown(struct smtp_session *s, struct slice argument);
void cmd_help(struct smtp_session *s);
void cmd_quit(struct smtp_session *s);
void cmd_starttls(struct smtp_session *s);
bool starttls_offered(struct smtp_session *s);
/* "TLS error on connection from ...", where: LOG_TO_... */
void tls_error(struct smtp_session *s, int where, struct slice why);
bool tls_on_connect(const struct smtp_session *s);
void tls_begin(struct smtp_session *s);
/* Takes the handshake as far as the input reaches. true: it is done. */
bool tls_go_on(struct smtp_session *s);
/* The tls authenticator, if there is one, looks at the certificate. */
void auth_by_certificate(struct smtp_session *s);

/* line: the whole command, which is seen by nobody but the ACL. */
void cmd_auth(struct smtp_session *s, struct slice line, struct slice argument);
/* The command as logs may show it: without the initial response. */
struct slice auth_shown(struct slice line);
/* Appends the AUTH line of EHLO, and remembers what was offered. false: nothing. Parks. */
bool auth_offer(struct smtp_session *s, struct str *text);
/* The AUTH= of MAIL, decoded: acl_smtp_mailauth and server_mail_auth_condition say whether it is believed; *believed_ret is
 * it, or empty. false: MAIL was answered. Parks. */
bool mail_auth(struct smtp_session *s, struct slice sender, struct slice *believed_ret);
bool session_authenticated(const struct smtp_session *s);

/* The path at the front of MAIL's or RCPT's argument, up to the white space behind it: "<...>" with its closing bracket
 * outside of quotes, or a word. What follows is *rest_ret. (cmd_mail.c) */
struct slice path_take(struct slice argument, struct slice *rest_ret);
/* The next NAME or NAME=VALUE of an ESMTP command; false at the end. */
bool parameter_next(struct slice *rest, struct slice *name_ret, struct slice *value_ret);

/* The envelope and the header of a message that is refused, for the reject log; empty if they are not wanted there. */
struct slice rejected_header(struct smtp_session *s);

/* May this client leave the domain of a recipient away? (cmd_rcpt.c) */
bool recipient_may_be_unqualified(struct smtp_session *s);

/* refuse.c: what an ACL's verdict means for the client and the log. true: go on with the command. verb and
 * argument are the log's phrase, "RCPT <a@b>"; verb NULL: the place's name. */
bool acl_verdict(struct smtp_session *s, enum acl_where where, enum acl_result result,
		 struct acl_outcome *outcome, struct err *err, const char *verb, struct slice argument);
/* Runs the option's ACL at that place. */
enum acl_result session_acl(struct smtp_session *s, enum acl_where where, struct acl_outcome *outcome,
			    struct err *err);

/* receive.c: a body from the wire. */
struct receive;
enum receive_end { RECEIVE_MORE, RECEIVE_DONE, RECEIVE_LOST, RECEIVE_TIMEOUT, RECEIVE_CANCELLED };
NODISCARD struct receive *receive_new(struct smtp_session *s);
/* DATA: until CRLF.CRLF. */
enum receive_end receive_data(struct smtp_session *s, struct receive *r);
/* BDAT: so many bytes, exactly. */
enum receive_end receive_chunk(struct smtp_session *s, struct receive *r, uint64_t size);
/* Bytes that no one will keep. */
enum receive_end receive_skip(struct smtp_session *s, uint64_t size);
/* The last byte was read: an unfinished line is ended. */
void receive_complete(struct smtp_session *s, struct receive *r);
void receive_cancel(struct receive *r);

/* onward.c: cutthrough delivery. The RCPT ACL did or did not accept the recipient (scope's address). false: the next hop has
 * refused it, and the client was told. Parks. */
bool onward_recipient(struct smtp_session *s, bool accepted, struct slice recipient);
void onward_data(struct smtp_session *s, struct receive *r); /* the text comes now: is it to go on? Parks */
void onward_go(struct smtp_session *s,
	       struct receive *r); /* sends what is there and was not yet sent. Parks */
/* The message is whole and, if wanted, to be delivered so. OURS: it has to be committed; DELIVERED: it has not, and the client
 * is still to be told; ANSWERED: nor that. Parks. */
enum onward_end { ONWARD_OURS, ONWARD_DELIVERED, ONWARD_ANSWERED };
enum onward_end onward_finish(struct smtp_session *s, struct receive *r, bool wanted);
bool onward_waits(struct smtp_session *s,
		  const struct message *m); /* has it to wait for a queue run? (finish.c) */

/* finish.c: from the end of the body to the final reply. */
void message_finish(struct smtp_session *s, struct receive *r);
/* The header, as soon as its last line is there: completed, and changed as the ACLs want it. Once; later calls do nothing.
 * false: the message is to be refused (a loop, no memory), which message_finish() will find again. Parks. */
bool message_header(struct smtp_session *s, struct receive *r);
/* The header as it will be kept: what is missing added, Received: in front. false: no memory. */
NODISCARD bool header_complete(struct smtp_session *s, struct message *m);
/* A message was frozen as it came: for the log, and for those whom freeze_tell names. Parks. */
void frozen_told(struct smtp_session *s, struct scope *sc, const struct message *m);
/* What the ACLs have added and removed so far. */
void headers_apply(struct smtp_session *s, struct message *m, struct transaction *t);
void fixup_of(struct smtp_session *s, struct fixup *f);
/* $received_protocol; m NULL: of the session so far. */
struct slice session_protocol(const struct smtp_session *s, const struct message *m);
/* HELO, TLS or AUTH was said: ACLs are told what that makes it. */
void session_protocol_changed(struct smtp_session *s);

/* log_lines.c */
/* " SPF", " SPF=fail" as the log selectors spf and spf_verbose want it. */
void log_senders(struct str *line, const struct smtp_session *s, const struct message *m);
void log_client(struct str *str, const struct smtp_session *s);
struct slice client_phrase(struct smtp_session *s); /* " H=name (helo) [ip]:port I=[..]:25 U=ident" */
struct slice
client_caller(struct smtp_session *s); /* the same without "H=": "name (helo) [ip]:port", or the local user */
struct slice client_host_only(struct smtp_session *s);  /* client_phrase() without interface and connection */
struct slice client_connection(struct smtp_session *s); /* "SMTP connection from name (helo) [ip]:port" */
/* "1.234s", or as the log has it without milliseconds. */
void log_duration(struct str *str, const struct smtp_session *s, uint64_t ns);
struct slice session_duration(struct smtp_session *s); /* " D=1s": how long the connection has lasted */
/* smtp_incomplete_transaction: why is "RSET" and the like. */
void log_incomplete(struct smtp_session *s, const char *why);
/* Makes an address that came without a domain one of `domain`. */
void session_qualify(struct smtp_session *s, struct address_parts *address, struct slice domain);
void log_session(struct smtp_session *s, unsigned where, const char *format, ...) PRINTF_LIKE(3, 4);
void log_history(struct str *str, const struct smtp_session *s);
void log_login(struct str *str, const struct smtp_session *s); /* " A=authenticator:id" */
void log_tls(struct str *str, const struct smtp_session *s);   /* " X=... CV=... DN=... SNI=..." */
void log_arrival(struct smtp_session *s, struct message *message);

/* shared.c: false: over the limit, nothing was counted. */
bool shared_connection_begin(struct smtp_shared *shared, int64_t max, unsigned *count_ret);
void shared_connection_end(struct smtp_shared *shared);
bool shared_host_begin(struct smtp_shared *shared, const struct ip_addr *ip, int64_t max);
void shared_host_end(struct smtp_shared *shared, const struct ip_addr *ip);

/* finish.c: a session that tells what it does in a file hands that on to its message. */
void message_debug(struct smtp_session *s, struct message *m);

#endif
