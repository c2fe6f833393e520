/* fork and exec. In a process of many threads only calls that are safe in a signal handler may stand between the two, and
 * in the one-threaded helper they do no harm. */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

bool become_user(uint32_t uid, uint32_t gid, const uint32_t *groups, uint32_t group_count, bool for_good)
{
	gid_t only = gid;

	if (setgroups(group_count ? group_count : 1, group_count ? groups : &only) != 0)
		return false;
	if (for_good)
		return setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
	return setegid(gid) == 0 && seteuid(uid) == 0;
}

static void child(const struct spawn *spawn, int report)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;
	int os;

	for (int sig = 1; sig < 32; sig++)
		(void)sigaction(sig, &action, NULL); /* KILL and STOP refuse, and need nothing */
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (setpgid(0, 0) != 0 || dup2(spawn->input, 0) < 0 || dup2(spawn->output, 1) < 0 ||
	    dup2(spawn->output, 2) < 0)
		goto failed;
	if (spawn->switch_ids &&
	    !become_user(spawn->uid, spawn->gid, spawn->groups, spawn->group_count, true))
		goto failed;
	umask(spawn->umask);
	if (chdir(spawn->directory) != 0)
		goto failed;
	execve(spawn->argv[0], spawn->argv, spawn->envp);
failed:
	os = errno;
	if (write(report, &os, sizeof(os)) != sizeof(os))
		_exit(126);
	_exit(127);
}

pid_t spawn_start(const struct spawn *spawn)
{
	int report[2], os = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) != 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child(spawn, report[1]);
	os = errno;
	close(report[1]);
	if (pid > 0) {
		do
			got = read(report[0], &os, sizeof(os));
		while (got < 0 && errno == EINTR);
		if (got == sizeof(os)) {
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
			pid = -1;
		}
	}
	close(report[0]);
	errno = os;
	return pid;
}
