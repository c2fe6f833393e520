/* Sections of driver instances (routers, transports, authenticators): "name:", then settings. The lines of an
 * instance are collected first, so that "driver = x" may stand anywhere among them. */

#include <stdio.h>
#include <stdlib.h>

#include "reader.h"

/* One instance while it is being read. */
struct collected {
	struct slice name;
	struct conf_place place;
	struct conf_line *lines;
	unsigned count, room;
};
struct drivers {
	struct conf_reader *reader;
	const struct conf_section *section;
	const char *word; /* "router" */
	void **items;
	unsigned count, room;
	struct map names;
};

/* "routers" gives "router". */
static const char *singular(struct arena *arena, const char *name)
{
	struct slice word = slice_of(name);

	if (word.len > 1 && word.ptr[word.len - 1] == 's')
		word.len--;
	return arena_cstr(arena, word);
}

static bool starts_instance(const struct conf_line *line, struct slice *name_ret, struct slice *rest_ret)
{
	struct slice text = line->text;
	uint32_t len = 0;

	if (!ascii_is_alpha(text.ptr[0]))
		return false;
	while (len < text.len && (ascii_is_alnum(text.ptr[len]) || text.ptr[len] == '_'))
		len++;
	*name_ret = slice_sub(text, 0, len);
	text = slice_ltrim(slice_from(text, len));
	if (text.len == 0 || text.ptr[0] != ':')
		return false;
	*rest_ret = slice_trim(slice_from(text, 1));
	return true;
}

static bool grow(struct arena *arena, void **items, unsigned count, unsigned *room, size_t size)
{
	void *more;

	if (count < *room)
		return true;
	more = arena_alloc_array(arena, *room ? *room * 2 : 16, size, 16);
	if (!more)
		return false;
	if (count > 0)
		memcpy(more, *items, count * size);
	*items = more;
	*room = *room ? *room * 2 : 16;
	return true;
}

/* ---- Making an instance
 * ------------------------------------------------------------------------------------ */

static const struct conf_driver *driver_find(const struct conf_section *section, struct slice name)
{
	for (const struct conf_driver *const *d = section->drivers; *d; d++) {
		if (slice_eq(name, slice_of((*d)->name)))
			return *d;
	}
	return NULL;
}

static const char *nearest_driver(const struct conf_section *section, struct slice name)
{
	const char *names[64];
	size_t count = 0;

	for (const struct conf_driver *const *d = section->drivers; *d && count < ARRAY_COUNT(names); d++)
		names[count++] = (*d)->name;
	return conf_nearest(name, names, count);
}

static enum rc choose_driver(const struct drivers *drivers, const struct collected *collected,
			     const struct conf_driver **driver_ret, struct err *err)
{
	struct conf *conf = drivers->reader->conf;
	const struct conf_driver *driver = NULL;
	struct setting setting;

	for (unsigned i = 0; i < collected->count; i++) {
		const struct conf_line *line = &collected->lines[i];
		enum rc rc = setting_parse(line, &setting, err);

		if (rc != OK)
			return rc;
		if (!slice_eq(setting.name, SLICE("driver")))
			continue;
		if (driver)
			return conf_error(err, &line->place, "\"driver\" option set for the second time");
		if (!setting.has_value)
			return conf_error(err, &line->place,
					  "unexpected end of line (data missing) after driver");
		if (setting.value.len > 0 && setting.value.ptr[0] == '"') {
			rc = setting_unquote(conf, &setting, &setting.value, err);
			if (rc != OK)
				return rc;
		}
		driver = driver_find(drivers->section, setting.value);
		if (!driver)
			return conf_error(
			    err, &line->place, "%s %.*s: cannot find %s driver \"%.*s\"%.*s", drivers->word,
			    SLICE_ARG(collected->name), drivers->word, SLICE_ARG(setting.value),
			    SLICE_ARG(option_hint(conf, nearest_driver(drivers->section, setting.value))));
	}
	if (!driver)
		return conf_error(err, &collected->place, "no driver defined for %s \"%.*s\"", drivers->word,
				  SLICE_ARG(collected->name));
	*driver_ret = driver;
	return OK;
}

static const char *nearest_option(const struct conf_section *section, const struct conf_driver *driver,
				  struct slice name)
{
	const char *names[256];
	size_t count = 0;

