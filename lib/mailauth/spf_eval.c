/* spf_eval: check_host() of RFC 7208, section 4: the record found, its terms one after the other, within the limits. */
#include "spf.h"

static enum mailauth_result check_host(struct spf_work *work, struct slice domain, struct slice given,
				       bool included);

/* ---- Questions ------------------------------------------------------------------------------------------ */

enum rc spf_ask(struct spf_work *work, struct slice name, enum dns_type type, struct dns_answer *ret)
{
	const struct mailauth_resolver *r = work->resolver;
	struct err err = err_make(work->task->arena);
	enum rc rc = r->query(work->task, r->arg, name, type, ret, &err);

	if (rc == DEFER)
		work->problem.text = err.text;
	kept_time_answer(&work->good, work->task->shard, rc, ret);
	return rc;
}

static void ask_ahead(struct spf_work *work, struct slice name, enum dns_type type)
{
	if (work->resolver->prefetch && name.len)
		work->resolver->prefetch(work->task, work->resolver->arg, name, type);
}

static enum mailauth_result permerror(struct spf_work *work, const char *why, struct slice what)
{
	(void)err_set(&work->problem, FAIL, "%s%s%.*s", why, what.len ? ": " : "",
		      SLICE_ARG(slice_sub(what, 0, 300)));
	return MAILAUTH_PERMERROR;
}

/* Of a question that was not answered. UNKNOWN: nobody waits for the result any more. */
static enum mailauth_result temperror(enum rc rc)
{
	return rc == CANCELLED ? MAILAUTH_UNKNOWN : MAILAUTH_TEMPERROR;
}

/* Section 4.6.4: one more term that was answered with nothing. A guess is our own record, and has every reason to find
 * nothing: it is asked for domains that publish little or do not exist. */
static bool void_allowed(struct spf_work *work)
{
	return ++work->voids <= SPF_VOIDS_MAX || work->guessing;
}

/* ---- Mechanisms ------------------------------------------------------------------------------------------ */

static bool address_matches(const struct spf_work *work, const struct spf_term *term,
			    const struct ip_addr *ip)
{
	return ip->family == work->query->ip.family &&
	       ip_in_cidr(&work->query->ip, ip, ip->family == 6 ? term->bits6 : term->bits4);
}

/* The results of a mechanism: OK: it matches; FAIL: it does not; DEFER: *error_ret is the whole check's result. */
static enum rc match_address(struct spf_work *work, const struct spf_term *term, struct slice target,
			     bool counted, enum mailauth_result *error_ret)
{
	struct dns_answer answer;
	enum rc rc = spf_ask(work, target, spf_address_type(work), &answer);

	if (rc == FAIL && counted && !void_allowed(work)) {
		*error_ret = permerror(work, "too many lookups without an answer", target);
		return DEFER;
	}
	if (rc == FAIL)
		return FAIL;
	if (rc != OK) {
		*error_ret = temperror(rc);
		return DEFER;
	}
	for (unsigned i = 0; i < answer.count; i++)
		if (address_matches(work, term, &answer.records[i].ip))
			return OK;
	return FAIL;
}

/* A host that an answer names: escaped bytes cannot be asked for as they are written. */
static bool host_usable(struct slice *name)
{
	return slice_find(*name, '\\') < 0 && spf_name_valid(name);
}

static enum rc match_mx(struct spf_work *work, const struct spf_term *term, struct slice target,
			enum mailauth_result *error_ret)
{
	struct dns_answer answer;
	enum rc rc = spf_ask(work, target, DNS_MX, &answer);

	if (rc == FAIL && !void_allowed(work)) {
		*error_ret = permerror(work, "too many lookups without an answer", target);
		return DEFER;
	}
	if (rc == FAIL)
		return FAIL;
	if (rc != OK) {
		*error_ret = temperror(rc);
		return DEFER;
	}
	/* Asked before any of them, since the order of equal ones is chance: the result shall not be. */
	if (answer.count > SPF_MX_MAX) {
		*error_ret = permerror(work, "more than 10 MX records", target);
		return DEFER;
	}
	for (unsigned i = 1; i < answer.count; i++)
		if (host_usable(&answer.records[i].name))
			ask_ahead(work, answer.records[i].name, spf_address_type(work));
	for (unsigned i = 0; i < answer.count; i++) {
		if (!host_usable(&answer.records[i].name))
			continue;
		rc = match_address(work, term, answer.records[i].name, false, error_ret);
		if (rc != FAIL)
			return rc;
	}
	return FAIL;
}

