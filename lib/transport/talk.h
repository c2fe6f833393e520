/* A command from its start to its end: what it is given to read, what it says, how it ended. */
#ifndef TRANSPORT_TALK_H
#define TRANSPORT_TALK_H

#include "helper.h"

struct talk {
	const struct identity *who;
	struct command command;
	/* Writes its standard input, which is closed behind it. FAIL: it reads no more, which is its own business; DEFER: the
	 * text could not be had, or it was too slow: it is ended. NULL: nothing to read. */
	enum rc (*give)(void *arg, struct task *task, struct stream *stream, struct err *err);
	/* Some of what it says on standard output and error. false: that was enough, it is ended. */
	bool (*take)(void *arg, struct slice piece);
	void *arg;
	/* Results */
	bool started; /* it ran, if only for a while */
	bool stopped; /* take() had enough: there is no status */
	int status;   /* as waitpid() gives it; with OK */
};

/* OK: it ended by itself, or was stopped. FAIL: it could not be executed. DEFER: it was ended at task->until, or could not be
 * fed, or could not be started now. Parks. */
NODISCARD enum rc command_talk(struct task *task, struct talk *talk, struct err *err);

#endif
