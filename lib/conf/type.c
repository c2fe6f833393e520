/* The kinds of values: how each is read from text and shown by -bP. */

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "reader.h"

/* ---- Booleans ----------------------------------------------------------------------------------------- */

bool conf_parse_bool(struct slice text, bool *value_ret)
{
	if (slice_eq_nocase(text, SLICE("true")) || slice_eq_nocase(text, SLICE("yes")))
		*value_ret = true;
	else if (slice_eq_nocase(text, SLICE("false")) || slice_eq_nocase(text, SLICE("no")))
		*value_ret = false;
	else
		return false;
	return true;
}

static enum rc bool_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			 struct err *err)
{
	(void)conf;
	if (text.len == 0) { /* "name =" is the same as "name" */
		*(bool *)field = true;
		return OK;
	}
	if (!conf_parse_bool(text, field))
		return err_set(err, FAIL, "\"%.*s\" is not a valid value for the \"%s\" option",
			       SLICE_ARG(text), option->name);
	return OK;
}

static bool bool_print(const struct conf_option *option, const void *field, struct str *str)
{
	(void)option;
	str_addz(str, *(const bool *)field ? "yes" : "no");
	return true;
}

const struct conf_type conf_bool = {
    .name = "a boolean", .size = sizeof(bool), .read = bool_read, .print = bool_print, .boolean = true};

/* ---- Numbers ------------------------------------------------------------------------------------------ */

enum number { NUMBER_OK, NUMBER_NONE, NUMBER_TOO_BIG, NUMBER_EXTRA };

static unsigned digit_value(char c)
{
	if (ascii_is_digit(c))
		return (unsigned)(c - '0');
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 99;
}

/* Digits of the base (0: as they look) off the front of *text. */
static enum number take_digits(struct slice *text, unsigned base, int64_t *ret)
{
	bool negative = false;
	uint32_t at = 0, first;
	int64_t n = 0;

	if (at < text->len && (text->ptr[at] == '-' || text->ptr[at] == '+'))
		negative = text->ptr[at++] == '-';
	if (base == 0) {
		base = 10;
		if (at < text->len && text->ptr[at] == '0') {
			bool hex = at + 2 < text->len && ascii_lower(text->ptr[at + 1]) == 'x' &&
				   digit_value(text->ptr[at + 2]) < 16;
			base = hex ? 16 : 8;
			at += hex ? 2 : 0;
		}
	}
	for (first = at; at < text->len && digit_value(text->ptr[at]) < base; at++) {
		if (__builtin_mul_overflow(n, (int64_t)base, &n) ||
		    __builtin_add_overflow(n, (int64_t)digit_value(text->ptr[at]), &n))
			return NUMBER_TOO_BIG;
	}
	if (at == first)
		return NUMBER_NONE;
	*text = slice_from(*text, at);
	*ret = negative ? -n : n;
	return NUMBER_OK;
}

static enum number read_integer(struct slice text, int64_t *ret)
{
	enum number result;
	int64_t n, factor = 1;

	text = slice_trim(text);
	result = take_digits(&text, 0, &n);
	if (result != NUMBER_OK)
		return result;
	if (text.len > 0) {
		switch (ascii_lower(text.ptr[0])) {
		case 'k':
			factor = 1024;
			break;
		case 'm':
			factor = 1024 * 1024;
			break;
		case 'g':
			factor = 1024 * 1024 * 1024;
			break;
		}
		text = slice_from(text, factor != 1);
	}
	if (__builtin_mul_overflow(n, factor, &n))
		return NUMBER_TOO_BIG;
	if (text.len > 0)
		return NUMBER_EXTRA;
	*ret = n;
	return NUMBER_OK;
}

bool conf_parse_int(struct slice text, int64_t *number_ret)
{
	return read_integer(text, number_ret) == NUMBER_OK;
}

