/* message: what mail is made of. Addresses (RFC 5321, 5322), header lines, the envelope, the body in the buffers that
 * it came in, the facts of the client that brought it, and the text form of all that (Exim's -H). Also struct
 * scope, through which policy sees these things. Knows nothing of SMTP commands, routers or ACLs. */
#ifndef MESSAGE_MESSAGE_H
#define MESSAGE_MESSAGE_H

#include "conf/conf.h"
#include "hints/hints.h"
#include "log/log.h"
#include "reactor/reactor.h"
#include "spool/spool.h"

/* ---- Addresses --------------------------------------------------------------------------------------- */

enum {
	ADDRESS_ALLOW_EMPTY = 1,       /* "<>" and "" are the null reverse-path */
	ADDRESS_ALLOW_UNQUALIFIED = 2, /* a bare local part; the domain comes out empty */
	ADDRESS_ALLOW_LITERAL = 4,     /* user@[1.2.3.4] */
	ADDRESS_ALLOW_UTF8 = 8,        /* RFC 6531 */
	ADDRESS_STRICT_PATH = 16,      /* an SMTP path: no comments, no display name */
	ADDRESS_STRIP_DOT = 32,        /* a dot behind the domain is dropped (strip_trailing_dot) */
	ADDRESS_STRIP_ANGLES = 64,     /* <<user@domain>> (strip_excess_angle_brackets) */
	ADDRESS_ANY_LITERAL =
	    128, /* with ALLOW_LITERAL: whatever stands in the brackets is for the routers */
};
struct address_parts {
	struct slice full;       /* local_part@domain, without source route, comments and display name */
	struct slice local_part; /* as written, quotes kept where they are needed */
	struct slice domain;     /* as written; empty if there was none */
	struct slice
	    spec; /* where it stands in the text, source route and comments inside included: its place for another */
};
/* The one address in the text, with optional angle brackets, display name, comments (RFC 5322 section 3.4) or as an
 * SMTP path (RFC 5321 section 4.1.2). Parts point into the text or the arena. FAIL: err in Exim's words for such
 * mistakes ("missing or malformed local part", "domain missing or malformed", ...). */
NODISCARD enum rc address_parse(struct arena *arena, struct slice text, unsigned flags,
				struct address_parts *ret, struct err *err);
/* Each address of a header field (groups included), in turn: *rest starts as the field's body. FAIL with err->text
 * empty: no more; with text: this item was malformed, and *rest is behind it. */
NODISCARD enum rc address_next(struct arena *arena, struct slice *rest, unsigned flags,
			       struct address_parts *ret, struct err *err);
/* The text of the item that comes next, comments and display name included, as address_next() would parse it; *gap_ret is what
 * stands in front of it: commas, group names, white space. For those who rewrite a field. false: no more items, and the gap
 * is what is left. */
bool address_next_item(struct slice *rest, struct slice *gap_ret, struct slice *item_ret);
/* The local part without its quoting, and quoted if it has to be. */
struct slice local_part_unquote(struct arena *arena, struct slice local_part);
struct slice local_part_quote(struct arena *arena, struct slice local_part);
bool domain_valid(struct slice domain,
		  bool allow_utf8); /* letters, digits, hyphens, dots (RFC 5321 4.1.2); underscore too */
/* IDNA both ways (RFC 5891), libidn2. */
NODISCARD enum rc domain_to_ascii(struct arena *arena, struct slice domain, struct slice *ret,
				  struct err *err);
NODISCARD enum rc domain_to_utf8(struct arena *arena, struct slice domain, struct slice *ret,
				 struct err *err);

/* ---- Header lines -------------------------------------------------------------------------------------- */

