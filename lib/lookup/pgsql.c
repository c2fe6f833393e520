/* pgsql: queries to PostgreSQL servers, through libpq's calls that do not wait. */

#include <libpq-fe.h>
#include <stdio.h>

#include "options.h"
#include "quote.h"
#include "sql_server.h"
#include "types.h"

static enum rc failed(const PGconn *pg, const char *what, struct err *err)
{
	struct slice why = slice_rtrim(slice_of(PQerrorMessage(pg)));

	return err_set(err, DEFER, "%s: %.*s", what, SLICE_ARG(why));
}

static void ignore_notice(void *arg, const char *text)
{
	(void)arg;
	(void)text;
}

static enum rc wait_socket(struct task *task, const PGconn *pg, unsigned events, struct err *err)
{
	unsigned ready;

	return sql_wait(task, PQsocket(pg), events, &ready, err);
}

/* The directory that a socket is in and its number, as libpq wants them: "/run/.s.PGSQL.5432". */
static bool socket_name(struct slice path, struct slice *directory, struct slice *port)
{
	static const char mark[] = "/.s.PGSQL.";
	ptrdiff_t at = slice_search(path, slice_of(mark));

	if (at < 0)
		return false;
	*directory = slice_sub(path, 0, (size_t)at);
	*port = slice_from(path, (size_t)at + strlen(mark));
	return port->len;
}

#define PARAMETER_COUNT_MAX 8
struct parameters {
	const char *names[PARAMETER_COUNT_MAX], *values[PARAMETER_COUNT_MAX];
	unsigned count;
	bool failed;
};
static void add(struct parameters *p, struct arena *arena, const char *name, struct slice value)
{
	if (!value.len)
		return;
	p->names[p->count] = name;
	p->values[p->count] = arena_cstr(arena, value);
	p->failed |= !p->values[p->count++];
}

static enum rc connect_start(struct task *task, const struct sql_server *server, PGconn **pg_ret,
			     struct err *err)
{
	struct parameters p = {.count = 0};
	struct slice directory, port;

	if (server->path.len) {
		if (!socket_name(server->path, &directory, &port))
			return err_set(err, DEFER,
				       "the name of the socket does not end in .s.PGSQL.<number>");
		add(&p, task->arena, "host", directory);
		add(&p, task->arena, "port", port);
	} else {
		add(&p, task->arena, "host", server->host);
		add(&p, task->arena, "hostaddr", server->address);
		add(&p, task->arena, "port",
		    arena_printf(task->arena, "%u", server->port ? server->port : 5432));
	}
	add(&p, task->arena, "dbname", server->database);
	add(&p, task->arena, "user", server->user);
	add(&p, task->arena, "password", server->password);
	if (p.failed)
		return err_memory(err);
	*pg_ret = PQconnectStartParams(p.names, p.values, 0);
	return *pg_ret ? OK : err_memory(err);
}

static enum rc pgsql_open(struct task *task, const struct sql_server *server, void **handle_ret,
			  struct err *err)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	PGconn *pg = NULL;
	enum rc rc = connect_start(task, server, &pg, err);

	if (rc != OK)
		return rc;
	if (PQstatus(pg) == CONNECTION_BAD)
		status = PGRES_POLLING_FAILED;
	while (rc == OK && status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
		rc = wait_socket(task, pg, status == PGRES_POLLING_READING ? WATCH_READ : WATCH_WRITE, err);
		if (rc == OK)
			status = PQconnectPoll(pg);
	}
	if (rc == OK && (status == PGRES_POLLING_FAILED || PQsetnonblocking(pg, 1)))
		rc = failed(pg, "connection failed", err);
	if (rc != OK) {
		PQfinish(pg);
		return rc;
	}
	(void)PQsetNoticeProcessor(pg, ignore_notice, NULL);
	*handle_ret = pg;
	return OK;
}

static enum rc send_query(struct task *task, PGconn *pg, const char *query, struct err *err)
{
	int left;

