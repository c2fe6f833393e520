/* The variables that have to be made: of the message's body, sizes, times and lists. */
#include "message/internal.h"
#include "message/variables.h"

static const struct message_options *options_of(const struct scope *sc)
{
	return sc->conf ? conf_group(sc->conf, CONF_MESSAGE) : NULL;
}

static enum rc number(struct scope *sc, int64_t value, struct slice *ret, struct err *err)
{
	*ret = arena_printf(sc->task->arena, "%lld", (long long)value);
	return ret->ptr ? OK : err_memory(err);
}

/* ---- $message_body, $message_body_end ------------------------------------------------------------------------ */

/* On one line, unless message_body_newlines says otherwise: a CRLF is one character, a NUL is shown as a space. */
static struct slice flatten(struct arena *arena, struct slice text, bool newlines)
{
	char *out = arena_bytes(arena, text.len + 1ul);
	uint32_t len = 0;

	if (!out)
		return (struct slice){NULL, 0, TAINTED};
	for (uint32_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '\r' && i + 1 < text.len && text.ptr[i + 1] == '\n')
			continue;
		if (c == '\n' && !newlines)
			c = ' ';
		out[len++] = c ? c : ' ';
	}
	return slice_make(out, len, TAINTED);
}

/* The bytes from offset on, wherever the body is now. Parks when that is the disk. */
static enum rc body_part(struct scope *sc, uint64_t offset, uint32_t size, struct slice *ret, struct err *err)
{
	struct message *message = sc->message;
	struct str str = str_make(sc->task->arena);
	struct body_reader reader;
	struct slice piece;
	enum rc rc;

	str.taint = TAINTED;
	if (!message->body.in_memory && !message->entry) {
		/* Still arriving, and the front is spilled: what was kept has to do. */
		*ret = offset ? SLICE_EMPTY : body_start(message, sc->task->arena, size);
		return ret->ptr ? OK : err_memory(err);
	}
	body_reader_init(&reader, message);
	if (!message->body.in_memory)
		reader.offset = offset;
	while (str.len < size && (rc = body_next(sc->task, &reader, &piece, err)) != FAIL) {
		uint64_t start = reader.offset - piece.len;
		if (rc != OK)
			return rc;
		if (reader.offset <= offset)
			continue;
		if (start < offset)
			piece = slice_from(piece, offset - start);
		str_add(&str, slice_sub(piece, 0, size - str.len));
	}
	*ret = str_slice(&str);
	return ret->ptr ? OK : err_memory(err);
}

enum rc get_message_body(struct scope *sc, const struct variable *variable, struct slice *ret,
			 struct err *err)
{
	const struct message_options *options = options_of(sc);
	uint32_t visible = options ? (uint32_t)options->message_body_visible : 500;
	uint64_t size, offset = 0;
	struct slice text;
	enum rc rc;

	*ret = SLICE_EMPTY;
	if (!sc->message)
		return OK;
	/* A CRLF will be one character: twice as many bytes are enough. */
	size = sc->message->body.size;
	if (variable->arg == BODY_END && size > 2ull * visible)
		offset = size - 2ull * visible;
	rc = body_part(sc, offset, 2 * visible, &text, err);
	if (rc != OK)
		return rc;
	text = flatten(sc->task->arena, text, options && options->message_body_newlines);
	if (!text.ptr)
		return err_memory(err);
	*ret = slice_sub(text, variable->arg == BODY_END && text.len > visible ? text.len - visible : 0,
			 visible);
	return OK;
}

/* ---- Sizes and counts ------------------------------------------------------------------------------------------ */

uint64_t message_lines(const struct message *message)
{
	uint64_t lines = 1 + message->body.line_count;

	for (struct header *h = header_next(&message->headers, NULL); h;
	     h = header_next(&message->headers, h)) {
		const char *at = h->text.ptr, *end = at + h->text.len;

		while ((at = memchr(at, '\n', (size_t)(end - at)))) {
			lines++;
			at++;
		}
	}
	return lines;
}

