/* mailauth: who is answerable for a message. SPF (RFC 7208), DKIM (RFC 6376, 8301, 8463), DMARC (RFC 9989, and RFC 7489 with
 * a public suffix list), ARC (RFC 8617), Authentication-Results (RFC 8601), SRS. Evaluators that are given facts and a
 * resolver and give back a result: nothing here knows of ACLs, transports or sockets, so that each can be tested with a table
 * of records and fuzzed. What outside sends is never trusted: work, queries and memory of one evaluation are bounded. */
#ifndef MAILAUTH_MAILAUTH_H
#define MAILAUTH_MAILAUTH_H

#include "dns/dns.h"
#include "expand/expand.h"

/* ---- Where records come from ---------------------------------------------------------------------------- */

/* Results as of dns_query(): FAIL is "no such record" (answer_ret->nxdomain tells which), DEFER "cannot be known now". */
struct mailauth_resolver {
	enum rc (*query)(struct task *task, void *arg, struct slice name, enum dns_type type,
			 struct dns_answer *answer_ret, struct err *err);
	/* Asks without waiting; NULL: nobody asks ahead. */
	void (*prefetch)(struct task *task, void *arg, struct slice name, enum dns_type type);
	void *arg;
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

/* Hangs on message->extra[MAILAUTH_EXTRA], in the message's arena; each part is made by whoever evaluates it first. */
struct mailauth {
	struct spf_state *spf;
	struct dkim_state *dkim;
	struct dmarc_state *dmarc;
	struct arc_state *arc;
	bool dkim_disabled, dmarc_disabled, dmarc_forensic; /* controls */
};
enum { MAILAUTH_EXTRA = 0 };
/* Of this message, made at the first call. NULL: no memory. */
struct mailauth *mailauth_of(struct message *message);

/* Main options of this room. */
extern const struct conf_group mailauth_conf_group;
struct mailauth_options {
	const struct expansion *spf_guess, *spf_smtp_comment_template;
	const struct expansion *dkim_verify_signers, *dkim_verify_hashes, *dkim_verify_keytypes,
	    *dkim_verify_min_keysizes;
	bool dkim_verify_minimal;
	const struct expansion *dmarc_tld_file, *dmarc_history_file, *dmarc_forensic_sender;
	const struct expansion *srs_config, *srs_secrets;
	int64_t srs_hashlength, srs_hashmin, srs_maxage;
	bool srs_usehash, srs_usetimestamp;
};
static inline const struct mailauth_options *mailauth_options(const struct conf *conf)
{
	return conf_group(conf, CONF_MAILAUTH);
}

#endif