	for (unsigned i = 0; i < section->generic_count && count < ARRAY_COUNT(names); i++)
		names[count++] = section->generic[i].name;
	for (unsigned i = 0; i < driver->option_count && count < ARRAY_COUNT(names); i++)
		names[count++] = driver->options[i].name;
	return conf_nearest(name, names, count);
}

/* The row of that name, private ones first, and its number among all; an alias gives the row it stands for.
 */
static const struct conf_option *find_row(const struct conf_section *section,
					  const struct conf_driver *driver, struct slice name,
					  unsigned *number_ret)
{
	const struct conf_option *options = driver->options,
				 *row = option_find(options, driver->option_count, name);
	unsigned count = driver->option_count, base = section->generic_count;

	if (!row) {
		options = section->generic;
		count = base;
		base = 0;
		row = option_find(options, count, name);
	}
	if (!row)
		return NULL;
	for (unsigned i = 0; (row->flags & OPTION_ALIAS) && i < count; i++) {
		if (options[i].offset == row->offset &&
		    !(options[i].flags & (OPTION_ALIAS | OPTION_NO_EFFECT)))
			row = &options[i];
	}
	*number_ret = base + (unsigned)(row - options);
	return row;
}

static enum rc apply_line(const struct drivers *drivers, struct conf_instance *instance,
			  const struct conf_line *line, uint8_t *was_set, struct slice *texts,
			  struct err *err)
{
	struct conf *conf = drivers->reader->conf;
	const struct conf_driver *driver = instance->driver;
	const struct conf_option *row;
	struct setting setting;
	unsigned number;
	bool set;
	enum rc rc = setting_parse(line, &setting, err);

	if (rc != OK)
		return rc;
	row = find_row(drivers->section, driver, setting.name, &number);
	if (row)
		setting.negated = false;
	else if (slice_eq(setting.name, SLICE("driver")))
		return OK;
	else if (setting.negated)
		row = find_row(drivers->section, driver, setting.plain, &number);
	if (!row)
		return conf_error(
		    err, &line->place, "option \"%.*s\" unknown%.*s", SLICE_ARG(setting.plain),
		    SLICE_ARG(option_hint(conf, nearest_option(drivers->section, driver, setting.plain))));
	if (setting.hide)
		conf_row_hide(conf, row);

	void *field = (char *)instance + row->offset;
	if (row->flags & OPTION_NO_EFFECT)
		field = arena_alloc(&drivers->reader->scratch, row->type->size, 16);
	if (!field)
		return err_memory(err);
	set = was_set[number];
	struct option_slot slot = {row, field, &set, &texts[number]};
	rc = option_apply(conf, &setting, &slot, err);
	was_set[number] = set;
	return rc;
}

static enum rc defaults(struct conf *conf, const struct conf_option *options, unsigned count, char *bytes,
			struct err *err)
{
	enum rc rc = OK;

	for (unsigned i = 0; rc == OK && i < count; i++) {
		if (!(options[i].flags & (OPTION_NO_EFFECT | OPTION_ALIAS)))
			rc = option_default(conf, &options[i], bytes + options[i].offset, err);
	}
	return rc;
}

static enum rc make_instance(struct drivers *drivers, const struct collected *collected, struct err *err)
{
	struct conf *conf = drivers->reader->conf;
	const struct conf_section *section = drivers->section;
	const struct conf_driver *driver = NULL;
	struct conf_instance *instance;
	unsigned rows;
	uint8_t *was_set;
	struct slice *texts;
	enum rc rc = choose_driver(drivers, collected, &driver, err);

	if (rc != OK)
		return rc;
	rows = section->generic_count + driver->option_count;
	ASSERT(driver->size >= section->head_size && section->head_size >= sizeof(struct conf_instance));
	instance = arena_alloc(&conf->arena, driver->size, 16);
	was_set = arena_alloc(&conf->arena, rows + 1, 1);
	texts = arena_array(&drivers->reader->scratch, struct slice, rows + 1);
	if (!instance || !was_set || !texts)
		return err_memory(err);
	*instance = (struct conf_instance){collected->name, driver, collected->place, was_set};
	rc = defaults(conf, section->generic, section->generic_count, (char *)instance, err);
	if (rc == OK)
		rc = defaults(conf, driver->options, driver->option_count, (char *)instance, err);
	for (unsigned i = 0; rc == OK && i < collected->count; i++)
		rc = apply_line(drivers, instance, &collected->lines[i], was_set, texts, err);
	if (rc != OK)
		return rc;
	if (!grow(&conf->arena, (void **)&drivers->items, drivers->count, &drivers->room, sizeof(void *)) ||
	    !map_set(&drivers->names, instance->name, instance))
		return err_memory(err);
	drivers->items[drivers->count++] = instance;
	return OK;
}

