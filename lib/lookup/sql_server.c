/* sql_server: queries to SQL servers, over connections that the shard keeps, each used by one query at a time. */

#include "sql_server.h"

#include <stdlib.h>

#define IDLE_NS              (60 * NS_PER_S)
#define CONNECTION_COUNT_MAX 32 /* of a shard, busy and idle; who comes then waits for one */

struct connection {
	struct link link; /* of the idle ones, the last used first */
	const struct sql_driver *driver;
	char *key; /* the server's text */
	void *handle;
	uint64_t idle_until; /* shard_now() */
};
struct connections {
	struct link idle;
	unsigned count; /* busy and idle */
	struct waitq room;
};

static struct shard_slot connections_slot;

/* ---- Connections ----------------------------------------------------------------------------- */

static struct connections *connections_of(struct shard *shard)
{
	struct connections *all = shard_slot(shard, &connections_slot);

	if (all)
		return all;
	all = calloc(1, sizeof(*all));
	if (!all)
		return NULL;
	list_init(&all->idle);
	waitq_init(&all->room);
	shard_slot_set(shard, &connections_slot, all);
	return all;
}

static void connection_close(struct connections *all, struct connection *c)
{
	if (c->handle)
		c->driver->close(c->handle);
	free(c->key);
	free(c);
	all->count--;
	(void)waitq_wake_one(&all->room);
}

static void close_stale(struct shard *shard, struct connections *all)
{
	while (!list_empty(&all->idle)) {
		struct connection *c = LIST_ITEM(all->idle.prev, struct connection, link);

		if (c->idle_until > shard_now(shard))
			return;
		list_remove(&c->link);
		connection_close(all, c);
	}
}

static struct connection *idle_take(struct connections *all, const struct sql_driver *driver,
				    struct slice key)
{
	LIST_EACH (l, &all->idle) {
		struct connection *c = LIST_ITEM(l, struct connection, link);

		if (c->driver == driver && slice_eq(key, slice_of(c->key))) {
			list_remove(l);
			return c;
		}
	}
	return NULL;
}

/* A place for one more, if need be that of a connection to another server. */
static enum rc make_room(struct task *task, struct connections *all, struct err *err)
{
	while (all->count >= CONNECTION_COUNT_MAX) {
		enum rc rc;

		if (!list_empty(&all->idle)) {
			struct connection *c = LIST_ITEM(all->idle.prev, struct connection, link);

			list_remove(&c->link);
			connection_close(all, c);
			continue;
		}
		rc = waitq_wait(task, &all->room);
		if (rc == DEFER)
			return err_set(err, DEFER, "all connections are in use");
		if (rc != OK)
			return rc;
	}
	return OK;
}

static enum rc connection_open(struct task *task, struct connections *all, const struct sql_driver *driver,
			       struct slice key, struct sql_server *server, struct connection **ret,
			       struct err *err)
{
	struct connection *c;
	enum rc rc;

	rc = make_room(task, all, err);
	if (rc != OK)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_memory(err);
	all->count++;
	c->driver = driver;
	c->key = strndup(key.ptr, key.len);
	rc = c->key ? driver->open(task, server, &c->handle, err) : err_memory(err);
	if (rc != OK) {
		connection_close(all, c);
		return rc;
	}
	*ret = c;
	return OK;
}

static void connection_put(struct shard *shard, struct connections *all, struct connection *c)
{
	c->idle_until = shard_now(shard) + IDLE_NS;
	list_prepend(&all->idle, &c->link);
	(void)waitq_wake_one(&all->room);
}

void sql_done(struct shard *shard)
{
	struct connections *all = shard_slot(shard, &connections_slot);

	if (!all)
		return;
	while (!list_empty(&all->idle))
		connection_close(all, LIST_ITEM(list_shift(&all->idle), struct connection, link));
	free(all);
	shard_slot_set(shard, &connections_slot, NULL);
}

/* ---- Servers --------------------------------------------------------------------------------- */

static bool take_bracketed(struct slice *rest, char open, char close, struct slice *ret)
{
	ptrdiff_t begin = slice_find(*rest, open), end = slice_find(*rest, close);

	if (begin < 0)
		return true;
	if (end < begin)
		return false;
	*ret = slice_sub(*rest, (size_t)begin + 1, (size_t)(end - begin) - 1);
	*rest = slice_sub(*rest, 0, (size_t)begin);
	return true;
}

/* "host", "host:port", "host:port(/socket)[group]", "(/socket)": of the last two a slash does not end the part. */
static bool parse_host(struct slice text, struct sql_server *server)
{
	ptrdiff_t colon;
	int64_t port;

	if (!take_bracketed(&text, '[', ']', &server->group) ||
	    !take_bracketed(&text, '(', ')', &server->path))
		return false;
	colon = slice_rfind(text, ':');
	server->host = text;
	if (colon < 0 || slice_find(text, ':') != colon)
		return true; /* an IPv6 address has several */
	if (!conf_parse_int(slice_from(text, (size_t)colon + 1), &port) || port < 1 || port > UINT16_MAX)
		return false;
	server->host = slice_sub(text, 0, (size_t)colon);
	server->port = (uint16_t)port;
	return true;
}