/* The names of the client, asked once a check. Trouble and none are alike: they match nothing (section 5.5). */
static enum rc client_names(struct spf_work *work, bool *void_ret)
{
	struct dns_answer answer;
	enum rc rc;

	if (!work->names_known) {
		rc = spf_ask(work, dns_reverse_name(work->task->arena, &work->query->ip, SLICE_EMPTY),
			     DNS_PTR, &answer);
		if (rc == CANCELLED)
			return rc;
		work->names_known = true;
		work->names_defer = rc == DEFER;
		if (rc == OK)
			work->names = arena_array(work->task->arena, struct slice, SPF_PTR_MAX);
		for (unsigned i = 0; work->names && i < answer.count && i < SPF_PTR_MAX; i++)
			if (host_usable(&answer.records[i].name))
				work->names[work->name_count++] = answer.records[i].name;
	}
	*void_ret = !work->name_count && !work->names_defer;
	return OK;
}

static bool name_below(struct slice name, struct slice domain)
{
	return name.len > domain.len && name.ptr[name.len - domain.len - 1] == '.' &&
	       slice_ends_nocase(name, domain);
}

/* Does the name have the client's address? A question that fails says no. Each name is asked once, however often a record mentions
 * it: fifty %{p} in one macro string are not five hundred questions. */
static enum rc name_confirmed(struct spf_work *work, unsigned number)
{
	struct dns_answer answer;
	enum rc rc;

	if (work->confirmed[number] == SPF_NOT_ASKED) {
		rc = spf_ask(work, work->names[number], spf_address_type(work), &answer);
		if (rc == CANCELLED)
			return rc;
		work->confirmed[number] = SPF_UNCONFIRMED;
		for (unsigned i = 0; rc == OK && i < answer.count; i++)
			if (ip_eq(&answer.records[i].ip, &work->query->ip))
				work->confirmed[number] = SPF_CONFIRMED;
	}
	return work->confirmed[number] == SPF_CONFIRMED ? OK : FAIL;
}

enum rc spf_client_name(struct spf_work *work, struct slice domain, bool any, struct slice *ret)
{
	bool nothing;
	enum rc rc = client_names(work, &nothing);

	if (rc != OK)
		return rc;
	for (unsigned i = 0; i < work->name_count; i++)
		if (any || name_below(work->names[i], domain) || slice_eq_nocase(work->names[i], domain))
			ask_ahead(work, work->names[i], spf_address_type(work));
	/* 0: the domain itself; 1: a name below it; 2: others. */
	for (unsigned round = 0; round < (any ? 3 : 2); round++)
		for (unsigned i = 0; i < work->name_count; i++) {
			struct slice name = work->names[i];
			unsigned kind = slice_eq_nocase(name, domain) ? 0 : name_below(name, domain) ? 1 : 2;
			if (kind != round)
				continue;
			rc = name_confirmed(work, i);
			if (rc == OK)
				*ret = name;
			if (rc != FAIL)
				return rc;
		}
	return FAIL;
}

static enum rc match_ptr(struct spf_work *work, struct slice target, enum mailauth_result *error_ret)
{
	struct slice name;
	bool nothing;
	enum rc rc = client_names(work, &nothing);

	if (rc == OK && nothing && !void_allowed(work)) {
		*error_ret = permerror(work, "too many lookups without an answer", target);
		return DEFER;
	}
	if (rc == OK)
		rc = spf_client_name(work, target, false, &name);
	if (rc == CANCELLED) {
		*error_ret = MAILAUTH_UNKNOWN;
		return DEFER;
	}
	return rc == OK ? OK : FAIL;
}

static enum rc match_exists(struct spf_work *work, struct slice target, enum mailauth_result *error_ret)
{
	struct dns_answer answer;
	/* Always A, whatever the client's family is (section 5.7). */
	enum rc rc = spf_ask(work, target, DNS_A, &answer);

	if (rc == FAIL && !void_allowed(work)) {
		*error_ret = permerror(work, "too many lookups without an answer", target);
		return DEFER;
	}
	if (rc == DEFER || rc == CANCELLED) {
		*error_ret = temperror(rc);
		return DEFER;
	}
	return rc;
}

