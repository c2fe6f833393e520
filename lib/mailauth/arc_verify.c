/* arc_verify: is the Authenticated Received Chain whole (RFC 8617 section 5.2)? */
#include "arc.h"

static bool fail(struct arc_state *arc, struct slice reason)
{
	arc->result = MAILAUTH_FAIL;
	arc->reason = reason.ptr ? reason : SLICE("no memory");
	return false;
}

/* Section 5.2, steps 2 and 3: each set whole, each number there, each seal saying what it has to. */
static bool form_is_good(struct arena *arena, struct arc_state *arc)
{
	if (arc->collected_bad)
		return fail(arc, arc->reason);
	if (!arc->count)
		return fail(arc, SLICE("collecting headers: no set"));
	for (unsigned i = arc->count; i >= 1; i--) {
		const struct arc_set *set = arc->sets[i];
		unsigned there = 0, below = i;

		for (unsigned kind = 0; set && kind < ARC_KINDS; kind++)
			there += set->fields[kind] != UINT32_MAX;
		while (!there && below && !arc->sets[below])
			below--;
		if (!there && !below)
			return fail(arc, arena_printf(arena, "(sequence; expected i=%u)", i));
		if (!there)
			return fail(arc, arena_printf(arena, "i=%u (sequence; expected %u)", below, i));
		if (there < ARC_KINDS)
			return fail(arc, arena_printf(arena, "i=%u (missing header)", i));
	}
	for (unsigned i = 1; i <= arc->count; i++) {
		const struct arc_seal *seal = &arc->sets[i]->seal;

		if (slice_eq(seal->cv, SLICE("fail")))
			return fail(arc, arena_printf(arena, "i=%u (cv)", i));
		if (seal->bad)
			return fail(arc, SLICE("required tag missing"));
		if (!slice_eq(seal->cv, i == 1 ? SLICE("none") : SLICE("pass")))
			return fail(arc, SLICE("seal cv state"));
	}
	return true;
}

static struct slice list_domains(struct arena *arena, const struct arc_state *arc)
{
	struct str list = str_make(arena);

	for (unsigned i = 1; i <= arc->count; i++) {
		if (i > 1)
			str_addc(&list, ':');
		if (arc->sets[i] && arc->sets[i]->seal.domain.ptr)
			str_add(&list, arc->sets[i]->seal.domain);
	}
	return list.failed ? SLICE_EMPTY : str_slice(&list);
}

static struct slice message_failure(struct arena *arena, const struct dkim_signature *s)
{
	switch (s->reason) {
	case REASON_KEY_LATER:
	case REASON_KEY_NONE:
		return arena_printf(arena, "pubkey dns lookup fail (%s)",
				    s->reason == REASON_KEY_LATER ? "temporary" : "no record");
	case REASON_BODY_HASH:
		return SLICE("AMS body hash miscompare");
	case REASON_SYNTAX:
		return SLICE("required tag missing");
	default:
		return SLICE("AMS sig nonverify");
	}
}

/* Step 4, and the optional 5: older message signatures, as far as they are good without a gap. */
static enum rc verify_messages(struct dkim_work *work, struct arc_state *arc, bool *good_ret, struct err *err)
{
	for (unsigned i = arc->count; i >= 1; i--) {
		struct dkim_signature *s = arc->sets[i]->message;
		enum rc rc = dkim_signature_verify(work, s, err);

		if (rc != OK)
			return rc;
		if (s->reason != REASON_NONE) {
			if (i == arc->count) {
				arc->temporary = s->reason == REASON_KEY_LATER;
				*good_ret = fail(arc, message_failure(work->arena, s));
				return OK;
			}
			break;
		}
		arc->oldest_pass = i;
	}
	*good_ret = true;
	return OK;
}

/* Step 6: from the newest to the oldest. */
static enum rc verify_seals(struct dkim_work *work, struct arc_state *arc, bool *good_ret, struct err *err)
{
	header_hash_seals(arc, work->index->fields);
	for (unsigned i = arc->count; i >= 1; i--) {
		struct arc_set *set = arc->sets[i];
		enum dkim_reason reason;
		struct dkim_key key;
		enum rc rc = dkim_work_turn(work, err);
		bool sealed;

		if (rc != OK)
			return rc;
		rc = dkim_key_fetch(work, set->seal.selector, set->seal.domain, set->seal.key_type,
				    HASH_SHA256, &key, &reason, err);
		sealed = rc == OK && dkim_key_verifies(&key, HASH_SHA256, set->digest, set->seal.signature);
		dkim_key_release(&key);
		if (rc == DEFER || rc == CANCELLED)
			return rc;
		if (rc == FAIL) {
			bool later = reason == REASON_KEY_LATER;
			arc->temporary = later;
			*good_ret = fail(arc, later || reason == REASON_KEY_NONE
						  ? arena_printf(work->arena, "pubkey dns lookup fail (%s)",
								 later ? "temporary" : "no record")
						  : arena_printf(work->arena, "seal pubkey: %.*s",
								 SLICE_ARG(dkim_reason_phrase(reason))));
			return OK;
		}
		if (!sealed) {
			*good_ret = fail(arc, SLICE("seal sigverify error"));
			return OK;
		}
	}
	*good_ret = true;
	return OK;
}

