/* lsearch: the text format of the lsearch family, line by line. */
#ifndef LOOKUP_LSEARCH_H
#define LOOKUP_LSEARCH_H

#include "lookup/lookup.h"

/* Takes lines off until one begins an item. false: no more. */
bool lsearch_next(struct slice *rest, struct slice *line_ret);
/* The key at the start of an item's line; one in quotes is undone into room, which has line.len bytes. What
 * follows it comes back in *data_ret. */
struct slice lsearch_key(struct slice line, char *room, struct slice *data_ret);
/* The data of the item that starts the record (all that follows in the file), continuation lines joined, in
 * the arena; full: with the key and what ends it. */
NODISCARD enum rc lsearch_value(struct arena *arena, struct slice record, bool full, struct slice *ret,
				struct err *err);

/* The index over literal keys: built once per version of a file. */
struct lsearch_index;
extern const struct text_file_kind lsearch_file_kind;
/* The first item with the key, without regard to case; the record is all of the file from there on. */
bool lsearch_index_find(const struct lsearch_index *index, struct slice bytes, struct slice key,
			struct slice *record_ret);

#endif