static enum rc match_include(struct spf_work *work, struct slice target, enum mailauth_result *error_ret)
{
	switch (check_host(work, target, (struct slice){NULL, 0, 0}, true)) {
	case MAILAUTH_PASS:
		return OK;
	case MAILAUTH_FAIL:
	case MAILAUTH_SOFTFAIL:
	case MAILAUTH_NEUTRAL:
		return FAIL;
	case MAILAUTH_TEMPERROR:
		*error_ret = MAILAUTH_TEMPERROR;
		return DEFER;
	case MAILAUTH_NONE:
		*error_ret = permerror(work, "no SPF record to include", target);
		return DEFER;
	case MAILAUTH_UNKNOWN:
		*error_ret = MAILAUTH_UNKNOWN;
		return DEFER;
	default:
		*error_ret = MAILAUTH_PERMERROR;
		return DEFER;
	}
}

static bool asks(const struct spf_term *term)
{
	return term->mechanism != SPF_ALL && term->mechanism != SPF_IP4 && term->mechanism != SPF_IP6;
}

static enum rc match_term(struct spf_work *work, const struct spf_term *term, struct slice domain,
			  enum mailauth_result *error_ret)
{
	struct slice target;
	enum rc rc;

	if (term->mechanism == SPF_ALL)
		return OK;
	if (!asks(term))
		return address_matches(work, term, &term->ip) ? OK : FAIL;
	if (++work->terms > SPF_TERMS_MAX) {
		*error_ret = permerror(work, "more than 10 terms that need DNS lookups", SLICE_EMPTY);
		return DEFER;
	}
	rc = spf_target(work, term->domain, domain, &target);
	if (rc == DEFER || rc == CANCELLED) {
		*error_ret = temperror(rc);
		return DEFER;
	}
	if (rc == FAIL && term->mechanism == SPF_INCLUDE && !work->local_part_foreign) {
		*error_ret = permerror(work, "the name to include cannot be one", term->text);
		return DEFER;
	}
	if (rc == FAIL)
		return FAIL; /* such a name has no address (section 4.8) */
	switch ((enum spf_mechanism)term->mechanism) {
	case SPF_INCLUDE:
		return match_include(work, target, error_ret);
	case SPF_A:
		return match_address(work, term, target, true, error_ret);
	case SPF_MX:
		return match_mx(work, term, target, error_ret);
	case SPF_PTR:
		return match_ptr(work, target, error_ret);
	default:
		return match_exists(work, target, error_ret);
	}
}

/* ---- Asking ahead ----------------------------------------------------------------------------------------- */

static void term_ahead(struct spf_work *work, enum spf_mechanism mechanism, struct slice spec,
		       struct slice domain)
{
	static const uint8_t types[] = {[SPF_INCLUDE] = DNS_TXT, [SPF_MX] = DNS_MX, [SPF_EXISTS] = DNS_A};
	struct slice target;

	if (mechanism == SPF_PTR)
		ask_ahead(work, dns_reverse_name(work->task->arena, &work->query->ip, SLICE_EMPTY), DNS_PTR);
	else if (!spf_macro_needs_dns(spec) && spf_target(work, spec, domain, &target) == OK)
		ask_ahead(work, target,
			  mechanism == SPF_A ? spf_address_type(work) : (enum dns_type)types[mechanism]);
}

/* The first term that has to ask is reached, and no address matched so far: those behind it are asked at the same time. They
 * are still judged in their order. */
static void record_ahead(struct spf_work *work, const struct spf_record *record, unsigned at,
			 struct slice domain)
{
	unsigned terms = work->terms + 1;

	if (!work->resolver->prefetch)
		return;
	for (unsigned i = at + 1; i < record->count && terms < SPF_TERMS_MAX; i++) {
		if (record->terms[i].mechanism == SPF_ALL)
			return;
		/* What stands behind could match without a question; only names are asked ahead that wait anyway. */
		if (!asks(&record->terms[i]))
			continue;
		term_ahead(work, (enum spf_mechanism)record->terms[i].mechanism, record->terms[i].domain,
			   domain);
		terms++;
	}
	if (record->redirect.ptr && !record->has_all && terms < SPF_TERMS_MAX)
		term_ahead(work, SPF_INCLUDE, record->redirect, domain);
}

/* ---- Records ----------------------------------------------------------------------------------------------- */

static enum mailauth_result record_find(struct spf_work *work, struct slice domain, struct slice *ret)
{
	struct dns_answer answer;
	unsigned count = 0;
	enum rc rc = spf_ask(work, domain, DNS_TXT, &answer);

	if (rc == FAIL)
		return MAILAUTH_NONE;
	if (rc != OK)
		return temperror(rc);
	for (unsigned i = 0; i < answer.count; i++)
		if (spf_record_is(answer.records[i].text)) {
			*ret = answer.records[i].text;
			count++;
		}
	if (count > 1)
		return permerror(work, "more than one SPF record", domain);
	return count ? MAILAUTH_PASS : MAILAUTH_NONE;
}

