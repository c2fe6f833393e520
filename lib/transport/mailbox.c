/* Appending to a single file (a BSD mailbox), under locks that mail readers honour. */
#include "appendfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_PAUSE_MS    100              /* between two looks at a lock that is waited for */
#define FIFO_TIME_MAX_MS (60 * 60 * 1000) /* for a whole message: a pipe transport's timeout is as long */
#define CREATE_LOOP_MAX  10               /* a file that comes and goes */
#define LOCK_PAUSE_MIN_MS \
	20 /* the first pause before a lock is tried again; it doubles up to lock_interval */

/* ---- Turns ------------------------------------------------------------------------------------------------------------- */

/* Deliveries of one shard to one mailbox stand in line. Against each other they would only learn that the lock is taken,
 * and sleep until some of them gave up: twenty messages for one user at once are ordinary. */
struct turns {
	struct waitq next;
	unsigned waiting;
	bool taken;
	uint32_t path_len;
	char path[];
};

static uint64_t patience_ns(const struct append *append)
{
	return (uint64_t)append->options->lock_interval * (uint64_t)append->options->lock_retries * NS_PER_S;
}

static struct turns *turns_find(struct map *mailboxes, const char *path)
{
	struct slice name = slice_of(path);
	struct turns *turns = map_get(mailboxes, name);

	if (turns)
		return turns;
	turns = calloc(1, sizeof(*turns) +
			      name.len); /* lives as long as somebody stands in line, not as one message */
	if (!turns)
		return NULL;
	waitq_init(&turns->next);
	turns->path_len = name.len;
	memcpy(turns->path, name.ptr, name.len);
	if (map_set(mailboxes, slice_make(turns->path, name.len, CLEAN), turns))
		return turns;
	free(turns);
	return NULL;
}

/* Whoever leaves lets the next one go on; the last one clears the place. */
static void turns_leave(struct map *mailboxes, struct turns *turns)
{
	if (turns->taken)
		return;
	if (turns->waiting) {
		(void)waitq_wake_one(&turns->next);
		return;
	}
	(void)map_remove(mailboxes, slice_make(turns->path, turns->path_len, CLEAN));
	free(turns);
}

/* Waits for the mailbox for as long as for its lock. *turns_ret NULL: there is no memory for a line, and locks must do. */
static enum rc turn_take(struct append *append, struct turns **turns_ret)
{
	struct task *task = append->sc->task;
	struct transport_shard *state = transport_shard(task->shard);
	struct turns *turns = state ? turns_find(&state->mailboxes, append->path) : NULL;
	uint64_t saved = task->until, until = shard_now(task->shard) + patience_ns(append);
	enum rc rc = OK;

	*turns_ret = turns;
	if (!turns)
		return OK;
	turns->waiting++;
	task->until = until < saved ? until : saved;
	while (rc == OK && turns->taken)
		rc = waitq_wait(task, &turns->next);
	task->until = saved;
	turns->waiting--;
	if (rc == OK) {
		turns->taken = true;
		return OK;
	}
	*turns_ret = NULL;
	turns_leave(&state->mailboxes, turns);
	return rc == CANCELLED ? rc
			       : fault(append->err, FAULT_LOCKED,
				       "failed to lock mailbox %s (other deliveries)", append->path);
}

static void turn_give(struct append *append, struct turns *turns)
{
	struct transport_shard *state = transport_shard(append->sc->task->shard);

	if (!turns || !state)
		return;
	turns->taken = false;
	turns_leave(&state->mailboxes, turns);
}

/* The pause before a lock that others hold is tried again: short ones at first, since most are held for milliseconds.
 * FAIL: lock_retries times lock_interval are over. */
struct patience {
	uint64_t until, pause;
};

static struct patience patience_make(const struct append *append)
{
	return (struct patience){shard_now(append->sc->task->shard) + patience_ns(append),
				 LOCK_PAUSE_MIN_MS * NS_PER_MS};
}

static enum rc patience_wait(struct append *append, struct patience *patience)
{
	uint64_t now = shard_now(append->sc->task->shard),
		 longest = (uint64_t)append->options->lock_interval * NS_PER_S;
	uint64_t pause = patience->pause < longest ? patience->pause : longest;

	if (now >= patience->until)
		return FAIL;
	patience->pause *= 2;
	return task_sleep(append->sc->task, now + pause);
}

/* ---- The lock file --------------------------------------------------------------------------------------------------- */

