/* spool: accepted messages, durable. Append-only segment files per shard with group commit, an index in memory,
 * recovery, import and export of Exim's -H/-D files. Knows nothing of SMTP, routers or headers: an entry is an
 * id, an envelope blob (the text of an Exim -H file, which lib/message makes and reads), a body, and small
 * records about what became of it.
 *
 * One struct spool per shard, opened on it; all calls from its fibers. Segments of shards that do not exist any
 * more (the number of shards changed) are adopted at open by the shard that their number falls to.
 *
 * Promises (the rest of sluice relies on them; tests cite the numbers):
 * (1) spool_commit() says OK only after a sync that was submitted once the commit record's write had completed.
 * (2) A record counts if and only if its checksum and sequence are right; the first that does not ends a segment.
 * (3) A segment is reused only after a sync that covers the end of every message in it, or its move elsewhere.
 * (4) An outcome that spool_outcome() took is on disk before any later commit of the shard is; a crash may
 *     repeat a delivery whose outcome was still in memory, but never loses a message. */
#ifndef SPOOL_SPOOL_H
#define SPOOL_SPOOL_H

#include "reactor/reactor.h"

struct spool;

struct spool_options {
	const char *directory; /* absolute; made (0750) if missing */
	uint64_t segment_size; /* bytes; 0: 64 MiB, or a 64th of a small file system */
	uint64_t
	    space_min; /* keep so many bytes of the file system free; less: DEFER (option check_spool_space) */
	uint64_t inodes_min; /* the same for inodes */
	bool sync;           /* false only where the option disable_fsync says so */
	bool read_only;      /* look, change nothing: no lock is needed, and nothing may be stored */
};

/* Exclusive ownership of a spool directory by one process (flock on "lock"): FAIL, with the owner's pid in err and
 * EWOULDBLOCK in err->os, while another has it. The descriptor is kept until spool_unlock(). Does not park; once per process. */
NODISCARD enum rc spool_lock(const char *directory, int *fd_ret, struct err *err);
void spool_unlock(int fd);

/* What is kept in memory for each message in the queue, as small as can be: 100,000 are ordinary. */
struct spool_entry {
	struct message_id id;
	uint32_t envelope_len;
	uint64_t body_len;
	uint64_t received;      /* seconds since the epoch */
	uint32_t outcome_count; /* outcome records so far */
	bool frozen;            /* set by spool_mark() */
	void *user;             /* the owner's (lib/deliver's) own record */
	struct link link;       /* in the spool's list, oldest first */
};

/* Opens the shard's part and recovers it: each message found is told to found() (on this fiber), oldest first.
 * err tells of damage that was left aside, even with OK. Parks. */
NODISCARD enum rc spool_open(struct task *task, const struct spool_options *options,
			     void (*found)(void *arg, struct spool_entry *entry), void *arg,
			     struct spool **spool_ret, struct err *err);
/* Waits for what is under way and syncs; before the shard stops, since the spool has a fiber that runs. No call on the
 * spool may be under way. Parks. */
void spool_close(struct task *task, struct spool *spool);

/* ---- Writing --------------------------------------------------------------------------------------- */

/* A piece of a body, still in the buffer that it was received into (buf may be NULL: other memory, which
 * then has to stay until the call that was given it has returned). */
struct frag {
	struct buf *buf;
	const char *ptr;
	uint32_t len;
};

/* A large body on its way in: written as it comes, so that memory stays bounded. spill_append() parks until the
 * pieces are written (not synced). Ended by spool_commit(), or by spill_cancel(), which frees the room. */
struct spill;
NODISCARD enum rc spill_begin(struct task *task, struct spool *spool, struct spill **spill_ret,
			      struct err *err);
NODISCARD enum rc spill_append(struct task *task, struct spill *spill, const struct frag *frags,
			       unsigned frag_count, struct err *err);
void spill_cancel(struct spill *spill);

/* Stores a message: envelope, then what was spilled (or NULL), then the body pieces. Parks until it is durable;
 * OK is the only licence to answer 250. DEFER: no space, disk error, deadline; nothing was kept. FAIL: the envelope
 * is too large (16 MiB, or a segment), or the id is there already. CANCELLED only while nothing of it is on its way
 * to the disk; what is, is waited for, and may be OK although the task was cancelled: the message is there then, and
 * the caller's to deliver. The spill is over in any case. */
NODISCARD enum rc spool_commit(struct task *task, struct spool *spool, const struct message_id *id,
			       uint64_t received, const struct iovec *envelope, unsigned envelope_count,
			       struct spill *spill, const struct frag *frags, unsigned frag_count,
			       struct spool_entry **entry_ret, struct err *err);

/* ---- What became of it ------------------------------------------------------------------------------ */

