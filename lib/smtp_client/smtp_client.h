/* smtp_client: SMTP and LMTP as a client (RFC 5321, 2033): connections, their pool, transactions with PIPELINING,
 * CHUNKING, SIZE, DSN, SMTPUTF8. Used by the smtp and lmtp transports and by callouts. Knows nothing of routers. */
#ifndef SMTP_CLIENT_SMTP_CLIENT_H
#define SMTP_CLIENT_SMTP_CLIENT_H

#include "match/match.h"
#include "tls/tls.h"

struct smtp_connection;

/* How TLS is used with a host. Borrowed for smtp_open(), but for session_key, which is copied. */
struct smtp_tls {
	const struct tls_client *client;
	bool on_connect; /* TLS before anything is said (RFC 8314) */
	bool required;   /* no message in clear text */
	bool
	    tempfail_tryclear; /* not required: a 4xx to STARTTLS, or a handshake that fails, leads to clear text */
	bool alpn_required; /* the server has to choose one of the protocols offered */
	/* Under which sessions are kept in hints; all that makes one unfit for another is in it. Empty: they are not. */
	struct slice session_key;
	/* More for that key, from the reply to EHLO (host_name_extract); NULL: nothing. May park. The text is in the task's arena. */
	struct slice (*server_name)(struct scope *sc, void *arg, struct slice ehlo_reply);
	void *server_name_arg;
};
/* err->os when there was no TLS where it had to be, or the handshake failed: the numbers that logs show. */
#define SMTP_TLS_REQUIRED (-38)
#define SMTP_TLS_FAILURE  (-37)

/* A SOCKS5 proxy that leads to the host (RFC 1928). All that is borrowed is for smtp_open(). */
#define SMTP_PROXY_COUNT_MAX 64
#define SMTP_PROXY_WORD_MAX  255 /* RFC 1929: a length has one byte */
struct smtp_proxy {
	struct ip_addr address; /* with port */
	bool login;
	struct slice name, password; /* each at most SMTP_PROXY_WORD_MAX */
	int64_t timeout_ms;          /* until it has said something; 0: no limit of its own */
	unsigned priority, weight;   /* higher ones first; chance among equal ones */
};

struct smtp_connect_options {
	struct ip_addr to; /* with port; family 0: unix_path */
	struct slice unix_path;
	bool over_pipes; /* neither: to a command, whose pipes these are; taken over, whatever comes of it */
	int input, output;   /* read from, written to */
	struct ip_addr from; /* source address; family 0: any */
	const struct smtp_proxy
	    *proxies; /* at most SMTP_PROXY_COUNT_MAX; the text that they came from is part of pool_key */
	unsigned proxy_count;   /* 0: straight to the host */
	struct slice host_name; /* for errors, TLS and the pool */
	struct slice helo;
	bool lmtp, use_ehlo;
	const struct smtp_tls *tls; /* NULL: clear text, and no STARTTLS */
	bool auth_wanted;           /* the caller logs in, and says so in pool_key */
	int64_t connect_timeout_ms, command_timeout_ms, data_timeout_ms, final_timeout_ms;
	bool keepalive;
	unsigned tos;          /* of the packets' headers; 0: as the system has it */
	bool reuse;            /* from the shard's pool, when one with the same facts is idle there */
	struct slice pool_key; /* what else must be equal for reuse (transport's name, authentication...) */
};

/* What a reply was, for logs, retries and bounces. */
struct smtp_reply {
	int code;             /* 0: none (connection lost, timeout) */
	struct slice text;    /* whole reply, lines joined with "\n"; in the task's arena; tainted */
	struct slice command; /* what it answered: "RCPT TO:<x@y>", "end of data", "initial connection" */
	bool connecting;      /* with code 0: there was no connection yet */
};
enum {
	SMTP_EXT_SIZE = 1,
	SMTP_EXT_PIPELINING = 2,
	SMTP_EXT_CHUNKING = 4,
	SMTP_EXT_8BITMIME = 8,
	SMTP_EXT_DSN = 16,
	SMTP_EXT_STARTTLS = 32,
	SMTP_EXT_AUTH = 64,
	SMTP_EXT_UTF8 = 128,
	SMTP_EXT_PRDR = 256,
	SMTP_EXT_LIMITS = 512,
	SMTP_EXT_ENHANCED = 1024,
	SMTP_EXT_IGNOREQUOTA = 2048,
	SMTP_EXT_AUTHENTICATED = 4096, /* no extension: smtp_set_authenticated() was called */
};

/* Connects, or takes an idle connection from the pool; greeting, EHLO (HELO if refused) done. Parks.
 * FAIL: 5xx greeting or HELO. DEFER: no connection, timeout, 4xx. reply_ret tells. */
NODISCARD enum rc smtp_open(struct scope *sc, const struct smtp_connect_options *options,
			    struct smtp_connection **ret, struct smtp_reply *reply_ret, struct err *err);
/* The facts of its TLS session, as long as the connection; NULL: clear text. smtp_open() sets sc->tls_out to it, which the caller
 * sets back before the connection goes. */
const struct tls_facts *smtp_tls_facts(const struct smtp_connection *connection);
/* Came from the pool: when the first transaction then finds it dead before any reply, a fresh one is worth a try. */
bool smtp_was_reused(const struct smtp_connection *connection);
unsigned smtp_extensions(const struct smtp_connection *connection);
unsigned smtp_recipient_max(
    const struct smtp_connection *connection); /* of one transaction (RFC 9422); 0: no limit told */
