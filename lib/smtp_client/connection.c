/* Connecting, greeting, EHLO, and the give and take of commands and replies. On any doubt about where the peer stands the
 * connection is dead: a client that is out of step with its server would take one message's reply for another's. */
#include "connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

/* task->until narrowed for one step; *saved restores it. */
static void deadline(struct task *task, int64_t timeout_ms, uint64_t *saved)
{
	*saved = task->until;
	if (timeout_ms > 0)
		task->until = task_until(task, (uint64_t)timeout_ms);
}

static enum rc lost(struct smtp_connection *c, enum rc rc, struct slice command, struct err *err)
{
	c->dead = true;
	if (rc == CANCELLED)
		return rc;
	if (rc == DEFER && err) {
		(void)err_set(err, DEFER, "SMTP timeout after %.*s", SLICE_ARG(command));
		err->os = ETIMEDOUT;
	} else if (err) {
		int os = err->os;
		(void)err_set(err, DEFER, "Remote host closed connection in response to %.*s",
			      SLICE_ARG(command));
		err->os = os ? os : ECONNRESET;
	}
	return DEFER;
}

#define TOLD (DEBUG_TRANSPORT | DEBUG_V)

void connection_tell(const char *way, struct slice lines)
{
	struct slice line;

	while (slice_split(&lines, '\n', &line) && (line.len || lines.ptr))
		DEBUG(TOLD, "  %s %.*s", way, SLICE_ARG(slice_rtrim(line)));
}

enum rc connection_read(struct task *task, struct smtp_connection *c, int64_t timeout_ms,
			struct slice command, struct smtp_reply *reply_ret, struct err *err)
{
	struct reply_parser parser;
	enum reply_state state = REPLY_MORE;
	uint64_t saved;
	enum rc rc = OK;

	*reply_ret = (struct smtp_reply){.text = SLICE_EMPTY, .command = command};
	if (c->dead)
		return err_set(err, DEFER, "the connection was lost before %.*s", SLICE_ARG(command));
	reply_parser_init(&parser, task->arena);
	deadline(task, timeout_ms, &saved);
	while (state == REPLY_MORE) {
		struct slice bytes = stream_peek(c->stream);
		size_t used;

		if (bytes.len == 0) {
			rc = stream_fill(task, c->stream, err);
			if (rc != OK)
				break;
			continue;
		}
		state = reply_parser_feed(&parser, bytes, &used);
		stream_consume(c->stream, used);
	}
	task->until = saved;
	if (rc != OK)
		return lost(c, rc, command, err);
	if (state == REPLY_BAD) {
		c->dead = true;
		return err_set(err, DEFER, "malformed SMTP reply from %.*s in response to %.*s",
			       SLICE_ARG(c->host_name), SLICE_ARG(command));
	}
	reply_ret->code = parser.code;
	reply_ret->text = str_slice(&parser.text);
	if (debug_on(TOLD))
		connection_tell("SMTP<<", reply_ret->text);
	if (parser.code == 421)
		c->dead = true; /* RFC 5321 section 4.2.1: the channel closes, whatever it answered */
	return OK;
}

enum rc connection_write(struct task *task, struct smtp_connection *c, const struct iovec *iov,
			 unsigned iov_count, int64_t timeout_ms, struct slice command, struct err *err)
{
	uint64_t saved;
	enum rc rc;

	if (c->dead)
		return err_set(err, DEFER, "the connection was lost before %.*s", SLICE_ARG(command));
	deadline(task, timeout_ms, &saved);
	rc = stream_writev(task, c->stream, iov, iov_count, err);
	task->until = saved;
	if (rc == OK)
		return OK;
	c->dead = true;
	if (rc == CANCELLED)
		return rc;
	if (err) {
		int os = rc == DEFER ? ETIMEDOUT : err->os ? err->os : EPIPE;
		(void)err_set(err, DEFER,
			      rc == DEFER ? "SMTP timeout while sending %.*s"
					  : "connection lost while sending %.*s",
			      SLICE_ARG(command));
		err->os = os;
	}
	return DEFER;
}

enum rc connection_command(struct task *task, struct smtp_connection *c, struct slice line,
			   struct slice shown, struct smtp_reply *reply_ret, struct err *err)
{
	struct iovec iov[2] = {{(void *)(uintptr_t)line.ptr, line.len}, {(void *)(uintptr_t) "\r\n", 2}};
	enum rc rc;

