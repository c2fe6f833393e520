/* tls_require_ciphers as users write it: a cipher list in OpenSSL's words, or a GnuTLS priority string. */
#ifndef TLS_CIPHERS_H
#define TLS_CIPHERS_H

#include "base/base.h"

struct cipher_choice {
	struct slice list;   /* in the library's names, best first; for TLS 1.2 and 1.3 together */
	struct slice groups; /* "P-256:X25519"; empty: what the library prefers */
	bool tls12, tls13;   /* versions that remain */
	bool
	    server_order; /* a server takes the first of the list that the client has, not the client's first */
};
/* Empty text: the default. The result lives in the arena. FAIL: a word that nobody knows, or nothing remains; err names it. A
 * suite or a protocol version that is known but too weak to be had here is left out without a word, as OpenSSL does it. */
NODISCARD enum rc ciphers_choose(struct arena *arena, struct slice text, struct cipher_choice *ret,
				 struct err *err);

#endif
