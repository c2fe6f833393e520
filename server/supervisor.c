/* supervisor: a small process that binds the sockets and keeps a worker running on them. Clients that come while a worker is
 * being replaced wait in the sockets' backlogs and notice nothing. It holds no mail and reads nothing from the network. */
#include "server.h"
#include "drop_root.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RESTART_FAST_MS 100
/* After a worker that lived for less than a second, several times in a row: a pause that spares the processor, and yet
 * clients wait for less than a second, whatever kills the workers. */
#define RESTART_SLOW_MS 500

struct supervisor {
	const struct command_line *cl;
	struct conf *conf;
	struct listening listening;
	unsigned shards;
	const char *pid_file; /* NULL: none was written */
	pid_t worker;
};

/* -oP's, or pid_file_path unless -oX made this another daemon than the usual one. Empty: none. */
static const char *pid_file_path(struct supervisor *s)
{
	struct slice path = conf_main(s->conf)->pid_file_path;

	if (s->cl->pid_file)
		return s->cl->pid_file;
	if (s->cl->ports)
		return "";
	if (!path.ptr || !path.len)
		path = arena_printf(&s->conf->arena, "%s/exim-daemon.pid", spool_directory(s->conf));
	return path.ptr ? arena_cstr(&s->conf->arena, path) : "";
}

/* What another user left there could be a link to something else, so a file or link is replaced, never written to. A
 * device ("-oP /dev/null") is written to, and stays. */
static FILE *pid_file_open(const char *path, bool *ours_ret)
{
	struct stat st;

	int fd;

	*ours_ret = lstat(path, &st) || S_ISREG(st.st_mode) || S_ISLNK(st.st_mode);
	if (*ours_ret) {
		(void)unlink(path);
		return fopen(path, "wxe");
	}
	fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW |
			    O_CLOEXEC); /* a pipe that nobody reads is no reason to stop */
	return fd < 0 ? NULL : fdopen(fd, "w");
}

/* The number alone, as scripts read it; but tests and scripts that asked for port 0 want to know what it became, too. */
static void write_pid_file(struct supervisor *s)
{
	const char *path = pid_file_path(s);
	bool ours;
	FILE *f;

	if (!*path)
		return;
	f = pid_file_open(path, &ours);
	if (!f) {
		log_direct(s->conf, LOG_TO_MAIN, "cannot write the pid file %s: %s", path, strerror(errno));
		return;
	}
	fprintf(f, "%d\n", (int)getpid());
	for (unsigned a = 0; s->listening.any_port && a < s->listening.address_count; a++) {
		char text[IP_TEXT_MAX];
		fprintf(f, "[%.*s]:%u\n", SLICE_ARG(ip_format(&s->listening.addresses[a], text)),
			s->listening.addresses[a].port);
	}
	if (ours) {
		s->pid_file = path;            /* to be removed at the end */
		(void)fchmod(fileno(f), 0644); /* scripts of others look for us, too */
	}
	fclose(f);
}

/* ---- The worker --------------------------------------------------------------------------------------------------- */

static void worker_main(struct supervisor *s)
{
	const struct worker_start start = {
	    .cl = s->cl,
	    .conf = s->conf,
	    .shard_count = s->shards,
	    .listeners = s->listening.fds,
	    .listener_count = s->listening.address_count,
	};
	struct arena arena;
	struct err err;
	int status = 1;

	arena_init(&arena, 0);
	err = err_make(&arena);
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* without a supervisor nobody would restart us */
	if (transport_helper_start(&err) != OK ||
	    log_open(s->conf, s->cl->mode == MODE_FOREGROUND && s->cl->debug, &err) != OK)
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	else if (drop_root(s->conf))
		status = worker_run(&start);
	transport_helper_stop();
	arena_done(&arena);
	exit(status);
}

/* ---- Life ---------------------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool start_worker(struct supervisor *s, const sigset_t *before)
{
	fflush(NULL);
	s->worker = fork();
	if (s->worker < 0)
		return false;
	if (s->worker == 0) {
		sigprocmask(SIG_SETMASK, before, NULL);
		worker_main(s);
	}
	return true;
}

static int watch_worker(struct supervisor *s)
{
	sigset_t set, before;
	uint64_t started;
	unsigned quick_deaths = 0;
	bool ending = false;
	int status, sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &before);
	started = now_ms();
	if (!start_worker(s, &before))
		return 1;
	for (;;) {
		if (sigwait(&set, &sig) != 0)
			continue;
		if (sig != SIGCHLD) {
			ending |= sig == SIGTERM || sig == SIGINT;
			kill(s->worker, sig == SIGINT ? SIGTERM : sig);
			continue;
		}
		if (waitpid(s->worker, &status, WNOHANG) != s->worker)
			continue;
		if (ending || (WIFEXITED(status) && quick_deaths == 0 && now_ms() - started < 1000))
			/* Told to end, or it could not even start: its own message says why. */
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		log_direct(s->conf, LOG_TO_MAIN | LOG_TO_PANIC, "worker %d %s %d: starting another",
			   (int)s->worker, WIFSIGNALED(status) ? "was ended by signal" : "exited with status",
			   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		quick_deaths = now_ms() - started < 1000 ? quick_deaths + 1 : 0;
		poll(NULL, 0, quick_deaths > 3 ? RESTART_SLOW_MS : quick_deaths ? RESTART_FAST_MS : 1);
		started = now_ms();
		if (!start_worker(s, &before))
			return 1;
	}
}

static bool go_background(void)
{
	pid_t pid = fork();

	if (pid < 0)
		return false;
	if (pid > 0)
		_exit(0);
	setsid();
	int null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		if (null > 2)
			close(null);
	}
	return chdir("/") == 0;
}

int supervise(const struct command_line *cl, const struct caller *caller, struct conf *conf)
{
	struct supervisor s = {.cl = cl, .conf = conf};
	struct arena arena;
	struct err err;
	int status = 1;

	if (!caller->admin) {
		fputs("sluice: permission denied\n", stderr);
		return 1;
	}
	arena_init(&arena, 0);
	err = err_make(&arena);
	s.shards = conf_main(conf)->shards > 0 ? (unsigned)conf_main(conf)->shards : reactor_cpu_count();
	if (s.shards > 256)
		s.shards = 256;
	say_warnings(conf);
	if (reactor_probe(&err) != OK) {
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	} else if (make_spool_directory(conf, spool_directory(conf)) &&
		   listen_addresses(conf, cl->ports, &s.listening) &&
		   listen_bind(conf, s.shards, &s.listening)) {
		if (log_open(conf, false, &err) != OK)
			fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
		else if (cl->mode == MODE_FOREGROUND || go_background()) {
			write_pid_file(&s);
			status = watch_worker(&s);
			if (s.pid_file)
				(void)unlink(
				    s.pid_file); /* where root's directory does not let us, it stays, as Exim's does */
		}
	}
	free(s.listening.fds);
	arena_done(&arena);
	return status;
}
