/* The variables whose values are facts of the client, the message, the address or the scope. Each row names its getter and
 * where the fact is. */
#include "message/internal.h"
#include "message/variables.h"

#include <limits.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const struct client *client_of(const struct scope *sc)
{
	return sc->client ? sc->client : sc->message ? sc->message->client : NULL;
}

static enum rc give(struct slice value, struct slice *ret)
{
	*ret = value.ptr ? value : SLICE_EMPTY;
	return OK;
}

static enum rc give_number(struct scope *sc, int64_t number, struct slice *ret, struct err *err)
{
	*ret = number == 0   ? SLICE("0")
	       : number == 1 ? SLICE("1")
			     : arena_printf(sc->task->arena, "%lld", (long long)number);
	return ret->ptr ? OK : err_memory(err);
}

/* A slice at an offset of the scope, the client, the message, the address. */
static enum rc get_scope(struct scope *sc, const struct variable *variable, struct slice *ret,
			 struct err *err)
{
	(void)err;
	return give(*(const struct slice *)((const char *)sc + variable->arg), ret);
}

static enum rc get_client(struct scope *sc, const struct variable *variable, struct slice *ret,
			  struct err *err)
{
	const struct client *client = client_of(sc);

	(void)err;
	return give(client ? *(const struct slice *)((const char *)client + variable->arg) : SLICE_EMPTY,
		    ret);
}

static enum rc get_message(struct scope *sc, const struct variable *variable, struct slice *ret,
			   struct err *err)
{
	(void)err;
	return give(sc->message ? *(const struct slice *)((const char *)sc->message + variable->arg)
				: SLICE_EMPTY,
		    ret);
}

static enum rc get_address(struct scope *sc, const struct variable *variable, struct slice *ret,
			   struct err *err)
{
	(void)err;
	return give(sc->address ? *(const struct slice *)((const char *)sc->address + variable->arg)
				: SLICE_EMPTY,
		    ret);
}

/* The same of the address that this one was made from, and of the one that all began with. */
static enum rc get_parent(struct scope *sc, const struct variable *variable, struct slice *ret,
			  struct err *err)
{
	const struct address *parent = sc->address ? sc->address->parent : NULL;

	(void)err;
	return give(parent ? *(const struct slice *)((const char *)parent + variable->arg) : SLICE_EMPTY,
		    ret);
}

static enum rc get_original(struct scope *sc, const struct variable *variable, struct slice *ret,
			    struct err *err)
{
	const struct address *top = sc->address;

	(void)err;
	while (top && top->parent)
		top = top->parent;
	return give(top ? *(const struct slice *)((const char *)top + variable->arg) : SLICE_EMPTY, ret);
}

/* What a list match left behind: with the address, or, outside of routing, in the scope. */
static enum rc get_list_data(struct scope *sc, const struct variable *variable, struct slice *ret,
			     struct err *err)
{
	const struct address *address = sc->address;
	bool domain = variable->arg == offsetof(struct scope, domain_data);

	if (address && (domain ? address->domain_data : address->local_part_data).ptr)
		return give(domain ? address->domain_data : address->local_part_data, ret);
	return get_scope(sc, variable, ret, err);
}

struct slice scope_sender(const struct scope *sc)
{
	return sc->sender.ptr ? sc->sender : sc->message ? sc->message->sender : SLICE_EMPTY;
}

enum { SENDER_ALL, SENDER_LOCAL_PART, SENDER_DOMAIN };

static enum rc get_sender(struct scope *sc, const struct variable *variable, struct slice *ret,
			  struct err *err)
{
	struct slice sender = scope_sender(sc);
	ptrdiff_t at = slice_rfind(sender, '@');

	(void)err;
	if (variable->arg == SENDER_LOCAL_PART)
		sender = slice_sub(sender, 0, at < 0 ? sender.len : (size_t)at);
	else if (variable->arg == SENDER_DOMAIN)
		sender = slice_from(sender, at < 0 ? sender.len : (size_t)at + 1);
	return give(sender, ret);
}

/* The address that a bounce would go to. */
static enum rc get_return_path(struct scope *sc, const struct variable *variable, struct slice *ret,
			       struct err *err)
{
	(void)variable;
	(void)err;
	if (!sc->address || !sc->message)
		return give(SLICE_EMPTY, ret);
	return give(sc->address->errors_to.ptr ? sc->address->errors_to : sc->message->sender, ret);
}

