/* dmarc: a message judged once, what policy can read of that, and the line that opendmarc's tools count. */
#include <unistd.h>

#include "dmarc.h"
#include "dmarc_state.h"

struct slice dmarc_status_word(enum dmarc_status status)
{
	static const char *const words[] = {
	    [DMARC_UNCHECKED] = "none",        [DMARC_ACCEPT] = "accept", [DMARC_NONE] = "none",
	    [DMARC_NORECORD] = "norecord",     [DMARC_NOFROM] = "nofrom", [DMARC_TEMPERROR] = "temperror",
	    [DMARC_QUARANTINE] = "quarantine", [DMARC_REJECT] = "reject", [DMARC_OFF] = "off"};

	return slice_of(words[status]);
}

static struct slice status_text(enum dmarc_status status)
{
	static const char *const texts[] = {
	    [DMARC_UNCHECKED] = "",
	    [DMARC_ACCEPT] = "Accept",
	    [DMARC_NONE] = "None, Accept",
	    [DMARC_NORECORD] = "No DMARC record",
	    [DMARC_NOFROM] = "No From: domain found",
	    [DMARC_TEMPERROR] = "Internal Policy Error",
	    [DMARC_QUARANTINE] = "Quarantine",
	    [DMARC_REJECT] = "Reject",
	    [DMARC_OFF] = "Verification disabled",
	};

	return slice_of(texts[status]);
}

struct dmarc_state *dmarc_state_of(const struct message *message)
{
	const struct mailauth *mailauth = message ? message->extra[MAILAUTH_EXTRA] : NULL;

	return mailauth ? mailauth->dmarc : NULL;
}

const struct dmarc_result *dmarc_result_get(const struct message *message)
{
	const struct dmarc_state *state = dmarc_state_of(message);

	return state && state->result.status != DMARC_UNCHECKED ? &state->result : NULL;
}

void dmarc_control(struct message *message, bool disable, bool forensic)
{
	struct mailauth *mailauth = disable || forensic ? mailauth_of(message) : NULL;

	if (!mailauth)
		return;
	mailauth->dmarc_disabled |= disable;
	mailauth->dmarc_forensic |= forensic;
}

static struct slice org_by_suffixes(void *arg, struct arena *arena, struct slice domain)
{
	return dmarc_suffixes_org(arena, arg, domain);
}

enum rc dmarc_query_of(struct scope *sc, struct dmarc_query *query_ret, struct err *err)
{
	const struct dmarc_suffixes *list;
	struct slice path = SLICE_EMPTY;
	enum rc rc = expand_option(sc, mailauth_options(sc->conf)->dmarc_tld_file, &path, err);

	*query_ret = (struct dmarc_query){.spf_domain = SLICE_EMPTY};
	if (rc == OK && path.len)
		rc = dmarc_suffixes_get(sc->task, path, &list, err);
	if (rc != OK || !path.len)
		return rc;
	query_ret->org = org_by_suffixes;
	query_ret->arg = (void *)(uintptr_t)list;
	return OK;
}

/* Names are compared as A-labels, as which From: gives them; mail in UTF-8 may have written either (RFC 8616). */
static struct slice as_labels(struct arena *arena, struct slice domain)
{
	struct err why = err_make(NULL);
	struct slice labels;

	return ascii_only(domain) || domain_to_ascii(arena, domain, &labels, &why) != OK ? domain : labels;
}

/* false: no memory. */
static bool gather(struct scope *sc, struct dmarc_state *state)
{
	struct arena *arena = &sc->message->arena;
	const struct spf_result *spf = spf_result_real(sc->message);
	unsigned count = 0;
	struct dkim_result r;

	if (spf) {
		state->spf = spf->result;
		state->spf_domain = as_labels(arena, spf->domain);
	}
	while (count < DKIM_SIGNATURES_MAX && dkim_result_get(sc->message, count, &r))
		count++;
	state->dkim_count = 0;
	state->dkim = count ? arena_array(arena, struct dkim_result, count) : NULL;
	if (count && !state->dkim)
		return false;
	for (unsigned i = 0; i < count && dkim_result_get(sc->message, i, &r); i++) {
		r.domain = as_labels(arena, r.domain);
		state->dkim[state->dkim_count++] = r;
	}
	return true;
}

