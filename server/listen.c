/* listen: where the daemon listens: local_interfaces, daemon_smtp_ports or -oX in words, and the sockets, one a shard and
 * address. */
#include "server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static bool add_address(struct listening *l, struct ip_addr ip, uint16_t port)
{
	ip.port = port;
	for (unsigned i = 0; i < l->address_count; i++)
		if (ip_eq(&l->addresses[i], &ip) && l->addresses[i].port == port)
			return true;
	if (l->address_count == LISTEN_ADDRESSES_MAX) {
		fprintf(stderr, "sluice: more than %d addresses to listen on\n", LISTEN_ADDRESSES_MAX);
		return false;
	}
	l->addresses[l->address_count++] = ip;
	return true;
}

static bool port_number(struct slice text, uint16_t *port_ret)
{
	char name[64];
	struct servent *service;
	uint64_t number;

	if (parse_u64(text, &number)) {
		*port_ret = (uint16_t)number;
		return number < 65536; /* 0: the kernel's choice, for tests */
	}
	snprintf(name, sizeof(name), "%.*s", SLICE_ARG(text));
	service = getservbyname(name, "tcp");
	if (service)
		*port_ret = ntohs((uint16_t)service->s_port);
	else if (strcmp(name, "smtp") == 0)
		*port_ret = 25; /* containers often have no /etc/services */
	else if (strcmp(name, "submission") == 0)
		*port_ret = 587;
	else
		return false;
	return true;
}

bool address_port_parse(struct slice text, struct ip_addr *ip_ret, uint16_t *port_ret)
{
	struct slice port;

	*port_ret = 0;
	return interface_parse(text, ip_ret, &port) && (!port.len || port_number(port, port_ret));
}

static bool where_to_listen(struct listening *l, struct slice interfaces, struct slice ports,
			    struct arena *arena)
{
	struct slice rest = interfaces, item;
	char separator = 0;

	while (list_next(arena, &rest, &separator, &item)) {
		struct slice port_rest = ports, port_text;
		char port_separator = 0;
		struct slice own_port;
		struct ip_addr ip;
		uint16_t port;

		if (!item.len)
			continue;
		if (slice_eq(item, SLICE("::0")))
			item = SLICE("::");
		if (!interface_parse(item, &ip, &own_port) ||
		    (own_port.len && !port_number(own_port, &port))) {
			fprintf(stderr, "sluice: malformed address in local_interfaces: \"%.*s\"\n",
				SLICE_ARG(item));
			return false;
		}
		if (own_port.len) {
			if (!add_address(l, ip, port))
				return false;
			continue;
		}
		while (list_next(arena, &port_rest, &port_separator, &port_text)) {
			if (!port_text.len)
				continue;
			if (!port_number(port_text, &port)) {
				fprintf(stderr, "sluice: TCP port \"%.*s\" is not known\n",
					SLICE_ARG(port_text));
				return false;
			}
			if (!add_address(l, ip, port))
				return false;
		}
	}
	return true;
}

bool listen_addresses(struct conf *conf, const char *instead, struct listening *l)
{
	struct slice interfaces, ports, given = slice_of(instead);
	struct arena *arena = &conf->arena;
	bool whole;

	smtp_listen_options(conf, &interfaces, &ports);
	if (!instead)
		return where_to_listen(l, interfaces, ports, arena);
	whole = slice_find(given, '.') >= 0 || slice_find(given, '[') >= 0;
	return whole ? where_to_listen(l, given, ports, arena) : where_to_listen(l, interfaces, given, arena);
}

/* Another daemon may just be on its way out. This process is nobody's shard yet: it may sleep. */
static bool bind_again(const struct conf *conf, int fd, const struct sockaddr *sa, socklen_t len,
		       const struct ip_addr *ip)
{
	int64_t tries = conf_main(conf)->daemon_startup_retries,
		pause = conf_main(conf)->daemon_startup_sleep;
	char text[IP_TEXT_MAX];

	while (bind(fd, sa, len) < 0) {
		if (errno != EADDRINUSE || tries-- <= 0)
			return false;
		fprintf(stderr, "sluice: [%.*s]:%u is in use by another: trying again in %lld s\n",
			SLICE_ARG(ip_format(ip, text)), ip->port, (long long)pause);
		poll(NULL, 0, (int)(pause > 3600 ? 3600 : pause) * 1000);
	}
	return true;
}

/* The descriptor; -1: told; -2: this host has no such address family, and the other addresses will do. */
static int bind_one(const struct conf *conf, struct ip_addr *ip)
{
	struct sockaddr_storage sa;
	socklen_t len = ip_to_sockaddr(ip, &sa);
	char text[IP_TEXT_MAX];
	int one = 1, fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 && errno == EAFNOSUPPORT)
		return -2;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
	    (ip->family == 6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
	    !bind_again(conf, fd, (struct sockaddr *)&sa, len, ip) ||
	    listen(fd, smtp_listen_backlog(conf)) < 0) {
		if (fd >= 0 && errno == EADDRNOTAVAIL && ip->family == 6) {
			close(fd);
			return -2;
		}
		fprintf(stderr, "sluice: cannot listen on [%.*s]:%u: %s\n", SLICE_ARG(ip_format(ip, text)),
			ip->port, strerror(errno));
		return -1;
	}
	if (!ip->port) {
		/* The kernel's choice holds for the other shards' sockets, too. */
		len = sizeof(sa);
		if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
			ip->port = ip_from_sockaddr((struct sockaddr *)&sa).port;
	}
	return fd;
}

bool listen_bind(const struct conf *conf, unsigned shards, struct listening *l)
{
	l->fds = calloc((size_t)shards * LISTEN_ADDRESSES_MAX, sizeof(int));
	if (!l->fds)
		return false;
	for (unsigned a = 0; a < l->address_count;) {
		l->any_port |= !l->addresses[a].port;
		int first = bind_one(conf, &l->addresses[a]);
		if (first == -1)
			return false;
		if (first == -2) {
			memmove(&l->addresses[a], &l->addresses[a + 1],
				(l->address_count - a - 1) * sizeof(l->addresses[0]));
			l->address_count--;
			continue;
		}
		l->fds[a] = first; /* put in its place below */
		a++;
	}
	/* Shard by shard, as the worker wants them; from the back, so that nothing is overwritten before it was moved. */
	for (unsigned shard = 1; shard < shards; shard++)
		for (unsigned a = 0; a < l->address_count; a++) {
			int fd = bind_one(conf, &l->addresses[a]);
			if (fd < 0)
				return false;
			l->fds[shard * l->address_count + a] = fd;
		}
	return true;
}
