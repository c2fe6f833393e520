/* run: ${run: a command with its output. Starting a process and waiting for it is done on a helper thread, so
 * that the shard never stops for it; the thread gives up by its own clock and kills what it started. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "items.h"
#include "tree.h"

#define RUN_ARGS_MAX   128
#define RUN_OUTPUT_MAX (1024u * 1024)
#define RUN_TIMEOUT_MS 60000

/* ---- The helper thread's side -----------------------------------------------------------------------------
 */

/* From the heap: the thread may outlive the caller. argv and its strings are in the same block, behind it. */
struct run_job {
	char **argv;
	char *output; /* RUN_OUTPUT_MAX bytes, or NULL */
	size_t output_len;
	int64_t until_ms; /* monotonic */
	int error;        /* errno of what went wrong on our side */
	int status;       /* as waitpid() */
	bool timed_out, not_started;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Standard input is empty, output and errors go to one pipe; signals as a program expects them; a process
 * group of its own, so that what it starts can be ended with it. */
static int run_spawn(struct run_job *job, int fd_out, pid_t *pid_ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return ENOMEM;
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return ENOMEM;
	}
	rc = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(&actions, fd_out, 1);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(&actions, fd_out, 2);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	if (rc == 0)
		rc = posix_spawnattr_setsigmask(&attr, &none);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(&attr, &all);
	if (rc == 0)
		rc = posix_spawnattr_setpgroup(&attr, 0);
	if (rc == 0)
		rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
							 POSIX_SPAWN_SETPGROUP);
	if (rc == 0)
		rc = posix_spawn(pid_ret, job->argv[0], &actions, &attr, job->argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* Reads until the end, the limit or the deadline. */
static void run_read(struct run_job *job, int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	for (;;) {
		int64_t left = job->until_ms - now_ms();
		int n = left > 0 ? poll(&poll_fd, 1, (int)left) : 0;
		ssize_t got;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			job->timed_out = true;
			return;
		}
		if (job->output_len == RUN_OUTPUT_MAX) {
			job->error = EFBIG;
			return;
		}
		got = read(fd, job->output + job->output_len, RUN_OUTPUT_MAX - job->output_len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return;
		job->output_len += (size_t)got;
	}
}

/* A program may close its output and go on: it is waited for until the deadline, then killed. */
static void run_wait(struct run_job *job, pid_t pid)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	bool kill_it = job->timed_out || job->error;
	pid_t got;

	for (;;) {
		if (!kill_it && now_ms() >= job->until_ms)
			job->timed_out = kill_it = true;
		if (kill_it)
			kill(-pid, SIGKILL);
		got = waitpid(pid, &job->status, kill_it ? 0 : WNOHANG);
		if (got == pid || (got < 0 && errno != EINTR))
			return;
		if (got == 0)
			nanosleep(&pause, NULL);
	}
}

static void run_work(void *arg)
{
	struct run_job *job = arg;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		job->error = errno;
		return;
	}
	job->error = run_spawn(job, fds[1], &pid);
	close(fds[1]);
	if (job->error) {
		job->not_started = true;
		close(fds[0]);
		return;
	}
	run_read(job, fds[0]);
	close(fds[0]);
	run_wait(job, pid);
}

static void run_free(void *arg)
{
	struct run_job *job = arg;

	free(job->output);
	free(job);
}

/* ---- Taking the command apart -----------------------------------------------------------------------------
 */

/* The next word: "quoted, with \escapes", 'quoted' or up to white space. *ret lives in the arena or the text.
 */