/* A header field: name, colon, body, with LF line ends inside (folding) and at the end, as Exim keeps it. */
struct header {
	struct link link;
	struct slice text; /* all of it, the final LF included */
	uint32_t name_len; /* bytes before the colon (white space before it not counted) */
	char type;         /* ' ' or one of B C F I P R S T, as in -H files; '*' deleted or replaced */
	bool arrived;      /* header_block_parse() made it: nobody here has added or rewritten it */
};
struct header_block {
	struct link list;
	unsigned count;
	uint64_t bytes;
};
void header_block_init(struct header_block *block);
/* Text of one field with LF line ends; the final LF is added if missing. Copied into the arena. NULL: no memory. */
struct header *header_make(struct arena *arena, struct slice text);
void header_append(struct header_block *block, struct header *header);
void header_prepend(struct header_block *block, struct header *header);
char header_type(struct slice name);
/* Behind `after`; NULL: at the top. */
void header_insert_after(struct header_block *block, struct header *after, struct header *header);
/* The old one is deleted, the new text stands behind it. NULL: no memory. */
struct header *header_replace(struct arena *arena, struct header_block *block, struct header *old,
			      struct slice text);
/* Bytes of the field name that a line begins with; 0: it is no header line (RFC 5322 section 2.2). */
uint32_t header_name_length(struct slice line);
struct slice header_name(const struct header *header);
struct slice
header_value(const struct header *header); /* all that is behind the colon, the final LF included */
struct slice
header_body(const struct header *header); /* behind the colon, leading and trailing white space gone */
/* The first live field of that name (without regard to case), or the next after `after`; NULL: none. */
struct header *header_find(const struct header_block *block, struct slice name, struct header *after);
/* The next live field, in order; after NULL: the first. NULL: no more. */
struct header *header_next(const struct header_block *block, struct header *after);
void header_delete(struct header *header);

/* A field of addresses on its way to another text: each item in turn is kept or gets another address. */
struct field_edit {
	struct arena *arena;
	struct slice rest, item;
	bool in_group, changed;
	struct str text;
	uint32_t line_start; /* in text: of the line that may be broken */
};
void field_edit_begin(struct field_edit *edit, struct arena *arena, const struct header *header);
/* edit->item is the next one (as of address_next_item(), but with groups as strictly as Exim has them); false: no more. */
bool field_edit_next(struct field_edit *edit);
void field_edit_keep(struct field_edit *edit);
/* `old`, a part of the item, gives way. A line that gets long is broken behind the comma that follows. */
void field_edit_replace(struct field_edit *edit, struct slice old, struct slice new);
/* The new text, in the arena; empty if nothing was changed; ptr NULL: no memory. */
struct slice field_edit_end(struct field_edit *edit);

/* Splits raw bytes into fields: bytes up to the empty line. Lines may end in CRLF or LF; a bare CR becomes a space, a
 * NUL a question mark. How much belongs to the header block (with the empty line) comes back in *used_ret. A line that is
 * no header line ends the block without an empty line, and is the body's first. DEFER: no memory. */
NODISCARD enum rc header_block_parse(struct arena *arena, struct slice bytes, struct header_block *block,
				     uint32_t *used_ret, struct err *err);
/* With CRLF line ends, deleted ones left out; the empty line behind the block is the caller's. DEFER: no memory. */
NODISCARD enum rc headers_to_wire(const struct header_block *block, struct str *str);
void header_to_wire(const struct header *header, struct str *str);
/* RFC 2047: decoded to UTF-8 (unknown character sets and broken words stay as they are); encoded for a header. */
struct slice rfc2047_decode(struct arena *arena, struct slice text, bool check_length);
/* The same into another character set; NULL: without translation, the bytes as they were encoded. */
struct slice rfc2047_decode_to(struct arena *arena, struct slice text, bool check_length,
			       const struct slice *charset);
struct slice rfc2047_encode(struct arena *arena, struct slice text, struct slice charset);
/* RFC 5322 date of a wall-clock time, in the local zone: "Sat, 21 Nov 2026 10:00:00 +0000". */
void date_rfc5322(struct str *str, uint64_t seconds);

/* ---- Policy variables, the client, the message ---------------------------------------------------------- */

/* $acl_c_x and $acl_m_x: few, so a list. Values live in the owner's arena. */
struct acl_variable {
	struct acl_variable *next;
	struct slice name; /* without "acl_c"/"acl_m": "0", "_greeting" */
	struct slice value;
};
struct slice *acl_variable_get(struct acl_variable *list, struct slice name); /* NULL: not set */
NODISCARD bool acl_variable_set(struct arena *arena, struct acl_variable **list, struct slice name,
				struct slice value);

