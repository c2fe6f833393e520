/* header_hash: the header as a signature is over it: fields found by name, in their canonical forms, hashed. Most of it is done ahead:
 * when the header is there and the body is yet to come, so that it goes on beside the body's blocks and takes little time of its
 * own (sha256.h). A form that one signature has made serves the others. */
#include "arc.h"

#define AHEAD_FIELDS_MAX 64          /* under one signature: with more it is hashed when that is wanted */
#define AHEAD_BYTES_MAX  (16 * 1024) /* of texts for one message: it has to be kept while the body comes */
#define AHEAD_SETS_MAX   2           /* of ARC, each of whose seals is over the sets before it, too */
#define WANTED_S         60

/* A text that is hashed ahead. */
struct header_text {
	struct hash hash;
	struct sha256_waiting waiting, **line;
	uint64_t total; /* bytes */
};

static void text_end(struct header_text *text, uint8_t *digest)
{
	sha256_wait_end(text->line, &text->waiting);
	hash_final(&text->hash, digest);
}

/* ---- Fields ---------------------------------------------------------------------------------------------------- */

/* The next field of the name, for this signature: when that was made it was not there itself. UINT32_MAX: none. */
static uint32_t take_signed(struct field_index *index, const struct dkim_signature *s, struct slice name)
{
	uint32_t field = field_index_take(index, name);

	return field != UINT32_MAX && field == s->field ? field_index_take(index, name) : field;
}

/* A whole field. What is made in a room that stays serves others, too. */
static void add_field(struct hash_sink *sink, const struct field_index *index, uint32_t field, bool relaxed)
{
	struct slice *kept = relaxed && index->relaxed ? &index->relaxed[field] : NULL;
	uint64_t flushed = sink->total;
	unsigned start = sink->len;

	if (kept && kept->ptr) {
		hash_sink_add(sink, *kept);
		return;
	}
	canon_field(sink, index->fields[field], relaxed, 0, 0, false);
	if (kept && sink->bytes != sink->own && sink->total == flushed)
		*kept = slice_make(sink->bytes + start, sink->len - start, TAINTED);
}

/* The signature's own field, without its b=, which ends its text. */
static void add_own(struct hash_sink *sink, const struct dkim_signature *s)
{
	canon_field(sink, s->text, s->header_relaxed, s->b_start, s->b_end, true);
}

bool header_hash(struct dkim_work *work, struct dkim_signature *s, uint8_t *digest)
{
	struct hash_sink sink;
	struct hash hash;

	if (s->ahead) {
		work->header_bytes += s->ahead->total;
		text_end(s->ahead, digest);
		s->ahead = NULL;
		return work->header_bytes <= DKIM_HEADER_WORK;
	}
	hash_init(&hash, s->hash_kind);
	hash_sink_init(&sink, &hash);
	field_index_begin(work->index);
	for (uint32_t i = 0;
	     i < s->name_count && work->header_bytes + hash_sink_total(&sink) <= DKIM_HEADER_WORK; i++) {
		uint32_t field = take_signed(work->index, s, s->name_list[i]);

		if (field != UINT32_MAX)
			add_field(&sink, work->index, field, s->header_relaxed);
	}
	add_own(&sink, s);
	hash_sink_flush(&sink);
	hash_final(&hash, digest);
	work->header_bytes += hash_sink_total(&sink);
	return work->header_bytes <= DKIM_HEADER_WORK;
}

/* Section 5.1.1 of RFC 8617: all sets up to the seal's own, in order, without its b=. Each field is hashed twice at most, however many
 * seals there are. */
void header_hash_seals(struct arc_state *arc, const struct slice *fields)
{
	struct hash running;

	if (arc->count && arc->sets[1]->ahead) {
		for (unsigned i = 1; i <= arc->count; i++) {
			text_end(arc->sets[i]->ahead, arc->sets[i]->digest);
			arc->sets[i]->ahead = NULL;
		}
		return;
	}
	hash_init(&running, HASH_SHA256);
	for (unsigned i = 1; i <= arc->count; i++) {
		struct arc_set *set = arc->sets[i];
		struct hash_sink sink;
		struct hash own;

		hash_sink_init(&sink, &running);
		canon_field(&sink, fields[set->fields[ARC_AAR]], true, 0, 0, false);
		canon_field(&sink, fields[set->fields[ARC_AMS]], true, 0, 0, false);
		hash_sink_flush(&sink);
		hash_copy(&own, &running);
		hash_sink_init(&sink, &own);
		canon_field(&sink, fields[set->fields[ARC_AS]], true, set->seal.b_start, set->seal.b_end,
			    true);
		hash_sink_flush(&sink);
		hash_final(&own, set->digest);
		if (i == arc->count)
			break;
		hash_sink_init(&sink, &running);
		canon_field(&sink, fields[set->fields[ARC_AS]], true, 0, 0, false);
		hash_sink_flush(&sink);
	}
	hash_drop(&running);
}

/* ---- Ahead -------------------------------------------------------------------------------------------------------- */

struct ahead {
	struct arena *arena;
	struct dkim_state *state;
	struct field_index *index;
	size_t left; /* bytes of AHEAD_BYTES_MAX */
};

/* The canonical form of a text of so many bytes and lines has no more. */
static size_t room_for(struct slice field, bool relaxed)
{
	/* A line end in the middle may get a CR; the last one, both. */
	return (relaxed ? field.len : 2 * (size_t)field.len) + 2;
}

