/* The header block as bytes: taken apart as it arrives, put together as it leaves. */
#include "message/internal.h"

/* Length of the line at the start of the bytes, without its line end; *end_len_ret is the line end's, 0 when the bytes end
 * first. */
static uint32_t line_length(struct slice bytes, uint32_t *end_len_ret)
{
	const char *lf = memchr(bytes.ptr, '\n', bytes.len);
	uint32_t len;

	if (!lf) {
		*end_len_ret = 0;
		return bytes.len;
	}
	len = (uint32_t)(lf - bytes.ptr);
	*end_len_ret = 1;
	if (len && bytes.ptr[len - 1] == '\r') {
		len--;
		*end_len_ret = 2;
	}
	return len;
}

/* A copy of a line with a final LF. What cannot stand in a header line is made harmless as Exim does it: a NUL becomes a
 * question mark, a bare CR white space, so that no later reader finds a line end in it. */
static char *copy_line(char *out, struct slice line)
{
	memcpy(out, line.ptr, line.len);
	for (char *p = out; (p = memchr(p, '\r', line.len - (size_t)(p - out)));)
		*p = ' ';
	for (char *p = out; (p = memchr(p, 0, line.len - (size_t)(p - out)));)
		*p = '?';
	out += line.len;
	*out++ = '\n';
	return out;
}

static bool add_field(struct arena *arena, struct header_block *block, struct slice text, uint32_t name_len)
{
	struct header *header;

	if (!text.len)
		return true;
	header = header_place_named(arena, text, name_len);
	if (header) {
		header->arrived = true;
		header_append(block, header);
	}
	return header;
}

enum rc header_block_parse(struct arena *arena, struct slice bytes, struct header_block *block,
			   uint32_t *used_ret, struct err *err)
{
	/* One line may be without line end, and gets one. */
	char *out = arena_bytes(arena, (size_t)bytes.len + 1), *start = out;
	struct slice rest = bytes;
	uint32_t name_len = 0;

	header_block_init(block);
	if (!out)
		return err_memory(err);
	while (rest.len) {
		uint32_t end_len, len = line_length(rest, &end_len), next_name_len = 0;
		struct slice line = slice_sub(rest, 0, len);
		bool folded = len && (line.ptr[0] == ' ' || line.ptr[0] == '\t');

		if (len == 0) {
			rest = slice_from(rest, end_len);
			break;
		}
		if (folded ? out == start : (next_name_len = header_name_length(line)) == 0)
			break; /* no header line: the body begins here, without an empty line */
		if (!folded) {
			if (!add_field(arena, block, slice_make(start, (size_t)(out - start), bytes.taint),
				       name_len))
				return err_memory(err);
			start = out;
			name_len = next_name_len;
		}
		out = copy_line(out, line);
		rest = slice_from(rest, len + end_len);
	}
	if (!add_field(arena, block, slice_make(start, (size_t)(out - start), bytes.taint), name_len))
		return err_memory(err);
	*used_ret = bytes.len - rest.len;
	return OK;
}

void header_to_wire(const struct header *header, struct str *str)
{
	struct slice rest = header->text, line;

	str->taint |= rest.taint;
	while (rest.len) {
		const char *lf = memchr(rest.ptr, '\n', rest.len);
		size_t len = lf ? (size_t)(lf - rest.ptr) : rest.len;

		line = slice_sub(rest, 0, len);
		rest = slice_from(rest, len + 1);
		str_add(str, line);
		str_add(str, SLICE("\r\n"));
	}
}

enum rc headers_to_wire(const struct header_block *block, struct str *str)
{
	/* Most lines are long, so that a little slack does for their CRs. */
	(void)str_reserve(str, block->bytes + block->bytes / 16 + 64);
	for (struct header *header = header_next(block, NULL); header; header = header_next(block, header))
		header_to_wire(header, str);
	return str->failed ? DEFER : OK;
}
