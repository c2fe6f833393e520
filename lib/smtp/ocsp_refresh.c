/* ocsp_refresh: keeps the proofs of tls_ocsp_file fresh (tls_ocsp_refresh): asks the responder that each certificate names, from half
 * of the present proof's time on, and puts a good answer in the place of the file, where contexts find it like one that an
 * administrator has put there. What is there stays until there is something better. Shard 0's work, on one fiber, one
 * certificate after the other. */
#include "session.h"

#include <fcntl.h>
#include <stdlib.h>

#include "dns/dns.h"

#define CERTIFICATES_MAX TLS_LIST_MAX
#define LOOK_S           15 /* between two looks at what is due: certificates can be renewed at any time */
#define RETRY_FIRST_S    60
#define RETRY_MAX_S      3600
#define FETCH_MS         30000        /* for one responder, all in all */
#define ANSWER_MAX       (72u * 1024) /* with the head: nobody needs more than some 4 KiB */
#define FILE_MAX         (1024u * 1024)

struct ocsp_refresh {
	struct smtp_server *server;
	struct conf *conf; /* of the run under way */
	struct timer timer;
	struct task task;
	struct arena arena;
	bool running, over;
	struct due {
		int64_t pause,
		    until;   /* no asking before until, wall clock, s; the last pause: 0 after a success */
		bool warned; /* less than a quarter of its time is left, and that was said */
	} due[CERTIFICATES_MAX];
};

/* The n-th certificate and its proof: paths. */
struct pair {
	struct slice certificate, proof;
};

struct uri {
	struct slice host, path;
	uint16_t port;
};

/* http://host[:port][/path]. Other ways of asking are not in use: a proof is signed, and its fetching no secret. */
static bool uri_parse(struct slice text, struct uri *ret)
{
	const struct slice scheme = SLICE("http://");
	struct slice rest = slice_from(text, scheme.len);
	uint64_t port = 80;
	ptrdiff_t slash, colon;

	if (!slice_starts_nocase(text, scheme))
		return false;
	for (uint32_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] <= ' ' || (unsigned char)text.ptr[i] > '~')
			return false;
	slash = slice_find(rest, '/');
	ret->path = slash < 0 ? SLICE("/") : slice_from(rest, (size_t)slash);
	ret->host = slice_sub(rest, 0, slash < 0 ? rest.len : (size_t)slash);
	colon = slice_rfind(ret->host, ':');
	if (colon >= 0) {
		if (!parse_u64(slice_from(ret->host, (size_t)colon + 1), &port) || port == 0 || port > 65535)
			return false;
		ret->host = slice_sub(ret->host, 0, (size_t)colon);
	}
	ret->port = (uint16_t)port;
	return ret->host.len > 0;
}

static enum rc find_address(struct task *task, const struct uri *uri, struct ip_addr *ret, struct err *err)
{
	struct dns_answer answer = {.count = 0};
	enum rc rc;

	if (!ip_parse(uri->host, ret)) {
		rc = dns_query(task, uri->host, DNS_A, &answer, err);
		if (rc == FAIL)
			rc = dns_query(task, uri->host, DNS_AAAA, &answer, err);
		if (rc == CANCELLED)
			return rc;
		if (rc != OK || !answer.count)
			return err_set(err, DEFER, "no address of the responder %.*s", SLICE_ARG(uri->host));
		*ret = answer.records[0].ip;
	}
	ret->port = uri->port;
	return OK;
}

/* Where the body begins, 0: not yet; and how many bytes it is said to have, UINT64_MAX: as many as come. */
static size_t head_end(struct slice text, uint64_t *length_ret)
{
	ptrdiff_t end = slice_search(text, SLICE("\r\n\r\n"));
	struct slice rest, line;

	*length_ret = UINT64_MAX;
	if (end < 0)
		return 0;
	rest = slice_sub(text, 0, (size_t)end);
	while (slice_split(&rest, '\n', &line))
		if (slice_starts_nocase(line, SLICE("content-length:")))
			(void)parse_u64(slice_trim(slice_from(line, 15)), length_ret);
	return (size_t)end + 4;
}

