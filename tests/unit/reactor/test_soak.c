/* Many connections whose two sides do as chance wills: write, read in bites, keep buffers, sleep, close in
 * all ways, and are cancelled from outside at any moment. What is read is always what was written, nothing
 * hangs, and no buffer is left. On the kernel with little of everything, and in the simulated world. */
#include "harness.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "reactor/sim.h"

#define PAIRS  40
#define ROUNDS 30
#define KEPT   8

struct side {
	struct soak *soak;
	struct stream *s;
	struct task *task; /* while it runs */
	uint64_t chance;
	size_t sent, got;
};

struct soak {
	struct world *world; /* NULL: the kernel */
	uint64_t chance;
	struct side sides[2 * PAIRS];
	unsigned running, finished;
	uint64_t bytes;
};

static uint64_t pick(uint64_t *chance, uint64_t below)
{
	*chance = *chance * 6364136223846793005ull + 1442695040888963407ull;
	return (*chance >> 33) % below;
}

static char byte_at(size_t offset)
{
	return (char)(offset * 31 + offset / 251);
}

static enum rc side_write(struct task *task, struct side *side)
{
	size_t len = 1 + pick(&side->chance, pick(&side->chance, 4) ? 2000 : 100000);
	struct iovec iov[20];
	unsigned count = 1 + (unsigned)pick(&side->chance, 20);
	char *copy = malloc(len); /* others write meanwhile */
	enum rc rc;

	for (size_t i = 0; i < len; i++)
		copy[i] = byte_at(side->sent + i);
	for (unsigned i = 0; i < count; i++)
		iov[i] = (struct iovec){copy + len * i / count, len * (i + 1) / count - len * i / count};
	rc = stream_writev(task, side->s, iov, count, NULL);
	side->sent += len;
	free(copy);
	return rc;
}

static enum rc side_read(struct task *task, struct side *side, struct buf **kept, unsigned *kept_count)
{
	struct slice in;
	size_t len;

	if (!stream_pending(side->s)) {
		enum rc rc = stream_fill(task, side->s, NULL);

		if (rc != OK)
			return rc;
	}
	in = stream_peek(side->s);
	len = pick(&side->chance, 3) ? in.len : 1 + pick(&side->chance, in.len);
	for (size_t i = 0; i < len; i++)
		if (in.ptr[i] != byte_at(side->got + i))
			fail_msg("byte %zu is wrong", side->got + i);
	side->got += len;
	side->soak->bytes += len;
	if (*kept_count < KEPT && !pick(&side->chance, 8)) {
		kept[(*kept_count)++] = stream_peek_buf(side->s);
		buf_ref(stream_peek_buf(side->s));
	}
	stream_consume(side->s, len);
	return OK;
}

static void side_end(struct side *side, enum rc rc)
{
	switch (pick(&side->chance, 4)) {
	case 0:
		stream_close(side->s, true);
		break;
	case 1:
		stream_close_lingering(side->s, 20);
		break;
	case 2:
		if (rc == OK)
			stream_shutdown_write(side->s);
		/* fall through */
	default:
		stream_close(side->s, false);
	}
}

static void side_run(struct task *task, void *arg)
{
	struct side *side = arg;
	struct buf *kept[KEPT];
	unsigned kept_count = 0;
	enum rc rc = OK;

	side->task = task;
	if (!pick(&side->chance, 4))
		stream_set_window(side->s, 1 + pick(&side->chance, 5000));
	for (unsigned i = 0; i < ROUNDS && (rc == OK || rc == DEFER); i++) {
		task->until = task_until(task, 1 + pick(&side->chance, 10));
		switch (pick(&side->chance, 6)) {
		case 0:
		case 1:
			rc = side_write(task, side);
			if (rc == DEFER)
				rc = FAIL; /* who knows what part of it has gone */
			break;
		case 2:
			rc = task_sleep(task, shard_now(task->shard) + pick(&side->chance, 2 * NS_PER_MS));
			break;
		case 3:
			if (kept_count)
				buf_unref(kept[--kept_count]);
			break;
		default:
			rc = side_read(task, side, kept, &kept_count);
		}
		task->until = UNTIL_NEVER;
	}
	side->task = NULL;
	side_end(side, rc);
	while (kept_count)
		buf_unref(kept[--kept_count]);
	side->soak->running--;
	side->soak->finished++;
}

static void pair_start(struct task *task, struct group *group, struct soak *soak, unsigned i)
{
	int fds[2];

	if (soak->world)
		world_socketpair(soak->world, fds);
	else
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (unsigned k = 0; k < 2; k++) {
		struct side *side = &soak->sides[2 * i + k];

		*side = (struct side){.soak = soak, .chance = pick(&soak->chance, UINT64_MAX)};
		assert_int_equal(stream_new(task->shard, fds[k], fds[k], NULL, NULL, &side->s, NULL), OK);
		assert_int_equal(group_spawn(task, group, side_run, side), OK);
		soak->running++;
	}
}

static void soaking(struct task *task, void *arg)
{
	struct soak *soak = arg;
	struct group group;
	uint64_t until;

	group_init(&group);
	for (unsigned i = 0; i < PAIRS; i++)
		pair_start(task, &group, soak, i);
	while (soak->running) {
		struct side *side = &soak->sides[pick(&soak->chance, 2 * PAIRS)];

		assert_int_equal(task_sleep(task, shard_now(task->shard) + pick(&soak->chance, NS_PER_MS)),
				 OK);
		if (side->task && !pick(&soak->chance, 8))
			task_cancel(side->task);
	}
	assert_int_equal(group_wait(task, &group), OK);
	/* The closed streams come home. */
	until = shard_now(task->shard) + 100 * NS_PER_MS;
	while (shard_now(task->shard) < until)
		assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
}

static void soak(struct shard_options options, struct world *world, uint64_t seed)
{
	static struct soak s;
	struct shard_stats stats;

	s = (struct soak){.world = world, .chance = seed};
	stats = run_with(options, soaking, &s);
	assert_int_equal(s.finished, 2 * PAIRS);
	assert_true(s.bytes > 10000);
	assert_int_equal(stats.bufs_held, 0);
	assert_int_equal(stats.fibers_running, 0);
}

static void test_kernel(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		soak((struct shard_options){.cpu = -1}, NULL, seed);
		soak((struct shard_options){.cpu = -1, .ring_entries = 2}, NULL, seed);
		soak((struct shard_options){.cpu = -1, .buf_count = 4, .buf_size = 1024, .buf_memory_max = 1},
		     NULL, seed);
	}
}

static void test_simulated(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct world *world = world_new(&(struct world_options){.seed = seed});
		struct shard_options options = world_shard(world);

		if (seed % 2) {
			options.buf_count = 4;
			options.buf_size = 1024;
			options.buf_memory_max = 1;
		}
		soak(options, world, seed);
		world_free(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kernel),
	    cmocka_unit_test(test_simulated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
