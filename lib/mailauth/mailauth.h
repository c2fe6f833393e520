/* mailauth: who is answerable for a message. SPF (RFC 7208), DKIM (RFC 6376, 8301, 8463), DMARC (RFC 9989, and RFC 7489 with
 * a public suffix list), ARC (RFC 8617), Authentication-Results (RFC 8601), SRS. Evaluators that are given facts and a
 * resolver and give back a result: nothing here knows of ACLs, transports or sockets, so that each can be tested with a table
 * of records and fuzzed. What outside sends is never trusted: work, queries and memory of one evaluation are bounded. */
#ifndef MAILAUTH_MAILAUTH_H
#define MAILAUTH_MAILAUTH_H

#include "dns/dns.h"
#include "expand/expand.h"
#include "hints/hints.h"

/* ---- Where records come from ---------------------------------------------------------------------------- */

/* Results as of dns_query(): FAIL is "no such record" (answer_ret->nxdomain tells which), DEFER "cannot be known now". */
struct mailauth_resolver {
	enum rc (*query)(struct task *task, void *arg, struct slice name, enum dns_type type,
			 struct dns_answer *answer_ret, struct err *err);
	/* Asks without waiting; NULL: nobody asks ahead. */
	void (*prefetch)(struct task *task, void *arg, struct slice name, enum dns_type type);
	void *arg;
	bool
	    timed; /* it asks the shard's DNS, so that what was made of answers may be kept while these are good */
};
/* The real one: lib/dns on the task's shard. */
extern const struct mailauth_resolver mailauth_dns;

/* ---- What is known of a message --------------------------------------------------------------------------- */

/* The result words that SPF, DKIM and ARC share with RFC 8601, section 2.7. */
enum mailauth_result {
	MAILAUTH_UNKNOWN, /* not evaluated */
	MAILAUTH_NONE,
	MAILAUTH_PASS,
	MAILAUTH_FAIL,
	MAILAUTH_SOFTFAIL,
	MAILAUTH_NEUTRAL,
	MAILAUTH_POLICY,
	MAILAUTH_TEMPERROR,
	MAILAUTH_PERMERROR,
	MAILAUTH_INVALID, /* Exim's word for what could not be evaluated */
};
struct slice mailauth_result_word(enum mailauth_result result); /* "pass"...; "" for UNKNOWN */

struct spf_state;   /* spf.c */
struct dkim_state;  /* dkim_verify.c */
struct dmarc_state; /* dmarc.c */
struct arc_state;   /* arc_verify.c */
struct body_digests;

/* Hangs on message->extra[MAILAUTH_EXTRA], in the message's arena; each part is made by whoever evaluates it first. */
struct mailauth {
	struct spf_state *spf;
	struct dkim_state *dkim;
	struct dmarc_state *dmarc;
	struct arc_state *arc;
	struct body_digests *digests;                       /* of the body as it is sent (dkim_sign.c) */
	bool dkim_disabled, dmarc_disabled, dmarc_forensic; /* controls */
	/* The header fields as they arrived, before anybody here added or rewrote one (LF line ends, the final one included). */
	struct slice *fields;
	uint32_t field_count;
	struct slice
	    authres_removed; /* control = authres_remove: whose name no Authentication-Results field may use; empty: unset */
};
enum { MAILAUTH_EXTRA = 1 }; /* extra[0] is acl's */
/* Of this message, made at the first call. NULL: no memory. */
struct mailauth *mailauth_of(struct message *message);

/* ---- SPF -------------------------------------------------------------------------------------------------- */

/* What check_host() of RFC 7208 is asked. Slices are borrowed for the call. */
struct spf_query {
	struct ip_addr ip;   /* the client's */
	struct slice sender; /* MAIL FROM; empty: postmaster@ the HELO name */
	struct slice helo;
	struct slice receiver; /* our name: %{r} */
	struct slice guess;    /* a record for those who publish none; empty: none */
	struct slice
	    explanation; /* a macro string, for those who fail and are given no reason; empty: none */
	uint64_t now_s;  /* %{t}: seconds since the epoch */
};
/* Strings live in the query's strings or in the task's arena. */
struct spf_result {
	enum mailauth_result result;
	bool guessed;             /* by query.guess */
	bool helo_identity;       /* the HELO name was checked */
	struct slice domain;      /* that was checked */
	struct slice mechanism;   /* that matched, as published; empty: none did */
	struct slice explanation; /* with FAIL: exp=, or query.explanation; printable ASCII */
	struct slice problem;     /* with TEMPERROR, PERMERROR, NONE: why */
	unsigned terms, voids;    /* spent, of the limits of section 4.6.4 */
};
/* The result for the sender's domain, within all limits of RFC 7208 and 20 seconds. OK, whatever the result is; CANCELLED.
 * Parks. */
