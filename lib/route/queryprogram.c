/* The queryprogram router: a program is asked what to do with the address, and says it in one line. */
#include "routing.h"
#include "redirect.h"

#include <sys/wait.h>

struct queryprogram {
	struct router router;
	const struct expansion *command;
	struct slice command_user, command_group, current_directory;
	int64_t timeout;
};

#define ANSWER_SIZE_MAX 1023 /* what goes beyond is not looked at */
#define ARGUMENTS_MAX   100

static const struct conf_option queryprogram_options[] = {
    OPT_EXPAND(struct queryprogram, command, NULL, "the program"),
    OPT_STRING(struct queryprogram, command_group, NULL, "the group that it runs as"),
    OPT_STRING(struct queryprogram, command_user, NULL, "the user that it runs as"),
    OPT_STRING(struct queryprogram, current_directory, "/", "where it runs"),
    OPT_TIME(struct queryprogram, timeout, "1h", "for its answer"),
};

static const struct command_runner *runner; /* set once, before any thread is started */

void route_use_command_runner(const struct command_runner *given)
{
	runner = given;
}

static enum rc queryprogram_check(struct conf *conf, void *instance, struct err *err)
{
	struct queryprogram *q = instance;

	(void)conf;
	if (!q->command)
		return err_set(err, FAIL, "a command specification is required");
	if (!q->command_user.ptr)
		return err_set(err, FAIL, "command_user must be specified");
	if (q->current_directory.len == 0 || q->current_directory.ptr[0] != '/')
		return err_set(err, FAIL, "current_directory must be an absolute path");
	return OK;
}

/* ---- The question ------------------------------------------------------------------------------------------------ */

static enum rc find_ids(struct routing *r, const struct queryprogram *q, uint32_t *uid, uint32_t *gid)
{
	const struct conf_main *options = conf_main(r->sc->conf);
	struct user_entry user = {.name = SLICE_EMPTY};
	uint64_t number;
	enum rc rc = OK;

	*gid = UINT32_MAX;
	if (parse_u64(q->command_user, &number) && number < UINT32_MAX) {
		*uid = (uint32_t)number;
	} else {
		rc = user_find(r->sc, q->command_user, &user, r->err);
		*uid = user.uid;
		*gid = user.gid;
	}
	if (rc == FAIL)
		return err_set(r->err, DEFER, "command_user \"%.*s\" not found", SLICE_ARG(q->command_user));
	if (rc == OK && q->command_group.ptr) {
		if (parse_u64(q->command_group, &number) && number < UINT32_MAX)
			*gid = (uint32_t)number;
		else
			rc = group_find(r->sc, q->command_group, gid, r->err);
		if (rc == FAIL)
			return err_set(r->err, DEFER, "command_group \"%.*s\" not found",
				       SLICE_ARG(q->command_group));
	}
	if (rc == OK && *gid == UINT32_MAX)
		return err_set(r->err, DEFER, "command_user is a number, and there is no command_group");
	if (rc == OK && conf_id_listed(&options->never_users, *uid))
		return err_set(r->err, DEFER, "command_user is on the never_users list");
	return rc;
}

/* Words first, then each is expanded: nothing that a stranger wrote can add one. */
static enum route_result make_arguments(struct routing *r, const struct queryprogram *q, const char **argv)
{
	struct arena *arena = routing_arena(r);
	struct slice *words = arena_array(arena, struct slice, ARGUMENTS_MAX), value;
	struct slice text = expansion_text(q->command), name = SLICE("queryprogram");
	unsigned count;
	enum rc rc;

	if (!words)
		return route_say(r, ROUTE_DEFER, "out of memory");
	if (!runner->split(arena, text, words, ARGUMENTS_MAX, &count) || !count)
		return route_say(r, ROUTE_DEFER, "missing quote, or too many words, in command");
	for (unsigned i = 0; i < count; i++) {
		rc = expand_text(r->sc, words[i], &value, r->err);
		if (rc == FAIL)
			return route_say(
			    r, ROUTE_DEFER,
			    "Expansion of \"%.*s\" from command \"%.*s\" in %.*s router failed: %.*s",
			    SLICE_ARG(words[i]), SLICE_ARG(text), SLICE_ARG(name), SLICE_ARG(r->err->text));
		if (rc == OK && value.taint == TAINTED)
			return route_say(r, ROUTE_DEFER, "Tainted arg %u for %.*s router command: '%.*s'", i,
					 SLICE_ARG(name), SLICE_ARG(value));
		if (rc != OK)
			return route_say_err(r, ROUTE_DEFER, "command");
		argv[i] = memchr(value.ptr, 0, value.len) ? NULL : arena_cstr(arena, value);
		if (!argv[i])
			return route_say(r, ROUTE_DEFER, "a NUL byte in an argument of the command");
	}
	argv[count] = NULL;
	if (argv[0][0] != '/')
		return route_say(r, ROUTE_DEFER, "command \"%s\" is not an absolute path", argv[0]);
	return ROUTE_ACCEPT;
}

