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

/* (uid_t)-1 and (gid_t)-1 where check_local_user has found nobody. */
static enum rc get_local_user(struct scope *sc, const struct variable *variable, struct slice *ret,
			      struct err *err)
{
	struct str text = str_make(sc->task->arena);

	str_addu(&text, !sc->local_user ? UINT32_MAX : variable->arg ? sc->local_gid : sc->local_uid);
	*ret = str_slice(&text);
	return ret->ptr ? OK : err_memory(err);
}

static const struct variable rows[] = {
    {"home", get_address_slice, offsetof(struct address, home)},
    {"local_user_gid", get_local_user, 1},
    {"local_user_uid", get_local_user, 0},
    {"router_name", get_router_name, 0},
};
const struct variable_table route_variables = {rows, ARRAY_COUNT(rows)};
