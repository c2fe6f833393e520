/* inside: what the files of the admin room know of each other. */
#ifndef ADMIN_INSIDE_H
#define ADMIN_INSIDE_H

#include "admin/admin.h"

struct admin_options {
	const struct expansion *gecos_name, *unknown_login;
	struct slice gecos_pattern, unknown_username;
	const struct regex *gecos; /* derived */
};

#endif
