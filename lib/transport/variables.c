/* What the $ language can ask of a delivery. */
#include "local.h"
#include "tls/tls.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static enum rc get_name(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	(void)variable;
	(void)err;
	*ret = sc->transport ? sc->transport->instance.name : SLICE_EMPTY;
	return OK;
}

static enum rc get_host(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	(void)variable;
	(void)err;
	*ret = sc->host ? sc->host->name : SLICE_EMPTY;
	return OK;
}

static enum rc get_host_address(struct scope *sc, const struct variable *variable, struct slice *ret,
				struct err *err)
{
	struct str text = str_make(sc->task->arena);

	(void)variable;
	if (sc->host && sc->host->ip.family)
		str_add_ip(&text, &sc->host->ip);
	*ret = str_slice(&text);
	return ret->ptr ? OK : err_memory(err);
}

static enum rc get_host_port(struct scope *sc, const struct variable *variable, struct slice *ret,
			     struct err *err)
{
	struct str text = str_make(sc->task->arena);
	uint16_t port = !sc->host ? 0 : sc->host->port ? sc->host->port : sc->host->ip.port;

	(void)variable;
	str_addu(&text, port);
	*ret = str_slice(&text);
	return ret->ptr ? OK : err_memory(err);
}

/* Our end of a connection that is there, or that the system would choose for one: a datagram socket that is connected sends
 * nothing, but has an address. So what is said at EHLO can go by it before there is a connection. */
static bool find_sending(struct scope *sc)
{
	struct sockaddr_storage to, ours;
	socklen_t len;
	bool found;
	int fd;

	if (sc->sending.family || !sc->host || !sc->host->ip.family)
		return sc->sending.family;
	fd = socket(sc->host->ip.family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	len = ip_to_sockaddr(&sc->host->ip, &to);
	if (sc->host->ip.port == 0)
		((struct sockaddr_in *)&to)->sin_port = htons(25); /* in the same place for both families */
	found = connect(fd, (struct sockaddr *)&to, len) == 0;
	len = sizeof(ours);
	if (found && getsockname(fd, (struct sockaddr *)&ours, &len) == 0) {
		sc->sending = ip_from_sockaddr((struct sockaddr *)&ours);
		sc->sending.port = 0;
	}
	(void)close(fd);
	return sc->sending.family;
}

static enum rc get_sending(struct scope *sc, const struct variable *variable, struct slice *ret,
			   struct err *err)
{
	struct str text = str_make(sc->task->arena);
	bool found = find_sending(sc), port = variable->arg;

	if (found && !port)
		str_add_ip(&text, &sc->sending);
	else if (port)
		str_printf(&text, "%d", found && sc->sending.port ? sc->sending.port : -1);
	*ret = str_slice(&text);
	return ret->ptr ? OK : err_memory(err);
}

static enum rc get_scope_text(struct scope *sc, const struct variable *variable, struct slice *ret,
			      struct err *err)
{
	(void)err;
	memcpy(ret, (const char *)sc + variable->arg, sizeof(*ret));
	if (!ret->ptr)
		*ret = SLICE_EMPTY;
	return OK;
}

/* Texts of the TLS session that messages are sent over. */
static enum rc get_tls_text(struct scope *sc, const struct variable *variable, struct slice *ret,
			    struct err *err)
{
	(void)err;
	*ret = sc->tls_out ? *(const struct slice *)((const char *)sc->tls_out + variable->arg) : SLICE_EMPTY;
	if (!ret->ptr)
		*ret = SLICE_EMPTY;
	return OK;
}

enum { TLS_OUT_BITS, TLS_OUT_VERIFIED, TLS_OUT_OCSP, TLS_OUT_RESUMPTION };

static enum rc get_tls_number(struct scope *sc, const struct variable *variable, struct slice *ret,
			      struct err *err)
{
	const struct tls_facts *facts = sc->tls_out;
	struct slice text;
	int number = 0;

	if (facts && variable->arg == TLS_OUT_BITS)
		number = facts->bits;
	else if (facts && variable->arg == TLS_OUT_VERIFIED)
		number = facts->verified;
	else if (facts && variable->arg == TLS_OUT_OCSP)
		number = facts->ocsp;
	else if (facts)
		number = facts->resumption;
	text = arena_printf(sc->task->arena, "%d", number);
	*ret = text;
	return text.ptr ? OK : err_memory(err);
}

#define TLS_TEXT(name, field)                                         \
	{                                                             \
		name, get_tls_text, offsetof(struct tls_facts, field) \
	}

static const struct variable rows[] = {
    {"callout_address", get_scope_text, offsetof(struct scope, callout_address)},
    {"host", get_host, 0},
    {"host_address", get_host_address, 0},
    {"host_port", get_host_port, 0},
    {"mailstore_basename", get_scope_text, offsetof(struct scope, mailstore_basename)},
    {"sending_ip_address", get_sending, 0},
    {"sending_port", get_sending, 1},
    {"tls_out_bits", get_tls_number, TLS_OUT_BITS},
    {"tls_out_certificate_verified", get_tls_number, TLS_OUT_VERIFIED},
    TLS_TEXT("tls_out_cipher", cipher),
    TLS_TEXT("tls_out_cipher_std", cipher_std),
    {"tls_out_ocsp", get_tls_number, TLS_OUT_OCSP},
    TLS_TEXT("tls_out_peerdn", peer_dn),
    {"tls_out_resumption", get_tls_number, TLS_OUT_RESUMPTION},
    TLS_TEXT("tls_out_sni", sni),
    TLS_TEXT("tls_out_ver", version),
    {"transport_name", get_name, 0},
};
const struct variable_table transport_variables = {rows, ARRAY_COUNT(rows)};
