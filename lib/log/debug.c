/* debug: the two places where debugging lines go: standard error, and the debug log of a session or delivery.
 *
 * A debug log's lines wait in memory until a fiber of the shard writes them, all that are there with one write. The file
 * is opened for it and closed again: there may be as many debug logs as there are sessions. */

#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_ROOM  (DEBUG_LINE_MAX + 256) /* with what stands in front */
#define INDENT_MAX 64

/* What a shard has for all of them. */
struct log_debugs {
	struct shard *shard;
	struct log_clock clock;
	int pid;
	uint32_t count;    /* of those that there were */
	struct link dirty; /* debug logs that have something to write, or to be removed */
	bool writing;      /* a fiber is at it */
	struct waitq written;
	struct arena arena; /* of the writing fiber */
	struct task task;
	char line[LINE_ROOM];
};

struct debug_console {
	struct debug debug;
	struct log_debugs *shard;
	bool direct;
};

struct debug_file {
	struct debug debug;
	struct log_debugs *shard;
	struct conf *conf;    /* a reference */
	struct link link;     /* in shard->dirty, if queued */
	bool queued, in_hand; /* in_hand: the fiber writes it now */
	bool ended, remove;   /* by its owner */
	bool failed;          /* it could not be written, or is full: that has been told */
	bool on_panic;
	uint64_t lost;              /* lines that found no room */
	struct log_bytes fill, out; /* out: being written */
	char *ring;                 /* before the trigger: whole lines, oldest first; NULL: triggered */
	uint32_t ring_size, ring_len;
	char path[];
};

static struct shard_slot debugs_slot;

static struct log_debugs *of(const struct shard *shard)
{
	return shard_slot(shard, &debugs_slot);
}

/* Made by the first who wants to be told something on this shard. NULL: no memory. */
static struct log_debugs *debugs_of(struct shard *shard)
{
	struct log_debugs *debugs = of(shard);

	if (debugs)
		return debugs;
	debugs = calloc(1, sizeof(*debugs));
	if (!debugs)
		return NULL;
	debugs->shard = shard;
	debugs->pid = (int)getpid();
	list_init(&debugs->dirty);
	waitq_init(&debugs->written);
	arena_init(&debugs->arena, 1024 * 1024);
	shard_slot_set(shard, &debugs_slot, debugs);
	return debugs;
}

/* Of all shards together. */
static uint64_t next_number(struct log_debugs *debugs)
{
	return (uint64_t)debugs->count++ * shard_count(debugs->shard) + shard_id(debugs->shard) + 1;
}

/* ---- A line ------------------------------------------------------------------------------------------------------ */

/* With its newline, in debugs->line; the length. */
static size_t line_make(struct log_debugs *debugs, const struct debug *debug, struct slice text)
{
	unsigned indent = debug->indent < INDENT_MAX ? debug->indent : INDENT_MAX;
	char *line = debugs->line;
	size_t at = 0;

	if (!(debug->topics & DEBUG_ANY))
		at += (size_t)snprintf(line, 8, ">>> ");
	if (debug->topics & DEBUG_TIMESTAMP) {
		log_clock_set(&debugs->clock, shard_wall(debugs->shard));
		at += (size_t)snprintf(line + at, 32, "%s ", debugs->clock.stamp + 11);
	}
	if (debug->topics & DEBUG_PID)
		at += (size_t)snprintf(line + at, 32, "%5d.%llu ", debugs->pid,
				       (unsigned long long)debug->number);
	memset(line + at, ' ', indent);
	at += indent;
	at += log_escape(line + at, LINE_ROOM - at - 1, text, true, false);
	line[at++] = '\n';
	return at;
}

/* ---- Standard error ---------------------------------------------------------------------------------------------- */

static void console_line(struct debug *debug, struct slice text)
{
	struct debug_console *console = CONTAINER_OF(debug, struct debug_console, debug);
	size_t len = line_make(console->shard, debug, text);

	if (console->direct || !log_console_add(console->shard->shard, console->shard->line, len))
		fwrite(console->shard->line, 1, len, stderr);
}

struct debug *log_debug_console(struct shard *shard, uint64_t topics, bool direct)
{
	struct log_debugs *debugs = debugs_of(shard);
	struct debug_console *console = debugs ? calloc(1, sizeof(*console)) : NULL;

	if (!console)
		return NULL;
	console->debug =
	    (struct debug){.topics = topics, .number = next_number(debugs), .line = console_line};
	console->shard = debugs;
	console->direct = direct;
	return &console->debug;
}

/* ---- The file: what waits ---------------------------------------------------------------------------------------- */

static void start_writer(struct log_debugs *debugs);

static struct debug_file *file_of(const struct debug *debug)
{
	return CONTAINER_OF(debug, struct debug_file, debug);
}

static void file_free(struct debug_file *file)
{
	conf_unref(file->conf);
	free(file->ring);
	free(file->fill.ptr);
	free(file->out.ptr);
	free(file);
}

