/* What is known of a client, and how it is told: $sender_fullhost, $sender_rcvhost. */
#include "message/message.h"

void client_clear(struct client *client)
{
	struct arena *arena = client->arena;

	*client = (struct client){
	    .host_name = SLICE_EMPTY,
	    .helo = SLICE_EMPTY,
	    .ident = SLICE_EMPTY,
	    .authenticated_id = SLICE_EMPTY,
	    .authenticator_name = SLICE_EMPTY,
	    .authenticated_sender = SLICE_EMPTY,
	    .authenticator_pubname = SLICE_EMPTY,
	    .protocol_base = SLICE_EMPTY,
	    .protocol_now = SLICE_EMPTY,
	    .tls_cipher = SLICE_EMPTY,
	    .tls_peerdn = SLICE_EMPTY,
	    .tls_sni = SLICE_EMPTY,
	    .tls_version = SLICE_EMPTY,
	    .tls_cipher_std = SLICE_EMPTY,
	    .tls_ourcert = SLICE_EMPTY,
	    .tls_peercert = SLICE_EMPTY,
	    .active_hostname = SLICE_EMPTY,
	    .login = SLICE_EMPTY,
	    .arena = arena,
	};
}

bool client_is_local(const struct client *client)
{
	return client->ip.family == 0;
}

static void add_address(struct str *str, const struct client *client, bool with_port)
{
	str_addc(str, '[');
	str_add_ip(str, &client->ip);
	str_addc(str, ']');
	if (with_port && client->ip.port) {
		str_addc(str, ':');
		str_addu(str, client->ip.port);
	}
}

/* Is the name given in HELO the client's own address as a literal, or (with a verified name) that name? Then it says
 * nothing new. */
static bool helo_is_address(const struct client *client)
{
	struct slice helo = client->helo;
	struct ip_addr ip;

	if (helo.len < 3 || helo.ptr[0] != '[' || helo.ptr[helo.len - 1] != ']')
		return false;
	helo = slice_sub(helo, 1, helo.len - 2);
	if (slice_starts_nocase(helo, SLICE("IPv6:")))
		helo = slice_from(helo, 5);
	return ip_parse(helo, &ip) && ip_eq(&ip, &client->ip);
}

struct slice client_fullhost(const struct client *client, struct arena *arena, bool with_port)
{
	struct str str = str_make(arena);

	if (client_is_local(client))
		return SLICE_EMPTY;
	str.taint = TAINTED;
	if (client->host_name.len) {
		str_add(&str, client->host_name);
		str_addc(&str, ' ');
		if (client->helo.len && !slice_eq_nocase(client->helo, client->host_name) &&
		    !helo_is_address(client)) {
			str_addc(&str, '(');
			str_add(&str, client->helo);
			str_add(&str, SLICE(") "));
		}
	} else if (client->helo.len) {
		str_addc(&str, '(');
		str_add(&str, client->helo);
		str_add(&str, SLICE(") "));
	}
	add_address(&str, client, with_port);
	return str_slice(&str);
}

struct slice client_rcvhost(const struct client *client, struct arena *arena, bool with_port)
{
	bool port = with_port && client->ip.port;
	bool helo = client->helo.len && !helo_is_address(client) &&
		    !(client->host_name.len && slice_eq_nocase(client->helo, client->host_name));
	struct str str = str_make(arena);

	if (client_is_local(client))
		return SLICE_EMPTY;
	str.taint = TAINTED;
	if (client->host_name.len) {
		str_add(&str, client->host_name);
		/* All three in the parentheses: on a line of its own. */
		str_addz(&str, helo && client->ident.len ? "\n\t(" : " (");
		add_address(&str, client, with_port);
		if (helo) {
			str_add(&str, SLICE(" helo="));
			str_add(&str, client->helo);
		}
		if (client->ident.len) {
			str_add(&str, SLICE(" ident="));
			str_add(&str, client->ident);
		}
		str_addc(&str, ')');
		return str_slice(&str);
	}
	add_address(&str, client, false);
	if (port || helo || client->ident.len) {
		const char *gap = "";

		str_add(&str, SLICE(" ("));
		if (port) {
			str_add(&str, SLICE("port="));
			str_addu(&str, client->ip.port);
			gap = " ";
		}
		if (helo) {
			str_addz(&str, gap);
			str_add(&str, SLICE("helo="));
			str_add(&str, client->helo);
			gap = " ";
		}
		if (client->ident.len) {
			str_addz(&str, gap);
			str_add(&str, SLICE("ident="));
			str_add(&str, client->ident);
		}
		str_addc(&str, ')');
	}
	return str_slice(&str);
}

static bool copy_in_place(struct arena *arena, struct slice *s)
{
	if (!s->ptr)
		return true;
	*s = arena_copy(arena, *s);
	return s->ptr;
}

static bool copy_variables(struct arena *arena, struct acl_variable *from, struct acl_variable **to)
{
	*to = NULL;
	for (; from; from = from->next)
		if (!acl_variable_set(arena, to, from->name, from->value))
			return false;
	return true;
}

struct client *client_copy(struct arena *arena, const struct client *client)
{
	struct client *copy = arena_make(arena, struct client);
	struct slice *aliases;

	if (!copy)
		return NULL;
	*copy = *client;
	copy->arena = arena;
	copy->variables = NULL;
	copy->rates = NULL;
	copy->protocol_now = SLICE_EMPTY;
	copy->acl_m = NULL; /* what is set before there is a message ends with the connection */
	struct slice *strings[] = {
	    &copy->host_name,
	    &copy->helo,
	    &copy->ident,
	    &copy->authenticated_id,
	    &copy->authenticator_name,
	    &copy->authenticated_sender,
	    &copy->authenticator_pubname,
	    &copy->protocol_base,
	    &copy->tls_cipher,
	    &copy->tls_cipher_std,
	    &copy->tls_peerdn,
	    &copy->tls_sni,
	    &copy->tls_version,
	    &copy->tls_ourcert,
	    &copy->tls_peercert,
	    &copy->active_hostname,
	    &copy->login,
	};
	for (size_t i = 0; i < ARRAY_COUNT(strings); i++)
		if (!copy_in_place(arena, strings[i]))
			return NULL;
	if (client->host_alias_count) {
		aliases = arena_array(arena, struct slice, client->host_alias_count);
		if (!aliases)
			return NULL;
		for (unsigned i = 0; i < client->host_alias_count; i++) {
			aliases[i] = client->host_aliases[i];
			if (!copy_in_place(arena, &aliases[i]))
				return NULL;
		}
		copy->host_aliases = aliases;
	}
	return copy_variables(arena, client->acl_c, &copy->acl_c) ? copy : NULL;
}

bool client_variables_move(struct client *client, struct arena *arena)
{
	struct acl_variable *moved;

	if (!copy_variables(arena, client->acl_c, &moved))
		return false;
	client->acl_c = moved;
	return true;
}
