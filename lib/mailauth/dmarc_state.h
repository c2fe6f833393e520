/* dmarc_state: what is kept with a message. Private to the room. */
#ifndef MAILAUTH_DMARC_STATE_H
#define MAILAUTH_DMARC_STATE_H

#include "mailauth/mailauth.h"

struct dmarc_state {
	struct dmarc_result result;
	enum mailauth_result spf;
	struct slice spf_domain;
	struct dkim_result *dkim; /* dkim_count of them */
	unsigned dkim_count;
	bool forensic;
	bool psl;                     /* judged with a suffix list */
	bool counted;                 /* for aggregate reports */
	struct slice reports_left;    /* of ruf= */
	struct slice reports_instead; /* of what a destination named in the place of one */
	unsigned reports, reports_asked;
};
struct dmarc_state *dmarc_state_of(const struct message *message);
/* A query that knows the suffix list, if the configuration names one, and nothing of messages yet. OK; FAIL, DEFER: the list cannot
 * be read; CANCELLED. Parks. The list stays the shard's, and is as new as the file was at this call. */
NODISCARD enum rc dmarc_query_of(struct scope *sc, struct dmarc_query *query_ret, struct err *err);
/* May one more failure report go to the address? It is counted, for all shards and processes of the spool together. REACHED: no, and so
 * for the first time this hour. Where it cannot be counted: OVER. Parks. */
enum dmarc_limit { DMARC_LIMIT_FREE, DMARC_LIMIT_REACHED, DMARC_LIMIT_OVER };
enum dmarc_limit dmarc_limit_count(struct task *task, struct slice address);
/* "pass", "fail"... (RFC 9989 section 9.2) */
struct slice dmarc_authres_word(const struct dmarc_result *result);
/* The same with its properties, as a method of Authentication-Results (RFC 9989 section 9.1). */
void dmarc_authres(struct authres_maker *maker, const struct dmarc_result *result, struct slice comment);
/* One block, in one write, for opendmarc-importstats. Trouble is logged, and mail goes on. CANCELLED. Parks. */
NODISCARD enum rc dmarc_history_write(struct scope *sc, const struct dmarc_state *state, struct err *err);

#endif
