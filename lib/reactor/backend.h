/* The narrow interface between the reactor and the world. A backend takes operations and, in its run(), calls
 * back for each that has come home. io_uring is one backend, a simulated world with a virtual clock another;
 * epoll with the offload pool will be a third. Nothing above lib/reactor sees this file. */
#ifndef REACTOR_BACKEND_H
#define REACTOR_BACKEND_H

#include "reactor/reactor.h"

enum op_kind {
	OP_ACCEPT,  /* multishot: done() is called for each connection, with more set while it goes on */
	OP_RECV,    /* multishot, into provided buffers: buf is set when result > 0 */
	OP_READ,    /* one read into a vector at an offset; also of pipes and terminals */
	OP_WRITE,
	OP_SEND,    /* a vector, MSG_NOSIGNAL */
	OP_CONNECT,
	OP_POLL,    /* once */
	OP_SYNC,
	OP_ALLOCATE,
	OP_TRUNCATE,
	OP_OPEN,
	OP_CLOSE,
	OP_RENAME,
	OP_LINK,
	OP_UNLINK,
	OP_MKDIR,
	OP_STAT,
};

/* An operation under way. Its memory is the submitter's and must stay until done() has been called without
 * "more". Cancelling does not end an operation, it makes it come home soon. */
struct op {
	enum op_kind kind;
	int fd;
	uint32_t flags;
	uint64_t offset;
	const struct iovec *iov;
	unsigned iov_count;
	const char *path, *path2;
	const struct sockaddr *sa;
	socklen_t sa_len;
	void *out;     /* OP_STAT: struct statx */
	int32_t result; /* as the system call, or -errno */
	struct buf *buf; /* OP_RECV: filled buffer, whose reference goes to done() */
	bool more;	 /* a multishot that goes on */
	bool submitted;	 /* from submit until the last done() */
	uint32_t serial; /* generation: the backend's */
	void (*done)(struct op *op);
};

#endif
