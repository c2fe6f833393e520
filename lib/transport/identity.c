/* Whose delivery is it: the transport's user, else the address's, else our own. */
#include <unistd.h>

#include "helper.h"
#include "helper_protocol.h"

static enum rc find_ids(struct scope *sc, const struct transport *transport, const struct address *address,
			struct identity *who, bool *found, bool *initgroups, struct err *err)
{
	struct user_entry user = {.name = SLICE_EMPTY, .home = SLICE_EMPTY};
	bool group_set = false;
	enum rc rc = user_option(sc, transport->user, found, &user, err);

	if (rc == OK)
		rc = group_option(sc, transport->group, &group_set, &who->gid, err);
	if (rc != OK)
		return rc;
	if (*found) {
		who->uid = user.uid;
		who->name = user.name;
		who->home = user.home;
		if (!group_set)
			who->gid = user.gid;
		group_set = who->gid != UINT32_MAX;
		*initgroups = transport->initgroups;
	} else if (address->uid_set) {
		*found = true;
		who->uid = address->uid;
		*initgroups = address->initgroups;
		if (!group_set && address->gid_set) {
			who->gid = address->gid;
			group_set = true;
		}
	} else {
		return OK;
	}
	if (!group_set)
		return err_set(err, DEFER, "user set without group for %.*s transport",
			       SLICE_ARG(transport->instance.name));
	return OK;
}

enum rc identity_find(struct scope *sc, const struct transport *transport, const struct address *address,
		      struct identity *ret, struct err *err)
{
	const struct conf_main *options = conf_main(sc->conf);
	struct identity who = {.uid = geteuid(), .gid = getegid(), .name = SLICE_EMPTY, .home = SLICE_EMPTY};
	bool found = false, initgroups = false;
	enum rc rc = find_ids(sc, transport, address, &who, &found, &initgroups, err);

	if (rc != OK)
		return rc;
	if (found && conf_id_listed(&options->never_users, who.uid))
		return err_set(err, DEFER, "user %u set for %.*s transport is on the never_users list",
			       who.uid, SLICE_ARG(transport->instance.name));
	who.switched = found && (who.uid != geteuid() || who.gid != getegid());
	if (who.switched && !helper_present()) {
		/* Our own user with another group is as near as we can get, and no more rights than we have. */
		if (who.uid != geteuid())
			return err_set(err, DEFER,
				       "cannot deliver as user %u: this process was not started as root",
				       who.uid);
		who.switched = false;
	}
	if (who.switched && who.uid == 0)
		return err_set(err, DEFER, "deliveries do not run as root (%.*s transport)",
			       SLICE_ARG(transport->instance.name));
	if (who.switched && initgroups)
		rc = user_groups(sc, who.uid, who.gid, HELPER_GROUPS_MAX, &who.groups, &who.group_count, err);
	if (rc == OK)
		*ret = who;
	return rc == FAIL ? DEFER : rc;
}
