/* context_build: certificates, keys and lists from their files into contexts of the library. May block: a helper thread's. */
#include "tls/engine.h"
#include "tls/ciphers.h"
#include "tls/ocsp.h"
#include "tls/tickets.h"
#include "tls/x509.h"

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/dh.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Where systems keep the authorities that they trust, in one file. */
static const char *const system_bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

static bool failed(struct context_job *job, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(job->problem, sizeof(job->problem), format, args);
	va_end(args);
	wolfSSL_ERR_clear_error();
	return false;
}

static const char *reason(int code)
{
	const char *words = wolfSSL_ERR_reason_error_string((unsigned long)(code < 0 ? -code : code));

	return words && *words ? words : "not accepted";
}

static bool read_file(struct context_job *job, struct slice path, struct slice *bytes_ret)
{
	char *name = arena_cstr(&job->arena, path), *bytes = NULL;
	FILE *file = name ? fopen(name, "rbe") : NULL;
	struct stat st;
	size_t got;

	if (!file)
		return failed(job, "%.*s: %s", SLICE_ARG(path), strerror(errno));
	if (fstat(fileno(file), &st) == 0 && st.st_size <= (off_t)TLS_FILE_MAX)
		bytes = arena_bytes(&job->arena, (size_t)st.st_size + 1);
	if (!bytes) {
		fclose(file);
		return failed(job, "%.*s: the file is too large", SLICE_ARG(path));
	}
	got = fread(bytes, 1, (size_t)st.st_size, file);
	fclose(file);
	*bytes_ret = slice_make(bytes, got, CLEAN);
	return got ? true : failed(job, "%.*s: the file is empty", SLICE_ARG(path));
}

static struct slice heap_copy(struct slice text)
{
	char *bytes = malloc(text.len + 1ul);

	if (!bytes)
		return SLICE_EMPTY;
	memcpy(bytes, text.ptr, text.len);
	return slice_make(bytes, text.len, CLEAN);
}

/* ---- What all contexts of the settings have alike ---- */

/* Groups for the key exchange, by the names that OpenSSL, GnuTLS and the standards give them. */
static const struct {
	const char *name;
	int group;
} group_names[] = {
    {"X25519", WOLFSSL_ECC_X25519},
    {"P-256", WOLFSSL_ECC_SECP256R1},
    {"prime256v1", WOLFSSL_ECC_SECP256R1},
    {"secp256r1", WOLFSSL_ECC_SECP256R1},
    {"P-384", WOLFSSL_ECC_SECP384R1},
    {"secp384r1", WOLFSSL_ECC_SECP384R1},
    {"P-521", WOLFSSL_ECC_SECP521R1},
    {"secp521r1", WOLFSSL_ECC_SECP521R1},
    {"X448", WOLFSSL_ECC_X448},
    {"ffdhe2048", WOLFSSL_FFDHE_2048},
    {"ffdhe3072", WOLFSSL_FFDHE_3072},
};

const char *curve_name(int group)
{
	switch (group) {
	case WOLFSSL_ECC_SECP256R1:
		return "P-256";
	case WOLFSSL_ECC_SECP384R1:
		return "P-384";
	case WOLFSSL_ECC_SECP521R1:
		return "P-521";
	case WOLFSSL_ECC_X25519:
		return "X25519";
	case WOLFSSL_ECC_X448:
		return "X448";
	default:
		return NULL;
	}
}

static bool add_group(struct slice name, int *groups, unsigned *count)
{
	for (unsigned i = 0; i < ARRAY_COUNT(group_names) && *count < WOLFSSL_MAX_GROUP_COUNT; i++)
		if (slice_eq_nocase(name, slice_of(group_names[i].name))) {
			groups[(*count)++] = group_names[i].group;
			return true;
		}
	return false;
}

/* The groups of a context bind the library with TLS 1.3 only. What this says is for a server with TLS 1.2, and sets the groups, too:
 * it comes before they are set. */
static bool disable_other_curves(WOLFSSL_CTX *ctx, const int *groups, unsigned count)
{
	char list[128] = "";
	size_t len = 0;

	for (unsigned i = 0; i < count; i++) {
		const char *name = curve_name(groups[i]);

		if (name)
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len ? ":" : "", name);
	}
	return !len || wolfSSL_CTX_set1_curves_list(ctx, list) == WOLFSSL_SUCCESS;
}

static_assert(CONTEXT_GROUP_MAX >= WOLFSSL_MAX_GROUP_COUNT, "a context has room for the groups");