static enum mailauth_result redirect(struct spf_work *work, const struct spf_record *record,
				     struct slice domain, bool included)
{
	struct slice target;
	enum mailauth_result result;
	enum rc rc;

	if (++work->terms > SPF_TERMS_MAX)
		return permerror(work, "more than 10 terms that need DNS lookups", SLICE_EMPTY);
	rc = spf_target(work, record->redirect, domain, &target);
	if (rc == DEFER || rc == CANCELLED)
		return temperror(rc);
	if (rc == FAIL)
		return permerror(work, "the name to redirect to cannot be one", record->redirect);
	result = check_host(work, target, (struct slice){NULL, 0, 0}, included);
	if (result == MAILAUTH_NONE)
		return permerror(work, "no SPF record to redirect to", target);
	return result;
}

static enum mailauth_result qualified(char qualifier)
{
	switch (qualifier) {
	case '-':
		return MAILAUTH_FAIL;
	case '~':
		return MAILAUTH_SOFTFAIL;
	case '?':
		return MAILAUTH_NEUTRAL;
	default:
		return MAILAUTH_PASS;
	}
}

/* The term that matched, and what explains a failure: kept for longer than the record. false: no memory. */
static bool decided_by(struct spf_work *work, const struct spf_record *record, const struct spf_term *term,
		       struct slice domain)
{
	work->mechanism = arena_copy(work->task->arena, term->text);
	if (record->explanation.ptr)
		work->explanation = arena_copy(work->task->arena, record->explanation);
	work->explanation_domain = arena_copy(work->task->arena, domain);
	return work->mechanism.ptr && work->explanation_domain.ptr &&
	       (!record->explanation.ptr || work->explanation.ptr);
}

static enum mailauth_result check_terms(struct spf_work *work, const struct spf_record *record,
					struct slice domain, bool included)
{
	enum mailauth_result result;
	bool ahead = false;
	enum rc rc;

	for (unsigned i = 0; i < record->count; i++) {
		const struct spf_term *term = &record->terms[i];

		if (!ahead && asks(term)) {
			ahead = true;
			record_ahead(work, record, i, domain);
		}
		rc = match_term(work, term, domain, &result);
		if (rc == DEFER)
			return result;
		if (rc != OK)
			continue;
		if (!included && !decided_by(work, record, term, domain))
			return MAILAUTH_TEMPERROR;
		return qualified(term->qualifier);
	}
	if (record->redirect.ptr)
		return redirect(work, record, domain, included);
	return MAILAUTH_NEUTRAL;
}

/* given: a record that nobody has to be asked for; ptr NULL: the published one. The names are valid ones. Each level of
 * recursion has used up one of ten terms. */
static enum mailauth_result check_host(struct spf_work *work, struct slice domain, struct slice given,
				       bool included)
{
	const struct spf_record *record;
	struct slice text = given;
	enum mailauth_result result;
	struct spf_kept *kept;
	enum rc rc;

	if (!given.ptr) {
		result = record_find(work, domain, &text);
		if (result != MAILAUTH_PASS)
			return result;
	}
	rc = spf_record_get(work, given.ptr ? SLICE("(guess)") : domain, text, &record, &kept);
	if (rc != OK) {
		err_prefix(&work->problem, "%.*s", SLICE_ARG(domain));
		return rc == FAIL ? MAILAUTH_PERMERROR : MAILAUTH_TEMPERROR;
	}
	result = check_terms(work, record, domain, included);
	kept_release(kept);
	return result;
}

/* ---- Explanations ------------------------------------------------------------------------------------------ */

static bool printable(struct slice text)
{
	for (uint32_t i = 0; i < text.len; i++)
		if (text.ptr[i] < ' ' || text.ptr[i] > '~')
			return false;
	return true;
}

static struct slice explain_text(struct spf_work *work, struct slice text, struct slice domain)
{
	struct slice explanation;

	if (!spf_macro_valid(text, true) || spf_macro_expand(work, text, domain, &explanation) != OK ||
	    !printable(explanation))
		return SLICE_EMPTY;
	return explanation;
}

/* Section 6.2: whatever is wrong with it, it is as if it had not been given. */
static struct slice explain(struct spf_work *work)
{
	struct slice target, text = SLICE_EMPTY;
	struct err problem = work->problem;
	struct dns_answer answer;

