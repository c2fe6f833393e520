/* options: what the main section says about receiving mail over SMTP. */
#include "session.h"

#define ACL_OPTION(place, option_name)                                                                       \
	{                                                                                                    \
		option_name, &conf_expansion, offsetof(struct smtp_options, acl) + sizeof(void *) * (place), \
		    NULL, "ACL for this place: a name, a file, or text", 0                                   \
	}

static const struct conf_option rows[] = {
    ACL_OPTION(ACL_WHERE_CONNECT, "acl_smtp_connect"),
    ACL_OPTION(ACL_WHERE_HELO, "acl_smtp_helo"),
    ACL_OPTION(ACL_WHERE_AUTH, "acl_smtp_auth"),
    ACL_OPTION(ACL_WHERE_STARTTLS, "acl_smtp_starttls"),
    ACL_OPTION(ACL_WHERE_MAIL, "acl_smtp_mail"),
    ACL_OPTION(ACL_WHERE_MAILAUTH, "acl_smtp_mailauth"),
    ACL_OPTION(ACL_WHERE_RCPT, "acl_smtp_rcpt"),
    ACL_OPTION(ACL_WHERE_PREDATA, "acl_smtp_predata"),
    ACL_OPTION(ACL_WHERE_DATA, "acl_smtp_data"),
    ACL_OPTION(ACL_WHERE_DKIM, "acl_smtp_dkim"),
    ACL_OPTION(ACL_WHERE_ETRN, "acl_smtp_etrn"),
    ACL_OPTION(ACL_WHERE_EXPN, "acl_smtp_expn"),
    ACL_OPTION(ACL_WHERE_VRFY, "acl_smtp_vrfy"),
    ACL_OPTION(ACL_WHERE_WELLKNOWN, "acl_smtp_wellknown"),
    ACL_OPTION(ACL_WHERE_QUIT, "acl_smtp_quit"),
    ACL_OPTION(ACL_WHERE_NOTQUIT, "acl_smtp_notquit"),
    ACL_OPTION(ACL_WHERE_NOT_SMTP, "acl_not_smtp"),
    ACL_OPTION(ACL_WHERE_NOT_SMTP_START, "acl_not_smtp_start"),
    OPT_BOOL(struct smtp_options, accept_8bitmime, "yes", "offer 8BITMIME (RFC 6152)"),
    OPT_BOOL(struct smtp_options, smtp_accept_keepalive, "yes", "SO_KEEPALIVE on incoming connections"),
    OPT_BOOL(struct smtp_options, smtp_enforce_sync, "yes", "refuse input that does not wait for replies"),
    OPT_BOOL(struct smtp_options, smtp_return_error_details, "no", "tell clients why addresses fail"),
    OPT_BOOL(struct smtp_options, smtp_check_spool_space, "yes", "check the space for SIZE= at MAIL"),
    OPT_BOOL(struct smtp_options, recipients_max_reject, "no", "552 instead of 452 past recipients_max"),
    OPT_BOOL(struct smtp_options, queue_only, "no", "messages wait for a queue run"),
    OPT_BOOL(struct smtp_options, return_path_remove, "yes", "Return-path: lines go on arrival"),
    OPT_BOOL(struct smtp_options, envelope_to_remove, "yes", "Envelope-to: lines go on arrival"),
    OPT_BOOL(struct smtp_options, delivery_date_remove, "yes", "Delivery-date: lines go on arrival"),
    OPT_BOOL(struct smtp_options, local_from_check, "yes", "a local user's From: is checked; Sender: added"),
    OPT_BOOL(struct smtp_options, local_sender_retain, "no", "a local user's Sender: stays"),
    OPT_STRING(struct smtp_options, local_from_prefix, NULL, "what may stand in front of the login in From:"),
    OPT_STRING(struct smtp_options, local_from_suffix, NULL, "what may stand behind the login in From:"),
    OPT_HOSTS(struct smtp_options, ignore_fromline_hosts, NULL,
	      "hosts whose messages may begin with a \"From \" line"),
    OPT_BOOL(struct smtp_options, ignore_fromline_local, "no", "the same for local programs that speak SMTP"),
    OPT_STRING(struct smtp_options, uucp_from_pattern,
	       "^From\\s+(\\S+)\\s+(?:[a-zA-Z]{3},?\\s+)?(?:[a-zA-Z]{3}\\s+\\d?\\d|"
	       "\\d?\\d\\s+[a-zA-Z]{3}\\s+\\d\\d(?:\\d\\d)?)\\s+\\d\\d?:\\d\\d?",
	       "what such a line is"),
    OPT_EXPAND(struct smtp_options, uucp_from_sender, "$1", "whom it names"),
    OPT_BOOL(struct smtp_options, queue_only_override, "yes", "-odb and its kin count more than queue_only"),
    OPT_ADDRESSES(struct smtp_options, untrusted_set_sender, NULL, "senders that any local user may give"),
    OPT_BOOL(struct smtp_options, extract_addresses_remove_arguments, "yes",
	     "-t: addresses that are given are left out"),
    OPT_EXPAND(struct smtp_options, message_id_header_text, NULL, "more text for a Message-Id: that we make"),
    OPT_EXPAND(struct smtp_options, message_id_header_domain, NULL, "its domain; unset: primary_hostname"),
    OPT_INT(struct smtp_options, smtp_accept_max, "20",
	    "connections at a time, all shards together; 0: no limit"),
    OPT_INT(struct smtp_options, smtp_accept_max_nonmail, "10", "commands that send no mail, a connection"),
    OPT_INT(struct smtp_options, smtp_accept_reserve, "0",
	    "connections of smtp_accept_max for smtp_reserve_hosts"),
    OPT_INT(struct smtp_options, smtp_accept_queue, "0", "past so many connections messages are only queued"),
    OPT_INT(struct smtp_options, smtp_accept_queue_per_connection, "10",
	    "the same for messages of one connection"),
    OPT_INT(struct smtp_options, smtp_connect_backlog, "1024", "of the listening sockets"),
    OPT_INT(struct smtp_options, smtp_max_synprot_errors, "3", "syntax and protocol errors, a connection"),
    OPT_INT(struct smtp_options, smtp_max_unknown_commands, "3", "unknown commands, a connection"),
    OPT_TIME(struct smtp_options, smtp_receive_timeout, "5m", "wait for a command or for data"),
    OPT_TIME(struct smtp_options, receive_timeout, "0s", "the same on standard input; 0: forever"),
    OPT_SPACE(struct smtp_options, check_spool_space, "10M",
	      "bytes to be kept free on the spool's file system"),
    OPT_INT(struct smtp_options, check_spool_inodes, "100", "inodes to be kept free there"),
    OPT_EXPAND(struct smtp_options, smtp_accept_max_per_connection, "1000", "messages, a connection"),
    OPT_EXPAND(struct smtp_options, smtp_accept_max_per_host, NULL,
	       "connections of one host, all shards together"),
    OPT_EXPAND(struct smtp_options, recipients_max, "50000", "recipients, a message"),
    OPT_EXPAND(struct smtp_options, message_size_limit, "50M", "bytes, a message; 0: no limit"),
    OPT_EXPAND(struct smtp_options, smtp_banner,
	       "$smtp_active_hostname ESMTP sluice $version_number $tod_full", "the greeting"),
    OPT_EXPAND(struct smtp_options, smtp_active_hostname, NULL, "the name we go by on this connection"),
    OPT_STRING(struct smtp_options, smtp_etrn_command, NULL,
	       "a command that ETRN runs, in place of a queue run; $domain is what stood behind ETRN"),
    OPT_EXPAND(struct smtp_options, received_header_text, NULL,
	       "the Received: header line; unset: the usual one"),
    OPT_HOSTS(struct smtp_options, smtp_accept_max_nonmail_hosts, "*",
	      "to whom smtp_accept_max_nonmail applies"),
    OPT_HOSTS(struct smtp_options, smtp_reserve_hosts, NULL, "hosts that smtp_accept_reserve is for"),
    OPT_HOSTS(struct smtp_options, host_reject_connection, NULL, "hosts that get a 554 at once"),
    OPT_HOSTS(struct smtp_options, host_lookup, NULL, "hosts whose name is looked up at once"),
    OPT_HOSTS(struct smtp_options, helo_accept_junk_hosts, NULL, "hosts that may say HELO with junk"),
    OPT_HOSTS(struct smtp_options, helo_verify_hosts, NULL, "hosts whose HELO name must be theirs"),
    OPT_HOSTS(struct smtp_options, helo_try_verify_hosts, NULL, "hosts whose HELO name is checked"),
    OPT_HOSTS(struct smtp_options, hosts_require_helo, "*", "hosts that must say HELO before MAIL"),
    OPT_HOSTS(struct smtp_options, hosts_connection_nolog, NULL, "hosts whose connections are not logged"),
    OPT_HOSTS(struct smtp_options, recipient_unqualified_hosts, NULL,
	      "hosts that may leave out a recipient's domain"),
    OPT_HOSTS(struct smtp_options, sender_unqualified_hosts, NULL,
	      "hosts that may leave out the sender's domain"),
    OPT_HOSTS(struct smtp_options, pipelining_advertise_hosts, "*",
	      "to whom PIPELINING is offered (RFC 2920)"),
    OPT_HOSTS(struct smtp_options, pipelining_connect_advertise_hosts, "*",
	      "to whom PIPECONNECT is offered: they may send EHLO and more before the greeting"),
    OPT_HOSTS(struct smtp_options, chunking_advertise_hosts, "*", "to whom CHUNKING is offered (RFC 3030)"),
    OPT_HOSTS(struct smtp_options, smtputf8_advertise_hosts, "*", "to whom SMTPUTF8 is offered (RFC 6531)"),
    OPT_HOSTS(struct smtp_options, limits_advertise_hosts, "*", "to whom LIMITS is offered (RFC 9422)"),
    OPT_HOSTS(struct smtp_options, auth_advertise_hosts, "*", "to whom AUTH is offered (RFC 4954)"),
    OPT_HOSTS(struct smtp_options, dsn_advertise_hosts, NULL, "to whom DSN is offered (RFC 3461)"),
    OPT_HOSTS(struct smtp_options, wellknown_advertise_hosts, NULL,
	      "who may say WELLKNOWN, if there is an acl_smtp_wellknown"),
    OPT_HOSTS(struct smtp_options, enhanced_status_advertise_hosts, "*",
	      "sluice: to whom ENHANCEDSTATUSCODES is offered (RFC 2034)"),
    OPT_HOSTS(struct smtp_options, smtp_ratelimit_hosts, NULL,
	      "hosts that smtp_ratelimit_mail and _rcpt slow down"),
    OPT_DOMAINS(struct smtp_options, helo_lookup_domains, "@ : @[]",
		"HELO names whose user's host name is looked up"),
    OPT_HOSTS(struct smtp_options, rfc1413_hosts, "@[]", "hosts that are asked which of their users it is"),
    OPT_TIME(struct smtp_options, rfc1413_query_timeout, "0s", "wait for their answer; 0: none is asked"),
    OPT_STRING(struct smtp_options, smtp_ratelimit_mail, NULL,
	       "threshold,delay,factor,longest delay for MAIL"),
    OPT_STRING(struct smtp_options, smtp_ratelimit_rcpt, NULL,
	       "threshold,delay,factor,longest delay for RCPT"),
    OPT_STRING(struct smtp_options, queue_only_file, NULL,
	       "files; while one is there messages wait for a queue run"),
    OPT_BOOL(struct smtp_options, queue_only_load_latch, "yes",
	     "one message queued by load: so are its connection's next"),
    OPT_BOOL(struct smtp_options, tcp_nodelay, "yes", "TCP_NODELAY on incoming connections"),
    OPT_FIXED(struct smtp_options, smtp_load_reserve, NULL,
	      "with more load only smtp_reserve_hosts may connect"),
    OPT_INT(struct smtp_options, smtp_backlog_monitor, "0", "log a longer listen backlog; 0: never"),
    OPT_SPACE(struct smtp_options, check_log_space, "10M", "bytes to be kept free on the logs' file system"),
    OPT_INT(struct smtp_options, check_log_inodes, "100", "inodes to be kept free there"),
    OPT_BOOL(struct smtp_options, smtp_etrn_serialize, "yes", "one queue run of the same ETRN at a time"),
    OPT_STRING(struct smtp_options, helo_allow_chars, NULL,
	       "characters that a HELO name may have beyond the usual"),
    OPT_STRING(struct smtp_options, smtp_bare_newline, "reject",
	       "sluice: a bare CR or LF in a message: reject, or space"),
    OPT_STRING(struct smtp_options, daemon_smtp_ports, "smtp", "ports to listen on"),
};

