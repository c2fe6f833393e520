/* The message as files and pipes get it: line ends changed, lines that begin with check_string escaped, in large blocks. */
#include "filter.h"

#define OTHER_LINE UINT32_MAX

enum rc text_writer_init(struct text_writer *w, struct arena *arena, struct err *err)
{
	w->arena = arena;
	w->block = arena_bytes(arena, WRITER_BLOCK);
	w->len = 0;
	w->written = 0;
	w->matched = 0;
	w->cr = false;
	return w->block ? OK : err_memory(err);
}

enum rc text_writer_flush(struct text_writer *w, struct err *err)
{
	enum rc rc = OK;

	if (w->len > 0)
		rc = w->write(w->arg, slice_make(w->block, w->len, TAINTED), err);
	w->written += w->len;
	w->len = 0;
	return rc;
}

enum rc text_writer_add_raw(struct text_writer *w, struct slice text, struct err *err)
{
	while (text.len > 0) {
		uint32_t part = WRITER_BLOCK - w->len;

		if (part > text.len)
			part = text.len;
		memcpy(w->block + w->len, text.ptr, part);
		w->len += part;
		text = slice_from(text, part);
		if (w->len == WRITER_BLOCK) {
			enum rc rc = text_writer_flush(w, err);
			if (rc != OK)
				return rc;
		}
	}
	return OK;
}

/* What was held back while it looked like check_string. */
static enum rc release(struct text_writer *w, bool whole, struct err *err)
{
	struct slice held = whole ? w->escape : slice_sub(w->check, 0, w->matched);

	w->matched = OTHER_LINE;
	return text_writer_add_raw(w, held, err);
}

/* Bytes of one line, without its end. */
static enum rc add_part(struct text_writer *w, struct slice part, struct err *err)
{
	enum rc rc;

	if (w->cr && part.len > 0) { /* the CR was none of a line end */
		w->cr = false;
		rc = add_part(w, SLICE("\r"), err);
		if (rc != OK)
			return rc;
	}
	while (w->matched != OTHER_LINE && part.len > 0) {
		if (w->matched == w->check.len || part.ptr[0] != w->check.ptr[w->matched]) {
			rc = release(w, w->matched == w->check.len && w->check.len > 0, err);
			if (rc != OK)
				return rc;
			break;
		}
		w->matched++;
		part = slice_from(part, 1);
		if (w->matched == w->check.len) {
			rc = release(w, true, err);
			if (rc != OK)
				return rc;
		}
	}
	return text_writer_add_raw(w, part, err);
}

static enum rc end_line(struct text_writer *w, struct err *err)
{
	enum rc rc = OK;

	w->cr = false;
	if (w->matched != OTHER_LINE)
		rc = release(w, false, err);
	w->matched = 0;
	return rc == OK ? text_writer_add_raw(w, w->crlf ? SLICE("\r\n") : SLICE("\n"), err) : rc;
}

enum rc text_writer_add(struct text_writer *w, struct slice piece, struct err *err)
{
	enum rc rc = OK;

	while (rc == OK && piece.len > 0) {
		ptrdiff_t at = slice_find(piece, '\n');
		struct slice line = at < 0 ? piece : slice_sub(piece, 0, (size_t)at);
		bool cr = line.len && line.ptr[line.len - 1] == '\r';

		piece = slice_from(piece, at < 0 ? piece.len : (size_t)at + 1);
		if (cr)
			line.len--;
		if (line.len) {
			rc = add_part(w, line, err);
		} else if (cr && w->cr) { /* CR CR: the first one was none of a line end */
			w->cr = false;
			rc = add_part(w, SLICE("\r"), err);
		}
		w->cr |= cr;
		if (rc == OK && at >= 0)
			rc = end_line(w, err);
	}
	return rc;
}

enum rc text_writer_end(struct text_writer *w, struct err *err)
{
	if (w->cr) {
		enum rc rc;
		w->cr = false;
		rc = add_part(w, SLICE("\r"), err);
		if (rc != OK)
			return rc;
	}
	return w->matched != 0 && w->matched != OTHER_LINE ? release(w, false, err) : OK;
}

enum rc text_writer_original(struct scope *sc, const struct transport *transport,
			     const struct delivery *delivery, struct text_writer *w, struct err *err)
{
	struct body_reader reader;
	struct slice headers, piece;
	enum rc rc = compose_headers(sc, transport, delivery, false, &headers, err);

	w->matched = 0;
	if (rc == OK)
		rc = text_writer_add(w, headers, err);
	if (rc != OK || transport->headers_only)
		return rc;
	body_reader_init(&reader, sc->message);
	while ((rc = body_next(sc->task, &reader, &piece, err)) == OK) {
		rc = text_writer_add(w, piece, err);
		if (rc != OK)
			return rc;
	}
	if (rc != FAIL || err->text.len > 0)
		return rc == FAIL ? DEFER : rc;
	return text_writer_end(w, err);
}

enum rc text_writer_message(struct scope *sc, const struct transport *transport,
			    const struct delivery *delivery, struct text_writer *w, struct err *err)
{
	struct slice text;
	bool filtered;
	enum rc rc = filter_message(sc, transport, delivery, &filtered, &text, err);

	if (rc == OK && !filtered)
		return text_writer_original(sc, transport, delivery, w, err);
	w->matched = 0;
	if (rc == OK)
		rc = text_writer_add(w, text, err);
	return rc == OK ? text_writer_end(w, err) : rc;
}