static enum rc number_error(enum number result, const char *kind, const struct conf_option *option,
			    struct slice text, struct err *err)
{
	switch (result) {
	case NUMBER_TOO_BIG:
		return err_set(err, FAIL, "absolute value of integer \"%.*s\" is too large (overflow)",
			       SLICE_ARG(text));
	case NUMBER_EXTRA:
		return err_set(err, FAIL, "extra characters follow %s value for %s", kind, option->name);
	default:
		return err_set(err, FAIL, "%s expected for %s", kind, option->name);
	}
}

static enum rc size_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			 struct err *err)
{
	enum number result = read_integer(text, field);

	(void)conf;
	return result == NUMBER_OK ? OK : number_error(result, "integer", option, text, err);
}

static enum rc int_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			struct err *err)
{
	int64_t n;
	enum rc rc = size_read(conf, option, text, &n, err);

	if (rc != OK)
		return rc;
	if (n > INT_MAX || n < -INT_MAX)
		return number_error(NUMBER_TOO_BIG, "integer", option, text, err);
	*(int64_t *)field = n;
	return OK;
}

static bool int_print(const struct conf_option *option, const void *field, struct str *str)
{
	(void)option;
	str_printf(str, "%lld", (long long)*(const int64_t *)field);
	return true;
}

static bool size_print(const struct conf_option *option, const void *field, struct str *str)
{
	int64_t n = *(const int64_t *)field;
	const char *unit = "";

	(void)option;
	if (n != 0 && n % 1024 == 0) {
		static const char *const units[] = {"K", "M", "G"};
		for (size_t i = 0; i < ARRAY_COUNT(units) && n % 1024 == 0; i++) {
			n /= 1024;
			unit = units[i];
		}
	}
	str_printf(str, "%lld%s", (long long)n, unit);
	return true;
}

static enum rc octal_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			  struct err *err)
{
	struct slice rest = slice_trim(text);
	enum number result;
	int64_t n;

	(void)conf;
	result = take_digits(&rest, 8, &n);
	if (result == NUMBER_OK && rest.len > 0)
		result = NUMBER_EXTRA;
	if (result == NUMBER_TOO_BIG || (result == NUMBER_OK && (n < 0 || n > INT_MAX)))
		result = NUMBER_NONE;
	if (result != NUMBER_OK)
		return number_error(result, "octal integer", option, text, err);
	*(int64_t *)field = n;
	return OK;
}

static bool octal_print(const struct conf_option *option, const void *field, struct str *str)
{
	(void)option;
	str_printf(str, "%#llo", (unsigned long long)*(const int64_t *)field);
	return true;
}

/* Digits, a point, up to three more: further ones are dropped. */
static enum rc fixed_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			  struct err *err)
{
	struct slice rest = slice_trim(text);
	int64_t whole, part = 0;
	enum number result;

	(void)conf;
	if (rest.len == 0 || !ascii_is_digit(rest.ptr[0]))
		return number_error(NUMBER_NONE, "fixed-point number", option, text, err);
	result = take_digits(&rest, 10, &whole);
	if (result != NUMBER_OK || whole > INT_MAX / 1000)
		return number_error(NUMBER_TOO_BIG, "fixed-point", option, text, err);
	if (rest.len > 0 && rest.ptr[0] == '.') {
		rest = slice_from(rest, 1);
		for (int64_t unit = 100; rest.len > 0 && ascii_is_digit(rest.ptr[0]); unit /= 10) {
			part += unit * (rest.ptr[0] - '0');
			rest = slice_from(rest, 1);
		}
	}
	if (rest.len > 0)
		return number_error(NUMBER_EXTRA, "fixed-point", option, text, err);
	*(int64_t *)field = whole * 1000 + part;
	return OK;
}

static bool fixed_print(const struct conf_option *option, const void *field, struct str *str)
{
	int64_t n = *(const int64_t *)field;

	(void)option;
	if (n < 0)
		return false;
	str_printf(str, "%lld.%03lld", (long long)(n / 1000), (long long)(n % 1000));
	/* At least one digit behind the point. */
	for (int i = 0; i < 2 && !str->failed && str->ptr[str->len - 1] == '0'; i++)
		str->len--;
	return true;
}

/* A plain number of these options counts units of 1024. */
static enum rc space_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			  struct err *err)
{
	enum rc rc = size_read(conf, option, text, field, err);
	int64_t *value = field;

