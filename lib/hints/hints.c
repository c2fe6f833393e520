/* hints: the shards' side: reading, and the operations that are on their way to the writer and back. */
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define SIZE_DEFAULT (1024ull * 1024 * 1024)
#define SIZE_MIN     (1024ull * 1024)
#define EACH_PIECE   1000

struct shard_slot hints_slot;

/* ---- Opening and closing ------------------------------------------------------------------------------ */

/* The marker says "open" while somebody has the environment open, and everybody who has holds a shared lock on it.
 * Who gets it alone and finds "open" knows that the last one did not come to its end. */
static enum rc marker_open(struct hints *hints, bool *unclean_ret, struct err *err)
{
	char path[512], text[8] = "";

	if (snprintf(path, sizeof(path), "%s/state", hints->directory) >= (int)sizeof(path))
		return err_set(err, FAIL, "the name of the hints directory is too long");
	hints->marker_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (hints->marker_fd < 0)
		return err_os(err, FAIL, 0, "opening %s", path);
	*unclean_ret = false;
	if (flock(hints->marker_fd, LOCK_EX | LOCK_NB) == 0)
		*unclean_ret = pread(hints->marker_fd, text, 4, 0) == 4 && memcmp(text, "open", 4) == 0;
	return OK;
}

static void marker_set_open(struct hints *hints)
{
	/* If it cannot be written, the next one finds nothing to be careful of, as with a new directory. */
	if (pwrite(hints->marker_fd, "open\n", 5, 0) != 5)
		errno = 0;
	(void)flock(hints->marker_fd, LOCK_SH);
}

static void marker_close(struct hints *hints, bool clean)
{
	if (hints->marker_fd < 0)
		return;
	if (clean && flock(hints->marker_fd, LOCK_EX | LOCK_NB) == 0 && ftruncate(hints->marker_fd, 0))
		errno = 0;
	close(hints->marker_fd);
}

static void hints_free(struct hints *hints)
{
	store_unref(atomic_load(&hints->store));
	pthread_mutex_destroy(&hints->lock);
	free(hints->directory);
	free(hints);
}

static enum rc open_store(struct hints *hints, struct err *err)
{
	struct store *store = NULL;
	bool unclean;
	enum rc rc = marker_open(hints, &unclean, err);

	if (rc != OK)
		return rc;
	if (unclean && !store_check(hints->directory, hints->size_max))
		rc = err_set(err, DEFER, "%s: damaged", hints->directory);
	else
		rc = store_open(hints->directory, hints->size_max, &store, err);
	if (rc == DEFER) {
		/* Once more, with nothing there. What was is kept for those who want to know. */
		struct err why = *err;

		rc = store_set_aside(hints->directory, err);
		if (rc == OK)
			rc = store_open(hints->directory, hints->size_max, &store, err);
		if (rc == OK) {
			*err = why;
			err_prefix(err, "hints set aside and begun anew");
		}
	} else if (rc == OK) {
		*err = err_make(err->arena);
	}
	atomic_store(&hints->store, store);
	if (rc == OK)
		marker_set_open(hints);
	return rc == DEFER ? FAIL : rc;
}

enum rc hints_open(const char *directory, uint64_t size_max, struct hints **hints_ret, struct err *err)
{
	struct err none = err_make(NULL);
	struct hints *hints;
	enum rc rc;

	if (!err)
		err = &none;
	if (mkdir(directory, 0750) && errno != EEXIST)
		return err_os(err, FAIL, 0, "making %s", directory);
	hints = calloc(1, sizeof(*hints));
	if (!hints)
		return err_memory(err);
	hints->directory = strdup(directory);
	hints->size_max = size_max ? size_max : SIZE_DEFAULT;
	if (hints->size_max < SIZE_MIN)
		hints->size_max = SIZE_MIN;
	hints->size_max &= ~4095ull;
	hints->marker_fd = hints->wake_fd = -1;
	pthread_mutex_init(&hints->lock, NULL);
	rc = hints->directory ? open_store(hints, err) : err_memory(err);
	if (rc == OK)
		rc = hints_writer_start(hints, err);
	if (rc != OK) {
		writer_stop(hints);
		marker_close(hints, false);
		hints_free(hints);
		return rc;
	}
	*hints_ret = hints;
	return OK;
}

