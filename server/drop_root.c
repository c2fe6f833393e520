/* drop_root: the worker of a daemon that root started becomes exim_user. (In a file of its own, since the system's header has a
 * struct group, as the reactor has.) */
#include "conf/conf.h"
#include "drop_root.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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

bool root_pause(const struct conf *conf)
{
	const struct conf_main *o = conf_main(conf);
	gid_t gid = o->exim_group.set ? o->exim_group.id : o->exim_user.id;

	if (getuid() != 0 || !o->exim_user.set || o->exim_user.id == 0)
		return true;
	return setegid(gid) == 0 && seteuid(o->exim_user.id) == 0;
}

bool root_resume(void)
{
	return getuid() != 0 || (seteuid(0) == 0 && setegid(0) == 0);
}

bool make_spool_directory(const struct conf *conf, const char *path)
{
	const struct conf_main *o = conf_main(conf);

	if (mkdir(path, 0750) == 0) {
		if (getuid() == 0 && o->exim_user.set &&
		    chown(path, o->exim_user.id, o->exim_group.set ? o->exim_group.id : (gid_t)-1) < 0)
			return false;
		return true;
	}
	if (errno == EEXIST)
		return true;
	fprintf(stderr, "sluice: cannot make the spool directory %s: %s\n", path, strerror(errno));
	return false;
}
