/* Lists of revoked certificates (CRLs, RFC 5280 section 5) of tls_crl, and the walk from a peer's certificate up to one of our
 * authorities, on which each is looked up.
 *
 * The library has CRLs, too, but takes a list only of an authority that it knows when it reads it (so none of an intermediate that
 * peers bring), refuses everybody whose authority has no list, and looks at leaves alone or wants lists for all. Exim (GnuTLS) takes
 * the administrator's lists as they are: what is on one is revoked, whatever its date; who has no list has revoked nothing. */
#ifndef TLS_REVOKED_H
#define TLS_REVOKED_H

#include "authorities.h"

struct revoked {
	uint64_t *keys; /* sorted; of issuer and serial number, under the process's secret; heap */
	uint32_t count, room;
	uint32_t lists;
};
/* All lists in a file's text: PEM blocks (others are skipped), or one list in DER. FAIL: one is malformed; DEFER: no memory. */
NODISCARD enum rc revoked_add(struct revoked *revoked, struct arena *arena, struct slice text,
			      struct err *err);
/* After the last, before the first question. */
void revoked_sort(struct revoked *revoked);
bool revoked_has(const struct revoked *revoked, const struct x509 *cert);
void revoked_done(struct revoked *revoked);

#define CHAIN_MAX 16 /* certificates that a peer shows; the library takes fewer */
/* shown: the peer's certificates in DER, its own first. From there up, each issued by one of ours, where it ends, or by another that is
 * shown. NULL: it ends well, and nobody on the way is revoked; otherwise what is wrong, in words. The signatures of what is shown may
 * be anything: each step is checked. */
const char *chain_judge(const struct slice *shown, unsigned count, const struct authorities *authorities,
			const struct revoked *revoked);

#endif
