/* -bP: options, drivers, lists, macros and the file itself, in the form that Exim's users know. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "reader.h"

struct printer {
	const struct conf *conf;
	struct str *out;
	struct arena scratch;
	bool admin, no_names;
};

/* Unprintable bytes as escapes; a backslash stays one. */
static void add_printable(struct str *out, struct slice text)
{
	static const char names[] = "btnvfr"; /* 8 to 13 */

	for (uint32_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c >= 32 && c < 127)
			str_addc(out, (char)c);
		else if (c >= 8 && c <= 13)
			str_printf(out, "\\%c", names[c - 8]);
		else
			str_printf(out, "\\%03o", c);
	}
}

static void print_option(struct printer *p, const char *name, const struct conf_option *option,
			 const void *field, bool hidden)
{
	struct str value = str_make(&p->scratch);
	bool set = option->type->print(option, field, &value);
	struct slice text = str_slice(&value);

	if (!text.ptr)
		p->out->failed = true;
	if ((hidden || (option->flags & OPTION_SECRET)) && !p->admin) {
		str_printf(p->out, "%s%s<value not displayable>\n", p->no_names ? "" : name,
			   p->no_names ? "" : " = ");
		return;
	}
	if (option->type->boolean && set && (slice_eq(text, SLICE("yes")) || slice_eq(text, SLICE("no")))) {
		str_printf(p->out, "%s%s\n", text.ptr[0] == 'n' ? "no_" : "", name);
		return;
	}
	if (!p->no_names)
		str_printf(p->out, "%s =%s", name, option->type->bare && !set ? "" : " ");
	if (set)
		add_printable(p->out, text);
	str_addc(p->out, '\n');
}

static void print_main_option(struct printer *p, const char *name, const struct main_option *option)
{
	if (option->same)
		option = option->same;
	print_option(p, name, option->option, option->field, option->hidden);
}

static void print_main(struct printer *p)
{
	const struct conf_state *state = conf_state(p->conf);

	for (unsigned i = 0; i < state->option_count; i++) {
		if (!(state->options[i].option->flags & OPTION_ALIAS))
			print_main_option(p, state->options[i].option->name, &state->options[i]);
	}
}

/* ---- Drivers
 * --------------------------------------------------------------------------------------------------- */

static int row_by_name(const void *a, const void *b)
{
	return strcmp((*(const struct conf_option *const *)a)->name,
		      (*(const struct conf_option *const *)b)->name);
}

static void print_driver_name(struct printer *p, const struct conf_instance *instance)
{
	str_printf(p->out, "%s%s\n", p->no_names ? "" : "driver = ", instance->driver->name);
}

/* In the order of the alphabet; the generic ones have "driver" among them. */
static void print_rows(struct printer *p, const struct conf_instance *instance,
		       const struct conf_option *options, unsigned count, bool generic)
{
	const struct conf_option **rows = arena_array(&p->scratch, const struct conf_option *, count + 1);
	bool driver_done = !generic;

	if (!rows) {
		p->out->failed = true;
		return;
	}
	for (unsigned i = 0; i < count; i++)
		rows[i] = &options[i];
	qsort(rows, count, sizeof(*rows), row_by_name);
	for (unsigned i = 0; i < count; i++) {
		if (!driver_done && strcmp(rows[i]->name, "driver") >= 0) {
			print_driver_name(p, instance);
			driver_done = true;
		}
		if (strcmp(rows[i]->name, "driver") == 0 ||
		    (rows[i]->flags & (OPTION_ALIAS | OPTION_NO_EFFECT)))
			continue;
		print_option(p, rows[i]->name, rows[i], (const char *)instance + rows[i]->offset,
			     conf_row_hidden(p->conf, rows[i]));
	}
	if (!driver_done)
		print_driver_name(p, instance);
}

static void print_instance(struct printer *p, const struct conf_section *section,
			   const struct conf_instance *instance)
{
	print_rows(p, instance, section->generic, section->generic_count, true);
	print_rows(p, instance, instance->driver->options, instance->driver->option_count, false);
}

/* "routers", "router_list", "router NAME": FAIL when it is none of these, with a text when there is no such
 * instance. */