/* What is known of whoever brought a message: a client over SMTP, or a local user. Facts that policy asks for and
 * that are kept with the message. Strings live as long as the client (a connection's arena), or, for a message
 * that was read back from the spool, in the message's. */
struct client {
	struct ip_addr ip;      /* family 0: local submission */
	struct ip_addr local;   /* our end: $received_ip_address, $received_port */
	struct slice host_name; /* verified reverse name; empty: none or not looked up */
	const struct slice *host_aliases;
	unsigned host_alias_count;
	bool host_lookup_done, host_lookup_failed, host_lookup_deferred;
	bool host_name_secure; /* the DNS proved the name, and that it leads back (DNSSEC) */
	struct slice helo;     /* as given */
	bool esmtp, helo_verified, helo_verify_failed;
	bool helo_secure;   /* verified by what DNSSEC proves */
	struct slice ident; /* RFC 1413, or the local user's login */
	struct slice authenticated_id, authenticator_name, authenticated_sender;
	struct slice authenticator_pubname;
	struct slice
	    protocol_base; /* $received_protocol: "esmtp", "local-smtp"...; empty: made from the facts */
	struct slice protocol_now; /* the same of a session, as it is so far; messages have their own */
	bool proxied;              /* PROXY protocol */
	struct ip_addr proxy_local, proxy_external;
	struct slice tls_cipher, tls_peerdn, tls_sni, tls_version; /* empty: clear text */
	bool tls_certificate_verified;
	struct slice tls_cipher_std, tls_ourcert, tls_peercert; /* certificates as PEM */
	int tls_bits;
	uint8_t tls_ocsp;       /* 0 to 4, $tls_in_ocsp */
	uint8_t tls_resumption; /* bits of $tls_in_resumption */
	struct acl_variable *acl_c;
	struct acl_variable *acl_m;   /* set while there is no message yet (connect, HELO) */
	struct slice active_hostname; /* smtp_active_hostname, expanded; empty: primary_hostname */
	uint32_t uid, gid;            /* of a local submitter */
	struct slice login;
	uint64_t connected;     /* wall clock, ns */
	const char *csa_status; /* $csa_status; NULL: not asked */
	struct map *rates;   /* acl's own: the rates counted in this connection; NULL: none, and in copies */
	struct arena *arena; /* where new strings of this client go */
	struct arena *variables; /* where acl_c goes, which may be set anew ten thousand times; NULL: arena */
};
/* Everything unknown; strings empty. */
void client_clear(struct client *client);
bool client_is_local(const struct client *client);
/* $sender_fullhost and $sender_rcvhost: as log lines and Received: fields name a client. with_port: the log selector
 * incoming_port is on. */
struct slice client_fullhost(const struct client *client, struct arena *arena, bool with_port);
struct slice client_rcvhost(const struct client *client, struct arena *arena, bool with_port);
/* A copy that lives in the arena: for a message that outlives its connection. NULL: no memory. */
struct client *client_copy(struct arena *arena, const struct client *client);
/* Moves acl_c into the arena, without the values that were set before the present ones. false: no memory, nothing moved. */
NODISCARD bool client_variables_move(struct client *client, struct arena *arena);

struct recipient {
	struct slice address;  /* local_part@domain as it will be routed */
	struct slice original; /* before rewriting; equal to address if untouched */
	struct slice orcpt;    /* DSN, xtext as given; empty: none */
	struct slice errors_to;
	uint8_t dsn_flags; /* 1 last hop, 2 NEVER, 4 SUCCESS, 8 FAILURE, 16 DELAY, as in -H files */
	int32_t parent;    /* index of the recipient that made it (one_time), -1 */
	bool done;         /* no further delivery */
	struct link link;  /* free for whoever works through them */
};

/* Where a body is: pieces in memory (received buffers), or on the spool. CRLF line ends, no dot-stuffing, no final
 * dot: as it goes over the wire with BDAT. */