	if (rc != OK || !text.len || !ascii_is_digit(text.ptr[text.len - 1]))
		return rc;
	if (*value > INT64_MAX / 1024)
		return err_set(err, FAIL, "absolute value of integer \"%.*s\" is too large (overflow)",
			       SLICE_ARG(text));
	*value *= 1024;
	return OK;
}

static const int64_t fixed_unset = -1;
const struct conf_type conf_int = {
    .name = "an integer", .size = sizeof(int64_t), .read = int_read, .print = int_print};
const struct conf_type conf_size = {
    .name = "an integer", .size = sizeof(int64_t), .read = size_read, .print = size_print};
const struct conf_type conf_space = {
    .name = "an integer", .size = sizeof(int64_t), .read = space_read, .print = size_print};
const struct conf_type conf_octal = {
    .name = "an octal integer", .size = sizeof(int64_t), .read = octal_read, .print = octal_print};
const struct conf_type conf_fixed = {.name = "a fixed-point number",
				     .size = sizeof(int64_t),
				     .read = fixed_read,
				     .print = fixed_print,
				     .bare = true,
				     .unset = &fixed_unset};

/* ---- Times -------------------------------------------------------------------------------------------- */

bool conf_parse_time(struct slice text, int64_t *seconds_ret)
{
	static const struct {
		char letter;
		int64_t seconds;
	} units[] = {{'w', 7 * 24 * 3600}, {'d', 24 * 3600}, {'h', 3600}, {'m', 60}, {'s', 1}};
	int64_t total = 0, n, factor;
	struct slice rest = slice_trim(text);

	if (rest.len == 0)
		return false;
	while (rest.len > 0) {
		if (!ascii_is_digit(rest.ptr[0]) || take_digits(&rest, 10, &n) != NUMBER_OK || rest.len == 0)
			return false;
		factor = 0;
		for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
			if (units[i].letter == rest.ptr[0])
				factor = units[i].seconds;
		}
		if (factor == 0 || __builtin_mul_overflow(n, factor, &n) ||
		    __builtin_add_overflow(total, n, &total) || total > INT_MAX)
			return false;
		rest = slice_from(rest, 1);
	}
	*seconds_ret = total;
	return true;
}

void conf_print_time(struct str *str, int64_t seconds)
{
	static const struct {
		char letter;
		int64_t seconds;
	} units[] = {{'w', 7 * 24 * 3600}, {'d', 24 * 3600}, {'h', 3600}, {'m', 60}, {'s', 1}};

	if (seconds < 0) {
		str_addc(str, '-');
		seconds = -seconds;
	}
	if (seconds == 0)
		str_addz(str, "0s");
	for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
		if (seconds >= units[i].seconds)
			str_printf(str, "%lld%c", (long long)(seconds / units[i].seconds), units[i].letter);
		seconds %= units[i].seconds;
	}
}

static enum rc time_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			 struct err *err)
{
	(void)conf;
	if (!conf_parse_time(text, field))
		return err_set(err, FAIL, "invalid time value for %s", option->name);
	return OK;
}

static bool time_print(const struct conf_option *option, const void *field, struct str *str)
{
	(void)option;
	conf_print_time(str, *(const int64_t *)field);
	return true;
}

/* A list's separator and what it separates: "<; a ; b", or colons. */
static char list_separator(struct slice *text)
{
	char separator = ':';

	*text = slice_trim(*text);
	if (text->len >= 2 && text->ptr[0] == '<' && !ascii_is_alnum(text->ptr[1]) && text->ptr[1] != ' ') {
		separator = text->ptr[1];
		*text = slice_trim(slice_from(*text, 2));
	}
	return separator;
}