static enum rc print_section(struct printer *p, enum conf_section_id id, struct slice what, struct err *err)
{
	const struct conf_section *section = conf_section_of(p->conf, id);
	const struct conf_instances *instances = conf_instances(p->conf, id);
	struct slice plural = slice_of(conf_section_names[id]), word = slice_sub(plural, 0, plural.len - 1);
	bool all = slice_eq(what, plural),
	     list = slice_starts(what, word) && slice_eq(slice_from(what, word.len), SLICE("_list"));

	if (slice_starts(what, word) && what.len > word.len && what.ptr[word.len] == ' ') {
		struct slice name = slice_trim(slice_from(what, word.len));
		const struct conf_instance *instance = conf_instance_find(p->conf, id, name);

		if (!instance || !section)
			return err_set(err, FAIL, "%.*s %.*s not found", SLICE_ARG(word), SLICE_ARG(name));
		print_instance(p, section, instance);
		return OK;
	}
	if (!all && !list)
		return FAIL;
	for (unsigned i = 0; i < instances->count; i++) {
		const struct conf_instance *instance = instances->items[i];

		if (list) {
			str_printf(p->out, "%.*s\n", SLICE_ARG(instance->name));
			continue;
		}
		str_printf(p->out, "\n%.*s %.*s:\n", SLICE_ARG(instance->name), SLICE_ARG(word));
		print_instance(p, section, instance);
	}
	return OK;
}

/* ---- Lists, macros, the environment
 * -------------------------------------------------------------------------------- */

static enum rc print_named_lists(struct printer *p, struct slice name, struct err *err)
{
	static const enum conf_list_kind order[] = {LIST_ADDRESS, LIST_DOMAIN, LIST_HOST, LIST_LOCAL_PART};
	static const char *const words[LIST_KIND_COUNT] = {"domain", "host", "address", "localpart"};
	bool found = false;

	for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
		const struct conf_named_list *list = conf_named_list(p->conf, order[i], name);

		if (!list)
			continue;
		found = true;
		if (!p->no_names)
			str_printf(p->out, "%slist %.*s = ", words[order[i]], SLICE_ARG(name));
		if (list->hide && !p->admin)
			str_addz(p->out, "<value not displayable>");
		else
			add_printable(p->out, list->text);
		str_addc(p->out, '\n');
	}
	if (found)
		return OK;
	return err_set(err, FAIL, "no address, domain, host, or local part list called \"%.*s\" exists",
		       SLICE_ARG(name));
}

static void print_macro(struct printer *p, const struct macro *macro, bool text)
{
	str_add(p->out, macro->name);
	if (text) {
		str_addc(p->out, '=');
		add_printable(p->out, macro->text);
	}
	str_addc(p->out, '\n');
}

static enum rc print_macros(struct printer *p, struct slice what, struct err *err)
{
	const struct macro_table *table = &conf_state(p->conf)->macros;
	bool text = !p->no_names && slice_eq(what, SLICE("macros"));

	if (!p->admin)
		return err_set(err, FAIL, "macros are shown to admin users only");
	if (slice_starts(what, SLICE("macro "))) {
		struct slice name = slice_trim(slice_from(what, 6));
		const struct macro *macro = map_get(&table->by_name, name);

		if (!macro)
			macro = map_get(&table->builtin, name);
		if (!macro)
			return err_set(err, FAIL, "macro %.*s not found", SLICE_ARG(name));
		print_macro(p, macro, true);
		return OK;
	}
	for (const struct macro *m = table->builtin_first; m; m = m->next)
		print_macro(p, m, text);
	for (const struct macro *m = table->first; m; m = m->next)
		print_macro(p, m, text);
	return OK;
}

static void print_environment(struct printer *p)
{
	for (char **e = environ; e && *e; e++) {
		struct slice item = slice_of(*e);
		ptrdiff_t equals = slice_find(item, '=');

		if (p->no_names && equals >= 0)
			item = slice_sub(item, 0, (size_t)equals);
		str_add(p->out, item);
		str_addc(p->out, '\n');
	}
}

/* ---- The file as it was read
 * ------------------------------------------------------------------------------------------ */

/* "name:" and nothing behind it: the first line of an ACL or a driver. */
static bool is_label(struct slice text)
{
	uint32_t len = 0;

	while (len < text.len && (ascii_is_alnum(text.ptr[len]) || text.ptr[len] == '_'))
		len++;
	return len > 0 && slice_eq(slice_trim(slice_from(text, len)), SLICE(":"));
}

