/* What Dovecot's auth service says, line by line. */
#ifndef AUTH_DOVECOT_H
#define AUTH_DOVECOT_H

#include "base/base.h"

#define DOVECOT_LINE_MAX 8192 /* bytes with LF: what the protocol allows */

/* Its greeting: from VERSION to DONE. */
struct dovecot_greeting {
	bool version, spid, mechanisms, done; /* what has been seen */
	bool offered;                         /* the mechanism we want */
};
/* Takes a line without its end. FAIL: this is no auth service, or one that we do not understand; err says which. */
NODISCARD enum rc dovecot_greeting_line(struct dovecot_greeting *greeting, struct slice line,
					struct slice mechanism, struct err *err);

/* What it answers to AUTH and CONT. */
struct dovecot_answer {
	enum { DOVECOT_OK, DOVECOT_FAIL, DOVECOT_CONT } kind;
	struct slice user;      /* decoded, tainted; empty: not told */
	struct slice challenge; /* CONT: decoded */
	bool temporary;         /* FAIL because of itself, not of the client */
};
/* FAIL: not an answer to request id: err says why. */
NODISCARD enum rc dovecot_answer_parse(struct arena *arena, struct slice line, unsigned id,
				       struct dovecot_answer *answer_ret, struct err *err);

#endif