/* An exclusive file made in a way that works over NFS too: a file of a unique name, then a link to it. */
static enum rc lock_once(struct append *append, const char *lock, const char *hitch, bool *locked_ret)
{
	struct task *task = append->sc->task;
	struct stat st;
	int fd;
	enum rc rc = user_open(task, &append->who, hitch, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			       (mode_t)append->options->lockfile_mode, &fd, append->err);

	*locked_ret = false;
	if (rc != OK)
		return rc == FAIL ? fault(append->err, append->err->os,
					  "creating lock file hitching post %s (euid=%u egid=%u)", hitch,
					  append->who.uid, append->who.gid)
				  : rc;
	file_close(task->shard, fd);
	rc = user_link(task, &append->who, hitch, lock, append->err);
	if (rc == OK)
		*locked_ret = true;
	else if (user_stat(task, &append->who, hitch, false, &st, append->err) == OK)
		*locked_ret = st.st_nlink == 2; /* made, though the answer was lost */
	user_tidy(task, &append->who, hitch);
	return rc == CANCELLED ? rc : OK;
}

static void forget_old_lock(struct append *append, const char *lock)
{
	struct stat st;
	int64_t now = (int64_t)(shard_wall(append->sc->task->shard) / NS_PER_S);

	if (user_stat(append->sc->task, &append->who, lock, false, &st, append->err) == OK &&
	    st.st_ctime + append->options->lockfile_timeout < now)
		user_tidy(append->sc->task, &append->who, lock);
}

static enum rc take_lockfile(struct append *append, const char **lock_ret)
{
	struct arena *arena = append->sc->task->arena;
	struct shard *shard = append->sc->task->shard;
	const char *lock = arena_printf(arena, "%s.lock", append->path).ptr;
	const char *hitch =
	    arena_printf(arena, "%s.lock.%.*s.%llx.%x.%x", append->path,
			 SLICE_ARG(conf_main(append->sc->conf)->primary_hostname),
			 (unsigned long long)shard_wall_exact(shard), (unsigned)getpid(), shard_id(shard))
		.ptr;
	struct patience patience = patience_make(append);
	bool locked = false;
	enum rc rc;

	if (!lock || !hitch)
		return err_memory(append->err);
	for (;;) {
		rc = lock_once(append, lock, hitch, &locked);
		if (rc != OK || locked)
			break;
		forget_old_lock(append, lock);
		rc = patience_wait(append, &patience);
		if (rc != OK)
			break;
	}
	if (rc == OK)
		*lock_ret = lock;
	return rc == FAIL
		   ? fault(append->err, FAULT_LOCKED, "failed to lock mailbox %s (lock file)", append->path)
		   : rc;
}

/* ---- The file ---------------------------------------------------------------------------------------------------------- */

static enum rc check_ids(struct append *append, const struct stat *st, const char *what)
{
	const struct appendfile *a = append->options;

	if (a->check_owner && st->st_uid != append->who.uid)
		return fault(append->err, FAULT_OWNER, "mailbox %s%s has wrong uid (%u != %u)", append->path,
			     what, st->st_uid, append->who.uid);
	if (a->check_group && st->st_gid != append->who.gid)
		return fault(append->err, FAULT_OWNER, "mailbox %s%s has wrong gid (%u != %u)", append->path,
			     what, st->st_gid, append->who.gid);
	return OK;
}

/* Is an existing file one that we may write to? */
static enum rc check_file(struct append *append, const struct stat *st)
{
	const struct appendfile *a = append->options;
	mode_t mode = append->mode;
	enum rc rc;

	rc = check_ids(append, st, "");
	if (rc != OK)
		return rc;
	if (st->st_nlink > 1)
		return fault(append->err, FAULT_NOT_REGULAR, "mailbox %s has too many links (%u)",
			     append->path, (unsigned)st->st_nlink);
	if (!S_ISREG(st->st_mode) && !(a->allow_fifo && S_ISFIFO(st->st_mode)))
		return fault(append->err, FAULT_NOT_REGULAR, "mailbox %s is not a regular file%s",
			     append->path, a->allow_fifo ? " or named pipe" : "");
	if ((st->st_mode & mode) != mode && a->mode_fail_narrower &&
	    transport_option_was_set(&a->transport, "mode"))
		return fault(append->err, FAULT_MODE, "mailbox %s has the wrong mode %o (%o expected)",
			     append->path, st->st_mode & 07777, mode);
	return OK;
}

/* A mailbox that more people may read than the mode says is closed to them before anything is written. */
static enum rc narrow(struct append *append, mode_t mode)
{
	enum rc rc = OK;

