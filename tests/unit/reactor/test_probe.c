/* The start-up probe tells apart why io_uring cannot be had. */
#include "harness.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* From now on this process gets the errno for io_uring_setup(), as a container's profile does it. */
static void forbid(int os)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)os),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_COUNT(filter), .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(77);
}

static void never_called(struct shard *shard, void *arg)
{
	(void)shard;
	(void)arg;
	_exit(3);
}

static void check(int os, const char *expect)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct arena arena;
		struct err err;
		struct shard *shard;

		arena_init(&arena, 0);
		err = err_make(&arena);
		forbid(os);
		if (reactor_probe(&err) != FAIL || slice_search(err.text, slice_of(expect)) < 0) {
			fprintf(stderr, "probe: %.*s\n", SLICE_ARG(err.text));
			_exit(1);
		}
		/* A shard says the same. */
		err = err_make(&arena);
		if (shard_new(&(struct shard_options){.cpu = -1}, &shard, &err) != OK ||
		    shard_run(shard, never_called, NULL, &err) != FAIL ||
		    slice_search(err.text, slice_of(expect)) < 0)
			_exit(2);
		shard_free(shard);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* no filters here */
	assert_int_equal(status, 0);
}

static void test_seccomp(void **state)
{
	(void)state;
	if (access("/proc/self/status", R_OK))
		skip();
	check(EPERM, "seccomp profile");
}

static void test_old_kernel(void **state)
{
	(void)state;
	check(ENOSYS, "too old");
	check(EINVAL, "Linux 6.1 or newer");
}

static void test_memlock(void **state)
{
	(void)state;
	check(ENOMEM, "locked memory");
}

static void test_cpus(void **state)
{
	cpu_set_t all, one;

	(void)state;
	assert_in_range(reactor_cpu_count(), 1, CPU_SETSIZE);
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (unsigned i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(reactor_cpu_count(), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_seccomp),
	    cmocka_unit_test(test_old_kernel),
	    cmocka_unit_test(test_memlock),
	    cmocka_unit_test(test_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
