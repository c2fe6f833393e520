/* session: one end of a connection under TLS. It is a layer of its stream: what the library wants to read comes from the raw
 * side, what it decrypts goes up; what it wants to send is sent at once.
 *
 * The library's object belongs to one call at a time. A call on a fiber may park while it sends (session->busy); input that
 * comes meanwhile is looked at when the call is over. */
#include "tls/engine.h"

#include "tls/memory.h"
#include "tls/tickets.h"

#include <wolfssl/wolfcrypt/sha256.h>

#include <stdlib.h>

#define EARLY_ROOM_FIRST 2048u
#define GATHER_MAX       16384u /* pieces of output are put together up to a record */
#define PEEK_BYTES       1024u  /* a command: decrypted on the stack, and copied to where there is room */
#define HELD_MAX         4096u

const struct tls_facts *tls_session_facts(const struct tls_session *session)
{
	return &session->facts;
}

/* ---- Turns ---- */

enum rc session_turn(struct task *task, struct tls_session *t)
{
	enum rc rc = t->turn ? OK : turn_begin(task, t->here, &t->turn_began);

	t->turn = rc == OK;
	return rc;
}

void session_turn_end(struct tls_session *t)
{
	if (t->turn)
		turn_end(t->here, t->turn_began);
	t->turn = false;
}

/* ---- The library's input and output ---- */

int session_receive(WOLFSSL *ssl, char *bytes, int len, void *arg)
{
	struct tls_session *t = arg;
	struct slice in;

	(void)ssl;
	if (t->early_read < t->early_len) {
		in = slice_sub(slice_make(t->early, t->early_len, TAINTED), t->early_read, (size_t)len);
		memcpy(bytes, in.ptr, in.len);
		t->early_read += in.len;
		return (int)in.len;
	}
	in = slice_sub(stream_raw_peek(t->stream), 0, (size_t)len);
	if (!in.len)
		return stream_raw_at_end(t->stream) ? WOLFSSL_CBIO_ERR_CONN_CLOSE
						    : WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(bytes, in.ptr, in.len);
	if (t->flight)
		staple_tap(t, in);
	stream_raw_consume(t->stream, in.len);
	return (int)in.len;
}

/* A client that has spoken already is about to get a reply: its ticket travels with that. */
static bool ticket_can_wait(const struct tls_session *t)
{
	return t->state == SESSION_HANDSHAKE && t->ticket_given &&
	       wolfSSL_GetVersion(t->ssl) == WOLFSSL_TLSV1_3 && stream_raw_peek(t->stream).len;
}

/* false: too much for that, or no memory. */
static bool hold(struct tls_session *t, const char *bytes, size_t len)
{
	char *held;

	if (t->held_len + len > HELD_MAX)
		return false;
	held = realloc(t->held, t->held_len + len); /* until something is sent */
	if (!held)
		return false;
	memcpy(held + t->held_len, bytes, len);
	t->held = held;
	t->held_len += (uint32_t)len;
	return true;
}

static void held_free(struct tls_session *t)
{
	free(t->held);
	t->held = NULL;
	t->held_len = 0;
}

/* What was held, and these bytes. Parks. */
static enum rc send_all(struct tls_session *t, const char *bytes, size_t len, struct err *err)
{
	struct iovec iov[2] = {{t->held, t->held_len}, {(char *)(uintptr_t)bytes, len}};
	unsigned first = t->held ? 0 : 1, end = len ? 2 : 1;
	enum rc rc = first < end ? stream_raw_writev(t->task, t->stream, iov + first, end - first, err) : OK;

	held_free(t);
	return rc;
}

/* The same without a fiber. false: they did not go, or not all of them, and nothing can follow. */
static bool send_held_now(struct tls_session *t)
{
	bool sent =
	    !t->held_len || stream_raw_write_now(t->stream, t->held, t->held_len) == (ptrdiff_t)t->held_len;

	held_free(t);
	return sent;
}

