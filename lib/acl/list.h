/* list: a compiled access control list, and what the files of the room share. Private to the room. */
#ifndef ACL_LIST_H
#define ACL_LIST_H

#include "acl/acl.h"

#define ACL_DEPTH_MAX    21 /* one, and 20 "acl =" conditions in one another, as the language has it */
#define ACL_ARGUMENT_MAX 9

enum acl_verb {
	VERB_ACCEPT,
	VERB_DEFER,
	VERB_DENY,
	VERB_DISCARD,
	VERB_DROP,
	VERB_REQUIRE,
	VERB_WARN,
	VERB_NONE
};

extern const char *const acl_verb_names[]; /* by enum acl_verb */

/* What testing one condition comes to. */
enum acl_test {
	TEST_TRUE,
	TEST_FALSE,
	TEST_DEFER,
	TEST_ERROR,
	TEST_DROP /* false, and close */,
	TEST_DISCARD
};

struct acl_run;
struct acl_item;
struct acl_word {
	const char *name;
	enum { CONDITION, MODIFIER } kind;
	/* How the value is compiled: expanded before use, taken as it is, a list, or "set name = value", or words that are
	 * expanded one by one, so that white space in what a stranger sent makes no further word. */
	enum {
		VALUE_EXPAND,
		VALUE_RAW,
		VALUE_DOMAINS,
		VALUE_HOSTS,
		VALUE_ADDRESSES,
		VALUE_LOCAL_PARTS,
		VALUE_SET,
		VALUE_WORDS,
		VALUE_NONE
	} value;
	uint32_t not_at; /* bits of enum acl_where: where it may not stand */
	enum acl_test (*run)(struct acl_run *run, const struct acl_item *item, struct slice value);
};
extern const struct acl_word *const acl_words[]; /* NULL-terminated; words.c */
const struct acl_word *acl_word_find(struct slice name);
/* What may have been meant by a name that is none; NULL: nothing is near. */
const char *acl_word_nearest(struct slice name);
/* Is it one whose system this version does not have? */
bool acl_word_unavailable(const struct acl_word *word);
/* When the file is read, for a value in which nothing is to be expanded: could it be right anywhere? What is wrong is told
 * then, and not by the first client that comes to it. */
NODISCARD enum rc acl_word_check(const struct acl_word *word, struct arena *arena, struct slice value,
				 struct err *err);

/* A condition or modifier of a statement. */
struct acl_item {
	const struct acl_item *next;
	const struct acl_word *word;
	bool negated;
	struct slice text;                                   /* the value as written */
	const struct expansion *value;                       /* VALUE_EXPAND, VALUE_SET */
	const struct expansion *words[ACL_ARGUMENT_MAX + 1]; /* VALUE_WORDS */
	unsigned word_count;
	const struct match_list *list;
	struct slice variable; /* VALUE_SET: "acl_m_x" */
	struct conf_place place;
};
struct acl_statement {
	const struct acl_statement *next;
	enum acl_verb verb;
	const struct acl_item *items;
	struct conf_place place;
};
struct acl_list {
	struct slice name;
	const struct acl_statement *statements;
	struct conf_place place;
};
struct acl_section {
	struct map lists; /* name -> struct acl_list * */
	bool uses_spf;    /* a statement has a condition that needs the sender's SPF record */
};

/* Parses statements from lines: next() gives them, OK or FAIL at the end. */
struct acl_source {
	enum rc (*next)(struct acl_source *source, struct conf_line *line_ret, struct err *err);
	void (*unread)(struct acl_source *source);
	void *arg;
	bool at_load; /* the values are checked too, and warned of */
};
NODISCARD enum rc acl_parse(struct conf *conf, struct arena *arena, struct acl_source *source,
			    struct slice name, struct acl_list *list_ret, struct err *err);
/* The same from text in memory. */
NODISCARD enum rc acl_parse_text(const struct conf *conf, struct arena *arena, struct slice text,
				 struct acl_list *list_ret, struct err *err);

/* An ACL that runs, and the one that called it. */
struct acl_frame {
	struct acl_frame *outer;
	struct slice arguments[ACL_ARGUMENT_MAX];
	unsigned argument_count;
	unsigned depth;
	struct map *rates; /* of the outermost: what ratelimit counted in this command; NULL: nothing yet */
};
struct acl_run {
	struct scope *sc;
	enum acl_where where;
	struct acl_outcome *outcome;
	struct err *err;
	/* Of the statement that runs: */
	const struct acl_statement *statement;
	const struct expansion *message, *log_message; /* not yet expanded */
	struct slice user_text,
	    log_text; /* what a condition (verify, dnslists, acl) has to say; ptr NULL: nothing */
	bool endpass;
};

