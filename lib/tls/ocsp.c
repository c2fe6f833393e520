/* OCSP responses read and judged. What counts, in this order: it can be read; it speaks of this certificate; the issuer, or a
 * delegate that the issuer has certified for OCSP and that is itself within its dates, has signed it; its own dates; the status. */
#include "ocsp.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

/* A response taken apart. */
struct parts {
	struct slice data; /* what is signed */
	struct slice signature_algorithm, signature;
	struct slice certs; /* a sequence of certificates */
	struct der_item responder;
	struct slice singles;
	struct slice extensions; /* of the response */
};

/* ---- Reading ------------------------------------------------------------------------------------------------------- */

static bool parse_data(struct slice data, struct parts *parts)
{
	struct der_item item;

	(void)der_optional(&data, DER_CONTEXT_OF(0), &item);
	if (!der_next(&data, &parts->responder) || !der_expect(&data, DER_GENERALIZED_TIME, &item) ||
	    !der_expect(&data, DER_SEQUENCE, &item))
		return false;
	parts->singles = item.body;
	parts->extensions = SLICE_EMPTY;
	if (der_optional(&data, DER_CONTEXT_OF(1), &item))
		parts->extensions = item.body;
	return data.len == 0;
}

static bool parse_basic(struct slice der, struct parts *parts)
{
	struct der_item basic, data, algorithm, signature, tagged, certs;

	if (!der_expect(&der, DER_SEQUENCE, &basic) || der.len > 0 ||
	    !der_expect(&basic.body, DER_SEQUENCE, &data) ||
	    !der_expect(&basic.body, DER_SEQUENCE, &algorithm) ||
	    !der_expect(&basic.body, DER_BIT_STRING, &signature) ||
	    !der_bits(signature.body, &parts->signature))
		return false;
	parts->data = data.whole;
	parts->signature_algorithm = algorithm.whole;
	parts->certs = SLICE_EMPTY;
	if (der_optional(&basic.body, DER_CONTEXT_OF(0), &tagged)) {
		if (!der_expect(&tagged.body, DER_SEQUENCE, &certs))
			return false;
		parts->certs = certs.body;
	}
	return parse_data(data.body, parts);
}

/* false: *status_ret is what the responder said instead (1 to 6), or 0 when the bytes make no sense. */
static bool parse_response(struct slice der, struct parts *parts, unsigned *status_ret)
{
	struct der_item response, status, tagged, bytes, type, basic;

	*status_ret = 0;
	if (der.len > OCSP_RESPONSE_MAX || !der_expect(&der, DER_SEQUENCE, &response) || der.len > 0 ||
	    !der_expect(&response.body, DER_ENUMERATED, &status) || !der_small(status.body, status_ret) ||
	    *status_ret != 0)
		return false;
	return der_expect(&response.body, DER_CONTEXT_OF(0), &tagged) &&
	       der_expect(&tagged.body, DER_SEQUENCE, &bytes) && der_expect(&bytes.body, DER_OID, &type) &&
	       slice_eq(type.body, oid_ocsp_basic) && der_expect(&bytes.body, DER_OCTET_STRING, &basic) &&
	       parse_basic(basic.body, parts);
}

enum rc ocsp_read(struct arena *arena, struct slice text, bool pem, unsigned n, struct slice *response_ret,
		  struct err *err)
{
	struct slice label;
	enum rc rc;

	if (!pem) {
		*response_ret = text;
		return n == 0 ? OK : FAIL;
	}
	do {
		rc = pem_next(arena, &text, &label, response_ret, err);
		if (rc != OK)
			return rc;
	} while (!slice_eq(label, SLICE("OCSP RESPONSE")) || n-- > 0);
	return OK;
}

/* ---- Which certificate --------------------------------------------------------------------------------------------- */

