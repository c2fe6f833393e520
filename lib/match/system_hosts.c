/* system_hosts: what the system's own files say of host names, remembered for a while: "localhost" in a host
 * list is asked for with every connection. */

#include "state.h"

#define REMEMBERED_NS  (60 * NS_PER_S)
#define HOST_COUNT_MAX 512 /* names come from the configuration; when there are more, all are forgotten */

struct system_host {
	uint64_t until; /* shard_now() */
	unsigned count; /* 0: there is no such host */
	struct ip_addr *ips;
};

static bool remember(struct match_state *state, struct slice name, const struct dns_answer *answer,
		     uint64_t until)
{
	struct system_host *host;
	unsigned count = answer ? answer->count : 0;

	if (state->hosts.count >= HOST_COUNT_MAX) {
		arena_done(&state->hosts_arena);
		map_init(&state->hosts, &state->hosts_arena, true);
	}
	host = arena_make(&state->hosts_arena, struct system_host);
	name = arena_copy(&state->hosts_arena, name);
	if (!host || !name.ptr)
		return false;
	host->ips = arena_array(&state->hosts_arena, struct ip_addr, count ? count : 1);
	if (!host->ips)
		return false;
	for (unsigned i = 0; i < count; i++)
		host->ips[i] = answer->records[i].ip;
	host->count = count;
	host->until = until;
	return map_set(&state->hosts, name, host);
}

static enum rc host_has(const struct system_host *host, const struct ip_addr *ip, bool *exists)
{
	*exists = host->count > 0;
	for (unsigned i = 0; i < host->count; i++) {
		if (ip_eq(&host->ips[i], ip))
			return OK;
	}
	return FAIL;
}

enum rc system_host_has_ip(struct scope *sc, struct slice name, const struct ip_addr *ip, bool *exists,
			   struct err *err)
{
	struct match_state *state = match_state_of(sc->task->shard);
	const struct system_host *host;
	struct dns_answer answer;
	enum rc rc;

	if (!state)
		return err_memory(err);
	host = map_get(&state->hosts, name);
	if (host && host->until > shard_now(sc->task->shard))
		return host_has(host, ip, exists);
	rc = dns_hosts_file(sc->task, name, &answer, err);
	if (rc != OK && rc != FAIL)
		return rc;
	if (!remember(state, name, rc == OK ? &answer : NULL, shard_now(sc->task->shard) + REMEMBERED_NS))
		return err_memory(err);
	host = map_get(&state->hosts, name);
	return host_has(host, ip, exists);
}
