/* The words and strings of an Exim filter: white space and comments between them, lines counted. Never parks. */
#ifndef FILTER_WORDS_H
#define FILTER_WORDS_H

#include "filter/filter.h"

struct words {
	struct slice rest;
	unsigned line; /* of the next word */
	struct arena *arena;
	struct err *err;
};

/* Begins behind the first line. */
void words_init(struct words *words, struct arena *arena, struct slice text, struct err *err);
/* Over white space and comments. */
void words_skip(struct words *words);
bool words_end(const struct words *words);
/* Is that byte next? It is not taken. */
bool words_at(const struct words *words, char c);
/* Takes the next word (empty at the end). bracket: "(" and ")" end it. FAIL: too long. */
NODISCARD enum rc words_word(struct words *words, bool bracket, struct slice *ret);
/* A word, or a string in double quotes with its escapes undone. */
NODISCARD enum rc words_item(struct words *words, bool bracket, struct slice *ret);
/* An optional octal number, as behind file names; -1: none there. */
int words_mode(struct words *words);

#endif
