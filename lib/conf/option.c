/* Option settings: "[hide] [no_]name [= value]", from the line to the field of a struct. */

#include <stdio.h>

#include "reader.h"

/* ---- From the line to its parts ------------------------------------------------------------------------ */

enum rc setting_parse(const struct conf_line *line, struct setting *setting_ret, struct err *err)
{
	struct setting setting = {.place = line->place, .value = SLICE_EMPTY};
	struct slice text = line->text;
	uint32_t len = 0;

	while (slice_starts(text, SLICE("hide")) && text.len > 4 && ascii_is_space(text.ptr[4])) {
		setting.hide = true;
		text = slice_ltrim(slice_from(text, 4));
	}
	if (text.len == 0 || !ascii_is_alpha(text.ptr[0]))
		return conf_error(err, &line->place, "option setting expected: %.*s", SLICE_ARG(text));
	while (len < text.len && (ascii_is_alnum(text.ptr[len]) || text.ptr[len] == '_'))
		len++;
	setting.name = setting.plain = slice_sub(text, 0, len);
	text = slice_ltrim(slice_from(text, len));
	if (slice_starts(setting.name, SLICE("no_")))
		setting.plain = slice_from(setting.name, 3);
	else if (slice_starts(setting.name, SLICE("not_")))
		setting.plain = slice_from(setting.name, 4);
	setting.negated = setting.plain.len < setting.name.len;
	setting.rest = text;
	if (text.len > 0 && text.ptr[0] == '=') {
		setting.has_value = true;
		setting.value = slice_trim(slice_from(text, 1));
	}
	*setting_ret = setting;
	return OK;
}

/* One escape of a quoted string off the front of *rest, which stands behind the backslash. */
static char unescape(struct slice *rest)
{
	static const char names[] = "nrtbfv", values[] = "\n\r\t\b\f\v";
	char c = rest->ptr[0];
	const char *name = memchr(names, c, sizeof(names) - 1);
	unsigned value = 0, i = 0;

	*rest = slice_from(*rest, 1);
	if (name)
		return values[name - names];
	if (c >= '0' && c <= '7') {
		value = (unsigned)(c - '0');
		for (i = 1; i < 3 && rest->len > 0 && rest->ptr[0] >= '0' && rest->ptr[0] <= '7'; i++) {
			value = value * 8 + (unsigned)(rest->ptr[0] - '0');
			*rest = slice_from(*rest, 1);
		}
		return (char)value;
	}
	if (c != 'x')
		return c;
	for (; i < 2 && rest->len > 0 && memchr("0123456789abcdefABCDEF", rest->ptr[0], 22); i++) {
		char digit = ascii_lower(rest->ptr[0]);
		value = value * 16 + (unsigned)(ascii_is_digit(digit) ? digit - '0' : digit - 'a' + 10);
		*rest = slice_from(*rest, 1);
	}
	return (char)value;
}

/* "..." with escapes. */
enum rc setting_unquote(struct conf *conf, const struct setting *setting, struct slice *ret, struct err *err)
{
	struct slice rest = slice_from(setting->value, 1);
	struct str str = str_make(&conf->arena);
	bool cut = false;

	if (!str_reserve(&str, setting->value.len))
		return err_memory(err);
	while (rest.len > 0 && rest.ptr[0] != '"') {
		char c = rest.ptr[0];

		rest = slice_from(rest, 1);
		if (c == '\\' && rest.len > 0)
			c = unescape(&rest);
		/* A NUL ends the string for those who know it from C; nobody shall read more than they. */
		cut |= c == 0;
		if (!cut)
			str_addc(&str, c);
	}
	/* As in Exim, the last quote closes the string even if a backslash stands in front of it. */
	if (rest.len == 0 && (setting->value.len == 1 || setting->value.ptr[setting->value.len - 1] != '"'))
		return conf_error(err, &setting->place, "missing quote at end of string value for %.*s",
				  SLICE_ARG(setting->name));
	if (rest.len > 1)
		return conf_error(err, &setting->place, "extra characters follow string value for %.*s",
				  SLICE_ARG(setting->name));
	*ret = str_slice(&str);
	return OK;
}

enum rc conf_word(struct conf *conf, struct slice *rest, struct slice *word_ret)
{
	struct str str = str_make(&conf->arena);

	*rest = slice_ltrim(*rest);
	if (!rest->len)
		return FAIL;
	if (rest->ptr[0] != '"')
		return slice_word(rest, word_ret) ? OK : FAIL;
	if (!str_reserve(&str, rest->len))
		return err_memory(NULL);
	*rest = slice_from(*rest, 1);
	while (rest->len && rest->ptr[0] != '"') {
		char c = rest->ptr[0];

		*rest = slice_from(*rest, 1);
		str_addc(&str, c == '\\' && rest->len ? unescape(rest) : c);
	}
	*rest = slice_from(*rest, 1);
	*word_ret = str_slice(&str);
	return OK;
}

/* ---- From the parts to the field ------------------------------------------------------------------------
 */

