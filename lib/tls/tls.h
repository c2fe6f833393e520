/* tls: TLS 1.2 and 1.3 on a stream, by wolfSSL on fibers, inbound and outbound. Handshake and records are a layer of the
 * stream: the raw side is read and written here, plain bytes go up. Certificates, keys and lists are given as expanded
 * text: who may ask for what, and which options name it, policy decides above.
 *
 * Nothing of a handshake keeps a stack while the peer is silent: tls_handshake() is called whenever there is input, and says
 * what it needs. (tls_connect() waits, for those who have a fiber to spare.) Computing is admitted a
 * handshake at a time for each turn of the shard's loop, so that a storm of new connections does not starve the others.
 *
 * Never: TLS 1.0 and 1.1, renegotiation, early data, compression. TLS that has ended is the end of the stream: no clear text
 * is read after it, or sent. */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include "conf/conf.h"
#include "log/log.h"
#include "reactor/reactor.h"

/* Limits. A ClientHello with post-quantum shares has some 2 KiB; nobody sends more than this. */
#define TLS_HELLO_MAX      (64u * 1024)
#define TLS_SHOWN_MAX      (16u * 1024)       /* a client's chain that is kept */
#define TLS_SHOWN_NAME_MAX 32                 /* and its name */
#define TLS_FILE_MAX       (8u * 1024 * 1024) /* of a certificate, key, list or proof */

enum tls_verify {
	TLS_VERIFY_NONE, /* a server does not ask for a certificate; a client takes any */
	TLS_VERIFY_TRY,  /* facts.verified says how it went */
	TLS_VERIFY_MUST, /* or there is no session */
};

/* Items of one of Exim's lists. */
struct tls_list {
	const struct slice *items;
	unsigned count;
};

/* What the options say, expanded. Empty: not set. Two that have the same text, with files that are the same, share one context
 * of the library. */
struct tls_settings {
	struct tls_list certificates; /* PEM files with chains; server: none is a self-signed one for .name */
	struct tls_list privatekeys;  /* in the same order; none: in the certificates' files */
	struct slice verify_certificates; /* a file, a directory, or "system" (also "system,cache") */
	struct slice crl;                 /* a file or a directory */
	struct slice ciphers;             /* tls_require_ciphers, as users write it */
	struct slice dhparam; /* server: "none", a name such as "ffdhe2048", or a file; empty: ffdhe2048 */
	struct slice eccurve; /* groups, separated by colons, or "auto" */
	struct tls_list alpn; /* protocols; none: none offered, any accepted */
	struct tls_list ocsp_files; /* server: each perhaps with "PEM " or "DER " in front */
	struct slice name;          /* our own, for a certificate made on the spot */
	enum tls_verify verify;
	bool resumption; /* server: tickets are given and taken; client: a session is offered and asked for */
};

/* Bits of $tls_in_resumption and $tls_out_resumption. */
enum {
	TLS_RESUME_SUPPORTED = 1,
	TLS_RESUME_CLIENT_ASKED = 2,
	TLS_RESUME_CLIENT_OFFERED = 4,
	TLS_RESUME_SERVER_TICKET = 8,
	TLS_RESUME_USED = 16,
};
/* $tls_in_ocsp and $tls_out_ocsp */
enum tls_ocsp {
	TLS_OCSP_NOT_REQUESTED,
	TLS_OCSP_NO_RESPONSE, /* asked for, but there was none (to send) */
	TLS_OCSP_NOT_CHECKED,
	TLS_OCSP_FAILED,
	TLS_OCSP_VERIFIED, /* a server: sent */
};

