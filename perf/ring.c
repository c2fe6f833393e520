/* ring: one io_uring with a ring of provided buffers. */

#include "ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

void die(const char *what, int os)
{
	fprintf(stderr, "%s: %s\n", what, strerror(os));
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void ring_init(struct ring *ring, unsigned entries, unsigned buf_count)
{
	struct io_uring_params params = {
	    .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
	    .cq_entries = entries * 8,
	};
	size_t size = buf_count * sizeof(struct io_uring_buf);
	int rc = io_uring_queue_init_params(entries, &ring->uring, &params);

	if (rc < 0)
		die("io_uring", -rc);
	ring->count = buf_count;
	ring->bufs = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	ring->bytes = mmap(NULL, (size_t)buf_count * RING_BUF_SIZE, PROT_READ | PROT_WRITE,
			   MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (ring->bufs == MAP_FAILED || ring->bytes == MAP_FAILED)
		die("mmap", errno);
	struct io_uring_buf_reg reg = {
	    .ring_addr = (uintptr_t)ring->bufs, .ring_entries = buf_count, .bgid = 0};
	rc = io_uring_register_buf_ring(&ring->uring, &reg, 0);
	if (rc < 0)
		die("io_uring buffers", -rc);
	io_uring_buf_ring_init(ring->bufs);
	for (unsigned i = 0; i < buf_count; i++)
		io_uring_buf_ring_add(ring->bufs, ring_buf(ring, i), RING_BUF_SIZE, (unsigned short)i,
				      io_uring_buf_ring_mask(buf_count), (int)i);
	io_uring_buf_ring_advance(ring->bufs, (int)buf_count);
}

struct io_uring_sqe *ring_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	while (!sqe) {
		int rc = io_uring_submit(&ring->uring);
		if (rc < 0 && rc != -EINTR && rc != -EBUSY && rc != -EAGAIN)
			die("io_uring_submit", -rc);
		sqe = io_uring_get_sqe(&ring->uring);
	}
	return sqe;
}

void ring_buf_return(struct ring *ring, unsigned id)
{
	io_uring_buf_ring_add(ring->bufs, ring_buf(ring, id), RING_BUF_SIZE, (unsigned short)id,
			      io_uring_buf_ring_mask(ring->count), 0);
	io_uring_buf_ring_advance(ring->bufs, 1);
}

void ring_recv(struct ring *ring, int fd, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(ring);

	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 0;
	io_uring_sqe_set_data64(sqe, user_data);
}