#define SPOOL_OUTCOME_MAX 65536
/* Appends a small record (at most SPOOL_OUTCOME_MAX) to the message's history: a delivery's outcome, a retry item... the
 * bytes are the caller's format. Written with the next group commit, or within a second. Does not park; with
 * wait_durable, parks until synced. */
NODISCARD enum rc spool_outcome(struct task *task, struct spool *spool, struct spool_entry *entry,
				struct slice record, bool wait_durable, struct err *err);
/* Replaces the envelope (header edits, recipients changed by the command line). Parks until durable. */
NODISCARD enum rc spool_rewrite(struct task *task, struct spool *spool, struct spool_entry *entry,
				struct slice envelope, struct err *err);
void spool_mark(struct spool *spool, struct spool_entry *entry, bool frozen);
/* The message is over; the entry is freed. The record rides on the next commit. */
void spool_done(struct spool *spool, struct spool_entry *entry);

/* ---- Reading ----------------------------------------------------------------------------------------- */

struct spool_entry *spool_find(struct spool *spool, const struct message_id *id);
struct spool_entry *spool_first(struct spool *spool); /* oldest, or NULL */
struct spool_entry *spool_next(struct spool *spool, struct spool_entry *entry);
unsigned spool_count(const struct spool *spool);

/* The envelope blob into task->arena; and each outcome record in order. Parks. DEFER: disk error, bad checksum. */
NODISCARD enum rc spool_envelope(struct task *task, struct spool *spool, struct spool_entry *entry,
				 struct slice *ret, struct err *err);
NODISCARD enum rc spool_outcomes(struct task *task, struct spool *spool, struct spool_entry *entry,
				 void (*each)(void *arg, struct slice record), void *arg, struct err *err);
/* Bytes of the body from offset on, at most size; *got_ret 0 at the end. Parks. */
NODISCARD enum rc spool_body(struct task *task, struct spool *spool, struct spool_entry *entry,
			     uint64_t offset, void *bytes, size_t size, size_t *got_ret, struct err *err);

/* Free bytes and inodes of the file system, -1 where unknown. As of the last look (at most a second ago). */
void spool_space(struct spool *spool, int64_t *bytes_ret, int64_t *inodes_ret);

struct spool_stats {
	uint64_t commits, syncs, bytes_written; /* syncs: groups of records that were made durable together */
	uint64_t failures;                      /* groups that were not */
	uint64_t segments, segments_free;
	uint64_t compactions; /* messages moved on so that a segment could be used again */
	uint64_t recovered, recovered_damaged, recovery_ns; /* of the start: messages, segments, how long */
};
void spool_stats(const struct spool *spool, struct spool_stats *stats_ret);
/* The same for whoever watches: what the shard counts (metrics/metrics.h), brought up to date with each group. */
extern const struct metric_table spool_metric_table;

/* ---- Exim's queue files ------------------------------------------------------------------------------ */

/* Writes the message as ID-D and ID-H into the directory (absolute, must exist): the envelope as it is, since it is
 * the text of an -H file, and the body behind its first line. Both are new files of that mode, synced; -H is the
 * last to appear, by renaming hdr.ID, so that who sees it sees a whole pair. Parks. DEFER: anything that went
 * wrong; nothing is left behind then. */
NODISCARD enum rc spool_export(struct task *task, struct spool *spool, struct spool_entry *entry,
			       const char *directory, mode_t mode, struct err *err);

/* A pair of Exim's files (ID-H, ID-D, and perhaps ID-J), of either form of id. */
struct spool_pair {
	struct message_id id;
	struct slice header; /* text of -H, whose first line was found right */
	struct slice
	    journal; /* text of -J: addresses that were delivered since -H was written; empty if there is none */
	uint64_t body_len;
};
struct spool_import {
	const char *
	    directory; /* absolute: an input directory, or one of its subdirectories by letter, or any other */
	bool subdirectories; /* those with names of one letter too, as split_spool_directory makes them */
	void *arg;
	/* Makes the envelope to be stored (in task->arena) and the time of reception out of a pair. May park. FAIL,
	 * with the reason in err: no proper -H text; the files stay where they are. */
	enum rc (*read)(void *arg, struct task *task, const struct spool_pair *pair,
			struct slice *envelope_ret, uint64_t *received_ret, struct err *err);
	/* Each pair's end: the new entry, or NULL and why not (FAIL: the files make no sense; DEFER: somebody has them
	 * locked, no room... next time). */
	void (*told)(void *arg, const struct message_id *id, struct spool_entry *entry, enum rc rc,
		     const struct err *err);
};
/* Takes in all pairs that are whole and that nobody has locked: stored durably first, then removed, -H first. After a
 * crash in between, a message is found twice and taken once. Parks. OK: the directory was gone through. */
NODISCARD enum rc spool_import(struct task *task, struct spool *spool, const struct spool_import *import,
			       struct err *err);

#endif
