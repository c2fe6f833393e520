/* retry_rules: "begin retry": for whom, after which error, and how often to try again. A rule's pattern is one item of an
 * address list; a domain alone is matched as the address *@domain. */
#include "work.h"

struct retry_rules {
	const struct retry_rule *first;
};

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	uint32_t error;
} plain_errors[] = {
    {"*", 0},
    {"", 0},
    {"auth_failed", RETRY_ERROR_AUTH},
    {"lookup", RETRY_ERROR_DNS},
    {"lost_connection", RETRY_ERROR_LOST},
    {"tls_required", RETRY_ERROR_TLS},
};

/* The rest of a name: "", "_A" or "_MX". false: something else. */
static bool read_where(struct slice rest, uint32_t *more)
{
	if (slice_eq_nocase(rest, SLICE("_A")))
		*more |= RETRY_MORE_A;
	else if (slice_eq_nocase(rest, SLICE("_MX")))
		*more |= RETRY_MORE_MX;
	else
		return rest.len == 0;
	return true;
}

/* "4xx", "42x", "421": each digit plus one in four bits, 0 for an x. */
static bool read_code(struct slice rest, uint32_t *more)
{
	bool first = rest.len == 3 && ascii_is_digit(rest.ptr[1]),
	     second = rest.len == 3 && ascii_is_digit(rest.ptr[2]);

	if (rest.len != 3 || rest.ptr[0] != '4' || (!first && ascii_lower(rest.ptr[1]) != 'x') ||
	    (!second && ascii_lower(rest.ptr[2]) != 'x') || (second && !first))
		return false;
	*more = (first ? (uint32_t)(rest.ptr[1] - '0' + 1) << 4 : 0) |
		(second ? (uint32_t)(rest.ptr[2] - '0' + 1) : 0);
	return true;
}

static bool take(struct slice *rest, struct slice word)
{
	if (!slice_starts_nocase(*rest, word))
		return false;
	*rest = slice_from(*rest, word.len);
	return true;
}

enum rc retry_error_read(struct slice name, struct retry_cause *ret, struct err *err)
{
	static const struct {
		struct slice name;
		uint32_t error;
	} codes[] = {{SLICE_INIT("mail_"), RETRY_ERROR_MAIL_4XX},
		     {SLICE_INIT("rcpt_"), RETRY_ERROR_RCPT_4XX},
		     {SLICE_INIT("data_"), RETRY_ERROR_DATA_4XX}};
	struct slice rest = name;
	int64_t age;

	*ret = (struct retry_cause){0};
	for (unsigned i = 0; i < ARRAY_COUNT(plain_errors); i++)
		if (slice_eq_nocase(name, slice_of(plain_errors[i].name))) {
			ret->error = plain_errors[i].error;
			return OK;
		}
	for (unsigned i = 0; i < ARRAY_COUNT(codes); i++) {
		rest = name;
		if (!take(&rest, codes[i].name) || !rest.len || rest.ptr[0] != '4')
			continue;
		ret->error = codes[i].error;
		if (read_code(rest, &ret->more))
			return OK;
		return err_set(
		    err, FAIL,
		    "%.*s4 must be followed by xx, dx, or dd, where x is literal and d is any digit",
		    SLICE_ARG(codes[i].name));
	}
	rest = name;
	if (take(&rest, SLICE("refused"))) {
		ret->error = RETRY_ERROR_REFUSED;
		return read_where(rest, &ret->more)
			   ? OK
			   : err_set(err, FAIL, "A or MX expected after \"refused\"");
	}
	if (take(&rest, SLICE("timeout"))) {
		ret->error = RETRY_ERROR_TIMEOUT;
		if (slice_eq_nocase(rest, SLICE("_DNS")))
			return OK; /* an older name, which has never meant anything else */
		if (take(&rest, SLICE("_connect")))
			ret->more |= RETRY_MORE_CONNECT;
		return read_where(rest, &ret->more)
			   ? OK
			   : err_set(err, FAIL, "\"A\", \"MX\", or \"connect\" expected after \"timeout\"");
	}
	if (take(&rest, SLICE("quota"))) {
		ret->error = RETRY_ERROR_QUOTA;
		if (!rest.len)
			return OK;
		if (rest.ptr[0] == '_' && conf_parse_time(slice_from(rest, 1), &age) && age <= UINT32_MAX) {
			ret->more = (uint32_t)age;
			return OK;
		}
		if (rest.ptr[0] == '_')
			return err_set(err, FAIL, "bad time value");
	}
	return err_set(err, FAIL, "unknown or malformed retry error \"%.*s\"", SLICE_ARG(name));
}