static uint64_t header_bytes(const struct message *message)
{
	uint64_t bytes = 0;

	for (struct header *h = header_next(&message->headers, NULL); h;
	     h = header_next(&message->headers, h))
		bytes += h->text.len;
	return bytes;
}

uint64_t message_size(const struct message *message)
{
	return header_bytes(message) + 1 + body_lf_size(&message->body);
}

uint64_t body_lf_size(const struct body *body)
{
	return body->lf || body->size < body->line_count ? body->size : body->size - body->line_count;
}

enum rc get_message_sizes(struct scope *sc, const struct variable *variable, struct slice *ret,
			  struct err *err)
{
	const struct message *m = sc->message;
	bool arrived = m && (m->headers.count || m->body.size);

	switch ((enum message_number)variable->arg) {
	case MESSAGE_SIZE:
		/* Before the data: what SIZE= said, or -1; where nobody sends anything, as with -be, 0. */
		return number(sc,
			      arrived                                      ? (int64_t)message_size(m)
			      : m && m->size_declared                      ? (int64_t)m->size_declared
			      : m || (sc->client && sc->client->ip.family) ? -1
									   : 0,
			      ret, err);
	case MESSAGE_BODY_SIZE:
		return number(sc, m ? (int64_t)body_lf_size(&m->body) : 0, ret, err);
	case MESSAGE_LINECOUNT:
		/* While ACLs look at it: as it was received. */
		return number(
		    sc,
		    !arrived ? 0
			     : (int64_t)(sc->acl && m->lines_received ? m->lines_received : message_lines(m)),
		    ret, err);
	case BODY_LINECOUNT:
		return number(sc, m ? (int64_t)m->body.line_count : 0, ret, err);
	case BODY_ZEROCOUNT:
		return number(sc, m ? (int64_t)m->body.zero_count : 0, ret, err);
	case MAX_LINELENGTH:
		return number(sc, m ? (int64_t)m->body.line_length_max : 0, ret, err);
	case RECEIVED_COUNT:
		return number(sc, m ? (int64_t)m->received_hops : 0, ret, err);
	case RECIPIENTS_COUNT:
		return number(sc, m ? (int64_t)m->recipient_count : 0, ret, err);
	}
	return OK;
}

enum rc get_message_times(struct scope *sc, const struct variable *variable, struct slice *ret,
			  struct err *err)
{
	uint64_t received = sc->message ? sc->message->received / NS_PER_S : 0, now;

	if (variable->arg == TIME_RECEIVED)
		return number(sc, (int64_t)received, ret, err);
	now = shard_wall(sc->task->shard) / NS_PER_S;
	return number(sc, received && now > received ? (int64_t)(now - received) : 0, ret, err);
}

enum rc get_recipients(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	const struct message *message = sc->message;
	struct str str = str_make(sc->task->arena);

	*ret = SLICE_EMPTY;
	if (!message)
		return OK;
	if (variable->arg == RECIPIENTS_FOR) {
		/* $received_for: only where there is one, since it shows up in what all of them get. */
		if (message->recipient_count == 1)
			*ret = message->recipients[0].address;
		return OK;
	}
	for (uint32_t i = 0; i < message->recipient_count; i++) {
		struct slice address = message->recipients[i].address, part;
		if (variable->arg == RECIPIENTS_COMMA) {
			if (i)
				str_addz(&str, ", ");
			str_add(&str, address);
			continue;
		}
		if (i)
			str_addc(&str, ':');
		while (slice_split(&address, ':', &part)) {
			str_add(&str, part);
			if (address.ptr)
				str_addz(&str, "::");
		}
	}
	*ret = str_slice(&str);
	return ret->ptr ? OK : err_memory(err);
}

enum rc get_headers(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	if (variable->arg == HEADERS_REPLY_ADDRESS)
		return header_expand_reply(sc, ret, err);
	return header_expand_all(sc, variable->arg == HEADERS_RAW, ret, err);
}
