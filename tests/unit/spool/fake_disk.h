/* A disk that crashes on purpose. Files live in memory, twice: as the programs see them, and as they would be found
 * after the power fails. What is not synced is lost, kept, or torn into sectors, as the dice fall; operations take
 * their time (other fibers run meanwhile), and can be made to fail or to run out of room. */
#ifndef SPOOL_FAKE_DISK_H
#define SPOOL_FAKE_DISK_H

#include <errno.h>

#include "spool/disk.h"

#define FAKE_FILES 512
#define FAKE_FDS   256
#define SECTOR     512u

struct fake_file {
	char *name; /* NULL: none */
	char *now, *durable;
	size_t size, durable_size;
	uint8_t *dirty;    /* by sector: written since the last sync */
	bool name_durable; /* the directory was synced since it was made */
	bool removed;      /* and the directory not synced since */
};

struct fake_disk {
	struct spool_disk disk; /* first */
	struct fake_file files[FAKE_FILES];
	struct {
		int file;
		bool open, synced;
	} fds[FAKE_FDS];
	uint64_t random;
	bool cut;              /* the power is off */
	bool slow;             /* operations let others run */
	unsigned fail_one_in;  /* writes that fail, wholly or half way; 0: none */
	int64_t fail_write_at; /* this one, counted from 0; -1: none */
	int fail_os;
	bool cut_next_write; /* the power goes when it is half way */
	unsigned writes;
	uint64_t space; /* bytes that all files together may have */
	bool refuse_direct;
};

static inline uint64_t fake_random(struct fake_disk *d, uint64_t below)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return d->random * 0x2545f4914f6cdd1dull % below;
}

static inline void fake_wait(struct fake_disk *d, struct task *task)
{
	for (uint64_t n = d->slow ? fake_random(d, 4) : 0; n; n--)
		if (task_yield(task) != OK)
			return;
}

static inline struct fake_file *fake_find(struct fake_disk *d, const char *name)
{
	for (int i = 0; i < FAKE_FILES; i++)
		if (d->files[i].name && !d->files[i].removed && strcmp(d->files[i].name, name) == 0)
			return &d->files[i];
	return NULL;
}

static inline void fake_resize(struct fake_file *f, size_t size)
{
	if (size <= f->size)
		return;
	f->now = realloc(f->now, size);
	f->durable = realloc(f->durable, size);
	f->dirty = realloc(f->dirty, size / SECTOR + 1);
	memset(f->now + f->size, 0, size - f->size);
	memset(f->durable + f->size, 0, size - f->size);
	memset(f->dirty + (f->size ? f->size / SECTOR + 1 : 0), 0,
	       size / SECTOR + 1 - (f->size ? f->size / SECTOR + 1 : 0));
	f->size = size;
}

static inline uint64_t fake_used(const struct fake_disk *d)
{
	uint64_t used = 0;

	for (int i = 0; i < FAKE_FILES; i++)
		if (d->files[i].name && !d->files[i].removed)
			used += d->files[i].size;
	return used;
}

static inline enum rc fake_is_cut(const struct fake_disk *d, struct err *err)
{
	return d->cut ? err_os(err, DEFER, EIO, "the power is off") : OK;
}

static enum rc fake_open(const struct spool_disk *disk, struct task *task, const char *path, int flags,
			 mode_t mode, int *fd_ret, struct err *err)
{
	struct fake_disk *d = (struct fake_disk *)disk;
	struct fake_file *f;

	(void)mode;
	fake_wait(d, task);
	if (fake_is_cut(d, err) != OK)
		return DEFER;
	if (d->refuse_direct && flags & O_DIRECT)
		return err_os(err, FAIL, EINVAL, "open %s", path);
	f = fake_find(d, path);
	if (f && flags & O_EXCL)
		return err_os(err, FAIL, EEXIST, "open %s", path);
	if (!f && !(flags & O_CREAT))
		return err_os(err, FAIL, ENOENT, "open %s", path);
	if (!f) {
		for (f = d->files; f < d->files + FAKE_FILES && f->name; f++)
			;
		assert_true(f < d->files + FAKE_FILES);
		*f = (struct fake_file){.name = strdup(path)};
	}
	for (int fd = 0; fd < FAKE_FDS; fd++)
		if (!d->fds[fd].open) {
			d->fds[fd].open = true;
			d->fds[fd].file = (int)(f - d->files);
			d->fds[fd].synced = flags & O_DSYNC;
			*fd_ret = fd;
			return OK;
		}
	fail_msg("too many descriptors: they leak");
	return DEFER;
}

