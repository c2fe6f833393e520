/* proof: what a fetcher of OCSP responses needs to know of a certificate: whom to ask, what to say, and whether the answer is
 * good. */
#include "tls/ocsp.h"
#include "tls/tls.h"

/* The first two certificates of the file: the leaf, and the one that has signed it. */
static enum rc read_pair(struct arena *arena, struct slice pem, struct x509 *leaf, struct x509 *issuer,
			 struct err *err)
{
	struct slice label, der;
	struct x509 cert;
	bool has_leaf = false;
	enum rc rc;

	while ((rc = pem_next(arena, &pem, &label, &der, err)) == OK) {
		if (!slice_eq(label, SLICE("CERTIFICATE")) || !x509_parse(der, &cert))
			continue;
		if (!has_leaf) {
			*leaf = cert;
			has_leaf = true;
		} else if (slice_eq(cert.subject, leaf->issuer)) {
			*issuer = cert;
			return OK;
		}
	}
	if (rc == DEFER)
		return FAIL;
	return err_set(err, FAIL,
		       has_leaf ? "the file does not hold the issuer's certificate"
				: "there is no certificate in the file");
}

enum rc tls_proof_ask(struct arena *arena, struct slice pem, struct slice *uri_ret, struct slice *request_ret,
		      struct err *err)
{
	struct x509 leaf, issuer;
	enum rc rc = read_pair(arena, pem, &leaf, &issuer, err);

	if (rc != OK)
		return rc;
	if (!x509_access_uri(&leaf, oid_ocsp, 0, uri_ret))
		return err_set(err, FAIL, "the certificate names no OCSP responder");
	return ocsp_request(arena, &leaf, &issuer, request_ret, err);
}

enum rc tls_proof_check(struct arena *arena, struct slice pem, struct slice response, int64_t now_s,
			struct tls_proof *ret, struct err *err)
{
	struct x509 leaf, issuer;
	struct ocsp_answer answer;
	enum rc rc = read_pair(arena, pem, &leaf, &issuer, err);

	if (rc == OK)
		rc = ocsp_check(response, &leaf, &issuer, now_s, &answer, err);
	if (rc == OK)
		*ret = (struct tls_proof){answer.this_update, answer.valid_until};
	return rc;
}
