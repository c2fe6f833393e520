/* dkim: what the files of DKIM and ARC share: a signature that was taken apart, a key, the fields of a message by name.
 * Private to the room. */
#ifndef MAILAUTH_DKIM_H
#define MAILAUTH_DKIM_H

#include "canon.h"
#include "mailauth/mailauth.h"
#include "tag.h"

#define DKIM_NAMES_MAX       1000               /* names in one h= */
#define DKIM_HEADER_WORK     (4u * 1024 * 1024) /* bytes of header fields that are hashed for one message */
#define DKIM_SIGNATURE_MAX   1024               /* bytes: RSA with 8192 bits */
#define DKIM_RSA_BITS_MAX    4096 /* RFC 8301 section 3.2 asks for no more, and each bit costs */
#define DKIM_KEY_RECORD_MAX  8192
#define DKIM_KEY_RECORDS_MAX 4 /* of one name */

enum dkim_key_type { KEY_RSA, KEY_ED25519 };

/* What went wrong, or not. In the order of $dkim_verify_reason and the log's phrases (dkim_log.c). */
enum dkim_reason {
	REASON_NONE,
	REASON_SYNTAX,      /* the signature's tags */
	REASON_VERSION,     /* v= is not 1 */
	REASON_ALGORITHM,   /* one that is not known, or not wanted */
	REASON_KEY_NONE,    /* no such record */
	REASON_KEY_LATER,   /* it cannot be had now */
	REASON_KEY_SYNTAX,  /* the record's tags */
	REASON_KEY_REVOKED, /* p= is empty */
	REASON_KEY_DATA,    /* p= is no key */
	REASON_KEY_UNFIT,   /* for another algorithm, hash or service; or i= may not be a subdomain */
	REASON_KEY_SHORT,
	REASON_KEY_LONG,
	REASON_BODY_HASH,
	REASON_SIGNATURE,
	REASON_EXPIRED,
	REASON_WORK,    /* more than one message may cost */
	REASON_SKIPPED, /* dkim_verify_minimal: another one has passed */
};

/* The fields of a message as they arrived, by name, bottom up. Made once there is something to verify. */
#define FIELDS_FEW 64
struct field_index {
	const struct slice *fields;
	uint32_t count;
	/* Few of them, as nearly every message has: they are looked through. */
	unsigned char marks[FIELDS_FEW]; /* eight bits of a hash of each name */
	uint32_t name_lens[FIELDS_FEW];
	uint64_t taken; /* by the signature that is worked on */
	struct slice *
	    relaxed; /* of each the relaxed form, where a signature has made it and it lies somewhere; NULL: of none */
	/* More: a table. */
	uint32_t *above; /* for each the next of its name above it; UINT32_MAX: none */
	struct field_name {
		struct slice name;
		uint32_t lowest; /* the last field of the name */
		uint32_t next;   /* of the signature that is worked on */
		uint32_t round;  /* in which `next` is meant */
	} * names;               /* open addressing */
	uint32_t name_room;      /* a power of two */
	uint32_t round;
};
NODISCARD bool field_index_init(struct field_index *index, struct arena *arena, const struct slice *fields,
				uint32_t count);
/* Begins another signature. */
void field_index_begin(struct field_index *index);
/* The next field of that name, from the bottom; UINT32_MAX: no more. */
uint32_t field_index_take(struct field_index *index, struct slice name);
struct slice field_name_of(struct slice field);

/* A DKIM-Signature, or an ARC-Message-Signature. */
struct dkim_signature {
	uint32_t field;          /* its number in the header */
	struct slice text;       /* the field */
	uint32_t b_start, b_end; /* in the text: what b= says */
	struct slice domain, selector, algorithm_text, identity, names, copied; /* names: h=, as written */
	struct slice *name_list;                                                /* those of h=, one by one */
	uint32_t name_count;
	struct slice b_text; /* base64 without white space */
	enum hash_kind hash_kind;
	enum dkim_key_type key_type;
	bool header_relaxed, body_relaxed;
	bool has_length, has_created, has_expires;
	uint64_t length, created, expires;
	struct slice signature, digest; /* bytes of b= and bh= */
	struct body_hash *body;
	struct header_text *ahead; /* NULL: its header is hashed when that is wanted */
	uint64_t body_length_max;
	/* Of its key: */
	unsigned key_bits;
	bool key_testing, key_exact, key_seen;
	struct slice key_service, key_granularity, key_notes;
	/* What it came to: */
	enum dkim_reason reason;
	bool verified;                       /* tried, and a pass if the reason is none */
	struct slice detail;                 /* for people: which tag... */
	struct slice status_set, reason_set; /* by an ACL; ptr NULL: not */
};
/* Takes the text (one field, with its name) apart. arc: an ARC-Message-Signature, whose i= is its instance and which has no v=.
 * OK; FAIL: signature_ret->reason and detail say why, and domain and selector are set if they could be read; DEFER: no
 * memory. */
NODISCARD enum rc dkim_signature_parse(struct arena *arena, struct slice text, bool arc,
				       struct dkim_signature *signature_ret, struct err *err);

/* The same when the tags, which begin behind the first `front` bytes, have been told apart. */
NODISCARD enum rc dkim_signature_read(struct arena *arena, struct slice text, const struct tag_list *list,
				      uint32_t front, bool arc, struct dkim_signature *signature_ret,
				      struct err *err);

/* ---- Keys ------------------------------------------------------------------------------------------------- */

