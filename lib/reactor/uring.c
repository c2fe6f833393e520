/* The io_uring backend. One ring per shard, made by the thread that uses it; everything asked for in a round
 * goes to the kernel in one call, which also waits and runs the kernel's deferred work.
 *
 * The kernel is never given the address of an operation, but a number and a generation: what comes home late,
 * or twice, finds its generation gone and is dropped. */
#include "shard.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <liburing.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define GROUP         0           /* of provided buffers: one is enough */
#define BATCH         64          /* completions copied out of the ring at a time */
#define WORKERS_MAX   4           /* io-wq threads a shard may have of each kind */
#define OP_FTRUNCATE  55          /* IORING_OP_FTRUNCATE, Linux 6.9; newer than this liburing's headers */
#define FOR_NOBODY    0xffffffffu /* in place of a number: nobody waits for this completion */
#define FOR_WAKE      0xfffffffeu /* the generation is the peer that we could not wake through its ring */
#define CLOSE_WAIT_MS 1000        /* how long the end of a shard waits for what it cancelled */

struct op_slot {
	struct op *op; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
	uint32_t cancelled; /* in this round of the loop */
};

struct uring {
	struct io_uring ring;
	struct io_uring_buf_ring *bufs;
	unsigned bufs_size, bufs_added; /* added since the kernel was last told */
	struct op_slot *slots;
	uint32_t slot_count, slot_free, under_way;
	uint32_t round;               /* how often completions were taken */
	struct io_uring_cqe *backlog; /* taken out of the ring to make room, not yet told to their owners */
	unsigned backlog_count, backlog_size;
	struct op wake;
	struct iovec wake_iov;
	uint64_t wake_value;
	bool accept_once; /* multishot accept is broken here */
	bool has_ftruncate;
};

static inline struct uring *uring_of(struct shard *shard)
{
	return shard->world;
}

/* ---- The submission queue ---- */

/* Makes room in the completion queue when the kernel refuses to take more before it has some. */
static void take_backlog(struct uring *u)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = io_uring_cq_ready(&u->ring);

	if (u->backlog_count + count > u->backlog_size) {
		unsigned size = (u->backlog_count + count) * 2;
		struct io_uring_cqe *backlog = realloc(u->backlog, size * sizeof(*backlog));

		ASSERT(backlog); /* bounded by what is under way */
		u->backlog = backlog;
		u->backlog_size = size;
	}
	count = 0;
	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		if (u->backlog_count == u->backlog_size)
			break;
		u->backlog[u->backlog_count++] = *cqe;
		count++;
	}
	io_uring_cq_advance(&u->ring, count);
}

static struct io_uring_sqe *sqe_get(struct shard *shard)
{
	struct uring *u = uring_of(shard);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	shard->stats.submissions++;
	while (UNLIKELY(!sqe)) {
		shard->stats.sq_full++;
		if (io_uring_submit(&u->ring) < 0) {
			take_backlog(u);
			(void)io_uring_get_events(
			    &u->ring); /* runs deferred work; errors show at the next submit */
		}
		sqe = io_uring_get_sqe(&u->ring);
	}
	return sqe;
}

static inline uint64_t user_data(uint32_t place, uint32_t generation)
{
	return (uint64_t)generation << 32 | place;
}

