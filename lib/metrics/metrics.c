/* metrics: the blocks of the shards, and their sums as text. */
#include "metrics.h"
#include "process.h"

#include <stdlib.h>

#define TABLES_MAX 64
#define LINE       64u /* of the cache */

struct metrics {
	const struct metric_table *const *tables;
	unsigned table_count, shard_count;
	char *blocks[TABLES_MAX]; /* shard_count of stride[] bytes each */
	size_t stride[TABLES_MAX];
};

enum rc metrics_new(const struct metric_table *const *tables, unsigned shard_count, struct metrics **ret,
		    struct err *err)
{
	struct metrics *m = calloc(1, sizeof(*m));

	if (!m)
		return err_memory(err);
	m->tables = tables;
	m->shard_count = shard_count;
	for (; tables[m->table_count]; m->table_count++) {
		unsigned t = m->table_count;

		ASSERT(t < TABLES_MAX);
		m->stride[t] = (tables[t]->size + LINE - 1) & ~((size_t)LINE - 1);
		m->blocks[t] = aligned_alloc(LINE, m->stride[t] * shard_count);
		if (!m->blocks[t]) {
			metrics_free(m);
			return err_memory(err);
		}
		memset(m->blocks[t], 0, m->stride[t] * shard_count);
	}
	*ret = m;
	return OK;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	for (unsigned t = 0; t < TABLES_MAX; t++)
		free(m->blocks[t]);
	free(m);
}

static const void *block_at(const struct metrics *m, unsigned table, unsigned shard)
{
	return m->blocks[table] + m->stride[table] * shard;
}

void *metrics_block(struct metrics *m, unsigned shard, const struct metric_table *table, void *otherwise)
{
	for (unsigned t = 0; m && t < m->table_count; t++)
		if (m->tables[t] == table && shard < m->shard_count)
			return m->blocks[t] + m->stride[t] * shard;
	return otherwise;
}

/* ---- Names --------------------------------------------------------------------------------------------------------- */

struct metric_named *metric_named(struct metric_names *names, struct slice name)
{
	if (!name.len)
		return NULL;
	if (name.len > METRIC_NAME_MAX)
		name = slice_from(name, name.len - METRIC_NAME_MAX);
	for (unsigned i = 0; i < METRIC_NAMED_MAX; i++) {
		struct metric_named *at = &names->named[i];
		uint32_t len = atomic_load_explicit(&at->len, memory_order_relaxed);

		if (len == name.len && memcmp(at->name, name.ptr, len) == 0)
			return at;
		if (len)
			continue;
		memcpy(at->name, name.ptr, name.len);
		/* Who sees the length sees the name. */
		atomic_store_explicit(&at->len, name.len, memory_order_release);
		return at;
	}
	return NULL;
}

static struct slice name_of(const struct metric_named *at)
{
	return slice_make(at->name, atomic_load_explicit(&at->len, memory_order_acquire), TAINTED);
}

/* ---- Text ------------------------------------------------------------------------------------------------------------ */

void metric_head(struct str *out, const char *name, const char *type, const char *help)
{
	str_printf(out, "# HELP %s ", name);
	for (const char *c = help; *c; c++) {
		if (*c == '\\')
			str_addz(out, "\\\\");
		else if (*c == '\n')
			str_addz(out, "\\n");
		else
			str_addc(out, *c);
	}
	str_printf(out, "\n# TYPE %s %s\n", name, type);
}

/* The format is UTF-8; a file may be called anything, and one odd name must not make the whole unreadable. */
void metric_label(struct str *out, const char *label_name, struct slice value)
{
	str_printf(out, "%s=\"", label_name);
	for (uint32_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];

		if (c == '\\' || c == '"') {
			str_addc(out, '\\');
			str_addc(out, c);
		} else if (c == '\n') {
			str_addz(out, "\\n");
		} else if ((unsigned char)c >= 0x80 || (unsigned char)c < ' ') {
			str_addc(out, '?');
		} else {
			str_addc(out, c);
		}
	}
	str_addc(out, '"');
}

static const struct tally *count_at(const struct metrics *m, unsigned table, unsigned shard,
				    const struct metric *row)
{
	return (const struct tally *)(const void *)((const char *)block_at(m, table, shard) + row->offset);
}

