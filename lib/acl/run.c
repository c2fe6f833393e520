/* run: the evaluation of an ACL: statements in order, conditions in order until one fails. */
#include "list.h"

const char *const acl_where_names[ACL_WHERE_COUNT] = {
    [ACL_WHERE_CONNECT] = "connection",
    [ACL_WHERE_HELO] = "EHLO or HELO",
    [ACL_WHERE_MAIL] = "MAIL",
    [ACL_WHERE_RCPT] = "RCPT",
    [ACL_WHERE_PREDATA] = "DATA",
    [ACL_WHERE_DATA] = "after DATA",
    [ACL_WHERE_PRDR] = "PRDR",
    [ACL_WHERE_MIME] = "during MIME ACL checks",
    [ACL_WHERE_DKIM] = "DKIM",
    [ACL_WHERE_NOT_SMTP] = "non-SMTP message",
    [ACL_WHERE_NOT_SMTP_START] = "pre-non-SMTP",
    [ACL_WHERE_AUTH] = "AUTH",
    [ACL_WHERE_MAILAUTH] = "AUTH on MAIL command",
    [ACL_WHERE_ETRN] = "ETRN",
    [ACL_WHERE_EXPN] = "EXPN",
    [ACL_WHERE_VRFY] = "VRFY",
    [ACL_WHERE_STARTTLS] = "STARTTLS",
    [ACL_WHERE_QUIT] = "QUIT",
    [ACL_WHERE_NOTQUIT] = "notquit",
    [ACL_WHERE_ATRN] = "ATRN",
    [ACL_WHERE_WELLKNOWN] = "WELLKNOWN",
    [ACL_WHERE_DELIVERY] = "delivery",
    [ACL_WHERE_UNKNOWN] = "unknown",
};

/* What an unset option means at each place. */
static bool accepted_by_default(enum acl_where where)
{
	switch (where) {
	case ACL_WHERE_RCPT:
	case ACL_WHERE_VRFY:
	case ACL_WHERE_EXPN:
	case ACL_WHERE_ETRN:
	case ACL_WHERE_ATRN:
	case ACL_WHERE_WELLKNOWN:
		return false;
	default:
		return true;
	}
}

void acl_outcome_init(struct acl_outcome *outcome)
{
	*outcome = (struct acl_outcome){
	    .user_message = {NULL, 0, 0},
	    .log_message = {NULL, 0, 0},
	    .control_text = {NULL, 0, 0},
	    .submission_domain = {NULL, 0, 0},
	    .submission_name = {NULL, 0, 0},
	    .queue_name = {NULL, 0, 0},
	    .unverified = {NULL, 0, 0},
	    .details = {NULL, 0, 0},
	    .wellknown = {NULL, 0, 0},
	    .reject_targets = LOG_TO_MAIN | LOG_TO_REJECT,
	    .tos = -1,
	};
}

struct acl_memory *acl_memory(struct scope *sc)
{
	struct acl_memory *memory;

	if (!sc->message)
		return NULL;
	memory = sc->message->extra[0];
	if (!memory && (memory = arena_make(&sc->message->arena, struct acl_memory))) {
		memory->headers_added = SLICE_EMPTY;
		map_init(&memory->rates, &sc->message->arena, false);
		sc->message->extra[0] = memory;
	}
	return memory;
}

enum acl_test acl_test_of(enum rc rc)
{
	return rc == OK ? TEST_TRUE : rc == FAIL ? TEST_FALSE : TEST_DEFER;
}

/* ---- What -bh and -d show, in the words that Exim's administrators know ------------------------------------------- */

#define TOLD DEBUG_CHECK(DEBUG_ACL)

/* "check !hosts = ...", and below the sign what it has become. */
static __attribute__((cold)) void tell_item(const struct acl_item *item, struct slice value)
{
	const char *not = item->negated ? "!" : "", *name = item->word->name;
	struct slice variable = item->word->value == VALUE_SET ? item->variable : SLICE_EMPTY;
	int width = (int)(strlen("check ") + strlen(not ) + strlen(name) + variable.len + (variable.len > 0));

	if (item->word->value == VALUE_NONE)
		return;
	debug_say("check %s%s%s%.*s = %.*s", not, name, variable.len ? " " : "", SLICE_ARG(variable),
		  SLICE_ARG(item->text));
	if (item->value && !slice_eq(value, item->text))
		debug_say("%*s = %.*s", width, "", SLICE_ARG(value));
}

