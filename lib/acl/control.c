/* control: the modifier that changes how the message or the session is treated. */
#include "list.h"

#define NOT_LOCAL      (AT(NOT_SMTP) | AT(NOT_SMTP_START))
#define ONLY(places)   (~(uint32_t)(places))
#define MESSAGE_PLACES (AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(DATA) | AT(MIME) | AT(NOT_SMTP))

static const struct control {
	const char *name;
	uint32_t sets;
	uint32_t not_at;
	enum { NO_OPTIONS, FREE_TEXT, SUBMISSION, QUEUE, FREEZE, ANY, NEEDED, DOWNCONVERT } options;
} controls[] = {
    {"allow_auth_unadvertised", ACL_CONTROL_ALLOW_AUTH_UNADVERTISED, ONLY(AT(CONNECT) | AT(HELO)),
     NO_OPTIONS},
    {"caseful_local_part", ACL_CONTROL_CASEFUL, ONLY(AT(RCPT)), NO_OPTIONS},
    {"caselower_local_part", ACL_CONTROL_CASELOWER, ONLY(AT(RCPT)), NO_OPTIONS},
    {"cutthrough_delivery", ACL_CONTROL_CUTTHROUGH, 0, ANY},
    {"debug", 0, 0, ANY},
    {"dkim_disable_verify", ACL_CONTROL_DKIM_OFF, AT(DATA) | AT(PRDR) | NOT_LOCAL, NO_OPTIONS},
    {"dmarc_disable_verify", ACL_CONTROL_DMARC_OFF, AT(DATA) | NOT_LOCAL, NO_OPTIONS},
    {"dmarc_enable_forensic", ACL_CONTROL_DMARC_FORENSIC, AT(DATA) | NOT_LOCAL, NO_OPTIONS},
    {"dmarc_forensic_enable", ACL_CONTROL_DMARC_FORENSIC, AT(DATA) | NOT_LOCAL, NO_OPTIONS},
    {"dscp", 0, NOT_LOCAL | AT(NOTQUIT), NEEDED},
    {"enforce_sync", ACL_CONTROL_ENFORCE_SYNC, NOT_LOCAL, NO_OPTIONS},
    {"fakedefer", ACL_CONTROL_FAKEDEFER,
     ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(DATA) | AT(PRDR) | AT(MIME)), FREE_TEXT},
    {"fakereject", ACL_CONTROL_FAKEREJECT,
     ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(DATA) | AT(PRDR) | AT(MIME)), FREE_TEXT},
    {"freeze", ACL_CONTROL_FREEZE, ONLY(MESSAGE_PLACES), FREEZE},
    {"no_callout_flush", ACL_CONTROL_NO_CALLOUT_FLUSH, NOT_LOCAL, NO_OPTIONS},
    {"no_delay_flush", ACL_CONTROL_NO_DELAY_FLUSH, NOT_LOCAL, NO_OPTIONS},
    {"no_enforce_sync", ACL_CONTROL_NO_ENFORCE_SYNC, NOT_LOCAL, NO_OPTIONS},
    {"no_mbox_unspool", ACL_CONTROL_NO_MBOX_UNSPOOL,
     ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(DATA) | AT(MIME)), NO_OPTIONS},
    {"no_multiline_responses", ACL_CONTROL_NO_MULTILINE, NOT_LOCAL, NO_OPTIONS},
    {"no_pipelining", ACL_CONTROL_NO_PIPELINING, NOT_LOCAL, NO_OPTIONS},
    {"queue", ACL_CONTROL_QUEUE, ONLY(MESSAGE_PLACES), QUEUE},
    {"queue_only", ACL_CONTROL_QUEUE, ONLY(MESSAGE_PLACES), QUEUE},
    {"submission", ACL_CONTROL_SUBMISSION, ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA)), SUBMISSION},
    {"suppress_local_fixups", ACL_CONTROL_SUPPRESS_FIXUPS,
     ONLY(AT(MAIL) | AT(RCPT) | AT(PREDATA) | AT(NOT_SMTP_START)), NO_OPTIONS},
    {"utf8_downconvert", 0, ONLY(AT(RCPT) | AT(VRFY)), DOWNCONVERT},
    {"wellknown", 0, ONLY(AT(WELLKNOWN)), NEEDED},
};