/* What came of a handshake. Texts live as long as the stream; what the peer chose is tainted. */
struct tls_facts {
	struct slice version;    /* "TLS1.3" */
	struct slice cipher;     /* "TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256", as in X= */
	struct slice cipher_std; /* the name of the registry, "TLS_AES_256_GCM_SHA384" */
	int bits;
	struct slice peer_dn;                           /* RFC 4514 */
	struct slice our_certificate, peer_certificate; /* PEM; empty: none */
	struct slice sni;          /* server: what the client asked for; client: what was sent */
	struct slice alpn;         /* the one agreed on */
	struct slice verify_error; /* why not verified, in words; empty: no certificate, or fine */
	struct slice
	    ocsp_error; /* client: what is wrong with the proof, in words; empty: nothing, or there is none */
	bool verified;
	uint8_t ocsp;       /* enum tls_ocsp */
	uint8_t resumption; /* bits */
};

/* One end of a connection under TLS. Of its stream, with which it goes. */
struct tls_session;
const struct tls_facts *tls_session_facts(const struct tls_session *session);

/* ---- As a server ------------------------------------------------------------------------------------------ */

struct tls_server {
	/* Asked once, when the client has said which host it wants (sni; empty: none): the settings that are to be used. Text in
	 * them must last as long as task->arena, or longer. May park. Not OK: the handshake is refused (alert
	 * internal_error), err says why. */
	enum rc (*settings)(struct task *task, void *arg, struct slice sni, struct tls_settings *settings_ret,
			    struct err *err);
	void *arg;
	/* Where what happens to files is told (a certificate that can't be read while the one before still serves, a stale
	 * proof). As long as the session. */
	const struct conf *conf;
	/* Chains of certificates that clients have shown, and that were accepted, so that these clients can come back with tickets:
	 * kept under a name of a few bytes, and found again (on any shard; false: it is not there), in the arena. Neither parks. It
	 * is no harm if they are lost, and none if others can read or change them. NULL: such clients get no tickets. */
	void (*keep)(void *arg, struct slice name, struct slice chain);
	bool (*find)(void *arg, struct slice name, struct arena *arena, struct slice *chain_ret);
};
/* Could a handshake be done with these settings? Makes or finds what it needs. Parks. FAIL: no, err says why. */
NODISCARD enum rc tls_server_check(struct task *task, const struct tls_settings *settings,
				   const struct conf *conf, struct err *err);

enum tls_progress {
	TLS_DONE,
	TLS_MORE,   /* more input is needed: call again when the stream has some (its on_input is called) */
	TLS_FAILED, /* err says why; the alert was sent. The stream is over: close it */
};

/* Puts the layer on the stream; the next bytes have to be a ClientHello, also those that have come already: a client may
 * answer "go ahead" before the sender of that runs on. So whoever says it looks for an injection before (stream_pending()).
 * NULL: no memory. */
struct tls_session *tls_server_begin(struct stream *stream, const struct tls_server *server);
/* Goes on with the handshake as far as the input reaches. May park (for on_sni, files, its turn to compute, a slow receiver),
 * never for input. */
enum tls_progress tls_handshake(struct task *task, struct tls_session *session, struct err *err);

/* ---- As a client ------------------------------------------------------------------------------------------ */

struct tls_client {
	const struct tls_settings *settings; /* borrowed for the call */
	struct slice sni;                    /* empty: none is sent */
	/* Names of which the certificate must have one (RFC 6125), if verify is not NONE; count 0: any will do. */
	const struct slice *names;
	unsigned name_count;
	struct slice session; /* to be offered, as tls_session_export() gave it; empty: none */
	bool ocsp_request, ocsp_require;
	bool ocsp_failed; /* a proof that came the time before did not verify: facts.ocsp is to say so */
	const struct conf *conf;
};
/* The handshake of a client. Parks. FAIL: no TLS with this peer (err says why: alert, certificate, name, protocol; err->os is
 * EKEYREJECTED when it was the proof: the library ends the handshake then, but who has only requested one can try again without;
 * bytes that are no proof at all are no reason for that);
 * DEFER: task->until has passed. Either way the stream is over. */
NODISCARD enum rc tls_connect(struct task *task, struct stream *stream, const struct tls_client *client,
			      struct tls_session **session_ret, struct err *err);
