/* spool: the door's calls: opening and closing, storing a message, what became of it, looking it up. */
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SEGMENT_SIZE_DEFAULT (64u * 1024 * 1024)
#define SEGMENT_SIZE_SMALL   (1024u * 1024)
#define DIRECTORY_LEN_MAX    400

/* ---- Opening ----------------------------------------------------------------------------------------- */

struct listing {
	struct spool *spool;
	struct log_file *files;
	size_t count, room;
	bool no_memory;
};

/* Of a name, "SHARD-FILE"; anything else in the directory is not ours and is left alone. */
static bool parse_name(const char *name, struct log_file *ret)
{
	struct slice rest = slice_of(name), shard;
	uint64_t s, f;

	if (!slice_split(&rest, '-', &shard) || !rest.ptr || !parse_u64(shard, &s) || !parse_u64(rest, &f) ||
	    s > UINT16_MAX || f > UINT32_MAX)
		return false;
	*ret = (struct log_file){(uint32_t)s, (uint32_t)f};
	return true;
}

static void list_file(void *arg, const char *name)
{
	struct listing *listing = arg;
	struct spool *spool = listing->spool;
	struct log_file file;

	if (!parse_name(name, &file) || file.shard % shard_count(spool->shard) != shard_id(spool->shard))
		return;
	if (listing->count == listing->room) {
		size_t room = listing->room ? listing->room * 2 : 64;
		struct log_file *files = realloc(listing->files, room * sizeof(*files));

		if (!files) {
			listing->no_memory = true;
			return;
		}
		listing->files = files;
		listing->room = room;
	}
	listing->files[listing->count++] = file;
}

static int file_order(const void *a, const void *b)
{
	const struct log_file *x = a, *y = b;

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	return x->file < y->file ? -1 : x->file > y->file;
}

static struct log *log_new(struct spool *spool, uint32_t shard)
{
	struct log *log = calloc(1, sizeof(*log));

	if (!log)
		return NULL;
	log->spool = spool;
	log->shard = shard;
	log->next_number = log->next_seq = 1;
	list_init(&log->segments);
	list_init(&log->free);
	list_append(&spool->logs, &log->link);
	return writer_init(log) == OK ? log : NULL; /* if not, spool_free() frees what there is */
}

static void log_free(struct log *log)
{
	struct link *l;

	while ((l = log->segments.next) != &log->segments)
		segment_free(LIST_ITEM(l, struct segment, link));
	while ((l = log->free.next) != &log->free)
		segment_free(LIST_ITEM(l, struct segment, link));
	list_remove(&log->link);
	arena_done(&log->arena);
	free(log->pending);
	free(log->group);
	free(log->index);
	free(log->zeros);
	free(log);
}

static void spool_free(struct spool *spool)
{
	LIST_EACH (l, &spool->entries)
		message_free(LIST_ITEM(l, struct message, entry.link));
	LIST_EACH (l, &spool->logs)
		LIST_EACH (m, &LIST_ITEM(l, struct log, link)->done)
			message_free(LIST_ITEM(m, struct message, entry.link));
	while (!list_empty(&spool->logs))
		log_free(LIST_ITEM(spool->logs.next, struct log, link));
	spool_pools_free(spool);
	map_done(&spool->by_id);
	free(spool->segments_path);
	free(spool);
}

