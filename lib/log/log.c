/* The log of a shard: lines are gathered in buffers, which a fiber writes when a round of the loop ends;
 * whatever is logged while it writes waits in a second set.
 *
 * File systems hand a buffered write that comes from a ring to a worker thread, which costs more than the write
 * itself. So a shard that logs in every round writes every WRITE_EVERY only; after a quieter moment, WRITE_BURST
 * rounds may follow each other without a wait. */

#include "inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

/* <syslog.h> has LOG_PID and others as macros: nothing below uses the selector of that name. */

#define RETRY_MS    1000
#define WRITE_EVERY (4 * NS_PER_MS)
#define WRITE_BURST 16
#define WRITE_FULL  (128u * 1024) /* so much in one buffer waits no longer */
#define KEEP_MAX    (256u * 1024) /* a buffer that has grown beyond this in a bad moment is given back */

enum { CONSOLE = STREAM_COUNT, BUFFER_COUNT };

struct buffer {
	struct log_bytes fill; /* lines go here */
	struct log_bytes out;  /* being written; not empty after a failure */
	bool broken;           /* the last write failed, perhaps in the middle of a line */
	bool told;             /* of the present trouble, in the panic log and syslog */
	uint64_t lost;         /* lines that found fill full */
	uint64_t checked;      /* second of the last look at the file's name */
};

struct log_shard {
	struct shard *shard;
	struct conf *conf; /* the newest one seen, with a reference */
	struct log_clock clock;
	int pid;
	struct buffer buffers[BUFFER_COUNT]; /* the streams, then standard output or error */
	struct log_syslog syslog;
	uint64_t lines_in, lines_out; /* in: logged; out: of these, written or lost */
	bool writing;                 /* a fiber is at it */
	bool unhealthy;
	struct timer retry;
	struct timer pause; /* of a shard that logs much: until the next write is due */
	uint64_t next_write;
	struct waitq flushed;
	unsigned flushers;  /* fibers that wait for it */
	struct arena arena; /* of the writing fiber */
	struct task task;
	void (*capture)(void *arg, unsigned where, struct slice line);
	void *capture_arg;
	char line[LOG_LINE_ROOM];
};

static struct shard_slot log_slot;

static struct log_shard *of(const struct shard *shard)
{
	return shard_slot(shard, &log_slot);
}

/* ---- Buffers
 * ------------------------------------------------------------------------------------------------- */

bool log_bytes_add(struct log_bytes *bytes, const char *ptr, size_t len)
{
	if (bytes->len + len > LOG_BUFFER_MAX)
		return false;
	if (bytes->len + len > bytes->room) {
		size_t room = bytes->room ? bytes->room * 2 : 16 * 1024;
		char *more;

		while (room < bytes->len + len)
			room *= 2;
		/* Grows to what a busy round needs and stays there: no cost in the steady state. */
		more = realloc(bytes->ptr, room);
		if (!more)
			return false;
		bytes->ptr = more;
		bytes->room = room;
	}
	memcpy(bytes->ptr + bytes->len, ptr, len);
	bytes->len += len;
	return true;
}

void log_bytes_clear(struct log_bytes *bytes)
{
	bytes->len = 0;
	if (bytes->room > KEEP_MAX) {
		free(bytes->ptr);
		*bytes = (struct log_bytes){0};
	}
}

static void buffer_add(struct buffer *buffer, const char *ptr, size_t len)
{
	if (!log_bytes_add(&buffer->fill, ptr, len))
		buffer->lost++;
}

/* ---- Writing
 * --------------------------------------------------------------------------------------------------- */

static int buffer_fd(const struct log_shard *log, unsigned number)
{
	if (number < STREAM_COUNT)
		return log_process.fds[number];
	return log->conf && log_conf_of(log->conf)->to_stdout ? STDOUT_FILENO : STDERR_FILENO;
}

static bool buffer_pending(const struct buffer *buffer)
{
	return buffer->fill.len > 0 || buffer->out.len > 0;
}

static bool pending(const struct log_shard *log)
{
	for (unsigned i = 0; i < BUFFER_COUNT; i++) {
		if (buffer_pending(&log->buffers[i]))
			return true;
	}
	return false;
}

static void trouble(struct log_shard *log, unsigned number, struct err *why);

/* How many lines did not fit while the log could not be written? */
static void tell_lost(struct log_shard *log, struct buffer *buffer)
{
	char text[96];
	size_t len, stamp;
	uint64_t lost = buffer->lost;

	if (lost == 0)
		return;
	snprintf(text, sizeof(text), "%llu log lines were lost while the log could not be written",
		 (unsigned long long)lost);
	len = log_line_format(log->line, log->conf, &log->clock, shard_wall(log->shard), log->pid, NULL,
			      slice_of(text), &stamp);
	if (log_bytes_add(&buffer->fill, log->line, len)) {
		buffer->lost = 0;
		log->lines_in++; /* a later flush waits for it, too */
	}
}

