/* ldap: entries of a directory. The connection is ours, opened on the reactor and handed to libldap, which then sends requests
 * and takes results without waiting; only the handshake of TLS, which it cannot do so, is left to a helper thread.
 * Referrals are not followed: the library would wait for the other server. */

#include <openldap.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "ldap_query.h"
#include "options.h"
#include "quote.h"
#include "sql_server.h"
#include "types.h"

#define PORT           389
#define PORT_TLS       636
#define PROTO_TCP      1
#define PROTO_IPC      3
#define TLS_TIMEOUT_S  5
#define QUERY_SIZE_MAX (16 * 1024) /* goes into an empty socket at once */

/* What a connection is made of, besides its server. */
struct ldap_server {
	const struct lookup_options *options; /* may be NULL */
	bool tls;                             /* from the first byte */
};
struct ldap_handle {
	LDAP *ld;
	int fd;
};

static enum rc failed(const char *what, int code, struct err *err)
{
	return err_set(err, DEFER, "%s: %d: %s", what, code, ldap_err2string(code));
}

static bool text_option(LDAP *ld, int option, struct arena *arena, struct slice value)
{
	const char *text = value.len ? arena_cstr(arena, value) : NULL;

	return !value.len || (text && ldap_set_option(ld, option, text) == LDAP_OPT_SUCCESS);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

/* A handshake on its way through the helper thread. */
struct shaking {
	LDAP *ld;
	int fd;
	int code;
};

static void shaking_free(void *arg)
{
	struct shaking *s = arg;

	if (s->ld)
		(void)ldap_unbind_ext(s->ld, NULL, NULL); /* and closes the descriptor */
	free(s);
}

static void shaking_do(void *arg)
{
	struct shaking *s = arg;
	struct timeval limit = {TLS_TIMEOUT_S, 0};

	(void)fcntl(s->fd, F_SETFL, 0); /* the limits below hold for a descriptor that blocks */
	(void)setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	s->code = ldap_install_tls(s->ld);
	(void)fcntl(s->fd, F_SETFL, O_NONBLOCK);
}

static enum rc tls_options_set(struct arena *arena, LDAP *ld, const struct lookup_options *o, struct err *err)
{
	static const struct {
		struct slice word;
		int value;
	} words[] = {{SLICE_INIT("never"), LDAP_OPT_X_TLS_NEVER},
		     {SLICE_INIT("hard"), LDAP_OPT_X_TLS_HARD},
		     {SLICE_INIT("demand"), LDAP_OPT_X_TLS_DEMAND},
		     {SLICE_INIT("allow"), LDAP_OPT_X_TLS_ALLOW},
		     {SLICE_INIT("try"), LDAP_OPT_X_TLS_TRY}};
	int require = LDAP_OPT_X_TLS_DEMAND, zero = 0;

	if (!o)
		return OK;
	for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
		if (slice_eq_nocase(o->ldap_require_cert, words[i].word))
			require = words[i].value;
	}
	if (!text_option(ld, LDAP_OPT_X_TLS_CACERTFILE, arena, o->ldap_ca_cert_file) ||
	    !text_option(ld, LDAP_OPT_X_TLS_CACERTDIR, arena, o->ldap_ca_cert_dir) ||
	    !text_option(ld, LDAP_OPT_X_TLS_CERTFILE, arena, o->ldap_cert_file) ||
	    !text_option(ld, LDAP_OPT_X_TLS_KEYFILE, arena, o->ldap_cert_key) ||
	    !text_option(ld, LDAP_OPT_X_TLS_CIPHER_SUITE, arena, o->ldap_cipher_suite) ||
	    ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &require) != LDAP_OPT_SUCCESS ||
	    ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &zero) != LDAP_OPT_SUCCESS)
		return err_set(err, DEFER, "the options for TLS cannot be used (files?)");
	return OK;
}

static enum rc tls_failed(const struct shaking *s, struct err *err)
{
	char *words = NULL;
	enum rc rc;

	(void)ldap_get_option(s->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &words);
	rc = err_set(err, DEFER, "failed to initiate TLS: %s%s%s", ldap_err2string(s->code),
		     words ? ": " : "", words ? words : "");
	ldap_memfree(words);
	return rc;
}

/* The handle goes through the helper, which may keep it: then handle->ld is NULL. */
static enum rc tls_begin(struct task *task, struct ldap_handle *handle, const struct lookup_options *options,
			 struct err *err)
{
	struct shaking *s;
	enum rc rc;

