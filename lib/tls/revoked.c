/* revoked: lists of revoked certificates as a sorted array of keys, and the walk up a chain. */
#include "revoked.h"

#include <stdlib.h>

/* Keyed with the process's secret: nobody can choose a certificate whose key is that of another. */
static uint64_t key_of(struct slice issuer, struct slice serial)
{
	uint64_t parts[2] = {hash_slice(issuer), hash_slice(serial)};

	return hash_slice(slice_make((const char *)parts, sizeof(parts), CLEAN));
}

static bool add_key(struct revoked *r, uint64_t key)
{
	if (r->count == r->room) {
		uint32_t room = r->room ? r->room * 2 : 64;
		uint64_t *keys = realloc(r->keys, room * sizeof(*keys)); /* once for a change of files */

		if (!keys)
			return false;
		r->keys = keys;
		r->room = room;
	}
	r->keys[r->count++] = key;
	return true;
}

/* CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signature }
 * TBSCertList ::= SEQUENCE { version INTEGER OPTIONAL, signature, issuer Name, thisUpdate Time, nextUpdate Time OPTIONAL,
 *	revokedCertificates SEQUENCE OF SEQUENCE { serial INTEGER, date Time, extensions OPTIONAL } OPTIONAL, [0] extensions OPTIONAL } */
static enum rc add_list(struct revoked *r, struct slice der, struct err *err)
{
	struct der_item list, tbs, issuer, entries, entry, item;
	bool fine = der_expect(&der, DER_SEQUENCE, &list) && der_expect(&list.body, DER_SEQUENCE, &tbs);

	if (fine) {
		(void)der_optional(&tbs.body, DER_INTEGER, &item);
		fine = der_expect(&tbs.body, DER_SEQUENCE, &item) &&
		       der_expect(&tbs.body, DER_SEQUENCE, &issuer) && der_next(&tbs.body, &item) &&
		       (item.tag == DER_UTC_TIME || item.tag == DER_GENERALIZED_TIME);
	}
	if (!fine)
		return err_set(err, FAIL, "that is no list of revoked certificates");
	if (!der_optional(&tbs.body, DER_UTC_TIME, &item))
		(void)der_optional(&tbs.body, DER_GENERALIZED_TIME, &item);
	r->lists++;
	if (!der_optional(&tbs.body, DER_SEQUENCE, &entries))
		return OK;
	while (entries.body.len) {
		if (!der_expect(&entries.body, DER_SEQUENCE, &entry) ||
		    !der_expect(&entry.body, DER_INTEGER, &item))
			return err_set(err, FAIL, "a malformed list of revoked certificates");
		if (!add_key(r, key_of(issuer.whole, item.body)))
			return err_memory(err);
	}
	return OK;
}

enum rc revoked_add(struct revoked *r, struct arena *arena, struct slice text, struct err *err)
{
	struct slice label, der;
	enum rc rc;

	if (text.len && text.ptr[0] == DER_SEQUENCE)
		return add_list(r, text, err);
	while ((rc = pem_next(arena, &text, &label, &der, err)) == OK) {
		if (!slice_eq(label, SLICE("X509 CRL")))
			continue;
		rc = add_list(r, der, err);
		if (rc != OK)
			return rc;
	}
	return rc == DEFER ? FAIL : OK;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void revoked_sort(struct revoked *r)
{
	if (r->count)
		qsort(r->keys, r->count, sizeof(*r->keys), compare);
}

bool revoked_has(const struct revoked *r, const struct x509 *cert)
{
	uint64_t key;

	if (!r->count)
		return false;
	key = key_of(cert->issuer, cert->serial);
	return bsearch(&key, r->keys, r->count, sizeof(*r->keys), compare) != NULL;
}

void revoked_done(struct revoked *r)
{
	free(r->keys);
	*r = (struct revoked){NULL};
}

/* ---- Chains ---- */

/* Another of those shown that has issued it; -1: none. */
static int find_shown(const struct slice *shown, unsigned count, const struct x509 *cert, struct x509 *ret)
{
	for (unsigned i = 0; i < count; i++)
		if (!slice_eq(shown[i], cert->whole) && x509_parse(shown[i], ret) && x509_issued(ret, cert))
			return (int)i;
	return -1;
}

const char *chain_judge(const struct slice *shown, unsigned count, const struct authorities *authorities,
			const struct revoked *revoked)
{
	struct x509 cert, issuer;

	if (!count || !x509_parse(shown[0], &cert))
		return "certificate invalid";
	for (unsigned steps = 0; steps < CHAIN_MAX; steps++) {
		/* An authority of ours is taken as it is, lists or not: it is the administrator's word. */
		if (authorities_has(authorities, &cert))
			return NULL;
		if (revoked_has(revoked, &cert))
			return steps ? "certificate of an authority is revoked" : "certificate is revoked";
		if (authorities_issuer(authorities, &cert, &issuer))
			return NULL;
		if (find_shown(shown, count, &cert, &issuer) < 0)
			return "unable to get local issuer certificate";
		cert = issuer;
	}
	return "the chain of certificates is too long";
}
