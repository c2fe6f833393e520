/* A scripted name server on loopback, UDP and TCP on one port that the kernel chose. The first label of the
 * name says what happens to the question. Runs in a thread of its own; counts what it was asked. */
#ifndef DNS_RESPONDER_H
#define DNS_RESPONDER_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "dns/wire.h"

struct responder {
	pthread_t thread;
	int udp, tcp, stop[2];
	char address[40]; /* for dns_options.servers */
	atomic_uint asked_udp, asked_tcp, port_changes;
	uint16_t port_last;
	atomic_bool open; /* until then questions for "gate" wait */
	uint8_t held[8][600];
	struct sockaddr_in held_from[8];
	size_t held_len[8];
	unsigned held_count;
};

struct reply {
	uint8_t bytes[16384];
	size_t len;
};

static inline void put(struct reply *r, const void *bytes, size_t len)
{
	ASSERT(r->len + len <= sizeof(r->bytes));
	memcpy(r->bytes + r->len, bytes, len);
	r->len += len;
}

/* A record whose owner is the question's name. */
static inline void put_rr(struct reply *r, bool authority, uint16_t type, uint32_t ttl_s, const void *bytes,
			  size_t len)
{
	uint8_t head[12] = {0xc0,
			    12,
			    (uint8_t)(type >> 8),
			    (uint8_t)type,
			    0,
			    1,
			    (uint8_t)(ttl_s >> 24),
			    (uint8_t)(ttl_s >> 16),
			    (uint8_t)(ttl_s >> 8),
			    (uint8_t)ttl_s,
			    (uint8_t)(len >> 8),
			    (uint8_t)len};

	put(r, head, sizeof(head));
	put(r, bytes, len);
	r->bytes[authority ? 9 : 7]++;
}

static inline void put_soa(struct reply *r, uint32_t ttl_s, uint8_t minimum_s)
{
	uint8_t soa[22] = {0};

	soa[21] = minimum_s;
	put_rr(r, true, DNS_SOA, ttl_s, soa, sizeof(soa));
}

/* What the script says to this question; false: nothing at all. */
static inline bool reply_make(const uint8_t *query, size_t len, bool tcp, struct reply *r)
{
	static const uint8_t ip[] = {1, 2, 3, 4};
	struct wire_name name;
	char verb[64] = "";
	size_t end;

	if (len < WIRE_HEADER_SIZE || !wire_name_read(query, len, WIRE_HEADER_SIZE, &name, &end) ||
	    len < end + 4)
		return false;
	memcpy(verb, name.bytes + 1, name.bytes[0]);
	r->len = 0;
	put(r, query, end + 4);
	r->bytes[2] = 0x81;
	r->bytes[3] = 0x80;
	memset(r->bytes + 6, 0, 6);
	if (!strcmp(verb, "silent"))
		return false;
	if (!strcmp(verb, "nx")) {
		r->bytes[3] |= 3;
		put_soa(r, 300, 60);
	} else if (!strcmp(verb, "nodata")) {
		put_soa(r, 300, 60);
	} else if (!strcmp(verb, "nosoa")) {
		r->bytes[3] |= 3;
	} else if (!strcmp(verb, "servfail")) {
		r->bytes[3] |= 2;
	} else if (!strcmp(verb, "refused")) {
		r->bytes[3] |= 5;
	} else if (!strcmp(verb, "formerr") && query[11]) {
		r->bytes[3] |= 1; /* never heard of OPT */
	} else if (!strcmp(verb, "big") && !tcp) {
		r->bytes[2] |= 2; /* TC */
	} else if (!strcmp(verb, "big")) {
		char text[202] = {(char)201};
		memset(text + 1, 'x', 201);
		for (unsigned i = 0; i < 50; i++)
			put_rr(r, false, DNS_TXT, 300, text, sizeof(text));
	} else if (!strcmp(verb, "cut")) {
		put_rr(r, false, DNS_A, 300, ip, 4);
		r->len -= 2;
	} else if (!strcmp(verb,
			   "alias")) { /* aliases that are not followed; each for a name of the same domain */
		put_rr(r, false, DNS_CNAME, 300, "\1a\xc0\x12", 4);
	} else if (!strcmp(verb, "again")) {
		put_rr(r, false, DNS_CNAME, 300, "\5alias\xc0\x12", 8);
	} else if (!strcmp(verb, "loopa")) {
		put_rr(r, false, DNS_CNAME, 300, "\5loopb\xc0\x12", 8);
	} else if (!strcmp(verb, "loopb")) {
		put_rr(r, false, DNS_CNAME, 300, "\5loopa\xc0\x12", 8);
	} else if (!strcmp(verb, "empty")) { /* followed: there is nothing at the end */
		put_rr(r, false, DNS_CNAME, 300, "\5where\xc0\x12", 8);
		put_soa(r, 300, 60);
	} else if (!strcmp(verb, "mx")) {
		put_rr(r, false, DNS_MX, 300, "\0\x1e\1c\xc0\x0c", 6);
		put_rr(r, false, DNS_MX, 200, "\0\x0a\1a\xc0\x0c", 6);
		put_rr(r, false, DNS_MX, 300, "\0\x14\1b\xc0\x0c", 6);
	} else {
		if (!strcmp(verb, "ad"))
			r->bytes[3] |= 0x20;
		put_rr(r, false, DNS_A, !strcmp(verb, "ttl0") ? 0 : !strcmp(verb, "ttl1") ? 1 : 300, ip, 4);
	}
	return true;
}

