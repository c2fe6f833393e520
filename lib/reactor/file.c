/* Files: each call is one operation of the ring, or a few. What has begun is waited for, since the kernel
 * reads and writes the caller's memory; only reads and writes "where the file stands" (pipes, terminals) can
 * be cut short. */
#include "shard.h"

#include <limits.h>
#include <sys/sysmacros.h>

/* A definite no, as opposed to what may pass: space, memory, descriptors, a disk that has trouble. */
static bool is_definite(int os)
{
	switch (os) {
	case ENOENT:
	case EACCES:
	case EPERM:
	case EEXIST:
	case ENOTDIR:
	case EISDIR:
	case ENOTEMPTY:
	case ENAMETOOLONG:
	case ELOOP:
	case EROFS:
	case EXDEV:
	case EINVAL:
	case EBADF:
	case ENXIO:
	case ENODEV:
	case ESPIPE:
	case EMLINK:
	case EOPNOTSUPP:
	case ETXTBSY:
	case EPIPE:
		return true;
	}
	return false;
}

static enum rc file_failed(struct err *err, enum rc rc, int result, const char *what, const char *path)
{
	if (rc == CANCELLED)
		return rc;
	if (rc == DEFER)
		return err_os(err, DEFER, ETIMEDOUT, "%s %s", what, path);
	return err_os(err, is_definite(-result) ? FAIL : DEFER, -result, "%s %s", what, path);
}

/* One operation on a path, the whole of most functions here. */
static enum rc path_call(struct task *task, struct op_wait *w, const char *what, struct err *err)
{
	enum rc rc = op_call(task, w, false);

	if (rc != OK || w->op.result < 0)
		return file_failed(err, rc, w->op.result, what, w->op.path);
	return OK;
}

enum rc file_open(struct task *task, const char *path, int flags, mode_t mode, int *fd_ret, struct err *err)
{
	struct op_wait w;
	enum rc rc;

	op_init(&w.op, OP_OPEN, -1, NULL);
	w.op.path = path;
	w.op.flags = (uint32_t)flags | O_CLOEXEC;
	w.op.offset = mode;
	rc = path_call(task, &w, "open", err);
	if (rc == OK)
		*fd_ret = w.op.result;
	return rc;
}

enum rc file_read(struct task *task, int fd, void *bytes, size_t len, uint64_t offset, size_t *got_ret,
		  struct err *err)
{
	size_t got = 0;
	struct op_wait w;
	enum rc rc;

	while (got < len) {
		struct iovec iov = {(char *)bytes + got, len - got};

		if (iov.iov_len > INT_MAX / 2)
			iov.iov_len = INT_MAX / 2;
		op_init(&w.op, OP_READ, fd, NULL);
		w.op.iov = &iov;
		w.op.iov_count = 1;
		w.op.offset = offset == UINT64_MAX ? offset : offset + got;
		rc = op_call(task, &w, offset == UINT64_MAX);
		if (rc == OK && (w.op.result == -EINTR || w.op.result == -EAGAIN))
			continue;
		if (rc != OK || w.op.result < 0)
			return file_failed(err, rc, w.op.result, "read", "");
		if (!w.op.result)
			break;
		got += (size_t)w.op.result;
	}
	*got_ret = got;
	return OK;
}

enum rc file_writev_flags(struct task *task, int fd, const struct iovec *iov, unsigned iov_count,
			  uint64_t offset, int rwf_flags, struct err *err)
{
	size_t done = 0; /* of the first piece */
	struct iovec rest;
	struct op_wait w;
	enum rc rc;

	for (;;) {
		while (iov_count && done >= iov->iov_len) {
			done -= iov->iov_len;
			iov++;
			iov_count--;
		}
		if (!iov_count)
			return OK;
		op_init(&w.op, OP_WRITE, fd, NULL);
		w.op.iov = iov;
		w.op.iov_count = iov_count < IOV_MAX ? iov_count : IOV_MAX;
		if (done) { /* a short write: the rest of this piece alone, then the others as they are */
			rest = (struct iovec){(char *)iov->iov_base + done, iov->iov_len - done};
			w.op.iov = &rest;
			w.op.iov_count = 1;
		}
		w.op.offset = offset;
		w.op.flags = (uint32_t)rwf_flags;
		rc = op_call(task, &w, offset == UINT64_MAX);
		if (rc == OK && (w.op.result == -EINTR || w.op.result == -EAGAIN))
			continue;
		if (rc == OK && !w.op.result)
			w.op.result = -ENOSPC; /* it takes nothing and says no why */
		if (rc != OK || w.op.result < 0)
			return file_failed(err, rc, w.op.result, "write", "");
		done += (size_t)w.op.result;
		if (offset != UINT64_MAX)
			offset += (uint64_t)w.op.result;
	}
}

enum rc file_writev(struct task *task, int fd, const struct iovec *iov, unsigned iov_count, uint64_t offset,
		    struct err *err)
{
	return file_writev_flags(task, fd, iov, iov_count, offset, 0, err);
}