	rc = tls_options_set(task->arena, handle->ld, options, err);
	if (rc != OK)
		return rc;
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_memory(err);
	s->ld = handle->ld;
	s->fd = handle->fd;
	handle->ld = NULL;
	rc = offload_call(task, shaking_do, s, shaking_free, err);
	if (rc != OK)
		return rc;
	handle->ld = s->ld;
	if (s->code != LDAP_SUCCESS)
		rc = tls_failed(s, err);
	free(s);
	return rc;
}

/* ---- Connections ----------------------------------------------------------------------------- */

/* The answer to a request, whole. */
static enum rc wait_result(struct task *task, struct ldap_handle *handle, int id, LDAPMessage **ret,
			   struct err *err)
{
	for (;;) {
		struct timeval none = {0, 0};
		int type = ldap_result(handle->ld, id, LDAP_MSG_ALL, &none, ret), code = 0;
		unsigned ready;
		enum rc rc;

		if (type > 0)
			return OK;
		if (type < 0) {
			(void)ldap_get_option(handle->ld, LDAP_OPT_RESULT_CODE, &code);
			return failed("ldap_result failed", code, err);
		}
		rc = sql_wait(task, handle->fd, WATCH_READ, &ready, err);
		if (rc != OK)
			return rc;
	}
}

/* The code that a message ends with; frees it. */
static int result_code(LDAP *ld, LDAPMessage *message)
{
	int code = LDAP_OTHER, parsed;

	parsed = ldap_parse_result(ld, message, &code, NULL, NULL, NULL, NULL, 1);
	return parsed == LDAP_SUCCESS ? code : parsed;
}

static enum rc start_tls(struct task *task, struct ldap_handle *handle, struct err *err)
{
	LDAPMessage *message;
	int id, code;
	enum rc rc;

	code = ldap_start_tls(handle->ld, NULL, NULL, &id);
	if (code != LDAP_SUCCESS)
		return failed("failed to initiate TLS", code, err);
	rc = wait_result(task, handle, id, &message, err);
	if (rc != OK)
		return rc;
	code = result_code(handle->ld, message);
	return code == LDAP_SUCCESS ? OK : failed("failed to initiate TLS", code, err);
}

/* FAIL: name or password is wrong. */
static enum rc bind_as(struct task *task, struct ldap_handle *handle, const struct sql_server *server,
		       struct err *err)
{
	struct berval password = {.bv_len = server->password.len,
				  .bv_val = arena_cstr(task->arena, server->password)};
	const char *user = arena_cstr(task->arena, server->user);
	LDAPMessage *message;
	int id, code;
	enum rc rc;

	if (!user || !password.bv_val)
		return err_memory(err);
	code = ldap_sasl_bind(handle->ld, user, LDAP_SASL_SIMPLE, &password, NULL, NULL, &id);
	if (code != LDAP_SUCCESS)
		return failed("failed to bind the LDAP connection", code, err);
	rc = wait_result(task, handle, id, &message, err);
	if (rc != OK)
		return rc;
	code = result_code(handle->ld, message);
	if (code == LDAP_SUCCESS)
		return OK;
	rc = failed("failed to bind the LDAP connection", code, err);
	return code == LDAP_INVALID_CREDENTIALS || code == LDAP_NO_SUCH_OBJECT ? FAIL : rc;
}

static enum rc connect_fd(struct task *task, const struct sql_server *server, int *fd_ret, struct err *err)
{
	struct ip_addr ip, any = {.family = 0};
	enum rc rc;

	if (server->path.len) {
		rc = connect_unix(task, server->path, fd_ret, err);
	} else {
		if (!ip_parse(server->address, &ip))
			return err_set(err, DEFER, "no such host");
		ip.port = server->port;
		rc = connect_tcp(task, &ip, &any, fd_ret, err);
	}
	return rc == FAIL ? DEFER : rc; /* away today */
}

static enum rc handle_make(struct task *task, const struct sql_server *server, struct ldap_handle *handle,
			   struct err *err)
{
	const struct ldap_server *more = server->more;
	int version = more->options ? (int)more->options->ldap_version : LDAP_VERSION3, code;
	const char *url;

