/* The narrow interface between the reactor and the world. A backend takes operations and, in its run(), calls
 * back for each that has come home. io_uring is one backend, a simulated world with a virtual clock another;
 * epoll with the offload pool will be a third. Nothing above lib/reactor sees this file. */
#ifndef REACTOR_BACKEND_H
#define REACTOR_BACKEND_H

#include "reactor/reactor.h"

enum op_kind {
	OP_ACCEPT, /* multishot: done() is called for each connection, with more set while it goes on */
	OP_RECV,   /* multishot, into provided buffers: buf is set when result > 0 */
	OP_READ,   /* one read into a vector at an offset; also of pipes and terminals */
	OP_WRITE,  /* flags: RWF_... */
	OP_SEND,   /* a vector, MSG_NOSIGNAL; all of it, unless cancelled */
	OP_CONNECT,
	OP_POLL,     /* once; flags: POLLIN and so on, result: the same */
	OP_SYNC,     /* flags: 1 for data only */
	OP_ALLOCATE, /* offset: the new size */
	OP_TRUNCATE, /* offset: the new size */
	OP_OPEN,     /* flags: O_..., mode in offset */
	OP_RENAME,
	OP_LINK,
	OP_UNLINK,
	OP_MKDIR, /* mode in offset */
	OP_STAT,  /* flags: AT_SYMLINK_NOFOLLOW or 0 */
};

/* An operation under way. Its memory, and what it points to, is the submitter's and must stay until done()
 * has been called without "more". Cancelling does not end an operation, it makes it come home soon. */
struct op {
	void (*done)(struct op *op);
	const struct iovec *iov;
	union {
		const char *path;
		const struct sockaddr *sa;
	};
	const char *path2;
	struct statx *statx;
	struct buf *buf;    /* OP_RECV: filled buffer, whose reference goes to done() */
	uint64_t offset;    /* UINT64_MAX: where the file stands */
	uint32_t iov_count; /* OP_CONNECT: the length of sa */
	uint32_t flags;
	int fd;
	int32_t result;     /* as the system call, or -errno */
	uint32_t place;     /* the backend's: where it keeps the operation while it is under way */
	uint8_t kind;       /* enum op_kind */
	bool more;          /* a multishot that goes on */
	bool under_way;     /* from submit() until the last done() */
	bool cancelling;    /* cancel() was called since */
	struct msghdr *msg; /* the backend's, OP_SEND: lives beside the operation, see struct op_wait */
};

struct backend {
	const char *name;
	bool no_threads; /* one thread, one order of things: what may block is called where it is asked for */
	/* On the shard's own thread. The state hangs on shard->world. */
	enum rc (*open)(struct shard *shard, struct err *err);
	/* Ends what is under way without telling anyone, then frees all. */
	void (*close)(struct shard *shard);

	void (*submit)(struct shard *shard, struct op *op);
	void (*cancel)(struct shard *shard, struct op *op);
	/* Hands over what was submitted, waits until something comes home, but no longer than until (0: not
	 * at all), and calls done() for everything that did. */
	void (*run)(struct shard *shard, uint64_t until);
	/* Makes to's run() return. from is NULL when called on a thread that is no shard's. Any thread. */
	void (*wake)(struct shard *from, struct shard *to);

	uint64_t (*now)(struct shard *shard);  /* monotonic, ns */
	uint64_t (*wall)(struct shard *shard); /* since the epoch, ns */
	void (*random)(struct shard *shard, void *bytes, size_t len);

	/* The buffer is offered for OP_RECV under this number, until it comes back in an operation. */
	void (*offer)(struct shard *shard, struct buf *buf, unsigned number);

	/* What never waits. Results as the system call, or -errno. */
	bool (*is_socket)(struct shard *shard, int fd);
	ssize_t (*send_now)(struct shard *shard, int fd, const struct iovec *iov, unsigned iov_count);
	/* -EAGAIN: it would have to be fetched from a disk, or is another machine's. */
	int (*stat_now)(struct shard *shard, const char *path, bool follow, struct stat *stat_ret);
	int (*socket)(struct shard *shard, int family);
	int (*bind)(struct shard *shard, int fd, const struct sockaddr *sa, socklen_t len);
	void (*prepare_listener)(struct shard *shard, int fd);
	void (*shutdown)(struct shard *shard, int fd, int how);
	void (*set_reset)(struct shard *shard, int fd); /* closing sends RST */
	void (*close_fd)(struct shard *shard, int fd);
};

extern const struct backend backend_uring;
extern const struct backend backend_sim;

/* For OP_SEND the message header must outlive the submission too; for all others the vector is enough. */
static inline void op_init(struct op *op, enum op_kind kind, int fd, void (*done)(struct op *))
{
	*op = (struct op){.kind = (uint8_t)kind, .fd = fd, .done = done};
}

#endif
