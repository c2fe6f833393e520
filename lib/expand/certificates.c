/* certificates: variables that hold a certificate, and ${certextract. Such a variable has no text of its own, and shows "<cert>"
 * where one is asked for. What does something with certificates knows them by the address of that text: each variable has its
 * own. */

#include "items.h"
#include "tls/tls.h"
#include "tree.h"

static const char marks[CERTIFICATE_COUNT][7] = {"<cert>", "<cert>", "<cert>", "<cert>"};

static struct slice pem_of(const struct scope *sc, size_t which)
{
	switch (which) {
	case CERTIFICATE_IN_PEER:
		return sc->client ? sc->client->tls_peercert : SLICE_EMPTY;
	case CERTIFICATE_IN_OUR:
		return sc->client ? sc->client->tls_ourcert : SLICE_EMPTY;
	case CERTIFICATE_OUT_PEER:
		return sc->tls_out ? sc->tls_out->peer_certificate : SLICE_EMPTY;
	case CERTIFICATE_OUT_OUR:
		return sc->tls_out ? sc->tls_out->our_certificate : SLICE_EMPTY;
	}
	return SLICE_EMPTY;
}

enum rc get_certificate(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	struct slice pem = pem_of(sc, variable->arg);

	(void)err;
	*ret =
	    pem.ptr && pem.len ? slice_make(marks[variable->arg], sizeof(marks[0]) - 1, CLEAN) : SLICE_EMPTY;
	return OK;
}

bool certificate_in(const struct scope *sc, struct slice subject, struct slice *pem_ret)
{
	for (size_t i = 0; i < CERTIFICATE_COUNT; i++)
		if (subject.ptr == marks[i] && subject.len == sizeof(marks[0]) - 1) {
			*pem_ret = pem_of(sc, i);
			return true;
		}
	return false;
}

enum rc certificate_bytes(const struct scope *sc, struct slice *subject, struct err *err)
{
	struct slice pem;

	return certificate_in(sc, *subject, &pem) ? tls_certificate_der(sc->task->arena, pem, subject, err)
						  : OK;
}

/* The argument has to be a variable by itself: "$name" or "${name}". What it is called; empty: it is not. */
static struct slice variable_name(struct slice text)
{
	text = slice_trim(text);
	if (!slice_starts(text, SLICE("$")))
		return SLICE_EMPTY;
	text = slice_from(text, 1);
	if (slice_starts(text, SLICE("{")) && slice_ends(text, SLICE("}")))
		text = slice_sub(text, 1, text.len - 2);
	for (uint32_t i = 0; i < text.len; i++)
		if (!ascii_is_alnum(text.ptr[i]) && text.ptr[i] != '_')
			return SLICE_EMPTY;
	return text;
}

static enum rc certextract_eval(struct scope *sc, const struct expand_call *call, struct slice *ret,
				struct err *err)
{
	struct slice selector, certificate, pem, value = SLICE_EMPTY;
	struct slice name = variable_name(expansion_text(call->args[1]));
	struct err missing = err_make(sc->task->arena);
	enum rc rc;

	if (!name.len)
		return err_set(err, FAIL,
			       "second argument of \"certextract\" must be a certificate variable");
	rc = expand(sc, call->args[0], &selector, err);
	if (rc == OK)
		rc = expand(sc, call->args[1], &certificate, err);
	if (rc != OK)
		return rc;
	if (certificate.len && !certificate_in(sc, certificate, &pem))
		return err_set(err, FAIL, "\"%.*s\" is not a certificate", SLICE_ARG(name));
	if (certificate.len)
		rc = tls_certificate_field(sc->task->arena, pem, selector, &value, &missing);
	if (rc == DEFER || missing.text.len)
		return err_set(err, rc, "%.*s", SLICE_ARG(missing.text));
	return expand_yes_no(sc, call, certificate.len && rc == OK, value, ret, err);
}

const struct expand_item item_certextract = {"certextract", 2, 2, ITEM_YES_NO, certextract_eval, NULL};