struct body {
	struct frag *frags;
	uint32_t frag_count, frag_room;
	struct spill *spill;      /* the front part, when it was too large to be kept; pieces follow it */
	uint64_t spilled;         /* bytes */
	uint64_t size;            /* bytes in all */
	uint64_t line_count;      /* CRLFs */
	uint64_t zero_count;      /* NUL bytes */
	uint32_t line_length_max; /* bytes without line end; of the header block too */
	uint32_t line_length;     /* of the line that is not yet at its end */
	bool lf; /* on the spool with LF line ends (an imported -D file without -spool_file_wireformat) */
	bool in_memory;     /* all of it is in the pieces */
	struct slice start; /* the first bytes, for $message_body, kept when the rest was spilled */
};

struct next_hop;
struct envelope_line {
	struct slice text; /* without the LF; may hold LFs where a value does */
	uint32_t rank;     /* its place in the order of the lines */
};

struct message {
	struct arena arena; /* everything of this message */
	struct message_id id;
	struct conf *conf;     /* a reference: the snapshot it arrived under */
	struct client *client; /* facts, in this arena or the connection's (then it outlives the message) */
	struct slice sender;   /* reverse-path, "" for a bounce */
	struct slice sender_original;
	struct recipient *recipients;
	uint32_t recipient_count, recipient_room;
	struct header_block headers;
	struct body body;
	struct spool_entry *entry; /* once it is durable */
	struct spool *spool;
	struct acl_variable *acl_m;
	struct slice protocol; /* $received_protocol as of arrival */
	uint64_t received;     /* wall clock, ns */
	uint64_t received_complete;
	uint64_t size_declared;    /* MAIL's SIZE=; 0: none */
	uint64_t received_hops;    /* Received: headers */
	uint64_t lines_received;   /* of header and body as they came, and the line between; 0: not known */
	bool local;                /* by a local user in his own name */
	bool sender_set_untrusted; /* by a local user in a name that he may use but does not own */
	bool smtputf8;
	bool sender_local; /* made here (a bounce or DSN) */
	bool submission, suppress_fixups, queue_only,
	    deliver_firsttime; /* the last: no delivery has been tried */
	bool frozen, manual_thaw, dont_deliver;
	bool rcpt_seen;  /* a RCPT came before the present command */
	bool queue_smtp; /* what goes to other hosts waits for a queue run, although it is routed at once */
	uint64_t
	    debug_topics; /* control = debug: what is told of its deliveries too (base/debug.h); 0: nothing */
	struct slice debug_name; /* and in which file */
	int8_t utf8_downconvert; /* addresses in A-labels: 1 always, -1 for hosts without SMTPUTF8, 0 never */
	uint64_t frozen_since;   /* seconds */
	uint32_t warning_count;
	struct slice dsn_envid;
	uint8_t dsn_ret;   /* 0 none, 1 FULL, 2 HDRS */
	uint8_t body_8bit; /* BODY=: 0 none, 7, 8 */
	struct slice auth_sender;
	struct slice queue_name;
	struct slice message_id_header; /* $h_message-id: without angle brackets */
	bool message_id_made;           /* it did not come with the message: message_fix() made it */
	struct slice
	    *nonrecipients; /* done with: recipients, and addresses that were made from them (aliases) */
	uint32_t nonrecipient_count, nonrecipient_room;
	struct slice nonrecipients_text; /* their tree as it was read, while nothing was added */
	uint32_t nonrecipients_text_count;
	struct envelope_line
	    *unsupported_lines; /* -H lines that nobody here asks for: kept and written back */
	uint32_t unsupported_count;
	int32_t filter_sn[10];   /* $sn0 ... $sn9: what the system filter counted */
	struct message_id about; /* the message that a report is about; "": none */
	void *extra[4];          /* other rooms' own (mail authentication, scan results...) */
	struct next_hop
	    *next_hop; /* the transport room's: a host that is told of it while it comes in; NULL: none */
	uint32_t refs; /* of this shard's fibers and lists */
};

