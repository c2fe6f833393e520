/* Ticket keys over the hours, between processes, and tickets that somebody has touched. */
#include "fixture.h"

#include <dirent.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls/tickets.h"

#define BINDING SLICE("smtp on this host")
#define LEN     64

struct ticket {
	uint8_t name[TICKET_NAME_LEN], iv[TICKET_IV_LEN], mac[TICKET_MAC_LEN], bytes[LEN];
};

static struct shard *shard_make(unsigned id)
{
	struct shard *shard;

	assert_int_equal(shard_new(&(struct shard_options){.id = id, .count = 1, .cpu = -1}, &shard, NULL),
			 OK);
	return shard;
}

static int64_t now_of(const struct shard *shard)
{
	return (int64_t)(shard_wall(shard) / NS_PER_S);
}

static struct ticket seal(struct shard *shard)
{
	struct ticket t;

	memset(t.bytes, 'x', LEN);
	assert_true(tickets_seal(shard, BINDING, t.name, t.iv, t.mac, t.bytes, LEN));
	return t;
}

static enum ticket_verdict unseal(struct shard *shard, struct ticket t, struct slice binding)
{
	enum ticket_verdict verdict = tickets_unseal(shard, binding, t.name, t.iv, t.mac, t.bytes, LEN);

	for (unsigned i = 0; i < LEN && verdict != TICKET_REFUSED; i++)
		assert_int_equal(t.bytes[i], 'x');
	return verdict;
}

static char *memory_directory(void)
{
	struct slice text = arena_printf(&arena, "/dev/shm/sluice-test-XXXXXX");
	char *path = arena_cstr(&arena, text);

	if (!mkdtemp(path))
		skip(); /* no file system in memory here */
	return path;
}

static void remove_directory(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(path);
}

static void test_tampered(void **state)
{
	struct shard *shard = shard_make(0);
	struct tls_tickets *tickets;
	struct ticket good, bad;

	(void)state;
	assert_int_equal(tickets_open(NULL, now_of(shard), &tickets, NULL), OK);
	assert_true(tickets_attach(tickets, shard));
	good = seal(shard);
	assert_memory_not_equal(good.bytes, "xxxxxxxx", 8);
	assert_int_equal(unseal(shard, good, BINDING), TICKET_GOOD);
	assert_int_equal(unseal(shard, good, SLICE("smtp on another host")), TICKET_REFUSED);
	assert_int_equal(unseal(shard, good, SLICE_EMPTY), TICKET_REFUSED);
	for (unsigned i = 0; i < sizeof(good); i++) {
		bad = good;
		((uint8_t *)&bad)[i] ^= 1;
		/* Bytes of iv and mac that are not used may change. */
		if ((i >= 28 && i < 32) || (i >= 48 && i < 64))
			assert_int_equal(unseal(shard, bad, BINDING), TICKET_GOOD);
		else
			assert_int_equal(unseal(shard, bad, BINDING), TICKET_REFUSED);
	}
	assert_int_equal(tickets_unseal(shard, BINDING, good.name, good.iv, good.mac, good.bytes, LEN - 1),
			 TICKET_REFUSED);
	assert_int_equal(tickets_unseal(shard, BINDING, good.name, good.iv, good.mac, good.bytes, 0),
			 TICKET_REFUSED);
	tickets_detach(shard);
	assert_false(tickets_seal(shard, BINDING, bad.name, bad.iv, bad.mac, bad.bytes, LEN));
	tickets_close(tickets);
	shard_free(shard);
}

/* An hour: another key seals, the one before opens. Two: it is gone. */
static void test_rotation(void **state)
{
	struct shard *shard = shard_make(0);
	struct ticket_key keys[TICKET_KEYS_MAX];
	int64_t now = now_of(shard);
	struct tls_tickets *tickets;
	struct ticket first, second;

	(void)state;
	assert_int_equal(tickets_open(NULL, now - 3700, &tickets, NULL), OK);
	assert_true(tickets_attach(tickets, shard));
	first = seal(shard);
	assert_int_equal(unseal(shard, first, BINDING), TICKET_OLD);
	assert_int_equal(tickets_rotate(tickets, now - 3650, NULL), OK);
	assert_int_equal(tickets_keys(tickets, keys), 1); /* nothing to do yet */
	assert_int_equal(tickets_rotate(tickets, now, NULL), OK);
	assert_int_equal(tickets_keys(tickets, keys), 2);
	second = seal(shard);
	assert_memory_not_equal(first.name, second.name, TICKET_NAME_LEN);
	assert_int_equal(unseal(shard, first, BINDING), TICKET_OLD);
	assert_int_equal(unseal(shard, second, BINDING), TICKET_GOOD);
	assert_int_equal(tickets_rotate(tickets, now + 3601, NULL), OK);
	assert_int_equal(tickets_keys(tickets, keys), 2);
	assert_int_equal(unseal(shard, first, BINDING), TICKET_REFUSED);
	/* A clock that was an hour and more ahead, and is put right: keys of the future are no keys. */
	assert_int_equal(tickets_rotate(tickets, now - 10000, NULL), OK);
	assert_int_equal(tickets_keys(tickets, keys), 1);
	tickets_detach(shard);
	tickets_close(tickets);
	shard_free(shard);
}

