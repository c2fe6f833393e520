/* The body's other spellings: with dots stuffed for DATA, with LF line ends for files and pipes, and from LF to CRLF for
 * what local programs submit. Each works piece by piece and remembers what the last piece ended in. */
#include "message/message.h"

void dot_stuffer_init(struct dot_stuffer *stuffer)
{
	*stuffer = (struct dot_stuffer){.line_start = true};
}

unsigned dot_stuffer_next(struct dot_stuffer *stuffer, struct slice *piece, struct iovec *iov,
			  unsigned iov_max)
{
	unsigned count = 0;

	ASSERT(iov_max >= 2);
	while (piece->len && count + 2 <= iov_max) {
		const char *p = piece->ptr, *end = p + piece->len, *at = p, *lf;

		if (stuffer->line_start && *p == '.')
			iov[count++] = (struct iovec){(void *)".", 1};
		stuffer->line_start = false;
		/* Up to the next line that begins with a dot, all is one piece. A bare LF counts as a line end here: a
		 * dot too many behind one does no harm, while a lonely dot might end the message for a lax receiver. */
		while ((lf = memchr(at, '\n', (size_t)(end - at)))) {
			at = lf + 1;
			if (at == end || *at == '.') {
				stuffer->line_start = true;
				break;
			}
		}
		if (!lf)
			at = end;
		iov[count++] = (struct iovec){(void *)p, (size_t)(at - p)};
		*piece = slice_from(*piece, (size_t)(at - p));
	}
	return count;
}

struct slice dot_stuffer_end(const struct dot_stuffer *stuffer)
{
	return stuffer->line_start ? SLICE(".\r\n") : SLICE("\r\n.\r\n");
}

size_t crlf_to_lf(bool *cr_pending, struct slice piece, char *out)
{
	char *o = out;

	for (const char *p = piece.ptr, *end = p + piece.len; p < end;) {
		const char *cr;
		size_t len;

		if (*cr_pending) {
			*cr_pending = false;
			if (*p != '\n')
				*o++ = '\r';
		}
		cr = memchr(p, '\r', (size_t)(end - p));
		len = (size_t)((cr ? cr : end) - p);
		memcpy(o, p, len);
		o += len;
		p += len;
		if (cr) {
			*cr_pending = true;
			p++;
		}
	}
	return (size_t)(o - out);
}

size_t lf_to_crlf(bool *cr_pending, struct slice piece, char *out)
{
	char *o = out;

	for (uint32_t i = 0; i < piece.len; i++) {
		char c = piece.ptr[i];
		if (*cr_pending && c == '\n') {
			*cr_pending = false; /* its line end is already written */
			continue;
		}
		*cr_pending = c == '\r';
		if (c == '\n' || c == '\r') {
			*o++ = '\r';
			*o++ = '\n';
		} else {
			*o++ = c;
		}
	}
	return (size_t)(o - out);
}
