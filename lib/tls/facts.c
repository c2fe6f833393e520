/* facts: what came of a handshake, in the words that logs and variables use. */
#include "tls/engine.h"
#include "tls/cert.h"
#include "tls/x509.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

/* What goes wrong with certificates most is seen in the certificate itself. The library has two sets of numbers for it, which differ
 * with its version and with where it noticed; and a certificate that is wrong in two ways may have either. */
static const char *words_of_certificate(struct tls_session *t, WOLFSSL_X509 *x509)
{
	int64_t now_s = (int64_t)(shard_wall(t->here->shard) / NS_PER_S);
	const unsigned char *bytes;
	struct x509 cert;
	int len = 0;

	bytes = x509 ? wolfSSL_X509_get_der(x509, &len) : NULL;
	if (!bytes || len <= 0 || !x509_parse(slice_make((const char *)bytes, (size_t)len, TAINTED), &cert))
		return NULL;
	if (now_s > cert.not_after)
		return "certificate has expired";
	if (now_s < cert.not_before)
		return "certificate is not yet valid";
	return slice_eq(cert.issuer, cert.subject) ? "self-signed certificate" : NULL;
}

const char *verify_words(struct tls_session *t, WOLFSSL_X509_STORE_CTX *store)
{
	int error = store->error < 0 ? store->error : -store->error;
	const char *words = NULL;

	if (error == CRL_CERT_REVOKED || error == -X509_V_ERR_CERT_REVOKED)
		return "certificate is revoked";
	if (error != CRL_MISSING && error != CRL_CERT_DATE_ERR)
		words = words_of_certificate(t, store->current_cert);
	if (words)
		return words;
	if (error == ASN_NO_SIGNER_E || error == ASN_SELF_SIGNED_E)
		return "unable to get local issuer certificate";
	words = wolfSSL_ERR_reason_error_string((unsigned long)-error);
	if (!words || strncmp(words, "unknown", 7) == 0)
		words = wolfSSL_X509_verify_cert_error_string(-error);
	return words && strncmp(words, "unknown", 7) ? words : "certificate invalid";
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

bool certificate_is_ecdsa(const struct x509 *cert)
{
	struct slice rest = cert->key_info;
	struct der_item info, algorithm, oid;

	/* SubjectPublicKeyInfo ::= SEQUENCE { SEQUENCE { OID, ... }, ... }; 1.2.840.10045.2.1 */
	return der_next(&rest, &info) && der_next(&info.body, &algorithm) &&
	       der_next(&algorithm.body, &oid) && slice_eq(oid.body, SLICE("\x2a\x86\x48\xce\x3d\x02\x01"));
}

/* Who has signed the key exchange: the server, whoever that is. */
static void add_signature(struct str *str, const struct tls_session *t, bool tls13, bool ecdsa)
{
	static const struct {
		unsigned scheme;
		const char *name, *name12; /* an ECDSA signature has no curve of its own in TLS 1.2 */
	} schemes[] = {
	    {0x0201, "RSA_SHA1", NULL},
	    {0x0401, "RSA_SHA256", NULL},
	    {0x0501, "RSA_SHA384", NULL},
	    {0x0601, "RSA_SHA512", NULL},
	    {0x0203, "ECDSA_SHA1", NULL},
	    {0x0403, "ECDSA_SECP256R1_SHA256", "ECDSA_SHA256"},
	    {0x0503, "ECDSA_SECP384R1_SHA384", "ECDSA_SHA384"},
	    {0x0603, "ECDSA_SECP521R1_SHA512", "ECDSA_SHA512"},
	    {0x0804, "RSA_PSS_RSAE_SHA256", NULL},
	    {0x0805, "RSA_PSS_RSAE_SHA384", NULL},
	    {0x0806, "RSA_PSS_RSAE_SHA512", NULL},
	    {0x0807, "EDDSA_ED25519", NULL},
	    {0x0808, "EDDSA_ED448", NULL},
	    {0x0809, "RSA_PSS_SHA256", NULL},
	    {0x080a, "RSA_PSS_SHA384", NULL},
	    {0x080b, "RSA_PSS_SHA512", NULL},
	};

	for (unsigned i = 0; t->scheme && i < ARRAY_COUNT(schemes); i++)
		if (schemes[i].scheme == t->scheme) {
			str_addz(str, !tls13 && schemes[i].name12 ? schemes[i].name12 : schemes[i].name);
			return;
		}
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

static void fill_cipher(struct tls_session *t, bool ecdsa)
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
		if (group) {
			str_addz(&text, strncmp(group, "FFDHE", 5) == 0 ? "DHE_" : "ECDHE_");
			str_addz(&text, group);
			str_addz(&text, "__");
		} else if (slice_starts(std, SLICE("TLS_DHE_"))) {
			str_addz(&text, "DHE_CUSTOM__");
		}
		add_signature(&text, t, tls13, ecdsa);
		str_addz(&text, "__");
	}
	add_bulk(&text, std);
	str_addc(&text, ':');
	str_addu(&text, (unsigned)f->bits);
	f->cipher = str_slice(&text);
}