/* What has happened, in the terms of the rules. */
struct retry_cause retry_cause_of(const struct delivery_outcome *outcome)
{
	struct retry_cause cause = {.error = outcome->error};
	struct slice reply = outcome->reply_text;

	switch (outcome->error) {
	case RETRY_ERROR_REFUSED:
	case RETRY_ERROR_TIMEOUT:
		cause.more = outcome->host.mx > MX_NONE ? RETRY_MORE_MX : RETRY_MORE_A;
		cause.more |= outcome->connecting ? RETRY_MORE_CONNECT : 0;
		break;
	case RETRY_ERROR_QUOTA:
		cause.more = outcome->unread_s > UINT32_MAX ? UINT32_MAX : (uint32_t)outcome->unread_s;
		break;
	case RETRY_ERROR_MAIL_4XX:
	case RETRY_ERROR_RCPT_4XX:
	case RETRY_ERROR_DATA_4XX:
		if (reply.len < 3 || !read_code(slice_sub(reply, 0, 3), &cause.more))
			cause.more = 0;
		break;
	default:
		break;
	}
	return cause;
}

static bool error_fits(struct retry_cause rule, struct retry_cause cause)
{
	if (!rule.error)
		return true;
	if (rule.error != cause.error)
		return false;
	switch (rule.error) {
	case RETRY_ERROR_QUOTA:
		return rule.more <= cause.more;
	case RETRY_ERROR_REFUSED:
	case RETRY_ERROR_TIMEOUT:
		return (rule.more & cause.more) == rule.more;
	default: /* the digits that the rule names */
		return (!(rule.more & 0xf0) || (rule.more & 0xf0) == (cause.more & 0xf0)) &&
		       (!(rule.more & 0xf) || (rule.more & 0xf) == (cause.more & 0xf));
	}
}

/* The name again, as a rule has it. */
static void add_error_name(struct str *out, struct retry_cause cause)
{
	const char *where = cause.more & RETRY_MORE_A ? "_A" : cause.more & RETRY_MORE_MX ? "_MX" : "";
	uint32_t first = cause.more >> 4 & 0xf, second = cause.more & 0xf;

	switch (cause.error) {
	case RETRY_ERROR_REFUSED:
		str_printf(out, "refused%s", where);
		return;
	case RETRY_ERROR_TIMEOUT:
		str_printf(out, "timeout%s%s", cause.more & RETRY_MORE_CONNECT ? "_connect" : "", where);
		return;
	case RETRY_ERROR_QUOTA:
		str_addz(out, "quota");
		if (cause.more) {
			str_addc(out, '_');
			conf_print_time(out, cause.more);
		}
		return;
	case RETRY_ERROR_MAIL_4XX:
	case RETRY_ERROR_RCPT_4XX:
	case RETRY_ERROR_DATA_4XX:
		str_printf(out, "%s_4%c%c",
			   cause.error == RETRY_ERROR_MAIL_4XX   ? "mail"
			   : cause.error == RETRY_ERROR_RCPT_4XX ? "rcpt"
								 : "data",
			   first ? (char)('0' + first - 1) : 'x', second ? (char)('0' + second - 1) : 'x');
		return;
	default:
		for (unsigned i = 0; i < ARRAY_COUNT(plain_errors); i++)
			if (plain_errors[i].error == cause.error) {
				str_addz(out, plain_errors[i].name);
				return;
			}
	}
}

/* ---- Reading ------------------------------------------------------------------------------------------------------- */

