/* What the $ language can ask of filters. */
#include "filter/filter.h"

static enum rc give(struct scope *sc, int32_t number, struct slice *ret, struct err *err)
{
	*ret = arena_printf(sc->task->arena, "%d", number);
	return ret->ptr ? OK : err_memory(err);
}

static enum rc get_user(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	return give(sc, sc->filter_n[variable->arg], ret, err);
}

/* What the system filter left behind. */
static enum rc get_system(struct scope *sc, const struct variable *variable, struct slice *ret,
			  struct err *err)
{
	return give(sc, sc->message ? sc->message->filter_sn[variable->arg] : 0, ret, err);
}

static enum rc get_this_address(struct scope *sc, const struct variable *variable, struct slice *ret,
				struct err *err)
{
	(void)variable;
	(void)err;
	*ret = sc->this_address.ptr ? sc->this_address : SLICE_EMPTY;
	return OK;
}

static const struct variable rows[] = {
    {"n0", get_user, 0},    {"n1", get_user, 1},    {"n2", get_user, 2},
    {"n3", get_user, 3},    {"n4", get_user, 4},    {"n5", get_user, 5},
    {"n6", get_user, 6},    {"n7", get_user, 7},    {"n8", get_user, 8},
    {"n9", get_user, 9},    {"sn0", get_system, 0}, {"sn1", get_system, 1},
    {"sn2", get_system, 2}, {"sn3", get_system, 3}, {"sn4", get_system, 4},
    {"sn5", get_system, 5}, {"sn6", get_system, 6}, {"sn7", get_system, 7},
    {"sn8", get_system, 8}, {"sn9", get_system, 9}, {"thisaddress", get_this_address, 0},
};
const struct variable_table filter_variables = {rows, ARRAY_COUNT(rows)};
