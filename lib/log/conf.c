/* The room's options: where lines go, and what they look like. */

#include "inside.h"

#include <syslog.h>

static const struct conf_option options[] = {
    OPT_STRING(struct log_conf, log_file_path, "$spool_directory/log/%slog", "where lines go: see log.h"),
    OPT_STRING(struct log_conf, log_selector, NULL, "+word and -word: which extras are logged"),
    OPT_BOOL(struct log_conf, log_timezone, "no", "the offset from UTC on each line"),
    OPT_BOOL(struct log_conf, print_topbitchars, "no", "bytes above 127 are not escaped"),
    OPT_BOOL(struct log_conf, syslog_duplication, "yes", "a line for two logs goes to syslog twice"),
    OPT_STRING(struct log_conf, syslog_facility, NULL, "mail, unless another is named"),
    OPT_BOOL(struct log_conf, syslog_pid, "yes", "syslog lines have the process id"),
    OPT_STRING(struct log_conf, syslog_processname, "exim", "the name on syslog lines"),
    OPT_STRING(struct log_conf, syslog_socket, "/dev/log", "sluice's own: where syslog listens"),
    OPT_BOOL(struct log_conf, syslog_timestamp, "yes", "syslog lines have our time too"),
    OPT_STRING(struct log_conf, timezone, NULL, "TZ for all times told"),
    OPT_BOOL(struct log_conf, write_rejectlog, "yes", "there is a reject log"),
};

const struct conf_group log_conf_group = {
    .id = CONF_LOG,
    .size = sizeof(struct log_conf),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = log_conf_check,
};

static const struct {
	const char *name;
	int facility;
} facilities[] = {
    {"mail", LOG_MAIL},     {"user", LOG_USER},     {"news", LOG_NEWS},     {"uucp", LOG_UUCP},
    {"daemon", LOG_DAEMON}, {"auth", LOG_AUTH},     {"cron", LOG_CRON},     {"syslog", LOG_SYSLOG},
    {"lpr", LOG_LPR},       {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2},
    {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4}, {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},
    {"local7", LOG_LOCAL7},
};

/* "mail", "LOG_MAIL": both are in use. */
static enum rc read_facility(struct conf *conf, struct log_conf *group, struct err *err)
{
	struct slice name = group->syslog_facility;

	group->facility = LOG_MAIL;
	if (!name.ptr || name.len == 0)
		return OK;
	if (slice_starts_nocase(name, SLICE("log_")))
		name = slice_from(name, 4);
	for (size_t i = 0; i < ARRAY_COUNT(facilities); i++) {
		if (slice_eq_nocase(name, slice_of(facilities[i].name))) {
			group->facility = facilities[i].facility;
			return OK;
		}
	}
	return conf_error(err, conf_option_place(conf, "syslog_facility"),
			  "failed to interpret syslog_facility \"%.*s\"", SLICE_ARG(group->syslog_facility));
}

static enum rc path_item(struct conf *conf, struct log_conf *group, struct slice item, struct err *err)
{
	struct slice spool = conf_main(conf)->spool_directory;

	if (slice_eq_nocase(item, SLICE("syslog"))) {
		group->to_syslog = true;
		return OK;
	}
	if (slice_eq(item, SLICE("stdout"))) {
		group->to_stdout = true;
		return OK;
	}
	if (slice_eq(item, SLICE("stderr"))) {
		group->to_stderr = true;
		return OK;
	}
	if (item.len == 0)
		item = arena_printf(&conf->arena, "%.*s/log/%%slog", SLICE_ARG(spool));
	if (!item.ptr)
		return err_memory(err);
	if (item.ptr[0] != '/')
		return conf_error(
		    err, conf_option_place(conf, "log_file_path"),
		    "log_file_path: \"%.*s\" is neither an absolute path nor syslog, stdout or stderr",
		    SLICE_ARG(item));
	if (group->path.ptr)
		conf_warn(conf, conf_option_place(conf, "log_file_path"),
			  "more than one path given in log_file_path: using %.*s", SLICE_ARG(group->path));
	else
		group->path = item;
	return OK;
}

static enum rc read_path(struct conf *conf, struct log_conf *group, struct err *err)
{
	struct slice text = group->log_file_path.ptr ? group->log_file_path : SLICE_EMPTY, item;
	struct err why = err_make(&conf->arena);
	enum rc rc = OK;

	if (slice_find(text, '$') >= 0 && conf_expand_early(conf, text, &text, &why) != OK)
		return conf_error(err, conf_option_place(conf, "log_file_path"),
				  "failed to expand log_file_path: %.*s", SLICE_ARG(why.text));
	text = slice_trim(text);
	if (text.len == 0)
		return path_item(conf, group, SLICE_EMPTY, err);
	while (rc == OK && slice_split(&text, ':', &item)) {
		/* As in any list, a separator at the very end is followed by nothing. */
		item = slice_trim(item);
		if (item.len > 0 || text.ptr)
			rc = path_item(conf, group, item, err);
	}
	return rc;
}

enum rc log_conf_check(struct conf *conf, void *arg, struct err *err)
{
	struct log_conf *group = arg;
	enum rc rc;

	rc = log_selectors_read(conf, group->log_selector.ptr ? group->log_selector : SLICE_EMPTY,
				group->selectors, err);
	if (rc == OK)
		rc = read_facility(conf, group, err);
	if (rc == OK && group->syslog_processname.len > 32)
		rc = conf_error(err, conf_option_place(conf, "syslog_processname"),
				"syslog_processname is longer than 32 bytes");
	if (rc == OK)
		rc = read_path(conf, group, err);
	return rc;
}
