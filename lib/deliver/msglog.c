/* msglog: the message's own log, <spool>/msglog/ID, for as long as the message is in the queue (option message_logs).
 * What happens in an attempt is collected in the attempt's memory, and goes to the file only if the message stays: one that
 * is delivered at the first attempt, as nearly all are, never has a file, nor costs a system call. With
 * preserve_message_logs each message gets its file, in msglog.OLD, when it is over. */
#include "work.h"

#include <errno.h>
#include <stdarg.h>

#define MSGLOG_SHOWN_MAX (16u * 1024 * 1024) /* bytes of a log that are shown */

void msglog_line(struct attempt *a, struct slice text)
{
	if (!a->options->message_logs || !text.ptr)
		return;
	log_timestamp(&a->story, shard_wall(a->d->shard), false, false);
	str_addc(&a->story, ' ');
	for (uint32_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] >= ' ' && text.ptr[i] != 0x7f)
			str_addc(&a->story, text.ptr[i]);
		else if (text.ptr[i] == '\n')
			str_addz(&a->story, "\\n");
		else
			str_printf(&a->story, "\\%03o", (unsigned char)text.ptr[i]);
	str_addc(&a->story, '\n');
}

void msglog_printf(struct attempt *a, const char *format, ...)
{
	struct str line;
	va_list args;

	if (!a->options->message_logs)
		return;
	line = str_make(&a->arena);
	va_start(args, format);
	str_vprintf(&line, format, args);
	va_end(args);
	msglog_line(a, str_slice(&line));
}

void msglog_mark(struct attempt *a, struct slice text)
{
	if (!a->options->message_logs)
		return;
	str_addz(&a->story, "*** ");
	str_add(&a->story, text);
	str_addc(&a->story, '\n');
}

void msglog_delivered(struct attempt *a, const struct address *address)
{
	const struct address *parent = address->parent;

	if (!a->options->message_logs)
		return;
	msglog_printf(a, "%.*s%s%.*s%s: %.*s transport succeeded",
		      SLICE_ARG(address->pipe.len   ? address->pipe
				: address->file.len ? address->file
						    : address->full),
		      parent ? " <" : "", SLICE_ARG(parent ? parent->full : SLICE_EMPTY), parent ? ">" : "",
		      SLICE_ARG(address->transport->instance.name));
}

/* The line that each log begins with: where the message came from. */
static void add_arrival(struct str *text, const struct message *m)
{
	log_timestamp(text, m->received, false, false);
	str_addz(text, " Received from ");
	str_add(text, m->sender.len ? m->sender : SLICE("<>"));
	if (m->about.text[0])
		str_printf(text, " R=%s", m->about.text);
	if (m->client && m->client->ip.family) {
		str_addz(text, " H=");
		str_add(text, client_fullhost(m->client, text->arena, false));
	}
	if (m->client && m->client->ident.len) {
		str_addz(text, " U=");
		str_add(text, m->client->ident);
	}
	str_printf(text, " P=%.*s S=%llu\n", SLICE_ARG(m->protocol), (unsigned long long)message_size(m));
}

static const char *log_path(struct deliverer *d, struct arena *arena, const char *directory,
			    const struct message_id *id)
{
	return arena_printf(arena, "%.*s/%s%s%s", SLICE_ARG(conf_main(d->conf)->spool_directory), directory,
			    id ? "/" : "", id ? id->text : "")
	    .ptr;
}

static enum rc open_new(struct attempt *a, const char *directory, const char *path, int *fd_ret,
			struct err *err)
{
	const char *parent = log_path(a->d, &a->arena, directory, NULL);
	enum rc rc = file_open(&a->task, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640, fd_ret, err);

	if (rc != FAIL || err->os != ENOENT)
		return rc;
	if (!parent)
		return err_memory(err);
	rc = file_mkdir(&a->task, parent, 0750, err);
	if (rc != OK && err->os != EEXIST)
		return rc;
	return file_open(&a->task, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640, fd_ret, err);
}

/* Appends what happened in this attempt to the message's file in the directory. */
static enum rc append(struct attempt *a, const char *directory, struct err *err)
{
	const char *path = log_path(a->d, &a->arena, directory, &a->m->id);
	struct str arrival = str_make(&a->arena);
	struct iovec iov[2];
	unsigned count = 0;
	enum rc rc = FAIL;
	int fd;

	if (!path || a->story.failed)
		return err_memory(err);
	err->os = ENOENT;
	if (a->q->logged)
		rc = file_open(&a->task, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0, &fd, err);
	if (rc == FAIL && err->os == ENOENT) {
		add_arrival(&arrival, a->m);
		iov[count++] = (struct iovec){arrival.ptr, arrival.len};
		rc = arrival.failed ? err_memory(err) : open_new(a, directory, path, &fd, err);
	}
	if (rc != OK)
		return rc;
	iov[count++] = (struct iovec){a->story.ptr, a->story.len};
	rc = file_writev(&a->task, fd, iov, count, UINT64_MAX, err);
	file_close(a->d->shard, fd);
	a->q->logged = true;
	return rc;
}

static void complain(struct attempt *a, enum rc rc, const struct err *err)
{
	if (rc != OK && rc != CANCELLED)
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &a->m->id,
			   "message log: %.*s", SLICE_ARG(err->text));
}

void msglog_keep(struct attempt *a)
{
	struct err err = err_make(&a->arena);

	if (a->story.len)
		complain(a, append(a, "msglog", &err), &err);
}

/* Where a log goes when its message is over and logs are preserved. */
static enum rc preserve(struct attempt *a, struct err *err)
{
	const char *from = log_path(a->d, &a->arena, "msglog", &a->m->id);
	const char *directory = log_path(a->d, &a->arena, "msglog.OLD", NULL);
	const char *to = log_path(a->d, &a->arena, "msglog.OLD", &a->m->id);
	enum rc rc;

	if (!from || !to || !directory)
		return err_memory(err);
	if (a->q->logged) {
		rc = file_mkdir(&a->task, directory, 0750, err);
		if (rc == OK || err->os == EEXIST)
			rc = file_rename(&a->task, from, to, err);
		if (rc != OK && err->os != ENOENT)
			return rc;
	}
	return append(a, "msglog.OLD", err);
}

void msglog_end(struct attempt *a)
{
	struct err err = err_make(&a->arena);

	if (a->options->message_logs && a->options->preserve_message_logs) {
		complain(a, preserve(a, &err), &err);
		return;
	}
	if (a->q->logged)
		msglog_remove(&a->task, a->d, &a->m->id);
}

void msglog_remove(struct task *task, struct deliverer *d, const struct message_id *id)
{
	struct err err = err_make(NULL);
	const char *path = log_path(d, task->arena, "msglog", id);

	if (path)
		(void)(file_unlink(task, path, &err) == OK); /* a log that stays behind harms nobody */
}

enum rc msglog_show(struct task *task, struct deliverer *d, struct queued *q, struct str *out,
		    struct err *err)
{
	const char *path = log_path(d, task->arena, "msglog", &q->entry->id);
	struct message *m;
	struct slice text;
	enum rc rc;

	if (!path)
		return err_memory(err);
	rc = file_slurp(task, path, MSGLOG_SHOWN_MAX, &text, err);
	if (rc == OK)
		str_add(out, text);
	if (rc != FAIL || err->os != ENOENT)
		return rc;
	/* It has not been tried yet, or there are no logs: what there is to say of it is where it came from. */
	rc = message_load(task, d->spool, q->entry, d->conf, &m, err);
	if (rc == OK) {
		add_arrival(out, m);
		message_unref(m);
	}
	return rc;
}
