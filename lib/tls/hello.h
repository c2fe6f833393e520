/* hello: what a ClientHello (RFC 8446 section 4.1.2) tells before the library sees it: whom the client wants to talk to, which
 * certificates it can use, whether it would like a proof or a ticket. */
#ifndef TLS_HELLO_H
#define TLS_HELLO_H

#include "base/base.h"

struct tls_hello {
	struct slice sni;  /* a host name as it came, tainted; empty: none */
	bool ecdsa, rsa;   /* certificates of this kind can be checked by the client */
	bool tls12, tls13; /* offered */
	bool ocsp;         /* status_request */
	bool ticket; /* a ticket would be welcome (TLS 1.2), or psk_key_exchange_modes is there (TLS 1.3) */
	bool offers; /* a ticket, a session id that stands for one, or a pre-shared key came along */
	bool
	    rsa_pss_last; /* of the algorithms for RSA with SHA-256 the last in the list is PSS: what TLS 1.2 will use */
	struct slice alpn;   /* the list as it came */
	struct slice groups; /* for the key exchange, two bytes each, as they came */
	struct slice suites; /* the same */
};

enum tls_hello_state {
	TLS_HELLO_WHOLE,
	TLS_HELLO_PART,      /* so far it may be one */
	TLS_HELLO_NONE,      /* it is none: another protocol, an alert */
	TLS_HELLO_MALFORMED, /* it is one, but its lengths do not agree */
};

/* Looks at the records at the beginning of the bytes. The hello may span several; what it says is copied into the arena. PART:
 * *need_ret is the number of bytes from the beginning with which it makes sense to look again. */
enum tls_hello_state tls_hello_parse(struct arena *arena, struct slice bytes, uint32_t *need_ret,
				     struct tls_hello *hello_ret);

/* Is this group (IANA's number) among those for the key exchange? */
bool tls_hello_offers(const struct tls_hello *hello, unsigned group);
/* And this one among the cipher suites? */
bool tls_hello_has_suite(const struct tls_hello *hello, unsigned suite);

#endif
