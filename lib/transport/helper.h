/* File operations and commands under another user's id. A process that was started as root forks a small helper before it
 * drops root; the helper does, one request at a time, what a local delivery needs, as the user it is for, and hands
 * back descriptors. Without that helper everything is done as ourselves. */
#ifndef TRANSPORT_HELPER_H
#define TRANSPORT_HELPER_H

#include "local.h"

/* Can deliveries run under other ids? */
bool helper_present(void);

/* As the calls of the same names in reactor.h; as who->uid and who->gid when who->switched is set. All park. Paths are
 * absolute. */
NODISCARD enum rc user_open(struct task *task, const struct identity *who, const char *path, int flags,
			    mode_t mode, int *fd_ret, struct err *err);
NODISCARD enum rc user_stat(struct task *task, const struct identity *who, const char *path, bool follow,
			    struct stat *stat_ret, struct err *err);
NODISCARD enum rc user_mkdir(struct task *task, const struct identity *who, const char *path, mode_t mode,
			     struct err *err);
NODISCARD enum rc user_rename(struct task *task, const struct identity *who, const char *from, const char *to,
			      struct err *err);
NODISCARD enum rc user_link(struct task *task, const struct identity *who, const char *from, const char *to,
			    struct err *err);
NODISCARD enum rc user_unlink(struct task *task, const struct identity *who, const char *path,
			      struct err *err);
/* Only for other users: FAIL when !who->switched, since there is fchmod() then. */
NODISCARD enum rc user_chmod(struct task *task, const struct identity *who, const char *path, mode_t mode,
			     struct err *err);
/* Unlinks a leftover (a temporary file, a lock): if that fails, nothing is lost but tidiness. */
void user_tidy(struct task *task, const struct identity *who, const char *path);

/* A command that runs in a process group of its own. input and output are the ends of pipes to its standard input and from
 * its standard output and error. */
struct command {
	const char *const *argv; /* NULL-terminated; argv[0] is the file, absolute */
	const char *const *envp;
	const char *directory; /* absolute */
	mode_t umask;
};
struct running {
	int input, output;
	int pidfd, pid; /* a child of this process; -1: it is the helper's */
	int status;     /* the helper's report; -1: none */
};
/* FAIL: it cannot be executed (err->os). Parks. */
NODISCARD enum rc user_spawn(struct task *task, const struct identity *who, const struct command *command,
			     struct running *running_ret, struct err *err);
/* Its exit status as waitpid() gives it, when it has ended. Parks. The descriptors are the caller's to close. */
NODISCARD enum rc user_wait(struct task *task, struct running *running, int *status_ret, struct err *err);
/* Ends it with all that it started. */
void user_kill(struct task *task, struct running *running);

#endif
