/* server: the executable. What the command line asks for, the life of the daemon, and the wiring of the rooms. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "admin/admin.h"

extern struct language server_language;
extern const struct conf_language server_registry;
/* At the end of a shard, on its loop, once nobody works any more: what each room kept for it is given back. */
void rooms_leave(struct shard *shard);

/* At the end the log is written without haste for so long; then what is left is written the blocking way. */
#define LOG_FLUSH_MS 5000

/* What the command line says. Letters as Exim's. */
enum mode {
	MODE_NONE, MODE_DAEMON, MODE_FOREGROUND, MODE_SMTP, MODE_BATCH_SMTP, MODE_SUBMIT, MODE_EXPAND, MODE_TEST_ADDRESS,
	MODE_VERIFY_ADDRESS, MODE_VERIFY_SENDER, MODE_TEST_HOST, MODE_VERSION, MODE_PRINT, MODE_LIST, MODE_COUNT, MODE_QUEUE_RUN,
	MODE_DELIVER, MODE_ACT, MODE_TEST_RETRY, MODE_TEST_REWRITE, MODE_TEST_FILTER, MODE_HELP, MODE_NEWALIASES,
};
struct command_line {
	enum mode mode;
	const char *file;		/* -C */
	const char *macros[64];		/* -D, NULL-terminated */
	const char *operands[4096];	/* recipients, addresses, message ids, things to print or expand */
	unsigned operand_count;
	const char *sender;		/* -f, -r; NULL: none */
	const char *full_name;		/* -F */
	const char *test_host;		/* -bh, -oMa */
	const char *interface;		/* -oMi */
	const char *helo, *host_name, *protocol, *authenticated, *auth_sender, *ident; /* -oMs -oMr -oMaa... */
	const char *ports;		/* -oX */
	const char *pid_file;		/* -oP */
	const char *sender_pattern, *recipient_pattern; /* -S, -R */
	bool patterns_are_regex;
	enum queue_action action;
	unsigned run_flags;		/* RUN_... */
	int64_t queue_interval_s;	/* -q15m; 0: one run */
	bool queue_runner;		/* -q with -bd */
	bool extract, ignore_dot, debug, list_all, list_undelivered, random_order, foreground, names_only, no_daemonize;
	enum { WHEN_DEFAULT, WHEN_FOREGROUND, WHEN_BACKGROUND, WHEN_QUEUE } when; /* -odf/-odi, -odb, -odq */
	enum { ERRORS_MAIL, ERRORS_PRINT, ERRORS_QUIET } errors; /* -oem, -oep, -oeq ... */
	const char *filter_user, *filter_system; /* -bf, -bF */
	const char *filter_domain, *filter_local_part, *filter_prefix, *filter_suffix; /* -bfd -bfl -bfp -bfs */
	const char *message_file;	/* -be's, -bem */
};
/* false: told on standard error. */
bool command_line_parse(int argc, char **argv, struct command_line *ret);

/* Who called us, and what he may do. */
struct caller {
	uint32_t uid, gid;
	bool trusted, admin;
	char login[64], name[128], home[256];
};
void caller_find(struct caller *ret);

/* Loads the configuration or exits with its error. */
struct conf *load_or_exit(const struct command_line *cl, const struct caller *caller);
const char *spool_directory(const struct conf *conf); /* lives as long as the snapshot */
void say_warnings(const struct conf *conf);

/* once.c: runs f on a fiber of a shard of its own, and returns its exit status. with_spool: takes the spool (f finds its parts
 * in the struct); fails when another process has it. */
struct once {
	const struct command_line *cl;
	const struct caller *caller;
	struct conf *conf;
	struct task task;
	struct arena arena;
	struct shard *shard;
	struct spool *spool;
	struct deliverer *deliverer;
	struct smtp_server *smtp;
	struct smtp_shared *shared;
	struct hints *hints;
	int status;
	int (*f)(struct once *once);
	bool with_spool;
};
int run_once(const struct command_line *cl, const struct caller *caller, struct conf *conf, bool with_spool, int (*f)(struct once *));

/* tools.c: the commands that look and test. */
int tool_expand(struct once *once);
int tool_test_address(struct once *once);
int tool_verify_address(struct once *once);
int tool_test_host(struct once *once);
int tool_test_retry(struct once *once);
int tool_test_rewrite(struct once *once);
int tool_version(const struct conf *conf, bool with_config);
int tool_print(const struct command_line *cl, const struct caller *caller, const struct conf *conf);

/* filter_tool.c */
int tool_test_filter(struct once *once);

/* queue_tools.c: through the control socket of the daemon, or on the spool itself. */
int queue_command(const struct command_line *cl, const struct caller *caller, struct conf *conf);
/* submit_tools.c: -t, recipients as arguments, -bs, -bS. */
int submit_command(const struct command_line *cl, const struct caller *caller, struct conf *conf);

/* supervisor.c: holds the sockets, keeps a worker running. Returns the exit status. */
int supervise(const struct command_line *cl, const struct caller *caller, struct conf *conf);
/* worker.c: all shards of one process, on sockets that the supervisor has bound: listeners[shard * count + i]. */
struct worker_start {
	const struct command_line *cl;
	struct conf *conf;
	unsigned shard_count;
	const int *listeners;
	unsigned listener_count; /* a shard */
};
int worker_run(const struct worker_start *start);

#endif
