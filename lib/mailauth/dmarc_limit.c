/* dmarc_limit: how many failure reports one address is sent (RFC 9991, section 2): a forger chooses whose domain he uses, and how
 * often, and must not have others flooded by us. All counts are one hint, of a size that never changes: whoever publishes
 * records chooses the addresses, and would fill a database that had a key for each.
 *
 *	struct limit, little-endian: of all, then ROWS rows that addresses are hashed to */
#include <string.h>

#include "dmarc.h"
#include "dmarc_state.h"

#define PERIOD_S    3600
#define ADDRESS_MAX 30   /* reports to one address, a period */
#define ALL_MAX     1000 /* to all */
#define ROWS        512  /* addresses that are told apart; the total bounds those who share one */

static const struct slice key = {"dmarc-failure-reports", sizeof("dmarc-failure-reports") - 1, CLEAN};

struct row {
	uint64_t since; /* wall clock, seconds */
	uint32_t hash, count;
};
struct limit {
	struct row all, rows[ROWS];
};

/* One more report; on the writer of hints. */
struct counting {
	uint64_t now;
	uint32_t hash;
	enum dmarc_limit result;
};

static bool is_old(const struct row *row, uint32_t hash, uint64_t now)
{
	return !row->count || row->hash != hash || now < row->since || now - row->since >= PERIOD_S;
}

/* Which of the period it is, 1 for the first. */
static uint32_t count(struct row *row, uint32_t hash, uint64_t now)
{
	if (is_old(row, hash, now))
		*row = (struct row){.since = now, .hash = hash};
	return ++row->count;
}

static bool is_over(const struct row *row, uint32_t hash, uint64_t now, uint32_t max)
{
	return !is_old(row, hash, now) && row->count > max;
}

static bool unpack(struct slice stored, struct limit *ret)
{
	if (stored.ptr && stored.len == sizeof(*ret)) {
		memcpy(ret, stored.ptr, sizeof(*ret));
		return true;
	}
	*ret = (struct limit){0};
	return false;
}

static enum dmarc_limit judge(struct limit *limit, uint32_t hash, uint64_t now)
{
	uint32_t mine = count(&limit->rows[hash % ROWS], hash, now);

	if (mine > ADDRESS_MAX)
		return mine == ADDRESS_MAX + 1 ? DMARC_LIMIT_REACHED : DMARC_LIMIT_OVER;
	mine = count(&limit->all, 0, now);
	return mine <= ALL_MAX       ? DMARC_LIMIT_FREE
	       : mine == ALL_MAX + 1 ? DMARC_LIMIT_REACHED
				     : DMARC_LIMIT_OVER;
}

static ptrdiff_t one_more(void *arg, struct slice old, char *new_value)
{
	struct counting *c = arg;
	struct limit limit;

	(void)unpack(old, &limit);
	c->result = judge(&limit, c->hash, c->now);
	memcpy(new_value, &limit, sizeof(limit));
	return sizeof(limit);
}

/* Has this hour's end been told already? Then nothing is written: a flood costs a look at the map each. */
static bool already_over(struct task *task, const struct counting *c)
{
	struct err err = err_make(NULL);
	struct slice stored;
	struct limit limit;

	if (hints_get(task->shard, HINTS_MISC, key, task->arena, &stored, &err) != OK ||
	    !unpack(stored, &limit))
		return false;
	return is_over(&limit.rows[c->hash % ROWS], c->hash, c->now, ADDRESS_MAX) ||
	       is_over(&limit.all, 0, c->now, ALL_MAX);
}

enum dmarc_limit dmarc_limit_count(struct task *task, struct slice address)
{
	struct counting c = {.now = shard_wall(task->shard) / NS_PER_S, .hash = 2166136261u}; /* FNV-1a */
	struct err err = err_make(NULL);

	for (uint32_t i = 0; i < address.len; i++)
		c.hash = (c.hash ^ (unsigned char)ascii_lower(address.ptr[i])) * 16777619u;
	if (already_over(task, &c))
		return DMARC_LIMIT_OVER;
	/* Who cannot count sends nothing: a report is a courtesy, a flood is none. */
	return hints_update(task, HINTS_MISC, key, one_more, &c, &err) == OK ? c.result : DMARC_LIMIT_OVER;
}