static enum rc fake_read(const struct spool_disk *disk, struct task *task, int fd, void *bytes, size_t len,
			 uint64_t offset, size_t *got_ret, struct err *err)
{
	struct fake_disk *d = (struct fake_disk *)disk;
	struct fake_file *f = &d->files[d->fds[fd].file];

	assert_true(d->fds[fd].open);
	fake_wait(d, task);
	if (fake_is_cut(d, err) != OK)
		return DEFER;
	*got_ret = offset >= f->size ? 0 : len < f->size - offset ? len : f->size - offset;
	if (*got_ret)
		memcpy(bytes, f->now + offset, *got_ret);
	return OK;
}

static inline void fake_make_durable(struct fake_file *f, uint64_t offset, size_t len)
{
	for (uint64_t s = offset / SECTOR; s <= (offset + len - 1) / SECTOR; s++) {
		uint64_t at = s * SECTOR, part = f->size - at < SECTOR ? f->size - at : SECTOR;

		memcpy(f->durable + at, f->now + at, part);
		f->dirty[s] = 0;
	}
	f->durable_size = f->size;
}

static enum rc fake_write(const struct spool_disk *disk, struct task *task, int fd, const void *bytes,
			  size_t len, uint64_t offset, struct err *err)
{
	struct fake_disk *d = (struct fake_disk *)disk;
	struct fake_file *f = &d->files[d->fds[fd].file];
	bool fails =
	    (d->fail_one_in && fake_random(d, d->fail_one_in) == 0) || (int64_t)d->writes == d->fail_write_at;
	size_t part = fails ? fake_random(d, len / 4096 + 1) * 4096 : len;

	assert_true(d->fds[fd].open);
	assert_int_equal(offset % 4096, 0);
	assert_int_equal(len % 4096, 0);
	assert_int_equal((uintptr_t)bytes % 4096, 0);
	d->writes++;
	fake_wait(d, task);
	if (fake_is_cut(d, err) != OK)
		return DEFER;
	fake_resize(f, offset + part);
	memcpy(f->now + offset, bytes, part);
	for (uint64_t s = offset / SECTOR; part && s <= (offset + part - 1) / SECTOR; s++)
		f->dirty[s] = 1;
	fake_wait(d, task); /* a cut in here finds it half done */
	d->cut = d->cut || d->cut_next_write;
	d->cut_next_write = false;
	if (fake_is_cut(d, err) != OK)
		return DEFER;
	if (fails)
		return err_os(err, DEFER, d->fail_os ? d->fail_os : EIO, "write");
	if (d->fds[fd].synced)
		fake_make_durable(f, offset, len);
	return OK;
}

static enum rc fake_sync(const struct spool_disk *disk, struct task *task, int fd, struct err *err)
{
	struct fake_disk *d = (struct fake_disk *)disk;
	struct fake_file *f = &d->files[d->fds[fd].file];

	fake_wait(d, task);
	if (fake_is_cut(d, err) != OK)
		return DEFER;
	if (f->size)
		fake_make_durable(f, 0, f->size);
	return OK;
}

static enum rc fake_allocate(const struct spool_disk *disk, struct task *task, int fd, uint64_t size,
			     struct err *err)
{
	struct fake_disk *d = (struct fake_disk *)disk;

	fake_wait(d, task);
	if (fake_is_cut(d, err) != OK)
		return DEFER;
	if (d->space && fake_used(d) + size > d->space)
		return err_os(err, DEFER, ENOSPC, "allocate");
	fake_resize(&d->files[d->fds[fd].file], size);
	return OK;
}

static enum rc fake_unlink(const struct spool_disk *disk, struct task *task, const char *path,
			   struct err *err)
{
	struct fake_disk *d = (struct fake_disk *)disk;
	struct fake_file *f;

	fake_wait(d, task);
	if (fake_is_cut(d, err) != OK)
		return DEFER;
	f = fake_find(d, path);
	if (!f)
		return err_os(err, FAIL, ENOENT, "unlink %s", path);
	f->removed = true;
	return OK;
}

static enum rc fake_rename(const struct spool_disk *disk, struct task *task, const char *from, const char *to,
			   struct err *err)
{
	struct fake_disk *d = (struct fake_disk *)disk;
	struct fake_file *f = fake_find(d, from);

	(void)task;
	if (!f)
		return err_os(err, FAIL, ENOENT, "rename %s", from);
	free(f->name);
	f->name = strdup(to);
	return OK;
}

