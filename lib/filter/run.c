/* An Exim filter at work: its commands, one after the other. */
#include <stdio.h>
#include <stdlib.h>

#include "sieve.h"
#include "tree.h"

static const char *const command_names[] = {
    [CMD_ADD] = "add",           [CMD_DEFER] = "defer",
    [CMD_DELIVER] = "deliver",   [CMD_FAIL] = "fail",
    [CMD_FINISH] = "finish",     [CMD_FREEZE] = "freeze",
    [CMD_HEADERS] = "headers",   [CMD_IF] = "if",
    [CMD_LOGFILE] = "logfile",   [CMD_LOGWRITE] = "logwrite",
    [CMD_MAIL] = "mail",         [CMD_PIPE] = "pipe",
    [CMD_SAVE] = "save",         [CMD_TESTPRINT] = "testprint",
    [CMD_VACATION] = "vacation",
};

enum filter_language filter_language(struct slice text)
{
	text = slice_ltrim(text);
	if (text.len == 0 || text.ptr[0] != '#')
		return FILTER_NONE;
	text = slice_ltrim(slice_from(text, 1));
	for (enum filter_language language = FILTER_EXIM; language <= FILTER_SIEVE; language++) {
		struct slice first = language == FILTER_EXIM ? SLICE("exim") : SLICE("sieve");

		if (slice_starts_nocase(text, first) &&
		    slice_starts_nocase(slice_ltrim(slice_from(text, first.len)), SLICE("filter")))
			return language;
	}
	return FILTER_NONE;
}

/* The shard has other work, too: a long filter lets others run now and then. */
enum rc run_step(struct run *run)
{
	if (++run->steps > FILTER_STEPS_MAX)
		return err_set(run->err, FAIL, "filter takes too many steps (max = %d)", FILTER_STEPS_MAX);
	return run->steps % 1000 == 0 ? task_yield(run->sc->task) : OK;
}

enum rc run_expand(struct run *run, struct slice text, const char *where, struct slice *ret)
{
	enum rc rc = expand_text(run->sc, text, ret, run->err);

	if (rc == FAIL || rc == DEFER)
		err_prefix(run->err, "failed to expand \"%.*s\" in %s", SLICE_ARG(text), where);
	return rc;
}

static enum rc expand_argument(struct run *run, const struct command *c, struct slice text, struct slice *ret)
{
	char where[24];

	snprintf(where, sizeof(where), "%s command", command_names[c->kind]);
	return run_expand(run, text, where, ret);
}

struct filter_action *run_action(struct run *run, enum filter_action_kind kind, bool seen, bool noerror)
{
	struct filter_action *action = NULL;

	if (run->result->action_count >= FILTER_ACTIONS_MAX) {
		(void)err_set(run->err, FAIL, "filter sets up more than %d deliveries", FILTER_ACTIONS_MAX);
		return NULL;
	}
	action = arena_make(run->sc->task->arena, struct filter_action);
	if (!action) {
		(void)err_memory(run->err);
		return NULL;
	}
	*action = (struct filter_action){.kind = kind,
					 .noerror = noerror,
					 .mode = -1,
					 .errors_to = {NULL, 0, CLEAN},
					 .number = run->result->action_count + 1};
	*run->last = action;
	run->last = &action->next;
	run->result->action_count++;
	run->delivered |= seen;
	return action;
}

unsigned filter_action_number(const struct filter_action *action)
{
	return action ? action->number : 0;
}

/* ---- deliver ------------------------------------------------------------------------------------------------------ */

/* One address, in the form of header lines; a bare local part gets qualify_recipient. */
static enum rc one_address(struct run *run, struct slice text, struct slice *ret)
{
	const struct conf_main *conf = conf_main(run->sc->conf);
	struct err err = err_make(run->sc->task->arena);
	struct address_parts parts;
	enum rc rc = address_parse(run->sc->task->arena, text,
				   ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8,
				   &parts, &err);

