/* options: what the main section says about the names of those who call: their full names, and what a user without an entry in
 * the password file is called. */
#include "inside.h"

static const struct conf_option options[] = {
    OPT_EXPAND(struct admin_options, gecos_name, NULL, "the full name, where gecos_pattern matches"),
    OPT_STRING(struct admin_options, gecos_pattern, NULL,
	       "what the password file says of a user; & is his login"),
    OPT_EXPAND(struct admin_options, unknown_login, NULL, "the login of who is not in the password file"),
    OPT_STRING(struct admin_options, unknown_username, NULL, "his full name"),
};

static enum rc check(struct conf *conf, void *group, struct err *err)
{
	struct admin_options *o = group;
	struct err why = err_make(&conf->arena);

	if (o->gecos_pattern.ptr && regex_compile(&conf->arena, o->gecos_pattern, 0, &o->gecos, &why) != OK)
		return conf_error(err, conf_option_place(conf, "gecos_pattern"), "gecos_pattern: %.*s",
				  SLICE_ARG(why.text));
	return OK;
}

const struct conf_group admin_conf_group = {
    .id = CONF_ADMIN,
    .size = sizeof(struct admin_options),
    .options = options,
    .option_count = ARRAY_COUNT(options),
    .check = check,
};
