/* sqlite: statements on an SQLite database. The library reads, writes and locks files, so a helper thread calls it;
 * connections are kept between lookups, each used by one at a time. */

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "options.h"
#include "quote.h"
#include "sql.h"
#include "sqlite.h"
#include "types.h"

/* A statement that works longer than this many of the library's instructions (some 20 seconds) is stopped; the lookup
 * itself is given up before, so that only a helper thread is kept. */
#define STEPS_AT_A_TIME 1000000
#define STEPS_COUNT_MAX 1000
#define LOOKUP_LIMIT_MS 30000

struct database {
	struct link link; /* of the shard's idle ones, the last used first */
	char *path;
	sqlite3 *db;
	dev_t device;
	ino_t inode;
};
struct databases {
	struct link idle;
	unsigned count;
};

/* A lookup on its way through the helper thread: on the heap, since its caller may leave before. */
struct asking {
	struct arena arena; /* of chunks that may change threads */
	char *path, *query;
	int lock_timeout_ms;
	struct database *database; /* NULL: open it */
	struct sql_text text;
	unsigned steps;
	char *why; /* the library's; NULL: well */
};

static struct shard_slot databases_slot;

/* ---- On a helper thread ---------------------------------------------------------------------- */

static void database_free(struct database *d)
{
	if (!d)
		return;
	(void)sqlite3_close(d->db);
	free(d->path);
	free(d);
}

static void asking_free(void *arg)
{
	struct asking *a = arg;

	database_free(a->database);
	sqlite3_free(a->why);
	arena_done(&a->arena);
	free(a);
}

static int on_row(void *arg, int count, char **values, char **names)
{
	struct asking *a = arg;

	sql_row_begin(&a->text);
	for (int i = 0; i < count; i++)
		sql_field(&a->text, (unsigned)count, names[i], slice_of(values[i] ? values[i] : "<NULL>"));
	return a->text.out.failed || a->text.out.len > SQL_RESULT_SIZE_MAX;
}

static int on_steps(void *arg)
{
	struct asking *a = arg;

	return ++a->steps > STEPS_COUNT_MAX;
}

/* Another file may have taken the name since. */
static bool database_is_current(const struct database *d)
{
	struct stat st;

	return !stat(d->path, &st) && st.st_dev == d->device && st.st_ino == d->inode;
}

static struct database *database_open(const char *path, char **why)
{
	struct database *d = calloc(1, sizeof(*d));
	struct stat st;

	if (!d)
		return NULL;
	d->path = strdup(path);
	if (!d->path ||
	    sqlite3_open_v2(path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) ||
	    stat(path, &st)) {
		*why = sqlite3_mprintf("%s", d->db ? sqlite3_errmsg(d->db) : "no memory");
		database_free(d);
		return NULL;
	}
	d->device = st.st_dev;
	d->inode = st.st_ino;
	return d;
}

static void asking_do(void *arg)
{
	struct asking *a = arg;
	int rc;

	if (a->database && !database_is_current(a->database)) {
		database_free(a->database);
		a->database = NULL;
	}
	if (!a->database)
		a->database = database_open(a->path, &a->why);
	if (!a->database) {
		if (!a->why)
			a->why = sqlite3_mprintf("no memory");
		return;
	}
	(void)sqlite3_busy_timeout(a->database->db, a->lock_timeout_ms);
	sqlite3_progress_handler(a->database->db, STEPS_AT_A_TIME, on_steps, a);
	a->text.out = str_make(&a->arena);
	rc = sqlite3_exec(a->database->db, a->query, on_row, a, &a->why);
	sqlite3_progress_handler(a->database->db, 0, NULL, NULL);
	if (rc != SQLITE_OK && !a->why)
		a->why = sqlite3_mprintf("%s", sqlite3_errstr(rc));
}

/* ---- On the shard ----------------------------------------------------------------------------- */

static struct databases *databases_of(struct shard *shard)
{
	struct databases *all = shard_slot(shard, &databases_slot);

	if (all)
		return all;
	all = calloc(1, sizeof(*all));
	if (!all)
		return NULL;
	list_init(&all->idle);
	shard_slot_set(shard, &databases_slot, all);
	return all;
}

static struct database *idle_take(struct databases *all, const char *path)
{
	LIST_EACH (l, &all->idle) {
		struct database *d = LIST_ITEM(l, struct database, link);

		if (strcmp(d->path, path) != 0)
			continue;
		list_remove(l);
		all->count--;
		return d;
	}
	return NULL;
}

