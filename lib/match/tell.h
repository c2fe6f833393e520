/* tell: what -d+lists and -bh show of a list: what is looked for, item by item, and which one it was. Private to the room. */
#ifndef MATCH_TELL_H
#define MATCH_TELL_H

#include "list.h"

#define TOLD DEBUG_CHECK(DEBUG_LISTS)

/* A list that is being told, in struct matching; the one around it is put back at its end. */
struct list_tale {
	struct slice *items; /* as they stand in the text; NULL: the lines of a file, or no memory */
	uint32_t count;
	struct slice hit; /* the item that decided; ptr NULL: none did */
	const struct list_tale *outer;
};

/* All of these only if debug_on(TOLD). */
void tell_list_begin(struct matching *m, const struct compiled *list, struct list_tale *tale);
void tell_list_end(struct matching *m, const struct compiled *list, struct list_tale *tale, enum rc rc);
/* Before an entry that is one item, and behind a run of them: all of them, or up to the one that matched. */
void tell_item(const struct entry *entry);
void tell_run(struct matching *m, const struct entry *entry, bool matched);
/* The entry has decided. */
void tell_hit(struct matching *m, const struct entry *entry);

#endif
