/* parse: statements from lines. A mistake names file, line and what was expected, and the file is not taken. */
#include "list.h"

const char *const acl_verb_names[] = {"accept", "defer", "deny", "discard", "drop", "require", "warn"};

static enum acl_verb verb_of(struct slice word)
{
	for (unsigned v = 0; v < VERB_NONE; v++)
		if (slice_eq(word, slice_of(acl_verb_names[v])))
			return (enum acl_verb)v;
	return VERB_NONE;
}

static struct slice take_name(struct slice *rest)
{
	struct slice s = slice_ltrim(*rest);
	uint32_t len = 0;

	while (len < s.len && (ascii_is_alnum(s.ptr[len]) || s.ptr[len] == '_'))
		len++;
	*rest = slice_ltrim(slice_from(s, len));
	return slice_sub(s, 0, len);
}

/* The next word; one in double quotes may hold white space, and backslashes as elsewhere in quotes. *ret.ptr NULL: no
 * memory. false: there is none. */
static bool take_word(struct arena *arena, struct slice *rest, struct slice *ret)
{
	struct slice s = slice_ltrim(*rest);
	struct str word = str_make(arena);
	uint32_t i;

	if (!s.len || s.ptr[0] != '"')
		return slice_word(rest, ret);
	for (i = 1; i < s.len && s.ptr[i] != '"'; i++)
		if (s.ptr[i] == '\\' && i + 1 < s.len) {
			i++;
			str_addc(&word, s.ptr[i] == 'n' ? '\n' : s.ptr[i] == 't' ? '\t' : s.ptr[i]);
		} else {
			str_addc(&word, s.ptr[i]);
		}
	*rest = slice_from(s, i < s.len ? i + 1 : i);
	*ret = str_slice(&word);
	if (word.failed)
		ret->ptr = NULL;
	else if (!ret->len)
		*ret = SLICE_EMPTY;
	return true;
}

static enum rc compile_value(struct conf *conf, struct arena *arena, struct acl_item *item)
{
	static const enum conf_list_kind kinds[] = {
	    [VALUE_DOMAINS] = LIST_DOMAIN,
	    [VALUE_HOSTS] = LIST_HOST,
	    [VALUE_ADDRESSES] = LIST_ADDRESS,
	    [VALUE_LOCAL_PARTS] = LIST_LOCAL_PART,
	};
	struct slice rest = item->text, word;

	switch (item->word->value) {
	case VALUE_WORDS:
		while (item->word_count < ARRAY_COUNT(item->words) && take_word(arena, &rest, &word)) {
			if (!word.ptr)
				return DEFER;
			item->words[item->word_count] = expand_compile(conf->language, arena, word);
			if (!item->words[item->word_count++])
				return DEFER;
		}
		return OK;
	case VALUE_EXPAND:
	case VALUE_SET:
		item->value = expand_compile(conf->language, arena, item->text);
		return item->value ? OK : DEFER;
	case VALUE_DOMAINS:
	case VALUE_HOSTS:
	case VALUE_ADDRESSES:
	case VALUE_LOCAL_PARTS:
		item->list = match_compile(conf, arena, kinds[item->word->value], item->text);
		return item->list ? OK : DEFER;
	default:
		return OK;
	}
}

/* "set acl_m_x = ..." : the name. The seeds write "set $acl_m_x", whose $ is forgiven with a remark (C10). */
static enum rc parse_set(struct conf *conf, struct acl_item *item, struct slice *rest, struct err *err)
{
	if (rest->len && rest->ptr[0] == '$') {
		conf_warn(conf, &item->place, "the $ before a variable's name in \"set\" is not needed");
		*rest = slice_from(*rest, 1);
	}
	item->variable = take_name(rest);
	if (slice_starts(item->variable, SLICE("acl_")) && item->variable.len > 5 &&
	    (item->variable.ptr[4] == 'c' || item->variable.ptr[4] == 'm') &&
	    (item->variable.ptr[5] == '_' || ascii_is_digit(item->variable.ptr[5])))
		return OK;
	if (slice_eq(item->variable, SLICE("dkim_verify_status")) ||
	    slice_eq(item->variable, SLICE("dkim_verify_reason")))
		return OK;
	return conf_error(
	    err, &item->place,
	    "invalid variable name after \"set\" in ACL modifier (must begin with \"acl_c\" or \"acl_m\")");
}

