/* mysql: queries to MySQL and MariaDB servers, through the calls of MariaDB's library that do not wait. */

/* The library's header takes names of ours. */
#define list_add mysql_list_add
#include <mysql.h>
#undef list_add
#include <pthread.h>

#include "options.h"
#include "quote.h"
#include "sql_server.h"
#include "types.h"

#define OPTION_GROUP "exim"

static enum rc failed(MYSQL *my, const char *what, struct err *err)
{
	return err_set(err, DEFER, "%s: %s", what, mysql_error(my));
}

/* Until what the library waits for is there; what happened is *status. A time limit of the library's own is told as the
 * deadline of the task, since both are about as long. */
static enum rc wait_for(struct task *task, MYSQL *my, int *status, struct err *err)
{
	unsigned wanted = 0, ready = 0;
	enum rc rc;

	wanted |= *status & (MYSQL_WAIT_READ | MYSQL_WAIT_EXCEPT) ? WATCH_READ : 0u;
	wanted |= *status & MYSQL_WAIT_WRITE ? WATCH_WRITE : 0u;
	rc = sql_wait(task, mysql_get_socket(my), wanted, &ready, err);
	*status = (ready & WATCH_READ ? MYSQL_WAIT_READ : 0) | (ready & WATCH_WRITE ? MYSQL_WAIT_WRITE : 0);
	return rc;
}

static enum rc connect_to(struct task *task, MYSQL *my, const struct sql_server *server, struct err *err)
{
	struct arena *arena = task->arena;
	bool local = server->path.len || !server->host.len || slice_eq(server->host, SLICE("localhost"));
	const char *host = local ? NULL : arena_cstr(arena, server->address);
	const char *path = server->path.len ? arena_cstr(arena, server->path) : NULL;
	const char *database = server->database.len ? arena_cstr(arena, server->database) : NULL;
	const char *user = arena_cstr(arena, server->user), *password = arena_cstr(arena, server->password);
	MYSQL *connected = NULL;
	enum rc rc = OK;
	int status;

	if ((!local && !host) || !user || !password)
		return err_memory(err);
	status = mysql_real_connect_start(&connected, my, host, user, password, database, server->port, path,
					  CLIENT_MULTI_RESULTS);
	while (status && rc == OK) {
		rc = wait_for(task, my, &status, err);
		if (rc == OK)
			status = mysql_real_connect_cont(&connected, my, status);
	}
	if (rc == OK && !connected)
		rc = failed(my, "connection failed", err);
	return rc;
}

/* Once, whichever shard comes first. */
static void library_init(void)
{
	(void)mysql_library_init(0, NULL, NULL);
}

/* Says goodbye if that can be done at once. */
static void close_now(void *handle)
{
	MYSQL *my = handle;

	if (!my)
		return;
	for (int status = mysql_close_start(my); status;)
		status = mysql_close_cont(my, MYSQL_WAIT_TIMEOUT);
}

static enum rc mysql_open(struct task *task, const struct sql_server *server, void **handle_ret,
			  struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const char *group = server->group.len ? arena_cstr(task->arena, server->group) : OPTION_GROUP;
	MYSQL *my;
	enum rc rc;

	(void)pthread_once(&once, library_init);
	my = mysql_init(NULL);
	if (!my || !group) {
		close_now(my);
		return err_memory(err);
	}
	(void)mysql_options(my, MYSQL_READ_DEFAULT_GROUP, group);
	(void)mysql_options(my, MYSQL_OPT_NONBLOCK, NULL);
	rc = connect_to(task, my, server, err);
	if (rc != OK) {
		close_now(my);
		return rc;
	}
	*handle_ret = my;
	return OK;
}

/* A field without a value is empty; as the only field of the first row it is no row. */
static void add_row(struct sql_text *text, const MYSQL_FIELD *fields, unsigned count, char *const *row,
		    const unsigned long *lengths)
{
	if (count == 1 && !row[0] && !text->rows)
		return;
	sql_row_begin(text);
	for (unsigned i = 0; i < count; i++)
		sql_field(text, count, fields[i].name, slice_make(row[i], row[i] ? lengths[i] : 0, CLEAN));
}

