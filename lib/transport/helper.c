/* The side that asks the privileged helper: see helper.h. Requests are made on helper threads, since they wait; without a
 * need for other ids the reactor's own calls do. */
#include "helper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "spawn.h"

/* Set once, before any thread is started, and read by all of them. */
static int helper_fd = -1;

bool helper_present(void)
{
	return helper_fd >= 0;
}

/* What routers see of the helper: files of users. */
static enum rc file_open_as(struct task *task, uint32_t uid, uint32_t gid, const char *path, int flags,
			    mode_t mode, int *fd_ret, struct err *err)
{
	struct identity who = {.uid = uid, .gid = gid, .switched = true};

	return user_open(task, &who, path, flags, mode, fd_ret, err);
}

static enum rc file_stat_as(struct task *task, uint32_t uid, uint32_t gid, const char *path,
			    struct stat *stat_ret, struct err *err)
{
	struct identity who = {.uid = uid, .gid = gid, .switched = true};

	return user_stat(task, &who, path, true, stat_ret, err);
}

static const struct user_files files_as_user = {.open = file_open_as, .stat = file_stat_as};

enum rc transport_helper_start(struct err *err)
{
	int fds[2];
	pid_t pid;

	if (geteuid() != 0 || helper_fd >= 0)
		return OK;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return err_os(err, FAIL, errno, "a socket for the delivery helper");
	pid = fork();
	if (pid < 0) {
		int os = errno;
		close(fds[0]);
		close(fds[1]);
		return err_os(err, FAIL, os, "the delivery helper");
	}
	if (pid == 0) {
		close(fds[0]);
		helper_serve(fds[1]);
	}
	close(fds[1]);
	helper_fd = fds[0];
	route_use_user_files(&files_as_user);
	return OK;
}

void transport_helper_stop(void)
{
	if (helper_fd >= 0)
		close(helper_fd); /* the helper sees the end and leaves */
	helper_fd = -1;
	route_use_user_files(NULL);
}

/* ---- One request --------------------------------------------------------------------------------------------------- */

/* Heap memory: the fiber may leave while the helper works. */
struct job {
	struct helper_request request;
	char *text;
	int fds[HELPER_FDS_MAX]; /* from 1 on: to be sent; closed when the job ends */
	unsigned fd_count;
	struct helper_reply reply;
	int fd; /* that came back */
};

static void job_free(void *arg)
{
	struct job *job = arg;

	for (unsigned i = 1; i < job->fd_count; i++)
		close(job->fds[i]);
	if (job->fd >= 0)
		close(job->fd);
	free(job->text);
	free(job);
}

static bool job_send(struct job *job)
{
	union {
		char bytes[CMSG_SPACE(HELPER_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov[2] = {{&job->request, sizeof(job->request)}, {job->text, job->request.text_len}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = control.bytes};
	struct cmsghdr *c;

	memset(&control, 0, sizeof(control));
	message.msg_controllen = CMSG_SPACE(job->fd_count * sizeof(int));
	c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(job->fd_count * sizeof(int));
	memcpy(CMSG_DATA(c), job->fds, job->fd_count * sizeof(int));
	return sendmsg(helper_fd, &message, MSG_NOSIGNAL) >= 0;
}

static bool job_receive(struct job *job, int from)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&job->reply, sizeof(job->reply)};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c;

	if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != sizeof(job->reply))
		return false;
	c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&job->fd, CMSG_DATA(c), sizeof(job->fd));
	return true;
}

/* On a helper thread. */
static void job_run(void *arg)
{
	struct job *job = arg;
	int pair[2];

	job->reply.os = EIO;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		job->reply.os = errno;
		return;
	}
	job->fds[0] = pair[1];
	if (!job_send(job)) {
		job->reply.os = errno;
		close(pair[1]);
	} else {
		close(pair[1]);
		if (!job_receive(job, pair[0]))
			job->reply.os = EPIPE;
	}
	close(pair[0]);
}

static struct job *job_new(enum helper_op op, const struct identity *who)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job) {
		job->request = (struct helper_request){.op = op, .uid = who->uid, .gid = who->gid};
		job->request.group_count = who->group_count;
		if (who->group_count)
			memcpy(job->request.groups, who->groups, who->group_count * sizeof(*who->groups));
		job->fd_count = 1;
		job->fd = -1;
	}
	return job;
}

