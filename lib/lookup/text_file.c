/* text_file: administrators' text files in memory, with what was made of them, one version shared by all work
 * of a shard.
 *
 * They are read, not mapped: a mapping of a file that an editor truncates in place kills the process with
 * SIGBUS at the next look, and a page that is not in memory stops the whole shard. The price is memory per
 * shard, which has a bound. Entries live on the heap: they outlast any message. */

#include "shard_files.h"
#include "sql_server.h"
#include "sqlite.h"

#include <errno.h>
#include <stdlib.h>

#define FILE_COUNT_MAX 256
#define FILE_BYTES_MAX \
	(1024ull * 1024 * 1024)      /* files and indexes of one shard; a single one may be larger */
#define READ_SIZE      (256u * 1024) /* a piece at a time, so that others run in between */
#define BUILD_HERE_MAX (32u * 1024)  /* larger files are worked on by a helper thread */
#define READ_TRIES     3

struct version {
	struct text_file file; /* first */
	const struct text_file_kind *kind;
	struct file_stamp stamp;
	char *memory;
	void *built;
	size_t cost;
	uint64_t checked_at; /* shard_now() */
	bool racy;           /* changed so recently that a further change might not show in its times */
	bool current;        /* in its slot; else it goes when the last one lets go */
};
/* The place of a path and kind in the cache. */
struct slot {
	struct link lru;
	char *key; /* kind's address, then the path, NUL */
	size_t key_len;
	char *path;
	const struct text_file_kind *kind;
	struct version *version;
	struct waitq waiters;
	unsigned users; /* fibers inside text_file_get() */
	bool loading;
};
struct shard_files {
	struct map slots;
	struct link lru; /* most recently used first */
	unsigned count;
	uint64_t bytes, serial;
	struct link open_files;
	unsigned open_count;
};

static struct shard_slot files_slot;

struct shard_files *shard_files_of(struct shard *shard)
{
	struct shard_files *files = shard_slot(shard, &files_slot);

	if (files)
		return files;
	files = calloc(1, sizeof(*files));
	if (!files)
		return NULL;
	map_init(&files->slots, NULL, false);
	list_init(&files->lru);
	list_init(&files->open_files);
	shard_slot_set(shard, &files_slot, files);
	return files;
}

struct link *shard_open_files(struct shard_files *files, unsigned **count_ret)
{
	*count_ret = &files->open_count;
	return &files->open_files;
}

struct file_stamp file_stamp_of(const struct stat *st)
{
	return (struct file_stamp){
	    .device = st->st_dev,
	    .inode = st->st_ino,
	    .size = (uint64_t)st->st_size,
	    .mtime_ns = (int64_t)st->st_mtim.tv_sec * (int64_t)NS_PER_S + st->st_mtim.tv_nsec,
	    .ctime_ns = (int64_t)st->st_ctim.tv_sec * (int64_t)NS_PER_S + st->st_ctim.tv_nsec,
	};
}

bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

enum rc file_name_check(struct slice path, const char *what, struct err *err)
{
	if (path.taint)
		return err_set(err, DEFER, "Tainted filename for search: '%.*s'", SLICE_ARG(path));
	if (path.len == 0 || path.ptr[0] != '/' || slice_find(path, '\0') >= 0)
		return err_os(err, DEFER, ENOENT, "failed to open %.*s for %s", SLICE_ARG(path), what);
	return OK;
}

static void version_free(struct version *version)
{
	if (version->built)
		version->kind->free(version->built);
	free(version->memory);
	free((char *)version->file.path.ptr);
	free(version);
}

static void version_drop(struct shard_files *files, struct version *version)
{
	if (!version)
		return;
	files->bytes -= version->cost;
	version->current = false;
	if (!version->file.refs)
		version_free(version);
}

static void slot_free(struct shard_files *files, struct slot *slot)
{
	version_drop(files, slot->version);
	(void)map_remove(&files->slots, slice_make(slot->key, slot->key_len, CLEAN)); /* it was in there */
	list_remove(&slot->lru);
	files->count--;
	free(slot->key);
	free(slot);
}

/* The least recently used go until the bounds are kept; what a fiber works with stays. */
static void files_shrink(struct shard_files *files, const struct slot *keep)
{
	struct link *l = files->lru.prev;

	while (l != &files->lru && (files->count > FILE_COUNT_MAX || files->bytes > FILE_BYTES_MAX)) {
		struct slot *slot = LIST_ITEM(l, struct slot, lru);

		l = l->prev;
		if (slot != keep && !slot->users)
			slot_free(files, slot);
	}
}

