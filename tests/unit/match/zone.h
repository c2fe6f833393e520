/* A name server on loopback that answers from a table, UDP only, in a thread of its own. What is not in the
 * table does not exist. */
#ifndef MATCH_ZONE_H
#define MATCH_ZONE_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns/dns.h"
#include "dns/wire.h"

struct zone_record {
	const char *name;
	enum dns_type type;
	const char *value; /* as in a zone file; "SERVFAIL": the server fails */
};
struct zone {
	const struct zone_record *records;
	size_t count;
	int fd, stop[2];
	pthread_t thread;
	char address[40]; /* for dns_options.servers */
};

static inline size_t zone_name(uint8_t *out, const char *name)
{
	uint8_t *at = out;

	while (*name && strcmp(name, ".") != 0) {
		size_t len = strcspn(name, ".");

		*at++ = (uint8_t)len;
		memcpy(at, name, len);
		at += len;
		name += len + (name[len] == '.');
	}
	*at++ = 0;
	return (size_t)(at - out);
}

static inline size_t zone_value(uint8_t *out, enum dns_type type, const char *value)
{
	unsigned n[3];
	char host[200];

	switch (type) {
	case DNS_A:
		return inet_pton(AF_INET, value, out) == 1 ? 4 : 0;
	case DNS_AAAA:
		return inet_pton(AF_INET6, value, out) == 1 ? 16 : 0;
	case DNS_MX:
		ASSERT(sscanf(value, "%u %199s", &n[0], host) == 2);
		out[0] = (uint8_t)(n[0] >> 8);
		out[1] = (uint8_t)n[0];
		return 2 + zone_name(out + 2, host);
	case DNS_SRV:
		ASSERT(sscanf(value, "%u %u %u %199s", &n[0], &n[1], &n[2], host) == 4);
		for (unsigned i = 0; i < 3; i++) {
			out[2 * i] = (uint8_t)(n[i] >> 8);
			out[2 * i + 1] = (uint8_t)n[i];
		}
		return 6 + zone_name(out + 6, host);
	case DNS_TXT: { /* strings divided by "|" */
		size_t at = 0;

		while (*value) {
			size_t len = strcspn(value, "|");

			out[at++] = (uint8_t)len;
			memcpy(out + at, value, len);
			at += len;
			value += len + (value[len] == '|');
		}
		return at;
	}
	default:
		return zone_name(out, value);
	}
}

static inline void zone_answer(struct zone *z)
{
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint8_t query[600], r[4096], asked[256];
	size_t end, len;
	struct wire_name name;
	ssize_t got = recvfrom(z->fd, query, sizeof(query), 0, (struct sockaddr *)&from, &from_len);
	uint16_t type;
	bool exists = false;

	if (got < WIRE_HEADER_SIZE || !wire_name_read(query, (size_t)got, WIRE_HEADER_SIZE, &name, &end))
		return;
	type = (uint16_t)(query[end] << 8 | query[end + 1]);
	len = end + 4;
	memcpy(r, query, len);
	r[2] = 0x81;
	r[3] = 0x80;
	memset(r + 6, 0, 6);
	for (size_t i = 0; i < z->count; i++) {
		size_t n = zone_name(asked, z->records[i].name);

		if (n != name.len || strncasecmp((char *)asked, (char *)name.bytes, n) != 0)
			continue;
		exists = true;
		if (z->records[i].type != type)
			continue;
		if (strcmp(z->records[i].value, "SERVFAIL") == 0) {
			r[3] |= 2;
			break;
		}
		memcpy(r + len, (uint8_t[]){0xc0, 12, (uint8_t)(type >> 8), (uint8_t)type, 0, 1, 0, 0, 1, 44},
		       10);
		n = zone_value(r + len + 12, type, z->records[i].value);
		r[len + 10] = (uint8_t)(n >> 8);
		r[len + 11] = (uint8_t)n;
		len += 12 + n;
		r[7]++;
	}
	if (!exists)
		r[3] |= 3;
	sendto(z->fd, r, len, 0, (struct sockaddr *)&from, from_len);
}

static inline void *zone_run(void *arg)
{
	struct zone *z = arg;
	struct pollfd fds[] = {{z->fd, POLLIN, 0}, {z->stop[0], POLLIN, 0}};

	for (;;) {
		poll(fds, 2, -1);
		if (fds[1].revents)
			return NULL;
		if (fds[0].revents)
			zone_answer(z);
	}
}

static inline void zone_start(struct zone *z, const struct zone_record *records, size_t count)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);

	*z = (struct zone){.records = records, .count = count};
	z->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ASSERT(bind(z->fd, (struct sockaddr *)&sin, sizeof(sin)) == 0);
	ASSERT(getsockname(z->fd, (struct sockaddr *)&sin, &len) == 0);
	snprintf(z->address, sizeof(z->address), "127.0.0.1:%u", ntohs(sin.sin_port));
	ASSERT(pipe(z->stop) == 0);
	ASSERT(pthread_create(&z->thread, NULL, zone_run, z) == 0);
}

static inline void zone_stop(struct zone *z)
{
	close(z->stop[1]);
	pthread_join(z->thread, NULL);
	close(z->stop[0]);
	close(z->fd);
}

#endif
