/* metrics: numbers for those who watch: counters and gauges that each shard writes for itself, summed by whoever reads, and
 * written in the text format of Prometheus (exposition format 0.0.4).
 *
 * A room that counts has a struct of tallies and a table of what each is called:
 *
 *	struct smtp_metrics { struct tally connections, messages; };
 *	static const struct metric rows[] = {
 *		METRIC_COUNTER(struct smtp_metrics, connections, "sluice_smtp_connections_total", "", "connections accepted"),
 *	};
 *	const struct metric_table smtp_metric_table = { rows, ARRAY_COUNT(rows), sizeof(struct smtp_metrics) };
 *
 * and stands in the list of server/wiring.c. For each table each shard has a struct in cache lines of its own, which
 * metrics_block() finds. Nothing is locked, and nobody waits: a counter is written by one thread, with a plain addition. */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include <stdatomic.h>

#include "base/base.h"

/* A number that one thread writes and any thread reads. The order of different numbers means nothing, so relaxed is enough; and since
 * nobody else writes, no addition has to be locked. */
struct tally {
	_Atomic uint64_t n;
};
static inline uint64_t tally_get(const struct tally *tally)
{
	return atomic_load_explicit(&tally->n, memory_order_relaxed);
}
static inline void tally_set(struct tally *tally, uint64_t n)
{
	atomic_store_explicit(&tally->n, n, memory_order_relaxed);
}
static inline void tally_add(struct tally *tally, uint64_t n)
{
	tally_set(tally, tally_get(tally) + n);
}
static inline void tally_up(struct tally *tally)
{
	tally_add(tally, 1);
}
/* Of a gauge. */
static inline void tally_down(struct tally *tally)
{
	tally_set(tally, tally_get(tally) - 1);
}

/* Numbers by a name that is known only at run time: that of a file, say. A name's place is for ever; names beyond the limit
 * have none, so what strangers can choose is no name for this. */
#define METRIC_NAMED_MAX  128
#define METRIC_NAME_MAX   192 /* bytes; of a longer one the end is kept */
#define METRIC_VALUES_MAX 2
struct metric_named {
	_Atomic uint32_t len; /* of the name, which is written once, before; 0: free */
	char name[METRIC_NAME_MAX];
	struct tally values[METRIC_VALUES_MAX];
};
struct metric_names {
	struct metric_named named[METRIC_NAMED_MAX];
};
/* By the thread that writes. NULL: no place. */
struct metric_named *metric_named(struct metric_names *names, struct slice name);

enum metric_kind {
	METRIC_KIND_COUNTER,
	METRIC_KIND_GAUGE,
	METRIC_KIND_SHARD_COUNTER, /* not summed: a sample a shard, labelled with its number */
	METRIC_KIND_SHARD_GAUGE,
	/* Of struct metric_names. Values are seconds since the epoch, the latest of all shards counts, and 0 is none: shown are the
	 * seconds since then (nothing for none), or up to then (0 for none). */
	METRIC_KIND_AGE,
	METRIC_KIND_LEFT,
};
struct metric {
	const char *name; /* as Prometheus wants it: sluice_..., counters end in _total */
	const char *
	    labels; /* ready-made: "direction=\"in\""; empty: none. AGE and LEFT: the label that the name goes under */
	const char *help; /* of the first row of a name; the rows of one name stand together */
	enum metric_kind kind;
	uint32_t offset; /* in the struct */
	uint32_t value;  /* AGE and LEFT: which */
};
#define METRIC_ROW(type, field, kind_, name_, labels_, help_)                           \
	{                                                                               \
		.name = (name_), .labels = (labels_), .help = (help_), .kind = (kind_), \
		.offset = offsetof(type, field.n)                                       \
	}
#define METRIC_COUNTER(type, field, name, labels, help) \
	METRIC_ROW(type, field, METRIC_KIND_COUNTER, name, labels, help)
#define METRIC_GAUGE(type, field, name, labels, help) \
	METRIC_ROW(type, field, METRIC_KIND_GAUGE, name, labels, help)
#define METRIC_SHARD_COUNTER(type, field, name, help) \
	METRIC_ROW(type, field, METRIC_KIND_SHARD_COUNTER, name, "", help)
#define METRIC_SHARD_GAUGE(type, field, name, help) \
	METRIC_ROW(type, field, METRIC_KIND_SHARD_GAUGE, name, "", help)
#define METRIC_TIME(type, field, value_, kind_, name_, label_, help_)                  \
	{                                                                              \
		.name = (name_), .labels = (label_), .help = (help_), .kind = (kind_), \
		.offset = offsetof(type, field.named), .value = (value_)               \
	}
struct metric_table {
	const struct metric *rows;
	uint32_t row_count;
	uint32_t size; /* of the struct */
};

/* tables: ended by NULL; borrowed. A block for each shard and table, all zero. */
struct metrics;
NODISCARD enum rc metrics_new(const struct metric_table *const *tables, unsigned shard_count,
			      struct metrics **ret, struct err *err);
void metrics_free(struct metrics *metrics); /* NULL is fine. After the shards, and after all who read */
/* The struct of that shard. otherwise, where there are no metrics (NULL), or the table is not among them: what is counted there
 * nobody reads. Before the shard runs, or on its thread. */
void *metrics_block(struct metrics *metrics, unsigned shard, const struct metric_table *table,
		    void *otherwise);

/* All there is, and what is known of the process. now_s: wall clock. Any thread; does not wait for anybody. Memory that ran out shows
 * in out. */
void metrics_write(const struct metrics *metrics, int64_t now_s, struct str *out);

/* For those who write a metric of their own: its head, then its samples. label_name NULL: none; value of the label escaped. */
void metric_head(struct str *out, const char *name, const char *type, const char *help);
void metric_label(struct str *out, const char *label_name, struct slice value);

#endif
