/* The options of the smtp transport, and which of them have no effect yet. */
#include "smtp.h"

#define S struct smtp_transport
static const struct conf_option smtp_options[] = {
	OPT_BOOL(S, address_retry_include_sender, "yes", "retry times of refused addresses are per sender"),
	OPT_BOOL(S, allow_localhost, "no", "a host may be this host"),
	OPT_EXPAND(S, arc_sign, NULL, NULL),
	OPT_EXPAND(S, authenticated_sender, NULL, "AUTH= of MAIL"),
	OPT_BOOL(S, authenticated_sender_force, "no", "even without authentication"),
	OPT_TIME(S, command_timeout, "5m", "for the reply to a command"),
	OPT_TIME(S, connect_timeout, "5m", "for a connection"),
	OPT_INT(S, connection_max_messages, "500", "over one connection; 0: no limit"),
	OPT_EXPAND(S, dane_require_tls_ciphers, NULL, NULL),
	OPT_TIME(S, data_timeout, "5m", "for each piece of the message"),
	OPT_BOOL(S, delay_after_cutoff, "yes", "a host long dead is tried at its retry times only"),
	OPT_EXPAND(S, dkim_canon, NULL, NULL),
	OPT_EXPAND(S, dkim_domain, NULL, NULL),
	OPT_EXPAND(S, dkim_hash, "sha256", NULL),
	OPT_EXPAND(S, dkim_identity, NULL, NULL),
	OPT_EXPAND(S, dkim_private_key, NULL, NULL),
	OPT_EXPAND(S, dkim_selector, NULL, NULL),
	OPT_EXPAND(S, dkim_sign_headers, NULL, NULL),
	OPT_EXPAND(S, dkim_strict, NULL, NULL),
	OPT_EXPAND(S, dkim_timestamps, NULL, NULL),
	OPT_BOOL(S, dns_qualify_single, "yes", "accepted; names are looked up as they are"),
	OPT_BOOL(S, dns_search_parents, "no", "accepted; names are looked up as they are"),
	OPT_DOMAINS(S, dnssec_request_domains, "*", "asked for with DNSSEC"),
	OPT_DOMAINS(S, dnssec_require_domains, NULL, "answers must be secure"),
	OPT_EXPAND(S, dscp, NULL, NULL),
	OPT_EXPAND(S, fallback_hosts, NULL, "when no host could be reached"),
	OPT_TIME(S, final_timeout, "10m", "for the reply to the message"),
	OPT_BOOL(S, gethostbyname, "no", "addresses as the system says"),
	OPT_BOOL(S, gnutls_compat_mode, "no", NULL),
	OPT_EXPAND(S, helo_data, "$primary_hostname", "the name in EHLO"),
	OPT_EXPAND(S, host_name_extract, NULL, NULL),
	OPT_EXPAND(S, hosts, NULL, "for addresses that come without hosts"),
	OPT_HOSTS(S, hosts_avoid_esmtp, NULL, "HELO, not EHLO"),
	OPT_HOSTS(S, hosts_avoid_pipelining, NULL, "one command at a time"),
	OPT_HOSTS(S, hosts_avoid_tls, NULL, "no TLS"),
	OPT_INT(S, hosts_max_try, "5", "hosts in one attempt"),
	OPT_INT(S, hosts_max_try_hardlimit, "50", "hosts in one attempt, even when retry times make some count less"),
	OPT_HOSTS(S, hosts_nopass_tls, NULL, NULL),
	OPT_HOSTS(S, hosts_noproxy_tls, NULL, NULL),
	OPT_BOOL(S, hosts_override, "no", "hosts, even if the route has some"),
	OPT_HOSTS(S, hosts_pipe_connect, NULL, NULL),
	OPT_EXPAND_BOOL(S, hosts_randomize, "no", "hosts in random order"),
	OPT_HOSTS(S, hosts_request_ocsp, NULL, NULL),
	OPT_HOSTS(S, hosts_require_alpn, NULL, NULL),
	OPT_HOSTS(S, hosts_require_auth, NULL, NULL),
	OPT_HOSTS(S, hosts_require_dane, NULL, NULL),
	OPT_HOSTS(S, hosts_require_ocsp, NULL, NULL),
	OPT_HOSTS(S, hosts_require_tls, NULL, "no message without TLS"),
	OPT_HOSTS(S, hosts_try_auth, NULL, NULL),
	OPT_HOSTS(S, hosts_try_chunking, "*", "BDAT, where offered"),
	OPT_HOSTS(S, hosts_try_dane, "*", NULL),
	OPT_HOSTS(S, hosts_try_fastopen, "*", NULL),
	OPT_HOSTS(S, hosts_try_prdr, "*", NULL),
	OPT_HOSTS(S, hosts_verify_avoid_tls, NULL, NULL),
	OPT_EXPAND(S, interface, NULL, "the source address"),
	OPT_BOOL(S, keepalive, "yes", "SO_KEEPALIVE"),
	OPT_BOOL(S, lmtp_ignore_quota, "no", NULL),
	OPT_EXPAND(S, max_rcpt, "100", "recipients of one message; 0: no limit"),
	OPT_INT(S, message_linelength_limit, "998", "longer lines fail"),
	OPT_EXPAND_BOOL(S, multi_domain, "yes", "recipients of several domains in one message"),
	OPT_EXPAND(S, port, NULL, "25, or 24 for LMTP"),
	OPT_STRING(S, protocol, "smtp", "smtp, lmtp or smtps"),
	OPT_EXPAND_BOOL(S, retry_include_ip_address, "yes", "retry times are per address"),
	OPT_HOSTS(S, serialize_hosts, NULL, "one connection at a time"),
	OPT_INT(S, size_addition, "1024", "added to SIZE=; -1: no SIZE="),
	OPT_EXPAND(S, socks_proxy, NULL, NULL),
	OPT_EXPAND(S, tls_alpn, NULL, NULL),
	OPT_EXPAND(S, tls_certificate, NULL, NULL),
	OPT_EXPAND(S, tls_crl, NULL, NULL),
	OPT_INT(S, tls_dh_min_bits, "1024", NULL),
	OPT_EXPAND(S, tls_privatekey, NULL, NULL),
	OPT_EXPAND(S, tls_require_ciphers, NULL, NULL),
	OPT_HOSTS(S, tls_resumption_hosts, NULL, NULL),
	OPT_EXPAND(S, tls_sni, NULL, NULL),
	OPT_BOOL(S, tls_tempfail_tryclear, "yes", NULL),
	OPT_HOSTS(S, tls_try_verify_hosts, "*", NULL),
	{"tls_verify_cert_hostname", &conf_host_list, offsetof(S, tls_verify_cert_hostnames), NULL, NULL, OPTION_ALIAS},
	OPT_HOSTS(S, tls_verify_cert_hostnames, "*", NULL),
	OPT_EXPAND(S, tls_verify_certificates, "system", NULL),
	OPT_HOSTS(S, tls_verify_hosts, NULL, NULL),
	OPT_EXPAND(S, utf8_downconvert, "-1", NULL),
	OPT_NO_EFFECT("gnutls_require_kx", "TLS is not GnuTLS"),
	OPT_NO_EFFECT("gnutls_require_mac", "TLS is not GnuTLS"),
	OPT_NO_EFFECT("gnutls_require_protocols", "TLS is not GnuTLS"),
};

