/* command_line: Exim's letters, and the names it goes by (sendmail, mailq, runq, rmail, newaliases). */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>

static bool is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static bool add_operand(struct command_line *cl, const char *text)
{
	if (cl->operand_count == ARRAY_COUNT(cl->operands)) {
		fprintf(stderr, "sluice: more than %zu arguments\n", ARRAY_COUNT(cl->operands));
		return false;
	}
	cl->operands[cl->operand_count++] = text;
	return true;
}

static bool unknown(const char *arg)
{
	fprintf(stderr, "sluice abandoned: unknown, malformed, or incomplete option %s\n", arg);
	return false;
}

/* -b... */
static bool option_b(struct command_line *cl, const char *arg, const char *rest)
{
	static const struct {
		const char *letters;
		enum mode mode;
	} modes[] = {
		{"d", MODE_DAEMON}, {"df", MODE_FOREGROUND}, {"s", MODE_SMTP}, {"S", MODE_BATCH_SMTP}, {"m", MODE_SUBMIT},
		{"e", MODE_EXPAND}, {"t", MODE_TEST_ADDRESS}, {"v", MODE_VERIFY_ADDRESS}, {"vs", MODE_VERIFY_SENDER},
		{"h", MODE_TEST_HOST}, {"hc", MODE_TEST_HOST}, {"V", MODE_VERSION}, {"P", MODE_PRINT}, {"p", MODE_LIST},
		{"pc", MODE_COUNT}, {"rt", MODE_TEST_RETRY}, {"rw", MODE_TEST_REWRITE}, {"i", MODE_NEWALIASES},
	};

	for (unsigned i = 0; i < ARRAY_COUNT(modes); i++)
		if (is(rest, modes[i].letters)) {
			cl->mode = modes[i].mode;
			return true;
		}
	if (rest[0] == 'p') {
		cl->mode = MODE_LIST;
		for (const char *c = rest + 1; *c; c++)
			if (*c == 'a')
				cl->list_all = true;
			else if (*c == 'u')
				cl->list_undelivered = true;
			else if (*c == 'r' || *c == 'i')
				cl->random_order |= *c == 'r';
			else
				return unknown(arg);
		return true;
	}
	return unknown(arg);
}

/* -bf, -bF and their kin: a value follows. */
static bool option_filter(struct command_line *cl, int argc, char **argv, int *index, bool *taken)
{
	static const struct {
		const char *letters;
		size_t offset;
		const char *what;
	} rows[] = {
		{"-bf", offsetof(struct command_line, filter_user), "file name"},
		{"-bF", offsetof(struct command_line, filter_system), "file name"},
		{"-bfd", offsetof(struct command_line, filter_domain), "string"},
		{"-bfl", offsetof(struct command_line, filter_local_part), "string"},
		{"-bfp", offsetof(struct command_line, filter_prefix), "string"},
		{"-bfs", offsetof(struct command_line, filter_suffix), "string"},
	};
	const char *arg = argv[*index];

	*taken = false;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		if (!is(arg, rows[i].letters))
			continue;
		*taken = true;
		if (*index + 1 >= argc) {
			fprintf(stderr, "exim: %s expected after %s\n", rows[i].what, arg);
			return false;
		}
		*(const char **)((char *)cl + rows[i].offset) = argv[++*index];
		if (i < 2)
			cl->mode = MODE_TEST_FILTER;
		return true;
	}
	return true;
}

/* -M...: what follows are message ids, or an id and addresses. */
static bool option_m(struct command_line *cl, const char *arg, const char *rest)
{
	static const struct {
		const char *letters;
		enum queue_action action;
	} actions[] = {
		{"rm", QUEUE_REMOVE}, {"f", QUEUE_FREEZE}, {"t", QUEUE_THAW}, {"g", QUEUE_GIVE_UP}, {"ar", QUEUE_ADD_RECIPIENT},
		{"es", QUEUE_EDIT_SENDER}, {"md", QUEUE_MARK_DELIVERED}, {"mad", QUEUE_MARK_ALL}, {"vh", QUEUE_VIEW_HEADER},
		{"vb", QUEUE_VIEW_BODY}, {"vl", QUEUE_VIEW_LOG}, {"vc", QUEUE_VIEW_COPY},
	};

	if (!*rest) {
		cl->mode = MODE_DELIVER;
		return true;
	}
	for (unsigned i = 0; i < ARRAY_COUNT(actions); i++)
		if (is(rest, actions[i].letters)) {
			cl->mode = MODE_ACT;
			cl->action = actions[i].action;
			return true;
		}
	return unknown(arg);
}