static bool parse_server(struct slice text, struct sql_server *server)
{
	ptrdiff_t end = slice_find(text, ')');
	struct slice rest = slice_from(text, end < 0 ? 0 : (size_t)end), host;
	ptrdiff_t slash = slice_find(rest, '/');

	*server = (struct sql_server){.host = SLICE_EMPTY,
				      .path = SLICE_EMPTY,
				      .group = SLICE_EMPTY,
				      .database = SLICE_EMPTY,
				      .user = SLICE_EMPTY,
				      .password = SLICE_EMPTY,
				      .address = SLICE_EMPTY};
	if (slash < 0)
		return false;
	host = slice_sub(text, 0, (size_t)(rest.ptr + slash - text.ptr));
	rest = slice_from(rest, (size_t)slash + 1);
	if (!parse_host(host, server) || !slice_split(&rest, '/', &server->database) || !rest.ptr ||
	    !slice_split(&rest, '/', &server->user) || !rest.ptr)
		return false;
	server->password = rest; /* it may hold a slash */
	return true;
}

/* Libraries resolve names by waiting. */
enum rc sql_find_address(struct task *task, struct sql_server *server, struct err *err)
{
	struct dns_answer answer = {.count = 0};
	struct ip_addr ip;
	struct str text;
	enum rc rc;

	if (!server->host.len || server->path.len)
		return OK;
	server->address = server->host;
	if (ip_parse(server->host, &ip))
		return OK;
	rc = dns_hosts_file(task, server->host, &answer, err);
	if (rc == FAIL || (rc == OK && !answer.count))
		return err_set(err, DEFER, "no such host");
	if (rc != OK)
		return rc;
	text = str_make(task->arena);
	str_add_ip(&text, &answer.records[0].ip);
	server->address = str_slice(&text);
	return server->address.ptr ? OK : err_memory(err);
}

/* ---- Queries --------------------------------------------------------------------------------- */

enum rc sql_ask(struct task *task, const struct sql_driver *driver, struct slice key,
		struct sql_server *server, const void *query, struct sql_text *text, bool *next_ret,
		bool *used_ret, struct err *err)
{
	struct connections *all = connections_of(task->shard);
	uint64_t saved = task->until;
	struct connection *c;
	bool broken = false;
	enum rc rc = OK;

	*next_ret = *used_ret = false;
	if (!all)
		return err_memory(err);
	close_stale(task->shard, all);
	c = idle_take(all, driver, key);
	*used_ret = c;
	if (!c) {
		task->until = task_until(task, SQL_CONNECT_TIMEOUT_MS);
		rc = sql_find_address(task, server, err);
		if (rc == OK)
			rc = connection_open(task, all, driver, key, server, &c, err);
		task->until = saved;
		*next_ret = rc == DEFER;
		if (rc != OK)
			return rc;
	}
	task->until = task_until(task, SQL_QUERY_TIMEOUT_MS);
	rc = driver->query(task, c->handle, query, text, &broken, err);
	task->until = saved;
	if (broken || rc == CANCELLED) {
		connection_close(all, c);
		*next_ret = rc == DEFER;
	} else {
		connection_put(task->shard, all, c);
	}
	return rc;
}

enum rc sql_find(struct scope *sc, const struct sql_driver *driver, struct slice configured,
		 const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct servers servers = {
	    .name = driver->name, .form = "host/database/user/password", .configured = configured};
	struct slice query, item;
	const char *text;
	enum rc rc;

	rc = servers_choose(&servers, request, &query, err);
	if (rc != OK)
		return rc;
	text = arena_cstr(sc->task->arena, query);
	if (!text)
		return err_memory(err);
	if (slice_find(query, '\0') >= 0)
		return err_set(err, DEFER, "%s: a NUL in the query", driver->name);
	while ((rc = servers_next(sc, &servers, &item, err)) == OK) {
		struct sql_text rows = {.out = str_make(sc->task->arena)};
		struct sql_server server;
		bool next, used;

		if (!parse_server(item, &server))
			return err_set(err, DEFER, "%s: item %u of the servers is not %s", driver->name,
				       servers.count, servers.form);
		rc = sql_ask(sc->task, driver, item, &server, text, &rows, &next, &used, err);
		if (rows.changed && request->keep)
			*request->keep = LOOKUP_FORGET;
		if (rc == OK) {
			*ret = str_slice(&rows.out);
			return ret->ptr ? OK : err_memory(err);
		}
		if (rc == DEFER) {
			item = server.path.len ? server.path : server.host;
			err_prefix(err, "%s: %.*s", driver->name, SLICE_ARG(item));
		}
		if (!next)
			return rc;
	}
	return rc == FAIL ? DEFER : rc; /* after the last server: err has what it said */
}

/* ---- Waiting --------------------------------------------------------------------------------- */

struct readiness {
	struct waitq ready;
	unsigned events;
};

static void on_ready(void *arg, int fd, unsigned events)
{
	struct readiness *r = arg;

	(void)fd;
	r->events |= events;
	waitq_wake_all(&r->ready);
}

enum rc sql_wait(struct task *task, int fd, unsigned events, unsigned *events_ret, struct err *err)
{
	struct readiness r = {.events = 0};
	struct watch *watch;
	enum rc rc;

	waitq_init(&r.ready);
	if (watch_new(task->shard, fd, on_ready, &r, &watch) != OK)
		return err_memory(err);
	watch_set(watch, events);
	do
		rc = waitq_wait(task, &r.ready);
	while (rc == OK && !r.events);
	watch_close(watch);
	*events_ret = r.events;
	return rc == DEFER ? err_set(err, DEFER, "no answer in time") : rc;
}
