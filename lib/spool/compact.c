/* compact: moves the survivors of the oldest segment to the log's end, so that it can be used again. It begins when
 * more than half of the log is dead (and some slack): so at most one byte is moved for each byte of new mail, and
 * the log is never much more than twice as long as the queue.
 *
 * A move is one COMMIT record with all that is known of the message, so that it happens wholly or not at all. What
 * happens to the message while it is read shows in its version, and the writer then drops the move. */
#include "log.h"

#include <stdlib.h>

#define BATCH_COUNT     64
#define BATCH_BYTES     (1024u * 1024)
#define AFTER_TROUBLE_S 10

struct move {
	struct request request;
	struct message *message;
	struct iovec envelope;
	struct frag *frags;
	struct place one; /* extents of one */
	struct spill *spill;
	bool queued;
};

struct batch {
	struct log *log;
	struct task *task;
	struct move moves[BATCH_COUNT];
	unsigned count;
	uint64_t bytes;
	struct err err;
};

static bool worth_it(const struct log *log)
{
	const struct segment *first = LIST_ITEM(log->segments.next, struct segment, link);
	uint64_t all;

	if (list_empty(&log->segments) || first == log->active || log->closing || log->failing)
		return false;
	all = (uint64_t)log->segment_count * first->index_at;
	return all > 2 * log->live_bytes + (uint64_t)SEGMENT_SLACK * first->index_at;
}

/* ---- Reading a message as it is, even if damaged ------------------------------------------------------ */

/* Outcomes one after another, each with its length in front, as a COMMIT has them. */
static enum rc read_outcomes(struct batch *b, struct move *move, const struct commit *commit,
			     const char *payload)
{
	struct str all = str_make(b->task->arena);

	if (commit)
		str_add(&all, slice_make(payload + commit->outcomes_at, commit->fixed.outcomes_len, CLEAN));
	for (const struct outcome *o = move->message->outcomes; o; o = o->next) {
		struct place place = o->place;
		char *bytes;
		uint32_t len = place.len - (uint32_t)sizeof(uint64_t);
		enum rc rc = record_read(b->task, &place, b->task->arena, &bytes, &b->err);

		/* The list is another once the version is: then this move is void anyway. */
		if (move->message->version != move->request.version || move->message->done)
			return FAIL;
		if (rc != OK)
			return rc;
		str_add(&all, slice_make((const char *)&len, sizeof(len), CLEAN));
		str_add(&all, slice_make(bytes + sizeof(uint64_t), len, CLEAN));
	}
	move->request.outcomes = str_slice(&all);
	return move->request.outcomes.ptr ? OK : DEFER;
}

static enum rc read_envelope(struct batch *b, struct move *move)
{
	struct message *message = move->message;
	struct place commit_place = message->commit, rewrite_place = message->rewrite;
	struct commit commit;
	char *payload, *rewrite;
	bool parsed;
	enum rc rc;

	rc = record_read_raw(b->task, &commit_place, b->task->arena, &payload, &move->request.damaged,
			     &b->err);
	if (rc != OK)
		return rc;
	parsed = commit_parse(payload, commit_place.len, commit_place.len, &commit);
	if (parsed)
		move->envelope = (struct iovec){payload + commit.envelope_at, commit.fixed.envelope_len};
	if (rewrite_place.segment) {
		rc = record_read_raw(b->task, &rewrite_place, b->task->arena, &rewrite,
				     &move->request.damaged, &b->err);
		if (rc != OK)
			return rc;
		move->envelope =
		    (struct iovec){rewrite + sizeof(uint64_t), rewrite_place.len - sizeof(uint64_t)};
	}
	move->request.envelope = &move->envelope;
	move->request.envelope_count = 1;
	move->request.envelope_len = (uint32_t)move->envelope.iov_len;
	return read_outcomes(b, move, parsed ? &commit : NULL, payload);
}

static enum rc read_piece(struct batch *b, struct move *move, const struct place *extent, uint32_t before,
			  struct frag *frag)
{
	uint32_t left = extent->len - before;
	struct place place = {extent->segment,
			      extent->offset + before / SPOOL_PIECE * (uint32_t)record_size(SPOOL_PIECE),
			      left < SPOOL_PIECE ? left : SPOOL_PIECE};
	char *payload;
	enum rc rc;

	rc = record_read_raw(b->task, &place, b->task->arena, &payload, &move->request.damaged, &b->err);
	if (rc == OK)
		*frag = (struct frag){NULL, payload, place.len};
	return rc;
}

/* The places are copied, since a rewrite of the list may come while we wait. */
static struct place *copy_extents(struct batch *b, const struct message *message)
{
	struct place *copy = arena_array(b->task->arena, struct place, message->extent_count + 1);

	if (copy && message->extent_count)
		memcpy(copy, message_extents(message), message->extent_count * sizeof(*copy));
	return copy;
}

static enum rc read_body(struct batch *b, struct move *move, const struct place *extents,
			 uint32_t extent_count)
{
	uint64_t pieces = move->message->entry.body_len / SPOOL_PIECE + extent_count;
	unsigned n = 0;
	enum rc rc = OK;

	move->frags = arena_array(b->task->arena, struct frag, pieces + 1);
	if (!move->frags)
		return DEFER;
	for (uint32_t i = 0; rc == OK && i < extent_count; i++)
		for (uint32_t at = 0; rc == OK && at < extents[i].len; at += SPOOL_PIECE)
			rc = read_piece(b, move, &extents[i], at, &move->frags[n++]);
	move->request.frags = move->frags;
	move->request.frag_count = n;
	move->request.body_len = (uint32_t)move->message->entry.body_len;
	return rc;
}

