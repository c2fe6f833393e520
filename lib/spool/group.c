/* group: what is written at once: the waiting small records (outcomes, ends), then requests in order. A group becomes
 * part of the log only when its write has succeeded; until then everything that was counted on is kept so that it
 * can be taken back. */
#include "log.h"

#include <errno.h>
#include <stdlib.h>

/* An unwritten extent costs the journal a commit at each write into it, so room is written with zeros in steps that
 * a few hundred messages share. A group that is as large as a good part of a step brings as many bytes to the commit
 * as the zeros would: it is written at once. */
#define ZERO_STEP      (1024u * 1024)
#define ZERO_GROUP_MAX (ZERO_STEP / 4)

/* ---- Building a group -------------------------------------------------------------------------------- */

bool index_add(struct log *log, enum record_type type, uint32_t offset, uint64_t seq, const void *payload,
	       uint32_t len)
{
	uint32_t prefix = record_prefix_len(type, payload, len);
	struct index_item item = {
	    .offset = offset, .len = len, .seq = seq, .type = type, .prefix_len = prefix};
	uint32_t size = (uint32_t)sizeof(item) + ((prefix + 7) & ~7u);
	char *at = log->index + log->index_len;

	if (log->index_room - log->index_len < size)
		return false;
	memcpy(at, &item, sizeof(item));
	memcpy(at + sizeof(item), payload, prefix);
	memset(at + sizeof(item) + prefix, 0, size - sizeof(item) - prefix);
	log->index_len += size;
	log->index_items++;
	return true;
}

bool group_is_empty(const struct log *log)
{
	return log->group_count == 0;
}

/* Is there room for records of so many bytes, and for so many bytes in the index? An empty group grows for one
 * record that is longer than a group wants to be. New mail is only taken while another segment is at hand: on a full
 * disk, and after a restart there, what is in the queue must be able to end. */
static bool group_has_room(struct log *log, size_t need, size_t index_need, bool may_use_reserve)
{
	struct segment *segment = log->active;
	uint32_t end = segment->index_at;
	size_t len = log->group_len + need;

	if (!may_use_reserve && log->free_count == 0)
		return false;
	if (len > end || segment->used > end - len || log->index_room - log->index_len < index_need)
		return false;
	if (len <= log->group_room)
		return true;
	if (group_is_empty(log)) {
		size_t room = (len + SPOOL_BLOCK - 1) & ~(size_t)(SPOOL_BLOCK - 1);
		char *bytes;

		if (posix_memalign((void **)&bytes, SPOOL_BLOCK, room))
			return false;
		memcpy(bytes, log->group, log->group_len);
		free(log->group);
		log->group = bytes;
		log->group_room = (uint32_t)room;
		return true;
	}
	return false;
}

static char *record_begin(struct log *log)
{
	return log->group + log->group_len + sizeof(struct record_head);
}

static struct place record_end(struct log *log, enum record_type type, char *payload, size_t len)
{
	struct record_head *head = (struct record_head *)payload - 1;
	struct place place = {log->active, log->active->used + log->group_len, (uint32_t)len};

	memset(payload + len, 0, record_size(len) - sizeof(*head) - len);
	if (type != RECORD_BODY && !index_add(log, type, place.offset, log->next_seq, payload, place.len))
		ASSERT(!"group_has_room() was asked");
	record_finish(head, log->active->life, type, log->next_seq++, place.len);
	log->group_len += (uint32_t)record_size(len);
	log->group_count++;
	return place;
}

static bool take_pending(struct log *log)
{
	while (log->pending_taken < log->pending_len) {
		struct pending_item *item = (struct pending_item *)(log->pending + log->pending_taken);
		char *payload;

		if (!group_has_room(log, record_size(item->len), sizeof(struct index_item) + 16, true))
			return false;
		payload = record_begin(log);
		memcpy(payload, item + 1, item->len);
		/* Where it went is noted in the item itself, for group_done(). */
		item->offset = record_end(log, (enum record_type)item->type, payload, item->len).offset;
		log->pending_taken += pending_item_size(item->len);
	}
	return true;
}

