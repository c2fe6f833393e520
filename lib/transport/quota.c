/* Quotas of mailboxes that this transport keeps itself: how much is there is counted on a helper thread, or read from a
 * maildirsize file (maildir++), and compared before anything is written. */
#include "appendfile.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX       10   /* directories inside directories that are counted */
#define SIZE_FILE_MAX   5120 /* bytes: then maildir++ asks for a recount */
#define SIZE_FILE_AGE_S 900  /* an older file that says "full" is not believed */

/* ---- Counting ------------------------------------------------------------------------------------------------------ */

/* Heap memory, since the helper thread may outlive the fiber that asked. */
struct count {
	char path[4096];
	bool
	    maildir_rules; /* only what is in new and cur, and in directories of which directory_regex speaks */
	const struct regex *size_regex, *directory_regex;
	struct conf *conf; /* whose the expressions are */
	uint64_t bytes, files;
	int os;
};

static void count_free(void *arg)
{
	struct count *c = arg;

	conf_unref(c->conf);
	free(c);
}

/* What the file's name says of its size, or the file; one of several names of a file counts for its part. */
static uint64_t size_of(const struct count *c, const char *name, const struct stat *st)
{
	struct slice parts[2];
	unsigned count;
	uint64_t size;
	struct err err = err_make(NULL);

	if (c->size_regex && regex_match(c->size_regex, slice_of(name), parts, 2, &count, &err) == OK &&
	    count > 1 && parts[1].ptr && parse_u64(parts[1], &size))
		return size;
	return (uint64_t)st->st_size / (st->st_nlink ? st->st_nlink : 1);
}

static bool directory_counts(const struct count *c, const char *name)
{
	struct slice parts[1];
	unsigned count;
	struct err err = err_make(NULL);

	return !c->maildir_rules || !c->directory_regex ||
	       regex_match(c->directory_regex, slice_of(name), parts, 1, &count, &err) == OK;
}

/* files: do those count that lie here? */
static void count_directory(struct count *c, int parent, const char *name, bool files, unsigned depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth ? O_NOFOLLOW : 0));
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct stat st;

	if (!d) {
		if (errno != ENOENT)
			c->os = errno;
		if (fd >= 0)
			close(fd);
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		bool mail =
		    !c->maildir_rules || strcmp(e->d_name, "cur") == 0 || strcmp(e->d_name, "new") == 0;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue; /* gone meanwhile */
		if (S_ISREG(st.st_mode) && files) {
			c->bytes += size_of(c, e->d_name, &st);
			c->files++;
		} else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX && directory_counts(c, e->d_name)) {
			count_directory(c, fd, e->d_name, mail, depth + 1);
		}
	}
	closedir(d);
}

static void count_run(void *arg)
{
	struct count *c = arg;

	count_directory(c, AT_FDCWD, c->path, !c->maildir_rules, 0);
}

static enum rc count_mailbox(struct append *append, const char *path, uint64_t *bytes_ret,
			     uint64_t *files_ret)
{
	struct count *c = calloc(1, sizeof(*c));
	enum rc rc;

	if (!c)
		return err_memory(append->err);
	snprintf(c->path, sizeof(c->path), "%s", path);
	c->maildir_rules = append->options->maildir_format && append->options->maildir_use_size_file;
	c->size_regex = append->options->size_regex;
	c->directory_regex = append->options->directory_regex;
	c->conf = conf_ref((struct conf *)(uintptr_t)append->sc->conf); /* only its count changes */
	rc = offload_call(append->sc->task, count_run, c, count_free, append->err);
	if (rc != OK)
		return rc;
	*bytes_ret = c->bytes;
	*files_ret = c->files;
	rc = c->os ? fault(append->err, c->os, "counting the mailbox %s", path) : OK;
	count_free(c);
	return rc;
}

/* ---- The maildirsize file --------------------------------------------------------------------------------------------- */

struct size_file {
	const char *path;
	uint64_t quota, quota_files;
	uint64_t bytes, files;
	bool recounted;
};

/* "<n>S,<n>C" and then lines "<bytes> <files>", which may be negative. false: not of that form, or of another quota. */
static bool size_file_parse(struct size_file *f, struct slice text)
{
	char want[80];
	struct slice line, word;
	int64_t number, bytes = 0, files = 0;

	snprintf(want, sizeof(want), "%lluS,%lluC", (unsigned long long)f->quota,
		 (unsigned long long)f->quota_files);
	if (!slice_split(&text, '\n', &line) || !slice_eq(line, slice_of(want)))
		return false;
	while (slice_split(&text, '\n', &line)) {
		if (line.len == 0)
			continue;
		if (!slice_word(&line, &word) || !parse_i64(word, &number))
			return false;
		bytes += number;
		if (!slice_word(&line, &word) || !parse_i64(word, &number))
			return false;
		files += number;
	}
	f->bytes = bytes > 0 ? (uint64_t)bytes : 0;
	f->files = files > 0 ? (uint64_t)files : 0;
	return true;
}

/* Of the message, or what its sender said. */
static uint64_t size_to_come(const struct append *append)
{
	const struct message *m = append->sc->message;

	return !append->verify ? message_size(m) : m ? m->size_declared : 0;
}

