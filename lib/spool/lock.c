/* lock: a spool directory belongs to one process at a time. The kernel lets the lock go with the process, however
 * that ends; the number in the file only helps people. */
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static enum rc somebody_has_it(int fd, const char *path, struct err *err)
{
	char text[32] = "";
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

	text[len > 0 ? len : 0] = 0;
	(void)err_set(err, FAIL, "%s is locked by process %ld", path, strtol(text, NULL, 10));
	err->os = EWOULDBLOCK;
	return FAIL;
}

enum rc spool_lock(const char *directory, int *fd_ret, struct err *err)
{
	char path[SEGMENT_PATH_MAX], text[32];
	enum rc rc = OK;
	int fd, len;

	if (mkdir(directory, 0750) && errno != EEXIST)
		return err_os(err, FAIL, 0, "making %s", directory);
	if (snprintf(path, sizeof(path), "%s/lock", directory) >= (int)sizeof(path))
		return err_set(err, FAIL, "the spool directory's name is too long");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_os(err, FAIL, 0, "opening %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		rc = errno == EWOULDBLOCK ? somebody_has_it(fd, path, err)
					  : err_os(err, FAIL, 0, "locking %s", path);
		close(fd);
		return rc;
	}
	len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	/* A full disk must not keep us from draining the queue: the lock holds without the number. */
	if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)len, 0) != len)
		errno = 0;
	*fd_ret = fd;
	return OK;
}

void spool_unlock(int fd)
{
	close(fd);
}
