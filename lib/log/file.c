/* The log files: their names, and keeping the open descriptor and the name together. */

#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

const char *const log_stream_names[STREAM_COUNT + 1] = {"main", "reject", "panic", "debug"};

/* One for the process: its descriptors are the process's too. See inside.h for who writes it. */
struct log_process log_process = {.fds = {-1, -1, -1}};

/* ---- Names
 * ------------------------------------------------------------------------------------------------- */

/* The panic log's name goes without the date, and without the byte that set it off: the one behind it when it
 * stood at the start of a path component, else the one in front. */
static void drop_date(char *path, size_t *len, const char **rest)
{
	if (*len > 0 && path[*len - 1] == '/') {
		if (**rest && !ascii_is_alnum(**rest))
			(*rest)++;
	} else if (*len > 0 && !ascii_is_alnum(path[*len - 1])) {
		(*len)--;
	}
}

bool log_path(char path[LOG_PATH_MAX], const struct log_conf *conf, unsigned stream, const struct tm *tm)
{
	char form[LOG_PATH_MAX];
	const char *rest = form;
	size_t len = 0;

	if (conf->path.len >= sizeof(form))
		return false;
	memcpy(form, conf->path.ptr, conf->path.len);
	form[conf->path.len] = 0;
	while (*rest && len + 16 < LOG_PATH_MAX) {
		if (rest[0] != '%' || !strchr("sDM", rest[1]) || !rest[1]) {
			path[len++] = *rest++;
			continue;
		}
		rest += 2;
		if (rest[-1] == 's')
			len += (size_t)snprintf(path + len, 16, "%s", log_stream_names[stream]);
		else if (stream == STREAM_PANIC)
			drop_date(path, &len, &rest);
		else if (rest[-1] == 'D')
			len += (size_t)snprintf(path + len, 16, "%04d%02d%02d", tm->tm_year + 1900,
						tm->tm_mon + 1, tm->tm_mday);
		else
			len +=
			    (size_t)snprintf(path + len, 16, "%04d%02d", tm->tm_year + 1900, tm->tm_mon + 1);
	}
	path[len] = 0;
	return !*rest;
}

/* ---- Ownership
 * --------------------------------------------------------------------------------------------- */

/* What root makes shall be writable once root is dropped. */
static void give_away(const struct conf *conf, int fd)
{
	const struct conf_main *group = conf_main(conf);
	struct stat st;

	if (geteuid() != 0 || !group->exim_user.set || group->exim_user.expand.ptr)
		return;
	if (fstat(fd, &st) != 0 || st.st_uid != 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return;
	/* If it cannot be given away, opening it again later will say so. */
	(void)!fchown(fd, group->exim_user.id, group->exim_group.set ? group->exim_group.id : (gid_t)-1);
}

/* The directories on the way to the file that do not exist yet. */
static void make_parents(const struct conf *conf, const char *path)
{
	char dir[LOG_PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", path);
	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int fd;

		*slash = 0;
		if (mkdir(dir, 0750) == 0) {
			fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (fd >= 0) {
				give_away(conf, fd);
				(void)close(fd); /* nothing was written */
			}
		}
		*slash = '/';
	}
}

#define FILE_FLAGS (O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY)

/* Puts the open file under the stream's number, and gives the number it came with back. */
static enum rc put_under(enum log_stream stream, int fd, struct err *err)
{
	int number = log_process.fds[stream], rc;

	if (number < 0) {
		log_process.fds[stream] = fd;
		return OK;
	}
	/* dup3() closes what was there and puts the new file in its place in one step, for all threads. */
	rc = dup3(fd, number, O_CLOEXEC);
	(void)close(fd); /* the file lives on under the other number */
	return rc >= 0 ? OK : err_os(err, DEFER, 0, "dup3");
}

static enum rc cannot_open(enum log_stream stream, const char *path, int os, struct err *err)
{
	return err_os(err, os == ENOENT || os == EACCES || os == EISDIR ? FAIL : DEFER, os,
		      "Cannot open %s log file \"%s\"", log_stream_names[stream], path);
}

enum rc log_file_reopen(const struct conf *conf, enum log_stream stream, const struct tm *tm, struct err *err)
{
	char path[LOG_PATH_MAX];
	int fd;

	if (!log_path(path, log_conf_of(conf), stream, tm))
		return err_set(err, FAIL, "log_file_path is too long");
	fd = open(path, FILE_FLAGS, 0640);
	if (fd < 0 && errno == ENOENT) {
		make_parents(conf, path);
		fd = open(path, FILE_FLAGS, 0640);
	}
	if (fd < 0)
		return cannot_open(stream, path, errno, err);
	give_away(conf, fd);
	return put_under(stream, fd, err);
}

enum rc log_file_open(struct task *task, const struct conf *conf, const char *path, int *fd_ret,
		      struct err *err)
{
	enum rc rc = file_open(task, path, FILE_FLAGS, 0640, fd_ret, err);

	if (rc != OK && err->os == ENOENT) {
		/* Rare enough (the whole directory is gone) for calls that block. */
		make_parents(conf, path);
		rc = file_open(task, path, FILE_FLAGS, 0640, fd_ret, err);
	}
	if (rc == OK)
		give_away(conf, *fd_ret);
	return rc;
}

enum rc log_file_check(struct task *task, const struct conf *conf, enum log_stream stream,
		       const struct tm *tm, struct err *err)
{
	char *path = (char *)arena_alloc(task->arena, LOG_PATH_MAX, 1);
	struct stat there, here;
	struct err why = err_make(task->arena);
	enum rc rc;
	int fd;

	if (!path)
		return err_memory(err);
	if (!log_path(path, log_conf_of(conf), stream, tm))
		return err_set(err, FAIL, "log_file_path is too long");
	rc = file_stat(task, path, true, &there, &why);
	if (rc == OK && fstat(log_process.fds[stream], &here) == 0 && here.st_dev == there.st_dev &&
	    here.st_ino == there.st_ino)
		return OK;
	rc = log_file_open(task, conf, path, &fd, &why);
	if (rc != OK)
		return cannot_open(stream, path, why.os, err);
	return put_under(stream, fd, err);
}

bool log_space(const struct conf *conf, int64_t *bytes_ret, int64_t *inodes_ret)
{
	int fd = atomic_load_explicit(&log_process.fds[STREAM_MAIN], memory_order_relaxed);
	const struct log_conf *group = log_conf_of(conf);
	const struct tm any = {.tm_mday = 1};
	char path[LOG_PATH_MAX], *slash;
	struct statvfs st;
	bool found;

	if (!group || !group->path.ptr)
		return false;
	if (fd >= 0) {
		found = fstatvfs(fd, &st) == 0;
	} else {
		slash = log_path(path, group, STREAM_MAIN, &any) ? strrchr(path, '/') : NULL;
		if (slash)
			*slash = 0;
		found = slash && slash > path && statvfs(path, &st) == 0;
	}
	if (!found)
		return false;
	*bytes_ret = (int64_t)((uint64_t)st.f_bavail * st.f_frsize);
	*inodes_ret = st.f_files ? (int64_t)st.f_favail : -1;
	return true;
}
