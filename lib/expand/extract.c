/* extract: ${extract in its five forms and ${listextract: fields by name, by number, from lists and from
 * JSON. */

#include "items.h"
#include "tree.h"

static bool is_index(struct slice text, int64_t *number_ret)
{
	struct slice digits = text.len && text.ptr[0] == '-' ? slice_from(text, 1) : text;
	int64_t value = 0;

	if (digits.len == 0)
		return false;
	for (uint32_t i = 0; i < digits.len; i++) {
		if (!ascii_is_digit(digits.ptr[i]))
			return false;
		if (value < INT32_MAX)
			value = value * 10 + (digits.ptr[i] - '0');
	}
	*number_ret = digits.len < text.len ? -value : value;
	return true;
}

/* ---- Named fields: key=value key="value" ------------------------------------------------------------------
 */

/* A value: quoted, with the escapes of the configuration file, or up to white space. */
static struct slice field_value(struct arena *arena, struct slice *rest)
{
	struct slice s = *rest, word = slice_sub(s, 0, 0);
	struct str str;
	uint32_t n;

	if (s.len == 0 || s.ptr[0] != '"') {
		(void)slice_word(rest, &word);
		return word;
	}
	str = str_make(arena);
	str.taint = s.taint;
	for (n = 1; n < s.len && s.ptr[n] != '"'; n++) {
		char c = s.ptr[n];

		if (c == '\\' && n + 1 < s.len) {
			unsigned value = 0, digits = 0;

			c = s.ptr[++n];
			if (c >= '0' && c <= '7') {
				while (digits < 3 && n + digits < s.len && s.ptr[n + digits] >= '0' &&
				       s.ptr[n + digits] <= '7')
					value = value * 8 + (unsigned)(s.ptr[n + digits++] - '0');
				n += digits - 1;
				c = (char)value;
			} else if (c == 'x') {
				while (digits < 2 && n + 1 + digits < s.len &&
				       hex_digit(s.ptr[n + 1 + digits]) >= 0)
					value = value * 16 + (unsigned)hex_digit(s.ptr[n + 1 + digits++]);
				n += digits;
				c = (char)value;
			} else {
				c = c == 'n'   ? '\n'
				    : c == 'r' ? '\r'
				    : c == 't' ? '\t'
				    : c == 'b' ? '\b'
				    : c == 'f' ? '\f'
				    : c == 'v' ? '\v'
					       : c;
			}
		}
		str_addc(&str, c);
	}
	*rest = slice_from(s, n < s.len ? (size_t)n + 1 : s.len);
	return str_slice(&str);
}

static bool field_named(struct arena *arena, struct slice text, struct slice key, struct slice *ret)
{
	struct slice name, value;
	uint32_t n;

	for (;;) {
		text = slice_ltrim(text);
		if (text.len == 0)
			return false;
		for (n = 0; n < text.len && text.ptr[n] != '=' && !ascii_is_space(text.ptr[n]); n++)
			;
		name = slice_sub(text, 0, n);
		text = slice_ltrim(slice_from(text, n));
		if (text.len && text.ptr[0] == '=')
			text = slice_ltrim(slice_from(text, 1));
		value = field_value(arena, &text);
		if (slice_eq_nocase(name, key)) {
			*ret = value;
			return true;
		}
	}
}

/* ---- Numbered fields --------------------------------------------------------------------------------------
 */

static uint32_t field_end(struct slice text, uint32_t from, struct slice separators)
{
	while (from < text.len && slice_find(separators, text.ptr[from]) < 0)
		from++;
	return from;
}

static bool field_numbered(struct slice text, int64_t number, struct slice separators, struct slice *ret)
{
	int64_t count = 1;
	uint32_t from = 0, end;

	if (number == 0) {
		*ret = text;
		return true;
	}
	if (number < 0) {
		for (uint32_t i = 0; i < text.len; i++)
			count += slice_find(separators, text.ptr[i]) >= 0;
		number += count + 1;
		if (number < 1)
			return false;
	}
	for (;;) {
		end = field_end(text, from, separators);
		if (--number == 0) {
			*ret = slice_sub(text, from, end - from);
			return true;
		}
		if (end == text.len)
			return false;
		from = end + 1;
	}
}

