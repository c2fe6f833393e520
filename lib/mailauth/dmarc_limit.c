/* dmarc_limit: how many failure reports one address is sent (RFC 9991, section 2): a forger chooses whose domain he uses, and how
 * often, and must not have others flooded by us. */
#include <stdlib.h>

#include "dmarc.h"
#include "dmarc_state.h"

#define PERIOD_NS   (3600 * NS_PER_S)
#define ADDRESS_MAX 30   /* reports to one address, a period and shard */
#define ALL_MAX     1000 /* to all */
#define ROWS        512  /* addresses that are told apart; the total bounds those who share one */

struct row {
	uint64_t since;
	uint32_t hash, count;
};
struct limit {
	struct row all, rows[ROWS];
};

static struct shard_slot slot;

void dmarc_limit_done(struct shard *shard)
{
	free(shard_slot(shard, &slot));
	shard_slot_set(shard, &slot, NULL);
}

/* Which of the period it is, 1 for the first. */
static uint32_t count(struct row *row, uint32_t hash, uint64_t now)
{
	if (!row->count || row->hash != hash || now - row->since > PERIOD_NS)
		*row = (struct row){.since = now, .hash = hash};
	if (row->count < UINT32_MAX)
		row->count++;
	return row->count;
}

enum dmarc_limit dmarc_limit_count(struct shard *shard, struct slice address)
{
	struct limit *limit = shard_slot(shard, &slot);
	uint64_t now = shard_now(shard);
	uint32_t hash = 2166136261u, mine; /* FNV-1a */

	/* Heap memory: it lives as long as the shard, and only where such reports are sent. */
	if (!limit && !(limit = calloc(1, sizeof(*limit))))
		return DMARC_LIMIT_OVER;
	shard_slot_set(shard, &slot, limit);
	for (uint32_t i = 0; i < address.len; i++)
		hash = (hash ^ (unsigned char)ascii_lower(address.ptr[i])) * 16777619u;
	mine = count(&limit->rows[hash % ROWS], hash, now);
	if (mine > ADDRESS_MAX)
		return mine == ADDRESS_MAX + 1 ? DMARC_LIMIT_REACHED : DMARC_LIMIT_OVER;
	mine = count(&limit->all, 0, now);
	return mine <= ALL_MAX       ? DMARC_LIMIT_FREE
	       : mine == ALL_MAX + 1 ? DMARC_LIMIT_REACHED
				     : DMARC_LIMIT_OVER;
}
