/* suggest: what may have been meant by a name that the language does not have. */

#include "tree.h"

#include <stdlib.h>

#define NAMES_MAX 1024

static int names_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What a name is in another place of the language; NULL: nothing there either. */
static const char *other_use(const struct language *language, char kind, struct slice name)
{
	if (kind != 'o' && language_find(language, 'o', name))
		return "is an operator: ${%.*s:...}";
	if (kind != 'i' && language_find(language, 'i', name))
		return "is an item: ${%.*s{...}...}";
	if (kind != 'c' && language_find(language, 'c', name))
		return "is a condition: ${if %.*s...";
	if (kind != 'v' && language_find(language, 'v', name))
		return "is a variable: ${%.*s}";
	return NULL;
}

static struct slice use_text(struct arena *arena, const char *use, struct slice name)
{
	struct str str = str_make(arena);
	const char *mark = strstr(use, "%.*s");

	str_printf(&str, "; \"%.*s\" ", SLICE_ARG(name));
	str_add(&str, slice_make(use, (size_t)(mark - use), CLEAN));
	str_add(&str, name);
	str_addz(&str, mark + 4);
	return str_slice(&str).ptr ? str_slice(&str) : SLICE_EMPTY;
}

struct slice name_hint(const struct language *language, struct arena *arena, char kind, struct slice name)
{
	/* What the compiler knows by itself. */
	static const char *const words[] = {"and",         "or",           "def",
					    "forany",      "forall",       "forany_json",
					    "forall_json", "forany_jsons", "forall_jsons"};
	const char **names, *nearest, *use = other_use(language, kind, name);
	struct map_entry *entry;
	struct slice hint;
	uint32_t at = 0;
	size_t count = 0;

	if (use)
		return use_text(arena, use, name);
	names = arena_array(arena, const char *, NAMES_MAX);
	if (!names)
		return SLICE_EMPTY;
	for (size_t i = 0; kind == 'c' && i < sizeof(words) / sizeof(*words); i++)
		names[count++] = words[i];
	while (count < NAMES_MAX && (entry = map_next(&language->names, &at)))
		/* All rows begin with their name. The stars of families are no names. */
		if (entry->key.ptr[0] == kind && entry->key.ptr[entry->key.len - 1] != '*')
			names[count++] = *(const char *const *)entry->value;
	qsort(names, count, sizeof(*names), names_compare);
	nearest = conf_nearest(name, names, count);
	if (!nearest)
		return SLICE_EMPTY;
	hint = arena_printf(arena, "; did you mean \"%s\"?", nearest);
	return hint.ptr ? hint : SLICE_EMPTY;
}
