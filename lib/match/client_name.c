/* client_name: the name of the scope's client, looked up once, and whether its HELO belongs to it. */

#include "list.h"

enum rc client_host_name(struct scope *sc, struct err *err)
{
	struct client *client = sc->client;
	struct slice *names;
	unsigned count;
	enum rc rc;

	if (!client || client->ip.family == 0)
		return FAIL;
	if (client->host_name.len)
		return OK;
	if (client->host_lookup_done)
		return client->host_lookup_deferred ? DEFER : FAIL;
	rc = host_names_find(sc, client->arena, &client->ip, &names, &count, &client->host_name_secure, err);
	if (rc == CANCELLED)
		return rc;
	client->host_lookup_done = true;
	client->host_lookup_deferred = rc == DEFER;
	client->host_lookup_failed = rc == FAIL;
	if (rc == FAIL && log_wants(sc->conf, LOG_HOST_LOOKUP_FAILED)) {
		char text[IP_TEXT_MAX];
		struct slice ip = ip_format(&client->ip, text);

		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, NULL,
			   "no host name found for IP address %.*s", SLICE_ARG(ip));
	}
	if (rc != OK)
		return rc;
	client->host_name = names[0];
	client->host_aliases = names + 1;
	client->host_alias_count = count - 1;
	return OK;
}

static bool helo_is_name(const struct client *client)
{
	if (slice_eq_nocase(client->helo, client->host_name))
		return true;
	for (unsigned i = 0; i < client->host_alias_count; i++) {
		if (slice_eq_nocase(client->helo, client->host_aliases[i]))
			return true;
	}
	return false;
}

/* "[1.2.3.4]", "[IPv6:...]" (RFC 5321 section 4.1.3). */
static bool helo_literal(struct slice helo, struct ip_addr *ip_ret)
{
	if (helo.len < 3 || helo.ptr[0] != '[' || helo.ptr[helo.len - 1] != ']')
		return false;
	helo = slice_sub(helo, 1, helo.len - 2u);
	if (slice_starts_nocase(helo, SLICE("IPv6:")))
		helo = slice_from(helo, 5);
	return ip_parse(helo, ip_ret);
}

enum rc client_helo_verify(struct scope *sc, struct err *err)
{
	struct client *client = sc->client;
	struct ip_addr ip;
	enum rc rc, name_rc;
	bool secure = false;

	if (!client || client->ip.family == 0)
		return OK; /* a local submission has nothing to prove */
	if (client->helo_verified)
		return OK;
	if (client->helo_verify_failed)
		return FAIL;
	if (!client->helo.len) {
		rc = FAIL;
	} else if (helo_literal(client->helo, &ip)) {
		rc = ip_eq(&ip, &client->ip) ? OK : FAIL;
	} else {
		name_rc = client_host_name(sc, err);
		if (name_rc == CANCELLED)
			return name_rc;
		rc = name_rc == OK && helo_is_name(client) ? OK : FAIL;
		secure = client->host_name_secure;
		if (rc == FAIL && domain_valid(client->helo, false))
			rc = host_name_in_dns(sc, client->helo, &client->ip, &secure, err);
		if (rc == FAIL && name_rc == DEFER)
			rc = DEFER; /* the name that we could not find might have been it */
	}
	if (rc == CANCELLED || rc == DEFER)
		return rc;
	client->helo_verified = rc == OK;
	client->helo_secure = secure;
	client->helo_verify_failed = rc == FAIL;
	return rc;
}
