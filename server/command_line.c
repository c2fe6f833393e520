/* command_line: what was asked for: by the program's name (sendmail, mailq, runq, rmail, rsmtp, newaliases), by options
 * (command_options.c), and by what stands behind them. */
#include "command_options.h"

#include <stdio.h>
#include <stdlib.h>

static bool is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* As if these options stood in front of all others. */
static void read_name(struct command_line *cl, const char *program)
{
	const char *slash = strrchr(program, '/');
	const char *name = slash ? slash + 1 : program;

	if (is(name, "mailq")) {
		cl->mode = MODE_LIST;
	} else if (is(name, "runq")) {
		cl->mode = MODE_QUEUE_RUN;
		cl->queue_runner = true;
	} else if (is(name, "newaliases")) {
		cl->mode = MODE_NEWALIASES;
	} else if (is(name, "rmail")) {
		cl->mode = MODE_SUBMIT;
		cl->ignore_dot = true;
		cl->errors = ERRORS_MAIL_ZERO;
	} else if (is(name, "rsmtp")) {
		cl->mode = MODE_BATCH_SMTP;
	}
}

static bool read_operands(struct reading *r)
{
	struct command_line *cl = r->cl;

	for (; r->at < r->argc; r->at++) {
		if (cl->operand_count == ARRAY_COUNT(cl->operands))
			return option_complain("more than %zu arguments", ARRAY_COUNT(cl->operands));
		cl->operands[cl->operand_count++] = r->argv[r->at];
	}
	return true;
}

/* -M and its kin: ids, or one id and addresses. */
static bool check_messages(const struct command_line *cl)
{
	unsigned ids = cl->operand_count;
	bool deliver = cl->mode == MODE_DELIVER;

	if (!ids)
		return option_complain("no message ids given after %s option", cl->messages_option);
	if (!deliver && queue_action_takes_addresses(cl->action)) {
		if (ids < 2)
			return option_complain("an address is expected after %s %s", cl->messages_option,
					       cl->operands[0]);
		if (cl->action == QUEUE_EDIT_SENDER && ids > 2)
			return option_complain("only one address is expected after %s %s",
					       cl->messages_option, cl->operands[0]);
		ids = 1;
	}
	for (unsigned i = 0; i < ids; i++)
		if (!message_id_parse(slice_of(cl->operands[i]), &(struct message_id){""}))
			return option_complain("malformed message id %s after %s option", cl->operands[i],
					       cl->messages_option);
	return true;
}

/* What one option cannot know of the others. */
static bool check(struct command_line *cl)
{
	bool daemon = cl->mode == MODE_DAEMON || cl->mode == MODE_FOREGROUND;

	cl->ignore_dot |= cl->extract_no_dot;
	cl->extract |= cl->extract_no_dot;
	if (cl->help)
		cl->mode = MODE_HELP;
	if (cl->mode == MODE_NONE)
		cl->mode = cl->operand_count || cl->extract ? MODE_SUBMIT : MODE_HELP;
	if (cl->mode == MODE_DAEMON && cl->verbose)
		cl->mode = MODE_FOREGROUND;
	if ((daemon && (cl->operand_count || cl->sender)) ||
	    (daemon && cl->queue_runner && !cl->queue_interval_s) ||
	    ((daemon || cl->mode == MODE_QUEUE_RUN || cl->mode == MODE_NEWALIASES) && cl->extract) ||
	    (cl->mode == MODE_QUEUE_RUN && cl->operand_count && !cl->run_ids[0]) ||
	    ((cl->mode == MODE_SMTP || cl->mode == MODE_BATCH_SMTP) && (cl->extract || cl->sender)) ||
	    ((cl->mode == MODE_DMARC_REPORT || cl->mode == MODE_METRICS) &&
	     (cl->operand_count || cl->extract || cl->sender)) ||
	    (cl->message_set && (cl->mode != MODE_EXPAND || cl->message_file)))
		return option_complain("incompatible command-line options or arguments");
	if (cl->mode == MODE_DELIVER || cl->mode == MODE_ACT)
		return check_messages(cl);
	return true;
}

bool command_line_parse(int argc, char **argv, struct command_line *ret)
{
	struct reading r = {.cl = ret, .argc = argc, .argv = argv, .at = 1};

	*ret = (struct command_line){0};
	read_name(ret, argc ? argv[0] : "sluice");
	/* The first that is no option ends the options: addresses and strings may look like them. */
	for (; r.at < argc && argv[r.at][0] == '-'; r.at++) {
		if (is(argv[r.at], "--")) {
			r.at++;
			break;
		}
		if (!option_read(&r))
			return false;
	}
	return read_operands(&r) && check(ret);
}
