/* writer: the one thread that changes the database. It takes everything that the shards have queued, applies it in
 * one transaction, and hands the operations back. With nothing but puts it lingers some milliseconds for company, with
 * nothing but merges longer; an update, for which somebody waits, begins a batch at once. */
#include "store.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LINGER_MS  5
#define DAWDLE_MS  250
#define LOOK_NS    NS_PER_S        /* is the directory still ours? */
#define TIDY_NS    (10 * NS_PER_S) /* is it getting full? dead readers? */
#define TIDY_PIECE 1000            /* hints that one transaction deletes */
#define AGES       64

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void trouble(struct hints *hints, const char *what, const char *why)
{
	char text[600];
	int len;

	if (hints->in_trouble || !hints->tell)
		return;
	hints->in_trouble = true;
	len = snprintf(text, sizeof(text), "hints in %s: %s%s%s", hints->directory, what, *why ? ": " : "",
		       why);
	if (len >= (int)sizeof(text))
		len = sizeof(text) - 1;
	hints->tell(hints->tell_arg, slice_make(text, (size_t)len, CLEAN));
}

/* ---- The queue --------------------------------------------------------------------------------------- */

void writer_push(struct hints *hints, struct op *op)
{
	struct op *head = atomic_load_explicit(&hints->queue, memory_order_relaxed);
	int state;
	uint64_t one = 1;

	do
		op->next = head;
	while (!atomic_compare_exchange_weak(&hints->queue, &head, op));
	/* Push, then look; the writer says that it rests, then looks at the queue. One of us sees the other. */
	state = atomic_load(&hints->writer_state);
	if ((state == WRITER_SLEEPS || (state == WRITER_LINGERS && op->kind == OP_UPDATE) ||
	     (state == WRITER_DAWDLES && op->kind != OP_MERGE)) &&
	    atomic_exchange(&hints->writer_state, WRITER_RUNS) != WRITER_RUNS)
		(void)!write(hints->wake_fd, &one, sizeof(one)); /* cannot be full: the writer empties it */
}

/* Oldest first. */
static struct op *take_all(struct hints *hints)
{
	struct op *newest = atomic_exchange(&hints->queue, NULL), *oldest = NULL;