/* Is the descriptor still what the name says? Looked at once a second, for a name's date included. */
static enum rc check_file(struct log_shard *log, unsigned number, struct err *err)
{
	struct buffer *buffer = &log->buffers[number];
	uint64_t now = shard_wall(log->shard) / NS_PER_S;
	enum rc rc;

	if (number >= STREAM_COUNT || buffer->checked == now)
		return OK;
	/* A shard may log under a new configuration before log_open() has been through with it. */
	if (log_process.fds[number] < 0)
		return err_set(err, DEFER, "it was not opened");
	if (log->conf->serial < atomic_load_explicit(&log_process.serial, memory_order_relaxed) ||
	    !log_conf_of(log->conf)->path.ptr)
		return OK;
	log_clock_set(&log->clock, shard_wall(log->shard));
	rc = log_file_check(&log->task, log->conf, (enum log_stream)number, &log->clock.tm, err);
	if (rc == OK)
		buffer->checked = now;
	return rc;
}

static enum rc write_buffer(struct log_shard *log, unsigned number, struct err *err)
{
	struct buffer *buffer = &log->buffers[number];
	struct iovec iov[2];
	unsigned count = 0;
	enum rc rc = check_file(log, number, err);

	if (rc != OK)
		return rc;
	if (buffer->out.len == 0) {
		struct log_bytes empty = buffer->out;

		buffer->out = buffer->fill;
		buffer->fill = empty;
	}
	/* After a failure that may have cut a line: the rest of the file shall not suffer. */
	if (buffer->broken)
		iov[count++] = (struct iovec){(char *)"\n", 1};
	iov[count++] = (struct iovec){buffer->out.ptr, buffer->out.len};
	rc = file_writev(&log->task, buffer_fd(log, number), iov, count, UINT64_MAX, err);
	if (rc != OK) {
		buffer->broken = true;
		buffer->checked = 0;
		return rc;
	}
	buffer->broken = false;
	log_bytes_clear(&buffer->out);
	tell_lost(log, buffer);
	return OK;
}

static enum rc write_all(struct log_shard *log)
{
	enum rc worst = OK;

	for (unsigned i = 0; i < BUFFER_COUNT; i++) {
		struct err why = err_make(&log->arena);

		if (!buffer_pending(&log->buffers[i]))
			continue;
		if (write_buffer(log, i, &why) == OK) {
			log->buffers[i].told = false;
			if (i == STREAM_MAIN)
				log->unhealthy = false;
			continue;
		}
		worst = DEFER;
		if (i == STREAM_MAIN)
			log->unhealthy = true;
		trouble(log, i, &why);
	}
	arena_clear(&log->arena);
	return worst;
}

static void writer(void *arg)
{
	struct log_shard *log = arg;
	uint64_t lines = log->lines_in;

	task_init(&log->task, log->shard, &log->arena, UNTIL_NEVER);
	do {
		lines = log->lines_in;
		if (write_all(log) != OK) {
			timer_set(log->shard, &log->retry, shard_now(log->shard) + RETRY_MS * NS_PER_MS);
			log->writing = false;
			waitq_wake_all(&log->flushed);
			return;
		}
		log->lines_out = lines;
	} while (log->flushers && pending(log));
	log->writing = false;
	waitq_wake_all(&log->flushed);
}

static void start_writer(struct log_shard *log)
{
	if (log->writing || !pending(log))
		return;
	log->writing = true;
	/* All fibers are lent: then the lines wait for the next round, which such a busy shard has soon. */
	if (fiber_spawn(log->shard, writer, log) != OK)
		log->writing = false;
}

/* Is this shard's next write due? If not, the timer will say when. */
static bool write_due(struct log_shard *log)
{
	uint64_t now = shard_now(log->shard), quiet = WRITE_BURST * WRITE_EVERY;
	bool full = false;

	for (unsigned i = 0; i < BUFFER_COUNT; i++)
		full |= log->buffers[i].fill.len >= WRITE_FULL;
	if (log->next_write + quiet < now)
		log->next_write = now - quiet;
	if (log->next_write > now && !full && !log->flushers) {
		if (log->pause.place == 0)
			timer_set(log->shard, &log->pause, log->next_write);
		return false;
	}
	timer_cancel(log->shard, &log->pause);
	log->next_write = (log->next_write < now ? log->next_write : now) + WRITE_EVERY;
	return true;
}

