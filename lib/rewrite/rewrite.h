/* rewrite: addresses that become others, by the rules of "begin rewrite" and of the transports' headers_rewrite (the
 * specification's chapter "Address rewriting"), in envelopes and header fields. Rules are compiled when the file is read;
 * where there are none, nothing is looked at. Also where addresses of header fields get the domain that they lack, since
 * both change the same field at once.
 *
 * Nothing here refuses a message: a rule that cannot be asked (a lookup that is deferred) is told to the main and the panic
 * log, and the address stays what it is, as in Exim. So results are OK, DEFER when memory is out, and CANCELLED. */
#ifndef REWRITE_REWRITE_H
#define REWRITE_REWRITE_H

#include "match/match.h"

/* Where an address stands: the flags of rules. */
enum {
	REWRITE_SENDER = 1,    /* s: the field Sender: */
	REWRITE_FROM = 2,      /* f */
	REWRITE_TO = 4,        /* t */
	REWRITE_CC = 8,        /* c */
	REWRITE_BCC = 16,      /* b */
	REWRITE_REPLY_TO = 32, /* r */
	REWRITE_ENV_FROM = 64, /* F */
	REWRITE_ENV_TO = 128,  /* T */
	REWRITE_SMTP = 256,    /* S: as it stands in the command */
};
#define REWRITE_HEADERS 63

struct rewrite_rules;
extern const struct conf_section rewrite_conf_section;

/* A transport's headers_rewrite: a colon list of rules, none of them for envelopes. NULL with err: a mistake. */
const struct rewrite_rules *rewrite_rules_parse(struct conf *conf, struct slice list, struct err *err);
/* The rules of the configuration; NULL: none. */
const struct rewrite_rules *rewrite_rules(const struct conf *conf);
/* Is there a rule for one of these places? */
bool rewrite_wanted(const struct rewrite_rules *rules, unsigned where);

/* An address of the envelope (where: one bit). *ret is the address itself if nothing changes, else in sc->task->arena. Parks. */
NODISCARD enum rc rewrite_address(struct scope *sc, const struct rewrite_rules *rules, unsigned where,
				  struct slice address, struct slice *ret, struct err *err);
/* What stands behind "MAIL FROM:" or "RCPT TO:" (rules with S). *ret is the path itself if nothing changes. Parks. */
NODISCARD enum rc rewrite_smtp(struct scope *sc, struct slice path, struct slice *ret, struct err *err);

/* One field. Domains with ptr NULL: addresses without one stay as they are. */
struct rewrite_fields {
	const struct rewrite_rules *rules; /* may be NULL */
	struct slice sender_domain;        /* for From:, Sender:, Reply-To: */
	struct slice recipient_domain;     /* for To:, Cc:, Bcc: */
};
/* *text_ret: the field's new text, in sc->task->arena; empty: it stays. Parks. */
NODISCARD enum rc rewrite_field(struct scope *sc, const struct rewrite_fields *how,
				const struct header *header, struct slice *text_ret, struct err *err);
/* All fields of the block; new ones live in the arena. Parks. */
NODISCARD enum rc rewrite_block(struct scope *sc, const struct rewrite_fields *how, struct arena *arena,
				struct header_block *block, struct err *err);
/* Of sc->message. What they were before stays in the header block, in fields that are deleted already, as Exim has it: it
 * is seen in the -H text. A sender that was rewritten before (when it was verified, by submission mode) is left. Park. */
NODISCARD enum rc rewrite_recipients(struct scope *sc, struct err *err);
NODISCARD enum rc rewrite_sender(struct scope *sc, struct err *err);
/* For -brw: what becomes of the address in each place, as Exim shows it. false: it is malformed. Parks. */
NODISCARD enum rc rewrite_describe(struct scope *sc, struct slice address, struct str *out, struct err *err);

#endif