/* Nobody is interested in how this one ends. */
static void sqe_for_nobody(struct io_uring_sqe *sqe)
{
	sqe->user_data = user_data(FOR_NOBODY, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void slots_grow(struct uring *u)
{
	uint32_t count = u->slot_count ? u->slot_count * 2 : 256;
	struct op_slot *slots = realloc(u->slots, count * sizeof(*slots));

	ASSERT(slots); /* as many as there are sockets, 16 bytes each */
	for (uint32_t i = u->slot_count; i < count; i++)
		slots[i] = (struct op_slot){.next_free = i + 1};
	u->slots = slots;
	u->slot_free = u->slot_count;
	u->slot_count = count;
}

static uint64_t slot_take(struct uring *u, struct op *op)
{
	struct op_slot *slot;

	if (u->slot_free == u->slot_count)
		slots_grow(u);
	slot = &u->slots[u->slot_free];
	op->place = u->slot_free;
	u->slot_free = slot->next_free;
	slot->op = op;
	u->under_way++;
	return user_data(op->place, slot->generation);
}

static void slot_give(struct uring *u, struct op *op)
{
	struct op_slot *slot = &u->slots[op->place];

	slot->op = NULL;
	slot->generation++;
	slot->next_free = u->slot_free;
	u->slot_free = op->place;
	u->under_way--;
}

static void prep_rw(struct io_uring_sqe *sqe, const struct op *op)
{
	bool write = op->kind == OP_WRITE;

	/* A single piece is spared the kernel's import of a vector. */
	if (op->iov_count == 1)
		io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, op->fd, op->iov->iov_base,
				 (unsigned)op->iov->iov_len, op->offset);
	else
		io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, op->fd, op->iov,
				 op->iov_count, op->offset);
	sqe->rw_flags = (int)op->flags;
}

static void prep_accept(struct uring *u, struct io_uring_sqe *sqe, const struct op *op)
{
	io_uring_prep_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
	if (!u->accept_once)
		sqe->ioprio |= IORING_ACCEPT_MULTISHOT;
}

static void prep_truncate(struct uring *u, struct io_uring_sqe *sqe, struct op *op)
{
	if (u->has_ftruncate) {
		io_uring_prep_rw(OP_FTRUNCATE, sqe, op->fd, NULL, 0, op->offset);
		return;
	}
	/* Older kernels: done here, and the answer comes home the same way. */
	op->result = ftruncate(op->fd, (off_t)op->offset) ? -errno : 0;
	io_uring_prep_nop(sqe);
}

static void prep(struct uring *u, struct io_uring_sqe *sqe, struct op *op)
{
	switch ((enum op_kind)op->kind) {
	case OP_ACCEPT:
		prep_accept(u, sqe, op);
		break;
	case OP_RECV:
		io_uring_prep_recv_multishot(sqe, op->fd, NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = GROUP;
		break;
	case OP_READ:
	case OP_WRITE:
		prep_rw(sqe, op);
		break;
	case OP_SEND:
		if (op->iov_count == 1) {
			io_uring_prep_send(sqe, op->fd, op->iov->iov_base, op->iov->iov_len,
					   MSG_NOSIGNAL | MSG_WAITALL);
			break;
		}
		*op->msg = (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)op->iov,
					   .msg_iovlen = op->iov_count};
		io_uring_prep_sendmsg(sqe, op->fd, op->msg, MSG_NOSIGNAL | MSG_WAITALL);
		break;
	case OP_CONNECT:
		io_uring_prep_connect(sqe, op->fd, op->sa, op->iov_count);
		break;
	case OP_POLL:
		io_uring_prep_poll_add(sqe, op->fd, op->flags);
		break;
	case OP_SYNC:
		io_uring_prep_fsync(sqe, op->fd, op->flags ? IORING_FSYNC_DATASYNC : 0);
		break;
	case OP_ALLOCATE:
		io_uring_prep_fallocate(sqe, op->fd, 0, 0, (off_t)op->offset);
		break;
	case OP_TRUNCATE:
		prep_truncate(u, sqe, op);
		break;
	case OP_OPEN:
		io_uring_prep_openat(sqe, AT_FDCWD, op->path, (int)op->flags, (mode_t)op->offset);
		break;
	case OP_RENAME:
		io_uring_prep_renameat(sqe, AT_FDCWD, op->path, AT_FDCWD, op->path2, 0);
		break;
	case OP_LINK:
		io_uring_prep_linkat(sqe, AT_FDCWD, op->path, AT_FDCWD, op->path2, 0);
		break;
	case OP_UNLINK:
		io_uring_prep_unlinkat(sqe, AT_FDCWD, op->path, 0);
		break;
	case OP_MKDIR:
		io_uring_prep_mkdirat(sqe, AT_FDCWD, op->path, (mode_t)op->offset);
		break;
	case OP_STAT:
		io_uring_prep_statx(sqe, AT_FDCWD, op->path, (int)op->flags, STATX_BASIC_STATS, op->statx);
		break;
	}
}

