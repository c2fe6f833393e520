/* recover: how every start goes. The segments of a log are read in the order of their numbers: by their indexes, or,
 * where there is none that checks (the last one after a crash), record by record. What the records say is applied in
 * the order in which it was written; what is then neither over nor moved is in the queue. */
#include "log.h"

#include <stdio.h>
#include <stdlib.h>

#define WINDOW_SIZE (1024u * 1024)

struct replay {
	struct task *task;
	struct log *log;
	struct err *err;
	struct str *damage;
	struct segment **segments; /* by number */
	unsigned count;
	struct map by_serial;
	/* The part of a file that is in memory. */
	char *window;
	uint32_t window_room, window_at, window_len;
	enum rc
	    rc; /* of reading: not OK ends everything, since what cannot be read must not be overwritten */
};

static void tell_damage(struct replay *r, const struct segment *segment, const char *what)
{
	r->log->spool->stats.recovered_damaged++;
	if (r->damage->len < 1000)
		str_printf(r->damage, "%sspool segment %u-%u: %s", r->damage->len ? "; " : "", r->log->shard,
			   segment->file, what);
}

static struct slice serial_key(const uint64_t *serial)
{
	return slice_make((const char *)serial, sizeof(*serial), CLEAN);
}

/* ---- Applying what a record says --------------------------------------------------------------------- */

