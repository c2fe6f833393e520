/* segment: the files of a log: made, taken into use, sealed with an index, read from, given free again. */
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void segment_path(const struct segment *segment, char path[SEGMENT_PATH_MAX])
{
	snprintf(path, SEGMENT_PATH_MAX, "%s/%u-%u", segment->log->spool->segments_path, segment->log->shard,
		 segment->file);
}

struct segment *segment_new(struct log *log, uint32_t file)
{
	struct segment *segment = calloc(1, sizeof(*segment));

	if (!segment)
		return NULL;
	list_init(&segment->link);
	list_init(&segment->messages);
	segment->log = log;
	segment->file = file;
	segment->fd_read = segment->fd_write = -1;
	segment->size = (uint32_t)log->spool->options.segment_size;
	segment->index_at = segment_index_at(segment->size);
	return segment;
}

void segment_free(struct segment *segment)
{
	struct spool *spool = segment->log->spool;

	if (segment->fd_read >= 0)
		spool->disk->close(spool->disk, spool->shard, segment->fd_read);
	if (segment->fd_write >= 0)
		spool->disk->close(spool->disk, spool->shard, segment->fd_write);
	list_remove(&segment->link);
	free(segment);
}

static int write_flags(const struct spool *spool)
{
	return O_RDWR | (spool->direct ? O_DIRECT : 0) | (spool->synced && !spool->sync_apart ? O_DSYNC : 0);
}

/* Some file systems refuse O_DIRECT; there the page cache has to be written through. */
static enum rc open_write(struct segment *segment, int more_flags, struct err *err)
{
	struct spool *spool = segment->log->spool;
	char path[SEGMENT_PATH_MAX];
	enum rc rc;

	segment_path(segment, path);
	rc = spool->disk->open(spool->disk, &segment->log->task, path, write_flags(spool) | more_flags, 0640,
			       &segment->fd_write, err);
	if (rc != OK && err->os == EINVAL && spool->direct) {
		spool->direct = false;
		/* The kernel may have made the file before it looked at the flag. */
		rc = spool->disk->open(spool->disk, &segment->log->task, path,
				       write_flags(spool) | (more_flags & ~O_EXCL), 0640, &segment->fd_write,
				       err);
	}
	if (rc != OK)
		segment->fd_write = -1;
	return rc;
}

enum rc segment_open_write(struct segment *segment, struct err *err)
{
	return segment->fd_write >= 0 ? OK : open_write(segment, 0, err);
}

enum rc segment_set_aside(struct segment *segment, struct err *err)
{
	struct spool *spool = segment->log->spool;
	char path[SEGMENT_PATH_MAX], aside[SEGMENT_PATH_MAX + 4];
	enum rc rc;

	segment_path(segment, path);
	snprintf(aside, sizeof(aside), "%s.bad", path);
	rc = spool->disk->rename(spool->disk, &segment->log->task, path, aside, err);
	if (rc == OK)
		rc = spool->disk->sync_dir(spool->disk, &segment->log->task, spool->segments_path, err);
	return rc == OK ? OK : DEFER;
}

static enum rc fill_new_file(struct segment *segment, struct err *err)
{
	struct spool *spool = segment->log->spool;
	enum rc rc;

	rc = spool->disk->allocate(spool->disk, &segment->log->task, segment->fd_write, segment->size, err);
	if (rc == OK)
		rc = spool->disk->sync(spool->disk, &segment->log->task, segment->fd_write, err);
	if (rc == OK)
		rc = spool->disk->sync_dir(spool->disk, &segment->log->task, spool->segments_path, err);
	return rc;
}

enum rc segment_create(struct log *log, struct err *err)
{
	struct spool *spool = log->spool;
	struct segment *segment = segment_new(log, log->next_file);
	char path[SEGMENT_PATH_MAX];
	enum rc rc;

	if (!segment)
		return err_memory(err);
	log->next_file++;
	rc = open_write(segment, O_CREAT | O_EXCL, err);
	if (rc != OK) {
		segment_free(segment);
		return err->os == EEXIST ? segment_create(log, err) : DEFER;
	}
	rc = fill_new_file(segment, err);
	if (rc != OK) {
		struct err second = err_make(NULL);

		segment_path(segment, path);
		segment_free(segment);
		/* What stays behind is found at the next start, and is as good as a new one. */
		(void)spool->disk->unlink(spool->disk, &log->task, path, &second);
		return DEFER;
	}
	list_append(&log->free, &segment->link);
	log->free_count++;
	return OK;
}

/* Only the oldest may go: see promise (7). A damaged one is kept for those who can read what we cannot. */
static enum rc remove_first_free(struct log *log, struct err *err)
{
	struct segment *segment = LIST_ITEM(log->free.next, struct segment, link);
	struct spool *spool = log->spool;
	char path[SEGMENT_PATH_MAX];
	enum rc rc;

	if (segment->damaged) {
		rc = segment_set_aside(segment, err);
		if (rc != OK)
			return rc;
		segment_free(segment);
		log->free_count--;
		return OK;
	}
	segment_path(segment, path);
	rc = spool->disk->unlink(spool->disk, &log->task, path, err);
	if (rc != OK && err->os != ENOENT)
		return DEFER;
	rc = spool->disk->sync_dir(spool->disk, &log->task, spool->segments_path, err);
	if (rc != OK)
		return DEFER;
	segment_free(segment);
	log->free_count--;
	return OK;
}

void log_shrink(struct log *log)
{
	struct err err = err_make(NULL);

	while (log->free_count > log_keep_free(log) && remove_first_free(log, &err) == OK)
		;
}

