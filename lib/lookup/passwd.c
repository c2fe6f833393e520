/* passwd: a login name's entry in the system's user database, as it would stand in a password file. The name
 * service may ask a network, so a helper thread does. */

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#include "types.h"

#define ROOM_MAX (64 * 1024)

struct asking {
	char *name;
	int os;     /* errno */
	char *line; /* NULL: no such user */
};

static void asking_free(void *arg)
{
	struct asking *a = arg;

	free(a->name);
	free(a->line);
	free(a);
}

static void asking_do(void *arg)
{
	struct asking *a = arg;
	struct passwd entry, *found = NULL;
	char *room = malloc(ROOM_MAX);

	if (!room) {
		a->os = ENOMEM;
		return;
	}
	a->os = getpwnam_r(a->name, &entry, room, ROOM_MAX, &found);
	if (a->os == ENOENT || a->os == ESRCH || a->os == EPERM)
		a->os = 0; /* what various systems answer for "no such user" */
	if (!a->os && found &&
	    asprintf(&a->line, "*:%u:%u:%s:%s:%s", entry.pw_uid, entry.pw_gid,
		     entry.pw_gecos ? entry.pw_gecos : "", entry.pw_dir ? entry.pw_dir : "",
		     entry.pw_shell ? entry.pw_shell : "") < 0) {
		a->line = NULL;
		a->os = ENOMEM;
	}
	free(room);
}

static enum rc passwd_find(struct scope *sc, const struct lookup_type *type,
			   const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct asking *asking;
	enum rc rc;

	(void)type;
	if (request->key.len == 0 || slice_find(request->key, '\0') >= 0)
		return FAIL;
	asking = calloc(1, sizeof(*asking));
	if (!asking)
		return err_memory(err);
	asking->name = strndup(request->key.ptr, request->key.len);
	if (!asking->name) {
		asking_free(asking);
		return err_memory(err);
	}
	rc = offload_call(sc->task, asking_do, asking, asking_free, err);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (asking->os) {
		rc = err_os(err, DEFER, asking->os, "passwd lookup of \"%s\"", asking->name);
	} else if (!asking->line) {
		rc = FAIL;
	} else {
		*ret = arena_copy(sc->task->arena, slice_of(asking->line));
		rc = ret->ptr ? OK : err_memory(err);
	}
	asking_free(asking);
	return rc;
}

const struct lookup_type lookup_passwd = {.name = "passwd", .query = true, .kept = true, .find = passwd_find};
