/* dmarc_check: the policy that holds for a From: domain, and whether what was authenticated is aligned with it. RFC 9989, section
 * 4.10: up the tree of names, at most eight questions; or, with a public suffix list, RFC 7489, section 6.6.3. One walk from the
 * From: domain finds both its record and its organisational domain: the two walks of sections 4.10.1 and 4.10.2 visit the same
 * names. */
#include "dmarc.h"
#include "kept.h"

struct found {
	struct slice domain;
	struct dmarc_record record;
};
struct walk {
	struct found found[DMARC_QUERIES_MAX]; /* from the longest name to the shortest */
	unsigned count;
};
struct work {
	struct task *task;
	const struct mailauth_resolver *resolver;
	const struct dmarc_query *query;
	struct slice problem;
};

static bool below_or_same(struct slice name, struct slice domain)
{
	return slice_eq_nocase(name, domain) ||
	       (name.len > domain.len && name.ptr[name.len - domain.len - 1] == '.' &&
		slice_ends_nocase(name, domain));
}

static unsigned labels_of(struct slice domain)
{
	unsigned count = domain.len > 0;

	for (uint32_t i = 0; i < domain.len; i++)
		count += domain.ptr[i] == '.';
	return count;
}

static struct slice parent(struct slice domain)
{
	ptrdiff_t dot = slice_find(domain, '.');

	return dot < 0 ? SLICE_EMPTY : slice_from(domain, (size_t)dot + 1);
}

static struct slice policy_name(struct work *w, struct slice domain)
{
	static const char label[] = "_dmarc.";
	uint32_t front = sizeof(label) - 1;
	char *name = arena_bytes(w->task->arena, front + domain.len);

	if (!name)
		return (struct slice){NULL, 0, CLEAN};
	memcpy(name, label, front);
	memcpy(name + front, domain.ptr, domain.len);
	return slice_make(name, front + domain.len, TAINTED);
}

/* What is said under a name, kept while the answer is good: the one record, or, with no text, that there is none or several. */
struct policy_kept {
	bool there;
	struct dmarc_record record;
};

static bool policy_make(struct arena *arena, struct slice text, void *object)
{
	struct policy_kept *kept = object;

	(void)arena;
	kept->there = dmarc_record_parse(text, false, &kept->record);
	return true;
}

static bool policy_make_legacy(struct arena *arena, struct slice text, void *object)
{
	struct policy_kept *kept = object;

	(void)arena;
	kept->there = dmarc_record_parse(text, true, &kept->record);
	return true;
}

static const struct kept_kind policies = {
    .number = KEPT_DMARC, .count_max = 5000, .size = sizeof(struct policy_kept), .make = policy_make};
static const struct kept_kind policies_legacy = {.number = KEPT_DMARC_LEGACY,
						 .count_max = 5000,
						 .size = sizeof(struct policy_kept),
						 .make = policy_make_legacy};

static const struct kept_kind *policies_of(const struct work *w)
{
	return w->query->org ? &policies_legacy : &policies;
}

/* A copy, which stays when the kept one goes. OK, FAIL: it says there is none; DEFER: no memory. */
static enum rc policy_copy(struct work *w, const struct policy_kept *kept, struct dmarc_record *ret)
{
	if (!kept->there)
		return FAIL;
	*ret = kept->record;
	ret->rua = arena_copy(w->task->arena, ret->rua);
	ret->ruf = arena_copy(w->task->arena, ret->ruf);
	return ret->rua.ptr && ret->ruf.ptr ? OK : DEFER;
}

/* The DNS is asked for the one record. FAIL: none, or several. */
static enum rc policy_ask(struct work *w, struct slice name, struct dmarc_record *ret)
{
	struct shard *shard = w->task->shard;
	struct kept_time time = kept_time_begin(w->resolver->timed ? shard : NULL);
	struct err err = err_make(w->task->arena);
	struct slice text = SLICE_EMPTY;
	struct dns_answer answer;
	unsigned count = 0;
	enum rc rc = w->resolver->query(w->task, w->resolver->arg, name, DNS_TXT, &answer, &err);