	if (append->who.switched)
		rc = user_chmod(append->sc->task, &append->who, append->path, mode, append->err);
	else if (fchmod(append->fd, mode) != 0)
		return fault(append->err, errno, "attempting to chmod mailbox %s", append->path);
	return rc == FAIL
		   ? fault(append->err, append->err->os, "attempting to chmod mailbox %s", append->path)
		   : rc;
}

static enum rc open_existing(struct append *append, const struct stat *seen)
{
	struct stat st;
	enum rc rc = check_file(append, seen);

	if (rc != OK)
		return rc;
	/* A named pipe that nobody reads is an error at once (ENXIO), and no wait. */
	append->is_fifo = S_ISFIFO(seen->st_mode);
	rc = user_open(append->sc->task, &append->who, append->path,
		       (append->is_fifo ? O_WRONLY | O_NONBLOCK : O_RDWR | O_APPEND) | O_CLOEXEC |
			   (append->options->allow_symlink ? 0 : O_NOFOLLOW),
		       0, &append->fd, append->err);
	if (append->is_fifo && rc == FAIL && append->err->os == ENXIO)
		return fault(append->err, ENXIO, "while opening named pipe %s, which nobody reads",
			     append->path);
	if (rc != OK)
		return rc;
	if (fstat(append->fd, &st) != 0 || st.st_ino != seen->st_ino || st.st_dev != seen->st_dev)
		return fault(append->err, FAULT_CHANGED,
			     "opened mailbox %s inode number changed while being opened", append->path);
	/* From here on the ring waits for the reader, in the place of the thread. */
	if (append->is_fifo && fcntl(append->fd, F_SETFL, 0) != 0)
		return fault(append->err, errno, "while opening mailbox %s", append->path);
	rc = check_file(append, &st);
	if (rc == OK && (st.st_mode & 07777 & ~append->mode))
		rc = narrow(append, st.st_mode & append->mode);
	return rc;
}

static enum rc open_new(struct append *append)
{
	const char *slash = strrchr(append->path, '/');
	struct slice parent = slice_make(append->path, (size_t)(slash - append->path), CLEAN);
	mode_t mode = append->mode;
	enum rc rc;

	if (append->options->file_must_exist)
		return fault(append->err, ENOENT, "mailbox %s does not exist, but file_must_exist is set",
			     append->path);
	rc = append_may_create(append, append->path);
	if (rc != OK)
		return rc;
	for (unsigned tries = 0;; tries++) {
		rc = user_open(append->sc->task, &append->who, append->path,
			       O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, mode, &append->fd,
			       append->err);
		if (rc != FAIL || append->err->os != ENOENT || tries > 0 || parent.len == 0)
			break;
		const char *directory = arena_cstr(append->sc->task->arena, parent);
		rc = directory ? append_make_directory(append, directory) : err_memory(append->err);
		if (rc != OK)
			return rc;
	}
	if (rc == OK && !append->who.switched)
		(void)fchmod(append->fd, mode); /* what the umask took away */
	return rc;
}

static void close_file(struct append *append)
{
	if (append->fd >= 0)
		file_close(append->sc->task->shard, append->fd);
	append->fd = -1;
}

/* A link is followed if the transport allows it, and if whom the mailbox is for has made it. *st: of the file behind it. */
static enum rc follow_link(struct append *append, struct stat *st)
{
	enum rc rc;

	if (!append->options->allow_symlink)
		return fault(append->err, FAULT_NOT_REGULAR, "mailbox %s is not a regular file",
			     append->path);
	rc = check_ids(append, st, " (symlink)");
	return rc == OK ? user_stat(append->sc->task, &append->who, append->path, true, st, append->err) : rc;
}

static enum rc open_mailbox(struct append *append, bool *created_ret)
{
	struct task *task = append->sc->task;
	struct stat st;
	enum rc rc = FAIL;

	for (unsigned tries = 0; tries < CREATE_LOOP_MAX; tries++) {
		*created_ret = false;
		rc = user_stat(task, &append->who, append->path, false, &st, append->err);
		if (rc == OK && S_ISLNK(st.st_mode))
			rc = follow_link(append, &st);
		if (rc == OK) {
			rc = open_existing(append, &st);
		} else if (rc == FAIL && (append->err->os == ENOENT || append->err->os == ENOTDIR)) {
			rc = open_new(append);
			*created_ret = rc == OK;
		} else {
			return rc == FAIL ? fault(append->err, append->err->os,
						  "attempting to stat mailbox %s", append->path)
					  : rc;
		}
		if (rc != FAIL)
			return rc;
		if (append->err->os != ENOENT && append->err->os != EEXIST)
			return fault(append->err, append->err->os, "while opening mailbox %s", append->path);
	}
	return err_set(append->err, DEFER, "mailbox %s: existence unclear", append->path);
}