static struct segment *segment_by_number(const struct replay *r, uint64_t number)
{
	unsigned low = 0, high = r->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (r->segments[middle]->number == number)
			return r->segments[middle];
		if (r->segments[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool place_of(const struct replay *r, struct extent extent, struct segment *here, struct place *ret)
{
	struct segment *segment =
	    extent.segment == here->number ? here : segment_by_number(r, extent.segment);
	bool good = segment && segment->number <= here->number &&
		    extent.offset + (uint64_t)extent_size(extent.len) <= segment->index_at;

	*ret = (struct place){good ? segment : NULL, extent.offset, extent.len};
	return good;
}

static bool settle(struct replay *r, struct message *message, const struct commit *commit,
		   const struct place *place)
{
	uint32_t count = commit->fixed.extent_count;
	struct place one, *extents = &one;

	if (count > 1) {
		extents = malloc(count * sizeof(*extents));
		if (!extents)
			return false;
	}
	for (uint32_t i = 0; i < count; i++)
		if (!place_of(r, commit_extent(commit, i), place->segment, &extents[i]))
			message->damaged = true;
	message_settle(message, place, extents, count);
	return true;
}

static void apply_commit(struct replay *r, const struct commit *commit, const struct place *place,
			 uint64_t seq)
{
	const struct commit_fixed *fixed = &commit->fixed;
	uint64_t serial = fixed->serial ? fixed->serial : seq;
	struct message *message = map_get(&r->by_serial, serial_key(&serial));
	struct message_id id;

	if (serial > seq || !message_id_parse(slice_of(fixed->id), &id)) {
		tell_damage(r, place->segment, "a message without a name");
		return;
	}
	if (message) {
		message_unsettle(message); /* moved on */
	} else {
		message = message_new(r->log);
		if (!message) {
			r->rc = err_memory(r->err);
			return;
		}
		message->serial = serial;
		if (!map_set(&r->by_serial, serial_key(&message->serial), message)) {
			message_free(message);
			r->rc = err_memory(r->err);
			return;
		}
		r->log->message_count++;
	}
	message->entry.id = id;
	message->entry.received = fixed->received;
	message->entry.body_len = fixed->body_len;
	message->entry.envelope_len = fixed->envelope_len;
	message->entry.outcome_count = fixed->outcome_count;
	message->entry.frozen = fixed->flags & MESSAGE_FROZEN;
	message->damaged = fixed->flags & MESSAGE_DAMAGED;
	message->has_embedded = fixed->outcomes_len > 0;
	if (!settle(r, message, commit, place))
		r->rc = err_memory(r->err);
}

static void apply_done(struct replay *r, struct message *message)
{
	(void)map_remove(&r->by_serial, serial_key(&message->serial));
	message_free(message);
	r->log->message_count--;
}

/* prefix: what index_item says of it. */
static void apply(struct replay *r, const struct index_item *item, const char *prefix,
		  struct segment *segment)
{
	struct place place = {segment, item->offset, item->len};
	struct message *message;
	struct commit commit;
	uint64_t serial, flags;

	if (item->type == RECORD_COMMIT) {
		if (commit_parse(prefix, item->prefix_len, item->len, &commit))
			apply_commit(r, &commit, &place, item->seq);
		else
			tell_damage(r, segment, "a message that makes no sense");
		return;
	}
	if (item->prefix_len < sizeof(serial))
		return;
	memcpy(&serial, prefix, sizeof(serial));
	message = map_get(&r->by_serial, serial_key(&serial));
	if (!message)
		return; /* its commit is gone, since it is over */
	switch ((enum record_type)item->type) {
	case RECORD_OUTCOME:
		message->entry.outcome_count++;
		if (!message_add_outcome(message, &place))
			r->rc = err_memory(r->err);
		break;
	case RECORD_REWRITE:
		message->rewrite = place;
		message->entry.envelope_len = item->len - (uint32_t)sizeof(serial);
		break;
	case RECORD_MARK:
		if (item->prefix_len >= sizeof(serial) + sizeof(flags)) {
			memcpy(&flags, prefix + sizeof(serial), sizeof(flags));
			message->entry.frozen = flags & MESSAGE_FROZEN;
		}
		break;
	case RECORD_DONE:
		apply_done(r, message);
		break;
	default:
		break;
	}
}

/* ---- Reading a segment ------------------------------------------------------------------------------- */

/* len bytes at the offset, good until the next call; NULL past the end of the file or when reading failed. */
static char *window(struct replay *r, struct segment *segment, uint32_t at, uint32_t len)
{
	struct spool *spool = r->log->spool;
	uint32_t need = len > WINDOW_SIZE ? len : WINDOW_SIZE;
	size_t got = 0;

	if (at >= r->window_at && at - r->window_at <= r->window_len &&
	    len <= r->window_len - (at - r->window_at))
		return r->window + (at - r->window_at);
	if (need > segment->size - at)
		need = segment->size - at;
	if (need < len || r->rc != OK)
		return NULL;
	if (need > r->window_room) {
		char *bytes = realloc(r->window, need);

		if (!bytes) {
			r->rc = err_memory(r->err);
			return NULL;
		}
		r->window = bytes;
		r->window_room = need;
	}
	r->window_len = 0;
	r->rc = spool->disk->read(spool->disk, r->task, segment->fd_read, r->window, need, at, &got, r->err);
	if (r->rc != OK)
		return NULL;
	r->window_at = at;
	r->window_len = (uint32_t)got;
	return got < len ? NULL : r->window;
}

/* What the index says is applied, and copied for the case that it has to be continued. *at and *seq: where its
 * records end. */
static bool replay_index(struct replay *r, struct segment *segment, uint32_t *at_ret, uint64_t *seq_ret)
{
	uint32_t room = segment->size - segment->index_at;
	struct index_head *head = (struct index_head *)window(r, segment, segment->index_at, SPOOL_BLOCK);
	struct log *log = r->log;
	char *at, *end;

	if (!head || !index_head_good(head, room) || head->number != segment->number ||
	    head->first_seq != segment->first_seq || head->life != segment->life ||
	    head->end > segment->index_at)
		return false;
	head =
	    (struct index_head *)window(r, segment, segment->index_at, (uint32_t)sizeof(*head) + head->len);
	if (!head || !index_items_good(head))
		return false;
	*at_ret = segment->used = (head->end + SPOOL_BLOCK - 1) & ~(SPOOL_BLOCK - 1);
	*seq_ret = head->next_seq;
	log->index_len = log->index_room + 1; /* cannot be continued */
	if (sizeof(*head) + head->len <= log->index_room) {
		memcpy(log->index, head, sizeof(*head) + head->len);
		log->index_len = (uint32_t)sizeof(*head) + head->len;
		log->index_items = head->item_count;
	}
	at = (char *)(head + 1);
	end = at + head->len;
	while ((size_t)(end - at) >= sizeof(struct index_item)) {
		struct index_item item;

		memcpy(&item, at, sizeof(item));
		at += sizeof(item);
		if (item.prefix_len > (size_t)(end - at) || item.prefix_len > item.len ||
		    item.offset > segment->index_at || item.len > segment->index_at - item.offset)
			break;
		apply(r, &item, at, segment);
		at += item.prefix_len;
		at +=
		    (size_t)(end - at) < (-item.prefix_len & 7) ? (size_t)(end - at) : (-item.prefix_len & 7);
	}
	return true;
}

/* The record at the offset if it counts, else NULL. */
static struct record_head *record_at(struct replay *r, struct segment *segment, uint32_t at, uint64_t seq,
				     uint64_t seq_end)
{
	struct record_head *head;

	if (segment->index_at - at < sizeof(*head))
		return NULL;
	head = (struct record_head *)window(r, segment, at, sizeof(*head));
	if (!head || !record_head_good(head, segment->life) || head->seq != seq || seq >= seq_end ||
	    record_size(head->len) > segment->index_at - at)
		return NULL;
	head = (struct record_head *)window(r, segment, at, (uint32_t)sizeof(*head) + head->len);
	return head && record_payload_good(head, head + 1) ? head : NULL;
}

/* Adds to the index that is being made, as long as that has room. */
static void index_more(struct log *log, const struct record_head *head, uint32_t at)
{
	bool sane = head->type != RECORD_COMMIT || head->len >= sizeof(struct commit_fixed);

	if (log->index_len > log->index_room || !sane ||
	    !index_add(log, (enum record_type)head->type, at, head->seq, head + 1, head->len))
		log->index_len = log->index_room + 1;
}

/* From there on, until a record does not count. seq_end: of the next segment's first record. */
static void replay_records(struct replay *r, struct segment *segment, uint32_t at, uint64_t seq,
			   uint64_t seq_end)
{
	uint32_t index_at = segment->index_at;

	while (r->rc == OK && at < index_at) {
		uint32_t rest = SPOOL_BLOCK - at % SPOOL_BLOCK;
		struct record_head *head = record_at(r, segment, at, seq, seq_end);
		struct index_item item;
		uint64_t next = 0;

		if (!head && at % SPOOL_BLOCK == 0)
			break;
		if (!head) {
			at += rest; /* the next group */
			continue;
		}
		seq++;
		if (head->type != RECORD_BODY) {
			item = (struct index_item){.offset = at,
						   .len = head->len,
						   .seq = head->seq,
						   .type = head->type,
						   .prefix_len = head->len};
			index_more(r->log, head, at);
			apply(r, &item, (char *)(head + 1), segment);
		}
		if (head->type == RECORD_RESUME && head->len >= sizeof(next)) {
			memcpy(&next, head + 1, sizeof(next));
			if (next < seq)
				break;
			seq = next;
		}
		at += (uint32_t)record_size(head->len);
		segment->used = (at + SPOOL_BLOCK - 1) & ~(SPOOL_BLOCK - 1);
		r->log->index_dirty = true;
	}
	r->log->next_seq = seq;
}

static void replay_segment(struct replay *r, unsigned i)
{
	struct segment *segment = r->segments[i];
	struct log *log = r->log;
	uint64_t seq_end = i + 1 < r->count ? r->segments[i + 1]->first_seq : UINT64_MAX, seq;
	uint32_t at;

	r->window_len = 0;
	log->index_dirty = false;
	if (!replay_index(r, segment, &at, &seq)) {
		log->index_len = sizeof(struct index_head);
		log->index_items = 0;
		at = segment->used = SPOOL_BLOCK;
		seq = segment->first_seq;
	}
	log->next_seq = seq;
	/* Behind an index there may be more, written after a clean end. */
	if (seq != seq_end)
		replay_records(r, segment, at, seq, seq_end);
	segment->zero_until = segment->used;
	if (r->rc != OK || i + 1 == r->count)
		return;
	if (log->next_seq < seq_end && r->segments[i + 1]->number > segment->number + 1) {
		tell_damage(r, segment, "what came after it is missing");
	} else if (log->next_seq < seq_end) {
		segment->damaged = true;
		tell_damage(r, segment, "records are missing at its end");
	}
	/* The next start will find an index here. */
	if (log->index_dirty && log->index_len <= log->index_room && !log->spool->options.read_only &&
	    segment_open_write(segment, r->err) == OK) {
		log->active = segment;
		segment_seal(log);
	}
}

/* The last segment is gone on with, if that is worth it. */
static void resume(struct replay *r)
{
	struct log *log = r->log;
	struct segment *last = r->count ? r->segments[r->count - 1] : NULL;

	if (!last || !log->message_count || last->size != log->spool->options.segment_size || last->damaged ||
	    log->index_len > log->index_room || last->index_at - last->used < last->size / 16)
		return;
	log->active = last;
	log->resumes = true;
}

/* ---- Finding the segments ---------------------------------------------------------------------------- */

static bool all_zero(const char *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* What the file says it is; number 0: new. false: nothing that we know. */
static bool segment_identify(struct replay *r, struct segment *segment)
{
	const struct segment_head *head = (struct segment_head *)window(r, segment, 0, 512);
	const struct index_head *index;

	if (r->rc != OK)
		return false;
	if (!head) {
		segment->size = 0; /* never finished: will be removed */
		return true;
	}
	if (segment_head_good(head)) {
		segment->number = head->number;
		segment->first_seq = head->first_seq;
		segment->life = head->life;
		segment->size = head->size;
		segment->index_at = head->index_at;
		return head->shard == r->log->shard;
	}
	if (all_zero((const char *)head, 512)) {
		if (!window(r, segment, segment->size - 1, 1))
			segment->size = 0;
		return r->rc == OK;
	}
	index = (struct index_head *)window(r, segment, segment->index_at, SPOOL_BLOCK);
	if (!index || !index_head_good(index, segment->size - segment->index_at) ||
	    index->shard != r->log->shard)
		return false;
	segment->number = index->number;
	segment->first_seq = index->first_seq;
	segment->life = index->life;
	return true;
}

static void set_aside(struct replay *r, struct segment *segment, const char *why)
{
	tell_damage(r, segment, why);
	if (!r->log->spool->options.read_only && segment_set_aside(segment, r->err) != OK)
		r->rc = DEFER;
	segment_free(segment);
}

static int number_order(const void *a, const void *b)
{
	const struct segment *x = *(struct segment *const *)a, *y = *(struct segment *const *)b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* Opens them all; those with messages go to r->segments, the new ones to log->free. */
static enum rc find_segments(struct replay *r, const struct log_file *files, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct segment *segment = segment_new(r->log, files[i].file);

		if (!segment)
			return err_memory(r->err);
		if (files[i].file >= r->log->next_file)
			r->log->next_file = files[i].file + 1;
		r->rc = segment_open_read(r->task, segment, r->err);
		r->window_len = 0;
		if (r->rc == OK && !segment_identify(r, segment) && r->rc == OK) {
			set_aside(r, segment, "neither its head nor its index is readable, set aside");
			continue;
		}
		if (r->rc != OK) {
			segment_free(segment);
			return r->rc;
		}
		if (segment->number) {
			r->segments[r->count++] = segment;
		} else {
			list_append(&r->log->free, &segment->link);
			r->log->free_count++;
		}
	}
	return OK;
}

/* In the order of their numbers; the same number twice can only be somebody's copy. */
static void order_segments(struct replay *r)
{
	unsigned count = 0;

	qsort(r->segments, r->count, sizeof(r->segments[0]), number_order);
	for (unsigned i = 0; i < r->count; i++) {
		struct segment *segment = r->segments[i];

		if (count && r->segments[count - 1]->number == segment->number) {
			set_aside(r, segment, "a copy of another, set aside");
			continue;
		}
		r->segments[count++] = segment;
		list_append(&r->log->segments, &segment->link);
		r->log->segment_count++;
		r->log->next_number = segment->number + 1;
	}
	r->count = count;
}

static void tell_lost_bodies(struct replay *r)
{
	uint32_t at = 0;
	struct map_entry *e;

	while ((e = map_next(&r->by_serial, &at))) {
		struct message *message = e->value;

		if (message->damaged)
			tell_damage(r, message->commit.segment, "a part of a message's body is missing");
	}
}

enum rc log_recover(struct task *task, struct log *log, const struct log_file *files, unsigned file_count,
		    struct str *damage, struct err *err)
{
	struct replay r = {.task = task, .log = log, .err = err, .damage = damage};
	enum rc rc;

	map_init(&r.by_serial, NULL, false);
	r.segments = calloc(file_count + 1, sizeof(struct segment *));
	rc = r.segments ? find_segments(&r, files, file_count) : err_memory(err);
	if (rc == OK) {
		order_segments(&r);
		for (unsigned i = 0; i < r.count && r.rc == OK; i++)
			replay_segment(&r, i);
		tell_lost_bodies(&r);
		rc = r.rc;
		if (rc == OK)
			resume(&r);
		log_trim(log);
	} else {
		for (unsigned i = 0; i < r.count; i++)
			segment_free(r.segments[i]);
	}
	free(r.segments);
	free(r.window);
	map_done(&r.by_serial);
	return rc;
}