static bool command_word(struct arena *arena, struct slice *rest, struct slice *ret)
{
	struct slice s = slice_ltrim(*rest);
	struct str str;
	uint32_t n;

	if (s.len == 0)
		return false;
	if (s.ptr[0] == '\'') {
		ptrdiff_t end = slice_find(slice_from(s, 1), '\'');

		*ret = slice_sub(s, 1, end < 0 ? s.len - 1 : (size_t)end);
		*rest = slice_from(s, end < 0 ? s.len : (size_t)end + 2);
		return true;
	}
	if (s.ptr[0] != '"') {
		for (n = 0; n < s.len && !ascii_is_space(s.ptr[n]); n++)
			;
		*ret = slice_sub(s, 0, n);
		*rest = slice_from(s, n);
		return true;
	}
	str = str_make(arena);
	str.taint = s.taint;
	for (n = 1; n < s.len && s.ptr[n] != '"'; n++) {
		char c = s.ptr[n];

		if (c == '\\' && n + 1 < s.len) {
			c = s.ptr[++n];
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
		}
		str_addc(&str, c);
	}
	*ret = str_slice(&str);
	*rest = slice_from(s, n < s.len ? (size_t)n + 1 : s.len);
	return true;
}

static enum rc run_options(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	while (parse_take(parse, ',')) {
		struct slice option = parse_name(parse, "_");

		if (!slice_eq(option, SLICE("preexpand")))
			return err_set(err, FAIL, "bad option '%.*s' for run", SLICE_ARG(option));
		call->option = option;
	}
	return OK;
}

/* Without preexpand the command is split as it was written, and each word expanded for itself: what a
 * variable holds can neither add a word nor take one away. */
static enum rc run_split(struct expand_parse *parse, struct expand_call *call,
			 const struct expansion *command, struct err *err)
{
	const struct expansion **args = arena_array(parse->arena, const struct expansion *, RUN_ARGS_MAX);
	struct slice rest = command->text, word;

	if (!args)
		return err_memory(err);
	call->args = args;
	while (command_word(parse->arena, &rest, &word)) {
		if (call->arg_count == RUN_ARGS_MAX)
			return err_set(err, FAIL,
				       "Too many arguments to command \"%.*s\" in ${run} expansion",
				       SLICE_ARG(command->text));
		if (!word.ptr)
			return err_memory(err);
		args[call->arg_count] = expand_compile(parse->language, parse->arena, word);
		if (!args[call->arg_count])
			return err_memory(err);
		if (!parse->missing.len)
			parse->missing = args[call->arg_count]->missing;
		call->arg_count++;
	}
	return OK;
}

static enum rc run_parse(struct expand_parse *parse, struct expand_call *call, struct err *err)
{
	const struct expansion *command, **args;
	enum rc rc = run_options(parse, call, err);

	if (rc != OK)
		return rc;
	parse_skip_space(parse);
	if (!parse_take(parse, '{'))
		return err_set(err, FAIL, "missing '{' for command arg of run");
	rc = compile_string(parse, COMPILE_BRACE_ENDS, &command, err);
	if (rc != OK)
		return rc;
	if (!parse_take(parse, '}'))
		return err_set(err, FAIL, "missing '}' closing command arg of run");
	if (call->option.len) {
		args = arena_array(parse->arena, const struct expansion *, 1);
		if (!args)
			return err_memory(err);
		args[0] = command;
		call->args = args;
		call->arg_count = 1;
	} else {
		rc = run_split(parse, call, command, err);
		if (rc != OK)
			return rc;
	}
	return expand_parse_yes_no(parse, call, err);
}

/* ---- Evaluating -------------------------------------------------------------------------------------------
 */

static enum rc word_check(struct slice word, bool any_taint, unsigned index, struct err *err)
{
	if (word.taint == TAINTED && (any_taint || index == 0))
		return err_set(err, FAIL, "Tainted '%.*s' (command or arg of ${run) not permitted",
			       SLICE_ARG(word));
	if (slice_find(word, 0) >= 0)
		return err_set(err, FAIL, "NUL byte in an argument of ${run");
	return OK;
}

