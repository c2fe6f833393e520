/* interfaces: which addresses are this host: those that it listens on and those that it is told of. Looked at once,
 * while a configuration is read. */

#include <ifaddrs.h>

#include "options.h"

/* "1.2.3.4", "1.2.3.4.25", "[::1]:25", "::1" */
bool interface_parse(struct slice text, struct ip_addr *ip_ret, struct slice *port_ret)
{
	struct slice address = text;
	ptrdiff_t at;

	*port_ret = SLICE_EMPTY;
	if (slice_eq(text, SLICE("::0")))
		text = SLICE("::");
	if (text.len && text.ptr[0] == '[') {
		at = slice_find(text, ']');
		if (at < 0)
			return false;
		address = slice_sub(text, 1, (size_t)at - 1);
		if (text.len > (size_t)at + 2 && (text.ptr[at + 1] == ':' || text.ptr[at + 1] == '.'))
			*port_ret = slice_from(text, (size_t)at + 2);
		return ip_parse(address, ip_ret);
	}
	if (ip_parse(text, ip_ret))
		return true;
	at = slice_rfind(text, '.');
	if (at <= 0 || !ip_parse(slice_sub(text, 0, (size_t)at), ip_ret))
		return false;
	*port_ret = slice_from(text, (size_t)at + 1);
	return true;
}

static bool is_wildcard(const struct ip_addr *ip)
{
	static const struct ip_addr any;

	return memcmp(ip->bytes, any.bytes, sizeof(any.bytes)) == 0;
}

/* "All": what the kernel says now. An address that comes later is known after a reload. */
static void add_running(struct match_group *group, const struct ifaddrs *running, int family)
{
	for (const struct ifaddrs *i = running; i; i = i->ifa_next) {
		struct ip_addr ip = i->ifa_addr ? ip_from_sockaddr(i->ifa_addr) : (struct ip_addr){0};

		if (ip.family == family)
			group->local[group->local_count++] = ip;
	}
}

static enum rc add_list(struct conf *conf, struct match_group *group, const char *option, struct slice list,
			const struct ifaddrs *running, struct err *err)
{
	struct slice item, port;
	char separator = 0;

	while (list.ptr && list_next(&conf->arena, &list, &separator, &item)) {
		struct ip_addr ip;

		if (!item.len)
			continue;
		if (!interface_parse(item, &ip, &port))
			return err_set(err, FAIL, "%s: \"%.*s\" is not an IP address", option,
				       SLICE_ARG(item));
		if (is_wildcard(&ip))
			add_running(group, running, ip.family);
		else
			group->local[group->local_count++] = ip;
	}
	return OK;
}

static unsigned item_count(struct conf *conf, struct slice list, unsigned running_count)
{
	struct slice item, port;
	char separator = 0;
	unsigned count = 0;

	while (list.ptr && list_next(&conf->arena, &list, &separator, &item)) {
		struct ip_addr ip;

		count += interface_parse(item, &ip, &port) && is_wildcard(&ip) ? running_count : 1;
	}
	return count;
}

enum rc interfaces_read(struct conf *conf, struct match_group *group, struct err *err)
{
	const struct match_options *o = &group->options;
	struct ifaddrs *running = NULL;
	unsigned running_count = 0, count;
	enum rc rc;

	if (getifaddrs(&running) != 0)
		return err_os(err, FAIL, 0, "cannot list the network interfaces");
	for (const struct ifaddrs *i = running; i; i = i->ifa_next)
		running_count++;
	count = item_count(conf, o->local_interfaces, running_count) +
		item_count(conf, o->extra_local_interfaces, running_count);
	group->local_count = 0;
	group->local = arena_array(&conf->arena, struct ip_addr, count ? count : 1);
	rc = group->local ? OK : err_memory(err);
	if (rc == OK)
		rc = add_list(conf, group, "local_interfaces", o->local_interfaces, running, err);
	if (rc == OK)
		rc = add_list(conf, group, "extra_local_interfaces", o->extra_local_interfaces, running, err);
	freeifaddrs(running);
	return rc;
}

bool host_is_local(const struct conf *conf, const struct ip_addr *ip)
{
	const struct match_group *group = conf ? conf_group(conf, CONF_MATCH) : NULL;

	if (!group)
		return ip_is_loopback(ip);
	for (unsigned i = 0; i < group->local_count; i++) {
		if (ip_eq(&group->local[i], ip))
			return true;
	}
	return false;
}
