/* servers: which servers a query goes to: those of the main option, or its own. */
#ifndef LOOKUP_SERVERS_H
#define LOOKUP_SERVERS_H

#include "lookup/lookup.h"

struct servers {
	const char *name;        /* of the type, for messages: "PGSQL" */
	const char *form;        /* of an item: "host/database/user/password" */
	struct slice configured; /* the main option */
	struct slice rest;       /* not yet tried */
	unsigned count;          /* tried */
	char separator;
};
/* From "servers=" among the type's options, or, in the older form, in front of the query ("servers=...;query"), or
 * the main option, which the caller has put into servers->configured. DEFER: none, or a stranger named them. */
NODISCARD enum rc servers_choose(struct servers *servers, const struct lookup_request *request,
				 struct slice *query_ret, struct err *err);
/* The next one's text. One without a slash is the configured one of that host. OK; FAIL: no more; DEFER. */
NODISCARD enum rc servers_next(struct scope *sc, struct servers *servers, struct slice *item_ret,
			       struct err *err);

#endif