static enum rc run_words(struct scope *sc, const struct expand_call *call, struct slice *words,
			 unsigned *count_ret, struct err *err)
{
	unsigned count = 0;
	struct slice text;
	enum rc rc;

	if (!call->option.len) {
		for (rc = OK; count < call->arg_count && rc == OK; count++) {
			rc = expand(sc, call->args[count], &words[count], err);
			if (rc == OK)
				rc = word_check(words[count], false, count, err);
		}
		*count_ret = count;
		return rc;
	}
	rc = expand(sc, call->args[0], &text, err);
	if (rc == OK)
		rc = word_check(text, true, 0, err);
	while (rc == OK && count < RUN_ARGS_MAX && command_word(sc->task->arena, &text, &words[count])) {
		if (!words[count].ptr)
			return err_memory(err);
		count++;
	}
	if (rc == OK && slice_ltrim(text).len)
		rc = err_set(err, FAIL, "Too many arguments to command in ${run} expansion");
	*count_ret = count;
	return rc;
}

static struct run_job *run_job_make(struct scope *sc, const struct slice *words, unsigned count)
{
	size_t size = sizeof(struct run_job) + (count + 1) * sizeof(char *);
	struct run_job *job;
	int64_t left_ms;
	char *at;

	for (unsigned i = 0; i < count; i++)
		size += words[i].len + 1;
	job = calloc(1, size);
	if (!job)
		return NULL;
	job->output = malloc(RUN_OUTPUT_MAX);
	if (!job->output) {
		free(job);
		return NULL;
	}
	job->argv = (char **)(job + 1);
	at = (char *)(job->argv + count + 1);
	for (unsigned i = 0; i < count; i++) {
		job->argv[i] = at;
		memcpy(at, words[i].ptr, words[i].len);
		at += words[i].len + 1;
	}
	left_ms = (int64_t)((task_until(sc->task, RUN_TIMEOUT_MS) - shard_now(sc->task->shard)) / NS_PER_MS);
	job->until_ms = now_ms() + (left_ms > 0 ? left_ms : 0);
	return job;
}

static enum rc run_command(struct scope *sc, const struct slice *words, unsigned count, struct slice *output,
			   struct err *err)
{
	struct run_job *job = run_job_make(sc, words, count);
	enum rc rc;

	if (!job)
		return err_memory(err);
	rc = offload_call(sc->task, run_work, job, run_free, err);
	if (rc != OK)
		return rc;
	/* What a program says may come from anywhere: it is as good as the program, and that was the
	 * administrator's choice. */
	*output = arena_copy(sc->task->arena, slice_make(job->output, job->output_len, CLEAN));
	if (!output->ptr)
		rc = err_memory(err);
	else if (job->timed_out)
		rc = err_set(err, FAIL, "command timed out");
	else if (job->not_started)
		sc->run_code = 127;
	else if (job->error)
		rc = err_os(err, DEFER, job->error, "command could not be run");
	else if (WIFSIGNALED(job->status))
		rc = err_set(err, FAIL, "command killed by signal %d", WTERMSIG(job->status));
	else
		sc->run_code = WEXITSTATUS(job->status);
	run_free(job);
	return rc;
}

static enum rc run_eval(struct scope *sc, const struct expand_call *call, struct slice *ret, struct err *err)
{
	struct slice *words = arena_array(sc->task->arena, struct slice, RUN_ARGS_MAX), output = SLICE_EMPTY;
	unsigned count = 0;
	enum rc rc;

	if (!words)
		return err_memory(err);
	rc = shard_needed(sc, "run", err);
	if (rc == OK)
		rc = run_words(sc, call, words, &count, err);
	if (rc != OK)
		return rc;
	sc->run_code = 127;
	if (count && words[0].len && words[0].ptr[0] == '/')
		rc = run_command(sc, words, count, &output, err);
	if (rc == OK)
		rc = expand_yes_no(sc, call, sc->run_code == 0, output, ret, err);
	/* Unlike other items' it stays: an ACL's log_message may show what the command in its condition said.
	 */
	if (rc == OK)
		sc->value = output;
	return rc;
}

const struct expand_item item_run = {"run", 1, 1, ITEM_YES_NO, run_eval, run_parse};
