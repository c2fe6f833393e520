/* conf_load(): from a file name to a snapshot, and the snapshot's life after that. */

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "reader.h"

#define SNAPSHOT_SIZE_MAX (512ul * 1024 * 1024)

const char *const conf_section_names[CONF_SECTION_COUNT] = {
    [CONF_SECTION_ACL] = "acl",
    [CONF_SECTION_ROUTERS] = "routers",
    [CONF_SECTION_TRANSPORTS] = "transports",
    [CONF_SECTION_AUTHENTICATORS] = "authenticators",
    [CONF_SECTION_RETRY] = "retry",
    [CONF_SECTION_REWRITE] = "rewrite",
    [CONF_SECTION_LOCAL_SCAN] = "local_scan",
};

/* Written by whoever loads a configuration, from any thread: only uniqueness matters, so no order is asked
 * for. */
static uint64_t serial_last;

/* ---- Errors and remarks
 * -------------------------------------------------------------------------------------- */

enum rc conf_error(struct err *err, const struct conf_place *place, const char *format, ...)
{
	va_list args;
	struct str str;

	if (!err || !err->arena)
		return FAIL;
	str = str_make(err->arena);
	va_start(args, format);
	str_vprintf(&str, format, args);
	va_end(args);
	if (str.failed)
		return err_memory(err), FAIL;
	if (place && place->line > 0)
		return err_set(err, FAIL, "configuration error in line %u of %s:\n  %.*s", place->line,
			       place->file, SLICE_ARG(str_slice(&str)));
	if (place)
		return err_set(err, FAIL, "configuration error in %s:\n  %.*s", place->file,
			       SLICE_ARG(str_slice(&str)));
	return err_set(err, FAIL, "configuration error:\n  %.*s", SLICE_ARG(str_slice(&str)));
}

void conf_warn(struct conf *conf, const struct conf_place *place, const char *format, ...)
{
	struct conf_warning *warning = arena_make(&conf->arena, struct conf_warning);
	struct str str = str_make(&conf->arena);
	va_list args;

	if (!warning)
		return; /* the load is about to fail for want of memory */
	if (place)
		str_printf(&str, "%s line %u: ", place->file, place->line);
	va_start(args, format);
	str_vprintf(&str, format, args);
	va_end(args);
	warning->text = str_slice(&str);
	if (warning->text.ptr)
		list_append(&conf->warnings, &warning->link);
}

/* ---- Making the snapshot
 * --------------------------------------------------------------------------------------- */

static struct conf *conf_new(const struct conf_language *registry)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	struct conf_state *state;

	if (!conf)
		return NULL;
	arena_init(&conf->arena, SNAPSHOT_SIZE_MAX);
	conf->registry = registry;
	conf->language = registry->language;
	conf->refs = 1;
	conf->serial = __atomic_add_fetch(&serial_last, 1, __ATOMIC_RELAXED);
	list_init(&conf->warnings);
	for (unsigned i = 0; i < LIST_KIND_COUNT; i++)
		map_init(&conf->named_lists[i], &conf->arena, false);
	conf->reader = state = arena_make(&conf->arena, struct conf_state);
	if (!state) {
		free(conf);
		return NULL;
	}
	map_init(&state->macros.by_name, &conf->arena, false);
	map_init(&state->macros.builtin, &conf->arena, false);
	map_init(&state->options_by_name, &conf->arena, false);
	map_init(&state->hidden, &conf->arena, false);
	return conf;
}

static void conf_free(struct conf *conf)
{
	for (struct at_free *at = conf_state(conf)->at_free; at; at = at->next)
		at->fn(at->arg);
	arena_done(&conf->arena);
	free(conf);
}

struct conf *conf_ref(struct conf *conf)
{
	/* Whoever takes a reference holds one already, or got it from one who does: nothing to order. */
	__atomic_add_fetch(&conf->refs, 1, __ATOMIC_RELAXED);
	return conf;
}

void conf_unref(struct conf *conf)
{
	/* The one who frees must see what the others did with it before they let go: release there, acquire
	 * here. */
	if (conf && __atomic_sub_fetch(&conf->refs, 1, __ATOMIC_ACQ_REL) == 0)
		conf_free(conf);
}

enum rc conf_at_free(struct conf *conf, void (*fn)(void *arg), void *arg)
{
	struct at_free *at = arena_make(&conf->arena, struct at_free);

	if (!at)
		return FAIL;
	*at = (struct at_free){fn, arg, conf_state(conf)->at_free};
	conf_state(conf)->at_free = at;
	return OK;
}

void conf_row_hide(struct conf *conf, const struct conf_option *option)
{
	struct conf_state *state = conf_state(conf);
	struct slice key = arena_copy(&conf->arena, slice_make((const char *)&option, sizeof(option), CLEAN));

	/* Without memory the load fails anyway: nothing is shown of this snapshot. */
	if (key.ptr)
		(void)!map_set(&state->hidden, key, (void *)option);
}

