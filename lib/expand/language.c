/* language: the names that rooms registered, looked up by the compiler. */

#include "regex.h"
#include "tree.h"

static enum rc name_add(struct language *language, char kind, const char *name, const void *value,
			struct err *err)
{
	struct slice key = arena_printf(&language->arena, "%c%s", kind, name);

	if (!key.ptr)
		return err_memory(err);
	if (map_get(&language->names, key))
		return err_set(err, FAIL, "\"%s\" is registered twice", name);
	/* The table's rows are constant; the map's values are not declared so. */
	if (!map_set(&language->names, key, (void *)(uintptr_t)value))
		return err_memory(err);
	return OK;
}

static enum rc variables_add(struct language *language, struct err *err)
{
	enum rc rc = OK;

	for (const struct variable_table *const *t = language->variables; t && *t && rc == OK; t++)
		for (unsigned i = 0; i < (*t)->count && rc == OK; i++)
			rc = name_add(language, 'v', (*t)->rows[i].name, &(*t)->rows[i], err);
	return rc;
}

/* What nobody owns. */
static enum rc known_add(struct language *language, struct err *err)
{
	enum rc rc = OK;

	for (unsigned i = 0; i < expand_known_variables.count && rc == OK; i++) {
		const struct variable *row = &expand_known_variables.rows[i];

		if (!language_find(language, 'v', slice_of(row->name)))
			rc = name_add(language, 'v', row->name, row, err);
	}
	return rc;
}

/* The rows of items, operators and conditions all begin with their name. */
static_assert(offsetof(struct expand_item, name) == 0 && offsetof(struct expand_operator, name) == 0 &&
		  offsetof(struct expand_condition, name) == 0,
	      "rows_add() finds the name there");

static enum rc rows_add(struct language *language, char kind, const void *tables, struct err *err)
{
	enum rc rc = OK;

	for (const void *const *const *t = tables; t && *t && rc == OK; t++)
		for (const void *const *r = *t; *r && rc == OK; r++)
			rc = name_add(language, kind, *(const char *const *)*r, *r, err);
	return rc;
}

enum rc language_init(struct language *language, struct err *err)
{
	enum rc rc;

	arena_init(&language->arena, 0);
	map_init(&language->names, &language->arena, false);
	rc = variables_add(language, err);
	if (rc == OK)
		rc = known_add(language, err);
	if (rc == OK)
		rc = rows_add(language, 'i', language->items, err);
	if (rc == OK)
		rc = rows_add(language, 'o', language->operators, err);
	if (rc == OK)
		rc = rows_add(language, 'c', language->conditions, err);
	return rc;
}

/* ---- What files may ask for with .ifdef -------------------------------------------------------------- */

/* Names that are signs ("<=") can be no part of a macro's. */
static void macro_add(struct conf *conf, const char *family, const char *name)
{
	char text[128];
	size_t len = strlen(family), more = strlen(name);

	if (len + more >= sizeof(text))
		return;
	memcpy(text, family, len);
	for (size_t i = 0; i <= more; i++) {
		if (name[i] && !ascii_is_alnum(name[i]) && name[i] != '_')
			return;
		text[len + i] = ascii_upper(name[i]);
	}
	conf_macro(conf, text);
}

static void rows_macros(struct conf *conf, const char *family, const void *tables)
{
	for (const void *const *const *t = tables; t && *t; t++)
		for (const void *const *r = *t; *r; r++)
			macro_add(conf, family, *(const char *const *)*r);
}

void language_macros(struct conf *conf)
{
	/* What the compiler knows by itself. */
	static const char *const built_in[] = {"and",    "or",          "def",
					       "forall", "forall_json", "forall_jsons",
					       "forany", "forany_json", "forany_jsons"};
	const struct language *language = conf->language;

	if (!language)
		return;
	for (size_t i = 0; i < ARRAY_COUNT(built_in); i++)
		macro_add(conf, "_EXP_COND_", built_in[i]);
	rows_macros(conf, "_EXP_ITEM_", language->items);
	rows_macros(conf, "_EXP_OP_", language->operators);
	rows_macros(conf, "_EXP_COND_", language->conditions);
	for (const struct variable_table *const *t = language->variables; t && *t; t++)
		for (unsigned i = 0; i < (*t)->count; i++)
			macro_add(conf, "_EXP_VAR_", (*t)->rows[i].name);
}

void language_done(struct language *language)
{
	map_done(&language->names);
	arena_done(&language->arena);
}

const struct conf_feature expand_features[] = {
    {"_HAVE_CRYPTEQ", "crypteq"},
    {"_CRYPTO_HASH_SHA3", NULL},
    {NULL, NULL},
};
