/* The syntax of Exim filters: what is malformed is told with its line, and nothing that is well-formed is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "filter/tree.h"

static void check(const char *text, const char *error)
{
	struct arena arena;
	struct err err;
	enum rc rc;

	arena_init(&arena, 16u * 1024 * 1024);
	err = err_make(&arena);
	rc = filter_check(&arena, FILTER_EXIM, slice_of(text), &err);
	if (!error) {
		if (rc != OK)
			print_error("%s: %.*s\n", text, SLICE_ARG(err.text));
		assert_int_equal(rc, OK);
	} else {
		char *got = arena_cstr(&arena, err.text);

		assert_int_equal(rc, FAIL);
		assert_string_equal(got, error);
	}
	arena_done(&arena);
}

static void malformed(void **state)
{
	static const char *const rows[][2] = {
	    {"frob x", "unknown filtering command \"frob\" near line 2 of filter file"},
	    {"save \"abc", "quote missing at end of string in line 2"},
	    {"save \"a\nb\"", "quote missing at end of string in line 2"},
	    {"deliver", "\"deliver\" requires an argument near line 2 of filter file"},
	    {"add 1 n1", "\"to\" expected in \"add\" command near line 2 of filter file"},
	    {"if a is b then save x", "\"endif\" missing at end of filter file"},
	    {"if a is b save x",
	     "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"save\""},
	    {"if ((a is b) then", "missing \")\" at end of condition near line 2 of filter file"},
	    {"if (a is b)) then", "unexpected \")\" in line 2 of filter file"},
	    {"if a foo b then", "unrecognized condition word \"foo\" near line 2 of filter file"},
	    {"if", "\"then\" missing at end of filter file"},
	    {"if then", "unexpected \"then\" near line 2 of filter file"},
	    {"endif", "unexpected \"endif\" command near line 2 of filter file"},
	    {"unseen", "\"seen\" or \"unseen\" near line 2 is not followed by a command"},
	    {"seen unseen finish", "\"seen\" or \"unseen\" repeated near line 2"},
	    {"seen if a is a then endif",
	     "\"seen\", \"unseen\", or \"noerror\" found before an \"if\" command near line 2"},
	    {"mail return", "\"return\" not followed by \"message\"  near line 2 of filter file"},
	    {"headers frob x",
	     "\"add\", \"remove\", or \"charset\" expected after \"headers\" near line 2 of filter file"},
	    {"if foranyaddress x then", "\"(\" expected after \"foranyaddress\" near line 2 of filter file"},
	    /* As Exim 4.98 has it, each command and condition: */
	    {"save", "\"save\" requires an argument near line 2 of filter file"},
	    {"save x yy", "unknown filtering command \"yy\" near line 2 of filter file"},
	    {"pipe", "\"pipe\" requires an argument near line 2 of filter file"},
	    {"mail foo x", "unknown filtering command \"foo\" near line 2 of filter file"},
	    {"vacation foo", "unknown filtering command \"foo\" near line 2 of filter file"},
	    {"logfile", "\"logfile\" requires an argument near line 2 of filter file"},
	    {"logfile x y z", "unknown filtering command \"y\" near line 2 of filter file"},
	    {"logwrite", "\"logwrite\" requires an argument near line 2 of filter file"},
	    {"add", "\"add\" requires an argument near line 2 of filter file"},
	    {"add x to", "value missing after \"to\" near line 2 of filter file"},
	    {"add 1 2", "\"to\" expected in \"add\" command near line 2 of filter file"},
	    {"testprint", "\"testprint\" requires an argument near line 2 of filter file"},
	    {"headers", "\"headers\" requires an argument near line 2 of filter file"},
	    {"headers charset",
	     "value missing after \"add\", \"remove\", or \"charset\" near line 2 of filter file"},
	    {"headers foo y",
	     "\"add\", \"remove\", or \"charset\" expected after \"headers\" near line 2 of filter file"},
	    {"if a is then finish endif",
	     "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"finish\""},
	    {"if a begins then x",
	     "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"x\""},
	    {"if not then", "unexpected \"then\" near line 2 of filter file"},
	    {"if a is b and then", "unexpected \"then\" near line 2 of filter file"},
	    {"if a is b or or", "unrecognized condition word \"\" near line 2 of filter file"},
	    {"if a is b then else else endif", "\"endif\" missing near line 2 of filter file"},
	    {"if a is b then elif endif", "unrecognized condition word \"\" near line 2 of filter file"},
	    {"elif a is b then endif", "unexpected \"elif\" command near line 2 of filter file"},
	    {"else endif", "unexpected \"else\" command near line 2 of filter file"},
	    {"then", "unknown filtering command \"then\" near line 2 of filter file"},
	    {"noerror", "\"noerror\" near line 2 is not followed by a command"},
	    {"noerror deliver", "\"deliver\" requires an argument near line 2 of filter file"},
	    {"if personal alias then",
	     "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"\""},
	    {"if error_message x then",
	     "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"x\""},
	    {"if first_delivery x then",
	     "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"x\""},
	    {"if delivered then finish", "\"endif\" missing at end of filter file"},
	    {"if def:x then finish endif", "unrecognized condition word \"then\" near line 2 of filter file"},
	    {"if foranyaddress a (b) then", "unrecognized condition word \"\" near line 2 of filter file"},
	    {"if a matches ( then finish endif", "unexpected \"(\" in line 2 of filter file"},
	    {"seen", "\"seen\" or \"unseen\" near line 2 is not followed by a command"},
	    {"unseen finish x", "unknown filtering command \"x\" near line 2 of filter file"},
	    {"deliver a b c", "unknown filtering command \"b\" near line 2 of filter file"},
	    {"pipe a b", "unknown filtering command \"b\" near line 2 of filter file"},
	    {"if (a is b) c then",
	     "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"c\""},
	    {"add \"1 to n1", "quote missing at end of string in line 2"},
	    {"mail expand x", "\"expand\" not followed by \"file\"  near line 2 of filter file"},
	    {"mail charset x", "unknown filtering command \"charset\" near line 2 of filter file"},
	    {"if a contains b) then", "unexpected \")\" in line 2 of filter file"},
	    {"not a is b", "unknown filtering command \"not\" near line 2 of filter file"},
	    {"if a is b then finish", "\"endif\" missing at end of filter file"},
	    {"if a is", "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"\""},
	    {"if a", "unrecognized condition word \"\" near line 2 of filter file"},
	    {"if a is b",
	     "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"\""},
	    {"if foranyaddress", "\"(\" expected after \"foranyaddress\" near line 2 of filter file"},
	    {"if foranyaddress a", "\"(\" expected after \"foranyaddress\" near line 2 of filter file"},
	    {"if foranyaddress a (", "\"then\" missing at end of filter file"},
	    {"if foranyaddress a (x is y",
	     "\"and\" or \"or\" or \")\" expected near line 2 of filter file, but found \"\""},
	    {"fail noerror", "\"noerror\" near line 2 is not followed by a command"},
	    {"seen seen finish", "\"seen\" or \"unseen\" repeated near line 2"},
	    {"noerror if a is b then endif",
	     "\"seen\", \"unseen\", or \"noerror\" found before an \"if\" command near line 2"},
	    {"mail return message return",
	     "\"return\" not followed by \"message\"  near line 2 of filter file"},
	    {"if a is above b",
	     "\"and\" or \"or\" or \"then\" expected near line 2 of filter file, but found \"\""},
	    {"if a is above 3 then", "\"endif\" missing at end of filter file"},
	    {"finish endif", "unexpected \"endif\" command near line 2 of filter file"},
	    {"if a is b then finish endif endif", "unexpected \"endif\" command near line 2 of filter file"},
	    {"save \"x\"y", "unknown filtering command \"y\" near line 2 of filter file"},
	    {"deliver \"a", "quote missing at end of string in line 2"},
	    {"if \"a is b then", "quote missing at end of string in line 2"},
	    {"(", "unknown filtering command \"(\" near line 2 of filter file"},
	    {"if a does b then", "unrecognized condition word \"b\" near line 2 of filter file"},
	    {"headers add",
	     "value missing after \"add\", \"remove\", or \"charset\" near line 2 of filter file"},
	    {"unseen unseen finish", "\"seen\" or \"unseen\" repeated near line 2"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		char text[200];

		snprintf(text, sizeof(text), "# Exim filter\n%s", rows[i][0]);
		check(text, rows[i][1]);
	}
}