static enum rc spool_new(const struct spool_disk *disk, struct task *task,
			 const struct spool_options *options, struct spool **spool_ret, struct err *err)
{
	struct spool *spool;

	if (strlen(options->directory) > DIRECTORY_LEN_MAX)
		return err_set(err, FAIL, "the spool directory's name has more than %d bytes",
			       DIRECTORY_LEN_MAX);
	spool = calloc(1, sizeof(*spool));
	if (!spool)
		return err_memory(err);
	spool->shard = task->shard;
	spool->metrics = shard_metrics(task->shard, &spool_metric_table, &spool->own_metrics);
	spool->disk = disk;
	spool->options = *options;
	if (!spool->options.segment_size)
		spool->options.segment_size = SEGMENT_SIZE_DEFAULT;
	if (spool->options.segment_size < SEGMENT_SIZE_MIN)
		spool->options.segment_size = SEGMENT_SIZE_MIN;
	if (spool->options.segment_size > SEGMENT_SIZE_MAX)
		spool->options.segment_size = SEGMENT_SIZE_MAX;
	spool->options.segment_size &= ~(uint64_t)(SPOOL_BLOCK - 1);
	spool->direct = true;
	spool->synced = options->sync;
	list_init(&spool->logs);
	list_init(&spool->entries);
	map_init(&spool->by_id, NULL, false);
	if (asprintf(&spool->segments_path, "%s/segments", options->directory) < 0)
		spool->segments_path = NULL;
	if (!spool->segments_path || !log_new(spool, shard_id(task->shard))) {
		spool_free(spool);
		return err_memory(err);
	}
	spool->own = LIST_ITEM(spool->logs.next, struct log, link);
	*spool_ret = spool;
	return OK;
}

/* Made if missing, and there after a crash. */
static enum rc make_directory(struct spool *spool, struct task *task, const char *path, const char *parent,
			      struct err *err)
{
	enum rc rc = spool->disk->mkdir(spool->disk, task, path, 0750, err);

	if (rc == OK)
		return spool->disk->sync_dir(spool->disk, task, parent, err);
	return err->os == EEXIST ? OK : rc;
}

static enum rc make_directories(struct spool *spool, struct task *task, const struct spool_options *options,
				struct err *err)
{
	struct slice path = slice_of(options->directory);
	ptrdiff_t slash = slice_rfind(path, '/');
	char *parent = arena_cstr(task->arena, slash > 0 ? slice_sub(path, 0, (size_t)slash) : SLICE("/"));
	enum rc rc;

	if (options->read_only)
		return OK;
	if (!parent)
		return err_memory(err);
	rc = make_directory(spool, task, options->directory, parent, err);
	if (rc == OK)
		rc = make_directory(spool, task, spool->segments_path, options->directory, err);
	return rc;
}

/* Each log in turn: files of one are together. */
static enum rc recover_logs(struct task *task, struct spool *spool, const struct log_file *files,
			    size_t count, struct str *damage, struct err *err)
{
	enum rc rc = OK;

	for (size_t i = 0, next; rc == OK && i < count; i = next) {
		struct log *log = spool->own;

		for (next = i; next < count && files[next].shard == files[i].shard;)
			next++;
		if (files[i].shard != spool->own->shard) {
			log = log_new(spool, files[i].shard);
			if (!log)
				return err_memory(err);
		}
		rc = log_recover(task, log, &files[i], (unsigned)(next - i), damage, err);
	}
	return rc;
}

static int message_order(const void *a, const void *b)
{
	const struct message *x = *(struct message *const *)a, *y = *(struct message *const *)b;

	if (x->entry.received != y->entry.received)
		return x->entry.received < y->entry.received ? -1 : 1;
	return x->serial < y->serial ? -1 : x->serial > y->serial;
}

/* What is told of must be found, oldest first. */
static enum rc enter_messages(struct spool *spool, struct err *err)
{
	struct message **all;
	size_t count = 0, i = 0;
	enum rc rc = OK;

	LIST_EACH (l, &spool->logs)
		count += LIST_ITEM(l, struct log, link)->message_count;
	all = malloc((count + 1) * sizeof(struct message *));
	if (!all)
		return err_memory(err);
	LIST_EACH (l, &spool->logs)
		LIST_EACH (s, &LIST_ITEM(l, struct log, link)->segments)
			LIST_EACH (m, &LIST_ITEM(s, struct segment, link)->messages)
				all[i++] = LIST_ITEM(m, struct message, in_segment);
	ASSERT(i == count);
	qsort(all, count, sizeof(all[0]), message_order);
	for (i = 0; i < count; i++) {
		list_append(&spool->entries, &all[i]->entry.link);
		spool->count++;
		if (rc == OK && !map_set(&spool->by_id, message_id_slice(&all[i]->entry.id), all[i]))
			rc = err_memory(err);
	}
	free(all);
	return rc;
}

