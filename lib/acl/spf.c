/* spf: the conditions that ask whether the client may use the domain of the sender. */
#include "mailauth/mailauth.h"

#include "list.h"

/* Words that results had before they were named in an RFC are taken for their heirs. */
static struct slice spf_words(struct arena *arena, struct slice list)
{
	struct slice rest = list, item;
	struct str out = str_make(arena);
	char separator = 0;
	unsigned count = 0;

	if (slice_search(list, SLICE("err_")) < 0)
		return list;
	while (list_next(arena, &rest, &separator, &item)) {
		bool negated = item.len && item.ptr[0] == '!';
		struct slice word = negated ? slice_ltrim(slice_from(item, 1)) : item;
		if (slice_eq_nocase(word, SLICE("err_temp")))
			item = negated ? SLICE("!temperror") : SLICE("temperror");
		else if (slice_eq_nocase(word, SLICE("err_perm")))
			item = negated ? SLICE("!permerror") : SLICE("permerror");
		list_add(&out, &count, ':', item);
	}
	return out.failed ? list : str_slice(&out);
}

static enum acl_test spf_test(struct acl_run *run, struct slice value, bool guess)
{
	enum mailauth_result result = MAILAUTH_PERMERROR; /* at QUIT: there is no sender any more */

	if (run->sc->message) {
		enum rc rc = spf_evaluate(run->sc, &mailauth_dns, guess, run->err);
		if (rc == FAIL)
			return TEST_ERROR;
		if (rc != OK)
			return TEST_DEFER;
		result = spf_result_get(run->sc->message)->result;
	}
	return acl_test_of(match_string(run->sc, spf_words(run->sc->task->arena, value),
					mailauth_result_word(result), false, NULL, run->err));
}

static enum acl_test run_spf(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)item;
	return spf_test(run, value, false);
}

static enum acl_test run_spf_guess(struct acl_run *run, const struct acl_item *item, struct slice value)
{
	(void)item;
	return spf_test(run, value, true);
}

#define NO_SENDER                                                                                           \
	(AT(CONNECT) | AT(HELO) | AT(AUTH) | AT(MAILAUTH) | AT(ETRN) | AT(EXPN) | AT(VRFY) | AT(STARTTLS) | \
	 AT(NOT_SMTP) | AT(NOT_SMTP_START) | AT(ATRN) | AT(WELLKNOWN) | AT(DELIVERY))
const struct acl_word acl_word_spf = {"spf", CONDITION, VALUE_EXPAND, NO_SENDER, run_spf};
const struct acl_word acl_word_spf_guess = {"spf_guess", CONDITION, VALUE_EXPAND, NO_SENDER, run_spf_guess};
