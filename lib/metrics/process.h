/* process: what is known of the process as a whole. Private to the room. */
#ifndef METRICS_PROCESS_H
#define METRICS_PROCESS_H

#include "metrics/metrics.h"

/* Any thread. Reads /proc/self, which does not wait for a disk. */
void process_write(unsigned shard_count, struct str *out);

#endif
