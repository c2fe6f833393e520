/* exim_files: messages as pairs of files in Exim's format, out of the spool and into it. What is in an -H file is
 * lib/message's business; here are names, first lines, locks and the order of things.
 *
 * ID-D begins with its own name and a line feed, and whoever works on the message holds an exclusive fcntl() lock on
 * that line. ID-H begins with its own name too, and is always put in place by renaming hdr.ID. */
#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COPY_SIZE      (256u * 1024)
#define HEADER_MAX     (16u * 1024 * 1024)
#define JOURNAL_MAX    (4u * 1024 * 1024)
#define FIRST_LINE_MAX (MESSAGE_ID_LEN + 3)

static const char *pair_path(struct arena *arena, const char *directory, const char *prefix,
			     const struct message_id *id, const char *suffix)
{
	struct slice path = arena_printf(arena, "%s/%s%s%s", directory, prefix, id->text, suffix);

	return path.ptr; /* arena_printf() ends it with a NUL; NULL without memory */
}

static bool lock_first_line(int fd, size_t len)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = (off_t)len};

	return fcntl(fd, F_SETLK, &lock) == 0; /* never waits */
}

static enum rc sync_directory(struct task *task, const char *path, struct err *err)
{
	enum rc rc;
	int fd;

	rc = file_open(task, path, O_RDONLY | O_DIRECTORY, 0, &fd, err);
	if (rc != OK)
		return rc;
	rc = file_sync(task, fd, false, err);
	file_close(task->shard, fd);
	return rc;
}

/* ---- Out --------------------------------------------------------------------------------------------- */

struct export
{
	struct task *task;
	struct spool *spool;
	struct spool_entry *entry;
	mode_t mode;
	struct err *err;
	const char *data, *header, *temporary; /* names */
};

static enum rc copy_body(struct export *x, int fd, uint64_t at)
{
	struct arena *arena = x->task->arena;
	char *bytes = arena_bytes(arena, COPY_SIZE);
	uint64_t offset = 0;
	enum rc rc = bytes ? OK : err_memory(x->err);

	while (rc == OK) {
		struct iovec iov = {bytes, 0};

		rc = spool_body(x->task, x->spool, x->entry, offset, bytes, COPY_SIZE, &iov.iov_len, x->err);
		if (rc != OK || iov.iov_len == 0)
			break;
		rc = file_writev(x->task, fd, &iov, 1, at + offset, x->err);
		offset += iov.iov_len;
	}
	return rc;
}

static enum rc open_new(struct export *x, const char *path, int *fd_ret)
{
	enum rc rc = file_open(x->task, path, O_WRONLY | O_CREAT | O_EXCL, x->mode, fd_ret, x->err);

	if (rc != OK)
		return rc;
	if (fchmod(*fd_ret, x->mode)) { /* the umask has no say */
		rc = err_os(x->err, DEFER, 0, "fchmod %s", path);
		file_close(x->task->shard, *fd_ret);
	}
	return rc;
}

static enum rc write_data(struct export *x, int *fd_ret)
{
	char line[FIRST_LINE_MAX + 1];
	struct iovec iov = {line, (size_t)snprintf(line, sizeof(line), "%s-D\n", x->entry->id.text)};
	struct stat st;
	enum rc rc;

	rc = open_new(x, x->data, fd_ret);
	if (rc != OK && x->err->os == EEXIST && file_stat(x->task, x->header, false, &st, x->err) == FAIL &&
	    x->err->os == ENOENT) {
		/* A half of an earlier attempt that came to no end. */
		rc = file_unlink(x->task, x->data, x->err);
		if (rc == OK)
			rc = open_new(x, x->data, fd_ret);
	}
	if (rc != OK)
		return rc;
	(void)lock_first_line(*fd_ret, iov.iov_len); /* it is new: who else should have it? */
	rc = file_writev(x->task, *fd_ret, &iov, 1, 0, x->err);
	if (rc == OK)
		rc = copy_body(x, *fd_ret, iov.iov_len);
	if (rc == OK)
		rc = file_sync(x->task, *fd_ret, false, x->err);
	return rc;
}

