/* command_options: each of Exim's option letters, in one table: what it sets, and what follows it. */
#include "command_options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool option_complain(const char *format, ...)
{
	va_list args;

	fputs("sluice: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

bool option_unknown(const char *arg)
{
	fprintf(stderr, "sluice abandoned: unknown, malformed, or incomplete option %s\n", arg);
	return false;
}

static const char *next_argument(struct reading *r)
{
	return r->at + 1 < r->argc ? r->argv[++r->at] : NULL;
}

/* "-faddr" and "-f addr". */
static const char *joined_or_next(struct reading *r, const char *rest)
{
	return *rest ? rest : next_argument(r);
}

/* ---- What to do ------------------------------------------------------------------------------------------------------ */

/* What one command can be told twice, and what goes together. */
static bool goes_with(const struct command_line *cl, enum mode mode)
{
	if (cl->mode == mode || cl->mode == MODE_VERSION || mode == MODE_VERSION)
		return true;
	if (cl->mode == MODE_FOREGROUND || cl->mode == MODE_DAEMON)
		return mode == MODE_FOREGROUND || mode == MODE_DAEMON;
	if (cl->mode == MODE_QUEUE_RUN)
		return mode == MODE_LIST || mode == MODE_COUNT ||
		       (mode == MODE_DAEMON && cl->queue_interval_s);
	return cl->mode == MODE_SUBMIT && mode == MODE_SMTP;
}

bool option_mode(struct reading *r, enum mode mode)
{
	struct command_line *cl = r->cl;

	if (r->mode_given && !goes_with(cl, mode))
		return option_complain("incompatible command-line options or arguments");
	if (!r->mode_given || cl->mode != MODE_VERSION)
		cl->mode = mode;
	r->mode_given = true;
	return true;
}

static bool on_mode(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)rest;
	return option_mode(r, (enum mode)row->value);
}

static bool on_dmarc_today(struct reading *r, const struct option_row *row, const char *rest)
{
	r->cl->dmarc_today = true;
	return on_mode(r, row, rest);
}

/* -bh, -bhc, -bem, -bf: with what follows. */
static bool on_mode_text(struct reading *r, const struct option_row *row, const char *rest)
{
	const char *text = next_argument(r);

	(void)rest;
	if (!text)
		return row->text ? option_complain("%s expected after %s", row->text, row->name)
				 : option_unknown(r->argv[r->at]);
	*(const char **)((char *)r->cl + row->offset) = text;
	return option_mode(r, (enum mode)row->value);
}

static bool on_list(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)row;
	for (const char *c = rest; *c; c++)
		if (*c == 'a')
			r->cl->list_all = true;
		else if (*c == 'u')
			r->cl->list_undelivered = true;
		else if (*c == 'r')
			r->cl->random_order = true;
		else if (*c != 'i')
			return option_unknown(r->argv[r->at]);
	return option_mode(r, MODE_LIST);
}

static bool on_info(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)row;
	r->cl->info = rest;
	return option_mode(r, MODE_INFO);
}

static bool on_refused(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)r;
	(void)rest;
	return option_complain("%s: %s", row->name, row->text);
}

/* -Mrm and its kin; what follows are message ids, or an id and addresses. */
static bool on_messages(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)rest;
	r->cl->messages_option = row->name;
	if (row->value >= 0)
		r->cl->action = (enum queue_action)row->value;
	return option_mode(r, row->value >= 0 ? MODE_ACT : MODE_DELIVER);
}

/* -Mset ID: for -be, which may stand in front or behind. */
static bool on_message_set(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)rest;
	r->cl->message_set = next_argument(r);
	if (!r->cl->message_set)
		return option_complain("no message ids given after %s option", row->name);
	if (!message_id_parse(slice_of(r->cl->message_set), &(struct message_id){""}))
		return option_complain("malformed message id %s after %s option", r->cl->message_set,
				       row->name);
	return true;
}

