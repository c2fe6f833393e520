/* Exim filters, from text to commands. */
#include "tree.h"

const char *const mail_option_names[MAIL_OPTIONS] = {
    [MAIL_TO] = "to",
    [MAIL_CC] = "cc",
    [MAIL_BCC] = "bcc",
    [MAIL_FROM] = "from",
    [MAIL_REPLY_TO] = "reply_to",
    [MAIL_SUBJECT] = "subject",
    [MAIL_HEADERS] = "extra_headers",
    [MAIL_TEXT] = "text",
    [MAIL_FILE] = "file",
    [MAIL_LOG] = "log",
    [MAIL_ONCE] = "once",
    [MAIL_ONCE_REPEAT] = "once_repeat",
};

static const struct {
	const char *word;
	enum command_kind kind;
	bool significant; /* by nature */
} commands[] = {
    {"add", CMD_ADD, false},           {"defer", CMD_DEFER, false},
    {"deliver", CMD_DELIVER, true},    {"fail", CMD_FAIL, false},
    {"finish", CMD_FINISH, false},     {"freeze", CMD_FREEZE, false},
    {"headers", CMD_HEADERS, false},   {"if", CMD_IF, false},
    {"logfile", CMD_LOGFILE, false},   {"logwrite", CMD_LOGWRITE, false},
    {"mail", CMD_MAIL, false},         {"pipe", CMD_PIPE, true},
    {"save", CMD_SAVE, true},          {"testprint", CMD_TESTPRINT, false},
    {"vacation", CMD_VACATION, false},
};

enum rc parse_count(struct parse *p)
{
	if (++p->count > FILTER_COMMANDS_MAX)
		return err_set(p->words.err, FAIL, "more than %d commands and conditions in filter file",
			       FILTER_COMMANDS_MAX);
	return OK;
}

enum rc parse_enter(struct parse *p)
{
	if (++p->depth > FILTER_DEPTH_MAX)
		return err_set(p->words.err, FAIL,
			       "commands or conditions nested too deeply near line %u of filter file",
			       p->words.line);
	return OK;
}

/* One mistake with its line. what: format with the word. */
#define WRONG(p, ...) err_set((p)->words.err, FAIL, __VA_ARGS__)

static enum rc argument(struct parse *p, const char *command, struct slice *ret)
{
	enum rc rc = words_item(&p->words, false, ret);

	if (rc == OK && ret->len == 0)
		return WRONG(p, "\"%s\" requires an argument near line %u of filter file", command,
			     p->words.line);
	return rc;
}

/* If that word is next it is taken. The line is not put back, as in Exim, so that the lines in messages are the same. */
static enum rc optional_word(struct parse *p, struct slice wanted, bool *taken_ret)
{
	struct slice saved = p->words.rest, word;
	enum rc rc = words_word(&p->words, false, &word);

	*taken_ret = rc == OK && slice_eq(word, wanted);
	if (!*taken_ret)
		p->words.rest = saved;
	return rc;
}

static enum rc parse_deliver(struct parse *p, struct command *c)
{
	bool errors_to = false;
	enum rc rc = argument(p, "deliver", &c->text);

	if (rc == OK)
		rc = optional_word(p, SLICE("errors_to"), &errors_to);
	return rc == OK && errors_to ? words_word(&p->words, false, &c->second) : rc;
}

static enum rc parse_add(struct parse *p, struct command *c)
{
	struct slice word;
	enum rc rc = argument(p, "add", &c->text);

	if (rc == OK)
		rc = words_word(&p->words, false, &word);
	if (rc != OK)
		return rc;
	if (!slice_eq(word, SLICE("to")))
		return WRONG(p, "\"to\" expected in \"add\" command near line %u of filter file",
			     p->words.line);
	rc = words_item(&p->words, false, &c->second);
	if (rc == OK && c->second.len == 0)
		return WRONG(p, "value missing after \"to\" near line %u of filter file", p->words.line);
	return rc;
}

static enum rc disabled(struct parse *p, const char *name)
{
	return WRONG(p, "filtering command \"%s\" is disabled: near line %u of filter file", name,
		     p->words.line);
}

/* defer, fail, freeze: a text, with "text" before it or in quotes. */
static enum rc parse_verdict(struct parse *p, struct command *c, const char *name)
{
	const struct filter_rules *r = p->rules;
	bool text = words_at(&p->words, '"');
	enum rc rc = OK;

	if (!r->system && !(c->kind == CMD_DEFER  ? r->allow_defer
			    : c->kind == CMD_FAIL ? r->allow_fail
						  : r->allow_freeze))
		return disabled(p, name);
	if (!text)
		rc = optional_word(p, SLICE("text"), &text);
	return rc == OK && text ? words_item(&p->words, false, &c->text) : rc;
}

static enum rc parse_headers(struct parse *p, struct command *c)
{
	struct slice word;
	enum rc rc = words_word(&p->words, false, &word);