void hints_on_trouble(struct hints *hints, void (*tell)(void *arg, struct slice text), void *arg)
{
	hints->tell = tell;
	hints->tell_arg = arg;
}

static void let_go_of_store(struct hints_shard *state)
{
	if (state->read)
		mdb_txn_abort(state->read);
	state->read = NULL;
	store_unref(state->store);
	state->store = NULL;
}

static void op_free(struct hints_shard *state, struct op *op)
{
	state->ops--;
	state->bytes -= op->key_len + op->value_len;
	free(op);
}

void hints_stop(struct hints *hints)
{
	if (hints)
		writer_stop(hints);
}

void hints_close(struct hints *hints)
{
	if (!hints)
		return;
	writer_stop(hints);
	while (hints->shards) {
		struct hints_shard *state = hints->shards;
		struct op *op = atomic_load(&state->finished);

		hints->shards = state->next;
		while (op) {
			struct op *next = op->next;

			op_free(state, op);
			op = next;
		}
		map_done(&state->overlay);
		let_go_of_store(state);
		free(state);
	}
	marker_close(hints, true);
	hints_free(hints);
}

/* ---- A shard's operations ----------------------------------------------------------------------------- */

struct update {
	struct waitq waiters;
	bool done;
	enum rc rc;
	int lmdb_rc;
};

static void take_back(struct mail *mail, struct shard *here)
{
	struct hints_shard *state = CONTAINER_OF(mail, struct hints_shard, mail);
	struct op *op;

	(void)here;
	/* Cleared first: what is pushed from now on brings its own mail. */
	atomic_store(&state->mail_posted, false);
	op = atomic_exchange(&state->finished, NULL);
	while (op) {
		struct op *next = op->next;

		if (map_get(&state->overlay, op_map_key(op)) == op)
			(void)map_remove(&state->overlay, op_map_key(op));
		if (op->update) {
			op->update->done = true;
			op->update->rc = op->rc;
			op->update->lmdb_rc = op->lmdb_rc;
			waitq_wake_all(&op->update->waiters);
		}
		op_free(state, op);
		op = next;
	}
}

enum rc hints_attach(struct hints *hints, struct shard *shard, struct err *err)
{
	struct hints_shard *state = calloc(1, sizeof(*state));

	if (!state)
		return err_memory(err);
	state->hints = hints;
	state->shard = shard;
	state->mail.at_peer = take_back;
	state->metrics = shard_metrics(shard, &hints_metric_table, &state->own_metrics);
	map_init(&state->overlay, NULL, false);
	pthread_mutex_lock(&hints->lock);
	if (!atomic_load(&hints->metrics)) {
		tally_set(&state->metrics->bytes_max, hints->size_max);
		tally_set(&state->metrics->bytes_used, store_bytes_used(atomic_load(&hints->store), NULL));
		atomic_store(&hints->metrics, state->metrics);
	}
	state->next = hints->shards;
	hints->shards = state;
	pthread_mutex_unlock(&hints->lock);
	shard_slot_set(shard, &hints_slot, state);
	return OK;
}

/* From the heap, since it goes to another thread and comes back. NULL: no room in the queue, or none at all. */
static struct op *op_new(struct hints_shard *state, enum op_kind kind, enum hints_db db, struct slice key,
			 struct slice value)
{
	char buf[HINTS_KEY_MAX];
	struct slice stored = hints_stored_key(key, buf);
	struct op *op = NULL;

	if (key.len && value.len <= HINTS_VALUE_MAX && state->ops < OPS_PER_SHARD_MAX &&
	    state->bytes < BYTES_PER_SHARD_MAX)
		op = malloc(sizeof(*op) + 1 + stored.len + value.len);
	if (!op) {
		tally_up(&state->metrics->refused);
		atomic_fetch_add_explicit(&state->hints->dropped, 1, memory_order_relaxed);
		return NULL;
	}
	*op = (struct op){
	    .from = state, .kind = kind, .db = db, .key_len = 1 + stored.len, .value_len = value.len};
	op->bytes[0] = (char)db;
	memcpy(op->bytes + 1, stored.ptr, stored.len);
	memcpy(op->bytes + op->key_len, value.ptr, value.len);
	state->ops++;
	state->bytes += op->key_len + op->value_len;
	return op;
}

