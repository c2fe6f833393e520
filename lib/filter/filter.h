/* filter: what users and administrators want done with a message, in the two languages that Exim reads: its own ("# Exim
 * filter") and Sieve (RFC 5228). A text is compiled to a tree and run on a fiber against the message of a scope; what comes
 * out is a list of actions and a verdict. Nothing is delivered here: that is the business of whoever asked. Knows nothing
 * of routers and transports. */
#ifndef FILTER_FILTER_H
#define FILTER_FILTER_H

#include "expand/expand.h"

enum filter_language { FILTER_NONE, FILTER_EXIM, FILTER_SIEVE };
/* By the first line: "# Exim filter", "# Sieve filter", in any case, with or without white space. */
enum filter_language filter_language(struct slice text);

/* Limits. A filter is a user's text: it may be wrong, and it may be meant to be. */
#define FILTER_SIZE_MAX     (1024u * 1024) /* bytes of its text */
#define FILTER_ITEM_MAX     1024           /* bytes of a word or string before expansion, as in Exim */
#define FILTER_DEPTH_MAX    100            /* ifs, brackets and tests in one another */
#define FILTER_COMMANDS_MAX 20000          /* commands and conditions of one text */
#define FILTER_STEPS_MAX    200000         /* commands, conditions and addresses that one run looks at */
#define FILTER_ACTIONS_MAX  1000           /* deliveries that one run sets up */

/* What "mail" and "vacation" ask for. Everything is expanded; ptr NULL: not given. */
struct filter_reply {
	struct slice to, cc, bcc, from, reply_to, subject, headers, text, file, log, once;
	int64_t once_repeat_s; /* 0: never again */
	bool file_expand, return_message;
	bool to_default; /* "to" was not given: it is the message's reply address */
};

enum filter_action_kind { FILTER_DELIVER, FILTER_SAVE, FILTER_PIPE, FILTER_REPLY };
/* One thing to be done, in the order of the text. Strings are in sc->task->arena. */
struct filter_action {
	struct filter_action *next;
	enum filter_action_kind kind;
	unsigned number;   /* 1, 2, ... in this run */
	struct slice text; /* address, path (relative ones too), command behind the "|"; of a reply: "to" */
	struct slice errors_to; /* ptr NULL: as the message's */
	bool noerror;           /* failures are told to nobody */
	int mode;               /* of the file; -1: the transport's */
	bool expand_pipe;       /* the command's words are still to be expanded, with the numbers below */
	struct slice numeric[20];
	unsigned numeric_count;
	struct slice this_address;
	const struct filter_reply *reply;
};

enum filter_verdict {
	FILTER_CONTINUES, /* no significant delivery: the message goes on to where it was going */
	FILTER_DELIVERED, /* the actions are all there is to do */
	FILTER_DEFERS,    /* the commands defer, fail and freeze; message has their text */
	FILTER_FAILS,
	FILTER_FREEZES,
};
unsigned filter_action_number(const struct filter_action *action); /* 0 for NULL */
struct filter_result {
	struct filter_action *actions;
	unsigned action_count;
	enum filter_verdict verdict;
	struct slice message;      /* for the log: the text between "<<" and ">>", or all of it */
	struct slice user_message; /* for the bounce */
};

/* What a filter may do, and what has to be known to run it. */
struct filter_rules {
	bool system; /* the system filter: may change header lines */
	bool allow_defer, allow_fail, allow_freeze;
	bool forbid_reply, forbid_logwrite, forbid_file, forbid_pipe;
	bool first_delivery;    /* nothing of the message was tried yet */
	bool prepend_home;      /* to relative names of "save" */
	unsigned forbid_expand; /* EXPAND_NO_...: what its strings may not do */
	struct slice name;      /* for messages: "filter file" */
	/* The lines of -bf; NULL: this is real. When set, nothing is written and no header line is kept beyond the run. */
	void (*print)(void *arg, struct slice line);
	void *print_arg;
	/* Writes a line to a filter's log file under the rights of whoever it runs for; NULL: as ourselves. Parks. */
	enum rc (*log)(void *arg, struct scope *sc, const char *path, int mode, struct slice text,
		       struct err *err);
	void *log_arg;
	/* Told of each header line that a system filter adds, and each name that it removes; NULL: nobody wants to know. */
	void (*header)(void *arg, bool add, struct slice text);
	void *header_arg;
	/* Sieve: redirect's sieve_... options, expanded; ptr NULL: unset. */
	struct slice sieve_inbox, sieve_subaddress, sieve_useraddress, sieve_vacation_directory,
	    sieve_enotify_mailto_owner;
};

/* Compiles the text and runs it for sc->message (and sc->address, unless it is the system's). Parks.
 * OK     *ret says what to do.
 * FAIL   the text or one of its strings is wrong: err says what and in which line, and nothing is to be done. For Sieve the
 *	  caller keeps the message (RFC 5228 section 2.10.6).
 * DEFER  a lookup could not be done, or a file not be written. */
NODISCARD enum rc filter_apply(struct scope *sc, enum filter_language language, struct slice text,
			       const struct filter_rules *rules, struct filter_result *ret, struct err *err);
/* Only the syntax: OK or FAIL. For -bf of several files and for tests. Never parks. */
NODISCARD enum rc filter_check(struct arena *arena, enum filter_language language, struct slice text,
			       struct err *err);

extern const struct variable_table filter_variables; /* $n0 ... $n9, $sn0 ... $sn9, $thisaddress */

#endif