struct dkim_key {
	enum dkim_key_type type;
	struct slice hashes;  /* h=; ptr NULL: all */
	struct slice service; /* s=; "*" */
	struct slice notes, granularity;
	bool testing, exact; /* t=y, t=s */
	struct slice bytes;  /* p= */
	struct slice n, e;   /* RSA: in bytes */
	unsigned bits;
	struct dkim_kept_key *kept; /* whose slices these are; NULL: the arena's */
};
/* A record's text. FAIL: *reason_ret says of what kind the mistake is. DEFER: no memory. */
NODISCARD enum rc dkim_key_parse(struct arena *arena, struct slice text, struct dkim_key *key_ret,
				 enum dkim_reason *reason_ret);
/* The same for a record that was found at the name, kept by the shard so that it is taken apart once. With a rc other than DEFER
 * dkim_key_release() is due. */
NODISCARD enum rc dkim_key_get(struct shard *shard, struct arena *arena, struct slice name, struct slice text,
			       struct dkim_key *key_ret, enum dkim_reason *reason_ret);
/* The same without a question, while the DNS stands by an answer of before, as dkim_key_believe() was told. false: it has to be
 * asked. *rc_ret is what dkim_key_get() would say; dkim_key_release() is due with true. */
bool dkim_key_find(struct shard *shard, struct slice name, struct dkim_key *key_ret, enum rc *rc_ret,
		   enum dkim_reason *reason_ret);
bool dkim_key_is_known(struct shard *shard, struct slice name);
struct kept_time;
void dkim_key_believe(struct dkim_key *key, const struct kept_time *time);
void dkim_key_release(struct dkim_key *key);
/* Is the signature this key's for the digest? Costs some ten microseconds with RSA, a hundred with Ed25519. */
bool dkim_key_verifies(const struct dkim_key *key, enum hash_kind hash, const uint8_t *digest,
		       struct slice signature);
/* "selector._domainkey.domain" for a question; U-labels as A-labels. ptr NULL: cannot be a name. */
struct slice dkim_key_name(struct arena *arena, struct slice selector, struct slice domain);

/* ---- What is accepted --------------------------------------------------------------------------------------- */

struct dkim_limits {
	unsigned hashes, key_types; /* bits: 1 << enum hash_kind, 1 << enum dkim_key_type */
	unsigned rsa_bits_min, ed25519_bits_min;
	bool minimal;
	uint64_t now; /* seconds */
};
/* From the options, which are expanded once for a message. FAIL: one cannot be expanded. Parks if they do. */
NODISCARD enum rc dkim_limits_get(struct scope *sc, struct dkim_limits *limits_ret, struct err *err);

/* The whole of it for one signature: key, body hash, header hash. Sets reason, verified and the key's facts. Parks. DEFER: no
 * memory; CANCELLED. */
struct dkim_work {
	struct task *task;
	struct arena *arena; /* the message's */
	const struct mailauth_resolver *resolver;
	const struct dkim_limits *limits;
	struct field_index *index;
	uint64_t header_bytes;   /* hashed so far */
	unsigned key_operations; /* see dkim_work_turn() */
};
/* Before each operation of a key: with some of them done others get their turn first. A message may ask for more than a hundred, of a
 * tenth of a millisecond and more each. Parks. OK, CANCELLED; DEFER: no time left. */
NODISCARD enum rc dkim_work_turn(struct dkim_work *work, struct err *err);
NODISCARD enum rc dkim_signature_verify(struct dkim_work *work, struct dkim_signature *signature,
					struct err *err);
/* What a signature is over of the header, hashed (section 3.7). false: more work than one message may cost. */
NODISCARD bool header_hash(struct dkim_work *work, struct dkim_signature *signature, uint8_t *digest_ret);
/* The header has arrived: texts of those hashes that will be wanted stand in line for the body's blocks to come by. What is not done
 * ahead, for whatever reason, is done later. */
void header_hashes_ahead(struct shard *shard, struct message *message);
/* The key of a selector for one use. OK; FAIL: *reason_ret, which may be REASON_KEY_LATER; DEFER: no memory; CANCELLED. Whatever it
 * is, dkim_key_release() is due. */
NODISCARD enum rc dkim_key_fetch(struct dkim_work *work, struct slice selector, struct slice domain,
				 enum dkim_key_type type, enum hash_kind hash, struct dkim_key *key_ret,
				 enum dkim_reason *reason_ret, struct err *err);

/* Asks for the key of a selector without waiting, if it is not known. */
void dkim_key_ahead(struct task *task, const struct mailauth_resolver *resolver, struct slice selector,
		    struct slice domain);

struct dkim_state {
	struct dkim_signature *signatures[DKIM_SIGNATURES_MAX];
	unsigned count;
	unsigned more; /* those that were not looked at */
	struct body_hashes body;
	struct field_index index;
	bool indexed, verified, limited;
	struct dkim_limits limits; /* with limited: they are known */
	struct slice signers;      /* $dkim_signers */
	/* The round of the DKIM ACL: */
	bool in_round;
	struct slice cur_signer;
	struct dkim_signature *current;          /* NULL: the signer has none here */
	struct slice round_status, round_reason; /* set by the ACL; ptr NULL: not */
	struct slice statuses;                   /* of all rounds; ptr NULL: no ACL has run */
	struct slice verify_signers;
};
struct dkim_state *dkim_state_of(const struct message *message); /* NULL: none */
struct field_index *dkim_fields(struct message *message);        /* NULL: no memory, or nothing is known */

/* The word of $dkim_verify_status and $dkim_verify_reason, and of RFC 8601. */
struct slice dkim_status_word(const struct dkim_signature *signature);
struct slice dkim_reason_word(const struct dkim_signature *signature);
enum mailauth_result dkim_signature_result(const struct dkim_signature *signature);
struct slice dkim_reason_phrase(enum dkim_reason reason);
void dkim_log_signatures(struct scope *sc, const struct dkim_state *state);

#endif
