/* canon: canonical forms of header fields and bodies (RFC 6376 section 3.4), and their hashes. Private to the room. */
#ifndef MAILAUTH_CANON_H
#define MAILAUTH_CANON_H

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/sha.h>
#include <wolfssl/wolfcrypt/sha512.h>

#include "base/str.h"
#include "sha256.h"

enum hash_kind { HASH_SHA1, HASH_SHA256, HASH_SHA512 };
#define HASH_SIZE_MAX 64
struct hash {
	enum hash_kind kind;
	union {
		wc_Sha sha1;
		struct sha256 sha256;
		wc_Sha512 sha512;
	} state;
};
unsigned hash_size(enum hash_kind kind);
void hash_init(struct hash *hash, enum hash_kind kind);
void hash_update(struct hash *hash, const void *bytes, size_t len);
void hash_final(struct hash *hash, uint8_t *digest_ret); /* the state is gone */

/* The same while those who wait get on: see sha256.h. */
void hash_update_beside(struct hash *hash, const void *bytes, size_t len, struct sha256_waiting **line);

void hash_copy(struct hash *copy_ret, struct hash *hash);
void hash_drop(struct hash *hash); /* in place of hash_final() */

/* ---- Header fields ---------------------------------------------------------------------------------------- */

/* Gathers small pieces for a hash. */
struct hash_sink {
	struct hash *hash;
	uint64_t total; /* bytes that the hash has seen */
	unsigned len, room;
	char *bytes;
	char own[1024];
};
#define HASH_SINK_LEAST 64 /* bytes of room */
void hash_sink_init(struct hash_sink *sink, struct hash *hash);
/* Into other room than the sink's own: what fits there is still there at the end. */
void hash_sink_init_into(struct hash_sink *sink, struct hash *hash, char *bytes, unsigned room);
void hash_sink_flush(struct hash_sink *sink);
void hash_sink_add(struct hash_sink *sink, struct slice text);
/* With those that wait. */
static inline uint64_t hash_sink_total(const struct hash_sink *sink)
{
	return sink->total + sink->len;
}
/* One field, whose lines end in LF or CRLF (the final one may be missing). What is between skip_start and skip_end is left out:
 * the value of b=. last: without the final CRLF. */
void canon_field(struct hash_sink *sink, struct slice text, bool relaxed, uint32_t skip_start,
		 uint32_t skip_end, bool last);

/* ---- Bodies ------------------------------------------------------------------------------------------------- */

/* Different hashes that are wanted of one body: more are refused. */
#define BODY_HASHES_MAX 8
struct body_hash {
	bool relaxed;
	enum hash_kind kind;
	uint64_t length; /* l=; UINT64_MAX: all of it */
	uint64_t left;
	struct hash hash;
	uint8_t digest[HASH_SIZE_MAX];
};
/* One body on its way through, in pieces of any size. */
struct body_hashes {
	struct body_hash *hashes[BODY_HASHES_MAX];
	unsigned count;
	bool done;
	struct sha256_waiting *line; /* hashes of something else, which go on beside those of the body */
	struct body_canon {
		bool wanted, cr, space;
		bool any;        /* bytes have been handed on */
		uint64_t crlfs;  /* line ends that are nothing if they end the body */
		uint64_t length; /* of the canonical form so far */
	} canon[2];              /* simple, relaxed */
};
/* The hash with these qualities, made if there is none yet. NULL: too many, the body has begun, or no memory. */
struct body_hash *body_hashes_want(struct arena *arena, struct body_hashes *hashes, bool relaxed,
				   enum hash_kind kind, uint64_t length);
void body_hashes_add(struct body_hashes *hashes, const char *ptr, size_t len);
/* The body's end: the digests are there. Calling it again is harmless. */
void body_hashes_end(struct body_hashes *hashes);

#endif
