/* dmarc: what the files of DMARC share. Private to the room. */
#ifndef MAILAUTH_DMARC_H
#define MAILAUTH_DMARC_H

#include "mailauth/mailauth.h"

#define DMARC_QUERIES_MAX 8 /* of one walk up the tree (RFC 9989, section 4.10) */

/* A policy record. false: the text is none ("v=DMARC1" does not stand first). What is malformed behind that counts as not given. */
bool dmarc_record_parse(struct slice text, bool legacy, struct dmarc_record *ret);
/* The next "mailto:" address of a rua= or ruf= list, percent signs undone, without a size limit; what is no plain
 * address is passed over. false: no more. */
bool dmarc_uri_next(struct arena *arena, struct slice *rest, struct slice *address_ret);

/* The organisational domain by a public suffix list in a file, which is read on a helper thread when it is new or has changed, and
 * kept by the shard. OK; FAIL: the file cannot be read or is none, err says why; DEFER, CANCELLED. Parks. */
struct dmarc_suffixes;
NODISCARD enum rc dmarc_suffixes_get(struct task *task, struct slice path, const struct dmarc_suffixes **ret,
				     struct err *err);
/* Lower-case ASCII in and out; the domain itself when it has no such. */
struct slice dmarc_suffixes_org(struct arena *arena, const struct dmarc_suffixes *suffixes,
				struct slice domain);

/* The organisational domain, by the query's suffix list or up the tree. Results as of the resolver. Parks. */
NODISCARD enum rc dmarc_org(struct task *task, const struct mailauth_resolver *resolver,
			    const struct dmarc_query *query, struct slice domain, struct slice *ret);

/* May a report on the record at `used` go to the address (RFC 9990, section 4)? Somebody else's mailbox has to want it: or anybody
 * could have reports sent anywhere. OK: yes, or, with uris_ret->ptr, to the addresses of that list, which the destination
 * has put in its place; FAIL: no; DEFER: it cannot be found out now; CANCELLED. failure: of failures, where ruf= counts. Parks. */
NODISCARD enum rc dmarc_destination(struct task *task, const struct mailauth_resolver *resolver,
				    const struct dmarc_query *query, struct slice used, struct slice address,
				    bool failure, struct slice *uris_ret);

/* The domains of the From: fields, in lower-case ASCII, each once; at most DMARC_FROM_MAX, and more are none at all. false: no
 * memory. */
bool dmarc_from(struct arena *arena, const struct message *message, struct slice domains[DMARC_FROM_MAX],
		unsigned *count_ret);

#endif