static enum rc unknown_word(const struct conf_line *line, struct slice name, struct err *err)
{
	const char *nearest = acl_word_nearest(name);

	return conf_error(err, &line->place, "unknown ACL condition/modifier in \"%.*s\"%s%s%s",
			  SLICE_ARG(line->text), nearest ? "; did you mean \"" : "", nearest ? nearest : "",
			  nearest ? "\"?" : "");
}

/* A value as it will be at every run. */
static bool is_literal(struct slice text)
{
	return slice_find(text, '$') < 0 && slice_find(text, '\\') < 0;
}

/* What can be told of a value before anybody comes to it. */
static enum rc check_value(struct conf *conf, struct acl_item *item, struct err *err)
{
	struct err found = err_make(&conf->arena);
	enum rc rc;

	if (acl_word_unavailable(item->word)) {
		conf_warn(
		    conf, &item->place,
		    "ACL %s \"%s\" is not available in this version: a statement that comes to it defers",
		    item->word->kind == CONDITION ? "condition" : "modifier", item->word->name);
		return OK;
	}
	if (item->word == &acl_word_control) {
		const char *no_effect = acl_control_no_effect(item->text);
		if (no_effect)
			conf_warn(conf, &item->place, "control = %.*s %s", SLICE_ARG(item->text), no_effect);
	}
	if (!is_literal(item->text))
		return OK;
	rc = acl_word_check(item->word, &conf->arena, item->text, &found);
	return rc == FAIL ? conf_error(err, &item->place, "ACL %s \"%s\": %.*s",
				       item->word->kind == CONDITION ? "condition" : "modifier",
				       item->word->name, SLICE_ARG(found.text))
			  : rc;
}

/* What this server does not have is told when the file is read; in an ACL that is known only later, when it is asked for. */
static enum rc check_available(const struct acl_item *item, struct err *err)
{
	struct err why = err_make(err ? err->arena : NULL);
	enum rc rc = expansion_available(item->value, &why);

	if (rc == OK)
		rc = match_list_available(item->list, &why);
	for (unsigned i = 0; rc == OK && i < item->word_count; i++)
		rc = expansion_available(item->words[i], &why);
	return rc == OK
		   ? OK
		   : conf_error(err, &item->place, "ACL \"%s\": %.*s", item->word->name, SLICE_ARG(why.text));
}

static enum rc parse_item(struct conf *conf, struct arena *arena, struct conf_line *line, struct slice rest,
			  enum acl_verb verb, bool at_load, struct acl_item **item_ret, struct err *err)
{
	struct acl_item *item = arena_make(arena, struct acl_item);
	struct slice name;

	if (!item)
		return err_memory(err);
	item->place = line->place;
	rest = slice_ltrim(rest);
	if (rest.len && rest.ptr[0] == '!') {
		item->negated = true;
		rest = slice_ltrim(slice_from(rest, 1));
	}
	name = take_name(&rest);
	item->word = acl_word_find(name);
	if (!item->word)
		return unknown_word(line, name, err);
	if (item->negated && item->word->kind == MODIFIER)
		return conf_error(err, &line->place, "ACL error: negation is not allowed with \"%s\"",
				  item->word->name);
	if (item->word == &acl_word_endpass && verb != VERB_ACCEPT && verb != VERB_DISCARD)
		return conf_error(err, &line->place, "ACL error: \"endpass\" is not allowed with \"%s\"",
				  acl_verb_names[verb]);
	if (item->word->value == VALUE_NONE) {
		if (rest.len)
			return conf_error(err, &line->place, "\"%s\" takes no value", item->word->name);
		*item_ret = item;
		return OK;
	}
	if (item->word->value == VALUE_SET && parse_set(conf, item, &rest, err) != OK)
		return FAIL;
	if (!rest.len || rest.ptr[0] != '=')
		return conf_error(err, &line->place, "\"=\" missing after ACL \"%s\" %s", item->word->name,
				  item->word->kind == CONDITION ? "condition" : "modifier");
	item->text = arena_copy(arena, slice_trim(slice_from(rest, 1)));
	if (!item->text.ptr || compile_value(conf, arena, item) != OK)
		return err_memory(err);
	if (at_load) {
		enum rc rc = check_available(item, err);
		if (rc == OK)
			rc = check_value(conf, item, err);
		if (rc != OK)
			return rc;
	}
	*item_ret = item;
	return OK;
}

