/* acl: access control lists. The acl section compiled into statements; verbs, conditions, modifiers and controls are
 * rows of tables, one file per family. Runs on the fiber of the command that it judges. */
#ifndef ACL_ACL_H
#define ACL_ACL_H

#include "transport/transport.h"

/* Where an ACL runs; a bit each in the tables that say which word is allowed where. */
enum acl_where {
	ACL_WHERE_CONNECT,
	ACL_WHERE_HELO,
	ACL_WHERE_MAIL,
	ACL_WHERE_RCPT,
	ACL_WHERE_PREDATA,
	ACL_WHERE_DATA,
	ACL_WHERE_PRDR,
	ACL_WHERE_MIME,
	ACL_WHERE_DKIM,
	ACL_WHERE_NOT_SMTP,
	ACL_WHERE_NOT_SMTP_START,
	ACL_WHERE_AUTH,
	ACL_WHERE_MAILAUTH,
	ACL_WHERE_ETRN,
	ACL_WHERE_EXPN,
	ACL_WHERE_VRFY,
	ACL_WHERE_STARTTLS,
	ACL_WHERE_QUIT,
	ACL_WHERE_NOTQUIT,
	ACL_WHERE_ATRN,
	ACL_WHERE_WELLKNOWN,
	ACL_WHERE_DELIVERY,
	ACL_WHERE_UNKNOWN,
	ACL_WHERE_COUNT,
};
extern const char
    *const acl_where_names[ACL_WHERE_COUNT]; /* "RCPT", "DATA", "connection" ..., as log lines have them */

enum acl_result {
	ACL_ACCEPT,
	ACL_DENY,
	ACL_DROP,
	ACL_DEFER,
	ACL_DISCARD,
	ACL_ERROR /* 451: the ACL itself is broken */
};

/* What a run asks of its caller beside the verdict. The caller makes one per command (acl_outcome_init), hands the standing
 * parts (flags of controls) on as the connection's or the message's. */
enum {
	ACL_CONTROL_NO_ENFORCE_SYNC = 1 << 0,
	ACL_CONTROL_NO_PIPELINING = 1 << 1,
	ACL_CONTROL_NO_MULTILINE = 1 << 2,
	ACL_CONTROL_QUEUE = 1 << 3,
	ACL_CONTROL_FREEZE = 1 << 4,
	ACL_CONTROL_FREEZE_TELL = 1 << 5,
	ACL_CONTROL_FAKEREJECT = 1 << 6,
	ACL_CONTROL_FAKEDEFER = 1 << 7,
	ACL_CONTROL_SUBMISSION = 1 << 8,
	ACL_CONTROL_SUBMISSION_SENDER_RETAIN = 1 << 9,
	ACL_CONTROL_SUPPRESS_FIXUPS = 1 << 10,
	ACL_CONTROL_CASEFUL = 1 << 11,
	ACL_CONTROL_CASELOWER = 1 << 12,
	ACL_CONTROL_ALLOW_AUTH_UNADVERTISED = 1 << 13,
	ACL_CONTROL_NO_DELAY_FLUSH = 1 << 14,
	ACL_CONTROL_NO_CALLOUT_FLUSH = 1 << 15,
	ACL_CONTROL_QUEUE_FIRST_PASS = 1 << 16,
	ACL_CONTROL_ENFORCE_SYNC = 1 << 17,
	ACL_CONTROL_CUTTHROUGH = 1 << 18,
	ACL_CONTROL_DKIM_OFF = 1 << 19,
	ACL_CONTROL_DMARC_OFF = 1 << 20,
	ACL_CONTROL_DMARC_FORENSIC = 1 << 21,
	ACL_CONTROL_NO_MBOX_UNSPOOL = 1 << 22,
};
struct acl_header_change {
	struct acl_header_change *next;
	struct slice text; /* whole header, or for removal the name (pattern) */
	enum {
		HEADER_ADD_AT_TOP,
		HEADER_ADD_AFTER_RECEIVED,
		HEADER_ADD_AT_END,
		HEADER_ADD_AT_START_RFC,
		HEADER_REMOVE
	} how;
};
struct acl_outcome {
	struct slice user_message; /* for the client, may begin with a code; ptr NULL: none */
	struct slice log_message;  /* for the log; ptr NULL: as user_message */
	uint32_t controls;         /* ACL_CONTROL_..., added to what is there */
	struct slice control_text; /* fakereject/fakedefer message */
	struct slice submission_domain, submission_name;
	struct acl_header_change *headers; /* in order */
	uint32_t reject_targets;           /* enum log_where bits for a refusal; default main and reject */
	struct slice queue_name;
	/* Of a sender verification that failed for the first time; ptr NULL: none, or told before. */
	struct slice unverified; /* "<address>: reason", for the log */
	struct slice details;    /* lines for the client before the message, unless no_details was given */
	bool
	    header_refused; /* the log message is about a header field: for the client, if he may have details */
	struct slice wellknown; /* what control = wellknown read; ptr NULL: it was not said */
	int drop_code;
	int tos; /* of control = dscp, for the client's connection; -1: none */
};
void acl_outcome_init(struct acl_outcome *outcome);
/* A file that control = wellknown names has at most so many bytes: the reply is made in memory, up to three times as large. */
#define ACL_WELLKNOWN_SIZE_MAX (128 * 1024)
/* The header lines that ACLs asked for are in the message now: $headers_added has those yet to be added. */
void acl_headers_applied(struct message *message);

/* Runs the ACL that the option names (a name, a file, or ACL text; unset: the default of the place). sc has what is known:
 * client, message, address (rcpt, vrfy, expn), smtp_command. Strings in *outcome live in sc->task->arena. Parks.
 * Cancelled tasks: ACL_ERROR with sc->task->cancelled set. */
enum acl_result acl_check(struct scope *sc, enum acl_where where, const struct expansion *acl,
			  struct acl_outcome *outcome, struct err *err);

/* Does a named ACL judge senders by SPF? Then their records are asked for as soon as the sender is told. */
bool acl_uses_spf(const struct conf *conf);

/* The section's compiled ACLs, by name; for those who compile inline text. */
extern const struct conf_section acl_conf_section;
extern const struct expand_item *const acl_items[];           /* ${acl */
extern const struct expand_condition *const acl_conditions[]; /* acl {{..}} */
extern const struct variable_table
    acl_variables; /* $acl_arg1..., $acl_narg, $acl_verify_message, $sender_rate..., $dnslist_... */
extern const struct conf_group acl_conf_group; /* dns_csa_..., ratelimit_redis_servers */
void acl_macros(struct conf *conf);            /* _ACL_COND_..., _ACL_MOD_... */

#endif
