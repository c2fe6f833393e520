/* Redirection data that is a filter: what it may do, and what its actions become. */
#include "redirect.h"

static enum rc write_log(void *arg, struct scope *sc, const char *path, int mode, struct slice text,
			 struct err *err)
{
	struct interpretation *in = arg;

	if (in->r->mode != ROUTE_DELIVER) /* asked for an opinion, not for work */
		return OK;
	if (path[0] != '/')
		return err_set(err, DEFER, "logfile \"%s\" is not an absolute path", path);
	if (file_reader_append(sc, &in->reader, path, (mode_t)mode, text, err) == CANCELLED)
		return CANCELLED;
	/* A log that cannot be written holds no mail up, but is not passed over in silence. */
	if (err->text.len)
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, sc->message ? &sc->message->id : NULL,
			   "filter log \"%s\": %.*s", path, SLICE_ARG(err->text));
	return OK;
}

static unsigned forbidden(const struct redirect *d)
{
	return (d->forbid_filter_dlfunc ? EXPAND_NO_DLFUNC : 0) |
	       (d->forbid_filter_existstest ? EXPAND_NO_EXISTS : 0) |
	       (d->forbid_filter_lookup ? EXPAND_NO_LOOKUP : 0) |
	       (d->forbid_filter_perl ? EXPAND_NO_PERL : 0) |
	       (d->forbid_filter_readfile ? EXPAND_NO_READFILE : 0) |
	       (d->forbid_filter_readsocket ? EXPAND_NO_READSOCKET : 0) |
	       (d->forbid_filter_run ? EXPAND_NO_RUN : 0);
}

/* ptr NULL where the option is unset or its expansion fails on purpose. */
static enum rc sieve_option(struct interpretation *in, const struct expansion *option, struct slice *ret)
{
	enum rc rc;

	*ret = (struct slice){NULL, 0, CLEAN};
	if (!option)
		return OK;
	rc = expand(in->r->sc, option, ret, in->r->err);
	if (rc == FAIL && in->r->err->forced)
		rc = OK;
	return rc == FAIL ? DEFER : rc;
}

static enum rc make_rules(struct interpretation *in, struct filter_rules *rules)
{
	const struct redirect *d = in->d;
	const struct message *m = in->r->sc->message;
	enum rc rc;

	*rules = (struct filter_rules){
	    .allow_defer = d->allow_defer,
	    .allow_fail = d->allow_fail,
	    .allow_freeze = d->allow_freeze,
	    .forbid_reply = d->forbid_filter_reply,
	    .forbid_logwrite = d->forbid_filter_logwrite,
	    .forbid_file = d->forbid_file,
	    .forbid_pipe = d->forbid_pipe,
	    .prepend_home = d->filter_prepend_home,
	    .forbid_expand = forbidden(d),
	    .first_delivery = m && m->deliver_firsttime,
	    .name = d->data ? SLICE("filter data") : SLICE("filter file"),
	    .log = write_log,
	    .log_arg = in,
	};
	rc = sieve_option(in, d->sieve_inbox, &rules->sieve_inbox);
	if (rc == OK)
		rc = sieve_option(in, d->sieve_subaddress, &rules->sieve_subaddress);
	if (rc == OK)
		rc = sieve_option(in, d->sieve_useraddress, &rules->sieve_useraddress);
	if (rc == OK)
		rc = sieve_option(in, d->sieve_vacation_directory, &rules->sieve_vacation_directory);
	if (rc == OK)
		rc = sieve_option(in, d->sieve_enotify_mailto_owner, &rules->sieve_enotify_mailto_owner);
	return rc;
}

/* ---- Actions ------------------------------------------------------------------------------------------------------ */

static bool add_reply(struct interpretation *in, const struct filter_action *action, struct address **child)
{
	/* The ">" and what follows are for logs and lists of what is done. */
	struct slice name = arena_printf(routing_arena(in->r), ">%.*s", SLICE_ARG(action->text));

	if (!name.ptr)
		return redirect_broken(in, "out of memory") == LIST_EMPTY;
	name.taint = action->text.taint;
	*child = redirect_delivery_child(in, name, in->d->reply_transport, "reply_transport");
	return *child;
}

