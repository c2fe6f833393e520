/* The pipe transport: the message goes to the standard input of a command, whose exit status says what became of it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command_line.h"
#include "talk.h"

struct pipe {
	struct transport transport;
	bool force_command, freeze_exec_fail, freeze_signal, ignore_status, log_defer_output, log_fail_output,
	    log_output;
	bool permit_coredump, pipe_as_creator, restrict_to_path, return_fail_output, return_output,
	    timeout_defer, use_bsmtp;
	bool use_classresources, use_crlf, use_shell;
	const struct expansion *allow_commands, *batch_id, *command, *environment, *message_prefix,
	    *message_suffix, *path;
	struct slice check_string, escape_string, temp_errors;
	int64_t batch_max, max_output, timeout, umask;
};

#define P struct pipe
static const struct conf_option pipe_options[] = {
    OPT_EXPAND(P, allow_commands, NULL, "commands that may be run"),
    OPT_EXPAND(P, batch_id, NULL, "addresses with equal values may go together"),
    OPT_INT(P, batch_max, "1", "addresses at a time"),
    OPT_STRING(P, check_string, NULL, "what lines must not begin with"),
    OPT_EXPAND(P, command, NULL, "the command"),
    OPT_EXPAND(P, environment, NULL, "more variables for it"),
    OPT_STRING(P, escape_string, NULL, "what stands in the place of check_string"),
    OPT_BOOL(P, force_command, "no", "this command, even if an alias names another"),
    OPT_BOOL(P, freeze_exec_fail, "no", "freeze when it cannot be run"),
    OPT_BOOL(P, freeze_signal, "no", "freeze when a signal ended it"),
    OPT_BOOL(P, ignore_status, "no", "whatever it exits with is fine"),
    OPT_BOOL(P, log_defer_output, "no", "log the first line of output of a deferred delivery"),
    OPT_BOOL(P, log_fail_output, "no", "and of a failed one"),
    OPT_BOOL(P, log_output, "no", "and of any"),
    OPT_SIZE(P, max_output, "20K", "more output ends it"),
    OPT_EXPAND(P, message_prefix, NULL, "before the message"),
    OPT_EXPAND(P, message_suffix, NULL, "behind it"),
    OPT_EXPAND(P, path, "/bin:/usr/bin", "where commands are looked for"),
    OPT_LATER(P, permit_coredump, bool, &conf_bool, "no", "the system decides on core files"),
    OPT_BOOL(P, pipe_as_creator, "no", "as the user who submitted the message"),
    OPT_BOOL(P, restrict_to_path, "no", "no commands with a slash"),
    OPT_BOOL(P, return_fail_output, "no", "output of a failed command goes into the bounce"),
    OPT_BOOL(P, return_output, "no", "any output is a failure, and goes into the bounce"),
    OPT_STRING(P, temp_errors, "75 : 73", "exit codes that mean later; * means all"),
    OPT_TIME(P, timeout, "1h", "for the command"),
    OPT_BOOL(P, timeout_defer, "no", "a timeout defers"),
    OPT_OCTAL(P, umask, "022", "of the command"),
    OPT_BOOL(P, use_bsmtp, "no", "as batch SMTP"),
    OPT_LATER(P, use_classresources, bool, &conf_bool, "no", "login classes are BSD's"),
    OPT_BOOL(P, use_crlf, "no", "lines end in CRLF"),
    OPT_BOOL(P, use_shell, "no", "run by /bin/sh"),
};

static enum rc pipe_check(struct conf *conf, void *instance, struct err *err)
{
	P *p = instance;

	if (p->use_shell && (p->allow_commands || p->restrict_to_path))
		return err_set(err, FAIL, "both allow_commands (or restrict_to_path) and use_shell are set");
	if (p->return_fail_output && p->return_output)
		return err_set(err, FAIL, "both return_output and return_fail_output are set");
	if ((p->log_fail_output || p->log_defer_output) && p->log_output)
		return err_set(err, FAIL,
			       "both log_output and log_fail_output (or log_defer_output) are set");
	if (p->timeout <= 0)
		return err_set(err, FAIL, "timeout must be greater than zero");
	if (p->use_bsmtp) {
		p->check_string = SLICE(".");
		p->escape_string = SLICE("..");
	} else {
		if (!transport_option_was_set(&p->transport, "message_prefix"))
			p->message_prefix =
			    expand_compile(conf->language, &conf->arena,
					   SLICE("From ${if def:return_path{$return_path}{MAILER-DAEMON}} "
						 "${tod_bsdinbox}\\n"));
		if (!transport_option_was_set(&p->transport, "message_suffix"))
			p->message_suffix = expand_compile(conf->language, &conf->arena, SLICE("\\n"));
		if (!p->message_prefix && !p->message_suffix)
			return err_memory(err);
	}
	p->transport.batch_id = p->batch_id;
	p->transport.batch_max = p->batch_max;
	return OK;
}

/* One run of a command. */
struct run {
	struct scope *sc;
	const P *options;
	struct delivery *delivery;
	struct err *err;
	struct identity who;
	struct stream *stream; /* its input */
	struct text_writer writer;
	const char **argv;
	struct str output;
	bool filter_failed; /* transport_filter did, which is never the address's fault */
};

