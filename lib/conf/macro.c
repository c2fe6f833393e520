/* Macros: definition, redefinition, substitution, and the predefined ones that tell a file what this program
 * knows. */

#include <stdio.h>

#include "reader.h"

static bool is_name_char(char c)
{
	return ascii_is_alnum(c) || c == '_';
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

/* Bytes of the name that the text begins with. */
static uint32_t name_len(struct slice text)
{
	uint32_t len = 0;

	while (len < text.len && is_name_char(text.ptr[len]))
		len++;
	return len;
}

bool macro_is_definition(struct slice text)
{
	struct slice rest;

	text = slice_ltrim(text);
	if (text.len == 0 || !is_upper(text.ptr[0]))
		return false;
	rest = slice_ltrim(slice_from(text, name_len(text)));
	return rest.len > 0 && rest.ptr[0] == '=';
}

/* The value of a predefined macro that begins at text's byte `at` as a whole word. */
static const struct macro *builtin_at(const struct macro_table *table, struct slice text, uint32_t at,
				      uint32_t *len_ret)
{
	struct slice name;

	if (text.ptr[at] != '_' || at + 1 >= text.len || !is_upper(text.ptr[at + 1]))
		return NULL;
	if (at > 0 && is_name_char(text.ptr[at - 1]))
		return NULL;
	name = slice_from(text, at);
	name = slice_sub(name, 0, name_len(name));
	*len_ret = name.len;
	return map_get(&table->builtin, name);
}

static struct slice expand_builtins(const struct macro_table *table, struct arena *arena, struct slice text,
				    bool *replaced_ret)
{
	struct str str = str_make(arena);
	uint32_t done = 0, len;
	bool any = false;

	for (uint32_t at = 0; at < text.len; at++) {
		const char *next = memchr(text.ptr + at, '_', text.len - at);
		const struct macro *macro;

		if (!next)
			break;
		at = (uint32_t)(next - text.ptr);
		macro = builtin_at(table, text, at, &len);
		if (!macro)
			continue;
		str_add(&str, slice_sub(text, done, at - done));
		str_add(&str, macro->text);
		done = at + len;
		at = done - 1;
		any = true;
	}
	if (!any)
		return text;
	*replaced_ret = true;
	str_add(&str, slice_from(text, done));
	return str_slice(&str);
}

/* All occurrences of one macro; what was put in is not looked at again for this one. */
static struct slice expand_one(const struct macro *macro, struct arena *arena, struct slice text,
			       bool *replaced_ret)
{
	struct str str;
	const char *hit = memmem(text.ptr, text.len, macro->name.ptr, macro->name.len);

	if (!hit)
		return text;
	*replaced_ret = true;
	str = str_make(arena);
	while (hit) {
		uint32_t before = (uint32_t)(hit - text.ptr);

		str_add(&str, slice_sub(text, 0, before));
		str_add(&str, macro->text);
		if (str.len > CONF_LINE_SIZE_MAX)
			return (struct slice){NULL, 0, CLEAN};
		text = slice_from(text, before + macro->name.len);
		hit = memmem(text.ptr, text.len, macro->name.ptr, macro->name.len);
	}
	str_add(&str, text);
	return str_slice(&str);
}

struct slice macro_expand(const struct macro_table *table, struct arena *arena, struct slice line,
			  bool at_start, bool *replaced_ret)
{
	struct slice head = slice_sub(line, 0, 0), text = line;

	*replaced_ret = false;
	if (at_start && macro_is_definition(line)) {
		uint32_t at = (uint32_t)slice_find(line, '=');

		head = slice_sub(line, 0, at);
		text = slice_from(line, at);
	}
	text = expand_builtins(table, arena, text, replaced_ret);
	for (const struct macro *m = table->first; m && text.ptr; m = m->next)
		text = expand_one(m, arena, text, replaced_ret);
	if (!text.ptr || head.len == 0 || !*replaced_ret)
		return *replaced_ret || !text.ptr ? text : line;

	struct str str = str_make(arena);
	str_add(&str, head);
	str_add(&str, text);
	return str_slice(&str);
}

static struct macro *table_add(struct conf *conf, struct macro_table *table, struct slice name,
			       struct slice text)
{
	struct macro *macro = arena_make(&conf->arena, struct macro);

	if (!macro)
		return NULL;
	macro->name = arena_copy(&conf->arena, name);
	macro->text = arena_copy(&conf->arena, text);
	if (!macro->name.ptr || !macro->text.ptr || !map_set(&table->by_name, macro->name, macro))
		return NULL;
	if (table->last)
		table->last->next = macro;
	else
		table->first = macro;
	table->last = macro;
	table->count++;
	return macro;
}

/* A new name may not contain an older one: the older one's substitution would tear it apart wherever it is
 * used. */
static enum rc define_new(struct conf *conf, struct macro_table *table, struct slice name, struct slice text,
			  const struct conf_place *place, struct err *err)
{
	for (const struct macro *m = table->first; m; m = m->next) {
		if (slice_search(name, m->name) >= 0)
			return conf_error(
			    err, place,
			    "\"%.*s\" cannot be defined as a macro because previously defined macro "
			    "\"%.*s\" is a substring",
			    SLICE_ARG(name), SLICE_ARG(m->name));
	}
	if (table->count >= CONF_MACROS_MAX)
		return conf_error(err, place, "more than %u macros", CONF_MACROS_MAX);
	return table_add(conf, table, name, text) ? OK : err_memory(err);
}

enum rc macro_define(struct conf *conf, struct macro_table *table, struct slice text,
		     const struct conf_place *place, struct err *err)
{
	struct slice name, value;
	struct macro *old;
	bool again;

	text = slice_trim(text);
	if (!macro_is_definition(text))
		return conf_error(err, place, "malformed macro definition");
	name = slice_sub(text, 0, name_len(text));
	value = slice_from(slice_ltrim(slice_from(text, name.len)), 1);
	again = value.len > 0 && value.ptr[0] == '=';
	value = slice_trim(slice_from(value, again));

	old = map_get(&table->by_name, name);
	if (old && old->command_line)
		return OK;
	if (again && !old)
		return conf_error(err, place, "can't redefine an undefined macro \"%.*s\"", SLICE_ARG(name));
	if (old && !again)
		return conf_error(err, place,
				  "macro \"%.*s\" is already defined (use \"==\" if you want to redefine it)",
				  SLICE_ARG(name));
	if (!old)
		return define_new(conf, table, name, value, place, err);
	old->text = arena_copy(&conf->arena, value);
	return old->text.ptr ? OK : err_memory(err);
}

enum rc macro_define_arg(struct conf *conf, struct macro_table *table, const char *arg, struct err *err)
{
	struct slice text = slice_ltrim(slice_of(arg)), name, rest;
	enum rc rc;

	if (text.len == 0 || !is_upper(text.ptr[0]))
		return err_set(err, FAIL, "macro name set by -D must start with an upper case letter");
	name = slice_sub(text, 0, name_len(text));
	rest = slice_trim(slice_from(text, name.len));
	if (rest.len > 0 && rest.ptr[0] != '=')
		return err_set(err, FAIL, "malformed -D option: \"%s\"", arg);
	if (map_get(&table->by_name, name))
		return err_set(err, FAIL, "macro \"%.*s\" is set twice by -D", SLICE_ARG(name));
	rest = slice_trim(slice_from(rest, rest.len > 0));
	rc = define_new(conf, table, name, rest, NULL, err);
	if (rc == OK)
		table->last->command_line = true;
	return rc;
}

/* ---- The predefined ones ----------------------------------------------------------------------------- */

void conf_macro_text(struct conf *conf, const char *name, const char *text)
{
	struct macro_table *table = &conf_state(conf)->macros;
	struct macro *macro;

	if (map_get(&table->builtin, slice_of(name)))
		return;
	macro = arena_make(&conf->arena, struct macro);
	if (!macro)
		return;
	macro->name = arena_copy(&conf->arena, slice_of(name));
	macro->text = arena_copy(&conf->arena, slice_of(text));
	/* Without memory for a predefined macro the load fails soon after, at its first line. */
	if (!macro->name.ptr || !macro->text.ptr || !map_set(&table->builtin, macro->name, macro))
		return;
	if (table->builtin_last)
		table->builtin_last->next = macro;
	else
		table->builtin_first = macro;
	table->builtin_last = macro;
}

void conf_macro(struct conf *conf, const char *name)
{
	conf_macro_text(conf, name, "y");
}

static void define_joined(struct conf *conf, const char *prefix, const char *middle, const char *name)
{
	char text[256];
	int len = snprintf(text, sizeof(text), "%s%s%s%s", prefix, middle, *middle ? "_" : "", name);

	if (len < 0 || (size_t)len >= sizeof(text))
		return;
	for (char *c = text; *c; c++)
		*c = ascii_upper(*c);
	conf_macro(conf, text);
}

void macro_define_options(struct conf *conf, const char *prefix, const char *driver,
			  const struct conf_option *options, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		define_joined(conf, prefix, driver, options[i].name);
}

static void define_section(struct conf *conf, const struct conf_section *section)
{
	static const struct {
		enum conf_section_id id;
		const char *generic, *private, *driver;
	} names[] = {
	    {CONF_SECTION_ROUTERS, "_OPT_ROUTERS_", "_OPT_ROUTER_", "_DRIVER_ROUTER_"},
	    {CONF_SECTION_TRANSPORTS, "_OPT_TRANSPORTS_", "_OPT_TRANSPORT_", "_DRIVER_TRANSPORT_"},
	    {CONF_SECTION_AUTHENTICATORS, "_OPT_AUTHENTICATORS_", "_OPT_AUTHENTICATOR_",
	     "_DRIVER_AUTHENTICATOR_"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (names[i].id != section->id || !section->drivers)
			continue;
		define_joined(conf, names[i].generic, "", "driver");
		macro_define_options(conf, names[i].generic, "", section->generic, section->generic_count);
		for (const struct conf_driver *const *d = section->drivers; *d; d++) {
			define_joined(conf, names[i].driver, "", (*d)->name);
			macro_define_options(conf, names[i].private, (*d)->name, (*d)->options,
					     (*d)->option_count);
		}
	}
}

void macro_define_builtins(struct conf *conf)
{
	struct conf_state *state = conf_state(conf);

	for (unsigned i = 0; i < state->option_count; i++)
		define_joined(conf, "_OPT_MAIN_", "", state->options[i].option->name);
	for (size_t i = 0; i < conf_old_name_count; i++)
		define_joined(conf, "_OPT_MAIN_", "", conf_old_names[i].old);
	if (conf->registry->sections)
		for (const struct conf_section *const *s = conf->registry->sections; *s; s++)
			define_section(conf, *s);
	if (conf->registry->macros)
		conf->registry->macros(conf);
}

enum rc conf_replace_macros(struct conf *conf, struct arena *arena, struct slice text, struct slice *ret,
			    struct err *err)
{
	struct macro_table *table = &conf_state(conf)->macros;
	bool replaced;

	if (macro_is_definition(text)) {
		*ret = SLICE_EMPTY;
		return macro_define(conf, table, text, NULL, err);
	}
	*ret = macro_expand(table, arena, text, true, &replaced);
	return ret->ptr ? OK : err_set(err, FAIL, "the text is too long after its macros have been replaced");
}
