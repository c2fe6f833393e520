/* The privileged helper itself: a process with one thread and few words. It takes on the user's ids for each request, so that
 * the kernel judges every path as that user; it never acts as root on a path that it was given. */
#include "helper_protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spawn.h"

#define OPEN_FLAGS \
	(O_ACCMODE | O_CREAT | O_EXCL | O_APPEND | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
#define STRINGS_MAX 4096

struct packet {
	struct helper_request head;
	char text[HELPER_TEXT_MAX];
};

/* The strings of the text, each ended inside it. false: malformed. */
static bool take_strings(const struct packet *p, char **strings, uint32_t count)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < count; i++) {
		const char *end =
		    at < p->head.text_len ? memchr(p->text + at, 0, p->head.text_len - at) : NULL;
		if (!end)
			return false;
		strings[i] = (char *)(uintptr_t)(p->text + at);
		at = (uint32_t)(end - p->text) + 1;
	}
	return at == p->head.text_len;
}

static bool become_root(void)
{
	gid_t root = 0;

	return seteuid(0) == 0 && setegid(0) == 0 && setgroups(1, &root) == 0;
}

static int file_request(const struct packet *p, struct helper_reply *reply, int *fd)
{
	char *path[2] = {NULL, NULL};
	uint32_t paths = p->head.op == HELPER_RENAME || p->head.op == HELPER_LINK ? 2 : 1;
	int result = -1;

	if (!take_strings(p, path, paths) || path[0][0] != '/' || (paths == 2 && path[1][0] != '/'))
		return EINVAL;
	if ((p->head.flags & ~(uint32_t)OPEN_FLAGS) && p->head.op == HELPER_OPEN)
		return EINVAL;
	if (!become_user(p->head.uid, p->head.gid, p->head.groups, p->head.group_count, false)) {
		int os = errno;
		return become_root() ? os : EPERM;
	}
	switch (p->head.op) {
	case HELPER_OPEN:
		result = *fd =
		    open(path[0], (int)p->head.flags | O_CLOEXEC | O_NOCTTY, (mode_t)(p->head.mode & 0777));
		break;
	case HELPER_STAT:
		result = p->head.flags & 1 ? stat(path[0], &reply->st) : lstat(path[0], &reply->st);
		break;
	case HELPER_MKDIR:
		result = mkdir(path[0], (mode_t)(p->head.mode & 07777));
		break;
	case HELPER_RENAME:
		result = rename(path[0], path[1]);
		break;
	case HELPER_LINK:
		result = link(path[0], path[1]);
		break;
	case HELPER_UNLINK:
		result = unlink(path[0]);
		break;
	case HELPER_CHMOD:
		result = chmod(path[0], (mode_t)(p->head.mode & 0777));
		break;
	}
	result = result < 0 ? errno : 0;
	if (!become_root())
		abort(); /* a helper that cannot get its rights back must not go on under the wrong ones */
	return result;
}