int session_send(WOLFSSL *ssl, char *bytes, int len, void *arg)
{
	struct tls_session *t = arg;
	ptrdiff_t sent;

	(void)ssl;
	if ((t->holding || ticket_can_wait(t)) && hold(t, bytes, (size_t)len))
		return len;
	if (t->task) {
		struct library_memory *before = library_use(NULL);
		bool turn = t->turn;
		enum rc rc;

		/* Nobody computes while this one waits for a receiver, and others may. */
		session_turn_end(t);
		rc = send_all(t, bytes, (size_t)len, NULL);
		if (rc == OK && turn)
			rc = session_turn(t->task, t);
		(void)library_use(before);
		return rc == OK ? len : WOLFSSL_CBIO_ERR_CONN_CLOSE;
	}
	if (!send_held_now(t))
		return WOLFSSL_CBIO_ERR_CONN_CLOSE;
	sent = stream_raw_write_now(t->stream, bytes, (size_t)len);
	if (sent < 0)
		return WOLFSSL_CBIO_ERR_CONN_CLOSE;
	return sent ? (int)sent : WOLFSSL_CBIO_ERR_WANT_WRITE;
}

static bool client_has_shown(const struct tls_session *t)
{
	WOLFSSL_X509_CHAIN *chain =
	    t->context->verify == TLS_VERIFY_NONE ? NULL : wolfSSL_get_peer_chain(t->ssl);

	if (wolfSSL_session_reused(t->ssl))
		return t->returned;
	return t->shown || (chain && wolfSSL_get_chain_count(chain) > 0);
}

/* What a ticket is good for: the settings, the name that was asked for, and what it tells without being opened. */
struct ticket_use {
	uint8_t binding[32];
	/* Told, behind the nonce, where there is room in what the library has for it. */
	struct ticket_told {
		uint8_t shown; /* the client has shown a certificate */
		uint8_t suite[2];
	} told;
};
#define TICKET_TOLD_AT 12
static_assert(TICKET_TOLD_AT + sizeof(struct ticket_told) <= TICKET_IV_LEN, "there is room for it");

static struct slice ticket_use(const struct tls_session *t, const struct ticket_told *told,
			       struct ticket_use *use)
{
	memcpy(use->binding, t->binding, sizeof(use->binding));
	use->told = *told;
	return slice_make((const char *)use, sizeof(*use), CLEAN);
}

/* *len: of what is to be sealed, in room bytes; then of the ticket. */
static bool seal_ticket(struct tls_session *t, unsigned char *name, unsigned char *iv, unsigned char *mac,
			unsigned char *bytes, int *len, int room)
{
	bool shown = client_has_shown(t);
	int suite = wolfSSL_get_current_cipher_suite(t->ssl);
	struct ticket_told told = {shown, {(uint8_t)(suite >> 8), (uint8_t)suite}};
	struct ticket_use use;

	/* With TLS 1.2 one was promised before the client has shown what it has: one that opens nothing. */
	if (shown && (room - *len < SHOWN_NAME_LEN || !shown_keep(t, bytes + *len))) {
		shard_random(t->here->shard, name, TICKET_NAME_LEN);
		shard_random(t->here->shard, bytes, (size_t)*len);
		shard_random(t->here->shard, iv, TICKET_IV_LEN);
		shard_random(t->here->shard, mac, TICKET_MAC_LEN);
		return true;
	}
	*len += shown ? SHOWN_NAME_LEN : 0;
	if (!tickets_seal(t->here->shard, ticket_use(t, &told, &use), name, iv, mac, bytes, (uint32_t)*len))
		return false;
	memcpy(iv + TICKET_TOLD_AT, &told, sizeof(told));
	t->ticket_given = true;
	tally_up(&t->here->metrics->tickets_issued);
	return true;
}