/* OK: it was read. FAIL: a recount is needed. */
static enum rc size_file_read(struct append *append, struct size_file *f)
{
	struct task *task = append->sc->task;
	char text[SIZE_FILE_MAX + 1];
	struct stat st;
	size_t got = 0;
	int fd;
	enum rc rc = user_open(task, &append->who, f->path, O_RDONLY | O_CLOEXEC, 0, &fd, append->err);

	if (rc != OK)
		return rc;
	rc = file_read(task, fd, text, sizeof(text), 0, &got, append->err);
	if (rc == OK && (got > SIZE_FILE_MAX || fstat(fd, &st) != 0 ||
			 !size_file_parse(f, slice_make(text, got, TAINTED))))
		rc = FAIL;
	file_close(task->shard, fd);
	if (rc == OK && f->quota && f->bytes + size_to_come(append) > f->quota &&
	    st.st_mtime + SIZE_FILE_AGE_S < (time_t)(shard_wall(task->shard) / NS_PER_S))
		rc = FAIL;
	return rc;
}

/* Written aside and renamed, so that others never see half of it. */
static enum rc size_file_write(struct append *append, const struct size_file *f)
{
	struct task *task = append->sc->task;
	struct slice temporary =
	    arena_printf(task->arena, "%s.%d.%u", f->path, (int)getpid(), shard_id(task->shard));
	struct slice text = arena_printf(task->arena, "%lluS,%lluC\n%llu %llu\n",
					 (unsigned long long)f->quota, (unsigned long long)f->quota_files,
					 (unsigned long long)f->bytes, (unsigned long long)f->files);
	struct iovec iov = {(void *)(uintptr_t)text.ptr, text.len};
	int fd;
	enum rc rc;

	if (!temporary.ptr || !text.ptr)
		return err_memory(append->err);
	rc = user_open(task, &append->who, temporary.ptr, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &fd,
		       append->err);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	rc = file_writev(task, fd, &iov, 1, 0, append->err);
	file_close(task->shard, fd);
	if (rc == OK)
		rc = user_rename(task, &append->who, temporary.ptr, f->path, append->err);
	if (rc != OK)
		user_tidy(task, &append->who, temporary.ptr);
	return rc == FAIL ? DEFER : rc;
}

/* ---- The check ------------------------------------------------------------------------------------------------------------ */

/* "10M", "10M/no_check", "75%" (which is for warnings only). */
static bool read_quota(struct slice text, uint64_t *ret, bool *no_check)
{
	ptrdiff_t slash;
	int64_t number;

	text = slice_trim(text);
	slash = slice_find(text, '/');
	if (slash >= 0) {
		*no_check |= slice_eq(slice_from(text, (size_t)slash + 1), SLICE("no_check"));
		text = slice_trim(slice_sub(text, 0, (size_t)slash));
	}
	if (text.len == 0) {
		*ret = 0;
		return true;
	}
	if (!conf_parse_int(text, &number) || number < 0)
		return false;
	*ret = (uint64_t)number;
	return true;
}

static enum rc expand_quota(struct append *append, const struct expansion *option, uint64_t *ret,
			    bool *no_check)
{
	struct slice text;
	enum rc rc = expand_option(append->sc, option, &text, append->err);

	if (rc == OK && !read_quota(text, ret, no_check))
		return fault(append->err, FAULT_UNKNOWN,
			     "Malformed value \"%.*s\" (expansion of \"%.*s\") in %.*s transport",
			     SLICE_ARG(text), SLICE_ARG(expansion_text(option)),
			     SLICE_ARG(append->options->transport.instance.name));
	return rc == FAIL ? DEFER : rc;
}

/* A folder that does not count when the mailbox is measured has no quota when mail goes into it either. */
static bool folder_counts(struct append *append, const char *name)
{
	struct slice parts[1];
	unsigned count;

	return regex_match(append->options->directory_regex, slice_of(name), parts, 1, &count, append->err) ==
	       OK;
}

/* Where the mailbox's files are counted: quota_directory, or the maildir that a folder belongs to, or the place itself. */
static enum rc find_base(struct append *append, const char **base_ret)
{
	struct task *task = append->sc->task;
	struct slice text, mark;
	struct stat st;
	enum rc rc = expand_option(append->sc, append->options->quota_directory, &text, append->err);

	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	*base_ret = append->path;
	if (text.len) {
		if (text.ptr[0] != '/' || text.taint == TAINTED)
			return err_set(append->err, DEFER,
				       "quota_directory \"%.*s\" is not absolute, or tainted",
				       SLICE_ARG(text));
		*base_ret = arena_cstr(task->arena, text);
		return *base_ret ? OK : err_memory(append->err);
	}
	if (!append->options->maildir_format)
		return OK;
	mark = arena_printf(task->arena, "%s/maildirfolder", append->path);
	if (!mark.ptr)
		return err_memory(append->err);
	if (user_stat(task, &append->who, mark.ptr, true, &st, append->err) == OK) {
		char *parent = arena_cstr(task->arena, slice_of(append->path));
		char *slash = parent ? strrchr(parent, '/') : NULL;
		if (slash && slash > parent) {
			*slash = '\0';
			*base_ret = parent;
			append->quota_bypassed =
			    append->options->directory_regex && !folder_counts(append, slash + 1);
		}
	}
	return OK;
}