static enum rc print_config(struct printer *p, struct err *err)
{
	const char *file = NULL;
	int indent = 0; /* of lines below a label */
	bool labels = false, begun = false;

	if (!p->admin)
		return err_set(err, FAIL, "the configuration is shown to admin users only");
	str_printf(p->out, "# sluice configuration (%s)\n", SLUICE_VERSION);
	for (const struct conf_source *s = conf_state(p->conf)->source_first; s; s = s->next) {
		struct slice text = s->line.text;

		if (s->line.place.file != file) {
			file = s->line.place.file;
			str_printf(p->out, "# %u \"%s\"\n", s->line.place.line, file);
		}
		if (slice_starts_nocase(text, SLICE("begin")) && text.len > 5 &&
		    ascii_is_space(text.ptr[5])) {
			struct slice name = slice_trim(slice_from(text, 5));

			labels = !slice_eq_nocase(name, SLICE("retry")) &&
				 !slice_eq_nocase(name, SLICE("rewrite"));
			str_printf(p->out, "\nbegin %.*s\n%s", SLICE_ARG(name), labels ? "" : "\n");
			indent = labels ? 4 : 2;
			begun = true;
			continue;
		}
		if (begun && labels && is_label(text))
			str_printf(p->out, "\n  %.*s\n", SLICE_ARG(text));
		else
			str_printf(p->out, "%*s%.*s\n", indent, "", SLICE_ARG(text));
	}
	return OK;
}

/* ---- Who asks for what
 * --------------------------------------------------------------------------------------------------- */

static enum rc print_word(struct printer *p, struct slice what, struct err *err)
{
	static const enum conf_section_id sections[] = {CONF_SECTION_ROUTERS, CONF_SECTION_TRANSPORTS,
							CONF_SECTION_AUTHENTICATORS};
	const struct main_option *option;
	struct err why = err_make(&p->scratch);

	if (what.len == 0 || slice_eq(what, SLICE("all"))) {
		print_main(p);
		return OK;
	}
	if (what.ptr[0] == '+')
		return print_named_lists(p, slice_from(what, 1), err);
	if (slice_eq(what, SLICE("config")))
		return print_config(p, err);
	if (slice_eq(what, SLICE("config_file")) || slice_eq(what, SLICE("configure_file"))) {
		str_printf(p->out, "%s\n", p->conf->file);
		return OK;
	}
	if (slice_eq(what, SLICE("macros")) || slice_eq(what, SLICE("macro_list")) ||
	    slice_starts(what, SLICE("macro ")))
		return print_macros(p, what, err);
	if (slice_eq(what, SLICE("environment"))) {
		print_environment(p);
		return OK;
	}
	if (slice_eq(what, SLICE("local_scan"))) {
		str_addz(p->out, "local_scan() options are not supported\n");
		return OK;
	}
	for (size_t i = 0; i < ARRAY_COUNT(sections); i++) {
		enum rc rc = print_section(p, sections[i], what, &why);

		if (rc == OK)
			return OK;
		if (why.text.len > 0)
			return err_set(err, FAIL, "%.*s", SLICE_ARG(why.text));
	}
	option = main_option_find(conf_state(p->conf), what);
	for (size_t i = 0; !option && i < conf_old_name_count; i++) {
		if (slice_eq(what, slice_of(conf_old_names[i].old)))
			option = main_option_find(conf_state(p->conf), slice_of(conf_old_names[i].now));
	}
	if (!option)
		return err_set(err, FAIL, "%.*s is not a known option", SLICE_ARG(what));
	print_main_option(p, option->option->name, option);
	return OK;
}

enum rc conf_print(const struct conf *conf, struct slice what, bool admin, bool no_names, struct str *str,
		   struct err *err)
{
	struct printer p = {.conf = conf, .out = str, .admin = admin, .no_names = no_names};
	enum rc rc;

	arena_init(&p.scratch, 0);
	rc = print_word(&p, slice_trim(what), err);
	arena_done(&p.scratch);
	if (rc == OK && str->failed)
		return err_memory(err), FAIL;
	return rc;
}