static enum ticket_verdict open_ticket(struct tls_session *t, const unsigned char *name,
				       const unsigned char *iv, const unsigned char *mac,
				       unsigned char *bytes, int *len)
{
	struct ticket_told told;
	struct ticket_use use;
	enum ticket_verdict verdict;

	/* Of several that are offered the last that was looked at counts. */
	t->returned = t->stored_verified = false;
	t->stored_certificate = SLICE_EMPTY;
	memcpy(&told, iv + TICKET_TOLD_AT, sizeof(told));
	/* The library would end the session of a client that has another suite now (RFC 5077 section 3.1: a ticket that is
	 * not taken is no mistake). */
	if (!tls_hello_has_suite(&t->hello, (unsigned)told.suite[0] << 8 | told.suite[1]))
		return TICKET_REFUSED;
	verdict =
	    tickets_unseal(t->here->shard, ticket_use(t, &told, &use), name, iv, mac, bytes, (uint32_t)*len);
	if (verdict == TICKET_REFUSED || !told.shown)
		return t->context->verify == TLS_VERIFY_MUST ? TICKET_REFUSED : verdict;
	*len -= SHOWN_NAME_LEN;
	return *len > 0 && shown_find(t, bytes + *len) ? verdict : TICKET_REFUSED;
}

/* Tickets are sealed with the host's keys, and good for what they were given for. */
int session_ticket(WOLFSSL *ssl, unsigned char *name, unsigned char *iv, unsigned char *mac, int seal,
		   unsigned char *bytes, int len, int *len_ret, void *arg)
{
	struct tls_session *t = wolfSSL_GetIOReadCtx(ssl);
	int room = *len_ret;

	(void)arg;
	*len_ret = len;
	if (!t->resumption)
		return WOLFSSL_TICKET_RET_REJECT;
	if (seal)
		return seal_ticket(t, name, iv, mac, bytes, len_ret, room) ? WOLFSSL_TICKET_RET_OK
									   : WOLFSSL_TICKET_RET_REJECT;
	switch (open_ticket(t, name, iv, mac, bytes, len_ret)) {
	case TICKET_GOOD:
		tally_up(&t->here->metrics->tickets_taken);
		return WOLFSSL_TICKET_RET_OK;
	case TICKET_OLD:
		tally_up(&t->here->metrics->tickets_taken);
		return WOLFSSL_TICKET_RET_CREATE;
	case TICKET_REFUSED:
		tally_up(&t->here->metrics->tickets_refused);
		break;
	}
	return WOLFSSL_TICKET_RET_REJECT;
}

/* The library asks the certificate's responder, which is us. */
int session_proof(void *arg, const char *url, int url_len, unsigned char *request, int request_len,
		  unsigned char **response_ret)
{
	struct tls_session *t = arg;

	(void)url;
	(void)url_len;
	(void)request;
	(void)request_len;
	if (!t || !t->cert || !t->cert->proof.len)
		return -1;
	library_asks_for_proof(&t->memory);
	*response_ret = (unsigned char *)(uintptr_t)t->cert->proof.ptr;
	return (int)t->cert->proof.len;
}

/* The library keeps the authorities that peers have shown, for all connections of the context, whatever became of them since. So where
 * the chain ends, and whether anybody on it is revoked, is seen here. */
static const char *judge_chain(const struct tls_session *t, const WOLFSSL_X509_STORE_CTX *store)
{
	struct slice shown[CHAIN_MAX];
	unsigned count = 0;

	for (; count < CHAIN_MAX && (int)count < store->totalCerts; count++)
		shown[count] =
		    slice_make((const char *)store->certs[count].buffer, store->certs[count].length, TAINTED);
	return chain_judge(shown, count, &t->context->authorities, &t->context->revoked);
}

int session_verify(int fine, WOLFSSL_X509_STORE_CTX *store)
{
	struct tls_session *t = store->userCtx;

	if (fine && store->totalCerts < 1)
		return 1; /* it shows none; whether that is enough the library knows */
	if (t)
		t->shown = true;
	if (t && t->context->verify == TLS_VERIFY_NONE)
		return 1; /* a client is asked in any case; nobody wants to know */
	if (fine && t && store->error_depth == 0 && !t->verify_error) {
		t->verify_why = judge_chain(t, store);
		t->verify_error = t->verify_why ? VERIFY_CERT_ERROR : 0;
		return !t->verify_error || t->context->verify != TLS_VERIFY_MUST;
	}
	if (fine)
		return 1;
	if (t && !t->verify_error) {
		t->verify_error = store->error ? store->error : -1;
		t->verify_why = verify_words(t, store);
	}
	return t && t->context->verify != TLS_VERIFY_MUST;
}

