/* work: the private face of the deliver room: the queue's own record of a message, and an attempt at delivering it. */
#ifndef DELIVER_WORK_H
#define DELIVER_WORK_H

#include "deliver/deliver.h"

struct deliver_options {
	int64_t bounce_return_size_limit, bounce_return_linesize_limit;
	int64_t retry_interval_max, retry_data_expire, auto_thaw, ignore_bounce_errors_after,
	    timeout_frozen_after;
	int64_t remote_max_parallel, deliveries_max;
	int64_t queue_only_load, deliver_queue_load_max; /* thousandths; -1: unset */
	bool bounce_return_body, bounce_return_message, queue_run_in_order, message_logs,
	    preserve_message_logs;
	struct conf_timelist delay_warning;
	const struct expansion *delay_warning_condition, *bounce_sender_authentication, *dsn_from,
	    *bounce_message_file, *warn_message_file;
	const struct expansion *system_filter, *system_filter_directory_transport,
	    *system_filter_file_transport;
	const struct expansion *system_filter_pipe_transport, *system_filter_reply_transport;
	const struct expansion *system_filter_user, *system_filter_group;
	const struct match_list *hold_domains, *queue_domains, *queue_smtp_domains;
	struct slice errors_copy, errors_reply_to, bounce_message_text, freeze_tell, remote_sort_domains;
	const struct expansion *queue_run_max;
};

/* A message in the queue, in entry->user. */
struct queued {
	struct spool_entry *entry;
	struct message *message; /* kept while its first attempt is near; else read back */
	struct link link;        /* in deliverer->ready while it waits for a fiber */
	bool ready, running, force, force_frozen, first_attempt;
	bool give_up;           /* -Mg, or its time is up */
	bool logged;            /* it may have a file in msglog */
	struct waitq attempted; /* woken at the end of each attempt */
	uint32_t waiters;       /* who must not find the memory gone */
};

struct deliver_metrics {
	struct tally delivered, deferred, failed; /* addresses */
	struct tally bounces, completed, queued, running;
};
struct deliverer {
	struct shard *shard;
	struct conf *conf;
	struct spool *spool;
	struct link ready;
	unsigned ready_count, running;
	bool draining;
	uint64_t debug; /* of struct deliver_start */
	bool debug_direct;
	struct waitq idle; /* nothing runs any more */
	struct id_source ids;
	struct link reports; /* being made: what their variables are about */
	int64_t load;        /* thousandths, as of load_until */
	uint64_t load_until;
	void (*wrapped_failed)(void *arg, struct slice why); /* of struct deliver_start */
	void *wrapped_arg;
	char login[64]; /* of the user that we run as: who submits bounces, in the log */
	struct deliver_metrics *metrics, own_metrics;
	struct host_retry host_retry;
	struct transport_submit submit;
};

/* What is known of an address at the end: hangs on address->extra. */
struct fate {
	struct attempt *attempt;
	struct address *address;
	struct delivery_outcome outcome;
	struct slice unique; /* what stands for it in the list of those that are done */
	unsigned children;   /* not yet done; an address with children is done when they are */
	bool has_children, done, hidden;
	bool held;        /* deferred by configuration, which is no failure */
	bool one_time;    /* its children take its place if they are not delivered at once */
	bool timed_out;   /* failed because it was deferred for as long as the rules allow */
	bool expired;     /* what it met has been going on for that long, perhaps to other messages */
	bool hosts_over;  /* a host has been failing for that long ... */
	bool hosts_left;  /* ... and another has not */
	uint64_t took_ns; /* its delivery */
	const struct router *router;
};
/* Numbers below 0 that the log shows where no system call failed, as administrators know them. */
enum {
	DEFER_UNKNOWN = -1,
	DEFER_HELD = -23,
	DEFER_NOT_YET = -52,
	DEFER_NOT_YET_LOCAL = -53,
	DEFER_QUEUED = -56
};

/* One attempt at one message; on its fiber's stack, everything else in its arena. */
struct attempt {
	struct deliverer *d;
	struct queued *q;
	struct message *m;
	const struct deliver_options *options;
	struct debug *debug; /* where it is told; NULL: nowhere */
	struct task task;
	struct arena arena;
	struct scope scope;
	struct lookup_results *lookup_results;                 /* of the routing; each delivery has its own */
	struct link to_route, local, remote, failed, deferred; /* struct address by link */
	struct map done;               /* unique addresses that need no delivery (any more) */
	struct map routed;             /* unique addresses of this attempt */
	struct address *system_filter; /* the parent of what the system filter has set up; NULL: nothing */
	bool force;
	bool freeze;
	struct slice freeze_reason;
	struct str story; /* for the message's own log */
	uint64_t now;     /* wall clock, seconds */
};

