/* supervisor: a small process that binds the sockets and keeps a worker running on them. Clients that come while a worker is
 * being replaced wait in the sockets' backlogs and notice nothing. It holds no mail and reads nothing from the network. */
#include "server.h"
#include "drop_root.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

#define ADDRESSES_MAX 16
#define RESTART_FAST_MS 100
/* After a worker that lived for less than a second, several times in a row: a pause that spares the processor, and yet
 * clients wait for less than a second, whatever kills the workers. */
#define RESTART_SLOW_MS 500

struct supervisor {
	const struct command_line *cl;
	struct conf *conf;
	struct ip_addr addresses[ADDRESSES_MAX];
	unsigned address_count;
	unsigned shards;
	int *listeners;
	pid_t worker;
};

/* ---- Where to listen --------------------------------------------------------------------------------------------- */

static bool add_address(struct supervisor *s, struct ip_addr ip, uint16_t port)
{
	ip.port = port;
	for (unsigned i = 0; i < s->address_count; i++)
		if (ip_eq(&s->addresses[i], &ip) && s->addresses[i].port == port)
			return true;
	if (s->address_count == ADDRESSES_MAX) {
		fprintf(stderr, "sluice: more than %d addresses to listen on\n", ADDRESSES_MAX);
		return false;
	}
	s->addresses[s->address_count++] = ip;
	return true;
}

static bool port_number(struct slice text, uint16_t *port_ret)
{
	char name[64];
	struct servent *service;
	uint64_t number;

	if (parse_u64(text, &number)) {
		*port_ret = (uint16_t)number;
		return number < 65536; /* 0: the kernel's choice, for tests */
	}
	snprintf(name, sizeof(name), "%.*s", SLICE_ARG(text));
	service = getservbyname(name, "tcp");
	if (service)
		*port_ret = ntohs((uint16_t)service->s_port);
	else if (strcmp(name, "smtp") == 0)
		*port_ret = 25; /* containers often have no /etc/services */
	else if (strcmp(name, "submission") == 0)
		*port_ret = 587;
	else
		return false;
	return true;
}

static bool where_to_listen(struct supervisor *s, struct slice interfaces, struct slice ports, struct arena *arena)
{
	struct slice rest = interfaces, item;
	char separator = 0;

	while (list_next(arena, &rest, &separator, &item)) {
		struct slice port_rest = ports, port_text, own_port;
		char port_separator = 0;
		struct ip_addr ip;
		uint16_t port;

		if (!item.len)
			continue;
		if (!interface_parse(item, &ip, &own_port) || (own_port.len && !port_number(own_port, &port))) {
			fprintf(stderr, "sluice: malformed address in local_interfaces: \"%.*s\"\n", SLICE_ARG(item));
			return false;
		}
		if (own_port.len) {
			if (!add_address(s, ip, port))
				return false;
			continue;
		}
		while (list_next(arena, &port_rest, &port_separator, &port_text)) {
			if (!port_text.len)
				continue;
			if (!port_number(port_text, &port)) {
				fprintf(stderr, "sluice: TCP port \"%.*s\" is not known\n", SLICE_ARG(port_text));
				return false;
			}
			if (!add_address(s, ip, port))
				return false;
		}
	}
	return true;
}

/* -oX: ports, or, with dots or brackets, whole addresses. */
static bool read_addresses(struct supervisor *s)
{
	struct slice interfaces, ports, given = slice_of(s->cl->ports);
	struct arena *arena = &s->conf->arena;
	bool whole;

	smtp_listen_options(s->conf, &interfaces, &ports);
	if (!s->cl->ports)
		return where_to_listen(s, interfaces, ports, arena);
	whole = slice_find(given, '.') >= 0 || slice_find(given, '[') >= 0;
	return whole ? where_to_listen(s, given, ports, arena) : where_to_listen(s, interfaces, given, arena);
}

