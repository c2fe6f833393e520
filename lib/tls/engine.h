/* engine: the private face of the tls room's moving parts: what sessions, contexts and the shard's state ask of each other. The
 * only header that knows wolfSSL's types. */
#ifndef TLS_ENGINE_H
#define TLS_ENGINE_H

/* Its options first, or its structs have other sizes than those in the library. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "tls/revoked.h"
#include "tls/flight.h"
#include "tls/hello.h"
#include "tls/tls.h"

#define CONTEXT_CERT_MAX  8   /* certificates side by side: one of each kind is used, but more may be named */
#define CONTEXT_GROUP_MAX 10  /* for the key exchange: more than are known here */
#define CONTEXT_COUNT_MAX 256 /* of a shard; the longest unused goes first */

struct tls_shard;

/* What settings become: a context of the library for each kind of certificate. Not changed once it is made; sessions hold
 * references, so that a new one can take its place at any time. */
struct context_cert {
	WOLFSSL_CTX *ctx;
	bool ecdsa;
	struct slice pem;                /* the leaf, for $tls_in_ourcert; heap */
	uint32_t der_size;               /* of the same */
	struct slice proof;              /* DER, to be stapled; empty: none. Heap */
	int64_t proof_made, proof_until; /* wall clock, s */
};
struct tls_context {
	unsigned refs;
	struct context_cert certs[CONTEXT_CERT_MAX];
	unsigned cert_count;
	enum tls_verify verify;
	bool tls12, tls13; /* may be used */
	bool server_order; /* of cipher suites; otherwise the client's */
	int groups
	    [CONTEXT_GROUP_MAX]; /* of a server, IANA's numbers, the best first; count 0: the library's */
	unsigned group_count;
	struct authorities authorities; /* whom we trust, where peers are verified */
	struct revoked revoked;
	uint8_t binding
	    [32]; /* what a ticket has to have been made for: these settings, without regard to files */
};
void context_unref(struct tls_context *context);
/* The context of these settings, made if there is none or its files have changed. A change that can't be loaded is told to the log
 * once, and the one before stays. Parks. FAIL: can't be made. */
NODISCARD enum rc context_get(struct task *task, const struct tls_settings *settings, bool server,
			      const struct conf *conf, struct tls_context **context_ret, struct err *err);
/* The certificate that suits the client. */
const struct context_cert *context_choose(const struct tls_context *context, const struct tls_hello *hello);

void contexts_done(struct tls_shard *here);

/* A request to make one, worked on by a helper thread: files are read and keys are checked there. */
struct context_job {
	struct arena arena; /* everything in it */
	struct tls_settings settings;
	bool server;
	struct tls_context *context; /* the result, or NULL */
	char problem[512];           /* then: why */
	char notes[1024];            /* what the log should know, a line each */
};
void context_build(struct context_job *job);
const char *curve_name(int group); /* as the library wants it; NULL: no curve, or none that is known here */

/* A key for P-256 and a certificate that it has signed itself. */
struct self_signed {
	struct slice certificate, key; /* DER */
	struct slice pem;
};
bool self_signed_make(struct arena *arena, struct slice name, struct self_signed *ret);

/* ---- The shard's ---- */

/* Counts (library.c has what they are called). */
enum { TLS_IN, TLS_OUT };
enum { TLS_FULL, TLS_RESUMED };
enum { TLS_STAPLE_MADE, TLS_STAPLE_UNTIL };
struct tls_metrics {
	struct tally shakes[2][2][2]; /* [in, out][TLS 1.2, 1.3][full, resumed] */
	struct tally failed[2];
	struct tally tickets_issued, tickets_taken, tickets_refused;
	struct tally contexts_made, contexts_failed;
	struct tally sessions, waiting;
	struct metric_names staples; /* by the path of the certificate */
};

struct tls_shard {
	struct shard *shard;
	struct map contexts; /* of struct context_entry, by the settings' text */
	struct link used;    /* the same, the longest unused first */
	/* Handshakes compute in turn: see turn_begin(). */
	struct waitq turn;
	struct timer turn_timer;
	uint64_t turn_round, turn_spent; /* ns in that round of the loop */
	/* Sessions whose slots are not trimmed yet, the oldest first: most connections end sooner than that pays. */
	struct link young;
	struct timer young_timer;
	unsigned turn_waiting;
	struct tls_metrics *metrics, own_metrics;
};
/* NULL: no memory. */
struct tls_shard *tls_shard_here(struct shard *shard);

/* The session is open, and its slot to be trimmed when it is still there a second later. */
void library_opened(struct tls_session *session);
/* A handshake has succeeded, and its facts are known. */
void library_count(struct tls_session *session);
/* Waits until this shard may spend time on another handshake. OK or CANCELLED, DEFER. Parks. */
NODISCARD enum rc turn_begin(struct task *task, struct tls_shard *here, uint64_t *began_ret);
void turn_end(struct tls_shard *here, uint64_t began);

/* The library is ready: allocators, tables. Once, any thread. */
void library_init(void);
/* Where the library's objects of a session are (memory.h). */
struct library_memory {
	struct slot *slot;                   /* those that last; NULL: anywhere */
	struct slot *leaks;                  /* what it forgets */
	bool watching;                       /* for that */
	void *certificate;                   /* a block of a decoded certificate's size, while it is there */
	void *given_back;                    /* the same, from then on until it is known what it was */
	size_t certificate_size, proof_size; /* DER, of what it decodes and copies */
	bool emptied;                        /* by the library: nothing of the certificate was forgotten */
	bool proof_next;                     /* the next block of the proof's size is the copy of it */
};
/* The library asks for the proof: what it gave back last was the certificate that it has decoded for this, if it looks like one. */
void library_asks_for_proof(struct library_memory *memory);
/* A call of the library is over. What it gave back meanwhile was no certificate. */
void library_settle(struct library_memory *memory);
/* What the library takes on this thread comes from there from now on; NULL: from malloc(). Returns the one before. A fiber that
 * parks puts that back first. */
