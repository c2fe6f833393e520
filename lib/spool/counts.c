/* counts: what the spool has done so far, for its owner and for those who watch. */
#include "log.h"

static const struct metric metric_rows[] = {
    METRIC_COUNTER(struct spool_metrics, commits, "sluice_spool_commits_total", "",
		   "messages made durable; divided by the groups, how many share a write"),
    METRIC_COUNTER(struct spool_metrics, groups, "sluice_spool_groups_total", "result=\"ok\"",
		   "groups of records, each written and synced at once"),
    METRIC_COUNTER(struct spool_metrics, failures, "sluice_spool_groups_total", "result=\"failed\"", ""),
    METRIC_COUNTER(struct spool_metrics, bytes, "sluice_spool_written_bytes_total", "",
		   "bytes of the groups, padded to blocks"),
    METRIC_COUNTER(struct spool_metrics, moves, "sluice_spool_moves_total", "",
		   "messages moved on, so that a segment could be used again"),
    METRIC_GAUGE(struct spool_metrics, waiting, "sluice_spool_waiting", "",
		 "requests left for the next group when one was written"),
    METRIC_GAUGE(struct spool_metrics, segments, "sluice_spool_segments", "state=\"used\"",
		 "segment files: with records that count, and empty ones to be used next"),
    METRIC_GAUGE(struct spool_metrics, segments_free, "sluice_spool_segments", "state=\"free\"", ""),
    METRIC_GAUGE(struct spool_metrics, recovered, "sluice_spool_recovered_messages", "",
		 "messages that were found at the start"),
    METRIC_GAUGE(struct spool_metrics, damaged, "sluice_spool_recovered_damages", "",
		 "damages that were found at the start; the log tells of them"),
    METRIC_SHARD_GAUGE(struct spool_metrics, recovery_ms, "sluice_spool_recovery_milliseconds",
		       "how long the start took"),
};
const struct metric_table spool_metric_table = {metric_rows, ARRAY_COUNT(metric_rows),
						sizeof(struct spool_metrics)};

void spool_stats(const struct spool *spool, struct spool_stats *stats_ret)
{
	*stats_ret = spool->stats;
	LIST_EACH (l, &spool->logs) {
		const struct log *log = LIST_ITEM(l, struct log, link);

		stats_ret->segments += log->segment_count;
		stats_ret->segments_free += log->free_count;
	}
}

void spool_publish(struct spool *spool)
{
	struct spool_metrics *m = spool->metrics;
	struct spool_stats stats;
	uint64_t waiting = 0;

	spool_stats(spool, &stats);
	LIST_EACH (l, &spool->logs)
		waiting += LIST_ITEM(l, struct log, link)->request_count;
	tally_set(&m->commits, stats.commits);
	tally_set(&m->groups, stats.syncs);
	tally_set(&m->failures, stats.failures);
	tally_set(&m->bytes, stats.bytes_written);
	tally_set(&m->moves, stats.compactions);
	tally_set(&m->waiting, waiting);
	tally_set(&m->segments, stats.segments);
	tally_set(&m->segments_free, stats.segments_free);
	tally_set(&m->recovered, stats.recovered);
	tally_set(&m->damaged, stats.recovered_damaged);
	tally_set(&m->recovery_ms, stats.recovery_ns / (NS_PER_S / 1000));
}