static void at_round_end(struct shard *shard, void *arg)
{
	struct log_shard *log = arg;

	(void)shard;
	if (log->retry.place == 0 && !log->writing && pending(log) && write_due(log))
		start_writer(log);
}

static void at_retry(struct timer *timer)
{
	start_writer(CONTAINER_OF(timer, struct log_shard, retry));
}

/* The end of the round sees that it is time. */
static void at_pause_end(struct timer *timer)
{
	(void)timer;
}

/* ---- When a log cannot be written
 * -------------------------------------------------------------------------------- */

static void trouble(struct log_shard *log, unsigned number, struct err *why)
{
	const char *name = number < STREAM_COUNT ? log_stream_names[number] : "console";
	char text[LOG_PATH_MAX + 256];
	size_t len, stamp;

	if (log->buffers[number].told)
		return;
	log->buffers[number].told = true;
	snprintf(text, sizeof(text), "the %s log cannot be written: %.*s", name, SLICE_ARG(why->text));
	if (number != STREAM_PANIC && log_process.fds[STREAM_PANIC] >= 0) {
		len = log_line_format(log->line, log->conf, &log->clock, shard_wall(log->shard), log->pid,
				      NULL, slice_of(text), &stamp);
		buffer_add(&log->buffers[STREAM_PANIC], log->line, len);
	}
	log_syslog_send(&log->syslog, log_conf_of(log->conf), LOG_CRIT, log->pid, shard_now(log->shard),
			shard_wall(log->shard), slice_of(text));
}

bool log_healthy(const struct shard *shard)
{
	const struct log_shard *log = of(shard);

	return !log || !log->unhealthy;
}

/* ---- Logging
 * ------------------------------------------------------------------------------------------------------ */

/* Sessions that began under an older configuration still log with it; the files follow the newest. */
static void adopt(struct log_shard *log, const struct conf *conf)
{
	if (log->conf == conf || (log->conf && log->conf->serial > conf->serial))
		return;
	conf_unref(log->conf);
	log->conf = conf_ref((struct conf *)(uintptr_t)conf);
}

/* To syslog a line goes once for each of its logs, or only to the most urgent of them. */
static void to_syslog(struct log_shard *log, const struct log_conf *group, unsigned where, struct slice line,
		      struct slice whole)
{
	static const int priorities[STREAM_COUNT] = {LOG_INFO, LOG_NOTICE, LOG_ALERT};

	for (unsigned i = STREAM_COUNT; i-- > 0;) {
		if (!(where & 1u << i))
			continue;
		log_syslog_send(&log->syslog, group, priorities[i], log->pid, shard_now(log->shard),
				shard_wall(log->shard), i == STREAM_REJECT ? whole : line);
		if (!group->syslog_duplication)
			break;
	}
}

static void to_files(struct log_shard *log, const struct log_conf *group, unsigned where, size_t len,
		     size_t whole)
{
	for (unsigned i = 0; group->path.ptr && i < STREAM_COUNT; i++) {
		if (where & 1u << i)
			buffer_add(&log->buffers[i], log->line, i == STREAM_REJECT ? whole : len);
	}
	if (group->to_stdout || group->to_stderr || log_process.to_stderr)
		buffer_add(&log->buffers[CONSOLE], log->line, len);
}

bool log_console_add(struct shard *shard, const char *ptr, size_t len)
{
	struct log_shard *log = of(shard);

	if (!log)
		return false;
	log->lines_in++;
	buffer_add(&log->buffers[CONSOLE], ptr, len);
	return true;
}

static_assert(LOG_TO_MAIN == 1 << STREAM_MAIN && LOG_TO_REJECT == 1 << STREAM_REJECT &&
		  LOG_TO_PANIC == 1 << STREAM_PANIC,
	      "the bits are the streams");

/* Whoever listens to what a session does wants to see what it had to say of itself, and where in all the rest. */
static void tell_debug(unsigned where, struct slice text)
{
	struct debug *debug = debug_here;

	DEBUG(DEBUG_ANY, "LOG:%s%s%s", where & LOG_TO_MAIN ? " MAIN" : "",
	      where & LOG_TO_REJECT ? " REJECT" : "", where & LOG_TO_PANIC ? " PANIC" : "");
	DEBUG(DEBUG_ANY, "  %.*s", SLICE_ARG(text));
	if (debug->logged)
		debug->logged(debug, where, text);
}

void log_write_more(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
		    struct slice text, struct slice more)
{
	struct log_shard *log = of(shard);
	const struct log_conf *group = log_conf_of(conf);
	size_t len, whole, stamp;
	struct slice line;

