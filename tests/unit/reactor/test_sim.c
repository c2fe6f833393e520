/* The simulated world: the same calls as everywhere, on another clock, network and disk. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "reactor/sim.h"

static struct world *world_make(uint64_t seed)
{
	return world_new(&(struct world_options){.seed = seed});
}

/* ---- The clock ---- */

static void hour(struct task *task, void *arg)
{
	uint64_t start = shard_now(task->shard), wall = shard_wall(task->shard);

	(void)arg;
	for (int i = 0; i < 60; i++)
		assert_int_equal(task_sleep(task, shard_now(task->shard) + 60 * NS_PER_S), OK);
	assert_int_equal(shard_now(task->shard) - start, 3600 * NS_PER_S);
	assert_int_equal(shard_wall(task->shard) - wall, 3600 * NS_PER_S);
}

static void test_hour(void **state)
{
	struct world *world = world_make(1);
	struct timespec before, after;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &before);
	run_with(world_shard(world), hour, NULL);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < 30);
	world_free(world);
}

static void stuck(struct task *task, void *arg)
{
	struct waitq q;

	(void)arg;
	waitq_init(&q);
	(void)!waitq_wait(task, &q);
	fail();
}

static void test_stuck(void **state)
{
	struct world *world = world_make(1);

	(void)state;
	run_with(world_shard(world), stuck, NULL);
	assert_true(world_stuck(world));
	world_free(world);
}

/* ---- The network ---- */

/* A server that answers each line after a while, as real sessions do, and a client that talks to it. */
struct talk {
	struct world *world;
	struct task *task;
	struct group servers;
	uint64_t trace; /* of all moments at which something came */
	unsigned lines;
};

static void talk_serve(struct task *task, void *arg)
{
	struct stream *s = arg;

	while (stream_fill(task, s, NULL) == OK)
		while (stream_pending(s)) {
			struct slice in = stream_peek(s);

			assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_S), OK);
			assert_int_equal(stream_write(task, s, in, NULL), OK);
			stream_consume(s, in.len);
		}
	stream_close(s, false);
}

static void talk_accept(void *arg, int fd)
{
	struct talk *talk = arg;
	struct stream *s;

	assert_int_equal(stream_new(talk->task->shard, fd, fd, NULL, NULL, &s, NULL), OK);
	assert_int_equal(group_spawn(talk->task, &talk->servers, talk_serve, s), OK);
}

static void talk_client(struct task *task, void *arg)
{
	struct talk *talk = arg;
	struct ip_addr at = {.family = 4, .port = 25, .bytes = {192, 0, 2, 1}};
	char line[1000], got[1000];
	struct stream *s;
	int fd;

	assert_int_equal(connect_tcp(task, &at, NULL, &fd, NULL), OK);
	assert_int_equal(stream_new(task->shard, fd, fd, NULL, NULL, &s, NULL), OK);
	for (unsigned i = 0; i < 10; i++) {
		size_t len = 0;

		for (size_t k = 0; k < sizeof(line); k++)
			line[k] = (char)(k * (i + 1));
		assert_int_equal(stream_write(task, s, slice_make(line, sizeof(line), CLEAN), NULL), OK);
		while (len < sizeof(line)) {
			struct slice in = stream_peek(s);

			if (!in.len) {
				assert_int_equal(stream_fill(task, s, NULL), OK);
				talk->trace = talk->trace * 31 + shard_now(task->shard);
				continue;
			}
			memcpy(got + len, in.ptr, in.len);
			len += in.len;
			stream_consume(s, in.len);
		}
		assert_memory_equal(got, line, sizeof(line));
		talk->lines++;
	}
	stream_close(s, false);
}