/* ---- The section
 * --------------------------------------------------------------------------------------------- */

static enum rc begin_instance(struct drivers *drivers, const struct conf_line *line, struct slice name,
			      struct slice rest, struct collected *collected, struct err *err)
{
	if (rest.len > 0)
		return conf_error(err, &line->place, "extra characters follow driver name %.*s",
				  SLICE_ARG(name));
	if (map_get(&drivers->names, name))
		return conf_error(err, &line->place, "there are two %s called \"%.*s\"",
				  drivers->section->name, SLICE_ARG(name));
	*collected = (struct collected){.name = name, .place = line->place};
	return OK;
}

/* The lines of one section; an instance is made as soon as its last line has been seen. */
enum rc drivers_read(struct conf_reader *reader, const struct conf_section *section, struct err *err)
{
	struct drivers drivers = {.reader = reader, .section = section};
	struct collected now = {.name = SLICE_EMPTY};
	struct slice name, rest;
	struct conf_line line;
	enum rc rc = OK;

	drivers.word = singular(&reader->scratch, section->name);
	if (!drivers.word)
		return err_memory(err);
	map_init(&drivers.names, &reader->scratch, false);
	while (rc == OK && conf_next_line(reader, &line, err) == OK) {
		bool starts = starts_instance(&line, &name, &rest),
		     macro = !starts && conf_line_is_macro(&line);

		if (starts || macro) {
			if (now.name.len > 0)
				rc = make_instance(&drivers, &now, err);
			now.name = SLICE_EMPTY;
			if (rc == OK)
				rc = macro ? conf_define_macro(reader, &line, err)
					   : begin_instance(&drivers, &line, name, rest, &now, err);
		} else if (now.name.len == 0) {
			rc = conf_error(err, &line.place, "%s name missing", drivers.word);
		} else if (!grow(&reader->scratch, (void **)&now.lines, now.count, &now.room, sizeof(line))) {
			rc = err_memory(err);
		} else {
			now.lines[now.count++] = line;
		}
	}
	if (rc == OK && now.name.len > 0 && !reader->failed)
		rc = make_instance(&drivers, &now, err);
	reader->state->instances[section->id] = (struct conf_instances){drivers.items, drivers.count};
	reader->conf->sections[section->id] = &reader->state->instances[section->id];
	return rc;
}

/* The section's check and the driver's, for each instance, when the whole file is known. */
enum rc drivers_check(struct conf *conf, const struct conf_section *section, struct err *err)
{
	const struct conf_instances *instances = conf_instances(conf, section->id);

	for (unsigned i = 0; i < instances->count; i++) {
		struct conf_instance *instance = instances->items[i];
		struct err why = err_make(&conf->arena);
		enum rc rc = section->check ? section->check(conf, instance, &why) : OK;

		if (rc == OK && instance->driver->check)
			rc = instance->driver->check(conf, instance, &why);
		if (rc == OK)
			continue;
		if (slice_starts(why.text, SLICE("configuration error")))
			return err_set(err, FAIL, "%.*s", SLICE_ARG(why.text));
		return conf_error(err, &instance->place, "%.*s %s:\n  %.*s", SLICE_ARG(instance->name),
				  singular(&conf->arena, section->name), SLICE_ARG(why.text));
	}
	return OK;
}

const struct conf_instances *conf_instances(const struct conf *conf, enum conf_section_id id)
{
	return &conf_state(conf)->instances[id];
}

void *conf_instance_find(const struct conf *conf, enum conf_section_id id, struct slice name)
{
	const struct conf_instances *instances = conf_instances(conf, id);

	for (unsigned i = 0; i < instances->count; i++) {
		struct conf_instance *instance = instances->items[i];
		if (slice_eq(name, instance->name))
			return instance;
	}
	return NULL;
}

const struct conf_section *conf_section_of(const struct conf *conf, enum conf_section_id id)
{
	if (conf->registry->sections)
		for (const struct conf_section *const *s = conf->registry->sections; *s; s++)
			if ((*s)->id == id)
				return *s;
	return NULL;
}