/* attempt.c */
void attempt_fiber(void *arg); /* struct queued * */
/* Nobody is left: the message goes. */
void attempt_complete(struct attempt *a);
struct fate *fate_of(struct address *address);
/* What is known of an address that joins the attempt: nothing yet. NULL: no memory. */
struct fate *fate_make(struct attempt *a, struct address *address, struct slice unique);
/* The address needs nothing more: kept, and its parents with it if they were waiting only for it. */
void address_done(struct attempt *a, struct address *address);
void address_failed(struct attempt *a, struct address *address);
void address_deferred(struct attempt *a, struct address *address);

/* routing.c: from recipients to batches. */
void route_all(struct attempt *a);
/* The children that a router or the system filter made: to be routed, or delivered. */
void route_take_children(struct attempt *a, struct address *parent, struct route_output *out);
/* system_filter.c: false: it is broken, told in the log; nothing is delivered now. Parks. */
bool system_filter_run(struct attempt *a);
bool system_filter_left(const struct attempt *a); /* has it deliveries that are not done? */
/* batch.c: the transports. */
void deliver_local(struct attempt *a);
void deliver_remote(struct attempt *a);

/* wrapper.c: mua_wrapper. Routed: false: it cannot be delivered as one, which is told, and the message is gone. */
bool wrapper_ready(struct attempt *a);
/* Behind the delivery: what became of it. */
void wrapper_end(struct attempt *a);
/* It could not even be tried. */
void wrapper_give_back(struct attempt *a, struct slice why);
/* batch.c: do they go in one transaction? */
bool address_goes_with(struct attempt *a, const struct address *first, const struct address *other);

/* deliver.c */
struct queued *queued_new(struct deliverer *d, struct spool_entry *entry);
void queued_free(struct queued *q);
void queued_start(struct deliverer *d, struct queued *q); /* as soon as a fiber is free for it */
void deliverer_pump(struct deliverer *d);

/* $bounce_recipient, $warn_message_delay, $warn_message_recipients: of the report that the task makes now. */
struct report_facts {
	struct link link; /* in deliverer->reports */
	const struct task *task;
	struct slice recipient, delay;
};

/* retry.c */
struct retry_record {
	uint64_t first_failed, last_try, next_try; /* seconds */
	uint32_t error, more;                      /* struct retry_cause */
	uint32_t expired;                          /* 1: past the last rule's time */
	int32_t os;
	uint32_t text_len; /* bytes of text behind the record */
};
enum retry_state { RETRY_NONE, RETRY_READY, RETRY_WAIT };
/* Is it time to try what the key stands for ("R:domain", "T:host:ip:port")? */
enum retry_state retry_look_raw(struct shard *shard, struct arena *arena, const struct conf *conf,
				struct slice key, struct retry_record *record_ret, struct slice *text_ret);
/* A failure of it: the next time grows as the rules for the subject, or for the other one, say. true: time is up. */
bool retry_failed(struct scope *sc, struct slice key, struct slice subject, struct slice or_subject,
		  const struct delivery_outcome *outcome);
void retry_clear(struct shard *shard, struct slice key);
/* Has a message of that age waited for longer than the rules allow? */
bool retry_too_old(struct scope *sc, const struct address *address, const struct delivery_outcome *outcome,
		   uint64_t age_s);
/* The delivery of an address, and its routing: is it too early for it; it was deferred (true: time is up); it worked. */
bool retry_delivery_waits(struct attempt *a, const struct address *address);
bool retry_delivery_failed(struct attempt *a, const struct address *address,
			   const struct delivery_outcome *outcome);
void retry_delivery_done(struct attempt *a, const struct address *address);
bool retry_routing_waits(struct attempt *a, const struct address *address);
bool retry_routing_failed(struct attempt *a, const struct address *address,
			  const struct delivery_outcome *outcome);
void retry_routing_done(struct attempt *a, const struct address *address);
void retry_host_hooks(struct deliverer *d);

/* retry_rules.c */
enum { RETRY_MORE_A = 1, RETRY_MORE_MX = 2, RETRY_MORE_CONNECT = 4 };
/* An error of a rule, or one that happened. */
struct retry_cause {
	uint32_t error; /* RETRY_ERROR_...; 0 in a rule: any */
	/* of refused and timeout: RETRY_MORE_ bits; of quota: seconds without a reader; of ..._4xx: the second and third
	 * digit, each plus one, in four bits; 0 what a rule leaves open */
	uint32_t more;
};
struct retry_step {
	char kind;       /* F, G or H */
	int64_t until_s; /* since the first failure */
	int64_t interval_s;
	int64_t factor; /* thousandths */
};
struct retry_rule {
	struct slice pattern_text;
	const struct match_list *pattern; /* of addresses */
	const struct match_list *senders; /* NULL: any */
	struct retry_cause cause;
	struct retry_step steps[16];
	unsigned step_count;
	const struct retry_rule *next;
};
/* The name of an error, as rules have it; empty: any. FAIL with a text. */
NODISCARD enum rc retry_error_read(struct slice name, struct retry_cause *ret, struct err *err);
struct retry_cause retry_cause_of(const struct delivery_outcome *outcome);
/* The first rule for the key (an address, a domain or a host's name) or for the other one, which may be empty. NULL: none.
 * sender_known: rules for some senders count. Parks. */