	if (version < 2 || version > 3)
		version = LDAP_VERSION3;
	url = arena_cstr(task->arena, server->path.len ? SLICE("ldapi:///")
						       : arena_printf(task->arena, "ldap://%.*s:%u",
								      SLICE_ARG(server->host), server->port));
	if (!url)
		return err_memory(err);
	(void)fcntl(handle->fd, F_SETFL, O_NONBLOCK);
	code = ldap_init_fd(handle->fd, server->path.len ? PROTO_IPC : PROTO_TCP, url, &handle->ld);
	if (code != LDAP_SUCCESS) {
		handle->ld = NULL;
		return failed("failed to initialize for LDAP server", code, err);
	}
	(void)ldap_set_option(handle->ld, LDAP_OPT_PROTOCOL_VERSION, &version);
	(void)ldap_set_option(handle->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	return OK;
}

static void handle_free(struct shard *shard, struct ldap_handle *handle)
{
	if (handle->ld)
		(void)ldap_unbind_ext(handle->ld, NULL, NULL); /* sends a farewell, does not wait */
	else if (shard && handle->fd >= 0)
		file_close(shard, handle->fd);
	free(handle);
}

/* FAIL: the bind was refused. */
static enum rc directory_connect(struct task *task, const struct sql_server *server, struct ldap_handle **ret,
				 struct err *err)
{
	const struct ldap_server *more = server->more;
	struct ldap_handle *handle = calloc(1, sizeof(*handle));
	bool start = more->options && more->options->ldap_start_tls && !more->tls && !server->path.len,
	     gone = false;
	enum rc rc;

	if (!handle)
		return err_memory(err);
	handle->fd = -1;
	rc = connect_fd(task, server, &handle->fd, err);
	if (rc == OK)
		rc = handle_make(task, server, handle, err);
	if (rc == OK && start)
		rc = start_tls(task, handle, err);
	if (rc == OK && (start || (more->tls && !server->path.len))) {
		rc = tls_begin(task, handle, more->options, err);
		gone = !handle->ld;
	}
	if (rc == OK)
		rc = bind_as(task, handle, server, err);
	if (rc != OK) {
		handle_free(gone ? NULL : task->shard, handle);
		return rc;
	}
	*ret = handle;
	return OK;
}

static enum rc ldap_open_handle(struct task *task, const struct sql_server *server, void **handle_ret,
				struct err *err)
{
	struct ldap_handle *handle;
	enum rc rc = directory_connect(task, server, &handle, err);

	if (rc == OK)
		*handle_ret = handle;
	return rc == FAIL ? DEFER : rc; /* our own name and password: somebody has to repair that */
}

static void ldap_close_handle(void *handle)
{
	handle_free(NULL, handle);
}

/* ---- Results as text ------------------------------------------------------------------------- */

/* Commas are doubled, so that the text is a list; inside quotes what would end them is escaped. */
static void add_value(struct str *out, const struct berval *value, bool quoted)
{
	for (ber_len_t i = 0; i < value->bv_len; i++) {
		char c = value->bv_val[i];

		if (quoted && c == '\n') {
			str_addz(out, "\\n");
			continue;
		}
		if (quoted && (c == '"' || c == '\\'))
			str_addc(out, '\\');
		if (c == ',')
			str_addc(out, ',');
		str_addc(out, c);
	}
}

/* The attributes of an entry. *any: there was one. */
static void add_entry(struct str *out, LDAP *ld, LDAPMessage *entry, bool quoted, bool *any)
{
	BerElement *ber = NULL;
	bool first = true;

	for (char *name = ldap_first_attribute(ld, entry, &ber); name;
	     name = ldap_next_attribute(ld, entry, ber)) {
		struct berval **values = ldap_get_values_len(ld, entry, name);

		if (!first)
			str_addc(out, quoted ? ' ' : ',');
		first = false;
		if (quoted)
			str_printf(out, "%s=\"", name);
		for (unsigned i = 0; values && values[i] && out->len < SQL_RESULT_SIZE_MAX; i++) {
			if (i)
				str_addc(out, ',');
			add_value(out, values[i], quoted);
		}
		if (quoted)
			str_addc(out, '"');
		ldap_value_free_len(values);
		ldap_memfree(name);
		*any = true;
	}
	ber_free(ber, 0);
}

static enum rc take_dn(struct arena *arena, LDAP *ld, LDAPMessage *entry, struct ldap_query *query,
		       struct err *err)
{
	char *dn = ldap_get_dn(ld, entry);

