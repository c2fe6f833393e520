/* What the $ language can ask of routing. */
#include "routing.h"

static enum rc get_router_name(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	const struct router *router = sc->router ? sc->router : sc->address ? sc->address->router : NULL;

	(void)variable;
	(void)err;
	*ret = router ? router->instance.name : SLICE_EMPTY;
	return OK;
}

/* A slice of struct address, at the offset in variable->arg. */
static enum rc get_address_slice(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	(void)err;
	*ret = SLICE_EMPTY;
	if (sc->address) {
		memcpy(ret, (const char *)sc->address + variable->arg, sizeof(*ret));
		if (!ret->ptr)
			*ret = SLICE_EMPTY;
	}
	return OK;
}

/* $r_name: the latest of that name is in front. */
static enum rc get_router_variable(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	struct slice *value = NULL;

	(void)err;
	if (sc->address)
		value = acl_variable_get(sc->address->router_variables, slice_of(variable->name + 2));
	*ret = value ? *value : SLICE_EMPTY;
	return OK;
}

/* The redirecting parents: $parent_local_part, $original_domain and their kin. */
static enum rc get_ancestor(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	const struct address *address = sc->address;
	bool original = variable->name[0] == 'o';

	(void)err;
	*ret = SLICE_EMPTY;
	if (!address || (!original && !address->parent))
		return OK;
	address = original ? address : address->parent;
	while (original && address->parent)
		address = address->parent;
	memcpy(ret, (const char *)address + variable->arg, sizeof(*ret));
	return OK;
}

#define ADDRESS(field) offsetof(struct address, field)
static const struct variable rows[] = {
	{"address_data", get_address_slice, ADDRESS(address_data)},
	{"address_file", get_address_slice, ADDRESS(file)},
	{"address_pipe", get_address_slice, ADDRESS(pipe)},
	{"home", get_address_slice, ADDRESS(home)},
	{"local_part_prefix", get_address_slice, ADDRESS(prefix)},
	{"local_part_prefix_v", get_address_slice, ADDRESS(prefix_v)},
	{"local_part_suffix", get_address_slice, ADDRESS(suffix)},
	{"local_part_suffix_v", get_address_slice, ADDRESS(suffix_v)},
	{"original_domain", get_ancestor, ADDRESS(domain)},
	{"original_local_part", get_ancestor, ADDRESS(local_part)},
	{"parent_domain", get_ancestor, ADDRESS(domain)},
	{"parent_local_part", get_ancestor, ADDRESS(local_part)},
	{"r_*", get_router_variable, 0},
	{"router_name", get_router_name, 0},
	{"self_hostname", get_address_slice, ADDRESS(self_hostname)},
};
const struct variable_table route_variables = {rows, ARRAY_COUNT(rows)};