NODISCARD enum rc spf_check(struct task *task, const struct mailauth_resolver *resolver,
			    const struct spf_query *query, struct spf_result *ret);

/* Checks the sender of the scope's message, once; with guess, for those without a record by spf_guess. The result stays with
 * the message: for $spf_..., DMARC, Authentication-Results and the log. Clients on the loopback pass; without an address it
 * is "permerror". OK; FAIL: an option cannot be expanded; DEFER: no memory. Parks. */
NODISCARD enum rc spf_evaluate(struct scope *sc, const struct mailauth_resolver *resolver, bool guess,
			       struct err *err);
/* Of this message; NULL: not evaluated. Strings live as long as the message. */
const struct spf_result *spf_result_get(const struct message *message);
/* The same without guesses: what DMARC counts. */
const struct spf_result *spf_result_real(const struct message *message);
/* Asks for the record of a sender that was just told. Does not park. */
void spf_ahead(struct shard *shard, struct slice sender, struct slice helo);
extern const struct variable_table spf_variables;

/* ---- DKIM ------------------------------------------------------------------------------------------------- */

/* Signatures that are looked at in one message, from the top; the others are counted and told of. */
#define DKIM_SIGNATURES_MAX 20

/* The header block has arrived and the body has not begun: signatures are taken apart, keys asked for ahead, body hashes begun.
 * The fields are remembered as they are. Does not park. DEFER: no memory. */
NODISCARD enum rc dkim_header_done(struct task *task, struct message *message,
				   const struct mailauth_resolver *resolver, struct err *err);
/* A piece of the body as it will be kept, CRLF line ends. */
void dkim_body_hash(struct message *message, const char *ptr, size_t len);
static inline void dkim_body(struct message *message, const char *ptr, size_t len)
{
	if (message->extra[MAILAUTH_EXTRA])
		dkim_body_hash(message, ptr, len);
}
/* The body is complete: every signature gets its result. sc has the message; expands dkim_verify_hashes and its kin. Logs, as
 * the log selectors say. Parks (keys). OK; FAIL: an option cannot be expanded; DEFER: no memory. */
NODISCARD enum rc dkim_verify(struct scope *sc, const struct mailauth_resolver *resolver, struct err *err);

/* What came of one signature, for DMARC and Authentication-Results. Strings live as long as the message. */
struct dkim_result {
	struct slice domain;   /* d=, as written */
	struct slice identity; /* i=; empty: not given */
	struct slice selector, algorithm;
	struct slice b;              /* base64 of the signature, without white space */
	enum mailauth_result result; /* in the words of RFC 8601; an ACL may have changed it */
	struct slice comment;        /* why, for people; empty with pass */
	unsigned key_bits;
	bool testing; /* the key says t=y */
};
/* false: there is no signature of that number (0 is the topmost). */
bool dkim_result_get(const struct message *message, unsigned number, struct dkim_result *result_ret);

/* d= of the topmost signature that passed; empty: none. */
struct slice dkim_passed_domain(const struct message *message);

/* For the DKIM ACL: the list that dkim_verify_signers comes to is gone through by the caller, who runs the ACL for each round.
 * dkim_round_first() begins; each call of dkim_round_next() sets the $dkim_ variables for another signer and signature;
 * false: no more. dkim_round_done() takes what "set dkim_verify_status" has said. */