	if (!dn)
		return err_set(err, DEFER, "ldap_get_dn failed");
	query->found_dn = arena_copy(arena, slice_of(dn));
	ldap_memfree(dn);
	return query->found_dn.ptr ? OK : err_memory(err);
}

static enum rc add_entries(struct task *task, LDAP *ld, LDAPMessage *message, struct ldap_query *query,
			   struct str *out, struct err *err)
{
	bool quoted = !query->url->lud_attrs || !query->url->lud_attrs[0] || query->url->lud_attrs[1];
	int count = ldap_count_entries(ld, message);
	bool found = false;

	if (query->one && count > 1)
		return err_set(
		    err, DEFER,
		    "LDAP search: more than one entry (%d) was returned (filter not specific enough?)",
		    count);
	for (LDAPMessage *entry = ldap_first_entry(ld, message); entry; entry = ldap_next_entry(ld, entry)) {
		struct str one = str_make(task->arena);
		bool any = false;
		enum rc rc = take_dn(task->arena, ld, entry, query, err);

		if (rc != OK)
			return rc;
		if (query->dn) {
			str_add(&one, query->found_dn);
			any = true;
		} else {
			add_entry(&one, ld, entry, quoted, &any);
		}
		/* An entry without any of the attributes is an empty line behind others. */
		if (found)
			str_addc(out, '\n');
		found |= any;
		str_add(out, str_slice(&one));
		if (out->len > SQL_RESULT_SIZE_MAX)
			return err_set(err, DEFER, "LDAP search: the result has more than 16 MiB");
	}
	return found ? OK : FAIL;
}

/* ---- Queries --------------------------------------------------------------------------------- */

static enum rc result_take(struct task *task, struct ldap_handle *handle, LDAPMessage *message,
			   struct ldap_query *query, struct str *out, bool *broken, struct err *err)
{
	int code = LDAP_OTHER;
	char *words = NULL;
	enum rc rc;

	if (ldap_parse_result(handle->ld, message, &code, NULL, &words, NULL, NULL, 0) != LDAP_SUCCESS)
		*broken = true;
	if (code == LDAP_SUCCESS || code == LDAP_SIZELIMIT_EXCEEDED || code == LDAP_TIMELIMIT_EXCEEDED ||
	    code == LDAP_ADMINLIMIT_EXCEEDED) {
		/* What came before the limit was reached counts. */
		rc = add_entries(task, handle->ld, message, query, out, err);
	} else if (LDAP_NAME_ERROR(code)) { /* there is no such thing, or never can be */
		rc = FAIL;
	} else {
		/* Those that another server may know better. */
		*broken |= code == LDAP_BUSY || code == LDAP_UNAVAILABLE || code == LDAP_UNWILLING_TO_PERFORM;
		rc = err_set(err, DEFER, "LDAP search failed: %d: %s%s%s", code, ldap_err2string(code),
			     words && *words ? " - " : "", words && *words ? words : "");
	}
	ldap_memfree(words);
	return rc;
}

static enum rc ldap_query(struct task *task, void *opened, const void *arg, struct sql_text *text,
			  bool *broken_ret, struct err *err)
{
	struct ldap_query *query = (struct ldap_query *)(uintptr_t)arg; /* gets the entry's name */
	struct timeval time = {query->time_s, 0};
	struct ldap_handle *handle = opened;
	const LDAPURLDesc *url = query->url;
	LDAPMessage *message = NULL;
	int id, code;
	enum rc rc;

	(void)ldap_set_option(handle->ld, LDAP_OPT_DEREF, &query->dereference);
	code = ldap_search_ext(handle->ld, url->lud_dn ? url->lud_dn : "", url->lud_scope, url->lud_filter,
			       url->lud_attrs, 0, NULL, NULL, query->time_s ? &time : NULL,
			       query->size_max ? (int)query->size_max : LDAP_NO_LIMIT, &id);
	if (code != LDAP_SUCCESS) {
		/* A filter that is none is the query's fault; everything else the connection's. */
		*broken_ret = code != LDAP_FILTER_ERROR && code != LDAP_PARAM_ERROR;
		return failed("ldap_search failed", code, err);
	}
	rc = wait_result(task, handle, id, &message, err);
	if (rc != OK) {
		*broken_ret = true;
		return rc;
	}
	rc = result_take(task, handle, message, query, &text->out, broken_ret, err);
	ldap_msgfree(message);
	return rc;
}

static const struct sql_driver driver = {"LDAP", ldap_open_handle, ldap_query, ldap_close_handle};

/* ---- Servers --------------------------------------------------------------------------------- */

/* "host", "host:port", "[v6]:port", "/socket"; port_default where there is none. */
static bool parse_server(struct slice text, uint16_t port_default, struct sql_server *server)
{
	ptrdiff_t colon = slice_rfind(text, ':');
	int64_t port;

	server->port = port_default;
	server->host = text;
	if (text.len && text.ptr[0] == '/') {
		server->path = text;
		return true;
	}
	if (text.len && text.ptr[0] == '[') {
		ptrdiff_t end = slice_find(text, ']');

		if (end < 0)
			return false;
		server->host = slice_sub(text, 1, (size_t)end - 1);
		colon = (size_t)end + 1 < text.len && text.ptr[end + 1] == ':' ? end + 1 : -1;
	} else if (colon >= 0 && slice_find(text, ':') != colon) {
		colon = -1; /* an IPv6 address */
	} else if (colon >= 0) {
		server->host = slice_sub(text, 0, (size_t)colon);
	}
	if (colon < 0)
		return true;
	if (!conf_parse_int(slice_from(text, (size_t)colon + 1), &port) || port < 1 || port > UINT16_MAX)
		return false;
	server->port = (uint16_t)port;
	return true;
}

struct directory {
	struct scope *sc;
	struct ldap_query *query;
	struct ldap_server more;
	struct slice list; /* servers not yet tried */
	char separator;
	struct err *err;
};

static enum rc directory_begin(struct directory *d, struct scope *sc, struct slice text,
			       struct ldap_query *query, struct err *err)
{
	const struct lookup_options *options = sc->conf ? conf_group(sc->conf, CONF_LOOKUP) : NULL;
	enum rc rc;

