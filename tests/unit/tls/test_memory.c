/* Slots: what lies where, what comes back, and when one is free again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>

#include "tls/memory.h"

#define SSL_SIZE     10864u
#define SESSION_SIZE 37512u

static unsigned resident(const void *from, size_t pages)
{
	unsigned char there[64];
	unsigned count = 0;

	assert_int_equal(0, mincore((void *)((uintptr_t)from / 4096 * 4096), pages * 4096, there));
	for (size_t i = 0; i < pages; i++)
		count += there[i] & 1;
	return count;
}

static void test_large(void **state)
{
	struct slot *slot = slot_new();
	char *ssl = slot_take(slot, SSL_SIZE), *session = slot_take(slot, SESSION_SIZE);

	(void)state;
	assert_non_null(ssl);
	assert_non_null(session);
	assert_true(slot_owns(ssl) && slot_owns(session + SESSION_SIZE - 1) && !slot_owns(&slot));
	assert_true(slot_size(ssl) >= SSL_SIZE && slot_size(session) >= SESSION_SIZE);
	assert_true(ssl >= session + SESSION_SIZE);
	/* There is room for one of each. */
	assert_null(slot_take(slot, SSL_SIZE));
	assert_null(slot_take(slot, SESSION_SIZE));
	slot_give(session);
	assert_ptr_equal(session, slot_take(slot, SESSION_SIZE));
	slot_give(session);
	slot_give(ssl);
	slot_free(slot);
}

/* What is used of an idle session takes four pages, and what is zero is still zero. */
static void test_trim(void **state)
{
	struct slot *slot = slot_new();
	char *ssl = slot_take(slot, SSL_SIZE), *session = slot_take(slot, SESSION_SIZE);

	(void)state;
	memset(ssl, 'x', SSL_SIZE);
	memset(session, 0, SESSION_SIZE);
	memset(session, 'y', 576);
	session[SESSION_SIZE - 1] = 'z';
	assert_int_equal(13, resident(slot, 13));
	slot_trim(slot);
	assert_int_equal(4, resident(slot, 13));
	for (unsigned i = 0; i < SSL_SIZE; i++)
		assert_int_equal('x', ssl[i]);
	for (unsigned i = 0; i < SESSION_SIZE; i++)
		assert_int_equal(i < 576 ? 'y' : i == SESSION_SIZE - 1 ? 'z' : 0, session[i]);
	slot_give(ssl);
	slot_give(session);
	slot_free(slot);
}

/* Pieces come and go in any order; none overlaps another or the large ones, and in the end there is as much room as before. */
static void test_pieces(void **state)
{
	static const size_t sizes[] = {128, 136, 336, 360, 448, 1024, 1104, 1264, 1408};
	struct slot *slot = slot_new();
	char *ssl = slot_take(slot, SSL_SIZE), *session = slot_take(slot, SESSION_SIZE), *held[64] = {NULL};
	size_t size[64] = {0};
	unsigned first = 0, again = 0;
	uint32_t random = 7;

	(void)state;
	memset(ssl, 1, SSL_SIZE);
	memset(session, 2, SESSION_SIZE);
	while (slot_take(slot, 1104))
		first++;
	assert_true(first >= 3);
	slot_free(NULL);
	/* Those are lost in this test: another slot. */
	slot = slot_new();
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = (random = random * 1664525 + 1013904223) >> 26;

		if (held[i]) {
			for (size_t at = 0; at < size[i]; at++)
				assert_int_equal((char)i, held[i][at]);
			slot_give(held[i]);
			held[i] = NULL;
			continue;
		}
		size[i] = sizes[(random >> 8) % ARRAY_COUNT(sizes)];
		held[i] = slot_take(slot, size[i]);
		if (!held[i])
			continue;
		assert_int_equal(0, (uintptr_t)held[i] % 16);
		assert_true(slot_size(held[i]) >= size[i]);
		memset(held[i], (int)i, size[i]);
	}
	for (unsigned i = 0; i < 64; i++)
		if (held[i])
			slot_give(held[i]);
	while ((held[again] = slot_take(slot, 1104)) != NULL)
		again++;
	assert_int_equal(first, again);
	while (again)
		slot_give(held[--again]);
	slot_free(slot);
	/* The handshake's own are not taken in. */
	slot = slot_new();
	assert_null(slot_take(slot, 16));
	assert_null(slot_take(slot, 512));
	assert_null(slot_take(slot, 1680));
	slot_free(slot);
}

/* A slot is another's when the last object in it is gone, not before. */
static void test_end(void **state)
{
	struct slot *slot = slot_new(), *other;
	void *kept = slot_take(slot, 336);

	(void)state;
	slot_free(slot);
	other = slot_new();
	assert_ptr_not_equal(slot, other);
	slot_free(other);
	slot_give(kept);
	assert_ptr_equal(slot, slot_new());
	slot_free(slot);
}

static void test_many(void **state)
{
	enum { COUNT = 300 };
	struct slot *all[COUNT];

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < COUNT; i++) {
			all[i] = slot_new();
			assert_non_null(all[i]);
			memset(slot_take(all[i], SESSION_SIZE), (int)i, SESSION_SIZE);
		}
		for (unsigned i = 0; i < COUNT; i++) {
			slot_give((char *)all[i] + ((char *)slot_take(all[i], SSL_SIZE) - (char *)all[i]));
			for (unsigned j = 0; j < i; j++)
				assert_ptr_not_equal(all[i], all[j]);
		}
		for (unsigned i = 0; i < COUNT; i++) {
			char *session = (char *)all[i] + 3520;

			assert_int_equal((char)i, session[SESSION_SIZE - 1]);
			slot_give(session);
			slot_free(all[i]);
		}
	}
}

static int init(void **state)
{
	(void)state;
	/* Sizes that do not fit are refused, and there are no slots then. */
	if (slots_init(60000, 60000) || slots_init(0, 0) || slot_new() || slot_owns(state))
		return -1;
	return slots_init(SSL_SIZE, SESSION_SIZE) ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_large), cmocka_unit_test(test_trim), cmocka_unit_test(test_pieces),
	    cmocka_unit_test(test_end),   cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests(tests, init, NULL);
}
