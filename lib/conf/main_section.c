/* The main section: the options that the rooms registered, this room's own, and the named lists. */

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "reader.h"

/* ---- This room's own options ----------------------------------------------------------------------------
 */

static const struct conf_option main_rows[] = {
    OPT_STRING(struct conf_main, add_environment, NULL, "NAME=value items added to the environment"),
    OPT_GID_LIST(struct conf_main, admin_groups, NULL, "their members are admin users"),
    OPT_STRING(struct conf_main, bi_command, NULL, "the program that -bi and newaliases run"),
    OPT_BOOL(struct conf_main, commandline_checks_require_admin, "no",
	     "-be, -bv and others are for admins only"),
    OPT_INT(struct conf_main, daemon_startup_retries, "9",
	    "how often a port that others have is tried for again"),
    OPT_TIME(struct conf_main, daemon_startup_sleep, "30s", "the pause before that"),
    OPT_BOOL(struct conf_main, disable_ipv6, "no", "no IPv6 anywhere"),
    OPT_GID(struct conf_main, exim_group, NULL, "the group to run as"),
    OPT_STRING(struct conf_main, exim_path, NULL, "how this program is called"),
    OPT_UID(struct conf_main, exim_user, NULL, "the user to run as"),
    OPT_STRING(struct conf_main, exim_version, NULL, "the version that is told"),
    OPT_STRING(struct conf_main, keep_environment, NULL, "variables that stay in the environment"),
    OPT_STRING(struct conf_main, localhost_number, NULL, "0 to 16: makes message ids unique among hosts"),
    OPT_BOOL(struct conf_main, mua_wrapper, "no",
	     "for a program that waits: each message now and whole, or back to it"),
    OPT_UID_LIST(struct conf_main, never_users, NULL, "no delivery runs as one of these"),
    OPT_STRING(struct conf_main, pid_file_path, NULL, "where the daemon writes its process id"),
    OPT_STRING(struct conf_main, primary_hostname, NULL, "this host's name"),
    OPT_BOOL(struct conf_main, prod_requires_admin, "yes", "-M, -R and others are for admins only"),
    OPT_STRING(struct conf_main, qualify_domain, NULL, "added to unqualified senders"),
    OPT_STRING(struct conf_main, qualify_recipient, NULL, "added to unqualified recipients"),
    OPT_BOOL(struct conf_main, queue_list_requires_admin, "yes", "-bp shows others' mail to admins only"),
    OPT_INT(struct conf_main, shards, "0", "threads, each with its own ring; 0: one for each CPU"),
    OPT_STRING(struct conf_main, spool_directory, "/var/spool/sluice", "the queue, hints and logs"),
    OPT_GID_LIST(struct conf_main, trusted_groups, NULL, "their members are trusted users"),
    OPT_UID_LIST(struct conf_main, trusted_users, NULL, "may name any sender"),
};

/* uname's name, and when that is not qualified, what the name service makes of it. May block. */
static enum rc find_hostname(struct conf *conf, struct slice *ret, struct err *err)
{
	struct addrinfo hints = {.ai_flags = AI_CANONNAME}, *found = NULL;
	struct utsname name;

	if (uname(&name) != 0 || name.nodename[0] == 0)
		return conf_error(err, NULL, "this host has no name: set primary_hostname");
	*ret = slice_of(name.nodename);
	if (!strchr(name.nodename, '.') && getaddrinfo(name.nodename, NULL, &hints, &found) == 0 && found &&
	    found->ai_canonname && found->ai_canonname[0])
		*ret = slice_of(found->ai_canonname);
	*ret = arena_copy(&conf->arena, *ret);
	if (found)
		freeaddrinfo(found);
	return ret->ptr ? OK : err_memory(err);
}

static enum rc expand_in_place(struct conf *conf, const char *name, struct slice *text, struct err *err)
{
	struct err why = err_make(&conf->arena);
	enum rc rc;

	if (!text->ptr || slice_find(*text, '$') < 0)
		return OK;
	rc = conf_expand_early(conf, *text, text, &why);
	if (rc != OK)
		return conf_error(err, conf_option_place(conf, name), "failed to expand %s: %.*s", name,
				  SLICE_ARG(why.text));
	return OK;
}

static enum rc check_localhost_number(struct conf *conf, struct conf_main *group, struct err *err)
{
	const struct conf_place *place = conf_option_place(conf, "localhost_number");
	int64_t number;
	enum rc rc;

