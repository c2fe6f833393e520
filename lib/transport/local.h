/* What the files of this room share. */
#ifndef TRANSPORT_LOCAL_H
#define TRANSPORT_LOCAL_H

#include "transport/transport.h"

/* ---- Outcomes -------------------------------------------------------------------------------------------------- */

/* The same outcome for every address of the batch that has none yet (or, with all, for every one). */
void outcome_all(struct scope *sc, struct delivery *delivery, enum rc rc, const char *format, ...)
    PRINTF_LIKE(4, 5);
void outcome_all_err(struct scope *sc, struct delivery *delivery, enum rc rc, const struct err *err,
		     const char *what);

/* The numbers that the log shows behind "defer" where there is no errno: Exim's. */
enum {
	FAULT_UNKNOWN = -1,
	FAULT_NOT_REGULAR = -4,
	FAULT_OWNER = -6,
	FAULT_MODE = -7,
	FAULT_CHANGED = -8,
	FAULT_LOCKED = -9,
	FAULT_NOT_ABSOLUTE = -21,
	FAULT_QUOTA = -22,
	FAULT_FILTER = -24,
	FAULT_CREATE = -34,
};
/* DEFER with that number, or with an errno, whose words the log puts in front. */
enum rc fault(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* ---- Text -------------------------------------------------------------------------------------------------------- */

/* The address that bounces go to, for this delivery: return_path, errors_to or the sender. */
NODISCARD enum rc delivery_return_path(struct scope *sc, const struct transport *transport, struct slice *ret,
				       struct err *err);
/* The header block as the transport wants it, with the empty line behind it; empty with body_only. Headers that were added
 * and removed by routers and transport included. */
NODISCARD enum rc compose_headers(struct scope *sc, const struct transport *transport,
				  const struct delivery *delivery, bool crlf, struct slice *ret,
				  struct err *err);
/* A text list whose items are names of header fields ("x-*" too): is this one in it? */
bool header_listed(struct arena *arena, struct slice list, struct slice name);

/* Takes text with CRLF line ends in any pieces and hands it on in blocks, with LF (or CRLF) line ends and with lines that
 * begin with check escaped. */
#define WRITER_BLOCK (64u * 1024)
struct text_writer {
	enum rc (*write)(void *arg, struct slice block, struct err *err);
	void *arg;
	struct arena *arena;
	bool crlf;
	struct slice check, escape; /* check.len 0: nothing is escaped */
	char *block;
	uint32_t len;
	uint64_t written;
	uint32_t matched; /* bytes of check seen at the start of this line; UINT32_MAX: it is another line */
	bool cr;          /* a CR was seen and not yet written */
};
NODISCARD enum rc text_writer_init(struct text_writer *writer, struct arena *arena, struct err *err);
NODISCARD enum rc text_writer_add(struct text_writer *writer, struct slice piece, struct err *err);
/* As it is, without escaping or changing line ends: prefixes and the like. */
NODISCARD enum rc text_writer_add_raw(struct text_writer *writer, struct slice text, struct err *err);
NODISCARD enum rc text_writer_flush(struct text_writer *writer, struct err *err);
/* The end of the text: what was held back, since more might have come, is written. */
NODISCARD enum rc text_writer_end(struct text_writer *writer, struct err *err);
/* Headers and body of the message, as the transport wants them: through its filter, if it has one. Parks. */
NODISCARD enum rc text_writer_message(struct scope *sc, const struct transport *transport,
				      const struct delivery *delivery, struct text_writer *writer,
				      struct err *err);
/* The same without the filter: for the filter. */
NODISCARD enum rc text_writer_original(struct scope *sc, const struct transport *transport,
				       const struct delivery *delivery, struct text_writer *writer,
				       struct err *err);
/* The address as it goes into RCPT: without affixes unless rcpt_include_affixes says so. */
struct slice rcpt_address(struct arena *arena, const struct transport *transport,
			  const struct address *address);

/* ---- Identity ------------------------------------------------------------------------------------------------------ */

/* Under whose id a local delivery runs. */
struct identity {
	uint32_t uid, gid;
	bool switched;           /* not our own: through the helper */
	const uint32_t *groups;  /* initgroups: all of the user's, gid among them, but never root's */
	uint32_t group_count;    /* at most HELPER_GROUPS_MAX; 0: gid only */
	struct slice name, home; /* of the user; may be empty */
};
/* DEFER with a text when it may not or cannot be. Parks. */
NODISCARD enum rc identity_find(struct scope *sc, const struct transport *transport,
				const struct address *address, struct identity *ret, struct err *err);

/* ---- Drivers -------------------------------------------------------------------------------------------------------- */

extern const struct conf_driver transport_smtp_driver, transport_lmtp_driver, transport_appendfile_driver;
extern const struct conf_driver transport_pipe_driver, transport_autoreply_driver, transport_queuefile_driver;
extern const struct conf_option transport_generic_options[];
extern const unsigned transport_generic_option_count;
/* Did the file set the option? Private options of the driver, by name. */
bool transport_option_was_set(const struct transport *transport, const char *name);

/* Per shard. */
struct transport_shard {
	struct host_retry retry;
	struct transport_submit submit;
	uint64_t sequence; /* of maildir names */
	struct map
	    mailboxes; /* files that deliveries of this shard write to now: struct turns by path (mailbox.c) */
};
struct transport_shard *transport_shard(struct shard *shard); /* NULL: no memory */

#endif
