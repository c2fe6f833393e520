/* files: what looks at the file system: ${readfile, ${stat:, exists. A name that a stranger had a hand in is
 * refused. */

#include "items.h"
#include "tree.h"

#define READFILE_SIZE_MAX EXPAND_RESULT_MAX

/* The NUL-terminated name; FAIL for one that may not be used. */
static enum rc file_name(struct scope *sc, struct slice name, const char *use, const char **ret,
			 struct err *err)
{
	if (name.taint == TAINTED)
		return err_set(err, FAIL, "Tainted name '%.*s' for %s not permitted", SLICE_ARG(name), use);
	if (slice_find(name, 0) >= 0)
		return err_set(err, FAIL, "file name with a NUL byte for %s", use);
	*ret = arena_cstr(sc->task->arena, name);
	return *ret ? shard_needed(sc, use, err) : err_memory(err);
}

enum rc exists_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct err why =
	    err_make(NULL); /* that there is no such file is an answer: no words are made for it */
	struct stat st;
	struct slice name;
	const char *path;
	enum rc rc = expand(sc, call->args[0], &name, err);

	if (rc == OK)
		rc = file_name(sc, name, "existence test", &path, err);
	if (rc != OK)
		return rc;
	rc = file_stat(sc->task, path, true, &st, &why);
	if (rc == DEFER)
		return err_os(err, DEFER, why.os, "stat %s", path);
	if (rc == CANCELLED)
		return rc;
	*ret = rc == OK;
	return OK;
}

static void mode_letters(char *out, unsigned mode)
{
	static const char kinds[] = "?pc?d?b?-?l?s???";

	out[0] = kinds[(mode >> 12) & 15];
	for (unsigned i = 0; i < 9; i++)
		out[1 + i] = mode & (0400u >> i) ? "rwx"[i % 3] : '-';
	if (mode & S_ISUID)
		out[3] = out[3] == 'x' ? 's' : 'S';
	if (mode & S_ISGID)
		out[6] = out[6] == 'x' ? 's' : 'S';
	if (mode & S_ISVTX)
		out[9] = out[9] == 'x' ? 't' : 'T';
}

enum rc op_stat(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err)
{
	struct err why = err_make(NULL);
	struct stat st;
	const char *path;
	char letters[10];
	enum rc rc = file_name(sc, subject, "stat", &path, err);

	(void)arg;
	if (rc != OK)
		return rc;
	rc = file_stat(sc->task, path, true, &st, &why);
	if (rc == FAIL)
		return err_os(err, FAIL, why.os, "stat(%s) failed", path);
	if (rc != OK)
		return rc;
	mode_letters(letters, st.st_mode);
	*ret = arena_printf(
	    sc->task->arena,
	    "mode=%04o smode=%.10s inode=%llu device=%llu links=%llu uid=%llu gid=%llu size=%lld "
	    "atime=%lld mtime=%lld ctime=%lld",
	    st.st_mode & 077777, letters, (unsigned long long)st.st_ino, (unsigned long long)st.st_dev,
	    (unsigned long long)st.st_nlink, (unsigned long long)st.st_uid, (unsigned long long)st.st_gid,
	    (long long)st.st_size, (long long)st.st_atime, (long long)st.st_mtime, (long long)st.st_ctime);
	return ret->ptr ? OK : err_memory(err);
}

enum rc newlines_replace(struct scope *sc, struct slice text, struct slice eol, struct slice *ret,
			 struct err *err)
{
	struct str out = str_make(sc->task->arena);
	ptrdiff_t at;

	out.taint = text.taint;
	while ((at = slice_find(text, '\n')) >= 0) {
		str_add(&out, slice_sub(text, 0, (size_t)at));
		str_add(&out, eol);
		text = slice_from(text, (size_t)at + 1);
	}
	str_add(&out, text);
	return str_result(&out, ret, err);
}

static enum rc readfile_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			     struct err *err)
{
	struct err why = err_make(NULL);
	struct slice name, eol = SLICE("\n"), bytes;
	const char *path;
	enum rc rc = expand(sc, call->args[0], &name, err);

	if (rc == OK && call->arg_count == 2)
		rc = expand(sc, call->args[1], &eol, err);
	if (rc == OK)
		rc = file_name(sc, name, "file read", &path, err);
	if (rc != OK)
		return rc;
	rc = file_slurp(sc->task, path, READFILE_SIZE_MAX, &bytes, &why);
	if (rc == FAIL)
		return why.os ? err_os(err, FAIL, why.os, "failed to open %s", path)
			      : err_set(err, FAIL, "failed to read %s: it is too large", path);
	if (rc == DEFER)
		return why.os ? err_os(err, DEFER, why.os, "failed to read %s", path) : err_memory(err);
	if (rc != OK)
		return rc;
	if (call->arg_count == 2)
		return newlines_replace(sc, bytes, eol, ret, err);
	*ret = bytes;
	return OK;
}

const struct expand_item item_readfile = {"readfile", 1, 2, 0, readfile_eval, NULL};
