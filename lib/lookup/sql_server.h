/* sql_server: what the lookups of SQL servers share: naming a server, connections kept on the shard, waiting for a
 * library that does not wait itself. */
#ifndef LOOKUP_SQL_SERVER_H
#define LOOKUP_SQL_SERVER_H

#include "servers.h"
#include "sql.h"

/* One server of a list: host/database/user/password; every part may be empty. */
struct sql_server {
	struct slice host;  /* name or address */
	struct slice path;  /* "(...)": a Unix socket */
	struct slice group; /* "[...]": mysql's option group */
	uint16_t port;      /* 0: the driver's */
	struct slice database, user, password;
	struct slice
	    address; /* the host's, found without waiting for a resolver inside the library; empty: none is needed */
	const void *more; /* the driver's */
};

/* Longest wait for a connection and for a query. */
#define SQL_CONNECT_TIMEOUT_MS 10000
#define SQL_QUERY_TIMEOUT_MS   30000

struct sql_driver {
	const char *name; /* "PGSQL" */
	/* Connects. The handle is the driver's. DEFER: err says why, without the password. Parks. */
	enum rc (*open)(struct task *task, const struct sql_server *server, void **handle_ret,
			struct err *err);
	/* One query (SQL: a text). OK: text->out has what is to be returned; FAIL: no row. DEFER: err says why; *broken_ret: the
	 * connection cannot be used again, and another server may be tried. Parks. */
	enum rc (*query)(struct task *task, void *handle, const void *query, struct sql_text *text,
			 bool *broken_ret, struct err *err);
	void (*close)(void *handle); /* does not wait */
};

/* The find() of an SQL type. */
NODISCARD enum rc sql_find(struct scope *sc, const struct sql_driver *driver, struct slice configured,
			   const struct lookup_request *request, struct slice *ret, struct err *err);
/* One query to one server, over a connection that was opened for the same key or a new one. *next_ret: another server may be
 * tried; *used_ret: the connection had served before (so a server that has gone and come back is worth a second try). For
 * SQL, query is a text that ends with a NUL. Parks. */
NODISCARD enum rc sql_ask(struct task *task, const struct sql_driver *driver, struct slice key,
			  struct sql_server *server, const void *query, struct sql_text *text, bool *next_ret,
			  bool *used_ret, struct err *err);
/* Fills in server->address, by the system's means. Parks. */
NODISCARD enum rc sql_find_address(struct task *task, struct sql_server *server, struct err *err);
/* Waits until the descriptor can be read or written, as wanted (WATCH_READ | WATCH_WRITE). DEFER: deadline. Parks. */
NODISCARD enum rc sql_wait(struct task *task, int fd, unsigned events, unsigned *events_ret, struct err *err);
void sql_done(struct shard *shard);

#endif
