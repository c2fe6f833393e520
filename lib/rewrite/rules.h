/* rules: private to the room. */
#ifndef REWRITE_RULES_H
#define REWRITE_RULES_H

#include "rewrite/rewrite.h"

/* How a rule works, behind the bits of where. */
enum {
	RULE_QUALIFY = 1024, /* Q */
	RULE_REPEAT = 2048,  /* R */
	RULE_QUIT = 4096,    /* q */
	RULE_WHOLE = 8192,   /* w */
};

struct rewrite_rule {
	const struct rewrite_rule *next;
	unsigned number; /* from 1, for the log */
	unsigned flags;
	const struct match_list *pattern;
	const struct expansion *smtp_pattern; /* with S: a regular expression; NULL otherwise */
	const struct regex *smtp_regex; /* ... that is always the same; NULL: compiled when it is known */
	const struct expansion *replacement; /* NULL: "*", the address stays and no further rule is asked */
};
struct rewrite_rules {
	const struct rewrite_rule *first;
	unsigned flags; /* of all of them */
};

/* An address while rules work on it. */
struct rewriting {
	struct scope *sc;
	struct err *err;
	unsigned where;       /* one bit; with REWRITE_SMTP perhaps SMTP_ANY */
	struct slice address; /* local_part@domain */
	struct slice
	    item; /* what it stands in, once a rule with w has made it; ptr NULL: nothing but the address */
	struct slice spec; /* its place in the item */
	bool changed;
	struct message *traced; /* its header block gets what the sender was before each rule; NULL: none */
};
/* The address of -brw may stand for a sender: then it may become "<>". */
#define SMTP_ANY 512
/* A field "name: old" that is deleted already. false: no memory. */
bool leave_trace(struct message *m, const char *name, struct slice old);
/* Rules in turn. Results as rewrite_address(). */
enum rc rewriting_run(struct rewriting *r, const struct rewrite_rules *rules);

#endif
