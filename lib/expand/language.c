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

	regex_slot_init();
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

void language_done(struct language *language)
{
	map_done(&language->names);
	arena_done(&language->arena);
}
