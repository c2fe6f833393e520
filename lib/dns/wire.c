/* wire: names and questions in the form that travels. Lengths are taken from what arrived; nothing here
 * allocates but wire_name_text(). */

#include "wire.h"

bool wire_name_parse(struct slice text, struct wire_name *name)
{
	unsigned label = 0; /* where its length byte stands */
	uint32_t i = 0;

	if (text.len > 0 && text.ptr[text.len - 1] == '.')
		text.len--;
	if (text.len == 0 || text.len > WIRE_NAME_MAX - 2)
		return false;
	for (;;) {
		unsigned len;

		for (; i < text.len && text.ptr[i] != '.'; i++)
			name->bytes[i + 1] = (uint8_t)ascii_lower(text.ptr[i]);
		len = i - label;
		if (len == 0 || len > WIRE_LABEL_MAX)
			return false;
		name->bytes[label] = (uint8_t)len;
		label = ++i;
		if (i > text.len)
			break;
	}
	name->bytes[label] = 0;
	name->len = label + 1;
	return true;
}

bool wire_name_read(const uint8_t *bytes, size_t len, size_t at, struct wire_name *name_ret, size_t *end_ret)
{
	size_t end = 0, lowest = at;
	unsigned out = 0, jumps = 0;

	for (;;) {
		if (at >= len)
			return false;
		unsigned label = bytes[at];
		if (label >= 0xc0) {
			if (at + 2 > len)
				return false;
			size_t to = wire_u16(bytes + at) & 0x3fff;
			if (!end)
				end = at + 2;
			/* Each jump must land before everything seen so far, so there are no circles. No
			 * honest name has more jumps than labels; without the limit, a chain of bare pointers
			 * would make each record of a large answer cost thousands of steps. */
			if (to >= lowest || ++jumps > WIRE_NAME_MAX / 2)
				return false;
			lowest = at = to;
			continue;
		}
		if (label > WIRE_LABEL_MAX)
			return false;
		if (label + 1 > len - at || out + label + 1 > WIRE_NAME_MAX)
			return false;
		memcpy(name_ret->bytes + out, bytes + at, label + 1);
		out += label + 1;
		at += label + 1;
		if (label == 0)
			break;
	}
	name_ret->len = out;
	*end_ret = end ? end : at;
	return true;
}

bool wire_name_eq(const struct wire_name *a, const struct wire_name *b)
{
	if (a->len != b->len)
		return false;
	/* Length bytes are at most 63, below 'A': folding the case does not touch them. */
	for (unsigned i = 0; i < a->len; i++)
		if (ascii_lower((char)a->bytes[i]) != ascii_lower((char)b->bytes[i]))
			return false;
	return true;
}

struct slice wire_name_text(struct arena *arena, const struct wire_name *name)
{
	char text[WIRE_NAME_MAX * 4];
	size_t out = 0;
	unsigned at = 0;

	while (name->bytes[at] != 0) {
		unsigned label = name->bytes[at++];
		if (out > 0)
			text[out++] = '.';
		for (unsigned i = 0; i < label; i++) {
			uint8_t c = name->bytes[at++];
			if (c <= ' ' || c == 127) {
				text[out++] = '\\';
				text[out++] = (char)('0' + c / 100);
				text[out++] = (char)('0' + c / 10 % 10);
				text[out++] = (char)('0' + c % 10);
				continue;
			}
			if (c == '.' || c == '\\')
				text[out++] = '\\';
			text[out++] = (char)c;
		}
	}
	return arena_copy(arena, slice_make(text, out, TAINTED));
}

size_t wire_query_write(uint8_t query_ret[static WIRE_QUERY_MAX], uint16_t id, const struct wire_name *name,
			uint16_t type, bool edns, bool dnssec_ok)
{
	uint8_t *p = query_ret;

	memset(p, 0, WIRE_HEADER_SIZE);
	p[0] = (uint8_t)(id >> 8);
	p[1] = (uint8_t)id;
	p[2] = 0x01; /* RD */
	p[3] = 0x20; /* AD */
	p[5] = 1;    /* one question */
	p[11] = edns;
	p += WIRE_HEADER_SIZE;
	memcpy(p, name->bytes, name->len);
	p += name->len;
	*p++ = (uint8_t)(type >> 8);
	*p++ = (uint8_t)type;
	*p++ = 0;
	*p++ = WIRE_CLASS_IN;
	if (edns) {
		const uint8_t opt[WIRE_OPT_SIZE] = {
		    0, 0, 41, WIRE_UDP_SIZE >> 8, WIRE_UDP_SIZE & 0xff, 0, 0, dnssec_ok ? 0x80 : 0};
		memcpy(p, opt, sizeof(opt));
		p += sizeof(opt);
	}
	return (size_t)(p - query_ret);
}
