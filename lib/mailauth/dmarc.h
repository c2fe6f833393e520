/* dmarc: what the files of DMARC share. Private to the room. */
#ifndef MAILAUTH_DMARC_H
#define MAILAUTH_DMARC_H

#include "mailauth/mailauth.h"

#define DMARC_QUERIES_MAX 8 /* of one walk up the tree (RFC 9989, section 4.10) */

/* A policy record. false: the text is none ("v=DMARC1" does not stand first). What is malformed behind that counts as not given. */
bool dmarc_record_parse(struct slice text, bool legacy, struct dmarc_record *ret);
/* The next "mailto:" address of a rua= or ruf= list, percent signs undone, without a size limit. false: no more. */
bool dmarc_uri_next(struct arena *arena, struct slice *rest, struct slice *address_ret);

/* The organisational domain by a public suffix list in a file, which is read on a helper thread when it is new or has changed, and
 * kept by the shard. OK; FAIL: the file cannot be read or is none, err says why; DEFER, CANCELLED. Parks. */
struct dmarc_suffixes;
NODISCARD enum rc dmarc_suffixes_get(struct task *task, struct slice path, const struct dmarc_suffixes **ret,
				     struct err *err);
/* Lower-case ASCII in and out; the domain itself when it has no such. The list may not be used after a park. */
struct slice dmarc_suffixes_org(struct arena *arena, const struct dmarc_suffixes *suffixes,
				struct slice domain);

/* The domains of the From: fields, in lower-case ASCII, each once; at most DMARC_FROM_MAX, and more are none at all. false: no
 * memory. */
bool dmarc_from(struct arena *arena, const struct message *message, struct slice domains[DMARC_FROM_MAX],
		unsigned *count_ret);

#endif
