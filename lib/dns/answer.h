/* answer: from the bytes that a resolver sent to records. */
#ifndef DNS_ANSWER_H
#define DNS_ANSWER_H

#include "wire.h"

/* A chain of aliases longer than this is a loop or a joke. */
#define ANSWER_CNAME_COUNT_MAX 16
/* Records of one answer; more is no mail set-up, and sorting them would hold up the shard. */
#define ANSWER_RECORD_COUNT_MAX 1024
/* Longer lives are cut to these: RFC 8767 section 4 for answers, RFC 2308 section 5 for denials. */
#define ANSWER_TTL_MAX_S          (7 * 86400)
#define ANSWER_NEGATIVE_TTL_MAX_S (3 * 3600)

enum { RCODE_NOERROR = 0, RCODE_FORMERR = 1, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3 };

/* Reads the answer to the question for name and type; what it keeps is copied to the arena. Records stand in
 * the order of the message. Does not park.
 *
 * OK     at least one record of the type.
 * FAIL   NXDOMAIN or no such data: nxdomain, ttl_s (0: must not be cached, RFC 2308 section 5), authentic and
 *        canonical are set all the same.
 * DEFER  another rcode, or bytes that are not a well-formed answer to this question. */
NODISCARD enum rc answer_parse(struct arena *arena, const uint8_t *bytes, size_t len,
			       const struct wire_name *name, enum dns_type type,
			       struct dns_answer *answer_ret, struct err *err);

/* By preference (MX) or priority (SRV), equal ones in random order, for SRV by weight (RFC 2782). random
 * gives the next number. Others are left as they stand. */
void answer_sort(struct dns_answer *answer, enum dns_type type, uint32_t (*random)(void *arg), void *arg);

#endif