static enum rc check(struct conf *conf, void *group, struct err *err)
{
	struct smtp_options *o = group;
	struct err why = err_make(&conf->arena);

	if (o->uucp_from_pattern.len &&
	    regex_compile(&conf->arena, o->uucp_from_pattern, 0, &o->from_line, &why) != OK)
		return conf_error(err, conf_option_place(conf, "uucp_from_pattern"),
				  "uucp_from_pattern: %.*s", SLICE_ARG(why.text));
	if (o->local_sender_retain && o->local_from_check)
		return conf_error(
		    err, conf_option_place(conf, "local_sender_retain"),
		    "both local_from_check and local_sender_retain are set; this combination is not allowed");
	if (slice_eq(o->smtp_bare_newline, SLICE("space")))
		o->bare_newline = BARE_SPACE;
	else if (slice_eq(o->smtp_bare_newline, SLICE("reject")))
		o->bare_newline = BARE_REJECT;
	else
		return err_set(err, FAIL, "smtp_bare_newline is \"%.*s\", but must be reject or space",
			       SLICE_ARG(o->smtp_bare_newline));
	if (o->smtp_ratelimit_mail.ptr && !rate_slope_parse(o->smtp_ratelimit_mail, &o->rate_mail))
		return conf_error(err, conf_option_place(conf, "smtp_ratelimit_mail"),
				  "smtp_ratelimit_mail is not \"threshold,time,factor,time\": %.*s",
				  SLICE_ARG(o->smtp_ratelimit_mail));
	if (o->smtp_ratelimit_rcpt.ptr && !rate_slope_parse(o->smtp_ratelimit_rcpt, &o->rate_rcpt))
		return conf_error(err, conf_option_place(conf, "smtp_ratelimit_rcpt"),
				  "smtp_ratelimit_rcpt is not \"threshold,time,factor,time\": %.*s",
				  SLICE_ARG(o->smtp_ratelimit_rcpt));
	return OK;
}

