/* mailauth: the words that ask who is answerable for a message. */
#include "list.h"
#include "mailauth/mailauth.h"

enum acl_test acl_set_dkim(struct acl_run *run, bool reason, struct slice value)
{
	if (dkim_override(run->sc, reason, value))
		return TEST_TRUE;
	(void)err_set(run->err, FAIL, "dkim_verify_%s can be set only where DKIM signatures are verified",
		      reason ? "reason" : "status");
	return TEST_ERROR;
}

enum acl_test acl_verify_arc(struct acl_run *run, struct slice states)
{
	struct slice wanted, option = SLICE_EMPTY;
	struct arc_result arc;
	enum rc rc;

	(void)slice_split(&states, '/', &wanted);
	if (states.ptr)
		option = slice_trim(states);
	wanted = slice_trim(wanted);
	if (!wanted.len)
		wanted = SLICE("none:pass");
	if (option.len && !slice_eq(option, SLICE("defer"))) {
		(void)err_set(run->err, FAIL, "unknown option in ACL condition \"verify arc\": \"%.*s\"",
			      SLICE_ARG(option));
		return TEST_ERROR;
	}
	rc = arc_verify(run->sc, &mailauth_dns, &arc, run->err);
	if (rc != OK)
		return rc == FAIL ? TEST_ERROR : TEST_DEFER;
	/* Beyond Exim: a key that cannot be had now need not be taken for a broken chain. */
	if (arc.temporary && option.len) {
		(void)err_set(run->err, DEFER, "ARC: %.*s", SLICE_ARG(arc.reason));
		return TEST_DEFER;
	}
	rc = match_string(run->sc, wanted, mailauth_result_word(arc.result), false, NULL, run->err);
	if (rc == FAIL && arc.result == MAILAUTH_FAIL)
		run->log_text = arena_printf(run->sc->task->arena, "ARC: %.*s", SLICE_ARG(arc.reason));
	return acl_test_of(rc);
}

enum acl_test acl_remove_authres(struct acl_run *run, struct slice id)
{
	if (authres_remove(run->sc->message, slice_trim(id)))
		return TEST_TRUE;
	(void)err_set(run->err, DEFER, "no message, or no memory, for control = authres_remove");
	return TEST_ERROR;
}

/* Is the signer of this round of the DKIM ACL in the list? */
static enum acl_test run_dkim_signers(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct slice signer = dkim_current_signer(run->sc->message);

	(void)item;
	if (!signer.len)
		return TEST_FALSE;
	return acl_test_of(match_string(run->sc, value, signer, false, NULL, run->err));
}

/* Is one of the statuses (of this round; behind the DKIM ACL: of all) in the list? */
static enum acl_test run_dkim_status(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct slice statuses = dkim_current_status(run->sc), status;

	(void)item;
	if (!statuses.len)
		statuses = SLICE("none");
	while (slice_split(&statuses, ':', &status)) {
		enum rc rc = match_string(run->sc, value, status, false, NULL, run->err);
		if (rc != FAIL)
			return acl_test_of(rc);
	}
	return TEST_FALSE;
}

const struct acl_word acl_word_dkim_signers = {"dkim_signers", CONDITION, VALUE_EXPAND, ~AT(DKIM),
					       run_dkim_signers};
const struct acl_word acl_word_dkim_status = {"dkim_status", CONDITION, VALUE_EXPAND,
					      ~(AT(DATA) | AT(PRDR) | AT(MIME) | AT(DKIM)), run_dkim_status};