/* Waits for the command and reports; if nobody wants the report any more, ends the command. */
static void watch_command(pid_t pid, int status_fd)
{
	struct pollfd fds[2] = {{.fd = status_fd, .events = 0},
				{.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN}};
	int status = 0;

	if (fds[1].fd >= 0) {
		while (poll(fds, 2, -1) < 0 && errno == EINTR)
			;
		if (!(fds[1].revents & POLLIN))
			(void)kill(-pid, SIGKILL); /* it may just have ended */
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (write(status_fd, &status, sizeof(status)) != sizeof(status))
		_exit(1);
	_exit(0);
}

static int spawn_request(const struct packet *p, const int *fds)
{
	uint32_t count = p->head.argc + p->head.envc + 1;
	char **strings = calloc(count + 2, sizeof(*strings)), **argv, **envp;
	int report[2], os = 0;
	pid_t watcher;

	if (!strings)
		return ENOMEM;
	/* directory, arguments, NULL, environment, NULL */
	argv = strings + 1;
	envp = argv + p->head.argc + 1;
	if (!take_strings(p, strings, count) || p->head.argc == 0 || strings[0][0] != '/' ||
	    strings[1][0] != '/') {
		free(strings);
		return EINVAL;
	}
	memmove(envp, argv + p->head.argc, p->head.envc * sizeof(*envp));
	argv[p->head.argc] = NULL;
	envp[p->head.envc] = NULL;
	if (pipe2(report, O_CLOEXEC) != 0) {
		free(strings);
		return errno;
	}
	watcher = fork();
	if (watcher == 0) {
		struct spawn spawn = {.argv = argv,
				      .envp = envp,
				      .directory = strings[0],
				      .umask = p->head.mode & 0777,
				      .switch_ids = true,
				      .uid = p->head.uid,
				      .gid = p->head.gid,
				      .groups = p->head.groups,
				      .group_count = p->head.group_count,
				      .input = fds[1],
				      .output = fds[2]};
		signal(SIGCHLD, SIG_DFL);
		signal(SIGPIPE, SIG_IGN);
		pid_t pid = spawn_start(&spawn);
		os = pid < 0 ? errno : 0;
		if (write(report[1], &os, sizeof(os)) != sizeof(os) || pid < 0)
			_exit(1);
		for (int fd = 3; fd < 256; fd++)
			if (fd != fds[3])
				close(fd);
		watch_command(pid, fds[3]);
	}
	os = watcher < 0 ? errno : 0;
	close(report[1]);
	if (watcher > 0 && read(report[0], &os, sizeof(os)) != sizeof(os))
		os = EIO;
	close(report[0]);
	free(strings);
	return os;
}

static int serve_request(const struct packet *p, ssize_t len, const int *fds, unsigned fd_count,
			 struct helper_reply *reply, int *fd)
{
	if (len < (ssize_t)sizeof(p->head) || (size_t)len != sizeof(p->head) + p->head.text_len ||
	    p->head.op >= HELPER_OP_COUNT || p->head.argc > STRINGS_MAX || p->head.envc > STRINGS_MAX ||
	    p->head.group_count > HELPER_GROUPS_MAX)
		return EINVAL;
	for (uint32_t i = 0; i < p->head.group_count; i++)
		if (p->head.groups[i] == 0)
			return EPERM;
	if (p->head.uid == 0 || p->head.gid == 0 || p->head.uid == UINT32_MAX || p->head.gid == UINT32_MAX)
		return EPERM; /* deliveries never run as root */
	if (p->head.op == HELPER_SPAWN)
		return fd_count == HELPER_FDS_MAX ? spawn_request(p, fds) : EINVAL;
	return file_request(p, reply, fd);
}

static void send_reply(int to, const struct helper_reply *reply, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {(void *)(uintptr_t)reply, sizeof(*reply)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;
		memset(&control, 0, sizeof(control));
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(to, &message, MSG_NOSIGNAL) < 0)
		return; /* whoever asked has gone */
}

static unsigned take_fds(struct msghdr *message, int *fds)
{
	unsigned count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		unsigned here = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < here; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (count < HELPER_FDS_MAX)
				fds[count++] = fd;
			else
				close(fd);
		}
	}
	return count;
}

_Noreturn void helper_serve(int fd)
{
	static struct packet packet; /* this process does one thing at a time */
	union {
		char bytes[CMSG_SPACE(HELPER_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;

	(void)prctl(PR_SET_NAME, "sluice-helper");
	umask(0);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (;;) {
		struct iovec iov = {&packet, sizeof(packet)};
		struct msghdr message = {.msg_iov = &iov,
					 .msg_iovlen = 1,
					 .msg_control = control.bytes,
					 .msg_controllen = sizeof(control.bytes)};
		struct helper_reply reply;
		int fds[HELPER_FDS_MAX], opened = -1;
		unsigned fd_count;
		ssize_t len = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);

		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0)
			_exit(0);
		memset(&reply, 0, sizeof(reply));
		fd_count = take_fds(&message, fds);
		reply.os = serve_request(&packet, len, fds, fd_count, &reply, &opened);
		if (fd_count > 0)
			send_reply(fds[0], &reply, opened);
		if (opened >= 0)
			close(opened);
		for (unsigned i = 0; i < fd_count; i++)
			close(fds[i]);
	}
}
