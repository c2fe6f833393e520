/* dkim_result: what came of signatures: in the words of $dkim_verify_status, of the log, of RFC 8601; the rounds of the DKIM
 * ACL, which may change them. */
#include "dkim.h"

#define SIGNERS_MAX 100 /* for whom the DKIM ACL is run in one message */

static const struct outcome {
	const char *status, *reason; /* $dkim_verify_status, $dkim_verify_reason */
	const char *phrase;          /* for the log */
	enum mailauth_result result;
	const char *comment; /* in Authentication-Results */
} outcomes[] = {
    [REASON_NONE] = {"pass", "", "", MAILAUTH_PASS, ""},
    [REASON_SYNTAX] = {"invalid", "signature_syntax", "signature tag missing or invalid", MAILAUTH_NEUTRAL,
		       "signature tag missing or invalid"},
    [REASON_VERSION] = {"invalid", "signature_version", "unsupported DKIM version", MAILAUTH_NEUTRAL,
			"unsupported DKIM version"},
    [REASON_ALGORITHM] = {"invalid", "signature_algorithm", "algorithm not accepted", MAILAUTH_POLICY,
			  "algorithm not accepted"},
    [REASON_KEY_NONE] = {"invalid", "pubkey_unavailable", "public key record (currently?) unavailable",
			 MAILAUTH_PERMERROR, "no public key record"},
    [REASON_KEY_LATER] = {"invalid", "pubkey_unavailable", "public key record (currently?) unavailable",
			  MAILAUTH_TEMPERROR, "public key record unavailable"},
    [REASON_KEY_SYNTAX] = {"invalid", "pubkey_dns_syntax", "syntax error in public key record",
			   MAILAUTH_PERMERROR, "syntax error in public key record"},
    [REASON_KEY_REVOKED] = {"invalid", "pubkey_der_syntax", "public key revoked", MAILAUTH_PERMERROR,
			    "public key revoked"},
    [REASON_KEY_DATA] = {"invalid", "pubkey_der_syntax", "syntax error in public key", MAILAUTH_PERMERROR,
			 "syntax error in public key"},
    [REASON_KEY_UNFIT] = {"invalid", "pubkey_unfit", "public key is not for this signature",
			  MAILAUTH_PERMERROR, "public key is not for this signature"},
    [REASON_KEY_SHORT] = {"fail", "pubkey_too_short", "signature invalid (key too short)", MAILAUTH_POLICY,
			  "public key too short"},
    [REASON_KEY_LONG] = {"invalid", "pubkey_too_long", "public key too long", MAILAUTH_POLICY,
			 "public key too long"},
    [REASON_BODY_HASH] = {"fail", "bodyhash_mismatch",
			  "body hash mismatch (body probably modified in transit)", MAILAUTH_FAIL,
			  "body hash mismatch"},
    [REASON_SIGNATURE] = {"fail", "signature_incorrect",
			  "signature did not verify (headers probably modified in transit)", MAILAUTH_FAIL,
			  "signature did not verify"},
    [REASON_EXPIRED] = {"fail", "signature_expired", "signature expired", MAILAUTH_FAIL, "signature expired"},
    [REASON_WORK] = {"invalid", "too_much_work", "too much work for one message", MAILAUTH_NEUTRAL,
		     "too much work for one message"},
    [REASON_SKIPPED] = {"none", "", "", MAILAUTH_NONE, "not verified"},
};

struct slice dkim_reason_phrase(enum dkim_reason reason)
{
	return slice_of(outcomes[reason].phrase);
}

/* A signature that nobody has looked at yet. */
static bool is_open(const struct dkim_signature *s)
{
	return !s->verified && s->reason == REASON_NONE;
}

struct slice dkim_status_word(const struct dkim_signature *s)
{
	if (s->status_set.ptr)
		return s->status_set;
	return is_open(s) ? SLICE("none") : slice_of(outcomes[s->reason].status);
}

struct slice dkim_reason_word(const struct dkim_signature *s)
{
	return s->reason_set.ptr ? s->reason_set : slice_of(outcomes[s->reason].reason);
}

enum mailauth_result dkim_signature_result(const struct dkim_signature *s)
{
	static const struct {
		const char *word;
		enum mailauth_result result;
	} words[] = {{"none", MAILAUTH_NONE},           {"pass", MAILAUTH_PASS},
		     {"fail", MAILAUTH_FAIL},           {"policy", MAILAUTH_POLICY},
		     {"neutral", MAILAUTH_NEUTRAL},     {"invalid", MAILAUTH_NEUTRAL},
		     {"temperror", MAILAUTH_TEMPERROR}, {"permerror", MAILAUTH_PERMERROR}};