static void queue(struct debug_file *file)
{
	if (!file->queued) {
		file->queued = true;
		list_append(&file->shard->dirty, &file->link);
	}
	start_writer(file->shard);
}

static void file_add(struct debug_file *file, const char *line, size_t len)
{
	if (file->failed)
		return;
	if (!log_bytes_add(&file->fill, line, len))
		file->lost++;
	queue(file);
}

/* The oldest lines make room. */
static void ring_add(struct debug_file *file, const char *line, size_t len)
{
	uint32_t drop = 0;

	if (len > file->ring_size) {
		file->ring_len = 0;
		return;
	}
	while (file->ring_len - drop + len > file->ring_size)
		drop = (uint32_t)((const char *)memchr(file->ring + drop, '\n', file->ring_len - drop) -
				  file->ring) +
		       1;
	memmove(file->ring, file->ring + drop, file->ring_len - drop);
	file->ring_len -= drop;
	memcpy(file->ring + file->ring_len, line, len);
	file->ring_len += (uint32_t)len;
}

static void file_line(struct debug *debug, struct slice text)
{
	struct debug_file *file = file_of(debug);
	size_t len = line_make(file->shard, debug, text);

	if (file->ring)
		ring_add(file, file->shard->line, len);
	else
		file_add(file, file->shard->line, len);
}

static void file_logged(struct debug *debug, unsigned where, struct slice text)
{
	(void)text;
	if (where & LOG_TO_PANIC && file_of(debug)->on_panic)
		log_debug_trigger(debug);
}

void log_debug_trigger(struct debug *debug)
{
	struct debug_file *file = file_of(debug);
	char *ring = log_debug_is_file(debug) ? file->ring : NULL;

	if (!ring)
		return;
	file->ring = NULL;
	if (file->ring_len)
		file_add(file, ring, file->ring_len);
	free(ring);
}

/* ---- The file: writing ------------------------------------------------------------------------------------------- */

/* Told once for each who wants to write there; a debug log is no reason to refuse mail. */
static void complain(struct debug_file *file, const char *what, struct slice why)
{
	file->failed = true;
	log_bytes_clear(&file->fill);
	log_printf(file->shard->shard, file->conf, LOG_TO_MAIN, NULL, "debug log \"%s\" %s%.*s", file->path,
		   what, SLICE_ARG(why));
}

static void tell_lost(struct debug_file *file)
{
	char text[64];
	int len;

	if (!file->lost)
		return;
	len = snprintf(text, sizeof(text), "(%llu lines were lost here)\n", (unsigned long long)file->lost);
	if (log_bytes_add(&file->fill, text, (size_t)len))
		file->lost = 0;
}

static enum rc append(struct debug_file *file, int fd, struct err *err)
{
	struct iovec iov = {file->out.ptr, file->out.len};
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size >= LOG_DEBUG_FILE_MAX)
		return err_set(err, FAIL, "it has reached its greatest size");
	return file_writev(&file->shard->task, fd, &iov, 1, UINT64_MAX, err);
}

static void write_file(struct debug_file *file)
{
	struct log_debugs *debugs = file->shard;
	struct err err = err_make(&debugs->arena);
	struct log_bytes empty = file->out;
	int fd;
	enum rc rc;

	tell_lost(file);
	file->out = file->fill;
	file->fill = empty;
	if (file->out.len) {
		rc = log_file_open(&debugs->task, file->conf, file->path, &fd, &err);
		if (rc == OK) {
			rc = append(file, fd, &err);
			file_close(debugs->shard, fd);
		}
		if (rc != OK && !file->failed)
			complain(file, "cannot be written: ", err.text);
	}
	log_bytes_clear(&file->out);
}

static void writer(void *arg)
{
	struct log_debugs *debugs = arg;
	struct link *l;

	task_init(&debugs->task, debugs->shard, &debugs->arena, UNTIL_NEVER);
	while ((l = list_shift(&debugs->dirty))) {
		struct debug_file *file = LIST_ITEM(l, struct debug_file, link);
		struct err err = err_make(&debugs->arena);

		file->queued = false;
		file->in_hand = true;
		if (!file->remove)
			write_file(file);
		/* Asked for while it was written, perhaps. That there is no such file is as good. */
		if (file->remove)
			(void)(file_unlink(&debugs->task, file->path, &err) == OK);
		file->in_hand = false;
		if (file->ended && !file->queued)
			file_free(file);
		arena_clear(&debugs->arena);
	}
	debugs->writing = false;
	waitq_wake_all(&debugs->written);
}

static void start_writer(struct log_debugs *debugs)
{
	if (debugs->writing)
		return;
	debugs->writing = true;
	/* All fibers are lent: the next line tries again, or the end of the shard. */
	if (fiber_spawn(debugs->shard, writer, debugs) != OK)
		debugs->writing = false;
}

enum rc log_debug_flush(struct task *task)
{
	struct log_debugs *debugs = of(task->shard);
	enum rc rc = OK;

	while (rc == OK && debugs && debugs->writing)
		rc = waitq_wait(task, &debugs->written);
	return rc;
}

