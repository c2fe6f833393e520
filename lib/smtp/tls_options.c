/* tls_options: what the main section says about TLS with clients, and what that comes to for one of them. */
#include "redis/redis.h"
#include "session.h"

#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

static const struct conf_option rows[] = {
    OPT_HOSTS(struct smtp_tls_options, tls_advertise_hosts, "*", "who is offered STARTTLS"),
    OPT_STRING(struct smtp_tls_options, tls_on_connect_ports, NULL, "ports on which TLS begins at once"),
    OPT_EXPAND(struct smtp_tls_options, tls_certificate, NULL,
	       "certificates with their chains, PEM; unset: one made on the spot"),
    OPT_EXPAND(struct smtp_tls_options, tls_privatekey, NULL,
	       "their keys, in the same order; unset: in the same files"),
    OPT_EXPAND(struct smtp_tls_options, tls_verify_certificates, "system",
	       "the authorities for clients' certificates: a file, a directory, or system"),
    OPT_EXPAND(struct smtp_tls_options, tls_crl, NULL, "what those have revoked: a file or a directory"),
    OPT_EXPAND(struct smtp_tls_options, tls_require_ciphers, NULL, "cipher suites"),
    OPT_EXPAND(struct smtp_tls_options, tls_dhparam, NULL,
	       "a file, a name of well-known parameters, or none"),
    OPT_EXPAND(struct smtp_tls_options, tls_eccurve, "auto", "curves"),
    OPT_EXPAND(struct smtp_tls_options, tls_alpn, "smtp:esmtp",
	       "protocols of which a client may ask for one"),
    OPT_EXPAND(struct smtp_tls_options, tls_ocsp_file, NULL, "proofs that are stapled, one a certificate"),
    OPT_BOOL(struct smtp_tls_options, tls_ocsp_refresh, "no",
	     "sluice: the files of tls_ocsp_file are fetched from the certificates' responders"),
    OPT_HOSTS(struct smtp_tls_options, tls_verify_hosts, NULL, "who has to show a certificate that verifies"),
    OPT_HOSTS(struct smtp_tls_options, tls_try_verify_hosts, NULL, "who is asked for one"),
    OPT_HOSTS(struct smtp_tls_options, tls_resumption_hosts, NULL, "who may come back with a ticket"),
    OPT_STRING(struct smtp_tls_options, tls_ticket_directory, NULL,
	       "sluice: a directory in memory for the keys of tickets; none: they end with the process"),
    OPT_SECRET(struct smtp_tls_options, tls_ticket_redis_servers, NULL,
	       "sluice: where nodes tell each other the keys of tickets"),
    OPT_SECRET(struct smtp_tls_options, tls_ticket_secret, NULL,
	       "sluice: what those keys are encrypted with there"),
    OPT_BOOL(struct smtp_tls_options, tls_remember_esmtp, "no", "EHLO counts on after STARTTLS"),
};

static bool names_sni(const struct expansion *option)
{
	struct slice text = expansion_text(option);

	return slice_search(text, SLICE("tls_sni")) >= 0 || slice_search(text, SLICE("tls_in_sni")) >= 0 ||
	       slice_search(text, SLICE("tls_out_sni")) >= 0;
}

/* A number, or what /etc/services says; the usual names also where there is no such file. */
static bool port_find(struct arena *arena, struct slice text, uint16_t *port_ret)
{
	char *name = arena_cstr(arena, text);
	const struct servent *service;
	uint64_t number;

	if (parse_u64(text, &number)) {
		*port_ret = (uint16_t)number;
		return number < 65536;
	}
	service = name ? getservbyname(name, "tcp") : NULL;
	if (service)
		*port_ret = ntohs((uint16_t)service->s_port);
	else if (slice_eq(text, SLICE("smtps")) || slice_eq(text, SLICE("ssmtp")) ||
		 slice_eq(text, SLICE("submissions")))
		*port_ret = 465;
	else
		return false;
	return true;
}

/* Without a secret, whoever reads the Redis server could read the mail of every session that has a ticket. */
static enum rc check_sharing(struct conf *conf, const struct smtp_tls_options *o, struct err *err)
{
	const struct conf_place *place = conf_option_place(conf, "tls_ticket_redis_servers");
	struct slice rest = o->tls_ticket_redis_servers, item;
	struct redis_server server;
	unsigned count = 0;
	char separator = 0;
	struct arena arena;
	enum rc rc = OK;

