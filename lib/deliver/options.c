/* options: what the main section says about delivery and the queue. */
#include "work.h"

static const struct conf_option rows[] = {
    OPT_SIZE(struct deliver_options, bounce_return_size_limit, "100K",
	     "bytes of a message that a bounce returns"),
    OPT_INT(struct deliver_options, bounce_return_linesize_limit, "998",
	    "longer lines: only the header is returned"),
    OPT_TIME(struct deliver_options, retry_interval_max, "1d", "the longest retry interval"),
    OPT_TIME(struct deliver_options, retry_data_expire, "7d", "retry data that old is not believed"),
    OPT_TIME(struct deliver_options, auto_thaw, "0s", "frozen messages are tried again after this"),
    OPT_TIME(struct deliver_options, ignore_bounce_errors_after, "10w",
	     "bounces that fail are kept so long, frozen"),
    OPT_TIME(struct deliver_options, timeout_frozen_after, "0s", "frozen messages are removed after this"),
    OPT_INT(struct deliver_options, remote_max_parallel, "4", "remote deliveries of one message at a time"),
    OPT_FIXED(struct deliver_options, queue_only_load, NULL,
	      "with more load than this new messages wait for a queue run"),
    OPT_FIXED(struct deliver_options, deliver_queue_load_max, NULL,
	      "with more load than this queue runs are abandoned"),
    OPT_INT(struct deliver_options, deliveries_max, "200", "sluice: messages in delivery at a time, a shard"),
    OPT_BOOL(struct deliver_options, bounce_return_body, "yes", "bounces return the body"),
    OPT_BOOL(struct deliver_options, bounce_return_message, "yes", "bounces return the message"),
    OPT_BOOL(struct deliver_options, queue_run_in_order, "no",
	     "queue runs take the oldest first: they always do"),
    OPT_BOOL(struct deliver_options, message_logs, "yes", "a log per message, while it is in the queue"),
    OPT_BOOL(struct deliver_options, preserve_message_logs, "no", "they are kept in msglog.OLD"),
    OPT_TIMELIST(struct deliver_options, delay_warning, "1d", "when to warn the sender of a delay"),
    OPT_EXPAND(
	struct deliver_options, delay_warning_condition,
	"${if or {{ !eq{$h_list-id:$h_list-post:$h_list-subscribe:}{} }"
	"{ match{$h_precedence:}{(?i)bulk|list|junk} }{ match{$h_auto-submitted:}{(?i)auto-generated|auto-replied} }} {no}{yes}}",
	"whether to"),
    OPT_EXPAND(struct deliver_options, bounce_sender_authentication, NULL,
	       "AUTH= of reports, to hosts that are logged in to"),
    OPT_EXPAND(struct deliver_options, dsn_from, "Mail Delivery System <Mailer-Daemon@$qualify_domain>",
	       "From: of reports"),
    OPT_STRING(struct deliver_options, errors_copy, NULL,
	       "copies of bounces: \"pattern address\" for each recipient of one"),
    OPT_EXPAND(struct deliver_options, bounce_message_file, NULL, "texts of bounces"),
    OPT_EXPAND(struct deliver_options, warn_message_file, NULL, "texts of delay warnings"),
    OPT_EXPAND(struct deliver_options, system_filter, NULL,
	       "the file of a filter that sees each message once an attempt"),
    OPT_EXPAND(struct deliver_options, system_filter_directory_transport, NULL,
	       "for its \"save /directory/\""),
    OPT_EXPAND(struct deliver_options, system_filter_file_transport, NULL, "for its \"save\""),
    OPT_EXPAND(struct deliver_options, system_filter_group, NULL, "whose rights its deliveries have"),
    OPT_EXPAND(struct deliver_options, system_filter_pipe_transport, NULL, "for its \"pipe\""),
    OPT_EXPAND(struct deliver_options, system_filter_reply_transport, NULL, "for its \"mail\""),
    OPT_EXPAND(struct deliver_options, system_filter_user, NULL, "whose rights its deliveries have"),
    OPT_DOMAINS(struct deliver_options, hold_domains, NULL, "domains whose mail is held"),
    OPT_DOMAINS(struct deliver_options, queue_domains, NULL, "domains whose mail waits for a queue run"),
    OPT_DOMAINS(struct deliver_options, queue_smtp_domains, NULL,
		"the same after routing, if it goes out by SMTP"),
    OPT_EXPAND(struct deliver_options, queue_run_max, "5",
	       "queue runs of the daemon at a time: it never starts a second one"),
    OPT_STRING(struct deliver_options, remote_sort_domains, NULL,
	       "domains whose remote deliveries come first, in this order"),
    OPT_STRING(struct deliver_options, errors_reply_to, NULL, "Reply-To: of reports"),
    OPT_STRING(struct deliver_options, bounce_message_text, NULL, "a text in bounces"),
    OPT_STRING(struct deliver_options, freeze_tell, NULL, "who is told when a message is frozen"),
};

