/* spill: a large body is written as it comes, as body records between everything else, and the commit says where
 * they are. What is never committed is dead weight that goes when its segment is used again. */
#include "log.h"

#include <stdlib.h>

enum rc spill_make(struct log *log, bool moving, struct spill **spill_ret, struct err *err)
{
	/* From the heap: it lives from the command that began it to the one that ends it. One for each large body. */
	struct spill *spill = calloc(1, sizeof(*spill));

	if (!spill)
		return err_memory(err);
	spill->log = log;
	spill->moving = moving;
	*spill_ret = spill;
	return OK;
}

enum rc spill_begin(struct task *task, struct spool *spool, struct spill **spill_ret, struct err *err)
{
	enum rc rc;

	if (task->cancelled)
		return CANCELLED;
	rc = spool_check_space(spool, err);
	return rc == OK ? spill_make(spool->own, false, spill_ret, err) : rc;
}

void spill_free(struct spill *spill)
{
	struct log *log = spill->log;

	if (spill->extent_count)
		spill->extents[0].segment->holds--;
	free(spill->extents);
	free(spill);
	log_trim(log);
}

void spill_cancel(struct spill *spill)
{
	if (!spill)
		return;
	if (spill->busy)
		spill->cancelled = true;
	else
		spill_free(spill);
}

static bool spill_reserve(struct spill *spill)
{
	uint32_t room = spill->extent_room ? spill->extent_room * 2 : 16;
	struct place *extents;

	if (spill->extent_count < spill->extent_room)
		return true;
	extents = realloc(spill->extents, room * sizeof(*extents));
	if (!extents)
		return false;
	spill->extents = extents;
	spill->extent_room = room;
	return true;
}

/* At most REQUEST_BODY_MAX of the pieces from *at on, without copying: the first and last may be cut. */
struct portion {
	struct frag cut[64];
	unsigned count;
	uint32_t len;
};

static void portion_take(struct portion *p, const struct frag *frags, unsigned frag_count, unsigned *at,
			 uint32_t *offset, uint32_t len_max)
{
	p->count = 0;
	p->len = 0;
	while (*at < frag_count && p->count < ARRAY_COUNT(p->cut) && p->len < len_max) {
		const struct frag *f = &frags[*at];
		uint32_t len = f->len - *offset;

		if (len > len_max - p->len)
			len = len_max - p->len;
		if (len)
			p->cut[p->count++] = (struct frag){f->buf, f->ptr + *offset, len};
		p->len += len;
		*offset += len;
		if (*offset == f->len) {
			++*at;
			*offset = 0;
		}
	}
}

enum rc spill_append(struct task *task, struct spill *spill, const struct frag *frags, unsigned frag_count,
		     struct err *err)
{
	struct portion portion;
	struct request request;
	uint32_t offset = 0;
	unsigned at = 0;
	enum rc rc = OK;

	ASSERT(!spill->busy);
	spill->busy = true;
	while (rc == OK && at < frag_count) {
		portion_take(&portion, frags, frag_count, &at, &offset, log_body_max(spill->log));
		if (portion.len == 0)
			continue;
		if (!spill_reserve(spill)) {
			rc = err_memory(err);
			break;
		}
		request_init(&request, REQUEST_SPILL, err);
		request.spill = spill;
		request.frags = portion.cut;
		request.frag_count = portion.count;
		request.body_len = portion.len;
		rc = request_run(task, spill->log, &request);
		if (rc == OK)
			spill->len += portion.len;
	}
	spill->busy = false;
	if (spill->cancelled) {
		spill_free(spill);
		return CANCELLED;
	}
	return rc;
}
