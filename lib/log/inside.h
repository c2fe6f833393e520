/* What the files of this room share. */
#ifndef LOG_INSIDE_H
#define LOG_INSIDE_H

#include <stdatomic.h>
#include <time.h>

#include "log/log.h"

enum log_stream { STREAM_MAIN, STREAM_REJECT, STREAM_PANIC, STREAM_COUNT };
/* Has a name like the others, and no descriptor: such a file is open only while it is written. */
#define STREAM_DEBUG STREAM_COUNT

/* The room's main options, and what log_check() makes of them. */
struct log_conf {
	struct slice log_file_path, log_selector, timezone;
	struct slice syslog_facility, syslog_processname, syslog_socket;
	bool log_timezone, print_topbitchars, write_rejectlog;
	bool syslog_duplication, syslog_pid, syslog_timestamp;

	uint64_t selectors[(LOG_SELECTOR_COUNT + 63) / 64];
	struct slice path; /* with %s; ptr NULL: no files */
	bool to_syslog, to_stdout, to_stderr;
	int facility; /* LOG_MAIL and so on */
};
static inline const struct log_conf *log_conf_of(const struct conf *conf)
{
	return conf_group(conf, CONF_LOG);
}

/* ---- selector.c ---- */
NODISCARD enum rc log_selectors_read(struct conf *conf, struct slice text, uint64_t *selectors,
				     struct err *err);

/* ---- line.c ---- */

/* The second that was put into words last: localtime() once a second is enough. */
struct log_clock {
	uint64_t second; /* since the epoch; 0: none yet */
	struct tm tm;
	char stamp[24]; /* "2026-11-21 10:00:00" */
	char zone[8];   /* " +0100" */
};
void log_clock_set(struct log_clock *clock, uint64_t wall_ns);

#define LOG_LINE_ROOM (LOG_LINE_MAX + 256) /* with its time, pid and id */
/* Writes a whole line, newline included, to bytes[LOG_LINE_ROOM]; returns its length. stamp_ret: of the time
 * in front. */
size_t log_line_format(char *bytes, const struct conf *conf, struct log_clock *clock, uint64_t wall_ns,
		       int pid, const struct message_id *id, struct slice text, size_t *stamp_ret);
/* Escapes text to bytes[room], keeping newlines and tabs when told; returns the length. */
size_t log_escape(char *bytes, size_t room, struct slice text, bool topbit, bool keep_lines);

/* ---- file.c ---- */

/* The descriptors of the process: numbers that never change once they are there. Written by log_open() (a
 * reload may bring the first file), read by all shards; what stands behind a number is changed with dup3() by
 * whoever finds that it has to be. Nothing else depends on them, so any order will do. */
struct log_process {
	_Atomic int fds[STREAM_COUNT]; /* -1: not opened */
	_Atomic bool to_stderr;
	/* The newest configuration that was opened: a shard that still has an older one leaves the files
	 * alone, or the two would take them back and forth. Relaxed: it only ever grows, and being late does
	 * no harm. */
	_Atomic uint64_t serial;
};
extern struct log_process log_process;

#define LOG_PATH_MAX 4096
/* The name of a log file at that time; false when it is too long. */
bool log_path(char path[LOG_PATH_MAX], const struct log_conf *conf, unsigned stream, const struct tm *tm);
extern const char *const log_stream_names[STREAM_COUNT + 1];
/* Opens it by the name of this moment and puts it under its number. Blocks. */
NODISCARD enum rc log_file_reopen(const struct conf *conf, enum log_stream stream, const struct tm *tm,
				  struct err *err);
/* Parks. The same if the name leads elsewhere by now. */
NODISCARD enum rc log_file_check(struct task *task, const struct conf *conf, enum log_stream stream,
				 const struct tm *tm, struct err *err);

/* Parks. Opens a log file of that name for appending; what does not exist is made, and is exim_user's. err has the errno. */
NODISCARD enum rc log_file_open(struct task *task, const struct conf *conf, const char *path, int *fd_ret,
				struct err *err);

/* ---- log.c ---- */

/* Bytes that wait to be written: at most LOG_BUFFER_MAX. false: full, or no memory. */
struct log_bytes {
	char *ptr;
	size_t len, room;
};
bool log_bytes_add(struct log_bytes *bytes, const char *ptr, size_t len);
void log_bytes_clear(struct log_bytes *bytes); /* and gives back what a bad moment needed */
/* A line for standard error, in the order of the log's own. false: the shard has no log. */
bool log_console_add(struct shard *shard, const char *ptr, size_t len);

/* ---- debug.c ---- */
NODISCARD enum rc log_debug_flush(struct task *task);
void log_debug_detach(struct shard *shard);

/* ---- syslog.c ---- */

struct log_syslog {
	int fd;            /* -1: not connected */
	uint64_t retry_at; /* monotonic ns: not before */
	uint64_t lost;
};
/* Sends one line (no newline at its end) without waiting; what cannot be sent is counted. LOG_INFO and so on.
 */
void log_syslog_send(struct log_syslog *out, const struct log_conf *conf, int priority, int pid, uint64_t now,
		     uint64_t wall_ns, struct slice line);
void log_syslog_close(struct log_syslog *out);

/* ---- conf.c ---- */
NODISCARD enum rc log_conf_check(struct conf *conf, void *group, struct err *err);

#endif
