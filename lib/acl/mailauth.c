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