	if (!s->status_set.ptr || slice_eq(s->status_set, slice_of(outcomes[s->reason].status)))
		return is_open(s) ? MAILAUTH_NONE : outcomes[s->reason].result;
	/* Good, but for what the administrator wants: RFC 8601 section 2.7.1 has a word for that. */
	if (s->verified && s->reason == REASON_NONE)
		return MAILAUTH_POLICY;
	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		if (slice_eq_nocase(s->status_set, slice_of(words[i].word)))
			return words[i].result;
	return MAILAUTH_POLICY; /* a word of the administrator's: whatever it says, it is not "pass" */
}

bool dkim_result_get(const struct message *message, unsigned number, struct dkim_result *ret)
{
	const struct dkim_state *state = dkim_state_of(message);
	const struct dkim_signature *s;

	if (!state || !state->verified || number >= state->count)
		return false;
	s = state->signatures[number];
	*ret = (struct dkim_result){
	    .domain = s->domain,
	    .identity = s->identity,
	    .selector = s->selector,
	    .algorithm = s->algorithm_text,
	    .b = s->b_text,
	    .result = dkim_signature_result(s),
	    .comment = s->reason_set.ptr ? s->reason_set : slice_of(outcomes[s->reason].comment),
	    .key_bits = s->key_bits,
	    .testing = s->key_testing,
	};
	return true;
}

/* ---- The log ------------------------------------------------------------------------------------------------------ */

static void log_one(struct scope *sc, const struct dkim_signature *s)
{
	struct str line = str_make(sc->task->arena);
	const char *status = is_open(s) ? "none" : outcomes[s->reason].status;

	str_addz(&line, "DKIM: d=");
	str_add(&line, s->domain);
	str_addz(&line, " s=");
	str_add(&line, s->selector);
	str_printf(&line, " c=%s/%s a=%.*s b=%u", s->header_relaxed ? "relaxed" : "simple",
		   s->body_relaxed ? "relaxed" : "simple", SLICE_ARG(s->algorithm_text),
		   s->signature.len * 8);
	if (s->identity.len) {
		str_addz(&line, " i=");
		str_add(&line, s->identity);
	}
	if (s->has_created)
		str_printf(&line, " t=%llu", (unsigned long long)s->created);
	if (s->has_expires)
		str_printf(&line, " x=%llu", (unsigned long long)s->expires);
	if (s->has_length)
		str_printf(&line, " l=%llu", (unsigned long long)s->length);
	if (s->reason == REASON_NONE)
		str_addz(&line, is_open(s) ? " [not verified]" : " [verification succeeded]");
	else if (s->reason == REASON_SKIPPED)
		str_addz(&line, " [not verified]");
	else
		str_printf(&line, " [%s - %s%s%.*s]",
			   strcmp(status, "fail") == 0 ? "verification failed" : "invalid",
			   outcomes[s->reason].phrase, s->detail.len ? ": " : "", SLICE_ARG(s->detail));
	log_write(sc->task->shard, sc->conf, LOG_TO_MAIN, &sc->message->id, str_slice(&line));
}

void dkim_log_signatures(struct scope *sc, const struct dkim_state *state)
{
	if (!log_wants(sc->conf, LOG_DKIM_VERBOSE))
		return;
	for (unsigned i = 0; i < state->count; i++)
		log_one(sc, state->signatures[i]);
	if (state->more)
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, &sc->message->id,
			   "DKIM: %u more signatures were not looked at", state->more);
}

struct slice dkim_passed_domain(const struct message *message)
{
	const struct dkim_state *state = dkim_state_of(message);

	for (unsigned i = 0; state && state->verified && i < state->count; i++)
		if (dkim_signature_result(state->signatures[i]) == MAILAUTH_PASS)
			return state->signatures[i]->domain;
	return SLICE_EMPTY;
}

/* ---- The rounds of the DKIM ACL ------------------------------------------------------------------------------------- */

enum rc dkim_round_first(struct scope *sc, struct dkim_rounds *rounds, struct err *err)
{
	struct dkim_state *state = dkim_state_of(sc->message);
	enum rc rc;