#define TIMELIST_MAX 64
static enum rc timelist_read(struct conf *conf, const struct conf_option *option, struct slice text,
			     void *field, struct err *err)
{
	struct conf_timelist *list = field;
	char separator = list_separator(&text);
	int64_t *seconds = arena_array(&conf->arena, int64_t, TIMELIST_MAX);
	struct slice item;
	unsigned count = 0;

	if (!seconds)
		return err_memory(err);
	while (text.len > 0 && slice_split(&text, separator, &item)) {
		if (count == TIMELIST_MAX)
			return err_set(err, FAIL, "more than %d times in %s", TIMELIST_MAX, option->name);
		if (!conf_parse_time(item, &seconds[count]))
			return err_set(err, FAIL, "invalid time value for %s", option->name);
		if (count > 0 && seconds[count] <= seconds[count - 1])
			return err_set(err, FAIL, "the times of %s are not in ascending order", option->name);
		count++;
	}
	*list = (struct conf_timelist){seconds, count};
	return OK;
}

static bool timelist_print(const struct conf_option *option, const void *field, struct str *str)
{
	const struct conf_timelist *list = field;

	(void)option;
	for (unsigned i = 0; i < list->count; i++) {
		if (i > 0)
			str_addc(str, ':');
		conf_print_time(str, list->seconds[i]);
	}
	return list->count > 0;
}

const struct conf_type conf_time = {
    .name = "a time interval", .size = sizeof(int64_t), .read = time_read, .print = time_print};
const struct conf_type conf_timelist = {.name = "a list of time intervals",
					.size = sizeof(struct conf_timelist),
					.read = timelist_read,
					.print = timelist_print};

/* ---- Strings ------------------------------------------------------------------------------------------ */

static enum rc string_read(struct conf *conf, const struct conf_option *option, struct slice text,
			   void *field, struct err *err)
{
	(void)conf, (void)option, (void)err;
	*(struct slice *)field = text;
	return OK;
}

static bool string_print(const struct conf_option *option, const void *field, struct str *str)
{
	const struct slice *text = field;

	(void)option;
	if (!text->ptr)
		return false;
	str_add(str, *text);
	return true;
}

const struct conf_type conf_string = {
    .name = "a string", .size = sizeof(struct slice), .read = string_read, .print = string_print};

/* ---- Users and groups ---------------------------------------------------------------------------------- */

/* A number, or a name that the system knows. getpwnam() may ask a directory server: loading may block. */
static bool find_id(struct slice name, bool group, uint32_t *id_ret)
{
	char text[256];
	uint64_t number;

	if (parse_u64(name, &number)) {
		*id_ret = (uint32_t)number;
		return number < UINT32_MAX;
	}
	if (name.len == 0 || name.len >= sizeof(text))
		return false;
	memcpy(text, name.ptr, name.len);
	text[name.len] = 0;

	long hint = sysconf(_SC_GETPW_R_SIZE_MAX);
	size_t size = hint > 0 ? (size_t)hint : 16384;
	bool found = false;
	for (char *bytes = NULL; size <= 1024 * 1024; size *= 4) {
		struct passwd pw, *pw_found = NULL;
		struct group gr, *gr_found = NULL;
		char *more = realloc(bytes, size);
		int rc;

		if (!more) {
			free(bytes);
			return false;
		}
		bytes = more;
		rc = group ? getgrnam_r(text, &gr, bytes, size, &gr_found)
			   : getpwnam_r(text, &pw, bytes, size, &pw_found);
		found = gr_found || pw_found;
		if (found)
			*id_ret = group ? gr.gr_gid : pw.pw_uid;
		if (rc != ERANGE) {
			free(bytes);
			break;
		}
	}
	return found;
}

static enum rc owner_read(struct slice text, bool group, void *field, struct err *err)
{
	struct conf_owner owner = {.set = true};

	if (text.len == 0)
		owner.set = false;
	else if (slice_find(text, '$') >= 0)
		owner.expand = text;
	else if (!find_id(text, group, &owner.id))
		return err_set(err, FAIL, "%s %.*s was not found", group ? "group" : "user", SLICE_ARG(text));
	*(struct conf_owner *)field = owner;
	return OK;
}

static enum rc uid_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			struct err *err)
{
	(void)conf, (void)option;
	return owner_read(text, false, field, err);
}

static enum rc gid_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			struct err *err)
{
	(void)conf, (void)option;
	return owner_read(text, true, field, err);
}

