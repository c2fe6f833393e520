/* log: main, reject and panic log in Exim's format, to files, syslog or standard output. One buffer per shard,
 * written once per round of the loop, without blocking. What strangers wrote is escaped here and nowhere else. */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include "conf/conf.h"
#include "reactor/reactor.h"

enum log_selector {
	LOG_8BITMIME, LOG_ACL_WARN_SKIPPED, LOG_ADDRESS_REWRITE, LOG_ALL_PARENTS, LOG_ARGUMENTS, LOG_CONNECTION_ID,
	LOG_CONNECTION_REJECT, LOG_DELAY_DELIVERY, LOG_DELIVER_TIME, LOG_DELIVERY_SIZE, LOG_DKIM, LOG_DKIM_VERBOSE,
	LOG_DMARC, LOG_DMARC_VERBOSE, LOG_DNSLIST_DEFER, LOG_DNSSEC, LOG_ETRN, LOG_HOST_LOOKUP_FAILED, LOG_IDENT_TIMEOUT,
	LOG_INCOMING_INTERFACE, LOG_INCOMING_PORT, LOG_LOST_INCOMING_CONNECTION, LOG_MILLISEC, LOG_MSG_ID,
	LOG_MSG_ID_CREATED, LOG_OUTGOING_INTERFACE, LOG_OUTGOING_PORT, LOG_PID, LOG_PIPELINING, LOG_PROTOCOL_DETAIL,
	LOG_PROXY, LOG_QUEUE_RUN, LOG_QUEUE_TIME, LOG_QUEUE_TIME_EXCLUSIVE, LOG_QUEUE_TIME_OVERALL, LOG_RECEIVE_TIME,
	LOG_RECEIVED_RECIPIENTS, LOG_RECEIVED_SENDER, LOG_REJECTED_HEADER, LOG_REJECTED_HEADERS, LOG_RETRY_DEFER,
	LOG_RETURN_PATH_ON_DELIVERY, LOG_SENDER_ON_DELIVERY, LOG_SENDER_VERIFY_FAIL, LOG_SIZE_REJECT, LOG_SKIP_DELIVERY,
	LOG_SMTP_CONFIRMATION, LOG_SMTP_CONNECTION, LOG_SMTP_INCOMPLETE_TRANSACTION, LOG_SMTP_MAILAUTH, LOG_SMTP_NO_MAIL,
	LOG_SMTP_PROTOCOL_ERROR, LOG_SMTP_SYNTAX_ERROR, LOG_SPF, LOG_SPF_VERBOSE, LOG_SUBJECT,
	LOG_TLS_CERTIFICATE_VERIFIED, LOG_TLS_CIPHER, LOG_TLS_ON_CONNECT, LOG_TLS_PEERDN, LOG_TLS_RESUMPTION, LOG_TLS_SNI,
	LOG_UNKNOWN_IN_LIST, LOG_SELECTOR_COUNT,
};
extern const char *const log_selector_names[LOG_SELECTOR_COUNT]; /* in alphabetical order */

/* The main options of this room: log_file_path, log_selector, log_timezone, syslog_*, write_rejectlog,
 * print_topbitchars... */
extern const struct conf_group log_conf_group;
bool log_wants(const struct conf *conf, enum log_selector selector);

enum log_where { LOG_TO_MAIN = 1, LOG_TO_REJECT = 2, LOG_TO_PANIC = 4 };

/* Once per process, after the configuration was loaded and before root is dropped; again after a reload or when
 * the files were moved away (SIGHUP, SIGUSR1; the files are also reopened by themselves when renamed). directory
 * is where log_file_path's default lives. to_stderr: a copy there (-bdf without log files, -d). */
NODISCARD enum rc log_open(struct conf *conf, bool to_stderr, struct err *err);
/* Per shard, before the first log_write() on it; log_detach() writes what is left. */
NODISCARD enum rc log_attach(struct shard *shard, struct err *err);
void log_detach(struct shard *shard);

/* One line: the time stamp, the pid where asked for, the id unless NULL or empty, then the text with unprintable
 * bytes escaped (\n, \000, \033). Never parks. Lines are written at the end of the round of the loop, before what the
 * same round queued for sending is submitted. */
void log_write(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
	       struct slice text);
void log_printf(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
		const char *format, ...) PRINTF_LIKE(5, 6);
/* Outside a shard (start-up, the supervisor): written at once, may block. */
void log_direct(const struct conf *conf, unsigned where, const char *format, ...) PRINTF_LIKE(3, 4);
/* false while the main log cannot be written (disk full...): then mail is not to be accepted (451). */
bool log_healthy(const struct shard *shard);

/* "2026-11-21 10:00:00", with ".123" and " +0100" where asked for: as on log lines, for $tod_log and others. */
void log_timestamp(struct str *str, uint64_t wall_ns, bool millisec, bool zone);

#endif