/* ACL "name"; a text that is no name has none. */
#define LIST_ARGS(list) \
	(list)->name.len ? "ACL \"" : "inline ACL", SLICE_ARG((list)->name), (list)->name.len ? "\"" : ""

static void tell_statement(const struct acl_list *list, const struct acl_statement *st, enum acl_test test)
{
	static const char *const words[] = {
	    [TEST_TRUE] = "succeeded", [TEST_FALSE] = "failed", [TEST_DEFER] = "deferred",
	    [TEST_ERROR] = "error",    [TEST_DROP] = "failed",  [TEST_DISCARD] = "discard"};

	DEBUG(TOLD, "%s: condition test %s in %s%.*s%s", acl_verb_names[st->verb], words[test],
	      LIST_ARGS(list));
}

static void tell_end(const struct acl_run *run, const struct acl_list *list, enum acl_test test)
{
	static const char *const ends[] = {
	    [VERB_ACCEPT] = "ACCEPT",   [VERB_DEFER] = "DEFER", [VERB_DENY] = "DENY",
	    [VERB_DISCARD] = "DISCARD", [VERB_DROP] = "DROP",   [VERB_WARN] = "",
	    [VERB_REQUIRE] = "not OK"};
	enum acl_verb verb = run->statement->verb;

	if (test == TEST_DEFER || test == TEST_ERROR)
		return;
	if (run->endpass && test != TEST_TRUE && test != TEST_DISCARD)
		DEBUG(TOLD, "%s: endpass encountered - denying access", acl_verb_names[verb]);
	else
		DEBUG(TOLD, "end of %s%.*s%s: %s", LIST_ARGS(list), ends[verb]);
}

/* One condition or modifier. */
static enum acl_test item_run(struct acl_run *run, const struct acl_item *item)
{
	const struct acl_word *word = item->word;
	struct slice value = item->text;
	enum acl_test test;
	enum rc rc;

	if (word->not_at & 1u << run->where) {
		(void)err_set(run->err, FAIL, "cannot %s %s %s in %s ACL",
			      word->kind == CONDITION ? "test" : "use", word->name,
			      word->kind == CONDITION ? "condition" : "modifier",
			      acl_where_names[run->where]);
		return TEST_ERROR;
	}
	if (item->value && word->run) {
		rc = expand(run->sc, item->value, &value, run->err);
		if (rc == FAIL && run->err->forced)
			return TEST_TRUE; /* as if it were not there */
		if (rc != OK) {
			err_prefix(run->err, "failed to expand ACL string \"%.*s\"", SLICE_ARG(item->text));
			return rc == FAIL ? TEST_ERROR : TEST_DEFER;
		}
	}
	if (debug_on(TOLD))
		tell_item(item, value);
	test = word->run ? word->run(run, item, value) : TEST_TRUE;
	if (item->negated && (test == TEST_TRUE || test == TEST_FALSE || test == TEST_DROP))
		test = test == TEST_TRUE ? TEST_FALSE : TEST_TRUE;
	return test;
}

static enum acl_test statement_run(struct acl_run *run, const struct acl_statement *statement)
{
	run->statement = statement;
	run->message = run->log_message = NULL;
	run->user_text = run->log_text = (struct slice){NULL, 0, 0};
	run->outcome->user_message = run->outcome->log_message = (struct slice){NULL, 0, 0};
	run->endpass = false;
	for (const struct acl_item *item = statement->items; item; item = item->next) {
		enum acl_test test;

		/* These two are kept as they are until they are wanted. */
		if (item->word == &acl_word_message) {
			run->message = item->value;
			DEBUG(TOLD, "  message: %.*s", SLICE_ARG(item->text));
			continue;
		}
		if (item->word == &acl_word_log_message) {
			run->log_message = item->value;
			DEBUG(TOLD, "l_message: %.*s", SLICE_ARG(item->text));
			continue;
		}
		test = item_run(run, item);
		if (test != TEST_TRUE)
			return test;
	}
	return TEST_TRUE;
}

/* The texts of the statement that decided. What a condition had to say can be overridden by "message" and "log_message",
 * and can be had there as $acl_verify_message. */