	if (work->explanation.ptr &&
	    spf_target(work, work->explanation, work->explanation_domain, &target) == OK &&
	    spf_ask(work, target, DNS_TXT, &answer) == OK && answer.count == 1)
		text = explain_text(work, answer.records[0].text, work->explanation_domain);
	if (!text.len && work->query->explanation.len)
		text = explain_text(work, work->query->explanation, work->explanation_domain);
	work->problem = problem;
	return text;
}

/* ---- The check ---------------------------------------------------------------------------------------------- */

/* A fully qualified name, in ASCII: not an address literal, not one label. */
static bool domain_usable(struct arena *arena, struct slice *domain)
{
	struct err err = err_make(NULL);
	ptrdiff_t dot;

	if (!domain->len || domain->ptr[0] == '[')
		return false;
	if (!ascii_only(*domain) && domain_to_ascii(arena, *domain, domain, &err) != OK)
		return false;
	if (!spf_name_valid(domain))
		return false;
	dot = slice_rfind(*domain, '.');
	if (dot < 0)
		return false;
	for (uint32_t i = (uint32_t)dot + 1; i < domain->len; i++)
		if (!ascii_is_digit(domain->ptr[i]))
			return true;
	return false; /* 1.2.3.4 */
}

static bool identity(struct spf_work *work, struct spf_result *result)
{
	const struct spf_query *q = work->query;
	struct slice sender = q->sender, local = SLICE_EMPTY;
	ptrdiff_t at = slice_rfind(sender, '@');

	result->helo_identity = !sender.len;
	result->domain = sender.len ? (at < 0 ? sender : slice_from(sender, (size_t)at + 1)) : q->helo;
	if (at > 0)
		local = slice_sub(sender, 0, (size_t)at);
	work->local_part = local.len ? local : SLICE("postmaster");
	work->local_part_foreign = !ascii_only(work->local_part);
	if (!domain_usable(work->task->arena, &result->domain))
		return false;
	work->sender_domain = result->domain;
	work->sender = slice_tainted(sender);
	if (at > 0 && slice_eq(result->domain, slice_from(sender, (size_t)at + 1)))
		return true;
	work->sender = arena_printf(work->task->arena, "%.*s@%.*s", SLICE_ARG(work->local_part),
				    SLICE_ARG(result->domain));
	if (!work->sender.ptr)
		work->sender = SLICE_EMPTY;
	work->sender.taint = TAINTED;
	return true;
}

static void evaluate(struct spf_work *work, struct spf_result *result)
{
	const struct spf_query *query = work->query;

	result->result = check_host(work, result->domain, (struct slice){NULL, 0, 0}, false);
	if (result->result == MAILAUTH_NONE && query->guess.len) {
		result->guessed = true;
		work->guessing = true;
		work->terms = work->voids = 0;
		work->problem.text = SLICE_EMPTY;
		result->result = spf_record_is(query->guess)
				     ? check_host(work, result->domain, query->guess, false)
				     : permerror(work, "the record to guess with is none", query->guess);
	}
	if (result->result == MAILAUTH_FAIL)
		result->explanation = explain(work);
	result->mechanism = work->mechanism;
	if (result->result == MAILAUTH_TEMPERROR || result->result == MAILAUTH_PERMERROR ||
	    result->result == MAILAUTH_NONE)
		result->problem = work->problem.text;
	result->terms = work->terms;
	result->voids = work->voids;
	spf_result_keep(work, result);
}

enum rc spf_check(struct task *task, const struct mailauth_resolver *resolver, const struct spf_query *query,
		  struct spf_result *ret)
{
	struct spf_work work = {
	    .task = task,
	    .resolver = resolver,
	    .query = query,
	    .mechanism = SLICE_EMPTY,
	    .explanation = {NULL, 0, 0},
	    .explanation_domain = SLICE_EMPTY,
	    .problem = err_make(task->arena),
	    .good = kept_time_begin(resolver->timed ? task->shard : NULL),
	};
	struct spf_result result = {.result = MAILAUTH_NONE,
				    .mechanism = SLICE_EMPTY,
				    .explanation = SLICE_EMPTY,
				    .problem = SLICE_EMPTY};
	uint64_t until = task->until;

	if (task->shard)
		task->until = task_until(task, SPF_LIMIT_MS);
	if (!identity(&work, &result)) {
		(void)err_set(&work.problem, FAIL, "not a domain name: %.*s",
			      SLICE_ARG(slice_sub(result.domain, 0, 300)));
		result.problem = work.problem.text;
	} else if (!spf_result_find(&work, &result)) {
		evaluate(&work, &result);
	}
	task->until = until;
	if (result.result == MAILAUTH_UNKNOWN || task->cancelled)
		return CANCELLED;
	*ret = result;
	return OK;
}