	if (!log)
		return;
	if (!group->write_rejectlog)
		where &= ~(unsigned)LOG_TO_REJECT;
	if (!where)
		return;
	len = log_line_format(log->line, conf, &log->clock, shard_wall(shard), log->pid, id, text, &stamp);
	line = slice_make(log->line, len - 1, CLEAN);
	if (debug_here)
		tell_debug(where, text);
	if (log->capture) {
		log->capture(log->capture_arg, where, line);
		return;
	}
	whole = len;
	if (more.len > 0 && (where & LOG_TO_REJECT)) {
		whole += log_escape(log->line + len, sizeof(log->line) - len - 1, more,
				    group->print_topbitchars, true);
		if (log->line[whole - 1] != '\n')
			log->line[whole++] = '\n';
	}
	adopt(log, conf);
	log->lines_in++;
	to_files(log, group, where, len, whole);
	if (group->to_syslog) {
		size_t skip = group->syslog_timestamp ? 0 : stamp;

		to_syslog(log, group, where, slice_from(line, skip),
			  slice_make(log->line + skip, whole - 1 - skip, CLEAN));
	}
}

void log_write(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
	       struct slice text)
{
	log_write_more(shard, conf, where, id, text, SLICE_EMPTY);
}

void log_printf(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
		const char *format, ...)
{
	char small[1024], *text;
	va_list args;
	int len;

	if (!of(shard))
		return;
	va_start(args, format);
	text = line_vformat(small, sizeof(small), LOG_LINE_MAX, &len, format, args);
	va_end(args);
	if (len > 0)
		log_write(shard, conf, where, id, slice_make(text, (size_t)len, CLEAN));
	if (text != small)
		free(text);
}

/* ---- Begin and end
 * ---------------------------------------------------------------------------------------------------- */

enum rc log_attach(struct shard *shard, struct err *err)
{
	struct log_shard *log;

	if (of(shard))
		return OK;
	log = calloc(1, sizeof(*log));
	if (!log)
		return err_memory(err);
	log->shard = shard;
	log->pid = (int)getpid();
	log->syslog.fd = -1;
	timer_init(&log->retry, at_retry);
	timer_init(&log->pause, at_pause_end);
	waitq_init(&log->flushed);
	arena_init(&log->arena, 1024 * 1024);
	shard_slot_set(shard, &log_slot, log);
	shard_at_round_end(shard, at_round_end, log);
	return OK;
}

/* Is there a loss that the log does not tell of yet? */
static bool untold(const struct log_shard *log)
{
	for (unsigned i = 0; i < BUFFER_COUNT; i++)
		if (log->buffers[i].lost)
			return true;
	return false;
}

enum rc log_flush(struct task *task)
{
	struct log_shard *log = of(task->shard);
	uint64_t lines = log ? log->lines_in : 0;

	if (log_debug_flush(task) != OK)
		return task->cancelled ? CANCELLED : DEFER;
	while (log && (log->lines_out < lines || untold(log)) && (log->writing || pending(log))) {
		enum rc rc;

		if (log->retry.place != 0)
			return DEFER;
		log->flushers++; /* the end of this round sees it */
		rc = waitq_wait(task, &log->flushed);
		log->flushers--;
		if (rc != OK)
			return rc;
	}
	return OK;
}

/* What the loop did not get to; what a fiber had in hand when it ended is with the kernel. */
static void write_rest(struct log_shard *log, unsigned number)
{
	struct buffer *buffer = &log->buffers[number];
	struct log_bytes *parts[] = {log->writing ? NULL : &buffer->out, &buffer->fill};

	for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
		size_t done = 0;

		while (parts[i] && done < parts[i]->len) {
			ssize_t put =
			    write(buffer_fd(log, number), parts[i]->ptr + done, parts[i]->len - done);
			if (put < 0 && errno == EINTR)
				continue;
			if (put <= 0)
				break;
			done += (size_t)put;
		}
	}
	free(buffer->fill.ptr);
	free(buffer->out.ptr);
}

void log_detach(struct shard *shard)
{
	struct log_shard *log = of(shard);

	log_debug_detach(shard);
	if (!log)
		return;
	for (unsigned i = 0; i < BUFFER_COUNT; i++)
		write_rest(log, i);
	log_syslog_close(&log->syslog);
	arena_done(&log->arena);
	conf_unref(log->conf);
	shard_slot_set(shard, &log_slot, NULL);
	free(log);
}

void log_capture(struct shard *shard, void (*fn)(void *arg, unsigned where, struct slice line), void *arg)
{
	if (log_attach(shard, NULL) != OK)
		return;
	of(shard)->capture = fn;
	of(shard)->capture_arg = arg;
}
