/* sqlite: the databases that a shard keeps open. */
#ifndef LOOKUP_SQLITE_H
#define LOOKUP_SQLITE_H

#include "lookup/lookup.h"

void sqlite_done(struct shard *shard);

#endif
