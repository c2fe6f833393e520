/* receive: a message from the wire. One pass over the received buffers finds line ends, dot-stuffing, bare CR and LF and
 * the end; the body's pieces stay in the buffers they came in, and a body that grows large is spilled to the spool as it
 * comes. Header lines are copied out, since they are small and wanted in one piece.
 *
 * Only CRLF ends a line. A bare CR or LF is either kept out (the message is refused once it has been read to its true
 * end) or replaced by a space, as smtp_bare_newline says: it never reaches another server, where it might be taken as a
 * line end (SMTP smuggling). */
#include "session.h"
#include "receive.h"
#include "scan.h"

#include "mailauth/mailauth.h"

struct receive *receive_new(struct smtp_session *s)
{
	struct receive *r = arena_make(&s->transaction->message->arena, struct receive);
	const struct message_options *o = conf_group(s->conf, CONF_MESSAGE);

	if (!r)
		return NULL;
	r->message = s->transaction->message;
	r->header = str_make(&r->message->arena);
	r->header_max = o && o->header_maxsize > 0 ? (uint64_t)o->header_maxsize : 1024 * 1024;
	r->line_max = o && o->header_line_maxsize > 0 ? (uint64_t)o->header_line_maxsize : 0;
	r->state = AT_LINE_START;
	r->in_header = true;
	r->size_max = s->size_max;
	r->task = &s->task;
	r->options = s->options;
	r->from_line = from_line_expected(s);
	r->dkim = !s->batch && !(s->transaction->controls & ACL_CONTROL_DKIM_OFF);
	return r;
}

void receive_cancel(struct receive *r)
{
	if (r->message->body.spill) {
		spill_cancel(r->message->body.spill);
		r->message->body.spill = NULL;
	}
}

/* ---- Where bytes go ---------------------------------------------------------------------------------------- */

static void keep(struct receive *r, struct buf *buf, const char *ptr, size_t len)
{
	if (!len)
		return;
	r->size += len;
	if (r->trouble)
		return;
	if (r->size_max && r->size > r->size_max) {
		r->trouble = TROUBLE_SIZE;
		return;
	}
	if (!r->in_header) {
		if (!body_append(r->message, buf, ptr, (uint32_t)len))
			r->trouble = TROUBLE_MEMORY;
		else
			r->in_memory += len;
		dkim_body(r->message, ptr, len);
		return;
	}
	if (r->header.len + len > r->header_max) {
		r->trouble = TROUBLE_HEADER;
		return;
	}
	str_add(&r->header, slice_make(ptr, len, TAINTED));
	if (r->header.failed)
		r->trouble = TROUBLE_MEMORY;
}

/* The header block is complete. What turns out not to be header-like, from the first such line on, is body. */
static void header_done(struct receive *r)
{
	struct message *m = r->message;
	struct slice bytes = str_slice(&r->header), rest, numbers[4];
	struct err err = err_make(&m->arena);
	uint32_t used = 0;
	unsigned count;

	r->in_header = false;
	if (r->from_line && bytes.ptr)
		(void)from_line_take(r->options, &bytes, numbers, ARRAY_COUNT(numbers), &count);
	if (r->trouble)
		return;
	if (!bytes.ptr || header_block_parse(&m->arena, bytes, &m->headers, &used, &err) == DEFER) {
		r->trouble = TROUBLE_MEMORY;
		return;
	}
	rest = slice_from(bytes, used);
	if (r->dkim && dkim_header_done(r->task, m, &mailauth_dns, &err) != OK)
		r->trouble = TROUBLE_MEMORY;
	dkim_body(m, rest.ptr, rest.len);
	if (rest.len && !body_add(m, NULL, rest.ptr, rest.len)) /* counts their lines, too */
		r->trouble = TROUBLE_MEMORY;
}

/* The part of one buffer that is being looked at: piece to p has been seen and not yet been kept. */
struct cursor {
	struct buf *buf;
	char *piece, *p, *end;
};

