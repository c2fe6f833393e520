#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/str.h"

/* An IP address with an optional port, 20 bytes. IPv4-mapped IPv6 is stored as IPv4. */
struct ip_addr {
	uint8_t family; /* 0: none, 4 or 6 */
	uint16_t port;  /* host order; 0: none */
	uint8_t bytes[16];
};

#define IP_TEXT_MAX 46

/* Dotted quad, or IPv6 text with an optional zone that is refused; no brackets, no port. */
bool ip_parse(struct slice text, struct ip_addr *ip_ret);
/* "1.2.3.4", "2001:db8::1" (RFC 5952), NUL-terminated into text_ret, which has IP_TEXT_MAX bytes. */
struct slice ip_format(const struct ip_addr *ip, char *text_ret);
void str_add_ip(struct str *str, const struct ip_addr *ip);
/* "1.2.3.0/24" or a bare address; bits_ret is 32 or 128 then. Bits below the mask may be set. */
bool cidr_parse(struct slice text, struct ip_addr *ip_ret, unsigned *bits_ret);
bool ip_in_cidr(const struct ip_addr *ip, const struct ip_addr *net, unsigned bits);
bool ip_eq(const struct ip_addr *a, const struct ip_addr *b); /* the port does not count */
bool ip_is_loopback(const struct ip_addr *ip);

/* Returns the length of what was written to *storage_ret. */
socklen_t ip_to_sockaddr(const struct ip_addr *ip, struct sockaddr_storage *storage_ret);
/* family 0 for anything that is neither AF_INET nor AF_INET6. */
struct ip_addr ip_from_sockaddr(const struct sockaddr *sa);

#endif
