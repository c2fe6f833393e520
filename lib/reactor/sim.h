/* The simulated world of BACKEND_SIM, for the tests of this room and of those above: a clock that moves only
 * when everybody waits, a network and a disk in memory, and one seed that decides all delays and mishaps. A
 * shard runs in it unchanged: what drives a socket or a file here drives the kernel's in production.
 *
 * One shard at a time runs in a world. Descriptors of a world are numbers far above those of the system. */
#ifndef REACTOR_SIM_H
#define REACTOR_SIM_H

#include "reactor/reactor.h"

struct world;

struct world_options {
	uint64_t seed;
	uint64_t net_delay_max;  /* ns; each packet takes up to this; 0: 1 ms */
	uint64_t disk_delay_max; /* ns; each operation takes up to this; 0: 5 ms */
	uint32_t packet_max;     /* bytes; what is sent is cut into pieces of 1 to so many; 0: 1460 */
	uint64_t disk_size;      /* bytes of all files, past which is ENOSPC; 0: no end */
};

struct world *world_new(const struct world_options *options);
void world_free(struct world *world);
/* Options for a shard in it. */
struct shard_options world_shard(struct world *world);

uint64_t world_random(struct world *world, uint64_t below);
/* true when the shard was stopped because everybody waited and nothing was ever going to happen. */
bool world_stuck(const struct world *world);

/* ---- The network ---- */

void world_socketpair(struct world *world, int fds_ret[2]);
/* A listening socket for listener_new(); connect_tcp() to this address reaches it. */
int world_listen(struct world *world, const struct ip_addr *at);
/* Connecting there is neither accepted nor refused. */
void world_black_hole(struct world *world, const struct ip_addr *at);

/* ---- The disk ---- */

/* The n-th disk operation from now (1: the next one) fails with this errno; 0 calls it off. */
void world_disk_fail(struct world *world, unsigned n, int os);
unsigned world_disk_ops(const struct world *world); /* so far */
/* Each write and change of size that no sync has covered is kept, lost or, a write, torn, as the seed wants
 * it. A sync covers what had completed when it was submitted. Names (create, rename, link, unlink) are kept.
 * Sockets are gone. The shard has to be stopped by then. */
void world_power_cut(struct world *world);

#endif
