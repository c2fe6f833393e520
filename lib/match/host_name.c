/* host_name: names of addresses and addresses of names: what host lists, $sender_host_name and the check of
 * HELO stand on. A name counts only when it leads back to the address that it was found for. */

#include "state.h"

#define NAMES_MAX \
	10 /* PTR records that are followed: an address with hundreds of them costs no hundreds of queries \
	    */

/* Has the name this address, in the eyes of one source? *exists: it has any at all. */
typedef enum rc host_name_source(struct scope *sc, struct slice name, const struct ip_addr *ip, bool *exists,
				 struct err *err);

static bool answer_has(const struct dns_answer *answer, const struct ip_addr *ip)
{
	for (unsigned i = 0; i < answer->count; i++) {
		if (ip_eq(&answer->records[i].ip, ip))
			return true;
	}
	return false;
}

static enum rc by_dns(struct scope *sc, struct slice name, const struct ip_addr *ip, bool *exists,
		      struct err *err)
{
	enum dns_type wanted = ip->family == 6 ? DNS_AAAA : DNS_A, other = ip->family == 6 ? DNS_A : DNS_AAAA;
	struct dns_answer answer;
	enum rc rc;

	rc = lookup_dns_query(sc, name, wanted, &answer, err);
	if (rc == OK) {
		*exists = true;
		return answer_has(&answer, ip) ? OK : FAIL;
	}
	if (rc != FAIL || answer.nxdomain)
		return rc;
	/* No address of this family: it makes a difference whether the name has others. */
	rc = lookup_dns_query(sc, name, other, &answer, err);
	if (rc == OK)
		*exists = true;
	return rc == OK ? FAIL : rc;
}

enum rc host_name_in_dns(struct scope *sc, struct slice name, const struct ip_addr *ip, bool *secure_ret,
			 struct err *err)
{
	struct dns_answer answer;
	bool exists = false;
	enum rc rc = by_dns(sc, name, ip, &exists, err);

	*secure_ret = rc == OK &&
		      lookup_dns_query(sc, name, ip->family == 4 ? DNS_A : DNS_AAAA, &answer, err) == OK &&
		      answer.authentic; /* from the cache */
	return rc;
}

enum rc host_name_has_ip(struct scope *sc, struct slice name, const struct ip_addr *ip, bool *exists_ret,
			 struct err *err)
{
	bool local = slice_find(name, '.') < 0; /* "localhost" and its like are known here, not in the DNS */
	enum rc rc, system_rc;

	*exists_ret = false;
	if (local) {
		rc = system_host_has_ip(sc, name, ip, exists_ret, err);
		return rc == FAIL && !*exists_ret ? by_dns(sc, name, ip, exists_ret, err) : rc;
	}
	rc = by_dns(sc, name, ip, exists_ret, err);
	if (rc == OK || rc == CANCELLED || *exists_ret)
		return rc;
	system_rc = system_host_has_ip(sc, name, ip, exists_ret, err);
	if (system_rc == OK || system_rc == CANCELLED || *exists_ret)
		return system_rc;
	return rc == DEFER ? rc : system_rc;
}

/* ---- From address to names -------------------------------------------------------------- */

struct names {
	struct arena *arena;
	struct slice items[NAMES_MAX];
	unsigned count;
	bool deferred;
	bool secure; /* what was found so far stands on answers that DNSSEC proves */
};

static bool name_add(struct names *names, struct slice name)
{
	char *bytes;

	for (unsigned i = 0; i < names->count; i++) {
		if (slice_eq_nocase(names->items[i], name))
			return true;
	}
	if (names->count == NAMES_MAX)
		return true;
	bytes = arena_bytes(names->arena, name.len + 1u);
	if (!bytes)
		return false;
	for (uint32_t i = 0; i < name.len; i++)
		bytes[i] = ascii_lower(name.ptr[i]);
	names->items[names->count++] = slice_make(bytes, name.len, TAINTED);
	return true;
}

/* Takes the name if it leads back, as told by the source it came from. A stranger's PTR record shall not make
 * us ask the system, which takes a helper thread each time. */