/* ---- The layer ---- */

/* Decrypts what there is: a little, since most input is a command; but where more has come, or the library has more, straight into a
 * buffer. */
static enum stream_pumped pump_records(struct tls_session *t)
{
	enum stream_pumped pumped = PUMPED_NOTHING;
	char bytes[PEEK_BYTES];

	while (stream_has_room(t->stream)) {
		struct buf *buf = NULL;
		int got;

		if ((wolfSSL_pending(t->ssl) > (int)sizeof(bytes) ||
		     stream_raw_peek(t->stream).len > 2 * sizeof(bytes)) &&
		    !bufs_scarce(t->here->shard))
			buf = buf_new(t->here->shard);
		got = buf ? wolfSSL_read(t->ssl, buf->bytes, (int)buf->size)
			  : wolfSSL_read(t->ssl, bytes, (int)sizeof(bytes));
		if (got > 0) {
			pumped = PUMPED_INPUT;
			if (buf) {
				buf->len = (uint32_t)got;
				stream_push(t->stream, buf);
			} else if (!stream_push_bytes(t->stream, bytes, (size_t)got)) {
				return PUMPED_END;
			}
			continue;
		}
		if (buf)
			buf_unref(buf);
		got = wolfSSL_get_error(t->ssl, got);
		if (got == WOLFSSL_ERROR_WANT_READ || got == WOLFSSL_ERROR_WANT_WRITE) {
			wolfSSL_ERR_clear_error();
			return pumped;
		}
		/* Closed, by an alert or a mistake. What comes after is nothing, and least of all clear text. */
		wolfSSL_ERR_clear_error();
		t->state = SESSION_OVER;
		return PUMPED_END;
	}
	return pumped;
}

static enum stream_pumped layer_pump(struct stream *stream, void *layer)
{
	struct tls_session *t = layer;
	enum stream_pumped pumped;

	(void)stream;
	if (t->busy) {
		t->looked_at = true;
		return PUMPED_NOTHING;
	}
	switch (t->state) {
	case SESSION_HELLO:
	case SESSION_HANDSHAKE:
		return PUMPED_INPUT;
	case SESSION_OVER:
		return PUMPED_END;
	case SESSION_OPEN:
		break;
	}
	t->busy = true;
	pumped = pump_records(t);
	t->busy = false;
	return pumped;
}

/* A call that may have parked is over. */
void session_unbusy(struct tls_session *t)
{
	t->busy = false;
	t->task = NULL;
	if (t->looked_at) {
		t->looked_at = false;
		stream_look_again(t->stream);
	}
}

static enum rc write_bytes(struct tls_session *t, const char *bytes, size_t len, struct err *err)
{
	while (len) {
		int wrote = wolfSSL_write(t->ssl, bytes, len > INT32_MAX ? INT32_MAX : (int)len);

		if (wrote <= 0) {
			if (t->task->cancelled)
				return CANCELLED;
			(void)library_error(err, t->ssl, wrote, "cannot send over TLS");
			return FAIL;
		}
		bytes += wrote;
		len -= (size_t)wrote;
	}
	return OK;
}

/* What was written was the last, and has been held: it goes together with the alert that says so (RFC 8446 section 6.1). */
static enum rc end_with_it(struct tls_session *t, struct err *err)
{
	(void)wolfSSL_shutdown(
	    t->ssl); /* which is to send its alert; that the peer has not sent his is no mistake */
	t->holding = false;
	t->state = SESSION_OVER;
	return send_all(t, NULL, 0, err);
}

