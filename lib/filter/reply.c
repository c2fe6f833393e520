/* The commands mail and vacation of Exim filters. */
#include <stdio.h>

#include "tree.h"

static enum rc expand_all(struct run *run, const struct mail_arguments *mail, const char *command,
			  struct slice options[MAIL_OPTIONS])
{
	enum rc rc = OK;

	for (unsigned i = 0; i < MAIL_OPTIONS && rc == OK; i++) {
		options[i] = mail->options[i];
		if (options[i].ptr)
			rc = run_expand(run, mail->options[i], command, &options[i]);
	}
	return rc;
}

/* Behind a line end inside a header line stands white space, or, in extra_headers, the next name. */
static bool line_end_fits(struct slice rest, bool new_header)
{
	if (rest.len && ascii_is_space(rest.ptr[0]))
		return true;
	return new_header && header_name_length(rest) > 0;
}

/* Nothing that came with the message may begin a header line of ours. */
static enum rc check_options(struct run *run, const struct slice options[MAIL_OPTIONS], const char *command)
{
	for (unsigned i = 0; i < MAIL_OPTIONS; i++) {
		struct slice s = options[i];

		for (uint32_t at = 0; s.ptr && i != MAIL_TEXT && at < s.len; at++) {
			unsigned char c = (unsigned char)s.ptr[at];
			if (i > MAIL_TEXT && (c < ' ' || c >= 127) && c != '\t')
				return err_set(run->err, FAIL, "non-printing character in \"%.*s\" in %s",
					       SLICE_ARG(printable(run, s)), command);
			if (i < MAIL_TEXT && c == '\n' &&
			    !line_end_fits(slice_from(s, at + 1), i == MAIL_HEADERS))
				return err_set(run->err, FAIL,
					       "\\n not followed by space%s in \"%.*s\" in %s",
					       i == MAIL_HEADERS ? " or valid header name" : "",
					       SLICE_ARG(printable(run, s)), command);
		}
	}
	return OK;
}

static void print_reply(struct run *run, const struct command *c, const struct slice options[MAIL_OPTIONS])
{
	struct slice to = options[MAIL_TO].ptr ? options[MAIL_TO] : SLICE("<default>");

	print_line(run, "%sail to: %.*s%s%s", c->seen ? "Seen m" : "M", SLICE_ARG(to),
		   c->kind == CMD_VACATION ? " (vacation)" : "", c->noerror ? " (noerror)" : "");
	for (unsigned i = MAIL_TO + 1; i < MAIL_OPTIONS; i++)
		if (options[i].ptr)
			print_line(run, "%7s: %.*s%s", mail_option_names[i],
				   SLICE_ARG(printable(run, options[i])),
				   i == MAIL_FILE && c->mail->file_expand ? " (expanded)" : "");
	if (c->mail->return_message)
		print_line(run, "Return original message");
}

/* The address of the reply when there is no "to": Reply-To:, or From:. */
static enum rc default_to(struct run *run, struct slice *ret)
{
	return expand_text(run->sc, SLICE("$reply_address"), ret, run->err);
}

static enum rc make_reply(struct run *run, const struct command *c, const struct slice o[MAIL_OPTIONS])
{
	struct arena *arena = run->sc->task->arena;
	struct filter_reply *reply = arena_make(arena, struct filter_reply);
	struct filter_action *action;
	struct slice to = o[MAIL_TO];
	enum rc rc = reply ? OK : err_memory(run->err);

	if (rc == OK && !to.ptr)
		rc = default_to(run, &to);
	if (rc != OK)
		return rc;
	*reply = (struct filter_reply){
	    .to = to,
	    .cc = o[MAIL_CC],
	    .bcc = o[MAIL_BCC],
	    .from = o[MAIL_FROM],
	    .reply_to = o[MAIL_REPLY_TO],
	    .subject = o[MAIL_SUBJECT],
	    .headers = o[MAIL_HEADERS],
	    .text = o[MAIL_TEXT],
	    .file = o[MAIL_FILE],
	    .log = o[MAIL_LOG],
	    .once = o[MAIL_ONCE],
	    .file_expand = c->mail->file_expand,
	    .return_message = c->mail->return_message,
	    .to_default = !o[MAIL_TO].ptr,
	};
	if (o[MAIL_ONCE_REPEAT].ptr && !conf_parse_time(o[MAIL_ONCE_REPEAT], &reply->once_repeat_s))
		return err_set(run->err, FAIL,
			       "Bad time value for \"once_repeat\" in mail or vacation command: %.*s",
			       SLICE_ARG(o[MAIL_ONCE_REPEAT]));
	action = run_action(run, FILTER_REPLY, c->seen, c->noerror);
	if (!action)
		return FAIL;
	action->reply = reply;
	action->text = to;
	return OK;
}

enum rc run_reply(struct run *run, const struct command *c)
{
	const char *name = c->kind == CMD_MAIL ? "mail" : "vacation";
	char where[20];
	const struct address *me = run->sc->address;
	struct slice options[MAIL_OPTIONS];
	enum rc rc;

	/* A bounce is never answered. */
	if ((me && me->errors_to.ptr ? me->errors_to : scope_sender(run->sc)).len == 0) {
		if (run->rules->print)
			print_line(run, "%s command ignored because return_path is empty", name);
		return OK;
	}
	snprintf(where, sizeof(where), "%s command", name);
	rc = expand_all(run, c->mail, where, options);
	if (rc == OK)
		rc = check_options(run, options, where);
	if (rc != OK)
		return rc;
	if (!run->rules->print)
		return make_reply(run, c, options);
	print_reply(run, c, options);
	run->delivered |= c->seen;
	return OK;
}
