/* store: the LMDB environment itself, and what the shards' side and the writer's side share. */
#ifndef HINTS_STORE_H
#define HINTS_STORE_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "hints/hints.h"

#define HINTS_READERS_MAX   1024
#define OPS_PER_SHARD_MAX   8192 /* queued or under way; more: the writer does not keep up */
#define BYTES_PER_SHARD_MAX (16u * 1024 * 1024)
#define BATCH_COUNT_MAX     4096

/* One opened environment. Shards and the writer hold references; a new one takes its place when the files are
 * gone, and the old one is closed when the last has let go of it. */
struct store {
	MDB_env *env;
	MDB_dbi dbi[HINTS_DB_COUNT];
	atomic_uint refs;
	dev_t device;
	ino_t inode;
};

/* Opens or makes the files. DEFER: what is there cannot be used; FAIL: nor can anything be made. */
NODISCARD enum rc store_open(const char *directory, uint64_t size_max, struct store **store_ret,
			     struct err *err);
void store_unref(struct store *store);
/* Looks at every page from a child process. false: it died of it, or found nonsense. */
bool store_check(const char *directory, uint64_t size_max);
/* Renames the files to .bad-TIME. */
NODISCARD enum rc store_set_aside(const char *directory, struct err *err);
/* Of the pages of all databases, as the transaction sees them (NULL: one of its own). */
uint64_t store_bytes_used(const struct store *store, MDB_txn *txn);
/* Are the files that it has open still those in the directory? */
bool store_in_place(const struct store *store, const char *directory);

/* On the disk a value begins with the time it was written (seconds since the epoch), so that the oldest can go. */
#define STAMP_SIZE sizeof(uint32_t)

/* The shard's own, and what the writer counts: in one shard's block, whose lines of the cache it does not share. */
struct hints_metrics {
	struct tally found, none, deferred; /* lookups */
	struct tally refused;               /* for lack of room in the queue */
	char apart[64 - 4 * sizeof(struct tally)];
	struct tally batches, batches_failed;
	struct tally written, lost, tidied, made_anew, bytes_used, bytes_max;
};

/* What goes to the writer and comes back. */
enum op_kind { OP_PUT, OP_DELETE, OP_UPDATE, OP_MERGE };
struct op {
	struct op *next;
	struct hints_shard *from;
	enum op_kind kind;
	enum hints_db db;
	uint32_t key_len, value_len; /* key includes the byte for the database in front */
	ptrdiff_t (*fn)(void *arg, struct slice old, char *new_value);
	void *arg;
	ptrdiff_t (*merge)(struct slice old, struct slice addition, char *new_value);
	struct update *update; /* who waits */
	enum rc rc;
	int lmdb_rc;
	char bytes[]; /* database number, key, value */
};

static inline struct slice op_map_key(const struct op *op)
{
	return slice_make(op->bytes, op->key_len, CLEAN);
}

struct hints_shard {
	struct hints *hints;
	struct hints_shard *next; /* all of them */
	struct shard *shard;
	struct store *store; /* that read belongs to */
	MDB_txn *read;       /* reset, but during a get */
	struct map overlay;  /* our puts and deletes that are not known to be written */
	unsigned ops;
	size_t bytes;
	/* The writer pushes what is finished, the shard takes all. Release and acquire: what the writer wrote into
	 * an op is seen by the shard that takes it. */
	_Atomic(struct op *) finished;
	atomic_bool
	    mail_posted; /* set by the writer, cleared by the shard before it takes what is finished */
	struct mail mail;
	struct hints_metrics *metrics, own_metrics;
};

/* The writer sleeps until it is woken, lingers for company but is woken for an update, dawdles (there are only merges, which nobody
 * looks at soon) but is woken for all else, or runs. */
enum { WRITER_RUNS, WRITER_LINGERS, WRITER_DAWDLES, WRITER_SLEEPS };

struct hints {
	char *directory;
	uint64_t size_max;
	int marker_fd; /* tells the next opener whether we closed properly */
	pthread_mutex_t
	    lock; /* of store: taken by a shard once for each store, and by the writer to replace it */
	_Atomic(struct store *) store;
	struct hints_shard *shards;

	/* Any shard pushes, the writer takes all; as mailboxes do. */
	_Atomic(struct op *) queue;
	atomic_int writer_state;
	atomic_bool closing;
	int wake_fd;
	pthread_t thread;
	bool thread_runs;

	void (*tell)(void *arg, struct slice text);
	void *tell_arg;
	bool in_trouble; /* told already; the writer's */
	uint64_t looked_ns, tidied_ns;
	char *new_value;
	/* Where the writer counts: set by the first shard that is attached, before it can give the writer anything. */
	_Atomic(struct hints_metrics *) metrics;
	_Atomic uint64_t written, dropped, batches, tidied, made_anew, pages_used;
};

extern struct shard_slot hints_slot;

/* ---- writer.c ---- */
NODISCARD enum rc hints_writer_start(struct hints *hints, struct err *err);
void writer_stop(struct hints *hints); /* when everything that was queued is written */
void writer_push(struct hints *hints, struct op *op);

/* ---- digest.c ---- */
/* The key as it is stored: itself, or, if it is too long, its beginning and a SHA-256 digest. buf has HINTS_KEY_MAX. */
struct slice hints_stored_key(struct slice key, char *buf);

#endif