static void well_formed(void **state)
{
	static const char *const rows[] = {
	    "",
	    "finish",
	    "seen finish # comment",
	    "unseen deliver a@b errors_to c@d noerror save x 644 pipe \"a \\\"b\\\"\"",
	    "if not (a is b or c contains \"(\") and personal alias a@b alias c@d then finish else deliver x endif",
	    "if foranyaddress \"$h_to:\" ( $thisaddress matches ^a ) then finish elif $n1 is above 3 then finish endif",
	    "mail to a cc b bcc c from d reply_to e subject f extra_headers g text h expand file i log j once k once_repeat 1d return message",
	    "vacation logfile /x 600 logwrite y testprint z add 1 to n9 fail text x freeze \"x\" defer",
	    "headers add \"x\" headers remove y headers charset z",
	    "save \"a\\x41\\101\\\n   b\"",
	    "mail once_repeat",
	    "mail to a subject",
	    "if not not a is b then finish endif",
	    "if a is not b then finish endif",
	    "if a does not contain b then finish endif",
	    "if a does contain b then finish endif",
	    "logfile x 9",
	    "save x 9",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		char text[400];

		snprintf(text, sizeof(text), "# Exim filter\n%s\n", rows[i]);
		check(text, NULL);
	}
}

/* Limits: a text that nests or goes on beyond measure is refused, and costs neither stack nor time. */
static void excessive(void **state)
{
	struct arena arena;
	struct str text;
	struct err err;

	(void)state;
	for (unsigned kind = 0; kind < 5; kind++) {
		arena_init(&arena, 64u * 1024 * 1024);
		text = str_make(&arena);
		err = err_make(&arena);
		str_addz(&text, "# Exim filter\n");
		if (kind == 4)
			str_addz(&text, "if ");
		for (unsigned i = 0; i < 30000; i++)
			str_addz(&text, kind == 0   ? "if a is a then "
					: kind == 1 ? "finish "
					: kind == 2 ? "if ("
					: kind == 3 ? "xxxxxxxx"
						    : "a is a and not ");
		assert_int_equal(filter_check(&arena, FILTER_EXIM, str_slice(&text), &err), FAIL);
		assert_true(err.text.len > 0);
		arena_done(&arena);
	}
}

static void language(void **state)
{
	static const struct {
		const char *text;
		enum filter_language language;
	} rows[] = {
	    {"# Exim filter", FILTER_EXIM},
	    {"#EXIMFILTER <<== x\n", FILTER_EXIM},
	    {"\n\n  #  exim   filterx", FILTER_EXIM},
	    {"# Sieve filter\n", FILTER_SIEVE},
	    {"#sieve filter", FILTER_SIEVE},
	    {"", FILTER_NONE},
	    {"#", FILTER_NONE},
	    {"a@b", FILTER_NONE},
	    {"# Exim\n filter", FILTER_EXIM},
	    {"# filter", FILTER_NONE},
	    {"x # Exim filter", FILTER_NONE},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		assert_int_equal(filter_language(slice_of(rows[i].text)), rows[i].language);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(malformed),
	    cmocka_unit_test(well_formed),
	    cmocka_unit_test(excessive),
	    cmocka_unit_test(language),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
