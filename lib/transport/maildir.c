/* Deliveries into new files: maildir, mailstore, and a plain directory. The file is written under a temporary name, synced,
 * and then gets its real one, so that no reader ever sees half a message; the directory is synced as well, since an
 * outcome that is on our disk must not be ahead of the file it speaks of. */
#include "appendfile.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static struct slice hostname_part(struct append *append)
{
	struct slice host = conf_main(append->sc->conf)->primary_hostname;
	struct str out = str_make(append->sc->task->arena);

	for (uint32_t i = 0; i < host.len; i++) {
		if (host.ptr[i] == '/')
			str_addz(&out, "\\057");
		else if (host.ptr[i] == ':')
			str_addz(&out, "\\072");
		else
			str_addc(&out, host.ptr[i]);
	}
	return out.failed ? SLICE("localhost") : str_slice(&out);
}

/* <seconds>.H<microseconds>P<pid>Q<number>.<host>: the number makes it unique among the threads of the process. */
static const char *unique_name(struct append *append)
{
	struct shard *shard = append->sc->task->shard;
	struct transport_shard *state = transport_shard(shard);
	uint64_t now = shard_wall_exact(shard), number = state ? ++state->sequence : now;
	struct slice host = hostname_part(append);
	struct slice name = arena_printf(
	    append->sc->task->arena, "%llu.H%06lluP%dQ%llu.%.*s", (unsigned long long)(now / NS_PER_S),
	    (unsigned long long)(now % NS_PER_S / 1000), (int)getpid(),
	    (unsigned long long)(number * shard_count(shard) + shard_id(shard)), SLICE_ARG(host));

	return name.ptr ? arena_cstr(append->sc->task->arena, name) : NULL;
}

static const char *join(struct append *append, const char *directory, const char *name)
{
	struct slice path;

	if (!name)
		return NULL;
	path = arena_printf(append->sc->task->arena, "%s/%s", directory, name);
	return path.ptr ? arena_cstr(append->sc->task->arena, path) : NULL;
}

/* A new file for writing; missing_ret: the directory is not there. */
static enum rc create(struct append *append, const char *path, bool *missing_ret)
{
	mode_t mode = append->mode;
	enum rc rc =
	    user_open(append->sc->task, &append->who, path,
		      O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode, &append->fd, append->err);

	*missing_ret = rc == FAIL && append->err->os == ENOENT;
	if (rc == OK && !append->who.switched)
		(void)fchmod(append->fd, mode); /* what the umask took away; a file of our own: cannot fail */
	if (rc == FAIL && !*missing_ret && append->err->os != EEXIST)
		rc = DEFER;
	return rc;
}

static void close_file(struct append *append)
{
	if (append->fd >= 0)
		file_close(append->sc->task->shard, append->fd);
	append->fd = -1;
}

static enum rc sync_directory(struct append *append, const char *path)
{
	int fd;
	enum rc rc = user_open(append->sc->task, &append->who, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0,
			       &fd, append->err);

	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	rc = file_sync(append->sc->task, fd, false, append->err);
	file_close(append->sc->task->shard, fd);
	return rc == FAIL ? DEFER : rc;
}

static enum rc write_and_sync(struct append *append)
{
	enum rc rc = append_write(append);

	if (rc == OK)
		rc = file_sync(append->sc->task, append->fd, false, append->err);
	return rc == FAIL ? DEFER : rc;
}

static void drop(struct append *append, const char *path)
{
	close_file(append);
	user_tidy(append->sc->task, &append->who, path);
}

/* ---- Maildir ------------------------------------------------------------------------------------------------------------ */

static enum rc make_maildir(struct append *append)
{
	static const char *const names[] = {"tmp", "new", "cur"};
	enum rc rc = append_make_directory(append, append->path);

	for (unsigned i = 0; rc == OK && i < ARRAY_COUNT(names); i++) {
		const char *path = join(append, append->path, names[i]);
		rc = path ? append_make_directory(append, path) : err_memory(append->err);
	}
	return rc;
}

/* Maildir++ folders hold an empty file of that name. */
static enum rc make_folder_mark(struct append *append)
{
	struct slice numbers[1];
	unsigned count;
	const char *path;
	int fd;
	enum rc rc;

	if (!append->options->folder_regex ||
	    regex_match(append->options->folder_regex, slice_of(append->path), numbers, 1, &count,
			append->err) != OK)
		return OK;
	path = join(append, append->path, "maildirfolder");
	if (!path)
		return err_memory(append->err);
	rc = user_open(append->sc->task, &append->who, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600, &fd,
		       append->err);
	if (rc == OK)
		file_close(append->sc->task->shard, fd);
	return rc == FAIL ? DEFER : rc;
}