static enum rc get_message_id(struct scope *sc, const struct variable *variable, struct slice *ret,
			      struct err *err)
{
	(void)variable;
	(void)err;
	return give(sc->message ? message_id_slice(&sc->message->id) : SLICE_EMPTY, ret);
}

static enum rc get_protocol(struct scope *sc, const struct variable *variable, struct slice *ret,
			    struct err *err)
{
	const struct client *client = client_of(sc);

	(void)variable;
	(void)err;
	if (sc->message && sc->message->protocol.len)
		return give(sc->message->protocol, ret);
	if (client && client->protocol_now.len)
		return give(client->protocol_now, ret);
	return give(client ? client->protocol_base : SLICE_EMPTY, ret);
}

static enum rc get_authenticated_sender(struct scope *sc, const struct variable *variable, struct slice *ret,
					struct err *err)
{
	const struct client *client = client_of(sc);

	(void)variable;
	(void)err;
	if (sc->message && sc->message->auth_sender.len)
		return give(sc->message->auth_sender, ret);
	return give(client ? client->authenticated_sender : SLICE_EMPTY, ret);
}

/* ---- The client's addresses and flags -------------------------------------------------------------------------- */

static enum rc get_client_ip(struct scope *sc, const struct variable *variable, struct slice *ret,
			     struct err *err)
{
	const struct client *client = client_of(sc);
	struct str str = str_make(sc->task->arena);
	const struct ip_addr *ip =
	    client ? (const struct ip_addr *)((const char *)client + variable->arg) : NULL;

	if (!ip || !ip->family)
		return give(SLICE_EMPTY, ret);
	str_add_ip(&str, ip);
	*ret = str_slice(&str);
	return ret->ptr ? OK : err_memory(err);
}

static enum rc get_client_port(struct scope *sc, const struct variable *variable, struct slice *ret,
			       struct err *err)
{
	const struct client *client = client_of(sc);

	const struct ip_addr *ip =
	    client ? (const struct ip_addr *)((const char *)client + variable->arg) : NULL;

	/* Nobody connected to us: -1 for our port; the client's is 0. */
	if ((!ip || !ip->family) && variable->arg == offsetof(struct client, local))
		return give_number(sc, -1, ret, err);
	return give_number(sc, ip ? ip->port : 0, ret, err);
}

enum { HOST_FULL, HOST_RCV };

static enum rc get_client_host(struct scope *sc, const struct variable *variable, struct slice *ret,
			       struct err *err)
{
	const struct client *client = client_of(sc);
	bool with_port = sc->conf && log_wants(sc->conf, LOG_INCOMING_PORT);

	if (!client)
		return give(SLICE_EMPTY, ret);
	*ret = variable->arg == HOST_FULL ? client_fullhost(client, sc->task->arena, with_port)
					  : client_rcvhost(client, sc->task->arena, with_port);
	return ret->ptr ? OK : err_memory(err);
}

enum client_fact {
	HELO_VERIFIED,
	LOOKUP_FAILED,
	HOST_DNSSEC,
	HELO_DNSSEC,
	LOOKUP_DEFERRED,
	PROXIED,
	CERTIFICATE_VERIFIED,
	TLS_BITS,
	TLS_OCSP,
	TLS_RESUMPTION,
	ORIGINATOR_UID,
	ORIGINATOR_GID,
	SMTPUTF8,
};

static enum rc get_fact(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	const struct client *client = client_of(sc);

	switch ((enum client_fact)variable->arg) {
	case HELO_VERIFIED:
		return give(client && client->helo_verified ? SLICE("yes") : SLICE("no"), ret);
	case LOOKUP_FAILED:
		return give_number(sc, client && client->host_lookup_failed, ret, err);
	case HELO_DNSSEC:
		return give(
		    client && client->helo_verified && client->helo_secure ? SLICE("yes") : SLICE("no"), ret);
	case HOST_DNSSEC:
		return give(client && client->host_name_secure ? SLICE("yes") : SLICE("no"), ret);
	case LOOKUP_DEFERRED:
		return give_number(sc, client && client->host_lookup_deferred, ret, err);
	case PROXIED:
		return give(client && client->proxied ? SLICE("yes") : SLICE("no"), ret);
	case CERTIFICATE_VERIFIED:
		return give_number(sc, client && client->tls_certificate_verified, ret, err);
	case TLS_BITS:
		return give_number(sc, client ? client->tls_bits : 0, ret, err);
	case TLS_OCSP:
		return give_number(sc, client ? client->tls_ocsp : 0, ret, err);
	case TLS_RESUMPTION:
		return give_number(sc, client ? client->tls_resumption : 0, ret, err);
	case ORIGINATOR_UID:
		return give_number(sc, client ? (int32_t)client->uid : 0, ret, err);
	case ORIGINATOR_GID:
		return give_number(sc, client ? (int32_t)client->gid : 0, ret, err);
	case SMTPUTF8:
		return give(sc->message && sc->message->smtputf8 ? SLICE("yes") : SLICE("no"), ret);
	}
	return OK;
}