static enum rc check(struct conf *conf, void *group, struct err *err)
{
	const struct deliver_options *o = group;
	struct arena *arena = &conf->arena;
	struct err why = err_make(arena);
	struct address_parts parts;

	if (!o->errors_reply_to.len)
		return OK;
	if (address_parse(arena, o->errors_reply_to, ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL,
			  &parts, &why) != OK)
		return conf_error(err, conf_option_place(conf, "errors_reply_to"),
				  "error in errors_reply_to (%.*s): %.*s", SLICE_ARG(o->errors_reply_to),
				  SLICE_ARG(why.text));
	if (!parts.domain.len)
		return conf_error(err, conf_option_place(conf, "errors_reply_to"),
				  "errors_reply_to (%.*s) does not contain a domain",
				  SLICE_ARG(o->errors_reply_to));
	return OK;
}

const struct conf_group deliver_conf_group = {
    .id = CONF_DELIVER,
    .size = sizeof(struct deliver_options),
    .options = rows,
    .option_count = ARRAY_COUNT(rows),
    .check = check,
};

static enum rc get_bounce_limit(struct scope *sc, const struct variable *variable, struct slice *ret,
				struct err *err)
{
	const struct deliver_options *o = conf_group(sc->conf, CONF_DELIVER);
	struct str str = str_make(sc->task->arena);

	(void)variable;
	(void)err;
	str_addu(&str, (uint64_t)o->bounce_return_size_limit);
	*ret = str_slice(&str);
	return OK;
}

static const struct report_facts *facts_of(struct scope *sc)
{
	struct deliverer *d = deliver_here(sc->task->shard);

	if (d)
		LIST_EACH (l, &d->reports) {
			const struct report_facts *facts = LIST_ITEM(l, struct report_facts, link);
			if (facts->task == sc->task)
				return facts;
		}
	return NULL;
}

static enum rc get_report_recipient(struct scope *sc, const struct variable *variable, struct slice *ret,
				    struct err *err)
{
	const struct report_facts *facts = facts_of(sc);

	(void)variable;
	(void)err;
	*ret = facts ? facts->recipient : SLICE_EMPTY;
	return OK;
}

static enum rc get_report_delay(struct scope *sc, const struct variable *variable, struct slice *ret,
				struct err *err)
{
	const struct report_facts *facts = facts_of(sc);

	(void)variable;
	(void)err;
	*ret = facts ? facts->delay : SLICE_EMPTY;
	return OK;
}

/* The messages of all shards; nothing where there is no queue to be seen. */
static enum rc get_queue_size(struct scope *sc, const struct variable *variable, struct slice *ret,
			      struct err *err)
{
	struct shard *shard = sc->task->shard;
	struct deliverer *d = deliver_here(shard);
	struct str str = str_make(sc->task->arena);
	uint64_t size = 0;

	(void)variable;
	*ret = SLICE_EMPTY;
	if (!d || !d->spool)
		return OK;
	for (unsigned i = 0; i < shard_count(shard); i++) {
		const struct deliver_metrics *m =
		    i == shard_id(shard) ? d->metrics
					 : shard_metrics(shard_peer(shard, i), &deliver_metric_table, NULL);
		size += m ? tally_get(&m->queued) : 0;
	}
	str_addu(&str, size);
	*ret = str_slice(&str);
	return ret->ptr ? OK : err_memory(err);
}

static const struct variable variables[] = {
    {"queue_size", get_queue_size, 0},
    {"bounce_recipient", get_report_recipient, 0},
    {"bounce_return_size_limit", get_bounce_limit, 0},
    {"return_size_limit", get_bounce_limit, 0},
    {"warn_message_delay", get_report_delay, 0},
    {"warn_message_recipients", get_report_recipient, 0},
    {"warnmsg_delay", get_report_delay, 0},
    {"warnmsg_recipients", get_report_recipient, 0},
};
const struct variable_table deliver_variables = {variables, ARRAY_COUNT(variables)};
