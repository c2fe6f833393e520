/* system_filter: the administrator's filter, run once at the start of each attempt at a message, before any routing. It may
 * change header lines, set up deliveries of its own, and decide about all recipients. */
#include "work.h"

/* Header changes act at once, and are kept for the attempts to come. */
static void keep_header(void *arg, bool add, struct slice text)
{
	struct attempt *a = arg;

	if (add)
		outcome_header_added(a, text);
	else
		outcome_header_removed(a, text);
}

static enum rc write_log(void *arg, struct scope *sc, const char *path, int mode, struct slice text,
			 struct err *err)
{
	struct iovec iov = {.iov_base = (void *)text.ptr, .iov_len = text.len};
	int fd;
	enum rc rc =
	    file_open(sc->task, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, (mode_t)mode, &fd, err);

	(void)arg;
	if (rc != OK)
		return rc;
	rc = file_writev(sc->task, fd, &iov, 1, UINT64_MAX, err);
	file_close(sc->task->shard, fd);
	return rc;
}

static enum rc read_filter(struct attempt *a, struct slice *text, struct err *err)
{
	struct slice path;
	char *name;
	enum rc rc = expand(&a->scope, a->options->system_filter, &path, err);

	if (rc != OK) {
		err_prefix(err, "failed to expand \"system_filter\"");
		return rc;
	}
	name = path.len && path.ptr[0] == '/' && path.taint == CLEAN ? arena_cstr(&a->arena, path) : NULL;
	if (!name)
		return err_set(err, DEFER, "system_filter \"%.*s\" is not absolute, or tainted",
			       SLICE_ARG(path));
	rc = file_slurp(&a->task, name, FILTER_SIZE_MAX, text, err);
	text->taint = CLEAN; /* the administrator's own words */
	if (rc == OK && filter_language(*text) == FILTER_SIEVE)
		return err_set(err, FAIL, "the system filter must be an Exim filter");
	return rc;
}

/* ---- Its deliveries ------------------------------------------------------------------------------------------------ */

static enum rc find_transport(struct attempt *a, const struct expansion *option, const char *name,
			      const struct transport **ret, struct err *err)
{
	struct slice value;
	enum rc rc;

	if (!option)
		return err_set(err, FAIL, "%s transport not set", name);
	rc = expand(&a->scope, option, &value, err);
	if (rc != OK)
		return rc;
	*ret = value.taint == CLEAN ? conf_instance_find(a->d->conf, CONF_SECTION_TRANSPORTS, value) : NULL;
	return *ret ? OK : err_set(err, FAIL, "%s transport \"%.*s\" not found", name, SLICE_ARG(value));
}

static enum rc set_owner(struct attempt *a, struct address *address, struct err *err)
{
	const struct deliver_options *o = a->options;
	struct user_entry user;
	uint32_t gid = 0;
	bool group_set = false;
	enum rc rc;

	rc = user_option(&a->scope, o->system_filter_user, &address->uid_set, &user, err);
	if (rc != OK)
		return rc;
	if (address->uid_set) {
		address->uid = user.uid;
		address->gid = user.gid;
		address->gid_set = user.gid != UINT32_MAX;
	}
	rc = group_option(&a->scope, o->system_filter_group, &group_set, &gid, err);
	if (rc == OK && group_set) {
		address->gid = gid;
		address->gid_set = true;
	}
	return rc;
}

static enum rc local_delivery(struct attempt *a, const struct filter_action *action, struct address *address,
			      struct err *err)
{
	const struct deliver_options *o = a->options;
	bool directory = action->text.len && action->text.ptr[action->text.len - 1] == '/';
	enum rc rc;

	switch (action->kind) {
	case FILTER_SAVE:
		address->file = action->text;
		rc = find_transport(
		    a, directory ? o->system_filter_directory_transport : o->system_filter_file_transport,
		    directory ? "system_filter_directory_transport" : "system_filter_file_transport",
		    &address->transport, err);
		break;
	case FILTER_PIPE:
		address->pipe = address->full;
		rc = find_transport(a, o->system_filter_pipe_transport, "system_filter_pipe_transport",
				    &address->transport, err);
		break;
	default:
		rc = find_transport(a, o->system_filter_reply_transport, "system_filter_reply_transport",
				    &address->transport, err);
		break;
	}
	return rc == OK ? set_owner(a, address, err) : rc;
}

static struct address *make_address(struct attempt *a, const struct filter_action *action)
{
	struct slice full = action->text;
	struct address *address;

	if (action->kind == FILTER_PIPE && !slice_starts(full, SLICE("|")))
		full = arena_printf(&a->arena, "|%.*s", SLICE_ARG(action->text));
	else if (action->kind == FILTER_REPLY)
		full = arena_printf(&a->arena, ">%.*s", SLICE_ARG(action->text));
	full.taint = action->text.taint;
	address = full.ptr ? address_child(&a->arena, a->system_filter, full) : NULL;
	if (!address)
		return NULL;
	if (action->kind != FILTER_DELIVER) {
		address->full = full;
		address->local_part = address->cased_local_part = SLICE("system-filter");
		address->domain = conf_main(a->d->conf)->qualify_domain;
	}
	address->action = action;
	address->ignore_errors = action->noerror;
	if (action->errors_to.ptr)
		address->errors_to = action->errors_to;
	return address;
}