static enum rc get_active_hostname(struct scope *sc, const struct variable *variable, struct slice *ret,
				   struct err *err)
{
	const struct client *client = client_of(sc);

	(void)variable;
	(void)err;
	if (client && client->active_hostname.len)
		return give(client->active_hostname, ret);
	return give(sc->conf ? conf_main(sc->conf)->primary_hostname : SLICE_EMPTY, ret);
}

/* ---- The configuration, the disk ------------------------------------------------------------------- */

static enum rc get_main(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	(void)err;
	return give(sc->conf ? *(const struct slice *)((const char *)conf_main(sc->conf) + variable->arg)
			     : SLICE_EMPTY,
		    ret);
}

/* Where unset: our own file; no host number is 0. */
static enum rc get_exim_path(struct scope *sc, const struct variable *variable, struct slice *ret,
			     struct err *err)
{
	char path[PATH_MAX];
	ssize_t len;

	(void)variable;
	if (sc->conf && conf_main(sc->conf)->exim_path.len)
		return give(conf_main(sc->conf)->exim_path, ret);
	len = readlink("/proc/self/exe", path, sizeof(path));
	*ret = arena_copy(sc->task->arena, slice_make(path, len < 0 ? 0 : (size_t)len, CLEAN));
	return ret->ptr ? OK : err_memory(err);
}

static enum rc get_localhost_number(struct scope *sc, const struct variable *variable, struct slice *ret,
				    struct err *err)
{
	struct slice number = sc->conf ? conf_main(sc->conf)->localhost_number : SLICE_EMPTY;

	(void)variable;
	(void)err;
	return give(number.len ? number : SLICE("0"), ret);
}

static enum rc get_version(struct scope *sc, const struct variable *variable, struct slice *ret,
			   struct err *err)
{
	(void)variable;
	(void)err;
	return give(version_number(conf_main(sc->conf)), ret);
}

static enum rc get_main_owner(struct scope *sc, const struct variable *variable, struct slice *ret,
			      struct err *err)
{
	const struct conf_owner *owner =
	    (const struct conf_owner *)((const char *)conf_main(sc->conf) + variable->arg);

	return give_number(sc, owner->set ? owner->id : 0, ret, err);
}

enum { CONFIG_FILE, CONFIG_DIR };

static enum rc get_config_file(struct scope *sc, const struct variable *variable, struct slice *ret,
			       struct err *err)
{
	struct slice file = slice_of(sc->conf->file);
	ptrdiff_t slash = slice_rfind(file, '/');

	(void)err;
	if (variable->arg == CONFIG_DIR)
		file = slice_sub(file, 0, slash > 0 ? (size_t)slash : 1);
	return give(file, ret);
}

enum { SPACE_KB, SPACE_INODES };

/* A look at the mounted file system's own numbers; they are in memory, so this does not wait for a disk. */
static enum rc get_spool_space(struct scope *sc, const struct variable *variable, struct slice *ret,
			       struct err *err)
{
	char *path = arena_cstr(sc->task->arena, conf_main(sc->conf)->spool_directory);
	struct statvfs st;

	if (!path)
		return err_memory(err);
	if (statvfs(path, &st) != 0)
		return give(SLICE("-1"), ret);
	if (variable->arg == SPACE_INODES)
		return give_number(sc, st.f_files ? (int64_t)st.f_favail : -1, ret, err);
	return give_number(
	    sc, (int64_t)((uint64_t)st.f_bavail * (st.f_frsize ? st.f_frsize : st.f_bsize) / 1024), ret, err);
}

static enum rc get_log_space(struct scope *sc, const struct variable *variable, struct slice *ret,
			     struct err *err)
{
	int64_t bytes, inodes;

	if (!log_space(sc->conf, &bytes, &inodes))
		return give(SLICE("-1"), ret);
	return give_number(sc, variable->arg == SPACE_INODES ? inodes : bytes / 1024, ret, err);
}

