/* dmarc: the condition that asks what the owner of the From: domain wants done. */
#include "mailauth/mailauth.h"

#include "list.h"

/* Reports are sent on the way, when a configuration wants them: mail does not wait for their success. */
static void send_reports(struct acl_run *run)
{
	struct scope *sc = run->sc;
	struct dmarc_report report;

	while (dmarc_report_next(sc, &mailauth_dns, &report)) {
		struct err err = err_make(sc->task->arena);
		const struct submission submission = {.sender = report.sender,
						      .recipients = &report.recipient,
						      .recipient_count = 1,
						      .text = report.text,
						      .about = sc->message};

		if (transport_submit_message(sc, &submission, &err) != OK)
			log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN, &sc->message->id,
				   "DMARC: failure report to <%.*s> could not be submitted: %.*s",
				   SLICE_ARG(report.recipient), SLICE_ARG(err.text));
	}
}

static enum acl_test run_dmarc_status(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	const struct dmarc_result *result;
	bool first;
	enum rc rc;

	(void)item;
	if (!run->sc->message)
		return TEST_FALSE;
	first = !dmarc_result_get(run->sc->message);
	rc = dmarc_evaluate(run->sc, &mailauth_dns, run->err);
	if (rc != OK)
		return acl_test_of(rc == FAIL ? DEFER : rc);
	result = dmarc_result_get(run->sc->message);
	if (first && result)
		send_reports(run);
	return acl_test_of(match_string(
	    run->sc, value, dmarc_status_word(result ? result->status : DMARC_NONE), false, NULL, run->err));
}

const struct acl_word acl_word_dmarc_status = {"dmarc_status", CONDITION, VALUE_EXPAND,
					       ~(AT(DATA) | AT(PRDR)), run_dmarc_status};
