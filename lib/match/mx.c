/* mx: "@mx_any" and its kin in domain lists: is this host among the domain's mail exchangers? */

#include "list.h"

/* Our address, and not one that is to be ignored? */
static enum rc ip_counts(struct matching *m, const struct compiled *ignore, const struct ip_addr *ip)
{
	struct matching inner = *m;
	enum rc rc;

	if (!host_is_local(m->sc->conf, ip))
		return FAIL;
	if (!ignore)
		return OK;
	inner.kind = LIST_HOST;
	inner.ip = ip;
	inner.no_names = true;
	inner.client = false;
	rc = list_match(&inner, ignore);
	return rc == OK ? FAIL : rc == FAIL ? OK : rc;
}

static enum rc exchanger_is_local(struct matching *m, const struct compiled *ignore, struct slice name)
{
	static const enum dns_type types[] = {DNS_A, DNS_AAAA};
	const struct match_options *options = m->sc->conf ? conf_group(m->sc->conf, CONF_MATCH) : NULL;
	bool deferred = false;
	enum rc rc;

	if (options && options->hosts_treat_as_local) {
		rc = match_domain(m->sc, options->hosts_treat_as_local, name, NULL, m->err);
		if (rc != FAIL)
			return rc;
	}
	for (unsigned t = 0; t < 2; t++) {
		struct dns_answer answer;

		rc = dns_query(m->sc->task, name, types[t], &answer, m->err);
		if (rc == CANCELLED)
			return rc;
		deferred |= rc == DEFER;
		for (unsigned i = 0; rc == OK && i < answer.count; i++) {
			enum rc counts = ip_counts(m, ignore, &answer.records[i].ip);

			if (counts != FAIL)
				return counts;
		}
	}
	return deferred ? DEFER : FAIL;
}

enum rc mx_entry_match(struct matching *m, const struct entry *entry)
{
	bool primary = false, secondary = false, deferred = false;
	struct dns_answer answer;
	enum rc rc;

	if (!m->subject.len)
		return FAIL;
	rc = dns_query(m->sc->task, m->subject_lower, DNS_MX, &answer, m->err);
	if (rc != OK)
		return rc;
	for (unsigned i = 0; i < answer.count; i++) {
		const struct dns_record *mx = &answer.records[i];

		if (!mx->name.len || slice_eq(mx->name, SLICE(".")))
			continue; /* a null MX */
		rc = exchanger_is_local(m, entry->mx.ignore, mx->name);
		if (rc == CANCELLED)
			return rc;
		deferred |= rc == DEFER;
		if (rc == OK && mx->preference == answer.records[0].preference)
			primary = true;
		else if (rc == OK)
			secondary = true;
	}
	m->value = entry->text;
	if ((primary && entry->mx.which != MX_SECONDARY) ||
	    (secondary && !primary && entry->mx.which != MX_PRIMARY))
		return OK;
	return deferred && !primary ? DEFER : FAIL;
}