/* The peer's certificate, of this handshake or the one that is resumed; whole.len 0: none. */
static void fill_peer(struct tls_session *t, struct x509 *cert_ret)
{
	bool reused = wolfSSL_session_reused(t->ssl);
	WOLFSSL_X509 *peer = reused ? NULL : wolfSSL_get_peer_certificate(t->ssl);
	struct tls_facts *f = &t->facts;
	struct slice der = reused ? t->stored_certificate : SLICE_EMPTY;
	struct str pem = str_make(&t->arena), dn = str_make(&t->arena);
	const unsigned char *bytes;
	int len = 0;

	*cert_ret = (struct x509){.whole = SLICE_EMPTY};
	bytes = peer ? wolfSSL_X509_get_der(peer, &len) : NULL;
	if (bytes && len > 0) {
		der = arena_copy(&t->arena, slice_make((const char *)bytes, (size_t)len, TAINTED));
		t->stored_certificate = der;
	}
	wolfSSL_X509_free(peer);
	if (!der.ptr || !der.len || !x509_parse(der, cert_ret))
		return;
	pem_write(&pem, "CERTIFICATE", der);
	f->peer_certificate = slice_tainted(str_slice(&pem));
	cert_name_text(&dn, cert_ret->subject);
	f->peer_dn = slice_tainted(str_slice(&dn));
	f->verified = t->context->verify != TLS_VERIFY_NONE && !t->verify_error;
	if (reused)
		f->verified &= t->stored_verified;
	if (t->verify_error)
		f->verify_error = slice_of(t->verify_why);
}

static void fill_as_server(struct tls_session *t)
{
	struct tls_facts *f = &t->facts;

	f->our_certificate = t->cert->pem;
	f->ocsp = !t->hello.ocsp ? TLS_OCSP_NOT_REQUESTED
		  : t->ocsp_sent ? TLS_OCSP_VERIFIED
				 : TLS_OCSP_NO_RESPONSE;
	f->resumption = (uint8_t)((t->resumption ? TLS_RESUME_SUPPORTED : 0) |
				  (t->hello.ticket ? TLS_RESUME_CLIENT_ASKED : 0) |
				  (t->hello.offers ? TLS_RESUME_CLIENT_OFFERED : 0) |
				  (t->ticket_given ? TLS_RESUME_SERVER_TICKET : 0) |
				  (wolfSSL_session_reused(t->ssl) ? TLS_RESUME_USED : 0));
}

static void fill_as_client(struct tls_session *t)
{
	const struct tls_client *client = t->as_client;
	struct tls_facts *f = &t->facts;

	f->our_certificate = t->cert->pem;
	f->sni = arena_copy(&t->arena, client->sni);
	if (wolfSSL_session_reused(t->ssl))
		f->ocsp = t->stored_ocsp;
	else if (!t->ocsp_asked)
		f->ocsp = client->ocsp_failed ? TLS_OCSP_FAILED : TLS_OCSP_NOT_REQUESTED;
	else
		f->ocsp = TLS_OCSP_NO_RESPONSE; /* until staple_judge() has looked */
	f->resumption =
	    (uint8_t)(TLS_RESUME_SUPPORTED | (client->settings->resumption ? TLS_RESUME_CLIENT_ASKED : 0) |
		      (client->session.len ? TLS_RESUME_CLIENT_OFFERED : 0) |
		      (wolfSSL_session_reused(t->ssl) ? TLS_RESUME_USED : 0));
}

void facts_fill(struct tls_session *t)
{
	struct tls_facts *f = &t->facts;
	char *protocol = NULL;
	struct x509 peer;
	word16 len = 0;

	fill_peer(t, &peer);
	fill_cipher(t, t->client ? peer.whole.len && certificate_is_ecdsa(&peer) : t->cert->ecdsa);
	if (t->client)
		fill_as_client(t);
	else
		fill_as_server(t);
	if (wolfSSL_ALPN_GetProtocol(t->ssl, &protocol, &len) == WOLFSSL_SUCCESS && protocol)
		f->alpn = arena_copy(&t->arena, slice_make(protocol, len, TAINTED));
	wolfSSL_ERR_clear_error();
}
