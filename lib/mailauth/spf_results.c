/* spf_results: what a domain says of a client's address, kept by the shard while all answers that it took are good.
 *
 * Only what depends on these two and on nothing else: not where a macro was expanded (the sender, the HELO name, the moment), an
 * explanation may be due, the record was a guess of ours, or something went wrong. */
#include "spf.h"

struct result_kept {
	enum mailauth_result result;
	struct slice mechanism;
	unsigned terms, voids;
};

static bool kept_make(struct arena *arena, struct slice text, void *object)
{
	struct result_kept *kept = object;

	(void)arena;
	kept->mechanism = text;
	return true;
}

static const struct kept_kind results = {
    .number = KEPT_SPF_RESULTS, .count_max = 5000, .size = sizeof(struct result_kept), .make = kept_make};

#define DOMAIN_MAX 253
struct key {
	char bytes[2 * 16 + 1 + DOMAIN_MAX];
};

/* The address in letters, since the case of names on a shelf does not count; ptr NULL: there is no key. */
static struct slice key_of(struct key *key, const struct ip_addr *ip, struct slice domain)
{
	uint32_t size = ip->family == 6 ? 16 : 4, len = 0;

	if (domain.len > DOMAIN_MAX)
		return (struct slice){NULL, 0, CLEAN};
	for (uint32_t i = 0; i < size; i++) {
		key->bytes[len++] = (char)('a' + (ip->bytes[i] >> 4));
		key->bytes[len++] = (char)('a' + (ip->bytes[i] & 15));
	}
	key->bytes[len++] = '@';
	memcpy(key->bytes + len, domain.ptr, domain.len);
	return slice_make(key->bytes, len + domain.len, TAINTED);
}

bool spf_result_find(const struct spf_work *work, struct spf_result *result)
{
	struct key key;
	struct slice name = key_of(&key, &work->query->ip, result->domain), mechanism;
	struct result_kept *kept =
	    work->resolver->timed && name.ptr ? kept_find(work->task->shard, &results, name) : NULL;
	bool good;

	if (!kept)
		return false;
	/* Who would guess has to be asked again what nobody publishes. */
	good = kept->result != MAILAUTH_NONE || !work->query->guess.len;
	mechanism = arena_copy(work->task->arena, kept->mechanism);
	good &= mechanism.ptr != NULL;
	if (good) {
		result->result = kept->result;
		result->mechanism = mechanism;
		result->terms = kept->terms;
		result->voids = kept->voids;
	}
	kept_release(kept);
	return good;
}

static bool can_be_kept(const struct spf_work *work, const struct spf_result *r)
{
	bool usual = r->result == MAILAUTH_PASS || r->result == MAILAUTH_SOFTFAIL ||
		     r->result == MAILAUTH_NEUTRAL || r->result == MAILAUTH_NONE;

	return usual && work->resolver->timed && !r->guessed && !r->problem.len && !work->particular &&
	       !work->local_part_foreign;
}

void spf_result_keep(const struct spf_work *work, const struct spf_result *result)
{
	struct key key;
	struct slice name;
	struct result_kept *kept;

	if (!can_be_kept(work, result))
		return;
	name = key_of(&key, &work->query->ip, result->domain);
	kept = name.ptr ? kept_get(work->task->shard, &results, name, result->mechanism) : NULL;
	if (!kept)
		return;
	kept->result = result->result;
	kept->terms = result->terms;
	kept->voids = result->voids;
	kept_believe(kept, &work->good);
	kept_release(kept);
}
