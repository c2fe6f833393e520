/* arc: what the files of ARC share. Private to the room. */
#ifndef MAILAUTH_ARC_H
#define MAILAUTH_ARC_H

#include "dkim.h"

#define ARC_INSTANCE_MAX 50                     /* RFC 8617 section 4.2.1 */
#define ARC_FIELDS_MAX   (3 * ARC_INSTANCE_MAX) /* with more of them no chain can be whole */

enum arc_kind { ARC_AAR, ARC_AMS, ARC_AS, ARC_KINDS };
/* Which of the three the field is; ARC_KINDS: none. */
enum arc_kind arc_kind_of(struct slice field);
/* i= of the field. false: there is none, or no number from 1 to 50. */
bool arc_instance_of(struct slice field, enum arc_kind kind, unsigned *instance_ret);

struct arc_seal {
	enum dkim_key_type key_type;
	struct slice domain, selector, cv, signature, algorithm;
	uint32_t b_start, b_end;
	bool bad; /* a tag is missing, or wrong */
};
struct arc_set {
	uint32_t fields[ARC_KINDS]; /* their numbers; UINT32_MAX: not there */
	struct dkim_signature *message;
	struct arc_seal seal;
	struct header_text *ahead;     /* NULL: its hash has not begun */
	uint8_t digest[HASH_SIZE_MAX]; /* what the seal is over */
};
struct arc_state {
	struct arc_set **sets; /* by instance; NULL: nothing of it is there; 0 is not used */
	unsigned count;        /* the highest instance */
	bool collected_bad;    /* the chain is broken by its form alone; reason says how */
	bool evaluated, temporary;
	enum mailauth_result result; /* NONE, PASS, FAIL */
	struct slice reason, domains;
	unsigned oldest_pass; /* the lowest instance whose message signature, and all newer, are good */
};
struct arc_state *arc_state_of(const struct message *message); /* NULL: no ARC fields */
/* As dkim_header_done(), whose work it goes on with: body hashes are begun. */
NODISCARD enum rc arc_header_done(struct message *message, struct dkim_state *dkim, struct err *err);
/* The chain, by its form and its signatures; the message's ARC state has the result. work->index is made here. Parks. As
 * arc_verify(), which calls it. */
NODISCARD enum rc arc_evaluate(struct dkim_work *work, struct message *message, struct err *err);
/* As header_hash(), for all seals of a chain whose form is good: their digests. */
void header_hash_seals(struct arc_state *arc, const struct slice *fields);
/* Somebody asks for chains: those of the shard's messages are hashed ahead for a while. */
void arc_is_wanted(struct shard *shard);

#endif
