/* record: what is on the disk, and nothing else. A shard's messages live in its log: segment files
 * <spool>/segments/SHARD-FILE (two decimal numbers), which follow each other by the number in their heads. All
 * numbers are little-endian.
 *
 *   segment   offset 0      struct segment_head, in the first 512 bytes, which a disk writes whole or not at all
 *             4096          groups: each begins on a multiple of 4096 and was written at once. Within a group
 *                           records follow each other on multiples of 8; the rest of its last block is zero
 *             index_at      once the segment is full: struct index_head and its items, which say again what the
 *                           records said, so that a start needs to read no message
 *   record    struct record_head, then len bytes, which mean, by type:
 *     BODY      a piece of a body; all pieces of an extent but its last have SPOOL_PIECE bytes
 *     COMMIT    struct commit_fixed, extent_count struct extent (where the body is), outcomes_len bytes of
 *               outcomes (each a 32-bit length and its bytes), envelope_len bytes of envelope
 *     OUTCOME   64-bit serial of the message, the owner's bytes
 *     REWRITE   64-bit serial, the new envelope
 *     MARK      64-bit serial, 64-bit flags (MESSAGE_...)
 *     DONE      64-bit serial: the message is over
 *     RESUME    64-bit seq that the next record has: a start goes on in the segment that it found last
 *
 * A message's serial is the seq of the COMMIT that accepted it. Moved on by compaction it gets a new COMMIT, with
 * the old serial and all its outcomes, which replaces everything that was said before.
 *
 * Promises, besides those in spool.h:
 * (5) A record counts if and only if the checksums of head and payload are right, seq is the one before plus 1
 *     (or what a RESUME says), and seq is below first_seq of the next segment. The checksum of the head is begun
 *     with a random number that the segment got when this life of the file began, so that nothing matches which an
 *     earlier life left, or a torn first write under the same number and seq. The first record that does not count
 *     ends the segment.
 * (6) One group of a log is written at a time, synchronously, and never twice at the same place in the same
 *     life: after a failed write the log goes on in another segment, whose first_seq makes void what the failed
 *     write may have left.
 * (7) Segments are reused in the order of their numbers: a DONE is overwritten only after the COMMIT it ends.
 * (8) Where a start goes on writing, a torn group may lie. What is left of it never counts again: the first group
 *     begins with a RESUME that makes seq jump by a random distance. */
#ifndef SPOOL_RECORD_H
#define SPOOL_RECORD_H

#include "base/base.h"

#define SPOOL_BLOCK      4096u
#define SPOOL_PIECE      (64u * 1024)        /* read and checked as a whole */
#define SPOOL_RECORD_MAX (16u * 1024 * 1024) /* an envelope of 100,000 recipients has half of it */
#define SPOOL_VERSION    1u
#define SEGMENT_SIZE_MIN (256u * 1024)
#define SEGMENT_SIZE_MAX (1024u * 1024 * 1024)

#define SEGMENT_MAGIC "sluiceSG"
#define INDEX_MAGIC   "sluiceIX"

enum record_type {
	RECORD_BODY = 1,
	RECORD_COMMIT,
	RECORD_OUTCOME,
	RECORD_REWRITE,
	RECORD_MARK,
	RECORD_DONE,
	RECORD_RESUME,
	RECORD_TYPE_END
};

struct segment_head {
	char magic[8];
	uint32_t version, shard;
	uint64_t number;    /* of this life of the file; 1, 2, ... within the log */
	uint64_t first_seq; /* of its first record, which is one more than the last that counts before */
	uint64_t life;      /* random */
	uint32_t size, index_at;
	uint32_t reserved;
	uint32_t crc; /* CRC32C of all before */
};
static_assert(sizeof(struct segment_head) == 56, "on-disk layout");

struct record_head {
	uint32_t crc; /* of the segment's life (64 bits) and of what follows in this head */
	uint32_t len; /* payload bytes, at most SPOOL_RECORD_MAX */
	uint64_t seq;
	uint32_t type;
	uint32_t payload_crc;
};
static_assert(sizeof(struct record_head) == 24, "on-disk layout");