static void prefetch(struct dkim_work *work, struct slice selector, struct slice domain)
{
	dkim_key_ahead(work->task, work->resolver, selector, domain);
}

/* All at once, so that the chain costs one round of questions. The newest message signature's is the one that is asked for next. */
static void prefetch_all(struct dkim_work *work, const struct arc_state *arc)
{
	for (unsigned i = 1; i <= arc->count; i++) {
		const struct arc_seal *seal = &arc->sets[i]->seal;
		const struct dkim_signature *message = arc->sets[i]->message;
		bool same =
		    slice_eq(seal->selector, message->selector) && slice_eq(seal->domain, message->domain);

		if (message->reason == REASON_NONE && i < arc->count)
			prefetch(work, message->selector, message->domain);
		if (!same || message->reason != REASON_NONE)
			prefetch(work, seal->selector, seal->domain);
	}
}

enum rc arc_evaluate(struct dkim_work *work, struct message *message, struct err *err)
{
	struct arc_state *arc = arc_state_of(message);
	bool good = false;
	enum rc rc;

	arc_is_wanted(work->task->shard);
	arc->domains = list_domains(work->arena, arc);
	if (!form_is_good(work->arena, arc))
		return OK;
	work->index = dkim_fields(message);
	if (!work->index)
		return err_memory(err);
	body_hashes_end(&dkim_state_of(message)->body);
	prefetch_all(work, arc);
	rc = verify_messages(work, arc, &good, err);
	if (rc == OK && good)
		rc = verify_seals(work, arc, &good, err);
	if (rc == OK && good)
		arc->result = MAILAUTH_PASS;
	return rc;
}

enum rc arc_verify(struct scope *sc, const struct mailauth_resolver *resolver, struct arc_result *ret,
		   struct err *err)
{
	struct arc_state *arc = arc_state_of(sc->message);
	struct mailauth *auth;
	enum rc rc = OK;

	if (!arc) {
		auth = mailauth_of(sc->message);
		arc = auth ? arena_make(&sc->message->arena, struct arc_state) : NULL;
		if (!arc)
			return err_memory(err);
		*arc = (struct arc_state){.evaluated = true,
					  .result = MAILAUTH_NONE,
					  .reason = SLICE_EMPTY,
					  .domains = SLICE_EMPTY};
		auth->arc = arc;
	}
	if (!arc->evaluated) {
		struct dkim_limits limits;
		struct dkim_work work = {
		    .task = sc->task, .arena = &sc->message->arena, .resolver = resolver, .limits = &limits};

		rc = dkim_limits_get(sc, &limits, err);
		if (rc == OK)
			rc = arc_evaluate(&work, sc->message, err);
		arc->evaluated = rc == OK;
	}
	if (rc == OK)
		(void)arc_result_get(sc->message, ret);
	return rc;
}

bool arc_result_get(const struct message *message, struct arc_result *ret)
{
	const struct arc_state *arc = arc_state_of(message);

	if (!arc || !arc->evaluated)
		return false;
	*ret =
	    (struct arc_result){.result = arc->result,
				.reason = arc->reason,
				.domains = arc->domains,
				.temporary = arc->temporary,
				.count = arc->count,
				.oldest_pass = arc->oldest_pass,
				.selector = arc->count ? arc->sets[arc->count]->seal.selector : SLICE_EMPTY};
	if (!ret->selector.ptr)
		ret->selector = SLICE_EMPTY;
	return true;
}

/* ---- Variables ---------------------------------------------------------------------------------------------------- */

enum { V_STATE, V_REASON, V_DOMAINS, V_OLDEST };

static enum rc get(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	struct arc_result arc;

	if (!arc_result_get(sc->message, &arc)) {
		*ret = variable->arg == V_OLDEST ? SLICE("0") : SLICE_EMPTY;
		return OK;
	}
	switch (variable->arg) {
	case V_STATE:
		*ret = mailauth_result_word(arc.result);
		break;
	case V_REASON:
		*ret = arc.reason;
		break;
	case V_DOMAINS:
		*ret = arc.domains;
		break;
	default:
		*ret = arena_printf(sc->task->arena, "%u", arc.oldest_pass);
	}
	return ret->ptr ? OK : err_memory(err);
}

static const struct variable rows[] = {
    {"arc_domains", get, V_DOMAINS},
    {"arc_oldest_pass", get, V_OLDEST},
    {"arc_state", get, V_STATE},
    {"arc_state_reason", get, V_REASON},
};
const struct variable_table arc_variables = {rows, ARRAY_COUNT(rows)};
