/* host: what items of host lists mean (specification, chapter 10, sections 10 to 19). */

#include "list.h"

/* The address as key of "net-" lookups: IPv6 in full, with dots, since colons end keys in lsearch files;
 * iplsearch wants colons. Masked to bits, the mask follows; bits 0: the whole address, without one. */
static struct slice net_key(struct arena *arena, const struct ip_addr *ip, unsigned bits, bool colons)
{
	struct str key = str_make(arena);
	struct ip_addr net = *ip;
	unsigned bits_max = ip->family == 4 ? 32 : 128, used = bits == 0 || bits > bits_max ? bits_max : bits;

	for (unsigned i = 0; i < bits_max; i++) {
		if (i >= used)
			net.bytes[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	}
	if (ip->family == 4)
		str_printf(&key, "%u.%u.%u.%u", net.bytes[0], net.bytes[1], net.bytes[2], net.bytes[3]);
	for (unsigned i = 0; ip->family == 6 && i < 16; i += 2)
		str_printf(&key, "%s%02x%02x",
			   i == 0   ? ""
			   : colons ? ":"
				    : ".",
			   net.bytes[i], net.bytes[i + 1]);
	if (bits)
		str_printf(&key, "/%u", used);
	return str_slice(&key);
}

static enum rc net_lookup(struct matching *m, const struct entry *entry)
{
	const struct lookup_spec *spec = &entry->lookup.spec;
	struct slice key;

	key = net_key(m->sc->task->arena, m->ip, spec->net > 0 ? (unsigned)spec->net : 0,
		      slice_eq(slice_of(spec->type->name), SLICE("iplsearch")));
	if (!key.ptr)
		return err_memory(m->err);
	return lookup_find(m->sc, spec, entry->lookup.rest, key, &m->value, NULL, NULL, m->err);
}

/* "192.0.2": no name, and what the system would make of it (192.0.0.2) nobody meant. */
static bool is_number(struct slice name)
{
	for (uint32_t i = 0; i < name.len; i++) {
		if (!ascii_is_digit(name.ptr[i]) && name.ptr[i] != '.')
			return false;
	}
	return true;
}

static void log_no_address(const struct matching *m, struct slice name)
{
	const struct client *client = m->sc->client;
	struct str line = str_make(m->sc->task->arena);

	if (!m->sc->task->shard || !log_wants(m->sc->conf, LOG_HOST_LOOKUP_FAILED))
		return;
	str_printf(&line, "no IP address found for host %.*s", SLICE_ARG(name));
	if (client && client->ip.family) {
		str_addz(&line, " (during SMTP connection from ");
		str_add(&line, client_fullhost(client, m->sc->task->arena,
					       log_wants(m->sc->conf, LOG_INCOMING_PORT)));
		if (client->local.family && log_wants(m->sc->conf, LOG_INCOMING_INTERFACE)) {
			str_addz(&line, " I=[");
			str_add_ip(&line, &client->local);
			str_printf(&line, "]:%u", client->local.port);
		}
		str_addc(&line, ')');
	}
	log_write(m->sc->task->shard, m->sc->conf, LOG_TO_MAIN, NULL, str_slice(&line));
}

/* A name without wildcards stands for its addresses. */
static enum rc name_match(struct matching *m, struct slice name)
{
	const struct conf_main *main = m->sc->conf ? conf_main(m->sc->conf) : NULL;
	bool exists;
	enum rc rc;

	if (m->no_names || is_number(name))
		return RC_UNKNOWN;
	if (slice_eq(name, SLICE("@")) && main)
		name = main->primary_hostname;
	rc = host_name_has_ip(m->sc, name, m->ip, &exists, m->err);
	if (rc != FAIL || exists)
		return rc;
	log_no_address(m, name);
	m->unknown = arena_printf(m->sc->task->arena, "failed to find IP address for %.*s", SLICE_ARG(name));
	return RC_UNKNOWN;
}

static enum rc no_name(struct matching *m, enum rc rc)
{
	char text[IP_TEXT_MAX];

	if (rc == CANCELLED)
		return rc;
	m->unknown = arena_printf(m->sc->task->arena, "failed to find host name for %.*s",
				  SLICE_ARG(ip_format(m->ip, text)));
	return RC_UNKNOWN;
}

/* The names of the host, looked up if need be. RC_UNKNOWN: it has none. A name that cannot be found out just now is
 * none either: Exim sees it so, whatever its manual says, and clients whose reverse DNS is always broken are many. */
static enum rc names_get(struct matching *m, struct slice *first, const struct slice **more,
			 unsigned *more_count)
{
	struct slice *names;
	unsigned count;
	enum rc rc;

	*more = NULL;
	*more_count = 0;
	if (m->no_names)
		return RC_UNKNOWN;
	if (m->client) {
		rc = client_host_name(m->sc, m->err);
		if (rc != OK)
			return no_name(m, rc);
		*first = m->sc->client->host_name;
		*more = m->sc->client->host_aliases;
		*more_count = m->sc->client->host_alias_count;
		return OK;
	}
	if (!m->host_name.ptr || !m->host_name.len) {
		rc = host_names_find(m->sc, m->sc->task->arena, m->ip, &names, &count, NULL, m->err);
		if (rc != OK)
			return no_name(m, rc);
		m->host_name = names[0];
		*more = names + 1;
		*more_count = count - 1;
	}
	*first = m->host_name;
	return OK;
}

static enum rc by_name(struct matching *m, const struct entry *entry)
{
	const struct slice *more;
	struct slice name;
	unsigned count;
	enum rc rc;

	rc = names_get(m, &name, &more, &count);
	if (rc != OK)
		return rc;
	rc = pattern_entry_match(m, entry, name);
	for (unsigned i = 0; rc == FAIL && i < count; i++)
		rc = pattern_entry_match(m, entry, more[i]);
	return rc;
}

static enum rc nets_match(struct matching *m, const struct entry *entry)
{
	uint32_t index = net_set_find(&entry->nets.set, m->ip);

	if (index == NET_NONE)
		return FAIL;
	m->hit = index;
	if (entry->nets.lines)
		m->value = entry->nets.lines[index];
	return OK;
}

enum rc host_entry_match(struct matching *m, const struct entry *entry)
{
	if (entry->kind == ENTRY_ANY)
		return OK;
	if (m->ip->family == 0)
		return entry->kind == ENTRY_EMPTY ? OK : FAIL;
	switch (entry->kind) {
	case ENTRY_NETS:
		return nets_match(m, entry);
	case ENTRY_SELF_IP:
		return host_is_local(m->sc->conf, m->ip) ? OK : FAIL;
	case ENTRY_HOST_NAME:
		return name_match(m, entry->text);
	case ENTRY_LOOKUP:
		if (entry->lookup.spec.type->query)
			return pattern_entry_match(m, entry, SLICE_EMPTY);
		/* match_ip knows no name, so there every lookup is one by address. */
		if (entry->lookup.spec.net >= 0 || m->no_names)
			return net_lookup(m, entry);
		return by_name(m, entry);
	case ENTRY_SUFFIX:
	case ENTRY_REGEX:
	case ENTRY_HOST_TEXT:
		return by_name(m, entry);
	default:
		return FAIL;
	}
}