static bool take_ends(struct log *log)
{
	struct link *l;

	while (!list_empty(&log->done)) {
		struct message *message = LIST_ITEM(log->done.next, struct message, entry.link);
		char *payload;

		if (!group_has_room(log, record_size(8), sizeof(struct index_item) + 8, true))
			return false;
		payload = record_begin(log);
		memcpy(payload, &message->serial, sizeof(uint64_t));
		(void)record_end(log, RECORD_DONE, payload, sizeof(uint64_t));
		l = list_shift(&log->done);
		list_append(&log->done_taken, l);
	}
	return true;
}

/* Copies len bytes of the pieces from *at on, which moves. */
struct frag_cursor {
	const struct frag *frag;
	uint32_t offset;
};

static void frags_copy(struct frag_cursor *at, char *to, size_t len)
{
	while (len) {
		size_t part = at->frag->len - at->offset;

		if (part > len)
			part = len;
		memcpy(to, at->frag->ptr + at->offset, part);
		to += part;
		len -= part;
		at->offset += (uint32_t)part;
		if (at->offset == at->frag->len) {
			at->frag++;
			at->offset = 0;
		}
	}
}

static struct place put_body(struct log *log, const struct request *request)
{
	struct frag_cursor at = {request->frags, 0};
	struct place extent = {log->active, log->active->used + log->group_len, request->body_len};

	for (uint32_t left = request->body_len; left;) {
		uint32_t len = left < SPOOL_PIECE ? left : SPOOL_PIECE;
		char *payload = record_begin(log);

		frags_copy(&at, payload, len);
		(void)record_end(log, RECORD_BODY, payload, len);
		left -= len;
	}
	return extent;
}

static char *put_envelope(char *to, const struct request *request)
{
	for (unsigned i = 0; i < request->envelope_count; i++) {
		memcpy(to, request->envelope[i].iov_base, request->envelope[i].iov_len);
		to += request->envelope[i].iov_len;
	}
	return to;
}

static struct place put_commit(struct log *log, struct request *request)
{
	struct message *message = request->message;
	struct commit_fixed fixed = {.serial = message->serial, /* 0 if it is new */
				     .received = message->entry.received,
				     .body_len = message->entry.body_len,
				     .envelope_len = request->envelope_len,
				     .outcomes_len = request->outcomes.len,
				     .outcome_count = message->entry.outcome_count,
				     .extent_count = request->extent_count};
	char *payload = record_begin(log), *at = payload;

	memcpy(fixed.id, message->entry.id.text, sizeof(fixed.id));
	if (message->entry.frozen)
		fixed.flags |= MESSAGE_FROZEN;
	if (request->damaged)
		fixed.flags |= MESSAGE_DAMAGED;
	memcpy(at, &fixed, sizeof(fixed));
	at += sizeof(fixed);
	for (uint32_t i = 0; i < request->extent_count; i++) {
		const struct place *p = &request->extents[i];
		struct extent e = {p->segment->number, p->offset, p->len};

		memcpy(at, &e, sizeof(e));
		at += sizeof(e);
	}
	memcpy(at, request->outcomes.ptr, request->outcomes.len);
	at = put_envelope(at + request->outcomes.len, request);
	return record_end(log, RECORD_COMMIT, payload, (size_t)(at - payload));
}

static struct place put_rewrite(struct log *log, struct request *request)
{
	char *payload = record_begin(log), *at = payload;

	memcpy(at, &request->message->serial, sizeof(uint64_t));
	at = put_envelope(at + sizeof(uint64_t), request);
	return record_end(log, RECORD_REWRITE, payload, (size_t)(at - payload));
}

static void put_request(struct log *log, struct request *request)
{
	switch (request->kind) {
	case REQUEST_SPILL:
		request->body = put_body(log, request);
		break;
	case REQUEST_COMMIT:
	case REQUEST_MOVE:
		if (request->body_len)
			request->extents[request->extent_count - 1] = put_body(log, request);
		request->record_seq = log->next_seq;
		request->record = put_commit(log, request);
		break;
	case REQUEST_REWRITE:
		request->message->pending++;
		request->record = put_rewrite(log, request);
		break;
	case REQUEST_FLUSH:
		break;
	}
	request->taken = true;
	request_leave(request);
	list_append(&log->taken, &request->link);
}