bool conf_row_hidden(const struct conf *conf, const struct conf_option *option)
{
	return map_get(&conf_state(conf)->hidden, slice_make((const char *)&option, sizeof(option), CLEAN)) !=
	       NULL;
}

/* ---- Expansion while loading
 * ------------------------------------------------------------------------------------- */

static bool early_variable(const struct conf *conf, struct slice name, struct slice *ret)
{
	const struct conf_main *group = conf_main(conf);
	struct slice file = slice_of(conf->file);

	if (slice_eq(name, SLICE("primary_hostname")))
		*ret = group->primary_hostname;
	else if (slice_eq(name, SLICE("spool_directory")))
		*ret = group->spool_directory;
	else if (slice_eq(name, SLICE("qualify_domain")))
		*ret = group->qualify_domain;
	else if (slice_eq(name, SLICE("config_file")))
		*ret = file;
	else if (slice_eq(name, SLICE("config_dir")))
		*ret = slice_sub(file, 0, (size_t)(slice_rfind(file, '/') > 0 ? slice_rfind(file, '/') : 1));
	else
		return false;
	return ret->ptr != NULL;
}

/* Takes $name or ${name} off the front of *rest, which begins with the dollar. */
static bool take_variable(struct slice *rest, struct slice *name_ret)
{
	bool braced = rest->len > 1 && rest->ptr[1] == '{';
	uint32_t start = 1 + braced, at = start;

	while (at < rest->len && (ascii_is_alnum(rest->ptr[at]) || rest->ptr[at] == '_'))
		at++;
	*name_ret = slice_sub(*rest, start, at - start);
	if (at == start || (braced && (at == rest->len || rest->ptr[at] != '}')))
		return false;
	*rest = slice_from(*rest, at + braced);
	return true;
}

enum rc conf_expand_early(struct conf *conf, struct slice text, struct slice *ret, struct err *err)
{
	struct str str = str_make(&conf->arena);
	struct slice rest = text, name = SLICE_EMPTY, value;
	bool known = true;

	while (known && rest.len > 0) {
		const char *dollar = memchr(rest.ptr, '$', rest.len),
			   *slash = memchr(rest.ptr, '\\', rest.len);
		uint32_t plain = dollar ? (uint32_t)(dollar - rest.ptr) : rest.len;

		str_add(&str, slice_sub(rest, 0, plain));
		rest = slice_from(rest, plain);
		known = !slash || (dollar && dollar < slash);
		if (known && dollar) {
			known = take_variable(&rest, &name) && early_variable(conf, name, &value);
			if (known)
				str_add(&str, value);
		}
	}
	if (!known && conf->registry->expand_early)
		return conf->registry->expand_early(conf, text, ret, err);
	if (!known)
		return err_set(err, FAIL, "\"%.*s\" cannot be expanded while the configuration is read",
			       SLICE_ARG(text));
	*ret = str_slice(&str);
	return ret->ptr ? OK : err_memory(err);
}

/* ---- Reading
 * ------------------------------------------------------------------------------------------------------ */

/* The first file of the colon list that exists, by its absolute name. */
static enum rc open_main_file(struct conf_reader *reader, const char *files, struct err *err)
{
	struct slice rest = slice_of(files), item;
	char path[PATH_MAX];

	while (slice_split(&rest, ':', &item)) {
		struct err why = err_make(err ? err->arena : NULL);
		enum rc rc;
		int len;

		item = slice_trim(item);
		if (item.len == 0)
			continue;
		if (item.ptr[0] == '/') {
			len = snprintf(path, sizeof(path), "%.*s", SLICE_ARG(item));
		} else {
			char cwd[PATH_MAX];
			if (!getcwd(cwd, sizeof(cwd)))
				return err_os(err, FAIL, 0, "cannot tell the current directory");
			len = snprintf(path, sizeof(path), "%s/%.*s", cwd, SLICE_ARG(item));
		}
		if (len < 0 || (size_t)len >= sizeof(path))
			return err_set(err, FAIL, "the name of the configuration file is too long");
		rc = input_open(reader, path, NULL, &why);
		if (rc == OK) {
			reader->conf->file = reader->files[0].name;
			return OK;
		}
		if (why.os != ENOENT) {
			if (err)
				*err = why;
			return FAIL;
		}
	}
	return err_set(err, FAIL, "non-existent configuration file(s): %s", files);
}

static enum rc define_args(struct conf_reader *reader, const struct conf_load_options *options,
			   struct err *err)
{
	enum rc rc = OK;

	if (options->macros && options->macros[0] && !options->trusted)
		return err_set(err, FAIL, "only trusted callers may define macros with -D");
	for (const char *const *m = options->macros; rc == OK && m && *m; m++)
		rc = macro_define_arg(reader->conf, &reader->state->macros, *m, err);
	return rc;
}

/* Nobody registered it. The macros between its items still count for what comes after. */
static enum rc skip_section(struct conf_reader *reader, enum conf_section_id id, struct err *err)
{
	bool macros = id != CONF_SECTION_RETRY && id != CONF_SECTION_REWRITE && id != CONF_SECTION_LOCAL_SCAN;
	struct conf_line line;
	enum rc rc = OK;

