#include "base/base.h"

#include <arpa/inet.h>

static void unmap(struct ip_addr *ip)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	if (ip->family == 6 && memcmp(ip->bytes, mapped, 12) == 0) {
		ip->family = 4;
		memmove(ip->bytes, ip->bytes + 12, 4);
		memset(ip->bytes + 4, 0, 12);
	}
}

bool ip_parse(struct slice text, struct ip_addr *ip_ret)
{
	char z[IP_TEXT_MAX];
	struct ip_addr ip = {0};

	if (text.len == 0 || text.len >= sizeof(z) || slice_find(text, 0) >= 0)
		return false;
	memcpy(z, text.ptr, text.len);
	z[text.len] = 0;
	if (inet_pton(AF_INET, z, ip.bytes) == 1) {
		ip.family = 4;
	} else if (inet_pton(AF_INET6, z, ip.bytes) == 1) {
		ip.family = 6;
		unmap(&ip);
	} else {
		return false;
	}
	*ip_ret = ip;
	return true;
}

struct slice ip_format(const struct ip_addr *ip, char *text_ret)
{
	char *out = text_ret;

	/* The C library prints a dotted quad through printf(); every message has some. */
	for (unsigned i = 0; ip->family == 4 && i < 4; i++) {
		unsigned byte = ip->bytes[i];
		if (byte >= 100)
			*out++ = (char)('0' + byte / 100);
		if (byte >= 10)
			*out++ = (char)('0' + byte / 10 % 10);
		*out++ = (char)('0' + byte % 10);
		*out++ = i < 3 ? '.' : 0;
	}
	if (ip->family == 4)
		return slice_make(text_ret, (size_t)(out - text_ret - 1), CLEAN);
	text_ret[0] = 0;
	if (ip->family)
		(void)inet_ntop(AF_INET6, ip->bytes, text_ret, IP_TEXT_MAX);
	return slice_of(text_ret);
}

void str_add_ip(struct str *str, const struct ip_addr *ip)
{
	char text[IP_TEXT_MAX];

	str_add(str, ip_format(ip, text));
}

bool cidr_parse(struct slice text, struct ip_addr *ip_ret, unsigned *bits_ret)
{
	ptrdiff_t slash = slice_find(text, '/');
	struct ip_addr ip;
	uint64_t bits = 0;

	if (!ip_parse(slash < 0 ? text : slice_sub(text, 0, (size_t)slash), &ip))
		return false;
	bits = ip.family == 4 ? 32 : 128;
	if (slash >= 0) {
		uint64_t given;
		if (!parse_u64(slice_from(text, (size_t)slash + 1), &given) || given > bits)
			return false;
		bits = given;
	}
	*ip_ret = ip;
	*bits_ret = (unsigned)bits;
	return true;
}

bool ip_in_cidr(const struct ip_addr *ip, const struct ip_addr *net, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (ip->family != net->family || memcmp(ip->bytes, net->bytes, whole) != 0)
		return false;
	return !rest || (ip->bytes[whole] ^ net->bytes[whole]) >> (8 - rest) == 0;
}

bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, 16) == 0;
}

bool ip_is_loopback(const struct ip_addr *ip)
{
	static const uint8_t one[16] = {[15] = 1};

	return ip->family == 4 ? ip->bytes[0] == 127 : ip->family == 6 && memcmp(ip->bytes, one, 16) == 0;
}

socklen_t ip_to_sockaddr(const struct ip_addr *ip, struct sockaddr_storage *storage_ret)
{
	memset(storage_ret, 0, sizeof(*storage_ret));
	if (ip->family == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)storage_ret;
		in->sin_family = AF_INET;
		in->sin_port = htons(ip->port);
		memcpy(&in->sin_addr, ip->bytes, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)storage_ret;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(ip->port);
	memcpy(&in6->sin6_addr, ip->bytes, 16);
	return sizeof(*in6);
}

struct ip_addr ip_from_sockaddr(const struct sockaddr *sa)
{
	struct ip_addr ip = {0};

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
		ip.family = 4;
		ip.port = ntohs(in->sin_port);
		memcpy(ip.bytes, &in->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
		ip.family = 6;
		ip.port = ntohs(in6->sin6_port);
		memcpy(ip.bytes, &in6->sin6_addr, 16);
		unmap(&ip);
	}
	return ip;
}
