/* writer: one fiber a log, which writes one group at a time. While a group is on its way to the disk, whatever comes
 * queues up and shares the next one: nobody waits for a timer, and the more come the more share a write. */
#include "log.h"

#include <errno.h>
#include <stdlib.h>

#define NO_SPACE_PAUSE_NS NS_PER_S

static bool small_records_wait(const struct log *log)
{
	return log->pending_len || !list_empty(&log->done);
}

static bool has_work(const struct log *log)
{
	return !list_empty(&log->requests) || ((log->due || log->closing) && small_records_wait(log));
}

static bool new_mail_waits(const struct log *log)
{
	LIST_EACH (l, &log->requests)
		if (request_is_new_mail(LIST_ITEM(l, struct request, link)))
			return true;
	return false;
}

/* Another segment, unless that has just failed: a full disk is not asked for each message. */
static enum rc create_spare(struct log *log, struct err *err)
{
	uint64_t now = shard_now(log->spool->shard);
	enum rc rc;

	if (now < log->no_space_until)
		return err_os(err, DEFER, log->no_space_why, "making a segment");
	rc = segment_create(log, err);
	if (rc != OK) {
		log->no_space_until = now + NO_SPACE_PAUSE_NS;
		log->no_space_why = err->os ? err->os : ENOSPC;
	}
	return rc;
}

/* Sees to it that there is a segment to write to, and, for new mail, another behind it. */
static enum rc prepare(struct log *log, struct err *err)
{
	struct err ignored = err_make(NULL);
	enum rc rc = OK;

	/* One that was found at the start, and now cannot be written to, is left as it is. */
	if (log->active && log->active->fd_write < 0 && segment_open_write(log->active, &ignored) != OK)
		segment_leave(log);
	if (!log->active) {
		rc = log->free_count ? OK : create_spare(log, err);
		if (rc == OK)
			rc = segment_activate(log, err);
	}
	if (rc == OK && log->free_count == 0 && new_mail_waits(log) && create_spare(log, &ignored) != OK)
		(void)requests_refuse(log, true, &ignored); /* group_has_room() would keep it out */
	return rc;
}

/* Nothing fitted: the segment is full, or there is no other for which new mail could be taken. */
static void make_room(struct log *log, struct err *err)
{
	if (log->free_count == 0) {
		if (create_spare(log, err) == OK || requests_refuse(log, true, err))
			return;
		/* What may use all room there is did not fit either. */
		requests_refuse(log, false, err);
		log->due = false;
		log_flush_in_a_second(log);
		log->closing_failed = log->closing;
		return;
	}
	segment_seal(log);
	if (prepare(log, err) != OK)
		requests_refuse(log, false, err);
}

static void work_once(struct log *log)
{
	struct err err = err_make(NULL);

	if (prepare(log, &err) != OK) {
		requests_refuse(log, false, &err);
		log->due = false;
		log_flush_in_a_second(log);
		log->closing_failed = log->closing;
		return;
	}
	group_gather(log);
	if (group_is_empty(log)) {
		group_forget(log);
		if (has_work(log))
			make_room(log, &err);
		return;
	}
	timer_cancel(log->spool->shard, &log->flush);
	log->due = false;
	group_write(log);
	if (small_records_wait(log))
		log_flush_later(log);
	log_trim(log);
	if (log->free_count > log_keep_free(log))
		log_shrink(log);
	compact_check(log);
	spool_publish(log->spool);
}

static void writer(void *arg)
{
	struct log *log = arg;

	if (log->free_count > log_keep_free(log))
		log_shrink(log);
	for (;;) {
		while (has_work(log) && !log->closing_failed)
			work_once(log);
		if (log->closing_failed) {
			struct err err = err_make(NULL);

			requests_refuse(log, false, &err);
		}
		if (log->closing && !log->compactor_runs)
			break;
		if (waitq_wait(&log->task, &log->work) != OK)
			ASSERT(!"the writer has no deadline, and nobody cancels it");
	}
	timer_cancel(log->spool->shard, &log->flush);
	if (log->active)
		segment_seal(log);
	log->writer_runs = false;
	waitq_wake_all(&log->idle);
}

enum rc writer_start(struct log *log, struct err *err)
{
	if (fiber_spawn(log->spool->shard, writer, log) != OK)
		return err_set(err, DEFER, "no fiber for the spool's writer");
	log->writer_runs = true;
	return OK;
}

enum rc writer_init(struct log *log)
{
	uint32_t size = (uint32_t)log->spool->options.segment_size;

	log_flush_init(log);
	waitq_init(&log->work);
	waitq_init(&log->idle);
	list_init(&log->requests);
	list_init(&log->taken);
	list_init(&log->done);
	list_init(&log->done_taken);
	arena_init(&log->arena, 64 * 1024);
	task_init(&log->task, log->spool->shard, &log->arena, UNTIL_NEVER);
	log->group_room = GROUP_SIZE + SPOOL_BLOCK;
	log->index_room = size - segment_index_at(size);
	if (posix_memalign((void **)&log->group, SPOOL_BLOCK, log->group_room))
		log->group = NULL;
	if (posix_memalign((void **)&log->index, SPOOL_BLOCK, log->index_room))
		log->index = NULL;
	return log->group && log->index ? OK : DEFER;
}
