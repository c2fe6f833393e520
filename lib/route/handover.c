/* What happens when a router takes an address: where errors go, which headers change, which transport, under whose id. */
#include "routing.h"

bool transport_is_remote(const struct transport *transport)
{
	const struct conf_instance *instance =
	    (const struct conf_instance *)transport; /* its head, by contract */

	return transport && strcmp(instance->driver->name, "smtp") == 0;
}

/* Does mail to this errors_to have somewhere to go? Asked with an empty sender, as the bounce will be. */
static bool errors_to_verifies(struct routing *r, struct slice address)
{
	struct scope sc = *r->sc;
	struct route_output out;
	struct err err = err_make(routing_arena(r));

	if (sc.depth > 10)
		return false;
	sc.depth++;
	sc.sender = SLICE_EMPTY;
	sc.address = NULL;
	sc.router = NULL;
	sc.verify_mode = VERIFY_RECIPIENT;
	return verify_address(&sc, address, false, NULL, NULL, &out, &err) == OK;
}

bool router_set_errors_to(struct routing *r, struct slice *errors_to)
{
	struct slice value;
	struct address_parts parts;
	enum rc rc;

	if (!r->router->errors_to)
		return true;
	rc = expand(r->sc, r->router->errors_to, &value, r->err);
	if (rc == FAIL && r->err->forced)
		return true;
	if (rc != OK) {
		(void)route_say_err(r, ROUTE_DEFER, "failed to expand \"errors_to\"");
		return false;
	}
	value = slice_trim(value);
	if (value.len == 0 || slice_eq(value, SLICE("<>"))) {
		*errors_to = SLICE_EMPTY;
		return true;
	}
	/* One that is malformed or goes nowhere is no reason to hold the mail: the old one stays. */
	if (address_parse(routing_arena(r), value, 0, &parts, r->err) != OK)
		return true;
	if (!routing_delivers(r) || r->mode == ROUTE_TEST || errors_to_verifies(r, parts.full))
		*errors_to = parts.full;
	return true;
}

/* One of the two header lists; each item is expanded by itself and given to add(). */
static bool header_list(struct routing *r, struct slice list, char separator, const char *name,
			bool (*add)(struct routing *, struct address *, struct slice),
			struct address *address)
{
	struct slice item, value;

	if (!list.ptr)
		return true;
	if (list.len > 1 && list.ptr[0] == '<' && !ascii_is_alnum(list.ptr[1]))
		separator = 0;
	while (list_next(routing_arena(r), &list, &separator, &item)) {
		enum rc rc = item.ptr ? expand_text(r->sc, item, &value, r->err) : err_memory(r->err);

		if (rc == FAIL && r->err->forced)
			continue;
		if (rc != OK) {
			(void)route_say_err(r, ROUTE_DEFER, name);
			return false;
		}
		if (value.len > 0 && !add(r, address, value)) {
			(void)route_say(r, ROUTE_DEFER, "%s: out of memory", name);
			return false;
		}
	}
	return true;
}

static bool add_header(struct routing *r, struct address *address, struct slice text)
{
	struct header *header;

	while (text.len && text.ptr[text.len - 1] == '\n')
		text.len--;
	header = header_make(routing_arena(r), text);
	if (header)
		header_append(&address->headers_add, header);
	return header;
}

static bool remove_header(struct routing *r, struct address *address, struct slice name)
{
	struct str list = str_make(routing_arena(r));

	str_add(&list, address->headers_remove);
	if (list.len)
		str_addc(&list, ':');
	str_add(&list, name);
	address->headers_remove = str_slice(&list);
	return address->headers_remove.ptr;
}

bool router_set_headers(struct routing *r, struct address *address)
{
	if (!routing_delivers(r))
		return true;
	return header_list(r, r->router->headers_add, '\n', "failed to expand \"headers_add\"", add_header,
			   address) &&
	       header_list(r, r->router->headers_remove, ':', "failed to expand \"headers_remove\"",
			   remove_header, address);
}