	if (text.len > QUERY_SIZE_MAX)
		return err_set(err, DEFER, "the LDAP query has more than %d bytes", QUERY_SIZE_MAX);
	rc = ldap_query_parse(sc->task->arena, text, query, err);
	if (rc != OK)
		return rc;
	*d = (struct directory){.sc = sc, .query = query, .err = err, .more = {.options = options}};
	d->more.tls = strcasecmp(query->url->lud_scheme, "ldaps") == 0;
	d->list = query->servers;
	if (!d->list.ptr && options)
		d->list = options->ldap_default_servers;
	if (query->url->lud_host && query->url->lud_host[0])
		d->list.ptr = NULL;
	else if (!d->list.ptr || !d->list.len)
		d->list = SLICE("localhost");
	return OK;
}

/* The next server. FAIL: none left. */
static enum rc directory_next(struct directory *d, struct sql_server *server)
{
	const LDAPURLDesc *url = d->query->url;
	uint16_t port = d->more.tls ? PORT_TLS : PORT;
	struct slice item;

	*server = (struct sql_server){.host = SLICE_EMPTY,
				      .path = SLICE_EMPTY,
				      .group = SLICE_EMPTY,
				      .database = SLICE_EMPTY,
				      .user = d->query->user,
				      .password = d->query->password,
				      .address = SLICE_EMPTY,
				      .more = &d->more};
	if (d->list.ptr) {
		if (!list_next(d->sc->task->arena, &d->list, &d->separator, &item))
			return FAIL;
		if (!item.ptr)
			return err_memory(d->err);
	} else {
		if (d->separator)
			return FAIL;
		d->separator = ':'; /* asked once */
		item = slice_of(url->lud_host);
		if (url->lud_port > 0 && url->lud_port <= UINT16_MAX)
			port = (uint16_t)url->lud_port;
	}
	if (!parse_server(item, port, server))
		return err_set(d->err, DEFER, "\"%.*s\" is not an LDAP server", SLICE_ARG(item));
	if (strcasecmp(url->lud_scheme, "ldapi") == 0 && !server->path.len)
		return err_set(d->err, DEFER, "ldapi requires an absolute path (\"%.*s\" given)",
			       SLICE_ARG(item));
	return OK;
}

static enum rc directory_ask(struct directory *d, struct sql_server *server, struct sql_text *text,
			     bool *next)
{
	struct arena *arena = d->sc->task->arena;
	uint64_t saved = d->sc->task->until;
	bool used = true;
	struct slice key;
	enum rc rc = DEFER;

	key = arena_printf(arena, "%s%.*s:%u %.*s\n%.*s", d->more.tls ? "tls " : "",
			   SLICE_ARG(server->path.len ? server->path : server->host), server->port,
			   SLICE_ARG(server->user), SLICE_ARG(server->password));
	if (!key.ptr)
		return err_memory(d->err);
	if (d->query->network_s)
		d->sc->task->until = task_until(d->sc->task, (uint64_t)d->query->network_s * 1000);
	/* An idle connection that the server has closed meanwhile says nothing about the server. */
	while (rc == DEFER && used) {
		*text = (struct sql_text){.out = str_make(arena)};
		rc = sql_ask(d->sc->task, &driver, key, server, d->query, text, next, &used, d->err);
		if (!*next)
			break;
	}
	d->sc->task->until = saved;
	return rc;
}

static enum rc ldap_find(struct scope *sc, const struct lookup_type *type,
			 const struct lookup_request *request, struct slice *ret, struct err *err)
{
	struct ldap_query query = {.url = NULL};
	struct directory d;
	struct sql_server server;
	struct sql_text text;
	bool next = true;
	enum rc rc, told = DEFER;

	rc = directory_begin(&d, sc, request->key, &query, err);
	query.one = type != &lookup_ldapm;
	query.dn = type == &lookup_ldapdn;
	while (rc == OK && next) {
		next = false;
		rc = directory_next(&d, &server);
		if (rc == FAIL) {
			rc = told; /* err has what the last server said */
			break;
		}
		if (rc != OK)
			break;
		rc = told = directory_ask(&d, &server, &text, &next);
		if (rc == DEFER)
			err_prefix(err, "LDAP: %.*s", SLICE_ARG(server.path.len ? server.path : server.host));
		if (rc == DEFER && next)
			rc = OK;
	}
	if (rc == OK) {
		*ret = str_slice(&text.out);
		if (query.found_dn.ptr)
			sc->ldap_dn = query.found_dn;
		rc = ret->ptr ? OK : err_memory(err);
	}
	ldap_query_done(&query);
	return rc;
}

const struct lookup_type lookup_ldap = {
    .name = "ldap", .query = true, .kept = true, .find = ldap_find, .quote = quote_ldap};
const struct lookup_type lookup_ldapdn = {
    .name = "ldapdn", .query = true, .kept = true, .find = ldap_find, .quote = quote_ldap};
const struct lookup_type lookup_ldapm = {
    .name = "ldapm", .query = true, .kept = true, .find = ldap_find, .quote = quote_ldap};

/* ---- ldapauth -------------------------------------------------------------------------------- */

/* Is that the user's password? The answer is the server's to a bind, over a connection that serves nobody else. */
static enum rc ldapauth_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct ldap_query query = {.url = NULL};
	uint64_t saved = sc->task->until;
	struct ldap_handle *handle;
	struct sql_server server;
	struct directory d;
	struct slice text;
	enum rc rc, last = DEFER;