const struct conf_group smtp_conf_group = {
    .id = CONF_SMTP,
    .size = sizeof(struct smtp_options),
    .options = rows,
    .option_count = ARRAY_COUNT(rows),
    .check = check,
};

void smtp_listen_options(const struct conf *conf, struct slice *interfaces_ret, struct slice *ports_ret)
{
	const struct smtp_options *o = conf_group(conf, CONF_SMTP);
	const struct match_options *match = conf_group(conf, CONF_MATCH);

	*interfaces_ret = match->local_interfaces;
	*ports_ret = o->daemon_smtp_ports;
}

int smtp_listen_backlog(const struct conf *conf)
{
	const struct smtp_options *o = conf_group(conf, CONF_SMTP);

	return o->smtp_connect_backlog > 0 && o->smtp_connect_backlog < 65536 ? (int)o->smtp_connect_backlog
									      : 1024;
}

const struct conf_feature smtp_features[] = {
    {"_HAVE_IPV6", "IPv6"},
    {NULL, "PIPELINING"},
    {NULL, "CHUNKING"},
    {"_HAVE_PIPE_CONNECT", "PIPECONNECT"},
    {"_HAVE_I18N", "I18N"},
    {"_HAVE_ESMTP_LIMITS", "ESMTP_Limits"},
    {"_HAVE_WELLKNOWN", "ESMTP_Wellknown"},
    {"_HAVE_SOCKS", "SOCKS"},
    {"_HAVE_TLS", NULL},
    {"_HAVE_TLS_RESUME", "TLS_resume"},
    {"_HAVE_OCSP", "OCSP"},
    {"_HAVE_TLS_OCSP", NULL},
    {"_HAVE_TLS_OCSP_LIST", NULL},
    {NULL, NULL},
};

int64_t smtp_stdin_timeout(const struct conf *conf)
{
	const struct smtp_options *o = conf_group(conf, CONF_SMTP);

	return o->receive_timeout;
}
