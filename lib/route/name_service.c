/* The system's tables of users and groups (getpwnam and its kin). */
#include "name_service.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

/* Several error codes stand for "no such entry" (see getpwnam(3)); anything else is a failing name service. */
static enum rc rc_of(int os, bool found)
{
	return found                                                                  ? OK
	       : os == 0 || os == ENOENT || os == ESRCH || os == EBADF || os == EPERM ? FAIL
										      : DEFER;
}

void name_service_ask(void *arg)
{
	struct answer *answer = arg;
	struct passwd pw, *pw_found = NULL;
	struct group gr, *gr_found = NULL;
	const char *name = answer->key + 2;
	int os;

	if (answer->ask == ASK_GROUP)
		os = getgrnam_r(name, &gr, answer->buffer, sizeof(answer->buffer), &gr_found);
	else if (answer->ask == ASK_UID)
		os = getpwuid_r(answer->id, &pw, answer->buffer, sizeof(answer->buffer), &pw_found);
	else
		os = getpwnam_r(name, &pw, answer->buffer, sizeof(answer->buffer), &pw_found);
	answer->os = os;
	answer->rc = rc_of(os, pw_found || gr_found);
	if (pw_found) {
		answer->id = pw.pw_uid;
		answer->gid = pw.pw_gid;
		answer->name = pw.pw_name;
		answer->home = pw.pw_dir;
		answer->gecos = pw.pw_gecos;
		answer->shell = pw.pw_shell;
	}
	if (gr_found)
		answer->gid = gr.gr_gid;
}

void name_service_ask_groups(void *arg)
{
	struct groups_answer *answer = arg;
	struct passwd pw, *found = NULL;

	answer->os = getpwuid_r(answer->uid, &pw, answer->buffer, sizeof(answer->buffer), &found);
	answer->rc = rc_of(answer->os, found);
	answer->count = NAME_GROUPS_MAX;
	if (!found)
		answer->count = 0;
	else if (getgrouplist(pw.pw_name, answer->gid, answer->groups, &answer->count) < 0)
		answer->rc = FAIL;
}