	if (!PQsendQuery(pg, query))
		return failed(pg, "query failed", err);
	while ((left = PQflush(pg)) > 0) {
		unsigned ready;
		enum rc rc = sql_wait(task, PQsocket(pg), WATCH_READ | WATCH_WRITE, &ready, err);

		if (rc != OK)
			return rc;
		if (ready & WATCH_READ && !PQconsumeInput(pg))
			return failed(pg, "query failed", err);
	}
	return left < 0 ? failed(pg, "query failed", err) : OK;
}

static enum rc next_result(struct task *task, PGconn *pg, PGresult **result_ret, struct err *err)
{
	while (PQisBusy(pg)) {
		enum rc rc = wait_socket(task, pg, WATCH_READ, err);

		if (rc != OK)
			return rc;
		if (!PQconsumeInput(pg))
			return failed(pg, "query failed", err);
	}
	*result_ret = PQgetResult(pg);
	return OK;
}

static void add_rows(const PGresult *result, struct sql_text *text)
{
	int fields = PQnfields(result);

	for (int row = 0; row < PQntuples(result) && text->out.len <= SQL_RESULT_SIZE_MAX; row++) {
		sql_row_begin(text);
		for (int i = 0; i < fields; i++)
			sql_field(text, (unsigned)fields, PQfname(result, i),
				  slice_make(PQgetvalue(result, row, i), (size_t)PQgetlength(result, row, i),
					     CLEAN));
	}
}

/* OK: with rows, or the number of rows that were changed; FAIL: no row. */
static enum rc take_result(PGresult *result, struct sql_text *text, struct err *err)
{
	struct slice why;

	switch (PQresultStatus(result)) {
	case PGRES_EMPTY_QUERY:
	case PGRES_COMMAND_OK: /* CREATE and its kind change no rows */
		text->changed = true;
		str_addz(&text->out, PQcmdTuples(result));
		return text->out.len ? OK : FAIL;
	case PGRES_TUPLES_OK:
		add_rows(result, text);
		return text->rows ? OK : FAIL;
	default:
		why = slice_rtrim(slice_of(PQresultErrorMessage(result)));
		return err_set(err, DEFER, "query failed: %.*s", SLICE_ARG(why));
	}
}

static enum rc pgsql_query(struct task *task, void *handle, const void *query, struct sql_text *text,
			   bool *broken_ret, struct err *err)
{
	enum rc rc, answer = FAIL;
	PGconn *pg = handle;
	PGresult *result = NULL;

	rc = send_query(task, pg, query, err);
	while (rc == OK) {
		rc = next_result(task, pg, &result, err);
		if (rc != OK || !result)
			break;
		/* Of several statements the last one's answer counts, as long as all are well. */
		if (answer != DEFER) {
			text->out = str_make(task->arena);
			text->rows = 0;
			answer = take_result(result, text, err);
		}
		if (PQresultStatus(result) == PGRES_COPY_IN || PQresultStatus(result) == PGRES_COPY_OUT)
			rc = err_set(err, DEFER, "COPY cannot be looked up");
		PQclear(result);
	}
	*broken_ret = rc != OK || PQstatus(pg) != CONNECTION_OK;
	if (rc == OK && text->out.len > SQL_RESULT_SIZE_MAX)
		return err_set(err, DEFER, "the result is too large");
	return rc == OK ? answer : rc;
}

static void pgsql_close(void *handle)
{
	PQfinish(handle);
}

static const struct sql_driver driver = {
    .name = "PGSQL", .open = pgsql_open, .query = pgsql_query, .close = pgsql_close};

static enum rc pgsql_find(struct scope *sc, const struct lookup_type *type,
			  const struct lookup_request *request, struct slice *ret, struct err *err)
{
	const struct lookup_options *o = sc->conf ? conf_group(sc->conf, CONF_LOOKUP) : NULL;

	(void)type;
	return sql_find(sc, &driver, o ? o->pgsql_servers : SLICE_EMPTY, request, ret, err);
}

const struct lookup_type lookup_pgsql = {
    .name = "pgsql", .query = true, .kept = true, .find = pgsql_find, .quote = quote_pgsql};