/* ROUTE_ACCEPT: there is an answer. */
static enum route_result ask(struct routing *r, const struct queryprogram *q, struct slice *answer)
{
	const char **argv = arena_array(routing_arena(r), const char *, ARGUMENTS_MAX + 1);
	struct runner_command command = {.argv = argv,
					 .directory = arena_cstr(routing_arena(r), q->current_directory),
					 .timeout_ms = q->timeout * 1000,
					 .output_max = ANSWER_SIZE_MAX};
	struct slice name = r->router->instance.name;
	bool timed_out = false;
	int status = 0;
	enum rc rc;

	if (!runner)
		return route_say(r, ROUTE_DEFER, "this process cannot run commands");
	if (!argv || !command.directory)
		return route_say(r, ROUTE_DEFER, "out of memory");
	if (make_arguments(r, q, argv) != ROUTE_ACCEPT)
		return ROUTE_DEFER;
	rc = find_ids(r, q, &command.uid, &command.gid);
	if (rc == OK)
		rc = runner->run(r->sc, &command, answer, &status, &timed_out, r->err);
	if (timed_out)
		return route_say(r, ROUTE_FREEZE, "%.*s router: command timed out", SLICE_ARG(name));
	if (rc != OK)
		return route_say(r, ROUTE_DEFER, "%.*s router: %.*s", SLICE_ARG(name),
				 SLICE_ARG(r->err->text));
	if (WIFSIGNALED(status))
		return route_say(r, ROUTE_DEFER, "%.*s router: command killed by signal %d", SLICE_ARG(name),
				 WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		return route_say(r, ROUTE_DEFER, "%.*s router: command returned non-zero code %d",
				 SLICE_ARG(name), WEXITSTATUS(status));
	return ROUTE_ACCEPT;
}

/* ---- The answer --------------------------------------------------------------------------------------------------- */

struct accepted {
	struct slice transport, hosts, lookup, data; /* ptr NULL: not said */
};

/* "name = value" or name="value with \" in it", one after the other. */
static void read_values(struct arena *arena, struct slice text, struct accepted *a)
{
	const struct {
		struct slice name;
		struct slice *value;
	} names[] = {{SLICE("transport"), &a->transport},
		     {SLICE("hosts"), &a->hosts},
		     {SLICE("lookup"), &a->lookup},
		     {SLICE("data"), &a->data}};

	for (text = slice_ltrim(text); text.len; text = slice_ltrim(text)) {
		struct str value = str_make(arena);
		struct slice name;
		uint32_t at = 0;

		while (at < text.len && text.ptr[at] != '=' && !ascii_is_space(text.ptr[at]))
			at++;
		name = slice_sub(text, 0, at);
		text = slice_ltrim(slice_from(text, at));
		if (!text.len || text.ptr[0] != '=')
			continue;
		text = slice_ltrim(slice_from(text, 1));
		if (text.len && text.ptr[0] == '"') {
			for (at = 1; at < text.len && text.ptr[at] != '"'; at++) {
				at += text.ptr[at] == '\\' && at + 1 < text.len;
				str_addc(&value, text.ptr[at]);
			}
			text = slice_from(text, at + 1);
		} else {
			for (at = 0; at < text.len && !ascii_is_space(text.ptr[at]); at++)
				str_addc(&value, text.ptr[at]);
			text = slice_from(text, at);
		}
		value.taint = TAINTED;
		for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
			if (slice_eq_nocase(name, names[i].name))
				*names[i].value = str_slice(&value);
	}
}

static enum route_result find_hosts(struct routing *r, const struct queryprogram *q, const struct accepted *a,
				    struct host_list *hosts, struct slice *failed)
{
	struct hosts_query query = {.ignore = q->router.ignore_target_hosts,
				    .dnssec_require = q->router.dnssec_require_domains};
	struct host_list names;