static enum acl_test bad(struct acl_run *run, struct slice value)
{
	(void)err_set(run->err, FAIL, "syntax error in \"control=%.*s\"", SLICE_ARG(value));
	return TEST_ERROR;
}

static bool submission_options(struct acl_run *run, struct slice rest)
{
	struct slice option;

	while (slice_split(&rest, '/', &option)) {
		if (slice_eq(option, SLICE("sender_retain")))
			run->outcome->controls |= ACL_CONTROL_SUBMISSION_SENDER_RETAIN;
		else if (slice_starts(option, SLICE("domain=")))
			run->outcome->submission_domain = slice_from(option, 7);
		else if (slice_starts(option, SLICE("name="))) {
			/* A display name may hold slashes: it is the rest. */
			option = slice_from(option, 5);
			if (rest.ptr)
				option.len = (uint32_t)(rest.ptr + rest.len - option.ptr);
			run->outcome->submission_name = option;
			return true;
		} else {
			return false;
		}
	}
	return true;
}

static enum acl_test run_control(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct slice name = slice_trim(value), rest = SLICE_EMPTY;
	ptrdiff_t slash = slice_find(name, '/');
	const struct control *control = NULL;

	(void)item;
	if (slash >= 0) {
		rest = slice_from(name, (size_t)slash + 1);
		name = slice_rtrim(slice_sub(name, 0, (size_t)slash));
	}
	for (unsigned i = 0; i < ARRAY_COUNT(controls) && !control; i++)
		if (slice_eq(name, slice_of(controls[i].name)))
			control = &controls[i];
	if (!control)
		return bad(run, value);
	if (control->not_at & 1u << run->where) {
		(void)err_set(run->err, FAIL, "cannot use \"control=%s\" in %s ACL", control->name,
			      acl_where_names[run->where]);
		return TEST_ERROR;
	}
	switch (control->options) {
	case NO_OPTIONS:
		if (slash >= 0)
			return bad(run, value);
		break;
	case FREE_TEXT:
		if (rest.len)
			run->outcome->control_text = rest;
		break;
	case SUBMISSION:
		if (slash >= 0 && !submission_options(run, rest))
			return bad(run, value);
		break;
	case QUEUE:
		/* Other words mean nothing, and are no mistake either. */
		if (slice_starts(slice_ltrim(rest), SLICE("first_pass_route")))
			run->outcome->controls |= ACL_CONTROL_QUEUE_FIRST_PASS;
		break;
	case FREEZE:
		if (slash >= 0 && !slice_eq(rest, SLICE("no_tell")))
			return bad(run, value);
		if (slash >= 0)
			run->outcome->controls |= ACL_CONTROL_FREEZE_NO_TELL;
		break;
	case NEEDED:
		if (slash < 0)
			return bad(run, value);
		break;
	case DOWNCONVERT:
		if (slash >= 0 && !slice_eq(rest, SLICE("1")) && !slice_eq(rest, SLICE("0")) &&
		    !slice_eq(rest, SLICE("-1")))
			return bad(run, value);
		break;
	case ANY:
		break;
	}
	run->outcome->controls |= control->sets;
	/* The local part is lower-cased for routing unless the ACL says that case matters; a later control takes it back. */
	if (run->sc->address && control->sets == ACL_CONTROL_CASEFUL)
		run->sc->address->local_part = run->sc->address->cased_local_part;
	return TEST_TRUE;
}

const struct acl_word acl_word_control = {"control", MODIFIER, VALUE_EXPAND, 0, run_control};
