/* log: what the files of this room share. A spool is one or more logs: the shard's own, to which new messages go,
 * and those of shards that do not exist any more, whose messages stay where they are: what becomes of them is
 * written to their own log, so that every log can be understood by itself whatever the number of shards is. */
#ifndef SPOOL_LOG_H
#define SPOOL_LOG_H

#include "spool/spool.h"
#include "disk.h"
#include "record.h"

/* A group is written when this much is gathered; a longer one is only made for a record that is longer itself. */
#define GROUP_SIZE (1024u * 1024)
/* What is stored in one piece, envelope aside; a longer body is written ahead of its commit in such steps. */
#define REQUEST_BODY_MAX (512u * 1024)
#define PENDING_SIZE_MAX \
	(4u * 1024 * 1024) /* outcomes that wait for a group; more: the disk does not keep up */
#define PENDING_SIZE_URGENT (128u * 1024) /* no waiting for company any more */
#define FLUSH_AFTER_MS      1000
#define FREE_SEGMENTS_MAX   16 /* kept for reuse; more are what a long queue has left behind */
#define SEGMENT_SLACK       4  /* segments of dead records that are not worth moving anything for */

struct segment {
	struct link link;     /* in log->segments, or in log->free */
	struct link messages; /* those whose oldest part is here */
	struct log *log;
	uint64_t number; /* 0: never used */
	uint64_t first_seq, life;
	uint32_t file; /* the number in its name */
	uint32_t size, index_at;
	uint32_t used;       /* where the next group goes, or where records end */
	uint32_t zero_until; /* what lies below was written once: overwriting it changes no metadata */
	unsigned holds;      /* readers, spills: not to be reused */
	int fd_read, fd_write;
	bool damaged; /* records are missing in it: set aside instead of used again */
};

struct log_file {
	uint32_t shard, file; /* of the name */
};

/* A record (len: its payload), or an extent of a body. segment NULL: it was lost. */
struct place {
	struct segment *segment;
	uint32_t offset, len;
};

struct outcome {
	struct outcome *next;
	struct place place;
};

struct message {
	struct spool_entry entry; /* first */
	struct log *log;
	uint64_t serial;
	struct link in_segment;
	struct segment *oldest;
	struct place commit, rewrite;             /* the envelope is in the rewrite, if there is one */
	struct outcome *outcomes, *outcomes_last; /* those that came after the commit */
	union {
		struct place one;
		struct place *many;
	} body;
	uint32_t extent_count;
	uint64_t bytes;   /* on disk: body and commit */
	uint32_t version; /* changes with whatever a move would have to take along */
	uint32_t pending; /* records about it that are not written yet */
	uint32_t pins;    /* fibers that look at it across a park */
	bool done, gone;  /* over; and that is on the disk */
	bool damaged;
	bool has_embedded; /* outcomes in the commit */
};

enum request_kind { REQUEST_COMMIT, REQUEST_SPILL, REQUEST_REWRITE, REQUEST_FLUSH, REQUEST_MOVE };

/* What a fiber waits for, in its own memory. */
struct request {
	struct link link; /* in log->requests, or, once taken into a group, in log->taken */
	struct log *log;  /* while it is in log->requests */
	enum request_kind kind;
	bool taken, done;
	enum rc rc;
	struct err *err;
	struct waitq waiters;
	size_t need; /* bytes of the group */

	const struct message_id *id;
	uint64_t received;
	const struct iovec *envelope;
	unsigned envelope_count;
	uint32_t envelope_len;
	const struct frag *frags;
	unsigned frag_count;
	uint32_t body_len;       /* of frags */
	struct spill *spill;     /* COMMIT: what comes before frags */
	struct message *message; /* COMMIT: result. MOVE, REWRITE: whose */
	struct slice outcomes;   /* MOVE */
	uint32_t version;        /* MOVE: of the message when it was read */
	bool damaged;            /* MOVE */
	uint64_t flush_target;

	struct place
	    *extents; /* COMMIT, MOVE: of the whole body; the writer fills in the last if there are frags */
	uint32_t extent_count;
	struct place record, body; /* where the writer put them */
	uint64_t record_seq;
};

struct spill {
	struct spool *spool;
	struct log *log;
	struct place *extents; /* the first one's segment is held */
	uint32_t extent_count, extent_room;
	uint64_t len;
	bool moving;    /* belongs to a move, which may use the last reserve of room */
	bool busy;      /* a fiber is in spill_append() */
	bool cancelled; /* meanwhile: that fiber frees */
};

/* Records without a fiber of their own that wait for the next group: items in one buffer. */
struct pending_item {
	struct message *message;
	uint32_t type, len; /* followed by len bytes of payload, padded to 8 */
	uint32_t offset;    /* in the segment, once it is in a group */
	uint32_t reserved;
};

