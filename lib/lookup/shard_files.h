/* shard_files: what lookups keep on a shard: text files with their indexes, open databases. */
#ifndef LOOKUP_SHARD_FILES_H
#define LOOKUP_SHARD_FILES_H

#include "lookup/lookup.h"

/* The clock of file times may tick this slowly. */
#define FILE_TICK_NS (20 * NS_PER_MS)
/* How long a look at a file counts: spares a stat per lookup under load. */
#define FILE_FRESH_NS (1 * NS_PER_MS)

/* What tells one version of a file from another. */
struct file_stamp {
	uint64_t device, inode, size;
	int64_t mtime_ns, ctime_ns;
};
struct file_stamp file_stamp_of(const struct stat *st);
bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b);

/* A database file that is kept open, read with file_read(). */
struct open_file {
	struct link lru;
	struct slice path;
	struct file_stamp stamp;
	int fd;
	uint32_t refs;
	bool current;        /* false: replaced or pushed out; closed when the last one lets go */
	bool racy;           /* changed so recently that a further change might not show in its times */
	uint64_t checked_at; /* shard_now() */
	void *extra;         /* what the type keeps with it; extra_free goes with it */
	void (*extra_free)(void *extra);
};
/* The file as it is now: reopened when another has taken its name. what: "cdb lookup", for messages. Parks.
 * The stamp is of the last look. DEFER: cannot be opened. */
NODISCARD enum rc open_file_get(struct scope *sc, struct slice path, const char *what,
				struct open_file **file_ret, struct err *err);
void open_file_put(struct shard *shard, struct open_file *file);

struct shard_files;
struct shard_files *shard_files_of(struct shard *shard);                        /* NULL: no memory */
struct link *shard_open_files(struct shard_files *files, unsigned **count_ret); /* most recently used first */
void open_files_done(struct shard *shard, struct shard_files *files);

/* "Tainted filename for search": DEFER; else, and when the path is not absolute or holds a NUL: OK or DEFER.
 */
NODISCARD enum rc file_name_check(struct slice path, const char *what, struct err *err);

#endif