static enum rc add_deliveries(struct attempt *a, const struct filter_result *result, struct err *err)
{
	struct route_output out;
	enum rc rc = OK;

	a->system_filter = address_new(&a->arena, SLICE("system-filter"));
	if (!a->system_filter || !fate_make(a, a->system_filter, SLICE("system-filter")))
		return err_memory(err);
	fate_of(a->system_filter)->children =
	    1; /* it is never done: the filter runs again with the next attempt */
	route_output_init(&out);
	for (const struct filter_action *action = result->actions; action && rc == OK;
	     action = action->next) {
		struct address *address = make_address(a, action);

		if (!address)
			return err_memory(err);
		if (action->kind != FILTER_DELIVER)
			rc = local_delivery(a, action, address, err);
		list_append(&out.children, &address->link);
	}
	if (rc == OK)
		route_take_children(a, a->system_filter, &out);
	return rc;
}

bool system_filter_left(const struct attempt *a)
{
	return a->system_filter && fate_of(a->system_filter)->children > 1;
}

/* ---- Its verdict ------------------------------------------------------------------------------------------------------ */

/* All recipients fail, or wait. What the filter has set up itself is not among them. */
static void decide_all(struct attempt *a, enum rc rc, struct slice message, struct slice user_message)
{
	struct link recipients, *l;

	list_init(&recipients);
	LIST_EACH (k, &a->to_route) {
		if (!LIST_ITEM(k, struct address, link)->parent) {
			list_remove(k);
			list_append(&recipients, k);
		}
	}
	while ((l = list_shift(&recipients))) {
		struct address *address = LIST_ITEM(l, struct address, link);

		fate_of(address)->outcome = (struct delivery_outcome){
		    .rc = rc, .message = message, .user_message = user_message, .scope = DEFER_ADDRESS};
		if (rc == FAIL) {
			address_failed(a, address);
			continue;
		}
		log_deferred(a, address);
		address_deferred(a, address);
	}
}

/* The filter has taken the message over: its recipients are not looked at, in this attempt or later. */
static void ignore_recipients(struct attempt *a)
{
	LIST_EACH (l, &a->to_route) {
		if (!LIST_ITEM(l, struct address, link)->parent)
			list_remove(l);
	}
	for (uint32_t i = 0; i < a->m->recipient_count; i++)
		a->m->recipients[i].done = true;
}

static void obey(struct attempt *a, const struct filter_result *result)
{
	struct slice text = result->message;
	const char *colon = text.len ? ": " : "";
	struct slice why;

	switch (result->verdict) {
	case FILTER_CONTINUES:
		return;
	case FILTER_DELIVERED:
		ignore_recipients(a);
		log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN, &a->m->id,
			   result->action_count ? "original recipients ignored (system filter)"
						: "=> discarded (system filter)");
		return;
	case FILTER_FAILS:
		why = arena_printf(&a->arena, "cancelled by system filter%s%.*s", colon, SLICE_ARG(text));
		decide_all(a, FAIL, why, result->user_message);
		return;
	case FILTER_DEFERS:
		why = arena_printf(&a->arena, "deferred by system filter%s%.*s", colon, SLICE_ARG(text));
		decide_all(a, DEFER, why, SLICE_EMPTY);
		return;
	case FILTER_FREEZES:
		why = arena_printf(&a->arena, "frozen by system filter%s%.*s", colon, SLICE_ARG(text));
		a->freeze = true;
		a->freeze_reason = why;
		decide_all(a, DEFER, why, SLICE_EMPTY);
		return;
	}
}

/* A filter that cannot be read or is wrong must not be passed over: the message waits until somebody has mended it. */
static void broken(struct attempt *a, const struct err *err)
{
	log_printf(a->d->shard, a->d->conf, LOG_TO_MAIN | LOG_TO_PANIC, &a->m->id,
		   "Error in system filter: %.*s", SLICE_ARG(err->text));
}

bool system_filter_run(struct attempt *a)
{
	struct filter_rules rules = {
	    .system = true,
	    .first_delivery = a->m->deliver_firsttime,
	    .name = SLICE("system filter"),
	    .header = keep_header,
	    .header_arg = a,
	    .log = write_log,
	};
	struct err err = err_make(&a->arena);
	struct filter_result result;
	struct slice text;
	enum rc rc;

	if (!a->options->system_filter)
		return true;
	task_limit(&a->task, 5 * 60 * 1000);
	rc = read_filter(a, &text, &err);
	if (rc == OK)
		rc = filter_apply(&a->scope, FILTER_EXIM, text, &rules, &result, &err);
	if (rc == OK && result.action_count)
		rc = add_deliveries(a, &result, &err);
	if (rc != OK) {
		broken(a, &err);
		return false;
	}
	obey(a, &result);
	return true;
}
