/* ring: what the load generator and the floor program share: one io_uring with a ring of provided buffers. Not
 * sluice's engine, on purpose: they are the measure, and must not change with what is measured. */
#ifndef PERF_RING_H
#define PERF_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

enum { RING_BUF_SIZE = 16384 };

struct ring {
	struct io_uring uring;
	struct io_uring_buf_ring *bufs;
	char *bytes;
	unsigned count;
};

/* Ends the program with a message when the kernel will not. */
void ring_init(struct ring *ring, unsigned entries, unsigned buf_count);
/* Room for one more request; submits what is queued when there is none. */
struct io_uring_sqe *ring_sqe(struct ring *ring);
static inline char *ring_buf(const struct ring *ring, unsigned id)
{
	return ring->bytes + (size_t)id * RING_BUF_SIZE;
}
/* Back to the kernel. */
void ring_buf_return(struct ring *ring, unsigned id);
/* A multishot receive into provided buffers. */
void ring_recv(struct ring *ring, int fd, uint64_t user_data);

_Noreturn void die(const char *what, int os);
uint64_t now_ns(void);

#endif