static enum rc get_verify_mode(struct scope *sc, const struct variable *variable, struct slice *ret,
			       struct err *err)
{
	(void)variable;
	(void)err;
	return give(sc->verify_mode == VERIFY_SENDER      ? SLICE("S")
		    : sc->verify_mode == VERIFY_RECIPIENT ? SLICE("R")
							  : SLICE_EMPTY,
		    ret);
}

static enum rc get_event_errno(struct scope *sc, const struct variable *variable, struct slice *ret,
			       struct err *err)
{
	(void)variable;
	return give_number(sc, sc->event_errno, ret, err);
}

/* ---- The table ------------------------------------------------------------------------------------------------------ */

#define SCOPE(name, field)                                     \
	{                                                      \
		name, get_scope, offsetof(struct scope, field) \
	}
#define CLIENT(name, field)                                      \
	{                                                        \
		name, get_client, offsetof(struct client, field) \
	}
#define MESSAGE(name, field)                                       \
	{                                                          \
		name, get_message, offsetof(struct message, field) \
	}
#define ADDRESS(name, field)                                       \
	{                                                          \
		name, get_address, offsetof(struct address, field) \
	}
#define MAIN(name, field)                                         \
	{                                                         \
		name, get_main, offsetof(struct conf_main, field) \
	}