/* Two processes of a host, and one that comes later. */
static void test_shared(void **state)
{
	char *path = memory_directory();
	struct shard *one = shard_make(0), *two = shard_make(0);
	struct tls_tickets *a, *b;
	struct ticket_key keys[TICKET_KEYS_MAX];
	int64_t now = now_of(one);
	struct stat st;
	struct ticket ticket, next;

	(void)state;
	assert_int_equal(tickets_open(path, now - 3500, &a, NULL), OK);
	assert_int_equal(stat(arena_cstr(&arena, arena_printf(&arena, "%s/data.mdb", path)), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(tickets_attach(a, one));
	ticket = seal(one);
	tickets_detach(one);
	tickets_close(a);
	/* A restart: the same keys. */
	assert_int_equal(tickets_open(path, now - 3400, &a, NULL), OK);
	assert_int_equal(tickets_keys(a, keys), 1);
	assert_true(tickets_attach(a, one));
	assert_int_equal(unseal(one, ticket, BINDING), TICKET_GOOD);
	/* LMDB wants an environment to be open once in a process; its data are the same in another. */
	tickets_detach(one);
	tickets_close(a);
	assert_int_equal(tickets_open(path, now + 200, &b, NULL), OK);
	assert_int_equal(tickets_keys(b, keys), 2);
	assert_true(tickets_attach(b, two));
	next = seal(two);
	assert_int_equal(unseal(two, ticket, BINDING), TICKET_GOOD);
	assert_memory_not_equal(ticket.name, next.name, TICKET_NAME_LEN);
	tickets_detach(two);
	tickets_close(b);
	shard_free(one);
	shard_free(two);
	remove_directory(path);
}

/* The set's helper thread may have it for a moment. */
static unsigned exchange(struct tls_tickets *t, const struct ticket_key *theirs, unsigned count, int64_t now)
{
	struct ticket_key missing[TICKET_KEYS_MAX];
	unsigned missing_count;

	while (!tickets_exchange(t, theirs, count, now, missing, &missing_count))
		sched_yield();
	return missing_count;
}

static void test_learned(void **state)
{
	struct shard *one = shard_make(0), *two = shard_make(0);
	struct ticket_key keys[TICKET_KEYS_MAX], many[TICKET_KEYS_MAX + 8];
	struct tls_tickets *a, *b;
	int64_t now = now_of(one);

	(void)state;
	assert_int_equal(tickets_open(NULL, now, &a, NULL), OK);
	assert_int_equal(tickets_open(NULL, now, &b, NULL), OK);
	assert_true(tickets_attach(a, one) && tickets_attach(b, two));
	assert_int_equal(unseal(two, seal(one), BINDING), TICKET_REFUSED);
	exchange(b, keys, tickets_keys(a, keys), now);
	assert_int_equal(unseal(two, seal(one), BINDING), TICKET_GOOD);
	/* Whoever shares cannot fill us up, or have us keep what is past its time. */
	memset(many, 0, sizeof(many));
	for (unsigned i = 0; i < TICKET_KEYS_MAX + 8; i++) {
		many[i].name[0] = (uint8_t)(i + 1);
		many[i].created = i < 8 ? now - 2 * TICKET_LIFE_S : now - 100;
	}
	exchange(b, many, TICKET_KEYS_MAX + 8, now);
	assert_int_equal(tickets_keys(b, keys), TICKET_KEYS_MAX);
	for (unsigned i = 0; i < TICKET_KEYS_MAX; i++)
		assert_true(keys[i].created > now - TICKET_LIFE_S);
	tickets_detach(one);
	tickets_detach(two);
	tickets_close(a);
	tickets_close(b);
	shard_free(one);
	shard_free(two);
}

static void test_directory(void **state)
{
	char *path = memory_directory();
	struct tls_tickets *tickets;
	struct err err = err_make(&arena);

	(void)state;
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(tickets_open(path, 1800000000, &tickets, &err), FAIL);
	assert_true(slice_search(err.text, SLICE("others may look into it")) > 0);
	remove_directory(path);
	assert_int_equal(tickets_open("/proc/self", 1800000000, &tickets, &err), FAIL);
	assert_int_equal(tickets_open("/dev/shm/no/such/directory", 1800000000, &tickets, &err), FAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_tampered, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_learned, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