static enum rc fd_call(struct task *task, enum op_kind kind, int fd, uint64_t offset, uint32_t flags,
		       const char *what, struct err *err)
{
	struct op_wait w;
	enum rc rc;

	do {
		op_init(&w.op, kind, fd, NULL);
		w.op.offset = offset;
		w.op.flags = flags;
		rc = op_call(task, &w, false);
	} while (rc == OK && w.op.result == -EINTR);
	if (rc != OK || w.op.result < 0)
		return file_failed(err, rc, w.op.result, what, "");
	return OK;
}

enum rc file_sync(struct task *task, int fd, bool data_only, struct err *err)
{
	return fd_call(task, OP_SYNC, fd, 0, data_only, "sync", err);
}

enum rc file_truncate(struct task *task, int fd, uint64_t size, struct err *err)
{
	return fd_call(task, OP_TRUNCATE, fd, size, 0, "truncate", err);
}

enum rc file_allocate(struct task *task, int fd, uint64_t size, struct err *err)
{
	return fd_call(task, OP_ALLOCATE, fd, size, 0, "allocate", err);
}

static enum rc two_paths(struct task *task, enum op_kind kind, const char *from, const char *to,
			 const char *what, struct err *err)
{
	struct op_wait w;

	op_init(&w.op, kind, -1, NULL);
	w.op.path = from;
	w.op.path2 = to;
	return path_call(task, &w, what, err);
}

enum rc file_rename(struct task *task, const char *from, const char *to, struct err *err)
{
	return two_paths(task, OP_RENAME, from, to, "rename", err);
}

enum rc file_link(struct task *task, const char *from, const char *to, struct err *err)
{
	return two_paths(task, OP_LINK, from, to, "link", err);
}

enum rc file_unlink(struct task *task, const char *path, struct err *err)
{
	return two_paths(task, OP_UNLINK, path, NULL, "unlink", err);
}

enum rc file_mkdir(struct task *task, const char *path, mode_t mode, struct err *err)
{
	struct op_wait w;

	op_init(&w.op, OP_MKDIR, -1, NULL);
	w.op.path = path;
	w.op.offset = mode;
	return path_call(task, &w, "mkdir", err);
}

static struct timespec stat_time(struct statx_timestamp t)
{
	return (struct timespec){.tv_sec = t.tv_sec, .tv_nsec = t.tv_nsec};
}

enum rc file_stat(struct task *task, const char *path, bool follow, struct stat *stat_ret, struct err *err)
{
	struct op_wait w;
	struct statx sx;
	enum rc rc;

	if (!task->cancelled) {
		int now = task->shard->backend->stat_now(task->shard, path, follow, stat_ret);
		if (now != -EAGAIN)
			return now ? file_failed(err, OK, now, "stat", path) : OK;
	}
	op_init(&w.op, OP_STAT, -1, NULL);
	w.op.path = path;
	w.op.statx = &sx;
	w.op.flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
	rc = path_call(task, &w, "stat", err);
	if (rc != OK)
		return rc;
	*stat_ret = (struct stat){
	    .st_dev = makedev(sx.stx_dev_major, sx.stx_dev_minor),
	    .st_ino = sx.stx_ino,
	    .st_mode = sx.stx_mode,
	    .st_nlink = sx.stx_nlink,
	    .st_uid = sx.stx_uid,
	    .st_gid = sx.stx_gid,
	    .st_rdev = makedev(sx.stx_rdev_major, sx.stx_rdev_minor),
	    .st_size = (off_t)sx.stx_size,
	    .st_blksize = sx.stx_blksize,
	    .st_blocks = (blkcnt_t)sx.stx_blocks,
	    .st_atim = stat_time(sx.stx_atime),
	    .st_mtim = stat_time(sx.stx_mtime),
	    .st_ctim = stat_time(sx.stx_ctime),
	};
	return OK;
}

void file_close(struct shard *shard, int fd)
{
	shard->backend->close_fd(shard, fd);
}

/* Reads to the end in pieces that double, since what /proc says of a size is 0 and a file may grow meanwhile.
 */
static enum rc slurp_fd(struct task *task, int fd, size_t size_max, struct slice *bytes_ret, struct err *err)
{
	size_t room = size_max < 16384 ? size_max + 1 : 16384, len = 0, got;
	char *bytes = arena_bytes(task->arena, room), *more;
	enum rc rc;

	if (!bytes)
		return err_memory(err);
	for (;;) {
		rc = file_read(task, fd, bytes + len, room - len, len, &got, err);
		if (rc != OK)
			return rc;
		len += got;
		if (len > size_max)
			return err_os(err, FAIL, EFBIG, "read");
		if (len < room)
			break;
		more = arena_bytes(task->arena, room * 2);
		if (!more)
			return err_memory(err);
		memcpy(more, bytes, len);
		bytes = more;
		room *= 2;
	}
	*bytes_ret = slice_make(bytes, len, CLEAN);
	return OK;
}

enum rc file_slurp(struct task *task, const char *path, size_t size_max, struct slice *bytes_ret,
		   struct err *err)
{
	enum rc rc;
	int fd;

	if (size_max > UINT32_MAX)
		size_max = UINT32_MAX;
	rc = file_open(task, path, O_RDONLY, 0, &fd, err);
	if (rc != OK)
		return rc;
	rc = slurp_fd(task, fd, size_max, bytes_ret, err);
	file_close(task->shard, fd);
	return rc;
}