const struct retry_rule *retry_rule_find(struct scope *sc, struct slice key, struct slice or_key,
					 struct retry_cause cause, bool sender_known);
/* submit.c: messages that are made here. */
void submit_hooks(struct deliverer *d);
/* Completes (id, Received:), commits and starts a message made here, taking the reference. Parks. */
NODISCARD enum rc submit_message(struct task *task, struct deliverer *d, struct message *m, struct err *err);

/* lines.c: the main log's lines of deliveries. */
void log_delivered(struct attempt *a, struct address *address, bool further);
void log_failed(struct attempt *a, struct address *address);
/* "H=name [ip]: why it was not delivered". */
struct slice log_failure_text(struct attempt *a, const struct address *address);
void log_deferred(struct attempt *a, struct address *address);
void log_ignored(struct attempt *a, struct address *address); /* a failure that nobody is told of */
void log_host_trouble(struct attempt *a, const struct delivery_outcome *outcome);
void log_completed(struct attempt *a);
struct slice fate_text(const struct address *address); /* why it was not delivered, in a line */

/* msglog.c: the message's own log. The first four do not park and cost nothing without message_logs. */
void msglog_line(struct attempt *a, struct slice text);
void msglog_printf(struct attempt *a, const char *format, ...) PRINTF_LIKE(2, 3);
void msglog_mark(struct attempt *a, struct slice text); /* "*** Frozen": without a time */
void msglog_delivered(struct attempt *a, const struct address *address);
/* The message stays: what happened goes to its file. Parks. */
void msglog_keep(struct attempt *a);
/* It is over: the file goes, or is kept in msglog.OLD. Parks, if there is a file. */
void msglog_end(struct attempt *a);
void msglog_remove(struct task *task, struct deliverer *d, const struct message_id *id); /* parks */
/* -Mvl. Parks. */
NODISCARD enum rc msglog_show(struct task *task, struct deliverer *d, struct queued *q, struct str *out,
			      struct err *err);

/* template.c: texts of the administrator's. */
struct template
{
	const char *name; /* of the option */
	struct slice items
	    [3]; /* header lines, beginning, and what a report ends with (warnings) or what precedes output */
};
/* option NULL, or a file that cannot be read: no items. Parks. */
void template_read(struct attempt *a, const struct expansion *option, const char *name,
		   struct template *template);
/* false: the built-in text is to be used. Parks. */
bool template_item(struct attempt *a, const struct template *template, unsigned item, struct slice *text_ret);

/* bounce.c */
/* Tells the senders about a->failed. OK: reported (or nobody is to be told), they are done. DEFER: could not be queued. */
NODISCARD enum rc bounce_send(struct attempt *a);
/* delay warnings. */
void warning_send(struct attempt *a);
void freeze_tell(struct attempt *a);

/* outcome.c: small records on the spool. */
#define OUTCOME_DONE           'D' /* an address that is done */
#define OUTCOME_WARNED         'W' /* number of delay warnings */
#define OUTCOME_THAWED         'T' /* manually */
#define OUTCOME_RECIPIENT      'A' /* one more recipient, and behind a newline to whom its errors go */
#define OUTCOME_SENDER         'S' /* another sender */
#define OUTCOME_TRIED          'F' /* the first attempt is over */
#define OUTCOME_HEADER_ADDED   'H' /* by the system filter: a header line */
#define OUTCOME_HEADER_REMOVED 'X' /* a field's name */
void outcome_done(struct attempt *a, struct slice unique);
void outcome_recipient(struct attempt *a, struct slice address, struct slice errors_to);
void outcome_tried(struct attempt *a);
void outcome_header_added(struct attempt *a, struct slice text);
void outcome_header_removed(struct attempt *a, struct slice name);
void outcome_warned(struct attempt *a, unsigned count);
/* The message with everything that has been recorded about it; a reference for the caller. Parks. */
NODISCARD enum rc queued_load(struct task *task, struct deliverer *d, struct queued *q,
			      struct message **message_ret, struct err *err);

#endif