struct extent {
	uint64_t segment; /* number */
	uint32_t offset;  /* of the first record */
	uint32_t len;     /* payload bytes of its records */
};
static_assert(sizeof(struct extent) == 16, "on-disk layout");

enum { MESSAGE_FROZEN = 1, MESSAGE_DAMAGED = 2 };

struct commit_fixed {
	char id[24];
	uint64_t serial; /* 0: the seq of this record */
	uint64_t received, body_len;
	uint32_t envelope_len, outcomes_len, outcome_count, extent_count;
	uint32_t flags, reserved;
};
static_assert(sizeof(struct commit_fixed) == 72, "on-disk layout");

/* An index item is followed by the first prefix_len bytes of its record's payload: of a COMMIT all up to the
 * outcomes, of an OUTCOME or REWRITE the serial, of MARK and DONE everything. BODY records have no item. */
struct index_item {
	uint32_t offset, len; /* of the record; of its payload */
	uint64_t seq;
	uint32_t type, prefix_len;
};
static_assert(sizeof(struct index_item) == 24, "on-disk layout");

struct index_head {
	char magic[8];
	uint64_t number, first_seq, life, next_seq;
	uint32_t shard, version;
	uint32_t end; /* where the records end */
	uint32_t len; /* bytes of items */
	uint32_t item_count;
	uint32_t crc; /* of all before, and of the items */
};
static_assert(sizeof(struct index_head) == 64, "on-disk layout");

/* Bytes that a record takes. */
static inline size_t record_size(size_t len)
{
	return (sizeof(struct record_head) + len + 7) & ~(size_t)7;
}

/* Bytes that a body of that length takes as one extent. */
static inline size_t extent_size(uint64_t len)
{
	size_t whole = (size_t)(len / SPOOL_PIECE), rest = (size_t)(len % SPOOL_PIECE);

	return whole * record_size(SPOOL_PIECE) + (rest ? record_size(rest) : 0);
}

/* The room for an index at the end of a segment; its rest is for records. */
static inline uint32_t segment_index_at(uint32_t size)
{
	uint32_t room = size / 16 & ~(SPOOL_BLOCK - 1);

	return size - (room < 2 * SPOOL_BLOCK ? 2 * SPOOL_BLOCK : room);
}

/* Writes the head in front of a payload that is already in its place behind it. */
void record_finish(struct record_head *head, uint64_t life, enum record_type type, uint64_t seq,
		   uint32_t len);
/* Is this a record's head, as far as the head itself can tell? Its payload has yet to be checked. */
bool record_head_good(const struct record_head *head, uint64_t life);
static inline bool record_payload_good(const struct record_head *head, const void *payload)
{
	return crc32c(0, payload, head->len) == head->payload_crc;
}

void segment_head_finish(struct segment_head *head); /* magic, version, index_at, crc */
bool segment_head_good(const struct segment_head *head);

/* items follows head in memory. */
void index_finish(struct index_head *head);
bool index_head_good(const struct index_head *head,
		     uint32_t room); /* without the items: len can be trusted to fit */
bool index_items_good(const struct index_head *head);

/* How many bytes of a payload its index item repeats. */
uint32_t record_prefix_len(enum record_type type, const void *payload, uint32_t len);

/* The parts of a COMMIT; false unless the counts fit the payload's length and the extents' sum the body's. prefix
 * holds at least the first prefix_len bytes of the payload, which has len. */
struct commit {
	struct commit_fixed fixed;
	const char *extents;               /* fixed.extent_count of them, unaligned */
	uint32_t outcomes_at, envelope_at; /* within the payload */
};
bool commit_parse(const void *prefix, uint32_t prefix_len, uint32_t len, struct commit *commit_ret);
static inline struct extent commit_extent(const struct commit *commit, uint32_t i)
{
	struct extent e;

	memcpy(&e, commit->extents + (size_t)i * sizeof(e), sizeof(e));
	return e;
}

#endif
