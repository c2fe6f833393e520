/* dmarc_aggregate: what the files of aggregate reports share. Private to the room. */
#ifndef MAILAUTH_DMARC_AGGREGATE_H
#define MAILAUTH_DMARC_AGGREGATE_H

#include "dmarc_rows.h"

/* Who reports, as the options say. */
struct dmarc_reporter {
	struct slice from;         /* of the From: field: an address, perhaps with a name */
	struct slice address;      /* in it */
	struct slice domain;       /* of the address: the submitter */
	struct slice organization; /* org_name */
	struct slice contact;      /* email */
	struct slice extra;        /* extra_contact_info; empty: none */
};
/* FAIL: the options do not say, or say nonsense. Results of expand_option(). Parks. */
NODISCARD enum rc dmarc_reporter_of(struct scope *sc, struct dmarc_reporter *ret, struct err *err);

/* All buckets of one report. */
struct dmarc_gathered {
	struct slice domain;
	struct slice id;     /* Report-ID: letters and digits */
	uint64_t begin, end; /* the period, seconds since the epoch, both ends in it */
	struct slice *buckets;
	unsigned bucket_count;
};
/* The XML (RFC 9990, appendix A); *messages_ret and *rows_ret: how many it tells of. ptr NULL: no memory, or no bucket is readable. */
struct slice dmarc_xml(struct arena *arena, const struct dmarc_reporter *reporter,
		       const struct dmarc_gathered *gathered, uint64_t *messages_ret, unsigned *rows_ret);

/* The message around it, LF line ends. The compression is done by a helper thread. DEFER: no memory; CANCELLED. Parks. */
NODISCARD enum rc dmarc_report_mail(struct task *task, const struct dmarc_reporter *reporter,
				    const struct dmarc_gathered *gathered, const struct slice *recipients,
				    unsigned recipient_count, struct slice xml, struct slice *text_ret,
				    struct err *err);

#endif
