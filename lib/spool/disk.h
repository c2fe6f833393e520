/* disk: what the spool asks of the world, as one small table. The reactor's file calls stand behind it in the
 * server; in tests a disk that fills up, fails, writes short, and forgets or tears what was not synced. */
#ifndef SPOOL_DISK_H
#define SPOOL_DISK_H

#include "reactor/reactor.h"

struct spool_disk {
	/* All as the reactor's calls of these names, and all park, but for close. */
	enum rc (*open)(const struct spool_disk *disk, struct task *task, const char *path, int flags,
			mode_t mode, int *fd_ret, struct err *err);
	enum rc (*read)(const struct spool_disk *disk, struct task *task, int fd, void *bytes, size_t len,
			uint64_t offset, size_t *got_ret, struct err *err);
	enum rc (*write)(const struct spool_disk *disk, struct task *task, int fd, const void *bytes,
			 size_t len, uint64_t offset, struct err *err);
	enum rc (*sync)(const struct spool_disk *disk, struct task *task, int fd, struct err *err);
	enum rc (*allocate)(const struct spool_disk *disk, struct task *task, int fd, uint64_t size,
			    struct err *err);
	enum rc (*unlink)(const struct spool_disk *disk, struct task *task, const char *path,
			  struct err *err);
	enum rc (*rename)(const struct spool_disk *disk, struct task *task, const char *from, const char *to,
			  struct err *err);
	enum rc (*mkdir)(const struct spool_disk *disk, struct task *task, const char *path, mode_t mode,
			 struct err *err);
	/* The directory itself: names made or removed in it are there after a crash. */
	enum rc (*sync_dir)(const struct spool_disk *disk, struct task *task, const char *path,
			    struct err *err);
	void (*close)(const struct spool_disk *disk, struct shard *shard, int fd);
	/* At start, before there is anything to hold up: may block. */
	enum rc (*list)(const struct spool_disk *disk, const char *path,
			void (*each)(void *arg, const char *name), void *arg, struct err *err);
	/* A system call that takes a microsecond on a local file system. false: not known. */
	bool (*space)(const struct spool_disk *disk, const char *path, int64_t *bytes_ret,
		      int64_t *inodes_ret);
};

extern const struct spool_disk spool_disk_real;

/* Bytes of the real file system that the directory is on, or, if it is still to be made, its parent. 0: unknown. */
uint64_t disk_total(const char *directory);

#endif
