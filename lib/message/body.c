/* A body, in the buffers that it was received into, or on the spool: filled, spilled, dropped, read again. */
#include "message/message.h"

#define FRAG_ROOM_FIRST 8
#define MERGE_MAX       4096u /* up to here a copy is cheaper than a receive buffer of one's own */
#define READ_SIZE       (64 * 1024)
/* What $message_body and $message_body_end may show at most, kept when the rest goes to the disk. */
#define START_SIZE_MAX (2 * 1024 * 1024)

static void count_lines(struct body *body, const char *ptr, uint32_t len)
{
	const char *p = ptr, *end = ptr + len, *lf;

	for (; (lf = memchr(p, '\n', (size_t)(end - p))); p = lf + 1) {
		uint32_t line = body->line_length + (uint32_t)(lf - p);
		body->line_count++;
		/* Without the CR, which is in front of every LF of a body. */
		if (line > body->line_length_max + 1)
			body->line_length_max = line - 1;
		body->line_length = 0;
	}
	body->line_length += (uint32_t)(end - p);
	for (p = ptr; (p = memchr(p, 0, (size_t)(end - p))); p++)
		body->zero_count++;
}

static bool frags_grow(struct message *message)
{
	struct body *body = &message->body;
	uint32_t room = body->frag_room ? body->frag_room * 2 : FRAG_ROOM_FIRST;
	struct frag *more = arena_array(&message->arena, struct frag, room);

	if (!more)
		return false;
	if (body->frag_count)
		memcpy(more, body->frags, body->frag_count * sizeof(*more));
	body->frags = more;
	body->frag_room = room;
	return true;
}

/* Puts the bytes behind the last piece, into the room that is left in its buffer. Without this, a body that comes in small
 * packets would hold a whole buffer for each of them. */
static bool frag_merge(struct frag *last, const char *ptr, uint32_t len)
{
	struct buf *buf = last->buf;
	uint32_t used;

	if (!buf || len > MERGE_MAX)
		return false;
	used = (uint32_t)(last->ptr + last->len - buf->bytes);
	/* What is behind the piece is ours to write on if nobody else holds the buffer, or if nothing is there. */
	if ((buf->refs > 1 && used != buf->len) || len > buf->size - used)
		return false;
	memcpy(buf->bytes + used, ptr, len);
	buf->len = used + len;
	last->len += len;
	return true;
}

bool body_append(struct message *message, struct buf *buf, const char *ptr, uint32_t len)
{
	struct body *body = &message->body;
	struct frag *last = body->frag_count ? &body->frags[body->frag_count - 1] : NULL;

	if (len == 0)
		return true;
	if (last && last->buf == buf && last->ptr + last->len == ptr) {
		last->len += len; /* of the same buffer: one reference does */
	} else if (!last || !frag_merge(last, ptr, len)) {
		if (body->frag_count == body->frag_room && !frags_grow(message))
			return false;
		if (buf)
			buf_ref(buf);
		body->frags[body->frag_count++] = (struct frag){buf, ptr, len};
	}
	body->size += len;
	return true;
}

bool body_add(struct message *message, struct buf *buf, const char *ptr, uint32_t len)
{
	if (!body_append(message, buf, ptr, len))
		return false;
	count_lines(&message->body, ptr, len);
	return true;
}

void body_drop(struct body *body)
{
	for (uint32_t i = 0; i < body->frag_count; i++)
		if (body->frags[i].buf)
			buf_unref(body->frags[i].buf);
	if (body->frag_count)
		body->in_memory = false;
	body->frag_count = 0;
}

bool body_own(struct message *message)
{
	struct body *body = &message->body;

	/* From the end: what came before the last call is ours already. */
	for (uint32_t i = body->frag_count; i-- && body->frags[i].buf;) {
		struct frag *frag = &body->frags[i];
		char *copy = arena_bytes(&message->arena, frag->len);

		if (!copy)
			return false;
		memcpy(copy, frag->ptr, frag->len);
		buf_unref(frag->buf);
		*frag = (struct frag){NULL, copy, frag->len};
	}
	return true;
}

struct slice body_start(const struct message *message, struct arena *arena, uint32_t size)
{
	const struct body *body = &message->body;
	struct str str = str_make(arena);

	str.taint = TAINTED;
	if (body->start.len)
		str_add(&str, slice_sub(body->start, 0, size));
	if (body->spilled <= str.len)
		for (uint32_t i = 0; i < body->frag_count && str.len < size; i++) {
			uint32_t take =
			    size - str.len < body->frags[i].len ? size - str.len : body->frags[i].len;
			str_add(&str, slice_make(body->frags[i].ptr, take, TAINTED));
		}
	return str_slice(&str);
}

enum rc body_keep_start(struct message *message, uint32_t size)
{
	struct body *body = &message->body;

	if (body->start.len || !body->frag_count)
		return OK;
	body->start = body_start(message, &message->arena, size < START_SIZE_MAX ? size : START_SIZE_MAX);
	if (body->start.ptr)
		return OK;
	body->start = SLICE_EMPTY;
	return DEFER;
}

enum rc body_spill(struct task *task, struct spool *spool, struct message *message, struct err *err)
{
	const struct message_options *options =
	    message->conf ? conf_group(message->conf, CONF_MESSAGE) : NULL;
	struct body *body = &message->body;
	uint64_t bytes = 0;
	enum rc rc;

	if (body_keep_start(message, 2 * (options ? (uint32_t)options->message_body_visible : 500)) != OK)
		return err_memory(err);
	if (!body->spill) {
		rc = spill_begin(task, spool, &body->spill, err);
		if (rc != OK)
			return rc;
	}
	for (uint32_t i = 0; i < body->frag_count; i++)
		bytes += body->frags[i].len;
	rc = spill_append(task, body->spill, body->frags, body->frag_count, err);
	if (rc != OK)
		return rc;
	body->spilled += bytes;
	body->in_memory = false;
	body_drop(body);
	return OK;
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

void body_reader_init(struct body_reader *reader, struct message *message)
{
	*reader = (struct body_reader){.message = message};
}

static enum rc read_memory(struct body_reader *reader, struct slice *piece_ret)
{
	const struct body *body = &reader->message->body;
	const struct frag *frag;

	if (reader->frag == body->frag_count)
		return FAIL;
	frag = &body->frags[reader->frag++];
	*piece_ret = slice_make(frag->ptr, frag->len, TAINTED);
	reader->offset += frag->len;
	return OK;
}

enum rc body_next(struct task *task, struct body_reader *reader, struct slice *piece_ret, struct err *err)
{
	struct message *message = reader->message;
	size_t got;
	enum rc rc;

	if (err)
		err->text = SLICE_EMPTY;
	/* A reader that began in memory goes on from the disk, should the buffers have been given back since. */
	if (message->body.in_memory)
		return read_memory(reader, piece_ret);
	if (reader->offset >= message->body.size)
		return FAIL;
	if (!message->entry)
		return err_set(err, DEFER,
			       "the body of a message that is still arriving cannot be read back");
	if (!reader->block)
		reader->block = arena_bytes(task->arena, READ_SIZE);
	if (!reader->block)
		return err_memory(err);
	rc = spool_body(task, message->spool, message->entry, reader->offset, reader->block, READ_SIZE, &got,
			err);
	if (rc != OK)
		return rc;
	if (got == 0)
		return err_set(err, DEFER, "the body is shorter on the spool than it was");
	reader->offset += got;
	*piece_ret = slice_make(reader->block, got, TAINTED);
	return OK;
}
