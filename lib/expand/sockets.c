/* sockets: ${readsocket and the condition saslauthd: a question to a local service, and its whole answer. */

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

#include "items.h"
#include "tls/tls.h"
#include "tree.h"

#define READSOCKET_TIMEOUT_MS 5000
#define READSOCKET_SIZE_MAX   (1024u * 1024)
#define SASLAUTHD_TIMEOUT_MS  30000

/* ---- Name service -----------------------------------------------------------------------------------------
 */

#define ADDRESSES_MAX 16

/* Host and service names as the system knows them: getaddrinfo() blocks, so it runs on a helper thread. */
struct resolve_job {
	char host[256], service[64];
	struct ip_addr addresses[ADDRESSES_MAX];
	unsigned count;
	int error;
};

static void resolve_run(void *arg)
{
	struct resolve_job *job = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;

	job->error = getaddrinfo(job->host, job->service, &hints, &list);
	if (job->error)
		return;
	for (struct addrinfo *a = list; a && job->count < ADDRESSES_MAX; a = a->ai_next) {
		job->addresses[job->count] = ip_from_sockaddr(a->ai_addr);
		if (job->addresses[job->count].family)
			job->count++;
	}
	freeaddrinfo(list);
}

static enum rc connect_inet(struct scope *sc, struct slice host, struct slice port, int *fd_ret,
			    struct err *err)
{
	struct err why = err_make(NULL);
	struct resolve_job *job;
	enum rc rc;

	if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
		host = slice_sub(host, 1, host.len - 2);
	if (host.len >= sizeof(job->host) || port.len >= sizeof(job->service))
		return err_set(err, FAIL, "host or port is too long for readsocket");
	job = calloc(1, sizeof(*job));
	if (!job)
		return err_memory(err);
	memcpy(job->host, host.ptr, host.len);
	memcpy(job->service, port.ptr, port.len);
	rc = offload_call(sc->task, resolve_run, job, free, err);
	if (rc != OK)
		return rc;
	if (job->error || !job->count)
		rc = err_set(err, FAIL, "failed to find address for %.*s: %s", SLICE_ARG(host),
			     gai_strerror(job->error));
	for (unsigned i = 0; i < job->count; i++) {
		rc = connect_tcp(sc->task, &job->addresses[i], NULL, fd_ret, &why);
		if (rc == OK || rc == CANCELLED)
			break;
	}
	if (job->count && (rc == FAIL || rc == DEFER))
		rc = err_os(err, FAIL, why.os ? why.os : ETIMEDOUT,
			    "failed to connect to any address for %.*s", SLICE_ARG(host));
	free(job);
	return rc;
}

/* ---- Connecting and asking --------------------------------------------------------------------------------
 */

static enum rc connect_named(struct scope *sc, struct slice name, int *fd_ret, struct err *err)
{
	struct err why = err_make(NULL);
	struct slice target = name;
	ptrdiff_t at;
	enum rc rc;

	if (slice_starts(name, SLICE("inet:"))) {
		target = slice_from(name, 5);
		at = slice_rfind(target, ':');
		if (at < 0)
			return err_set(err, FAIL, "missing port number for readsocket %.*s", SLICE_ARG(name));
		return connect_inet(sc, slice_sub(target, 0, (size_t)at), slice_from(target, (size_t)at + 1),
				    fd_ret, err);
	}
	if (name.taint == TAINTED)
		return err_set(err, FAIL, "Tainted name '%.*s' for readsocket not permitted",
			       SLICE_ARG(name));
	rc = connect_unix(sc->task, name, fd_ret, &why);
	if (rc == FAIL || rc == DEFER)
		rc = err_os(err, FAIL, why.os ? why.os : ETIMEDOUT, "failed to connect to socket %.*s",
			    SLICE_ARG(name));
	return rc;
}

/* Reads to the end, or to enough bytes if that is not 0. */
static enum rc read_answer(struct scope *sc, struct stream *stream, size_t enough, struct str *answer,
			   struct err *err)
{
	struct err why = err_make(NULL);
	struct slice piece;
	enum rc rc;