/* A new message on this shard; takes a reference of conf. NULL: no memory. size_max: of its arena. */
struct message *message_new(struct conf *conf, size_t size_max);
void message_ref(struct message *message);
void message_unref(struct message *message); /* gives buffers back */
/* May move the array: no pointers into it are kept while recipients are still added. */
NODISCARD bool message_add_recipient(struct message *message, const struct recipient *recipient);
/* One more address that is done with (the slice lives in the message's arena). */
NODISCARD bool message_add_nonrecipient(struct message *message, struct slice address);
/* Lines of header and body as they are now, and the one between. */
uint64_t message_lines(const struct message *message);
/* Fills in what the header block says: message_id_header, received_hops. After the block was read or changed. */
void message_read_headers(struct message *message);
/* Writes the envelope and commits it with the body; sets message->entry and ->spool. Parks; results as spool_commit(). */
NODISCARD enum rc message_commit(struct task *task, struct spool *spool, struct message *message,
				 struct err *err);
/* A message read back from the spool, under the present configuration. Parks. FAIL: its envelope is malformed. */
NODISCARD enum rc message_load(struct task *task, struct spool *spool, struct spool_entry *entry,
			       struct conf *conf, struct message **message_ret, struct err *err);

NODISCARD bool body_add(struct message *message, struct buf *buf, const char *ptr,
			uint32_t len); /* takes its own reference */
/* The same for a caller that has counted lines and NULs in a pass of its own. */
NODISCARD bool body_append(struct message *message, struct buf *buf, const char *ptr, uint32_t len);
/* Copies what stands in receive buffers into the message's arena and gives the buffers back: when they are scarce.
 * false: no memory. */
NODISCARD bool body_own(struct message *message);
void body_drop(struct body *body); /* gives the buffers back: the bytes are on the spool */
/* Writes what is in memory to the spool's spill and gives the buffers back; begins the spill if there is none. Parks. */
NODISCARD enum rc body_spill(struct task *task, struct spool *spool, struct message *message,
			     struct err *err);
/* Keeps a copy of the first bytes (for $message_body) before buffers are given back. DEFER: no memory. */
NODISCARD enum rc body_keep_start(struct message *message, uint32_t size);
/* The first bytes, at most size, as far as they are in memory: in the arena. */
struct slice body_start(const struct message *message, struct arena *arena, uint32_t size);
uint64_t body_lf_size(const struct body *body); /* bytes with LF line ends */
uint64_t
message_size(const struct message *message); /* header block, empty line and body, with LF line ends */
/* A reader of the body from start to end, wherever it is. next: one piece, valid until the next call; FAIL with err
 * empty at the end. Parks when it has to read the disk. */
struct body_reader {
	struct message *message;
	uint64_t offset;
	uint32_t frag, frag_offset;
	char *block;
};
void body_reader_init(struct body_reader *reader, struct message *message);
NODISCARD enum rc body_next(struct task *task, struct body_reader *reader, struct slice *piece_ret,
			    struct err *err);

/* ---- Received: fields and fix-ups ------------------------------------------------------------------------ */

/* What received_header_text's default gives (without the time): "Received: from ... id ...". Appended to str; from a clean
 * state of the header block and with all recipients known. DEFER: no memory. */
NODISCARD enum rc received_default(const struct message *message, const struct client *client,
				   const struct conf_main *conf, struct slice sender, bool with_port,
				   struct str *str);
/* The field, with the time behind the text; not yet in the block (header_prepend()). NULL: no memory. */
struct header *received_make(struct message *message, struct slice text, uint64_t seconds);
/* Another time in a field that received_make() made: the moment of acceptance, instead of the first byte's. */
void received_set_time(struct message *message, struct header *header, uint64_t seconds);

/* What a message gets on its way in (the manual's chapter "Message processing"): fields that have no business in transit go,
 * and what a local user or a client in submission mode left out is added. */
