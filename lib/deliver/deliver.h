/* deliver: the queue at work. Takes accepted messages, routes and delivers them, keeps retry times, sends bounces and
 * warnings, runs the queue, and answers the command line's questions about it. One scheduler per shard; a message is
 * delivered by the shard that holds it. */
#ifndef DELIVER_DELIVER_H
#define DELIVER_DELIVER_H

#include "transport/transport.h"

struct deliverer;

struct deliver_start {
	struct conf *conf;  /* a reference is taken; replaced by deliver_reload() */
	uint64_t id_unique; /* for the ids of bounces: differs for each shard of each process */
	uint64_t debug;     /* -d: what deliveries tell on standard error (base/debug.h); 0: nothing */
	bool debug_direct;  /* as log_debug_console() has it */
	/* mua_wrapper: a message was not delivered, and is gone; why, for the program that waits. */
	void (*wrapped_failed)(void *arg, struct slice why);
	void *arg;
};
/* Per shard. The spool is opened with deliver_found() and then given by deliver_set_spool(), before anything else. */
NODISCARD enum rc deliver_new(struct shard *shard, const struct deliver_start *start, struct deliverer **ret,
			      struct err *err);
void deliver_set_spool(struct deliverer *deliverer, struct spool *spool);
void deliver_free(struct deliverer *deliverer); /* before the spool is closed; nothing may run any more */
struct deliverer *deliver_here(struct shard *shard);
void deliver_reload(struct deliverer *deliverer, struct conf *conf);
/* For spool_open()'s found(): a message from before the start. */
void deliver_found(struct deliverer *deliverer, struct spool_entry *entry);

/* The system's load average in thousandths, at most a second old; -1: not known. The one place that asks. */
int64_t deliver_load(struct deliverer *deliverer);
/* Past queue_only_load: new messages are queued. */
bool deliver_load_too_high(struct deliverer *deliverer, int64_t *load_ret);

enum deliver_when {
	DELIVER_NOW,   /* start at once */
	DELIVER_QUEUE, /* leave it for a queue run */
};
/* A message that has just been committed (message->entry is set), with its body still in memory: takes over the
 * caller's reference. Does not park. */
void deliver_accepted(struct deliverer *deliverer, struct message *message, enum deliver_when when);

enum {
	RUN_FORCE = 1 /* -qf */,
	RUN_FORCE_FROZEN = 2 /* -qff */,
	RUN_TWO_PHASE = 4 /* -qq */,
	RUN_LOCAL = 8 /* -ql */,
	RUN_FIRST = 16 /* -qi */
};
struct queue_run {
	unsigned flags;
	struct slice sender_pattern, recipient_pattern; /* -S, -R; ptr NULL: all */
	bool patterns_are_regex;
	struct message_id first, last; /* -q FIRST LAST; "": no bound */
};
/* Starts a run over this shard's messages; parks until all have been tried once when wait is set. */
NODISCARD enum rc deliver_queue_run(struct task *task, struct deliverer *deliverer,
				    const struct queue_run *run, bool wait, struct err *err);
/* One message, forced (-M): parks until the attempt is over. FAIL: no such message here. */
NODISCARD enum rc deliver_message(struct task *task, struct deliverer *deliverer, const struct message_id *id,
				  struct err *err);
/* Ends deliveries under way as soon as they may, keeps the rest queued; parks until nothing runs. */
void deliver_drain(struct task *task, struct deliverer *deliverer);
/* A message was frozen when it arrived: told to those whom freeze_tell names. Parks. FAIL and DEFER: it could not be. */
NODISCARD enum rc deliver_tell_frozen(struct scope *sc, struct deliverer *deliverer,
				      const struct message *message, struct err *err);

/* For who delivers a message while it comes in (cutthrough delivery): is mail for the address to wait (hold_domains,
 * queue_domains, queue_smtp_domains)? What cannot be found out says yes. Parks. */
bool deliver_holds(struct scope *sc, struct deliverer *deliverer, struct slice address);
/* Parts of a delivery's log line: "address <recipient>", and " R=router T=transport H=host ... C="reply"". */
void deliver_line_address(struct str *line, const struct conf *conf, const struct address *address);
void deliver_line_facts(struct str *line, const struct conf *conf, const struct address *address,
			const struct delivery_outcome *outcome);

/* Queue administration: output in Exim's form is appended to out. */
enum queue_action {
	QUEUE_REMOVE /* -Mrm */,
	QUEUE_FREEZE /* -Mf */,
	QUEUE_THAW /* -Mt */,
	QUEUE_GIVE_UP /* -Mg */,
	QUEUE_ADD_RECIPIENT /* -Mar */,
	QUEUE_EDIT_SENDER /* -Mes */,
	QUEUE_MARK_DELIVERED /* -Mmd */,
	QUEUE_MARK_ALL /* -Mmad */,
	QUEUE_VIEW_HEADER /* -Mvh */,
	QUEUE_VIEW_BODY /* -Mvb */,
	QUEUE_VIEW_LOG /* -Mvl */,
	QUEUE_VIEW_COPY /* -Mvc */,
};
NODISCARD enum rc queue_act(struct task *task, struct deliverer *deliverer, enum queue_action action,
			    const struct message_id *id, const struct slice *arguments,
			    unsigned argument_count, struct str *out, struct err *err);
struct queue_list_options {
	bool count_only, random_order, delivered_too, undelivered_only; /* -bpc -bpr -bpa -bpu */
};
NODISCARD enum rc queue_list(struct task *task, struct deliverer *deliverer,
			     const struct queue_list_options *options, struct str *out, struct err *err);
unsigned queue_count(const struct deliverer *deliverer);

/* -brt: the retry rule that an address or domain, or the host, would get after an error of that name (empty: any). Rules for some
 * senders count only if sc->sender is known. FAIL: no such error. Parks. */
NODISCARD enum rc retry_describe(struct scope *sc, struct slice key, struct slice host, struct slice error,
				 bool sender_known, struct str *out, struct err *err);

extern const struct conf_section retry_conf_section; /* begin retry */
extern const struct conf_group
    deliver_conf_group; /* bounce_*, delay_warning, queue_*, retry_*, auto_thaw, ignore_bounce_errors_after, timeout_frozen_after, remote_max_parallel, hold_domains, freeze_tell, errors_copy, dsn_from, ... */
extern const struct variable_table deliver_variables;

unsigned deliver_running(const struct deliverer *deliverer); /* messages in delivery */
extern const struct metric_table deliver_metric_table;

#endif