/* ---- JSON -------------------------------------------------------------------------------------------------
 */

static enum rc json_missing(char open, char close, const char *what, struct slice text, struct err *err)
{
	struct slice s = slice_trim(text);

	return err_set(err, FAIL, "missing '%c' wrapping %s for extract json",
		       s.len && s.ptr[0] == open ? close : open, what);
}

static enum rc json_element(struct slice text, int64_t number, bool *found, struct slice *ret,
			    struct err *err)
{
	if (number <= 0)
		return err_set(err, FAIL, "first argument of \"extract\" must be greater than zero");
	if (!json_inside(text, '[', ']', &text))
		return json_missing('[', ']', "array", text, err);
	*found = false;
	while (json_next(&text, ret))
		if (--number == 0) {
			*found = true;
			break;
		}
	return OK;
}

static enum rc json_member(struct slice text, struct slice key, bool *found, struct slice *ret,
			   struct err *err)
{
	struct slice member, name;
	uint32_t n;

	if (!json_inside(text, '{', '}', &text))
		return json_missing('{', '}', "object", text, err);
	*found = false;
	while (json_next(&text, &member)) {
		if (member.len == 0 || member.ptr[0] != '"')
			return err_set(err, FAIL, "missing '\"' wrapping string key for extract json");
		for (n = 1; n < member.len && member.ptr[n] != '"'; n++)
			n += member.ptr[n] == '\\';
		name = slice_sub(member, 1, n > 1 ? n - 1 : 0);
		if (!slice_eq(name, key))
			continue;
		member = slice_ltrim(slice_from(member, (size_t)n + 1));
		if (member.len == 0 || member.ptr[0] != ':')
			return err_set(err, FAIL, "missing object value-separator for extract json");
		*ret = slice_trim(slice_from(member, 1));
		*found = true;
		break;
	}
	return OK;
}

/* ---- ${extract --------------------------------------------------------------------------------------------
 */

/* How many arguments there are before {yes}{no} is known only when the first one has been evaluated: a name
 * or a number. So all braces are taken as they come, up to five, and told apart then. */
#define EXTRACT_ARGS_MAX 5

static enum rc extract_parse(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	const struct expansion **args = arena_array(parse->arena, const struct expansion *, EXTRACT_ARGS_MAX);
	struct slice before;
	enum rc rc;

	if (!args)
		return err_memory(err);
	call->args = args;
	before = parse->rest;
	call->option = expand_parse_word(parse);
	if (!slice_eq(call->option, SLICE("json")) && !slice_eq(call->option, SLICE("jsons"))) {
		parse->rest = before;
		call->option = SLICE_EMPTY;
	}
	while (call->arg_count < EXTRACT_ARGS_MAX && expand_parse_at_brace(parse)) {
		rc = expand_parse_arg(parse, &args[call->arg_count], err);
		if (rc != OK)
			return rc;
		call->arg_count++;
	}
	parse_skip_space(parse);
	if (call->arg_count == 0)
		return err_set(err, FAIL, "missing '{' for arg 1 of extract");
	if (parse_take(parse, '}'))
		return OK;
	if (!slice_eq(parse_name(parse, "_"), SLICE("fail")) || call->arg_count < 3)
		return err_set(err, FAIL, "syntax error in \"extract\" item - \"fail\" expected");
	call->no_fails = true;
	parse_skip_space(parse);
	return parse_take(parse, '}') ? OK : err_set(err, FAIL, "missing } at end of \"extract\"");
}

/* The work of one ${extract. */
struct extract {
	struct slice key, separators, text;
	int64_t number;
	bool numbered;
	unsigned used; /* arguments that are not {yes}{no} */
};

static enum rc extract_args(struct scope *sc, const struct expand_call *call, struct extract *x,
			    struct err *err)
{
	enum rc rc = expand(sc, call->args[0], &x->key, err);

	if (rc != OK)
		return rc;
	x->key = slice_trim(x->key);
	if (x->key.len == 0)
		return err_set(err, FAIL, "first argument of \"extract\" must not be empty");
	x->numbered = is_index(x->key, &x->number);
	x->used = x->numbered && !call->option.len ? 3 : 2;
	if (call->arg_count < x->used)
		return err_set(err, FAIL, "missing '{' for arg %u of extract", call->arg_count + 1);
	if (call->arg_count > x->used + 2 || (call->no_fails && call->arg_count != x->used + 1))
		return err_set(err, FAIL,
			       "curly-bracket problem in conditional yes/no parsing: did not close with '}'");
	if (x->used == 3)
		rc = expand(sc, call->args[1], &x->separators, err);
	return rc == OK ? expand(sc, call->args[x->used - 1], &x->text, err) : rc;
}