/* ---- The command --------------------------------------------------------------------------------------------------- */

/* $1 and $thisaddress as they were when the filter said "pipe". */
static void use_filter_numbers(struct scope *sc, const struct filter_action *action)
{
	memcpy(sc->numeric, action->numeric, sizeof(sc->numeric));
	sc->numeric_count = action->numeric_count;
	sc->this_address = action->this_address;
}

static enum rc make_arguments(struct run *run)
{
	const P *p = run->options;
	struct slice text = run->sc->address->pipe, command;
	bool redirected = text.ptr && !p->force_command;
	const char **argv;
	enum rc rc;

	if (redirected) {
		text = slice_ltrim(slice_from(text, 1));
	} else if (p->command) {
		text = expansion_text(p->command);
	} else {
		return err_set(run->err, DEFER, "no command specified for %.*s transport",
			       SLICE_ARG(p->transport.instance.name));
	}
	if (redirected && run->sc->address->action && run->sc->address->action->expand_pipe) {
		use_filter_numbers(run->sc, run->sc->address->action);
		redirected = false; /* a filter's command is expanded as our own is */
	}
	if (!p->use_shell)
		return command_arguments(run->sc, run->delivery, text, "command", !redirected, &run->argv,
					 run->err);
	command = text;
	rc = redirected ? OK : expand_text(run->sc, text, &command, run->err);
	if (rc != OK) {
		err_prefix(run->err, "expansion of command for %.*s transport failed",
			   SLICE_ARG(p->transport.instance.name));
		return rc == FAIL ? DEFER : rc;
	}
	if (command.taint == TAINTED)
		return err_set(run->err, DEFER, "Tainted '%.*s' (command for %.*s transport) not permitted",
			       SLICE_ARG(command), SLICE_ARG(p->transport.instance.name));
	argv = arena_array(run->sc->task->arena, const char *, 4);
	if (!argv)
		return err_memory(run->err);
	argv[0] = "/bin/sh";
	argv[1] = "-c";
	argv[2] = arena_cstr(run->sc->task->arena, command);
	run->argv = argv;
	return argv[2] ? OK : err_memory(run->err);
}

static bool command_listed(struct run *run, struct slice list)
{
	struct slice item;
	char separator = 0;

	while (list_next(run->sc->task->arena, &list, &separator, &item))
		if (item.ptr && slice_eq(item, slice_of(run->argv[0])))
			return true;
	return false;
}

/* May it be run, and where is it? argv[0] becomes absolute. */
static enum rc find_command(struct run *run)
{
	const P *p = run->options;
	struct slice list, item;
	char separator = 0;
	struct stat st;
	bool slash = strchr(run->argv[0], '/');
	enum rc rc;

