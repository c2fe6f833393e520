/* Sieve scripts (RFC 5228, with envelope, fileinto, encoded-character; RFC 3894 copy, RFC 5230 vacation, RFC 5233
 * subaddress, RFC 5435 and 5436 enotify by mailto). A script is checked to its last line while it is obeyed: what stands in
 * a branch that is not taken is parsed all the same, but "stop" ends both. */
#ifndef FILTER_SIEVE_H
#define FILTER_SIEVE_H

#include "tree.h"

/* Extensions that "require" has named. */
enum {
	SIEVE_FILEINTO = 1,
	SIEVE_ENVELOPE = 2,
	SIEVE_VACATION = 8,
	SIEVE_SUBADDRESS = 16,
	SIEVE_ENCODED = 32,
	SIEVE_NUMERIC = 64,
	SIEVE_ENOTIFY = 128,
	SIEVE_SAYS_COPY = 256,
};
struct sieve {
	struct slice rest;
	unsigned line;
	struct arena *arena;
	struct err *err;
	struct run *run; /* NULL: only the syntax is looked at */
	unsigned required;
	unsigned depth, steps;
	bool keep; /* the implicit one still holds */
	bool stopped;
	bool vacation_done;
};
struct string_list {
	struct string_list *next;
	struct slice text;
};

/* sieve_words.c. Each that returns bool takes what it names off the front, with white space behind it, and leaves the text
 * alone otherwise. */
enum rc sieve_error(const struct sieve *s, const char *what);
NODISCARD enum rc sieve_space(struct sieve *s); /* white space and comments */
bool sieve_word(struct sieve *s, const char *word);
bool sieve_sign(struct sieve *s, char sign);
/* OK, or FAIL with err; *found_ret false: there is none. */
NODISCARD enum rc sieve_number(struct sieve *s, uint64_t *ret, bool *found_ret);
NODISCARD enum rc sieve_string(struct sieve *s, struct slice *ret, bool *found_ret);
NODISCARD enum rc sieve_list(struct sieve *s, struct string_list **ret, bool *found_ret);
/* The same, where one has to be: `what` is the mistake if there is none. */
NODISCARD enum rc sieve_need_list(struct sieve *s, struct string_list **ret, const char *what);
NODISCARD enum rc sieve_need_string(struct sieve *s, struct slice *ret, const char *what);

/* sieve_tests.c: one test. exec: its value is wanted. *found_ret false: there is none. Parks (long ones let others run). */
NODISCARD enum rc sieve_test(struct sieve *s, bool exec, bool *ret, bool *found_ret);
NODISCARD enum rc sieve_enter(struct sieve *s);

/* sieve_mail.c */
NODISCARD enum rc sieve_vacation(struct sieve *s, bool exec);
NODISCARD enum rc sieve_notify(struct sieve *s, bool exec);

NODISCARD enum rc sieve_run(struct run *run, struct slice text);
NODISCARD enum rc sieve_check(struct arena *arena, struct slice text, struct err *err);

#endif