static inline bool is_verb(const uint8_t *query, const char *verb)
{
	return query[WIRE_HEADER_SIZE] == strlen(verb) &&
	       !memcmp(query + WIRE_HEADER_SIZE + 1, verb, strlen(verb));
}

static inline void responder_udp(struct responder *s)
{
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint8_t query[600];
	struct reply r;
	ssize_t len = recvfrom(s->udp, query, sizeof(query), 0, (struct sockaddr *)&from, &from_len);

	if (len < WIRE_HEADER_SIZE + 5)
		return;
	s->asked_udp++;
	s->port_changes += from.sin_port != s->port_last;
	s->port_last = from.sin_port;
	if (is_verb(query, "gate") && !s->open && s->held_count < 8) {
		memcpy(s->held[s->held_count], query, (size_t)len);
		s->held_from[s->held_count] = from;
		s->held_len[s->held_count++] = (size_t)len;
		return;
	}
	if (!reply_make(query, (size_t)len, false, &r))
		return;
	if (is_verb(query, "liar")) { /* another id, another question, a query; the truth comes last */
		r.bytes[r.len - 4] = 66;
		r.bytes[0] ^= 0x55;
		sendto(s->udp, r.bytes, r.len, 0, (struct sockaddr *)&from, from_len);
		r.bytes[0] ^= 0x55;
		r.bytes[WIRE_HEADER_SIZE + 1] = 'x';
		sendto(s->udp, r.bytes, r.len, 0, (struct sockaddr *)&from, from_len);
		sendto(s->udp, r.bytes, 5, 0, (struct sockaddr *)&from, from_len);
		r.bytes[WIRE_HEADER_SIZE + 1] = 'l';
		r.bytes[r.len - 4] = 1;
	}
	sendto(s->udp, r.bytes, r.len, 0, (struct sockaddr *)&from, from_len);
}

static inline void responder_tcp(struct responder *s)
{
	int fd = accept(s->tcp, NULL, NULL);
	uint8_t head[2], query[600];
	struct reply r;

	if (fd < 0)
		return;
	if (recv(fd, head, 2, MSG_WAITALL) == 2 && wire_u16(head) <= sizeof(query)) {
		ssize_t len = recv(fd, query, wire_u16(head), MSG_WAITALL);
		s->asked_tcp++;
		if (len > 0 && reply_make(query, (size_t)len, true, &r)) {
			uint8_t out[2] = {(uint8_t)(r.len >> 8), (uint8_t)r.len};
			send(fd, out, 2, MSG_NOSIGNAL);
			send(fd, r.bytes, r.len, MSG_NOSIGNAL);
		}
	}
	close(fd);
}

static inline void *responder_run(void *arg)
{
	struct responder *s = arg;
	struct pollfd fds[] = {{s->udp, POLLIN, 0}, {s->tcp, POLLIN, 0}, {s->stop[0], POLLIN, 0}};
	struct reply r;

	for (;;) {
		poll(fds, 3, -1);
		if (fds[0].revents)
			responder_udp(s);
		if (fds[1].revents)
			responder_tcp(s);
		if (fds[2].revents) {
			char c;
			if (read(s->stop[0], &c, 1) != 1)
				return NULL;
			for (unsigned i = 0; i < s->held_count; i++)
				if (reply_make(s->held[i], s->held_len[i], false, &r))
					sendto(s->udp, r.bytes, r.len, 0, (struct sockaddr *)&s->held_from[i],
					       sizeof(s->held_from[i]));
			s->held_count = 0;
		}
	}
}

static inline void responder_start(struct responder *s)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);

	memset(s, 0, sizeof(*s));
	for (unsigned tries = 0;; tries++) { /* the port must be free for both */
		ASSERT(tries < 100);
		sin.sin_port = 0;
		s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ASSERT(bind(s->udp, (struct sockaddr *)&sin, sizeof(sin)) == 0);
		ASSERT(getsockname(s->udp, (struct sockaddr *)&sin, &len) == 0);
		if (bind(s->tcp, (struct sockaddr *)&sin, sizeof(sin)) == 0 && listen(s->tcp, 16) == 0)
			break;
		close(s->udp);
		close(s->tcp);
	}
	snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", ntohs(sin.sin_port));
	ASSERT(pipe(s->stop) == 0);
	ASSERT(pthread_create(&s->thread, NULL, responder_run, s) == 0);
}

/* The held answers go out, and no more are held. */
static inline void responder_open(struct responder *s)
{
	s->open = true;
	ASSERT(write(s->stop[1], "", 1) == 1);
}

static inline void responder_stop(struct responder *s)
{
	close(s->stop[1]);
	pthread_join(s->thread, NULL);
	close(s->stop[0]);
	close(s->udp);
	close(s->tcp);
}

#endif