/* Small pieces share a record; large ones are encrypted from where they are. */
static enum rc layer_writev(struct task *task, struct stream *stream, void *layer, const struct iovec *iov,
			    unsigned iov_count, struct err *err)
{
	struct tls_session *t = layer;
	char *gather = NULL;
	size_t held = 0;
	enum rc rc = OK;

	(void)stream;
	if (t->state != SESSION_OPEN || t->busy)
		return err_set(err, FAIL, "the TLS session is over");
	if (task->cancelled)
		return CANCELLED;
	t->busy = true;
	t->task = task;
	t->holding = t->last;
	for (unsigned i = 0; i < iov_count && rc == OK; i++) {
		const char *bytes = iov[i].iov_base;
		size_t len = iov[i].iov_len;
		bool last = i + 1 == iov_count;

		if (held && held + len > GATHER_MAX) {
			rc = write_bytes(t, gather, held, err);
			held = 0;
		}
		if (rc != OK || !len)
			continue;
		if (len >= GATHER_MAX / 2 || (last && !held)) {
			if (held)
				rc = write_bytes(t, gather, held, err);
			held = 0;
			if (rc == OK)
				rc = write_bytes(t, bytes, len, err);
			continue;
		}
		if (!gather)
			gather = malloc(GATHER_MAX); /* for as long as this call sends */
		if (!gather) {
			rc = err_memory(err);
			break;
		}
		memcpy(gather + held, bytes, len);
		held += len;
	}
	if (rc == OK && held)
		rc = write_bytes(t, gather, held, err);
	free(gather);
	if (rc == OK && t->last)
		rc = end_with_it(t, err);
	if (rc != OK && task->until <= shard_now(t->here->shard) && rc == FAIL)
		rc = DEFER;
	/* Half a record may be on its way: nothing can follow it. */
	if (rc != OK)
		t->state = SESSION_OVER;
	t->holding = false;
	session_unbusy(t);
	return rc;
}

static void layer_last(struct stream *stream, void *layer)
{
	struct tls_session *t = layer;

	(void)stream;
	t->last = true;
}

static bool layer_write_now(struct stream *stream, void *layer, struct slice bytes)
{
	struct tls_session *t = layer;

	(void)stream;
	if (t->state != SESSION_OPEN || t->busy)
		return false;
	return wolfSSL_write(t->ssl, bytes.ptr, (int)bytes.len) == (int)bytes.len;
}

void session_flight_end(struct tls_session *t)
{
	if (t->flight)
		flight_done(t->flight);
	free(t->flight);
	t->flight = NULL;
}

static void early_free(struct tls_session *t)
{
	free(t->early);
	t->early = NULL;
	t->early_len = t->early_room = t->early_read = 0;
}

void tls_session_free(struct tls_session *t)
{
	if (t->ssl) {
		if (t->state == SESSION_OPEN)
			(void)wolfSSL_shutdown(t->ssl); /* a courtesy: the connection closes in any case */
		wolfSSL_free(t->ssl);
		wolfSSL_ERR_clear_error();
	}
	held_free(t);
	list_remove(&t->young);
	slot_free(t->memory.slot);
	slot_drop(t->memory.leaks);
	context_unref(t->context);
	early_free(t);
	session_flight_end(t);
	tally_down(&t->here->metrics->sessions);
	arena_done(&t->arena);
	free(t);
}

static void layer_close(struct stream *stream, void *layer)
{
	struct tls_session *t = layer;

	(void)stream;
	ASSERT(!t->busy);
	tls_session_free(t);
}

const struct stream_layer_ops session_layer = {
    .pump = layer_pump,
    .writev = layer_writev,
    .write_now = layer_write_now,
    .last = layer_last,
    .close = layer_close,
};

struct tls_session *tls_session_new(struct stream *stream)
{
	struct tls_shard *here = tls_shard_here(stream_shard(stream));
	struct tls_session *t = here ? calloc(1, sizeof(*t)) : NULL; /* as long as its connection */

	if (!t)
		return NULL;
	t->stream = stream;
	t->here = here;
	list_init(&t->young);
	arena_init_small(&t->arena, 256ul * 1024);
	t->facts = (struct tls_facts){.version = SLICE_EMPTY,
				      .cipher = SLICE_EMPTY,
				      .cipher_std = SLICE_EMPTY,
				      .peer_dn = SLICE_EMPTY,
				      .our_certificate = SLICE_EMPTY,
				      .peer_certificate = SLICE_EMPTY,
				      .sni = SLICE_EMPTY,
				      .alpn = SLICE_EMPTY,
				      .verify_error = SLICE_EMPTY,
				      .ocsp_error = SLICE_EMPTY};
	tally_up(&here->metrics->sessions);
	return t;
}