	*reply_ret = (struct smtp_reply){.text = SLICE_EMPTY, .command = shown};
	if (debug_on(TOLD))
		connection_tell("SMTP>>", shown);
	rc = connection_write(task, c, iov, 2, c->command_timeout_ms, shown, err);
	return rc == OK ? connection_read(task, c, c->command_timeout_ms, shown, reply_ret, err) : rc;
}

/* ---- Opening -------------------------------------------------------------------------------------------------- */

static struct slice make_key(struct arena *arena, const struct smtp_connect_options *options)
{
	struct str key = str_make(arena);

	str_addz(&key, options->lmtp ? "lmtp " : "smtp ");
	if (options->to.family) {
		str_add_ip(&key, &options->to);
		str_printf(&key, " %u ", options->to.port);
	} else {
		str_add(&key, options->unix_path);
	}
	if (options->from.family)
		str_add_ip(&key, &options->from);
	str_addc(&key, ' ');
	str_add(&key, options->helo);
	str_addc(&key, ' ');
	str_add(&key, options->pool_key);
	return str_slice(&key);
}

bool smtp_fits(const struct smtp_connection *c, struct arena *arena,
	       const struct smtp_connect_options *options)
{
	struct slice key = make_key(arena, options);

	return key.ptr && slice_eq(key, c->pool_key);
}

static struct smtp_connection *connection_new(struct shard *shard, const struct smtp_connect_options *options)
{
	struct smtp_connection *c = calloc(1, sizeof(*c)); /* outlives the message that asked for it */

	if (!c)
		return NULL;
	arena_init_small(&c->arena, 64 * 1024);
	c->shard = shard;
	c->lmtp = options->lmtp;
	c->to = options->to;
	c->pool_key = make_key(&c->arena, options);
	c->host_name = arena_copy(&c->arena, options->host_name);
	list_init(&c->link);
	timer_init(&c->timer, NULL);
	if (c->pool_key.ptr && c->host_name.ptr)
		return c;
	arena_done(&c->arena);
	free(c);
	return NULL;
}

void connection_free(struct smtp_connection *c, bool reset)
{
	if (c->stream) {
		stream_set_arg(c->stream, NULL, NULL);
		stream_close(c->stream, reset);
	}
	arena_done(&c->arena);
	free(c);
}

static void set_timeouts(struct smtp_connection *c, const struct smtp_connect_options *options)
{
	c->command_timeout_ms = options->command_timeout_ms;
	c->data_timeout_ms = options->data_timeout_ms;
	c->final_timeout_ms = options->final_timeout_ms;
}

