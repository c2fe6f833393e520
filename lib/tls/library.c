/* library: wolfSSL as a whole: its memory, its words, and the part of it that a shard has. */
#include "tls/engine.h"
#include "tls/memory.h"
#include "tls/tickets.h"

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/ecc.h>

#ifdef FP_ECC
#pragma weak wc_ecc_fp_free /* declared, but not there, where the assembler has tables of its own */
#endif

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct shard_slot slot;

/* Whose memory the library takes at present on this thread: see library_use(). */
static _Thread_local struct library_memory *in_use;

/* The sizes of the first two large blocks that are taken after it was cleared: those of wolfSSL_new(). */
#define LARGE_MIN 8192u
static _Thread_local size_t large[2];

/* wolfSSL 5.5 forgets two things of each ClientHello of TLS 1.3 that it staples a proof for: what is inside of the certificate that
 * it decodes for it (the certificate itself it frees), and its copy of the proof. It decodes, frees, then asks for the proof or has
 * it still, and copies: so the first is done here at that moment, unless it was seen to do it. A block is not taken for a
 * certificate because of its size alone, which the records of a flight may have as well. The copy lies where it is found again
 * when the session ends. */
static bool is_certificate(const struct library_memory *m)
{
	const DecodedCert *c = m->given_back;

	return c && c->maxIdx == m->certificate_size && c->srcIdx <= c->maxIdx && c->source && !c->heap &&
	       c->serialSz > 0 && c->serialSz <= (int)sizeof(c->serial);
}

void library_asks_for_proof(struct library_memory *m)
{
	if (!is_certificate(m))
		return;
	if (!m->emptied)
		wc_FreeDecodedCert(m->given_back);
	library_settle(m);
	m->proof_next = true;
}

static void *leaked_malloc(struct library_memory *m, size_t size)
{
	if (size == sizeof(DecodedCert) && !m->certificate) {
		m->certificate = calloc(1, size);
		m->emptied = false;
		return m->certificate;
	}
	if (size == m->proof_size)
		library_asks_for_proof(m);
	if (!m->proof_next || size != m->proof_size)
		return NULL;
	m->proof_next = false;
	return slot_take(m->leaks, size);
}

/* false: it is none of these. */
static bool leaked_free(struct library_memory *m, void *ptr)
{
	const DecodedCert *certificate = m->certificate;

	if (ptr != certificate) {
		m->emptied |= ptr == certificate->issuerName;
		return false;
	}
	library_settle(m);
	m->given_back = ptr;
	return true;
}

void library_settle(struct library_memory *m)
{
	free(m->given_back);
	m->given_back = NULL;
	m->certificate = NULL; /* what is still there is an ordinary block */
}

static void *library_malloc(size_t size)
{
	void *block = in_use && in_use->watching ? leaked_malloc(in_use, size) : NULL;

	if (!block && in_use && in_use->slot)
		block = slot_take(in_use->slot, size);
	if (size >= LARGE_MIN && !large[1])
		large[large[0] ? 1 : 0] = size;
	return block ? block : malloc(size);
}

static void library_free(void *ptr)
{
	if (slot_owns(ptr)) {
		slot_give(ptr);
		return;
	}
	if (!ptr || !in_use || !in_use->certificate || !leaked_free(in_use, ptr))
		free(ptr);
}

static void *library_realloc(void *ptr, size_t size)
{
	size_t had;
	void *block;

	if (in_use && ptr == in_use->certificate)
		in_use->certificate = NULL;
	if (!ptr || !slot_owns(ptr))
		return realloc(ptr, size);
	had = slot_size(ptr);
	block = library_malloc(size);
	if (block) {
		memcpy(block, ptr, had < size ? had : size);
		slot_give(ptr);
	}
	return block;
}

struct library_memory *library_use(struct library_memory *next)
{
	struct library_memory *before = in_use;

	in_use = next;
	return before;
}

/* How large are its objects? */
static void learn_sizes(void)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfSSLv23_client_method());

	large[0] = large[1] = 0;
	wolfSSL_free(ctx ? wolfSSL_new(ctx) : NULL);
	wolfSSL_CTX_free(ctx);
	(void)slots_init(large[0], large[1]);
}

