/* The certificates of authorities that we trust, to be looked at: chains are verified by the library, which has its own copy; who has
 * issued a certificate is asked here, for its proof, and to see where a chain ends. */
#ifndef TLS_AUTHORITIES_H
#define TLS_AUTHORITIES_H

#include "x509.h"

#define AUTHORITIES_MAX 4096

struct authorities {
	char *bytes; /* on the heap, one after the other */
	uint32_t len;
	struct authority {
		uint32_t at, len;
		uint64_t subject; /* its hash */
	} * list;
	unsigned count;
};
/* Those of a file with PEM blocks, or of all files in a directory. May block. What can't be read is left out: the library has
 * complained already. false: no memory. */
bool authorities_load(struct authorities *authorities, const char *path);
void authorities_done(struct authorities *authorities);
/* One that has this certificate's issuer as its subject, and the key that has signed it. */
bool authorities_issuer(const struct authorities *authorities, const struct x509 *cert, struct x509 *ret);
/* Is it one of them? */
bool authorities_has(const struct authorities *authorities, const struct x509 *cert);
/* Has this one signed the certificate? */
bool x509_issued(const struct x509 *issuer, const struct x509 *cert);

#endif
