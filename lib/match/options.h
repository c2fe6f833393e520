/* options: what the match room keeps in a snapshot. */
#ifndef MATCH_OPTIONS_H
#define MATCH_OPTIONS_H

#include "match/match.h"

struct match_group {
	struct match_options options; /* first */
	struct ip_addr *local;        /* of this host's interfaces */
	unsigned local_count;
};
enum rc interfaces_read(struct conf *conf, struct match_group *group, struct err *err);

#endif