/* Closing only frees memory and descriptors: with nothing under way there is nothing to write. */
static void idle_put(struct databases *all, struct database *d, unsigned count_max)
{
	list_prepend(&all->idle, &d->link);
	if (++all->count <= count_max)
		return;
	d = LIST_ITEM(all->idle.prev, struct database, link);
	list_remove(&d->link);
	all->count--;
	database_free(d);
}

void sqlite_done(struct shard *shard)
{
	struct databases *all = shard_slot(shard, &databases_slot);

	if (!all)
		return;
	while (!list_empty(&all->idle))
		database_free(LIST_ITEM(list_shift(&all->idle), struct database, link));
	free(all);
	shard_slot_set(shard, &databases_slot, NULL);
}

/* The database is an option of the type, or stands in front of the query, or is the configuration's. */
static enum rc choose_file(struct scope *sc, const struct lookup_request *request, struct slice *path_ret,
			   struct slice *query_ret, struct err *err)
{
	const struct lookup_options *o = sc->conf ? conf_group(sc->conf, CONF_LOOKUP) : NULL;
	struct slice path = lookup_option(request->options, SLICE("file")), query = slice_ltrim(request->key);

	if (!path.ptr && query.len && query.ptr[0] == '/')
		(void)slice_word(&query, &path);
	else if (!path.ptr)
		path = o ? o->sqlite_dbfile : SLICE_EMPTY;
	if (!path.len)
		return err_set(err, DEFER, "sqlite: no database is named (sqlite_dbfile, file=)");
	if (path.taint == TAINTED)
		return err_set(err, DEFER, "Tainted '%.*s' (file name for sqlite) not permitted",
			       SLICE_ARG(path));
	if (path.ptr[0] != '/')
		return err_set(err, DEFER, "absolute file name expected for \"sqlite\" lookup");
	*path_ret = path;
	*query_ret = slice_ltrim(query);
	return OK;
}

static struct asking *asking_new(struct scope *sc, struct slice path, struct slice query)
{
	const struct lookup_options *o = sc->conf ? conf_group(sc->conf, CONF_LOOKUP) : NULL;
	int64_t lock_s = o ? o->sqlite_lock_timeout : 5;
	struct asking *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	arena_init_chunks(&a->arena, 2 * SQL_RESULT_SIZE_MAX, 2048);
	a->lock_timeout_ms = lock_s > 3600 ? 3600 * 1000 : (int)(lock_s * 1000);
	a->path = arena_cstr(&a->arena, path);
	a->query = arena_cstr(&a->arena, query);
	if (a->path && a->query)
		return a;
	asking_free(a);
	return NULL;
}

static enum rc answer(struct scope *sc, const struct asking *a, struct slice *ret, struct err *err)
{
	struct slice text = str_slice(&a->text.out);

	if (!text.ptr || text.len > SQL_RESULT_SIZE_MAX)
		return err_set(err, DEFER, "sqlite: the result is too large");
	if (a->steps > STEPS_COUNT_MAX)
		return err_set(err, DEFER, "sqlite: the statement took too long");
	if (a->why)
		return err_set(err, DEFER, "sqlite: %s", a->why);
	if (!a->text.rows)
		return FAIL;
	*ret = arena_copy(sc->task->arena, text);
	return ret->ptr ? OK : err_memory(err);
}

static enum rc sqlite_find(struct scope *sc, const struct lookup_type *type,
			   const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct databases *all = databases_of(sc->task->shard);
	uint64_t saved = sc->task->until;
	struct slice path, query;
	struct asking *a;
	enum rc rc;

	(void)type;
	rc = choose_file(sc, request, &path, &query, err);
	if (rc != OK)
		return rc;
	if (slice_find(path, '\0') >= 0 || slice_find(query, '\0') >= 0)
		return err_set(err, DEFER, "sqlite: a NUL in the statement");
	a = all ? asking_new(sc, path, query) : NULL;
	if (!a)
		return err_memory(err);
	a->database = idle_take(all, a->path);
	sc->task->until = task_until(sc->task, LOOKUP_LIMIT_MS);
	rc = offload_call(sc->task, asking_do, a, asking_free, err);
	sc->task->until = saved;
	if (rc != OK) {
		err_prefix(err, "sqlite: no answer");
		return rc == FAIL ? DEFER : rc;
	}
	rc = answer(sc, a, ret, err);
	/* Whatever gave no row may have changed some. */
	if (rc == FAIL && request->keep)
		*request->keep = LOOKUP_FORGET;
	if (a->database) {
		idle_put(all, a->database, lookup_open_max(sc->conf));
		a->database = NULL;
	}
	asking_free(a);
	return rc;
}

const struct lookup_type lookup_sqlite = {
    .name = "sqlite", .query = true, .kept = true, .find = sqlite_find, .quote = quote_sqlite};