/* Up to the end that the head tells, or else that of the connection. */
static enum rc read_answer(struct task *task, struct stream *stream, struct str *answer, struct err *err)
{
	enum rc rc;

	do {
		struct slice piece;
		uint64_t length;
		size_t head;

		while ((piece = stream_peek(stream)).len > 0) {
			if (answer->len + piece.len > ANSWER_MAX)
				return err_set(err, DEFER, "the responder's answer is too long");
			str_add(answer, piece);
			stream_consume(stream, piece.len);
		}
		if (answer->failed)
			return err_memory(err);
		head = answer->len ? head_end(slice_make(answer->ptr, answer->len, TAINTED), &length) : 0;
		if (head && answer->len - head >= length)
			return OK;
		rc = stream_fill(task, stream, err);
	} while (rc == OK);
	return rc == FAIL ? OK : rc;
}

/* "HTTP/1.1 200 OK", and all of the body. */
static enum rc body_of(struct slice text, struct slice *body_ret, struct err *err)
{
	uint64_t length;
	size_t head = head_end(text, &length);
	ptrdiff_t line = slice_find(text, '\r');

	if (!slice_starts(text, SLICE("HTTP/1.")) || !head)
		return err_set(err, DEFER, "what the responder says is not HTTP");
	if (!slice_eq(slice_sub(text, 9, 3), SLICE("200")))
		return err_set(err, DEFER, "the responder says \"%.*s\"",
			       SLICE_ARG(slice_sub(text, 0, line < 80 ? (size_t)line : 80)));
	*body_ret = slice_from(text, head);
	if (length != UINT64_MAX && body_ret->len < length)
		return err_set(err, DEFER, "the responder's answer was cut");
	if (length < body_ret->len)
		*body_ret = slice_sub(*body_ret, 0, (size_t)length);
	return OK;
}

/* POST (RFC 6960 appendix A.1) with HTTP/1.0, so that the answer comes in one piece. */
static enum rc fetch(struct task *task, const struct uri *uri, struct slice request, struct slice *body_ret,
		     struct err *err)
{
	struct slice head =
	    arena_printf(task->arena,
			 "POST %.*s HTTP/1.0\r\nHost: %.*s:%u\r\nContent-Type: application/ocsp-request\r\n"
			 "Content-Length: %u\r\nConnection: close\r\n\r\n",
			 SLICE_ARG(uri->path), SLICE_ARG(uri->host), uri->port, request.len);
	struct iovec iov[2] = {{(void *)(uintptr_t)head.ptr, head.len},
			       {(void *)(uintptr_t)request.ptr, request.len}};
	struct str answer = str_make(task->arena);
	struct stream *stream;
	struct ip_addr to;
	int fd;
	enum rc rc = head.ptr ? find_address(task, uri, &to, err) : err_memory(err);

	if (rc == OK)
		rc = connect_tcp(task, &to, NULL, &fd, err);
	if (rc != OK)
		return rc;
	rc = stream_new(task->shard, fd, fd, NULL, NULL, &stream, err);
	if (rc != OK) {
		file_close(task->shard, fd);
		return rc;
	}
	rc = stream_writev(task, stream, iov, 2, err);
	if (rc == OK)
		rc = read_answer(task, stream, &answer, err);
	stream_close(stream, false);
	if (rc != OK)
		return rc;
	return body_of(answer.len ? str_slice(&answer) : SLICE_EMPTY, body_ret, err);
}