	if (rc == DEFER)
		w->problem = err.text;
	if (rc != OK && rc != FAIL)
		return rc;
	for (unsigned i = 0; rc == OK && i < answer.count; i++)
		if (dmarc_record_parse(answer.records[i].text, w->query->org != NULL, ret)) {
			text = answer.records[i].text;
			count++;
		}
	kept_time_answer(&time, shard, rc, &answer);
	if (time.until > 0) {
		void *kept = kept_get(shard, policies_of(w), name, count == 1 ? text : SLICE_EMPTY);

		kept_believe(kept, &time);
		kept_release(kept);
	}
	return count == 1 ? OK : FAIL;
}

/* The one record of a domain. FAIL: none, or several. */
static enum rc fetch(struct work *w, struct slice domain, struct found *ret)
{
	struct slice name = policy_name(w, domain);
	struct policy_kept *kept;
	enum rc rc;

	if (!name.ptr)
		return DEFER;
	if (name.len > 253)
		return FAIL;
	ret->domain = domain;
	kept = w->resolver->timed ? kept_find(w->task->shard, policies_of(w), name) : NULL;
	if (!kept)
		return policy_ask(w, name, &ret->record);
	rc = policy_copy(w, kept, &ret->record);
	kept_release(kept);
	return rc;
}

static void fetch_ahead(struct work *w, struct slice domain)
{
	struct slice name = policy_name(w, domain);
	void *kept;

	if (!name.ptr)
		return;
	kept = w->resolver->timed ? kept_find(w->task->shard, policies_of(w), name) : NULL;
	if (!kept)
		w->resolver->prefetch(w->task, w->resolver->arg, name, DNS_TXT);
	kept_release(kept);
}

/* Where the walk goes from here: one label less, or a great step where there are many. */
static struct slice shorter(struct slice domain, bool first)
{
	unsigned labels = labels_of(domain);

	if (!first || labels < DMARC_QUERIES_MAX)
		return parent(domain);
	for (; labels >= DMARC_QUERIES_MAX; labels--)
		domain = parent(domain);
	return domain;
}

static void walk_ahead(struct work *w, struct slice domain)
{
	bool first = true;

	for (domain = shorter(domain, true); w->resolver->prefetch && domain.len;
	     domain = shorter(domain, first)) {
		first = false;
		fetch_ahead(w, domain);
	}
}

static enum rc tree_walk(struct work *w, struct slice domain, struct walk *walk)
{
	bool first = true;

	walk->count = 0;
	walk_ahead(w, domain);
	for (unsigned i = 0; i < DMARC_QUERIES_MAX && domain.len; i++) {
		struct found *f = &walk->found[walk->count];
		enum rc rc = fetch(w, domain, f);

		if (rc != OK && rc != FAIL)
			return rc;
		if (rc == OK) {
			walk->count++;
			if (f->record.psd != 'u')
				break;
		}
		domain = shorter(domain, first);
		first = false;
	}
	return OK;
}

/* Section 4.10.2. */
static struct slice walk_org(const struct walk *walk, struct slice start)
{
	struct slice child = start;

	for (unsigned i = 0; i < walk->count; i++) {
		const struct found *f = &walk->found[i];
		if (f->record.psd == 'n')
			return f->domain;
		if (f->record.psd != 'y' || slice_eq(f->domain, start))
			continue;
		while (labels_of(child) > labels_of(f->domain) + 1)
			child = parent(child);
		return child;
	}
	return walk->count ? walk->found[walk->count - 1].domain : start;
}

static enum rc org_of(struct work *w, struct slice domain, struct slice *ret)
{
	struct walk *walk;
	enum rc rc;

	if (w->query->org) {
		*ret = w->query->org(w->query->arg, w->task->arena, domain);
		return OK;
	}
	walk = arena_make(w->task->arena, struct walk);
	if (!walk)
		return DEFER;
	rc = tree_walk(w, domain, walk);
	if (rc == OK)
		*ret = walk_org(walk, domain);
	return rc;
}

/* The record that holds for the domain. *org_ret: its organisational domain. */
static enum rc discover(struct work *w, struct slice domain, struct found *ret, struct slice *org_ret)
{
	struct walk *walk;
	enum rc rc;

