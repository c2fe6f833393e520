/* Talking to a command: its input is written and its output read at once, so that one that talks before it listens does not
 * stand still. */
#include "talk.h"

#include <unistd.h>

struct conversation {
	struct talk *talk;
	struct running running;
	struct stream *stream; /* both its pipes */
};

/* A fiber of its own. */
static void read_output(struct task *task, void *arg)
{
	struct conversation *c = arg;
	struct err err = err_make(NULL);

	do {
		struct slice piece;
		while ((piece = stream_peek(c->stream)).len > 0) {
			if (!c->talk->stopped && !c->talk->take(c->talk->arg, piece)) {
				c->talk->stopped = true;
				user_kill(task, &c->running);
			}
			stream_consume(c->stream, piece.len);
		}
	} while (stream_fill(task, c->stream, &err) == OK);
}

static enum rc give_input(struct conversation *c, struct task *task, struct err *err)
{
	enum rc rc = c->talk->give ? c->talk->give(c->talk->arg, task, c->stream, err) : OK;

	stream_shutdown_write(c->stream);
	return rc;
}

static enum rc converse(struct conversation *c, struct task *task, struct err *err)
{
	struct group group;
	enum rc rc, waited;

	rc = stream_new(task->shard, c->running.output, c->running.input, NULL, NULL, &c->stream, err);
	if (rc != OK) {
		close(c->running.input);
		close(c->running.output);
		return rc == FAIL ? DEFER : rc;
	}
	group_init(&group);
	rc = group_spawn(task, &group, read_output, c);
	if (rc == OK) {
		rc = give_input(c, task, err);
		if (rc == DEFER || rc == CANCELLED)
			user_kill(task, &c->running);
		waited = group_wait(task, &group);
		if (rc == OK || rc == FAIL)
			rc = waited == OK ? OK : waited;
	}
	stream_close(c->stream, false);
	return rc;
}

static bool has_gone(const struct running *running)
{
	return running->status < 0 && running->pidfd < 0;
}

enum rc command_talk(struct task *task, struct talk *talk, struct err *err)
{
	struct conversation c = {.talk = talk};
	uint64_t until = task->until;
	struct err late = err_make(NULL);
	enum rc rc;

	talk->started = talk->stopped = false;
	talk->status = 0;
	rc = user_spawn(task, talk->who, &talk->command, &c.running, err);
	if (rc != OK)
		return rc;
	talk->started = true;
	rc = converse(&c, task, err);
	if (rc == OK && !has_gone(&c.running))
		rc = user_wait(task, &c.running, &talk->status, err);
	if (rc != OK) {
		user_kill(task, &c.running);
		task->until =
		    UNTIL_NEVER; /* what was killed ends soon: it is waited for, so that no zombie stays */
		if (c.running.pidfd >= 0 && user_wait(task, &c.running, &talk->status, &late) != OK)
			talk->status = 0;
		task->until = until;
	}
	if (c.running.pidfd >= 0)
		close(c.running.pidfd);
	if (c.running.status >= 0)
		file_close(task->shard, c.running.status);
	return talk->stopped ? OK : rc;
}
