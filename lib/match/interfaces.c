/* interfaces: the addresses of this host, looked at once while a configuration is read. */

#include <ifaddrs.h>

#include "options.h"

enum rc interfaces_read(struct conf *conf, struct match_group *group, struct err *err)
{
	struct slice extra =
	    group->options.extra_local_interfaces.ptr ? group->options.extra_local_interfaces : SLICE_EMPTY;
	struct ifaddrs *all = NULL;
	struct slice item, rest;
	unsigned count = 0;
	char separator = 0;

	if (getifaddrs(&all) != 0)
		return err_os(err, FAIL, 0, "cannot list the network interfaces");
	for (struct ifaddrs *i = all; i; i = i->ifa_next)
		count++;
	for (rest = extra; list_next(&conf->arena, &rest, &separator, &item);)
		count++;
	group->local = arena_array(&conf->arena, struct ip_addr, count ? count : 1);
	if (!group->local) {
		freeifaddrs(all);
		return err_memory(err);
	}
	group->local_count = 0;
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct ip_addr ip = i->ifa_addr ? ip_from_sockaddr(i->ifa_addr) : (struct ip_addr){0};

		if (ip.family)
			group->local[group->local_count++] = ip;
	}
	freeifaddrs(all);
	separator = 0;
	for (rest = extra; list_next(&conf->arena, &rest, &separator, &item);) {
		if (!ip_parse(item, &group->local[group->local_count]))
			return err_set(err, FAIL, "extra_local_interfaces: \"%.*s\" is not an IP address",
				       SLICE_ARG(item));
		group->local_count++;
	}
	return OK;
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