/* ---- Values ---------------------------------------------------------------------------------------------------------- */

static bool on_flag(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)rest;
	*(bool *)((char *)r->cl + row->offset) = true;
	return true;
}

static bool on_nothing(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)r;
	(void)row;
	(void)rest;
	return true;
}

static bool on_text(struct reading *r, const struct option_row *row, const char *rest)
{
	const char *text = joined_or_next(r, rest);

	if (!text)
		return row->text ? option_complain("%s expected after %s", row->text, row->name)
				 : option_unknown(r->argv[r->at]);
	*(const char **)((char *)r->cl + row->offset) = text;
	return true;
}

/* Like on_text, but what follows stands apart: the name is all of the argument. */
static bool on_text_ip(struct reading *r, const struct option_row *row, const char *rest)
{
	const char *option = r->argv[r->at], *text;
	struct ip_addr ip;
	uint16_t port;

	if (!on_text(r, row, rest))
		return false;
	text = *(const char **)((char *)r->cl + row->offset);
	if (!address_port_parse(slice_of(text), &ip, &port))
		return option_complain("%s: \"%s\" is not an IP address", option, text);
	return true;
}

static bool on_message_reference(struct reading *r, const struct option_row *row, const char *rest)
{
	if (!on_text(r, row, rest))
		return false;
	if (!message_id_parse(slice_of(r->cl->message_reference), &(struct message_id){""}))
		return option_complain("-oMm must be a valid message ID");
	return true;
}

static bool on_when(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)rest;
	if (row->value == WHEN_QUEUE_SMTP)
		r->cl->queue_smtp = true;
	else
		r->cl->when = (enum deliver_wish)row->value;
	return true;
}

static bool on_errors(struct reading *r, const struct option_row *row, const char *rest)
{
	(void)rest;
	r->cl->errors = (enum error_wish)row->value;
	return true;
}

static bool on_sender(struct reading *r, const struct option_row *row, const char *rest)
{
	const char *text = joined_or_next(r, rest);
	struct address_parts parts;
	struct arena arena;
	struct err err;
	bool good;

	(void)row;
	if (!text)
		return option_unknown(r->argv[r->at]);
	arena_init(&arena, 0);
	err = err_make(&arena);
	good = address_parse(&arena, slice_of(text),
			     ADDRESS_ALLOW_EMPTY | ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL |
				 ADDRESS_ALLOW_UTF8 | ADDRESS_STRIP_DOT,
			     &parts, &err) == OK;
	if (!good)
		(void)option_complain("bad -f address \"%s\": %.*s", text, SLICE_ARG(err.text));
	arena_done(&arena);
	r->cl->sender = text;
	return good;
}

static bool on_macro(struct reading *r, const struct option_row *row, const char *rest)
{
	const char *name = rest;

	(void)row;
	while (*name == ' ')
		name++;
	if (*name < 'A' || *name > 'Z')
		return option_complain("macro name set by -D must start with an upper case letter");
	if (r->macro_count + 1 == ARRAY_COUNT(r->cl->macros))
		return option_complain("too many -D options on command line");
	r->cl->macros[r->macro_count++] = rest;
	return true;
}

static bool on_time(struct reading *r, const struct option_row *row, const char *rest)
{
	int64_t *seconds = (int64_t *)(void *)((char *)r->cl + row->offset);
	const char *text = *rest ? rest : next_argument(r);

	if (text && conf_parse_time(slice_of(text), seconds))
		return true;
	return option_complain("bad time value %s%s: abandoned", row->name, text ? text : "");
}

static bool on_number_ignored(struct reading *r, const struct option_row *row, const char *rest)
{
	uint64_t number;

	if (!*rest && r->at + 1 < r->argc && r->argv[r->at + 1][0] != '-' &&
	    parse_u64(slice_of(r->argv[r->at + 1]), &number))
		r->at++;
	else if (*rest && !parse_u64(slice_of(rest), &number))
		return option_complain("number expected after %s", row->name);
	return true;
}

