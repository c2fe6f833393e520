/* message: the memory of what is in the queue. Messages and outcomes come from pools that only grow: a queue that
 * was long once will be again. */
#include "log.h"

#include <stdlib.h>

#define SLAB_SIZE (64u * 1024)

struct slab {
	struct slab *next;
	char bytes[] __attribute__((aligned(16)));
};

static char *slab_new(struct spool *spool)
{
	struct slab *slab = malloc(SLAB_SIZE);

	if (!slab)
		return NULL;
	slab->next = spool->slabs;
	spool->slabs = slab;
	return slab->bytes;
}

#define SLAB_ROOM (SLAB_SIZE - sizeof(struct slab))

void spool_pools_free(struct spool *spool)
{
	while (spool->slabs) {
		struct slab *slab = spool->slabs;

		spool->slabs = slab->next;
		free(slab);
	}
}

struct message *message_new(struct log *log)
{
	struct spool *spool = log->spool;
	struct message *message = spool->message_pool;

	if (!message) {
		char *at = slab_new(spool);

		if (!at)
			return NULL;
		for (size_t i = 0; i < SLAB_ROOM / sizeof(*message); i++) {
			message = (struct message *)at + i;
			message->entry.user = spool->message_pool;
			spool->message_pool = message;
		}
	}
	spool->message_pool = message->entry.user;
	*message = (struct message){.log = log};
	list_init(&message->entry.link);
	list_init(&message->in_segment);
	return message;
}

static struct outcome *outcome_new(struct spool *spool)
{
	struct outcome *outcome = spool->outcome_pool;

	if (!outcome) {
		char *at = slab_new(spool);

		if (!at)
			return NULL;
		for (size_t i = 0; i < SLAB_ROOM / sizeof(*outcome); i++) {
			outcome = (struct outcome *)at + i;
			outcome->next = spool->outcome_pool;
			spool->outcome_pool = outcome;
		}
	}
	spool->outcome_pool = outcome->next;
	return outcome;
}

void message_unsettle(struct message *message)
{
	struct spool *spool = message->log->spool;

	while (message->outcomes) {
		struct outcome *outcome = message->outcomes;

		message->outcomes = outcome->next;
		outcome->next = spool->outcome_pool;
		spool->outcome_pool = outcome;
	}
	message->outcomes_last = NULL;
	if (message->extent_count > 1)
		free(message->body.many);
	message->extent_count = 0;
	message->rewrite.segment = NULL;
	if (message->oldest)
		message->log->live_bytes -= message->bytes;
	message->oldest = NULL;
	list_remove(&message->in_segment);
}

void message_settle(struct message *message, const struct place *commit, struct place *extents,
		    uint32_t extent_count)
{
	uint64_t bytes = record_size(commit->len);

	message->commit = *commit;
	message->extent_count = extent_count;
	if (extent_count > 1)
		message->body.many = extents;
	else if (extent_count == 1)
		message->body.one = *extents;
	message->oldest = extent_count && extents[0].segment ? extents[0].segment : commit->segment;
	for (uint32_t i = 0; i < extent_count; i++)
		bytes += extent_size(extents[i].len);
	message->bytes = bytes;
	message->log->live_bytes += bytes;
	list_append(&message->oldest->messages, &message->in_segment);
}

bool message_add_outcome(struct message *message, const struct place *place)
{
	struct outcome *outcome = outcome_new(message->log->spool);

	if (!outcome)
		return false;
	*outcome = (struct outcome){.place = *place};
	if (message->outcomes_last)
		message->outcomes_last->next = outcome;
	else
		message->outcomes = outcome;
	message->outcomes_last = outcome;
	return true;
}

void message_free(struct message *message)
{
	struct spool *spool = message->log->spool;

	message_unsettle(message);
	list_remove(&message->entry.link);
	message->entry.user = spool->message_pool;
	spool->message_pool = message;
}

void message_end(struct message *message)
{
	ASSERT(message->done);
	message_unsettle(message);
	message->gone = true;
	if (message->pins == 0)
		message_free(message);
}

void message_unpin(struct message *message)
{
	ASSERT(message->pins);
	if (--message->pins == 0 && message->gone)
		message_free(message);
}