/* What the loop did not get to. */
static void write_rest(struct debug_file *file)
{
	struct log_bytes *bytes = &file->fill;
	FILE *out;

	if (file->remove) {
		(void)unlink(file->path); /* as in writer() */
		return;
	}
	out = bytes->len ? fopen(file->path, "ae") : NULL;
	if (!out)
		return;
	(void)(fwrite(bytes->ptr, 1, bytes->len, out) == bytes->len); /* nobody is left to tell */
	(void)fclose(out);
}

void log_debug_detach(struct shard *shard)
{
	struct log_debugs *debugs = of(shard);
	struct link *l;

	if (!debugs)
		return;
	while ((l = list_shift(&debugs->dirty))) {
		struct debug_file *file = LIST_ITEM(l, struct debug_file, link);

		write_rest(file);
		file->queued = false;
		if (file->ended && !file->in_hand)
			file_free(file);
	}
	arena_done(&debugs->arena);
	shard_slot_set(shard, &debugs_slot, NULL);
	free(debugs);
}

/* ---- The file: begin and end ------------------------------------------------------------------------------------- */

/* The name of the debug log without a tag, as of now. */
static bool base_name(char path[LOG_PATH_MAX], const struct conf *conf, uint64_t wall_ns)
{
	const struct log_conf *group = log_conf_of(conf);
	struct slice spool = conf_main(conf)->spool_directory;
	struct log_clock clock = {0};
	int len;

	if (!group->path.ptr) {
		/* Nothing but syslog or standard output: where files would be if nothing else had been said. */
		len = snprintf(path, LOG_PATH_MAX, "%.*s/log/debuglog", SLICE_ARG(spool));
		return len < LOG_PATH_MAX;
	}
	log_clock_set(&clock, wall_ns);
	return log_path(path, group, STREAM_DEBUG, &clock.tm);
}

static struct debug_file *file_new(const char *base, struct slice tag)
{
	size_t len = strlen(base);
	struct debug_file *file = calloc(1, sizeof(*file) + len + tag.len + 1);

	if (!file)
		return NULL;
	memcpy(file->path, base, len);
	memcpy(file->path + len, tag.ptr, tag.len);
	return file;
}

enum rc log_debug_file(struct shard *shard, const struct conf *conf, const struct log_debug_wish *wish,
		       struct debug **debug_ret, struct err *err)
{
	struct log_debugs *debugs = debugs_of(shard);
	char base[LOG_PATH_MAX];
	struct debug_file *file;

	if (wish->tag.taint)
		return err_set(err, FAIL, "tainted tag for debug log filename");
	if (slice_find(wish->tag, '/') >= 0 || slice_find(wish->tag, 0) >= 0 || wish->tag.len > 200)
		return err_set(err, FAIL, "\"%.*s\" is no tag for a debug log", SLICE_ARG(wish->tag));
	if (!base_name(base, conf, shard_wall(shard)))
		return err_set(err, FAIL, "log_file_path is too long");
	file = debugs ? file_new(base, wish->tag) : NULL;
	if (!file)
		return err_memory(err);
	file->debug = (struct debug){
	    .topics = wish->topics, .number = next_number(debugs), .line = file_line, .logged = file_logged};
	file->shard = debugs;
	file->on_panic = wish->on_panic;
	if (wish->pretrigger_size) {
		file->ring_size = wish->pretrigger_size < LOG_DEBUG_PRETRIGGER_MAX
				      ? (uint32_t)wish->pretrigger_size
				      : LOG_DEBUG_PRETRIGGER_MAX;
		file->ring = malloc(file->ring_size);
		if (!file->ring) {
			free(file);
			return err_memory(err);
		}
	}
	file->conf = conf_ref((struct conf *)(uintptr_t)conf);
	*debug_ret = &file->debug;
	return OK;
}

bool log_debug_is_file(const struct debug *debug)
{
	return debug && debug->line == file_line;
}

struct slice log_debug_name(const struct debug *debug)
{
	struct slice none = {NULL, 0, CLEAN};

	return log_debug_is_file(debug) && !file_of(debug)->ring ? slice_of(file_of(debug)->path) : none;
}

bool log_debug_tag(const struct conf *conf, struct slice name, struct slice *tag_ret)
{
	char base[LOG_PATH_MAX];
	struct slice tag;
	uint64_t now = shard_here() ? shard_wall(shard_here()) : 0;

	if (!base_name(base, conf, now) || !slice_starts(name, slice_of(base)))
		return false;
	tag = slice_from(name, strlen(base));
	tag.taint = CLEAN; /* it was a file's name when it was written */
	*tag_ret = tag;
	return slice_find(tag, '/') < 0;
}

void log_debug_end(struct debug *debug, bool remove)
{
	struct debug_file *file;

	if (!log_debug_is_file(debug)) {
		free(debug);
		return;
	}
	file = file_of(debug);
	file->ended = true;
	file->remove = remove;
	if (remove)
		queue(file);
	if (!file->queued && !file->in_hand)
		file_free(file);
}
