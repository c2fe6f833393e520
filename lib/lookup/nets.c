/* nets: a path-compressed binary trie of networks. */

#include "lookup/nets.h"

#include <stdlib.h>

struct net_node {
	uint8_t key[16];
	uint32_t child[2]; /* NET_NONE: none */
	uint32_t number;   /* NET_NONE: no network ends here, the node only branches */
	uint32_t bits;
};

void net_set_init(struct net_set *set)
{
	*set = (struct net_set){.root4 = NET_NONE, .root6 = NET_NONE};
}

bool net_set_reserve(struct net_set *set, struct arena *arena, uint32_t net_count)
{
	size_t room = (size_t)net_count * 2; /* each network adds its own node, and at most one that branches */

	ASSERT(!set->nodes);
	if (room >= NET_NONE)
		return false;
	set->nodes = arena ? arena_array(arena, struct net_node, room) : calloc(room ? room : 1, sizeof(*set->nodes));
	set->room = (uint32_t)room;
	return set->nodes != NULL;
}

void net_set_done(struct net_set *set)
{
	free(set->nodes);
	net_set_init(set);
}

static unsigned bit_at(const uint8_t *key, unsigned bit)
{
	return key[bit / 8] >> (7 - bit % 8) & 1;
}

/* How many of the first bits of a and b are equal, at most max. */
static unsigned common_bits(const uint8_t *a, const uint8_t *b, unsigned max)
{
	unsigned bits = 0;

	while (bits < max) {
		uint8_t differ = a[bits / 8] ^ b[bits / 8];

		if (differ) {
			bits += (unsigned)__builtin_clz(differ) - 24;
			break;
		}
		bits += 8;
	}
	return bits < max ? bits : max;
}

static uint32_t node_new(struct net_set *set, const uint8_t *key, unsigned bits, uint32_t number)
{
	struct net_node *node = &set->nodes[set->count];

	ASSERT(set->count < set->room);
	memset(node, 0, sizeof(*node));
	memcpy(node->key, key, (bits + 7) / 8);
	if (bits % 8)
		node->key[bits / 8] &= (uint8_t)(0xff00 >> bits % 8);
	node->bits = bits;
	node->number = number;
	node->child[0] = node->child[1] = NET_NONE;
	return set->count++;
}

void net_set_add(struct net_set *set, const struct ip_addr *net, unsigned bits, uint32_t number)
{
	uint32_t *link = net->family == 4 ? &set->root4 : &set->root6;

	if (net->family != 4 && net->family != 6)
		return;
	while (*link != NET_NONE) {
		struct net_node *node = &set->nodes[*link];
		unsigned common = common_bits(node->key, net->bytes, node->bits < bits ? node->bits : bits);

		if (common < node->bits) {
			/* It leaves the path inside this node, or ends there. */
			uint32_t old = *link, branch;

			branch = node_new(set, net->bytes, common, common == bits ? number : NET_NONE);
			set->nodes[branch].child[bit_at(node->key, common)] = old;
			if (common < bits)
				set->nodes[branch].child[bit_at(net->bytes, common)] =
					node_new(set, net->bytes, bits, number);
			*link = branch;
			return;
		}
		if (node->bits == bits) {
			if (number < node->number)
				node->number = number;
			return;
		}
		link = &node->child[bit_at(net->bytes, node->bits)];
	}
	*link = node_new(set, net->bytes, bits, number);
}

uint32_t net_set_find(const struct net_set *set, const struct ip_addr *ip)
{
	uint32_t at = ip->family == 4 ? set->root4 : ip->family == 6 ? set->root6 : NET_NONE;
	unsigned bits_max = ip->family == 4 ? 32 : 128;
	uint32_t least = NET_NONE;

	while (at != NET_NONE) {
		const struct net_node *node = &set->nodes[at];

		if (common_bits(node->key, ip->bytes, node->bits) < node->bits)
			break;
		if (node->number < least)
			least = node->number;
		if (node->bits >= bits_max)
			break;
		at = node->child[bit_at(ip->bytes, node->bits)];
	}
	return least;
}