/* Known, and of no effect in this version: who set them should hear of it. */
static const char *const later[] = {
	"arc_sign", "authenticated_sender", "authenticated_sender_force", "dkim_domain", "dscp", "host_name_extract",
	"hosts_pipe_connect", "hosts_request_ocsp", "hosts_require_ocsp", "hosts_try_auth", "hosts_try_dane",
	"hosts_try_prdr", "lmtp_ignore_quota", "serialize_hosts", "tls_certificate", "tls_crl", "tls_privatekey",
	"tls_require_ciphers", "tls_resumption_hosts", "tls_sni", "tls_try_verify_hosts", "tls_verify_cert_hostnames",
	"tls_verify_certificates", "tls_verify_hosts", "utf8_downconvert",
};

static enum rc smtp_check(struct conf *conf, void *instance, struct err *err)
{
	S *s = instance;
	const struct conf_place *place = &s->transport.instance.place;

	if (slice_eq(s->protocol, SLICE("lmtp")))
		s->lmtp = true;
	else if (slice_eq(s->protocol, SLICE("smtps")))
		return err_set(err, FAIL, "protocol = smtps is not supported yet");
	else if (!slice_eq(s->protocol, SLICE("smtp")))
		return err_set(err, FAIL, "invalid setting %.*s for protocol option: smtp, lmtp or smtps is expected",
			       SLICE_ARG(s->protocol));
	if (s->connect_timeout < 0 || s->command_timeout <= 0 || s->data_timeout <= 0 || s->final_timeout <= 0)
		return err_set(err, FAIL, "command, data, and final timeout values must be greater than zero");
	if (s->socks_proxy)
		return err_set(err, FAIL, "socks_proxy is not supported yet");
	for (unsigned i = 0; i < ARRAY_COUNT(later); i++)
		if (transport_option_was_set(&s->transport, later[i]))
			conf_warn(conf, place, "option \"%s\" of the smtp transport has no effect yet", later[i]);
	s->transport.batch_max = 0;
	s->transport.multi_domain = s->multi_domain;
	return OK;
}

const struct conf_driver transport_smtp_driver = {
	.name = "smtp", .size = sizeof(S), .options = smtp_options, .option_count = ARRAY_COUNT(smtp_options),
	.check = smtp_check, .ops = &smtp_ops,
};
