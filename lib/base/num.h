#ifndef BASE_NUM_H
#define BASE_NUM_H

#include "base/slice.h"

/* The whole slice is a decimal number that fits; nothing is written otherwise. */
bool parse_u64(struct slice s, uint64_t *number_ret);
bool parse_i64(struct slice s, int64_t *number_ret);

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

#endif
