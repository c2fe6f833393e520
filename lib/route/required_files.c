/* require_files: a router runs only if these files exist (or, with "!", do not). An item may also name a user, and then a
 * file has to be readable by that user and group. */
#include <errno.h>
#include <unistd.h>

#include "routing.h"

struct checker {
	bool set;
	uint32_t uid, gid;
	bool group_set;
};

static bool mode_allows(const struct stat *st, const struct checker *who, mode_t bit)
{
	if (who->uid == 0)
		return true;
	if (st->st_uid == who->uid)
		return st->st_mode & (bit << 6);
	if (st->st_gid == who->gid)
		return st->st_mode & (bit << 3);
	return st->st_mode & bit;
}

/* May the user go down each directory of the path, and read what is at its end? */
static enum rc user_may_read(struct routing *r, const char *path, const struct checker *who)
{
	struct stat st;
	char *part = arena_cstr(routing_arena(r), slice_of(path));
	enum rc rc;

	if (!part)
		return err_memory(r->err);
	for (char *slash = part; (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		rc = file_stat(r->sc->task, part, true, &st, r->err);
		*slash = '/';
		if (rc != OK)
			return rc;
		if (!mode_allows(&st, who, 1))
			return FAIL;
	}
	rc = file_stat(r->sc->task, part, true, &st, r->err);
	return rc != OK ? rc : mode_allows(&st, who, 4) ? OK : FAIL;
}

/* "user", "user,group" or a number for those who are to read the files that follow. */
static enum rc set_checker(struct routing *r, struct slice item, struct checker *who)
{
	ptrdiff_t comma = slice_find(item, ',');
	struct slice name = slice_trim(slice_sub(item, 0, comma < 0 ? item.len : (size_t)comma));
	struct user_entry user;
	uint64_t number;
	enum rc rc = OK;

	if (parse_u64(name, &number) && number <= UINT32_MAX) {
		rc = user_find_uid(r->sc, (uint32_t)number, &user, r->err);
		if (rc == FAIL) {
			user = (struct user_entry){.uid = (uint32_t)number, .gid = (uint32_t)number};
			rc = OK;
		}
	} else {
		rc = user_find(r->sc, name, &user, r->err);
	}
	if (rc != OK)
		return err_set(r->err, DEFER, "require_files: uid for \"%.*s\" not found", SLICE_ARG(name));
	*who = (struct checker){.set = true, .uid = user.uid, .gid = user.gid};
	if (comma < 0)
		return OK;
	name = slice_trim(slice_from(item, (size_t)comma + 1));
	if (parse_u64(name, &number) && number <= UINT32_MAX)
		who->gid = (uint32_t)number;
	else if (group_find(r->sc, name, &who->gid, r->err) != OK)
		return err_set(r->err, DEFER, "require_files: gid for \"%.*s\" not found", SLICE_ARG(name));
	return OK;
}

static enum rc check_item(struct routing *r, struct slice item, const struct checker *who)
{
	bool negated = false, eacces_is_absent = false;
	struct stat st;
	char *path;
	enum rc rc;

	for (; item.len && (item.ptr[0] == '!' || item.ptr[0] == '+');
	     item = slice_ltrim(slice_from(item, 1))) {
		negated |= item.ptr[0] == '!';
		eacces_is_absent |= item.ptr[0] == '+';
	}
	path = item.taint == TAINTED ? NULL : arena_cstr(routing_arena(r), item);
	if (item.taint == TAINTED)
		return err_set(r->err, DEFER, "require_files: tainted file name \"%.*s\"", SLICE_ARG(item));
	if (!path)
		return err_memory(r->err);
	rc = file_stat(r->sc->task, path, true, &st, r->err);
	if (rc == OK && who->set)
		rc = user_may_read(r, path, who);
	if (rc == FAIL && r->err->os == EACCES && !eacces_is_absent && !who->set)
		return err_set(r->err, DEFER, "require_files: error for %s: Permission denied", path);
	if (rc == DEFER || rc == CANCELLED)
		return rc;
	r->err->text = SLICE_EMPTY;
	return (rc == OK) != negated ? OK : FAIL;
}

enum rc required_files_check(struct routing *r)
{
	struct checker who = {0};
	struct slice list, item;
	char separator = 0;
	enum rc rc;

	if (!r->router->require_files)
		return OK;
	/* Each item is expanded by itself, so that what one of them yields cannot add to the list. */
	list = expansion_text(r->router->require_files);
	while (list_next(routing_arena(r), &list, &separator, &item)) {
		if (!item.ptr)
			return err_memory(r->err);
		rc = expand_text(r->sc, item, &item, r->err);
		if (rc == FAIL && r->err->forced)
			continue;
		if (rc != OK) {
			err_prefix(r->err, "failed to expand \"require_files\"");
			return rc == FAIL ? DEFER : rc;
		}
		item = slice_trim(item);
		if (item.len == 0)
			continue;
		if (item.ptr[0] != '/' && item.ptr[0] != '!' && item.ptr[0] != '+')
			rc = set_checker(r, item, &who);
		else
			rc = check_item(r, item, &who);
		if (rc != OK)
			return rc;
	}
	return OK;
}