static bool add_action(struct interpretation *in, const struct filter_action *action)
{
	struct redirect_item item = {.text = action->text, .error = SLICE_EMPTY};
	struct address *child = NULL;
	enum verdict verdict = LIST_CHILDREN;

	switch (action->kind) {
	case FILTER_DELIVER:
		item.kind = REDIRECT_ADDRESS;
		verdict = redirect_add_address(in, &item, &child);
		break;
	case FILTER_SAVE:
		item.kind = REDIRECT_FILE;
		verdict = redirect_add_delivery(in, &item, &child);
		break;
	case FILTER_PIPE:
		item.kind = REDIRECT_PIPE;
		item.text = slice_starts(action->text, SLICE("|"))
				? action->text
				: arena_printf(routing_arena(in->r), "|%.*s", SLICE_ARG(action->text));
		item.text.taint = action->text.taint;
		verdict = item.text.ptr ? redirect_add_delivery(in, &item, &child) : LIST_ERROR;
		break;
	case FILTER_REPLY:
		if (!add_reply(in, action, &child))
			verdict = LIST_ERROR;
		break;
	}
	if (child) {
		child->action = action;
		child->ignore_errors |= action->noerror;
		if (action->errors_to.ptr)
			child->errors_to = action->errors_to;
	}
	return verdict == LIST_CHILDREN;
}

static enum route_result say_verdict(struct routing *r, const struct filter_result *result,
				     enum route_result what, const char *otherwise)
{
	r->out->user_message =
	    result->user_message.len ? result->user_message : (struct slice){NULL, 0, CLEAN};
	if (!slice_eq(result->message, result->user_message))
		r->out->bounce_message = result->user_message;
	if (result->message.len)
		return route_say(r, what, "%.*s", SLICE_ARG(result->message));
	return route_say(r, what, "%s", otherwise);
}

static enum route_result conclude(struct interpretation *in, const struct filter_result *result)
{
	struct routing *r = in->r;

	for (const struct filter_action *action = result->actions; action; action = action->next)
		if (!add_action(in, action))
			return ROUTE_DEFER;
	r->out->hide_child_in_errors = in->d->hide_child_in_errmsg;
	r->out->one_time = in->d->one_time;
	/* What was set up before a verdict, or beside a delivery that goes on, is done all the same. */
	if (!routing_verifies(r) || result->verdict == FILTER_DELIVERED)
		list_join(&r->out->children, &in->made);
	switch (result->verdict) {
	case FILTER_CONTINUES:
		return ROUTE_DECLINE;
	case FILTER_DELIVERED:
		return list_empty(&r->out->children) ? ROUTE_DISCARDED : ROUTE_REROUTED;
	case FILTER_DEFERS:
		return say_verdict(r, result, ROUTE_DEFER, "forced defer");
	case FILTER_FAILS:
		return say_verdict(r, result, ROUTE_FAIL, "forced rejection");
	case FILTER_FREEZES:
		return say_verdict(r, result, ROUTE_FREEZE, "frozen by filter");
	}
	return ROUTE_DEFER;
}

/* A mistake in an Exim filter: with skip_syntax_errors it is as if there were no filter. */
static enum route_result wrong(struct interpretation *in)
{
	struct routing *r = in->r;

	if (!in->d->skip_syntax_errors) {
		return route_say(r, ROUTE_DEFER, "error in filter %s: %.*s", in->d->data ? "data" : "file",
				 SLICE_ARG(r->err->text));
	}
	str_add(&in->skipped, r->err->text);
	redirect_report_skipped(in);
	return ROUTE_DECLINE;
}

enum route_result redirect_run_filter(struct interpretation *in, enum filter_language language,
				      struct slice text)
{
	struct routing *r = in->r;
	struct filter_rules *rules = arena_make(routing_arena(r), struct filter_rules);
	struct filter_result result;
	enum rc rc;

	if (language == FILTER_EXIM ? in->d->forbid_exim_filter : in->d->forbid_sieve_filter)
		return route_say(r, ROUTE_DEFER, "error in filter %s: %s filtering not enabled",
				 in->d->data ? "data" : "file", language == FILTER_EXIM ? "Exim" : "Sieve");
	if (!r->sc
		 ->message) /* asked for an address, not for a message: nobody knows what the filter would do with it */
		return ROUTE_DECLINE;
	rc = rules ? make_rules(in, rules) : err_memory(r->err);
	if (rc == OK)
		rc = filter_apply(r->sc, language, text, rules, &result, r->err);
	switch (rc) {
	case OK:
		if (language == FILTER_SIEVE && result.message.len && r->sc->message)
			log_printf(r->sc->task->shard, r->sc->conf, LOG_TO_MAIN, &r->sc->message->id,
				   "Sieve error: %.*s (the message is kept)", SLICE_ARG(result.message));
		return conclude(in, &result);
	case FAIL:
		return wrong(in);
	default:
		return route_say(r, ROUTE_DEFER, "error in filter %s: %.*s", in->d->data ? "data" : "file",
				 SLICE_ARG(r->err->text));
	}
}