static enum wc_HashType hash_of(struct slice oid)
{
	static const struct {
		struct slice oid;
		enum wc_HashType hash;
	} hashes[] = {
	    {SLICE_INIT("\x2b\x0e\x03\x02\x1a"), WC_HASH_TYPE_SHA},
	    {SLICE_INIT("\x60\x86\x48\x01\x65\x03\x04\x02\x01"), WC_HASH_TYPE_SHA256},
	    {SLICE_INIT("\x60\x86\x48\x01\x65\x03\x04\x02\x02"), WC_HASH_TYPE_SHA384},
	    {SLICE_INIT("\x60\x86\x48\x01\x65\x03\x04\x02\x03"), WC_HASH_TYPE_SHA512},
	};

	for (unsigned i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
		if (slice_eq(oid, hashes[i].oid))
			return hashes[i].hash;
	return WC_HASH_TYPE_NONE;
}

static bool digest_is(enum wc_HashType hash, struct slice bytes, struct slice expected)
{
	byte digest[WC_MAX_DIGEST_SIZE];
	int size = wc_HashGetDigestSize(hash);

	return size > 0 && expected.len == (uint32_t)size &&
	       wc_Hash(hash, (const byte *)bytes.ptr, bytes.len, digest, (word32)size) == 0 &&
	       memcmp(digest, expected.ptr, (size_t)size) == 0;
}

/* CertID (RFC 6960 section 4.1.1). The serial is compared first: it is nearly always what differs. */
static bool same_certificate(struct slice id, const struct x509 *leaf, const struct x509 *issuer)
{
	struct der_item algorithm, oid, name, key, serial;
	enum wc_HashType hash;

	if (!der_expect(&id, DER_SEQUENCE, &algorithm) || !der_expect(&algorithm.body, DER_OID, &oid) ||
	    !der_expect(&id, DER_OCTET_STRING, &name) || !der_expect(&id, DER_OCTET_STRING, &key) ||
	    !der_expect(&id, DER_INTEGER, &serial) || !slice_eq(serial.body, leaf->serial))
		return false;
	hash = hash_of(oid.body);
	return hash != WC_HASH_TYPE_NONE && digest_is(hash, leaf->issuer, name.body) &&
	       digest_is(hash, issuer->key_bits, key.body);
}

/* The single response that speaks of the leaf; its body behind the CertID. */
static bool find_single(struct slice singles, const struct x509 *leaf, const struct x509 *issuer,
			struct slice *ret)
{
	struct der_item single, id;