/* maildir_tag: goes behind the name in new/. $message_size in it is what was written. */
static enum rc make_tag(struct append *append, struct slice *tag_ret)
{
	struct str tag = str_make(append->sc->task->arena);
	struct slice text, value;
	enum rc rc;

	*tag_ret = SLICE_EMPTY;
	if (!append->options->maildir_tag)
		return OK;
	text = substitute_number(append->sc->task->arena, expansion_text(append->options->maildir_tag),
				 "message_size", append->size);
	rc = text.ptr ? expand_text(append->sc, text, &value, append->err) : err_memory(append->err);
	if (rc == FAIL && append->err->forced)
		return OK;
	if (rc != OK) {
		err_prefix(append->err, "expansion of \"maildir_tag\" failed");
		return rc == FAIL ? DEFER : rc;
	}
	for (uint32_t i = 0; i < value.len; i++)
		if (value.ptr[i] > ' ' && value.ptr[i] < 0x7f && value.ptr[i] != '/')
			str_addc(&tag, value.ptr[i]);
	if (tag.len && ascii_is_alnum(tag.ptr[0]))
		*tag_ret = arena_printf(append->sc->task->arena, ":%.*s", (int)tag.len, tag.ptr);
	else
		*tag_ret = str_slice(&tag);
	return tag_ret->ptr ? OK : err_memory(append->err);
}

static enum rc open_in_tmp(struct append *append, const char **name_ret, const char **path_ret)
{
	bool missing;
	enum rc rc = FAIL;

	for (int64_t tries = 0; tries < append->options->maildir_retries; tries++) {
		*name_ret = unique_name(append);
		*path_ret = *name_ret ? join(append, append->path, join(append, "tmp", *name_ret)) : NULL;
		if (!*path_ret)
			return err_memory(append->err);
		rc = create(append, *path_ret, &missing);
		if (rc == OK)
			return make_folder_mark(append);
		if (rc != FAIL)
			return rc;
		if (missing) {
			rc = make_maildir(append);
			if (rc != OK)
				return rc;
		}
	}
	return rc == FAIL ? err_set(append->err, DEFER, "failed to create a file in %s/tmp", append->path)
			  : rc;
}

enum rc maildir_deliver(struct append *append)
{
	const char *name = NULL, *from = NULL, *to;
	struct slice tag;
	enum rc rc = open_in_tmp(append, &name, &from);

	if (rc != OK)
		goto out;
	rc = write_and_sync(append);
	if (rc == OK)
		rc = make_tag(append, &tag);
	if (rc != OK)
		goto out;
	to = arena_cstr(append->sc->task->arena, arena_printf(append->sc->task->arena, "%s/new/%s%.*s",
							      append->path, name, SLICE_ARG(tag)));
	rc =
	    to ? user_rename(append->sc->task, &append->who, from, to, append->err) : err_memory(append->err);
	if (rc == FAIL && append->err->os == ENAMETOOLONG) {
		to = join(append, append->path, join(append, "new", name));
		rc = to ? user_rename(append->sc->task, &append->who, from, to, append->err)
			: err_memory(append->err);
	}
	if (rc == FAIL)
		rc = fault(append->err, append->err->os, "while renaming %s as %s", from, to);
	if (rc == OK) {
		close_file(append);
		to = join(append, append->path, "new");
		return to ? sync_directory(append, to) : err_memory(append->err);
	}
out:
	if (append->fd >= 0)
		drop(append, from);
	return rc;
}

/* ---- A plain directory, mailstore ------------------------------------------------------------------------------------------ */

static enum rc open_temporary(struct append *append, const char *suffix, const char **path_ret)
{
	struct slice name;
	bool missing;
	enum rc rc;

	for (unsigned tries = 0; tries < 2; tries++) {
		const char *unique = unique_name(append);
		name =
		    unique ? arena_printf(append->sc->task->arena, "temp.%s%s", unique, suffix) : SLICE_EMPTY;
		*path_ret = name.ptr && name.len ? join(append, append->path, name.ptr) : NULL;
		if (!*path_ret)
			return err_memory(append->err);
		rc = create(append, *path_ret, &missing);
		if (!missing)
			return rc == FAIL ? DEFER : rc;
		rc = append_make_directory(append, append->path);
		if (rc != OK)
			return rc;
	}
	return err_set(append->err, DEFER, "failed to create a file in %s", append->path);
}

enum rc directory_deliver(struct append *append)
{
	const char *from = NULL, *to;
	struct slice text, name;
	struct stat st = {0};
	enum rc rc = open_temporary(append, "", &from);