	group->localhost_number_value = -1;
	if (!group->localhost_number.ptr || group->localhost_number.len == 0)
		return OK;
	rc = expand_in_place(conf, "localhost_number", &group->localhost_number, err);
	if (rc != OK)
		return rc;
	if (!parse_i64(slice_trim(group->localhost_number), &number) || number < 0)
		return conf_error(err, place, "localhost_number value is not a number: %.*s",
				  SLICE_ARG(group->localhost_number));
	if (number > 16)
		return conf_error(err, place,
				  "localhost_number is greater than the maximum allowed value (16)");
	group->localhost_number_value = number;
	return OK;
}

static enum rc main_check(struct conf *conf, void *arg, struct err *err)
{
	struct conf_main *group = arg;
	enum rc rc = OK;

	if (!group->primary_hostname.ptr || group->primary_hostname.len == 0)
		rc = find_hostname(conf, &group->primary_hostname, err);
	if (rc == OK && !group->qualify_domain.ptr)
		group->qualify_domain = group->primary_hostname;
	if (rc == OK && !group->qualify_recipient.ptr)
		group->qualify_recipient = group->qualify_domain;
	if (rc == OK)
		rc = expand_in_place(conf, "spool_directory", &group->spool_directory, err);
	if (rc == OK)
		rc = expand_in_place(conf, "pid_file_path", &group->pid_file_path, err);
	if (rc == OK && (group->spool_directory.len == 0 || group->spool_directory.ptr[0] != '/'))
		rc = conf_error(err, conf_option_place(conf, "spool_directory"),
				"spool_directory \"%.*s\" is not an absolute path",
				SLICE_ARG(group->spool_directory));
	if (rc == OK && (group->shards < 0 || group->shards > 1024))
		rc = conf_error(err, conf_option_place(conf, "shards"), "shards is to be between 0 and 1024");
	return rc == OK ? check_localhost_number(conf, group, err) : rc;
}

const struct conf_group conf_main_group = {
    .id = CONF_MAIN,
    .size = sizeof(struct conf_main),
    .options = main_rows,
    .option_count = ARRAY_COUNT(main_rows),
    .check = main_check,
};

/* ---- The list of all options ----------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b)
{
	const struct main_option *left = a, *right = b;

	return strcmp(left->option->name, right->option->name);
}

static unsigned count_options(const struct conf *conf)
{
	unsigned count = (unsigned)conf_pending_option_count + conf_main_group.option_count;

	if (conf->registry->groups)
		for (const struct conf_group *const *g = conf->registry->groups; *g; g++)
			count += (*g)->option_count;
	return count;
}

static enum rc add_option(struct conf *conf, const struct conf_option *row, char *group, struct err *err)
{
	struct conf_state *state = conf_state(conf);
	struct main_option *option = &state->options[state->option_count];

	*option = (struct main_option){.option = row, .text = SLICE_EMPTY};
	if (group && !(row->flags & OPTION_NO_EFFECT)) {
		option->field = group + row->offset;
	} else {
		option->field = arena_alloc(&conf->arena, row->type->size, 16);
		option->pending = !(row->flags & (OPTION_NO_EFFECT | OPTION_LATER));
		if (!option->field)
			return err_memory(err);
	}
	state->option_count++;
	return option_default(conf, row, option->field, err);
}

static enum rc add_group(struct conf *conf, const struct conf_group *group, struct map *seen, struct err *err)
{
	char *bytes = arena_alloc(&conf->arena, group->size, 16);
	enum rc rc = OK;

	if (!bytes)
		return err_memory(err);
	ASSERT(group->id < CONF_GROUP_COUNT);
	conf->groups[group->id] = bytes;
	for (unsigned i = 0; rc == OK && i < group->option_count; i++) {
		struct slice name = slice_of(group->options[i].name);

		if (map_get(seen, name))
			return err_set(err, FAIL, "main option \"%s\" is registered twice",
				       group->options[i].name);
		if (!map_set(seen, name, (void *)&group->options[i]))
			return err_memory(err);
		rc = add_option(conf, &group->options[i], bytes, err);
	}
	return rc;
}

/* Finds the row that an alias is another name of: same group, same field. */
static void find_alias(struct conf_state *state, struct main_option *alias)
{
	for (unsigned i = 0; i < state->option_count; i++) {
		struct main_option *other = &state->options[i];
		if (!(other->option->flags & (OPTION_ALIAS | OPTION_NO_EFFECT)) &&
		    other->field == alias->field)
			alias->same = other;
	}
}

