/* nets: a set of networks (CIDR), asked with an address: a binary trie over the bits of the address, with
 * runs of bits that do not branch folded into one node. Large sets get a table that takes the first 16 bits
 * of an IPv4 address at once. A hundred thousand networks cost 7 MB and a handful of steps. */
#ifndef LOOKUP_NETS_H
#define LOOKUP_NETS_H

#include "base/base.h"

#define NET_NONE UINT32_MAX

struct net_node;
struct net_jump;
struct net_set {
	struct net_node *nodes;
	struct net_jump *jumps; /* by the first 16 bits of IPv4; NULL for small sets */
	uint32_t count, room;
	uint32_t root4, root6; /* index; NET_NONE: no such networks */
};

void net_set_init(struct net_set *set);
/* Room for that many networks from the arena, or, with arena NULL, from the heap. false: no memory. */
NODISCARD bool net_set_reserve(struct net_set *set, struct arena *arena, uint32_t net_count);
void net_set_done(struct net_set *set); /* only for sets on the heap */
/* Adds net/bits under a number, of which the least counts when networks are equal. At most as many as were
 * reserved. */
void net_set_add(struct net_set *set, const struct ip_addr *net, unsigned bits, uint32_t number);
/* After the last one. */
void net_set_finish(struct net_set *set);
/* The least number of the networks that hold the address; NET_NONE: in none of them. */
uint32_t net_set_find(const struct net_set *set, const struct ip_addr *ip);

#endif