/* ---- The handshake of a server ---- */

/* An alert of ours (RFC 8446 section 6) before the library is there to send it. */
static void send_alert(struct tls_session *t, int description)
{
	const char record[7] = {21, 3, 3, 0, 2, 2, (char)description};

	(void)stream_raw_write_now(t->stream, record, sizeof(record));
}

static enum tls_progress give_up(struct tls_session *t)
{
	session_turn_end(t);
	t->state = SESSION_OVER;
	tally_up(&t->here->metrics->failed[TLS_IN]);
	early_free(t);
	return TLS_FAILED;
}

static enum tls_progress refuse(struct tls_session *t, int alert, struct err *err, const char *why)
{
	(void)err_set(err, FAIL, "%s", why);
	send_alert(t, alert);
	return give_up(t);
}

/* All raw input behind what is there; false: no memory. */
static bool early_gather(struct tls_session *t)
{
	for (;;) {
		struct slice in = stream_raw_peek(t->stream);

		if (!in.len)
			return true;
		if (t->early_len + in.len > t->early_room) {
			uint32_t room = t->early_room ? t->early_room : EARLY_ROOM_FIRST;
			char *bytes;

			while (room < t->early_len + in.len)
				room *= 2;
			if (room > 4 * TLS_HELLO_MAX)
				return false;
			bytes = realloc(t->early, room); /* until the handshake has begun */
			if (!bytes)
				return false;
			t->early = bytes;
			t->early_room = room;
		}
		memcpy(t->early + t->early_len, in.ptr, in.len);
		t->early_len += in.len;
		stream_raw_consume(t->stream, in.len);
	}
}

struct tls_session *tls_server_begin(struct stream *stream, const struct tls_server *server)
{
	struct tls_session *t = tls_session_new(stream);

	if (!t)
		return NULL;
	t->server = *server;
	(void)stream_set_layer(stream, &session_layer, t);
	return t;
}

enum rc tls_server_check(struct task *task, const struct tls_settings *settings, const struct conf *conf,
			 struct err *err)
{
	struct tls_context *context;
	enum rc rc = context_get(task, settings, true, conf, &context, err);

	if (rc == OK)
		context_unref(context);
	return rc;
}

bool session_library(struct tls_session *t, struct err *err)
{
	struct library_memory *before;

#ifndef SLUICE_SANITIZE /* which is to see each block by itself */
	t->memory.slot = slot_new();
#endif
	before = library_use(&t->memory);
	t->ssl = wolfSSL_new(t->cert->ctx);
	(void)library_use(before);
	if (!t->ssl) {
		(void)err_memory(err);
		return false;
	}
	wolfSSL_SetIOReadCtx(t->ssl, t);
	wolfSSL_SetIOWriteCtx(t->ssl, t);
	wolfSSL_SetCertCbCtx(t->ssl, t);
	return true;
}

void session_use_alpn(struct task *task, struct tls_session *t, struct tls_list protocols, int mismatch)
{
	struct str list = str_make(task->arena);

	for (unsigned i = 0; i < protocols.count; i++) {
		if (i)
			str_addc(&list, ',');
		str_add(&list, protocols.items[i]);
	}
	if (list.len && !list.failed)
		(void)wolfSSL_UseALPN(t->ssl, list.ptr, list.len, (unsigned char)mismatch);
}

static bool bind_tickets(struct tls_session *t)
{
	wc_Sha256 sha;

	if (wc_InitSha256(&sha) != 0)
		return false;
	(void)wc_Sha256Update(&sha, t->context->binding, sizeof(t->context->binding));
	(void)wc_Sha256Update(&sha, (const byte *)t->facts.sni.ptr, t->facts.sni.len);
	(void)wc_Sha256Final(&sha, t->binding);
	wc_Sha256Free(&sha);
	return true;
}