static bool job_set_text(struct job *job, struct slice text)
{
	if (text.len == 0 || text.len > HELPER_TEXT_MAX)
		return false;
	job->text = malloc(text.len);
	if (!job->text)
		return false;
	memcpy(job->text, text.ptr, text.len);
	job->request.text_len = text.len;
	return true;
}

/* FAIL for a definite no, DEFER for what may pass: as the reactor's own calls. */
static enum rc from_errno(int os, const char *what, const char *path, struct err *err)
{
	bool later = os == ENOSPC || os == EDQUOT || os == EIO || os == EMFILE || os == ENFILE ||
		     os == ENOMEM || os == EPIPE;

	return os ? err_os(err, later ? DEFER : FAIL, os, "%s %s", what, path) : OK;
}

/* The job is freed unless OK. */
static enum rc job_do(struct task *task, struct job *job, const char *what, const char *path, struct err *err)
{
	enum rc rc = offload_call(task, job_run, job, job_free, err);

	if (rc != OK)
		return rc;
	rc = from_errno(job->reply.os, what, path, err);
	if (rc != OK)
		job_free(job);
	return rc;
}

static struct slice with_nul(const char *text)
{
	return slice_make(text, strlen(text) + 1, CLEAN);
}

/* A request about one path, or two. */
static enum rc path_job(struct task *task, const struct identity *who, enum helper_op op, const char *what,
			const char *path, const char *path2, uint32_t flags, mode_t mode,
			struct job **job_ret, struct err *err)
{
	struct job *job = job_new(op, who);
	struct str text = str_make(task->arena);

	str_add(&text, with_nul(path));
	if (path2)
		str_add(&text, with_nul(path2));
	if (!job || text.failed || !job_set_text(job, str_slice(&text))) {
		if (job)
			job_free(job);
		return err_memory(err);
	}
	job->request.flags = flags;
	job->request.mode = mode;
	*job_ret = job;
	return job_do(task, job, what, path, err);
}

static enum rc plain_job(struct task *task, const struct identity *who, enum helper_op op, const char *what,
			 const char *path, const char *path2, mode_t mode, struct err *err)
{
	struct job *job;
	enum rc rc = path_job(task, who, op, what, path, path2, 0, mode, &job, err);

	if (rc == OK)
		job_free(job);
	return rc;
}

/* ---- The calls ------------------------------------------------------------------------------------------------------- */

enum rc user_open(struct task *task, const struct identity *who, const char *path, int flags, mode_t mode,
		  int *fd_ret, struct err *err)
{
	struct job *job;
	enum rc rc;

	if (!who->switched)
		return file_open(task, path, flags, mode, fd_ret, err);
	rc = path_job(task, who, HELPER_OPEN, "open", path, NULL, (uint32_t)flags, mode, &job, err);
	if (rc != OK)
		return rc;
	*fd_ret = job->fd;
	job->fd = -1;
	job_free(job);
	return *fd_ret >= 0 ? OK : err_set(err, DEFER, "the delivery helper gave no descriptor for %s", path);
}

enum rc user_stat(struct task *task, const struct identity *who, const char *path, bool follow,
		  struct stat *stat_ret, struct err *err)
{
	struct job *job;
	enum rc rc;

	if (!who->switched)
		return file_stat(task, path, follow, stat_ret, err);
	rc = path_job(task, who, HELPER_STAT, "stat", path, NULL, follow, 0, &job, err);
	if (rc != OK)
		return rc;
	*stat_ret = job->reply.st;
	job_free(job);
	return OK;
}

enum rc user_mkdir(struct task *task, const struct identity *who, const char *path, mode_t mode,
		   struct err *err)
{
	enum rc rc;
	int fd;

	if (who->switched)
		return plain_job(task, who, HELPER_MKDIR, "mkdir", path, NULL, mode,
				 err); /* the helper's umask is 0 */
	rc = file_mkdir(task, path, mode, err);
	if (rc == OK &&
	    file_open(task, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, &fd, NULL) == OK) {
		(void)fchmod(fd, mode); /* what the umask took away; narrower would be safe */
		(void)close(fd);
	}
	return rc;
}

