/* transport_filter: the message is written to a command and what comes back is what is delivered. Its output is gathered
 * whole before the delivery goes on: an SMTP server is told how long a message is, and half a message is never delivered. */
#include "filter.h"

#include <errno.h>
#include <sys/wait.h>

#include "command_line.h"
#include "talk.h"

#define TEXT_ROOM 65536 /* what a filter may add before the output has to be moved to a larger place */

struct filter {
	struct scope *sc;
	const struct transport *transport;
	const struct delivery *delivery;
	struct text_writer input;  /* to the command */
	struct text_writer output; /* from it, into text */
	struct stream *stream;
	struct task *writer; /* who writes */
	struct str text;
	struct err *err;
};

static enum rc write_input(void *arg, struct slice block, struct err *err)
{
	struct filter *f = arg;

	return stream_write(f->writer, f->stream, block, err);
}

static enum rc write_text(void *arg, struct slice block, struct err *err)
{
	struct filter *f = arg;

	if ((uint64_t)f->text.len + block.len > FILTER_OUTPUT_MAX)
		return err_set(err, DEFER, "too much output from the transport filter");
	str_add(&f->text, block);
	return f->text.failed ? err_memory(err) : OK;
}

static enum rc give(void *arg, struct task *task, struct stream *stream, struct err *err)
{
	struct filter *f = arg;
	enum rc rc;

	f->stream = stream;
	f->writer = task;
	f->input =
	    (struct text_writer){.write = write_input, .arg = f, .check = SLICE_EMPTY, .escape = SLICE_EMPTY};
	rc = text_writer_init(&f->input, f->sc->task->arena, err);
	if (rc == OK)
		rc = text_writer_original(f->sc, f->transport, f->delivery, &f->input, err);
	return rc == OK ? text_writer_flush(&f->input, err) : rc;
}

static bool take(void *arg, struct slice piece)
{
	struct filter *f = arg;

	return text_writer_add(&f->output, piece, f->err) == OK;
}

static enum rc begin_output(struct filter *f, bool crlf)
{
	f->text = str_make(f->sc->task->arena);
	f->output = (struct text_writer){
	    .write = write_text, .arg = f, .crlf = crlf, .check = SLICE_EMPTY, .escape = SLICE_EMPTY};
	if (!str_reserve(&f->text, message_size(f->sc->message) + TEXT_ROOM))
		return err_memory(f->err);
	return text_writer_init(&f->output, f->sc->task->arena, f->err);
}

/* Runs it, with the rights of the delivery; any end but a good one is a reason to wait. */
static enum rc run_filter(struct filter *f, const char *const *argv)
{
	static const char *const environment[] = {"PATH=/bin:/usr/bin", NULL};
	struct task *task = f->sc->task;
	struct identity who;
	struct talk talk = {.who = &who,
			    .give = give,
			    .take = take,
			    .arg = f,
			    .command = {.argv = argv, .envp = environment, .directory = "/", .umask = 022}};
	uint64_t until = task->until;
	enum rc rc = identity_find(f->sc, f->transport, f->sc->address, &who, f->err);

	if (rc != OK)
		return rc;
	if (f->transport->transport_filter_timeout > 0)
		task->until = task_until(task, (uint64_t)f->transport->transport_filter_timeout * 1000);
	rc = command_talk(task, &talk, f->err);
	task->until = until;
	if (rc == CANCELLED)
		return rc;
	if (rc != OK && !talk.started)
		return fault(f->err, FAULT_FILTER,
			     "transport filter process failed (127): unable to execute command");
	if (rc != OK)
		return fault(f->err, ETIMEDOUT, "transport filter timeout");
	if (talk.stopped)
		return DEFER; /* err has why */
	if (talk.status != 0)
		return fault(f->err, FAULT_FILTER, "transport filter process failed (%d)",
			     WIFEXITED(talk.status) ? WEXITSTATUS(talk.status) : WTERMSIG(talk.status));
	return OK;
}

static enum rc filter_run(struct scope *sc, const struct transport *transport,
			  const struct delivery *delivery, bool crlf, bool *filtered_ret,
			  struct slice *text_ret, struct err *err)
{
	struct filter f = {.sc = sc, .transport = transport, .delivery = delivery, .err = err};
	const char **argv;
	enum rc rc;

	*filtered_ret = false;
	if (!transport->transport_filter || slice_trim(expansion_text(transport->transport_filter)).len == 0)
		return OK;
	rc = command_arguments(sc, delivery, slice_trim(expansion_text(transport->transport_filter)),
			       "filter command", true, &argv, err);
	if (rc != OK || argv[0][0] == '\0')
		return rc;
	if (argv[0][0] != '/')
		return fault(err, FAULT_FILTER, "transport_filter \"%s\" is not an absolute path", argv[0]);
	rc = begin_output(&f, crlf);
	if (rc == OK)
		rc = run_filter(&f, argv);
	if (rc == OK)
		rc = text_writer_end(&f.output, err);
	if (rc == OK)
		rc = text_writer_flush(&f.output, err);
	if (rc == OK && crlf && f.text.len && f.text.ptr[f.text.len - 1] != '\n')
		str_addz(&f.text, "\r\n");
	*text_ret = str_slice(&f.text);
	*filtered_ret = true;
	return rc == OK && !text_ret->ptr ? err_memory(err) : rc;
}

enum rc filter_message(struct scope *sc, const struct transport *transport, const struct delivery *delivery,
		       bool *filtered_ret, struct slice *text_ret, struct err *err)
{
	return filter_run(sc, transport, delivery, false, filtered_ret, text_ret, err);
}

enum rc filter_wire(struct scope *sc, const struct transport *transport, const struct delivery *delivery,
		    bool *filtered_ret, struct slice *text_ret, struct err *err)
{
	return filter_run(sc, transport, delivery, true, filtered_ret, text_ret, err);
}