	if (!rest.len)
		return OK;
	if (o->tls_ticket_secret.len < TLS_TICKET_SECRET_MIN)
		return conf_error(
		    err, place, "tls_ticket_redis_servers needs tls_ticket_secret, of %d characters at least",
		    TLS_TICKET_SECRET_MIN);
	arena_init(&arena, 64ul * 1024);
	while (rc == OK && list_next(&arena, &rest, &separator, &item)) {
		if (item.len && !redis_server_parse(item, &server))
			rc = conf_error(err, place,
					"tls_ticket_redis_servers: a server is not host/database/password");
		else if (item.len && ++count > TICKET_SERVERS_MAX)
			rc = conf_error(err, place, "tls_ticket_redis_servers: more than %d servers",
					TICKET_SERVERS_MAX);
	}
	arena_done(&arena);
	return rc;
}

static enum rc check(struct conf *conf, void *group, struct err *err)
{
	struct smtp_tls_options *o = group;
	struct slice rest = o->tls_on_connect_ports, item;
	char separator = 0;
	struct arena arena;
	uint16_t port;
	enum rc rc = OK;

	o->sni_matters = names_sni(o->tls_certificate);
	if (o->tls_ocsp_refresh && (!o->tls_certificate || !expansion_is_literal(o->tls_certificate) ||
				    !o->tls_ocsp_file || !expansion_is_literal(o->tls_ocsp_file)))
		return conf_error(
		    err, conf_option_place(conf, "tls_ocsp_refresh"),
		    "tls_ocsp_refresh needs tls_certificate and tls_ocsp_file, without anything to expand");
	rc = check_sharing(conf, o, err);
	if (rc != OK || !rest.ptr)
		return rc;
	arena_init(&arena, 64ul * 1024);
	while (rc == OK && list_next(&arena, &rest, &separator, &item)) {
		if (!port_find(&arena, item, &port))
			rc = conf_error(err, conf_option_place(conf, "tls_on_connect_ports"),
					"tls_on_connect_ports: \"%.*s\" is not a port", SLICE_ARG(item));
		else if (o->on_connect_port_count == ARRAY_COUNT(o->on_connect_ports))
			rc = conf_error(err, conf_option_place(conf, "tls_on_connect_ports"),
					"tls_on_connect_ports: too many");
		else
			o->on_connect_ports[o->on_connect_port_count++] = port;
	}
	arena_done(&arena);
	return rc;
}

const struct conf_group smtp_tls_conf_group = {
    .id = CONF_TLS,
    .size = sizeof(struct smtp_tls_options),
    .options = rows,
    .option_count = ARRAY_COUNT(rows),
    .check = check,
};

struct slice smtp_ticket_directory(const struct conf *conf, struct arena *arena)
{
	const struct smtp_tls_options *o = conf_group(conf, CONF_TLS);

	if (!o->tls_ticket_directory.ptr)
		return arena_printf(arena, "/dev/shm/sluice-tickets-%u", (unsigned)geteuid());
	return slice_eq(o->tls_ticket_directory, SLICE("none")) ? SLICE_EMPTY : o->tls_ticket_directory;
}

/* The bits of $tls_in_resumption in words, for ${listextract{$tls_in_resumption}{_RESUME_DECODE}}. */
void smtp_macros(struct conf *conf)
{
	static const struct {
		unsigned bits;
		const char *words;
	} known[] = {
	    {1, "not requested or offered"},
	    {3, "client requested, no server ticket"},
	    {7, "client offered session, no server action"},
	    {9, "no client request"},
	    {11, "client requested new ticket, server provided"},
	    {13, "client offered session, not used"},
	    {15, "client offered session, server only provided new ticket"},
	    {17, "session resumed unasked"},
	    {19, "session resumed unasked"},
	    {23, "session resumed"},
	    {25, "session resumed unasked"},
	    {27, "session resumed unasked"},
	    {29, "session resumed"},
	    {31, "session resumed, also new ticket"},
	};
	struct arena arena;
	struct str list;
	char *text;

	arena_init(&arena, 64ul * 1024);
	list = str_make(&arena);
	for (unsigned bits = 1, at = 0; bits <= 31; bits++) {
		str_addz(&list, bits > 1 ? " : " : "");
		if (known[at].bits == bits)
			str_addz(&list, known[at++].words);
		else
			str_printf(&list, "0x%02X", bits);
	}
	text = list.failed ? NULL : arena_cstr(&arena, str_slice(&list));
	if (text)
		conf_macro_text(conf, "_RESUME_DECODE", text);
	arena_done(&arena);
}
