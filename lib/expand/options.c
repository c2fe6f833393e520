/* options: settings that are expanded before use, and the truth and the numbers they come to. */

#include "tree.h"

static enum rc expansion_read(struct conf *conf, const struct conf_option *option, struct slice text,
			      void *field, struct err *err)
{
	const struct expansion *expansion = expand_compile(conf->language, &conf->arena, text);

	(void)option;
	if (!expansion)
		return err_memory(err);
	*(const struct expansion **)field = expansion;
	return expansion_available(expansion, err);
}

static bool expansion_print(const struct conf_option *option, const void *field, struct str *str)
{
	const struct expansion *expansion = *(const struct expansion *const *)field;

	(void)option;
	if (!expansion)
		return false;
	str_add(str, expansion->text);
	return true;
}

const struct conf_type conf_expansion = {
    .name = "a string",
    .size = sizeof(const struct expansion *),
    .read = expansion_read,
    .print = expansion_print,
};

static enum rc items_read(struct conf *conf, const struct conf_option *option, struct slice text, void *field,
			  struct err *err)
{
	/* As one string, to see whether all that it asks for is there. */
	const struct expansion *expansion = expand_compile(conf->language, &conf->arena, text);

	if (!expansion)
		return err_memory(err);
	if (expansion_available(expansion, err) != OK)
		return FAIL;
	return conf_string.read(conf, option, text, field, err);
}

static bool items_print(const struct conf_option *option, const void *field, struct str *str)
{
	return conf_string.print(option, field, str);
}

const struct conf_type conf_expanded_items = {
    .name = "a string",
    .size = sizeof(struct slice),
    .read = items_read,
    .print = items_print,
};

/* *set_ret: false when there is no setting, or it forced a failure. */
static enum rc option_value(struct scope *sc, const struct expansion *option, bool *set_ret,
			    struct slice *ret, struct err *err)
{
	struct err own = err_make(sc->task->arena);
	enum rc rc;

	*set_ret = false;
	*ret = SLICE_EMPTY;
	if (!option)
		return OK;
	rc = expand(sc, option, ret, &own);
	if (rc == FAIL && own.forced) {
		*ret = SLICE_EMPTY;
		return OK;
	}
	*set_ret = rc == OK;
	if (rc != OK && err) {
		own.arena = err->arena;
		*err = own;
	}
	return rc;
}

enum rc expand_option(struct scope *sc, const struct expansion *option, struct slice *ret, struct err *err)
{
	bool set;
	struct slice value;
	enum rc rc = option_value(sc, option, &set, &value, err);

	if (rc == OK)
		*ret = value;
	return rc;
}

enum rc expand_option_int(struct scope *sc, const struct expansion *option, int64_t unset, int64_t *ret,
			  struct err *err)
{
	bool set;
	struct slice value;
	enum rc rc = option_value(sc, option, &set, &value, err);

	if (rc != OK)
		return rc;
	if (!set) {
		*ret = unset;
		return OK;
	}
	return integer_read(value, ret, err);
}

enum rc expand_option_bool(struct scope *sc, const struct expansion *option, bool unset, bool *ret,
			   struct err *err)
{
	bool set;
	struct slice value;
	enum rc rc = option_value(sc, option, &set, &value, err);

	if (rc != OK)
		return rc;
	if (!set) {
		*ret = unset;
		return OK;
	}
	return expand_truth(value, false, ret, err);
}

enum rc expand_early(struct conf *conf, struct slice text, struct slice *ret, struct err *err)
{
	struct task task;
	struct scope sc;

	task_init(&task, NULL, &conf->arena, UNTIL_NEVER);
	scope_init(&sc, &task, conf);
	return expand_text(&sc, text, ret, err);
}

static const struct conf_option rows[] = {
    OPT_STRING(struct expand_options, saslauthd_socket, "/var/run/saslauthd/mux",
	       "where the condition saslauthd asks; an option of sluice's"),
    OPT_BOOL(struct expand_options, strict_acl_vars, "no", "an ACL variable that is not set is an error"),
};

const struct conf_group expand_conf_group = {
    .id = CONF_EXPAND,
    .size = sizeof(struct expand_options),
    .options = rows,
    .option_count = sizeof(rows) / sizeof(*rows),
};