static void id_print(uint32_t id, bool group, struct str *str)
{
	char bytes[16384];
	struct passwd pw, *pw_found = NULL;
	struct group gr, *gr_found = NULL;

	if (group)
		(void)getgrgid_r(id, &gr, bytes, sizeof(bytes),
				 &gr_found); /* not found: the number is shown */
	else
		(void)getpwuid_r(id, &pw, bytes, sizeof(bytes), &pw_found);
	if (gr_found)
		str_addz(str, gr.gr_name);
	else if (pw_found)
		str_addz(str, pw.pw_name);
	else
		str_addu(str, id);
}

static bool owner_print(const struct conf_owner *owner, bool group, struct str *str)
{
	if (!owner->set)
		return false;
	if (owner->expand.ptr)
		str_add(str, owner->expand);
	else
		id_print(owner->id, group, str);
	return true;
}

static bool uid_print(const struct conf_option *option, const void *field, struct str *str)
{
	(void)option;
	return owner_print(field, false, str);
}

static bool gid_print(const struct conf_option *option, const void *field, struct str *str)
{
	(void)option;
	return owner_print(field, true, str);
}

static enum rc id_list_read(struct conf *conf, const struct conf_option *option, struct slice text,
			    bool group, void *field, struct err *err)
{
	struct conf_id_list list = {.set = true};
	struct slice rest, item;
	unsigned room = 0;
	uint32_t *ids;
	char separator;

	if (slice_find(text, '$') >= 0) {
		enum rc rc = conf_expand_early(conf, text, &text, err);
		if (rc != OK) {
			err_prefix(err, "failed to expand %s", option->name);
			return rc;
		}
	}
	separator = list_separator(&text);
	for (rest = text; slice_split(&rest, separator, &item);)
		room++;
	ids = arena_array(&conf->arena, uint32_t, room);
	if (!ids)
		return err_memory(err);
	for (rest = text; rest.len > 0 && slice_split(&rest, separator, &item);) {
		item = slice_trim(item);
		if (item.len > 0 && !find_id(item, group, &ids[list.count++]))
			return err_set(err, FAIL, "%s %.*s was not found", group ? "group" : "user",
				       SLICE_ARG(item));
	}
	list.ids = ids;
	*(struct conf_id_list *)field = list;
	return OK;
}

static enum rc uid_list_read(struct conf *conf, const struct conf_option *option, struct slice text,
			     void *field, struct err *err)
{
	return id_list_read(conf, option, text, false, field, err);
}

static enum rc gid_list_read(struct conf *conf, const struct conf_option *option, struct slice text,
			     void *field, struct err *err)
{
	return id_list_read(conf, option, text, true, field, err);
}

static bool id_list_print(const struct conf_id_list *list, bool group, struct str *str)
{
	for (unsigned i = 0; i < list->count; i++) {
		if (i > 0)
			str_addc(str, ':');
		id_print(list->ids[i], group, str);
	}
	return list->count > 0;
}

static bool uid_list_print(const struct conf_option *option, const void *field, struct str *str)
{
	(void)option;
	return id_list_print(field, false, str);
}

static bool gid_list_print(const struct conf_option *option, const void *field, struct str *str)
{
	(void)option;
	return id_list_print(field, true, str);
}

bool conf_id_listed(const struct conf_id_list *list, uint32_t id)
{
	for (unsigned i = 0; i < list->count; i++) {
		if (list->ids[i] == id)
			return true;
	}
	return false;
}

const struct conf_type conf_uid = {
    .name = "a user", .size = sizeof(struct conf_owner), .read = uid_read, .print = uid_print};
const struct conf_type conf_gid = {
    .name = "a group", .size = sizeof(struct conf_owner), .read = gid_read, .print = gid_print};
const struct conf_type conf_uid_list = {.name = "a list of users",
					.size = sizeof(struct conf_id_list),
					.read = uid_list_read,
					.print = uid_list_print,
					.bare = true};
const struct conf_type conf_gid_list = {.name = "a list of groups",
					.size = sizeof(struct conf_id_list),
					.read = gid_list_read,
					.print = gid_list_print,
					.bare = true};