static void init(void)
{
	/* Ours: a program with another malloc() than the C library's has the library use it too. */
	(void)wolfSSL_SetAllocators(library_malloc, library_free, library_realloc);
	(void)wolfSSL_Init();
	learn_sizes();
}

void library_thread_done(void)
{
#ifdef FP_ECC
	if (wc_ecc_fp_free)
		wc_ecc_fp_free(); /* tables for curves, most of a megabyte */
#endif
}

void library_init(void)
{
	(void)pthread_once(&once, init);
}

/* ---- Words ---- */

static const char *alert_words(int code)
{
	switch (code) {
	case 0:
		return "close_notify";
	case 10:
		return "unexpected_message";
	case 20:
		return "bad_record_mac";
	case 22:
		return "record_overflow";
	case 40:
		return "handshake_failure";
	case 42:
		return "bad_certificate";
	case 43:
		return "unsupported_certificate";
	case 44:
		return "certificate_revoked";
	case 45:
		return "certificate_expired";
	case 46:
		return "certificate_unknown";
	case 47:
		return "illegal_parameter";
	case 48:
		return "unknown_ca";
	case 50:
		return "decode_error";
	case 51:
		return "decrypt_error";
	case 70:
		return "protocol_version";
	case 71:
		return "insufficient_security";
	case 80:
		return "internal_error";
	case 86:
		return "inappropriate_fallback";
	case 90:
		return "user_canceled";
	case 109:
		return "missing_extension";
	case 112:
		return "unrecognized_name";
	case 113:
		return "bad_certificate_status_response";
	case 116:
		return "certificate_required";
	case 120:
		return "no_application_protocol";
	default:
		return NULL;
	}
}

enum rc library_error(struct err *err, WOLFSSL *ssl, int result, const char *what)
{
	int code = wolfSSL_get_error(ssl, result);
	const char *reason = wolfSSL_ERR_reason_error_string((unsigned long)(code < 0 ? -code : code));
	WOLFSSL_ALERT_HISTORY alerts = {.last_rx = {-1, -1}, .last_tx = {-1, -1}};

	wolfSSL_ERR_clear_error();
	if (wolfSSL_get_alert_history(ssl, &alerts) == WOLFSSL_SUCCESS && alerts.last_rx.level == 2) {
		const char *words = alert_words(alerts.last_rx.code);

		if (words)
			return err_set(err, FAIL, "%s: the peer sent alert %s", what, words);
		return err_set(err, FAIL, "%s: the peer sent alert %d", what, alerts.last_rx.code);
	}
	/* The library's words for these are about its own calls. */
	if (code == SOCKET_ERROR_E || code == SOCKET_PEER_CLOSED_E)
		return err_set(err, FAIL, "%s: the connection was closed by the peer", what);
	return err_set(err, FAIL, "%s: %s", what, reason && *reason ? reason : "unknown error");
}

struct slice tls_error_stage(struct slice *text)
{
	struct slice verification = SLICE("certificate verification failed"),
		     failed = SLICE("the handshake failed: ");

	if (slice_starts(*text, SLICE("certificate name mismatch: ")))
		return verification;
	if (slice_starts(*text, verification) && text->len > verification.len + 2) {
		*text = slice_from(*text, verification.len + 2ul);
		return verification;
	}
	if (slice_starts(*text, failed))
		*text = slice_from(*text, failed.len);
	return SLICE("handshake");
}

/* ---- The shard's part ---- */

#define TURN_NS_MAX 1000000ull /* of computing in one turn of the loop */

static void turn_next(struct timer *timer)
{
	struct tls_shard *here = CONTAINER_OF(timer, struct tls_shard, turn_timer);

	here->turn_spent = 0;
	(void)waitq_wake_one(&here->turn);
}

#define YOUNG_NS NS_PER_S

static void trim_young(struct timer *timer)
{
	struct tls_shard *here = CONTAINER_OF(timer, struct tls_shard, young_timer);
	uint64_t now = shard_now(here->shard);

	LIST_EACH (l, &here->young) {
		struct tls_session *t = LIST_ITEM(l, struct tls_session, young);

		if (now - t->opened < (uint64_t)YOUNG_NS) {
			timer_set(here->shard, timer, t->opened + YOUNG_NS);
			return;
		}
		list_remove(&t->young);
		slot_trim(t->memory.slot);
	}
}

