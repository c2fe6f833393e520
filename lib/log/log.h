/* log: main, reject and panic log in Exim's format, to files, syslog or standard output. One buffer per
 * shard, written at the end of a round of the loop, without blocking, and 4 ms later at the latest where a shard
 * logs in every round. What strangers wrote is escaped here and nowhere else.
 *
 * log_file_path is a colon list of: a path with %s (main, reject, panic) and perhaps %D or %M (date, month:
 * files change at midnight, the panic log's name goes without); an empty item (the default,
 * <spool>/log/%slog); "syslog"; and sluice's own words for containers, "stdout" and "stderr", where each line
 * goes once, whichever logs it is for.
 *
 * Each file is one descriptor, shared by all shards and kept for the life of the process: when the name no
 * longer leads to the open file (looked at once a second, and when the date changes), the file of that name
 * is opened and put under the same number with dup3(), which no writer notices. Lines of one shard keep their
 * order; those of several shards are in the order in which their rounds end.
 *
 * When the main log cannot be written, log_healthy() is false until it can; lines are kept up to
 * LOG_BUFFER_MAX and then counted, and the count is logged afterwards. */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include "conf/conf.h"
#include "reactor/reactor.h"

enum log_selector {
	LOG_8BITMIME,
	LOG_ACL_WARN_SKIPPED,
	LOG_ADDRESS_REWRITE,
	LOG_ALL_PARENTS,
	LOG_ARGUMENTS,
	LOG_CONNECTION_ID,
	LOG_CONNECTION_REJECT,
	LOG_DELAY_DELIVERY,
	LOG_DELIVER_TIME,
	LOG_DELIVERY_SIZE,
	LOG_DKIM,
	LOG_DKIM_VERBOSE,
	LOG_DMARC,
	LOG_DMARC_VERBOSE,
	LOG_DNSLIST_DEFER,
	LOG_DNSSEC,
	LOG_ETRN,
	LOG_HOST_LOOKUP_FAILED,
	LOG_IDENT_TIMEOUT,
	LOG_INCOMING_INTERFACE,
	LOG_INCOMING_PORT,
	LOG_LOST_INCOMING_CONNECTION,
	LOG_MILLISEC,
	LOG_MSG_ID,
	LOG_MSG_ID_CREATED,
	LOG_OUTGOING_INTERFACE,
	LOG_OUTGOING_PORT,
	LOG_PID,
	LOG_PIPELINING,
	LOG_PROTOCOL_DETAIL,
	LOG_PROXY,
	LOG_QUEUE_RUN,
	LOG_QUEUE_TIME,
	LOG_QUEUE_TIME_EXCLUSIVE,
	LOG_QUEUE_TIME_OVERALL,
	LOG_RECEIVE_TIME,
	LOG_RECEIVED_RECIPIENTS,
	LOG_RECEIVED_SENDER,
	LOG_REJECTED_HEADER,
	LOG_REJECTED_HEADERS,
	LOG_RETRY_DEFER,
	LOG_RETURN_PATH_ON_DELIVERY,
	LOG_SENDER_ON_DELIVERY,
	LOG_SENDER_VERIFY_FAIL,
	LOG_SIZE_REJECT,
	LOG_SKIP_DELIVERY,
	LOG_SMTP_CONFIRMATION,
	LOG_SMTP_CONNECTION,
	LOG_SMTP_INCOMPLETE_TRANSACTION,
	LOG_SMTP_MAILAUTH,
	LOG_SMTP_NO_MAIL,
	LOG_SMTP_PROTOCOL_ERROR,
	LOG_SMTP_SYNTAX_ERROR,
	LOG_SPF,
	LOG_SPF_VERBOSE,
	LOG_SUBJECT,
	LOG_TLS_CERTIFICATE_VERIFIED,
	LOG_TLS_CIPHER,
	LOG_TLS_ON_CONNECT,
	LOG_TLS_PEERDN,
	LOG_TLS_RESUMPTION,
	LOG_TLS_SNI,
	LOG_UNKNOWN_IN_LIST,
	LOG_SELECTOR_COUNT,
};
extern const char *const log_selector_names[LOG_SELECTOR_COUNT]; /* in alphabetical order */

/* The main options of this room: log_file_path, log_selector, log_timezone, syslog_*, write_rejectlog,
 * print_topbitchars... */
extern const struct conf_group log_conf_group;
void log_macros(struct conf *conf); /* _LOG_...: for conf_language.macros */
bool log_wants(const struct conf *conf, enum log_selector selector);
/* The option print_topbitchars: bytes above 127 count as printing. */
bool log_prints_topbitchars(const struct conf *conf);

enum log_where { LOG_TO_MAIN = 1, LOG_TO_REJECT = 2, LOG_TO_PANIC = 4 };

/* A line is cut here, and a shard's buffer is full here: what is longer, or more, is a fault or an attack. */
#define LOG_LINE_MAX   (32u * 1024)
#define LOG_BUFFER_MAX (4u * 1024 * 1024)