static enum rc check(struct scope *sc, const struct mailauth_resolver *resolver, struct dmarc_state *state,
		     struct err *err)
{
	struct slice domains[DMARC_FROM_MAX];
	struct dmarc_query query;
	enum rc rc = dmarc_query_of(sc, &query, err);

	if (rc == CANCELLED)
		return rc;
	if (rc != OK) {
		/* Mail flows, and somebody is told. */
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, &sc->message->id,
			   "DMARC is off: %.*s", SLICE_ARG(err->text));
		state->result.status = DMARC_NONE;
		return OK;
	}
	query.from = domains;
	query.spf = state->spf;
	query.spf_domain = state->spf_domain;
	query.dkim = state->dkim;
	query.dkim_count = state->dkim_count;
	state->psl = query.org != NULL;
	if (!dmarc_from(&sc->message->arena, sc->message, domains, &query.from_count))
		return err_memory(err);
	return dmarc_check(sc->task, resolver, &query, &state->result);
}

static bool keep(struct arena *arena, struct dmarc_result *r)
{
	r->from = arena_copy(arena, r->from);
	r->used_domain = arena_copy(arena, r->used_domain);
	r->problem = arena_copy(arena, r->problem);
	r->record.rua = arena_copy(arena, r->record.rua);
	r->record.ruf = arena_copy(arena, r->record.ruf);
	return r->from.ptr && r->used_domain.ptr && r->problem.ptr && r->record.rua.ptr && r->record.ruf.ptr;
}

static void clear(struct dmarc_result *r, enum dmarc_status status)
{
	*r = (struct dmarc_result){
	    .status = status, .from = SLICE_EMPTY, .used_domain = SLICE_EMPTY, .problem = SLICE_EMPTY};
	r->record.rua = r->record.ruf = SLICE_EMPTY;
}

enum rc dmarc_evaluate(struct scope *sc, const struct mailauth_resolver *resolver, struct err *err)
{
	struct mailauth *mailauth = mailauth_of(sc->message);
	struct dmarc_state *state;
	enum rc rc;

	if (!mailauth ||
	    (!mailauth->dmarc && !(mailauth->dmarc = arena_make(&sc->message->arena, struct dmarc_state))))
		return err_memory(err);
	state = mailauth->dmarc;
	if (state->result.status != DMARC_UNCHECKED)
		return OK;
	clear(&state->result, DMARC_UNCHECKED);
	state->spf_domain = state->reports_left = state->reports_instead = SLICE_EMPTY;
	if (mailauth->dmarc_disabled) {
		state->result.status = DMARC_OFF;
		return OK;
	}
	if (!sc->client || !sc->client->ip.family || sc->client->authenticated_id.len) {
		state->result.status = DMARC_NONE;
		return OK;
	}
	if (!gather(sc, state))
		return err_memory(err);
	if (!spf_result_real(sc->message))
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, &sc->message->id,
			   "DMARC: no \"spf\" condition has run for this message: SPF counts as \"none\"");
	rc = check(sc, resolver, state, err);
	if (rc == CANCELLED)
		return rc;
	if (rc != OK || !keep(&sc->message->arena, &state->result)) {
		clear(&state->result, DMARC_UNCHECKED);
		return err_memory(err);
	}
	state->forensic = mailauth->dmarc_forensic && !sc->dry_run;
	state->reports_left = state->result.record.ruf;
	if (log_wants(sc->conf, LOG_DMARC_VERBOSE) || state->result.problem.len)
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, &sc->message->id,
			   "DMARC: %.*s: from=%.*s record=%.*s spf=%s dkim=%s%s%.*s",
			   SLICE_ARG(dmarc_status_word(state->result.status)), SLICE_ARG(state->result.from),
			   SLICE_ARG(state->result.used_domain), state->result.align_spf ? "aligned" : "no",
			   state->result.align_dkim ? "aligned" : "no", state->result.problem.len ? ": " : "",
			   SLICE_ARG(state->result.problem));
	if (state->result.used_domain.len && !sc->dry_run)
		return dmarc_history_write(sc, state, err) == CANCELLED ? CANCELLED : OK;
	return OK;
}

