/* X.509 certificates (RFC 5280), read only: the fields that names, OCSP and the language ask for. Chains of peers are verified by
 * wolfSSL; what is here only looks. */
#ifndef TLS_X509_H
#define TLS_X509_H

#include "base/der.h"

/* All slices point into the certificate's bytes. */
struct x509 {
	struct slice whole;
	struct slice tbs; /* what is signed */
	unsigned version; /* 1 to 3 */
	struct slice serial;
	struct slice issuer, subject; /* Names, with tag and length */
	int64_t not_before, not_after;
	struct slice key_info; /* SubjectPublicKeyInfo, with tag and length */
	struct slice key_bits; /* what CertIDs have a digest of */
	struct slice signature_algorithm;
	struct slice signature;
	struct slice extensions; /* a sequence of Extension; empty: none */
};
/* false: these bytes are no certificate. */
bool x509_parse(struct slice der, struct x509 *ret);
/* The value of the extension with this OID (its body), inside its OCTET STRING; false: there is none. */
bool x509_extension(const struct x509 *cert, struct slice oid, struct slice *value_ret);
/* The next GeneralName of a SubjectAltName, IssuerAltName...: tag and body. *rest begins as the sequence's body. */
#define x509_general_name(rest, item) der_next((rest), (item))
/* The alternative names as a body of GeneralNames; false: there is no such extension. */
bool x509_subject_alt_names(const struct x509 *cert, struct slice *names_ret);
/* The next attribute of a Name (whose body is *rest at first), RDN by RDN; *at keeps the place inside one. */
struct x509_attribute {
	struct slice type; /* OID */
	struct der_item value;
};
struct x509_name_walk {
	struct slice rest, rdn;
};
void x509_name_walk(struct x509_name_walk *walk, struct slice name);
bool x509_name_next(struct x509_name_walk *walk, struct x509_attribute *ret);
/* The bytes of an attribute as UTF-8; false when it is not of a string type. */
bool x509_string(struct arena *arena, const struct der_item *value, struct slice *ret);
/* The last (most specific) common name of the subject. */
bool x509_common_name(struct arena *arena, const struct x509 *cert, struct slice *ret);
/* Is this purpose (its OID's body) named in the extended key usage? Without that extension: otherwise. */
bool x509_has_purpose(const struct x509 *cert, struct slice purpose, bool otherwise);
/* URIs of the given access method in the authority information access (OCSP: OID_OCSP); n-th of them, from 0. */
bool x509_access_uri(const struct x509 *cert, struct slice method, unsigned n, struct slice *uri_ret);

/* Was this signed with the key? algorithm is an AlgorithmIdentifier, key_info a SubjectPublicKeyInfo, both with tag and length. RSA
 * (PKCS#1 1.5 and PSS), ECDSA, Ed25519; SHA-1 up to SHA-512, no MD5. FAIL: no, or of a kind that is not known; err says. */
NODISCARD enum rc signature_verify(struct slice algorithm, struct slice key_info, struct slice signed_bytes,
				   struct slice signature, struct err *err);

/* The next block of a text with PEM blocks, decoded into the arena. OK; FAIL: no more; DEFER with text: it is malformed. */
NODISCARD enum rc pem_next(struct arena *arena, struct slice *rest, struct slice *label_ret,
			   struct slice *der_ret, struct err *err);
void pem_write(struct str *str, const char *label, struct slice der);

extern const struct slice oid_subject_alt_name, oid_extended_key_usage, oid_authority_access, oid_crl_points;
extern const struct slice oid_basic_constraints, oid_key_usage, oid_tls_feature, oid_ocsp_nocheck;
extern const struct slice oid_ocsp, oid_ocsp_basic, oid_ocsp_signing, oid_common_name;

#endif