enum rc main_options_init(struct conf *conf, struct err *err)
{
	struct conf_state *state = conf_state(conf);
	struct map seen;
	enum rc rc;

	map_init(&seen, &conf->arena, false);
	state->options = arena_array(&conf->arena, struct main_option, count_options(conf));
	if (!state->options)
		return err_memory(err);
	rc = add_group(conf, &conf_main_group, &seen, err);
	if (conf->registry->groups)
		for (const struct conf_group *const *g = conf->registry->groups; rc == OK && *g; g++)
			rc = add_group(conf, *g, &seen, err);
	for (size_t i = 0; rc == OK && i < conf_pending_option_count; i++) {
		if (!map_get(&seen, slice_of(conf_pending_options[i].name)))
			rc = add_option(conf, &conf_pending_options[i], NULL, err);
	}
	if (rc != OK)
		return rc;
	qsort(state->options, state->option_count, sizeof(*state->options), by_name);
	for (unsigned i = 0; i < state->option_count; i++) {
		struct main_option *option = &state->options[i];

		if (option->option->flags & OPTION_ALIAS)
			find_alias(state, option);
		if (!map_set(&state->options_by_name, slice_of(option->option->name), option))
			return err_memory(err);
	}
	return OK;
}

struct main_option *main_option_find(const struct conf_state *state, struct slice name)
{
	return map_get(&state->options_by_name, name);
}

const struct conf_place *conf_option_place(const struct conf *conf, const char *name)
{
	const struct main_option *option = main_option_find(conf_state(conf), slice_of(name));

	if (option && option->same)
		option = option->same;
	return option && option->set ? &option->place : NULL;
}

/* ---- Named lists ------------------------------------------------------------------------------------------
 */

static const struct {
	const char *word, *said;
} list_kinds[LIST_KIND_COUNT] = {
    [LIST_DOMAIN] = {"domainlist", "domain"},
    [LIST_HOST] = {"hostlist", "host"},
    [LIST_ADDRESS] = {"addresslist", "address"},
    [LIST_LOCAL_PART] = {"localpartlist", "local part"},
};

/* Is the line one, and of which kind? *rest_ret is what follows the word. */
static bool is_list(struct slice text, struct conf_named_list *list, struct slice *rest_ret)
{
	while (slice_starts(text, SLICE("hide")) && text.len > 4 && ascii_is_space(text.ptr[4])) {
		list->hide = true;
		text = slice_ltrim(slice_from(text, 4));
	}
	for (unsigned kind = 0; kind < LIST_KIND_COUNT; kind++) {
		struct slice rest;

		if (!slice_starts(text, slice_of(list_kinds[kind].word)))
			continue;
		rest = slice_from(text, strlen(list_kinds[kind].word));
		list->cache = slice_starts(rest, SLICE("_cache"));
		if (list->cache)
			rest = slice_from(rest, 6);
		if (rest.len > 0 && !ascii_is_space(rest.ptr[0]))
			continue;
		list->kind = (enum conf_list_kind)kind;
		*rest_ret = slice_ltrim(rest);
		return true;
	}
	return false;
}

static enum rc list_read(struct conf *conf, const struct conf_line *line, struct conf_named_list *list,
			 struct slice rest, struct err *err)
{
	struct map *lists = &conf->named_lists[list->kind];
	struct setting setting = {.place = line->place};
	uint32_t len = 0;

	while (len < rest.len && (ascii_is_alnum(rest.ptr[len]) || rest.ptr[len] == '_'))
		len++;
	list->place = line->place;
	list->name = slice_sub(rest, 0, len);
	if (len == 0)
		return conf_error(err, &line->place, "unrecognized configuration line");
	rest = slice_ltrim(slice_from(rest, len));
	if (rest.len == 0 || rest.ptr[0] != '=')
		return conf_error(err, &line->place, "missing '=' after \"%.*s\"", SLICE_ARG(list->name));
	if (map_get(lists, list->name))
		return conf_error(err, &line->place, "duplicate name \"%.*s\" for a named %s list",
				  SLICE_ARG(list->name), list_kinds[list->kind].said);
	list->text = slice_trim(slice_from(rest, 1));
	setting.name = list->name;
	setting.value = list->text;
	if (list->text.len > 0 && list->text.ptr[0] == '"') {
		enum rc rc = setting_unquote(conf, &setting, &list->text, err);
		if (rc != OK)
			return rc;
	}
	return map_set(lists, list->name, list) ? OK : err_memory(err);
}