	if (p->allow_commands) {
		rc = expand_option(run->sc, p->allow_commands, &list, run->err);
		if (rc != OK)
			return rc == FAIL ? DEFER : rc;
		if (!command_listed(run, list) && (!p->restrict_to_path || slash))
			return err_set(run->err, FAIL, "\"%s\" command not permitted by %.*s transport",
				       run->argv[0], SLICE_ARG(p->transport.instance.name));
	} else if (p->restrict_to_path && slash) {
		return err_set(
		    run->err, FAIL,
		    "\"/\" found in \"%s\" (command for %.*s transport) - failed for security reasons",
		    run->argv[0], SLICE_ARG(p->transport.instance.name));
	}
	if (run->argv[0][0] == '/')
		return OK;
	rc = expand_option(run->sc, p->path, &list, run->err);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	while (list_next(run->sc->task->arena, &list, &separator, &item)) {
		struct slice path =
		    arena_printf(run->sc->task->arena, "%.*s/%s", SLICE_ARG(item), run->argv[0]);
		const char *name = path.ptr && item.len && item.ptr[0] == '/' ? path.ptr : NULL;
		if (name && file_stat(run->sc->task, name, true, &st, run->err) == OK &&
		    S_ISREG(st.st_mode)) {
			run->argv[0] = name;
			return OK;
		}
	}
	return err_set(run->err, FAIL, "\"%s\" command not found for %.*s transport", run->argv[0],
		       SLICE_ARG(p->transport.instance.name));
}

/* ---- Its environment -------------------------------------------------------------------------------------------------- */

#define ENVIRONMENT_MAX 200
struct environment {
	struct arena *arena;
	const char *list[ENVIRONMENT_MAX + 1];
	unsigned count;
	bool failed;
};

static void add_variable(struct environment *env, const char *name, struct slice value)
{
	struct slice text = arena_printf(env->arena, "%s=%.*s", name, SLICE_ARG(value));

	if (!text.ptr || env->count == ENVIRONMENT_MAX)
		env->failed = true;
	else if (!memchr(value.ptr, 0, value.len))
		env->list[env->count++] = text.ptr;
}

static void add_addresses(struct environment *env, struct run *run)
{
	const struct address *address = run->sc->address;

	if (run->delivery->count != 1)
		return;
	add_variable(env, "LOCAL_PART", address->local_part);
	add_variable(env, "LOGNAME", address->local_part);
	add_variable(env, "USER", address->local_part);
	add_variable(env, "LOCAL_PART_PREFIX", address->prefix);
	add_variable(env, "LOCAL_PART_SUFFIX", address->suffix);
	add_variable(env, "DOMAIN", address->domain);
	while (address->parent)
		address = address->parent;
	add_variable(env, "RECIPIENT", address->full);
}

static enum rc make_environment(struct run *run, struct environment *env)
{
	struct scope *sc = run->sc;
	struct slice list, item, path;
	char separator = 0;
	enum rc rc;

	*env = (struct environment){.arena = sc->task->arena};
	add_addresses(env, run);
	add_variable(env, "HOME", sc->address->home.ptr ? sc->address->home : SLICE_EMPTY);
	add_variable(env, "MESSAGE_ID", message_id_slice(&sc->message->id));
	rc = expand_option(sc, run->options->path, &path, run->err);
	if (rc == OK)
		rc = expand_option(sc, run->options->environment, &list, run->err);
	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	add_variable(env, "PATH", path);
	add_variable(env, "QUALIFY_DOMAIN", conf_main(sc->conf)->qualify_domain);
	add_variable(env, "SENDER", scope_sender(sc));
	add_variable(env, "SHELL", SLICE("/bin/sh"));
	if (sc->host && sc->host->name.len)
		add_variable(env, "HOST", sc->host->name);
	while (list_next(sc->task->arena, &list, &separator, &item)) {
		char *text = item.ptr && slice_find(item, '=') > 0 ? arena_cstr(sc->task->arena, item) : NULL;
		if (text && env->count < ENVIRONMENT_MAX)
			env->list[env->count++] = text;
	}
	env->list[env->count] = NULL;
	return env->failed ? err_memory(run->err) : OK;
}

static enum rc find_directory(struct run *run, const char **directory_ret)
{
	struct slice value;
	enum rc rc = expand_option(run->sc, run->options->transport.current_directory, &value, run->err);

