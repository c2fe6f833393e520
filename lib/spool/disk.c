/* disk: the spool's view of the world, through the reactor. Listing a directory and asking for free space have no
 * operation in a ring: the first happens at start only, the second does not touch the disk. */
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>

static enum rc real_open(const struct spool_disk *disk, struct task *task, const char *path, int flags,
			 mode_t mode, int *fd_ret, struct err *err)
{
	(void)disk;
	return file_open(task, path, flags | O_CLOEXEC, mode, fd_ret, err);
}

static enum rc real_read(const struct spool_disk *disk, struct task *task, int fd, void *bytes, size_t len,
			 uint64_t offset, size_t *got_ret, struct err *err)
{
	(void)disk;
	return file_read(task, fd, bytes, len, offset, got_ret, err);
}

static enum rc real_write(const struct spool_disk *disk, struct task *task, int fd, const void *bytes,
			  size_t len, uint64_t offset, struct err *err)
{
	struct iovec iov = {(void *)bytes, len};

	(void)disk;
	return file_writev(task, fd, &iov, 1, offset, err);
}

static enum rc real_sync(const struct spool_disk *disk, struct task *task, int fd, struct err *err)
{
	(void)disk;
	return file_sync(task, fd, true, err);
}

static enum rc real_allocate(const struct spool_disk *disk, struct task *task, int fd, uint64_t size,
			     struct err *err)
{
	enum rc rc = file_allocate(task, fd, size, err);

	(void)disk;
	/* Not every file system can: then the file is sparse, and a full disk shows when it is written. */
	if (rc != OK && err->os == EOPNOTSUPP)
		rc = file_truncate(task, fd, size, err);
	return rc;
}

static enum rc real_unlink(const struct spool_disk *disk, struct task *task, const char *path,
			   struct err *err)
{
	(void)disk;
	return file_unlink(task, path, err);
}

static enum rc real_rename(const struct spool_disk *disk, struct task *task, const char *from, const char *to,
			   struct err *err)
{
	(void)disk;
	return file_rename(task, from, to, err);
}

static enum rc real_mkdir(const struct spool_disk *disk, struct task *task, const char *path, mode_t mode,
			  struct err *err)
{
	(void)disk;
	return file_mkdir(task, path, mode, err);
}

static enum rc real_sync_dir(const struct spool_disk *disk, struct task *task, const char *path,
			     struct err *err)
{
	enum rc rc;
	int fd;

	(void)disk;
	rc = file_open(task, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &fd, err);
	if (rc != OK)
		return rc;
	rc = file_sync(task, fd, false, err);
	file_close(task->shard, fd);
	return rc;
}

static void real_close(const struct spool_disk *disk, struct shard *shard, int fd)
{
	(void)disk;
	file_close(shard, fd);
}

static enum rc real_list(const struct spool_disk *disk, const char *path,
			 void (*each)(void *arg, const char *name), void *arg, struct err *err)
{
	DIR *dir = opendir(path);

	(void)disk;
	if (!dir)
		return err_os(err, errno == ENOENT ? FAIL : DEFER, 0, "listing %s", path);
	for (struct dirent *e; (e = readdir(dir));)
		if (e->d_name[0] != '.')
			each(arg, e->d_name);
	closedir(dir);
	return OK;
}

static bool real_space(const struct spool_disk *disk, const char *path, int64_t *bytes_ret,
		       int64_t *inodes_ret)
{
	struct statvfs s;

	(void)disk;
	if (statvfs(path, &s))
		return false;
	*bytes_ret = (int64_t)((uint64_t)s.f_bavail * s.f_frsize);
	*inodes_ret =
	    s.f_files ? (int64_t)s.f_favail : -1; /* no number at all: the file system does not count */
	return true;
}

uint64_t disk_total(const char *directory)
{
	char parent[512];
	struct statvfs s;
	char *slash;

	if (snprintf(parent, sizeof(parent), "%s", directory) >= (int)sizeof(parent))
		return 0;
	while (statvfs(parent, &s)) {
		slash = strrchr(parent, '/');
		if (errno != ENOENT || !slash || slash == parent)
			return 0;
		*slash = 0;
	}
	return (uint64_t)s.f_blocks * s.f_frsize;
}

const struct spool_disk spool_disk_real = {
    .open = real_open,
    .read = real_read,
    .write = real_write,
    .sync = real_sync,
    .allocate = real_allocate,
    .unlink = real_unlink,
    .rename = real_rename,
    .mkdir = real_mkdir,
    .sync_dir = real_sync_dir,
    .close = real_close,
    .list = real_list,
    .space = real_space,
};