static void uring_submit(struct shard *shard, struct op *op)
{
	struct uring *u = uring_of(shard);
	struct io_uring_sqe *sqe;

	ASSERT(!op->under_way);
	op->under_way = true;
	op->cancelling = op->more = false;
	op->buf = NULL;
	sqe = sqe_get(shard);
	prep(u, sqe, op);
	sqe->user_data = slot_take(u, op);
}

/* Also when it was cancelled before: a multishot that was just being requeued is not found. Once in a round: what a receive has
 * completed before the kernel hears of it is often thirty buffers. */
static void cancel_again(struct shard *shard, struct op *op)
{
	struct uring *u = uring_of(shard);
	struct io_uring_sqe *sqe = sqe_get(shard);

	u->slots[op->place].cancelled = u->round;
	io_uring_prep_cancel64(sqe, user_data(op->place, u->slots[op->place].generation), 0);
	sqe_for_nobody(sqe);
}

static void uring_cancel(struct shard *shard, struct op *op)
{
	if (!op->under_way || op->cancelling)
		return;
	op->cancelling = true;
	cancel_again(shard, op);
}

/* ---- Completions ---- */

static void wake_failed(struct shard *shard, uint32_t peer)
{
	uint64_t one = 1;

	if (peer < shard->peer_count)
		(void)!write(shard->peers[peer]->wake_fd, &one, sizeof(one)); /* full: it will wake anyhow */
}

static void complete(struct shard *shard, const struct io_uring_cqe *cqe)
{
	struct uring *u = uring_of(shard);
	uint32_t place = (uint32_t)cqe->user_data, generation = (uint32_t)(cqe->user_data >> 32);
	struct buf *buf = NULL;
	struct op *op;

	if (place == FOR_NOBODY)
		return;
	if (place == FOR_WAKE) {
		wake_failed(shard, generation);
		return;
	}
	shard->stats.completions++;
	if (cqe->flags & IORING_CQE_F_BUFFER)
		buf = buf_taken(shard, cqe->flags >> IORING_CQE_BUFFER_SHIFT,
				cqe->res > 0 ? (size_t)cqe->res : 0);
	if (place >= u->slot_count || u->slots[place].generation != generation || !u->slots[place].op) {
		if (buf)
			buf_unref(buf);
		return;
	}
	op = u->slots[place].op;
	if (op->kind != OP_TRUNCATE || u->has_ftruncate)
		op->result = cqe->res;
	op->more = cqe->flags & IORING_CQE_F_MORE;
	op->buf = buf;
	if (op->more) {
		if (op->cancelling && u->slots[place].cancelled != u->round)
			cancel_again(shard, op);
	} else {
		op->under_way = false;
		slot_give(u, op);
		if (op->kind == OP_RECV)
			shard->stats.multishot_ended++;
	}
	op->done(op);
}

static void bufs_publish(struct uring *u)
{
	if (u->bufs_added)
		io_uring_buf_ring_advance(u->bufs, (int)u->bufs_added);
	u->bufs_added = 0;
}

static void uring_offer(struct shard *shard, struct buf *buf, unsigned number)
{
	struct uring *u = uring_of(shard);

	io_uring_buf_ring_add(u->bufs, buf->bytes, buf->size, (unsigned short)number,
			      io_uring_buf_ring_mask(shard->options.buf_count), (int)u->bufs_added++);
}

/* Completions are copied out before anyone is told, since those who are told submit more, which may need the
 * ring's room. */
