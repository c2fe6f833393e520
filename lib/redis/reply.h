/* reply: from a server's bytes to replies, for the files of this room. */
#ifndef REDIS_REPLY_H
#define REDIS_REPLY_H

#include "redis/redis.h"

struct reply_reader;
struct reply_reader *reply_reader_new(void); /* NULL: no memory */
void reply_reader_free(struct reply_reader *reader);
/* false: no memory. */
bool reply_reader_feed(struct reply_reader *reader, struct slice bytes);
/* The next whole reply, valid until the next call. OK: there is one; DEFER: more bytes are needed; FAIL: this is no
 * reply, or one past the limits, and nothing that follows can be read; *why_ret says which. */
enum rc reply_reader_next(struct reply_reader *reader, const struct redis_reply **reply_ret,
			  const char **why_ret);
/* Into an arena of the caller's; false: no memory. */
bool reply_copy(struct arena *arena, const struct redis_reply *from, struct redis_reply *to);

#endif