/* Unless told: what costs least first, since there are servers that take the first they know. The library would begin with P-521. */
static bool set_groups(struct context_job *job, WOLFSSL_CTX *ctx, struct slice chosen)
{
	struct slice list = job->settings.eccurve, rest, name;
	int groups[WOLFSSL_MAX_GROUP_COUNT];
	unsigned count = 0;

	if (!list.len || slice_eq_nocase(list, SLICE("auto")))
		list = chosen;
	if (!list.len && job->server)
		return true;
	rest = list.len ? list : SLICE("X25519:P-256:P-384:P-521:X448");
	while (rest.len) {
		ptrdiff_t colon = slice_find(rest, ':');

		name = slice_trim(slice_sub(rest, 0, colon < 0 ? rest.len : (size_t)colon));
		rest = slice_from(rest, colon < 0 ? rest.len : (size_t)colon + 1);
		if (name.len && !add_group(name, groups, &count))
			return failed(job, "tls_eccurve: \"%.*s\" is not a curve that is known here",
				      SLICE_ARG(name));
	}
	if (job->server && !disable_other_curves(ctx, groups, count))
		return failed(job, "tls_eccurve: the library does not keep to \"%.*s\"", SLICE_ARG(list));
	if (count && wolfSSL_CTX_set_groups(ctx, groups, (int)count) != WOLFSSL_SUCCESS)
		return failed(job, "tls_eccurve: the library has not all of \"%.*s\"", SLICE_ARG(list));
	job->context->group_count = count;
	memcpy(job->context->groups, groups, count * sizeof(groups[0]));
	return true;
}

static bool set_ciphers(struct context_job *job, WOLFSSL_CTX *ctx)
{
	struct err err = err_make(&job->arena);
	struct cipher_choice choice;
	char *list;

	if (ciphers_choose(&job->arena, job->settings.ciphers, &choice, &err) != OK)
		return failed(job, "tls_require_ciphers: %.*s", SLICE_ARG(err.text));
	list = arena_cstr(&job->arena, choice.list);
	if (!list || wolfSSL_CTX_set_cipher_list(ctx, list) != WOLFSSL_SUCCESS)
		return failed(job, "tls_require_ciphers: the library has none of these: %.*s",
			      SLICE_ARG(choice.list));
	if (wolfSSL_CTX_SetMinVersion(ctx, choice.tls12 ? WOLFSSL_TLSV1_2 : WOLFSSL_TLSV1_3) !=
	    WOLFSSL_SUCCESS)
		return failed(job, "the library refuses TLS 1.%d", choice.tls12 ? 2 : 3);
	if (!choice.tls13 && wolfSSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) != WOLFSSL_SUCCESS)
		return failed(job, "the library does not do without TLS 1.3");
	job->context->tls12 = choice.tls12;
	job->context->tls13 = choice.tls13;
	job->context->server_order = choice.server_order;
	return set_groups(job, ctx, choice.groups);
}

/* Of RFC 7919, 3526, 5114, and two of Exim's own. */
static bool is_dh_name(struct slice name)
{
	static const char *const names[] = {
	    "historic",
	    "default",
	    "ike1",
	    "ike2",
	    "ike5",
	    "ike14",
	    "ike15",
	    "ike16",
	    "ike17",
	    "ike18",
	    "ike22",
	    "ike23",
	    "ike24",
	    "ffdhe2048",
	    "ffdhe3072",
	    "ffdhe4096",
	    "ffdhe6144",
	    "ffdhe8192",
	    "exim.dev.20160529.1",
	    "exim.dev.20160529.2",
	    "exim.dev.20160529.3",
	};

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		if (slice_eq_nocase(name, slice_of(names[i])))
			return true;
	return false;
}