/* What it was about has changed since it was queued. */
static bool outdated(const struct request *request)
{
	const struct message *message = request->message;

	if (request->kind == REQUEST_MOVE)
		return message->done || message->pending || message->version != request->version;
	return request->kind == REQUEST_REWRITE && message->done;
}

static void put_resume(struct log *log)
{
	char *payload = record_begin(log);
	uint64_t jump, next;

	shard_random(log->spool->shard, &jump, sizeof(jump));
	next = log->next_seq + (1ull << 32) + (jump >> 24);
	memcpy(payload, &next, sizeof(next));
	(void)record_end(log, RECORD_RESUME, payload, sizeof(next));
	log->next_seq = next;
	log->group_count = 0;
}

void group_forget(struct log *log)
{
	log->next_seq = log->group_seq;
	log->index_len = log->group_index_len;
	log->index_items = log->group_index_items;
	log->pending_taken = 0;
}

void group_gather(struct log *log)
{
	struct segment *segment = log->active;

	log->group_seq = log->next_seq;
	log->group_index_len = log->index_len;
	log->group_index_items = log->index_items;
	log->group_len = log->group_count = 0;
	if (log->resumes)
		put_resume(log);
	if (segment->used == 0) {
		struct segment_head *head = (struct segment_head *)log->group;

		memset(head, 0, SPOOL_BLOCK);
		head->shard = log->shard;
		head->number = segment->number;
		head->first_seq = segment->first_seq;
		head->life = segment->life;
		head->size = segment->size;
		segment_head_finish(head);
		log->group_len = SPOOL_BLOCK;
	}
	if (!take_pending(log) || !take_ends(log))
		return;
	LIST_EACH (l, &log->requests) {
		struct request *request = LIST_ITEM(l, struct request, link);

		if (outdated(request)) {
			request_end(request, FAIL);
			continue;
		}
		if (request->kind == REQUEST_FLUSH && request->flush_target <= log->pending_base) {
			request_end(request, OK);
			continue;
		}
		if (!group_has_room(log, request->need, request_index_need(request),
				    !request_is_new_mail(request)))
			return;
		put_request(log, request);
		if (log->group_len >= GROUP_SIZE)
			return;
	}
}

/* ---- A group's end ----------------------------------------------------------------------------------- */

static void pending_drop_taken(struct log *log)
{
	log->pending_base += log->pending_taken;
	log->pending_len -= log->pending_taken;
	memmove(log->pending, log->pending + log->pending_taken, log->pending_len);
	log->pending_taken = 0;
}

static void pending_done(struct log *log)
{
	for (uint32_t at = 0; at < log->pending_taken;) {
		struct pending_item *item = (struct pending_item *)(log->pending + at);
		struct place place = {log->active, item->offset, item->len};

		item->message->pending--;
		/* Without memory for it, the outcome is on the disk and comes back with the next start. */
		if (item->type == RECORD_OUTCOME)
			(void)message_add_outcome(item->message, &place);
		at += pending_item_size(item->len);
	}
	if (log->pending_taken)
		pending_drop_taken(log);
}

static void request_succeeded(struct log *log, struct request *request)
{
	struct message *message = request->message;

	switch (request->kind) {
	case REQUEST_SPILL:
		if (request->spill->extent_count == 0)
			request->body.segment->holds++;
		request->spill->extents[request->spill->extent_count++] = request->body;
		break;
	case REQUEST_MOVE:
		message_unsettle(message);
		log->spool->stats.compactions++;
		/* fall through */
	case REQUEST_COMMIT:
		if (!message->serial)
			message->serial = request->record_seq;
		message->damaged = request->damaged;
		message->has_embedded = request->outcomes.len > 0;
		message_settle(message, &request->record, request->extents, request->extent_count);
		request->extents = NULL;
		break;
	case REQUEST_REWRITE:
		message->pending--;
		message->version++;
		message->rewrite = request->record;
		message->entry.envelope_len = request->envelope_len;
		break;
	case REQUEST_FLUSH:
		break;
	}
	request_end(request, OK);
}

