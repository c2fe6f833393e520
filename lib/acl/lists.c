/* lists: the conditions that look for the client, the addresses or the session's facts in a list. */
#include "list.h"

static enum acl_test run_hosts(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)value;
	return acl_test_of(match_client(run->sc, item->list, &run->sc->host_data, run->err));
}

static enum acl_test run_domains(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct address *a = run->sc->address;
	struct slice data = {NULL, 0, 0};
	enum rc rc;

	(void)value;
	if (!a)
		return TEST_FALSE;
	rc = match_domain(run->sc, item->list, a->domain, &data, run->err);
	if (rc == OK && data.ptr)
		a->domain_data = run->sc->domain_data = data;
	return acl_test_of(rc);
}

static enum acl_test run_local_parts(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct address *a = run->sc->address;
	struct slice data = {NULL, 0, 0};
	enum rc rc;

	(void)value;
	if (!a)
		return TEST_FALSE;
	/* A caseful list ("+caseful") is the list's own affair: it is given the local part as it came. */
	rc = match_local_part(run->sc, item->list,
			      a->cased_local_part.ptr ? a->cased_local_part : a->local_part, false, &data,
			      run->err);
	if (rc == OK && data.ptr)
		a->local_part_data = run->sc->local_part_data = data;
	return acl_test_of(rc);
}

static struct slice sender_of(const struct scope *sc)
{
	return sc->sender.ptr ? sc->sender : sc->message ? sc->message->sender : SLICE_EMPTY;
}

static enum acl_test run_senders(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)value;
	return acl_test_of(
	    match_address(run->sc, item->list, sender_of(run->sc), &run->sc->sender_data, run->err));
}

static enum acl_test run_sender_domains(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	struct slice sender = sender_of(run->sc);
	ptrdiff_t at = slice_rfind(sender, '@');

	(void)value;
	/* The null reverse-path has an empty domain, which a list may contain. */
	return acl_test_of(match_domain(
	    run->sc, item->list, at < 0 ? SLICE_EMPTY : slice_from(sender, (size_t)at + 1), NULL, run->err));
}

static enum acl_test run_recipients(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)value;
	if (!run->sc->address)
		return TEST_FALSE;
	return acl_test_of(
	    match_address(run->sc, item->list, run->sc->address->full, &run->sc->recipient_data, run->err));
}

static enum acl_test run_authenticated(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	const struct client *c = run->sc->client;

	(void)item;
	if (!c || !c->authenticator_name.len)
		return TEST_FALSE;
	return acl_test_of(match_string(run->sc, value, c->authenticator_name, true, NULL, run->err));
}

static enum acl_test run_encrypted(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	const struct client *c = run->sc->client;
	struct slice cipher;
	ptrdiff_t first, last;

	(void)item;
	if (!c || !c->tls_cipher.len)
		return TEST_FALSE;
	/* "TLS1.3:TLS_AES_256_GCM_SHA384:256": the list is matched against the middle. */
	cipher = c->tls_cipher;
	first = slice_find(cipher, ':');
	last = slice_rfind(cipher, ':');
	if (first >= 0 && last > first)
		cipher = slice_sub(cipher, (size_t)first + 1, (size_t)(last - first - 1));
	return acl_test_of(match_string(run->sc, value, cipher, false, NULL, run->err));
}

#define NOT_LOCAL (AT(NOT_SMTP) | AT(NOT_SMTP_START))
#define RCPT_ONLY (~(AT(RCPT) | AT(PRDR) | AT(VRFY)))
#define NO_SENDER                                                                                           \
	(AT(CONNECT) | AT(HELO) | AT(AUTH) | AT(MAILAUTH) | AT(ETRN) | AT(EXPN) | AT(VRFY) | AT(STARTTLS) | \
	 AT(QUIT))
const struct acl_word acl_word_hosts = {"hosts", CONDITION, VALUE_HOSTS, NOT_LOCAL, run_hosts};
const struct acl_word acl_word_domains = {"domains", CONDITION, VALUE_DOMAINS, RCPT_ONLY, run_domains};
const struct acl_word acl_word_local_parts = {"local_parts", CONDITION, VALUE_LOCAL_PARTS, RCPT_ONLY,
					      run_local_parts};
const struct acl_word acl_word_senders = {"senders", CONDITION, VALUE_ADDRESSES, NO_SENDER, run_senders};
const struct acl_word acl_word_sender_domains = {"sender_domains", CONDITION, VALUE_DOMAINS, NO_SENDER,
						 run_sender_domains};
const struct acl_word acl_word_recipients = {"recipients", CONDITION, VALUE_ADDRESSES, ~AT(RCPT),
					     run_recipients};
const struct acl_word acl_word_authenticated = {"authenticated", CONDITION, VALUE_EXPAND,
						NOT_LOCAL | AT(CONNECT) | AT(HELO), run_authenticated};
const struct acl_word acl_word_encrypted = {"encrypted", CONDITION, VALUE_EXPAND, NOT_LOCAL | AT(CONNECT),
					    run_encrypted};
