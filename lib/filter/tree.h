/* An Exim filter, compiled: commands, and the conditions that they stand under. */
#ifndef FILTER_TREE_H
#define FILTER_TREE_H

#include "words.h"

enum condition_kind {
	COND_ALL,
	COND_ANY, /* of the parts */
	COND_BEGINS,
	COND_CONTAINS,
	COND_ENDS,
	COND_IS,
	COND_MATCHES,
	COND_ABOVE,
	COND_BELOW,
	COND_PERSONAL,
	COND_DELIVERED,
	COND_ERROR_MESSAGE,
	COND_FIRST_DELIVERY,
	COND_MANUALLY_THAWED,
	COND_FOR_ANY_ADDRESS,
};
struct alias {
	struct alias *next;
	struct slice text;
};
struct condition {
	struct condition *next; /* the next of the parts */
	struct condition *parts;
	enum condition_kind kind;
	bool negated;
	bool caseful;
	struct slice left, right; /* before expansion; left: the list of foranyaddress */
	struct alias *aliases;    /* of personal */
};

enum command_kind {
	CMD_ADD,
	CMD_DEFER,
	CMD_DELIVER,
	CMD_FAIL,
	CMD_FINISH,
	CMD_FREEZE,
	CMD_HEADERS,
	CMD_IF,
	CMD_LOGFILE,
	CMD_LOGWRITE,
	CMD_MAIL,
	CMD_PIPE,
	CMD_SAVE,
	CMD_TESTPRINT,
	CMD_VACATION,
};
enum mail_option {
	MAIL_TO,
	MAIL_CC,
	MAIL_BCC,
	MAIL_FROM,
	MAIL_REPLY_TO,
	MAIL_SUBJECT,
	MAIL_HEADERS,
	MAIL_TEXT,
	MAIL_FILE,
	MAIL_LOG,
	MAIL_ONCE,
	MAIL_ONCE_REPEAT,
	MAIL_OPTIONS,
};
extern const char *const mail_option_names[MAIL_OPTIONS];
struct mail_arguments {
	struct slice options[MAIL_OPTIONS]; /* ptr NULL: not given */
	bool file_expand, return_message;
};
enum header_action { HEADERS_ADD, HEADERS_REMOVE, HEADERS_CHARSET };
struct branch {
	struct branch *next;
	const struct condition *condition; /* NULL: else */
	struct command *commands;
};
struct command {
	struct command *next;
	enum command_kind kind;
	bool seen; /* "seen" stood before it, or it is so by nature and "unseen" did not */
	bool noerror;
	struct slice text, second; /* arguments before expansion; second.ptr NULL: not given */
	int mode;
	enum header_action headers;
	struct mail_arguments *mail;
	struct branch *branches;
};

/* parse.c */
NODISCARD enum rc exim_parse(struct arena *arena, struct slice text, const struct filter_rules *rules,
			     struct command **commands_ret, struct err *err);
struct parse {
	struct words words;
	const struct filter_rules *rules;
	unsigned depth, count;
};
NODISCARD enum rc parse_count(struct parse *p); /* one more command or condition; FAIL: too many */
NODISCARD enum rc parse_enter(struct parse *p);
/* condition.c: up to and including "then". */
NODISCARD enum rc exim_condition_parse(struct parse *p, const struct condition **ret);

/* run.c */
struct run {
	struct scope *sc;
	const struct filter_rules *rules;
	struct filter_result *result;
	struct filter_action **last;
	struct err *err;
	unsigned steps;
	bool delivered; /* a significant delivery has been set up */
	bool over;      /* finish, or one of the verdicts */
	bool seen_finish;
	const char *log_file;
	int log_mode;
};
NODISCARD enum rc run_step(struct run *run);
/* Expands the text of the filter; FAIL with Exim's words around the mistake, `where` behind the string. */
NODISCARD enum rc run_expand(struct run *run, struct slice text, const char *where, struct slice *ret);
/* decide.c */
NODISCARD enum rc condition_test(struct run *run, const struct condition *condition, bool *ret);
/* personal.c */
NODISCARD enum rc personal_test(struct run *run, const struct alias *aliases, bool *ret);
/* print.c: the lines of -bf. */
void print_line(struct run *run, const char *format, ...) PRINTF_LIKE(2, 3);
struct slice printable(struct run *run, struct slice text);
/* reply.c: mail and vacation. */
NODISCARD enum rc run_reply(struct run *run, const struct command *command);
/* run.c, for reply.c: a new action at the end of the list. NULL: too many, or no memory; err says so. */
struct filter_action *run_action(struct run *run, enum filter_action_kind kind, bool seen, bool noerror);

#endif
