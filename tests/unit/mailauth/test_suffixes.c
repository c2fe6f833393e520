/* The public suffix list is read once for all who ask at the same moment, and again when the file is another one. */
#include <dlfcn.h>
#include <libpsl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "mailauth/dmarc.h"
#include "mailauth/dmarc_state.h"

static atomic_uint reads; /* on helper threads */

/* The library's, counted. */
psl_ctx_t *psl_load_file(const char *path)
{
	psl_ctx_t *(*real)(const char *) = (psl_ctx_t * (*)(const char *)) dlsym(RTLD_NEXT, "psl_load_file");

	atomic_fetch_add(&reads, 1);
	return real(path);
}

static char path[] = "/tmp/sluice-suffixes-XXXXXX";

static void write_list(const char *rules)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(rules, f);
	assert_int_equal(fclose(f), 0);
}

static void ask(struct task *task, void *arg)
{
	const struct dmarc_suffixes *suffixes;
	struct err err = err_make(task->arena);

	assert_int_equal(dmarc_suffixes_get(task, slice_of(path), &suffixes, &err), OK);
	assert_true(slice_eq(dmarc_suffixes_org(task->arena, suffixes, SLICE("a.b.test")), slice_of(arg)));
}

static void ask_by_many(struct task *task, const char *expected)
{
	struct group group;

	group_init(&group);
	for (int i = 0; i < 30; i++)
		assert_int_equal(group_spawn(task, &group, ask, (void *)(uintptr_t)expected), OK);
	assert_int_equal(group_wait(task, &group), OK);
}

static void work(void *arg)
{
	struct shard *shard = arg;
	struct arena arena;
	struct task task;

	arena_init(&arena, 0);
	task_init(&task, shard, &arena, UNTIL_NEVER);
	write_list("test\n");
	ask_by_many(&task, "b.test");
	assert_int_equal(reads, 1);
	write_list("test\nb.test\n");
	assert_int_equal(task_sleep(&task, shard_now(shard) + 2100 * NS_PER_MS),
			 OK); /* it is looked at every other second */
	/* Who finds somebody reading goes on with the list of before. */
	{
		const struct dmarc_suffixes *suffixes;
		struct err err = err_make(&arena);

		assert_int_equal(dmarc_suffixes_get(&task, slice_of(path), &suffixes, &err), OK);
	}
	ask_by_many(&task, "a.b.test");
	assert_int_equal(reads, 2);
	arena_done(&arena);
	shard_stop(shard);
}

static void begin(struct shard *shard, void *arg)
{
	(void)arg;
	assert_int_equal(fiber_spawn(shard, work, shard), OK);
}

static void test_reads(void **state)
{
	struct shard_options options = {.count = 1, .cpu = -1, .backend = BACKEND_URING};
	struct err err = err_make(NULL);
	struct shard *shard;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(shard_new(&options, &shard, &err), OK);
	assert_int_equal(shard_run(shard, begin, NULL, &err), OK);
	dmarc_done(shard);
	shard_free(shard);
	unlink(path);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(test_reads)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