	if (rc != OK)
		return rc;
	if (word.len == 0)
		return WRONG(p, "\"headers\" requires an argument near line %u of filter file",
			     p->words.line);
	if (slice_eq(word, SLICE("charset")))
		c->headers = HEADERS_CHARSET;
	else if (!p->rules->system)
		return WRONG(
		    p,
		    "header addition and removal is available only in system filters: near line %u of filter file",
		    p->words.line);
	else if (slice_eq(word, SLICE("add")))
		c->headers = HEADERS_ADD;
	else if (slice_eq(word, SLICE("remove")))
		c->headers = HEADERS_REMOVE;
	else
		return WRONG(
		    p,
		    "\"add\", \"remove\", or \"charset\" expected after \"headers\" near line %u of filter file",
		    p->words.line);
	rc = words_item(&p->words, false, &c->text);
	if (rc == OK && c->text.len == 0)
		return WRONG(
		    p, "value missing after \"add\", \"remove\", or \"charset\" near line %u of filter file",
		    p->words.line);
	return rc;
}

static enum rc mail_option(struct parse *p, struct mail_arguments *mail, struct slice word, bool *known_ret)
{
	bool expand = slice_eq(word, SLICE("expand")), back = slice_eq(word, SLICE("return"));
	struct slice next;
	enum rc rc;

	*known_ret = true;
	if (expand || back) {
		rc = words_word(&p->words, false, &next);
		if (rc != OK)
			return rc;
		if (!slice_eq(next, expand ? SLICE("file") : SLICE("message")))
			return WRONG(p, "\"%s\" not followed by \"%s\"  near line %u of filter file",
				     expand ? "expand" : "return", expand ? "file" : "message",
				     p->words.line);
		mail->return_message |= back;
		mail->file_expand |= expand;
		return back ? OK : words_item(&p->words, false, &mail->options[MAIL_FILE]);
	}
	for (unsigned i = 0; i < MAIL_OPTIONS; i++)
		if (slice_eq(word, slice_of(mail_option_names[i]))) {
			if (i == MAIL_FILE)
				mail->file_expand = false;
			return words_item(&p->words, false, &mail->options[i]);
		}
	*known_ret = false;
	return OK;
}

static enum rc parse_mail(struct parse *p, struct command *c)
{
	bool known = true;
	struct slice saved, word;
	enum rc rc = OK;

	c->mail = arena_make(p->words.arena, struct mail_arguments);
	if (!c->mail)
		return err_memory(p->words.err);
	if (c->kind == CMD_VACATION) {
		c->mail->options[MAIL_SUBJECT] = SLICE("On vacation");
		c->mail->options[MAIL_FILE] = SLICE(".vacation.msg");
		c->mail->options[MAIL_LOG] = SLICE(".vacation.log");
		c->mail->options[MAIL_ONCE] = SLICE(".vacation");
		c->mail->options[MAIL_ONCE_REPEAT] = SLICE("7d");
		c->mail->file_expand = true;
	}
	while (rc == OK && known) {
		saved = p->words.rest;
		rc = words_word(&p->words, false, &word);
		if (rc == OK)
			rc = mail_option(p, c->mail, word, &known);
		if (rc == OK && !known)
			p->words.rest = saved;
	}
	return rc;
}

/* ---- if --------------------------------------------------------------------------------------------------------- */

/* What the commands of a branch ended with. */
enum ending { END_OF_TEXT, END_ELIF, END_ELSE, END_ENDIF };

static enum rc parse_commands(struct parse *p, bool nested, struct command **ret, enum ending *ending_ret);

static enum rc parse_if(struct parse *p, struct command *c)
{
	struct branch **next = &c->branches, *branch;
	enum ending ending = END_ELIF, previous;
	enum rc rc = parse_enter(p);

	while (rc == OK && ending != END_ENDIF) {
		branch = *next = arena_make(p->words.arena, struct branch);
		if (!branch)
			return err_memory(p->words.err);
		next = &branch->next;
		previous = ending;
		if (previous == END_ELIF)
			rc = exim_condition_parse(p, &branch->condition);
		if (rc == OK)
			rc = parse_commands(p, true, &branch->commands, &ending);
		if (rc == OK && ending == END_OF_TEXT)
			return WRONG(p, "\"endif\" missing at end of filter file");
		if (rc == OK && previous == END_ELSE && ending != END_ENDIF)
			return WRONG(p, "\"endif\" missing near line %u of filter file", p->words.line);
	}
	p->depth--;
	return rc;
}

/* ---- Commands ------------------------------------------------------------------------------------------------------ */

static enum rc parse_arguments(struct parse *p, struct command *c, const char *name)
{
	enum rc rc;

	switch (c->kind) {
	case CMD_ADD:
		return parse_add(p, c);
	case CMD_DEFER:
	case CMD_FAIL:
	case CMD_FREEZE:
		return parse_verdict(p, c, name);
	case CMD_DELIVER:
		return parse_deliver(p, c);
	case CMD_FINISH:
		return OK;
	case CMD_HEADERS:
		return parse_headers(p, c);
	case CMD_IF:
		return parse_if(p, c);
	case CMD_LOGFILE:
	case CMD_SAVE:
		rc = argument(p, name, &c->text);
		if (rc == OK)
			c->mode = words_mode(&p->words);
		return rc;
	case CMD_LOGWRITE:
	case CMD_PIPE:
	case CMD_TESTPRINT:
		return argument(p, name, &c->text);
	case CMD_MAIL:
	case CMD_VACATION:
		return parse_mail(p, c);
	}
	return OK;
}