static void keep_piece(struct receive *r, struct cursor *c)
{
	keep(r, c->buf, c->piece, (size_t)(c->p - c->piece));
	c->piece = c->p;
}

/* A line has ended before p. The empty one ends the header block. */
static void line_end(struct receive *r, struct cursor *c)
{
	struct body *body = &r->message->body;

	if (r->line_len > body->line_length_max)
		body->line_length_max = (uint32_t)r->line_len;
	if (!r->in_header) {
		body->line_count++;
	} else if (r->line_len == 0) {
		keep_piece(r, c);
		header_done(r);
	} else if (r->line_max && r->line_len > r->line_max && !r->trouble) {
		r->trouble = TROUBLE_HEADER_LINE;
	}
	r->line_len = 0;
	r->state = AT_LINE_START;
}

/* A CR or LF that is not part of a CRLF, at c->p; or, with held, a CR that was left behind in an earlier buffer. */
static void bare(struct smtp_session *s, struct receive *r, struct cursor *c, bool held)
{
	bool space = s->options->bare_newline == BARE_SPACE;

	if (!space && !r->trouble)
		r->trouble = TROUBLE_BARE;
	r->line_len++;
	r->state = IN_LINE;
	if (held) {
		keep(r, NULL, space ? " " : "\r", 1);
		return;
	}
	if (space)
		*c->p = ' '; /* until the message is accepted the buffer is ours alone */
	c->p++;
}

static void line_step(struct smtp_session *s, struct receive *r, struct cursor *c)
{
	char *at = (char *)scan_special(c->p, c->end);

	r->line_len += (size_t)(at - c->p);
	c->p = at;
	if (at == c->end)
		return;
	if (*at == 0) {
		r->message->body.zero_count +=
		    !r->in_header; /* those that turn out to be body are counted then */
		r->line_len++;
		c->p++;
	} else if (*at == '\n' && (s->local || s->dry_run)) {
		/* A local program's line end. */
		keep_piece(r, c);
		keep(r, NULL, "\r\n", 2);
		c->piece = ++c->p;
		line_end(r, c);
	} else if (*at == '\n') {
		bare(s, r, c, false);
	} else if (at + 1 == c->end) {
		/* What it is, the next buffer tells. */
		keep_piece(r, c);
		c->piece = ++c->p;
		r->state = AFTER_CR;
	} else if (at[1] == '\n') {
		c->p = at + 2;
		line_end(r, c);
	} else {
		bare(s, r, c, false);
	}
}

/* Behind a dot at the start of a line, which has been left out. true: it was the end. */
static bool dot_step(struct smtp_session *s, struct receive *r, struct cursor *c)
{
	bool lf = *c->p == '\n' && (s->local || s->dry_run);

	r->state = IN_LINE;
	if (lf || (*c->p == '\r' && c->p + 1 < c->end && c->p[1] == '\n')) {
		c->p += lf ? 1 : 2;
		return true;
	}
	if (*c->p == '\r' && c->p + 1 == c->end) {
		c->piece = ++c->p;
		r->state = AFTER_DOT_CR;
	}
	return false;
}

/* Looks at the bytes; returns how many belong to the message. dots: DATA, where a leading dot is stuffing or the end;
 * otherwise BDAT, where a dot is a dot (RFC 3030 section 2). */
