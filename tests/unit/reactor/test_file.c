/* Files, watches, child processes, and accepting without descriptors. */
#include "harness.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char dir[64];

static const char *in_dir(struct task *task, const char *name)
{
	return arena_printf(task->arena, "%s/%s%c", dir, name, 0).ptr;
}

static void files(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	const char *a = in_dir(task, "a"), *b = in_dir(task, "sub/b"), *sub = in_dir(task, "sub");
	struct iovec iov[1500];
	char bytes[3000], back[3000];
	struct slice all;
	struct stat st;
	size_t got;
	int fd;

	(void)arg;
	/* The sad ways first. */
	assert_int_equal(file_open(task, a, O_RDONLY, 0, &fd, &err), FAIL);
	assert_int_equal(err.os, ENOENT);
	assert_int_equal(file_stat(task, a, true, &st, &err), FAIL);
	assert_int_equal(file_unlink(task, a, &err), FAIL);
	assert_int_equal(file_rename(task, a, b, &err), FAIL);
	assert_int_equal(file_slurp(task, a, 100, &all, &err), FAIL);
	assert_int_equal(file_read(task, 9999, back, 1, 0, &got, &err), FAIL);
	assert_int_equal(err.os, EBADF);
	assert_int_equal(file_writev(task, 9999, &(struct iovec){back, 1}, 1, 0, &err), FAIL);
	assert_int_equal(file_open(task, "/dev/full", O_WRONLY, 0, &fd, &err), OK);
	assert_int_equal(file_writev(task, fd, &(struct iovec){bytes, 10}, 1, 0, &err), DEFER);
	assert_int_equal(err.os, ENOSPC);
	file_close(task->shard, fd);

	assert_int_equal(file_mkdir(task, sub, 0750, &err), OK);
	assert_int_equal(file_mkdir(task, sub, 0750, &err), FAIL);
	assert_int_equal(err.os, EEXIST);
	assert_int_equal(file_open(task, a, O_RDWR | O_CREAT | O_EXCL, 0640, &fd, &err), OK);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 13);
	for (unsigned i = 0; i < 1500; i++) /* more than one system call may take */
		iov[i] = (struct iovec){bytes + 2 * i, 2};
	assert_int_equal(file_writev(task, fd, iov, 1500, 100, &err), OK);
	assert_int_equal(file_read(task, fd, back, sizeof(back), 100, &got, &err), OK);
	assert_int_equal(got, sizeof(back));
	assert_memory_equal(back, bytes, sizeof(back));
	assert_int_equal(file_read(task, fd, back, sizeof(back), 3000, &got, &err), OK);
	assert_int_equal(got, 100);
	assert_int_equal(file_writev_flags(task, fd, iov, 1, 0, RWF_DSYNC, &err), OK);
	assert_int_equal(file_writev_flags(task, fd, iov, 1, 0, 0x40000000, &err), FAIL);
	assert_int_equal(file_sync(task, fd, true, &err), OK);
	assert_int_equal(file_sync(task, fd, false, &err), OK);
	assert_int_equal(file_allocate(task, fd, 8192, &err), OK);
	assert_int_equal(file_stat(task, a, true, &st, &err), OK);
	assert_int_equal(st.st_size, 8192);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(file_truncate(task, fd, 3100, &err), OK);
	assert_int_equal(file_slurp(task, a, 3100, &all, &err), OK);
	assert_int_equal(all.len, 3100);
	assert_memory_equal(all.ptr + 100, bytes, sizeof(bytes));
	assert_int_equal(file_slurp(task, a, 3099, &all, &err), FAIL);
	assert_int_equal(err.os, EFBIG);
	assert_int_equal(file_truncate(task, fd, 100000, &err), OK);
	assert_int_equal(file_slurp(task, a, 100000, &all, &err), OK);
	assert_int_equal(all.len, 100000);
	assert_int_equal(file_slurp(task, "/proc/self/status", 65536, &all, &err), OK);
	assert_true(all.len > 100);
	assert_int_equal(file_link(task, a, b, &err), OK);
	assert_int_equal(file_link(task, a, b, &err), FAIL);
	assert_int_equal(file_rename(task, b, a, &err), OK); /* the same file: both names stay */
	assert_int_equal(file_unlink(task, a, &err), OK);
	assert_int_equal(file_unlink(task, b, &err), OK);
	/* Past its deadline a file operation is finished all the same; a cancelled task begins none. */
	task->until = 1;
	assert_int_equal(file_sync(task, fd, true, &err), OK);
	task_cancel(task);
	assert_int_equal(file_sync(task, fd, true, &err), CANCELLED);
	assert_int_equal(file_open(task, a, O_RDONLY, 0, &fd, &err), CANCELLED);
	file_close(task->shard, fd);
	assert_int_equal(rmdir(sub), 0);
}

static void test_files(void **state)
{
	(void)state;
	run_fn(files, NULL);
}

/* A read "where the file stands" may wait for ever, so it can be cut short. */
static void pipe_read(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	char bytes[4];
	size_t got;
	int fds[2];

	(void)arg;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	task->until = task_until(task, 2);
	assert_int_equal(file_read(task, fds[0], bytes, 4, UINT64_MAX, &got, &err), DEFER);
	task->until = UNTIL_NEVER;
	assert_int_equal(file_writev(task, fds[1], &(struct iovec){"ab", 2}, 1, UINT64_MAX, &err), OK);
	close(fds[1]);
	assert_int_equal(file_read(task, fds[0], bytes, 4, UINT64_MAX, &got, &err), OK);
	assert_int_equal(got, 2);
	close(fds[0]);
}