/* A line that ends the ACL: the name of the next one, "name:". */
static bool is_label(struct slice text)
{
	struct slice rest = text, name = take_name(&rest);

	return name.len && rest.len == 1 && rest.ptr[0] == ':';
}

enum rc acl_parse(struct conf *conf, struct arena *arena, struct acl_source *source, struct slice name,
		  struct acl_list *list_ret, struct err *err)
{
	const struct acl_statement **statement_end = &list_ret->statements;
	struct acl_statement *statement = NULL;
	const struct acl_item **item_end = NULL;
	struct conf_line line;
	enum rc rc;

	*list_ret = (struct acl_list){.name = name};
	while ((rc = source->next(source, &line, err)) == OK) {
		struct slice rest = line.text, first;
		struct acl_item *item = NULL;
		enum acl_verb verb;

		if (is_label(line.text)) {
			source->unread(source);
			return OK;
		}
		first = take_name(&rest);
		verb = verb_of(first);
		if (verb != VERB_NONE) {
			statement = arena_make(arena, struct acl_statement);
			if (!statement)
				return err_memory(err);
			statement->verb = verb;
			statement->place = line.place;
			*statement_end = statement;
			statement_end = &statement->next;
			item_end = &statement->items;
			if (!rest.len)
				continue;
		} else if (!statement) {
			return conf_error(err, &line.place, "unknown ACL verb \"%.*s\" in \"%.*s\"",
					  SLICE_ARG(first), SLICE_ARG(line.text));
		} else {
			rest = line.text;
		}
		rc = parse_item(conf, arena, &line, rest, statement->verb, source->at_load, &item, err);
		if (rc != OK)
			return rc;
		*item_end = item;
		item_end = &item->next;
	}
	return rc == FAIL && !err->text.len ? OK : rc;
}

/* ---- From memory ---------------------------------------------------------------------------------------------- */

struct text_source {
	struct slice rest, line;
	unsigned number;
	bool again;
	struct arena *arena;
};

static enum rc text_next(struct acl_source *source, struct conf_line *line_ret, struct err *err)
{
	struct text_source *text = source->arg;
	struct slice part;

	(void)err;
	if (!text->again) {
		struct str joined = str_make(text->arena);
		do {
			bool more = true;
			str_clear(&joined);
			/* A backslash at the end of a line continues it, as in files. */
			while (more) {
				if (!slice_split(&text->rest, '\n', &part)) {
					if (!joined.len)
						return FAIL;
					break;
				}
				text->number++;
				part = slice_trim(part);
				more = part.len && part.ptr[part.len - 1] == '\\';
				if (more)
					part.len--;
				str_add(&joined, part);
			}
			text->line = slice_trim(str_slice(&joined));
			if (!text->line.ptr)
				return DEFER;
		} while (!text->line.len || text->line.ptr[0] == '#');
	}
	text->again = false;
	*line_ret = (struct conf_line){.text = text->line, .place = {"inline ACL", text->number}};
	return OK;
}

static void text_unread(struct acl_source *source)
{
	((struct text_source *)source->arg)->again = true;
}

