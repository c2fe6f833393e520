/* The iplookup router: an address is sent to a host over UDP or TCP, and what comes back is another address. The hosts are asked
 * on a helper thread, one by one: it is an old protocol of few users, and each answer is one packet. */
#include "routing.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct iplookup {
	struct router router;
	struct slice hosts, protocol, response_pattern;
	const struct expansion *query, *reroute;
	bool optional, tcp;
	const struct regex *pattern;
	int64_t port, timeout;
};

static const struct conf_option iplookup_options[] = {
    OPT_STRING(struct iplookup, hosts, NULL, "hosts to ask"),
    OPT_BOOL(struct iplookup, optional, "no", "pass when nobody answers"),
    OPT_INT(struct iplookup, port, "0", "port to ask at"),
    OPT_STRING(struct iplookup, protocol, "udp", "udp or tcp"),
    OPT_EXPAND(struct iplookup, query, NULL, "what is sent"),
    OPT_EXPAND(struct iplookup, reroute, NULL, "the new address"),
    OPT_STRING(struct iplookup, response_pattern, NULL, "what the answer looks like"),
    OPT_TIME(struct iplookup, timeout, "5s", "for an answer"),
};

static enum rc iplookup_check(struct conf *conf, void *instance, struct err *err)
{
	struct iplookup *l = instance;

	if (l->port <= 0 || l->port > 65535)
		return err_set(err, FAIL, "a port must be specified");
	l->tcp = slice_eq(l->protocol, SLICE("tcp"));
	if (!l->tcp && !slice_eq(l->protocol, SLICE("udp")))
		return err_set(err, FAIL, "protocol not specified as udp or tcp");
	if (!l->hosts.ptr || !l->hosts.len)
		return err_set(err, FAIL, "host(s) must be specified");
	if (l->router.transport)
		return err_set(err, FAIL, "transport must not be specified");
	if (l->timeout < 1 || l->timeout > 3600)
		return err_set(err, FAIL, "timeout must be between 1s and 1h");
	return l->response_pattern.ptr ? regex_compile(&conf->arena, l->response_pattern, 0, &l->pattern, err)
				       : OK;
}

#define ANSWER_SIZE_MAX 4096
#define HOST_MAX        20

/* Heap memory: the fiber may leave while a helper thread waits for a host. */
struct question {
	struct ip_addr hosts[HOST_MAX];
	unsigned host_count;
	bool tcp;
	int timeout_ms;
	char text[ANSWER_SIZE_MAX];
	size_t len;
	char answer[ANSWER_SIZE_MAX];
	ssize_t got; /* -1: nobody answered */
};

