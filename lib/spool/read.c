/* read: envelopes, outcomes and bodies from the disk, each checked against its checksum. Whoever reads holds the
 * segment, so that it is not used again meanwhile. */
#include "log.h"

enum rc spool_envelope(struct task *task, struct spool *spool, struct spool_entry *entry, struct slice *ret,
		       struct err *err)
{
	struct message *message = (struct message *)entry;
	bool rewritten = message->rewrite.segment != NULL;
	struct place place = rewritten ? message->rewrite : message->commit;
	struct commit commit;
	char *payload;
	enum rc rc;

	(void)spool;
	if (message->damaged)
		return err_set(err, DEFER, "%s is damaged", message->entry.id.text);
	rc = record_read(task, &place, task->arena, &payload, err);
	if (rc != OK)
		return rc;
	if (rewritten) {
		*ret = slice_make(payload + sizeof(uint64_t), place.len - sizeof(uint64_t), TAINTED);
		return OK;
	}
	if (!commit_parse(payload, place.len, place.len, &commit))
		return err_set(err, DEFER, "the envelope of %s is damaged", message->entry.id.text);
	*ret = slice_make(payload + commit.envelope_at, commit.fixed.envelope_len, TAINTED);
	return OK;
}

/* Those that a move took along stand in the commit. */
static enum rc each_embedded(struct task *task, const struct place *place,
			     void (*each)(void *arg, struct slice record), void *arg, struct err *err)
{
	struct commit commit;
	char *payload, *at, *end;
	uint32_t len;
	enum rc rc;

	rc = record_read(task, place, task->arena, &payload, err);
	if (rc != OK)
		return rc;
	if (!commit_parse(payload, place->len, place->len, &commit))
		return err_set(err, DEFER, "the record of a message is damaged");
	at = payload + commit.outcomes_at;
	end = payload + commit.envelope_at;
	while ((size_t)(end - at) >= sizeof(len)) {
		memcpy(&len, at, sizeof(len));
		at += sizeof(len);
		if (len > (size_t)(end - at))
			return err_set(err, DEFER, "the outcomes of %s are damaged", commit.fixed.id);
		each(arg, slice_make(at, len, TAINTED));
		at += len;
	}
	return OK;
}

/* Copies of the places: the list may grow, or be replaced by a move, while we wait. */
static struct place *outcome_places(struct arena *arena, const struct message *message, unsigned *count_ret)
{
	struct place *places;
	unsigned count = 0;

	for (const struct outcome *o = message->outcomes; o; o = o->next)
		count++;
	places = arena_array(arena, struct place, count + 1);
	if (!places)
		return NULL;
	count = 0;
	for (const struct outcome *o = message->outcomes; o; o = o->next) {
		places[count++] = o->place;
		places[count - 1].segment->holds++;
	}
	*count_ret = count;
	return places;
}

static enum rc each_outcome(struct task *task, struct message *message,
			    void (*each)(void *arg, struct slice record), void *arg, struct err *err)
{
	bool embedded = message->has_embedded;
	struct place commit = message->commit, *places;
	enum rc rc = OK;
	char *payload;
	unsigned count;

	places = outcome_places(task->arena, message, &count);
	if (!places)
		return err_memory(err);
	commit.segment->holds++;
	if (embedded)
		rc = each_embedded(task, &commit, each, arg, err);
	commit.segment->holds--;
	for (unsigned i = 0; i < count; i++) {
		if (rc == OK)
			rc = record_read(task, &places[i], task->arena, &payload, err);
		if (rc == OK)
			each(arg, slice_make(payload + sizeof(uint64_t), places[i].len - sizeof(uint64_t),
					     TAINTED));
		places[i].segment->holds--;
	}
	log_trim(message->log);
	return rc;
}

enum rc spool_outcomes(struct task *task, struct spool *spool, struct spool_entry *entry,
		       void (*each)(void *arg, struct slice record), void *arg, struct err *err)
{
	struct message *message = (struct message *)entry;
	struct request flush;
	enum rc rc = OK;

	(void)spool;
	message->pins++;
	if (message->pending) {
		/* Some wait for a group or are under way: afterwards each is in one place. */
		request_init(&flush, REQUEST_FLUSH, err);
		flush.flush_target = pending_position(message->log);
		rc = request_run(task, message->log, &flush);
	}
	if (rc == OK && message->gone)
		rc = err_set(err, FAIL, "the message is over");
	if (rc == OK)
		rc = each_outcome(task, message, each, arg, err);
	message_unpin(message);
	return rc;
}

/* One piece of an extent, whole and checked. */
static enum rc piece_read(struct task *task, const struct place *extent, uint32_t piece, struct arena *arena,
			  struct slice *ret, struct err *err)
{
	uint32_t before = piece * SPOOL_PIECE, left = extent->len - before;
	struct place place = {extent->segment, extent->offset + piece * (uint32_t)record_size(SPOOL_PIECE),
			      left < SPOOL_PIECE ? left : SPOOL_PIECE};
	char *payload;
	enum rc rc;

	rc = record_read(task, &place, arena, &payload, err);
	if (rc == OK)
		*ret = slice_make(payload, place.len, TAINTED);
	return rc;
}

/* The extent that has the byte at *offset, which becomes relative to it; NULL: past the end. */
static const struct place *extent_find(const struct message *message, uint64_t *offset)
{
	const struct place *extents = message_extents(message);

	for (uint32_t i = 0; i < message->extent_count; i++) {
		if (*offset < extents[i].len)
			return &extents[i];
		*offset -= extents[i].len;
	}
	return NULL;
}

enum rc spool_body(struct task *task, struct spool *spool, struct spool_entry *entry, uint64_t offset,
		   void *bytes, size_t size, size_t *got_ret, struct err *err)
{
	struct message *message = (struct message *)entry;
	struct arena scratch;
	size_t got = 0;
	enum rc rc = OK;

	(void)spool;
	if (message->damaged)
		return err_set(err, DEFER, "%s is damaged", message->entry.id.text);
	message->pins++;
	while (rc == OK && got < size && !message->gone) {
		uint64_t at = offset + got;
		const struct place *extent = extent_find(message, &at);
		struct slice piece, part;

		if (!extent)
			break;
		/* One piece at a time in memory, whatever the caller asks for. */
		arena_init(&scratch, 0);
		rc = piece_read(task, extent, (uint32_t)(at / SPOOL_PIECE), &scratch, &piece, err);
		if (rc == OK) {
			part = slice_sub(piece, at % SPOOL_PIECE, size - got);
			memcpy((char *)bytes + got, part.ptr, part.len);
			got += part.len;
		}
		arena_done(&scratch);
	}
	if (rc == OK && message->gone)
		rc = err_set(err, FAIL, "the message is over");
	message_unpin(message);
	if (rc == OK)
		*got_ret = got;
	return rc;
}