struct fixup {
	struct slice qualify_domain, qualify_recipient, primary_hostname;
	bool remove_return_path, remove_envelope_to, remove_delivery_date; /* options ..._remove */
	bool local;   /* submitted on this host, and suppress_local_fixups is not set */
	bool smtp;    /* by -bs or over TCP: no "From: login" */
	bool trusted; /* a local user who may say who he is */
	bool qualify_sender, qualify_recipients; /* unqualified addresses in header fields get a domain */
	bool from_check;                         /* local_from_check */
	bool sender_retain;                      /* local_sender_retain, or submission/sender_retain */
	struct slice from_prefix, from_suffix;   /* local_from_prefix and ..._suffix: colon lists */
	struct slice login, name;                /* of the local user; name: his full name, may be empty */
	struct slice id_text, id_domain;         /* message_id_header_text and ..._domain, expanded */
	bool submission;                         /* control = submission */
	struct slice submission_domain;          /* ptr NULL: not given; empty: the id is a whole address */
	struct slice submission_name;
	struct slice authenticated_id;
	struct slice charset;       /* headers_charset */
	bool strip_dot, allow_utf8; /* options of addresses */
	uint64_t now;               /* wall clock, seconds */
};
/* May change message->sender, too (a created Sender: is the return path). The Received: field is not yet there. DEFER: no
 * memory. */
NODISCARD enum rc message_fix(struct message *message, const struct fixup *fixup, struct err *err);
/* Its parts, for those who rewrite addresses: recipients behind the first, the sender and the fields behind the second. */
NODISCARD enum rc message_fix_begin(struct message *message, const struct fixup *fixup, struct err *err);
NODISCARD enum rc message_fix_sender(struct message *message, const struct fixup *fixup, struct err *err);
NODISCARD enum rc message_fix_end(struct message *message, const struct fixup *fixup, struct err *err);
/* -t: the recipients that To:, Cc: and Bcc: name (or their Resent- sisters, if there are any) are added, but for those in
 * `except` (extract_addresses_remove_arguments); Bcc: goes. malformed() is told each address that is none.  DEFER: no memory. */
NODISCARD enum rc
message_recipients_from_headers(struct message *message, const struct fixup *fixup,
				const struct slice *except, unsigned except_count,
				void (*malformed)(void *arg, struct slice item, struct slice why), void *arg);
/* A display name as a phrase (RFC 5322 section 3.2.5): quoted or encoded as far as it has to be. */
struct slice phrase_quote(struct arena *arena, struct slice text, struct slice charset);

/* Dot-stuffing without copying (RFC 5321 section 4.5.2): each call turns the front of *piece into at most iov_max (2 at
 * least) pieces and takes it off; 0 when *piece is used up. end: what has to follow the last one. */
struct dot_stuffer {
	bool line_start;
};
void dot_stuffer_init(struct dot_stuffer *stuffer);
unsigned dot_stuffer_next(struct dot_stuffer *stuffer, struct slice *piece, struct iovec *iov,
			  unsigned iov_max);
struct slice dot_stuffer_end(const struct dot_stuffer *stuffer);
/* Line ends changed from piece to piece; *cr_pending is false at first. out has room for piece.len + 1 bytes, or
 * 2 * piece.len. Returns what was written. lf_to_crlf makes a line end of every LF, CR and CRLF. */
size_t crlf_to_lf(bool *cr_pending, struct slice piece, char *out);
size_t lf_to_crlf(bool *cr_pending, struct slice piece, char *out);

/* The -H text of a message, and back. (Exim's format: FEATURES.md F18.) */
NODISCARD enum rc envelope_write(const struct message *message, struct str *str);
NODISCARD enum rc envelope_read(struct message *message, struct slice text, struct err *err);

struct tls_facts; /* lib/tls's */

/* ---- Scope ------------------------------------------------------------------------------------------------ */