/* NULL: too much for this message, or no memory. */
static struct header_text *text_begin(struct ahead *ahead, struct hash_sink *sink, size_t room)
{
	struct header_text *text;
	char *bytes;

	room += HASH_SINK_LEAST;
	if (room > ahead->left)
		return NULL;
	ahead->left -= room;
	text = arena_make(ahead->arena, struct header_text);
	bytes = text ? arena_bytes(ahead->arena, room) : NULL;
	if (!bytes)
		return NULL;
	hash_init(&text->hash, HASH_SHA256);
	hash_sink_init_into(sink, &text->hash, bytes, (unsigned)room);
	return text;
}

static struct header_text *text_wait(struct ahead *ahead, struct header_text *text, struct hash_sink *sink)
{
	/* Bytes that were written over are nobody's form; there was room for all, though. */
	if (sink->total)
		ahead->index->relaxed = NULL;
	text->total = hash_sink_total(sink);
	text->line = &ahead->state->body.line;
	sha256_wait(text->line, &text->waiting, &text->hash.state.sha256, sink->bytes, sink->len);
	return text;
}

static void signature_ahead(struct ahead *ahead, struct dkim_signature *s)
{
	uint32_t fields[AHEAD_FIELDS_MAX];
	size_t room = room_for(s->text, s->header_relaxed);
	struct header_text *text;
	struct hash_sink sink;
	unsigned count = 0;

	if (s->reason != REASON_NONE || s->hash_kind != HASH_SHA256)
		return;
	field_index_begin(ahead->index);
	for (uint32_t i = 0; i < s->name_count; i++) {
		uint32_t field = take_signed(ahead->index, s, s->name_list[i]);

		if (field == UINT32_MAX)
			continue;
		if (count == AHEAD_FIELDS_MAX)
			return;
		fields[count++] = field;
		room += room_for(ahead->index->fields[field], s->header_relaxed);
	}
	text = text_begin(ahead, &sink, room);
	if (!text)
		return;
	for (unsigned i = 0; i < count; i++)
		add_field(&sink, ahead->index, fields[i], s->header_relaxed);
	add_own(&sink, s);
	s->ahead = text_wait(ahead, text, &sink);
}

static bool seal_ahead(struct ahead *ahead, const struct arc_state *arc, unsigned number)
{
	const struct slice *fields = ahead->index->fields;
	struct arc_set *own = arc->sets[number];
	struct header_text *text;
	struct hash_sink sink;
	size_t room = 0;

	for (unsigned i = 1; i <= number; i++)
		for (unsigned kind = 0; kind < ARC_KINDS; kind++)
			room += room_for(fields[arc->sets[i]->fields[kind]], true);
	text = text_begin(ahead, &sink, room);
	if (!text)
		return false;
	for (unsigned i = 1; i <= number; i++) {
		add_field(&sink, ahead->index, arc->sets[i]->fields[ARC_AAR], true);
		add_field(&sink, ahead->index, arc->sets[i]->fields[ARC_AMS], true);
		if (i < number)
			add_field(&sink, ahead->index, arc->sets[i]->fields[ARC_AS], true);
	}
	canon_field(&sink, fields[own->fields[ARC_AS]], true, own->seal.b_start, own->seal.b_end, true);
	own->ahead = text_wait(ahead, text, &sink);
	return true;
}

static bool sets_are_whole(const struct arc_state *arc)
{
	if (arc->collected_bad || !arc->count || arc->count > AHEAD_SETS_MAX)
		return false;
	for (unsigned i = 1; i <= arc->count; i++)
		for (unsigned kind = 0; kind < ARC_KINDS; kind++)
			if (!arc->sets[i] || arc->sets[i]->fields[kind] == UINT32_MAX ||
			    arc->sets[i]->seal.bad)
				return false;
	return true;
}

static void chain_ahead(struct ahead *ahead, const struct arc_state *arc)
{
	bool sealed = true;

	for (unsigned i = arc->count; i >= 1; i--)
		signature_ahead(ahead, arc->sets[i]->message);
	for (unsigned i = arc->count; i >= 1 && sealed; i--)
		sealed = seal_ahead(ahead, arc, i);
}

/* The second up to which it is so, as a pointer. */
static struct shard_slot chains_wanted;

void arc_is_wanted(struct shard *shard)
{
	if (shard)
		shard_slot_set(shard, &chains_wanted,
			       (void *)(uintptr_t)(shard_now(shard) / NS_PER_S + WANTED_S));
}

static bool chain_is_wanted(struct shard *shard)
{
	/* Without a shard nobody remembers, and the only question is the one that is being worked on. */
	return !shard || shard_now(shard) / NS_PER_S <= (uintptr_t)shard_slot(shard, &chains_wanted);
}

void header_hashes_ahead(struct shard *shard, struct message *message)
{
	struct ahead ahead = {
	    .arena = &message->arena, .state = dkim_state_of(message), .left = AHEAD_BYTES_MAX};
	const struct arc_state *arc = arc_state_of(message);
	bool chain = arc && chain_is_wanted(shard) && sets_are_whole(arc);

	/* Only the processor's own instructions go two ways at once. */
	if (!sha256_is_hard() || !(ahead.state->count || chain))
		return;
	ahead.index = dkim_fields(message);
	if (!ahead.index)
		return;
	ahead.index->relaxed = arena_array(&message->arena, struct slice, ahead.index->count);
	for (unsigned i = 0; i < ahead.state->count; i++)
		signature_ahead(&ahead, ahead.state->signatures[i]);
	if (chain)
		chain_ahead(&ahead, arc);
}
