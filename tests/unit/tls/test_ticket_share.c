/* Ticket keys on their way between nodes: wrapped, learned, damaged, foreign, too many. */
#include "fixture.h"

#include "tls/tickets.h"
#include "tls/tls.h"

#define SECRET  SLICE("a secret that two nodes have")
#define BINDING SLICE("smtp on this host")
#define LEN     64

struct node {
	struct shard *shard;
	struct tls_tickets *tickets;
};

static int64_t now_of(const struct shard *shard)
{
	return (int64_t)(shard_wall(shard) / NS_PER_S);
}

/* Its key is that old. */
static struct node node_make(unsigned id, int64_t age_s)
{
	struct node n;

	assert_int_equal(shard_new(&(struct shard_options){.id = id, .count = 1, .cpu = -1}, &n.shard, NULL),
			 OK);
	assert_int_equal(tickets_open(NULL, now_of(n.shard) - age_s, &n.tickets, NULL), OK);
	assert_true(tickets_attach(n.tickets, n.shard));
	return n;
}

static void node_free(struct node *n)
{
	tickets_detach(n->shard);
	tickets_close(n->tickets);
	shard_free(n->shard);
}

static struct tls_told tell(struct node *n, struct slice secret, const struct slice *entries, unsigned count)
{
	struct tls_told told;

	/* The set's helper thread may have it for a moment: then nothing at all is told. */
	do
		assert_int_equal(tls_tickets_tell(n->shard, &arena, secret, entries, count, &told, NULL), OK);
	while (!told.learned && !told.unreadable && !told.count);
	return told;
}

/* Does a ticket of the one open at the other? */
static bool shared(struct node *from, struct node *to)
{
	uint8_t name[TICKET_NAME_LEN], iv[TICKET_IV_LEN], mac[TICKET_MAC_LEN], bytes[LEN] = "ticket";

	assert_true(tickets_seal(from->shard, BINDING, name, iv, mac, bytes, LEN));
	return tickets_unseal(to->shard, BINDING, name, iv, mac, bytes, LEN) == TICKET_GOOD &&
	       strcmp((char *)bytes, "ticket") == 0;
}

static void test_both_ways(void **state)
{
	struct node a = node_make(0, 10), b = node_make(1, 5);
	struct ticket_key keys[TICKET_KEYS_MAX];
	struct tls_told of_a, of_b, again;
	struct slice both[2];

	(void)state;
	of_a = tell(&a, SECRET, NULL, 0);
	assert_int_equal(of_a.count, 1);
	assert_int_equal(of_a.keys[0].created, now_of(a.shard) - 10);
	/* No part of it lies open in the text, and no two wrappings are alike. */
	assert_int_equal(tickets_keys(a.tickets, keys), 1);
	assert_true(slice_search(of_a.keys[0].text, slice_make((char *)keys[0].key, 8, CLEAN)) < 0);
	again = tell(&a, SECRET, NULL, 0);
	assert_false(slice_eq(of_a.keys[0].text, again.keys[0].text));

	assert_false(shared(&a, &b));
	of_b = tell(&b, SECRET, &of_a.keys[0].text, 1);
	assert_int_equal(of_b.learned, 1);
	assert_int_equal(of_b.unreadable, 0);
	assert_int_equal(of_b.count, 1); /* its own, not a's */
	assert_true(shared(&a, &b));
	assert_false(shared(&b, &a));
	both[0] = of_a.keys[0].text;
	both[1] = of_b.keys[0].text;
	again = tell(&a, SECRET, both, 2);
	assert_int_equal(again.learned, 2);
	assert_int_equal(again.count, 0);
	assert_true(shared(&b, &a));
	/* A server that has lost all gets all of it back from anyone. */
	assert_int_equal(tell(&a, SECRET, NULL, 0).count, 2);
	node_free(&a);
	node_free(&b);
}

static void test_hostile(void **state)
{
	struct node a = node_make(0, 10), b = node_make(1, 5);
	struct tls_told of_a = tell(&a, SECRET, NULL, 0);
	struct slice good = of_a.keys[0].text, many[TLS_TICKETS_TOLD_MAX + 8];
	char *changed;

	(void)state;
	/* Each byte counts: version, name, time, nonce, key and tag. */
	for (uint32_t i = 0; i < good.len; i++) {
		struct slice text = arena_copy(&arena, good);
		changed = (char *)(uintptr_t)text.ptr;
		changed[i] = changed[i] == '0' ? '1' : '0';
		assert_int_equal(tell(&b, SECRET, &text, 1).unreadable, 1);
		changed[i] = (char)0xff;
		assert_int_equal(tell(&b, SECRET, &text, 1).unreadable, 1);
	}
	for (uint32_t len = 0; len < good.len; len++) {
		struct slice text = slice_sub(good, 0, len);
		assert_int_equal(tell(&b, SECRET, &text, 1).unreadable, 1);
	}
	good = arena_printf(&arena, "%.*s00", SLICE_ARG(good));
	assert_int_equal(tell(&b, SECRET, &good, 1).unreadable, 1);
	good = of_a.keys[0].text;
	assert_int_equal(tell(&b, SLICE("a secret that two nodes hav"), &good, 1).unreadable, 1);
	assert_int_equal(tell(&b, SLICE("A secret that two nodes have"), &good, 1).unreadable, 1);
	assert_false(shared(&a, &b));
	/* What stands beside them is learned all the same; what is behind as many as are looked at, is not. */
	for (unsigned i = 0; i < ARRAY_COUNT(many); i++)
		many[i] = SLICE("x");
	many[TLS_TICKETS_TOLD_MAX] = good;
	assert_int_equal(tell(&b, SECRET, many, ARRAY_COUNT(many)).unreadable, TLS_TICKETS_TOLD_MAX);
	assert_false(shared(&a, &b));
	many[TLS_TICKETS_TOLD_MAX - 1] = good;
	assert_int_equal(tell(&b, SECRET, many, ARRAY_COUNT(many)).learned, 1);
	assert_true(shared(&a, &b));
	node_free(&a);
	node_free(&b);
}

static void test_times(void **state)
{
	struct node a = node_make(0, TICKET_LIFE_S - 2), b = node_make(1, 5),
		    late = node_make(2, -TICKET_LIFE_S);
	struct ticket_key keys[TICKET_KEYS_MAX];
	struct tls_told told = tell(&a, SECRET, NULL, 0);
	struct slice entries[2];

	(void)state;
	assert_int_equal(told.count, 1);
	entries[0] = told.keys[0].text;
	assert_int_equal(tell(&b, SECRET, entries, 1).learned, 1);
	assert_int_equal(tickets_keys(b.tickets, keys), 2);
	assert_int_equal(keys[1].created, now_of(a.shard) - TICKET_LIFE_S + 2);
	/* A key of a clock that is hours ahead would never end: it is neither told nor learned. */
	assert_int_equal(tell(&late, SECRET, entries, 1).count, 0);
	node_free(&a);
	node_free(&b);
	node_free(&late);
}

static void test_not_without(void **state)
{
	struct node a = node_make(0, 10);
	struct tls_told told;

	(void)state;
	assert_int_equal(tls_tickets_tell(a.shard, &arena, SLICE("fifteen letters"), NULL, 0, &told, NULL),
			 FAIL);
	assert_int_equal(tls_tickets_tell(a.shard, &arena, SLICE_EMPTY, NULL, 0, &told, NULL), FAIL);
	tickets_detach(a.shard);
	assert_int_equal(tls_tickets_tell(a.shard, &arena, SECRET, NULL, 0, &told, NULL), FAIL);
	node_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_both_ways, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_times, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_not_without, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
