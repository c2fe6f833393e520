/* The system's tables of users and groups (getpwnam and its kin). */
#include "name_service.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

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
	/* Several error codes stand for "no such entry" (see getpwnam(3)); anything else is a failing name service. */
	answer->os = os;
	answer->rc = pw_found || gr_found                                                   ? OK
		     : os == 0 || os == ENOENT || os == ESRCH || os == EBADF || os == EPERM ? FAIL
											    : DEFER;
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