/* Runs a list that is known by name, file or text, as a frame below the present one. */
enum acl_result acl_run_named(struct scope *sc, enum acl_where where, struct slice name,
			      const struct slice *arguments, unsigned argument_count,
			      struct acl_outcome *outcome, struct err *err);
/* TEST_TRUE, TEST_FALSE or TEST_DEFER (CANCELLED too) from a result. */
enum acl_test acl_test_of(enum rc rc);

/* verify = arc[/states[/defer]] (mailauth.c). Parks. */
enum acl_test acl_verify_arc(struct acl_run *run, struct slice states);
/* control = authres_remove/<id>. */
enum acl_test acl_remove_authres(struct acl_run *run, struct slice id);
/* "set dkim_verify_status" and "set dkim_verify_reason" (mailauth.c). */
enum acl_test acl_set_dkim(struct acl_run *run, bool reason, struct slice value);

struct acl_options {
	int64_t dns_csa_search_limit;
	bool dns_csa_use_reverse;
	struct slice ratelimit_redis_servers;
};

/* verify = csa (csa.c): may the name's owner's client send mail? FAIL: no, *why_ret says so. Sets $csa_status. Parks. */
enum acl_test acl_verify_csa(struct acl_run *run, struct slice name, struct slice *why_ret);

/* What the room keeps with a message: extra[0]. NULL: no message, or no memory. */
struct acl_memory {
	struct slice unverified, details; /* as in struct acl_outcome */
	bool details_told;
	bool sender_verified_done;
	enum rc sender_verified;
	bool sender_called_out; /* and it passed a callout */
	struct slice sender_verified_text, sender_address_data;
	struct slice headers_added; /* $headers_added: by all ACLs so far, lines without the last LF */
	struct map rates; /* ratelimit keys that were counted in this message, and their rates (double *) */
};
struct acl_memory *acl_memory(struct scope *sc);

/* The words, by family. */
extern const struct acl_word acl_word_hosts, acl_word_domains, acl_word_local_parts, acl_word_senders,
    acl_word_sender_domains, acl_word_recipients, acl_word_authenticated, acl_word_encrypted; /* lists.c */
extern const struct acl_word acl_word_condition, acl_word_acl, acl_word_set, acl_word_message,
    acl_word_log_message, acl_word_endpass, acl_word_logwrite, acl_word_continue, acl_word_delay,
    acl_word_queue, acl_word_log_reject_target, acl_word_add_header, acl_word_remove_header,
    acl_word_udpsend;                                                     /* plain.c */
extern const struct acl_word acl_word_control;                            /* control.c */
extern const struct acl_word acl_word_verify;                             /* verify.c */
extern const struct acl_word acl_word_dnslists;                           /* dnslists.c */
extern const struct acl_word acl_word_ratelimit;                          /* ratelimit.c */
extern const struct acl_word acl_word_seen;                               /* seen.c */
extern const struct acl_word acl_word_dkim_signers, acl_word_dkim_status; /* mailauth.c */
extern const struct acl_word acl_word_dmarc_status;                       /* dmarc.c */
extern const struct acl_word acl_word_spf, acl_word_spf_guess;            /* spf.c */
extern const struct acl_word acl_words_unavailable[]; /* words.c: conditions whose systems are not there */

/* The checks of values, by family: FAIL says what is wrong. */
NODISCARD enum rc acl_check_control(struct arena *arena, struct slice value, struct err *err);
NODISCARD enum rc acl_check_delay(struct arena *arena, struct slice value, struct err *err);
NODISCARD enum rc acl_check_ratelimit(struct arena *arena, struct slice value, struct err *err);
NODISCARD enum rc acl_check_seen(struct arena *arena, struct slice value, struct err *err);
NODISCARD enum rc acl_check_verify(struct arena *arena, struct slice value, struct err *err);
/* Why a control is without effect here; NULL: it is not, or there is no such control. */
const char *acl_control_no_effect(struct slice value);

#define AT(where) (1u << ACL_WHERE_##where)

#endif
