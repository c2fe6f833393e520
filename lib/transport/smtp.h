/* The smtp transport, shared by its files. */
#ifndef TRANSPORT_SMTP_H
#define TRANSPORT_SMTP_H

#include "auth/auth.h"
#include "local.h"

struct smtp_transport {
	struct transport transport;
	bool address_retry_include_sender, allow_localhost, authenticated_sender_force, delay_after_cutoff;
	bool dns_qualify_single, dns_search_parents, gethostbyname, gnutls_compat_mode, hosts_override,
	    keepalive;
	bool lmtp_ignore_quota, tls_tempfail_tryclear;
	const struct expansion *arc_sign, *authenticated_sender, *dane_require_tls_ciphers, *dkim_canon,
	    *dkim_domain;
	const struct expansion *dkim_hash, *dkim_identity, *dkim_private_key, *dkim_selector,
	    *dkim_sign_headers;
	const struct expansion *dkim_strict, *dkim_timestamps, *dscp, *fallback_hosts, *helo_data,
	    *host_name_extract, *hosts;
	const struct expansion *hosts_randomize, *interface, *max_rcpt, *multi_domain, *port,
	    *retry_include_ip_address;
	const struct expansion *socks_proxy, *tls_alpn, *tls_certificate, *tls_crl, *tls_privatekey,
	    *tls_require_ciphers;
	const struct expansion *tls_sni, *tls_verify_certificates, *utf8_downconvert;
	struct slice protocol;
	const struct match_list *dnssec_request_domains, *dnssec_require_domains;
	const struct match_list *hosts_avoid_esmtp, *hosts_avoid_pipelining, *hosts_avoid_tls,
	    *hosts_nopass_tls;
	const struct match_list *hosts_noproxy_tls, *hosts_pipe_connect, *hosts_request_ocsp,
	    *hosts_require_alpn;
	const struct match_list *hosts_require_auth, *hosts_require_dane, *hosts_require_ocsp,
	    *hosts_require_tls;
	const struct match_list *hosts_try_auth, *hosts_try_chunking, *hosts_try_dane, *hosts_try_fastopen,
	    *hosts_try_prdr;
	const struct match_list *hosts_verify_avoid_tls, *serialize_hosts, *tls_resumption_hosts,
	    *tls_try_verify_hosts;
	const struct match_list *tls_verify_cert_hostnames, *tls_verify_hosts;
	int64_t command_timeout, connect_timeout, connection_max_messages, data_timeout, final_timeout,
	    hosts_max_try;
	int64_t hosts_max_try_hardlimit, message_linelength_limit, size_addition, tls_dh_min_bits;
	bool lmtp;  /* protocol = lmtp */
	bool smtps; /* protocol = smtps */
};

/* Everything about one host that has to be known before it is talked to. Expands the transport's options with sc->host
 * set. DEFER: an option could not be expanded. Parks. */
NODISCARD enum rc smtp_host_options(struct scope *sc, const struct smtp_transport *transport,
				    const struct host_item *host, bool callout,
				    struct smtp_connect_options *options_ret, struct err *err);
/* The part of it that is about socks_proxy: options->proxies, and their text in options->pool_key. DEFER: what the option says
 * makes no sense; a message that has to go through a proxy never goes without. Parks. */
NODISCARD enum rc smtp_proxies(struct scope *sc, const struct smtp_transport *transport,
			       struct smtp_connect_options *options, struct err *err);
/* The part of it that is about TLS: options->tls, and what may not be mixed in the pool. DEFER with err->os SMTP_TLS_...: no
 * connection that the options allow can be made. Parks. */
NODISCARD enum rc smtp_tls_options(struct scope *sc, const struct smtp_transport *transport,
				   const struct host_item *host, bool callout,
				   struct smtp_connect_options *options, struct err *err);
/* Is this host to be logged in to (hosts_require_auth, hosts_try_auth)? A list that cannot be asked says yes. Parks. */
enum smtp_auth_need { AUTH_NOT, AUTH_TRIED, AUTH_REQUIRED };
enum smtp_auth_need smtp_auth_need(struct scope *sc, const struct smtp_transport *transport,
				   const struct host_item *host);
/* Logs in. OK: done, or not needed; DEFER: it has to be and could not, or the server does not know now: err, and reply_ret if
 * the server said something. The connection is then of no use. Parks. */
NODISCARD enum rc smtp_log_in(struct scope *sc, enum smtp_auth_need need, const struct host_item *host,
			      struct smtp_connection *connection, struct smtp_reply *reply_ret,
			      struct err *err);
/* Is the host in the list? An error counts as the answer given. */
/* Is the host one of those that are talked to over one connection at a time (serialize_hosts)? */
bool smtp_host_serial(struct scope *sc, const struct smtp_transport *transport, const struct host_item *host);
bool smtp_host_listed(struct scope *sc, const struct match_list *list, const struct host_item *host,
		      bool otherwise);
/* The hosts to be tried: those of the route, or the transport's own. FAIL and DEFER: err says why. */
NODISCARD enum rc smtp_find_hosts(struct scope *sc, const struct smtp_transport *transport,
				  const struct host_list *routed, struct host_list *list_ret,
				  struct err *err);
/* Takes the text of a list of hosts to addresses. */
NODISCARD enum rc smtp_resolve_hosts(struct scope *sc, const struct smtp_transport *transport,
				     const struct host_list *names, struct host_list *list_ret,
				     struct err *err);
NODISCARD enum rc smtp_port(struct scope *sc, const struct smtp_transport *transport, uint16_t *port_ret,
			    struct err *err);

/* Makes recipients and parameters of a batch (RET, ENVID, NOTIFY, ORCPT where the server knows DSN). */
NODISCARD enum rc smtp_fill_transaction(struct scope *sc, const struct transport *transport,
					const struct delivery *delivery, struct address **addresses,
					unsigned count, unsigned extensions, struct smtp_transaction *t,
					struct err *err);
/* DKIM signatures in front of t->headers, as the dkim_... options say; what has to be sent is in *t. OK, also when nothing is to
 * be signed or signing failed where that is allowed (and told in the log); DEFER: not without a signature. Parks. */
NODISCARD enum rc smtp_sign(struct scope *sc, const struct smtp_transport *s, struct smtp_transaction *t,
			    struct err *err);
/* " AUTH=... RET=... ENVID=..." of MAIL, and " NOTIFY=... ORCPT=..." of RCPT, as far as the server knows them. */
NODISCARD enum rc smtp_mail_parameters(struct scope *sc, const struct transport *transport,
				       unsigned extensions, struct slice *ret, struct err *err);
struct slice smtp_rcpt_parameters(struct arena *arena, const struct transport *transport,
				  const struct address *address, unsigned extensions);
/* Would this message be signed (dkim_..., arc_sign) when it leaves? An option that cannot be expanded says yes. Parks. */
bool smtp_signs(struct scope *sc, const struct smtp_transport *s);
/* $sending_ip_address, $sending_port, $callout_address. */
void smtp_note_ends(struct scope *sc, const struct smtp_connection *connection);
/* The facts of the connection, for the log. */
void smtp_note_facts(struct scope *sc, struct delivery_outcome *outcome,
		     const struct smtp_connection *connection, const struct smtp_transaction *t);
/* What a reply (or its absence) means for one address. */
void smtp_set_outcome(struct scope *sc, struct delivery_outcome *outcome, enum rc rc,
		      const struct smtp_reply *reply, const struct host_item *host, const struct err *err);

static inline bool transport_is_smtp(const struct transport *transport)
{
	return transport->instance.driver == &transport_smtp_driver;
}

extern const struct transport_ops smtp_ops;

#endif
