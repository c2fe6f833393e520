/* Sieve scripts: the commands (RFC 5228 sections 3 and 4). */
#include "sieve.h"

static enum rc blocks(struct sieve *s, bool exec, bool inner);

static enum rc semicolon(struct sieve *s)
{
	return sieve_sign(s, ';') ? OK : sieve_error(s, "missing semicolon");
}

static struct slice inbox(const struct sieve *s)
{
	struct slice name = s->run->rules->sieve_inbox;

	return name.ptr && name.len ? name : SLICE("inbox");
}

static enum rc save(struct sieve *s, struct slice folder)
{
	struct filter_action *action;

	if (s->run->rules->forbid_file && !s->run->rules->print)
		return err_set(s->err, FAIL, "\"%.*s\" is not permitted", SLICE_ARG(folder));
	action = run_action(s->run, FILTER_SAVE, true, false);
	if (!action)
		return FAIL;
	action->text = folder;
	return OK;
}

/* ---- if ---------------------------------------------------------------------------------------------------------------- */

static enum rc block(struct sieve *s, bool exec)
{
	enum rc rc = sieve_space(s);

	if (rc == OK && !sieve_sign(s, '{'))
		return sieve_error(s, "missing block");
	if (rc == OK)
		rc = sieve_enter(s);
	if (rc == OK)
		rc = blocks(s, exec, true);
	s->depth--;
	return rc;
}

static enum rc if_command(struct sieve *s, bool exec)
{
	bool value, found, done = false;
	enum rc rc;

	do {
		rc = sieve_space(s);
		if (rc == OK)
			rc = sieve_test(s, exec && !done, &value, &found);
		if (rc == OK && !found)
			return sieve_error(s, "missing test");
		if (rc == OK)
			rc = block(s, exec && !done && value);
		if (rc != OK || s->stopped)
			return rc;
		done |= value;
		rc = sieve_space(s);
	} while (rc == OK && sieve_word(s, "elsif"));
	if (rc == OK && sieve_word(s, "else"))
		rc = block(s, exec && !done);
	return rc;
}

/* ---- redirect, fileinto --------------------------------------------------------------------------------------------------- */

static enum rc take_copy(struct sieve *s, bool *ret)
{
	enum rc rc = sieve_space(s);

	*ret = false;
	if (rc != OK || !sieve_word(s, ":copy"))
		return rc;
	if (!(s->required & SIEVE_SAYS_COPY))
		return sieve_error(s, "missing previous require \"copy\";");
	*ret = true;
	return sieve_space(s);
}

static enum rc redirect_command(struct sieve *s, bool exec)
{
	struct filter_action *action;
	struct slice address;
	bool copy;
	enum rc rc = take_copy(s, &copy);

	if (rc == OK)
		rc = sieve_need_string(s, &address, "missing redirect recipient string");
	if (rc == OK && slice_find(address, '@') < 0)
		return sieve_error(s, "unqualified recipient address");
	if (rc == OK)
		rc = semicolon(s);
	if (rc != OK || !exec)
		return rc;
	action = run_action(s->run, FILTER_DELIVER, true, false);
	if (!action)
		return FAIL;
	action->text = address;
	s->keep &= copy;
	return OK;
}

static bool folder_fits(struct slice folder)
{
	return folder.len > 0 && slice_search(folder, SLICE("..")) < 0 && slice_find(folder, '\0') < 0 &&
	       slice_find(folder, '\n') < 0;
}

static enum rc fileinto_command(struct sieve *s, bool exec)
{
	struct slice folder;
	bool copy;
	enum rc rc;

	if (!(s->required & SIEVE_FILEINTO))
		return sieve_error(s, "missing previous require \"fileinto\";");
	rc = take_copy(s, &copy);
	if (rc == OK)
		rc = sieve_need_string(s, &folder, "missing fileinto folder string");
	if (rc == OK && !folder_fits(folder))
		return sieve_error(s, "invalid folder");
	if (rc == OK)
		rc = semicolon(s);
	if (rc != OK || !exec)
		return rc;
	s->keep &= copy;
	return save(s, folder);
}

/* ---- The others -------------------------------------------------------------------------------------------------------------- */

static enum rc short_command(struct sieve *s, bool exec, char which)
{
	enum rc rc = sieve_space(s);

	if (rc == OK)
		rc = semicolon(s);
	if (rc != OK || !exec)
		return rc;
	if (which == 's') {
		s->stopped = true;
		return OK;
	}
	s->keep = false;
	return which == 'k' ? save(s, inbox(s)) : OK;
}