struct dkim_rounds {
	struct slice signers; /* expanded, what is left */
	char separator;
	struct slice signer; /* the present one */
	unsigned next;       /* the signature to look at next; UINT32_MAX: another signer */
	bool found;
	struct slice *seen;
	unsigned seen_count;
};
NODISCARD enum rc dkim_round_first(struct scope *sc, struct dkim_rounds *rounds_ret, struct err *err);
NODISCARD bool dkim_round_next(struct scope *sc, struct dkim_rounds *rounds);
void dkim_round_done(struct scope *sc, struct dkim_rounds *rounds);
/* "set dkim_verify_status" (or, reason: dkim_verify_reason) in an ACL. false: no memory, or no message. */
NODISCARD bool dkim_override(struct scope *sc, bool reason, struct slice value);
/* $dkim_cur_signer, and the status of the round; outside of the DKIM ACL a colon list of all. */
struct slice dkim_current_signer(const struct message *message);
struct slice dkim_current_status(struct scope *sc);

extern const struct variable_table dkim_variables;

/* ---- ARC ------------------------------------------------------------------------------------------------------------ */

struct arc_result {
	enum mailauth_result result; /* NONE, PASS or FAIL (RFC 8617 section 4.4) */
	struct slice reason;         /* of FAIL */
	struct slice domains;        /* d= of the seals, by instance, with colons */
	struct slice selector;       /* s= of the newest seal */
	bool temporary;              /* FAIL, for a key could not be had now */
	unsigned count;              /* sets */
	unsigned
	    oldest_pass; /* the lowest instance whose message signature, and all newer, are good; 0: none */
};
/* The chain of the message whose header dkim_header_done() has seen, and whose body has passed by. Evaluated once. Parks. DEFER: no
 * memory; FAIL: an option cannot be expanded; CANCELLED. */
NODISCARD enum rc arc_verify(struct scope *sc, const struct mailauth_resolver *resolver,
			     struct arc_result *result_ret, struct err *err);
/* false: arc_verify() has not been called for it. */
bool arc_result_get(const struct message *message, struct arc_result *result_ret);
extern const struct variable_table arc_variables;

/* ---- Authentication-Results (RFC 8601) ---------------------------------------------------------------------------------- */

#define AUTHRES_METHODS_MAX    64
#define AUTHRES_PROPERTIES_MAX 16 /* of one method */
/* A field taken apart; slices point into its text or the arena. */
struct authres_property {
	struct slice type, name, value; /* "header", "d", "example.org" */
};
struct authres_method {
	struct slice method, result, reason; /* reason: empty if not given */
	unsigned version;                    /* 1 if not given */
	struct authres_property properties[AUTHRES_PROPERTIES_MAX];
	unsigned property_count;
};
struct authres {
	struct slice id;
	unsigned version;
	struct authres_method *methods; /* in the arena */
	unsigned method_count;          /* 0: "none" */
	struct slice payload; /* all behind the id (and its version) and the semicolon, as written */
};
/* Takes comments and folding white space off the front. false: a comment that does not end. */
bool authres_skip(struct slice *rest);
/* The body of such a field (behind the colon). Strict: FAIL is what no reader should take for anything. DEFER: no memory. */
NODISCARD enum rc authres_parse(struct arena *arena, struct slice text, struct authres *authres_ret,
				struct err *err);

/* What evaluators write into the field that ${authresults{id}} makes: "method=result (comment)" on a line of its own, then its
 * properties, quoted where they have to be. */
struct authres_maker {
	struct str *out;
	uint32_t line;  /* where the present line begins in out */
	unsigned count; /* methods so far */
};
void authres_method(struct authres_maker *maker, struct slice method, struct slice result,
		    struct slice comment);
void authres_property(struct authres_maker *maker, struct slice name, struct slice value);
extern const struct expand_item *const mailauth_items[];

/* Fields of that id that came with the message, and such as nobody can read, are deleted: at once if the header is there, and in any
 * case when it is (authres_removed()). What ACLs add stays, whenever they do. false: no message, or no memory. */
bool authres_remove(struct message *message, struct slice id);
void authres_removed(struct message *message);

/* ---- Signing: DKIM-Signature, and ARC sets ------------------------------------------------------------------- */