enum rc acl_parse_text(const struct conf *conf, struct arena *arena, struct slice text,
		       struct acl_list *list_ret, struct err *err)
{
	struct text_source from = {.rest = text, .arena = arena};
	struct acl_source source = {text_next, text_unread, &from, false};

	/* The snapshot itself is not changed: warnings are for those who load files, and a text is no file. */
	return acl_parse((struct conf *)conf, arena, &source, SLICE("inline ACL"), list_ret, err);
}

/* ---- The section ------------------------------------------------------------------------------------------------- */

/* A macro definition ends an ACL, as the name of the next one does. */
static enum rc section_next(struct acl_source *source, struct conf_line *line_ret, struct err *err)
{
	enum rc rc = conf_next_line(source->arg, line_ret, err);

	if (rc == OK && conf_line_is_macro(line_ret)) {
		conf_unread_line(source->arg);
		return FAIL;
	}
	return rc;
}

static void section_unread(struct acl_source *source)
{
	conf_unread_line(source->arg);
}

/* What other rooms have to know of a list before it runs, and words that have newer names. */
static void note_words(struct conf *conf, struct acl_section *section, const struct acl_list *list)
{
	for (const struct acl_statement *st = list->statements; st; st = st->next)
		for (const struct acl_item *item = st->items; item; item = item->next) {
			if (item->word != &acl_word_spf && item->word != &acl_word_spf_guess)
				continue;
			section->uses_spf = true;
			if (slice_search(item->text, SLICE("err_temp")) >= 0)
				conf_warn(conf, &item->place,
					  "\"err_temp\" is deprecated, now \"temperror\"");
			if (slice_search(item->text, SLICE("err_perm")) >= 0)
				conf_warn(conf, &item->place,
					  "\"err_perm\" is deprecated, now \"permerror\"");
		}
}

bool acl_uses_spf(const struct conf *conf)
{
	const struct acl_section *section = conf_section(conf, CONF_SECTION_ACL);

	return section && section->uses_spf;
}

static enum rc read_section(struct conf_reader *reader, void **section_ret, struct err *err)
{
	struct conf *conf = conf_reader_conf(reader);
	struct acl_section *section = arena_make(&conf->arena, struct acl_section);
	struct acl_source source = {section_next, section_unread, reader, true};
	struct conf_line line;
	bool macro = false;
	enum rc rc;

	if (!section)
		return err_memory(err);
	map_init(&section->lists, &conf->arena, false);
	while ((rc = conf_next_line(reader, &line, err)) == OK) {
		struct acl_list *list;
		struct slice name;

		if (conf_line_is_macro(&line)) {
			rc = conf_define_macro(reader, &line, err);
			if (rc != OK)
				return rc;
			macro = true;
			continue;
		}
		if (!is_label(line.text))
			return conf_error(
			    err, &line.place, "missing or malformed ACL name: \"%.*s\"%s",
			    SLICE_ARG(line.text),
			    macro ? " (a macro is defined before the name of an ACL, not inside it)" : "");
		macro = false;
		list = arena_make(&conf->arena, struct acl_list);
		name = arena_copy(&conf->arena, slice_rtrim(slice_sub(slice_rtrim(line.text), 0,
								      slice_rtrim(line.text).len - 1)));
		if (!list || !name.ptr)
			return err_memory(err);
		if (map_get(&section->lists, name))
			return conf_error(err, &line.place, "there are two ACLs called \"%.*s\"",
					  SLICE_ARG(name));
		rc = acl_parse(conf, &conf->arena, &source, name, list, err);
		if (rc != OK)
			return rc;
		list->place = line.place;
		note_words(conf, section, list);
		if (!map_set(&section->lists, name, list))
			return err_memory(err);
	}
	if (rc == FAIL && err->text.len)
		return rc;
	*section_ret = section;
	return OK;
}

const struct conf_section acl_conf_section = {.id = CONF_SECTION_ACL, .name = "acl", .read = read_section};
