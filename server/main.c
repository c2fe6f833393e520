/* main: what was asked for, and who does it. */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "sluice: a mail transfer agent that reads Exim configurations\n"
    "\n"
    "  -C FILE            the configuration (default /etc/sluice/sluice.conf, then /etc/exim4/exim4.conf)\n"
    "  -D MACRO=VALUE     defines a macro\n"
    "  -bd  -bdf          daemon; in the foreground.  -q15m: with queue runs every 15 minutes\n"
    "  -oX PORTS          listen there instead\n"
    "  -bs  -bS           SMTP, batch SMTP on standard input and output\n"
    "  -t, ADDRESS...     submit the message on standard input (-i -f -F -odi -odb -odq ...)\n"
    "  -bp -bpc -bpu      the queue; how many; -q -qf -qff -R -S: a queue run\n"
    "  -M ID...           deliver now; -Mrm -Mf -Mt -Mg -Mar -Mes -Mmd -Mmad: change; -Mvh -Mvb -Mvc -Mvl: look\n"
    "  -bt -bv ADDRESS    how an address is routed, whether it verifies\n"
    "  -be STRING         expands; -bh IP: a test session; -brt: a retry rule\n"
    "  -bf FILE -bF FILE  what a filter (the system filter) does with the message on standard input\n"
    "  --dmarc-report     mails the DMARC aggregate reports of the days before this one (=today: and of this)\n"
    "  --metrics          what the daemon counts, as Prometheus reads it\n"
    "  -bV -bP [WHAT]     version and check of the configuration; its options\n"
    "\n"
    "The letters are Exim's. What only sluice has is described in README.md and by -bP.\n";

void say_warnings(const struct conf *conf)
{
	LIST_EACH (l, &conf->warnings) {
		const struct conf_warning *w = LIST_ITEM(l, struct conf_warning, link);
		fprintf(stderr, "warning: %.*s\n", SLICE_ARG(w->text));
	}
}

/* A file that the caller named is his affair: he may read it, and it runs with his rights. The installed one decides for all of
 * this host's users, so whoever can change it must be root, or the user of the daemon. */
struct conf *load_or_exit(const struct command_line *cl)
{
	struct conf_load_options options = {
	    .file = cl->file ? cl->file : CONFIG_FILES,
	    .macros = cl->macros,
	    .trusted = true,
	    .check_owner = !cl->file,
	};
	struct arena arena;
	struct conf *conf;
	struct err err;

	arena_init(&arena, 0);
	err = err_make(&arena);
	if (language_init(&server_language, &err) != OK ||
	    conf_load(&server_registry, &options, &conf, &err) != OK) {
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
		exit(1);
	}
	arena_done(&arena);
	return conf;
}

const char *spool_directory(const struct conf *conf)
{
	const char *text = arena_cstr((struct arena *)&conf->arena, conf_main(conf)->spool_directory);

	ASSERT(text);
	return text;
}

bool daemon_answers(const struct conf *conf)
{
	int fd;

	if (control_connect(spool_directory(conf), &fd, NULL) != OK)
		return false;
	close(fd);
	return true;
}

/* Those of once_tool(). */
static bool mode_only_tests(enum mode mode)
{
	switch (mode) {
	case MODE_EXPAND:
	case MODE_TEST_ADDRESS:
	case MODE_VERIFY_ADDRESS:
	case MODE_VERIFY_SENDER:
	case MODE_TEST_HOST:
	case MODE_TEST_HOST_CALLOUT:
	case MODE_TEST_FILTER:
	case MODE_TEST_RETRY:
	case MODE_TEST_REWRITE:
		return true;
	default:
		return false;
	}
}

static int once_tool(const struct command_line *cl, const struct caller *caller, struct conf *conf)
{
	int status;

	if (conf_main(conf)->commandline_checks_require_admin && !caller->admin) {
		fputs("sluice: permission denied\n", stderr);
		return 1;
	}
	switch (cl->mode) {
	case MODE_EXPAND:
		if (cl->message_set && !caller->admin) {
			fputs("sluice: permission denied\n", stderr);
			return 1;
		}
		do
			status =
			    run_once(cl, caller, conf, cl->message_set && !daemon_answers(conf), tool_expand);
		while (status == ONCE_DAEMON);
		return status;
	case MODE_TEST_ADDRESS:
		return run_once(cl, caller, conf, false, tool_test_address);
	case MODE_VERIFY_ADDRESS:
	case MODE_VERIFY_SENDER:
		return run_once(cl, caller, conf, false, tool_verify_address);
	case MODE_TEST_HOST:
	case MODE_TEST_HOST_CALLOUT:
		return run_once(cl, caller, conf, false, tool_test_host);
	case MODE_TEST_FILTER:
		return run_once(cl, caller, conf, false, tool_test_filter);
	case MODE_TEST_RETRY:
		return run_once(cl, caller, conf, false, tool_test_retry);
	case MODE_TEST_REWRITE:
		return run_once(cl, caller, conf, false, tool_test_rewrite);
	default:
		fprintf(stderr, "sluice: this option is not available yet\n");
		return 1;
	}
}

/* -bi: alias files are read as they are, so there is nothing to do; unless the administrator has a program for it. */
static int new_aliases(const struct command_line *cl, struct conf *conf)
{
	struct slice command = conf_main(conf)->bi_command;
	char *argv[] = {NULL, (char *)(uintptr_t)cl->alias_file, NULL};

	if (!command.ptr || !command.len)
		return 0;
	argv[0] = arena_cstr(&conf->arena, command);
	if (argv[0] && setresgid(getgid(), getgid(), getgid()) == 0 &&
	    setresuid(getuid(), getuid(), getuid()) == 0)
		execv(argv[0], argv);
	fprintf(stderr, "sluice: %.*s: %s\n", SLICE_ARG(command), strerror(errno));
	return 1;
}