static void group_done(struct log *log)
{
	struct link *l;

	log->failing = log->resumes = false;
	log->index_dirty = true;
	log->active->used += log->group_len;
	log->spool->stats.syncs++;
	log->spool->stats.bytes_written += log->group_len;
	pending_done(log);
	while ((l = list_shift(&log->done_taken))) {
		log->message_count--;
		message_end(LIST_ITEM(l, struct message, entry.link));
	}
	while (!list_empty(&log->taken)) {
		struct request *request = LIST_ITEM(log->taken.next, struct request, link);

		if (request->kind == REQUEST_COMMIT) {
			log->spool->stats.commits++;
			log->message_count++;
		}
		request_succeeded(log, request);
	}
	if (log->group_room > GROUP_SIZE + SPOOL_BLOCK) {
		char *bytes;

		/* Back to the ordinary size; if that fails, the large one serves too. */
		if (posix_memalign((void **)&bytes, SPOOL_BLOCK, GROUP_SIZE + SPOOL_BLOCK) == 0) {
			free(log->group);
			log->group = bytes;
			log->group_room = GROUP_SIZE + SPOOL_BLOCK;
		}
	}
}

/* Nothing of the group happened, as far as the log is concerned: see promise (6). */
static void group_failed(struct log *log, struct err *err)
{
	struct link *l;

	log->spool->stats.failures++;
	group_forget(log);
	while ((l = list_shift(&log->done_taken)))
		list_append(&log->done, l);
	while (!list_empty(&log->taken)) {
		struct request *request = LIST_ITEM(log->taken.next, struct request, link);

		if (request->kind == REQUEST_REWRITE)
			request->message->pending--;
		(void)err_os(request->err, DEFER, err->os ? err->os : EIO, "writing to the spool");
		request_end(request, DEFER);
	}
	if (log->failing)
		(void)requests_refuse(log, false,
				      err); /* the second time at once: those who wait need not try a third */
	log->failing = true;
	log->closing_failed = log->closing;
	if (log->active->used == 0)
		segment_begin(log);
	else
		segment_seal(log);
}

static enum rc zero_ahead(struct log *log, struct err *err)
{
	struct segment *segment = log->active;
	struct spool *spool = log->spool;
	uint32_t from = segment->zero_until > segment->used ? segment->zero_until : segment->used;
	uint32_t len = segment->index_at - from < ZERO_STEP ? segment->index_at - from : ZERO_STEP;

	if (spool->no_zeros || segment->used + log->group_len <= from || len == 0)
		return OK;
	if (log->group_len > ZERO_GROUP_MAX) {
		segment->zero_until = segment->used + log->group_len;
		return OK;
	}
	if (!log->zeros) {
		if (posix_memalign((void **)&log->zeros, SPOOL_BLOCK, ZERO_STEP))
			return OK; /* it works without */
		memset(log->zeros, 0, ZERO_STEP);
	}
	segment->zero_until = from + len;
	return spool->disk->write(spool->disk, &log->task, segment->fd_write, log->zeros, len, from, err);
}

void group_write(struct log *log)
{
	struct segment *segment = log->active;
	struct spool *spool = log->spool;
	uint32_t len = (log->group_len + SPOOL_BLOCK - 1) & ~(SPOOL_BLOCK - 1);
	struct err err = err_make(NULL);
	enum rc rc;

	memset(log->group + log->group_len, 0, len - log->group_len);
	log->group_len = len;
	rc = zero_ahead(log, &err);
	if (rc == OK)
		rc = spool->disk->write(spool->disk, &log->task, segment->fd_write, log->group, len,
					segment->used, &err);
	if (rc == OK && spool->synced && spool->sync_apart)
		rc = spool->disk->sync(spool->disk, &log->task, segment->fd_write, &err);
	if (rc == OK)
		group_done(log);
	else
		group_failed(log, &err);
}