void segment_begin(struct log *log)
{
	struct segment *segment = log->active;

	segment->number = log->next_number++;
	segment->first_seq = log->next_seq;
	segment->used = 0;
	shard_random(log->spool->shard, &segment->life, sizeof(segment->life));
	log->index_len = sizeof(struct index_head);
	log->index_items = 0;
	log->index_dirty = log->resumes = false;
}

void segment_leave(struct log *log)
{
	struct spool *spool = log->spool;

	if (log->active->fd_write >= 0)
		spool->disk->close(spool->disk, spool->shard, log->active->fd_write);
	log->active->fd_write = -1;
	log->active = NULL;
	log->resumes = false;
}

enum rc segment_activate(struct log *log, struct err *err)
{
	struct segment *segment;
	enum rc rc;

	ASSERT(!log->active);
	for (;;) {
		if (list_empty(&log->free)) {
			rc = segment_create(log, err);
			if (rc != OK)
				return rc;
		}
		segment = LIST_ITEM(log->free.next, struct segment, link);
		if (segment->size == log->spool->options.segment_size && !segment->damaged)
			break;
		rc = remove_first_free(log, err);
		if (rc != OK)
			return rc;
	}
	rc = segment_open_write(segment, err);
	if (rc != OK)
		return DEFER;
	list_remove(&segment->link);
	log->free_count--;
	list_append(&log->segments, &segment->link);
	log->segment_count++;
	log->active = segment;
	segment_begin(log);
	return OK;
}

void segment_seal(struct log *log)
{
	struct segment *segment = log->active;
	struct spool *spool = log->spool;
	struct index_head *head = (struct index_head *)log->index;
	struct err err = err_make(NULL);
	uint32_t len = (log->index_len + SPOOL_BLOCK - 1) & ~(SPOOL_BLOCK - 1);

	ASSERT(segment);
	/* Without it the next start reads the records; and mostly the disk says it all already. */
	if (!log->index_dirty || spool->options.read_only || segment_open_write(segment, &err) != OK) {
		segment_leave(log);
		return;
	}
	*head = (struct index_head){.number = segment->number,
				    .first_seq = segment->first_seq,
				    .life = segment->life,
				    .next_seq = log->next_seq,
				    .shard = log->shard,
				    .end = segment->used,
				    .len = log->index_len - (uint32_t)sizeof(*head),
				    .item_count = log->index_items};
	index_finish(head);
	memset(log->index + log->index_len, 0, len - log->index_len);
	/* Only saves the next start some reading, so its failure is none. */
	(void)spool->disk->write(spool->disk, &log->task, segment->fd_write, log->index, len,
				 segment->index_at, &err);
	segment_leave(log);
}

enum rc segment_open_read(struct task *task, struct segment *segment, struct err *err)
{
	struct spool *spool = segment->log->spool;
	char path[SEGMENT_PATH_MAX];
	enum rc rc;
	int fd;

	if (segment->fd_read >= 0)
		return OK;
	segment_path(segment, path);
	rc = spool->disk->open(spool->disk, task, path, O_RDONLY, 0, &fd, err);
	if (rc != OK)
		return rc == CANCELLED ? CANCELLED : DEFER;
	if (segment->fd_read >= 0)
		spool->disk->close(spool->disk, spool->shard, fd); /* another fiber was quicker */
	else
		segment->fd_read = fd;
	return OK;
}

static bool record_good(const struct record_head *head, const struct place *place)
{
	return record_head_good(head, place->segment->life) && head->len == place->len &&
	       record_payload_good(head, head + 1);
}

/* damaged: what is wrong is noted there, and whatever was found is good enough. NULL: it is an error. */
static enum rc read_checked(struct task *task, struct place place, struct arena *arena, char **payload_ret,
			    bool *damaged, struct err *err)
{
	struct segment *segment = place.segment;
	size_t size = sizeof(struct record_head) + place.len, got = 0;
	struct spool *spool;
	struct record_head *head;
	enum rc rc;

	head = arena_alloc(arena, size, 8);
	if (!head)
		return err_memory(err);
	*payload_ret = (char *)(head + 1);
	if (!segment && damaged) {
		*damaged = true;
		return OK;
	}
	if (!segment)
		return err_set(err, DEFER, "a part of the message was lost with its segment");
	spool = segment->log->spool;
	segment->holds++;
	rc = segment_open_read(task, segment, err);
	if (rc == OK)
		rc = spool->disk->read(spool->disk, task, segment->fd_read, head, size, place.offset, &got,
				       err);
	if (rc == FAIL)
		rc = DEFER;
	if (rc == OK && (got != size || !record_good(head, &place))) {
		if (damaged)
			*damaged = true;
		else
			rc = err_set(err, DEFER, "spool segment %u-%u is damaged at byte %u",
				     segment->log->shard, segment->file, place.offset);
	}
	segment->holds--;
	log_trim(segment->log);
	return rc;
}

enum rc record_read(struct task *task, const struct place *place, struct arena *arena, char **payload_ret,
		    struct err *err)
{
	return read_checked(task, *place, arena, payload_ret, NULL, err);
}

enum rc record_read_raw(struct task *task, const struct place *place, struct arena *arena, char **payload_ret,
			bool *damaged, struct err *err)
{
	return read_checked(task, *place, arena, payload_ret, damaged, err);
}

void log_trim(struct log *log)
{
	while (!list_empty(&log->segments)) {
		struct segment *segment = LIST_ITEM(log->segments.next, struct segment, link);
		struct link *at = &log->free;

		if (segment == log->active || segment->holds || !list_empty(&segment->messages))
			return;
		list_remove(&segment->link);
		log->segment_count--;
		/* Behind those with lower numbers, before those never used. */
		while (at->next != &log->free && LIST_ITEM(at->next, struct segment, link)->number)
			at = at->next;
		list_insert_after(at, &segment->link);
		log->free_count++;
	}
}
