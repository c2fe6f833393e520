/* address: what items of address lists mean beyond literals (specification, chapter 10, section 20). */

#include "list.h"

#define CHAIN_MAX 50 /* ">key" links of one "@@" lookup */

static enum rc domain_match(struct matching *m, const struct compiled *list, struct slice *value_ret)
{
	struct matching inner = *m;
	enum rc rc;

	inner.kind = LIST_DOMAIN;
	inner.subject = inner.subject_lower = m->domain;
	inner.caseful = m->item;
	inner.option = NULL;
	inner.in_address = !m->item;
	rc = list_match(&inner, list);
	*value_ret = inner.value;
	return rc;
}

enum rc address_entry_match(struct matching *m, const struct entry *entry)
{
	struct slice pattern = entry->address.local, value;
	bool same;
	enum rc rc;

	if (!m->subject.len)
		return FAIL;
	if (entry->address.star)
		same = m->caseful ? slice_ends(m->local, pattern) : slice_ends_nocase(m->local, pattern);
	else
		same = m->caseful ? slice_eq(m->local, pattern) : slice_eq_nocase(m->local, pattern);
	if (!same)
		return FAIL;
	if (m->item)
		numbers_begin(m);
	if (m->item && entry->address.star && !entry->address.bare)
		number_add(m, slice_sub(m->local, 0, m->local.len - pattern.len));
	rc = domain_match(m, entry->address.domain, &value);
	if (rc != OK)
		return rc;
	m->value = arena_printf(m->sc->task->arena, "%s%.*s@%.*s",
				entry->address.star && !entry->address.bare ? "*" : "", SLICE_ARG(pattern),
				SLICE_ARG(value.ptr ? value : SLICE_EMPTY));
	m->value.taint = entry->text.taint;
	return m->value.ptr ? OK : err_memory(m->err);
}

/* The local part against the list that was found; "> key" at its end asks again. *next_ret: the key, ptr
 * NULL: none. */
static enum rc local_parts_match(struct matching *m, struct slice list, struct slice *next_ret)
{
	ptrdiff_t last = slice_rfind(list, ':');
	struct slice end = slice_trim(slice_from(list, last < 0 ? 0 : (size_t)last + 1));
	struct matching inner = *m;
	struct cached_list *cached;
	bool decided = false;
	enum rc rc;

	*next_ret = (struct slice){NULL, 0, CLEAN};
	if (end.len && end.ptr[0] == '>') {
		*next_ret = slice_ltrim(slice_from(end, 1));
		list = slice_sub(list, 0, last < 0 ? 0 : (size_t)last);
	}
	inner.kind = LIST_LOCAL_PART;
	inner.tale = NULL; /* its items are not those that are told now */
	inner.in_address = !m->item;
	inner.subject = m->local;
	inner.subject_lower = slice_sub(m->subject_lower, 0, m->local.len);
	rc = list_cache_get(m->sc->task->shard, LIST_LOCAL_PART, list, &cached, m->err);
	if (rc != OK)
		return rc;
	rc = list_decide(&inner, cached->compiled, &decided);
	m->value = inner.value;
	if (rc == OK && inner.value.ptr) {
		m->value =
		    arena_copy(m->sc->task->arena, inner.value); /* it may be text of the cached list */
		if (!m->value.ptr)
			rc = err_memory(m->err);
	}
	list_cache_put(cached);
	if (decided)
		next_ret->ptr = NULL;
	return rc;
}

enum rc at_lookup_match(struct matching *m, const struct entry *entry)
{
	const struct lookup_spec *spec = &entry->lookup.spec;
	struct slice key = m->domain, list, next = {NULL, 0, CLEAN};
	enum rc rc;

	if (!m->subject.len)
		return FAIL;
	for (unsigned i = 0; i < CHAIN_MAX; i++) {
		rc = lookup_find(m->sc, spec, spec->type->query ? SLICE_EMPTY : entry->lookup.rest,
				 spec->type->query ? entry->lookup.rest : key, &list, NULL, NULL, m->err);
		if (rc == OK)
			rc = local_parts_match(m, list, &next);
		if (rc != FAIL || !next.ptr || spec->type->query)
			return rc;
		key = next;
	}
	return err_set(m->err, DEFER, "loop in \"%.*s\"", SLICE_ARG(entry->text));
}