static void texts(struct acl_run *run)
{
	struct scope *sc = run->sc;
	struct slice text;

	sc->acl_verify_message = run->user_text.ptr ? run->user_text : SLICE_EMPTY;
	if (run->message) {
		enum rc rc = expand(sc, run->message, &text, run->err);
		if (rc == OK)
			run->user_text = text;
		else if (!run->err->forced)
			log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL,
				   "failed to expand ACL message \"%.*s\": %.*s",
				   SLICE_ARG(expansion_text(run->message)), SLICE_ARG(run->err->text));
	}
	if (run->log_message) {
		enum rc rc = expand(sc, run->log_message, &text, run->err);
		if (rc == OK)
			run->log_text = text;
		else if (!run->err->forced)
			log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL,
				   "failed to expand ACL message \"%.*s\": %.*s",
				   SLICE_ARG(expansion_text(run->log_message)), SLICE_ARG(run->err->text));
	}
	if (run->user_text.ptr && run->user_text.len)
		run->outcome->user_message = run->user_text;
	if (run->log_text.ptr && run->log_text.len)
		run->outcome->log_message = run->log_text;
}

static bool header_add(struct acl_run *run, struct slice text);

static void warn_logs(struct acl_run *run, struct slice text)
{
	const struct client *c = run->sc->client;
	struct str line = str_make(run->sc->task->arena);

	if (c && c->ip.family) {
		str_addz(&line, "H=");
		if (c->host_name.len) {
			str_add(&line, c->host_name);
			str_addc(&line, ' ');
		}
		if (c->helo.len && !slice_eq_nocase(c->helo, c->host_name)) {
			str_addc(&line, '(');
			str_add(&line, c->helo);
			str_addz(&line, ") ");
		}
		str_addc(&line, '[');
		str_add_ip(&line, &c->ip);
		str_addz(&line, "] ");
	}
	str_addz(&line, "Warning: ");
	str_add(&line, text);
	log_write(run->sc->task->shard, run->sc->conf, LOG_TO_MAIN,
		  run->sc->message ? &run->sc->message->id : NULL, str_slice(&line));
}

/* "warn": what it has to log, and, in the older way of writing, the header that its message is. What a condition that was not
 * met ("!verify") has to say is no warning: nobody has asked for it. */
static void warn(struct acl_run *run)
{
	struct acl_outcome saved = *run->outcome;

	texts(run);
	if (run->log_message && run->log_text.ptr && run->log_text.len)
		warn_logs(run, run->log_text);
	if (run->message && run->user_text.ptr && run->user_text.len)
		(void)header_add(run, run->user_text);
	/* A warning says nothing to the client; what it asks for (controls, headers) stays. */
	run->outcome->user_message = saved.user_message;
	run->outcome->log_message = saved.log_message;
}

static void warn_skipped(struct acl_run *run)
{
	struct str text = str_make(run->sc->task->arena);

	if (!log_wants(run->sc->conf, LOG_ACL_WARN_SKIPPED))
		return;
	str_addz(&text, "ACL \"warn\" statement skipped: condition test deferred");
	if (run->user_text.ptr && run->user_text.len)
		str_printf(&text, ": %.*s", SLICE_ARG(run->user_text));
	if (run->err->text.len &&
	    !slice_eq(run->err->text, run->user_text.ptr ? run->user_text : SLICE_EMPTY))
		str_printf(&text, ": %.*s", SLICE_ARG(run->err->text));
	warn_logs(run, str_slice(&text));
}

/* Whether the result of the conditions is one that the statement's messages are for. "accept" and "discard" have them for
 * both: when they fail as the last statement of the list, that is what the denial at its end says. */
static bool has_texts(enum acl_verb verb, enum acl_test test)
{
	bool fails = test == TEST_FALSE || test == TEST_DROP;

	switch (verb) {
	case VERB_ACCEPT:
	case VERB_DISCARD:
		return fails || test == TEST_TRUE;
	case VERB_REQUIRE:
		return fails;
	default:
		return test == TEST_TRUE;
	}
}

/* true: the ACL is decided. */
static bool decide(struct acl_run *run, const struct acl_statement *statement, enum acl_test test,
		   enum acl_result *result_ret)
{
	enum acl_result refused;

