/* csa: client SMTP authorization (draft-ietf-marid-csv-csa): whoever owns the name that a client says HELO with tells by
 * SRV records below _client._smtp which addresses may use it. In the SRV's terms: the priority is the version, 1; the weight
 * is 1 for "not authorized", 2 for "authorized"; port 1 says that names below need records of their own. */
#include "list.h"

static const char *const status_names[] = {"unknown", "ok", "defer", "fail"};
enum csa_status { CSA_UNKNOWN, CSA_OK, CSA_DEFER, CSA_FAIL };

static enum csa_status because(struct slice *why, struct slice text, enum csa_status status)
{
	*why = text;
	return status;
}

/* Is the client's address one of the host's? */
static enum csa_status check_target(struct acl_run *run, struct slice host, struct slice *why)
{
	const struct ip_addr *ip = &run->sc->client->ip;
	struct dns_answer answer;
	enum rc rc = dns_query(run->sc->task, host, ip->family == 4 ? DNS_A : DNS_AAAA, &answer, run->err);

	if (rc == FAIL)
		return because(why, SLICE("fail (no address)"), CSA_FAIL);
	if (rc != OK)
		return because(why, SLICE("defer (SRV target lookup)"), CSA_DEFER);
	for (unsigned i = 0; i < answer.count; i++)
		if (ip_eq(&answer.records[i].ip, ip))
			return CSA_OK;
	return because(why, SLICE("fail (target address mismatch)"), CSA_FAIL);
}

static enum csa_status judge(struct acl_run *run, const struct dns_answer *answer, bool parent,
			     struct slice *why)
{
	for (unsigned i = 0; i < answer->count; i++) {
		const struct dns_record *r = &answer->records[i];

		if (r->preference != 1)
			continue; /* another version of the protocol */
		if (parent)
			return r->port & 1
				   ? because(why, SLICE("fail (explicit authorization required)"), CSA_FAIL)
				   : CSA_UNKNOWN;
		if (r->weight < 2)
			return because(why, SLICE("fail (not authorized)"), CSA_FAIL);
		if (r->weight == 2)
			return check_target(run, r->name, why);
	}
	return CSA_UNKNOWN;
}

/* The name itself, then its parents, but no top level domain. */
static enum csa_status search(struct acl_run *run, struct slice name, struct slice *why)
{
	const struct acl_options *options = conf_group(run->sc->conf, CONF_ACL);
	struct slice asked = name;

	for (int64_t i = 0; i <= (options ? options->dns_csa_search_limit : 5); i++) {
		struct slice query =
		    arena_printf(run->sc->task->arena, "_client._smtp.%.*s", SLICE_ARG(asked));
		struct dns_answer answer;
		ptrdiff_t dot = slice_find(asked, '.');
		enum rc rc = query.ptr ? dns_query(run->sc->task, query, DNS_SRV, &answer, run->err) : DEFER;

		if (rc == OK)
			return judge(run, &answer, i > 0, why);
		if (rc != FAIL)
			return because(why, SLICE("defer (SRV lookup)"), CSA_DEFER);
		if (dot < 0)
			break;
		asked = slice_from(asked, (size_t)dot + 1);
		if (slice_find(asked, '.') < 0)
			break;
	}
	return CSA_UNKNOWN;
}

enum acl_test acl_verify_csa(struct acl_run *run, struct slice name, struct slice *why_ret)
{
	const struct acl_options *options = conf_group(run->sc->conf, CONF_ACL);
	struct client *client = run->sc->client;
	enum csa_status status = CSA_UNKNOWN;
	struct slice why = {NULL, 0, 0}, bare;
	struct ip_addr ip;

	if (!client || !client->ip.family)
		return TEST_TRUE;
	name = slice_trim(name);
	bare = name.len > 2 && name.ptr[0] == '[' ? slice_sub(name, 1, name.len - 2u) : name;
	if (ip_parse(bare, &ip))
		name = !options || options->dns_csa_use_reverse
			   ? dns_reverse_name(run->sc->task->arena, &ip,
					      ip.family == 4 ? SLICE("in-addr.arpa") : SLICE("ip6.arpa"))
			   : SLICE_EMPTY;
	if (name.len)
		status = search(run, name, &why);
	client->csa_status = status_names[status];
	if (run->sc->task->cancelled)
		return TEST_DEFER;
	/* Nobody is refused mail since his DNS is away. */
	*run->err = err_make(run->sc->task->arena);
	*why_ret = why;
	return status == CSA_FAIL ? TEST_FALSE : TEST_TRUE;
}