static void post(struct shard *shard, enum op_kind kind, enum hints_db db, struct slice key,
		 struct slice value)
{
	struct hints_shard *state = shard_slot(shard, &hints_slot);
	struct op *op;

	if (!state)
		return; /* a user who only tests something may have none */
	op = op_new(state, kind, db, key, value);
	if (!op)
		return;
	/* The map borrows the key from the op, so the older op's must go with it. */
	(void)map_remove(&state->overlay, op_map_key(op));
	if (!map_set(&state->overlay, op_map_key(op), op)) {
		op_free(state, op);
		return;
	}
	writer_push(state->hints, op);
}

void hints_put(struct shard *shard, enum hints_db db, struct slice key, struct slice value)
{
	post(shard, OP_PUT, db, key, value);
}

void hints_delete(struct shard *shard, enum hints_db db, struct slice key)
{
	post(shard, OP_DELETE, db, key, SLICE_EMPTY);
}

void hints_merge(struct shard *shard, enum hints_db db, struct slice key, struct slice addition,
		 ptrdiff_t (*fn)(struct slice old, struct slice addition, char *new_value))
{
	struct hints_shard *state = shard_slot(shard, &hints_slot);
	struct op *op = state ? op_new(state, OP_MERGE, db, key, addition) : NULL;

	if (!op)
		return;
	op->merge = fn;
	writer_push(state->hints, op);
}

enum rc hints_update(struct task *task, enum hints_db db, struct slice key,
		     ptrdiff_t (*fn)(void *arg, struct slice old, char *new_value), void *arg,
		     struct err *err)
{
	struct hints_shard *state = shard_slot(task->shard, &hints_slot);
	struct update update = {.done = false};
	struct task patient;
	struct op *op;

	if (!state)
		return err_set(err, DEFER, "there are no hints");
	if (task->cancelled)
		return CANCELLED;
	op = op_new(state, OP_UPDATE, db, key, SLICE_EMPTY);
	if (!op)
		return err_set(err, DEFER, "the writer of hints does not keep up");
	waitq_init(&update.waiters);
	op->fn = fn;
	op->arg = arg;
	op->update = &update;
	writer_push(state->hints, op);
	task_init(&patient, task->shard, task->arena, UNTIL_NEVER);
	while (!update.done)
		if (waitq_wait(&patient, &update.waiters) != OK)
			ASSERT(!"no deadline, and nobody cancels");
	if (update.rc != OK)
		return err_set(err, update.rc, "writing a hint: %s", mdb_strerror(update.lmdb_rc));
	return OK;
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

static void follow_store(struct hints_shard *state)
{
	struct hints *hints = state->hints;

	if (LIKELY(state->store == atomic_load_explicit(&hints->store, memory_order_acquire)))
		return;
	let_go_of_store(state);
	pthread_mutex_lock(&hints->lock);
	state->store = atomic_load(&hints->store);
	atomic_fetch_add(&state->store->refs, 1);
	pthread_mutex_unlock(&hints->lock);
}

static int read_begin(struct hints_shard *state)
{
	follow_store(state);
	return state->read ? mdb_txn_renew(state->read)
			   : mdb_txn_begin(state->store->env, NULL, MDB_RDONLY, &state->read);
}

static enum rc get(struct shard *shard, enum hints_db db, struct slice key, struct arena *arena,
		   struct slice *value_ret, struct err *err)
{
	struct hints_shard *state = shard_slot(shard, &hints_slot);
	char buf[1 + HINTS_KEY_MAX];
	struct slice stored = hints_stored_key(key, buf + 1), copy;
	const struct op *op;
	MDB_val k, v;
	int rc;