enum rc user_rename(struct task *task, const struct identity *who, const char *from, const char *to,
		    struct err *err)
{
	return who->switched ? plain_job(task, who, HELPER_RENAME, "rename", from, to, 0, err)
			     : file_rename(task, from, to, err);
}

enum rc user_link(struct task *task, const struct identity *who, const char *from, const char *to,
		  struct err *err)
{
	return who->switched ? plain_job(task, who, HELPER_LINK, "link", from, to, 0, err)
			     : file_link(task, from, to, err);
}

enum rc user_unlink(struct task *task, const struct identity *who, const char *path, struct err *err)
{
	return who->switched ? plain_job(task, who, HELPER_UNLINK, "unlink", path, NULL, 0, err)
			     : file_unlink(task, path, err);
}

enum rc user_chmod(struct task *task, const struct identity *who, const char *path, mode_t mode,
		   struct err *err)
{
	return who->switched ? plain_job(task, who, HELPER_CHMOD, "chmod", path, NULL, mode, err)
			     : err_os(err, FAIL, EPERM, "chmod");
}

void user_tidy(struct task *task, const struct identity *who, const char *path)
{
	struct err err = err_make(NULL);
	uint64_t until = task->until;
	bool cancelled = task->cancelled;

	/* Leftovers of a delivery that was broken off are tidied up too. */
	task->until = UNTIL_NEVER;
	task->cancelled = false;
	if (user_unlink(task, who, path, &err) != OK)
		err.os = 0;
	task->until = until;
	task->cancelled |= cancelled;
}

/* ---- Commands ----------------------------------------------------------------------------------------------------------- */

/* A command of our own, started on a helper thread, since fork() of a large process takes its time. */
struct start {
	struct spawn spawn;
	char *text; /* all the strings */
	char **strings;
	int input, output; /* the child's ends; closed here */
	pid_t pid;
	int os;
};

static void start_free(void *arg)
{
	struct start *start = arg;

	if (start->input >= 0)
		close(start->input);
	if (start->output >= 0)
		close(start->output);
	free(start->text);
	free(start->strings);
	free(start);
}

static void start_run(void *arg)
{
	struct start *start = arg;

	start->pid = spawn_start(&start->spawn);
	start->os = errno;
}

static unsigned count_strings(const char *const *list)
{
	unsigned count = 0;

	while (list[count])
		count++;
	return count;
}

/* directory, arguments, environment: NUL-terminated, one behind the other. */
static struct slice pack_strings(struct arena *arena, const struct command *command)
{
	struct str text = str_make(arena);

	str_add(&text, with_nul(command->directory));
	for (unsigned i = 0; command->argv[i]; i++)
		str_add(&text, with_nul(command->argv[i]));
	for (unsigned i = 0; command->envp[i]; i++)
		str_add(&text, with_nul(command->envp[i]));
	return str_slice(&text);
}

static struct start *start_new(const struct command *command, struct slice text, int input, int output)
{
	unsigned argc = count_strings(command->argv), envc = count_strings(command->envp);
	struct start *start = calloc(1, sizeof(*start));
	char *at, **to;

	if (!start)
		return NULL;
	start->input = start->output = -1;
	start->text = malloc(text.len);
	start->strings = calloc(argc + envc + 2, sizeof(char *));
	if (!start->text || !start->strings) {
		start_free(start);
		return NULL;
	}
	memcpy(start->text, text.ptr, text.len);
	at = start->text + strlen(start->text) + 1;
	to = start->strings;
	for (unsigned i = 0; i < argc + envc; i++, at += strlen(at) + 1) {
		if (i == argc)
			to++; /* the NULL between them */
		*to++ = at;
	}
	start->spawn = (struct spawn){.argv = start->strings,
				      .envp = start->strings + argc + 1,
				      .directory = start->text,
				      .umask = command->umask,
				      .input = input,
				      .output = output};
	start->input = input;
	start->output = output;
	return start;
}

