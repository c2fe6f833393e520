/* A connection through a SOCKS5 proxy (RFC 1928), with a name and a password if it wants them (RFC 1929). The proxies are tried by
 * priority, and by weighted chance among those of the same priority, until one answers: what an answering one says of the host
 * is then what is known of the host. One that cannot be reached or is silent leaves the turn to the next. */
#include "connection.h"

#include <errno.h>
#include <unistd.h>

enum {
	SOCKS_VERSION = 5,
	LOGIN_VERSION = 1, /* of RFC 1929's dialogue */
	METHOD_NONE = 0,
	METHOD_LOGIN = 2,
	COMMAND_CONNECT = 1,
	ADDRESS_IP4 = 1,
	ADDRESS_NAME = 3,
	ADDRESS_IP6 = 4,
};

struct socks {
	struct task *task;
	const struct smtp_proxy *proxy;
	const struct smtp_connect_options *options;
	struct stream *stream;
	bool answered; /* it is a proxy, and has chosen a method */
	struct err *err;
};

static enum rc trouble(struct socks *k, int os, const char *what)
{
	char words[128], address[IP_TEXT_MAX];

	if (!k->err)
		return DEFER;
	(void)err_set(k->err, DEFER, "SOCKS proxy [%s]:%u: %s", ip_format(&k->proxy->address, address).ptr,
		      k->proxy->address.port, what ? what : strerror_r(os, words, sizeof(words)));
	k->err->os = os;
	return DEFER;
}

/* What a stream or a connection that failed means here. */
static enum rc lost(struct socks *k, enum rc rc)
{
	int os = k->err ? k->err->os : 0;

	if (rc == CANCELLED)
		return rc;
	return trouble(k, rc == DEFER ? ETIMEDOUT : os ? os : ECONNRESET, NULL);
}

static enum rc say(struct socks *k, const uint8_t *bytes, size_t len)
{
	enum rc rc = stream_write(k->task, k->stream,
				  (struct slice){(const char *)bytes, (uint32_t)len, CLEAN}, k->err);

	return rc == OK ? OK : lost(k, rc);
}

/* Exactly so many bytes: what follows the proxy's last answer is the SMTP server's. */
static enum rc hear(struct socks *k, uint8_t *bytes, size_t len)
{
	while (len > 0) {
		struct slice in = stream_peek(k->stream);
		size_t part = in.len < len ? in.len : len;

		if (part == 0) {
			enum rc rc = stream_fill(k->task, k->stream, k->err);
			if (rc != OK)
				return lost(k, rc);
			continue;
		}
		memcpy(bytes, in.ptr, part);
		stream_consume(k->stream, part);
		bytes += part;
		len -= part;
	}
	return OK;
}

/* Which method it shall be. Ours is the only one that is offered. */
static enum rc choose_method(struct socks *k)
{
	const uint8_t method = k->proxy->login ? METHOD_LOGIN : METHOD_NONE;
	const uint8_t offer[3] = {SOCKS_VERSION, 1, method};
	uint8_t answer[2];
	enum rc rc = say(k, offer, sizeof(offer));

	if (rc == OK)
		rc = hear(k, answer, sizeof(answer));
	if (rc != OK)
		return rc;
	if (answer[0] != SOCKS_VERSION)
		return trouble(k, EPROTO, "this is no SOCKS5 proxy");
	k->answered = true;
	return answer[1] == method ? OK : trouble(k, EPROTO, "the authentication method is refused");
}

/* RFC 1929. The lengths were checked when the option was read. */
static enum rc log_in(struct socks *k)
{
	const struct slice name = k->proxy->name, password = k->proxy->password;
	uint8_t line[3 + 2 * SMTP_PROXY_WORD_MAX], answer[2], *p = line;
	enum rc rc;

	*p++ = LOGIN_VERSION;
	*p++ = (uint8_t)name.len;
	memcpy(p, name.ptr, name.len);
	p += name.len;
	*p++ = (uint8_t)password.len;
	memcpy(p, password.ptr, password.len);
	p += password.len;
	rc = say(k, line, (size_t)(p - line));
	if (rc == OK)
		rc = hear(k, answer, sizeof(answer));
	if (rc != OK)
		return rc;
	return answer[0] == LOGIN_VERSION && answer[1] == 0 ? OK
							    : trouble(k, EACCES, "authentication failed");
}

/* The reply field of RFC 1928 section 6, as the error that a connection of our own would have met. */
static int error_of(uint8_t reply)
{
	static const int errors[] = {
	    0, EIO, EACCES, ENETUNREACH, EHOSTUNREACH, ECONNREFUSED, ECANCELED, EOPNOTSUPP, EAFNOSUPPORT};

	return reply < ARRAY_COUNT(errors) ? errors[reply] : EPROTO;
}