/* Locks that belong to the open file, not to the process: those of one thread hold against the others, and mail readers
 * that use fcntl() see them too. */
static bool lock_open_file(struct append *append)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (append->options->use_fcntl_lock && fcntl(append->fd, F_OFD_SETLK, &lock) != 0)
		return false;
	return !append->options->use_flock_lock || flock(append->fd, LOCK_EX | LOCK_NB) == 0;
}

/* lock_fcntl_timeout and lock_flock_timeout: the open file is waited for, where otherwise it is closed and opened again
 * later. FAIL: somebody else has it. */
static enum rc lock_patiently(struct append *append)
{
	const struct appendfile *a = append->options;
	struct shard *shard = append->sc->task->shard;
	int64_t wait_s = a->use_fcntl_lock && a->lock_fcntl_timeout > a->lock_flock_timeout
			     ? a->lock_fcntl_timeout
			 : a->use_flock_lock ? a->lock_flock_timeout
					     : 0;
	uint64_t give_up = shard_now(shard) + (uint64_t)wait_s * NS_PER_S;

	while (!lock_open_file(append)) {
		if (shard_now(shard) >= give_up)
			return FAIL;
		enum rc rc = task_sleep(append->sc->task, shard_now(shard) + LOCK_PAUSE_MS * NS_PER_MS);
		if (rc != OK)
			return rc;
	}
	return OK;
}

static enum rc open_and_lock(struct append *append, bool *created_ret)
{
	struct patience patience = patience_make(append);
	enum rc rc;

	for (;;) {
		rc = open_mailbox(append, created_ret);
		if (rc != OK)
			return rc;
		rc = lock_patiently(append);
		if (rc != FAIL)
			return rc;
		close_file(append);
		rc = patience_wait(append, &patience);
		if (rc == FAIL)
			return fault(append->err, FAULT_LOCKED, "failed to lock mailbox %s (fcntl/flock)",
				     append->path);
		if (rc != OK)
			return rc;
	}
}

/* ---- The delivery ---------------------------------------------------------------------------------------------------------- */

static enum rc deliver_in_turn(struct append *append)
{
	struct task *task = append->sc->task;
	const char *lock = NULL;
	bool created = false;
	struct stat st = {0};
	struct err undo = err_make(task->arena);
	enum rc rc = OK;

	if (append->options->use_lockfile) {
		const char *slash = strrchr(append->path, '/');
		struct slice parent = slice_make(append->path, (size_t)(slash - append->path), CLEAN);
		const char *directory = parent.len ? arena_cstr(task->arena, parent) : "/";
		/* The lock stands beside a file that may be the first in its directory. */
		if (directory && user_stat(task, &append->who, directory, true, &st, append->err) == FAIL &&
		    append->err->os == ENOENT)
			rc = append_make_directory(append, directory);
		if (rc == OK)
			rc = take_lockfile(append, &lock);
	}
	if (rc == OK)
		rc = open_and_lock(append, &created);
	if (rc == OK && fstat(append->fd, &st) != 0)
		rc = err_os(append->err, DEFER, errno, "fstat of %s", append->path);
	if (rc == OK) {
		uint64_t until = task->until;

		if (append->is_fifo)
			task->until = task_until(task, FIFO_TIME_MAX_MS);
		rc = append_write(append);
		task->until = until;
		if (rc == OK && !append->is_fifo)
			rc = file_sync(task, append->fd, false, append->err);
		if (rc != OK && !append->is_fifo) {
			/* Half a message would corrupt the mailbox for its reader. */
			if (created)
				user_tidy(task, &append->who, append->path);
			else if (file_truncate(task, append->fd, (uint64_t)st.st_size, &undo) != OK)
				err_prefix(append->err, "mailbox %s could not be cut back to %llu bytes",
					   append->path, (unsigned long long)st.st_size);
		}
	}
	close_file(append);
	if (lock)
		user_tidy(task, &append->who, lock);
	return rc == FAIL ? DEFER : rc;
}

enum rc mailbox_deliver(struct append *append)
{
	struct turns *turns;
	enum rc rc = turn_take(append, &turns);

	if (rc != OK)
		return rc;
	rc = deliver_in_turn(append);
	turn_give(append, turns);
	return rc;
}
