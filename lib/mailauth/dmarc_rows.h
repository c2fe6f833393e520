/* dmarc_rows: what is remembered of messages until their aggregate reports are sent. Private to the room.
 *
 * A key of the database HINTS_DMARC is "DAY DOMAIN POLICY BUCKET": days since the epoch (six digits), the domain where the policy
 * record is, a checksum of the policy (eight hexadecimal digits), and one of 64 buckets (two). So the keys of a report follow each
 * other, and a domain whose name comes with a thousand different senders takes its 64 buckets and no more.
 *
 * A value is a bucket: lines of printable ASCII, with tabs between fields and US (0x1f) inside fields:
 *
 *	1 LOST                                           the version; messages that found no room here
 *	METHOD P SP NP ADKIM ASPF FO T RUA               the policy that was published
 *	COUNT IP DISPOSITION DKIM SPF REASONS FROM MFROM SPF-RESULT [DKIM-RESULT]...
 *	...
 *
 * COUNT has ten digits, so that counting moves nothing. */
#ifndef MAILAUTH_DMARC_ROWS_H
#define MAILAUTH_DMARC_ROWS_H

#include "mailauth/mailauth.h"

#define DMARC_BUCKETS     64
#define DMARC_BUCKET_MAX  16384 /* bytes; with all buckets a million for a report */
#define DMARC_ROW_MAX     4096
#define DMARC_RUA_MAX     1000
#define DMARC_REASONS_MAX 2

struct dmarc_reason {
	struct slice type, comment; /* words of RFC 9990, section 3.1.6 */
};
struct dmarc_row_result {
	struct slice domain, selector; /* SPF has no selector */
	struct slice result;           /* a word of RFC 8601 */
	struct slice problem;          /* for people; may be empty */
};
struct dmarc_row {
	uint64_t count;
	struct slice ip;
	char disposition; /* n(one), p(ass), q(uarantine), r(eject) */
	bool dkim, spf;   /* aligned */
	struct dmarc_reason reasons[DMARC_REASONS_MAX];
	unsigned reason_count;
	struct slice from, mail_from;       /* domains; mail_from is empty for bounces */
	struct dmarc_row_result spf_result; /* domain empty: not evaluated */
	struct dmarc_row_result dkim_results[DKIM_SIGNATURES_MAX];
	unsigned dkim_count;
};
struct dmarc_published {
	bool psl;       /* found with a suffix list, not up the tree */
	char p, sp, np; /* n, q, r; 0: not given */
	char adkim, aspf;
	bool testing;
	unsigned fo;
	struct slice rua; /* what of it may be used */
};
struct dmarc_bucket {
	uint64_t lost;
	struct dmarc_published published;
	struct slice policy; /* the line */
	struct slice rows;   /* what dmarc_bucket_next() has not taken */
};

/* Lines, without their ends. Whatever is no printable ASCII becomes "?". A row that is too long loses its last signatures. */
void dmarc_published_write(struct str *out, const struct dmarc_published *published);
void dmarc_row_write(struct str *out, const struct dmarc_row *row);

/* For hints_merge(): the addition is a policy line and a row line, each with its end. */
ptrdiff_t dmarc_bucket_merge(struct slice old, struct slice addition, char *new_value);

/* false: it is none, or damaged. Slices point into the value. */
bool dmarc_bucket_read(struct slice value, struct dmarc_bucket *bucket_ret);
/* The next row that can be read. false: no more. */
bool dmarc_bucket_next(struct dmarc_bucket *bucket, struct dmarc_row *row_ret);

struct dmarc_key {
	uint64_t day;
	struct slice domain;
	uint32_t policy;
	unsigned bucket;
};
struct slice dmarc_key_write(struct arena *arena, const struct dmarc_key *key);
bool dmarc_key_read(struct slice text, struct dmarc_key *ret);

#endif