	for (unsigned i = 0; i < OCSP_SINGLES_MAX && der_expect(&singles, DER_SEQUENCE, &single); i++)
		if (der_expect(&single.body, DER_SEQUENCE, &id) && same_certificate(id.body, leaf, issuer)) {
			*ret = single.body;
			return true;
		}
	return false;
}

bool ocsp_belongs(struct slice response, const struct x509 *leaf, const struct x509 *issuer)
{
	struct parts parts;
	struct slice single;
	unsigned status;

	return parse_response(response, &parts, &status) && find_single(parts.singles, leaf, issuer, &single);
}

/* ---- Who signed ---------------------------------------------------------------------------------------------------- */

/* ResponderID: byName [1], or byKey [2] with the SHA-1 of the key. */
static bool is_responder(const struct parts *parts, const struct x509 *cert)
{
	struct slice body = parts->responder.body;
	struct der_item key;

	if (parts->responder.tag == DER_CONTEXT_OF(1))
		return slice_eq(body, cert->subject);
	return parts->responder.tag == DER_CONTEXT_OF(2) && der_expect(&body, DER_OCTET_STRING, &key) &&
	       digest_is(WC_HASH_TYPE_SHA, cert->key_bits, key.body);
}

static bool signed_by(const struct parts *parts, const struct x509 *cert)
{
	return signature_verify(parts->signature_algorithm, cert->key_info, parts->data, parts->signature,
				NULL) == OK;
}

/* May this certificate speak for the issuer (RFC 6960 section 4.2.2.2)? Directly signed by it, made for OCSP, and of today: a
 * delegate past its end has been the cause of proofs that nobody took, long before the proofs' own end. */
static bool is_delegate(const struct x509 *cert, const struct x509 *issuer, int64_t now)
{
	return slice_eq(cert->issuer, issuer->subject) && now >= cert->not_before - OCSP_TOLERANCE_S &&
	       now <= cert->not_after && x509_has_purpose(cert, oid_ocsp_signing, false) &&
	       signature_verify(cert->signature_algorithm, issuer->key_info, cert->tbs, cert->signature,
				NULL) == OK;
}

static bool find_signer(const struct parts *parts, const struct x509 *issuer, int64_t now,
			int64_t *signer_until_ret)
{
	struct slice rest = parts->certs;
	struct der_item item;
	struct x509 cert;

	if (is_responder(parts, issuer) && signed_by(parts, issuer)) {
		*signer_until_ret = issuer->not_after;
		return true;
	}
	for (unsigned i = 0; i < OCSP_SIGNERS_MAX && der_expect(&rest, DER_SEQUENCE, &item); i++)
		if (x509_parse(item.whole, &cert) && is_responder(parts, &cert) &&
		    is_delegate(&cert, issuer, now) && signed_by(parts, &cert)) {
			*signer_until_ret = cert.not_after;
			return true;
		}
	return false;
}

/* An extension that is marked critical, and of which nothing is known here, may change the meaning of all the rest. */
static bool has_critical(struct slice extensions)
{
	struct der_item list, extension, type, critical;

	if (!der_expect(&extensions, DER_SEQUENCE, &list))
		return false;
	while (der_expect(&list.body, DER_SEQUENCE, &extension))
		if (der_expect(&extension.body, DER_OID, &type) &&
		    der_optional(&extension.body, DER_BOOLEAN, &critical) && critical.body.len == 1 &&
		    critical.body.ptr[0] != 0)
			return true;
	return false;
}

/* ---- What it says --------------------------------------------------------------------------------------------------- */

static const char *revocation_reason(struct slice info)
{
	static const char *const reasons[] = {
	    "unspecified",   "keyCompromise",        "cACompromise",    "affiliationChanged",
	    "superseded",    "cessationOfOperation", "certificateHold", "(reason 7)",
	    "removeFromCRL", "privilegeWithdrawn",   "aACompromise",
	};
	struct der_item time, tagged, reason;
	unsigned number;

	if (!der_next(&info, &time) || !der_optional(&info, DER_CONTEXT_OF(0), &tagged) ||
	    !der_expect(&tagged.body, DER_ENUMERATED, &reason) || !der_small(reason.body, &number) ||
	    number >= sizeof(reasons) / sizeof(reasons[0]))
		return "(none given)";
	return reasons[number];
}

static bool parse_single(struct slice single, struct ocsp_answer *answer)
{
	struct der_item status, time, tagged;

	if (!der_next(&single, &status) || !der_expect(&single, DER_GENERALIZED_TIME, &time) ||
	    !der_time(&time, &answer->this_update))
		return false;
	if (der_optional(&single, DER_CONTEXT_OF(0), &tagged) &&
	    (!der_expect(&tagged.body, DER_GENERALIZED_TIME, &time) ||
	     !der_time(&time, &answer->next_update)))
		return false;
	if (der_optional(&single, DER_CONTEXT_OF(1), &tagged) && has_critical(tagged.body))
		return false;
	if (status.tag == DER_CONTEXT(0)) {
		answer->status = OCSP_GOOD;
	} else if (status.tag == DER_CONTEXT_OF(1)) {
		answer->status = OCSP_REVOKED;
		answer->reason = revocation_reason(status.body);
	} else {
		answer->status = OCSP_UNKNOWN;
	}
	return true;
}

static enum rc refuse(struct ocsp_answer *answer, enum ocsp_status status, struct err *err, const char *text)
{
	answer->status = status;
	return err_set(err, FAIL, "%s", text);
}

static enum rc judge(struct ocsp_answer *answer, int64_t now, struct err *err)
{
	if (answer->this_update > now + OCSP_TOLERANCE_S || answer->next_update == 0 ||
	    answer->next_update < now - OCSP_TOLERANCE_S)
		return refuse(answer, OCSP_DATES, err, "OCSP dates invalid");
	if (answer->status == OCSP_REVOKED)
		return err_set(err, FAIL, "Server certificate revoked; reason: %s", answer->reason);
	if (answer->status == OCSP_UNKNOWN)
		return err_set(err, FAIL, "Server certificate status unknown, in OCSP stapling");
	return OK;
}

enum rc ocsp_check(struct slice response, const struct x509 *leaf, const struct x509 *issuer, int64_t now,
		   struct ocsp_answer *answer_ret, struct err *err)
{
	struct ocsp_answer answer = {.status = OCSP_UNREADABLE, .reason = ""};
	int64_t signer_until = 0;
	struct parts parts;
	struct slice single;
	unsigned status;
	enum rc rc;

