/* spf: what the files of SPF share: a record taken apart, macro strings, the evaluation's state. Private to the room. */
#ifndef MAILAUTH_SPF_H
#define MAILAUTH_SPF_H

#include "kept.h"
#include "mailauth/mailauth.h"

/* RFC 7208, section 4.6.4. */
#define SPF_TERMS_MAX 10 /* mechanisms and modifiers that ask the DNS */
#define SPF_VOIDS_MAX 2  /* of them, that were answered with nothing */
#define SPF_MX_MAX    10
#define SPF_PTR_MAX   10
#define SPF_LIMIT_MS  20000 /* for one check, in all: section 4.6.4 wants 20 seconds at least */

enum spf_mechanism { SPF_ALL, SPF_INCLUDE, SPF_A, SPF_MX, SPF_PTR, SPF_IP4, SPF_IP6, SPF_EXISTS };

struct spf_term {
	uint8_t mechanism; /* enum spf_mechanism */
	char qualifier;    /* + - ~ ? */
	uint8_t bits4, bits6;
	struct slice text;   /* the whole directive, as published */
	struct slice domain; /* domain-spec; empty: not given */
	struct ip_addr ip;   /* ip4, ip6 */
};
struct spf_record {
	struct spf_term *terms;
	unsigned count;
	struct slice redirect, explanation; /* domain-specs; ptr NULL: not given */
	bool has_all;
};
/* "v=spf1", and nothing or a space behind it? */
bool spf_record_is(struct slice text);
/* The whole record is checked against the grammar (RFC 7208, section 12) before any of it is used; slices point into text.
 * FAIL: a syntax error, err says which term; DEFER: no memory. */
NODISCARD enum rc spf_record_parse(struct arena *arena, struct slice text, struct spf_record *ret,
				   struct err *err);

struct spf_kept;
struct spf_work;
/* The same for the record of a name, kept by the shard so that it is taken apart once: *kept_ret is for kept_release(). */
NODISCARD enum rc spf_record_get(struct spf_work *work, struct slice name, struct slice text,
				 const struct spf_record **record_ret, struct spf_kept **kept_ret);

/* What one check is about, and what it has spent. */
struct spf_work {
	struct task *task;
	const struct mailauth_resolver *resolver;
	const struct spf_query *query;
	struct slice sender, local_part, sender_domain; /* with "postmaster" where there was none */
	bool local_part_foreign; /* not ASCII: nothing that mentions it matches (RFC 8616) */
	unsigned terms, voids;
	bool guessing;
	struct slice *names; /* of the client, from the PTR query */
	enum spf_confirmed {
		SPF_NOT_ASKED,
		SPF_CONFIRMED,
		SPF_UNCONFIRMED
	} confirmed[SPF_PTR_MAX]; /* of them, by address */
	unsigned name_count;
	bool names_known, names_defer;
	struct slice mechanism;   /* that decided */
	struct slice explanation; /* the domain-spec of exp= that counts, to be expanded for: */
	struct slice explanation_domain;
	struct err problem;
	struct kept_time good; /* for how long the answers are */
	bool particular;       /* a macro was expanded: the result is this sender's, or this moment's */
};

/* What is known of the query's address and the domain: the result of an evaluation all of whose answers are still good. false: there
 * is none that would do. */
bool spf_result_find(const struct spf_work *work, struct spf_result *result);
/* The other way, if the result is one that can be kept. */
void spf_result_keep(const struct spf_work *work, const struct spf_result *result);

/* Syntax only. explain: %{c}, %{r}, %{t} and spaces are allowed, as in explanations. */
bool spf_macro_valid(struct slice text, bool explain);
/* macro-string domain-end. */
bool spf_domain_spec_valid(struct slice text);
/* Expands a valid macro string. OK; FAIL: it mentions a local part that no DNS name can have; DEFER: no memory; CANCELLED.
 * Parks for %{p} only. */
NODISCARD enum rc spf_macro_expand(struct spf_work *work, struct slice text, struct slice domain,
				   struct slice *ret);
/* The same with nothing that would have to be asked: false where there is such a thing. */
bool spf_macro_needs_dns(struct slice text);
/* The name that a domain-spec comes to: at most 253 bytes, labels dropped from the left; FAIL: cannot be a name. May be a part of the
 * spec, and lives as long as that. */
NODISCARD enum rc spf_target(struct spf_work *work, struct slice spec, struct slice domain,
			     struct slice *ret);
/* Can it be asked for: labels of 1 to 63 bytes, printable ASCII, 253 in all. A final dot is taken off. */
bool spf_name_valid(struct slice *name);

/* A question; FAIL: nothing there; DEFER: trouble. */
NODISCARD enum rc spf_ask(struct spf_work *work, struct slice name, enum dns_type type,
			  struct dns_answer *ret);
/* A name of the client's that its own address record confirms: the domain itself, else one below it, else, with any, any.
 * OK; FAIL: none; CANCELLED. Parks. */
NODISCARD enum rc spf_client_name(struct spf_work *work, struct slice domain, bool any, struct slice *ret);
/* The DNS type of the client's family. */
static inline enum dns_type spf_address_type(const struct spf_work *work)
{
	return work->query->ip.family == 6 ? DNS_AAAA : DNS_A;
}

#endif