/* -z: a remark of the administrator's in the main log. */
static int log_line(const struct command_line *cl, const struct caller *caller, struct conf *conf)
{
	struct arena arena;
	struct err err;
	enum rc rc;

	if (!caller->admin) {
		fputs("sluice: permission denied\n", stderr);
		return 1;
	}
	arena_init(&arena, 0);
	err = err_make(&arena);
	rc = log_open(conf, false, &err);
	if (rc == OK)
		log_direct(conf, LOG_TO_MAIN, "%s", cl->log_line);
	else
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	arena_done(&arena);
	return rc == OK ? 0 : 1;
}

/* The selector "arguments". Who may not write the log goes without. */
static void log_arguments(const struct command_line *cl, struct conf *conf, int argc, char **argv)
{
	struct arena arena;
	struct str line;
	char cwd[4096];
	struct err err;

	if (!log_wants(conf, LOG_ARGUMENTS) || cl->mode == MODE_PRINT || cl->mode == MODE_VERSION ||
	    cl->mode == MODE_INFO || mode_only_tests(cl->mode))
		return;
	arena_init(&arena, 0);
	err = err_make(&arena);
	line = str_make(&arena);
	str_printf(&line, "cwd=%s %d args:", getcwd(cwd, sizeof(cwd)) ? cwd : "?", argc);
	for (int i = 0; i < argc; i++) {
		bool quoted = !argv[i][0] || strpbrk(argv[i], " \t\n\r\f\v");
		str_addz(&line, quoted ? " \"" : " ");
		str_addz(&line, argv[i]);
		str_addz(&line, quoted ? "\"" : "");
	}
	if (!line.failed && log_open(conf, false, &err) == OK)
		log_direct(conf, LOG_TO_MAIN, "%.*s", SLICE_ARG(str_slice(&line)));
	arena_done(&arena);
}

static int command(const struct command_line *cl, const struct caller *caller, struct conf *conf)
{
	/* It shows other users' filters, and passwords in questions to databases. */
	if (cl->debug && !caller->admin) {
		fputs("sluice: debugging permission denied\n", stderr);
		return 1;
	}
	switch (cl->mode) {
	case MODE_DAEMON:
	case MODE_FOREGROUND:
		if (conf_main(conf)->mua_wrapper) {
			fputs("sluice: Daemon cannot be run when mua_wrapper is set\n", stderr);
			return 1;
		}
		return supervise(cl, caller, conf);
	case MODE_VERSION:
		return tool_version(conf);
	case MODE_PRINT:
		return tool_print(cl, caller, conf);
	case MODE_LIST:
	case MODE_COUNT:
	case MODE_QUEUE_RUN:
	case MODE_DELIVER:
	case MODE_ACT:
	case MODE_DMARC_REPORT:
	case MODE_METRICS:
		return queue_command(cl, caller, conf);
	case MODE_SMTP:
	case MODE_BATCH_SMTP:
	case MODE_SUBMIT:
		return submit_command(cl, caller, conf);
	case MODE_NEWALIASES:
		return new_aliases(cl, conf);
	case MODE_INFO:
		return tool_info(cl);
	case MODE_LOG_LINE:
		return log_line(cl, caller, conf);
	default:
		return once_tool(cl, caller, conf);
	}
}

/* A descriptor that nobody opened for us could become a socket that something prints to. */
static void open_standard_descriptors(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			_exit(1);
}

/* Installed set-uid root (which nothing here needs), the program must not lend root to a configuration of the caller's making. */
static bool drop_borrowed_root(const struct command_line *cl)
{
	if (getuid() == geteuid() || getuid() == 0 || (!cl->file && !cl->macros[0]))
		return true;
	return setresgid(getgid(), getgid(), getgid()) == 0 && setresuid(getuid(), getuid(), getuid()) == 0;
}

int main(int argc, char **argv)
{
	static struct command_line cl;
	struct caller caller;
	uint64_t seed[2];
	struct conf *conf;
	int status;

	open_standard_descriptors();
	/* Whoever starts us: what is for the spool's owner and group has 0640 or 0750. Who wants more says it with fchmod(). */
	umask(027);
	if (getrandom(seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
		hash_seed(seed[0], seed[1]);
	signal(SIGPIPE, SIG_IGN);
	if (!command_line_parse(argc, argv, &cl))
		return 1;
	if (cl.mode == MODE_HELP) {
		fputs(help, stdout);
		return cl.help ? 0 : 1;
	}
	if (!drop_borrowed_root(&cl)) {
		fputs("sluice: cannot give up the rights that -C or -D must not have\n", stderr);
		return 1;
	}
	route_use_command_runner(&transport_command_runner);
	conf = load_or_exit(&cl);
	if (!environment_apply(conf)) {
		fputs("sluice: keep_environment cannot be obeyed: out of memory\n", stderr);
		return 1;
	}
	caller_self(&caller);
	caller_name(&caller, conf);
	caller_judge(&caller, conf, caller_owns_spool(&caller, spool_directory(conf)));
	log_arguments(&cl, conf, argc, argv);
	status = command(&cl, &caller, conf);
	conf_unref(conf);
	language_done(&server_language);
	return status;
}