	if (w->query->org) {
		*org_ret = w->query->org(w->query->arg, w->task->arena, domain);
		rc = fetch(w, domain, ret);
		if (rc == FAIL && !slice_eq(*org_ret, domain))
			rc = fetch(w, *org_ret, ret);
		return rc;
	}
	walk = arena_make(w->task->arena, struct walk);
	if (!walk)
		return DEFER;
	rc = tree_walk(w, domain, walk);
	if (rc != OK)
		return rc;
	*org_ret = walk_org(walk, domain);
	for (unsigned i = 0; i < walk->count; i++)
		if (slice_eq(walk->found[i].domain, domain)) {
			*ret = walk->found[i];
			return OK;
		}
	for (unsigned i = 0; i < walk->count; i++)
		if (slice_eq(walk->found[i].domain, *org_ret)) {
			*ret = walk->found[i];
			return OK;
		}
	/* Of a public suffix domain, when the organisation itself has none. */
	if (!walk->count)
		return FAIL;
	*ret = walk->found[walk->count - 1];
	return OK;
}

/* Section 3.2.13: a name that the DNS says does not exist, whatever type was asked for (RFC 8020). */
static enum rc exists(struct work *w, struct slice domain, bool *ret)
{
	struct dns_answer answer = {.nxdomain = false};
	struct err err = err_make(w->task->arena);
	enum rc rc = w->resolver->query(w->task, w->resolver->arg, domain, DNS_A, &answer, &err);

	if (rc == DEFER)
		w->problem = err.text;
	*ret = rc != FAIL || !answer.nxdomain;
	return rc == FAIL ? OK : rc;
}

/* An organisational domain is never longer than the name itself: only names below ours have to be asked about. */
static enum rc aligned(struct work *w, struct slice name, struct slice from, struct slice org, bool strict,
		       bool *ret)
{
	struct slice other;
	enum rc rc;

	*ret = slice_eq_nocase(name, from);
	if (*ret || strict || !below_or_same(name, org))
		return OK;
	if (slice_eq_nocase(name, org)) {
		*ret = w->query->org != NULL;
		if (*ret)
			return OK;
	}
	rc = org_of(w, name, &other);
	if (rc == OK)
		*ret = slice_eq_nocase(other, org);
	return rc;
}

static enum rc align(struct work *w, struct slice org, struct dmarc_result *r)
{
	const struct dmarc_query *q = w->query;
	enum rc rc = OK, trouble = OK;

	if (q->spf == MAILAUTH_PASS && q->spf_domain.len)
		rc = aligned(w, q->spf_domain, r->from, org, r->record.aspf == 's', &r->align_spf);
	if (rc == CANCELLED)
		return rc;
	trouble = rc;
	for (unsigned i = 0; i < q->dkim_count && !r->align_dkim; i++) {
		if (q->dkim[i].result != MAILAUTH_PASS)
			continue;
		rc = aligned(w, q->dkim[i].domain, r->from, org, r->record.adkim == 's', &r->align_dkim);
		if (rc == CANCELLED)
			return rc;
		if (rc != OK)
			trouble = rc;
	}
	return r->align_spf || r->align_dkim ? OK : trouble;
}

/* Section 5.3.6: while a question behind it is unanswered, nobody can say that a message fails. What could not be checked may have
 * been what would have passed. */
static enum rc was_temporary(struct work *w, struct slice org, const struct dmarc_result *r, bool *ret)
{
	const struct dmarc_query *q = w->query;
	enum rc rc = OK;

	*ret = false;
	if (q->spf == MAILAUTH_TEMPERROR && q->spf_domain.len)
		rc = aligned(w, q->spf_domain, r->from, org, r->record.aspf == 's', ret);
	if (*ret)
		w->problem = SLICE("SPF could not be checked");
	for (unsigned i = 0; rc == OK && i < q->dkim_count && !*ret; i++) {
		if (q->dkim[i].result != MAILAUTH_TEMPERROR)
			continue;
		rc = aligned(w, q->dkim[i].domain, r->from, org, r->record.adkim == 's', ret);
		if (*ret)
			w->problem = SLICE("a DKIM key could not be had");
	}
	return rc;
}