/* The address that the proxy uses itself: of no interest, but it has to be read to its end. */
static enum rc skip_address(struct socks *k, uint8_t kind)
{
	uint8_t bytes[255 + 2], len;
	enum rc rc = OK;

	switch (kind) {
	case ADDRESS_IP4:
		len = 4;
		break;
	case ADDRESS_IP6:
		len = 16;
		break;
	case ADDRESS_NAME:
		rc = hear(k, &len, 1);
		if (rc != OK)
			return rc;
		break;
	default:
		return trouble(k, EPROTO, "an answer that makes no sense");
	}
	return hear(k, bytes, (size_t)len + 2);
}

static enum rc ask_for_host(struct socks *k)
{
	const struct ip_addr *to = &k->options->to;
	uint8_t line[4 + 16 + 2] = {SOCKS_VERSION, COMMAND_CONNECT, 0,
				    to->family == 4 ? ADDRESS_IP4 : ADDRESS_IP6};
	size_t len = to->family == 4 ? 4 : 16;
	uint8_t answer[4];
	enum rc rc;

	memcpy(line + 4, to->bytes, len);
	line[4 + len] = (uint8_t)(to->port >> 8);
	line[5 + len] = (uint8_t)to->port;
	rc = say(k, line, len + 6);
	if (rc == OK)
		rc = hear(k, answer, sizeof(answer));
	if (rc != OK)
		return rc;
	if (answer[0] != SOCKS_VERSION)
		return trouble(k, EPROTO, "an answer that makes no sense");
	if (answer[1] != 0)
		return trouble(k, error_of(answer[1]), NULL);
	return skip_address(k, answer[3]);
}

/* One proxy: connected to, talked to, and the host asked for. tmo is for getting a first answer from it; how long the host takes
 * is for the transport's connect_timeout. */
static enum rc try_proxy(struct socks *k)
{
	const struct ip_addr *from = &k->options->from;
	uint64_t saved = k->task->until;
	enum rc rc;
	int fd;

	k->stream = NULL;
	if (k->proxy->timeout_ms > 0)
		k->task->until = task_until(k->task, (uint64_t)k->proxy->timeout_ms);
	rc = connect_tcp(k->task, &k->proxy->address, from->family == k->proxy->address.family ? from : NULL,
			 &fd, k->err);
	if (rc == OK) {
		rc = stream_new(k->task->shard, fd, fd, NULL, NULL, &k->stream, k->err);
		if (rc != OK)
			(void)close(fd); /* never used */
		else
			rc = choose_method(k);
	} else {
		rc = lost(k, rc);
	}
	k->task->until = saved;
	if (rc == OK && k->proxy->login)
		rc = log_in(k);
	if (rc == OK)
		rc = ask_for_host(k);
	if (rc != OK && k->stream)
		stream_close(k->stream, true);
	return rc == FAIL ? DEFER : rc;
}

/* Of those that have not had their turn, one of the highest priority, by chance and weight. NULL: all had. */
static const struct smtp_proxy *next_proxy(struct shard *shard, const struct smtp_connect_options *options,
					   uint64_t tried)
{
	uint64_t weight = 0, at;
	unsigned priority = 0;

	for (unsigned i = 0; i < options->proxy_count; i++) {
		const struct smtp_proxy *p = &options->proxies[i];

		if ((tried >> i & 1) || (weight && p->priority < priority))
			continue;
		if (p->priority > priority)
			weight = 0;
		priority = p->priority;
		weight += p->weight + 1ull; /* one of weight 0 has its turn as well, late */
	}
	if (!weight)
		return NULL;
	shard_random(shard, &at, sizeof(at));
	at %= weight;
	for (unsigned i = 0; i < options->proxy_count; i++) {
		const struct smtp_proxy *p = &options->proxies[i];

		if ((tried >> i & 1) || p->priority != priority)
			continue;
		if (at <= p->weight)
			return p;
		at -= p->weight + 1ull;
	}
	return NULL; /* not reached: the weights add up */
}

enum rc socks_connect(struct task *task, const struct smtp_connect_options *options,
		      struct stream **stream_ret, struct ip_addr *proxy_ret, struct err *err)
{
	struct socks k = {.task = task, .options = options, .err = err};
	enum rc rc = err_set(err, DEFER, "no SOCKS proxy"); /* what a list without an item comes to */
	uint64_t tried = 0;

	while (!k.answered && rc == DEFER) {
		k.proxy = next_proxy(task->shard, options, tried);
		if (!k.proxy)
			break;
		tried |= 1ull << (k.proxy - options->proxies);
		rc = try_proxy(&k);
	}
	if (rc != OK)
		return rc;
	*stream_ret = k.stream;
	*proxy_ret = k.proxy->address;
	return OK;
}