	rc = expand(sc, call->args[0], &text, err);
	if (rc != OK)
		return rc;
	rc = directory_begin(&d, sc, text, &query, err);
	*ret = false;
	/* An empty password would be a bind as nobody, which servers grant. */
	while (rc == OK && query.user.len && query.password.len) {
		rc = directory_next(&d, &server);
		if (rc != OK) {
			rc = rc == FAIL ? last : rc;
			break;
		}
		sc->task->until = task_until(sc->task, query.network_s ? (uint64_t)query.network_s * 1000
								       : SQL_CONNECT_TIMEOUT_MS);
		rc = sql_find_address(sc->task, &server, err);
		if (rc == OK)
			rc = directory_connect(sc->task, &server, &handle, err);
		sc->task->until = saved;
		if (rc == OK || rc == FAIL || rc == CANCELLED) {
			if (rc == OK)
				handle_free(NULL, handle);
			*ret = rc == OK;
			break;
		}
		last = rc;
		rc = OK;
	}
	ldap_query_done(&query);
	return rc == FAIL ? OK : rc;
}

static const struct expand_condition condition_ldapauth = {
    .name = "ldapauth", .arg_min = 1, .arg_max = 1, .eval = ldapauth_eval};
const struct expand_condition *const lookup_conditions[] = {&condition_ldapauth, NULL};