bool router_find_transport(struct routing *r, const struct expansion *option, const char *option_name,
			   const struct transport **ret)
{
	struct slice name;

	*ret = NULL;
	if (!option)
		return true;
	if (option == r->router->transport && r->router->transport_fixed) {
		*ret = r->router->transport_fixed;
		return true;
	}
	if (expand(r->sc, option, &name, r->err) != OK) {
		(void)route_say(r, ROUTE_DEFER, "failed to expand \"%s\" in %.*s router: %.*s", option_name,
				SLICE_ARG(r->router->instance.name), SLICE_ARG(r->err->text));
		return false;
	}
	if (name.taint == TAINTED) {
		(void)route_say(r, ROUTE_DEFER,
				"attempt to use tainted value \"%.*s\" for \"%s\" in %.*s router",
				SLICE_ARG(name), option_name, SLICE_ARG(r->router->instance.name));
		return false;
	}
	*ret = conf_instance_find(r->sc->conf, CONF_SECTION_TRANSPORTS, name);
	if (*ret)
		return true;
	r->out->os = ROUTE_SHOW_TRANSPORT;
	(void)route_say(r, ROUTE_DEFER, "%s \"%.*s\" not found in %.*s router", option_name, SLICE_ARG(name),
			SLICE_ARG(r->router->instance.name));
	return false;
}

bool router_set_owner(struct routing *r, struct address *address)
{
	struct user_entry user;
	bool user_set = false, group_set = false;
	uint32_t gid = 0;

	if (user_option(r->sc, r->router->user, &user_set, &user, r->err) != OK ||
	    group_option(r->sc, r->router->group, &group_set, &gid, r->err) != OK) {
		(void)route_say(r, ROUTE_DEFER, "%.*s", SLICE_ARG(r->err->text));
		return false;
	}
	if (!user_set && r->user) {
		user = *r->user;
		user_set = true;
	}
	if (user_set) {
		address->uid = user.uid;
		address->uid_set = true;
		address->gid = user.gid;
		address->gid_set = user.gid != UINT32_MAX;
		address->initgroups = r->router->initgroups;
	}
	if (group_set) {
		address->gid = gid;
		address->gid_set = true;
	}
	return true;
}

/* For a local delivery: transport_home_directory, else the user's own, else what the router ran with. */
bool router_set_directories(struct routing *r, struct address *address)
{
	struct slice value;

	address->home = (struct slice){NULL, 0, CLEAN};
	if (r->user)
		address->home = r->user->home;
	else if (r->router_home.ptr)
		address->home = r->router_home;
	if (r->router->transport_home_directory) {
		struct slice saved = r->address->home;

		r->address->home = r->router_home.ptr ? r->router_home : r->user ? r->user->home : saved;
		if (expand(r->sc, r->router->transport_home_directory, &value, r->err) != OK) {
			(void)route_say_err(r, ROUTE_DEFER, "failed to expand \"transport_home_directory\"");
			return false;
		}
		address->home = value;
	}
	if (r->router->transport_current_directory) {
		if (expand(r->sc, r->router->transport_current_directory, &value, r->err) != OK) {
			(void)route_say_err(r, ROUTE_DEFER,
					    "failed to expand \"transport_current_directory\"");
			return false;
		}
		address->current_directory = value;
	}
	return true;
}

enum route_result router_accept(struct routing *r, struct host_list *hosts, const struct transport *transport)
{
	struct address *address = r->address;

	if (!router_set_errors_to(r, &address->errors_to) || !router_set_headers(r, address))
		return ROUTE_DEFER;
	if (!transport && !router_find_transport(r, r->router->transport, "transport", &transport))
		return ROUTE_DEFER;
	if (!transport && !routing_verifies(r))
		return route_say(r, ROUTE_DEFER, "No transport set by router %.*s",
				 SLICE_ARG(r->router->instance.name));
	address->transport = transport;
	address->hosts = hosts;
	if (transport && !transport_is_remote(transport) &&
	    (!router_set_owner(r, address) || !router_set_directories(r, address)))
		return ROUTE_DEFER;
	return ROUTE_ACCEPT;
}
