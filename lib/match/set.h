/* set: a run of literal items of a list as one hash table. A domain list of a million names is one of these.
 */
#ifndef MATCH_SET_H
#define MATCH_SET_H

#include "base/base.h"

/* What an item is compared with. Keys are written without what the kind implies. */
enum set_kind {
	SET_WHOLE,         /* "a.b", "user@a.b": the whole subject */
	SET_SUFFIX,        /* "*.a.b", key ".a.b": what follows some dot of a domain, with the dot */
	SET_DOMAIN,        /* of address lists: "a.b" or "*@a.b", key "a.b" */
	SET_DOMAIN_SUFFIX, /* "*.a.b" or "*@*.a.b", key ".a.b" */
	SET_KIND_COUNT,
};
struct set_item {
	const char *ptr; /* of the key, inside the list's text */
	uint32_t len;
	uint8_t kind;
	uint8_t prefix; /* bytes of the item's text before the key */
};
struct set_slot;
struct set {
	const struct set_item *items; /* in the order of the list */
	struct set_slot *slots;
	uint32_t count, mask;
	bool has[SET_KIND_COUNT];
};

/* Items are borrowed and keep their place. false: no memory. */
NODISCARD bool set_build(struct set *set, struct arena *arena, const struct set_item *items, uint32_t count);
/* The first item of that kind with the key, without regard to case; with caseful, the first caseful_len bytes
 * must be equal in case too. UINT32_MAX: none. */
uint32_t set_find(const struct set *set, enum set_kind kind, struct slice key, uint32_t caseful_len);
/* The item as it stands in the list. */
struct slice set_item_text(const struct set *set, uint32_t index);

#endif