static bool on_hops(struct reading *r, const struct option_row *row, const char *rest)
{
	const char *text = joined_or_next(r, rest);
	uint64_t number;

	if (!text || !parse_u64(slice_of(text), &number))
		return option_unknown(row->name);
	return true;
}

static bool on_text_ignored(struct reading *r, const struct option_row *row, const char *rest)
{
	if (!joined_or_next(r, rest))
		return row->text ? option_complain("string expected after %s", row->name)
				 : option_unknown(r->argv[r->at]);
	return true;
}

/* -pPROTOCOL:HOST, which is -oMr and -oMs at once. */
static bool on_protocol(struct reading *r, const struct option_row *row, const char *rest)
{
	char *colon = r->argv[r->at] + strlen(row->name) + strcspn(rest, ":");

	if (!*rest)
		return option_complain("bad item for: %s", row->name);
	r->cl->protocol = rest;
	if (*colon) {
		*colon = 0; /* arguments are the program's to change */
		r->cl->host_name = colon + 1;
	}
	return true;
}

/* -L TAG: the name that this process has in syslog. */
static bool on_tag(struct reading *r, const struct option_row *row, const char *rest)
{
	if (!on_text(r, row, rest))
		return false;
	if (!*r->cl->syslog_name)
		return option_complain("the -L syslog name is zero length");
	if (strlen(r->cl->syslog_name) > 32)
		return option_complain("the -L syslog name is too long: \"%s\"", r->cl->syslog_name);
	return true;
}

/* ---- The queue ------------------------------------------------------------------------------------------------------- */

/* -R and -S, and their other names -qR and -qS: "f", "ff", "r", "rf", "rff" are flags only as a whole word. */
static bool on_pattern(struct reading *r, const struct option_row *row, const char *rest)
{
	static const struct {
		const char *word;
		unsigned flags;
		bool regex;
	} forms[] = {{"", 0, false}, {"f", RUN_FORCE, false}, {"ff", RUN_FORCE | RUN_FORCE_FROZEN, false},
		     {"r", 0, true}, {"rf", RUN_FORCE, true}, {"rff", RUN_FORCE | RUN_FORCE_FROZEN, true}};
	struct command_line *cl = r->cl;
	const char *text = rest;

	for (unsigned i = 0; i < ARRAY_COUNT(forms); i++)
		if (strcmp(rest, forms[i].word) == 0) {
			text = next_argument(r);
			if (!text)
				return option_complain("string expected after %s%s", row->name, rest);
			cl->run_flags |= forms[i].flags;
			cl->patterns_are_regex |= forms[i].regex;
			break;
		}
	*(const char **)((char *)cl + row->offset) = text;
	return r->mode_given || option_mode(r, MODE_QUEUE_RUN);
}

/* -q: flags in this order, then perhaps a time. What follows a single run are the first and last message id. */
static bool on_queue(struct reading *r, const struct option_row *row, const char *rest)
{
	static const struct {
		char letter;
		unsigned flag;
	} flags[] = {{'q', RUN_TWO_PHASE},
		     {'i', RUN_FIRST},
		     {'f', RUN_FORCE},
		     {'f', RUN_FORCE_FROZEN},
		     {'l', RUN_LOCAL}};
	struct command_line *cl = r->cl;
	int64_t seconds;

	(void)row;
	for (unsigned i = 0; i < ARRAY_COUNT(flags); i++)
		if (*rest == flags[i].letter) {
			cl->run_flags |= flags[i].flag;
			rest++;
		}
	if (*rest == 'G')
		return option_complain("%s: named queues are not available", r->argv[r->at]);
	cl->queue_runner = true;
	if (*rest) {
		if (!conf_parse_time(slice_of(rest), &seconds) || seconds <= 0)
			return option_complain("bad time value %s: abandoned", r->argv[r->at]);
		cl->queue_interval_s = seconds;
		return (r->mode_given && (cl->mode == MODE_DAEMON || cl->mode == MODE_FOREGROUND)) ||
		       option_mode(r, MODE_DAEMON);
	}
	for (unsigned i = 0; i < ARRAY_COUNT(cl->run_ids) && r->at + 1 < r->argc; i++) {
		if (!message_id_parse(slice_of(r->argv[r->at + 1]), &(struct message_id){""}))
			break;
		cl->run_ids[i] = r->argv[++r->at];
	}
	return r->mode_given || option_mode(r, MODE_QUEUE_RUN);
}