	if (rc != OK)
		return rc == FAIL ? DEFER : rc;
	if (value.len == 0 && run->sc->address->current_directory.ptr)
		value = run->sc->address->current_directory;
	if (value.len == 0 && run->sc->address->home.ptr)
		value = run->sc->address->home;
	if (value.len == 0)
		value = SLICE("/");
	if (value.ptr[0] != '/' || value.taint == TAINTED)
		return err_set(run->err, DEFER,
			       "current directory \"%.*s\" of %.*s transport is not absolute, or tainted",
			       SLICE_ARG(value), SLICE_ARG(run->options->transport.instance.name));
	*directory_ret = arena_cstr(run->sc->task->arena, value);
	return *directory_ret ? OK : err_memory(run->err);
}

/* ---- Talking to it ------------------------------------------------------------------------------------------------------- */

static enum rc write_block(void *arg, struct slice block, struct err *err)
{
	struct run *run = arg;

	return stream_write(run->sc->task, run->stream, block, err);
}

static enum rc write_option(struct run *run, const struct expansion *option, const char *name)
{
	struct slice text;
	enum rc rc = expand_option(run->sc, option, &text, run->err);

	if (rc != OK) {
		err_prefix(run->err, "expansion of %s failed", name);
		return rc == FAIL ? DEFER : rc;
	}
	return text.len ? text_writer_add_raw(&run->writer, text, run->err) : OK;
}

static enum rc write_bsmtp(struct run *run)
{
	const char *end = run->options->use_crlf ? "\r\n" : "\n";
	struct str out = str_make(run->sc->task->arena);
	struct slice path;
	enum rc rc = delivery_return_path(run->sc, &run->options->transport, &path, run->err);

	if (rc != OK)
		return rc;
	str_printf(&out, "MAIL FROM:<%.*s>%s", SLICE_ARG(path), end);
	for (unsigned i = 0; i < run->delivery->count; i++) {
		struct slice to =
		    rcpt_address(run->sc->task->arena, &run->options->transport, run->delivery->addresses[i]);
		str_printf(&out, "RCPT TO:<%.*s>%s", SLICE_ARG(to), end);
	}
	str_printf(&out, "DATA%s", end);
	return out.failed ? err_memory(run->err)
			  : text_writer_add_raw(&run->writer, str_slice(&out), run->err);
}

/* FAIL: the command reads no more, which is its own business. */
static enum rc write_message(struct run *run)
{
	const P *p = run->options;
	enum rc rc;

	run->writer = (struct text_writer){
	    .write = write_block,
	    .arg = run,
	    .crlf = p->use_crlf,
	    .check = p->check_string.ptr && p->escape_string.ptr ? p->check_string : SLICE_EMPTY,
	    .escape = p->escape_string.ptr ? p->escape_string : SLICE_EMPTY,
	};
	rc = text_writer_init(&run->writer, run->sc->task->arena, run->err);
	if (rc == OK)
		rc = write_option(run, p->message_prefix, "message_prefix");
	if (rc == OK && p->use_bsmtp)
		rc = write_bsmtp(run);
	if (rc == OK) {
		rc = text_writer_message(run->sc, &p->transport, run->delivery, &run->writer, run->err);
		run->filter_failed = rc == DEFER && p->transport.transport_filter;
	}
	if (rc == OK)
		rc = write_option(run, p->message_suffix, "message_suffix");
	if (rc == OK && p->use_bsmtp)
		rc = text_writer_add_raw(&run->writer, p->use_crlf ? SLICE(".\r\n") : SLICE(".\n"), run->err);
	return rc == OK ? text_writer_flush(&run->writer, run->err) : rc;
}

static enum rc give_message(void *arg, struct task *task, struct stream *stream, struct err *err)
{
	struct run *run = arg;

	(void)task;
	(void)err;
	run->stream = stream;
	return write_message(run);
}

static bool take_piece(void *arg, struct slice piece)
{
	struct run *run = arg;

	if (run->output.len + piece.len > (uint64_t)run->options->max_output)
		return false;
	str_add(&run->output, piece);
	return true;
}

/* ---- What became of it ----------------------------------------------------------------------------------------------------- */