static bool parse_factor(struct slice text, int64_t *thousandths)
{
	ptrdiff_t dot = slice_find(text, '.');
	uint64_t whole, part = 0;
	struct slice after = dot < 0 ? SLICE_EMPTY : slice_sub(text, (size_t)dot + 1, 3);

	if (!parse_u64(dot < 0 ? text : slice_sub(text, 0, (size_t)dot), &whole) || whole > 1000)
		return false;
	if (after.len && !parse_u64(after, &part))
		return false;
	for (uint32_t i = after.len; i < 3; i++)
		part *= 10;
	*thousandths = (int64_t)(whole * 1000 + part);
	return true;
}

static bool parse_step(struct slice text, struct retry_step *step)
{
	struct slice rest = slice_trim(text), part;

	if (!slice_split(&rest, ',', &part))
		return false;
	part = slice_trim(part);
	step->kind = part.len == 1 ? ascii_upper(part.ptr[0]) : 0;
	step->factor = 1000;
	if (step->kind != 'F' && step->kind != 'G' && step->kind != 'H')
		return false;
	if (!slice_split(&rest, ',', &part) || !conf_parse_time(slice_trim(part), &step->until_s))
		return false;
	if (!slice_split(&rest, ',', &part) || !conf_parse_time(slice_trim(part), &step->interval_s) ||
	    step->interval_s <= 0)
		return false;
	if (step->kind == 'F')
		return !rest.ptr;
	return slice_split(&rest, ',', &part) && parse_factor(slice_trim(part), &step->factor) &&
	       step->factor >= 1000 && !rest.ptr;
}

static enum rc parse_steps(const struct conf_line *line, struct slice rest, struct retry_rule *rule,
			   struct err *err)
{
	struct slice step;

	while (slice_split(&rest, ';', &step)) {
		if (!slice_trim(step).len)
			continue;
		if (rule->step_count == ARRAY_COUNT(rule->steps))
			return conf_error(err, &line->place, "more than %zu steps in a retry rule",
					  ARRAY_COUNT(rule->steps));
		if (!parse_step(step, &rule->steps[rule->step_count]))
			return conf_error(err, &line->place, "bad parameters for retry rule: \"%.*s\"",
					  SLICE_ARG(slice_trim(step)));
		rule->step_count++;
	}
	return OK;
}

/* A list of one item: nothing in it separates. */
static const struct match_list *one_item(struct conf *conf, struct slice item)
{
	struct slice list = arena_printf(&conf->arena, "<\1 %.*s", SLICE_ARG(item));

	return list.ptr ? match_compile(conf, &conf->arena, LIST_ADDRESS, list) : NULL;
}

static enum rc parse_rule(struct conf *conf, const struct conf_line *line, struct retry_rule *rule,
			  struct err *err)
{
	struct slice rest = line->text, word, list;
	struct err why = err_make(&conf->arena);
	enum rc rc = conf_word(conf, &rest, &rule->pattern_text);

	if (rc == DEFER || !(rule->pattern = one_item(conf, rule->pattern_text)))
		return err_memory(err);
	if (rc != OK || !slice_word(&rest, &word))
		return conf_error(err, &line->place, "missing error type in retry rule");
	if (match_list_available(rule->pattern, &why) != OK)
		return conf_error(err, &line->place, "%.*s", SLICE_ARG(why.text));
	if (retry_error_read(word, &rule->cause, &why) != OK)
		return conf_error(err, &line->place, "%.*s", SLICE_ARG(why.text));
	if (slice_eq_nocase(word, SLICE("timeout_DNS")))
		conf_warn(conf, &line->place, "\"timeout_DNS\" in a retry rule means \"timeout\"");
	rest = slice_trim(rest);
	if (take(&rest, SLICE("senders="))) {
		list = SLICE_EMPTY;
		if (rest.len && !ascii_is_space(rest.ptr[0]) && conf_word(conf, &rest, &list) != OK)
			return err_memory(err);
		rule->senders = match_compile(conf, &conf->arena, LIST_ADDRESS, list);
		if (!rule->senders)
			return err_memory(err);
		if (match_list_available(rule->senders, &why) != OK)
			return conf_error(err, &line->place, "%.*s", SLICE_ARG(why.text));
	}
	return parse_steps(line, slice_trim(rest), rule, err); /* none: such failures are not retried */
}

