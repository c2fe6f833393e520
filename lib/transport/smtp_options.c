/* The options of the smtp transport, and which of them have no effect yet. */
#include "smtp.h"

#define S struct smtp_transport
#define LATER_TEXT(field, default_text, why) \
	OPT_LATER(S, field, const struct expansion *, &conf_expansion, default_text, why)
#define LATER_HOSTS(field, default_text, why) \
	OPT_LATER(S, field, const struct match_list *, &conf_host_list, default_text, why)
#define LATER_BOOL(field, default_text, why) OPT_LATER(S, field, bool, &conf_bool, default_text, why)
#define LATER_INT(field, default_text, why)  OPT_LATER(S, field, int64_t, &conf_int, default_text, why)
static const struct conf_option smtp_options[] = {
    OPT_BOOL(S, address_retry_include_sender, "yes", "retry times of refused addresses are per sender"),
    OPT_BOOL(S, allow_localhost, "no", "a host may be this host"),
    OPT_EXPAND(S, arc_sign, NULL, "admd : selector : private key [: options]"),
    OPT_EXPAND(S, authenticated_sender, NULL, "AUTH= of MAIL; unset: the one the message came with"),
    OPT_BOOL(S, authenticated_sender_force, "no", "even without authentication"),
    OPT_TIME(S, command_timeout, "5m", "for the reply to a command"),
    OPT_TIME(S, connect_timeout, "5m", "for a connection"),
    OPT_INT(S, connection_max_messages, "500", "over one connection; 0: no limit"),
    LATER_TEXT(dane_require_tls_ciphers, NULL, "DANE comes later"),
    OPT_TIME(S, data_timeout, "5m", "for each piece of the message"),
    OPT_BOOL(S, delay_after_cutoff, "yes", "a host long dead is tried at its retry times only"),
    OPT_EXPAND(S, dkim_canon, NULL, "simple or relaxed; or header/body"),
    OPT_EXPAND(S, dkim_domain, NULL, "who signs: a list"),
    OPT_EXPAND(S, dkim_hash, "sha256", "sha256 or sha512"),
    OPT_EXPAND(S, dkim_identity, NULL, "i= of the signature"),
    OPT_EXPAND(S, dkim_private_key, NULL, "a file, or the key itself"),
    OPT_EXPAND(S, dkim_selector, NULL, "the names of the keys: a list"),
    OPT_EXPAND(S, dkim_sign_headers, NULL, "what is signed: Name, =Name, +Name"),
    OPT_EXPAND(S, dkim_strict, NULL, "true: no message without its signature"),
    OPT_EXPAND(S, dkim_timestamps, NULL, "t=, and x= so many seconds later"),
    OPT_BOOL(S, dns_qualify_single, "yes", "hosts without a dot get this host's own domain behind them"),
    OPT_BOOL(S, dns_search_parents, "no", "the endings of resolv.conf are tried behind hosts"),
    OPT_DOMAINS(S, dnssec_request_domains, "*",
		"accepted: the resolver is always asked whether an answer is secure"),
    OPT_DOMAINS(S, dnssec_require_domains, NULL, "answers must be secure"),
    OPT_EXPAND(S, dscp, NULL, "how routers should treat our packets"),
    OPT_EXPAND(S, fallback_hosts, NULL, "when no host could be reached; not expanded"),
    OPT_TIME(S, final_timeout, "10m", "for the reply to the message"),
    OPT_BOOL(S, gethostbyname, "no", "addresses as the system says"),
    LATER_BOOL(gnutls_compat_mode, "no", "TLS is not GnuTLS"),
    OPT_EXPAND(S, helo_data, "$primary_hostname", "the name in EHLO"),
    OPT_EXPAND(S, host_name_extract, NULL, "what tells servers behind one address apart, for sessions"),
    OPT_EXPAND(S, hosts, NULL, "for addresses that come without hosts"),
    OPT_HOSTS(S, hosts_avoid_esmtp, NULL, "HELO, not EHLO"),
    OPT_HOSTS(S, hosts_avoid_pipelining, NULL, "one command at a time"),
    OPT_HOSTS(S, hosts_avoid_tls, NULL, "in clear text"),
    OPT_INT(S, hosts_max_try, "5", "hosts in one attempt"),
    OPT_INT(S, hosts_max_try_hardlimit, "50",
	    "hosts in one attempt, even when retry times make some count less"),
    OPT_HOSTS(S, hosts_nopass_tls, NULL, "a TLS connection takes the messages of one delivery only"),
    LATER_HOSTS(hosts_noproxy_tls, NULL, "no process hands a TLS connection to another"),
    OPT_BOOL(S, hosts_override, "no", "hosts, even if the route has some"),
    LATER_HOSTS(hosts_pipe_connect, NULL, "commands are sent once the greeting has been read"),
    OPT_EXPAND_BOOL(S, hosts_randomize, "no", "hosts in random order"),
    OPT_HOSTS(S, hosts_request_ocsp, "*", "asked for a proof that their certificate is not revoked"),
    OPT_HOSTS(S, hosts_require_alpn, NULL, "no TLS without one of tls_alpn"),
    OPT_HOSTS(S, hosts_require_auth, NULL, "no message without authentication: they wait"),
    OPT_HOSTS(S, hosts_require_dane, NULL, "no message without DANE: they wait"),
    OPT_HOSTS(S, hosts_require_ocsp, NULL, "no message without that proof"),
    OPT_HOSTS(S, hosts_require_tls, NULL, "no message without TLS"),
    OPT_HOSTS(S, hosts_try_auth, NULL, "log in if it can be done"),
    OPT_HOSTS(S, hosts_try_chunking, "*", "BDAT, where offered"),
    LATER_HOSTS(hosts_try_dane, "*", "DANE comes later"),
    LATER_HOSTS(hosts_try_fastopen, "*", "connections are made without TCP Fast Open"),
    LATER_HOSTS(hosts_try_prdr, "*", "per-recipient data responses come later"),
    OPT_HOSTS(S, hosts_verify_avoid_tls, NULL, "callouts in clear text"),
    OPT_EXPAND(S, interface, NULL, "the source address"),
    OPT_BOOL(S, keepalive, "yes", "SO_KEEPALIVE"),
    OPT_BOOL(S, lmtp_ignore_quota, "no", "ask LMTP servers to take messages for full mailboxes"),
    OPT_EXPAND(S, max_rcpt, "100", "recipients of one message; 0: no limit"),
    OPT_INT(S, message_linelength_limit, "998", "longer lines fail"),
    OPT_EXPAND_BOOL(S, multi_domain, "yes", "recipients of several domains in one message"),
    OPT_EXPAND(S, port, NULL, "25, or 24 for LMTP"),
    OPT_STRING(S, protocol, "smtp", "smtp, lmtp or smtps"),
    OPT_EXPAND_BOOL(S, retry_include_ip_address, "yes", "retry times are per address"),
    OPT_HOSTS(S, serialize_hosts, NULL, "one connection at a time"),
    OPT_INT(S, size_addition, "1024", "added to SIZE=; -1: no SIZE="),
    OPT_EXPAND(S, socks_proxy, NULL, "SOCKS5 proxies: address name=value ..."),
    OPT_EXPAND(S, tls_alpn, NULL, "protocols to be offered"),
    OPT_EXPAND(S, tls_certificate, NULL, "ours, for servers that ask"),
    OPT_EXPAND(S, tls_crl, NULL, "revoked certificates"),
    LATER_INT(tls_dh_min_bits, "1024", "the library has a limit of its own"),
    OPT_EXPAND(S, tls_privatekey, NULL, "of tls_certificate"),
    OPT_EXPAND(S, tls_require_ciphers, NULL, "a cipher list, or a priority string"),
    OPT_HOSTS(S, tls_resumption_hosts, NULL, "sessions are kept and offered again"),
    OPT_EXPAND(S, tls_sni, NULL, "the server name to ask for"),
    OPT_BOOL(S, tls_tempfail_tryclear, "yes", "when TLS fails, clear text"),
    OPT_HOSTS(S, tls_try_verify_hosts, "*", "CV=yes or CV=no"),
    {"tls_verify_cert_hostname", &conf_host_list, offsetof(S, tls_verify_cert_hostnames), NULL, NULL,
     OPTION_ALIAS},
    OPT_HOSTS(S, tls_verify_cert_hostnames, "*", "the certificate has to name the host"),
    OPT_EXPAND(S, tls_verify_certificates, "system", "authorities: a file, a directory or system"),
    OPT_HOSTS(S, tls_verify_hosts, NULL, "no TLS without a certificate that can be verified"),
    OPT_EXPAND(S, utf8_downconvert, "-1",
	       "domains as A-labels: 1 always, -1 for hosts without SMTPUTF8, 0 never"),
    OPT_NO_EFFECT("gnutls_require_kx", "TLS is not GnuTLS"),
    OPT_NO_EFFECT("gnutls_require_mac", "TLS is not GnuTLS"),
    OPT_NO_EFFECT("gnutls_require_protocols", "TLS is not GnuTLS"),
};