/* An address on its way through verification, routing and delivery. */
struct router;
struct transport;
struct host_list;
struct filter_action;
struct address {
	struct slice
	    full; /* local_part@domain; domain in lower case, local part lower-cased unless caseful */
	struct slice local_part, domain;
	struct slice cased_local_part; /* as given */
	struct slice prefix, prefix_v, suffix, suffix_v;
	struct slice local_part_data, domain_data; /* of list matches; ptr NULL: unset */
	struct slice address_data, self_hostname, home, current_directory;
	struct slice errors_to;   /* ptr NULL: the message's sender */
	struct slice srs_sender;  /* what SRS made of the sender, for the log; ptr NULL: nothing */
	struct slice return_path; /* what the transport made of it, for the log; ptr NULL: nothing */
	struct slice file, pipe;  /* ptr NULL; made by redirection: "/path" or "|command" */
	struct acl_variable *router_variables; /* $r_x */
	struct address *parent;
	struct recipient *recipient; /* the envelope recipient it comes from; NULL in verification */
	const struct router *router;
	const struct router *start_router; /* where routing begins; NULL: at the first */
	const struct transport *transport;
	struct host_list *hosts;
	struct header_block headers_add;
	struct slice headers_remove; /* colon list */
	uint32_t uid, gid;
	bool uid_set, gid_set, initgroups;
	uint8_t dsn_flags;
	struct slice orcpt;
	struct link link;
	const struct filter_action
	    *action; /* of a filter, that made this address: the reply, the pipe's words, the file's mode */
	bool ignore_errors; /* a filter's "noerror", and handed on: its failures are told to nobody */
	void *extra;        /* of the room that works on it now */
};

enum flush_reason { FLUSH_FOR_DELAY, FLUSH_FOR_CALLOUT };

/* What a piece of policy work knows: everything that expansions, lists, ACLs, routers and transports can ask about.
 * Made on the stack of the fiber that does the work; rooms above fill in what they have. NULL: not there. */
struct acl_frame;
struct smtp_session;
struct scope {
	struct task *task;
	const struct conf *conf;
	struct client *client;
	struct message *message;
	struct address *address; /* $domain, $local_part ... */
	struct slice sender;     /* $sender_address; ptr NULL: message's */
	struct smtp_session *session;
	struct lookup_results *
	    *lookup_results;   /* the owner's place for what lookups found; NULL: nothing is kept */
	struct acl_frame *acl; /* the ACL that runs: arguments, its place in the file */
	const struct router *router;
	const struct transport *transport;
	const struct host_item *host; /* $host, $host_address, $host_port of a delivery */
	const struct tls_facts
	    *tls_out;              /* of the connection of a delivery or callout; NULL: none, or clear text */
	struct slice smtp_command; /* the whole line */
	/* Set while an expansion works: */
	struct slice numeric[20]; /* $0 ... $19 */
	unsigned numeric_count;
	struct slice value, item; /* $value, $item; ptr NULL: not set */
	struct slice auth[3];     /* $auth1 ... */
	struct slice lookup_value;
	struct slice ldap_dn; /* of the entry that the last LDAP lookup found */
	struct slice
	    lookup_dnssec_authenticated; /* "yes", "no": by the last question to the DNS that wanted to know */
	int run_code;                    /* $runrc */
	struct slice prvscheck_address, prvscheck_keynum, prvscheck_result;
	struct slice srs_recipient, srs_orig_recipient, srs_orig_sender, srs_db_address, srs_db_key;
	/* Results that conditions leave behind: */
	struct slice host_data, domain_data, local_part_data, sender_data, recipient_data, acl_verify_message;
	struct slice dnslist_domain, dnslist_matched, dnslist_text, dnslist_value;
	struct slice sender_verify_failure, recipient_verify_failure;
	struct slice sender_rate, sender_rate_limit, sender_rate_period;
	struct slice sender_address_data; /* of the routing that verified the sender; ptr NULL: unset */
	struct slice
	    callout_address; /* "[ip]:port" that the last callout or delivery asked; ptr NULL: unset */
	struct slice
	    mailstore_basename; /* the files that are being written, without suffix; ptr NULL: unset */
	struct ip_addr sending; /* our end of the connection to host; family 0: not known yet */
	bool local_user;        /* check_local_user has found one: */
	uint32_t local_uid, local_gid;
	struct slice event_name, event_data;
	int event_errno;
	enum { VERIFY_NOT, VERIFY_SENDER, VERIFY_RECIPIENT } verify_mode; /* $verify_mode: S, R */
	bool address_test;                                                /* -bt */
	bool forced;               /* a delivery that does not wait for retry times (-M, -qf) */
	bool dry_run;              /* -bh: nothing is really delivered, delays are told, not waited for */
	bool no_callouts;          /* -bh: other hosts are not asked about addresses */
	bool queue_running;        /* a queue runner's delivery */
	unsigned depth;            /* of nested ACLs and expansions */
	uint32_t work, work_next;  /* of the outermost expansion: what was done, and when that is looked at */
	size_t memory_start;       /* what the task's arena had when it began */
	unsigned expand_forbidden; /* EXPAND_NO_...: what a user's filter may not do */
	int32_t filter_n[10];      /* $n0 ... $n9 of the filter that runs */
	struct slice this_address; /* $thisaddress; ptr NULL: not set */
	struct slice dkim_domain, dkim_selector; /* of the signature that is being made; ptr NULL: none is */
	struct slice headers_charset;            /* a filter's "headers charset"; ptr NULL: the option's */
	struct debug *
	    *debug; /* the owner's place for where its work is told (control = debug); NULL: it has none */
	/* Before a wait that a client would notice: sends the replies gathered so far. Parks. NULL: there are none. */
	void (*flush)(struct scope *sc, enum flush_reason reason);
};
/* A scope with everything unset. */
void scope_init(struct scope *sc, struct task *task, const struct conf *conf);