/* In the place of the old one, at once: whoever reads it sees the one or the other. */
static enum rc store(struct task *task, struct slice path, struct slice bytes, struct err *err)
{
	char *name = arena_cstr(task->arena, path);
	struct slice beside = arena_printf(task->arena, "%.*s.new", SLICE_ARG(path));
	char *temporary = beside.ptr ? arena_cstr(task->arena, beside) : NULL;
	struct iovec iov = {(void *)(uintptr_t)bytes.ptr, bytes.len};
	int fd;
	enum rc rc;

	if (!name || !temporary)
		return err_memory(err);
	rc =
	    file_open(task, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644, &fd, err);
	if (rc != OK)
		return rc;
	rc = file_writev(task, fd, &iov, 1, 0, err);
	if (rc == OK)
		rc = file_sync(task, fd, true, err);
	file_close(task->shard, fd);
	if (rc == OK)
		rc = file_rename(task, temporary, name, err);
	if (rc != OK)
		(void)(file_unlink(task, temporary, NULL) == OK);
	return rc;
}

static void warn(struct ocsp_refresh *r, const struct pair *pair, struct due *due,
		 const struct tls_proof *proof, int64_t now)
{
	if (due->warned || (proof->until && now < proof->until - (proof->until - proof->made) / 4))
		return;
	due->warned = true;
	log_printf(r->task.shard, r->conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL,
		   proof->until ? "OCSP: the proof in %.*s ends soon"
				: "OCSP: there is no valid proof in %.*s",
		   SLICE_ARG(pair->proof));
}

/* Parks. OK: there is a proof that is good for a while. */
static enum rc refresh(struct ocsp_refresh *r, const struct pair *pair, struct due *due, int64_t now,
		       struct err *err)
{
	struct task *task = &r->task;
	struct tls_proof proof = {0, 0}, fetched;
	struct slice pem, old, uri_text, request, answer;
	char *certificate = arena_cstr(task->arena, pair->certificate),
	     *file = arena_cstr(task->arena, pair->proof);
	struct uri uri = {.host = SLICE_EMPTY, .path = SLICE_EMPTY};
	enum rc rc;

	if (!certificate || !file)
		return err_memory(err);
	if (file_slurp(task, file, FILE_MAX, &old, NULL) != OK)
		old = SLICE_EMPTY;
	rc = file_slurp(task, certificate, FILE_MAX, &pem, err);
	if (rc != OK)
		return rc;
	if (tls_proof_check(task->arena, pem, old, now, &proof, NULL) != OK)
		proof = (struct tls_proof){0, 0};
	tls_proof_tell(task->shard, pair->certificate, &proof);
	if (proof.until && now < proof.made + (proof.until - proof.made) / 2)
		return OK;
	if (now < due->until)
		return OK;
	rc = tls_proof_ask(task->arena, pem, &uri_text, &request, err);
	if (rc == OK && !uri_parse(uri_text, &uri))
		rc = err_set(err, FAIL, "the responder \"%.*s\" is not asked: only http is spoken",
			     SLICE_ARG(uri_text));
	if (rc == OK)
		rc = fetch(task, &uri, request, &answer, err);
	if (rc == OK)
		rc = tls_proof_check(task->arena, pem, answer, now, &fetched, err);
	/* An answer that is no newer is not worth a write, and will not be the next time either. */
	if (rc == OK && fetched.until <= proof.until)
		rc = err_set(err, DEFER, "the responder has nothing newer");
	if (rc == OK)
		rc = store(task, pair->proof, answer, err);
	if (rc == OK) {
		due->warned = false;
		tls_proof_tell(task->shard, pair->certificate, &fetched);
		tally_up(&r->server->metrics->proofs_fetched);
		log_printf(task->shard, r->conf, LOG_TO_MAIN, NULL,
			   "OCSP: a new proof in %.*s, good for %lld minutes", SLICE_ARG(pair->proof),
			   (long long)(fetched.until - now) / 60);
	} else if (rc != CANCELLED) {
		warn(r, pair, due, &proof, now);
	}
	return rc;
}

