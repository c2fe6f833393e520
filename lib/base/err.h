#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/arena.h"

/* How whatever can fail answers, from a DNS query to a delivery. FAIL and DEFER are never merged: one
 * bounces mail, the other keeps it. */
enum rc {
	OK,        /* here is the answer */
	FAIL,      /* the answer is no, and will be no tomorrow */
	DEFER,     /* could not find out; ask again later */
	CANCELLED, /* nobody is waiting any more: unwind and say nothing */
};

/* Why something did not work: what was tried, on what, why not. Filled in where the fact is known; a caller
 * may put one phrase in front. The text lives in the arena that the owner gave, or, with none, nowhere: then
 * only the flags are kept. */
struct err {
	struct arena *arena;
	struct slice text; /* for people and logs; may hold a stranger's bytes, which the log escapes */
	int os;            /* errno of the system call behind it, or 0 */
	bool forced;       /* the language's forced failure: FAIL because the string said "fail" */
	bool user_text;    /* text is meant for the SMTP client too (ACL message, :fail: text) */
};

static inline struct err err_make(struct arena *arena)
{
	return (struct err){.arena = arena, .text = SLICE_EMPTY};
}

/* Each returns rc, so that one line can both tell and leave: return err_set(err, DEFER, "..."). err may be
 * NULL: nobody wants to know. */
enum rc err_set(struct err *err, enum rc rc, const char *format, ...) PRINTF_LIKE(3, 4);
/* The same with ": " and the system's words for errno behind it; os = 0 means the current errno. */
enum rc err_os(struct err *err, enum rc rc, int os, const char *format, ...) PRINTF_LIKE(4, 5);
/* The arena's limit was reached. DEFER. */
enum rc err_memory(struct err *err);
/* Puts a phrase in front of the text that is there: "phrase: text". */
void err_prefix(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);
const char *rc_name(enum rc rc);

#endif