static enum rc open_parts(struct task *task, struct spool *spool, struct str *damage, struct err *err)
{
	struct listing listing = {.spool = spool};
	enum rc rc;

	rc = spool->disk->list(spool->disk, spool->segments_path, list_file, &listing, err);
	if (rc == OK && listing.no_memory)
		rc = err_memory(err);
	if (rc == OK) {
		if (listing.count)
			qsort(listing.files, listing.count, sizeof(listing.files[0]), file_order);
		rc = recover_logs(task, spool, listing.files, listing.count, damage, err);
	}
	free(listing.files);
	if (rc == OK)
		rc = enter_messages(spool, err);
	return rc;
}

enum rc spool_open_on(const struct spool_disk *disk, struct task *task, const struct spool_options *options,
		      void (*found)(void *arg, struct spool_entry *entry), void *arg,
		      struct spool **spool_ret, struct err *err)
{
	struct str damage = str_make(task->arena);
	struct err none = err_make(NULL);
	struct spool *spool = NULL;
	uint64_t began = shard_now(task->shard);
	enum rc rc;

	if (!err)
		err = &none;
	rc = spool_new(disk, task, options, &spool, err);
	if (rc != OK)
		return rc;
	rc = make_directories(spool, task, options, err);
	if (rc == OK)
		rc = open_parts(task, spool, &damage, err);
	LIST_EACH (l, &spool->logs)
		if (rc == OK)
			rc = writer_start(LIST_ITEM(l, struct log, link), err);
	if (rc != OK) {
		spool_close(task, spool);
		return rc;
	}
	spool->stats.recovered = spool->count;
	spool->stats.recovery_ns = shard_now(task->shard) - began;
	spool_publish(spool);
	*err = err_make(err->arena); /* of directories that were there already */
	if (damage.len)
		(void)err_set(err, OK, "%.*s", SLICE_ARG(str_slice(&damage)));
	if (found)
		LIST_EACH (l, &spool->entries)
			found(arg, LIST_ITEM(l, struct spool_entry, link));
	*spool_ret = spool;
	return OK;
}

/* A small file system is to hold many segments too: a 64th of it each, if that is less. By its whole size and not by
 * what is free, so that it is the same at each start. */
static uint64_t default_segment_size(const char *directory)
{
	uint64_t total = disk_total(directory), size = SEGMENT_SIZE_DEFAULT;

	while (total && size > SEGMENT_SIZE_SMALL && size > total / 64)
		size /= 2;
	return size;
}

enum rc spool_open(struct task *task, const struct spool_options *options,
		   void (*found)(void *arg, struct spool_entry *entry), void *arg, struct spool **spool_ret,
		   struct err *err)
{
	struct spool_options own = *options;

	if (!own.segment_size)
		own.segment_size = default_segment_size(own.directory);
	return spool_open_on(&spool_disk_real, task, &own, found, arg, spool_ret, err);
}

void spool_close(struct task *task, struct spool *spool)
{
	struct task patient;

	if (!spool)
		return;
	task_init(&patient, task->shard, task->arena, UNTIL_NEVER);
	LIST_EACH (l, &spool->logs) {
		struct log *log = LIST_ITEM(l, struct log, link);

		log->closing = true;
		(void)waitq_wake_one(&log->work);
		while (log->writer_runs || log->compactor_runs)
			if (waitq_wait(&patient, &log->idle) != OK)
				ASSERT(!"no deadline, and nobody cancels");
	}
	spool_free(spool);
}

/* ---- Room -------------------------------------------------------------------------------------------- */

void spool_space(struct spool *spool, int64_t *bytes_ret, int64_t *inodes_ret)
{
	uint64_t now = shard_now(spool->shard);

	if (!spool->space_checked || now - spool->space_checked >= NS_PER_S) {
		spool->space_checked = now ? now : 1;
		if (!spool->disk->space(spool->disk, spool->segments_path, &spool->space_bytes,
					&spool->space_inodes))
			spool->space_bytes = spool->space_inodes = -1;
	}
	*bytes_ret = spool->space_bytes;
	*inodes_ret = spool->space_inodes;
}