struct library_memory *library_use(struct library_memory *memory);
/* Gives back what the library keeps for this thread. */
void library_thread_done(void);
/* What the library says about a failed call. */
enum rc library_error(struct err *err, WOLFSSL *ssl, int result, const char *what);

/* ---- Sessions, as callbacks of the library see them ---- */

#define SHOWN_NAME_LEN 32

struct tls_session {
	struct stream *stream;
	struct tls_shard *here;
	WOLFSSL *ssl; /* NULL until the hello is known */
	struct tls_context *context;
	const struct context_cert *cert;
	const struct tls_client *as_client; /* during tls_connect() */
	struct slice stored_certificate;    /* DER of the peer's, of the session that is to be resumed */
	uint8_t stored_ocsp;
	unsigned scheme; /* client: of the server's signature; 0: not known */
	bool stored_verified;
	uint8_t binding[32]; /* of tickets: the context's, and the name that the client asked for */
	bool turn;           /* it is this handshake's turn to compute, since: */
	uint64_t turn_began;
	struct library_memory memory;
	struct link young; /* in the shard's list, if it has a slot, from opened on; alone: trimmed */
	uint64_t opened;
	struct task *task; /* whose call is under way; NULL: nothing may park */
	enum { SESSION_HELLO, SESSION_HANDSHAKE, SESSION_OPEN, SESSION_OVER } state;
	bool client;
	bool busy;       /* inside a call of the library that may have parked */
	bool looked_at;  /* input came meanwhile, and was left */
	bool resumption; /* tickets are given and taken */
	bool ocsp_sent, ocsp_asked;
	bool ticket_given, ticket_taken;
	bool
	    returned; /* server: the ticket is of a client that has shown a certificate, which is kept under: */
	uint8_t returned_name[SHOWN_NAME_LEN];
	bool shown;             /* a certificate, by the peer */
	int verify_error;       /* the library's number; 0: fine, or nobody has looked */
	const char *verify_why; /* the same in words */
	struct flight *flight;  /* of the server, when a proof was asked for and while the handshake lasts */
	struct arena arena;     /* facts, and what is needed for the handshake */
	struct tls_facts facts;
	struct tls_server server;
	struct tls_hello hello;
	/* What came up to the end of the ClientHello, and of it what the library has read. */
	char *early;
	uint32_t early_len, early_room, early_read, early_need;
	/* Records that wait for what is sent next, so that both are one segment. */
	char *held;
	uint32_t held_len;
	bool holding; /* whatever comes joins them */
	bool last;    /* what is written next is the last */
};
extern const struct stream_layer_ops session_layer;
struct tls_session *tls_session_new(struct stream *stream); /* NULL: no memory */
void tls_session_free(struct tls_session *session);
/* The library's object for it, of session->cert's context. */
bool session_library(struct tls_session *session, struct err *err);
void session_use_alpn(struct task *task, struct tls_session *session, struct tls_list protocols,
		      int mismatch);
void session_unbusy(struct tls_session *session); /* a call that may have parked is over */
void session_opened(struct tls_session *session); /* the handshake is over: facts, and memory given back */
/* The turn of this handshake: taken if it is not there, given back if it is. */
NODISCARD enum rc session_turn(struct task *task, struct tls_session *session);
void session_turn_end(struct tls_session *session);
int session_receive(WOLFSSL *ssl, char *bytes, int len, void *arg);
int session_send(WOLFSSL *ssl, char *bytes, int len, void *arg);
int session_ticket(WOLFSSL *ssl, unsigned char *name, unsigned char *iv, unsigned char *mac, int seal,
		   unsigned char *bytes, int len, int *len_ret, void *arg);
int session_proof(void *arg, const char *url, int url_len, unsigned char *request, int request_len,
		  unsigned char **response_ret);
int session_verify(int fine, WOLFSSL_X509_STORE_CTX *store);
/* The proof that a server has stapled (staple.c): bytes of the handshake as they are read; then, when the handshake is over, what
 * it is worth, in the session's facts (FAIL: not enough, or nothing that can be read); or, when the library has refused it, why in our
 * words: err->os is EKEYREJECTED if it was a proof at least. */
void session_flight_end(struct tls_session *session); /* nothing more is kept of it */
void staple_tap(struct tls_session *session, struct slice bytes);
NODISCARD enum rc staple_judge(struct tls_session *session, struct err *err);
void staple_scheme(struct tls_session *session); /* which signature the server has made: session->scheme */
void staple_refused(struct tls_session *session, struct err *err);
/* Certificates of clients that come back (shown.c): keeps what this one has shown and says under which name; false: it can't come back.
 * And the other way, into stored_...; false: it has to show it again. */
bool shown_keep(struct tls_session *session, uint8_t name_ret[SHOWN_NAME_LEN]);
bool shown_find(struct tls_session *session, const uint8_t name[SHOWN_NAME_LEN]);
/* Fills facts in when the handshake is over. */
void facts_fill(struct tls_session *session);
/* Why a certificate was not accepted, in words. */
const char *verify_words(struct tls_session *session, WOLFSSL_X509_STORE_CTX *store);
/* Is the key of this certificate one for ECDSA? (facts.c) */
struct x509;
bool certificate_is_ecdsa(const struct x509 *cert);

#endif
