/* What the tests of this room share: a spool in a directory of its own, on a fiber of a shard. */
#ifndef SPOOL_HARNESS_H
#define SPOOL_HARNESS_H

#include "../reactor/harness.h"

#include "spool/log.h"

/* Runs f(task, arg) on a fiber of shard id of count. */
static inline void run_on(unsigned id, unsigned count, void (*f)(struct task *, void *arg), void *arg)
{
	(void)run_with((struct shard_options){.id = id, .count = count, .cpu = -1}, f, arg);
}

static inline void must(enum rc rc, const struct err *err)
{
	if (rc != OK)
		fail_msg("%s: %.*s", rc_name(rc), SLICE_ARG(err->text));
}

static inline char *new_directory(void)
{
	char *path = strdup("/tmp/sluice-spool-XXXXXX");

	assert_non_null(mkdtemp(path));
	return path;
}

static inline void remove_directory(char *path)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
	free(path);
}

/* Bytes that depend on the seed and the place: what is mixed up shows. */
static inline void pattern(char *bytes, size_t len, uint64_t seed, uint64_t at)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)((seed * 2654435761u + (at + i) * 40503u) >> 7);
}

static inline struct message_id id_of(uint64_t number)
{
	struct id_source source = {.unique = 7, .host_number = -1};

	return message_id_next(&source, 1700000000000000000ull + number * 2000);
}

#endif