enum rc spool_check_space(struct spool *spool, struct err *err)
{
	int64_t bytes, inodes;

	if (!spool->options.space_min && !spool->options.inodes_min)
		return OK;
	spool_space(spool, &bytes, &inodes);
	if (bytes >= 0 && (uint64_t)bytes < spool->options.space_min)
		return err_os(err, DEFER, ENOSPC, "%lld bytes are free for the spool", (long long)bytes);
	if (inodes >= 0 && (uint64_t)inodes < spool->options.inodes_min)
		return err_os(err, DEFER, ENOSPC, "%lld inodes are free for the spool", (long long)inodes);
	return OK;
}

/* ---- Storing ----------------------------------------------------------------------------------------- */

static uint64_t frags_len(const struct frag *frags, unsigned count)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < count; i++)
		len += frags[i].len;
	return len;
}

static enum rc message_store(struct task *task, struct log *log, struct request *request, struct spill *spill,
			     struct err *err)
{
	struct place one;
	enum rc rc;

	rc = request_extents(request, spill, &one, err);
	if (rc != OK)
		return rc;
	rc = request_run(task, log, request);
	if (request->extent_count > 1)
		free(request->extents); /* NULL if it was stored */
	return rc;
}

static enum rc commit_new(struct task *task, struct spool *spool, struct request *request,
			  struct spill *spill, struct err *err)
{
	struct message *message = request->message;
	enum rc rc;

	if (map_get(&spool->by_id, message_id_slice(&message->entry.id)))
		return err_set(err, FAIL, "there is a message %s already", message->entry.id.text);
	/* Entered before it is stored: afterwards nothing may fail any more. */
	if (!map_set(&spool->by_id, message_id_slice(&message->entry.id), message))
		return err_memory(err);
	rc = message_store(task, spool->own, request, spill, err);
	if (rc != OK) {
		(void)map_remove(&spool->by_id, message_id_slice(&message->entry.id));
		return rc;
	}
	list_append(&spool->entries, &message->entry.link);
	spool->count++;
	return OK;
}

/* What is too long for one request goes ahead, as if it had come in pieces. */
static enum rc spill_surplus(struct task *task, struct spool *spool, struct spill **spill,
			     const struct frag **frags, unsigned *frag_count, struct err *err)
{
	enum rc rc = OK;

	if (frags_len(*frags, *frag_count) <= log_body_max(spool->own))
		return OK;
	if (!*spill)
		rc = spill_begin(task, spool, spill, err);
	if (rc == OK)
		rc = spill_append(task, *spill, *frags, *frag_count, err);
	*frag_count = 0;
	return rc;
}

enum rc spool_commit(struct task *task, struct spool *spool, const struct message_id *id, uint64_t received,
		     const struct iovec *envelope, unsigned envelope_count, struct spill *spill,
		     const struct frag *frags, unsigned frag_count, struct spool_entry **entry_ret,
		     struct err *err)
{
	struct message *message = NULL;
	struct request request;
	uint64_t envelope_len = 0;
	enum rc rc;

	request_init(&request, REQUEST_COMMIT, err);
	rc = spool_check_space(spool, err);
	if (rc == OK)
		rc = spill_surplus(task, spool, &spill, &frags, &frag_count, err);
	for (unsigned i = 0; i < envelope_count; i++)
		envelope_len += envelope[i].iov_len;
	if (rc == OK && envelope_len > SPOOL_RECORD_MAX)
		rc = err_set(err, FAIL, "an envelope of %llu bytes is too large for the spool",
			     (unsigned long long)envelope_len);
	if (rc == OK) {
		message = message_new(spool->own);
		rc = message ? OK : err_memory(err);
	}
	if (rc == OK) {
		request.message = message;
		request.envelope = envelope;
		request.envelope_count = envelope_count;
		request.envelope_len = (uint32_t)envelope_len;
		request.frags = frags;
		request.frag_count = frag_count;
		request.body_len = (uint32_t)frags_len(frags, frag_count);
		message->entry.id = *id;
		message->entry.received = received;
		message->entry.envelope_len = (uint32_t)envelope_len;
		message->entry.body_len = (spill ? spill->len : 0) + request.body_len;
		rc = commit_new(task, spool, &request, spill, err);
		if (rc == OK)
			*entry_ret = &message->entry;
		else
			message_free(message);
	}
	if (spill)
		spill_free(spill);
	return rc;
}