/* ---- -d --------------------------------------------------------------------------------------------------------------- */

/* -d, -d+word, -d-all+word, -d=number. */
static bool on_debug(struct reading *r, const struct option_row *row, const char *rest)
{
	uint64_t topics = DEBUG_DEFAULT;
	struct arena arena;
	struct err err;
	bool good;

	(void)row;
	r->cl->debug = r->cl->verbose = true;
	if (*rest == 'd')
		rest++; /* -dd: the daemon, not its children, of which there are none */
	arena_init(&arena, 0);
	err = err_make(&arena);
	good = debug_topics_parse(slice_of(rest), &topics, &err) == OK;
	if (!good)
		(void)option_complain("%.*s", SLICE_ARG(err.text));
	arena_done(&arena);
	r->cl->debug_topics = topics;
	return good;
}

/* -v is a little of what -d tells. */
static bool on_verbose(struct reading *r, const struct option_row *row, const char *rest)
{
	r->cl->debug_topics |= DEBUG_V;
	return on_flag(r, row, rest);
}

/* ---- The table -------------------------------------------------------------------------------------------------------- */

#define AT(field) offsetof(struct command_line, field)
#define WHOLE(n, fn, ...)                                      \
	{                                                      \
		.name = n, .whole = true, .f = fn, __VA_ARGS__ \
	}
#define BEGIN(n, fn, ...)                       \
	{                                       \
		.name = n, .f = fn, __VA_ARGS__ \
	}