static bool forbidden(const struct filter_rules *rules, enum command_kind kind)
{
	switch (kind) {
	case CMD_LOGFILE:
	case CMD_LOGWRITE:
		return rules->forbid_logwrite;
	case CMD_MAIL:
	case CMD_VACATION:
		return rules->forbid_reply;
	default:
		return false;
	}
}

/* "seen", "unseen" and "noerror" before a command. */
struct manner {
	bool seen, unseen, noerror;
};

static enum rc parse_command(struct parse *p, struct slice word, const struct manner *manner,
			     struct command **ret)
{
	unsigned i = 0;
	struct command *c;
	bool any = manner->seen || manner->unseen || manner->noerror;
	enum rc rc;

	while (i < ARRAY_COUNT(commands) && !slice_eq(word, slice_of(commands[i].word)))
		i++;
	if (i == ARRAY_COUNT(commands))
		return WRONG(p, "unknown filtering command \"%.*s\" near line %u of filter file",
			     SLICE_ARG(word), p->words.line);
	if (any &&
	    (commands[i].kind == CMD_IF || commands[i].kind == CMD_ADD || commands[i].kind == CMD_HEADERS))
		return WRONG(
		    p, "\"seen\", \"unseen\", or \"noerror\" found before an \"%s\" command near line %u",
		    commands[i].word, p->words.line);
	c = arena_make(p->words.arena, struct command);
	if (!c)
		return err_memory(p->words.err);
	*c = (struct command){.kind = commands[i].kind,
			      .noerror = manner->noerror,
			      .text = SLICE_EMPTY,
			      .mode = -1,
			      .seen = manner->seen || (commands[i].significant && !manner->unseen)};
	rc = parse_count(p);
	if (rc == OK && forbidden(p->rules, c->kind))
		return disabled(p, commands[i].word);
	if (rc == OK)
		rc = parse_arguments(p, c, commands[i].word);
	*ret = c;
	return rc;
}

static bool ends_branch(struct slice word, enum ending *ending_ret)
{
	if (slice_eq(word, SLICE("elif")))
		*ending_ret = END_ELIF;
	else if (slice_eq(word, SLICE("else")))
		*ending_ret = END_ELSE;
	else if (slice_eq(word, SLICE("endif")))
		*ending_ret = END_ENDIF;
	else
		return false;
	return true;
}

static enum rc parse_manner(struct parse *p, struct slice word, struct manner *manner, bool *taken_ret)
{
	*taken_ret = true;
	if (slice_eq(word, SLICE("noerror"))) {
		manner->noerror = true;
	} else if (slice_eq(word, SLICE("seen")) || slice_eq(word, SLICE("unseen"))) {
		if (manner->seen || manner->unseen)
			return WRONG(p, "\"seen\" or \"unseen\" repeated near line %u", p->words.line);
		*(word.len == 4 ? &manner->seen : &manner->unseen) = true;
	} else {
		*taken_ret = false;
		return OK;
	}
	if (words_end(&p->words))
		return WRONG(p, "%s near line %u is not followed by a command",
			     word.len == 7 ? "\"noerror\"" : "\"seen\" or \"unseen\"", p->words.line);
	return OK;
}

static enum rc parse_commands(struct parse *p, bool nested, struct command **ret, enum ending *ending_ret)
{
	struct manner manner = {0};
	struct slice word;
	bool taken;
	enum rc rc;

	*ending_ret = END_OF_TEXT;
	while (!words_end(&p->words)) {
		rc = words_word(&p->words, false, &word);
		if (rc == OK)
			rc = parse_manner(p, word, &manner, &taken);
		if (rc != OK)
			return rc;
		if (taken)
			continue;
		if (ends_branch(word, ending_ret)) {
			if (manner.seen || manner.unseen || manner.noerror)
				return WRONG(
				    p,
				    "\"seen\", \"unseen\", or \"noerror\" near line %u is not followed by a command",
				    p->words.line);
			return nested ? OK
				      : WRONG(p, "unexpected \"%.*s\" command near line %u of filter file",
					      SLICE_ARG(word), p->words.line);
		}
		rc = parse_command(p, word, &manner, ret);
		if (rc != OK)
			return rc;
		ret = &(*ret)->next;
		manner = (struct manner){0};
	}
	return OK;
}

enum rc exim_parse(struct arena *arena, struct slice text, const struct filter_rules *rules,
		   struct command **commands_ret, struct err *err)
{
	struct parse p = {.rules = rules};
	enum ending ending;

	if (text.len > FILTER_SIZE_MAX)
		return err_set(err, FAIL, "filter file is too long (max = %u bytes)", FILTER_SIZE_MAX);
	words_init(&p.words, arena, text, err);
	*commands_ret = NULL;
	return parse_commands(&p, false, commands_ret, &ending);
}
