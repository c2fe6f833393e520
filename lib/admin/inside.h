/* inside: what the files of the admin room know of each other. */
#ifndef ADMIN_INSIDE_H
#define ADMIN_INSIDE_H

#include "admin/admin.h"

#define METRICS_LISTEN_MAX 4

struct admin_options {
	const struct expansion *gecos_name, *unknown_login;
	struct slice gecos_pattern, unknown_username;
	const struct regex *gecos; /* derived */
	struct slice metrics_listen;
	struct ip_addr metrics_addresses[METRICS_LISTEN_MAX]; /* derived */
	unsigned metrics_address_count;
};

#endif