static enum rc use_size_file(struct append *append, const char *base, struct size_file *f)
{
	struct slice path = arena_printf(append->sc->task->arena, "%s/maildirsize", base);
	struct stat st;
	enum rc rc;

	if (!path.ptr)
		return err_memory(append->err);
	f->path = path.ptr;
	if (user_stat(append->sc->task, &append->who, base, true, &st, append->err) != OK) {
		if (append->verify)
			return OK; /* there is nothing in what is not there */
		rc = append_make_directory(append, base);
		if (rc != OK)
			return rc;
	}
	rc = size_file_read(append, f);
	if (rc != FAIL)
		return rc;
	f->recounted = true;
	rc = count_mailbox(append, base, &f->bytes, &f->files);
	return rc == OK && !append->verify ? size_file_write(append, f) : rc;
}

static enum rc measure(struct append *append, const char *base, struct size_file *f)
{
	const struct appendfile *a = append->options;
	struct stat st;
	int64_t number;
	enum rc rc = OK;

	if (a->mailbox_size) {
		rc = expand_option_int(append->sc, a->mailbox_size, 0, &number, append->err);
		f->bytes = rc == OK && number > 0 ? (uint64_t)number : 0;
		if (rc == OK && a->mailbox_filecount) {
			rc = expand_option_int(append->sc, a->mailbox_filecount, 0, &number, append->err);
			f->files = rc == OK && number > 0 ? (uint64_t)number : 0;
		}
		return rc == FAIL ? DEFER : rc;
	}
	if (append->is_directory && a->maildir_format && a->maildir_use_size_file)
		return use_size_file(append, base, f);
	if (append->is_directory)
		return count_mailbox(append, base, &f->bytes, &f->files);
	if (user_stat(append->sc->task, &append->who, append->path, true, &st, append->err) == OK)
		f->bytes = (uint64_t)st.st_size;
	return append->sc->task->cancelled ? CANCELLED : OK;
}

enum rc quota_check(struct append *append)
{
	const struct appendfile *a = append->options;
	struct size_file f = {0};
	uint64_t add = a->quota_is_inclusive ? size_to_come(append) : 0;
	bool no_check = false, too_many;
	const char *base;
	enum rc rc = expand_quota(append, a->quota, &f.quota, &no_check);

	if (rc == OK)
		rc = expand_quota(append, a->quota_filecount, &f.quota_files, &no_check);
	if (rc != OK || (f.quota == 0 && f.quota_files == 0 && !a->maildir_use_size_file && !quota_warns(a)))
		return rc;
	rc = find_base(append, &base);
	if (rc == OK && !append->quota_bypassed)
		rc = measure(append, base, &f);
	if (rc != OK || append->quota_bypassed)
		return rc;
	append->size_file = f.path;
	append->size_before = f.bytes;
	append->quota = f.quota;
	too_many = f.quota_files && f.files + a->quota_is_inclusive > f.quota_files;
	if (no_check || (!too_many && (f.quota == 0 || f.bytes + add <= f.quota)))
		return OK;
	append->quota_exceeded = true;
	return fault(append->err, FAULT_QUOTA,
		     "mailbox is full (MTA-imposed %squota exceeded while writing to %s)",
		     too_many ? "filecount " : "", append->path);
}

void quota_delivered(struct append *append)
{
	struct task *task = append->sc->task;
	struct slice line;
	struct iovec iov;
	int fd;

	if (!append->size_file)
		return;
	line = arena_printf(task->arena, "%llu 1\n", (unsigned long long)append->size);
	if (!line.ptr || user_open(task, &append->who, append->size_file, O_WRONLY | O_APPEND | O_CLOEXEC, 0,
				   &fd, append->err) != OK)
		return; /* the message is there; the file is counted anew when it is missed */
	iov = (struct iovec){(void *)(uintptr_t)line.ptr, line.len};
	if (file_writev(task, fd, &iov, 1, UINT64_MAX, append->err) != OK)
		user_tidy(task, &append->who, append->size_file);
	file_close(task->shard, fd);
}

/* A file was last read when its access time says; a maildir when something was last taken out of new, into which nothing comes
 * while there is no room. Of other mailboxes nothing is known. */
int64_t quota_unread(struct append *append)
{
	struct task *task = append->sc->task;
	uint64_t now = shard_wall(task->shard) / NS_PER_S;
	struct err err = err_make(task->arena);
	struct slice path;
	struct stat st;

	if (!append->path || (append->is_directory && !append->options->maildir_format))
		return 0;
	path = arena_printf(task->arena, "%s%s", append->path, append->is_directory ? "/new" : "");
	if (!path.ptr || user_stat(task, &append->who, path.ptr, true, &st, &err) != OK)
		return 0;
	return (int64_t)now - (append->is_directory ? st.st_mtime : st.st_atime);
}