static void complete_all(struct shard *shard)
{
	struct uring *u = uring_of(shard);
	struct io_uring_cqe *cqes[BATCH], copies[BATCH];
	unsigned count, left = u->ring.cq.ring_entries;

	u->round++;
	for (unsigned i = 0; i < u->backlog_count; i++) {
		struct io_uring_cqe cqe = u->backlog[i]; /* the array may move meanwhile */

		complete(shard, &cqe);
	}
	u->backlog_count = 0;
	do {
		count = io_uring_peek_batch_cqe(&u->ring, cqes, BATCH);
		for (unsigned i = 0; i < count; i++)
			copies[i] = *cqes[i];
		io_uring_cq_advance(&u->ring, count);
		for (unsigned i = 0; i < count; i++)
			complete(shard, &copies[i]);
		left = left > count ? left - count : 0;
	} while (count == BATCH && left);
}

static void uring_run(struct shard *shard, uint64_t until)
{
	struct uring *u = uring_of(shard);
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;
	uint64_t now;

	bufs_publish(u);
	if (io_uring_cq_has_overflow(&u->ring))
		shard->stats.overflow++;
	if (until && !u->backlog_count) {
		now = shard->backend->now(shard);
		if (until == UNTIL_NEVER || until - now > 3600 * NS_PER_S)
			until = until > now ? now + 3600 * NS_PER_S : now;
		now = until > now ? until - now : 0;
		ts.tv_sec = (int64_t)(now / NS_PER_S);
		ts.tv_nsec = (long)(now % NS_PER_S);
		(void)io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts,
						       NULL); /* ETIME, EINTR: a round */
	} else {
		(void)io_uring_submit_and_get_events(&u->ring); /* EBUSY: room is made now */
	}
	complete_all(shard);
}

/* ---- Waking ---- */

static void wake_done(struct op *op)
{
	struct uring *u = CONTAINER_OF(op, struct uring, wake);
	struct shard *shard = shard_here();

	op_init(&u->wake, OP_POLL, shard->wake_fd, wake_done);
	u->wake.flags = POLLIN;
	(void)!read(shard->wake_fd, &u->wake_value, sizeof(u->wake_value)); /* does not block; may be empty */
	uring_submit(shard, &u->wake);
}