	if (statement->verb == VERB_WARN) {
		if (test == TEST_TRUE)
			warn(run);
		else if (test == TEST_DEFER && !run->sc->task->cancelled)
			warn_skipped(run);
		else if (test == TEST_ERROR) {
			*result_ret = ACL_ERROR;
			return true;
		}
		return run->sc->task->cancelled;
	}
	if (test == TEST_ERROR) {
		*result_ret = ACL_ERROR;
		return true;
	}
	if (test == TEST_DEFER) {
		/* The statement's own texts are for its verdict, and this is none. */
		run->message = run->log_message = NULL;
		texts(run);
		*result_ret = ACL_DEFER;
		return true;
	}
	if (test == TEST_DISCARD) {
		*result_ret = ACL_DISCARD;
		return true;
	}
	if (has_texts(statement->verb, test)) {
		/* Behind an endpass stands what is said when it fails. Who is accepted hears the statement's own message
		 * only, not what a condition had to say. */
		if (run->endpass && test == TEST_TRUE)
			run->message = NULL;
		if (statement->verb == VERB_ACCEPT && test == TEST_TRUE) {
			run->user_text = run->log_text = (struct slice){NULL, 0, 0};
			run->outcome->user_message = run->outcome->log_message = run->user_text;
		}
		texts(run);
	}
	refused = test == TEST_DROP ? ACL_DROP : ACL_DENY;
	switch (statement->verb) {
	case VERB_ACCEPT:
		*result_ret = test == TEST_TRUE ? ACL_ACCEPT : refused;
		return test == TEST_TRUE || run->endpass;
	case VERB_DISCARD:
		*result_ret = test == TEST_TRUE ? ACL_DISCARD : refused;
		return test == TEST_TRUE || run->endpass;
	case VERB_DEFER:
		*result_ret = ACL_DEFER;
		return test == TEST_TRUE;
	case VERB_DENY:
		*result_ret = ACL_DENY;
		return test == TEST_TRUE;
	case VERB_DROP:
		*result_ret = ACL_DROP;
		return test == TEST_TRUE;
	case VERB_REQUIRE:
		*result_ret = refused;
		return test != TEST_TRUE;
	default:
		return false;
	}
}

/* A verb that makes no sense where the list runs: the list is used in a wrong place. */
static bool verb_fits(const struct acl_statement *statement, enum acl_where where, struct err *err)
{
	const uint32_t discards =
	    AT(MAIL) | AT(RCPT) | AT(MIME) | AT(DKIM) | AT(DATA) | AT(PRDR) | AT(NOT_SMTP) | AT(UNKNOWN);

	if (statement->verb != VERB_DISCARD || discards & 1u << where)
		return true;
	(void)err_set(err, FAIL, "\"discard\" verb not allowed in %s ACL", acl_where_names[where]);
	return false;
}

static enum acl_result list_run(struct scope *sc, enum acl_where where, const struct acl_list *list,
				struct acl_outcome *outcome, struct err *err)
{
	struct acl_run run = {.sc = sc, .where = where, .outcome = outcome, .err = err};
	enum acl_result result;

	if (list->name.len)
		DEBUG(TOLD, "using %s%.*s%s", LIST_ARGS(list));
	for (const struct acl_statement *st = list->statements; st; st = st->next) {
		enum acl_test test;

		*err = err_make(sc->task->arena);
		if (!verb_fits(st, where, err))
			return ACL_ERROR;
		DEBUG(TOLD, "processing \"%s\" (%.*s %u)", acl_verb_names[st->verb],
		      SLICE_ARG(list->name.len && list->name.ptr[0] == '/' ? list->name
									   : slice_of(st->place.file)),
		      st->place.line);
		test = statement_run(&run, st);
		tell_statement(list, st, test);
		if (decide(&run, st, test, &result)) {
			tell_end(&run, list, test);
			return sc->task->cancelled ? ACL_ERROR : result;
		}
	}
	DEBUG(TOLD, "end of %s%.*s%s: implicit DENY", LIST_ARGS(list));
	return ACL_DENY; /* the end of a list denies */
}

/* ---- Finding the list -------------------------------------------------------------------------------------------- */

enum acl_result acl_run_named(struct scope *sc, enum acl_where where, struct slice name,
			      const struct slice *arguments, unsigned argument_count,
			      struct acl_outcome *outcome, struct err *err)
{
	const struct acl_section *section = conf_section(sc->conf, CONF_SECTION_ACL);
	struct acl_frame frame = {
	    .outer = sc->acl, .depth = sc->acl ? sc->acl->depth + 1 : 1, .argument_count = argument_count};
	const struct acl_list *list;
	struct acl_list parsed;
	enum acl_result result;
	struct slice text;

