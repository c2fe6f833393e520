/* Prefixes and suffixes of local parts: "real-", "-request", and with a wildcard "*-" or "+*". */
#include "routing.h"

/* How many bytes at the start of the local part the prefix claims; *fixed_ret is how many of them the pattern gave
 * literally. A wildcard takes as much as it can. 0: no match. */
static uint32_t prefix_match(struct slice local_part, struct slice pattern, uint32_t *fixed_ret)
{
	struct slice fixed;

	if (pattern.len == 0)
		return 0;
	if (pattern.ptr[0] != '*') {
		*fixed_ret = pattern.len;
		return slice_starts_nocase(local_part, pattern) ? pattern.len : 0;
	}
	fixed = slice_from(pattern, 1);
	*fixed_ret = fixed.len;
	if (fixed.len == 0 || fixed.len > local_part.len)
		return 0;
	for (uint32_t at = local_part.len - fixed.len + 1; at-- > 0;)
		if (slice_eq_nocase(slice_sub(local_part, at, fixed.len), fixed))
			return at + fixed.len;
	return 0;
}

static uint32_t suffix_match(struct slice local_part, struct slice pattern, uint32_t *fixed_ret)
{
	struct slice fixed;

	if (pattern.len == 0)
		return 0;
	if (pattern.ptr[pattern.len - 1] != '*') {
		*fixed_ret = pattern.len;
		return slice_ends_nocase(local_part, pattern) ? pattern.len : 0;
	}
	fixed = slice_sub(pattern, 0, pattern.len - 1);
	*fixed_ret = fixed.len;
	if (fixed.len == 0 || fixed.len > local_part.len)
		return 0;
	for (uint32_t at = 0; at + fixed.len <= local_part.len; at++)
		if (slice_eq_nocase(slice_sub(local_part, at, fixed.len), fixed))
			return local_part.len - at;
	return 0;
}

/* The first item of the list that matches. What the configuration wrote is clean; what the wildcard took is not. */
static uint32_t first_match(struct arena *arena, struct slice list, struct slice local_part,
			    uint32_t (*match)(struct slice, struct slice, uint32_t *), uint32_t *fixed_ret)
{
	char separator = 0;
	struct slice item;

	while (list_next(arena, &list, &separator, &item)) {
		uint32_t len = item.ptr ? match(local_part, item, fixed_ret) : 0;
		if (len > 0)
			return len;
	}
	return 0;
}

bool affix_take(const struct router *router, struct address *address, struct arena *arena)
{
	uint32_t len, fixed = 0;

	address->prefix = address->prefix_v = address->suffix = address->suffix_v = SLICE_EMPTY;
	if (router->local_part_prefix.ptr) {
		len =
		    first_match(arena, router->local_part_prefix, address->local_part, prefix_match, &fixed);
		if (len == 0 && !router->local_part_prefix_optional)
			return false;
		address->prefix = slice_sub(address->local_part, 0, len);
		if (len > fixed)
			address->prefix_v = slice_sub(address->prefix, 0, len - fixed);
		else
			address->prefix.taint = CLEAN; /* equal to what the file says, but for its case */
		address->local_part = slice_from(address->local_part, len);
	}
	if (router->local_part_suffix.ptr) {
		len =
		    first_match(arena, router->local_part_suffix, address->local_part, suffix_match, &fixed);
		if (len == 0 && !router->local_part_suffix_optional)
			return false;
		address->suffix = slice_from(address->local_part, address->local_part.len - len);
		if (len > fixed)
			address->suffix_v = slice_from(address->suffix, fixed);
		else
			address->suffix.taint = CLEAN;
		address->local_part = slice_sub(address->local_part, 0, address->local_part.len - len);
	}
	return true;
}