static struct slot *slot_get(struct shard_files *files, struct arena *arena, struct slice path,
			     const struct text_file_kind *kind)
{
	char *name = arena_bytes(arena, sizeof(kind) + path.len);
	struct slot *slot;
	struct slice key;

	if (!name)
		return NULL;
	memcpy(name, &kind, sizeof(kind));
	memcpy(name + sizeof(kind), path.ptr, path.len);
	key = slice_make(name, sizeof(kind) + path.len, CLEAN);
	slot = map_get(&files->slots, key);
	if (slot) {
		list_remove(&slot->lru);
		list_prepend(&files->lru, &slot->lru);
		return slot;
	}
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return NULL;
	slot->key = malloc(key.len + 1u);
	if (!slot->key)
		goto fail;
	memcpy(slot->key, key.ptr, key.len);
	slot->key[key.len] = '\0';
	slot->key_len = key.len;
	slot->path = slot->key + sizeof(kind);
	slot->kind = kind;
	waitq_init(&slot->waiters);
	if (!map_set(&files->slots, slice_make(slot->key, slot->key_len, CLEAN), slot))
		goto fail;
	list_prepend(&files->lru, &slot->lru);
	files->count++;
	files_shrink(files, slot);
	return slot;
fail:
	free(slot->key);
	free(slot);
	return NULL;
}

/* ---- Reading ---------------------------------------------------------------------------- */

/* One reading of a file, on the heap: a helper thread may still be at it when nobody waits any more. */
struct reading {
	const struct text_file_kind *kind;
	struct slice bytes;
	char *memory;
	void *built;
	size_t cost;
	enum rc rc;
};

static void reading_free(void *arg)
{
	struct reading *reading = arg;

	if (reading->built)
		reading->kind->free(reading->built);
	free(reading->memory);
	free(reading);
}

static void reading_build(void *arg)
{
	struct reading *reading = arg;

	reading->rc = reading->kind->build(reading->bytes, &reading->built, &reading->cost);
}

static enum rc look(struct task *task, const struct slot *slot, struct stat *st, struct err *err)
{
	struct err why = err_make(NULL);
	enum rc rc;

	rc = file_stat(task, slot->path, true, st, &why);
	if (rc == CANCELLED)
		return rc;
	if (rc != OK)
		return err_os(err, DEFER, why.os ? why.os : ETIMEDOUT, "failed to open %s for %s", slot->path,
			      slot->kind->name);
	if (!S_ISREG(st->st_mode))
		return err_set(err, DEFER, "%s is not a regular file (%s)", slot->path, slot->kind->name);
	if (st->st_size > TEXT_FILE_SIZE_MAX)
		return err_set(err, DEFER, "%s is too large (%s)", slot->path, slot->kind->name);
	return OK;
}

/* All bytes of the open file, however many they have become since we looked. */
static enum rc slurp(struct task *task, const struct slot *slot, int fd, size_t size, struct reading *reading,
		     struct err *err)
{
	size_t len = 0, got;
	enum rc rc;

	reading->memory = malloc(size + 1);
	if (!reading->memory)
		return err_memory(err);
	memory_is_large(reading->memory, size + 1);
	while (len < size) {
		size_t want = size - len < READ_SIZE ? size - len : READ_SIZE;

		rc = file_read(task, fd, reading->memory + len, want, len, &got, err);
		if (rc != OK) {
			err_prefix(err, "failed to read %s for %s", slot->path, slot->kind->name);
			return rc == FAIL ? DEFER : rc;
		}
		if (got == 0)
			break; /* shorter than it was */
		len += got;
	}
	reading->bytes = slice_make(reading->memory, len, CLEAN);
	return OK;
}

static enum rc build(struct task *task, struct reading **reading, struct err *err)
{
	struct reading *r = *reading;
	enum rc rc;

	if (!r->kind->build)
		return OK;
	if (r->bytes.len <= BUILD_HERE_MAX) {
		reading_build(r);
	} else {
		rc = offload_call(task, reading_build, r, reading_free, err);
		if (rc != OK) {
			*reading = NULL; /* freed when the helper has done with it */
			return rc == FAIL ? DEFER : rc;
		}
	}
	if (r->rc == DEFER)
		return err_memory(err);
	if (r->rc != OK)
		return err_set(err, DEFER, "malformed file");
	return OK;
}

static enum rc read_once(struct task *task, const struct slot *slot, size_t size,
			 struct reading **reading_ret, struct err *err)
{
	struct err why = err_make(NULL);
	struct reading *reading;
	enum rc rc;
	int fd;

	rc = file_open(task, slot->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, &fd, &why);
	if (rc == CANCELLED)
		return rc;
	if (rc != OK)
		return err_os(err, DEFER, why.os ? why.os : ETIMEDOUT, "failed to open %s for %s", slot->path,
			      slot->kind->name);
	reading = calloc(1, sizeof(*reading));
	if (!reading) {
		file_close(task->shard, fd);
		return err_memory(err);
	}
	reading->kind = slot->kind;
	rc = slurp(task, slot, fd, size, reading, err);
	file_close(task->shard, fd);
	if (rc != OK)
		reading_free(reading);
	else
		*reading_ret = reading;
	return rc;
}

/* Takes over what was read. NULL: no memory. */
static struct version *version_make(struct shard_files *files, struct slot *slot, struct reading *reading,
				    const struct file_stamp *stamp)
{
	struct version *version = calloc(1, sizeof(*version));
	char *path = strdup(slot->path);

	if (!version || !path) {
		free(version);
		free(path);
		return NULL;
	}
	version->file.path = slice_of(path);
	version->file.bytes = reading->bytes;
	version->file.built = version->built = reading->built;
	version->file.serial = ++files->serial;
	version->kind = slot->kind;
	version->stamp = *stamp;
	version->memory = reading->memory;
	version->cost = reading->bytes.len + reading->cost + sizeof(*version);
	reading->memory = NULL;
	reading->built = NULL;
	return version;
}

