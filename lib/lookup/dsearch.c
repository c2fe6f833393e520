/* dsearch: is there an entry of that name in a directory? Its name, coming back, is clean: the key was a
 * stranger's, the entry is the administrator's. */

#include <errno.h>

#include "shard_files.h"
#include "types.h"

static bool filter_passes(struct slice filter, struct slice key, mode_t mode)
{
	if (!filter.ptr)
		return true;
	if (slice_eq(filter, SLICE("file")))
		return S_ISREG(mode);
	if (slice_eq(filter, SLICE("dir")))
		return S_ISDIR(mode);
	if (slice_eq(filter, SLICE("subdir")))
		return S_ISDIR(mode) && !slice_eq(key, SLICE(".")) && !slice_eq(key, SLICE(".."));
	return true;
}

/* The directory itself: one that is not there is a mistake, not an answer. */
static enum rc directory_check(struct task *task, const char *path, struct err *err)
{
	struct err why = err_make(NULL);
	struct stat st;
	enum rc rc;

	rc = file_stat(task, path, true, &st, &why);
	if (rc == CANCELLED)
		return rc;
	if (rc != OK)
		return err_os(err, DEFER, why.os ? why.os : ETIMEDOUT,
			      "failed to open %s for directory search", path);
	if (!S_ISDIR(st.st_mode))
		return err_os(err, DEFER, ENOTDIR, "failed to open %s for directory search", path);
	return OK;
}

static enum rc dsearch_find(struct scope *sc, const struct lookup_type *type,
			    const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct slice want = lookup_option(request->options, SLICE("ret"));
	struct arena *arena = sc->task->arena;
	struct err why = err_make(NULL);
	char *directory, *path;
	struct slice whole;
	struct stat st;
	enum rc rc;

	(void)type;
	rc = file_name_check(request->file, "directory search", err);
	if (rc != OK)
		return rc;
	directory = arena_cstr(arena, request->file);
	if (!directory)
		return err_memory(err);
	rc = directory_check(sc->task, directory, err);
	if (rc != OK)
		return rc;
	if (slice_find(request->key, '/') >= 0)
		return err_set(err, DEFER, "key for dsearch lookup contains a slash: %.*s",
			       SLICE_ARG(request->key));
	if (slice_find(request->key, '\0') >= 0)
		return FAIL;
	whole = arena_printf(arena, "%s/%.*s", directory, SLICE_ARG(request->key));
	path = whole.ptr ? arena_cstr(arena, whole) : NULL;
	if (!path)
		return err_memory(err);
	rc = file_stat(sc->task, path, false, &st, &why);
	if (rc == FAIL && (why.os == ENOENT || why.os == ENAMETOOLONG))
		return FAIL;
	if (rc != OK)
		return rc == CANCELLED ? rc
				       : err_os(err, DEFER, why.os ? why.os : ETIMEDOUT, "stat %s", path);
	if (!filter_passes(lookup_option(request->options, SLICE("filter")), request->key, st.st_mode))
		return FAIL;
	*ret = want.ptr && slice_eq(want, SLICE("full")) ? whole : arena_copy(arena, request->key);
	return ret->ptr ? OK : err_memory(err);
}

const struct lookup_type lookup_dsearch = {.name = "dsearch", .find = dsearch_find};