static bool wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static bool connect_to(int fd, const struct ip_addr *host, int timeout_ms)
{
	struct sockaddr_storage to;
	socklen_t len = ip_to_sockaddr(host, &to), size = sizeof(int);
	int error = 0;

	if (connect(fd, (struct sockaddr *)&to, len) == 0)
		return true;
	if (errno != EINPROGRESS || !wait_for(fd, POLLOUT, timeout_ms))
		return false;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

static void ask_host(struct question *q, const struct ip_addr *host)
{
	int fd = socket(host->family == 4 ? AF_INET : AF_INET6,
			(q->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	if (connect_to(fd, host, q->timeout_ms) &&
	    send(fd, q->text, q->len, MSG_NOSIGNAL) == (ssize_t)q->len && wait_for(fd, POLLIN, q->timeout_ms))
		q->got = recv(fd, q->answer, sizeof(q->answer), 0);
	if (q->got == 0)
		q->got = -1;
	close(fd);
}

static void ask_all(void *arg)
{
	struct question *q = arg;

	q->got = -1;
	for (unsigned i = 0; i < q->host_count && q->got < 0; i++)
		ask_host(q, &q->hosts[i]);
}

static enum rc find_hosts(struct routing *r, const struct iplookup *l, struct question *q)
{
	struct hosts_query query = {.flags = HOSTS_BY_SYSTEM};
	struct slice list = l->hosts, item;
	char separator = 0;

	while (list_next(routing_arena(r), &list, &separator, &item)) {
		struct host_list found = {.first = NULL};
		struct err ignored = err_make(routing_arena(r));

		if (!item.ptr || !item.len)
			continue;
		/* One that is not known is one that does not answer. */
		switch (hosts_find_name(r->sc, item, (uint16_t)l->port, &query, &found, &ignored)) {
		case HOST_FOUND:
		case HOST_FOUND_LOCAL:
			break;
		default:
			continue;
		}
		for (struct host_item *h = found.first; h && q->host_count < HOST_MAX; h = h->next) {
			q->hosts[q->host_count] = h->ip;
			q->hosts[q->host_count++].port = (uint16_t)l->port;
		}
	}
	return r->sc->task->cancelled ? CANCELLED : OK;
}

/* OK: the answer is in the arena. FAIL: nobody answers. */
static enum rc ask(struct routing *r, const struct iplookup *l, struct slice text, struct slice *answer)
{
	struct question *q = calloc(1, sizeof(*q));
	enum rc rc;

	if (!q)
		return err_memory(r->err);
	if (text.len > sizeof(q->text)) {
		free(q);
		return err_set(r->err, DEFER, "the query is too long");
	}
	memcpy(q->text, text.ptr, text.len);
	q->len = text.len;
	q->tcp = l->tcp;
	q->timeout_ms = (int)l->timeout * 1000;
	rc = find_hosts(r, l, q);
	if (rc != OK) {
		free(q);
		return rc;
	}
	rc = offload_call(r->sc->task, ask_all, q, free, r->err);
	if (rc != OK)
		return rc;
	if (q->got < 0)
		rc = FAIL;
	else
		*answer = arena_copy(routing_arena(r), slice_make(q->answer, (size_t)q->got, TAINTED));
	free(q);
	return rc == OK && !answer->ptr ? err_memory(r->err) : rc;
}

/* Does the answer look as it should? Leaves $0, $1... for reroute. */
static enum rc judge(struct routing *r, const struct iplookup *l, struct slice own, struct slice answer)
{
	struct slice rest = answer, word;
	unsigned count = 1;

	if (l->pattern) {
		enum rc rc = regex_match(l->pattern, answer, r->sc->numeric, ARRAY_COUNT(r->sc->numeric),
					 &count, r->err);
		if (rc != OK)
			return rc;
	} else if (
	    !l->query) { /* the second word is the address again: that the answer is to this question */
		(void)slice_word(&rest, &word);
		if (!slice_eq(slice_trim(rest), own))
			return FAIL;
	}
	r->sc->numeric[0] = answer;
	r->sc->numeric_count = count;
	return OK;
}

static enum route_result to_child(struct routing *r, struct slice text)
{
	struct arena *arena = routing_arena(r);
	struct address_parts parts;

	if (address_parse(arena, text, 0, &parts, r->err) != OK || !parts.domain.len)
		return route_say(r, ROUTE_DEFER, "reroute string \"%.*s\" is not of the form user@domain",
				 SLICE_ARG(text));
	return router_reroute(r, slice_tainted(parts.full));
}

static enum route_result iplookup_route(struct routing *r)
{
	const struct iplookup *l = (const struct iplookup *)r->router;
	struct slice own = arena_printf(routing_arena(r), "%.*s@%.*s", SLICE_ARG(r->address->local_part),
					SLICE_ARG(r->address->domain));
	struct slice text = arena_printf(routing_arena(r), "%.*s %.*s", SLICE_ARG(own), SLICE_ARG(own));
	struct slice answer, word;
	enum rc rc = own.ptr && text.ptr ? OK : err_memory(r->err);

	if (rc == OK && l->query)
		rc = expand(r->sc, l->query, &text, r->err);
	if (rc != OK)
		return route_say_err(r, ROUTE_DEFER, "query");
	rc = ask(r, l, text, &answer);
	if (rc == FAIL)
		return l->optional ? ROUTE_PASS
				   : route_say(r, ROUTE_DEFER, "failed to get any response from %.*s",
					       SLICE_ARG(l->hosts));
	if (rc != OK)
		return route_say_err(r, ROUTE_DEFER, "iplookup");
	rc = judge(r, l, own, answer);
	if (rc != OK)
		return rc == FAIL ? ROUTE_DECLINE : route_say_err(r, ROUTE_DEFER, "response_pattern");
	word = answer;
	if (l->reroute)
		rc = expand(r->sc, l->reroute, &word, r->err);
	else if (!slice_word(&answer, &word))
		word = SLICE_EMPTY;
	if (rc != OK)
		return route_say_err(r, ROUTE_DEFER, "reroute");
	return to_child(r, slice_trim(word));
}

static const struct router_ops iplookup_ops = {.route = iplookup_route};
const struct conf_driver router_iplookup_driver = {
    .name = "iplookup",
    .size = sizeof(struct iplookup),
    .options = iplookup_options,
    .option_count = ARRAY_COUNT(iplookup_options),
    .check = iplookup_check,
    .ops = &iplookup_ops,
};
