/* What a certificate says, as text: the fields of ${certextract and distinguished names. */
#ifndef TLS_CERT_H
#define TLS_CERT_H

#include "x509.h"

/* A Name as RFC 4514 writes it, but in the certificate's own order ("C=DE,O=Test,CN=host"), which is how GnuTLS and thus Debian's
 * Exim have it in $tls_in_peerdn. */
void cert_name_text(struct str *str, struct slice name);

#endif