/* Section 4.7, np: for names that do not exist, or else sp, or else p. Nobody is asked when that makes no difference. */
static enum rc policy_of(struct work *w, const struct found *f, struct dmarc_result *r)
{
	char below = f->record.sp ? f->record.sp : f->record.p;
	bool there = true;
	enum rc rc = OK;

	r->policy = f->record.p;
	if (slice_eq(f->domain, r->from))
		return OK;
	r->policy = below;
	if (!f->record.np || f->record.np == below || w->query->org)
		return OK;
	rc = exists(w, r->from, &there);
	if (rc == OK && !there)
		r->policy = f->record.np;
	return rc;
}

/* What a failing message gets: with t=y one step less than is published. */
static enum dmarc_status requested(const struct dmarc_result *r, bool testing)
{
	if (r->policy == 'r')
		return testing ? DMARC_QUARANTINE : DMARC_REJECT;
	return r->policy == 'q' && !testing ? DMARC_QUARANTINE : DMARC_NONE;
}

/* The record is there: whether something is aligned, and if not, what is wanted. */
static enum rc judge(struct work *w, const struct found *f, struct slice org, struct dmarc_result *r)
{
	bool temporary = false;
	enum rc policy, rc = align(w, org, r);

	if (rc == CANCELLED)
		return rc;
	policy = policy_of(w, f, r);
	if (policy == CANCELLED)
		return policy;
	if (r->align_spf || r->align_dkim)
		return OK;
	if (rc == OK)
		rc = policy;
	if (rc == OK)
		rc = was_temporary(w, org, r, &temporary);
	return rc == OK && temporary ? DEFER : rc;
}

static enum rc check_domain(struct work *w, struct slice from, struct dmarc_result *r)
{
	struct found f;
	struct slice org;
	enum rc rc;

	*r = (struct dmarc_result){.from = from, .used_domain = SLICE_EMPTY, .problem = SLICE_EMPTY};
	r->record.rua = r->record.ruf = SLICE_EMPTY;
	w->problem = SLICE_EMPTY;
	rc = discover(w, from, &f, &org);
	if (rc == OK && f.record.unusable)
		rc = FAIL;
	r->status = rc == FAIL ? DMARC_NORECORD : DMARC_TEMPERROR;
	if (rc == OK) {
		r->record = f.record;
		r->used_domain = f.domain;
		rc = judge(w, &f, org, r);
	}
	if (rc == CANCELLED)
		return rc;
	r->problem = rc == DEFER ? w->problem : SLICE_EMPTY;
	if (rc != OK)
		return OK;
	r->requested = requested(r, r->record.testing && !w->query->org);
	r->status = r->align_spf || r->align_dkim ? DMARC_ACCEPT : r->requested;
	return OK;
}

static unsigned strictness(enum dmarc_status status)
{
	static const unsigned char order[] = {
	    [DMARC_REJECT] = 4, [DMARC_QUARANTINE] = 3, [DMARC_TEMPERROR] = 2, [DMARC_NONE] = 1};

	return status < ARRAY_COUNT(order) ? order[status] : 0;
}

enum rc dmarc_org(struct task *task, const struct mailauth_resolver *resolver,
		  const struct dmarc_query *query, struct slice domain, struct slice *ret)
{
	struct work w = {.task = task, .resolver = resolver, .query = query, .problem = SLICE_EMPTY};

	return org_of(&w, domain, ret);
}

enum rc dmarc_check(struct task *task, const struct mailauth_resolver *resolver,
		    const struct dmarc_query *query, struct dmarc_result *ret)
{
	struct work w = {.task = task, .resolver = resolver, .query = query, .problem = SLICE_EMPTY};
	struct dmarc_result r;

	*ret = (struct dmarc_result){
	    .status = DMARC_NOFROM, .from = SLICE_EMPTY, .used_domain = SLICE_EMPTY, .problem = SLICE_EMPTY};
	ret->record.rua = ret->record.ruf = SLICE_EMPTY;
	for (unsigned i = 0; i < query->from_count; i++) {
		enum rc rc = check_domain(&w, query->from[i], &r);
		if (rc != OK)
			return rc;
		if (i == 0 || strictness(r.status) > strictness(ret->status))
			*ret = r;
	}
	return OK;
}
