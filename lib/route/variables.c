/* What the $ language can ask of routing. What stands in struct address itself ($address_data, $local_part_prefix...) is
 * lib/message's to tell. */
#include "routing.h"

static enum rc get_router_name(struct scope *sc, const struct variable *variable, struct slice *ret,
			       struct err *err)
{
	const struct router *router = sc->router ? sc->router : sc->address ? sc->address->router : NULL;

	(void)variable;
	(void)err;
	*ret = router ? router->instance.name : SLICE_EMPTY;
	return OK;
}

/* A slice of struct address, at the offset in variable->arg. */
static enum rc get_address_slice(struct scope *sc, const struct variable *variable, struct slice *ret,
				 struct err *err)
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

static const struct variable rows[] = {
    {"home", get_address_slice, offsetof(struct address, home)},
    {"router_name", get_router_name, 0},
};
const struct variable_table route_variables = {rows, ARRAY_COUNT(rows)};
