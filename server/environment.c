/* environment: what we, and the programs that we start, see of the environment that we were started in: the variables
 * that keep_environment names, and those of add_environment. Once, before there is a second thread. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* $initial_cwd and the local time come from these. */
static bool is_ours(struct slice name)
{
	return slice_eq(name, SLICE("PWD")) || slice_eq(name, SLICE("TZ"));
}

/* A pattern: "*", "*end", "^regular expression", or the name itself. */
static bool pattern_matches(struct arena *arena, struct slice pattern, struct slice name)
{
	struct err err = err_make(arena);
	const struct regex *regex;
	unsigned count;

	if (pattern.len && pattern.ptr[0] == '^')
		return regex_compile(arena, pattern, 0, &regex, &err) == OK &&
		       regex_match(regex, name, NULL, 0, &count, &err) == OK;
	if (pattern.len && pattern.ptr[0] == '*')
		return slice_ends(name, slice_from(pattern, 1));
	return slice_eq(name, pattern);
}

/* The first item that matches decides; behind a negated last one everything else is meant. */
static bool is_kept(struct arena *arena, struct slice list, struct slice name)
{
	struct slice item;
	char separator = 0;
	bool negated = false;

	while (list_next(arena, &list, &separator, &item)) {
		negated = item.len && item.ptr[0] == '!';
		if (negated)
			item = slice_ltrim(slice_from(item, 1));
		if (pattern_matches(arena, item, name))
			return !negated;
	}
	return negated;
}

static bool remove_others(struct arena *arena, struct slice list)
{
	char **variable = environ;

	while (variable && *variable) {
		struct slice text = slice_of(*variable);
		ptrdiff_t equals = slice_find(text, '=');
		struct slice name = slice_sub(text, 0, equals < 0 ? text.len : (size_t)equals);
		char *key;

		if (is_ours(name) || is_kept(arena, list, name)) {
			variable++;
			continue;
		}
		key = arena_cstr(arena, name);
		/* What unsetenv() takes away, the next one follows in the same place. */
		if (!key || unsetenv(key) != 0)
			return false;
	}
	return true;
}

static bool add_those(struct arena *arena, struct slice list)
{
	struct slice item, name;
	char separator = 0, *key, *value;

	while (list_next(arena, &list, &separator, &item)) {
		if (!slice_split(&item, '=', &name) || !item.ptr || !name.len)
			continue;
		key = arena_cstr(arena, name);
		value = arena_cstr(arena, item);
		if (!key || !value || setenv(key, value, 1) != 0)
			return false;
	}
	return true;
}

bool environment_apply(const struct conf *conf)
{
	const struct conf_main *o = conf_main(conf);
	struct arena arena;
	bool good;

	arena_init(&arena, 0);
	good = remove_others(&arena, o->keep_environment) && add_those(&arena, o->add_environment);
	arena_done(&arena);
	return good;
}