/* The newest session that the server gave us to come back with, in the arena; empty: none (yet: with TLS 1.3 it comes behind
 * the handshake, so ask when the dialogue is over). What was verified goes with it. */
struct slice tls_session_export(struct tls_session *session, struct arena *arena);

/* For the log, of what a failed handshake says: where it failed ("handshake", "certificate verification failed"), which is taken off
 * the front of the text. */
struct slice tls_error_stage(struct slice *text);

/* ---- Certificates as policy sees them ---------------------------------------------------------------------- */

/* A field of a certificate in PEM, for ${certextract: selector is "subject", "notafter,int", "subj_altname,dns,>:"... The text is
 * in the arena. FAIL with err->text: the selector, or the certificate, is none; without: the certificate has no such field. */
NODISCARD enum rc tls_certificate_field(struct arena *arena, struct slice pem, struct slice selector,
					struct slice *ret, struct err *err);
/* The bytes that fingerprints are made of. */
NODISCARD enum rc tls_certificate_der(struct arena *arena, struct slice pem, struct slice *der_ret,
				      struct err *err);

/* ---- Proofs for our own certificates, for whoever fetches them ------------------------------------------- */

struct tls_proof {
	int64_t made, until; /* seconds since the epoch: from when, and up to when it can be shown */
};
/* pem: a certificate with its issuer behind it. Where its responder is, and what to POST there (RFC 6960 appendix A). FAIL: it
 * names none, or the issuer is missing. */
NODISCARD enum rc tls_proof_ask(struct arena *arena, struct slice pem, struct slice *uri_ret,
				struct slice *request_ret, struct err *err);
/* Is the response, in DER, a proof that the certificate is good, now? FAIL: no, err says why. */
NODISCARD enum rc tls_proof_check(struct arena *arena, struct slice pem, struct slice response, int64_t now_s,
				  struct tls_proof *ret, struct err *err);
/* For the metrics: the proof that there is for that certificate (a path); all 0: none. */
void tls_proof_tell(struct shard *shard, struct slice certificate, const struct tls_proof *proof);

/* ---- Keys of tickets ------------------------------------------------------------------------------------- */

/* One set for the process, attached by each shard that gives tickets: see tickets.h. directory: on a file system in memory, made
 * if it is missing, shared by all processes of the host that name it; empty: the process keeps its keys for itself. When
 * the directory can't be used, that is so too, and err says why, with OK. May block. */
struct tls_tickets;
NODISCARD enum rc tls_tickets_open(struct slice directory, struct tls_tickets **ret, struct err *err);
void tls_tickets_close(struct tls_tickets *tickets); /* NULL is fine; after the shards have ended */
NODISCARD bool tls_tickets_attach(struct tls_tickets *tickets, struct shard *shard);

/* Keys travel between nodes as text, encrypted and authenticated with a key made of a secret that the nodes share. */
#define TLS_TICKET_SECRET_MIN 16 /* bytes: whoever has an entry can try secrets on it */
#define TLS_TICKETS_TOLD_MAX  64 /* entries that are looked at */
struct tls_told_key {
	struct slice text;
	int64_t created; /* wall clock, s */
};
struct tls_told {
	struct tls_told_key *keys; /* known here, and not among the entries; in the arena */
	unsigned count;
	unsigned learned, unreadable; /* entries; unreadable: damaged, or wrapped with another secret */
};
/* Learns the keys in entries, tells which are missing there. Does not park; handshakes do not wait for it.
 * OK     also when the keys are being changed just now: then nothing was learned, and there is nothing to tell.
 * FAIL   the shard has no keys, or the secret is too short.
 * DEFER  no memory. */
NODISCARD enum rc tls_tickets_tell(struct shard *shard, struct arena *arena, struct slice secret,
				   const struct slice *entries, unsigned count, struct tls_told *told_ret,
				   struct err *err);

/* ---- Shard and process ------------------------------------------------------------------------------------ */

/* Gives back what the shard keeps: contexts, keys. */
void tls_done(struct shard *shard);

extern const struct metric_table tls_metric_table;

#endif
