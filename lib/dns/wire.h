/* wire: names and questions in the form that travels (RFC 1035 section 4). */
#ifndef DNS_WIRE_H
#define DNS_WIRE_H

#include "dns/dns.h"

#define WIRE_NAME_MAX    255 /* bytes with the root label (RFC 1035 section 2.3.4) */
#define WIRE_LABEL_MAX   63
#define WIRE_HEADER_SIZE 12
#define WIRE_OPT_SIZE    11 /* an EDNS0 record without options (RFC 6891) */
#define WIRE_QUERY_MAX   (WIRE_HEADER_SIZE + WIRE_NAME_MAX + 4 + WIRE_OPT_SIZE)
/* What we take by UDP: no fragments on any usual path (DNS flag day 2020). More comes by TCP. */
#define WIRE_UDP_SIZE 1232
#define WIRE_CLASS_IN 1

/* A name without compression, root label included. Names are compared in this form, so that a dot inside a
 * label cannot pass for the end of one. */
struct wire_name {
	uint8_t bytes[WIRE_NAME_MAX];
	unsigned len;
};

/* From text, with or without the final dot, lower-cased; a backslash is a byte like others. false: it cannot
 * be a name (empty, an empty label, a label over 63 bytes, over 253 bytes in all). */
NODISCARD bool wire_name_parse(struct slice text, struct wire_name *name_ret);
/* The name at bytes[at], which may be compressed; *end_ret is the place behind it. false: it leaves the
 * message, points forward or round in circles, or is too long. */
NODISCARD bool wire_name_read(const uint8_t *bytes, size_t len, size_t at, struct wire_name *name_ret,
			      size_t *end_ret);
bool wire_name_eq(const struct wire_name *a, const struct wire_name *b); /* ASCII case does not count */
/* As text without the final dot; dots and backslashes inside a label get a backslash, bytes that cannot be
 * printed become \DDD (RFC 1035 section 5.1). Tainted. ptr is NULL on lack of memory. */
struct slice wire_name_text(struct arena *arena, const struct wire_name *name);

/* A question with recursion desired and AD set, which asks the resolver to say whether it validated (RFC 6840
 * section 5.7); with edns, an OPT record of exactly WIRE_OPT_SIZE at its end. Returns its length. */
size_t wire_query_write(uint8_t query_ret[static WIRE_QUERY_MAX], uint16_t id, const struct wire_name *name,
			uint16_t type, bool edns, bool dnssec_ok);

static inline uint16_t wire_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t wire_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