static bool exit_is_temporary(const P *p, int code)
{
	struct slice list = p->temp_errors, item;
	struct arena arena;
	char separator = 0;
	uint64_t number;
	bool found = false;

	if (slice_eq(slice_trim(list), SLICE("*")))
		return true;
	arena_init(&arena, 4096);
	while (!found && list_next(&arena, &list, &separator, &item))
		found = item.ptr && parse_u64(item, &number) && number == (uint64_t)code;
	arena_done(&arena);
	return found;
}

/* The whole command, for a log line. */
static struct slice command_text(struct run *run)
{
	struct str text = str_make(run->sc->task->arena);
	struct slice s;

	for (unsigned i = 0; run->argv[i] && text.len < 1000; i++) {
		bool quote = run->argv[i][strcspn(run->argv[i], " \t\"'")];
		str_printf(&text, "%s%s%s%s", i ? " " : "", quote ? "\"" : "", run->argv[i],
			   quote ? "\"" : "");
	}
	s = str_slice(&text);
	return s.ptr ? s : SLICE_EMPTY;
}

/* What the command said: its first line into the log, all of it into the bounce, as the options have it. */
static void take_output(struct run *run)
{
	const P *p = run->options;
	struct slice output = slice_trim(str_slice(&run->output)), line;
	enum rc rc = run->delivery->outcomes[0].rc;
	bool log =
	    p->log_output || (p->log_fail_output && rc == FAIL) || (p->log_defer_output && rc == DEFER);
	bool give = p->return_output || (p->return_fail_output && rc == FAIL);

	if (!output.ptr || output.len == 0)
		return;
	line = slice_sub(output, 0,
			 slice_find(output, '\n') < 0 ? output.len : (size_t)slice_find(output, '\n'));
	if (log)
		log_printf(run->sc->task->shard, run->sc->conf, LOG_TO_MAIN, &run->sc->message->id,
			   "<%.*s>: %.*s transport output: %.*s", SLICE_ARG(run->sc->address->full),
			   SLICE_ARG(p->transport.instance.name), SLICE_ARG(line));
	for (unsigned i = 0; give && i < run->delivery->count; i++) {
		struct delivery_outcome *outcome = &run->delivery->outcomes[i];
		outcome->output = output;
		if (p->return_output && rc == OK) {
			outcome->rc = FAIL;
			outcome->message = SLICE("return message generated");
		}
	}
}

/* What programs that care mean by their exit status (sysexits.h). */
static const char *meaning(int code)
{
	static const char *const from_64[] = {
	    "usage or syntax error",   "error in input data",
	    "input data missing",      "user nonexistent",
	    "host nonexistent",        "service or program unavailable",
	    "internal software error", "internal operating system error",
	    "system file missing",     "can't create output file",
	    "input/output error",      "temporary error",
	    "protocol error",          "permission denied",
	    "configuration error",
	};

	if (code >= 64 && code < 64 + (int)ARRAY_COUNT(from_64))
		return from_64[code - 64];
	return code == 127 ? "unable to exec or command does not exist" : NULL;
}

static void judge_exit(struct run *run, int code)
{
	const P *p = run->options;
	const char *words = meaning(code);

	outcome_all(run->sc, run->delivery, exit_is_temporary(p, code) ? DEFER : FAIL,
		    "Child process of %.*s transport returned %d%s%s%s from command: %s",
		    SLICE_ARG(p->transport.instance.name), code, words ? " (could mean " : "",
		    words ? words : "", words ? ")" : "", run->argv[0]);
}

static void judge(struct run *run, int status)
{
	const P *p = run->options;
	struct slice command = command_text(run);

	if (WIFSIGNALED(status) && !p->ignore_status) {
		outcome_all(
		    run->sc, run->delivery, p->freeze_signal ? DEFER : FAIL,
		    "Child process of %.*s transport (running command \"%.*s\") was terminated by signal %d (%s)",
		    SLICE_ARG(p->transport.instance.name), SLICE_ARG(command), WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
		for (unsigned i = 0; i < run->delivery->count; i++)
			run->delivery->outcomes[i].freeze = p->freeze_signal;
	} else if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && !p->ignore_status) {
		judge_exit(run, WEXITSTATUS(status));
	} else {
		outcome_all(run->sc, run->delivery, OK, "%s", "");
	}
	for (unsigned i = 0; i < run->delivery->count; i++)
		run->delivery->outcomes[i].size = run->writer.written;
	take_output(run);
}

