/* servers: which servers a query goes to. */

#include "servers.h"

#include "types.h"

#define SERVER_COUNT_MAX 64

enum rc servers_choose(struct servers *servers, const struct lookup_request *request, struct slice *query_ret,
		       struct err *err)
{
	struct slice own = lookup_option(request->options, SLICE("servers")),
		     query = slice_ltrim(request->key);
	ptrdiff_t semicolon;

	*query_ret = query;
	if (own.ptr) {
		servers->rest = own;
	} else if (slice_starts(query, SLICE("servers"))) {
		semicolon = slice_find(query, ';');
		own = slice_ltrim(slice_from(query, strlen("servers")));
		if (semicolon < 0 || !own.len || own.ptr[0] != '=')
			return err_set(err, DEFER, "%s: missing = or ; after \"servers\" in the query",
				       servers->name);
		servers->rest = slice_trim(slice_sub(own, 1, (size_t)(query.ptr + semicolon - own.ptr) - 1));
		*query_ret = slice_from(query, (size_t)semicolon + 1);
	} else {
		servers->rest = servers->configured;
	}
	if (!slice_trim(servers->rest).len)
		return err_set(err, DEFER, "%s: no servers are defined", servers->name);
	if (servers->rest.taint == TAINTED)
		return err_set(err, DEFER, "%s: tainted server specification \"%.*s\" not permitted",
			       servers->name, SLICE_ARG(servers->rest));
	return OK;
}

static enum rc complete(struct scope *sc, const struct servers *servers, struct slice name,
			struct slice *item_ret, struct err *err)
{
	struct slice rest = servers->configured, item;
	char separator = 0;

	while (list_next(sc->task->arena, &rest, &separator, &item)) {
		if (!item.ptr)
			return err_memory(err);
		if (slice_starts(item, name) && item.len > name.len &&
		    (item.ptr[name.len] == '/' || item.ptr[name.len] == ':')) {
			*item_ret = item;
			return OK;
		}
	}
	return err_set(err, DEFER, "%s: server \"%.*s\" is neither %s nor one of the configuration",
		       servers->name, SLICE_ARG(name), servers->form);
}

enum rc servers_next(struct scope *sc, struct servers *servers, struct slice *item_ret, struct err *err)
{
	struct slice item;

	if (servers->count++ == SERVER_COUNT_MAX ||
	    !list_next(sc->task->arena, &servers->rest, &servers->separator, &item))
		return FAIL;
	if (!item.ptr)
		return err_memory(err);
	*item_ret = item;
	return slice_find(item, '/') >= 0 ? OK : complete(sc, servers, item, item_ret, err);
}
