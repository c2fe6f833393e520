/* redis: one command to a Redis server, its reply as text. */

#include "redis/redis.h"

#include "options.h"
#include "quote.h"
#include "servers.h"
#include "types.h"

#define WORD_COUNT_MAX 32

/* ---- The command ----------------------------------------------------------------------------- */

/* Words, divided by white space; a backslash takes the next byte as it is. */
static enum rc parse_command(struct scope *sc, struct slice query, struct slice *words, uint32_t *count_ret,
			     struct err *err)
{
	struct slice rest = slice_ltrim(query);
	uint32_t count = 0;

	while (rest.len) {
		struct str word = str_make(sc->task->arena);
		uint32_t at = 0;

		if (count == WORD_COUNT_MAX)
			return err_set(err, DEFER, "REDIS: more than %d words in the command",
				       WORD_COUNT_MAX);
		for (; at < rest.len && !ascii_is_space(rest.ptr[at]); at++) {
			if (rest.ptr[at] == '\\' && at + 1 < rest.len)
				at++;
			str_addc(&word, rest.ptr[at]);
		}
		words[count] = str_slice(&word);
		if (!words[count++].ptr)
			return err_memory(err);
		rest = slice_ltrim(slice_from(rest, at));
	}
	*count_ret = count;
	return OK;
}

/* ---- The reply ------------------------------------------------------------------------------- */

/* A text ends at a NUL, as strings of the language do. */
static void add_text(struct str *out, struct slice text)
{
	ptrdiff_t nul = slice_find(text, '\0');

	str_add(out, nul < 0 ? text : slice_sub(text, 0, (size_t)nul));
}

/* The items and those of arrays among them; what lies deeper, nil and errors are left out. */
static unsigned add_items(struct str *out, const struct redis_reply *array, bool deeper, unsigned added)
{
	for (uint32_t i = 0; i < array->count; i++) {
		const struct redis_reply *item = &array->items[i];

		if (item->kind == REDIS_ARRAY && deeper) {
			added = add_items(out, item, false, added);
			continue;
		}
		if (item->kind != REDIS_STRING && item->kind != REDIS_STATUS && item->kind != REDIS_INTEGER)
			continue;
		if (added++)
			str_addc(out, '\n');
		if (item->kind == REDIS_INTEGER)
			str_printf(out, "%lld", (long long)item->integer);
		else
			add_text(out, item->text);
	}
	return added;
}

static enum rc reply_text(struct scope *sc, const struct redis_reply *reply, struct slice *ret,
			  struct err *err)
{
	struct str out = str_make(sc->task->arena);

	switch (reply->kind) {
	case REDIS_ERROR:
		return err_set(err, DEFER, "REDIS: query failed: %.*s", SLICE_ARG(reply->text));
	case REDIS_NIL:
		break;
	case REDIS_INTEGER:
		str_addz(&out, reply->integer ? "true" : "false");
		break;
	case REDIS_STRING:
	case REDIS_STATUS:
		add_text(&out, reply->text);
		break;
	case REDIS_ARRAY:
		if (!add_items(&out, reply, true, 0))
			return FAIL;
		break;
	}
	*ret = str_slice(&out);
	return ret->ptr ? OK : err_memory(err);
}

/* What is not there now may be there the next time. */
static enum rc reply_found(struct scope *sc, const struct lookup_request *request,
			   const struct redis_reply *reply, struct slice *ret, struct err *err)
{
	if (reply->kind == REDIS_NIL && request->keep)
		*request->keep = LOOKUP_KEEP_NOT;
	return reply_text(sc, reply, ret, err);
}

/* ---- The lookup ------------------------------------------------------------------------------ */

/* The server without its password, for people. */
static struct slice shown(struct scope *sc, const struct redis_server *server)
{
	if (!server->host.len)
		return server->path;
	return arena_printf(sc->task->arena, "%.*s:%u", SLICE_ARG(server->host),
			    server->port ? server->port : 6379);
}

static enum rc redis_find(struct scope *sc, const struct lookup_type *type,
			  const struct lookup_request *request, struct slice *ret, struct err *err)
{
	const struct lookup_options *o = sc->conf ? conf_group(sc->conf, CONF_LOOKUP) : NULL;
	struct servers servers = {.name = "REDIS",
				  .form = "host/database/password",
				  .configured = o ? o->redis_servers : SLICE_EMPTY};
	struct slice query, item, words[WORD_COUNT_MAX];
	uint32_t count = 0;
	enum rc rc;

	(void)type;
	rc = servers_choose(&servers, request, &query, err);
	if (rc == OK)
		rc = parse_command(sc, query, words, &count, err);
	if (rc != OK)
		return rc;
	while ((rc = servers_next(sc, &servers, &item, err)) == OK) {
		struct redis_server server;
		struct redis_reply reply;

		/* The text may hold a password, so it is not shown. */
		if (!redis_server_parse(item, &server))
			return err_set(err, DEFER, "REDIS: item %u of the servers is not %s", servers.count,
				       servers.form);
		rc = redis_call(sc->task, &server, words, count, &reply, err);
		if (rc == OK)
			return reply_found(sc, request, &reply, ret, err);
		if (rc == CANCELLED)
			return rc;
		if (rc == FAIL) { /* the command itself; a definite no would mean that the key is not there */
			err_prefix(err, "REDIS");
			return DEFER;
		}
		item = shown(sc, &server);
		err_prefix(err, "REDIS: %.*s", SLICE_ARG(item));
	}
	return rc == FAIL ? DEFER : rc; /* after the last server: err has what it said */
}

const struct lookup_type lookup_redis = {
    .name = "redis", .query = true, .kept = true, .find = redis_find, .quote = quote_redis};