static size_t pass(struct smtp_session *s, struct receive *r, struct buf *buf, char *start, size_t len,
		   bool dots, bool *done)
{
	struct cursor c = {buf, start, start, start + len};

	while (c.p < c.end) {
		switch (r->state) {
		case AT_LINE_START:
			r->state = IN_LINE;
			if (dots && *c.p == '.') {
				keep_piece(r, &c);
				c.piece = ++c.p;
				r->state = AFTER_DOT;
			}
			break;
		case IN_LINE:
			line_step(s, r, &c);
			break;
		case AFTER_DOT:
			if (dot_step(s, r, &c)) {
				*done = true;
				return (size_t)(c.p - start);
			}
			break;
		case AFTER_DOT_CR:
			if (*c.p == '\n') {
				*done = true;
				return (size_t)(c.p + 1 - start);
			}
			bare(s, r, &c, true);
			break;
		case AFTER_CR:
			if (*c.p == '\n') {
				keep(r, NULL, "\r\n", 2);
				c.piece = ++c.p;
				line_end(r, &c);
			} else {
				bare(s, r, &c, true);
			}
			break;
		}
	}
	keep_piece(r, &c);
	return len;
}

/* ---- The wire ------------------------------------------------------------------------------------------------- */

/* A body that has grown large goes to the spool, so that its buffers are free again; the write is also what slows the
 * client down to the speed of the disk. When buffers are scarce nobody keeps any, or clients that stop in the middle of
 * their messages would leave none to the others. */
static void spill(struct smtp_session *s, struct receive *r)
{
	struct body *body = &r->message->body;
	struct err err = err_make(&r->message->arena);
	bool scarce = bufs_scarce(s->server->shard);
	enum rc rc;

	if (!r->trouble && r->in_memory <= (scarce ? BODY_KEEP_SCARCE : BODY_KEEP_MAX)) {
		if (scarce && !body_own(r->message))
			r->trouble = TROUBLE_MEMORY;
		return;
	}
	r->in_memory = 0;
	if (r->trouble || s->dry_run) {
		body_drop(body);
		return;
	}
	session_deadline(s, 60000);
	rc = body_spill(&s->task, s->server->spool, r->message, &err);
	if (rc != OK) {
		r->trouble = TROUBLE_SPOOL;
		r->spool_error = err.text;
		body_drop(body);
	}
}

static enum receive_end wait_for_input(struct smtp_session *s)
{
	struct err err = err_make(NULL);

	session_deadline(s, session_patience_s(s) * 1000);
	switch (stream_fill(&s->task, s->stream, &err)) {
	case OK:
		return RECEIVE_MORE;
	case DEFER:
		return RECEIVE_TIMEOUT;
	case CANCELLED:
		return RECEIVE_CANCELLED;
	case FAIL:
		break;
	}
	return RECEIVE_LOST;
}

static enum receive_end take(struct smtp_session *s, struct receive *r, bool dots, uint64_t *left)
{
	bool done = false;

	while (!done && *left) {
		struct slice in = stream_peek(s->stream);
		enum receive_end end;
		size_t used;

		if (!in.len) {
			end = wait_for_input(s);
			if (end != RECEIVE_MORE)
				return end;
			continue;
		}
		if (in.len > *left)
			in.len = (uint32_t)*left;
		used =
		    r ? pass(s, r, stream_peek_buf(s->stream), (char *)in.ptr, in.len, dots, &done) : in.len;
		stream_consume(s->stream, used);
		if (*left != UINT64_MAX)
			*left -= used;
		if (r && r->onward)
			onward_go(s, r);
		if (r && !r->in_header)
			spill(s, r);
	}
	return RECEIVE_DONE;
}

enum receive_end receive_data(struct smtp_session *s, struct receive *r)
{
	uint64_t left = UINT64_MAX;

	return take(s, r, true, &left);
}

enum receive_end receive_chunk(struct smtp_session *s, struct receive *r, uint64_t size)
{
	return take(s, r, false, &size);
}

enum receive_end receive_skip(struct smtp_session *s, uint64_t size)
{
	return take(s, NULL, false, &size);
}

void receive_complete(struct smtp_session *s, struct receive *r)
{
	struct cursor none = {0};

	if (r->state == AFTER_CR)
		bare(s, r, &none, true);
	/* A chunk may end in the middle of a line; a message may not. */
	if (r->line_len) {
		keep(r, NULL, "\r\n", 2);
		line_end(r, &none);
	}
	if (r->in_header)
		header_done(r);
}
