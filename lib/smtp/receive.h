/* receive: a message on its way in (private to the room). */
#ifndef SMTP_RECEIVE_H
#define SMTP_RECEIVE_H

#include "session.h"

enum receive_trouble {
	TROUBLE_NONE,
	TROUBLE_SIZE,        /* over message_size_limit */
	TROUBLE_HEADER,      /* over header_maxsize */
	TROUBLE_HEADER_LINE, /* over header_line_maxsize */
	TROUBLE_BARE,        /* CR or LF alone, and the configuration refuses that */
	TROUBLE_MEMORY,
	TROUBLE_SPOOL, /* the spool would not take it */
};

struct receive {
	struct message *message;
	const struct smtp_options *options;
	struct str header; /* as it came, CRLF and the empty line included */
	uint64_t header_max, line_max, size_max;
	uint64_t size, in_memory, line_len;
	enum { AT_LINE_START, IN_LINE, AFTER_DOT, AFTER_DOT_CR, AFTER_CR } state;
	enum receive_trouble trouble; /* the message is read to its end all the same, and dropped */
	bool in_header, from_line;    /* which may stand in front of the header, and is dropped */
	struct slice spool_error;
	struct task *task;
	bool dkim; /* signatures are to be verified */
	enum { ONWARD_NOT, ONWARD_HEADER /* not yet begun */, ONWARD_BODY } onward; /* cutthrough delivery */
	uint64_t sent; /* bytes of the body that went on */
	enum { HEADER_NEW, HEADER_DONE, HEADER_LOOP, HEADER_MEMORY } header_state;
};

#endif
