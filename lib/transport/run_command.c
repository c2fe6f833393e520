/* Commands that routers ask: run as another user when the privileged helper is there, and bounded in time and output. */
#include <unistd.h>

#include "command_line.h"
#include "talk.h"

static bool split(struct arena *arena, struct slice text, struct slice *words, unsigned max,
		  unsigned *count_ret)
{
	struct slice *all = arena_array(arena, struct slice, COMMAND_ARGS_MAX);

	if (!all || !command_split(arena, text, all, count_ret) || *count_ret > max)
		return false;
	memcpy(words, all, *count_ret * sizeof(*words));
	return true;
}

struct output {
	struct str text;
	size_t max;
};

/* What is more than there is room for is read and forgotten, so that the command does not stop. */
static bool take(void *arg, struct slice piece)
{
	struct output *output = arg;

	if (output->text.len < output->max)
		str_add(&output->text, slice_sub(piece, 0, output->max - output->text.len));
	return true;
}

static enum rc run(struct scope *sc, const struct runner_command *wanted, struct slice *output_ret,
		   int *status_ret, bool *timed_out_ret, struct err *err)
{
	static const char *const environment[] = {"PATH=/bin:/usr/bin", NULL};
	struct task *task = sc->task;
	struct identity who = {
	    .uid = wanted->uid, .gid = wanted->gid, .name = SLICE_EMPTY, .home = SLICE_EMPTY};
	struct output output = {.text = str_make(task->arena), .max = wanted->output_max};
	struct talk talk = {.who = &who,
			    .command = {.argv = wanted->argv,
					.envp = environment,
					.directory = wanted->directory,
					.umask = 077},
			    .take = take,
			    .arg = &output};
	uint64_t saved = task->until,
		 until = shard_now(task->shard) + (uint64_t)wanted->timeout_ms * NS_PER_MS;
	enum rc rc;

	who.switched = helper_present() && wanted->uid != geteuid();
	task->until = wanted->timeout_ms ? until : UNTIL_NEVER;
	rc = command_talk(task, &talk, err);
	*timed_out_ret = rc == DEFER && talk.started && wanted->timeout_ms && shard_now(task->shard) >= until;
	task->until = saved;
	*status_ret = talk.status;
	*output_ret = output.text.len ? slice_tainted(str_slice(&output.text)) : SLICE_EMPTY;
	return rc == FAIL ? DEFER : rc;
}

const struct command_runner transport_command_runner = {.split = split, .run = run};
