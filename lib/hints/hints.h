/* hints: what is worth remembering but may be lost: retry times, rates, callout results, TLS sessions. One LMDB
 * environment, <spool>/db, opened once per process. Reads are lock-free on every shard through a memory map (a
 * read transaction is never held across a park); writes are batched by one writer thread, which every shard
 * mails. Losing the files loses no mail: a missing, corrupt or foreign file is set aside and made anew.
 *
 * A hint is (database, key) -> bytes. Each shard sees its own writes at once (they are kept in memory until the
 * writer has them), and others' within a batch (some milliseconds). */
#ifndef HINTS_HINTS_H
#define HINTS_HINTS_H

#include "reactor/reactor.h"

enum hints_db {
	HINTS_RETRY,
	HINTS_WAIT,
	HINTS_MISC,
	HINTS_CALLOUT,
	HINTS_RATELIMIT,
	HINTS_SEEN,
	HINTS_TLS,
	HINTS_DMARC,
	HINTS_DB_COUNT
};
extern const char *const hints_db_names[HINTS_DB_COUNT]; /* "retry", "wait", ... as Exim's tools name them */

struct hints;

/* Once per process, before shards run (a damaged file is found out by looking at it in a child process). directory
 * is the environment's own, <spool>/db; made (0750) if missing. err tells of a database that was set aside, even
 * with OK. size_max is the map's size in bytes (0: 1 GiB; it is sparse): when three quarters of it are full, the
 * oldest hints go. Other processes may have the same directory open. */
NODISCARD enum rc hints_open(const char *directory, uint64_t size_max, struct hints **hints_ret,
			     struct err *err);
/* When the shards have ended, but before shard_free(): what is still in memory is written, and no shard gets mail any more. NULL is
 * fine. */
void hints_stop(struct hints *hints);
/* After shard_free(), since its mailbox may still hold mail of ours; stops first if that was not done. */
void hints_close(struct hints *hints);
/* What happens while we run, and nobody is waiting to hear: the directory was deleted and made anew, the disk is
 * full... Called on the writer's thread, once for each time it begins. Set before shards run. */
void hints_on_trouble(struct hints *hints, void (*tell)(void *arg, struct slice text), void *arg);

/* Tells the shard that it uses these hints. Without it (a user who tests an address may not open them) there are none: get and
 * update are DEFER, put and delete do nothing. */
NODISCARD enum rc hints_attach(struct hints *hints, struct shard *shard, struct err *err);

#define HINTS_KEY_MAX   480 /* longer keys are replaced by their digest */
#define HINTS_VALUE_MAX 65536

/* OK: a copy in the arena. FAIL: no such hint. DEFER: the database cannot be read. Does not park. */
NODISCARD enum rc hints_get(struct shard *shard, enum hints_db db, struct slice key, struct arena *arena,
			    struct slice *value_ret, struct err *err);
/* Does not park; what does not fit into the writer's bounded queue is dropped and counted. */
void hints_put(struct shard *shard, enum hints_db db, struct slice key, struct slice value);
void hints_delete(struct shard *shard, enum hints_db db, struct slice key);

/* Read-modify-write that is exact across shards and processes: fn runs on the writer thread inside the write
 * transaction, with the old value (ptr NULL: none); it fills new_value (a buffer of HINTS_VALUE_MAX bytes) and
 * returns its length, or -1 to change nothing. fn may look at and write arg, which stays the caller's; it may be
 * called again when the transaction has to be: the last call counts. Parks until the change can be seen by all.
 * The wait is not cut short by deadline or cancellation, since fn works on arg: a batch takes milliseconds.
 * DEFER: the queue is full, or the database cannot be written. */
NODISCARD enum rc hints_update(struct task *task, enum hints_db db, struct slice key,
			       ptrdiff_t (*fn)(void *arg, struct slice old, char *new_value), void *arg,
			       struct err *err);

/* Like it, but nobody waits: counts that are gathered from many messages. fn, on the writer thread, is given what is there (ptr NULL:
 * nothing) and a copy of the addition, and may use nothing else. Does not park. What does not fit into the queue is dropped and
 * counted, and so is what would make a new hint while its database has HINTS_MERGED_SHARE of the room. Only hints_next() and
 * hints_each() see it, a quarter of a second later at most. */
#define HINTS_MERGED_SHARE 4 /* a fourth */
void hints_merge(struct shard *shard, enum hints_db db, struct slice key, struct slice addition,
		 ptrdiff_t (*fn)(struct slice old, struct slice addition, char *new_value));

/* The first hint whose key is behind that one (empty: the first of all), as far as it is written; copies in the arena. FAIL: there is
 * none. DEFER: the database cannot be read. Does not park. */
NODISCARD enum rc hints_next(struct shard *shard, enum hints_db db, struct slice behind, struct arena *arena,
			     struct slice *key_ret, struct slice *value_ret, struct err *err);

/* Each hint of a database, as far as it is written, in key order (for exinext-like commands and tidying); each()
 * returns false to stop. A key that was too long shows its beginning and its digest. Any thread; runs on it without
 * parking, in bounded pieces. */
NODISCARD enum rc hints_each(struct hints *hints, enum hints_db db,
			     bool (*each)(void *arg, struct slice key, struct slice value), void *arg,
			     struct err *err);

struct hints_stats {
	uint64_t written, dropped, batches, tidied, made_anew;
	uint64_t pages_used, pages_max;
};
/* Any thread. */
void hints_stats(struct hints *hints, struct hints_stats *stats_ret);
/* For whoever watches (metrics/metrics.h): of the shards' side, and, with those of the first shard that was attached, of the writer's. */
extern const struct metric_table hints_metric_table;

#endif