/* A private key: RSA or Ed25519. */
struct mailauth_key;
/* value: an absolute file name, or the key itself: PEM (PKCS #1, PKCS #8), or the base64 of DER or of the 32 bytes of an Ed25519
 * key; one that begins with a slash is not taken for the name of a file that is not there. What a file holds is kept by the shard and read again when it has changed. The key lives in task->arena. Parks.
 * FAIL: it cannot be read, or is no key; DEFER: no memory, or the file system has trouble. */
NODISCARD enum rc mailauth_key_get(struct task *task, struct slice value, const struct mailauth_key **key_ret,
				   struct err *err);

/* A message as it will be sent: header fields and body, each of which is hashed once however many signatures there are. */
struct body_hashes;
struct mailauth_text {
	struct task *task;
	struct slice header; /* with CRLF line ends, without the empty line */
	struct slice *fields;
	unsigned field_count;
	struct body_hashes *hashes;
	/* The next piece of the body, CRLF line ends; FAIL with no text at its end. */
	enum rc (*next)(struct mailauth_text *text, struct slice *piece_ret, struct err *err);
	void *arg;
	/* Whose body that is, without a change: its digests are kept with the message, for its next delivery, and those that verification
	 * has made are taken. NULL: it is nobody's. */
	struct message *message;
};
/* Takes the header apart. text->task, header, next, arg and message are the caller's. DEFER: no memory. */
NODISCARD enum rc mailauth_text_init(struct mailauth_text *text, struct err *err);

struct dkim_signer {
	struct slice domain, selector;
	struct slice identity; /* i=; empty: none */
	struct slice
	    sign_headers; /* a colon list: "Name", "=Name" all that are there, "+Name" and one more; empty: the usual */
	bool header_relaxed, body_relaxed;
	bool sha512;     /* in place of sha256 */
	bool timestamps; /* t= and x= */
	uint64_t created, expires;
	const struct mailauth_key *key;
};
/* The usual list: _DKIM_SIGN_HEADERS, and with "+" before each name _DKIM_OVERSIGN_HEADERS. */
extern const char dkim_sign_headers[];
void mailauth_macros(struct conf *conf);
extern const struct conf_feature mailauth_features[];
/* Asks for the body hash that the signature needs; all are asked for before mailauth_text_read() goes through the body. Does not
 * park. DEFER: no memory. */
NODISCARD enum rc dkim_sign_prepare(struct mailauth_text *text, const struct dkim_signer *signer,
				    struct err *err);
/* Reads the body once, or not at all if all that was asked for is known of the message. Parks. Results of text->next. */
NODISCARD enum rc mailauth_text_read(struct mailauth_text *text, struct err *err);
/* Appends a DKIM-Signature field with its CRLF. Parks: an RSA key works in a helper thread, for it takes milliseconds.
 * FAIL: not to be signed (no From field, no name); DEFER: no memory, no helper; CANCELLED. */
NODISCARD enum rc dkim_sign(struct mailauth_text *text, const struct dkim_signer *signer, struct str *out,
			    struct err *err);
/* An ARC set: ARC-Seal, ARC-Message-Signature, ARC-Authentication-Results. The last repeats what the Authentication-Results fields of
 * `domain` in the text say (all of them), and what they say of the chain decides cv=. */
struct arc_signer {
	struct slice domain; /* of the ADMD: d=, and the name that its Authentication-Results have */
	struct slice selector;
	bool timestamps;
	uint64_t created;
	uint64_t expires; /* x= of the message signature; 0: none */
	const struct mailauth_key *key;
};
NODISCARD enum rc arc_sign_prepare(struct mailauth_text *text, struct err *err);
/* As dkim_sign(). FAIL: there is nothing to be sealed (no such field, a chain that has ended...). */
NODISCARD enum rc arc_sign(struct mailauth_text *text, const struct arc_signer *signer, struct str *out,
			   struct err *err);
/* Frees what the shard keeps for this room, when it ends. */
void mailauth_done(struct shard *shard);

/* ---- DMARC ------------------------------------------------------------------------------------------------------ */