	if (rc == OK)
		rc = write_and_sync(append);
	if (rc != OK)
		goto out;
	(void)fstat(append->fd, &st); /* an open file of our own */
	text = substitute_number(append->sc->task->arena, expansion_text(append->options->directory_file),
				 "inode", st.st_ino);
	rc = text.ptr ? expand_text(append->sc, text, &name, append->err) : err_memory(append->err);
	if (rc != OK) {
		rc = rc == FAIL ? DEFER : rc;
		goto out;
	}
	/* A stranger may choose a name in the directory, but no way out of it. */
	if (name.len == 0 || (slice_find(name, '/') >= 0 && name.taint == TAINTED) ||
	    slice_eq(name, SLICE(".")) || slice_eq(name, SLICE(".."))) {
		rc = fault(append->err, FAULT_UNKNOWN, "directory_file gives the unusable name \"%.*s\"",
			   SLICE_ARG(name));
		goto out;
	}
	to = join(append, append->path, arena_cstr(append->sc->task->arena, name));
	rc =
	    to ? user_rename(append->sc->task, &append->who, from, to, append->err) : err_memory(append->err);
	if (rc == FAIL)
		rc = fault(append->err, append->err->os, "while renaming %s as %s", from, to);
	if (rc == OK) {
		close_file(append);
		return sync_directory(append, append->path);
	}
out:
	if (append->fd >= 0)
		drop(append, from);
	return rc;
}

/* The envelope of mailstore: prefix, sender, recipients, suffix, a line each. */
static enum rc write_envelope(struct append *append)
{
	struct str out = str_make(append->sc->task->arena);
	struct slice prefix, suffix, path, bytes;
	struct iovec iov;
	enum rc rc = expand_option(append->sc, append->options->mailstore_prefix, &prefix, append->err);

	if (rc == OK)
		rc = expand_option(append->sc, append->options->mailstore_suffix, &suffix, append->err);
	if (rc == OK)
		rc = delivery_return_path(append->sc, &append->options->transport, &path, append->err);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (prefix.len)
		str_printf(&out, "%.*s%s", SLICE_ARG(prefix), prefix.ptr[prefix.len - 1] == '\n' ? "" : "\n");
	str_printf(&out, "%.*s\n", SLICE_ARG(path));
	for (unsigned i = 0; i < append->delivery->count; i++)
		str_printf(&out, "%.*s@%.*s\n", SLICE_ARG(append->delivery->addresses[i]->local_part),
			   SLICE_ARG(append->delivery->addresses[i]->domain));
	if (suffix.len)
		str_printf(&out, "%.*s%s", SLICE_ARG(suffix), suffix.ptr[suffix.len - 1] == '\n' ? "" : "\n");
	bytes = str_slice(&out);
	if (!bytes.ptr)
		return err_memory(append->err);
	iov = (struct iovec){(void *)(uintptr_t)bytes.ptr, bytes.len};
	rc = file_writev(append->sc->task, append->fd, &iov, 1, UINT64_MAX, append->err);
	return rc == FAIL ? DEFER : rc;
}

enum rc mailstore_deliver(struct append *append)
{
	const char *message = NULL, *envelope = NULL, *to_message, *to_envelope;
	const char *base = join(append, append->path, unique_name(append));
	struct task *task = append->sc->task;
	enum rc rc = base ? open_temporary(append, ".msg", &message) : err_memory(append->err);

	if (base)
		append->sc->mailstore_basename = slice_of(base);
	if (rc == OK)
		rc = write_and_sync(append);
	if (rc != OK)
		goto out;
	close_file(append);
	rc = open_temporary(append, ".env", &envelope);
	if (rc == OK)
		rc = write_envelope(append);
	if (rc == OK)
		rc = file_sync(task, append->fd, false, append->err);
	if (rc != OK)
		goto out;
	to_message = arena_printf(task->arena, "%s.msg", base).ptr;
	to_envelope = arena_printf(task->arena, "%s.env", base).ptr;
	rc = to_message && to_envelope ? user_rename(task, &append->who, message, to_message, append->err)
				       : err_memory(append->err);
	if (rc == OK)
		rc = user_rename(task, &append->who, envelope, to_envelope, append->err);
	if (rc == OK) {
		append->sc->mailstore_basename = (struct slice){NULL, 0, CLEAN};
		close_file(append);
		return sync_directory(append, append->path);
	}
out:
	append->sc->mailstore_basename = (struct slice){NULL, 0, CLEAN};
	if (envelope)
		drop(append, envelope);
	if (message)
		drop(append, message);
	return rc == FAIL ? DEFER : rc;
}