static enum rc read_section(struct conf_reader *reader, void **section_ret, struct err *err)
{
	struct conf *conf = conf_reader_conf(reader);
	struct retry_rules *rules = arena_make(&conf->arena, struct retry_rules);
	const struct retry_rule **end;
	struct conf_line line;
	enum rc rc;

	if (!rules)
		return err_memory(err);
	end = &rules->first;
	while ((rc = conf_next_line(reader, &line, err)) == OK) {
		struct retry_rule *rule;

		if (conf_line_is_macro(&line)) {
			rc = conf_define_macro(reader, &line, err);
			if (rc != OK)
				return rc;
			continue;
		}
		rule = arena_make(&conf->arena, struct retry_rule);
		if (!rule)
			return err_memory(err);
		rc = parse_rule(conf, &line, rule, err);
		if (rc != OK)
			return rc;
		*end = rule;
		end = &rule->next;
	}
	*section_ret = rules;
	return rc == FAIL && !err->text.len ? OK : rc;
}

const struct conf_section retry_conf_section = {
    .id = CONF_SECTION_RETRY, .name = "retry", .read = read_section};

/* ---- Which rule ---------------------------------------------------------------------------------------------------- */

/* An address, a domain, or the name of a host; letters of either case. */
static bool fits(struct scope *sc, const struct retry_rule *rule, struct slice key)
{
	struct err err = err_make(sc->task->arena);
	struct slice subject;
	char *at;

	if (!key.len)
		return false;
	subject =
	    arena_printf(sc->task->arena, "%s%.*s", slice_find(key, '@') < 0 ? "*@" : "", SLICE_ARG(key));
	if (!subject.ptr)
		return false;
	at = (char *)(uintptr_t)subject.ptr;
	for (uint32_t i = 0; i < subject.len; i++)
		at[i] = ascii_lower(at[i]);
	subject.taint = key.taint;
	return match_address(sc, rule->pattern, subject, NULL, &err) == OK;
}

const struct retry_rule *retry_rule_find(struct scope *sc, struct slice key, struct slice or_key,
					 struct retry_cause cause, bool sender_known)
{
	const struct retry_rules *rules = conf_section(sc->conf, CONF_SECTION_RETRY);
	struct err err = err_make(sc->task->arena);

	for (const struct retry_rule *r = rules ? rules->first : NULL; r; r = r->next)
		if (error_fits(r->cause, cause) && (fits(sc, r, key) || fits(sc, r, or_key)) &&
		    (!r->senders ||
		     (sender_known && match_address(sc, r->senders, sc->sender, NULL, &err) == OK)))
			return r;
	return NULL;
}

/* ---- -brt ---------------------------------------------------------------------------------------------------------- */

static void print_step(struct str *out, const struct retry_step *step)
{
	str_printf(out, "%c,", step->kind);
	conf_print_time(out, step->until_s);
	str_addc(out, ',');
	conf_print_time(out, step->interval_s);
	if (step->kind != 'F') {
		int64_t part = step->factor % 1000;
		int digits = part % 10 ? 3 : part % 100 ? 2 : 1;

		str_printf(out, ",%lld.%0*lld", (long long)(step->factor / 1000), digits,
			   (long long)(digits == 3   ? part
				       : digits == 2 ? part / 10
						     : part / 100));
	}
	str_addz(out, "; ");
}

enum rc retry_describe(struct scope *sc, struct slice key, struct slice host, struct slice error,
		       bool sender_known, struct str *out, struct err *err)
{
	const struct retry_rule *rule;
	struct retry_cause cause;
	enum rc rc = retry_error_read(error, &cause, err);

	if (rc != OK)
		return rc;
	rule = host.len ? retry_rule_find(sc, host, key, cause, sender_known)
			: retry_rule_find(sc, key, SLICE_EMPTY, cause, sender_known);
	if (!rule) {
		str_addz(out, "No retry information found\n");
		return OK;
	}
	str_printf(out, "Retry rule: %.*s  ", SLICE_ARG(rule->pattern_text));
	add_error_name(out, rule->cause);
	str_addz(out, "  ");
	for (unsigned i = 0; i < rule->step_count; i++)
		print_step(out, &rule->steps[i]);
	str_addc(out, '\n');
	return OK;
}
