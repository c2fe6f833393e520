/* mx: "@mx_any" and its kin in domain lists: is this host among the domain's mail exchangers? */

#include "list.h"

/* OK: the address is one that is to be ignored. */
static enum rc ip_ignored(struct matching *m, const struct compiled *ignore, const struct ip_addr *ip)
{
	struct matching inner = *m;

	if (!ignore)
		return FAIL;
	inner.kind = LIST_HOST;
	inner.ip = ip;
	inner.no_names = true;
	inner.option = NULL;
	inner.client = false;
	return list_match(&inner, ignore);
}

/* *gone: all of its addresses are ignored, so it is as if there were no such exchanger. */
static enum rc exchanger_is_local(struct matching *m, const struct compiled *ignore, struct slice name,
				  bool *gone)
{
	static const enum dns_type types[] = {DNS_A, DNS_AAAA};
	const struct match_options *options = m->sc->conf ? conf_group(m->sc->conf, CONF_MATCH) : NULL;
	bool deferred = false, ignored = false, counts = false;
	enum rc rc;

	*gone = false;
	if (options && options->hosts_treat_as_local) {
		rc = match_domain(m->sc, options->hosts_treat_as_local, name, NULL, m->err);
		if (rc != FAIL)
			return rc;
	}
	for (unsigned t = 0; t < 2; t++) {
		struct dns_answer answer;

		rc = lookup_dns_query(m->sc, name, types[t], &answer, m->err);
		if (rc == CANCELLED)
			return rc;
		deferred |= rc == DEFER;
		for (unsigned i = 0; rc == OK && i < answer.count; i++) {
			rc = ip_ignored(m, ignore, &answer.records[i].ip);
			if (rc != OK && rc != FAIL)
				return rc;
			if (rc == FAIL && host_is_local(m->sc->conf, &answer.records[i].ip))
				return OK;
			ignored |= rc == OK;
			counts |= rc == FAIL;
			rc = OK;
		}
	}
	*gone = ignored && !counts && !deferred;
	return deferred ? DEFER : FAIL;
}

enum rc mx_entry_match(struct matching *m, const struct entry *entry)
{
	bool primary = false, secondary = false, deferred = false, any = false, gone;
	struct dns_answer answer;
	unsigned first = 0;
	enum rc rc;

	if (!m->subject.len)
		return FAIL;
	rc = lookup_dns_query(m->sc, m->subject_lower, DNS_MX, &answer, m->err);
	if (rc != OK)
		return rc;
	for (unsigned i = 0; i < answer.count; i++) {
		const struct dns_record *mx = &answer.records[i];

		if (!mx->name.len || slice_eq(mx->name, SLICE(".")))
			continue; /* a null MX */
		rc = exchanger_is_local(m, entry->mx.ignore, mx->name, &gone);
		if (rc == CANCELLED)
			return rc;
		if (gone)
			continue;
		if (!any)
			first = mx->preference;
		any = true;
		deferred |= rc == DEFER;
		if (rc == OK && mx->preference == first)
			primary = true;
		else if (rc == OK)
			secondary = true;
	}
	m->value = entry->text;
	if (entry->mx.which == MX_ANY && (primary || secondary))
		return OK;
	if (primary)
		return entry->mx.which == MX_PRIMARY ? OK : FAIL;
	/* Whoever could not be asked may be us, and then it is the other case. */
	if (deferred)
		return DEFER;
	return secondary && entry->mx.which == MX_SECONDARY ? OK : FAIL;
}