	*rounds =
	    (struct dkim_rounds){.signers = {NULL, 0, CLEAN}, .signer = SLICE_EMPTY, .next = UINT32_MAX};
	if (!state || !state->verified)
		return OK;
	rounds->seen = arena_array(sc->task->arena, struct slice, SIGNERS_MAX);
	if (!rounds->seen)
		return err_memory(err);
	rc = expand_option(sc, mailauth_options(sc->conf)->dkim_verify_signers, &rounds->signers, err);
	if (rc != OK)
		return rc;
	state->verify_signers = arena_copy(&sc->message->arena, rounds->signers);
	if (!state->verify_signers.ptr)
		return err_memory(err);
	rounds->signers = state->verify_signers;
	return OK;
}

/* An identity is compared with i=, a domain with d=. */
static bool is_by(const struct dkim_signature *s, struct slice signer)
{
	return slice_find(signer, '@') >= 0 ? slice_eq_nocase(s->identity, signer)
					    : slice_eq_nocase(s->domain, signer);
}

static bool next_signer(struct scope *sc, struct dkim_rounds *rounds)
{
	struct slice item;

	while (rounds->seen_count < SIGNERS_MAX &&
	       list_next(sc->task->arena, &rounds->signers, &rounds->separator, &item)) {
		bool seen = !item.ptr || !item.len;

		for (unsigned i = 0; i < rounds->seen_count && !seen; i++)
			seen = slice_eq_nocase(rounds->seen[i], item);
		if (seen)
			continue;
		rounds->seen[rounds->seen_count++] = rounds->signer = item;
		rounds->next = 0;
		rounds->found = false;
		return true;
	}
	return false;
}

static void round_begin(struct dkim_state *state, struct slice signer, struct dkim_signature *signature)
{
	state->in_round = true;
	state->cur_signer = signer;
	state->current = signature;
	state->round_status = state->round_reason = (struct slice){NULL, 0, CLEAN};
}

bool dkim_round_next(struct scope *sc, struct dkim_rounds *rounds)
{
	struct dkim_state *state = dkim_state_of(sc->message);

	if (!state || !rounds->signers.ptr)
		return false;
	for (;;) {
		/* What the last round was about can be read from now on, too. */
		if (rounds->next == UINT32_MAX && !next_signer(sc, rounds))
			return false;
		while (rounds->next < state->count) {
			struct dkim_signature *signature = state->signatures[rounds->next++];

			if (!is_by(signature, rounds->signer))
				continue;
			rounds->found = true;
			round_begin(state, rounds->signer, signature);
			return true;
		}
		rounds->next = UINT32_MAX;
		if (!rounds->found) {
			/* Nothing is there of this signer: that, too, is for the ACL to judge. */
			round_begin(state, rounds->signer, NULL);
			return true;
		}
	}
}

void dkim_round_done(struct scope *sc, struct dkim_rounds *rounds)
{
	struct dkim_state *state = dkim_state_of(sc->message);
	struct str list = str_make(&sc->message->arena);

	(void)rounds;
	if (state->current && state->round_status.ptr)
		state->current->status_set = state->round_status;
	if (state->current && state->round_reason.ptr)
		state->current->reason_set = state->round_reason;
	if (state->statuses.ptr) {
		str_add(&list, state->statuses);
		str_addc(&list, ':');
	}
	str_add(&list, dkim_current_status(sc));
	if (!list.failed)
		state->statuses = str_slice(&list);
	state->in_round = false;
}

bool dkim_override(struct scope *sc, bool reason, struct slice value)
{
	struct dkim_state *state = dkim_state_of(sc->message);
	struct slice copy;

	if (!state)
		return false;
	copy = arena_copy(&sc->message->arena, value);
	if (!copy.ptr)
		return false;
	if (reason)
		state->round_reason = copy;
	else if (state->in_round)
		state->round_status = copy;
	else
		state->statuses = copy;
	return true;
}

struct slice dkim_current_signer(const struct message *message)
{
	const struct dkim_state *state = dkim_state_of(message);

	return state && state->in_round ? state->cur_signer : SLICE_EMPTY;
}

struct slice dkim_current_status(struct scope *sc)
{
	const struct dkim_state *state = dkim_state_of(sc->message);
	struct str list = str_make(sc->task->arena);

	if (!state || !state->verified)
		return SLICE_EMPTY;
	if (state->in_round) {
		if (state->round_status.ptr)
			return state->round_status;
		return state->current ? dkim_status_word(state->current) : SLICE("none");
	}
	if (state->statuses.ptr)
		return state->statuses;
	/* No DKIM ACL has run: the statuses of all signatures. */
	for (unsigned i = 0; i < state->count; i++) {
		if (i)
			str_addc(&list, ':');
		str_add(&list, dkim_status_word(state->signatures[i]));
	}
	return !state->count || list.failed ? SLICE_EMPTY : str_slice(&list);
}