	if (slice_eq(a->lookup, SLICE("byname")))
		query.flags = HOSTS_BY_SYSTEM;
	else if (slice_eq(a->lookup, SLICE("bydns")))
		query.flags = HOSTS_A;
	else if (a->lookup.ptr)
		return route_say(r, ROUTE_DEFER, "bad lookup type \"%.*s\" yielded by command",
				 SLICE_ARG(a->lookup));
	if (host_list_parse(r->sc->task->shard, routing_arena(r), a->hosts, false, &names, r->err) != OK)
		return route_say_err(r, ROUTE_DEFER, "host list");
	switch (host_list_resolve(r->sc, &names, &query, false, hosts, failed, r->err)) {
	case HOST_FOUND:
		return ROUTE_ACCEPT;
	case HOST_FOUND_LOCAL:
		return ROUTE_PASS;
	case HOST_AGAIN:
		return router_after_timeout(r, *failed) == ROUTE_PASS ? ROUTE_DECLINE : ROUTE_DEFER;
	default:
		r->out->os = ROUTE_SHOW_HOST;
		return route_say(r, ROUTE_DEFER, "lookup of host \"%.*s\" failed in %.*s router",
				 SLICE_ARG(*failed), SLICE_ARG(r->router->instance.name));
	}
}

static enum route_result take_accept(struct routing *r, const struct queryprogram *q, struct slice text)
{
	struct accepted a = {{NULL, 0, CLEAN}, {NULL, 0, CLEAN}, {NULL, 0, CLEAN}, {NULL, 0, CLEAN}};
	struct host_list *hosts = NULL;
	const struct transport *transport = NULL;
	struct slice failed;
	enum route_result result;

	read_values(routing_arena(r), text, &a);
	if (a.data.ptr)
		r->address->address_data = a.data;
	if (a.transport.ptr) {
		transport = conf_instance_find(r->sc->conf, CONF_SECTION_TRANSPORTS, a.transport);
		if (!transport)
			return route_say(r, ROUTE_DEFER, "unknown transport name %.*s yielded by command",
					 SLICE_ARG(a.transport));
	} else if (!router_find_transport(r, r->router->transport, "transport", &transport)) {
		return ROUTE_DEFER;
	}
	if (a.hosts.ptr && a.hosts.len) {
		hosts = arena_make(routing_arena(r), struct host_list);
		if (!hosts)
			return route_say(r, ROUTE_DEFER, "out of memory");
		result = find_hosts(r, q, &a, hosts, &failed);
		if (result == ROUTE_PASS)
			return router_self(r, hosts, transport);
		if (result != ROUTE_ACCEPT)
			return result;
	}
	return router_accept(r, hosts, transport);
}

static enum route_result queryprogram_route(struct routing *r)
{
	const struct queryprogram *q = (const struct queryprogram *)r->router;
	struct slice answer, line, word, rest;
	enum route_result result = ask(r, q, &answer);

	if (result != ROUTE_ACCEPT)
		return result;
	answer = slice_trim(answer);
	if (!answer.len)
		return route_say(r, ROUTE_DEFER, "%.*s router: command failed to return data",
				 SLICE_ARG(r->router->instance.name));
	(void)slice_split(&answer, '\n', &line);
	rest = line;
	(void)slice_word(&rest, &word);
	rest = slice_trim(rest);
	if (slice_eq_nocase(word, SLICE("decline")))
		return ROUTE_DECLINE;
	if (slice_eq_nocase(word, SLICE("pass")))
		return ROUTE_PASS;
	if (slice_eq_nocase(word, SLICE("accept")))
		return take_accept(r, q, rest);
	if (slice_eq_nocase(word, SLICE("redirect")))
		return redirect_to_list(r, rest);
	if (slice_eq_nocase(word, SLICE("fail"))) {
		r->out->user_message = rest;
		return route_say(r, ROUTE_FAIL, "%.*s", SLICE_ARG(rest));
	}
	if (slice_eq_nocase(word, SLICE("defer")))
		return route_say(r, ROUTE_DEFER, "%.*s", SLICE_ARG(rest));
	if (slice_eq_nocase(word, SLICE("freeze")))
		return route_say(r, ROUTE_FREEZE, "%.*s", SLICE_ARG(rest));
	return route_say(r, ROUTE_DEFER, "bad command yield: %.*s %.*s", SLICE_ARG(word), SLICE_ARG(rest));
}

static const struct router_ops queryprogram_ops = {.route = queryprogram_route};
const struct conf_driver router_queryprogram_driver = {
    .name = "queryprogram",
    .size = sizeof(struct queryprogram),
    .options = queryprogram_options,
    .option_count = ARRAY_COUNT(queryprogram_options),
    .check = queryprogram_check,
    .ops = &queryprogram_ops,
};
