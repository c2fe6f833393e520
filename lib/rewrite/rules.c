/* The language of rules: pattern, replacement and flags, a line of "begin rewrite" or an item of headers_rewrite. */
#include "rules.h"

static bool flag_of(char c, bool transport, unsigned *flag_ret)
{
	static const struct {
		char letter;
		unsigned flag;
	} flags[] = {
	    {'h', REWRITE_HEADERS},
	    {'s', REWRITE_SENDER},
	    {'f', REWRITE_FROM},
	    {'t', REWRITE_TO},
	    {'c', REWRITE_CC},
	    {'b', REWRITE_BCC},
	    {'r', REWRITE_REPLY_TO},
	    {'q', RULE_QUIT},
	    {'Q', RULE_QUALIFY},
	    {'R', RULE_REPEAT},
	    {'w', RULE_WHOLE},
	    /* A transport has nothing to do with envelopes. */
	    {'E', REWRITE_ENV_FROM | REWRITE_ENV_TO},
	    {'F', REWRITE_ENV_FROM},
	    {'T', REWRITE_ENV_TO},
	    {'S', REWRITE_SMTP},
	};

	for (unsigned i = 0; i < (transport ? 11 : ARRAY_COUNT(flags)); i++)
		if (flags[i].letter == c) {
			*flag_ret = flags[i].flag;
			return true;
		}
	return false;
}

static enum rc parse_flags(struct slice text, bool transport, unsigned *flags_ret, struct err *err)
{
	unsigned all = REWRITE_HEADERS | (transport ? 0 : REWRITE_ENV_FROM | REWRITE_ENV_TO), flags = 0,
		 flag = 0;

	for (uint32_t i = 0; i < text.len; i++) {
		if (ascii_is_space(text.ptr[i]))
			continue;
		if (!flag_of(text.ptr[i], transport, &flag))
			return err_set(
			    err, FAIL,
			    "unknown rewrite flag character '%c' (could be missing quotes round replacement item)",
			    text.ptr[i]);
		flags |= flag;
	}
	if (!(flags & (all | REWRITE_SMTP)))
		flags |= all;
	*flags_ret = flags;
	return OK;
}

/* A pattern of S rules is matched with what no address list knows: text that may be no address. */
static enum rc compile_smtp_pattern(struct conf *conf, struct slice pattern, struct rewrite_rule *rule,
				    struct err *err)
{
	struct slice text = slice_starts(pattern, SLICE("\\N")) ? slice_from(pattern, 2) : pattern;

	if (!slice_starts(text, SLICE("^")))
		return err_set(err, FAIL, "rewrite rule has the S flag but is not a regular expression");
	rule->smtp_pattern = expand_compile(conf->language, &conf->arena, pattern);
	if (!rule->smtp_pattern)
		return err_memory(err);
	if (!expansion_is_literal(rule->smtp_pattern))
		return OK;
	text = expansion_literal(rule->smtp_pattern);
	return regex_compile(&conf->arena, text, 0, &rule->smtp_regex, err);
}

static enum rc parse_rule(struct conf *conf, struct slice text, bool transport, struct rewrite_rule *rule,
			  struct err *err)
{
	struct slice pattern, replacement;
	enum rc rc = conf_word(conf, &text, &pattern);

	if (rc == OK)
		rc = conf_word(conf, &text, &replacement);
	if (rc == DEFER || (rc == OK && (!pattern.ptr || !replacement.ptr)))
		return err_memory(err);
	if (rc != OK)
		return err_set(err, FAIL, "missing rewrite replacement string");
	rc = parse_flags(text, transport, &rule->flags, err);
	if (rc == OK && rule->flags & REWRITE_SMTP)
		rc = compile_smtp_pattern(conf, pattern, rule, err);
	if (rc != OK)
		return rc;
	rule->pattern = match_compile_item(conf, &conf->arena, pattern);
	if (!slice_eq(replacement, SLICE("*"))) {
		rule->replacement = expand_compile(conf->language, &conf->arena, replacement);
		if (!rule->replacement)
			return err_memory(err);
	}
	if (!rule->pattern)
		return err_memory(err);
	rc = match_list_available(rule->pattern, err);
	return rc == OK ? expansion_available(rule->replacement, err) : rc;
}

/* Behind the others. */
struct building {
	struct rewrite_rules *rules;
	const struct rewrite_rule **end;
	unsigned count;
};

static enum rc add_rule(struct building *b, struct conf *conf, struct slice text, bool transport,
			struct err *err)
{
	struct rewrite_rule *rule = arena_make(&conf->arena, struct rewrite_rule);
	enum rc rc;

	if (!rule)
		return err_memory(err);
	rc = parse_rule(conf, text, transport, rule, err);
	if (rc != OK)
		return rc;
	rule->number = ++b->count;
	b->rules->flags |= rule->flags;
	*b->end = rule;
	b->end = &rule->next;
	return OK;
}

static struct building building_begin(struct conf *conf)
{
	struct building b = {.rules = arena_make(&conf->arena, struct rewrite_rules)};

	b.end = b.rules ? &b.rules->first : NULL;
	return b;
}

static enum rc read_section(struct conf_reader *reader, void **section_ret, struct err *err)
{
	struct conf *conf = conf_reader_conf(reader);
	struct building b = building_begin(conf);
	struct conf_line line;
	enum rc rc;

	if (!b.rules)
		return err_memory(err);
	while ((rc = conf_next_line(reader, &line, err)) == OK) {
		struct err why = err_make(err->arena);

		rc = add_rule(&b, conf, line.text, false, &why);
		if (rc == FAIL)
			return conf_error(err, &line.place, "%.*s", SLICE_ARG(why.text));
		if (rc != OK)
			return err_memory(err);
	}
	*section_ret = b.rules->first ? b.rules : NULL;
	return rc == FAIL && !err->text.len ? OK : rc;
}

const struct conf_section rewrite_conf_section = {
    .id = CONF_SECTION_REWRITE, .name = "rewrite", .read = read_section};

const struct rewrite_rules *rewrite_rules_parse(struct conf *conf, struct slice list, struct err *err)
{
	struct building b = building_begin(conf);
	struct slice item;
	char separator = 0;

	if (!b.rules)
		goto memory;
	while (list_next(&conf->arena, &list, &separator, &item)) {
		if (!item.ptr)
			goto memory;
		if (add_rule(&b, conf, item, true, err) != OK)
			return NULL;
	}
	return b.rules;
memory:
	(void)err_memory(err);
	return NULL;
}

const struct rewrite_rules *rewrite_rules(const struct conf *conf)
{
	return conf_section(conf, CONF_SECTION_REWRITE);
}

bool rewrite_wanted(const struct rewrite_rules *rules, unsigned where)
{
	return rules && (rules->flags & where);
}