static void uring_wake(struct shard *from, struct shard *to)
{
	int ring_fd = atomic_load(&to->ring_fd);
	struct io_uring_sqe *sqe;
	uint64_t one = 1;

	if (!from || ring_fd < 0 || !from->open) {
		(void)!write(to->wake_fd, &one, sizeof(one)); /* full: it will wake anyhow */
		return;
	}
	sqe = sqe_get(from);
	io_uring_prep_msg_ring(sqe, ring_fd, 0, user_data(FOR_NOBODY, 0), 0);
	sqe->user_data = user_data(FOR_WAKE, to->options.id);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* ---- Open and close ---- */

/* Multishot accept together with deferred task work handed out wrong descriptors from 6.6 to 6.8-rc3. */
static bool accept_is_broken(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major == 6 && (minor == 6 || minor == 7);
}

static enum rc ring_make(struct shard *shard, struct uring *u, struct err *err)
{
	struct io_uring_params params = {
	    .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
		     IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
	    .cq_entries = shard->options.ring_entries * 8,
	};
	unsigned workers[2] = {WORKERS_MAX, WORKERS_MAX};
	struct io_uring_probe *probe;
	int rc;

	rc = io_uring_queue_init_params(shard->options.ring_entries, &u->ring, &params);
	if (rc < 0) {
		if (reactor_probe(err) == OK)
			return err_os(err, DEFER, -rc, "io_uring_setup");
		return FAIL;
	}
	(void)io_uring_ring_dontfork(&u->ring);    /* only spares a child the pages */
	(void)io_uring_register_ring_fd(&u->ring); /* only spares the kernel a look-up */
	(void)io_uring_register_iowq_max_workers(&u->ring, workers);
	probe = io_uring_get_probe_ring(&u->ring);
	u->has_ftruncate = probe && probe->last_op >= OP_FTRUNCATE;
	io_uring_free_probe(probe);
	u->accept_once = accept_is_broken();
	return OK;
}

static enum rc buf_ring_make(struct shard *shard, struct uring *u, struct err *err)
{
	struct io_uring_buf_reg reg = {.ring_entries = shard->options.buf_count, .bgid = GROUP};
	size_t size = shard->options.buf_count * sizeof(struct io_uring_buf);
	int rc;

	size = (size + 4095) & ~4095ul;
	u->bufs = aligned_alloc(4096, size);
	if (!u->bufs)
		return err_memory(err);
	memset(u->bufs, 0, size);
	reg.ring_addr = (uintptr_t)u->bufs;
	rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
	if (rc < 0)
		return err_os(err, DEFER, -rc, "registering receive buffers");
	io_uring_buf_ring_init(u->bufs);
	return OK;
}

static enum rc uring_open(struct shard *shard, struct err *err)
{
	struct uring *u = calloc(1, sizeof(*u));
	enum rc rc;

	if (!u)
		return err_memory(err);
	rc = ring_make(shard, u, err);
	if (rc != OK) {
		free(u);
		return rc;
	}
	rc = buf_ring_make(shard, u, err);
	if (rc != OK) {
		io_uring_queue_exit(&u->ring);
		free(u->bufs);
		free(u);
		return rc;
	}
	shard->world = u;
	op_init(&u->wake, OP_POLL, shard->wake_fd, wake_done);
	u->wake.flags = POLLIN;
	uring_submit(shard, &u->wake);
	atomic_store(&shard->ring_fd, u->ring.ring_fd);
	return OK;
}

/* A ring outlives its process for a moment, and its listeners go on taking connections, only to reset them;
 * also the kernel still writes where it was told to. So all is cancelled and waited for, and nobody is told.
 */
static void end_all(struct shard *shard, struct uring *u)
{
	uint64_t until = shard->backend->now(shard) + CLOSE_WAIT_MS * NS_PER_MS;
	struct __kernel_timespec ts = {.tv_nsec = 10 * (long)NS_PER_MS};
	struct io_uring_cqe *cqe;

	while (u->under_way && shard->backend->now(shard) < until) {
		struct io_uring_sqe *sqe = sqe_get(shard);
		unsigned left;

		io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
		sqe_for_nobody(sqe);
		(void)io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
		take_backlog(u);
		left = u->backlog_count;
		for (unsigned i = 0; i < left; i++) {
			uint32_t place = (uint32_t)u->backlog[i].user_data;

			if (place >= u->slot_count || !u->slots[place].op ||
			    u->slots[place].generation != u->backlog[i].user_data >> 32)
				continue;
			if (u->slots[place].op->kind == OP_ACCEPT && u->backlog[i].res >= 0)
				close(u->backlog[i].res);
			if (!(u->backlog[i].flags & IORING_CQE_F_MORE))
				slot_give(u, u->slots[place].op);
		}
		u->backlog_count = 0;
	}
}

static void uring_close(struct shard *shard)
{
	struct uring *u = uring_of(shard);

	atomic_store(&shard->ring_fd, -1);
	end_all(shard, u);
	io_uring_queue_exit(&u->ring);
	free(u->bufs);
	free(u->slots);
	free(u->backlog);
	free(u);
	shard->world = NULL;
}

/* ---- What never waits ---- */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t uring_now(struct shard *shard)
{
	(void)shard;
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t uring_wall(struct shard *shard)
{
	(void)shard;
	return clock_ns(CLOCK_REALTIME);
}

static void uring_random(struct shard *shard, void *bytes, size_t len)
{
	(void)shard;
	while (len) {
		ssize_t n = getrandom(bytes, len, 0);

		ASSERT(n > 0 || errno == EINTR);
		if (n > 0) {
			bytes = (char *)bytes + n;
			len -= (size_t)n;
		}
	}
}

static bool uring_is_socket(struct shard *shard, int fd)
{
	struct stat st;

	(void)shard;
	return !fstat(fd, &st) && S_ISSOCK(st.st_mode);
}

/* What of a file system is in this machine's memory is the truth about it. */
static bool is_local(int fd)
{
	static const unsigned magics[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,       BTRFS_SUPER_MAGIC,
					  TMPFS_MAGIC,      OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC};
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0)
		return false;
	for (unsigned i = 0; i < ARRAY_COUNT(magics); i++)
		if ((unsigned)fs.f_type == magics[i])
			return true;
	return false;
}

/* The ring has a worker thread do it, which takes two switches of threads, twenty times as long as the call. With
 * RESOLVE_CACHED the kernel gives up where it would have to wait. */
static int uring_stat_now(struct shard *shard, const char *path, bool follow, struct stat *stat_ret)
{
	struct open_how how = {.flags = (uint64_t)(O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW)),
			       .resolve = RESOLVE_CACHED};
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how)), result = 0;

	(void)shard;
	if (fd < 0) /* what else may be wrong, or new to this kernel, the ring will tell */
		return errno == ENOENT ? -ENOENT : -EAGAIN;
	if (!is_local(fd) || fstat(fd, stat_ret) != 0)
		result = -EAGAIN;
	close(fd);
	return result;
}

