/* Outgoing connections. */
#include "shard.h"

#include <sys/un.h>

/* Whether it is our own shortage, which passes, and says nothing about the peer. */
static bool is_ours(int os)
{
	return os == EMFILE || os == ENFILE || os == ENOBUFS || os == ENOMEM || os == EADDRNOTAVAIL ||
	       os == EAGAIN;
}

static enum rc failed(struct err *err, int os, const char *what)
{
	return err_os(err, is_ours(os) ? DEFER : FAIL, os, "%s", what);
}

static enum rc connect_fd(struct task *task, int fd, const struct sockaddr *sa, socklen_t len, int *fd_ret,
			  struct err *err)
{
	struct shard *shard = task->shard;
	struct op_wait w;
	enum rc rc;

	op_init(&w.op, OP_CONNECT, fd, NULL);
	w.op.sa = sa;
	w.op.iov_count = len;
	rc = op_call(task, &w, true);
	if (rc == OK && w.op.result >= 0) {
		*fd_ret = fd;
		return OK;
	}
	shard->backend->close_fd(shard, fd);
	if (rc == DEFER)
		return err_os(err, DEFER, ETIMEDOUT, "connect");
	if (rc != OK)
		return rc;
	return failed(err, -w.op.result, "connect");
}

enum rc connect_tcp(struct task *task, const struct ip_addr *to, const struct ip_addr *from, int *fd_ret,
		    struct err *err)
{
	const struct backend *backend = task->shard->backend;
	struct sockaddr_storage sa;
	socklen_t len;
	int fd, rc;

	if (task->cancelled)
		return CANCELLED;
	fd = backend->socket(task->shard, to->family == 4 ? AF_INET : AF_INET6);
	if (fd < 0)
		return failed(err, -fd, "socket");
	if (from && from->family) {
		len = ip_to_sockaddr(from, &sa);
		rc = backend->bind(task->shard, fd, (struct sockaddr *)&sa, len);
		if (rc < 0) {
			backend->close_fd(task->shard, fd);
			/* An address that is not ours will not be ours tomorrow; a port in use passes. */
			return err_os(err, rc == -EADDRINUSE ? DEFER : FAIL, -rc, "bind");
		}
	}
	len = ip_to_sockaddr(to, &sa);
	return connect_fd(task, fd, (struct sockaddr *)&sa, len, fd_ret, err);
}

enum rc connect_unix(struct task *task, struct slice path, int *fd_ret, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd;

	if (task->cancelled)
		return CANCELLED;
	if (path.len >= sizeof(sa.sun_path))
		return err_os(err, FAIL, ENAMETOOLONG, "connect");
	memcpy(sa.sun_path, path.ptr, path.len);
	fd = task->shard->backend->socket(task->shard, AF_UNIX);
	if (fd < 0)
		return failed(err, -fd, "socket");
	return connect_fd(task, fd, (struct sockaddr *)&sa, sizeof(sa), fd_ret, err);
}
