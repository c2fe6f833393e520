/* known: names of the language whose owners may not be part of this build (mail authentication, content
 * scanners, MIME...), or set them only at times. Where nobody registers one, it is what Exim gives where
 * nothing has set it: nothing, or the number here. So a configuration that mentions it works, as far as it
 * can without. */

#include "tree.h"

static enum rc get_known(struct scope *sc, const struct variable *variable, struct slice *ret,
			 struct err *err)
{
	(void)sc;
	(void)err;
	*ret = slice_of((const char *)variable->arg);
	return OK;
}

#define KNOWN(name, value)                                \
	{                                                 \
		name, get_known, (size_t)(uintptr_t)value \
	}

static const struct variable rows[] = {
    KNOWN("acl_narg", "0"),
    KNOWN("acl_verify_message", ""),
    KNOWN("atrn_host", ""),
    KNOWN("atrn_mode", ""),
    KNOWN("auth4", ""),
    KNOWN("av_failed", "0"),
    KNOWN("bmi_alt_location", ""),
    KNOWN("bmi_base64_tracker_verdict", ""),
    KNOWN("bmi_base64_verdict", ""),
    KNOWN("bmi_deliver", ""),
    KNOWN("bounce_recipient", ""),
    KNOWN("bounce_return_size_limit", "102400"),
    KNOWN("callout_address", ""),
    KNOWN("connection_id", ""),
    KNOWN("csa_status", ""),
    KNOWN("dcc_header", ""),
    KNOWN("dcc_result", ""),
    KNOWN("dnslist_domain", ""),
    KNOWN("dnslist_matched", ""),
    KNOWN("dnslist_text", ""),
    KNOWN("dnslist_value", ""),
    KNOWN("headers_added", ""),
    KNOWN("home", ""),
    KNOWN("host", ""),
    KNOWN("host_address", ""),
    KNOWN("host_port", "0"),
    KNOWN("inode", "0"),
    KNOWN("local_scan_data", ""),
    KNOWN("local_user_gid", "4294967295"),
    KNOWN("local_user_uid", "4294967295"),
    KNOWN("mailstore_basename", ""),
    KNOWN("malware_name", ""),
    KNOWN("mime_anomaly_level", "0"),
    KNOWN("mime_anomaly_text", ""),
    KNOWN("mime_boundary", ""),
    KNOWN("mime_charset", ""),
    KNOWN("mime_content_description", ""),
    KNOWN("mime_content_disposition", ""),
    KNOWN("mime_content_id", ""),
    KNOWN("mime_content_size", "0"),
    KNOWN("mime_content_transfer_encoding", ""),
    KNOWN("mime_content_type", ""),
    KNOWN("mime_decoded_filename", ""),
    KNOWN("mime_filename", ""),
    KNOWN("mime_is_coverletter", "0"),
    KNOWN("mime_is_multipart", "0"),
    KNOWN("mime_is_rfc822", "0"),
    KNOWN("mime_part_count", "-1"),
    KNOWN("prdr_requested", "no"),
    KNOWN("queue_size", ""),
    KNOWN("rcpt_count", "0"),
    KNOWN("rcpt_defer_count", "0"),
    KNOWN("rcpt_fail_count", "0"),
    KNOWN("recipient_verify_failure", ""),
    KNOWN("regex1", ""),
    KNOWN("regex2", ""),
    KNOWN("regex3", ""),
    KNOWN("regex4", ""),
    KNOWN("regex5", ""),
    KNOWN("regex6", ""),
    KNOWN("regex7", ""),
    KNOWN("regex8", ""),
    KNOWN("regex9", ""),
    KNOWN("regex_cachesize", "0"),
    KNOWN("regex_match_string", ""),
    KNOWN("return_size_limit", "102400"),
    KNOWN("router_name", ""),
    KNOWN("sender_address_data", ""),
    KNOWN("sender_helo_dnssec", "no"),
    KNOWN("sender_host_dnssec", "no"),
    KNOWN("sender_rate", ""),
    KNOWN("sender_rate_limit", ""),
    KNOWN("sender_rate_period", ""),
    KNOWN("sender_verify_failure", ""),
    KNOWN("sending_ip_address", ""),
    KNOWN("sending_port", "-1"),
    KNOWN("smtp_command", ""),
    KNOWN("smtp_command_argument", ""),
    KNOWN("smtp_command_history", ""),
    KNOWN("smtp_count_at_connection_start", "0"),
    KNOWN("smtp_notquit_reason", ""),
    KNOWN("spam_action", ""),
    KNOWN("spam_bar", ""),
    KNOWN("spam_report", ""),
    KNOWN("spam_score", ""),
    KNOWN("spam_score_int", ""),
    KNOWN("thisaddress", ""),
    KNOWN("tls_out_dane", "no"),
    KNOWN("tls_out_tlsa_usage", "0"),
    KNOWN("transport_name", ""),
    KNOWN("warn_message_delay", ""),
    KNOWN("warn_message_recipient", ""),
    KNOWN("warn_message_recipients", ""),
    KNOWN("warnmsg_delay", ""),
    KNOWN("warnmsg_recipient", ""),
    KNOWN("warnmsg_recipients", ""),
};

const struct variable_table expand_known_variables = {rows, sizeof(rows) / sizeof(*rows)};
