/* Opening the logs of the process, and logging outside shards: both may block. */

#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* A number for a file that is only made when there is something to write to it. */
static enum rc reserve(enum log_stream stream, struct err *err)
{
	int fd;

	if (log_process.fds[stream] >= 0)
		return OK;
	fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_os(err, DEFER, 0, "/dev/null");
	log_process.fds[stream] = fd;
	return OK;
}

/* Set once: other threads read the environment later on. */
static void set_timezone(const struct log_conf *group)
{
	char zone[128];

	if (!group->timezone.ptr || atomic_load_explicit(&log_process.serial, memory_order_relaxed) != 0)
		return;
	snprintf(zone, sizeof(zone), "%.*s", SLICE_ARG(group->timezone));
	if (group->timezone.len == 0)
		(void)unsetenv("TZ");
	else
		(void)setenv("TZ", zone, 1);
	tzset();
}

static void now_in_words(struct log_clock *clock, uint64_t *wall_ret)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	*wall_ret = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
	log_clock_set(clock, *wall_ret);
}

enum rc log_open(struct conf *conf, bool to_stderr, struct err *err)
{
	const struct log_conf *group = log_conf_of(conf);
	struct log_clock clock = {0};
	uint64_t wall;
	enum rc rc = OK;

	set_timezone(group);
	now_in_words(&clock, &wall);
	if (group->path.ptr) {
		rc = reserve(STREAM_REJECT, err);
		if (rc == OK)
			rc = reserve(STREAM_PANIC, err);
		if (rc == OK)
			rc = log_file_reopen(conf, STREAM_MAIN, &clock.tm, err);
	}
	if (rc != OK)
		return rc;
	log_process.to_stderr = to_stderr;
	atomic_store_explicit(&log_process.serial, conf->serial, memory_order_relaxed);
	return OK;
}

/* ---- Outside shards
 * --------------------------------------------------------------------------------------------- */

static bool leads_there(const struct log_conf *group, enum log_stream stream, const struct tm *tm)
{
	char path[LOG_PATH_MAX];
	struct stat there, here;

	return log_path(path, group, stream, tm) && stat(path, &there) == 0 &&
	       fstat(log_process.fds[stream], &here) == 0 && there.st_dev == here.st_dev &&
	       there.st_ino == here.st_ino;
}

static bool put(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t done = write(fd, bytes, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		bytes += done;
		len -= (size_t)done;
	}
	return true;
}

static void put_direct(const struct conf *conf, unsigned where, const char *line, size_t len, size_t stamp,
		       const struct log_clock *clock, uint64_t wall)
{
	static const int priorities[STREAM_COUNT] = {LOG_INFO, LOG_NOTICE, LOG_ALERT};
	const struct log_conf *group = log_conf_of(conf);
	bool console = group->to_stdout || group->to_stderr || log_process.to_stderr, lost = false;
	struct log_syslog out = {.fd = -1};

	for (unsigned i = STREAM_COUNT; i-- > 0;) {
		if (!(where & 1u << i))
			continue;
		if (group->to_syslog) {
			size_t skip = group->syslog_timestamp ? 0 : stamp;

			log_syslog_send(&out, group, priorities[i], (int)getpid(), 0, wall,
					slice_make(line + skip, len - 1 - skip, CLEAN));
		}
		if (!group->path.ptr || log_process.fds[i] < 0)
			continue;
		/* When it cannot be opened again the line goes to the old file, and to standard error. */
		if (!leads_there(group, (enum log_stream)i, &clock->tm))
			lost |= log_file_reopen(conf, (enum log_stream)i, &clock->tm, NULL) != OK;
		lost |= !put(log_process.fds[i], line, len);
	}
	if (console || lost)
		(void)put(group->to_stdout ? STDOUT_FILENO : STDERR_FILENO, line,
			  len); /* nobody left to tell */
	log_syslog_close(&out);
}

void log_direct(const struct conf *conf, unsigned where, const char *format, ...)
{
	struct log_clock clock = {0};
	char *line = malloc(LOG_LINE_ROOM), *text = malloc(LOG_LINE_MAX);
	size_t len, stamp;
	uint64_t wall;
	va_list args;

	if (line && text) {
		va_start(args, format);
		(void)vsnprintf(text, LOG_LINE_MAX, format, args);
		va_end(args);
		now_in_words(&clock, &wall);
		if (conf && atomic_load_explicit(&log_process.serial, memory_order_relaxed) != 0) {
			len = log_line_format(line, conf, &clock, wall, (int)getpid(), NULL, slice_of(text),
					      &stamp);
			put_direct(conf, where, line, len, stamp, &clock, wall);
		} else {
			len = (size_t)snprintf(line, LOG_LINE_ROOM, "%s ", clock.stamp);
			len += log_escape(line + len, LOG_LINE_MAX, slice_of(text), false, true);
			line[len++] = '\n';
			(void)put(STDERR_FILENO, line, len); /* nobody left to tell */
		}
	}
	free(line);
	free(text);
}