/* None of these is worth failing for. family: of the packets. */
static void set_socket_options(int fd, const struct smtp_connect_options *options, unsigned family)
{
	int on = 1, tos = (int)options->tos;

	if (options->keepalive)
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (tos && family == 4)
		(void)setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	else if (tos)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

static void drop_pipes(const struct smtp_connect_options *options)
{
	if (options->over_pipes) {
		(void)close(options->input);
		(void)close(options->output);
	}
}

static enum rc take_pipes(struct smtp_connection *c, const struct smtp_connect_options *options,
			  struct err *err)
{
	enum rc rc = stream_new(c->shard, options->input, options->output, NULL, NULL, &c->stream, err);

	if (rc != OK)
		drop_pipes(options);
	return rc == FAIL ? DEFER : rc;
}

/* Connected over TCP to the host, or to a proxy. */
static void note_socket(struct smtp_connection *c, int fd, const struct smtp_connect_options *options)
{
	struct sockaddr_storage storage;
	socklen_t len = sizeof(storage);

	if (getsockname(fd, (struct sockaddr *)&storage, &len) == 0)
		c->local = ip_from_sockaddr((struct sockaddr *)&storage);
	set_socket_options(fd, options, c->local.family);
}

static enum rc dial_proxy(struct task *task, struct smtp_connection *c,
			  const struct smtp_connect_options *options, struct err *err)
{
	uint64_t saved;
	enum rc rc;

	deadline(task, options->connect_timeout_ms, &saved);
	rc = socks_connect(task, options, &c->stream, &c->proxy, err);
	task->until = saved;
	if (rc == OK)
		note_socket(c, stream_fd(c->stream), options);
	return rc;
}

static enum rc dial(struct task *task, struct smtp_connection *c, const struct smtp_connect_options *options,
		    struct err *err)
{
	uint64_t saved;
	enum rc rc;
	int fd;

	if (options->over_pipes)
		return take_pipes(c, options, err);
	if (debug_on(TOLD)) {
		char ip[IP_TEXT_MAX];

		debug_say("Connecting to %.*s [%.*s]:%u%s ...", SLICE_ARG(options->host_name),
			  SLICE_ARG(options->to.family ? ip_format(&options->to, ip) : SLICE_EMPTY),
			  options->to.port, options->proxy_count ? " through a proxy" : "");
	}
	if (options->proxy_count)
		return dial_proxy(task, c, options, err);
	deadline(task, options->connect_timeout_ms, &saved);
	if (options->to.family)
		rc = connect_tcp(task, &options->to, options->from.family ? &options->from : NULL, &fd, err);
	else
		rc = connect_unix(task, options->unix_path, &fd, err);
	task->until = saved;
	if (rc == DEFER && err && !err->os) {
		(void)err_set(err, DEFER, "Connection timed out");
		err->os = ETIMEDOUT;
	}
	if (rc == FAIL && err) { /* the system's words, as logs have them, without the call's name */
		char words[128];
		int os = err->os;
		(void)err_set(err, DEFER, "%s", strerror_r(os, words, sizeof(words)));
		err->os = os;
	}
	DEBUG(TOLD, "  ... %s%.*s",
	      rc == OK ? "connected" : "failed: ", SLICE_ARG(rc != OK && err ? err->text : SLICE_EMPTY));
	if (rc != OK)
		return rc == CANCELLED ? rc : DEFER;
	if (options->to.family)
		note_socket(c, fd, options);
	rc = stream_new(task->shard, fd, fd, NULL, NULL, &c->stream, err);
	if (rc != OK)
		(void)close(fd); /* never used */
	return rc == FAIL ? DEFER : rc;
}

/* 2yz is yes, 5yz no, all else "not now". */
static enum rc judge(const struct smtp_reply *reply)
{
	return reply->code / 100 == 2 ? OK : reply->code / 100 == 5 ? FAIL : DEFER;
}

static enum rc hello(struct task *task, struct smtp_connection *c, const struct smtp_connect_options *options,
		     struct smtp_reply *reply, struct err *err)
{
	const char *verb = c->lmtp ? "LHLO" : options->use_ehlo ? "EHLO" : "HELO";
	struct slice line = arena_printf(task->arena, "%s %.*s", verb, SLICE_ARG(options->helo));
	enum rc rc;

	if (!line.ptr)
		return err_memory(err);
	rc = connection_command(task, c, line, line, reply, err);
	if (rc != OK)
		return rc;
	rc = judge(reply);
	if (rc == OK && verb[0] != 'H') {
		ehlo_parse(reply->text, &c->offer);
		c->offer.auth = arena_copy(&c->arena, c->offer.auth.ptr ? c->offer.auth : SLICE_EMPTY);
		if (!c->offer.auth.ptr)
			return err_memory(err);
		return OK;
	}
	if (rc != FAIL || c->lmtp || !options->use_ehlo || c->dead)
		return rc;
	line = arena_printf(task->arena, "HELO %.*s", SLICE_ARG(options->helo));
	if (!line.ptr)
		return err_memory(err);
	rc = connection_command(task, c, line, line, reply, err);
	return rc == OK ? judge(reply) : rc;
}

static void tell_reply(enum rc rc, const struct smtp_reply *reply, struct err *err)
{
	if ((rc == FAIL || rc == DEFER) && reply->code)
		(void)err_set(err, rc, "SMTP error from remote mail server after %.*s: %.*s",
			      SLICE_ARG(reply->command), SLICE_ARG(reply->text));
}

static enum rc greet(struct task *task, struct smtp_connection *c, const struct smtp_connect_options *options,
		     struct smtp_reply *reply, struct err *err)
{
	enum rc rc = connection_read(task, c, c->command_timeout_ms, SLICE("initial connection"), reply, err);

	if (rc == OK)
		rc = judge(reply);
	if (rc == OK)
		rc = hello(task, c, options, reply, err);
	tell_reply(rc, reply, err);
	return rc;
}

/* From a fresh connection to one that takes messages. */
static enum rc introduce(struct scope *sc, struct smtp_connection *c,
			 const struct smtp_connect_options *options, struct smtp_reply *reply,
			 struct err *err)
{
	const struct smtp_tls *tls = options->tls;
	bool secured = false;
	enum rc rc = OK;

	if (tls && tls->on_connect) {
		reply->command = SLICE("STARTTLS");
		rc = connection_handshake(sc, c, tls, SLICE_EMPTY, err);
	}
	if (rc == OK)
		rc = greet(sc->task, c, options, reply, err);
	if (rc != OK || !tls || tls->on_connect)
		return rc;
	rc = connection_starttls(sc, c, tls, reply->text, &secured, reply, err);
	if (rc != OK || !secured)
		return rc;
	/* What was said in the clear may have been anybody's (RFC 3207 section 4.2). */
	c->offer = (struct ehlo_offer){.extensions = 0, .auth = SLICE_EMPTY};
	rc = hello(sc->task, c, options, reply, err);
	tell_reply(rc, reply, err);
	return rc;
}

/* A name that goes into a command has to be one word of visible characters. */
static bool word_is_safe(struct slice word)
{
	for (uint32_t i = 0; i < word.len; i++)
		if ((unsigned char)word.ptr[i] <= ' ' || word.ptr[i] == 0x7f)
			return false;
	return word.len > 0;
}

static struct smtp_connection *from_pool(struct task *task, const struct smtp_connect_options *options)
{
	struct slice key = options->reuse ? make_key(task->arena, options) : (struct slice){.ptr = NULL};
	struct smtp_connection *c = key.ptr ? pool_take(task->shard, key) : NULL;

	if (c) {
		set_timeouts(c, options);
		c->reused = true;
	}
	return c;
}

static enum rc open_fresh(struct scope *sc, const struct smtp_connect_options *options,
			  struct smtp_connection **ret, struct smtp_reply *reply_ret, struct err *err)
{
	struct smtp_connection *c = connection_new(sc->task->shard, options);
	enum rc rc;

	*reply_ret = (struct smtp_reply){.text = SLICE_EMPTY, .command = SLICE("initial connection")};
	if (!c) {
		drop_pipes(options);
		return err_memory(err);
	}
	set_timeouts(c, options);
	rc = dial(sc->task, c, options, err);
	reply_ret->connecting = rc != OK;
	if (rc == OK)
		rc = introduce(sc, c, options, reply_ret, err);
	if (rc != OK) {
		smtp_close(c);
		return rc;
	}
	*ret = c;
	return OK;
}

/* TLS has failed, and there is another way: what it was, and which way. */
static void tell_retry(struct scope *sc, const struct smtp_connect_options *options, const struct err *err,
		       const char *way, const char *why)
{
	struct str line = str_make(sc->task->arena);

	str_add(&line, err->text);
	str_printf(&line, ": %s H=", way);
	str_add(&line, options->host_name);
	str_addz(&line, " [");
	str_add_ip(&line, &options->to);
	str_printf(&line, "] (%s)", why);
	if (!line.failed)
		log_write(sc->task->shard, sc->conf, LOG_TO_MAIN, sc->message ? &sc->message->id : NULL,
			  str_slice(&line));
}

/* A proof that was only requested, and is not good, does not stand in the way: without asking for it. */
static enum rc open_without_proof(struct scope *sc, const struct smtp_connect_options *options,
				  struct smtp_connection **ret, struct smtp_reply *reply_ret, struct err *err)
{
	struct smtp_connect_options again = *options;
	struct tls_client client = *options->tls->client;
	struct smtp_tls tls = *options->tls;

	tell_retry(sc, options, err, "trying again with", "not in hosts_require_ocsp");
	client.ocsp_request = false;
	client.ocsp_failed = true;
	tls.client = &client;
	again.tls = &tls;
	return open_fresh(sc, &again, ret, reply_ret, err);
}

/* TLS was tried and failed; is the message to go in the clear? */
static bool try_clear(const struct smtp_connect_options *options, enum rc rc, const struct err *err)
{
	return rc == DEFER && options->tls && !options->tls->required && !options->tls->on_connect &&
	       options->tls->tempfail_tryclear && err && err->os == SMTP_TLS_FAILURE;
}

enum rc smtp_open(struct scope *sc, const struct smtp_connect_options *options, struct smtp_connection **ret,
		  struct smtp_reply *reply_ret, struct err *err)
{
	struct smtp_connect_options again = *options;
	enum rc rc;

	*reply_ret = (struct smtp_reply){.text = SLICE_EMPTY, .command = SLICE("initial connection")};
	sc->tls_out = NULL;
	if (!word_is_safe(options->helo)) {
		drop_pipes(options);
		return err_set(err, DEFER, "the name for HELO is empty or malformed: \"%.*s\"",
			       SLICE_ARG(options->helo));
	}
	*ret = from_pool(sc->task, options);
	rc = *ret ? OK : open_fresh(sc, options, ret, reply_ret, err);
	if (rc == DEFER && err && err->os == SMTP_TLS_PROOF) {
		err->os = SMTP_TLS_FAILURE;
		if (!options->tls->client->ocsp_require)
			rc = open_without_proof(sc, options, ret, reply_ret, err);
	}
	if (try_clear(options, rc, err)) {
		tell_retry(sc, options, err, "delivering unencrypted to", "not in hosts_require_tls");
		again.tls = NULL;
		rc = open_fresh(sc, &again, ret, reply_ret, err);
	}
	if (rc == OK)
		sc->tls_out = smtp_tls_facts(*ret);
	return rc;
}

enum rc smtp_command_shown(struct scope *sc, struct smtp_connection *c, struct slice line, struct slice shown,
			   struct smtp_reply *reply_ret, struct err *err)
{
	for (uint32_t i = 0; i < line.len; i++)
		if (line.ptr[i] == '\r' || line.ptr[i] == '\n' || line.ptr[i] == 0)
			return err_set(err, DEFER, "a line end inside an SMTP command");
	return connection_command(sc->task, c, line, shown, reply_ret, err);
}

enum rc smtp_command(struct scope *sc, struct smtp_connection *c, struct slice line,
		     struct smtp_reply *reply_ret, struct err *err)
{
	return smtp_command_shown(sc, c, line, line, reply_ret, err);
}

/* ---- Facts, and the end --------------------------------------------------------------------------------------------- */

struct slice smtp_auth_mechanisms(const struct smtp_connection *c)
{
	return c->offer.auth.ptr ? c->offer.auth : SLICE_EMPTY;
}

void smtp_set_authenticated(struct smtp_connection *c, struct slice authenticator, struct slice id)
{
	c->authenticator = arena_copy(&c->arena, authenticator);
	c->authenticated_id = arena_copy(&c->arena, id);
	/* No memory for the names: it is logged in all the same. */
	if (!c->authenticator.ptr)
		c->authenticator = SLICE("?");
	if (!c->authenticated_id.ptr)
		c->authenticated_id = SLICE_EMPTY;
	c->offer.extensions |= SMTP_EXT_AUTHENTICATED;
}

struct slice smtp_authenticator(const struct smtp_connection *c)
{
	return c->authenticator.ptr ? c->authenticator : SLICE_EMPTY;
}

struct slice smtp_authenticated_id(const struct smtp_connection *c)
{
	return c->authenticated_id.ptr ? c->authenticated_id : SLICE_EMPTY;
}

unsigned smtp_extensions(const struct smtp_connection *c)
{
	return c->offer.extensions;
}

unsigned smtp_recipient_max(const struct smtp_connection *c)
{
	return c->offer.rcpt_max;
}

uint64_t smtp_size_max(const struct smtp_connection *c)
{
	return c->offer.size_max;
}

const struct ip_addr *smtp_local_address(const struct smtp_connection *c)
{
	return &c->local;
}

const struct ip_addr *smtp_peer_address(const struct smtp_connection *c)
{
	return &c->to;
}

const struct ip_addr *smtp_proxy_address(const struct smtp_connection *c)
{
	return &c->proxy;
}

const struct tls_facts *smtp_tls_facts(const struct smtp_connection *c)
{
	return c->tls ? tls_session_facts(c->tls) : NULL;
}

unsigned smtp_message_count(const struct smtp_connection *c)
{
	return c->messages;
}

bool smtp_was_reused(const struct smtp_connection *c)
{
	return c->reused;
}

void smtp_release(struct smtp_connection *c, unsigned messages_max)
{
	bool usable = !c->dead && stream_pending(c->stream) == 0 && !stream_at_end(c->stream);

	connection_keep_session(c);
	if (messages_max == 0 || (c->offer.mail_max && c->offer.mail_max < messages_max))
		messages_max = c->offer.mail_max ? c->offer.mail_max : messages_max;
	if (!usable || (messages_max && c->messages >= messages_max) || !pool_put(c))
		smtp_close(c);
}

void smtp_close(struct smtp_connection *c)
{
	connection_keep_session(c);
	if (c->stream && !c->dead)
		(void)stream_write_now(c->stream,
				       SLICE("QUIT\r\n")); /* politeness: the peer sees the end anyway */
	connection_free(c, false);
}