static bool option_q(struct command_line *cl, const char *arg, const char *rest)
{
	int64_t seconds;

	cl->queue_runner = true;
	if (*rest == 'q') {
		cl->run_flags |= RUN_TWO_PHASE;
		rest++;
	}
	if (*rest == 'i') {
		cl->run_flags |= RUN_FIRST;
		rest++;
	}
	if (*rest == 'f') {
		cl->run_flags |= RUN_FORCE;
		rest++;
		if (*rest == 'f') {
			cl->run_flags |= RUN_FORCE_FROZEN;
			rest++;
		}
	}
	if (*rest == 'l') {
		cl->run_flags |= RUN_LOCAL;
		rest++;
	}
	if (*rest && (!conf_parse_time(slice_of(rest), &seconds) || seconds <= 0))
		return unknown(arg);
	if (*rest)
		cl->queue_interval_s = seconds;
	if (cl->mode == MODE_NONE && !*rest)
		cl->mode = MODE_QUEUE_RUN;
	else if (cl->mode == MODE_NONE)
		cl->mode = MODE_DAEMON;
	return true;
}

/* -o...; *index may move to the next argument. */
static bool option_o(struct command_line *cl, int argc, char **argv, int *index, const char *rest)
{
	static const struct {
		const char *letters;
		size_t offset;
	} texts[] = {
		{"Ma", offsetof(struct command_line, test_host)}, {"Maa", offsetof(struct command_line, authenticated)},
		{"Mas", offsetof(struct command_line, auth_sender)}, {"Mai", offsetof(struct command_line, ident)},
		{"Mi", offsetof(struct command_line, interface)}, {"Mr", offsetof(struct command_line, protocol)},
		{"Ms", offsetof(struct command_line, host_name)}, {"Mt", offsetof(struct command_line, ident)},
		{"Mm", offsetof(struct command_line, helo)}, {"X", offsetof(struct command_line, ports)},
		{"P", offsetof(struct command_line, pid_file)},
	};

	for (unsigned i = 0; i < ARRAY_COUNT(texts); i++)
		if (is(rest, texts[i].letters)) {
			if (*index + 1 >= argc)
				return unknown(argv[*index]);
			*(const char **)((char *)cl + texts[i].offset) = argv[++*index];
			return true;
		}
	if (is(rest, "i") || is(rest, "itrue")) {
		cl->ignore_dot = true;
	} else if (rest[0] == 'd' && rest[1] && !rest[2]) {
		cl->when = rest[1] == 'f' || rest[1] == 'i' ? WHEN_FOREGROUND : rest[1] == 'b' ? WHEN_BACKGROUND
			   : rest[1] == 'q' ? WHEN_QUEUE : WHEN_DEFAULT;
	} else if (is(rest, "dqs")) {
		cl->when = WHEN_QUEUE;
	} else if (rest[0] == 'e') {
		cl->errors = rest[1] == 'p' ? ERRORS_PRINT : rest[1] == 'q' ? ERRORS_QUIET : ERRORS_MAIL;
	} else if (rest[0] == 'B' || is(rest, "m") || is(rest, "o") || rest[0] == 'r' || rest[0] == 's') {
		/* connection count, me too, timeouts: nothing to do */
		if (is(rest, "r") || is(rest, "s"))
			++*index;
	} else {
		return unknown(argv[*index]);
	}
	return true;
}

static void names(struct command_line *cl, const char *program)
{
	const char *slash = strrchr(program, '/');
	const char *name = slash ? slash + 1 : program;

	if (is(name, "mailq"))
		cl->mode = MODE_LIST;
	else if (is(name, "runq"))
		cl->mode = MODE_QUEUE_RUN;
	else if (is(name, "newaliases"))
		cl->mode = MODE_NEWALIASES;
	else if (is(name, "rmail") || is(name, "rsmtp"))
		cl->mode = is(name, "rmail") ? MODE_SUBMIT : MODE_BATCH_SMTP;
}