void library_opened(struct tls_session *t)
{
	t->opened = shard_now(t->here->shard);
	list_append(&t->here->young, &t->young);
	if (!t->here->young_timer.place)
		timer_set(t->here->shard, &t->here->young_timer, t->opened + YOUNG_NS);
}

struct tls_shard *tls_shard_here(struct shard *shard)
{
	struct tls_shard *here;

	library_init();
	here = shard_slot(shard, &slot);
	if (here)
		return here;
	here = calloc(1, sizeof(*here)); /* once */
	if (!here)
		return NULL;
	here->shard = shard;
	here->metrics = shard_metrics(shard, &tls_metric_table, &here->own_metrics);
	map_init(&here->contexts, NULL, false);
	list_init(&here->used);
	waitq_init(&here->turn);
	timer_init(&here->turn_timer, turn_next);
	list_init(&here->young);
	timer_init(&here->young_timer, trim_young);
	shard_slot_set(shard, &slot, here);
	return here;
}

/* ---- Counts ---- */

#define SHAKES(in_or_out, version, how, labels)                                                            \
	METRIC_COUNTER(struct tls_metrics, shakes[in_or_out][version][how], "sluice_tls_handshakes_total", \
		       labels, "TLS handshakes that succeeded, as a server (in) and as a client (out)")
static const struct metric metric_rows[] = {
    SHAKES(TLS_IN, 0, TLS_FULL, "direction=\"in\",version=\"1.2\",result=\"full\""),
    SHAKES(TLS_IN, 0, TLS_RESUMED, "direction=\"in\",version=\"1.2\",result=\"resumed\""),
    SHAKES(TLS_IN, 1, TLS_FULL, "direction=\"in\",version=\"1.3\",result=\"full\""),
    SHAKES(TLS_IN, 1, TLS_RESUMED, "direction=\"in\",version=\"1.3\",result=\"resumed\""),
    SHAKES(TLS_OUT, 0, TLS_FULL, "direction=\"out\",version=\"1.2\",result=\"full\""),
    SHAKES(TLS_OUT, 0, TLS_RESUMED, "direction=\"out\",version=\"1.2\",result=\"resumed\""),
    SHAKES(TLS_OUT, 1, TLS_FULL, "direction=\"out\",version=\"1.3\",result=\"full\""),
    SHAKES(TLS_OUT, 1, TLS_RESUMED, "direction=\"out\",version=\"1.3\",result=\"resumed\""),
    METRIC_COUNTER(struct tls_metrics, failed[TLS_IN], "sluice_tls_handshakes_failed_total",
		   "direction=\"in\"", "TLS handshakes that were begun and failed"),
    METRIC_COUNTER(struct tls_metrics, failed[TLS_OUT], "sluice_tls_handshakes_failed_total",
		   "direction=\"out\"", ""),
    METRIC_COUNTER(struct tls_metrics, tickets_issued, "sluice_tls_tickets_issued_total", "",
		   "tickets given to clients"),
    METRIC_COUNTER(struct tls_metrics, tickets_taken, "sluice_tls_tickets_offered_total",
		   "result=\"accepted\"", "tickets that clients came back with"),
    METRIC_COUNTER(struct tls_metrics, tickets_refused, "sluice_tls_tickets_offered_total",
		   "result=\"refused\"", ""),
    METRIC_GAUGE(struct tls_metrics, sessions, "sluice_tls_sessions", "", "connections under TLS, both ways"),
    METRIC_GAUGE(struct tls_metrics, waiting, "sluice_tls_handshakes_waiting", "",
		 "handshakes that wait for their turn to compute"),
    METRIC_COUNTER(struct tls_metrics, contexts_made, "sluice_tls_contexts_total", "result=\"ok\"",
		   "sets of certificates and settings that were loaded"),
    METRIC_COUNTER(struct tls_metrics, contexts_failed, "sluice_tls_contexts_total", "result=\"failed\"", ""),
    METRIC_TIME(struct tls_metrics, staples, TLS_STAPLE_MADE, METRIC_KIND_AGE,
		"sluice_tls_staple_age_seconds", "certificate",
		"seconds since the proof (OCSP) of the certificate was made"),
    METRIC_TIME(struct tls_metrics, staples, TLS_STAPLE_UNTIL, METRIC_KIND_LEFT,
		"sluice_tls_staple_left_seconds", "certificate",
		"seconds until the proof can be shown no more; 0: there is none that is good"),
};
const struct metric_table tls_metric_table = {metric_rows, ARRAY_COUNT(metric_rows),
					      sizeof(struct tls_metrics)};

