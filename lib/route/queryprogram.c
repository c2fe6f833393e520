/* The queryprogram router: a program is asked what to do with the address. */
#include "routing.h"

struct queryprogram {
	struct router router;
	const struct expansion *command;
	struct slice command_user, command_group, current_directory;
	int64_t timeout;
};

static const struct conf_option queryprogram_options[] = {
    OPT_EXPAND(struct queryprogram, command, NULL, "the program"),
    OPT_STRING(struct queryprogram, command_group, NULL, "the group that it runs as"),
    OPT_STRING(struct queryprogram, command_user, NULL, "the user that it runs as"),
    OPT_STRING(struct queryprogram, current_directory, "/", "where it runs"),
    OPT_TIME(struct queryprogram, timeout, "1h", "for its answer"),
};

static enum rc queryprogram_check(struct conf *conf, void *instance, struct err *err)
{
	struct queryprogram *q = instance;

	(void)conf;
	if (!q->command)
		return err_set(err, FAIL, "a command specification is required");
	if (!q->command_user.ptr)
		return err_set(err, FAIL, "command_user must be specified");
	return err_set(
	    err, FAIL,
	    "the queryprogram router is not supported yet; a redirect router with ${run or ${readsocket "
	    "in its data does the same");
}

static enum route_result queryprogram_route(struct routing *r)
{
	return route_say(r, ROUTE_DEFER, "the queryprogram router is not supported");
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