/* Options whose value may stand apart: "-f addr" or "-faddr". */
static const char *value(int argc, char **argv, int *index, const char *rest)
{
	if (*rest)
		return rest;
	return *index + 1 < argc ? argv[++*index] : NULL;
}

static bool option(struct command_line *cl, int argc, char **argv, int *index, unsigned *macro_count)
{
	const char *arg = argv[*index], *rest = arg + 2, *text;

	switch (arg[1]) {
	case 'b': {
		bool taken;

		if (!option_filter(cl, argc, argv, index, &taken))
			return false;
		return taken || option_b(cl, arg, rest);
	}
	case 'B':
		return true; /* body type, for old programs */
	case 'C':
		cl->file = value(argc, argv, index, rest);
		return cl->file ? true : unknown(arg);
	case 'D':
		if (*macro_count + 1 == ARRAY_COUNT(cl->macros))
			return unknown(arg);
		cl->macros[(*macro_count)++] = rest;
		return true;
	case 'd':
		cl->debug = true;
		return true;
	case 'e':
		cl->errors = *rest == 'p' ? ERRORS_PRINT : *rest == 'q' ? ERRORS_QUIET : ERRORS_MAIL;
		return true;
	case 'f':
	case 'r':
		if (arg[1] == 'r' && is(rest, "t"))
			return unknown(arg);
		text = value(argc, argv, index, rest);
		cl->sender = text;
		return text ? true : unknown(arg);
	case 'F':
		cl->full_name = value(argc, argv, index, rest);
		return cl->full_name ? true : unknown(arg);
	case 'G':
	case 'n':
	case 'U':
	case 'x':
	case 'N':
		cl->names_only |= arg[1] == 'n';
		return true;
	case 'h':
	case 'L':
	case 'O':
	case 'p':
	case 'X':
		if (!*rest)
			++*index;
		return true;
	case 'i':
		cl->ignore_dot = true;
		return true;
	case 'M':
		return option_m(cl, arg, rest);
	case 'm':
		return true;
	case 'o':
		return option_o(cl, argc, argv, index, rest);
	case 'q':
		return option_q(cl, arg, rest);
	case 'R':
	case 'S': {
		bool regex = false;
		for (; *rest == 'f' || *rest == 'r'; rest++) {
			regex |= *rest == 'r';
			cl->run_flags |= *rest == 'f' ? (cl->run_flags & RUN_FORCE ? RUN_FORCE_FROZEN : RUN_FORCE) : 0;
		}
		text = value(argc, argv, index, rest);
		if (!text)
			return unknown(arg);
		*(arg[1] == 'R' ? &cl->recipient_pattern : &cl->sender_pattern) = text;
		cl->patterns_are_regex |= regex;
		if (cl->mode == MODE_NONE)
			cl->mode = MODE_QUEUE_RUN;
		return true;
	}
	case 't':
		cl->extract = true;
		cl->ignore_dot |= *rest == 'i';
		return true;
	case 'v':
		return true;
	case '-':
		if (is(arg, "--help")) {
			cl->mode = MODE_HELP;
			return true;
		}
		if (is(arg, "--version")) {
			cl->mode = MODE_VERSION;
			return true;
		}
		return unknown(arg);
	default:
		return unknown(arg);
	}
}

bool command_line_parse(int argc, char **argv, struct command_line *ret)
{
	unsigned macro_count = 0;
	bool operands_only = false;

	*ret = (struct command_line){0};
	names(ret, argv[0]);
	for (int i = 1; i < argc; i++) {
		if (!operands_only && is(argv[i], "--")) {
			operands_only = true;
		} else if (!operands_only && argv[i][0] == '-' && argv[i][1]) {
			/* After -be, -bt and the like what looks like an option may be text; Exim takes it as an option too. */
			if (!option(ret, argc, argv, &i, &macro_count))
				return false;
			if (ret->mode == MODE_TEST_HOST && !ret->test_host && is(argv[i], "-bh") && i + 1 < argc)
				ret->test_host = argv[++i];
		} else if (!add_operand(ret, argv[i])) {
			return false;
		}
	}
	if (ret->mode == MODE_NONE)
		ret->mode = ret->operand_count || ret->extract ? MODE_SUBMIT : MODE_HELP;
	return true;
}
