/* Files that belong to users: a .forward in a home directory that only its owner may enter is read with the owner's rights,
 * where the process can get at them. */
#include <errno.h>
#include <unistd.h>

#include "routing.h"

/* Set once, before any thread is started, and read by all of them. */
static const struct user_files *helper;

void route_use_user_files(const struct user_files *files)
{
	helper = files;
}

enum rc file_reader_init(struct routing *r, struct file_reader *reader)
{
	struct address probe = {.full = SLICE_EMPTY};

	*reader = (struct file_reader){.switched = false};
	if (!helper)
		return OK;
	if (!router_set_owner(r, &probe))
		return DEFER;
	reader->uid = probe.uid;
	reader->gid = probe.gid;
	/* The helper does nothing as root; what root owns is for everybody to read, or not meant for us. */
	reader->switched =
	    probe.uid_set && probe.gid_set && probe.uid != 0 && probe.gid != 0 && probe.uid != geteuid();
	return OK;
}

enum rc file_reader_stat(struct routing *r, const struct file_reader *reader, const char *path,
			 struct stat *ret)
{
	return reader->switched ? helper->stat(r->sc->task, reader->uid, reader->gid, path, ret, r->err)
				: file_stat(r->sc->task, path, true, ret, r->err);
}

enum rc file_reader_slurp(struct routing *r, const struct file_reader *reader, const char *path,
			  size_t size_max, struct slice *ret)
{
	struct task *task = r->sc->task;
	struct stat st;
	size_t got = 0;
	char *bytes;
	int fd;
	enum rc rc;

	if (!reader->switched)
		return file_slurp(task, path, size_max, ret, r->err);
	rc = helper->open(task, reader->uid, reader->gid, path, O_RDONLY | O_CLOEXEC, 0, &fd, r->err);
	if (rc != OK)
		return rc;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > size_max) {
		file_close(task->shard, fd);
		return err_set(r->err, DEFER, "%s is not a regular file, or too large", path);
	}
	bytes = arena_bytes(task->arena, (size_t)st.st_size + 1);
	rc = bytes ? file_read(task, fd, bytes, (size_t)st.st_size, 0, &got, r->err) : err_memory(r->err);
	file_close(task->shard, fd);
	if (rc == OK)
		*ret = slice_make(bytes, got, TAINTED);
	return rc;
}

enum rc file_reader_append(struct scope *sc, const struct file_reader *reader, const char *path, mode_t mode,
			   struct slice text, struct err *err)
{
	const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
	struct iovec iov = {.iov_base = (void *)text.ptr, .iov_len = text.len};
	int fd;
	enum rc rc;

	rc = reader->switched ? helper->open(sc->task, reader->uid, reader->gid, path, flags, mode, &fd, err)
			      : file_open(sc->task, path, flags, mode, &fd, err);
	if (rc != OK)
		return rc;
	rc = file_writev(sc->task, fd, &iov, 1, UINT64_MAX, err);
	file_close(sc->task->shard, fd);
	return rc;
}