static enum rc lists_compile(struct conf *conf, struct err *err)
{
	enum rc (*compile)(struct conf *, struct conf_named_list *, struct err *) =
	    conf->registry->named_list;

	for (unsigned kind = 0; compile && kind < LIST_KIND_COUNT; kind++) {
		uint32_t at = 0;

		for (struct map_entry *e; (e = map_next(&conf->named_lists[kind], &at));) {
			struct conf_named_list *list = e->value;
			struct err why = err_make(&conf->arena);

			if (compile(conf, list, &why) != OK)
				return conf_error(err, &list->place, "%.*s", SLICE_ARG(why.text));
		}
	}
	return OK;
}

const struct conf_named_list *conf_named_list(const struct conf *conf, enum conf_list_kind kind,
					      struct slice name)
{
	return map_get(&conf->named_lists[kind], name);
}

/* ---- The section ------------------------------------------------------------------------------------------
 */

static const char *nearest_option(const struct conf_state *state, struct slice name, struct arena *arena)
{
	const char **names = arena_array(arena, const char *, state->option_count);

	if (!names)
		return NULL;
	for (unsigned i = 0; i < state->option_count; i++)
		names[i] = state->options[i].option->name;
	return conf_nearest(name, names, state->option_count);
}

/* The option of this name, by its present name if it is an older one. */
static struct main_option *find_named(struct conf *conf, struct slice name, const struct setting *setting)
{
	for (size_t i = 0; i < conf_old_name_count; i++) {
		if (slice_eq(name, slice_of(conf_old_names[i].old))) {
			conf_warn(conf, &setting->place, "option \"%s\" is deprecated, now \"%s\"",
				  conf_old_names[i].old, conf_old_names[i].now);
			name = slice_of(conf_old_names[i].now);
		}
	}
	return main_option_find(conf_state(conf), name);
}

static enum rc option_line(struct conf_reader *reader, const struct conf_line *line, struct err *err)
{
	struct conf *conf = reader->conf;
	struct main_option *option;
	struct setting setting;
	enum rc rc = setting_parse(line, &setting, err);

	if (rc != OK)
		return rc;
	option = find_named(conf, setting.name, &setting);
	if (option)
		setting.negated = false; /* its name happens to begin with no_ */
	else if (setting.negated)
		option = find_named(conf, setting.plain, &setting);
	if (!option) {
		const char *nearest = nearest_option(reader->state, setting.plain, &reader->scratch);
		return conf_error(err, &line->place, "main option \"%.*s\" unknown%.*s",
				  SLICE_ARG(setting.plain), SLICE_ARG(option_hint(conf, nearest)));
	}
	if (option->same)
		option = option->same;

	struct option_slot slot = {option->option, option->field, &option->set, &option->text};
	rc = option_apply(conf, &setting, &slot, err);
	option->hidden |= setting.hide;
	option->place = setting.place;
	if (rc == OK && option->pending)
		conf_warn(conf, &setting.place, "option \"%s\" is not yet in effect", option->option->name);
	return rc;
}

static enum rc main_line(struct conf_reader *reader, const struct conf_line *line, struct err *err)
{
	struct conf_named_list *list;
	struct slice rest;

	if (line->text.ptr[0] >= 'A' && line->text.ptr[0] <= 'Z')
		return conf_define_macro(reader, line, err);
	list = arena_make(&reader->conf->arena, struct conf_named_list);
	if (!list)
		return err_memory(err);
	if (is_list(line->text, list, &rest))
		return list_read(reader->conf, line, list, rest, err);
	return option_line(reader, line, err);
}

enum rc main_section_read(struct conf_reader *reader, struct err *err)
{
	struct conf_line line;
	enum rc rc = OK;

	while (rc == OK && conf_next_line(reader, &line, err) == OK)
		rc = main_line(reader, &line, err);
	if (rc != OK || reader->failed)
		return rc;
	rc = main_check(reader->conf, conf_group(reader->conf, CONF_MAIN), err);
	return rc == OK ? lists_compile(reader->conf, err) : rc;
}