	if (rc != OK)
		return err_set(run->err, rc, "malformed address \"%.*s\" in filter file: %.*s",
			       SLICE_ARG(text), SLICE_ARG(err.text));
	*ret = parts.full;
	if (parts.domain.len)
		return OK;
	*ret = arena_printf(
	    run->sc->task->arena, "%.*s@%.*s", SLICE_ARG(parts.full),
	    SLICE_ARG(conf->qualify_recipient.len ? conf->qualify_recipient : conf->qualify_domain));
	ret->taint = parts.full.taint;
	return ret->ptr ? OK : err_memory(run->err);
}

/* Users may have errors sent to nobody but themselves. */
static bool errors_to_permitted(struct run *run, struct slice errors_to)
{
	const struct address *me = run->sc->address;
	struct slice own;

	if (run->rules->system)
		return true;
	if (!me)
		return false;
	own =
	    arena_printf(run->sc->task->arena, "%.*s@%.*s", SLICE_ARG(me->local_part), SLICE_ARG(me->domain));
	return own.ptr && slice_eq_nocase(own, errors_to);
}

static enum rc run_deliver(struct run *run, const struct command *c)
{
	struct slice text, address, errors_to = {NULL, 0, CLEAN};
	struct filter_action *action;
	enum rc rc = expand_argument(run, c, c->text, &text);

	if (rc == OK && c->second.ptr) {
		rc = expand_argument(run, c, c->second, &errors_to);
		if (rc == OK)
			rc = one_address(run, errors_to, &errors_to);
		if (rc == OK && !errors_to_permitted(run, errors_to))
			rc = err_set(run->err, FAIL, "errors_to must point to the caller's address");
	}
	if (rc == OK)
		rc = one_address(run, text, &address);
	if (rc != OK)
		return rc;
	if (run->rules->print)
		print_line(run, "%seliver message to: %.*s%s%s%.*s", c->seen ? "D" : "Unseen d",
			   SLICE_ARG(address), c->noerror ? " (noerror)" : "",
			   errors_to.ptr ? " errors_to " : "", (int)errors_to.len,
			   errors_to.ptr ? errors_to.ptr : "");
	action = run_action(run, FILTER_DELIVER, c->seen, c->noerror);
	if (!action)
		return FAIL;
	action->text = address;
	action->errors_to = errors_to;
	return OK;
}

/* ---- save, pipe -------------------------------------------------------------------------------------------------------- */

static enum rc run_save(struct run *run, const struct command *c)
{
	const struct address *me = run->sc->address;
	struct filter_action *action;
	struct slice path, full;
	char mode[16] = "";
	enum rc rc = expand_argument(run, c, c->text, &path);

	if (rc != OK)
		return rc;
	if (run->rules->forbid_file)
		return err_set(run->err, FAIL, "\"save\" is not permitted: %.*s", SLICE_ARG(path));
	full = path;
	if (run->rules->prepend_home && me && me->home.ptr && me->home.len &&
	    (path.len == 0 || path.ptr[0] != '/')) {
		full = arena_printf(run->sc->task->arena, "%.*s/%.*s", SLICE_ARG(me->home), SLICE_ARG(path));
		full.taint = me->home.taint | path.taint;
		if (!full.ptr)
			return err_memory(run->err);
	}
	if (c->mode >= 0)
		snprintf(mode, sizeof(mode), " %04o", (unsigned)c->mode);
	if (run->rules->print)
		print_line(run, "%save message to: %.*s%s%s", c->seen ? "S" : "Unseen s", SLICE_ARG(path),
			   mode, c->noerror ? " (noerror)" : "");
	action = run_action(run, FILTER_SAVE, c->seen, c->noerror);
	if (!action)
		return FAIL;
	action->text = full;
	action->mode = c->mode;
	return OK;
}

/* The command's words are expanded when it runs, so that nothing in a message can add a word. */
static enum rc run_pipe(struct run *run, const struct command *c)
{
	struct scope *sc = run->sc;
	struct filter_action *action;