	for (;;) {
		piece = stream_peek(stream);
		str_add(answer, piece);
		stream_consume(stream, piece.len);
		if (answer->failed)
			return err_memory(err);
		if (answer->len > READSOCKET_SIZE_MAX)
			return err_set(err, FAIL, "the answer is too long");
		if (enough && answer->len >= enough)
			return OK;
		if (piece.len)
			continue;
		rc = stream_fill(sc->task, stream, &why);
		if (rc == FAIL && why.os == 0)
			return OK;
		if (rc == DEFER)
			return err_set(err, FAIL, "socket read timed out");
		if (rc == FAIL)
			return err_os(err, FAIL, why.os, "failed to read from socket");
		if (rc != OK)
			return rc;
	}
}

/* What is asked, and how. */
struct question {
	struct slice request;
	bool half_close;
	size_t enough; /* bytes of an answer that is complete; 0: all up to the end */
	bool tls;
	struct slice host; /* for the server's choice of a certificate; empty: an address, or a path */
};

/* Whoever answers is not asked to prove who it is, as in Exim: there is no option that names an authority. */
static enum rc begin_tls(struct scope *sc, struct stream *stream, struct slice host, struct err *err)
{
	static const struct tls_settings settings = {
	    .verify_certificates = SLICE_INIT(""),
	    .crl = SLICE_INIT(""),
	    .ciphers = SLICE_INIT(""),
	    .dhparam = SLICE_INIT(""),
	    .eccurve = SLICE_INIT(""),
	    .name = SLICE_INIT(""),
	    .verify = TLS_VERIFY_NONE,
	};
	const struct tls_client client = {
	    .settings = &settings, .sni = host, .session = SLICE_EMPTY, .conf = sc->conf};
	struct tls_session *session;
	enum rc rc = tls_connect(sc->task, stream, &client, &session, err);

	if (rc == FAIL)
		err_prefix(err, "failed to start TLS on the socket");
	return rc == DEFER ? err_set(err, FAIL, "TLS handshake on the socket timed out") : rc;
}

static enum rc ask(struct scope *sc, int fd, const struct question *q, struct str *answer, struct err *err)
{
	struct stream *stream;
	enum rc rc = stream_new(sc->task->shard, fd, fd, NULL, NULL, &stream, err);

	if (rc != OK) {
		close(fd);
		return rc;
	}
	if (q->tls)
		rc = begin_tls(sc, stream, q->host, err);
	if (rc == OK && q->request.len)
		rc = stream_write(sc->task, stream, q->request, err);
	if (rc == OK && q->half_close)
		stream_shutdown_write(stream);
	if (rc == OK)
		rc = read_answer(sc, stream, q->enough, answer, err);
	stream_close(stream, false);
	return rc;
}

/* ---- ${readsocket -----------------------------------------------------------------------------------------
 */

struct readsocket {
	struct slice name, request, options, eol;
	uint64_t timeout_ms;
	bool half_close, tls;
};

static enum rc readsocket_options(struct scope *sc, struct slice text, struct readsocket *r, struct err *err)
{
	struct slice item;
	int64_t seconds;
	char separator = 0;
	bool first = true;

	while (list_next(sc->task->arena, &text, &separator, &item)) {
		if (first) {
			if (!conf_parse_time(item, &seconds))
				return err_set(err, FAIL, "bad time value %.*s", SLICE_ARG(item));
			r->timeout_ms = (uint64_t)seconds * 1000;
		} else if (slice_eq_nocase(item, SLICE("shutdown=no"))) {
			r->half_close = false;
		} else if (slice_eq_nocase(item, SLICE("tls=yes"))) {
			r->tls = true;
		}
		first = false;
	}
	/* The end of our side would be the end of TLS. */
	r->half_close &= !r->tls;
	return OK;
}

/* The name in "inet:name:port". */
static struct slice host_name(struct slice socket)
{
	struct slice host = slice_from(socket, slice_starts(socket, SLICE("inet:")) ? 5 : socket.len);
	ptrdiff_t at = slice_rfind(host, ':');
	struct ip_addr ip;

	host = at < 0 ? SLICE_EMPTY : slice_sub(host, 0, (size_t)at);
	return ip_parse(host, &ip) || slice_starts(host, SLICE("[")) ? SLICE_EMPTY : host;
}

static enum rc readsocket_args(struct scope *sc, const struct expand_call *call, struct readsocket *r,
			       struct err *err)
{
	struct slice args[4] = {SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY};
	enum rc rc = OK;