	if (!state)
		return err_set(err, DEFER, "there are no hints");
	if (!key.len)
		return FAIL;
	if (state->overlay.count) {
		buf[0] = (char)db;
		memmove(buf + 1, stored.ptr, stored.len);
		stored.ptr = buf + 1;
		op = map_get(&state->overlay, slice_make(buf, 1 + stored.len, CLEAN));
		if (op && op->kind == OP_DELETE)
			return FAIL;
		if (op) {
			copy = arena_copy(arena, slice_make(op->bytes + op->key_len, op->value_len, TAINTED));
			*value_ret = copy;
			return copy.ptr ? OK : err_memory(err);
		}
	}
	rc = read_begin(state);
	if (rc) {
		let_go_of_store(state);
		return err_set(err, DEFER, "reading hints: %s", mdb_strerror(rc));
	}
	k = (MDB_val){stored.len, (void *)stored.ptr};
	rc = mdb_get(state->read, state->store->dbi[db], &k, &v);
	if (!rc && v.mv_size < STAMP_SIZE)
		rc = MDB_NOTFOUND; /* nothing that we wrote */
	if (!rc)
		copy = arena_copy(
		    arena, slice_make((char *)v.mv_data + STAMP_SIZE, v.mv_size - STAMP_SIZE, TAINTED));
	mdb_txn_reset(state->read);
	if (rc == MDB_NOTFOUND)
		return FAIL;
	if (rc)
		return err_set(err, DEFER, "reading hints: %s", mdb_strerror(rc));
	if (!copy.ptr)
		return err_memory(err);
	*value_ret = copy;
	return OK;
}

enum rc hints_get(struct shard *shard, enum hints_db db, struct slice key, struct arena *arena,
		  struct slice *value_ret, struct err *err)
{
	enum rc rc = get(shard, db, key, arena, value_ret, err);
	struct hints_shard *state = shard_slot(shard, &hints_slot);

	if (state)
		tally_up(rc == OK     ? &state->metrics->found
			 : rc == FAIL ? &state->metrics->none
				      : &state->metrics->deferred);
	DEBUG(DEBUG_HINTS_LOOKUP, "hints %s: key=%.*s: %s", hints_db_names[db], SLICE_ARG(key),
	      rc == OK     ? "found"
	      : rc == FAIL ? "none"
			   : "deferred");
	return rc;
}

/* A cursor on the first key behind that one. */
static int step_behind(MDB_cursor *cursor, struct slice behind, MDB_val *key, MDB_val *value)
{
	int rc;

	*key = (MDB_val){behind.len, (void *)behind.ptr};
	rc = mdb_cursor_get(cursor, key, value, behind.len ? MDB_SET_RANGE : MDB_FIRST);
	while (!rc && (value->mv_size < STAMP_SIZE ||
		       (key->mv_size == behind.len && memcmp(key->mv_data, behind.ptr, behind.len) == 0)))
		rc = mdb_cursor_get(cursor, key, value, MDB_NEXT);
	return rc;
}

enum rc hints_next(struct shard *shard, enum hints_db db, struct slice behind, struct arena *arena,
		   struct slice *key_ret, struct slice *value_ret, struct err *err)
{
	struct hints_shard *state = shard_slot(shard, &hints_slot);
	MDB_val key, value;
	MDB_cursor *cursor;
	int rc;

