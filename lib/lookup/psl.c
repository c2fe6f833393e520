/* psl: the Public Suffix List as a file: what of a domain is everybody's (psl), and what somebody has registered
 * (regdom). libpsl reads the list. */

#include <libpsl.h>
#include <stdio.h>
#include <stdlib.h>

#include "types.h"

/* Measured with the list of 2023, which has 10,000 rules: of its text, thrice. */
#define COST_FACTOR 3

static enum rc list_build(struct slice bytes, void **built_ret, size_t *cost_ret)
{
	psl_ctx_t *psl = NULL;
	FILE *f;

	if (!bytes.len)
		return FAIL;
	f = fmemopen((void *)(uintptr_t)bytes.ptr, bytes.len, "r");
	if (!f)
		return DEFER;
	psl = psl_load_fp(f);
	(void)fclose(f); /* it was only read */
	if (!psl)
		return DEFER;
	if (psl_suffix_count(psl) <= 0) {
		psl_free(psl);
		return FAIL;
	}
	*built_ret = psl;
	*cost_ret = (size_t)bytes.len * COST_FACTOR;
	return OK;
}

static void list_free(void *built)
{
	psl_free(built);
}

static const struct text_file_kind psl_file = {"public suffix list", list_build, list_free};

/* The key as libpsl wants it: lower case, no dot at the end. NULL: no memory. */
static char *domain_of(struct arena *arena, struct slice key)
{
	char *domain;

	while (key.len && key.ptr[key.len - 1] == '.')
		key.len--;
	domain = arena_cstr(arena, key);
	for (char *c = domain; c && *c; c++)
		*c = ascii_lower(*c);
	return domain;
}

static enum rc psl_find(struct scope *sc, const struct lookup_type *type,
			const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct text_file *file;
	const char *found;
	char *domain;
	enum rc rc;

	rc = text_file_get(sc->task, request->file, &psl_file, &file, err);
	if (rc != OK)
		return rc;
	domain = domain_of(sc->task->arena, request->key);
	if (!domain) {
		rc = err_memory(err);
	} else if (slice_find(request->key, '\0') >= 0 || !*domain) {
		rc = FAIL;
	} else {
		found = type == &lookup_psl ? psl_unregistrable_domain(file->built, domain)
					    : psl_registrable_domain(file->built, domain);
		rc = found ? OK : FAIL;
		if (found)
			*ret = slice_of(found); /* the end of our own copy of the key */
	}
	text_file_put(sc->task->shard, file);
	return rc;
}

const struct lookup_type lookup_psl = {.name = "psl", .echoes = true, .find = psl_find};
const struct lookup_type lookup_regdom = {.name = "regdom", .echoes = true, .find = psl_find};