	if (run->rules->forbid_pipe)
		return err_set(run->err, FAIL, "\"pipe\" is not permitted: %.*s", SLICE_ARG(c->text));
	if (run->rules->print)
		print_line(run, "%sipe message to: %.*s%s", c->seen ? "P" : "Unseen p", SLICE_ARG(c->text),
			   c->noerror ? " (noerror)" : "");
	action = run_action(run, FILTER_PIPE, c->seen, c->noerror);
	if (!action)
		return FAIL;
	action->text = c->text;
	action->expand_pipe = true;
	memcpy(action->numeric, sc->numeric, sizeof(action->numeric));
	action->numeric_count = sc->numeric_count;
	action->this_address = sc->this_address;
	return OK;
}

/* ---- add, headers ------------------------------------------------------------------------------------------------------ */

static enum rc int_number(struct run *run, struct slice text, int32_t *ret)
{
	char *s = arena_cstr(run->sc->task->arena, text), *end;

	if (!s)
		return err_memory(run->err);
	*ret = (int32_t)strtoll(s, &end, 0);
	if (end != s + text.len)
		return err_set(run->err, FAIL, "malformed number \"%.*s\" in \"add\" command",
			       SLICE_ARG(text));
	return OK;
}

static enum rc run_add(struct run *run, const struct command *c)
{
	struct slice number, variable;
	int32_t by = 0, index = 0;
	enum rc rc = expand_argument(run, c, c->text, &number);

	if (rc == OK)
		rc = expand_argument(run, c, c->second, &variable);
	if (rc == OK)
		rc = int_number(run, number, &by);
	if (rc != OK)
		return rc;
	if (variable.len > 0 && variable.ptr[0] == 'n' && variable.len <= 2)
		rc = int_number(run, slice_from(variable, 1), &index);
	else
		rc = err_set(run->err, FAIL, "unknown variable \"%.*s\" in \"add\" command",
			     SLICE_ARG(variable));
	if (rc != OK)
		return rc;
	if (index < 0 || index > 9)
		return err_set(run->err, FAIL, "unknown variable \"%.*s\" in \"add\" command",
			       SLICE_ARG(variable));
	if (run->rules->print)
		print_line(run, "Add %d to n%d", by, index);
	run->sc->filter_n[index] = (int32_t)((uint32_t)run->sc->filter_n[index] + (uint32_t)by);
	return OK;
}

/* Each line of the text that does not begin with white space is a field of its own. */
static enum rc add_fields(struct run *run, struct slice text)
{
	struct message *m = run->sc->message;
	uint32_t at;

	for (text = slice_ltrim(text); text.len; text = slice_from(text, at)) {
		struct slice one;
		struct header *header;

		for (at = 0; at < text.len; at++)
			if (text.ptr[at] == '\n' &&
			    (at + 1 == text.len || (text.ptr[at + 1] != ' ' && text.ptr[at + 1] != '\t')))
				break;
		one = slice_sub(text, 0, at);
		at += at < text.len;
		if (one.len == 0)
			continue;
		header = header_make(&m->arena, one);
		if (!header)
			return err_memory(run->err);
		header_append(&m->headers, header);
		if (run->rules->header)
			run->rules->header(run->rules->header_arg, true, one);
	}
	return OK;
}

static void remove_fields(struct run *run, struct slice names)
{
	struct message *m = run->sc->message;
	struct slice name;

	while (slice_split(&names, ':', &name)) {
		name = slice_trim(name);
		if (name.len == 0)
			continue;
		for (struct header *h; (h = header_find(&m->headers, name, NULL));)
			header_delete(h);
		if (run->rules->header)
			run->rules->header(run->rules->header_arg, false, name);
	}
}

static enum rc run_headers(struct run *run, const struct command *c)
{
	static const char *const names[] = {
	    [HEADERS_ADD] = "add", [HEADERS_REMOVE] = "remove", [HEADERS_CHARSET] = "charset"};
	struct slice text;
	enum rc rc = expand_argument(run, c, c->text, &text);

