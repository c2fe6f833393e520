/* DMARC over tables of records: RFC 9989's tree walk and examples, RFC 7489 with a suffix list, records good and malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailauth/dmarc.h"
#include "zone.h"

static const struct zone_row zone_rows[] = {
    {"_dmarc.reject.example", "TXT", "v=DMARC1; p=reject; rua=mailto:r@reject.example"},
    {"_dmarc.quarantine.example", "TXT", "v=DMARC1; p=quarantine"},
    {"_dmarc.none.example", "TXT", "v=DMARC1; p=none"},
    {"_dmarc.strict.example", "TXT", "v=DMARC1; p=reject; adkim=s; aspf=s"},
    {"_dmarc.sub.example", "TXT", "v=DMARC1; p=reject; sp=quarantine; np=none"},
    {"there.sub.example", "A", "192.0.2.1"},
    {"_dmarc.np.example", "TXT", "v=DMARC1; p=none; sp=none; np=reject"},
    {"there.np.example", "MX", "10 there.np.example"},
    {"_dmarc.testing.example", "TXT", "v=DMARC1; p=reject; t=y"},
    {"_dmarc.two.example", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.two.example", "TXT", "v=DMARC1; p=none"},
    {"_dmarc.mixed.example", "TXT", "something else"},
    {"_dmarc.mixed.example", "TXT", "v=DMARC1;p=reject"},
    {"_dmarc.badp.example", "TXT", "v=DMARC1; p=rejct"},
    {"_dmarc.badprua.example", "TXT", "v=DMARC1; p=rejct; rua=mailto:x@badprua.example"},
    {"_dmarc.nop.example", "TXT", "v=DMARC1; rua=mailto:x@nop.example"},
    {"_dmarc.trouble.example", "DEFER", ""},
    /* RFC 9989, section 4.10.2: a.mail.example.com */
    {"_dmarc.example.com", "TXT", "v=DMARC1; p=reject"},
    {"_dmarc.mail.example.com", "TXT", "v=DMARC1; p=quarantine"},
    {"_dmarc.own.example.com", "TXT", "v=DMARC1; p=none; psd=n"},
    /* a public suffix with a policy */
    {"_dmarc.gov.test", "TXT", "v=DMARC1; p=reject; psd=y"},
    {"_dmarc.agency.gov.test", "TXT", "v=DMARC1; p=none"},
    /* many labels */
    {"_dmarc.e.f.g.h.deep.example", "TXT", "v=DMARC1; p=quarantine"},
    {"_dmarc.deep.example", "TXT", "v=DMARC1; p=reject"},
};

struct row {
	const char *from, *spf, *dkim; /* domains that passed; "": none */
	const char *status, *used;
	const char *align; /* "sd", "s", "d", "" */
};
static const struct row rows[] = {
    {"reject.example", "", "", "reject", "reject.example", ""},
    {"reject.example", "reject.example", "", "accept", "reject.example", "s"},
    {"reject.example", "", "reject.example", "accept", "reject.example", "d"},
    {"reject.example", "mail.reject.example", "x.y.reject.example", "accept", "reject.example", "sd"},
    {"reject.example", "notreject.example", "reject.example.evil.test", "reject", "reject.example", ""},
    {"reject.example", "example", "example", "reject", "reject.example", ""},
    {"quarantine.example", "", "", "quarantine", "quarantine.example", ""},
    {"none.example", "", "", "none", "none.example", ""},
    {"strict.example", "strict.example", "", "accept", "strict.example", "s"},
    {"strict.example", "mail.strict.example", "mail.strict.example", "reject", "strict.example", ""},
    {"norecord.example", "norecord.example", "", "norecord", "", ""},
    {"two.example", "", "", "norecord", "", ""},
    {"mixed.example", "", "", "reject", "mixed.example", ""},
    {"trouble.example", "", "", "temperror", "", ""},
    {"testing.example", "", "", "none", "testing.example", ""},
    {"badp.example", "", "", "norecord", "", ""},
    {"badprua.example", "", "", "none", "badprua.example", ""},
    {"nop.example", "", "", "none", "nop.example", ""},
    /* policies for names below: sp while they exist, np when they do not */
    {"there.sub.example", "", "", "quarantine", "sub.example", ""},
    {"nosuch.sub.example", "", "", "none", "sub.example", ""},
    {"nosuch.np.example", "", "", "reject", "np.example", ""},
    {"there.np.example", "", "", "none", "np.example", ""},
    {"www.reject.example", "other.reject.example", "", "accept", "reject.example", "s"},
    /* section 4.10.2 */
    {"a.mail.example.com", "", "", "reject", "example.com", ""},
    {"mail.example.com", "", "", "quarantine", "mail.example.com", ""},
    {"mail.example.com", "example.com", "", "accept", "mail.example.com", "s"},
    {"own.example.com", "example.com", "", "none", "own.example.com", ""},
    {"own.example.com", "x.own.example.com", "", "accept", "own.example.com", "s"},
    {"example.com", "own.example.com", "", "reject", "example.com", ""},
    /* psd=y: the organisation is one label below */
    {"x.org.gov.test", "org.gov.test", "", "accept", "gov.test", "s"},
    {"x.org.gov.test", "other.gov.test", "", "reject", "gov.test", ""},
    {"agency.gov.test", "", "", "none", "agency.gov.test", ""},
    {"x.agency.gov.test", "", "", "none", "agency.gov.test", ""},
    /* eight labels and more: after the first question, seven are left */
    {"a.b.c.d.e.f.g.h.deep.example", "", "", "reject", "deep.example", ""},
};

