/* queue_tools: -bp, -q, -M and their kin, --dmarc-report, --metrics: asked of the daemon, if one runs here, or else done on the spool itself. */
#include "server.h"

#include "mailauth/mailauth.h"

#include <stdio.h>
#include <unistd.h>

/* ---- By the daemon ------------------------------------------------------------------------------------------------- */

static bool words_of(const struct command_line *cl, struct slice *words, unsigned *count)
{
	static char flags[16], action[16];
	unsigned n = 0;

	snprintf(flags, sizeof(flags), "%u", cl->run_flags | (cl->patterns_are_regex ? 1u << 16 : 0));
	snprintf(action, sizeof(action), "%d", (int)cl->action);
	switch (cl->mode) {
	case MODE_LIST:
		words[n++] = SLICE("list");
		words[n++] = cl->list_all           ? SLICE("all")
			     : cl->list_undelivered ? SLICE("undelivered")
						    : SLICE("plain");
		break;
	case MODE_COUNT:
		words[n++] = SLICE("count");
		break;
	case MODE_QUEUE_RUN:
		words[n++] = SLICE("run");
		words[n++] = slice_of(flags);
		words[n++] = cl->sender_pattern ? slice_of(cl->sender_pattern) : SLICE_EMPTY;
		words[n++] = cl->recipient_pattern ? slice_of(cl->recipient_pattern) : SLICE_EMPTY;
		for (unsigned i = 0; i < ARRAY_COUNT(cl->run_ids) && cl->run_ids[i]; i++)
			words[n++] = slice_of(cl->run_ids[i]);
		break;
	case MODE_DELIVER:
		words[n++] = SLICE("deliver");
		break;
	case MODE_DMARC_REPORT:
		words[n++] = SLICE("dmarc-report");
		words[n++] = cl->dmarc_today ? SLICE("today") : SLICE("ended");
		break;
	case MODE_METRICS:
		words[n++] = SLICE("metrics");
		break;
	case MODE_ACT:
		words[n++] = SLICE("act");
		words[n++] = slice_of(action);
		break;
	default:
		return false;
	}
	if (cl->mode == MODE_DELIVER || cl->mode == MODE_ACT)
		for (unsigned i = 0; i < cl->operand_count; i++)
			words[n++] = slice_of(cl->operands[i]);
	*count = n;
	return true;
}

static int ask_daemon(const struct command_line *cl, int fd)
{
	static struct slice words[ARRAY_COUNT(cl->operands) + 8];
	struct arena arena;
	struct err err;
	unsigned count;
	int status = 0;

	arena_init(&arena, 0);
	err = err_make(&arena);
	if (!words_of(cl, words, &count) ||
	    control_ask(fd, words, count, SLICE_EMPTY, NULL, 0, NULL, &err) != OK) {
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
		status = 1;
	}
	close(fd);
	arena_done(&arena);
	return status;
}

/* ---- On the spool ---------------------------------------------------------------------------------------------------- */

static int act_on(struct once *o)
{
	const struct command_line *cl = o->cl;
	bool with_arguments = cl->mode == MODE_ACT && queue_action_takes_addresses(cl->action);
	int status = 0;

	for (unsigned i = 0; i < cl->operand_count; i++) {
		struct slice arguments[256];
		struct str out = str_make(&o->arena);
		struct err err = err_make(&o->arena);
		struct message_id id;
		unsigned count = 0;
		enum rc rc;

		if (!message_id_parse(slice_of(cl->operands[i]), &id)) {
			fprintf(stderr, "sluice: malformed message id %s after -M option\n", cl->operands[i]);
			return 1;
		}
		while (with_arguments && i + 1 < cl->operand_count && count < ARRAY_COUNT(arguments))
			arguments[count++] = slice_of(cl->operands[++i]);
		rc = cl->mode == MODE_DELIVER
			 ? deliver_message(&o->task, o->deliverer, &id, &err)
			 : queue_act(&o->task, o->deliverer, cl->action, &id, arguments, count, &out, &err);
		if (out.len)
			fwrite(out.ptr, 1, out.len, stdout);
		if (rc != OK) {
			fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
			status = 1;
		}
	}
	return status;
}

static int on_spool(struct once *o)
{
	const struct command_line *cl = o->cl;
	struct queue_list_options list = {.count_only = cl->mode == MODE_COUNT,
					  .delivered_too = cl->list_all,
					  .undelivered_only = cl->list_undelivered};
	struct queue_run run = {.flags = cl->run_flags,
				.sender_pattern = {NULL, 0, 0},
				.recipient_pattern = {NULL, 0, 0},
				.patterns_are_regex = cl->patterns_are_regex};
	struct str out = str_make(&o->arena);
	struct err err = err_make(&o->arena);
	struct dmarc_round round;
	enum rc rc;

	switch (cl->mode) {
	case MODE_LIST:
	case MODE_COUNT:
		rc = queue_list(&o->task, o->deliverer, &list, &out, &err);
		if (out.len)
			fwrite(out.ptr, 1, out.len, stdout);
		break;
	case MODE_QUEUE_RUN:
		if (cl->sender_pattern)
			run.sender_pattern = slice_of(cl->sender_pattern);
		if (cl->recipient_pattern)
			run.recipient_pattern = slice_of(cl->recipient_pattern);
		if (cl->run_ids[0])
			(void)message_id_parse(slice_of(cl->run_ids[0]),
					       &run.first); /* the command line saw to it */
		if (cl->run_ids[1])
			(void)message_id_parse(slice_of(cl->run_ids[1]), &run.last);
		rc = deliver_queue_run(&o->task, o->deliverer, &run, true, &err);
		break;
	case MODE_DMARC_REPORT:
		rc = dmarc_reports_send(&o->task, o->conf, dmarc_today(o->shard) + cl->dmarc_today, &round,
					&err);
		o->task.until = UNTIL_NEVER;
		if (rc == OK)
			dmarc_round_print(&round, &out);
		fwrite(out.len ? out.ptr : "", 1, out.len, stdout);
		break;
	default:
		return act_on(o);
	}
	if (rc != OK)
		fprintf(stderr, "sluice: %.*s\n", SLICE_ARG(err.text));
	return rc == OK ? 0 : 1;
}

/* The daemon asks the same again, of whoever the kernel says is there. */
static bool is_allowed(const struct command_line *cl, const struct caller *caller, const struct conf *conf)
{
	const struct conf_main *o = conf_main(conf);

	if (caller->admin)
		return true;
	if (cl->mode == MODE_LIST || cl->mode == MODE_COUNT)
		return !o->queue_list_requires_admin;
	return cl->mode != MODE_ACT && cl->mode != MODE_DMARC_REPORT && cl->mode != MODE_METRICS &&
	       !o->prod_requires_admin;
}

int queue_command(const struct command_line *cl, const struct caller *caller, struct conf *conf)
{
	int fd, status;

	if (!is_allowed(cl, caller, conf)) {
		fprintf(stderr, "sluice: permission denied\n");
		return 1;
	}
	do {
		if (control_connect(spool_directory(conf), &fd, NULL) == OK)
			return ask_daemon(cl, fd);
		if (cl->mode == MODE_METRICS) {
			fprintf(stderr, "sluice: there is no daemon to ask\n");
			return 1;
		}
		status = run_once(cl, caller, conf, true, on_spool);
	} while (status == ONCE_DAEMON);
	return status;
}