uint64_t smtp_size_max(const struct smtp_connection *connection);
const struct ip_addr *smtp_local_address(const struct smtp_connection *connection);
const struct ip_addr *smtp_peer_address(const struct smtp_connection *connection);
const struct ip_addr *smtp_proxy_address(const struct smtp_connection *connection); /* family 0: none */
/* Back into the pool, if it is in a state for that and the peer took fewer than messages_max; else QUIT and close. */
void smtp_release(struct smtp_connection *connection, unsigned messages_max);
void smtp_close(struct smtp_connection *connection); /* now; QUIT is sent if that needs no waiting */

/* One recipient of a transaction, and what became of it. */
struct smtp_recipient {
	struct slice address;
	struct slice parameters; /* DSN: " NOTIFY=..." or empty */
	enum rc rc;              /* OK accepted (and, after the data, delivered), FAIL, DEFER */
	struct smtp_reply reply;
	void *user;
};
struct smtp_transaction {
	struct slice sender;
	struct slice mail_parameters; /* " SIZE=... BODY=8BITMIME" beyond what the client adds by itself */
	struct smtp_recipient *recipients;
	unsigned recipient_count;
	uint64_t size;           /* for SIZE= */
	struct slice headers;    /* wire form, with the empty line */
	struct message *message; /* body */
	bool body_8bit, smtputf8;
	bool allow_chunking, avoid_pipelining;
	bool
	    all_or_none; /* a recipient who is refused, by whatever reply, is a failure of all, and nothing is sent */
	/* Results */
	struct smtp_reply reply; /* that decided: MAIL's, DATA's, or the final one */
	enum rc rc;              /* OK: at least one delivered; per recipient above */
	bool used_pipelining, used_chunking;
	bool any_reply; /* the peer said something: sending this again elsewhere may repeat it */
	uint64_t sent;  /* bytes of message text */
};
/* How long a connection may be idle in the pool, and how many are kept per shard. */
#define SMTP_POOL_IDLE_MS   5000
#define SMTP_POOL_COUNT_MAX 256
/* Bounds on what a server may say in one reply: RFC 5321 section 4.5.3.1.5 asks for lines of 512 bytes. */
#define SMTP_REPLY_LINE_MAX 4096
#define SMTP_REPLY_SIZE_MAX 32768

/* May the address stand between angle brackets? One with a bracket in its quoted local part may not: servers disagree on where such a
 * path ends. */
bool smtp_path_is_safe(struct slice address);

/* MAIL to the final reply. All recipients have an outcome afterwards. The connection can be used for another message if
 * OK or FAIL; on DEFER with reply.code 0 it is dead. Parks. */
NODISCARD enum rc smtp_send(struct scope *sc, struct smtp_connection *connection,
			    struct smtp_transaction *transaction, struct err *err);
/* A single command of one's own (callouts: RCPT with odd addresses, VRFY; authentication), reply into *reply_ret. Parks. */
NODISCARD enum rc smtp_command(struct scope *sc, struct smtp_connection *connection, struct slice line,
			       struct smtp_reply *reply_ret, struct err *err);

/* The same for what holds a secret: shown is what errors and logs say of it. */
NODISCARD enum rc smtp_command_shown(struct scope *sc, struct smtp_connection *connection, struct slice line,
				     struct slice shown, struct smtp_reply *reply_ret, struct err *err);
/* The mechanisms that EHLO named behind AUTH, with spaces between; and who logged in, once somebody did (names are copied). */
struct slice smtp_auth_mechanisms(const struct smtp_connection *connection);
void smtp_set_authenticated(struct smtp_connection *connection, struct slice authenticator, struct slice id);
struct slice smtp_authenticator(const struct smtp_connection *connection); /* empty: nobody */
struct slice smtp_authenticated_id(const struct smtp_connection *connection);

/* ---- A message that is sent on while it comes in (streaming.c) ------------------------------------------------- */

/* MAIL was accepted by smtp_command(): the next smtp_send() over this connection has to begin with RSET. */
void smtp_set_in_transaction(struct smtp_connection *connection);
bool smtp_is_dead(const struct smtp_connection *connection); /* nothing more may be said over it */
/* Would these options lead to this connection: the same host and port, from the same address, with the same name and TLS? */
bool smtp_fits(const struct smtp_connection *connection, struct arena *arena,
	       const struct smtp_connect_options *options);
unsigned
smtp_message_count(const struct smtp_connection *connection); /* transactions that came to their end */
/* DATA. OK: the server asks for the text (354). FAIL: 5yz. DEFER: 4yz, lost, or no answer that makes sense. Parks. */
NODISCARD enum rc smtp_data_begin(struct scope *sc, struct smtp_connection *connection,
				  struct smtp_reply *reply_ret, struct err *err);
/* Sends the pieces (used up by this) with dots stuffed. DEFER: the connection is dead. Parks. */
NODISCARD enum rc smtp_data_pieces(struct scope *sc, struct smtp_connection *connection,
				   struct dot_stuffer *stuffer, struct slice *pieces, unsigned count,
				   struct err *err);
/* The final dot, and the server's answer to it: OK 2yz, FAIL 5yz, DEFER the rest; reply code 0: lost, so that nobody knows
 * whether the message was taken. Parks. */
NODISCARD enum rc smtp_data_end(struct scope *sc, struct smtp_connection *connection,
				struct dot_stuffer *stuffer, struct smtp_reply *reply_ret, struct err *err);
/* Closes it in the middle of the text, without a word. */
void smtp_abandon(struct smtp_connection *connection);

void smtp_pool_done(struct shard *shard);

#endif
