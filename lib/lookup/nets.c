/* nets: a path-compressed binary trie of networks. */

#include "lookup/nets.h"

#include <stdlib.h>

#define JUMP_BITS     16
#define JUMP_NETS_MIN 4096 /* smaller sets are in the processor's cache anyway */

/* An address as two numbers, the first bit the highest; IPv4 has the upper half of the first. */
struct key {
	uint64_t high, low;
};
struct net_node {
	struct key key;
	uint32_t child[2]; /* NET_NONE: none */
	uint32_t number;   /* NET_NONE: no network ends here, the node only branches */
	uint32_t bits;
};
struct net_jump {
	uint32_t node;   /* the first node of JUMP_BITS bits or more on the way */
	uint32_t number; /* the least of the networks before it */
};

void net_set_init(struct net_set *set)
{
	*set = (struct net_set){.root4 = NET_NONE, .root6 = NET_NONE};
}

bool net_set_reserve(struct net_set *set, struct arena *arena, uint32_t net_count)
{
	size_t room =
	    (size_t)net_count * 2; /* each network adds its own node, and at most one that branches */
	size_t jumps = net_count >= JUMP_NETS_MIN ? 1u << JUMP_BITS : 0;

	ASSERT(!set->nodes);
	if (room >= NET_NONE)
		return false;
	set->nodes =
	    arena ? arena_array(arena, struct net_node, room) : calloc(room ? room : 1, sizeof(*set->nodes));
	if (jumps)
		set->jumps =
		    arena ? arena_array(arena, struct net_jump, jumps) : calloc(jumps, sizeof(*set->jumps));
	set->room = (uint32_t)room;
	return set->nodes && (!jumps || set->jumps);
}

void net_set_done(struct net_set *set)
{
	free(set->nodes);
	free(set->jumps);
	net_set_init(set);
}

static uint64_t word(const uint8_t *bytes)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 8; i++)
		n = n << 8 | bytes[i];
	return n;
}

static struct key key_of(const struct ip_addr *ip)
{
	if (ip->family == 4)
		return (struct key){(uint64_t)ip->bytes[0] << 56 | (uint64_t)ip->bytes[1] << 48 |
					(uint64_t)ip->bytes[2] << 40 | (uint64_t)ip->bytes[3] << 32,
				    0};
	return (struct key){word(ip->bytes), word(ip->bytes + 8)};
}

static unsigned bit_at(struct key key, unsigned bit)
{
	return (unsigned)((bit < 64 ? key.high >> (63 - bit) : key.low >> (127 - bit)) & 1);
}

/* How many of the first bits of a and b are equal, at most max. */
static unsigned common_bits(struct key a, struct key b, unsigned max)
{
	uint64_t high = a.high ^ b.high, low = a.low ^ b.low;
	unsigned bits = 128;

	if (high)
		bits = (unsigned)__builtin_clzll(high);
	else if (low)
		bits = 64 + (unsigned)__builtin_clzll(low);
	return bits < max ? bits : max;
}

static struct key key_cut(struct key key, unsigned bits)
{
	if (bits < 64)
		return (struct key){bits ? key.high & ~UINT64_C(0) << (64 - bits) : 0, 0};
	return (struct key){key.high, bits > 64 ? key.low & ~UINT64_C(0) << (128 - bits) : 0};
}

static uint32_t node_new(struct net_set *set, struct key key, unsigned bits, uint32_t number)
{
	ASSERT(set->count < set->room);
	set->nodes[set->count] = (struct net_node){
	    .key = key_cut(key, bits), .child = {NET_NONE, NET_NONE}, .number = number, .bits = bits};
	return set->count++;
}

void net_set_add(struct net_set *set, const struct ip_addr *net, unsigned bits, uint32_t number)
{
	uint32_t *link = net->family == 4 ? &set->root4 : &set->root6;
	struct key key = key_of(net);

	if (net->family != 4 && net->family != 6)
		return;
	while (*link != NET_NONE) {
		struct net_node *node = &set->nodes[*link];
		unsigned common = common_bits(node->key, key, node->bits < bits ? node->bits : bits);

		if (common < node->bits) {
			/* It leaves the path inside this node, or ends there. */
			uint32_t old = *link, branch;

			branch = node_new(set, key, common, common == bits ? number : NET_NONE);
			set->nodes[branch].child[bit_at(node->key, common)] = old;
			if (common < bits)
				set->nodes[branch].child[bit_at(key, common)] =
				    node_new(set, key, bits, number);
			*link = branch;
			return;
		}
		if (node->bits == bits) {
			if (number < node->number)
				node->number = number;
			return;
		}
		link = &node->child[bit_at(key, node->bits)];
	}
	*link = node_new(set, key, bits, number);
}

/* Follows the key from node to node, as long as they are on its way and have at most bits_max bits. Returns
 * where it stopped; *number becomes the least of the networks passed. */
static uint32_t follow(const struct net_set *set, uint32_t at, struct key key, unsigned bits_max,
		       uint32_t *number)
{
	while (at != NET_NONE) {
		const struct net_node *node = &set->nodes[at];

		if (node->bits > bits_max || common_bits(node->key, key, node->bits) < node->bits)
			break;
		if (node->number < *number)
			*number = node->number;
		if (node->bits == 128)
			return NET_NONE;
		at = node->child[bit_at(key, node->bits)];
	}
	return at;
}

void net_set_finish(struct net_set *set)
{
	for (uint32_t i = 0; set->jumps && i < 1u << JUMP_BITS; i++) {
		struct key key = {(uint64_t)i << (64 - JUMP_BITS), 0};

		set->jumps[i].number = NET_NONE;
		set->jumps[i].node = follow(set, set->root4, key, JUMP_BITS - 1, &set->jumps[i].number);
	}
}

uint32_t net_set_find(const struct net_set *set, const struct ip_addr *ip)
{
	struct key key = key_of(ip);
	uint32_t number = NET_NONE, at = set->root6;

	if (ip->family == 4 && set->jumps) {
		const struct net_jump *jump = &set->jumps[key.high >> (64 - JUMP_BITS)];

		at = jump->node;
		number = jump->number;
	} else if (ip->family != 6) {
		at = ip->family == 4 ? set->root4 : NET_NONE;
	}
	(void)follow(set, at, key, 128, &number);
	return number;
}