static enum rc write_header(struct export *x)
{
	struct slice envelope = SLICE_EMPTY;
	struct iovec iov;
	enum rc rc;
	int fd;

	rc = spool_envelope(x->task, x->spool, x->entry, &envelope, x->err);
	if (rc != OK)
		return rc;
	rc = open_new(x, x->temporary, &fd);
	if (rc != OK)
		return rc;
	iov = (struct iovec){(void *)envelope.ptr, envelope.len};
	rc = file_writev(x->task, fd, &iov, 1, 0, x->err);
	if (rc == OK)
		rc = file_sync(x->task, fd, false, x->err);
	file_close(x->task->shard, fd);
	if (rc == OK)
		rc = file_link(x->task, x->temporary, x->header,
			       x->err); /* unlike rename(), never replaces one */
	return rc;
}

static void remove_file(struct task *task, const char *path)
{
	struct err ignored = err_make(NULL);

	/* What cannot be removed either is no worse than before. */
	if (file_unlink(task, path, &ignored) != OK)
		errno = 0;
}

enum rc spool_export(struct task *task, struct spool *spool, struct spool_entry *entry, const char *directory,
		     mode_t mode, struct err *err)
{
	struct err none = err_make(NULL);
	struct export x = {task,
			   spool,
			   entry,
			   mode,
			   err ? err : &none,
			   pair_path(task->arena, directory, "", &entry->id, "-D"),
			   pair_path(task->arena, directory, "", &entry->id, "-H"),
			   pair_path(task->arena, directory, "hdr.", &entry->id, "")};
	int fd = -1;
	enum rc rc;

	if (!x.data || !x.header || !x.temporary)
		return err_memory(err);
	rc = write_data(&x, &fd);
	if (rc == OK)
		rc = write_header(&x);
	if (fd >= 0) {
		if (rc != OK)
			remove_file(task, x.data);
		remove_file(task, x.temporary);
		file_close(task->shard, fd); /* and with it the lock */
	}
	if (rc == OK) {
		rc = sync_directory(task, directory, x.err);
		if (rc != OK) {
			remove_file(task, x.header);
			remove_file(task, x.data);
		}
	}
	return rc == FAIL ? DEFER : rc;
}

/* ---- In ---------------------------------------------------------------------------------------------- */

/* Names of a directory, read by a helper thread: an old queue may have a hundred thousand. */
struct names {
	char *directory;
	struct message_id *ids;
	size_t count, room;
	char letters[64]; /* subdirectories with names of one letter */
	int os;
};

static void names_free(void *arg)
{
	struct names *names = arg;

	free(names->directory);
	free(names->ids);
	free(names);
}

static void names_add(struct names *names, const char *name)
{
	struct slice s = slice_of(name);
	struct message_id id;

	if (s.len == 1 && ascii_is_alnum(name[0]) && strlen(names->letters) + 1 < sizeof(names->letters)) {
		names->letters[strlen(names->letters)] = name[0];
		return;
	}
	if (!slice_ends(s, SLICE("-H")) || !message_id_parse(slice_sub(s, 0, s.len - 2), &id))
		return;
	if (names->count == names->room) {
		size_t room = names->room ? names->room * 2 : 256;
		struct message_id *ids = realloc(names->ids, room * sizeof(*ids));

		if (!ids) {
			names->os = ENOMEM;
			return;
		}
		names->ids = ids;
		names->room = room;
	}
	names->ids[names->count++] = id;
}

static int id_order(const void *a, const void *b)
{
	return strcmp(((const struct message_id *)a)->text, ((const struct message_id *)b)->text);
}

static void names_read(void *arg)
{
	struct names *names = arg;
	DIR *dir = opendir(names->directory);

	if (!dir) {
		names->os = errno;
		return;
	}
	for (struct dirent *e; (e = readdir(dir));)
		names_add(names, e->d_name);
	closedir(dir);
	if (names->count)
		qsort(names->ids, names->count, sizeof(names->ids[0]), id_order); /* oldest first */
}

struct pair_files {
	const char *header, *data, *journal; /* names */
	int fd;                              /* of data, locked */
	size_t first_line_len;
};