/* ---- What became of it ------------------------------------------------------------------------------- */

enum rc spool_outcome(struct task *task, struct spool *spool, struct spool_entry *entry, struct slice record,
		      bool wait_durable, struct err *err)
{
	struct message *message = (struct message *)entry;
	struct log *log = message->log;
	struct request request;

	(void)spool;
	if (record.len > SPOOL_OUTCOME_MAX)
		return err_set(err, FAIL, "an outcome of %u bytes", record.len);
	if (log->pending_len > PENDING_SIZE_MAX)
		return err_set(err, DEFER, "the spool's disk does not keep up");
	if (!pending_add(log, message, RECORD_OUTCOME, record))
		return err_memory(err);
	entry->outcome_count++;
	if (!wait_durable)
		return OK;
	request_init(&request, REQUEST_FLUSH, err);
	request.flush_target = pending_position(log);
	return request_run(task, log, &request);
}

enum rc spool_rewrite(struct task *task, struct spool *spool, struct spool_entry *entry,
		      struct slice envelope, struct err *err)
{
	struct message *message = (struct message *)entry;
	struct iovec iov = {(void *)envelope.ptr, envelope.len};
	struct request request;
	enum rc rc;

	(void)spool;
	request_init(&request, REQUEST_REWRITE, err);
	request.message = message;
	request.envelope = &iov;
	request.envelope_count = 1;
	request.envelope_len = envelope.len;
	message->pins++;
	rc = request_run(task, message->log, &request);
	message_unpin(message);
	return rc;
}

void spool_mark(struct spool *spool, struct spool_entry *entry, bool frozen)
{
	struct message *message = (struct message *)entry;
	uint64_t flags = frozen ? MESSAGE_FROZEN : 0;

	(void)spool;
	if (entry->frozen == frozen)
		return;
	entry->frozen = frozen;
	/* Without memory it is forgotten at the next start, and set again when delivery fails again. */
	(void)pending_add(message->log, message, RECORD_MARK,
			  slice_make((const char *)&flags, sizeof(flags), CLEAN));
}

void spool_done(struct spool *spool, struct spool_entry *entry)
{
	struct message *message = (struct message *)entry;

	ASSERT(!message->done);
	message->done = true;
	if (spool_find(spool, &entry->id) == entry)
		(void)map_remove(&spool->by_id, message_id_slice(&entry->id));
	list_remove(&entry->link);
	spool->count--;
	/* In the list that the writer takes ends from: no memory is needed to let one go. */
	list_append(&message->log->done, &entry->link);
	log_flush_later(message->log);
}

/* ---- Looking it up ----------------------------------------------------------------------------------- */

struct spool_entry *spool_find(struct spool *spool, const struct message_id *id)
{
	struct message *message = map_get(&spool->by_id, message_id_slice(id));

	/* One that is being stored is entered already, but not yet in the list. */
	return message && !list_empty(&message->entry.link) ? &message->entry : NULL;
}

struct spool_entry *spool_first(struct spool *spool)
{
	return list_empty(&spool->entries) ? NULL : LIST_ITEM(spool->entries.next, struct spool_entry, link);
}

struct spool_entry *spool_next(struct spool *spool, struct spool_entry *entry)
{
	return entry->link.next == &spool->entries ? NULL
						   : LIST_ITEM(entry->link.next, struct spool_entry, link);
}

unsigned spool_count(const struct spool *spool)
{
	return spool->count;
}
