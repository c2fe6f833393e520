/* Sets of networks against the plain way: ask each network in turn. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lookup/nets.h"

struct net {
	struct ip_addr ip;
	unsigned bits;
};

static uint32_t state = 1;

static uint32_t next(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

/* Few different bytes, so that networks lie in each other. */
static struct ip_addr some_ip(bool six)
{
	static const uint8_t bytes[] = {0, 1, 10, 127, 128, 192, 254, 255};
	struct ip_addr ip = {.family = six ? 6 : 4};

	for (unsigned i = 0; i < (six ? 16u : 4u); i++)
		ip.bytes[i] = bytes[next() % sizeof(bytes)];
	return ip;
}

static void compare(uint32_t count, bool on_heap)
{
	struct net *nets = calloc(count, sizeof(*nets));
	struct net_set set;
	struct arena arena;

	arena_init(&arena, 0);
	net_set_init(&set);
	assert_true(net_set_reserve(&set, on_heap ? NULL : &arena, count));
	for (uint32_t i = 0; i < count; i++) {
		bool six = next() % 3 == 0;

		nets[i] = (struct net){some_ip(six), next() % (six ? 129 : 33)};
		if (count > 100 && nets[i].bits < 9)
			nets[i].bits += 9; /* or all would be in them */
		net_set_add(&set, &nets[i].ip, nets[i].bits, i);
	}
	net_set_finish(&set);
	for (unsigned n = 0; n < 2000; n++) {
		struct ip_addr ip = some_ip(next() % 3 == 0);
		uint32_t want = NET_NONE;

		for (uint32_t i = 0; i < count && want == NET_NONE; i++) {
			if (ip_in_cidr(&ip, &nets[i].ip, nets[i].bits))
				want = i;
		}
		assert_int_equal(net_set_find(&set, &ip), want);
	}
	if (on_heap)
		net_set_done(&set);
	arena_done(&arena);
	free(nets);
}

static void test_compare(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 20; i++)
		compare(1 + i * 3, i & 1);
	compare(1000, false);
	compare(8000, true);
	compare(8000, false);
}

static void test_edges(void **unused)
{
	struct ip_addr any4 = {.family = 4}, any6 = {.family = 6}, none = {.family = 0}, one4, one6;
	struct net_set set;

	(void)unused;
	net_set_init(&set);
	assert_int_equal(net_set_find(&set, &any4), NET_NONE);
	assert_true(net_set_reserve(&set, NULL, 4));
	assert_true(ip_parse(SLICE("255.255.255.255"), &one4));
	assert_true(ip_parse(SLICE("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), &one6));
	net_set_add(&set, &one4, 32, 3);
	net_set_add(&set, &one6, 128, 4);
	net_set_finish(&set);
	assert_int_equal(net_set_find(&set, &any4), NET_NONE);
	assert_int_equal(net_set_find(&set, &one4), 3);
	assert_int_equal(net_set_find(&set, &one6), 4);
	net_set_add(&set, &any4, 0, 5);
	net_set_add(&set, &any6, 0, 1);
	assert_int_equal(net_set_find(&set, &any4), 5);
	assert_int_equal(net_set_find(&set, &one4), 3);
	assert_int_equal(net_set_find(&set, &one6), 1);
	assert_int_equal(net_set_find(&set, &none), NET_NONE);
	net_set_done(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_compare), cmocka_unit_test(test_edges)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