/* Reads the file until it is the same before and after; one that changes all the time is taken as it comes,
 * and looked at again next time. */
static enum rc slot_load(struct task *task, struct shard_files *files, struct slot *slot, struct stat *st,
			 struct err *err)
{
	struct reading *reading = NULL;
	struct file_stamp before, after;
	struct version *version;
	enum rc rc;

	for (unsigned try = 0;; try++) {
		before = file_stamp_of(st);
		rc = read_once(task, slot, (size_t)st->st_size, &reading, err);
		if (rc == OK)
			rc = look(task, slot, st, err);
		if (rc != OK)
			goto out;
		after = file_stamp_of(st);
		if (file_stamp_eq(&before, &after) || try + 1 == READ_TRIES)
			break;
		reading_free(reading);
		reading = NULL;
	}
	rc = build(task, &reading, err);
	if (rc != OK)
		goto out;
	version = version_make(files, slot, reading, &after);
	if (!version) {
		rc = err_memory(err);
		goto out;
	}
	version->racy = !file_stamp_eq(&before, &after) ||
			(int64_t)shard_wall(task->shard) - after.mtime_ns < (int64_t)FILE_TICK_NS;
	version->checked_at = shard_now(task->shard);
	version->current = true;
	version_drop(files, slot->version);
	slot->version = version;
	files->bytes += version->cost;
	files_shrink(files, slot);
out:
	if (reading)
		reading_free(reading);
	return rc;
}

/* One step towards a fresh version: OK when there is one, DEFER with text when it cannot be had, FAIL: look
 * again. */
static enum rc slot_step(struct task *task, struct shard_files *files, struct slot *slot, struct err *err)
{
	struct version *version = slot->version;
	struct file_stamp stamp;
	struct stat st;
	enum rc rc;

	if (version && shard_now(task->shard) - version->checked_at < FILE_FRESH_NS && !version->racy)
		return OK;
	if (slot->loading) {
		rc = waitq_wait(task, &slot->waiters);
		if (rc == CANCELLED)
			return rc;
		if (rc != OK)
			return err_set(err, DEFER, "timed out while %s was read", slot->path);
		return slot->version && shard_now(task->shard) - slot->version->checked_at < FILE_FRESH_NS
			   ? OK
			   : FAIL;
	}
	rc = look(task, slot, &st, err);
	if (rc != OK || slot->loading)
		return rc == OK ? FAIL : rc;
	stamp = file_stamp_of(&st);
	version = slot->version; /* another may have read it meanwhile */
	if (version && !version->racy && file_stamp_eq(&version->stamp, &stamp)) {
		version->checked_at = shard_now(task->shard);
		return OK;
	}
	slot->loading = true;
	rc = slot_load(task, files, slot, &st, err);
	slot->loading = false;
	waitq_wake_all(&slot->waiters);
	return rc;
}

enum rc text_file_get(struct task *task, struct slice path, const struct text_file_kind *kind,
		      struct text_file **file_ret, struct err *err)
{
	struct shard_files *files = shard_files_of(task->shard);
	struct slot *slot;
	enum rc rc;

	rc = file_name_check(path, kind->name, err);
	if (rc != OK)
		return rc;
	slot = files ? slot_get(files, task->arena, path, kind) : NULL;
	if (!slot)
		return err_memory(err);
	slot->users++;
	do
		rc = slot_step(task, files, slot, err);
	while (rc == FAIL);
	slot->users--;
	if (rc == OK) {
		slot->version->file.refs++;
		*file_ret = &slot->version->file;
	}
	files_shrink(files, slot);
	return rc;
}

void text_file_put(struct shard *shard, struct text_file *file)
{
	struct version *version = (struct version *)file;

	(void)shard;
	if (!file)
		return;
	ASSERT(file->refs > 0);
	if (--file->refs == 0 && !version->current)
		version_free(version);
}

static const struct text_file_kind plain_file = {.name = "reading"};

enum rc file_cached(struct scope *sc, struct slice path, struct slice *bytes_ret, struct err *err)
{
	struct text_file *file;
	enum rc rc;

	rc = text_file_get(sc->task, path, &plain_file, &file, err);
	if (rc != OK)
		return rc;
	*bytes_ret = file->bytes;
	text_file_put(sc->task->shard, file);
	return OK;
}

void lookup_done(struct shard *shard)
{
	struct shard_files *files = shard_slot(shard, &files_slot);

	sqlite_done(shard);
	sql_done(shard);
	if (!files)
		return;
	LIST_EACH (l, &files->lru)
		slot_free(files, LIST_ITEM(l, struct slot, lru));
	open_files_done(shard, files);
	map_done(&files->slots);
	free(files);
	shard_slot_set(shard, &files_slot, NULL);
}