static enum rc lock_data(struct task *task, const struct message_id *id, struct pair_files *files,
			 uint64_t *body_len_ret, struct err *err)
{
	char expected[FIRST_LINE_MAX + 1], line[FIRST_LINE_MAX];
	struct stat st;
	size_t got;
	enum rc rc;

	files->first_line_len = (size_t)snprintf(expected, sizeof(expected), "%s-D\n", id->text);
	rc = file_open(task, files->data, O_RDWR | O_NOFOLLOW, 0, &files->fd, err);
	if (rc != OK) {
		files->fd = -1;
		return err->os == ENOENT ? DEFER
					 : rc; /* not a pair yet: -D comes first, but a copier may not know */
	}
	if (!lock_first_line(files->fd, files->first_line_len))
		return err_os(err, DEFER, 0, "%s is in use", files->data);
	rc = file_read(task, files->fd, line, files->first_line_len, 0, &got, err);
	if (rc != OK)
		return rc;
	if (fstat(files->fd, &st) || !S_ISREG(st.st_mode) || got != files->first_line_len ||
	    memcmp(line, expected, got) != 0)
		return err_set(err, FAIL, "spool format error: %s does not begin with its name", files->data);
	*body_len_ret = (uint64_t)st.st_size - files->first_line_len;
	return OK;
}

static enum rc read_header(struct task *task, const struct message_id *id, const struct pair_files *files,
			   struct spool_pair *pair, struct err *err)
{
	char expected[FIRST_LINE_MAX + 1];
	size_t len = (size_t)snprintf(expected, sizeof(expected), "%s-H\n", id->text);
	enum rc rc;

	rc = file_slurp(task, files->header, HEADER_MAX, &pair->header, err);
	if (rc != OK)
		return rc;
	if (!slice_starts(pair->header, slice_make(expected, len, CLEAN)))
		return err_set(err, FAIL, "spool format error: %s does not begin with its name",
			       files->header);
	/* A crash of another machine leaves blocks of NULs at the end, or no end. */
	if (pair->header.ptr[pair->header.len - 1] != '\n')
		return err_set(err, FAIL, "spool format error: %s has no end", files->header);
	pair->header = slice_tainted(pair->header);
	rc = file_slurp(task, files->journal, JOURNAL_MAX, &pair->journal, err);
	if (rc != OK && err->os == ENOENT) {
		pair->journal = SLICE_EMPTY;
		rc = OK;
	}
	pair->journal = slice_tainted(pair->journal);
	return rc;
}

static enum rc store_body(struct task *task, struct spool *spool, const struct pair_files *files,
			  uint64_t body_len, struct spill **spill_ret, struct err *err)
{
	char *bytes = arena_bytes(task->arena, COPY_SIZE);
	uint64_t at = 0;
	enum rc rc;

	if (!bytes)
		return err_memory(err);
	rc = spill_begin(task, spool, spill_ret, err);
	while (rc == OK && at < body_len) {
		size_t part = body_len - at < COPY_SIZE ? (size_t)(body_len - at) : COPY_SIZE, got = 0;
		struct frag frag = {NULL, bytes, 0};

		rc = file_read(task, files->fd, bytes, part, files->first_line_len + at, &got, err);
		if (rc == OK && got != part)
			rc = err_set(err, DEFER, "%s became shorter", files->data);
		frag.len = (uint32_t)got;
		if (rc == OK)
			rc = spill_append(task, *spill_ret, &frag, 1, err);
		at += part;
	}
	return rc;
}

static enum rc store_pair(struct task *task, struct spool *spool, const struct spool_import *import,
			  const struct spool_pair *pair, const struct pair_files *files,
			  struct spool_entry **entry_ret, struct err *err)
{
	struct spill *spill = NULL;
	struct slice envelope = SLICE_EMPTY;
	uint64_t received = message_id_time(&pair->id);
	struct iovec iov;
	enum rc rc;