static enum rc fake_mkdir(const struct spool_disk *disk, struct task *task, const char *path, mode_t mode,
			  struct err *err)
{
	(void)disk;
	(void)task;
	(void)path;
	(void)mode;
	(void)err;
	return OK;
}

static inline void fake_forget(struct fake_file *f)
{
	free(f->name);
	free(f->now);
	free(f->durable);
	free(f->dirty);
	*f = (struct fake_file){0};
}

static enum rc fake_sync_dir(const struct spool_disk *disk, struct task *task, const char *path,
			     struct err *err)
{
	struct fake_disk *d = (struct fake_disk *)disk;

	(void)path;
	fake_wait(d, task);
	if (fake_is_cut(d, err) != OK)
		return DEFER;
	for (struct fake_file *f = d->files; f < d->files + FAKE_FILES; f++) {
		bool is_open = false;

		for (int fd = 0; fd < FAKE_FDS; fd++)
			is_open = is_open || (d->fds[fd].open && d->fds[fd].file == f - d->files);
		if (f->name && f->removed && !is_open)
			fake_forget(f);
		f->name_durable = f->name && !f->removed;
	}
	return OK;
}

static void fake_close(const struct spool_disk *disk, struct shard *shard, int fd)
{
	struct fake_disk *d = (struct fake_disk *)disk;

	(void)shard;
	assert_true(d->fds[fd].open);
	d->fds[fd].open = false;
}

static enum rc fake_list(const struct spool_disk *disk, const char *path,
			 void (*each)(void *arg, const char *name), void *arg, struct err *err)
{
	struct fake_disk *d = (struct fake_disk *)disk;

	(void)err;
	for (int i = 0; i < FAKE_FILES; i++)
		if (d->files[i].name && !d->files[i].removed &&
		    strncmp(d->files[i].name, path, strlen(path)) == 0)
			each(arg, strrchr(d->files[i].name, '/') + 1);
	return OK;
}

static bool fake_space(const struct spool_disk *disk, const char *path, int64_t *bytes_ret,
		       int64_t *inodes_ret)
{
	struct fake_disk *d = (struct fake_disk *)disk;

	(void)path;
	*bytes_ret = d->space ? (int64_t)(d->space - fake_used(d)) : INT64_MAX;
	*inodes_ret = -1;
	return true;
}

static inline struct fake_disk *fake_disk_new(uint64_t seed)
{
	struct fake_disk *d = calloc(1, sizeof(*d));

	d->disk = (struct spool_disk){.open = fake_open,
				      .read = fake_read,
				      .write = fake_write,
				      .sync = fake_sync,
				      .allocate = fake_allocate,
				      .unlink = fake_unlink,
				      .rename = fake_rename,
				      .mkdir = fake_mkdir,
				      .sync_dir = fake_sync_dir,
				      .close = fake_close,
				      .list = fake_list,
				      .space = fake_space};
	d->random = seed * 0x9e3779b97f4a7c15ull + 1;
	d->fail_write_at = -1;
	for (int i = 0; i < 10; i++)
		(void)fake_random(d, 2);
	return d;
}

static inline void fake_disk_free(struct fake_disk *d)
{
	for (int i = 0; i < FAKE_FILES; i++)
		fake_forget(&d->files[i]);
	free(d);
}

/* The power was cut, the spool was closed, and the machine starts again: what the medium has. */
static inline void fake_disk_restart(struct fake_disk *d)
{
	for (struct fake_file *f = d->files; f < d->files + FAKE_FILES; f++) {
		if (!f->name)
			continue;
		/* What the directory's last sync did not see may have happened or not. */
		if (f->removed && (!f->name_durable || fake_random(d, 2))) {
			fake_forget(f);
			continue;
		}
		if (!f->removed && !f->name_durable && fake_random(d, 2)) {
			fake_forget(f);
			continue;
		}
		f->removed = false;
		f->name_durable = true;
		for (size_t s = 0; s * SECTOR < f->size; s++) {
			size_t at = s * SECTOR, part = f->size - at < SECTOR ? f->size - at : SECTOR;

			if (f->dirty[s] && fake_random(d, 2))
				memcpy(f->durable + at, f->now + at, part); /* this sector made it */
			memcpy(f->now + at, f->durable + at, part);
			f->dirty[s] = 0;
		}
	}
	memset(d->fds, 0, sizeof(d->fds));
	d->cut = false;
}

#endif