	while (newest) {
		struct op *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

static void rest(struct hints *hints, int how, int timeout_ms)
{
	struct pollfd pfd = {.fd = hints->wake_fd, .events = POLLIN};
	uint64_t count;

	atomic_store(&hints->writer_state, how);
	if (how == WRITER_SLEEPS && (atomic_load(&hints->queue) || atomic_load(&hints->closing)))
		timeout_ms = 0;
	(void)poll(&pfd, 1, timeout_ms);
	atomic_store(&hints->writer_state, WRITER_RUNS);
	if (pfd.revents)
		(void)!read(hints->wake_fd, &count, sizeof(count));
}

static struct hints_metrics *counts(struct hints *hints)
{
	return atomic_load_explicit(&hints->metrics, memory_order_relaxed);
}

/* ---- One operation ----------------------------------------------------------------------------------- */

static int put(struct hints *hints, MDB_txn *txn, struct op *op, const char *bytes, size_t len)
{
	struct store *store =
	    atomic_load_explicit(&hints->store, memory_order_relaxed); /* only we change it */
	uint32_t now = (uint32_t)time(NULL);
	MDB_val key = {op->key_len - 1, op->bytes + 1}, value = {STAMP_SIZE + len, NULL};
	int rc = mdb_put(txn, store->dbi[op->db], &key, &value, MDB_RESERVE);

	if (!rc) {
		memcpy(value.mv_data, &now, sizeof(now));
		memcpy((char *)value.mv_data + STAMP_SIZE, bytes, len);
	}
	return rc;
}

static int update(struct hints *hints, MDB_txn *txn, struct op *op)
{
	struct store *store = atomic_load_explicit(&hints->store, memory_order_relaxed);
	MDB_val key = {op->key_len - 1, op->bytes + 1}, value;
	struct slice old = {NULL, 0, CLEAN};
	ptrdiff_t len;
	int rc = mdb_get(txn, store->dbi[op->db], &key, &value);

	if (!rc && value.mv_size >= STAMP_SIZE)
		old = slice_make((char *)value.mv_data + STAMP_SIZE, value.mv_size - STAMP_SIZE, TAINTED);
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	len = op->fn(op->arg, old, hints->new_value);
	ASSERT(len <= HINTS_VALUE_MAX);
	return len < 0 ? 0 : put(hints, txn, op, hints->new_value, (size_t)len);
}

/* Has the database its share of all pages? */
static bool has_its_share(struct hints *hints, MDB_txn *txn, enum hints_db db)
{
	struct store *store = atomic_load_explicit(&hints->store, memory_order_relaxed);
	MDB_stat stat;

	return mdb_stat(txn, store->dbi[db], &stat) == 0 &&
	       stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages >
		   hints->size_max / stat.ms_psize / HINTS_MERGED_SHARE;
}

static int merge(struct hints *hints, MDB_txn *txn, struct op *op)
{
	struct store *store = atomic_load_explicit(&hints->store, memory_order_relaxed);
	MDB_val key = {op->key_len - 1, op->bytes + 1}, value;
	struct slice old = {NULL, 0, CLEAN};
	ptrdiff_t len;
	int rc = mdb_get(txn, store->dbi[op->db], &key, &value);

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (!rc && value.mv_size >= STAMP_SIZE)
		old = slice_make((char *)value.mv_data + STAMP_SIZE, value.mv_size - STAMP_SIZE, TAINTED);
	if (rc && has_its_share(hints, txn, op->db)) {
		atomic_fetch_add_explicit(&hints->dropped, 1, memory_order_relaxed);
		tally_up(&counts(hints)->lost);
		return 0;
	}
	len = op->merge(old, slice_make(op->bytes + op->key_len, op->value_len, TAINTED), hints->new_value);
	ASSERT(len <= HINTS_VALUE_MAX);
	return len < 0 ? 0 : put(hints, txn, op, hints->new_value, (size_t)len);
}

static int apply(struct hints *hints, MDB_txn *txn, struct op *op)
{
	struct store *store = atomic_load_explicit(&hints->store, memory_order_relaxed);
	MDB_val key = {op->key_len - 1, op->bytes + 1};
	int rc;

	switch (op->kind) {
	case OP_PUT:
		return put(hints, txn, op, op->bytes + op->key_len, op->value_len);
	case OP_DELETE:
		rc = mdb_del(txn, store->dbi[op->db], &key, NULL);
		return rc == MDB_NOTFOUND ? 0 : rc;
	case OP_UPDATE:
		return update(hints, txn, op);
	case OP_MERGE:
		return merge(hints, txn, op);
	}
	return 0;
}

static int apply_batch(struct hints *hints, struct op *batch)
{
	struct store *store = atomic_load_explicit(&hints->store, memory_order_relaxed);
	MDB_txn *txn;
	int rc = mdb_txn_begin(store->env, NULL, 0, &txn);

	if (rc)
		return rc;
	for (struct op *op = batch; op; op = op->next) {
		rc = apply(hints, txn, op);
		if (rc) {
			mdb_txn_abort(txn);
			return rc;
		}
	}
	tally_set(&counts(hints)->bytes_used, store_bytes_used(store, txn));
	return mdb_txn_commit(txn);
}

/* ---- Making room ------------------------------------------------------------------------------------- */

static unsigned age_class(uint32_t now, const MDB_val *value)
{
	uint32_t stamp = 0, age;

	if (value->mv_size >= STAMP_SIZE)
		memcpy(&stamp, value->mv_data, sizeof(stamp));
	age = stamp > now ? 0 : now - stamp;
	/* Four classes for each doubling, so that half of the hints can be told from the other half. */
	if (age < 4)
		return age;
	unsigned log2 = 31 - (unsigned)__builtin_clz(age), class = log2 * 4 - 4 + (age >> (log2 - 2) & 3);
	return class < AGES - 1 ? class : AGES - 1;
}

/* Deletes up to TIDY_PIECE hints of that class or older, from *from on. false: that was all, or it failed. */
static bool delete_piece(struct hints *hints, int db, uint32_t now, unsigned class, struct slice *from,
			 char *buf)
{
	struct store *store = atomic_load_explicit(&hints->store, memory_order_relaxed);
	MDB_val key = {from->len, (void *)from->ptr}, value;
	MDB_cursor *cursor;
	MDB_txn *txn;
	unsigned seen = 0, deleted = 0;
	int rc;

	if (mdb_txn_begin(store->env, NULL, 0, &txn))
		return false;
	rc = mdb_cursor_open(txn, store->dbi[db], &cursor);
	if (!rc)
		rc = mdb_cursor_get(cursor, &key, &value, from->len ? MDB_SET_RANGE : MDB_FIRST);
	while (!rc && seen++ < TIDY_PIECE * 10 && deleted < TIDY_PIECE) {
		if (age_class(now, &value) >= class) {
			rc = mdb_cursor_del(cursor, 0);
			deleted += !rc;
		}
		if (!rc)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	if (!rc && key.mv_size <= HINTS_KEY_MAX) {
		memcpy(buf, key.mv_data, key.mv_size);
		*from = slice_make(buf, key.mv_size, CLEAN);
	}
	atomic_fetch_add_explicit(&hints->tidied, deleted, memory_order_relaxed);
	tally_add(&counts(hints)->tidied, deleted);
	if ((rc && rc != MDB_NOTFOUND) || mdb_txn_commit(txn)) {
		if (rc && rc != MDB_NOTFOUND)
			mdb_txn_abort(txn);
		return false;
	}
	return rc == 0;
}

/* How many hints of each age there are, in all databases. */
static uint64_t count_ages(struct hints *hints, uint32_t now, uint64_t count[AGES])
{
	struct store *store = atomic_load_explicit(&hints->store, memory_order_relaxed);
	uint64_t all = 0;
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_txn *txn;

	memset(count, 0, AGES * sizeof(*count));
	if (mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn))
		return 0;
	for (int db = 0; db < HINTS_DB_COUNT; db++) {
		if (mdb_cursor_open(txn, store->dbi[db], &cursor))
			continue;
		while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
			count[age_class(now, &value)]++;
			all++;
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return all;
}

/* The oldest half goes, in pieces that leave room for each other. */
static void tidy(struct hints *hints)
{
	uint32_t now = (uint32_t)time(NULL);
	uint64_t count[AGES], all = count_ages(hints, now, count), old = 0;
	unsigned class = AGES;
	char buf[HINTS_KEY_MAX];

	while (class > 0 && old < (all + 1) / 2)
		old += count[--class];
	for (int db = 0; db < HINTS_DB_COUNT; db++) {
		struct slice from = SLICE_EMPTY;

		while (delete_piece(hints, db, now, class, &from, buf))
			;
	}
}

static bool is_getting_full(struct hints *hints)
{
	uint64_t used = store_bytes_used(atomic_load_explicit(&hints->store, memory_order_relaxed), NULL);

	atomic_store_explicit(&hints->pages_used, used / 4096, memory_order_relaxed);
	return used > hints->size_max / 4 * 3;
}

/* New files under the old name; shards change over at their next look. */
static bool make_anew(struct hints *hints, const char *why)
{
	struct store *fresh, *old = atomic_load_explicit(&hints->store, memory_order_relaxed);
	struct err err = err_make(NULL);

	if ((store_set_aside(hints->directory, &err) != OK && err.os != ENOENT) ||
	    store_open(hints->directory, hints->size_max, &fresh, &err) != OK) {
		trouble(hints, "cannot be made anew", why);
		return false;
	}
	trouble(hints, "made anew", why);
	pthread_mutex_lock(&hints->lock);
	atomic_store(&hints->store, fresh);
	pthread_mutex_unlock(&hints->lock);
	store_unref(old);
	atomic_fetch_add_explicit(&hints->made_anew, 1, memory_order_relaxed);
	tally_up(&counts(hints)->made_anew);
	return true;
}

/* What is looked at from time to time: before a batch, so that nothing is written into files that are gone. */
static void look_around(struct hints *hints)
{
	struct store *store = atomic_load_explicit(&hints->store, memory_order_relaxed);
	uint64_t now = now_ns();
	int dead;

	if (now - hints->looked_ns >= LOOK_NS) {
		hints->looked_ns = now;
		if (!store_in_place(store, hints->directory))
			(void)make_anew(hints, "its files were gone");
	}
	if (now - hints->tidied_ns >= TIDY_NS) {
		hints->tidied_ns = now;
		store = atomic_load_explicit(&hints->store, memory_order_relaxed);
		(void)mdb_reader_check(store->env, &dead);
		if (is_getting_full(hints))
			tidy(hints);
	}
}

/* ---- A batch ----------------------------------------------------------------------------------------- */

static int write_batch(struct hints *hints, struct op *batch)
{
	int rc = apply_batch(hints, batch);

	if (rc == MDB_MAP_FULL || rc == MDB_TXN_FULL) {
		tidy(hints);
		rc = apply_batch(hints, batch);
	}
	if (rc == MDB_MAP_FULL || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_PANIC ||
	    rc == MDB_INVALID || rc == MDB_BAD_TXN)
		rc = make_anew(hints, mdb_strerror(rc)) ? apply_batch(hints, batch) : rc;
	if (rc)
		trouble(hints, "writing", mdb_strerror(rc));
	else
		hints->in_trouble = false;
	return rc;
}

/* An op is the shard's again once it is pushed; who waits for it may free it. */
static void hand_back(struct hints_shard *to, struct op *op)
{
	struct op *head = atomic_load_explicit(&to->finished, memory_order_relaxed);

	do
		op->next = head;
	while (!atomic_compare_exchange_weak(&to->finished, &head, op));
	if (!atomic_exchange(&to->mail_posted, true))
		mail_inject(to->shard, &to->mail);
}

static void finish_batch(struct hints *hints, struct op *batch, int rc)
{
	while (batch) {
		struct op *op = batch;

		batch = op->next;
		op->lmdb_rc = rc;
		op->rc = rc ? DEFER : OK;
		atomic_fetch_add_explicit(rc ? &hints->dropped : &hints->written, 1, memory_order_relaxed);
		tally_up(rc ? &counts(hints)->lost : &counts(hints)->written);
		hand_back(op->from, op);
	}
}

static int write_and_count(struct hints *hints, struct op *batch)
{
	int rc = write_batch(hints, batch);

	atomic_fetch_add_explicit(&hints->batches, 1, memory_order_relaxed);
	tally_up(rc ? &counts(hints)->batches_failed : &counts(hints)->batches);
	return rc;
}

static void do_all(struct hints *hints, struct op *all)
{
	look_around(hints);
	while (all) {
		struct op *batch = all, *last = all;

		for (unsigned n = 1; n < BATCH_COUNT_MAX && last->next; n++)
			last = last->next;
		all = last->next;
		last->next = NULL;
		finish_batch(hints, batch, write_and_count(hints, batch));
	}
}

static bool there_is(const struct op *all, enum op_kind kind)
{
	for (; all; all = all->next)
		if (all->kind == kind)
			return true;
	return false;
}

static bool only_merges(const struct op *all)
{
	for (; all; all = all->next)
		if (all->kind != OP_MERGE)
			return false;
	return true;
}

static struct op *append(struct op *first, struct op *second)
{
	struct op **end = &first;

	while (*end)
		end = &(*end)->next;
	*end = second;
	return first;
}

static void *writer_run(void *arg)
{
	struct hints *hints = arg;

	for (;;) {
		bool closing = atomic_load(&hints->closing);
		struct op *all = take_all(hints);

		if (!all && closing)
			return NULL;
		if (!all) {
			rest(hints, WRITER_SLEEPS, -1);
			continue;
		}
		if (!closing && only_merges(all)) {
			rest(hints, WRITER_DAWDLES, DAWDLE_MS);
			all = append(all, take_all(hints));
		} else if (!closing && !there_is(all, OP_UPDATE)) {
			rest(hints, WRITER_LINGERS, LINGER_MS);
			all = append(all, take_all(hints));
		}
		do_all(hints, all);
	}
}

enum rc hints_writer_start(struct hints *hints, struct err *err)
{
	sigset_t all, before;
	int rc;

	hints->new_value = malloc(HINTS_VALUE_MAX);
	if (!hints->new_value)
		return err_memory(err);
	hints->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hints->wake_fd < 0)
		return err_os(err, DEFER, 0, "eventfd");
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are for the threads that expect them */
	rc = pthread_create(&hints->thread, NULL, writer_run, hints);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return err_os(err, DEFER, rc, "starting the writer of hints");
	hints->thread_runs = true;
	return OK;
}

void writer_stop(struct hints *hints)
{
	uint64_t one = 1;

	if (hints->thread_runs) {
		atomic_store(&hints->closing, true);
		(void)!write(hints->wake_fd, &one, sizeof(one));
		pthread_join(hints->thread, NULL);
		hints->thread_runs = false;
	}
	if (hints->wake_fd >= 0)
		close(hints->wake_fd);
	hints->wake_fd = -1;
	free(hints->new_value);
	hints->new_value = NULL;
}