/* The hello is there: the context it asks for, and the library's object. Parks. */
static bool begin(struct task *task, struct tls_session *t, struct err *err)
{
	struct tls_settings settings = {.verify = TLS_VERIFY_NONE};
	enum rc rc;

	t->facts.sni = t->hello.sni;
	rc = t->server.settings(task, t->server.arg, t->hello.sni, &settings, err);
	if (rc == OK)
		rc = context_get(task, &settings, true, t->server.conf, &t->context, err);
	if (rc != OK)
		return false;
	t->resumption = settings.resumption && (settings.verify != TLS_VERIFY_MUST || t->server.keep) &&
			tickets_attached(t->here->shard) && bind_tickets(t);
	t->cert = context_choose(t->context, &t->hello);
	if (session_turn(task, t) != OK || !session_library(t, err))
		return false;
	if (!t->context->server_order)
		(void)wolfSSL_UseClientSuites(t->ssl);
	if (!t->resumption) {
		(void)wolfSSL_NoTicketTLSv12(t->ssl);
		(void)wolfSSL_no_ticket_TLSv13(t->ssl);
	}
	if (t->cert->proof.len) {
		(void)wolfSSL_SetOCSP_Cb(t->ssl, session_proof, NULL, t);
		if (t->hello.ocsp && t->hello.tls13)
			t->memory.leaks = slot_new_plain();
		t->memory.certificate_size = t->cert->der_size;
		t->memory.proof_size = t->cert->proof.len;
		t->memory.watching = t->memory.leaks != NULL;
		t->ocsp_sent =
		    t->hello.ocsp && t->cert->proof_until >= (int64_t)(shard_wall(task->shard) / NS_PER_S);
	}
	if (t->hello.alpn.len)
		session_use_alpn(task, t, settings.alpn, WOLFSSL_ALPN_FAILED_ON_MISMATCH);
	return true;
}

/* With TLS 1.3 the library asks for another share, and the client for something else than what it has sent, if there is none. */
static bool knows_a_group(const struct tls_session *t)
{
	for (unsigned i = 0; i < t->context->group_count; i++)
		if (tls_hello_offers(&t->hello, (unsigned)t->context->groups[i]))
			return true;
	return false;
}

/* The version that both can do; NULL: there is one. */
static const char *no_version(const struct tls_session *t)
{
	if ((t->hello.tls13 && t->context->tls13) || (t->hello.tls12 && t->context->tls12))
		return NULL;
	if (!t->hello.tls12 && !t->hello.tls13)
		return "the client has neither TLS 1.2 nor TLS 1.3";
	return t->hello.tls12 ? "the client has no TLS 1.3" : "the client has no TLS 1.2";
}

/* With TLS 1.2 the library takes the client's first curve of 256 bits among the context's; so the one is chosen here, our first that
 * the client knows as well, and the others are switched off. Where a context has no TLS 1.3 the library does not allow that, and
 * has its way. A client that names no groups gets what the library thinks best, and so do all where only groups for DHE are set. false: there is none. */
static bool choose_curve(struct tls_session *t)
{
	const struct tls_context *context = t->context;
	bool curves = false;

	if (!context->group_count || !t->hello.groups.len)
		return true;
	if (t->hello.tls13 && context->tls13)
		return knows_a_group(t);
	for (unsigned i = 0; i < context->group_count; i++) {
		const char *name = curve_name(context->groups[i]);

		curves |= name != NULL;
		if (name && tls_hello_offers(&t->hello, (unsigned)context->groups[i]))
			return !context->tls13 || wolfSSL_set1_curves_list(t->ssl, name) == WOLFSSL_SUCCESS;
	}
	return !curves;
}

/* Reads the hello; DONE: it is whole, and the session stands ready. */
static enum tls_progress hello(struct task *task, struct tls_session *t, struct err *err)
{
	struct slice bytes;
	const char *why;

