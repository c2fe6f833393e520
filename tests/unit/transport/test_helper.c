/* The privileged helper: what it does as another user, and what it refuses. Only root can have one; for others there is
 * nothing to test here. */
#include "../reactor/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "transport/helper.h"

static char dir[] = "/tmp/sluice-helper-XXXXXX";
static char trouble[500];

#define HOLDS(what)                                                                                       \
	do {                                                                                              \
		if (!(what) && !trouble[0])                                                               \
			snprintf(trouble, sizeof(trouble), "line %d: not so: %s (%.*s)", __LINE__, #what, \
				 SLICE_ARG(err.text));                                                    \
	} while (0)

static const char *path(struct task *task, const char *name)
{
	return arena_printf(task->arena, "%s/%s", dir, name).ptr;
}

static void files(struct task *task, void *arg)
{
	struct identity nobody = {.uid = 65534, .gid = 65534, .switched = true}, root = {.switched = true};
	struct err err = err_make(task->arena);
	struct stat st;
	int fd = -1;

	(void)arg;
	HOLDS(user_mkdir(task, &nobody, path(task, "d"), 0700, &err) == OK);
	HOLDS(user_mkdir(task, &nobody, path(task, "d"), 0700, &err) == FAIL && err.os == EEXIST);
	HOLDS(user_open(task, &nobody, path(task, "d/f"), O_WRONLY | O_CREAT | O_EXCL, 0640, &fd, &err) ==
	      OK);
	HOLDS(fstat(fd, &st) == 0 && st.st_uid == 65534 && st.st_gid == 65534 &&
	      (st.st_mode & 07777) == 0640);
	HOLDS(write(fd, "x", 1) == 1 && close(fd) == 0);
	HOLDS(user_rename(task, &nobody, path(task, "d/f"), path(task, "d/g"), &err) == OK);
	HOLDS(user_link(task, &nobody, path(task, "d/g"), path(task, "d/h"), &err) == OK);
	HOLDS(user_stat(task, &nobody, path(task, "d/h"), false, &st, &err) == OK && st.st_nlink == 2);
	HOLDS(user_unlink(task, &nobody, path(task, "d/h"), &err) == OK);
	HOLDS(user_stat(task, &nobody, path(task, "d/h"), false, &st, &err) == FAIL && err.os == ENOENT);
	/* The kernel judges as that user. */
	HOLDS(user_open(task, &nobody, "/etc/shadow", O_RDONLY, 0, &fd, &err) == FAIL && err.os == EACCES);
	HOLDS(user_mkdir(task, &nobody, "/root/x", 0700, &err) == FAIL && err.os == EACCES);
	/* Root is nobody's delivery; flags and paths are checked. */
	HOLDS(user_open(task, &root, path(task, "d/g"), O_RDONLY, 0, &fd, &err) == FAIL && err.os == EPERM);
	HOLDS(user_open(task, &nobody, path(task, "d/g"), O_RDONLY | O_TRUNC, 0, &fd, &err) == FAIL &&
	      err.os == EINVAL);
	HOLDS(user_open(task, &nobody, "relative", O_RDONLY, 0, &fd, &err) == FAIL && err.os == EINVAL);
}

static enum rc run(struct task *task, const char *script, int *status, char *output, size_t room,
		   struct err *err)
{
	struct identity nobody = {.uid = 65534, .gid = 65534, .switched = true};
	const char *argv[] = {"/bin/sh", "-c", script, NULL}, *envp[] = {"A=b", NULL};
	struct command command = {.argv = argv, .envp = envp, .directory = "/tmp", .umask = 027};
	struct running running;
	size_t got = 0;
	enum rc rc = user_spawn(task, &nobody, &command, &running, err);

	if (rc != OK)
		return rc;
	if (write(running.input, "hello\n", 6) != 6)
		return FAIL;
	close(running.input);
	rc = file_read(task, running.output, output, room - 1, UINT64_MAX, &got, err);
	output[got] = '\0';
	close(running.output);
	if (rc == OK)
		rc = user_wait(task, &running, status, err);
	close(running.status);
	return rc;
}

static void commands(struct task *task, void *arg)
{
	struct err err = err_make(task->arena);
	char output[500] = "";
	int status = 0;

	(void)arg;
	HOLDS(run(task, "id -u; id -G; cat; echo $A; pwd; umask; exit 3", &status, output, sizeof(output),
		  &err) == OK);
	HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	HOLDS(strcmp(output, "65534\n65534\nhello\nb\n/tmp\n0027\n") == 0);
	HOLDS(run(task, "cat >/dev/null; kill -9 $$", &status, output, sizeof(output), &err) == OK &&
	      WIFSIGNALED(status));
}

static void test_helper(void **state)
{
	struct arena arena;
	struct err err;
	char command[100];

	(void)state;
	if (geteuid() != 0)
		skip();
	arena_init(&arena, 0);
	err = err_make(&arena);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(transport_helper_start(&err), OK);
	assert_true(helper_present());
	run_fn(files, NULL);
	assert_string_equal(trouble, "");
	run_fn(commands, NULL);
	transport_helper_stop();
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
	arena_done(&arena);
	assert_string_equal(trouble, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_helper)};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