/* A variable: its owner's getter. OK and FAIL ("unset" is OK with an empty slice); DEFER when it had to be looked up
 * and could not. May park. The value lives as long as what it was read from, or in sc->task->arena. */
struct variable {
	const char *name;
	enum rc (*get)(struct scope *sc, const struct variable *variable, struct slice *value_ret,
		       struct err *err);
	size_t arg; /* the owner's: an offset or a number */
};
struct variable_table {
	const struct variable *rows;
	unsigned count;
};
/* $h_name: and its kin. The decoded text for HEADER_BASIC (bytes as encoded) and HEADER_DECODED (in headers_charset); fields
 * of the name are joined by LF, those of address lists by comma and LF; HEADER_LIST: a colon list of the raw fields;
 * HEADER_RAW: all as it is. OK with an empty slice when there is none; *ret is in sc->task->arena or the message. DEFER: no
 * memory. */
enum header_form { HEADER_DECODED, HEADER_BASIC, HEADER_RAW, HEADER_LIST };
NODISCARD enum rc header_expand(struct scope *sc, struct slice name, enum header_form form, struct slice *ret,
				struct err *err);
/* Is there such a field (def:h_name:)? */
bool header_defined(const struct scope *sc, struct slice name);
/* The envelope sender as policy sees it now: the scope's, or the message's. */
struct slice scope_sender(const struct scope *sc);

/* $message_..., $sender_..., $recipients_..., $local_part, $domain, $received_..., $tls_in_..., $proxy_..., $primary_hostname... */
extern const struct variable_table message_variables;

/* $version_number: exim_version, or the version of Exim whose language we speak, which is what configurations ask for. */
struct slice version_number(const struct conf_main *conf);
/* What allow_domain_literals, allow_utf8_domains, strip_trailing_dot and strip_excess_angle_brackets allow in envelope
 * addresses: ADDRESS_... flags. */
unsigned address_flags(const struct conf *conf);

/* Main options of this room: header_maxsize, header_line_maxsize, received_headers_max, received_header_text,
 * message_id_header_*, check_rfc2047_length, headers_charset, message_body_visible... */
extern const struct conf_feature message_features[];
extern const struct conf_group message_conf_group;
struct message_options {
	int64_t header_maxsize, header_line_maxsize, received_headers_max;
	int64_t message_body_visible;
	bool message_body_newlines, check_rfc2047_length, allow_utf8_domains, strip_trailing_dot,
	    allow_domain_literals;
	bool strip_excess_angle_brackets;
	struct slice headers_charset;
};

#endif
