#ifndef BASE_ID_H
#define BASE_ID_H

#include "base/str.h"

/* A message id in Exim's form since 4.97, tttttt-ppppppppppp-ssss in base 62: seconds, a number that is unique
 * in this second (Exim: the process id; here: process, shard and sequence), sub-second and host number. The
 * old form tttttt-pppppp-ss is read too. Kept as text, since that is how everyone names messages. */
#define MESSAGE_ID_LEN     23
#define MESSAGE_ID_LEN_OLD 16
struct message_id {
	char text[MESSAGE_ID_LEN + 1]; /* NUL-terminated; "" means none */
};

/* Each shard has one. unique is chosen at start so that no two shards of any process on this host that can
 * run at the same time share it (process id and shard number); the sequence does the rest. */
struct id_source {
	uint64_t unique;    /* below 2^48 */
	uint64_t last_tick; /* ticks never repeat, so ids do not either, even when the clock steps back */
	int host_number;    /* option localhost_number, -1: none */
};

/* wall_ns is the wall clock in nanoseconds since the epoch. */
struct message_id message_id_next(struct id_source *source, uint64_t wall_ns);
/* true if the text has one of the two forms. */
bool message_id_parse(struct slice text, struct message_id *id_ret);
/* Seconds since the epoch when it was made. */
uint64_t message_id_time(const struct message_id *id);
static inline struct slice message_id_slice(const struct message_id *id)
{
	return slice_of(id->text);
}

#endif
