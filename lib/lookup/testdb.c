/* testdb: a database for trying configurations out: "fail" is not in it, "defer" cannot be asked, "nocache" and all
 * else is its own data. */

#include "types.h"

static enum rc testdb_find(struct scope *sc, const struct lookup_type *type,
			   const struct lookup_request *request, struct slice *ret, struct err *err)
{
	(void)type;
	if (slice_eq(request->key, SLICE("fail")))
		return FAIL;
	if (slice_eq(request->key, SLICE("defer")))
		return err_set(err, DEFER, "testdb lookup forced DEFER");
	*ret = arena_copy(sc->task->arena, request->key);
	return ret->ptr ? OK : err_memory(err);
}

const struct lookup_type lookup_testdb = {
    .name = "testdb", .query = true, .echoes = true, .find = testdb_find};
