/* Whose certificate is it? (RFC 6125, RFC 9525) */
#ifndef TLS_NAMES_H
#define TLS_NAMES_H

#include "x509.h"

/* Does the certificate name this host? host may have U-labels, a final dot, or be an IP address. Alternative names count alone
 * where there are any of a host's kind; else the subject's common name does. OK, FAIL, or DEFER: no memory. */
NODISCARD enum rc names_match_host(struct arena *arena, const struct x509 *cert, struct slice host);
/* One presented name against one host in A-labels: "*" may stand for the whole leftmost label of three or more. */
bool names_match(struct slice presented, struct slice host);

#endif