enum { DMARC_FO_ANY = 1, DMARC_FO_DKIM = 2, DMARC_FO_SPF = 4 };
/* A policy record (RFC 9989, section 4.7). Letters: n(one), q(uarantine), r(eject); 0: not given. */
struct dmarc_record {
	char p, sp, np;
	char adkim, aspf; /* r, s */
	char psd;         /* y, n, u */
	bool testing;     /* t=y */
	bool unusable;    /* no valid request, and nobody to tell: as if it were not there */
	unsigned pct;     /* gone from RFC 9989; kept for reports */
	unsigned fo;      /* DMARC_FO_...; 0: when both fail */
	struct slice rua, ruf;
};
enum dmarc_status {
	DMARC_UNCHECKED,
	DMARC_ACCEPT,
	DMARC_NONE,
	DMARC_NORECORD,
	DMARC_NOFROM,
	DMARC_TEMPERROR,
	DMARC_QUARANTINE,
	DMARC_REJECT,
	DMARC_OFF
};
struct slice dmarc_status_word(enum dmarc_status status);
#define DMARC_FROM_MAX 10
/* What has been found out about a message. Domains in lower-case ASCII. */
struct dmarc_query {
	const struct slice *from; /* of From:, each once */
	unsigned from_count;
	enum mailauth_result spf;
	struct slice spf_domain; /* of MAIL FROM, or HELO */
	const struct dkim_result *dkim;
	unsigned dkim_count;
	/* Policies by RFC 7489, with organisational domains of a public suffix list; NULL: by RFC 9989, up the tree. Asked after
	 * parks: it may not keep what it points to. */
	struct slice (*org)(void *arg, struct arena *arena, struct slice domain);
	void *arg;
};
struct dmarc_result {
	enum dmarc_status status;
	struct slice from;        /* the domain that decided */
	struct slice used_domain; /* where its record is; empty: nowhere */
	struct dmarc_record record;
	char policy; /* n, q, r as published for this domain; 0: none */
	enum dmarc_status
	    requested; /* what a message that fails gets: REJECT, QUARANTINE or NONE; of no meaning without a record */
	bool align_spf, align_dkim;
	struct slice problem; /* with TEMPERROR, or a status that needs a reason */
};
/* OK, whatever the result is; CANCELLED. With several From: domains (which RFC 9989 leaves to us) the strictest result of RFC 7489
 * section 6.6.1. At most 8 questions a domain and walk. Strings live in the query's strings or in task->arena. Parks. */
NODISCARD enum rc dmarc_check(struct task *task, const struct mailauth_resolver *resolver,
			      const struct dmarc_query *query, struct dmarc_result *ret);

/* Checks the scope's message once, its header complete; writes the history file, if there is one. OK; DEFER: no memory; CANCELLED.
 * Parks. */
NODISCARD enum rc dmarc_evaluate(struct scope *sc, const struct mailauth_resolver *resolver, struct err *err);
/* NULL: not checked. Strings live as long as the message. */
const struct dmarc_result *dmarc_result_get(const struct message *message);
/* "dmarc_disable_verify" and "dmarc_enable_forensic". */
void dmarc_control(struct message *message, bool disable, bool forensic);
/* A failure report that somebody is to be sent: asked after the ACL that checked, again and again. false: no more. The text is a whole
 * message with LF line ends, in sc->task->arena. Parks. */
struct dmarc_report {
	struct slice sender, recipient, text;
};
NODISCARD bool dmarc_report_next(struct scope *sc, const struct mailauth_resolver *resolver,
				 struct dmarc_report *ret);
extern const struct variable_table dmarc_variables;

/* Aggregate reports (RFC 9990), when dmarc_report_sender is set: messages are counted in the hints, one row for each source and result,
 * and become reports of whole days (UTC). */

/* The policy has had its last word on the scope's message, and will not be asked again about it. Nothing happens without a record that
 * wants reports. Does not park. */
void dmarc_count(struct scope *sc, bool refused);
#define DMARC_RECIPIENTS_MAX 5
struct dmarc_aggregate {
	struct slice domain, id, sender;
	struct slice recipients[DMARC_RECIPIENTS_MAX];
	unsigned recipient_count;
	struct slice text; /* a whole message, LF line ends */
	uint64_t messages;
	unsigned rows;
	const struct slice *keys; /* that it was made of */
	unsigned key_count;
};
/* Where a round of reports is; it outlives the arenas of its reports. */
struct dmarc_reporting {
	uint64_t day_limit; /* of all days before that one (since the epoch) */
	bool over;
	uint64_t reported_until;
	char behind[HINTS_KEY_MAX];
	uint32_t behind_len;
};
/* OK; FAIL: the options want no reports, or cannot be expanded. Parks. */
NODISCARD enum rc dmarc_reporting_begin(struct scope *sc, uint64_t day_limit, struct dmarc_reporting *ret,
					struct err *err);