static enum rc spawn_ourselves(struct task *task, const struct identity *who, const struct command *command,
			       struct slice text, int input, int output, struct running *running,
			       struct err *err)
{
	struct start *start = start_new(command, text, input, output);
	enum rc rc;

	if (!start) {
		close(input);
		close(output);
		return err_memory(err);
	}
	/* A command of root's that tests an address, and has no helper. */
	if (geteuid() == 0 && who->uid != 0) {
		start->spawn.switch_ids = true;
		start->spawn.uid = who->uid;
		start->spawn.gid = who->gid;
	}
	rc = offload_call(task, start_run, start, start_free, err);
	if (rc != OK)
		return rc;
	running->pid = start->pid;
	if (start->pid < 0)
		rc = err_os(err, start->os == EAGAIN || start->os == ENOMEM ? DEFER : FAIL, start->os,
			    "exec of %s", command->argv[0]);
	start_free(start);
	if (rc != OK)
		return rc;
	running->pidfd = (int)syscall(SYS_pidfd_open, running->pid, 0);
	return running->pidfd >= 0 ? OK : err_os(err, DEFER, errno, "pidfd_open");
}

static enum rc spawn_by_helper(struct task *task, const struct identity *who, const struct command *command,
			       struct slice text, int input, int output, struct running *running,
			       struct err *err)
{
	struct job *job = job_new(HELPER_SPAWN, who);
	int status[2];
	enum rc rc;

	if (!job || pipe2(status, O_CLOEXEC) != 0) {
		free(job);
		close(input);
		close(output);
		return err_memory(err);
	}
	job->fds[1] = input;
	job->fds[2] = output;
	job->fds[3] = status[1];
	job->fd_count = 4;
	job->request.argc = count_strings(command->argv);
	job->request.envc = count_strings(command->envp);
	job->request.mode = command->umask;
	if (!job_set_text(job, text)) {
		job_free(job);
		close(status[0]);
		return err_set(err, DEFER, "the command is too long");
	}
	rc = job_do(task, job, "exec of", command->argv[0], err);
	if (rc != OK) {
		close(status[0]);
		return rc;
	}
	job_free(job);
	running->status = status[0];
	return OK;
}

enum rc user_spawn(struct task *task, const struct identity *who, const struct command *command,
		   struct running *ret, struct err *err)
{
	struct running running = {.input = -1, .output = -1, .pidfd = -1, .pid = -1, .status = -1};
	struct slice text = pack_strings(task->arena, command);
	int in[2], out[2];
	enum rc rc;

	if (!text.ptr)
		return err_memory(err);
	if (pipe2(in, O_CLOEXEC) != 0)
		return err_os(err, DEFER, errno, "pipe");
	if (pipe2(out, O_CLOEXEC) != 0) {
		int os = errno;
		close(in[0]);
		close(in[1]);
		return err_os(err, DEFER, os, "pipe");
	}
	rc = who->switched ? spawn_by_helper(task, who, command, text, in[0], out[1], &running, err)
			   : spawn_ourselves(task, who, command, text, in[0], out[1], &running, err);
	if (rc != OK) {
		close(in[1]);
		close(out[0]);
		return rc;
	}
	running.input = in[1];
	running.output = out[0];
	*ret = running;
	return OK;
}

enum rc user_wait(struct task *task, struct running *running, int *status_ret, struct err *err)
{
	size_t got = 0;
	enum rc rc;

	if (running->pidfd >= 0) {
		rc = process_wait(task, running->pidfd, status_ret, err);
	} else {
		rc = file_read(task, running->status, status_ret, sizeof(*status_ret), UINT64_MAX, &got, err);
		if (rc == OK && got != sizeof(*status_ret))
			rc = err_set(err, DEFER, "the delivery helper lost its command");
	}
	return rc == FAIL ? DEFER : rc;
}

void user_kill(struct task *task, struct running *running)
{
	if (running->pidfd >= 0) {
		(void)kill(-running->pid, SIGKILL); /* not yet waited for, so the number is still its own */
	} else if (running->status >= 0) {
		file_close(task->shard, running->status); /* the helper sees that nobody waits, and ends it */
		running->status = -1;
	}
}
