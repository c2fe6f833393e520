/* One question to the system's name service, which may block: asked on a helper thread. In a file of its own because
 * <grp.h> and the reactor both have a struct group. */
#ifndef ROUTE_NAME_SERVICE_H
#define ROUTE_NAME_SERVICE_H

#include "base/base.h"

#define NAME_LEN_MAX    256 /* LOGIN_NAME_MAX: no user has a longer name */
#define NAME_GROUPS_MAX 1024

enum ask { ASK_USER, ASK_UID, ASK_GROUP };

/* An answer, and the question while a helper thread works on it: heap memory, since the asking fiber may leave. */
struct answer {
	enum ask ask;
	char key[NAME_LEN_MAX + 16]; /* "u:name", "i:uid", "g:name" */
	uint64_t expires;            /* shard clock */
	uint32_t id, gid;
	enum rc rc;
	int os;
	char *name, *home, *gecos, *shell; /* in buffer */
	char buffer[4096];
};

/* arg is a struct answer with ask, key and (ASK_UID) id filled in. */
void name_service_ask(void *arg);

/* All groups of a user: as initgroups() would set them. */
struct groups_answer {
	uint32_t uid, gid; /* the question */
	enum rc rc;        /* FAIL: no such user, or count is more than there is room for */
	int os;            /* of DEFER */
	int count;
	uint32_t groups[NAME_GROUPS_MAX];
	char buffer[4096];
};
/* arg is a struct groups_answer. */
void name_service_ask_groups(void *arg);

#endif