/* ---- Variables -------------------------------------------------------------------------------------------- */

struct slice dmarc_authres_word(const struct dmarc_result *r)
{
	switch (r->status) {
	case DMARC_ACCEPT:
		return SLICE("pass");
	case DMARC_REJECT:
	case DMARC_QUARANTINE:
		return SLICE("fail");
	case DMARC_NONE:
		return r->used_domain.len ? SLICE("fail") : SLICE("none");
	case DMARC_TEMPERROR:
		return SLICE("temperror");
	case DMARC_OFF:
		return SLICE("skipped");
	default:
		return SLICE("none");
	}
}

/* The policy is what is asked for where the message fails, with sp, np and t done: a reader far behind us, of ARC say, cannot ask for the
 * record of today. It is not said where it was not come to. */
void dmarc_authres(struct authres_maker *maker, const struct dmarc_result *r, struct slice comment)
{
	bool judged = r->status == DMARC_ACCEPT || r->status == DMARC_REJECT ||
		      r->status == DMARC_QUARANTINE || r->status == DMARC_NONE;

	authres_method(maker, SLICE("dmarc"), dmarc_authres_word(r), comment);
	if (r->from.len)
		authres_property(maker, SLICE("header.from"), r->from);
	if (judged && r->used_domain.len)
		authres_property(maker, SLICE("policy.dmarc"), dmarc_status_word(r->requested));
}

enum { STATUS, STATUS_TEXT, USED_DOMAIN, DOMAIN_POLICY, ALIGN_SPF, ALIGN_DKIM, AR_HEADER };

static struct slice policy_word(char policy)
{
	return policy == 'r'   ? SLICE("reject")
	       : policy == 'q' ? SLICE("quarantine")
	       : policy == 'n' ? SLICE("none")
			       : SLICE_EMPTY;
}

static enum rc get_ar_header(struct scope *sc, const struct dmarc_result *r, struct slice *ret,
			     struct err *err)
{
	struct str out = str_make(sc->task->arena);
	struct authres_maker maker = {.out = &out};

	str_addz(&out, "Authentication-Results: ");
	str_add(&out, conf_main(sc->conf)->primary_hostname);
	dmarc_authres(&maker, r, SLICE_EMPTY);
	*ret = str_slice(&out);
	return out.failed ? err_memory(err) : OK;
}

static enum rc get(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	const struct dmarc_result *r = dmarc_result_get(sc->message);
	bool aligned = variable->arg == ALIGN_SPF || variable->arg == ALIGN_DKIM;

	*ret = variable->arg == STATUS ? SLICE("none") : aligned ? SLICE("no") : SLICE_EMPTY;
	if (!r)
		return OK;
	switch (variable->arg) {
	case STATUS:
		*ret = dmarc_status_word(r->status);
		break;
	case STATUS_TEXT:
		/* Of whom nobody has looked at there is nothing to say. */
		*ret = r->status == DMARC_NONE && !r->from.len ? SLICE_EMPTY : status_text(r->status);
		break;
	case USED_DOMAIN:
		/* Where there is no record it is the domain that was asked about, as in Exim. */
		*ret = slice_tainted(r->used_domain.len ? r->used_domain : r->from);
		break;
	case DOMAIN_POLICY:
		*ret = policy_word(r->policy);
		break;
	case AR_HEADER:
		return get_ar_header(sc, r, ret, err);
	default:
		*ret =
		    (variable->arg == ALIGN_SPF ? r->align_spf : r->align_dkim) ? SLICE("yes") : SLICE("no");
		break;
	}
	return OK;
}

static const struct variable rows[] = {
    {"dmarc_alignment_dkim", get, ALIGN_DKIM},
    {"dmarc_alignment_spf", get, ALIGN_SPF},
    {"dmarc_ar_header", get, AR_HEADER},
    {"dmarc_domain_policy", get, DOMAIN_POLICY},
    {"dmarc_status", get, STATUS},
    {"dmarc_status_text", get, STATUS_TEXT},
    {"dmarc_used_domain", get, USED_DOMAIN},
    {"domain_used_domain", get, USED_DOMAIN}, /* an old misprint that configurations copied */
};
const struct variable_table dmarc_variables = {rows, sizeof(rows) / sizeof(*rows)};