static enum rc smtp_check(struct conf *conf, void *instance, struct err *err)
{
	S *s = instance;

	s->lmtp = slice_eq(s->protocol, SLICE("lmtp"));
	s->smtps = slice_eq(s->protocol, SLICE("smtps"));
	if (!s->smtps && !s->lmtp && !slice_eq(s->protocol, SLICE("smtp")))
		return err_set(err, FAIL,
			       "invalid setting %.*s for protocol option: smtp, lmtp or smtps is expected",
			       SLICE_ARG(s->protocol));
	if (s->connect_timeout < 0 || s->command_timeout <= 0 || s->data_timeout <= 0 ||
	    s->final_timeout <= 0)
		return err_set(err, FAIL,
			       "command, data, and final timeout values must be greater than zero");
	if (s->hosts_require_ocsp && !s->hosts_require_tls && !s->smtps)
		conf_warn(conf, &s->transport.instance.place,
			  "hosts_require_ocsp without hosts_require_tls: a message may go out in the clear");
	s->transport.batch_max = 0;
	s->transport.multi_domain = s->multi_domain;
	s->transport.ignore_quota = s->lmtp && s->lmtp_ignore_quota;
	s->transport.retry_by_ip = s->retry_include_ip_address;
	s->transport.retry_by_sender = s->address_retry_include_sender;
	return OK;
}

const struct conf_driver transport_smtp_driver = {
    .name = "smtp",
    .size = sizeof(S),
    .options = smtp_options,
    .option_count = ARRAY_COUNT(smtp_options),
    .check = smtp_check,
    .ops = &smtp_ops,
};
