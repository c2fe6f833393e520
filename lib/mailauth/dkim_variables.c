/* dkim_variables: $dkim_...: of the signature whose round of the DKIM ACL this is; of the key that signs, in a transport. */
#include "dkim.h"

enum {
	V_ALGO,
	V_BODYLENGTH,
	V_CANON_BODY,
	V_CANON_HEADERS,
	V_COPIED,
	V_CREATED,
	V_CUR_SIGNER,
	V_DOMAIN,
	V_EXPIRES,
	V_HEADERNAMES,
	V_IDENTITY,
	V_KEY_GRANULARITY,
	V_KEY_LENGTH,
	V_KEY_NOSUBDOMAINS,
	V_KEY_NOTES,
	V_KEY_SRVTYPE,
	V_KEY_TESTING,
	V_SELECTOR,
	V_SIGNERS,
	V_VERIFY_REASON,
	V_VERIFY_SIGNERS,
	V_VERIFY_STATUS,
};

static struct slice number(struct scope *sc, uint64_t value)
{
	return arena_printf(sc->task->arena, "%llu", (unsigned long long)value);
}

/* A list of names without its folding. */
static struct slice names(struct scope *sc, struct slice list)
{
	struct str out = str_make(sc->task->arena);
	struct slice name;
	bool first = true;

	while (list.ptr && tag_item(&list, &name)) {
		if (!first)
			str_addc(&out, ':');
		first = false;
		str_add(&out, name);
	}
	return str_slice(&out);
}

#define LARGE SLICE("9999999999999") /* so that it can always be compared */

static struct slice of_signature(struct scope *sc, size_t which, const struct dkim_signature *s)
{
	switch (which) {
	case V_ALGO:
		return s ? s->algorithm_text : SLICE_EMPTY;
	case V_BODYLENGTH:
		return s && s->has_length ? number(sc, s->length) : LARGE;
	case V_CANON_BODY:
		return !s ? SLICE_EMPTY : s->body_relaxed ? SLICE("relaxed") : SLICE("simple");
	case V_CANON_HEADERS:
		return !s ? SLICE_EMPTY : s->header_relaxed ? SLICE("relaxed") : SLICE("simple");
	case V_COPIED:
		return s ? s->copied : SLICE_EMPTY;
	case V_CREATED:
		return number(sc, s && s->has_created ? s->created : 0);
	case V_EXPIRES:
		return s && s->has_expires ? number(sc, s->expires) : LARGE;
	case V_HEADERNAMES:
		return s && s->names.len ? names(sc, s->names) : SLICE_EMPTY;
	case V_IDENTITY:
		return s ? s->identity : SLICE_EMPTY;
	case V_KEY_GRANULARITY:
		return s ? s->key_granularity : SLICE("*");
	case V_KEY_LENGTH:
		return number(sc, s ? s->key_bits : 0);
	case V_KEY_NOSUBDOMAINS:
		return s && s->key_exact ? SLICE("1") : SLICE("0");
	case V_KEY_NOTES:
		return s ? s->key_notes : SLICE_EMPTY;
	case V_KEY_SRVTYPE:
		return s ? s->key_service : SLICE("*");
	case V_KEY_TESTING:
		return s && s->key_testing ? SLICE("1") : SLICE("0");
	case V_DOMAIN:
		return s ? s->domain : SLICE_EMPTY;
	default:
		return s ? s->selector : SLICE_EMPTY;
	}
}

static enum rc get(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	const struct dkim_state *state = dkim_state_of(sc->message);
	/* As Exim: behind the DKIM ACL they stay those of its last round, as long as the message is not accepted. */
	bool told = state && sc->session;
	const struct dkim_signature *current = told ? state->current : NULL;

	switch (variable->arg) {
	case V_CUR_SIGNER:
		*ret = told ? state->cur_signer : SLICE_EMPTY;
		break;
	case V_SIGNERS:
		*ret = state ? state->signers : SLICE_EMPTY;
		break;
	case V_VERIFY_SIGNERS:
		*ret = state ? state->verify_signers : SLICE_EMPTY;
		break;
	case V_VERIFY_STATUS:
		*ret = dkim_current_status(sc);
		break;
	case V_VERIFY_REASON:
		*ret = state && state->round_reason.ptr ? state->round_reason
		       : current                        ? dkim_reason_word(current)
							: SLICE_EMPTY;
		break;
	case V_DOMAIN:
		*ret = sc->dkim_domain.ptr ? sc->dkim_domain : of_signature(sc, V_DOMAIN, current);
		break;
	case V_SELECTOR:
		*ret = sc->dkim_selector.ptr ? sc->dkim_selector : of_signature(sc, V_SELECTOR, current);
		break;
	default:
		*ret = of_signature(sc, variable->arg, current);
	}
	return ret->ptr ? OK : err_memory(err);
}

static const struct variable rows[] = {
    {"dkim_algo", get, V_ALGO},
    {"dkim_bodylength", get, V_BODYLENGTH},
    {"dkim_canon_body", get, V_CANON_BODY},
    {"dkim_canon_headers", get, V_CANON_HEADERS},
    {"dkim_copiedheaders", get, V_COPIED},
    {"dkim_created", get, V_CREATED},
    {"dkim_cur_signer", get, V_CUR_SIGNER},
    {"dkim_domain", get, V_DOMAIN},
    {"dkim_expires", get, V_EXPIRES},
    {"dkim_headernames", get, V_HEADERNAMES},
    {"dkim_identity", get, V_IDENTITY},
    {"dkim_key_granularity", get, V_KEY_GRANULARITY},
    {"dkim_key_length", get, V_KEY_LENGTH},
    {"dkim_key_nosubdomains", get, V_KEY_NOSUBDOMAINS},
    {"dkim_key_notes", get, V_KEY_NOTES},
    {"dkim_key_srvtype", get, V_KEY_SRVTYPE},
    {"dkim_key_testing", get, V_KEY_TESTING},
    {"dkim_selector", get, V_SELECTOR},
    {"dkim_signers", get, V_SIGNERS},
    {"dkim_verify_reason", get, V_VERIFY_REASON},
    {"dkim_verify_signers", get, V_VERIFY_SIGNERS},
    {"dkim_verify_status", get, V_VERIFY_STATUS},
};
const struct variable_table dkim_variables = {rows, ARRAY_COUNT(rows)};