/* Whole words first, or else what they begin with would take them. */
static const struct option_row rows[] = {
    WHOLE("--help", on_flag, .offset = AT(help)),
    WHOLE("--dmarc-report", on_mode, .value = MODE_DMARC_REPORT),
    WHOLE("--dmarc-report=today", on_dmarc_today, .value = MODE_DMARC_REPORT),
    WHOLE("--metrics", on_mode, .value = MODE_METRICS),
    WHOLE("--version", on_mode, .value = MODE_VERSION),
    WHOLE("-Ac", on_nothing),
    WHOLE("-Am", on_nothing),
    WHOLE("-bd", on_mode, .value = MODE_DAEMON),
    WHOLE("-bdf", on_mode, .value = MODE_FOREGROUND),
    WHOLE("-be", on_mode, .value = MODE_EXPAND),
    WHOLE("-bem", on_mode_text, .value = MODE_EXPAND, .offset = AT(message_file)),
    WHOLE("-bf", on_mode_text, .value = MODE_TEST_FILTER, .offset = AT(filter_user), .text = "file name"),
    WHOLE("-bF", on_mode_text, .value = MODE_TEST_FILTER, .offset = AT(filter_system), .text = "file name"),
    WHOLE("-bfd", on_text, .offset = AT(filter_domain), .text = "string"),
    WHOLE("-bfl", on_text, .offset = AT(filter_local_part), .text = "string"),
    WHOLE("-bfp", on_text, .offset = AT(filter_prefix), .text = "string"),
    WHOLE("-bfs", on_text, .offset = AT(filter_suffix), .text = "string"),
    WHOLE("-bh", on_mode_text, .value = MODE_TEST_HOST, .offset = AT(test_host)),
    WHOLE("-bhc", on_mode_text, .value = MODE_TEST_HOST_CALLOUT, .offset = AT(test_host)),
    WHOLE("-bi", on_mode, .value = MODE_NEWALIASES),
    BEGIN("-bI:", on_info),
    WHOLE("-bm", on_mode, .value = MODE_SUBMIT),
    WHOLE("-bmalware", on_refused, .text = "content scanning is not available"),
    WHOLE("-bnq", on_flag, .offset = AT(no_qualify)),
    WHOLE("-bP", on_mode, .value = MODE_PRINT),
    WHOLE("-bpc", on_mode, .value = MODE_COUNT),
    BEGIN("-bp", on_list),
    WHOLE("-brt", on_mode, .value = MODE_TEST_RETRY),
    WHOLE("-brw", on_mode, .value = MODE_TEST_REWRITE),
    WHOLE("-bs", on_mode, .value = MODE_SMTP),
    WHOLE("-bS", on_mode, .value = MODE_BATCH_SMTP),
    WHOLE("-bt", on_mode, .value = MODE_TEST_ADDRESS),
    WHOLE("-bV", on_mode, .value = MODE_VERSION),
    WHOLE("-bv", on_mode, .value = MODE_VERIFY_ADDRESS),
    WHOLE("-bvs", on_mode, .value = MODE_VERIFY_SENDER),
    BEGIN("-bw", on_refused,
	  .text = "no listening socket is taken over from inetd; -bs serves one connection"),
    BEGIN("-B", on_nothing),
    BEGIN("-C", on_text, .offset = AT(file)),
    BEGIN("-D", on_macro),
    BEGIN("-d", on_debug),
    BEGIN("-E", on_nothing),
    WHOLE("-em", on_errors, .value = ERRORS_MAIL),
    WHOLE("-ee", on_errors, .value = ERRORS_MAIL_ZERO),
    WHOLE("-ep", on_errors, .value = ERRORS_PRINT),
    WHOLE("-eq", on_errors, .value = ERRORS_PRINT),
    WHOLE("-ew", on_errors, .value = ERRORS_MAIL),
    BEGIN("-f", on_sender),
    BEGIN("-F", on_text, .offset = AT(full_name)),
    WHOLE("-G", on_flag, .offset = AT(no_fixups)),
    BEGIN("-h", on_hops),
    WHOLE("-i", on_flag, .offset = AT(ignore_dot)),
    BEGIN("-L", on_tag, .offset = AT(syslog_name)),
    WHOLE("-M", on_messages, .value = -1),
    WHOLE("-Mc", on_messages, .value = -1),
    WHOLE("-Mar", on_messages, .value = QUEUE_ADD_RECIPIENT),
    WHOLE("-Mes", on_messages, .value = QUEUE_EDIT_SENDER),
    WHOLE("-Mf", on_messages, .value = QUEUE_FREEZE),
    WHOLE("-Mg", on_messages, .value = QUEUE_GIVE_UP),
    WHOLE("-Mmad", on_messages, .value = QUEUE_MARK_ALL),
    WHOLE("-Mmd", on_messages, .value = QUEUE_MARK_DELIVERED),
    WHOLE("-Mrm", on_messages, .value = QUEUE_REMOVE),
    WHOLE("-Mset", on_message_set),
    WHOLE("-Mt", on_messages, .value = QUEUE_THAW),
    WHOLE("-Mvb", on_messages, .value = QUEUE_VIEW_BODY),
    WHOLE("-Mvc", on_messages, .value = QUEUE_VIEW_COPY),
    WHOLE("-Mvh", on_messages, .value = QUEUE_VIEW_HEADER),
    WHOLE("-Mvl", on_messages, .value = QUEUE_VIEW_LOG),
    WHOLE("-MG", on_refused, .text = "named queues are not available"),
    BEGIN("-MC", on_refused,
	  .text =
	      "one Exim process hands a connection to the next with this; there is nothing of the kind here"),
    WHOLE("-m", on_nothing),
    WHOLE("-N", on_flag, .offset = AT(dont_deliver)),
    WHOLE("-n", on_flag, .offset = AT(values_only)),
    BEGIN("-O", on_text_ignored, .text = "string"),
    BEGIN("-oA", on_text, .offset = AT(alias_file), .text = "string"),
    BEGIN("-oB", on_number_ignored),
    WHOLE("-odb", on_when, .value = WHEN_BACKGROUND),
    WHOLE("-odf", on_when, .value = WHEN_FOREGROUND),
    WHOLE("-odi", on_when, .value = WHEN_FOREGROUND),
    WHOLE("-odq", on_when, .value = WHEN_QUEUE),
    WHOLE("-odqs", on_when, .value = WHEN_QUEUE_SMTP),
    WHOLE("-oem", on_errors, .value = ERRORS_MAIL),
    WHOLE("-oee", on_errors, .value = ERRORS_MAIL_ZERO),
    WHOLE("-oep", on_errors, .value = ERRORS_PRINT),
    WHOLE("-oeq", on_errors, .value = ERRORS_PRINT),
    WHOLE("-oew", on_errors, .value = ERRORS_MAIL),
    WHOLE("-oi", on_flag, .offset = AT(ignore_dot)),
    WHOLE("-oitrue", on_flag, .offset = AT(ignore_dot)),
    WHOLE("-oMa", on_text_ip, .offset = AT(sender_host), .text = "data"),
    WHOLE("-oMaa", on_text, .offset = AT(authenticator), .text = "data"),
    WHOLE("-oMai", on_text, .offset = AT(authenticated_id), .text = "data"),
    WHOLE("-oMas", on_text, .offset = AT(authenticated_sender), .text = "data"),
    WHOLE("-oMi", on_text_ip, .offset = AT(interface), .text = "data"),
    WHOLE("-oMm", on_message_reference, .offset = AT(message_reference), .text = "data"),
    WHOLE("-oMr", on_text, .offset = AT(protocol), .text = "data"),
    WHOLE("-oMs", on_text, .offset = AT(host_name), .text = "data"),
    WHOLE("-oMt", on_text, .offset = AT(ident), .text = "data"),
    WHOLE("-om", on_nothing),
    WHOLE("-oo", on_nothing),
    WHOLE("-oP", on_text, .offset = AT(pid_file), .text = "string"),
    BEGIN("-or", on_time, .offset = AT(receive_timeout_s)),
    BEGIN("-os", on_time, .offset = AT(smtp_timeout_s)),
    WHOLE("-ov", on_verbose, .offset = AT(verbose)),
    WHOLE("-oX", on_text, .offset = AT(ports)),
    WHOLE("-oY", on_nothing),
    BEGIN("-p", on_protocol),
    BEGIN("-qR", on_pattern, .offset = AT(recipient_pattern)),
    BEGIN("-qS", on_pattern, .offset = AT(sender_pattern)),
    BEGIN("-q", on_queue),
    BEGIN("-r", on_sender),
    BEGIN("-R", on_pattern, .offset = AT(recipient_pattern)),
    BEGIN("-S", on_pattern, .offset = AT(sender_pattern)),
    WHOLE("-t", on_flag, .offset = AT(extract)),
    WHOLE("-ti", on_flag, .offset = AT(extract_no_dot)),
    WHOLE("-tls-on-connect", on_flag, .offset = AT(tls_on_connect)),
    BEGIN("-U", on_nothing),
    WHOLE("-v", on_verbose, .offset = AT(verbose)),
    WHOLE("-x", on_nothing),
    BEGIN("-X", on_text_ignored, .text = "string"),
    BEGIN("-z", on_mode_text, .value = MODE_LOG_LINE, .offset = AT(log_line)),
};

bool option_read(struct reading *r)
{
	const char *arg = r->argv[r->at];

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t len = strlen(rows[i].name);
		if (rows[i].whole ? strcmp(arg, rows[i].name) == 0 : strncmp(arg, rows[i].name, len) == 0)
			return rows[i].f(r, &rows[i], arg + len);
	}
	return option_unknown(arg);
}
