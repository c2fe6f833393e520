/* open_file: database files that are kept open between lookups, at most lookup_open_max of them, least
 * recently used first to go. */

#include "shard_files.h"

#include <errno.h>
#include <stdlib.h>

#include "options.h"

static void open_file_free(struct shard *shard, struct open_file *file)
{
	if (file->extra)
		file->extra_free(file->extra);
	file_close(shard, file->fd);
	free((char *)file->path.ptr);
	free(file);
}

static void open_file_drop(struct shard *shard, struct open_file *file, unsigned *count)
{
	list_remove(&file->lru);
	(*count)--;
	file->current = false;
	if (!file->refs)
		open_file_free(shard, file);
}

static struct open_file *open_file_find(struct link *list, struct slice path)
{
	LIST_EACH (l, list) {
		struct open_file *file = LIST_ITEM(l, struct open_file, lru);

		if (slice_eq(file->path, path))
			return file;
	}
	return NULL;
}

static struct open_file *open_file_make(const char *path, int fd, const struct file_stamp *stamp)
{
	struct open_file *file = calloc(1, sizeof(*file));
	char *copy = strdup(path);

	if (!file || !copy) {
		free(file);
		free(copy);
		return NULL;
	}
	list_init(&file->lru);
	file->path = slice_of(copy);
	file->fd = fd;
	file->stamp = *stamp;
	return file;
}

/* The file behind the descriptor is the one that was looked at, unless the name changed hands in between:
 * then the stamp differs at the next look, and it is opened again. */
static enum rc open_new(struct scope *sc, const char *path, const char *what, const struct stat *st,
			struct open_file **file_ret, struct err *err)
{
	struct file_stamp stamp = file_stamp_of(st);
	struct err why = err_make(NULL);
	enum rc rc;
	int fd;

	if (!S_ISREG(st->st_mode))
		return err_set(err, DEFER, "%s is not a regular file (%s)", path, what);
	rc = file_open(sc->task, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, &fd, &why);
	if (rc == CANCELLED)
		return rc;
	if (rc != OK)
		return err_os(err, DEFER, why.os ? why.os : ETIMEDOUT, "failed to open %s for %s", path,
			      what);
	*file_ret = open_file_make(path, fd, &stamp);
	if (!*file_ret) {
		file_close(sc->task->shard, fd);
		return err_memory(err);
	}
	return OK;
}

enum rc open_file_get(struct scope *sc, struct slice path, const char *what, struct open_file **file_ret,
		      struct err *err)
{
	struct shard *shard = sc->task->shard;
	struct shard_files *files = shard_files_of(shard);
	struct err why = err_make(NULL);
	struct open_file *file, *other;
	struct file_stamp stamp;
	struct link *list;
	unsigned *count;
	struct stat st;
	char *name;
	enum rc rc;

	rc = file_name_check(path, what, err);
	if (rc != OK)
		return rc;
	if (!files)
		return err_memory(err);
	list = shard_open_files(files, &count);
	file = open_file_find(list, path);
	if (file && shard_now(shard) - file->checked_at < FILE_FRESH_NS)
		goto found;
	name = arena_cstr(sc->task->arena, path);
	if (!name)
		return err_memory(err);
	rc = file_stat(sc->task, name, true, &st, &why);
	if (rc == CANCELLED)
		return rc;
	if (rc != OK)
		return err_os(err, DEFER, why.os ? why.os : ETIMEDOUT, "failed to open %s for %s", name,
			      what);
	stamp = file_stamp_of(&st);
	file = open_file_find(list, path); /* it may have gone while we were parked */
	if (!file || file->stamp.device != stamp.device || file->stamp.inode != stamp.inode) {
		rc = open_new(sc, name, what, &st, &file, err);
		if (rc != OK)
			return rc;
		other = open_file_find(list, path);
		if (other)
			open_file_drop(shard, other, count);
		file->current = true;
		list_prepend(list, &file->lru);
		++*count;
	}
	file->stamp = stamp; /* written in place, it is still the same file */
	file->racy = (int64_t)shard_wall(shard) - stamp.mtime_ns < (int64_t)FILE_TICK_NS;
	file->checked_at = shard_now(shard);
found:
	file->refs++;
	list_remove(&file->lru);
	list_prepend(list, &file->lru);
	while (*count > lookup_open_max(sc->conf))
		open_file_drop(shard, LIST_ITEM(list->prev, struct open_file, lru), count);
	*file_ret = file;
	return OK;
}

void open_file_put(struct shard *shard, struct open_file *file)
{
	ASSERT(file->refs > 0);
	if (--file->refs == 0 && !file->current)
		open_file_free(shard, file);
}

void open_files_done(struct shard *shard, struct shard_files *files)
{
	unsigned *count;
	struct link *list = shard_open_files(files, &count);

	LIST_EACH (l, list)
		open_file_drop(shard, LIST_ITEM(l, struct open_file, lru), count);
}
