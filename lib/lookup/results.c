/* results: what lookups found, kept while one message is worked on, so that the same question is asked once: of a database
 * that answers in a millisecond it is asked for each recipient, and a statement may change something. What lies in a file
 * that this shard has in memory is not kept: asking again costs no more than finding it here.
 *
 * One entry a question, however its options are: the last ones count (as the language's users know it, "cache=no_rd" asks
 * again and keeps the new answer). A statement that changes data makes all answers of its type doubtful: they are
 * forgotten. Bounded; when it is full, all is forgotten, and asked again when it is needed. */

#include "results.h"

#include <stdlib.h>

#define RESULT_COUNT_MAX 1000
#define RESULT_BYTES_MAX (1024u * 1024)

struct result {
	const struct lookup_type *type;
	struct slice options;
	enum rc rc; /* OK or FAIL */
	struct slice value;
	struct slice ldap_dn; /* ptr NULL: the lookup set none */
};
/* On the heap: it outlives the commands of a session, and ends before the session does. */
struct lookup_results {
	struct arena arena;
	struct map map; /* by type, file and key */
	unsigned count;
};

void lookup_results_clear(struct lookup_results **results)
{
	if (!*results)
		return;
	arena_done(&(*results)->arena);
	free(*results);
	*results = NULL;
}

static struct lookup_results *results_of(struct scope *sc)
{
	struct lookup_results *results = *sc->lookup_results;

	if (results && (results->count >= RESULT_COUNT_MAX || results->arena.used >= RESULT_BYTES_MAX))
		lookup_results_clear(sc->lookup_results);
	else if (results)
		return results;
	results = calloc(1, sizeof(*results));
	if (!results)
		return NULL;
	arena_init(&results->arena, 0);
	map_init(&results->map, &results->arena, false);
	*sc->lookup_results = results;
	return results;
}

/* Options that say something about the question; "ret=key" changes what is made of the answer only. */
static struct slice options_that_count(struct arena *arena, struct slice options, bool *no_read_ret)
{
	struct str out = str_make(arena);
	struct slice option;

	*no_read_ret = false;
	if (!options.len)
		return SLICE_EMPTY;
	while (slice_split(&options, ',', &option)) {
		if (slice_eq(option, SLICE("cache=no_rd"))) {
			*no_read_ret = true;
		} else if (!slice_eq(option, SLICE("ret=key"))) {
			str_add(&out, option);
			str_addc(&out, ',');
		}
	}
	return str_slice(&out);
}

/* ptr NULL: no memory. */
static struct slice result_key(struct arena *arena, const struct lookup_type *type,
			       const struct lookup_request *request)
{
	struct str key = str_make(arena);

	str_addz(&key, type->name);
	str_addc(&key, '\0');
	str_add(&key, request->file);
	str_addc(&key, '\0');
	str_add(&key, request->key);
	return str_slice(&key);
}

/* Nothing comes of it when there is no memory: the question is asked again. */
static void result_keep(struct scope *sc, const struct lookup_type *type, struct slice key,
			struct slice options, enum rc rc, struct slice value, struct slice ldap_dn)
{
	struct lookup_results *results;
	struct result *result;

	if (key.len + options.len + value.len + ldap_dn.len > RESULT_BYTES_MAX / 4)
		return;
	results = results_of(sc);
	result = results ? map_get(&results->map, key) : NULL;
	if (!result && results) {
		result = arena_make(&results->arena, struct result);
		key = arena_copy(&results->arena, key);
		if (!result || !key.ptr || !map_set(&results->map, key, result))
			return;
		results->count++;
	}
	if (!result)
		return;
	*result = (struct result){
	    .type = type,
	    .options = arena_copy(&results->arena, options),
	    .rc = rc,
	    .value = arena_copy(&results->arena, value),
	    .ldap_dn = ldap_dn.ptr ? arena_copy(&results->arena, ldap_dn) : ldap_dn,
	};
	if (!result->options.ptr || !result->value.ptr || (ldap_dn.ptr && !result->ldap_dn.ptr))
		result->type = NULL; /* never found */
}

static void results_forget(struct scope *sc, const struct lookup_type *type)
{
	struct lookup_results *results = *sc->lookup_results;
	uint32_t at = 0;

	for (struct map_entry *e; results && (e = map_next(&results->map, &at));) {
		struct result *result = e->value;

		if (result->type == type)
			result->type = NULL;
	}
}

enum rc lookup_find_kept(struct scope *sc, const struct lookup_type *type,
			 const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct arena *arena = sc->task->arena;
	enum lookup_keep keep = LOOKUP_KEEP;
	struct lookup_request asked = *request;
	struct slice options, key, dn = sc->ldap_dn;
	const struct result *result;
	bool no_read;
	enum rc rc;

	if (!type->kept || !sc->lookup_results)
		return type->find(sc, type, request, ret, err);
	options = options_that_count(arena, request->options, &no_read);
	key = result_key(arena, type, request);
	if (!key.ptr || !options.ptr)
		return err_memory(err);
	result = *sc->lookup_results && !no_read ? map_get(&(*sc->lookup_results)->map, key) : NULL;
	if (result && result->type && slice_eq(result->options, options)) {
		DEBUG(DEBUG_LOOKUP, "cached data used for lookup of %.*s", SLICE_ARG(request->key));
		*ret = arena_copy(arena, result->value);
		if (result->ldap_dn.ptr)
			sc->ldap_dn = arena_copy(arena, result->ldap_dn);
		return ret->ptr && (!result->ldap_dn.ptr || sc->ldap_dn.ptr) ? result->rc : err_memory(err);
	}
	asked.keep = &keep;
	sc->ldap_dn = (struct slice){NULL, 0, CLEAN};
	rc = type->find(sc, type, &asked, ret, err);
	if (keep == LOOKUP_FORGET)
		results_forget(sc, type);
	if (keep == LOOKUP_KEEP && (rc == OK || rc == FAIL))
		result_keep(sc, type, key, options, rc, rc == OK ? *ret : SLICE_EMPTY, sc->ldap_dn);
	if (!sc->ldap_dn.ptr)
		sc->ldap_dn = dn;
	return rc;
}