	if (rc == FAIL && run->err->forced && c->headers == HEADERS_ADD && !run->rules->print)
		return OK; /* a forced failure: nothing to add */
	if (rc != OK)
		return rc;
	if (run->rules->print)
		print_line(run, "Headers %s \"%.*s\"", names[c->headers], SLICE_ARG(printable(run, text)));
	switch (c->headers) {
	case HEADERS_ADD:
		return add_fields(run, text);
	case HEADERS_REMOVE:
		remove_fields(run, text);
		return OK;
	case HEADERS_CHARSET:
		run->sc->headers_charset = text;
		return OK;
	}
	return OK;
}

/* ---- logfile, logwrite --------------------------------------------------------------------------------------------------- */

static enum rc run_logfile(struct run *run, const struct command *c)
{
	struct slice path;
	enum rc rc = expand_argument(run, c, c->text, &path);

	if (rc != OK)
		return rc;
	if (run->rules->print) {
		print_line(run, "%sogfile %.*s", c->seen ? "Seen l" : "L", SLICE_ARG(path));
		return OK;
	}
	if (path.taint == TAINTED)
		return err_set(run->err, FAIL, "attempt to use tainted name '%.*s' for logfile",
			       SLICE_ARG(path));
	run->log_file = arena_cstr(run->sc->task->arena, path);
	run->log_mode = c->mode < 0 ? 0600 : c->mode & 0777;
	return run->log_file ? OK : err_memory(run->err);
}

/* Ends in a line end before it is expanded, as in Exim: so that it is one line however it comes out. */
static enum rc run_logwrite(struct run *run, const struct command *c)
{
	struct slice text = c->text;
	enum rc rc;

	if (text.ptr[text.len - 1] != '\n') {
		text = arena_printf(run->sc->task->arena, "%.*s\n", SLICE_ARG(c->text));
		text.taint = c->text.taint;
		if (!text.ptr)
			return err_memory(run->err);
	}
	rc = expand_argument(run, c, text, &text);
	if (rc != OK)
		return rc;
	if (run->rules->print) {
		print_line(run, "%sogwrite \"%.*s\"", c->seen ? "Seen l" : "L",
			   SLICE_ARG(printable(run, text)));
		return OK;
	}
	if (!run->log_file || !run->rules->log)
		return OK;
	return run->rules->log(run->rules->log_arg, run->sc, run->log_file, run->log_mode, text, run->err);
}

/* ---- defer, fail, freeze, finish ----------------------------------------------------------------------------------------- */

/* "<<for the log>>for the bounce". */
static void split_message(struct filter_result *result, struct slice text)
{
	ptrdiff_t end = slice_starts(text, SLICE("<<")) ? slice_search(text, SLICE(">>")) : -1;

	result->message = end < 0 ? text : slice_sub(text, 2, (size_t)end - 2);
	result->user_message = end < 0 ? text : slice_from(text, (size_t)end + 2);
}

static enum rc run_verdict(struct run *run, const struct command *c)
{
	const char *name = c->kind == CMD_DEFER ? "Defer" : c->kind == CMD_FAIL ? "Fail" : "Freeze";
	struct slice text;
	enum rc rc;

	/* A message that somebody let go again is not frozen once more. */
	if (c->kind == CMD_FREEZE && run->sc->message->manual_thaw && !run->rules->print)
		return OK;
	rc = expand_argument(run, c, c->text, &text);
	if (rc != OK)
		return rc;
	if (run->rules->print)
		print_line(run, "%s text \"%.*s\"", name, SLICE_ARG(printable(run, text)));
	split_message(run->result, text);
	run->result->verdict = c->kind == CMD_DEFER  ? FILTER_DEFERS
			       : c->kind == CMD_FAIL ? FILTER_FAILS
						     : FILTER_FREEZES;
	run->over = true;
	return OK;
}

static enum rc run_testprint(struct run *run, const struct command *c)
{
	struct slice text;
	enum rc rc;

	if (!run->rules->print)
		return OK;
	rc = expand_argument(run, c, c->text, &text);
	if (rc == OK)
		print_line(run, "Testprint: %.*s", SLICE_ARG(printable(run, text)));
	return rc;
}

static void run_finish(struct run *run, const struct command *c)
{
	if (run->rules->print)
		print_line(run, "%sinish", c->seen ? "Seen f" : "F");
	run->over = true;
}