/* Once per process, after the configuration was loaded and before root is dropped (what it creates is given
 * to exim_user); again after a reload or when the files were moved away (SIGHUP, SIGUSR1), on any one thread.
 * May block. to_stderr: a copy there (-bdf without log files, -d). FAIL: the main log cannot be opened. */
NODISCARD enum rc log_open(struct conf *conf, bool to_stderr, struct err *err);
/* Per shard, before the first log_write() on it, on its loop or before it runs. Without log_open(), or on a
 * shard that was not attached, log_write() does nothing. */
NODISCARD enum rc log_attach(struct shard *shard, struct err *err);
/* Parks until what was logged so far is written. DEFER: the log cannot be written, or the deadline. Before
 * shard_stop(), so that nothing is under way when the loop ends. */
NODISCARD enum rc log_flush(struct task *task);
/* After the loop has ended: writes what is left, blocking. */
void log_detach(struct shard *shard);
/* For tests: on this shard lines (without the newline) go to fn and nowhere else. Attaches the shard, needs
 * no log_open(). */
void log_capture(struct shard *shard, void (*fn)(void *arg, unsigned where, struct slice line), void *arg);

/* One line: the time stamp, the pid where asked for, the id unless NULL or empty, then the text with
 * unprintable bytes escaped (\n, \000, \033). Never parks. Lines go to the kernel at the end of the round of
 * the loop, together with what the same round sends, or, from a busy shard, within 4 ms. A line that must be there
 * before something else happens needs a log_flush(). */
void log_write(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
	       struct slice text);
void log_printf(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
		const char *format, ...) PRINTF_LIKE(5, 6);
/* The same; in the reject log, the lines of more (a message's header, separated by LF) follow. */
void log_write_more(struct shard *shard, const struct conf *conf, unsigned where, const struct message_id *id,
		    struct slice text, struct slice more);
/* Outside a shard (start-up, the supervisor): written at once, may block. To standard error when log_open()
 * was not called, or conf is NULL. */
void log_direct(const struct conf *conf, unsigned where, const char *format, ...) PRINTF_LIKE(3, 4);
/* false while the main log cannot be written (disk full...): then mail is not to be accepted (451). */
bool log_healthy(const struct shard *shard);
/* What is free where the main log is: bytes, and inodes (-1: the file system does not count them). The mounted file
 * system's own numbers, which are in memory. false: there is no log file, or it cannot be found out. */
bool log_space(const struct conf *conf, int64_t *bytes_ret, int64_t *inodes_ret);

/* ---- Debugging: where the lines of base/debug.h go ---- */

/* To standard error: for a command, at once (direct); for a daemon's sessions with the log's own lines, without ever waiting.
 * With nothing but DEBUG_CHECKS, as for -bh, each line has ">>> " in front. NULL: no memory. */
struct debug *log_debug_console(struct shard *shard, uint64_t topics, bool direct);

/* To the debug log: the file where the main log is, "debug" for its %s, with a tag at its end (control = debug).
 *
 * Lines are gathered in memory, and a fiber of the shard writes them; the file is open only meanwhile, so that any number of
 * sessions may have one. What comes faster than it can be written, past LOG_BUFFER_MAX, is counted, and the count
 * told in the file. No file grows past LOG_DEBUG_FILE_MAX: the lines are dropped, and the main log says so, once for
 * each who wanted to write there. Exim's files have no such end but that of the disk.
 *
 * pretrigger_size: until log_debug_trigger() the last so many bytes of lines are kept in memory, and then written; 0: all is
 * written from the start. At most LOG_DEBUG_PRETRIGGER_MAX are kept. on_panic: the first of its lines that go to the
 * panic log is such a trigger. FAIL: the tag is tainted, or the name too long. DEFER: no memory. */
#define LOG_DEBUG_FILE_MAX       (1024ull * 1024 * 1024)
#define LOG_DEBUG_PRETRIGGER_MAX (1024u * 1024)
struct log_debug_wish {
	struct slice tag;
	uint64_t topics;
	uint64_t pretrigger_size;
	bool on_panic;
};
NODISCARD enum rc log_debug_file(struct shard *shard, const struct conf *conf,
				 const struct log_debug_wish *wish, struct debug **debug_ret,
				 struct err *err);
/* The name of its file; ptr NULL: it has none, or does not write there yet. Borrowed. */
struct slice log_debug_name(const struct debug *debug);
/* The tag with which log_debug_file() comes to that name; false: under this configuration none does. */
bool log_debug_tag(const struct conf *conf, struct slice name, struct slice *tag_ret);
/* Is it a file's? */
bool log_debug_is_file(const struct debug *debug);
void log_debug_trigger(struct debug *debug);
/* What it has told is written without the caller; or, with `remove`, its file goes away. debug is gone. NULL is fine. */
void log_debug_end(struct debug *debug, bool remove);

/* "2026-11-21 10:00:00", with ".123" and " +0100" where asked for: as on log lines, for $tod_log and others.
 */
void log_timestamp(struct str *str, uint64_t wall_ns, bool millisec, bool zone);

#endif
