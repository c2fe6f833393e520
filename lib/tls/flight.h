/* A server's first flight, read a second time. The library checks a stapled proof by itself and shows it to nobody; what decides
 * about a peer is to be said here. So the records of a handshake are kept as they come, and its certificates and the proof are
 * taken out of them: TLS 1.2 sends both in the clear, TLS 1.3 under the key for the server's part of the handshake. */
#ifndef TLS_FLIGHT_H
#define TLS_FLIGHT_H

#include "base/base.h"

#define FLIGHT_MAX       (192u * 1024) /* the library refuses certificates that need more */
#define FLIGHT_CERTS_MAX 10

struct flight_key {
	uint8_t key[32], iv[12];
	unsigned suite; /* of TLS 1.3: 0x1301... */
};
struct flight {
	char *bytes; /* on the heap, while the handshake lasts */
	uint32_t len, room;
	uint32_t record; /* where the record begins that comes next, or is coming */
	bool failed;     /* too much, or no memory: nothing can be said about it */
	bool keyed;
	struct flight_key key;
};
/* More bytes. true: an encrypted record begins, and its key is not known: the caller sets flight->key and keyed. */
bool flight_add(struct flight *flight, struct slice bytes);
void flight_done(struct flight *flight);

struct flight_shown {
	struct slice certs[FLIGHT_CERTS_MAX]; /* DER; the server's own first */
	unsigned cert_count;
	struct slice proof; /* DER; empty: none came */
	unsigned scheme; /* with which it signed (RFC 8446 section 4.2.3); 0: it did not, or nobody knows */
};
/* Into the arena. false: there is no whole Certificate message in it, or it makes no sense. */
bool flight_read(struct arena *arena, const struct flight *flight, struct flight_shown *ret);

#endif
