/* The privileged helper: see helper.h. First the side that asks. */
#include "helper.h"

bool helper_present(void)
{
	return false;
}

enum rc transport_helper_start(struct err *err)
{
	(void)err;
	return OK;
}

void transport_helper_stop(void)
{
}

enum rc user_open(struct task *task, const struct identity *who, const char *path, int flags, mode_t mode, int *fd_ret,
		  struct err *err)
{
	(void)who;
	return file_open(task, path, flags, mode, fd_ret, err);
}

enum rc user_stat(struct task *task, const struct identity *who, const char *path, bool follow, struct stat *stat_ret,
		  struct err *err)
{
	(void)who;
	return file_stat(task, path, follow, stat_ret, err);
}

enum rc user_mkdir(struct task *task, const struct identity *who, const char *path, mode_t mode, struct err *err)
{
	(void)who;
	return file_mkdir(task, path, mode, err);
}

enum rc user_rename(struct task *task, const struct identity *who, const char *from, const char *to, struct err *err)
{
	(void)who;
	return file_rename(task, from, to, err);
}

enum rc user_link(struct task *task, const struct identity *who, const char *from, const char *to, struct err *err)
{
	(void)who;
	return file_link(task, from, to, err);
}

enum rc user_unlink(struct task *task, const struct identity *who, const char *path, struct err *err)
{
	(void)who;
	return file_unlink(task, path, err);
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