static const struct variable rows[] = {
    ADDRESS("address_data", address_data),
    ADDRESS("address_file", file),
    ADDRESS("address_pipe", pipe),
    CLIENT("authenticated_id", authenticated_id),
    {"authenticated_sender", get_authenticated_sender, 0},
    {"body_linecount", get_message_sizes, BODY_LINECOUNT},
    {"body_zerocount", get_message_sizes, BODY_ZEROCOUNT},
    {"config_dir", get_config_file, CONFIG_DIR},
    {"config_file", get_config_file, CONFIG_FILE},
    MAIN("default_hostname", primary_hostname),
    ADDRESS("domain", domain),
    {"domain_data", get_list_data, offsetof(struct scope, domain_data)},
    SCOPE("event_data", event_data),
    {"event_defer_errno", get_event_errno, 0},
    SCOPE("event_name", event_name),
    {"exim_gid", get_main_owner, offsetof(struct conf_main, exim_group)},
    {"exim_path", get_exim_path, 0},
    {"exim_uid", get_main_owner, offsetof(struct conf_main, exim_user)},
    {"exim_version", get_version, 0},
    SCOPE("host_data", host_data),
    {"host_lookup_deferred", get_fact, LOOKUP_DEFERRED},
    {"host_lookup_failed", get_fact, LOOKUP_FAILED},
    {"interface_address", get_client_ip, offsetof(struct client, local)},
    {"interface_port", get_client_port, offsetof(struct client, local)},
    SCOPE("ldap_dn", ldap_dn),
    ADDRESS("local_part", local_part),
    {"local_part_data", get_list_data, offsetof(struct scope, local_part_data)},
    ADDRESS("local_part_prefix", prefix),
    ADDRESS("local_part_prefix_v", prefix_v),
    ADDRESS("local_part_suffix", suffix),
    ADDRESS("local_part_suffix_v", suffix_v),
    {"localhost_number", get_localhost_number, 0},
    {"log_inodes", get_log_space, SPACE_INODES},
    {"log_space", get_log_space, SPACE_KB},
    SCOPE("lookup_dnssec_authenticated", lookup_dnssec_authenticated),
    {"max_received_linelength", get_message_sizes, MAX_LINELENGTH},
    {"message_age", get_message_times, TIME_AGE},
    {"message_body", get_message_body, BODY_START},
    {"message_body_end", get_message_body, BODY_END},
    {"message_body_size", get_message_sizes, MESSAGE_BODY_SIZE},
    {"message_exim_id", get_message_id, 0},
    {"message_headers", get_headers, HEADERS_ALL},
    {"message_headers_raw", get_headers, HEADERS_RAW},
    {"message_id", get_message_id, 0},
    {"message_linecount", get_message_sizes, MESSAGE_LINECOUNT},
    {"message_size", get_message_sizes, MESSAGE_SIZE},
    {"message_smtputf8", get_fact, SMTPUTF8},
    {"original_domain", get_original, offsetof(struct address, domain)},
    {"original_local_part", get_original, offsetof(struct address, cased_local_part)},
    {"originator_gid", get_fact, ORIGINATOR_GID},
    {"originator_uid", get_fact, ORIGINATOR_UID},
    {"parent_domain", get_parent, offsetof(struct address, domain)},
    {"parent_local_part", get_parent, offsetof(struct address, cased_local_part)},
    MAIN("primary_hostname", primary_hostname),
    {"proxy_external_address", get_client_ip, offsetof(struct client, proxy_external)},
    {"proxy_external_port", get_client_port, offsetof(struct client, proxy_external)},
    {"proxy_host", get_client_ip, offsetof(struct client, proxy_local)},
    {"proxy_host_address", get_client_ip, offsetof(struct client, proxy_local)},
    {"proxy_host_port", get_client_port, offsetof(struct client, proxy_local)},
    {"proxy_local_address", get_client_ip, offsetof(struct client, proxy_local)},
    {"proxy_local_port", get_client_port, offsetof(struct client, proxy_local)},
    {"proxy_session", get_fact, PROXIED},
    {"proxy_target_address", get_client_ip, offsetof(struct client, proxy_external)},
    {"proxy_target_port", get_client_port, offsetof(struct client, proxy_external)},
    MAIN("qualify_domain", qualify_domain),
    MAIN("qualify_recipient", qualify_recipient),
    MESSAGE("queue_name", queue_name),
    {"received_count", get_message_sizes, RECEIVED_COUNT},
    {"received_for", get_recipients, RECIPIENTS_FOR},
    {"received_ip_address", get_client_ip, offsetof(struct client, local)},
    {"received_port", get_client_port, offsetof(struct client, local)},
    {"received_protocol", get_protocol, 0},
    {"received_time", get_message_times, TIME_RECEIVED},
    SCOPE("recipient_data", recipient_data),
    {"recipients", get_recipients, RECIPIENTS_COMMA},
    {"recipients_count", get_message_sizes, RECIPIENTS_COUNT},
    {"recipients_list", get_recipients, RECIPIENTS_LIST},
    {"reply_address", get_headers, HEADERS_REPLY_ADDRESS},
    {"return_path", get_return_path, 0},
    ADDRESS("self_hostname", self_hostname),
    {"sender_address", get_sender, SENDER_ALL},
    SCOPE("sender_address_data", sender_address_data),
    {"sender_address_domain", get_sender, SENDER_DOMAIN},
    {"sender_address_local_part", get_sender, SENDER_LOCAL_PART},
    SCOPE("sender_data", sender_data),
    {"sender_fullhost", get_client_host, HOST_FULL},
    {"sender_helo_dnssec", get_fact, HELO_DNSSEC},
    CLIENT("sender_helo_name", helo),
    {"sender_helo_verified", get_fact, HELO_VERIFIED},
    {"sender_host_address", get_client_ip, offsetof(struct client, ip)},
    CLIENT("sender_host_authenticated", authenticator_name),
    {"sender_host_dnssec", get_fact, HOST_DNSSEC},
    {"sender_host_port", get_client_port, offsetof(struct client, ip)},
    CLIENT("sender_ident", ident),
    {"sender_rcvhost", get_client_host, HOST_RCV},
    {"smtp_active_hostname", get_active_hostname, 0},
    MAIN("spool_directory", spool_directory),
    {"spool_inodes", get_spool_space, SPACE_INODES},
    {"spool_space", get_spool_space, SPACE_KB},
    {"tls_bits", get_fact, TLS_BITS},
    {"tls_certificate_verified", get_fact, CERTIFICATE_VERIFIED},
    CLIENT("tls_cipher", tls_cipher),
    {"tls_in_bits", get_fact, TLS_BITS},
    {"tls_in_certificate_verified", get_fact, CERTIFICATE_VERIFIED},
    CLIENT("tls_in_cipher", tls_cipher),
    CLIENT("tls_in_cipher_std", tls_cipher_std),
    {"tls_in_ocsp", get_fact, TLS_OCSP},
    CLIENT("tls_in_peerdn", tls_peerdn),
    {"tls_in_resumption", get_fact, TLS_RESUMPTION},
    CLIENT("tls_in_sni", tls_sni),
    CLIENT("tls_in_ver", tls_version),
    CLIENT("tls_peerdn", tls_peerdn),
    CLIENT("tls_sni", tls_sni),
    {"verify_mode", get_verify_mode, 0},
    {"version_number", get_version, 0},
};

const struct variable_table message_variables = {rows, ARRAY_COUNT(rows)};