	*entry_ret = spool_find(spool, &pair->id);
	if (*entry_ret)
		return OK; /* taken before a crash */
	rc = import->read(import->arg, task, pair, &envelope, &received, err);
	if (rc == OK)
		rc = store_body(task, spool, files, pair->body_len, &spill, err);
	if (rc != OK) {
		spill_cancel(spill);
		return rc;
	}
	iov = (struct iovec){(void *)envelope.ptr, envelope.len};
	return spool_commit(task, spool, &pair->id, received, &iov, 1, spill, NULL, 0, entry_ret, err);
}

static enum rc import_pair(struct task *task, struct spool *spool, const struct spool_import *import,
			   const char *directory, const struct message_id *id, struct spool_entry **entry_ret,
			   struct err *err)
{
	struct spool_pair pair = {.id = *id, .header = SLICE_EMPTY, .journal = SLICE_EMPTY};
	struct pair_files files = {pair_path(task->arena, directory, "", id, "-H"),
				   pair_path(task->arena, directory, "", id, "-D"),
				   pair_path(task->arena, directory, "", id, "-J"), -1, 0};
	enum rc rc;

	if (!files.header || !files.data || !files.journal)
		return err_memory(err);
	rc = lock_data(task, id, &files, &pair.body_len, err);
	if (rc == OK)
		rc = read_header(task, id, &files, &pair, err);
	if (rc == OK)
		rc = store_pair(task, spool, import, &pair, &files, entry_ret, err);
	if (rc == OK) {
		/* Without -H there is no message any more, whatever happens to the others. */
		rc = file_unlink(task, files.header, err);
		remove_file(task, files.journal);
		remove_file(task, files.data);
		if (rc == OK)
			rc = sync_directory(task, directory, err);
	}
	if (files.fd >= 0)
		file_close(task->shard, files.fd);
	return rc;
}

static enum rc import_names(struct task *task, struct spool *spool, const struct spool_import *import,
			    const struct names *names)
{
	struct arena *kept = task->arena, scratch;
	enum rc rc = OK;

	for (size_t i = 0; rc == OK && i < names->count; i++) {
		struct spool_entry *entry = NULL;
		struct err why;
		enum rc each;

		arena_init(&scratch, 0);
		task->arena = &scratch;
		why = err_make(&scratch);
		each = import_pair(task, spool, import, names->directory, &names->ids[i], &entry, &why);
		if (each == CANCELLED)
			rc = CANCELLED;
		else if (import->told)
			import->told(import->arg, &names->ids[i], each == OK ? entry : NULL, each, &why);
		task->arena = kept;
		arena_done(&scratch);
	}
	return rc;
}

static enum rc import_directory(struct task *task, struct spool *spool, const struct spool_import *import,
				const char *directory, char letters[64], struct err *err)
{
	/* From the heap: a helper thread fills it, and may be at it when we have left. */
	struct names *names = calloc(1, sizeof(*names));
	enum rc rc;

	if (!names)
		return err_memory(err);
	names->directory = strdup(directory);
	if (!names->directory) {
		names_free(names);
		return err_memory(err);
	}
	rc = offload_call(task, names_read, names, names_free, err);
	if (rc != OK)
		return rc;
	if (names->os)
		rc = err_os(err, names->os == ENOENT || names->os == ENOTDIR ? FAIL : DEFER, names->os,
			    "listing %s", directory);
	else
		rc = import_names(task, spool, import, names);
	memcpy(letters, names->letters, sizeof(names->letters));
	names_free(names);
	return rc;
}

enum rc spool_import(struct task *task, struct spool *spool, const struct spool_import *import,
		     struct err *err)
{
	struct err none = err_make(NULL);
	char letters[64], ignored[64];
	enum rc rc;

	if (!err)
		err = &none;
	rc = import_directory(task, spool, import, import->directory, letters, err);
	for (const char *l = letters; rc == OK && import->subdirectories && *l; l++) {
		struct slice path = arena_printf(task->arena, "%s/%c", import->directory, *l);

		rc = path.ptr ? import_directory(task, spool, import, path.ptr, ignored, err)
			      : err_memory(err);
		if (rc == FAIL)
			rc = OK; /* no directory, or gone meanwhile */
	}
	return rc;
}
