/* caller: who asks, and what he may do. The trusted may speak for others (senders, hosts); administrators may look into the
 * queue and change it. */
#include "inside.h"

#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool in_groups(const struct caller *caller, const struct conf_id_list *list)
{
	if (conf_id_listed(list, caller->gid))
		return true;
	for (unsigned i = 0; i < caller->group_count; i++)
		if (conf_id_listed(list, caller->groups[i]))
			return true;
	return false;
}

static bool is_member(const struct caller *caller, uint32_t gid)
{
	for (unsigned i = 0; i < caller->group_count; i++)
		if (caller->groups[i] == gid)
			return true;
	return caller->gid == gid;
}

void caller_judge(struct caller *caller, const struct conf *conf, bool owner)
{
	const struct conf_main *o = conf_main(conf);
	bool exim = o->exim_user.set && !o->exim_user.expand.ptr && o->exim_user.id == caller->uid;
	bool group = o->exim_group.set && !o->exim_group.expand.ptr && is_member(caller, o->exim_group.id);

	caller->admin = caller->trusted = caller->uid == 0 || exim || owner;
	caller->trusted |=
	    conf_id_listed(&o->trusted_users, caller->uid) || in_groups(caller, &o->trusted_groups);
	caller->admin |= group || in_groups(caller, &o->admin_groups);
}

static void set_names(struct caller *caller)
{
	struct passwd pw, *found = NULL;
	char bytes[4096];

	/* A look at a local file for a local user: where a directory server is asked for users, nscd stands in front of it. */
	caller->unknown = getpwuid_r(caller->uid, &pw, bytes, sizeof(bytes), &found) != 0 || !found;
	caller->name[0] = 0;
	if (caller->unknown) {
		snprintf(caller->login, sizeof(caller->login), "%u", caller->uid);
		snprintf(caller->home, sizeof(caller->home), "/");
		return;
	}
	snprintf(caller->login, sizeof(caller->login), "%s", found->pw_name);
	snprintf(caller->home, sizeof(caller->home), "%s", found->pw_dir);
	snprintf(caller->name, sizeof(caller->name), "%s", found->pw_gecos);
}

/* "&" in the field is the login with a capital. */
static struct slice gecos_of(const struct caller *caller, struct arena *arena)
{
	struct str str = str_make(arena);

	for (const char *c = caller->name; *c; c++)
		if (*c != '&') {
			str_addc(&str, *c);
		} else if (caller->login[0]) {
			str_addc(&str, ascii_upper(caller->login[0]));
			str_addz(&str, caller->login + 1);
		}
	return str.failed ? SLICE_EMPTY : str_slice(&str);
}

static void put(char *field, size_t size, struct slice text)
{
	snprintf(field, size, "%.*s", SLICE_ARG(text));
}

void caller_name(struct caller *caller, const struct conf *conf)
{
	const struct admin_options *o = conf_group(conf, CONF_ADMIN);
	struct arena arena;
	struct task task;
	struct scope sc;
	struct client client = {.arena = NULL};
	struct slice text;
	struct err err;

	arena_init(&arena, 1024 * 1024);
	err = err_make(&arena);
	task_init(&task, NULL, &arena, UNTIL_NEVER);
	scope_init(&sc, &task, conf);
	client.arena = &arena;
	client_clear(&client);
	client.uid = caller->uid;
	client.gid = caller->gid;
	client.login = client.ident = slice_of(caller->login);
	sc.client = &client;
	if (caller->unknown) {
		if (o->unknown_login && expand(&sc, o->unknown_login, &text, &err) == OK && text.len) {
			put(caller->login, sizeof(caller->login), text);
			put(caller->name, sizeof(caller->name),
			    o->unknown_username.ptr ? o->unknown_username : SLICE_EMPTY);
		}
	} else {
		text = gecos_of(caller, &arena);
		if (o->gecos && o->gecos_name &&
		    regex_match(o->gecos, text, sc.numeric, ARRAY_COUNT(sc.numeric), &sc.numeric_count,
				&err) == OK)
			/* A name that cannot be made is left as it was. */
			(void)(expand(&sc, o->gecos_name, &text, &err) == OK);
		put(caller->name, sizeof(caller->name), text);
	}
	arena_done(&arena);
}

void caller_self(struct caller *ret)
{
	int count;

	*ret = (struct caller){.uid = getuid(), .gid = getgid()};
	count = getgroups(CALLER_GROUPS_MAX, ret->groups);
	ret->group_count = count > 0 ? (unsigned)count : 0;
	set_names(ret);
}

bool caller_of_socket(int fd, struct caller *ret)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return false;
	*ret = (struct caller){.uid = who.uid, .gid = who.gid};
	len = sizeof(ret->groups);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ret->groups, &len) == 0)
		ret->group_count = len / (unsigned)sizeof(ret->groups[0]);
	set_names(ret);
	return true;
}

bool caller_owns_spool(const struct caller *caller, const char *spool_directory)
{
	struct stat st;

	/* Not as a set-uid program: then the files are ours, and not the caller's. */
	if (caller->uid != geteuid())
		return false;
	return stat(spool_directory, &st) != 0 || st.st_uid == caller->uid;
}