struct log {
	struct spool *spool;
	struct link link; /* in spool->logs */
	uint32_t shard;
	struct link segments, free; /* by number; those never used last */
	unsigned segment_count, free_count;
	struct segment *active;
	uint64_t next_number, next_seq;
	uint32_t next_file;
	uint64_t live_bytes;
	unsigned message_count;

	struct link requests, taken;
	unsigned request_count; /* in requests */
	char *pending;
	uint32_t pending_len, pending_room, pending_taken;
	uint64_t pending_base;        /* bytes that were ever written and dropped: positions for FLUSH */
	struct link done, done_taken; /* messages that are over, by entry.link */
	bool due;

	struct task task; /* the writer's */
	struct arena arena;
	struct waitq work, idle;
	struct timer flush;
	bool closing, closing_failed, failing, writer_runs, compactor_runs;
	uint64_t compact_after, no_space_until;
	int no_space_why;

	char *group; /* aligned */
	uint32_t group_room, group_len;
	uint64_t group_seq;   /* of its first record */
	unsigned group_count; /* of its records, but for a RESUME */
	bool resumes;         /* active was found at the start, and nothing has been written to it since */
	bool index_dirty;     /* active's has changed since it was written or found */
	char *index;          /* struct index_head and items of the active segment */
	uint32_t index_room, index_len, index_items;
	uint32_t group_index_len, group_index_items; /* as they were before the group */
	char *zeros;
};

struct spool_metrics {
	struct tally commits, groups, failures, bytes, moves, segments, segments_free, waiting;
	struct tally recovered, damaged, recovery_ms;
};

struct spool {
	struct shard *shard;
	const struct spool_disk *disk;
	struct spool_options options;
	char *segments_path;
	struct log *own;
	struct link logs;
	struct link entries; /* by entry.link, oldest first */
	struct map by_id;
	unsigned count;
	struct message *message_pool;
	struct outcome *outcome_pool;
	struct slab *slabs;
	bool direct, synced; /* how segments are opened */
	bool sync_apart;     /* instead: write, then fdatasync */
	bool no_zeros;       /* do not write new segments ahead */
	uint64_t space_checked;
	int64_t space_bytes, space_inodes;
	struct spool_stats stats;
	struct spool_metrics *metrics, own_metrics;
};

/* ---- segment.c ---- */
#define SEGMENT_PATH_MAX 512 /* the directory has at most 400 of them */
void segment_path(const struct segment *segment, char path[SEGMENT_PATH_MAX]);
struct segment *segment_new(struct log *log, uint32_t file);
void segment_free(struct segment *segment);
/* Makes a file of the full size, which goes to the end of log->free. Parks. DEFER: no room. */
NODISCARD enum rc segment_create(struct log *log, struct err *err);
/* Takes the next free segment into use as log->active. DEFER: there is none. Parks. */
NODISCARD enum rc segment_activate(struct log *log, struct err *err);
/* A new life of the active segment, in which nothing has been written. */
void segment_begin(struct log *log);
/* Goes on without an active segment. */
void segment_leave(struct log *log);
/* Writes the index of the active segment, as far as that works, and leaves it. Parks. */
void segment_seal(struct log *log);
NODISCARD enum rc segment_open_write(struct segment *segment, struct err *err);
/* Renames the file, so that nothing here takes it for a segment any more. Parks. */
NODISCARD enum rc segment_set_aside(struct segment *segment, struct err *err);
NODISCARD enum rc segment_open_read(struct task *task, struct segment *segment, struct err *err);
/* Reads the record and checks it; bytes is its head and payload, in the arena. Parks. */
NODISCARD enum rc record_read(struct task *task, const struct place *place, struct arena *arena,
			      char **payload_ret, struct err *err);
/* Takes what is there, and sets *damaged if it is not what it was. DEFER: it cannot be read now. */
NODISCARD enum rc record_read_raw(struct task *task, const struct place *place, struct arena *arena,
				  char **payload_ret, bool *damaged, struct err *err);
/* Segments at the front that nothing lives in become free. */
void log_trim(struct log *log);
static inline unsigned log_keep_free(const struct log *log)
{
	return log == log->spool->own ? FREE_SEGMENTS_MAX : 0;
}
/* The surplus of free segments is removed. Parks; the writer's. */
void log_shrink(struct log *log);

/* ---- message.c ---- */
/* The linker sees these under names of their own: lib/message has functions of the same names. */
#define message_new         spool_message_new
#define message_free        spool_message_free
#define message_settle      spool_message_settle
#define message_unsettle    spool_message_unsettle
#define message_end         spool_message_end
#define message_add_outcome spool_message_add_outcome
#define message_unpin       spool_message_unpin
struct message *message_new(struct log *log);
void message_free(struct message *message); /* and all it refers to */
/* Where it is. extents is copied if it is one, and otherwise the message's from now on, from malloc(). */
void message_settle(struct message *message, const struct place *commit, struct place *extents,
		    uint32_t extent_count);