static void talking(struct task *task, void *arg)
{
	struct ip_addr at = {.family = 4, .port = 25, .bytes = {192, 0, 2, 1}}, hole = at, nobody = at;
	struct err err = err_make(task->arena);
	struct listener *listener;
	struct talk *talk = arg;
	struct group clients;
	uint64_t start;
	int fd;

	talk->task = task;
	group_init(&talk->servers);
	group_init(&clients);
	assert_int_equal(listener_new(task->shard, world_listen(talk->world, &at), talk_accept, NULL, talk,
				      &listener, NULL),
			 OK);
	for (int i = 0; i < 8; i++)
		assert_int_equal(group_spawn(task, &clients, talk_client, talk), OK);
	assert_int_equal(group_wait(task, &clients), OK);
	assert_int_equal(group_wait(task, &talk->servers), OK);
	listener_close(listener);
	assert_int_equal(talk->lines, 80);
	/* Nobody listens, and nobody answers. */
	nobody.port = 26;
	assert_int_equal(connect_tcp(task, &nobody, NULL, &fd, &err), FAIL);
	assert_int_equal(err.os, ECONNREFUSED);
	hole.port = 27;
	world_black_hole(talk->world, &hole);
	start = shard_now(task->shard);
	task->until = task_until(task, 300000);
	assert_int_equal(connect_tcp(task, &hole, NULL, &fd, &err), DEFER);
	assert_int_equal(shard_now(task->shard) - start, 300 * NS_PER_S);
	task->until = UNTIL_NEVER;
}

static uint64_t talk_trace(uint64_t seed)
{
	struct talk talk = {.world = world_make(seed)};
	struct shard_stats stats = run_with(world_shard(talk.world), talking, &talk);

	assert_int_equal(stats.bufs_held, 0);
	world_free(talk.world);
	return talk.trace;
}

static void test_talk(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++)
		(void)talk_trace(seed);
	assert_int_equal(talk_trace(7), talk_trace(7)); /* a seed is a bug report */
	assert_int_not_equal(talk_trace(7), talk_trace(8));
}

static void ends(struct task *task, void *arg)
{
	struct world *world = arg;
	struct err err = err_make(task->arena);
	struct stream *a, *b;
	int fds[2];

	world_socketpair(world, fds);
	assert_int_equal(stream_new(task->shard, fds[0], fds[0], NULL, NULL, &a, NULL), OK);
	assert_int_equal(stream_new(task->shard, fds[1], fds[1], NULL, NULL, &b, NULL), OK);
	assert_int_equal(stream_write(task, a, SLICE("last words"), &err), OK);
	stream_shutdown_write(a);
	assert_int_equal(stream_write(task, a, SLICE("more"), &err), FAIL);
	while (stream_fill(task, b, &err) == OK)
		;
	assert_int_equal(err.os, 0);
	assert_int_equal(stream_pending(b), 10);
	stream_close(a, true);
	stream_close(b, false);
	world_socketpair(world, fds);
	assert_int_equal(stream_new(task->shard, fds[0], fds[0], NULL, NULL, &a, NULL), OK);
	assert_int_equal(stream_new(task->shard, fds[1], fds[1], NULL, NULL, &b, NULL), OK);
	stream_close(a, true);
	assert_int_equal(stream_fill(task, b, &err), FAIL);
	assert_int_equal(err.os, ECONNRESET);
	stream_close(b, false);
}

static void test_ends(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct world *world = world_make(seed);

		run_with(world_shard(world), ends, world);
		world_free(world);
	}
}

/* ---- The disk ---- */

#define RECORD 2048u
struct disk {
	struct world *world;
	unsigned synced, written;  /* records */
	unsigned kept, lost, torn; /* of those that were only written */
};

static void record_make(char *record, unsigned number)
{
	memset(record, 'A' + (char)(number % 26), RECORD);
}