struct fixture {
	struct arena arena;
	struct task task;
	struct zone zone;
};

static void start(struct fixture *f)
{
	arena_init(&f->arena, 0);
	task_init(&f->task, NULL, &f->arena, UINT64_MAX);
	f->zone = (struct zone){.rows = zone_rows, .count = ARRAY_COUNT(zone_rows)};
}

static struct dmarc_result run(struct fixture *f, const char *const *from, unsigned count, const char *spf,
			       const char *dkim, struct slice (*org)(void *, struct arena *, struct slice))
{
	struct mailauth_resolver resolver = zone_resolver(&f->zone);
	struct slice domains[DMARC_FROM_MAX];
	struct dkim_result signature = {.domain = slice_of(dkim),
					.result = *dkim ? MAILAUTH_PASS : MAILAUTH_FAIL};
	struct dmarc_query query = {.from = domains,
				    .from_count = count,
				    .spf = *spf ? MAILAUTH_PASS : MAILAUTH_FAIL,
				    .spf_domain = slice_of(spf),
				    .dkim = &signature,
				    .dkim_count = 1,
				    .org = org};
	struct dmarc_result result;

	for (unsigned i = 0; i < count; i++)
		domains[i] = slice_of(from[i]);
	assert_int_equal(dmarc_check(&f->task, &resolver, &query, &result), OK);
	return result;
}

static void test_tree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		const struct row *row = &rows[i];
		struct fixture f;
		struct dmarc_result r;
		char align[3] = "";

		start(&f);
		r = run(&f, &row->from, 1, row->spf, row->dkim, NULL);
		if (r.align_spf)
			strcat(align, "s");
		if (r.align_dkim)
			strcat(align, "d");
		if (!slice_eq(dmarc_status_word(r.status), slice_of(row->status)) ||
		    !slice_eq(r.used_domain, slice_of(row->used)) || strcmp(align, row->align) != 0)
			fail_msg("%s spf=%s dkim=%s: %.*s at \"%.*s\" aligned \"%s\"", row->from, row->spf,
				 row->dkim, SLICE_ARG(dmarc_status_word(r.status)), SLICE_ARG(r.used_domain),
				 align);
		assert_true(f.zone.questions <= 8 + 3 + 8 + 8);
		arena_done(&f.arena);
	}
}

/* As a suffix list with "example", "com" and "gov.test" has it. */
static struct slice org_of(void *arg, struct arena *arena, struct slice domain)
{
	unsigned labels = slice_ends(domain, SLICE(".gov.test")) ? 3 : 2;

	(void)arg;
	(void)arena;
	for (;;) {
		unsigned dots = 0;
		for (uint32_t i = 0; i < domain.len; i++)
			dots += domain.ptr[i] == '.';
		if (dots < labels)
			return domain;
		domain = slice_from(domain, (size_t)slice_find(domain, '.') + 1);
	}
}