void message_unsettle(struct message *message); /* it is nowhere any more */
void message_end(
    struct message *message); /* its DONE is on the disk; freed, now or when nobody looks at it */
bool message_add_outcome(struct message *message, const struct place *place);
void message_unpin(struct message *message);
static inline const struct place *message_extents(const struct message *message)
{
	return message->extent_count > 1 ? message->body.many : &message->body.one;
}
void spool_pools_free(struct spool *spool);

/* ---- recover.c ---- */
/* Reads what is there of the log: its segments, and its messages into log->segments' lists. Parks. */
NODISCARD enum rc log_recover(struct task *task, struct log *log, const struct log_file *files,
			      unsigned file_count, struct str *damage, struct err *err);
/* ---- request.c ---- */
void request_init(struct request *request, enum request_kind kind, struct err *err);
/* Queues the request and waits for it; FAIL: too large for this spool, or outdated (MOVE, REWRITE). */
NODISCARD enum rc request_run(struct task *task, struct log *log, struct request *request);
void request_queue(struct log *log, struct request *request);
NODISCARD enum rc request_wait(struct task *task, struct request *request);
/* Takes it out of its list. */
void request_leave(struct request *request);
/* The same, and wakes whoever waits for it. */
void request_end(struct request *request, enum rc rc);
/* DEFER for all that wait in the queue, or all that are new mail; how many that were. */
unsigned requests_refuse(struct log *log, bool only_new_mail, struct err *err);
/* Bytes that its records take in a group, and its item in the index. */
size_t request_need(const struct request *request);
size_t request_index_need(const struct request *request);
bool request_is_new_mail(const struct request *request);
/* Less than the writer can ever write at once? */
bool request_fits(const struct log *log, const struct request *request);
/* request->extents for what was spilled and, if request->body_len, one more that the writer fills in. They are
 * *one, or from malloc(); then the caller frees request->extents, which is NULL once they are a message's. */
NODISCARD enum rc request_extents(struct request *request, const struct spill *spill, struct place *one,
				  struct err *err);
/* A record of the message's serial and the payload, with the next group. false: no memory. */
bool pending_add(struct log *log, struct message *message, enum record_type type, struct slice payload);
uint32_t pending_item_size(uint32_t len);
/* What a FLUSH has to wait for, to cover all that was added so far. */
uint64_t pending_position(const struct log *log);
/* The small records are written with the next group, or when it is time. */
void log_flush_init(struct log *log);
void log_flush_later(struct log *log);
void log_flush_in_a_second(struct log *log);

/* ---- group.c ---- */
/* Makes a group of what waits and fits into the active segment. */
void group_gather(struct log *log);
bool group_is_empty(const struct log *log);
/* What was gathered is as if it had not been; the records stay where they waited. */
void group_forget(struct log *log);
/* Writes it, and tells those who wait. Parks. */
void group_write(struct log *log);
/* false: the index has no room for one more record of that kind. */
NODISCARD bool index_add(struct log *log, enum record_type type, uint32_t offset, uint64_t seq,
			 const void *payload, uint32_t len);

/* ---- writer.c ---- */
NODISCARD enum rc writer_init(struct log *log);
NODISCARD enum rc writer_start(struct log *log, struct err *err);

/* ---- spill.c ---- */
/* One that a move uses may touch the last reserve of room. */
NODISCARD enum rc spill_make(struct log *log, bool moving, struct spill **spill_ret, struct err *err);
void spill_free(struct spill *spill);
/* The most of a body that one request may bring. */
static inline uint32_t log_body_max(const struct log *log)
{
	uint32_t part = (uint32_t)(log->spool->options.segment_size / 8);

	return part < REQUEST_BODY_MAX ? part : REQUEST_BODY_MAX;
}

/* ---- compact.c ---- */
void compact_check(struct log *log);

/* ---- counts.c ---- */
/* What the statistics are now, for those who watch. */
void spool_publish(struct spool *spool);

/* ---- spool.c ---- */
/* Room enough for a new message, as check_spool_space and check_spool_inodes ask? Looks once a second. */
NODISCARD enum rc spool_check_space(struct spool *spool, struct err *err);
NODISCARD enum rc spool_open_on(const struct spool_disk *disk, struct task *task,
				const struct spool_options *options,
				void (*found)(void *arg, struct spool_entry *entry), void *arg,
				struct spool **spool_ret, struct err *err);

#endif