static ssize_t uring_send_now(struct shard *shard, int fd, const struct iovec *iov, unsigned iov_count)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
			     .msg_iovlen = iov_count < IOV_MAX ? iov_count : IOV_MAX};
	ssize_t n;

	struct pollfd room = {.fd = fd, .events = POLLOUT};

	(void)shard;
	do
		n = iov_count == 1 ? send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
				   : sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	/* A pipe or terminal: one that has room takes so much without waiting (pipe(7)). */
	if (n < 0 && errno == ENOTSOCK && iov_count == 1 && iov->iov_len <= PIPE_BUF)
		n = poll(&room, 1, 0) == 1 ? write(fd, iov->iov_base, iov->iov_len) : 0;
	return n < 0 ? -errno : n;
}

static int uring_socket(struct shard *shard, int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	(void)shard;
	if (fd < 0)
		return -errno;
	if (family != AF_UNIX) /* what is written is complete: waiting for more only costs time */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int uring_bind(struct shard *shard, int fd, const struct sockaddr *sa, socklen_t len)
{
	int one = 1;

	(void)shard;
	/* Choose the port at connect(), when the peer is known: else ports run out at one per local address.
	 */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, sa, len) ? -errno : 0;
}

/* What is accepted inherits it, so it costs no call per connection. */
static void uring_prepare_listener(struct shard *shard, int fd)
{
	int one = 1;

	(void)shard;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* not TCP: as good */
}

static void uring_shutdown(struct shard *shard, int fd, int how)
{
	(void)shard;
	(void)shutdown(fd, how); /* not connected any more: as good */
}

static void uring_set_reset(struct shard *shard, int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	(void)shard;
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* else it is closed politely */
}

static void uring_close_fd(struct shard *shard, int fd)
{
	struct io_uring_sqe *sqe;

	if (!shard->open) {
		close(fd);
		return;
	}
	sqe = sqe_get(shard);
	io_uring_prep_close(sqe, fd);
	sqe_for_nobody(sqe);
}

const struct backend backend_uring = {
    .name = "io_uring",
    .open = uring_open,
    .close = uring_close,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .run = uring_run,
    .wake = uring_wake,
    .now = uring_now,
    .wall = uring_wall,
    .random = uring_random,
    .offer = uring_offer,
    .is_socket = uring_is_socket,
    .send_now = uring_send_now,
    .stat_now = uring_stat_now,
    .socket = uring_socket,
    .bind = uring_bind,
    .prepare_listener = uring_prepare_listener,
    .shutdown = uring_shutdown,
    .set_reset = uring_set_reset,
    .close_fd = uring_close_fd,
};