	if (frame.depth > ACL_DEPTH_MAX || fiber_stack_left() < 24 * 1024) {
		(void)err_set(err, FAIL, "ACL nested too deep: possible loop");
		return ACL_ERROR;
	}
	for (unsigned i = 0; i < argument_count; i++)
		frame.arguments[i] = arguments[i];
	name = slice_trim(name);
	list = section ? map_get(&section->lists, name) : NULL;
	if (!list && name.taint) {
		(void)err_set(err, FAIL, "attempt to use tainted ACL text \"%.*s\"", SLICE_ARG(name));
		return ACL_ERROR;
	}
	if (!list) {
		text = name;
		if (name.len && name.ptr[0] == '/' && file_cached(sc, name, &text, err) != OK) {
			err_prefix(err, "failed to open ACL file \"%.*s\"", SLICE_ARG(name));
			return ACL_ERROR;
		}
		if (acl_parse_text(sc->conf, sc->task->arena, arena_copy(sc->task->arena, text), &parsed,
				   err) != OK) {
			/* One word that is no verb was meant as a name. */
			if (slice_find(name, ' ') < 0 && slice_find(name, '\n') < 0 && name.ptr[0] != '/')
				(void)err_set(err, FAIL, "unknown ACL \"%.*s\"", SLICE_ARG(name));
			return ACL_ERROR;
		}
		parsed.name = text.ptr == name.ptr ? SLICE_EMPTY : name;
		list = &parsed;
	}
	sc->acl = &frame;
	debug_indent(frame.outer ? 1 : 0);
	result = list_run(sc, where, list, outcome, err);
	debug_indent(frame.outer ? -1 : 0);
	sc->acl = frame.outer;
	return result;
}

enum acl_result acl_check(struct scope *sc, enum acl_where where, const struct expansion *acl,
			  struct acl_outcome *outcome, struct err *err)
{
	struct acl_memory *memory;
	enum acl_result result;
	struct slice name;
	enum rc rc;

	if (!acl)
		return accepted_by_default(where) ? ACL_ACCEPT : ACL_DENY;
	rc = expand(sc, acl, &name, err);
	if (rc == FAIL && err->forced)
		return accepted_by_default(where) ? ACL_ACCEPT : ACL_DENY;
	if (rc != OK) {
		err_prefix(err, "failed to expand ACL string \"%.*s\"", SLICE_ARG(expansion_text(acl)));
		return rc == DEFER ? ACL_DEFER : ACL_ERROR;
	}
	if (!slice_trim(name).len)
		return ACL_DENY; /* a list without statements, and the end of a list denies */
	result = acl_run_named(sc, where, name, NULL, 0, outcome, err);
	memory = sc->message ? sc->message->extra[0] : NULL;
	if ((result == ACL_DENY || result == ACL_DROP) && memory && memory->unverified.ptr &&
	    !memory->details_told) {
		outcome->unverified = memory->unverified;
		outcome->details = memory->details;
		memory->details_told = true;
	}
	return result;
}

/* ---- Headers ------------------------------------------------------------------------------------------------------- */

static bool header_same(const struct acl_outcome *outcome, struct slice text)
{
	for (const struct acl_header_change *c = outcome->headers; c; c = c->next)
		if (c->how != HEADER_REMOVE && slice_eq(c->text, text))
			return true;
	return false;
}

/* For $headers_added: those yet to be added, which later ACLs of the message can ask for. */
static bool header_remember(struct acl_memory *memory, struct scope *sc, struct slice text)
{
	struct str all;

	if (!memory)
		return true;
	all = str_make(&sc->message->arena);
	(void)str_reserve(&all, memory->headers_added.len + 1 + text.len);
	str_add(&all, memory->headers_added);
	if (memory->headers_added.len)
		str_addc(&all, '\n');
	str_add(&all, slice_rtrim(text));
	if (all.failed)
		return false;
	memory->headers_added = str_slice(&all);
	return true;
}