	conf_warn(reader->conf, &reader->section_place, "section \"%s\" is not yet in effect",
		  conf_section_names[id]);
	while (rc == OK && conf_next_line(reader, &line, err) == OK) {
		if (macros && conf_line_is_macro(&line))
			rc = conf_define_macro(reader, &line, err);
	}
	return rc;
}

static enum rc section_read(struct conf_reader *reader, bool *seen, struct err *err)
{
	struct conf *conf = reader->conf;
	struct slice name = reader->next_section;
	struct conf_place place = reader->section_place;
	const struct conf_section *section;
	unsigned id = 0;

	while (id < CONF_SECTION_COUNT && !slice_eq_nocase(name, slice_of(conf_section_names[id])))
		id++;
	if (id == CONF_SECTION_COUNT) {
		const char *nearest = conf_nearest(name, conf_section_names, CONF_SECTION_COUNT);
		return conf_error(err, &place, "\"%.*s\" is not a known configuration section name%.*s",
				  SLICE_ARG(name), SLICE_ARG(option_hint(conf, nearest)));
	}
	if (seen[id])
		return conf_error(err, &place, "\"%s\" section is repeated in the configuration file",
				  conf_section_names[id]);
	seen[id] = true;
	reader->section_over = false;
	section = conf_section_of(conf, (enum conf_section_id)id);
	if (!section)
		return skip_section(reader, (enum conf_section_id)id, err);
	if (section->drivers)
		return drivers_read(reader, section, err);

	struct err why = err_make(err ? err->arena : NULL);
	enum rc rc = section->read(reader, &conf->sections[id], &why);
	if (rc == OK || !err)
		return rc;
	if (slice_starts(why.text, SLICE("configuration error")))
		*err = why;
	else
		(void)conf_error(err, &reader->line.place, "%.*s", SLICE_ARG(why.text));
	return FAIL;
}

static enum rc check_all(struct conf *conf, struct err *err)
{
	enum rc rc = OK;

	if (conf->registry->groups) {
		for (const struct conf_group *const *g = conf->registry->groups; *g; g++) {
			struct err why = err_make(err ? err->arena : NULL);

			if (!(*g)->check || (*g)->check(conf, conf->groups[(*g)->id], &why) == OK)
				continue;
			if (slice_starts(why.text, SLICE("configuration error")))
				return err_set(err, FAIL, "%.*s", SLICE_ARG(why.text));
			return conf_error(err, &(struct conf_place){conf->file, 0}, "%.*s",
					  SLICE_ARG(why.text));
		}
	}
	if (conf->registry->sections)
		for (const struct conf_section *const *s = conf->registry->sections; rc == OK && *s; s++)
			rc = (*s)->drivers ? drivers_check(conf, *s, err) : OK;
	return rc;
}

static enum rc read_everything(struct conf_reader *reader, const struct conf_load_options *options,
			       struct err *err)
{
	bool seen[CONF_SECTION_COUNT] = {false};
	enum rc rc = main_options_init(reader->conf, err);

	if (rc != OK)
		return rc;
	macro_define_builtins(reader->conf);
	rc = define_args(reader, options, err);
	if (rc == OK)
		rc = open_main_file(reader, options->file, err);
	if (rc == OK)
		rc = main_section_read(reader, err);
	while (rc == OK && !reader->failed && reader->next_section.ptr) {
		rc = section_read(reader, seen, err);
		/* A section's reader that left early: the rest of its lines would be lost in silence. */
		if (rc == OK && !reader->section_over && !reader->failed)
			rc = conf_error(err, &reader->line.place, "unexpected line in this section: %.*s",
					SLICE_ARG(reader->line.text));
	}
	if (reader->failed && err) {
		*err =
		    reader->fault; /* comes first: what a section made of half its lines is of no interest */
		return FAIL;
	}
	if (rc != OK || reader->failed)
		return FAIL;
	return check_all(reader->conf, err);
}

enum rc conf_load(const struct conf_language *registry, const struct conf_load_options *options,
		  struct conf **conf_ret, struct err *err)
{
	/* Too large for the stack of whoever loads. */
	struct conf_reader *reader = calloc(1, sizeof(*reader));
	struct conf *conf = conf_new(registry);
	enum rc rc;

	if (!reader || !conf) {
		free(reader);
		if (conf)
			conf_free(conf);
		return err_memory(err), FAIL;
	}
	reader->conf = conf;
	reader->state = conf_state(conf);
	reader->trusted = options->trusted && !options->check_owner;
	reader->fault = err_make(err ? err->arena : NULL);
	arena_init(&reader->scratch, SNAPSHOT_SIZE_MAX);
	arena_init(&reader->expanding, SNAPSHOT_SIZE_MAX);
	rc = read_everything(reader, options, err);
	arena_done(&reader->expanding);
	arena_done(&reader->scratch);
	free(reader);
	if (rc != OK) {
		conf_free(conf);
		return FAIL;
	}
	*conf_ret = conf;
	return OK;
}