/* ---- All of them ------------------------------------------------------------------------------------------------------------ */

static enum rc run_commands(struct run *run, const struct command *c);

static enum rc run_if(struct run *run, const struct command *c)
{
	struct slice saved = run->sc->this_address;
	enum rc rc = OK;

	for (const struct branch *b = c->branches; b && rc == OK; b = b->next) {
		bool yes = true;

		if (b->condition)
			rc = condition_test(run, b->condition, &yes);
		if (b->condition && rc == OK)
			DEBUG(DEBUG_FILTER, "filter: the condition of \"if\" is %s", yes ? "true" : "false");
		if (rc == OK && yes) {
			rc = run_commands(run, b->commands);
			break;
		}
	}
	run->sc->this_address = saved;
	return rc;
}

static enum rc run_command(struct run *run, const struct command *c)
{
	switch (c->kind) {
	case CMD_ADD:
		return run_add(run, c);
	case CMD_DEFER:
	case CMD_FAIL:
	case CMD_FREEZE:
		return run_verdict(run, c);
	case CMD_DELIVER:
		return run_deliver(run, c);
	case CMD_FINISH:
		run_finish(run, c);
		return OK;
	case CMD_HEADERS:
		return run_headers(run, c);
	case CMD_IF:
		return run_if(run, c);
	case CMD_LOGFILE:
		return run_logfile(run, c);
	case CMD_LOGWRITE:
		return run_logwrite(run, c);
	case CMD_MAIL:
	case CMD_VACATION:
		return run_reply(run, c);
	case CMD_PIPE:
		return run_pipe(run, c);
	case CMD_SAVE:
		return run_save(run, c);
	case CMD_TESTPRINT:
		return run_testprint(run, c);
	}
	return OK;
}

static enum rc run_commands(struct run *run, const struct command *c)
{
	enum rc rc = OK;

	for (; c && rc == OK && !run->over; c = c->next) {
		rc = run_step(run);
		DEBUG(DEBUG_FILTER, "filter: %s%s", c->seen ? "seen " : "", command_names[c->kind]);
		if (rc == OK)
			rc = run_command(run, c);
		if (rc == OK && c->seen)
			run->delivered = true;
	}
	return rc;
}

static enum rc run_exim(struct run *run, struct slice text)
{
	struct command *commands;
	enum rc rc;

	/* A filter that is malformed in its last line does nothing at all. */
	rc = exim_parse(run->sc->task->arena, text, run->rules, &commands, run->err);
	if (rc == OK)
		rc = run_commands(run, commands);
	if (rc == OK && run->result->verdict == FILTER_CONTINUES && run->delivered)
		run->result->verdict = FILTER_DELIVERED;
	return rc;
}

enum rc filter_apply(struct scope *sc, enum filter_language language, struct slice text,
		     const struct filter_rules *rules, struct filter_result *ret, struct err *err)
{
	struct scope inner = *sc; /* what the filter sets, numbers included, ends with it */
	struct run run = {.sc = &inner, .rules = rules, .result = ret, .err = err};
	enum rc rc;

	*ret = (struct filter_result){.message = SLICE_EMPTY, .user_message = SLICE_EMPTY};
	run.last = &ret->actions;
	memset(inner.filter_n, 0, sizeof(inner.filter_n));
	memset(inner.numeric, 0, sizeof(inner.numeric));
	inner.numeric_count = 0;
	inner.this_address = (struct slice){NULL, 0, CLEAN};
	inner.expand_forbidden |= rules->forbid_expand;
	rc = language == FILTER_SIEVE ? sieve_run(&run, text) : run_exim(&run, text);
	if (rules->system && rc == OK)
		memcpy(sc->message->filter_sn, inner.filter_n, sizeof(inner.filter_n));
	return rc;
}

enum rc filter_check(struct arena *arena, enum filter_language language, struct slice text, struct err *err)
{
	const struct filter_rules rules = {.system = true};
	struct command *commands;

	return language == FILTER_SIEVE ? sieve_check(arena, text, err)
					: exim_parse(arena, text, &rules, &commands, err);
}