static void disk_write(struct task *task, void *arg)
{
	struct disk *disk = arg;
	char record[RECORD];
	struct iovec iov = {record, RECORD};
	int fd;

	assert_int_equal(file_mkdir(task, "/spool", 0750, NULL), OK);
	assert_int_equal(file_open(task, "/spool/a", O_RDWR | O_CREAT | O_EXCL, 0640, &fd, NULL), OK);
	assert_int_equal(file_open(task, "/nowhere/a", O_RDWR | O_CREAT, 0640, &fd, NULL), FAIL);
	for (disk->written = 0; disk->written < 10; disk->written++) {
		record_make(record, disk->written);
		assert_int_equal(file_writev_flags(task, fd, &iov, 1, disk->written * RECORD,
						   disk->written == 4 ? RWF_DSYNC : 0, NULL),
				 OK);
		if (disk->written == 5)
			assert_int_equal(file_sync(task, fd, true, NULL), OK);
	}
	disk->synced = 6;
	/* and the power goes, with the file open */
}

static void disk_read(struct task *task, void *arg)
{
	struct disk *disk = arg;
	char record[RECORD], zero[RECORD] = {0};
	struct slice all;

	assert_int_equal(file_slurp(task, "/spool/a", 1000000, &all, NULL), OK);
	assert_true(all.len >= disk->synced * RECORD);
	for (unsigned i = 0; i * RECORD < all.len; i++) {
		const char *is = all.ptr + (size_t)i * RECORD;
		size_t len = all.len - (size_t)i * RECORD < RECORD ? all.len - (size_t)i * RECORD : RECORD;

		record_make(record, i);
		if (i < disk->synced)
			assert_memory_equal(is, record, RECORD);
		else if (len == RECORD && !memcmp(is, record, RECORD))
			disk->kept++;
		else if (!memcmp(is, zero, len))
			disk->lost++;
		else
			disk->torn++;
	}
}

static void test_power_cut(void **state)
{
	unsigned kept = 0, lost = 0, torn = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct disk disk = {.world = world_make(seed)};

		run_with(world_shard(disk.world), disk_write, &disk);
		world_power_cut(disk.world);
		run_with(world_shard(disk.world), disk_read, &disk);
		kept += disk.kept;
		lost += disk.lost;
		torn += disk.torn;
		world_free(disk.world);
	}
	assert_true(kept && lost && torn);
}

static void disk_faults(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	struct world *world = arg;
	char bytes[3000] = "x";
	struct iovec iov = {bytes, sizeof(bytes)};
	struct stat st;
	int fd;

	assert_int_equal(file_open(task, "/a", O_RDWR | O_CREAT, 0640, &fd, &err), OK);
	world_disk_fail(world, 2, EIO);
	assert_int_equal(file_writev(task, fd, &iov, 1, 0, &err), OK);
	assert_int_equal(file_sync(task, fd, true, &err), DEFER);
	assert_int_equal(err.os, EIO);
	assert_int_equal(file_sync(task, fd, true, &err), OK);
	for (unsigned i = 1; i < 10; i++) /* short, then nothing */
		if (file_writev(task, fd, &iov, 1, i * 3000, &err) != OK)
			break;
	assert_int_equal(err.os, ENOSPC);
	assert_int_equal(file_stat(task, "/a", true, &st, &err), OK);
	assert_int_equal(st.st_size, 10000);
	assert_int_equal(file_link(task, "/a", "/b", &err), OK);
	assert_int_equal(file_unlink(task, "/a", &err), OK);
	assert_int_equal(file_rename(task, "/b", "/c", &err), OK);
	assert_int_equal(file_stat(task, "/b", true, &st, &err), FAIL);
	assert_int_equal(file_unlink(task, "/c", &err), OK);
	file_close(task->shard, fd);
	assert_int_equal(file_open(task, "/d", O_RDWR | O_CREAT, 0640, &fd, &err), OK);
	assert_int_equal(file_writev(task, fd, &iov, 1, 0, &err), OK); /* there is room again */
	file_close(task->shard, fd);
}

static void test_disk_faults(void **state)
{
	struct world *world = world_new(&(struct world_options){.seed = 3, .disk_size = 10000});

	(void)state;
	run_with(world_shard(world), disk_faults, world);
	world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hour), cmocka_unit_test(test_stuck),     cmocka_unit_test(test_talk),
	    cmocka_unit_test(test_ends), cmocka_unit_test(test_power_cut), cmocka_unit_test(test_disk_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