static void test_suffix_list(void **state)
{
	static const struct row legacy[] = {
	    {"reject.example", "mail.reject.example", "", "accept", "reject.example", "s"},
	    {"there.sub.example", "", "", "quarantine", "sub.example", ""},
	    {"nosuch.sub.example", "", "", "quarantine", "sub.example", ""}, /* np is not of RFC 7489 */
	    {"a.mail.example.com", "", "", "reject", "example.com", ""},
	    {"own.example.com", "example.com", "", "accept", "own.example.com", "s"}, /* nor psd */
	    {"nop.example", "", "", "none", "nop.example", ""},
	    {"two.example", "", "", "norecord", "", ""},
	    {"x.org.gov.test", "", "", "norecord", "", ""},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(legacy); i++) {
		struct fixture f;
		struct dmarc_result r;

		start(&f);
		r = run(&f, &legacy[i].from, 1, legacy[i].spf, legacy[i].dkim, org_of);
		if (!slice_eq(dmarc_status_word(r.status), slice_of(legacy[i].status)))
			fail_msg("%s: %.*s", legacy[i].from, SLICE_ARG(dmarc_status_word(r.status)));
		arena_done(&f.arena);
	}
}

/* CVE-2019-16378 and its kin: the strictest of all that fail, whatever stands first. */
static void test_several(void **state)
{
	static const char *const good_bad[] = {"none.example", "reject.example"};
	static const char *const bad_good[] = {"reject.example", "none.example"};
	struct fixture f;

	(void)state;
	start(&f);
	assert_int_equal(run(&f, good_bad, 2, "none.example", "", NULL).status, DMARC_REJECT);
	assert_int_equal(run(&f, bad_good, 2, "none.example", "", NULL).status, DMARC_REJECT);
	assert_int_equal(run(&f, bad_good, 2, "reject.example", "none.example", NULL).status, DMARC_ACCEPT);
	assert_int_equal(run(&f, bad_good, 0, "reject.example", "", NULL).status, DMARC_NOFROM);
	arena_done(&f.arena);
}

static void test_records(void **state)
{
	static const struct {
		const char *text;
		bool good;
		char p, sp, adkim, psd;
		unsigned fo;
	} records[] = {
	    {"v=DMARC1; p=none", true, 'n', 0, 'r', 'u', 0},
	    {"v=DMARC1;p=reject;", true, 'r', 0, 'r', 'u', 0},
	    {"v = DMARC1 ; p = quarantine ; sp=NONE", true, 'q', 'n', 'r', 'u', 0},
	    {"v=DMARC1", true, 'n', 0, 'r', 'u', 0},
	    {"v=DMARC1;;;p=reject;=;x;adkim=S;psd=y;fo=1:d:s:x", true, 'r', 0, 's', 'y', 7},
	    {"v=DMARC1; p=reject; p=none", true, 'r', 0, 'r', 'u', 0},
	    {"v=DMARC1; p=reject; adkim=x; psd=zz; fo=", true, 'r', 0, 'r', 'u', 0},
	    {"v=dmarc1; p=reject", false, 0, 0, 0, 0, 0},
	    {"v=DMARC10; p=reject", false, 0, 0, 0, 0, 0},
	    {" v=DMARC1; p=reject", false, 0, 0, 0, 0, 0},
	    {"p=reject; v=DMARC1", false, 0, 0, 0, 0, 0},
	    {"v=DMARC1 p=reject", false, 0, 0, 0, 0, 0},
	    {"", false, 0, 0, 0, 0, 0},
	    {";", false, 0, 0, 0, 0, 0},
	    {"v", false, 0, 0, 0, 0, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(records); i++) {
		struct dmarc_record r;

		if (dmarc_record_parse(slice_of(records[i].text), false, &r) != records[i].good)
			fail_msg("%s", records[i].text);
		if (!records[i].good)
			continue;
		if (r.p != records[i].p || r.sp != records[i].sp || r.adkim != records[i].adkim ||
		    r.psd != records[i].psd || r.fo != records[i].fo)
			fail_msg("%s: %c %d %c %c %u", records[i].text, r.p, r.sp, r.adkim, r.psd, r.fo);
	}
}

static void test_uris(void **state)
{
	struct arena arena;
	struct slice rest = SLICE(
	    "https://x.example/, mailto:a@b.example!10m , MAILTO:c%2Cd@e.example?subject=x,mailto:nodomain,mailto:");
	struct slice address;

	(void)state;
	arena_init(&arena, 0);
	assert_true(dmarc_uri_next(&arena, &rest, &address));
	assert_true(slice_eq(address, SLICE("a@b.example")));
	assert_true(dmarc_uri_next(&arena, &rest, &address));
	assert_true(slice_eq(address, SLICE("c,d@e.example")));
	assert_false(dmarc_uri_next(&arena, &rest, &address));
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tree),    cmocka_unit_test(test_suffix_list),
	    cmocka_unit_test(test_several), cmocka_unit_test(test_records),
	    cmocka_unit_test(test_uris),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
