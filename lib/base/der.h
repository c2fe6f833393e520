/* DER (ITU-T X.690), read only: enough for certificates and OCSP responses. Every length is checked against the bytes that are
 * there, and nothing is ever followed deeper than the caller asks. */
#ifndef BASE_DER_H
#define BASE_DER_H

#include "base/base.h"

enum {
	DER_BOOLEAN = 0x01,
	DER_INTEGER = 0x02,
	DER_BIT_STRING = 0x03,
	DER_OCTET_STRING = 0x04,
	DER_OID = 0x06,
	DER_ENUMERATED = 0x0a,
	DER_UTF8 = 0x0c,
	DER_PRINTABLE = 0x13,
	DER_TELETEX = 0x14,
	DER_IA5 = 0x16,
	DER_UTC_TIME = 0x17,
	DER_GENERALIZED_TIME = 0x18,
	DER_UNIVERSAL = 0x1c,
	DER_BMP = 0x1e,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
};
#define DER_CONTEXT(n)    (0x80 | (n)) /* [n] IMPLICIT of something primitive */
#define DER_CONTEXT_OF(n) (0xa0 | (n)) /* [n] constructed */

struct der_item {
	uint8_t tag;
	struct slice whole; /* with tag and length */
	struct slice body;
};
/* Takes the next item off the front of *rest. false: no more, or what is there is no DER item that fits; *rest is then as it was. */
bool der_next(struct slice *rest, struct der_item *item_ret);
/* The same for an item that has to have this tag. */
bool der_expect(struct slice *rest, uint8_t tag, struct der_item *item_ret);
/* Is an item of this tag next? It is taken off if so. */
bool der_optional(struct slice *rest, uint8_t tag, struct der_item *item_ret);
/* A BIT STRING's whole bytes; false when its last byte is not full. */
bool der_bits(struct slice body, struct slice *bytes_ret);
/* UTCTime (RFC 5280 section 4.1.2.5.1) or GeneralizedTime, in seconds since the epoch. */
bool der_time(const struct der_item *item, int64_t *seconds_ret);
/* A small non-negative INTEGER or ENUMERATED. */
bool der_small(struct slice body, unsigned *number_ret);
/* A positive INTEGER off the front, without its leading zero. */
bool der_positive(struct slice *rest, struct slice *number_ret);
/* "1.2.840.113549" from an OID's body, appended. */
void der_oid_text(struct str *str, struct slice body);

#endif
