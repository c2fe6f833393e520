/* Counters by name, shared by all shards: a limit that each shard kept for itself would be none. The table is the one thing
 * here that has a lock; it is held for some dozen instructions, and only by transports that have such a limit. */
#include "limits.h"

#include <pthread.h>

#include "base/hash.h"

#define COUNTERS_MAX \
	1024 /* names in use at a time; beyond that a delivery waits as if its limit were reached */
#define PAUSE_MS 20

struct counter {
	uint64_t key; /* a hash of the name: two names that share one only wait for each other */
	uint32_t count;
};
static struct counter counters[COUNTERS_MAX];
static pthread_mutex_t counters_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t key_of(struct slice name)
{
	return hash_slice(name);
}

static bool enter(uint64_t key, uint32_t max)
{
	struct counter *free_one = NULL, *mine = NULL;
	bool entered = false;

	pthread_mutex_lock(&counters_lock);
	for (unsigned i = 0; i < COUNTERS_MAX && !mine; i++) {
		if (counters[i].count == 0)
			free_one = free_one ? free_one : &counters[i];
		else if (counters[i].key == key)
			mine = &counters[i];
	}
	if (!mine && free_one) {
		mine = free_one;
		mine->key = key;
	}
	if (mine && mine->count < max) {
		mine->count++;
		entered = true;
	}
	pthread_mutex_unlock(&counters_lock);
	return entered;
}

enum rc limit_enter(struct task *task, struct slice name, uint32_t max, uint64_t wait_ms, const char *what,
		    struct err *err)
{
	uint64_t key = key_of(name), give_up = shard_now(task->shard) + wait_ms * NS_PER_MS;

	/* Looking again now and then is cheap, since few ever wait here; those who leave know nobody to tell. */
	while (!enter(key, max)) {
		if (shard_now(task->shard) >= give_up)
			return err_set(err, DEFER, "%s: %u at a time are the limit (%.*s)", what, max,
				       SLICE_ARG(name));
		enum rc rc = task_sleep(task, shard_now(task->shard) + PAUSE_MS * NS_PER_MS);
		if (rc != OK)
			return rc;
	}
	return OK;
}

void limit_leave(struct slice name)
{
	uint64_t key = key_of(name);

	pthread_mutex_lock(&counters_lock);
	for (unsigned i = 0; i < COUNTERS_MAX; i++)
		if (counters[i].count > 0 && counters[i].key == key) {
			counters[i].count--;
			break;
		}
	pthread_mutex_unlock(&counters_lock);
}