static void refresh_one(struct ocsp_refresh *r, unsigned n, const struct pair *pair)
{
	struct due *due = &r->due[n];
	int64_t now = (int64_t)(shard_wall(r->task.shard) / NS_PER_S);
	struct err err = err_make(&r->arena);
	enum rc rc;

	task_limit(&r->task, FETCH_MS);
	rc = refresh(r, pair, due, now, &err);
	if (rc == OK) {
		if (now >= due->until)
			due->pause = 0;
		return;
	}
	if (rc == CANCELLED || now < due->until)
		return;
	due->pause = due->pause ? due->pause * 2 : RETRY_FIRST_S;
	if (due->pause > RETRY_MAX_S)
		due->pause = RETRY_MAX_S;
	due->until = now + due->pause;
	tally_up(&r->server->metrics->proofs_failed);
	log_printf(r->task.shard, r->conf, LOG_TO_MAIN, NULL,
		   "OCSP: no new proof for %.*s: %.*s; next try in %lld s", SLICE_ARG(pair->certificate),
		   SLICE_ARG(err.text), (long long)due->pause);
}

static void refresh_all(void *arg)
{
	struct ocsp_refresh *r = arg;
	struct smtp_server *server = r->server;
	const struct smtp_tls_options *o = conf_group(r->conf, CONF_TLS);
	struct slice certificates = expansion_literal(o->tls_certificate);
	struct slice proofs = expansion_literal(o->tls_ocsp_file);
	char separator = 0, other = 0;
	struct pair pair;

	arena_init(&r->arena, 16ul * 1024 * 1024);
	task_init(&r->task, server->shard, &r->arena, UNTIL_NEVER);
	for (unsigned n = 0; n < CERTIFICATES_MAX && !r->over &&
			     list_next(&r->arena, &certificates, &separator, &pair.certificate) &&
			     list_next(&r->arena, &proofs, &other, &pair.proof);
	     n++) {
		if (slice_starts(pair.proof, SLICE("DER ")))
			pair.proof = slice_ltrim(slice_from(pair.proof, 4));
		/* Others are the administrator's to fetch: what comes is DER. */
		if (slice_starts(pair.proof, SLICE("/")))
			refresh_one(r, n, &pair);
	}
	arena_done(&r->arena);
	conf_unref(r->conf);
	r->running = false;
	if (!r->over)
		return;
	server->ocsp_refresh = NULL;
	free(r);
	waitq_wake_all(&server->drained);
}

static void on_timer(struct timer *timer)
{
	struct ocsp_refresh *r = CONTAINER_OF(timer, struct ocsp_refresh, timer);
	const struct smtp_tls_options *o = conf_group(r->server->conf, CONF_TLS);
	struct shard *shard = r->server->shard;

	timer_set(shard, timer, shard_now(shard) + LOOK_S * NS_PER_S);
	if (r->running || !o || !o->tls_ocsp_refresh)
		return;
	r->conf = conf_ref(r->server->conf);
	r->running = fiber_spawn(shard, refresh_all, r) == OK;
	if (!r->running)
		conf_unref(r->conf);
}

void ocsp_refresh_start(struct smtp_server *server)
{
	struct ocsp_refresh *r =
	    shard_id(server->shard) || server->ocsp_refresh ? NULL : calloc(1, sizeof(*r));

	if (!r)
		return;
	server->ocsp_refresh = r;
	r->server = server;
	timer_init(&r->timer, on_timer);
	timer_set(server->shard, &r->timer, shard_now(server->shard));
}

void ocsp_refresh_stop(struct smtp_server *server)
{
	struct ocsp_refresh *r = server->ocsp_refresh;

	if (!r || r->over)
		return;
	timer_cancel(server->shard, &r->timer);
	r->over = true;
	if (r->running) {
		task_cancel(&r->task);
		return;
	}
	server->ocsp_refresh = NULL;
	free(r);
}