static enum rc setting_text(struct conf *conf, const struct setting *setting,
			    const struct conf_option *option, struct slice *ret, struct err *err)
{
	bool boolean = option->type->boolean, anything = option->flags & OPTION_NO_EFFECT;

	if (setting->negated && !boolean && !anything)
		return conf_error(err, &setting->place, "negation prefix applied to a non-boolean option");
	if (!setting->has_value && setting->rest.len > 0)
		return conf_error(err, &setting->place,
				  boolean ? "extra characters follow boolean option %.*s"
					  : "missing '=' after %.*s",
				  SLICE_ARG(setting->name));
	if (setting->negated && setting->has_value)
		return conf_error(err, &setting->place, "extra characters follow boolean option %.*s",
				  SLICE_ARG(setting->name));
	if (!setting->has_value && !boolean && !anything)
		return conf_error(err, &setting->place, "unexpected end of line (data missing) after %.*s",
				  SLICE_ARG(setting->name));
	if (setting->negated)
		*ret = SLICE("no");
	else if (!setting->has_value)
		*ret = SLICE("yes");
	else if (setting->value.len > 0 && setting->value.ptr[0] == '"')
		return setting_unquote(conf, setting, ret, err);
	else
		*ret = setting->value;
	return OK;
}

/* What two settings of a repeatable option mean together. */
static struct slice join(struct conf *conf, const struct conf_option *option, struct slice before,
			 struct slice text)
{
	const char *between = "\n";

	if (strcmp(option->name, "condition") == 0)
		return arena_printf(&conf->arena, "${if and{{bool_lax{%.*s}}{bool_lax{%.*s}}}}",
				    SLICE_ARG(before), SLICE_ARG(text));
	if (strcmp(option->name, "headers_remove") == 0)
		between = ":";
	else if (strcmp(option->name, "set") == 0)
		between = ";";
	return arena_printf(&conf->arena, "%.*s%s%.*s", SLICE_ARG(before), between, SLICE_ARG(text));
}

/* A setting that turns off what is not there anyway ("hosts_try_prdr = :", "no_x", the default) needs no warning. */
static bool asks_for_something(const struct conf_option *option, struct slice text)
{
	text = slice_trim(text);
	if (option->default_text && slice_eq(text, slice_of(option->default_text)))
		return false;
	if (option->type->boolean)
		return !slice_eq(text, SLICE("no")) && !slice_eq(text, SLICE("false"));
	return text.len > 0 && !slice_eq(text, SLICE(":"));
}

enum rc option_apply(struct conf *conf, const struct setting *setting, struct option_slot *slot,
		     struct err *err)
{
	const struct conf_option *option = slot->option;
	struct slice text;
	struct err why = err_make(&conf->arena);
	enum rc rc;

	if (*slot->set && !(option->flags & OPTION_REPEATABLE))
		return conf_error(err, &setting->place, "\"%s\" option set for the second time",
				  option->name);
	rc = setting_text(conf, setting, option, &text, err);
	if (rc != OK)
		return rc;
	if (*slot->set)
		text = join(conf, option, *slot->text, text);
	if (!text.ptr)
		return err_memory(err);
	if ((option->flags & (OPTION_NO_EFFECT | OPTION_LATER)) && asks_for_something(option, text))
		conf_warn(conf, &setting->place, "option \"%s\" has no effect%s%s", option->name,
			  option->help ? ": " : "", option->help ? option->help : "");
	rc = option->type->read(conf, option, text, slot->field, &why);
	if (rc != OK)
		return conf_error(err, &setting->place, "%.*s", SLICE_ARG(why.text));
	*slot->set = true;
	*slot->text = text;
	return OK;
}

enum rc option_default(struct conf *conf, const struct conf_option *option, void *field, struct err *err)
{
	if (!option->default_text) {
		if (option->type->unset)
			memcpy(field, option->type->unset, option->type->size);
		else
			memset(field, 0, option->type->size);
		return OK;
	}
	if (option->type->read(conf, option, slice_of(option->default_text), field, err) != OK) {
		err_prefix(err, "default of option \"%s\"", option->name);
		return FAIL;
	}
	return OK;
}

const struct conf_option *option_find(const struct conf_option *options, unsigned count, struct slice name)
{
	for (unsigned i = 0; i < count; i++) {
		if (slice_eq(name, slice_of(options[i].name)))
			return &options[i];
	}
	return NULL;
}

/* ---- "Did you mean" --------------------------------------------------------------------------------------
 */

#define NEAREST_LEN_MAX 64

/* Edits from one word to the other: letters added, dropped, changed, or two neighbours swapped. */
static unsigned edit_distance(struct slice a, struct slice b)
{
	unsigned rows[3][NEAREST_LEN_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];

	for (unsigned j = 0; j <= b.len; j++)
		last[j] = j;
	for (unsigned i = 1; i <= a.len; i++) {
		unsigned *spare = before;

		now[0] = i;
		for (unsigned j = 1; j <= b.len; j++) {
			unsigned best = last[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[b.len];
}

const char *conf_nearest(struct slice word, const char *const *names, size_t count)
{
	const char *nearest = NULL;
	unsigned best;

	/* Every word of two letters is near to some other. */
	if (word.len < 3 || word.len > NEAREST_LEN_MAX)
		return NULL;
	best = word.len < 8 ? 1 : word.len < 13 ? 2 : 3; /* more than that is another word */
	for (size_t i = 0; i < count; i++) {
		struct slice name = slice_of(names[i]);
		unsigned distance;

		if (name.len > NEAREST_LEN_MAX)
			continue;
		distance = edit_distance(word, name);
		if (distance < best || (distance == best && !nearest)) {
			best = distance;
			nearest = names[i];
		}
	}
	return nearest;
}

struct slice option_hint(struct conf *conf, const char *nearest)
{
	if (!nearest)
		return SLICE_EMPTY;
	return arena_printf(&conf->arena, "; did you mean \"%s\"?", nearest);
}
