/* A scripted SMTP server on loopback, in a thread of its own. Each connection plays the next part of the script:
 *
 *	"S text"   says text and CRLF       "R text"  says text as it is
 *	"C text"   reads a line, which has to begin with text
 *	"D"        reads a message to the line with the dot; "B n" reads n bytes
 *	"X"        closes; a new connection is waited for
 *	"W"        waits until the client closes
 *
 * What was read is kept in log, so that tests can compare it byte by byte. */
#ifndef SMTP_SCRIPT_H
#define SMTP_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/base.h"

struct script {
	const char *const *steps;
	int listen_fd, fd;
	uint16_t port;
	pthread_t thread;
	char log[1 << 20];
	size_t log_len;
	char wrong[512]; /* the first step that did not go as written; "" if all did */
	unsigned connections;
	size_t done; /* steps */
};

static inline bool script_byte(struct script *s, char *c)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};

	if (poll(&p, 1, 5000) != 1 || read(s->fd, c, 1) != 1)
		return false;
	if (s->log_len < sizeof(s->log))
		s->log[s->log_len++] = *c;
	return true;
}

static inline bool script_line(struct script *s, char *line, size_t room)
{
	size_t len = 0;

	while (script_byte(s, &line[len])) {
		if (line[len] == '\n') {
			line[len] = '\0';
			if (len && line[len - 1] == '\r')
				line[len - 1] = '\0';
			return true;
		}
		if (++len + 1 >= room)
			return false;
	}
	return false;
}

static inline bool script_say(struct script *s, const char *text, const char *end)
{
	char out[16384];
	int len = snprintf(out, sizeof(out), "%s%s", text, end);

	return send(s->fd, out, (size_t)len, MSG_NOSIGNAL) == len;
}

static inline bool script_step(struct script *s, const char *step)
{
	char line[8192], c;

	if (s->fd < 0) {
		struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
		if (poll(&p, 1, 5000) != 1)
			return false;
		s->fd = accept(s->listen_fd, NULL, NULL);
		if (s->fd < 0)
			return false;
		s->connections++;
	}
	switch (step[0]) {
	case 'S':
		return script_say(s, step + 2, "\r\n");
	case 'R':
		return script_say(s, step + 2, "");
	case 'C':
		return script_line(s, line, sizeof(line)) && strncmp(line, step + 2, strlen(step + 2)) == 0;
	case 'D':
		while (script_line(s, line, sizeof(line)))
			if (strcmp(line, ".") == 0)
				return true;
		return false;
	case 'B':
		for (long left = atol(step + 2); left > 0; left--)
			if (!script_byte(s, &c))
				return false;
		return true;
	case 'X':
		close(s->fd);
		s->fd = -1;
		return true;
	case 'W':
		while (script_byte(s, &c))
			;
		close(s->fd);
		s->fd = -1;
		return true;
	}
	return false;
}

static void *script_run(void *arg)
{
	struct script *s = arg;

	for (; s->steps[s->done]; s->done++)
		if (!script_step(s, s->steps[s->done])) {
			snprintf(s->wrong, sizeof(s->wrong), "step %zu: %s", s->done, s->steps[s->done]);
			break;
		}
	if (s->fd >= 0)
		close(s->fd);
	return NULL;
}

static inline void script_init(struct script *s, const char *const *steps)
{
	memset(s, 0, offsetof(struct script, log));
	s->log_len = s->done = s->connections = 0;
	s->wrong[0] = '\0';
	s->steps = steps;
	s->fd = -1;
}

/* On a Unix socket; from a fiber too. false: it cannot be made. */
static inline bool script_start_unix(struct script *s, const char *path, const char *const *steps)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	script_init(s, steps);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return s->listen_fd >= 0 && bind(s->listen_fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 &&
	       listen(s->listen_fd, 4) == 0 && pthread_create(&s->thread, NULL, script_run, s) == 0;
}

static inline void script_start(struct script *s, const char *const *steps)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);

	script_init(s, steps);
	s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->listen_fd >= 0);
	assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(s->listen_fd, 16), 0);
	assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&sin, &len), 0);
	s->port = ntohs(sin.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, script_run, s), 0);
}

static inline void script_join(struct script *s)
{
	pthread_join(s->thread, NULL);
	close(s->listen_fd);
}

static inline bool script_saw(const struct script *s, const char *text)
{
	return memmem(s->log, s->log_len, text, strlen(text));
}

#endif