static void write_sum(const struct metrics *m, unsigned table, const struct metric *row, struct str *out)
{
	uint64_t sum = 0;

	for (unsigned shard = 0; shard < m->shard_count; shard++)
		sum += tally_get(count_at(m, table, shard, row));
	/* A gauge whose shards are read one after the other while something moves between them. */
	if (row->kind == METRIC_KIND_GAUGE && (int64_t)sum < 0)
		sum = 0;
	str_addz(out, row->name);
	if (row->labels[0])
		str_printf(out, "{%s}", row->labels);
	str_printf(out, " %llu\n", (unsigned long long)sum);
}

static void write_by_shard(const struct metrics *m, unsigned table, const struct metric *row, struct str *out)
{
	for (unsigned shard = 0; shard < m->shard_count; shard++)
		str_printf(out, "%s{shard=\"%u\"} %llu\n", row->name, shard,
			   (unsigned long long)tally_get(count_at(m, table, shard, row)));
}

static const struct metric_names *names_at(const struct metrics *m, unsigned table, unsigned shard,
					   const struct metric *row)
{
	return (const struct metric_names *)(const void *)((const char *)block_at(m, table, shard) +
							   row->offset);
}

static const struct metric_named *find_name(const struct metric_names *names, struct slice name)
{
	for (unsigned i = 0; i < METRIC_NAMED_MAX; i++) {
		struct slice has = name_of(&names->named[i]);

		if (!has.len)
			return NULL;
		if (slice_eq(has, name))
			return &names->named[i];
	}
	return NULL;
}

/* A name is written where the first shard has it. */
static void write_name(const struct metrics *m, unsigned table, const struct metric *row, unsigned first,
		       struct slice name, int64_t now_s, struct str *out)
{
	int64_t latest = 0, shown;

	for (unsigned shard = 0; shard < m->shard_count; shard++) {
		const struct metric_named *at = find_name(names_at(m, table, shard, row), name);
		int64_t value = at ? (int64_t)tally_get(&at->values[row->value]) : 0;

		if (at && shard < first)
			return;
		if (value > latest)
			latest = value;
	}
	if (!latest && row->kind == METRIC_KIND_AGE)
		return;
	shown = row->kind == METRIC_KIND_AGE ? now_s - latest : latest - now_s;
	str_printf(out, "%s{", row->name);
	metric_label(out, row->labels, name);
	str_printf(out, "} %lld\n", latest ? (long long)shown : 0ll);
}

static void write_names(const struct metrics *m, unsigned table, const struct metric *row, int64_t now_s,
			struct str *out)
{
	for (unsigned shard = 0; shard < m->shard_count; shard++) {
		const struct metric_names *names = names_at(m, table, shard, row);

		for (unsigned i = 0; i < METRIC_NAMED_MAX; i++) {
			struct slice name = name_of(&names->named[i]);

			if (!name.len)
				break;
			write_name(m, table, row, shard, name, now_s, out);
		}
	}
}

static void write_row(const struct metrics *m, unsigned table, const struct metric *row, int64_t now_s,
		      struct str *out)
{
	switch (row->kind) {
	case METRIC_KIND_COUNTER:
	case METRIC_KIND_GAUGE:
		write_sum(m, table, row, out);
		break;
	case METRIC_KIND_SHARD_COUNTER:
	case METRIC_KIND_SHARD_GAUGE:
		write_by_shard(m, table, row, out);
		break;
	case METRIC_KIND_AGE:
	case METRIC_KIND_LEFT:
		write_names(m, table, row, now_s, out);
		break;
	}
}

void metrics_write(const struct metrics *m, int64_t now_s, struct str *out)
{
	process_write(m->shard_count, out);
	for (unsigned t = 0; t < m->table_count; t++) {
		const char *name = "";

		for (unsigned i = 0; i < m->tables[t]->row_count; i++) {
			const struct metric *row = &m->tables[t]->rows[i];
			bool counter =
			    row->kind == METRIC_KIND_COUNTER || row->kind == METRIC_KIND_SHARD_COUNTER;

			if (strcmp(row->name, name) != 0)
				metric_head(out, row->name, counter ? "counter" : "gauge", row->help);
			name = row->name;
			write_row(m, t, row, now_s, out);
		}
	}
}