static bool header_one(struct acl_run *run, struct slice text, int how)
{
	struct arena *arena = run->sc->task->arena;
	struct acl_header_change *change, **end = &run->outcome->headers;
	struct slice name = text;
	uint32_t colon = 0;
	struct str line = str_make(arena);

	/* A name, a colon; what has none is made one, as old configurations count on. */
	while (colon < name.len && (unsigned char)name.ptr[colon] > ' ' && name.ptr[colon] != ':' &&
	       (unsigned char)name.ptr[colon] < 127)
		colon++;
	(void)str_reserve(&line, text.len + sizeof("X-ACL-Warn: "));
	if (!colon || colon == name.len || name.ptr[colon] != ':')
		str_addz(&line, "X-ACL-Warn: ");
	str_add(&line, text);
	str_addc(&line, '\n');
	text = str_slice(&line);
	if (!text.ptr)
		return false;
	if (header_same(run->outcome, text))
		return true;
	change = arena_make(arena, struct acl_header_change);
	if (!change)
		return false;
	if (!header_remember(acl_memory(run->sc), run->sc, text))
		return false;
	change->text = text;
	change->how = (typeof(change->how))how;
	while (*end)
		end = &(*end)->next;
	*end = change;
	return true;
}

/* Where the line says that it wants to stand; the words are taken off. */
static int header_place(struct slice *text)
{
	static const struct {
		struct slice prefix;
		int how;
	} places[] = {
	    {SLICE_INIT(":after_received:"), HEADER_ADD_AFTER_RECEIVED},
	    {SLICE_INIT(":at_start_rfc:"), HEADER_ADD_AT_START_RFC},
	    {SLICE_INIT(":at_start:"), HEADER_ADD_AT_TOP},
	    {SLICE_INIT(":at_end:"), HEADER_ADD_AT_END},
	};

	if (!text->len || text->ptr[0] != ':')
		return HEADER_ADD_AT_END;
	for (unsigned i = 0; i < ARRAY_COUNT(places); i++)
		if (slice_starts_nocase(*text, places[i].prefix)) {
			*text = slice_ltrim(slice_from(*text, places[i].prefix.len));
			return places[i].how;
		}
	return HEADER_ADD_AT_END;
}

static bool header_placed(struct acl_run *run, struct slice text)
{
	int how = header_place(&text);

	return !text.len || header_one(run, slice_rtrim(text), how);
}

/* One or more header lines, separated by newlines, each with a place of its own; a line that begins with white space goes on the
 * one before. */
static bool header_add(struct acl_run *run, struct slice text)
{
	struct slice rest = slice_trim(text), line, whole = SLICE_EMPTY;

	while (slice_split(&rest, '\n', &line)) {
		if (line.len && ascii_is_space(line.ptr[0]) && whole.len) {
			whole.len = (uint32_t)(line.ptr + line.len - whole.ptr);
			continue;
		}
		if (!header_placed(run, whole))
			return false;
		whole = line;
	}
	return header_placed(run, whole);
}

void acl_headers_applied(struct message *message)
{
	struct acl_memory *memory = message->extra[0];

	if (memory)
		memory->headers_added = SLICE_EMPTY;
}

static enum acl_test run_add_header(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)item;
	if (header_add(run, value))
		return TEST_TRUE;
	(void)err_memory(run->err);
	return TEST_ERROR;
}

static enum acl_test run_remove_header(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct acl_header_change *change = arena_make(run->sc->task->arena, struct acl_header_change);
	struct acl_header_change **end = &run->outcome->headers;

	(void)item;
	if (!change) {
		(void)err_memory(run->err);
		return TEST_ERROR;
	}
	change->text = arena_copy(run->sc->task->arena, value);
	change->how = HEADER_REMOVE;
	while (*end)
		end = &(*end)->next;
	*end = change;
	return TEST_TRUE;
}

#define NO_MESSAGE                                                                                          \
	(AT(CONNECT) | AT(HELO) | AT(AUTH) | AT(MAILAUTH) | AT(ETRN) | AT(EXPN) | AT(VRFY) | AT(STARTTLS) | \
	 AT(QUIT) | AT(NOTQUIT) | AT(ATRN) | AT(WELLKNOWN))
const struct acl_word acl_word_add_header = {"add_header", MODIFIER, VALUE_EXPAND, NO_MESSAGE,
					     run_add_header};
const struct acl_word acl_word_remove_header = {"remove_header", MODIFIER, VALUE_EXPAND, NO_MESSAGE,
						run_remove_header};