static enum rc capability(struct sieve *s, struct slice name)
{
	static const struct {
		const char *name;
		unsigned flag;
	} known[] = {
	    {"fileinto", SIEVE_FILEINTO},
	    {"envelope", SIEVE_ENVELOPE},
	    {"copy", SIEVE_SAYS_COPY},
	    {"vacation", SIEVE_VACATION},
	    {"subaddress", SIEVE_SUBADDRESS},
	    {"encoded-character", SIEVE_ENCODED},
	    {"comparator-i;ascii-numeric", SIEVE_NUMERIC},
	    {"comparator-i;octet", 0},
	    {"comparator-i;ascii-casemap", 0},
	    {"enotify", SIEVE_ENOTIFY},
	};

	for (unsigned i = 0; i < ARRAY_COUNT(known); i++) {
		if (!slice_eq(name, slice_of(known[i].name)))
			continue;
		if (known[i].flag == SIEVE_ENOTIFY && s->run &&
		    !s->run->rules->sieve_enotify_mailto_owner.ptr)
			return sieve_error(s, "enotify disabled");
		if (known[i].flag == SIEVE_VACATION && s->run && !s->run->rules->print &&
		    (!s->run->rules->sieve_vacation_directory.ptr || s->run->rules->forbid_reply))
			return sieve_error(s, "vacation disabled");
		s->required |= known[i].flag;
		return OK;
	}
	return sieve_error(s, "unknown capability");
}

static enum rc require_command(struct sieve *s)
{
	struct string_list *names;
	enum rc rc = sieve_space(s);

	if (rc == OK)
		rc = sieve_need_list(s, &names, "capability string list expected");
	for (; rc == OK && names; names = names->next)
		rc = capability(s, names->text);
	return rc == OK ? semicolon(s) : rc;
}

static enum rc command(struct sieve *s, bool exec, bool *found_ret)
{
	static const char *const words[] = {"if",       "stop",     "keep",     "discard",
					    "redirect", "fileinto", "vacation", "notify"};
	unsigned which = 0;

	while (which < ARRAY_COUNT(words) && !sieve_word(s, words[which]))
		which++;
	*found_ret = which < ARRAY_COUNT(words);
	switch (which) {
	case 0:
		return if_command(s, exec);
	case 1:
	case 2:
	case 3:
		return short_command(s, exec, words[which][0]);
	case 4:
		return redirect_command(s, exec);
	case 5:
		return fileinto_command(s, exec);
	case 6:
		return sieve_vacation(s, exec);
	case 7:
		return sieve_notify(s, exec);
	default:
		return OK;
	}
}

/* Commands to the end of the text, or, inside, to the closing brace. */
static enum rc blocks(struct sieve *s, bool exec, bool inner)
{
	bool found = true;
	enum rc rc;

	for (;;) {
		rc = sieve_space(s);
		if (rc != OK || s->stopped)
			return rc;
		if (inner && sieve_sign(s, '}'))
			return OK;
		if (!inner && s->rest.len == 0)
			return OK;
		if (++s->steps > FILTER_COMMANDS_MAX)
			return sieve_error(s, "too many commands");
		rc = command(s, exec, &found);
		if (rc != OK)
			return rc;
		if (!found)
			return sieve_error(s, inner ? "expecting command or closing brace" : "syntax error");
	}
}

static enum rc script(struct sieve *s, struct slice text)
{
	enum rc rc;

	if (text.len > FILTER_SIZE_MAX)
		return err_set(s->err, FAIL, "script is too long (max = %u bytes)", FILTER_SIZE_MAX);
	s->rest = text;
	s->line = 1;
	rc = sieve_space(s);
	while (rc == OK && sieve_word(s, "require")) {
		rc = require_command(s);
		if (rc == OK)
			rc = sieve_space(s);
	}
	return rc == OK ? blocks(s, s->run != NULL, false) : rc;
}

enum rc sieve_check(struct arena *arena, struct slice text, struct err *err)
{
	struct sieve s = {.arena = arena, .err = err};

	return script(&s, text);
}

/* A script that is wrong delivers as if it were not there (RFC 5228 section 2.10.6), and the result says why. */
enum rc sieve_run(struct run *run, struct slice text)
{
	struct sieve s = {.arena = run->sc->task->arena, .err = run->err, .run = run, .keep = true};
	enum rc rc = script(&s, text);

	if (run->rules->print) {
		run->result->verdict = s.keep ? FILTER_CONTINUES : FILTER_DELIVERED;
		return rc;
	}
	if (rc != OK && rc != FAIL)
		return rc;
	if (rc == FAIL) {
		run->result->message = run->err->text;
		run->result->actions = NULL;
		run->result->action_count = 0;
		run->last = &run->result->actions;
	}
	run->result->verdict = FILTER_DELIVERED;
	return rc == FAIL || s.keep ? save(&s, inbox(&s)) : OK;
}
