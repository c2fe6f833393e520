/* request: what fibers ask of the writer and wait for, and the small records that nobody waits for. */
#include "log.h"

#include <errno.h>
#include <stdlib.h>

/* ---- Requests --------------------------------------------------------------------------------------- */

void request_init(struct request *request, enum request_kind kind, struct err *err)
{
	*request = (struct request){.kind = kind, .err = err, .outcomes = SLICE_EMPTY};
	list_init(&request->link);
	waitq_init(&request->waiters);
}

size_t request_need(const struct request *request)
{
	size_t need = extent_size(request->body_len);

	switch (request->kind) {
	case REQUEST_COMMIT:
	case REQUEST_MOVE:
		need +=
		    record_size(sizeof(struct commit_fixed) + request->extent_count * sizeof(struct extent) +
				request->outcomes.len + request->envelope_len);
		break;
	case REQUEST_REWRITE:
		need += record_size(sizeof(uint64_t) + request->envelope_len);
		break;
	case REQUEST_SPILL:
	case REQUEST_FLUSH:
		break;
	}
	return need;
}

bool request_is_new_mail(const struct request *request)
{
	return request->kind == REQUEST_COMMIT || (request->kind == REQUEST_SPILL && !request->spill->moving);
}

void request_queue(struct log *log, struct request *request)
{
	request->need = request_need(request);
	list_append(&log->requests, &request->link);
	request->log = log;
	log->request_count++;
	(void)waitq_wake_one(&log->work);
}

void request_leave(struct request *request)
{
	list_remove(&request->link);
	if (request->log)
		request->log->request_count--;
	request->log = NULL;
}

void request_end(struct request *request, enum rc rc)
{
	request_leave(request);
	request->rc = rc;
	request->done = true;
	waitq_wake_all(&request->waiters);
}

enum rc request_wait(struct task *task, struct request *request)
{
	struct task patient, *waiting = task;
	enum rc rc;

	while (!request->done) {
		rc = waitq_wait(waiting, &request->waiters);
		if (rc == OK)
			continue;
		if (!request->taken) {
			request_leave(request);
			return rc == DEFER ? err_set(request->err, DEFER, "the spool's disk does not keep up")
					   : rc;
		}
		/* Its bytes are in the disk's hands. That will not take long, and then we know. */
		task_init(&patient, task->shard, task->arena, UNTIL_NEVER);
		waiting = &patient;
	}
	return request->rc;
}

size_t request_index_need(const struct request *request)
{
	return sizeof(struct index_item) + sizeof(struct commit_fixed) +
	       request->extent_count * sizeof(struct extent) + 8;
}

bool request_fits(const struct log *log, const struct request *request)
{
	uint32_t size = (uint32_t)log->spool->options.segment_size;
	size_t need = request_need(request);

	return request_index_need(request) <= log->index_room - sizeof(struct index_head) &&
	       need <= SPOOL_RECORD_MAX && need <= segment_index_at(size) - 2 * SPOOL_BLOCK;
}

enum rc request_run(struct task *task, struct log *log, struct request *request)
{
	if (task->cancelled)
		return CANCELLED;
	if (!request_fits(log, request))
		return err_set(request->err, FAIL, "an envelope of %u bytes is too large for the spool",
			       request->envelope_len);
	request_queue(log, request);
	return request_wait(task, request);
}

enum rc request_extents(struct request *request, const struct spill *spill, struct place *one,
			struct err *err)
{
	request->extent_count = (spill ? spill->extent_count : 0) + (request->body_len > 0);
	request->extents = one;
	if (request->extent_count > 1) {
		/* Kept with the message as long as it lives: large ones only. */
		request->extents = malloc(request->extent_count * sizeof(*one));
		if (!request->extents)
			return err_memory(err);
	}
	if (spill && spill->extent_count)
		memcpy(request->extents, spill->extents, spill->extent_count * sizeof(*one));
	return OK;
}

unsigned requests_refuse(struct log *log, bool only_new_mail, struct err *err)
{
	unsigned count = 0;

	LIST_EACH (l, &log->requests) {
		struct request *request = LIST_ITEM(l, struct request, link);

		if (only_new_mail && !request_is_new_mail(request))
			continue;
		(void)err_os(request->err, DEFER, err->os ? err->os : ENOSPC, "no room in the spool");
		request_end(request, DEFER);
		count++;
	}
	return count;
}

/* ---- Small records that nobody waits for ------------------------------------------------------------- */

static void flush_now(struct timer *timer)
{
	struct log *log = CONTAINER_OF(timer, struct log, flush);

	log->due = true;
	(void)waitq_wake_one(&log->work);
}

void log_flush_in_a_second(struct log *log)
{
	if (!log->flush.place)
		timer_set(log->spool->shard, &log->flush,
			  shard_now(log->spool->shard) + FLUSH_AFTER_MS * NS_PER_MS);
}

void log_flush_later(struct log *log)
{
	if (log->pending_len >= PENDING_SIZE_URGENT && !log->failing) {
		log->due = true;
		(void)waitq_wake_one(&log->work);
	} else {
		log_flush_in_a_second(log);
	}
}

uint32_t pending_item_size(uint32_t len)
{
	return (uint32_t)(sizeof(struct pending_item) + ((len + 7) & ~7u));
}

bool pending_add(struct log *log, struct message *message, enum record_type type, struct slice payload)
{
	uint32_t size = pending_item_size((uint32_t)sizeof(uint64_t) + payload.len);
	struct pending_item *item;

	if (log->pending_room - log->pending_len < size) {
		uint32_t room = log->pending_room ? log->pending_room * 2 : 16 * 1024;
		char *bytes;

		while (room - log->pending_len < size)
			room *= 2;
		/* From the heap, but not for each: the buffer grows until it fits this log's traffic. */
		bytes = realloc(log->pending, room);
		if (!bytes)
			return false;
		log->pending = bytes;
		log->pending_room = room;
	}
	item = (struct pending_item *)(log->pending + log->pending_len);
	*item = (struct pending_item){
	    .message = message, .type = type, .len = (uint32_t)sizeof(uint64_t) + payload.len};
	memcpy(item + 1, &message->serial, sizeof(uint64_t));
	memcpy((char *)(item + 1) + sizeof(uint64_t), payload.ptr, payload.len);
	log->pending_len += size;
	message->pending++;
	message->version++;
	log_flush_later(log);
	return true;
}

uint64_t pending_position(const struct log *log)
{
	return log->pending_base + log->pending_len;
}

void log_flush_init(struct log *log)
{
	timer_init(&log->flush, flush_now);
}