	if (!state)
		return err_set(err, DEFER, "there are no hints");
	rc = read_begin(state);
	if (!rc)
		rc = mdb_cursor_open(state->read, state->store->dbi[db], &cursor);
	if (rc) {
		let_go_of_store(state);
		return err_set(err, DEFER, "reading hints: %s", mdb_strerror(rc));
	}
	rc = step_behind(cursor, behind, &key, &value);
	if (!rc) {
		*key_ret = arena_copy(arena, slice_make(key.mv_data, key.mv_size, TAINTED));
		*value_ret = arena_copy(arena, slice_make((char *)value.mv_data + STAMP_SIZE,
							  value.mv_size - STAMP_SIZE, TAINTED));
	}
	mdb_cursor_close(cursor);
	mdb_txn_reset(state->read);
	if (rc)
		return rc == MDB_NOTFOUND ? FAIL : err_set(err, DEFER, "reading hints: %s", mdb_strerror(rc));
	return key_ret->ptr && value_ret->ptr ? OK : err_memory(err);
}

/* One piece in one short transaction, beginning behind *from. 0: there is more. */
static int each_piece(struct store *store, enum hints_db db, struct slice *from, char *buf,
		      bool (*each)(void *arg, struct slice key, struct slice value), void *arg)
{
	MDB_val key = {from->len, (void *)from->ptr}, value;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return rc;
	rc = mdb_cursor_open(txn, store->dbi[db], &cursor);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	rc = mdb_cursor_get(cursor, &key, &value, from->len ? MDB_SET_RANGE : MDB_FIRST);
	for (unsigned n = 0; !rc && n < EACH_PIECE; n++) {
		struct slice k = slice_make(key.mv_data, key.mv_size, TAINTED);

		/* The first one again, if it is still there. */
		if (!(n == 0 && from->len && slice_eq(k, *from)) && value.mv_size >= STAMP_SIZE &&
		    k.len <= HINTS_KEY_MAX &&
		    !each(arg, k,
			  slice_make((char *)value.mv_data + STAMP_SIZE, value.mv_size - STAMP_SIZE,
				     TAINTED))) {
			rc = MDB_NOTFOUND;
			break;
		}
		if (n + 1 == EACH_PIECE && k.len <= HINTS_KEY_MAX) {
			memcpy(buf, k.ptr, k.len);
			*from = slice_make(buf, k.len, CLEAN);
		} else {
			rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		}
	}
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return rc;
}

enum rc hints_each(struct hints *hints, enum hints_db db,
		   bool (*each)(void *arg, struct slice key, struct slice value), void *arg, struct err *err)
{
	struct slice from = SLICE_EMPTY;
	char buf[HINTS_KEY_MAX];
	struct store *store;
	int rc;

	pthread_mutex_lock(&hints->lock);
	store = atomic_load(&hints->store);
	atomic_fetch_add(&store->refs, 1);
	pthread_mutex_unlock(&hints->lock);
	do
		rc = each_piece(store, db, &from, buf, each, arg);
	while (!rc);
	store_unref(store);
	return rc == MDB_NOTFOUND ? OK : err_set(err, DEFER, "reading hints: %s", mdb_strerror(rc));
}

void hints_stats(struct hints *hints, struct hints_stats *stats_ret)
{
	*stats_ret = (struct hints_stats){
	    .written = atomic_load_explicit(&hints->written, memory_order_relaxed),
	    .dropped = atomic_load_explicit(&hints->dropped, memory_order_relaxed),
	    .batches = atomic_load_explicit(&hints->batches, memory_order_relaxed),
	    .tidied = atomic_load_explicit(&hints->tidied, memory_order_relaxed),
	    .made_anew = atomic_load_explicit(&hints->made_anew, memory_order_relaxed),
	    .pages_used = atomic_load_explicit(&hints->pages_used, memory_order_relaxed),
	    .pages_max = hints->size_max / 4096,
	};
}

static const struct metric metric_rows[] = {
    METRIC_COUNTER(struct hints_metrics, found, "sluice_hints_lookups_total", "result=\"found\"",
		   "hints that were asked for"),
    METRIC_COUNTER(struct hints_metrics, none, "sluice_hints_lookups_total", "result=\"none\"", ""),
    METRIC_COUNTER(struct hints_metrics, deferred, "sluice_hints_lookups_total", "result=\"deferred\"", ""),
    METRIC_COUNTER(struct hints_metrics, written, "sluice_hints_changes_total", "result=\"written\"",
		   "changes of hints; full: of the queue to the writer"),
    METRIC_COUNTER(struct hints_metrics, lost, "sluice_hints_changes_total", "result=\"failed\"", ""),
    METRIC_COUNTER(struct hints_metrics, refused, "sluice_hints_changes_total", "result=\"full\"", ""),
    METRIC_COUNTER(struct hints_metrics, batches, "sluice_hints_commits_total", "result=\"ok\"",
		   "transactions of the writer"),
    METRIC_COUNTER(struct hints_metrics, batches_failed, "sluice_hints_commits_total", "result=\"failed\"",
		   ""),
    METRIC_COUNTER(struct hints_metrics, tidied, "sluice_hints_tidied_total", "",
		   "old hints that made room for new ones"),
    METRIC_COUNTER(struct hints_metrics, made_anew, "sluice_hints_made_anew_total", "",
		   "databases that were lost or damaged, and begun anew"),
    METRIC_GAUGE(struct hints_metrics, bytes_used, "sluice_hints_used_bytes", "",
		 "pages of the databases that are in use"),
    METRIC_GAUGE(struct hints_metrics, bytes_max, "sluice_hints_size_bytes", "", "of the map"),
};
const struct metric_table hints_metric_table = {metric_rows, ARRAY_COUNT(metric_rows),
						sizeof(struct hints_metrics)};