uint64_t dmarc_today(struct shard *shard);
/* OK: a report, which lives in sc->task->arena, and is said to be sent once the spool has it. FAIL with at->over: that was all. FAIL
 * without: there is nothing to send to ret->domain, and it is forgotten; DEFER: not now (with at->over: the hints cannot be
 * read); both with the reason in err, and the round goes on. CANCELLED. Parks. */
NODISCARD enum rc dmarc_reporting_next(struct scope *sc, const struct mailauth_resolver *resolver,
				       struct dmarc_reporting *at, struct dmarc_aggregate *ret,
				       struct err *err);
void dmarc_reporting_sent(struct scope *sc, const struct dmarc_aggregate *aggregate);
/* All were sent that could be. */
void dmarc_reporting_end(struct scope *sc, const struct dmarc_reporting *at);
/* Frees what the shard keeps. */
void dmarc_done(struct shard *shard);

/* ---- SRS ------------------------------------------------------------------------------------------------------ */

extern const struct expand_item *const srs_items[];           /* ${srs_encode */
extern const struct expand_condition *const srs_conditions[]; /* inbound_srs */
extern const struct variable_table srs_variables;

/* Senders rewritten by redirect routers (option srs), as libsrs_alt did it. */
#define SRS_SECRETS_MAX 10
struct srs_settings {
	struct slice secrets[SRS_SECRETS_MAX]; /* the first signs, all verify */
	unsigned secret_count;
	int64_t maxage, hashlength, hashmin; /* days, characters; hashmin -1: as hashlength */
	bool usehash, usetimestamp;
};
/* What the main options say. DEFER: they do not fit together (the panic log knows), or could not be expanded. May park. */
NODISCARD enum rc srs_settings(struct scope *sc, struct srs_settings *ret, struct err *err);
/* The sender with the alias' domain; today is days since the epoch. key: of a database, in the place of the sender; ptr NULL:
 * none. FAIL: no sender that could be; DEFER: no memory. */
NODISCARD enum rc srs_forward(struct arena *arena, const struct srs_settings *settings, uint64_t today,
			      struct slice sender, struct slice alias, struct slice key, struct slice *ret);
/* The key under which a database keeps a sender. */
NODISCARD enum rc srs_key(struct arena *arena, const struct srs_settings *settings, struct slice sender,
			  struct slice *ret);
enum srs_verdict { SRS_OK, SRS_NOT /* or malformed */, SRS_BAD /* hash, stamp */, SRS_TROUBLE };
/* The way back: the address that the rewritten one stands for, or, with database, its key. */
enum srs_verdict srs_reverse(struct arena *arena, const struct srs_settings *settings, uint64_t today,
			     struct slice address, bool database, struct slice *ret);

extern const struct conf_feature mailauth_features[];
/* Main options of this room. */
extern const struct conf_group mailauth_conf_group;
struct mailauth_options {
	const struct expansion *spf_guess, *spf_smtp_comment_template;
	const struct expansion *dkim_verify_signers, *dkim_verify_hashes, *dkim_verify_keytypes,
	    *dkim_verify_min_keysizes;
	bool dkim_verify_minimal;
	const struct expansion *dmarc_tld_file, *dmarc_history_file, *dmarc_forensic_sender;
	const struct expansion *dmarc_report_sender, *dmarc_report_organization, *dmarc_report_contact,
	    *dmarc_report_extra_contact;
	bool dmarc_report_automatic;
	const struct expansion *srs_config, *srs_secrets;
	int64_t srs_hashlength, srs_hashmin, srs_maxage;
	bool srs_usehash, srs_usetimestamp;
};
static inline const struct mailauth_options *mailauth_options(const struct conf *conf)
{
	return conf_group(conf, CONF_MAILAUTH);
}

#endif