	*answer_ret = answer;
	if (!parse_response(response, &parts, &status)) {
		if (status)
			return err_set(err, FAIL, "OCSP responder error %u", status);
		return err_set(err, FAIL, "Received TLS cert status response, parse error");
	}
	if (!find_single(parts.singles, leaf, issuer, &single))
		return refuse(answer_ret, OCSP_FOREIGN, err, "OCSP response is for another certificate");
	if (has_critical(parts.extensions) || !parse_single(single, &answer))
		return refuse(answer_ret, OCSP_UNREADABLE, err,
			      "Received TLS cert status response, parse error");
	if (!find_signer(&parts, issuer, now, &signer_until))
		return refuse(answer_ret, OCSP_UNTRUSTED, err,
			      "Received TLS cert status response, itself unverifiable");
	rc = judge(&answer, now, err);
	answer.valid_until = answer.next_update < signer_until ? answer.next_update : signer_until;
	*answer_ret = answer;
	return rc;
}

/* ---- Asking ---------------------------------------------------------------------------------------------------------- */

static void add_tlv(struct str *str, uint8_t tag, struct slice body)
{
	str_addc(str, (char)tag);
	if (body.len >= 0x100) {
		str_addc(str, (char)0x82);
		str_addc(str, (char)(body.len >> 8));
	} else if (body.len >= 0x80) {
		str_addc(str, (char)0x81);
	}
	str_addc(str, (char)body.len);
	str_add(str, body);
}

static void add_sha1(struct str *str, struct slice bytes)
{
	byte digest[20];

	if (wc_Hash(WC_HASH_TYPE_SHA, (const byte *)bytes.ptr, bytes.len, digest, sizeof(digest)) != 0)
		str->failed = true;
	else
		add_tlv(str, DER_OCTET_STRING, slice_make((const char *)digest, sizeof(digest), CLEAN));
}

enum rc ocsp_request(struct arena *arena, const struct x509 *leaf, const struct x509 *issuer,
		     struct slice *request_ret, struct err *err)
{
	struct str id = str_make(arena), wrapped;
	struct slice body;

	str_add(&id,
		SLICE("\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00")); /* SHA-1: what all responders know */
	add_sha1(&id, leaf->issuer);
	add_sha1(&id, issuer->key_bits);
	add_tlv(&id, DER_INTEGER, leaf->serial);
	body = str_slice(&id);
	/* CertID, Request, requestList, TBSRequest, OCSPRequest: a sequence in a sequence, five times. */
	for (unsigned i = 0; i < 5; i++) {
		if (!body.ptr || body.len > 0xff00)
			return err_memory(err);
		wrapped = str_make(arena);
		add_tlv(&wrapped, DER_SEQUENCE, body);
		body = str_slice(&wrapped);
	}
	*request_ret = body;
	return body.ptr ? OK : err_memory(err);
}