static void could_not_run(struct run *run, enum rc rc)
{
	bool freeze = rc == FAIL && run->options->freeze_exec_fail;

	outcome_all_err(run->sc, run->delivery, rc == FAIL && !freeze ? FAIL : DEFER, run->err, NULL);
	for (unsigned i = 0; i < run->delivery->count; i++)
		run->delivery->outcomes[i].freeze = freeze;
}

/* It is not there, or not to be executed: as if a shell had been asked for it. */
static void could_not_start(struct run *run, enum rc rc)
{
	if (rc != FAIL || run->options->freeze_exec_fail)
		could_not_run(run, rc);
	else
		judge_exit(run, 127);
}

static void timed_out(struct run *run)
{
	enum rc rc = run->options->timeout_defer ? DEFER : FAIL;

	if (run->err->os == FAULT_FILTER)
		outcome_all_err(run->sc, run->delivery, DEFER, run->err, NULL);
	else
		outcome_all(run->sc, run->delivery, rc,
			    run->filter_failed ? "transport filter timeout while writing to pipe"
					       : "pipe delivery process timed out");
}

static void run_command(struct run *run, const struct environment *env, const char *directory)
{
	const P *p = run->options;
	struct task *task = run->sc->task;
	struct talk talk = {
	    .who = &run->who,
	    .give = give_message,
	    .take = take_piece,
	    .arg = run,
	    .command = {
		.argv = run->argv, .envp = env->list, .directory = directory, .umask = (mode_t)p->umask}};
	uint64_t until = task->until;
	enum rc rc;

	task->until = task_until(task, (uint64_t)p->timeout * 1000);
	rc = command_talk(task, &talk, run->err);
	task->until = until;
	if (rc == OK)
		judge(run, talk.stopped
			       ? SIGKILL
			       : talk.status); /* stopped for its output: as one that a signal ended */
	else if (!talk.started)
		could_not_start(run, rc);
	else if (rc == CANCELLED)
		outcome_all(run->sc, run->delivery, DEFER, "the delivery was broken off");
	else
		timed_out(run);
}

/* With pipe_as_creator, where the transport names no user: who called us with the message; for what came over the network that
 * is the server itself. */
static enum rc find_user(struct run *run)
{
	const P *p = run->options;
	const struct client *client = run->sc->message->client;
	bool local = client && client_is_local(client);
	struct address address = *run->sc->address;

	if (p->pipe_as_creator && !p->transport.user) {
		address.uid_set = address.gid_set = true;
		address.uid = local ? client->uid : geteuid();
		address.gid = local ? client->gid : getegid();
	}
	return identity_find(run->sc, &p->transport, &address, &run->who, run->err);
}

static void pipe_deliver(struct scope *sc, const struct transport *transport, struct delivery *delivery)
{
	struct err err = err_make(sc->task->arena);
	struct run run = {.sc = sc,
			  .options = (const P *)transport,
			  .delivery = delivery,
			  .err = &err,
			  .output = str_make(sc->task->arena)};
	struct environment *env = arena_make(sc->task->arena, struct environment);
	const char *directory = NULL;
	enum rc rc = env ? make_arguments(&run) : err_memory(&err);

	if (rc == OK)
		rc = find_command(&run);
	if (rc == OK)
		rc = make_environment(&run, env);
	if (rc == OK)
		rc = find_directory(&run, &directory);
	if (rc == OK)
		rc = find_user(&run);
	if (rc != OK) {
		could_not_run(&run, rc);
		return;
	}
	run_command(&run, env, directory);
}

static const struct transport_ops pipe_ops = {.deliver = pipe_deliver, .local = true};
const struct conf_driver transport_pipe_driver = {
    .name = "pipe",
    .size = sizeof(P),
    .options = pipe_options,
    .option_count = ARRAY_COUNT(pipe_options),
    .check = pipe_check,
    .ops = &pipe_ops,
};
