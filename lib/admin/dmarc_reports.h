/* dmarc_reports: the clock by which the daemon sends DMARC aggregate reports. Private to the room. */
#ifndef ADMIN_DMARC_REPORTS_H
#define ADMIN_DMARC_REPORTS_H

#include "admin/admin.h"

/* On shard 0. running: a round is under way, the clock's or one that was asked for; there is never a second beside it. */
struct dmarc_clock {
	struct shard *shard;
	const struct admin_shard *own;
	struct timer timer;
	struct task task;
	bool running;
	uint64_t limit_done; /* all days before it are reported */
	uint64_t next_s;     /* not before */
};
void dmarc_clock_start(struct dmarc_clock *clock, struct shard *shard, const struct admin_shard *own);
/* What runs is cancelled, and unwinds as soon as its shard goes round. */
void dmarc_clock_stop(struct dmarc_clock *clock);

#endif
