/* dovecot_dial: a path, or a host and a port, with TLS where that is asked for. */
#include "dovecot_dial.h"

#include "dns/dns.h"

#include <unistd.h>

#define ADDRESSES_MAX 4 /* of a name, tried one after the other */

enum rc dovecot_address_parse(struct slice text, struct dovecot_address *ret, struct err *err)
{
	struct slice rest = text, port;
	uint64_t number;

	*ret = (struct dovecot_address){.path = SLICE_EMPTY, .host = SLICE_EMPTY, .authorities = SLICE_EMPTY};
	if (slice_starts(text, SLICE("/"))) {
		ret->path = text;
		return OK;
	}
	if (!slice_word(&rest, &ret->host) || !slice_word(&rest, &port) || slice_trim(rest).len ||
	    !parse_u64(port, &number) || number == 0 || number > 65535)
		return err_set(err, FAIL, "server_socket is neither a path nor a host and a port");
	ret->port = (uint16_t)number;
	if (!ip_parse(slice_eq_nocase(ret->host, SLICE("localhost")) ? SLICE("127.0.0.1") : ret->host,
		      &ret->ip))
		ret->ip.family = 0;
	return OK;
}

/* The addresses of the name: by the DNS, and then as the system says. */
static enum rc look_up(struct task *task, struct slice host, struct ip_addr *ips, unsigned *count_ret,
		       struct err *err)
{
	static const enum dns_type types[] = {DNS_A, DNS_AAAA};
	struct dns_answer answer;
	enum rc rc = FAIL, worst = FAIL;

	*count_ret = 0;
	for (unsigned i = 0; i <= ARRAY_COUNT(types) && !*count_ret; i++) {
		rc = i < ARRAY_COUNT(types) ? dns_query(task, host, types[i], &answer, err)
					    : dns_hosts_file(task, host, &answer, err);
		if (rc == CANCELLED)
			return rc;
		if (rc == DEFER)
			worst = DEFER;
		for (unsigned k = 0; rc == OK && k < answer.count && *count_ret < ADDRESSES_MAX; k++)
			if (answer.records[k].ip.family)
				ips[(*count_ret)++] = answer.records[k].ip;
	}
	if (*count_ret)
		return OK;
	return err_set(err, DEFER, worst == DEFER ? "the DNS did not answer" : "there is no such host");
}

static enum rc connect_any(struct task *task, const struct dovecot_address *to, int *fd_ret, struct err *err)
{
	struct ip_addr ips[ADDRESSES_MAX] = {to->ip};
	unsigned count = 1;
	enum rc rc = OK;

	if (to->path.len)
		return connect_unix(task, to->path, fd_ret, err);
	if (!to->ip.family)
		rc = look_up(task, to->host, ips, &count, err);
	if (rc != OK)
		return rc;
	for (unsigned i = 0; i < count; i++) {
		ips[i].port = to->port;
		rc = connect_tcp(task, &ips[i], NULL, fd_ret, err);
		if (rc == OK || rc == CANCELLED)
			return rc;
	}
	return rc;
}

/* Names of its own are not asked for: it is one service behind one address. */
static enum rc secure(struct task *task, const struct conf *conf, const struct dovecot_address *to,
		      struct stream *stream, struct err *err)
{
	struct tls_settings settings = {
	    .verify_certificates = to->authorities,
	    .crl = SLICE_EMPTY,
	    .ciphers = SLICE_EMPTY,
	    .dhparam = SLICE_EMPTY,
	    .eccurve = SLICE_EMPTY,
	    .name = SLICE_EMPTY,
	    .verify = to->authorities.len ? TLS_VERIFY_MUST : TLS_VERIFY_NONE,
	};
	struct tls_client client = {
	    .settings = &settings,
	    .sni = to->ip.family ? SLICE_EMPTY : to->host,
	    .names = &to->host,
	    .name_count = 1,
	    .session = SLICE_EMPTY,
	    .conf = conf,
	};
	struct tls_session *session;
	enum rc rc = tls_connect(task, stream, &client, &session, err);

	if (rc == OK || rc == CANCELLED)
		return rc;
	if (rc == DEFER && err && !err->text.len)
		return err_set(err, DEFER, "it took too long for TLS");
	err_prefix(err, "TLS");
	return DEFER;
}

enum rc dovecot_dial(struct task *task, const struct conf *conf, const struct dovecot_address *to,
		     struct stream **ret, struct err *err)
{
	struct stream *stream;
	int fd;
	enum rc rc = connect_any(task, to, &fd, err);

	if (rc == CANCELLED)
		return rc;
	if (rc == DEFER && !(err && err->text.len))
		return err_set(err, DEFER, "it took too long to connect");
	if (rc != OK)
		return DEFER;
	rc = stream_new(task->shard, fd, fd, NULL, NULL, &stream, err);
	if (rc != OK) {
		(void)close(fd); /* never used */
		return rc == FAIL ? DEFER : rc;
	}
	if (to->tls)
		rc = secure(task, conf, to, stream, err);
	if (rc != OK) {
		stream_close(stream, false);
		return rc;
	}
	*ret = stream;
	return OK;
}
