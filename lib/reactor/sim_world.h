/* What the files of the simulation share. */
#ifndef REACTOR_SIM_WORLD_H
#define REACTOR_SIM_WORLD_H

#include "shard.h"
#include "sim.h"

#define SIM_FD_BASE   (1 << 20)
#define SIM_FD_MAX    4096
#define SOCKET_WINDOW (256u * 1024) /* bytes under way or unread in one direction */

/* Something that happens at a certain time. */
struct sim_event {
	struct link link; /* in world->events, by time */
	uint64_t at;
	void (*fn)(struct world *world, struct sim_event *event);
};

/* An operation under way: it waits for its time, or for something to change. */
struct sim_op {
	struct sim_event event;
	struct link waiting; /* in world->waiting when it is not for a time */
	struct op *op;
	uint64_t synced; /* OP_SYNC: what had been written when it was submitted */
	bool connected;
};

struct packet {
	struct sim_event event;
	struct link link; /* in to->input once it has arrived */
	struct sim_socket *to;
	uint32_t len, off;
	bool end, reset;
	char bytes[];
};

struct sim_socket {
	struct sim_socket *peer; /* NULL: gone, or not connected */
	struct link input;       /* packets that have arrived */
	struct link backlog;     /* a listener's: sockets that wait to be accepted */
	struct link link;        /* in a backlog */
	uint64_t arrival;        /* of the last packet sent to us: none overtakes another */
	uint32_t room;           /* that may still be sent to us */
	struct ip_addr at;       /* a listener's */
	unsigned flying;         /* packets on their way to us */
	bool listens, black_hole, ended, reset, shut, resets, closed;
};

/* A change that no sync has covered yet. */
struct change {
	struct change *next;
	uint64_t number; /* in the order of completion */
	uint64_t offset, len;
	bool resize; /* to len */
	char bytes[];
};

struct image {
	char *bytes;
	uint64_t len;
};

struct sim_inode {
	struct image now, durable;
	struct change *changes, **changes_last;
	unsigned names, opened;
	mode_t mode;
	uint64_t number;
	struct sim_inode *next; /* of all */
};

struct sim_name {
	struct sim_name *next;
	struct sim_inode *inode;
	char path[];
};

struct sim_fd {
	struct sim_socket *socket;
	struct sim_inode *inode;
	uint64_t offset;
	int flags;
	bool open;
};

struct offer {
	struct buf *buf;
	unsigned number;
};

struct world {
	struct world_options options;
	struct shard *shard; /* that runs in it */
	uint64_t now, random;
	struct link events, waiting;
	struct sim_fd fds[SIM_FD_MAX];
	struct offer *offers; /* first in, first out */
	unsigned offer_first, offer_count, offer_size;
	struct link listeners; /* through sim_socket.link */
	struct sim_name *names;
	struct sim_inode *inodes;
	uint64_t disk_used, change_count, inode_count;
	unsigned disk_ops, disk_fail_in;
	int disk_fail_os;
	bool stuck, woken;
};

static inline struct world *world_of(struct shard *shard)
{
	return shard->options.world;
}

void event_add(struct world *world, struct sim_event *event, uint64_t at,
	       void (*fn)(struct world *, struct sim_event *));
struct sim_fd *sim_fd(struct world *world, int fd); /* NULL: EBADF */
int sim_fd_new(struct world *world, struct sim_socket *socket, struct sim_inode *inode, int flags);

/* ---- sim_net.c ---- */
/* Whether the operation can end now; its result then. */
bool net_try(struct world *world, struct sim_op *sop);
ssize_t net_send(struct world *world, int fd, const struct iovec *iov, unsigned iov_count);
struct sim_socket *net_socket(void);
void net_shutdown(struct world *world, struct sim_socket *socket);
void net_close(struct world *world, struct sim_socket *socket);
void net_clear(struct world *world);

/* ---- sim_disk.c ---- */
void disk_do(struct world *world, struct sim_op *sop);
void disk_close(struct world *world, struct sim_inode *inode);
void disk_clear(struct world *world);

#endif