static enum rc extract_find(struct scope *sc, const struct expand_call *call, const struct extract *x,
			    bool *found, struct slice *ret, struct err *err)
{
	enum rc rc;

	if (!call->option.len) {
		*found = x->numbered ? field_numbered(x->text, x->number, x->separators, ret)
				     : field_named(sc->task->arena, x->text, x->key, ret);
		return !*found || ret->ptr ? OK : err_memory(err);
	}
	rc = x->numbered ? json_element(x->text, x->number, found, ret, err)
			 : json_member(x->text, x->key, found, ret, err);
	if (rc == OK && *found && call->option.len == 5 && !json_unquote(*ret, ret))
		return err_set(err, FAIL, "missing '\"' wrapping string result for extract jsons");
	return rc;
}

static enum rc extract_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			    struct err *err)
{
	struct expand_call shape = {.item = call->item, .name = call->name, .no_fails = call->no_fails};
	struct extract x = {.separators = SLICE_EMPTY};
	struct slice value = SLICE_EMPTY;
	bool found = false;
	enum rc rc = extract_args(sc, call, &x, err);

	if (rc == OK)
		rc = extract_find(sc, call, &x, &found, &value, err);
	if (rc != OK)
		return rc;
	shape.yes = call->arg_count > x.used ? call->args[x.used] : NULL;
	shape.no = call->arg_count > x.used + 1 ? call->args[x.used + 1] : NULL;
	return expand_yes_no(sc, &shape, found, value, ret, err);
}

const struct expand_item item_extract = {"extract", 1, EXTRACT_ARGS_MAX, 0, extract_eval, extract_parse};

/* ---- ${listextract ----------------------------------------------------------------------------------------
 */

static enum rc list_element(struct scope *sc, struct slice list, int64_t number, bool *found,
			    struct slice *ret, struct err *err)
{
	struct slice rest = list, item;
	char separator = 0;
	int64_t count = 0;

	*found = false;
	if (number < 0) {
		while (list_next(sc->task->arena, &rest, &separator, &item))
			count++;
		number += count + 1;
		rest = list;
		separator = 0;
	}
	while (number > 0 && list_next(sc->task->arena, &rest, &separator, &item)) {
		if (!item.ptr)
			return err_memory(err);
		if (--number == 0) {
			*ret = item;
			*found = true;
		}
	}
	return OK;
}

static enum rc listextract_parse(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	const struct expansion **args = arena_array(parse->arena, const struct expansion *, 2);
	enum rc rc;

	if (!args)
		return err_memory(err);
	call->args = args;
	for (; call->arg_count < 2; call->arg_count++) {
		if (!expand_parse_at_brace(parse))
			return err_set(err, FAIL, "missing '{' for arg %u of listextract",
				       call->arg_count + 1);
		rc = expand_parse_arg(parse, &args[call->arg_count], err);
		if (rc != OK)
			return rc;
	}
	return expand_parse_yes_no(parse, call, err);
}

static enum rc listextract_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
				struct err *err)
{
	struct slice key, list, value = SLICE_EMPTY;
	bool found = false;
	int64_t number;
	enum rc rc = expand(sc, call->args[0], &key, err);

	if (rc == OK)
		rc = expand(sc, call->args[1], &list, err);
	if (rc != OK)
		return rc;
	key = slice_trim(key);
	if (key.len == 0)
		return err_set(err, FAIL, "first argument of \"listextract\" must not be empty");
	if (!is_index(key, &number))
		return err_set(err, FAIL, "first argument of \"listextract\" must be numeric");
	rc = list_element(sc, list, number, &found, &value, err);
	return rc == OK ? expand_yes_no(sc, call, found, value, ret, err) : rc;
}

const struct expand_item item_listextract = {"listextract",    2, 2, ITEM_YES_NO, listextract_eval,
					     listextract_parse};