void library_count(struct tls_session *t)
{
	unsigned tls13 = slice_eq(t->facts.version, SLICE("TLS1.3"));
	unsigned how = t->facts.resumption & TLS_RESUME_USED ? TLS_RESUMED : TLS_FULL;

	tally_up(&t->here->metrics->shakes[t->client ? TLS_OUT : TLS_IN][tls13][how]);
}

void tls_proof_tell(struct shard *shard, struct slice certificate, const struct tls_proof *proof)
{
	struct tls_shard *here = tls_shard_here(shard);
	struct metric_named *at = here ? metric_named(&here->metrics->staples, certificate) : NULL;

	if (!at)
		return;
	tally_set(&at->values[TLS_STAPLE_MADE], (uint64_t)proof->made);
	tally_set(&at->values[TLS_STAPLE_UNTIL], (uint64_t)proof->until);
}

/* A handshake computes for about a millisecond, and a storm brings thousands at once. So many microseconds of each turn of the
 * loop are theirs, the rest belongs to those who are connected; who comes later waits for the next turn, in order. */
enum rc turn_begin(struct task *task, struct tls_shard *here, uint64_t *began_ret)
{
	uint64_t round = shard_now(here->shard);
	enum rc rc = OK;

	if (here->turn_round != round) {
		here->turn_round = round;
		here->turn_spent = 0;
	}
	if (here->turn_spent >= TURN_NS_MAX || here->turn_waiting) {
		here->turn_waiting++;
		tally_set(&here->metrics->waiting, here->turn_waiting);
		if (!here->turn_timer.place)
			timer_set(here->shard, &here->turn_timer, round);
		rc = waitq_wait(task, &here->turn);
		here->turn_waiting--;
		tally_set(&here->metrics->waiting, here->turn_waiting);
		if (rc != OK) {
			/* The turn was perhaps ours already, and is another's now. */
			turn_end(here, shard_wall_exact(here->shard));
			return rc;
		}
	}
	*began_ret = shard_wall_exact(here->shard);
	return OK;
}

void turn_end(struct tls_shard *here, uint64_t began)
{
	uint64_t now = shard_wall_exact(here->shard);

	here->turn_spent += now > began ? now - began : 0;
	if (!here->turn_waiting)
		return;
	if (here->turn_spent < TURN_NS_MAX)
		(void)waitq_wake_one(&here->turn);
	else if (!here->turn_timer.place)
		timer_set(here->shard, &here->turn_timer, shard_now(here->shard) + 1);
}

void tls_done(struct shard *shard)
{
	struct tls_shard *here;

	library_init();
	tickets_detach(shard);
	library_thread_done(); /* of proofs that were looked at, too */
	here = shard_slot(shard, &slot);
	if (!here)
		return;
	shard_slot_set(shard, &slot, NULL);
	timer_cancel(shard, &here->turn_timer);
	timer_cancel(shard, &here->young_timer);
	contexts_done(here);
	free(here);
}

/* ---- Keys of tickets ---- */

enum rc tls_tickets_open(struct slice directory, struct tls_tickets **ret, struct err *err)
{
	char path[256];

	library_init();
	*ret = NULL;
	if (directory.len >= sizeof(path)) {
		(void)err_set(err, FAIL, "the name of the directory for ticket keys is too long");
	} else if (directory.len) {
		snprintf(path, sizeof(path), "%.*s", SLICE_ARG(directory));
		if (tickets_open(path, (int64_t)time(NULL), ret, err) == OK)
			return OK;
	}
	return tickets_open(NULL, (int64_t)time(NULL), ret, NULL);
}

void tls_tickets_close(struct tls_tickets *tickets)
{
	tickets_close(tickets);
}

bool tls_tickets_attach(struct tls_tickets *tickets, struct shard *shard)
{
	return tickets_attach(tickets, shard);
}
