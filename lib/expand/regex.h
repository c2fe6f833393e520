/* regex: what the rest of the room needs beyond the door. */
#ifndef EXPAND_REGEX_H
#define EXPAND_REGEX_H

#include "expand/expand.h"

/* Number of parentheses, for those who reserve room. */
unsigned regex_group_count(const struct regex *regex);
/* As regex_match(), from a byte of the subject on. not_empty: an empty match there does not count (and the
 * match must begin there), as /g loops need it behind an empty match. */
enum rc regex_match_at(const struct regex *regex, struct slice subject, size_t start, bool not_empty,
		       struct slice *numbers, unsigned numbers_max, unsigned *count_ret, struct err *err);

#endif
