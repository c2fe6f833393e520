/* Reading replies (RFC 5321 section 4.2): an incremental parser, fed with whatever has arrived. */
#ifndef SMTP_CLIENT_REPLY_H
#define SMTP_CLIENT_REPLY_H

#include "smtp_client/smtp_client.h"

enum reply_state { REPLY_MORE, REPLY_DONE, REPLY_BAD };
struct reply_parser {
	struct str text; /* lines so far, joined with LF */
	struct str line; /* the one that is not yet at its end */
	int code;        /* 0: no line yet */
};
void reply_parser_init(struct reply_parser *parser, struct arena *arena);
/* Takes bytes up to the end of the reply at most; *used_ret of them were taken. BAD: this is no reply (or larger than the
 * bounds): nothing that follows can be trusted. DONE: code and text are there. */
enum reply_state reply_parser_feed(struct reply_parser *parser, struct slice bytes, size_t *used_ret);

/* What an EHLO reply offers; size_max 0: no limit told. */
struct ehlo_offer {
	unsigned extensions;
	uint64_t size_max;
	struct slice auth;           /* mechanisms, inside the text; ptr may be NULL */
	unsigned rcpt_max, mail_max; /* RFC 9422; 0: not told */
};
void ehlo_parse(struct slice text, struct ehlo_offer *offer_ret);

#endif