static void test_pipe_read(void **state)
{
	(void)state;
	run_fn(pipe_read, NULL);
}

/* ---- Watches ---- */

struct watched {
	struct watch *watch;
	unsigned reads, writes;
	bool close_in_fn;
};

static void watched_fn(void *arg, int fd, unsigned events)
{
	struct watched *w = arg;
	uint64_t value;

	if (events & WATCH_READ) {
		w->reads++;
		if (w->reads % 2 == 0) /* the first time it stays readable, so it must be told again */
			assert_int_equal(read(fd, &value, 8), 8);
	}
	if (events & WATCH_WRITE) {
		w->writes++;
		watch_set(w->watch, WATCH_READ);
	}
	if (w->close_in_fn) {
		watch_close(w->watch);
		w->watch = NULL;
	}
}

static void watches(struct task *task, void *arg)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t one = 1;
	struct watched w = {0};

	(void)arg;
	assert_int_equal(watch_new(task->shard, fd, watched_fn, &w, &w.watch), OK);
	watch_set(w.watch, WATCH_READ | WATCH_WRITE);
	while (!w.writes)
		assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	assert_int_equal(w.writes, 1);
	assert_int_equal(w.reads, 0);
	assert_int_equal(write(fd, &one, 8), 8);
	while (w.reads < 2)
		assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	watch_set(w.watch, 0);
	assert_int_equal(write(fd, &one, 8), 8);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + 3 * NS_PER_MS), OK);
	assert_int_equal(w.reads, 2);
	w.close_in_fn = true;
	watch_set(w.watch, WATCH_READ);
	while (w.watch)
		assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	assert_int_equal(w.reads, 3);
	assert_int_equal(watch_new(task->shard, fd, watched_fn, &w, &w.watch), OK);
	watch_close(w.watch);
	assert_int_equal(read(fd, &one, 8), 8);
	assert_int_equal(watch_new(task->shard, fd, watched_fn, &w, &w.watch), OK);
	watch_set(w.watch, WATCH_READ);
	watch_close(w.watch); /* with a poll under way */
	close(fd);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	assert_int_equal(w.reads, 3);
}

static void test_watches(void **state)
{
	(void)state;
	run_fn(watches, NULL);
}

/* ---- Child processes ---- */

static void processes(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	int status, pidfd;
	pid_t pid;

	(void)arg;
	pid = fork();
	if (!pid)
		_exit(7);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_int_equal(process_wait(task, pidfd, &status, &err), OK);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	close(pidfd);
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	task->until = task_until(task, 3);
	assert_int_equal(process_wait(task, pidfd, &status, &err), DEFER);
	task->until = UNTIL_NEVER;
	kill(pid, SIGTERM);
	assert_int_equal(process_wait(task, pidfd, &status, &err), OK);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	close(pidfd);
}

static void test_processes(void **state)
{
	(void)state;
	run_fn(processes, NULL);
}

/* ---- No descriptors left ---- */

struct shortage {
	unsigned accepted, errors;
	int os, fds[64];
};

static void shortage_accept(void *arg, int fd)
{
	struct shortage *s = arg;

	s->fds[s->accepted++] = fd;
}

static void shortage_error(void *arg, int os)
{
	struct shortage *s = arg;

	s->errors++;
	s->os = os;
}

static void shortage(struct task *task, void *arg)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	struct shortage s = {0};
	struct listener *listener;
	struct rlimit limit;
	int fd, clients[20], highest;

	(void)arg;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	for (int i = 0; i < 20; i++)
		clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	highest = clients[19];
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = (rlim_t)highest + 1 + 5;
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(listener_new(task->shard, fd, shortage_accept, shortage_error, &s, &listener, NULL),
			 OK);
	for (int i = 0; i < 20; i++)
		assert_int_equal(connect(clients[i], (struct sockaddr *)&sin, len), 0);
	while (!s.errors)
		assert_int_equal(task_sleep(task, shard_now(task->shard) + NS_PER_MS), OK);
	assert_int_equal(s.accepted, 5);
	assert_int_equal(s.os, EMFILE);
	assert_int_equal(task_sleep(task, shard_now(task->shard) + 500 * NS_PER_MS), OK);
	assert_int_equal(s.errors, 1); /* told once, although it was tried again */
	while (s.accepted < 20) {      /* descriptors are freed: it goes on by itself */
		for (unsigned i = 0; i < s.accepted; i++) {
			if (s.fds[i] >= 0)
				close(s.fds[i]);
			s.fds[i] = -1;
		}
		assert_int_equal(task_sleep(task, shard_now(task->shard) + 10 * NS_PER_MS), OK);
	}
	listener_close(listener);
}

static void test_shortage(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork(); /* the limit is the process's */
	if (!pid) {
		run_fn(shortage, NULL);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/reactor_test_XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_files),    cmocka_unit_test(test_pipe_read),
	    cmocka_unit_test(test_watches),  cmocka_unit_test(test_processes),
	    cmocka_unit_test(test_shortage),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
