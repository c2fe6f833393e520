/* facts: what came of a handshake, in the words that logs and variables use. */
#include "tls/engine.h"
#include "tls/x509.h"

const char *verify_words(int error)
{
	const char *words = wolfSSL_X509_verify_cert_error_string(error < 0 ? -error : error);

	return words ? words : "certificate invalid";
}

/* The names of the groups as GnuTLS has them, which is what Debian's Exim logs. */
static const char *group_name(WOLFSSL *ssl)
{
	const char *name = wolfSSL_get_curve_name(ssl);

	if (!name)
		return NULL;
	if (strncmp(name, "FFDHE_", 6) == 0 || strncmp(name, "ffdhe", 5) == 0)
		return "FFDHE2048";
	return name;
}

static void add_signature(struct str *str, const struct tls_session *t, bool tls13)
{
	bool ecdsa = t->cert && t->cert->ecdsa;

	if (ecdsa)
		str_addz(str, tls13 ? "ECDSA_SECP256R1_SHA256" : "ECDSA_SHA256");
	else
		str_addz(str, tls13 || t->hello.rsa_pss_last ? "RSA_PSS_RSAE_SHA256" : "RSA_SHA256");
}

/* "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" or "TLS_AES_256_GCM_SHA384": what encrypts; the hash is named where it guards the
 * records, which with an AEAD it does not. */
static void add_bulk(struct str *str, struct slice std)
{
	ptrdiff_t with = slice_search(std, SLICE("_WITH_"));
	struct slice bulk = with >= 0 ? slice_from(std, (size_t)with + 6) : slice_from(std, 4);
	ptrdiff_t last = slice_rfind(bulk, '_');
	struct slice hash = last > 0 ? slice_from(bulk, (size_t)last + 1) : SLICE_EMPTY;

	str_add(str, last > 0 ? slice_sub(bulk, 0, (size_t)last) : bulk);
	if (slice_search(bulk, SLICE("_CBC_")) < 0)
		return;
	str_addz(str, "__");
	str_add(str, slice_eq(hash, SLICE("SHA")) ? SLICE("SHA1") : hash);
}

static void fill_cipher(struct tls_session *t)
{
	struct tls_facts *f = &t->facts;
	bool tls13 = wolfSSL_version(t->ssl) == TLS1_3_VERSION;
	int suite = wolfSSL_get_current_cipher_suite(t->ssl);
	const char *group = group_name(t->ssl);
	struct str text = str_make(&t->arena);
	struct slice std = slice_of(
	    wolfSSL_get_cipher_name_iana_from_suite((unsigned char)(suite >> 8), (unsigned char)suite));

	f->bits = slice_search(std, SLICE("AES_128")) >= 0 ? 128 : 256;
	f->version = tls13 ? SLICE("TLS1.3") : SLICE("TLS1.2");
	f->cipher_std = arena_copy(&t->arena, std);
	str_add(&text, f->version);
	str_addc(&text, ':');
	if (slice_starts(std, SLICE("TLS_RSA_WITH_"))) {
		str_addz(&text, "RSA__");
	} else {
		if (group)
			str_printf(&text, "%s_%s__", strncmp(group, "FFDHE", 5) == 0 ? "DHE" : "ECDHE",
				   group);
		else if (slice_starts(std, SLICE("TLS_DHE_")))
			str_addz(&text, "DHE_CUSTOM__");
		add_signature(&text, t, tls13);
		str_addz(&text, "__");
	}
	add_bulk(&text, std);
	str_printf(&text, ":%d", f->bits);
	f->cipher = str_slice(&text);
}

static void fill_peer(struct tls_session *t)
{
	WOLFSSL_X509 *peer = wolfSSL_get_peer_certificate(t->ssl);
	struct tls_facts *f = &t->facts;
	const unsigned char *der;
	struct str pem = str_make(&t->arena);
	int len = 0;

	if (!peer)
		return;
	der = wolfSSL_X509_get_der(peer, &len);
	if (der && len > 0) {
		pem_write(&pem, "CERTIFICATE", slice_make((const char *)der, (size_t)len, TAINTED));
		f->peer_certificate = slice_tainted(str_slice(&pem));
		f->verified = t->context->verify != TLS_VERIFY_NONE && !t->verify_error;
	}
	if (t->verify_error)
		f->verify_error = slice_of(verify_words(t->verify_error));
	wolfSSL_X509_free(peer);
}

void facts_fill(struct tls_session *t)
{
	struct tls_facts *f = &t->facts;
	char *protocol = NULL;
	word16 len = 0;

	fill_cipher(t);
	if (t->cert)
		f->our_certificate = t->cert->pem;
	fill_peer(t);
	if (wolfSSL_ALPN_GetProtocol(t->ssl, &protocol, &len) == WOLFSSL_SUCCESS && protocol)
		f->alpn = arena_copy(&t->arena, slice_make(protocol, len, TAINTED));
	f->ocsp = !t->hello.ocsp ? TLS_OCSP_NOT_REQUESTED
		  : t->ocsp_sent ? TLS_OCSP_VERIFIED
				 : TLS_OCSP_NO_RESPONSE;
	f->resumption = (t->resumption ? TLS_RESUME_SUPPORTED : 0) |
			(t->hello.ticket ? TLS_RESUME_CLIENT_ASKED : 0) |
			(t->hello.offers ? TLS_RESUME_CLIENT_OFFERED : 0) |
			(t->ticket_given ? TLS_RESUME_SERVER_TICKET : 0) |
			(wolfSSL_session_reused(t->ssl) ? TLS_RESUME_USED : 0);
	wolfSSL_ERR_clear_error();
}