static int bind_one(struct supervisor *s, struct ip_addr *ip)
{
	struct sockaddr_storage sa;
	socklen_t len = ip_to_sockaddr(ip, &sa);
	char text[IP_TEXT_MAX];
	int one = 1, fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 && errno == EAFNOSUPPORT)
		return -2; /* no IPv6 here: the other addresses will do */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
	    (ip->family == 6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, smtp_listen_backlog(s->conf)) < 0) {
		if (fd >= 0 && errno == EADDRNOTAVAIL && ip->family == 6) {
			close(fd);
			return -2;
		}
		fprintf(stderr, "sluice: cannot listen on [%.*s]:%u: %s\n", SLICE_ARG(ip_format(ip, text)), ip->port, strerror(errno));
		return -1;
	}
	if (!ip->port) {
		/* The kernel's choice holds for the other shards' sockets, too. */
		len = sizeof(sa);
		if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
			ip->port = ip_from_sockaddr((struct sockaddr *)&sa).port;
	}
	return fd;
}

static bool bind_all(struct supervisor *s)
{
	s->listeners = calloc((size_t)s->shards * ADDRESSES_MAX, sizeof(int));
	if (!s->listeners)
		return false;
	for (unsigned a = 0; a < s->address_count;) {
		int first = bind_one(s, &s->addresses[a]);
		if (first == -1)
			return false;
		if (first == -2) {
			memmove(&s->addresses[a], &s->addresses[a + 1], (s->address_count - a - 1) * sizeof(s->addresses[0]));
			s->address_count--;
			continue;
		}
		s->listeners[a] = first; /* put in its place below */
		a++;
	}
	/* Shard by shard, as the worker wants them; from the back, so that nothing is overwritten before it was moved. */
	for (unsigned shard = 1; shard < s->shards; shard++)
		for (unsigned a = 0; a < s->address_count; a++) {
			int fd = bind_one(s, &s->addresses[a]);
			if (fd < 0)
				return false;
			s->listeners[shard * s->address_count + a] = fd;
		}
	return true;
}

/* Tests and scripts ask for port 0 and want to know what it became. */
static void write_pid_file(struct supervisor *s)
{
	const char *path = s->cl->pid_file;
	FILE *f;

	if (!path || !*path || !(f = fopen(path, "w")))
		return;
	fprintf(f, "%d\n", (int)getpid());
	for (unsigned a = 0; a < s->address_count; a++) {
		char text[IP_TEXT_MAX];
		fprintf(f, "[%.*s]:%u\n", SLICE_ARG(ip_format(&s->addresses[a], text)), s->addresses[a].port);
	}
	(void)fchmod(fileno(f), 0644); /* scripts of others look for us, too */
	fclose(f);
}

/* ---- The worker --------------------------------------------------------------------------------------------------- */

static void worker_main(struct supervisor *s)
{
	const struct worker_start start = {
		.cl = s->cl, .conf = s->conf, .shard_count = s->shards, .listeners = s->listeners, .listener_count = s->address_count,
	};
	struct arena arena;
	struct err err;
	int status = 1;

	arena_init(&arena, 0);
	err = err_make(&arena);
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* without a supervisor nobody would restart us */
	if (transport_helper_start(&err) != OK || log_open(s->conf, s->cl->mode == MODE_FOREGROUND && s->cl->debug, &err) != OK)
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
		log_direct(s->conf, LOG_TO_MAIN | LOG_TO_PANIC, "worker %d %s %d: starting another", (int)s->worker,
			   WIFSIGNALED(status) ? "was ended by signal" : "exited with status",
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

	(void)caller;
	arena_init(&arena, 0);
	err = err_make(&arena);
	s.shards = conf_main(conf)->shards > 0 ? (unsigned)conf_main(conf)->shards : reactor_cpu_count();
	if (s.shards > 256)
		s.shards = 256;
	say_warnings(conf);
	if (reactor_probe(&err) != OK) {
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	} else if (make_spool_directory(conf, spool_directory(conf)) && read_addresses(&s) && bind_all(&s)) {
		if (log_open(conf, false, &err) != OK)
			fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
		else if (cl->mode == MODE_FOREGROUND || go_background()) {
			write_pid_file(&s);
			status = watch_worker(&s);
		}
	}
	free(s.listeners);
	arena_done(&arena);
	return status;
}
