/* dmarc_destination: whether somebody wants the reports that a policy record would have sent to him (RFC 9990, section 4). */
#include "dmarc.h"

static struct slice host_of(struct slice address)
{
	return slice_from(address, (size_t)slice_rfind(address, '@') + 1);
}

static struct slice lower(struct arena *arena, struct slice text)
{
	struct slice copy = arena_copy(arena, text);

	for (uint32_t i = 0; copy.ptr && i < copy.len; i++)
		((char *)copy.ptr)[i] = ascii_lower(copy.ptr[i]);
	return copy;
}

static enum rc same_organisation(struct task *task, const struct mailauth_resolver *resolver,
				 const struct dmarc_query *query, struct slice used, struct slice host,
				 bool *ret)
{
	struct slice ours, theirs;
	enum rc rc;

	*ret = slice_eq_nocase(used, host);
	if (*ret)
		return OK;
	rc = dmarc_org(task, resolver, query, used, &ours);
	/* What organisation is not a suffix of the host cannot be the host's. */
	if (rc != OK || !slice_ends_nocase(host, ours))
		return rc;
	rc = dmarc_org(task, resolver, query, host, &theirs);
	if (rc == OK)
		*ret = slice_eq_nocase(ours, theirs);
	return rc;
}

/* Addresses that the destination names in the place of what the record had: on the same host, or none at all. */
static enum rc overridden(struct arena *arena, struct slice list, struct slice host, struct slice *uris_ret)
{
	struct slice rest = list, address;

	while (dmarc_uri_next(arena, &rest, &address))
		if (!slice_eq_nocase(host_of(address), host))
			return FAIL;
	*uris_ret = list;
	return OK;
}

enum rc dmarc_destination(struct task *task, const struct mailauth_resolver *resolver,
			  const struct dmarc_query *query, struct slice used, struct slice address,
			  bool failure, struct slice *uris_ret)
{
	struct slice host = lower(task->arena, host_of(address)), name;
	struct err err = err_make(task->arena);
	struct dns_answer answer;
	bool same, agreed = false;
	enum rc rc;

	*uris_ret = (struct slice){NULL, 0, CLEAN};
	if (!host.ptr)
		return DEFER;
	rc = same_organisation(task, resolver, query, used, host, &same);
	if (rc != OK || same)
		return rc;
	name = arena_printf(task->arena, "%.*s._report._dmarc.%.*s", SLICE_ARG(used), SLICE_ARG(host));
	if (!name.ptr)
		return DEFER;
	if (name.len > 253)
		return FAIL;
	rc = resolver->query(task, resolver->arg, name, DNS_TXT, &answer, &err);
	for (unsigned i = 0; rc == OK && i < answer.count; i++) {
		struct dmarc_record record;

		if (!dmarc_record_parse(answer.records[i].text, false, &record))
			continue;
		agreed = true;
		if ((failure ? record.ruf : record.rua).len)
			return overridden(task->arena, failure ? record.ruf : record.rua, host, uris_ret);
	}
	return rc != OK ? rc : agreed ? OK : FAIL;
}