	for (unsigned i = 0; i < call->arg_count && i < 4 && rc == OK; i++)
		rc = expand(sc, call->args[i], &args[i], err);
	if (rc != OK)
		return rc;
	r->name = args[0];
	r->request = args[1];
	r->options = args[2];
	if (call->arg_count > 3)
		r->eol = args[3];
	return OK;
}

static enum rc readsocket_ask(struct scope *sc, struct readsocket *r, struct slice *ret, struct err *err)
{
	struct str answer = str_make(sc->task->arena);
	uint64_t saved = sc->task->until;
	struct question q;
	int fd;
	enum rc rc = readsocket_options(sc, r->options, r, err);

	if (rc != OK)
		return rc;
	sc->task->until = task_until(sc->task, r->timeout_ms);
	rc = connect_named(sc, r->name, &fd, err);
	q = (struct question){
	    .request = r->request, .half_close = r->half_close, .tls = r->tls, .host = host_name(r->name)};
	if (rc == OK)
		rc = ask(sc, fd, &q, &answer, err);
	sc->task->until = saved;
	if (rc != OK)
		return rc;
	/* Whoever answers at the other end of a socket is not us. */
	answer.taint = TAINTED;
	*ret = str_slice(&answer);
	/* An empty one only holds the place of the fifth argument. */
	return r->eol.len ? newlines_replace(sc, *ret, r->eol, ret, err) : OK;
}

static enum rc readsocket_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
			       struct err *err)
{
	struct readsocket r = {.timeout_ms = READSOCKET_TIMEOUT_MS, .half_close = true};
	struct err why = err_make(sc->task->arena);
	enum rc rc = shard_needed(sc, "readsocket", err);

	if (rc == OK)
		rc = readsocket_args(sc, call, &r, err);
	if (rc != OK)
		return rc;
	rc = readsocket_ask(sc, &r, ret, &why);
	if ((rc == FAIL || rc == DEFER) && call->arg_count == 5)
		return expand(sc, call->args[4], ret, err);
	if (rc != OK && err) {
		err->text = why.text;
		err->os = why.os;
	}
	return rc;
}

const struct expand_item item_readsocket = {"readsocket", 2, 5, 0, readsocket_eval, NULL};

/* ---- saslauthd --------------------------------------------------------------------------------------------
 */

/* Counted strings: user, password, service, realm. The answer is one too, and begins with OK or NO. */
enum rc saslauthd_eval(struct scope *sc, const struct expand_call *call, bool *ret, struct err *err)
{
	struct str request = str_make(sc->task->arena), answer = str_make(sc->task->arena);
	struct slice args[4] = {SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY};
	struct slice path = expand_options(sc->conf)->saslauthd_socket;
	struct err why = err_make(NULL);
	uint64_t saved = sc->task->until;
	enum rc rc = shard_needed(sc, "saslauthd", err);
	int fd;

	for (unsigned i = 0; i < call->arg_count && rc == OK; i++)
		rc = expand(sc, call->args[i], &args[i], err);
	if (rc != OK)
		return rc;
	for (unsigned i = 0; i < 4; i++) {
		if (args[i].len > 1024)
			return err_set(err, FAIL, "an argument of saslauthd is too long");
		str_addc(&request, (char)(args[i].len >> 8));
		str_addc(&request, (char)args[i].len);
		str_add(&request, args[i]);
	}
	if (request.failed)
		return err_memory(err);
	sc->task->until = task_until(sc->task, SASLAUTHD_TIMEOUT_MS);
	rc = connect_unix(sc->task, path, &fd, &why);
	if (rc == OK)
		rc = ask(sc, fd,
			 &(struct question){.request = str_slice(&request), .enough = 4, .host = SLICE_EMPTY},
			 &answer, err);
	else if (rc != CANCELLED)
		rc = err_os(err, DEFER, why.os ? why.os : ETIMEDOUT,
			    "cannot connect to saslauthd daemon at %.*s", SLICE_ARG(path));
	sc->task->until = saved;
	/* A broken conversation is no wrong password. */
	if (rc == FAIL)
		rc = DEFER;
	if (rc != OK)
		return rc;
	*ret = answer.len >= 4 && memcmp(str_slice(&answer).ptr + 2, "OK", 2) == 0;
	/* Whoever says neither knows nothing about the password. */
	if (!*ret && !(answer.len >= 4 && memcmp(str_slice(&answer).ptr + 2, "NO", 2) == 0))
		return err_set(err, DEFER, "saslauthd gave no answer");
	return OK;
}