static enum rc take_rows(struct task *task, MYSQL *my, struct sql_text *text, struct err *err)
{
	MYSQL_RES *result = NULL;
	MYSQL_ROW row;
	enum rc rc = OK;
	int status = mysql_store_result_start(&result, my);

	while (status && rc == OK) {
		rc = wait_for(task, my, &status, err);
		if (rc == OK)
			status = mysql_store_result_cont(&result, my, status);
	}
	if (rc != OK)
		return rc;
	if (!result && mysql_field_count(my))
		return failed(my, "lookup result failed", err);
	if (!result) { /* no statement that gives rows: how many it changed */
		text->rows = 1;
		text->changed = true;
		str_addu(&text->out, mysql_affected_rows(my));
		return OK;
	}
	while ((row = mysql_fetch_row(result)) && text->out.len <= SQL_RESULT_SIZE_MAX)
		add_row(text, mysql_fetch_fields(result), mysql_num_fields(result), row,
			mysql_fetch_lengths(result));
	mysql_free_result(result);
	return text->rows ? OK : FAIL;
}

/* The results of further statements, of a stored procedure for one, are read and dropped. */
static enum rc skip_results(struct task *task, MYSQL *my, struct err *err)
{
	while (mysql_more_results(my)) {
		struct sql_text unused = {.out = str_make(task->arena)};
		int more = 0, status = mysql_next_result_start(&more, my);
		enum rc rc = OK;

		while (status && rc == OK) {
			rc = wait_for(task, my, &status, err);
			if (rc == OK)
				status = mysql_next_result_cont(&more, my, status);
		}
		if (rc == OK && more > 0)
			rc = failed(my, "query failed", err);
		if (rc == OK && more == 0)
			rc = take_rows(task, my, &unused, err);
		if (rc == DEFER || rc == CANCELLED)
			return rc;
	}
	return OK;
}

/* Errors of the client side, but for what it has no memory for, mean that the connection is lost. */
static bool is_broken(MYSQL *my)
{
	unsigned number = mysql_errno(my);

	return number >= 2000 && number < 3000;
}

static enum rc mysql_query_run(struct task *task, void *handle, const void *query, struct sql_text *text,
			       bool *broken_ret, struct err *err)
{
	int error = 0, status;
	enum rc rc = OK, answer;
	MYSQL *my = handle;

	status = mysql_real_query_start(&error, my, query, strlen(query));
	while (status && rc == OK) {
		rc = wait_for(task, my, &status, err);
		if (rc == OK)
			status = mysql_real_query_cont(&error, my, status);
	}
	*broken_ret = rc != OK;
	if (rc != OK)
		return rc;
	if (error) {
		*broken_ret = is_broken(my);
		return failed(my, "query failed", err);
	}
	answer = take_rows(task, my, text, err);
	rc = answer == OK || answer == FAIL ? skip_results(task, my, err) : answer;
	*broken_ret = rc != OK;
	if (rc == OK && text->out.len > SQL_RESULT_SIZE_MAX)
		return err_set(err, DEFER, "the result is too large");
	return rc == OK ? answer : rc;
}

static const struct sql_driver driver = {
    .name = "MYSQL", .open = mysql_open, .query = mysql_query_run, .close = close_now};

static enum rc mysql_find(struct scope *sc, const struct lookup_type *type,
			  const struct lookup_request *request, struct slice *ret, struct err *err)
{
	const struct lookup_options *o = sc->conf ? conf_group(sc->conf, CONF_LOOKUP) : NULL;

	(void)type;
	return sql_find(sc, &driver, o ? o->mysql_servers : SLICE_EMPTY, request, ret, err);
}

const struct lookup_type lookup_mysql = {
    .name = "mysql", .query = true, .kept = true, .find = mysql_find, .quote = quote_mysql};