	if (!early_gather(t))
		return refuse(t, 80, err, "the ClientHello is too large");
	if (t->early_len < t->early_need && !stream_raw_at_end(t->stream))
		return TLS_MORE;
	bytes = slice_make(t->early, t->early_len, TAINTED);
	switch (tls_hello_parse(&t->arena, bytes, &t->early_need, &t->hello)) {
	case TLS_HELLO_WHOLE:
		break;
	case TLS_HELLO_PART:
		if (stream_raw_at_end(t->stream)) {
			(void)err_set(err, FAIL, "the connection was closed before the ClientHello");
			return give_up(t);
		}
		return TLS_MORE;
	case TLS_HELLO_NONE:
		return refuse(t, 10, err, "what came is no ClientHello");
	case TLS_HELLO_MALFORMED:
		return refuse(t, 50, err, "malformed ClientHello");
	}
	if (!begin(task, t, err)) {
		send_alert(t, 80);
		return give_up(t);
	}
	why = no_version(t);
	if (why)
		return refuse(t, 70, err, why);
	if (!choose_curve(t))
		return refuse(t, 40, err, "the client has none of the curves of tls_eccurve");
	t->state = SESSION_HANDSHAKE;
	return TLS_DONE;
}

/* What the handshake leaves behind and nobody needs any more. */
void session_opened(struct tls_session *t)
{
	t->state = SESSION_OPEN;
	facts_fill(t);
	if (!t->client)
		library_count(t);
	if (t->early_read == t->early_len)
		early_free(t);
	wolfSSL_FreeArrays(t->ssl);
	if (t->memory.slot)
		library_opened(t);
}

/* The library goes without a word where a client of TLS 1.2 has to show a certificate and shows none. */
static void say_why(struct tls_session *t)
{
	WOLFSSL_ALERT_HISTORY alerts = {.last_rx = {-1, -1}, .last_tx = {-1, -1}};

	if (wolfSSL_GetVersion(t->ssl) == WOLFSSL_TLSV1_2 &&
	    wolfSSL_get_alert_history(t->ssl, &alerts) == WOLFSSL_SUCCESS && alerts.last_tx.level == -1 &&
	    alerts.last_rx.level == -1 && !stream_raw_at_end(t->stream))
		send_alert(t, 40);
}

static enum tls_progress step(struct task *task, struct tls_session *t, struct err *err)
{
	enum tls_progress progress = TLS_DONE;
	struct library_memory *before;
	int result;

	if (t->state == SESSION_HELLO)
		progress = hello(task, t, err);
	if (progress != TLS_DONE)
		return progress;
	if (session_turn(task, t) != OK) {
		(void)err_set(err, DEFER, "no time for a handshake");
		return give_up(t);
	}
	before = library_use(&t->memory);
	result = wolfSSL_accept(t->ssl);
	library_settle(&t->memory);
	(void)library_use(before);
	session_turn_end(t);
	if (result == WOLFSSL_SUCCESS) {
		session_opened(t);
		return TLS_DONE;
	}
	result = wolfSSL_get_error(t->ssl, result);
	if (result == WOLFSSL_ERROR_WANT_READ || result == WOLFSSL_ERROR_WANT_WRITE) {
		wolfSSL_ERR_clear_error();
		return TLS_MORE;
	}
	if (stream_raw_at_end(t->stream) && result != WOLFSSL_ERROR_ZERO_RETURN)
		(void)err_set(err, FAIL, "the connection was closed in the middle of the handshake");
	else if (t->verify_error && t->context->verify == TLS_VERIFY_MUST)
		(void)err_set(err, FAIL, "certificate verification failed: %s", t->verify_why);
	else
		(void)library_error(err, t->ssl, result, "the handshake failed");
	say_why(t);
	return give_up(t);
}

enum tls_progress tls_handshake(struct task *task, struct tls_session *t, struct err *err)
{
	enum tls_progress progress;

	if (t->state == SESSION_OPEN)
		return TLS_DONE;
	if (t->state == SESSION_OVER || t->busy) {
		(void)err_set(err, FAIL, "the TLS session is over");
		return TLS_FAILED;
	}
	t->busy = true;
	t->task = task;
	progress = step(task, t, err);
	/* What came while it computed or sent may be all that it waits for. */
	while (progress == TLS_MORE && t->looked_at && stream_raw_peek(t->stream).len) {
		t->looked_at = false;
		progress = step(task, t, err);
	}
	t->looked_at |= progress == TLS_DONE;
	session_unbusy(t);
	return progress;
}