/* A large body goes ahead piece by piece, so that memory stays bounded. */
static enum rc copy_body(struct batch *b, struct move *move, const struct place *extents,
			 uint32_t extent_count)
{
	struct arena *kept = b->task->arena, scratch;
	struct frag frag;
	enum rc rc = spill_make(b->log, true, &move->spill, &b->err);

	for (uint32_t i = 0; rc == OK && i < extent_count; i++)
		for (uint32_t at = 0; rc == OK && at < extents[i].len; at += SPOOL_PIECE) {
			arena_init(&scratch, 0);
			b->task->arena = &scratch;
			rc = read_piece(b, move, &extents[i], at, &frag);
			if (rc == OK)
				rc = spill_append(b->task, move->spill, &frag, 1, &b->err);
			b->task->arena = kept;
			arena_done(&scratch);
		}
	return rc;
}

/* ---- Moving ------------------------------------------------------------------------------------------ */

static enum rc prepare(struct batch *b, struct move *move)
{
	struct message *message = move->message;
	uint32_t extent_count = message->extent_count;
	struct place *extents;
	enum rc rc;

	if (message->done || message->pending)
		return FAIL; /* since it was chosen */
	extents = copy_extents(b, message);
	if (!extents)
		return DEFER;
	request_init(&move->request, REQUEST_MOVE, &b->err);
	move->request.message = message;
	move->request.version = message->version;
	move->request.damaged = message->damaged;
	rc = read_envelope(b, move);
	if (rc == OK && message->entry.body_len <= log_body_max(b->log))
		rc = read_body(b, move, extents, extent_count);
	else if (rc == OK)
		rc = copy_body(b, move, extents, extent_count);
	if (rc == OK)
		rc = request_extents(&move->request, move->spill, &move->one, &b->err);
	if (rc == OK && move->request.damaged && !message->done)
		message->oldest->damaged = true; /* kept, for those who can read what we cannot */
	return rc;
}

static void move_end(struct batch *b, struct move *move)
{
	if (move->request.extent_count > 1)
		free(move->request.extents); /* NULL if it was moved */
	if (move->spill)
		spill_free(move->spill);
	message_unpin(move->message);
	(void)b;
}

/* Those of the first segment that can be moved now, as many as fit into a batch. They are pinned. */
static void choose(struct batch *b)
{
	struct segment *first = LIST_ITEM(b->log->segments.next, struct segment, link);

	LIST_EACH (l, &first->messages) {
		struct message *message = LIST_ITEM(l, struct message, in_segment);

		if (b->count == BATCH_COUNT || (b->count && b->bytes + message->bytes > BATCH_BYTES))
			return;
		if (message->done || message->pending)
			continue; /* will be, as soon as the next group is written */
		message->pins++;
		b->bytes += message->bytes;
		b->moves[b->count++] = (struct move){.message = message, .envelope = {"", 0}};
	}
}

/* How many were moved; *rc_ret: what kept the others from it. */
static unsigned move_some(struct batch *b, enum rc *rc_ret)
{
	struct segment *first = LIST_ITEM(b->log->segments.next, struct segment, link);
	unsigned moved = 0;
	enum rc rc = OK;

	first->holds++; /* and with it all that come after */
	choose(b);
	for (unsigned i = 0; i < b->count && rc != DEFER; i++) {
		struct move *move = &b->moves[i];

		rc = prepare(b, move);
		if (rc == OK && request_fits(b->log, &move->request)) {
			request_queue(b->log, &move->request);
			move->queued = true;
		}
	}
	for (unsigned i = 0; i < b->count; i++) {
		enum rc each = b->moves[i].queued ? request_wait(b->task, &b->moves[i].request) : FAIL;

		if (each == OK)
			moved++;
		else if (each == DEFER)
			rc = DEFER;
		move_end(b, &b->moves[i]);
	}
	first->holds--;
	*rc_ret = rc;
	return moved;
}

static void compactor(void *arg)
{
	struct log *log = arg;
	struct arena arena;
	struct task task;
	unsigned moved = 1;
	enum rc rc = OK;

	arena_init(&arena, 0);
	task_init(&task, log->spool->shard, &arena, UNTIL_NEVER);
	while (moved && rc != DEFER && worth_it(log)) {
		/* From the heap: too large for a stack, and there is one of it. */
		struct batch *batch = calloc(1, sizeof(*batch));

		if (!batch)
			break;
		batch->log = log;
		batch->task = &task;
		batch->err = err_make(NULL);
		moved = move_some(batch, &rc);
		free(batch);
		arena_clear(&arena);
		log_trim(log);
	}
	arena_done(&arena);
	if (!moved || rc == DEFER)
		log->compact_after = shard_now(log->spool->shard) + AFTER_TROUBLE_S * NS_PER_S;
	log->compactor_runs = false;
	(void)waitq_wake_one(&log->work); /* the writer stays as long as it may be needed here */
	waitq_wake_all(&log->idle);
}

void compact_check(struct log *log)
{
	if (log->compactor_runs || !worth_it(log) || shard_now(log->spool->shard) < log->compact_after)
		return;
	/* Without a fiber for it now, the next group asks again. */
	log->compactor_runs = fiber_spawn(log->spool->shard, compactor, log) == OK;
}
