/* log_selector: which extra items and lines are wanted. */

#include "inside.h"

#include <stdio.h>

const char *const log_selector_names[LOG_SELECTOR_COUNT] = {
    "8bitmime",
    "acl_warn_skipped",
    "address_rewrite",
    "all_parents",
    "arguments",
    "connection_id",
    "connection_reject",
    "delay_delivery",
    "deliver_time",
    "delivery_size",
    "dkim",
    "dkim_verbose",
    "dmarc",
    "dmarc_verbose",
    "dnslist_defer",
    "dnssec",
    "etrn",
    "host_lookup_failed",
    "ident_timeout",
    "incoming_interface",
    "incoming_port",
    "lost_incoming_connection",
    "millisec",
    "msg_id",
    "msg_id_created",
    "outgoing_interface",
    "outgoing_port",
    "pid",
    "pipelining",
    "protocol_detail",
    "proxy",
    "queue_run",
    "queue_time",
    "queue_time_exclusive",
    "queue_time_overall",
    "receive_time",
    "received_recipients",
    "received_sender",
    "rejected_header",
    "rejected_headers",
    "retry_defer",
    "return_path_on_delivery",
    "sender_on_delivery",
    "sender_verify_fail",
    "size_reject",
    "skip_delivery",
    "smtp_confirmation",
    "smtp_connection",
    "smtp_incomplete_transaction",
    "smtp_mailauth",
    "smtp_no_mail",
    "smtp_protocol_error",
    "smtp_syntax_error",
    "spf",
    "spf_verbose",
    "subject",
    "tls_certificate_verified",
    "tls_cipher",
    "tls_on_connect",
    "tls_peerdn",
    "tls_resumption",
    "tls_sni",
    "unknown_in_list",
};

/* What is wanted when nothing is said. */
static const enum log_selector defaults[] = {
    LOG_ACL_WARN_SKIPPED,
    LOG_CONNECTION_REJECT,
    LOG_DELAY_DELIVERY,
    LOG_DKIM,
    LOG_DNSLIST_DEFER,
    LOG_ETRN,
    LOG_HOST_LOOKUP_FAILED,
    LOG_LOST_INCOMING_CONNECTION,
    LOG_MSG_ID,
    LOG_OUTGOING_INTERFACE,
    LOG_QUEUE_RUN,
    LOG_QUEUE_TIME_EXCLUSIVE,
    LOG_REJECTED_HEADER,
    LOG_RETRY_DEFER,
    LOG_SENDER_VERIFY_FAIL,
    LOG_SIZE_REJECT,
    LOG_SKIP_DELIVERY,
    LOG_SMTP_CONFIRMATION,
    LOG_TLS_CERTIFICATE_VERIFIED,
    LOG_TLS_CIPHER,
};

/* Words of other versions that mean nothing here. */
static bool is_ignored(struct conf *conf, struct slice word)
{
	if (!slice_eq(word, SLICE("taint")))
		return false;
	conf_warn(conf, conf_option_place(conf, "log_selector"),
		  "log_selector: \"taint\" has no effect: tainted data is always refused and logged");
	return true;
}

static void set(uint64_t *selectors, unsigned selector, bool on)
{
	uint64_t bit = 1ull << (selector % 64);

	if (on)
		selectors[selector / 64] |= bit;
	else
		selectors[selector / 64] &= ~bit;
}

static enum rc apply(struct conf *conf, uint64_t *selectors, bool on, struct slice word, struct err *err)
{
	const char *nearest;

	if (slice_eq(word, SLICE("all"))) {
		for (unsigned i = 0; i < LOG_SELECTOR_COUNT; i++)
			set(selectors, i, on);
		return OK;
	}
	for (unsigned i = 0; i < LOG_SELECTOR_COUNT; i++) {
		if (slice_eq(word, slice_of(log_selector_names[i]))) {
			set(selectors, i, on);
			return OK;
		}
	}
	if (is_ignored(conf, word))
		return OK;
	nearest = conf_nearest(word, log_selector_names, LOG_SELECTOR_COUNT);
	return conf_error(err, conf_option_place(conf, "log_selector"),
			  "unknown log_selector setting: %c%.*s%s%s%s", on ? '+' : '-', SLICE_ARG(word),
			  nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

enum rc log_selectors_read(struct conf *conf, struct slice text, uint64_t *selectors, struct err *err)
{
	for (size_t i = 0; i < ARRAY_COUNT(defaults); i++)
		set(selectors, defaults[i], true);
	for (text = slice_trim(text); text.len > 0; text = slice_ltrim(text)) {
		bool on = text.ptr[0] == '+';
		uint32_t len = 0;
		struct slice word;
		enum rc rc;

		if (!on && text.ptr[0] != '-')
			return conf_error(
			    err, conf_option_place(conf, "log_selector"),
			    "malformed log_selector setting: + or - expected but found \"%.*s\"",
			    SLICE_ARG(text));
		text = slice_ltrim(slice_from(text, 1));
		while (len < text.len && (ascii_is_alnum(text.ptr[len]) || text.ptr[len] == '_'))
			len++;
		word = slice_sub(text, 0, len);
		rc = apply(conf, selectors, on, word, err);
		if (rc != OK)
			return rc;
		text = slice_from(text, len);
	}
	return OK;
}

bool log_wants(const struct conf *conf, enum log_selector selector)
{
	const struct log_conf *group = log_conf_of(conf);

	return group && group->selectors[selector / 64] >> (selector % 64) & 1;
}

void log_macros(struct conf *conf)
{
	char name[64];

	for (unsigned i = 0; i < LOG_SELECTOR_COUNT; i++) {
		snprintf(name, sizeof(name), "_LOG_%s", log_selector_names[i]);
		for (char *c = name; *c; c++)
			*c = ascii_upper(*c);
		conf_macro(conf, name);
	}
	conf_macro(conf, "_LOG_ALL");
}

bool log_prints_topbitchars(const struct conf *conf)
{
	const struct log_conf *group = conf_group(conf, CONF_LOG);

	return group && group->print_topbitchars;
}