static enum rc name_confirm(struct scope *sc, struct names *names, struct slice name,
			    const struct ip_addr *ip, host_name_source *source, struct err *err)
{
	bool exists = false;
	enum rc rc;

	/* What stands in the DNS is anybody's text; only what can be a host's name goes on. */
	if (!domain_valid(name, false))
		return FAIL;
	rc = source(sc, name, ip, &exists, err);
	if (rc == CANCELLED)
		return rc;
	names->deferred |= rc == DEFER;
	if (rc == OK && !name_add(names, name))
		return err_memory(err);
	/* The answer is in the cache. */
	if (rc == OK && names->secure && source == by_dns) {
		struct dns_answer answer;

		names->secure =
		    lookup_dns_query(sc, name, ip->family == 6 ? DNS_AAAA : DNS_A, &answer, err) == OK &&
		    answer.authentic;
	}
	return rc;
}

static enum rc names_by_dns(struct scope *sc, struct names *names, const struct ip_addr *ip, struct err *err)
{
	struct slice reverse = dns_reverse_name(sc->task->arena, ip, SLICE_EMPTY);
	struct dns_answer answer;
	enum rc rc;

	if (!reverse.ptr)
		return err_memory(err);
	rc = lookup_dns_query(sc, reverse, DNS_PTR, &answer, err);
	if (rc != OK) {
		names->deferred |= rc == DEFER;
		return rc;
	}
	names->secure = answer.authentic;
	for (unsigned i = 0; i < answer.count && i < NAMES_MAX; i++) {
		rc = name_confirm(sc, names, answer.records[i].name, ip, by_dns, err);
		if (rc == CANCELLED)
			return rc;
	}
	return names->count ? OK : FAIL;
}

static enum rc names_by_system(struct scope *sc, struct names *names, const struct ip_addr *ip,
			       struct err *err)
{
	struct dns_answer answer;
	enum rc rc = dns_hosts_by_address(sc->task, ip, &answer, err);

	if (rc != OK) {
		names->deferred |= rc == DEFER;
		return rc;
	}
	for (unsigned i = 0; i < answer.count && i < NAMES_MAX; i++) {
		rc = name_confirm(sc, names, answer.records[i].name, ip, system_host_has_ip, err);
		if (rc == CANCELLED)
			return rc;
	}
	return names->count ? OK : FAIL;
}

static __attribute__((cold)) void tell_names(const struct ip_addr *ip, const struct names *names)
{
	char text[IP_TEXT_MAX];

	debug_say("looking up host name for %.*s: %s", SLICE_ARG(ip_format(ip, text)),
		  names->count      ? "found"
		  : names->deferred ? "deferred"
				    : "none that leads back");
	for (unsigned i = 0; i < names->count; i++)
		debug_say("  %.*s", SLICE_ARG(names->items[i]));
}

enum rc host_names_find(struct scope *sc, struct arena *arena, const struct ip_addr *ip,
			struct slice **names_ret, unsigned *count_ret, bool *secure_ret, struct err *err)
{
	const struct match_options *options = sc->conf ? conf_group(sc->conf, CONF_MATCH) : NULL;
	struct slice order =
	    options && options->host_lookup_order.ptr ? options->host_lookup_order : SLICE("bydns:byaddr");
	struct names names = {.arena = arena};
	struct slice how;
	char separator = 0;
	enum rc rc = FAIL;

	while (!names.count && rc != CANCELLED && list_next(sc->task->arena, &order, &separator, &how)) {
		names.secure = false;
		if (slice_eq_nocase(how, SLICE("bydns")))
			rc = names_by_dns(sc, &names, ip, err);
		else if (slice_eq_nocase(how, SLICE("byaddr")))
			rc = names_by_system(sc, &names, ip, err);
	}
	if (debug_on(DEBUG_CHECK(DEBUG_HOST_LOOKUP)))
		tell_names(ip, &names);
	if (rc == CANCELLED)
		return rc;
	if (!names.count)
		return names.deferred ? DEFER : FAIL;
	*names_ret = arena_array(arena, struct slice, names.count);
	if (!*names_ret)
		return err_memory(err);
	memcpy(*names_ret, names.items, names.count * sizeof(*names.items));
	*count_ret = names.count;
	if (secure_ret)
		*secure_ret = names.secure;
	return OK;
}
