/* drop_root: the worker of a daemon that root started becomes exim_user. (In a file of its own, since the system's header has a
 * struct group, as the reactor has.) */
#include "conf/conf.h"
#include "drop_root.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <unistd.h>

bool drop_root(const struct conf *conf)
{
	const struct conf_main *o = conf_main(conf);
	gid_t gid = o->exim_group.set ? o->exim_group.id : o->exim_user.id;

	if (getuid() != 0 || !o->exim_user.set || o->exim_user.id == 0)
		return true;
	if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(o->exim_user.id) < 0) {
		fprintf(stderr, "sluice: cannot become exim_user: %s\n", strerror(errno));
		return false;
	}
	return true;
}