static bool set_dh(struct context_job *job, WOLFSSL_CTX *ctx)
{
	struct slice dh = job->settings.dhparam, bytes;
	const DhParams *params = wc_Dh_ffdhe2048_Get();

	if (!job->server || slice_eq_nocase(dh, SLICE("none")))
		return true;
	if (dh.len && dh.ptr[0] == '/') {
		if (!read_file(job, dh, &bytes))
			return false;
		if (wolfSSL_CTX_SetTmpDH_buffer(ctx, (const unsigned char *)bytes.ptr, bytes.len,
						WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
			return failed(job, "tls_dhparam: %.*s has no parameters in PEM", SLICE_ARG(dh));
		return true;
	}
	if (dh.len && !is_dh_name(dh))
		return failed(job, "tls_dhparam: \"%.*s\" is no name of parameters", SLICE_ARG(dh));
#ifdef HAVE_FFDHE_3072
	if (slice_eq_nocase(dh, SLICE("ffdhe3072")))
		params = wc_Dh_ffdhe3072_Get();
#endif
	/* Other names have a prime of that size instead: they were chosen for peers, who take any. */
	(void)wolfSSL_CTX_SetTmpDH(ctx, params->p, (int)params->p_len, params->g, (int)params->g_len);
	return true;
}

/* For the log. */
static void note(struct context_job *job, const char *format, ...)
{
	size_t used = strlen(job->notes);
	va_list args;

	if (used)
		job->notes[used++] = ';', job->notes[used++] = ' ';
	va_start(args, format);
	vsnprintf(job->notes + used, sizeof(job->notes) - used, format, args);
	va_end(args);
	/* Room for the next one's separator. */
	job->notes[sizeof(job->notes) - 3] = 0;
}

static bool load_authorities(struct context_job *job, WOLFSSL_CTX *ctx)
{
	struct slice what = job->settings.verify_certificates;
	unsigned flags = WOLFSSL_LOAD_FLAG_IGNORE_ERR | WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY;
	const char *path = NULL;
	struct stat st;
	int rc = WOLFSSL_FAILURE;

	if (slice_eq(what, SLICE("system")) || slice_eq(what, SLICE("system,cache"))) {
		for (unsigned i = 0; i < ARRAY_COUNT(system_bundles) && !path; i++)
			if (access(system_bundles[i], R_OK) == 0)
				path = system_bundles[i];
	} else {
		path = arena_cstr(&job->arena, what);
	}
	/* Nobody can be verified then; but who need not be is better served with TLS than without. */
	if (!path) {
		if (!job->notes[0])
			note(job, "tls_verify_certificates: this system has no file of authorities");
		return true;
	}
	if (stat(path, &st) != 0)
		return failed(job, "tls_verify_certificates: %s: %s", path, strerror(errno));
	/* Not there at all: nobody can be verified, which is no mistake. */
	if (S_ISREG(st.st_mode) && !st.st_size)
		return true;
	if (S_ISDIR(st.st_mode))
		rc = wolfSSL_CTX_load_verify_locations_ex(ctx, NULL, path,
							  flags | WOLFSSL_LOAD_FLAG_IGNORE_ZEROFILE);
	else
		rc = wolfSSL_CTX_load_verify_locations_ex(ctx, path, NULL, flags);
	if (rc != WOLFSSL_SUCCESS)
		return failed(job, "tls_verify_certificates: %s: %s", path, reason(rc));
	if (!job->context->authorities.count && !authorities_load(&job->context->authorities, path))
		return failed(job, "out of memory");
	return true;
}

static bool load_list(struct context_job *job, const char *path)
{
	struct err err = err_make(&job->arena);
	struct slice bytes;

	if (!read_file(job, slice_of(path), &bytes))
		return false;
	return revoked_add(&job->context->revoked, &job->arena, bytes, &err) == OK ||
	       failed(job, "tls_crl: %s: %.*s", path, SLICE_ARG(err.text));
}

static bool load_lists(struct context_job *job, const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	char name[4096];
	struct stat st;
	bool fine = true;

	if (!directory)
		return failed(job, "tls_crl: %s: %s", path, strerror(errno));
	while (fine && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' &&
		    snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) < (int)sizeof(name) &&
		    stat(name, &st) == 0 && S_ISREG(st.st_mode))
			fine = load_list(job, name);
	closedir(directory);
	return fine;
}

static bool load_crl(struct context_job *job)
{
	struct slice what = job->settings.crl;
	struct revoked *revoked = &job->context->revoked;
	const char *path;
	struct stat st;

	if (!what.len || revoked->lists)
		return true;
	path = arena_cstr(&job->arena, what);
	if (!path || stat(path, &st) != 0)
		return failed(job, "tls_crl: %.*s: %s", SLICE_ARG(what), strerror(errno));
	if (S_ISDIR(st.st_mode) ? !load_lists(job, path) : !load_list(job, path))
		return false;
	if (!revoked->lists && !S_ISDIR(st.st_mode))
		return failed(job, "tls_crl: %s: there is no list of revoked certificates in it", path);
	revoked_sort(revoked);
	return true;
}

static bool set_verify(struct context_job *job, WOLFSSL_CTX *ctx)
{
	int mode = WOLFSSL_VERIFY_NONE;

	if (job->settings.verify != TLS_VERIFY_NONE)
		mode = WOLFSSL_VERIFY_PEER;
	if (job->settings.verify == TLS_VERIFY_MUST && job->server)
		mode |= WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	wolfSSL_CTX_set_verify(ctx, mode, session_verify);
	if (job->settings.verify == TLS_VERIFY_NONE || !job->settings.verify_certificates.len)
		return true;
	return load_authorities(job, ctx) && load_crl(job);
}

static WOLFSSL_CTX *context_common(struct context_job *job)
{
	WOLFSSL_CTX *ctx =
	    wolfSSL_CTX_new(job->server ? wolfSSLv23_server_method() : wolfSSLv23_client_method());

	if (!ctx) {
		(void)failed(job, "out of memory");
		return NULL;
	}
	wolfSSL_CTX_SetIORecv(ctx, session_receive);
	wolfSSL_CTX_SetIOSend(ctx, session_send);
	(void)wolfSSL_CTX_set_group_messages(ctx); /* a flight is one packet */
	/* The library's own cache of sessions is one table with locks for the whole process; tickets need none. */
	(void)wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_OFF);
	(void)wolfSSL_CTX_set_session_cache_mode(
	    ctx, WOLFSSL_SESS_CACHE_NO_INTERNAL); /* nor for those with tickets */
	(void)wolfSSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
	if (job->server) {
		(void)wolfSSL_CTX_set_TicketEncCb(ctx, session_ticket);
		(void)wolfSSL_CTX_set_TicketHint(ctx, TICKET_LIFE_S);
	} else {
		(void)wolfSSL_CTX_UseSessionTicket(ctx);
	}
	if (!set_ciphers(job, ctx) || !set_dh(job, ctx) || !set_verify(job, ctx)) {
		wolfSSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

/* ---- Proofs ---- */

/* The library checks a proof again before it sends it, and looks for the issuer among the authorities of the context. Where
 * clients' certificates are checked by these too, an issuer is added only if they vouch for it already. */
static bool trust_issuer(struct context_job *job, WOLFSSL_CTX *ctx, const struct x509 *issuer)
{
	bool clients = job->settings.verify != TLS_VERIFY_NONE;
	int rc;

	/* One that has signed itself would be taken without a question. If it is there already, that is fine. */
	if (clients && slice_eq(issuer->subject, issuer->issuer))
		return true;
	rc = wolfSSL_CTX_load_verify_buffer_ex(ctx, (const unsigned char *)issuer->whole.ptr,
					       issuer->whole.len, WOLFSSL_FILETYPE_ASN1, 0,
					       clients ? 0 : WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);
	return rc == WOLFSSL_SUCCESS;
}

/* Which of the responses in the file is about this certificate, and may be shown? */
static bool find_proof(struct context_job *job, struct slice text, bool pem, struct slice path,
		       const struct x509 *leaf, const struct x509 *issuer, struct context_cert *cert)
{
	struct err err = err_make(&job->arena), why = err_make(&job->arena);
	struct ocsp_answer answer;
	struct slice response;
	enum rc rc;

	(void)err_set(&why, FAIL, "there is no response in it");
	for (unsigned n = 0; (rc = ocsp_read(&job->arena, text, pem, n, &response, &err)) == OK; n++) {
		if (ocsp_check(response, leaf, issuer, (int64_t)time(NULL), &answer, &why) != OK)
			continue;
		cert->proof = heap_copy(response);
		cert->proof_made = answer.this_update;
		cert->proof_until = answer.valid_until;
		return cert->proof.len > 0;
	}
	note(job, "tls_ocsp_file: %.*s is not used: %.*s", SLICE_ARG(path),
	     SLICE_ARG(rc == DEFER ? err.text : why.text));
	return false;
}

static void load_proof(struct context_job *job, struct slice path, bool pem, struct slice chain,
		       struct context_cert *cert)
{
	struct slice rest = chain, label, der, text;
	struct err err = err_make(&job->arena);
	struct x509 certs[2];
	unsigned count = 0;

	while (count < 2 && pem_next(&job->arena, &rest, &label, &der, &err) == OK)
		if (slice_search(label, SLICE("CERTIFICATE")) >= 0 && x509_parse(der, &certs[count]))
			count++;
	if (count < 2) {
		note(job, "tls_ocsp_file: %.*s is not used: the issuer is not in the certificate's file",
		     SLICE_ARG(path));
		return;
	}
	if (!read_file(job, path, &text)) {
		note(job, "tls_ocsp_file: %s", job->problem);
		return;
	}
	if (!find_proof(job, text, pem, path, &certs[0], &certs[1], cert))
		return;
	if (!trust_issuer(job, cert->ctx, &certs[1])) {
		note(
		    job,
		    "tls_ocsp_file: %.*s is not used: clients are verified, and tls_verify_certificates does not "
		    "vouch for its issuer",
		    SLICE_ARG(path));
		free((char *)(uintptr_t)cert->proof.ptr);
		cert->proof = SLICE_EMPTY;
		return;
	}
	(void)wolfSSL_CTX_EnableOCSPStapling(cert->ctx);
	(void)wolfSSL_CTX_SetOCSP_Cb(cert->ctx, session_proof, NULL, NULL);
	/* So that certificates without a responder's address have their proof asked for, too: of us. */
	(void)wolfSSL_CTX_SetOCSP_OverrideURL(cert->ctx, "http://127.0.0.1/");
	(void)wolfSSL_CTX_EnableOCSP(cert->ctx, WOLFSSL_OCSP_URL_OVERRIDE);
	(void)wolfSSL_CTX_DisableOCSP(cert->ctx);
}

/* ---- Certificates ---- */

/* The first certificate of a file in PEM, and whether its key is for ECDSA. */
static bool look_at_leaf(struct context_job *job, struct slice text, struct context_cert *cert)
{
	struct slice rest = text, label, der;
	struct err err = err_make(&job->arena);
	struct x509 x509;
	struct str pem = str_make(&job->arena);

	while (pem_next(&job->arena, &rest, &label, &der, &err) == OK) {
		if (slice_search(label, SLICE("CERTIFICATE")) < 0 || !x509_parse(der, &x509))
			continue;
		pem_write(&pem, "CERTIFICATE", der);
		cert->pem = heap_copy(str_slice(&pem));
		cert->der_size = der.len;
		cert->ecdsa = certificate_is_ecdsa(&x509);
		return true;
	}
	return failed(job, "there is no certificate in it");
}

/* Is the first key in the text that of the certificate? The library looks at RSA keys; at those for curves it does not. */
static bool ec_key_fits(struct context_job *job, struct slice text, const struct context_cert *cert)
{
	struct slice rest = text, label, der, cert_rest = cert->pem, cert_der;
	struct err err = err_make(&job->arena);
	byte point[256];
	word32 at = 0, len = sizeof(point);
	struct x509 x509;
	ecc_key key;
	bool fits = false;

	do {
		if (pem_next(&job->arena, &rest, &label, &der, &err) != OK)
			return true; /* the library has read it, in whatever form it is */
	} while (slice_search(label, SLICE("PRIVATE KEY")) < 0);
	if (pem_next(&job->arena, &cert_rest, &label, &cert_der, &err) != OK ||
	    !x509_parse(cert_der, &x509) || wc_ecc_init(&key) != 0)
		return true;
	if (wc_EccPrivateKeyDecode((const byte *)der.ptr, &at, &key, der.len) != 0)
		fits = true;
	else if (wc_ecc_make_pub(&key, NULL) == 0 && wc_ecc_export_x963(&key, point, &len) == 0)
		fits = slice_eq(slice_make((const char *)point, len, CLEAN), x509.key_bits);
	wc_ecc_free(&key);
	return fits;
}

static bool load_certificate(struct context_job *job, struct slice path, struct slice key_path,
			     struct slice proof_path, bool proof_pem, struct context_cert *cert)
{
	struct slice text, key;
	int rc;

	if (!read_file(job, path, &text))
		return false;
	key = text;
	if (key_path.len && !read_file(job, key_path, &key))
		return false;
	if (!look_at_leaf(job, text, cert))
		return failed(job, "%.*s: there is no certificate in it", SLICE_ARG(path));
	cert->ctx = context_common(job);
	if (!cert->ctx)
		return false;
	rc = wolfSSL_CTX_use_certificate_chain_buffer(cert->ctx, (const unsigned char *)text.ptr, text.len);
	if (rc != WOLFSSL_SUCCESS)
		return failed(job, "%.*s: %s", SLICE_ARG(path), reason(rc));
	rc = wolfSSL_CTX_use_PrivateKey_buffer(cert->ctx, (const unsigned char *)key.ptr, key.len,
					       WOLFSSL_FILETYPE_PEM);
	if (rc != WOLFSSL_SUCCESS)
		return failed(job, "%.*s: there is no private key that can be used in it",
			      SLICE_ARG(key_path.len ? key_path : path));
	if (wolfSSL_CTX_check_private_key(cert->ctx) != WOLFSSL_SUCCESS ||
	    (cert->ecdsa && !ec_key_fits(job, key, cert)))
		return failed(job, "%.*s: the key is not that of the certificate %.*s",
			      SLICE_ARG(key_path.len ? key_path : path), SLICE_ARG(path));
	if (proof_path.len)
		load_proof(job, proof_path, proof_pem, text, cert);
	return true;
}

/* What Exim does when tls_certificate is not set, so that clients who look at no certificate are served. */
static bool self_signed(struct context_job *job)
{
	struct context_cert *cert = &job->context->certs[0];
	struct self_signed made;

	job->context->cert_count = 1;
	if (!self_signed_make(&job->arena, job->settings.name, &made))
		return failed(job, "no certificate of our own could be made");
	cert->ecdsa = true;
	cert->ctx = context_common(job);
	if (!cert->ctx)
		return false;
	if (!look_at_leaf(job, made.pem, cert) ||
	    wolfSSL_CTX_use_certificate_buffer(cert->ctx, (const unsigned char *)made.certificate.ptr,
					       made.certificate.len,
					       WOLFSSL_FILETYPE_ASN1) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_use_PrivateKey_buffer(cert->ctx, (const unsigned char *)made.key.ptr, made.key.len,
					      WOLFSSL_FILETYPE_ASN1) != WOLFSSL_SUCCESS)
		return failed(job, "no certificate of our own could be made");
	return true;
}

static bool load_certificates(struct context_job *job)
{
	const struct tls_settings *s = &job->settings;
	struct tls_context *context = job->context;
	bool proof_pem = false;

	if (s->certificates.count > CONTEXT_CERT_MAX)
		return failed(job, "more than %d certificates", CONTEXT_CERT_MAX);
	for (unsigned i = 0; i < s->certificates.count; i++) {
		struct slice key = i < s->privatekeys.count ? s->privatekeys.items[i] : SLICE_EMPTY;
		struct slice proof = i < s->ocsp_files.count ? s->ocsp_files.items[i] : SLICE_EMPTY;

		/* The format holds for those behind it, too. */
		if (slice_starts(proof, SLICE("PEM ")) || slice_starts(proof, SLICE("DER "))) {
			proof_pem = proof.ptr[0] == 'P';
			proof = slice_ltrim(slice_from(proof, 4));
		}
		context->cert_count = i + 1;
		if (!load_certificate(job, s->certificates.items[i], key, proof, proof_pem,
				      &context->certs[i]))
			return false;
	}
	if (context->cert_count)
		return true;
	if (job->server)
		return self_signed(job);
	context->cert_count = 1;
	context->certs[0].ctx = context_common(job);
	return context->certs[0].ctx != NULL;
}

/* What a ticket must have been made for: the texts of the options, not what is in the files, so that a renewed certificate and
 * the other nodes of a cluster honour it. */
static void bind_settings(struct context_job *job)
{
	const struct tls_settings *s = &job->settings;
	struct str text = str_make(&job->arena);
	wc_Sha256 sha;

	str_printf(&text, "smtp %d %d\n", (int)job->server, (int)s->verify);
	for (unsigned i = 0; i < s->certificates.count; i++)
		str_printf(&text, "%.*s\n", SLICE_ARG(s->certificates.items[i]));
	str_printf(&text, "\n%.*s\n%.*s\n%.*s\n", SLICE_ARG(s->verify_certificates), SLICE_ARG(s->crl),
		   SLICE_ARG(s->ciphers));
	if (wc_InitSha256(&sha) == 0) {
		(void)wc_Sha256Update(&sha, (const byte *)text.ptr, text.len);
		(void)wc_Sha256Final(&sha, job->context->binding);
		wc_Sha256Free(&sha);
	}
}

void context_build(struct context_job *job)
{
	job->context = calloc(1, sizeof(*job->context));
	if (!job->context) {
		(void)failed(job, "out of memory");
		return;
	}
	job->context->refs = 1;
	job->context->verify = job->settings.verify;
	for (unsigned i = 0; i < CONTEXT_CERT_MAX; i++)
		job->context->certs[i].pem = job->context->certs[i].proof = SLICE_EMPTY;
	bind_settings(job);
	if (!load_certificates(job)) {
		context_unref(job->context);
		job->context = NULL;
	}
	wolfSSL_ERR_clear_error();
}
