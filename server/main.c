/* main: what was asked for, and who does it. */
#include "server.h"

#include <fcntl.h>
#include <pwd.h>
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
	"  -bV -bP [WHAT]     version and check of the configuration; its options\n"
	"\n"
	"The letters are Exim's. What only sluice has is described in README.md and by -bP.\n";

void caller_find(struct caller *ret)
{
	struct passwd *pw = getpwuid(getuid());

	*ret = (struct caller){.uid = getuid(), .gid = getgid()};
	ret->trusted = ret->admin = ret->uid == 0 || ret->uid == geteuid();
	snprintf(ret->login, sizeof(ret->login), "%s", pw ? pw->pw_name : "unknown");
	snprintf(ret->home, sizeof(ret->home), "%s", pw ? pw->pw_dir : "/");
	snprintf(ret->name, sizeof(ret->name), "%.*s", pw ? (int)strcspn(pw->pw_gecos, ",") : 0, pw ? pw->pw_gecos : "");
}

void say_warnings(const struct conf *conf)
{
	LIST_EACH(l, &conf->warnings) {
		const struct conf_warning *w = LIST_ITEM(l, struct conf_warning, link);
		fprintf(stderr, "warning: %.*s\n", SLICE_ARG(w->text));
	}
}

struct conf *load_or_exit(const struct command_line *cl, const struct caller *caller)
{
	struct conf_load_options options = {
		.file = cl->file ? cl->file : "/etc/sluice/sluice.conf:/etc/exim4/exim4.conf",
		.macros = cl->macros,
		.trusted = caller->trusted,
	};
	struct arena arena;
	struct conf *conf;
	struct err err;

	arena_init(&arena, 0);
	err = err_make(&arena);
	if (language_init(&server_language, &err) != OK || conf_load(&server_registry, &options, &conf, &err) != OK) {
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

static int once_tool(const struct command_line *cl, const struct caller *caller, struct conf *conf)
{
	switch (cl->mode) {
	case MODE_EXPAND:
		return run_once(cl, caller, conf, false, tool_expand);
	case MODE_TEST_ADDRESS:
		return run_once(cl, caller, conf, false, tool_test_address);
	case MODE_VERIFY_ADDRESS:
	case MODE_VERIFY_SENDER:
		return run_once(cl, caller, conf, false, tool_verify_address);
	case MODE_TEST_HOST:
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

static int command(const struct command_line *cl, const struct caller *caller, struct conf *conf)
{
	switch (cl->mode) {
	case MODE_DAEMON:
	case MODE_FOREGROUND:
		return supervise(cl, caller, conf);
	case MODE_VERSION:
		return tool_version(conf, true);
	case MODE_PRINT:
		return tool_print(cl, caller, conf);
	case MODE_LIST:
	case MODE_COUNT:
	case MODE_QUEUE_RUN:
	case MODE_DELIVER:
	case MODE_ACT:
		return queue_command(cl, caller, conf);
	case MODE_SMTP:
	case MODE_BATCH_SMTP:
	case MODE_SUBMIT:
		return submit_command(cl, caller, conf);
	case MODE_NEWALIASES:
		return 0; /* alias files are read as they are */
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
		return 0;
	}
	caller_find(&caller);
	conf = load_or_exit(&cl, &caller);
	status = command(&cl, &caller, conf);
	conf_unref(conf);
	language_done(&server_language);
	return status;
}
